/* SPDX-License-Identifier: Apache-2.0 */
/* A governed HTTP/2 connection: its life, its streams, and how frames are put. */
#include "shim/http2.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "shim/call.h"
#include "shim/http2_connection.h"

/* --- life ----------------------------------------------------------------------------------- */

struct ns_http2 *
ns_http2_new(const struct ns_wire_hosts *hosts, const char *server_name, uint64_t body_bytes_max,
             bool asks_usage)
{
    struct ns_http2 *http2 = ns_mem_alloc(sizeof *http2);
    if (http2 == NULL) {
        return NULL;
    }
    http2->hosts = hosts;
    http2->body_bytes_max = body_bytes_max;
    http2->asks_usage = asks_usage;
    http2->initial_window = NS_HTTP2_WINDOW_BYTES;
    http2->send_window = NS_HTTP2_WINDOW_BYTES;
    http2->program_initial_window = NS_HTTP2_WINDOW_BYTES;
    http2->table_bytes = NS_HTTP2_TABLE_BYTES;
    struct ns_uuid random = ns_uuid_new();
    memcpy(&http2->ping_base, random.bytes + 8, sizeof http2->ping_base);
    http2->request_fields = ns_http2_fields_new();
    http2->answer_fields = ns_http2_fields_new();
    size_t name_bytes = server_name == NULL ? 0 : strlen(server_name) + 1;
    http2->server_name = name_bytes == 0 ? NULL : ns_mem_alloc(name_bytes);
    if (http2->request_fields == NULL || http2->answer_fields == NULL ||
        (name_bytes > 0 && http2->server_name == NULL)) {
        ns_http2_free(http2);
        return NULL;
    }
    if (name_bytes > 0) {
        memcpy(http2->server_name, server_name, name_bytes);
    }
    return http2;
}

static void
free_stream(struct ns_http2_stream *stream)
{
    ns_http2_call_free(stream->call);
    ns_bytes_free(&stream->head);
    ns_bytes_free(&stream->queue);
    ns_bytes_free(&stream->trailers);
    ns_bytes_free(&stream->denial);
    ns_bytes_free(&stream->denial_body);
    ns_http2_free_edit(stream);
    ns_mem_free(stream);
}

void
ns_http2_free(struct ns_http2 *http2)
{
    if (http2 == NULL) {
        return;
    }
    for (uint32_t i = 0; i < http2->stream_count; i++) {
        free_stream(http2->streams[i]);
    }
    ns_mem_free(http2->streams);
    ns_http2_fields_free(http2->request_fields);
    ns_http2_fields_free(http2->answer_fields);
    ns_http2_head_free(&http2->request_head);
    ns_http2_head_free(&http2->answer_head);
    ns_bytes_free(&http2->request_block);
    ns_bytes_free(&http2->to_server);
    ns_bytes_free(&http2->to_program);
    ns_bytes_free(&http2->inject);
    ns_mem_free(http2->server_name);
    ns_mem_free(http2);
}

bool
ns_http2_has_failed(const struct ns_http2 *http2)
{
    return http2->failed;
}

bool
ns_http2_is_opaque(const struct ns_http2 *http2)
{
    return http2->opaque;
}

struct ns_bytes *
ns_http2_to_server(struct ns_http2 *http2)
{
    return &http2->to_server;
}

/* --- output --------------------------------------------------------------------------------- */

void
ns_http2_put(struct ns_http2 *http2, struct ns_bytes *out, const void *bytes, size_t count)
{
    if (!http2->failed && count > 0) { /* nothing may follow a gap */
        http2->failed = !ns_bytes_append(out, bytes, count);
    }
}

void
ns_http2_put_frame(struct ns_http2 *http2, struct ns_bytes *out, enum ns_http2_type type,
                   uint8_t flags, uint32_t stream, const void *payload, size_t count)
{
    struct ns_http2_frame frame = {
        .length = (uint32_t)count, .stream = stream, .type = (uint8_t)type, .flags = flags};
    uint8_t header[NS_HTTP2_HEADER_BYTES];
    ns_http2_frame_write(header, &frame);
    ns_http2_put(http2, out, header, sizeof header);
    ns_http2_put(http2, out, payload, count);
}

void
ns_http2_put_u32(struct ns_http2 *http2, struct ns_bytes *out, enum ns_http2_type type,
                 uint32_t stream, uint32_t value)
{
    uint8_t payload[4];
    ns_http2_u32_write(payload, value);
    ns_http2_put_frame(http2, out, type, 0, stream, payload, sizeof payload);
}

