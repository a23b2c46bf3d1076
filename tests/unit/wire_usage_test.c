/* SPDX-License-Identifier: Apache-2.0 */
/* Asking a stream for its usage, and taking the chunk that tells it out of the answer again. */
#include <dirent.h>
#include <sys/stat.h>

#include "tests/unit/splits.h"
#include "wire/http1.h"
#include "wire/http1_filter.h"
#include "wire/usage_filter.h"
#include "wire/wire.h"

#define MESSAGES "\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"{}\\\"}\"}]"
#define ASKED "\"stream_options\":{\"include_usage\":true}"

/* --- requests ------------------------------------------------------------------------------- */

struct asking {
    const char *head; /* lines behind the request line */
    bool chunked;
    size_t chunk_bytes;
    const char *target;
};

static const struct asking plain = {"Host: api.openai.com\r\n", false, 0, "/v1/chat/completions"};

static size_t
request_of(const struct asking *asking, const char *body, char *text, size_t room)
{
    int used = snprintf(text, room, "POST %s HTTP/1.1\r\n%s", asking->target, asking->head);
    if (!asking->chunked) {
        used += snprintf(text + used, room - (size_t)used, "Content-Length: %zu\r\n\r\n%s",
                         strlen(body), body);
        return (size_t)used;
    }
    used += snprintf(text + used, room - (size_t)used, "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < strlen(body); at += asking->chunk_bytes) {
        size_t n = strnlen(body + at, asking->chunk_bytes);
        used +=
            snprintf(text + used, room - (size_t)used, "%zX;a=b\r\n%.*s\r\n", n, (int)n, body + at);
    }
    used += snprintf(text + used, room - (size_t)used, "0\r\nTrailer-X: y\r\n\r\n");
    return (size_t)used;
}

/* Writes a request in pieces, asks, and traces what leaves. */
static void
ask(const void *context, struct pieces *pieces, struct trace *trace)
{
    (void)context;
    struct ns_wire_hosts hosts = {.count = 0};
    size_t bad;
    REQUIRE(ns_wire_hosts_parse(&hosts, "llm.example.org=openai", &bad) == 0);
    struct ns_wire *wire = ns_wire_new(&hosts, NULL);
    struct ns_bytes held = {0};
    const uint8_t *bytes;
    size_t count;
    while (next_piece(pieces, &bytes, &count)) {
        while (count > 0) {
            struct ns_wire_written written;
            size_t used = ns_wire_write(wire, bytes, count, 1 << 20, &written);
            (void)ns_bytes_append(&held, bytes, used);
            bytes += used;
            count -= used;
            if (written.class == NS_WIRE_CALL) {
                int result = ns_wire_ask_usage(wire, written.call, &held);
                CHECK_INT(written.call->request.usage_injected, result == 0);
                trace_event(trace, result == 0 ? "" : "-");
            }
        }
    }
    const uint8_t *front = ns_bytes_front(&held);
    REQUIRE(front != NULL);
    trace_data(trace, '=', front, ns_bytes_count(&held));
    ns_bytes_free(&held);
    ns_wire_free(wire);
}

/* What leaves in place of this body; wanted NULL: the request stays as it is. */
static void
expect_body(const struct asking *asking, const char *body, const char *wanted)
{
    char text[4096];
    char expected[4096];
    struct trace trace;
    size_t bytes = request_of(asking, body, text, sizeof text);
    check_splits(ask, NULL, text, bytes, &trace);
    if (wanted != NULL && !asking->chunked) {
        (void)request_of(asking, wanted, expected, sizeof expected);
    }
    const char *left = trace.bytes;
    if (wanted == NULL) {
        CHECK_INT(left[0], '-');
        CHECK_STR(left + 3, text);
    } else if (!asking->chunked) {
        CHECK_STR(left + 2, expected);
    }
    trace_clear(&trace);
}

TEST(the_member_is_put_at_the_end_of_the_object)
{
    expect_body(&plain, "{" MESSAGES ",\"stream\":true}",
                "{" MESSAGES ",\"stream\":true," ASKED "}");
    expect_body(&plain, "{\"stream\" : true , " MESSAGES " \n} \n",
                "{\"stream\" : true , " MESSAGES " \n," ASKED "} \n");
}

