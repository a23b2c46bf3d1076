/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#include <string.h>

#include "base/mem.h"

#define BYTES_MIN 1024

bool
ns_bytes_append(struct ns_bytes *bytes, const void *data, size_t count)
{
    if (bytes->begin == bytes->end) {
        bytes->begin = bytes->end = 0;
    }
    if (bytes->capacity - bytes->end < count) {
        size_t capacity = bytes->capacity == 0 ? BYTES_MIN : bytes->capacity;
        while (capacity - bytes->end < count) {
            capacity *= 2;
        }
        uint8_t *moved = ns_mem_resize(bytes->data, bytes->end, capacity);
        if (moved == NULL) {
            return false;
        }
        bytes->data = moved;
        bytes->capacity = capacity;
    }
    if (count > 0) {
        memcpy(bytes->data + bytes->end, data, count);
        bytes->end += count;
    }
    return true;
}

void
ns_bytes_free(struct ns_bytes *bytes)
{
    ns_mem_free(bytes->data);
    *bytes = (struct ns_bytes){0};
}
