/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <time.h>

#include "pricing/catalogue.h"
#include "tests/unit/pricing_support.h"

#define MILLION INT64_C(1000000)

/* Prices chosen so that every figure can be checked by hand: dollars a million tokens. */
#define MODELS                                                                                     \
    "catalogue\t1\ttest\nprovider\tp\nregional\tsuffix\t.api.p.test\n"                             \
    "model\tm\t-\t1\t-\nmatch\tequals\tm\t-\nset\t-\t-\t-\n"                                       \
    "price\tinput_tokens\t2000000000000\t1000000\t0\n"                                             \
    "price\tinput_tokens\t4000000000000\t1000000\t200000\n"                                        \
    "price\tcache_read_tokens\t200000000000\t1000000\t0\n"                                         \
    "price\tcache_read_tokens\t400000000000\t1000000\t200000\n"                                    \
    "price\toutput_tokens\t10000000000000\t1000000\t0\n"                                           \
    "price\toutput_tokens\t15000000000000\t1000000\t200000\n"                                      \
    "price\tweb_searches\t10000000000000\t1000\t0\n"                                               \
    "scale\ttier\tflex\tcache_read_tokens\t13\t25\nscale\ttier\tflex\ttokens\t1\t2\n"              \
    "scale\tspeed\tfast\ttokens\t6\t1\nscale\tregion\tus\ttokens\t11\t10\n"                        \
    "scale\tregion\tregional\ttokens\t5\t4\n"                                                      \
    "model\tdated\t-\t1\t-\nmatch\tequals\tdated\t-\nset\t-\t-\t-\n"                               \
    "price\tinput_tokens\t1000000000000\t1000000\t0\nset\t2026-08-17\t-\t-\n"                      \
    "price\tinput_tokens\t2000000000000\t1000000\t0\nset\t2026-08-17\t06:00:00\t10:00:00\n"        \
    "price\tinput_tokens\t4000000000000\t1000000\t0\nset\t2026-09-01\t22:00:00\t01:00:00\n"        \
    "price\tinput_tokens\t8000000000000\t1000000\t0\n"                                             \
    "model\todd\t-\t1\t-\nmatch\tequals\todd\t-\nset\t-\t-\t-\n"                                   \
    "price\tinput_tokens\t1\t3\t0\nprice\toutput_tokens\t500\t1\t0\n"                              \
    "price\taudio_seconds\t1000000000000\t3600\t0\n"                                               \
    "model\thuge\t-\t1\t-\nmatch\tequals\thuge\t-\nset\t-\t-\t-\n"                                 \
    "price\tinput_tokens\t1000000000000000000\t1\t0\nprice\toutput_tokens\t1000\t1\t0\n"           \
    "scale\ttier\tx\ttokens\t1000\t1\nscale\tspeed\tx\ttokens\t1000\t1\n"                          \
    "scale\tregion\tx\ttokens\t1000\t1\n"                                                          \
    "model\tgratis\t-\t1\tfree\nmatch\tequals\tgratis\t-\n"                                        \
    "model\tsecret\t-\t1\t-\nmatch\tequals\tsecret\t-\n"

struct count {
    enum ns_meter meter;
    uint64_t count;
};

static struct ns_catalogue *catalogue;

static int
cost(const char *model, const struct ns_price_terms *terms, const struct count *counts,
     int64_t *nanousd, enum ns_meter *unpriced)
{
    if (catalogue == NULL) {
        catalogue = load_records(MODELS);
    }
    const struct ns_price_model *row = ns_catalogue_find(catalogue, "p", model);
    struct ns_usage usage = {0};
    for (; counts->count != 0; counts++) {
        ns_usage_set(&usage, counts->meter, counts->count);
    }
    *nanousd = -77;
    *unpriced = NS_METER_COUNT;
    return row == NULL ? -EINVAL : ns_price_cost(row, terms, &usage, nanousd, unpriced);
}

static int64_t
nanousd_of(const char *model, const struct ns_price_terms *terms, const struct count *counts)
{
    int64_t nanousd = -77;
    enum ns_meter unpriced = NS_METER_COUNT;
    CHECK_INT(cost(model, terms, counts, &nanousd, &unpriced), 0);
    return nanousd;
}

#define COUNTS(...)                                                                                \
    (const struct count[])                                                                         \
    {                                                                                              \
        __VA_ARGS__,                                                                               \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }
#define M(name) NS_METER_##name

