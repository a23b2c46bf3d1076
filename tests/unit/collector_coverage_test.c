/* SPDX-License-Identifier: Apache-2.0 */
/* Who talks to providers, as agents tell it and as calls show it. */
#include "collector/status.h"
#include "tests/unit/collector_support.h"

static struct bench bench;

static struct ns_message
coverage(uint32_t pid, const char *governed_by, const char *reason, uint64_t bytes)
{
    struct ns_message message;
    memset(&message, 0, sizeof message);
    message.kind = NS_MESSAGE_COVERAGE;
    message.as.coverage = (struct ns_coverage){.since_ns = 100,
                                               .pid = pid,
                                               .start_ticks = 7,
                                               .uid = 1000,
                                               .process = ns_text_of("curl"),
                                               .executable = ns_text_of("/usr/bin/curl"),
                                               .provider = ns_text_of("openai"),
                                               .host = ns_text_of("api.openai.com"),
                                               .governed_by = ns_text_of(governed_by),
                                               .reason = ns_text_of(reason),
                                               .connections = 1,
                                               .bytes_sent = bytes,
                                               .bytes_received = 2 * bytes,
                                               .first_seen_ns = 1000,
                                               .last_seen_ns = 2000 + (int64_t)bytes};
    return message;
}

static void
tell(uint32_t pid, const char *governed_by, const char *reason, uint64_t bytes)
{
    static struct ns_message message;
    message = coverage(pid, governed_by, reason, bytes);
    say(&bench, &message);
}

/* An agent on the machine that `join` speaks for. */
static struct ns_process *
join_agent(void)
{
    struct ns_process *process = join(&bench, 1);
    bench.from.peer->source = NS_SOURCE_EBPF;
    return process;
}

static struct ns_coverage_sums
sums(void)
{
    struct ns_coverage_sums sums;
    ns_coverage_sum(&bench.gate->coverage, &sums);
    return sums;
}

static bool
open_all(void)
{
    return new_bench(&bench);
}

