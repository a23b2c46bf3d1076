/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger's memory: pools of equal items that are known by their number, and tables from a hash
 * to such a number. Room is made before anything is changed, so that an event that finds no memory
 * leaves the state as it was.
 */
#ifndef NS_COLLECTOR_LEDGER_TABLE_H
#define NS_COLLECTOR_LEDGER_TABLE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"

#define NS_NONE UINT32_MAX

/* --- pools ---------------------------------------------------------------------------------- */

/* Items are moved when the pool grows: keep numbers, not pointers. The first four bytes of a free
 * item hold the number of the next free one. */
struct ns_pool {
    uint8_t *items;
    uint32_t item_bytes;
    uint32_t used;     /* items that were ever taken */
    uint32_t capacity; /* items there is memory for */
    uint32_t taken;    /* items in use now */
    uint32_t free;     /* first free item below used, NS_NONE */
};

static inline void *
ns_pool_at(const struct ns_pool *pool, uint32_t number)
{
    return pool->items + (size_t)number * pool->item_bytes;
}

/* Makes sure that `more` items can be taken. Returns 0 or -ENOMEM. */
static inline int
ns_pool_reserve(struct ns_pool *pool, uint32_t more)
{
    if (pool->capacity - pool->taken >= more) {
        return 0;
    }
    uint64_t capacity = (uint64_t)pool->capacity * 2 + more + 16;
    if (capacity >= NS_NONE) {
        return -ENOMEM;
    }
    void *items = ns_mem_resize(pool->items, (size_t)pool->capacity * pool->item_bytes,
                                (size_t)capacity * pool->item_bytes);
    if (items == NULL) {
        return -ENOMEM;
    }
    pool->items = items;
    pool->capacity = (uint32_t)capacity;
    return 0;
}

/* Takes a zeroed item; room for it was reserved. */
static inline uint32_t
ns_pool_take(struct ns_pool *pool)
{
    uint32_t number = pool->free;
    if (number != NS_NONE) {
        memcpy(&pool->free, ns_pool_at(pool, number), sizeof(pool->free));
    } else {
        number = pool->used++;
    }
    pool->taken++;
    memset(ns_pool_at(pool, number), 0, pool->item_bytes);
    return number;
}

static inline void
ns_pool_give(struct ns_pool *pool, uint32_t number)
{
    void *item = ns_pool_at(pool, number);
    memset(item, 0, pool->item_bytes);
    memcpy(item, &pool->free, sizeof(pool->free));
    pool->free = number;
    pool->taken--;
}

/* --- tables --------------------------------------------------------------------------------- */

/* Open addressing with linear probing, at most three quarters full, deletion by moving back. */
struct ns_table_slot {
    uint32_t hash;
    uint32_t number; /* NS_NONE: empty */
};

struct ns_table {
    struct ns_table_slot *slots;
    uint32_t mask; /* slots - 1; 0: no memory yet */
    uint32_t count;
};

/* Whether item `number` has the key that is looked for. */
typedef bool ns_table_same(const void *context, uint32_t number, const void *key);

static inline int
ns_table_resize(struct ns_table *table, uint32_t size)
{
    struct ns_table_slot *slots = ns_mem_alloc((size_t)size * sizeof(*slots));
    if (slots == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < size; i++) {
        slots[i].number = NS_NONE;
    }
    for (uint32_t i = 0; table->slots != NULL && i <= table->mask; i++) {
        if (table->slots[i].number != NS_NONE) {
            uint32_t at = table->slots[i].hash & (size - 1);
            while (slots[at].number != NS_NONE) {
                at = (at + 1) & (size - 1);
            }
            slots[at] = table->slots[i];
        }
    }
    ns_mem_free(table->slots);
    table->slots = slots;
    table->mask = size - 1;
    return 0;
}

/* Makes sure that `more` numbers can be put. Returns 0 or -ENOMEM. */
static inline int
ns_table_reserve(struct ns_table *table, uint32_t more)
{
    uint64_t need = (uint64_t)table->count + more;
    uint64_t size = table->slots == NULL ? 64 : (uint64_t)table->mask + 1;
    if (table->slots != NULL && need * 4 <= size * 3) {
        return 0;
    }
    while (need * 4 > size * 3) {
        size *= 2;
    }
    return size > UINT32_C(1) << 31 ? -ENOMEM : ns_table_resize(table, (uint32_t)size);
}

/* The slot with this key, or NULL. Its number may be overwritten. */
static inline struct ns_table_slot *
ns_table_find(const struct ns_table *table, uint32_t hash, ns_table_same *same, const void *context,
              const void *key)
{
    if (table->slots == NULL) {
        return NULL;
    }
    for (uint32_t at = hash & table->mask;; at = (at + 1) & table->mask) {
        struct ns_table_slot *slot = &table->slots[at];
        if (slot->number == NS_NONE) {
            return NULL;
        }
        if (slot->hash == hash && same(context, slot->number, key)) {
            return slot;
        }
    }
}

/* Puts a number whose key is not there yet; room for it was reserved. */
static inline void
ns_table_put(struct ns_table *table, uint32_t hash, uint32_t number)
{
    uint32_t at = hash & table->mask;
    while (table->slots[at].number != NS_NONE) {
        at = (at + 1) & table->mask;
    }
    table->slots[at] = (struct ns_table_slot){hash, number};
    table->count++;
}

static inline void
ns_table_remove(struct ns_table *table, struct ns_table_slot *slot)
{
    uint32_t hole = (uint32_t)(slot - table->slots);
    for (uint32_t at = (hole + 1) & table->mask; table->slots[at].number != NS_NONE;
         at = (at + 1) & table->mask) {
        /* What lies between its home and the hole may move into the hole. */
        uint32_t home = table->slots[at].hash & table->mask;
        if (((at - home) & table->mask) >= ((at - hole) & table->mask)) {
            table->slots[hole] = table->slots[at];
            hole = at;
        }
    }
    table->slots[hole].number = NS_NONE;
    table->count--;
}

#endif
