/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exact cost of a usage.
 *
 * A summand is count × rate ÷ per × scale. Whole pico-dollars and the rest are kept apart; every
 * rest is a multiple of 1/unit of a pico-dollar, where unit is a number that all denominators of
 * the catalogue divide (checked when it was loaded). So the sum is exact, and is rounded once.
 */
#include <errno.h>
#include <string.h>

#include "pricing/catalogue.h"

#define SECONDS_PER_DAY 86400
#define PUSD_PER_NANOUSD 1000
/* Above any int64 of nano-dollars by far, and small enough to multiply by three scales. */
#define PUSD_MAX ((unsigned __int128)1 << 90)

_Static_assert(NS_PRICE_RATIO_MAX <= 1024, "three ratios times PUSD_MAX stay below 2^120");

/* --- meters ----------------------------------------------------------------------------------- */

#define NONE NS_METER_COUNT
#define FALLBACKS 4

/* For each meter: is it a count of tokens (service tiers scale only those), and whose price stands
 * in where it has none of its own, in order. */
static const struct {
    bool token;
    uint8_t fallback[FALLBACKS];
} meters[NS_METER_COUNT] = {
#define TOKEN(meter, ...) [NS_METER_##meter] = {true, {__VA_ARGS__}}
#define UNIT(meter) [NS_METER_##meter] = {false, {NONE, NONE, NONE, NONE}}
    TOKEN(INPUT, NONE, NONE, NONE, NONE),
    TOKEN(CACHE_READ, NS_METER_INPUT, NONE, NONE, NONE),
    TOKEN(CACHE_WRITE, NS_METER_INPUT, NONE, NONE, NONE),
    TOKEN(CACHE_WRITE_1H, NS_METER_CACHE_WRITE, NS_METER_INPUT, NONE, NONE),
    TOKEN(OUTPUT, NONE, NONE, NONE, NONE),
    TOKEN(OUTPUT_REASONING, NS_METER_OUTPUT, NONE, NONE, NONE),
    TOKEN(INPUT_AUDIO, NS_METER_INPUT, NONE, NONE, NONE),
    TOKEN(CACHE_AUDIO_READ, NS_METER_CACHE_READ, NS_METER_INPUT_AUDIO, NS_METER_INPUT, NONE),
    TOKEN(OUTPUT_AUDIO, NS_METER_OUTPUT, NONE, NONE, NONE),
    TOKEN(INPUT_IMAGE, NS_METER_INPUT, NONE, NONE, NONE),
    TOKEN(CACHE_IMAGE_READ, NS_METER_CACHE_READ, NS_METER_INPUT_IMAGE, NS_METER_INPUT, NONE),
    TOKEN(OUTPUT_IMAGE, NS_METER_OUTPUT, NONE, NONE, NONE),
    TOKEN(INPUT_VIDEO, NS_METER_INPUT, NONE, NONE, NONE),
    TOKEN(CACHE_VIDEO_READ, NS_METER_CACHE_READ, NS_METER_INPUT_VIDEO, NS_METER_INPUT, NONE),
    TOKEN(OUTPUT_VIDEO, NS_METER_OUTPUT, NONE, NONE, NONE),
    TOKEN(OUTPUT_CITATION, NS_METER_OUTPUT, NONE, NONE, NONE),
    UNIT(WEB_SEARCHES),
    UNIT(STORAGE_SEARCHES),
    UNIT(SOCIAL_SEARCHES),
    UNIT(CODE_EXECUTIONS),
    UNIT(SEARCH_UNITS),
    UNIT(REQUESTS),
    UNIT(INPUT_DOCUMENT_PAGES),
    [NS_METER_INPUT_ANNOTATED_DOCUMENT_PAGES] = {false,
                                                 {NS_METER_INPUT_DOCUMENT_PAGES, NONE, NONE, NONE}},
    UNIT(AUDIO_SECONDS),
    [NS_METER_INPUT_AUDIO_SECONDS] = {false, {NS_METER_AUDIO_SECONDS, NONE, NONE, NONE}},
    [NS_METER_OUTPUT_AUDIO_SECONDS] = {false, {NS_METER_AUDIO_SECONDS, NONE, NONE, NONE}},
    UNIT(INPUT_CHARACTERS),
    UNIT(INPUT_PIXELS),
    UNIT(INPUT_TEXT_MESSAGES),
    UNIT(RERANK_SEARCHES),
#undef UNIT
#undef TOKEN
};

bool
ns_price_is_token(enum ns_meter meter)
{
    return meters[meter].token;
}

void
ns_price_set_index(struct ns_price_set *set, const struct ns_price_row *rows)
{
    uint16_t own[NS_METER_COUNT] = {0};
    for (uint32_t i = set->row_count; i-- > 0;) {
        own[rows[i].meter] = (uint16_t)(i + 1);
    }
    for (uint32_t m = 0; m < NS_METER_COUNT; m++) {
        uint16_t row = own[m];
        for (uint32_t i = 0; row == 0 && i < FALLBACKS && meters[m].fallback[i] != NONE; i++) {
            row = own[meters[m].fallback[i]];
        }
        set->row_of_meter[m] = row;
    }
}

