/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/counters.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "protocol/zmtp.h"
#include "shim/log.h"

uint64_t ns_counters[NS_COUNTER_COUNT];

static int64_t since_ns;   /* CLOCK_REALTIME; 0: nothing has been told yet */
static uint64_t told;      /* the sum of what the collector knows */
static int64_t told_at_ns; /* monotonic; 0: never */

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
    since_ns = 0;
    told = 0;
    told_at_ns = 0;
}

_Static_assert(NS_UNSEEN_COUNT <= NS_PROTOCOL_COUNTS_MAX, "they fit into one message");

static void
fill(struct ns_message *message)
{
    int64_t none = 0;
    (void)__atomic_compare_exchange_n(&since_ns, &none, ns_clock_ns(CLOCK_REALTIME), false,
                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    memset(message, 0, sizeof *message);
    message->kind = NS_MESSAGE_COUNTERS;
    message->as.counters.since_ns = __atomic_load_n(&since_ns, __ATOMIC_RELAXED);
    struct ns_counts *counts = &message->as.counters.counts;
    for (int i = 0; i < NS_UNSEEN_COUNT; i++) {
        uint64_t count = __atomic_load_n(&ns_counters[i], __ATOMIC_RELAXED);
        if (count > 0) {
            counts->row[counts->count++] =
                (struct ns_counted){.name = ns_text_of(ns_unseen_name(i)), .count = count};
        }
    }
}

static uint64_t
sum_unseen(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < NS_UNSEEN_COUNT; i++) {
        sum += __atomic_load_n(&ns_counters[i], __ATOMIC_RELAXED);
    }
    return sum;
}

bool
ns_counters_changed(void)
{
    return sum_unseen() != __atomic_load_n(&told, __ATOMIC_RELAXED);
}

bool
ns_counters_tell(bool last, struct ns_message *message)
{
    uint64_t sum = sum_unseen();
    if (sum == __atomic_load_n(&told, __ATOMIC_RELAXED)) {
        return false;
    }
    int64_t now = ns_monotonic_ns();
    int64_t before = __atomic_load_n(&told_at_ns, __ATOMIC_RELAXED);
    if ((!last && before != 0 && now - before < NS_COUNTERS_TELL_NS) ||
        !__atomic_compare_exchange_n(&told_at_ns, &before, now, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED)) {
        return false;
    }
    __atomic_store_n(&told, sum, __ATOMIC_RELAXED);
    fill(message);
    return true;
}

void
ns_counters_untold(void)
{
    __atomic_store_n(&told, 0, __ATOMIC_RELAXED);
}
