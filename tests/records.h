/* SPDX-License-Identifier: Apache-2.0 */
/* Journal records made up for tests and benchmarks of what follows the journal. */
#ifndef NS_TESTS_RECORDS_H
#define NS_TESTS_RECORDS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/journal.h"
#include "collector/record.h"

struct made {
    struct ns_record record;
    struct ns_message message;
    uint8_t message_bytes[NS_MESSAGE_BYTES_MAX];
    uint8_t payload[NS_RECORD_BYTES_MAX];
    char customer[32], session[32], response[48], trace[33];
};

/* The id of call n: the same in every run. */
static inline struct ns_uuid
made_uuid(uint64_t n, uint8_t kind, int64_t at_ns)
{
    uint8_t random[10] = {kind};
    for (size_t i = 0; i < 8; i++) {
        random[2 + i] = (uint8_t)(n >> (8 * (7 - i)));
    }
    return ns_uuid_v7((uint64_t)at_ns / 1000000, random);
}

/* What all kinds of records say of call n. */
static inline void
made_identity(struct made *m, uint64_t n, int64_t started_at_ns, struct ns_check *check)
{
    static const char *const features[] = {"chat", "search", "summary"};
    snprintf(m->customer, sizeof m->customer, "customer-%u", (unsigned)(n % 40));
    snprintf(m->session, sizeof m->session, "session-%u", (unsigned)(n / 10));
    snprintf(m->trace, sizeof m->trace, "%032llx", (unsigned long long)n);
    memset(check, 0, sizeof *check);
    check->call_id = made_uuid(n, 1, started_at_ns);
    check->started_at_ns = started_at_ns;
    check->provider = ns_text_of("openai");
    check->family = ns_text_of("openai");
    check->operation = ns_text_of("chat");
    check->host = ns_text_of("api.openai.com");
    check->requested_model = ns_text_of("gpt-4o-mini");
    check->streamed = n % 2 == 0;
    check->customer = ns_text_of(m->customer);
    check->agent = ns_text_of(n % 3 == 0 ? "researcher" : "writer");
    check->feature = ns_text_of(features[n % 3]);
    check->session = ns_text_of(m->session);
    check->tags.count = 2;
    check->tags.tag[0].key = ns_text_of("team");
    check->tags.tag[0].value = ns_text_of("growth");
    check->tags.tag[1].key = ns_text_of("note");
    check->tags.tag[1].value = ns_text_of("a \"quoted\" \\ back");
    check->trace_id = ns_text_of(m->trace);
    check->key_hint = ns_text_of("1234");
    check->text_bytes = 1000;
}

#define NS_MADE_COPY(tag, name, type, need, max) report->name = check->name;
static inline void
made_report_identity(struct ns_report *report, const struct ns_check *check)
{
    NS_FIELDS_IDENTITY(NS_MADE_COPY)
}
#undef NS_MADE_COPY

static inline void
made_peer(struct made *m)
{
    m->record.peer = (struct ns_record_peer){.pid = 4711,
                                             .uid = 1000,
                                             .source = NS_SOURCE_PRELOAD,
                                             .process = ns_text_of("python3.11"),
                                             .executable = ns_text_of("/usr/bin/python3.11"),
                                             .cgroup = ns_text_of("/user.slice"),
                                             .hostname = ns_text_of("worker-1")};
}

static inline void
made_usage(struct made *m, uint64_t n)
{
    struct ns_usage *usage = &m->record.outcome.usage;
    memset(usage, 0, sizeof *usage);
    ns_usage_set(usage, NS_METER_INPUT, 100 + n % 1000);
    ns_usage_set(usage, NS_METER_CACHE_READ, n % 7);
    ns_usage_set(usage, NS_METER_OUTPUT, 20 + n % 300);
    ns_usage_set(usage, NS_METER_OUTPUT_REASONING, n % 11);
}

/* Encodes message and record. Returns the payload's bytes; exits where that fails. */
static inline size_t
made_encode(struct made *m)
{
    int bytes = ns_message_encode(&m->message, m->message_bytes, sizeof m->message_bytes);
    m->record.message = m->message_bytes;
    m->record.message_bytes = bytes > 0 ? (size_t)bytes : 0;
    int payload = bytes > 0 ? ns_record_encode(&m->record, m->payload, sizeof m->payload) : bytes;
    if (payload <= 0) {
        fprintf(stderr, "a made record cannot be encoded: %d\n", payload);
        exit(1);
    }
    return (size_t)payload;
}

