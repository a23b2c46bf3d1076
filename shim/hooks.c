/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hooks: the only functions that programs call without knowing it.
 *
 * Each has one shape: find the connection; if it is not governed (or the library is inside itself,
 * or off), hand the call on unchanged; else let the engine do it. A hook works before any
 * constructor has run. OpenSSL may call back into the program in the midst of a call of ours (BIO
 * methods, the callback for the end of a handshake, upon which Node writes its request at once):
 * what the program does there is its own, and governed like all else.
 */
#include "shim/hooks.h"

#include <limits.h>
#include <stdint.h>

#include "base/hot.h"
#include "shim/bio.h"
#include "shim/connections.h"
#include "shim/counters.h"
#include "shim/gate.h"
#include "shim/log.h"
#include "shim/process.h"
#include "shim/resolve.h"
#include "shim/unjudged.h"

/* The engine that this thread is in, the innermost one. */
static __thread const struct ns_engine *inside __attribute__((tls_model("initial-exec")));

/* --- which connection
 * ----------------------------------------------------------------------------- */

/* Of a libssl that is not OpenSSL's: counted for each connection, told once. */
static void
refuse_library(const struct ns_openssl *api)
{
    static const struct {
        enum ns_counter counter;
        const char *name;
    } reasons[] = {
        [NS_LIBRARY_LIBRESSL] = {NS_COUNTER_LIBRESSL, "not governed: LibreSSL"},
        [NS_LIBRARY_BORINGSSL] = {NS_COUNTER_BORINGSSL, "not governed: BoringSSL"},
        [NS_LIBRARY_OTHER] = {NS_COUNTER_UNKNOWN_LIBRARY, "not governed: no OpenSSL from 1.1 to 4"},
    };
    ns_count(reasons[api->library].counter);
    struct ns_openssl *copy = ns_resolve_at((const void *)api->begin);
    if (copy != NULL && __atomic_exchange_n(&copy->refusal_told, 1, __ATOMIC_RELAXED) == 0) {
        ns_log(reasons[api->library].name, api->soname);
    }
}

/* A connection to a provider that there is no room for. Returns whether it must fail: nothing on it
 * could be judged. */
static bool
must_fail(const struct ns_openssl *api, bool full)
{
    if (!ns_unjudged_is_denied()) {
        ns_count(full ? NS_COUNTER_PAST_BOUND : NS_COUNTER_NO_MEMORY);
        return false;
    }
    ns_count(full ? NS_COUNTER_DENIED_PAST_BOUND : NS_COUNTER_DENIED_NO_MEMORY);
    ns_openssl_raise(api, "nullspend", NS_ERR_MALLOC_FAILURE);
    return true;
}

/* The first byte of a connection: decides whether it is governed, for good. NULL: it is not known,
 * and *fails says whether it may go on so. */
static struct ns_connection *
meet(SSL *ssl, const struct ns_openssl *api, bool ready, bool *fails)
{
    bool refused = false;
    struct ns_engine *engine = NULL;
    if (ready && api->library != NS_LIBRARY_OPENSSL) {
        refuse_library(api);
    } else if (ready) {
        engine = ns_engine_new(ssl, api, &refused);
    }
    *fails = refused && must_fail(api, false);
    struct ns_connection *connection = *fails ? NULL : ns_connection_add(ssl, api, engine);
    if (connection == NULL && engine != NULL) {
        *fails = must_fail(api, ns_connections_full());
    }
    if (engine != NULL && (connection == NULL || connection->engine != engine)) {
        ns_engine_free(engine);
    }
    return connection;
}

static void
end(struct ns_connection *connection)
{
    if (connection->engine != NULL) {
        ns_engine_free(connection->engine);
    }
    ns_connection_give_back(connection);
}

/* What the program leaked of a libssl that is not there any more has ended with it. */
static void
end_forgotten(void)
{
    struct ns_connection *connection;
    while ((connection = ns_connection_take_forgotten()) != NULL) {
        end(connection);
    }
}

