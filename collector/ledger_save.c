/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state as bytes, and back. Everything is written in an order that the state gives (ids, texts,
 * call ids), never in the order of memory; what is a sum (held) is not written but added up again,
 * and what a share has on counts that have ended is left out, as nothing can be posted for them.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "collector/bytes.h"
#include "collector/ledger_state.h"

#define MAGIC "NSLEDG3"
/* Larger than any one item: a hold with all its shares. */
#define ITEM_BYTES_MAX 2048
#define SHARE_BYTES 12

/* --- writing -------------------------------------------------------------------------------- */

struct output {
    struct ns_bytes_writer w;
    uint8_t *start;
    size_t capacity;
};

/* Makes room for one more item. */
static int
output_reserve(struct output *out)
{
    size_t used = (size_t)(out->w.at - out->start);
    if (out->capacity - used >= ITEM_BYTES_MAX) {
        return 0;
    }
    size_t capacity = out->capacity * 2 + 4 * (size_t)ITEM_BYTES_MAX;
    uint8_t *start = realloc(out->start, capacity);
    if (start == NULL) {
        return -ENOMEM;
    }
    out->start = start;
    out->capacity = capacity;
    out->w = (struct ns_bytes_writer){.at = start + used, .end = start + capacity};
    return 0;
}

static int
by_budget_id(const void *a, const void *b, void *context)
{
    int64_t x = ns_budget_at(context, *(const uint32_t *)a)->budget.id;
    int64_t y = ns_budget_at(context, *(const uint32_t *)b)->budget.id;
    return (x > y) - (x < y);
}

static int
by_budget_and_entity(const void *a, const void *b, void *context)
{
    const struct ns_ledger *l = context;
    const struct ns_counter *x = ns_counter_at(l, *(const uint32_t *)a);
    const struct ns_counter *y = ns_counter_at(l, *(const uint32_t *)b);
    int order = by_budget_id(&x->budget, &y->budget, context);
    return order != 0 ? order
                      : strcmp(ns_entity_at(l, x->entity)->text, ns_entity_at(l, y->entity)->text);
}

static int
by_call_id(const void *a, const void *b, void *context)
{
    return memcmp(&ns_hold_at(context, *(const uint32_t *)a)->call_id,
                  &ns_hold_at(context, *(const uint32_t *)b)->call_id, sizeof(struct ns_uuid));
}

static bool
budget_saved(const struct ns_ledger *l, uint32_t n)
{
    return ns_budget_at(l, n)->live;
}

static bool
counter_saved(const struct ns_ledger *l, uint32_t n)
{
    return ns_counter_at(l, n)->serial != 0;
}

static bool
hold_saved(const struct ns_ledger *l, uint32_t n)
{
    return ns_hold_at(l, n)->live && ns_hold_at(l, n)->owner != NS_NONE;
}

/* The numbers of a pool's items that are saved, in order; NULL without memory. */
static uint32_t *
sorted(const struct ns_ledger *l, const struct ns_pool *pool,
       bool (*saved)(const struct ns_ledger *, uint32_t),
       int (*order)(const void *, const void *, void *), uint32_t *count)
{
    uint32_t *numbers = malloc(((size_t)pool->used + 1) * sizeof(*numbers));
    if (numbers == NULL) {
        return NULL;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < pool->used; i++) {
        if (saved(l, i)) {
            numbers[n++] = i;
        }
    }
    union {
        const struct ns_ledger *in;
        void *out;
    } context = {.in = l};
    qsort_r(numbers, n, sizeof(*numbers), order, context.out);
    *count = n;
    return numbers;
}

static void
put_text(struct ns_bytes_writer *w, const char *text, size_t bytes)
{
    ns_bytes_put_u16(w, bytes);
    ns_bytes_put(w, text, bytes);
}

