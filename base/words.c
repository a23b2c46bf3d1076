/* SPDX-License-Identifier: Apache-2.0 */
#include "base/words.h"

#include <string.h>

#define X(e, n) n,
static const char *const evidence_words[] = {NS_EVIDENCES(X)};
static const char *const outcome_words[] = {NS_OUTCOMES(X)};
static const char *const reason_words[] = {NS_REASONS(X)};
static const char *const source_words[] = {NS_SOURCES(X)};
static const char *const mode_words[] = {NS_MODES(X)};
static const char *const decision_words[] = {NS_DECISIONS(X)};
static const char *const policy_words[] = {NS_POLICIES(X)};
static const char *const period_words[] = {NS_PERIODS(X)};
static const char *const reserve_words[] = {NS_RESERVES(X)};
static const char *const unreachable_words[] = {NS_UNREACHABLES(X)};
static const char *const entity_kind_words[] = {NS_ENTITY_KINDS(X)};
#undef X

#define COUNT(words) (int)(sizeof(words) / sizeof((words)[0]))

static const char *
word(const char *const *words, int count, int value)
{
    return value >= 0 && value < count ? words[value] : "?";
}

static int
find(const char *const *words, int count, const char *text, size_t bytes)
{
    for (int i = 0; i < count; i++) {
        if (strlen(words[i]) == bytes && memcmp(words[i], text, bytes) == 0) {
            return i;
        }
    }
    return -1;
}

#define NAME(kind)                                                                                 \
    const char *ns_##kind##_name(int value)                                                        \
    {                                                                                              \
        return word(kind##_words, COUNT(kind##_words), value);                                     \
    }
#define FIND(kind)                                                                                 \
    int ns_##kind##_find(const char *text, size_t bytes)                                           \
    {                                                                                              \
        return find(kind##_words, COUNT(kind##_words), text, bytes);                               \
    }

NAME(evidence)
NAME(outcome)
NAME(reason)
NAME(source)
NAME(mode)
NAME(decision)
NAME(policy)
NAME(period)
NAME(reserve)
NAME(unreachable)
NAME(entity_kind)
FIND(mode)
FIND(policy)
FIND(period)
FIND(reserve)
FIND(unreachable)
FIND(entity_kind)
FIND(reason)
FIND(evidence)
FIND(outcome)
