/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bedrock's runtime: converse, which is the same for all models, and invoke, whose bodies are each
 * vendor's own. What an invocation used stands in headers of the answer
 * (X-Amzn-Bedrock-Input-Token-Count and its like), in the last message of a stream
 * ("amazon-bedrock-invocationMetrics"), or only in the body; the first of these that is there
 * counts. Classes are disjoint as sent: total = input + output + cache read + cache write.
 * Streams are AWS event streams.
 */
#include <string.h>

#include "wire/providers/family.h"
#include "wire/text.h"

static const struct ns_route routes[] = {
    {"/model/*/converse", "converse", 0, NULL},
    {"/model/*/converse-stream", "converse", NS_ROUTE_STREAMS | NS_ROUTE_USAGE, NULL},
    {"/model/*/invoke", "invoke", 0, NULL},
    {"/model/*/invoke-with-response-stream", "invoke", NS_ROUTE_STREAMS | NS_ROUTE_USAGE, NULL},
    {NULL, NULL, 0, NULL},
};

/* --- requests ------------------------------------------------------------------------------ */

static const struct ns_fact_rule request_rules[] = {
    {"inferenceConfig/maxTokens|max_new_tokens", NS_ASK_CAP, NULL},
    {"max_tokens|max_tokens_to_sample|maxTokens|max_gen_len", NS_ASK_CAP, NULL},
    {"max_completion_tokens|max_new_tokens", NS_ASK_CAP, NULL},
    {"textGenerationConfig/maxTokenCount", NS_ASK_CAP, NULL},
    {"numResults|num_generations|n", NS_ASK_CHOICES, NULL},
    {"serviceTier/type", NS_ASK_TIER, NULL},
    {"promptVariables", NS_ASK_ELSEWHERE, NULL},
    {"tools/[]/type", NS_ASK_TOOL, NULL},
    {"tools/[]/input_schema", NS_ASK_FUNCTION, NULL},
    {"toolConfig/tools/[]/toolSpec", NS_ASK_FUNCTION, NULL},
};

static const struct ns_prompt_root prompt_roots[] = {
    {"messages", NS_PROMPT_CONTENT},  {"system", NS_PROMPT_CONTENT},
    {"prompt", NS_PROMPT_CONTENT},    {"inputText", NS_PROMPT_CONTENT},
    {"texts", NS_PROMPT_CONTENT},     {"message", NS_PROMPT_CONTENT},
    {"chat_history", NS_PROMPT_TEXT}, {"documents", NS_PROMPT_TEXT},
    {"toolConfig", NS_PROMPT_TEXT},   {"tools", NS_PROMPT_TEXT},
    {"outputConfig", NS_PROMPT_TEXT}, {"additionalModelRequestFields", NS_PROMPT_TEXT},
    {NULL, NS_PROMPT_NONE},
};

/* --- answers ------------------------------------------------------------------------------- */

enum {
    TOLD_ID = 1,
    TOLD_MODEL,
    TOLD_TIER,
    TOLD_FINISH,
    TOLD_TEXT,
    TOLD_ERROR,
    TOLD_LAST,
    TOLD_DETAIL,
    TOLD_DETAIL_TTL,
    TOLD_DETAIL_COUNT,
    TOLD_COUNT /* + a raw counter */
};

/* Raw counters, of each place that tells them. */
enum { INPUT, OUTPUT, READ, WRITTEN, PLACE_COUNTS };
enum {
    BODY,
    METRICS = BODY + PLACE_COUNTS,
    HEAD = METRICS + PLACE_COUNTS,
    WRITTEN_1H = HEAD + PLACE_COUNTS,
    THINKING
};

static const struct ns_fact_rule detail_rules[] = {
    {"ttl", TOLD_DETAIL_TTL, NULL},
    {"inputTokens", TOLD_DETAIL_COUNT, NULL},
};
static const struct ns_fact_table details = NS_FACT_TABLE(detail_rules);

