/* SPDX-License-Identifier: Apache-2.0 */
/* The body of one answer to a call, as it passes: content coding, then JSON documents, bare or as
 * server-sent events or AWS messages, then facts. Work per event does not grow with the stream. */
#ifndef NS_WIRE_ANSWER_H
#define NS_WIRE_ANSWER_H

#include "wire/coding.h"
#include "wire/event_bytes.h"
#include "wire/event_stream.h"
#include "wire/http1.h"
#include "wire/json.h"
#include "wire/providers/family.h"
#include "wire/repeat.h"
#include "wire/sse.h"

enum ns_answer_framing {
    NS_ANSWER_UNKNOWN,  /* before the first byte that is not blank */
    NS_ANSWER_JSON,     /* one document or many: JSON, NDJSON, an array of chunks */
    NS_ANSWER_EVENTS,   /* server-sent events */
    NS_ANSWER_MESSAGES, /* an AWS event stream */
    NS_ANSWER_UNREADABLE
};

struct ns_answer {
    const struct ns_family *family; /* NULL: none is being read */
    struct ns_reading reading;
    struct ns_coding *coding;
    struct ns_json *json; /* kept from answer to answer */
    struct ns_facts facts;
    struct ns_sse sse;
    struct ns_event_stream messages;
    struct ns_event_bytes wrapped; /* within a message of type "chunk" */
    struct ns_repeat repeat;
    int heard;      /* the fact that the last value was; 0: none */
    bool unsettled; /* facts were told since the usage was settled */
    enum ns_answer_framing framing;
    uint8_t done_matched;   /* bytes of "[DONE]" that the event's data began with */
    bool event_fed;         /* JSON of the event has begun */
    bool event_bad;         /* it is no JSON: the rest of it is skipped */
    bool document_complete; /* the last document was */
    bool plain;             /* it has no content coding */
    bool stream_over;       /* the event after which there is no other has ended */
};

/* Begins with a complete head. The call stays the caller's until ns_answer_end. */
void ns_answer_begin(struct ns_answer *answer, const struct ns_http1 *parser,
                     const struct ns_family *family, uint8_t quirks, struct ns_wire_call *call);

void ns_answer_body(struct ns_answer *answer, const uint8_t *bytes, size_t count);

/* The same, but only up to the end of the next event (or element of an array), where *boundary is
 * set: the body may be cut there. Returns how many bytes that were. */
size_t ns_answer_event(struct ns_answer *answer, const uint8_t *bytes, size_t count,
                       bool *boundary);

/* Can this body be cut at all, and (*now) here? */
bool ns_answer_may_cut(const struct ns_answer *answer, bool *now);

/* Is a stream being read, between two events, of which the last was one like many, as the next one
 * may be? */
bool ns_answer_repeats(const struct ns_answer *answer);

/* The call whose answer is being read, its usage settled so far; NULL: none is. */
const struct ns_wire_call *ns_answer_current(struct ns_answer *answer);

/* The answer is over; complete: as HTTP says it must. Settles the usage. */
void ns_answer_end(struct ns_answer *answer, bool complete);

void ns_answer_free(struct ns_answer *answer);

#endif
