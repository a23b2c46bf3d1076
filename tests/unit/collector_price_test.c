/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/price.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "collector/history.h"
#include "collector/limits.h"
#include "tests/harness.h"

#define T(text) ns_text_of(text)

static struct ns_prices *
open_prices(enum ns_unknown_model unknown)
{
    char error[NS_PRICES_ERROR_BYTES];
    struct ns_prices *prices = NULL;
    CHECK_INT(ns_prices_open(NULL, unknown, &prices, error), 0);
    CHECK_STR(error, "");
    return prices;
}

/* gpt-4o-mini: 0.15 and 0.60 dollars a million. */
static struct ns_message
report(const char *model, uint64_t input, uint64_t output)
{
    struct ns_message message = {.kind = NS_MESSAGE_REPORT};
    struct ns_report *said = &message.as.report;
    said->started_at_ns = INT64_C(1780000000000000000);
    said->ended_at_ns = said->started_at_ns + 1000000000;
    said->provider = said->family = T("openai");
    said->operation = T("chat");
    said->host = T("api.openai.com");
    said->requested_model = said->model = T(model);
    said->text_bytes = 4000;
    said->http_status = 200;
    said->evidence = NS_EVIDENCE_REPORTED;
    if (input > 0) {
        ns_usage_set(&said->usage, NS_METER_INPUT, input);
        ns_usage_set(&said->usage, NS_METER_OUTPUT, output);
    }
    return message;
}

TEST(what_a_provider_reports_is_priced_exactly)
{
    struct ns_prices *prices = open_prices(NS_UNKNOWN_MODEL_ALLOW);
    struct ns_message message = report("gpt-4o-mini", 100, 50);
    struct ns_bill bill;
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK(bill.priced);
    CHECK_INT(bill.cost_nanousd, 100 * 150 + 50 * 600);
    CHECK_INT(bill.evidence, NS_EVIDENCE_REPORTED);
    CHECK_INT(ns_usage_get(&bill.usage, NS_METER_OUTPUT), 50);
    message.as.report.evidence = NS_EVIDENCE_PARTIAL;
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK_INT(bill.evidence, NS_EVIDENCE_PARTIAL);
    ns_prices_free(prices);
}

TEST(the_model_that_answered_is_priced_and_the_one_asked_for_only_where_none_is_named)
{
    struct ns_prices *prices = open_prices(NS_UNKNOWN_MODEL_ALLOW);
    struct ns_message message = report("gpt-4o-mini", 100, 50);
    struct ns_bill bill;
    message.as.report.model = T("");
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK_INT(bill.cost_nanousd, 45000);
    message.as.report.model = T("nobody-knows"); /* a router took another */
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK(!bill.priced);
    CHECK_INT(bill.evidence, NS_EVIDENCE_UNPRICED);
    ns_prices_free(prices);
}

TEST(on_bedrock_the_path_says_from_where_a_model_is_served)
{
    struct ns_prices *prices = open_prices(NS_UNKNOWN_MODEL_ALLOW);
    struct ns_message message = report("claude-sonnet-4-5-20250929", 100, 50);
    struct ns_bill bill;
    message.as.report.provider = message.as.report.family = T("bedrock");
    message.as.report.requested_model = T("global.anthropic.claude-sonnet-4-5-20250929-v1:0");
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK_INT(bill.cost_nanousd, 100 * 3000 + 50 * 15000);
    message.as.report.requested_model = T("us.anthropic.claude-sonnet-4-5-20250929-v1:0");
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK_INT(bill.cost_nanousd, 100 * 3300 + 50 * 16500);
    /* A profile of one's own names none. */
    message.as.report.requested_model =
        T("arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2");
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK(bill.priced);
    ns_prices_free(prices);
}

