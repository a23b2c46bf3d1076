/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/revenue_rows.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/money.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/csv.h"

#define ID_BYTES_MAX 256
#define HEADING_FORM "the first line must be customer,date,amount[,currency][,id][,amount_usd]"

enum column { CUSTOMER, DATE, AMOUNT, CURRENCY, ID, AMOUNT_USD, COLUMN_COUNT };

static const struct {
    const char *name;
    bool required;
} columns[COLUMN_COUNT] = {
    [CUSTOMER] = {"customer", true},  [DATE] = {"date", true}, [AMOUNT] = {"amount", true},
    [CURRENCY] = {"currency", false}, [ID] = {"id", false},    [AMOUNT_USD] = {"amount_usd", false},
};

struct reading {
    struct ns_csv csv;
    int place[COLUMN_COUNT]; /* of each column in a row; -1: not there */
    size_t field_count;
    size_t bad;
    void (*complain)(void *context, size_t line, const char *why);
    void *context;
};

static void
complain(struct reading *reading, size_t line, const char *why)
{
    reading->bad++;
    reading->complain(reading->context, line, why);
}

/* --- the heading ------------------------------------------------------------------------------ */

static int
find_column(const char *name)
{
    for (int c = 0; c < COLUMN_COUNT; c++) {
        if (strcmp(columns[c].name, name) == 0) {
            return c;
        }
    }
    return -1;
}

/* Tells what is wrong; returns whether the heading is good. */
static bool
read_heading(struct reading *reading, const struct ns_csv_row *row)
{
    char why[256];
    for (int c = 0; c < COLUMN_COUNT; c++) {
        reading->place[c] = -1;
    }
    for (size_t i = 0; i < row->count; i++) {
        int column = find_column(row->field[i]);
        if (column < 0 || reading->place[column] >= 0) {
            const char *name = row->field[i];
            bool shown =
                name[0] != '\0' && strlen(name) <= 64 && ns_utf8_is_text(name, strlen(name));
            snprintf(why, sizeof why, "%s; %s column%s%s", HEADING_FORM,
                     column < 0 ? "there is no such" : "there are two of", shown ? " " : "",
                     shown ? name : "");
            complain(reading, row->line, why);
            return false;
        }
        reading->place[column] = (int)i;
    }
    for (int c = 0; c < COLUMN_COUNT; c++) {
        if (columns[c].required && reading->place[c] < 0) {
            snprintf(why, sizeof why, "%s; %s is missing", HEADING_FORM, columns[c].name);
            complain(reading, row->line, why);
            return false;
        }
    }
    reading->field_count = row->count;
    return true;
}

/* --- the rows --------------------------------------------------------------------------------- */

static const char *
check_customer(const char *customer)
{
    size_t bytes = strlen(customer);
    if (bytes == 0) {
        return "no customer";
    }
    if (bytes > NS_LABEL_BYTES_MAX) {
        return "the customer has more than 128 bytes";
    }
    if (customer[0] == ' ' || customer[bytes - 1] == ' ') {
        return "the customer has blanks around it";
    }
    return ns_utf8_is_text(customer, bytes)
               ? NULL
               : "the customer is not UTF-8 text without control characters";
}

static const char *
check_id(const char *id)
{
    if (strlen(id) > ID_BYTES_MAX) {
        return "the id has more than 256 bytes";
    }
    return ns_utf8_is_text(id, strlen(id)) ? NULL
                                           : "the id is not UTF-8 text without control characters";
}

/* YYYY-MM-DD, a day of the Gregorian calendar. */
static const char *
check_date(const char *date)
{
    static const char wrong[] = "the date is not a day written as YYYY-MM-DD";
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    static const char form[] = "0000-00-00";
    for (size_t i = 0; i < sizeof form; i++) {
        bool good = form[i] == '0' ? date[i] >= '0' && date[i] <= '9' : date[i] == form[i];
        if (!good) {
            return wrong;
        }
    }
    int year =
        (date[0] - '0') * 1000 + (date[1] - '0') * 100 + (date[2] - '0') * 10 + date[3] - '0';
    int month = (date[5] - '0') * 10 + date[6] - '0';
    int day = (date[8] - '0') * 10 + date[9] - '0';
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1900 || month < 1 || month > 12) {
        return wrong;
    }
    return day >= 1 && day <= days[month - 1] + (month == 2 && leap ? 1 : 0) ? NULL : wrong;
}

static const char *
check_amount(const char *amount)
{
    int64_t nanousd;
    switch (ns_money_parse(amount, strlen(amount), &nanousd)) {
    case 0:
        /* One beyond what can be turned around. */
        return nanousd == INT64_MIN ? "the amount is too large" : NULL;
    case -EDOM:
        return "the amount has more than 9 decimal places";
    case -ERANGE:
        return "the amount is too large";
    default:
        return "the amount is not a decimal number like 25 or -0.5";
    }
}

