/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader's side of a governed connection.
 *
 * What arrives stays where OpenSSL put it, in the program's buffer, and is looked at there. Only
 * from the first byte on that is not the program's as it is (the answer of a substitute, a 100 that
 * it had already) are the bytes behind it copied into `in`, where denials are put too; what is in
 * `in` is read before anything else. A substitute's answer is waited for, not anticipated: so the
 * denial stands at its place in the order of answers, and nothing is left on the connection that
 * would surprise the program later.
 */
#include "shim/engine.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>

#include "base/hot.h"
#include "base/mem.h"
#include "shim/call.h"
#include "shim/counters.h"
#include "shim/denial.h"
#include "shim/log.h"
#include "shim/top_up.h"

static const char continue_answer[] = "HTTP/1.1 100 Continue\r\n\r\n";
/* On the stack, at once. */
#define PEEK_BYTES 1024
#define CONTINUE_BYTES (sizeof continue_answer - 1)

/* Where bytes of the program's buffer go: in place as long as nothing came between. */
struct delivery {
    uint8_t *buffer;
    size_t in_place;
    bool diverted;
};

static void
deliver(struct ns_engine *engine, struct delivery *delivery, const uint8_t *bytes, size_t count)
{
    if (count == 0 || engine->broken) {
        return; /* nothing may follow a gap */
    }
    if (!delivery->diverted && bytes == delivery->buffer + delivery->in_place) {
        delivery->in_place += count;
        return;
    }
    delivery->diverted = true;
    if (!ns_bytes_append(&engine->in, bytes, count)) {
        ns_engine_break(engine, "no memory for an answer");
    }
}

/* --- answers that are edited
 * ---------------------------------------------------------------------- */

/* Before the first byte of an answer: is it one that is not the program's as it comes? Lock held.
 */
static void
find_filter(struct ns_engine *engine)
{
    const struct ns_wire_call *call = ns_wire_due(engine->wire);
    if (engine->filter != NULL || engine->unfiltered || ns_wire_is_opaque(engine->wire) ||
        call == NULL || !call->request.usage_injected) {
        return;
    }
    engine->filter = ns_http1_filter_new();
    if (engine->filter == NULL) {
        engine->unfiltered = true;
        ns_count(NS_COUNTER_USAGE_SHOWN);
    }
}

static void
end_filter(struct ns_engine *engine)
{
    if (!ns_http1_filter_filters(engine->filter)) {
        ns_count(NS_COUNTER_USAGE_SHOWN);
    }
    ns_http1_filter_free(engine->filter);
    engine->filter = NULL;
}

/* Bytes of an answer, as they came. */
static void
pass_on(struct ns_engine *engine, struct delivery *delivery, const uint8_t *bytes, size_t count)
{
    if (engine->filter == NULL) {
        deliver(engine, delivery, bytes, count);
        return;
    }
    delivery->diverted = true;
    if (!engine->broken && !ns_http1_filter_feed(engine->filter, bytes, count, &engine->in)) {
        ns_engine_break(engine, "no memory for an answer");
    }
    if (ns_http1_filter_is_over(engine->filter)) {
        end_filter(engine);
    }
}

/* --- connections that end before their time
 * ------------------------------------------------------- */

/* Throws away what came and nobody will read. Where it fills the socket's buffer the kernel takes
 * no byte more, so that it would never answer one with the reset that ends the server's writing. */
static void
discard(int fd)
{
    enum { MORE_THAN_A_BUFFER = 1 << 28 };
    (void)recv(fd, NULL, MORE_THAN_A_BUFFER, MSG_DONTWAIT | MSG_TRUNC);
}

/* From here on the connection looks as if the server had closed it, and the server sees that nobody
 * listens any more. No alert is sent, now or later: writing may raise SIGPIPE, which the host may
 * not expect. */
static void
end_connection(struct ns_engine *engine)
{
    const struct ns_openssl *api = engine->api;
    int saved = errno;
    engine->ended = true;
    engine->blind = true;
    int fd = api->SSL_get_fd != NULL ? api->SSL_get_fd(engine->ssl) : -1;
    if (api->SSL_set_shutdown != NULL) {
        api->SSL_set_shutdown(engine->ssl, NS_SSL_RECEIVED_SHUTDOWN);
    }
    if (fd >= 0) {
        discard(fd); /* the server hears of the room at once */
        (void)shutdown(fd, SHUT_RDWR);
        discard(fd); /* what came between the two */
    }
    errno = saved;
}

/* --- denials
 * -------------------------------------------------------------------------------------- */

