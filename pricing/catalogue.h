/* SPDX-License-Identifier: Apache-2.0 */
/* The loaded catalogue, for the files of this room only. Texts point into the catalogue's own copy
 * of the file. */
#ifndef NS_PRICING_CATALOGUE_H
#define NS_PRICING_CATALOGUE_H

#include "pricing/limits.h"
#include "pricing/pricing.h"

#define NS_PRICE_NONE UINT32_MAX

/* The rate of a meter from so many input tokens on. */
struct ns_price_row {
    int64_t rate_pusd;
    uint64_t above_input_tokens; /* 0: always; a meter's rows stand together, ascending */
    uint32_t per;
    uint8_t meter;
};

/* All rates of a model that hold together: from a date on, within a daily window. */
struct ns_price_set {
    int64_t from_unix_s; /* INT64_MIN: always */
    int32_t utc_start_s; /* -1: all day; else seconds of the day, start included, end not */
    int32_t utc_end_s;
    uint32_t row_first, row_count;
    /* 1 + the offset of the meter's first row, its fallbacks followed; 0: no price */
    uint16_t row_of_meter[NS_METER_COUNT];
};

enum ns_price_signal { NS_PRICE_TIER, NS_PRICE_SPEED, NS_PRICE_REGION, NS_PRICE_SIGNAL_COUNT };

#define NS_PRICE_ALL_TOKENS 0xff

/* A multiple of the standard price. */
struct ns_price_scale {
    const char *value;
    uint16_t numerator, denominator;
    uint8_t signal;
    uint8_t meter; /* or NS_PRICE_ALL_TOKENS */
};

struct ns_price_model {
    const struct ns_catalogue *catalogue;
    const char *id;
    uint64_t context_window; /* 0: not known */
    uint64_t output_max;
    uint32_t provider;
    uint32_t set_first, set_count;
    uint32_t scale_first, scale_count;
    bool free;
    bool deprecated;
};

enum ns_price_match_kind {
    NS_PRICE_EQUALS,
    NS_PRICE_PREFIX,
    NS_PRICE_SUFFIX,
    NS_PRICE_CONTAINS,
    NS_PRICE_DATE8,  /* pattern, "-", 8 digits */
    NS_PRICE_DATE10, /* pattern, "-", YYYY-MM-DD */
    NS_PRICE_DIGIT   /* pattern, a digit, anything */
};

/* How a name on the wire finds a model. */
struct ns_price_rule {
    const char *pattern; /* lower case */
    const char *without; /* a dash-separated word that the name must not have; NULL: none */
    uint64_t pairs;      /* ns_price_pairs of the pattern */
    uint32_t model;
    uint16_t pattern_bytes;
    uint8_t kind;
};

/* A host, or the end of one. */
struct ns_price_host {
    const char *host;
    uint16_t host_bytes;
    bool suffix;
    uint32_t provider;
};

struct ns_price_provider {
    const char *name;
    uint32_t line;
    uint32_t model_first, model_count;
    uint32_t rule_first, rule_count; /* rules other than equality, in the order of the file */
    uint32_t fallback_first, fallback_count;
};

/* What a slot of the hash index names. */
enum ns_price_key { NS_PRICE_KEY_PROVIDER, NS_PRICE_KEY_MODEL, NS_PRICE_KEY_EQUALS };

struct ns_price_slot {
    const char *text; /* NULL: empty */
    uint32_t provider;
    uint32_t value; /* index of the provider or model */
    uint8_t key;
};

struct ns_catalogue {
    char version[NS_CATALOGUE_VERSION_BYTES];
    char *text;
    size_t text_bytes;
    uint64_t unit; /* every denominator of a price divides it */

    struct ns_price_provider *providers;
    struct ns_price_model *models;
    struct ns_price_rule *rules;
    struct ns_price_set *sets;
    struct ns_price_row *rows;
    struct ns_price_scale *scales;
    struct ns_price_host *hosts;    /* ends of host names that belong to a provider */
    struct ns_price_host *regional; /* hosts that are dearer */
    uint32_t *fallbacks;            /* providers */
    struct ns_price_slot *slots;    /* open addressing, slot_count is a power of two */
    uint32_t provider_count, model_count, rule_count, set_count, row_count, scale_count;
    uint32_t host_count, regional_count, fallback_count, slot_count;
};

/* Lower case of ASCII, whatever the locale. */
static inline char
ns_price_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* match.c: the index. insert returns false where the key is there already. */
bool ns_price_index_insert(struct ns_catalogue *catalogue, enum ns_price_key key, uint32_t provider,
                           const char *text, uint32_t value);
uint32_t ns_price_index_find(const struct ns_catalogue *catalogue, enum ns_price_key key,
                             uint32_t provider, const char *text);
/* Which pairs of neighbouring bytes stand in a text, as a set of 64: a name can only have a pattern
 * in it whose set is a subset of its own. */
uint64_t ns_price_pairs(const char *text, size_t bytes);
/* The row of this name of a provider of the catalogue, not by its rules: for tests. */
const struct ns_price_model *ns_price_model_of_id(const struct ns_catalogue *catalogue,
                                                  const char *provider, const char *id);
bool ns_price_host_matches(const struct ns_price_host *host, const char *name);

/* cost.c: a meter that is a count of tokens (and so scaled), and the meters whose price stands in
 * for a missing one. */
bool ns_price_is_token(enum ns_meter meter);
void ns_price_set_index(struct ns_price_set *set, const struct ns_price_row *rows);

/* A bill being added up: whole pico-dollars, and a rest in 1/unit of one. */
struct ns_price_sum {
    unsigned __int128 pusd;
    unsigned __int128 rest;
    uint64_t unit;
    bool overflow;
};

/* The set of a model in force at this time; NULL where it has none. */
const struct ns_price_set *ns_price_set_at(const struct ns_price_model *model, int64_t at_unix_s);

/* Adds count units of a meter. total_input_tokens chooses the context tier; discounts: whether
 * scales below 1 count. Returns 0 or -ENOENT. */
int ns_price_add(struct ns_price_sum *sum, const struct ns_price_model *model,
                 const struct ns_price_set *set, const struct ns_price_terms *terms, bool discounts,
                 enum ns_meter meter, uint64_t count, uint64_t total_input_tokens);

/* Rounds to nano-dollars, half to even. Returns 0 or -ERANGE. */
int ns_price_sum_nanousd(const struct ns_price_sum *sum, int64_t *nanousd);

#endif
