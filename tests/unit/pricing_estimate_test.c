/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "tests/unit/pricing_support.h"

/* Dollars a million: input 2, cache write 2.5, 1 h 4, pictures 3, output 10, output audio 80. */
#define MODELS                                                                                     \
    "catalogue\t1\ttest\nprovider\tp\n"                                                            \
    "model\tm\t100000\t4000\t-\nmatch\tequals\tm\t-\nset\t-\t-\t-\n"                               \
    "price\tinput_tokens\t2000000000000\t1000000\t0\n"                                             \
    "price\tcache_write_tokens\t2500000000000\t1000000\t0\n"                                       \
    "price\tcache_write_1h_tokens\t4000000000000\t1000000\t0\n"                                    \
    "price\toutput_tokens\t10000000000000\t1000000\t0\n"                                           \
    "scale\ttier\tflex\ttokens\t1\t2\nscale\ttier\tpriority\ttokens\t2\t1\n"                       \
    "model\tplain\t100000\t4000\t-\nmatch\tequals\tplain\t-\nset\t-\t-\t-\n"                       \
    "price\tinput_tokens\t2000000000000\t1000000\t0\n"                                             \
    "price\tinput_tokens\t4000000000000\t1000000\t50000\n"                                         \
    "price\tinput_image_tokens\t3000000000000\t1000000\t0\n"                                       \
    "price\toutput_tokens\t10000000000000\t1000000\t0\n"                                           \
    "model\tloud\t-\t4000\t-\nmatch\tequals\tloud\t-\nset\t-\t-\t-\n"                              \
    "price\tinput_tokens\t2000000000000\t1000000\t0\n"                                             \
    "price\toutput_tokens\t10000000000000\t1000000\t0\n"                                           \
    "price\toutput_audio_tokens\t80000000000000\t1000000\t0\n"                                     \
    "price\trequests\t5000000000000\t1000\t0\n"                                                    \
    "model\tembed\t8192\t1\t-\nmatch\tequals\tembed\t-\nset\t-\t-\t-\n"                            \
    "price\tinput_tokens\t100000000000\t1000000\t0\n"                                              \
    "model\thourly\t-\t4000\t-\nmatch\tequals\thourly\t-\nset\t-\t-\t-\n"                          \
    "price\tinput_tokens\t1000000000000\t1000000\t0\n"                                             \
    "price\toutput_tokens\t1000000000000\t1000000\t0\nset\t-\t06:00:00\t10:00:00\n"                \
    "price\tinput_tokens\t9000000000000\t1000000\t0\n"                                             \
    "price\toutput_tokens\t9000000000000\t1000000\t0\n"                                            \
    "model\ttranscribe\t-\t1\t-\nmatch\tequals\ttranscribe\t-\nset\t-\t-\t-\n"                     \
    "price\taudio_seconds\t360000000000\t3600\t0\n"                                                \
    "model\tsecret\t-\t1\t-\nmatch\tequals\tsecret\t-\n"                                           \
    "model\tgratis\t-\t50\tfree\nmatch\tequals\tgratis\t-\n"                                       \
    "model\tdear\t-\t1000000000000\t-\nmatch\tequals\tdear\t-\nset\t-\t-\t-\n"                     \
    "price\tinput_tokens\t1000000000000000000\t1\t0\n"                                             \
    "price\toutput_tokens\t1000000000000000000\t1\t0\n"

#define HIDDEN 768 /* input that no byte of the request shows */

static struct ns_catalogue *catalogue;

static int
estimate_at(const char *model, struct ns_price_terms terms, struct ns_price_request request,
            uint64_t typical, struct ns_price_estimate *estimate)
{
    if (catalogue == NULL) {
        catalogue = load_records(MODELS);
    }
    const struct ns_price_model *row = ns_catalogue_find(catalogue, "p", model);
    request.choices = request.choices == 0 ? 1 : request.choices;
    return row == NULL ? -EINVAL : ns_price_estimate(row, &terms, &request, typical, estimate);
}

