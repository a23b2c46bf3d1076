/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/providers/family.h"
#include "base/mem.h"

#include <string.h>

#include "wire/text.h"

static const struct ns_family *const families[] = {&ns_family_anthropic, &ns_family_gemini,
                                                   &ns_family_bedrock,   &ns_family_cohere,
                                                   &ns_family_ollama,    &ns_family_openai};

/* Does the path end so? What stands before a '*' may stand anywhere earlier in it. */
static bool
path_fits(const char *suffix, const char *path, size_t bytes)
{
    const char *star = strchr(suffix, '*');
    if (star == NULL) {
        return ns_wire_text_ends(path, bytes, suffix);
    }
    size_t end = strlen(star + 1);
    return ns_wire_text_ends(path, bytes, star + 1) &&
           memmem(path, bytes - end, suffix, (size_t)(star - suffix)) != NULL;
}

static bool
route_fits(const struct ns_route *route, const char *provider, const char *path, size_t bytes)
{
    bool here =
        route->provider == NULL || (provider != NULL && strcmp(route->provider, provider) == 0);
    return here && path_fits(route->suffix, path, bytes);
}

const struct ns_family *
ns_family_find(const struct ns_host *host, const char *path, size_t bytes,
               const struct ns_route **route)
{
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        if ((host->speaks & families[i]->speaks) == 0) {
            continue;
        }
        for (*route = families[i]->routes; (*route)->suffix != NULL; (*route)++) {
            if (route_fits(*route, host->provider, path, bytes)) {
                return families[i];
            }
        }
    }
    *route = NULL;
    return NULL;
}

/* Empty strings and null say nothing: what was said before stays. */
void
ns_family_text(char *field, size_t field_bytes, const struct ns_json_input *value)
{
    if (value->event == NS_JSON_STRING && value->text_bytes > 0) {
        ns_wire_text_copy(field, field_bytes, value->text, value->text_bytes);
    }
}

/* The tier that was served, where Gemini tells it in the head. */
void
ns_family_tier_of_head(struct ns_reading *reading, const struct ns_http1 *head)
{
    struct ns_wire_response *response = &reading->call->response;
    struct ns_http1_text tier = ns_http1_find(head, "x-gemini-service-tier");
    if (tier.text != NULL) {
        ns_wire_text_copy(response->service_tier, sizeof(response->service_tier), tier.text,
                          tier.bytes);
    }
}

/* Is this the type of a tool that runs at the provider, so that its results are billed input? */
static bool
is_hosted_tool(const struct ns_json_input *value)
{
    /* How their types begin: dates and "_preview" follow. */
    static const char *const types[] = {
        "web_search",  "web_fetch",     "code_execution",   "code_interpreter",
        "tool_search", "file_search",   "image_generation", "collections_search",
        "x_search",    "google_search", "google_maps",      "url_context",
        "advisor",     "mcp",
    };
    for (size_t i = 0; value->event == NS_JSON_STRING && i < sizeof(types) / sizeof(types[0]);
         i++) {
        if (ns_wire_text_begins(value->text, value->text_bytes, types[i])) {
            return true;
        }
    }
    return false;
}

static const char *
hosted_tool(int asked)
{
    static const char *const names[] = {"connector",   "web_search",  "google_search",
                                        "google_maps", "url_context", "code_execution",
                                        "file_search"};
    return names[asked - NS_ASK_CONNECTOR];
}

/* Whether a list has this word. */
static bool
is_listed(const char *list, const char *word, size_t bytes)
{
    while (list != NULL) {
        const char *comma = strchr(list, ',');
        size_t listed_bytes = comma != NULL ? (size_t)(comma - list) : strlen(list);
        if (listed_bytes == bytes && bytes > 0 && memcmp(list, word, bytes) == 0) {
            return true;
        }
        list = comma != NULL ? comma + 1 : NULL;
    }
    return false;
}

static bool
is_word(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        char c = (char)(text[i] | 0x20);
        if (!(c >= 'a' && c <= 'z') && !(text[i] >= '0' && text[i] <= '9') && text[i] != '_' &&
            text[i] != '-' && text[i] != '.' && text[i] != ':') {
            return false;
        }
    }
    return bytes > 0;
}

static void
add_tool(struct ns_wire_request *request, const char *word, size_t bytes)
{
    size_t used = strlen(request->tools);
    if (is_listed(request->tools, word, bytes)) {
        return;
    }
    /* There is always room for the star. */
    if (!is_word(word, bytes) || used + 1 + bytes + 2 > NS_TOOLS_BYTES_MAX) {
        word = "*";
        bytes = 1;
    }
    if (!is_listed(request->tools, word, bytes)) {
        if (used > 0) {
            request->tools[used++] = ',';
        }
        memcpy(request->tools + used, word, bytes);
        request->tools[used + bytes] = '\0';
    }
}

