/* SPDX-License-Identifier: Apache-2.0 */
/* The reader's side: where answers end, and what those to calls say. */
#include "wire/connection.h"

/* The head of an answer is complete. True: that is an event to tell. */
static bool
begin_answer(struct ns_wire *wire, struct ns_wire_read *read)
{
    const struct ns_exchange *exchange = &wire->exchanges[wire->first];
    read->status = ns_http1_status(wire->reader);
    wire->reading = true;
    if (exchange->call == NULL) {
        return false;
    }
    ns_answer_begin(&wire->answer, wire->reader, exchange->family, exchange->quirks,
                    exchange->call);
    read->event = NS_WIRE_READ_HEAD;
    read->call = exchange->call;
    return true;
}

static bool
is_interim(const struct ns_wire *wire)
{
    int status = ns_http1_status(wire->reader);
    return status >= 100 && status < 200 && status != 101;
}

/* An answer is over: always an event to tell. */
static bool
end_answer(struct ns_wire *wire, struct ns_wire_read *read)
{
    read->status = ns_http1_status(wire->reader);
    if (!wire->reading) {
        read->event = NS_WIRE_READ_INTERIM;
        return true;
    }
    ns_answer_end(&wire->answer, true);
    struct ns_exchange exchange = ns_connection_pop(wire);
    wire->reading = false;
    wire->stopping = false;
    read->event = NS_WIRE_READ_END;
    read->call = exchange.call;
    read->substitute = exchange.substitute;
    read->closes = !ns_http1_keep_alive(wire->reader);
    return true;
}

/* A head is complete. An answer without a body ends with it, and its end is told instead: no byte
 * may follow that would tell it later. */
static bool
after_head(struct ns_wire *wire, struct ns_wire_read *read)
{
    struct ns_http1_input input;
    bool told = !is_interim(wire) && begin_answer(wire, read);
    (void)ns_http1_feed(wire->reader, NULL, 0, &input);
    if (input.event == NS_HTTP1_END) {
        return end_answer(wire, read);
    }
    if (input.event == NS_HTTP1_UPGRADE) {
        ns_connection_give_up(wire, NS_WIRE_UPGRADED);
    }
    return told;
}

/* Body of an answer to a call. The parser has had it all, so what is behind a boundary is fed to it
 * no more: nothing of it will be wanted. */
static bool
read_body(struct ns_wire *wire, const struct ns_http1_input *input, struct ns_wire_read *read)
{
    if (!wire->stopping) {
        ns_answer_body(&wire->answer, input->body, input->body_bytes);
        return false;
    }
    bool boundary = false;
    size_t used = 0;
    while (used < input->body_bytes && !boundary) {
        used +=
            ns_answer_event(&wire->answer, input->body + used, input->body_bytes - used, &boundary);
    }
    if (!boundary) {
        return false;
    }
    ns_http1_unread(wire->reader, input->body_bytes - used);
    read->event = NS_WIRE_READ_BOUNDARY;
    read->unread = input->body_bytes - used;
    read->call = wire->answer.reading.call;
    return true;
}

/* True: told in *read. */
static bool
handle(struct ns_wire *wire, const struct ns_http1_input *input, struct ns_wire_read *read)
{
    switch (input->event) {
    case NS_HTTP1_HEAD:
        return after_head(wire, read);
    case NS_HTTP1_BODY:
        if (wire->answer.family != NULL) {
            return read_body(wire, input, read);
        }
        return false;
    case NS_HTTP1_END:
        return end_answer(wire, read);
    case NS_HTTP1_UPGRADE:
        ns_connection_give_up(wire, NS_WIRE_UPGRADED);
        return false;
    case NS_HTTP1_ERROR:
        ns_connection_give_up_http1(wire, wire->reader);
        return false;
    default:
        return false;
    }
}

size_t
ns_wire_read(struct ns_wire *wire, const uint8_t *bytes, size_t count, struct ns_wire_read *read)
{
    *read = (struct ns_wire_read){.event = NS_WIRE_READ_MORE};
    size_t consumed = 0;
    while (wire->opaque == NS_WIRE_CLEAR) {
        struct ns_http1_input input;
        if (ns_http1_idle(wire->reader)) {
            if (consumed == count) {
                return count;
            }
            if (wire->count == 0) {
                ns_connection_give_up(wire, NS_WIRE_OUT_OF_STEP);
                return count;
            }
            const struct ns_exchange *exchange = &wire->exchanges[wire->first];
            ns_http1_answering(wire->reader, exchange->head, exchange->connect);
        }
        consumed += ns_http1_feed(wire->reader, bytes + consumed, count - consumed, &input);
        if (handle(wire, &input, read)) {
            return consumed - read->unread;
        }
        if (input.event == NS_HTTP1_MORE && consumed == count) {
            return count;
        }
    }
    return count;
}

enum ns_wire_read_event
ns_wire_read_close(struct ns_wire *wire, struct ns_wire_read *read)
{
    *read = (struct ns_wire_read){.event = NS_WIRE_READ_MORE};
    if (wire->opaque != NS_WIRE_CLEAR || wire->count == 0) {
        return read->event;
    }
    if (ns_http1_close(wire->reader) == NS_HTTP1_END) {
        (void)end_answer(wire, read);
    }
    return read->event;
}
