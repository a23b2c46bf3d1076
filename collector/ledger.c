/* SPDX-License-Identifier: Apache-2.0 */
/* The events of the ledger. Each is checked, then given memory, and only then changes anything. */
#include "collector/ledger.h"

#include <assert.h>
#include <stdlib.h>

#include "base/money.h"
#include "collector/ledger_state.h"

/* Checked after every event in debug builds while the state is small enough for it. */
#define CHECKED_ITEMS_MAX 512

struct ns_ledger *
ns_ledger_new(void)
{
    struct ns_ledger *l = ns_mem_alloc(sizeof(*l));
    if (l == NULL) {
        return NULL;
    }
    struct ns_uuid random = ns_uuid_new();
    memcpy(l->hash_key, random.bytes, sizeof(l->hash_key));
    l->next_serial = 1;
    l->next_turn_ns = INT64_MAX;
    l->changed_first = l->ended_oldest = l->ended_newest = NS_NONE;
    struct {
        struct ns_pool *pool;
        size_t item_bytes;
    } pools[] = {
        {&l->budgets, sizeof(struct ns_budget_row)},  {&l->counters, sizeof(struct ns_counter)},
        {&l->entities, sizeof(struct ns_entity_row)}, {&l->holds, sizeof(struct ns_hold)},
        {&l->owners, sizeof(struct ns_owner_row)},    {&l->ended, sizeof(struct ns_ended)}};
    for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
        *pools[i].pool =
            (struct ns_pool){.item_bytes = (uint32_t)pools[i].item_bytes, .free = NS_NONE};
    }
    return l;
}

void
ns_ledger_free(struct ns_ledger *l)
{
    if (l == NULL) {
        return;
    }
    for (uint32_t i = 0; i < l->entities.used; i++) {
        ns_mem_free(ns_entity_at(l, i)->text);
    }
    for (uint32_t i = 0; i < l->holds.used; i++) {
        ns_mem_free(ns_hold_at(l, i)->more);
    }
    void *blocks[] = {l->budgets.items,
                      l->counters.items,
                      l->entities.items,
                      l->holds.items,
                      l->owners.items,
                      l->ended.items,
                      l->budget_of_id.slots,
                      l->entity_of_text.slots,
                      l->call_of_id.slots,
                      l->owner_of_process.slots,
                      l->lost,
                      l->lost_holds};
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        ns_mem_free(blocks[i]);
    }
    ns_mem_free(l);
}

/* --- reserve -------------------------------------------------------------------------------- */

static int64_t
needed_nanousd(const struct ns_budget *budget, const struct ns_ledger_reserve *reserve)
{
    return budget->reserve == NS_RESERVE_BOUND ? reserve->bound_nanousd : reserve->typical_nanousd;
}

static bool
is_over(int64_t limit, const struct ns_counter *view, int64_t needed)
{
    int64_t used = ns_money_add(view->spent_nanousd, view->held_nanousd);
    return limit == 0 || ns_money_add(used, needed) > limit;
}

/* What the budgets that match say to a reserve. */
struct judgement {
    uint32_t over; /* the match that denies it, or else the first that would; NS_NONE: none */
    bool by_rate;
    bool denied;
    uint64_t trips; /* a bit for each match that is paused from now on */
};

_Static_assert(NS_MATCHES_MAX <= 64, "a bit for each");

/* What a grant has of what is held on a match. */
static struct ns_cover
cover_of(const struct ns_ledger *l, const struct ns_matches *matches, const struct ns_match *m,
         const struct ns_ledger_reserve *reserve, int64_t now_ns)
{
    const struct ns_budget *budget = &ns_budget_at(l, m->budget)->budget;
    if (l->grant_count == 0) {
        return (struct ns_cover){.grant = NS_NONE};
    }
    struct ns_counter view = ns_counter_view(l, m->budget, m->counter, now_ns);
    return ns_grant_cover(l, budget->id, matches->subject[m->subject].row, reserve,
                          ns_budget_room(budget, &view, reserve->finalize),
                          needed_nanousd(budget, reserve), now_ns);
}

/* Says so in *judgement where this match denies, or would. covered: a grant pays what is missing.
 */
