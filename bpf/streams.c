/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/streams.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "shim/call.h"
#include "shim/hello.h"
#include "shim/http2_connection.h"
#include "wire/text.h"

#define BUCKETS 4096

/* The first line of HTTP/2's preface tells it. */
#define PREFACE_LINE_BYTES 16

struct stream {
    struct stream *next;
    uint64_t connection;
    uint32_t pid;
    char server_name[NS_HOST_BYTES_MAX + 1]; /* "" where it was not told */
    struct ns_wire *wire;                    /* HTTP/1.x; NULL before the first bytes */
    struct ns_http2 *http2;
    uint64_t ahead;       /* bytes that were looked at, and OpenSSL has not taken yet */
    struct ns_bytes held; /* of the request that is being written, from its first byte */
    struct ns_origin origin;
};

struct ns_streams {
    const struct ns_wire_hosts *hosts;
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
ns_streams_new(const struct ns_wire_hosts *hosts)
{
    struct ns_streams *streams = ns_mem_alloc(sizeof *streams);
    if (streams != NULL) {
        streams->hosts = hosts;
    }
    return streams;
}

static void
read_name(struct ns_origin *origin, uint32_t pid)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/%u/exe", pid);
    ns_executable_name(link, "", origin->process);
    origin->pid = pid;
}

static struct stream *
open_stream(struct ns_streams *streams, const struct ns_record *record, const char *server_name)
{
    if (streams->count == NS_STREAMS_MAX) {
        return NULL;
    }
    struct stream *stream = ns_mem_alloc(sizeof *stream);
    if (stream != NULL) {
        stream->connection = record->connection;
        stream->pid = record->pid;
        snprintf(stream->server_name, sizeof stream->server_name, "%s", server_name);
        read_name(&stream->origin, record->pid);
        *place_of(streams, record->connection) = stream;
        streams->count++;
    }
    return stream;
}

static bool
is_denied(const struct ns_wire_call *call)
{
    const struct ns_ticket *ticket = call->user;
    return ticket != NULL && !ticket->sent;
}

/* A denied call is over with the provider's refusal, which is no call's answer. */
static void
finish(struct ns_wire_call *call, bool cut)
{
    if (is_denied(call)) {
        ns_call_drop(call);
    } else {
        ns_call_finish(call, cut);
    }
}

static void
finish_all(struct stream *stream)
{
    struct ns_wire_call *call;
    while (stream->wire != NULL && (call = ns_wire_take(stream->wire)) != NULL) {
        finish(call, true);
    }
    while (stream->http2 != NULL && (call = ns_http2_take(stream->http2)) != NULL) {
        finish(call, true);
    }
}

static void
close_stream(struct ns_streams *streams, struct stream **link)
{
    struct stream *stream = *link;
    *link = stream->next;
    streams->count--;
    finish_all(stream);
    ns_wire_free(stream->wire);
    ns_http2_free(stream->http2);
    ns_bytes_free(&stream->held);
    ns_mem_free(stream);
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
    ns_mem_free(streams);
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
        return stream->http2 != NULL;
    }
    stream->wire = ns_wire_new(streams->hosts, name);
    return stream->wire != NULL;
}

/* --- what is written ----------------------------------------------------------------------------
 */

/* Asks about a call. Returns whether it is denied; it is answered then by the provider all the
 * same, and known by not being sent. */
static bool
judge(struct stream *stream, struct ns_wire_call *call, const uint8_t *request, size_t bytes)
{
    struct ns_gate_verdict verdict;
    bool denied = ns_call_judge(call, request, bytes, &verdict) == NS_RULING_DENY;
    struct ns_ticket *ticket = call->user;
    if (ticket != NULL) {
        ticket->origin = &stream->origin;
        ticket->sent = !denied;
    }
    return denied;
}

/* These bytes of the write that is going on must not leave. */
static void
blank(struct ns_write_ruling *ruling, uint32_t at, uint32_t bytes)
{
    ruling->denied = true;
    ruling->blank_at = at;
    ruling->blank_bytes = bytes;
}

static void
deny_http1(struct ns_write_ruling *ruling, const struct stream *stream,
           const struct ns_wire_call *call, uint32_t end)
{
    /* The request began so many bytes before `end`, perhaps in an earlier write. */
    size_t held = ns_bytes_count(&stream->held);
    const uint8_t *bytes = ns_bytes_front(&stream->held);
    const uint8_t *body = memmem(bytes, held, "\r\n\r\n", 4);
    size_t body_at = body == NULL ? held : (size_t)(body - bytes) + 4;
    int64_t start = (int64_t)end - (int64_t)held;
    int64_t from = start + (int64_t)body_at;
    from = from < 0 ? 0 : from;
    blank(ruling, (uint32_t)from, (uint32_t)((int64_t)end - from));
    struct ns_wire_range secret = call->request.credential_range;
    if (secret.bytes > 0 && start + (int64_t)secret.offset >= 0) {
        ruling->secret_at = (uint32_t)(start + (int64_t)secret.offset);
        ruling->secret_bytes = secret.bytes;
    }
}

