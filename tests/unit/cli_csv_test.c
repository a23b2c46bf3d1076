/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/csv.h"

#include <errno.h>

#include "cli/revenue_rows.h"
#include "tests/harness.h"

static char text[1 << 20];

static void
start(struct ns_csv *csv, const char *literal, size_t bytes)
{
    memcpy(text, literal, bytes);
    ns_csv_start(csv, text, bytes);
}
#define START(csv, literal) start(csv, literal, sizeof(literal) - 1)

/* The rows of a text as one line: fields in brackets, rows apart by blanks, errors by line. */
static const char *
all_rows(struct ns_csv *csv)
{
    static char said[4096];
    struct ns_csv_row row;
    size_t used = 0;
    said[0] = '\0';
    for (int got; (got = ns_csv_next(csv, &row)) != 0;) {
        if (got < 0) {
            used += (size_t)snprintf(said + used, sizeof said - used, "!%zu ", csv->why_line);
            continue;
        }
        used += (size_t)snprintf(said + used, sizeof said - used, "%zu", row.line);
        for (size_t i = 0; i < row.count; i++) {
            used += (size_t)snprintf(said + used, sizeof said - used, "[%s]", row.field[i]);
        }
        used += (size_t)snprintf(said + used, sizeof said - used, " ");
    }
    return said;
}

TEST(fields_and_lines_are_told_apart)
{
    struct ns_csv csv;
    START(&csv, "a,b\nc,\r\n,\n\n\r\nd");
    CHECK_STR(all_rows(&csv), "1[a][b] 2[c][] 3[][] 6[d] ");
    START(&csv, "");
    CHECK_STR(all_rows(&csv), "");
    START(&csv, "a\r");
    CHECK_STR(all_rows(&csv), "1[a] ");
    START(&csv, "\xef\xbb\xbf"
                "a,b");
    CHECK_STR(all_rows(&csv), "1[a][b] ");
}

TEST(quoted_fields_hold_commas_quotes_and_line_ends)
{
    struct ns_csv csv;
    START(&csv, "\"a,b\",\"c\"\"d\",\"\"\n\"two\nlines\",x\nnext");
    CHECK_STR(all_rows(&csv), "1[a,b][c\"d][] 2[two\nlines][x] 4[next] ");
}

TEST(what_is_malformed_is_named_by_line_and_reading_goes_on)
{
    struct ns_csv csv;
    START(&csv, "a\nb\"c\nd\n\"e\"f,g\nh\n\"never closed\n\n");
    CHECK_STR(all_rows(&csv), "1[a] !2 3[d] !4 5[h] !6 ");
    START(&csv, "a\nb\rc\nd");
    CHECK_STR(all_rows(&csv), "1[a] !2 3[d] ");
    START(&csv, "a\0b\nc");
    CHECK_STR(all_rows(&csv), "!1 2[c] ");
}

TEST(fields_are_bounded_in_number_and_length)
{
    struct ns_csv csv;
    struct ns_csv_row row;
    static char many[2 * NS_CSV_FIELD_BYTES_MAX];
    memset(many, ',', sizeof many);
    start(&csv, many, NS_CSV_FIELDS_MAX - 1);
    CHECK_INT(ns_csv_next(&csv, &row), 1);
    CHECK_INT(row.count, NS_CSV_FIELDS_MAX);
    start(&csv, many, NS_CSV_FIELDS_MAX);
    CHECK_INT(ns_csv_next(&csv, &row), -EBADMSG);
    memset(many, 'x', sizeof many);
    start(&csv, many, NS_CSV_FIELD_BYTES_MAX);
    CHECK_INT(ns_csv_next(&csv, &row), 1);
    start(&csv, many, NS_CSV_FIELD_BYTES_MAX + 1);
    CHECK_INT(ns_csv_next(&csv, &row), -EBADMSG);
}

/* --- revenue ---------------------------------------------------------------------------------- */

static char complaints[4096];

static void
note(void *context, size_t line, const char *why)
{
    size_t used = strlen(complaints);
    (void)context;
    snprintf(complaints + used, sizeof complaints - used, "%zu: %s\n", line, why);
}

static size_t
read_revenue(const char *file, struct ns_revenue_rows *rows)
{
    size_t bytes = strlen(file);
    memcpy(text, file, bytes);
    complaints[0] = '\0';
    return ns_revenue_read(text, bytes, rows, note, NULL);
}

