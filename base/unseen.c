/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unseen.h"

#include <string.h>

static const struct {
    const char *word;
    enum ns_unseen_how how;
    const char *sentence;
} rows[NS_UNSEEN_COUNT] = {
#define X(e, word, how, sentence) [NS_UNSEEN_##e] = {(word), NS_UNSEEN_##how, (sentence)},
    NS_UNSEEN(X)
#undef X
};

const char *
ns_unseen_name(int unseen)
{
    return rows[unseen].word;
}

enum ns_unseen_how
ns_unseen_how(int unseen)
{
    return rows[unseen].how;
}

const char *
ns_unseen_sentence(int unseen)
{
    return rows[unseen].sentence;
}

enum ns_unseen
ns_unseen_find(const char *text, size_t bytes)
{
    for (int i = 0; i < NS_UNSEEN_COUNT; i++) {
        if (strlen(rows[i].word) == bytes && memcmp(rows[i].word, text, bytes) == 0) {
            return (enum ns_unseen)i;
        }
    }
    return NS_UNSEEN_OTHER;
}
