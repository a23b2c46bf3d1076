/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a governed HTTP/2 connection, shared by shim/http2*.c. */
#ifndef NS_SHIM_HTTP2_CONNECTION_H
#define NS_SHIM_HTTP2_CONNECTION_H

#include "shim/http2.h"
#include "wire/http2_call.h"
#include "wire/http2_frame.h"
#include "wire/http2_head.h"
#include "wire/usage_filter.h"

/* Streams of one connection whose bodies are under way; servers allow some hundred. With one more
 * the connection fails. */
#define NS_HTTP2_STREAMS_MAX 8192

/* A ping with its frame's header; and what a denial has beside its words and head. */
#define NS_HTTP2_PING_BYTES 17
#define NS_HTTP2_FRAMING_BYTES 64

/* A withheld request whose program has less room than this is given more. */
#define NS_HTTP2_ROOM_BYTES_MIN 32768

/* Room is given in pieces of this: small enough to bound what an idle program may send, large
 * enough that a prompt of usual length needs one. */
#define NS_HTTP2_ADVANCE_BYTES (1 << 20)

/* The program may take this much more on its connection than the server knows: room for denials,
 * which the server's account does not show. */
#define NS_HTTP2_RESERVE_BYTES 4096

/* What the server sent and the program did not get is room again. The server is told with the
 * program's own updates, and by itself only when so much has gathered, of a connection, of a
 * stream: what is written while a program reads comes out of turn for some (anyio's TLS refuses to
 * write for a reader while another task writes), and no window waits for so little. */
#define NS_HTTP2_SURPLUS_BYTES_MAX 8192
#define NS_HTTP2_HIDDEN_BYTES_MAX 1024

/* An event of an answer is kept until it is known what it is. With a window smaller than this the
 * server might wait for the program, which gives room only for what it has had. */
#define NS_HTTP2_FILTER_WINDOW_BYTES_MIN (2 * NS_USAGE_EVENT_BYTES_MAX)

struct ns_http2_stream {
    uint32_t id;
    bool withheld;    /* its body waits for a verdict */
    bool judging;     /* that was asked for */
    uint8_t unjudged; /* enum ns_wire_opaque: its head cannot be read, and it is to be denied */
    bool released;    /* allowed; not yet known to have left */
    bool dropped;     /* nothing of it passes any more, from either side */
    bool due;         /* a denial waits to be told */
    bool answered;    /* the server's final head has come */
    bool ended;       /* the program has ended its side */
    bool end_sent;    /* and the server was told */
    bool closed;      /* the server has ended its side, or one of both has reset the stream */
    bool over;        /* its call is to be taken */
    bool cut;         /* and its answer did not come to its end */
    bool unsent;      /* and the server has not looked at it */

    int64_t send_extra;    /* what the server takes, beside its initial window */
    int64_t advance;       /* given to the program and not yet by the server */
    int64_t credit;        /* dropped, and not yet given back to the program */
    int64_t receive_extra; /* what the program takes, beside its initial window */
    int64_t hidden;        /* from it, and the server was not told that there is room again */

    int64_t length; /* of a withheld request's body, as its head says; 0 where it does not */
    struct ns_http2_call *call; /* NULL: no call, or it is over */
    struct ns_bytes head;       /* text of a call's head, until its ruling */
    struct ns_bytes queue;      /* body, taken and not yet sent */
    struct ns_bytes trailers;   /* a header block, likewise */
    struct ns_bytes denial;     /* the header block of our answer; none behind the server's own */
    struct ns_bytes denial_body;
    bool whole;    /* what its head told of its body has come */
    uint64_t ping; /* whose answer tells that the server has seen the reset */

    /* an answer that does not pass as it comes (http2_edit.c) */
    struct ns_usage_filter *filter; /* NULL: nothing is to be taken out of it */
    struct ns_gate_verdict *cut_by; /* it is to be cut behind its next event */
    bool askable;                   /* the request's length was not told: it may be edited */
    bool measured;                  /* the answer's was, and must stay */
    bool severed; /* it was cut: the rest is not the program's, and its end is due or was told */

    struct ns_http2_stream *next_grown;
    bool grown;
};