TEST(each_class_is_priced_by_its_own_rate)
{
    struct ns_price_terms terms = {0};
    CHECK_INT(nanousd_of("m", &terms,
                         COUNTS({M(INPUT), 1000}, {M(CACHE_READ), 500}, {M(OUTPUT), 100},
                                {M(WEB_SEARCHES), 2})),
              2000000 + 100000 + 1000000 + 20000000);
    CHECK_INT(nanousd_of("m", &terms, COUNTS({0, 0})), 0);
}

TEST(a_missing_price_falls_back)
{
    struct ns_price_terms terms = {0};
    CHECK_INT(nanousd_of("m", &terms, COUNTS({M(CACHE_WRITE), 1000})), 2000000);
    CHECK_INT(nanousd_of("m", &terms, COUNTS({M(CACHE_WRITE_1H), 1000})), 2000000);
    CHECK_INT(nanousd_of("m", &terms, COUNTS({M(INPUT_AUDIO), 1000})), 2000000);
    CHECK_INT(nanousd_of("m", &terms, COUNTS({M(INPUT_IMAGE), 1000})), 2000000);
    CHECK_INT(nanousd_of("m", &terms, COUNTS({M(CACHE_IMAGE_READ), 1000})), 200000);
    CHECK_INT(nanousd_of("m", &terms, COUNTS({M(OUTPUT_REASONING), 1000})), 10000000);
    CHECK_INT(nanousd_of("m", &terms, COUNTS({M(OUTPUT_AUDIO), 1000})), 10000000);
    CHECK_INT(nanousd_of("odd", &terms, COUNTS({M(INPUT_AUDIO_SECONDS), 3600})), 1000000000);
}

TEST(a_meter_without_any_price_makes_the_cost_unknown)
{
    struct ns_price_terms terms = {0};
    int64_t nanousd = 0;
    enum ns_meter unpriced = NS_METER_INPUT;
    CHECK_INT(
        cost("m", &terms, COUNTS({M(INPUT), 5}, {M(CODE_EXECUTIONS), 1}), &nanousd, &unpriced),
        -ENOENT);
    CHECK_INT(unpriced, NS_METER_CODE_EXECUTIONS);
    CHECK_INT(nanousd, -77);
    CHECK_INT(cost("dated", &terms, COUNTS({M(OUTPUT), 1}), &nanousd, &unpriced), -ENOENT);
    CHECK_INT(unpriced, NS_METER_OUTPUT);
    CHECK_INT(cost("secret", &terms, COUNTS({M(INPUT), 1}), &nanousd, &unpriced), -ENOENT);
    CHECK_INT(unpriced, NS_METER_INPUT);
    CHECK_INT(nanousd_of("gratis", &terms, COUNTS({M(INPUT), 1}, {M(WEB_SEARCHES), 1})), 0);
}

TEST(a_meter_that_was_reported_as_zero_needs_no_price)
{
    struct ns_usage usage = {0};
    ns_usage_set(&usage, NS_METER_CODE_EXECUTIONS, 0);
    struct ns_price_terms terms = {0};
    struct ns_catalogue *own = load_records(MODELS);
    REQUIRE(own != NULL);
    int64_t nanousd = -1;
    enum ns_meter unpriced = NS_METER_COUNT;
    CHECK_INT(ns_price_cost(ns_catalogue_find(own, "p", "m"), &terms, &usage, &nanousd, &unpriced),
              0);
    CHECK_INT(nanousd, 0);
    ns_catalogue_free(own);
}

TEST(a_context_tier_holds_for_the_whole_call_from_one_token_above)
{
    struct ns_price_terms terms = {0};
    CHECK_INT(nanousd_of("m", &terms, COUNTS({M(INPUT), 200000}, {M(OUTPUT), 10})),
              400000000 + 100000);
    CHECK_INT(nanousd_of("m", &terms, COUNTS({M(INPUT), 200001}, {M(OUTPUT), 10})),
              800004000 + 150000);
    /* Cached input counts; output does not. */
    CHECK_INT(nanousd_of("m", &terms, COUNTS({M(CACHE_READ), 200000}, {M(INPUT), 1})),
              80000000 + 4000);
    CHECK_INT(nanousd_of("m", &terms, COUNTS({M(CACHE_WRITE), 200000}, {M(INPUT), 1})), 800004000);
    CHECK_INT(nanousd_of("m", &terms, COUNTS({M(OUTPUT), 300000}, {M(INPUT), 1})),
              3000000000 + 2000);
}