static void
close_all(void)
{
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(what_comes_twice_counts_once_and_what_is_late_not_at_all)
{
    REQUIRE(open_all());
    join_agent();
    tell(5, "dark", "go", 10);
    tell(5, "dark", "go", 10);
    CHECK_INT(sums().bytes[NS_GOVERNOR_DARK], 30);
    tell(5, "dark", "go", 50);
    tell(5, "dark", "go", 20);
    CHECK_INT(sums().bytes[NS_GOVERNOR_DARK], 150);
    CHECK_INT(bench.gate->coverage.count, 1);
    CHECK_INT(bench.gate->coverage.row[0].bytes_received, 100);
    CHECK_INT(ns_journal_last(bench.gate->journal), 0);
    close_all();
}

TEST(an_agent_that_begins_anew_counts_anew)
{
    REQUIRE(open_all());
    join_agent();
    tell(5, "dark", "go", 50);
    static struct ns_message message;
    message = coverage(5, "dark", "go", 10);
    message.as.coverage.since_ns = 200;
    say(&bench, &message);
    CHECK_INT(sums().bytes[NS_GOVERNOR_DARK], 180);
    CHECK_INT(sums().now[NS_GOVERNOR_DARK], 30);
    tell(5, "dark", "go", 90); /* of the former life */
    CHECK_INT(sums().bytes[NS_GOVERNOR_DARK], 180);
    close_all();
}

TEST(who_is_no_agent_is_not_believed)
{
    REQUIRE(open_all());
    join(&bench, 1);
    tell(5, "dark", "go", 10);
    join_agent()->remote = false;
    bench.from.process->uid = geteuid() + 1;
    tell(5, "dark", "go", 10);
    CHECK_INT(bench.gate->coverage.count, 0);
    CHECK_INT(bench.gate->counters.coverage_refused, 2);
    close_all();
}

TEST(a_call_says_more_than_evidence)
{
    REQUIRE(open_all());
    join_agent();
    tell(5, "dark", "jvm", 10);
    join(&bench, 5);
    bench.from.peer->source = NS_SOURCE_PRELOAD;
    check_call(&bench, 1, "acme");
    const struct ns_coverage_row *row = &bench.gate->coverage.row[0];
    CHECK_INT(bench.gate->coverage.count, 1);
    CHECK_INT(row->governor, NS_GOVERNOR_PRELOAD);
    CHECK_INT(row->darkness, NS_DARKNESS_NONE);
    CHECK_INT(row->bytes_sent, 10);
    join_agent();
    tell(5, "dark", "jvm", 20);
    CHECK_INT(row->governor, NS_GOVERNOR_PRELOAD);
    CHECK_INT(row->bytes_sent, 20);
    close_all();
}

TEST(calls_without_an_agent_make_a_row_and_other_sources_none)
{
    REQUIRE(open_all());
    join(&bench, 5);
    bench.from.peer->source = NS_SOURCE_SDK;
    check_call(&bench, 1, "acme");
    ns_gate_flush(bench.gate);
    CHECK_INT(bench.gate->coverage.count, 0);
    bench.from.peer->source = NS_SOURCE_DETOUR;
    check_call(&bench, 2, "acme");
    REQUIRE(bench.gate->coverage.count == 1);
    CHECK_INT(bench.gate->coverage.row[0].governor, NS_GOVERNOR_DETOUR);
    CHECK_STR(bench.gate->coverage.row[0].host, "api.openai.com");
    CHECK_STR(bench.gate->coverage.row[0].provider, "openai");
    CHECK_INT(bench.gate->coverage.row[0].connections, 0);
    close_all();
}

TEST(a_library_that_refused_its_tls_library_governs_nothing)
{
    REQUIRE(open_all());
    join_agent();
    tell(5, "detour", "", 10);
    tell(6, "detour", "", 10);
    join(&bench, 5);
    static struct ns_message message;
    memset(&message, 0, sizeof message);
    message.kind = NS_MESSAGE_COUNTERS;
    message.as.counters.since_ns = 1;
    message.as.counters.counts.count = 1;
    message.as.counters.counts.row[0] = (struct ns_counted){ns_text_of("detours_refused"), 1};
    say(&bench, &message);
    CHECK_INT(bench.gate->coverage.row[0].governor, NS_GOVERNOR_DARK);
    CHECK_INT(bench.gate->coverage.row[0].darkness, NS_DARKNESS_LIBRARY_REFUSED);
    CHECK_INT(bench.gate->coverage.row[1].governor, NS_GOVERNOR_DETOUR);
    close_all();
}

TEST(words_that_are_not_known_are_other_and_a_host_is_cut_at_a_character)
{
    REQUIRE(open_all());
    join_agent();
    static struct ns_message message;
    message = coverage(5, "by_magic", "of the future", 1);
    message.as.coverage.process =
        ns_text_of("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xb6x");
    say(&bench, &message);
    const struct ns_coverage_row *row = &bench.gate->coverage.row[0];
    CHECK_INT(row->governor, NS_GOVERNOR_UNKNOWN);
    CHECK_INT(row->darkness, NS_DARKNESS_OTHER);
    CHECK_INT(strlen(row->process), 62);
    close_all();
}

TEST(the_least_lately_seen_leaves_for_a_new_one_and_is_counted)
{
    REQUIRE(open_all());
    join_agent();
    for (uint32_t pid = 1; pid <= NS_COVERAGE_ROWS_MAX; pid++) {
        tell(pid, "dark", "go", pid == 77 ? 1 : 100 + pid * 7919 % 4093);
    }
    struct ns_coverage_table *table = &bench.gate->coverage;
    CHECK_INT(table->count, NS_COVERAGE_ROWS_MAX);
    CHECK_INT(table->evicted, 0);
    tell(NS_COVERAGE_ROWS_MAX + 1, "dark", "go", 5);
    CHECK_INT(table->count, NS_COVERAGE_ROWS_MAX);
    CHECK_INT(table->evicted, 1);
    CHECK_INT(table->row[76].pid, NS_COVERAGE_ROWS_MAX + 1);
    CHECK_INT(table->changed, NS_COVERAGE_ROWS_MAX);
    for (uint32_t i = 1; i <= 1000; i++) {
        tell(NS_COVERAGE_ROWS_MAX + 1 + i, "dark", "go", 9000);
    }
    CHECK_INT(table->evicted, 1001);
    for (size_t place = 0; place < table->count; place++) { /* all are found where they are */
        tell(table->row[place].pid, "dark", "go", 10000);
        CHECK_INT(table->row[place].bytes_sent, 10000);
    }
    CHECK_INT(table->evicted, 1001);
    close_all();
}

TEST(what_changed_is_handed_on_once)
{
    static struct ns_coverage_row rows[4];
    REQUIRE(open_all());
    join_agent();
    tell(5, "dark", "go", 10);
    tell(6, "ebpf", "", 10);
    struct ns_coverage_table *table = &bench.gate->coverage;
    CHECK_INT(ns_coverage_take(table, rows, 1), 1);
    CHECK_INT(table->changed, 1);
    CHECK_INT(ns_coverage_take(table, rows, 4), 1);
    CHECK_INT(rows[0].pid, 6);
    CHECK_INT(ns_coverage_take(table, rows, 4), 0);
    tell(5, "dark", "go", 10);
    CHECK_INT(ns_coverage_take(table, rows, 4), 0);
    tell(5, "ebpf", "", 10);
    CHECK_INT(ns_coverage_take(table, rows, 4), 1);
    close_all();
}

TEST(the_share_is_of_what_goes_to_providers)
{
    struct ns_buffer text = {0};
    REQUIRE(open_all());
    join_agent();
    tell(5, "dark", "go", 100);
    tell(6, "ebpf", "", 200);
    tell(7, "preload", "", 100);
    tell(8, "unknown", "no_server_name", 1000);
    ns_status_metrics(bench.gate, &text);
    ns_buffer_add(&text, "", 1);
    CHECK(strstr((char *)text.bytes, "\nnullspend_coverage_ratio 0.750000\n") != NULL);
    CHECK(strstr((char *)text.bytes,
                 "\nnullspend_coverage_bytes_total{governed_by=\"dark\"} 300\n") != NULL);
    CHECK(strstr((char *)text.bytes,
                 "\nnullspend_coverage_processes{governed_by=\"unknown\"} 1\n") != NULL);
    ns_buffer_free(&text);
    close_all();
}