/* The oldest denial's turn in the order of answers. */
static bool
is_denial_due(const struct ns_engine *engine)
{
    return engine->denials != NULL && engine->denials->place == engine->answers;
}

/* Takes the oldest denial out and puts its text into the program's way. closes: the server does, or
 * has; the program must hear it too. */
static void
deliver_denial(struct ns_engine *engine, bool closes)
{
    ns_lock(&engine->lock);
    struct ns_denial *denial = engine->denials;
    engine->denials = denial->next;
    ns_unlock(&engine->lock);
    size_t bytes = 0;
    uint8_t *text = ns_denial_write(&denial->call->request, &denial->verdict, closes, &bytes);
    if (text == NULL || !ns_bytes_append(&engine->in, text, bytes)) {
        ns_engine_break(engine, "no memory for a denial");
    }
    ns_mem_free(text);
    if (denial->ends) {
        end_connection(engine);
    }
    ns_call_drop(denial->call);
    ns_mem_free(denial);
}

/* --- the server's 100, where the program had ours
 * ------------------------------------------------- */

/* Deals with the beginning of an answer that may be a 100. Returns whether it was dealt with. */
static bool
swallow_continue(struct ns_engine *engine, struct delivery *delivery, const uint8_t *bytes,
                 size_t count, const struct ns_wire_read *read, bool opaque)
{
    if (!engine->swallow_continue) {
        return false;
    }
    delivery->diverted = true;
    if (!ns_bytes_append(&engine->tentative, bytes, count)) {
        ns_engine_break(engine, "no memory for an answer");
        return true;
    }
    if (read->event == NS_WIRE_READ_MORE && !opaque) {
        return true;
    }
    bool ours = read->event == NS_WIRE_READ_INTERIM && read->status == 100;
    if (!ours) {
        pass_on(engine, delivery, engine->tentative.data + engine->tentative.begin,
                ns_bytes_count(&engine->tentative));
    }
    ns_bytes_free(&engine->tentative);
    engine->swallow_continue = read->event == NS_WIRE_READ_INTERIM; /* some servers send two */
    return true;
}

/* --- answers that are cut
 * ------------------------------------------------------------------------- */

/* Puts the end of the answer into the program's way, where there is a place for one, and settles
 * the call by what the program had. */
static void
cut(struct ns_engine *engine, bool here)
{
    ns_lock(&engine->lock);
    struct ns_wire_call *call = ns_wire_take(engine->wire);
    engine->leaving = NULL;
    ns_unlock(&engine->lock);
    size_t bytes = 0;
    uint8_t *text = here && call != NULL ? ns_denial_cut_write(call, engine->cut, &bytes) : NULL;
    if (text != NULL && engine->filter != NULL) {
        (void)ns_http1_filter_cut(engine->filter, (const char *)text, bytes, &engine->in);
        end_filter(engine);
    } else if (text != NULL) {
        ns_lock(&engine->lock);
        (void)ns_wire_cut(engine->wire, (const char *)text, bytes, &engine->in);
        ns_unlock(&engine->lock);
    }
    ns_mem_free(text);
    if (call != NULL) {
        ns_call_finish(call, true);
    }
    ns_count(NS_COUNTER_ANSWERS_CUT);
    ns_mem_free(engine->cut);
    engine->cut = NULL;
    end_connection(engine);
}

/* The answer that is being read is to be cut: now, if it can be, else behind its next event. */
static void
begin_cut(struct ns_engine *engine, const struct ns_gate_verdict *verdict)
{
    engine->cut = ns_mem_alloc(sizeof *engine->cut);
    if (engine->cut == NULL) {
        return; /* asked again with the next bytes */
    }
    *engine->cut = *verdict;
    ns_lock(&engine->lock);
    enum ns_wire_cut where = ns_wire_may_cut(engine->wire);
    ns_wire_stop(engine->wire);
    ns_unlock(&engine->lock);
    if (where != NS_WIRE_CUT_LATER) {
        cut(engine, where == NS_WIRE_CUT_NOW);
    }
}

/* --- what arrives
 * ---------------------------------------------------------------------------------- */

static void
end_answer(struct ns_engine *engine, const struct ns_wire_read *read, bool swallowed)
{
    if (swallowed && is_denial_due(engine)) {
        deliver_denial(engine, read->closes);
    } else if (read->call != NULL) {
        ns_lock(&engine->lock);
        engine->leaving = engine->leaving == read->call->user ? NULL : engine->leaving;
        ns_unlock(&engine->lock);
        ns_call_finish(read->call, false);
    }
    engine->unfiltered = false;
    ns_mem_free(engine->cut); /* it ended before it could be cut */
    engine->cut = NULL;
    ns_lock(&engine->lock);
    engine->answers++;
    ns_unlock(&engine->lock);
}

