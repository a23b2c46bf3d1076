/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/record.h"

#include <errno.h>

#include "tests/unit/ledger_support.h"

static const char *const record_entities[] = {"org", "customer:acme"};

/* A record with something in every member. */
static struct ns_record
full_record(void)
{
    static const uint8_t message[] = {1, 2, 3, 4, 5};
    struct ns_record r = {
        .type = NS_RECORD_REPORT,
        .event = settle_event(7, 1234, NS_MONDAY_NS, 2, record_entities),
        .peer = {.pid = 42,
                 .uid = 1000,
                 .source = NS_SOURCE_PRELOAD,
                 .process = ns_text_of("python3"),
                 .executable = ns_text_of("/usr/bin/python3"),
                 .cgroup = ns_text_of("/user.slice"),
                 .hostname = ns_text_of("host")},
        .outcome = {.result = NS_LEDGER_DONE,
                    .would_deny = true,
                    .corrected = true,
                    .reason = NS_REASON_BUDGET_EXCEEDED,
                    .http_status = 402,
                    .denial_id = call_of(99),
                    .hold_nanousd = 1,
                    .priced = true,
                    .cost_nanousd = 2,
                    .computed_nanousd = -3,
                    .evidence = NS_EVIDENCE_REPORTED,
                    .price_version = ns_text_of("2026-11"),
                    .entity = ns_text_of("customer:acme"),
                    .limit_nanousd = 4,
                    .spent_nanousd = 5,
                    .held_nanousd = 6,
                    .needed_nanousd = INT64_MAX,
                    .finalize_nanousd = 3,
                    .overdraft_nanousd = 11,
                    .granted_nanousd = 13,
                    .model = ns_text_of("gpt-x"),
                    .rule = ns_text_of("model gpt-x is in deny_models")},
        .message = message,
        .message_bytes = sizeof(message),
    };
    ns_usage_set(&r.outcome.usage, NS_METER_INPUT, 100);
    ns_usage_set(&r.outcome.usage, NS_METER_OUTPUT, 0);
    ns_usage_set(&r.outcome.usage, NS_METER_RERANK_SEARCHES, UINT64_MAX);
    return r;
}

static bool
same_text(struct ns_text a, struct ns_text b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.text, b.text, a.bytes) == 0);
}

TEST(every_member_of_a_record_comes_back)
{
    struct ns_record r = full_record();
    static uint8_t bytes[NS_RECORD_BYTES_MAX];
    int n = ns_record_encode(&r, bytes, sizeof(bytes));
    REQUIRE(n > 0);
    struct ns_record d;
    struct ns_ledger_event_room room;
    REQUIRE(ns_record_decode(bytes, (size_t)n, &d, &room) == 0);
    CHECK_INT(d.event.kind, NS_LEDGER_SETTLE);
    CHECK_INT(d.event.as.settle.cost_nanousd, 1234);
    CHECK_INT(d.event.as.settle.entity_count, 2);
    CHECK_STR(d.event.as.settle.entity[1], "customer:acme");
    CHECK_INT(d.peer.pid, 42);
    CHECK_INT(d.peer.uid, 1000);
    CHECK_INT(d.peer.source, NS_SOURCE_PRELOAD);
    CHECK(same_text(d.peer.process, r.peer.process));
    CHECK(same_text(d.peer.executable, r.peer.executable));
    CHECK(same_text(d.peer.cgroup, r.peer.cgroup));
    CHECK(same_text(d.peer.hostname, r.peer.hostname));
    CHECK(d.outcome.would_deny && d.outcome.corrected && d.outcome.priced);
    CHECK_INT(d.outcome.reason, NS_REASON_BUDGET_EXCEEDED);
    CHECK_INT(d.outcome.http_status, 402);
    CHECK(ns_uuid_equal(&d.outcome.denial_id, &r.outcome.denial_id));
    CHECK_INT(d.outcome.hold_nanousd, 1);
    CHECK_INT(d.outcome.cost_nanousd, 2);
    CHECK_INT(d.outcome.computed_nanousd, -3);
    CHECK_INT(d.outcome.evidence, NS_EVIDENCE_REPORTED);
    CHECK(same_text(d.outcome.price_version, r.outcome.price_version));
    CHECK(same_text(d.outcome.entity, r.outcome.entity));
    CHECK_INT(d.outcome.limit_nanousd, 4);
    CHECK_INT(d.outcome.spent_nanousd, 5);
    CHECK_INT(d.outcome.held_nanousd, 6);
    CHECK_INT(d.outcome.needed_nanousd, INT64_MAX);
    CHECK_INT(d.outcome.finalize_nanousd, 3);
    CHECK_INT(d.outcome.overdraft_nanousd, 11);
    CHECK_INT(d.outcome.granted_nanousd, 13);
    CHECK(same_text(d.outcome.model, r.outcome.model));
    CHECK(same_text(d.outcome.rule, r.outcome.rule));
    CHECK(memcmp(&d.outcome.usage, &r.outcome.usage, sizeof(d.outcome.usage)) == 0);
    CHECK_INT(d.message_bytes, 5);
    CHECK(d.message != NULL && memcmp(d.message, r.message, 5) == 0);
}