static const struct ns_fact_rule usage_rules[] = {
    /* converse, and Amazon's models */
    {"inputTokens", TOLD_COUNT + BODY + INPUT, NULL},
    {"outputTokens", TOLD_COUNT + BODY + OUTPUT, NULL},
    {"cacheReadInputTokens|cacheReadInputTokenCount", TOLD_COUNT + BODY + READ, NULL},
    {"cacheWriteInputTokens|cacheWriteInputTokenCount", TOLD_COUNT + BODY + WRITTEN, NULL},
    {"cacheDetails/[]", TOLD_DETAIL, &details},
    /* Anthropic's */
    {"input_tokens", TOLD_COUNT + BODY + INPUT, NULL},
    {"output_tokens", TOLD_COUNT + BODY + OUTPUT, NULL},
    {"cache_read_input_tokens", TOLD_COUNT + BODY + READ, NULL},
    {"cache_creation_input_tokens", TOLD_COUNT + BODY + WRITTEN, NULL},
    {"cache_creation/ephemeral_1h_input_tokens", TOLD_COUNT + WRITTEN_1H, NULL},
    {"output_tokens_details/thinking_tokens", TOLD_COUNT + THINKING, NULL},
    /* those that speak as OpenAI's do */
    {"prompt_tokens", TOLD_COUNT + BODY + INPUT, NULL},
    {"completion_tokens", TOLD_COUNT + BODY + OUTPUT, NULL},
};
static const struct ns_fact_table usage_table = NS_FACT_TABLE(usage_rules);

static const struct ns_fact_rule metrics_rules[] = {
    {"inputTokenCount", TOLD_COUNT + METRICS + INPUT, NULL},
    {"outputTokenCount", TOLD_COUNT + METRICS + OUTPUT, NULL},
    {"cacheReadInputTokenCount", TOLD_COUNT + METRICS + READ, NULL},
    {"cacheWriteInputTokenCount", TOLD_COUNT + METRICS + WRITTEN, NULL},
};
static const struct ns_fact_table metrics_table = NS_FACT_TABLE(metrics_rules);

static const struct ns_fact_rule message_rules[] = {
    {"id", TOLD_ID, NULL},
    {"model", TOLD_MODEL, NULL},
    {"usage", 0, &usage_table},
};
static const struct ns_fact_table message_table = NS_FACT_TABLE(message_rules);

/* The messages of a converse stream, each of which is bare there, and within a member of its name
 * where Amazon's models are invoked. */
#define MESSAGE_STOP_RULES                                                                         \
    {                                                                                              \
        "stopReason", TOLD_FINISH, NULL                                                            \
    }
#define CONTENT_BLOCK_DELTA_RULES                                                                  \
    {"delta/text", TOLD_TEXT, NULL}, {"delta/toolUse/input", TOLD_TEXT, NULL},                     \
    {                                                                                              \
        "delta/reasoningContent/text", TOLD_TEXT, NULL                                             \
    }
#define METADATA_RULES                                                                             \
    {"usage", 0, &usage_table}, {"metrics", TOLD_LAST, NULL},                                      \
        {"trace/promptRouter/invokedModelId", TOLD_MODEL, NULL},                                   \
    {                                                                                              \
        "serviceTier/type", TOLD_TIER, NULL                                                        \
    }

static const struct ns_fact_rule stop_rules[] = {MESSAGE_STOP_RULES};
static const struct ns_fact_rule delta_rules[] = {CONTENT_BLOCK_DELTA_RULES};
static const struct ns_fact_rule metadata_rules[] = {METADATA_RULES};
static const struct ns_fact_table stop_table = NS_FACT_TABLE(stop_rules);
static const struct ns_fact_table delta_table = NS_FACT_TABLE(delta_rules);
static const struct ns_fact_table metadata_table = NS_FACT_TABLE(metadata_rules);

