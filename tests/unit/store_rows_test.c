/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_rows.h"

#include <errno.h>

#include "collector/store_counters.h"
#include "tests/harness.h"
#include "tests/records.h"

#define ROOM (2 * NS_ROW_BYTES_MAX)

static struct made made;
static struct ns_rows calls, denials;
static uint8_t call_bytes[ROOM], denial_bytes[ROOM];
static struct ns_row_facts facts;
static const char *why;
static struct ns_ledger_event_room room;

static void
begin(void)
{
    ns_rows_begin(&calls, call_bytes, ROOM);
    ns_rows_begin(&denials, denial_bytes, ROOM);
}

/* Adds the made record as the follower would: from its encoded payload. */
static int
add(size_t payload_bytes)
{
    struct ns_record record = {0};
    if (ns_record_decode(made.payload, payload_bytes, &record, &room) < 0) {
        return -EPROTO;
    }
    record.type = made.record.type;
    record.at_ns = made.record.at_ns;
    return ns_rows_add(&record, &calls, &denials, &facts, &why);
}

/* The index of a column in a list, or -1. */
static int
column_index(const char *columns, const char *name)
{
    size_t bytes = strlen(name);
    int index = 0;
    for (const char *p = columns; p != NULL; p = strchr(p, ' '), index++) {
        p += *p == ' ';
        if (strncmp(p, name, bytes) == 0 && (p[bytes] == ',' || p[bytes] == '\0')) {
            return index;
        }
    }
    return -1;
}

static uint32_t
big_endian(const uint8_t *p, size_t bytes)
{
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++) {
        value = value << 8 | p[i];
    }
    return value;
}

/* A column of the first row, as a NUL-terminated copy of its bytes; NULL: null; length in *bytes */
static const char *
value(const struct ns_rows *rows, const char *columns, const char *name, size_t *bytes)
{
    static char copy[65536];
    int index = column_index(columns, name);
    const uint8_t *p = rows->bytes + 19, *end = rows->bytes + rows->used;
    int count = (int)big_endian(p, 2);
    p += 2;
    for (int i = 0; i < count && p + 4 <= end; i++) {
        uint32_t length = big_endian(p, 4);
        p += 4;
        if (i == index) {
            if (length == UINT32_MAX) {
                return NULL;
            }
            memcpy(copy, p, length);
            copy[length] = '\0';
            if (bytes != NULL) {
                *bytes = length;
            }
            return copy;
        }
        p += length == UINT32_MAX ? 0 : length;
    }
    return "no such column";
}

static int64_t
number(const struct ns_rows *rows, const char *columns, const char *name)
{
    size_t bytes = 0;
    const char *p = value(rows, columns, name, &bytes);
    int64_t n = 0;
    for (size_t i = 0; p != NULL && i < bytes; i++) {
        n = (int64_t)((uint64_t)n << 8 | (uint8_t)p[i]);
    }
    return p == NULL ? INT64_MIN : n;
}

#define CALL(name) value(&calls, NS_ROWS_CALL_COLUMNS, name, NULL)
#define CALL_NUMBER(name) number(&calls, NS_ROWS_CALL_COLUMNS, name)
#define DENIAL(name) value(&denials, NS_ROWS_DENIAL_COLUMNS, name, NULL)
#define DENIAL_NUMBER(name) number(&denials, NS_ROWS_DENIAL_COLUMNS, name)

TEST(a_report_becomes_a_row_of_calls)
{
    begin();
    CHECK_INT(add(made_report(&made, 7, INT64_C(1767225600123456789))), 0);
    CHECK_INT(facts.kind, NS_ROW_CALL);
    CHECK_INT(facts.replaces, false);
    CHECK_INT(ns_rows_day(facts.started_at_ns), 20454); /* 2026-01-01 */
    CHECK_INT(calls.count, 1);
    CHECK_INT(denials.count, 0);
    CHECK_STR(CALL("provider"), "openai");
    CHECK_STR(CALL("source"), "preload");
    CHECK_STR(CALL("model"), "gpt-4o-mini-2024-07-18");
    CHECK_STR(CALL("requested_model"), "gpt-4o-mini");
    CHECK_STR(CALL("customer"), "customer-7");
    CHECK_STR(CALL("tags"), "\x01{\"team\":\"growth\",\"note\":\"a \\\"quoted\\\" \\\\ back\"}");
    CHECK_STR(CALL("usage"), "\x01{\"input_tokens\":107,\"cache_read_tokens\":0,"
                             "\"output_tokens\":27,\"output_reasoning_tokens\":7}");
    CHECK_STR(CALL("evidence"), "reported");
    CHECK_STR(CALL("outcome"), "ok");
    CHECK_STR(CALL("process"), "python3.11");
    CHECK_INT(CALL_NUMBER("started_at"), INT64_C(820540800123456)); /* µs since 2000 */
    CHECK_INT(CALL_NUMBER("duration_ms"), 250);
    CHECK_INT(CALL_NUMBER("http_status"), 200);
    CHECK_INT(CALL_NUMBER("pid"), 4711);
    CHECK_INT(CALL_NUMBER("input_tokens"), 107);
    CHECK_INT(CALL_NUMBER("output_tokens"), 34); /* reasoning included */
    CHECK_INT(CALL_NUMBER("reasoning_tokens"), 7);
    CHECK_INT(CALL_NUMBER("cost_nanousd"), 1000007);
    CHECK_INT(CALL_NUMBER("hold_nanousd"), 2000000);
    CHECK_INT(CALL_NUMBER("uid"), 1000);
}

