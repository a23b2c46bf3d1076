/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as little-endian bytes, for what the collector keeps on disk. A writer that meets the end
 * of its buffer, and a reader that meets the end of its bytes, remembers it and goes on doing
 * nothing, so that it is asked once, at the end.
 */
#ifndef NS_COLLECTOR_BYTES_H
#define NS_COLLECTOR_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct ns_bytes_writer {
    uint8_t *at;
    uint8_t *end;
    bool full;
};

struct ns_bytes_reader {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

static inline void
ns_bytes_put(struct ns_bytes_writer *w, const void *data, size_t bytes)
{
    if (w->full || (size_t)(w->end - w->at) < bytes) {
        w->full = true;
        return;
    }
    if (bytes != 0) {
        memcpy(w->at, data, bytes);
        w->at += bytes;
    }
}

static inline void
ns_bytes_put_number(struct ns_bytes_writer *w, uint64_t value, size_t bytes)
{
    uint8_t b[8];
    for (size_t i = 0; i < bytes; i++) {
        b[i] = (uint8_t)(value >> (8 * i));
    }
    ns_bytes_put(w, b, bytes);
}

#define ns_bytes_put_u8(w, v) ns_bytes_put_number((w), (uint8_t)(v), 1)
#define ns_bytes_put_u16(w, v) ns_bytes_put_number((w), (uint16_t)(v), 2)
#define ns_bytes_put_u32(w, v) ns_bytes_put_number((w), (uint32_t)(v), 4)
#define ns_bytes_put_u64(w, v) ns_bytes_put_number((w), (uint64_t)(v), 8)
#define ns_bytes_put_i64(w, v) ns_bytes_put_number((w), (uint64_t)(int64_t)(v), 8)

/* The next bytes of the input, or NULL. */
static inline const uint8_t *
ns_bytes_get(struct ns_bytes_reader *r, size_t bytes)
{
    if (r->bad || (size_t)(r->end - r->at) < bytes) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->at;
    r->at += bytes;
    return p;
}

static inline uint64_t
ns_bytes_get_number(struct ns_bytes_reader *r, size_t bytes)
{
    const uint8_t *p = ns_bytes_get(r, bytes);
    uint64_t value = 0;
    for (size_t i = 0; p != NULL && i < bytes; i++) {
        value |= (uint64_t)p[i] << (8 * i);
    }
    return value;
}

#define ns_bytes_get_u8(r) ((uint8_t)ns_bytes_get_number((r), 1))
#define ns_bytes_get_u16(r) ((uint16_t)ns_bytes_get_number((r), 2))
#define ns_bytes_get_u32(r) ((uint32_t)ns_bytes_get_number((r), 4))
#define ns_bytes_get_u64(r) (ns_bytes_get_number((r), 8))
#define ns_bytes_get_i64(r) ((int64_t)ns_bytes_get_number((r), 8))

/* A byte that may only be 0 or 1. */
static inline bool
ns_bytes_get_bool(struct ns_bytes_reader *r)
{
    uint8_t b = ns_bytes_get_u8(r);
    if (b > 1) {
        r->bad = true;
    }
    return b == 1;
}

#endif