static struct ns_price_estimate
estimate_of(const char *model, struct ns_price_request request)
{
    struct ns_price_estimate estimate = {0};
    CHECK_INT(estimate_at(model, (struct ns_price_terms){0}, request, 0, &estimate), 0);
    return estimate;
}

#define REQUEST(...) ((struct ns_price_request){.family = "anthropic", __VA_ARGS__})

TEST(a_capped_request_reserves_every_byte_as_a_token_and_the_cap)
{
    struct ns_price_estimate e =
        estimate_of("m", REQUEST(.text_bytes = 1000, .output_tokens_max = 100));
    CHECK_INT(e.input_tokens_likely, 250);
    CHECK_INT(e.input_nanousd, 250 * 2000);
    CHECK_INT(e.output_tokens_bound, 100);
    CHECK_INT(e.bound_nanousd, (1000 + HIDDEN) * 2000 + 100 * 10000);
    CHECK_INT(e.typical_nanousd, e.bound_nanousd);
}

TEST(a_request_without_cap_is_bound_by_the_model_and_typical_by_history)
{
    struct ns_price_estimate e = estimate_of("m", REQUEST(.text_bytes = 0));
    CHECK_INT(e.output_tokens_bound, 4000);
    CHECK_INT(e.bound_nanousd, HIDDEN * 2000 + 4000 * 10000);
    CHECK_INT(e.typical_nanousd, HIDDEN * 2000 + NS_TYPICAL_OUTPUT_TOKENS * 10000);
    CHECK_INT(estimate_at("m", (struct ns_price_terms){0}, REQUEST(.text_bytes = 0), 300, &e), 0);
    CHECK_INT(e.typical_nanousd, HIDDEN * 2000 + 300 * 10000);
    /* History never exceeds what the model can do. */
    CHECK_INT(estimate_at("m", (struct ns_price_terms){0}, REQUEST(.text_bytes = 0), 9999, &e), 0);
    CHECK_INT(e.typical_nanousd, e.bound_nanousd);
}

TEST(a_cap_above_the_models_own_is_the_models_own)
{
    struct ns_price_estimate e = estimate_of("m", REQUEST(.output_tokens_max = 1000000));
    CHECK_INT(e.output_tokens_bound, 4000);
}

TEST(every_choice_is_an_answer_of_its_own)
{
    struct ns_price_estimate e = estimate_of("m", REQUEST(.output_tokens_max = 100, .choices = 5));
    CHECK_INT(e.output_tokens_bound, 500);
    CHECK_INT(e.bound_nanousd, HIDDEN * 2000 + 500 * 10000);
}

TEST(input_is_priced_as_the_cache_write_that_it_can_become)
{
    struct ns_price_request r = REQUEST(.text_bytes = 1000, .output_tokens_max = 1);
    CHECK_INT(estimate_of("m", r).bound_nanousd, (1000 + HIDDEN) * 2000 + 10000);
    r.cache_write = true;
    CHECK_INT(estimate_of("m", r).bound_nanousd, (1000 + HIDDEN) * 4000 + 10000);
    /* OpenAI writes its cache without being asked. */
    r.cache_write = false;
    r.family = "openai";
    CHECK_INT(estimate_of("m", r).bound_nanousd, (1000 + HIDDEN) * 2500 + 10000);
    CHECK_INT(estimate_of("m", r).input_nanousd, 250 * 2000);
}

TEST(a_picture_is_priced_as_a_picture_and_not_as_its_base64)
{
    struct ns_price_request r =
        REQUEST(.images = 1, .attachment_bytes = 3000000, .output_tokens_max = 1);
    struct ns_price_estimate e = estimate_of("plain", r);
    CHECK_INT(e.bound_nanousd, HIDDEN * 2000 + 4784 * 3000 + 10000);
    CHECK(e.input_tokens_likely > 1000 && e.input_tokens_likely < 4784);
    CHECK_INT(e.input_nanousd, (int64_t)e.input_tokens_likely * 3000);
    r.images = 3;
    CHECK_INT(estimate_of("plain", r).bound_nanousd, HIDDEN * 2000 + 3 * 4784 * 3000 + 10000);
}

