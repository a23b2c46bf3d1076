/* SPDX-License-Identifier: Apache-2.0 */
/* Streams that are cut behind an event: where, in which framing, with which words. */
#include <errno.h>

#include "base/mem.h"
#include "tests/harness.h"
#include "wire/http1.h"
#include "wire/wire.h"

#define CHAT                                                                                       \
    "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 30\r\n\r\n"     \
    "{\"model\":\"m\",\"stream\":true}   "
#define ARRAY                                                                                      \
    "POST /v1beta/models/m:streamGenerateContent HTTP/1.1\r\n"                                     \
    "Host: generativelanguage.googleapis.com\r\nContent-Length: 15\r\n\r\n{\"contents\":[]}"
#define ONE "data: {\"choices\":[{\"delta\":{\"content\":\"one\"}}]}\n\n"
#define TWO "data: {\"choices\":[{\"delta\":{\"content\":\"two\"}}]}\r\n\r\n"
#define END "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
#define ERROR_TEXT "\ndata: no\n\n" /* as all ends of streams, it completes a CRLF */

static struct ns_wire *
asked(const char *request)
{
    struct ns_wire *wire = ns_wire_new(NULL, NULL);
    struct ns_wire_written written = {.class = NS_WIRE_WITHHOLD};
    CHECK(wire != NULL);
    CHECK_INT(ns_wire_write(wire, (const uint8_t *)request, strlen(request), 4096, &written),
              strlen(request));
    CHECK_INT(written.class, NS_WIRE_CALL);
    return wire;
}

/* Reads the answer in pieces of so many bytes, stopping from the byte `from` on, up to the first
 * boundary; returns the bytes read, and whether there was one. What was read is in out. */
static bool
read_to_boundary(struct ns_wire *wire, const char *text, size_t from, size_t piece,
                 struct ns_bytes *out)
{
    size_t at = 0;
    size_t bytes = strlen(text);
    while (at < bytes) {
        size_t end = at + piece < bytes ? at + piece : bytes;
        end = at < from && end > from ? from : end;
        if (at == from) {
            ns_wire_stop(wire);
        }
        while (at < end) {
            struct ns_wire_read read;
            size_t used = ns_wire_read(wire, (const uint8_t *)text + at, end - at, &read);
            CHECK(ns_bytes_append(out, text + at, used));
            at += used;
            if (read.event == NS_WIRE_READ_BOUNDARY) {
                CHECK(at >= from);
                return true;
            }
            if (read.event == NS_WIRE_READ_END) {
                ns_wire_call_free(read.call);
            }
        }
    }
    return false;
}

/* The body that a program's parser makes of an answer, which must be whole. */
static void
body_of(const struct ns_bytes *answer, char *body, size_t room)
{
    struct ns_http1 *parser = ns_http1_new(NS_HTTP1_RESPONSES);
    struct ns_http1_input input;
    const uint8_t *at = ns_bytes_front(answer);
    size_t left = ns_bytes_count(answer);
    size_t used = 0;
    REQUIRE(at != NULL && parser != NULL);
    do {
        size_t n = ns_http1_feed(parser, at, left, &input);
        at += n;
        left -= n;
        if (input.event == NS_HTTP1_BODY) {
            REQUIRE(used + input.body_bytes < room);
            memcpy(body + used, input.body, input.body_bytes);
            used += input.body_bytes;
        }
    } while (input.event != NS_HTTP1_END && input.event != NS_HTTP1_ERROR &&
             (left > 0 || input.event != NS_HTTP1_MORE));
    bool whole = input.event == NS_HTTP1_END || ns_http1_close(parser) == NS_HTTP1_END;
    CHECK(whole);
    CHECK_INT(left, 0);
    body[used] = '\0';
    ns_http1_free(parser);
}

static bool
has_error(const struct ns_bytes *answer)
{
    return memmem(ns_bytes_front(answer), ns_bytes_count(answer), ERROR_TEXT, strlen(ERROR_TEXT)) !=
           NULL;
}

static const char events_text[] = ONE TWO ONE TWO ONE;

/* An answer whose body of events comes in chunks of so many bytes, or (0) with its length, or
 * (SIZE_MAX) until close. */
static void
answer_of(size_t chunk, char *text, size_t room)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
    if (chunk == 0) {
        snprintf(text, room, "%sContent-Length: %zu\r\n\r\n%s", head, strlen(events_text),
                 events_text);
        return;
    }
    if (chunk == SIZE_MAX) {
        snprintf(text, room, "%s\r\n%s", head, events_text);
        return;
    }
    int used = snprintf(text, room, "%sTransfer-Encoding: chunked\r\n\r\n", head);
    for (size_t at = 0; at < strlen(events_text); at += chunk) {
        size_t n = strnlen(events_text + at, chunk);
        used += snprintf(text + used, room - (size_t)used, "%zx\r\n%.*s\r\n", n, (int)n,
                         events_text + at);
    }
    (void)snprintf(text + used, room - (size_t)used, "0\r\n\r\n");
}

