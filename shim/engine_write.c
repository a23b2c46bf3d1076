/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writer's side of a governed connection.
 *
 * The program's bytes are classified once each, in order. They are either taken (withheld, dropped,
 * or copied into `out`) or pass from the program's own buffer (`direct`). Where OpenSSL does not
 * take all that is due to leave, the write fails as OpenSSL's would, and what was taken already is
 * remembered as `ahead`: OpenSSL obliges the program to come again with the same bytes, and then
 * they are stepped over. So nothing is classified, checked or sent twice, whatever the program's
 * socket is like, and `out` keeps its place in memory meanwhile, as OpenSSL without
 * SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER demands.
 */
#include "shim/engine.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "shim/call.h"
#include "shim/counters.h"
#include "shim/denial.h"
#include "shim/log.h"
#include "shim/process.h"
#include "shim/unjudged.h"

#define SUBSTITUTE_BYTES_MAX 1024
/* For programs that read by the record: the shortest answers of servers are longer than this, with
 * what a record has beside them. */
#define ANSWER_BYTES_MIN 64
#define SUBSTITUTES_MAX (NS_EXCHANGES_MAX / 4)

static bool
writes_partially(const struct ns_engine *engine)
{
    return engine->api->SSL_ctrl != NULL &&
           (engine->api->SSL_ctrl(engine->ssl, NS_SSL_CTRL_MODE, 0, NULL) &
            NS_SSL_MODE_ENABLE_PARTIAL_WRITE) != 0;
}

int
ns_engine_send_out(struct ns_engine *engine)
{
    struct ns_bytes *out = &engine->out;
    while (out->begin < out->end) {
        size_t written = 0;
        int result =
            ns_engine_real_write(engine, out->data + out->begin, out->end - out->begin, &written);
        if (result <= 0) {
            return result;
        }
        out->begin += written;
    }
    return 1;
}

/* The same, and tells who waits for it. */
static int
flush(struct ns_engine *engine)
{
    int result = ns_engine_send_out(engine);
    if (result > 0 && engine->out.capacity > 0) {
        ns_bytes_free(&engine->out);
        ns_lock(&engine->lock);
        if (engine->leaving != NULL) {
            engine->leaving->sent = true;
            engine->leaving = NULL;
        }
        ns_unlock(&engine->lock);
    }
    return result;
}

/* Takes the header lines that are ours out of the withheld request. */
static void
strip(struct ns_engine *engine)
{
    size_t count = 0;
    const struct ns_wire_range *ranges = ns_wire_strips(engine->wire, &count);
    struct ns_bytes *held = &engine->held;
    size_t to = held->begin;
    size_t from = held->begin;
    for (size_t i = 0; i < count; i++) {
        size_t begin = held->begin + ranges[i].offset;
        size_t end = begin + ranges[i].bytes;
        if (begin < from || end > held->end) {
            continue;
        }
        memmove(held->data + to, held->data + from, begin - from);
        to += begin - from;
        from = end;
    }
    if (from > to) {
        memmove(held->data + to, held->data + from, held->end - from);
        held->end -= from - to;
    }
}

/* Makes a stream tell its usage that would not, where the process wants that; takes our own header
 * lines out either way. */
static void
prepare(struct ns_engine *engine, struct ns_wire_call *call)
{
    const struct ns_wire_request *request = &call->request;
    bool wanted = ns_process_config()->inject_usage && request->streamed && !request->usage_asked &&
                  call->user != NULL;
    if (wanted) {
        ns_lock(&engine->lock);
        int result = ns_wire_ask_usage(engine->wire, call, &engine->held);
        ns_unlock(&engine->lock);
        ns_count(result == 0 ? NS_COUNTER_STREAMS_ASKED : NS_COUNTER_STREAMS_UNASKED);
        if (result == 0) {
            return;
        }
    }
    strip(engine);
}

/* What was withheld leaves: `out` is empty here, so the buffer itself goes over. */
static void
let_go(struct ns_engine *engine)
{
    ns_bytes_free(&engine->out);
    engine->out = engine->held;
    engine->held = (struct ns_bytes){0};
}

/* --- denial
 * --------------------------------------------------------------------------------------- */

