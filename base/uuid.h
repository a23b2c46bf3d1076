/* SPDX-License-Identifier: Apache-2.0 */
/* Call and denial ids: UUID version 7 (RFC 9562), so that they sort by time. */
#ifndef NS_BASE_UUID_H
#define NS_BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS_UUID_TEXT_BYTES 37 /* 36 characters and NUL */

struct ns_uuid {
    uint8_t bytes[16];
};

/* Builds an id of this wall-clock time in milliseconds from 10 random bytes. Pure. */
struct ns_uuid ns_uuid_v7(uint64_t unix_ms, const uint8_t random[static 10]);

/* An id of now, from clock_gettime and getrandom. Any thread; errno kept. Where the kernel gives no
 * random bytes (seccomp), address, clock and a counter stand in for them. */
struct ns_uuid ns_uuid_new(void);

void ns_uuid_format(const struct ns_uuid *uuid, char text[static NS_UUID_TEXT_BYTES]);

/* Reads 36 characters in either case. Returns 0 or -EINVAL. */
int ns_uuid_parse(const char *text, size_t text_bytes, struct ns_uuid *uuid);

bool ns_uuid_equal(const struct ns_uuid *a, const struct ns_uuid *b);

/* The time inside a version 7 id, in milliseconds. */
uint64_t ns_uuid_unix_ms(const struct ns_uuid *uuid);

#endif
