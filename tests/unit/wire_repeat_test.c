/* SPDX-License-Identifier: Apache-2.0 */
/* Events that are compared with the one before them say what they say when they are read. */
#include "base/mem.h"
#include "tests/harness.h"
#include "wire/answer.h"
#include "wire/repeat.h"

#define ANSWER_HEAD "HTTP/1.1 200 OK\r\n\r\n"
#define ROUNDS 3000
#define EVENTS 24

static uint32_t
below(uint32_t bound)
{
    return (uint32_t)(ns_test_random() % bound);
}

/* --- one stream, fed in pieces ---------------------------------------------------------------- */

struct fed {
    struct ns_answer answer;
    struct ns_wire_call *call;
};

static void
begin(struct fed *fed, const struct ns_family *family)
{
    struct ns_http1 *parser = ns_http1_new(NS_HTTP1_RESPONSES);
    struct ns_http1_input input;
    memset(fed, 0, sizeof *fed);
    fed->call = ns_mem_alloc(sizeof *fed->call);
    REQUIRE(parser != NULL && fed->call != NULL);
    ns_http1_feed(parser, (const uint8_t *)ANSWER_HEAD, sizeof ANSWER_HEAD - 1, &input);
    CHECK_INT(input.event, NS_HTTP1_HEAD);
    ns_answer_begin(&fed->answer, parser, family, 0, fed->call);
    ns_http1_free(parser);
}

static void
end(struct fed *fed)
{
    ns_answer_free(&fed->answer);
    ns_wire_call_free(fed->call);
}

/* piece: bytes a time; 0: any number. Each piece lies where its end is the end of the memory, so
 * that a sanitizer sees what reads past it. */
static void
feed(struct fed *fed, const char *text, size_t bytes, size_t piece)
{
    for (size_t i = 0; i < bytes;) {
        size_t count = piece != 0 ? piece : 1 + below(900);
        count = count < bytes - i ? count : bytes - i;
        uint8_t *copy = malloc(count);
        REQUIRE(copy != NULL);
        memcpy(copy, text + i, count);
        ns_answer_body(&fed->answer, copy, count);
        CHECK(ns_answer_current(&fed->answer) == fed->call);
        free(copy);
        i += count;
    }
}

/* --- streams ---------------------------------------------------------------------------------- */

