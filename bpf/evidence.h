/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which TLS library a process has, by what its executable and the files that it has mapped show.
 * What they do not show is not guessed.
 */
#ifndef NS_BPF_EVIDENCE_H
#define NS_BPF_EVIDENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/coverage.h"

struct ns_tls_evidence {
    bool looked;        /* it was there to be looked at, all the while */
    bool library;       /* libnullspend.so is mapped */
    bool openssl;       /* a libssl of OpenSSL's is mapped */
    bool shows_openssl; /* the executable shows SSL_write, as Node does */
    bool jvm, gnutls, nss;
    bool go, rustls, boringssl, hidden_openssl; /* inside the executable or a library of its own */
};

/* Looks at a running process. */
void ns_evidence_look(uint32_t pid, struct ns_tls_evidence *evidence);

/* Looks into one file, a program's or a library's; adds what it shows. Returns 0 or a negative
 * errno. */
int ns_evidence_look_into(const char *path, struct ns_tls_evidence *evidence);

/* Why nothing governs a process with this, where nothing does: what is surest first. in_reach: a
 * shared OpenSSL, or one that shows, would be governed by the agent that asks. */
enum ns_darkness ns_evidence_darkness(const struct ns_tls_evidence *evidence, bool in_reach);

#endif
