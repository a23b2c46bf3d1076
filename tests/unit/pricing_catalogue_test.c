/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/mem.h"
#include "tests/unit/pricing_support.h"

#define HEAD "catalogue\t1\ttest+1\n"
#define PROVIDER HEAD "provider\tacme\n"
#define MODEL PROVIDER "model\tm1\t1000\t100\t-\nmatch\tequals\tm1\t-\n"
#define PRICED MODEL "set\t-\t-\t-\nprice\tinput_tokens\t1000000\t1000000\t0\n"

static int
load(const char *records, char error[static NS_CATALOGUE_ERROR_BYTES])
{
    struct ns_catalogue *catalogue = NULL;
    int status = load_sealed(records, &catalogue, error);
    CHECK((status == 0) == (catalogue != NULL));
    ns_catalogue_free(catalogue);
    return status;
}

TEST(the_built_in_catalogue_loads_all_models)
{
    struct ns_catalogue *catalogue = load_builtin();
    REQUIRE(catalogue != NULL);
    CHECK(ns_catalogue_model_count(catalogue) >= 1694);
    CHECK(strncmp(ns_catalogue_version(catalogue), "genai-prices-", 13) == 0);
    ns_catalogue_free(catalogue);
}

TEST(the_text_may_go_after_loading)
{
    char *copy = malloc(ns_catalogue_builtin_bytes);
    memcpy(copy, ns_catalogue_builtin, ns_catalogue_builtin_bytes);
    struct ns_catalogue *catalogue = NULL;
    char error[NS_CATALOGUE_ERROR_BYTES];
    CHECK_INT(ns_catalogue_load(copy, ns_catalogue_builtin_bytes, &catalogue, error), 0);
    memset(copy, 'x', ns_catalogue_builtin_bytes);
    free(copy);
    REQUIRE(catalogue != NULL);
    const struct ns_price_model *model = ns_catalogue_find(catalogue, "openai", "gpt-4o");
    REQUIRE(model != NULL);
    CHECK_STR(ns_price_model_id(model), "gpt-4o");
    CHECK_INT(ns_price_model_output_max(model), 16384);
    ns_catalogue_free(catalogue);
}

