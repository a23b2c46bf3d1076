/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/base64.h"

static int
value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

size_t
ns_base64_feed(struct ns_base64 *base64, const uint8_t *text, size_t count, uint8_t *bytes)
{
    size_t made = 0;
    for (size_t i = 0; i < count && !base64->bad; i++) {
        int value = value_of(text[i]);
        base64->over |= text[i] == '=';
        base64->bad = base64->over ? text[i] != '=' : value < 0;
        if (base64->over || base64->bad) {
            continue;
        }
        base64->bits = base64->bits << 6 | (uint32_t)value;
        base64->bit_count = (uint8_t)(base64->bit_count + 6);
        if (base64->bit_count >= 8) {
            base64->bit_count = (uint8_t)(base64->bit_count - 8);
            bytes[made++] = (uint8_t)(base64->bits >> base64->bit_count);
        }
    }
    return made;
}