TEST(families_have_their_own_maxima_for_pictures)
{
    static const struct {
        const char *family;
        int64_t tokens;
    } rows[] = {{"anthropic", 4784}, {"gemini", 4386}, {"openai", 12000}, {"other", 12000}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ns_price_request r = {.family = rows[i].family, .images = 1, .output_tokens_max = 1};
        CHECK_INT(estimate_of("plain", r).bound_nanousd,
                  HIDDEN * 2000 + rows[i].tokens * 3000 + 10000);
    }
    struct ns_price_request none = {.images = 1, .output_tokens_max = 1};
    CHECK_INT(estimate_of("plain", none).bound_nanousd, HIDDEN * 2000 + 12000 * 3000 + 10000);
}

TEST(gpt_4o_mini_counts_a_picture_as_the_many_tokens_it_bills)
{
    struct ns_catalogue *builtin = load_builtin();
    REQUIRE(builtin != NULL);
    const struct ns_price_model *mini = ns_catalogue_find(builtin, "openai", "gpt-4o-mini");
    REQUIRE(mini != NULL);
    struct ns_price_request r = {
        .family = "openai", .images = 1, .output_tokens_max = 1, .choices = 1};
    struct ns_price_terms terms = {0};
    struct ns_price_estimate e = {0};
    CHECK_INT(ns_price_estimate(mini, &terms, &r, 0, &e), 0);
    CHECK_INT(e.bound_nanousd, (HIDDEN + 48169) * 150 + 600);
    ns_catalogue_free(builtin);
}

TEST(an_inline_document_is_bounded_by_its_size_and_one_by_reference_by_the_window)
{
    struct ns_price_request r =
        REQUEST(.files = 1, .attachment_bytes = 10000, .output_tokens_max = 1);
    CHECK_INT(estimate_of("m", r).bound_nanousd, (HIDDEN + 10001) * 2000 + 10000);
    r.attachment_bytes = 0;
    CHECK_INT(estimate_of("m", r).bound_nanousd, 100000 * 2000 + 10000);
}

TEST(the_input_never_exceeds_the_context_window)
{
    struct ns_price_request r = REQUEST(.text_bytes = 100000000, .output_tokens_max = 1);
    CHECK_INT(estimate_of("m", r).bound_nanousd, 100000 * 2000 + 10000);
    CHECK_INT(estimate_of("m", r).input_tokens_likely, 100000);
    /* Pictures first, then text, and the context tier of the sum. */
    r.images = 20;
    CHECK_INT(estimate_of("plain", r).bound_nanousd,
              INT64_C(20) * 4784 * 4000 + (100000 - INT64_C(20) * 4784) * 4000 + 10000);
}

TEST(an_unseen_history_is_bounded_by_the_window_and_typically_small)
{
    struct ns_price_request r =
        REQUEST(.text_bytes = 100, .history_elsewhere = true, .output_tokens_max = 1);
    struct ns_price_estimate e = estimate_of("m", r);
    CHECK_INT(e.bound_nanousd, 100000 * 2000 + 10000);
    CHECK_INT(e.typical_nanousd, (100 + HIDDEN + 8192) * 2000 + 10000);
    e = estimate_of("loud", r); /* no window is known */
    CHECK_INT(e.bound_nanousd, INT64_C(1048576) * 2000 + 80000 + 5000000);
}

TEST(output_is_bound_by_its_dearest_kind_and_the_fee_for_the_call_counts)
{
    CHECK_INT(estimate_of("loud", REQUEST(.output_tokens_max = 100)).bound_nanousd,
              HIDDEN * 2000 + 100 * 80000 + 5000000);
}

TEST(embeddings_have_no_output)
{
    struct ns_price_estimate e =
        estimate_of("embed", REQUEST(.text_bytes = 400, .operation = "embeddings"));
    CHECK_INT(e.output_tokens_bound, 0);
    CHECK_INT(e.bound_nanousd, (400 + HIDDEN) * 100);
    CHECK_INT(e.typical_nanousd, e.bound_nanousd);
    e = estimate_of("m", REQUEST(.text_bytes = 400, .operation = "embeddings"));
    CHECK_INT(e.bound_nanousd, (400 + HIDDEN) * 2000);
}

