/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of one loaded libssl (1.1 to 4.x) that the hooks need, found by name at run time.
 * Declared here and not taken from OpenSSL's headers: the object must not depend on a version.
 */
#ifndef NS_SHIM_OPENSSL_H
#define NS_SHIM_OPENSSL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct ssl_st SSL; /* OpenSSL's own names */
typedef struct ssl_ctx_st SSL_CTX;
typedef struct bio_st BIO;
typedef struct bio_method_st BIO_METHOD;

/* Callbacks of a BIO_METHOD. */
typedef int (*ns_bio_write)(BIO *, const char *, size_t, size_t *);
typedef int (*ns_bio_read)(BIO *, char *, size_t, size_t *);
typedef int (*ns_bio_puts)(BIO *, const char *);
typedef int (*ns_bio_gets)(BIO *, char *, int);
typedef long (*ns_bio_ctrl)(BIO *, int, long, void *);
typedef int (*ns_bio_create)(BIO *);
typedef int (*ns_bio_info)(BIO *, int, int);
typedef long (*ns_bio_callback_ctrl)(BIO *, int, ns_bio_info);

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
    F(SSL_get_rbio, BIO *, (const SSL *))                                                          \
    F(SSL_get_wbio, BIO *, (const SSL *))                                                          \
    F(SSL_get_fd, int, (const SSL *))                                                              \
    F(SSL_set_shutdown, void, (SSL *, int))                                                        \
    F(SSL_get_error, int, (const SSL *, int))                                                      \
    F(SSL_sendfile, ssize_t, (SSL *, int, off_t, size_t, int))                                     \
    F(SSL_new, SSL *, (SSL_CTX *))                                                                 \
    F(SSL_set_connect_state, void, (SSL *))                                                        \
    F(SSL_set_accept_state, void, (SSL *))                                                         \
    F(BIO_f_ssl, const BIO_METHOD *, (void))                                                       \
    F(BIO_new_ssl, BIO *, (SSL_CTX *, int))                                                        \
    F(BIO_new_ssl_connect, BIO *, (SSL_CTX *))                                                     \
    F(BIO_new_buffer_ssl_connect, BIO *, (SSL_CTX *))

/* In the libcrypto that this libssl was linked with. */
#define NS_CRYPTO_FUNCTIONS(F)                                                                     \
    F(BIO_test_flags, int, (const BIO *, int))                                                     \
    F(BIO_method_type, int, (const BIO *))                                                         \
    F(ERR_set_mark, int, (void))                                                                   \
    F(ERR_pop_to_mark, int, (void))                                                                \
    F(ERR_clear_last_mark, int, (void))                                                            \
    F(ERR_new, void, (void))                                                                       \
    F(ERR_set_debug, void, (const char *, int, const char *))                                      \
    F(ERR_set_error, void, (int, int, const char *, ...))                                          \
    F(ERR_put_error, void, (int, int, int, const char *, int))                                     \
    F(OpenSSL_version, const char *, (int))                                                        \
    F(BIO_new, BIO *, (const BIO_METHOD *))                                                        \
    F(BIO_free, int, (BIO *))                                                                      \
    F(BIO_push, BIO *, (BIO *, BIO *))                                                             \
    F(BIO_pop, BIO *, (BIO *))                                                                     \
    F(BIO_ctrl, long, (BIO *, int, long, void *))                                                  \
    F(BIO_get_shutdown, int, (BIO *))                                                              \
    F(BIO_set_flags, void, (BIO *, int))                                                           \
    F(BIO_clear_flags, void, (BIO *, int))                                                         \
    F(BIO_set_retry_reason, void, (BIO *, int))                                                    \
    F(BIO_meth_new, BIO_METHOD *, (int, const char *))                                             \
    F(BIO_meth_free, void, (BIO_METHOD *))                                                         \
    F(BIO_meth_get_write_ex, ns_bio_write, (const BIO_METHOD *))                                   \
    F(BIO_meth_set_write_ex, int, (BIO_METHOD *, ns_bio_write))                                    \
    F(BIO_meth_get_read_ex, ns_bio_read, (const BIO_METHOD *))                                     \
    F(BIO_meth_set_read_ex, int, (BIO_METHOD *, ns_bio_read))                                      \
    F(BIO_meth_get_puts, ns_bio_puts, (const BIO_METHOD *))                                        \
    F(BIO_meth_set_puts, int, (BIO_METHOD *, ns_bio_puts))                                         \
    F(BIO_meth_get_gets, ns_bio_gets, (const BIO_METHOD *))                                        \
    F(BIO_meth_set_gets, int, (BIO_METHOD *, ns_bio_gets))                                         \
    F(BIO_meth_get_ctrl, ns_bio_ctrl, (const BIO_METHOD *))                                        \
    F(BIO_meth_set_ctrl, int, (BIO_METHOD *, ns_bio_ctrl))                                         \
    F(BIO_meth_get_create, ns_bio_create, (const BIO_METHOD *))                                    \
    F(BIO_meth_set_create, int, (BIO_METHOD *, ns_bio_create))                                     \
    F(BIO_meth_get_destroy, ns_bio_create, (const BIO_METHOD *))                                   \
    F(BIO_meth_set_destroy, int, (BIO_METHOD *, ns_bio_create))                                    \
    F(BIO_meth_get_callback_ctrl, ns_bio_callback_ctrl, (const BIO_METHOD *))                      \
    F(BIO_meth_set_callback_ctrl, int, (BIO_METHOD *, ns_bio_callback_ctrl))

/* Whose libssl it is. Others show functions of the same names, but differ in what stands behind
 * them, and what is not known is not touched. */
enum ns_library { NS_LIBRARY_OPENSSL, NS_LIBRARY_LIBRESSL, NS_LIBRARY_BORINGSSL, NS_LIBRARY_OTHER };

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
    enum ns_library library;
    uint32_t refusal_told; /* in the log */
    uint32_t serial;       /* another one each time that a libssl is found */
};

/* Constants of OpenSSL's headers, the same in all versions. */
#define NS_SSL_CTRL_MODE 33
#define NS_SSL_MODE_ENABLE_PARTIAL_WRITE 1
#define NS_SSL_KEY_UPDATE_REQUESTED 1
#define NS_SSL_TLS1_3_VERSION 0x0304
#define NS_SSL_ERROR_NONE 0
#define NS_SSL_ERROR_WANT_READ 2
#define NS_SSL_ERROR_WANT_WRITE 3
#define NS_SSL_ERROR_WANT_X509_LOOKUP 4
#define NS_SSL_ERROR_WANT_CONNECT 7
#define NS_SSL_ERROR_WANT_ACCEPT 8
#define NS_BIO_FLAGS_READ 1
#define NS_BIO_FLAGS_WRITE 2
#define NS_BIO_FLAGS_IO_SPECIAL 4
#define NS_SSL_SENT_SHUTDOWN 1
#define NS_SSL_RECEIVED_SHUTDOWN 2
#define NS_BIO_FLAGS_SHOULD_RETRY 8
#define NS_BIO_RR_SSL_X509_LOOKUP 1
#define NS_BIO_RR_CONNECT 2
#define NS_BIO_RR_ACCEPT 3
#define NS_BIO_TYPE_SSL (7 | 0x0200)
#define NS_BIO_TYPE_MEM (1 | 0x0400)
#define NS_BIO_CLOSE 1
#define NS_BIO_CTRL_RESET 1
#define NS_BIO_CTRL_PENDING 10
#define NS_BIO_CTRL_GET_KTLS_SEND 73
#define NS_BIO_C_SET_SSL 109
#define NS_BIO_C_GET_SSL 110
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
