/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/facts.h"

#include <stdbool.h>
#include <string.h>

/* The segment of this number, or NULL past the last. */
static const char *
segment_at(const char *path, uint8_t number)
{
    for (; number > 0 && path != NULL; number--) {
        path = strchr(path, '/');
        path = path ? path + 1 : NULL;
    }
    return path;
}

static bool
is_segment_end(char c)
{
    return c == '/' || c == '\0' || c == '|';
}

/* Does what begins here offer this key? */
static bool
alternative_is(const char *alternative, const char *key, size_t key_bytes)
{
    size_t i = 0;
    while (i < key_bytes && alternative[i] == key[i] && !is_segment_end(key[i])) {
        i++;
    }
    return i == key_bytes && is_segment_end(alternative[i]);
}

/* Does the segment offer this key? *last: it ends the path. */
static bool
segment_offers(const char *segment, const char *key, size_t key_bytes, bool *last)
{
    bool offered = alternative_is(segment, key, key_bytes);
    segment += offered ? key_bytes : 0;
    for (; *segment != '/' && *segment != '\0'; segment++) {
        offered |= *segment == '|' && alternative_is(segment + 1, key, key_bytes);
    }
    *last = *segment == '\0';
    return offered;
}

/* --- the index ------------------------------------------------------------------------------ */

static uint32_t
hash_of(uint32_t segment, const char *key, size_t key_bytes)
{
    uint32_t hash = segment * 31 + (uint32_t)key_bytes * 5;
    if (key_bytes > 0) {
        hash +=
            (uint8_t)key[0] * 3U + (uint8_t)key[key_bytes / 2] * 7U + (uint8_t)key[key_bytes - 1];
    }
    return hash;
}

/* Where the key is, or would be. At least half of the places are free. */
static struct ns_fact_key *
place_of(struct ns_fact_index *index, uint32_t segment, const char *key, size_t key_bytes)
{
    for (uint32_t hash = hash_of(segment, key, key_bytes);; hash++) {
        struct ns_fact_key *place = &index->keys[hash % NS_FACTS_KEYS_MAX];
        if (place->text == NULL || (place->bytes == key_bytes && place->segment == segment &&
                                    memcmp(place->text, key, key_bytes) == 0)) {
            return place;
        }
    }
}

/* False: there is no room. */
static bool
fill_index(const struct ns_fact_table *table)
{
    uint32_t used = 0;
    for (uint32_t rule = 0; rule < table->count; rule++) {
        const char *key = table->rules[rule].path;
        uint32_t segment = 0;
        for (const char *end = key; used <= NS_FACTS_KEYS_MAX / 2; end++) {
            if (!is_segment_end(*end)) {
                continue;
            }
            size_t bytes = (size_t)(end - key);
            struct ns_fact_key *place = place_of(table->index, segment, key, bytes);
            used += place->text == NULL;
            place->text = key;
            place->bytes = (uint32_t)bytes;
            place->segment = segment;
            place->rules |= UINT64_C(1) << rule;
            if (strchr(end, '/') == NULL) {
                place->ends |= UINT64_C(1) << rule;
            }
            if (*end == '\0') {
                break;
            }
            segment += *end == '/';
            key = end + 1;
        }
    }
    return used <= NS_FACTS_KEYS_MAX / 2;
}

static bool
is_indexed(const struct ns_fact_table *table)
{
    uint32_t *state = &table->index->state;
    uint32_t seen = __atomic_load_n(state, __ATOMIC_ACQUIRE);
    if (seen == NS_FACT_INDEX_NONE &&
        __atomic_compare_exchange_n(state, &seen, NS_FACT_INDEX_BEGUN, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_ACQUIRE)) {
        seen = fill_index(table) ? NS_FACT_INDEX_MADE : NS_FACT_INDEX_TOO_SMALL;
        __atomic_store_n(state, seen, __ATOMIC_RELEASE);
    }
    return seen == NS_FACT_INDEX_MADE;
}

/* --- matching ------------------------------------------------------------------------------- */

