/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Journal records as rows in COPY's binary format, and SQL that knows their columns. Pure: bytes in
 * memory, no I/O.
 */
#ifndef NS_COLLECTOR_STORE_ROWS_H
#define NS_COLLECTOR_STORE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/record.h"

/* One row at most: every text of a record, its JSON with each byte escaped, and some numbers. */
#define NS_ROW_BYTES_MAX (6 * NS_RECORD_BYTES_MAX)

/* A buffer of COPY data. Nothing is added once it is full. */
struct ns_rows {
    uint8_t *bytes;
    size_t room;
    size_t used;
    size_t count;
    bool full; /* a row did not fit: it is not there at all */
};

enum ns_row_kind { NS_ROW_NONE, NS_ROW_CALL, NS_ROW_DENIAL };

/* What a record comes to. */
struct ns_row_facts {
    enum ns_row_kind kind;
    bool replaces; /* the row of the same id goes: a call that takes its place, or (NS_ROW_NONE) one
                      that never left */
    struct ns_uuid call_id;
    int64_t started_at_ns; /* calls: which partition */
};

/* Makes buffer empty but for COPY's header. room >= NS_ROW_BYTES_MAX. */
void ns_rows_begin(struct ns_rows *rows, uint8_t *bytes, size_t room);

/* Adds COPY's trailer. */
void ns_rows_end(struct ns_rows *rows);

/*
 * Adds a record's row, if it has one, to calls or denials. Returns 0 and *facts, -ENOSPC when the
 * buffer is full (nothing added), or -EBADMSG for a record that cannot become the row that it
 * should; *why is a static string.
 */
int ns_rows_add(const struct ns_record *record, struct ns_rows *calls, struct ns_rows *denials,
                struct ns_row_facts *facts, const char **why);

/* Adds a row of nullspend.budget_counters. Returns 0 or -ENOSPC. */
struct ns_row_counter {
    int64_t budget_id;
    const char *entity;
    uint8_t period; /* enum ns_period */
    int64_t period_start_ns, period_end_ns;
    int64_t spent_nanousd, held_nanousd, overshoot_nanousd;
    int64_t paused_until_ns; /* 0: it is not */
};
int ns_rows_add_counter(struct ns_rows *rows, const struct ns_row_counter *counter);

/* Columns in the order in which the functions above write them. */
#define NS_ROWS_CALL_COLUMNS                                                                       \
    "call_id, started_at, ended_at, duration_ms, source, provider, family, operation, model, "     \
    "requested_model, service_tier, customer, agent, feature, session, tags, trace_id, key_hint, " \
    "host, pid, process, streamed, http_status, outcome, evidence, input_tokens, "                 \
    "cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, usage, "            \
    "hold_nanousd, cost_nanousd, price_version, catalogue_nanousd, checked, response_id, "         \
    "hostname, uid"
#define NS_ROWS_DENIAL_COLUMNS                                                                     \
    "denial_id, denied_at, reason, entity, limit_nanousd, spent_nanousd, held_nanousd, "           \
    "needed_nanousd, finalize_reserve_nanousd, overdraft_nanousd, granted_nanousd, "               \
    "http_status, call_id, started_at, source, "                                                   \
    "provider, family, operation, requested_model, customer, agent, feature, session, tags, "      \
    "trace_id, key_hint, host, pid, process, streamed, hostname, uid, enforced, rule"
#define NS_ROWS_COUNTER_COLUMNS                                                                    \
    "budget_id, entity, period_start, period_end, spent_nanousd, held_nanousd, "                   \
    "overshoot_nanousd, paused_until"

/* Days since 1970-01-01 (UTC) of a time. */
int64_t ns_rows_day(int64_t at_ns);

#endif
