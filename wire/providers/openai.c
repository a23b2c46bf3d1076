/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI's dialect and everybody who speaks it: chat completions, responses, completions,
 * embeddings, and the smaller paths beside them. Chat names its classes prompt and completion,
 * responses input and output; both are totals that contain cached, audio, reasoning, ….
 *
 * Who counts differently gives itself away by its total, which is checked here instead of
 * believing a list of providers: reasoning outside completion (xAI chat) or audio outside prompt
 * (Mistral) make total exceed prompt + completion by just that count.
 */
#include <string.h>

#include "wire/providers/family.h"
#include "wire/text.h"

static const struct ns_route routes[] = {
    {"/chat/completions", "chat", 0, NULL},
    {"/v1/agents/completions", "chat", NS_ROUTE_USAGE, "mistral"},
    {"/v1/chat", "chat", NS_ROUTE_USAGE, "writer"},
    {"/fim/completions", "completions", NS_ROUTE_USAGE, "mistral"},
    {"/completions", "completions", 0, NULL},
    {"/responses", "responses", NS_ROUTE_USAGE, NULL},
    {"/responses/compact", "responses", NS_ROUTE_USAGE, NULL},
    {":rawPredict", "chat", NS_ROUTE_USAGE, "vertex"}, /* of other publishers than Anthropic */
    {":streamRawPredict", "chat", NS_ROUTE_USAGE | NS_ROUTE_STREAMS, "vertex"},
    {"/embeddings", "embeddings", 0, NULL},
    {"/images/generations", "images", NS_ROUTE_USAGE, NULL},
    {"/images/edits", "images", NS_ROUTE_USAGE | NS_ROUTE_FORM, NULL},
    {"/images/variations", "images", NS_ROUTE_USAGE | NS_ROUTE_FORM, NULL},
    {"/api/v1/images", "images", NS_ROUTE_USAGE, "openrouter"},
    {"/audio/speech", "speech", 0, NULL},
    {"/audio/transcriptions", "transcriptions", NS_ROUTE_USAGE | NS_ROUTE_FORM, NULL},
    {"/audio/translations", "translations", NS_ROUTE_USAGE | NS_ROUTE_FORM, NULL},
    {"/v1/stt", "transcriptions", NS_ROUTE_USAGE | NS_ROUTE_FORM, "xai"},
    {"/v1/ocr", "ocr", NS_ROUTE_USAGE, "mistral"},
    {"/rerank", "rerank", NS_ROUTE_USAGE, NULL},
    {NULL, NULL, 0, NULL},
};

/* --- requests ------------------------------------------------------------------------------ */

static const struct ns_fact_rule request_rules[] = {
    {"model", NS_ASK_MODEL, NULL},
    {"stream", NS_ASK_STREAM, NULL},
    {"stream_options/include_usage", NS_ASK_USAGE, NULL},
    {"max_tokens|max_completion_tokens|max_output_tokens", NS_ASK_CAP, NULL},
    {"n|best_of", NS_ASK_CHOICES, NULL},
    {"service_tier", NS_ASK_TIER, NULL},
    {"previous_response_id|conversation", NS_ASK_ELSEWHERE, NULL},
    {"conversation|prompt/id", NS_ASK_ELSEWHERE, NULL},
    {"tools/[]/type", NS_ASK_TOOL, NULL},
    {"functions/[]", NS_ASK_FUNCTION, NULL},
    {"web_search_options", NS_ASK_WEB_SEARCH, NULL},
};

static const struct ns_prompt_root prompt_roots[] = {
    {"messages", NS_PROMPT_CONTENT},     {"input", NS_PROMPT_CONTENT},
    {"instructions", NS_PROMPT_CONTENT}, {"prompt", NS_PROMPT_CONTENT},
    {"suffix", NS_PROMPT_CONTENT},       {"document", NS_PROMPT_CONTENT},
    {"documents", NS_PROMPT_CONTENT},    {"query", NS_PROMPT_CONTENT},
    {"tools", NS_PROMPT_TEXT},           {"functions", NS_PROMPT_TEXT},
    {"response_format", NS_PROMPT_TEXT}, {"text", NS_PROMPT_TEXT},
    {"prediction", NS_PROMPT_CONTENT},   {NULL, NS_PROMPT_NONE},
};