/* How many substitutes the program needs to read all of its denial. */
static size_t
count_substitutes(struct ns_engine *engine, const struct ns_wire_call *call,
                  const struct ns_gate_verdict *verdict)
{
    if (!ns_engine_reads_by_record(engine)) {
        return 1;
    }
    size_t bytes = 0;
    ns_mem_free(ns_denial_write(&call->request, verdict, false, &bytes));
    ns_lock(&engine->lock);
    size_t taken = ns_wire_outstanding(engine->wire); /* its own included */
    ns_unlock(&engine->lock);
    size_t room = taken < NS_EXCHANGES_MAX ? NS_EXCHANGES_MAX - taken : 0;
    size_t wanted = bytes / ANSWER_BYTES_MIN < room ? bytes / ANSWER_BYTES_MIN : room;
    return 1 + (wanted < SUBSTITUTES_MAX ? wanted : SUBSTITUTES_MAX);
}

static bool
put_substitute(struct ns_engine *engine, const struct ns_wire_call *call, bool last)
{
    char substitute[SUBSTITUTE_BYTES_MAX];
    int bytes = ns_wire_substitute_write(&call->request, last && call->request.closes, substitute,
                                         sizeof substitute);
    return bytes > 0 && ns_bytes_append(&engine->out, substitute, (size_t)bytes);
}

/* Puts the substitute into the request's place. False where it cannot be denied this way. */
static bool
replace(struct ns_engine *engine, struct ns_wire_call *call, const struct ns_gate_verdict *verdict,
        bool ends)
{
    struct ns_denial *denial = ns_mem_alloc(sizeof *denial);
    size_t count = denial == NULL ? 0 : count_substitutes(engine, call, verdict);
    bool put = denial != NULL;
    for (size_t i = 1; put && i <= count; i++) {
        put = put_substitute(engine, call, i == count);
    }
    if (!put) {
        ns_mem_free(denial);
        return false;
    }
    denial->call = call;
    denial->verdict = *verdict;
    denial->ends = ends;
    ns_lock(&engine->lock);
    ns_wire_substitute(engine->wire, call);
    denial->place = engine->answers + ns_wire_outstanding(engine->wire) - 1;
    for (size_t i = 1; i < count; i++) {
        (void)ns_wire_substitute_again(engine->wire); /* only this side takes room from it */
    }
    struct ns_denial **link = &engine->denials;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = denial;
    __atomic_store_n(&engine->continue_due, false, __ATOMIC_RELAXED);
    engine->swallow_continue = false;
    ns_unlock(&engine->lock);
    return true;
}

/* The facts are complete: asks, and lets the request go or puts a substitute in its place. */
static bool
judge(struct ns_engine *engine, struct ns_wire_call *call, bool message_end)
{
    struct ns_gate_verdict verdict;
    enum ns_ruling ruling = ns_call_judge(call, engine->held.data + engine->held.begin,
                                          ns_bytes_count(&engine->held), &verdict);
    if (ruling == NS_RULING_ALLOW) {
        ns_lock(&engine->lock);
        engine->leaving = call->user;
        ns_unlock(&engine->lock);
        prepare(engine, call);
        let_go(engine);
        return true;
    }
    ns_bytes_free(&engine->held);
    engine->dropping = !message_end;
    return replace(engine, call, &verdict, false);
}

/* --- Expect: 100-continue
 * ------------------------------------------------------------------------- */

/* The program may be waiting for a 100 before it sends the body that we wait for. It gets ours with
 * its next read; so that an event loop comes to read, the peer is asked to update its keys (RFC
 * 8446, 4.6.3), which it answers with a record that carries no data. */
static void
expect_body(struct ns_engine *engine)
{
    ns_lock(&engine->lock);
    bool due = ns_wire_outstanding(engine->wire) <= 1 && engine->denials == NULL;
    __atomic_store_n(&engine->continue_due, due, __ATOMIC_RELAXED);
    ns_unlock(&engine->lock);
    const struct ns_openssl *api = engine->api;
    if (due && api->SSL_key_update != NULL && api->SSL_version != NULL &&
        api->SSL_do_handshake != NULL && api->SSL_version(engine->ssl) == NS_SSL_TLS1_3_VERSION) {
        bool marked = ns_engine_mark_errors(engine);
        if (api->SSL_key_update(engine->ssl, NS_SSL_KEY_UPDATE_REQUESTED) == 1) {
            api->SSL_do_handshake(engine->ssl);
        }
        ns_engine_unmark_errors(engine, marked, true);
    }
}