TEST(a_broken_record_is_refused_with_its_line)
{
    static const struct {
        const char *records;
        const char *error; /* begins so */
    } rows[] = {
        {"", "line 1: the catalogue has no model"},
        {"provider\tacme\n", "line 1: a provider record before the first catalogue record"},
        {"catalogue\t2\ttest\n", "line 1: format 2 is not known"},
        {"catalogue\t1\t\n", "line 1: the name of a catalogue"},
        {"catalogue\t1\ta b\n", "line 1: the name of a catalogue"},
        {"catalogue\t1\t01234567890123456789012345678901234567890123456789\n",
         "line 1: the name of a catalogue"},
        {HEAD HEAD, "line 2: a second catalogue record"},
        {HEAD "nonsense\tx\n", "line 2: no record nonsense"},
        {HEAD "\n", "line 2: no record "},
        {HEAD "provider\n", "line 2: a provider record has 2 fields, not 1"},
        {HEAD "provider\ta\tb\n", "line 2: a provider record has 2 fields, not 3"},
        {HEAD "provider\ta\tb\tc\td\te\tf\tg\th\n", "line 2: more than 8 fields"},
        {HEAD "provider\t\n", "line 2: a provider without a name"},
        {HEAD "model\tm\t-\t1\t-\n", "line 2: a model record before the first provider record"},
        {PROVIDER "provider\tACME\n", "line 3: a second provider, alias or host acme"},
        {PROVIDER "alias\tacme\n", "line 3: a second provider, alias or host acme"},
        {PROVIDER "host\tequals\tacme\n", "line 3: a second provider, alias or host acme"},
        {PROVIDER "host\tlike\tacme\n", "line 3: a host matches by equals or suffix"},
        {PROVIDER "host\tsuffix\t\n", "line 3: an empty host"},
        {PROVIDER "fallback\tnobody\nmodel\tm\t-\t1\tfree\nmatch\tequals\tm\t-\n",
         "line 3: no provider nobody to fall back to"},
        {PROVIDER, "line 3: the catalogue has no model"},
        {PROVIDER "match\tequals\tx\t-\n", "line 3: a match record before the first model record"},
        {PROVIDER "model\t\t-\t1\t-\n", "line 3: a model without a name"},
        {PROVIDER "model\tm\t0\t1\t-\n", "line 3: the context window is"},
        {PROVIDER "model\tm\t-5\t1\t-\n", "line 3: the context window is"},
        {PROVIDER "model\tm\t-\t0\t-\n", "line 3: the longest answer is"},
        {PROVIDER "model\tm\t-\t1000000000001\t-\n", "line 3: the longest answer is"},
        {PROVIDER "model\tm\t-\t99999999999999999999\t-\n", "line 3: the longest answer is"},
        {PROVIDER "model\tm\t-\t1\tcheap\n", "line 3: flags are"},
        {PROVIDER "model\tm\t-\t1\t-\n", "line 4: the model before this line, m, matches no name"},
        {MODEL "model\tm1\t-\t1\t-\n", "line 5: a second model m1 of acme"},
        {MODEL "match\tregex\tx\t-\n", "line 5: a match is"},
        {MODEL "match\tequals\tx\t\n", "line 5: the word that must not"},
        {MODEL "price\tinput_tokens\t1\t1\t0\n", "line 5: a price before the first set"},
        {MODEL "set\t2026-01-01\t-\t-\n", "line 5: the first set of a model holds always"},
        {MODEL "set\t-\t00:00:00\t01:00:00\n", "line 5: the first set of a model holds always"},
        {MODEL "set\t-\t-\t-\n", "line 6: the set of prices before this line is empty"},
        {PRICED "set\t2026-02-29\t-\t-\n", "line 7: 2026-02-29 is no date"},
        {PRICED "set\t2026-13-01\t-\t-\n", "line 7: 2026-13-01 is no date"},
        {PRICED "set\t26-01-01\t-\t-\n", "line 7: 26-01-01 is no date"},
        {PRICED "set\t-\t01:00:00\t-\n", "line 7: 01:00:00 to - is no daily window"},
        {PRICED "set\t-\t01:00:00\t24:00:00\n", "line 7: 01:00:00 to 24:00:00 is no daily"},
        {PRICED "set\t-\t01:00:00\t01:00:00\n", "line 7: 01:00:00 to 01:00:00 is no daily"},
        {PRICED "price\tbananas\t1\t1\t0\n", "line 7: no meter bananas"},
        {PRICED "price\toutput_tokens\t-1\t1\t0\n", "line 7: a rate is pico-dollars"},
        {PRICED "price\toutput_tokens\t1.5\t1\t0\n", "line 7: a rate is pico-dollars"},
        {PRICED "price\toutput_tokens\t1e9\t1\t0\n", "line 7: a rate is pico-dollars"},
        {PRICED "price\toutput_tokens\t1000000000000000001\t1\t0\n", "line 7: a rate is pico"},
        {PRICED "price\toutput_tokens\t1\t0\t0\n", "line 7: a rate is for 1 to"},
        {PRICED "price\toutput_tokens\t1\t1000000001\t0\n", "line 7: a rate is for 1 to"},
        {PRICED "price\toutput_tokens\t1\t1\tx\n", "line 7: a context tier begins above"},
        {PRICED "price\toutput_tokens\t1\t1\t5\n", "line 7: the tiers of output_tokens do not"},
        {PRICED "price\tinput_tokens\t1\t1\t0\n", "line 7: the tiers of input_tokens do not"},
        {PRICED "price\toutput_tokens\t1\t1\t0\nprice\tinput_tokens\t1\t1\t9\n",
         "line 8: the tiers of input_tokens do not"},
        {PRICED "set\t2026-01-01\t-\t-\nprice\tinput_tokens\t1\t1\t0\nset\t2026-01-01\t-\t-\n",
         "line 9: a second set of m1 for the same time"},
        {PRICED "set\t-\t-\t-\n", "line 7: a second set of m1 for the same time"},
        {PRICED "scale\ttier\t\ttokens\t1\t2\n", "line 7: a scale without a value"},
        {PRICED "scale\ttier\tbatch\ttokens\t1\t2\nscale\ttier\tBatch\ttokens\t1\t3\n",
         "line 8: a second scale of tokens for batch"},
        {PRICED "scale\tmood\tgood\ttokens\t1\t2\n", "line 7: a scale is by tier, speed or"},
        {PRICED "scale\ttier\tbatch\tall\t1\t2\n", "line 7: no meter of tokens all"},
        {PRICED "scale\ttier\tbatch\tweb_searches\t1\t2\n", "line 7: no meter of tokens web"},
        {PRICED "scale\ttier\tbatch\ttokens\t1\t0\n", "line 7: a scale is a fraction"},
        {PRICED "scale\ttier\tbatch\ttokens\t1001\t1\n", "line 7: a scale is a fraction"},
        {PRICED "scale\ttier\tbatch\ttokens\t1\t997\nscale\ttier\tx\ttokens\t1\t991\n"
                "scale\ttier\ty\ttokens\t1\t983\n",
         "line 8: with this denominator"},
        {PROVIDER "model\tm\t-\t1\tfree\nmatch\tequals\tm\t-\nset\t-\t-\t-\n"
                  "price\tinput_tokens\t1\t1\t0\n",
         "line 7: the model before this line, m, is free but has prices"},
    };
    char error[NS_CATALOGUE_ERROR_BYTES];
    CHECK_INT(load(PRICED, error), 0);
    CHECK_STR(error, "");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int status = load(rows[i].records, error);
        if (status != -EBADMSG || strncmp(error, rows[i].error, strlen(rows[i].error)) != 0) {
            NS_FAIL("row %zu: status %d, got \"%s\", not \"%s\"", i, status, error, rows[i].error);
        }
    }
}

