/* SPDX-License-Identifier: Apache-2.0 */
#include "base/coverage.h"

#include <string.h>

static const char *const governors[NS_GOVERNOR_COUNT] = {
#define X(e, word) [NS_GOVERNOR_##e] = (word),
    NS_GOVERNORS(X)
#undef X
};

static const struct {
    const char *word, *sentence, *step;
} darkness_rows[NS_DARKNESS_COUNT] = {
#define X(e, word, sentence, step) [NS_DARKNESS_##e] = {(word), (sentence), (step)},
    NS_DARKNESS(X)
#undef X
};

const char *
ns_governor_name(int governor)
{
    return governors[governor];
}

const char *
ns_darkness_name(int darkness)
{
    return darkness_rows[darkness].word;
}

const char *
ns_darkness_sentence(int darkness)
{
    return darkness_rows[darkness].sentence;
}

const char *
ns_darkness_step(int darkness)
{
    return darkness_rows[darkness].step;
}

static int
is(const char *word, const char *text, size_t bytes)
{
    return strlen(word) == bytes && memcmp(word, text, bytes) == 0;
}

enum ns_governor
ns_governor_find(const char *text, size_t bytes)
{
    for (int i = 0; i < NS_GOVERNOR_COUNT; i++) {
        if (bytes > 0 && is(governors[i], text, bytes)) {
            return (enum ns_governor)i;
        }
    }
    return NS_GOVERNOR_UNKNOWN;
}

enum ns_darkness
ns_darkness_find(const char *text, size_t bytes)
{
    for (int i = 0; i < NS_DARKNESS_COUNT; i++) {
        if (bytes == 0 || is(darkness_rows[i].word, text, bytes)) {
            return (enum ns_darkness)i;
        }
    }
    return NS_DARKNESS_OTHER;
}
