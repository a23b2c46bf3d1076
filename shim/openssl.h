/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of one loaded libssl (1.1 to 3.x) that the hooks need, found by name at run time.
 * Declared here and not taken from OpenSSL's headers: the object must not depend on a version.
 */
#ifndef NS_SHIM_OPENSSL_H
#define NS_SHIM_OPENSSL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ssl_st SSL; /* OpenSSL's own name */
struct bio_st;

/* F(name, return type, parameters). The plain six are in every libssl; the others may be NULL. */
#define NS_SSL_FUNCTIONS(F)                                                                        \
    F(SSL_write, int, (SSL *, const void *, int))                                                  \
    F(SSL_read, int, (SSL *, void *, int))                                                         \
    F(SSL_peek, int, (SSL *, void *, int))                                                         \
    F(SSL_pending, int, (const SSL *))                                                             \
    F(SSL_free, void, (SSL *))                                                                     \
    F(SSL_clear, int, (SSL *))                                                                     \
    F(SSL_shutdown, int, (SSL *))                                                                  \
    F(SSL_write_ex, int, (SSL *, const void *, size_t, size_t *))                                  \
    F(SSL_write_ex2, int, (SSL *, const void *, size_t, uint64_t, size_t *))                       \
    F(SSL_read_ex, int, (SSL *, void *, size_t, size_t *))                                         \
    F(SSL_peek_ex, int, (SSL *, void *, size_t, size_t *))                                         \
    F(SSL_has_pending, int, (const SSL *))                                                         \
    F(SSL_write_early_data, int, (SSL *, const void *, size_t, size_t *))                          \
    F(SSL_read_early_data, int, (SSL *, void *, size_t, size_t *))                                 \
    F(SSL_get_servername, const char *, (const SSL *, int))                                        \
    F(SSL_get0_alpn_selected, void, (const SSL *, const unsigned char **, unsigned int *))         \
    F(SSL_is_server, int, (const SSL *))                                                           \
    F(SSL_is_init_finished, int, (const SSL *))                                                    \
    F(SSL_do_handshake, int, (SSL *))                                                              \
    F(SSL_key_update, int, (SSL *, int))                                                           \
    F(SSL_version, int, (const SSL *))                                                             \
    F(SSL_ctrl, long, (SSL *, int, long, void *))                                                  \
    F(SSL_up_ref, int, (SSL *))                                                                    \
    F(SSL_get_fd, int, (const SSL *))                                                              \
    F(SSL_set_shutdown, void, (SSL *, int))                                                        \
    F(SSL_get_rbio, struct bio_st *, (const SSL *))                                                \
    F(SSL_get_wbio, struct bio_st *, (const SSL *))

/* In the libcrypto that this libssl was linked with. */
#define NS_CRYPTO_FUNCTIONS(F)                                                                     \
    F(BIO_test_flags, int, (const struct bio_st *, int))                                           \
    F(ERR_set_mark, int, (void))                                                                   \
    F(ERR_pop_to_mark, int, (void))                                                                \
    F(ERR_clear_last_mark, int, (void))                                                            \
    F(ERR_new, void, (void))                                                                       \
    F(ERR_set_debug, void, (const char *, int, const char *))                                      \
    F(ERR_set_error, void, (int, int, const char *, ...))                                          \
    F(ERR_put_error, void, (int, int, int, const char *, int))

struct ns_openssl {
#define F(name, type, parameters) type(*name) parameters;
    NS_SSL_FUNCTIONS(F)
    NS_CRYPTO_FUNCTIONS(F)
#undef F
    uintptr_t base; /* where this libssl is loaded: its mappings from begin to end */
    uintptr_t begin;
    uintptr_t end;
    const char *name;   /* the loader's, for comparing only */
    const char *soname; /* in the library's own string table */
};

/* Constants of OpenSSL's headers, the same in all versions. */
#define NS_SSL_CTRL_MODE 33
#define NS_SSL_MODE_ENABLE_PARTIAL_WRITE 1
#define NS_SSL_KEY_UPDATE_REQUESTED 1
#define NS_SSL_TLS1_3_VERSION 0x0304
#define NS_SSL_SENT_SHUTDOWN 1
#define NS_SSL_RECEIVED_SHUTDOWN 2
#define NS_BIO_FLAGS_SHOULD_RETRY 8
#define NS_ERR_LIB_SSL 20

/* Reasons that all libraries of OpenSSL share: their places among the fatal ones, from 1. */
enum ns_err_reason { NS_ERR_MALLOC_FAILURE = 1, NS_ERR_SHOULD_NOT_HAVE_BEEN_CALLED = 2 };

/* Puts an error into the thread's queue, as the functions that the hooks stand for do. */
static inline void
ns_openssl_raise(const struct ns_openssl *api, const char *function, enum ns_err_reason reason)
{
    if (api->ERR_new != NULL && api->ERR_set_debug != NULL && api->ERR_set_error != NULL) {
        api->ERR_new(); /* 3.x: fatal and common are bits above the reason */
        api->ERR_set_debug("", 0, function);
        api->ERR_set_error(NS_ERR_LIB_SSL, 3 << 18 | (255 + (int)reason), NULL);
    } else if (api->ERR_put_error != NULL) {
        api->ERR_put_error(NS_ERR_LIB_SSL, 0, 64 | (int)reason, "", 0);
    }
}

#endif