static void
write_http1(struct stream *stream, const uint8_t *bytes, size_t count, uint32_t offset,
            struct ns_write_ruling *ruling)
{
    for (size_t i = 0; i < count;) {
        struct ns_wire_written written = {0};
        size_t used =
            ns_wire_write(stream->wire, bytes + i, count - i, NS_WITHHOLD_BODY_BYTES_MAX, &written);
        used = used == 0 || used > count - i ? count - i : used;
        bool holds = written.class == NS_WIRE_WITHHOLD || written.class == NS_WIRE_CALL;
        if (holds && !ns_bytes_append(&stream->held, bytes + i, used)) {
            ns_bytes_free(&stream->held);
        }
        i += used;
        if (written.class == NS_WIRE_CALL &&
            judge(stream, written.call, ns_bytes_front(&stream->held),
                  ns_bytes_count(&stream->held))) {
            deny_http1(ruling, stream, written.call, offset + (uint32_t)i);
        }
        if (written.class != NS_WIRE_WITHHOLD) {
            ns_bytes_free(&stream->held);
        }
    }
}

static void
finish_ended(struct stream *stream)
{
    struct ns_wire_call *call;
    bool cut;
    ns_bytes_free(ns_http2_to_server(stream->http2));
    ns_bytes_free(ns_http2_to_program(stream->http2));
    while ((call = ns_http2_take_ended(stream->http2, &cut)) != NULL) {
        finish(call, cut);
    }
}

/* The DATA of the stream that was denied, as far as it lies in frames of this write: its last. */
static void
deny_http2(struct ns_write_ruling *ruling, uint32_t id, const uint8_t *bytes, size_t end,
           uint32_t offset)
{
    for (size_t i = 0; i + NS_HTTP2_HEADER_BYTES <= end;) {
        size_t length = (size_t)bytes[i] << 16 | (size_t)bytes[i + 1] << 8 | bytes[i + 2];
        size_t next = i + NS_HTTP2_HEADER_BYTES + length;
        uint32_t stream = ns_http2_u32(bytes + i + 5) & INT32_MAX;
        bool padded = (bytes[i + 4] & NS_HTTP2_PADDED) != 0;
        if (bytes[i] == 0 && bytes[i + 3] == NS_HTTP2_DATA && stream == id && next <= end &&
            length > padded) {
            blank(ruling, offset + (uint32_t)(i + NS_HTTP2_HEADER_BYTES + padded),
                  (uint32_t)(length - padded));
        }
        i = next;
    }
}

static void
write_http2(struct stream *stream, const uint8_t *bytes, size_t count, uint32_t offset,
            struct ns_write_ruling *ruling)
{
    bool whole_frames = ns_http2_frames_idle(&stream->http2->writer);
    for (size_t i = 0; i < count;) {
        struct ns_http2_stream *asks = NULL;
        i += ns_http2_write(stream->http2, bytes + i, count - i, false, &asks);
        if (asks != NULL) {
            const uint8_t *head;
            size_t head_bytes;
            uint32_t id = asks->id;
            struct ns_wire_call *call = ns_http2_asking(asks, &head, &head_bytes);
            if (judge(stream, call, head, head_bytes)) {
                ruling->denied = true;
                if (whole_frames) {
                    deny_http2(ruling, id, bytes, i, offset);
                }
            }
            ns_http2_allow(stream->http2, asks); /* the provider answers it in either case */
        }
    }
    finish_ended(stream);
}

struct ns_write_ruling
ns_streams_write(struct ns_streams *streams, const struct ns_record *record, const uint8_t *bytes)
{
    struct ns_write_ruling ruling = {.state = NS_CONNECTION_IGNORED};
    struct stream *stream = *place_of(streams, record->connection);
    if (stream == NULL) {
        if (record->offset != 0 || !asks_provider(streams, bytes, record->bytes)) {
            return ruling;
        }
        stream = open_stream(streams, record, "");
    }
    if (stream == NULL || !begin(streams, stream, bytes, record->bytes)) {
        return ruling;
    }
    ruling.state = NS_CONNECTION_PROVIDER;
    /* A write that OpenSSL did not take is made again, with the same bytes. */
    uint64_t end = (uint64_t)record->offset + record->bytes;
    if (end <= stream->ahead) {
        return ruling;
    }
    uint64_t skip = stream->ahead > record->offset ? stream->ahead - record->offset : 0;
    uint32_t offset = record->offset + (uint32_t)skip;
    if (stream->http2 != NULL) {
        write_http2(stream, bytes + skip, record->bytes - skip, offset, &ruling);
    } else {
        write_http1(stream, bytes + skip, record->bytes - skip, offset, &ruling);
    }
    stream->ahead = end;
    return ruling;
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
read_http1(struct stream *stream, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count;) {
        struct ns_wire_read read = {0};
        size_t used = ns_wire_read(stream->wire, bytes + i, count - i, &read);
        i += used == 0 || used > count - i ? count - i : used;
        if (read.event == NS_WIRE_READ_END && read.call != NULL) {
            finish(read.call, false);
        }
    }
    tell_progress(ns_wire_current(stream->wire));
}

static void
read_http2(struct stream *stream, const uint8_t *bytes, size_t count)
{
    uint32_t id;
    const struct ns_wire_call *call;
    for (size_t i = 0; i < count;) {
        bool pass;
        i += ns_http2_read(stream->http2, bytes + i, count - i, &pass);
        finish_ended(stream);
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
        read_http2(stream, bytes, record->bytes);
    } else if (stream->wire != NULL) {
        read_http1(stream, bytes, record->bytes);
    }
}
