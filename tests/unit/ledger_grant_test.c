/* SPDX-License-Identifier: Apache-2.0 */
/* Grants: more money for one budget, for a while. */
#include "tests/unit/ledger_support.h"

#define NOW (NS_MONDAY_NS + 10 * NS_HOUR_NS)
#define LATER (NOW + NS_HOUR_NS)
#define BUDGET 1
#define GRANT 9

/* The numbers of the budget and of the grant. */
#define CHECK_BOTH(ledger, at, spent, held, granted_spent, granted_held)                           \
    do {                                                                                           \
        struct ns_ledger_numbers ns_n = numbers_of((ledger), BUDGET, "customer:a", (at));          \
        CHECK_INT(ns_n.spent_nanousd, (spent));                                                    \
        CHECK_INT(ns_n.held_nanousd, (held));                                                      \
        ns_n = numbers_of((ledger), GRANT, "customer:a", (at));                                    \
        CHECK_INT(ns_n.spent_nanousd, (granted_spent));                                            \
        CHECK_INT(ns_n.held_nanousd, (granted_held));                                              \
    } while (0)

/* A budget of 100 a day of which 90 are spent, and a grant of 50 until LATER. */
static struct ns_ledger *
granted(bool spend_first)
{
    struct ns_ledger *l = ns_ledger_new();
    struct ns_ledger_event grant = grant_event(GRANT, BUDGET, "customer:a", 50, LATER, NULL);
    grant.as.budget_put.spend_first = spend_first;
    apply(l, budget_event(BUDGET, "customer:a", NS_PERIOD_DAY, 100), NOW);
    apply(l, reserve_event(100, 7, 90, ENTITIES("customer:a")), NOW);
    apply(l, settle_event(100, 90, NOW, 0, NULL), NOW);
    CHECK_INT(apply(l, grant, NOW).result, NS_LEDGER_DONE);
    return l;
}

static enum ns_ledger_result
ask(struct ns_ledger *l, uint32_t call, int64_t amount, int64_t now_ns)
{
    return apply(l, reserve_event(call, 7, amount, ENTITIES("customer:a")), now_ns).result;
}

