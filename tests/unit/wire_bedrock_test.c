/* SPDX-License-Identifier: Apache-2.0 */
/* Bedrock's answers: where they tell what was used, and its streams. */
#include "tests/unit/aws_message.h"
#include "tests/unit/exchange.h"

#define HOST "bedrock-runtime.us-east-1.amazonaws.com"

static void
expect(const char *path, const char *headers, const void *body, size_t body_bytes,
       const struct meter *meters, size_t meter_count)
{
    struct exchange exchange = ask_json(HOST, path, "{}");
    REQUIRE(exchange.call != NULL);
    struct ns_wire_call *call = answer_bytes(&exchange, 200, headers, body, body_bytes, body_bytes);
    REQUIRE(call != NULL);
    CHECK_INT(ns_wire_evidence(call), NS_EVIDENCE_REPORTED);
    CHECK(!call->response.unreadable);
    expect_meters(call, meters, meter_count);
    ns_wire_call_free(call);
    close_exchange(&exchange);
}

#define EXPECT(path, headers, body, body_bytes, ...)                                               \
    do {                                                                                           \
        const struct meter meters[] = {__VA_ARGS__};                                               \
        expect(path, headers, body, body_bytes, meters, sizeof(meters) / sizeof(meters[0]));       \
    } while (0)

#define EXPECT_TEXT(path, headers, text, ...) EXPECT(path, headers, text, strlen(text), __VA_ARGS__)

TEST(a_conversation_tells_its_classes_disjoint)
{
    EXPECT_TEXT("/model/m/converse", "",
                "{\"stopReason\":\"end_turn\",\"usage\":{\"inputTokens\":3,\"outputTokens\":5,"
                "\"totalTokens\":21,\"cacheReadInputTokens\":4,\"cacheWriteInputTokens\":9,"
                "\"cacheDetails\":[{\"ttl\":\"5m\",\"inputTokens\":7},{\"inputTokens\":2,"
                "\"ttl\":\"1h\"}]}}",
                {NS_METER_INPUT, 3}, {NS_METER_OUTPUT, 5}, {NS_METER_CACHE_READ, 4},
                {NS_METER_CACHE_WRITE, 7}, {NS_METER_CACHE_WRITE_1H, 2});
}

TEST(the_head_counts_before_a_body_that_may_count_nothing)
{
#define COUNTS                                                                                     \
    "X-Amzn-Bedrock-Input-Token-Count: 11\r\nX-Amzn-Bedrock-Output-Token-Count: 12\r\n"            \
    "X-Amzn-Bedrock-Cache-Read-Input-Token-Count: 13\r\n"                                          \
    "X-Amzn-Bedrock-Cache-Write-Input-Token-Count: 14\r\n"
    EXPECT_TEXT("/model/m/invoke", COUNTS, "{\"generations\":[{\"text\":\"x\"}]}",
                {NS_METER_INPUT, 11}, {NS_METER_OUTPUT, 12}, {NS_METER_CACHE_READ, 13},
                {NS_METER_CACHE_WRITE, 14});
    /* Only the body knows for how long it was written. */
    EXPECT_TEXT("/model/m/invoke", COUNTS,
                "{\"usage\":{\"input_tokens\":1,\"cache_creation_input_tokens\":14,"
                "\"cache_creation\":{\"ephemeral_1h_input_tokens\":4}}}",
                {NS_METER_INPUT, 11}, {NS_METER_OUTPUT, 12}, {NS_METER_CACHE_READ, 13},
                {NS_METER_CACHE_WRITE, 10}, {NS_METER_CACHE_WRITE_1H, 4});
}

TEST(each_vendor_counts_in_its_own_words)
{
    static const char *const bodies[] = {
        "{\"usage\":{\"input_tokens\":6,\"output_tokens\":7}}",
        "{\"usage\":{\"inputTokens\":6,\"outputTokens\":7}}",
        "{\"usage\":{\"prompt_tokens\":6,\"completion_tokens\":7}}",
        "{\"inputTextTokenCount\":6,\"results\":[{\"tokenCount\":7,\"outputText\":\"x\"}]}",
        "{\"generation\":\"x\",\"prompt_token_count\":6,\"generation_token_count\":7}",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        EXPECT_TEXT("/model/m/invoke", "", bodies[i], {NS_METER_INPUT, 6}, {NS_METER_OUTPUT, 7});
    }
}

/* --- streams -------------------------------------------------------------------------------- */

static size_t
converse_stream(uint8_t *to)
{
    size_t bytes = put_event(to, "messageStart", "{\"role\":\"assistant\",\"p\":\"abc\"}");
    bytes += put_event(to + bytes, "contentBlockDelta",
                       "{\"contentBlockIndex\":0,\"delta\":{\"text\":\"hello\"}}");
    bytes += put_event(to + bytes, "messageStop", "{\"stopReason\":\"end_turn\"}");
    return bytes + put_event(to + bytes, "metadata",
                             "{\"metrics\":{\"latencyMs\":5},\"usage\":{\"inputTokens\":8,"
                             "\"outputTokens\":2,\"totalTokens\":10}}");
}

TEST(the_last_message_of_a_conversation_tells_what_it_used)
{
    uint8_t body[4096];
    size_t bytes = converse_stream(body);
    EXPECT("/model/m/converse-stream", "", body, bytes, {NS_METER_INPUT, 8}, {NS_METER_OUTPUT, 2});
}