TEST(what_is_not_known_is_null_and_never_zero)
{
    begin();
    made_report(&made, 7, INT64_C(1767225600000000000));
    struct ns_report *report = &made.message.as.report;
    report->customer = report->agent = report->feature = report->session = (struct ns_text){0};
    report->model = (struct ns_text){0};
    report->http_status = 0;
    report->usage.present = 0;
    made.record.outcome.usage.present = 0;
    made.record.outcome.priced = false;
    made.record.outcome.evidence = NS_EVIDENCE_UNPRICED;
    made.record.peer.uid = UINT32_MAX;
    CHECK_INT(add(made_encode(&made)), 0);
    CHECK(CALL("customer") == NULL);
    CHECK(CALL("http_status") == NULL);
    CHECK(CALL("input_tokens") == NULL);
    CHECK(CALL("cost_nanousd") == NULL);
    CHECK(CALL("uid") == NULL);
    CHECK_STR(CALL("usage"), "\x01{}");
    CHECK_STR(CALL("model"), "gpt-4o-mini"); /* the one asked for */
    CHECK_STR(CALL("evidence"), "unpriced");
}

TEST(a_duplicate_report_has_no_row_and_a_correction_replaces_one)
{
    begin();
    made_report(&made, 7, INT64_C(1767225600000000000));
    made.record.outcome.result = NS_LEDGER_DUPLICATE;
    CHECK_INT(add(made_encode(&made)), 0);
    CHECK_INT(facts.kind, NS_ROW_NONE);
    CHECK_INT(calls.count, 0);
    made.record.outcome.result = NS_LEDGER_DONE;
    made.record.outcome.corrected = true;
    CHECK_INT(add(made_encode(&made)), 0);
    CHECK_INT(facts.replaces, true);
    CHECK(ns_uuid_equal(&facts.call_id, &made.message.as.report.call_id));
}

TEST(a_lost_call_becomes_a_row_of_what_was_known)
{
    begin();
    size_t bytes = made_lost(&made, 7, INT64_C(1767225600000000000));
    CHECK_INT(add(bytes), 0);
    CHECK_INT(facts.kind, NS_ROW_CALL);
    CHECK_STR(CALL("outcome"), "lost");
    CHECK_STR(CALL("evidence"), "estimated");
    CHECK(CALL("http_status") == NULL);
    CHECK_INT(CALL_NUMBER("duration_ms"), 900);
    CHECK_INT(CALL_NUMBER("cost_nanousd"), 1500000);
}

TEST(a_denied_check_becomes_a_row_of_denials_and_an_allowed_one_none)
{
    begin();
    CHECK_INT(add(made_denial(&made, 7, INT64_C(1767225600000000000), false)), 0);
    CHECK_INT(facts.kind, NS_ROW_DENIAL);
    CHECK_STR(DENIAL("reason"), "budget_exceeded");
    CHECK_STR(DENIAL("entity"), "customer-7");
    CHECK_INT(DENIAL_NUMBER("limit_nanousd"), 5000000000);
    CHECK_INT(DENIAL_NUMBER("needed_nanousd"), 200000000);
    CHECK_INT(DENIAL_NUMBER("finalize_reserve_nanousd"), 1000000000);
    CHECK(DENIAL("overdraft_nanousd") == NULL);
    CHECK(DENIAL("granted_nanousd") == NULL);
    CHECK_INT(DENIAL_NUMBER("enforced"), 1);
    begin();
    CHECK_INT(add(made_denial(&made, 7, INT64_C(1767225600000000000), true)), 0);
    CHECK_INT(DENIAL_NUMBER("enforced"), 0);
    begin();
    made.record.outcome.granted_nanousd = 17;
    CHECK_INT(add(made_encode(&made)), 0);
    CHECK_INT(DENIAL_NUMBER("granted_nanousd"), 17);
    begin();
    made.record.outcome.entity = (struct ns_text){0};
    made.record.outcome.reason = NS_REASON_CUSTOMER_REQUIRED;
    CHECK_INT(add(made_encode(&made)), 0);
    CHECK(DENIAL("limit_nanousd") == NULL); /* no budget, so no numbers of one */
    begin();
    memset(&made.record.outcome.denial_id, 0, sizeof made.record.outcome.denial_id);
    CHECK_INT(add(made_encode(&made)), 0);
    CHECK_INT(facts.kind, NS_ROW_NONE);
    CHECK_INT(denials.count, 0);
}

