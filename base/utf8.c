/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

size_t
ns_utf8_character(const uint8_t *bytes, size_t left)
{
    uint8_t first = bytes[0];
    if (first < 0x80) {
        return first >= 0x20 && first != 0x7f ? 1 : 0;
    }
    size_t count = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (count == 0 || count > left) {
        return 0;
    }
    for (size_t i = 1; i < count; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    uint8_t second = bytes[1];
    bool refused = (first == 0xc2 && second < 0xa0) ||  /* C1 controls */
                   (first == 0xe0 && second < 0xa0) ||  /* overlong */
                   (first == 0xed && second >= 0xa0) || /* surrogates */
                   (first == 0xf0 && second < 0x90) ||  /* overlong */
                   (first == 0xf4 && second >= 0x90);   /* beyond U+10FFFF */
    return refused ? 0 : count;
}

bool
ns_utf8_is_text(const void *text, size_t bytes)
{
    const uint8_t *at = text;
    while (bytes > 0) {
        size_t plain = 0; /* what nearly all of it is */
        while (plain < bytes && at[plain] >= 0x20 && at[plain] < 0x7f) {
            plain++;
        }
        at += plain;
        bytes -= plain;
        if (bytes == 0) {
            return true;
        }
        size_t count = ns_utf8_character(at, bytes);
        if (count == 0) {
            return false;
        }
        at += count;
        bytes -= count;
    }
    return true;
}

size_t
ns_utf8_cut(const char *text, size_t bytes, size_t most)
{
    if (bytes <= most) {
        return bytes;
    }
    while (most > 0 && ((uint8_t)text[most] & 0xc0) == 0x80) {
        most--;
    }
    return most;
}
