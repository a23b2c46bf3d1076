/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/collector_support.h"

#include <fcntl.h>

#include "collector/journal_io.h"

#include <errno.h>

static struct bench bench;

struct saved {
    uint8_t *bytes;
    size_t count;
};

static struct saved
save(const struct ns_state *state)
{
    struct saved saved = {NULL, 0};
    CHECK_INT(ns_state_save(state, &saved.bytes, &saved.count), 0);
    return saved;
}

static void
check_same(const struct saved *a, const struct saved *b)
{
    if (a->count != b->count || memcmp(a->bytes, b->bytes, a->count) != 0) {
        NS_FAIL("the states differ: %zu and %zu bytes", a->count, b->count);
    }
}

static void
flush(void)
{
    ns_gate_flush(bench.gate);
    CHECK_INT(bench.gate->failure, 0);
}

/* Up to three mandates of customers, of which some deny. */
static void
change_mandates(void)
{
    static const char *const entities[] = {"customer:*", "customer:acme", "customer:globex"};
    struct ns_buffer mandate[3] = {{0}};
    size_t count = 0;
    uint64_t rotation = ns_test_random() % 3;
    for (uint64_t i = 0; i < 3; i++) {
        struct ns_mandate_terms terms = {.id = (int64_t)i + 1,
                                         .policy = ns_test_random() % 2 == 0 ? NS_POLICY_HARD
                                                                             : NS_POLICY_SHADOW,
                                         .entity = ns_text_of(entities[(i + rotation) % 3])};
        if (ns_test_random() % 2 == 0) {
            ns_mandate_begin(&mandate[count], &terms);
            ns_mandate_add(&mandate[count++], NS_MANDATE_DENY_MODELS,
                           ns_text_of(ns_test_random() % 2 == 0 ? "gpt-4o*" : "o1"));
        }
    }
    ns_gate_take_mandates(bench.gate, mandate, count);
    CHECK_INT(ns_mandates_count(bench.gate->state.mandates), count);
    for (size_t i = 0; i < count; i++) {
        CHECK(ns_mandates_has(bench.gate->state.mandates, mandate[i].bytes, mandate[i].count));
        ns_buffer_free(&mandate[i]);
    }
}

/* More money for a customer, or other terms of what it has already. */
static void
change_grant(const char *customer)
{
    struct ns_budget grant = {.id = 11 + (int64_t)(ns_test_random() % 4),
                              .period = NS_PERIOD_TOTAL,
                              .grant_of = 1 + (int64_t)(ns_test_random() % 4),
                              .limit_nanousd = (int64_t)(ns_test_random() % 5) * 1000000,
                              .until_ns = ns_test_random() % 4 == 0 ? 1 : INT64_MAX,
                              .spend_first = ns_test_random() % 2 == 0};
    snprintf(grant.entity, sizeof grant.entity, "customer:%s", customer);
    snprintf(grant.models, sizeof grant.models, "%s", ns_test_random() % 2 == 0 ? "gpt-4o*" : "");
    put_terms(&bench, &grant);
    CHECK_INT(ns_gate_budgets_known(bench.gate), 0);
}

/* One thing that may happen, at random. */
static void
happen(uint64_t *next_call)
{
    static const char *const customers[] = {"acme", "globex", "initech"};
    uint64_t dice = ns_test_random() % 100;
    uint64_t call = *next_call > 20 ? *next_call - ns_test_random() % 20 : *next_call;
    const char *customer = customers[ns_test_random() % 3];
    struct ns_message message = {.kind = NS_MESSAGE_NONE};
    if (dice < 45) {
        check_call(&bench, ++*next_call, customer);
    } else if (dice < 75) {
        report_call(&bench, call, customer, 1 + ns_test_random() % 2000);
    } else if (dice < 83) {
        message.kind = NS_MESSAGE_PROGRESS;
        message.as.progress =
            (struct ns_progress){.call_id = call_id(call), .text_bytes = ns_test_random() % 9000};
        say(&bench, &message);
    } else if (dice < 88) {
        message.kind = NS_MESSAGE_RELEASE;
        message.as.release = (struct ns_release){.call_id = call_id(call)};
        say(&bench, &message);
    } else if (dice < 92) {
        put_budget(&bench, 1 + (int64_t)(ns_test_random() % 4), dice < 90 ? "customer:*" : "org",
                   (int64_t)(ns_test_random() % 5) * 1000000);
    } else if (dice < 93) {
        change_mandates();
    } else if (dice < 95) {
        change_grant(customer);
    } else if (dice < 96) {
        bench.gate->tick_at_ns += 1000000000;
        ns_gate_tick(bench.gate, bench.gate->tick_at_ns);
    } else if (dice < 98) {
        join(&bench, 100 + (uint32_t)(ns_test_random() % 3));
    } else {
        ns_peers_disconnected(bench.gate->peers, bench.from.peer->fd);
        ns_peers_reap(bench.gate->peers, 1000);
        ns_gate_bury(bench.gate, 1000 + NS_REMOTE_GRACE_NS);
        join(&bench, 100 + (uint32_t)(ns_test_random() % 3));
    }
    flush();
}