/* A connection that a child of fork goes on using becomes the child's. */
static void
adopt(struct ns_engine *engine)
{
    if (engine->life != ns_process_life()) {
        engine->life = ns_process_life();
        engine->lock.held = 0;
        engine->flushing.held = 0;
        engine->writing = false;
        engine->reading = false;
    }
}

static inline struct ns_target
aim_at(const struct ns_connection *connection, bool ready)
{
    struct ns_engine *engine = connection->engine;
    if (engine == NULL || !ready || ns_engine_is_done(engine)) {
        return (struct ns_target){connection->api, NULL};
    }
    adopt(engine);
    return (struct ns_target){connection->api, engine};
}

__attribute__((noinline)) static struct ns_target
aim_first(SSL *ssl, const void *caller, bool ready)
{
    const struct ns_openssl *api = ns_resolve(ssl, caller);
    if (api == NULL) {
        return (struct ns_target){api, NULL};
    }
    end_forgotten();
    bool fails;
    const struct ns_connection *connection = meet(ssl, api, ready, &fails);
    if (connection == NULL) {
        return (struct ns_target){fails ? NULL : api, NULL};
    }
    return aim_at(connection, ready);
}

NS_HOT struct ns_target
ns_hook_aim(SSL *ssl, const void *caller)
{
    bool ready = ns_process_ready();
    const struct ns_connection *connection = ns_connection_find(ssl);
    return connection != NULL ? aim_at(connection, ready) : aim_first(ssl, caller, ready);
}

NS_HOT struct ns_target
ns_hook_aim_known(const SSL *ssl, const void *caller)
{
    bool ready = ns_process_ready();
    struct ns_connection *connection = ns_connection_find(ssl);
    if (connection == NULL) {
        return (struct ns_target){ns_resolve(ssl, caller), NULL};
    }
    bool handed_on = !ready || connection->engine == NULL;
    return (struct ns_target){connection->api, handed_on ? NULL : connection->engine};
}

/* --- writing
 * -------------------------------------------------------------------------------------- */

int
ns_hook_write(struct ns_engine *engine, const void *bytes, size_t count, bool plain,
              size_t *written)
{
    const struct ns_engine *outside = inside;
    bool plain_outside = engine->plain_write;
    inside = engine;
    engine->plain_write = plain;
    int result = ns_engine_write(engine, bytes, count, written);
    if (outside == engine) {
        engine->plain_write = plain_outside; /* the outer call goes on */
    }
    inside = outside;
    return result;
}

NS_HOOK int SSL_write(SSL *ssl, const void *bytes, int count);
NS_HOOK int
SSL_write(SSL *ssl, const void *bytes, int count)
{
    struct ns_target target = ns_hook_aim(ssl, NS_CALLER);
    if (target.api == NULL) {
        return -1;
    }
    if (target.engine == NULL || count <= 0) {
        return target.api->SSL_write(ssl, bytes, count);
    }
    size_t written = 0;
    int result = ns_hook_write(target.engine, bytes, (size_t)count, true, &written);
    return result > 0 ? (int)written : result;
}

NS_HOOK int SSL_write_ex(SSL *ssl, const void *bytes, size_t count, size_t *written);
NS_HOOK int
SSL_write_ex(SSL *ssl, const void *bytes, size_t count, size_t *written)
{
    struct ns_target target = ns_hook_aim(ssl, NS_CALLER);
    if (target.api == NULL || target.api->SSL_write_ex == NULL) {
        return 0;
    }
    if (target.engine == NULL || count == 0) {
        return target.api->SSL_write_ex(ssl, bytes, count, written);
    }
    return ns_hook_write(target.engine, bytes, count, false, written) > 0;
}

NS_HOOK int SSL_write_ex2(SSL *ssl, const void *bytes, size_t count, uint64_t flags,
                          size_t *written);
