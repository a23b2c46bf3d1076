/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every recorded exchange of the families that wire/ reads, from its bytes to what the collector
 * charges: the cost must be the manifest's to the nano-dollar, and no more than the bound reserved.
 */
#include "collector/price.h"
#include "tests/unit/pricing_json.h"
#include "tests/unit/pricing_support.h"
#include "wire/wire.h"

#define NANO INT64_C(1000000000)
#define BODY_BYTES_MAX (64 << 20)
#define UNDATED_UNIX_S INT64_C(1790812800) /* 2026-10-01, where an answer has no Date */

struct entry {
    char id[64], provider[64], role[16], source[16], format[32], request_model[256];
    int64_t cost_nanousd;
    const char *expect;
};

static void
read_entry(const char *object, struct entry *entry)
{
    entry->expect = value_of(object, "expect");
    text_of(object, "id", entry->id, sizeof(entry->id));
    text_of(object, "provider", entry->provider, sizeof(entry->provider));
    text_of(object, "request_model", entry->request_model, sizeof(entry->request_model));
    text_of(entry->expect, "role", entry->role, sizeof(entry->role));
    text_of(entry->expect, "format", entry->format, sizeof(entry->format));
    text_of(entry->expect, "cost_source", entry->source, sizeof(entry->source));
    entry->cost_nanousd = (int64_t)number_of(entry->expect, "cost_nanousd");
}

static bool
also_right(const char *expect, int64_t nanousd)
{
    const char *at = value_of(expect, "cost_also_right");
    for (at = at == NULL ? "]" : skip_blank(at + 1); *at != ']'; at = skip_blank(skip_value(at))) {
        if (strtoll(at, NULL, 10) == nanousd) {
            return true;
        }
    }
    return false;
}

/* --- from bytes to a call --------------------------------------------------------------------- */

static char *
read_message(const struct entry *entry, const char *kind, size_t *bytes)
{
    char name[128];
    snprintf(name, sizeof(name), "recordings/%s.%s", entry->id, kind);
    return ns_test_read_file(shared_path(name), bytes);
}

/* Where there is only an answer: a request that would be answered so. */
static char *
invent_request(const struct entry *entry, size_t *bytes)
{
    static const struct {
        const char *format, *path;
    } paths[] = {
        {"openai-responses", "/v1/responses"},
        {"anthropic", "/v1/messages"},
        {"gemini", "/v1beta/models/m:streamGenerateContent"},
        {"gemini-interactions", "/v1beta/interactions"},
        {"openai-chat", "/v1/chat/completions"},
    };
    static const struct {
        const char *provider, *host;
    } hosts[] = {
        {"azure", "x.openai.azure.com"},
        {"anthropic", "api.anthropic.com"},
        {"cerebras", "api.cerebras.ai"},
        {"deepseek", "api.deepseek.com"},
        {"gemini", "generativelanguage.googleapis.com"},
        {"groq", "api.groq.com"},
        {"mistral", "api.mistral.ai"},
        {"moonshot", "api.moonshot.ai"},
        {"openai", "api.openai.com"},
        {"perplexity", "api.perplexity.ai"},
        {"together", "api.together.xyz"},
        {"xai", "api.x.ai"},
    };
    const char *path = NULL, *host = NULL;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        path = strcmp(paths[i].format, entry->format) == 0 ? paths[i].path : path;
    }
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        host = strcmp(hosts[i].provider, entry->provider) == 0 ? hosts[i].host : host;
    }
    if (path == NULL || host == NULL) {
        return NULL;
    }
    char *text = malloc(512);
    *bytes = (size_t)snprintf(
        text, 512, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 2\r\n\r\n{}", path, host);
    return text;
}

static struct ns_wire_hosts hosts;

/* The call of an exchange; NULL where wire/ reads none. */
static struct ns_wire_call *
read_exchange(const char *request, size_t request_bytes, const char *answer, size_t answer_bytes)
{
    struct ns_wire *wire = ns_wire_new(&hosts, NULL);
    struct ns_wire_call *call = NULL;
    for (size_t i = 0; i < request_bytes;) {
        struct ns_wire_written written;
        i += ns_wire_write(wire, (const uint8_t *)request + i, request_bytes - i, BODY_BYTES_MAX,
                           &written);
        call = written.call != NULL ? written.call : call;
    }
    struct ns_wire_read read = {0};
    for (size_t i = 0; call != NULL && read.event != NS_WIRE_READ_END && i < answer_bytes;) {
        i += ns_wire_read(wire, (const uint8_t *)answer + i, answer_bytes - i, &read);
    }
    if (call != NULL && read.event != NS_WIRE_READ_END &&
        ns_wire_read_close(wire, &read) != NS_WIRE_READ_END) {
        read.call = ns_wire_take(wire);
    }
    ns_wire_free(wire);
    return call == NULL ? NULL : read.call;
}

/* --- from a call to a bill -------------------------------------------------------------------- */

