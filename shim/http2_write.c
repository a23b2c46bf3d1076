/* SPDX-License-Identifier: Apache-2.0 */
/* What the program writes to a governed HTTP/2 connection. */
#include <errno.h>
#include <string.h>

#include "shim/counters.h"
#include "shim/http2_connection.h"

/* What is not understood passes, and the server answers it as it would have. Whatever waits for a
 * verdict stays: it has none. */
static void
give_up(struct ns_http2 *http2, int error)
{
    http2->opaque = true;
    /* Header blocks that were written anew cannot be followed by others, and ours do not leave. */
    http2->failed |= error == -ENOMEM || http2->translating || http2->request_head.ours;
    /* Nor is what arrives looked at: it must be what the program is to have. */
    http2->failed |= http2->editing;
    for (uint32_t i = 0; i < http2->stream_count; i++) {
        http2->failed |= http2->streams[i]->severed;
    }
    ns_http2_flush_edits(http2);
    ns_http2_put(http2, &http2->to_server, ns_bytes_front(&http2->request_block),
                 ns_bytes_count(&http2->request_block));
    ns_bytes_free(&http2->request_block);
}

/* --- requests ------------------------------------------------------------------------------- */

/* The block that is complete, anew; edited: for a body that may be (and an answer). Its peer's
 * table is emptied first: no block refers to it any more (RFC 7541, 6.3). */
static void
write_literals(struct ns_http2 *http2, struct ns_bytes *block, bool edited)
{
    const struct ns_http2_head *head = &http2->request_head;
    http2->translating = true;
    http2->failed |= head->no_block;
    http2->failed |= !ns_http2_table_size(block, 0);
    ns_http2_put(http2, block, ns_bytes_front(&head->block), ns_bytes_count(&head->block));
    if (!edited) {
        ns_http2_put(http2, block, ns_bytes_front(&head->about), ns_bytes_count(&head->about));
    }
}

/* The frames of the block that is complete, as they came or anew. */
static void
send_block(struct ns_http2 *http2, uint32_t stream, bool end_stream, bool edited)
{
    struct ns_http2_head *head = &http2->request_head;
    struct ns_bytes *frames = &http2->request_block;
    if (http2->failed) {
        return;
    }
    if (!http2->translating && !head->ours && !edited) {
        uint8_t *flags = frames->data + frames->begin + 4;
        *flags = (uint8_t)(*flags & ~NS_HTTP2_END_STREAM) | (end_stream ? NS_HTTP2_END_STREAM : 0);
        ns_http2_put(http2, &http2->to_server, ns_bytes_front(frames), ns_bytes_count(frames));
        return;
    }
    struct ns_bytes block = {0};
    write_literals(http2, &block, edited);
    http2->failed |= !ns_http2_block_write(&http2->to_server, stream, ns_bytes_front(&block),
                                           ns_bytes_count(&block), end_stream);
    ns_bytes_free(&block);
}

/* Fields behind a body. They wait with it, and so no later block can refer to them. */
static void
take_trailers(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    stream->ended = true;
    if (!stream->withheld && !stream->dropped && ns_bytes_count(&stream->queue) == 0) {
        send_block(http2, stream->id, true, false);
        stream->end_sent = true;
        return;
    }
    write_literals(http2, &stream->trailers, false);
}

/* Why a head could not be read. */
static enum ns_wire_opaque
reason_of(const struct ns_http2_head *head)
{
    switch (head->fault) {
    case NS_HTTP2_TOO_LARGE:
        return NS_WIRE_TOO_LARGE;
    case NS_HTTP2_UNKEPT:
        return NS_WIRE_NO_MEMORY;
    default:
        return NS_WIRE_MALFORMED;
    }
}

/* The call that a request begins: *text is its head's. NULL: it is none, or passes all the same. */
static struct ns_http2_call *
read_call(struct ns_http2 *http2, struct ns_bytes *text, int64_t *length,
          enum ns_wire_opaque *unjudged)
{
    struct ns_http2_call *call = NULL;
    struct ns_http1 *head = ns_http2_head_read(&http2->request_head, NS_HTTP1_REQUESTS, text);
    *unjudged = head == NULL ? reason_of(&http2->request_head) : NS_WIRE_CLEAR;
    if (head == NULL) {
        ns_bytes_free(text);
        head = ns_http2_head_read_start(&http2->request_head, text);
    }
    if (head != NULL &&
        ns_http2_call_new(http2->hosts, http2->server_name, head, &call) == -ENOMEM) {
        http2->failed |= http2->strict;
        ns_count(NS_COUNTER_CALLS_UNWITHHELD);
    }
    *length = head == NULL ? 0 : ns_http1_content_length(head);
    if (*unjudged != NS_WIRE_CLEAR && (head == NULL || (call != NULL && !http2->strict))) {
        ns_count(NS_COUNTER_CALLS_UNREAD);
        ns_http2_call_free(call);
        call = NULL;
    }
    ns_http1_free(head);
    if (call == NULL) {
        ns_bytes_free(text);
    }
    return call;
}

