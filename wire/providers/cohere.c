/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cohere's own paths, v1 and v2 (https://docs.cohere.com/reference/chat). What is billed is
 * billed_units: tokens beside it count the template, too. Streams of v2 are events, those of v1
 * documents in lines; both tell the usage with their end.
 */
#include "wire/providers/family.h"
#include "wire/text.h"

static const struct ns_route routes[] = {
    {"/v1/chat", "chat", NS_ROUTE_USAGE, NULL},
    {"/v2/chat", "chat", NS_ROUTE_USAGE, NULL},
    {"/v1/generate", "completions", NS_ROUTE_USAGE, NULL},
    {"/v1/summarize", "completions", 0, NULL},
    {"/v1/classify", "classify", 0, NULL},
    {"/v1/embed", "embeddings", 0, NULL},
    {"/v2/embed", "embeddings", 0, NULL},
    {"/v1/rerank", "rerank", 0, NULL},
    {"/v2/rerank", "rerank", 0, NULL},
    {"/v2/audio/transcriptions", "transcriptions", NS_ROUTE_FORM, NULL},
    {NULL, NULL, 0, NULL},
};

/* --- requests ------------------------------------------------------------------------------ */

static const struct ns_fact_rule request_rules[] = {
    {"model", NS_ASK_MODEL, NULL},
    {"stream", NS_ASK_STREAM, NULL},
    {"max_tokens", NS_ASK_CAP, NULL},
    {"num_generations", NS_ASK_CHOICES, NULL},
    {"conversation_id", NS_ASK_ELSEWHERE, NULL},
    {"connectors/[]", NS_ASK_CONNECTOR, NULL},
    {"tools/[]", NS_ASK_FUNCTION, NULL},
};

static const struct ns_prompt_root prompt_roots[] = {
    {"messages", NS_PROMPT_CONTENT},     {"message", NS_PROMPT_CONTENT},
    {"chat_history", NS_PROMPT_CONTENT}, {"preamble", NS_PROMPT_CONTENT},
    {"prompt", NS_PROMPT_CONTENT},       {"text", NS_PROMPT_CONTENT},
    {"texts", NS_PROMPT_CONTENT},        {"inputs", NS_PROMPT_CONTENT},
    {"images", NS_PROMPT_CONTENT},       {"query", NS_PROMPT_CONTENT},
    {"documents", NS_PROMPT_TEXT},       {"examples", NS_PROMPT_TEXT},
    {"tools", NS_PROMPT_TEXT},           {"tool_results", NS_PROMPT_TEXT},
    {"response_format", NS_PROMPT_TEXT}, {NULL, NS_PROMPT_NONE},
};

/* --- answers ------------------------------------------------------------------------------- */

enum {
    TOLD_ID = 1,
    TOLD_FINISH,
    TOLD_FINISHED, /* v1 */
    TOLD_EVENT,
    TOLD_TEXT,
    TOLD_BILLED,
    TOLD_COUNT /* + a raw counter */
};

enum { INPUT, OUTPUT, IMAGE, SEARCHES };

static const struct {
    unsigned raw;
    enum ns_meter meter;
} meters[] = {
    {INPUT, NS_METER_INPUT},
    {OUTPUT, NS_METER_OUTPUT},
    {IMAGE, NS_METER_INPUT_IMAGE},
    {SEARCHES, NS_METER_SEARCH_UNITS},
};

static const struct ns_fact_rule billed_rules[] = {
    {"input_tokens", TOLD_COUNT + INPUT, NULL},
    {"output_tokens", TOLD_COUNT + OUTPUT, NULL},
    {"image_tokens", TOLD_COUNT + IMAGE, NULL},
    {"search_units", TOLD_COUNT + SEARCHES, NULL},
};
static const struct ns_fact_table billed = NS_FACT_TABLE(billed_rules);

/* v1, whole or as what its stream ends with. */
static const struct ns_fact_rule end_rules[] = {
    {"response_id", TOLD_ID, NULL},
    {"meta/billed_units", TOLD_BILLED, &billed},
};
static const struct ns_fact_table end_table = NS_FACT_TABLE(end_rules);

static const struct ns_fact_rule response_rules[] = {
    {"id|response_id", TOLD_ID, NULL},
    {"type", TOLD_EVENT, NULL},
    {"is_finished", TOLD_FINISHED, NULL},
    {"finish_reason", TOLD_FINISH, NULL},
    {"text", TOLD_TEXT, NULL},
    {"generations/[]/text", TOLD_TEXT, NULL},
    {"message/content/[]/text|thinking", TOLD_TEXT, NULL},
    {"message/tool_plan", TOLD_TEXT, NULL},
    {"message/tool_calls/[]/function/name|arguments", TOLD_TEXT, NULL},
    {"delta/message/content/text|thinking", TOLD_TEXT, NULL},
    {"delta/message/tool_plan", TOLD_TEXT, NULL},
    {"delta/message/tool_calls/function/name|arguments", TOLD_TEXT, NULL},
    {"delta/finish_reason", TOLD_FINISH, NULL},
    {"usage|meta/billed_units", TOLD_BILLED, &billed},
    {"delta/usage/billed_units", TOLD_BILLED, &billed},
    {"response", 0, &end_table},
};

static void
response_fact(struct ns_reading *reading, int fact, const struct ns_json_input *value)
{
    struct ns_wire_response *response = &reading->call->response;
    switch (fact) {
    case TOLD_ID:
        ns_family_text(response->id, sizeof(response->id), value);
        break;
    case TOLD_FINISH:
        reading->finished |= value->event == NS_JSON_STRING;
        break;
    case TOLD_FINISHED:
        reading->finished |= value->event == NS_JSON_TRUE;
        reading->goes_on = value->event == NS_JSON_FALSE;
        break;
    case TOLD_EVENT:
        reading->last_event |= value->event == NS_JSON_STRING &&
                               ns_wire_text_is(value->text, value->text_bytes, "message-end");
        break;
    case TOLD_TEXT:
        response->text_bytes += value->event == NS_JSON_STRING ? value->text_bytes_total : 0;
        break;
    case TOLD_BILLED:
        if (value->event == NS_JSON_OBJECT_BEGIN) {
            reading->usage = (struct ns_raw){0};
        } else if (ns_raw_has(&reading->usage, OUTPUT)) {
            response->text_bytes = 0;
        }
        break;
    default:
        ns_raw_set(&reading->usage, (unsigned)(fact - TOLD_COUNT), value);
        break;
    }
}

static void
settle(struct ns_reading *reading)
{
    struct ns_wire_response *response = &reading->call->response;
    response->usage = (struct ns_usage){0};
    response->has_usage = reading->usage.present != 0;
    for (size_t i = 0; i < sizeof(meters) / sizeof(meters[0]); i++) {
        if (ns_raw_has(&reading->usage, meters[i].raw) &&
            (meters[i].raw <= OUTPUT || reading->usage.count[meters[i].raw] > 0)) {
            ns_usage_set(&response->usage, meters[i].meter, reading->usage.count[meters[i].raw]);
        }
    }
}

const struct ns_family ns_family_cohere = {
    .name = "cohere",
    .speaks = NS_SPEAKS_COHERE,
    .routes = routes,
    .request = NS_FACT_TABLE(request_rules),
    .prompt_roots = prompt_roots,
    .response = NS_FACT_TABLE(response_rules),
    .request_fact = ns_family_asked,
    .response_fact = response_fact,
    .settle = settle,
};
