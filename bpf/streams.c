/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/streams.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mem.h"
#include "bpf/owners.h"
#include "shim/call.h"
#include "shim/http2_connection.h"
#include "shim/process.h"
#include "shim/tags.h"
#include "wire/text.h"

#define BUCKETS 4096

/* The first line of HTTP/2's preface tells it. */
#define PREFACE_LINE_BYTES 16

struct stream {
    struct stream *next;
    uint64_t connection;
    uint32_t pid;
    bool lost; /* bytes of it are missing: the next request that shows its start is the next one */
    char server_name[NS_HOST_BYTES_MAX + 1]; /* "" where it was not told */
    struct ns_wire *wire;                    /* HTTP/1.x; NULL before the first bytes */
    struct ns_http2 *http2;
    uint64_t ahead;       /* bytes that were looked at, and OpenSSL has not taken yet */
    struct ns_bytes held; /* of the request that is being written, from its first byte */
    struct ns_origin origin;
    struct ns_owner *owner;
    uint32_t missed; /* in so many rounds it was not marked */
};

struct ns_streams {
    const struct ns_wire_hosts *hosts;
    struct ns_owners *owners;
    struct ns_questions *questions;
    size_t count;
    struct stream *buckets[BUCKETS];
};

/* --- the table ------------------------------------------------------------------------------ */

static struct stream **
place_of(struct ns_streams *streams, uint64_t connection)
{
    struct stream **link = &streams->buckets[connection % BUCKETS];
    while (*link != NULL && (*link)->connection != connection) {
        link = &(*link)->next;
    }
    return link;
}

struct ns_streams *
ns_streams_new(const struct ns_wire_hosts *hosts, struct ns_questions *questions)
{
    struct ns_streams *streams = ns_mem_alloc(sizeof *streams);
    struct ns_owners *owners = ns_owners_new();
    if (streams == NULL || owners == NULL) {
        ns_owners_free(owners);
        ns_mem_free(streams);
        return NULL;
    }
    *streams = (struct ns_streams){.hosts = hosts, .owners = owners, .questions = questions};
    return streams;
}

static struct stream *
open_stream(struct ns_streams *streams, const struct ns_record *record, const char *server_name)
{
    if (streams->count == NS_STREAMS_MAX) {
        return NULL;
    }
    struct stream *stream = ns_mem_alloc(sizeof *stream);
    struct ns_owner *owner = stream == NULL ? NULL : ns_owners_get(streams->owners, record->pid);
    if (owner == NULL) {
        ns_mem_free(stream);
        return NULL;
    }
    stream->connection = record->connection;
    stream->pid = record->pid;
    stream->owner = owner;
    stream->origin.pid = record->pid;
    memcpy(stream->origin.process, owner->process, sizeof stream->origin.process);
    snprintf(stream->server_name, sizeof stream->server_name, "%s", server_name);
    *place_of(streams, record->connection) = stream;
    streams->count++;
    return stream;
}

static bool
is_denied(const struct ns_wire_call *call)
{
    const struct ns_ticket *ticket = call->user;
    return ticket != NULL && !ticket->sent;
}

/* A denied call whose provider has answered is told with that answer: its status, and what it used
 * after all. One without an answer is the denial that the collector knows. One that ends before the
 * collector has answered gives back what that may have reserved. */
static void
finish(struct ns_streams *streams, struct ns_wire_call *call, bool cut)
{
    if (!ns_questions_end(streams->questions, call) && is_denied(call) &&
        call->response.status == 0) {
        ns_call_drop(call);
    } else {
        ns_call_finish(call, cut);
    }
}

static void
finish_all(struct ns_streams *streams, struct stream *stream)
{
    struct ns_wire_call *call;
    while (stream->wire != NULL && (call = ns_wire_take(stream->wire)) != NULL) {
        finish(streams, call, true);
    }
    while (stream->http2 != NULL && (call = ns_http2_take(stream->http2)) != NULL) {
        finish(streams, call, true);
    }
}

static void
forget_bytes(struct ns_streams *streams, struct stream *stream)
{
    finish_all(streams, stream);
    ns_wire_free(stream->wire);
    ns_http2_free(stream->http2);
    ns_bytes_free(&stream->held);
    stream->wire = NULL;
    stream->http2 = NULL;
    stream->ahead = 0;
}

static void
close_stream(struct ns_streams *streams, struct stream **link)
{
    struct stream *stream = *link;
    *link = stream->next;
    streams->count--;
    forget_bytes(streams, stream);
    ns_owners_put(stream->owner);
    ns_mem_free(stream);
}

void
ns_streams_lost(struct ns_streams *streams, uint64_t connection)
{
    struct stream *stream = *place_of(streams, connection);
    if (stream != NULL) {
        forget_bytes(streams, stream);
        stream->lost = true;
    }
}

