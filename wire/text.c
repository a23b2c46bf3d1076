/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/text.h"

#include <errno.h>
#include <string.h>

/* The length of the well-formed UTF-8 character at text (RFC 3629), 0 where there is none. */
static size_t
character_bytes(const char *text, size_t bytes)
{
    const uint8_t *t = (const uint8_t *)text;
    if (t[0] < 0x80) {
        return 1;
    }
    size_t length = t[0] < 0xc2 ? 0 : t[0] < 0xe0 ? 2 : t[0] < 0xf0 ? 3 : 4;
    if (length == 0 || length > bytes || t[0] > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((t[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (t[0] == 0xe0 && t[1] < 0xa0) || (t[0] == 0xf0 && t[1] < 0x90);
    bool out_of_range = (t[0] == 0xed && t[1] > 0x9f) || (t[0] == 0xf4 && t[1] > 0x8f);
    return overlong || out_of_range ? 0 : length;
}

static bool
is_control(char c)
{
    return (uint8_t)c < 0x20 || c == 0x7f;
}

void
ns_wire_text_copy(char *buffer, size_t buffer_bytes, const char *text, size_t bytes)
{
    size_t used = 0;
    for (size_t i = 0; i < bytes;) {
        size_t length = character_bytes(text + i, bytes - i);
        bool bad = length == 0 || is_control(text[i]);
        length = bad ? 1 : length;
        if (used + length >= buffer_bytes) {
            break;
        }
        if (bad) {
            buffer[used] = '?';
        } else {
            memcpy(buffer + used, text + i, length);
        }
        used += length;
        i += length;
    }
    buffer[used] = '\0';
}

bool
ns_wire_text_clean(const char *text, size_t bytes, size_t bytes_max)
{
    if (bytes > bytes_max) {
        return false;
    }
    for (size_t i = 0; i < bytes;) {
        size_t length = character_bytes(text + i, bytes - i);
        if (length == 0 || is_control(text[i])) {
            return false;
        }
        i += length;
    }
    return true;
}

static char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool
ns_wire_text_begins(const char *text, size_t bytes, const char *prefix)
{
    size_t length = strlen(prefix);
    return bytes >= length && memcmp(text, prefix, length) == 0;
}

bool
ns_wire_text_begins_nocase(const char *text, size_t bytes, const char *prefix)
{
    size_t length = strlen(prefix);
    if (bytes < length) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (lower(text[i]) != lower(prefix[i])) {
            return false;
        }
    }
    return true;
}

bool
ns_wire_text_is(const char *text, size_t bytes, const char *word)
{
    return bytes == strlen(word) && memcmp(text, word, bytes) == 0;
}

bool
ns_wire_text_is_nocase(const char *text, size_t bytes, const char *word)
{
    return bytes == strlen(word) && ns_wire_text_begins_nocase(text, bytes, word);
}

bool
ns_wire_text_ends(const char *text, size_t bytes, const char *suffix)
{
    size_t length = strlen(suffix);
    return bytes >= length && memcmp(text + bytes - length, suffix, length) == 0;
}

int
ns_wire_text_number(const char *text, size_t bytes, uint64_t max, uint64_t *value)
{
    uint64_t number = 0;
    if (bytes == 0) {
        return -EINVAL;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -EINVAL;
        }
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (digit > max || number > (max - digit) / 10) {
            return -EINVAL;
        }
        number = number * 10 + digit;
    }
    *value = number;
    return 0;
}
