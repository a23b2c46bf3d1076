/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seeded simulation: a real HTTP/2 client and a real server (libnghttp2), and the governed
 * connection between them. Splits, sizes, windows, padding, trailers, resets, pings and verdicts
 * are random. Neither end may ever find an error; what was denied must not arrive; what was allowed
 * must arrive as it was, or made to ask for its usage, which the program then must not see; an
 * answer that is cut must end behind an event, with the words that say so; every call must be told
 * once, with its usage; and in the end both ends' windows must be what the connection's accounts
 * say.
 *
 * NS_SEED chooses the first seed, NS_SIMULATION_RUNS how many (default 300). The seed of a failure
 * is printed: run it again with it.
 */
#include <nghttp2/nghttp2.h>

#include "base/mem.h"
#include "shim/call.h"
#include "shim/counters.h"
#include "shim/http2_connection.h"
#include "tests/harness.h"

#define REQUESTS_MAX 24
#define OUTPUT_TOKENS 42

uint64_t ns_counters[NS_COUNTER_COUNT]; /* of the library, which is not here */

static uint64_t seed;
static uint64_t state;
static bool failed;
static bool memory_fails; /* once in a run */

#define EXPECT(condition, ...)                                                                     \
    do {                                                                                           \
        if (!(condition) && !failed) {                                                             \
            failed = true;                                                                         \
            NS_FAIL(__VA_ARGS__);                                                                  \
            printf("# NS_SEED=%" PRIu64 " NS_SIMULATION_RUNS=1\n", seed);                          \
        }                                                                                          \
    } while (0)

static uint64_t
below(uint64_t n)
{
    state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % n;
}

static bool
one_in(uint64_t n)
{
    return below(n) == 0;
}

/* As ns_bytes_append, for the two ends, whose memory is not what is tested. */
static void
keep(struct ns_bytes *bytes, const void *data, size_t count)
{
    bool kept = false;
    for (int i = 0; i < 2 && !kept; i++) {
        kept = ns_bytes_append(bytes, data, count);
    }
    if (!kept) {
        abort();
    }
}

/* --- the world ------------------------------------------------------------------------------ */

enum kind { CALL, PLAIN_POST, PLAIN_GET };

struct exchange {
    int32_t stream;
    enum kind kind;
    bool trailers;
    bool denied; /* by us */
    bool ruled;
    bool reset;   /* by the program */
    bool refused; /* by the server, without looking */
    bool streamed;
    bool wishes;   /* the program asks for the usage of its stream */
    bool whole;    /* it was judged so */
    bool tells;    /* and the server tells it */
    bool measured; /* and the length of its answer */
    bool reply_trailers;
    bool cut;
    struct ns_bytes body;
    size_t sent;
    /* as the program sees it */
    int status;
    bool denied_header;
    struct ns_bytes answer;
    bool closed;
    uint32_t error;
    /* as the server sees it */
    bool arrived;
    bool arrived_whole;
    bool arrived_trailers;
    bool server_reset;
    bool ours_leaked;
    struct ns_bytes received;
    struct ns_bytes reply;
    size_t replied;
    int told; /* calls that ended */
};

struct world {
    nghttp2_session *client;
    nghttp2_session *server;
    struct ns_http2 *http2;
    struct exchange exchanges[REQUESTS_MAX];
    size_t count;
    unsigned deny_percent;
    unsigned cut_percent;
    bool asks_usage;
    bool early_answers;        /* the server may answer before it has the body */
    struct ns_bytes to_server; /* written, not yet arrived */
    struct ns_bytes to_client;
    struct ns_bytes in; /* for the program to read first */
    uint32_t client_window;
    uint32_t server_window;
};

static struct world world;

static struct exchange *
exchange_of(int32_t stream)
{
    for (size_t i = 0; i < world.count; i++) {
        if (world.exchanges[i].stream == stream) {
            return &world.exchanges[i];
        }
    }
    return NULL;
}

static struct exchange *
exchange_of_body(const void *body)
{
    for (size_t i = 0; i < world.count; i++) {
        if (&world.exchanges[i] == body) {
            return &world.exchanges[i];
        }
    }
    return NULL;
}

/* --- both ends ------------------------------------------------------------------------------ */

static ssize_t
select_padding(nghttp2_session *session, const nghttp2_frame *frame, size_t max, void *user)
{
    (void)session;
    (void)user;
    size_t length = frame->hd.length;
    if (one_in(3)) {
        size_t room = max - length < 200 ? max - length : 200;
        length += below(room + 1);
    }
    return (ssize_t)length;
}

