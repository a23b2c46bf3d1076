/* SPDX-License-Identifier: Apache-2.0 */
/* The overlay's service tiers against the shared ratios, which another project collected. */
#include "pricing/catalogue.h"
#include "tests/unit/pricing_json.h"
#include "tests/unit/pricing_support.h"

/* Ratios that the shared file gives otherwise on purpose: it divides rounded list prices. */
static const struct {
    const char *model; /* how the name begins */
    const char *key;
} rounded[] = {
    {"gemini-2.5-pro", "priority:cache_read_input_token"},
    {"gemini-2.5-flash-preview", "priority:cache_read_input_token"},
};

static bool
is_rounded(const char *model, const char *key)
{
    for (size_t i = 0; i < sizeof(rounded) / sizeof(rounded[0]); i++) {
        if (strncmp(model, rounded[i].model, strlen(rounded[i].model)) == 0 &&
            strcmp(key, rounded[i].key) == 0) {
            return true;
        }
    }
    return false;
}

static int64_t
cost_of(const struct ns_price_model *model, const char *tier, enum ns_meter meter)
{
    struct ns_usage usage = {0};
    ns_usage_set(&usage, meter, 1000000);
    struct ns_price_terms terms = {.at_unix_s = 1790812800};
    if (strcmp(tier, "fast") == 0) {
        terms.speed = tier;
    } else {
        terms.service_tier = tier;
    }
    int64_t nanousd = 0;
    enum ns_meter unpriced = NS_METER_COUNT;
    return ns_price_cost(model, &terms, &usage, &nanousd, &unpriced) == 0 ? nanousd : 0;
}

/* "1.75" as thousandths: 1750. */
static int64_t
thousandths(const char *number)
{
    int64_t value = 0;
    int places = -1;
    for (; (*number >= '0' && *number <= '9') || *number == '.'; number++) {
        if (*number == '.') {
            places = 0;
        } else if (places < 3) {
            value = value * 10 + (*number - '0');
            places += places >= 0;
        }
    }
    for (places = places < 0 ? 0 : places; places < 3; places++) {
        value *= 10;
    }
    return value;
}

/* Copies a key that at points to. Returns its value. */
static const char *
key_and_value(const char *at, char *key, size_t bytes)
{
    snprintf(key, bytes, "%.*s", (int)strcspn(at + 1, "\""), at + 1);
    return skip_blank(skip_string(at));
}

static size_t
check_ratio(const struct ns_price_model *model, const char *name, const char *key,
            const char *expected)
{
    static const struct {
        const char *word;
        enum ns_meter meter;
    } meters[] = {{":request_token", NS_METER_INPUT},
                  {":response_token", NS_METER_OUTPUT},
                  {":cache_read_input_token", NS_METER_CACHE_READ}};
    char tier[32];
    const char *colon = strchr(key, ':');
    for (size_t i = 0; colon != NULL && i < sizeof(meters) / sizeof(meters[0]); i++) {
        if (strcmp(colon, meters[i].word) == 0 && !is_rounded(name, key)) {
            snprintf(tier, sizeof(tier), "%.*s", (int)(colon - key), key);
            int64_t standard = cost_of(model, "default", meters[i].meter);
            int64_t scaled = cost_of(model, tier, meters[i].meter);
            int64_t off = scaled * 1000 - thousandths(expected) * standard;
            /* The file rounds to thousandths. */
            if (standard > 0 && (off > standard || off < -standard)) {
                NS_FAIL("%s (%s) %s: %" PRId64 " to %" PRId64 ", not %.6s", name,
                        ns_price_model_id(model), key, scaled, standard, expected);
            }
            return standard > 0;
        }
    }
    return 0;
}

TEST(service_tiers_cost_what_others_found_them_to_cost)
{
    char *text = ns_test_read_file(shared_path("prices/tier-ratios.json"), NULL);
    if (text == NULL) {
        SKIP("shared prices (tier-ratios.json)");
    }
    static const char *const providers[][2] = {{"openai", "openai"},
                                               {"anthropic", "anthropic"},
                                               {"google", "gemini"},
                                               {"vertex-ai", "vertex"},
                                               {"bedrock", "bedrock"}};
    struct ns_catalogue *catalogue = load_builtin();
    REQUIRE(catalogue != NULL);
    size_t checked = 0;
    for (size_t p = 0; p < sizeof(providers) / sizeof(providers[0]); p++) {
        const char *at = value_of(text, providers[p][0]);
        REQUIRE(at != NULL);
        for (at = skip_blank(at + 1); *at == '"';) {
            char name[256], key[64];
            const char *ratios = key_and_value(at, name, sizeof(name));
            const struct ns_price_model *model =
                ns_catalogue_find(catalogue, providers[p][1], name);
            for (const char *in = skip_blank(ratios + 1); model != NULL && *in == '"';) {
                const char *value = key_and_value(in, key, sizeof(key));
                checked += check_ratio(model, name, key, value);
                in = skip_blank(skip_value(value));
            }
            at = skip_blank(skip_value(ratios));
        }
    }
    printf("# %zu ratios\n", checked);
    CHECK(checked > 800);
    ns_catalogue_free(catalogue);
    free(text);
}
