/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anthropic's messages, also on Azure, Vertex and gateways. Its classes are disjoint as sent. A
 * stream repeats its usage and corrects it: every field is overwritten by its later value, never
 * added. Where `iterations` are listed, the top level leaves some of them out (compaction, advisor,
 * each perhaps of another model): then their sum is what is billed.
 */
#include <string.h>

#include "wire/providers/family.h"
#include "wire/text.h"

static const struct ns_route routes[] = {
    {"/v1/messages", "messages", NS_ROUTE_USAGE, NULL},
    {"/v1/complete", "completions", 0, NULL},
    {"/models/count-tokens:rawPredict", NULL, 0, NULL}, /* costs nothing */
    {"/publishers/anthropic/*:rawPredict", "messages", NS_ROUTE_USAGE, NULL},
    {"/publishers/anthropic/*:streamRawPredict", "messages", NS_ROUTE_USAGE | NS_ROUTE_STREAMS,
     NULL},
    {NULL, NULL, 0, NULL},
};

/* --- requests ------------------------------------------------------------------------------ */

static const struct ns_fact_rule request_rules[] = {
    {"model", NS_ASK_MODEL, NULL},
    {"stream", NS_ASK_STREAM, NULL},
    {"max_tokens|max_tokens_to_sample", NS_ASK_CAP, NULL},
    {"service_tier", NS_ASK_TIER, NULL},
    {"speed", NS_ASK_SPEED, NULL},
    {"inference_geo", NS_ASK_REGION, NULL},
    {"tools/[]/type", NS_ASK_TOOL, NULL},
    {"tools/[]/input_schema", NS_ASK_FUNCTION, NULL},
};

static const struct ns_prompt_root prompt_roots[] = {
    {"messages", NS_PROMPT_CONTENT},
    {"system", NS_PROMPT_CONTENT},
    {"prompt", NS_PROMPT_CONTENT},
    {"tools", NS_PROMPT_TEXT},
    {"output_format", NS_PROMPT_TEXT},
    {"output_config", NS_PROMPT_TEXT},
    {NULL, NS_PROMPT_NONE},
};

/* --- answers ------------------------------------------------------------------------------- */

enum {
    TOLD_ID = 1,
    TOLD_MODEL,
    TOLD_ERROR,
    TOLD_EVENT,
    TOLD_FINISH,
    TOLD_TEXT,
    TOLD_TIER,
    TOLD_SPEED,
    TOLD_REGION,
    TOLD_COST,
    TOLD_ITERATIONS,
    TOLD_ITERATION,
    TOLD_ITERATION_MODEL,
    TOLD_ITERATION_COUNT = 32, /* + a raw counter */
    TOLD_COUNT = 64
};

enum { INPUT, OUTPUT, CREATED, READ, CREATED_1H, THINKING, SEARCHES };

static const struct ns_fact_rule iteration_rules[] = {
    {"model", TOLD_ITERATION_MODEL, NULL},
    {"input_tokens", TOLD_ITERATION_COUNT + INPUT, NULL},
    {"output_tokens", TOLD_ITERATION_COUNT + OUTPUT, NULL},
    {"cache_creation_input_tokens", TOLD_ITERATION_COUNT + CREATED, NULL},
    {"cache_read_input_tokens", TOLD_ITERATION_COUNT + READ, NULL},
    {"cache_creation/ephemeral_1h_input_tokens", TOLD_ITERATION_COUNT + CREATED_1H, NULL},
};
static const struct ns_fact_table iteration_table = NS_FACT_TABLE(iteration_rules);

static const struct ns_fact_rule usage_rules[] = {
    {"input_tokens", TOLD_COUNT + INPUT, NULL},
    {"output_tokens", TOLD_COUNT + OUTPUT, NULL},
    {"cache_creation_input_tokens", TOLD_COUNT + CREATED, NULL},
    {"cache_read_input_tokens", TOLD_COUNT + READ, NULL},
    {"cache_creation/ephemeral_1h_input_tokens", TOLD_COUNT + CREATED_1H, NULL},
    {"output_tokens_details/thinking_tokens", TOLD_COUNT + THINKING, NULL},
    {"server_tool_use/web_search_requests", TOLD_COUNT + SEARCHES, NULL},
    {"service_tier", TOLD_TIER, NULL},
    {"speed", TOLD_SPEED, NULL},
    {"inference_geo", TOLD_REGION, NULL},
    {"iterations", TOLD_ITERATIONS, NULL},
    {"iterations/[]", TOLD_ITERATION, &iteration_table},
    {"cost", TOLD_COST, NULL},
};
static const struct ns_fact_table usage_table = NS_FACT_TABLE(usage_rules);

