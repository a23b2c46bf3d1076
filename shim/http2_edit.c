/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of HTTP/2 whose content does not pass as it comes: the usage that we asked for is taken
 * out of them, or they are cut. The frames that the program gets are made anew here; what it does
 * not get is given back to the server as room, on the stream and on the connection.
 *
 * A cut answer is a denial without a head: the stream is reset, and once the server is known to
 * have seen that, the words that end the answer follow what the program had.
 */
#include "base/mem.h"
#include "shim/counters.h"
#include "shim/denial.h"
#include "shim/http2_connection.h"

/* --- what the program gets ------------------------------------------------------------------- */

static void
put_data(struct ns_http2 *http2, struct ns_http2_stream *stream, struct ns_bytes *out,
         const uint8_t *bytes, size_t count, bool ends)
{
    while (count > 0 || ends) {
        size_t piece = count < NS_HTTP2_FRAME_BYTES_MAX ? count : NS_HTTP2_FRAME_BYTES_MAX;
        bool last = ends && piece == count;
        ns_http2_put_frame(http2, out, NS_HTTP2_DATA, last ? NS_HTTP2_END_STREAM : 0, stream->id,
                           bytes, piece);
        stream->receive_extra -= (int64_t)piece;
        bytes = piece < count ? bytes + piece : bytes;
        count -= piece;
        ends &= !last;
    }
}

/* Where the length was told, it must be right: a comment stands where an event was. */
static void
put_comment(struct ns_http2 *http2, struct ns_http2_stream *stream, size_t count)
{
    struct ns_bytes comment = {0};
    for (size_t i = 0; i < count; i++) {
        char c = i == 0 ? ':' : ' ';
        ns_http2_put(http2, &comment, i + 2 >= count ? "\n" : &c, 1);
    }
    put_data(http2, stream, &http2->to_program, ns_bytes_front(&comment), ns_bytes_count(&comment),
             false);
    ns_bytes_free(&comment);
}

/* Content that the program does not get. */
static void
take_out(struct ns_http2 *http2, struct ns_http2_stream *stream, size_t count)
{
    if (count == 0) {
        return;
    }
    if (stream->measured) {
        put_comment(http2, stream, count);
    } else {
        ns_http2_edit_padding(http2, stream, count);
    }
}

void
ns_http2_edit_padding(struct ns_http2 *http2, struct ns_http2_stream *stream, size_t count)
{
    ns_http2_swallowed(http2, (uint32_t)count);
    if (stream != NULL && !stream->severed &&
        (http2->reader.frame.flags & NS_HTTP2_END_STREAM) == 0) {
        ns_http2_hidden(http2, stream, (uint32_t)count);
    }
}

static void
pass_on(struct ns_http2 *http2, struct ns_http2_stream *stream, const uint8_t *bytes, size_t count)
{
    struct ns_usage_filter *filter = stream->filter;
    if (filter == NULL) {
        put_data(http2, stream, &http2->to_program, bytes, count, false);
        return;
    }
    while (count > 0) {
        struct ns_usage_output output;
        size_t kept = ns_usage_filter_kept(filter);
        size_t used = ns_usage_filter_feed(filter, bytes, count, &output);
        /* What went stood before what passes. */
        take_out(http2, stream, kept + used - output.count - ns_usage_filter_kept(filter));
        put_data(http2, stream, &http2->to_program, output.bytes, output.count, false);
        bytes += used;
        count -= used;
    }
}

static void
free_filter(struct ns_http2_stream *stream)
{
    if (stream->filter != NULL) {
        ns_usage_filter_free(stream->filter);
        ns_mem_free(stream->filter);
        stream->filter = NULL;
    }
}

/* What the filter has kept passes, or is the chunk that it waited for. */
static void
finish_filter(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    if (stream->filter == NULL) {
        return;
    }
    struct ns_usage_output output;
    size_t kept = ns_usage_filter_kept(stream->filter);
    ns_usage_filter_finish(stream->filter, &output);
    put_data(http2, stream, &http2->to_program, output.bytes, output.count, false);
    take_out(http2, stream, kept - output.count);
    free_filter(stream);
}

/* --- usage that was asked for ---------------------------------------------------------------- */

void
ns_http2_ask_usage(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    const struct ns_wire_call *call = ns_http2_call_of(stream->call);
    if (!http2->asks_usage || !call->request.streamed || call->request.usage_asked ||
        call->user == NULL) {
        return;
    }
    int64_t before = (int64_t)ns_bytes_count(&stream->queue);
    bool asked = stream->askable && ns_http2_call_ask_usage(stream->call, &stream->queue) == 0;
    ns_count(asked ? NS_COUNTER_STREAMS_ASKED : NS_COUNTER_STREAMS_UNASKED);
    /* The program knows nothing of what was added, nor that it takes of the server's window. */
    int64_t grown = (int64_t)ns_bytes_count(&stream->queue) - before;
    http2->pending += grown;
    http2->advance += grown;
    stream->advance += grown;
}