TEST(a_model_that_bills_the_call_itself_is_charged_for_it_once)
{
    struct ns_prices *prices = open_prices(NS_UNKNOWN_MODEL_ALLOW);
    struct ns_message message =
        report("sonar", 100, 50); /* 1 and 1 dollars a million, 5 a thousand */
    message.as.report.provider = T("perplexity");
    struct ns_bill bill;
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK_INT(bill.cost_nanousd, 150 * 1000 + 5000000);
    CHECK_INT(ns_usage_get(&bill.usage, NS_METER_REQUESTS), 1);
    /* An answer of which only text is known, too. */
    message.as.report.usage = (struct ns_usage){0};
    message.as.report.output_text_bytes = 400;
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK_INT(bill.cost_nanousd, (1000 + 100) * 1000 + 5000000);
    /* Others have no such meter in their usage. */
    message = report("gpt-4o-mini", 100, 50);
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK(!ns_usage_has(&bill.usage, NS_METER_REQUESTS));
    ns_prices_free(prices);
}

TEST(behind_a_router_the_provider_that_it_uses_is_priced)
{
    struct ns_prices *prices = open_prices(NS_UNKNOWN_MODEL_ALLOW);
    struct ns_message message = report("deepseek-ai/DeepSeek-R1", 100, 50);
    struct ns_bill bill;
    message.as.report.provider = T("huggingface");
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK(!bill.priced);                        /* nobody knows which */
    message.as.report.upstream = T("together"); /* 3 and 7 dollars a million */
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK_INT(bill.cost_nanousd, 100 * 3000 + 50 * 7000);
    message.as.report.model = T("");
    message.as.report.requested_model = T("deepseek-ai/DeepSeek-R1:together");
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK_INT(bill.cost_nanousd, 100 * 3000 + 50 * 7000);
    ns_prices_free(prices);
}

TEST(a_hold_counts_the_speed_and_the_region_that_are_asked_for)
{
    struct ns_prices *prices = open_prices(NS_UNKNOWN_MODEL_ALLOW);
    struct ns_message message = report("claude-opus-4-6", 100, 50);
    struct ns_quote standard, fast;
    message.as.report.provider = message.as.report.family = T("anthropic");
    message.as.report.output_tokens_max = 1000;
    ns_prices_quote(prices, &message, 0, INT64_C(1780000000000000000), &standard);
    message.as.report.requested_speed = T("fast");
    message.as.report.requested_region = T("us");
    ns_prices_quote(prices, &message, 0, INT64_C(1780000000000000000), &fast);
    CHECK(standard.estimate.bound_nanousd > 0);
    CHECK_INT(fast.estimate.bound_nanousd * 10, standard.estimate.bound_nanousd * 66);
    ns_prices_free(prices);
}

TEST(parts_of_two_models_are_summed)
{
    struct ns_prices *prices = open_prices(NS_UNKNOWN_MODEL_ALLOW);
    struct ns_message message = report("gpt-4o-mini", 0, 0);
    message.as.report.parts.count = 2;
    message.as.report.parts.part[0].model = T("gpt-4o-mini");
    ns_usage_set(&message.as.report.parts.part[0].usage, NS_METER_INPUT, 100);
    message.as.report.parts.part[1].model = T("gpt-4o-mini");
    ns_usage_set(&message.as.report.parts.part[1].usage, NS_METER_INPUT, 200);
    struct ns_bill bill;
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK_INT(bill.cost_nanousd, 300 * 150);
    CHECK_INT(ns_usage_get(&bill.usage, NS_METER_INPUT), 300);
    message.as.report.parts.part[1].model = T("nobody-knows");
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK(!bill.priced);
    CHECK_INT(bill.evidence, NS_EVIDENCE_UNPRICED);
    ns_prices_free(prices);
}

TEST(the_providers_own_bill_wins_and_the_computed_one_stays_beside_it)
{
    struct ns_prices *prices = open_prices(NS_UNKNOWN_MODEL_ALLOW);
    struct ns_message message = report("gpt-4o-mini", 100, 50);
    message.as.report.has_provider_cost = true;
    message.as.report.provider_cost_nanousd = 777;
    struct ns_bill bill;
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK_INT(bill.cost_nanousd, 777);
    CHECK_INT(bill.computed_nanousd, 45000);
    message.as.report.requested_model = message.as.report.model = T("nobody-knows");
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK(bill.priced);
    CHECK_INT(bill.cost_nanousd, 777);
    CHECK_INT(bill.evidence, NS_EVIDENCE_REPORTED);
    ns_prices_free(prices);
}

