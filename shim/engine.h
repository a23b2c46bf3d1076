/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One governed connection: what the program writes goes through wire/, is withheld while it may
 * belong to a call, judged, and sent or replaced; what arrives goes to the program and through
 * wire/. docs/interception.md states what this promises.
 *
 * OpenSSL wants one thread at a time on an SSL*, but programs that read in one thread and write in
 * another get away with it, so the writer's and the reader's state are apart, and the lock guards
 * what both touch: wire and the list of denials. It is never held across a call into OpenSSL or
 * to the collector.
 */
#ifndef NS_SHIM_ENGINE_H
#define NS_SHIM_ENGINE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "shim/call.h"
#include "shim/gate.h"
#include "shim/http2.h"
#include "shim/lock.h"
#include "shim/openssl.h"
#include "wire/http1_filter.h"
#include "wire/wire.h"

/* Bytes withheld of one request, transfer coding and head included: where the coding is so wasteful
 * that this comes first, the call is judged there. */
#define NS_WITHHOLD_BYTES_MAX (NS_WITHHOLD_BODY_BYTES_MAX + (1 << 20))

/* Bytes that may be looked at later (16 KiB with what a block of memory takes), and for how
 * long the first of them may wait: so that what is told while a stream runs is about what it is. */
#define NS_BACKLOG_BYTES (16384 - 16)
#define NS_BACKLOG_NS INT64_C(250000000)

/* HTTP/2: so long a read leaves to the program's own writes what became due by reading. */
#define NS_NUDGE_NS INT64_C(100000000)

/* A denied request: its substitute is on its way, and its answer is to be replaced. */
struct ns_denial {
    struct ns_denial *next;
    uint64_t place; /* in the order of answers of the connection, from 0 */
    struct ns_wire_call *call;
    struct ns_gate_verdict verdict;
    bool ends; /* what follows the request cannot be understood: the connection ends with it */
};

/* Bytes that the program had and nobody looked at. Under the engine's lock. */
struct ns_backlog {
    uint32_t room; /* so many more may come; the reader also looks without the lock */
    uint32_t count;
    uint8_t *bytes;   /* NS_BACKLOG_BYTES, while room is given */
    int64_t since_ns; /* when the first of them came */
    uint32_t stream;  /* HTTP/2: whose they are */
};

struct ns_engine {
    /* What most reads need comes first. */
    SSL *ssl;
    const struct ns_openssl *api;
    bool reading;    /* bytes are under way, and a read from within goes straight on */
    bool plain_read; /* the program uses SSL_read, not SSL_read_ex: results are of that kind */
    bool grown;      /* something came since progress was thought of */
    bool blind;      /* everything passes, nothing is looked at any more */
    uint32_t life;   /* of the process that owns the calls: a child of fork must not report them */
    struct ns_http2 *http2; /* NULL: not agreed on */
    struct ns_backlog backlog;
    struct ns_lock lock;

    struct ns_wire *wire; /* HTTP/1.x; NULL where http2 is not */
    bool broken;          /* bytes of the program have no place any more: all fails from here on */
    bool handshaken;      /* seen finished */
    bool unseen;          /* bytes left past the engine, and that was told */
    bool counted;         /* that it is not understood any more */
    bool plain_write;     /* as plain_read */
    bool agreed;          /* which of the protocols it is */

    /* writer */
    struct ns_bytes held; /* withheld: one request, from its first byte */
    struct ns_bytes out; /* allowed to leave, not yet taken by OpenSSL; never moved while it retries
                            with the same buffer */
    size_t ahead;        /* bytes at the front of the program's next write that were taken already,
                            by a write that could not be completed */
    size_t direct;       /* the bytes after them that are known to pass, still in its buffer */
    struct ns_lock flushing;   /* HTTP/2: a reader writes, too */
    bool unflushed;            /* HTTP/2: not all of `out` has left; guarded by the lock */
    struct ns_ticket *leaving; /* of the call in `out`; guarded by the lock, for its answer may come
                                  before all has left, and take it away */
    bool writing;              /* as reading */
    bool dropping;             /* the rest of the request judged last was denied with it */