TEST(prices_change_by_date_and_hour)
{
    /* 1786924800 is 2026-08-17 00:00:00 UTC, 1788220800 2026-09-01 00:00:00. */
    static const struct {
        int64_t at_unix_s;
        int64_t nanousd;
    } rows[] = {
        {0, 1},
        {-1, 1},
        {INT64_MIN, 1},
        {1786924799, 1},
        {1786924800, 2},
        {1786924800 + 6 * 3600 - 1, 2},
        {1786924800 + 6 * 3600, 4},
        {1786924800 + 10 * 3600 - 1, 4},
        {1786924800 + 10 * 3600, 2},
        {1786924800 - 17 * 3600, 1}, /* inside the window, but before its date */
        {1786924800 + 23 * 3600, 2},
        {1788220800 - 1, 2},
        {1788220800, 8},
        {1788220800 + 3600 - 1, 8},
        {1788220800 + 3600, 2},
        {1788220800 + 22 * 3600, 8},
        {1788220800 + 24 * 3600, 8},
        {INT64_MAX, 2},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ns_price_terms terms = {.at_unix_s = rows[i].at_unix_s};
        int64_t nanousd = nanousd_of("dated", &terms, COUNTS({M(INPUT), 1000}));
        if (nanousd != rows[i].nanousd * 1000000) {
            NS_FAIL("row %zu: %" PRId64, i, nanousd);
        }
    }
}

TEST(tiers_speed_and_regions_multiply_tokens_but_no_fees)
{
    const struct count counts[] = {{M(INPUT), 1000}, {M(WEB_SEARCHES), 1}, {0}};
    static const struct {
        struct ns_price_terms terms;
        int64_t tokens_nanousd;
    } rows[] = {
        {{.service_tier = "flex"}, 1000000},
        {{.service_tier = "FLEX"}, 1000000},
        {{.service_tier = "fle"}, 2000000},
        {{.service_tier = "flexx"}, 2000000},
        {{.service_tier = "default"}, 2000000},
        {{.service_tier = ""}, 2000000},
        {{.speed = "fast"}, 12000000},
        {{.speed = "flex"}, 2000000},
        {{.region = "us"}, 2200000},
        {{.region = "global"}, 2000000},
        {{.host = "eu.api.p.test"}, 2500000},
        {{.host = "api.p.test"}, 2000000},
        {{.region = "regional"}, 2500000},
        {{.service_tier = "flex", .speed = "fast", .region = "us"}, 6600000},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t nanousd = nanousd_of("m", &rows[i].terms, counts);
        if (nanousd != rows[i].tokens_nanousd + 10000000) {
            NS_FAIL("row %zu: %" PRId64, i, nanousd);
        }
    }
    struct ns_price_terms flex = {.service_tier = "flex"};
    CHECK_INT(nanousd_of("m", &flex, COUNTS({M(CACHE_READ), 1000})), 104000);
}

TEST(a_bill_is_rounded_once_half_to_even)
{
    struct ns_price_terms terms = {0};
    /* 500 pico-dollars are half a nano-dollar. */
    CHECK_INT(nanousd_of("odd", &terms, COUNTS({M(OUTPUT), 1})), 0);
    CHECK_INT(nanousd_of("odd", &terms, COUNTS({M(OUTPUT), 3})), 2);
    CHECK_INT(nanousd_of("odd", &terms, COUNTS({M(OUTPUT), 5})), 2);
    CHECK_INT(nanousd_of("odd", &terms, COUNTS({M(OUTPUT), 7})), 4);
    /* A third of a pico-dollar more is more than half. */
    CHECK_INT(nanousd_of("odd", &terms, COUNTS({M(OUTPUT), 1}, {M(INPUT), 1})), 1);
    CHECK_INT(nanousd_of("odd", &terms, COUNTS({M(OUTPUT), 5}, {M(INPUT), 1})), 3);
    /* 1499 + 1 of 1500 thirds: one third below the half, and the half itself. */
    CHECK_INT(nanousd_of("odd", &terms, COUNTS({M(INPUT), 1499})), 0);
    CHECK_INT(nanousd_of("odd", &terms, COUNTS({M(INPUT), 4499})), 1);
    CHECK_INT(nanousd_of("odd", &terms, COUNTS({M(INPUT), 4500})), 2);
    /* 1/3600 of a dollar a second. */
    CHECK_INT(nanousd_of("odd", &terms, COUNTS({M(AUDIO_SECONDS), 1})), 277778);
}