/* Looks at bytes that have arrived and passes them to where they belong. */
static void
feed(struct ns_engine *engine, struct delivery *delivery, const uint8_t *bytes, size_t count)
{
    while (count > 0) {
        struct ns_wire_read read = {0};
        ns_lock(&engine->lock);
        bool swallows = ns_wire_swallows(engine->wire);
        find_filter(engine);
        size_t used = ns_wire_read(engine->wire, bytes, count, &read);
        bool opaque = ns_wire_is_opaque(engine->wire);
        bool due = swallows && is_denial_due(engine);
        bool lost = opaque && (swallows || engine->denials != NULL);
        ns_unlock(&engine->lock);
        used = used == 0 || used > count ? count : used;
        if (lost) {
            /* Where answers end is not known any more, so no later denial has a place. */
            if (due) {
                deliver_denial(engine, true);
            } else if (!swallows) {
                pass_on(engine, delivery, bytes, used);
            }
            ns_engine_break(engine, "an answer was not understood");
            return;
        }
        if (opaque) {
            ns_engine_count_opaque(engine);
        }
        if (swallows) {
            delivery->diverted = true;
        } else if (!swallow_continue(engine, delivery, bytes, used, &read, opaque)) {
            pass_on(engine, delivery, bytes, used);
        }
        if (read.event == NS_WIRE_READ_END) {
            end_answer(engine, &read, swallows);
            if (engine->ended) {
                return;
            }
        } else if (read.event == NS_WIRE_READ_BOUNDARY && engine->cut != NULL) {
            delivery->diverted = true;
            cut(engine, true);
            return;
        }
        bytes += used;
        count -= used;
    }
}

/* The connection is over. What was due is delivered, denials that have no answer to replace any
 * more included. Returns whether there is anything to read. */
static bool
close_reading(struct ns_engine *engine)
{
    ns_backlog_catch_up(engine);
    for (;;) {
        struct ns_wire_read read = {0};
        ns_lock(&engine->lock);
        bool swallows = ns_wire_swallows(engine->wire);
        enum ns_wire_read_event event = ns_wire_read_close(engine->wire, &read);
        ns_unlock(&engine->lock);
        if (event != NS_WIRE_READ_END) {
            break;
        }
        end_answer(engine, &read, swallows);
    }
    if (ns_bytes_count(&engine->tentative) > 0) {
        if (!ns_bytes_append(&engine->in, engine->tentative.data + engine->tentative.begin,
                             ns_bytes_count(&engine->tentative))) {
            ns_engine_break(engine, "no memory for an answer");
        }
        ns_bytes_free(&engine->tentative);
    }
    if (engine->filter != NULL) {
        if (!ns_http1_filter_close(engine->filter, &engine->in)) {
            ns_engine_break(engine, "no memory for an answer");
        }
        end_filter(engine);
    }
    while (engine->denials != NULL) {
        deliver_denial(engine, true);
    }
    return ns_bytes_count(&engine->in) > 0;
}

static size_t
give(struct ns_engine *engine, uint8_t *bytes, size_t count, bool peek)
{
    struct ns_bytes *in = &engine->in;
    size_t given = ns_bytes_count(in) < count ? ns_bytes_count(in) : count;
    memcpy(bytes, in->data + in->begin, given);
    if (!peek) {
        engine->behind = true;
        in->begin += given;
        if (in->begin == in->end) {
            ns_bytes_free(in);
        }
    }
    return given;
}

/* Our own 100, where the program waits for one. */
static void
give_continue(struct ns_engine *engine)
{
    if (!__atomic_load_n(&engine->continue_due, __ATOMIC_RELAXED)) {
        return; /* nearly always, and then without the lock */
    }
    ns_lock(&engine->lock);
    bool due = __atomic_exchange_n(&engine->continue_due, false, __ATOMIC_RELAXED);
    ns_unlock(&engine->lock);
    if (due && ns_bytes_append(&engine->in, continue_answer, CONTINUE_BYTES)) {
        engine->swallow_continue = true;
    }
}

/* A call of whose answer the last reads saw more; over HTTP/2 there may be many. Lock held. */
static const struct ns_wire_call *
grown_call(struct ns_engine *engine, uint32_t *stream)
{
    return engine->http2 != NULL ? ns_http2_take_grown(engine->http2, stream)
                                 : ns_wire_current(engine->wire);
}

