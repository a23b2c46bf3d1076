/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

#include <stdint.h>

/* The bytes of one well-formed character at p, 0 where there is none or it is a control
 * character. */
static size_t
character_bytes(const uint8_t *p, size_t left)
{
    if (p[0] < 0x80) {
        return p[0] >= 0x20 && p[0] != 0x7f;
    }
    size_t n = p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : 4;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n > left) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] > 0x9f;
    bool too_large = p[0] == 0xf4 && p[1] > 0x8f;
    bool control = p[0] == 0xc2 && p[1] < 0xa0;
    return overlong || surrogate || too_large || control ? 0 : n;
}

bool
ns_utf8_is_text(const char *text, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        size_t n = character_bytes((const uint8_t *)text + at, bytes - at);
        if (n == 0) {
            return false;
        }
        at += n;
    }
    return true;
}
