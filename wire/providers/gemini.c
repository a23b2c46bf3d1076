/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gemini's generateContent and its like, on the Gemini API and on Vertex AI, and interactions.
 * total = prompt + candidates + thoughts + toolUse: thoughts stand outside candidates and are
 * billed as output, toolUse outside prompt and billed as input, cached inside prompt. A stream
 * repeats the usage in every chunk; the last one that has promptTokenCount counts. Streams come as
 * SSE or as one JSON array.
 */
#include <string.h>

#include "wire/providers/family.h"
#include "wire/text.h"

static const struct ns_route routes[] = {
    {":generateContent", "generate_content", 0, NULL},
    {":streamGenerateContent", "generate_content",
     NS_ROUTE_STREAMS | NS_ROUTE_USAGE | NS_ROUTE_ARRAY, NULL},
    {":embedContent", "embed_content", 0, NULL},
    {":batchEmbedContents", "embed_content", 0, NULL},
    {":predict", "predict", 0, NULL},
    {"/interactions", "interactions", NS_ROUTE_USAGE, NULL},
    {NULL, NULL, 0, NULL},
};

/* --- requests ------------------------------------------------------------------------------ */

static const struct ns_fact_rule request_rules[] = {
    {"model|agent", NS_ASK_MODEL, NULL},
    {"stream", NS_ASK_STREAM, NULL},
    {"generationConfig|generation_config/maxOutputTokens|max_output_tokens", NS_ASK_CAP, NULL},
    {"generationConfig|generation_config/candidateCount|candidate_count", NS_ASK_CHOICES, NULL},
    {"parameters/maxOutputTokens", NS_ASK_CAP, NULL},
    {"parameters/sampleCount", NS_ASK_CHOICES, NULL},
    {"serviceTier|service_tier", NS_ASK_TIER, NULL},
    {"cachedContent|cached_content|previous_interaction_id", NS_ASK_ELSEWHERE, NULL},
    {"tools/[]/type", NS_ASK_TOOL, NULL},
    {"tools/[]/googleSearch|google_search|googleSearchRetrieval|google_search_retrieval",
     NS_ASK_GOOGLE_SEARCH, NULL},
    {"tools/[]/googleMaps|google_maps", NS_ASK_GOOGLE_MAPS, NULL},
    {"tools/[]/urlContext|url_context", NS_ASK_URL_CONTEXT, NULL},
    {"tools/[]/codeExecution|code_execution", NS_ASK_CODE_EXECUTION, NULL},
    {"tools/[]/fileSearch|file_search", NS_ASK_FILE_SEARCH, NULL},
    {"tools/[]/functionDeclarations|function_declarations", NS_ASK_FUNCTION, NULL},
};

static const struct ns_prompt_root prompt_roots[] = {
    {"contents", NS_PROMPT_CONTENT},
    {"content", NS_PROMPT_CONTENT},
    {"requests", NS_PROMPT_CONTENT},
    {"instances", NS_PROMPT_CONTENT},
    {"input", NS_PROMPT_CONTENT},
    {"systemInstruction", NS_PROMPT_CONTENT},
    {"system_instruction", NS_PROMPT_CONTENT},
    {"tools", NS_PROMPT_TEXT},
    {"generationConfig", NS_PROMPT_TEXT}, /* for its schemas */
    {"generation_config", NS_PROMPT_TEXT},
    {NULL, NS_PROMPT_NONE},
};

/* The model of the path goes first: the body repeats it as "models/…". */
static void
request_fact(struct ns_wire_request *request, int asked, const struct ns_json_input *value)
{
    if (asked != NS_ASK_MODEL || request->model[0] == '\0') {
        ns_family_asked(request, asked, value);
    }
}

/* --- answers ------------------------------------------------------------------------------- */

enum {
    TOLD_ID = 1,
    TOLD_MODEL,
    TOLD_TIER,
    TOLD_TRAFFIC,
    TOLD_ERROR,
    TOLD_FINISH,
    TOLD_EVENT,
    TOLD_TEXT,
    TOLD_USAGE,
    TOLD_MODALITY,
    TOLD_DETAIL,
    TOLD_COUNT = 64,        /* + a raw counter */
    TOLD_DETAIL_COUNT = 128 /* + the first raw counter of a kind of details */
};

