/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"
#include "tests/unit/ledger_support.h"

#define NOW (NS_MONDAY_NS + 10 * NS_HOUR_NS)

#define CHECK_NUMBERS(ledger, id, entity, now, spent, held, overshoot)                             \
    do {                                                                                           \
        struct ns_ledger_numbers ns_n = numbers_of((ledger), (id), (entity), (now));               \
        CHECK_INT(ns_n.spent_nanousd, (spent));                                                    \
        CHECK_INT(ns_n.held_nanousd, (held));                                                      \
        CHECK_INT(ns_n.overshoot_nanousd, (overshoot));                                            \
    } while (0)

/* --- reserve -------------------------------------------------------------------------------- */

TEST(a_reserve_holds_on_every_matching_budget_and_a_settle_posts_on_each)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_MONTH, 1000), NOW);
    apply(l, budget_event(2, "customer:acme", NS_PERIOD_DAY, 500), NOW);
    apply(l, budget_event(3, "customer:other", NS_PERIOD_DAY, 500), NOW);
    struct ns_ledger_effect e =
        apply(l, reserve_event(1, 7, 100, ENTITIES("org", "customer:acme")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK_INT(e.matched, 2);
    CHECK_INT(e.hold_nanousd, 100);
    CHECK_NUMBERS(l, 1, "org", NOW, 0, 100, 0);
    CHECK_NUMBERS(l, 2, "customer:acme", NOW, 0, 100, 0);
    CHECK_NUMBERS(l, 3, "customer:other", NOW, 0, 0, 0);
    e = apply(l, settle_event(1, 60, NOW, 0, NULL), NOW + 1);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK_INT(e.released_nanousd, 100);
    CHECK_NUMBERS(l, 1, "org", NOW, 60, 0, 0);
    CHECK_NUMBERS(l, 2, "customer:acme", NOW, 60, 0, 0);
    CHECK_INT(ns_ledger_open_holds(l), 0);
    ns_ledger_free(l);
}

TEST(a_denied_reserve_changes_not_one_byte_and_says_which_budget)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_MONTH, 1000), NOW);
    apply(l, budget_event(2, "customer:acme", NS_PERIOD_DAY, 150), NOW);
    apply(l, reserve_event(1, 7, 100, ENTITIES("org", "customer:acme")), NOW);
    uint64_t before = ns_ledger_digest(l);
    struct ns_ledger_effect e =
        apply(l, reserve_event(2, 7, 51, ENTITIES("org", "customer:acme")), NOW + 5);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK(!e.would_deny);
    CHECK_STR(e.denied_by.entity, "customer:acme");
    CHECK_INT(e.denied_by.budget_id, 2);
    CHECK_INT(e.denied_by.limit_nanousd, 150);
    CHECK_INT(e.denied_by.held_nanousd, 100);
    CHECK_INT(e.denied_by.needed_nanousd, 51);
    CHECK(ns_ledger_digest(l) == before);
    ns_ledger_free(l);
}

TEST(a_session_that_is_used_up_is_denied_as_one)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "session:*", NS_PERIOD_TOTAL, 100), NOW);
    apply(l, reserve_event(1, 7, 100, ENTITIES("org", "session:s")), NOW);
    struct ns_ledger_effect e = apply(l, reserve_event(2, 7, 1, ENTITIES("org", "session:s")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK_INT(e.denied_by.reason, NS_REASON_SESSION_CAP);
    CHECK_INT(apply(l, top_up_event(1, 50, 101, 200), NOW).denied_by.reason, NS_REASON_SESSION_CAP);
    apply(l, budget_event(2, "org", NS_PERIOD_TOTAL, 100), NOW);
    e = apply(l, reserve_event(3, 7, 101, ENTITIES("org", "session:t")), NOW);
    CHECK_INT(e.denied_by.reason, NS_REASON_BUDGET_EXCEEDED);
    ns_ledger_free(l);
}

TEST(what_fits_exactly_is_allowed_and_one_more_is_not)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 100), NOW);
    CHECK_INT(apply(l, reserve_event(1, 7, 100, ENTITIES("org")), NOW).result, NS_LEDGER_DONE);
    CHECK_INT(apply(l, reserve_event(2, 7, 1, ENTITIES("org")), NOW).result, NS_LEDGER_DENIED);
    CHECK_INT(apply(l, reserve_event(3, 7, 0, ENTITIES("org")), NOW).result, NS_LEDGER_DONE);
    ns_ledger_free(l);
}

TEST(what_is_kept_for_finalizing_is_for_calls_that_do_alone)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, keeping_event(1, "agent:a", 100, 20), NOW);
    CHECK_INT(apply(l, reserve_event(1, 7, 80, ENTITIES("agent:a")), NOW).result, NS_LEDGER_DONE);
    struct ns_ledger_effect e = apply(l, reserve_event(2, 7, 1, ENTITIES("agent:a")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK_INT(e.denied_by.limit_nanousd, 100);
    CHECK_INT(e.denied_by.finalize_nanousd, 20);
    CHECK_INT(apply(l, finalize_event(3, 7, 20, ENTITIES("agent:a")), NOW).result, NS_LEDGER_DONE);
    e = apply(l, finalize_event(4, 7, 1, ENTITIES("agent:a")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK_INT(e.denied_by.finalize_nanousd, 0); /* nothing was kept from it */
    CHECK_NUMBERS(l, 1, "agent:a", NOW, 0, 100, 0);
    CHECK_INT(numbers_of(l, 1, "agent:a", NOW).finalize_nanousd, 20);
    ns_ledger_free(l);
}

/* What a restart makes of it. */
static struct ns_ledger *
reloaded(struct ns_ledger *l)
{
    uint8_t *bytes;
    size_t size;
    struct ns_ledger *loaded = NULL;
    CHECK_INT(ns_ledger_save(l, &bytes, &size), 0);
    CHECK_INT(ns_ledger_load(bytes, size, &loaded), 0);
    free(bytes);
    ns_ledger_free(l);
    return loaded;
}

TEST(a_top_up_takes_what_is_kept_where_its_call_finalizes)
{
    for (int finalize = 0; finalize < 2; finalize++) {
        struct ns_ledger *l = ns_ledger_new();
        apply(l, keeping_event(1, "agent:a", 100, 20), NOW);
        struct ns_ledger_event reserve = reserve_event(1, 7, 50, ENTITIES("agent:a"));
        reserve.as.reserve.finalize = finalize != 0;
        apply(l, reserve, NOW);
        l = reloaded(l);
        CHECK_INT(apply(l, top_up_event(1, 50, 60, 200), NOW).hold_nanousd, finalize ? 100 : 80);
        struct ns_ledger_effect e = apply(l, top_up_event(1, 50, 110, 200), NOW);
        CHECK_INT(e.result, NS_LEDGER_DENIED);
        CHECK_INT(e.denied_by.finalize_nanousd, finalize ? 0 : 20);
        ns_ledger_free(l);
    }
}

TEST(a_soft_budget_says_where_what_it_keeps_was_used)
{
    struct ns_ledger *l = ns_ledger_new();
    struct ns_ledger_event soft = keeping_event(1, "org", 100, 20);
    soft.as.budget_put.policy = NS_POLICY_SOFT;
    apply(l, soft, NOW);
    CHECK(!apply(l, reserve_event(1, 7, 80, ENTITIES("org")), NOW).would_deny);
    CHECK(!apply(l, finalize_event(2, 7, 10, ENTITIES("org")), NOW).would_deny);
    CHECK(apply(l, reserve_event(3, 7, 1, ENTITIES("org")), NOW).would_deny);
    ns_ledger_free(l);
}

TEST(a_soft_budget_with_an_overdraft_tells_first_and_denies_then)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, overdraft_event(1, "org", 100, 20), NOW);
    CHECK(!apply(l, reserve_event(1, 7, 100, ENTITIES("org")), NOW).would_deny);
    struct ns_ledger_effect e = apply(l, reserve_event(2, 7, 20, ENTITIES("org")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK(e.would_deny);
    e = apply(l, reserve_event(3, 7, 1, ENTITIES("org")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK_INT(e.denied_by.limit_nanousd, 100);
    CHECK_INT(e.denied_by.overdraft_nanousd, 20);
    struct ns_ledger_event shadow = reserve_event(4, 7, 1, ENTITIES("org"));
    shadow.as.reserve.mode = NS_MODE_SHADOW;
    CHECK_INT(apply(l, shadow, NOW).result, NS_LEDGER_DONE);
    CHECK_NUMBERS(l, 1, "org", NOW, 0, 121, 0);
    ns_ledger_free(l);
}

TEST(a_limit_of_zero_with_an_overdraft_is_that)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, overdraft_event(1, "org", 0, 20), NOW);
    CHECK_INT(apply(l, reserve_event(1, 7, 20, ENTITIES("org")), NOW).result, NS_LEDGER_DONE);
    CHECK_INT(apply(l, reserve_event(2, 7, 1, ENTITIES("org")), NOW).result, NS_LEDGER_DENIED);
    ns_ledger_free(l);
}

TEST(a_top_up_takes_an_overdraft_and_no_more)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, overdraft_event(1, "org", 100, 20), NOW);
    CHECK_INT(apply(l, reserve_event(1, 7, 90, ENTITIES("org")), NOW).firm_nanousd, 90);
    struct ns_ledger_effect e = apply(l, top_up_event(1, 90, 110, 200), NOW);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK(e.would_deny);
    CHECK_INT(e.hold_nanousd, 120);
    e = apply(l, top_up_event(1, 90, 121, 200), NOW);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK(!e.would_deny);
    CHECK_INT(e.denied_by.needed_nanousd, 1);
    ns_ledger_free(l);
}

TEST(a_soft_budget_with_an_overdraft_may_deny_when_the_collector_is_away)
{
    struct ns_ledger *l = ns_ledger_new();
    struct ns_ledger_event event = overdraft_event(1, "org", 100, 20);
    event.as.budget_put.on_unreachable = NS_UNREACHABLE_DENY;
    apply(l, event, NOW);
    CHECK(ns_ledger_denies_unreachable(l));
    event.as.budget_put.overdraft_nanousd = 0;
    apply(l, event, NOW);
    CHECK(!ns_ledger_denies_unreachable(l));
    ns_ledger_free(l);
}

TEST(no_more_is_kept_than_there_is_and_only_soft_budgets_are_overdrawn)
{
    struct ns_ledger *l = ns_ledger_new();
    static const int64_t bad[][2] = {{100, 100}, {100, 101}, {100, -1}, {0, 1}};
    struct ns_ledger_effect effect;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ns_ledger_event event = keeping_event(1, "org", bad[i][0], bad[i][1]);
        CHECK_INT(ns_ledger_apply(l, &event, NOW, &effect), -EINVAL);
    }
    for (int policy = 0; policy < NS_POLICY_COUNT; policy++) {
        struct ns_ledger_event event = overdraft_event(1, "org", 100, -1);
        CHECK_INT(ns_ledger_apply(l, &event, NOW, &effect), -EINVAL);
        event.as.budget_put.overdraft_nanousd = 1;
        event.as.budget_put.policy = (uint8_t)policy;
        if (policy != NS_POLICY_SOFT) {
            CHECK_INT(ns_ledger_apply(l, &event, NOW, &effect), -EINVAL);
        }
    }
    CHECK_INT(ns_ledger_budget_count(l), 0);
    ns_ledger_free(l);
}

