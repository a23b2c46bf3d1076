/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/sse.h"

#include "base/mem.h"
#include "tests/unit/splits.h"

static void
run(const void *context, struct pieces *pieces, struct trace *trace)
{
    (void)context;
    struct ns_sse sse;
    struct ns_sse_input input;
    const uint8_t *bytes;
    size_t count;
    ns_sse_init(&sse);
    while (next_piece(pieces, &bytes, &count)) {
        do {
            size_t taken = ns_sse_feed(&sse, bytes, count, &input);
            CHECK(taken <= count);
            if (input.event == NS_SSE_DATA) {
                CHECK(input.data_bytes > 0);
                trace_data(trace, 'd', input.data, input.data_bytes);
            } else if (input.event == NS_SSE_END) {
                CHECK_INT(sse.event_bytes, strlen(sse.event));
                trace_event(trace, "(%s)|", sse.event);
            }
            bytes += taken;
            count -= taken;
        } while (input.event != NS_SSE_MORE);
        CHECK_INT(count, 0);
    }
}

static void
expect(const char *text, const char *said)
{
    struct trace trace;
    check_splits(run, NULL, text, strlen(text), &trace);
    if (strcmp(trace.bytes, said) != 0) {
        NS_FAIL("%.200s: \"%.300s\" instead of \"%.300s\"", text, trace.bytes, said);
    }
    trace_clear(&trace);
}

TEST(an_event_is_its_data_up_to_the_empty_line)
{
    expect("data: {\"a\":1}\n\ndata: [DONE]\n\n", "d={\"a\":1}()|d=[DONE]()|");
}

TEST(an_event_has_the_type_that_it_names)
{
    expect("event: message_start\ndata: {}\n\nevent: ping\ndata: x\n\ndata: y\n\n",
           "d={}(message_start)|d=x(ping)|d=y()|");
    expect("data: x\nevent: late\n\n", "d=x(late)|");
    expect("event: one\nevent: two\ndata: x\n\n", "d=x(two)|");
    expect("event: one\nevent\ndata: x\n\n", "d=x()|");
}

TEST(lines_may_end_with_lf_cr_or_crlf)
{
    expect("data: a\r\n\r\ndata: b\r\rdata: c\n\ndata: d\r\ndata: e\n\r\n",
           "d=a()|d=b()|d=c()|d=d\ne()|");
    expect("data: a\r\n\ndata: b\r\r\n", "d=a()|d=b()|");
    expect("\r\n\r\n\n\rdata: x\n\n", "d=x()|");
}

TEST(data_lines_of_one_event_are_joined_by_line_breaks)
{
    expect("data: a\ndata: b\n\n", "d=a\nb()|");
    expect("data\n\n", "()|");
    expect("data\ndata\n\n", "d=\n()|");
    expect("data:\ndata:\ndata: x\n\n", "d=\n\nx()|");
    expect("data: a\nid: 1\n: c\ndata: b\n\ndata: c\n\n", "d=a\nb()|d=c()|");
}

TEST(one_space_after_the_colon_is_not_data)
{
    expect("data:x\n\ndata:  y \n\ndata:\tz\n\n", "d=x()|d= y ()|d=\tz()|");
    expect("event:a\ndata: \n\n", "(a)|");
}

TEST(comments_and_unknown_fields_say_nothing)
{
    expect(": OPENROUTER PROCESSING\n\n: x\n\ndata: a\n: between\n\n", "d=a()|");
    expect("id: 7\nretry: 10\nfoo: bar\ndatax: y\n data: z\nDATA: q\ndata: a\n\n", "d=a()|");
    expect(":\n\n:data: x\n\n", "");
}

TEST(an_event_without_data_ends_too_where_it_had_a_field)
{
    expect("event: ping\n\n", "(ping)|");
    expect("id: 1\n\n\n\n", "()|");
}

TEST(a_byte_order_mark_is_passed_over_once)
{
    expect("\xef\xbb\xbf"
           "data: a\n\n\xef\xbb\xbf"
           "data: b\n\n",
           "d=a()|()|");
    expect("\xef\xbb"
           "data: a\n\ndata: b\n\n",
           "()|d=b()|");
    expect("\xef"
           "\n\ndata: b\n\n",
           "()|d=b()|");
    expect("\xef\xbb: x\n\ndata: b\n\n", "()|d=b()|");
}