/* --- answers ------------------------------------------------------------------------------- */

enum {
    TOLD_ID = 1,
    TOLD_MODEL,
    TOLD_TIER,
    TOLD_ERROR,
    TOLD_FINISH,
    TOLD_STATUS,
    TOLD_EVENT,
    TOLD_TEXT,
    TOLD_USAGE,
    TOLD_RESPONSE,
    TOLD_OUTPUT,
    TOLD_TOOL,
    TOLD_TOOL_ACTION,
    TOLD_PARTS,
    TOLD_PART,
    TOLD_PART_MODEL,
    TOLD_COST,
    TOLD_COST_TICKS,
    TOLD_COUNT /* + a raw counter */
};

/* Raw counters: totals first, then parts of them. */
enum {
    PROMPT,
    COMPLETION,
    TOTAL,
    CACHED,
    WRITTEN,
    IN_AUDIO,
    IN_IMAGE,
    IN_VIDEO,
    CACHED_AUDIO,
    CACHED_IMAGE,
    REASONING,
    OUT_AUDIO,
    OUT_IMAGE,
    OUT_VIDEO,
    PAGES,
    SECONDS
};

enum { WEB_SEARCH, FILE_SEARCH, SOCIAL_SEARCH, CODE, NO_TOOL };

static const struct {
    const char *type;
    uint8_t tool;
    enum ns_meter meter;
} tools[] = {
    {"web_search_call", WEB_SEARCH, NS_METER_WEB_SEARCHES},
    {"file_search_call", FILE_SEARCH, NS_METER_STORAGE_SEARCHES},
    {"x_search_call", SOCIAL_SEARCH, NS_METER_SOCIAL_SEARCHES},
    {"code_interpreter_call", CODE, NS_METER_CODE_EXECUTIONS},
};

static const struct ns_fact_rule input_detail_rules[] = {
    {"cached_tokens", TOLD_COUNT + CACHED, NULL},
    {"cache_write_tokens", TOLD_COUNT + WRITTEN, NULL},
    {"audio_tokens", TOLD_COUNT + IN_AUDIO, NULL},
    {"image_tokens", TOLD_COUNT + IN_IMAGE, NULL},
    {"video_tokens", TOLD_COUNT + IN_VIDEO, NULL},
    {"cached_tokens_details/audio_tokens", TOLD_COUNT + CACHED_AUDIO, NULL},
    {"cached_tokens_details/image_tokens", TOLD_COUNT + CACHED_IMAGE, NULL},
};
static const struct ns_fact_table input_details = NS_FACT_TABLE(input_detail_rules);

static const struct ns_fact_rule output_detail_rules[] = {
    {"reasoning_tokens", TOLD_COUNT + REASONING, NULL},
    {"audio_tokens", TOLD_COUNT + OUT_AUDIO, NULL},
    {"image_tokens", TOLD_COUNT + OUT_IMAGE, NULL},
    {"video_tokens", TOLD_COUNT + OUT_VIDEO, NULL},
};
static const struct ns_fact_table output_details = NS_FACT_TABLE(output_detail_rules);

#define IN_DETAILS                                                                                 \
    "prompt_tokens_details|input_tokens_details|prompt_token_details|input_token_details"
#define OUT_DETAILS                                                                                \
    "completion_tokens_details|output_tokens_details|completion_token_details|output_token_"       \
    "details"

static const struct ns_fact_rule usage_rules[] = {
    {"prompt_tokens|input_tokens", TOLD_COUNT + PROMPT, NULL},
    {"completion_tokens|output_tokens", TOLD_COUNT + COMPLETION, NULL},
    {"total_tokens", TOLD_COUNT + TOTAL, NULL},
    {"cached_tokens|num_cached_tokens|prompt_cache_hit_tokens", TOLD_COUNT + CACHED, NULL},
    {"reasoning_tokens", TOLD_COUNT + REASONING, NULL},
    {"seconds", TOLD_COUNT + SECONDS, NULL},
    {IN_DETAILS, 0, &input_details},
    {OUT_DETAILS, 0, &output_details},
    {"cost", TOLD_COST, NULL},
    {"cost/total_cost", TOLD_COST, NULL},
    {"cost_in_usd_ticks", TOLD_COST_TICKS, NULL},
    {"service_tier", TOLD_TIER, NULL},
};
static const struct ns_fact_table usage_table = NS_FACT_TABLE(usage_rules);