static void
judge_match(struct judgement *judgement, uint32_t i, const struct ns_budget *budget,
            const struct ns_counter *view, bool covered, const struct ns_ledger_reserve *reserve,
            int64_t now_ns)
{
    int64_t needed = needed_nanousd(budget, reserve);
    enum ns_rate_verdict rate =
        ns_rate_judge(budget, &view->rate, reserve->typical_nanousd, now_ns);
    bool over = !covered && is_over(ns_budget_limit(budget, reserve->finalize), view, needed);
    bool too_fast = rate != NS_RATE_FITS && ns_budget_pauses(budget, reserve->mode);
    bool too_much = ns_budget_is_firm(budget, reserve->mode) && over &&
                    is_over(ns_budget_ceiling(budget, reserve->finalize), view, needed);
    if (rate == NS_RATE_TRIPS) {
        judgement->trips |= UINT64_C(1) << i;
    }
    judgement->denied = too_fast || too_much;
    if (judgement->denied || (judgement->over == NS_NONE && (over || rate != NS_RATE_FITS))) {
        judgement->over = i;
        judgement->by_rate = rate != NS_RATE_FITS;
    }
}

/* Says which budget and why, with its numbers. */
static void
name_budget(const struct ns_ledger *l, const struct ns_ledger_reserve *reserve,
            const struct ns_matches *matches, const struct judgement *judgement, int64_t now_ns,
            struct ns_ledger_effect *effect)
{
    const struct ns_match *m = &matches->match[judgement->over];
    struct ns_ledger_numbers *by = &effect->denied_by;
    ns_ledger_number(l, m->budget, m->counter, &matches->subject[m->subject], now_ns, by);
    by->needed_nanousd = needed_nanousd(&ns_budget_at(l, m->budget)->budget, reserve);
    by->finalize_nanousd = reserve->finalize ? 0 : by->finalize_nanousd;
    by->granted_nanousd = cover_of(l, matches, m, reserve, now_ns).left_nanousd;
    by->reason = (uint8_t)ns_reason_of(by->entity);
    if (judgement->by_rate) {
        by->reason = NS_REASON_VELOCITY;
        by->limit_nanousd = by->velocity_nanousd;
        by->spent_nanousd = by->rate_nanousd;
        by->needed_nanousd = reserve->typical_nanousd;
        by->held_nanousd = by->finalize_nanousd = by->overdraft_nanousd = by->granted_nanousd = 0;
    }
    effect->would_deny = !judgement->denied;
}

/* Pauses what this call trips. What a pattern has not counted yet has nothing that would trip. */
static void
trip(struct ns_ledger *l, const struct ns_matches *matches, const struct judgement *judgement,
     int64_t now_ns, struct ns_ledger_effect *effect)
{
    for (uint32_t i = 0; i < matches->count; i++) {
        const struct ns_match *m = &matches->match[i];
        if ((judgement->trips >> i & 1) != 0 && m->counter != NS_NONE) {
            ns_rate_trip(&ns_budget_at(l, m->budget)->budget, &ns_counter_at(l, m->counter)->rate,
                         now_ns);
            ns_counter_changed(l, m->counter);
            effect->tripped++;
            if (i == judgement->over) {
                effect->denied_by.paused_until_ns =
                    ns_counter_at(l, m->counter)->rate.paused_until_ns;
            }
        }
    }
}

/* Judges a reserve and fills the effect. Changes nothing. */
static struct judgement
reserve_judge(const struct ns_ledger *l, const struct ns_ledger_reserve *reserve,
              const struct ns_matches *matches, int64_t now_ns, struct ns_ledger_effect *effect)
{
    struct judgement judgement = {.over = NS_NONE};
    for (uint32_t i = 0; i < matches->count && !judgement.denied; i++) {
        const struct ns_match *m = &matches->match[i];
        const struct ns_budget *budget = &ns_budget_at(l, m->budget)->budget;
        struct ns_counter view = ns_counter_view(l, m->budget, m->counter, now_ns);
        if (needed_nanousd(budget, reserve) > INT64_MAX - view.held_nanousd) {
            effect->result = NS_LEDGER_FULL;
            return judgement;
        }
        bool covered = cover_of(l, matches, m, reserve, now_ns).granted_nanousd > 0;
        judge_match(&judgement, i, budget, &view, covered, reserve, now_ns);
    }
    if (judgement.over != NS_NONE) {
        name_budget(l, reserve, matches, &judgement, now_ns, effect);
    }
    effect->matched = matches->count;
    effect->result = judgement.denied ? NS_LEDGER_DENIED : NS_LEDGER_DONE;
    return judgement;
}

