/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Grants: more money for one budget, for a while. A grant is a budget that no call matches by
 * itself, with the counter of one entity; a share on a counter of the budget that it is for may be
 * paid by it in part. A share takes of one grant at most, and never more than is left of it.
 */
#include "collector/ledger_state.h"

static bool
is_usable(const struct ns_budget *grant, int64_t budget_id, const struct ns_ledger_reserve *reserve,
          int64_t now_ns)
{
    if (grant->grant_of != budget_id || now_ns >= grant->until_ns) {
        return false;
    }
    bool fits = grant->models[0] == '\0';
    for (unsigned i = 0; i < reserve->grant_count && !fits; i++) {
        fits = reserve->grant[i] == grant->id;
    }
    return fits;
}

static int64_t
left_of(const struct ns_ledger *l, const struct ns_counter *c)
{
    int64_t used = ns_money_add(c->spent_nanousd, c->held_nanousd);
    int64_t amount = ns_budget_at(l, c->budget)->budget.limit_nanousd;
    return used < amount ? amount - used : 0;
}

/* What a grant pays of this much, where the budget has room for own_room of it. */
static int64_t
part_of(int64_t nanousd, bool spend_first, int64_t own_room, int64_t left)
{
    int64_t wanted = spend_first ? nanousd : nanousd > own_room ? nanousd - own_room : 0;
    return wanted < left ? wanted : left;
}

struct ns_cover
ns_grant_cover(const struct ns_ledger *l, int64_t budget_id, uint32_t entity,
               const struct ns_ledger_reserve *reserve, int64_t own_room, int64_t needed,
               int64_t now_ns)
{
    struct ns_cover cover = {.grant = NS_NONE};
    uint32_t next = entity != NS_NONE ? ns_entity_at(l, entity)->first : NS_NONE;
    for (; next != NS_NONE; next = ns_counter_at(l, next)->next) {
        const struct ns_counter *c = ns_counter_at(l, next);
        const struct ns_budget *grant = &ns_budget_at(l, c->budget)->budget;
        int64_t left = left_of(l, c);
        if (left == 0 || !is_usable(grant, budget_id, reserve, now_ns)) {
            continue;
        }
        cover.left_nanousd = left > cover.left_nanousd ? left : cover.left_nanousd;
        int64_t part = part_of(needed, grant->spend_first, own_room, left);
        bool covers = part > 0 && needed - part <= own_room;
        /* The oldest that covers; else the oldest, for the answer may outgrow what is held. */
        if (covers ? cover.granted_nanousd == 0 : cover.grant == NS_NONE) {
            cover.grant = next;
            cover.grant_first = grant->spend_first;
            cover.granted_nanousd = covers ? part : 0;
        }
    }
    return cover;
}

struct ns_counter *
ns_share_grant(const struct ns_ledger *l, const struct ns_share *share)
{
    if (share->grant >= l->counters.used) {
        return NULL;
    }
    struct ns_counter *c = ns_counter_at(l, share->grant);
    return c->serial == share->grant_serial ? c : NULL;
}

int64_t
ns_share_left(const struct ns_ledger *l, const struct ns_share *share, int64_t now_ns)
{
    const struct ns_counter *c = ns_share_grant(l, share);
    return c != NULL && now_ns < ns_budget_at(l, c->budget)->budget.until_ns ? left_of(l, c) : 0;
}

int64_t
ns_share_part(const struct ns_share *share, int64_t cost)
{
    return part_of(cost, share->grant_first, share->amount_nanousd, share->granted_nanousd);
}

int64_t
ns_share_part_late(const struct ns_ledger *l, const struct ns_share *share, int64_t charged,
                   int64_t cost)
{
    const struct ns_counter *c = ns_share_grant(l, share);
    int64_t part = ns_share_part(share, cost);
    int64_t most = c == NULL ? part : ns_share_part(share, charged) + left_of(l, c);
    return part < most ? part : most;
}

void
ns_share_grow(struct ns_ledger *l, struct ns_share *share, int64_t growth, int64_t own_room,
              int64_t now_ns)
{
    int64_t part = part_of(growth, share->grant_first, own_room, ns_share_left(l, share, now_ns));
    share->amount_nanousd += growth - part;
    share->granted_nanousd += part;
    ns_counter_at(l, share->counter)->held_nanousd += growth - part;
    ns_counter_changed(l, share->counter);
    if (part > 0) {
        ns_counter_at(l, share->grant)->held_nanousd += part;
        ns_counter_changed(l, share->grant);
    }
}