/* --- which price ------------------------------------------------------------------------------ */

static bool
set_holds(const struct ns_price_set *set, int64_t at_unix_s, int32_t second_of_day)
{
    if (at_unix_s < set->from_unix_s) {
        return false;
    }
    if (set->utc_start_s < 0) {
        return true;
    }
    bool begun = second_of_day >= set->utc_start_s, ended = second_of_day >= set->utc_end_s;
    return set->utc_start_s < set->utc_end_s ? begun && !ended : begun || !ended;
}

/* The last that holds wins; the first always does. */
const struct ns_price_set *
ns_price_set_at(const struct ns_price_model *model, int64_t at_unix_s)
{
    const struct ns_price_set *sets = model->catalogue->sets + model->set_first;
    int32_t second_of_day =
        (int32_t)((at_unix_s % SECONDS_PER_DAY + SECONDS_PER_DAY) % SECONDS_PER_DAY);
    for (uint32_t i = model->set_count; i-- > 0;) {
        if (set_holds(&sets[i], at_unix_s, second_of_day)) {
            return &sets[i];
        }
    }
    return NULL;
}

bool
ns_price_has(const struct ns_price_model *model, enum ns_meter meter, int64_t at_unix_s)
{
    const struct ns_price_set *set = ns_price_set_at(model, at_unix_s);
    return set != NULL && set->row_of_meter[meter] != 0;
}

static const struct ns_price_row *
row_of(const struct ns_catalogue *catalogue, const struct ns_price_set *set, enum ns_meter meter,
       uint64_t total_input_tokens)
{
    if (set == NULL || set->row_of_meter[meter] == 0) {
        return NULL;
    }
    uint32_t i = set->row_of_meter[meter] - 1u;
    const struct ns_price_row *rows = catalogue->rows + set->row_first;
    while (i + 1 < set->row_count && rows[i + 1].meter == rows[i].meter &&
           total_input_tokens > rows[i + 1].above_input_tokens) {
        i++;
    }
    return &rows[i];
}

/* --- scales ----------------------------------------------------------------------------------- */

static bool
same_word(const char *lower, const char *word)
{
    while (*lower != '\0' && *lower == ns_price_lower(*word)) {
        lower++;
        word++;
    }
    return *lower == *word;
}

/* A row for the meter itself wins over one for all tokens. */
static const struct ns_price_scale *
find_scale(const struct ns_price_model *model, enum ns_price_signal signal, const char *value,
           enum ns_meter meter)
{
    const struct ns_price_scale *found = NULL;
    if (value == NULL || value[0] == '\0') {
        return NULL;
    }
    for (uint32_t i = 0; i < model->scale_count; i++) {
        const struct ns_price_scale *scale = &model->catalogue->scales[model->scale_first + i];
        if (scale->signal == signal && same_word(scale->value, value)) {
            if (scale->meter == meter) {
                return scale;
            }
            found = scale->meter == NS_PRICE_ALL_TOKENS ? scale : found;
        }
    }
    return found;
}

static const char *
region_of(const struct ns_price_model *model, const struct ns_price_terms *terms)
{
    const struct ns_catalogue *catalogue = model->catalogue;
    for (uint32_t i = 0; terms->host != NULL && i < catalogue->regional_count; i++) {
        if (ns_price_host_matches(&catalogue->regional[i], terms->host)) {
            return "regional";
        }
    }
    return terms->region;
}

struct ratio {
    uint64_t numerator, denominator;
};

static struct ratio
ratio_of(const struct ns_price_model *model, const struct ns_price_terms *terms, bool discounts,
         enum ns_meter meter)
{
    struct ratio ratio = {1, 1};
    if (model->scale_count == 0 || !meters[meter].token) {
        return ratio;
    }
    const char *const values[NS_PRICE_SIGNAL_COUNT] = {
        [NS_PRICE_TIER] = terms->service_tier,
        [NS_PRICE_SPEED] = terms->speed,
        [NS_PRICE_REGION] = region_of(model, terms),
    };
    for (int signal = 0; signal < NS_PRICE_SIGNAL_COUNT; signal++) {
        const struct ns_price_scale *scale =
            find_scale(model, (enum ns_price_signal)signal, values[signal], meter);
        if (scale != NULL && (discounts || scale->numerator > scale->denominator)) {
            ratio.numerator *= scale->numerator;
            ratio.denominator *= scale->denominator;
        }
    }
    return ratio;
}

/* --- the sum ---------------------------------------------------------------------------------- */