static void
put_budget(struct ns_bytes_writer *w, const struct ns_budget *b)
{
    ns_bytes_put_i64(w, b->id);
    put_text(w, b->entity, strlen(b->entity));
    ns_bytes_put_u8(w, b->period);
    ns_bytes_put_u8(w, b->policy);
    ns_bytes_put_u8(w, b->reserve);
    ns_bytes_put_u8(w, b->on_unreachable);
    ns_bytes_put_u16(w, b->deny_status);
    ns_bytes_put_i64(w, b->limit_nanousd);
    ns_bytes_put_i64(w, b->finalize_nanousd);
    ns_bytes_put_i64(w, b->overdraft_nanousd);
    ns_bytes_put_i64(w, b->velocity_nanousd);
    ns_bytes_put_u16(w, b->velocity_window_s);
    ns_bytes_put_u16(w, b->velocity_cooldown_s);
    ns_bytes_put_i64(w, b->grant_of);
    ns_bytes_put_i64(w, b->until_ns);
    ns_bytes_put_u8(w, b->spend_first);
    put_text(w, b->models, strlen(b->models));
}

static void
put_counter(struct ns_bytes_writer *w, const struct ns_ledger *l, const struct ns_counter *c)
{
    const struct ns_entity_row *entity = ns_entity_at(l, c->entity);
    ns_bytes_put_i64(w, ns_budget_at(l, c->budget)->budget.id);
    put_text(w, entity->text, entity->bytes);
    ns_bytes_put_i64(w, c->start_ns);
    ns_bytes_put_i64(w, c->spent_nanousd);
    ns_bytes_put_i64(w, c->overshoot_nanousd);
    ns_bytes_put_i64(w, c->rate.start_ns);
    ns_bytes_put_i64(w, c->rate.previous_nanousd);
    ns_bytes_put_i64(w, c->rate.current_nanousd);
    ns_bytes_put_i64(w, c->rate.paused_until_ns);
}

/* A share as it is written: places of its counters, NS_NONE for one that counts no more. */
struct saved_share {
    uint32_t counter, grant;
    const struct ns_share *share;
};

static bool
is_before(const struct saved_share *a, const struct saved_share *b)
{
    return a->counter != b->counter ? a->counter < b->counter : a->grant < b->grant;
}

/* The shares of which something can be posted, ascending by counter, then by grant. ordinal:
 * counter → its place. */
static void
put_shares(struct ns_bytes_writer *w, const struct ns_ledger *l, struct ns_hold *hold,
           const uint32_t *ordinal)
{
    struct saved_share live[NS_MATCHES_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < hold->share_count; i++) {
        const struct ns_share *share = ns_hold_share(hold, i);
        bool counts = share->counter < l->counters.used &&
                      ns_counter_at(l, share->counter)->serial == share->serial;
        bool pays = ns_share_grant(l, share) != NULL && (counts || share->granted_nanousd > 0);
        if (!counts && !pays) {
            continue;
        }
        struct saved_share saved = {counts ? ordinal[share->counter] : NS_NONE,
                                    pays ? ordinal[share->grant] : NS_NONE, share};
        unsigned at = count++;
        while (at > 0 && is_before(&saved, &live[at - 1])) {
            live[at] = live[at - 1];
            at--;
        }
        live[at] = saved;
    }
    ns_bytes_put_u8(w, count);
    for (unsigned i = 0; i < count; i++) {
        const struct ns_share *share = live[i].share;
        bool says = live[i].grant != NS_NONE || share->granted_nanousd > 0;
        ns_bytes_put_u32(w, live[i].counter);
        ns_bytes_put_u32(w, live[i].grant);
        ns_bytes_put_i64(w, share->amount_nanousd);
        ns_bytes_put_i64(w, share->granted_nanousd);
        ns_bytes_put_u8(w, says && share->grant_first);
    }
}

static void
put_hold(struct ns_bytes_writer *w, const struct ns_ledger *l, struct ns_hold *hold,
         const uint32_t *ordinal)
{
    ns_bytes_put_i64(w, hold->hold_nanousd);
    ns_bytes_put_i64(w, hold->lost_nanousd);
    ns_bytes_put_i64(w, hold->rate_nanousd);
    ns_bytes_put_u8(w, hold->finalize);
    put_shares(w, l, hold, ordinal);
}