/* --- velocity ------------------------------------------------------------------------------- */

#define SECOND INT64_C(1000000000)

TEST(what_goes_too_fast_is_denied_and_paused)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, velocity_event(1, "agent:a", 10000, 100), NOW);
    CHECK_INT(apply(l, reserve_event(1, 7, 60, ENTITIES("agent:a")), NOW).result, NS_LEDGER_DONE);
    CHECK_INT(apply(l, reserve_event(2, 7, 40, ENTITIES("agent:a")), NOW).result, NS_LEDGER_DONE);
    CHECK_INT(numbers_of(l, 1, "agent:a", NOW).rate_nanousd, 100);
    struct ns_ledger_effect e = apply(l, reserve_event(3, 7, 1, ENTITIES("agent:a")), NOW + SECOND);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK_INT(e.denied_by.reason, NS_REASON_VELOCITY);
    CHECK_INT(e.tripped, 1);
    CHECK_INT(e.denied_by.limit_nanousd, 100);
    CHECK_INT(e.denied_by.spent_nanousd, 100);
    CHECK_INT(e.denied_by.needed_nanousd, 1);
    CHECK_INT(e.denied_by.held_nanousd, 0);
    CHECK_INT(e.denied_by.paused_until_ns, NOW + 61 * SECOND);
    CHECK_INT(numbers_of(l, 1, "agent:a", NOW + SECOND).paused_until_ns, NOW + 61 * SECOND);
    /* Whatever it is, until the cool-down is over; a restart changes nothing. */
    l = reloaded(l);
    e = apply(l, reserve_event(4, 7, 0, ENTITIES("agent:a")), NOW + 61 * SECOND - 1);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK_INT(e.denied_by.reason, NS_REASON_VELOCITY);
    CHECK_INT(e.tripped, 0);
    CHECK_INT(e.denied_by.paused_until_ns, NOW + 61 * SECOND);
    CHECK_INT(apply(l, reserve_event(5, 7, 1, ENTITIES("agent:a")), NOW + 61 * SECOND).result,
              NS_LEDGER_DONE);
    ns_ledger_free(l);
}

TEST(after_a_pause_one_call_or_a_tenth_is_tried_and_then_all)
{
    static const int64_t after = NOW + 60 * SECOND;
    for (int within = 0; within < 2; within++) {
        struct ns_ledger *l = ns_ledger_new();
        apply(l, velocity_event(1, "agent:a", 10000, 100), NOW);
        apply(l, reserve_event(1, 7, 100, ENTITIES("agent:a")), NOW);
        CHECK_INT(apply(l, reserve_event(2, 7, 1, ENTITIES("agent:a")), NOW).tripped, 1);
        CHECK_INT(apply(l, reserve_event(3, 7, 5, ENTITIES("agent:a")), after).result,
                  NS_LEDGER_DONE);
        CHECK_INT(apply(l, reserve_event(4, 7, 5, ENTITIES("agent:a")), after).result,
                  NS_LEDGER_DONE);
        int64_t at = after + (within ? 60 * SECOND - 1 : 60 * SECOND);
        struct ns_ledger_effect e = apply(l, reserve_event(5, 7, 90, ENTITIES("agent:a")), at);
        CHECK_INT(e.result, within ? NS_LEDGER_DENIED : NS_LEDGER_DONE);
        CHECK_INT(e.tripped, within ? 1 : 0);
        ns_ledger_free(l);
    }
}

TEST(the_first_call_after_a_pause_may_be_larger_than_the_trial)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, velocity_event(1, "agent:a", 10000, 100), NOW);
    apply(l, reserve_event(1, 7, 100, ENTITIES("agent:a")), NOW);
    apply(l, reserve_event(2, 7, 1, ENTITIES("agent:a")), NOW);
    int64_t after = NOW + 60 * SECOND;
    CHECK_INT(apply(l, reserve_event(3, 7, 50, ENTITIES("agent:a")), after).result, NS_LEDGER_DONE);
    CHECK_INT(apply(l, reserve_event(4, 7, 1, ENTITIES("agent:a")), after).tripped, 1);
    ns_ledger_free(l);
}

TEST(a_window_slides_and_counts_what_calls_did_cost)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, velocity_event(1, "agent:a", 10000, 100), NOW);
    apply(l, reserve_event(1, 7, 90, ENTITIES("agent:a")), NOW);
    CHECK_INT(numbers_of(l, 1, "agent:a", NOW).rate_nanousd, 90);
    apply(l, settle_event(1, 40, NOW, 0, NULL), NOW + SECOND); /* less than it typically does */
    CHECK_INT(numbers_of(l, 1, "agent:a", NOW + SECOND).rate_nanousd, 40);
    apply(l, reserve_event(2, 7, 60, ENTITIES("agent:a")), NOW + 2 * SECOND);
    CHECK_INT(numbers_of(l, 1, "agent:a", NOW + 60 * SECOND).rate_nanousd, 100);
    CHECK_INT(numbers_of(l, 1, "agent:a", NOW + 75 * SECOND).rate_nanousd, 75);
    CHECK_INT(numbers_of(l, 1, "agent:a", NOW + 120 * SECOND).rate_nanousd, 0);
    apply(l, void_event(2), NOW + 90 * SECOND); /* it was counted in the window before */
    CHECK_INT(numbers_of(l, 1, "agent:a", NOW + 90 * SECOND).rate_nanousd, 20);
    apply(l, settle_event(8, 10, NOW, ENTITIES("agent:a")), NOW + 90 * SECOND); /* unasked */
    CHECK_INT(numbers_of(l, 1, "agent:a", NOW + 90 * SECOND).rate_nanousd, 30);
    apply(l, reserve_event(3, 9, 50, ENTITIES("agent:a")), NOW + 91 * SECOND);
    apply(l, gone_event(9), NOW + 91 * SECOND); /* lost at half of it, then known after all */
    int64_t before = numbers_of(l, 1, "agent:a", NOW + 91 * SECOND).rate_nanousd;
    apply(l, settle_event(3, 35, NOW, 0, NULL), NOW + 91 * SECOND);
    CHECK_INT(numbers_of(l, 1, "agent:a", NOW + 91 * SECOND).rate_nanousd, before + 10);
    ns_ledger_free(l);
}