#define OUTPUT_RULES                                                                               \
    {"type", TOLD_TOOL, NULL},                                                                     \
    {                                                                                              \
        "action/type", TOLD_TOOL_ACTION, NULL                                                      \
    }

static const struct ns_fact_rule output_rules[] = {OUTPUT_RULES};
static const struct ns_fact_table output_table = NS_FACT_TABLE(output_rules);

/* The same with its text, where no event told that before. */
static const struct ns_fact_rule whole_output_rules[] = {
    OUTPUT_RULES,
    {"content|summary/[]/text", TOLD_TEXT, NULL},
    {"name|arguments", TOLD_TEXT, NULL},
};
static const struct ns_fact_table whole_output_table = NS_FACT_TABLE(whole_output_rules);

static const struct ns_fact_rule part_rules[] = {
    {"model", TOLD_PART_MODEL, NULL},
    {"usage", 0, &usage_table},
};
static const struct ns_fact_table part_table = NS_FACT_TABLE(part_rules);

/* What the object of an answer and its copies within a stream's events have in common. */
#define ANSWER_RULES                                                                               \
    {"id", TOLD_ID, NULL}, {"model", TOLD_MODEL, NULL}, {"service_tier", TOLD_TIER, NULL},         \
        {"error", TOLD_ERROR, NULL}, {"usage", TOLD_USAGE, &usage_table},                          \
    {                                                                                              \
        "status", TOLD_STATUS, NULL                                                                \
    }

static const struct ns_fact_rule answer_rules[] = {
    ANSWER_RULES,
    {"output/[]", TOLD_OUTPUT, &output_table},
};
static const struct ns_fact_table answer_table = NS_FACT_TABLE(answer_rules);

static const struct ns_fact_rule choice_rules[] = {
    {"finish_reason", TOLD_FINISH, NULL},
    {"text", TOLD_TEXT, NULL},
    {"delta|message/content|reasoning|reasoning_content|refusal", TOLD_TEXT, NULL},
    {"delta|message/content/[]/text", TOLD_TEXT, NULL},
    {"delta|message/tool_calls/[]/function/name|arguments", TOLD_TEXT, NULL},
    {"delta|message/function_call/name|arguments", TOLD_TEXT, NULL},
};
static const struct ns_fact_table choice_table = NS_FACT_TABLE(choice_rules);

static const struct ns_fact_rule response_rules[] = {
    ANSWER_RULES,
    {"response", TOLD_RESPONSE, &answer_table},
    {"output/[]", TOLD_OUTPUT, &whole_output_table},
    {"x_groq/usage", TOLD_USAGE, &usage_table},
    {"x_groq/usage_breakdown/models", TOLD_PARTS, NULL},
    {"x_groq/usage_breakdown/models/[]", TOLD_PART, &part_table},
    {"usage_breakdown/models", TOLD_PARTS, NULL},
    {"usage_breakdown/models/[]", TOLD_PART, &part_table},
    {"x_groq/error", TOLD_ERROR, NULL},
    {"usage_info/pages_processed", TOLD_COUNT + PAGES, NULL},
    {"choices/[]", 0, &choice_table},
    {"type", TOLD_EVENT, NULL},
    {"delta|value", TOLD_TEXT, NULL},
};

/* --- disjoint classes ---------------------------------------------------------------------- */

