/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL's method of SSL BIOs is one constant table for everybody. A copy of it is made through
 * the public functions for methods, in which reading, writing, control and the end are ours; each
 * hands on to the original's where the connection is not governed. The functions that make SSL BIOs
 * inside libssl may be bound there to the original's table, so they are hooked too.
 */
#include "shim/bio.h"

#include <string.h>

#include "base/mem.h"
#include "shim/connections.h"
#include "shim/process.h"
#include "shim/resolve.h"

/* Of one libssl. Made once and never freed: BIOs refer to it until the end. */
struct method {
    const struct ns_openssl *api;
    uint32_t serial; /* of the libssl: api may come to mean another, when that is unloaded */
    BIO_METHOD *ours;
    ns_bio_write write;
    ns_bio_read read;
    ns_bio_ctrl ctrl;
    ns_bio_create destroy;
};

static struct method *methods[NS_LIBSSL_MAX]; /* set once for each libssl */

static struct method *
method_at(size_t index)
{
    return __atomic_load_n(&methods[index], __ATOMIC_ACQUIRE);
}

/* struct bio_st begins with pointers, one of the first being its method (word 0 in 1.1, word 1 from
 * 3.0 on). */
static const struct method *
method_of(const BIO *bio)
{
    const BIO_METHOD *words[4];
    memcpy(words, (const void *)bio, sizeof words);
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
        for (size_t i = 0; i < NS_LIBSSL_MAX; i++) {
            const struct method *method = method_at(i);
            if (method != NULL && words[w] == method->ours) {
                return method;
            }
        }
    }
    return NULL;
}

static SSL *
ssl_of(const struct method *method, BIO *bio)
{
    SSL *ssl = NULL;
    method->ctrl(bio, NS_BIO_C_GET_SSL, 0, &ssl);
    return ssl;
}

static void
ask_for_retry(const struct ns_openssl *api, BIO *bio, int flags, int reason)
{
    api->BIO_set_flags(bio, flags | NS_BIO_FLAGS_SHOULD_RETRY);
    if (reason != 0) {
        api->BIO_set_retry_reason(bio, reason);
    }
}

/* Tells the BIO's user what SSL_get_error would tell, as ssl/bio_ssl.c does. */
static void
tell_error(const struct ns_openssl *api, BIO *bio, const SSL *ssl, int result)
{
    switch (api->SSL_get_error(ssl, result)) {
    case NS_SSL_ERROR_WANT_READ:
        ask_for_retry(api, bio, NS_BIO_FLAGS_READ, 0);
        break;
    case NS_SSL_ERROR_WANT_WRITE:
        ask_for_retry(api, bio, NS_BIO_FLAGS_WRITE, 0);
        break;
    case NS_SSL_ERROR_WANT_X509_LOOKUP:
        ask_for_retry(api, bio, NS_BIO_FLAGS_IO_SPECIAL, NS_BIO_RR_SSL_X509_LOOKUP);
        break;
    case NS_SSL_ERROR_WANT_CONNECT:
        ask_for_retry(api, bio, NS_BIO_FLAGS_IO_SPECIAL, NS_BIO_RR_CONNECT);
        break;
    case NS_SSL_ERROR_WANT_ACCEPT:
        ask_for_retry(api, bio, NS_BIO_FLAGS_IO_SPECIAL, NS_BIO_RR_ACCEPT);
        break;
    default:
        break;
    }
}

/* Before bytes are read or written: the engine, or NULL where the original does it. */
static struct ns_engine *
begin(const struct ns_openssl *api, BIO *bio, SSL *ssl, bool some)
{
    struct ns_target target = {0};
    if (ssl != NULL && some) {
        target = ns_hook_aim(ssl, NULL);
    }
    if (target.engine != NULL) {
        api->BIO_clear_flags(bio, NS_BIO_FLAGS_READ | NS_BIO_FLAGS_WRITE | NS_BIO_FLAGS_IO_SPECIAL |
                                      NS_BIO_FLAGS_SHOULD_RETRY);
    }
    return target.engine;
}

static int
write_bio(BIO *bio, const char *bytes, size_t count, size_t *written)
{
    const struct method *method = method_of(bio);
    if (method == NULL) {
        return 0;
    }
    SSL *ssl = ssl_of(method, bio);
    struct ns_engine *engine = begin(method->api, bio, ssl, bytes != NULL && count > 0);
    if (engine == NULL) {
        return method->write(bio, bytes, count, written);
    }
    int result = ns_hook_write(engine, bytes, count, false, written);
    tell_error(method->api, bio, ssl, result);
    return result;
}

static int
read_bio(BIO *bio, char *bytes, size_t count, size_t *got)
{
    const struct method *method = method_of(bio);
    if (method == NULL) {
        return 0;
    }
    SSL *ssl = ssl_of(method, bio);
    struct ns_engine *engine = begin(method->api, bio, ssl, bytes != NULL && count > 0);
    if (engine == NULL) {
        return method->read(bio, bytes, count, got);
    }
    int result = ns_hook_read(engine, bytes, count, false, false, got);
    tell_error(method->api, bio, ssl, result);
    return result;
}

