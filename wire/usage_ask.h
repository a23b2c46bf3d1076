/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the body of a chat request must be edited so that its stream carries its usage:
 * "stream_options":{"include_usage":true} in the top-level object. Found while the body's JSON
 * passes, so that nothing is read twice; knows nothing of how the body is framed.
 */
#ifndef NS_WIRE_USAGE_ASK_H
#define NS_WIRE_USAGE_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/json.h"

/* All zero at the start of a body. */
struct ns_usage_ask {
    uint8_t next;    /* whose value comes next */
    uint8_t form;    /* what the edit is, once its place is known */
    bool options;    /* stream_options was seen */
    bool in_options; /* it is being read */
    bool empty;      /* it has no member so far */
    bool include;    /* include_usage was seen in it */
    bool complete;   /* the object has ended */
    bool unfit;      /* asks already, or says what cannot be edited safely */
    uint32_t removed;
    uint64_t offset;
};

/* An edit: so many bytes at the offset give way to the text. */
struct ns_usage_edit {
    uint64_t offset;
    uint32_t removed;
    const char *text; /* static */
    uint32_t text_bytes;
};

/* One event of the body's JSON, all of them in order; end: bytes of the body up to the event's end,
 * its last byte included. */
void ns_usage_ask_event(struct ns_usage_ask *ask, const struct ns_json_input *input, uint64_t end);

/* The body has ended. False: it cannot be made to ask, or does already. */
bool ns_usage_ask_edit(const struct ns_usage_ask *ask, struct ns_usage_edit *edit);

#endif
