/* SPDX-License-Identifier: Apache-2.0 */
/* Flow control (RFC 9113, 5.2 and 6.9) between a program and a server that see different bytes. */
#include "shim/http2_connection.h"

/* --- what the program sends ----------------------------------------------------------------- */

static int64_t
stream_window(const struct ns_http2 *http2, const struct ns_http2_stream *stream)
{
    return http2->initial_window + stream->send_extra;
}

/* What the program may still send, by its own account. */
static int64_t
program_room(const struct ns_http2 *http2)
{
    return http2->send_window - http2->pending + http2->advance - http2->credit;
}

static int64_t
program_stream_room(const struct ns_http2 *http2, const struct ns_http2_stream *stream)
{
    return stream_window(http2, stream) - (int64_t)ns_bytes_count(&stream->queue) +
           stream->advance - stream->credit;
}

static int64_t
least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The end of a request whose body has left. */
static void
send_end(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    if (!stream->ended || stream->end_sent) {
        return;
    }
    stream->end_sent = true;
    size_t trailers = ns_bytes_count(&stream->trailers);
    if (trailers == 0) {
        ns_http2_put_frame(http2, &http2->to_server, NS_HTTP2_DATA, NS_HTTP2_END_STREAM, stream->id,
                           NULL, 0);
    } else if (!ns_http2_block_write(&http2->to_server, stream->id,
                                     ns_bytes_front(&stream->trailers), trailers, true)) {
        http2->failed = true;
    }
    ns_bytes_free(&stream->trailers);
}

void
ns_http2_pump(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    if (stream->withheld || stream->dropped) {
        return;
    }
    struct ns_bytes *queue = &stream->queue;
    while (ns_bytes_count(queue) > 0) {
        int64_t room = least(http2->send_window, stream_window(http2, stream));
        int64_t count =
            least(least((int64_t)ns_bytes_count(queue), room), NS_HTTP2_FRAME_BYTES_MAX);
        if (count <= 0) {
            return;
        }
        bool last = stream->ended && count == (int64_t)ns_bytes_count(queue) &&
                    ns_bytes_count(&stream->trailers) == 0;
        ns_http2_put_frame(http2, &http2->to_server, NS_HTTP2_DATA, last ? NS_HTTP2_END_STREAM : 0,
                           stream->id, ns_bytes_front(queue), (size_t)count);
        stream->end_sent |= last;
        ns_bytes_take(queue, (size_t)count);
        stream->send_extra -= count;
        http2->send_window -= count;
        http2->pending -= count;
    }
    ns_bytes_free(queue);
    send_end(http2, stream);
}

void
ns_http2_pump_all(struct ns_http2 *http2)
{
    for (uint32_t i = 0; i < http2->stream_count && http2->pending > 0;) {
        struct ns_http2_stream *stream = http2->streams[i];
        uint32_t count = http2->stream_count;
        if (ns_bytes_count(&stream->queue) > 0) {
            ns_http2_pump(http2, stream);
            ns_http2_reap(http2, stream);
        }
        i += count == http2->stream_count;
    }
}

/* What the program is to be given beyond its room, which no window may pass. */
static int64_t
missing(int64_t room, int64_t expected)
{
    if (room >= NS_HTTP2_ROOM_BYTES_MIN && room >= expected) {
        return 0;
    }
    int64_t wanted =
        expected - room > NS_HTTP2_ADVANCE_BYTES ? expected - room : NS_HTTP2_ADVANCE_BYTES;
    return least(wanted, NS_HTTP2_WINDOW_BYTES_MAX - room);
}

static void
advance(struct ns_http2 *http2, uint32_t stream, int64_t *account, int64_t bytes)
{
    if (bytes > 0) {
        *account += bytes;
        ns_http2_put_u32(http2, &http2->inject, NS_HTTP2_WINDOW_UPDATE, stream, (uint32_t)bytes);
        ns_http2_wake(http2);
    }
}

void
ns_http2_widen(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    int64_t bound = (int64_t)http2->body_bytes_max + NS_HTTP2_ADVANCE_BYTES;
    int64_t expected =
        least(stream->length - (int64_t)ns_http2_call_request_bytes(stream->call), bound);
    if (stream->advance < bound) {
        advance(http2, stream->id, &stream->advance,
                missing(program_stream_room(http2, stream), expected));
    }
    advance(http2, 0, &http2->advance, missing(program_room(http2), expected));
}