void
ns_http2_begin_answer(struct ns_http2_stream *stream, const struct ns_http1 *head)
{
    const struct ns_wire_call *call = ns_http2_call_of(stream->call);
    stream->measured = ns_http1_content_length(head) > 0;
    if (!call->request.usage_injected || ns_http1_status(head) != 200 || stream->filter != NULL) {
        return;
    }
    if (ns_http1_is_plain_success(head)) {
        stream->filter = ns_mem_alloc(sizeof *stream->filter);
    }
    if (stream->filter != NULL && ns_usage_filter_init(stream->filter) != 0) {
        free_filter(stream);
    }
    if (stream->filter == NULL) {
        ns_count(NS_COUNTER_USAGE_SHOWN);
    }
}

/* --- answers that are cut -------------------------------------------------------------------- */

static void
sever(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    size_t bytes = 0;
    uint8_t *words = NULL;
    bool now;
    if (!stream->measured && ns_http2_call_may_cut(stream->call, &now)) {
        words = ns_denial_cut_write(ns_http2_call_of(stream->call), stream->cut_by, &bytes);
    }
    ns_http2_put(http2, &stream->denial_body, words, bytes);
    ns_mem_free(words);
    ns_mem_free(stream->cut_by);
    stream->cut_by = NULL;
    stream->severed = true;
    stream->due = true;
    ns_http2_end_call(http2, stream, true);
    ns_http2_cancel(http2, stream);
    stream->ping = ns_http2_ping_for(http2, bytes);
    ns_count(NS_COUNTER_ANSWERS_CUT);
}

void
ns_http2_cut(struct ns_http2 *http2, uint32_t id, const struct ns_gate_verdict *verdict)
{
    struct ns_http2_stream *stream = ns_http2_find(http2, id);
    if (stream == NULL || stream->call == NULL || stream->over || stream->judging ||
        stream->cut_by != NULL) {
        return;
    }
    stream->cut_by = ns_mem_alloc(sizeof *stream->cut_by);
    if (stream->cut_by == NULL) {
        return;
    }
    *stream->cut_by = *verdict;
    http2->cuts = true;
    bool now;
    bool can = ns_http2_call_may_cut(stream->call, &now) && !stream->measured;
    /* The program has been told of a frame so long, and gets it whole. */
    bool within = http2->reading == stream && !ns_http2_frames_idle(&http2->reader);
    if (!can || (now && (!within || http2->editing))) {
        sever(http2, stream);
    }
}

bool
ns_http2_put_words(struct ns_http2 *http2, struct ns_http2_stream *stream, struct ns_bytes *out,
                   bool ends)
{
    struct ns_bytes *words = &stream->denial_body;
    int64_t count = (int64_t)ns_bytes_count(words);
    int64_t room = http2->program_initial_window + stream->receive_extra;
    int64_t piece = room < count ? room : count;
    if (piece > 0) {
        put_data(http2, stream, out, ns_bytes_front(words), (size_t)piece, ends && piece == count);
        ns_bytes_take(words, (size_t)piece);
        http2->reserve -= piece;
    }
    return ns_bytes_count(words) == 0;
}

/* --- content --------------------------------------------------------------------------------- */

void
ns_http2_edit_content(struct ns_http2 *http2, struct ns_http2_stream *stream, const uint8_t *bytes,
                      size_t count)
{
    while (count > 0 && stream != NULL && stream->call != NULL && !stream->severed) {
        bool boundary = false;
        size_t used = count;
        if (stream->cut_by != NULL) {
            used = ns_http2_call_answer_event(stream->call, bytes, count, &boundary);
        } else {
            ns_http2_call_answer_body(stream->call, bytes, count);
        }
        pass_on(http2, stream, bytes, used);
        if (boundary) {
            sever(http2, stream);
        }
        bytes += used;
        count -= used;
    }
    ns_http2_swallowed(http2, (uint32_t)count);
}

void
ns_http2_edit_end(struct ns_http2 *http2, struct ns_http2_stream *stream, bool ends)
{
    finish_filter(http2, stream);
    if (ends) {
        put_data(http2, stream, &http2->to_program, NULL, 0, true);
    }
}

void
ns_http2_edit_block(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    finish_filter(http2, stream);
    if (stream->severed && stream->due) {
        /* The block cannot wait until there is room for all: those that follow may refer to it. */
        (void)ns_http2_put_words(http2, stream, &http2->to_program, false);
        stream->due = false;
    }
}

void
ns_http2_flush_edits(struct ns_http2 *http2)
{
    for (uint32_t i = 0; i < http2->stream_count; i++) {
        finish_filter(http2, http2->streams[i]);
    }
}

void
ns_http2_drop_edit(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    if (stream->filter != NULL) { /* what it keeps is a piece of an event */
        ns_http2_swallowed(http2, (uint32_t)ns_usage_filter_kept(stream->filter));
        free_filter(stream);
    }
}

void
ns_http2_free_edit(struct ns_http2_stream *stream)
{
    free_filter(stream);
    ns_mem_free(stream->cut_by);
}
