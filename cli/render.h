/* SPDX-License-Identifier: Apache-2.0 */
/* Query results for people (aligned tables), for programs (JSON) and for spreadsheets (CSV). */
#ifndef NS_CLI_RENDER_H
#define NS_CLI_RENDER_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum ns_format { NS_FORMAT_TABLE, NS_FORMAT_JSON, NS_FORMAT_CSV };

/* Where a table goes: columns of the terminal (0: no terminal, nothing is cut) and colours. */
struct ns_screen {
    size_t columns;
    bool colour;
};

/* The screen that a stream is: a terminal's width; colours unless NO_COLOR is set. */
struct ns_screen ns_screen_of(FILE *stream);

/*
 * A table: headings are the column names, numbers stand right, NULL is "-"; numerics are amounts,
 * whose points stand below one another. Where the screen is narrower than the table, the widest
 * texts are cut, with "…"; columns that have no room even so are left out from the last one, and
 * that is said. Ids, moments and numbers are never cut. Characters that could command a terminal
 * are shown as "?".
 */
void ns_render_table(FILE *stream, const PGresult *result, struct ns_screen screen);

/* One array of objects, a row a line; numbers, truth, NULL and JSON columns as such, moments as
 * "2026-01-31T12:00:00.5Z" (the session's time zone is UTC). */
void ns_render_json(FILE *stream, const PGresult *result);

/* RFC 4180 with a heading. Texts that a spreadsheet would run as a formula get a "'" before them.
 */
void ns_render_csv(FILE *stream, const PGresult *result);

void ns_render(FILE *stream, const PGresult *result, enum ns_format format);

/* Writes text as a JSON string, quotes included. */
void ns_render_json_string(FILE *stream, const char *text);

#endif
