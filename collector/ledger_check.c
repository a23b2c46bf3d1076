/* SPDX-License-Identifier: Apache-2.0 */
/* The invariants of one state, checked from scratch: for debug builds and tests. */
#include "collector/ledger_state.h"

static bool
share_live(const struct ns_ledger *l, const struct ns_share *share)
{
    return share->counter < l->counters.used &&
           ns_counter_at(l, share->counter)->serial == share->serial;
}

/* What of a share lies on a counter: the budget's part, or the grant's. */
static int64_t
held_by_share(const struct ns_ledger *l, const struct ns_share *share, uint32_t counter)
{
    if (share->counter == counter && share_live(l, share)) {
        return share->amount_nanousd;
    }
    return share->grant == counter && ns_share_grant(l, share) != NULL ? share->granted_nanousd : 0;
}

/* The open shares on a counter: what it must hold. */
static __int128
held_by_shares(const struct ns_ledger *l, uint32_t counter)
{
    __int128 sum = 0;
    for (uint32_t i = 0; i < l->holds.used; i++) {
        struct ns_hold *hold = ns_hold_at(l, i);
        for (unsigned s = 0; hold->live && hold->owner != NS_NONE && s < hold->share_count; s++) {
            sum += held_by_share(l, ns_hold_share(hold, s), counter);
        }
    }
    return sum;
}

static const char *
counters_fault(const struct ns_ledger *l)
{
    for (uint32_t i = 0; i < l->counters.used; i++) {
        const struct ns_counter *c = ns_counter_at(l, i);
        if (c->serial == 0) {
            continue;
        }
        if (c->held_nanousd != held_by_shares(l, i)) {
            return "what a counter holds is not the sum of its open holds";
        }
        if (c->spent_nanousd < 0 || c->held_nanousd < 0 || c->overshoot_nanousd < 0) {
            return "an amount is negative";
        }
        if (c->overshoot_nanousd > c->spent_nanousd) {
            return "more overshoot than spending";
        }
        int64_t start;
        int64_t end;
        ns_period_bounds((enum ns_period)ns_budget_at(l, c->budget)->budget.period, c->start_ns,
                         &start, &end);
        if (start != c->start_ns || end != c->end_ns) {
            return "a counter's bounds are not a period";
        }
        if (c->end_ns < l->next_turn_ns) {
            return "a period ends before the next turn";
        }
    }
    return NULL;
}

static const char *
calls_fault(const struct ns_ledger *l)
{
    uint32_t open = 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < l->holds.used; i++) {
        const struct ns_hold *hold = ns_hold_at(l, i);
        if (!hold->live) {
            continue;
        }
        kept += hold->owner == NS_NONE;
        if (hold->owner != NS_NONE) {
            open++;
            const struct ns_table_slot *slot = ns_ledger_call_find(l, &hold->call_id);
            if (slot == NULL || slot->number != i) {
                return "an open hold is not found by its call";
            }
        }
    }
    if (open != l->open_holds) {
        return "open holds are miscounted";
    }
    uint32_t ended = 0;
    for (uint32_t n = l->ended_oldest; n != NS_NONE; n = ns_ended_at(l, n)->newer) {
        const struct ns_ended *e = ns_ended_at(l, n);
        const struct ns_table_slot *slot = ns_ledger_call_find(l, &e->call_id);
        if (slot == NULL || slot->number != (n | NS_ENDED_BIT)) {
            return "an ended call is not found";
        }
        if ((e->how == NS_ENDED_LOST) != (e->hold != NS_NONE)) {
            return "a lost call and its shares do not belong together";
        }
        kept -= e->how == NS_ENDED_LOST;
        ended++;
    }
    if (ended != l->ended.taken || kept != 0 || l->call_of_id.count != open + ended) {
        return "a call is counted twice or not at all";
    }
    return NULL;
}

const char *
ns_ledger_fault(const struct ns_ledger *l)
{
    const char *fault = counters_fault(l);
    return fault != NULL ? fault : calls_fault(l);
}
