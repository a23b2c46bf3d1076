/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/http1.h"

#include "base/mem.h"
#include "tests/unit/splits.h"
#include "wire/limits.h"

/* What is said to a parser before it starts. */
struct talk {
    enum ns_http1_side side;
    bool head, connect; /* the first response answers HEAD or CONNECT */
    bool open;          /* the connection does not end with the input */
};

static const struct talk requests = {.side = NS_HTTP1_REQUESTS};
static const struct talk responses = {.side = NS_HTTP1_RESPONSES};

static const char *const problems[] = {[NS_HTTP1_OK] = "cut",
                                       [NS_HTTP1_NOT_HTTP] = "not-http",
                                       [NS_HTTP1_BAD_START_LINE] = "start-line",
                                       [NS_HTTP1_BAD_HEADER] = "header",
                                       [NS_HTTP1_BAD_LENGTH] = "length",
                                       [NS_HTTP1_AMBIGUOUS] = "ambiguous",
                                       [NS_HTTP1_BAD_CHUNK] = "chunk",
                                       [NS_HTTP1_TOO_LARGE] = "too-large",
                                       [NS_HTTP1_NO_MEMORY] = "no-memory"};

/* --- what a parser says, as text ------------------------------------------------------------- */

static void
write_head(struct trace *trace, const struct ns_http1 *parser, enum ns_http1_side side)
{
    if (side == NS_HTTP1_REQUESTS) {
        struct ns_http1_text method = ns_http1_method(parser), target = ns_http1_target(parser);
        trace_event(trace, "%.*s %.*s", (int)method.bytes, method.text,
                    (int)(target.bytes < 60 ? target.bytes : 60), target.text);
    } else {
        trace_event(trace, "%d", ns_http1_status(parser));
    }
    trace_event(trace, " %" PRId64 "%s", ns_http1_content_length(parser),
                ns_http1_keep_alive(parser) ? " keep" : "");
    uint32_t at = 0;
    for (size_t i = 0; i < ns_http1_header_count(parser); i++) {
        const struct ns_http1_header *header = ns_http1_header_at(parser, i);
        CHECK(header->line_offset > at);
        at = header->line_offset;
        CHECK(at + header->line_bytes < ns_http1_head_bytes(parser));
        CHECK(header->line_bytes > header->name.bytes + header->value.bytes);
    }
    trace_event(trace, "|");
}

/* True where the parser goes on. */
static bool
feed_piece(struct ns_http1 *parser, const struct talk *talk, const uint8_t *bytes, size_t count,
           struct trace *trace)
{
    struct ns_http1_input input;
    do {
        size_t taken = ns_http1_feed(parser, bytes, count, &input);
        CHECK(taken <= count);
        switch (input.event) {
        case NS_HTTP1_HEAD:
            write_head(trace, parser, talk->side);
            break;
        case NS_HTTP1_BODY:
            CHECK(input.body_bytes > 0 && input.body >= bytes &&
                  input.body + input.body_bytes <= bytes + taken);
            trace_data(trace, 'b', input.body, input.body_bytes);
            break;
        case NS_HTTP1_END:
            trace_event(trace, "%s|", ns_http1_idle(parser) ? "." : "?");
            break;
        case NS_HTTP1_UPGRADE:
            trace_event(trace, "upgrade|");
            break;
        case NS_HTTP1_ERROR:
            trace_event(trace, "!%s", problems[ns_http1_error(parser)]);
            break;
        default:
            break;
        }
        bytes += taken;
        count -= taken;
    } while (input.event != NS_HTTP1_MORE && input.event != NS_HTTP1_ERROR &&
             input.event != NS_HTTP1_UPGRADE);
    CHECK(input.event != NS_HTTP1_MORE || count == 0);
    return input.event == NS_HTTP1_MORE;
}

