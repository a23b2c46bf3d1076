/* SPDX-License-Identifier: Apache-2.0 */
/* Loading a catalogue: one line as one record, with every check that one line allows. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pricing/fields.h"
#include "pricing/loader.h"

static uint64_t
common_multiple(uint64_t a, uint64_t b)
{
    uint64_t x = a, y = b;
    while (y != 0) {
        uint64_t rest = x % y;
        x = y;
        y = rest;
    }
    unsigned __int128 multiple = (unsigned __int128)(a / x) * b;
    return multiple > NS_PRICE_UNIT_MAX ? NS_PRICE_UNIT_MAX + 1 : (uint64_t)multiple;
}

/* The number that all denominators divide, after a new one. */
static int
update_unit(struct ns_price_loader *loader)
{
    unsigned __int128 unit = loader->per_multiple;
    for (int i = 0; i < NS_PRICE_SIGNAL_COUNT && unit <= NS_PRICE_UNIT_MAX; i++) {
        unit *= loader->denominator_multiple;
    }
    if (unit > NS_PRICE_UNIT_MAX) {
        return ns_price_refuse(loader, "with this denominator prices can not be summed exactly");
    }
    loader->catalogue->unit = (uint64_t)unit;
    return 0;
}

/* --- records ---------------------------------------------------------------------------------- */

static struct ns_price_provider *
provider_now(struct ns_catalogue *c)
{
    return &c->providers[c->provider_count - 1];
}

static struct ns_price_model *
model_now(struct ns_catalogue *c)
{
    return &c->models[c->model_count - 1];
}

static uint32_t
provider_index(const struct ns_catalogue *c)
{
    return c->provider_count - 1;
}

/* A model is complete when the next begins: what can only be checked then. */
static int
end_set(struct ns_price_loader *loader)
{
    struct ns_catalogue *c = loader->catalogue;
    if (c->set_count == 0 || model_now(c)->set_count == 0) {
        return 0;
    }
    struct ns_price_set *set = &c->sets[c->set_count - 1];
    if (set->row_count == 0) {
        return ns_price_refuse(loader, "the set of prices before this line is empty");
    }
    ns_price_set_index(set, c->rows + set->row_first);
    return 0;
}

static int
end_model(struct ns_price_loader *loader)
{
    struct ns_catalogue *c = loader->catalogue;
    if (c->provider_count == 0 || provider_now(c)->model_count == 0) {
        return 0;
    }
    const struct ns_price_model *model = model_now(c);
    if (!loader->model_matched) {
        return ns_price_refuse(loader, "the model before this line, %.60s, matches no name",
                               model->id);
    }
    if (model->free && model->set_count > 0) {
        return ns_price_refuse(loader, "the model before this line, %.60s, is free but has prices",
                               model->id);
    }
    return end_set(loader);
}

static int
read_catalogue(struct ns_price_loader *loader, char **field)
{
    if (loader->named) {
        return ns_price_refuse(loader, "a second catalogue record");
    }
    if (strcmp(field[1], "1") != 0) {
        return ns_price_refuse(loader, "format %.20s is not known, only 1", field[1]);
    }
    size_t bytes = strlen(field[2]);
    if (bytes == 0 || bytes >= NS_CATALOGUE_VERSION_BYTES || strchr(field[2], ' ') != NULL) {
        return ns_price_refuse(loader, "the name of a catalogue has 1 to %d bytes, no blanks",
                               NS_CATALOGUE_VERSION_BYTES - 1);
    }
    memcpy(loader->catalogue->version, field[2], bytes + 1);
    loader->named = true;
    return 0;
}

static int
read_provider(struct ns_price_loader *loader, char **field)
{
    struct ns_catalogue *c = loader->catalogue;
    int status = end_model(loader);
    if (status != 0) {
        return status;
    }
    ns_price_lower_text(field[1]);
    if (field[1][0] == '\0') {
        return ns_price_refuse(loader, "a provider without a name");
    }
    if (c->provider_count == NS_CATALOGUE_PROVIDERS_MAX) {
        return ns_price_refuse(loader, "more than %d providers", NS_CATALOGUE_PROVIDERS_MAX);
    }
    if (!ns_price_index_insert(c, NS_PRICE_KEY_PROVIDER, 0, field[1], c->provider_count)) {
        return ns_price_refuse(loader, "a second provider, alias or host %.60s", field[1]);
    }
    c->providers[c->provider_count++] = (struct ns_price_provider){
        .name = field[1],
        .line = loader->line,
        .model_first = c->model_count,
        .rule_first = c->rule_count,
        .fallback_first = c->fallback_count,
    };
    return 0;
}

