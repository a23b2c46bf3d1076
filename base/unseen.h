/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What traffic to providers passed unseen, and what was denied because it could not be judged, by
 * reason: one list for the library that counts it, the collector that adds it up and the command
 * line that shows it. Its words travel in COUNTERS, not its numbers, so rows may come and go; a
 * word says what it counts: connections, calls, bytes.
 */
#ifndef NS_BASE_UNSEEN_H
#define NS_BASE_UNSEEN_H

#include <stdbool.h>
#include <stddef.h>

/* X(ENUMERATOR, word, how, sentence) */
#define NS_UNSEEN(X)                                                                               \
    X(NOT_HTTP, "connections_not_http", PASSED, "speak something else than HTTP")                  \
    X(UPGRADED, "connections_upgraded", PASSED, "became something else: WebSocket, CONNECT")       \
    X(HTTP2_UNAGREED, "connections_http2_unagreed", PASSED, "HTTP/2 that no handshake agreed on")  \
    X(HTTP2_BROKEN, "connections_http2_broken", PASSED, "break the rules of HTTP/2")               \
    X(MALFORMED, "connections_malformed", PASSED, "break the rules of HTTP/1.1")                   \
    X(TOO_LARGE, "connections_too_large", PASSED, "a head, a chunk line or trailers are too long") \
    X(TOO_DEEP, "connections_too_deep", PASSED, "too many requests ahead of their answers")        \
    X(OUT_OF_STEP, "connections_out_of_step", PASSED, "an answer came without a request")          \
    X(NO_MEMORY, "connections_no_memory", PASSED, "no memory to follow them in")                   \
    X(PAST_BOUND, "connections_past_bound", PASSED, "too many are open at once")                   \
    X(SENDFILE, "connections_sendfile", PASSED, "a file was sent by SSL_sendfile")                 \
    X(LIBRESSL, "connections_libressl", PASSED, "to anybody, by LibreSSL")                         \
    X(BORINGSSL, "connections_boringssl", PASSED, "to anybody, by BoringSSL or AWS-LC")            \
    X(UNKNOWN_LIBRARY, "connections_unknown_library", PASSED, "to anybody, by an unknown library") \
    X(DETOURS_REFUSED, "detours_refused", PASSED, "programs whose own OpenSSL is out of reach")    \
    X(UNSEEN_BYTES, "unseen_bytes", PASSED, "of the files sent by SSL_sendfile")                   \
    X(CALLS_UNASKED, "calls_unasked", PASSED, "the collector could not be asked")                  \
    X(CALLS_UNWITHHELD, "calls_unwithheld", PASSED, "no memory to withhold them in")               \
    X(CALLS_UNREAD, "calls_unread", PASSED, "HTTP/2: a head that is malformed or too long")        \
    X(CALLS_PARTLY_SEEN, "calls_partly_seen", PASSED, "judged by their first 16 MiB")              \
    X(TOP_UPS_UNASKED, "top_ups_unasked", PASSED, "answers that outgrew their hold unasked")       \
    X(DENIED_UNASKED, "denied_unasked", DENIED, "the collector could not be asked")                \
    X(DENIED_MALFORMED, "denied_malformed", DENIED, "break the rules of HTTP/1.1")                 \
    X(DENIED_TOO_LARGE, "denied_too_large", DENIED, "a head or a chunk line is too long")          \
    X(DENIED_TOO_DEEP, "denied_too_deep", DENIED, "too many requests ahead of their answers")      \
    X(DENIED_NO_MEMORY, "denied_no_memory", DENIED, "no memory to judge them in")                  \
    X(DENIED_PAST_BOUND, "denied_past_bound", DENIED, "too many connections are open at once")     \
    X(DENIED_SENDFILE, "denied_sendfile", DENIED, "the rest was a file, sent by SSL_sendfile")     \
    X(OTHER, "other", PASSED, "reasons of another version")

enum ns_unseen {
#define X(e, word, how, sentence) NS_UNSEEN_##e,
    NS_UNSEEN(X)
#undef X
        NS_UNSEEN_COUNT
};

/* Passed, or denied by the policy for what cannot be judged. */
enum ns_unseen_how { NS_UNSEEN_PASSED, NS_UNSEEN_DENIED };

/* Each of a value in range. */
const char *ns_unseen_name(int unseen);
enum ns_unseen_how ns_unseen_how(int unseen);
const char *ns_unseen_sentence(int unseen); /* for people, what the word does not say */

/* The value of a word, OTHER where it is none of these; text need not end in NUL. */
enum ns_unseen ns_unseen_find(const char *text, size_t bytes);

#endif
