/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/http1_head.h"

#include <string.h>

#include "base/mem.h"
#include "wire/limits.h"

#define HEADERS_FIRST 32

/* --- characters ---------------------------------------------------------------------------- */

bool
ns_http1_is_token_char(uint8_t c)
{
    uint8_t lower = c | 0x20;
    if ((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9')) {
        return true;
    }
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static char
to_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool
ns_http1_same_word(struct ns_http1_text text, const char *word)
{
    if (text.bytes != strlen(word)) {
        return false;
    }
    for (size_t i = 0; i < text.bytes; i++) {
        if (to_lower(text.text[i]) != to_lower(word[i])) {
            return false;
        }
    }
    return true;
}

/* A line's end within a value is that of a folded line: a blank too. */
static bool
is_space(char c)
{
    return is_blank(c) || c == '\r' || c == '\n';
}

static struct ns_http1_text
trimmed(const char *text, size_t bytes)
{
    while (bytes > 0 && is_space(text[0])) {
        text++;
        bytes--;
    }
    while (bytes > 0 && is_space(text[bytes - 1])) {
        bytes--;
    }
    return (struct ns_http1_text){.text = text, .bytes = bytes};
}

/* Takes the first element off a comma-separated list; false where none is left. */
static bool
next_element(struct ns_http1_text *list, struct ns_http1_text *element)
{
    while (list->bytes > 0) {
        const char *comma = memchr(list->text, ',', list->bytes);
        size_t bytes = comma ? (size_t)(comma - list->text) : list->bytes;
        size_t taken = comma ? bytes + 1 : bytes;
        *element = trimmed(list->text, bytes);
        list->text += taken;
        list->bytes -= taken;
        if (element->bytes > 0) {
            return true;
        }
    }
    return false;
}

/* --- start line ---------------------------------------------------------------------------- */

static bool
parse_version(struct ns_http1 *parser, const char *text, size_t bytes)
{
    if (bytes != 8 || memcmp(text, "HTTP/1.", 7) != 0 || text[7] < '0' || text[7] > '9') {
        return false;
    }
    parser->minor_zero = text[7] == '0';
    return true;
}

/* method SP target SP version. Single spaces: what looks like more is read differently by others
 * (RFC 9112, 3). */
static bool
parse_request_line(struct ns_http1 *parser, const char *line, size_t bytes)
{
    const char *space = memchr(line, ' ', bytes);
    if (space == NULL || space == line) {
        return false;
    }
    size_t method = (size_t)(space - line);
    const char *target = space + 1;
    space = memchr(target, ' ', bytes - method - 1);
    if (space == NULL || space == target) {
        return false;
    }
    size_t target_bytes = (size_t)(space - target);
    for (size_t i = 0; i < target_bytes; i++) {
        if ((uint8_t)target[i] <= 0x20 || target[i] == 0x7f) {
            return false;
        }
    }
    parser->method_bytes = (uint32_t)method;
    parser->target_start = (uint32_t)method + 1;
    parser->target_bytes = (uint32_t)target_bytes;
    return parse_version(parser, space + 1, bytes - method - target_bytes - 2);
}

/* version SP three digits [SP anything] */
static bool
parse_status_line(struct ns_http1 *parser, const char *line, size_t bytes)
{
    if (bytes < 12 || !parse_version(parser, line, 8) || line[8] != ' ' ||
        (bytes > 12 && line[12] != ' ')) {
        return false;
    }
    int status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9') {
            return false;
        }
        status = status * 10 + (line[i] - '0');
    }
    parser->status = (int16_t)status;
    return status >= 100;
}

enum ns_http1_problem
ns_http1_parse_start_line(struct ns_http1 *parser, const char *line, size_t bytes)
{
    bool good = memchr(line, '\0', bytes) == NULL && memchr(line, '\r', bytes) == NULL &&
                (parser->side == NS_HTTP1_REQUESTS ? parse_request_line(parser, line, bytes)
                                                   : parse_status_line(parser, line, bytes));
    parser->start_line_known = good;
    return good ? NS_HTTP1_OK : NS_HTTP1_BAD_START_LINE;
}

bool
ns_http1_may_be_start_line(const struct ns_http1 *parser, const char *line, size_t from,
                           size_t bytes)
{
    if (parser->side == NS_HTTP1_RESPONSES) {
        size_t known = bytes < 7 ? bytes : 7;
        return memcmp(line, "HTTP/1.", known) == 0;
    }
    if (from > 0 && memchr(line, ' ', from) != NULL) {
        return true;
    }
    for (size_t i = from; i < bytes && !(i > 0 && line[i] == ' '); i++) {
        if (!ns_http1_is_token_char((uint8_t)line[i])) {
            return false;
        }
    }
    return true;
}