TEST(parts_are_summed_before_the_one_rounding)
{
    struct ns_catalogue *own = load_records(MODELS);
    REQUIRE(own != NULL);
    struct ns_usage half = {0}, third = {0}, big = {0};
    ns_usage_set(&half, NS_METER_OUTPUT, 1);
    ns_usage_set(&third, NS_METER_INPUT, 1);
    ns_usage_set(&big, NS_METER_INPUT, 150000);
    const struct ns_price_model *odd = ns_catalogue_find(own, "p", "odd");
    const struct ns_price_model *m = ns_catalogue_find(own, "p", "m");
    const struct ns_price_part halves[] = {{odd, &half}, {odd, &half}, {odd, &half}};
    const struct ns_price_part mixed[] = {{odd, &half}, {odd, &third}, {m, &big}, {m, &big}};
    const struct ns_price_part unknown[] = {{m, &big}, {NULL, &third}};
    struct ns_price_terms terms = {0};
    int64_t nanousd = 0;
    enum ns_meter unpriced = NS_METER_COUNT;
    CHECK_INT(ns_price_cost_parts(halves, 3, &terms, &nanousd, &unpriced), 0);
    CHECK_INT(nanousd, 2);
    /* Each part has its own context: two of 150,000 are not one of 300,000. */
    CHECK_INT(ns_price_cost_parts(mixed, 4, &terms, &nanousd, &unpriced), 0);
    CHECK_INT(nanousd, 600000001);
    CHECK_INT(ns_price_cost_parts(unknown, 2, &terms, &nanousd, &unpriced), -ENOENT);
    CHECK_INT(unpriced, NS_METER_INPUT);
    CHECK_INT(ns_price_cost_parts(NULL, 0, &terms, &nanousd, &unpriced), 0);
    CHECK_INT(nanousd, 0);
    ns_catalogue_free(own);
}

TEST(amounts_beyond_int64_are_refused_and_the_last_that_fits_is_exact)
{
    struct ns_price_terms terms = {0};
    int64_t nanousd = 0;
    enum ns_meter unpriced = NS_METER_COUNT;
    CHECK_INT(nanousd_of("huge", &terms, COUNTS({M(OUTPUT), INT64_MAX})), INT64_MAX);
    CHECK_INT(cost("huge", &terms, COUNTS({M(OUTPUT), UINT64_C(1) << 63}), &nanousd, &unpriced),
              -ERANGE);
    CHECK_INT(cost("huge", &terms, COUNTS({M(INPUT), UINT64_MAX}), &nanousd, &unpriced), -ERANGE);
    terms = (struct ns_price_terms){.service_tier = "x", .speed = "x", .region = "x"};
    CHECK_INT(cost("huge", &terms, COUNTS({M(INPUT), UINT64_MAX}, {M(OUTPUT), UINT64_MAX}),
                   &nanousd, &unpriced),
              -ERANGE);
    CHECK_INT(cost("huge", &terms, COUNTS({M(OUTPUT), UINT64_MAX}), &nanousd, &unpriced), -ERANGE);
    CHECK_INT(nanousd_of("huge", &terms, COUNTS({M(OUTPUT), 9})), 9000000000);
    CHECK_INT(nanousd, -77);
}

/* --- the shared prices.tsv -------------------------------------------------------------------- */

/*
 * An oracle of its own: the rows of the shared file as they stand, and nothing of the catalogue.
 * What the overlay changes on purpose (pricing/overlay.txt) is left out by name.
 */
struct shared_row {
    const char *provider, *model;
    int meter;
    int64_t rate_pusd, per;
    uint64_t above;
    const char *from, *start, *end;
};

#define SHARED_ROWS_MAX 16384
static struct shared_row shared_rows[SHARED_ROWS_MAX];
static size_t shared_row_count;

static void
keep_row(char **field, int count, void *user)
{
    (void)user;
    if (count < 10 || shared_row_count == SHARED_ROWS_MAX) {
        NS_FAIL("a row of %d fields, or too many rows", count);
        return;
    }
    shared_rows[shared_row_count++] = (struct shared_row){
        .provider = field[0],
        .model = field[1],
        .meter = ns_meter_find(field[2], strlen(field[2])),
        .rate_pusd = strtoll(field[3], NULL, 10),
        .per = strtoll(field[4], NULL, 10),
        .above = strtoull(field[5], NULL, 10),
        .from = field[6],
        .start = field[7],
        .end = field[8],
    };
}

