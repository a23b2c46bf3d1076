/* SPDX-License-Identifier: Apache-2.0 */
/* What processes tell of what passed unseen, added up. */
#include "collector/status.h"
#include "tests/unit/collector_support.h"

static struct bench bench;

static void
tell(int64_t since_ns, const char *name, uint64_t count)
{
    static struct ns_message message;
    memset(&message, 0, sizeof message);
    message.kind = NS_MESSAGE_COUNTERS;
    message.as.counters.since_ns = since_ns;
    message.as.counters.counts.count = 1;
    message.as.counters.counts.row[0] = (struct ns_counted){ns_text_of(name), count};
    say(&bench, &message);
}

TEST(a_count_that_comes_twice_counts_once_and_one_that_is_late_not_at_all)
{
    REQUIRE(new_bench(&bench));
    const uint64_t *sum = &bench.gate->unseen[NS_UNSEEN_NOT_HTTP];
    join(&bench, 5);
    tell(100, "connections_not_http", 3);
    tell(100, "connections_not_http", 3);
    CHECK_INT(*sum, 3);
    tell(100, "connections_not_http", 2);
    CHECK_INT(*sum, 3);
    tell(100, "connections_not_http", 5);
    CHECK_INT(*sum, 5);
    CHECK_INT(ns_journal_last(bench.gate->journal), 0);
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(processes_add_up_and_one_that_begins_anew_is_another)
{
    REQUIRE(new_bench(&bench));
    const uint64_t *sum = &bench.gate->unseen[NS_UNSEEN_UPGRADED];
    join(&bench, 5);
    tell(100, "connections_upgraded", 2);
    join(&bench, 6);
    tell(100, "connections_upgraded", 2);
    CHECK_INT(*sum, 4);
    tell(200, "connections_upgraded", 1);
    CHECK_INT(*sum, 5);
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(names_that_are_not_known_are_other_and_sums_do_not_wrap)
{
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    tell(100, "connections_of_the_future", 7);
    CHECK_INT(bench.gate->unseen[NS_UNSEEN_OTHER], 7);
    tell(100, "unseen_bytes", UINT64_MAX);
    join(&bench, 6);
    tell(100, "unseen_bytes", 9);
    CHECK(bench.gate->unseen[NS_UNSEEN_UNSEEN_BYTES] == UINT64_MAX);
    close_bench(&bench);
    remove_directory(bench.directory);
}

static bool
says(void (*write)(const struct ns_gate *gate, struct ns_buffer *buffer), const char *text)
{
    struct ns_buffer buffer = {0};
    write(bench.gate, &buffer);
    ns_buffer_print(&buffer, "%c", 0);
    bool found = strstr((const char *)buffer.bytes, text) != NULL;
    ns_buffer_free(&buffer);
    return found;
}

TEST(status_and_metrics_tell_what_passed_apart_from_what_was_denied)
{
    REQUIRE(new_bench(&bench));
    CHECK(says(ns_status_json, ",\"passed\":{},\"denied_unjudged\":{},"));
    join(&bench, 5);
    tell(100, "connections_not_http", 3);
    join(&bench, 6);
    tell(100, "denied_malformed", 2);
    join(&bench, 7);
    tell(100, "unseen_bytes", 4096);
    CHECK(says(ns_status_json, ",\"passed\":{\"connections_not_http\":3,\"unseen_bytes\":4096},"
                               "\"denied_unjudged\":{\"denied_malformed\":2},"));
    CHECK(says(ns_status_metrics,
               "nullspend_passed_unseen_total{reason=\"connections_not_http\"} 3\n"));
    CHECK(says(ns_status_metrics, "nullspend_passed_unseen_total{reason=\"other\"} 0\n"));
    CHECK(says(ns_status_metrics,
               "nullspend_denied_unjudged_total{reason=\"denied_malformed\"} 2\n"));
    close_bench(&bench);
    remove_directory(bench.directory);
}