TEST(a_discount_that_is_asked_for_is_not_relied_on_but_a_surcharge_is)
{
    struct ns_price_request r = REQUEST(.text_bytes = 1000, .output_tokens_max = 100);
    struct ns_price_estimate standard = estimate_of("m", r), e = {0};
    CHECK_INT(estimate_at("m", (struct ns_price_terms){.service_tier = "flex"}, r, 0, &e), 0);
    CHECK_INT(e.bound_nanousd, standard.bound_nanousd);
    CHECK_INT(e.input_nanousd, standard.input_nanousd / 2);
    CHECK_INT(estimate_at("m", (struct ns_price_terms){.service_tier = "priority"}, r, 0, &e), 0);
    CHECK_INT(e.bound_nanousd, standard.bound_nanousd * 2);
    CHECK_INT(e.typical_nanousd, standard.typical_nanousd * 2);
}

TEST(a_dearer_hour_that_is_about_to_begin_counts)
{
    struct ns_price_request r = REQUEST(.output_tokens_max = 100);
    struct ns_price_estimate e = {0};
    const int64_t six = 6 * 3600;
    int64_t low = HIDDEN * 1000 + 100 * 1000, high = 9 * low;
    CHECK_INT(estimate_at("hourly", (struct ns_price_terms){.at_unix_s = six - 601}, r, 0, &e), 0);
    CHECK_INT(e.bound_nanousd, low);
    CHECK_INT(estimate_at("hourly", (struct ns_price_terms){.at_unix_s = six - 600}, r, 0, &e), 0);
    CHECK_INT(e.bound_nanousd, high);
    CHECK_INT(estimate_at("hourly", (struct ns_price_terms){.at_unix_s = 10 * 3600 - 1}, r, 0, &e),
              0);
    CHECK_INT(e.bound_nanousd, high);
    CHECK_INT(estimate_at("hourly", (struct ns_price_terms){.at_unix_s = INT64_MAX}, r, 0, &e), 0);
}

TEST(a_model_without_a_price_for_text_can_not_be_estimated_and_a_free_one_is_nothing)
{
    struct ns_price_estimate e = {0};
    CHECK_INT(
        estimate_at("transcribe", (struct ns_price_terms){0}, REQUEST(.text_bytes = 4), 0, &e),
        -EDOM);
    CHECK_INT(
        estimate_at("transcribe", (struct ns_price_terms){0}, REQUEST(.text_bytes = 0), 0, &e),
        -EDOM);
    CHECK_INT(estimate_at("secret", (struct ns_price_terms){0}, REQUEST(.text_bytes = 4), 0, &e),
              -ENOENT);
    CHECK_INT(estimate_at("gratis", (struct ns_price_terms){0}, REQUEST(.text_bytes = 4), 0, &e),
              0);
    CHECK_INT(e.bound_nanousd, 0);
    CHECK_INT(e.typical_nanousd, 0);
    CHECK_INT(e.output_tokens_bound, 50);
}

TEST(an_estimate_saturates_and_never_wraps)
{
    struct ns_price_request r = {.text_bytes = UINT64_MAX,
                                 .images = UINT32_MAX,
                                 .audios = UINT32_MAX,
                                 .videos = UINT32_MAX,
                                 .files = UINT32_MAX,
                                 .attachment_bytes = UINT64_MAX,
                                 .output_tokens_max = UINT64_MAX,
                                 .choices = UINT32_MAX,
                                 .history_elsewhere = true,
                                 .cache_write = true,
                                 .family = "gemini"};
    struct ns_price_estimate e = {0};
    CHECK_INT(estimate_at("dear", (struct ns_price_terms){0}, r, UINT64_MAX, &e), 0);
    CHECK(e.output_tokens_bound == UINT64_MAX);
    CHECK_INT(e.bound_nanousd, INT64_MAX);
    CHECK_INT(e.typical_nanousd, INT64_MAX);
    CHECK_INT(e.input_nanousd, INT64_MAX);
    CHECK_INT(estimate_at("m", (struct ns_price_terms){0}, r, UINT64_MAX, &e), 0);
    CHECK(e.bound_nanousd > 0 && e.bound_nanousd < INT64_MAX);
}