TEST(what_the_stream_leaves_unfinished_does_not_end)
{
    expect("data: a\n", "d=a");
    expect("data: a", "d=a");
    expect("dat", "");
}

TEST(any_bytes_are_events_of_some_kind)
{
    expect("data: a\x01"
           "b\n\n\x01\n\n",
           "d=a\x01"
           "b()|()|");
    expect("\xff\xfe\n\ndata: x:y: z\n\n", "()|d=x:y: z()|");
}

TEST(a_type_is_kept_up_to_its_bound)
{
    char name[NS_SSE_FIELD_BYTES_MAX + 1], text[256], said[256];
    memset(name, 'n', sizeof(name));
    for (int bytes = NS_SSE_FIELD_BYTES_MAX - 1; bytes <= NS_SSE_FIELD_BYTES_MAX + 1; bytes++) {
        snprintf(text, sizeof(text), "event: %.*s\n\n", bytes, name);
        snprintf(said, sizeof(said), "(%.*s)|", NS_SSE_FIELD_BYTES_MAX - 1, name);
        expect(text, said);
    }
}

TEST(a_name_past_its_bound_is_none_of_ours)
{
    char name[NS_SSE_FIELD_BYTES_MAX + 1], text[256];
    memset(name, 'n', sizeof(name));
    memcpy(name, "data", 4);
    for (int bytes = NS_SSE_FIELD_BYTES_MAX; bytes <= NS_SSE_FIELD_BYTES_MAX + 1; bytes++) {
        snprintf(text, sizeof(text), "%.*s: x\ndata: y\n\n", bytes, name);
        expect(text, "d=y()|");
    }
}

TEST(an_event_may_have_any_length_and_allocates_nothing)
{
    size_t count = 300000;
    char *text = malloc(count + 16);
    REQUIRE(text != NULL);
    memset(text, 'x', count + 16);
    memcpy(text, "data: ", 6);
    memcpy(text + count + 6, "\n\n", 2);
    struct ns_sse sse;
    struct ns_sse_input input = {.event = NS_SSE_DATA};
    size_t at = 0, data = 0;
    ns_sse_init(&sse);
    ns_mem_fail_at(0);
    while (input.event == NS_SSE_DATA) {
        at += ns_sse_feed(&sse, (const uint8_t *)text + at, count + 8 - at, &input);
        data += input.data_bytes;
    }
    CHECK_INT(ns_mem_fail_at(0), 0);
    CHECK_INT(input.event, NS_SSE_END);
    CHECK_INT(data, count);
    free(text);
    char *other = malloc(9000);
    REQUIRE(other != NULL);
    memset(other, 'y', 9000);
    memcpy(other, "data:", 5);
    memcpy(other + 8997, "\r\n\r", 3);
    struct trace trace;
    check_splits(run, NULL, other, 9000, &trace);
    CHECK_INT(trace.count, 2 + 8992 + 3);
    trace_clear(&trace);
    free(other);
}

TEST(no_call_returns_data_and_keeps_it)
{
    /* A piece lies within the bytes that were fed in the same call. */
    struct ns_sse sse;
    struct ns_sse_input input;
    const uint8_t text[] = "data: abc\ndata: d\n\n";
    ns_sse_init(&sse);
    size_t at = ns_sse_feed(&sse, text, sizeof(text) - 1, &input);
    CHECK(input.data == text + 6 && input.data_bytes == 3);
    at += ns_sse_feed(&sse, text + at, sizeof(text) - 1 - at, &input);
    CHECK(input.data_bytes == 1 && input.data[0] == '\n');
    at += ns_sse_feed(&sse, text + at, sizeof(text) - 1 - at, &input);
    CHECK(input.data == text + 16 && input.data_bytes == 1);
    at += ns_sse_feed(&sse, text + at, sizeof(text) - 1 - at, &input);
    CHECK_INT(input.event, NS_SSE_END);
    CHECK_INT(at, sizeof(text) - 1);
}
