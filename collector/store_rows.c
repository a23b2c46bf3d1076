/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COPY's binary format: docs of PostgreSQL, "COPY", section "Binary Format". A row is the number of
 * its columns, then each with its length (-1: null) and the bytes that the type's send function
 * makes, all in network byte order.
 */
#include "collector/store_rows.h"

#include <errno.h>
#include <string.h>

#include "base/utf8.h"

/* Microseconds from 1970-01-01 to 2000-01-01, from where Postgres counts. */
#define NS_ROWS_EPOCH_US INT64_C(946684800000000)
#define NS_ROWS_DAY_NS INT64_C(86400000000000)
#define NS_ROWS_INFINITY_NS INT64_MAX

/* How many columns the lists of store_rows.h have. */
#define NS_ROWS_CALL_COLUMN_COUNT 39
#define NS_ROWS_DENIAL_COLUMN_COUNT 34
#define NS_ROWS_COUNTER_COLUMN_COUNT 8

/* --- values --------------------------------------------------------------------------------- */

static void
put(struct ns_rows *rows, const void *bytes, size_t count)
{
    if (rows->full || rows->room - rows->used < count) {
        rows->full = true;
        return;
    }
    if (count > 0) {
        memcpy(rows->bytes + rows->used, bytes, count);
        rows->used += count;
    }
}

