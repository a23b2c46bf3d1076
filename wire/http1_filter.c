/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/http1_filter.h"

#include <string.h>

#include "base/mem.h"
#include "wire/http1_head.h"
#include "wire/text.h"
#include "wire/usage_filter.h"

enum mode {
    IN_HEAD,
    PASSING,    /* as it came */
    CHUNKED,    /* chunks in, chunks out */
    LENGTH,     /* so many bytes in, chunks out */
    UNTIL_CLOSE /* no framing */
};

struct ns_http1_filter {
    struct ns_http1 *parser; /* of its own: the connection's knows nothing of output */
    uint8_t mode;
    bool over;
    struct ns_bytes unsaid; /* head so far, or framing since the last byte of body */
    struct ns_usage_filter usage;
};

struct ns_http1_filter *
ns_http1_filter_new(void)
{
    struct ns_http1_filter *filter = ns_mem_alloc(sizeof *filter);
    if (filter == NULL) {
        return NULL;
    }
    filter->parser = ns_http1_new(NS_HTTP1_RESPONSES);
    if (filter->parser == NULL || ns_usage_filter_init(&filter->usage) != 0) {
        ns_http1_filter_free(filter);
        return NULL;
    }
    return filter;
}

void
ns_http1_filter_free(struct ns_http1_filter *filter)
{
    if (filter != NULL) {
        ns_http1_free(filter->parser);
        ns_usage_filter_free(&filter->usage);
        ns_bytes_free(&filter->unsaid);
        ns_mem_free(filter);
    }
}

/* --- output -------------------------------------------------------------------------------- */

static bool
say_unsaid(struct ns_http1_filter *filter, struct ns_bytes *out)
{
    bool said =
        ns_bytes_append(out, ns_bytes_front(&filter->unsaid), ns_bytes_count(&filter->unsaid));
    ns_bytes_free(&filter->unsaid);
    return said;
}

/* A piece of body. */
static bool
say(const struct ns_http1_filter *filter, const void *bytes, size_t count, struct ns_bytes *out)
{
    char line[18];
    size_t i = sizeof(line);
    if (count == 0) {
        return true;
    }
    if (filter->mode == UNTIL_CLOSE) {
        return ns_bytes_append(out, bytes, count);
    }
    line[--i] = '\n';
    line[--i] = '\r';
    for (size_t left = count; left > 0; left >>= 4) {
        line[--i] = "0123456789abcdef"[left & 15];
    }
    return ns_bytes_append(out, line + i, sizeof(line) - i) && ns_bytes_append(out, bytes, count) &&
           ns_bytes_append(out, "\r\n", 2);
}

static bool
say_kept(struct ns_http1_filter *filter, struct ns_bytes *out)
{
    struct ns_usage_output output;
    ns_usage_filter_finish(&filter->usage, &output);
    return say(filter, output.bytes, output.count, out);
}

/* --- input --------------------------------------------------------------------------------- */

static void
choose_mode(struct ns_http1_filter *filter)
{
    const struct ns_http1 *parser = filter->parser;
    if (!ns_http1_is_plain_success(parser)) {
        filter->mode = PASSING;
    } else if (parser->body_state == BODY_CLOSE) {
        filter->mode = UNTIL_CLOSE;
    } else if (parser->content_length < 0) {
        filter->mode = CHUNKED;
    } else { /* no chunks in HTTP/1.0 */
        filter->mode = parser->content_length == 0 || parser->minor_zero ? PASSING : LENGTH;
    }
}

/* The head of the final answer, which lies in unsaid as it is in the parser. */
static bool
say_head(struct ns_http1_filter *filter, struct ns_bytes *out)
{
    static const char chunked[] = "Transfer-Encoding: chunked\r\n";
    const struct ns_http1 *parser = filter->parser;
    size_t from = 0;
    bool framed = false;
    choose_mode(filter);
    for (size_t i = 0; filter->mode == LENGTH && i < parser->header_count; i++) {
        const struct ns_http1_header *header = &parser->headers[i];
        if (!ns_http1_same_word(header->name, "content-length")) {
            continue;
        }
        if (!ns_bytes_append(out, parser->head + from, header->line_offset - from) ||
            (!framed && !ns_bytes_append(out, chunked, sizeof(chunked) - 1))) {
            return false;
        }
        framed = true;
        from = header->line_offset + header->line_bytes;
    }
    ns_bytes_free(&filter->unsaid);
    return ns_bytes_append(out, parser->head + from, parser->head_bytes - from);
}