/* A time as texts, to be compared with the file's: date and time of day. */
struct moment {
    char date[16], time[16];
    int64_t unix_s;
};

static struct moment
moment_of(int64_t unix_s)
{
    struct moment moment = {.unix_s = unix_s};
    time_t seconds = (time_t)unix_s;
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(moment.date, sizeof(moment.date), "%Y-%m-%d", &tm);
    strftime(moment.time, sizeof(moment.time), "%H:%M:%S", &tm);
    return moment;
}

/* 2024-06-01 12:00, 2025-06-10, 2026-03-12 23:59:59, 2026-08-20 16:30, 2027-01-01 00:29:59 */
static const int64_t any_times[] = {1717243200, 1749513600, 1773359999, 1787243400, 1798763399};

static bool
row_holds(const struct shared_row *row, const struct moment *at)
{
    /* The peak rows carry no date upstream; they began with the new off-peak price. */
    bool v4 =
        strncmp(row->model, "deepseek-v4-", 12) == 0 && strcmp(row->provider, "deepseek") == 0;
    const char *from = row->start[0] != '\0' && v4 ? "2026-08-17" : row->from;
    return strcmp(at->date, from) >= 0 &&
           (row->start[0] == '\0' ||
            (strncmp(at->time, row->start, 8) >= 0 && strncmp(at->time, row->end, 8) < 0));
}

static bool
same_set(const struct shared_row *a, const struct shared_row *b)
{
    return strcmp(a->from, b->from) == 0 && strcmp(a->start, b->start) == 0 &&
           strcmp(a->end, b->end) == 0;
}

/* The rows [first, end) are one model's. Returns the last set that holds, by one of its rows. */
static const struct shared_row *
set_of_moment(size_t first, size_t end, const struct moment *at)
{
    const struct shared_row *found = NULL;
    for (size_t i = first; i < end; i++) {
        found = row_holds(&shared_rows[i], at) ? &shared_rows[i] : found;
    }
    return found;
}

static const struct shared_row *
rate_of(size_t first, size_t end, const struct shared_row *set, int meter, uint64_t total)
{
    const struct shared_row *found = NULL;
    for (size_t i = first; i < end; i++) {
        const struct shared_row *row = &shared_rows[i];
        if (row->meter == meter && same_set(row, set) && (row->above == 0 || total > row->above)) {
            found = row;
        }
    }
    return found;
}

/* All denominators of the file divide 9,000,000: sums are exact in those parts of a pico-dollar. */
#define PARTS INT64_C(9000000)

static int64_t
round_half_even(unsigned __int128 parts)
{
    unsigned __int128 one = (unsigned __int128)PARTS * 1000;
    unsigned __int128 whole = parts / one, rest = parts % one;
    return (int64_t)(whole + (2 * rest > one || (2 * rest == one && (whole & 1) != 0)));
}

static bool
overlaid(const struct shared_row *row)
{
    return (strcmp(row->provider, "openrouter") == 0 &&
            strcmp(row->model, "google/gemini-2.5-flash") == 0) ||
           (strcmp(row->provider, "perplexity") == 0 && strncmp(row->model, "sonar", 5) == 0 &&
            strcmp(row->model, "sonar-deep-research") != 0);
}

static uint64_t
input_tokens_of(const struct ns_usage *usage)
{
    return ns_usage_input_tokens(usage) + ns_usage_cached_input_tokens(usage) +
           ns_usage_cache_write_tokens(usage);
}

/* One random usage of the model's own meters, priced by both; total_input_tokens: 0, or what the
 * input is to add up to. */