TEST(a_call_that_alone_is_more_than_may_go_is_denied_and_pauses_nobody)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, velocity_event(1, "agent:a", 10000, 100), NOW);
    uint64_t before = ns_ledger_digest(l);
    struct ns_ledger_effect e = apply(l, reserve_event(1, 7, 101, ENTITIES("agent:a")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK_INT(e.denied_by.reason, NS_REASON_VELOCITY);
    CHECK_INT(e.tripped, 0);
    CHECK(ns_ledger_digest(l) == before);
    CHECK_INT(apply(l, reserve_event(2, 7, 100, ENTITIES("agent:a")), NOW).result, NS_LEDGER_DONE);
    ns_ledger_free(l);
}

TEST(each_entity_of_a_pattern_has_its_own_velocity)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, velocity_event(1, "agent:*", 10000, 100), NOW);
    apply(l, reserve_event(1, 7, 100, ENTITIES("agent:a")), NOW);
    CHECK_INT(apply(l, reserve_event(2, 7, 1, ENTITIES("agent:a")), NOW).tripped, 1);
    CHECK_INT(apply(l, reserve_event(3, 7, 100, ENTITIES("agent:b")), NOW).result, NS_LEDGER_DONE);
    /* A period's end forgets what patterns counted, but not who is paused or on trial. */
    int64_t midnight = NS_MONDAY_NS + NS_DAY_NS;
    apply(l, reserve_event(4, 7, 1, ENTITIES("agent:b")), midnight - 30 * SECOND);
    apply(l, reserve_event(5, 7, 100, ENTITIES("agent:b")), midnight - 30 * SECOND);
    apply(l, tick_event(), midnight);
    CHECK_INT(apply(l, reserve_event(6, 7, 1, ENTITIES("agent:b")), midnight).denied_by.reason,
              NS_REASON_VELOCITY);
    CHECK_INT(apply(l, reserve_event(7, 7, 1, ENTITIES("agent:a")), midnight).result,
              NS_LEDGER_DONE);
    ns_ledger_free(l);
}

TEST(a_velocity_that_changes_lets_go_on_and_one_that_does_not_keeps_the_pause)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, velocity_event(1, "agent:a", 10000, 100), NOW);
    apply(l, reserve_event(1, 7, 100, ENTITIES("agent:a")), NOW);
    apply(l, reserve_event(2, 7, 1, ENTITIES("agent:a")), NOW);
    apply(l, velocity_event(1, "agent:a", 20000, 100), NOW);
    CHECK_INT(apply(l, reserve_event(3, 7, 1, ENTITIES("agent:a")), NOW).result, NS_LEDGER_DENIED);
    apply(l, velocity_event(1, "agent:a", 20000, 101), NOW);
    CHECK_INT(apply(l, reserve_event(4, 7, 101, ENTITIES("agent:a")), NOW).result, NS_LEDGER_DONE);
    apply(l, settle_event(1, 100, NOW, 0, NULL), NOW); /* it was counted by the former */
    CHECK_INT(numbers_of(l, 1, "agent:a", NOW).rate_nanousd, 101);
    apply(l, budget_event(1, "agent:a", NS_PERIOD_DAY, 20000), NOW);
    CHECK_INT(apply(l, reserve_event(5, 7, 500, ENTITIES("agent:a")), NOW).result, NS_LEDGER_DONE);
    ns_ledger_free(l);
}

TEST(budgets_that_tell_alone_tell_what_goes_too_fast)
{
    static const struct {
        enum ns_policy policy;
        enum ns_mode mode;
        bool denies;
    } rows[] = {
        {NS_POLICY_HARD, NS_MODE_ENFORCE, true},  {NS_POLICY_SOFT, NS_MODE_ENFORCE, true},
        {NS_POLICY_WARN, NS_MODE_ENFORCE, false}, {NS_POLICY_SHADOW, NS_MODE_ENFORCE, false},
        {NS_POLICY_HARD, NS_MODE_SHADOW, false},  {NS_POLICY_SOFT, NS_MODE_OBSERVE, false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ns_ledger *l = ns_ledger_new();
        struct ns_ledger_event budget = velocity_event(1, "agent:a", 10000, 100);
        budget.as.budget_put.policy = (uint8_t)rows[i].policy;
        apply(l, budget, NOW);
        apply(l, reserve_event(1, 7, 100, ENTITIES("agent:a")), NOW);
        struct ns_ledger_event reserve = reserve_event(2, 7, 1, ENTITIES("agent:a"));
        reserve.as.reserve.mode = (uint8_t)rows[i].mode;
        struct ns_ledger_effect e = apply(l, reserve, NOW);
        CHECK_INT(e.result, rows[i].denies ? NS_LEDGER_DENIED : NS_LEDGER_DONE);
        CHECK_INT(e.would_deny, !rows[i].denies);
        CHECK_INT(e.denied_by.reason, NS_REASON_VELOCITY);
        CHECK_INT(e.tripped, 1);
        ns_ledger_free(l);
    }
}

TEST(what_denies_is_named_before_what_would)
{
    struct ns_ledger *l = ns_ledger_new();
    struct ns_ledger_event shadow = velocity_event(1, "agent:a", 10000, 100);
    shadow.as.budget_put.policy = NS_POLICY_SHADOW;
    apply(l, shadow, NOW);
    apply(l, budget_event(2, "agent:a", NS_PERIOD_HOUR, 150), NOW);
    apply(l, reserve_event(1, 7, 75, ENTITIES("agent:a")), NOW); /* holds 75 and 75 */
    struct ns_ledger_effect e = apply(l, reserve_event(2, 7, 76, ENTITIES("agent:a")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK_INT(e.denied_by.reason, NS_REASON_BUDGET_EXCEEDED);
    CHECK_INT(e.denied_by.budget_id, 2);
    /* Of one budget the velocity comes first. */
    apply(l, velocity_event(3, "team:b", 100, 100), NOW);
    apply(l, reserve_event(3, 7, 100, ENTITIES("team:b")), NOW);
    CHECK_INT(apply(l, reserve_event(4, 7, 1, ENTITIES("team:b")), NOW).denied_by.reason,
              NS_REASON_VELOCITY);
    ns_ledger_free(l);
}

TEST(at_the_end_of_time_a_pause_has_none)
{
    static const int64_t last = INT64_MAX - SECOND;
    struct ns_ledger *l = ns_ledger_new();
    struct ns_ledger_event budget = velocity_event(1, "agent:a", 10000, 100);
    budget.as.budget_put.period = NS_PERIOD_TOTAL;
    apply(l, budget, last);
    CHECK_INT(apply(l, reserve_event(1, 7, 100, ENTITIES("agent:a")), last).result, NS_LEDGER_DONE);
    CHECK_INT(numbers_of(l, 1, "agent:a", INT64_MAX - 1).rate_nanousd, 100);
    struct ns_ledger_effect e = apply(l, reserve_event(2, 7, 1, ENTITIES("agent:a")), last);
    CHECK_INT(e.tripped, 1);
    CHECK_INT(e.denied_by.paused_until_ns, INT64_MAX);
    l = reloaded(l);
    CHECK_INT(apply(l, reserve_event(3, 7, 1, ENTITIES("agent:a")), INT64_MAX - 1).result,
              NS_LEDGER_DENIED);
    ns_ledger_free(l);
}

TEST(velocities_that_are_none_are_refused)
{
    struct ns_ledger *l = ns_ledger_new();
    static const struct {
        int64_t velocity;
        uint16_t window, cooldown;
    } bad[] = {{-1, 60, 60},  {0, 60, 60}, {0, 60, 0},    {0, 0, 60}, {1, 9, 60},
               {1, 3601, 60}, {1, 60, 9},  {1, 60, 3601}, {1, 0, 60}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ns_ledger_event event = velocity_event(1, "org", 100, bad[i].velocity);
        struct ns_ledger_effect effect;
        event.as.budget_put.velocity_window_s = bad[i].window;
        event.as.budget_put.velocity_cooldown_s = bad[i].cooldown;
        CHECK_INT(ns_ledger_apply(l, &event, NOW, &effect), -EINVAL);
    }
    ns_ledger_free(l);
}

TEST(a_limit_of_zero_denies_even_what_costs_nothing)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 0), NOW);
    CHECK_INT(apply(l, reserve_event(1, 7, 0, ENTITIES("org")), NOW).result, NS_LEDGER_DENIED);
    ns_ledger_free(l);
}

TEST(a_bound_budget_reserves_the_bound_and_a_typical_one_what_is_typical)
{
    struct ns_ledger *l = ns_ledger_new();
    struct ns_ledger_event bound = budget_event(1, "org", NS_PERIOD_DAY, 1000);
    bound.as.budget_put.reserve = NS_RESERVE_BOUND;
    apply(l, bound, NOW);
    apply(l, budget_event(2, "team:core", NS_PERIOD_DAY, 1000), NOW);
    struct ns_ledger_effect e =
        apply(l, reserve_event(1, 7, 100, ENTITIES("org", "team:core")), NOW);
    CHECK_INT(e.hold_nanousd, 200);
    CHECK_NUMBERS(l, 1, "org", NOW, 0, 200, 0);
    CHECK_NUMBERS(l, 2, "team:core", NOW, 0, 100, 0);
    /* Above the typical hold, below the bound: overshoot on one only. */
    apply(l, settle_event(1, 150, NOW, 0, NULL), NOW);
    CHECK_NUMBERS(l, 1, "org", NOW, 150, 0, 0);
    CHECK_NUMBERS(l, 2, "team:core", NOW, 150, 0, 50);
    ns_ledger_free(l);
}

