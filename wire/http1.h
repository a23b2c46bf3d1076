/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A push parser for HTTP/1.x messages in one direction of one connection (RFC 9112).
 *
 * Feed it bytes as they come; it returns at every event with the number of bytes consumed, and is
 * called again with the rest, even where that is nothing (an END may need no bytes), until
 * NS_HTTP1_MORE. UPGRADE and ERROR are final: nothing is consumed from then on. Where the input is
 * split makes no difference, except that body bytes come in as many NS_HTTP1_BODY events as the
 * splits demand. It allocates one buffer for the current head (at most NS_HEAD_BYTES_MAX), keeps no
 * body, and knows nothing of what the messages mean.
 */
#ifndef NS_WIRE_HTTP1_H
#define NS_WIRE_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ns_http1_side { NS_HTTP1_REQUESTS, NS_HTTP1_RESPONSES };

enum ns_http1_event {
    NS_HTTP1_MORE,    /* all input consumed, nothing to say */
    NS_HTTP1_HEAD,    /* a head is complete: method/status and headers may be asked for */
    NS_HTTP1_BODY,    /* body bytes, transfer coding removed: see ns_http1_input */
    NS_HTTP1_END,     /* the message is complete (trailers included); the next may follow */
    NS_HTTP1_UPGRADE, /* a response switched protocols (101, or 2xx to CONNECT): no more HTTP here
                       */
    NS_HTTP1_ERROR    /* not HTTP/1.x, or past a bound: ns_http1_error says why; final */
};

enum ns_http1_problem {
    NS_HTTP1_OK,
    NS_HTTP1_NOT_HTTP, /* the first bytes are no start line */
    NS_HTTP1_BAD_START_LINE,
    NS_HTTP1_BAD_HEADER, /* no colon, bad name, bare CR or NUL, a folded line that frames */
    NS_HTTP1_BAD_LENGTH, /* Content-Length not a number, too large, or two that differ */
    NS_HTTP1_AMBIGUOUS,  /* Content-Length together with Transfer-Encoding in a request,
                            or a transfer coding whose last is not "chunked" in a request */
    NS_HTTP1_BAD_CHUNK,
    NS_HTTP1_TOO_LARGE, /* head, header count, chunk line or trailers past their bound */
    NS_HTTP1_NO_MEMORY
};

struct ns_http1_input {
    enum ns_http1_event event;
    const uint8_t *body; /* NS_HTTP1_BODY: within the bytes that were fed */
    size_t body_bytes;
};

struct ns_http1_text {
    const char *text; /* not NUL-terminated; within the head, valid until the next head begins */
    size_t bytes;
};

struct ns_http1_header {
    struct ns_http1_text name;  /* as written */
    struct ns_http1_text value; /* outer blanks removed; line endings within it where folded */
    uint32_t line_offset;       /* where its line begins, from the first byte of the message
                                   (empty lines before it left out) */
    uint32_t line_bytes;        /* with its line ending, and the lines folded into it */
};

struct ns_http1;

/* A parser at the start of a connection, or NULL without memory. */
struct ns_http1 *ns_http1_new(enum ns_http1_side side);
void ns_http1_free(struct ns_http1 *parser);

/*
 * Responses only, and before a response's head is complete: the method of the request that it
 * answers is HEAD (no body whatever its headers say) or CONNECT (2xx switches protocols).
 * Must be said anew for each request; the default is neither. It holds through interim responses
 * and goes with the head of the final one.
 */
void ns_http1_answering(struct ns_http1 *parser, bool head, bool connect);

/*
 * Consumes bytes up to the next event. Returns how many; *input says what happened.
 * Interim responses (1xx but 101) come as a HEAD and an END of their own: ns_http1_status tells
 * them. An empty line before a request line is skipped. A CRLF may be a bare LF.
 */
size_t ns_http1_feed(struct ns_http1 *parser, const uint8_t *bytes, size_t count,
                     struct ns_http1_input *input);

/* The last so many bytes of the body just told were not: they come again, or never. */
void ns_http1_unread(struct ns_http1 *parser, size_t count);

/* The connection ended. Returns NS_HTTP1_END where that completes a response read until close,
 * NS_HTTP1_MORE between messages, NS_HTTP1_ERROR in the middle of one. */
enum ns_http1_event ns_http1_close(struct ns_http1 *parser);

enum ns_http1_problem ns_http1_error(const struct ns_http1 *parser);

/* True between messages: no byte of the next one has been seen. */
bool ns_http1_idle(const struct ns_http1 *parser);

/* Between two chunks of a body? */
bool ns_http1_between_chunks(const struct ns_http1 *parser);

/* From HEAD until the next message begins. */
struct ns_http1_text ns_http1_method(const struct ns_http1 *parser);
struct ns_http1_text ns_http1_target(const struct ns_http1 *parser); /* as in the request line */
int ns_http1_status(const struct ns_http1 *parser);                  /* 100 to 999 */
uint32_t ns_http1_head_bytes(const struct ns_http1 *parser);
size_t ns_http1_header_count(const struct ns_http1 *parser);
const struct ns_http1_header *ns_http1_header_at(const struct ns_http1 *parser, size_t index);

/* The value of the first header of this name (any case); .text is NULL where there is none. */
struct ns_http1_text ns_http1_find(const struct ns_http1 *parser, const char *name);

/* The length of the body that follows, 0 where none does (HEAD, 204, 304) whatever the head says of
 * it, or -1 where chunked or until close. */
int64_t ns_http1_content_length(const struct ns_http1 *parser);
bool ns_http1_keep_alive(const struct ns_http1 *parser);

/* Is this the head of a 200 whose body has no content coding? */
bool ns_http1_is_plain_success(const struct ns_http1 *parser);

#endif
