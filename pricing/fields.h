/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of a record: what a number, a date and a time look like. Nothing else is taken. */
#ifndef NS_PRICING_FIELDS_H
#define NS_PRICING_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

/* "-" */
bool ns_price_is_none(const char *field);

/* A plain decimal of at most 19 digits, without sign, least <= *number <= most. */
bool ns_price_read_number(const char *field, uint64_t least, uint64_t most, uint64_t *number);

/* YYYY-MM-DD, 2000 to 2999, as the second at which that day begins in UTC. */
bool ns_price_read_date(const char *field, int64_t *unix_s);

/* HH:MM:SS, as a second of the day. */
bool ns_price_read_time(const char *field, int32_t *second);

/* To lower case, in place. */
void ns_price_lower_text(char *text);

#endif
