/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading a catalogue: the file as lines (pricing/README.md has the format).
 *
 * Three passes over one private copy of the text: the checksum, a count of the records of each
 * kind (so that every array is allocated once, at its size), and the records themselves
 * (records.c). Nothing is looked up in the caller's text afterwards.
 */
#include "pricing/catalogue.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "pricing/loader.h"

#define CHECKSUM "checksum\tcrc32c\t"
#define CHECKSUM_HEX_BYTES 8

int
ns_price_refuse(struct ns_price_loader *loader, const char *format, ...)
{
    int used = snprintf(loader->error, NS_CATALOGUE_ERROR_BYTES, "line %u: ", loader->line);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(loader->error + used, NS_CATALOGUE_ERROR_BYTES - (size_t)used, format, arguments);
    va_end(arguments);
    return -EBADMSG;
}

static uint32_t
count_lines(const char *text, size_t text_bytes)
{
    uint32_t lines = 0;
    for (size_t i = 0; i < text_bytes; i++) {
        lines += text[i] == '\n';
    }
    return lines;
}

/* Only printable ASCII and tabs, in lines: so that texts can be logged and compared as bytes. */
static int
check_characters(struct ns_price_loader *loader, const char *text, size_t text_bytes)
{
    loader->line = 1;
    for (size_t i = 0; i < text_bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n') {
            loader->line++;
        } else if ((c < ' ' && c != '\t') || c > '~') {
            return ns_price_refuse(loader, "byte 0x%02x is neither printable ASCII nor a tab", c);
        }
    }
    return 0;
}

/* Checks the closing line and takes it off *text_bytes. */
static int
check_checksum(struct ns_price_loader *loader, const char *text, size_t *text_bytes)
{
    const size_t closing_bytes = sizeof(CHECKSUM) - 1 + CHECKSUM_HEX_BYTES + 1;
    loader->line = count_lines(text, *text_bytes);
    if (*text_bytes == 0 || text[*text_bytes - 1] != '\n') {
        loader->line++;
        return ns_price_refuse(loader, "the last line is cut off: it does not end in a newline");
    }
    const char *closing = *text_bytes < closing_bytes ? text : text + *text_bytes - closing_bytes;
    if (*text_bytes < closing_bytes || memcmp(closing, CHECKSUM, sizeof(CHECKSUM) - 1) != 0 ||
        (closing > text && closing[-1] != '\n')) {
        return ns_price_refuse(loader, "the closing checksum line is missing");
    }
    *text_bytes -= closing_bytes;
    char expected[CHECKSUM_HEX_BYTES + 1];
    snprintf(expected, sizeof(expected), "%08x", ns_crc32c(0, text, *text_bytes));
    const char *stated = closing + sizeof(CHECKSUM) - 1;
    if (memcmp(stated, expected, CHECKSUM_HEX_BYTES) != 0) {
        return ns_price_refuse(loader, "the checksum is %.8s but that of the text is %s", stated,
                               expected);
    }
    return 0;
}

/* --- memory ----------------------------------------------------------------------------------- */

static void
count_records(const char *text, size_t text_bytes, uint32_t count[NS_PRICE_RECORD_COUNT + 1])
{
    const char *end = text + text_bytes;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t line_bytes = newline == NULL ? (size_t)(end - text) : (size_t)(newline - text);
        count[ns_price_record_of(text, line_bytes)]++;
        text += line_bytes + 1;
    }
}

/* An array of count elements; at least one, so that NULL always means no memory. */
static void *
array(uint32_t count, size_t element_bytes)
{
    return ns_mem_alloc((count == 0 ? 1 : (size_t)count) * element_bytes);
}

static int
allocate(struct ns_price_loader *loader, const char *text, size_t text_bytes)
{
    struct ns_catalogue *c = loader->catalogue;
    uint32_t count[NS_PRICE_RECORD_COUNT + 1] = {0};
    count_records(text, text_bytes, count);
    uint32_t keys = count[NS_PRICE_RECORD_PROVIDER] + count[NS_PRICE_RECORD_ALIAS] +
                    count[NS_PRICE_RECORD_HOST] + count[NS_PRICE_RECORD_MODEL] +
                    count[NS_PRICE_RECORD_MATCH];
    for (c->slot_count = 16; c->slot_count < 2 * (uint64_t)keys;) {
        c->slot_count *= 2;
    }
    c->text_bytes = text_bytes;
    c->text = ns_mem_alloc(text_bytes + 1);
    c->providers = array(count[NS_PRICE_RECORD_PROVIDER], sizeof(*c->providers));
    c->models = array(count[NS_PRICE_RECORD_MODEL], sizeof(*c->models));
    c->rules = array(count[NS_PRICE_RECORD_MATCH], sizeof(*c->rules));
    c->sets = array(count[NS_PRICE_RECORD_SET], sizeof(*c->sets));
    c->rows = array(count[NS_PRICE_RECORD_PRICE], sizeof(*c->rows));
    c->scales = array(count[NS_PRICE_RECORD_SCALE], sizeof(*c->scales));
    c->hosts = array(count[NS_PRICE_RECORD_HOST], sizeof(*c->hosts));
    c->regional = array(count[NS_PRICE_RECORD_REGIONAL], sizeof(*c->regional));
    c->fallbacks = array(count[NS_PRICE_RECORD_FALLBACK], sizeof(*c->fallbacks));
    c->slots = array(c->slot_count, sizeof(*c->slots));
    loader->fallback_names =
        array(count[NS_PRICE_RECORD_FALLBACK], sizeof(*loader->fallback_names));
    bool all = c->text != NULL && c->providers != NULL && c->models != NULL && c->rules != NULL &&
               c->sets != NULL && c->rows != NULL && c->scales != NULL && c->hosts != NULL &&
               c->regional != NULL && c->fallbacks != NULL && c->slots != NULL &&
               loader->fallback_names != NULL;
    return all ? 0 : -ENOMEM;
}

