/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mandates: which calls an entity may make at all, whatever money there is. A mandate holds for the
 * calls of its entity; one on "customer:*" for every customer that has none of its own. A call must
 * keep to all mandates of all its entities.
 *
 * They come from Postgres, and live in the journal so that they hold while it is away: as bytes.
 * One thread.
 */
#ifndef NS_COLLECTOR_MANDATES_H
#define NS_COLLECTOR_MANDATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/buffer.h"
#include "collector/ledger.h"
#include "collector/repeats.h"
#include "protocol/protocol.h"

#define NS_MANDATES_MAX 10000
/* Of one, encoded; sql/migrations/0006_mandates.sql lets none be longer. */
#define NS_MANDATE_BYTES_MAX 20000
#define NS_MANDATE_RULE_BYTES_MAX 240

/* The lists of a mandate, as its columns are called. What is allowed or denied is a pattern in
 * which * stands for any characters; case is of no matter. X(ENUMERATOR, "column") */
#define NS_MANDATE_LISTS(X)                                                                        \
    X(ALLOW_MODELS, "allow_models")                                                                \
    X(DENY_MODELS, "deny_models")                                                                  \
    X(ALLOW_PROVIDERS, "allow_providers")                                                          \
    X(DENY_PROVIDERS, "deny_providers")                                                            \
    X(ALLOW_HOSTS, "allow_hosts")                                                                  \
    X(DENY_HOSTS, "deny_hosts")                                                                    \
    X(ALLOW_OPERATIONS, "allow_operations")                                                        \
    X(DENY_OPERATIONS, "deny_operations")                                                          \
    X(ALLOW_TIERS, "allow_tiers")                                                                  \
    X(DENY_TIERS, "deny_tiers")                                                                    \
    X(REQUIRE, "require")         /* kinds of entities: a call must have one of each, "tag:k" */   \
    X(ALLOW_TOOLS, "allow_tools") /* of all tools of a call */                                     \
    X(DENY_TOOLS, "deny_tools")   /* of any */                                                     \
    X(REPEATS, "repeats")         /* "50/60": within so many seconds, as many alike at most */

#define X(enumerator, name) NS_MANDATE_##enumerator,
enum ns_mandate_list { NS_MANDATE_LISTS(X) NS_MANDATE_LIST_COUNT };
#undef X

/* The column's name; "?" out of range. */
const char *ns_mandate_list_name(int list);
/* The list of this name; -1: none. */
int ns_mandate_list_find(const char *name, size_t bytes);

struct ns_mandate_terms {
    int64_t id;                 /* of its row in Postgres */
    uint8_t policy;             /* enum ns_policy: hard denies, shadow only records */
    uint64_t output_tokens_max; /* what a call must limit its answer to; 0: anything */
    struct ns_text entity;
};

/* Encoding: begin, then add each word of each list. The buffer is the caller's. A policy or a list
 * that there is not makes bytes that are no mandate. */
void ns_mandate_begin(struct ns_buffer *buffer, const struct ns_mandate_terms *terms);
void ns_mandate_add(struct ns_buffer *buffer, int list, struct ns_text word);

/* Whether these bytes are a mandate; its terms, whose text points into them. */
bool ns_mandate_decode(const uint8_t *bytes, size_t count, struct ns_mandate_terms *terms);

struct ns_mandates;

/* An empty set, or NULL without memory. */
struct ns_mandates *ns_mandates_new(void);
void ns_mandates_free(struct ns_mandates *mandates);

/* Whether these bytes may be put. Returns 0; -EBADMSG for bytes that are no mandate; -EEXIST: its
 * entity has another; -ENOSPC: there are too many. */
int ns_mandates_check(const struct ns_mandates *mandates, const uint8_t *bytes, size_t count);
/* Takes a mandate in, in the place of the one with the same id. Returns as the above, or -ENOMEM.
 */
int ns_mandates_put(struct ns_mandates *mandates, const uint8_t *bytes, size_t count);
/* Takes out the one with this id, if there is one. */
void ns_mandates_remove(struct ns_mandates *mandates, int64_t id);
size_t ns_mandates_count(const struct ns_mandates *mandates);

/* The one at a place, in the order of their entities; until the next change. */
const uint8_t *ns_mandates_at(const struct ns_mandates *mandates, size_t place, size_t *count);
/* Whether just this one is there. */
bool ns_mandates_has(const struct ns_mandates *mandates, const uint8_t *bytes, size_t count);

/* Whether a text fits one of the patterns of a list with commas between. */
bool ns_words_fit(struct ns_text list, struct ns_text text);

/* How a call does not keep to a mandate. */
struct ns_mandate_breach {
    char entity[NS_ENTITY_BYTES_MAX + 1]; /* of the mandate: perhaps a pattern */
    uint8_t policy;
    uint8_t reason;                       /* enum ns_reason: mandate, customer_required, or loop */
    char rule[NS_MANDATE_RULE_BYTES_MAX]; /* "model gpt-5 is not in allow_models" */
};

/* The first that denies, else the first that would. entity: the call's, as of a ledger's reserve.
 * A call that keeps to all else is counted in repeats at now_ns; NULL: none repeats another.
 * Returns whether there is one. */
bool ns_mandates_breached(const struct ns_mandates *mandates, const struct ns_check *call,
                          const char *const *entity, uint8_t entity_count,
                          struct ns_repeats *repeats, int64_t now_ns,
                          struct ns_mandate_breach *breach);

/* Snapshots: equal sets give equal bytes. Load returns 0, -EBADMSG or -ENOMEM. */
void ns_mandates_save(const struct ns_mandates *mandates, struct ns_buffer *buffer);
int ns_mandates_load(struct ns_bytes *bytes, struct ns_mandates **mandates);

#endif