static int
read_alias(struct ns_price_loader *loader, char **field)
{
    ns_price_lower_text(field[1]);
    if (field[1][0] == '\0') {
        return ns_price_refuse(loader, "an alias without a name");
    }
    if (!ns_price_index_insert(loader->catalogue, NS_PRICE_KEY_PROVIDER, 0, field[1],
                               provider_index(loader->catalogue))) {
        return ns_price_refuse(loader, "a second provider, alias or host %.60s", field[1]);
    }
    return 0;
}

/* Both kinds of host records: equals or suffix, and a host of lower case. */
static int
read_host_into(struct ns_price_loader *loader, char **field, struct ns_price_host *host)
{
    ns_price_lower_text(field[2]);
    if (strcmp(field[1], "equals") != 0 && strcmp(field[1], "suffix") != 0) {
        return ns_price_refuse(loader, "a host matches by equals or suffix, not %.20s", field[1]);
    }
    if (field[2][0] == '\0') {
        return ns_price_refuse(loader, "an empty host");
    }
    *host = (struct ns_price_host){
        .host = field[2],
        .host_bytes = (uint16_t)strlen(field[2]),
        .suffix = field[1][0] == 's',
        .provider = provider_index(loader->catalogue),
    };
    return 0;
}

static int
read_host(struct ns_price_loader *loader, char **field)
{
    struct ns_catalogue *c = loader->catalogue;
    struct ns_price_host *host = &c->hosts[c->host_count];
    int status = read_host_into(loader, field, host);
    if (status != 0) {
        return status;
    }
    if (host->suffix) {
        c->host_count++;
        return 0;
    }
    char *as_alias[] = {field[0], field[2]};
    return read_alias(loader, as_alias);
}

static int
read_regional(struct ns_price_loader *loader, char **field)
{
    struct ns_catalogue *c = loader->catalogue;
    int status = read_host_into(loader, field, &c->regional[c->regional_count]);
    c->regional_count += status == 0;
    return status;
}

static int
read_fallback(struct ns_price_loader *loader, char **field)
{
    struct ns_catalogue *c = loader->catalogue;
    ns_price_lower_text(field[1]);
    loader->fallback_names[c->fallback_count++] =
        (struct ns_price_fallback_name){field[1], loader->line};
    provider_now(c)->fallback_count++;
    return 0;
}

static int
read_model_flags(struct ns_price_loader *loader, const char *field, struct ns_price_model *model)
{
    static const char *const known[] = {"-", "free", "deprecated", "free,deprecated"};
    size_t i = 0;
    while (i < sizeof(known) / sizeof(known[0]) && strcmp(field, known[i]) != 0) {
        i++;
    }
    if (i == sizeof(known) / sizeof(known[0])) {
        return ns_price_refuse(
            loader, "flags are -, free, deprecated or free,deprecated, not %.40s", field);
    }
    model->free = (i & 1) != 0;
    model->deprecated = (i & 2) != 0;
    return 0;
}

static int
read_model(struct ns_price_loader *loader, char **field)
{
    struct ns_catalogue *c = loader->catalogue;
    int status = end_model(loader);
    if (status != 0) {
        return status;
    }
    struct ns_price_model model = {
        .catalogue = c,
        .id = field[1],
        .provider = provider_index(c),
        .set_first = c->set_count,
        .scale_first = c->scale_count,
    };
    if (field[1][0] == '\0') {
        return ns_price_refuse(loader, "a model without a name");
    }
    if (!ns_price_is_none(field[2]) &&
        !ns_price_read_number(field[2], 1, NS_PRICE_TOKENS_MAX, &model.context_window)) {
        return ns_price_refuse(loader, "the context window is a number of tokens or -, not %.40s",
                               field[2]);
    }
    if (!ns_price_read_number(field[3], 1, NS_PRICE_TOKENS_MAX, &model.output_max)) {
        return ns_price_refuse(loader, "the longest answer is a number of tokens, not %.40s",
                               field[3]);
    }
    status = read_model_flags(loader, field[4], &model);
    if (status != 0) {
        return status;
    }
    if (!ns_price_index_insert(c, NS_PRICE_KEY_MODEL, model.provider, model.id, c->model_count)) {
        return ns_price_refuse(loader, "a second model %.60s of %.60s", model.id,
                               provider_now(c)->name);
    }
    c->models[c->model_count++] = model;
    provider_now(c)->model_count++;
    loader->model_matched = false;
    return 0;
}