/* --- lines ------------------------------------------------------------------------------------ */

/* Cuts a line (NUL-terminated) into loader->field. */
static int
split(struct ns_price_loader *loader, char *line)
{
    loader->field_count = 0;
    for (char *field = line; field != NULL;) {
        if (loader->field_count == NS_CATALOGUE_FIELDS_MAX) {
            return ns_price_refuse(loader, "more than %d fields", NS_CATALOGUE_FIELDS_MAX);
        }
        loader->field[loader->field_count++] = field;
        char *tab = strchr(field, '\t');
        if ((tab == NULL ? strlen(field) : (size_t)(tab - field)) > NS_CATALOGUE_FIELD_BYTES_MAX) {
            return ns_price_refuse(loader, "field %u is longer than %d bytes", loader->field_count,
                                   NS_CATALOGUE_FIELD_BYTES_MAX);
        }
        if (tab != NULL) {
            *tab++ = '\0';
        }
        field = tab;
    }
    return 0;
}

static int
read_lines(struct ns_price_loader *loader)
{
    char *line = loader->catalogue->text, *end = line + loader->catalogue->text_bytes;
    for (loader->line = 1; line < end; loader->line++) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t line_bytes = newline == NULL ? (size_t)(end - line) : (size_t)(newline - line);
        enum ns_price_record record = ns_price_record_of(line, line_bytes);
        line[line_bytes] = '\0';
        if (line[0] != '#') {
            int status = split(loader, line);
            if (status == 0) {
                status = ns_price_record_read(loader, record);
            }
            if (status != 0) {
                return status;
            }
        }
        line += line_bytes + 1;
    }
    return ns_price_records_end(loader);
}

int
ns_catalogue_load(const char *text, size_t text_bytes, struct ns_catalogue **catalogue,
                  char error[static NS_CATALOGUE_ERROR_BYTES])
{
    struct ns_price_loader loader = {
        .error = error, .line = 1, .per_multiple = 1, .denominator_multiple = 1};
    *catalogue = NULL;
    error[0] = '\0';
    if (text_bytes > NS_CATALOGUE_BYTES_MAX) {
        return ns_price_refuse(&loader, "the file has %zu bytes, more than %u", text_bytes,
                               NS_CATALOGUE_BYTES_MAX);
    }
    int status = check_characters(&loader, text, text_bytes);
    if (status == 0) {
        status = check_checksum(&loader, text, &text_bytes);
    }
    if (status != 0) {
        return status;
    }
    loader.catalogue = ns_mem_alloc(sizeof(*loader.catalogue));
    status = loader.catalogue == NULL ? -ENOMEM : allocate(&loader, text, text_bytes);
    if (status == 0) {
        memcpy(loader.catalogue->text, text, text_bytes);
        status = read_lines(&loader);
    }
    ns_mem_free(loader.fallback_names);
    if (status == 0) {
        *catalogue = loader.catalogue;
        return 0;
    }
    if (status == -ENOMEM) {
        snprintf(error, NS_CATALOGUE_ERROR_BYTES, "no memory");
    }
    ns_catalogue_free(loader.catalogue);
    return status;
}

void
ns_catalogue_free(struct ns_catalogue *catalogue)
{
    if (catalogue == NULL) {
        return;
    }
    ns_mem_free(catalogue->text);
    ns_mem_free(catalogue->providers);
    ns_mem_free(catalogue->models);
    ns_mem_free(catalogue->rules);
    ns_mem_free(catalogue->sets);
    ns_mem_free(catalogue->rows);
    ns_mem_free(catalogue->scales);
    ns_mem_free(catalogue->hosts);
    ns_mem_free(catalogue->regional);
    ns_mem_free(catalogue->fallbacks);
    ns_mem_free(catalogue->slots);
    ns_mem_free(catalogue);
}

const char *
ns_catalogue_version(const struct ns_catalogue *catalogue)
{
    return catalogue->version;
}

size_t
ns_catalogue_model_count(const struct ns_catalogue *catalogue)
{
    return catalogue->model_count;
}

const char *
ns_price_model_id(const struct ns_price_model *model)
{
    return model->id;
}

uint64_t
ns_price_model_output_max(const struct ns_price_model *model)
{
    return model->output_max;
}