NS_HOOK int
SSL_write_ex2(SSL *ssl, const void *bytes, size_t count, uint64_t flags, size_t *written)
{
    struct ns_target target = ns_hook_aim(ssl, NS_CALLER);
    if (target.api == NULL || target.api->SSL_write_ex2 == NULL) {
        return 0;
    }
    /* Flags are for QUIC streams, which carry no HTTP/1.1. */
    if (target.engine == NULL || count == 0 || flags != 0) {
        return target.api->SSL_write_ex2(ssl, bytes, count, flags, written);
    }
    return ns_hook_write(target.engine, bytes, count, false, written) > 0;
}

/* Does the kernel encrypt what is sent here? */
static bool
sends_files(const struct ns_openssl *api, const SSL *ssl)
{
    BIO *bio = api->SSL_get_wbio == NULL ? NULL : api->SSL_get_wbio(ssl);
    return bio != NULL && api->BIO_ctrl != NULL &&
           api->BIO_ctrl(bio, NS_BIO_CTRL_GET_KTLS_SEND, 0, NULL) > 0;
}

/* The bytes go from a file to the kernel, past everybody. What was withheld before them has to go
 * first, and what comes after them cannot be told from them, so that is the last that is seen of
 * the connection. */
NS_HOOK ssize_t SSL_sendfile(SSL *ssl, int fd, off_t offset, size_t count, int flags);
NS_HOOK ssize_t
SSL_sendfile(SSL *ssl, int fd, off_t offset, size_t count, int flags)
{
    struct ns_target target = ns_hook_aim(ssl, NS_CALLER);
    if (target.api == NULL || target.api->SSL_sendfile == NULL) {
        return -1;
    }
    if (target.engine != NULL && !sends_files(target.api, ssl)) {
        target.engine = NULL; /* it will fail, and nothing has happened */
    }
    if (target.engine != NULL) {
        const struct ns_engine *outside = inside;
        inside = target.engine;
        int result = ns_engine_go_blind(target.engine);
        inside = outside;
        if (result <= 0) {
            return -1;
        }
    }
    ssize_t sent = target.api->SSL_sendfile(ssl, fd, offset, count, flags);
    if (target.engine != NULL && sent > 0) {
        if (!target.engine->unseen) {
            target.engine->unseen = true;
            ns_log("SSL_sendfile", "its bytes are not seen");
        }
        ns_count_many(NS_COUNTER_UNSEEN_BYTES, (uint64_t)sent);
    }
    return sent;
}

/* Early data would leave before the connection can be judged. It is refused as OpenSSL refuses it
 * for a session without early data, so that the program sends its request after the handshake. */
NS_HOOK int SSL_write_early_data(SSL *ssl, const void *bytes, size_t count, size_t *written);
NS_HOOK int
SSL_write_early_data(SSL *ssl, const void *bytes, size_t count, size_t *written)
{
    struct ns_target target = ns_hook_aim(ssl, NS_CALLER);
    const struct ns_openssl *api = target.api;
    if (api == NULL || api->SSL_write_early_data == NULL) {
        return 0;
    }
    if (target.engine == NULL) {
        return api->SSL_write_early_data(ssl, bytes, count, written);
    }
    ns_count(NS_COUNTER_EARLY_DATA_REFUSED);
    ns_openssl_raise(api, "SSL_write_early_data", NS_ERR_SHOULD_NOT_HAVE_BEEN_CALLED);
    return 0;
}

/* --- reading
 * -------------------------------------------------------------------------------------- */

static inline int
read_by(struct ns_engine *engine, void *bytes, size_t count, bool peek, bool plain, size_t *got)
{
    const struct ns_engine *outside = inside;
    bool plain_outside = engine->plain_read;
    inside = engine;
    engine->plain_read = plain;
    int result = ns_engine_read(engine, bytes, count, peek, got);
    if (outside == engine) {
        engine->plain_read = plain_outside; /* the outer call goes on */
    }
    inside = outside;
    return result;
}

int
ns_hook_read(struct ns_engine *engine, void *bytes, size_t count, bool peek, bool plain,
             size_t *got)
{
    return read_by(engine, bytes, count, peek, plain, got);
}

