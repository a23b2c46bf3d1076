/* SPDX-License-Identifier: Apache-2.0 */
/* What wire/http1.c (the states and the bytes) and wire/http1_head.c (the meaning of a head) share.
 */
#ifndef NS_WIRE_HTTP1_HEAD_H
#define NS_WIRE_HTTP1_HEAD_H

#include "wire/http1.h"

/* States are named after what is expected next. */
enum ns_http1_state {
    START,            /* the first byte of a message, or an empty line before it */
    START_LF,         /* the LF of that empty line */
    HEAD,             /* the next byte of the head */
    BODY_LENGTH,      /* body bytes that Content-Length announced */
    BODY_CLOSE,       /* body bytes until the connection closes */
    CHUNK_SIZE_FIRST, /* a hex digit */
    CHUNK_SIZE,       /* more of them */
    CHUNK_BLANK,      /* ';' or the line's end */
    CHUNK_EXTENSION,  /* anything up to the line's end */
    CHUNK_LINE_LF,    /* the LF of a chunk's line */
    CHUNK_DATA,       /* body bytes of a chunk */
    CHUNK_DATA_END,   /* CR or LF after them */
    CHUNK_DATA_LF,    /* the LF after that CR */
    TRAILER,          /* the first byte of a trailer line, or the empty line */
    TRAILER_NAME,     /* more of its name, or ':' */
    TRAILER_VALUE,    /* anything up to the line's end */
    TRAILER_LF,       /* the LF of its line */
    TRAILERS_LF,      /* the LF of the empty line */
    BODY_FROM_HEAD,   /* nothing: the head was told, its body begins */
    MESSAGE_DONE,     /* nothing: END is owed */
    UPGRADED,         /* nothing that is HTTP */
    FAILED
};

struct ns_http1 {
    uint8_t side;  /* enum ns_http1_side */
    uint8_t state; /* enum ns_http1_state */
    uint8_t problem;
    uint8_t body_state;     /* what follows the head */
    bool answering_head;    /* responses: said by ns_http1_answering */
    bool answering_connect; /* " */
    bool keep_alive;
    bool minor_zero;       /* HTTP/1.0 */
    bool start_line_known; /* method, target or status are set */
    int16_t status;
    uint16_t line_bytes;    /* of the chunk line so far */
    uint32_t trailer_bytes; /* so far */
    uint32_t head_bytes;    /* in head */
    uint32_t head_capacity; /* of head */
    uint32_t line_start;    /* of the last line in head, complete or not */
    uint32_t header_count;
    uint32_t header_capacity;
    uint32_t method_bytes; /* at the front of head */
    uint32_t target_start;
    uint32_t target_bytes;
    int64_t content_length; /* -1: chunked or until close */
    uint64_t left;          /* of the body or chunk */
    char *head;
    struct ns_http1_header *headers; /* they point into head */
};

/* RFC 9110, 5.6.2 */
bool ns_http1_is_token_char(uint8_t c);

/* The same but for the case of letters. */
bool ns_http1_same_word(struct ns_http1_text text, const char *word);

/* A start line without its ending. Sets the method and target, or the status. */
enum ns_http1_problem ns_http1_parse_start_line(struct ns_http1 *parser, const char *line,
                                                size_t bytes);

/* Whether bytes from on of a first line that may go on can still become a start line. So a
 * connection that speaks something else is found out at once. */
bool ns_http1_may_be_start_line(const struct ns_http1 *parser, const char *line, size_t from,
                                size_t bytes);

/* The head is whole, its last line (at line_start) empty: sets the headers and body_state. */
enum ns_http1_problem ns_http1_complete_head(struct ns_http1 *parser);

#endif
