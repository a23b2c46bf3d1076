/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A governed HTTP/2 connection, between the program and OpenSSL: bytes in from either side, bytes
 * out to either side, no I/O. docs/interception.md says what it promises.
 *
 * A request's HEADERS go on at once, so that streams open in the program's order; of a call's DATA
 * nothing goes on before its verdict. Meanwhile the program may fill its windows: it is given more
 * room as needed, and what it then sent too early for the server waits here. So the connection
 * keeps two accounts of flow control:
 *
 *     what the program may send = what the server takes - what waits here + what was advanced
 *
 * A denied stream is reset towards the server and answered towards the program; an answer that is
 * cut is ended so. The content of an answer that is edited comes in frames of ours. Header blocks
 * pass as they are; from the first one that holds a header of ours, blocks of requests are written
 * anew, as literals, because the server's table of fields then lacks what the program's has.
 *
 * The caller serialises all calls for one connection. Without memory the connection fails: bytes
 * that are due have no other place.
 */
#ifndef NS_SHIM_HTTP2_H
#define NS_SHIM_HTTP2_H

#include "base/bytes.h"
#include "shim/gate.h"
#include "wire/wire.h"

struct ns_http2;
struct ns_http2_stream;

/* At the start of a connection. body_bytes_max: a call whose request is longer is judged after so
 * many bytes of its body. asks_usage: streams that would not are made to tell their usage, and the
 * program does not see it. hosts must outlive it. NULL without memory. */
struct ns_http2 *ns_http2_new(const struct ns_wire_hosts *hosts, const char *server_name,
                              uint64_t body_bytes_max, bool asks_usage);

/* With the calls that were not taken. */
void ns_http2_free(struct ns_http2 *http2);

/* Takes bytes that the program writes; returns how many. *asks is the stream that now needs a
 * verdict, or NULL where all were taken. strict: the policy is to deny what cannot be judged. */
size_t ns_http2_write(struct ns_http2 *http2, const uint8_t *bytes, size_t count, bool strict,
                      struct ns_http2_stream **asks);

/* Why a stream that asks cannot be judged (MALFORMED, TOO_LARGE, NO_MEMORY), or NS_WIRE_CLEAR. Only
 * where strict, and then it is to be denied. */
enum ns_wire_opaque ns_http2_unjudged(const struct ns_http2_stream *stream);

/* The call of a stream that asks, and the text that offsets in its facts are of. Between this and
 * the ruling the connection may be used: the stream stays. */
struct ns_wire_call *ns_http2_asking(struct ns_http2_stream *stream, const uint8_t **head,
                                     size_t *head_bytes);

/* The ruling. denial: the answer that the program reads, as HTTP/1.1 would send it. After deny the
 * call is the caller's. */
void ns_http2_allow(struct ns_http2 *http2, struct ns_http2_stream *stream);
struct ns_wire_call *ns_http2_deny(struct ns_http2 *http2, struct ns_http2_stream *stream,
                                   const uint8_t *denial, size_t denial_bytes);

/* A request is judged when as much of its body has come as its head told, though its end has not:
 * for who can withhold no more than what is being written. */
void ns_http2_judge_by_length(struct ns_http2 *http2);

/* The program reads no more at a time than the server has just sent: what is put in is followed by
 * pings, so that their answers make room for it. */
void ns_http2_read_by_record(struct ns_http2 *http2, bool by_record);

/* Looks at bytes that arrived, up to the next that are treated otherwise; returns how many. They go
 * to the program where *pass, and what is in ns_http2_to_program then goes behind them. */
size_t ns_http2_read(struct ns_http2 *http2, const uint8_t *bytes, size_t count, bool *pass);

/* The server has closed, or will say no more: denials that are due need not wait for it. */
void ns_http2_close_reading(struct ns_http2 *http2);

/* What is to be written to the server, and read by the program before anything else. The caller
 * takes it out. */
struct ns_bytes *ns_http2_to_server(struct ns_http2 *http2);
struct ns_bytes *ns_http2_to_program(struct ns_http2 *http2);

/* Has the program asked whether it is there (a ping), so that it writes: what is to be written can
 * go with that. It goes to the program as the rest does; its answer stays here. */
void ns_http2_nudge(struct ns_http2 *http2);

/* All that was to be written has been taken by OpenSSL: what was let go has left. */
void ns_http2_flushed(struct ns_http2 *http2);

/* A call that is over, now the caller's; NULL where there is none (any more). *cut: its answer was
 * not read to the end. Ask after each write, ruling and read. */
struct ns_wire_call *ns_http2_take_ended(struct ns_http2 *http2, bool *cut);

/* The connection is over: a call that is not, now the caller's, or NULL. */
struct ns_wire_call *ns_http2_take(struct ns_http2 *http2);

/* A call of whose answer something came since this was asked last, with the usage told so far: for
 * progress. NULL: there is none (any more). */
const struct ns_wire_call *ns_http2_take_grown(struct ns_http2 *http2, uint32_t *stream);

/* The call in the midst of whose stream of events the reader is, between two frames and two events
 * of which one is like the other, where nothing on this connection is other than as program and
 * server said it; with its stream. NULL: there is none. */
const struct ns_wire_call *ns_http2_going_on(struct ns_http2 *http2, uint32_t *stream);

/* More of that answer's body, of whole frames that were not read here; nothing else was since. */
void ns_http2_more_body(struct ns_http2 *http2, uint32_t stream, const uint8_t *body, size_t count);

/* The call of a stream, NULL where it is over or is being cut. */
const struct ns_wire_call *ns_http2_call(const struct ns_http2 *http2, uint32_t stream);

/* The answer to this stream's call is to be cut: behind its next event, with words that say so
 * where it can have them, and its call is over then. Without memory nothing happens. */
void ns_http2_cut(struct ns_http2 *http2, uint32_t stream, const struct ns_gate_verdict *verdict);

/* Are there calls that are over, to be taken? */
bool ns_http2_has_ended(const struct ns_http2 *http2);

/* Did anything on this connection not go as program and server said it? Before the first denial,
 * cut or edit of an answer, its end brings nothing forth that the server did not send. */
bool ns_http2_has_meddled(const struct ns_http2 *http2);

/* Bytes are lost for want of memory, or the program cannot be answered: the connection must fail.
 */
bool ns_http2_has_failed(const struct ns_http2 *http2);

/* What the program sends is not understood any more, or never was: it passes. */
bool ns_http2_is_opaque(const struct ns_http2 *http2);

#endif
