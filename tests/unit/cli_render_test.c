/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/render.h"

#include <locale.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "tests/harness.h"

enum {
    BOOL = 16,
    INT8 = 20,
    TEXT = 25,
    TIMESTAMP = 1114,
    MOMENT = 1184,
    NUMERIC = 1700,
    UUID = 2950,
    JSONB = 3802,
};

struct column {
    const char *name;
    Oid type;
};

/* A result as a server would send it; cells row by row, NULL for NULL. */
static PGresult *
result_of(const struct column *columns, int column_count, const char *const *cells, int rows)
{
    PGresAttDesc attributes[8] = {0};
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    for (int c = 0; c < column_count; c++) {
        attributes[c].name = (char *)(uintptr_t)columns[c].name;
        attributes[c].typid = columns[c].type;
    }
    PQsetResultAttrs(result, column_count, attributes);
    for (int i = 0; i < rows * column_count; i++) {
        const char *cell = cells[i];
        PQsetvalue(result, i / column_count, i % column_count, (char *)(uintptr_t)cell,
                   cell != NULL ? (int)strlen(cell) : -1);
    }
    return result;
}

static char *rendered;
static size_t rendered_bytes;

static FILE *
open_text(void)
{
    free(rendered);
    rendered = NULL;
    return open_memstream(&rendered, &rendered_bytes);
}

static const char *
as_table(const PGresult *result, size_t columns, bool colour)
{
    FILE *stream = open_text();
    ns_render_table(stream, result, (struct ns_screen){columns, colour});
    fclose(stream);
    return rendered;
}

static const char *
as(const PGresult *result, enum ns_format format)
{
    FILE *stream = open_text();
    ns_render(stream, result, format);
    fclose(stream);
    return rendered;
}

static const struct column columns[] = {{"customer", TEXT}, {"cost_usd", NUMERIC}, {"calls", INT8}};
static const char *const cells[] = {"acme", "12.5", "3", "größe 日本", NULL, "1234567"};

TEST(tables_are_aligned_with_numbers_to_the_right)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    PGresult *result = result_of(columns, 3, cells, 2);
    CHECK_STR(as_table(result, 0, false), "customer    cost_usd    calls\n"
                                          "acme           12.50        3\n"
                                          "größe 日本         -  1234567\n");
    CHECK_STR(as_table(result, 0, true), "\x1b[1mcustomer    cost_usd    calls\x1b[0m\n"
                                         "acme           12.50        3\n"
                                         "größe 日本         -  1234567\n");
    PQclear(result);
}

TEST(points_of_amounts_stand_below_one_another)
{
    static const struct column two[] = {{"name", TEXT}, {"usd", NUMERIC}};
    static const char *const values[] = {"a", "250", "b", "-0.000015", "c", NULL, "d", "NaN"};
    PGresult *result = result_of(two, 2, values, 4);
    CHECK_STR(as_table(result, 0, false), "name         usd\n"
                                          "a     250.000000\n"
                                          "b      -0.000015\n"
                                          "c              -\n"
                                          "d            NaN\n");
    PQclear(result);
    result = result_of(two, 2, values, 1);
    CHECK_STR(as_table(result, 0, false), "name     usd\na     250.00\n");
    PQclear(result);
}

TEST(a_table_wider_than_the_screen_cuts_its_widest_texts_and_no_numbers)
{
    static const struct column wide[] = {{"name", TEXT}, {"n", INT8}, {"last", TEXT}};
    static const char *const long_cells[] = {"abcdefghijklmnopqrstuvwxyz", "123456789012", "end"};
    setlocale(LC_CTYPE, "C.UTF-8");
    PGresult *result = result_of(wide, 3, long_cells, 1);
    CHECK_STR(as_table(result, 40, false), "name                             n  last\n"
                                           "abcdefghijklmnopqrs…  123456789012  end\n");
    PQclear(result);
}

TEST(columns_without_room_are_left_out_and_that_is_said)
{
    static const struct column wide[] = {
        {"moment", TIMESTAMP}, {"id", UUID}, {"name", TEXT}, {"n", INT8}};
    static const char *const values[] = {"2026-11-24 02:03:04",
                                         "01a21abc-d81d-7d36-a010-ec604b3d6109",
                                         "abcdefghijklmnopqrstuvwxyz", "7"};
    setlocale(LC_CTYPE, "C.UTF-8");
    PGresult *result = result_of(wide, 4, values, 1);
    CHECK_STR(as_table(result, 75, false),
              "moment               id                                    name\n"
              "2026-11-24 02:03:04  01a21abc-d81d-7d36-a010-ec604b3d6109  abcdefghijklmno…\n"
              "(no room for n)\n");
    CHECK_STR(as_table(result, 74, false),
              "moment               id\n"
              "2026-11-24 02:03:04  01a21abc-d81d-7d36-a010-ec604b3d6109\n"
              "(no room for name, n)\n");
    CHECK_STR(as_table(result, 1, false), "moment\n"
                                          "2026-11-24 02:03:04\n"
                                          "(no room for id, name, n)\n");
    PQclear(result);
}

