/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte buffer, for JSON, metrics and snapshots. Once memory fails it stays failed. */
#ifndef NS_COLLECTOR_BUFFER_H
#define NS_COLLECTOR_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/protocol.h"

/* All zero is an empty buffer. */
struct ns_buffer {
    uint8_t *bytes;
    size_t count;
    size_t room;
    bool failed;
};

void ns_buffer_free(struct ns_buffer *buffer);
void ns_buffer_add(struct ns_buffer *buffer, const void *bytes, size_t count);
void ns_buffer_add_u32(struct ns_buffer *buffer, uint32_t value); /* little-endian */
void ns_buffer_add_u64(struct ns_buffer *buffer, uint64_t value);
void ns_buffer_print(struct ns_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A JSON string, quotes included. */
void ns_buffer_json(struct ns_buffer *buffer, const char *text);

/* An amount as a JSON number with 9 places. */
void ns_buffer_usd(struct ns_buffer *buffer, int64_t nanousd);

/* Reading what was added: each returns false at the end, and sticks there. */
struct ns_bytes {
    const uint8_t *at;
    size_t left;
    bool failed;
};
const uint8_t *ns_bytes_take(struct ns_bytes *bytes, size_t count);
uint32_t ns_bytes_u32(struct ns_bytes *bytes);
uint64_t ns_bytes_u64(struct ns_bytes *bytes);

/* Copies a text into a C string, cut at room - 1 bytes. Returns into. */
const char *ns_text_copy(struct ns_text text, char *into, size_t room);

#endif
