/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/render.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define COLUMN_GAP 2
#define TEXT_WIDTH_MIN 16 /* texts are not cut below this */
#define AMOUNT_PLACES_MIN 2
#define AMOUNT_BYTES 64

enum kind { KIND_TEXT, KIND_NUMBER, KIND_AMOUNT, KIND_TRUTH, KIND_JSON, KIND_MOMENT, KIND_WHOLE };

/* Types of Postgres (pg_type.h) that are not shown as text. */
static const struct {
    Oid type;
    enum kind kind;
} kinds[] = {
    {16, KIND_TRUTH},                       /* bool */
    {20, KIND_NUMBER},                      /* int8 */
    {21, KIND_NUMBER},                      /* int2 */
    {23, KIND_NUMBER},                      /* int4 */
    {700, KIND_NUMBER},                     /* float4 */
    {701, KIND_NUMBER},                     /* float8 */
    {1700, KIND_AMOUNT},                    /* numeric */
    {114, KIND_JSON},    {3802, KIND_JSON}, /* json, jsonb */
    {1184, KIND_MOMENT},                    /* timestamptz */
    {1114, KIND_WHOLE},                     /* timestamp */
    {2950, KIND_WHOLE},                     /* uuid */
};

static enum kind
kind_of(const PGresult *result, int column)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].type == PQftype(result, column)) {
            return kinds[i].kind;
        }
    }
    return KIND_TEXT;
}

/* --- tables ----------------------------------------------------------------------------------- */

struct ns_screen
ns_screen_of(FILE *stream)
{
    struct ns_screen screen = {0, false};
    struct winsize size;
    int fd = fileno(stream);
    if (fd < 0 || !isatty(fd)) {
        return screen;
    }
    const char *columns = getenv("COLUMNS");
    long given = columns != NULL ? strtol(columns, NULL, 10) : 0;
    screen.columns = 80;
    if (given > 0 && given < 10000) {
        screen.columns = (size_t)given;
    } else if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        screen.columns = size.ws_col;
    }
    const char *plain = getenv("NO_COLOR");
    screen.colour = plain == NULL || plain[0] == '\0';
    return screen;
}

/* Reads one character; returns its bytes, with the columns that it takes (-1: not printable). */
static size_t
character(const char *text, int *width)
{
    wchar_t wide;
    mbstate_t state;
    memset(&state, 0, sizeof state);
    size_t bytes = mbrtowc(&wide, text, MB_CUR_MAX, &state);
    if (bytes == 0 || bytes > MB_CUR_MAX) {
        *width = -1;
        return 1;
    }
    *width = wcwidth(wide);
    return bytes;
}

static size_t
width_of(const char *text)
{
    size_t columns = 0;
    for (int width; *text != '\0'; columns += width < 0 ? 1 : (size_t)width) {
        text += character(text, &width);
    }
    return columns;
}

static void
pad(FILE *stream, size_t columns)
{
    for (; columns > 0; columns--) {
        fputc(' ', stream);
    }
}

/* Writes a text in so many columns, cut where it is wider. The last column is not filled up. */
static void
put_cell(FILE *stream, const char *text, size_t columns, bool right, bool last)
{
    size_t wanted = width_of(text), used = 0;
    if (right && wanted < columns) {
        pad(stream, columns - wanted);
    }
    bool cut = wanted > columns;
    for (int width; *text != '\0';) {
        size_t bytes = character(text, &width);
        size_t step = width < 0 ? 1 : (size_t)width;
        if (cut && used + step + 1 > columns) {
            fputs("…", stream);
            used++;
            break;
        }
        if (width < 0) {
            fputc('?', stream);
        } else {
            fwrite(text, 1, bytes, stream);
        }
        used += step;
        text += bytes;
    }
    if (!right && !last && used < columns) {
        pad(stream, columns - used);
    }
}

struct table {
    const PGresult *result;
    int rows;
    int columns;    /* that are shown: the first ones */
    size_t *width;  /* of each column */
    size_t *places; /* behind the point, of each column of amounts */
};

static size_t
places_of(const char *amount)
{
    const char *point = strchr(amount, '.');
    return point != NULL ? strlen(point + 1) : 0;
}