static const char *
check_currency(const struct ns_revenue_row *row)
{
    if (strlen(row->currency) != 3 || strspn(row->currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3) {
        return "the currency is not a code of three capital letters";
    }
    if (row->amount_usd == NULL) {
        return "not in USD: give its dollars in a column amount_usd (no exchange rates are kept)";
    }
    return NULL;
}

static const char *
check_dollars(const struct ns_revenue_row *row)
{
    int64_t amount, dollars;
    const char *why = check_amount(row->amount_usd);
    if (why != NULL) {
        return why;
    }
    ns_money_parse(row->amount, strlen(row->amount), &amount);
    ns_money_parse(row->amount_usd, strlen(row->amount_usd), &dollars);
    return strcmp(row->currency, "USD") == 0 && amount != dollars
               ? "amount_usd of an amount in USD is another amount"
               : NULL;
}

static const char *
check_row(const struct ns_revenue_row *row)
{
    const char *why = check_customer(row->customer);
    why = why != NULL ? why : check_date(row->date);
    why = why != NULL ? why : check_amount(row->amount);
    why = why != NULL ? why : check_currency(row);
    why = why != NULL ? why : check_dollars(row);
    return why != NULL || row->id == NULL ? why : check_id(row->id);
}

/* The field of a column, NULL where the column or its value is not there. */
static const char *
field(const struct reading *reading, const struct ns_csv_row *row, enum column column)
{
    int place = reading->place[column];
    return place < 0 || row->field[place][0] == '\0' ? NULL : row->field[place];
}

static void
read_row(const struct reading *reading, const struct ns_csv_row *from, struct ns_revenue_row *row)
{
    *row = (struct ns_revenue_row){
        .customer = from->field[reading->place[CUSTOMER]],
        .date = from->field[reading->place[DATE]],
        .amount = from->field[reading->place[AMOUNT]],
        .currency = field(reading, from, CURRENCY),
        .amount_usd = field(reading, from, AMOUNT_USD),
        .id = field(reading, from, ID),
        .line = from->line,
    };
    row->currency = row->currency != NULL ? row->currency : "USD";
    if (row->amount_usd == NULL && strcmp(row->currency, "USD") == 0) {
        row->amount_usd = row->amount;
    }
}

/* --- ids -------------------------------------------------------------------------------------- */

static int
by_id(const void *a, const void *b)
{
    const struct ns_revenue_row *left = a, *right = b;
    if (left->id == NULL || right->id == NULL) {
        return (left->id == NULL) - (right->id == NULL);
    }
    int order = strcmp(left->id, right->id);
    order = order != 0 ? order : strcmp(left->customer, right->customer);
    return order != 0 ? order : (left->line > right->line) - (left->line < right->line);
}

/* An id names one row of a customer. Sorts the rows. */
static void
check_ids(struct reading *reading, struct ns_revenue_rows *rows)
{
    qsort(rows->row, rows->count, sizeof *rows->row, by_id);
    for (size_t i = 1; i < rows->count; i++) {
        const struct ns_revenue_row *one = &rows->row[i - 1], *two = &rows->row[i];
        if (one->id != NULL && two->id != NULL && strcmp(one->id, two->id) == 0 &&
            strcmp(one->customer, two->customer) == 0) {
            char why[128];
            snprintf(why, sizeof why, "the id is that of line %zu too", one->line);
            complain(reading, two->line, why);
        }
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool
add(struct ns_revenue_rows *rows, size_t *room, const struct ns_revenue_row *row)
{
    if (rows->count == *room) {
        size_t more = *room == 0 ? 64 : 2 * *room;
        struct ns_revenue_row *grown = realloc(rows->row, more * sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        rows->row = grown;
        *room = more;
    }
    rows->row[rows->count++] = *row;
    return true;
}

static void
read_rows(struct reading *reading, struct ns_revenue_rows *rows)
{
    struct ns_csv_row from;
    size_t room = 0;
    int got;
    while ((got = ns_csv_next(&reading->csv, &from)) != 0) {
        struct ns_revenue_row row;
        if (got < 0) {
            complain(reading, reading->csv.why_line, reading->csv.why);
            continue;
        }
        if (from.count != reading->field_count) {
            complain(reading, from.line, "another number of fields than the first line");
            continue;
        }
        read_row(reading, &from, &row);
        const char *why = check_row(&row);
        if (why != NULL) {
            complain(reading, from.line, why);
        } else if (!add(rows, &room, &row)) {
            complain(reading, from.line, strerror(ENOMEM));
            return;
        }
    }
}

size_t
ns_revenue_read(char *text, size_t bytes, struct ns_revenue_rows *rows,
                void (*tell)(void *context, size_t line, const char *why), void *context)
{
    struct reading reading = {.complain = tell, .context = context};
    struct ns_csv_row row;
    *rows = (struct ns_revenue_rows){NULL, 0};
    ns_csv_start(&reading.csv, text, bytes);
    int got = ns_csv_next(&reading.csv, &row);
    if (got <= 0) {
        complain(&reading, got < 0 ? reading.csv.why_line : 1,
                 got < 0 ? reading.csv.why : "the file is empty");
        return reading.bad;
    }
    if (!read_heading(&reading, &row)) {
        return reading.bad;
    }
    read_rows(&reading, rows);
    if (reading.bad == 0 && rows->count > 0) {
        check_ids(&reading, rows);
    }
    return reading.bad;
}