TEST(soft_warn_and_shadow_budgets_let_through_hold_and_say_so)
{
    static const enum ns_policy policies[] = {NS_POLICY_SOFT, NS_POLICY_WARN, NS_POLICY_SHADOW};
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        struct ns_ledger *l = ns_ledger_new();
        struct ns_ledger_event soft = budget_event(1, "org", NS_PERIOD_DAY, 10);
        soft.as.budget_put.policy = (uint8_t)policies[i];
        apply(l, soft, NOW);
        struct ns_ledger_effect e = apply(l, reserve_event(1, 7, 11, ENTITIES("org")), NOW);
        CHECK_INT(e.result, NS_LEDGER_DONE);
        CHECK(e.would_deny);
        CHECK_STR(e.denied_by.entity, "org");
        CHECK_INT(e.denied_by.policy, policies[i]);
        CHECK_NUMBERS(l, 1, "org", NOW, 0, 11, 0);
        ns_ledger_free(l);
    }
}

TEST(outside_of_enforce_mode_nothing_is_denied_but_would_be)
{
    for (int mode = NS_MODE_SHADOW; mode < NS_MODE_COUNT; mode++) {
        struct ns_ledger *l = ns_ledger_new();
        apply(l, budget_event(1, "org", NS_PERIOD_DAY, 10), NOW);
        struct ns_ledger_event reserve = reserve_event(1, 7, 11, ENTITIES("org"));
        reserve.as.reserve.mode = (uint8_t)mode;
        struct ns_ledger_effect e = apply(l, reserve, NOW);
        CHECK_INT(e.result, NS_LEDGER_DONE);
        CHECK(e.would_deny);
        ns_ledger_free(l);
    }
}

TEST(a_hard_budget_denies_even_behind_a_soft_one_that_is_over_too)
{
    struct ns_ledger *l = ns_ledger_new();
    struct ns_ledger_event soft = budget_event(1, "org", NS_PERIOD_DAY, 10);
    soft.as.budget_put.policy = NS_POLICY_SOFT;
    apply(l, soft, NOW);
    apply(l, budget_event(2, "team:core", NS_PERIOD_DAY, 10), NOW);
    struct ns_ledger_effect e =
        apply(l, reserve_event(1, 7, 11, ENTITIES("org", "team:core")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK_INT(e.denied_by.budget_id, 2);
    CHECK_NUMBERS(l, 1, "org", NOW, 0, 0, 0);
    ns_ledger_free(l);
}

TEST(a_call_that_no_budget_matches_is_held_without_a_share)
{
    struct ns_ledger *l = ns_ledger_new();
    struct ns_ledger_effect e = apply(l, reserve_event(1, 7, 11, ENTITIES("org")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK_INT(e.matched, 0);
    CHECK_INT(ns_ledger_open_holds(l), 1);
    CHECK_INT(apply(l, settle_event(1, 5, NOW, 0, NULL), NOW).result, NS_LEDGER_DONE);
    ns_ledger_free(l);
}

TEST(more_shares_than_lie_in_a_hold_are_held_and_given_back)
{
    struct ns_ledger *l = ns_ledger_new();
    char text[NS_ENTITIES_MAX][32];
    const char *entity[NS_ENTITIES_MAX];
    for (int i = 0; i < NS_ENTITIES_MAX; i++) {
        snprintf(text[i], sizeof(text[i]), "tag:k=%d", i);
        entity[i] = text[i];
        apply(l, budget_event(i + 1, text[i], NS_PERIOD_DAY, 1000), NOW);
        apply(l, budget_event(i + 101, text[i], NS_PERIOD_WEEK, 1000), NOW);
    }
    struct ns_ledger_effect e = apply(l, reserve_event(1, 7, 9, NS_ENTITIES_MAX, entity), NOW);
    CHECK_INT(e.matched, 2 * NS_ENTITIES_MAX);
    CHECK_NUMBERS(l, NS_ENTITIES_MAX, text[NS_ENTITIES_MAX - 1], NOW, 0, 9, 0);
    apply(l, settle_event(1, 4, NOW, 0, NULL), NOW);
    CHECK_NUMBERS(l, NS_ENTITIES_MAX + 100, text[NS_ENTITIES_MAX - 1], NOW, 4, 0, 0);
    ns_ledger_free(l);
}

TEST(more_matching_budgets_than_the_bound_are_refused_as_full)
{
    struct ns_ledger *l = ns_ledger_new();
    for (int i = 0; i < NS_MATCHES_MAX; i++) {
        apply(l, budget_event(i + 1, "org", NS_PERIOD_DAY, 1000), NOW);
    }
    CHECK_INT(apply(l, reserve_event(1, 7, 9, ENTITIES("org")), NOW).result, NS_LEDGER_DONE);
    apply(l, budget_event(NS_MATCHES_MAX + 1, "org", NS_PERIOD_DAY, 1000), NOW);
    uint64_t before = ns_ledger_digest(l);
    CHECK_INT(apply(l, reserve_event(2, 7, 9, ENTITIES("org")), NOW).result, NS_LEDGER_FULL);
    CHECK(ns_ledger_digest(l) == before);
    ns_ledger_free(l);
}

TEST(amounts_that_would_overflow_are_full_or_stop_at_the_largest)
{
    struct ns_ledger *l = ns_ledger_new();
    struct ns_ledger_event soft = budget_event(1, "org", NS_PERIOD_DAY, 10);
    soft.as.budget_put.policy = NS_POLICY_WARN;
    apply(l, soft, NOW);
    struct ns_ledger_event huge = reserve_event(1, 7, 0, ENTITIES("org"));
    huge.as.reserve.typical_nanousd = INT64_MAX;
    CHECK_INT(apply(l, huge, NOW).result, NS_LEDGER_DONE);
    CHECK_INT(apply(l, reserve_event(2, 7, 1, ENTITIES("org")), NOW).result, NS_LEDGER_FULL);
    apply(l, settle_event(1, INT64_MAX, NOW, 0, NULL), NOW);
    apply(l, settle_event(3, INT64_MAX, NOW, ENTITIES("org")), NOW);
    CHECK_NUMBERS(l, 1, "org", NOW, INT64_MAX, 0, INT64_MAX);
    ns_ledger_free(l);
}

TEST(events_that_break_the_rules_are_refused_and_change_nothing)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 1000), NOW);
    uint64_t before = ns_ledger_digest(l);
    char long_entity[NS_ENTITY_BYTES_MAX + 2];
    memset(long_entity, 'x', sizeof(long_entity));
    long_entity[sizeof(long_entity) - 1] = '\0';
    struct ns_ledger_event bad[] = {
        reserve_event(1, 7, -1, ENTITIES("org")),
        reserve_event(1, 7, 1, ENTITIES("org", "org")),
        reserve_event(1, 7, 1, ENTITIES("")),
        reserve_event(1, 7, 1, ENTITIES(long_entity)),
        reserve_event(1, 7, 1, NS_ENTITIES_MAX + 1, NULL),
        settle_event(1, -1, NOW, ENTITIES("org")),
        settle_event(1, 1, -1, ENTITIES("org")),
        progress_event(1, -1),
        top_up_event(1, -1, 0, 0),
        top_up_event(1, 0, -1, 0),
        top_up_event(1, 0, 2, 1),
        budget_event(2, "orgs", NS_PERIOD_DAY, 1),
        budget_event(2, "org", NS_PERIOD_COUNT, 1),
        budget_event(2, "org", NS_PERIOD_DAY, -1),
        budget_event(0, "org", NS_PERIOD_DAY, 1),
        {.kind = (enum ns_ledger_event_kind)0},
        {.kind = (enum ns_ledger_event_kind)99},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ns_ledger_effect effect;
        int status = ns_ledger_apply(l, &bad[i], NOW + 1, &effect);
        if (status != -EINVAL) {
            NS_FAIL("event %zu: %d", i, status);
        }
    }
    CHECK_INT(ns_ledger_apply(l, &(struct ns_ledger_event){.kind = NS_LEDGER_TICK}, -1,
                              &(struct ns_ledger_effect){0}),
              -EINVAL);
    CHECK(ns_ledger_digest(l) == before);
    ns_ledger_free(l);
}

/* --- the end of a hold ---------------------------------------------------------------------- */

TEST(a_call_ends_once_and_everything_after_it_is_a_duplicate)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 1000), NOW);
    apply(l, reserve_event(1, 7, 100, ENTITIES("org")), NOW);
    struct ns_ledger_effect e = apply(l, reserve_event(1, 7, 100, ENTITIES("org")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DUPLICATE);
    CHECK_INT(e.hold_nanousd, 100);
    apply(l, settle_event(1, 60, NOW, ENTITIES("org")), NOW);
    uint64_t before = ns_ledger_digest(l);
    CHECK_INT(apply(l, settle_event(1, 60, NOW, ENTITIES("org")), NOW).result, NS_LEDGER_DUPLICATE);
    CHECK_INT(apply(l, reserve_event(1, 7, 100, ENTITIES("org")), NOW).result, NS_LEDGER_DUPLICATE);
    CHECK_INT(apply(l, void_event(1), NOW).result, NS_LEDGER_DUPLICATE);
    CHECK_INT(apply(l, progress_event(1, 5), NOW).result, NS_LEDGER_DUPLICATE);
    CHECK(ns_ledger_digest(l) == before);
    ns_ledger_free(l);
}