/* --- headers ------------------------------------------------------------------------------- */

static enum ns_http1_problem
parse_header(struct ns_http1_header *header, const char *line, size_t bytes)
{
    const char *colon = memchr(line, ':', bytes);
    if (colon == NULL || colon == line || memchr(line, '\0', bytes) != NULL ||
        memchr(line, '\r', bytes) != NULL) {
        return NS_HTTP1_BAD_HEADER;
    }
    size_t name = (size_t)(colon - line);
    for (size_t i = 0; i < name; i++) {
        if (!ns_http1_is_token_char((uint8_t)line[i])) {
            return NS_HTTP1_BAD_HEADER;
        }
    }
    header->name = (struct ns_http1_text){.text = line, .bytes = name};
    header->value = trimmed(colon + 1, bytes - name - 1);
    return NS_HTTP1_OK;
}

/* A line that goes on with the header before it (RFC 9112, 5.2): out of use, but still allowed by
 * some clients, and a header of ours must not leave because of it. Where it would decide how the
 * message is framed, others may read it differently. */
static enum ns_http1_problem
fold_header(struct ns_http1_header *header, const char *line, size_t bytes, size_t line_bytes)
{
    if (memchr(line, '\0', bytes) != NULL || memchr(line, '\r', bytes) != NULL ||
        ns_http1_same_word(header->name, "content-length") ||
        ns_http1_same_word(header->name, "transfer-encoding")) {
        return NS_HTTP1_BAD_HEADER;
    }
    struct ns_http1_text more = trimmed(line, bytes);
    if (more.bytes > 0) {
        const char *start = header->value.bytes > 0 ? header->value.text : more.text;
        header->value.text = start;
        header->value.bytes = (size_t)(more.text + more.bytes - start);
    }
    header->line_bytes += (uint32_t)line_bytes;
    return NS_HTTP1_OK;
}

static enum ns_http1_problem
reserve_header(struct ns_http1 *parser)
{
    if (parser->header_count == NS_HEADERS_MAX) {
        return NS_HTTP1_TOO_LARGE;
    }
    if (parser->header_count < parser->header_capacity) {
        return NS_HTTP1_OK;
    }
    uint32_t capacity = parser->header_capacity ? parser->header_capacity * 2 : HEADERS_FIRST;
    struct ns_http1_header *headers = ns_mem_resize(
        parser->headers, parser->header_capacity * sizeof(*headers), capacity * sizeof(*headers));
    if (headers == NULL) {
        return NS_HTTP1_NO_MEMORY;
    }
    parser->headers = headers;
    parser->header_capacity = capacity;
    return NS_HTTP1_OK;
}

static enum ns_http1_problem
add_header(struct ns_http1 *parser, const char *line, size_t bytes, size_t line_bytes)
{
    enum ns_http1_problem problem = reserve_header(parser);
    if (problem == NS_HTTP1_OK) {
        struct ns_http1_header *header = &parser->headers[parser->header_count++];
        header->line_offset = (uint32_t)(line - parser->head);
        header->line_bytes = (uint32_t)line_bytes;
        problem = parse_header(header, line, bytes);
    }
    return problem;
}

/* All lines after the first, up to the empty one. */
static enum ns_http1_problem
parse_headers(struct ns_http1 *parser)
{
    enum ns_http1_problem problem = NS_HTTP1_OK;
    const char *end = parser->head + parser->line_start;
    const char *line = (const char *)memchr(parser->head, '\n', parser->head_bytes) + 1;
    while (problem == NS_HTTP1_OK && line < end) {
        const char *next = (const char *)memchr(line, '\n', (size_t)(end - line)) + 1;
        size_t line_bytes = (size_t)(next - line);
        size_t bytes = line_bytes - 1;
        bytes -= bytes > 0 && line[bytes - 1] == '\r';
        if (is_blank(line[0]) && parser->header_count > 0) {
            problem =
                fold_header(&parser->headers[parser->header_count - 1], line, bytes, line_bytes);
        } else {
            problem = add_header(parser, line, bytes, line_bytes);
        }
        line = next;
    }
    return problem;
}

/* --- framing (RFC 9112, 6.3) --------------------------------------------------------------- */

struct framing {
    bool has_length;
    int64_t length;
    bool has_coding;
    bool last_chunked;    /* the last transfer coding is chunked */
    bool chunked_earlier; /* chunked was named before the last one */
    bool close;
    bool keep_alive;
};

