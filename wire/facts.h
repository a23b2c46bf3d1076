/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts out of JSON by tables of paths, on top of the events of ns_json; no tree is built.
 *
 * A path is written as its segments, joined by '/': an object's key, or "[]" for every element of
 * an array. A segment may offer alternatives ("usage|usage_metadata"). Paths begin at the top of
 * the document and never float: what a model wrote into its own answer cannot pose as usage.
 *
 * A rule may hang another table below its path (`below`), so that one table serves every place
 * where the same object occurs.
 */
#ifndef NS_WIRE_FACTS_H
#define NS_WIRE_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/json.h"
#include "wire/limits.h"

struct ns_fact_table;

struct ns_fact_rule {
    const char *path;
    int fact; /* told to the listener; 0: nothing is told, the path only leads to `below` */
    const struct ns_fact_table *below;
};

/* Which rules a key can match, by its place in their paths and a hash of it: nearly every key of a
 * document matches none, and is seen to at once. Made at the table's first use, by any thread. */
struct ns_fact_index {
    uint64_t rules[NS_FACTS_INDEX_SEGMENTS][NS_FACTS_INDEX_HASHES]; /* a bit for each */
    uint8_t is_made;
};

struct ns_fact_table {
    const struct ns_fact_rule *rules;
    struct ns_fact_index *index;
    uint32_t count; /* at most NS_FACTS_RULES_MAX */
};

/* Of constant rules, at file scope. */
#define NS_FACT_TABLE(rules_)                                                                      \
    {                                                                                              \
        .rules = (rules_), .index = &(struct ns_fact_index){.is_made = 0},                         \
        .count = sizeof(rules_) / sizeof((rules_)[0])                                              \
    }

/* A value at the path of a rule: a scalar, or the BEGIN or END of a container. */
typedef void ns_fact_listener(void *context, int fact, const struct ns_json_input *value);

struct ns_facts_level {
    const struct ns_fact_table *table;
    uint64_t live;   /* rules of the table whose path leads through here */
    uint8_t segment; /* which of their segments comes next */
    bool in_array;   /* its members are elements */
    int fact;        /* told again at the container's end */
};

struct ns_facts {
    const struct ns_fact_table *table;
    uint32_t depth; /* levels in use: containers open whose members may be facts */
    struct ns_facts_level levels[NS_FACTS_DEPTH_MAX + 1];
    struct ns_facts_level next; /* what the coming value matches */
};

/* At the start of a document. */
void ns_facts_init(struct ns_facts *facts, const struct ns_fact_table *table);

/* One event of the document, all of them in order. Costs nothing inside values that no path leads
 * into. */
void ns_facts_event(struct ns_facts *facts, const struct ns_json_input *input,
                    ns_fact_listener *listener, void *context);

#endif