static int
on_invalid(nghttp2_session *session, const nghttp2_frame *frame, int code, void *user)
{
    if (session == world.server && code == NGHTTP2_ERR_REFUSED_STREAM) {
        exchange_of(frame->hd.stream_id)->refused = true; /* before its SETTINGS were known */
        return 0;
    }
    EXPECT(false, "the %s finds frame %d of stream %d invalid: %s",
           session == world.client ? "client" : "server", frame->hd.type, frame->hd.stream_id,
           nghttp2_strerror(code));
    (void)user;
    return 0;
}

static int
on_error(nghttp2_session *session, int code, const char *text, size_t bytes, void *user)
{
    (void)user;
    EXPECT(false, "the %s says %d: %.*s", session == world.client ? "client" : "server", code,
           (int)bytes, text);
    return 0;
}

static int
on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    EXPECT(frame->hd.type != NGHTTP2_GOAWAY || frame->goaway.error_code == NGHTTP2_NO_ERROR,
           "the %s ends the connection: %u", session == world.client ? "client" : "server",
           frame->goaway.error_code);
    return 0;
}

/* --- the client ----------------------------------------------------------------------------- */

/* Some of what is left of a body. */
static ssize_t
send_some(const struct ns_bytes *body, size_t *sent, uint8_t *buffer, size_t room, uint32_t *flags)
{
    size_t left = ns_bytes_count(body) - *sent;
    size_t count = left < room ? left : room;
    count = count > 1 && one_in(3) ? 1 + below(count) : count;
    if (count > 0) {
        memcpy(buffer, ns_bytes_front(body) + *sent, count);
    }
    *sent += count;
    if (*sent == ns_bytes_count(body)) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)count;
}

static ssize_t
read_body(nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t room, uint32_t *flags,
          nghttp2_data_source *source, void *user)
{
    (void)user;
    struct exchange *exchange = exchange_of_body(source->ptr);
    ssize_t count = send_some(&exchange->body, &exchange->sent, buffer, room, flags);
    if (exchange->sent == ns_bytes_count(&exchange->body) && exchange->trailers) {
        nghttp2_nv trailer = {(uint8_t *)"x-sum", (uint8_t *)"abc", 5, 3, NGHTTP2_NV_FLAG_NONE};
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, stream, &trailer, 1);
    }
    return count;
}

static int
client_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
              size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
              void *user)
{
    (void)session;
    (void)flags;
    (void)user;
    struct exchange *exchange = exchange_of(frame->hd.stream_id);
    if (name_bytes == 7 && memcmp(name, ":status", 7) == 0) {
        exchange->status = (value[0] - '0') * 100 + (value[1] - '0') * 10 + value[2] - '0';
    }
    exchange->denied_header |= name_bytes == 18 && memcmp(name, "x-nullspend-denied", 18) == 0 &&
                               value_bytes == 1 && value[0] == '1';
    return 0;
}

static int
client_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes,
            size_t count, void *user)
{
    (void)session;
    (void)flags;
    (void)user;
    keep(&exchange_of(stream)->answer, bytes, count);
    return 0;
}

static int
client_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user)
{
    (void)session;
    (void)user;
    struct exchange *exchange = exchange_of(stream);
    if (exchange != NULL) {
        EXPECT(!exchange->closed, "stream %d closes twice", stream);
        exchange->closed = true;
        exchange->error = error;
    }
    return 0;
}

