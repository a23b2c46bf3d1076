/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a revenue file, read and checked. */
#ifndef NS_CLI_REVENUE_ROWS_H
#define NS_CLI_REVENUE_ROWS_H

#include <stddef.h>

/* Texts point into the file's text. */
struct ns_revenue_row {
    const char *customer;
    const char *date;       /* YYYY-MM-DD, a day that there is */
    const char *amount;     /* a decimal with at most 9 places */
    const char *currency;   /* three capital letters */
    const char *amount_usd; /* likewise */
    const char *id;         /* NULL: none */
    size_t line;
};

struct ns_revenue_rows {
    struct ns_revenue_row *row; /* from malloc */
    size_t count;
};

/*
 * Reads a file's text (room for one byte behind it): a heading of the columns customer, date and
 * amount, and optionally currency, id and amount_usd, in any order, then the rows. Amounts in other
 * currencies than USD need amount_usd: NullSpend keeps no exchange rates. What is wrong is told to
 * complain, by line. Returns how many rows are wrong.
 */
size_t ns_revenue_read(char *text, size_t bytes, struct ns_revenue_rows *rows,
                       void (*complain)(void *context, size_t line, const char *why),
                       void *context);

#endif
