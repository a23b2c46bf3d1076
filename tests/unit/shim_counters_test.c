/* SPDX-License-Identifier: Apache-2.0 */
/* What is told to the collector of what passed unseen, and when. */
#include "shim/counters.h"

#include <string.h>

#include "protocol/zmtp.h"
#include "tests/harness.h"

static struct ns_message message;

static uint64_t
told(const char *name)
{
    const struct ns_counts *counts = &message.as.counters.counts;
    for (uint32_t i = 0; i < counts->count; i++) {
        const struct ns_text *text = &counts->row[i].name;
        if (strlen(name) == text->bytes && memcmp(name, text->text, text->bytes) == 0) {
            return counts->row[i].count;
        }
    }
    return 0;
}

TEST(what_passed_unseen_is_told_when_it_has_changed_and_nothing_else_is)
{
    ns_counters_after_fork();
    ns_count(NS_COUNTER_CALLS_ALLOWED);
    CHECK(!ns_counters_tell(true, &message));
    ns_count(NS_COUNTER_NOT_HTTP);
    ns_count_many(NS_COUNTER_UNSEEN_BYTES, 4096);
    CHECK(ns_counters_tell(false, &message));
    CHECK_INT(message.kind, NS_MESSAGE_COUNTERS);
    CHECK_INT(message.as.counters.counts.count, 2);
    CHECK_INT(told("connections_not_http"), 1);
    CHECK_INT(told("unseen_bytes"), 4096);
    CHECK(message.as.counters.since_ns > 0);
    CHECK(!ns_counters_tell(true, &message));
}

TEST(within_a_second_it_is_told_again_only_at_the_end)
{
    ns_counters_after_fork();
    int64_t began = ns_monotonic_ns();
    ns_count(NS_COUNTER_UPGRADED);
    CHECK(ns_counters_tell(false, &message));
    int64_t since = message.as.counters.since_ns;
    ns_count(NS_COUNTER_UPGRADED);
    bool again = ns_counters_tell(false, &message);
    CHECK(!again || ns_monotonic_ns() - began >= NS_COUNTERS_TELL_NS);
    ns_count(NS_COUNTER_UPGRADED);
    CHECK(ns_counters_tell(true, &message));
    CHECK_INT(told("connections_upgraded"), 3);
    CHECK(message.as.counters.since_ns == since);
}

TEST(what_has_not_arrived_is_told_again_as_a_whole)
{
    ns_counters_after_fork();
    ns_count(NS_COUNTER_MALFORMED);
    CHECK(ns_counters_tell(false, &message));
    ns_counters_untold();
    CHECK(ns_counters_tell(true, &message));
    CHECK_INT(told("connections_malformed"), 1);
    CHECK(!ns_counters_tell(true, &message));
}

TEST(a_child_of_fork_begins_at_zero)
{
    ns_counters_after_fork();
    ns_count(NS_COUNTER_TOO_DEEP);
    CHECK(ns_counters_tell(false, &message));
    int64_t since = message.as.counters.since_ns;
    ns_count(NS_COUNTER_TOO_DEEP);
    ns_counters_after_fork();
    CHECK(!ns_counters_tell(true, &message));
    ns_count(NS_COUNTER_TOO_LARGE);
    CHECK(ns_counters_tell(false, &message));
    CHECK_INT(told("connections_too_deep"), 0);
    CHECK_INT(told("connections_too_large"), 1);
    CHECK(message.as.counters.since_ns > since);
}