/* A share of this much; its grant holds its part. */
static struct ns_share
take(struct ns_ledger *l, uint32_t counter, int64_t amount, const struct ns_cover *cover)
{
    struct ns_share share = {.counter = counter,
                             .grant = cover->grant,
                             .serial = ns_counter_at(l, counter)->serial,
                             .amount_nanousd = amount - cover->granted_nanousd,
                             .granted_nanousd = cover->granted_nanousd,
                             .grant_first = cover->grant_first};
    if (cover->grant != NS_NONE) {
        share.grant_serial = ns_counter_at(l, cover->grant)->serial;
    }
    if (cover->granted_nanousd > 0) {
        ns_counter_at(l, cover->grant)->held_nanousd += cover->granted_nanousd;
        ns_counter_changed(l, cover->grant);
    }
    return share;
}

static void
reserve_hold(struct ns_ledger *l, const struct ns_ledger_reserve *reserve,
             const struct ns_matches *matches, struct ns_share *more, int64_t now_ns,
             struct ns_ledger_effect *effect)
{
    uint32_t number = ns_hold_open(l, &reserve->call_id, &reserve->owner, matches->count, more);
    struct ns_hold *hold = ns_hold_at(l, number);
    hold->lost_nanousd = reserve->lost_nanousd;
    hold->rate_nanousd = reserve->typical_nanousd;
    hold->finalize = reserve->finalize;
    effect->firm_nanousd = INT64_MAX;
    for (uint32_t i = 0; i < matches->count; i++) {
        const struct ns_match *m = &matches->match[i];
        const struct ns_budget *budget = &ns_budget_at(l, m->budget)->budget;
        int64_t amount = needed_nanousd(budget, reserve);
        if (ns_budget_is_firm(budget, reserve->mode) && amount < effect->firm_nanousd) {
            effect->firm_nanousd = amount;
        }
        struct ns_cover cover = cover_of(l, matches, m, reserve, now_ns);
        ns_counter_turn(l, m->counter, now_ns);
        struct ns_counter *c = ns_counter_at(l, m->counter);
        c->held_nanousd += amount - cover.granted_nanousd;
        ns_rate_add(budget, &c->rate, reserve->typical_nanousd, now_ns);
        ns_counter_changed(l, m->counter);
        *ns_hold_share(hold, i) = take(l, m->counter, amount, &cover);
        if (amount > hold->hold_nanousd) {
            hold->hold_nanousd = amount;
        }
    }
    effect->hold_nanousd = hold->hold_nanousd;
}

static int
apply_reserve(struct ns_ledger *l, const struct ns_ledger_reserve *reserve, int64_t now_ns,
              struct ns_ledger_effect *effect)
{
    if (reserve->bound_nanousd < 0 || reserve->typical_nanousd < 0 || reserve->lost_nanousd < 0 ||
        reserve->mode >= NS_MODE_COUNT || reserve->entity_count > NS_ENTITIES_MAX ||
        reserve->grant_count > NS_CALL_GRANTS_MAX) {
        return -EINVAL;
    }
    struct ns_matches matches;
    int status = ns_ledger_match(l, reserve->entity, reserve->entity_count, &matches);
    if (status == -EINVAL) {
        return status;
    }
    const struct ns_table_slot *slot = ns_ledger_call_find(l, &reserve->call_id);
    if (slot != NULL) {
        effect->result = NS_LEDGER_DUPLICATE;
        if ((slot->number & NS_ENDED_BIT) == 0) {
            effect->hold_nanousd = ns_hold_at(l, slot->number)->hold_nanousd;
        }
        return 0;
    }
    if (status == -E2BIG || l->open_holds >= NS_HOLDS_MAX) {
        effect->result = NS_LEDGER_FULL;
        return 0;
    }
    struct judgement judgement = reserve_judge(l, reserve, &matches, now_ns, effect);
    if (effect->result == NS_LEDGER_DENIED) {
        trip(l, &matches, &judgement, now_ns, effect);
    }
    if (effect->result != NS_LEDGER_DONE) {
        return 0;
    }
    struct ns_share *more;
    status = ns_hold_prepare(l, matches.count, &more);
    if (status == 0) {
        status = ns_ledger_match_create(l, &matches, now_ns);
    }
    if (status != 0) {
        ns_mem_free(more);
        effect->result = NS_LEDGER_FULL;
        return status == -E2BIG ? 0 : status;
    }
    trip(l, &matches, &judgement, now_ns, effect);
    reserve_hold(l, reserve, &matches, more, now_ns, effect);
    return 0;
}

