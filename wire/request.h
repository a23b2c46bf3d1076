/* SPDX-License-Identifier: Apache-2.0 */
/* One request: from its head whether it is a call, from its body the facts of the call. */
#ifndef NS_WIRE_REQUEST_H
#define NS_WIRE_REQUEST_H

#include "wire/coding.h"
#include "wire/fingerprint.h"
#include "wire/http1.h"
#include "wire/json.h"
#include "wire/providers/family.h"
#include "wire/usage_ask.h"

struct ns_request {
    const struct ns_family *family; /* NULL: no call */
    const struct ns_route *route;
    uint8_t quirks;
    struct ns_wire_call *call;
    struct ns_coding *coding;
    struct ns_json *json; /* kept from request to request */
    struct ns_facts facts;
    struct ns_prompt prompt;
    int64_t content_length;                          /* as sent, -1 unknown */
    uint64_t sent_bytes;                             /* of the body, as sent */
    struct ns_wire_range strip[NS_STRIP_RANGES_MAX]; /* header lines that must not leave */
    uint8_t strip_count;
    bool form;     /* the body is a form: it has no tools */
    bool readable; /* the body is JSON, so far */
    bool askable;  /* its head lets its body be edited, to ask for the usage of a stream */
    struct ns_usage_ask ask;
    struct ns_fingerprint body; /* as far as it was read */
};

/*
 * Reads a complete head into call->request. Afterwards request->family is NULL where this is no
 * call. server_name may be NULL. The call stays the caller's. Returns 0 or -ENOMEM (and it is no
 * call).
 */
int ns_request_head(struct ns_request *request, const struct ns_http1 *parser,
                    const struct ns_wire_hosts *hosts, const char *server_name,
                    struct ns_wire_call *call);

/* What is known of a request whose head cannot be read, as far as its denial wants it: the host by
 * server_name (may be NULL), the rest by the request line where there is one. False: no provider's
 * host. */
bool ns_request_unread(const struct ns_http1 *parser, const struct ns_wire_hosts *hosts,
                       const char *server_name, struct ns_wire_call *call);

/* Body bytes, as sent, transfer coding removed. */
void ns_request_body(struct ns_request *request, const uint8_t *bytes, size_t count);

/* The body has ended, or as much of it was read as is wanted: completes the facts. */
void ns_request_finish(struct ns_request *request, bool complete);

/* After ns_request_finish: the edit of the body (as sent, transfer coding removed) that makes the
 * stream of this request tell its usage. False: it does anyhow, or must not be asked. */
bool ns_request_usage_edit(const struct ns_request *request, struct ns_usage_edit *edit);

void ns_request_free(struct ns_request *request);

#endif