/* The report of call n. */
static inline size_t
made_report(struct made *m, uint64_t n, int64_t started_at_ns)
{
    struct ns_check check;
    made_identity(m, n, started_at_ns, &check);
    memset(&m->record, 0, sizeof m->record);
    m->record.type = NS_RECORD_REPORT;
    m->record.at_ns = started_at_ns + 250000000;
    made_peer(m);
    m->message.kind = NS_MESSAGE_REPORT;
    struct ns_report *report = &m->message.as.report;
    memset(report, 0, sizeof *report);
    made_report_identity(report, &check);
    snprintf(m->response, sizeof m->response, "chatcmpl-%016llx", (unsigned long long)n);
    report->ended_at_ns = started_at_ns + 250000000;
    report->http_status = 200;
    report->outcome = NS_OUTCOME_OK;
    report->evidence = NS_EVIDENCE_REPORTED;
    report->model = ns_text_of("gpt-4o-mini-2024-07-18");
    report->service_tier = ns_text_of("default");
    report->response_id = ns_text_of(m->response);
    report->checked = true;
    made_usage(m, n);
    report->usage = m->record.outcome.usage;
    struct ns_record_outcome *outcome = &m->record.outcome;
    outcome->result = NS_LEDGER_DONE;
    outcome->hold_nanousd = 2000000;
    outcome->priced = true;
    outcome->cost_nanousd = 1000000 + (int64_t)(n % 1000);
    outcome->computed_nanousd = outcome->cost_nanousd;
    outcome->evidence = NS_EVIDENCE_REPORTED;
    outcome->price_version = ns_text_of("2026-11-01");
    return made_encode(m);
}

/* Call n is lost: its process died. */
static inline size_t
made_lost(struct made *m, uint64_t n, int64_t started_at_ns)
{
    memset(&m->record, 0, sizeof m->record);
    m->record.type = NS_RECORD_LOST;
    m->record.at_ns = started_at_ns + 900000000;
    made_peer(m);
    m->message.kind = NS_MESSAGE_CHECK;
    made_identity(m, n, started_at_ns, &m->message.as.check);
    struct ns_record_outcome *outcome = &m->record.outcome;
    made_usage(m, n);
    outcome->result = NS_LEDGER_DONE;
    outcome->hold_nanousd = 2000000;
    outcome->priced = true;
    outcome->cost_nanousd = outcome->computed_nanousd = 1500000;
    outcome->evidence = NS_EVIDENCE_ESTIMATED;
    outcome->price_version = ns_text_of("2026-11-01");
    return made_encode(m);
}

/* Call n, which was lost, never left after all. */
static inline size_t
made_release(struct made *m, uint64_t n, int64_t started_at_ns)
{
    memset(&m->record, 0, sizeof m->record);
    m->record.type = NS_RECORD_RELEASE;
    m->record.at_ns = started_at_ns + 950000000;
    made_peer(m);
    memset(&m->message, 0, sizeof m->message);
    m->message.kind = NS_MESSAGE_RELEASE;
    m->message.as.release.call_id = made_uuid(n, 1, started_at_ns);
    m->message.as.release.outcome = NS_OUTCOME_CANCELLED;
    m->record.outcome.result = NS_LEDGER_DONE;
    m->record.outcome.corrected = true;
    return made_encode(m);
}

/* Call n is denied, or (would) would have been. */
static inline size_t
made_denial(struct made *m, uint64_t n, int64_t at_ns, bool would)
{
    memset(&m->record, 0, sizeof m->record);
    m->record.type = NS_RECORD_CHECK;
    m->record.at_ns = at_ns;
    made_peer(m);
    m->message.kind = NS_MESSAGE_CHECK;
    made_identity(m, n, at_ns, &m->message.as.check);
    struct ns_record_outcome *outcome = &m->record.outcome;
    outcome->result = would ? NS_LEDGER_DONE : NS_LEDGER_DENIED;
    outcome->would_deny = would;
    outcome->reason = NS_REASON_BUDGET_EXCEEDED;
    outcome->denial_id = made_uuid(n, 2, at_ns);
    outcome->entity = m->message.as.check.customer;
    outcome->limit_nanousd = 5000000000;
    outcome->finalize_nanousd = 1000000000;
    outcome->spent_nanousd = 4000000000;
    outcome->held_nanousd = 900000000;
    outcome->needed_nanousd = 200000000;
    return made_encode(m);
}

#endif
