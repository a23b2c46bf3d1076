/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-sent events as a push parser (WHATWG HTML, 9.2.6): LF, CR and CRLF endings, comments,
 * a leading BOM, data over several lines. Data is handed through in pieces and never kept, so an
 * event may have any length.
 */
#ifndef NS_WIRE_SSE_H
#define NS_WIRE_SSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/limits.h"

enum ns_sse_event {
    NS_SSE_MORE, /* all input consumed */
    NS_SSE_DATA, /* a piece of the event's data; the line break between two data lines comes as a
                    piece of its own, "\n" */
    NS_SSE_END   /* the blank line: the event is complete (only after at least one field) */
};

struct ns_sse {
    uint8_t state;
    uint8_t name_bytes;
    uint8_t event_bytes;
    uint8_t flags;
    char name[NS_SSE_FIELD_BYTES_MAX];
    char event[NS_SSE_FIELD_BYTES_MAX]; /* the event's type so far, cut at the bound; "" if none */
};

struct ns_sse_input {
    enum ns_sse_event event;
    const uint8_t *data; /* NS_SSE_DATA: within the bytes fed, or a static "\n" */
    size_t data_bytes;
};

void ns_sse_init(struct ns_sse *sse);

/* Consumes bytes up to the next event and returns how many. Every input is valid SSE. */
size_t ns_sse_feed(struct ns_sse *sse, const uint8_t *bytes, size_t count,
                   struct ns_sse_input *input);

/* Is this between events: no byte of the next one's fields was seen? Comments are between. */
bool ns_sse_between(const struct ns_sse *sse);

/* May the next byte still be one of the stream's byte order mark? */
bool ns_sse_in_mark(const struct ns_sse *sse);

/* The same, and no comment has begun either: other events may be put in here. */
bool ns_sse_fresh(const struct ns_sse *sse);

#endif