#define FIELD(name, value, flags)                                                                  \
    {                                                                                              \
        (uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, strlen(value), (flags)            \
    }

#define WISH "\"stream_options\":{\"include_usage\":true}"

static void
fill_body(struct exchange *exchange)
{
    static const char begin[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"";
    size_t text = one_in(3) ? below(300000) : below(2000);
    char end[128];
    static const char *const wishes[] = {"", ",\"stream_options\":{}",
                                         ",\"stream_options\":{\"include_usage\":false}"};
    int end_bytes =
        snprintf(end, sizeof end, "\"}],\"model\":\"gpt-4o\"%s%s}",
                 exchange->streamed ? ",\"stream\":true" : "",
                 exchange->wishes ? "," WISH : wishes[exchange->streamed ? below(3) : 0]);
    keep(&exchange->body, begin, sizeof begin - 1);
    for (size_t i = 0; i < text; i++) {
        char c = (char)('a' + i % 26);
        keep(&exchange->body, &c, 1);
    }
    keep(&exchange->body, end, (size_t)end_bytes);
}

static void
submit_request(void)
{
    struct exchange *exchange = &world.exchanges[world.count++];
    exchange->kind = one_in(4) ? (one_in(2) ? PLAIN_POST : PLAIN_GET) : CALL;
    exchange->streamed = one_in(2);
    exchange->wishes = exchange->streamed && one_in(2);
    char length[24];
    bool post = exchange->kind != PLAIN_GET;
    if (post) {
        fill_body(exchange);
        exchange->trailers = one_in(8);
    }
    snprintf(length, sizeof length, "%zu", ns_bytes_count(&exchange->body));
    uint8_t secret = one_in(2) ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE;
    nghttp2_nv fields[] = {
        FIELD(":method", post ? "POST" : "GET", NGHTTP2_NV_FLAG_NONE),
        FIELD(":scheme", "https", NGHTTP2_NV_FLAG_NONE),
        FIELD(":authority", "api.openai.com", NGHTTP2_NV_FLAG_NONE),
        FIELD(":path", exchange->kind == CALL ? "/v1/chat/completions" : "/v1/files",
              NGHTTP2_NV_FLAG_NONE),
        FIELD("authorization", "Bearer sk-0000000000000000000000001234", secret),
        FIELD("x-filler", world.count % 2 ? "one two three" : "four five six",
              NGHTTP2_NV_FLAG_NONE),
        FIELD("content-type", "application/json", NGHTTP2_NV_FLAG_NONE),
        FIELD("accept-encoding", "gzip", NGHTTP2_NV_FLAG_NONE),
        FIELD("content-length", length, NGHTTP2_NV_FLAG_NONE),
        FIELD("x-nullspend-customer", "acme", NGHTTP2_NV_FLAG_NONE),
    };
    size_t count = sizeof fields / sizeof fields[0];
    bool ours = one_in(4);
    count -= !ours;
    if (!post || one_in(2)) { /* without a length */
        fields[8] = fields[9];
        count -= count > 8;
    }
    nghttp2_data_provider provider = {.source = {.ptr = exchange}, .read_callback = read_body};
    exchange->stream =
        nghttp2_submit_request(world.client, NULL, fields, count, post ? &provider : NULL, NULL);
    EXPECT(exchange->stream > 0, "submit: %d", exchange->stream);
}

/* --- the server ----------------------------------------------------------------------------- */

static ssize_t
read_reply(nghttp2_session *session, int32_t stream, uint8_t *buffer, size_t room, uint32_t *flags,
           nghttp2_data_source *source, void *user)
{
    (void)user;
    struct exchange *exchange = exchange_of_body(source->ptr);
    ssize_t count = send_some(&exchange->reply, &exchange->replied, buffer, room, flags);
    if (exchange->replied == ns_bytes_count(&exchange->reply) && exchange->reply_trailers) {
        nghttp2_nv trailer = FIELD("x-sum", "def", NGHTTP2_NV_FLAG_NONE);
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(session, stream, &trailer, 1);
    }
    return count;
}

#define DONE "data: [DONE]\n\n"

static int
usage_event(char *text, size_t room, bool streamed)
{
    return snprintf(text, room,
                    "%s{\"model\":\"gpt-4o\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,"
                    "\"completion_tokens\":%d}}%s",
                    streamed ? "data: " : "", OUTPUT_TOKENS, streamed ? "\n\n" : "");
}

static void
fill_reply(struct exchange *exchange)
{
    char text[160];
    size_t events = exchange->streamed ? below(300) : 0;
    exchange->measured = one_in(4);
    exchange->reply_trailers = !exchange->measured && one_in(6);
    exchange->tells = !exchange->streamed || exchange->wishes ||
                      (ns_bytes_count(&exchange->received) > 0 &&
                       memmem(ns_bytes_front(&exchange->received),
                              ns_bytes_count(&exchange->received), WISH, sizeof WISH - 1) != NULL);
    for (size_t i = 0; i < events; i++) {
        int bytes = snprintf(text, sizeof text,
                             "data: {\"choices\":[{\"delta\":{\"content\":\"word %zu\"}}]}\n\n", i);
        keep(&exchange->reply, text, (size_t)bytes);
    }
    if (exchange->tells) {
        int bytes = usage_event(text, sizeof text, exchange->streamed);
        keep(&exchange->reply, text, (size_t)bytes);
    }
    if (exchange->streamed) {
        keep(&exchange->reply, DONE, sizeof DONE - 1);
    }
}

static void
reply(struct exchange *exchange)
{
    nghttp2_nv fields[] = {
        FIELD(":status", "200", NGHTTP2_NV_FLAG_NONE),
        FIELD("content-type", "application/json", NGHTTP2_NV_FLAG_NONE),
        FIELD("x-request-id", world.count % 3 ? "req_abc" : "req_def", NGHTTP2_NV_FLAG_NONE),
        {0},
    };
    if (ns_bytes_count(&exchange->reply) > 0) {
        return; /* it was answered early */
    }
    fill_reply(exchange);
    char length[24];
    snprintf(length, sizeof length, "%zu", ns_bytes_count(&exchange->reply));
    nghttp2_nv measure = FIELD("content-length", length, NGHTTP2_NV_FLAG_NONE);
    fields[3] = measure;
    if (one_in(6)) {
        nghttp2_nv hint = FIELD(":status", "103", NGHTTP2_NV_FLAG_NONE);
        nghttp2_submit_headers(world.server, NGHTTP2_FLAG_NONE, exchange->stream, NULL, &hint, 1,
                               NULL);
    }
    nghttp2_data_provider provider = {.source = {.ptr = exchange}, .read_callback = read_reply};
    nghttp2_submit_response(world.server, exchange->stream, fields, exchange->measured ? 4 : 3,
                            &provider);
}

static int
server_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
              size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
              void *user)
{
    (void)session;
    (void)flags;
    (void)user;
    struct exchange *exchange = exchange_of(frame->hd.stream_id);
    exchange->arrived = true;
    exchange->ours_leaked |= name_bytes > 12 && memcmp(name, "x-nullspend-", 12) == 0;
    if (name_bytes == 8 && memcmp(name, "x-filler", 8) == 0) {
        EXPECT(value_bytes == 13, "x-filler arrives as \"%.*s\"", (int)value_bytes, value);
    }
    exchange->arrived_trailers |= name_bytes == 5 && memcmp(name, "x-sum", 5) == 0;
    return 0;
}

static int
server_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *bytes,
            size_t count, void *user)
{
    (void)session;
    (void)flags;
    (void)user;
    keep(&exchange_of(stream)->received, bytes, count);
    return 0;
}

