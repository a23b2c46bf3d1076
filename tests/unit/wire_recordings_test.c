/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every recorded exchange of the families that wire/ reads, through a connection: split at random
 * on both sides, plain, chunked, gzipped; usage, model, tier and evidence must be the manifest's.
 */
#include <strings.h>
#include <sys/stat.h>
#include <zlib.h>

#include "tests/harness.h"
#include "wire/facts.h"
#include "wire/text.h"
#include "wire/wire.h"

#define BODY_BYTES_MAX (64 << 20)

/* --- the manifest -------------------------------------------------------------------------- */

enum {
    RECORD = 1,
    ID,
    PROVIDER,
    STATUS,
    STREAMING,
    ROLE,
    FORMAT,
    KIND,
    MODEL,
    TIER,
    REGION,
    SPEED,
    ERROR,
    COST,
    COST_SOURCE,
    USAGE,
    ITERATION,
    ITERATION_MODEL,
    ITERATION_COUNT,
    COUNT = 64
};

enum {
    INPUT,
    CACHE_READ,
    CACHE_WRITE,
    CACHE_WRITE_1H,
    OUTPUT,
    REASONING,
    IN_AUDIO,
    IN_IMAGE,
    OUT_AUDIO,
    CACHE_IMAGE,
    CACHE_AUDIO,
    WEB_SEARCHES,
    STORAGE_SEARCHES,
    SOCIAL_SEARCHES,
    CODE_EXECUTIONS,
    PAGES,
    SEARCH_UNITS,
    COUNTS
};

struct record {
    char id[64], provider[64], streaming[16], role[16], format[32], kind[16];
    char model[NS_MODEL_BYTES_MAX + 1], tier[64], region[64], speed[64];
    char cost_source[16];
    int64_t cost_nanousd;
    bool error;
    bool has_usage;
    uint64_t count[COUNTS];
    struct {
        char model[NS_MODEL_BYTES_MAX + 1];
        uint64_t tokens;
    } iterations[16];
    uint32_t iteration_count;
    uint64_t status;
};

static const struct ns_fact_rule usage_rules[] = {
    {"input", COUNT + INPUT, NULL},
    {"cache_read", COUNT + CACHE_READ, NULL},
    {"cache_write", COUNT + CACHE_WRITE, NULL},
    {"cache_write_1h", COUNT + CACHE_WRITE_1H, NULL},
    {"output", COUNT + OUTPUT, NULL},
    {"reasoning", COUNT + REASONING, NULL},
    {"input_audio", COUNT + IN_AUDIO, NULL},
    {"input_image", COUNT + IN_IMAGE, NULL},
    {"output_audio", COUNT + OUT_AUDIO, NULL},
    {"cache_image", COUNT + CACHE_IMAGE, NULL},
    {"cache_audio", COUNT + CACHE_AUDIO, NULL},
    {"web_searches", COUNT + WEB_SEARCHES, NULL},
    {"storage_searches", COUNT + STORAGE_SEARCHES, NULL},
    {"social_searches", COUNT + SOCIAL_SEARCHES, NULL},
    {"code_executions", COUNT + CODE_EXECUTIONS, NULL},
    {"pages", COUNT + PAGES, NULL},
    {"search_units", COUNT + SEARCH_UNITS, NULL},
    {"iterations/[]", ITERATION, NULL},
    {"iterations/[]/model", ITERATION_MODEL, NULL},
    {"iterations/[]/input|cache_read|cache_write|cache_write_1h|output", ITERATION_COUNT, NULL},
};
static const struct ns_fact_table usage_table = NS_FACT_TABLE(usage_rules);

static const struct ns_fact_rule record_rules[] = {
    {"id", ID, NULL},
    {"provider", PROVIDER, NULL},
    {"status", STATUS, NULL},
    {"streaming", STREAMING, NULL},
    {"expect/role", ROLE, NULL},
    {"expect/format", FORMAT, NULL},
    {"expect/kind", KIND, NULL},
    {"expect/model", MODEL, NULL},
    {"expect/service_tier", TIER, NULL},
    {"expect/inference_geo", REGION, NULL},
    {"expect/speed", SPEED, NULL},
    {"expect/error", ERROR, NULL},
    {"expect/cost_nanousd", COST, NULL},
    {"expect/cost_source", COST_SOURCE, NULL},
    {"expect/usage", USAGE, &usage_table},
};
static const struct ns_fact_table record_table = NS_FACT_TABLE(record_rules);
static const struct ns_fact_rule manifest_rules[] = {{"[]", RECORD, &record_table}};
static const struct ns_fact_table manifest_table = NS_FACT_TABLE(manifest_rules);

