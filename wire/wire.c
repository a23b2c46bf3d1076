/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/wire.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "wire/connection.h"
#include "wire/http1_edit.h"

/* --- life ---------------------------------------------------------------------------------- */

static char *
copy_name(const char *name)
{
    size_t bytes = strlen(name) + 1;
    char *copy = ns_mem_alloc(bytes);
    if (copy != NULL) {
        memcpy(copy, name, bytes);
    }
    return copy;
}

struct ns_wire *
ns_wire_new(const struct ns_wire_hosts *hosts, const char *server_name)
{
    struct ns_wire *wire = ns_mem_alloc(sizeof(*wire));
    if (wire == NULL) {
        return NULL;
    }
    wire->hosts = hosts;
    wire->preface_possible = true;
    wire->writer = ns_http1_new(NS_HTTP1_REQUESTS);
    wire->reader = ns_http1_new(NS_HTTP1_RESPONSES);
    wire->server_name = server_name ? copy_name(server_name) : NULL;
    if (wire->writer == NULL || wire->reader == NULL ||
        (server_name != NULL && wire->server_name == NULL)) {
        ns_wire_free(wire);
        return NULL;
    }
    return wire;
}

void
ns_wire_free(struct ns_wire *wire)
{
    if (wire == NULL) {
        return;
    }
    for (uint32_t i = 0; i < wire->count; i++) {
        ns_wire_call_free(wire->exchanges[(wire->first + i) % NS_EXCHANGES_ROOM].call);
    }
    ns_wire_call_free(wire->draft);
    ns_request_free(&wire->request);
    ns_answer_free(&wire->answer);
    ns_http1_free(wire->writer);
    ns_http1_free(wire->reader);
    ns_mem_free(wire->server_name);
    ns_mem_free(wire);
}

void
ns_wire_call_free(struct ns_wire_call *call)
{
    if (call != NULL) {
        ns_mem_free(call->parts);
    }
    ns_mem_free(call);
}

/* --- giving up ----------------------------------------------------------------------------- */

void
ns_connection_give_up(struct ns_wire *wire, enum ns_wire_opaque reason)
{
    if (wire->opaque == NS_WIRE_CLEAR) {
        wire->opaque = reason;
    }
}

void
ns_connection_give_up_http1(struct ns_wire *wire, const struct ns_http1 *parser)
{
    switch (ns_http1_error(parser)) {
    case NS_HTTP1_NOT_HTTP:
        ns_connection_give_up(wire, NS_WIRE_NOT_HTTP);
        break;
    case NS_HTTP1_NO_MEMORY:
        ns_connection_give_up(wire, NS_WIRE_NO_MEMORY);
        break;
    case NS_HTTP1_TOO_LARGE:
        ns_connection_give_up(wire, NS_WIRE_TOO_LARGE);
        break;
    default:
        ns_connection_give_up(wire, NS_WIRE_MALFORMED);
        break;
    }
}

bool
ns_wire_is_opaque(const struct ns_wire *wire)
{
    return wire->opaque != NS_WIRE_CLEAR;
}

enum ns_wire_opaque
ns_wire_opaque_reason(const struct ns_wire *wire)
{
    return wire->opaque;
}

/* --- exchanges ----------------------------------------------------------------------------- */

static struct ns_exchange *
exchange_at(struct ns_wire *wire, uint32_t index)
{
    return &wire->exchanges[(wire->first + index) % NS_EXCHANGES_ROOM];
}

bool
ns_connection_push(struct ns_wire *wire, struct ns_exchange exchange)
{
    if (wire->count == NS_EXCHANGES_MAX) {
        ns_connection_give_up(wire, NS_WIRE_TOO_DEEP);
        return false;
    }
    *exchange_at(wire, wire->count++) = exchange;
    return true;
}

void
ns_connection_push_refused(struct ns_wire *wire, struct ns_wire_call *call)
{
    *exchange_at(wire, wire->count++) = (struct ns_exchange){.call = call};
    wire->judged = call;
}

struct ns_exchange
ns_connection_pop(struct ns_wire *wire)
{
    struct ns_exchange exchange = *exchange_at(wire, 0);
    wire->first = (wire->first + 1) % NS_EXCHANGES_ROOM;
    wire->count--;
    if (exchange.call != NULL && exchange.call == wire->judged) {
        wire->judged = NULL;
    }
    return exchange;
}

/* The exchange of a call, looked for from the end: it is the one judged last. */
static struct ns_exchange *
exchange_of(struct ns_wire *wire, const struct ns_wire_call *call, uint32_t *index)
{
    for (uint32_t i = wire->count; call != NULL && i > 0; i--) {
        if (exchange_at(wire, i - 1)->call == call) {
            *index = i - 1;
            return exchange_at(wire, i - 1);
        }
    }
    return NULL;
}