/* The SSL's end, where libssl frees it by a call that does not pass the hooks. */
struct end {
    const struct ns_connection *connection; /* NULL: of no interest */
    uint32_t references;
};

static struct end
begin_end(const struct method *method, BIO *bio, const SSL *ssl)
{
    struct end end = {0};
    if (ssl == NULL || method->api->BIO_get_shutdown(bio) == 0) {
        return end; /* the SSL stays */
    }
    end.connection = ns_connection_find(ssl);
    if (end.connection != NULL) {
        end.references = __atomic_load_n(&end.connection->references, __ATOMIC_RELAXED);
        if (end.references == 0) {
            ns_hook_part(ssl);
            end.connection = NULL;
        }
    }
    return end;
}

static void
finish_end(struct end end, const SSL *ssl)
{
    struct ns_connection *connection = end.connection == NULL ? NULL : ns_connection_find(ssl);
    if (connection != NULL && connection == end.connection &&
        __atomic_load_n(&connection->references, __ATOMIC_RELAXED) == end.references) {
        __atomic_sub_fetch(&connection->references, 1, __ATOMIC_RELAXED);
    }
}

static long
control_bio(BIO *bio, int command, long number, void *pointer)
{
    const struct method *method = method_of(bio);
    if (method == NULL) {
        return 0;
    }
    struct end end = {0};
    SSL *ssl = NULL;
    if (command == NS_BIO_CTRL_RESET || command == NS_BIO_C_SET_SSL) {
        ssl = ssl_of(method, bio);
    }
    if (command == NS_BIO_CTRL_RESET && ssl != NULL) {
        ns_hook_part(ssl); /* SSL_clear */
    } else if (command == NS_BIO_C_SET_SSL) {
        end = begin_end(method, bio, ssl);
    } else if (command == NS_BIO_CTRL_PENDING) {
        struct ns_target target = {0};
        ssl = ssl_of(method, bio);
        if (ssl != NULL) {
            target = ns_hook_aim_known(ssl, NULL);
        }
        size_t ours = target.engine == NULL ? 0 : ns_engine_pending(target.engine);
        if (ours > 0) {
            return (long)ours + method->api->SSL_pending(ssl);
        }
    }
    long result = method->ctrl(bio, command, number, pointer);
    finish_end(end, ssl);
    return result;
}

static int
destroy_bio(BIO *bio)
{
    const struct method *method = method_of(bio);
    if (method == NULL) {
        return 0;
    }
    SSL *ssl = ssl_of(method, bio);
    struct end end = begin_end(method, bio, ssl);
    int result = method->destroy(bio);
    finish_end(end, ssl);
    return result;
}

/* --- making it
 * ------------------------------------------------------------------------------------ */

static bool
has_methods(const struct ns_openssl *api)
{
    return api->library == NS_LIBRARY_OPENSSL && api->BIO_f_ssl != NULL &&
           api->SSL_write_ex != NULL && api->SSL_read_ex != NULL && api->SSL_get_error != NULL &&
           api->SSL_new != NULL && api->SSL_set_connect_state != NULL &&
           api->SSL_set_accept_state != NULL && api->BIO_new != NULL && api->BIO_free != NULL &&
           api->BIO_push != NULL && api->BIO_pop != NULL && api->BIO_ctrl != NULL &&
           api->BIO_get_shutdown != NULL && api->BIO_set_flags != NULL &&
           api->BIO_clear_flags != NULL && api->BIO_set_retry_reason != NULL &&
           api->BIO_meth_new != NULL && api->BIO_meth_free != NULL &&
           api->BIO_meth_get_write_ex != NULL && api->BIO_meth_set_write_ex != NULL &&
           api->BIO_meth_get_read_ex != NULL && api->BIO_meth_set_read_ex != NULL &&
           api->BIO_meth_get_puts != NULL && api->BIO_meth_set_puts != NULL &&
           api->BIO_meth_get_gets != NULL && api->BIO_meth_set_gets != NULL &&
           api->BIO_meth_get_ctrl != NULL && api->BIO_meth_set_ctrl != NULL &&
           api->BIO_meth_get_create != NULL && api->BIO_meth_set_create != NULL &&
           api->BIO_meth_get_destroy != NULL && api->BIO_meth_set_destroy != NULL &&
           api->BIO_meth_get_callback_ctrl != NULL && api->BIO_meth_set_callback_ctrl != NULL;
}

