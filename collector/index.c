/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 64

void
ns_index_free(struct ns_index *index)
{
    free(index->slot);
    *index = (struct ns_index){0};
}

uint32_t
ns_index_find(const struct ns_index *index, uint32_t hash,
              bool (*is)(const void *context, uint32_t place), const void *context)
{
    if (index->slot == NULL) {
        return NS_INDEX_NONE;
    }
    for (uint32_t at = hash & index->mask; index->slot[at].place != NS_INDEX_NONE;
         at = (at + 1) & index->mask) {
        if (index->slot[at].hash == hash && is(context, index->slot[at].place)) {
            return index->slot[at].place;
        }
    }
    return NS_INDEX_NONE;
}

static void
put(struct ns_index *index, struct ns_index_slot slot)
{
    uint32_t at = slot.hash & index->mask;
    while (index->slot[at].place != NS_INDEX_NONE) {
        at = (at + 1) & index->mask;
    }
    index->slot[at] = slot;
}

static int
grow(struct ns_index *index)
{
    uint32_t old_slots = index->slot == NULL ? 0 : index->mask + 1;
    uint32_t slots = old_slots == 0 ? FIRST_SLOTS : old_slots * 2;
    struct ns_index bigger = {malloc(slots * sizeof(struct ns_index_slot)), slots - 1, index->used};
    if (bigger.slot == NULL) {
        return -ENOMEM;
    }
    memset(bigger.slot, 0xff, slots * sizeof(struct ns_index_slot)); /* NS_INDEX_NONE */
    for (uint32_t i = 0; i < old_slots; i++) {
        if (index->slot[i].place != NS_INDEX_NONE) {
            put(&bigger, index->slot[i]);
        }
    }
    free(index->slot);
    *index = bigger;
    return 0;
}

int
ns_index_add(struct ns_index *index, uint32_t hash, uint32_t place)
{
    if (index->slot == NULL || index->used >= (index->mask + 1) / 4 * 3) {
        int error = grow(index);
        if (error != 0) {
            return error;
        }
    }
    put(index, (struct ns_index_slot){hash, place});
    index->used++;
    return 0;
}

void
ns_index_remove(struct ns_index *index, uint32_t hash, uint32_t place)
{
    if (index->slot == NULL) {
        return;
    }
    uint32_t hole = hash & index->mask;
    while (index->slot[hole].place != place || index->slot[hole].hash != hash) {
        if (index->slot[hole].place == NS_INDEX_NONE) {
            return;
        }
        hole = (hole + 1) & index->mask;
    }
    /* What follows in the same run moves back, so that no search ends at the hole. */
    for (uint32_t at = (hole + 1) & index->mask; index->slot[at].place != NS_INDEX_NONE;
         at = (at + 1) & index->mask) {
        uint32_t home = index->slot[at].hash & index->mask;
        if (((at - home) & index->mask) >= ((at - hole) & index->mask)) {
            index->slot[hole] = index->slot[at];
            hole = at;
        }
    }
    index->slot[hole].place = NS_INDEX_NONE;
    index->used--;
}