/* The call is the caller's from now on, whatever still comes for it. */
static void
release(struct ns_wire *wire, const struct ns_wire_call *call)
{
    if (wire->judged == call) {
        wire->judged = NULL;
    }
    if (wire->answer.family != NULL && wire->answer.reading.call == call) {
        ns_answer_end(&wire->answer, false);
    }
}

void
ns_wire_substitute(struct ns_wire *wire, struct ns_wire_call *call)
{
    uint32_t index;
    struct ns_exchange *exchange = exchange_of(wire, call, &index);
    if (exchange != NULL) {
        *exchange = (struct ns_exchange){.substitute = true};
    }
    release(wire, call);
}

bool
ns_wire_substitute_again(struct ns_wire *wire)
{
    bool room = wire->count < NS_EXCHANGES_MAX;
    return room && ns_connection_push(wire, (struct ns_exchange){.substitute = true});
}

void
ns_wire_forget(struct ns_wire *wire, struct ns_wire_call *call)
{
    uint32_t index;
    struct ns_exchange *exchange = exchange_of(wire, call, &index);
    if (exchange != NULL && index == 0 && wire->reading) {
        exchange->call = NULL; /* it is being answered after all: follow that to its end */
    } else if (exchange != NULL) {
        for (; index + 1 < wire->count; index++) {
            *exchange_at(wire, index) = *exchange_at(wire, index + 1);
        }
        wire->count--;
    }
    release(wire, call);
}

struct ns_wire_call *
ns_wire_take(struct ns_wire *wire)
{
    while (wire->count > 0) {
        if (wire->reading) {
            ns_answer_end(&wire->answer, false);
            wire->reading = false;
        }
        struct ns_exchange exchange = ns_connection_pop(wire);
        if (exchange.call != NULL) {
            return exchange.call;
        }
    }
    return NULL;
}

const struct ns_wire_call *
ns_wire_current(struct ns_wire *wire)
{
    return wire->reading ? ns_answer_current(&wire->answer) : NULL;
}

const struct ns_wire_call *
ns_wire_going_on(struct ns_wire *wire)
{
    bool midst = wire->opaque == NS_WIRE_CLEAR && wire->count == 1 && wire->reading &&
                 !wire->stopping && ns_answer_repeats(&wire->answer) &&
                 ns_http1_between_chunks(wire->reader);
    return midst ? ns_answer_current(&wire->answer) : NULL;
}

void
ns_wire_more_body(struct ns_wire *wire, const uint8_t *body, size_t count)
{
    ns_answer_body(&wire->answer, body, count);
}

const struct ns_wire_call *
ns_wire_due(const struct ns_wire *wire)
{
    return wire->count > 0 ? wire->exchanges[wire->first].call : NULL;
}

int
ns_wire_ask_usage(struct ns_wire *wire, struct ns_wire_call *call, struct ns_bytes *request)
{
    struct ns_usage_edit edit;
    if (call != wire->judged || !ns_request_usage_edit(&wire->request, &edit)) {
        return -ENOENT;
    }
    int result = ns_http1_edit_request(wire->writer, &edit, wire->request.strip,
                                       wire->request.strip_count, request);
    call->request.usage_injected = result == 0;
    return result;
}

void
ns_wire_stop(struct ns_wire *wire)
{
    wire->stopping = true;
}

enum ns_wire_cut
ns_wire_may_cut(const struct ns_wire *wire)
{
    bool now;
    if (wire->opaque != NS_WIRE_CLEAR || !wire->reading ||
        !ns_answer_may_cut(&wire->answer, &now)) {
        return NS_WIRE_CUT_NEVER;
    }
    return now && ns_http1_may_cut(wire->reader) ? NS_WIRE_CUT_NOW : NS_WIRE_CUT_LATER;
}

bool
ns_wire_cut(const struct ns_wire *wire, const char *text, size_t count, struct ns_bytes *out)
{
    return ns_http1_cut(wire->reader, text, count, out);
}

size_t
ns_wire_outstanding(const struct ns_wire *wire)
{
    return wire->count;
}

bool
ns_wire_swallows(const struct ns_wire *wire)
{
    return wire->count > 0 && wire->exchanges[wire->first].substitute;
}

const struct ns_wire_range *
ns_wire_strips(const struct ns_wire *wire, size_t *count)
{
    *count = wire->request.strip_count;
    return wire->request.strip;
}

/* --- evidence ------------------------------------------------------------------------------ */

enum ns_evidence
ns_wire_evidence(const struct ns_wire_call *call)
{
    const struct ns_wire_response *response = &call->response;
    if (response->has_usage) {
        return response->complete ? NS_EVIDENCE_REPORTED : NS_EVIDENCE_PARTIAL;
    }
    if (response->status >= 300) { /* refused or sent elsewhere: that it used nothing is told */
        return NS_EVIDENCE_REPORTED;
    }
    if (response->text_bytes > 0) {
        return NS_EVIDENCE_COUNTED;
    }
    return response->error && response->complete ? NS_EVIDENCE_REPORTED : NS_EVIDENCE_ESTIMATED;
}
