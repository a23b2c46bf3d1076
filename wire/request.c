/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/request.h"

#include <errno.h>
#include <string.h>

#include "wire/identity.h"
#include "wire/text.h"

/* --- the head ------------------------------------------------------------------------------ */

static int
hex_digit(char c)
{
    char lower = (char)(c | 0x20);
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The path of a target, percent-decoded once, without query, fragment and closing slash. Returns
 * its length, 0 where it is too long. */
static size_t
decode_path(struct ns_http1_text target, char path[NS_PATH_BYTES_MAX])
{
    size_t used = 0;
    for (size_t i = 0; i < target.bytes; i++) {
        char c = target.text[i];
        if (c == '?' || c == '#') {
            break;
        }
        if (c == '%' && i + 2 < target.bytes && hex_digit(target.text[i + 1]) >= 0 &&
            hex_digit(target.text[i + 2]) >= 0) {
            c = (char)(hex_digit(target.text[i + 1]) << 4 | hex_digit(target.text[i + 2]));
            i += 2;
        }
        if (used == NS_PATH_BYTES_MAX) {
            return 0;
        }
        path[used++] = c;
    }
    while (used > 1 && path[used - 1] == '/') {
        used--;
    }
    return used;
}

/* AWS may name a model by its ARN, which ends in the model's own name. An application's profile is
 * called by its owner: that name alone would say nothing. */
static const char *
resource_of_arn(const char *model, const char *end)
{
    static const char *const kinds[] = {":foundation-model/", ":inference-profile/"};
    size_t bytes = (size_t)(end - model);
    for (size_t i = 0; ns_wire_text_begins(model, bytes, "arn:") && i < 2; i++) {
        const char *kind = memmem(model, bytes, kinds[i], strlen(kinds[i]));
        if (kind != NULL) {
            return kind + strlen(kinds[i]);
        }
    }
    return model;
}

/* Where a path names the model. */
static void
model_of_path(struct ns_wire_request *request, const char *path, size_t bytes)
{
    static const struct {
        const char *before;
        char after;
        bool last; /* the model's name may itself contain what stands after it */
    } places[] = {{"/models/", ':', true},
                  {"/tunedModels/", ':', true},
                  {"/deployments/", '/', false},
                  {"/model/", '/', true}};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        size_t before = strlen(places[i].before);
        const char *place = memmem(path, bytes, places[i].before, before);
        if (place == NULL) {
            continue;
        }
        const char *model = place + before;
        size_t left = bytes - (size_t)(model - path);
        const char *end = places[i].last ? memrchr(model, places[i].after, left)
                                         : memchr(model, places[i].after, left);
        if (end != NULL) {
            model = resource_of_arn(model, end);
            ns_wire_text_copy(request->model, sizeof(request->model), model, (size_t)(end - model));
        }
    }
}

/* "/nebius/v1/…": the first part of a router's path, where that is not its own version. */
static void
upstream_of_path(struct ns_wire_request *request, const char *path, size_t bytes)
{
    const char *name = path + 1;
    const char *end = bytes > 1 ? memchr(name, '/', bytes - 1) : NULL;
    if (end != NULL && !ns_wire_text_is(name, (size_t)(end - name), "v1")) {
        ns_wire_text_copy(request->upstream, sizeof(request->upstream), name, (size_t)(end - name));
    }
}

/* Without alt=sse, Gemini's streams are one JSON array. */
static bool
asks_for_sse(struct ns_http1_text target)
{
    const char *query = memchr(target.text, '?', target.bytes);
    size_t bytes = query ? target.bytes - (size_t)(query - target.text) : 0;
    return bytes > 0 && memmem(query, bytes, "alt=sse", 7) != NULL;
}

/* "?key=…", where the Gemini API takes one. */
static void
credential_of_query(struct ns_wire_request *request, struct ns_http1_text method,
                    struct ns_http1_text target)
{
    const char *query = memchr(target.text, '?', target.bytes);
    const char *end = target.text + target.bytes;
    while (query != NULL) {
        const char *name = query + 1;
        query = memchr(name, '&', (size_t)(end - name));
        size_t bytes = (size_t)((query ? query : end) - name);
        if (ns_wire_text_begins(name, bytes, "key=")) {
            uint32_t offset = (uint32_t)(name + 4 - method.text); /* the line begins with it */
            ns_identity_credential(request, name + 4, bytes - 4, offset);
        }
    }
}