static int
server_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    struct exchange *exchange = exchange_of(frame->hd.stream_id);
    if (exchange == NULL) {
        return 0;
    }
    bool body = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (body && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        exchange->arrived_whole = true;
        reply(exchange);
    } else if (frame->hd.type == NGHTTP2_HEADERS && world.early_answers && one_in(4)) {
        if (one_in(2)) {
            exchange->refused = true;
            nghttp2_submit_rst_stream(session, 0, exchange->stream, NGHTTP2_REFUSED_STREAM);
        } else {
            reply(exchange);
        }
    } else if (frame->hd.type == NGHTTP2_RST_STREAM) {
        exchange->server_reset = true;
    }
    return 0;
}

/* What a call carries, as the library's own do. */
struct mark {
    struct ns_ticket ticket;
    struct exchange *exchange;
};

static void
free_call(struct ns_wire_call *call)
{
    ns_mem_free(call->user);
    ns_wire_call_free(call);
}

/* --- the connection between ----------------------------------------------------------------- */

static void
finish_ended(void)
{
    bool cut;
    for (;;) {
        struct ns_wire_call *call = ns_http2_take_ended(world.http2, &cut);
        if (call == NULL) {
            return;
        }
        const struct mark *mark = call->user;
        struct exchange *exchange = mark == NULL ? NULL : mark->exchange;
        if (exchange != NULL) {
            exchange->told++;
            EXPECT(mark->ticket.sent || cut || world.early_answers,
                   "stream %d was answered and not sent", exchange->stream);
            EXPECT(!mark->ticket.sent || !exchange->refused || exchange->reset,
                   "stream %d was refused and counts as sent", exchange->stream);
            EXPECT(cut || memory_fails || !exchange->tells ||
                       (call->response.has_usage && call->response.complete &&
                        call->response.usage.count[NS_METER_OUTPUT] == OUTPUT_TOKENS),
                   "stream %d ends without its usage", exchange->stream);
        }
        free_call(call);
    }
}

static void
rule(struct ns_http2_stream *stream)
{
    const uint8_t *head;
    size_t head_bytes;
    struct ns_wire_call *call = ns_http2_asking(stream, &head, &head_bytes);
    struct exchange *exchange = exchange_of((int32_t)stream->id);
    EXPECT(!exchange->ruled, "stream %u asks twice", stream->id);
    exchange->ruled = true;
    struct ns_wire_range range = call->request.credential_range;
    bool unjudged = ns_http2_unjudged(stream) != NS_WIRE_CLEAR;
    EXPECT(!unjudged || memory_fails, "stream %u cannot be judged", stream->id);
    EXPECT(unjudged || memcmp(head + range.offset, "sk-0000", 7) == 0,
           "the credential is where it is said");
    EXPECT(head_bytes > range.offset + range.bytes, "and within the head");
    bool whole = call->request.body_complete;
    exchange->whole = whole;
    EXPECT(!whole || memory_fails || strcmp(call->request.model, "gpt-4o") == 0, "model \"%s\"",
           call->request.model);
    if (!unjudged && below(100) >= world.deny_percent) {
        struct mark *mark = ns_mem_alloc(sizeof *mark);
        mark = mark == NULL ? ns_mem_alloc(sizeof *mark) : mark;
        mark->exchange = exchange;
        call->user = mark;
        ns_http2_allow(world.http2, stream);
        return;
    }
    exchange->denied = true;
    struct ns_wire_denial denial = {.message = "nullspend: spent",
                                    .denial_id = "01890a5d-ac96-774b-bcce-b302099a8057",
                                    .reason = "budget_exceeded",
                                    .entity = "customer:acme"};
    uint8_t text[4096];
    int status;
    int bytes = ns_wire_denial_write(&call->request, &denial, text, sizeof text, &status);
    ns_wire_call_free(ns_http2_deny(world.http2, stream, text, (size_t)bytes));
}

