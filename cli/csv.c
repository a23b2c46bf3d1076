/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/csv.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

void
ns_csv_start(struct ns_csv *csv, char *text, size_t bytes)
{
    bool marked = bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;
    *csv = (struct ns_csv){.at = text + (marked ? 3 : 0), .end = text + bytes, .line = 1};
    text[bytes] = '\0';
}

static void
refuse(struct ns_csv *csv, size_t line, const char *why)
{
    if (csv->why == NULL) {
        csv->why = why;
        csv->why_line = line;
    }
}

static bool
is_line_end(const struct ns_csv *csv, const char *at)
{
    return at == csv->end || *at == '\n' || (*at == '\r' && at + 1 < csv->end && at[1] == '\n') ||
           (*at == '\r' && at + 1 == csv->end);
}

/* Past the line end at csv->at. */
static void
pass_line_end(struct ns_csv *csv)
{
    if (csv->at < csv->end && *csv->at == '\r') {
        csv->at++;
    }
    if (csv->at < csv->end && *csv->at == '\n') {
        csv->at++;
    }
    csv->line++;
}

/* Reads a quoted field, at its first quote. Returns the field, unquoted in place. */
static char *
read_quoted(struct ns_csv *csv, size_t *bytes)
{
    char *start = csv->at, *to = start;
    size_t line = csv->line;
    for (csv->at++; csv->at < csv->end; csv->at++) {
        if (*csv->at == '"') {
            if (csv->at + 1 < csv->end && csv->at[1] == '"') {
                csv->at++;
            } else {
                csv->at++;
                *bytes = (size_t)(to - start);
                return start;
            }
        }
        if (*csv->at == '\n') {
            csv->line++;
        }
        *to++ = *csv->at;
    }
    refuse(csv, line, "a quote is not closed");
    *bytes = (size_t)(to - start);
    return start;
}

static char *
read_plain(struct ns_csv *csv, size_t *bytes)
{
    char *start = csv->at;
    while (!is_line_end(csv, csv->at) && *csv->at != ',') {
        if (*csv->at == '"') {
            refuse(csv, csv->line, "a quote inside a field that is not quoted");
        } else if (*csv->at == '\r') {
            refuse(csv, csv->line, "a carriage return inside a field");
        }
        csv->at++;
    }
    *bytes = (size_t)(csv->at - start);
    return start;
}

/* Reads one field. Returns its end, where a NUL goes once what stands there has been passed. */
static char *
read_field(struct ns_csv *csv, struct ns_csv_row *row)
{
    size_t bytes;
    bool quoted = csv->at < csv->end && *csv->at == '"';
    char *field = quoted ? read_quoted(csv, &bytes) : read_plain(csv, &bytes);
    if (quoted && !is_line_end(csv, csv->at) && *csv->at != ',') {
        refuse(csv, csv->line, "text behind a closing quote");
        size_t rest;
        read_plain(csv, &rest);
    }
    if (bytes > NS_CSV_FIELD_BYTES_MAX) {
        refuse(csv, row->line, "a field is too long");
    } else if (memchr(field, '\0', bytes) != NULL) {
        refuse(csv, row->line, "a NUL byte");
    }
    if (row->count == NS_CSV_FIELDS_MAX) {
        refuse(csv, row->line, "too many fields");
    } else {
        row->field[row->count++] = field;
    }
    return field + bytes;
}

int
ns_csv_next(struct ns_csv *csv, struct ns_csv_row *row)
{
    csv->why = NULL;
    while (csv->at < csv->end && is_line_end(csv, csv->at)) {
        pass_line_end(csv);
    }
    if (csv->at == csv->end) {
        return 0;
    }
    row->line = csv->line;
    row->count = 0;
    bool more;
    do {
        char *field_end = read_field(csv, row);
        more = csv->at < csv->end && *csv->at == ',';
        if (more) {
            csv->at++;
        } else {
            pass_line_end(csv);
        }
        *field_end = '\0';
    } while (more);
    return csv->why != NULL ? -EBADMSG : 1;
}
