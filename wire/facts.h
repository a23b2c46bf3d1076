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

struct ns_fact_table {
    const struct ns_fact_rule *rules;
    uint32_t count; /* at most NS_FACTS_RULES_MAX */
};

#define NS_FACT_TABLE(rules_)                                                                      \
    {                                                                                              \
        .rules = (rules_), .count = sizeof(rules_) / sizeof((rules_)[0])                           \
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

/* What a key was found to match, kept because documents of a stream have the same keys. */
struct ns_facts_memo {
    const struct ns_fact_table *table; /* of the level; NULL: nothing is kept */
    uint64_t live;                     /* " */
    struct ns_facts_level next;
    uint8_t segment; /* of the level */
    uint8_t key_bytes;
    char key[NS_FACTS_MEMO_KEY_BYTES];
};

struct ns_facts {
    const struct ns_fact_table *table;
    uint32_t depth; /* levels in use: containers open whose members may be facts */
    struct ns_facts_level levels[NS_FACTS_DEPTH_MAX + 1];
    struct ns_facts_level next;  /* what the coming value matches */
    struct ns_facts_memo *memos; /* NS_FACTS_MEMOS of the caller's, zeroed at first; NULL: none */
};

/* At the start of a document. What memos is, is the caller's to set. */
void ns_facts_init(struct ns_facts *facts, const struct ns_fact_table *table);

/* One event of the document, all of them in order. Costs nothing inside values that no path leads
 * into. */
void ns_facts_event(struct ns_facts *facts, const struct ns_json_input *input,
                    ns_fact_listener *listener, void *context);

#endif