/* Before the program's next read, as the library does: what grew is told, and some of it cut. */
static void
look_at_growth(void)
{
    static struct ns_gate_verdict verdict = {.decision = NS_DECISION_DENY};
    snprintf(verdict.message, sizeof verdict.message, "nullspend: no more%0240d", 0);
    uint32_t stream;
    while (ns_http2_take_grown(world.http2, &stream) != NULL) {
        struct exchange *exchange = exchange_of((int32_t)stream);
        if (exchange->streamed && below(100) < world.cut_percent) {
            exchange->cut = true;
            ns_http2_cut(world.http2, stream, &verdict);
        }
    }
    finish_ended();
}

/* Moves a random piece of what waits in `from`, copied so that a byte read too far is found. */
static size_t
piece_of(const struct ns_bytes *from, uint8_t **copy)
{
    size_t all = ns_bytes_count(from);
    size_t count = one_in(3) ? 1 + below(all < 40 ? all : 40) : 1 + below(all);
    *copy = malloc(count);
    memcpy(*copy, ns_bytes_front(from), count);
    return count;
}

/* Without memory the connection fails, and the library makes the program's next read fail. */
static bool
broken(void)
{
    return ns_http2_has_failed(world.http2);
}

static void
take_due(void)
{
    struct ns_bytes *due = ns_http2_to_server(world.http2);
    if (broken()) {
        EXPECT(memory_fails, "the connection failed");
        return;
    }
    if (ns_bytes_count(due) > 0) {
        keep(&world.to_server, ns_bytes_front(due), ns_bytes_count(due));
    }
    ns_bytes_free(due);
    ns_http2_flushed(world.http2);
}

static bool
client_writes(void)
{
    const uint8_t *bytes;
    ssize_t count = nghttp2_session_mem_send(world.client, &bytes);
    EXPECT(count >= 0, "client sends: %s", nghttp2_strerror((int)count));
    if (count <= 0) {
        return false;
    }
    static struct ns_bytes written;
    keep(&written, bytes, (size_t)count);
    while (ns_bytes_count(&written) > 0 && !failed) {
        uint8_t *copy;
        size_t size = piece_of(&written, &copy);
        size_t done = 0;
        while (done < size) {
            struct ns_http2_stream *asks;
            done += ns_http2_write(world.http2, copy + done, size - done, one_in(2), &asks);
            if (asks != NULL) {
                rule(asks);
            }
        }
        free(copy);
        ns_bytes_take(&written, size);
        finish_ended();
        take_due();
    }
    ns_bytes_free(&written);
    return true;
}

static bool
server_reads(void)
{
    if (ns_bytes_count(&world.to_server) == 0) {
        return false;
    }
    uint8_t *copy;
    size_t size = piece_of(&world.to_server, &copy);
    ssize_t done = nghttp2_session_mem_recv(world.server, copy, size);
    EXPECT(done == (ssize_t)size, "server reads: %s", nghttp2_strerror((int)done));
    free(copy);
    ns_bytes_take(&world.to_server, size);
    return true;
}

static bool
server_writes(void)
{
    const uint8_t *bytes;
    ssize_t count = nghttp2_session_mem_send(world.server, &bytes);
    EXPECT(count >= 0, "server sends: %s", nghttp2_strerror((int)count));
    if (count > 0) {
        keep(&world.to_client, bytes, (size_t)count);
    }
    return count > 0;
}

static void
take_to_program(void)
{
    struct ns_bytes *due = ns_http2_to_program(world.http2);
    if (broken()) {
        return;
    }
    if (ns_bytes_count(due) > 0) {
        keep(&world.in, ns_bytes_front(due), ns_bytes_count(due));
    }
    ns_bytes_free(due);
}

static void
client_takes(void)
{
    size_t count = ns_bytes_count(&world.in);
    ssize_t read = nghttp2_session_mem_recv(world.client, ns_bytes_front(&world.in), count);
    EXPECT(read == (ssize_t)count, "client reads: %s", nghttp2_strerror((int)read));
    ns_bytes_take(&world.in, count);
}

/* As an event loop does: the program reads because something arrived, and all that there is. What
 * became due by that leaves with its next write, for which it is nudged, or before its next read.
 */