#define MESSAGE_RULES                                                                              \
    {"id", TOLD_ID, NULL}, {"model", TOLD_MODEL, NULL},                                            \
    {                                                                                              \
        "usage", 0, &usage_table                                                                   \
    }

static const struct ns_fact_rule message_rules[] = {MESSAGE_RULES};
static const struct ns_fact_table message_table = NS_FACT_TABLE(message_rules);

static const struct ns_fact_rule response_rules[] = {
    MESSAGE_RULES,
    {"message", 0, &message_table}, /* message_start */
    {"error", TOLD_ERROR, NULL},
    {"type", TOLD_EVENT, NULL},
    {"stop_reason", TOLD_FINISH, NULL},
    {"completion", TOLD_TEXT, NULL},
    {"delta/text|thinking|partial_json", TOLD_TEXT, NULL},
    {"content/[]/text|thinking", TOLD_TEXT, NULL},
};

/* --- iterations ---------------------------------------------------------------------------- */

/* The disjoint classes of one usage or iteration. */
static void
add_classes(struct ns_usage *usage, const struct ns_raw *raw)
{
    uint64_t hour = ns_smaller(raw->count[CREATED_1H], raw->count[CREATED]);
    uint64_t thinking = ns_smaller(raw->count[THINKING], raw->count[OUTPUT]);
    const struct {
        enum ns_meter meter;
        uint64_t count;
        bool always;
    } classes[] = {
        {NS_METER_INPUT, raw->count[INPUT], true},
        {NS_METER_OUTPUT, raw->count[OUTPUT] - thinking, true},
        {NS_METER_CACHE_READ, raw->count[READ], false},
        {NS_METER_CACHE_WRITE, raw->count[CREATED] - hour, false},
        {NS_METER_CACHE_WRITE_1H, hour, false},
        {NS_METER_OUTPUT_REASONING, thinking, false},
        {NS_METER_WEB_SEARCHES, raw->count[SEARCHES], false},
    };
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (classes[i].always || classes[i].count > 0) {
            ns_usage_add(usage, classes[i].meter, classes[i].count);
        }
    }
}

static void
told_iteration(struct ns_reading *reading, const struct ns_json_input *value)
{
    if (value->event == NS_JSON_OBJECT_BEGIN) {
        memset(&reading->item, 0, sizeof(reading->item));
        reading->item_model[0] = '\0';
    } else if (value->event == NS_JSON_OBJECT_END && reading->item.present != 0) {
        struct ns_usage *part = ns_family_part(reading->call, reading->item_model);
        if (part != NULL) {
            add_classes(part, &reading->item);
        }
    }
}

static void
told_event(struct ns_reading *reading, const struct ns_json_input *value)
{
    if (value->event == NS_JSON_STRING) {
        reading->last_event |= ns_wire_text_is(value->text, value->text_bytes, "message_stop");
        reading->finished |= reading->last_event;
        reading->call->response.error |= ns_wire_text_is(value->text, value->text_bytes, "error");
    }
}