static void
add_amount(struct ns_price_sum *sum, const struct ns_price_row *row, uint64_t count,
           struct ratio ratio)
{
    /* Below 2^64 × 2^60. */
    unsigned __int128 amount = (unsigned __int128)count * (uint64_t)row->rate_pusd;
    unsigned __int128 whole = amount / row->per;
    uint64_t rest = (uint64_t)(amount % row->per), denominator = row->per;
    if (whole > PUSD_MAX) {
        sum->overflow = true;
        return;
    }
    unsigned __int128 over = rest; /* in 1/denominator */
    if (ratio.numerator != ratio.denominator) {
        /* (whole + rest/per) × n/d = whole×n/d + rest×n/(per×d): per×d divides unit < 2^62. */
        whole *= ratio.numerator;
        over *= ratio.numerator;
        over += whole % ratio.denominator * row->per;
        whole /= ratio.denominator;
        denominator *= ratio.denominator;
    }
    sum->pusd += whole;
    sum->rest += over * (sum->unit / denominator);
    if (sum->rest >= sum->unit) {
        sum->pusd += sum->rest / sum->unit;
        sum->rest %= sum->unit;
    }
    sum->overflow = sum->overflow || sum->pusd > PUSD_MAX;
}

int
ns_price_add(struct ns_price_sum *sum, const struct ns_price_model *model,
             const struct ns_price_set *set, const struct ns_price_terms *terms, bool discounts,
             enum ns_meter meter, uint64_t count, uint64_t total_input_tokens)
{
    if (count == 0 || model->free) {
        return 0;
    }
    const struct ns_price_row *row = row_of(model->catalogue, set, meter, total_input_tokens);
    if (row == NULL) {
        /* Every call is one request; where that has no price it costs nothing by itself. */
        return meter == NS_METER_REQUESTS && set != NULL ? 0 : -ENOENT;
    }
    add_amount(sum, row, count, ratio_of(model, terms, discounts, meter));
    return 0;
}

int
ns_price_sum_nanousd(const struct ns_price_sum *sum, int64_t *nanousd)
{
    if (sum->overflow) {
        return -ERANGE;
    }
    unsigned __int128 whole = sum->pusd / PUSD_PER_NANOUSD;
    unsigned __int128 one = (unsigned __int128)sum->unit * PUSD_PER_NANOUSD;
    unsigned __int128 rest = sum->pusd % PUSD_PER_NANOUSD * sum->unit + sum->rest;
    if (2 * rest > one || (2 * rest == one && (whole & 1) != 0)) {
        whole++;
    }
    if (whole > INT64_MAX) {
        return -ERANGE;
    }
    *nanousd = (int64_t)whole;
    return 0;
}

/* --- a bill ----------------------------------------------------------------------------------- */

static uint64_t
add_saturating(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* Cached or not: what chooses the context tier. */
static uint64_t
total_input_tokens(const struct ns_usage *usage)
{
    uint64_t cached =
        add_saturating(ns_usage_cached_input_tokens(usage), ns_usage_cache_write_tokens(usage));
    return add_saturating(ns_usage_input_tokens(usage), cached);
}

static int
add_part(struct ns_price_sum *sum, const struct ns_price_part *part,
         const struct ns_price_terms *terms, enum ns_meter *unpriced)
{
    const struct ns_usage *usage = part->usage;
    const struct ns_price_set *set =
        part->model == NULL ? NULL : ns_price_set_at(part->model, terms->at_unix_s);
    uint64_t total = total_input_tokens(usage);
    for (int m = 0; m < NS_METER_COUNT; m++) {
        enum ns_meter meter = (enum ns_meter)m;
        uint64_t count = (usage->present >> m & 1) != 0 ? usage->count[m] : 0;
        if (count == 0) {
            continue;
        }
        if (part->model == NULL ||
            ns_price_add(sum, part->model, set, terms, true, meter, count, total) != 0) {
            *unpriced = meter;
            return -ENOENT;
        }
    }
    return 0;
}

int
ns_price_cost_parts(const struct ns_price_part *parts, size_t count,
                    const struct ns_price_terms *terms, int64_t *cost_nanousd,
                    enum ns_meter *unpriced)
{
    struct ns_price_sum sum = {.unit = 1};
    for (size_t i = 0; i < count; i++) {
        if (parts[i].model != NULL) {
            sum.unit = parts[i].model->catalogue->unit;
            break;
        }
    }
    for (size_t i = 0; i < count; i++) {
        int status = add_part(&sum, &parts[i], terms, unpriced);
        if (status != 0) {
            return status;
        }
    }
    return ns_price_sum_nanousd(&sum, cost_nanousd);
}

int
ns_price_cost(const struct ns_price_model *model, const struct ns_price_terms *terms,
              const struct ns_usage *usage, int64_t *cost_nanousd, enum ns_meter *unpriced)
{
    const struct ns_price_part part = {model, usage};
    return ns_price_cost_parts(&part, 1, terms, cost_nanousd, unpriced);
}