TEST(a_void_gives_the_hold_back_and_charges_nothing)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 1000), NOW);
    apply(l, reserve_event(1, 7, 100, ENTITIES("org")), NOW);
    struct ns_ledger_effect e = apply(l, void_event(1), NOW);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK_INT(e.released_nanousd, 100);
    CHECK_NUMBERS(l, 1, "org", NOW, 0, 0, 0);
    CHECK_INT(apply(l, settle_event(1, 60, NOW, ENTITIES("org")), NOW).result, NS_LEDGER_DUPLICATE);
    CHECK_INT(apply(l, void_event(2), NOW).result, NS_LEDGER_UNKNOWN);
    ns_ledger_free(l);
}

TEST(a_cost_above_the_hold_posts_in_full_and_is_counted_as_overshoot)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 100), NOW);
    apply(l, reserve_event(1, 7, 100, ENTITIES("org")), NOW);
    struct ns_ledger_effect e = apply(l, settle_event(1, 130, NOW, 0, NULL), NOW);
    CHECK_INT(e.overshoot_nanousd, 30);
    CHECK_NUMBERS(l, 1, "org", NOW, 130, 0, 30);
    ns_ledger_free(l);
}

TEST(a_hold_grows_on_every_budget_to_what_all_have_room_for)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 1000), NOW);
    apply(l, budget_event(2, "customer:a", NS_PERIOD_DAY, 300), NOW);
    apply(l, reserve_event(1, 7, 100, ENTITIES("org", "customer:a")), NOW);
    apply(l, reserve_event(2, 7, 100, ENTITIES("org", "customer:a")), NOW);
    struct ns_ledger_effect e = apply(l, top_up_event(1, 90, 110, 150), NOW);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK_INT(e.hold_nanousd, 150);
    CHECK_INT(e.firm_nanousd, 150);
    CHECK_NUMBERS(l, 1, "org", NOW, 0, 250, 0);
    CHECK_NUMBERS(l, 2, "customer:a", NOW, 0, 250, 0);
    /* Said twice, and late: nothing more. */
    e = apply(l, top_up_event(1, 90, 110, 150), NOW);
    CHECK_INT(e.hold_nanousd, 150);
    e = apply(l, top_up_event(1, 80, 100, 120), NOW);
    CHECK_INT(e.hold_nanousd, 150);
    CHECK_NUMBERS(l, 1, "org", NOW, 0, 250, 0);
    /* Not all that is wanted is there. */
    e = apply(l, top_up_event(1, 150, 160, 999), NOW);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK_INT(e.hold_nanousd, 200);
    CHECK_NUMBERS(l, 1, "org", NOW, 0, 300, 0);
    CHECK_NUMBERS(l, 2, "customer:a", NOW, 0, 300, 0);
    apply(l, gone_event(7), NOW);
    CHECK_NUMBERS(l, 2, "customer:a", NOW, 200, 0, 0);
    ns_ledger_free(l);
}

TEST(a_top_up_that_one_budget_denies_changes_not_one_byte)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 1000), NOW);
    apply(l, budget_event(2, "customer:a", NS_PERIOD_DAY, 120), NOW);
    apply(l, reserve_event(1, 7, 100, ENTITIES("org", "customer:a")), NOW);
    uint64_t before = ns_ledger_digest(l);
    struct ns_ledger_effect e = apply(l, top_up_event(1, 99, 121, 200), NOW + 1000);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK_STR(e.denied_by.entity, "customer:a");
    CHECK_INT(e.denied_by.needed_nanousd, 21);
    CHECK_INT(e.denied_by.held_nanousd, 100);
    CHECK_INT(ns_ledger_digest(l), before);
    e = apply(l, top_up_event(1, 99, 120, 200), NOW);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK_INT(e.hold_nanousd, 120);
    /* Nothing is left, and what it has already is not taken away. */
    CHECK_INT(apply(l, top_up_event(1, 99, 121, 121), NOW).result, NS_LEDGER_DENIED);
    CHECK_INT(apply(l, top_up_event(1, 99, 120, 200), NOW).result, NS_LEDGER_DONE);
    ns_ledger_free(l);
}

TEST(only_hard_budgets_of_a_call_in_enforce_mode_deny_a_top_up)
{
    static const struct {
        uint8_t policy, mode;
        bool denied;
    } cases[] = {
        {NS_POLICY_HARD, NS_MODE_ENFORCE, true},  {NS_POLICY_HARD, NS_MODE_SHADOW, false},
        {NS_POLICY_HARD, NS_MODE_OBSERVE, false}, {NS_POLICY_SOFT, NS_MODE_ENFORCE, false},
        {NS_POLICY_WARN, NS_MODE_ENFORCE, false}, {NS_POLICY_SHADOW, NS_MODE_ENFORCE, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ns_ledger *l = ns_ledger_new();
        struct ns_ledger_event budget = budget_event(1, "org", NS_PERIOD_DAY, 100);
        budget.as.budget_put.policy = cases[i].policy;
        apply(l, budget, NOW);
        struct ns_ledger_event reserve = reserve_event(1, 7, 100, ENTITIES("org"));
        reserve.as.reserve.mode = cases[i].mode;
        CHECK_INT(apply(l, reserve, NOW).firm_nanousd, cases[i].denied ? 100 : INT64_MAX);
        struct ns_ledger_event event = top_up_event(1, 99, 200, 300);
        event.as.top_up.mode = cases[i].mode;
        struct ns_ledger_effect e = apply(l, event, NOW);
        CHECK_INT(e.result, cases[i].denied ? NS_LEDGER_DENIED : NS_LEDGER_DONE);
        CHECK_INT(e.would_deny, !cases[i].denied);
        CHECK_NUMBERS(l, 1, "org", NOW, 0, cases[i].denied ? 100 : 300, 0);
        ns_ledger_free(l);
    }
}

TEST(a_top_up_counts_only_where_the_hold_still_counts)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_HOUR, 100), NOW);
    CHECK_INT(apply(l, top_up_event(1, 0, 0, 0), NOW).result, NS_LEDGER_UNKNOWN);
    apply(l, reserve_event(1, 7, 100, ENTITIES("org")), NOW);
    /* Its hour is over: nothing limits it, and the next hour holds nothing for it. */
    struct ns_ledger_effect e = apply(l, top_up_event(1, 10, 500, 500), NOW + NS_HOUR_NS);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK_INT(e.firm_nanousd, INT64_MAX);
    CHECK_NUMBERS(l, 1, "org", NOW + NS_HOUR_NS, 0, 0, 0);
    apply(l, settle_event(1, 700, NOW, 0, NULL), NOW + NS_HOUR_NS);
    CHECK_INT(apply(l, top_up_event(1, 0, 0, 0), NOW + NS_HOUR_NS).result, NS_LEDGER_DUPLICATE);
    ns_ledger_free(l);
}

TEST(the_holds_of_a_process_that_is_gone_are_lost_and_charged)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 1000), NOW);
    apply(l, reserve_event(1, 7, 100, ENTITIES("org")), NOW);
    apply(l, reserve_event(2, 7, 100, ENTITIES("org")), NOW);
    apply(l, reserve_event(3, 8, 100, ENTITIES("org")), NOW);
    apply(l, progress_event(1, 120), NOW);
    struct ns_ledger_effect e = apply(l, gone_event(7), NOW);
    CHECK_INT(e.lost_count, 2);
    REQUIRE(e.lost_count == 2);
    struct ns_uuid first = call_of(1);
    CHECK(ns_uuid_equal(&e.lost[0].call_id, &first));
    CHECK_INT(e.lost[0].charged_nanousd, 120);
    CHECK_INT(e.lost[1].charged_nanousd, 50);
    CHECK_NUMBERS(l, 1, "org", NOW, 170, 100, 20);
    CHECK_INT(ns_ledger_open_holds(l), 1);
    e = apply(l, gone_event(7), NOW);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK_INT(e.lost_count, 0);
    ns_ledger_free(l);
}

TEST(a_late_report_corrects_a_lost_call_once)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 1000), NOW);
    apply(l, reserve_event(1, 7, 100, ENTITIES("org")), NOW);
    apply(l, progress_event(1, 120), NOW);
    apply(l, gone_event(7), NOW);
    CHECK_NUMBERS(l, 1, "org", NOW, 120, 0, 20);
    struct ns_ledger_effect e = apply(l, settle_event(1, 70, NOW, ENTITIES("org")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK(e.corrected);
    CHECK_NUMBERS(l, 1, "org", NOW, 70, 0, 0);
    e = apply(l, settle_event(1, 70, NOW, ENTITIES("org")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DUPLICATE);
    CHECK(!e.corrected);
    CHECK_NUMBERS(l, 1, "org", NOW, 70, 0, 0);
    ns_ledger_free(l);
}

TEST(a_late_word_that_a_lost_call_never_left_takes_its_charge_back)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 1000), NOW);
    apply(l, reserve_event(1, 7, 100, ENTITIES("org")), NOW);
    apply(l, progress_event(1, 120), NOW);
    apply(l, gone_event(7), NOW);
    CHECK_NUMBERS(l, 1, "org", NOW, 120, 0, 20);
    struct ns_ledger_effect e = apply(l, void_event(1), NOW);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK(e.corrected);
    CHECK_INT(e.overshoot_nanousd, 0);
    CHECK_NUMBERS(l, 1, "org", NOW, 0, 0, 0);
    CHECK_INT(apply(l, void_event(1), NOW).result, NS_LEDGER_DUPLICATE);
    CHECK_INT(apply(l, settle_event(1, 70, NOW, ENTITIES("org")), NOW).result, NS_LEDGER_DUPLICATE);
    CHECK_NUMBERS(l, 1, "org", NOW, 0, 0, 0);
    ns_ledger_free(l);
}