void
ns_streams_end(struct ns_streams *streams, uint64_t connection)
{
    struct stream **link = place_of(streams, connection);
    if (*link != NULL) {
        close_stream(streams, link);
    }
}

void
ns_streams_exit(struct ns_streams *streams, uint32_t pid)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct stream **link = &streams->buckets[i]; *link != NULL;) {
            if ((*link)->pid == pid) {
                close_stream(streams, link);
            } else {
                link = &(*link)->next;
            }
        }
    }
}

void
ns_streams_free(struct ns_streams *streams)
{
    for (size_t i = 0; streams != NULL && i < BUCKETS; i++) {
        while (streams->buckets[i] != NULL) {
            close_stream(streams, &streams->buckets[i]);
        }
    }
    if (streams != NULL) {
        ns_owners_free(streams->owners);
    }
    ns_mem_free(streams);
}

static void
exit_one(void *context, uint32_t pid)
{
    ns_streams_exit(context, pid);
}

void
ns_streams_sweep(struct ns_streams *streams)
{
    ns_owners_sweep(streams->owners, exit_one, streams);
}

void
ns_streams_unmark(struct ns_streams *streams)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct stream *stream = streams->buckets[i]; stream != NULL; stream = stream->next) {
            stream->missed++;
        }
    }
}

void
ns_streams_mark(void *streams, uint64_t connection)
{
    struct stream *stream = *place_of(streams, connection);
    if (stream != NULL) {
        stream->missed = 0;
    }
}

void
ns_streams_end_unmarked(struct ns_streams *streams)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct stream **link = &streams->buckets[i]; *link != NULL;) {
            if ((*link)->missed < NS_STREAMS_MISSED_MAX) {
                link = &(*link)->next;
            } else {
                close_stream(streams, link);
            }
        }
    }
}

/* --- which are of interest -------------------------------------------------------------------- */

enum ns_connection_state
ns_streams_name(struct ns_streams *streams, const struct ns_record *record, const char *server_name)
{
    bool known = ns_wire_host_known(streams->hosts, server_name, strlen(server_name));
    return known && open_stream(streams, record, server_name) != NULL ? NS_CONNECTION_PROVIDER
                                                                      : NS_CONNECTION_IGNORED;
}

/* Of a connection that named no server: does it ask a provider for something, by the Host in its
 * first bytes? */
static bool
asks_provider(const struct ns_streams *streams, const uint8_t *bytes, size_t count)
{
    static const char field[] = "host:";
    const char *text = (const char *)bytes;
    const char *end = text + count;
    while ((text = memmem(text, (size_t)(end - text), "\r\n", 2)) != NULL) {
        text += 2;
        if (!ns_wire_text_begins_nocase(text, (size_t)(end - text), field)) {
            continue;
        }
        text += sizeof field - 1;
        while (text < end && *text == ' ') {
            text++;
        }
        size_t bare = 0;
        while (text + bare < end && text[bare] != '\r' && text[bare] != ':') {
            bare++;
        }
        return ns_wire_host_known(streams->hosts, text, bare);
    }
    return false;
}

static bool
begin(const struct ns_streams *streams, struct stream *stream, const uint8_t *bytes, size_t count)
{
    const char *name = stream->server_name[0] == '\0' ? NULL : stream->server_name;
    if (stream->wire != NULL || stream->http2 != NULL) {
        return true;
    }
    if (count >= PREFACE_LINE_BYTES && memcmp(bytes, ns_http2_preface, PREFACE_LINE_BYTES) == 0) {
        stream->http2 = ns_http2_new(streams->hosts, name, NS_WITHHOLD_BODY_BYTES_MAX, false);
        if (stream->http2 == NULL) {
            return false;
        }
        ns_http2_judge_by_length(stream->http2);
        return true;
    }
    stream->wire = ns_wire_new(streams->hosts, name);
    return stream->wire != NULL;
}

/* A write that is looked at. */
struct write {
    struct ns_streams *streams;
    struct stream *stream;
    const struct ns_record *record;
    const uint8_t *bytes; /* of the record, but those that were looked at before */
    size_t count;
    uint32_t offset; /* of them in the whole write */
};

static void
judge(const struct write *write, struct ns_wire_call *call, const uint8_t *request, size_t bytes,
      struct ns_asking *asking)
{
    asking->origin = &write->stream->origin;
    asking->stopped = write->record->stopped != 0;
    ns_tags_fill(&call->request.identity, &write->stream->owner->identity);
    ns_questions_ask(write->streams->questions, call, request, bytes, asking);
}

/* --- what is written ----------------------------------------------------------------------------
 */

