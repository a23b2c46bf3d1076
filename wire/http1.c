/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/http1.h"

#include <string.h>

#include "base/mem.h"
#include "wire/http1_head.h"
#include "wire/limits.h"
#include "wire/text.h"

/* Heads of API traffic are about 1 KiB. With what allocators keep of a block, 1.5 KiB. */
#define HEAD_BYTES_FIRST 1520

/* Of a chunk's size that is read at once: far from what would not fit into it. */
#define PLAIN_DIGITS_MAX 8

struct ns_http1 *
ns_http1_new(enum ns_http1_side side)
{
    struct ns_http1 *parser = ns_mem_alloc(sizeof(*parser));
    if (parser != NULL) {
        parser->side = (uint8_t)side;
        parser->state = START;
    }
    return parser;
}

void
ns_http1_free(struct ns_http1 *parser)
{
    if (parser != NULL) {
        ns_mem_free(parser->head);
        ns_mem_free(parser->headers);
        ns_mem_free(parser);
    }
}

void
ns_http1_answering(struct ns_http1 *parser, bool head, bool connect)
{
    parser->answering_head = head;
    parser->answering_connect = connect;
}

static void
fail(struct ns_http1 *parser, enum ns_http1_problem problem)
{
    parser->problem = (uint8_t)problem;
    parser->state = FAILED;
}

/* --- the head ------------------------------------------------------------------------------ */

static size_t
read_start(struct ns_http1 *parser, const uint8_t *bytes)
{
    /* Empty lines before a request are no part of it (RFC 9112, 2.2). */
    if (parser->side == NS_HTTP1_REQUESTS && (bytes[0] == '\r' || bytes[0] == '\n')) {
        parser->state = bytes[0] == '\r' ? START_LF : START;
        return 1;
    }
    parser->head_bytes = 0;
    parser->line_start = 0;
    parser->header_count = 0;
    parser->start_line_known = false;
    parser->method_bytes = 0;
    parser->target_bytes = 0;
    parser->state = HEAD;
    return 0;
}

static enum ns_http1_problem
append_head(struct ns_http1 *parser, const uint8_t *bytes, size_t count)
{
    size_t needed = parser->head_bytes + count;
    if (needed > parser->head_capacity) {
        size_t capacity = parser->head_capacity ? parser->head_capacity : HEAD_BYTES_FIRST;
        while (capacity < needed) {
            capacity *= 2;
        }
        char *head = ns_mem_resize(parser->head, parser->head_bytes, capacity);
        if (head == NULL) {
            return NS_HTTP1_NO_MEMORY;
        }
        parser->head = head;
        parser->head_capacity = (uint32_t)capacity;
    }
    memcpy(parser->head + parser->head_bytes, bytes, count);
    parser->head_bytes += (uint32_t)count;
    return NS_HTTP1_OK;
}

/* The last line of the head so far is complete. */
static enum ns_http1_problem
end_head_line(struct ns_http1 *parser, enum ns_http1_event *event)
{
    const char *line = parser->head + parser->line_start;
    size_t bytes = parser->head_bytes - parser->line_start - 1;
    bytes -= bytes > 0 && line[bytes - 1] == '\r';
    enum ns_http1_problem problem = NS_HTTP1_OK;
    if (!parser->start_line_known) {
        problem = ns_http1_parse_start_line(parser, line, bytes);
    } else if (bytes == 0) {
        problem = ns_http1_complete_head(parser);
        parser->state = BODY_FROM_HEAD;
        *event = NS_HTTP1_HEAD;
    }
    parser->line_start = parser->head_bytes;
    return problem;
}

