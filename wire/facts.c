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
    return c == '\0' || c == '|' || c == '/';
}

/* Does the segment offer this key? *last: it ends the path. */
static bool
segment_offers(const char *segment, const char *key, size_t key_bytes, bool *last)
{
    bool offered = false;
    for (;; segment++) {
        size_t i = 0;
        while (i < key_bytes && segment[i] == key[i] && !is_segment_end(segment[i])) {
            i++;
        }
        offered |= i == key_bytes && is_segment_end(segment[i]);
        for (segment += i; !is_segment_end(*segment); segment++) {
        }
        if (*segment != '|') {
            *last = *segment == '\0';
            return offered;
        }
    }
}

/* --- the index ------------------------------------------------------------------------------ */

/* The deepest segments share a row. */
static uint64_t *
place_of(struct ns_fact_index *index, uint32_t segment, const char *key, size_t key_bytes)
{
    uint32_t hash = (uint32_t)key_bytes * 5;
    if (key_bytes > 0) {
        hash += (uint8_t)key[0] * 3U + (uint8_t)key[key_bytes - 1];
    }
    uint32_t row = segment < NS_FACTS_INDEX_SEGMENTS ? segment : NS_FACTS_INDEX_SEGMENTS - 1;
    return &index->rules[row][hash % NS_FACTS_INDEX_HASHES];
}

/* Whoever makes it at the same time writes the same. */
static void
make_index(const struct ns_fact_table *table)
{
    for (uint32_t rule = 0; rule < table->count; rule++) {
        const char *key = table->rules[rule].path;
        uint32_t segment = 0;
        for (const char *end = key;; end++) {
            if (!is_segment_end(*end)) {
                continue;
            }
            __atomic_fetch_or(place_of(table->index, segment, key, (size_t)(end - key)),
                              UINT64_C(1) << rule, __ATOMIC_RELAXED);
            if (*end == '\0') {
                break;
            }
            segment += *end == '/';
            key = end + 1;
        }
    }
    __atomic_store_n(&table->index->is_made, 1, __ATOMIC_RELEASE);
}

static uint64_t
rules_of(const struct ns_fact_table *table, uint8_t segment, const char *key, size_t key_bytes)
{
    if (__atomic_load_n(&table->index->is_made, __ATOMIC_ACQUIRE) == 0) {
        make_index(table);
    }
    return __atomic_load_n(place_of(table->index, segment, key, key_bytes), __ATOMIC_RELAXED);
}

/* --- matching ------------------------------------------------------------------------------- */

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
    uint64_t left = level->live & rules_of(level->table, level->segment, key, key_bytes);
    for (; left != 0; left &= left - 1) {
        int index = __builtin_ctzll(left);
        const struct ns_fact_rule *rule = &level->table->rules[index];
        const char *segment = segment_at(rule->path, level->segment);
        bool last;
        if (segment == NULL || !segment_offers(segment, key, key_bytes, &last)) {
            continue;
        }
        if (!last) {
            facts->next.live |= UINT64_C(1) << index;
            continue;
        }
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