static void
put_big_endian(struct ns_rows *rows, uint64_t value, size_t bytes)
{
    uint8_t out[8];
    for (size_t i = 0; i < bytes; i++) {
        out[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
    }
    put(rows, out, bytes);
}

static void
put_null(struct ns_rows *rows)
{
    put_big_endian(rows, UINT32_MAX, 4);
}

static void
put_i64(struct ns_rows *rows, int64_t value)
{
    put_big_endian(rows, 8, 4);
    put_big_endian(rows, (uint64_t)value, 8);
}

static void
put_i64_or_null(struct ns_rows *rows, bool known, int64_t value)
{
    if (known) {
        put_i64(rows, value);
    } else {
        put_null(rows);
    }
}

/* A count of 0 stands for "not known"; so does one that the column cannot hold. */
static void
put_i32_or_null(struct ns_rows *rows, uint64_t value)
{
    if (value == 0 || value > INT32_MAX) {
        put_null(rows);
        return;
    }
    put_big_endian(rows, 4, 4);
    put_big_endian(rows, value, 4);
}

static void
put_bool(struct ns_rows *rows, bool value)
{
    put_big_endian(rows, 1, 4);
    put_big_endian(rows, value, 1);
}

static void
put_uuid(struct ns_rows *rows, const struct ns_uuid *uuid)
{
    put_big_endian(rows, sizeof uuid->bytes, 4);
    put(rows, uuid->bytes, sizeof uuid->bytes);
}

static void
put_time(struct ns_rows *rows, int64_t at_ns)
{
    int64_t us = at_ns / 1000 - (at_ns % 1000 < 0); /* towards the past, as the days are */
    if (at_ns == NS_ROWS_INFINITY_NS || at_ns == INT64_MIN) {
        put_i64(rows, at_ns); /* infinity and -infinity are these numbers there */
    } else {
        put_i64(rows, us - NS_ROWS_EPOCH_US);
    }
}

/* Text as it is; what is no UTF-8 or a control character becomes a question mark, since names of
 * executables and hosts are told by kernels, which promise neither. */
static void
put_characters(struct ns_rows *rows, struct ns_text text, bool json)
{
    const uint8_t *p = (const uint8_t *)text.text;
    size_t from = 0, at = 0;
    if (text.bytes == 0) {
        return;
    }
    while (at < text.bytes) {
        size_t n = ns_utf8_character(p + at, text.bytes - at);
        bool escape = json && n == 1 && (p[at] == '"' || p[at] == '\\');
        if (n != 0 && !escape) {
            at += n;
            continue;
        }
        put(rows, p + from, at - from);
        put(rows, escape ? "\\" : "?", 1);
        from = escape ? at : at + 1;
        at++;
    }
    put(rows, p + from, at - from);
}

/* Writes the length of a value that has been put since start. */
static void
patch_length(struct ns_rows *rows, size_t start)
{
    if (!rows->full) {
        size_t length = rows->used - start - 4;
        for (size_t i = 0; i < 4; i++) {
            rows->bytes[start + i] = (uint8_t)(length >> (8 * (3 - i)));
        }
    }
}

static void
put_text(struct ns_rows *rows, struct ns_text text)
{
    size_t start = rows->used;
    put_big_endian(rows, 0, 4);
    put_characters(rows, text, false);
    patch_length(rows, start);
}

static void
put_text_or_null(struct ns_rows *rows, struct ns_text text)
{
    if (text.bytes == 0) {
        put_null(rows);
    } else {
        put_text(rows, text);
    }
}

static void
put_word(struct ns_rows *rows, const char *word)
{
    put_text(rows, ns_text_of(word));
}

/* jsonb's first byte is its version, 1; then text. */
static void
put_json_start(struct ns_rows *rows)
{
    put_big_endian(rows, 0, 4);
    put(rows, "\x01{", 2);
}

static void
put_json_string(struct ns_rows *rows, struct ns_text text)
{
    put(rows, "\"", 1);
    put_characters(rows, text, true);
    put(rows, "\"", 1);
}

static void
put_tags(struct ns_rows *rows, const struct ns_tags *tags)
{
    size_t start = rows->used;
    put_json_start(rows);
    for (uint32_t i = 0; i < tags->count && i < NS_PROTOCOL_TAGS_MAX; i++) {
        put(rows, ",", i > 0);
        put_json_string(rows, tags->tag[i].key);
        put(rows, ":", 1);
        put_json_string(rows, tags->tag[i].value);
    }
    put(rows, "}", 1);
    patch_length(rows, start);
}

static void
put_decimal(struct ns_rows *rows, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    put(rows, digits + at, sizeof digits - at);
}

static void
put_usage(struct ns_rows *rows, const struct ns_usage *usage)
{
    size_t start = rows->used;
    bool first = true;
    put_json_start(rows);
    for (int m = 0; m < NS_METER_COUNT; m++) {
        if ((usage->present >> m & 1) == 0) {
            continue;
        }
        put(rows, ",", !first);
        put_json_string(rows, ns_text_of(ns_meter_name((enum ns_meter)m)));
        put(rows, ":", 1);
        put_decimal(rows, usage->count[m]);
        first = false;
    }
    put(rows, "}", 1);
    patch_length(rows, start);
}

/* --- rows ----------------------------------------------------------------------------------- */

void
ns_rows_begin(struct ns_rows *rows, uint8_t *bytes, size_t room)
{
    static const uint8_t header[19] = "PGCOPY\n\377\r\n"; /* a NUL, flags 0, extension 0 */
    *rows = (struct ns_rows){.bytes = bytes, .room = room};
    put(rows, header, sizeof header);
}

void
ns_rows_end(struct ns_rows *rows)
{
    put_big_endian(rows, UINT16_MAX, 2);
}

/* Identity and circumstances are said alike in CHECK and REPORT; a copy of pointers makes the rest
 * of this file one. */
struct identity {
    const struct ns_check *check;
    const struct ns_record_peer *peer;
    struct ns_text process;
    uint32_t pid;
};

static void
put_who(struct ns_rows *rows, const struct ns_check *check)
{
    put_text_or_null(rows, check->customer);
    put_text_or_null(rows, check->agent);
    put_text_or_null(rows, check->feature);
    put_text_or_null(rows, check->session);
    put_tags(rows, &check->tags);
    put_text_or_null(rows, check->trace_id);
    put_text_or_null(rows, check->key_hint);
    put_text_or_null(rows, check->host);
}

static void
put_tokens(struct ns_rows *rows, const struct ns_usage *usage)
{
    const uint64_t counts[] = {ns_usage_input_tokens(usage), ns_usage_cached_input_tokens(usage),
                               ns_usage_cache_write_tokens(usage), ns_usage_output_tokens(usage),
                               ns_usage_get(usage, NS_METER_OUTPUT_REASONING)};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        int64_t count = counts[i] > INT64_MAX ? INT64_MAX : (int64_t)counts[i];
        put_i64_or_null(rows, usage->present != 0, count);
    }
}

/* How a call ended; what a lost one could not say is empty. */
struct ending {
    int64_t ended_at_ns;
    struct ns_text model, service_tier, response_id;
    uint32_t http_status;
    int outcome;
    bool checked;
};