static void
told_cost(struct ns_reading *reading, const struct ns_json_input *value)
{
    int64_t nanousd;
    if ((reading->quirks & NS_QUIRK_COST) != 0 && value->event == NS_JSON_NUMBER && !value->cut &&
        ns_json_nano(value->text, value->text_bytes, &nanousd) == 0 && nanousd > 0) {
        reading->cost_nanousd = nanousd;
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
    case TOLD_ERROR:
        response->error |= value->event == NS_JSON_OBJECT_BEGIN;
        break;
    case TOLD_EVENT:
        told_event(reading, value);
        break;
    case TOLD_FINISH: /* the older completions end so; messages end with message_stop */
        reading->finished |= value->event == NS_JSON_STRING;
        break;
    case TOLD_TEXT:
        response->text_bytes += value->event == NS_JSON_STRING ? value->text_bytes_total : 0;
        break;
    case TOLD_TIER:
        ns_family_text(response->service_tier, sizeof(response->service_tier), value);
        break;
    case TOLD_SPEED:
        ns_family_text(response->speed, sizeof(response->speed), value);
        break;
    case TOLD_REGION:
        ns_family_text(response->region, sizeof(response->region), value);
        break;
    case TOLD_COST:
        told_cost(reading, value);
        break;
    case TOLD_ITERATIONS:
        reading->call->part_count =
            value->event == NS_JSON_ARRAY_BEGIN ? 0 : reading->call->part_count;
        break;
    case TOLD_ITERATION:
        told_iteration(reading, value);
        break;
    case TOLD_ITERATION_MODEL:
        ns_family_text(reading->item_model, sizeof(reading->item_model), value);
        break;
    case TOLD_COUNT + OUTPUT:
        ns_raw_set(&reading->usage, OUTPUT, value);
        response->text_bytes = value->event == NS_JSON_NUMBER ? 0 : response->text_bytes;
        break;
    default:
        ns_raw_set(fact >= TOLD_COUNT ? &reading->usage : &reading->item,
                   (unsigned)fact % TOLD_ITERATION_COUNT, value);
        break;
    }
}

static bool
repeats(int fact, const struct ns_json_input *value)
{
    switch (fact) {
    case TOLD_ID:
    case TOLD_MODEL:
    case TOLD_ERROR:
    case TOLD_EVENT:
    case TOLD_FINISH:
        return true;
    case TOLD_TEXT:
        return value->event == NS_JSON_NULL;
    default:
        return false;
    }
}

/* --- disjoint classes ---------------------------------------------------------------------- */

/* Thinking and searches are told once for the whole answer: they are the served model's. */
static void
settle_parts(struct ns_reading *reading, struct ns_usage *usage)
{
    struct ns_wire_call *call = reading->call;
    bool told = false;
    for (uint8_t i = 0; i < call->part_count; i++) {
        struct ns_usage *part = &call->parts[i].usage;
        bool own = call->parts[i].model[0] == '\0' ||
                   strcmp(call->parts[i].model, call->response.model) == 0;
        if (own && !told) {
            told = true;
            uint64_t output =
                ns_usage_get(part, NS_METER_OUTPUT) + ns_usage_get(part, NS_METER_OUTPUT_REASONING);
            uint64_t thinking = ns_smaller(reading->usage.count[THINKING], output);
            memcpy(call->parts[i].model, call->response.model, sizeof(call->parts[i].model));
            ns_usage_set(part, NS_METER_OUTPUT, output - thinking);
            ns_usage_set(part, NS_METER_OUTPUT_REASONING, thinking);
            ns_usage_set(part, NS_METER_WEB_SEARCHES, reading->usage.count[SEARCHES]);
        }
        ns_usage_add_all(usage, part);
    }
}

static void
settle(struct ns_reading *reading)
{
    struct ns_wire_response *response = &reading->call->response;
    memset(&response->usage, 0, sizeof(response->usage));
    response->has_usage = ns_raw_has(&reading->usage, INPUT) ||
                          ns_raw_has(&reading->usage, OUTPUT) || reading->call->part_count > 0;
    if (reading->call->part_count > 0) {
        settle_parts(reading, &response->usage);
    } else if (response->has_usage) {
        add_classes(&response->usage, &reading->usage);
    }
    if (reading->cost_nanousd > 0) {
        response->has_provider_cost = true;
        response->provider_cost_nanousd = reading->cost_nanousd;
    }
}

const struct ns_family ns_family_anthropic = {
    .name = "anthropic",
    .speaks = NS_SPEAKS_ANTHROPIC,
    .routes = routes,
    .request = NS_FACT_TABLE(request_rules),
    .prompt_roots = prompt_roots,
    .response = NS_FACT_TABLE(response_rules),
    .request_fact = ns_family_asked,
    .response_fact = response_fact,
    .repeats = repeats,
    .text_fact = TOLD_TEXT,
    .settle = settle,
};