TEST(replay_gives_the_same_state_bit_for_bit)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        uint64_t next_call = 0;
        ns_test_seed(seed);
        REQUIRE(new_bench(&bench));
        join(&bench, 100);
        for (int round = 0; round < 3; round++) {
            for (int i = 0; i < 400; i++) {
                bench.gate->now_ns = ns_realtime_ns();
                happen(&next_call);
            }
            CHECK(bench.gate->counters.lost + bench.gate->counters.reports > 0);
            struct saved live = save(&bench.gate->state);
            size_t mandates = ns_mandates_count(bench.gate->state.mandates);
            if (round == 1) { /* from here on by snapshot and rest */
                uint8_t *bytes = NULL;
                size_t count = 0;
                CHECK_INT(ns_state_save(&bench.gate->state, &bytes, &count), 0);
                CHECK(ns_syncer_snapshot(bench.gate->syncer, bench.gate->state.sequence, bytes,
                                         count));
            }
            close_bench(&bench);
            REQUIRE(open_bench(&bench));
            struct saved again = save(&bench.gate->state);
            check_same(&live, &again);
            CHECK_INT(ns_mandates_count(bench.gate->state.mandates), mandates);
            free(live.bytes);
            free(again.bytes);
            join(&bench, 100);
        }
        close_bench(&bench);
        remove_directory(bench.directory);
    }
}

/* Copies the first records of a journal into a new one; change may alter one of them. */
static void
copy_records(const char *from, const char *to, uint64_t count,
             void (*change)(struct ns_journal_record *record))
{
    char error[NS_JOURNAL_ERROR_BYTES];
    struct ns_journal *journal = NULL;
    struct ns_journal_reader *reader = NULL;
    struct ns_journal_record record;
    REQUIRE(ns_journal_open(to, &journal, error) == 0);
    REQUIRE(ns_journal_reader_open(from, 1, &reader, error) == 0);
    while (ns_journal_reader_next(reader, count, &record) == 1) {
        if (change != NULL) {
            change(&record);
        }
        struct iovec part = {(void *)(uintptr_t)record.payload, record.payload_bytes};
        CHECK(ns_journal_append(journal, record.type, record.at_ns, &part, 1) > 0);
    }
    ns_journal_reader_close(reader);
    ns_journal_close(journal);
}

TEST(a_crash_between_a_loss_and_its_rows_loses_no_row)
{
    char whole[64];
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    for (uint64_t i = 1; i <= 3; i++) {
        check_call(&bench, i, "acme");
        flush();
    }
    ns_peers_disconnected(bench.gate->peers, bench.from.peer->fd);
    ns_peers_reap(bench.gate->peers, 1000);
    ns_gate_bury(bench.gate, 1000 + NS_REMOTE_GRACE_NS);
    flush();
    CHECK_INT(ns_journal_last(bench.gate->journal), 6); /* three checks, three rows */
    struct saved live = save(&bench.gate->state);
    close_bench(&bench);
    snprintf(whole, sizeof whole, "%s", bench.directory);
    bench = (struct bench){.directory = "/tmp/ns-gate-XXXXXX"};
    REQUIRE(mkdtemp(bench.directory) != NULL);
    copy_records(whole, bench.directory, 4, NULL); /* the first row only */
    REQUIRE(open_bench(&bench));
    CHECK_INT(ns_ledger_open_holds(bench.gate->state.ledger), 0);
    CHECK_INT(ns_calls_count(bench.gate->state.calls), 2);
    bench.gate->now_ns = ns_realtime_ns();
    ns_gate_write_lost(bench.gate, NULL);
    flush();
    CHECK_INT(ns_journal_last(bench.gate->journal), 6);
    struct saved again = save(&bench.gate->state);
    check_same(&live, &again);
    free(live.bytes);
    free(again.bytes);
    close_bench(&bench);
    remove_directory(bench.directory);
    remove_directory(whole);
}