static void
keep_host(struct ns_wire_request *request, const char *name, size_t bytes)
{
    ns_wire_text_copy(request->host, sizeof(request->host), name, ns_hosts_bare(name, bytes));
    for (char *c = request->host; *c != '\0'; c++) {
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c;
    }
}

static void
read_host(struct ns_wire_request *request, const struct ns_http1 *parser,
          const struct ns_wire_hosts *hosts, const char *server_name, struct ns_host *host)
{
    struct ns_http1_text said = ns_http1_find(parser, "host");
    size_t bytes = server_name ? strlen(server_name) : 0;
    const char *name = server_name;
    uint16_t port = 0;
    if (said.text != NULL && said.bytes > 0) {
        name = ns_hosts_split(said.text, said.bytes, &bytes, &port);
    }
    if (name == NULL || bytes > NS_HOST_BYTES_MAX) {
        memset(host, 0, sizeof(*host));
        return;
    }
    keep_host(request, name, bytes);
    (void)ns_hosts_find(hosts, name, bytes, port, host);
}

/* A form with a file: its model stands in a field that is not looked for. */
static bool
is_form(const struct ns_http1 *parser)
{
    struct ns_http1_text type = ns_http1_find(parser, "content-type");
    return type.text != NULL && ns_wire_text_begins_nocase(type.text, type.bytes, "multipart/");
}

/* Azure's older interfaces refuse stream_options: it came with those of September 2024. */
static bool
azure_is_askable(struct ns_http1_text target)
{
    static const char version[] = "api-version=";
    static const char first[] = "2024-09-01";
    const char *said = memmem(target.text, target.bytes, version, sizeof(version) - 1);
    if (said == NULL) {
        return memmem(target.text, target.bytes, "/openai/v1/", 11) != NULL;
    }
    said += sizeof(version) - 1;
    size_t left = target.bytes - (size_t)(said - target.text);
    return left >= sizeof(first) - 1 && memcmp(said, first, sizeof(first) - 1) >= 0;
}

/* A body that is signed or coded must leave as it is. */
static bool
body_is_editable(const struct ns_http1 *parser)
{
    static const char *const names[] = {"content-encoding",    "content-md5", "digest",
                                        "content-digest",      "repr-digest", "signature",
                                        "signature-input",     "x-amz-date",  "x-signature",
                                        "x-amz-content-sha256"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (ns_http1_find(parser, names[i]).text != NULL) {
            return false;
        }
    }
    return true;
}

static bool
is_askable(const struct ns_request *request, const struct ns_http1 *parser)
{
    const char *operation = request->route->operation;
    bool chat = strcmp(operation, "chat") == 0 || strcmp(operation, "completions") == 0;
    bool azure = strcmp(request->call->request.provider, "azure") == 0;
    return chat && (request->route->flags & NS_ROUTE_USAGE) == 0 &&
           (request->quirks & NS_QUIRK_USAGE_ASKABLE) != 0 &&
           (!azure || azure_is_askable(ns_http1_target(parser))) && body_is_editable(parser);
}

static int
open_body(struct ns_request *request, const struct ns_http1 *parser)
{
    struct ns_http1_text coding = ns_http1_find(parser, "content-encoding");
    if (request->json == NULL) {
        request->json = ns_json_new();
    } else {
        ns_json_reset(request->json);
    }
    if (request->json == NULL) {
        return -ENOMEM;
    }
    int result = ns_coding_new(coding.text, coding.bytes, &request->coding);
    request->form = is_form(parser);
    request->readable = result == 0 && !request->form;
    request->content_length = ns_http1_content_length(parser);
    request->sent_bytes = 0;
    request->call->request.streamed = (request->route->flags & NS_ROUTE_STREAMS_UNASKED) != 0;
    request->askable = is_askable(request, parser);
    memset(&request->ask, 0, sizeof(request->ask));
    memset(&request->body, 0, sizeof(request->body));
    ns_facts_init(&request->facts, &request->family->request);
    ns_prompt_init(&request->prompt, request->family->prompt_roots, &request->call->request);
    return result == -ENOMEM ? result : 0;
}

