/* SPDX-License-Identifier: Apache-2.0 */
/* The literal of a JSON number as an integer, in exact decimal arithmetic. */
#include <errno.h>

#include "wire/json.h"

/* Exponents beyond this are all alike: far out of range, or far below one. */
#define EXPONENT_MAX INT64_C(1000000000000)

/* digits, which begin and end with one that is not 0, times 10^exponent. No digits: zero. */
struct decimal {
    bool negative;
    const char *digits; /* may have the point among them */
    size_t count;
    int64_t exponent;
};

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t
digit_run(const char *text, size_t bytes)
{
    size_t i = 0;
    while (i < bytes && is_digit(text[i])) {
        i++;
    }
    return i;
}

/* [sign] digits, all that is left of the text. Returns 0 or -EINVAL. */
static int
parse_exponent(const char *text, size_t bytes, int64_t *exponent)
{
    bool negative = bytes > 0 && text[0] == '-';
    size_t sign = bytes > 0 && (text[0] == '-' || text[0] == '+');
    size_t run = digit_run(text + sign, bytes - sign);
    if (run == 0 || sign + run != bytes) {
        return -EINVAL;
    }
    int64_t value = 0;
    for (size_t i = sign; i < bytes && value < EXPONENT_MAX; i++) {
        value = value * 10 + (text[i] - '0');
    }
    *exponent = negative ? -value : value;
    return 0;
}

/* Takes the zeros off both ends; those at the right go into the exponent. */
static void
trim(struct decimal *decimal, const char *text, size_t bytes)
{
    int64_t passed = 0; /* digits taken off at the right */
    while (bytes > 0 && (text[0] == '0' || text[0] == '.')) {
        text++;
        bytes--;
    }
    while (bytes > 0 && (text[bytes - 1] == '0' || text[bytes - 1] == '.')) {
        passed += text[bytes - 1] == '0';
        bytes--;
    }
    decimal->exponent += passed;
    decimal->digits = text;
    decimal->count = 0;
    for (size_t i = 0; i < bytes; i++) {
        decimal->count += text[i] != '.';
    }
}

static int
parse(const char *text, size_t bytes, struct decimal *decimal)
{
    *decimal = (struct decimal){.negative = bytes > 0 && text[0] == '-'};
    if (decimal->negative) {
        text++;
        bytes--;
    }
    size_t whole = digit_run(text, bytes);
    size_t mantissa = whole;
    if (whole == 0 || (whole > 1 && text[0] == '0')) {
        return -EINVAL;
    }
    if (mantissa < bytes && text[mantissa] == '.') {
        size_t fraction = digit_run(text + whole + 1, bytes - whole - 1);
        if (fraction == 0) {
            return -EINVAL;
        }
        mantissa = whole + 1 + fraction;
        decimal->exponent = -(int64_t)fraction;
    }
    if (mantissa < bytes) {
        int64_t exponent;
        if ((text[mantissa] | 0x20) != 'e' ||
            parse_exponent(text + mantissa + 1, bytes - mantissa - 1, &exponent) != 0) {
            return -EINVAL;
        }
        decimal->exponent += exponent;
    }
    trim(decimal, text, mantissa);
    return 0;
}

/* The first count digits times 10^exponent. Returns 0 or -ERANGE. */
static int
scale(const struct decimal *decimal, size_t count, int64_t exponent, uint64_t *value)
{
    uint64_t v = 0;
    const char *digit = decimal->digits;
    for (size_t i = 0; i < count; i++, digit++) {
        if (*digit == '.') {
            digit++;
        }
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*digit - '0'), &v)) {
            return -ERANGE;
        }
    }
    /* v is not 0 where there are digits: the loop ends by overflow after at most 20 rounds. */
    for (; v != 0 && exponent > 0; exponent--) {
        if (__builtin_mul_overflow(v, 10, &v)) {
            return -ERANGE;
        }
    }
    *value = v;
    return 0;
}

int
ns_json_u64(const char *text, size_t bytes, uint64_t *value)
{
    struct decimal decimal;
    int rc = parse(text, bytes, &decimal);
    if (rc != 0) {
        return rc;
    }
    if (decimal.count == 0) {
        *value = 0;
        return 0;
    }
    if (decimal.exponent < 0) {
        return -EINVAL;
    }
    return decimal.negative ? -ERANGE : scale(&decimal, decimal.count, decimal.exponent, value);
}

/* The digit at index, the point left out. */
static char
digit_at(const struct decimal *decimal, size_t index)
{
    for (size_t i = 0;; i++) {
        if (decimal->digits[i] == '.') {
            index++;
        }
        if (i == index) {
            return decimal->digits[i];
        }
    }
}

/* Whether what comes after the first kept digits rounds away from zero, to even at one half. */
static bool
rounds_up(const struct decimal *decimal, size_t kept, bool odd)
{
    char first = digit_at(decimal, kept);
    if (first != '5') {
        return first > '5';
    }
    /* The last digit is not 0, so any digit after the 5 makes it more than half. */
    return decimal->count > kept + 1 || odd;
}

int
ns_json_nano(const char *text, size_t bytes, int64_t *value)
{
    struct decimal decimal;
    uint64_t v = 0;
    int rc = parse(text, bytes, &decimal);
    if (rc != 0) {
        return rc;
    }
    int64_t exponent = decimal.exponent + 9;
    int64_t whole = (int64_t)decimal.count + exponent; /* digits before the point */
    if (decimal.count > 0 && whole >= 0) {
        size_t kept = exponent < 0 ? (size_t)whole : decimal.count;
        rc = scale(&decimal, kept, exponent, &v);
        if (rc != 0) {
            return rc;
        }
        if (kept < decimal.count && rounds_up(&decimal, kept, v & 1) &&
            __builtin_add_overflow(v, 1, &v)) {
            return -ERANGE;
        }
    }
    uint64_t bound = (uint64_t)INT64_MAX + decimal.negative;
    if (v > bound) {
        return -ERANGE;
    }
    *value = decimal.negative ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}