/* Which of the level's rules does this key lead on or fulfil? *ends: which it fulfils. */
static uint64_t
rules_of(const struct ns_facts_level *level, const char *key, size_t key_bytes, uint64_t *ends)
{
    uint64_t rules = 0;
    *ends = 0;
    if (is_indexed(level->table)) {
        const struct ns_fact_key *found =
            place_of(level->table->index, level->segment, key, key_bytes);
        *ends = level->live & found->ends;
        return level->live & found->rules;
    }
    for (uint64_t left = level->live; left != 0; left &= left - 1) {
        const char *path = level->table->rules[__builtin_ctzll(left)].path;
        const char *segment = segment_at(path, level->segment);
        bool last;
        if (segment != NULL && segment_offers(segment, key, key_bytes, &last)) {
            uint64_t rule = left & -left;
            rules |= rule;
            *ends |= last ? rule : 0;
        }
    }
    return rules;
}

/* What a member with this key (or "[]") of the innermost container matches. */
static void
match(struct ns_facts *facts, const char *key, size_t key_bytes)
{
    const struct ns_facts_level *level = &facts->levels[facts->depth];
    const struct ns_fact_table *below = NULL;
    facts->next =
        (struct ns_facts_level){.table = level->table, .segment = (uint8_t)(level->segment + 1)};
    if (level->live == 0) {
        return;
    }
    uint64_t ends;
    facts->next.live = rules_of(level, key, key_bytes, &ends);
    facts->next.live &= ~ends;
    for (; ends != 0; ends &= ends - 1) {
        const struct ns_fact_rule *rule = &level->table->rules[__builtin_ctzll(ends)];
        facts->next.fact = rule->fact ? rule->fact : facts->next.fact;
        below = rule->below ? rule->below : below;
    }
    if (below != NULL) {
        facts->next.table = below;
        facts->next.segment = 0;
        facts->next.live = UINT64_MAX >> (64 - below->count);
    }
}

void
ns_facts_init(struct ns_facts *facts, const struct ns_fact_table *table)
{
    facts->table = table;
    facts->depth = 0;
    facts->levels[0] = (struct ns_facts_level){.table = table}; /* around the document */
    facts->next =
        (struct ns_facts_level){.table = table, .live = UINT64_MAX >> (64 - table->count)};
}

static void
begin(struct ns_facts *facts, const struct ns_json_input *input, ns_fact_listener *listener,
      void *context)
{
    struct ns_facts_level entered = facts->next;
    facts->next = (struct ns_facts_level){.table = facts->table};
    if (entered.fact != 0) {
        listener(context, entered.fact, input);
    }
    if (facts->depth < NS_FACTS_DEPTH_MAX && (entered.live != 0 || entered.fact != 0)) {
        facts->levels[++facts->depth] = entered;
    }
    if (facts->depth == input->depth && input->event == NS_JSON_ARRAY_BEGIN) {
        match(facts, "[]", 2);
    }
}

static void
end(struct ns_facts *facts, const struct ns_json_input *input, ns_fact_listener *listener,
    void *context)
{
    if (facts->depth != input->depth || facts->depth == 0) {
        return; /* a container that was not entered */
    }
    int fact = facts->levels[facts->depth].fact;
    facts->depth--;
    if (fact != 0) {
        listener(context, fact, input);
    }
}

/* After an element of an array the next one matches the same. */
static void
after_value(struct ns_facts *facts, uint32_t depth, bool in_array)
{
    if (in_array && facts->depth == depth && depth > 0) {
        match(facts, "[]", 2);
    }
}

void
ns_facts_event(struct ns_facts *facts, const struct ns_json_input *input,
               ns_fact_listener *listener, void *context)
{
    switch (input->event) {
    case NS_JSON_OBJECT_BEGIN:
    case NS_JSON_ARRAY_BEGIN:
        /* Entered only where every container around it was. */
        if (facts->depth + 1 == input->depth) {
            begin(facts, input, listener, context);
            if (facts->depth == input->depth) {
                facts->levels[facts->depth].in_array = input->event == NS_JSON_ARRAY_BEGIN;
            }
        }
        break;
    case NS_JSON_OBJECT_END:
    case NS_JSON_ARRAY_END:
        end(facts, input, listener, context);
        after_value(facts, input->depth - 1, facts->levels[facts->depth].in_array);
        break;
    case NS_JSON_KEY:
        if (facts->depth == input->depth) {
            match(facts, input->text, input->text_bytes);
        }
        break;
    case NS_JSON_STRING:
    case NS_JSON_NUMBER:
    case NS_JSON_TRUE:
    case NS_JSON_FALSE:
    case NS_JSON_NULL:
        if (facts->depth == input->depth && facts->next.fact != 0) {
            listener(context, facts->next.fact, input);
        }
        break;
    default:
        break;
    }
}