static void
run(const void *context, struct pieces *pieces, struct trace *trace)
{
    const struct talk *talk = context;
    struct ns_http1 *parser = ns_http1_new(talk->side);
    const uint8_t *bytes;
    size_t count;
    REQUIRE(parser != NULL);
    CHECK(ns_http1_idle(parser));
    if (talk->head || talk->connect) {
        ns_http1_answering(parser, talk->head, talk->connect);
    }
    bool good = true;
    while (good && next_piece(pieces, &bytes, &count)) {
        good = feed_piece(parser, talk, bytes, count, trace);
    }
    if (good && !talk->open) {
        enum ns_http1_event event = ns_http1_close(parser);
        trace_event(trace, event == NS_HTTP1_MORE ? "" : event == NS_HTTP1_END ? "close" : "!cut");
    }
    ns_http1_free(parser);
}

static void
expect_bytes(const struct talk *talk, const char *text, size_t bytes, const char *said)
{
    struct trace trace;
    check_splits(run, talk, text, bytes, &trace);
    if (strcmp(trace.bytes, said) != 0) {
        NS_FAIL("%.200s: \"%.300s\" instead of \"%.300s\"", text, trace.bytes, said);
    }
    trace_clear(&trace);
}

static void
expect(const struct talk *talk, const char *text, const char *said)
{
    expect_bytes(talk, text, strlen(text), said);
}

/* A parser that was fed all of text up to its first event; NULL where that is not a head. */
static struct ns_http1 *
after_head(enum ns_http1_side side, const char *text)
{
    struct ns_http1 *parser = ns_http1_new(side);
    struct ns_http1_input input = {.event = NS_HTTP1_ERROR};
    if (parser != NULL) {
        ns_http1_feed(parser, (const uint8_t *)text, strlen(text), &input);
    }
    if (input.event != NS_HTTP1_HEAD) {
        ns_http1_free(parser);
        return NULL;
    }
    return parser;
}

/* --- requests -------------------------------------------------------------------------------- */