static void
settle_input(const struct ns_raw *raw, uint64_t prompt, uint64_t audio_outside,
             struct ns_usage *usage)
{
    uint64_t cached = raw->count[CACHED];
    uint64_t written = raw->count[WRITTEN];
    uint64_t uncached;
    if (cached > prompt) { /* Azure's Grok: a hidden prompt is cached and not in prompt_tokens */
        uncached = prompt;
    } else if (cached + written > prompt) { /* OpenRouter's Gemini reads and writes the same */
        uncached = prompt - ns_smaller(prompt, cached > written ? cached : written);
    } else {
        uncached = prompt - cached - written;
    }
    uint64_t cached_audio = ns_smaller(raw->count[CACHED_AUDIO], cached);
    uint64_t cached_image = ns_smaller(raw->count[CACHED_IMAGE], cached - cached_audio);
    uint64_t audio =
        audio_outside ? 0 : ns_smaller(ns_less(raw->count[IN_AUDIO], cached_audio), uncached);
    uint64_t image = ns_smaller(ns_less(raw->count[IN_IMAGE], cached_image), uncached - audio);
    uint64_t video = ns_smaller(raw->count[IN_VIDEO], uncached - audio - image);
    ns_usage_set(usage, NS_METER_INPUT, uncached - audio - image - video);
    const struct {
        enum ns_meter meter;
        uint64_t count;
    } parts[] = {
        {NS_METER_CACHE_READ, cached - cached_audio - cached_image},
        {NS_METER_CACHE_WRITE, written},
        {NS_METER_INPUT_AUDIO, audio + audio_outside},
        {NS_METER_INPUT_IMAGE, image},
        {NS_METER_INPUT_VIDEO, video},
        {NS_METER_CACHE_AUDIO_READ, cached_audio},
        {NS_METER_CACHE_IMAGE_READ, cached_image},
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i].count > 0) {
            ns_usage_set(usage, parts[i].meter, parts[i].count);
        }
    }
}

static void
settle_output(const struct ns_raw *raw, uint64_t output, struct ns_usage *usage)
{
    uint64_t left = output;
    const struct {
        enum ns_meter meter;
        unsigned raw;
    } parts[] = {
        {NS_METER_OUTPUT_REASONING, REASONING},
        {NS_METER_OUTPUT_AUDIO, OUT_AUDIO},
        {NS_METER_OUTPUT_IMAGE, OUT_IMAGE},
        {NS_METER_OUTPUT_VIDEO, OUT_VIDEO},
    };
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        uint64_t count = ns_smaller(raw->count[parts[i].raw], left);
        left -= count;
        if (count > 0) {
            ns_usage_set(usage, parts[i].meter, count);
        }
    }
    ns_usage_set(usage, NS_METER_OUTPUT, left);
}

static void
settle_tokens(const struct ns_raw *raw, uint8_t quirks, struct ns_usage *usage)
{
    uint64_t prompt = raw->count[PROMPT];
    if (!ns_raw_has(raw, PROMPT) && !ns_raw_has(raw, COMPLETION)) {
        prompt = raw->count[TOTAL]; /* embeddings that give a total only */
    }
    uint64_t excess = ns_less(raw->count[TOTAL], prompt + raw->count[COMPLETION]);
    uint64_t output = raw->count[COMPLETION];
    uint64_t audio_outside = 0;
    if (excess > 0 && excess == raw->count[REASONING]) {
        output += excess;
    } else if (excess > 0 && excess == raw->count[IN_AUDIO]) {
        audio_outside = excess;
    } else if ((quirks & NS_QUIRK_HIDDEN_OUTPUT) != 0) {
        output += excess;
    }
    settle_input(raw, prompt, audio_outside, usage);
    if (ns_raw_has(raw, COMPLETION) || output > 0) {
        settle_output(raw, output, usage);
    }
}

/* --- facts ---------------------------------------------------------------------------------- */

/* The types of the events that end a stream, and whether each is a failure. */
static const struct {
    const char *type;
    bool error;
} last_events[] = {
    {"response.completed", false},
    {"response.incomplete", false},
    {"response.failed", true},
    {"error", true},
    {"image_generation.completed", false},
    {"image_edit.completed", false},
    {"speech.audio.done", false},
    {"transcript.text.done", false},
};

static void
told_event(struct ns_reading *reading, const struct ns_json_input *value)
{
    for (size_t i = 0; i < sizeof(last_events) / sizeof(last_events[0]); i++) {
        if (value->event == NS_JSON_STRING &&
            ns_wire_text_is(value->text, value->text_bytes, last_events[i].type)) {
            reading->finished = true;
            reading->last_event = true;
            reading->call->response.error |= last_events[i].error;
        }
    }
}

/* One element of an answer's output: the use of a billed tool, perhaps. */
static void
told_output(struct ns_reading *reading, const struct ns_json_input *value)
{
    if (value->event == NS_JSON_OBJECT_BEGIN) {
        reading->detail = NO_TOOL;
        reading->detail_count = 1;
    } else if (value->event == NS_JSON_OBJECT_END && reading->detail != NO_TOOL) {
        reading->tool_uses[reading->detail] += reading->detail_count;
    }
}