TEST(stream_options_that_are_there_are_completed)
{
    expect_body(&plain, "{\"stream\":true,\"stream_options\":{}," MESSAGES "}",
                "{\"stream\":true,\"stream_options\":{\"include_usage\":true}," MESSAGES "}");
    expect_body(&plain, "{\"stream\":true,\"stream_options\": null ," MESSAGES "}",
                "{\"stream\":true,\"stream_options\": {\"include_usage\":true} ," MESSAGES "}");
    expect_body(&plain,
                "{\"stream_options\":{\"include_obfuscation\":false},\"stream\":true," MESSAGES "}",
                "{\"stream_options\":{\"include_obfuscation\":false,\"include_usage\":true},"
                "\"stream\":true," MESSAGES "}");
    expect_body(&plain,
                "{\"stream\":true,\"stream_options\":{\"include_usage\": false }," MESSAGES "}",
                "{\"stream\":true,\"stream_options\":{\"include_usage\": true }," MESSAGES "}");
    expect_body(&plain, "{\"stream\":true,\"stream\\u005foptions\":{\"include_usage\":null}}",
                "{\"stream\":true,\"stream\\u005foptions\":{\"include_usage\":true}}");
}

TEST(what_asks_already_or_cannot_be_edited_safely_stays)
{
    static const char *const bodies[] = {
        "{\"stream\":true," ASKED "," MESSAGES "}",
        "{\"stream\":false," MESSAGES "}",
        "{" MESSAGES "}",
        "{\"stream\":true,\"stream_options\":{},\"stream_options\":{}}",
        "{\"stream\":true,\"stream_options\":{\"include_usage\":false,\"include_usage\":false}}",
        "{\"stream\":true,\"stream_options\":{\"include_usage\":\"yes\"}}",
        "{\"stream\":true,\"stream_options\":{\"include_usage\":{}}}",
        "{\"stream\":true,\"stream_options\":[]}",
        "{\"stream\":true,\"data_sources\":[]}",
        "{\"stream\":true}{\"stream\":true}",
        "[{\"stream\":true}]",
        "{\"stream\":true",
        "{\"stream\":true,}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        expect_body(&plain, bodies[i], NULL);
    }
}

TEST(an_option_of_a_message_is_none_of_the_request)
{
    expect_body(&plain,
                "{\"stream\":true,\"messages\":[{\"stream_options\":{\"include_usage\":true}}]}",
                "{\"stream\":true,\"messages\":[{\"stream_options\":{\"include_usage\":true}}],"
                "\"stream_options\":{\"include_usage\":true}}");
}

static const char body_text[] = "{\"stream\":true," MESSAGES "}";