TEST(a_request_has_a_head_a_body_and_an_end)
{
    expect(&requests, "POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
           "POST /v1/messages 5 keep|b=hello.|");
    expect(&requests, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / 0 keep|.|");
    expect(&requests, "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "POST / 0 keep|.|");
}

TEST(requests_may_be_pipelined)
{
    expect(
        &requests,
        "POST /1 HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET /2 HTTP/1.1\r\n\r\nPOST /3 "
        "HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /4 HTTP/1.1\r\n\r\n",
        "POST /1 2 keep|b=ab.|GET /2 0 keep|.|POST /3 -1 keep|b=x.|GET /4 0 keep|.|");
}

TEST(empty_lines_before_a_request_are_skipped)
{
    expect(&requests, "\r\n\r\nGET / HTTP/1.1\r\n\r\n\r\n\nGET /2 HTTP/1.1\r\n\r\n\r\n",
           "GET / 0 keep|.|GET /2 0 keep|.|");
    expect(&requests, "\rGET / HTTP/1.1\r\n\r\n", "!not-http");
    expect(&responses, "\r\nHTTP/1.1 204 No\r\n\r\n", "!not-http");
}

TEST(lines_may_end_with_a_bare_lf)
{
    expect(&requests, "POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n2\nab\n0\nx: y\n\n",
           "POST / -1 keep|b=ab.|");
}

TEST(http_1_0_keeps_alive_only_when_asked_to)
{
    expect(&requests, "GET / HTTP/1.0\r\n\r\n", "GET / 0|.|");
    expect(&requests, "GET / HTTP/1.0\r\nConnection: foo, Keep-Alive\r\n\r\n", "GET / 0 keep|.|");
    expect(&requests, "GET / HTTP/1.1\r\nConnection: x,CLOSE\r\n\r\n", "GET / 0|.|");
    expect(&requests, "GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
           "GET / 0|.|");
    expect(&responses, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", "200 1|b=x.|");
}

TEST(a_head_can_be_asked_for_its_parts)
{
    struct ns_http1 *parser = after_head(
        NS_HTTP1_REQUESTS, "\r\nPOST /a?b HTTP/1.1\r\nHost:  api.example \t\r\nX-Empty:\r\nx: 1\nX:"
                           " 2\r\n\r\nrest");
    REQUIRE(parser != NULL);
    struct ns_http1_text text = ns_http1_find(parser, "HOST");
    CHECK_INT(text.bytes, 11);
    CHECK(memcmp(text.text, "api.example", 11) == 0);
    text = ns_http1_find(parser, "x-empty");
    CHECK(text.text != NULL && text.bytes == 0);
    text = ns_http1_find(parser, "x");
    CHECK(text.bytes == 1 && text.text[0] == '1');
    CHECK(ns_http1_find(parser, "hos").text == NULL);
    CHECK(ns_http1_find(parser, "hosts").text == NULL);
    CHECK_INT(ns_http1_header_count(parser), 4);
    CHECK(ns_http1_header_at(parser, 4) == NULL);
    CHECK_INT(ns_http1_head_bytes(parser), 65);
    /* The offsets are of the message, not of the empty line before it. */
    CHECK_INT(ns_http1_header_at(parser, 0)->line_offset, 20);
    CHECK_INT(ns_http1_header_at(parser, 0)->line_bytes, 22);
    CHECK_INT(ns_http1_header_at(parser, 2)->line_offset, 20 + 22 + 10);
    CHECK_INT(ns_http1_header_at(parser, 2)->line_bytes, 5);
    CHECK(!ns_http1_idle(parser));
    ns_http1_free(parser);
}

TEST(the_head_stays_known_until_the_next_message_begins)
{
    struct ns_http1 *parser = after_head(NS_HTTP1_REQUESTS, "GET /one HTTP/1.1\r\nA: b\r\n\r\n");
    struct ns_http1_input input;
    REQUIRE(parser != NULL);
    CHECK_INT(ns_http1_feed(parser, NULL, 0, &input), 0);
    CHECK_INT(input.event, NS_HTTP1_END);
    CHECK_INT(ns_http1_target(parser).bytes, 4);
    CHECK(ns_http1_find(parser, "a").bytes == 1);
    CHECK(ns_http1_idle(parser));
    ns_http1_feed(parser, (const uint8_t *)"G", 1, &input);
    CHECK_INT(ns_http1_header_count(parser), 0);
    CHECK(!ns_http1_idle(parser));
    ns_http1_free(parser);
}

/* --- responses ------------------------------------------------------------------------------- */

TEST(a_response_is_framed_by_its_length_its_chunks_or_the_close)
{
    expect(&responses,
           "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 404\r\n"
           "content-length: 0\r\n\r\n",
           "200 3 keep|b=abc.|404 0 keep|.|");
    expect(&responses,
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n"
           "0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
           "200 -1 keep|b=abc0123456789.|204 0 keep|.|");
    expect(&responses, "HTTP/1.1 200 OK\r\n\r\nuntil the end\r\n\r\n",
           "200 -1|b=until the end\r\n\r\nclose");
    expect(&responses, "HTTP/1.1 200 OK\r\n\r\n", "200 -1|close");
    expect(&responses, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\nab",
           "200 -1|b=abclose");
    expect(&responses,
           "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
           "200 -1 keep|.|");
}

TEST(some_responses_have_no_body_whatever_their_headers_say)
{
    static const struct talk answers_head = {.side = NS_HTTP1_RESPONSES, .head = true};
    expect(&answers_head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "200 0 keep|.|");
    expect(&answers_head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 0 keep|.|");
    expect(&answers_head, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
           "200 0 keep|.|200 1 keep|b=x.|");
    expect(&responses, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "304 0 keep|.|");
    expect(&responses, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "204 0 keep|.|");
}

TEST(an_interim_response_is_a_message_of_its_own)
{
    static const struct talk answers_head = {.side = NS_HTTP1_RESPONSES, .head = true};
    expect(&responses,
           "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 "
           "OK\r\nContent-Length: 2\r\n\r\nok",
           "100 0 keep|.|103 0 keep|.|200 2 keep|b=ok.|");
    /* What was said of the request holds until its final answer. */
    expect(&answers_head,
           "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
           "100 0 keep|.|200 0 keep|.|");
}

TEST(switching_protocols_ends_http)
{
    static const struct talk answers_connect = {.side = NS_HTTP1_RESPONSES, .connect = true};
    expect(&responses, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05",
           "101 0 keep|upgrade|");
    expect(&answers_connect, "HTTP/1.1 200 Connection established\r\nContent-Length: 5\r\n\r\n\x16",
           "200 0 keep|upgrade|");
    expect(&answers_connect, "HTTP/1.1 407 No\r\nContent-Length: 1\r\n\r\nx", "407 1 keep|b=x.|");
}

TEST(an_upgrade_takes_nothing_and_is_final)
{
    struct ns_http1 *parser = after_head(NS_HTTP1_RESPONSES, "HTTP/1.1 101 X\r\n\r\n");
    struct ns_http1_input input;
    REQUIRE(parser != NULL);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(ns_http1_feed(parser, (const uint8_t *)"abc", 3, &input), 0);
        CHECK_INT(input.event, NS_HTTP1_UPGRADE);
    }
    ns_http1_free(parser);
}

TEST(a_connection_that_ends_inside_a_message_is_an_error)
{
    expect(&requests, "GET / HT", "!cut");
    expect(&requests, "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhell",
           "POST / 5 keep|b=hell!cut");
    expect(&responses, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
           "200 -1 keep|b=a!cut");
    expect(&responses, "", "");
}

/* --- chunks ---------------------------------------------------------------------------------- */

#define CHUNKED "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"

TEST(chunk_extensions_and_trailers_are_passed_over)
{
    expect(&requests,
           CHUNKED
           "3;name=\"v;a\";x\r\nabc\r\n2 ; y\r\nde\r\n000;last\r\nTrailer: 1\r\nOther:\r\n\r\n"
           "GET / HTTP/1.1\r\n\r\n",
           "POST / -1 keep|b=abcde.|GET / 0 keep|.|");
    expect(&requests, CHUNKED "0000000000000001  \t\r\nx\r\n0\r\n\r\n", "POST / -1 keep|b=x.|");
}

TEST(a_bad_chunk_is_an_error)
{
    static const char *const bad[] = {CHUNKED "\r\n",
                                      CHUNKED ";x\r\n",
                                      CHUNKED "g\r\n",
                                      CHUNKED "-1\r\n",
                                      CHUNKED "0x1\r\n",
                                      CHUNKED "1 1\r\n",
                                      CHUNKED "1\rx",
                                      CHUNKED "1;a\rb\r\n",
                                      CHUNKED " 1\r\n",
                                      CHUNKED "8000000000000000\r\n",
                                      CHUNKED "10000000000000001\r\n",
                                      CHUNKED "+1\r\n",
                                      CHUNKED "1,\r\n",
                                      CHUNKED "\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        expect(&requests, bad[i], "POST / -1 keep|!chunk");
    }
    expect(&requests, CHUNKED "1\r\nabc", "POST / -1 keep|b=a!chunk");
    expect(&requests, CHUNKED "1\r\na\rx", "POST / -1 keep|b=a!chunk");
    expect(&requests, CHUNKED "7fffffffffffffff\r\na", "POST / -1 keep|b=a!cut");
    expect_bytes(&requests, CHUNKED "1;\0\r\n", sizeof(CHUNKED "1;\0\r\n") - 1,
                 "POST / -1 keep|!chunk");
}

TEST(a_bad_trailer_is_an_error)
{
    static const char *const bad[] = {CHUNKED "0\r\nno colon\r\n\r\n",
                                      CHUNKED "0\r\n folded: x\r\n\r\n",
                                      CHUNKED "0\r\n: x\r\n",
                                      CHUNKED "0\r\na: b\rc\r\n",
                                      CHUNKED "0\r\n\rx",
                                      CHUNKED "0\r\na\r\n\r\n",
                                      CHUNKED "0\r\na : b\r\n\r\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        expect(&requests, bad[i], "POST / -1 keep|!header");
    }
}

/* --- what is refused ------------------------------------------------------------------------- */

TEST(what_is_no_start_line_is_found_out_at_once)
{
    expect(&requests, "\x16\x03\x01", "!not-http");
    expect(&requests, "GE\x01", "!not-http");
    expect(&requests, " GET / HTTP/1.1\r\n", "!not-http");
    expect(&requests, "hello\r\n", "!not-http");
    expect(&requests, "{\"a\": 1}", "!not-http");
    expect(&responses, "HTTP/2 200\r\n", "!not-http");
    expect(&responses, "SSH-2.0", "!not-http");
    expect(&responses, "http/1.1 200 OK", "!not-http");
}

TEST(a_bad_start_line_is_an_error)
{
    static const char *const bad_requests[] = {"GET /\r\n",
                                               "GET  / HTTP/1.1\r\n",
                                               "GET / HTTP/2.0\r\n",
                                               "GET / HTTP/1.1 \r\n",
                                               "GET / HTTP/1.x\r\n",
                                               "GET / HTTP/1.10\r\n",
                                               "GET /a b HTTP/1.1\r\n",
                                               "GET / http/1.1\r\n",
                                               "GET /\x01 HTTP/1.1\r\n",
                                               "GET /\ra HTTP/1.1\r\n",
                                               "PRI * HTTP/2.0\r\n",
                                               "GET /\t HTTP/1.1\r\n"};
    static const char *const bad_responses[] = {"HTTP/1.1\r\n",          "HTTP/1.1 20\r\n",
                                                "HTTP/1.1 2000 OK\r\n",  "HTTP/1.1  200 OK\r\n",
                                                "HTTP/1.1 099 X\r\n",    "HTTP/1.x 200 OK\r\n",
                                                "HTTP/1.1 2x0 OK\r\n",   "HTTP/1.12 200 OK\r\n",
                                                "HTTP/1.1 200 a\rb\r\n", "HTTP/1.1\t200 OK\r\n"};
    for (size_t i = 0; i < sizeof(bad_requests) / sizeof(bad_requests[0]); i++) {
        expect(&requests, bad_requests[i], "!start-line");
    }
    for (size_t i = 0; i < sizeof(bad_responses) / sizeof(bad_responses[0]); i++) {
        expect(&responses, bad_responses[i], "!start-line");
    }
    expect(&responses, "HTTP/1.1 999 \xe2\x82\xac\r\nContent-Length: 0\r\n\r\n", "999 0 keep|.|");
}

TEST(a_bad_header_is_an_error)
{
    static const char *const bad[] = {"no colon", ": no name", "a b: c", "a : b",
                                      "a: b\rc",  "a\x01: b",  "(a): b", "a\xc3\xa9: b"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[128];
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", bad[i]);
        expect(&requests, text, "!header");
    }
    static const char nul[] = "GET / HTTP/1.1\r\na: \0b\r\n\r\n";
    expect_bytes(&requests, nul, sizeof(nul) - 1, "!header");
}

TEST(a_folded_line_belongs_to_the_header_before_it)
{
    static const char text[] =
        "GET / HTTP/1.1\r\na: \r\n\tb\r\n c \r\n \r\nConnection: x,\n close\r\n"
        "d: e\r\n\r\n";
    struct ns_http1 *parser = after_head(NS_HTTP1_REQUESTS, text);
    REQUIRE(parser != NULL);
    CHECK_INT(ns_http1_header_count(parser), 3);
    const struct ns_http1_header *header = ns_http1_header_at(parser, 0);
    CHECK(header->value.bytes == 5 && memcmp(header->value.text, "b\r\n c", 5) == 0);
    CHECK_INT(header->line_bytes, strstr(text, "Connection") - text - (long)header->line_offset);
    CHECK(!ns_http1_keep_alive(parser));
    ns_http1_free(parser);
    expect(&responses, "HTTP/1.1 204 X\r\na: b\r\n c\r\n\r\n", "204 0 keep|.|");
    static const char *const bad[] = {" folded: x",
                                      "Content-Length:\r\n 1",
                                      "Content-Length: 1\r\n 1",
                                      "Transfer-Encoding:\r\n chunked",
                                      "a: b\r\n c\rd",
                                      "a: b\r\n\r c"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char head[128];
        snprintf(head, sizeof(head), "GET / HTTP/1.1\r\n%s\r\n\r\n", bad[i]);
        expect(&requests, head, "!header");
    }
    static const char nul[] = "GET / HTTP/1.1\r\na: b\r\n \0c\r\n\r\n";
    expect_bytes(&requests, nul, sizeof(nul) - 1, "!header");
}

TEST(a_content_length_is_one_decimal_number)
{
    static const char *const bad[] = {"Content-Length: \r\n",
                                      "Content-Length: x\r\n",
                                      "Content-Length: -1\r\n",
                                      "Content-Length: +1\r\n",
                                      "Content-Length: 0x1\r\n",
                                      "Content-Length: 1 2\r\n",
                                      "Content-Length: 1.0\r\n",
                                      "Content-Length: 9223372036854775808\r\n",
                                      "Content-Length: 99999999999999999999\r\n",
                                      "Content-Length: 1, 2\r\n",
                                      "Content-Length: 1\r\nContent-Length: 2\r\n",
                                      "Content-Length: ,\r\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[128];
        snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n%s\r\n", bad[i]);
        expect(&requests, text, "!length");
        snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n%s\r\n", bad[i]);
        expect(&responses, text, "!length");
    }
    expect(&requests, "POST / HTTP/1.1\r\nContent-Length: 2, 2\r\nContent-Length: 02\r\n\r\nab",
           "POST / 2 keep|b=ab.|");
    expect(&requests, "POST / HTTP/1.1\r\nContent-Length: 9223372036854775807\r\n\r\nab",
           "POST / 9223372036854775807 keep|b=ab!cut");
}

TEST(a_request_that_others_could_frame_differently_is_refused)
{
    static const char *const bad[] = {
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\r\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[160];
        snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n%s\r\n", bad[i]);
        expect(&requests, text, "!ambiguous");
    }
    expect(&requests, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "!ambiguous");
    expect(&requests,
           "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\ntransfer-encoding: , CHUNKED\r\n"
           "\r\n0\r\n\r\n",
           "POST / -1 keep|.|");
}

TEST(an_error_is_final)
{
    struct ns_http1 *parser = ns_http1_new(NS_HTTP1_REQUESTS);
    struct ns_http1_input input;
    REQUIRE(parser != NULL);
    ns_http1_feed(parser, (const uint8_t *)"\x01", 1, &input);
    CHECK_INT(input.event, NS_HTTP1_ERROR);
    CHECK_INT(ns_http1_feed(parser, (const uint8_t *)"GET / HTTP/1.1\r\n\r\n", 18, &input), 0);
    CHECK_INT(input.event, NS_HTTP1_ERROR);
    CHECK_INT(ns_http1_close(parser), NS_HTTP1_ERROR);
    CHECK_INT(ns_http1_error(parser), NS_HTTP1_NOT_HTTP);
    ns_http1_free(parser);
}

/* --- bounds ---------------------------------------------------------------------------------- */

/* before, then as many letters as make the whole count bytes, then after. */
static char *
filled(const char *before, size_t count, const char *after)
{
    size_t front = strlen(before), back = strlen(after);
    char *text = malloc(count + 1);
    if (text == NULL) {
        abort();
    }
    memcpy(text, before, front);
    memset(text + front, 'a', count - front - back);
    memcpy(text + count - back, after, back + 1);
    return text;
}

static void
check_filled(const char *before, size_t count, const char *after, const char *said)
{
    char *text = filled(before, count, after);
    struct trace trace;
    check_splits(run, &requests, text, count, &trace);
    if (strcmp(trace.bytes, said) != 0) {
        NS_FAIL("%zu bytes: \"%.200s\" instead of \"%s\"", count, trace.bytes, said);
    }
    trace_clear(&trace);
    free(text);
}

TEST(a_head_may_have_as_many_bytes_as_its_bound)
{
    check_filled("GET / HTTP/1.1\r\nA: ", NS_HEAD_BYTES_MAX, "\r\n\r\n", "GET / 0 keep|.|");
    check_filled("GET / HTTP/1.1\r\nA: ", NS_HEAD_BYTES_MAX + 1, "\r\n\r\n", "!too-large");
    check_filled("GET / HTTP/1.1\r\nA: ", NS_HEAD_BYTES_MAX + 5000, "\r\n\r\n", "!too-large");
    check_filled("GET ", NS_HEAD_BYTES_MAX + 1, "", "!too-large");
    check_filled("GET\x01", NS_HEAD_BYTES_MAX + 5000, "", "!not-http");
}

TEST(a_head_may_have_as_many_headers_as_its_bound)
{
    for (size_t extra = 0; extra < 2; extra++) {
        char text[NS_HEADERS_MAX * 8 + 64] = "GET / HTTP/1.1\r\n";
        size_t at = strlen(text);
        for (size_t i = 0; i < NS_HEADERS_MAX + extra; i++) {
            at += (size_t)snprintf(text + at, sizeof(text) - at, "a: b\r\n");
        }
        snprintf(text + at, sizeof(text) - at, "\r\n");
        expect(&requests, text, extra ? "!too-large" : "GET / 0 keep|.|");
    }
}

TEST(a_chunk_line_may_have_as_many_bytes_as_its_bound)
{
    size_t head = strlen(CHUNKED);
    check_filled(CHUNKED "0;", head + NS_CHUNK_LINE_BYTES_MAX, "\r\n", "POST / -1 keep|!cut");
    check_filled(CHUNKED "0;", head + NS_CHUNK_LINE_BYTES_MAX + 1, "\r\n",
                 "POST / -1 keep|!too-large");
    /* The bound is of each line. */
    char *two = filled(CHUNKED "1;", head + NS_CHUNK_LINE_BYTES_MAX, "\r\n");
    char text[1024];
    snprintf(text, sizeof(text), "%sx\r\n1%s\r\ny\r\n0\r\n\r\n", two, ";abc");
    expect(&requests, text, "POST / -1 keep|b=xy.|");
    free(two);
}

TEST(trailers_may_have_as_many_bytes_as_their_bound)
{
    size_t head = strlen(CHUNKED "0\r\n");
    check_filled(CHUNKED "0\r\nt: ", head + NS_TRAILER_BYTES_MAX, "\r\n\r\n", "POST / -1 keep|.|");
    check_filled(CHUNKED "0\r\nt: ", head + NS_TRAILER_BYTES_MAX + 1, "\r\n\r\n",
                 "POST / -1 keep|!too-large");
}

TEST(every_allocation_may_fail)
{
    char text[4096] = "POST / HTTP/1.1\r\nbig: ";
    size_t at = strlen(text);
    memset(text + at, 'x', 2500); /* beyond the first buffer */
    at += 2500;
    at += (size_t)snprintf(text + at, sizeof(text) - at, "\r\n");
    for (int i = 0; i < 40; i++) { /* beyond the first header block */
        at += (size_t)snprintf(text + at, sizeof(text) - at, "a: b\r\n");
    }
    snprintf(text + at, sizeof(text) - at, "Content-Length: 2\r\n\r\nok");
    size_t failed = 0;
    for (size_t n = 1;; n++) {
        struct trace trace = {.bytes = NULL};
        ns_mem_fail_at(n);
        struct ns_http1 *parser = ns_http1_new(NS_HTTP1_REQUESTS);
        if (parser != NULL) {
            feed_piece(parser, &requests, (const uint8_t *)text, 1000, &trace);
            feed_piece(parser, &requests, (const uint8_t *)text + 1000, strlen(text) - 1000,
                       &trace);
            ns_http1_free(parser);
        }
        size_t asked = ns_mem_fail_at(0);
        bool whole = trace.bytes != NULL && strcmp(trace.bytes, "POST / 2 keep|b=ok.|") == 0;
        bool told =
            parser == NULL || (trace.bytes != NULL && strstr(trace.bytes, "!no-memory") != NULL);
        trace_clear(&trace);
        if (asked < n) {
            CHECK(whole);
            break;
        }
        CHECK(told);
        failed++;
    }
    CHECK_INT(failed, 5); /* the parser, two sizes of head, two of headers */
}