static int
save_budgets(struct output *out, const struct ns_ledger *l)
{
    uint32_t count;
    uint32_t *numbers = sorted(l, &l->budgets, budget_saved, by_budget_id, &count);
    int status = numbers == NULL ? -ENOMEM : output_reserve(out);
    if (status == 0) {
        ns_bytes_put_u32(&out->w, count);
    }
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        put_budget(&out->w, &ns_budget_at(l, numbers[i])->budget);
        status = output_reserve(out);
    }
    free(numbers);
    return status;
}

/* Fills ordinal, an array with a place for each counter of the pool. */
static int
save_counters(struct output *out, const struct ns_ledger *l, uint32_t *ordinal)
{
    uint32_t count;
    uint32_t *numbers = sorted(l, &l->counters, counter_saved, by_budget_and_entity, &count);
    int status = numbers == NULL ? -ENOMEM : output_reserve(out);
    if (status == 0) {
        ns_bytes_put_u32(&out->w, count);
    }
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        ordinal[numbers[i]] = i;
        put_counter(&out->w, l, ns_counter_at(l, numbers[i]));
        status = output_reserve(out);
    }
    free(numbers);
    return status;
}

static int
save_holds(struct output *out, const struct ns_ledger *l, const uint32_t *ordinal)
{
    uint32_t count;
    uint32_t *numbers = sorted(l, &l->holds, hold_saved, by_call_id, &count);
    int status = numbers == NULL ? -ENOMEM : output_reserve(out);
    if (status == 0) {
        ns_bytes_put_u32(&out->w, count);
    }
    for (uint32_t i = 0; status == 0 && i < count; i++) {
        struct ns_hold *hold = ns_hold_at(l, numbers[i]);
        const struct ns_owner *owner = &ns_owner_at(l, hold->owner)->owner;
        ns_bytes_put(&out->w, hold->call_id.bytes, sizeof(hold->call_id.bytes));
        ns_bytes_put_u64(&out->w, owner->a);
        ns_bytes_put_u64(&out->w, owner->b);
        put_hold(&out->w, l, hold, ordinal);
        status = output_reserve(out);
    }
    free(numbers);
    return status;
}

static int
save_ended(struct output *out, const struct ns_ledger *l, const uint32_t *ordinal)
{
    int status = output_reserve(out);
    if (status == 0) {
        ns_bytes_put_u32(&out->w, l->ended.taken);
    }
    for (uint32_t n = l->ended_oldest; status == 0 && n != NS_NONE; n = ns_ended_at(l, n)->newer) {
        const struct ns_ended *ended = ns_ended_at(l, n);
        ns_bytes_put(&out->w, ended->call_id.bytes, sizeof(ended->call_id.bytes));
        ns_bytes_put_i64(&out->w, ended->ended_at_ns);
        ns_bytes_put_u8(&out->w, ended->how);
        if (ended->how == NS_ENDED_LOST) {
            put_hold(&out->w, l, ns_hold_at(l, ended->hold), ordinal);
        }
        status = output_reserve(out);
    }
    return status;
}

int
ns_ledger_save(const struct ns_ledger *l, uint8_t **bytes, size_t *count)
{
    struct output out = {.start = NULL};
    uint32_t *ordinal = calloc((size_t)l->counters.used + 1, sizeof(*ordinal));
    int status = ordinal == NULL ? -ENOMEM : output_reserve(&out);
    if (status == 0) {
        ns_bytes_put(&out.w, MAGIC, sizeof(MAGIC));
        ns_bytes_put_i64(&out.w, l->now_ns);
        status = save_budgets(&out, l);
    }
    if (status == 0) {
        status = save_counters(&out, l, ordinal);
    }
    if (status == 0) {
        status = save_holds(&out, l, ordinal);
    }
    if (status == 0) {
        status = save_ended(&out, l, ordinal);
    }
    free(ordinal);
    if (status != 0) {
        free(out.start);
        return status;
    }
    *bytes = out.start;
    *count = (size_t)(out.w.at - out.start);
    return 0;
}

uint64_t
ns_ledger_digest(const struct ns_ledger *l)
{
    static const uint8_t key[16] = "nullspend ledger";
    uint8_t *bytes;
    size_t count;
    if (ns_ledger_save(l, &bytes, &count) != 0) {
        return 0;
    }
    uint64_t digest = ns_siphash64(key, bytes, count);
    free(bytes);
    return digest;
}
