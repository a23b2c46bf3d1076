/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A governed HTTP/2 connection between the program and OpenSSL. What the bytes mean is http2.c's;
 * here they are read and written.
 *
 * All that the program writes is taken; what is due to leave is written at once, from `out`, and
 * where OpenSSL does not take it the program comes again as it does over HTTP/1.1.
 *
 * What becomes due while the program reads (room for a body, an answer to what was dropped) leaves
 * with its next write: some programs (anyio's) fail where a read writes while another task does. It
 * is pinged, so that it writes; where it does not soon, its next read does, before OpenSSL is asked
 * for more, so that its last word is about the read.
 */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "shim/call.h"
#include "shim/counters.h"
#include "shim/denial.h"
#include "shim/engine.h"
#include "shim/unjudged.h"

/* --- calls ---------------------------------------------------------------------------------- */

static void
finish_ended(struct ns_engine *engine)
{
    for (;;) {
        bool cut = false;
        ns_lock(&engine->lock);
        struct ns_wire_call *call = ns_http2_take_ended(engine->http2, &cut);
        ns_unlock(&engine->lock);
        if (call == NULL) {
            return;
        }
        ns_call_finish(call, cut);
    }
}

static void
check_failed(struct ns_engine *engine)
{
    if (ns_http2_has_failed(engine->http2) && !engine->broken) {
        ns_engine_break(engine, "HTTP/2 without memory or place for what is due");
    }
}

void
ns_engine_cut_http2(struct ns_engine *engine, uint32_t stream,
                    const struct ns_gate_verdict *verdict)
{
    ns_lock(&engine->lock);
    ns_http2_cut(engine->http2, stream, verdict);
    ns_unlock(&engine->lock);
    finish_ended(engine);
    check_failed(engine);
}

/* The facts of a stream's call are complete: asks, and lets its body go or answers the program. */
static void
judge(struct ns_engine *engine, struct ns_http2_stream *stream)
{
    const uint8_t *head;
    size_t head_bytes;
    ns_lock(&engine->lock);
    struct ns_wire_call *call = ns_http2_asking(stream, &head, &head_bytes);
    ns_unlock(&engine->lock);
    struct ns_gate_verdict verdict;
    enum ns_wire_opaque reason = ns_http2_unjudged(stream);
    enum ns_ruling ruling = NS_RULING_DENY;
    if (reason == NS_WIRE_CLEAR) {
        ruling = ns_call_judge(call, head, head_bytes, &verdict);
    } else {
        ns_unjudged_deny(reason, &verdict);
    }
    if (ruling == NS_RULING_ALLOW) {
        ns_lock(&engine->lock);
        ns_http2_allow(engine->http2, stream);
        ns_unlock(&engine->lock);
        return;
    }
    size_t bytes = 0;
    uint8_t *text = ns_denial_write(&call->request, &verdict, false, &bytes);
    ns_lock(&engine->lock);
    call = ns_http2_deny(engine->http2, stream, text, bytes);
    ns_unlock(&engine->lock);
    ns_mem_free(text);
    ns_call_drop(call);
}

/* --- writing -------------------------------------------------------------------------------- */

/* Hands to OpenSSL what is due to leave. Returns 1 when nothing is left, or what OpenSSL returned.
 * The caller holds engine->flushing. */
static int
flush(struct ns_engine *engine)
{
    struct ns_bytes *out = &engine->out;
    for (;;) {
        int result = ns_engine_send_out(engine);
        if (result <= 0) {
            return result;
        }
        ns_bytes_free(out);
        ns_lock(&engine->lock);
        struct ns_bytes *due = ns_http2_to_server(engine->http2);
        *out = *due;
        *due = (struct ns_bytes){0};
        engine->unflushed = ns_bytes_count(out) > 0;
        if (!engine->unflushed) {
            ns_http2_flushed(engine->http2);
            engine->nudged_ns = 0;
        }
        ns_unlock(&engine->lock);
        if (ns_bytes_count(out) == 0) {
            ns_bytes_free(out);
            return 1;
        }
    }
}

static size_t
take(struct ns_engine *engine, const uint8_t *bytes, size_t count)
{
    size_t done = 0;
    bool strict = ns_unjudged_is_denied();
    bool by_record = ns_engine_reads_by_record(engine);
    for (;;) {
        struct ns_http2_stream *asks = NULL;
        ns_lock(&engine->lock);
        ns_http2_read_by_record(engine->http2, by_record);
        bool opaque = ns_http2_is_opaque(engine->http2);
        done += ns_http2_write(engine->http2, bytes + done, count - done, strict, &asks);
        opaque = !opaque && ns_http2_is_opaque(engine->http2);
        ns_unlock(&engine->lock);
        if (opaque) {
            ns_count(NS_COUNTER_HTTP2_BROKEN);
        }
        if (asks == NULL) {
            break;
        }
        judge(engine, asks);
    }
    finish_ended(engine);
    check_failed(engine);
    return done;
}

int
ns_engine_write_http2(struct ns_engine *engine, const uint8_t *bytes, size_t count, size_t *written)
{
    size_t done = engine->ahead < count ? engine->ahead : count;
    size_t ahead_left = engine->ahead - done;
    engine->ahead = 0;
    if (done < count) {
        done += take(engine, bytes + done, count - done);
    }
    if (engine->broken) {
        return ns_engine_fail(engine);
    }
    ns_lock(&engine->flushing);
    int result = flush(engine);
    ns_unlock(&engine->flushing);
    if (result <= 0) {
        return ns_engine_suspend(engine, done, ahead_left, result, written);
    }
    engine->ahead = ahead_left;
    *written = done;
    return 1;
}

/* --- reading -------------------------------------------------------------------------------- */

/* Writes what became due by an earlier read and the program did not come to write. Mostly there is
 * nothing, and then OpenSSL's errors, which are dear to look after, are left alone. Where OpenSSL
 * does not take it now, the next read or write tries again; an error is left for the read to find.
 */
static void
flush_quietly(struct ns_engine *engine)
{
    if (!engine->owes_server || engine->broken) {
        return;
    }
    ns_lock(&engine->lock);
    int64_t since_ns = engine->nudged_ns;
    ns_unlock(&engine->lock);
    bool waits = since_ns != 0 && ns_clock_ns(CLOCK_MONOTONIC_COARSE) - since_ns < NS_NUDGE_NS;
    if (!waits && ns_lock_try(&engine->flushing)) {
        bool marked = ns_engine_mark_errors(engine);
        int result = flush(engine);
        ns_engine_unmark_errors(engine, marked, result <= 0);
        ns_unlock(&engine->flushing);
    }
}

/* What is due to the program goes into `in`. Lock held. */
static void
take_due(struct ns_engine *engine)
{
    struct ns_bytes *due = ns_http2_to_program(engine->http2);
    if (ns_bytes_count(due) > 0) {
        if (!ns_bytes_append(&engine->in, ns_bytes_front(due), ns_bytes_count(due))) {
            ns_engine_break(engine, "no memory for an answer");
        }
        ns_bytes_free(due);
    }
}

/* The same, and what else may be due, to either, is noted. */
static void
see_due(struct ns_engine *engine)
{
    take_due(engine);
    engine->owes_server =
        engine->unflushed || ns_bytes_count(ns_http2_to_server(engine->http2)) > 0;
    engine->owes_program = ns_bytes_count(&engine->in) > 0 || ns_http2_has_meddled(engine->http2);
}

void
ns_engine_give_due_http2(struct ns_engine *engine)
{
    ns_lock(&engine->lock);
    see_due(engine);
    ns_unlock(&engine->lock);
}

/* Looks at bytes that have arrived in the program's buffer. Returns how many of them it can have in
 * place; what comes behind them is in `in`. */
static size_t
feed(struct ns_engine *engine, const uint8_t *bytes, size_t count, bool peek)
{
    size_t in_place = 0;
    size_t done = 0;
    ns_lock(&engine->lock);
    ns_backlog_look(engine);
    while (done < count && !engine->broken) {
        bool pass = false;
        size_t used = ns_http2_read(engine->http2, bytes + done, count - done, &pass);
        if (pass && !peek && in_place == done && ns_bytes_count(&engine->in) == 0) {
            in_place += used;
        } else if (pass && !ns_bytes_append(&engine->in, bytes + done, used)) {
            ns_engine_break(engine, "no memory for an answer");
        }
        done += used;
        take_due(engine);
        check_failed(engine);
    }
    see_due(engine);
    if (engine->owes_server && engine->nudged_ns == 0 && !peek && !engine->broken) {
        engine->nudged_ns = ns_clock_ns(CLOCK_MONOTONIC_COARSE);
        ns_http2_nudge(engine->http2);
        take_due(engine);
    }
    bool ended = ns_http2_has_ended(engine->http2);
    ns_unlock(&engine->lock);
    if (ended) {
        finish_ended(engine);
    }
    return in_place;
}

/* The connection is over: what was due is given. Returns whether there is anything to read. */
static bool
close_reading(struct ns_engine *engine)
{
    ns_lock(&engine->lock);
    ns_backlog_look(engine);
    ns_http2_close_reading(engine->http2);
    ns_unlock(&engine->lock);
    ns_engine_give_due_http2(engine);
    return ns_bytes_count(&engine->in) > 0;
}

int
ns_engine_take_http2(struct ns_engine *engine, const uint8_t *bytes, int result, size_t got,
                     bool peek, size_t *in_place)
{
    *in_place = 0;
    if (result <= 0) {
        bool more = !ns_engine_must_wait(engine, true) && close_reading(engine);
        return more ? 1 : result;
    }
    if (!peek && ns_backlog_keep(engine, bytes, got)) {
        *in_place = got;
        return 1;
    }
    *in_place = feed(engine, bytes, got, peek);
    ns_backlog_allow(engine);
    engine->grown = true;
    return 1;
}

int
ns_engine_pull_http2(struct ns_engine *engine, uint8_t *bytes, size_t count, bool peek,
                     size_t *in_place)
{
    size_t got = 0;
    flush_quietly(engine);
    /* A failed read that is not told to the program must not leave its errors behind. */
    bool owes = engine->owes_program;
    bool marked = owes && ns_engine_mark_errors(engine);
    int result = ns_engine_real_read(engine, bytes, count, &got);
    int taken = ns_engine_take_http2(engine, bytes, result, got, peek, in_place);
    if (owes) {
        ns_engine_unmark_errors(engine, marked, result <= 0 && taken > 0);
    }
    return taken;
}
