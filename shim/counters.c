/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/counters.h"

#include <stddef.h>
#include <string.h>

#include "shim/log.h"

uint64_t ns_counters[NS_COUNTER_COUNT];

static const char *const names[NS_COUNTER_COUNT] = {
#define X(e, word, how, sentence) [NS_COUNTER_##e] = (word),
    NS_UNSEEN(X)
#undef X
#define X(e, n) [NS_COUNTER_##e] = (n),
        NS_COUNTERS(X)
#undef X
};

void
ns_counters_log(void)
{
    struct ns_line line;
    ns_line_begin(&line, "counters");
    for (size_t i = 0; i < NS_COUNTER_COUNT; i++) {
        uint64_t count = __atomic_load_n(&ns_counters[i], __ATOMIC_RELAXED);
        if (count != 0) {
            ns_line_text(&line, " ");
            ns_line_text(&line, names[i]);
            ns_line_text(&line, "=");
            ns_line_number(&line, count);
        }
    }
    ns_line_end(&line);
}

void
ns_counters_after_fork(void)
{
    memset(ns_counters, 0, sizeof ns_counters);
}