static bool
derive(struct method *method, const struct ns_openssl *api, const BIO_METHOD *original)
{
    method->api = api;
    // cppcheck-suppress AssignmentIntegerToAddress
    method->write = api->BIO_meth_get_write_ex(original);
    // cppcheck-suppress AssignmentIntegerToAddress
    method->read = api->BIO_meth_get_read_ex(original);
    method->ctrl = api->BIO_meth_get_ctrl(original);
    // cppcheck-suppress AssignmentIntegerToAddress
    method->destroy = api->BIO_meth_get_destroy(original);
    if (method->write == NULL || method->read == NULL || method->ctrl == NULL ||
        method->destroy == NULL) {
        return false;
    }
    BIO_METHOD *ours = method->ours = api->BIO_meth_new(NS_BIO_TYPE_SSL, "ssl");
    return ours != NULL && api->BIO_meth_set_write_ex(ours, write_bio) == 1 &&
           api->BIO_meth_set_read_ex(ours, read_bio) == 1 &&
           api->BIO_meth_set_puts(ours, api->BIO_meth_get_puts(original)) == 1 &&
           api->BIO_meth_set_gets(ours, api->BIO_meth_get_gets(original)) == 1 &&
           api->BIO_meth_set_ctrl(ours, control_bio) == 1 &&
           api->BIO_meth_set_create(ours, api->BIO_meth_get_create(original)) == 1 &&
           api->BIO_meth_set_destroy(ours, destroy_bio) == 1 &&
           api->BIO_meth_set_callback_ctrl(ours, api->BIO_meth_get_callback_ctrl(original)) == 1;
}

static void
discard(struct method *method)
{
    if (method != NULL) {
        method->api->BIO_meth_free(method->ours);
        ns_mem_free(method);
    }
}

/* For SSL BIOs of this libssl; NULL where they keep the original's. */
static const struct method *
method_for(const struct ns_openssl *api)
{
    size_t index = ns_resolve_index(api);
    struct method *known = method_at(index);
    if (known != NULL && known->serial != api->serial) {
        struct method *stale = known; /* it stays: who looks for another may be reading it */
        known = NULL;
        __atomic_compare_exchange_n(&methods[index], &stale, NULL, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE);
    }
    if (known != NULL || !has_methods(api) || !ns_process_ready()) {
        return known;
    }
    struct method *method = ns_mem_alloc(sizeof *method);
    if (method == NULL) {
        return NULL;
    }
    method->api = api;
    method->serial = api->serial;
    struct method *none = NULL;
    if (!derive(method, api, api->BIO_f_ssl()) ||
        !__atomic_compare_exchange_n(&methods[index], &none, method, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        discard(method);
        return none;
    }
    return method;
}

const BIO_METHOD *
BIO_f_ssl(void)
{
    const struct ns_openssl *api = ns_resolve(NULL, NS_CALLER);
    if (api == NULL || api->BIO_f_ssl == NULL) {
        return NULL;
    }
    const struct method *method = method_for(api);
    return method != NULL ? method->ours : api->BIO_f_ssl();
}

/* As ssl/bio_ssl.c does it. */
static BIO *
make(const struct method *method, SSL_CTX *context, int client)
{
    const struct ns_openssl *api = method->api;
    BIO *bio = api->BIO_new(method->ours);
    SSL *ssl = bio == NULL ? NULL : api->SSL_new(context);
    if (ssl == NULL) {
        api->BIO_free(bio);
        return NULL;
    }
    if (client != 0) {
        api->SSL_set_connect_state(ssl);
    } else {
        api->SSL_set_accept_state(ssl);
    }
    api->BIO_ctrl(bio, NS_BIO_C_SET_SSL, NS_BIO_CLOSE, ssl);
    return bio;
}

BIO *
BIO_new_ssl(SSL_CTX *context, int client)
{
    const struct ns_openssl *api = ns_resolve_context(context, NS_CALLER);
    if (api == NULL || api->BIO_new_ssl == NULL) {
        return NULL;
    }
    const struct method *method = method_for(api);
    return method != NULL ? make(method, context, client) : api->BIO_new_ssl(context, client);
}

/* Puts an SSL BIO of ours into the place of the one that heads this chain. */
static BIO *
replace(const struct method *method, BIO *chain, SSL_CTX *context)
{
    if (chain == NULL || method == NULL || method_of(chain) != NULL) {
        return chain;
    }
    BIO *bio = make(method, context, 1);
    if (bio == NULL) {
        return chain; /* without memory: ungoverned, and whole */
    }
    BIO *below = method->api->BIO_pop(chain);
    method->api->BIO_free(chain);
    return method->api->BIO_push(bio, below);
}

BIO *
BIO_new_ssl_connect(SSL_CTX *context)
{
    const struct ns_openssl *api = ns_resolve_context(context, NS_CALLER);
    if (api == NULL || api->BIO_new_ssl_connect == NULL) {
        return NULL;
    }
    return replace(method_for(api), api->BIO_new_ssl_connect(context), context);
}

BIO *
BIO_new_buffer_ssl_connect(SSL_CTX *context)
{
    const struct ns_openssl *api = ns_resolve_context(context, NS_CALLER);
    if (api == NULL || api->BIO_new_buffer_ssl_connect == NULL) {
        return NULL;
    }
    BIO *buffer = api->BIO_new_buffer_ssl_connect(context);
    const struct method *method = buffer == NULL ? NULL : method_for(api);
    if (method == NULL) {
        return buffer;
    }
    BIO *chain = api->BIO_pop(buffer);
    return api->BIO_push(buffer, replace(method, chain, context));
}