static const char *const openai[] = {
    "data: {\"id\":\"%I\",\"created\":%N,\"model\":\"%M\",\"choices\":[{\"index\":0,\"delta\":"
    "{\"content\":\"%T\"},\"finish_reason\":null}],\"usage\":null,\"obfuscation\":\"%T\"}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\","
    "\"sequence_number\":%N,\"delta\":\"%T\",\"logprobs\":[]}\n\n",
    "data: {\"id\":\"%I\",\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":{\"name\":\"%T\","
    "\"arguments\":\"%T\"}}]}}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"%T\"}}],\"usage\":{\"prompt_tokens\":%N,"
    "\"completion_tokens\":%N}}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"%T\"},\"finish_reason\":\"stop\"}]}\r\n\r\n",
    "data: {\"model\":\"%M\",\"model\":\"%M\",\"service_tier\":\"%I\",\"text\":%N}\n\n",
    "data: {\"error\":{\"message\":\"%T\"}}\n\n",
    "data: {\"choices\":[{\"delta\":\ndata: {\"content\":\"%T\"}}]}\n\n",
    "data: {\"choices\":[{\"text\":\"%T\"}],\"x\":[%N\ndata: ,%N]}\n\n",
    ": keep alive\n\n",
    "data: [DONE]\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"%T\"\n\n",
    "data: {\"choices\":[{\"text\":%N,\"text\":\"%T\"}],\"x\":[\"%T\",%N, %N]}\n\n",
};
static const char *const anthropic[] = {
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
    "{\"type\":\"text_delta\",\"text\":\"%T\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":%N,\"delta\":"
    "{\"type\":\"input_json_delta\",\"partial_json\":\"%T\"}}\n\n",
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"%I\",\"model\":"
    "\"%M\",\"usage\":{\"input_tokens\":%N,\"output_tokens\":%N}}}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"%I\"},"
    "\"usage\":{\"output_tokens\":%N}}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
};

static const char *const texts[] = {"a",
                                    "",
                                    " word",
                                    "\\n",
                                    "\\\"x\\\"",
                                    "\\u00e9",
                                    "\xe2\x80\x94",
                                    "\\ud83d\\ude00",
                                    "a\tb",
                                    "\xff\xc3",
                                    "1234567890123456789012345678901234567890",
                                    "\\/\\b"};
static const char *const numbers[] = {"0", "7", "12", "1733929628", "-1", "1.5", "1e2", "007"};

static const char *
word(char kind)
{
    switch (kind) {
    case 'T':
        return texts[below(sizeof texts / sizeof texts[0])];
    case 'N':
        return numbers[below(sizeof numbers / sizeof numbers[0])];
    case 'I':
        return below(8) == 0 ? "chatcmpl-2" : "chatcmpl-1";
    default:
        return below(8) == 0 ? "gpt-other" : "gpt-4o-mini";
    }
}

/* A stream that mostly repeats one of the events. Returns its bytes. */
static size_t
make_stream(const char *const *events, uint32_t count, char *stream)
{
    uint32_t most = below(count);
    size_t bytes = 0;
    for (int i = 0; i < EVENTS; i++) {
        for (const char *at = events[below(5) == 0 ? below(count) : most]; *at != '\0'; at++) {
            if (*at == '%') {
                const char *text = word(*++at);
                memcpy(stream + bytes, text, strlen(text));
                bytes += strlen(text);
            } else {
                stream[bytes++] = *at;
            }
        }
    }
    return bytes;
}

static void
compare_responses(const struct ns_wire_response *one, const struct ns_wire_response *other)
{
    CHECK_INT(one->events, other->events);
    CHECK_INT(one->body_bytes, other->body_bytes);
    CHECK_INT(one->text_bytes, other->text_bytes);
    CHECK_INT(one->has_usage, other->has_usage);
    CHECK_INT(one->error, other->error);
    CHECK_INT(one->complete, other->complete);
    CHECK_INT(one->unreadable, other->unreadable);
    CHECK(strcmp(one->model, other->model) == 0);
    CHECK(strcmp(one->id, other->id) == 0);
    CHECK(strcmp(one->service_tier, other->service_tier) == 0);
    CHECK(memcmp(&one->usage, &other->usage, sizeof one->usage) == 0);
}

static void
compare(const struct ns_family *family, const char *stream, size_t bytes)
{
    struct fed singly, whole, pieces;
    struct fed *all[] = {&singly, &whole, &pieces};
    const size_t piece[] = {1, SIZE_MAX, 0};
    for (int i = 0; i < 3; i++) {
        begin(all[i], family);
        feed(all[i], stream, bytes, piece[i]);
        CHECK(memcmp(&all[i]->call->response.usage, &singly.call->response.usage,
                     sizeof singly.call->response.usage) == 0);
        CHECK_INT(all[i]->answer.reading.finished, singly.answer.reading.finished);
        CHECK_INT(all[i]->answer.stream_over, singly.answer.stream_over);
        ns_answer_end(&all[i]->answer, true);
        compare_responses(&all[i]->call->response, &singly.call->response);
    }
    for (int i = 0; i < 3; i++) {
        end(all[i]);
    }
}

TEST(whatever_repeats_a_stream_says_the_same_whole_and_byte_by_byte)
{
    static char stream[EVENTS * 1024];
    for (int round = 0; round < ROUNDS && ns_test_failures == 0; round++) {
        size_t bytes = make_stream(openai, sizeof openai / sizeof openai[0], stream);
        compare(&ns_family_openai, stream, bytes);
        bytes = make_stream(anthropic, sizeof anthropic / sizeof anthropic[0], stream);
        compare(&ns_family_anthropic, stream, bytes);
        if (ns_test_failures > 0) {
            printf("# %.*s\n", (int)bytes, stream);
        }
    }
}

/* --- comparing -------------------------------------------------------------------------------- */

#define EVENT(id, text, number)                                                                    \
    "data: {\"id\":\"" id "\",\"choices\":[{\"delta\":{\"content\":\"" text "\"}}],\"n\":" number  \
    "}\n\n"

/* A stream that has begun: what might be a byte order mark is behind it. */
static void
begin_stream(struct fed *fed)
{
    begin(fed, &ns_family_openai);
    feed(fed, ": hello\n\n", 9, SIZE_MAX);
}

/* The bytes of the event that are found to be the kept one again, after these were read. */
static size_t
matched(struct fed *fed, const char *event, uint64_t *text_bytes)
{
    return ns_repeat_match(&fed->answer.repeat, (const uint8_t *)event, strlen(event), text_bytes);
}

TEST(only_text_and_what_was_seen_to_differ_may_differ)
{
    struct fed fed;
    uint64_t text_bytes;
    begin_stream(&fed);
    feed(&fed, EVENT("1", "one", "1"), strlen(EVENT("1", "one", "1")), SIZE_MAX);
    CHECK_INT(matched(&fed, EVENT("1", "other\\n\xc3\xa9", "1"), &text_bytes),
              strlen(EVENT("1", "other\\n\xc3\xa9", "1")));
    CHECK_INT(text_bytes, 8);
    CHECK_INT(matched(&fed, EVENT("2", "one", "1"), &text_bytes), 0); /* a fact */
    CHECK_INT(matched(&fed, EVENT("2", "one", "1"), &text_bytes), 0);
    CHECK_INT(matched(&fed, EVENT("1", "\\u0041", "1"), &text_bytes), 0);
    CHECK_INT(matched(&fed, EVENT("1", "one", "12"), &text_bytes), 0); /* none: now it is known */
    CHECK(matched(&fed, EVENT("1", "one", "12"), &text_bytes) > 0);
    CHECK_INT(matched(&fed, EVENT("1", "one", "012"), &text_bytes), 0); /* no JSON */
    CHECK_INT(matched(&fed, EVENT("1", "one", "-1"), &text_bytes), 0);
    CHECK_INT(matched(&fed, EVENT("1", "o\tne", "1"), &text_bytes), 0);
    end(&fed);
}

TEST(what_differed_in_other_events_does_not_count)
{
    struct fed fed;
    uint64_t text_bytes;
    const char *shorter = "data: {\"choices\":[{\"text\":\"word\"}]}\n\n";
    begin_stream(&fed);
    feed(&fed, EVENT("1", "one", "1"), strlen(EVENT("1", "one", "1")), SIZE_MAX);
    CHECK_INT(matched(&fed, EVENT("1", "one", "2"), &text_bytes), 0);
    feed(&fed, shorter, strlen(shorter), SIZE_MAX);
    CHECK_INT(matched(&fed, shorter, &text_bytes), strlen(shorter));
    end(&fed);
}

TEST(an_event_of_which_a_byte_is_missing_is_not_there)
{
    struct fed fed;
    uint64_t text_bytes;
    const char *event = EVENT("1", "a word", "1");
    begin_stream(&fed);
    feed(&fed, event, strlen(event), SIZE_MAX);
    for (size_t count = 0; count < strlen(event); count++) {
        CHECK_INT(ns_repeat_match(&fed.answer.repeat, (const uint8_t *)event, count, &text_bytes),
                  0);
    }
    CHECK_INT(matched(&fed, event, &text_bytes), strlen(event));
    end(&fed);
}

/* An event with an array of so many numbers, and so many bytes besides text. */
static size_t
long_event(char event[NS_REPEAT_BYTES_MAX + 64], uint32_t values, size_t bytes)
{
    static const char head[] = "data: {\"x\":[1", end[] = "]}\n\n";
    size_t used = sizeof head - 1;
    memcpy(event, head, used);
    for (uint32_t i = 1; i < values; i++) {
        memcpy(event + used, ",1", 2);
        used += 2;
    }
    while (used + sizeof end - 1 < bytes) {
        event[used++] = ' ';
    }
    memcpy(event + used, end, sizeof end);
    return used + sizeof end - 1;
}

TEST(events_are_kept_up_to_the_bounds)
{
    static const struct {
        uint32_t values;
        size_t bytes;
        bool kept;
    } cases[] = {{1, NS_REPEAT_BYTES_MAX, true},
                 {1, NS_REPEAT_BYTES_MAX + 1, false},
                 {NS_REPEAT_VALUES_MAX, 0, true},
                 {NS_REPEAT_VALUES_MAX + 1, 0, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char event[NS_REPEAT_BYTES_MAX + 64];
        struct fed fed;
        uint64_t text_bytes;
        size_t bytes = long_event(event, cases[i].values, cases[i].bytes);
        begin_stream(&fed);
        feed(&fed, event, bytes, SIZE_MAX);
        CHECK_INT(matched(&fed, event, &text_bytes), cases[i].kept ? bytes : 0);
        CHECK_INT(fed.call->response.events, 1);
        end(&fed);
    }
}

TEST(text_of_any_length_is_kept_out)
{
    static char event[16384], other[16384];
    struct fed fed;
    uint64_t text_bytes;
    begin_stream(&fed);
    snprintf(event, sizeof event, "data: {\"choices\":[{\"text\":\"%03000d\"}]}\n\n", 7);
    snprintf(other, sizeof other, "data: {\"choices\":[{\"text\":\"%09000d\"}]}\n\n", 7);
    feed(&fed, event, strlen(event), SIZE_MAX);
    CHECK_INT(matched(&fed, other, &text_bytes), strlen(other));
    CHECK_INT(text_bytes, 9000);
    end(&fed);
}

/* --- keys ------------------------------------------------------------------------------------- */

/* What a key was found to be is kept, and it may be something else elsewhere. */
TEST(a_key_is_what_it_is_where_it_stands)
{
    const char *event = "data: {\"x_groq\":{\"usage\":{\"prompt_tokens\":5}}}\n\n"
                        "data: {\"usage_info\":{\"usage\":{\"prompt_tokens\":9}}}\n\n"
                        "data: {\"y\":{\"usage\":{\"prompt_tokens\":9}}}\n\n"
                        "data: {\"response\":{\"x_groq\":{\"usage\":{\"prompt_tokens\":9}}}}\n\n";
    struct fed fed;
    begin_stream(&fed);
    feed(&fed, event, strlen(event), SIZE_MAX);
    CHECK_INT(ns_usage_get(&fed.call->response.usage, NS_METER_INPUT), 5);
    end(&fed);
}
