/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words that every part of NullSpend and every table uses: evidence, outcome, reason, source,
 * mode, policy. One list each; the numbers travel in messages and journals, so lists only grow at
 * their end.
 */
#ifndef NS_BASE_WORDS_H
#define NS_BASE_WORDS_H

#include <stddef.h>

/* How well a cost is known. */
#define NS_EVIDENCES(X)                                                                            \
    X(UNPRICED, "unpriced")   /* usage or price unknown: the cost is not known */                  \
    X(REPORTED, "reported")   /* the provider's own usage, complete */                             \
    X(PARTIAL, "partial")     /* the provider's own usage, but the answer was cut short */         \
    X(COUNTED, "counted")     /* counted from the bytes that passed */                             \
    X(ESTIMATED, "estimated") /* guessed from sizes */

/* How a call ended. */
#define NS_OUTCOMES(X)                                                                             \
    X(OK, "ok")                                                                                    \
    X(ERROR, "error")         /* the provider answered with an error, or the transport failed */   \
    X(CANCELLED, "cancelled") /* the program closed before the answer was complete */              \
    X(LOST, "lost")           /* the process died and never reported */

/* Why a call was denied: the value of X-NullSpend-Reason. */
#define NS_REASONS(X)                                                                              \
    X(NONE, "none")                                                                                \
    X(BUDGET_EXCEEDED, "budget_exceeded")                                                          \
    X(VELOCITY, "velocity")                                                                        \
    X(LOOP, "loop")                                                                                \
    X(SESSION_CAP, "session_cap")                                                                  \
    X(MANDATE, "mandate")                                                                          \
    X(CUSTOMER_REQUIRED, "customer_required")                                                      \
    X(UNPRICED, "unpriced")                                                                        \
    X(APPROVAL_REFUSED, "approval_refused")                                                        \
    X(COLLECTOR_UNREACHABLE, "collector_unreachable")                                              \
    X(UNJUDGED, "unjudged") /* it could not be read, and the policy is to deny then */

/* Through what a call was seen. */
#define NS_SOURCES(X)                                                                              \
    X(PRELOAD, "preload")                                                                          \
    X(DETOUR, "detour")                                                                            \
    X(EBPF, "ebpf")                                                                                \
    X(PROXY, "proxy")                                                                              \
    X(SDK, "sdk")                                                                                  \
    X(MCP, "mcp")

/* What the library does in a process (NULLSPEND_MODE). */
#define NS_MODES(X)                                                                                \
    X(ENFORCE, "enforce") /* budgets hold */                                                       \
    X(SHADOW, "shadow")   /* budgets are evaluated, denials only recorded */                       \
    X(OBSERVE, "observe") /* calls are only counted */                                             \
    X(OFF, "off")         /* the library does nothing */

/* Allow, deny or wait. */
#define NS_DECISIONS(X)                                                                            \
    X(ALLOW, "allow")                                                                              \
    X(DENY, "deny")                                                                                \
    X(HOLD, "hold")

/* How a budget enforces. */
#define NS_POLICIES(X)                                                                             \
    X(HARD, "hard")                                                                                \
    X(SOFT, "soft")                                                                                \
    X(WARN, "warn")                                                                                \
    X(SHADOW, "shadow")

/* How long a budget counts before it starts anew. Calendar periods are in UTC; a week starts on
 * Monday. */
#define NS_PERIODS(X)                                                                              \
    X(HOUR, "hour")                                                                                \
    X(DAY, "day")                                                                                  \
    X(WEEK, "week")                                                                                \
    X(MONTH, "month")                                                                              \
    X(TOTAL, "total")

/* What a hold reserves. */
#define NS_RESERVES(X)                                                                             \
    X(TYPICAL, "typical")                                                                          \
    X(BOUND, "bound")

/* What happens when the collector cannot be asked. */
#define NS_UNREACHABLES(X)                                                                         \
    X(ALLOW, "allow")                                                                              \
    X(DENY, "deny")

/* The kinds of entity that a budget can limit; the text before the colon of an ENTITY. */
#define NS_ENTITY_KINDS(X)                                                                         \
    X(ORG, "org")                                                                                  \
    X(TEAM, "team")                                                                                \
    X(KEY, "key")                                                                                  \
    X(CUSTOMER, "customer")                                                                        \
    X(AGENT, "agent")                                                                              \
    X(FEATURE, "feature")                                                                          \
    X(SESSION, "session")                                                                          \
    X(TAG, "tag")

#define X(e, n) NS_EVIDENCE_##e,
enum ns_evidence { NS_EVIDENCES(X) NS_EVIDENCE_COUNT };
#undef X
#define X(e, n) NS_OUTCOME_##e,
enum ns_outcome { NS_OUTCOMES(X) NS_OUTCOME_COUNT };
#undef X
#define X(e, n) NS_REASON_##e,
enum ns_reason { NS_REASONS(X) NS_REASON_COUNT };
#undef X
#define X(e, n) NS_SOURCE_##e,
enum ns_source { NS_SOURCES(X) NS_SOURCE_COUNT };
#undef X
#define X(e, n) NS_MODE_##e,
enum ns_mode { NS_MODES(X) NS_MODE_COUNT };
#undef X
#define X(e, n) NS_DECISION_##e,
enum ns_decision { NS_DECISIONS(X) NS_DECISION_COUNT };
#undef X
#define X(e, n) NS_POLICY_##e,
enum ns_policy { NS_POLICIES(X) NS_POLICY_COUNT };
#undef X
#define X(e, n) NS_PERIOD_##e,
enum ns_period { NS_PERIODS(X) NS_PERIOD_COUNT };
#undef X
#define X(e, n) NS_RESERVE_##e,
enum ns_reserve { NS_RESERVES(X) NS_RESERVE_COUNT };
#undef X
#define X(e, n) NS_UNREACHABLE_##e,
enum ns_unreachable { NS_UNREACHABLES(X) NS_UNREACHABLE_COUNT };
#undef X
#define X(e, n) NS_ENTITY_##e,
enum ns_entity_kind { NS_ENTITY_KINDS(X) NS_ENTITY_KIND_COUNT };
#undef X

/* Each returns the word of a value, "?" out of range; never NULL. */
const char *ns_evidence_name(int evidence);
const char *ns_outcome_name(int outcome);
const char *ns_reason_name(int reason);
const char *ns_source_name(int source);
const char *ns_mode_name(int mode);
const char *ns_decision_name(int decision);
const char *ns_policy_name(int policy);
const char *ns_period_name(int period);
const char *ns_reserve_name(int reserve);
const char *ns_unreachable_name(int unreachable);
const char *ns_entity_kind_name(int kind);

/* Each returns the value of a word, or -1; text need not end in NUL. */
int ns_mode_find(const char *text, size_t bytes);
int ns_policy_find(const char *text, size_t bytes);
int ns_period_find(const char *text, size_t bytes);
int ns_reserve_find(const char *text, size_t bytes);
int ns_unreachable_find(const char *text, size_t bytes);
int ns_entity_kind_find(const char *text, size_t bytes);
int ns_reason_find(const char *text, size_t bytes);
int ns_evidence_find(const char *text, size_t bytes);
int ns_outcome_find(const char *text, size_t bytes);

#endif