static size_t
read_head(struct ns_http1 *parser, const uint8_t *bytes, size_t count, enum ns_http1_event *event)
{
    size_t room = NS_HEAD_BYTES_MAX - parser->head_bytes;
    size_t fits = count < room ? count : room;
    const uint8_t *lf = memchr(bytes, '\n', fits);
    size_t taken = lf ? (size_t)(lf - bytes) + 1 : fits;
    uint32_t before = parser->head_bytes;
    enum ns_http1_problem problem = append_head(parser, bytes, taken);
    if (problem == NS_HTTP1_OK && !parser->start_line_known &&
        !ns_http1_may_be_start_line(parser, parser->head, before, parser->head_bytes)) {
        problem = NS_HTTP1_NOT_HTTP;
    }
    if (problem == NS_HTTP1_OK && lf != NULL) {
        problem = end_head_line(parser, event);
    } else if (problem == NS_HTTP1_OK && taken < count) {
        problem = NS_HTTP1_TOO_LARGE;
    }
    if (problem != NS_HTTP1_OK) {
        fail(parser, problem);
    }
    return taken;
}

/* --- the body ------------------------------------------------------------------------------ */

static size_t
read_body(struct ns_http1 *parser, const uint8_t *bytes, size_t count, struct ns_http1_input *input)
{
    size_t taken = count;
    if (parser->state != BODY_CLOSE) {
        taken = parser->left < count ? (size_t)parser->left : count;
        parser->left -= taken;
        if (parser->left == 0) {
            parser->state = parser->state == CHUNK_DATA ? CHUNK_DATA_END : MESSAGE_DONE;
        }
    }
    input->event = NS_HTTP1_BODY;
    input->body = bytes;
    input->body_bytes = taken;
    return taken;
}