/* As if the budget that denied had never been. */
static void
drop_budget(struct ns_journal_record *record)
{
    static uint8_t payload[NS_RECORD_BYTES_MAX];
    if (record->type == NS_RECORD_BUDGET) {
        struct ns_record tick = {.type = NS_RECORD_TICK};
        tick.event.kind = NS_LEDGER_TICK;
        int count = ns_record_encode(&tick, payload, sizeof payload);
        CHECK(count > 0);
        record->type = NS_RECORD_TICK;
        record->payload = payload;
        record->payload_bytes = (size_t)count;
    }
}

TEST(damage_before_the_last_segment_is_told_by_file_and_offset)
{
    char path[96];
    char error[NS_RECOVERY_ERROR_BYTES];
    uint64_t replayed;
    struct ns_state state;
    REQUIRE(new_bench(&bench));
    ns_journal_disk.segment_bytes = 2000;
    join(&bench, 5);
    for (uint64_t i = 1; i <= 20; i++) {
        check_call(&bench, i, "acme");
        flush();
    }
    close_bench(&bench);
    ns_journal_disk.segment_bytes = NS_JOURNAL_SEGMENT_BYTES;
    snprintf(path, sizeof path, "%s/0000000000000001.seg", bench.directory);
    int fd = open(path, O_WRONLY);
    CHECK(pwrite(fd, "?", 1, 1000) == 1);
    close(fd);
    struct ns_journal *journal = NULL;
    REQUIRE(ns_journal_open(bench.directory, &journal, error) == 0);
    CHECK_INT(ns_state_recover(journal, bench.directory, &state, &replayed, error), -EBADMSG);
    CHECK(strstr(error, "0000000000000001.seg is damaged at offset") != NULL);
    ns_journal_close(journal);
    remove_directory(bench.directory);
}

TEST(a_journal_whose_verdicts_do_not_replay_is_refused_by_name)
{
    char whole[64];
    char error[NS_RECOVERY_ERROR_BYTES];
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    put_budget(&bench, 1, "customer:acme", 0);
    check_call(&bench, 1, "acme");
    flush();
    CHECK_INT(bench.gate->counters.denied, 1);
    close_bench(&bench);
    snprintf(whole, sizeof whole, "%s", bench.directory);
    char copy[] = "/tmp/ns-gate-XXXXXX";
    struct ns_journal *journal = NULL;
    struct ns_state state;
    uint64_t replayed;
    REQUIRE(mkdtemp(copy) != NULL);
    copy_records(whole, copy, 2, drop_budget);
    REQUIRE(ns_journal_open(copy, &journal, error) == 0);
    CHECK_INT(ns_state_recover(journal, copy, &state, &replayed, error), -EBADMSG);
    CHECK(strstr(error, "record 2") != NULL && strstr(error, "result") != NULL);
    ns_journal_close(journal);
    remove_directory(copy);
    remove_directory(whole);
}

TEST(a_snapshot_of_another_form_is_refused)
{
    struct ns_state state;
    struct ns_state loaded;
    REQUIRE(ns_state_new(&state) == 0);
    struct saved saved = save(&state);
    ns_state_free(&state);
    CHECK_INT(ns_state_load(saved.bytes, saved.count, &loaded), 0);
    ns_state_free(&loaded);
    for (size_t cut = 0; cut < saved.count; cut++) {
        CHECK(ns_state_load(saved.bytes, cut, &loaded) == -EBADMSG);
    }
    saved.bytes[0] ^= 1;
    CHECK_INT(ns_state_load(saved.bytes, saved.count, &loaded), -EBADMSG);
    free(saved.bytes);
}

/* --- the table of open calls -------------------------------------------------------------------
 */

TEST(a_table_of_calls_finds_each_through_growth_and_reuse)
{
    struct ns_calls *calls = ns_calls_new();
    uint8_t record[3000];
    memset(record, 7, sizeof record);
    for (uint64_t i = 1; i <= 3000; i++) {
        struct ns_uuid id = call_id(i);
        CHECK_INT(ns_calls_open(calls, &id, (int64_t)i, record, 200 + i % 2000), 0);
        if (i % 3 == 0) {
            struct ns_uuid old = call_id(i / 3);
            ns_calls_close(calls, &old);
        }
    }
    CHECK_INT(ns_calls_count(calls), 2000);
    for (uint64_t i = 1; i <= 3000; i++) {
        struct ns_uuid id = call_id(i);
        struct ns_open_call *call = ns_calls_find(calls, &id);
        CHECK((call != NULL) == (i > 1000));
        CHECK(call == NULL || (call->hold_nanousd == (int64_t)i && call->check[0] == 7));
    }
    ns_calls_free(calls);
}