/* A request begins. */
static void
open_request(struct ns_http2 *http2, uint32_t id, struct ns_http2_stream **asks)
{
    struct ns_bytes text = {0};
    int64_t length;
    enum ns_wire_opaque unjudged;
    struct ns_http2_call *call = read_call(http2, &text, &length, &unjudged);
    bool ends = http2->request_ends;
    struct ns_http2_stream *stream = call == NULL && ends ? NULL : ns_http2_open(http2, id);
    if (stream == NULL && (call != NULL || !ends)) {
        http2->failed = true;
        ns_http2_call_free(call);
        ns_bytes_free(&text);
        return;
    }
    if (call == NULL) {
        send_block(http2, id, ends, false);
        return;
    }
    stream->call = call;
    stream->head = text;
    stream->length = length;
    stream->withheld = true;
    stream->ended = ends;
    stream->unjudged = (uint8_t)unjudged;
    stream->askable = http2->asks_usage && !ends && ns_http2_call_is_askable(call) &&
                      http2->program_initial_window >= NS_HTTP2_FILTER_WINDOW_BYTES_MIN;
    send_block(http2, id, false, stream->askable);
    if (ends || unjudged != NS_WIRE_CLEAR) {
        *asks = stream;
    } else {
        ns_http2_widen(http2, stream);
    }
}

/* A header block is complete. */
static void
end_block(struct ns_http2 *http2, struct ns_http2_stream **asks)
{
    uint32_t id = http2->writer.frame.stream;
    struct ns_http2_stream *stream = ns_http2_find(http2, id);
    if (stream == NULL) {
        open_request(http2, id, asks);
    } else if (http2->request_ends && !stream->ended) {
        take_trailers(http2, stream);
        *asks = stream->withheld ? stream : NULL;
        ns_http2_reap(http2, stream);
    } else {
        send_block(http2, id, http2->request_ends,
                   false); /* against the rules: for the server to say */
    }
    ns_http2_head_free(&http2->request_head);
    ns_bytes_free(&http2->request_block);
}

/* --- bodies --------------------------------------------------------------------------------- */

static void
take_body(struct ns_http2 *http2, const uint8_t *bytes, size_t count)
{
    struct ns_http2_stream *stream = http2->writing;
    if (stream == NULL || stream->dropped) {
        ns_http2_give_back(http2, stream, (uint32_t)count);
        return;
    }
    ns_http2_put(http2, &stream->queue, bytes, count);
    http2->pending += (int64_t)count;
    if (stream->withheld) {
        ns_http2_call_request(stream->call, bytes, count);
    }
}

static void
end_data(struct ns_http2 *http2, struct ns_http2_stream **asks)
{
    struct ns_http2_stream *stream = http2->writing;
    http2->writing = NULL;
    if (stream == NULL) {
        return; /* of a stream that is over: the program has not heard yet */
    }
    stream->ended |= (http2->writer.frame.flags & NS_HTTP2_END_STREAM) != 0;
    if (stream->withheld && http2->by_length && stream->length > 0) {
        stream->whole = ns_http2_call_request_bytes(stream->call) >= (uint64_t)stream->length;
    }
    if (!stream->withheld) {
        ns_http2_pump(http2, stream);
        ns_http2_reap(http2, stream);
    } else if (stream->ended || stream->whole ||
               ns_http2_call_request_bytes(stream->call) >= http2->body_bytes_max) {
        *asks = stream;
    } else {
        ns_http2_widen(http2, stream);
    }
}

/* --- other frames --------------------------------------------------------------------------- */