static bool
say_body(struct ns_http1_filter *filter, const uint8_t *bytes, size_t count, struct ns_bytes *out)
{
    ns_bytes_free(&filter->unsaid);
    for (size_t i = 0; i < count;) {
        struct ns_usage_output output;
        i += ns_usage_filter_feed(&filter->usage, bytes + i, count - i, &output);
        if (!say(filter, output.bytes, output.count, out)) {
            return false;
        }
    }
    return true;
}

/* What stands in unsaid behind the line of the last chunk: the trailers and the empty line. */
static bool
say_trailers(struct ns_http1_filter *filter, struct ns_bytes *out)
{
    const uint8_t *bytes = ns_bytes_front(&filter->unsaid);
    size_t count = ns_bytes_count(&filter->unsaid);
    size_t at = 0;
    while (at < count && (bytes[at] == '\r' || bytes[at] == '\n')) { /* the last chunk's end */
        at++;
    }
    const uint8_t *lf = at < count ? memchr(bytes + at, '\n', count - at) : NULL;
    at = lf != NULL ? (size_t)(lf - bytes) + 1 : count;
    return ns_bytes_append(out, "0\r\n", 3) && ns_bytes_append(out, bytes + at, count - at);
}

static bool
end(struct ns_http1_filter *filter, struct ns_bytes *out)
{
    switch (filter->mode) {
    case IN_HEAD: /* an interim answer */
        return say_unsaid(filter, out);
    case CHUNKED:
        filter->over = true;
        return say_kept(filter, out) && say_trailers(filter, out);
    case LENGTH:
        filter->over = true;
        return say_kept(filter, out) && ns_bytes_append(out, "0\r\n\r\n", 5);
    case UNTIL_CLOSE:
        filter->over = true;
        return say_kept(filter, out);
    default:
        filter->over = true;
        return true;
    }
}

/* What the parser does not understand passes, as all that follows. */
static bool
give_up(struct ns_http1_filter *filter, const uint8_t *bytes, size_t count, struct ns_bytes *out)
{
    bool said = filter->mode == IN_HEAD || filter->mode == PASSING || say_kept(filter, out);
    filter->mode = PASSING;
    return said && say_unsaid(filter, out) && ns_bytes_append(out, bytes, count);
}

static bool
handle(struct ns_http1_filter *filter, const struct ns_http1_input *input, const uint8_t *bytes,
       size_t used, struct ns_bytes *out)
{
    int status = filter->parser->status;
    if (filter->mode == PASSING) {
        return (used == 0 || ns_bytes_append(out, bytes, used)) &&
               (input->event != NS_HTTP1_END || end(filter, out));
    }
    if (input->event == NS_HTTP1_BODY) {
        return say_body(filter, input->body, input->body_bytes, out);
    }
    if (used > 0 && !ns_bytes_append(&filter->unsaid, bytes, used)) {
        return false;
    }
    switch (input->event) {
    case NS_HTTP1_HEAD:
        return (status >= 100 && status < 200 && status != 101) || say_head(filter, out);
    case NS_HTTP1_END:
        return end(filter, out);
    default:
        return true;
    }
}

bool
ns_http1_filter_feed(struct ns_http1_filter *filter, const uint8_t *bytes, size_t count,
                     struct ns_bytes *out)
{
    for (;;) {
        struct ns_http1_input input;
        size_t used = ns_http1_feed(filter->parser, bytes, count, &input);
        if (input.event == NS_HTTP1_ERROR || input.event == NS_HTTP1_UPGRADE) {
            return give_up(filter, bytes, count, out);
        }
        if (!handle(filter, &input, bytes, used, out)) {
            return false;
        }
        bytes += used;
        count -= used;
        if (input.event == NS_HTTP1_MORE || filter->over) {
            return true;
        }
    }
}

bool
ns_http1_filter_close(struct ns_http1_filter *filter, struct ns_bytes *out)
{
    if (filter->over || filter->mode == PASSING) {
        return true;
    }
    filter->over = true;
    return (filter->mode == IN_HEAD || say_kept(filter, out)) &&
           (filter->mode != IN_HEAD || say_unsaid(filter, out));
}

bool
ns_http1_filter_cut(struct ns_http1_filter *filter, const char *text, size_t count,
                    struct ns_bytes *out)
{
    if (filter->over || filter->mode == PASSING || filter->mode == IN_HEAD) {
        return false;
    }
    filter->over = true;
    return say_kept(filter, out) && say(filter, text, count, out) &&
           (filter->mode == UNTIL_CLOSE || ns_bytes_append(out, "0\r\n\r\n", 5));
}

bool
ns_http1_filter_is_over(const struct ns_http1_filter *filter)
{
    return filter->over;
}

bool
ns_http1_filter_filters(const struct ns_http1_filter *filter)
{
    return filter->mode != PASSING || filter->parser->status != 200;
}