struct manifest {
    struct record record;
    void (*each)(const struct record *record);
};

static void
copy(char *field, size_t bytes, const struct ns_json_input *value)
{
    if (value->event == NS_JSON_STRING) {
        ns_wire_text_copy(field, bytes, value->text, value->text_bytes);
    }
}

static uint64_t
number(const struct ns_json_input *value)
{
    uint64_t count = 0;
    if (value->event == NS_JSON_NUMBER) {
        (void)ns_json_u64(value->text, value->text_bytes, &count);
    }
    return count;
}

static void
listen_record(void *context, int fact, const struct ns_json_input *value)
{
    struct manifest *manifest = context;
    struct record *r = &manifest->record;
    const struct {
        int fact;
        char *field;
        size_t bytes;
    } texts[] = {
        {ID, r->id, sizeof(r->id)},
        {PROVIDER, r->provider, sizeof(r->provider)},
        {STREAMING, r->streaming, sizeof(r->streaming)},
        {ROLE, r->role, sizeof(r->role)},
        {FORMAT, r->format, sizeof(r->format)},
        {KIND, r->kind, sizeof(r->kind)},
        {MODEL, r->model, sizeof(r->model)},
        {TIER, r->tier, sizeof(r->tier)},
        {REGION, r->region, sizeof(r->region)},
        {SPEED, r->speed, sizeof(r->speed)},
        {COST_SOURCE, r->cost_source, sizeof(r->cost_source)},
        {ITERATION_MODEL, r->iterations[r->iteration_count].model, NS_MODEL_BYTES_MAX + 1},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].fact == fact) {
            copy(texts[i].field, texts[i].bytes, value);
        }
    }
    if (fact == RECORD && value->event == NS_JSON_OBJECT_BEGIN) {
        memset(r, 0, sizeof(*r));
    } else if (fact == RECORD && value->event == NS_JSON_OBJECT_END) {
        manifest->each(r);
    } else if (fact == USAGE && value->event == NS_JSON_OBJECT_BEGIN) {
        r->has_usage = true;
    } else if (fact == STATUS) {
        r->status = number(value);
    } else if (fact == ERROR) {
        r->error = value->event == NS_JSON_STRING || value->event == NS_JSON_NUMBER;
    } else if (fact == COST) {
        r->cost_nanousd = (int64_t)number(value);
    } else if (fact == ITERATION && value->event == NS_JSON_OBJECT_END) {
        r->iteration_count += r->iteration_count < 15;
    } else if (fact == ITERATION_COUNT) {
        r->iterations[r->iteration_count].tokens += number(value);
    } else if (fact >= COUNT) {
        r->count[fact - COUNT] = number(value);
    }
}

static char folder[512];

static bool
find_recordings(void)
{
    struct stat info;
    const char *shared = getenv("NS_SHARED");
    (void)snprintf(folder, sizeof(folder), "%s/recordings", shared ? shared : "../shared");
    return stat(folder, &info) == 0;
}

static void
for_each_record(void (*each)(const struct record *record))
{
    char path[600];
    size_t bytes;
    (void)snprintf(path, sizeof(path), "%s/manifest.json", folder);
    char *text = ns_test_read_file(path, &bytes);
    REQUIRE(text != NULL);
    struct manifest manifest = {.each = each};
    struct ns_json *json = ns_json_new();
    struct ns_facts facts = {0};
    ns_facts_init(&facts, &manifest_table);
    for (size_t i = 0;;) {
        struct ns_json_input input;
        i += ns_json_feed(json, (const uint8_t *)text + i, bytes - i, &input);
        if (input.event == NS_JSON_MORE || input.event == NS_JSON_ERROR) {
            CHECK(input.event == NS_JSON_MORE);
            break;
        }
        ns_facts_event(&facts, &input, listen_record, &manifest);
    }
    ns_json_free(json);
    free(text);
}

