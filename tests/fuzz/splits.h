/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For fuzz targets of push parsers: what a parser says must not depend on how its input is split.
 * A target feeds its input three times (whole, byte by byte, in pieces that the input itself
 * chooses) and compares what was heard.
 */
#ifndef NS_TESTS_FUZZ_SPLITS_H
#define NS_TESTS_FUZZ_SPLITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count);

#define FUZZ_REQUIRE(condition)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* All that a parser said, as a hash; pieces of the same data are joined. */
struct heard {
    uint64_t hash;
    int open;
};

static inline void
hear_bytes(struct heard *heard, const void *bytes, size_t count)
{
    const uint8_t *at = bytes;
    for (size_t i = 0; i < count; i++) {
        heard->hash = (heard->hash ^ at[i]) * UINT64_C(0x100000001b3);
    }
}

static inline void
hear_event(struct heard *heard, int event, uint64_t value)
{
    heard->open = -1;
    hear_bytes(heard, &event, sizeof(event));
    hear_bytes(heard, &value, sizeof(value));
}

static inline void
hear_data(struct heard *heard, int event, const void *bytes, size_t count)
{
    if (heard->open != event) {
        hear_event(heard, event, 0);
        heard->open = event;
    }
    hear_bytes(heard, bytes, count);
}

enum split { SPLIT_WHOLE, SPLIT_BYTES, SPLIT_RANDOM, SPLITS };

struct fuzz_pieces {
    const uint8_t *bytes;
    size_t count;
    size_t at;
    uint64_t random;
    enum split split;
    uint8_t *block;
};

static inline struct fuzz_pieces
fuzz_pieces(enum split split, const uint8_t *bytes, size_t count)
{
    struct heard seed = {.hash = UINT64_C(0xcbf29ce484222325)};
    hear_bytes(&seed, bytes, count);
    return (struct fuzz_pieces){
        .bytes = bytes, .count = count, .random = seed.hash | 1, .split = split};
}

/* The next piece in a block of its own size, valid until the next call; false at the end. */
static inline bool
fuzz_next(struct fuzz_pieces *pieces, const uint8_t **bytes, size_t *count)
{
    free(pieces->block);
    pieces->block = NULL;
    size_t left = pieces->count - pieces->at;
    if (left == 0) {
        return false;
    }
    size_t n = left;
    if (pieces->split == SPLIT_BYTES) {
        n = 1;
    } else if (pieces->split == SPLIT_RANDOM) {
        pieces->random ^= pieces->random << 13;
        pieces->random ^= pieces->random >> 7;
        pieces->random ^= pieces->random << 17;
        n = (size_t)(pieces->random % 32);
        n = n < left ? n : left;
    }
    pieces->block = malloc(n > 0 ? n : 1);
    if (pieces->block == NULL) {
        abort();
    }
    memcpy(pieces->block, pieces->bytes + pieces->at, n);
    *bytes = pieces->block;
    *count = n;
    pieces->at += n;
    return true;
}

static inline void
fuzz_done(struct fuzz_pieces *pieces)
{
    free(pieces->block);
    pieces->block = NULL;
}

#endif