uint64_t
ns_http2_ping(struct ns_http2 *http2)
{
    uint64_t payload = http2->ping_base + ++http2->ping_sent;
    ns_http2_put_frame(http2, &http2->to_server, NS_HTTP2_PING, 0, 0, &payload, sizeof payload);
    return http2->ping_sent;
}

uint64_t
ns_http2_ping_for(struct ns_http2 *http2, size_t bytes)
{
    uint64_t first = ns_http2_ping(http2);
    size_t more = !http2->by_record ? 0 : (bytes + NS_HTTP2_FRAMING_BYTES) / NS_HTTP2_PING_BYTES;
    for (size_t i = 0; i < more; i++) {
        ns_http2_ping(http2);
    }
    return first;
}

void
ns_http2_judge_by_length(struct ns_http2 *http2)
{
    http2->by_length = true;
}

void
ns_http2_read_by_record(struct ns_http2 *http2, bool by_record)
{
    http2->by_record = by_record;
}

void
ns_http2_wake(struct ns_http2 *http2)
{
    if (http2->ping_sent == http2->ping_acked) {
        ns_http2_ping(http2);
    }
}

void
ns_http2_nudge(struct ns_http2 *http2)
{
    uint64_t payload = ns_http2_nudge_payload(http2);
    if (!http2->nudged) {
        http2->nudged = true;
        ns_http2_put_frame(http2, &http2->inject, NS_HTTP2_PING, 0, 0, &payload, sizeof payload);
    }
}

/* --- streams -------------------------------------------------------------------------------- */

