/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash index: from a hash to the places of an array that the caller keeps. Open addressing,
 * linear probing, grown by doubling; the caller compares keys, so it serves every table here.
 * Hash what strangers choose with a secret key (base/hash.h).
 */
#ifndef NS_COLLECTOR_INDEX_H
#define NS_COLLECTOR_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#define NS_INDEX_NONE UINT32_MAX

struct ns_index_slot {
    uint32_t hash;
    uint32_t place; /* NS_INDEX_NONE: empty */
};

/* All zero is an empty index. */
struct ns_index {
    struct ns_index_slot *slot;
    uint32_t mask; /* slots - 1 */
    uint32_t used;
};

void ns_index_free(struct ns_index *index);

/* The first place with this hash that `is` says yes to, or NS_INDEX_NONE. */
uint32_t ns_index_find(const struct ns_index *index, uint32_t hash,
                       bool (*is)(const void *context, uint32_t place), const void *context);

/* Adds a place. Returns 0 or -ENOMEM. */
int ns_index_add(struct ns_index *index, uint32_t hash, uint32_t place);

/* Takes a place out that was added with this hash. */
void ns_index_remove(struct ns_index *index, uint32_t hash, uint32_t place);

#endif
