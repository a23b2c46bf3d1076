/* SPDX-License-Identifier: Apache-2.0 */
#include "base/money.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#define PLACES 9

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int
ns_money_parse(const char *text, size_t text_bytes, int64_t *nanousd)
{
    const char *p = text;
    const char *end = text + text_bytes;
    bool negative = false;
    if (p < end && (*p == '-' || *p == '+')) {
        negative = *p == '-';
        p++;
    }
    if (p == end || !is_digit(*p)) {
        return -EINVAL;
    }
    __int128 value = 0;
    const __int128 limit = (__int128)INT64_MAX + 1;
    bool too_large = false;
    for (; p < end && is_digit(*p); p++) {
        value = value * 10 + (*p - '0');
        if (value > limit) {
            too_large = true;
            value = limit;
        }
    }
    int places = 0;
    if (p < end && *p == '.') {
        p++;
        for (; p < end && is_digit(*p); p++, places++) {
            if (places < PLACES) {
                value = value * 10 + (*p - '0');
            }
        }
        if (places == 0) {
            return -EINVAL;
        }
    }
    if (p != end) {
        return -EINVAL;
    }
    if (places > PLACES) {
        return -EDOM;
    }
    for (; places < PLACES; places++) {
        value *= 10;
    }
    if (too_large || value > (negative ? limit : limit - 1)) {
        return -ERANGE;
    }
    *nanousd = (int64_t)(negative ? -value : value);
    return 0;
}

/* The magnitude in nano-dollars; right for INT64_MIN too. */
static uint64_t
magnitude(int64_t nanousd)
{
    return nanousd < 0 ? UINT64_C(0) - (uint64_t)nanousd : (uint64_t)nanousd;
}

size_t
ns_money_format(int64_t nanousd, char text[static NS_MONEY_TEXT_BYTES])
{
    uint64_t value = magnitude(nanousd);
    int n = snprintf(text, NS_MONEY_TEXT_BYTES, "%s%llu.%09llu", nanousd < 0 ? "-" : "",
                     (unsigned long long)(value / (uint64_t)NS_NANOUSD_PER_USD),
                     (unsigned long long)(value % (uint64_t)NS_NANOUSD_PER_USD));
    return (size_t)n;
}

size_t
ns_money_format_short(int64_t nanousd, char text[static NS_MONEY_TEXT_BYTES])
{
    size_t n = ns_money_format(nanousd, text);
    size_t shortest = n - PLACES + 2;
    while (n > shortest && text[n - 1] == '0') {
        n--;
    }
    text[n] = '\0';
    return n;
}

int64_t
ns_money_add(int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) {
        return b > 0 ? INT64_MAX : INT64_MIN;
    }
    return sum;
}