    /* reader */
    struct ns_bytes in;          /* for the program to read before anything else */
    struct ns_gate_verdict *cut; /* the answer that is being read is to be cut with it */
    bool ended;                  /* it has been: nothing comes after what is in `in` */
    uint64_t answers;            /* that have ended */
    bool reads_ahead; /* a read had more room than OpenSSL had to give; the writer asks, too */
    bool behind; /* what was put in took the room of a read, and OpenSSL may have what it had */
    bool owes_server;  /* HTTP/2: something was due to leave when that was last seen */
    int64_t nudged_ns; /* HTTP/2: since when the program is to write it; 0: not. Under the lock */
    bool owes_program; /* HTTP/2: the server's end may bring forth what the program can read */
    struct ns_http1_filter *filter; /* of the answer that is being read; NULL: it passes as it is */
    bool unfiltered;                /* there was no memory for one */
    struct ns_bytes tentative;      /* the beginning of an answer that may be a 100 to swallow */

    /* both */
    struct ns_denial *denials; /* oldest first */
    bool continue_due; /* the program may wait for a 100, and gets ours; written under the lock */
    bool swallow_continue; /* it had ours: the server's own is not for it */
};

/* A connection of a program that may call a provider, or NULL (*refused: without memory). */
struct ns_engine *ns_engine_new(SSL *ssl, const struct ns_openssl *api, bool *refused);

/* The end: tells of calls that are not over and frees everything. May be called in a child of fork
 * for the parent's connection: then it tells nothing. */
void ns_engine_free(struct ns_engine *engine);

/* Tells of calls that are not over, at the end of the process; the connection is blind from there.
 * Does nothing where another thread is inside. */
void ns_engine_abandon(struct ns_engine *engine);

/* As SSL_write: takes bytes of the program. Returns 1 and *written, or what OpenSSL returned, with
 * its error state as OpenSSL left it. */
int ns_engine_write(struct ns_engine *engine, const uint8_t *bytes, size_t count, size_t *written);

/* Bytes are about to leave past the engine: what is withheld goes first, unjudged, and nothing is
 * looked at any more. Returns 1, or what OpenSSL returned where it did not take all: to be called
 * again. */
int ns_engine_go_blind(struct ns_engine *engine);

/* Before the program's own SSL_shutdown or write on a connection that was ended with a cut answer:
 * OpenSSL must write nothing to it any more. Does nothing for others. */
static inline void
ns_engine_keep_silent(const struct ns_engine *engine)
{
    if (engine->ended && engine->api->SSL_set_shutdown != NULL) {
        engine->api->SSL_set_shutdown(engine->ssl, NS_SSL_SENT_SHUTDOWN | NS_SSL_RECEIVED_SHUTDOWN);
    }
}

/* Bytes that a read would give at once, beside OpenSSL's own. */
size_t ns_engine_pending(const struct ns_engine *engine);

/* True once the hooks need not come here any more. */
static inline bool
ns_engine_is_done(const struct ns_engine *engine)
{
    return engine->blind && !engine->broken && engine->http2 == NULL &&
           ns_wire_is_opaque(engine->wire) && engine->ahead == 0 && engine->direct == 0 &&
           engine->denials == NULL && engine->filter == NULL &&
           engine->out.begin == engine->out.end && engine->in.begin == engine->in.end;
}

/* --- between the two files of the engine
 * ---------------------------------------------------------- */

/* May the program be one that gives OpenSSL a record, then reads with room for as many bytes as
 * that had, and again only behind the next record (.NET's SslStream)? What is longer than what came
 * in its stead is read by it in parts, each behind a record of the server; so the server is to send
 * some. */
bool ns_engine_reads_by_record(const struct ns_engine *engine);

/* OpenSSL's own, in the form that the program calls, so that their results can be handed on.
 * Nothing of the shim touches errno, so it stays as the last of these left it. */
int ns_engine_real_write(struct ns_engine *engine, const void *bytes, size_t count,
                         size_t *written);
static inline int
ns_engine_real_read(struct ns_engine *engine, void *bytes, size_t count, size_t *got)
{
    if (!engine->plain_read) {
        return engine->api->SSL_read_ex(engine->ssl, bytes, count, got);
    }
    int done = engine->api->SSL_read(engine->ssl, bytes, count < INT_MAX ? (int)count : INT_MAX);
    *got = done > 0 ? (size_t)done : 0;
    return done > 0 ? 1 : done;
}

/* Did OpenSSL stop only because its socket has nothing (or takes nothing) at the moment? Asked of
 * the BIO and not of SSL_get_error, which looks at the error queue, where the host's own old
 * errors may be. */
bool ns_engine_must_wait(const struct ns_engine *engine, bool reading);