TEST(limits_hold_exactly)
{
    char error[NS_CATALOGUE_ERROR_BYTES];
    CHECK_INT(load(PRICED "price\toutput_tokens\t1000000000000000000\t1000000000\t0\n", error), 0);
    CHECK_INT(load(MODEL "scale\ttier\tx\ttokens\t1000\t1000\n", error), 0);
    CHECK_INT(
        load(PROVIDER "model\tm\t1000000000000\t1000000000000\t-\nmatch\tprefix\t\t-\n", error), 0);
    char records[1024];
    for (int bytes = 255; bytes <= 256; bytes++) {
        snprintf(records, sizeof(records), PROVIDER "model\t%0*d\t-\t1\t-\nmatch\tequals\tm\t-\n",
                 bytes, 0);
        CHECK_INT(load(records, error), bytes == 255 ? 0 : -EBADMSG);
    }
    CHECK(strncmp(error, "line 3: field 2 is longer than 255 bytes", 40) == 0);
    CHECK_INT(load("catalogue\t1\t01234567890123456789012345678901234567890123456\nprovider\tp\n"
                   "model\tm\t-\t1\t-\nmatch\tequals\tm\t-\n",
                   error),
              0);
}

/* A model with so many records of a kind, each its own. */
static int
load_many(const char *head, const char *form, int count,
          char error[static NS_CATALOGUE_ERROR_BYTES])
{
    size_t bytes = strlen(head) + (size_t)count * 128, used = strlen(head);
    char *records = malloc(bytes);
    memcpy(records, head, used + 1);
    for (int i = 0; i < count; i++) {
        used += (size_t)snprintf(records + used, bytes - used, form, i / 900, i / 30 % 30, i % 30);
    }
    int status = load(records, error);
    free(records);
    return status;
}

TEST(a_model_has_a_bounded_number_of_prices_sets_and_scales)
{
    static const char prices[] = "price\toutput_tokens\t1\t1\t%d%02d%02d\n";
    static const char sets[] = "set\t2%03d-01-01\t00:%02d:%02d\t23:59:59\n"
                               "price\toutput_tokens\t1\t1\t0\n";
    static const char scales[] = "scale\ttier\t%d-%02d-%02d\ttokens\t1\t2\n";
    char error[NS_CATALOGUE_ERROR_BYTES];
    CHECK_INT(load_many(MODEL "set\t-\t-\t-\n", prices, 1000, error), 0);
    CHECK_INT(load_many(MODEL "set\t-\t-\t-\n", prices, 1001, error), -EBADMSG);
    CHECK(strstr(error, "more than 1000 prices in a set") != NULL);
    CHECK_INT(load_many(PRICED, sets, 999, error), 0);
    CHECK_INT(load_many(PRICED, sets, 1000, error), -EBADMSG);
    CHECK(strstr(error, "more than 1000 sets of a model") != NULL);
    CHECK_INT(load_many(PRICED, scales, 1000, error), 0);
    CHECK_INT(load_many(PRICED, scales, 1001, error), -EBADMSG);
    CHECK(strstr(error, "more than 1000 scales of a model") != NULL);
}