/* Asks for more of it, and has the answer cut where that is refused. */
static void
top_up(struct ns_engine *engine, uint32_t stream, struct ns_top_up_turn *turn)
{
    ns_top_up_ask(turn);
    ns_lock(&engine->lock);
    const struct ns_wire_call *call = engine->http2 != NULL ? ns_http2_call(engine->http2, stream)
                                                            : ns_wire_current(engine->wire);
    bool ends = ns_top_up_done(call, turn);
    ns_unlock(&engine->lock);
    if (ends && engine->http2 != NULL) {
        ns_engine_cut_http2(engine, stream, &turn->verdict);
    } else if (ends) {
        begin_cut(engine, &turn->verdict);
    }
}

/* What the last read saw is told now, when the program has had it. */
static void
tell_progress(struct ns_engine *engine)
{
    struct ns_top_up_turn turn; /* large: filled where it is due */
    uint32_t stream = 0;
    bool more = true;
    while (more && ns_lock_try(&engine->lock)) {
        engine->grown = false;
        const struct ns_wire_call *call = grown_call(engine, &stream);
        bool grows = call != NULL && engine->cut == NULL && ns_top_up_due(call, &turn);
        bool due = call != NULL && !grows && ns_call_progress(call, &turn.message, &turn.text);
        ns_unlock(&engine->lock);
        if (due) {
            ns_gate_tell(&turn.message);
        }
        if (grows) {
            top_up(engine, stream, &turn);
        }
        more = call != NULL && engine->http2 != NULL;
    }
}

static int
take_http1(struct ns_engine *engine, uint8_t *bytes, int result, size_t got, bool peek,
           size_t *in_place)
{
    *in_place = 0;
    if (result <= 0) {
        bool closed = !ns_engine_must_wait(engine, true) && close_reading(engine);
        return closed ? 1 : result;
    }
    if (engine->ended) { /* a libssl that reads on all the same */
        return ns_engine_fail(engine);
    }
    if (!peek && ns_backlog_keep(engine, bytes, got)) {
        *in_place = got;
        return 1;
    }
    struct delivery delivery = {.buffer = bytes, .diverted = peek};
    ns_backlog_catch_up(engine);
    feed(engine, &delivery, bytes, got);
    ns_backlog_allow(engine);
    *in_place = delivery.in_place;
    engine->grown = true;
    return 1;
}

static int
pull_http1(struct ns_engine *engine, uint8_t *bytes, size_t count, bool peek, size_t *in_place)
{
    size_t got = 0;
    /* A failed read that is not told to the program must not leave its errors behind. */
    bool denials = engine->denials != NULL;
    bool marked = denials && ns_engine_mark_errors(engine);
    int result = ns_engine_real_read(engine, bytes, count, &got);
    int taken = take_http1(engine, bytes, result, got, peek, in_place);
    if (denials) {
        ns_engine_unmark_errors(engine, marked, result <= 0 && taken > 0);
    }
    return taken;
}

/* --- of both protocols
 * ---------------------------------------------------------------------------- */

/* Takes what OpenSSL returned for a read into bytes. What the program may have as it came is in
 * place; the rest is in `in`. Returns what OpenSSL did, or 1 where something took the place of
 * that.
 */
static int
take(struct ns_engine *engine, uint8_t *bytes, int result, size_t got, size_t *in_place)
{
    return engine->http2 != NULL ? ns_engine_take_http2(engine, bytes, result, got, false, in_place)
                                 : take_http1(engine, bytes, result, got, false, in_place);
}

/* Asks OpenSSL for more, and takes it. */
static int
pull(struct ns_engine *engine, uint8_t *bytes, size_t count, bool peek, size_t *in_place)
{
    return engine->http2 != NULL ? ns_engine_pull_http2(engine, bytes, count, peek, in_place)
                                 : pull_http1(engine, bytes, count, peek, in_place);
}

/* A peek after a shorter one must see as much as SSL_pending told (Perl's IO::Socket::SSL then
 * reads that much unseen): what OpenSSL still has of the record comes to what is kept here already.
 */
static void
fill_for_peek(struct ns_engine *engine, size_t count)
{
    uint8_t bytes[PEEK_BYTES];
    size_t before = 0;
    for (size_t kept = ns_bytes_count(&engine->in);
         kept > before && kept < count && !engine->ended &&
         engine->api->SSL_pending(engine->ssl) > 0;
         kept = ns_bytes_count(&engine->in)) {
        size_t wanted = count - kept < sizeof bytes ? count - kept : sizeof bytes;
        size_t in_place;
        before = kept;
        if (pull(engine, bytes, wanted, true, &in_place) <= 0) {
            return;
        }
    }
}

/* A program that reads by the record does not come again for what it was not given. Returns how
 * many bytes came. */