static const struct ns_fact_rule response_rules[] = {
    MESSAGE_STOP_RULES,
    CONTENT_BLOCK_DELTA_RULES,
    METADATA_RULES,
    {"messageStop", 0, &stop_table},
    {"contentBlockDelta", 0, &delta_table},
    {"metadata", 0, &metadata_table},
    {"amazon-bedrock-invocationMetrics", TOLD_LAST, &metrics_table},
    {"id", TOLD_ID, NULL},
    {"model", TOLD_MODEL, NULL},
    {"message", 0, &message_table}, /* the beginning of an Anthropic stream */
    {"stop_reason|completionReason|finish_reason", TOLD_FINISH, NULL},
    {"delta/stop_reason", TOLD_FINISH, NULL},
    {"results|outputs|choices|generations/[]/completionReason|stop_reason|finish_reason",
     TOLD_FINISH, NULL},
    {"error", TOLD_ERROR, NULL},
    /* Amazon's Titan, Meta's Llama */
    {"inputTextTokenCount|prompt_token_count", TOLD_COUNT + BODY + INPUT, NULL},
    {"totalOutputTextTokenCount|generation_token_count", TOLD_COUNT + BODY + OUTPUT, NULL},
    {"results/[]/tokenCount", TOLD_COUNT + BODY + OUTPUT, NULL},
    {"output/message/content/[]/text", TOLD_TEXT, NULL},
    {"output/message/content/[]/reasoningContent/reasoningText/text", TOLD_TEXT, NULL},
    {"delta/thinking|partial_json", TOLD_TEXT, NULL},
    {"content/[]/text|thinking", TOLD_TEXT, NULL},
    {"completion|outputText|generation|text", TOLD_TEXT, NULL},
    {"results|outputs|generations/[]/outputText|text", TOLD_TEXT, NULL},
    {"choices/[]/message|delta/content", TOLD_TEXT, NULL},
};

/* A model, or the end of an ARN that names one. */
static void
told_model(struct ns_wire_response *response, const struct ns_json_input *value)
{
    if (value->event != NS_JSON_STRING) {
        return;
    }
    const char *slash = memrchr(value->text, '/', value->text_bytes);
    const char *model = slash != NULL ? slash + 1 : value->text;
    size_t bytes = value->text_bytes - (size_t)(model - value->text);
    if (bytes > 0) {
        ns_wire_text_copy(response->model, sizeof(response->model), model, bytes);
    }
}

/* What was written to the cache, by how long it is kept. */
static void
told_detail(struct ns_reading *reading, int fact, const struct ns_json_input *value)
{
    if (fact == TOLD_DETAIL_TTL) {
        reading->detail =
            value->event == NS_JSON_STRING && ns_wire_text_is(value->text, value->text_bytes, "1h");
    } else if (fact == TOLD_DETAIL_COUNT) {
        reading->detail_count = ns_smaller(ns_family_count(value, 0), NS_RAW_COUNT_MAX);
    } else if (value->event == NS_JSON_OBJECT_BEGIN) {
        reading->detail = 0;
        reading->detail_count = 0;
    } else if (value->event == NS_JSON_OBJECT_END && reading->detail != 0) {
        ns_raw_add(&reading->usage, WRITTEN_1H, reading->detail_count);
    }
}

static void
response_fact(struct ns_reading *reading, int fact, const struct ns_json_input *value)
{
    struct ns_wire_response *response = &reading->call->response;
    switch (fact) {
    case TOLD_ID:
        ns_family_text(response->id, sizeof(response->id), value);
        break;
    case TOLD_MODEL:
        told_model(response, value);
        break;
    case TOLD_TIER:
        ns_family_text(response->service_tier, sizeof(response->service_tier), value);
        break;
    case TOLD_FINISH:
        reading->finished |= value->event == NS_JSON_STRING;
        break;
    case TOLD_TEXT:
        response->text_bytes += value->event == NS_JSON_STRING ? value->text_bytes_total : 0;
        break;
    case TOLD_ERROR:
        response->error |= value->event == NS_JSON_OBJECT_BEGIN || value->event == NS_JSON_STRING;
        break;
    case TOLD_LAST:
        reading->last_event |= value->event == NS_JSON_OBJECT_BEGIN;
        reading->finished |= value->event == NS_JSON_OBJECT_BEGIN;
        break;
    case TOLD_DETAIL:
    case TOLD_DETAIL_TTL:
    case TOLD_DETAIL_COUNT:
        told_detail(reading, fact, value);
        break;
    default:
        ns_raw_set(&reading->usage, (unsigned)(fact - TOLD_COUNT), value);
        if (fact == TOLD_COUNT + BODY + OUTPUT || fact == TOLD_COUNT + METRICS + OUTPUT) {
            response->text_bytes = 0; /* counted, so far */
        }
        break;
    }
}