/* --- settle, void, lose --------------------------------------------------------------------- */

static int64_t
above(int64_t cost, int64_t amount)
{
    return cost > amount ? cost - amount : 0;
}

/* The counter of a share whose count still goes on, or NULL. */
static struct ns_counter *
share_counter(struct ns_ledger *l, const struct ns_share *share, int64_t now_ns)
{
    if (share->counter >= l->counters.used ||
        ns_counter_at(l, share->counter)->serial != share->serial) {
        return NULL;
    }
    ns_counter_turn(l, share->counter, now_ns);
    struct ns_counter *c = ns_counter_at(l, share->counter);
    if (c->serial != share->serial) {
        return NULL;
    }
    ns_counter_changed(l, share->counter);
    return c;
}

/* flow: by how much more goes through the budget than its velocity has counted of it before. */
static void
post(const struct ns_ledger *l, struct ns_counter *c, int64_t cost, int64_t overshoot, int64_t flow,
     int64_t now_ns)
{
    ns_rate_add(&ns_budget_at(l, c->budget)->budget, &c->rate, flow, now_ns);
    c->spent_nanousd = ns_money_add(c->spent_nanousd, cost);
    c->overshoot_nanousd = ns_money_add(c->overshoot_nanousd, overshoot);
    /* Only a sum that was held at the largest amount can come out wrong when it falls again. */
    if (c->overshoot_nanousd > c->spent_nanousd) {
        c->overshoot_nanousd = c->spent_nanousd;
    }
}

/* The grant's part of a share: what it holds of it no more, and what it pays. */
static void
post_granted(struct ns_ledger *l, const struct ns_share *share, int64_t spent, int64_t released)
{
    struct ns_counter *c = ns_share_grant(l, share);
    if (c != NULL && share->granted_nanousd > 0) {
        c->held_nanousd -= released;
        c->spent_nanousd = ns_money_add(c->spent_nanousd, spent);
        ns_counter_changed(l, share->grant);
    }
}

/* Gives the shares of an open hold back and posts the cost. */
static void
hold_end(struct ns_ledger *l, struct ns_hold *hold, int64_t cost, int64_t now_ns)
{
    for (unsigned i = 0; i < hold->share_count; i++) {
        const struct ns_share *share = ns_hold_share(hold, i);
        struct ns_counter *c = share_counter(l, share, now_ns);
        int64_t own = cost - ns_share_part(share, cost);
        if (c != NULL) {
            c->held_nanousd -= share->amount_nanousd;
            post(l, c, own, above(own, share->amount_nanousd), cost - hold->rate_nanousd, now_ns);
        }
        post_granted(l, share, cost - own, share->granted_nanousd);
    }
}

/* Replaces the charge of a lost hold. */
static void
lost_correct(struct ns_ledger *l, struct ns_hold *hold, int64_t cost, int64_t now_ns)
{
    int64_t charged = hold->lost_nanousd;
    for (unsigned i = 0; i < hold->share_count; i++) {
        const struct ns_share *share = ns_hold_share(hold, i);
        struct ns_counter *c = share_counter(l, share, now_ns);
        int64_t was = charged - ns_share_part(share, charged);
        int64_t own = cost - ns_share_part_late(l, share, charged, cost);
        if (c != NULL) {
            post(l, c, -was, -above(was, share->amount_nanousd), -charged, now_ns);
            post(l, c, own, above(own, share->amount_nanousd), cost, now_ns);
        }
        post_granted(l, share, (cost - own) - (charged - was), 0);
    }
}