static void
put_call(struct ns_rows *rows, const struct identity *who, const struct ending *end,
         const struct ns_record_outcome *outcome)
{
    const struct ns_check *check = who->check;
    int64_t duration_ns;
    if (__builtin_sub_overflow(end->ended_at_ns, check->started_at_ns, &duration_ns) ||
        duration_ns < 0) {
        duration_ns = 0; /* a clock that was set back */
    }
    put_big_endian(rows, NS_ROWS_CALL_COLUMN_COUNT, 2);
    put_uuid(rows, &check->call_id);
    put_time(rows, check->started_at_ns);
    put_time(rows, end->ended_at_ns);
    put_i64(rows, duration_ns / 1000000);
    put_word(rows, ns_source_name(who->peer->source));
    put_text(rows, check->provider);
    put_text(rows, check->family);
    put_text(rows, check->operation);
    put_text_or_null(rows, end->model.bytes > 0 ? end->model : check->requested_model);
    put_text_or_null(rows, check->requested_model);
    put_text_or_null(rows, end->service_tier);
    put_who(rows, check);
    put_i32_or_null(rows, who->pid);
    put_text_or_null(rows, who->process);
    put_bool(rows, check->streamed);
    put_i32_or_null(rows, end->http_status);
    put_word(rows, ns_outcome_name(end->outcome));
    put_word(rows, ns_evidence_name(outcome->evidence));
    put_tokens(rows, &outcome->usage);
    put_usage(rows, &outcome->usage);
    put_i64(rows, outcome->hold_nanousd);
    put_i64_or_null(rows, outcome->priced, outcome->cost_nanousd);
    put_text_or_null(rows, outcome->price_version);
    put_i64_or_null(rows, outcome->priced, outcome->computed_nanousd);
    put_bool(rows, end->checked);
    put_text_or_null(rows, end->response_id);
    put_text_or_null(rows, who->peer->hostname);
    put_i64_or_null(rows, who->peer->uid != UINT32_MAX, who->peer->uid);
}

/* Whether a denial has a budget's numbers. */
static bool
is_budgets(uint8_t reason)
{
    return reason == NS_REASON_BUDGET_EXCEEDED || reason == NS_REASON_VELOCITY ||
           reason == NS_REASON_SESSION_CAP;
}

static void
put_denial(struct ns_rows *rows, const struct identity *who, int64_t denied_at_ns,
           const struct ns_record_outcome *outcome)
{
    const struct ns_check *check = who->check;
    bool by_budget = is_budgets(outcome->reason);
    put_big_endian(rows, NS_ROWS_DENIAL_COLUMN_COUNT, 2);
    put_uuid(rows, &outcome->denial_id);
    put_time(rows, denied_at_ns);
    put_word(rows, ns_reason_name(outcome->reason));
    put_text_or_null(rows, outcome->entity);
    put_i64_or_null(rows, by_budget, outcome->limit_nanousd);
    put_i64_or_null(rows, by_budget, outcome->spent_nanousd);
    put_i64_or_null(rows, by_budget, outcome->held_nanousd);
    put_i64_or_null(rows, by_budget || outcome->needed_nanousd != 0, outcome->needed_nanousd);
    put_i64_or_null(rows, by_budget, outcome->finalize_nanousd);
    put_i64_or_null(rows, outcome->overdraft_nanousd != 0, outcome->overdraft_nanousd);
    put_i64_or_null(rows, outcome->granted_nanousd != 0, outcome->granted_nanousd);
    put_i32_or_null(rows, outcome->http_status);
    put_uuid(rows, &check->call_id);
    put_time(rows, check->started_at_ns);
    put_word(rows, ns_source_name(who->peer->source));
    put_text(rows, check->provider);
    put_text(rows, check->family);
    put_text(rows, check->operation);
    put_text_or_null(rows, check->requested_model);
    put_who(rows, check);
    put_i32_or_null(rows, who->pid);
    put_text_or_null(rows, who->process);
    put_bool(rows, check->streamed);
    put_text_or_null(rows, who->peer->hostname);
    put_i64_or_null(rows, who->peer->uid != UINT32_MAX, who->peer->uid);
    put_bool(rows, !outcome->would_deny);
    put_text_or_null(rows, outcome->rule);
}

/* The identity fields of a REPORT as a CHECK. */
#define NS_COPY_FIELD(tag, name, type, need, max) check->name = report->name;
static void
check_of_report(const struct ns_report *report, struct ns_check *check)
{
    memset(check, 0, sizeof *check);
    NS_FIELDS_IDENTITY(NS_COPY_FIELD)
}
#undef NS_COPY_FIELD

/* Adds one row; a row that does not fit is not there at all. */
static int
end_row(struct ns_rows *rows, size_t start)
{
    if (rows->full) {
        rows->used = start;
        rows->full = false;
        return -ENOSPC;
    }
    rows->count++;
    return 0;
}

static bool
is_zero(const struct ns_uuid *uuid)
{
    static const struct ns_uuid zero;
    return memcmp(uuid, &zero, sizeof zero) == 0;
}

static int
add_report(const struct ns_record *record, const struct ns_report *report, struct ns_rows *calls,
           struct ns_row_facts *facts)
{
    struct ns_check check;
    if (record->outcome.result == NS_LEDGER_DUPLICATE) {
        return 0; /* said before; its row is there */
    }
    check_of_report(report, &check);
    struct identity who = {.check = &check,
                           .peer = &record->peer,
                           .process =
                               report->process.bytes > 0 ? report->process : record->peer.process,
                           .pid = report->pid != 0 ? report->pid : record->peer.pid};
    struct ending end = {.ended_at_ns = report->ended_at_ns,
                         .model = report->model,
                         .service_tier = report->service_tier,
                         .response_id = report->response_id,
                         .http_status = report->http_status,
                         .outcome = report->outcome,
                         .checked = report->checked};
    size_t start = calls->used;
    put_call(calls, &who, &end, &record->outcome);
    facts->kind = NS_ROW_CALL;
    facts->replaces = record->outcome.corrected;
    facts->call_id = check.call_id;
    facts->started_at_ns = check.started_at_ns;
    return end_row(calls, start);
}

