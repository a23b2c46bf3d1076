/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a provider and a model as the wire names them to a row.
 *
 * The meaning is the upstream's: the first model of the provider, in the order of the file, one of
 * whose rules matches. Five of six rules are plain equality, so equality is one look-up in a hash
 * index; only the others that stand before the row so found are tried one after the other, most of
 * them ruled out by a set of the pairs of bytes in the name.
 */
#include <string.h>

#include "pricing/catalogue.h"

/* --- the index -------------------------------------------------------------------------------- */

static uint32_t
slot_of(const struct ns_catalogue *catalogue, enum ns_price_key key, uint32_t provider,
        const char *text)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ (((uint64_t)provider << 2) | (uint64_t)key);
    for (; *text != '\0'; text++) { /* FNV-1a */
        hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    }
    return (uint32_t)(hash ^ (hash >> 32)) & (catalogue->slot_count - 1);
}

/* The slot of this key, or the empty one where it belongs: at least half of all slots are empty. */
static struct ns_price_slot *
find_slot(const struct ns_catalogue *catalogue, enum ns_price_key key, uint32_t provider,
          const char *text)
{
    uint32_t at = slot_of(catalogue, key, provider, text);
    for (;; at = (at + 1) & (catalogue->slot_count - 1)) {
        struct ns_price_slot *slot = &catalogue->slots[at];
        if (slot->text == NULL ||
            (slot->key == key && slot->provider == provider && strcmp(slot->text, text) == 0)) {
            return slot;
        }
    }
}

bool
ns_price_index_insert(struct ns_catalogue *catalogue, enum ns_price_key key, uint32_t provider,
                      const char *text, uint32_t value)
{
    struct ns_price_slot *slot = find_slot(catalogue, key, provider, text);
    if (slot->text != NULL) {
        return false;
    }
    *slot = (struct ns_price_slot){text, provider, value, (uint8_t)key};
    return true;
}

uint32_t
ns_price_index_find(const struct ns_catalogue *catalogue, enum ns_price_key key, uint32_t provider,
                    const char *text)
{
    const struct ns_price_slot *slot = find_slot(catalogue, key, provider, text);
    return slot->text == NULL ? NS_PRICE_NONE : slot->value;
}

/* --- rules ------------------------------------------------------------------------------------ */

uint64_t
ns_price_pairs(const char *text, size_t bytes)
{
    uint64_t pairs = 0;
    for (size_t i = 1; i < bytes; i++) {
        uint32_t pair = (uint32_t)(uint8_t)text[i - 1] << 8 | (uint8_t)text[i];
        pairs |= UINT64_C(1) << (pair * UINT32_C(2654435769) >> 26);
    }
    return pairs;
}

static bool
has_digits(const char *text, const char *form)
{
    for (; *form != '\0'; form++, text++) {
        if (*form == '0' ? *text < '0' || *text > '9' : *text != *form) {
            return false;
        }
    }
    return true;
}

/* Does "-word" stand in the name, followed by "-" or the end? */
static bool
has_word(const char *name, const char *word)
{
    size_t word_bytes = strlen(word);
    for (const char *dash = strchr(name, '-'); dash != NULL; dash = strchr(dash + 1, '-')) {
        char after = '\0';
        if (strncmp(dash + 1, word, word_bytes) == 0) {
            after = dash[1 + word_bytes];
            if (after == '\0' || after == '-') {
                return true;
            }
        }
    }
    return false;
}

static bool
rule_matches(const struct ns_price_rule *rule, const char *name, size_t name_bytes)
{
    size_t bytes = rule->pattern_bytes;
    if (name_bytes < bytes || (rule->without != NULL && has_word(name, rule->without))) {
        return false;
    }
    const char *rest = name + bytes;
    bool begins = memcmp(name, rule->pattern, bytes) == 0;
    switch ((enum ns_price_match_kind)rule->kind) {
    case NS_PRICE_EQUALS:
        return begins && *rest == '\0';
    case NS_PRICE_PREFIX:
        return begins;
    case NS_PRICE_SUFFIX:
        return memcmp(name + name_bytes - bytes, rule->pattern, bytes) == 0;
    case NS_PRICE_CONTAINS:
        return strstr(name, rule->pattern) != NULL;
    case NS_PRICE_DATE8:
        return begins && has_digits(rest, "-00000000") && rest[9] == '\0';
    case NS_PRICE_DATE10:
        return begins && has_digits(rest, "-0000-00-00") && rest[11] == '\0';
    case NS_PRICE_DIGIT:
        return begins && has_digits(rest, "0");
    }
    return false;
}

static const struct ns_price_model *
find_in(const struct ns_catalogue *catalogue, uint32_t provider_index, const char *name,
        size_t name_bytes)
{
    const struct ns_price_provider *provider = &catalogue->providers[provider_index];
    uint32_t found = ns_price_index_find(catalogue, NS_PRICE_KEY_EQUALS, provider_index, name);
    uint64_t pairs = provider->rule_count == 0 ? 0 : ns_price_pairs(name, name_bytes);
    for (uint32_t i = 0; i < provider->rule_count; i++) {
        const struct ns_price_rule *rule = &catalogue->rules[provider->rule_first + i];
        if (rule->model >= found) {
            break;
        }
        if ((rule->pairs & ~pairs) == 0 && rule_matches(rule, name, name_bytes)) {
            found = rule->model;
            break;
        }
    }
    return found == NS_PRICE_NONE ? NULL : &catalogue->models[found];
}

