/* SPDX-License-Identifier: Apache-2.0 */
/* An answer outgrows its hold: the hold grows, where all budgets that matched have room. */
#include <errno.h>

#include "base/money.h"
#include "collector/ledger_state.h"

/* The counter of a share whose count still goes on at now, or NULL: what is held in a period that
 * has ended limits nobody any more. */
static struct ns_counter *
counter_of(const struct ns_ledger *l, const struct ns_share *share, int64_t now_ns)
{
    if (share->counter >= l->counters.used) {
        return NULL;
    }
    struct ns_counter *c = ns_counter_at(l, share->counter);
    return c->serial == share->serial && now_ns < c->end_ns ? c : NULL;
}

/* The most that a share may come to under its budget's limit; never less than it is. */
static int64_t
most_of(int64_t limit, const struct ns_counter *c, int64_t amount)
{
    int64_t used = ns_money_add(c->spent_nanousd, c->held_nanousd);
    return used < limit ? ns_money_add(amount, limit - used) : amount;
}

/* Says which budget is over, as a denial of what is missing. */
static void
name_budget(const struct ns_ledger *l, const struct ns_share *share, bool finalize,
            int64_t enough_nanousd, int64_t now_ns, struct ns_ledger_effect *effect)
{
    int64_t total = share->amount_nanousd + share->granted_nanousd;
    uint32_t budget = ns_counter_at(l, share->counter)->budget;
    ns_ledger_number(l, budget, share->counter, NULL, now_ns, &effect->denied_by);
    effect->denied_by.reason = (uint8_t)ns_reason_of(effect->denied_by.entity);
    effect->denied_by.needed_nanousd = enough_nanousd - total;
    effect->denied_by.granted_nanousd = ns_share_left(l, share, now_ns);
    if (finalize) {
        effect->denied_by.finalize_nanousd = 0;
    }
}

/* The amount that all shares may grow to, or -1: denied, or full. Changes nothing. */
static int64_t
judge(const struct ns_ledger *l, struct ns_hold *hold, const struct ns_ledger_top_up *top_up,
      int64_t now_ns, struct ns_ledger_effect *effect)
{
    int64_t target = top_up->wanted_nanousd;
    for (unsigned i = 0; i < hold->share_count; i++) {
        const struct ns_share *share = ns_hold_share(hold, i);
        const struct ns_counter *c = counter_of(l, share, now_ns);
        int64_t total = share->amount_nanousd + share->granted_nanousd;
        if (c == NULL || total >= target) {
            continue;
        }
        const struct ns_budget *budget = &ns_budget_at(l, c->budget)->budget;
        bool firm = ns_budget_is_firm(budget, top_up->mode);
        int64_t limit = ns_budget_limit(budget, hold->finalize);
        int64_t ceiling = ns_budget_ceiling(budget, hold->finalize);
        int64_t left = ns_share_left(l, share, now_ns);
        bool over = ns_money_add(most_of(limit, c, total), left) < top_up->enough_nanousd;
        int64_t most = ns_money_add(most_of(ceiling, c, total), left);
        bool denied = firm && most < top_up->enough_nanousd;
        if (over && (denied || !effect->would_deny)) {
            name_budget(l, share, hold->finalize, top_up->enough_nanousd, now_ns, effect);
            effect->would_deny = !denied;
        }
        if (denied) {
            effect->result = NS_LEDGER_DENIED;
            return -1;
        }
        target = firm && most < target ? most : target;
    }
    for (unsigned i = 0; i < hold->share_count; i++) {
        const struct ns_share *share = ns_hold_share(hold, i);
        const struct ns_counter *c = counter_of(l, share, now_ns);
        int64_t total = share->amount_nanousd + share->granted_nanousd;
        if (c != NULL && target - total > INT64_MAX - c->held_nanousd) {
            effect->result = NS_LEDGER_FULL;
            return -1;
        }
    }
    return target;
}

/* Two shares of a hold are never on the same counter, so what was judged one by one holds for all.
 */
static void
grow(struct ns_ledger *l, struct ns_hold *hold, const struct ns_ledger_top_up *top_up,
     int64_t target, int64_t now_ns, struct ns_ledger_effect *effect)
{
    effect->firm_nanousd = INT64_MAX;
    for (unsigned i = 0; i < hold->share_count; i++) {
        struct ns_share *share = ns_hold_share(hold, i);
        struct ns_counter *c = counter_of(l, share, now_ns);
        if (c == NULL) {
            continue;
        }
        const struct ns_budget *budget = &ns_budget_at(l, c->budget)->budget;
        int64_t total = share->amount_nanousd + share->granted_nanousd;
        if (total < target) {
            ns_share_grow(l, share, target - total, ns_budget_room(budget, c, hold->finalize),
                          now_ns);
            total = target;
        }
        if (total > hold->hold_nanousd) {
            hold->hold_nanousd = total;
        }
        if (ns_budget_is_firm(budget, top_up->mode) && total < effect->firm_nanousd) {
            effect->firm_nanousd = total;
        }
    }
}

int
ns_ledger_top_up(struct ns_ledger *l, const struct ns_ledger_top_up *top_up, int64_t now_ns,
                 struct ns_ledger_effect *effect)
{
    if (top_up->lost_nanousd < 0 || top_up->enough_nanousd < 0 ||
        top_up->wanted_nanousd < top_up->enough_nanousd || top_up->mode >= NS_MODE_COUNT) {
        return -EINVAL;
    }
    const struct ns_table_slot *slot = ns_ledger_call_find(l, &top_up->call_id);
    if (slot == NULL || slot->number & NS_ENDED_BIT) {
        effect->result = slot == NULL ? NS_LEDGER_UNKNOWN : NS_LEDGER_DUPLICATE;
        return 0;
    }
    struct ns_hold *hold = ns_hold_at(l, slot->number);
    int64_t target = judge(l, hold, top_up, now_ns, effect);
    if (target >= 0) {
        grow(l, hold, top_up, target, now_ns, effect);
        hold->lost_nanousd = top_up->lost_nanousd;
    }
    effect->hold_nanousd = hold->hold_nanousd;
    effect->matched = hold->share_count;
    return 0;
}