TEST(an_empty_record_comes_back_empty)
{
    struct ns_record r = {.type = NS_RECORD_TICK};
    uint8_t bytes[512];
    int n = ns_record_encode(&r, bytes, sizeof(bytes));
    REQUIRE(n > 0);
    struct ns_record d;
    struct ns_ledger_event_room room;
    REQUIRE(ns_record_decode(bytes, (size_t)n, &d, &room) == 0);
    CHECK_INT(d.event.kind, 0);
    CHECK(d.message == NULL);
    CHECK_INT(d.peer.process.bytes, 0);
    CHECK_INT(d.outcome.usage.present, 0);
}

TEST(the_largest_record_fits_into_its_bound)
{
    static char long_text[4096];
    static uint8_t message[NS_MESSAGE_BYTES_MAX + 1];
    static uint8_t bytes[NS_RECORD_BYTES_MAX];
    static char text[NS_ENTITIES_MAX][NS_ENTITY_BYTES_MAX + 1];
    const char *entity[NS_ENTITIES_MAX];
    memset(long_text, 'x', sizeof(long_text));
    for (int i = 0; i < NS_ENTITIES_MAX; i++) {
        memset(text[i], 'a' + i, NS_ENTITY_BYTES_MAX);
        entity[i] = text[i];
    }
    struct ns_record r = full_record();
    r.event = settle_event(7, 1, 1, NS_ENTITIES_MAX, entity);
    struct ns_text longest = {long_text, sizeof(long_text)};
    r.peer.process = r.peer.executable = r.peer.cgroup = r.peer.hostname = longest;
    r.outcome.price_version = r.outcome.entity = r.outcome.model = r.outcome.rule = longest;
    for (int m = 0; m < NS_METER_COUNT; m++) {
        ns_usage_set(&r.outcome.usage, (enum ns_meter)m, 1);
    }
    r.message = message;
    r.message_bytes = NS_MESSAGE_BYTES_MAX;
    int n = ns_record_encode(&r, bytes, sizeof(bytes));
    REQUIRE(n > 0);
    struct ns_record d;
    struct ns_ledger_event_room room;
    CHECK_INT(ns_record_decode(bytes, (size_t)n, &d, &room), 0);
    CHECK_INT(ns_record_encode(&r, bytes, (size_t)n - 1), -ENOSPC);
    r.message_bytes++;
    CHECK_INT(ns_record_encode(&r, bytes, sizeof(bytes)), -ENOSPC);
    r.message_bytes--;
    r.peer.cgroup.bytes++;
    CHECK_INT(ns_record_encode(&r, bytes, sizeof(bytes)), -ENOSPC);
}

TEST(a_record_that_is_cut_longer_or_of_another_version_is_refused)
{
    struct ns_record r = full_record();
    uint8_t bytes[2048] = {0};
    int n = ns_record_encode(&r, bytes, sizeof(bytes));
    REQUIRE(n > 0);
    struct ns_record d;
    struct ns_ledger_event_room room;
    for (int cut = 0; cut < n; cut++) {
        CHECK_INT(ns_record_decode(bytes, (size_t)cut, &d, &room), -EBADMSG);
    }
    CHECK_INT(ns_record_decode(bytes, (size_t)n + 1, &d, &room), -EBADMSG);
    bytes[0]++;
    CHECK_INT(ns_record_decode(bytes, (size_t)n, &d, &room), -EBADMSG);
}

TEST(a_changed_byte_is_refused_or_is_another_record)
{
    struct ns_record r = full_record();
    uint8_t bytes[2048];
    uint8_t again[2048];
    int n = ns_record_encode(&r, bytes, sizeof(bytes));
    REQUIRE(n > 0);
    for (int i = 0; i < n * 8; i++) {
        bytes[i / 8] ^= (uint8_t)(1U << (i % 8));
        struct ns_record d;
        struct ns_ledger_event_room room;
        if (ns_record_decode(bytes, (size_t)n, &d, &room) == 0) {
            CHECK_INT(ns_record_encode(&d, again, sizeof(again)), n);
            CHECK(memcmp(bytes, again, (size_t)n) == 0);
        }
        bytes[i / 8] ^= (uint8_t)(1U << (i % 8));
    }
}
