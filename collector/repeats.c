/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/repeats.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A key stands in one of so many places that lie together. */
#define WAYS 8

struct count {
    uint64_t key; /* 0: none */
    uint64_t size;
    int64_t begin_ns; /* of the window that is being counted */
    int64_t last_ns;
    uint32_t now, before; /* in that window, and in the one before */
};

struct ns_repeats {
    struct count count[NS_REPEATS_KEYS];
};

struct ns_repeats *
ns_repeats_new(void)
{
    return calloc(1, sizeof(struct ns_repeats));
}

void
ns_repeats_free(struct ns_repeats *repeats)
{
    free(repeats);
}

/* The place of a key, or of the one of its places that was seen longest ago, made empty. */
static struct count *
place_of(struct ns_repeats *repeats, uint64_t key)
{
    struct count *places = repeats->count + key % (NS_REPEATS_KEYS / WAYS) * WAYS;
    struct count *oldest = places;
    for (struct count *place = places; place < places + WAYS; place++) {
        if (place->key == key) {
            return place;
        }
        bool older = place->key == 0 || place->last_ns < oldest->last_ns;
        oldest = oldest->key != 0 && older ? place : oldest;
    }
    *oldest = (struct count){.key = key};
    return oldest;
}

static uint64_t
count_at(struct count *count, int64_t now_ns, int64_t window_ns)
{
    bool known = count->now > 0;
    now_ns = known && now_ns < count->last_ns ? count->last_ns : now_ns;
    int64_t elapsed_ns = known ? now_ns - count->begin_ns : 0;
    if (!known || elapsed_ns >= window_ns) {
        bool next = known && elapsed_ns - window_ns < window_ns;
        count->before = next ? count->now : 0;
        count->begin_ns = next ? count->begin_ns + window_ns : now_ns;
        count->now = 0;
        elapsed_ns = now_ns - count->begin_ns;
    }
    count->last_ns = now_ns;
    count->now += count->now < UINT32_MAX ? 1 : 0;
    unsigned __int128 left = (unsigned __int128)count->before * (uint64_t)(window_ns - elapsed_ns);
    return count->now + (uint64_t)(left / (uint64_t)window_ns);
}

uint64_t
ns_repeats_count(struct ns_repeats *repeats, uint64_t key, int64_t now_ns, int64_t window_ns)
{
    return count_at(place_of(repeats, key), now_ns, window_ns);
}

uint64_t
ns_repeats_count_growing(struct ns_repeats *repeats, uint64_t key, uint64_t size, int64_t now_ns,
                         int64_t window_ns)
{
    struct count *count = place_of(repeats, key);
    if (size <= count->size) {
        *count = (struct count){.key = key};
    }
    count->size = size;
    return count_at(count, now_ns, window_ns);
}
