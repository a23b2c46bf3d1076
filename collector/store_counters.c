/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_counters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

static uint64_t
hash(int64_t budget_id, const char *entity, int64_t period_start_ns)
{
    /* Entities come from strangers, but only such as the ledger counts, which is bounded. */
    static const uint8_t key[16] = "counters";
    return ns_siphash64(key, entity, strlen(entity)) ^
           (uint64_t)budget_id * UINT64_C(0x9e3779b97f4a7c15) ^
           (uint64_t)period_start_ns * UINT64_C(0xc2b2ae3d27d4eb4f);
}

/* The slot of a counter, or the free one where it belongs. */
static uint32_t *
find(const struct ns_store_counters *counters, int64_t budget_id, const char *entity,
     int64_t period_start_ns)
{
    size_t at = (size_t)hash(budget_id, entity, period_start_ns) & (counters->slots - 1);
    for (;; at = (at + 1) & (counters->slots - 1)) {
        uint32_t *slot = &counters->slot[at];
        if (*slot == 0) {
            return slot;
        }
        const struct ns_store_counter *c = &counters->counter[*slot - 1];
        if (c->budget_id == budget_id && c->period_start_ns == period_start_ns &&
            strcmp(c->entity, entity) == 0) {
            return slot;
        }
    }
}

/* Room for one more: counters doubled, slots at most half full. */
static int
grow(struct ns_store_counters *counters)
{
    if (counters->count < counters->room) {
        return 0;
    }
    if (counters->count >= NS_STORE_COUNTERS_MAX) {
        return -ENOSPC;
    }
    size_t room = counters->room == 0 ? 64 : counters->room * 2;
    uint32_t *slot = calloc(room * 2, sizeof *slot);
    struct ns_store_counter *counter =
        slot == NULL ? NULL : realloc(counters->counter, room * sizeof *counter);
    if (counter == NULL) {
        free(slot);
        return -ENOMEM;
    }
    uint32_t *old = counters->slot;
    counters->counter = counter;
    counters->room = room;
    counters->slot = slot;
    counters->slots = room * 2;
    for (uint32_t i = 0; i < counters->count; i++) {
        const struct ns_store_counter *c = &counter[i];
        *find(counters, c->budget_id, c->entity, c->period_start_ns) = i + 1;
    }
    free(old);
    return 0;
}

/* The counter of a key, made where it is new; NULL where it cannot be. */
static struct ns_store_counter *
take(struct ns_store_counters *counters, int64_t budget_id, const char *entity,
     int64_t period_start_ns, int *result, bool *is_new)
{
    *result = grow(counters);
    if (*result < 0) {
        return NULL;
    }
    uint32_t *slot = find(counters, budget_id, entity, period_start_ns);
    *is_new = *slot == 0;
    if (*is_new) {
        char *copy = strdup(entity);
        if (copy == NULL) {
            *result = -ENOMEM;
            return NULL;
        }
        counters->counter[counters->count] = (struct ns_store_counter){
            .budget_id = budget_id, .period_start_ns = period_start_ns, .entity = copy};
        *slot = (uint32_t)++counters->count;
    }
    return &counters->counter[*slot - 1];
}

int
ns_store_counters_put(struct ns_store_counters *counters, const struct ns_ledger_numbers *numbers)
{
    int result;
    bool is_new;
    struct ns_store_counter *c = take(counters, numbers->budget_id, numbers->entity,
                                      numbers->period_start_ns, &result, &is_new);
    if (c != NULL) {
        c->period = numbers->period;
        c->period_end_ns = numbers->period_end_ns;
        c->spent_nanousd = numbers->spent_nanousd;
        c->held_nanousd = numbers->held_nanousd;
        c->overshoot_nanousd = numbers->overshoot_nanousd;
        c->paused_until_ns = numbers->paused_until_ns;
    }
    return result;
}

void
ns_store_counters_return(struct ns_store_counters *counters,
                         const struct ns_store_counters *unwritten)
{
    for (size_t i = 0; i < unwritten->count; i++) {
        const struct ns_store_counter *from = &unwritten->counter[i];
        int result;
        bool is_new;
        struct ns_store_counter *c =
            take(counters, from->budget_id, from->entity, from->period_start_ns, &result, &is_new);
        if (c != NULL && is_new) {
            char *entity = c->entity;
            *c = *from;
            c->entity = entity;
        }
    }
}

void
ns_store_counters_clear(struct ns_store_counters *counters)
{
    for (size_t i = 0; i < counters->count; i++) {
        free(counters->counter[i].entity);
    }
    free(counters->counter);
    free(counters->slot);
    memset(counters, 0, sizeof *counters);
}