/* --- messages ------------------------------------------------------------------------------ */

struct bytes {
    uint8_t *data;
    size_t count;
};

static void
append(struct bytes *to, const void *data, size_t count)
{
    to->data = realloc(to->data, to->count + count + 1);
    memcpy(to->data + to->count, data, count);
    to->count += count;
    to->data[to->count] = '\0';
}

static struct bytes
read_message(const struct record *record, const char *kind)
{
    char path[700];
    (void)snprintf(path, sizeof(path), "%s/%s.%s", folder, record->id, kind);
    struct bytes message = {0};
    message.data = (uint8_t *)ns_test_read_file(path, &message.count);
    return message;
}

/* Where there is only an answer: a request that would be answered so. */
static struct bytes
invent_request(const struct record *record)
{
    static const struct {
        const char *format, *path;
    } paths[] = {
        {"openai-responses", "/v1/responses"},
        {"anthropic", "/v1/messages"},
        {"gemini", "/v1beta/models/m:streamGenerateContent"},
        {"gemini-interactions", "/v1beta/interactions"},
        {"total-only", "/v1/embeddings"},
        {"openai-chat", "/v1/chat/completions"},
        {"cohere", "/v2/chat"},
    };
    static const struct {
        const char *provider, *host, *path;
    } hosts[] = {
        {"azure", "x.openai.azure.com", NULL},
        {"anthropic", "api.anthropic.com", NULL},
        {"alibaba", "dashscope-intl.aliyuncs.com", NULL},
        {"bedrock", "bedrock-runtime.us-east-1.amazonaws.com", "/model/m/converse"},
        {"cerebras", "api.cerebras.ai", NULL},
        {"cohere", "api.cohere.com", NULL},
        {"deepseek", "api.deepseek.com", NULL},
        {"gemini", "generativelanguage.googleapis.com", NULL},
        {"groq", "api.groq.com", NULL},
        {"mistral", "api.mistral.ai", NULL},
        {"moonshot", "api.moonshot.ai", NULL},
        {"openai", "api.openai.com", NULL},
        {"perplexity", "api.perplexity.ai", NULL},
        {"together", "api.together.xyz", NULL},
        {"voyage", "api.voyageai.com", NULL},
        {"xai", "api.x.ai", NULL},
    };
    const char *path = "/v1/chat/completions";
    const char *host = "localhost";
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        path = strcmp(paths[i].format, record->format) == 0 ? paths[i].path : path;
    }
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        bool here = strcmp(hosts[i].provider, record->provider) == 0;
        host = here ? hosts[i].host : host;
        path = here && hosts[i].path != NULL ? hosts[i].path : path;
    }
    char text[512];
    int bytes = snprintf(text, sizeof(text),
                         "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 2\r\n\r\n{}", path, host);
    struct bytes request = {0};
    append(&request, text, (size_t)bytes);
    return request;
}

static struct bytes
deflate_all(const uint8_t *data, size_t count)
{
    z_stream stream = {0};
    struct bytes packed = {0};
    (void)deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    packed.count = deflateBound(&stream, count) + 64;
    packed.data = malloc(packed.count);
    stream.next_in = (Bytef *)(uintptr_t)data;
    stream.avail_in = (uInt)count;
    stream.next_out = packed.data;
    stream.avail_out = (uInt)packed.count;
    CHECK_INT(deflate(&stream, Z_FINISH), Z_STREAM_END);
    packed.count = stream.total_out;
    (void)deflateEnd(&stream);
    return packed;
}