TEST(an_unknown_model_is_priced_by_policy)
{
    struct ns_message message = report("nobody-knows", 100, 50);
    struct ns_quote quote;
    struct ns_bill bill;
    struct ns_prices *allow = open_prices(NS_UNKNOWN_MODEL_ALLOW);
    ns_prices_quote(allow, &message, 0, INT64_C(1780000000000000000), &quote);
    CHECK(!quote.priced && !quote.denied);
    CHECK(quote.estimate.bound_nanousd > 0); /* its provider's dearest holds */
    ns_prices_bill(allow, &message, 0, &bill);
    CHECK(!bill.priced);
    CHECK_INT(bill.cost_nanousd, 0);
    CHECK_INT(bill.evidence, NS_EVIDENCE_UNPRICED);
    ns_prices_free(allow);
    struct ns_prices *deny = open_prices(NS_UNKNOWN_MODEL_DENY);
    ns_prices_quote(deny, &message, 0, INT64_C(1780000000000000000), &quote);
    CHECK(quote.denied);
    ns_prices_free(deny);
    struct ns_prices *dearest = open_prices(NS_UNKNOWN_MODEL_DEAREST);
    ns_prices_bill(dearest, &message, 0, &bill);
    CHECK(bill.priced && bill.cost_nanousd > 45000);
    CHECK_INT(bill.evidence, NS_EVIDENCE_ESTIMATED);
    ns_prices_free(dearest);
}

TEST(a_model_that_is_billed_by_pages_is_held_for_and_never_denied_as_unpriced)
{
    struct ns_message message = report("mistral-ocr-latest", 0, 0);
    message.as.report.provider = T("mistral");
    struct ns_quote quote;
    struct ns_prices *deny = open_prices(NS_UNKNOWN_MODEL_DENY);
    ns_prices_quote(deny, &message, 0, INT64_C(1780000000000000000), &quote);
    CHECK(quote.priced && !quote.denied);
    CHECK(quote.estimate.bound_nanousd > 0);
    CHECK_INT(quote.estimate.input_nanousd, 0);
    ns_prices_free(deny);
}

TEST(an_answer_without_usage_costs_what_was_counted_or_estimated_and_never_nothing)
{
    struct ns_prices *prices = open_prices(NS_UNKNOWN_MODEL_ALLOW);
    struct ns_message message = report("gpt-4o-mini", 0, 0);
    struct ns_bill counted;
    struct ns_bill estimated;
    struct ns_bill unread;
    message.as.report.outcome = NS_OUTCOME_CANCELLED;
    message.as.report.output_text_bytes = 4000;
    ns_prices_bill(prices, &message, 0, &counted);
    CHECK_INT(counted.evidence, NS_EVIDENCE_COUNTED);
    message.as.report.output_text_bytes = 0;
    ns_prices_bill(prices, &message, 0, &estimated);
    CHECK_INT(estimated.evidence, NS_EVIDENCE_ESTIMATED);
    CHECK(estimated.cost_nanousd > 0 && counted.cost_nanousd > estimated.cost_nanousd);
    CHECK(ns_usage_get(&counted.usage, NS_METER_OUTPUT) == ns_price_tokens_of_text(4000));
    message.as.report.outcome =
        NS_OUTCOME_OK; /* whole, but unreadable: as such calls usually are */
    ns_prices_bill(prices, &message, 0, &unread);
    CHECK(unread.cost_nanousd > estimated.cost_nanousd);
    CHECK_INT(unread.evidence, NS_EVIDENCE_ESTIMATED);
    message.as.report.outcome = NS_OUTCOME_ERROR;
    message.as.report.http_status = 0; /* no answer came: the request may be billed */
    ns_prices_bill(prices, &message, 0, &estimated);
    CHECK(estimated.cost_nanousd > 0);
    ns_prices_free(prices);
}

TEST(a_refusal_by_the_provider_costs_nothing)
{
    struct ns_prices *prices = open_prices(NS_UNKNOWN_MODEL_ALLOW);
    static const uint32_t statuses[] = {302, 400, 429, 500};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct ns_message message = report("gpt-4o-mini", 0, 0);
        message.as.report.http_status = statuses[i];
        message.as.report.outcome = NS_OUTCOME_ERROR;
        struct ns_bill bill;
        ns_prices_bill(prices, &message, 0, &bill);
        CHECK(bill.priced);
        CHECK_INT(bill.cost_nanousd, 0);
        CHECK_INT(bill.evidence, NS_EVIDENCE_REPORTED);
    }
    ns_prices_free(prices);
}

