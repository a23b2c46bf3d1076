/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who governs the traffic of a process to a provider, and why nobody does: one list for the agent
 * that finds out, the collector that keeps it and the command line that shows it. The words travel
 * and are stored, not the numbers, so rows may come and go.
 */
#ifndef NS_BASE_COVERAGE_H
#define NS_BASE_COVERAGE_H

#include <stddef.h>

#define NS_GOVERNORS(X)                                                                            \
    X(UNKNOWN, "unknown") /* which server it talks to cannot be told */                            \
    X(DARK, "dark")       /* a provider, and nothing governs it */                                 \
    X(PRELOAD, "preload")                                                                          \
    X(DETOUR, "detour")                                                                            \
    X(EBPF, "ebpf")

/* X(ENUMERATOR, word, sentence, next step) */
#define NS_DARKNESS(X)                                                                             \
    X(NONE, "", "", "")                                                                            \
    X(OTHER, "other", "a reason of another version", "use one version of all programs")            \
    X(NO_NAME, "no_server_name", "its TLS names no server",                                        \
      "have the program call its server by name")                                                  \
    X(ENCRYPTED_NAME, "encrypted_server_name", "its TLS may hide the server's name (ECH)",         \
      "turn encrypted client hello off in the program")                                            \
    X(NOT_LOOKED_AT, "not_looked_at",                                                              \
      "it ended before it was looked at, or its files cannot be read",                             \
      "start it with nullspend run, or see which program it is by its name")                       \
    X(UNRECOGNIZED, "unrecognized", "no TLS library that is known was found in it",                \
      "tell which TLS library the program has; route it through a gateway meanwhile")              \
    X(NOT_ATTACHED, "not_attached", "its OpenSSL is in reach, but the agent only watches",         \
      "start it with nullspend run, or run nullspend-bpf --attach")                                \
    X(PAST_PROBE, "past_probe",                                                                    \
      "its OpenSSL is in reach, but the connection began before its probes were there, or is"      \
      " another TLS library's",                                                                    \
      "have it connect anew; if it is dark again, start it with nullspend run")                    \
    X(LIBRARY_REFUSED, "library_refused",                                                          \
      "the library is in it, and refused its TLS library: nullspend status counts why",            \
      "see docs/interception.md, \"Which OpenSSL\"; use a build with a shared OpenSSL")            \
    X(OPENSSL_HIDDEN, "openssl_hidden", "it has an OpenSSL inside that does not show its names",   \
      "use a build with a shared OpenSSL, or one that keeps its symbols")                          \
    X(BORINGSSL, "boringssl", "it has a BoringSSL or AWS-LC inside",                               \
      "use a build with a shared OpenSSL, or a gateway")                                           \
    X(GO, "go", "it is a Go program: crypto/tls",                                                  \
      "use a nullspend-bpf that reaches its Go version, or a gateway")                             \
    X(JVM, "jvm", "a Java virtual machine: JSSE",                                                  \
      "have it use OpenSSL (netty-tcnative with a shared OpenSSL), or a gateway")                  \
    X(RUSTLS, "rustls", "it has rustls inside",                                                    \
      "build it with native-tls in place of rustls, or use a gateway")                             \
    X(GNUTLS, "gnutls", "it uses GnuTLS", "use a build with OpenSSL")                              \
    X(NSS, "nss", "it uses NSS", "use a build with OpenSSL")                                       \
    X(QUIC, "quic", "it speaks QUIC (HTTP/3)",                                                     \
      "turn HTTP/3 off in the program, or block UDP port 443, so that it uses TCP")

enum ns_governor {
#define X(e, word) NS_GOVERNOR_##e,
    NS_GOVERNORS(X)
#undef X
        NS_GOVERNOR_COUNT
};

enum ns_darkness {
#define X(e, word, sentence, step) NS_DARKNESS_##e,
    NS_DARKNESS(X)
#undef X
        NS_DARKNESS_COUNT
};

/* Each of a value in range. */
const char *ns_governor_name(int governor);
const char *ns_darkness_name(int darkness);
const char *ns_darkness_sentence(int darkness); /* for people: what was found */
const char *ns_darkness_step(int darkness);     /* what they can do about it */

/* The value of a word; UNKNOWN, OTHER where it is none of these. Text need not end in NUL. */
enum ns_governor ns_governor_find(const char *text, size_t bytes);
enum ns_darkness ns_darkness_find(const char *text, size_t bytes);

#endif