TEST(a_call_that_was_let_through_unasked_is_posted_once_to_all_that_match)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 10), NOW);
    apply(l, budget_event(2, "customer:*", NS_PERIOD_DAY, 10), NOW);
    struct ns_ledger_effect e =
        apply(l, settle_event(1, 70, NOW, ENTITIES("org", "customer:acme")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DONE);
    CHECK_INT(e.matched, 2);
    CHECK_NUMBERS(l, 1, "org", NOW, 70, 0, 70);
    CHECK_NUMBERS(l, 2, "customer:acme", NOW, 70, 0, 70);
    e = apply(l, settle_event(1, 70, NOW, ENTITIES("org", "customer:acme")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DUPLICATE);
    CHECK_NUMBERS(l, 1, "org", NOW, 70, 0, 70);
    ns_ledger_free(l);
}

/* --- periods -------------------------------------------------------------------------------- */

TEST(a_new_period_starts_from_nothing_and_an_old_hold_settles_into_history)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_HOUR, 100), NOW);
    apply(l, budget_event(2, "org", NS_PERIOD_DAY, 1000), NOW);
    apply(l, reserve_event(1, 7, 100, ENTITIES("org")), NOW);
    int64_t later = NOW + NS_HOUR_NS;
    CHECK_NUMBERS(l, 1, "org", later, 0, 0, 0);
    CHECK_INT(apply(l, reserve_event(2, 7, 100, ENTITIES("org")), later).result, NS_LEDGER_DONE);
    apply(l, settle_event(1, 90, NOW, 0, NULL), later);
    CHECK_NUMBERS(l, 1, "org", later, 0, 100, 0);
    CHECK_NUMBERS(l, 2, "org", later, 90, 100, 0);
    struct ns_ledger_numbers n = numbers_of(l, 1, "org", later);
    CHECK_INT(n.period_start_ns, later);
    CHECK_INT(n.period_end_ns, later + NS_HOUR_NS);
    ns_ledger_free(l);
}

TEST(a_void_or_loss_from_an_old_period_leaves_the_new_one_alone)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_HOUR, 100), NOW);
    apply(l, reserve_event(1, 7, 40, ENTITIES("org")), NOW);
    apply(l, reserve_event(2, 8, 40, ENTITIES("org")), NOW);
    int64_t later = NOW + NS_HOUR_NS;
    apply(l, tick_event(), later);
    apply(l, reserve_event(3, 9, 30, ENTITIES("org")), later);
    apply(l, void_event(1), later);
    CHECK_INT(apply(l, gone_event(8), later).lost_count, 1);
    CHECK_NUMBERS(l, 1, "org", later, 0, 30, 0);
    CHECK(apply(l, settle_event(2, 77, NOW, 0, NULL), later).corrected);
    CHECK_NUMBERS(l, 1, "org", later, 0, 30, 0);
    ns_ledger_free(l);
}

TEST(an_unasked_call_is_never_posted_to_a_period_that_began_after_it)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_HOUR, 100), NOW);
    apply(l, budget_event(2, "org", NS_PERIOD_DAY, 100), NOW);
    int64_t later = NOW + NS_HOUR_NS;
    apply(l, settle_event(1, 70, NOW + 1, ENTITIES("org")), later);
    CHECK_NUMBERS(l, 1, "org", later, 0, 0, 0);
    CHECK_NUMBERS(l, 2, "org", later, 70, 0, 70);
    /* A clock ahead on another host: now. */
    apply(l, settle_event(2, 5, later + NS_DAY_NS, ENTITIES("org")), later);
    CHECK_NUMBERS(l, 1, "org", later, 5, 0, 5);
    ns_ledger_free(l);
}

TEST(a_clock_that_goes_back_stands_still)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_HOUR, 100), NOW + NS_HOUR_NS);
    apply(l, reserve_event(1, 7, 40, ENTITIES("org")), NOW);
    CHECK_NUMBERS(l, 1, "org", NOW, 0, 40, 0);
    CHECK_INT(numbers_of(l, 1, "org", NOW).period_start_ns, NOW + NS_HOUR_NS);
    ns_ledger_free(l);
}

/* --- budgets -------------------------------------------------------------------------------- */

TEST(a_changed_limit_keeps_the_count_and_a_changed_period_or_entity_does_not)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 100), NOW);
    apply(l, reserve_event(1, 7, 40, ENTITIES("org")), NOW);
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 30), NOW);
    CHECK_NUMBERS(l, 1, "org", NOW, 0, 40, 0);
    CHECK_INT(apply(l, reserve_event(2, 7, 1, ENTITIES("org")), NOW).result, NS_LEDGER_DENIED);
    apply(l, budget_event(1, "org", NS_PERIOD_WEEK, 30), NOW);
    CHECK_NUMBERS(l, 1, "org", NOW, 0, 0, 0);
    CHECK_INT(ns_ledger_budget_count(l), 1);
    apply(l, settle_event(1, 40, NOW, 0, NULL), NOW);
    CHECK_NUMBERS(l, 1, "org", NOW, 0, 0, 0);
    apply(l, budget_event(1, "team:core", NS_PERIOD_WEEK, 30), NOW);
    CHECK_INT(apply(l, reserve_event(3, 7, 99, ENTITIES("org")), NOW).matched, 0);
    CHECK_INT(apply(l, reserve_event(4, 7, 9, ENTITIES("team:core")), NOW).matched, 1);
    ns_ledger_free(l);
}

TEST(a_removed_budget_is_gone_and_its_holds_end_unnoticed)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 100), NOW);
    apply(l, budget_event(2, "customer:*", NS_PERIOD_DAY, 100), NOW);
    apply(l, reserve_event(1, 7, 40, ENTITIES("org", "customer:a")), NOW);
    apply(l, remove_event(1), NOW);
    apply(l, remove_event(2), NOW);
    CHECK_INT(ns_ledger_budget_count(l), 0);
    CHECK_INT(apply(l, remove_event(1), NOW).result, NS_LEDGER_UNKNOWN);
    /* The same memory may serve another budget now. */
    apply(l, budget_event(3, "org", NS_PERIOD_DAY, 100), NOW);
    apply(l, budget_event(4, "customer:a", NS_PERIOD_DAY, 100), NOW);
    CHECK_INT(apply(l, settle_event(1, 60, NOW, 0, NULL), NOW).result, NS_LEDGER_DONE);
    CHECK_NUMBERS(l, 3, "org", NOW, 0, 0, 0);
    CHECK_NUMBERS(l, 4, "customer:a", NOW, 0, 0, 0);
    ns_ledger_free(l);
}

TEST(a_pattern_counts_each_entity_by_itself)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "customer:*", NS_PERIOD_DAY, 100), NOW);
    CHECK_INT(apply(l, reserve_event(1, 7, 100, ENTITIES("customer:a")), NOW).result,
              NS_LEDGER_DONE);
    struct ns_ledger_effect e = apply(l, reserve_event(2, 7, 1, ENTITIES("customer:a")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK_STR(e.denied_by.entity, "customer:a");
    CHECK_INT(apply(l, reserve_event(3, 7, 100, ENTITIES("customer:b")), NOW).result,
              NS_LEDGER_DONE);
    e = apply(l, reserve_event(4, 7, 101, ENTITIES("customer:c")), NOW);
    CHECK_INT(e.result, NS_LEDGER_DENIED);
    CHECK_STR(e.denied_by.entity, "customer:c");
    struct wanted_numbers c = {.id = 1, .entity = "customer:c"};
    ns_ledger_visit(l, NOW, pick_numbers, &c);
    CHECK(!c.found);
    struct wanted_numbers self = {.id = 1, .entity = "customer:*"};
    ns_ledger_visit(l, NOW, pick_numbers, &self);
    CHECK(self.found);
    ns_ledger_free(l);
}

TEST(a_budget_of_its_own_takes_the_place_of_the_default_of_the_same_period)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "customer:*", NS_PERIOD_DAY, 10), NOW);
    apply(l, budget_event(2, "customer:big", NS_PERIOD_DAY, 1000), NOW);
    apply(l, budget_event(3, "customer:big", NS_PERIOD_MONTH, 1000), NOW);
    apply(l, budget_event(4, "customer:*", NS_PERIOD_HOUR, 500), NOW);
    CHECK_INT(apply(l, reserve_event(1, 7, 400, ENTITIES("customer:big")), NOW).matched, 3);
    CHECK_INT(apply(l, reserve_event(2, 7, 400, ENTITIES("customer:big")), NOW).result,
              NS_LEDGER_DENIED);
    CHECK_INT(apply(l, reserve_event(3, 7, 11, ENTITIES("customer:small")), NOW).result,
              NS_LEDGER_DENIED);
    ns_ledger_free(l);
}

TEST(a_customer_that_calls_itself_a_star_does_not_escape_the_default)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "customer:*", NS_PERIOD_DAY, 10), NOW);
    CHECK_INT(apply(l, reserve_event(1, 7, 10, ENTITIES("customer:*")), NOW).matched, 1);
    CHECK_INT(apply(l, reserve_event(2, 7, 1, ENTITIES("customer:*")), NOW).result,
              NS_LEDGER_DENIED);
    ns_ledger_free(l);
}