TEST(text_that_is_no_utf8_becomes_text_that_postgres_takes)
{
    begin();
    made_report(&made, 7, INT64_C(1767225600000000000));
    made.record.peer.process = ns_text_of("a\x80\xc3(\xed\xa0\x80\xf4\x90\x80\x80z\xc3\xa9\n\x7f");
    CHECK_INT(add(made_encode(&made)), 0);
    CHECK_STR(CALL("process"), "a\?\?(\?\?\?\?\?\?\?z\xc3\xa9\?\?");
}

TEST(a_row_that_does_not_fit_is_not_there_at_all)
{
    begin();
    size_t bytes = made_report(&made, 7, INT64_C(1767225600000000000));
    CHECK_INT(add(bytes), 0);
    size_t row = calls.used - 19;
    for (size_t more = 0; more < row; more += 7) {
        calls.room = 19 + row + more;
        CHECK_INT(add(bytes), -ENOSPC);
        CHECK_INT(calls.used, 19 + row);
        CHECK_INT(calls.count, 1);
    }
    calls.room = 19 + 2 * row;
    CHECK_INT(add(bytes), 0);
    CHECK_INT(calls.count, 2);
}

TEST(a_record_whose_message_is_damaged_is_refused_with_a_reason)
{
    begin();
    made_report(&made, 7, INT64_C(1767225600000000000));
    struct ns_record record = made.record;
    record.message_bytes /= 2;
    CHECK_INT(ns_rows_add(&record, &calls, &denials, &facts, &why), -EBADMSG);
    CHECK(why[0] != '\0');
    record.message = NULL;
    CHECK_INT(ns_rows_add(&record, &calls, &denials, &facts, &why), -EBADMSG);
    record = made.record;
    record.type = NS_RECORD_LOST; /* whose message is a CHECK */
    CHECK_INT(ns_rows_add(&record, &calls, &denials, &facts, &why), -EBADMSG);
    CHECK_INT(calls.count, 0);
}

TEST(times_before_1970_and_without_end_are_kept)
{
    CHECK_INT(ns_rows_day(-1), -1);
    CHECK_INT(ns_rows_day(0), 0);
    CHECK_INT(ns_rows_day(INT64_C(86400000000000) - 1), 0);
    CHECK_INT(ns_rows_day(INT64_C(86400000000000)), 1);
    begin();
    struct ns_row_counter counter = {
        .budget_id = 3, .entity = "org", .period = NS_PERIOD_TOTAL, .period_end_ns = INT64_MAX};
    CHECK_INT(ns_rows_add_counter(&calls, &counter), 0);
    CHECK_INT(number(&calls, NS_ROWS_COUNTER_COLUMNS, "period_start"), INT64_MIN);
    CHECK_INT(number(&calls, NS_ROWS_COUNTER_COLUMNS, "period_end"), INT64_MAX);
    CHECK(value(&calls, NS_ROWS_COUNTER_COLUMNS, "paused_until", NULL) == NULL);
    counter.paused_until_ns = INT64_C(946684800000001000); /* 2000-01-01 and a microsecond */
    begin();
    CHECK_INT(ns_rows_add_counter(&calls, &counter), 0);
    CHECK_INT(number(&calls, NS_ROWS_COUNTER_COLUMNS, "paused_until"), 1);
}

/* --- counters ------------------------------------------------------------------------------- */

static struct ns_ledger_numbers
numbers_of(int64_t budget, unsigned n, int64_t spent)
{
    struct ns_ledger_numbers numbers = {.budget_id = budget, .spent_nanousd = spent};
    snprintf(numbers.entity, sizeof numbers.entity, "customer:%u", n);
    return numbers;
}

TEST(of_a_counter_only_the_newest_numbers_wait)
{
    struct ns_store_counters waiting = {0};
    for (int64_t round = 1; round <= 3; round++) {
        for (unsigned n = 0; n < 1000; n++) {
            struct ns_ledger_numbers numbers = numbers_of(n % 3, n, round * 1000 + n);
            CHECK_INT(ns_store_counters_put(&waiting, &numbers), 0);
        }
    }
    CHECK_INT(waiting.count, 1000);
    for (size_t i = 0; i < waiting.count; i++) {
        CHECK_INT(waiting.counter[i].spent_nanousd, 3000 + (int64_t)i);
    }
    ns_store_counters_clear(&waiting);
    CHECK_INT(waiting.count, 0);
}

TEST(counters_that_could_not_be_written_come_back_unless_newer_ones_wait)
{
    struct ns_store_counters taken = {0}, waiting = {0};
    struct ns_ledger_numbers old = numbers_of(1, 1, 10), other = numbers_of(1, 2, 20),
                             newer = numbers_of(1, 1, 11);
    ns_store_counters_put(&taken, &old);
    ns_store_counters_put(&taken, &other);
    ns_store_counters_put(&waiting, &newer);
    ns_store_counters_return(&waiting, &taken);
    ns_store_counters_clear(&taken);
    REQUIRE(waiting.count == 2);
    CHECK_INT(waiting.counter[0].spent_nanousd, 11);
    CHECK_INT(waiting.counter[1].spent_nanousd, 20);
    CHECK_STR(waiting.counter[1].entity, "customer:2");
    ns_store_counters_clear(&waiting);
}