TEST(nothing_in_a_table_can_command_a_terminal)
{
    static const struct column one[] = {{"name", TEXT}, {"x", TEXT}};
    static const char *const evil[] = {"a\x1b[2Jb\nc", "\xff\xc2\x9b"};
    setlocale(LC_CTYPE, "C.UTF-8");
    PGresult *result = result_of(one, 2, evil, 1);
    CHECK_STR(as_table(result, 0, false), "name      x\n"
                                          "a?[2Jb?c  ??\n");
    PQclear(result);
}

TEST(json_has_the_types_of_the_columns)
{
    static const struct column typed[] = {{"t", TEXT},    {"n", NUMERIC},  {"i", INT8},
                                          {"b", BOOL},    {"j", JSONB},    {"m", MOMENT},
                                          {"none", TEXT}, {"nan", NUMERIC}};
    static const char *const values[] = {"a\"b\\c\nd\x7f",
                                         "0.000000001",
                                         "9223372036854775807",
                                         "t",
                                         "{\"k\": [1]}",
                                         "2026-11-24 02:03:04.5+00",
                                         NULL,
                                         "NaN",
                                         "",
                                         "-5",
                                         "0",
                                         "f",
                                         "null",
                                         "infinity",
                                         NULL,
                                         "1"};
    PGresult *result = result_of(typed, 8, values, 2);
    CHECK_STR(as(result, NS_FORMAT_JSON),
              "[{\"t\": \"a\\\"b\\\\c\\u000ad\\u007f\", \"n\": 0.000000001, \"i\": "
              "9223372036854775807, \"b\": true, \"j\": {\"k\": [1]}, \"m\": "
              "\"2026-11-24T02:03:04.5Z\", \"none\": null, \"nan\": null},\n"
              " {\"t\": \"\", \"n\": -5, \"i\": 0, \"b\": false, \"j\": null, \"m\": \"infinity\", "
              "\"none\": null, \"nan\": 1}]\n");
    PQclear(result);
    result = result_of(typed, 8, values, 0);
    CHECK_STR(as(result, NS_FORMAT_JSON), "[]\n");
    PQclear(result);
}

TEST(csv_quotes_where_needed_and_disarms_formulas)
{
    static const struct column two[] = {{"name", TEXT}, {"n", NUMERIC}};
    static const char *const values[] = {"a,b", "-1", "say \"x\"", "2",   "=1+1", "3",
                                         "-x",  NULL, "plain",     "4.0", "",     "5"};
    PGresult *result = result_of(two, 2, values, 6);
    CHECK_STR(as(result, NS_FORMAT_CSV), "name,n\n\"a,b\",-1\n\"say \"\"x\"\"\",2\n\"'=1+1\",3\n"
                                         "\"'-x\",\nplain,4.0\n,5\n");
    PQclear(result);
}

TEST(the_collectors_json_is_looked_into_by_path)
{
    static const char json[] =
        "{\"version\":\"0.1.0\",\"skip\":{\"pid\":\"}\\\"\",\"a\":[1,{\"b\":2}]},"
        "\"pid\": 42 ,\"postgres\":{\"connected\":true,\"lag_s\":0.25,\"none\":null},"
        "\"url\":\"a\\/b\\\\c\"}";
    static const struct {
        const char *path, *value;
    } known[] = {{"version", "0.1.0"},           {"pid", "42"},
                 {"postgres.connected", "true"}, {"postgres.lag_s", "0.25"},
                 {"skip.a", "[1,{\"b\":2}]"},    {"url", "a/b\\c"}};
    char value[64];
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        CHECK(ns_json_get(json, known[i].path, value, sizeof value));
        CHECK_STR(value, known[i].value);
    }
    static const char *const unknown[] = {"nothing", "postgres.none", "postgres.pid", "pid.x", ""};
    for (size_t i = 0; i < 4; i++) {
        CHECK(!ns_json_get(json, unknown[i], value, sizeof value));
    }
    CHECK(!ns_json_get(json, "version", value, 5));
    /* Every cut of it is survived. */
    for (size_t cut = 0; cut < sizeof json - 2; cut++) {
        char *part = strndup(json, cut);
        CHECK(!ns_json_get(part, "url", value, sizeof value));
        free(part);
    }
}

TEST(spans_of_time_are_read_as_documented)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } good[] = {{"90s", 90}, {"15m", 900}, {"1h", 3600}, {"30d", 2592000}, {"2w", 1209600}};
    static const char *const bad[] = {"",   "h",   "1",   "0h",   "-1h",
                                      "1y", "1 h", "1hh", "1.5h", "99999999999999999999d"};
    int64_t seconds;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        CHECK_INT(ns_span_parse(good[i].text, &seconds), 0);
        CHECK_INT(seconds, good[i].seconds);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(ns_span_parse(bad[i], &seconds) != 0);
    }
}