/* Modalities; their order is that of the raw counters of each kind of details. */
enum { TEXT, IMAGE, AUDIO, VIDEO, MODALITIES };

enum {
    PROMPT,
    CANDIDATES,
    THOUGHTS,
    TOOL_USE,
    CACHED,
    TOTAL,
    PROMPT_DETAILS,
    CACHED_DETAILS = PROMPT_DETAILS + MODALITIES,
    OUTPUT_DETAILS = CACHED_DETAILS + MODALITIES,
    TOOL_DETAILS = OUTPUT_DETAILS + MODALITIES
};

/* By name, or by number where a client asked for numeric enums. Documents are read as text. */
static const struct {
    const char *name;
    const char *number;
    uint32_t modality;
} modalities[] = {
    {"TEXT", "1", TEXT},   {"IMAGE", "2", IMAGE},   {"VIDEO", "3", VIDEO},
    {"AUDIO", "4", AUDIO}, {"DOCUMENT", "5", TEXT},
};

#define DETAIL_RULES(kind)                                                                         \
    {"modality", TOLD_MODALITY, NULL},                                                             \
    {                                                                                              \
        "tokenCount|tokens", TOLD_DETAIL_COUNT + (kind), NULL                                      \
    }

static const struct ns_fact_rule prompt_detail_rules[] = {DETAIL_RULES(PROMPT_DETAILS)};
static const struct ns_fact_rule cached_detail_rules[] = {DETAIL_RULES(CACHED_DETAILS)};
static const struct ns_fact_rule output_detail_rules[] = {DETAIL_RULES(OUTPUT_DETAILS)};
static const struct ns_fact_rule tool_detail_rules[] = {DETAIL_RULES(TOOL_DETAILS)};
static const struct ns_fact_table prompt_details = NS_FACT_TABLE(prompt_detail_rules);
static const struct ns_fact_table cached_details = NS_FACT_TABLE(cached_detail_rules);
static const struct ns_fact_table output_details = NS_FACT_TABLE(output_detail_rules);
static const struct ns_fact_table tool_details = NS_FACT_TABLE(tool_detail_rules);

static const struct ns_fact_rule usage_rules[] = {
    {"promptTokenCount", TOLD_COUNT + PROMPT, NULL},
    {"candidatesTokenCount", TOLD_COUNT + CANDIDATES, NULL},
    {"thoughtsTokenCount", TOLD_COUNT + THOUGHTS, NULL},
    {"toolUsePromptTokenCount", TOLD_COUNT + TOOL_USE, NULL},
    {"cachedContentTokenCount", TOLD_COUNT + CACHED, NULL},
    {"totalTokenCount", TOLD_COUNT + TOTAL, NULL},
    {"promptTokensDetails|promptTokenDetails/[]", TOLD_DETAIL, &prompt_details},
    {"cacheTokensDetails/[]", TOLD_DETAIL, &cached_details},
    {"candidatesTokensDetails/[]", TOLD_DETAIL, &output_details},
    {"toolUsePromptTokensDetails/[]", TOLD_DETAIL, &tool_details},
    {"serviceTier", TOLD_TIER, NULL},
    {"trafficType", TOLD_TRAFFIC, NULL},
};
static const struct ns_fact_table usage_table = NS_FACT_TABLE(usage_rules);

static const struct ns_fact_rule interaction_usage_rules[] = {
    {"total_input_tokens", TOLD_COUNT + PROMPT, NULL},
    {"total_output_tokens", TOLD_COUNT + CANDIDATES, NULL},
    {"total_thought_tokens", TOLD_COUNT + THOUGHTS, NULL},
    {"total_tool_use_tokens", TOLD_COUNT + TOOL_USE, NULL},
    {"total_cached_tokens", TOLD_COUNT + CACHED, NULL},
    {"total_tokens", TOLD_COUNT + TOTAL, NULL},
    {"input_tokens_by_modality/[]", TOLD_DETAIL, &prompt_details},
    {"cached_tokens_by_modality/[]", TOLD_DETAIL, &cached_details},
    {"output_tokens_by_modality/[]", TOLD_DETAIL, &output_details},
    {"tool_use_tokens_by_modality/[]", TOLD_DETAIL, &tool_details},
};
static const struct ns_fact_table interaction_usage_table = NS_FACT_TABLE(interaction_usage_rules);