TEST(a_grant_pays_what_the_budget_itself_has_not)
{
    struct ns_ledger *l = granted(false);
    struct ns_ledger_effect e = apply(l, reserve_event(1, 7, 30, ENTITIES("customer:a")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK(!e.would_deny);
    CHECK_INT(e.hold_nanousd, 30);
    CHECK_INT(e.firm_nanousd, 30);
    CHECK_BOTH(l, NOW, 90, 10, 0, 20);
    CHECK_INT(ask(l, 2, 30, NOW), NS_LEDGER_DONE);
    CHECK_INT(ask(l, 3, 1, NOW), NS_LEDGER_DENIED);
    e = apply(l, settle_event(1, 25, NOW, 0, NULL), NOW);
    CHECK_INT(e.released_nanousd, 30);
    CHECK_INT(e.overshoot_nanousd, 0);
    CHECK_BOTH(l, NOW, 100, 0, 15, 30);
    apply(l, void_event(2), NOW);
    CHECK_BOTH(l, NOW, 100, 0, 15, 0);
    /* What is above the hold is the budget's. */
    CHECK_INT(ask(l, 4, 35, NOW), NS_LEDGER_DONE);
    e = apply(l, settle_event(4, 40, NOW, 0, NULL), NOW);
    CHECK_INT(e.overshoot_nanousd, 5);
    CHECK_BOTH(l, NOW, 105, 0, 50, 0);
    CHECK_INT(numbers_of(l, BUDGET, "customer:a", NOW).overshoot_nanousd, 5);
    CHECK_INT(ask(l, 5, 1, NOW), NS_LEDGER_DENIED);
    ns_ledger_free(l);
}

TEST(a_grant_that_is_spent_first_pays_before_the_budget)
{
    struct ns_ledger *l = granted(true);
    CHECK_INT(ask(l, 1, 40, NOW), NS_LEDGER_DONE);
    CHECK_BOTH(l, NOW, 90, 0, 0, 40);
    CHECK_INT(ask(l, 2, 15, NOW), NS_LEDGER_DONE);
    CHECK_BOTH(l, NOW, 90, 5, 0, 50);
    apply(l, settle_event(2, 12, NOW, 0, NULL), NOW);
    CHECK_BOTH(l, NOW, 92, 0, 10, 40);
    ns_ledger_free(l);
}

TEST(a_grant_that_is_over_pays_no_new_call_and_those_that_hold_it_still)
{
    struct ns_ledger *l = granted(false);
    CHECK_INT(ask(l, 1, 30, NOW), NS_LEDGER_DONE);
    CHECK_INT(ask(l, 2, 10, LATER - 1), NS_LEDGER_DONE);
    CHECK_INT(ask(l, 3, 1, LATER), NS_LEDGER_DENIED);
    apply(l, settle_event(1, 30, NOW, 0, NULL), LATER + 1);
    CHECK_BOTH(l, LATER + 1, 100, 0, 20, 10);
    /* Revoked: it ends now. */
    apply(l, grant_event(GRANT, BUDGET, "customer:a", 50, LATER + NS_DAY_NS, NULL), LATER + 2);
    CHECK_INT(ask(l, 4, 1, LATER + 2), NS_LEDGER_DONE);
    apply(l, grant_event(GRANT, BUDGET, "customer:a", 50, LATER + 3, NULL), LATER + 3);
    CHECK_INT(ask(l, 5, 1, LATER + 3), NS_LEDGER_DENIED);
    CHECK_INT(apply(l, top_up_event(4, 1, 2, 2), LATER + 3).result, NS_LEDGER_DENIED);
    apply(l, settle_event(4, 1, NOW, 0, NULL), LATER + 4);
    CHECK_BOTH(l, LATER + 4, 100, 0, 21, 10);
    ns_ledger_free(l);
}

TEST(a_hold_keeps_its_part_of_a_grant_when_the_budgets_period_turns)
{
    struct ns_ledger *l = granted(false);
    apply(l, grant_event(GRANT, BUDGET, "customer:a", 50, NOW + 3 * NS_DAY_NS, NULL), NOW);
    CHECK_INT(ask(l, 1, 30, NOW), NS_LEDGER_DONE);
    int64_t tomorrow = NOW + NS_DAY_NS;
    apply(l, tick_event(), tomorrow);
    CHECK_BOTH(l, tomorrow, 0, 0, 0, 20);
    uint8_t *bytes;
    size_t size;
    struct ns_ledger *loaded = NULL;
    REQUIRE(ns_ledger_save(l, &bytes, &size) == 0);
    REQUIRE(ns_ledger_load(bytes, size, &loaded) == 0);
    CHECK(ns_ledger_digest(l) == ns_ledger_digest(loaded));
    apply(loaded, settle_event(1, 25, NOW, 0, NULL), tomorrow);
    CHECK_BOTH(loaded, tomorrow, 0, 0, 15, 0);
    free(bytes);
    ns_ledger_free(loaded);
    ns_ledger_free(l);
}

TEST(a_grant_for_some_models_pays_calls_that_name_it)
{
    struct ns_ledger *l = granted(false);
    apply(l, grant_event(GRANT, BUDGET, "customer:a", 50, LATER, "gpt-4o*"), NOW);
    CHECK_INT(ask(l, 1, 30, NOW), NS_LEDGER_DENIED);
    struct ns_ledger_event named = reserve_event(2, 7, 30, ENTITIES("customer:a"));
    named.as.reserve.grant_count = 2;
    named.as.reserve.grant[0] = 4711;
    named.as.reserve.grant[1] = GRANT;
    CHECK_INT(apply(l, named, NOW).result, NS_LEDGER_DONE);
    CHECK_BOTH(l, NOW, 90, 10, 0, 20);
    ns_ledger_free(l);
}

TEST(a_grant_is_one_budgets_and_one_entitys)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "customer:*", NS_PERIOD_DAY, 10), NOW);
    apply(l, budget_event(2, "customer:*", NS_PERIOD_MONTH, 60), NOW);
    apply(l, grant_event(9, 1, "customer:a", 50, LATER, NULL), NOW);
    CHECK_INT(apply(l, reserve_event(1, 7, 20, ENTITIES("customer:b")), NOW).result,
              NS_LEDGER_DENIED);
    CHECK_INT(apply(l, reserve_event(2, 7, 60, ENTITIES("customer:a")), NOW).result,
              NS_LEDGER_DONE);
    struct ns_ledger_effect e = apply(l, reserve_event(3, 7, 1, ENTITIES("customer:a")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK_INT(ns_ledger_budget_count(l), 2);
    ns_ledger_free(l);
}

TEST(a_call_takes_of_one_grant_the_oldest_that_suffices)
{
    struct ns_ledger *l = granted(false);
    apply(l, grant_event(10, BUDGET, "customer:a", 80, LATER, NULL), NOW);
    CHECK_INT(ask(l, 1, 70, NOW), NS_LEDGER_DONE);
    CHECK_BOTH(l, NOW, 90, 10, 0, 0);
    CHECK_INT(numbers_of(l, 10, "customer:a", NOW).held_nanousd, 60);
    CHECK_INT(ask(l, 2, 50, NOW), NS_LEDGER_DONE);
    CHECK_BOTH(l, NOW, 90, 10, 0, 50);
    struct ns_ledger_effect e = apply(l, reserve_event(3, 7, 21, ENTITIES("customer:a")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK_INT(e.denied_by.granted_nanousd, 20);
    CHECK_INT(e.denied_by.spent_nanousd, 90);
    CHECK_INT(e.denied_by.limit_nanousd, 100);
    ns_ledger_free(l);
}

TEST(an_answer_grows_into_a_grant)
{
    struct ns_ledger *l = granted(false);
    CHECK_INT(ask(l, 1, 5, NOW), NS_LEDGER_DONE);
    CHECK_BOTH(l, NOW, 90, 5, 0, 0);
    struct ns_ledger_effect e = apply(l, top_up_event(1, 5, 20, 40), NOW);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK_INT(e.hold_nanousd, 40);
    CHECK_BOTH(l, NOW, 90, 10, 0, 30);
    e = apply(l, top_up_event(1, 5, 50, 90), NOW);
    CHECK_INT(e.hold_nanousd, 60);
    CHECK_BOTH(l, NOW, 90, 10, 0, 50);
    e = apply(l, top_up_event(1, 5, 61, 90), NOW);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK_INT(e.denied_by.needed_nanousd, 1);
    ns_ledger_free(l);
}

TEST(a_late_report_never_overspends_a_grant)
{
    struct ns_ledger *l = granted(false);
    CHECK_INT(ask(l, 1, 60, NOW), NS_LEDGER_DONE);
    apply(l, progress_event(1, 15), NOW);
    apply(l, gone_event(7), NOW);
    CHECK_BOTH(l, NOW, 100, 0, 5, 0);
    CHECK_INT(apply(l, reserve_event(2, 8, 40, ENTITIES("customer:a")), NOW).result,
              NS_LEDGER_DONE);
    CHECK_BOTH(l, NOW, 100, 0, 5, 40);
    struct ns_ledger_effect e = apply(l, settle_event(1, 60, NOW, 0, NULL), NOW);
    CHECK(e.corrected);
    CHECK_BOTH(l, NOW, 140, 0, 10, 40);
    ns_ledger_free(l);
}

TEST(grants_come_back_from_a_snapshot_and_from_their_events)
{
    struct ns_ledger *l = granted(true);
    apply(l, grant_event(10, BUDGET, "customer:a", 80, LATER, "gpt-4o*,o1"), NOW);
    ask(l, 1, 60, NOW);
    struct ns_ledger_event events[] = {grant_event(10, 1, "customer:a", 80, LATER, "gpt-4o*,o1"),
                                       reserve_event(1, 7, 30, ENTITIES("customer:a"))};
    events[0].as.budget_put.spend_first = true;
    events[1].as.reserve.grant_count = 1;
    events[1].as.reserve.grant[0] = 10;
    for (size_t i = 0; i < 2; i++) {
        uint8_t first[1024];
        uint8_t second[1024];
        struct ns_ledger_event again;
        static struct ns_ledger_event_room room;
        int bytes = ns_ledger_event_encode(&events[i], first, sizeof first);
        REQUIRE(bytes > 0);
        REQUIRE(ns_ledger_event_decode(first, (size_t)bytes, &again, &room) == 0);
        CHECK_INT(ns_ledger_event_encode(&again, second, sizeof second), bytes);
        CHECK(memcmp(first, second, (size_t)bytes) == 0);
        for (int cut = 0; cut < bytes; cut++) {
            CHECK_INT(ns_ledger_event_decode(first, (size_t)cut, &again, &room), -EBADMSG);
        }
    }
    uint8_t *bytes;
    size_t size;
    struct ns_ledger *loaded = NULL;
    REQUIRE(ns_ledger_save(l, &bytes, &size) == 0);
    REQUIRE(ns_ledger_load(bytes, size, &loaded) == 0);
    CHECK(ns_ledger_digest(l) == ns_ledger_digest(loaded));
    apply(loaded, settle_event(1, 60, NOW, 0, NULL), NOW);
    CHECK_BOTH(loaded, NOW, 100, 0, 50, 0);
    free(bytes);
    ns_ledger_free(loaded);
    ns_ledger_free(l);
}

TEST(what_is_no_grant_is_refused)
{
    struct ns_ledger *l = ns_ledger_new();
    struct ns_ledger_event good = grant_event(9, 1, "customer:a", 5, LATER, NULL);
    for (int i = 0; i < 8; i++) {
        struct ns_ledger_event bad = good;
        struct ns_budget *b = &bad.as.budget_put;
        switch (i) {
        case 0:
            b->grant_of = 9;
            break;
        case 1:
            b->until_ns = 0;
            break;
        case 2:
            b->period = NS_PERIOD_DAY;
            break;
        case 3:
            b->policy = NS_POLICY_SOFT;
            break;
        case 4:
            snprintf(b->entity, sizeof b->entity, "customer:*");
            break;
        case 5:
            memset(b->models, 'x', sizeof b->models);
            break;
        case 6:
            b->grant_of = 0;
            break;
        default:
            b->grant_of = -1;
            break;
        }
        struct ns_ledger_effect e;
        CHECK_INT(ns_ledger_apply(l, &bad, NOW, &e), -EINVAL);
    }
    CHECK_INT(apply(l, good, NOW).result, NS_LEDGER_DONE);
    ns_ledger_free(l);
}