static void
take_settings(struct ns_http2 *http2)
{
    const struct ns_http2_frames *frames = &http2->writer;
    uint32_t bytes;
    if (ns_http2_setting(frames, NS_HTTP2_INITIAL_WINDOW_SIZE, &bytes)) {
        http2->program_initial_window = bytes;
    }
    (void)ns_http2_setting(frames, NS_HTTP2_HEADER_TABLE_SIZE, &http2->table_bytes);
}

static void
take_window_update(struct ns_http2 *http2)
{
    const struct ns_http2_frames *frames = &http2->writer;
    uint32_t bytes = ns_http2_u32(frames->control) & INT32_MAX;
    uint32_t id = frames->frame.stream;
    struct ns_http2_stream *stream = id == 0 ? NULL : ns_http2_find(http2, id);
    if (stream != NULL) {
        stream->receive_extra += bytes;
    }
    if (stream != NULL && ns_http2_is_detached(stream)) {
        ns_http2_tell_denials(http2);
        if (ns_bytes_count(&http2->inject) > 0) {
            ns_http2_wake(http2);
        }
        return;
    }
    uint32_t told = bytes;
    if (id == 0) {
        told = ns_http2_program_takes(http2, bytes);
    } else if (stream != NULL && bytes > 0) {
        told = ns_http2_stream_takes(stream, bytes);
    }
    if (told > 0 || bytes == 0) {
        ns_http2_put_u32(http2, &http2->to_server, NS_HTTP2_WINDOW_UPDATE, id, told);
    }
}

/* What answers our nudge is ours. */
static void
take_ping(struct ns_http2 *http2)
{
    const struct ns_http2_frames *frames = &http2->writer;
    uint64_t payload;
    memcpy(&payload, frames->control, sizeof payload);
    if (http2->nudged && (frames->frame.flags & NS_HTTP2_ACK) != 0 &&
        payload == ns_http2_nudge_payload(http2)) {
        http2->nudged = false;
        return;
    }
    ns_http2_put(http2, &http2->to_server, frames->header, sizeof frames->header);
    ns_http2_put(http2, &http2->to_server, frames->control, frames->control_bytes);
}

/* The program gives a stream up. */
static void
take_reset(struct ns_http2 *http2)
{
    const struct ns_http2_frames *frames = &http2->writer;
    struct ns_http2_stream *stream = ns_http2_find(http2, frames->frame.stream);
    if (stream == NULL || !stream->dropped) { /* else the server was told before */
        ns_http2_put(http2, &http2->to_server, frames->header, sizeof frames->header);
        ns_http2_put(http2, &http2->to_server, frames->control, frames->control_bytes);
    }
    if (stream != NULL) {
        ns_http2_drop(http2, stream);
        stream->due = false;
        stream->ended = true;
        stream->closed = true;
        ns_http2_end_call(http2, stream, true);
        ns_http2_reap(http2, stream);
    }
}

/* --- frames --------------------------------------------------------------------------------- */

static bool
is_block(uint8_t type)
{
    return type == NS_HTTP2_HEADERS || type == NS_HTTP2_CONTINUATION;
}

static void
begin_frame(struct ns_http2 *http2)
{
    const struct ns_http2_frames *frames = &http2->writer;
    const struct ns_http2_frame *frame = &frames->frame;
    http2->writer_passes = false;
    switch (frame->type) {
    case NS_HTTP2_DATA:
        http2->writing = ns_http2_find(http2, frame->stream);
        http2->writing = http2->writing != NULL && !http2->writing->ended ? http2->writing : NULL;
        break;
    case NS_HTTP2_HEADERS:
        http2->request_ends = (frame->flags & NS_HTTP2_END_STREAM) != 0;
        ns_http2_put(http2, &http2->request_block, frames->header, sizeof frames->header);
        break;
    case NS_HTTP2_CONTINUATION:
        ns_http2_put(http2, &http2->request_block, frames->header, sizeof frames->header);
        break;
    case NS_HTTP2_RST_STREAM:
    case NS_HTTP2_WINDOW_UPDATE:
    case NS_HTTP2_PING:
        break; /* when they are complete */
    default:
        http2->writer_passes = true;
        ns_http2_put(http2, &http2->to_server, frames->header, sizeof frames->header);
        break;
    }
}