/* A call that was let through unasked: nothing was held, so all of it is above the hold. */
static int
settle_unasked(struct ns_ledger *l, const struct ns_ledger_settle *settle, int64_t now_ns,
               struct ns_ledger_effect *effect)
{
    struct ns_matches matches;
    int status = ns_ledger_match(l, settle->entity, settle->entity_count, &matches);
    if (status == 0) {
        status = ns_ended_prepare(l, 1, 1);
    }
    if (status != 0) {
        effect->result = NS_LEDGER_FULL;
        return status == -E2BIG ? 0 : status;
    }
    /* A clock that runs ahead on another host does not take a call out of every period. */
    int64_t opened_at_ns = settle->opened_at_ns < now_ns ? settle->opened_at_ns : now_ns;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < matches.count; i++) {
        const struct ns_match *m = &matches.match[i];
        struct ns_counter view = ns_counter_view(l, m->budget, m->counter, now_ns);
        if (opened_at_ns >= view.start_ns) {
            matches.match[kept++] = *m;
        }
    }
    effect->matched = matches.count;
    matches.count = kept;
    status = ns_ledger_match_create(l, &matches, now_ns);
    if (status != 0) {
        effect->result = NS_LEDGER_FULL;
        return status == -E2BIG ? 0 : status;
    }
    for (uint32_t i = 0; i < kept; i++) {
        uint32_t number = matches.match[i].counter;
        ns_counter_turn(l, number, now_ns);
        post(l, ns_counter_at(l, number), settle->cost_nanousd, settle->cost_nanousd,
             settle->cost_nanousd, now_ns);
        ns_counter_changed(l, number);
    }
    effect->overshoot_nanousd = settle->cost_nanousd;
    ns_ended_add(l, &settle->call_id, NULL, NS_ENDED_SETTLED, NS_NONE, now_ns);
    return 0;
}

/* What is said late of a call that has ended counts where the call was given up as lost: its charge
 * was a guess. how: SETTLED at this cost, or VOIDED at none. */
static void
end_late(struct ns_ledger *l, const struct ns_table_slot *slot, enum ns_ended_how how, int64_t cost,
         int64_t now_ns, struct ns_ledger_effect *effect)
{
    struct ns_ended *ended = ns_ended_at(l, slot->number & ~NS_ENDED_BIT);
    if (ended->how != NS_ENDED_LOST) {
        effect->result = NS_LEDGER_DUPLICATE;
        return;
    }
    struct ns_hold *hold = ns_hold_at(l, ended->hold);
    lost_correct(l, hold, cost, now_ns);
    effect->matched = hold->share_count;
    effect->corrected = true;
    effect->overshoot_nanousd = above(cost, hold->hold_nanousd);
    ns_hold_free(l, ended->hold);
    ended->hold = NS_NONE;
    ended->how = (uint8_t)how; /* remembered as long as it would have been */
}

static int
apply_settle(struct ns_ledger *l, const struct ns_ledger_settle *settle, int64_t now_ns,
             struct ns_ledger_effect *effect)
{
    if (settle->cost_nanousd < 0 || settle->opened_at_ns < 0 ||
        settle->entity_count > NS_ENTITIES_MAX) {
        return -EINVAL;
    }
    struct ns_table_slot *slot = ns_ledger_call_find(l, &settle->call_id);
    if (slot == NULL) {
        return settle_unasked(l, settle, now_ns, effect);
    }
    if (slot->number & NS_ENDED_BIT) {
        end_late(l, slot, NS_ENDED_SETTLED, settle->cost_nanousd, now_ns, effect);
        return 0;
    }
    if (ns_ended_prepare(l, 1, 0) != 0) {
        return -ENOMEM;
    }
    uint32_t number = slot->number;
    struct ns_hold *hold = ns_hold_at(l, number);
    hold_end(l, hold, settle->cost_nanousd, now_ns);
    effect->matched = hold->share_count;
    effect->released_nanousd = hold->hold_nanousd;
    effect->overshoot_nanousd = above(settle->cost_nanousd, hold->hold_nanousd);
    ns_hold_disown(l, number);
    ns_ended_add(l, &settle->call_id, slot, NS_ENDED_SETTLED, NS_NONE, now_ns);
    ns_hold_free(l, number);
    return 0;
}

static int
apply_void(struct ns_ledger *l, const struct ns_uuid *call_id, int64_t now_ns,
           struct ns_ledger_effect *effect)
{
    struct ns_table_slot *slot = ns_ledger_call_find(l, call_id);
    if (slot == NULL) {
        effect->result = NS_LEDGER_UNKNOWN;
        return 0;
    }
    if (slot->number & NS_ENDED_BIT) {
        end_late(l, slot, NS_ENDED_VOIDED, 0, now_ns, effect);
        return 0;
    }
    if (ns_ended_prepare(l, 1, 0) != 0) {
        return -ENOMEM;
    }
    uint32_t number = slot->number;
    struct ns_hold *hold = ns_hold_at(l, number);
    hold_end(l, hold, 0, now_ns);
    effect->matched = hold->share_count;
    effect->released_nanousd = hold->hold_nanousd;
    ns_hold_disown(l, number);
    ns_ended_add(l, call_id, slot, NS_ENDED_VOIDED, NS_NONE, now_ns);
    ns_hold_free(l, number);
    return 0;
}