void
ns_family_tools_unread(struct ns_wire_request *request)
{
    add_tool(request, "*", 1);
}

void
ns_family_asked(struct ns_wire_request *request, int asked, const struct ns_json_input *value)
{
    uint64_t count;
    switch ((enum ns_asked)asked) {
    case NS_ASK_MODEL:
        ns_family_text(request->model, sizeof(request->model), value);
        break;
    case NS_ASK_STREAM:
        request->streamed = value->event == NS_JSON_TRUE;
        break;
    case NS_ASK_USAGE:
        request->usage_asked |= value->event == NS_JSON_TRUE;
        break;
    case NS_ASK_CAP:
        count = ns_family_count(value, 0);
        request->output_tokens_max =
            count > request->output_tokens_max ? count : request->output_tokens_max;
        break;
    case NS_ASK_CHOICES:
        count = ns_smaller(ns_family_count(value, 1), UINT32_MAX);
        request->choices = count > request->choices ? (uint32_t)count : request->choices;
        break;
    case NS_ASK_TIER:
        ns_family_text(request->service_tier, sizeof(request->service_tier), value);
        break;
    case NS_ASK_SPEED:
        ns_family_text(request->speed, sizeof(request->speed), value);
        break;
    case NS_ASK_REGION:
        ns_family_text(request->region, sizeof(request->region), value);
        break;
    case NS_ASK_ELSEWHERE:
        request->history_elsewhere |= value->event == NS_JSON_STRING;
        break;
    case NS_ASK_TOOL:
        request->history_elsewhere |= is_hosted_tool(value);
        if (value->event == NS_JSON_STRING) {
            add_tool(request, value->text, value->text_bytes);
        }
        break;
    case NS_ASK_FUNCTION:
        if (value->event == NS_JSON_OBJECT_BEGIN || value->event == NS_JSON_ARRAY_BEGIN) {
            add_tool(request, "function", 8);
        }
        break;
    case NS_ASK_CONNECTOR:
    case NS_ASK_WEB_SEARCH:
    case NS_ASK_GOOGLE_SEARCH:
    case NS_ASK_GOOGLE_MAPS:
    case NS_ASK_URL_CONTEXT:
    case NS_ASK_CODE_EXECUTION:
    case NS_ASK_FILE_SEARCH:
        if (value->event == NS_JSON_OBJECT_BEGIN) {
            const char *name = hosted_tool(asked);
            request->history_elsewhere = true;
            add_tool(request, name, strlen(name));
        }
        break;
    }
}

uint64_t
ns_family_count(const struct ns_json_input *value, uint64_t otherwise)
{
    uint64_t count;
    if (value->event == NS_JSON_NUMBER && !value->cut &&
        ns_json_u64(value->text, value->text_bytes, &count) == 0) {
        return count;
    }
    return otherwise;
}

void
ns_raw_set(struct ns_raw *raw, unsigned index, const struct ns_json_input *value)
{
    uint64_t count = ns_family_count(value, UINT64_MAX);
    if (count <= NS_RAW_COUNT_MAX) {
        raw->count[index] = count;
        raw->present |= UINT32_C(1) << index;
    }
}

void
ns_raw_add(struct ns_raw *raw, unsigned index, uint64_t count)
{
    raw->count[index] = ns_smaller(raw->count[index] + count, NS_RAW_COUNT_MAX);
    raw->present |= UINT32_C(1) << index;
}

bool
ns_raw_has(const struct ns_raw *raw, unsigned index)
{
    return (raw->present >> index & 1) != 0;
}

struct ns_usage *
ns_family_part(struct ns_wire_call *call, const char *model)
{
    uint8_t i = 0;
    if (call->parts == NULL) {
        call->parts = ns_mem_alloc(NS_WIRE_PARTS_MAX * sizeof(*call->parts));
    }
    if (call->parts == NULL) {
        call->response.unreadable = true;
        return NULL;
    }
    while (i < call->part_count && strcmp(call->parts[i].model, model) != 0) {
        i++;
    }
    if (i == NS_WIRE_PARTS_MAX) {
        i--;
    } else if (i == call->part_count) {
        memset(&call->parts[i], 0, sizeof(call->parts[i]));
        ns_wire_text_copy(call->parts[i].model, sizeof(call->parts[i].model), model, strlen(model));
        call->part_count++;
    }
    return &call->parts[i].usage;
}