/* The text of a cell, of the heading in row -1. Amounts get the places of their column, so that
 * their points stand below one another. */
static const char *
cell(const struct table *table, int row, int column, char amount[static AMOUNT_BYTES])
{
    static const char zeros[] = "000000000000000000000000";
    if (row < 0) {
        return PQfname(table->result, column);
    }
    const char *text = PQgetvalue(table->result, row, column);
    if (PQgetisnull(table->result, row, column)) {
        return "-";
    }
    size_t places = table->places[column], has = places_of(text);
    bool whole = kind_of(table->result, column) != KIND_AMOUNT || has >= places ||
                 text[strspn(text, "-.0123456789")] != '\0' || places - has >= sizeof zeros ||
                 strlen(text) + places - has + 2 > AMOUNT_BYTES;
    if (whole) {
        return text;
    }
    snprintf(amount, AMOUNT_BYTES, "%s%s%.*s", text, has == 0 ? "." : "", (int)(places - has),
             zeros);
    return amount;
}

static bool
is_right(const struct table *table, int column)
{
    enum kind kind = kind_of(table->result, column);
    return kind == KIND_NUMBER || kind == KIND_AMOUNT;
}

static size_t
narrowest(const struct table *table, int column)
{
    size_t width = table->width[column];
    bool cut = kind_of(table->result, column) == KIND_TEXT && width > TEXT_WIDTH_MIN;
    return cut ? TEXT_WIDTH_MIN : width;
}

static void
measure(struct table *table)
{
    char amount[AMOUNT_BYTES];
    for (int c = 0; c < table->columns; c++) {
        table->places[c] = AMOUNT_PLACES_MIN;
        for (int r = 0; r < table->rows; r++) {
            size_t places = places_of(PQgetvalue(table->result, r, c));
            table->places[c] = places > table->places[c] ? places : table->places[c];
        }
        for (int r = -1; r < table->rows; r++) {
            size_t width = width_of(cell(table, r, c, amount));
            table->width[c] = width > table->width[c] ? width : table->width[c];
        }
    }
}

/* Leaves out the last columns that have no room, then narrows the widest texts until the rest
 * fits. */
static void
fit(struct table *table, size_t screen_columns)
{
    size_t least = narrowest(table, 0), total = table->width[0];
    int count = 1;
    for (; count < table->columns; count++) {
        least += COLUMN_GAP + narrowest(table, count);
        if (least > screen_columns) {
            break;
        }
        total += COLUMN_GAP + table->width[count];
    }
    table->columns = count;
    for (int widest = 0; total > screen_columns && widest >= 0; total--) {
        widest = -1;
        for (int c = 0; c < table->columns; c++) {
            if (narrowest(table, c) < table->width[c] &&
                (widest < 0 || table->width[c] > table->width[widest])) {
                widest = c;
            }
        }
        if (widest >= 0) {
            table->width[widest]--;
        }
    }
}

static void
put_rows(FILE *stream, const struct table *table, bool colour)
{
    char amount[AMOUNT_BYTES];
    for (int r = -1; r < table->rows; r++) {
        bool bold = r < 0 && colour;
        fputs(bold ? "\x1b[1m" : "", stream);
        for (int c = 0; c < table->columns; c++) {
            pad(stream, c > 0 ? COLUMN_GAP : 0);
            put_cell(stream, cell(table, r, c, amount), table->width[c], is_right(table, c),
                     c == table->columns - 1);
        }
        fputs(bold ? "\x1b[0m\n" : "\n", stream);
    }
}

void
ns_render_table(FILE *stream, const PGresult *result, struct ns_screen screen)
{
    int all = PQnfields(result);
    size_t *numbers = calloc(2 * (size_t)all + 1, sizeof *numbers);
    if (numbers == NULL || all == 0) {
        free(numbers);
        return;
    }
    struct table table = {result, PQntuples(result), all, numbers, numbers + all};
    measure(&table);
    if (screen.columns > 0) {
        fit(&table, screen.columns);
    }
    put_rows(stream, &table, screen.colour);
    for (int c = table.columns; c < all; c++) {
        fprintf(stream, "%s%s%s", c == table.columns ? "(no room for " : ", ", PQfname(result, c),
                c == all - 1 ? ")\n" : "");
    }
    free(numbers);
}

