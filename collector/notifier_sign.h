/* SPDX-License-Identifier: Apache-2.0 */
/* The signature of a webhook: HMAC-SHA256 (RFC 2104, FIPS 180-4) over "SECONDS.BODY". */
#ifndef NS_COLLECTOR_NOTIFIER_SIGN_H
#define NS_COLLECTOR_NOTIFIER_SIGN_H

#include <stddef.h>
#include <stdint.h>

/* While secrets rotate two are good. */
#define NS_SIGN_SECRETS_MAX 2
/* "t=" and 20 digits, ",v1=" and 64 of hex for each secret, NUL. */
#define NS_SIGNATURE_BYTES (2 + 20 + NS_SIGN_SECRETS_MAX * (4 + 64) + 1)

/* HMAC-SHA256 in hex. Returns 0 or -ENOMEM. Any thread. */
#define NS_HMAC_TEXT_BYTES 65
int ns_hmac(const char *key, const void *bytes, size_t count, char hex[static NS_HMAC_TEXT_BYTES]);

/*
 * Writes "t=SECONDS,v1=HEX[,v1=HEX]", one v1 for each secret that is not NULL. Returns 0, -EINVAL
 * without any secret, or -ENOMEM. Any thread.
 */
int ns_sign(int64_t unix_s, const char *const secrets[static NS_SIGN_SECRETS_MAX], const char *body,
            size_t body_bytes, char signature[static NS_SIGNATURE_BYTES]);

#endif