/* Whole events, the error, and line feeds at most. */
static void
check_cut(const char *body, size_t from, size_t chunk)
{
    const char *error = strstr(body, ERROR_TEXT);
    if (error == NULL) {
        NS_FAIL("chunks of %zu, from %zu: no error in %s", chunk, from, body);
        return;
    }
    size_t events = (size_t)(error - body);
    bool whole = events == 0 || strncmp(error - 2, "\n\n", 2) == 0 ||
                 (events >= 3 && strncmp(error - 3, "\r\n\r", 3) == 0) ||
                 (events >= 4 && strncmp(error - 4, "\r\n\r\n", 4) == 0);
    if (!whole || memcmp(body, events_text, events) != 0 ||
        strspn(error + strlen(ERROR_TEXT), "\n") != strlen(error + strlen(ERROR_TEXT))) {
        NS_FAIL("chunks of %zu, from %zu: %s", chunk, from, body);
    }
}

TEST(a_stream_is_cut_behind_the_next_event_in_every_framing_wherever_it_is_wanted)
{
    static const size_t chunks[] = {0, 1, 7, 50, sizeof ONE - 1, 60, 4096, SIZE_MAX};
    for (size_t c = 0; c < sizeof chunks / sizeof chunks[0]; c++) {
        char text[8192];
        answer_of(chunks[c], text, sizeof text);
        size_t head = (size_t)(strstr(text, "\r\n\r\n") - text) + 4;
        for (size_t from = 0; from < strlen(text); from++) {
            for (size_t piece = 1; piece < 8192; piece *= 90) {
                struct ns_wire *wire = asked(CHAT);
                struct ns_bytes out = {0};
                char body[4096];
                bool found = read_to_boundary(wire, text, from, piece, &out);
                /* The last event may have passed before it was wanted. */
                if (!found && from < head) {
                    NS_FAIL("chunks of %zu, from %zu: no boundary", chunks[c], from);
                }
                if (found) {
                    CHECK(ns_wire_cut(wire, ERROR_TEXT, strlen(ERROR_TEXT), &out) ||
                          chunks[c] == 0);
                    if (chunks[c] != 0 || has_error(&out)) {
                        body_of(&out, body, sizeof body);
                        check_cut(body, from, chunks[c]);
                    }
                }
                ns_bytes_free(&out);
                ns_wire_free(wire);
            }
        }
    }
}

TEST(where_nothing_of_an_event_has_come_it_can_be_cut_at_once)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    static const struct {
        const char *text;
        enum ns_wire_cut where;
    } cases[] = {
        {"", NS_WIRE_CUT_LATER},
        {"31\r\n" ONE, NS_WIRE_CUT_NOW},
        {"31\r\n" ONE "\r", NS_WIRE_CUT_NOW},
        {"31\r\n" ONE "\r\n", NS_WIRE_CUT_NOW},
        {"31\r\n" ONE "\r\n3", NS_WIRE_CUT_LATER},
        {"99\r\n" ONE, NS_WIRE_CUT_NOW},
        {"99\r\n" ONE "d", NS_WIRE_CUT_LATER},
        {"99\r\n" ONE ":", NS_WIRE_CUT_LATER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ns_wire *wire = asked(CHAT);
        struct ns_bytes out = {0};
        char text[1024];
        char body[1024];
        snprintf(text, sizeof text, "%s%s", head, cases[i].text);
        CHECK(!read_to_boundary(wire, text, SIZE_MAX, 4096, &out));
        if (ns_wire_may_cut(wire) != cases[i].where) {
            NS_FAIL("\"%s\": %d", cases[i].text, ns_wire_may_cut(wire));
        }
        if (cases[i].where == NS_WIRE_CUT_NOW) {
            CHECK(ns_wire_cut(wire, ERROR_TEXT, strlen(ERROR_TEXT), &out));
            body_of(&out, body, sizeof body);
            CHECK(strncmp(body, ONE ERROR_TEXT, strlen(ONE ERROR_TEXT)) == 0);
        }
        ns_bytes_free(&out);
        ns_wire_free(wire);
    }
}

TEST(what_cannot_be_cut_is_known)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 99\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"a\":",
        "nonsense\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct ns_wire *wire = asked(CHAT);
        struct ns_bytes out = {0};
        CHECK(!read_to_boundary(wire, answers[i], 0, 4096, &out));
        CHECK_INT(ns_wire_may_cut(wire), NS_WIRE_CUT_NEVER);
        ns_bytes_free(&out);
        ns_wire_free(wire);
    }
}

TEST(a_stream_of_which_all_is_there_is_not_cut)
{
    char text[1024];
    snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(ONE END),
             ONE END);
    size_t behind = (size_t)(strstr(text, END) - text);
    for (size_t from = behind; from < strlen(text); from++) {
        struct ns_wire *wire = asked(CHAT);
        struct ns_bytes out = {0};
        CHECK(!read_to_boundary(wire, text, from, 1, &out));
        CHECK_INT(ns_wire_outstanding(wire), 0);
        ns_bytes_free(&out);
        ns_wire_free(wire);
    }
}