static int
add_lost(const struct ns_record *record, const struct ns_check *check, struct ns_rows *calls,
         struct ns_row_facts *facts)
{
    struct identity who = {.check = check,
                           .peer = &record->peer,
                           .process = record->peer.process,
                           .pid = record->peer.pid};
    struct ending end = {.ended_at_ns = record->at_ns,
                         .model = record->outcome.model,
                         .outcome = NS_OUTCOME_LOST,
                         .checked = true};
    if (record->outcome.result == NS_LEDGER_DUPLICATE) {
        return 0;
    }
    size_t start = calls->used;
    put_call(calls, &who, &end, &record->outcome);
    facts->kind = NS_ROW_CALL;
    facts->call_id = check->call_id;
    facts->started_at_ns = check->started_at_ns;
    return end_row(calls, start);
}

static int
add_check(const struct ns_record *record, const struct ns_check *check, struct ns_rows *denials,
          struct ns_row_facts *facts)
{
    struct identity who = {.check = check,
                           .peer = &record->peer,
                           .process = record->peer.process,
                           .pid = record->peer.pid};
    if (is_zero(&record->outcome.denial_id)) {
        return 0; /* allowed: its report will be the row */
    }
    size_t start = denials->used;
    put_denial(denials, &who, record->at_ns, &record->outcome);
    facts->kind = NS_ROW_DENIAL;
    return end_row(denials, start);
}

/* Whether the record says anything to Postgres. */
static bool
has_row(const struct ns_record *record)
{
    switch (record->type) {
    case NS_RECORD_REPORT:
    case NS_RECORD_LOST:
        return true;
    case NS_RECORD_CHECK:
        return !is_zero(&record->outcome.denial_id);
    case NS_RECORD_RELEASE:
        return record->outcome.corrected;
    default:
        return false;
    }
}

int
ns_rows_add(const struct ns_record *record, struct ns_rows *calls, struct ns_rows *denials,
            struct ns_row_facts *facts, const char **why)
{
    struct ns_message message;
    enum ns_message_kind expected = record->type == NS_RECORD_REPORT    ? NS_MESSAGE_REPORT
                                    : record->type == NS_RECORD_RELEASE ? NS_MESSAGE_RELEASE
                                                                        : NS_MESSAGE_CHECK;
    memset(facts, 0, sizeof *facts);
    *why = "";
    if (!has_row(record)) {
        return 0;
    }
    if (record->message == NULL ||
        ns_message_decode(record->message, record->message_bytes, &message, why) < 0) {
        *why = (*why)[0] != '\0' ? *why : "its message is missing or of another version";
        return -EBADMSG;
    }
    if (message.kind != expected) {
        *why = "its message is of another kind than the record";
        return -EBADMSG;
    }
    if (record->type == NS_RECORD_RELEASE) {
        facts->replaces = true; /* the request never left: by nothing */
        facts->call_id = message.as.release.call_id;
        return 0;
    }
    if (record->type == NS_RECORD_REPORT) {
        return add_report(record, &message.as.report, calls, facts);
    }
    return record->type == NS_RECORD_LOST ? add_lost(record, &message.as.check, calls, facts)
                                          : add_check(record, &message.as.check, denials, facts);
}

int
ns_rows_add_counter(struct ns_rows *rows, const struct ns_row_counter *counter)
{
    size_t start = rows->used;
    bool total = counter->period == NS_PERIOD_TOTAL;
    put_big_endian(rows, NS_ROWS_COUNTER_COLUMN_COUNT, 2);
    put_i64(rows, counter->budget_id);
    put_word(rows, counter->entity);
    put_time(rows, total ? INT64_MIN : counter->period_start_ns);
    put_time(rows, total ? INT64_MAX : counter->period_end_ns);
    put_i64(rows, counter->spent_nanousd);
    put_i64(rows, counter->held_nanousd);
    put_i64(rows, counter->overshoot_nanousd);
    if (counter->paused_until_ns > 0) {
        put_time(rows, counter->paused_until_ns);
    } else {
        put_null(rows);
    }
    return end_row(rows, start);
}

int64_t
ns_rows_day(int64_t at_ns)
{
    return at_ns / NS_ROWS_DAY_NS - (at_ns % NS_ROWS_DAY_NS < 0);
}