static int
apply_progress(struct ns_ledger *l, const struct ns_uuid *call_id, int64_t lost_nanousd,
               struct ns_ledger_effect *effect)
{
    if (lost_nanousd < 0) {
        return -EINVAL;
    }
    const struct ns_table_slot *slot = ns_ledger_call_find(l, call_id);
    if (slot == NULL || slot->number & NS_ENDED_BIT) {
        effect->result = slot == NULL ? NS_LEDGER_UNKNOWN : NS_LEDGER_DUPLICATE;
        return 0;
    }
    struct ns_hold *hold = ns_hold_at(l, slot->number);
    hold->lost_nanousd = lost_nanousd;
    effect->hold_nanousd = hold->hold_nanousd;
    return 0;
}

/* --- owners --------------------------------------------------------------------------------- */

static int
lost_room(struct ns_ledger *l, size_t count)
{
    if (count <= l->lost_capacity) {
        return 0;
    }
    struct ns_ledger_lost *lost = ns_mem_alloc(count * sizeof(*lost));
    uint32_t *holds = ns_mem_alloc(count * sizeof(*holds));
    if (lost == NULL || holds == NULL) {
        ns_mem_free(lost);
        ns_mem_free(holds);
        return -ENOMEM;
    }
    ns_mem_free(l->lost);
    ns_mem_free(l->lost_holds);
    l->lost = lost;
    l->lost_holds = holds;
    l->lost_capacity = count;
    return 0;
}

static int
by_call_id(const void *a, const void *b, void *context)
{
    const struct ns_ledger *l = context;
    return memcmp(&ns_hold_at(l, *(const uint32_t *)a)->call_id,
                  &ns_hold_at(l, *(const uint32_t *)b)->call_id, sizeof(struct ns_uuid));
}

static void
lose(struct ns_ledger *l, uint32_t number, int64_t now_ns)
{
    struct ns_hold *hold = ns_hold_at(l, number);
    hold_end(l, hold, hold->lost_nanousd, now_ns);
    ns_hold_disown(l, number);
    struct ns_uuid call_id = hold->call_id;
    ns_ended_add(l, &call_id, ns_ledger_call_find(l, &call_id), NS_ENDED_LOST, number, now_ns);
}

static int
apply_owner_gone(struct ns_ledger *l, const struct ns_owner *owner, int64_t now_ns,
                 struct ns_ledger_effect *effect)
{
    uint32_t row = ns_owner_find(l, owner);
    size_t count = 0;
    uint32_t first = row == NS_NONE ? NS_NONE : ns_owner_at(l, row)->first;
    for (uint32_t n = first; n != NS_NONE; n = ns_hold_at(l, n)->next) {
        count++;
    }
    if (count == 0) {
        return 0;
    }
    if (lost_room(l, count) != 0 || ns_ended_prepare(l, (uint32_t)count, 0) != 0) {
        return -ENOMEM;
    }
    size_t at = 0;
    for (uint32_t n = first; n != NS_NONE; n = ns_hold_at(l, n)->next) {
        l->lost_holds[at++] = n;
    }
    /* Not in the order of the list, which a snapshot does not keep. */
    qsort_r(l->lost_holds, count, sizeof(*l->lost_holds), by_call_id, l);
    for (size_t i = 0; i < count; i++) {
        const struct ns_hold *hold = ns_hold_at(l, l->lost_holds[i]);
        l->lost[i] = (struct ns_ledger_lost){hold->call_id, hold->lost_nanousd};
    }
    for (size_t i = 0; i < count; i++) {
        lose(l, l->lost_holds[i], now_ns);
    }
    effect->lost = l->lost;
    effect->lost_count = count;
    return 0;
}

/* --- all ------------------------------------------------------------------------------------ */