static void
told_tool(struct ns_reading *reading, const struct ns_json_input *value)
{
    for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++) {
        if (value->event == NS_JSON_STRING &&
            ns_wire_text_is(value->text, value->text_bytes, tools[i].type)) {
            reading->detail = tools[i].tool;
        }
    }
}

/* Opening a page and finding text in it are web_search_calls too, and cost nothing. */
static void
told_tool_action(struct ns_reading *reading, const struct ns_json_input *value)
{
    if (value->event == NS_JSON_STRING &&
        (ns_wire_text_is(value->text, value->text_bytes, "open_page") ||
         ns_wire_text_is(value->text, value->text_bytes, "find_in_page"))) {
        reading->detail_count = 0;
    }
}

/* The last usage object with a count in it replaces those before. */
static void
told_usage(struct ns_reading *reading, const struct ns_json_input *value)
{
    if (value->event == NS_JSON_OBJECT_BEGIN) {
        memset(&reading->item, 0, sizeof(reading->item));
    } else if (value->event == NS_JSON_OBJECT_END && reading->item.present != 0) {
        reading->usage = reading->item;
        if (ns_raw_has(&reading->usage, COMPLETION)) {
            reading->call->response.text_bytes = 0;
        }
    }
}

/* A compound system's answer lists what each of its models used. */
static void
told_part(struct ns_reading *reading, int fact, const struct ns_json_input *value)
{
    bool begins = value->event == NS_JSON_OBJECT_BEGIN;
    if (fact == TOLD_PARTS && value->event == NS_JSON_ARRAY_BEGIN) {
        reading->call->part_count = 0;
    } else if (fact == TOLD_PART && begins) {
        reading->item_model[0] = '\0';
        memset(&reading->item, 0, sizeof(reading->item));
    } else if (fact == TOLD_PART && value->event == NS_JSON_OBJECT_END) {
        struct ns_usage classes = {0};
        settle_tokens(&reading->item, reading->quirks, &classes);
        struct ns_usage *part = ns_family_part(reading->call, reading->item_model);
        if (part != NULL) {
            ns_usage_add_all(part, &classes);
        }
    } else if (fact == TOLD_PART_MODEL) {
        ns_family_text(reading->item_model, sizeof(reading->item_model), value);
    }
}

static void
told_cost(struct ns_reading *reading, const struct ns_json_input *value, bool ticks)
{
    int64_t nanousd = 0;
    if (value->event != NS_JSON_NUMBER || value->cut) {
        return;
    }
    if (ticks) { /* half to even */
        uint64_t count = ns_smaller(ns_family_count(value, 0), INT64_MAX);
        nanousd = (int64_t)(count / 10);
        nanousd += count % 10 > 5 || (count % 10 == 5 && (nanousd & 1) != 0);
    } else if (ns_json_nano(value->text, value->text_bytes, &nanousd) != 0) {
        return;
    }
    bool believed = ticks ? (reading->quirks & NS_QUIRK_COST_TICKS) != 0
                          : (reading->quirks & NS_QUIRK_COST) != 0;
    if (believed && nanousd > 0) {
        reading->cost_nanousd = nanousd;
    }
}

/* Several keys name the same count: one that says 0 does not undo another (Mistral has both). */
static void
told_count(struct ns_reading *reading, unsigned index, const struct ns_json_input *value)
{
    if (!ns_raw_has(&reading->item, index) || ns_family_count(value, 0) > 0) {
        ns_raw_set(&reading->item, index, value);
    }
}