static bool
client_reads(void)
{
    if (ns_bytes_count(&world.to_client) == 0) {
        return false;
    }
    take_due();
    look_at_growth();
    take_to_program();
    uint8_t *copy;
    size_t size = piece_of(&world.to_client, &copy);
    for (size_t done = 0; done < size;) {
        bool pass;
        size_t used = ns_http2_read(world.http2, copy + done, size - done, &pass);
        if (pass && used > 0) {
            keep(&world.in, copy + done, used);
        }
        done += used;
        take_to_program();
    }
    free(copy);
    ns_bytes_take(&world.to_client, size);
    finish_ended();
    if (one_in(2)) {
        ns_http2_nudge(world.http2);
        take_to_program();
    } else {
        take_due();
    }
    client_takes();
    return true;
}

/* --- a run ---------------------------------------------------------------------------------- */

static void
open_session(nghttp2_session **session, bool client, uint32_t streams, uint32_t window)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_select_padding_callback(callbacks, select_padding);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid);
    nghttp2_session_callbacks_set_error_callback2(callbacks, on_error);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_session_callbacks_set_on_header_callback(callbacks,
                                                     client ? client_header : server_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks,
                                                              client ? client_data : server_data);
    if (client) {
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, client_close);
        nghttp2_session_client_new(session, callbacks, NULL);
    } else {
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, server_frame);
        nghttp2_session_server_new(session, callbacks, NULL);
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams},
        {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, one_in(3) ? (uint32_t)below(200) : 4096},
    };
    nghttp2_submit_settings(*session, 0, settings, 3);
    if (one_in(2)) {
        nghttp2_session_set_local_window_size(*session, 0, 0, (int32_t)(65535 + below(100000)));
    }
}

static uint32_t
some_window(void)
{
    return one_in(3)   ? 100 + (uint32_t)below(3000)
           : one_in(3) ? NS_HTTP2_FILTER_WINDOW_BYTES_MIN + (uint32_t)below(3000)
                       : NS_HTTP2_WINDOW_BYTES;
}

/* libnghttp2 resets streams that filled the window that it had before its own SETTINGS made it
 * smaller, whoever the client is. */
static bool
may_submit(void)
{
    return nghttp2_session_get_remote_settings(
               world.client, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE) == world.server_window;
}

static void
open_world(void)
{
    memset(&world, 0, sizeof world);
    static struct ns_wire_hosts hosts;
    uint64_t body_bytes_max = one_in(3) ? 1000 + below(100000) : 16 << 20;
    world.asks_usage = one_in(2);
    world.cut_percent = one_in(2) ? 0 : (unsigned)below(20);
    world.http2 = ns_http2_new(&hosts, "api.openai.com", body_bytes_max, world.asks_usage);
    ns_http2_read_by_record(world.http2, one_in(4));
    world.server_window = some_window();
    world.client_window = some_window();
    open_session(&world.client, true, 100, world.client_window);
    open_session(&world.server, false, 1 + (uint32_t)below(20), world.server_window);
    world.deny_percent = one_in(4) ? 0 : (unsigned)below(101);
    world.early_answers = one_in(4);
}

static void
close_world(void)
{
    for (struct ns_wire_call *call; (call = ns_http2_take(world.http2)) != NULL;) {
        free_call(call);
    }
    ns_http2_free(world.http2);
    nghttp2_session_del(world.client);
    nghttp2_session_del(world.server);
    for (size_t i = 0; i < world.count; i++) {
        ns_bytes_free(&world.exchanges[i].body);
        ns_bytes_free(&world.exchanges[i].answer);
        ns_bytes_free(&world.exchanges[i].received);
        ns_bytes_free(&world.exchanges[i].reply);
    }
    ns_bytes_free(&world.to_server);
    ns_bytes_free(&world.to_client);
    ns_bytes_free(&world.in);
}

static bool
same(const struct ns_bytes *a, const struct ns_bytes *b)
{
    return ns_bytes_count(a) == ns_bytes_count(b) &&
           (ns_bytes_count(a) == 0 ||
            memcmp(ns_bytes_front(a), ns_bytes_front(b), ns_bytes_count(a)) == 0);
}

/* Was the request made to ask for its usage? Only one that was judged whole can be, and only where
 * the program has room. */
static bool
is_asked(const struct exchange *exchange)
{
    return world.asks_usage && exchange->kind == CALL && exchange->streamed && !exchange->wishes &&
           exchange->whole && world.client_window >= NS_HTTP2_FILTER_WINDOW_BYTES_MIN;
}