/* --- JSON ------------------------------------------------------------------------------------- */

void
ns_render_json_string(FILE *stream, const char *text)
{
    fputc('"', stream);
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\') {
            fputc('\\', stream);
            fputc(byte, stream);
        } else if (byte < 0x20 || byte == 0x7f) {
            fprintf(stream, "\\u%04x", byte);
        } else {
            fputc(byte, stream);
        }
    }
    fputc('"', stream);
}

/* NaN and the infinities are no JSON numbers. */
static bool
is_json_number(const char *text)
{
    size_t bytes = strspn(text, "-+.eE0123456789");
    return bytes > 0 && text[bytes] == '\0';
}

/* "2026-01-31 12:00:00.5+00" as RFC 3339; anything else (infinity) as it is. */
static void
put_moment(FILE *stream, const char *text)
{
    size_t bytes = strlen(text);
    if (bytes < 22 || text[10] != ' ' || strcmp(text + bytes - 3, "+00") != 0) {
        ns_render_json_string(stream, text);
        return;
    }
    fprintf(stream, "\"%.10sT%.*sZ\"", text, (int)(bytes - 14), text + 11);
}

static void
put_json_value(FILE *stream, const char *text, enum kind kind)
{
    bool is_number = kind == KIND_NUMBER || kind == KIND_AMOUNT;
    if (kind == KIND_TRUTH) {
        fputs(text[0] == 't' ? "true" : "false", stream);
    } else if (kind == KIND_JSON || (is_number && is_json_number(text))) {
        fputs(text, stream);
    } else if (is_number) {
        fputs("null", stream);
    } else if (kind == KIND_MOMENT) {
        put_moment(stream, text);
    } else {
        ns_render_json_string(stream, text);
    }
}

void
ns_render_json(FILE *stream, const PGresult *result)
{
    int columns = PQnfields(result), rows = PQntuples(result);
    fputc('[', stream);
    for (int r = 0; r < rows; r++) {
        fputs(r > 0 ? ",\n {" : "{", stream);
        for (int c = 0; c < columns; c++) {
            fputs(c > 0 ? ", " : "", stream);
            ns_render_json_string(stream, PQfname(result, c));
            fputs(": ", stream);
            if (PQgetisnull(result, r, c)) {
                fputs("null", stream);
            } else {
                put_json_value(stream, PQgetvalue(result, r, c), kind_of(result, c));
            }
        }
        fputc('}', stream);
    }
    fputs("]\n", stream);
}

/* --- CSV -------------------------------------------------------------------------------------- */

static void
put_csv_field(FILE *stream, const char *text, enum kind kind)
{
    bool formula = kind == KIND_TEXT && text[0] != '\0' && strchr("=+-@\t\r", text[0]) != NULL;
    if (!formula && strpbrk(text, ",\"\r\n") == NULL) {
        fputs(text, stream);
        return;
    }
    fputs(formula ? "\"'" : "\"", stream);
    for (; *text != '\0'; text++) {
        if (*text == '"') {
            fputc('"', stream);
        }
        fputc(*text, stream);
    }
    fputc('"', stream);
}

void
ns_render_csv(FILE *stream, const PGresult *result)
{
    int columns = PQnfields(result), rows = PQntuples(result);
    for (int r = -1; r < rows; r++) {
        for (int c = 0; c < columns; c++) {
            fputs(c > 0 ? "," : "", stream);
            put_csv_field(stream, r < 0 ? PQfname(result, c) : PQgetvalue(result, r, c),
                          r < 0 ? KIND_NUMBER : kind_of(result, c));
        }
        fputc('\n', stream);
    }
}

void
ns_render(FILE *stream, const PGresult *result, enum ns_format format)
{
    if (format == NS_FORMAT_JSON) {
        ns_render_json(stream, result);
    } else if (format == NS_FORMAT_CSV) {
        ns_render_csv(stream, result);
    } else {
        ns_render_table(stream, result, ns_screen_of(stream));
    }
}