static void
count_one(void *context, const struct ns_ledger_numbers *numbers, const struct ns_budget *budget)
{
    (void)numbers;
    (void)budget;
    ++*(int *)context;
}

static int
visited(const struct ns_ledger *l, int64_t now_ns)
{
    int count = 0;
    ns_ledger_visit(l, now_ns, count_one, &count);
    return count;
}

TEST(what_a_pattern_counted_is_dropped_when_its_period_is_over)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "customer:*", NS_PERIOD_HOUR, 10), NOW);
    for (uint32_t i = 0; i < 100; i++) {
        char entity[32];
        snprintf(entity, sizeof(entity), "customer:%u", i);
        apply(l, settle_event(i, 3, NOW, ENTITIES(entity)), NOW);
    }
    CHECK_INT(visited(l, NOW), 101);
    apply(l, tick_event(), NOW + NS_HOUR_NS - 1);
    CHECK_INT(visited(l, NOW + NS_HOUR_NS - 1), 101);
    apply(l, tick_event(), NOW + NS_HOUR_NS);
    CHECK_INT(visited(l, NOW + NS_HOUR_NS), 1);
    ns_ledger_free(l);
}

TEST(only_what_changed_is_visited_as_changed)
{
    struct ns_ledger *l = ns_ledger_new();
    for (int i = 1; i <= 20; i++) {
        char entity[32];
        snprintf(entity, sizeof(entity), "team:%d", i);
        apply(l, budget_event(i, entity, NS_PERIOD_DAY, 100), NOW);
    }
    int count = 0;
    ns_ledger_visit_changed(l, NOW, count_one, &count);
    CHECK_INT(count, 20);
    count = 0;
    ns_ledger_visit_changed(l, NOW, count_one, &count);
    CHECK_INT(count, 0);
    apply(l, reserve_event(1, 7, 1, ENTITIES("team:3", "team:4")), NOW);
    apply(l, void_event(1), NOW);
    apply(l, remove_event(4), NOW);
    apply(l, budget_event(9, "team:9", NS_PERIOD_DAY, 7), NOW);
    ns_ledger_visit_changed(l, NOW, count_one, &count);
    CHECK_INT(count, 2);
    count = 0;
    apply(l, tick_event(), NOW + NS_DAY_NS);
    ns_ledger_visit_changed(l, NOW + NS_DAY_NS, count_one, &count);
    CHECK_INT(count, 19);
    ns_ledger_free(l);
}

TEST(only_a_hard_budget_that_says_so_denies_when_the_collector_is_away)
{
    struct ns_ledger *l = ns_ledger_new();
    struct ns_ledger_event deny = budget_event(1, "org", NS_PERIOD_DAY, 100);
    deny.as.budget_put.on_unreachable = NS_UNREACHABLE_DENY;
    struct ns_ledger_event soft = deny;
    soft.as.budget_put.policy = NS_POLICY_SOFT;
    soft.as.budget_put.id = 2;
    apply(l, soft, NOW);
    CHECK(!ns_ledger_denies_unreachable(l));
    apply(l, deny, NOW);
    CHECK(ns_ledger_denies_unreachable(l));
    deny.as.budget_put.policy = NS_POLICY_WARN;
    apply(l, deny, NOW);
    CHECK(!ns_ledger_denies_unreachable(l));
    deny.as.budget_put.policy = NS_POLICY_HARD;
    apply(l, deny, NOW);
    apply(l, remove_event(1), NOW);
    CHECK(!ns_ledger_denies_unreachable(l));
    ns_ledger_free(l);
}

static void
sum_owner(void *context, const struct ns_owner *owner)
{
    *(uint64_t *)context += owner->a;
}

TEST(owners_are_those_of_open_holds)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, reserve_event(1, 7, 1, ENTITIES("org")), NOW);
    apply(l, reserve_event(2, 7, 1, ENTITIES("org")), NOW);
    apply(l, reserve_event(3, 100, 1, ENTITIES("org")), NOW);
    uint64_t sum = 0;
    ns_ledger_visit_owners(l, sum_owner, &sum);
    CHECK_INT(sum, 107);
    apply(l, void_event(1), NOW);
    apply(l, gone_event(100), NOW);
    sum = 0;
    ns_ledger_visit_owners(l, sum_owner, &sum);
    CHECK_INT(sum, 7);
    ns_ledger_free(l);
}

/* --- memory --------------------------------------------------------------------------------- */

TEST(ended_calls_are_forgotten_after_two_days_and_not_before)
{
    struct ns_ledger *l = ns_ledger_new();
    apply(l, budget_event(1, "org", NS_PERIOD_TOTAL, 1000), NOW);
    apply(l, reserve_event(1, 7, 10, ENTITIES("org")), NOW);
    apply(l, settle_event(1, 5, NOW, 0, NULL), NOW);
    apply(l, reserve_event(2, 7, 10, ENTITIES("org")), NOW);
    apply(l, gone_event(7), NOW);
    apply(l, tick_event(), NOW + NS_ENDED_KEPT_NS - 1);
    CHECK_INT(apply(l, void_event(1), NOW).result, NS_LEDGER_DUPLICATE);
    apply(l, tick_event(), NOW + NS_ENDED_KEPT_NS);
    CHECK_INT(apply(l, void_event(1), NOW).result, NS_LEDGER_UNKNOWN);
    CHECK_INT(apply(l, void_event(2), NOW).result, NS_LEDGER_UNKNOWN);
    CHECK_INT(l->ended.taken + l->holds.taken, 0);
    ns_ledger_free(l);
}

TEST(more_ended_calls_than_the_bound_forget_the_oldest)
{
    struct ns_ledger *l = ns_ledger_new();
    struct ns_ledger_effect e;
    for (uint32_t i = 0; i <= NS_ENDED_MAX; i++) {
        struct ns_ledger_event settle = settle_event(i, 5, NOW, 0, NULL);
        REQUIRE(ns_ledger_apply(l, &settle, NOW, &e) == 0);
    }
    CHECK_INT(l->ended.taken, NS_ENDED_MAX);
    CHECK(ns_ledger_fault(l) == NULL);
    CHECK_INT(apply(l, void_event(0), NOW).result, NS_LEDGER_UNKNOWN);
    CHECK_INT(apply(l, void_event(1), NOW).result, NS_LEDGER_DUPLICATE);
    ns_ledger_free(l);
}

/* A script that needs memory in every event. */
static size_t
script(struct ns_ledger_event *events)
{
    static const char *const many[] = {"org",     "team:a",    "customer:a",
                                       "agent:a", "feature:a", "tag:k=v"};
    static const char *const star[] = {"customer:b", "tag:k=w"};
    struct ns_ledger_event list[] = {
        budget_event(1, "org", NS_PERIOD_DAY, 1000),
        velocity_event(2, "team:a", 1000, 15),
        budget_event(3, "customer:*", NS_PERIOD_DAY, 1000),
        keeping_event(4, "agent:a", 1000, 100),
        overdraft_event(5, "feature:a", 1000, 100),
        budget_event(6, "tag:k=*", NS_PERIOD_DAY, 1000),
        grant_event(7, 1, "org", 100, NOW + NS_DAY_NS, NULL),
        reserve_event(1, 7, 10, 6, many),
        reserve_event(2, 7, 10, 6, many),
        settle_event(1, 20, NOW, 0, NULL),
        settle_event(9, 20, NOW, 2, star),
        gone_event(7),
        settle_event(2, 3, NOW, 0, NULL),
        budget_event(3, "customer:*", NS_PERIOD_WEEK, 1000),
        reserve_event(5, 8, 1, 2, star),
        finalize_event(6, 8, 1, 2, star),
        remove_event(6),
    };
    /* The second reserve trips it, and goes on. */
    list[1].as.budget_put.policy = NS_POLICY_SHADOW;
    memcpy(events, list, sizeof(list));
    return sizeof(list) / sizeof(list[0]);
}

TEST(without_memory_an_event_fails_whole_and_succeeds_when_tried_again)
{
    struct ns_ledger_event events[32];
    size_t count = script(events);
    int failed = 0;
    for (size_t fail = 1; fail < 80; fail++) {
        struct ns_ledger *l = ns_ledger_new();
        struct ns_ledger *whole = ns_ledger_new();
        ns_mem_fail_at(fail);
        for (size_t i = 0; i < count; i++) {
            struct ns_ledger_effect e;
            uint64_t before = ns_ledger_digest(l);
            int status = ns_ledger_apply(l, &events[i], NOW, &e);
            if (status == -ENOMEM) {
                failed++;
                CHECK(ns_ledger_digest(l) == before);
                CHECK(ns_ledger_fault(l) == NULL);
                status = ns_ledger_apply(l, &events[i], NOW, &e);
            }
            CHECK_INT(status, 0);
        }
        ns_mem_fail_at(0);
        for (size_t i = 0; i < count; i++) {
            apply(whole, events[i], NOW);
        }
        CHECK(ns_ledger_digest(l) == ns_ledger_digest(whole));
        ns_ledger_free(l);
        ns_ledger_free(whole);
    }
    CHECK(failed > 20);
}

