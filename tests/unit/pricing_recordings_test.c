/* SPDX-License-Identifier: Apache-2.0 */
/* Usage from the manifest of the shared recordings, priced to the nano-dollar. */
#include <errno.h>
#include <time.h>

#include "tests/unit/pricing_json.h"
#include "tests/unit/pricing_support.h"

/* --- one entry -------------------------------------------------------------------------------- */

/* %3A and its like, and the collection's name before a model, as wire/ does it. */
static void
plain_model(char *model)
{
    char *to = model;
    for (const char *from = strncmp(model, "models/", 7) == 0 ? model + 7 : model; *from != '\0';) {
        unsigned int code = 0;
        if (*from == '%' && sscanf(from + 1, "%2x", &code) == 1) {
            *to++ = (char)code;
            from += 3;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
}

/* The manifest counts pictures and sound inside input and output; a usage counts each once. */
static uint64_t
take(uint64_t *from, uint64_t wanted)
{
    uint64_t taken = wanted < *from ? wanted : *from;
    *from -= taken;
    return taken;
}

static void
set_if(struct ns_usage *usage, enum ns_meter meter, uint64_t count)
{
    if (count > 0) {
        ns_usage_set(usage, meter, count);
    }
}

static struct ns_usage
usage_of(const char *object)
{
    struct ns_usage usage = {0};
    uint64_t input = number_of(object, "input"), output = number_of(object, "output");
    uint64_t cached = number_of(object, "cache_read");
    uint64_t cached_audio = number_of(object, "cache_audio");
    uint64_t cached_image = number_of(object, "cache_image");
    uint64_t audio = number_of(object, "input_audio"), image = number_of(object, "input_image");
    take(&audio, cached_audio);
    take(&image, cached_image);
    set_if(&usage, NS_METER_CACHE_AUDIO_READ, take(&cached, cached_audio));
    set_if(&usage, NS_METER_CACHE_IMAGE_READ, take(&cached, cached_image));
    set_if(&usage, NS_METER_CACHE_READ, cached);
    set_if(&usage, NS_METER_CACHE_WRITE, number_of(object, "cache_write"));
    set_if(&usage, NS_METER_CACHE_WRITE_1H, number_of(object, "cache_write_1h"));
    set_if(&usage, NS_METER_INPUT_AUDIO, take(&input, audio));
    set_if(&usage, NS_METER_INPUT_IMAGE, take(&input, image));
    set_if(&usage, NS_METER_INPUT, input);
    set_if(&usage, NS_METER_OUTPUT_REASONING, take(&output, number_of(object, "reasoning")));
    set_if(&usage, NS_METER_OUTPUT_AUDIO, take(&output, number_of(object, "output_audio")));
    set_if(&usage, NS_METER_OUTPUT, output);
    set_if(&usage, NS_METER_WEB_SEARCHES, number_of(object, "web_searches"));
    set_if(&usage, NS_METER_STORAGE_SEARCHES, number_of(object, "storage_searches"));
    set_if(&usage, NS_METER_SOCIAL_SEARCHES, number_of(object, "social_searches"));
    set_if(&usage, NS_METER_CODE_EXECUTIONS, number_of(object, "code_executions"));
    set_if(&usage, NS_METER_SEARCH_UNITS, number_of(object, "search_units"));
    set_if(&usage, NS_METER_INPUT_DOCUMENT_PAGES, number_of(object, "pages"));
    return usage;
}

struct entry {
    char id[64], provider[64], host[256], model[256], requested[256];
    char tier[32], speed[32], region[32], source[32];
    int64_t at_unix_s;
    const char *expect;
};

static void
read_entry(const char *object, struct entry *entry)
{
    char url[2048], when[64];
    struct tm tm = {0};
    entry->expect = value_of(object, "expect");
    text_of(object, "id", entry->id, sizeof(entry->id));
    text_of(object, "provider", entry->provider, sizeof(entry->provider));
    text_of(object, "url", url, sizeof(url));
    const char *host = strstr(url, "://");
    host = host == NULL ? "" : host + 3;
    snprintf(entry->host, sizeof(entry->host), "%.*s", (int)strcspn(host, ":/"), host);
    const char *upstream = strstr(url, "router.huggingface.co/");
    if (upstream != NULL) {
        upstream += strlen("router.huggingface.co/");
        snprintf(entry->provider, sizeof(entry->provider), "huggingface_%.*s",
                 (int)strcspn(upstream, "/"), upstream);
    }
    text_of(object, "request_model", entry->requested, sizeof(entry->requested));
    text_of(entry->expect, "model", entry->model, sizeof(entry->model));
    text_of(entry->expect, "service_tier", entry->tier, sizeof(entry->tier));
    text_of(entry->expect, "speed", entry->speed, sizeof(entry->speed));
    text_of(entry->expect, "inference_geo", entry->region, sizeof(entry->region));
    text_of(entry->expect, "cost_source", entry->source, sizeof(entry->source));
    text_of(entry->expect, "priced_at", when, sizeof(when));
    plain_model(entry->model);
    plain_model(entry->requested);
    entry->at_unix_s = sscanf(when, "%d-%d-%dT%d:%d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
                              &tm.tm_hour, &tm.tm_min, &tm.tm_sec) == 6
                           ? (tm.tm_year -= 1900, tm.tm_mon -= 1, timegm(&tm))
                           : 1790812800; /* 2026-10-01 */
}

/* By the model that answered; by the one asked for only where the answer names none. */
static const struct ns_price_model *
find(const struct ns_catalogue *catalogue, const struct entry *entry)
{
    return ns_catalogue_find(catalogue, entry->provider,
                             entry->model[0] != '\0' ? entry->model : entry->requested);
}

#define PARTS_MAX 16

/* The cost of an entry; iterations, where there are any, are its parts, each at its own model. */
static int
price(const struct ns_catalogue *catalogue, const struct entry *entry, int64_t *nanousd)
{
    struct ns_usage usages[PARTS_MAX];
    struct ns_price_part parts[PARTS_MAX];
    size_t count = 0;
    const char *usage = value_of(entry->expect, "usage");
    const char *iteration = value_of(usage, "iterations");
    if (iteration == NULL) {
        usages[0] = usage_of(usage);
        ns_usage_set(&usages[0], NS_METER_REQUESTS, 1);
        parts[count++] = (struct ns_price_part){find(catalogue, entry), &usages[0]};
    } else {
        iteration = skip_blank(iteration + 1);
        for (; *iteration != ']' && count < PARTS_MAX; count++) {
            char model[256];
            text_of(iteration, "model", model, sizeof(model));
            usages[count] = usage_of(iteration);
            parts[count] = (struct ns_price_part){
                ns_catalogue_find(catalogue, entry->provider, model), &usages[count]};
            iteration = skip_blank(skip_value(iteration));
        }
    }
    const struct ns_price_terms terms = {
        .at_unix_s = entry->at_unix_s,
        .service_tier = entry->tier,
        .speed = entry->speed,
        .region = entry->region,
        .host = entry->host,
    };
    enum ns_meter unpriced = NS_METER_COUNT;
    return ns_price_cost_parts(parts, count, &terms, nanousd, &unpriced);
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

static bool
counted(const char *expect)
{
    const char *usage = value_of(expect, "usage");
    return number_of(usage, "input") + number_of(usage, "output") > 0;
}

TEST(every_recorded_usage_costs_what_the_manifest_says)
{
    char *text = ns_test_read_file(shared_path("recordings/manifest.json"), NULL);
    if (text == NULL) {
        SKIP("shared recordings (manifest.json)");
    }
    struct ns_catalogue *catalogue = load_builtin();
    REQUIRE(catalogue != NULL);
    size_t priced = 0, unpriced = 0, free_calls = 0;
    for (const char *at = skip_blank(text + 1); *at == '{'; at = skip_blank(skip_value(at))) {
        struct entry entry;
        read_entry(at, &entry);
        int64_t expected = (int64_t)number_of(entry.expect, "cost_nanousd"), nanousd = -1;
        /* Fixtures without a request, whose model only their file's name tells. */
        bool nameless = entry.model[0] == '\0' && entry.requested[0] == '\0';
        bool catalogued = strcmp(entry.source, "catalogue") == 0 && !nameless;
        bool free_of_charge =
            strcmp(entry.source, "free") == 0 && strcmp(entry.provider, "ollama") == 0;
        if (catalogued || free_of_charge) {
            int status = price(catalogue, &entry, &nanousd);
            if (status != 0 || (nanousd != expected && !also_right(entry.expect, nanousd))) {
                NS_FAIL("%s %s (%s): status %d, %" PRId64 ", not %" PRId64, entry.id, entry.model,
                        entry.requested, status, nanousd, expected);
            }
            priced += catalogued;
            free_calls += free_of_charge;
        } else if (strcmp(entry.source, "unpriced") == 0 && counted(entry.expect)) {
            int status = price(catalogue, &entry, &nanousd);
            if (status != -ENOENT) {
                NS_FAIL("%s %s (%s): status %d, %" PRId64 ", but it is unpriced", entry.id,
                        entry.model, entry.requested, status, nanousd);
            }
            unpriced++;
        }
    }
    printf("# %zu priced, %zu free, %zu unpriced\n", priced, free_calls, unpriced);
    CHECK(priced > 500 && unpriced > 40 && free_calls > 20);
    ns_catalogue_free(catalogue);
    free(text);
}
