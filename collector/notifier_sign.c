/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/notifier_sign.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "collector/buffer.h"

#define DIGEST_BYTES 32

int
ns_hmac(const char *key, const void *bytes, size_t count, char hex[static NS_HMAC_TEXT_BYTES])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_bytes = 0;
    if (HMAC(EVP_sha256(), key, (int)strlen(key), bytes, count, digest, &digest_bytes) == NULL ||
        digest_bytes != DIGEST_BYTES) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        snprintf(hex + 2 * i, NS_HMAC_TEXT_BYTES - 2 * i, "%02x", digest[i]);
    }
    return 0;
}

int
ns_sign(int64_t unix_s, const char *const secrets[static NS_SIGN_SECRETS_MAX], const char *body,
        size_t body_bytes, char signature[static NS_SIGNATURE_BYTES])
{
    struct ns_buffer message = {0};
    size_t at = (size_t)snprintf(signature, NS_SIGNATURE_BYTES, "t=%" PRId64, unix_s);
    int result = -EINVAL;
    ns_buffer_print(&message, "%" PRId64 ".", unix_s);
    ns_buffer_add(&message, body, body_bytes);
    for (size_t i = 0; i < NS_SIGN_SECRETS_MAX && !message.failed; i++) {
        if (secrets[i] == NULL) {
            continue;
        }
        char hex[NS_HMAC_TEXT_BYTES];
        result = ns_hmac(secrets[i], message.bytes, message.count, hex);
        if (result != 0) {
            break;
        }
        at += (size_t)snprintf(signature + at, NS_SIGNATURE_BYTES - at, ",v1=%s", hex);
    }
    result = message.failed ? -ENOMEM : result;
    ns_buffer_free(&message);
    return result;
}