/* Where the body and the credential of the request are that ends at `end` of the write, and began
 * perhaps in an earlier one. */
static struct ns_asking
blanks_http1(const struct write *write, const struct ns_wire_call *call, uint32_t end)
{
    const struct ns_bytes *all = &write->stream->held;
    size_t held = ns_bytes_count(all);
    const uint8_t *bytes = ns_bytes_front(all);
    const uint8_t *body = memmem(bytes, held, "\r\n\r\n", 4);
    int64_t start = (int64_t)end - (int64_t)held;
    int64_t from = body == NULL ? end : start + (body - bytes) + 4;
    from = from < 0 ? 0 : from;
    struct ns_asking blanks = {
        .body = {write->record->from + (uint64_t)from, (uint32_t)((int64_t)end - from)}};
    struct ns_wire_range secret = call->request.credential_range;
    if (secret.bytes > 0 && start + (int64_t)secret.offset >= 0) {
        blanks.secret = (struct ns_range){
            write->record->from + (uint64_t)(start + (int64_t)secret.offset), secret.bytes};
    }
    return blanks;
}

static void
write_http1(const struct write *write)
{
    struct stream *stream = write->stream;
    for (size_t i = 0; i < write->count;) {
        struct ns_wire_written written = {0};
        const uint8_t *bytes = write->bytes + i;
        size_t left = write->count - i;
        size_t used =
            ns_wire_write(stream->wire, bytes, left, NS_WITHHOLD_BODY_BYTES_MAX, &written);
        used = used == 0 || used > left ? left : used;
        bool holds = written.class == NS_WIRE_WITHHOLD || written.class == NS_WIRE_CALL;
        if (holds && !ns_bytes_append(&stream->held, bytes, used)) {
            ns_bytes_free(&stream->held);
        }
        i += used;
        if (written.class == NS_WIRE_CALL) {
            struct ns_asking blanks =
                blanks_http1(write, written.call, write->offset + (uint32_t)i);
            judge(write, written.call, ns_bytes_front(&stream->held), ns_bytes_count(&stream->held),
                  &blanks);
        }
        if (written.class != NS_WIRE_WITHHOLD) {
            ns_bytes_free(&stream->held);
        }
    }
}

static void
finish_ended(struct ns_streams *streams, struct stream *stream)
{
    struct ns_wire_call *call;
    bool cut;
    ns_bytes_free(ns_http2_to_server(stream->http2));
    ns_bytes_free(ns_http2_to_program(stream->http2));
    while ((call = ns_http2_take_ended(stream->http2, &cut)) != NULL) {
        finish(streams, call, cut);
    }
}

/* The writer's side as a write found it. */
struct ns_http2_start {
    struct ns_http2_frames frames;
    size_t preface_bytes; /* still to come */
};

/* The DATA that ends a stream and is empty becomes trailers that do not end it: a malformed request
 * (RFC 9113, 8.1), for which the server resets that stream, or closes the connection. Tables of
 * fields and lengths stay as they are. at: where its header is in the process. */
static void
make_malformed(struct ns_asking *asking, const struct ns_http2_frame *frame, uint64_t at)
{
    asking->ending = (struct ns_range){at + NS_HTTP2_TYPE_AT, sizeof asking->instead};
    asking->instead[0] = NS_HTTP2_HEADERS;
    asking->instead[1] = (frame->flags & NS_HTTP2_PADDED) | NS_HTTP2_END_HEADERS;
}

/* White space at the end of a body is nothing that is missed. */
static bool
is_missed(const uint8_t *bytes, size_t count)
{
    size_t blanks = 0;
    while (blanks < count && memchr(" \t\r\n", bytes[blanks], 4) != NULL) {
        blanks++;
    }
    return blanks < count;
}

/* Of a stream that lies in this write before `end`: its last DATA, or its end where that is alone.
 */
static struct ns_asking
blanks_http2(const struct write *write, struct ns_http2_start start, uint32_t id, size_t end)
{
    struct ns_asking blanks = {0};
    struct ns_http2_input input = {.event = NS_HTTP2_MORE};
    const struct ns_http2_frame *frame = &start.frames.frame;
    uint64_t from = write->record->from + write->offset;
    for (size_t i = start.preface_bytes; i < end && input.event != NS_HTTP2_ERROR;) {
        i += ns_http2_frames_feed(&start.frames, write->bytes + i, end - i, &input);
        if (frame->type != NS_HTTP2_DATA || frame->stream != id) {
            continue;
        }
        if (input.event == NS_HTTP2_CONTENT) {
            blanks.ending = (struct ns_range){0};
        }
        if (input.event == NS_HTTP2_CONTENT && is_missed(input.bytes, input.count)) {
            uint64_t at = (uint64_t)(input.bytes - write->bytes);
            blanks.body = (struct ns_range){from + at, (uint32_t)input.count};
        } else if (input.event == NS_HTTP2_FRAME && i >= NS_HTTP2_HEADER_BYTES &&
                   (frame->flags & NS_HTTP2_END_STREAM) != 0 && blanks.body.bytes == 0) {
            make_malformed(&blanks, frame, from + i - NS_HTTP2_HEADER_BYTES);
        }
    }
    return blanks;
}

