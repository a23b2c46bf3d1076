/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/lib/bench.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of one read: as much as a record holds. */
#define READ_BYTES 16384
#define WINDOW_BYTES (16 << 20)
#define STREAMS_MAX 256

/* What goes out on a stream. */
struct body {
    const struct bench_answer *answer;
    size_t event; /* the next one's number */
    size_t bytes, sent;
    char text[BENCH_EVENT_BYTES_MAX];
};

struct bench_h2 {
    SSL *ssl;
    const struct bench_answer *answer;
    nghttp2_session *session;
    int32_t asked[STREAMS_MAX]; /* requests without an answer, oldest first */
    size_t asked_count;
    size_t streams; /* the provider's: answers that are streams and have begun */
    size_t answers, body_bytes;
    size_t out_bytes;
    uint8_t out[4 * READ_BYTES];
};

static nghttp2_nv
field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

/* --- bodies --------------------------------------------------------------------------------- */

/* One event a frame, as a provider does that sends each when it has it. */
static ssize_t
give_body(nghttp2_session *session, int32_t id, uint8_t *bytes, size_t count, uint32_t *flags,
          nghttp2_data_source *source, void *context)
{
    struct body *body = source->ptr;
    (void)session;
    (void)id;
    (void)context;
    if (body->sent == body->bytes && body->answer != NULL) {
        body->bytes = bench_event(body->answer, body->event++, body->text);
        body->sent = 0;
    }
    size_t left = body->bytes - body->sent;
    size_t given = left < count ? left : count;
    memcpy(bytes, body->text + body->sent, given);
    body->sent += given;
    if (body->sent == body->bytes && (body->answer == NULL || body->bytes == 0)) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)given;
}

static struct body *
new_body(const struct bench_answer *answer, const char *text, size_t bytes)
{
    struct body *body = bench_memory(1, sizeof *body);
    body->answer = answer;
    body->bytes = bytes;
    memcpy(body->text, text, bytes);
    return body;
}

static void
answer_stream(struct bench_h2 *h2, int32_t id)
{
    const struct bench_answer *answer = h2->answer;
    bool stream = answer->event_bytes > 0;
    char length[24];
    snprintf(length, sizeof length, "%zu", bench_chat_answer_bytes);
    nghttp2_nv fields[] = {field(":status", "200"),
                           field("content-type", stream ? "text/event-stream" : "application/json"),
                           field("date", "Mon, 23 Nov 2026 10:00:00 GMT"),
                           field("content-length", length)};
    struct body *body = stream ? new_body(answer, "", 0)
                               : new_body(NULL, bench_chat_answer, bench_chat_answer_bytes);
    nghttp2_data_provider data = {.source.ptr = body, .read_callback = give_body};
    nghttp2_session_set_stream_user_data(h2->session, id, body);
    h2->streams += stream;
    if (nghttp2_submit_response(h2->session, id, fields, stream ? 3 : 4, &data) != 0) {
        bench_fail("nghttp2_submit_response");
    }
}

int32_t
bench_h2_call(struct bench_h2 *h2, bool stream)
{
    const char *text = bench_request_body(stream);
    struct body *body = new_body(NULL, text, strlen(text));
    char length[24];
    snprintf(length, sizeof length, "%zu", strlen(text));
    nghttp2_nv fields[] = {field(":method", "POST"),
                           field(":scheme", "https"),
                           field(":authority", BENCH_HOST),
                           field(":path", "/v1/chat/completions"),
                           field("authorization", "Bearer sk-bench-0001"),
                           field("content-type", "application/json"),
                           field("content-length", length)};
    nghttp2_data_provider data = {.source.ptr = body, .read_callback = give_body};
    int32_t id = nghttp2_submit_request(h2->session, NULL, fields, sizeof fields / sizeof *fields,
                                        &data, body);
    if (id < 0) {
        bench_fail("nghttp2_submit_request");
    }
    return id;
}

/* --- what comes ----------------------------------------------------------------------------- */

static int
on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct bench_h2 *h2 = context;
    (void)session;
    bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    bool message = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (!ends || !message || h2->answer == NULL) {
        return 0;
    }
    if (h2->asked_count == STREAMS_MAX) {
        bench_fail("too many streams");
    }
    h2->asked[h2->asked_count++] = frame->hd.stream_id;
    while (h2->asked_count > h2->answer->waiting) {
        int32_t id = h2->asked[0];
        memmove(h2->asked, h2->asked + 1, --h2->asked_count * sizeof *h2->asked);
        answer_stream(h2, id);
    }
    return 0;
}