/* --- classification
 * ------------------------------------------------------------------------------- */

/* A request that cannot be judged, and that the policy denies. call: as a CALL gave it, or
 * ns_wire_refuse, where it is not known where it ends; NULL without memory. */
static void
deny_unjudged(struct ns_engine *engine, enum ns_wire_opaque reason, struct ns_wire_call *call,
              const struct ns_wire_written *written)
{
    struct ns_gate_verdict verdict;
    ns_unjudged_deny(reason, &verdict);
    ns_bytes_free(&engine->held);
    engine->dropping = !written->message_end;
    if (call == NULL || !replace(engine, call, &verdict, written->class != NS_WIRE_CALL)) {
        ns_engine_break(engine, "no memory for a denial");
    }
}

/* There is no memory to withhold bytes in. Returns whether they are denied; otherwise they pass, as
 * all that follows: the host comes first. */
static bool
cannot_withhold(struct ns_engine *engine, const struct ns_wire_written *written)
{
    struct ns_wire_call *call = written->call;
    int refused = written->class == NS_WIRE_CALL ? 0 : -ENOENT;
    if (written->class == NS_WIRE_WITHHOLD && ns_unjudged_is_denied()) {
        ns_lock(&engine->lock);
        refused = ns_wire_refuse(engine->wire, &call);
        ns_unlock(&engine->lock);
    }
    if (refused != -ENOENT && ns_unjudged_is_denied()) {
        deny_unjudged(engine, NS_WIRE_NO_MEMORY, refused == 0 ? call : NULL, written);
        return true;
    }
    ns_count(NS_COUNTER_CALLS_UNWITHHELD);
    ns_log("no memory to withhold a request", NULL);
    engine->blind = true;
    let_go(engine);
    return false;
}

/* Deals with bytes of one class. Returns how many of them were taken; those that were not pass from
 * the program's buffer. */
static size_t
take(struct ns_engine *engine, const uint8_t *bytes, size_t count,
     const struct ns_wire_written *written)
{
    bool withholds = written->class == NS_WIRE_WITHHOLD || written->class == NS_WIRE_FREE ||
                     written->class == NS_WIRE_CALL;
    if (withholds && !ns_bytes_append(&engine->held, bytes, count)) {
        return cannot_withhold(engine, written) ? count : 0;
    }
    switch (written->class) {
    case NS_WIRE_WITHHOLD:
        if (written->expects_continue) {
            expect_body(engine);
        }
        return count;
    case NS_WIRE_FREE:
        strip(engine);
        let_go(engine);
        return count;
    case NS_WIRE_CALL:
        engine->dropping = false;
        if (!judge(engine, written->call, written->message_end)) {
            ns_engine_break(engine, "no memory for a denial");
        }
        return count;
    case NS_WIRE_REST:
        if (engine->dropping) {
            engine->dropping = !written->message_end;
            return count;
        }
        return 0;
    case NS_WIRE_OPAQUE:
        if (engine->dropping) {
            /* What was denied must not leave, be it ever so malformed. */
            ns_engine_break(engine, "a denied request was not understood");
            return count;
        }
        ns_engine_count_opaque(engine);
        engine->blind = true;
        let_go(engine);
        return 0;
    case NS_WIRE_PASS:
    default:
        return 0;
    }
}

/* Classifies from the program's buffer. Returns how many bytes were taken; engine->direct says how
 * many after them pass. */