static int
apply_kind(struct ns_ledger *l, const struct ns_ledger_event *event, int64_t now_ns,
           struct ns_ledger_effect *effect)
{
    switch (event->kind) {
    case NS_LEDGER_BUDGET_PUT:
        return ns_ledger_budget_put(l, &event->as.budget_put, now_ns, effect);
    case NS_LEDGER_BUDGET_REMOVE:
        ns_ledger_budget_remove(l, event->as.budget_remove.id, effect);
        return 0;
    case NS_LEDGER_RESERVE:
        return apply_reserve(l, &event->as.reserve, now_ns, effect);
    case NS_LEDGER_PROGRESS:
        return apply_progress(l, &event->as.progress.call_id, event->as.progress.lost_nanousd,
                              effect);
    case NS_LEDGER_TOP_UP:
        return ns_ledger_top_up(l, &event->as.top_up, now_ns, effect);
    case NS_LEDGER_SETTLE:
        return apply_settle(l, &event->as.settle, now_ns, effect);
    case NS_LEDGER_VOID:
        return apply_void(l, &event->as.voided.call_id, now_ns, effect);
    case NS_LEDGER_OWNER_GONE:
        return apply_owner_gone(l, &event->as.owner_gone.owner, now_ns, effect);
    case NS_LEDGER_TICK:
        ns_ledger_turn(l, now_ns);
        ns_ended_forget(l, now_ns);
        return 0;
    }
    return -EINVAL;
}

int
ns_ledger_apply(struct ns_ledger *l, const struct ns_ledger_event *event, int64_t now_ns,
                struct ns_ledger_effect *effect)
{
    memset(effect, 0, sizeof(*effect));
    if (now_ns < 0) {
        return -EINVAL;
    }
    if (now_ns < l->now_ns) {
        now_ns = l->now_ns;
    }
    int status = apply_kind(l, event, now_ns, effect);
    if (status == 0 && (effect->result == NS_LEDGER_DONE || effect->tripped > 0)) {
        l->now_ns = now_ns;
    }
#ifdef NS_DEBUG
    if (l->counters.taken + l->holds.taken + l->ended.taken <= CHECKED_ITEMS_MAX) {
        assert(ns_ledger_fault(l) == NULL);
    }
#endif
    return status;
}

/* --- questions ------------------------------------------------------------------------------ */

static void
visit_one(const struct ns_ledger *l, uint32_t number, int64_t now_ns,
          void (*visit)(void *, const struct ns_ledger_numbers *, const struct ns_budget *),
          void *context)
{
    const struct ns_counter *c = ns_counter_at(l, number);
    struct ns_ledger_numbers numbers;
    ns_ledger_number(l, c->budget, number, NULL, now_ns, &numbers);
    visit(context, &numbers, &ns_budget_at(l, c->budget)->budget);
}

void
ns_ledger_visit(const struct ns_ledger *l, int64_t now_ns,
                void (*visit)(void *context, const struct ns_ledger_numbers *numbers,
                              const struct ns_budget *budget),
                void *context)
{
    int64_t now = now_ns > l->now_ns ? now_ns : l->now_ns;
    for (uint32_t i = 0; i < l->counters.used; i++) {
        if (ns_counter_at(l, i)->serial != 0) {
            visit_one(l, i, now, visit, context);
        }
    }
}

void
ns_ledger_visit_changed(struct ns_ledger *l, int64_t now_ns,
                        void (*visit)(void *context, const struct ns_ledger_numbers *numbers,
                                      const struct ns_budget *budget),
                        void *context)
{
    int64_t now = now_ns > l->now_ns ? now_ns : l->now_ns;
    while (l->changed_first != NS_NONE) {
        uint32_t number = l->changed_first;
        struct ns_counter *c = ns_counter_at(l, number);
        l->changed_first = c->changed_next;
        if (l->changed_first != NS_NONE) {
            ns_counter_at(l, l->changed_first)->changed_previous = NS_NONE;
        }
        c->changed = false;
        visit_one(l, number, now, visit, context);
    }
}

size_t
ns_ledger_open_holds(const struct ns_ledger *l)
{
    return l->open_holds;
}

size_t
ns_ledger_budget_count(const struct ns_ledger *l)
{
    return l->budgets.taken - l->grant_count;
}

bool
ns_ledger_denies_unreachable(const struct ns_ledger *l)
{
    return l->deny_unreachable != 0;
}

void
ns_ledger_visit_owners(const struct ns_ledger *l,
                       void (*visit)(void *context, const struct ns_owner *owner), void *context)
{
    for (uint32_t i = 0; i < l->owners.used; i++) {
        const struct ns_owner_row *row = ns_owner_at(l, i);
        if (row->live) {
            visit(context, &row->owner);
        }
    }
}