static enum ns_http1_problem
add_length(struct framing *framing, struct ns_http1_text list)
{
    struct ns_http1_text element;
    if (list.bytes == 0) {
        return NS_HTTP1_BAD_LENGTH;
    }
    while (next_element(&list, &element)) {
        int64_t length = 0;
        for (size_t i = 0; i < element.bytes; i++) {
            char c = element.text[i];
            if (c < '0' || c > '9' || __builtin_mul_overflow(length, 10, &length) ||
                __builtin_add_overflow(length, c - '0', &length)) {
                return NS_HTTP1_BAD_LENGTH;
            }
        }
        if (framing->has_length && framing->length != length) {
            return NS_HTTP1_BAD_LENGTH;
        }
        framing->has_length = true;
        framing->length = length;
    }
    return framing->has_length ? NS_HTTP1_OK : NS_HTTP1_BAD_LENGTH;
}

static void
add_coding(struct framing *framing, struct ns_http1_text list)
{
    struct ns_http1_text element;
    framing->has_coding = true;
    while (next_element(&list, &element)) {
        framing->chunked_earlier |= framing->last_chunked;
        framing->last_chunked = ns_http1_same_word(element, "chunked");
    }
}

static void
add_connection(struct framing *framing, struct ns_http1_text list)
{
    struct ns_http1_text element;
    while (next_element(&list, &element)) {
        framing->close |= ns_http1_same_word(element, "close");
        framing->keep_alive |= ns_http1_same_word(element, "keep-alive");
    }
}

static enum ns_http1_problem
collect_framing(const struct ns_http1 *parser, struct framing *framing)
{
    *framing = (struct framing){.has_length = false};
    for (size_t i = 0; i < parser->header_count; i++) {
        const struct ns_http1_header *header = &parser->headers[i];
        if (ns_http1_same_word(header->name, "content-length")) {
            enum ns_http1_problem problem = add_length(framing, header->value);
            if (problem != NS_HTTP1_OK) {
                return problem;
            }
        } else if (ns_http1_same_word(header->name, "transfer-encoding")) {
            add_coding(framing, header->value);
        } else if (ns_http1_same_word(header->name, "connection")) {
            add_connection(framing, header->value);
        }
    }
    return NS_HTTP1_OK;
}

static void
expect_length(struct ns_http1 *parser, int64_t length)
{
    parser->content_length = length;
    parser->left = (uint64_t)length;
    parser->body_state = length > 0 ? BODY_LENGTH : MESSAGE_DONE;
}

static enum ns_http1_problem
frame_request(struct ns_http1 *parser, const struct framing *framing)
{
    if (!framing->has_coding) {
        expect_length(parser, framing->has_length ? framing->length : 0);
        return NS_HTTP1_OK;
    }
    /* Whatever another reader could frame differently is refused: request smuggling. */
    if (framing->has_length || !framing->last_chunked || framing->chunked_earlier ||
        parser->minor_zero) {
        return NS_HTTP1_AMBIGUOUS;
    }
    parser->body_state = CHUNK_SIZE_FIRST;
    return NS_HTTP1_OK;
}

static void
frame_response(struct ns_http1 *parser, const struct framing *framing)
{
    int status = parser->status;
    if (status == 101 || (parser->answering_connect && status >= 200 && status < 300)) {
        parser->content_length = 0;
        parser->body_state = UPGRADED;
    } else if (parser->answering_head || status < 200 || status == 204 || status == 304) {
        expect_length(parser, 0);
    } else if (framing->has_coding && framing->last_chunked && !framing->chunked_earlier) {
        parser->body_state = CHUNK_SIZE_FIRST;
    } else if (framing->has_length && !framing->has_coding) {
        expect_length(parser, framing->length);
    } else {
        parser->body_state = BODY_CLOSE;
        parser->keep_alive = false;
    }
    if (status >= 200) { /* what was said holds through interim responses */
        parser->answering_head = false;
        parser->answering_connect = false;
    }
}

enum ns_http1_problem
ns_http1_complete_head(struct ns_http1 *parser)
{
    struct framing framing;
    enum ns_http1_problem problem = parse_headers(parser);
    if (problem == NS_HTTP1_OK) {
        problem = collect_framing(parser, &framing);
    }
    if (problem != NS_HTTP1_OK) {
        return problem;
    }
    parser->content_length = -1;
    parser->keep_alive = !framing.close && (!parser->minor_zero || framing.keep_alive);
    if (parser->side == NS_HTTP1_REQUESTS) {
        return frame_request(parser, &framing);
    }
    frame_response(parser, &framing);
    return NS_HTTP1_OK;
}