static int
on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t count,
        void *context)
{
    struct bench_h2 *h2 = context;
    (void)session;
    (void)flags;
    (void)id;
    (void)bytes;
    h2->body_bytes += count;
    return 0;
}

static int
on_close(nghttp2_session *session, int32_t id, uint32_t error, void *context)
{
    struct bench_h2 *h2 = context;
    free(nghttp2_session_get_stream_user_data(session, id));
    if (error != NGHTTP2_NO_ERROR && h2->answer == NULL) {
        bench_fail("a stream was reset");
    }
    h2->answers++;
    h2->streams -= h2->streams > 0;
    return 0;
}

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
          size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags, void *context)
{
    const struct bench_h2 *h2 = context;
    (void)session;
    (void)frame;
    (void)flags;
    if (h2->answer == NULL && name_bytes == 7 && memcmp(name, ":status", 7) == 0 &&
        (value_bytes != 3 || memcmp(value, "200", 3) != 0)) {
        bench_fail("no 200");
    }
    return 0;
}

struct bench_h2 *
bench_h2_new(SSL *ssl, const struct bench_answer *answer)
{
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES},
                                         {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS_MAX}};
    nghttp2_session_callbacks *callbacks;
    struct bench_h2 *h2 = bench_memory(1, sizeof *h2);
    if (nghttp2_session_callbacks_new(&callbacks) != 0) {
        bench_fail("memory");
    }
    h2->ssl = ssl;
    h2->answer = answer;
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    int error = answer != NULL ? nghttp2_session_server_new(&h2->session, callbacks, h2)
                               : nghttp2_session_client_new(&h2->session, callbacks, h2);
    nghttp2_session_callbacks_del(callbacks);
    if (error != 0 || nghttp2_submit_settings(h2->session, 0, settings, 2) != 0 ||
        nghttp2_session_set_local_window_size(h2->session, 0, 0, WINDOW_BYTES) != 0) {
        bench_fail("nghttp2");
    }
    return h2;
}

void
bench_h2_free(struct bench_h2 *h2)
{
    nghttp2_session_del(h2->session);
    free(h2);
}

/* --- records -------------------------------------------------------------------------------- */

static void
write_out(struct bench_h2 *h2)
{
    if (h2->out_bytes > 0 && h2->streams > 0) {
        bench_write_record(h2->ssl, h2->answer, h2->out, h2->out_bytes);
    } else if (h2->out_bytes > 0) {
        bench_write(h2->ssl, h2->out, h2->out_bytes);
    }
    h2->out_bytes = 0;
}

void
bench_h2_write(struct bench_h2 *h2)
{
    size_t record_bytes =
        h2->answer == NULL || h2->answer->event_bytes == 0 ? READ_BYTES : h2->answer->record_bytes;
    for (;;) {
        const uint8_t *bytes;
        ssize_t count = nghttp2_session_mem_send(h2->session, &bytes);
        if (count < 0) {
            bench_fail("nghttp2_session_mem_send");
        }
        if (count == 0) {
            break;
        }
        if (h2->out_bytes + (size_t)count > record_bytes) {
            write_out(h2);
        }
        memcpy(h2->out + h2->out_bytes, bytes, (size_t)count);
        h2->out_bytes += (size_t)count;
    }
    write_out(h2);
}

bool
bench_h2_read(struct bench_h2 *h2, bool wait)
{
    uint8_t bytes[READ_BYTES];
    size_t count = bench_read(h2->ssl, bytes, sizeof bytes, wait);
    if (wait && count == 0) {
        return false;
    }
    for (; count > 0; count = bench_read(h2->ssl, bytes, sizeof bytes, false)) {
        if (nghttp2_session_mem_recv(h2->session, bytes, count) != (ssize_t)count) {
            bench_fail("nghttp2_session_mem_recv");
        }
    }
    return true;
}

size_t
bench_h2_answers(const struct bench_h2 *h2)
{
    return h2->answers;
}

size_t
bench_h2_body_bytes(const struct bench_h2 *h2)
{
    return h2->body_bytes;
}
