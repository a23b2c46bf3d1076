/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What arrives on a governed HTTP/2 connection. It passes where it stands, in the program's buffer,
 * but for three things: what answers us and not the program, streams that were denied, and room
 * that the program was given before.
 */
#include <errno.h>
#include <string.h>

#include "shim/http2_connection.h"

/* From here on all passes: the program will find what is wrong, too. Denials that are due have no
 * place any more. */
static void
go_blind(struct ns_http2 *http2, int error)
{
    http2->failed |= error == -ENOMEM;
    http2->reader_blind = true;
    for (uint32_t i = 0; i < http2->stream_count; i++) {
        http2->failed |= http2->streams[i]->due;
    }
    http2->failed |= http2->editing; /* half of a frame cannot follow nothing */
    ns_http2_flush_edits(http2);
}

/* What is between frames may be put in now, behind the server's own first one. */
static void
inject(struct ns_http2 *http2)
{
    struct ns_bytes *inject = &http2->inject;
    if (!http2->settings_seen || !ns_http2_frames_idle(&http2->reader)) {
        return;
    }
    ns_http2_return_credit(http2);
    if (ns_bytes_count(inject) > 0) {
        ns_http2_put(http2, &http2->to_program, ns_bytes_front(inject), ns_bytes_count(inject));
        ns_bytes_free(inject);
    }
}

struct ns_bytes *
ns_http2_to_program(struct ns_http2 *http2)
{
    inject(http2);
    return &http2->to_program;
}

void
ns_http2_close_reading(struct ns_http2 *http2)
{
    http2->ping_acked = http2->ping_sent;
    ns_http2_tell_denials(http2);
    if (ns_http2_frames_idle(&http2->reader)) {
        http2->settings_seen = true;
        ns_http2_flush_edits(http2);
    }
}

/* --- answers -------------------------------------------------------------------------------- */

/* The server's side of a stream is over. */
static void
close_stream(struct ns_http2 *http2, struct ns_http2_stream *stream, bool cut)
{
    stream->closed = true;
    ns_http2_end_call(http2, stream, cut);
    if (stream->withheld && !stream->judging) {
        /* It has said all without the body, which then has no use. */
        ns_http2_cancel(http2, stream);
    }
    ns_http2_reap(http2, stream);
}

/* A denied program must not see the server answer behind our answer, but its table of fields must
 * take what the block puts into it. No server sends one: it has seen the reset. */
static void
swallow_block(struct ns_http2 *http2)
{
    http2->failed |= ns_http2_fields_changed(http2->answer_fields);
}

static void
end_block(struct ns_http2 *http2)
{
    struct ns_http2_stream *stream = http2->reading;
    if (stream == NULL) {
        return;
    }
    if (!http2->reader_passes) {
        swallow_block(http2);
        return;
    }
    struct ns_bytes text = {0};
    struct ns_http1 *head = ns_http2_head_read(&http2->answer_head, NS_HTTP1_RESPONSES, &text);
    bool interim = head != NULL && ns_http1_status(head) < 200;
    if (head != NULL && !interim && stream->call != NULL) {
        ns_http2_call_answer(stream->call, head);
        ns_http2_begin_answer(stream, head);
    }
    stream->answered |= !interim; /* also one that could not be read: the program has it */
    ns_http1_free(head);
    ns_bytes_free(&text);
    if (http2->answer_ends) {
        close_stream(http2, stream, false);
    }
}

/* --- other frames --------------------------------------------------------------------------- */

static void
pass_control(struct ns_http2 *http2)
{
    const struct ns_http2_frames *frames = &http2->reader;
    ns_http2_put(http2, &http2->to_program, frames->header, sizeof frames->header);
    ns_http2_put(http2, &http2->to_program, frames->control, frames->control_bytes);
}

static void
take_ping(struct ns_http2 *http2)
{
    const struct ns_http2_frames *frames = &http2->reader;
    uint64_t payload;
    memcpy(&payload, frames->control, sizeof payload);
    uint64_t number = payload - http2->ping_base;
    if ((frames->frame.flags & NS_HTTP2_ACK) == 0 || number <= http2->ping_acked ||
        number > http2->ping_sent) {
        pass_control(http2);
        return;
    }
    http2->ping_acked = number;
    ns_http2_tell_denials(http2);
}

static void
take_window_update(struct ns_http2 *http2)
{
    const struct ns_http2_frames *frames = &http2->reader;
    uint32_t bytes = ns_http2_u32(frames->control) & INT32_MAX;
    uint32_t id = frames->frame.stream;
    struct ns_http2_stream *stream = id == 0 ? NULL : ns_http2_find(http2, id);
    if (bytes == 0 || (id != 0 && stream == NULL)) {
        pass_control(http2);
        return;
    }
    if (stream != NULL && stream->dropped) {
        return;
    }
    uint32_t told = ns_http2_server_takes(http2, stream, bytes);
    if (told > 0) {
        ns_http2_put_u32(http2, &http2->to_program, NS_HTTP2_WINDOW_UPDATE, id, told);
    }
    if (stream != NULL) {
        ns_http2_pump(http2, stream);
        ns_http2_reap(http2, stream);
    } else {
        ns_http2_pump_all(http2);
    }
}

