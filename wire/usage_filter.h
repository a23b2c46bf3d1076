/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes out of a stream of chat chunks the one that only tells its usage ("choices":[] and a usage
 * object), where we asked for it and the program did not. The event goes as a whole; every other
 * byte stays, in its order. Works on the body alone, without transfer or content coding.
 *
 * An event is kept back from its first byte until it can be told what it is: until its choices turn
 * out to have one, as a rule within its first 300 bytes. Past NS_USAGE_EVENT_BYTES_MAX it passes
 * whatever it is. Where two events, or an event and a comment, come together, neither waits for the
 * other.
 */
#ifndef NS_WIRE_USAGE_FILTER_H
#define NS_WIRE_USAGE_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/json.h"
#include "wire/limits.h"
#include "wire/sse.h"

struct ns_usage_filter {
    struct ns_sse sse;
    struct ns_json *json;
    uint8_t state;
    uint8_t key;        /* the member of the chunk whose value comes */
    bool choices_open;  /* the list has begun and has nothing in it so far */
    bool choices_empty; /* and has ended so */
    bool usage;         /* there is a usage object */
    bool document;      /* the chunk's object has ended */
    bool given;         /* what is kept was told in the last call */
    bool lf_due;        /* an LF now belongs to the line end of the event that ended */
    bool lf_passes;     /* and that event passed */
    uint32_t kept_bytes;
    uint32_t removed; /* events so far */
    uint8_t kept[NS_USAGE_EVENT_BYTES_MAX];
};

struct ns_usage_output {
    const uint8_t *bytes; /* within the bytes fed, or kept: valid until the next call */
    size_t count;
};

/* At the start of a body. Returns 0 or -ENOMEM. */
int ns_usage_filter_init(struct ns_usage_filter *filter);
void ns_usage_filter_free(struct ns_usage_filter *filter);

/* Consumes bytes of the body and returns how many; *output is what passes now, perhaps nothing.
 * Call again with the rest until all are consumed. */
size_t ns_usage_filter_feed(struct ns_usage_filter *filter, const uint8_t *bytes, size_t count,
                            struct ns_usage_output *output);

/* Bytes that were fed and neither passed nor went so far. */
static inline size_t
ns_usage_filter_kept(const struct ns_usage_filter *filter)
{
    return filter->given ? 0 : filter->kept_bytes;
}

/* The body has ended: what is still kept passes, unless it is the usage chunk without its blank
 * line. */
void ns_usage_filter_finish(struct ns_usage_filter *filter, struct ns_usage_output *output);

#endif