/* Something that the program must have cannot be given to it. It hears so with its next write, or
 * the read behind what it can still have: better than waiting for what will never come. */
void ns_engine_break(struct ns_engine *engine, const char *why);

/* wire is opaque, and all passes: counts why, once. */
void ns_engine_count_opaque(struct ns_engine *engine);

/* Returns what SSL_write and SSL_read do without memory. */
int ns_engine_fail(const struct ns_engine *engine);

/* The error queue as the host left it: mark, call, unmark; forget takes away what the call put
 * there. Marking an empty queue is false and means: everything is the call's. */
bool ns_engine_mark_errors(const struct ns_engine *engine);
void ns_engine_unmark_errors(const struct ns_engine *engine, bool marked, bool forget);

/* Of both protocols: OpenSSL did not take all of a write. */
int ns_engine_suspend(struct ns_engine *engine, size_t done, size_t ahead_left, int result,
                      size_t *written);

/* Of both: hands `out` to OpenSSL. Returns 1 when it is empty, or what OpenSSL returned. */
int ns_engine_send_out(struct ns_engine *engine);

/* OpenSSL would shake hands first; a request that is withheld must not hide that this fails, and
 * what is agreed on must be known before the first byte. As SSL_do_handshake. */
int ns_engine_shake_hands(struct ns_engine *engine);

/* Whether the handshake, which is over, agreed on HTTP/2. */
bool ns_engine_speaks_http2(struct ns_engine *engine);

/* --- what is looked at later (engine_backlog.c)
 * ---------------------------------------------------- */

/* The program has read these bytes: may they be looked at later? Then they are kept. */
bool ns_backlog_keep(struct ns_engine *engine, const uint8_t *bytes, size_t count);

/* Looks at what was kept; nothing more is, until that is allowed. Lock held, and without. */
void ns_backlog_look(struct ns_engine *engine);
void ns_backlog_catch_up(struct ns_engine *engine);

/* Notes how many bytes may be kept from now on: none where anything is due on the connection but
 * what arrives. The reader's, after it has looked at a read. */
void ns_backlog_allow(struct ns_engine *engine);

/* --- reading (engine_read.c)
 * ------------------------------------------------------------------------------------ */

/* Any read. */
int ns_engine_read_any(struct ns_engine *engine, uint8_t *bytes, size_t count, bool peek,
                       size_t *got);

/* OpenSSL returned this, and so many bytes, in the midst of a stream, and they could not just be
 * kept. */
int ns_engine_read_on(struct ns_engine *engine, uint8_t *bytes, size_t count, int result,
                      size_t came, size_t *got);

/* As SSL_read and SSL_peek. In the midst of a stream, where nearly all reads are, with as little
 * between the program and OpenSSL as can be: behind a system call each return is a branch that the
 * processor has forgotten. */
static inline int
ns_engine_read(struct ns_engine *engine, uint8_t *bytes, size_t count, bool peek, size_t *got)
{
    bool midst = __atomic_load_n(&engine->backlog.room, __ATOMIC_RELAXED) > 0;
    if (!midst || engine->grown || engine->reading || peek) {
        return ns_engine_read_any(engine, bytes, count, peek, got);
    }
    size_t came = 0;
    engine->reading = true;
    int result = ns_engine_real_read(engine, bytes, count, &came);
    if (result > 0 && ns_backlog_keep(engine, bytes, came)) {
        *got = came;
    } else {
        result = ns_engine_read_on(engine, bytes, count, result, came, got);
    }
    engine->reading = false;
    return result;
}

/* --- HTTP/2 (engine_http2.c) */

int ns_engine_write_http2(struct ns_engine *engine, const uint8_t *bytes, size_t count,
                          size_t *written);

/* Puts what the program is to read before anything else into `in`. */
void ns_engine_give_due_http2(struct ns_engine *engine);

/* Asks OpenSSL for more, and takes what it gave, as pull and take in engine_read.c. */
int ns_engine_pull_http2(struct ns_engine *engine, uint8_t *bytes, size_t count, bool peek,
                         size_t *in_place);
int ns_engine_take_http2(struct ns_engine *engine, const uint8_t *bytes, int result, size_t got,
                         bool peek, size_t *in_place);

/* The answer to this stream's call is to be cut. */
void ns_engine_cut_http2(struct ns_engine *engine, uint32_t stream,
                         const struct ns_gate_verdict *verdict);

#endif
