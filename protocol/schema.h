/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema: every message and every field, once. Included by protocol.h (structs) and codec.c
 * (encoder and decoder); docs/protocol.md is checked against it by a test.
 *
 * A field is F(tag, name, type, need, max):
 *   type  u8 u32 u64 i64 bool  numbers, little-endian on the wire
 *         uuid                 16 bytes
 *         hash16               16 bytes
 *         text                 UTF-8 up to max bytes
 *         usage tags parts     composites, see docs/protocol.md
 *         counts               the same
 *   need  REQUIRED or OPTIONAL (absent decodes to zero / empty)
 *   max   longest text in bytes, or largest number (0: the type's)
 * Tags below 128 are known to every decoder of this version; new fields take tags from 128 up.
 *
 * All times are nanoseconds since 1970 (CLOCK_REALTIME) unless the name says otherwise; all amounts
 * are nano-dollars.
 */
#ifndef NS_PROTOCOL_SCHEMA_H
#define NS_PROTOCOL_SCHEMA_H

/* X(ENUMERATOR, struct): the numbers of the kinds are their places, from 1. */
#define NS_MESSAGES(X)                                                                             \
    X(HELLO, hello)                                                                                \
    X(WELCOME, welcome)                                                                            \
    X(CHECK, check)                                                                                \
    X(VERDICT, verdict)                                                                            \
    X(PROGRESS, progress)                                                                          \
    X(REPORT, report)                                                                              \
    X(RELEASE, release)                                                                            \
    X(ACK, ack)                                                                                    \
    X(QUERY, query)                                                                                \
    X(ANSWER, answer)                                                                              \
    X(COUNTERS, counters)                                                                          \
    X(COVERAGE, coverage)

/* Who is speaking. pid, uid and executable are taken from the kernel where it tells them; what is
 * said here serves over tcp, and to tell a pid's second life from its first. */
#define NS_FIELDS_HELLO(F)                                                                         \
    F(1, protocol_max, u32, REQUIRED, 0) /* newest version spoken */                               \
    F(2, library, text, REQUIRED, 64)    /* "0.1.0" */                                             \
    F(3, source, u8, REQUIRED, NS_SOURCE_COUNT - 1)                                                \
    F(4, pid, u32, REQUIRED, 0)                                                                    \
    F(5, start_ticks, u64, REQUIRED, 0) /* /proc/PID/stat field 22 */                              \
    F(6, process, text, OPTIONAL, 256)  /* base name of the executable */                          \
    F(7, hostname, text, OPTIONAL, 256)                                                            \
    F(8, api_key, text, OPTIONAL, 256) /* NULLSPEND_API_KEY, for the collector only */             \
    F(9, mode, u8, REQUIRED, NS_MODE_COUNT - 1)

#define NS_FIELDS_WELCOME(F)                                                                       \
    F(1, protocol, u32, REQUIRED, 0)    /* the version spoken from here on */                      \
    F(2, collector, text, REQUIRED, 64) /* its version */                                          \
    F(3, refused, u8, REQUIRED, 3)      /* 0 welcome, 1 version, 2 api key, 3 shutting down */     \
    F(4, hash_key, hash16, REQUIRED, 0) /* key of the keyed hashes of this collector */            \
    F(5, deny_unreachable, bool, REQUIRED, 0) /* some budget says deny when it cannot be asked */  \
    F(6, instance, uuid, REQUIRED, 0)         /* changes when the collector restarts */            \
    F(128, takes_counters, bool, OPTIONAL, 0) /* it knows COUNTERS */                              \
    F(129, takes_coverage, bool, OPTIONAL, 0) /* it knows COVERAGE */

/* Identity of a call: in CHECK and in REPORT alike, so that a report stands on its own. */
#define NS_FIELDS_IDENTITY(F)                                                                      \
    F(1, call_id, uuid, REQUIRED, 0)                                                               \
    F(2, started_at_ns, i64, REQUIRED, 0)                                                          \
    F(3, provider, text, REQUIRED, 256)                                                            \
    F(4, family, text, REQUIRED, 32)                                                               \
    F(5, operation, text, REQUIRED, 32)                                                            \
    F(6, host, text, REQUIRED, 256)                                                                \
    F(7, requested_model, text, OPTIONAL, 192)                                                     \
    F(8, streamed, bool, REQUIRED, 0)                                                              \
    F(9, customer, text, OPTIONAL, 128)                                                            \
    F(10, agent, text, OPTIONAL, 128)                                                              \
    F(11, feature, text, OPTIONAL, 128)                                                            \
    F(12, session, text, OPTIONAL, 128)                                                            \
    F(13, tags, tags, OPTIONAL, 0)                                                                 \
    F(14, trace_id, text, OPTIONAL, 32)                                                            \
    F(15, key_hash, hash16, OPTIONAL, 0) /* keyed hash of the provider's credential */             \
    F(16, key_hint, text, OPTIONAL, 8)   /* its last four characters */                            \
    F(17, mode, u8, REQUIRED, NS_MODE_COUNT - 1)                                                   \
    F(18, finalize, bool, OPTIONAL, 0)                                                             \
    F(19, text_bytes, u64, REQUIRED, 0)                                                            \
    F(20, images, u32, OPTIONAL, 0)                                                                \
    F(21, audios, u32, OPTIONAL, 0)                                                                \
    F(22, videos, u32, OPTIONAL, 0)                                                                \
    F(23, files, u32, OPTIONAL, 0)                                                                 \
    F(24, attachment_bytes, u64, OPTIONAL, 0)                                                      \
    F(25, output_tokens_max, u64, OPTIONAL, 0) /* 0: no cap */                                     \
    F(26, choices, u32, OPTIONAL, 0)                                                               \
    F(27, history_elsewhere, bool, OPTIONAL, 0)                                                    \
    F(28, cache_write, bool, OPTIONAL, 0)                                                          \
    F(29, requested_tier, text, OPTIONAL, 32)                                                      \
    F(30, requested_speed, text, OPTIONAL, 32)                                                     \
    F(31, requested_region, text, OPTIONAL, 32)                                                    \
    F(32, upstream, text, OPTIONAL, 32) /* of a router: the provider that it is told to use */

#define NS_FIELDS_CHECK(F)                                                                         \
    NS_FIELDS_IDENTITY(F)                                                                          \
    F(33, denial_status, u32, OPTIONAL, 999) /* what the family answers to a spent budget */       \
    F(128, tools, text, OPTIONAL, 256) /* their types, commas between; "*": others, unread */      \
    F(129, fingerprint, hash16, OPTIONAL, 0) /* keyed hash of the whole body */                    \
    F(130, ending, hash16, OPTIONAL, 0)      /* keyed hash of the last text of its turns */

#define NS_FIELDS_VERDICT(F)                                                                       \
    F(1, call_id, uuid, REQUIRED, 0)                                                               \
    F(2, decision, u8, REQUIRED, NS_DECISION_COUNT - 1)                                            \
    F(3, reason, u8, REQUIRED, NS_REASON_COUNT - 1)                                                \
    F(4, hold_nanousd, i64, REQUIRED, 0)                                                           \
    F(5, denial_id, uuid, OPTIONAL, 0)                                                             \
    F(6, entity, text, OPTIONAL, 340)            /* of the budget that denies */                   \
    F(7, message, text, OPTIONAL, 512)           /* for people; goes into the denial's body */     \
    F(8, http_status, u32, OPTIONAL, 999)        /* 0: the family's choice */                      \
    F(9, deny_unreachable, bool, OPTIONAL, 0)    /* as in WELCOME, as it is now */                 \
    F(128, output_tokens_held, u64, OPTIONAL, 0) /* of a stream: what the hold covers; 0: no       \
                                                    budget would cut it */

/* What has passed so far of a running answer: is what is charged if the process dies. With top_up
 * it asks for a larger hold, and is answered by a VERDICT: 1 the hold will be used up soon (a
 * refusal leaves things as they are), 2 it is used up (a refusal means that the answer is cut here,
 * and is recorded as a denial). */
#define NS_FIELDS_PROGRESS(F)                                                                      \
    F(1, call_id, uuid, REQUIRED, 0)                                                               \
    F(2, text_bytes, u64, REQUIRED, 0) /* of generated text that `usage` does not count yet */     \
    F(3, usage, usage, OPTIONAL, 0)    /* where the stream told some already */                    \
    F(4, model, text, OPTIONAL, 192)                                                               \
    F(128, top_up, u8, OPTIONAL, 2)

#define NS_FIELDS_REPORT(F)                                                                        \
    NS_FIELDS_IDENTITY(F)                                                                          \
    F(40, ended_at_ns, i64, REQUIRED, 0)                                                           \
    F(41, http_status, u32, REQUIRED, 999) /* 0: no answer came */                                 \
    F(42, outcome, u8, REQUIRED, NS_OUTCOME_COUNT - 1)                                             \
    F(43, evidence, u8, REQUIRED, NS_EVIDENCE_COUNT - 1)                                           \
    F(44, model, text, OPTIONAL, 192) /* as served */                                              \
    F(45, service_tier, text, OPTIONAL, 32)                                                        \
    F(46, speed, text, OPTIONAL, 32)                                                               \
    F(47, region, text, OPTIONAL, 32)                                                              \
    F(48, response_id, text, OPTIONAL, 128)                                                        \
    F(49, response_date_s, i64, OPTIONAL, 0)                                                       \
    F(50, usage, usage, OPTIONAL, 0)                                                               \
    F(51, parts, parts, OPTIONAL, 0)                                                               \
    F(52, has_provider_cost, bool, OPTIONAL, 0)                                                    \
    F(53, provider_cost_nanousd, i64, OPTIONAL, 0)                                                 \
    F(54, output_text_bytes, u64, OPTIONAL, 0)                                                     \
    F(55, checked, bool, REQUIRED, 0)   /* a verdict allowed it; false: let through unasked */     \
    F(56, process, text, OPTIONAL, 256) /* for a spool that another process posts */               \
    F(57, pid, u32, OPTIONAL, 0)

/* The request never left: the hold goes back, nothing is charged. */
#define NS_FIELDS_RELEASE(F)                                                                       \
    F(1, call_id, uuid, REQUIRED, 0)                                                               \
    F(2, outcome, u8, REQUIRED, NS_OUTCOME_COUNT - 1)

#define NS_FIELDS_ACK(F)                                                                           \
    F(1, call_id, uuid, REQUIRED, 0)                                                               \
    F(2, kind, u8, REQUIRED, 255) /* enum ns_message_kind that is acknowledged */

/* For the command line: "status", "budgets", "sync" (answered when Postgres has everything that
 * was acknowledged before), "ping". */
#define NS_FIELDS_QUERY(F)                                                                         \
    F(1, id, u64, REQUIRED, 0)                                                                     \
    F(2, what, text, REQUIRED, 32)                                                                 \
    F(3, argument, text, OPTIONAL, 1024)

#define NS_FIELDS_ANSWER(F)                                                                        \
    F(1, id, u64, REQUIRED, 0)                                                                     \
    F(2, failed, bool, REQUIRED, 0)                                                                \
    F(3, json, text, REQUIRED, NS_ANSWER_BYTES_MAX - 1024) /* the answer, or {"error":…} */

/* What passed unseen in this process, and what it denied unjudged, since its start: base/unseen.h
 * has the names. Not answered; may be lost, or come twice. */
#define NS_FIELDS_COUNTERS(F)                                                                      \
    F(1, since_ns, i64, REQUIRED, 0) /* they began then: another time, and they began anew */      \
    F(2, counts, counts, REQUIRED, 0)

/* What an agent saw of one process and one server, since the agent's start: base/coverage.h has the
 * words. Not answered; may be lost, or come twice. */
#define NS_FIELDS_COVERAGE(F)                                                                      \
    F(1, since_ns, i64, REQUIRED,                                                                  \
      0) /* the agent counts from then on: another time, another life */                           \
    F(2, pid, u32, REQUIRED, 0)                                                                    \
    F(3, start_ticks, u64, REQUIRED, 0) /* /proc/PID/stat field 22 */                              \
    F(4, uid, u32, REQUIRED, 0)                                                                    \
    F(5, process, text, OPTIONAL, 256)     /* base name of the executable */                       \
    F(6, executable, text, OPTIONAL, 4096) /* its path, as the process has it */                   \
    F(7, provider, text, OPTIONAL, 256)    /* empty: not known */                                  \
    F(8, host, text, OPTIONAL, 256)        /* empty: not known */                                  \
    F(9, governed_by, text, REQUIRED, 32)                                                          \
    F(10, reason, text, OPTIONAL, 64) /* why nothing governs it */                                 \
    F(11, connections, u64, REQUIRED, 0)                                                           \
    F(12, bytes_sent, u64, REQUIRED, 0) /* of the sockets: ciphertext and handshakes */            \
    F(13, bytes_received, u64, REQUIRED, 0)                                                        \
    F(14, first_seen_ns, i64, REQUIRED, 0)                                                         \
    F(15, last_seen_ns, i64, REQUIRED, 0)

enum ns_message_kind {
    NS_MESSAGE_NONE,
#define X(KIND, kind) NS_MESSAGE_##KIND,
    NS_MESSAGES(X)
#undef X
        NS_MESSAGE_COUNT
};

struct ns_hash16 {
    uint8_t bytes[16];
};

#define NS_TYPE_u8 uint8_t
#define NS_TYPE_u32 uint32_t
#define NS_TYPE_u64 uint64_t
#define NS_TYPE_i64 int64_t
#define NS_TYPE_bool bool
#define NS_TYPE_uuid struct ns_uuid
#define NS_TYPE_hash16 struct ns_hash16
#define NS_TYPE_text struct ns_text
#define NS_TYPE_usage struct ns_usage
#define NS_TYPE_tags struct ns_tags
#define NS_TYPE_parts struct ns_parts
#define NS_TYPE_counts struct ns_counts

#define NS_FIELD_MEMBER(tag, name, type, need, max) NS_TYPE_##type name;

struct ns_hello {
    NS_FIELDS_HELLO(NS_FIELD_MEMBER)
};
struct ns_welcome {
    NS_FIELDS_WELCOME(NS_FIELD_MEMBER)
};
struct ns_check {
    NS_FIELDS_CHECK(NS_FIELD_MEMBER)
};
struct ns_verdict {
    NS_FIELDS_VERDICT(NS_FIELD_MEMBER)
};
struct ns_progress {
    NS_FIELDS_PROGRESS(NS_FIELD_MEMBER)
};
struct ns_report {
    NS_FIELDS_REPORT(NS_FIELD_MEMBER)
};
struct ns_release {
    NS_FIELDS_RELEASE(NS_FIELD_MEMBER)
};
struct ns_ack {
    NS_FIELDS_ACK(NS_FIELD_MEMBER)
};
struct ns_query {
    NS_FIELDS_QUERY(NS_FIELD_MEMBER)
};
struct ns_answer {
    NS_FIELDS_ANSWER(NS_FIELD_MEMBER)
};
struct ns_counters {
    NS_FIELDS_COUNTERS(NS_FIELD_MEMBER)
};
struct ns_coverage {
    NS_FIELDS_COVERAGE(NS_FIELD_MEMBER)
};

#endif