static void
response_head(struct ns_reading *reading, const struct ns_http1 *head)
{
    static const struct {
        const char *name;
        unsigned raw;
    } counts[] = {
        {"x-amzn-bedrock-input-token-count", HEAD + INPUT},
        {"x-amzn-bedrock-output-token-count", HEAD + OUTPUT},
        {"x-amzn-bedrock-cache-read-input-token-count", HEAD + READ},
        {"x-amzn-bedrock-cache-write-input-token-count", HEAD + WRITTEN},
    };
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct ns_http1_text text = ns_http1_find(head, counts[i].name);
        uint64_t count;
        if (text.text != NULL &&
            ns_wire_text_number(text.text, text.bytes, NS_RAW_COUNT_MAX, &count) == 0) {
            ns_raw_add(&reading->usage, counts[i].raw, count);
        }
    }
    struct ns_wire_response *response = &reading->call->response;
    struct ns_http1_text tier = ns_http1_find(head, "x-amzn-bedrock-service-tier");
    if (tier.text != NULL) {
        ns_wire_text_copy(response->service_tier, sizeof(response->service_tier), tier.text,
                          tier.bytes);
    }
}

static void
settle(struct ns_reading *reading)
{
    struct ns_wire_response *response = &reading->call->response;
    const struct ns_raw *raw = &reading->usage;
    unsigned place = ns_raw_has(raw, HEAD + INPUT)      ? HEAD
                     : ns_raw_has(raw, METRICS + INPUT) ? METRICS
                                                        : BODY;
    const uint64_t *counts = raw->count + place;
    uint64_t hour = ns_smaller(raw->count[WRITTEN_1H], counts[WRITTEN]);
    uint64_t thinking = ns_smaller(raw->count[THINKING], counts[OUTPUT]);
    const struct {
        enum ns_meter meter;
        uint64_t count;
        bool told;
    } classes[] = {
        {NS_METER_INPUT, counts[INPUT], ns_raw_has(raw, place + INPUT)},
        {NS_METER_OUTPUT, counts[OUTPUT] - thinking, ns_raw_has(raw, place + OUTPUT)},
        {NS_METER_OUTPUT_REASONING, thinking, thinking > 0},
        {NS_METER_CACHE_READ, counts[READ], counts[READ] > 0},
        {NS_METER_CACHE_WRITE, counts[WRITTEN] - hour, counts[WRITTEN] > hour},
        {NS_METER_CACHE_WRITE_1H, hour, hour > 0},
    };
    response->usage = (struct ns_usage){0};
    response->has_usage = ns_raw_has(raw, place + INPUT) || ns_raw_has(raw, place + OUTPUT);
    for (size_t i = 0; response->has_usage && i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (classes[i].told) {
            ns_usage_set(&response->usage, classes[i].meter, classes[i].count);
        }
    }
}

const struct ns_family ns_family_bedrock = {
    .name = "bedrock",
    .speaks = NS_SPEAKS_BEDROCK,
    .routes = routes,
    .request = NS_FACT_TABLE(request_rules),
    .prompt_roots = prompt_roots,
    .response = NS_FACT_TABLE(response_rules),
    .request_fact = ns_family_asked,
    .response_head = response_head,
    .response_fact = response_fact,
    .settle = settle,
};