/* The same message in other framing: chunked, and gzipped where asked for. */
static struct bytes
reframe(const struct bytes *message, bool gzip)
{
    struct bytes framed = {0};
    const char *text = (const char *)message->data;
    const char *body = strstr(text, "\r\n\r\n");
    if (body == NULL) {
        return framed;
    }
    body += 4;
    size_t body_bytes = message->count - (size_t)(body - text);
    for (const char *line = text; line < body - 2;) {
        const char *end = strstr(line, "\r\n") + 2;
        if (strncasecmp(line, "content-length:", 15) != 0) {
            append(&framed, line, (size_t)(end - line));
        }
        line = end;
    }
    const char *more = gzip ? "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
                            : "Transfer-Encoding: chunked\r\n\r\n";
    append(&framed, more, strlen(more));
    struct bytes packed = {0};
    if (gzip) {
        packed = deflate_all((const uint8_t *)body, body_bytes);
        body = (const char *)packed.data;
        body_bytes = packed.count;
    }
    while (body_bytes > 0) {
        char line[32];
        size_t chunk = 1 + ns_test_random() % 3000;
        chunk = chunk < body_bytes ? chunk : body_bytes;
        int line_bytes = snprintf(line, sizeof(line), "%zx\r\n", chunk);
        append(&framed, line, (size_t)line_bytes);
        append(&framed, body, chunk);
        append(&framed, "\r\n", 2);
        body += chunk;
        body_bytes -= chunk;
    }
    append(&framed, "0\r\n\r\n", 5);
    free(packed.data);
    return framed;
}

/* --- a run --------------------------------------------------------------------------------- */

static struct ns_wire_hosts hosts;
static unsigned judged, out_of_scope, not_judged;

static size_t
piece(size_t left, unsigned largest)
{
    size_t size = 1 + ns_test_random() % largest;
    return size < left ? size : left;
}

/* Writes a request. Returns its call, NULL where it is none; *opaque where it was not read. */
static struct ns_wire_call *
write_request(struct ns_wire *wire, const struct bytes *request, unsigned largest)
{
    struct ns_wire_call *call = NULL;
    for (size_t i = 0; i < request->count;) {
        size_t end = i + piece(request->count - i, largest);
        while (i < end) {
            struct ns_wire_written written;
            size_t taken =
                ns_wire_write(wire, request->data + i, end - i, BODY_BYTES_MAX, &written);
            if (taken == 0 || taken > end - i) {
                NS_FAIL("a write of %zu took %zu", end - i, taken);
                return NULL;
            }
            i += taken;
            call = written.call ? written.call : call;
        }
    }
    return call;
}

static struct ns_wire_call *
read_answer(struct ns_wire *wire, const struct bytes *answer, unsigned largest)
{
    struct ns_wire_read read;
    for (size_t i = 0; i < answer->count;) {
        size_t end = i + piece(answer->count - i, largest);
        while (i < end) {
            i += ns_wire_read(wire, answer->data + i, end - i, &read);
            if (read.event == NS_WIRE_READ_END) {
                CHECK_INT(i, answer->count);
                return read.call;
            }
        }
    }
    return ns_wire_read_close(wire, &read) == NS_WIRE_READ_END ? read.call : ns_wire_take(wire);
}

/* --- expectations -------------------------------------------------------------------------- */

#define SAME(what, got, expected)                                                                  \
    do {                                                                                           \
        if ((uint64_t)(got) != (uint64_t)(expected)) {                                             \
            NS_FAIL("%s: %s is %" PRIu64 ", not %" PRIu64, record->id, what, (uint64_t)(got),      \
                    (uint64_t)(expected));                                                         \
        }                                                                                          \
    } while (0)

#define SAME_TEXT(what, got, expected)                                                             \
    do {                                                                                           \
        if (strcmp(got, expected) != 0) {                                                          \
            NS_FAIL("%s: %s is \"%s\", not \"%s\"", record->id, what, got, expected);              \
        }                                                                                          \
    } while (0)

