/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that the program has had and that are looked at later.
 *
 * A stream comes in some hundred bytes at a time, and most of what looking at them costs is not
 * the looking but coming there: while an answer tells event after event of the same kind, a read of
 * nothing but whole chunks (HTTP/2: frames) of it is only kept, and what was in them is looked at
 * together. That is done before anything else happens on the connection, be it a read of another
 * kind, a write or its end, and when it is much or has waited.
 *
 * How much may be kept is known after each look: nothing where the connection is not in that state,
 * and no more than the call's hold still covers, as no token is shorter than a byte.
 */
#include <string.h>

#include "base/clock.h"
#include "base/hot.h"
#include "base/mem.h"
#include "shim/engine.h"
#include "shim/top_up.h"

#define FRAME_HEAD_BYTES 9
/* Of the size of a chunk that may be kept. */
#define SIZE_DIGITS_MAX 4

/* --- looking -------------------------------------------------------------------------------- */

void
ns_backlog_look(struct ns_engine *engine)
{
    struct ns_backlog *backlog = &engine->backlog;
    __atomic_store_n(&backlog->room, 0, __ATOMIC_RELAXED);
    if (backlog->count == 0) {
        return;
    }
    if (engine->http2 != NULL) {
        ns_http2_more_body(engine->http2, backlog->stream, backlog->bytes, backlog->count);
    } else {
        ns_wire_more_body(engine->wire, backlog->bytes, backlog->count);
    }
    backlog->count = 0;
}

void
ns_backlog_catch_up(struct ns_engine *engine)
{
    ns_lock(&engine->lock);
    ns_backlog_look(engine);
    ns_unlock(&engine->lock);
}

/* --- keeping -------------------------------------------------------------------------------- */

/* What a read consists of. */
struct part {
    const uint8_t *body;
    size_t body_bytes;
    size_t bytes; /* 0: it is nothing that may be kept */
};

static int
hex_digit(uint8_t c)
{
    uint8_t lower = c | 0x20;
    return c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* A whole chunk that is not the last. */
static struct part
chunk(const uint8_t *bytes, size_t count)
{
    size_t size = 0, i = 0;
    for (int digit; i < SIZE_DIGITS_MAX && i < count && (digit = hex_digit(bytes[i])) >= 0; i++) {
        size = size << 4 | (size_t)digit;
    }
    const uint8_t *body = bytes + i + 2;
    if (size == 0 || i + 2 + size + 2 > count || memcmp(body - 2, "\r\n", 2) != 0 ||
        memcmp(body + size, "\r\n", 2) != 0) {
        return (struct part){.bytes = 0};
    }
    return (struct part){body, size, i + 2 + size + 2};
}

/* A whole frame of DATA of that stream, neither its last nor padded. */
static struct part
data_frame(const uint8_t *bytes, size_t count, uint32_t stream)
{
    if (count < FRAME_HEAD_BYTES) {
        return (struct part){.bytes = 0};
    }
    size_t length = (size_t)bytes[0] << 16 | (size_t)bytes[1] << 8 | bytes[2];
    uint32_t id =
        (uint32_t)bytes[5] << 24 | (uint32_t)bytes[6] << 16 | (uint32_t)bytes[7] << 8 | bytes[8];
    if (bytes[3] != 0 || bytes[4] != 0 || id != stream || length > count - FRAME_HEAD_BYTES) {
        return (struct part){.bytes = 0};
    }
    return (struct part){bytes + FRAME_HEAD_BYTES, length, FRAME_HEAD_BYTES + length};
}

/* Puts what is in a read behind what is kept, all of it or nothing. */
static bool
keep(struct ns_engine *engine, const uint8_t *bytes, size_t count)
{
    struct ns_backlog *backlog = &engine->backlog;
    uint32_t kept = backlog->count;
    while (count > 0) {
        struct part part =
            engine->http2 != NULL ? data_frame(bytes, count, backlog->stream) : chunk(bytes, count);
        if (part.bytes == 0) {
            return false;
        }
        memcpy(backlog->bytes + kept, part.body, part.body_bytes);
        kept += (uint32_t)part.body_bytes;
        bytes += part.bytes;
        count -= part.bytes;
    }
    backlog->count = kept;
    return true;
}

static bool
has_waited(struct ns_backlog *backlog)
{
    int64_t now_ns = ns_clock_ns(CLOCK_MONOTONIC_COARSE);
    backlog->since_ns = backlog->count == 0 ? now_ns : backlog->since_ns;
    return now_ns - backlog->since_ns >= NS_BACKLOG_NS;
}

NS_HOT bool
ns_backlog_keep(struct ns_engine *engine, const uint8_t *bytes, size_t count)
{
    struct ns_backlog *backlog = &engine->backlog;
    if (count > __atomic_load_n(&backlog->room, __ATOMIC_RELAXED) || !ns_lock_try(&engine->lock)) {
        return false;
    }
    uint32_t room = __atomic_load_n(&backlog->room, __ATOMIC_RELAXED);
    bool keeps = count <= room && !has_waited(backlog) && keep(engine, bytes, count);
    if (keeps) {
        __atomic_store_n(&backlog->room, room - (uint32_t)count, __ATOMIC_RELAXED);
    }
    ns_unlock(&engine->lock);
    return keeps;
}

/* --- when ------------------------------------------------------------------------------------- */

/* The call whose answer goes on, in a way that keeping does not disturb; NULL where there is none.
 * Lock held. */
static const struct ns_wire_call *
going_on(struct ns_engine *engine, uint32_t *stream)
{
    *stream = 0;
    if (engine->broken || engine->blind || !engine->reads_ahead ||
        ns_bytes_count(&engine->in) > 0) {
        return NULL;
    }
    if (engine->http2 != NULL) {
        return engine->owes_server ? NULL : ns_http2_going_on(engine->http2, stream);
    }
    bool plain = engine->filter == NULL && engine->cut == NULL && engine->denials == NULL &&
                 !engine->swallow_continue && ns_bytes_count(&engine->tentative) == 0;
    return plain ? ns_wire_going_on(engine->wire) : NULL;
}

void
ns_backlog_allow(struct ns_engine *engine)
{
    if (!ns_lock_try(&engine->lock)) {
        return;
    }
    uint32_t stream;
    const struct ns_wire_call *call = going_on(engine, &stream);
    uint64_t room = call != NULL ? ns_top_up_room(call) : 0;
    struct ns_backlog *backlog = &engine->backlog;
    if (room > 0 && backlog->bytes == NULL) {
        backlog->bytes = ns_mem_alloc(NS_BACKLOG_BYTES);
    } else if (room == 0) {
        ns_mem_free(backlog->bytes);
        backlog->bytes = NULL;
    }
    room = room < NS_BACKLOG_BYTES ? room : NS_BACKLOG_BYTES;
    room = backlog->bytes != NULL ? room : 0;
    backlog->stream = stream;
    __atomic_store_n(&backlog->room, (uint32_t)room, __ATOMIC_RELAXED);
    ns_unlock(&engine->lock);
}
