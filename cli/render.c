/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/render.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#define COLUMN_GAP 2
#define TEXT_WIDTH_MIN 8 /* texts are not cut below this */

enum kind { KIND_TEXT, KIND_NUMBER, KIND_TRUTH, KIND_JSON, KIND_MOMENT };

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
    {1700, KIND_NUMBER},                    /* numeric */
    {114, KIND_JSON},    {3802, KIND_JSON}, /* json, jsonb */
    {1184, KIND_MOMENT},                    /* timestamptz */
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

static const char *
cell(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? "-" : PQgetvalue(result, row, column);
}

/* Narrows the widest text columns until the table fits, or cannot be narrowed. */
static void
fit(const PGresult *result, size_t *widths, int columns, size_t screen_columns)
{
    size_t total = 0;
    for (int c = 0; c < columns; c++) {
        total += widths[c] + (c > 0 ? COLUMN_GAP : 0);
    }
    while (screen_columns > 0 && total > screen_columns) {
        int widest = -1;
        for (int c = 0; c < columns; c++) {
            if (kind_of(result, c) != KIND_NUMBER && widths[c] > TEXT_WIDTH_MIN &&
                (widest < 0 || widths[c] > widths[widest])) {
                widest = c;
            }
        }
        if (widest < 0) {
            return;
        }
        widths[widest]--;
        total--;
    }
}

void
ns_render_table(FILE *stream, const PGresult *result, struct ns_screen screen)
{
    int columns = PQnfields(result), rows = PQntuples(result);
    size_t *widths = calloc((size_t)columns + 1, sizeof *widths);
    if (widths == NULL) {
        return;
    }
    for (int c = 0; c < columns; c++) {
        widths[c] = width_of(PQfname(result, c));
        for (int r = 0; r < rows; r++) {
            size_t width = width_of(cell(result, r, c));
            widths[c] = width > widths[c] ? width : widths[c];
        }
    }
    fit(result, widths, columns, screen.columns);
    for (int r = -1; r < rows; r++) {
        bool bold = r < 0 && screen.colour;
        fputs(bold ? "\x1b[1m" : "", stream);
        for (int c = 0; c < columns; c++) {
            pad(stream, c > 0 ? COLUMN_GAP : 0);
            put_cell(stream, r < 0 ? PQfname(result, c) : cell(result, r, c), widths[c],
                     kind_of(result, c) == KIND_NUMBER, c == columns - 1);
        }
        fputs(bold ? "\x1b[0m\n" : "\n", stream);
    }
    free(widths);
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
    if (kind == KIND_TRUTH) {
        fputs(text[0] == 't' ? "true" : "false", stream);
    } else if (kind == KIND_JSON || (kind == KIND_NUMBER && is_json_number(text))) {
        fputs(text, stream);
    } else if (kind == KIND_NUMBER) {
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