static void
check_usage(const struct record *record, const struct ns_usage *usage)
{
    const uint64_t *want = record->count;
    SAME("input", ns_usage_input_tokens(usage), want[INPUT]);
    SAME("cache read", ns_usage_cached_input_tokens(usage), want[CACHE_READ]);
    SAME("cache write", ns_usage_get(usage, NS_METER_CACHE_WRITE), want[CACHE_WRITE]);
    SAME("cache write 1h", ns_usage_get(usage, NS_METER_CACHE_WRITE_1H), want[CACHE_WRITE_1H]);
    SAME("output", ns_usage_output_tokens(usage), want[OUTPUT]);
    /* Two recordings give parts that exceed their whole (reasoning 11 of 10; reasoning 3 and audio
     * 4 of 4): disjoint classes cannot hold that. */
    uint64_t reasoning = want[REASONING] < want[OUTPUT] ? want[REASONING] : want[OUTPUT];
    uint64_t rest = want[OUTPUT] - reasoning;
    SAME("reasoning", ns_usage_get(usage, NS_METER_OUTPUT_REASONING), reasoning);
    SAME("output audio", ns_usage_get(usage, NS_METER_OUTPUT_AUDIO),
         want[OUT_AUDIO] < rest ? want[OUT_AUDIO] : rest);
    SAME("cached audio", ns_usage_get(usage, NS_METER_CACHE_AUDIO_READ), want[CACHE_AUDIO]);
    SAME("cached image", ns_usage_get(usage, NS_METER_CACHE_IMAGE_READ), want[CACHE_IMAGE]);
    SAME("web searches", ns_usage_get(usage, NS_METER_WEB_SEARCHES), want[WEB_SEARCHES]);
    SAME("file searches", ns_usage_get(usage, NS_METER_STORAGE_SEARCHES), want[STORAGE_SEARCHES]);
    SAME("x searches", ns_usage_get(usage, NS_METER_SOCIAL_SEARCHES), want[SOCIAL_SEARCHES]);
    SAME("code", ns_usage_get(usage, NS_METER_CODE_EXECUTIONS), want[CODE_EXECUTIONS]);
    SAME("search units", ns_usage_get(usage, NS_METER_SEARCH_UNITS), want[SEARCH_UNITS]);
    SAME("pages", ns_usage_get(usage, NS_METER_INPUT_DOCUMENT_PAGES), want[PAGES]);
    /* The manifest's audio and image are of cached and uncached input together. */
    SAME("audio",
         ns_usage_get(usage, NS_METER_INPUT_AUDIO) + ns_usage_get(usage, NS_METER_CACHE_AUDIO_READ),
         want[IN_AUDIO]);
    if (want[IN_IMAGE] > 0) {
        SAME("image",
             ns_usage_get(usage, NS_METER_INPUT_IMAGE) +
                 ns_usage_get(usage, NS_METER_CACHE_IMAGE_READ),
             want[IN_IMAGE]);
    }
}

static void
check_parts(const struct record *record, const struct ns_wire_call *call)
{
    for (uint32_t i = 0; i < record->iteration_count; i++) {
        uint64_t want = 0, got = 0;
        for (uint32_t j = 0; j < record->iteration_count; j++) {
            bool same = strcmp(record->iterations[i].model, record->iterations[j].model) == 0;
            want += same ? record->iterations[j].tokens : 0;
        }
        for (uint8_t j = 0; j < call->part_count; j++) {
            const struct ns_usage *part = &call->parts[j].usage;
            bool same = strcmp(record->iterations[i].model, call->parts[j].model) == 0;
            got += same ? ns_usage_input_tokens(part) + ns_usage_cached_input_tokens(part) +
                              ns_usage_cache_write_tokens(part) + ns_usage_output_tokens(part)
                        : 0;
        }
        SAME(record->iterations[i].model, got, want);
    }
}

static void
check_call(const struct record *record, const struct ns_wire_call *call)
{
    const struct ns_wire_response *response = &call->response;
    bool refused = strcmp(record->role, "error") == 0;
    SAME("status", response->status, record->status);
    SAME("has usage", response->has_usage, record->has_usage);
    /* Writer's older streams have no end of their own: they are only counted. */
    bool endless = strcmp(record->provider, "writer") == 0 && !record->has_usage;
    SAME("complete", response->complete || endless, true);
    SAME("unreadable", response->unreadable, false);
    SAME("error", response->error, record->error || refused);
    SAME_TEXT("model", response->model, record->model);
    SAME_TEXT("tier", response->service_tier, record->tier);
    SAME_TEXT("region", response->region, record->region);
    SAME_TEXT("speed", response->speed, record->speed);
    if (record->has_usage) {
        check_usage(record, &response->usage);
        check_parts(record, call);
    }
    if (strcmp(record->cost_source, "provider") == 0) {
        SAME("provider's cost", response->provider_cost_nanousd, record->cost_nanousd);
    }
    enum ns_evidence expected = record->has_usage || refused ? NS_EVIDENCE_REPORTED
                                : response->text_bytes > 0   ? NS_EVIDENCE_COUNTED
                                : response->error            ? NS_EVIDENCE_REPORTED
                                                             : NS_EVIDENCE_ESTIMATED;
    SAME_TEXT("evidence", ns_evidence_name(ns_wire_evidence(call)), ns_evidence_name(expected));
}