TEST(what_invoked_models_stream_is_wrapped)
{
    uint8_t body[4096];
    /* {"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":1}}} */
    size_t bytes =
        put_event(body, "chunk",
                  "{\"bytes\":\"eyJ0eXBlIjoibWVzc2FnZV9zdGFydCIsIm1lc3NhZ2UiOnsidXNhZ2Ui"
                  "OnsiaW5wdXRfdG9rZW5zIjozLCJvdXRwdXRfdG9rZW5zIjoxfX19\",\"p\":\"ab\"}");
    /* {"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":30,
     * "outputTokenCount":9}} */
    bytes +=
        put_event(body + bytes, "chunk",
                  "{\"p\":\"abcd\",\"bytes\":\"eyJ0eXBlIjoibWVzc2FnZV9zdG9wIiwiYW1hem9uLWJlZHJv"
                  "Y2staW52b2NhdGlvbk1ldHJpY3MiOnsiaW5wdXRUb2tlbkNvdW50IjozMCwib3V0cHV0VG9rZW5D"
                  "b3VudCI6OX19\"}");
    EXPECT("/model/m/invoke-with-response-stream", "", body, bytes, {NS_METER_INPUT, 30},
           {NS_METER_OUTPUT, 9});
}

TEST(a_stream_that_breaks_off_is_known_by_its_text)
{
    uint8_t body[4096];
    size_t bytes = converse_stream(body);
    static const struct {
        size_t missing; /* bytes at the end */
        enum ns_evidence evidence;
    } rows[] = {{0, NS_EVIDENCE_REPORTED}, {4, NS_EVIDENCE_PARTIAL}, {100, NS_EVIDENCE_COUNTED}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct exchange exchange = ask_json(HOST, "/model/m/converse-stream", "{}");
        struct ns_wire_call *call =
            answer_bytes(&exchange, 200, "", body, bytes, bytes - rows[i].missing);
        REQUIRE(call != NULL);
        CHECK_STR(ns_evidence_name(ns_wire_evidence(call)), ns_evidence_name(rows[i].evidence));
        CHECK_INT(call->request.streamed, true);
        ns_wire_call_free(call);
        close_exchange(&exchange);
    }
}

TEST(an_exception_amid_a_stream_is_an_error)
{
    uint8_t body[4096];
    size_t bytes = put_event(body, "messageStart", "{\"role\":\"assistant\"}");
    bytes += put_message(body + bytes, "exception", "", "{\"message\":\"Too many tokens\"}");
    struct exchange exchange = ask_json(HOST, "/model/m/converse-stream", "{}");
    struct ns_wire_call *call = answer_bytes(&exchange, 200, "", body, bytes, bytes);
    REQUIRE(call != NULL);
    CHECK(call->response.error);
    CHECK(!call->response.unreadable);
    ns_wire_call_free(call);
    close_exchange(&exchange);
}

TEST(what_is_no_stream_is_unreadable_and_the_connection_stays_in_step)
{
    static const uint8_t body[] = {0, 0, 0, 40, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};
    struct exchange exchange = ask_json(HOST, "/model/m/converse-stream", "{}");
    struct ns_wire_call *call = answer_bytes(&exchange, 200, "", body, sizeof body, sizeof body);
    REQUIRE(call != NULL);
    CHECK(call->response.unreadable);
    CHECK_STR(ns_evidence_name(ns_wire_evidence(call)), ns_evidence_name(NS_EVIDENCE_ESTIMATED));
    CHECK(!ns_wire_is_opaque(exchange.wire));
    ns_wire_call_free(call);
    close_exchange(&exchange);
}

TEST(a_stream_is_cut_between_its_messages)
{
    uint8_t body[4096];
    size_t bytes = put_event(body, "contentBlockDelta", "{\"delta\":{\"text\":\"one\"}}");
    size_t first = bytes;
    bytes += put_event(body + bytes, "contentBlockDelta", "{\"delta\":{\"text\":\"two\"}}");
    for (size_t from = 1; from < first; from++) {
        struct exchange exchange = ask_json(HOST, "/model/m/converse-stream", "{}");
        static const char head[] = "HTTP/1.1 200 X\r\n\r\n";
        struct ns_wire_read read = {0};
        (void)ns_wire_read(exchange.wire, (const uint8_t *)head, strlen(head), &read);
        size_t at = 0;
        while (at < from) {
            at += ns_wire_read(exchange.wire, body + at, from - at, &read);
        }
        CHECK_INT(ns_wire_may_cut(exchange.wire), NS_WIRE_CUT_LATER);
        ns_wire_stop(exchange.wire);
        while (at < bytes && read.event != NS_WIRE_READ_BOUNDARY) {
            at += ns_wire_read(exchange.wire, body + at, bytes - at, &read);
        }
        CHECK_INT(at, first);
        struct ns_wire_denial denial = {.message = "no", .denial_id = "id"};
        uint8_t text[512];
        int made = ns_wire_cut_write(read.call, &denial, (char *)text, sizeof text);
        REQUIRE(made > 0);
        CHECK(memmem(text, (size_t)made, "{\"message\":\"no\"}", 16) != NULL);
        close_exchange(&exchange);
    }
}