TEST(revenue_is_read_with_columns_in_any_order)
{
    struct ns_revenue_rows rows;
    CHECK_INT(
        read_revenue("id,amount,date,customer\n1,-0.5,2024-02-29,acme\n,3,2026-01-31,b\n", &rows),
        0);
    REQUIRE(rows.count == 2);
    CHECK_STR(rows.row[0].id, "1");
    CHECK_STR(rows.row[0].amount, "-0.5");
    CHECK_STR(rows.row[0].amount_usd, "-0.5");
    CHECK_STR(rows.row[0].currency, "USD");
    CHECK_STR(rows.row[0].customer, "acme");
    CHECK(rows.row[1].id == NULL);
    free(rows.row);
    CHECK_INT(
        read_revenue("customer,date,amount,currency,amount_usd\na,2026-01-31,9,EUR,10.1\n", &rows),
        0);
    REQUIRE(rows.count == 1);
    CHECK_STR(rows.row[0].amount_usd, "10.1");
    free(rows.row);
}

TEST(every_bad_row_of_revenue_is_named_by_its_line)
{
    static const struct {
        const char *row, *why;
    } bad[] = {
        {",2026-01-31,1,USD,", "no customer"},
        {" a,2026-01-31,1,USD,", "the customer has blanks around it"},
        {"a,2026-02-29,1,USD,", "the date is not a day written as YYYY-MM-DD"},
        {"a,2026-13-01,1,USD,", "the date is not a day written as YYYY-MM-DD"},
        {"a,2026-00-01,1,USD,", "the date is not a day written as YYYY-MM-DD"},
        {"a,2026-01-00,1,USD,", "the date is not a day written as YYYY-MM-DD"},
        {"a,2026-1-31,1,USD,", "the date is not a day written as YYYY-MM-DD"},
        {"a,2026-01-311,1,USD,", "the date is not a day written as YYYY-MM-DD"},
        {"a,1900-02-29,1,USD,", "the date is not a day written as YYYY-MM-DD"},
        {"a,2026-01-31,,USD,", "the amount is not a decimal number like 25 or -0.5"},
        {"a,2026-01-31,1e3,USD,", "the amount is not a decimal number like 25 or -0.5"},
        {"a,2026-01-31,$1,USD,", "the amount is not a decimal number like 25 or -0.5"},
        {"a,2026-01-31,\"1,000\",USD,", "the amount is not a decimal number like 25 or -0.5"},
        {"a,2026-01-31,NaN,USD,", "the amount is not a decimal number like 25 or -0.5"},
        {"a,2026-01-31,0.0000000001,USD,", "the amount has more than 9 decimal places"},
        {"a,2026-01-31,9223372037,USD,", "the amount is too large"},
        {"a,2026-01-31,1,usd,", "the currency is not a code of three capital letters"},
        {"a,2026-01-31,1,EUR,",
         "not in USD: give its dollars in a column amount_usd (no exchange rates are kept)"},
        {"a,2026-01-31,1,USD", "another number of fields than the first line"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char file[512], expected[256];
        struct ns_revenue_rows rows;
        snprintf(file, sizeof file, "customer,date,amount,currency,id\na,2026-01-31,1,USD,1\n%s\n",
                 bad[i].row);
        snprintf(expected, sizeof expected, "3: %s\n", bad[i].why);
        CHECK_INT(read_revenue(file, &rows), 1);
        CHECK_STR(complaints, expected);
        free(rows.row);
    }
}

TEST(an_id_names_one_row_of_a_customer)
{
    struct ns_revenue_rows rows;
    CHECK_INT(read_revenue("customer,date,amount,id\na,2026-01-31,1,x\nb,2026-01-31,1,x\n"
                           "a,2026-01-31,1,y\na,2026-01-31,2,x\n",
                           &rows),
              1);
    CHECK_STR(complaints, "5: the id is that of line 2 too\n");
    free(rows.row);
}

TEST(a_heading_that_is_not_the_documented_one_is_refused)
{
    static const char *const bad[] = {
        "",
        "customer,date\na,2026-01-31\n",
        "customer,date,amount,amount\n",
        "customer,date,amount,colour\n",
        "acme,2026-01-31,1\n",
        "Customer,Date,Amount\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct ns_revenue_rows rows;
        CHECK_INT(read_revenue(bad[i], &rows), 1);
        CHECK(complaints[0] == '1');
        free(rows.row);
    }
}