static int
read_match(struct ns_price_loader *loader, char **field)
{
    static const char *const kinds[] = {"equals", "prefix", "suffix", "contains",
                                        "date8",  "date10", "digit"};
    struct ns_catalogue *c = loader->catalogue;
    uint8_t kind = 0;
    while (kind < sizeof(kinds) / sizeof(kinds[0]) && strcmp(field[1], kinds[kind]) != 0) {
        kind++;
    }
    if (kind == sizeof(kinds) / sizeof(kinds[0])) {
        return ns_price_refuse(loader,
                               "a match is equals, prefix, suffix, contains, date8, date10 "
                               "or digit, not %.40s",
                               field[1]);
    }
    ns_price_lower_text(field[2]);
    ns_price_lower_text(field[3]);
    if (field[3][0] == '\0') {
        return ns_price_refuse(loader, "the word that must not be in a name is a word or -");
    }
    loader->model_matched = true;
    if (kind == NS_PRICE_EQUALS && ns_price_is_none(field[3])) {
        /* Where two rows have one name the first has it. */
        ns_price_index_insert(c, NS_PRICE_KEY_EQUALS, provider_index(c), field[2],
                              c->model_count - 1);
        return 0;
    }
    c->rules[c->rule_count++] = (struct ns_price_rule){
        .pattern = field[2],
        .without = ns_price_is_none(field[3]) ? NULL : field[3],
        .pairs = ns_price_pairs(field[2], strlen(field[2])),
        .model = c->model_count - 1,
        .pattern_bytes = (uint16_t)strlen(field[2]),
        .kind = kind,
    };
    provider_now(c)->rule_count++;
    return 0;
}

static int
read_set(struct ns_price_loader *loader, char **field)
{
    struct ns_catalogue *c = loader->catalogue;
    int status = end_set(loader);
    if (status != 0) {
        return status;
    }
    struct ns_price_set set = {
        .from_unix_s = INT64_MIN, .utc_start_s = -1, .utc_end_s = -1, .row_first = c->row_count};
    if (!ns_price_is_none(field[1]) && !ns_price_read_date(field[1], &set.from_unix_s)) {
        return ns_price_refuse(loader, "%.40s is no date (YYYY-MM-DD)", field[1]);
    }
    bool windowed = !ns_price_is_none(field[2]);
    if (windowed == ns_price_is_none(field[3]) ||
        (windowed &&
         (!ns_price_read_time(field[2], &set.utc_start_s) ||
          !ns_price_read_time(field[3], &set.utc_end_s) || set.utc_start_s == set.utc_end_s))) {
        return ns_price_refuse(loader, "%.40s to %.40s is no daily window (HH:MM:SS, UTC)",
                               field[2], field[3]);
    }
    for (uint32_t i = model_now(c)->set_first; i < c->set_count; i++) {
        if (c->sets[i].from_unix_s == set.from_unix_s &&
            c->sets[i].utc_start_s == set.utc_start_s && c->sets[i].utc_end_s == set.utc_end_s) {
            return ns_price_refuse(loader, "a second set of %.60s for the same time",
                                   model_now(c)->id);
        }
    }
    if (model_now(c)->set_count == NS_CATALOGUE_SETS_OF_MODEL_MAX) {
        return ns_price_refuse(loader, "more than %d sets of a model",
                               NS_CATALOGUE_SETS_OF_MODEL_MAX);
    }
    if (model_now(c)->set_count == 0 && (set.from_unix_s != INT64_MIN || windowed)) {
        return ns_price_refuse(loader, "the first set of a model holds always");
    }
    c->sets[c->set_count++] = set;
    model_now(c)->set_count++;
    return 0;
}