/* The server gives a stream up. */
static void
take_reset(struct ns_http2 *http2)
{
    const struct ns_http2_frames *frames = &http2->reader;
    struct ns_http2_stream *stream = ns_http2_find(http2, frames->frame.stream);
    if (stream != NULL && ns_http2_is_detached(stream)) {
        /* It has seen our reset, or was faster. */
        if (stream->due) {
            stream->ping = http2->ping_acked;
            ns_http2_tell_denials(http2);
        }
        return;
    }
    if (stream != NULL) {
        ns_http2_edit_end(http2, stream, false);
    }
    pass_control(http2);
    if (stream == NULL) {
        return;
    }
    /* What it has not looked at may be asked for again elsewhere (RFC 9113, 8.7). */
    stream->unsent = ns_http2_u32(frames->control) == NS_HTTP2_REFUSED_STREAM;
    stream->due = false;
    if (!stream->judging) {
        ns_http2_drop(http2, stream);
    }
    stream->ended = true;
    stream->closed = true;
    ns_http2_end_call(http2, stream, true);
    ns_http2_reap(http2, stream);
}

/* The server takes no more streams, and will not look at the last of those that it has. */
static void
take_goaway(struct ns_http2 *http2)
{
    const struct ns_http2_frames *frames = &http2->reader;
    if (frames->control_bytes < 8) {
        return;
    }
    uint32_t last = ns_http2_u32(frames->control) & INT32_MAX;
    for (uint32_t i = 0; i < http2->stream_count; i++) {
        struct ns_http2_stream *stream = http2->streams[i];
        if (stream->id <= last || stream->answered) {
            continue;
        }
        stream->unsent = true;
        ns_http2_end_call(http2, stream, true);
        if (stream->withheld && !stream->judging) {
            ns_http2_drop(http2, stream);
        }
    }
}

static void
take_settings(struct ns_http2 *http2)
{
    const struct ns_http2_frames *frames = &http2->reader;
    http2->settings_seen = true;
    if ((frames->frame.flags & NS_HTTP2_ACK) != 0) {
        http2->table_bytes_due |= http2->table_bytes < NS_HTTP2_TABLE_BYTES;
        return;
    }
    uint32_t bytes;
    if (ns_http2_setting(frames, NS_HTTP2_INITIAL_WINDOW_SIZE, &bytes)) {
        ns_http2_server_initial(http2, bytes);
    }
}

/* --- frames --------------------------------------------------------------------------------- */

static bool
is_held(uint8_t type)
{
    return type == NS_HTTP2_PING || type == NS_HTTP2_WINDOW_UPDATE || type == NS_HTTP2_RST_STREAM;
}

static bool
is_block(uint8_t type)
{
    return type == NS_HTTP2_HEADERS || type == NS_HTTP2_CONTINUATION ||
           type == NS_HTTP2_PUSH_PROMISE;
}

/* Whether frames with content of a stream are for the program. */
static bool
passes(const struct ns_http2_stream *stream, bool block)
{
    /* An answer that was faster than our reset stands, as do the fields that end one. */
    return stream == NULL || !ns_http2_is_detached(stream) || (block && stream->due);
}

static void
begin_data(struct ns_http2 *http2, const struct ns_http2_frame *frame)
{
    struct ns_http2_stream *stream = ns_http2_find(http2, frame->stream);
    http2->reading = stream;
    http2->reader_passes = passes(stream, false);
    if (!http2->reader_passes) {
        ns_http2_swallowed(http2, frame->length);
    } else if (stream != NULL && stream->call != NULL && ns_http2_is_edited(stream)) {
        http2->reader_passes = false;
        http2->editing = true;
    } else if (stream != NULL) {
        stream->receive_extra -= frame->length;
    }
}

static void
begin_frame(struct ns_http2 *http2)
{
    const struct ns_http2_frame *frame = &http2->reader.frame;
    http2->editing = false;
    switch (frame->type) {
    case NS_HTTP2_DATA:
        begin_data(http2, frame);
        break;
    case NS_HTTP2_HEADERS:
        http2->reading = ns_http2_find(http2, frame->stream);
        http2->reader_passes = passes(http2->reading, true);
        http2->answer_ends = (frame->flags & NS_HTTP2_END_STREAM) != 0;
        if (http2->reading != NULL && http2->reader_passes) {
            ns_http2_edit_block(http2, http2->reading);
        }
        break;
    case NS_HTTP2_CONTINUATION: /* as what it continues */
        break;
    case NS_HTTP2_PUSH_PROMISE:
        http2->reading = NULL;
        http2->reader_passes = true;
        break;
    default:
        http2->reader_passes = !is_held(frame->type);
        break;
    }
}

/* Something came of its answer since progress was thought of. */
static void
note_grown(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    if (!stream->grown) {
        stream->grown = true;
        stream->next_grown = http2->grown;
        http2->grown = stream;
    }
}

