/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often calls repeat each other: counts by key over a sliding window, in memory of a fixed
 * size. What a key is made of is the caller's; he keeps his windows apart by his keys. Nothing of
 * it is kept over a restart: a loop that goes on is found again within its window. One thread.
 */
#ifndef NS_COLLECTOR_REPEATS_H
#define NS_COLLECTOR_REPEATS_H

#include <stddef.h>
#include <stdint.h>

/* Keys that are counted at a time; of more, those that were seen longest ago are forgotten, or a
 * few that were seen later. */
#define NS_REPEATS_KEYS (1 << 16)

struct ns_repeats;

/* NULL without memory. */
struct ns_repeats *ns_repeats_new(void);
void ns_repeats_free(struct ns_repeats *repeats);

/*
 * Counts once more what has this key. A time before the last one counts as that. Returns how often
 * it was within the window_ns (above 0) before now_ns, this time included: exact where all were in
 * the last window_ns since a count of this key began anew, else by the part of the window before
 * that still counts.
 */
uint64_t ns_repeats_count(struct ns_repeats *repeats, uint64_t key, int64_t now_ns,
                          int64_t window_ns);

/* The same of what must also grow: where size is not above what it was at the last time, the count
 * begins anew. */
uint64_t ns_repeats_count_growing(struct ns_repeats *repeats, uint64_t key, uint64_t size,
                                  int64_t now_ns, int64_t window_ns);

#endif