/* As the preload object reports it (shim/call.c). */
static struct ns_message
report_of(const struct ns_wire_call *call)
{
    const struct ns_wire_request *request = &call->request;
    const struct ns_wire_response *response = &call->response;
    struct ns_message message = {.kind = NS_MESSAGE_REPORT};
    struct ns_report *report = &message.as.report;
    report->started_at_ns = report->ended_at_ns = UNDATED_UNIX_S * NANO;
    report->provider = ns_text_of(request->provider);
    report->family = ns_text_of(request->family);
    report->operation = ns_text_of(request->operation);
    report->host = ns_text_of(request->host);
    report->requested_model = ns_text_of(request->model);
    report->text_bytes = request->text_bytes;
    report->images = request->images;
    report->audios = request->audios;
    report->videos = request->videos;
    report->files = request->files;
    report->attachment_bytes = request->attachment_bytes;
    report->output_tokens_max = request->output_tokens_max;
    report->choices = request->choices;
    report->history_elsewhere = request->history_elsewhere;
    report->cache_write = request->cache_write;
    report->requested_tier = ns_text_of(request->service_tier);
    report->requested_speed = ns_text_of(request->speed);
    report->requested_region = ns_text_of(request->region);
    report->upstream = ns_text_of(request->upstream);
    report->http_status = (uint32_t)response->status;
    report->outcome = response->error ? NS_OUTCOME_ERROR : NS_OUTCOME_OK;
    report->evidence = (uint8_t)ns_wire_evidence(call);
    report->model = ns_text_of(response->model);
    report->service_tier = ns_text_of(response->service_tier);
    report->speed = ns_text_of(response->speed);
    report->region = ns_text_of(response->region);
    report->response_date_s = response->date_unix_s;
    report->usage = response->usage;
    report->parts.count = call->part_count;
    for (uint32_t i = 0; i < call->part_count; i++) {
        report->parts.part[i].model = ns_text_of(call->parts[i].model);
        report->parts.part[i].usage = call->parts[i].usage;
    }
    report->has_provider_cost = response->has_provider_cost;
    report->provider_cost_nanousd = response->provider_cost_nanousd;
    report->output_text_bytes = response->text_bytes;
    return message;
}

static size_t judged, bounded;

static void
check_bill(struct ns_prices *prices, const struct entry *entry, const struct ns_wire_call *call,
           bool whole)
{
    struct ns_message report = report_of(call);
    struct ns_bill bill;
    ns_prices_bill(prices, &report, 0, &bill);
    bool expected = strcmp(entry->source, "unpriced") != 0;
    if (bill.priced != expected || (expected && bill.cost_nanousd != entry->cost_nanousd &&
                                    !also_right(entry->expect, bill.cost_nanousd))) {
        NS_FAIL("%s (%s %s, %s): %s %" PRId64 ", not %" PRId64, entry->id, call->request.provider,
                call->response.model, entry->source, bill.priced ? "priced" : "unpriced",
                bill.cost_nanousd, entry->cost_nanousd);
    }
    judged++;
    if (!whole || !expected) {
        return;
    }
    /* A router that is told of other models may turn to a dearer one: nothing bounds that. */
    bool rerouted = strcmp(call->request.provider, "openrouter") == 0 &&
                    strcmp(call->request.model, call->response.model) != 0;
    int64_t date_s = report.as.report.response_date_s;
    struct ns_quote quote;
    ns_prices_quote(prices, &report, 0, (date_s != 0 ? date_s : UNDATED_UNIX_S) * NANO, &quote);
    if (quote.estimate.bound_nanousd < bill.cost_nanousd && !rerouted) {
        NS_FAIL("%s (%s %s): the bound %" PRId64 " is below the cost %" PRId64, entry->id,
                call->request.provider, call->request.model, quote.estimate.bound_nanousd,
                bill.cost_nanousd);
    }
    bounded++;
}

TEST(every_recorded_exchange_is_charged_as_the_manifest_says_and_no_more_than_bound)
{
    char *text = ns_test_read_file(shared_path("recordings/manifest.json"), NULL);
    if (text == NULL) {
        SKIP("shared recordings (manifest.json)");
    }
    size_t bad;
    CHECK_INT(ns_wire_hosts_parse(
                  &hosts, "localhost=openai,localhost:8787=anthropic,127.0.0.1:11434=ollama", &bad),
              0);
    char error[NS_PRICES_ERROR_BYTES];
    struct ns_prices *prices = NULL;
    REQUIRE(ns_prices_open(NULL, NS_UNKNOWN_MODEL_ALLOW, &prices, error) == 0);
    for (const char *at = skip_blank(text + 1); *at == '{'; at = skip_blank(skip_value(at))) {
        struct entry entry;
        read_entry(at, &entry);
        if (entry.source[0] == '\0') {
            continue;
        }
        size_t request_bytes = 0, answer_bytes = 0;
        char *request = read_message(&entry, "req", &request_bytes);
        char *answer = read_message(&entry, "resp", &answer_bytes);
        /* Some recorders left the prompt out that the answer counts. */
        bool whole = request != NULL && strstr(request, "\"very very long system prompt\"") == NULL;
        request = request != NULL ? request : invent_request(&entry, &request_bytes);
        struct ns_wire_call *call =
            request == NULL ? NULL : read_exchange(request, request_bytes, answer, answer_bytes);
        /* A server of one's own is free by its owner's word only: its host is no provider's. */
        bool own = call != NULL && strcmp(entry.source, "free") == 0 &&
                   strcmp(call->request.provider, call->request.host) == 0;
        if (call != NULL && !own) {
            check_bill(prices, &entry, call, whole);
        }
        ns_wire_call_free(call);
        free(request);
        free(answer);
    }
    printf("# %zu charged, %zu of them bounded\n", judged, bounded);
    CHECK(judged > 500 && bounded > 370);
    ns_prices_free(prices);
    free(text);
}
