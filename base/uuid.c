/* SPDX-License-Identifier: Apache-2.0 */
#include "base/uuid.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"

struct ns_uuid
ns_uuid_v7(uint64_t unix_ms, const uint8_t random[static 10])
{
    struct ns_uuid uuid;
    for (int i = 0; i < 6; i++) {
        uuid.bytes[i] = (uint8_t)(unix_ms >> (40 - 8 * i));
    }
    memcpy(uuid.bytes + 6, random, 10);
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x70);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    return uuid;
}

static void
stand_in_for_random(uint8_t random[static 10], int64_t now_ns)
{
    static _Atomic uint64_t counter;
    uint64_t mix = (uint64_t)now_ns * UINT64_C(0x9e3779b97f4a7c15);
    mix ^= (uint64_t)(uintptr_t)random << 17;
    uint64_t count = atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed);
    memcpy(random, &mix, 6);
    for (int i = 0; i < 4; i++) {
        random[6 + i] = (uint8_t)(count >> (24 - 8 * i));
    }
}

struct ns_uuid
ns_uuid_new(void)
{
    int saved_errno = errno;
    int64_t now_ns = ns_clock_ns(CLOCK_REALTIME);
    uint8_t random[10];
    if (getrandom(random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random)) {
        stand_in_for_random(random, now_ns);
    }
    errno = saved_errno;
    return ns_uuid_v7((uint64_t)now_ns / 1000000, random);
}

static bool
is_dash_place(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

void
ns_uuid_format(const struct ns_uuid *uuid, char text[static NS_UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    size_t nibble = 0;
    for (size_t i = 0; i < NS_UUID_TEXT_BYTES - 1; i++) {
        if (is_dash_place(i)) {
            text[i] = '-';
            continue;
        }
        uint8_t byte = uuid->bytes[nibble / 2];
        text[i] = digits[nibble % 2 == 0 ? byte >> 4 : byte & 0x0f];
        nibble++;
    }
    text[NS_UUID_TEXT_BYTES - 1] = '\0';
}

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int
ns_uuid_parse(const char *text, size_t text_bytes, struct ns_uuid *uuid)
{
    struct ns_uuid parsed = {{0}};
    size_t nibble = 0;
    if (text_bytes != NS_UUID_TEXT_BYTES - 1) {
        return -EINVAL;
    }
    for (size_t i = 0; i < text_bytes; i++) {
        if (is_dash_place(i)) {
            if (text[i] != '-') {
                return -EINVAL;
            }
            continue;
        }
        int value = hex_value(text[i]);
        if (value < 0) {
            return -EINVAL;
        }
        parsed.bytes[nibble / 2] = (uint8_t)(parsed.bytes[nibble / 2] << 4 | value);
        nibble++;
    }
    *uuid = parsed;
    return 0;
}

bool
ns_uuid_equal(const struct ns_uuid *a, const struct ns_uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

uint64_t
ns_uuid_unix_ms(const struct ns_uuid *uuid)
{
    uint64_t ms = 0;
    for (int i = 0; i < 6; i++) {
        ms = ms << 8 | uuid->bytes[i];
    }
    return ms;
}