NS_HOOK int SSL_read(SSL *ssl, void *bytes, int count);
NS_HOOK NS_HOT int
SSL_read(SSL *ssl, void *bytes, int count)
{
    struct ns_target target = ns_hook_aim(ssl, NS_CALLER);
    if (target.api == NULL) {
        return -1;
    }
    if (target.engine == NULL || count <= 0) {
        return target.api->SSL_read(ssl, bytes, count);
    }
    size_t got = 0;
    int result = read_by(target.engine, bytes, (size_t)count, false, true, &got);
    return result > 0 ? (int)got : result;
}

NS_HOOK int SSL_read_ex(SSL *ssl, void *bytes, size_t count, size_t *got);
NS_HOOK NS_HOT int
SSL_read_ex(SSL *ssl, void *bytes, size_t count, size_t *got)
{
    struct ns_target target = ns_hook_aim(ssl, NS_CALLER);
    if (target.api == NULL || target.api->SSL_read_ex == NULL) {
        return 0;
    }
    if (target.engine == NULL || count == 0) {
        return target.api->SSL_read_ex(ssl, bytes, count, got);
    }
    return read_by(target.engine, bytes, count, false, false, got) > 0;
}

NS_HOOK int SSL_peek(SSL *ssl, void *bytes, int count);
NS_HOOK int
SSL_peek(SSL *ssl, void *bytes, int count)
{
    struct ns_target target = ns_hook_aim(ssl, NS_CALLER);
    if (target.api == NULL) {
        return -1;
    }
    if (target.engine == NULL || count <= 0) {
        return target.api->SSL_peek(ssl, bytes, count);
    }
    size_t got = 0;
    int result = read_by(target.engine, bytes, (size_t)count, true, true, &got);
    return result > 0 ? (int)got : result;
}

NS_HOOK int SSL_peek_ex(SSL *ssl, void *bytes, size_t count, size_t *got);
NS_HOOK int
SSL_peek_ex(SSL *ssl, void *bytes, size_t count, size_t *got)
{
    struct ns_target target = ns_hook_aim(ssl, NS_CALLER);
    if (target.api == NULL || target.api->SSL_peek_ex == NULL) {
        return 0;
    }
    if (target.engine == NULL || count == 0) {
        return target.api->SSL_peek_ex(ssl, bytes, count, got);
    }
    return read_by(target.engine, bytes, count, true, false, got) > 0;
}

/* Early data of a client, read by a server: servers are not governed. */
NS_HOOK int SSL_read_early_data(SSL *ssl, void *bytes, size_t count, size_t *got);
NS_HOOK int
SSL_read_early_data(SSL *ssl, void *bytes, size_t count, size_t *got)
{
    struct ns_target target = ns_hook_aim_known(ssl, NS_CALLER);
    if (target.api == NULL || target.api->SSL_read_early_data == NULL) {
        return 0;
    }
    return target.api->SSL_read_early_data(ssl, bytes, count, got);
}

NS_HOOK int SSL_pending(const SSL *ssl);
NS_HOOK NS_HOT int
SSL_pending(const SSL *ssl)
{
    struct ns_target target = ns_hook_aim_known(ssl, NS_CALLER);
    if (target.api == NULL) {
        return 0;
    }
    int pending = target.api->SSL_pending(ssl);
    size_t ours = target.engine == NULL ? 0 : ns_engine_pending(target.engine);
    return ours < (size_t)(INT_MAX - pending) ? pending + (int)ours : INT_MAX;
}

NS_HOOK int SSL_has_pending(const SSL *ssl);
NS_HOOK NS_HOT int
SSL_has_pending(const SSL *ssl)
{
    struct ns_target target = ns_hook_aim_known(ssl, NS_CALLER);
    if (target.api == NULL || target.api->SSL_has_pending == NULL) {
        return 0;
    }
    if (target.engine != NULL && ns_engine_pending(target.engine) > 0) {
        return 1;
    }
    return target.api->SSL_has_pending(ssl);
}