TEST(only_whoever_takes_the_option_is_asked)
{
    static const struct {
        const char *head, *target;
        bool asked;
    } cases[] = {
        {"Host: api.openai.com\r\n", "/v1/chat/completions", true},
        {"Host: api.openai.com\r\n", "/v1/completions", true},
        {"Host: api.openai.com\r\n", "/v1/responses", false},
        {"Host: us.api.openai.com\r\n", "/v1/chat/completions", true},
        {"Host: llm.example.org\r\n", "/v1/chat/completions", true},
        {"Host: api.mistral.ai\r\n", "/v1/chat/completions", false},
        {"Host: api.groq.com\r\n", "/openai/v1/chat/completions", false},
        {"Host: models.github.ai\r\n", "/inference/chat/completions", false},
        {"Host: x.openai.azure.com\r\n",
         "/openai/deployments/d/chat/completions?api-version=2024-10-21", true},
        {"Host: x.openai.azure.com\r\n",
         "/openai/deployments/d/chat/completions?api-version=2024-08-01-preview", false},
        {"Host: x.openai.azure.com\r\n", "/openai/deployments/d/chat/completions", false},
        {"Host: x.openai.azure.com\r\n", "/openai/v1/chat/completions", true},
        {"Host: api.openai.com\r\nContent-Encoding: gzip\r\n", "/v1/chat/completions", false},
        {"Host: api.openai.com\r\nContent-MD5: x\r\n", "/v1/chat/completions", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct asking asking = {cases[i].head, false, 0, cases[i].target};
        char text[4096];
        struct trace trace = {.bytes = NULL};
        size_t bytes = request_of(&asking, body_text, text, sizeof text);
        struct pieces pieces = {.bytes = (const uint8_t *)text, .count = bytes};
        ask(NULL, &pieces, &trace);
        REQUIRE(trace.bytes != NULL);
        if ((trace.bytes[0] != '-') != cases[i].asked) {
            NS_FAIL("%s%s: %s", cases[i].head, cases[i].target, trace.bytes);
        }
        free(pieces.block);
        trace_clear(&trace);
    }
}

TEST(lines_that_must_not_leave_go_and_the_length_is_right)
{
    static const struct asking asking = {
        "X-NullSpend-Agent: a\r\nHost: api.openai.com\r\nAccept-Encoding: gzip, br\r\n"
        "X-NullSpend-Customer: c\r\nAccept: */*\r\n",
        false, 0, "/v1/chat/completions"};
    char text[4096];
    struct trace trace;
    size_t bytes = request_of(&asking, body_text, text, sizeof text);
    check_splits(ask, NULL, text, bytes, &trace);
    char expected[4096];
    int length = (int)(sizeof body_text - 1 + strlen("," ASKED));
    snprintf(expected, sizeof expected,
             "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nAccept: */*\r\n"
             "Content-Length: %d\r\n\r\n{\"stream\":true," MESSAGES "," ASKED "}",
             length);
    CHECK_STR(trace.bytes + 2, expected);
    trace_clear(&trace);
}

/* The body of a chunked request, read as the parser reads it. */
static void
body_of_chunks(const char *text, size_t count, char *body)
{
    struct ns_http1 *parser = ns_http1_new(NS_HTTP1_REQUESTS);
    struct ns_http1_input input = {.event = NS_HTTP1_MORE};
    size_t used = 0;
    while (input.event != NS_HTTP1_END && input.event != NS_HTTP1_ERROR) {
        size_t n = ns_http1_feed(parser, (const uint8_t *)text, count, &input);
        if (input.event == NS_HTTP1_BODY) {
            memcpy(body + used, input.body, input.body_bytes);
            used += input.body_bytes;
        }
        text += n;
        count -= n;
        if (input.event == NS_HTTP1_MORE && count == 0) {
            break;
        }
    }
    CHECK_INT(input.event, NS_HTTP1_END);
    CHECK_INT(count, 0);
    body[used] = '\0';
    ns_http1_free(parser);
}

TEST(a_chunk_grows_wherever_the_chunks_end)
{
    static const char off[] = "{\"stream\":true,\"stream_options\":{\"include_usage\":false}}";
    static const char on[] = "{\"stream\":true,\"stream_options\":{\"include_usage\":true}}";
    static const char added[] = "{\"stream\":true," MESSAGES "," ASKED "}";
    for (size_t chunk = 1; chunk < sizeof body_text + 3; chunk++) {
        struct asking asking = {plain.head, true, chunk, plain.target};
        char text[8192];
        char body[4096];
        struct trace trace;
        size_t bytes = request_of(&asking, body_text, text, sizeof text);
        check_splits(ask, NULL, text, bytes, &trace);
        REQUIRE(trace.bytes != NULL);
        CHECK_INT(trace.bytes[0], '=');
        body_of_chunks(trace.bytes + 2, trace.count - 2, body);
        CHECK_STR(body, added);
        CHECK(strstr(trace.bytes, "0\r\nTrailer-X: y\r\n\r\n") != NULL);
        trace_clear(&trace);
        /* A word that lies in two chunks stays. */
        bytes = request_of(&asking, off, text, sizeof text);
        struct pieces pieces = {.bytes = (const uint8_t *)text, .count = bytes};
        trace = (struct trace){.bytes = NULL};
        ask(NULL, &pieces, &trace);
        size_t word = (size_t)(strstr(off, "false") - off);
        bool whole = word / chunk == (word + 4) / chunk;
        body_of_chunks(strstr(trace.bytes, "POST"), strlen(strstr(trace.bytes, "POST")), body);
        CHECK_STR(body, whole ? on : off);
        free(pieces.block);
        trace_clear(&trace);
    }
}

TEST(an_old_client_is_not_given_chunks_that_it_cannot_read)
{
    char text[1024];
    struct trace trace = {.bytes = NULL};
    snprintf(text, sizeof text,
             "POST /v1/chat/completions HTTP/1.0\r\nHost: api.openai.com\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             sizeof body_text - 1, body_text);
    struct pieces pieces = {.bytes = (const uint8_t *)text, .count = strlen(text)};
    ask(NULL, &pieces, &trace);
    REQUIRE(trace.bytes != NULL);
    CHECK_INT(trace.bytes[0], '-');
    free(pieces.block);
    trace_clear(&trace);
}

/* --- bodies of answers ---------------------------------------------------------------------- */

#define CHUNK(choices, rest)                                                                       \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":" choices rest "}"
#define WORD(word) CHUNK("[{\"index\":0,\"delta\":{\"content\":\"" word "\"}}]", ",\"usage\":null")
#define USAGE_OBJECT "\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}"
#define USAGE_CHUNK CHUNK("[]", "," USAGE_OBJECT)

static void
filter(const void *context, struct pieces *pieces, struct trace *trace)
{
    (void)context;
    struct ns_usage_filter filter;
    struct ns_usage_output output;
    const uint8_t *bytes;
    size_t count;
    REQUIRE(ns_usage_filter_init(&filter) == 0);
    while (next_piece(pieces, &bytes, &count)) {
        while (count > 0) {
            size_t used = ns_usage_filter_feed(&filter, bytes, count, &output);
            if (output.count > 0) {
                trace_data(trace, '=', output.bytes, output.count);
            }
            bytes += used;
            count -= used;
        }
    }
    ns_usage_filter_finish(&filter, &output);
    if (output.count > 0) {
        trace_data(trace, '=', output.bytes, output.count);
    }
    trace_bytes(trace, "", 0);
    ns_usage_filter_free(&filter);
}

static void
expect_left(const char *body, const char *wanted)
{
    struct trace trace;
    check_splits(filter, NULL, body, strlen(body), &trace);
    CHECK_STR(trace.count > 0 ? trace.bytes + 2 : "", wanted);
    trace_clear(&trace);
}

TEST(the_usage_chunk_goes_and_nothing_else)
{
    static const char *const ends[] = {"\n", "\r\n", "\r"};
    for (size_t i = 0; i < 3; i++) {
        const char *e = ends[i];
        char body[4096];
        char wanted[4096];
        snprintf(body, sizeof body,
                 ": hello%s%s"
                 "data: " WORD("a") "%s%s"
                                    "data: " WORD("b") "%s%s"
                                                       "data: " USAGE_CHUNK "%s%s"
                                                       "data: [DONE]%s%s",
                 e, e, e, e, e, e, e, e, e, e);
        snprintf(wanted, sizeof wanted,
                 ": hello%s%s"
                 "data: " WORD("a") "%s%s"
                                    "data: " WORD("b") "%s%s"
                                                       "data: [DONE]%s%s",
                 e, e, e, e, e, e, e, e);
        expect_left(body, wanted);
    }
}

TEST(the_order_of_keys_and_the_fields_of_the_event_do_not_matter)
{
    expect_left("event: chunk\nid: 7\ndata: {" USAGE_OBJECT
                ",\"choices\": [ ] }\n\ndata: [DONE]\n\n",
                "data: [DONE]\n\n");
    expect_left("data:{\"choices\":[],\ndata:" USAGE_OBJECT "}\n\n: after\n\n", ": after\n\n");
    expect_left(": before\ndata: " USAGE_CHUNK "\n\n", ": before\n");
    /* Without its blank line, at the end. */
    expect_left("data: " WORD("a") "\n\ndata: " USAGE_CHUNK, "data: " WORD("a") "\n\n");
    expect_left("data: " WORD("a") "\n\ndata: " USAGE_CHUNK "\n", "data: " WORD("a") "\n\n");
}

TEST(a_byte_order_mark_is_the_stream_s_and_half_of_one_the_first_field_s)
{
    expect_left("\xef\xbb\xbf"
                "data: " USAGE_CHUNK "\n\ndata: [DONE]\n\n",
                "\xef\xbb\xbf"
                "data: [DONE]\n\n");
    expect_left("\xef\xbb"
                ": x\ndata: " USAGE_CHUNK "\n\ndata: [DONE]\n\n",
                "data: [DONE]\n\n");
    expect_left("\xef: x\ndata: " USAGE_CHUNK "\n\n: after\n\n", ": after\n\n");
}

TEST(what_only_looks_like_the_usage_chunk_stays)
{
    static const char *const bodies[] = {
        /* Azure's first chunk, a moderation chunk, usage beside a choice, no usage at all */
        "data: " CHUNK("[]", ",\"prompt_filter_results\":[{\"a\":{}}],\"usage\":null") "\n\n",
        "data: " CHUNK("[]", ",\"moderation\":{\"usage\":{}}") "\n\n",
        "data: " CHUNK("[{\"delta\":{}}]", "," USAGE_OBJECT) "\n\n",
        "data: {" USAGE_OBJECT ",\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n",
        "data: {" USAGE_OBJECT "}\n\n",
        "data: {\"choices\":null," USAGE_OBJECT "}\n\n",
        "data: {\"choices\":{}," USAGE_OBJECT "}\n\n",
        "data: {\"a\":{\"choices\":[]}," USAGE_OBJECT "}\n\n",
        "data: " USAGE_CHUNK "{}\n\n",
        "data: " USAGE_CHUNK "x\n\n",
        "data: [" USAGE_CHUNK "]\n\n",
        "data: {\"choices\":[],\"usage\":{\"a\":1}\n\n",
        "date: " USAGE_CHUNK "\n\n",
        "data: {\"error\":{\"message\":\"no\"}}\n\n",
        USAGE_CHUNK,
        " \n[" USAGE_CHUNK "]",
        "data: {\"choices\":[",
        "data",
        ":",
        "\n\n\n",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        expect_left(bodies[i], bodies[i]);
    }
}

TEST(an_event_that_does_not_tell_what_it_is_passes_at_the_bound)
{
    static char body[NS_USAGE_EVENT_BYTES_MAX + 4096];
    for (int past = 0; past <= 1; past++) {
        size_t bytes = (size_t)snprintf(body, sizeof body, "data: {\"pad\":\"");
        size_t wanted = NS_USAGE_EVENT_BYTES_MAX + (size_t)past;
        const char end[] = "\",\"choices\":[]," USAGE_OBJECT "}\n\n";
        memset(body + bytes, 'x', wanted - bytes - (sizeof end - 1));
        memcpy(body + wanted - (sizeof end - 1), end, sizeof end);
        CHECK_INT(strlen(body), wanted);
        struct trace trace;
        check_splits(filter, NULL, body, wanted, &trace);
        REQUIRE(trace.bytes != NULL);
        CHECK_INT(trace.count > 2 ? trace.count - 2 : 0, past ? wanted : 0);
        trace_clear(&trace);
    }
}

/* A byte that makes an event a content event lets it pass with that very byte. */
TEST(content_waits_for_nothing_but_its_first_choice)
{
    static const char text[] = ": c\n\ndata: " WORD("a") "\n\ndata: " WORD("b") "\n\n";
    const char *first = strstr(text, "[{") + 1;
    const char *second = strstr(first, "[{") + 1;
    struct ns_usage_filter filter;
    struct ns_usage_output output;
    size_t given = 0;
    REQUIRE(ns_usage_filter_init(&filter) == 0);
    for (const char *at = text; *at != '\0'; at++) {
        CHECK_INT(ns_usage_filter_feed(&filter, (const uint8_t *)at, 1, &output), 1);
        given += output.count;
        size_t fed = (size_t)(at - text) + 1;
        bool in_comment = fed <= 5;
        bool told = (at >= first && at < strstr(first, "data")) || at >= second;
        if ((in_comment || told) && given != fed) {
            NS_FAIL("after %zu bytes only %zu were given", fed, given);
        }
    }
    ns_usage_filter_free(&filter);
}

/* --- recordings ----------------------------------------------------------------------------- */

static bool
has(const char *text, size_t bytes, const char *part)
{
    return memmem(text, bytes, part, strlen(part)) != NULL;
}

/* The plain way: whole events at blank lines. */
static size_t
without_usage(const char *body, size_t bytes, char *left, unsigned *removed)
{
    size_t used = 0;
    for (size_t at = 0; at < bytes;) {
        size_t end = at;
        while (end < bytes && !(end - at >= 2 && memcmp(body + end - 2, "\n\n", 2) == 0) &&
               !(end - at >= 4 && memcmp(body + end - 4, "\r\n\r\n", 4) == 0)) {
            end++;
        }
        const char *event = body + at;
        size_t n = end - at;
        bool empty = has(event, n, "\"choices\":[]") || has(event, n, "\"choices\": []");
        bool usage = has(event, n, "\"usage\":{") || has(event, n, "\"usage\": {");
        if (empty && usage && strncmp(event, "data:", 5) == 0) {
            ++*removed;
        } else {
            memcpy(left + used, event, n);
            used += n;
        }
        at = end;
    }
    return used;
}

TEST(of_recorded_streams_nothing_but_the_usage_chunk_is_removed)
{
    const char *shared = getenv("NS_SHARED");
    char folder[512];
    snprintf(folder, sizeof folder, "%s/recordings", shared != NULL ? shared : "../shared");
    DIR *directory = opendir(folder);
    if (directory == NULL) {
        SKIP("the recordings");
    }
    unsigned streams = 0;
    unsigned removed = 0;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        char path[1024];
        size_t bytes = 0;
        if (strstr(entry->d_name, ".resp") == NULL) {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        char *text = ns_test_read_file(path, &bytes);
        REQUIRE(text != NULL);
        char *body = memmem(text, bytes, "\r\n\r\n", 4);
        if (body == NULL || strcasestr(text, "\r\ncontent-encoding:") != NULL) {
            free(text);
            continue;
        }
        body += 4;
        bytes -= (size_t)(body - text);
        if (bytes > 5 &&
            (memcmp(body, "data:", 5) == 0 || memcmp(body, "event:", 6) == 0 || body[0] == ':')) {
            streams++;
            char *wanted = malloc(bytes + 3);
            memcpy(wanted, "=", 1);
            unsigned before = removed;
            size_t left = without_usage(body, bytes, wanted, &removed);
            struct trace trace;
            check_splits(filter, NULL, body, bytes, &trace);
            if (trace.count - 2 != left || memcmp(trace.bytes + 2, wanted, left) != 0) {
                NS_FAIL("%s: %zu bytes left, not %zu (%u chunks)", entry->d_name, trace.count - 2,
                        left, removed - before);
            }
            trace_clear(&trace);
            free(wanted);
        }
        free(text);
    }
    closedir(directory);
    printf("# %u streams, %u usage chunks\n", streams, removed);
    CHECK(streams > 100 && removed > 20);
}

/* --- answers of HTTP/1.1 -------------------------------------------------------------------- */

static void
answer(const void *context, struct pieces *pieces, struct trace *trace)
{
    (void)context;
    struct ns_http1_filter *filter = ns_http1_filter_new();
    struct ns_bytes out = {0};
    const uint8_t *bytes;
    size_t count;
    while (next_piece(pieces, &bytes, &count)) {
        CHECK(ns_http1_filter_feed(filter, bytes, count, &out));
    }
    CHECK(ns_http1_filter_close(filter, &out));
    /* Chunks are made by how it arrives: what the program's parser makes of them must not be. */
    struct ns_http1 *parser = ns_http1_new(NS_HTTP1_RESPONSES);
    struct ns_http1_input input = {.event = NS_HTTP1_MORE};
    const uint8_t *at = ns_bytes_front(&out);
    size_t left = ns_bytes_count(&out);
    REQUIRE(at != NULL);
    do {
        size_t used = ns_http1_feed(parser, at, left, &input);
        if (input.event == NS_HTTP1_HEAD) {
            trace_event(trace, "%d ", ns_http1_status(parser));
            trace_data(trace, 'h', at, used);
        } else if (input.event == NS_HTTP1_BODY) {
            trace_data(trace, 'b', input.body, input.body_bytes);
        } else if (input.event == NS_HTTP1_END) {
            bool trailers = has((const char *)at - 16, used + 16, "X-T: 1\r\n");
            trace_event(trace, trailers ? " end with trailer" : " end");
        } else if (input.event == NS_HTTP1_ERROR) {
            trace_event(trace, " error");
            left = used;
        }
        at += used;
        left -= used;
    } while (left > 0 || input.event != NS_HTTP1_MORE);
    if (ns_http1_close(parser) == NS_HTTP1_END) {
        trace_event(trace, " closed");
    }
    ns_http1_free(parser);
    ns_bytes_free(&out);
    ns_http1_filter_free(filter);
}

static void
expect_answer(const char *text, const char *wanted)
{
    struct trace trace;
    check_splits(answer, NULL, text, strlen(text), &trace);
    CHECK_STR(trace.bytes, wanted);
    trace_clear(&trace);
}

#define HEAD_OF(line) "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" line "X-A: b\r\n\r\n"
#define A "data: {\"choices\":[{}]}\n\n"
#define U "data: {\"choices\":[],\"usage\":{}}\n\n"

TEST(framing_is_made_anew_around_what_is_left)
{
    expect_answer(HEAD_OF("Transfer-Encoding: chunked\r\n") "18\r\n" A "\r\n21;x=y\r\n" U
                                                            "\r\n0\r\nX-T: 1\r\n\r\n",
                  "200 h=" HEAD_OF("Transfer-Encoding: chunked\r\n") "b=" A " end with trailer");
    expect_answer(HEAD_OF("Transfer-Encoding: chunked\r\n") "39\r\n" U A "\r\n0\r\n\r\n",
                  "200 h=" HEAD_OF("Transfer-Encoding: chunked\r\n") "b=" A " end");
    expect_answer(HEAD_OF("Content-Length: 57\r\n") A U,
                  "200 h=" HEAD_OF("Transfer-Encoding: chunked\r\n") "b=" A " end");
    expect_answer(HEAD_OF("") A U, "200 h=" HEAD_OF("") "b=" A " closed");
    expect_answer("HTTP/1.1 100 Continue\r\n\r\n" HEAD_OF("Content-Length: 57\r\n") A U,
                  "100 h=HTTP/1.1 100 Continue\r\n\r\n end200 h=" HEAD_OF(
                      "Transfer-Encoding: chunked\r\n") "b=" A " end");
}

TEST(other_answers_pass_as_they_are)
{
    static const char *const answers[] = {
        "HTTP/1.1 400 Bad\r\nContent-Length: 33\r\n\r\n" U,
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 33\r\n\r\n" U,
        "HTTP/1.0 200 OK\r\nContent-Length: 33\r\n\r\n" U,
        "HTTP/1.1 204 No\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" U,
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct ns_http1_filter *filter = ns_http1_filter_new();
        struct ns_bytes out = {0};
        for (const char *c = answers[i]; *c != '\0'; c++) {
            CHECK(ns_http1_filter_feed(filter, (const uint8_t *)c, 1, &out));
        }
        CHECK(ns_http1_filter_close(filter, &out));
        CHECK(ns_bytes_append(&out, "", 1));
        CHECK_STR((const char *)ns_bytes_front(&out), answers[i]);
        ns_bytes_free(&out);
        ns_http1_filter_free(filter);
    }
}

TEST(an_answer_can_be_cut_behind_an_event)
{
    static const char *const heads[] = {HEAD_OF("Transfer-Encoding: chunked\r\n") "100\r\n",
                                        HEAD_OF("Content-Length: 99999\r\n"), HEAD_OF("")};
    for (size_t i = 0; i < 3; i++) {
        char text[1024];
        snprintf(text, sizeof text, "%s%s", heads[i], A);
        struct ns_http1_filter *filter = ns_http1_filter_new();
        struct ns_bytes out = {0};
        CHECK(ns_http1_filter_feed(filter, (const uint8_t *)text, strlen(text), &out));
        CHECK(ns_http1_filter_cut(filter, "data: no\n\n", 10, &out));
        CHECK(ns_http1_filter_is_over(filter));
        CHECK(ns_bytes_append(&out, "", 1));
        const char *left = strstr((const char *)ns_bytes_front(&out), "\r\n\r\n");
        const char *wanted = i == 2 ? "\r\n\r\n" A "data: no\n\n"
                                    : "\r\n\r\n17\r\ndata: {\"choices\":[{}]}\n\r\n1\r\n\n\r\na\r\n"
                                      "data: no\n\n\r\n0\r\n\r\n";
        CHECK_STR(left, wanted);
        ns_bytes_free(&out);
        ns_http1_filter_free(filter);
    }
}