TEST(comments_and_later_sets_are_read)
{
    char error[NS_CATALOGUE_ERROR_BYTES];
    CHECK_INT(load("# hello\n" PRICED "# more\nset\t2028-02-29\t-\t-\n"
                   "price\tinput_tokens\t5\t1\t0\nprice\tinput_tokens\t6\t1\t100\n"
                   "set\t2028-02-29\t22:00:00\t02:00:00\nprice\tinput_tokens\t7\t1\t0\n",
                   error),
              0);
    CHECK_STR(error, "");
}

TEST(a_file_cut_off_anywhere_is_refused)
{
    char error[NS_CATALOGUE_ERROR_BYTES];
    struct ns_catalogue *catalogue = NULL;
    static const char records[] = PRICED;
    char text[sizeof(records) + 64];
    size_t bytes = sizeof(records) - 1;
    memcpy(text, records, bytes);
    bytes += (size_t)snprintf(text + bytes, 64, "checksum\tcrc32c\t%08x\n",
                              ns_crc32c(0, records, bytes));
    for (size_t i = 0; i < bytes; i++) {
        char *cut = malloc(i + 1);
        memcpy(cut, text, i);
        CHECK_INT(ns_catalogue_load(cut, i, &catalogue, error), -EBADMSG);
        CHECK(catalogue == NULL);
        CHECK(strncmp(error, "line ", 5) == 0);
        free(cut);
    }
    CHECK_INT(ns_catalogue_load(text, bytes, &catalogue, error), 0);
    ns_catalogue_free(catalogue);
    CHECK_INT(ns_catalogue_load("x\n", 2, &catalogue, error), -EBADMSG);
    CHECK_STR(error, "line 1: the closing checksum line is missing");
}

TEST(any_single_byte_that_changes_is_noticed)
{
    size_t bytes = ns_catalogue_builtin_bytes;
    char *text = malloc(bytes);
    char error[NS_CATALOGUE_ERROR_BYTES];
    struct ns_catalogue *catalogue = NULL;
    for (int i = 0; i < 300; i++) {
        memcpy(text, ns_catalogue_builtin, bytes);
        size_t at = ns_test_random() % bytes;
        text[at] = (char)(text[at] ^ (1 << (ns_test_random() % 8)));
        CHECK_INT(ns_catalogue_load(text, bytes, &catalogue, error), -EBADMSG);
        CHECK(catalogue == NULL);
    }
    free(text);
}

TEST(bytes_that_are_not_ascii_are_named)
{
    char error[NS_CATALOGUE_ERROR_BYTES];
    CHECK_INT(load(PROVIDER "# caf\xc3\xa9\n", error), -EBADMSG);
    CHECK_STR(error, "line 3: byte 0xc3 is neither printable ASCII nor a tab");
    CHECK_INT(load(PROVIDER "alias\tx\r\n", error), -EBADMSG);
    CHECK_STR(error, "line 3: byte 0x0d is neither printable ASCII nor a tab");
}

TEST(loading_survives_every_allocation_that_fails)
{
    char error[NS_CATALOGUE_ERROR_BYTES];
    ns_mem_fail_at(0);
    CHECK_INT(load(PRICED, error), 0);
    size_t count = ns_mem_fail_at(0);
    CHECK(count > 5);
    for (size_t i = 1; i <= count; i++) {
        ns_mem_fail_at(i);
        CHECK_INT(load(PRICED, error), -ENOMEM);
        CHECK_STR(error, "no memory");
    }
    ns_mem_fail_at(0);
    CHECK_INT(load(PRICED, error), 0);
}