static void
take_payload(struct ns_http2 *http2, const struct ns_http2_input *input)
{
    const struct ns_http2_frame *frame = &http2->writer.frame;
    if (http2->writer_passes) {
        ns_http2_put(http2, &http2->to_server, input->bytes, input->count);
    } else if (is_block(frame->type)) {
        ns_http2_put(http2, &http2->request_block, input->bytes, input->count);
    } else if (frame->type == NS_HTTP2_DATA && input->event == NS_HTTP2_REST) {
        ns_http2_give_back(http2, http2->writing, (uint32_t)input->count); /* padding */
    }
    if (input->event != NS_HTTP2_CONTENT) {
        return;
    }
    if (frame->type == NS_HTTP2_DATA) {
        take_body(http2, input->bytes, input->count);
    } else if (is_block(frame->type)) {
        int error = ns_http2_fields_feed(http2->request_fields, input->bytes, input->count, false,
                                         &http2->request_head);
        if (error != 0) {
            give_up(http2, error);
        }
    }
}

static void
end_frame(struct ns_http2 *http2, struct ns_http2_stream **asks)
{
    const struct ns_http2_frame *frame = &http2->writer.frame;
    int error = 0;
    switch (frame->type) {
    case NS_HTTP2_DATA:
        end_data(http2, asks);
        break;
    case NS_HTTP2_HEADERS:
    case NS_HTTP2_CONTINUATION:
        if ((frame->flags & NS_HTTP2_END_HEADERS) == 0) {
            break;
        }
        error = ns_http2_fields_feed(http2->request_fields, NULL, 0, true, &http2->request_head);
        if (error != 0) {
            give_up(http2, error);
        } else {
            end_block(http2, asks);
        }
        break;
    case NS_HTTP2_SETTINGS:
        take_settings(http2);
        break;
    case NS_HTTP2_WINDOW_UPDATE:
        take_window_update(http2);
        break;
    case NS_HTTP2_RST_STREAM:
        take_reset(http2);
        break;
    case NS_HTTP2_PING:
        take_ping(http2);
        break;
    default:
        break;
    }
}

/* A frame breaks the rules, by its header or the length of its padding: it goes on as it came. */
static void
pass_error(struct ns_http2 *http2, const struct ns_http2_input *input)
{
    const struct ns_http2_frames *frames = &http2->writer;
    if (input->bytes != frames->header && frames->frame.type == NS_HTTP2_DATA) {
        ns_http2_put(http2, &http2->to_server, frames->header, sizeof frames->header);
    }
    give_up(http2, 0);
    ns_http2_put(http2, &http2->to_server, input->bytes, input->count);
}

/* The connection begins with the preface, or is none of HTTP/2. */
static size_t
take_preface(struct ns_http2 *http2, const uint8_t *bytes, size_t count)
{
    size_t room = NS_HTTP2_PREFACE_BYTES - (size_t)http2->preface_bytes;
    size_t taken = count < room ? count : room;
    if (memcmp(bytes, ns_http2_preface + http2->preface_bytes, taken) != 0) {
        give_up(http2, 0);
        return 0;
    }
    http2->preface_bytes += (uint8_t)taken;
    ns_http2_put(http2, &http2->to_server, bytes, taken);
    return taken;
}

size_t
ns_http2_write(struct ns_http2 *http2, const uint8_t *bytes, size_t count, bool strict,
               struct ns_http2_stream **asks)
{
    size_t taken = 0;
    *asks = NULL;
    http2->strict = strict;
    if (!http2->opaque && http2->preface_bytes < NS_HTTP2_PREFACE_BYTES) {
        taken = take_preface(http2, bytes, count);
    }
    while (!http2->opaque && !http2->failed && *asks == NULL) {
        struct ns_http2_input input;
        taken += ns_http2_frames_feed(&http2->writer, bytes + taken, count - taken, &input);
        switch (input.event) {
        case NS_HTTP2_FRAME:
            begin_frame(http2);
            break;
        case NS_HTTP2_CONTENT:
        case NS_HTTP2_REST:
            take_payload(http2, &input);
            break;
        case NS_HTTP2_END:
            end_frame(http2, asks);
            break;
        case NS_HTTP2_ERROR:
            pass_error(http2, &input);
            break;
        default:
            ns_http2_wake_starved(http2);
            return taken;
        }
    }
    if (http2->failed) {
        *asks = NULL;
        return count;
    }
    if (*asks != NULL) {
        (*asks)->judging = true;
    } else {
        ns_http2_put(http2, &http2->to_server, bytes + taken, count - taken);
        taken = count;
    }
    ns_http2_wake_starved(http2);
    return taken;
}
