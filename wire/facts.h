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

/* What a key at one place of the paths means. */
struct ns_fact_key {
    const char *text; /* within a path; NULL: no key is here */
    uint64_t rules;   /* a bit for each that it leads on, or fulfils */
    uint64_t ends;    /* those that it fulfils */
    uint32_t bytes;
    uint32_t segment;
};

enum ns_fact_index_state {
    NS_FACT_INDEX_NONE,
    NS_FACT_INDEX_BEGUN,
    NS_FACT_INDEX_MADE,
    NS_FACT_INDEX_TOO_SMALL
};

/* The keys of all paths of a table, by a hash: nearly every key of a document is none of them,
 * which shows at once. Made at the table's first use, by one thread; others go through the rules
 * meanwhile, as everybody does where it was never finished (a fork came between) or does not fit.
 */
struct ns_fact_index {
    uint32_t state; /* enum ns_fact_index_state */
    struct ns_fact_key keys[NS_FACTS_KEYS_MAX];
};

struct ns_fact_table {
    const struct ns_fact_rule *rules;
    struct ns_fact_index *index;
    uint32_t count; /* at most NS_FACTS_RULES_MAX */
};

/* Of constant rules, at file scope. */
#define NS_FACT_TABLE(rules_)                                                                      \
    {                                                                                              \
        .rules = (rules_), .index = &(struct ns_fact_index){.state = NS_FACT_INDEX_NONE},          \
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