static bool
says_something(const struct ns_json_input *value)
{
    return value->event == NS_JSON_STRING && value->text_bytes > 0;
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
    case TOLD_ERROR:
        response->error |= value->event == NS_JSON_OBJECT_BEGIN || says_something(value);
        break;
    case TOLD_FINISH: /* some send an empty one until it is */
        reading->finished |= says_something(value);
        break;
    case TOLD_STATUS:
        response->error |= value->event == NS_JSON_STRING &&
                           ns_wire_text_is(value->text, value->text_bytes, "failed");
        break;
    case TOLD_EVENT:
        told_event(reading, value);
        break;
    case TOLD_TEXT:
        response->text_bytes += value->event == NS_JSON_STRING ? value->text_bytes_total : 0;
        break;
    case TOLD_USAGE:
        told_usage(reading, value);
        break;
    case TOLD_RESPONSE: /* the whole answer again, with the tools of all its output so far */
        if (value->event == NS_JSON_OBJECT_BEGIN) {
            memset(reading->tool_uses, 0, sizeof(reading->tool_uses));
        }
        break;
    case TOLD_OUTPUT:
        told_output(reading, value);
        break;
    case TOLD_TOOL:
        told_tool(reading, value);
        break;
    case TOLD_TOOL_ACTION:
        told_tool_action(reading, value);
        break;
    case TOLD_PARTS:
    case TOLD_PART:
    case TOLD_PART_MODEL:
        told_part(reading, fact, value);
        break;
    case TOLD_COST:
    case TOLD_COST_TICKS:
        told_cost(reading, value, fact == TOLD_COST_TICKS);
        break;
    case TOLD_COUNT + PAGES:
        ns_raw_set(&reading->usage, PAGES, value);
        break;
    default:
        told_count(reading, (unsigned)(fact - TOLD_COUNT), value);
        break;
    }
}

static bool
repeats(int fact, const struct ns_json_input *value)
{
    switch (fact) {
    case TOLD_ID:
    case TOLD_MODEL:
    case TOLD_TIER:
    case TOLD_ERROR:
    case TOLD_FINISH:
    case TOLD_STATUS:
    case TOLD_EVENT:
        return true;
    case TOLD_TEXT:
    case TOLD_USAGE: /* an object begins anew; null is nothing */
        return value->event == NS_JSON_NULL;
    default:
        return false;
    }
}

/* --- the end ------------------------------------------------------------------------------- */

/* The parts are believed where they are just the whole: a compound system's stream has been seen to
 * repeat the whole for every model. */
static void
settle_parts(struct ns_reading *reading)
{
    struct ns_wire_call *call = reading->call;
    struct ns_usage sum = {0};
    for (uint8_t i = 0; i < call->part_count; i++) {
        ns_usage_add_all(&sum, &call->parts[i].usage);
    }
    if (memcmp(sum.count, call->response.usage.count, sizeof(sum.count)) != 0) {
        call->part_count = 0;
    }
}

static void
settle(struct ns_reading *reading)
{
    struct ns_wire_response *response = &reading->call->response;
    const struct ns_raw *raw = &reading->usage;
    memset(&response->usage, 0, sizeof(response->usage));
    response->has_usage = raw->present != 0 || reading->cost_nanousd > 0;
    if (ns_raw_has(raw, PROMPT) || ns_raw_has(raw, COMPLETION) || ns_raw_has(raw, TOTAL)) {
        settle_tokens(raw, reading->quirks, &response->usage);
    }
    settle_parts(reading);
    if (ns_raw_has(raw, PAGES)) {
        ns_usage_set(&response->usage, NS_METER_INPUT_DOCUMENT_PAGES, raw->count[PAGES]);
    }
    if (ns_raw_has(raw, SECONDS)) {
        ns_usage_set(&response->usage, NS_METER_INPUT_AUDIO_SECONDS, raw->count[SECONDS]);
    }
    if ((reading->quirks & NS_QUIRK_CODE_FEE) == 0) {
        reading->tool_uses[CODE] = 0; /* others bill the container's time */
    }
    for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++) {
        if (response->has_usage && reading->tool_uses[tools[i].tool] > 0) {
            ns_usage_set(&response->usage, tools[i].meter, reading->tool_uses[tools[i].tool]);
        }
    }
    if (reading->cost_nanousd > 0) {
        response->has_provider_cost = true;
        response->provider_cost_nanousd = reading->cost_nanousd;
    }
}

const struct ns_family ns_family_openai = {
    .name = "openai",
    .speaks = NS_SPEAKS_OPENAI,
    .routes = routes,
    .request = NS_FACT_TABLE(request_rules),
    .prompt_roots = prompt_roots,
    .response = NS_FACT_TABLE(response_rules),
    .request_fact = ns_family_asked,
    .response_head = ns_family_tier_of_head, /* Gemini speaks it, too */
    .response_fact = response_fact,
    .repeats = repeats,
    .text_fact = TOLD_TEXT,
    .settle = settle,
};