static void
check_model(const struct ns_catalogue *builtin, size_t first, size_t end, const struct moment *at,
            uint64_t scale, uint64_t total_input_tokens)
{
    const struct shared_row *set = set_of_moment(first, end, at);
    struct ns_usage usage = {0};
    for (size_t i = first; i < end; i++) {
        if (same_set(&shared_rows[i], set)) {
            ns_usage_set(&usage, (enum ns_meter)shared_rows[i].meter, ns_test_random() % scale);
        }
    }
    if (total_input_tokens > 0) {
        usage.count[NS_METER_INPUT] = 0;
        ns_usage_set(&usage, NS_METER_INPUT, total_input_tokens - input_tokens_of(&usage));
    }
    uint64_t total = input_tokens_of(&usage);
    unsigned __int128 parts = 0;
    for (int m = 0; m < NS_METER_COUNT; m++) {
        const struct shared_row *row = rate_of(first, end, set, m, total);
        if (row != NULL) {
            parts += (unsigned __int128)usage.count[m] * (uint64_t)row->rate_pusd *
                     (uint64_t)(PARTS / row->per);
        }
    }
    /* Looked up by row, not by name: names are pricing_match_test's. */
    const struct ns_price_model *model = ns_price_model_of_id(builtin, set->provider, set->model);
    if (model == NULL) {
        NS_FAIL("no row %s %s", set->provider, set->model);
        return;
    }
    struct ns_price_terms terms = {.at_unix_s = at->unix_s};
    int64_t nanousd = -1;
    enum ns_meter unpriced = NS_METER_COUNT;
    int status = ns_price_cost(model, &terms, &usage, &nanousd, &unpriced);
    if (status != 0 || nanousd != round_half_even(parts)) {
        NS_FAIL("%s %s at %s %s: status %d, %" PRId64 ", not %" PRId64, set->provider, set->model,
                at->date, at->time, status, nanousd, round_half_even(parts));
    }
}

static size_t vectors;

/* Small and large, and at each of the row's context tiers: the last token below and the first
 * above. */
static void
check_at(const struct ns_catalogue *builtin, size_t first, size_t end, int64_t unix_s)
{
    struct moment at = moment_of(unix_s);
    check_model(builtin, first, end, &at, 3000, 0);
    check_model(builtin, first, end, &at, 600000, 0);
    vectors += 2;
    for (size_t i = first; i < end; i++) {
        if (shared_rows[i].above > 0 && shared_rows[i].meter == NS_METER_INPUT) {
            check_model(builtin, first, end, &at, 3000, shared_rows[i].above);
            check_model(builtin, first, end, &at, 3000, shared_rows[i].above + 1);
            vectors += 2;
        }
    }
}

/* The last second before a set of prices and its first, by date and by hour. */
static void
check_edges(const struct ns_catalogue *builtin, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        const struct shared_row *row = &shared_rows[i];
        if (i > first && same_set(row, row - 1)) {
            continue;
        }
        struct tm from = {.tm_year = 126, .tm_mon = 8, .tm_mday = 1};
        if (row->from[0] != '\0') {
            REQUIRE(sscanf(row->from, "%d-%d-%d", &from.tm_year, &from.tm_mon, &from.tm_mday) == 3);
            from.tm_year -= 1900;
            from.tm_mon -= 1;
        }
        int64_t midnight = timegm(&from);
        const char *const hours[] = {"00:00:00", row->start, row->end};
        for (size_t h = 0; h < sizeof(hours) / sizeof(hours[0]); h++) {
            int64_t hour = 0, minute = 0, second = 0;
            if (sscanf(hours[h], "%" SCNd64 ":%" SCNd64 ":%" SCNd64, &hour, &minute, &second) ==
                3) {
                int64_t edge = midnight + hour * 3600 + minute * 60 + second;
                check_at(builtin, first, end, edge - 1);
                check_at(builtin, first, end, edge);
            }
        }
    }
}

TEST(every_price_of_the_shared_file_is_charged_exactly_at_any_time)
{
    char *text = ns_test_read_file(shared_path("prices/prices.tsv"), NULL);
    if (text == NULL) {
        SKIP("shared prices (prices.tsv)");
    }
    each_row(text, keep_row, NULL);
    struct ns_catalogue *builtin = load_builtin();
    REQUIRE(builtin != NULL);
    size_t models = 0;
    for (size_t first = 0, end = 0; first < shared_row_count; first = end) {
        const struct shared_row *row = &shared_rows[first];
        while (end < shared_row_count && strcmp(shared_rows[end].model, row->model) == 0 &&
               strcmp(shared_rows[end].provider, row->provider) == 0) {
            end++;
        }
        models++;
        for (size_t m = 0; m < sizeof(any_times) / sizeof(any_times[0]) && !overlaid(row); m++) {
            check_at(builtin, first, end, any_times[m]);
        }
        if (!overlaid(row)) {
            check_edges(builtin, first, end);
        }
    }
    printf("# %zu vectors over %zu models, %zu rates\n", vectors, models, shared_row_count);
    CHECK(vectors > 20000);
    CHECK(shared_row_count >= 4174);
    ns_catalogue_free(builtin);
    free(text);
}
