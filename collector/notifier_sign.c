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

static int
add(const char *secret, const struct ns_buffer *message, char *signature, size_t *at)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned count = 0;
    if (HMAC(EVP_sha256(), secret, (int)strlen(secret), message->bytes, message->count, digest,
             &count) == NULL ||
        count != DIGEST_BYTES) {
        return -ENOMEM;
    }
    *at += (size_t)snprintf(signature + *at, NS_SIGNATURE_BYTES - *at, ",v1=");
    for (unsigned i = 0; i < DIGEST_BYTES; i++) {
        *at += (size_t)snprintf(signature + *at, NS_SIGNATURE_BYTES - *at, "%02x", digest[i]);
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
        if (secrets[i] != NULL) {
            result = add(secrets[i], &message, signature, &at);
            if (result != 0) {
                break;
            }
        }
    }
    result = message.failed ? -ENOMEM : result;
    ns_buffer_free(&message);
    return result;
}
