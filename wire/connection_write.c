/* SPDX-License-Identifier: Apache-2.0 */
/* The writer's side: which bytes belong to calls, and when a call can be judged. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "wire/connection.h"
#include "wire/text.h"

static const char http2_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"; /* RFC 9113, 3.4 */

/* Does the connection begin with the preface? True once enough of it was seen. */
static bool
begins_http2(struct ns_wire *wire, const uint8_t *bytes, size_t count)
{
    size_t enough = strlen("PRI * HTTP/2.0\r\n");
    for (size_t i = 0; wire->preface_possible && i < count; i++) {
        wire->preface_possible = bytes[i] == (uint8_t)http2_preface[wire->preface_matched];
        wire->preface_matched += wire->preface_possible;
        if (wire->preface_matched == enough) {
            return true;
        }
    }
    return false;
}

/* A head is complete: is it a call? */
static void
judge_head(struct ns_wire *wire)
{
    struct ns_wire_call *call = ns_mem_alloc(sizeof(*call));
    if (call == NULL ||
        ns_request_head(&wire->request, wire->writer, wire->hosts, wire->server_name, call) != 0) {
        ns_connection_give_up(wire, NS_WIRE_NO_MEMORY);
        ns_wire_call_free(call);
        return;
    }
    if (wire->request.family != NULL) {
        wire->draft = call;
        wire->write_state = NS_WRITE_BODY;
        return;
    }
    ns_wire_call_free(call);
    struct ns_http1_text method = ns_http1_method(wire->writer);
    wire->write_state = NS_WRITE_PASS;
    (void)ns_connection_push(
        wire,
        (struct ns_exchange){.head = ns_wire_text_is(method.text, method.bytes, "HEAD"),
                             .connect = ns_wire_text_is(method.text, method.bytes, "CONNECT")});
}

/* The facts of the draft are complete, or as complete as the bound lets them be. */
static void
judge_call(struct ns_wire *wire, bool body_complete, struct ns_wire_written *written)
{
    ns_request_finish(&wire->request, body_complete);
    if (!ns_connection_push(wire, (struct ns_exchange){.call = wire->draft,
                                                       .family = wire->request.family,
                                                       .quirks = wire->request.quirks})) {
        return;
    }
    wire->judged = wire->draft;
    wire->draft = NULL;
    wire->write_state = body_complete ? NS_WRITE_HEAD : NS_WRITE_REST;
    written->class = NS_WIRE_CALL;
    written->call = wire->judged;
    written->message_end = body_complete;
}

/* A message of no bytes more ends with its head: that must be said with the head's own bytes. */
static bool
ends_here(struct ns_wire *wire)
{
    struct ns_http1_input input;
    (void)ns_http1_feed(wire->writer, NULL, 0, &input);
    if (input.event == NS_HTTP1_ERROR) {
        ns_connection_give_up_http1(wire, wire->writer);
    }
    return input.event == NS_HTTP1_END;
}

static bool
waits_for_continue(const struct ns_wire *wire)
{
    struct ns_http1_text expect = ns_http1_find(wire->writer, "expect");
    return expect.text != NULL && ns_wire_text_is_nocase(expect.text, expect.bytes, "100-continue");
}

/* Bytes up to the end of a head. */
static size_t
write_head(struct ns_wire *wire, const uint8_t *bytes, size_t count,
           struct ns_wire_written *written)
{
    struct ns_http1_input input;
    size_t consumed = ns_http1_feed(wire->writer, bytes, count, &input);
    written->class = NS_WIRE_WITHHOLD;
    if (input.event == NS_HTTP1_ERROR) {
        ns_connection_give_up_http1(wire, wire->writer);
        return consumed;
    }
    if (input.event != NS_HTTP1_HEAD) {
        return consumed;
    }
    judge_head(wire);
    if (wire->opaque != NS_WIRE_CLEAR) {
        return consumed;
    }
    bool end = ends_here(wire);
    if (wire->write_state == NS_WRITE_PASS) {
        written->class = NS_WIRE_FREE;
        written->message_end = end;
        wire->write_state = end ? NS_WRITE_HEAD : NS_WRITE_PASS;
    } else if (end) {
        judge_call(wire, true, written);
    } else {
        written->expects_continue = consumed == count && waits_for_continue(wire);
    }
    return consumed;
}

/* Body of a call that is not judged yet, up to its end or the bound. */
static size_t
write_body(struct ns_wire *wire, const uint8_t *bytes, size_t count, uint64_t body_bytes_max,
           struct ns_wire_written *written)
{
    size_t consumed = 0;
    written->class = NS_WIRE_WITHHOLD;
    for (;;) {
        struct ns_http1_input input;
        uint64_t room = ns_less(body_bytes_max, wire->request.sent_bytes);
        if (room == 0 && !ends_here(wire)) {
            judge_call(wire, false, written);
            return consumed;
        }
        if (room == 0) {
            judge_call(wire, true, written);
            return consumed;
        }
        size_t offered = count - consumed < room ? count - consumed : (size_t)room;
        consumed += ns_http1_feed(wire->writer, bytes + consumed, offered, &input);
        switch (input.event) {
        case NS_HTTP1_BODY:
            ns_request_body(&wire->request, input.body, input.body_bytes);
            break;
        case NS_HTTP1_END:
            judge_call(wire, true, written);
            return consumed;
        case NS_HTTP1_ERROR:
            ns_connection_give_up_http1(wire, wire->writer);
            return consumed;
        default:
            if (consumed == count) {
                return consumed;
            }
            break;
        }
    }
}

