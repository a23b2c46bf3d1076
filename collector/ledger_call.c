/* SPDX-License-Identifier: Apache-2.0 */
/* Open holds with their owners, and the memory of calls that have ended. */
#include "base/hash.h"
#include "collector/ledger_state.h"

static uint32_t
call_hash(const struct ns_ledger *l, const struct ns_uuid *call_id)
{
    return (uint32_t)ns_siphash64(l->hash_key, call_id, sizeof(*call_id));
}

static uint32_t
owner_hash(const struct ns_ledger *l, const struct ns_owner *owner)
{
    return (uint32_t)ns_siphash64(l->hash_key, owner, sizeof(*owner));
}

static bool
same_call(const void *context, uint32_t number, const void *key)
{
    const struct ns_ledger *l = context;
    const struct ns_uuid *id = number & NS_ENDED_BIT
                                   ? &ns_ended_at(l, number & ~NS_ENDED_BIT)->call_id
                                   : &ns_hold_at(l, number)->call_id;
    return memcmp(id, key, sizeof(*id)) == 0;
}

static bool
same_owner(const void *context, uint32_t number, const void *key)
{
    const struct ns_owner *a = &ns_owner_at(context, number)->owner;
    const struct ns_owner *b = key;
    return a->a == b->a && a->b == b->b;
}

struct ns_table_slot *
ns_ledger_call_find(const struct ns_ledger *l, const struct ns_uuid *call_id)
{
    return ns_table_find(&l->call_of_id, call_hash(l, call_id), same_call, l, call_id);
}

/* --- holds ---------------------------------------------------------------------------------- */

int
ns_hold_prepare(struct ns_ledger *l, unsigned share_count, struct ns_share **more)
{
    *more = NULL;
    if (ns_pool_reserve(&l->holds, 1) != 0 || ns_pool_reserve(&l->owners, 1) != 0 ||
        ns_table_reserve(&l->call_of_id, 1) != 0 ||
        ns_table_reserve(&l->owner_of_process, 1) != 0) {
        return -ENOMEM;
    }
    if (share_count > NS_SHARES_INLINE) {
        *more = ns_mem_alloc((share_count - NS_SHARES_INLINE) * sizeof(**more));
        if (*more == NULL) {
            return -ENOMEM;
        }
    }
    return 0;
}

uint32_t
ns_owner_find(const struct ns_ledger *l, const struct ns_owner *owner)
{
    struct ns_table_slot *slot =
        ns_table_find(&l->owner_of_process, owner_hash(l, owner), same_owner, l, owner);
    return slot == NULL ? NS_NONE : slot->number;
}

static uint32_t
owner_find_or_add(struct ns_ledger *l, const struct ns_owner *owner)
{
    uint32_t number = ns_owner_find(l, owner);
    if (number == NS_NONE) {
        number = ns_pool_take(&l->owners);
        *ns_owner_at(l, number) =
            (struct ns_owner_row){.first = NS_NONE, .live = true, .owner = *owner};
        ns_table_put(&l->owner_of_process, owner_hash(l, owner), number);
    }
    return number;
}

uint32_t
ns_hold_open(struct ns_ledger *l, const struct ns_uuid *call_id, const struct ns_owner *owner,
             unsigned share_count, struct ns_share *more)
{
    uint32_t owner_number = owner_find_or_add(l, owner);
    struct ns_owner_row *row = ns_owner_at(l, owner_number);
    uint32_t number = ns_pool_take(&l->holds);
    struct ns_hold *hold = ns_hold_at(l, number);
    hold->call_id = *call_id;
    hold->owner = owner_number;
    hold->live = true;
    hold->share_count = (uint8_t)share_count;
    hold->more = more;
    hold->previous = NS_NONE;
    hold->next = row->first;
    if (row->first != NS_NONE) {
        ns_hold_at(l, row->first)->previous = number;
    }
    row->first = number;
    ns_table_put(&l->call_of_id, call_hash(l, call_id), number);
    l->open_holds++;
    return number;
}

void
ns_hold_disown(struct ns_ledger *l, uint32_t number)
{
    struct ns_hold *hold = ns_hold_at(l, number);
    struct ns_owner_row *row = ns_owner_at(l, hold->owner);
    if (hold->previous == NS_NONE) {
        row->first = hold->next;
    } else {
        ns_hold_at(l, hold->previous)->next = hold->next;
    }
    if (hold->next != NS_NONE) {
        ns_hold_at(l, hold->next)->previous = hold->previous;
    }
    if (row->first == NS_NONE) {
        ns_table_remove(&l->owner_of_process,
                        ns_table_find(&l->owner_of_process, owner_hash(l, &row->owner), same_owner,
                                      l, &row->owner));
        ns_pool_give(&l->owners, hold->owner);
    }
    hold->owner = hold->next = hold->previous = NS_NONE;
    l->open_holds--;
}

void
ns_hold_free(struct ns_ledger *l, uint32_t number)
{
    ns_mem_free(ns_hold_at(l, number)->more);
    ns_pool_give(&l->holds, number);
}

/* --- ended calls ---------------------------------------------------------------------------- */

static void
forget_oldest(struct ns_ledger *l)
{
    uint32_t number = l->ended_oldest;
    struct ns_ended *ended = ns_ended_at(l, number);
    ns_table_remove(&l->call_of_id, ns_ledger_call_find(l, &ended->call_id));
    if (ended->hold != NS_NONE) {
        ns_hold_free(l, ended->hold);
    }
    l->ended_oldest = ended->newer;
    if (l->ended_oldest == NS_NONE) {
        l->ended_newest = NS_NONE;
    }
    ns_pool_give(&l->ended, number);
}

int
ns_ended_prepare(struct ns_ledger *l, uint32_t more, uint32_t new_calls)
{
    if (ns_pool_reserve(&l->ended, more) != 0) {
        return -ENOMEM;
    }
    return ns_table_reserve(&l->call_of_id, new_calls);
}

void
ns_ended_add(struct ns_ledger *l, const struct ns_uuid *call_id, struct ns_table_slot *slot,
             enum ns_ended_how how, uint32_t hold, int64_t now_ns)
{
    uint32_t number = ns_pool_take(&l->ended);
    struct ns_ended *ended = ns_ended_at(l, number);
    *ended = (struct ns_ended){.newer = NS_NONE,
                               .hold = hold,
                               .call_id = *call_id,
                               .ended_at_ns = now_ns,
                               .how = (uint8_t)how};
    if (l->ended_newest == NS_NONE) {
        l->ended_oldest = number;
    } else {
        ns_ended_at(l, l->ended_newest)->newer = number;
    }
    l->ended_newest = number;
    if (slot != NULL) {
        slot->number = number | NS_ENDED_BIT;
    } else {
        ns_table_put(&l->call_of_id, call_hash(l, call_id), number | NS_ENDED_BIT);
    }
    /* Only now, so that slot stayed where it was. */
    while (l->ended.taken > NS_ENDED_MAX) {
        forget_oldest(l);
    }
}

void
ns_ended_forget(struct ns_ledger *l, int64_t now_ns)
{
    while (l->ended_oldest != NS_NONE &&
           now_ns - ns_ended_at(l, l->ended_oldest)->ended_at_ns >= NS_ENDED_KEPT_NS) {
        forget_oldest(l);
    }
}