void
ns_http2_give_back(struct ns_http2 *http2, struct ns_http2_stream *stream, uint32_t bytes)
{
    http2->credit += bytes;
    if (stream != NULL) {
        stream->credit += bytes;
    }
}

void
ns_http2_return_credit(struct ns_http2 *http2)
{
    if (http2->credit == 0) {
        return;
    }
    for (uint32_t i = 0; i < http2->stream_count; i++) {
        struct ns_http2_stream *stream = http2->streams[i];
        if (stream->credit > 0 && !stream->ended) {
            ns_http2_put_u32(http2, &http2->inject, NS_HTTP2_WINDOW_UPDATE, stream->id,
                             (uint32_t)stream->credit);
        }
        stream->credit = 0;
    }
    ns_http2_put_u32(http2, &http2->inject, NS_HTTP2_WINDOW_UPDATE, 0, (uint32_t)http2->credit);
    http2->credit = 0;
}

void
ns_http2_wake_starved(struct ns_http2 *http2)
{
    bool starved = http2->credit > 0 && program_room(http2) < NS_HTTP2_ROOM_BYTES_MIN;
    for (uint32_t i = 0; i < http2->stream_count && http2->credit > 0 && !starved; i++) {
        const struct ns_http2_stream *stream = http2->streams[i];
        starved = stream->credit > 0 && !stream->ended &&
                  program_stream_room(http2, stream) < NS_HTTP2_ROOM_BYTES_MIN;
    }
    if (starved) {
        ns_http2_wake(http2);
    }
}

uint32_t
ns_http2_server_takes(struct ns_http2 *http2, struct ns_http2_stream *stream, uint32_t bytes)
{
    int64_t *window = stream == NULL ? &http2->send_window : &stream->send_extra;
    int64_t *advance = stream == NULL ? &http2->advance : &stream->advance;
    int64_t had = least(bytes, *advance); /* the program was given it before */
    *window += bytes;
    *advance -= had;
    return bytes - (uint32_t)had;
}

void
ns_http2_server_initial(struct ns_http2 *http2, uint32_t bytes)
{
    http2->initial_window = least(bytes, NS_HTTP2_WINDOW_BYTES_MAX);
    for (uint32_t i = 0; i < http2->stream_count; i++) {
        struct ns_http2_stream *stream = http2->streams[i];
        if (stream->withheld && !stream->ended) { /* the program has less room than it had */
            ns_http2_widen(http2, stream);
        }
    }
    ns_http2_pump_all(http2);
}

/* --- what the program receives -------------------------------------------------------------- */

uint32_t
ns_http2_program_takes(struct ns_http2 *http2, uint32_t bytes)
{
    int64_t kept = least(NS_HTTP2_RESERVE_BYTES - http2->reserve, bytes);
    kept = bytes - kept > INT32_MAX ? (int64_t)bytes - INT32_MAX : kept;
    http2->reserve += kept;
    return (uint32_t)(bytes - kept);
}

void
ns_http2_swallowed(struct ns_http2 *http2, uint32_t bytes)
{
    http2->reserve += bytes;
    int64_t above = http2->reserve - NS_HTTP2_RESERVE_BYTES;
    if (above >= NS_HTTP2_SURPLUS_BYTES_MAX) {
        http2->reserve -= above;
        ns_http2_put_u32(http2, &http2->to_server, NS_HTTP2_WINDOW_UPDATE, 0, (uint32_t)above);
    }
}

uint32_t
ns_http2_stream_takes(struct ns_http2_stream *stream, uint32_t bytes)
{
    int64_t told = least((int64_t)bytes + stream->hidden, INT32_MAX);
    stream->hidden -= told - bytes;
    return (uint32_t)told;
}

void
ns_http2_hidden(struct ns_http2 *http2, struct ns_http2_stream *stream, uint32_t bytes)
{
    stream->hidden += bytes;
    if (stream->hidden >= NS_HTTP2_HIDDEN_BYTES_MAX) {
        ns_http2_put_u32(http2, &http2->to_server, NS_HTTP2_WINDOW_UPDATE, stream->id,
                         (uint32_t)stream->hidden);
        stream->hidden = 0;
    }
}