static int
hex_digit(uint8_t c)
{
    uint8_t lower = c | 0x20;
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static void
end_chunk_line(struct ns_http1 *parser)
{
    parser->line_bytes = 0;
    parser->trailer_bytes = 0;
    parser->state = parser->left > 0 ? CHUNK_DATA : TRAILER;
}

/* One byte of "1f;name=value\r\n" (RFC 9112, 7.1). */
static void
chunk_line_byte(struct ns_http1 *parser, uint8_t byte)
{
    int digit = hex_digit(byte);
    bool in_size = parser->state == CHUNK_SIZE_FIRST || parser->state == CHUNK_SIZE;
    if (++parser->line_bytes > NS_CHUNK_LINE_BYTES_MAX) {
        fail(parser, NS_HTTP1_TOO_LARGE);
    } else if (in_size && digit >= 0) {
        if (parser->state == CHUNK_SIZE_FIRST) {
            parser->left = 0;
        }
        if (parser->left > (uint64_t)INT64_MAX >> 4) {
            fail(parser, NS_HTTP1_BAD_CHUNK);
            return;
        }
        parser->left = parser->left << 4 | (uint64_t)digit;
        parser->state = CHUNK_SIZE;
    } else if (parser->state == CHUNK_SIZE_FIRST ||
               (parser->state == CHUNK_LINE_LF && byte != '\n')) {
        fail(parser, NS_HTTP1_BAD_CHUNK);
    } else if (byte == '\n') {
        end_chunk_line(parser);
    } else if (byte == '\r') {
        parser->state = CHUNK_LINE_LF;
    } else if (parser->state == CHUNK_EXTENSION) {
        if (byte == '\0') {
            fail(parser, NS_HTTP1_BAD_CHUNK);
        }
    } else if (byte == ';') {
        parser->state = CHUNK_EXTENSION;
    } else if (byte == ' ' || byte == '\t') {
        parser->state = CHUNK_BLANK;
    } else {
        fail(parser, NS_HTTP1_BAD_CHUNK);
    }
}

/* A line that is here whole and has a size alone, as nearly all: its bytes; 0 where it is another.
 */
static size_t
plain_chunk_line(struct ns_http1 *parser, const uint8_t *bytes, size_t count)
{
    uint64_t size = 0;
    size_t i = 0;
    for (int digit; i < count && i < PLAIN_DIGITS_MAX && (digit = hex_digit(bytes[i])) >= 0; i++) {
        size = size << 4 | (uint64_t)digit;
    }
    if (i == 0 || count - i < 2 || bytes[i] != '\r' || bytes[i + 1] != '\n') {
        return 0;
    }
    parser->left = size;
    end_chunk_line(parser);
    return i + 2;
}

/* As much of it as there is. */
static size_t
chunk_line(struct ns_http1 *parser, const uint8_t *bytes, size_t count)
{
    size_t i = parser->state == CHUNK_SIZE_FIRST ? plain_chunk_line(parser, bytes, count) : 0;
    if (i > 0) {
        return i;
    }
    do {
        chunk_line_byte(parser, bytes[i++]);
    } while (i < count && parser->state >= CHUNK_SIZE_FIRST && parser->state <= CHUNK_LINE_LF);
    return i;
}

static size_t
chunk_data_end(struct ns_http1 *parser, const uint8_t *bytes, size_t count)
{
    size_t cr = parser->state == CHUNK_DATA_END && bytes[0] == '\r';
    if (cr == count) {
        parser->state = CHUNK_DATA_LF;
    } else if (bytes[cr] == '\n') {
        parser->state = CHUNK_SIZE_FIRST;
        cr++;
    } else {
        fail(parser, NS_HTTP1_BAD_CHUNK);
    }
    return cr;
}

/* Trailers are checked as headers are, and left out. */
static void
trailer_byte(struct ns_http1 *parser, uint8_t byte)
{
    bool in_line = parser->state == TRAILER_VALUE || parser->state == TRAILER_LF;
    if (++parser->trailer_bytes > NS_TRAILER_BYTES_MAX) {
        fail(parser, NS_HTTP1_TOO_LARGE);
    } else if (byte == '\n' && parser->state != TRAILER_NAME) {
        parser->state = in_line ? TRAILER : MESSAGE_DONE;
    } else if (parser->state == TRAILER_LF || parser->state == TRAILERS_LF) {
        fail(parser, NS_HTTP1_BAD_HEADER);
    } else if (byte == '\r' && parser->state != TRAILER_NAME) {
        parser->state = in_line ? TRAILER_LF : TRAILERS_LF;
    } else if (parser->state == TRAILER_VALUE) {
        if (byte == '\0') {
            fail(parser, NS_HTTP1_BAD_HEADER);
        }
    } else if (byte == ':' && parser->state == TRAILER_NAME) {
        parser->state = TRAILER_VALUE;
    } else if (ns_http1_is_token_char(byte)) {
        parser->state = TRAILER_NAME;
    } else {
        fail(parser, NS_HTTP1_BAD_HEADER);
    }
}

/* --- the parser ---------------------------------------------------------------------------- */

/* What is owed without any input. */
static enum ns_http1_event
owed(struct ns_http1 *parser)
{
    if (parser->state == BODY_FROM_HEAD) {
        parser->state = parser->body_state;
    }
    switch (parser->state) {
    case MESSAGE_DONE:
        parser->state = START;
        return NS_HTTP1_END;
    case UPGRADED:
        return NS_HTTP1_UPGRADE;
    case FAILED:
        return NS_HTTP1_ERROR;
    default:
        return NS_HTTP1_MORE;
    }
}

static size_t
step(struct ns_http1 *parser, const uint8_t *bytes, size_t count, struct ns_http1_input *input)
{
    switch (parser->state) {
    case START:
        return read_start(parser, bytes);
    case START_LF:
        if (bytes[0] != '\n') {
            fail(parser, NS_HTTP1_NOT_HTTP);
        } else {
            parser->state = START;
        }
        return 1;
    case HEAD:
        return read_head(parser, bytes, count, &input->event);
    case BODY_LENGTH:
    case BODY_CLOSE:
    case CHUNK_DATA:
        return read_body(parser, bytes, count, input);
    case CHUNK_DATA_END:
    case CHUNK_DATA_LF:
        return chunk_data_end(parser, bytes, count);
    case TRAILER:
    case TRAILER_NAME:
    case TRAILER_VALUE:
    case TRAILER_LF:
    case TRAILERS_LF:
        trailer_byte(parser, bytes[0]);
        return 1;
    default:
        return chunk_line(parser, bytes, count);
    }
}

size_t
ns_http1_feed(struct ns_http1 *parser, const uint8_t *bytes, size_t count,
              struct ns_http1_input *input)
{
    *input = (struct ns_http1_input){.event = owed(parser)};
    size_t i = 0;
    while (input->event == NS_HTTP1_MORE && i < count) {
        i += step(parser, bytes + i, count - i, input);
        if (parser->state == FAILED) {
            input->event = NS_HTTP1_ERROR;
        } else if (parser->state == MESSAGE_DONE && input->event == NS_HTTP1_MORE) {
            input->event = owed(parser);
        }
    }
    return i;
}

void
ns_http1_unread(struct ns_http1 *parser, size_t count)
{
    if (count == 0 || parser->state == BODY_CLOSE) {
        return;
    }
    if (parser->state == CHUNK_DATA_END) {
        parser->state = CHUNK_DATA;
    } else if (parser->state == MESSAGE_DONE) {
        parser->state = BODY_LENGTH;
    }
    parser->left += count;
}

enum ns_http1_event
ns_http1_close(struct ns_http1 *parser)
{
    enum ns_http1_event event = owed(parser);
    if (event != NS_HTTP1_MORE) {
        return event;
    }
    if (parser->state == BODY_CLOSE) {
        parser->state = START;
        return NS_HTTP1_END;
    }
    if (ns_http1_idle(parser)) {
        return NS_HTTP1_MORE;
    }
    parser->state = FAILED;
    return NS_HTTP1_ERROR;
}

/* --- what is known ------------------------------------------------------------------------- */

enum ns_http1_problem
ns_http1_error(const struct ns_http1 *parser)
{
    return (enum ns_http1_problem)parser->problem;
}

bool
ns_http1_idle(const struct ns_http1 *parser)
{
    return parser->state == START || parser->state == START_LF;
}

bool
ns_http1_between_chunks(const struct ns_http1 *parser)
{
    return parser->state == CHUNK_SIZE_FIRST;
}

struct ns_http1_text
ns_http1_method(const struct ns_http1 *parser)
{
    return (struct ns_http1_text){.text = parser->head, .bytes = parser->method_bytes};
}

struct ns_http1_text
ns_http1_target(const struct ns_http1 *parser)
{
    return (struct ns_http1_text){.text = parser->head + parser->target_start,
                                  .bytes = parser->target_bytes};
}

int
ns_http1_status(const struct ns_http1 *parser)
{
    return parser->status;
}

uint32_t
ns_http1_head_bytes(const struct ns_http1 *parser)
{
    return parser->head_bytes;
}

size_t
ns_http1_header_count(const struct ns_http1 *parser)
{
    return parser->header_count;
}

const struct ns_http1_header *
ns_http1_header_at(const struct ns_http1 *parser, size_t index)
{
    return index < parser->header_count ? &parser->headers[index] : NULL;
}

struct ns_http1_text
ns_http1_find(const struct ns_http1 *parser, const char *name)
{
    for (size_t i = 0; i < parser->header_count; i++) {
        if (ns_http1_same_word(parser->headers[i].name, name)) {
            return parser->headers[i].value;
        }
    }
    return (struct ns_http1_text){.text = NULL, .bytes = 0};
}

int64_t
ns_http1_content_length(const struct ns_http1 *parser)
{
    return parser->content_length;
}

bool
ns_http1_keep_alive(const struct ns_http1 *parser)
{
    return parser->keep_alive;
}

bool
ns_http1_is_plain_success(const struct ns_http1 *parser)
{
    struct ns_http1_text coding = ns_http1_find(parser, "content-encoding");
    return parser->status == 200 &&
           (coding.bytes == 0 || ns_wire_text_is_nocase(coding.text, coding.bytes, "identity"));
}