/* The body as it arrived is the program's, but for the wish. */
static bool
asks(const struct exchange *exchange)
{
    const uint8_t *body = ns_bytes_front(&exchange->body);
    const uint8_t *received = ns_bytes_front(&exchange->received);
    size_t body_bytes = ns_bytes_count(&exchange->body);
    size_t bytes = ns_bytes_count(&exchange->received);
    const uint8_t *wish = bytes == 0 ? NULL : memmem(received, bytes, WISH, sizeof WISH - 1);
    if (wish == NULL) {
        return false;
    }
    size_t before = (size_t)(wish - received);
    size_t after = bytes - before - (sizeof WISH - 1);
    return before + after <= body_bytes + 1 && memcmp(body, received, before - 1) == 0 &&
           memcmp(body + body_bytes - after + 1, received + bytes - after + 1, after - 1) == 0;
}

/* What the program is to read of an answer that was not cut. */
static void
expect_answer(const struct exchange *exchange, bool asked, struct ns_bytes *expected)
{
    char usage[160];
    size_t all = ns_bytes_count(&exchange->reply);
    size_t usage_bytes = (size_t)usage_event(usage, sizeof usage, true);
    size_t kept = asked ? all - usage_bytes - (sizeof DONE - 1) : all;
    keep(expected, ns_bytes_front(&exchange->reply), kept);
    for (size_t i = 0; asked && exchange->measured && i < usage_bytes; i++) {
        keep(expected, i == 0 ? ":" : i + 2 < usage_bytes ? " " : "\n", 1);
    }
    if (asked) {
        keep(expected, DONE, sizeof DONE - 1);
    }
}

static void
check_answer(const struct exchange *exchange, bool asked)
{
    static const char words[] = "\ndata: {\"error\":{\"message\":\"nullspend: no more";
    struct ns_bytes expected = {0};
    expect_answer(exchange, asked, &expected);
    const uint8_t *answer = ns_bytes_front(&exchange->answer);
    size_t bytes = ns_bytes_count(&exchange->answer);
    const uint8_t *end = bytes == 0 ? NULL : memmem(answer, bytes, words, sizeof words - 1);
    /* The server's trailers may leave no time for words. */
    bool wordless =
        exchange->error != 0 || (exchange->reply_trailers && bytes < ns_bytes_count(&expected));
    bool cut = exchange->cut && (end != NULL || wordless);
    if (!cut) {
        EXPECT(same(&expected, &exchange->answer), "stream %d: the answer changed",
               exchange->stream);
    } else {
        size_t had = end == NULL ? bytes : (size_t)(end - answer);
        EXPECT(had <= ns_bytes_count(&expected) &&
                   (had == 0 || memcmp(answer, ns_bytes_front(&expected), had) == 0),
               "stream %d: the answer changed before it was cut", exchange->stream);
        EXPECT(end == NULL || had == 0 || memcmp(answer + had - 2, "\n\n", 2) == 0,
               "stream %d is cut within an event", exchange->stream);
        EXPECT(exchange->server_reset, "stream %d was cut and not reset", exchange->stream);
    }
    ns_bytes_free(&expected);
}

static void
check_exchange(const struct exchange *exchange)
{
    int32_t id = exchange->stream;
    EXPECT(exchange->closed,
           "stream %d (kind %d) hangs: ruled %d, denied %d, reset %d, refused %d, arrived %d %d, "
           "%zu of %zu sent, %zu received, status %d",
           id, exchange->kind, exchange->ruled, exchange->denied, exchange->reset,
           exchange->refused, exchange->arrived, exchange->arrived_whole, exchange->sent,
           ns_bytes_count(&exchange->body), ns_bytes_count(&exchange->received), exchange->status);
    EXPECT(!exchange->ours_leaked, "stream %d: X-NullSpend-* left", id);
    if (exchange->denied) {
        EXPECT(ns_bytes_count(&exchange->received) == 0, "stream %d was denied and left", id);
        EXPECT(!exchange->arrived_whole, "stream %d was denied and has an end", id);
    }
    if (exchange->reset || exchange->refused || world.early_answers) {
        return;
    }
    if (exchange->denied) {
        EXPECT(exchange->status == 402 && exchange->denied_header, "stream %d reads %d", id,
               exchange->status);
        EXPECT(ns_bytes_count(&exchange->answer) > 0 &&
                   memmem(ns_bytes_front(&exchange->answer), ns_bytes_count(&exchange->answer),
                          "nullspend: spent", 16) != NULL,
               "stream %d reads no words", id);
        EXPECT(exchange->server_reset, "stream %d was denied and not reset", id);
        return;
    }
    EXPECT(exchange->status == 200 &&
               (exchange->error == 0 || (exchange->cut && exchange->measured)),
           "stream %d reads %d, error %u", id, exchange->status, exchange->error);
    EXPECT(exchange->kind != CALL || exchange->ruled, "stream %d was not judged", id);
    EXPECT(exchange->kind != CALL || exchange->told == 1, "stream %d is told %d times", id,
           exchange->told);
    bool asked = is_asked(exchange);
    EXPECT(asked ? asks(exchange) : same(&exchange->body, &exchange->received),
           "stream %d: the body changed", id);
    check_answer(exchange, asked);
    EXPECT(exchange->trailers == exchange->arrived_trailers, "stream %d: trailers", id);
}