TEST(tokens_of_text_round_up)
{
    CHECK_INT(ns_price_tokens_of_text(0), 0);
    CHECK_INT(ns_price_tokens_of_text(1), 1);
    CHECK_INT(ns_price_tokens_of_text(4), 1);
    CHECK_INT(ns_price_tokens_of_text(5), 2);
    CHECK(ns_price_tokens_of_text(UINT64_MAX) == (UINT64_C(1) << 62));
}

TEST(no_answer_within_its_facts_costs_more_than_the_bound)
{
    struct ns_catalogue *builtin = load_builtin();
    REQUIRE(builtin != NULL);
    static const char *const models[][2] = {
        {"openai", "gpt-4o"},
        {"openai", "gpt-5.6-sol"},
        {"openai", "gpt-4o-audio-preview"},
        {"anthropic", "claude-sonnet-4-5"},
        {"anthropic", "claude-opus-4-6"},
        {"gemini", "gemini-2.5-pro"},
        {"gemini", "gemini-2.5-flash-image"},
        {"deepseek", "deepseek-v4-pro"},
        {"xai", "grok-4.3"},
    };
    static const char *const families[] = {"openai", "anthropic", "gemini"};
    for (int i = 0; i < 20000; i++) {
        const char *const *name = models[ns_test_random() % (sizeof(models) / sizeof(models[0]))];
        const struct ns_price_model *model = ns_catalogue_find(builtin, name[0], name[1]);
        REQUIRE(model != NULL);
        struct ns_price_request r = {
            .text_bytes = ns_test_random() % 1000000,
            .output_tokens_max = 1 + ns_test_random() % 8000,
            .choices = 1,
            .cache_write = true,
            .family = families[ns_test_random() % 3],
        };
        struct ns_price_terms terms = {.at_unix_s = (int64_t)(ns_test_random() % 1900000000)};
        struct ns_price_estimate e = {0};
        CHECK_INT(ns_price_estimate(model, &terms, &r, 0, &e), 0);
        /* At most a token a byte, in any classes; at most the cap, of any kind. */
        struct ns_usage usage = {0};
        uint64_t cap = r.output_tokens_max < e.output_tokens_bound ? r.output_tokens_max
                                                                   : e.output_tokens_bound;
        uint64_t left = r.text_bytes < 100000 ? r.text_bytes : 100000;
        static const enum ns_meter in[] = {NS_METER_INPUT, NS_METER_CACHE_READ,
                                           NS_METER_CACHE_WRITE, NS_METER_CACHE_WRITE_1H};
        for (int k = 0; k < 4; k++) {
            uint64_t some = left == 0 ? 0 : ns_test_random() % (left + 1);
            ns_usage_set(&usage, in[k], some);
            left -= some;
        }
        uint64_t thought = ns_test_random() % (cap + 1);
        ns_usage_set(&usage, NS_METER_OUTPUT_REASONING, thought);
        ns_usage_set(&usage, ns_test_random() % 2 == 0 ? NS_METER_OUTPUT : NS_METER_OUTPUT_AUDIO,
                     cap - thought);
        terms.at_unix_s += (int64_t)(ns_test_random() % 600);
        int64_t nanousd = 0;
        enum ns_meter unpriced = NS_METER_COUNT;
        CHECK_INT(ns_price_cost(model, &terms, &usage, &nanousd, &unpriced), 0);
        if (nanousd > e.bound_nanousd) {
            NS_FAIL("%s: %" PRId64 " is above the bound %" PRId64, name[1], nanousd,
                    e.bound_nanousd);
            return;
        }
    }
    ns_catalogue_free(builtin);
}