TEST(a_stream_that_broke_off_is_charged_for_the_text_that_came)
{
    struct ns_prices *prices = open_prices(NS_UNKNOWN_MODEL_ALLOW);
    struct ns_message message = report("gpt-4o-mini", 100, 1);
    struct ns_bill bill;
    ns_usage_set(&message.as.report.usage, NS_METER_OUTPUT_REASONING, 2);
    message.as.report.output_text_bytes = 4000;
    message.as.report.evidence = NS_EVIDENCE_PARTIAL;
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK_INT(ns_usage_output_tokens(&bill.usage), 3 + 1000);
    CHECK_INT(ns_usage_get(&bill.usage, NS_METER_OUTPUT_REASONING), 2);
    CHECK_INT(bill.cost_nanousd, 100 * 150 + 1003 * 600);
    CHECK_INT(bill.evidence, NS_EVIDENCE_PARTIAL);
    /* What is complete is counted by the provider. */
    message.as.report.evidence = NS_EVIDENCE_REPORTED;
    ns_prices_bill(prices, &message, 0, &bill);
    CHECK_INT(bill.cost_nanousd, 100 * 150 + 3 * 600);
    ns_prices_free(prices);
}

TEST(a_lost_call_is_charged_by_its_last_word)
{
    struct ns_prices *prices = open_prices(NS_UNKNOWN_MODEL_ALLOW);
    struct ns_message check = report("gpt-4o-mini", 0, 0);
    check.kind = NS_MESSAGE_CHECK;
    struct ns_bill silent;
    struct ns_bill streamed;
    struct ns_bill told;
    struct ns_progress progress = {.text_bytes = 8000};
    ns_prices_bill_lost(prices, &check, NULL, INT64_C(1780000000000000000), &silent);
    ns_prices_bill_lost(prices, &check, &progress, INT64_C(1780000000000000000), &streamed);
    CHECK(silent.cost_nanousd > 0 && streamed.cost_nanousd > silent.cost_nanousd);
    CHECK_INT(silent.evidence, NS_EVIDENCE_ESTIMATED);
    CHECK_INT(streamed.evidence, NS_EVIDENCE_COUNTED);
    progress.text_bytes = 0;
    ns_usage_set(&progress.usage, NS_METER_INPUT, 100);
    ns_usage_set(&progress.usage, NS_METER_OUTPUT, 50);
    ns_prices_bill_lost(prices, &check, &progress, INT64_C(1780000000000000000), &told);
    CHECK_INT(told.cost_nanousd, 45000);
    CHECK_INT(told.evidence, NS_EVIDENCE_PARTIAL);
    ns_prices_free(prices);
}

/* A catalogue of one model, gpt-4o-mini, at a rate of input in pico-dollars a token. */
#define RECORDS(rate, more)                                                                        \
    "catalogue\t1\tnewer+1\nprovider\topenai\nmodel\tgpt-4o-mini\t-\t100\t-\n"                     \
    "match\tequals\tgpt-4o-mini\t-\nset\t-\t-\t-\nprice\tinput_tokens\t" rate                      \
    "\t1\t0\nprice\toutput_tokens\t0\t1\t0\n" more

/* Writes records and their closing line, or the records as they are. */
static void
write_prices(const char *path, const char *records, bool sealed)
{
    FILE *file = fopen(path, "w");
    REQUIRE(file != NULL);
    fputs(records, file);
    if (sealed) {
        fprintf(file, "checksum\tcrc32c\t%08x\n", ns_crc32c(0, records, strlen(records)));
    }
    REQUIRE(fclose(file) == 0);
}

static int64_t
cost_now(struct ns_prices *prices)
{
    struct ns_message message = report("gpt-4o-mini", 100, 50);
    struct ns_bill bill;
    ns_prices_bill(prices, &message, 0, &bill);
    return bill.cost_nanousd;
}

