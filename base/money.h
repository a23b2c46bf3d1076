/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Money is an int64 of nano-dollars: 1 USD = 1,000,000,000, largest amount about 9.2 billion USD.
 * No float ever touches it.
 */
#ifndef NS_BASE_MONEY_H
#define NS_BASE_MONEY_H

#include <stddef.h>
#include <stdint.h>

#define NS_NANOUSD_PER_USD INT64_C(1000000000)

/* Room for any amount as text: sign, 10 digits, point, 9 digits, NUL. */
#define NS_MONEY_TEXT_BYTES 24

/*
 * Reads a decimal amount of dollars ("12", "0.5", "-3.000000001"): optional sign, at least one
 * digit before the point, 1 to 9 places after it. Neither exponent, blanks, currency signs nor
 * thousands separators are taken.
 * Returns 0; -EINVAL not a number of this form; -EDOM more than 9 places; -ERANGE out of int64.
 */
int ns_money_parse(const char *text, size_t text_bytes, int64_t *nanousd);

/* Writes all 9 places ("12.500000000"); exact. Returns the length without NUL. */
size_t ns_money_format(int64_t nanousd, char text[static NS_MONEY_TEXT_BYTES]);

/* Writes at least two places and no trailing zeros after them ("12.50", "0.000015"): for people. */
size_t ns_money_format_short(int64_t nanousd, char text[static NS_MONEY_TEXT_BYTES]);

/* a + b, held at INT64_MAX or INT64_MIN instead of wrapping. */
int64_t ns_money_add(int64_t a, int64_t b);

#endif