static size_t
classify(struct ns_engine *engine, const uint8_t *bytes, size_t count)
{
    if (engine->blind) {
        engine->direct = count;
        return 0;
    }
    uint64_t body_max =
        ns_bytes_count(&engine->held) > NS_WITHHOLD_BYTES_MAX ? 1 : NS_WITHHOLD_BODY_BYTES_MAX;
    struct ns_wire_written written = {0};
    int refused = -ENOENT;
    ns_lock(&engine->lock);
    size_t used = ns_wire_write(engine->wire, bytes, count, body_max, &written);
    enum ns_wire_opaque reason = ns_wire_opaque_reason(engine->wire);
    if (written.class == NS_WIRE_OPAQUE && !engine->dropping && ns_unjudged_is_denied()) {
        refused = ns_wire_refuse(engine->wire, &written.call);
    }
    ns_unlock(&engine->lock);
    if (used == 0 || used > count) {
        used = count; /* its contract says at least one */
    }
    if (refused != -ENOENT) {
        deny_unjudged(engine, reason, refused == 0 ? written.call : NULL, &written);
        engine->direct = 0;
        return used;
    }
    size_t taken = take(engine, bytes, used, &written);
    engine->direct = used - taken;
    return taken;
}

/* OpenSSL did not take all. What was taken of the program's buffer so far is remembered, or told as
 * a partial write where the program allows that and nothing of ours is left to send. */
int
ns_engine_suspend(struct ns_engine *engine, size_t done, size_t ahead_left, int result,
                  size_t *written)
{
    if (done > 0 && ahead_left == 0 && engine->out.begin == engine->out.end &&
        writes_partially(engine) && ns_engine_must_wait(engine, false)) {
        *written = done;
        return 1;
    }
    engine->ahead = done + ahead_left;
    return result;
}

static int
write_http1(struct ns_engine *engine, const uint8_t *bytes, size_t count, size_t *written)
{
    int result;
    size_t done = engine->ahead < count ? engine->ahead : count;
    size_t ahead_left = engine->ahead - done;
    engine->ahead = 0;
    for (;;) {
        result = flush(engine);
        if (result <= 0) {
            return ns_engine_suspend(engine, done, ahead_left, result, written);
        }
        if (done == count) {
            break;
        }
        if (engine->direct == 0) {
            done += classify(engine, bytes + done, count - done);
            continue;
        }
        size_t due = engine->direct < count - done ? engine->direct : count - done;
        size_t sent = 0;
        result = ns_engine_real_write(engine, bytes + done, due, &sent);
        if (result <= 0) {
            return ns_engine_suspend(engine, done, ahead_left, result, written);
        }
        done += sent;
        engine->direct -= sent < engine->direct ? sent : engine->direct;
        if (sent < due) {
            break; /* a partial write, which the program allows */
        }
    }
    engine->ahead = ahead_left;
    *written = done;
    return 1;
}

int
ns_engine_write(struct ns_engine *engine, const uint8_t *bytes, size_t count, size_t *written)
{
    if (__atomic_load_n(&engine->broken, __ATOMIC_ACQUIRE)) {
        return ns_engine_fail(engine);
    }
    if (engine->writing) {
        return ns_engine_real_write(engine, bytes, count, written);
    }
    if (engine->ended) {
        ns_engine_keep_silent(engine);
        return ns_engine_real_write(engine, bytes, count, written); /* which is refused */
    }
    int result = ns_engine_shake_hands(engine);
    if (result <= 0) {
        return result;
    }
    engine->writing = true;
    /* What the program does, it does after what it has read. */
    ns_backlog_catch_up(engine);
    result = ns_engine_speaks_http2(engine) ? ns_engine_write_http2(engine, bytes, count, written)
                                            : write_http1(engine, bytes, count, written);
    ns_backlog_catch_up(engine); /* the next read looks for what became due */
    engine->writing = false;
    return result;
}

int
ns_engine_go_blind(struct ns_engine *engine)
{
    if (engine->dropping) {
        ns_engine_break(engine, "the rest of a denied request would have left unseen");
    }
    if (__atomic_load_n(&engine->broken, __ATOMIC_ACQUIRE)) {
        return ns_engine_fail(engine);
    }
    if (!engine->blind && ns_bytes_count(&engine->held) > 0 && ns_unjudged_is_denied()) {
        ns_count(NS_COUNTER_DENIED_SENDFILE);
        ns_engine_break(engine, "a request that goes on in a file cannot be judged");
        return ns_engine_fail(engine);
    }
    if (!engine->blind) {
        ns_count(NS_COUNTER_SENDFILE);
        engine->blind = true;
    }
    int result = flush(engine);
    if (result > 0 && ns_bytes_count(&engine->held) > 0) {
        let_go(engine);
        result = flush(engine);
    }
    return result;
}