static void
take_content(struct ns_http2 *http2, const struct ns_http2_input *input)
{
    struct ns_http2_stream *stream = http2->reading;
    if (is_block(http2->reader.frame.type)) {
        struct ns_http2_head *head = stream == NULL ? NULL : &http2->answer_head;
        int error =
            ns_http2_fields_feed(http2->answer_fields, input->bytes, input->count, false, head);
        if (error != 0) {
            go_blind(http2, error);
        }
        return;
    }
    if (http2->editing) {
        ns_http2_edit_content(http2, stream, input->bytes, input->count);
    } else if (stream != NULL && stream->call != NULL) {
        ns_http2_call_answer_body(stream->call, input->bytes, input->count);
    }
    if (stream != NULL && stream->call != NULL) {
        note_grown(http2, stream);
    }
}

void
ns_http2_more_body(struct ns_http2 *http2, uint32_t id, const uint8_t *body, size_t count)
{
    struct ns_http2_stream *stream = ns_http2_find(http2, id);
    if (stream != NULL && stream->call != NULL) {
        stream->receive_extra -= (int64_t)count;
        ns_http2_call_answer_body(stream->call, body, count);
        note_grown(http2, stream);
    }
}

static void
end_data(struct ns_http2 *http2)
{
    struct ns_http2_stream *stream = http2->reading;
    bool edited = http2->editing;
    http2->editing = false;
    if (stream == NULL || (http2->reader.frame.flags & NS_HTTP2_END_STREAM) == 0) {
        return;
    }
    if (edited && stream->call != NULL && !stream->severed) {
        ns_http2_edit_end(http2, stream, true);
        close_stream(http2, stream, false);
    } else if (http2->reader_passes) {
        stream->due &= !stream->severed;
        close_stream(http2, stream, false);
    }
}

static void
end_frame(struct ns_http2 *http2)
{
    const struct ns_http2_frame *frame = &http2->reader.frame;
    struct ns_http2_stream *stream = http2->reading;
    int error = 0;
    switch (frame->type) {
    case NS_HTTP2_DATA:
        end_data(http2);
        break;
    case NS_HTTP2_HEADERS:
    case NS_HTTP2_CONTINUATION:
    case NS_HTTP2_PUSH_PROMISE:
        if ((frame->flags & NS_HTTP2_END_HEADERS) == 0) {
            break;
        }
        error = ns_http2_fields_feed(http2->answer_fields, NULL, 0, true,
                                     stream == NULL ? NULL : &http2->answer_head);
        if (error != 0) {
            go_blind(http2, error);
        } else {
            http2->table_bytes_due = false;
            end_block(http2);
        }
        ns_http2_head_free(&http2->answer_head);
        break;
    case NS_HTTP2_SETTINGS:
        take_settings(http2);
        break;
    case NS_HTTP2_PING:
        take_ping(http2);
        break;
    case NS_HTTP2_WINDOW_UPDATE:
        take_window_update(http2);
        break;
    case NS_HTTP2_RST_STREAM:
        take_reset(http2);
        break;
    case NS_HTTP2_GOAWAY:
        take_goaway(http2);
        break;
    default:
        break;
    }
}

size_t
ns_http2_read(struct ns_http2 *http2, const uint8_t *bytes, size_t count, bool *pass)
{
    *pass = !http2->failed;
    if (http2->failed || http2->reader_blind || http2->opaque) {
        return count;
    }
    struct ns_http2_frames *frames = &http2->reader;
    struct ns_http2_input input;
    size_t taken = ns_http2_frames_feed(frames, bytes, count, &input);
    switch (input.event) {
    case NS_HTTP2_FRAME:
        begin_frame(http2);
        *pass = http2->reader_passes && taken == NS_HTTP2_HEADER_BYTES &&
                ns_bytes_count(&http2->to_program) == 0;
        if (http2->reader_passes && !*pass) {
            ns_http2_put(http2, &http2->to_program, frames->header, sizeof frames->header);
        }
        break;
    case NS_HTTP2_CONTENT:
        take_content(http2, &input);
        *pass = http2->reader_passes;
        break;
    case NS_HTTP2_REST:
        *pass = http2->reader_passes;
        if (http2->editing) {
            ns_http2_edit_padding(http2, http2->reading, input.count);
        }
        break;
    case NS_HTTP2_END:
        end_frame(http2);
        break;
    case NS_HTTP2_ERROR:
        go_blind(http2, 0);
        *pass = false;
        ns_http2_put(http2, &http2->to_program, input.bytes, input.count);
        break;
    default:
        *pass = false; /* the beginning of a header: it is kept */
        break;
    }
    /* Nothing may follow that would tell the end of a frame. */
    if (taken == count && input.event != NS_HTTP2_ERROR) {
        (void)ns_http2_frames_feed(frames, NULL, 0, &input);
        if (input.event == NS_HTTP2_END) {
            end_frame(http2);
        }
    }
    ns_http2_wake_starved(http2);
    *pass &= !http2->failed;
    return taken;
}
