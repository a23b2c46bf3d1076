/* SPDX-License-Identifier: Apache-2.0 */
/* One call on a stream of HTTP/2: its request and its answer, as heads and pieces of bodies. */
#ifndef NS_WIRE_HTTP2_CALL_H
#define NS_WIRE_HTTP2_CALL_H

#include "base/bytes.h"
#include "wire/http1.h"
#include "wire/wire.h"

struct ns_http2_call;

/* Reads the head of a request: *call is NULL where it is none. Offsets in the call's facts are of
 * the head's text. Returns 0 or -ENOMEM (and *call is NULL). */
int ns_http2_call_new(const struct ns_wire_hosts *hosts, const char *server_name,
                      const struct ns_http1 *head, struct ns_http2_call **call);

/* With the call, where that was not taken. */
void ns_http2_call_free(struct ns_http2_call *call);

/* Body of the request. */
void ns_http2_call_request(struct ns_http2_call *call, const uint8_t *bytes, size_t count);

/* Whether its body may be edited, as far as its head tells: to ask for the usage of a stream. */
bool ns_http2_call_is_askable(const struct ns_http2_call *call);

/* After ns_http2_call_facts: makes the whole body ask for the usage of its stream, and marks the
 * call usage_injected. Returns 0, -ENOENT: it does anyhow, or must not be asked; -ENOMEM. Then
 * nothing is changed. */
int ns_http2_call_ask_usage(struct ns_http2_call *call, struct ns_bytes *body);

/* Of the request's body so far, as sent. */
uint64_t ns_http2_call_request_bytes(const struct ns_http2_call *call);

/* The request has ended (complete), or is long enough: the facts are what can be known. Returns the
 * call, still the caller's neither to free nor to keep beyond ns_http2_call_take. */
struct ns_wire_call *ns_http2_call_facts(struct ns_http2_call *call, bool complete);

/* The head of the final answer, and its body. */
void ns_http2_call_answer(struct ns_http2_call *call, const struct ns_http1 *head);
void ns_http2_call_answer_body(struct ns_http2_call *call, const uint8_t *bytes, size_t count);

/* As ns_answer_may_cut and ns_answer_event. */
bool ns_http2_call_may_cut(const struct ns_http2_call *call, bool *now);
size_t ns_http2_call_answer_event(struct ns_http2_call *call, const uint8_t *bytes, size_t count,
                                  bool *boundary);

/* The call, still not the caller's. */
struct ns_wire_call *ns_http2_call_of(const struct ns_http2_call *call);

/* As ns_answer_repeats. */
bool ns_http2_call_repeats(const struct ns_http2_call *call);

/* The call with the usage told so far, for progress; NULL before its answer. */
const struct ns_wire_call *ns_http2_call_current(struct ns_http2_call *call);

/* The call is over; complete: its answer ended as HTTP says it must. Returns it, now the caller's
 * to free (ns_wire_call_free), and frees the rest. */
struct ns_wire_call *ns_http2_call_take(struct ns_http2_call *call, bool complete);

#endif
