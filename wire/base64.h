/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648, 4) as it passes. */
#ifndef NS_WIRE_BASE64_H
#define NS_WIRE_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero at the beginning. */
struct ns_base64 {
    uint32_t bits;
    uint8_t bit_count;
    bool over; /* padding came: nothing may follow but more of it */
    bool bad;  /* something else came: nothing comes out any more */
};

/* Decodes characters into room for three quarters of them and one more. Returns how many bytes
 * came out. */
size_t ns_base64_feed(struct ns_base64 *base64, const uint8_t *text, size_t count, uint8_t *bytes);

#endif