static int
read_price(struct ns_price_loader *loader, char **field)
{
    struct ns_catalogue *c = loader->catalogue;
    if (model_now(c)->set_count == 0) {
        return ns_price_refuse(loader, "a price before the first set of its model");
    }
    struct ns_price_set *set = &c->sets[c->set_count - 1];
    int meter = ns_meter_find(field[1], strlen(field[1]));
    if (meter < 0) {
        return ns_price_refuse(loader, "no meter %.60s", field[1]);
    }
    uint64_t rate = 0, per = 0, above = 0;
    if (!ns_price_read_number(field[2], 0, NS_PRICE_RATE_PUSD_MAX, &rate)) {
        return ns_price_refuse(loader, "a rate is pico-dollars, at most %" PRId64 ", not %.40s",
                               (int64_t)NS_PRICE_RATE_PUSD_MAX, field[2]);
    }
    if (!ns_price_read_number(field[3], 1, NS_PRICE_PER_MAX, &per)) {
        return ns_price_refuse(loader, "a rate is for 1 to %d units, not %.40s", NS_PRICE_PER_MAX,
                               field[3]);
    }
    if (!ns_price_read_number(field[4], 0, NS_PRICE_TOKENS_MAX, &above)) {
        return ns_price_refuse(loader, "a context tier begins above a number of tokens, not %.40s",
                               field[4]);
    }
    bool further = false, seen = false;
    for (uint32_t i = 0; i < set->row_count; i++) {
        const struct ns_price_row *row = &c->rows[set->row_first + i];
        seen = seen || row->meter == meter;
        further = row->meter == meter && i + 1 == set->row_count && above > row->above_input_tokens;
    }
    if (seen ? !further : above != 0) {
        return ns_price_refuse(loader, "the tiers of %.60s do not ascend from 0 in one place",
                               field[1]);
    }
    if (set->row_count == NS_CATALOGUE_PRICES_OF_SET_MAX) {
        return ns_price_refuse(loader, "more than %d prices in a set",
                               NS_CATALOGUE_PRICES_OF_SET_MAX);
    }
    c->rows[c->row_count++] =
        (struct ns_price_row){(int64_t)rate, above, (uint32_t)per, (uint8_t)meter};
    set->row_count++;
    loader->per_multiple = common_multiple(loader->per_multiple, per);
    return update_unit(loader);
}

static int
read_scale(struct ns_price_loader *loader, char **field)
{
    static const char *const signals[] = {"tier", "speed", "region"};
    struct ns_catalogue *c = loader->catalogue;
    uint8_t signal = 0;
    while (signal < NS_PRICE_SIGNAL_COUNT && strcmp(field[1], signals[signal]) != 0) {
        signal++;
    }
    if (signal == NS_PRICE_SIGNAL_COUNT) {
        return ns_price_refuse(loader, "a scale is by tier, speed or region, not %.40s", field[1]);
    }
    int meter = NS_PRICE_ALL_TOKENS;
    if (strcmp(field[3], "tokens") != 0) {
        meter = ns_meter_find(field[3], strlen(field[3]));
        if (meter < 0 || !ns_price_is_token((enum ns_meter)meter)) {
            return ns_price_refuse(loader, "no meter of tokens %.60s", field[3]);
        }
    }
    uint64_t numerator = 0, denominator = 0;
    if (!ns_price_read_number(field[4], 1, NS_PRICE_RATIO_MAX, &numerator) ||
        !ns_price_read_number(field[5], 1, NS_PRICE_RATIO_MAX, &denominator)) {
        return ns_price_refuse(loader, "a scale is a fraction of 1 to %d, not %.20s/%.20s",
                               NS_PRICE_RATIO_MAX, field[4], field[5]);
    }
    ns_price_lower_text(field[2]);
    if (field[2][0] == '\0') {
        return ns_price_refuse(loader, "a scale without a value");
    }
    for (uint32_t i = model_now(c)->scale_first; i < c->scale_count; i++) {
        if (c->scales[i].signal == signal && c->scales[i].meter == meter &&
            strcmp(c->scales[i].value, field[2]) == 0) {
            return ns_price_refuse(loader, "a second scale of %.60s for %.40s", field[3], field[2]);
        }
    }
    if (model_now(c)->scale_count == NS_CATALOGUE_SCALES_OF_MODEL_MAX) {
        return ns_price_refuse(loader, "more than %d scales of a model",
                               NS_CATALOGUE_SCALES_OF_MODEL_MAX);
    }
    c->scales[c->scale_count++] = (struct ns_price_scale){
        .value = field[2],
        .numerator = (uint16_t)numerator,
        .denominator = (uint16_t)denominator,
        .signal = signal,
        .meter = (uint8_t)meter,
    };
    model_now(c)->scale_count++;
    loader->denominator_multiple = common_multiple(loader->denominator_multiple, denominator);
    return update_unit(loader);
}