#define INTERACTION_RULES                                                                          \
    {"id", TOLD_ID, NULL}, {"model", TOLD_MODEL, NULL}, {"service_tier", TOLD_TIER, NULL},         \
    {                                                                                              \
        "usage", TOLD_USAGE, &interaction_usage_table                                              \
    }

static const struct ns_fact_rule interaction_rules[] = {INTERACTION_RULES};
static const struct ns_fact_table interaction_table = NS_FACT_TABLE(interaction_rules);

#define CHUNK_RULES                                                                                \
    {"usageMetadata", TOLD_USAGE, &usage_table}, {"modelVersion", TOLD_MODEL, NULL},               \
        {"responseId", TOLD_ID, NULL}, {"error", TOLD_ERROR, NULL},                                \
        {"candidates/[]/finishReason", TOLD_FINISH, NULL},                                         \
        {"promptFeedback/blockReason", TOLD_FINISH, NULL},                                         \
    {                                                                                              \
        "candidates/[]/content/parts/[]/text", TOLD_TEXT, NULL                                     \
    }

static const struct ns_fact_rule chunk_rules[] = {CHUNK_RULES};
static const struct ns_fact_table chunk_table = NS_FACT_TABLE(chunk_rules);

static const struct ns_fact_rule response_rules[] = {
    CHUNK_RULES,
    INTERACTION_RULES,
    {"[]", 0, &chunk_table},
    {"interaction", 0, &interaction_table},
    {"event_type|type", TOLD_EVENT, NULL},
    {"delta/text", TOLD_TEXT, NULL},
};

static void
told_modality(struct ns_reading *reading, const struct ns_json_input *value)
{
    for (size_t i = 0; i < sizeof(modalities) / sizeof(modalities[0]); i++) {
        if ((value->event == NS_JSON_STRING || value->event == NS_JSON_NUMBER) &&
            (ns_wire_text_is_nocase(value->text, value->text_bytes, modalities[i].name) ||
             ns_wire_text_is(value->text, value->text_bytes, modalities[i].number))) {
            reading->detail = modalities[i].modality;
        }
    }
}

/* One modality's count. A text's may come without its modality. */
static void
told_detail(struct ns_reading *reading, const struct ns_json_input *value)
{
    if (value->event == NS_JSON_OBJECT_BEGIN) {
        reading->detail = TEXT;
        reading->detail_count = 0;
    } else if (value->event == NS_JSON_OBJECT_END && reading->detail_count > 0) {
        ns_raw_add(&reading->item, reading->detail_first + reading->detail, reading->detail_count);
    }
}

/* The last usage that has a prompt count replaces those before: chunks in the middle may hold
 * nothing but a traffic type. */
static void
told_usage(struct ns_reading *reading, const struct ns_json_input *value)
{
    if (value->event == NS_JSON_OBJECT_BEGIN) {
        memset(&reading->item, 0, sizeof(reading->item));
    } else if (value->event == NS_JSON_OBJECT_END && ns_raw_has(&reading->item, PROMPT)) {
        reading->usage = reading->item;
        if (ns_raw_has(&reading->usage, CANDIDATES)) {
            reading->call->response.text_bytes = 0;
        }
    }
}