static size_t
fill_room(struct ns_engine *engine, uint8_t *bytes, size_t count)
{
    size_t got = 0;
    int result = 1;
    while (got < count && result > 0 && !engine->broken) {
        if (ns_bytes_count(&engine->in) > 0) {
            got += give(engine, bytes + got, count - got, false);
            continue;
        }
        size_t in_place = 0;
        bool marked = ns_engine_mark_errors(engine);
        result = pull(engine, bytes + got, count - got, false, &in_place);
        ns_engine_unmark_errors(engine, marked, result <= 0);
        got += result > 0 ? in_place : 0;
    }
    return got;
}

/* Of the bytes that came, some are in place: the program has these, and what is in `in` behind them
 * as far as there is room. Returns whether it has anything. */
static bool
hand_over(struct ns_engine *engine, uint8_t *bytes, size_t count, bool peek, size_t in_place,
          size_t *got)
{
    *got = in_place;
    if (!peek && in_place > 0 && in_place < count && ns_bytes_count(&engine->in) > 0) {
        *got += give(engine, bytes + in_place, count - in_place, false);
    }
    return in_place > 0;
}

static int
read_one(struct ns_engine *engine, uint8_t *bytes, size_t count, bool peek, size_t *got)
{
    for (;;) {
        if (engine->http2 != NULL) {
            ns_engine_give_due_http2(engine);
        } else {
            give_continue(engine);
        }
        if (peek) {
            fill_for_peek(engine, count);
        }
        if (ns_bytes_count(&engine->in) > 0) {
            *got = give(engine, bytes, count, peek);
            return 1;
        }
        if (__atomic_load_n(&engine->broken, __ATOMIC_ACQUIRE)) {
            return ns_engine_fail(engine);
        }
        size_t in_place = 0;
        int result = pull(engine, bytes, count, peek, &in_place);
        if (result <= 0) {
            return result;
        }
        if (hand_over(engine, bytes, count, peek, in_place, got)) {
            return 1;
        }
    }
}

/* Until a read is seen that has more room than what OpenSSL was given. */
static void
look_at_room(struct ns_engine *engine, size_t count)
{
    bool by_record = ns_engine_reads_by_record(engine);
    BIO *bio = by_record ? engine->api->SSL_get_rbio(engine->ssl) : NULL;
    long given = bio == NULL || engine->api->BIO_ctrl == NULL
                     ? 0
                     : engine->api->BIO_ctrl(bio, NS_BIO_CTRL_PENDING, 0, NULL);
    if (!by_record || given < 0 || count > (size_t)given) {
        __atomic_store_n(&engine->reads_ahead, true, __ATOMIC_RELAXED);
    }
}

static int
read_governed(struct ns_engine *engine, uint8_t *bytes, size_t count, bool peek, size_t *got)
{
    int result = read_one(engine, bytes, count, peek, got);
    if (result > 0 && !peek && !engine->reads_ahead && engine->behind) {
        *got += fill_room(engine, bytes + *got, count - *got);
    }
    return result;
}

int
ns_engine_read_any(struct ns_engine *engine, uint8_t *bytes, size_t count, bool peek, size_t *got)
{
    if (engine->reading && peek) {
        int result =
            engine->api->SSL_peek(engine->ssl, bytes, count < INT_MAX ? (int)count : INT_MAX);
        *got = result > 0 ? (size_t)result : 0;
        return result > 0 ? 1 : result;
    }
    if (engine->reading) {
        return ns_engine_real_read(engine, bytes, count, got);
    }
    int result = 1;
    if (!engine->agreed) {
        result = engine->broken ? 1 : ns_engine_shake_hands(engine);
        if (result <= 0) {
            return result;
        }
        (void)ns_engine_speaks_http2(engine);
    }
    if (engine->grown) {
        tell_progress(engine);
    }
    if (!engine->reads_ahead) {
        look_at_room(engine, count);
    }
    engine->reading = true;
    result = read_governed(engine, bytes, count, peek, got);
    engine->reading = false;
    return result;
}

int
ns_engine_read_on(struct ns_engine *engine, uint8_t *bytes, size_t count, int result, size_t came,
                  size_t *got)
{
    size_t in_place;
    result = take(engine, bytes, result, came, &in_place);
    if (result > 0 && !hand_over(engine, bytes, count, false, in_place, got)) {
        result = read_one(engine, bytes, count, false, got);
    }
    return result;
}

NS_HOT size_t
ns_engine_pending(const struct ns_engine *engine)
{
    return ns_bytes_count(&engine->in) +
           (__atomic_load_n(&engine->continue_due, __ATOMIC_RELAXED) ? CONTINUE_BYTES : 0);
}