/* Families of other parts, told by the wire shape that the manifest names or by the path. */
static bool
is_out_of_scope(const struct record *record, const struct bytes *request)
{
    static const char *const providers[] = {"alephalpha", "replicate", "sagemaker", "watsonx"};
    for (size_t i = 0; i < sizeof(providers) / sizeof(providers[0]); i++) {
        if (strcmp(record->provider, providers[i]) == 0) {
            return strstr((const char *)request->data, "bedrock-mantle") == NULL;
        }
    }
    return false;
}

static void
run_record(const struct record *record, unsigned largest, int framing)
{
    struct bytes request = read_message(record, "req");
    struct bytes answer = read_message(record, "resp");
    if (request.data == NULL) {
        request = invent_request(record);
    }
    if (framing > 0 && record->status != 204) {
        struct bytes framed = reframe(&answer, framing > 1);
        free(answer.data);
        answer = framed;
    }
    bool elsewhere = is_out_of_scope(record, &request);
    bool must_be_call = strcmp(record->role, "call") == 0 && !elsewhere;
    bool may_be_call =
        must_be_call || strcmp(record->role, "error") == 0 || strcmp(record->role, "unjudged") == 0;
    struct ns_wire *wire = ns_wire_new(&hosts, NULL);
    struct ns_wire_call *call = write_request(wire, &request, largest);
    if (ns_wire_is_opaque(wire)) {
        NS_FAIL("%s: request is opaque (%d)", record->id, (int)ns_wire_opaque_reason(wire));
    }
    if (call == NULL && must_be_call) {
        NS_FAIL("%s (%s): is no call", record->id, record->provider);
    } else if (call != NULL && (elsewhere || !may_be_call)) {
        NS_FAIL("%s (%s): is a call, but its role is %s", record->id, record->provider,
                record->role);
    }
    struct ns_wire_call *answered = read_answer(wire, &answer, largest);
    if (answered != call) {
        NS_FAIL("%s: the answer is not the call's", record->id);
    }
    if (answered != NULL && may_be_call && strcmp(record->role, "unjudged") != 0) {
        check_call(record, answered);
        judged++;
    } else {
        out_of_scope += elsewhere;
        not_judged += !elsewhere;
    }
    ns_wire_call_free(answered);
    ns_wire_free(wire);
    free(request.data);
    free(answer.data);
}

static unsigned run_largest;
static int run_framing;

static void
each_record(const struct record *record)
{
    run_record(record, run_largest, run_framing);
}

static void
run_all(unsigned largest, int framing)
{
    size_t bad;
    CHECK_INT(ns_wire_hosts_parse(
                  &hosts, "localhost=openai,localhost:8787=anthropic,127.0.0.1:11434=ollama", &bad),
              0);
    /* A host that the recorder blanked out. */
    (void)snprintf(hosts.extra[hosts.count].host, NS_HOST_BYTES_MAX, "<ollama_api_base>");
    hosts.extra[hosts.count].port = 0;
    hosts.extra[hosts.count++].family = "openai";
    judged = out_of_scope = not_judged = 0;
    run_largest = largest;
    run_framing = framing;
    for_each_record(each_record);
    printf("# %u judged, %u of families that are not read here, %u no calls\n", judged,
           out_of_scope, not_judged);
    CHECK(judged > 500);
}

TEST(every_recorded_answer_is_read_as_the_manifest_says)
{
    if (!find_recordings()) {
        SKIP("recordings");
    }
    run_all(1 << 20, 0);
}

TEST(small_random_splits_of_both_sides_change_nothing)
{
    if (!find_recordings()) {
        SKIP("recordings");
    }
    run_all(97, 0);
}

TEST(chunked_answers_are_read_the_same)
{
    if (!find_recordings()) {
        SKIP("recordings");
    }
    run_all(1500, 1);
}

TEST(gzipped_answers_are_read_the_same)
{
    if (!find_recordings()) {
        SKIP("recordings");
    }
    run_all(1500, 2);
}