/* --- the end
 * -------------------------------------------------------------------------------------- */

void
ns_hook_part(const SSL *ssl)
{
    struct ns_connection *connection = ns_connection_remove(ssl);
    if (connection != NULL) {
        end(connection);
    }
}

NS_HOOK int SSL_up_ref(SSL *ssl);
NS_HOOK int
SSL_up_ref(SSL *ssl)
{
    struct ns_target target = ns_hook_aim_known(ssl, NS_CALLER);
    if (target.api == NULL || target.api->SSL_up_ref == NULL) {
        return 0;
    }
    struct ns_connection *connection = ns_connection_find(ssl);
    int result = target.api->SSL_up_ref(ssl);
    if (connection != NULL && result == 1) {
        __atomic_add_fetch(&connection->references, 1, __ATOMIC_RELAXED);
    }
    return result;
}

NS_HOOK void SSL_free(SSL *ssl);
NS_HOOK void
SSL_free(SSL *ssl)
{
    if (ssl == NULL) {
        return;
    }
    struct ns_target target = ns_hook_aim_known(ssl, NS_CALLER);
    struct ns_connection *connection = ns_connection_find(ssl);
    if (connection != NULL && __atomic_load_n(&connection->references, __ATOMIC_RELAXED) > 0) {
        __atomic_sub_fetch(&connection->references, 1, __ATOMIC_RELAXED);
    } else {
        ns_hook_part(ssl);
    }
    if (target.api != NULL) {
        target.api->SSL_free(ssl);
    }
}

NS_HOOK int SSL_clear(SSL *ssl);
NS_HOOK int
SSL_clear(SSL *ssl)
{
    if (ssl == NULL) {
        return 0;
    }
    struct ns_target target = ns_hook_aim_known(ssl, NS_CALLER);
    /* OpenSSL itself clears an SSL at the beginning of a handshake, which may be within our call.
     */
    if (inside == NULL || inside->ssl != ssl) {
        ns_hook_part(ssl);
    }
    return target.api == NULL ? 0 : target.api->SSL_clear(ssl);
}

/* What is still withheld is no whole request, and stays here. */
NS_HOOK int SSL_shutdown(SSL *ssl);
NS_HOOK int
SSL_shutdown(SSL *ssl)
{
    struct ns_target target = ns_hook_aim_known(ssl, NS_CALLER);
    if (target.engine != NULL) {
        ns_engine_keep_silent(target.engine);
    }
    return target.api == NULL ? -1 : target.api->SSL_shutdown(ssl);
}

const struct ns_hook ns_hooks[] = {
#define H(name)                                                                                    \
    {                                                                                              \
#name, (void (*)(void))name, offsetof(struct ns_openssl, name)                             \
    }
    H(SSL_write),
    H(SSL_write_ex),
    H(SSL_write_ex2),
    H(SSL_sendfile),
    H(SSL_write_early_data),
    H(SSL_read),
    H(SSL_read_ex),
    H(SSL_peek),
    H(SSL_peek_ex),
    H(SSL_read_early_data),
    H(SSL_pending),
    H(SSL_has_pending),
    H(SSL_up_ref),
    H(SSL_free),
    H(SSL_clear),
    H(SSL_shutdown),
    H(BIO_f_ssl),
    H(BIO_new_ssl),
    H(BIO_new_ssl_connect),
    H(BIO_new_buffer_ssl_connect),
#undef H
};
const size_t ns_hook_count = sizeof ns_hooks / sizeof ns_hooks[0];

static void
abandon(struct ns_connection *connection)
{
    if (connection->engine != NULL) {
        ns_engine_abandon(connection->engine);
    }
}

/* exit(3), or the end of main: what is not told yet is told, and acknowledged or spooled. */
__attribute__((destructor)) static void
finish(void)
{
    if (!ns_process_was_ready()) {
        return;
    }
    ns_connections_each(abandon);
    end_forgotten();
    ns_gate_flush();
    ns_counters_log();
}
