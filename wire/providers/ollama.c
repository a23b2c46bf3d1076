/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ollama's own paths (https://github.com/ollama/ollama/blob/main/docs/api.md). Its streams are
 * documents in lines, asked for unless "stream" is false; the last one, which says that it is done,
 * has the counts. prompt_eval_count is missing where all of the prompt was cached.
 */
#include "wire/providers/family.h"

static const struct ns_route routes[] = {
    {"/api/chat", "chat", NS_ROUTE_USAGE | NS_ROUTE_STREAMS_UNASKED, NULL},
    {"/api/generate", "completions", NS_ROUTE_USAGE | NS_ROUTE_STREAMS_UNASKED, NULL},
    {"/api/embed", "embeddings", 0, NULL},
    {"/api/embeddings", "embeddings", 0, NULL},
    {NULL, NULL, 0, NULL},
};

static const struct ns_fact_rule request_rules[] = {
    {"model", NS_ASK_MODEL, NULL},
    {"stream", NS_ASK_STREAM, NULL},
    {"options/num_predict", NS_ASK_CAP, NULL},
    {"tools/[]", NS_ASK_FUNCTION, NULL},
};

static const struct ns_prompt_root prompt_roots[] = {
    {"messages", NS_PROMPT_CONTENT}, {"prompt", NS_PROMPT_CONTENT}, {"system", NS_PROMPT_CONTENT},
    {"suffix", NS_PROMPT_CONTENT},   {"input", NS_PROMPT_CONTENT},  {"template", NS_PROMPT_TEXT},
    {"tools", NS_PROMPT_TEXT},       {"format", NS_PROMPT_TEXT},    {NULL, NS_PROMPT_NONE},
};

enum { TOLD_MODEL = 1, TOLD_DONE, TOLD_TEXT, TOLD_COUNT /* + a raw counter */ };

enum { PROMPT, OUTPUT };

static const struct ns_fact_rule response_rules[] = {
    {"model", TOLD_MODEL, NULL},
    {"done", TOLD_DONE, NULL},
    {"response|thinking", TOLD_TEXT, NULL},
    {"message/content|thinking", TOLD_TEXT, NULL},
    {"message/tool_calls/[]/function/name", TOLD_TEXT, NULL},
    {"prompt_eval_count", TOLD_COUNT + PROMPT, NULL},
    {"eval_count", TOLD_COUNT + OUTPUT, NULL},
};

static void
response_fact(struct ns_reading *reading, int fact, const struct ns_json_input *value)
{
    struct ns_wire_response *response = &reading->call->response;
    switch (fact) {
    case TOLD_MODEL:
        ns_family_text(response->model, sizeof(response->model), value);
        break;
    case TOLD_DONE:
        reading->finished = value->event == NS_JSON_TRUE;
        reading->goes_on = value->event == NS_JSON_FALSE;
        break;
    case TOLD_TEXT:
        response->text_bytes += value->event == NS_JSON_STRING ? value->text_bytes_total : 0;
        break;
    default:
        ns_raw_set(&reading->usage, (unsigned)(fact - TOLD_COUNT), value);
        if (ns_raw_has(&reading->usage, OUTPUT)) {
            response->text_bytes = 0;
        }
        break;
    }
}

static void
settle(struct ns_reading *reading)
{
    struct ns_wire_response *response = &reading->call->response;
    response->usage = (struct ns_usage){0};
    response->has_usage = reading->usage.present != 0;
    if (ns_raw_has(&reading->usage, PROMPT)) {
        ns_usage_set(&response->usage, NS_METER_INPUT, reading->usage.count[PROMPT]);
    }
    if (ns_raw_has(&reading->usage, OUTPUT)) {
        ns_usage_set(&response->usage, NS_METER_OUTPUT, reading->usage.count[OUTPUT]);
    }
}

const struct ns_family ns_family_ollama = {
    .name = "ollama",
    .speaks = NS_SPEAKS_OLLAMA,
    .routes = routes,
    .request = NS_FACT_TABLE(request_rules),
    .prompt_roots = prompt_roots,
    .response = NS_FACT_TABLE(response_rules),
    .request_fact = ns_family_asked,
    .response_fact = response_fact,
    .settle = settle,
};
