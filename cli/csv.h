/* SPDX-License-Identifier: Apache-2.0 */
/* Reading comma-separated values (RFC 4180): quoted fields may hold commas, line ends and doubled
 * quotes; lines end in LF or CR LF; a UTF-8 byte order mark is passed over. */
#ifndef NS_CLI_CSV_H
#define NS_CLI_CSV_H

#include <stddef.h>

#define NS_CSV_FIELDS_MAX 32
#define NS_CSV_FIELD_BYTES_MAX 4096
#define NS_CSV_FILE_BYTES_MAX (64 << 20)

struct ns_csv {
    char *at;        /* the next row; fields are unquoted where they stand */
    char *end;       /* holds one writable byte more */
    size_t line;     /* of the next row, from 1 */
    const char *why; /* what is wrong with the row, after -EBADMSG */
    size_t why_line;
};

struct ns_csv_row {
    size_t line; /* where it starts */
    size_t count;
    char *field[NS_CSV_FIELDS_MAX]; /* NUL-terminated, within the text */
};

/* Starts on a text of so many bytes, with room for one byte behind it. */
void ns_csv_start(struct ns_csv *csv, char *text, size_t bytes);

/* Reads the next row that is not an empty line. Returns 1, 0 at the end, or -EBADMSG (why and
 * why_line say what and where; the next call goes on behind it). */
int ns_csv_next(struct ns_csv *csv, struct ns_csv_row *row);

#endif