/* Body that is only followed to its end. */
static size_t
write_rest(struct ns_wire *wire, const uint8_t *bytes, size_t count,
           struct ns_wire_written *written)
{
    bool pass = wire->write_state == NS_WRITE_PASS;
    size_t consumed = 0;
    written->class = pass ? NS_WIRE_PASS : NS_WIRE_REST;
    written->call = pass ? NULL : wire->judged;
    for (;;) {
        struct ns_http1_input input;
        consumed += ns_http1_feed(wire->writer, bytes + consumed, count - consumed, &input);
        if (input.event == NS_HTTP1_END) {
            written->message_end = true;
            wire->write_state = NS_WRITE_HEAD;
            return consumed;
        }
        if (input.event == NS_HTTP1_ERROR) {
            ns_connection_give_up_http1(wire, wire->writer);
            return consumed;
        }
        if (input.event == NS_HTTP1_MORE && consumed == count) {
            return consumed;
        }
    }
}

/* Of what could not be understood, what is a request that cannot be judged: the rest is odd, and
 * none of ours. */
static bool
is_refusable(const struct ns_wire *wire)
{
    switch (wire->opaque) {
    case NS_WIRE_CLEAR:
        return true;
    case NS_WIRE_MALFORMED:
    case NS_WIRE_TOO_LARGE:
    case NS_WIRE_TOO_DEEP:
    case NS_WIRE_NO_MEMORY:
        return wire->writer_gave_up;
    default:
        return false;
    }
}

int
ns_wire_refuse(struct ns_wire *wire, struct ns_wire_call **call)
{
    bool unsent = wire->write_state == NS_WRITE_HEAD || wire->write_state == NS_WRITE_BODY ||
                  wire->opaque == NS_WIRE_TOO_DEEP; /* which is known with the head */
    if (!unsent || !is_refusable(wire)) {
        return -ENOENT;
    }
    *call = wire->draft;
    if (*call == NULL) {
        *call = ns_mem_alloc(sizeof **call);
        if (*call == NULL) {
            return -ENOMEM;
        }
        if (!ns_request_unread(wire->writer, wire->hosts, wire->server_name, *call)) {
            ns_wire_call_free(*call);
            return -ENOENT;
        }
    }
    (*call)->request.closes = true; /* nothing that follows can be understood */
    wire->draft = NULL;
    wire->opaque = NS_WIRE_CLEAR;
    wire->write_state = NS_WRITE_LOST;
    ns_connection_push_refused(wire, *call);
    return 0;
}

/* Empty lines between requests are no part of the next one. */
static size_t
write_blank(struct ns_wire *wire, const uint8_t *bytes, size_t count,
            struct ns_wire_written *written)
{
    size_t blank = 0;
    struct ns_http1_input input;
    while (blank < count && (bytes[blank] == '\r' || bytes[blank] == '\n')) {
        blank++;
    }
    if (blank > 0) {
        wire->preface_possible = false;
        (void)ns_http1_feed(wire->writer, bytes, blank, &input);
        written->class = NS_WIRE_PASS;
    }
    return blank;
}

static size_t
classify(struct ns_wire *wire, const uint8_t *bytes, size_t count, uint64_t body_bytes_max,
         struct ns_wire_written *written)
{
    size_t consumed = 0;
    if (wire->write_state == NS_WRITE_HEAD) {
        if (ns_http1_idle(wire->writer)) {
            size_t blank = write_blank(wire, bytes, count, written);
            if (blank > 0) {
                return blank;
            }
            wire->request.strip_count = 0;
        }
        if (wire->preface_possible && begins_http2(wire, bytes, count)) {
            ns_connection_give_up(wire, NS_WIRE_HTTP2);
            return count;
        }
        consumed = write_head(wire, bytes, count, written);
        if (wire->opaque != NS_WIRE_CLEAR || wire->write_state != NS_WRITE_BODY ||
            consumed == count) {
            return consumed;
        }
        /* A call's head and body may come in one write. */
        return consumed +
               write_body(wire, bytes + consumed, count - consumed, body_bytes_max, written);
    }
    if (wire->write_state == NS_WRITE_BODY) {
        return write_body(wire, bytes, count, body_bytes_max, written);
    }
    if (wire->write_state == NS_WRITE_LOST) {
        written->class = NS_WIRE_REST;
        return count;
    }
    return write_rest(wire, bytes, count, written);
}

size_t
ns_wire_write(struct ns_wire *wire, const uint8_t *bytes, size_t count, uint64_t body_bytes_max,
              struct ns_wire_written *written)
{
    *written = (struct ns_wire_written){.class = NS_WIRE_WITHHOLD};
    size_t consumed = count;
    if (wire->opaque == NS_WIRE_CLEAR && count > 0) {
        consumed = classify(wire, bytes, count, body_bytes_max, written);
        wire->writer_gave_up = wire->opaque != NS_WIRE_CLEAR;
    }
    if (wire->opaque != NS_WIRE_CLEAR) {
        *written = (struct ns_wire_written){.class = NS_WIRE_OPAQUE};
        return count;
    }
    return consumed;
}