/* What both ends believe of their windows is what the accounts say. */
static void
check_accounts(void)
{
    const struct ns_http2 *http2 = world.http2;
    take_to_program(); /* what waits for the program's next read */
    client_takes();
    int32_t client_sends = nghttp2_session_get_remote_window_size(world.client);
    EXPECT(http2->pending == 0, "%" PRId64 " bytes wait for ever", http2->pending);
    EXPECT(client_sends == http2->send_window + http2->advance,
           "the client may send %d, the accounts say %" PRId64 " + %" PRId64, client_sends,
           http2->send_window, http2->advance);
    int32_t server_sends = nghttp2_session_get_remote_window_size(world.server);
    int32_t client_takes = nghttp2_session_get_local_window_size(world.client);
    EXPECT(client_takes == server_sends + http2->reserve,
           "the client takes %d, the server may send %d, the reserve is %" PRId64, client_takes,
           server_sends, http2->reserve);
    for (uint32_t i = 0; i < http2->stream_count; i++) {
        const struct ns_http2_stream *stream = http2->streams[i];
        EXPECT(false,
               "stream %u is kept: withheld %d, dropped %d, due %d, answered %d, ended %d %d, "
               "closed %d, call %d",
               stream->id, stream->withheld, stream->dropped, stream->due, stream->answered,
               stream->ended, stream->end_sent, stream->closed, stream->call != NULL);
    }
    EXPECT(http2->over_count == 0 && http2->released_count == 0, "counts");
    EXPECT(!ns_http2_is_opaque(http2), "opaque");
}

/* Until nothing moves any more. */
static void
play(void)
{
    size_t wanted = 1 + below(REQUESTS_MAX);
    bool quiet = false;
    for (int turn = 0; turn < 2000000 && !failed && !quiet && !broken(); turn++) {
        if (world.count < wanted && one_in(10) && may_submit()) {
            submit_request();
        }
        if (world.count > 0 && one_in(400) && world.count < wanted) {
            struct exchange *exchange = &world.exchanges[below(world.count)];
            if (exchange->arrived && !exchange->closed) {
                exchange->reset = true;
                nghttp2_submit_rst_stream(world.client, 0, exchange->stream, NGHTTP2_CANCEL);
            }
        }
        if (one_in(300)) {
            nghttp2_submit_ping(one_in(2) ? world.client : world.server, 0,
                                (const uint8_t *)"01234567");
        }
        switch (below(4)) {
        case 0:
            client_writes();
            break;
        case 1:
            server_reads();
            break;
        case 2:
            server_writes();
            break;
        default:
            client_reads();
            break;
        }
        if (world.count == wanted && one_in(50)) {
            quiet = !client_writes() && !server_reads() && !server_writes() && !client_reads();
        }
    }
    EXPECT(quiet || broken(), "it never comes to rest");
}

static void
run(void)
{
    failed = false;
    state = seed;
    open_world();
    play();
    for (size_t i = 0; i < world.count; i++) {
        check_exchange(&world.exchanges[i]);
    }
    check_accounts();
    close_world();
}

TEST(streams_are_judged_one_by_one_and_both_ends_stay_in_step)
{
    const char *first = getenv("NS_SEED");
    const char *runs = getenv("NS_SIMULATION_RUNS");
    uint64_t begin = first ? strtoull(first, NULL, 10) : 1;
    uint64_t count = runs ? strtoull(runs, NULL, 10) : 300;
    for (seed = begin; seed < begin + count && !failed; seed++) {
        run();
    }
}

/* Every allocation fails once: the connection ends or goes on, but nothing that was denied leaves,
 * and nothing is left behind. */
TEST(memory_may_fail_at_any_place)
{
    memory_fails = true;
    for (seed = 1; seed <= 8; seed++) {
        failed = false;
        state = seed;
        open_world();
        (void)ns_mem_fail_at(0);
        play();
        size_t allocations = ns_mem_fail_at(0);
        close_world();
        size_t step = 1 + allocations / 60; /* each in some run */
        for (size_t at = 1 + seed % step; at <= allocations && !failed; at += step) {
            state = seed;
            open_world();
            (void)ns_mem_fail_at(at);
            play();
            (void)ns_mem_fail_at(0);
            for (size_t i = 0; i < world.count; i++) {
                const struct exchange *exchange = &world.exchanges[i];
                EXPECT(!exchange->denied || ns_bytes_count(&exchange->received) == 0,
                       "stream %d was denied and left", exchange->stream);
                EXPECT(!exchange->ours_leaked, "stream %d: ours left", exchange->stream);
            }
            close_world();
        }
    }
    memory_fails = false;
}