struct ns_http2 {
    const struct ns_wire_hosts *hosts;
    char *server_name;
    uint64_t body_bytes_max;
    struct ns_http2_stream **streams; /* by id, ascending */
    uint32_t stream_count;
    uint32_t stream_capacity;
    uint32_t over_count;           /* of streams with a call to be taken */
    uint32_t released_count;       /* of streams whose leaving is not known yet */
    struct ns_http2_stream *grown; /* whose answers grew since that was asked */
    bool asks_usage;
    bool cuts;      /* an answer was to be cut */
    bool by_record; /* the program reads no more than the server has just sent */
    bool by_length; /* a request is judged by the length that its head told */
    bool failed;

    bool strict;

    struct ns_bytes to_server;
    struct ns_bytes to_program;
    struct ns_bytes inject; /* to the program, at the next boundary */
    bool nudged;            /* a ping of ours is on its way to the program, and its answer back */

    /* writer */
    struct ns_http2_frames writer;
    struct ns_http2_fields *request_fields;
    struct ns_http2_head request_head; /* the block that is passing */
    struct ns_bytes request_block;     /* its frames, as they came */
    struct ns_http2_stream *writing;   /* of the DATA frame that is passing */
    uint8_t preface_bytes;
    bool writer_passes; /* the frame's payload goes on as it comes */
    bool request_ends;  /* the block's HEADERS end the request */
    bool translating;   /* blocks are written anew */
    bool opaque;

    /* reader */
    struct ns_http2_frames reader;
    struct ns_http2_fields *answer_fields;
    struct ns_http2_head answer_head;
    struct ns_http2_stream *reading; /* of the frame that is passing */
    bool reader_passes;
    bool editing; /* the DATA frame that is passing is made anew */
    bool reader_blind;
    bool answer_ends;
    bool settings_seen;   /* the server's preface */
    uint32_t table_bytes; /* of the server's fields, as the program last allowed */
    bool table_bytes_due; /* it knows, and its next block must begin with a size within that */

    /* flow control of what the program sends */
    int64_t initial_window; /* the server's, of each stream */
    int64_t send_window;    /* what the server takes */
    int64_t pending;        /* in all queues */
    int64_t advance;
    int64_t credit;

    /* and of what it receives */
    int64_t program_initial_window;
    int64_t reserve; /* what the program takes beyond what the server knows */

    uint64_t ping_base;
    uint64_t ping_sent;
    uint64_t ping_acked;
};

/* --- streams (http2.c) ---------------------------------------------------------------------- */

struct ns_http2_stream *ns_http2_find(const struct ns_http2 *http2, uint32_t id);

/* Adds a stream; NULL past the bound or without memory. */
struct ns_http2_stream *ns_http2_open(struct ns_http2 *http2, uint32_t id);

/* Forgets a stream with which both sides are done. */
void ns_http2_reap(struct ns_http2 *http2, struct ns_http2_stream *stream);

/* The call of a stream is over. */
void ns_http2_end_call(struct ns_http2 *http2, struct ns_http2_stream *stream, bool cut);

/* Nothing of the stream goes on any more; what waits of it is given back. */
void ns_http2_drop(struct ns_http2 *http2, struct ns_http2_stream *stream);

/* The same, and the server is told. */
void ns_http2_cancel(struct ns_http2 *http2, struct ns_http2_stream *stream);

/* Tells denials whose reset the server has seen. */
void ns_http2_tell_denials(struct ns_http2 *http2);

/* Nothing more of the server's goes to the program on this stream: it is denied and the server had
 * not begun to answer, or its answer was cut. */
static inline bool
ns_http2_is_detached(const struct ns_http2_stream *stream)
{
    return stream->dropped && (stream->severed || !stream->answered);
}

/* --- answers that are edited (http2_edit.c) -------------------------------------------------- */

/* The request of an allowed call, which waits here whole, is made to ask for its usage, if that is
 * wanted. */
void ns_http2_ask_usage(struct ns_http2 *http2, struct ns_http2_stream *stream);

/* The head of the answer has come. */
void ns_http2_begin_answer(struct ns_http2_stream *stream, const struct ns_http1 *head);

/* Is the content that comes now to be put to the program by these? */
static inline bool
ns_http2_is_edited(const struct ns_http2_stream *stream)
{
    return stream->filter != NULL || stream->cut_by != NULL;
}