/* --- snapshots and bytes -------------------------------------------------------------------- */

TEST(a_saved_ledger_loads_to_the_same_bytes_and_goes_on_alike)
{
    struct ns_ledger_event events[32];
    size_t count = script(events);
    for (size_t stop = 0; stop <= count; stop++) {
        struct ns_ledger *l = ns_ledger_new();
        for (size_t i = 0; i < stop; i++) {
            apply(l, events[i], NOW);
        }
        uint8_t *bytes;
        size_t size;
        struct ns_ledger *loaded = NULL;
        REQUIRE(ns_ledger_save(l, &bytes, &size) == 0);
        CHECK_INT(ns_ledger_load(bytes, size, &loaded), 0);
        REQUIRE(loaded != NULL);
        CHECK(ns_ledger_fault(loaded) == NULL);
        CHECK(ns_ledger_digest(l) == ns_ledger_digest(loaded));
        for (size_t i = stop; i < count; i++) {
            apply(l, events[i], NOW + 5);
            apply(loaded, events[i], NOW + 5);
        }
        CHECK(ns_ledger_digest(l) == ns_ledger_digest(loaded));
        free(bytes);
        ns_ledger_free(l);
        ns_ledger_free(loaded);
    }
}

static void
cut_out(uint8_t *bytes, size_t *size, size_t at, size_t count)
{
    REQUIRE(at + count <= *size);
    memmove(bytes + at, bytes + at + count, *size - at - count);
    *size -= count;
}

TEST(snapshots_of_former_formats_load)
{
    struct ns_ledger *l = ns_ledger_new();
    struct ns_ledger *loaded = NULL;
    apply(l, budget_event(1, "org", NS_PERIOD_DAY, 1000), NOW);
    struct ns_ledger_event reserve = reserve_event(1, 7, 10, ENTITIES("org"));
    reserve.as.reserve.typical_nanousd = 0;
    apply(l, reserve, NOW);
    uint8_t *bytes;
    size_t size;
    REQUIRE(ns_ledger_save(l, &bytes, &size) == 0);
    /* What the second had not, from the end: of a share the grant and its part, of a budget what
     * makes it a grant. */
    cut_out(bytes, &size, 245, 9);
    cut_out(bytes, &size, 233, 4);
    cut_out(bytes, &size, 75, 19);
    memcpy(bytes, "NSLEDG2", 8);
    REQUIRE(ns_ledger_load(bytes, size, &loaded) == 0);
    CHECK(ns_ledger_digest(l) == ns_ledger_digest(loaded));
    ns_ledger_free(loaded);
    /* And the first: of the call its rate and whether it finalizes, of the counter its rate, of the
     * budget what is kept, overdraft and velocity. */
    cut_out(bytes, &size, 200, 9);
    cut_out(bytes, &size, 116, 32);
    cut_out(bytes, &size, 47, 28);
    memcpy(bytes, "NSLEDG1", 8);
    REQUIRE(ns_ledger_load(bytes, size, &loaded) == 0);
    CHECK(ns_ledger_digest(l) == ns_ledger_digest(loaded));
    ns_ledger_free(loaded);
    ns_ledger_free(l);
    free(bytes);
}

TEST(equal_states_by_different_ways_have_equal_bytes)
{
    struct ns_ledger *a = ns_ledger_new();
    struct ns_ledger *b = ns_ledger_new();
    apply(a, budget_event(1, "org", NS_PERIOD_DAY, 100), NOW);
    apply(a, budget_event(2, "team:a", NS_PERIOD_DAY, 100), NOW);
    apply(b, budget_event(2, "team:a", NS_PERIOD_DAY, 90), NOW);
    apply(b, budget_event(3, "team:b", NS_PERIOD_DAY, 90), NOW);
    apply(b, budget_event(1, "org", NS_PERIOD_DAY, 100), NOW);
    apply(b, budget_event(2, "team:a", NS_PERIOD_DAY, 100), NOW);
    apply(b, remove_event(3), NOW);
    apply(a, reserve_event(1, 7, 3, ENTITIES("org", "team:a")), NOW);
    apply(a, reserve_event(2, 8, 4, ENTITIES("team:a")), NOW);
    apply(b, reserve_event(2, 8, 4, ENTITIES("team:a")), NOW);
    apply(b, reserve_event(1, 7, 3, ENTITIES("team:a", "org")), NOW);
    CHECK(ns_ledger_digest(a) == ns_ledger_digest(b));
    apply(b, progress_event(1, 0), NOW);
    CHECK(ns_ledger_digest(a) != ns_ledger_digest(b));
    ns_ledger_free(a);
    ns_ledger_free(b);
}

TEST(a_snapshot_that_is_cut_or_longer_is_refused)
{
    struct ns_ledger_event events[32];
    size_t count = script(events);
    struct ns_ledger *l = ns_ledger_new();
    for (size_t i = 0; i < count; i++) {
        apply(l, events[i], NOW);
    }
    apply(l, reserve_event(77, 3, 1, ENTITIES("org", "team:a")), NOW);
    apply(l, gone_event(3), NOW);
    uint8_t *bytes;
    size_t size;
    REQUIRE(ns_ledger_save(l, &bytes, &size) == 0);
    struct ns_ledger *loaded;
    for (size_t n = 0; n < size; n++) {
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, bytes, n);
        CHECK_INT(ns_ledger_load(cut, n, &loaded), -EBADMSG);
        free(cut);
    }
    uint8_t *more = calloc(1, size + 1);
    memcpy(more, bytes, size);
    CHECK_INT(ns_ledger_load(more, size + 1, &loaded), -EBADMSG);
    /* A byte changed: refused, or another state whose invariants hold and that saves alike. */
    for (size_t n = 0; n < size; n++) {
        more[n] ^= 0x41;
        if (ns_ledger_load(more, size, &loaded) == 0) {
            CHECK(ns_ledger_fault(loaded) == NULL);
            uint8_t *again;
            size_t again_size;
            REQUIRE(ns_ledger_save(loaded, &again, &again_size) == 0);
            CHECK(again_size == size && memcmp(again, more, size) == 0);
            free(again);
            ns_ledger_free(loaded);
        }
        more[n] ^= 0x41;
    }
    free(more);
    free(bytes);
    ns_ledger_free(l);
}

TEST(events_survive_encoding_and_nothing_else_decodes)
{
    struct ns_ledger_event events[32];
    size_t count = script(events);
    events[count++] = progress_event(3, 99);
    events[count++] = top_up_event(3, 99, 100, INT64_MAX);
    events[count++] = void_event(3);
    events[count++] = tick_event();
    for (size_t i = 0; i < count; i++) {
        uint8_t bytes[16384];
        uint8_t again[16384];
        struct ns_ledger_event decoded;
        struct ns_ledger_event_room room;
        int n = ns_ledger_event_encode(&events[i], bytes, sizeof(bytes));
        REQUIRE(n > 0);
        CHECK_INT(ns_ledger_event_encode(&events[i], bytes, (size_t)n), n);
        CHECK_INT(ns_ledger_event_encode(&events[i], again, (size_t)n - 1), -ENOSPC);
        CHECK_INT(ns_ledger_event_decode(bytes, (size_t)n, &decoded, &room), 0);
        CHECK_INT(ns_ledger_event_encode(&decoded, again, sizeof(again)), n);
        CHECK(memcmp(bytes, again, (size_t)n) == 0);
        CHECK_INT(ns_ledger_event_decode(bytes, (size_t)n + 1, &decoded, &room), -EBADMSG);
        for (int cut = 0; cut < n; cut++) {
            CHECK_INT(ns_ledger_event_decode(bytes, (size_t)cut, &decoded, &room), -EBADMSG);
        }
    }
}

TEST(of_two_ways_to_say_no_more_of_a_budget_one_decodes)
{
    struct ns_ledger_event event = keeping_event(1, "org", 100, 1);
    struct ns_ledger_event_room room;
    uint8_t bytes[128];
    int n = ns_ledger_event_encode(&event, bytes, sizeof(bytes));
    REQUIRE(n > 28);
    CHECK_INT(ns_ledger_event_decode(bytes, (size_t)n, &event, &room), 0);
    CHECK_INT(event.as.budget_put.finalize_nanousd, 1);
    memset(bytes + n - 28, 0, 28);
    CHECK_INT(ns_ledger_event_decode(bytes, (size_t)n, &event, &room), -EBADMSG);
    event = overdraft_event(1, "org", 100, 7);
    CHECK_INT(ns_ledger_event_encode(&event, bytes, sizeof(bytes)), n);
    CHECK_INT(ns_ledger_event_decode(bytes, (size_t)n, &event, &room), 0);
    CHECK_INT(event.as.budget_put.overdraft_nanousd, 7);
    event = velocity_event(1, "org", 100, 7);
    CHECK_INT(ns_ledger_event_encode(&event, bytes, sizeof(bytes)), n);
    CHECK_INT(ns_ledger_event_decode(bytes, (size_t)n, &event, &room), 0);
    CHECK_INT(event.as.budget_put.velocity_nanousd, 7);
    CHECK_INT(event.as.budget_put.velocity_window_s, 60);
    CHECK_INT(event.as.budget_put.velocity_cooldown_s, 60);
}