TEST(an_array_is_cut_behind_an_element_and_stays_one)
{
    static const char elements[] = "[{\"candidates\":[{\"a\":[{}]}]}\r\n,\r\n{\"b\":{}}]";
    char text[1024];
    snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n%s",
             strlen(elements), elements);
    for (size_t piece = 1; piece < 200; piece += 7) {
        struct ns_wire *wire = asked(ARRAY);
        struct ns_bytes out = {0};
        char body[1024];
        CHECK(read_to_boundary(wire, text, 0, piece, &out));
        CHECK(ns_wire_cut(wire, ",{}]", 4, &out));
        body_of(&out, body, sizeof body);
        CHECK(strncmp(body, "[{\"candidates\":[{\"a\":[{}]}]},{}]", 31) == 0);
        CHECK(strspn(body + 32, "\n") == strlen(body + 32));
        ns_bytes_free(&out);
        ns_wire_free(wire);
    }
}

TEST(too_much_that_is_owed_is_not_filled)
{
    for (int past = 0; past <= 1; past++) {
        char text[1024];
        struct ns_wire *wire = asked(CHAT);
        struct ns_bytes out = {0};
        snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
                 strlen(ONE ERROR_TEXT) + NS_CUT_PADDING_BYTES_MAX + (size_t)past, ONE);
        CHECK(read_to_boundary(wire, text, 0, 4096, &out));
        size_t before = ns_bytes_count(&out);
        CHECK_INT(ns_wire_cut(wire, ERROR_TEXT, strlen(ERROR_TEXT), &out), !past);
        CHECK_INT(ns_bytes_count(&out) - before,
                  past ? 0 : strlen(ERROR_TEXT) + NS_CUT_PADDING_BYTES_MAX);
        ns_bytes_free(&out);
        ns_wire_free(wire);
    }
}

TEST(each_family_ends_a_stream_with_its_own_error)
{
    static const struct {
        const char *family, *provider, *operation;
        bool array;
        const char *text;
    } cases[] = {
        {"openai", "openai", "chat", false,
         "\ndata: {\"error\":{\"message\":\"a \\\"b\\\"\",\"type\":\"insufficient_quota\","
         "\"param\":null,\"code\":\"project_spend_limit_exceeded\"}}\n\ndata: [DONE]\n\n"},
        {"openai", "openrouter", "completions", false,
         "\ndata: {\"error\":{\"code\":402,\"message\":\"a \\\"b\\\"\"}}\n\ndata: [DONE]\n\n"},
        {"openai", "openai", "responses", false,
         "\nevent: error\ndata: {\"type\":\"error\",\"code\":\"insufficient_quota\","
         "\"message\":\"a \\\"b\\\"\",\"param\":null,\"sequence_number\":7}\n\n"},
        {"anthropic", "anthropic", "messages", false,
         "\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"billing_error\","
         "\"message\":\"a \\\"b\\\"\"},\"request_id\":\"req_id\"}\n\n"},
        {"gemini", "gemini", "generate_content", false,
         "\r\ndata: {\"error\":{\"code\":403,\"message\":\"a \\\"b\\\"\",\"status\":"
         "\"PERMISSION_DENIED\",\"details\":[{\"@type\":\"type.googleapis.com/"
         "google.rpc.ErrorInfo\","
         "\"reason\":\"BUDGET_EXHAUSTED\",\"domain\":\"nullspend\"}]}}\r\n\r\n"},
        {"gemini", "gemini", "generate_content", true,
         ",\r\n{\"error\":{\"code\":403,\"message\":\"a \\\"b\\\"\",\"status\":"
         "\"PERMISSION_DENIED\",\"details\":[{\"@type\":\"type.googleapis.com/"
         "google.rpc.ErrorInfo\","
         "\"reason\":\"BUDGET_EXHAUSTED\",\"domain\":\"nullspend\"}]}}\r\n]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ns_wire_call call = {.request = {.family = cases[i].family,
                                                .provider = cases[i].provider,
                                                .operation = cases[i].operation,
                                                .array = cases[i].array},
                                    .response = {.events = 7}};
        struct ns_wire_denial denial = {
            .message = "a \"b\"", .denial_id = "id", .reason = "budget_exceeded", .entity = "org"};
        char text[1024];
        int bytes = ns_wire_cut_write(&call, &denial, text, sizeof text);
        CHECK_INT(bytes, strlen(cases[i].text));
        text[bytes > 0 ? bytes : 0] = '\0';
        CHECK_STR(text, cases[i].text);
        CHECK_INT(ns_wire_cut_write(&call, &denial, text, strlen(cases[i].text) - 1), -ENOSPC);
    }
}