/* Content, and what surrounds it. The stream may be over, or NULL: forgotten. */
void ns_http2_edit_content(struct ns_http2 *http2, struct ns_http2_stream *stream,
                           const uint8_t *bytes, size_t count);
void ns_http2_edit_padding(struct ns_http2 *http2, struct ns_http2_stream *stream, size_t count);

/* The server has ended its content, by a frame of it (ends) or by a reset, which comes next. */
void ns_http2_edit_end(struct ns_http2 *http2, struct ns_http2_stream *stream, bool ends);

/* A header block comes next, which ends the answer. */
void ns_http2_edit_block(struct ns_http2 *http2, struct ns_http2_stream *stream);

/* What is kept of answers passes: nothing of them comes any more, or it is not understood. */
void ns_http2_flush_edits(struct ns_http2 *http2);

/* Puts the content of a denial, or the words with which a cut answer ends, as far as the program
 * takes them on the stream; ends: they end it. Returns whether that was all. */
bool ns_http2_put_words(struct ns_http2 *http2, struct ns_http2_stream *stream,
                        struct ns_bytes *out, bool ends);

/* Nothing of the answer goes on any more. */
void ns_http2_drop_edit(struct ns_http2 *http2, struct ns_http2_stream *stream);
void ns_http2_free_edit(struct ns_http2_stream *stream);

/* --- output (http2.c) ----------------------------------------------------------------------- */

void ns_http2_put(struct ns_http2 *http2, struct ns_bytes *out, const void *bytes, size_t count);
void ns_http2_put_frame(struct ns_http2 *http2, struct ns_bytes *out, enum ns_http2_type type,
                        uint8_t flags, uint32_t stream, const void *payload, size_t count);
void ns_http2_put_u32(struct ns_http2 *http2, struct ns_bytes *out, enum ns_http2_type type,
                      uint32_t stream, uint32_t value);

/* Has the server answer something, so that the program's event loop comes to read. */
void ns_http2_wake(struct ns_http2 *http2);
uint64_t ns_http2_ping(struct ns_http2 *http2);

/* The same behind a reset: what the program reads then, of so many bytes, is put in when the answer
 * comes. */
uint64_t ns_http2_ping_for(struct ns_http2 *http2, size_t bytes);

/* --- windows (http2_windows.c) --------------------------------------------------------------- */

/* Sends what may be sent of a stream, or of all. */
void ns_http2_pump(struct ns_http2 *http2, struct ns_http2_stream *stream);
void ns_http2_pump_all(struct ns_http2 *http2);

/* Gives the program room to send more of a withheld request. */
void ns_http2_widen(struct ns_http2 *http2, struct ns_http2_stream *stream);

/* What was dropped of what the program sent is given back to it, with its next read: noted; told;
 * and the program brought to read where it may be waiting for it. stream may be NULL. */
void ns_http2_give_back(struct ns_http2 *http2, struct ns_http2_stream *stream, uint32_t bytes);
void ns_http2_return_credit(struct ns_http2 *http2);
void ns_http2_wake_starved(struct ns_http2 *http2);

/* The server takes more: returns what the program is to be told of it. */
uint32_t ns_http2_server_takes(struct ns_http2 *http2, struct ns_http2_stream *stream,
                               uint32_t bytes);
void ns_http2_server_initial(struct ns_http2 *http2, uint32_t bytes);

/* The program takes more on its connection, or of a stream: returns what the server is to be told
 * of it. */
uint32_t ns_http2_program_takes(struct ns_http2 *http2, uint32_t bytes);
uint32_t ns_http2_stream_takes(struct ns_http2_stream *stream, uint32_t bytes);

/* Bytes of the server that the program did not get: noted for the connection; and for a stream that
 * goes on. */
void ns_http2_swallowed(struct ns_http2 *http2, uint32_t bytes);
void ns_http2_hidden(struct ns_http2 *http2, struct ns_http2_stream *stream, uint32_t bytes);

/* No number that the server is sent: those count up from ping_base. */
static inline uint64_t
ns_http2_nudge_payload(const struct ns_http2 *http2)
{
    return ~http2->ping_base;
}

#endif