TEST(a_newer_price_file_is_in_force_at_once_and_a_broken_one_never)
{
    static const struct {
        const char *records;
        bool sealed;
        const char *error;
    } broken[] = {
        {"", false, ": line 1: the last line is cut off"},
        {"broken\n", false, ": line 1: the closing checksum line is missing"},
        {RECORDS("9000", ""), false, ": line 7: the closing checksum line is missing"},
        {RECORDS("9000", "checksum\tcrc32c\t00000000\n"), false, ": line 8: the checksum is"},
        {RECORDS("9000", "checksum\tcrc32c\t0000"), false, ": line 8: the last line is cut off"},
        {RECORDS("-1", ""), true, ": line 6: a rate is pico-dollars"},
        {RECORDS("1.5", ""), true, ": line 6: a rate is pico-dollars"},
        {RECORDS("1000000000000000001", ""), true, ": line 6: a rate is pico-dollars"},
        {RECORDS("9000", "price\tinput_tokens\t1\t1\t0\n"), true, ": line 8: the tiers of"},
        {RECORDS("9000", "provider\topenai\n"), true, ": line 8: a second provider"},
        {"catalogue\t2\tnewer+2\n", true, ": line 1: format 2 is not known"},
    };
    char folder[] = "/tmp/ns-prices-XXXXXX", path[64], error[NS_PRICES_ERROR_BYTES];
    struct ns_prices *prices = NULL;
    REQUIRE(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/prices.tsv", folder);
    write_prices(path, "broken\n", false);
    CHECK_INT(ns_prices_open(path, NS_UNKNOWN_MODEL_ALLOW, &prices, error), 0);
    CHECK(strstr(error, path) != NULL && strstr(error, "stay") != NULL);
    CHECK_INT(cost_now(prices), 45000); /* the built-in one */
    write_prices(path, RECORDS("7000", ""), true);
    CHECK_INT(ns_prices_reload(prices, error), 1);
    CHECK_STR(error, "");
    CHECK_STR(ns_prices_version(prices), "newer+1");
    CHECK_INT(cost_now(prices), 700);
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        write_prices(path, broken[i].records, broken[i].sealed);
        int status = ns_prices_reload(prices, error);
        if (status >= 0 || strstr(error, broken[i].error) == NULL || cost_now(prices) != 700) {
            NS_FAIL("file %zu: status %d, \"%s\"", i, status, error);
        }
        CHECK_INT(ns_prices_refused(prices), i + 2);
    }
    unlink(path);
    CHECK_INT(ns_prices_reload(prices, error), 0); /* gone: what is in force stays */
    CHECK_INT(cost_now(prices), 700);
    rmdir(folder);
    ns_prices_free(prices);
}