/* Vertex says its tier here, if at all. */
static void
told_traffic(struct ns_wire_response *response, const struct ns_json_input *value)
{
    static const struct {
        const char *traffic;
        const char *tier;
    } tiers[] = {{"ON_DEMAND_PRIORITY", "priority"}, {"ON_DEMAND_FLEX", "flex"}};
    for (size_t i = 0; i < sizeof(tiers) / sizeof(tiers[0]); i++) {
        if (value->event == NS_JSON_STRING &&
            ns_wire_text_is(value->text, value->text_bytes, tiers[i].traffic)) {
            ns_wire_text_copy(response->service_tier, sizeof(response->service_tier), tiers[i].tier,
                              strlen(tiers[i].tier));
        }
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
        ns_family_text(response->model, sizeof(response->model), value);
        break;
    case TOLD_TIER:
        ns_family_text(response->service_tier, sizeof(response->service_tier), value);
        break;
    case TOLD_TRAFFIC:
        told_traffic(response, value);
        break;
    case TOLD_ERROR:
        response->error |= value->event == NS_JSON_OBJECT_BEGIN;
        break;
    case TOLD_FINISH: /* numeric enums: a number, 0 is "unspecified" */
        reading->finished |= (value->event == NS_JSON_STRING && value->text_bytes > 0) ||
                             ns_family_count(value, 0) > 0;
        break;
    case TOLD_EVENT:
        reading->finished |=
            value->event == NS_JSON_STRING &&
            ns_wire_text_is(value->text, value->text_bytes, "interaction.completed");
        break;
    case TOLD_TEXT:
        response->text_bytes += value->event == NS_JSON_STRING ? value->text_bytes_total : 0;
        break;
    case TOLD_USAGE:
        told_usage(reading, value);
        break;
    case TOLD_MODALITY:
        told_modality(reading, value);
        break;
    case TOLD_DETAIL:
        told_detail(reading, value);
        break;
    default:
        if (fact < TOLD_DETAIL_COUNT) {
            ns_raw_set(&reading->item, (unsigned)(fact - TOLD_COUNT), value);
        } else {
            reading->detail_first = (uint32_t)(fact - TOLD_DETAIL_COUNT);
            reading->detail_count = ns_smaller(ns_family_count(value, 0), NS_RAW_COUNT_MAX);
        }
        break;
    }
}

/* --- disjoint classes ---------------------------------------------------------------------- */

static void
set_some(struct ns_usage *usage, enum ns_meter meter, uint64_t count)
{
    if (count > 0) {
        ns_usage_set(usage, meter, count);
    }
}

/* Takes from *left what a modality may have of it. */
static uint64_t
take(uint64_t *left, uint64_t count)
{
    count = ns_smaller(count, *left);
    *left -= count;
    return count;
}

static void
settle(struct ns_reading *reading)
{
    struct ns_wire_response *response = &reading->call->response;
    const uint64_t *raw = reading->usage.count;
    struct ns_usage *usage = &response->usage;
    memset(usage, 0, sizeof(*usage));
    response->has_usage = ns_raw_has(&reading->usage, PROMPT);
    if (!response->has_usage) {
        return;
    }
    static const struct {
        uint32_t modality;
        enum ns_meter cached, input, output;
    } meters[] = {
        {IMAGE, NS_METER_CACHE_IMAGE_READ, NS_METER_INPUT_IMAGE, NS_METER_OUTPUT_IMAGE},
        {AUDIO, NS_METER_CACHE_AUDIO_READ, NS_METER_INPUT_AUDIO, NS_METER_OUTPUT_AUDIO},
        {VIDEO, NS_METER_CACHE_VIDEO_READ, NS_METER_INPUT_VIDEO, NS_METER_OUTPUT_VIDEO},
    };
    uint64_t cached = ns_smaller(raw[CACHED], raw[PROMPT]);
    uint64_t input = raw[PROMPT] - cached + raw[TOOL_USE];
    uint64_t output = raw[CANDIDATES];
    for (size_t i = 0; i < sizeof(meters) / sizeof(meters[0]); i++) {
        uint32_t m = meters[i].modality;
        uint64_t of_cached = take(&cached, raw[CACHED_DETAILS + m]);
        uint64_t of_input = ns_less(raw[PROMPT_DETAILS + m], of_cached) + raw[TOOL_DETAILS + m];
        set_some(usage, meters[i].cached, of_cached);
        set_some(usage, meters[i].input, take(&input, of_input));
        set_some(usage, meters[i].output, take(&output, raw[OUTPUT_DETAILS + m]));
    }
    ns_usage_set(usage, NS_METER_INPUT, input);
    ns_usage_set(usage, NS_METER_OUTPUT, output);
    set_some(usage, NS_METER_CACHE_READ, cached);
    set_some(usage, NS_METER_OUTPUT_REASONING, raw[THOUGHTS]);
}

const struct ns_family ns_family_gemini = {
    .name = "gemini",
    .speaks = NS_SPEAKS_GEMINI,
    .routes = routes,
    .request = NS_FACT_TABLE(request_rules),
    .prompt_roots = prompt_roots,
    .response = NS_FACT_TABLE(response_rules),
    .request_fact = request_fact,
    .response_head = ns_family_tier_of_head,
    .response_fact = response_fact,
    .settle = settle,
};
