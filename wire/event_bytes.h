/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a "chunk" message of an AWS event stream wraps: its payload is {"bytes":"<base64>"} with
 * padding beside it, and the model's own document is what the base64 says. Decoded as it passes.
 */
#ifndef NS_WIRE_EVENT_BYTES_H
#define NS_WIRE_EVENT_BYTES_H

#include "wire/base64.h"

/* All zero at the beginning of a payload. */
struct ns_event_bytes {
    uint8_t state;
    uint8_t length; /* of the string that is passing, as far as it matters */
    bool named;     /* the last string was "bytes" */
    bool due;       /* and its value comes */
    struct ns_base64 base64;
};

/* Consumes bytes of the payload and decodes into room for at least 4. Returns how many bytes were
 * consumed; *made came out, and base64.bad says whether something was none. */
size_t ns_event_bytes_feed(struct ns_event_bytes *wrapped, const uint8_t *payload, size_t count,
                           uint8_t *bytes, size_t room, size_t *made);

#endif