/* The place of the first stream that is not below id. */
static uint32_t
place_of(const struct ns_http2 *http2, uint32_t id)
{
    uint32_t low = 0;
    uint32_t high = http2->stream_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (http2->streams[middle]->id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct ns_http2_stream *
ns_http2_find(const struct ns_http2 *http2, uint32_t id)
{
    uint32_t place = place_of(http2, id);
    bool found = place < http2->stream_count && http2->streams[place]->id == id;
    return found ? http2->streams[place] : NULL;
}

struct ns_http2_stream *
ns_http2_open(struct ns_http2 *http2, uint32_t id)
{
    if (http2->stream_count == NS_HTTP2_STREAMS_MAX) {
        return NULL;
    }
    if (http2->stream_count == http2->stream_capacity) {
        uint32_t capacity = http2->stream_capacity == 0 ? 8 : 2 * http2->stream_capacity;
        size_t each = sizeof(struct ns_http2_stream *); // NOLINT(bugprone-sizeof-expression)
        struct ns_http2_stream **streams =
            ns_mem_resize(http2->streams, http2->stream_count * each, capacity * each);
        if (streams == NULL) {
            return NULL;
        }
        http2->streams = streams;
        http2->stream_capacity = capacity;
    }
    struct ns_http2_stream *stream = ns_mem_alloc(sizeof *stream);
    if (stream == NULL) {
        return NULL;
    }
    stream->id = id;
    uint32_t place = place_of(http2, id); /* the end, but for programs that break the rules */
    memmove(http2->streams + place + 1, http2->streams + place,
            (http2->stream_count - place) * sizeof(struct ns_http2_stream *));
    http2->streams[place] = stream;
    http2->stream_count++;
    return stream;
}

static void
forget_growth(struct ns_http2 *http2, const struct ns_http2_stream *stream)
{
    struct ns_http2_stream **link = &http2->grown;
    while (stream->grown && *link != stream) {
        link = &(*link)->next_grown;
    }
    if (stream->grown) {
        *link = stream->next_grown;
    }
}

void
ns_http2_reap(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    if (stream->closed && stream->ended && !stream->end_sent && !stream->dropped &&
        !stream->withheld) {
        /* The program holds it for over and may open another in its place: so must the server,
         * which has answered without all of the body. */
        ns_http2_cancel(http2, stream);
    }
    bool server_done = stream->closed || (stream->dropped && !stream->due);
    bool program_done = stream->dropped ? stream->ended : stream->end_sent;
    if (stream->call != NULL || stream->judging || !server_done || !program_done) {
        return;
    }
    http2->writing = http2->writing == stream ? NULL : http2->writing;
    http2->reading = http2->reading == stream ? NULL : http2->reading;
    http2->released_count -= stream->released;
    forget_growth(http2, stream);
    uint32_t place = place_of(http2, stream->id);
    http2->stream_count--;
    memmove(http2->streams + place, http2->streams + place + 1,
            (http2->stream_count - place) * sizeof(struct ns_http2_stream *));
    free_stream(stream);
}

void
ns_http2_end_call(struct ns_http2 *http2, struct ns_http2_stream *stream, bool cut)
{
    if (stream->call != NULL && !stream->over) {
        stream->over = true;
        stream->cut = cut;
        http2->over_count++;
    }
}

void
ns_http2_drop(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    uint32_t waiting = (uint32_t)ns_bytes_count(&stream->queue);
    http2->pending -= waiting;
    ns_bytes_free(&stream->queue);
    ns_bytes_free(&stream->trailers);
    ns_http2_give_back(http2, stream, waiting);
    ns_http2_drop_edit(http2, stream);
    stream->withheld = false;
    stream->dropped = true;
}

void
ns_http2_cancel(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    ns_http2_drop(http2, stream);
    ns_http2_put_u32(http2, &http2->to_server, NS_HTTP2_RST_STREAM, stream->id, NS_HTTP2_CANCEL);
}

/* --- rulings -------------------------------------------------------------------------------- */

enum ns_wire_opaque
ns_http2_unjudged(const struct ns_http2_stream *stream)
{
    return (enum ns_wire_opaque)stream->unjudged;
}

struct ns_wire_call *
ns_http2_asking(struct ns_http2_stream *stream, const uint8_t **head, size_t *head_bytes)
{
    *head = ns_bytes_front(&stream->head);
    *head_bytes = ns_bytes_count(&stream->head);
    return ns_http2_call_facts(stream->call, stream->ended || stream->whole);
}

void
ns_http2_allow(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    ns_bytes_free(&stream->head);
    stream->judging = false;
    stream->withheld = false;
    if (!stream->over) {
        stream->released = true;
        http2->released_count++;
        ns_http2_ask_usage(http2, stream);
        ns_http2_pump(http2, stream);
        return;
    }
    /* The server has answered meanwhile, without the body. */
    ns_http2_cancel(http2, stream);
    ns_http2_wake_starved(http2);
}

/* Keeps the answer of HTTP/1.1 as a header block and a body. False: it is none, or no memory. */
static bool
keep_denial(struct ns_http2_stream *stream, const uint8_t *denial, size_t denial_bytes)
{
    struct ns_bytes *block = &stream->denial;
    struct ns_http1_input input;
    struct ns_http1 *head = ns_http1_new(NS_HTTP1_RESPONSES);
    size_t taken = head == NULL ? 0 : ns_http1_feed(head, denial, denial_bytes, &input);
    bool good = head != NULL && input.event == NS_HTTP1_HEAD;
    if (good) {
        int status = ns_http1_status(head);
        char digits[3] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                          (char)('0' + status % 10)};
        good = ns_http2_literal(block, ":status", 7, digits, sizeof digits, false);
    }
    for (size_t i = 0; good && i < ns_http1_header_count(head); i++) {
        const struct ns_http1_header *field = ns_http1_header_at(head, i);
        good = ns_http2_literal(block, field->name.text, field->name.bytes, field->value.text,
                                field->value.bytes, false);
    }
    ns_http1_free(head);
    return good && ns_bytes_append(&stream->denial_body, denial + taken, denial_bytes - taken);
}

struct ns_wire_call *
ns_http2_deny(struct ns_http2 *http2, struct ns_http2_stream *stream, const uint8_t *denial,
              size_t denial_bytes)
{
    struct ns_wire_call *call = ns_http2_call_take(stream->call, false);
    stream->call = NULL;
    stream->judging = false;
    http2->over_count -= stream->over;
    stream->over = false;
    ns_bytes_free(&stream->head);
    if (stream->closed) { /* the server was faster, and the program has read what it said */
        ns_http2_drop(http2, stream);
        ns_http2_reap(http2, stream);
    } else {
        http2->failed |= !keep_denial(stream, denial, denial_bytes);
        stream->due = true;
        ns_http2_cancel(http2, stream);
        stream->ping = ns_http2_ping_for(http2, denial_bytes);
    }
    return call;
}

static void
inject_head(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    struct ns_bytes block = {0};
    if (http2->table_bytes_due) {
        http2->failed |= !ns_http2_table_size(&block, http2->table_bytes);
        http2->table_bytes_due = false;
    }
    ns_http2_put(http2, &block, ns_bytes_front(&stream->denial), ns_bytes_count(&stream->denial));
    http2->failed |= !ns_http2_block_write(&http2->inject, stream->id, ns_bytes_front(&block),
                                           ns_bytes_count(&block), false);
    ns_bytes_free(&block);
    ns_bytes_free(&stream->denial);
}

/* A denial whose time has come, or the end of an answer that was cut. Where the server has begun to
 * answer before it saw the reset, that answer stands, and is ended here; so is one that cannot be
 * cut by words. */
static void
tell_denial(struct ns_http2 *http2, struct ns_http2_stream *stream)
{
    bool words = ns_http2_is_detached(stream) && ns_bytes_count(&stream->denial_body) > 0;
    if (!words) {
        ns_http2_put_u32(http2, &http2->inject, NS_HTTP2_RST_STREAM, stream->id, NS_HTTP2_CANCEL);
        stream->ended = true;
    } else if (ns_bytes_count(&stream->denial) > 0) {
        inject_head(http2, stream);
    }
    if (words && !ns_http2_put_words(http2, stream, &http2->inject, true)) {
        return; /* the rest when the program takes more */
    }
    stream->due = false;
    ns_bytes_free(&stream->denial);
    ns_bytes_free(&stream->denial_body);
}

void
ns_http2_tell_denials(struct ns_http2 *http2)
{
    for (uint32_t i = http2->stream_count; i-- > 0;) {
        struct ns_http2_stream *stream = http2->streams[i];
        if (stream->due && stream->ping <= http2->ping_acked) {
            tell_denial(http2, stream);
            ns_http2_reap(http2, stream);
        }
    }
}

/* --- calls that are over -------------------------------------------------------------------- */

void
ns_http2_flushed(struct ns_http2 *http2)
{
    for (uint32_t i = 0; i < http2->stream_count && http2->released_count > 0; i++) {
        struct ns_http2_stream *stream = http2->streams[i];
        if (!stream->released || ns_bytes_count(&stream->queue) > 0) {
            continue;
        }
        stream->released = false;
        http2->released_count--;
        const struct ns_wire_call *call =
            stream->call == NULL ? NULL : ns_http2_call_of(stream->call);
        struct ns_ticket *ticket = call == NULL ? NULL : call->user;
        if (ticket != NULL) {
            ticket->sent = true;
        }
    }
}

static struct ns_wire_call *
take_call(struct ns_http2 *http2, struct ns_http2_stream *stream, bool cut)
{
    struct ns_wire_call *call = ns_http2_call_take(stream->call, !cut);
    struct ns_ticket *ticket = call->user;
    stream->call = NULL;
    http2->over_count -= stream->over;
    stream->over = false;
    if (ticket != NULL && stream->unsent) {
        ticket->sent = false;
    }
    return call;
}

bool
ns_http2_has_ended(const struct ns_http2 *http2)
{
    return http2->over_count > 0;
}

bool
ns_http2_has_meddled(const struct ns_http2 *http2)
{
    return http2->ping_sent > 0 || http2->asks_usage || http2->cuts;
}

struct ns_wire_call *
ns_http2_take_ended(struct ns_http2 *http2, bool *cut)
{
    for (uint32_t i = 0; i < http2->stream_count && http2->over_count > 0; i++) {
        struct ns_http2_stream *stream = http2->streams[i];
        if (stream->over && !stream->judging) {
            *cut = stream->cut;
            struct ns_wire_call *call = take_call(http2, stream, stream->cut);
            ns_http2_reap(http2, stream);
            return call;
        }
    }
    return NULL;
}

struct ns_wire_call *
ns_http2_take(struct ns_http2 *http2)
{
    for (uint32_t i = 0; i < http2->stream_count; i++) {
        struct ns_http2_stream *stream = http2->streams[i];
        if (stream->call != NULL && !stream->judging) {
            return take_call(http2, stream, true);
        }
    }
    return NULL;
}

const struct ns_wire_call *
ns_http2_take_grown(struct ns_http2 *http2, uint32_t *id)
{
    const struct ns_wire_call *call = NULL;
    while (call == NULL && http2->grown != NULL) {
        struct ns_http2_stream *stream = http2->grown;
        http2->grown = stream->next_grown;
        stream->grown = false;
        if (stream->call != NULL && !stream->over && stream->cut_by == NULL) {
            *id = stream->id;
            call = ns_http2_call_current(stream->call);
        }
    }
    return call;
}

const struct ns_wire_call *
ns_http2_going_on(struct ns_http2 *http2, uint32_t *id)
{
    struct ns_http2_stream *stream = http2->reading;
    if (http2->failed || http2->reader_blind || http2->opaque || !http2->settings_seen ||
        ns_http2_has_meddled(http2) || !ns_http2_frames_idle(&http2->reader) ||
        http2->reader.frame.type != NS_HTTP2_DATA || stream == NULL || stream->call == NULL ||
        stream->over || !ns_http2_call_repeats(stream->call)) {
        return NULL;
    }
    *id = stream->id;
    return ns_http2_call_current(stream->call);
}

const struct ns_wire_call *
ns_http2_call(const struct ns_http2 *http2, uint32_t id)
{
    const struct ns_http2_stream *stream = ns_http2_find(http2, id);
    bool running =
        stream != NULL && stream->call != NULL && !stream->over && stream->cut_by == NULL;
    return running ? ns_http2_call_of(stream->call) : NULL;
}
