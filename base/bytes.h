/* SPDX-License-Identifier: Apache-2.0 */
/* A buffer that is filled at its end and emptied from its front. */
#ifndef NS_BASE_BYTES_H
#define NS_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ns_bytes {
    uint8_t *data;
    size_t begin; /* of what is still in it */
    size_t end;
    size_t capacity;
};

/* Appends. False without memory (nothing appended). */
bool ns_bytes_append(struct ns_bytes *bytes, const void *data, size_t count);

/* Gives its memory back; it is empty then, and may be used again. */
void ns_bytes_free(struct ns_bytes *bytes);

static inline size_t
ns_bytes_count(const struct ns_bytes *bytes)
{
    return bytes->end - bytes->begin;
}

/* The first byte that is still in it; NULL where it never held any. */
static inline const uint8_t *
ns_bytes_front(const struct ns_bytes *bytes)
{
    return bytes->data == NULL ? NULL : bytes->data + bytes->begin;
}

/* Takes count bytes off its front; there must be as many. Its memory stays. */
static inline void
ns_bytes_take(struct ns_bytes *bytes, size_t count)
{
    bytes->begin += count;
    if (bytes->begin == bytes->end) {
        bytes->begin = bytes->end = 0;
    }
}

#endif
