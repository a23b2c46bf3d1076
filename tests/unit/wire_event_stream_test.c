/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/event_stream.h"

#include "tests/unit/aws_message.h"
#include "tests/unit/splits.h"
#include "wire/event_bytes.h"

/* --- messages ------------------------------------------------------------------------------- */

static void
run(const void *context, struct pieces *pieces, struct trace *trace)
{
    (void)context;
    struct ns_event_stream stream = {0};
    struct ns_event_stream_input input;
    const uint8_t *bytes;
    size_t count;
    while (next_piece(pieces, &bytes, &count)) {
        do {
            size_t taken = ns_event_stream_feed(&stream, bytes, count, &input);
            CHECK(taken <= count);
            bytes += taken;
            count -= taken;
            switch (input.event) {
            case NS_EVENT_STREAM_BEGIN:
                trace_event(trace, "%s%s{", stream.exception ? "!" : "", stream.type);
                break;
            case NS_EVENT_STREAM_PAYLOAD:
                CHECK(input.payload_bytes > 0);
                trace_data(trace, 'p', input.payload, input.payload_bytes);
                break;
            case NS_EVENT_STREAM_END:
                trace_event(trace, "}");
                CHECK(ns_event_stream_between(&stream));
                break;
            case NS_EVENT_STREAM_ERROR:
                trace_event(trace, "ERROR");
                return;
            case NS_EVENT_STREAM_MORE:
                CHECK_INT(count, 0);
                break;
            }
        } while (input.event != NS_EVENT_STREAM_MORE);
    }
}

static void
expect(const uint8_t *bytes, size_t count, const char *said)
{
    struct trace trace;
    check_splits(run, NULL, bytes, count, &trace);
    if (strcmp(trace.bytes, said) != 0) {
        NS_FAIL("\"%.300s\" instead of \"%.300s\"", trace.bytes, said);
    }
    trace_clear(&trace);
}

TEST(a_message_is_its_type_and_its_payload)
{
    uint8_t text[1024];
    size_t bytes = put_event(text, "messageStart", "{\"role\":\"assistant\"}");
    bytes += put_event(text + bytes, "ping", "");
    bytes += put_message(text + bytes, "exception", "throttlingException", "{}");
    expect(text, bytes, "messageStart{p={\"role\":\"assistant\"}}ping{}!throttlingException{p={}}");
}

TEST(headers_of_every_type_are_passed_over)
{
    static const uint8_t sizes[] = {0, 0, 1, 2, 4, 8, 0, 0, 8, 16};
    uint8_t text[1024] = {0};
    size_t at = 12;
    for (size_t type = 0; type < sizeof(sizes); type++) {
        text[at++] = 1;
        text[at++] = 'h';
        text[at++] = (uint8_t)type;
        if (type == 6 || type == 7) {
            text[at++] = 0;
            text[at++] = type == 6 ? 200 : 0; /* longer than anything that is kept; empty */
            at += type == 6 ? 200 : 0;
        }
        at += sizes[type];
    }
    at += put_header(text + at, ":event-type", "last");
    memcpy(text + at, "x", 1);
    expect(text, close_message(text, at - 12, 1), "last{p=x}");
}

TEST(a_type_is_cut_where_it_is_longer_than_any_of_ours)
{
    uint8_t text[1024];
    char type[100], said[64];
    memset(type, 't', sizeof type);
    type[sizeof type - 1] = '\0';
    size_t bytes = put_event(text, type, "");
    (void)snprintf(said, sizeof said, "%.*s{}", NS_EVENT_STREAM_TEXT_BYTES_MAX, type);
    expect(text, bytes, said);
}

TEST(what_is_no_message_is_an_error)
{
    uint8_t text[512], whole[512];
    size_t bytes = put_event(whole, "t", "{}");
    struct {
        size_t offset;
        uint8_t value;
        bool sums; /* the checksum of the lengths is made right again */
    } rows[] = {
        {3, 15, true},            /* shorter than a message can be */
        {3, 20, true},            /* shorter than its headers */
        {4, 1, true},             /* headers past their bound */
        {0, 2, true},             /* a payload past its bound */
        {8, 0x55, false},         /* a wrong checksum */
        {12, 0, true},            /* a header without a name */
        {12, 255, true},          /* a name past the headers' end */
        {12 + 1 + 11, 10, true},  /* a type that there is none of */
        {12 + 1 + 12, 255, true}, /* a value past the headers' end */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memcpy(text, whole, bytes);
        text[rows[i].offset] = rows[i].value;
        if (rows[i].sums) {
            put_u32(text + 8, (uint32_t)crc32(0, text, 8));
        }
        expect(text, bytes, "ERROR");
    }
}

TEST(an_exception_of_ours_is_read_as_one)
{
    uint8_t text[256];
    size_t bytes = ns_event_stream_exception("validationException", "{}", 2, text, sizeof text);
    expect(text, bytes, "!{p={}}");
    uint32_t sum = (uint32_t)crc32(0, text, (uInt)bytes - 4);
    uint8_t told[4];
    put_u32(told, sum);
    CHECK(memcmp(told, text + bytes - 4, 4) == 0);
    CHECK_INT(ns_event_stream_exception("validationException", "{}", 2, text, bytes - 1), 0);
}

/* --- what they wrap ------------------------------------------------------------------------- */

static void
unwrap(const void *context, struct pieces *pieces, struct trace *trace)
{
    const size_t *room = context;
    struct ns_event_bytes wrapped = {0};
    const uint8_t *bytes;
    size_t count;
    while (next_piece(pieces, &bytes, &count)) {
        while (count > 0) {
            uint8_t out[64];
            size_t made;
            size_t used = ns_event_bytes_feed(&wrapped, bytes, count, out, *room, &made);
            CHECK(used <= count && used > 0);
            CHECK(made <= *room);
            if (made > 0) {
                trace_data(trace, 'b', out, made);
            }
            bytes += used;
            count -= used;
        }
    }
    if (wrapped.base64.bad) {
        trace_event(trace, "BAD");
    }
}

static void
expect_wrapped(const char *payload, const char *said)
{
    static const size_t rooms[] = {4, 7, 64};
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
        struct trace trace;
        check_splits(unwrap, &rooms[i], payload, strlen(payload), &trace);
        if (strcmp(trace.bytes, said) != 0) {
            NS_FAIL("room for %zu: \"%.300s\" instead of \"%.300s\"", rooms[i], trace.bytes, said);
        }
        trace_clear(&trace);
    }
}

TEST(the_document_within_a_chunk_is_decoded)
{
    expect_wrapped("{\"bytes\":\"eyJhIjoxfQ==\",\"p\":\"abc\"}", "b={\"a\":1}");
    expect_wrapped("{ \"p\" : \"bytes\\\"\" , \"bytes\" : \"Zm9vYmE=\" }", "b=fooba");
    expect_wrapped("{\"bytesx\":\"eyJ9\",\"byte\":\"eyJ9\",\"x\":\"bytes\",\"bytes\":\"Zm9v\"}",
                   "b=foo");
    expect_wrapped("{\"bytes\":\"\"}", "");
    expect_wrapped("{\"bytes\":\"Zm9\\u0039\"}", "b=foBAD");
    expect_wrapped("{\"bytes\":\"Zg==Zg\"}", "b=fBAD");
}