static void
write_http2(const struct write *write)
{
    struct ns_http2 *http2 = write->stream->http2;
    struct ns_http2_start start = {http2->writer,
                                   NS_HTTP2_PREFACE_BYTES - (size_t)http2->preface_bytes};
    for (size_t i = 0; i < write->count;) {
        struct ns_http2_stream *asks = NULL;
        i += ns_http2_write(http2, write->bytes + i, write->count - i, false, &asks);
        if (asks != NULL) {
            const uint8_t *head;
            size_t head_bytes;
            struct ns_wire_call *call = ns_http2_asking(asks, &head, &head_bytes);
            struct ns_asking blanks = blanks_http2(write, start, asks->id, i);
            judge(write, call, head, head_bytes, &blanks);
            ns_http2_allow(http2, asks); /* the provider answers it in either case */
        }
    }
    finish_ended(write->streams, write->stream);
}

enum ns_connection_state
ns_streams_write(struct ns_streams *streams, const struct ns_record *record, const uint8_t *bytes)
{
    struct stream *stream = *place_of(streams, record->connection);
    if (stream == NULL && record->offset == 0 && asks_provider(streams, bytes, record->bytes)) {
        stream = open_stream(streams, record, "");
    }
    if (stream != NULL && stream->lost) {
        stream->lost = record->offset != 0 || !asks_provider(streams, bytes, record->bytes);
        if (stream->lost) {
            return NS_CONNECTION_PROVIDER;
        }
    }
    if (stream == NULL || !begin(streams, stream, bytes, record->bytes)) {
        return NS_CONNECTION_IGNORED;
    }
    /* A write that OpenSSL did not take is made again, with the same bytes. */
    uint64_t end = (uint64_t)record->offset + record->bytes;
    uint64_t skip = stream->ahead > record->offset ? stream->ahead - record->offset : 0;
    if (skip >= record->bytes) {
        return NS_CONNECTION_PROVIDER;
    }
    struct write write = {.streams = streams,
                          .stream = stream,
                          .record = record,
                          .bytes = bytes + skip,
                          .count = record->bytes - skip,
                          .offset = record->offset + (uint32_t)skip};
    if (stream->http2 != NULL) {
        write_http2(&write);
    } else {
        write_http1(&write);
    }
    stream->ahead = end;
    return NS_CONNECTION_PROVIDER;
}

void
ns_streams_written(struct ns_streams *streams, const struct ns_record *record)
{
    struct stream *stream = *place_of(streams, record->connection);
    if (stream != NULL) {
        stream->ahead -= record->total < stream->ahead ? record->total : stream->ahead;
    }
}

/* --- what is read --------------------------------------------------------------------------- */

static void
tell_progress(const struct ns_wire_call *call)
{
    struct ns_message message;
    struct ns_progress_text text;
    if (call != NULL && !is_denied(call) && ns_call_progress(call, &message, &text)) {
        ns_gate_tell(&message);
    }
}

static void
read_http1(struct ns_streams *streams, struct stream *stream, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count;) {
        struct ns_wire_read read = {0};
        size_t used = ns_wire_read(stream->wire, bytes + i, count - i, &read);
        i += used == 0 || used > count - i ? count - i : used;
        if (read.event == NS_WIRE_READ_END && read.call != NULL) {
            finish(streams, read.call, false);
        }
    }
    tell_progress(ns_wire_current(stream->wire));
}

static void
read_http2(struct ns_streams *streams, struct stream *stream, const uint8_t *bytes, size_t count)
{
    uint32_t id;
    const struct ns_wire_call *call;
    for (size_t i = 0; i < count;) {
        bool pass;
        i += ns_http2_read(stream->http2, bytes + i, count - i, &pass);
        finish_ended(streams, stream);
    }
    while ((call = ns_http2_take_grown(stream->http2, &id)) != NULL) {
        tell_progress(call);
    }
}

void
ns_streams_read(struct ns_streams *streams, const struct ns_record *record, const uint8_t *bytes)
{
    struct stream *stream = *place_of(streams, record->connection);
    if (stream == NULL) {
        return;
    }
    if (stream->http2 != NULL) {
        read_http2(streams, stream, bytes, record->bytes);
    } else if (stream->wire != NULL) {
        read_http1(streams, stream, bytes, record->bytes);
    }
}