/* --- the table -------------------------------------------------------------------------------- */

/* Inside what a record stands. */
enum place { ANYWHERE, IN_CATALOGUE, IN_PROVIDER, IN_MODEL };

static const struct {
    const char *word;
    uint32_t field_count;
    enum place place;
    int (*read)(struct ns_price_loader *loader, char **field);
} records[NS_PRICE_RECORD_COUNT] = {
    [NS_PRICE_RECORD_PRICE] = {"price", 5, IN_MODEL, read_price},
    [NS_PRICE_RECORD_MATCH] = {"match", 4, IN_MODEL, read_match},
    [NS_PRICE_RECORD_MODEL] = {"model", 5, IN_PROVIDER, read_model},
    [NS_PRICE_RECORD_SET] = {"set", 4, IN_MODEL, read_set},
    [NS_PRICE_RECORD_SCALE] = {"scale", 6, IN_MODEL, read_scale},
    [NS_PRICE_RECORD_PROVIDER] = {"provider", 2, IN_CATALOGUE, read_provider},
    [NS_PRICE_RECORD_ALIAS] = {"alias", 2, IN_PROVIDER, read_alias},
    [NS_PRICE_RECORD_HOST] = {"host", 3, IN_PROVIDER, read_host},
    [NS_PRICE_RECORD_REGIONAL] = {"regional", 3, IN_PROVIDER, read_regional},
    [NS_PRICE_RECORD_FALLBACK] = {"fallback", 2, IN_PROVIDER, read_fallback},
    [NS_PRICE_RECORD_CATALOGUE] = {"catalogue", 3, ANYWHERE, read_catalogue},
};

enum ns_price_record
ns_price_record_of(const char *line, size_t line_bytes)
{
    const char *tab = memchr(line, '\t', line_bytes);
    size_t word_bytes = tab == NULL ? line_bytes : (size_t)(tab - line);
    for (size_t i = 0; i < NS_PRICE_RECORD_COUNT; i++) {
        if (strlen(records[i].word) == word_bytes &&
            memcmp(line, records[i].word, word_bytes) == 0) {
            return (enum ns_price_record)i;
        }
    }
    return NS_PRICE_RECORD_COUNT;
}

int
ns_price_record_read(struct ns_price_loader *loader, enum ns_price_record record)
{
    const struct ns_catalogue *c = loader->catalogue;
    if (record == NS_PRICE_RECORD_COUNT) {
        return ns_price_refuse(loader, "no record %.40s", loader->field[0]);
    }
    if (loader->field_count != records[record].field_count) {
        return ns_price_refuse(loader, "a %s record has %u fields, not %u", records[record].word,
                               records[record].field_count, loader->field_count);
    }
    enum place place = !loader->named                                         ? ANYWHERE
                       : c->provider_count == 0                               ? IN_CATALOGUE
                       : c->providers[c->provider_count - 1].model_count == 0 ? IN_PROVIDER
                                                                              : IN_MODEL;
    if (records[record].place > place) {
        static const char *const before[] = {"", "catalogue", "provider", "model"};
        return ns_price_refuse(loader, "a %s record before the first %s record",
                               records[record].word, before[records[record].place]);
    }
    return records[record].read(loader, loader->field);
}

int
ns_price_records_end(struct ns_price_loader *loader)
{
    struct ns_catalogue *c = loader->catalogue;
    int status = end_model(loader);
    if (status != 0) {
        return status;
    }
    if (c->model_count == 0) {
        return ns_price_refuse(loader, "the catalogue has no model");
    }
    for (uint32_t i = 0; i < c->fallback_count; i++) {
        const struct ns_price_fallback_name *fallback = &loader->fallback_names[i];
        c->fallbacks[i] = ns_price_index_find(c, NS_PRICE_KEY_PROVIDER, 0, fallback->name);
        if (c->fallbacks[i] == NS_PRICE_NONE) {
            loader->line = fallback->line;
            return ns_price_refuse(loader, "no provider %.60s to fall back to", fallback->name);
        }
    }
    if (c->unit == 0) {
        c->unit = 1;
    }
    return 0;
}