_Static_assert(NS_STRIP_RANGES_MAX >= (NS_HEADERS_MAX + 1) / 2 && NS_STRIP_RANGES_MAX <= UINT8_MAX,
               "there is room for every second line of a head");

static void
strip_line(struct ns_request *request, const struct ns_http1_header *header)
{
    struct ns_wire_range *last =
        request->strip_count > 0 ? &request->strip[request->strip_count - 1] : NULL;
    if (last != NULL && last->offset + last->bytes == header->line_offset) {
        last->bytes += header->line_bytes;
    } else {
        request->strip[request->strip_count++] =
            (struct ns_wire_range){.offset = header->line_offset, .bytes = header->line_bytes};
    }
}

int
ns_request_head(struct ns_request *request, const struct ns_http1 *parser,
                const struct ns_wire_hosts *hosts, const char *server_name,
                struct ns_wire_call *call)
{
    struct ns_wire_request *facts = &call->request;
    struct ns_host host;
    char path[NS_PATH_BYTES_MAX];
    struct ns_http1_text target = ns_http1_target(parser);
    struct ns_http1_text method = ns_http1_method(parser);
    request->family = NULL;
    request->call = call;
    request->strip_count = 0;
    facts->closes = !ns_http1_keep_alive(parser);
    for (size_t i = 0; i < ns_http1_header_count(parser); i++) {
        const struct ns_http1_header *header = ns_http1_header_at(parser, i);
        if (ns_identity_header(facts, header)) {
            strip_line(request, header);
        }
    }
    read_host(facts, parser, hosts, server_name, &host);
    if (host.speaks == 0 || !ns_wire_text_is(method.text, method.bytes, "POST")) {
        return 0;
    }
    size_t path_bytes = decode_path(target, path);
    const struct ns_family *family = ns_family_find(&host, path, path_bytes, &request->route);
    if (family == NULL || request->route->operation == NULL) {
        return 0;
    }
    credential_of_query(facts, method, target);
    model_of_path(facts, path, path_bytes);
    if ((host.quirks & NS_QUIRK_UPSTREAM) != 0) {
        upstream_of_path(facts, path, path_bytes);
    }
    request->family = family;
    request->quirks = host.quirks;
    facts->family = family->name;
    facts->provider = host.provider ? host.provider : facts->host;
    facts->operation = request->route->operation;
    facts->array = (request->route->flags & NS_ROUTE_ARRAY) != 0 && !asks_for_sse(target);
    int result = open_body(request, parser);
    if (result != 0) {
        request->family = NULL;
    }
    return result;
}

bool
ns_request_unread(const struct ns_http1 *parser, const struct ns_wire_hosts *hosts,
                  const char *server_name, struct ns_wire_call *call)
{
    struct ns_wire_request *facts = &call->request;
    struct ns_host host;
    char path[NS_PATH_BYTES_MAX];
    const struct ns_route *route = NULL;
    size_t bytes = server_name ? strlen(server_name) : 0;
    if (bytes == 0 || bytes > NS_HOST_BYTES_MAX || !ns_wire_host_known(hosts, server_name, bytes)) {
        return false;
    }
    keep_host(facts, server_name, bytes);
    /* A host that was added with a port of its own is known without it, but not what it speaks. */
    (void)ns_hosts_find(hosts, server_name, bytes, 0, &host);
    size_t path_bytes = decode_path(ns_http1_target(parser), path);
    const struct ns_family *family = ns_family_find(&host, path, path_bytes, &route);
    facts->provider = host.provider ? host.provider : facts->host;
    facts->family = family != NULL ? family->name : ns_hosts_native(&host);
    facts->operation = family != NULL && route->operation != NULL ? route->operation : "";
    return true;
}

/* --- the body ------------------------------------------------------------------------------ */

