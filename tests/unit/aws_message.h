/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of AWS event streams, made for tests. */
#ifndef NS_TESTS_AWS_MESSAGE_H
#define NS_TESTS_AWS_MESSAGE_H

#include <stdint.h>
#include <string.h>
#include <zlib.h>

static inline void
put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

static inline size_t
put_header(uint8_t *to, const char *name, const char *value)
{
    size_t name_bytes = strlen(name), value_bytes = strlen(value);
    to[0] = (uint8_t)name_bytes;
    memcpy(to + 1, name, name_bytes);
    to[1 + name_bytes] = 7; /* a string */
    to[2 + name_bytes] = (uint8_t)(value_bytes >> 8);
    to[3 + name_bytes] = (uint8_t)value_bytes;
    memcpy(to + 4 + name_bytes, value, value_bytes);
    return 4 + name_bytes + value_bytes;
}

/* One message around headers and a payload that are there already, from 12 on. Returns its bytes.
 */
static inline size_t
close_message(uint8_t *message, size_t header_bytes, size_t payload_bytes)
{
    size_t total = 12 + header_bytes + payload_bytes + 4;
    put_u32(message, (uint32_t)total);
    put_u32(message + 4, (uint32_t)header_bytes);
    put_u32(message + 8, (uint32_t)crc32(0, message, 8));
    put_u32(message + total - 4, (uint32_t)crc32(0, message, (uInt)total - 4));
    return total;
}

/* A message as Bedrock sends it. */
static inline size_t
put_message(uint8_t *to, const char *kind, const char *type, const char *payload)
{
    size_t header_bytes = put_header(to + 12, ":event-type", type);
    header_bytes += put_header(to + 12 + header_bytes, ":content-type", "application/json");
    header_bytes += put_header(to + 12 + header_bytes, ":message-type", kind);
    memcpy(to + 12 + header_bytes, payload, strlen(payload));
    return close_message(to, header_bytes, strlen(payload));
}

static inline size_t
put_event(uint8_t *to, const char *type, const char *payload)
{
    return put_message(to, "event", type, payload);
}

#endif