TEST(what_is_no_readable_file_is_refused_as_such_and_never_waited_for)
{
    char folder[] = "/tmp/ns-prices-XXXXXX", path[64], error[NS_PRICES_ERROR_BYTES];
    struct ns_prices *prices = NULL;
    REQUIRE(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/prices.tsv", folder);
    CHECK_INT(ns_prices_open(path, NS_UNKNOWN_MODEL_ALLOW, &prices, error), 0);
    CHECK_STR(error, "");
    CHECK_INT(mkfifo(path, 0600), 0); /* no writer ever comes */
    CHECK_INT(ns_prices_reload(prices, error), -EINVAL);
    CHECK(strstr(error, "not a regular file") != NULL);
    unlink(path);
    CHECK_INT(mkdir(path, 0700), 0);
    CHECK_INT(ns_prices_reload(prices, error), -EINVAL);
    rmdir(path);
    CHECK_INT(symlink(path, path), 0);
    CHECK_INT(ns_prices_reload(prices, error), -ELOOP);
    unlink(path);
    write_prices(path, RECORDS("7000", ""), true);
    CHECK_INT(truncate(path, NS_PRICES_BYTES_MAX + 1), 0);
    CHECK_INT(ns_prices_reload(prices, error), -EFBIG);
    CHECK_INT(truncate(path, NS_PRICES_BYTES_MAX), 0);
    CHECK_INT(ns_prices_reload(prices, error), -EBADMSG); /* NUL after the last line */
    CHECK_INT(ns_prices_refused(prices), 5);
    CHECK_INT(cost_now(prices), 45000);
    unlink(path);
    rmdir(folder);
    ns_prices_free(prices);
}

/* --- history -----------------------------------------------------------------------------------
 */

TEST(the_typical_output_is_where_nine_of_ten_calls_stay)
{
    struct ns_history *history = ns_history_new();
    for (uint64_t i = 0; i < NS_HISTORY_CALLS_MIN; i++) {
        CHECK_INT(ns_history_typical(history, T("p"), T("m"), T("chat")), 0);
        ns_history_add(history, T("p"), T("m"), T("chat"), 100, i + 1);
    }
    uint64_t small = ns_history_typical(history, T("p"), T("m"), T("chat"));
    CHECK(small >= 100 && small < 128);
    for (uint64_t i = 0; i < 100; i++) {
        ns_history_add(history, T("p"), T("m"), T("chat"), i % 5 == 0 ? 4000 : 100, 10 + i);
    }
    uint64_t large = ns_history_typical(history, T("p"), T("m"), T("chat"));
    CHECK(large >= 4000 && large < 5000);
    CHECK_INT(ns_history_typical(history, T("p"), T("m"), T("embeddings")), 0);
    for (uint64_t i = 0; i < 3000; i++) { /* habits change */
        ns_history_add(history, T("p"), T("m"), T("chat"), 10, 200 + i);
    }
    CHECK(ns_history_typical(history, T("p"), T("m"), T("chat")) < 20);
    ns_history_free(history);
}

TEST(every_size_falls_into_a_bucket_whose_edge_is_not_below_it)
{
    for (uint64_t tokens = 1; tokens < (1 << 18); tokens += 1 + tokens / 7) {
        struct ns_history *history = ns_history_new();
        for (int i = 0; i < NS_HISTORY_CALLS_MIN; i++) {
            ns_history_add(history, T("p"), T("m"), T("o"), tokens, 1);
        }
        uint64_t typical = ns_history_typical(history, T("p"), T("m"), T("o"));
        if (typical < tokens || typical > tokens + tokens / 4) {
            NS_FAIL("%" PRIu64 " tokens are typically %" PRIu64, tokens, typical);
        }
        ns_history_free(history);
    }
}

TEST(a_full_history_forgets_what_was_unused_for_longest)
{
    struct ns_history *history = ns_history_new();
    char model[32];
    uint64_t sequence = 1;
    for (int m = 0; m <= NS_HISTORY_KEYS_MAX; m++) {
        snprintf(model, sizeof model, "m%d", m);
        for (int i = 0; i < NS_HISTORY_CALLS_MIN; i++) {
            ns_history_add(history, T("p"), T(model), T("chat"), 9, sequence++);
        }
        if (m == NS_HISTORY_KEYS_MAX - 1) { /* the first is used again */
            ns_history_add(history, T("p"), T("m0"), T("chat"), 9, sequence++);
        }
    }
    CHECK(ns_history_typical(history, T("p"), T("m0"), T("chat")) > 0);
    CHECK_INT(ns_history_typical(history, T("p"), T("m1"), T("chat")), 0);
    CHECK(ns_history_typical(history, T("p"), T(model), T("chat")) > 0);
    ns_history_free(history);
}

TEST(a_history_is_the_same_after_it_was_saved_and_loaded)
{
    struct ns_history *history = ns_history_new();
    struct ns_history *loaded = NULL;
    struct ns_buffer buffer = {0};
    for (uint64_t i = 1; i <= 20; i++) {
        ns_history_add(history, T("p"), T("m"), T("chat"), 300, i);
    }
    ns_history_save(history, &buffer);
    struct ns_bytes bytes = {buffer.bytes, buffer.count, false};
    REQUIRE(ns_history_load(&bytes, &loaded) == 0);
    CHECK_INT(bytes.left, 0);
    CHECK(ns_history_typical(loaded, T("p"), T("m"), T("chat")) >= 300);
    CHECK_INT(ns_history_typical(loaded, T("p"), T("m"), T("chat")),
              ns_history_typical(history, T("p"), T("m"), T("chat")));
    ns_history_free(loaded);
    ns_history_free(history);
    ns_buffer_free(&buffer);
}