static void
listen_fact(void *context, int fact, const struct ns_json_input *value)
{
    struct ns_request *request = context;
    request->family->request_fact(&request->call->request, fact, value);
}

static void
read_json(struct ns_request *request, const uint8_t *bytes, size_t count)
{
    struct ns_wire_request *facts = &request->call->request;
    facts->body_bytes += count;
    ns_fingerprint_add(&request->body, bytes, count);
    for (size_t i = 0; request->readable;) {
        struct ns_json_input input;
        i += ns_json_feed(request->json, bytes + i, count - i, &input);
        if (input.event == NS_JSON_MORE) {
            return;
        }
        if (input.event == NS_JSON_ERROR) { /* what is not understood may all be text */
            request->readable = false;
            facts->text_bytes += count - i;
            return;
        }
        if (request->askable) {
            ns_usage_ask_event(&request->ask, &input, facts->body_bytes - count + i);
        }
        ns_facts_event(&request->facts, &input, listen_fact, request);
        ns_prompt_event(&request->prompt, &input);
    }
}

/* Bytes of which only the number is known. */
static void
count_unread(struct ns_request *request, uint64_t count)
{
    struct ns_wire_request *facts = &request->call->request;
    facts->body_bytes += count;
    if ((request->route->flags & NS_ROUTE_FORM) != 0) {
        facts->attachment_bytes += count;
    } else {
        facts->text_bytes += count;
    }
}

void
ns_request_body(struct ns_request *request, const uint8_t *bytes, size_t count)
{
    request->sent_bytes += count;
    for (size_t i = 0; i < count || request->readable;) {
        if (!request->readable) {
            count_unread(request, count - i);
            return;
        }
        size_t consumed;
        const uint8_t *output;
        size_t output_bytes;
        enum ns_coding_status status = ns_coding_feed(request->coding, bytes + i, count - i,
                                                      &consumed, &output, &output_bytes);
        i += consumed;
        if (status == NS_CODING_OUTPUT) {
            read_json(request, output, output_bytes);
        } else if (status == NS_CODING_MORE || (status == NS_CODING_END && i == count)) {
            return;
        } else {
            request->readable = false;
        }
    }
}

void
ns_request_finish(struct ns_request *request, bool complete)
{
    struct ns_wire_request *facts = &request->call->request;
    bool form = (request->route->flags & NS_ROUTE_FORM) != 0;
    facts->body_complete = complete;
    facts->fingerprint = complete && request->readable ? ns_fingerprint_end(&request->body) : 0;
    if (!complete && request->content_length > 0) {
        count_unread(request, ns_less((uint64_t)request->content_length, request->sent_bytes));
    }
    if (!complete || (!request->readable && !request->form)) {
        ns_family_tools_unread(facts);
    }
    ns_prompt_finish(&request->prompt);
    if (form && facts->attachment_bytes > 0) {
        bool image = strcmp(facts->operation, "images") == 0;
        *(image ? &facts->images : &facts->audios) += 1;
    }
    facts->streamed |= (request->route->flags & NS_ROUTE_STREAMS) != 0;
    facts->usage_asked |= (request->route->flags & NS_ROUTE_USAGE) != 0 ||
                          (request->quirks & NS_QUIRK_USAGE_UNASKED) != 0;
    const char *colon = strrchr(facts->model, ':');
    if ((request->quirks & NS_QUIRK_UPSTREAM) != 0 && facts->upstream[0] == '\0' && colon != NULL) {
        ns_wire_text_copy(facts->upstream, sizeof(facts->upstream), colon + 1, strlen(colon + 1));
    }
    facts->choices = facts->choices > 0 ? facts->choices : 1;
    ns_coding_free(request->coding);
    request->coding = NULL;
}

bool
ns_request_usage_edit(const struct ns_request *request, struct ns_usage_edit *edit)
{
    const struct ns_wire_request *facts = &request->call->request;
    return request->askable && request->readable && facts->body_complete && facts->streamed &&
           !facts->usage_asked && ns_usage_ask_edit(&request->ask, edit);
}

void
ns_request_free(struct ns_request *request)
{
    ns_coding_free(request->coding);
    ns_json_free(request->json);
}
