/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that come in pieces, in any order and more than once: what a client says first. */
#ifndef NS_BPF_PIECES_H
#define NS_BPF_PIECES_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/sight.h"

#define NS_PIECES_BYTES_MAX NS_SIGHT_BYTES_MAX

/* All zero: none came. */
struct ns_pieces {
    uint8_t bytes[NS_PIECES_BYTES_MAX];
    uint8_t came[NS_PIECES_BYTES_MAX / 8]; /* a bit a byte */
};

/* What lies beyond the room is left out. */
static inline void
ns_pieces_put(struct ns_pieces *pieces, size_t offset, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count && offset < NS_PIECES_BYTES_MAX; i++, offset++) {
        pieces->bytes[offset] = bytes[i];
        pieces->came[offset / 8] |= (uint8_t)(1U << offset % 8);
    }
}

/* How many bytes there are from the start without a gap. */
static inline size_t
ns_pieces_count(const struct ns_pieces *pieces)
{
    size_t count = 0;
    while (count < NS_PIECES_BYTES_MAX && (pieces->came[count / 8] >> count % 8 & 1) != 0) {
        count++;
    }
    return count;
}

#endif