/* --- providers -------------------------------------------------------------------------------- */

bool
ns_price_host_matches(const struct ns_price_host *host, const char *name)
{
    size_t bytes = strlen(name);
    if (bytes < host->host_bytes || (!host->suffix && bytes != host->host_bytes)) {
        return false;
    }
    const char *end = name + bytes - host->host_bytes;
    for (size_t i = 0; i < host->host_bytes; i++) {
        if (ns_price_lower(end[i]) != host->host[i]) {
            return false;
        }
    }
    return true;
}

static uint32_t
find_provider(const struct ns_catalogue *catalogue, const char *name)
{
    uint32_t found = ns_price_index_find(catalogue, NS_PRICE_KEY_PROVIDER, 0, name);
    for (uint32_t i = 0; found == NS_PRICE_NONE && i < catalogue->host_count; i++) {
        if (ns_price_host_matches(&catalogue->hosts[i], name)) {
            found = catalogue->hosts[i].provider;
        }
    }
    return found;
}

/* Copies in lower case. Returns the length, or 0 where the text is empty or too long. */
static size_t
lower_copy(const char *text, char copy[static NS_PRICE_NAME_BYTES_MAX + 1])
{
    size_t bytes = 0;
    for (; text[bytes] != '\0'; bytes++) {
        if (bytes == NS_PRICE_NAME_BYTES_MAX) {
            return 0;
        }
        copy[bytes] = ns_price_lower(text[bytes]);
    }
    copy[bytes] = '\0';
    return bytes;
}

/* The provider's own rows, then those of its fallbacks. */
static const struct ns_price_model *
find_with_fallbacks(const struct ns_catalogue *catalogue, uint32_t provider_index, const char *name,
                    size_t name_bytes)
{
    const struct ns_price_provider *provider = &catalogue->providers[provider_index];
    const struct ns_price_model *model = find_in(catalogue, provider_index, name, name_bytes);
    for (uint32_t i = 0; model == NULL && i < provider->fallback_count; i++) {
        uint32_t other = catalogue->fallbacks[provider->fallback_first + i];
        model = find_in(catalogue, other, name, name_bytes);
    }
    return model;
}

const struct ns_price_model *
ns_catalogue_find(const struct ns_catalogue *catalogue, const char *provider, const char *model)
{
    char name[NS_PRICE_NAME_BYTES_MAX + 1];
    if (provider == NULL || model == NULL || lower_copy(provider, name) == 0) {
        return NULL;
    }
    uint32_t provider_index = find_provider(catalogue, name);
    size_t bytes = lower_copy(model, name);
    if (provider_index == NS_PRICE_NONE || bytes == 0) {
        return NULL;
    }
    return find_with_fallbacks(catalogue, provider_index, name, bytes);
}

const struct ns_price_model *
ns_price_model_of_id(const struct ns_catalogue *catalogue, const char *provider, const char *id)
{
    uint32_t provider_index = ns_price_index_find(catalogue, NS_PRICE_KEY_PROVIDER, 0, provider);
    uint32_t found = ns_price_index_find(catalogue, NS_PRICE_KEY_MODEL, provider_index, id);
    return found == NS_PRICE_NONE ? NULL : &catalogue->models[found];
}

/* --- the dearest ------------------------------------------------------------------------------ */

/* What a million tokens each of input and output cost; -1 where that has no price. */
static int64_t
nominal_nanousd(const struct ns_price_model *model, int64_t at_unix_s)
{
    const struct ns_price_terms terms = {.at_unix_s = at_unix_s};
    struct ns_usage usage = {0};
    ns_usage_set(&usage, NS_METER_INPUT, 1000000);
    ns_usage_set(&usage, NS_METER_OUTPUT, 1000000);
    int64_t nanousd = 0;
    enum ns_meter unpriced = NS_METER_INPUT;
    return ns_price_cost(model, &terms, &usage, &nanousd, &unpriced) == 0 ? nanousd : -1;
}

const struct ns_price_model *
ns_catalogue_dearest(const struct ns_catalogue *catalogue, const char *provider, int64_t at_unix_s)
{
    char name[NS_PRICE_NAME_BYTES_MAX + 1];
    if (provider == NULL || lower_copy(provider, name) == 0) {
        return NULL;
    }
    uint32_t index = find_provider(catalogue, name);
    if (index == NS_PRICE_NONE) {
        return NULL;
    }
    const struct ns_price_provider *rows = &catalogue->providers[index];
    const struct ns_price_model *dearest = NULL;
    int64_t most_nanousd = 0;
    for (uint32_t i = 0; i < rows->model_count; i++) {
        const struct ns_price_model *model = &catalogue->models[rows->model_first + i];
        int64_t nanousd = nominal_nanousd(model, at_unix_s);
        if (nanousd > most_nanousd) {
            most_nanousd = nanousd;
            dearest = model;
        }
    }
    return dearest;
}
