/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hooks: the only functions that programs call without knowing it.
 *
 * Each has one shape: find the connection; if it is not governed (or the library is inside itself,
 * or off), hand the call on unchanged; else let the engine do it. A hook works before any
 * constructor has run. The depth is this thread's: OpenSSL may call back into the program (BIO
 * methods, callbacks), and what that does with an SSL* is not looked at twice.
 */
#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/connections.h"
#include "shim/counters.h"
#include "shim/engine.h"
#include "shim/openssl.h"
#include "shim/process.h"
#include "shim/resolve.h"

#define HOOK __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0)

static __thread unsigned depth;

/* --- which connection
 * ----------------------------------------------------------------------------- */

/* The first byte of a connection: decides whether it is governed, for good. */
static struct ns_connection *
meet(SSL *ssl, const struct ns_openssl *api, bool ready)
{
    bool refused = false;
    struct ns_engine *engine = NULL;
    if (ready) {
        depth++;
        engine = ns_engine_new(ssl, api, &refused);
        depth--;
    }
    struct ns_connection *connection = ns_connection_add(ssl, api, engine);
    if (connection == NULL && engine != NULL) {
        ns_count(NS_COUNTER_CONNECTIONS_REFUSED);
    }
    if (engine != NULL && (connection == NULL || connection->engine != engine)) {
        ns_engine_free(engine);
    }
    return connection;
}

/* A connection that a child of fork goes on using becomes the child's. */
static void
adopt(struct ns_engine *engine)
{
    if (engine->life != ns_process_life()) {
        engine->life = ns_process_life();
        engine->lock.held = 0;
    }
}

/* The functions to hand a call on to, and the engine where it is governed. */
struct target {
    const struct ns_openssl *api; /* NULL: no libssl is known; the call fails */
    struct ns_engine *engine;     /* NULL: hand on */
};

static struct target
aim(SSL *ssl, const void *caller)
{
    bool ready = ns_process_ready();
    struct ns_connection *connection = ns_connection_find(ssl);
    if (connection == NULL) {
        const struct ns_openssl *api = ns_resolve(ssl, caller);
        if (api == NULL || depth > 0) {
            return (struct target){api, NULL};
        }
        connection = meet(ssl, api, ready);
        if (connection == NULL) {
            return (struct target){api, NULL};
        }
    }
    struct ns_engine *engine = connection->engine;
    if (engine == NULL || depth > 0 || !ready || ns_engine_is_done(engine)) {
        return (struct target){connection->api, NULL};
    }
    adopt(engine);
    return (struct target){connection->api, engine};
}

/* As aim, for functions that are no reason to know a connection. */
static struct target
aim_known(const SSL *ssl, const void *caller)
{
    bool ready = ns_process_ready();
    struct ns_connection *connection = ns_connection_find(ssl);
    if (connection == NULL) {
        return (struct target){ns_resolve(ssl, caller), NULL};
    }
    bool handed_on = depth > 0 || !ready || connection->engine == NULL;
    return (struct target){connection->api, handed_on ? NULL : connection->engine};
}

/* --- writing
 * -------------------------------------------------------------------------------------- */

static int
govern_write(struct ns_engine *engine, const void *bytes, size_t count, bool plain, size_t *written)
{
    depth++;
    engine->plain_write = plain;
    int result = ns_engine_write(engine, bytes, count, written);
    depth--;
    return result;
}

HOOK int SSL_write(SSL *ssl, const void *bytes, int count);
HOOK int
SSL_write(SSL *ssl, const void *bytes, int count)
{
    struct target target = aim(ssl, CALLER);
    if (target.api == NULL) {
        return -1;
    }
    if (target.engine == NULL || count <= 0) {
        return target.api->SSL_write(ssl, bytes, count);
    }
    size_t written = 0;
    int result = govern_write(target.engine, bytes, (size_t)count, true, &written);
    return result > 0 ? (int)written : result;
}

HOOK int SSL_write_ex(SSL *ssl, const void *bytes, size_t count, size_t *written);
HOOK int
SSL_write_ex(SSL *ssl, const void *bytes, size_t count, size_t *written)
{
    struct target target = aim(ssl, CALLER);
    if (target.api == NULL || target.api->SSL_write_ex == NULL) {
        return 0;
    }
    if (target.engine == NULL || count == 0) {
        return target.api->SSL_write_ex(ssl, bytes, count, written);
    }
    return govern_write(target.engine, bytes, count, false, written) > 0;
}

HOOK int SSL_write_ex2(SSL *ssl, const void *bytes, size_t count, uint64_t flags, size_t *written);
HOOK int
SSL_write_ex2(SSL *ssl, const void *bytes, size_t count, uint64_t flags, size_t *written)
{
    struct target target = aim(ssl, CALLER);
    if (target.api == NULL || target.api->SSL_write_ex2 == NULL) {
        return 0;
    }
    /* Flags are for QUIC streams, which carry no HTTP/1.1. */
    if (target.engine == NULL || count == 0 || flags != 0) {
        return target.api->SSL_write_ex2(ssl, bytes, count, flags, written);
    }
    return govern_write(target.engine, bytes, count, false, written) > 0;
}

/* Early data would leave before the connection can be judged. It is refused as OpenSSL refuses it
 * for a session without early data, so that the program sends its request after the handshake. */
HOOK int SSL_write_early_data(SSL *ssl, const void *bytes, size_t count, size_t *written);
HOOK int
SSL_write_early_data(SSL *ssl, const void *bytes, size_t count, size_t *written)
{
    struct target target = aim(ssl, CALLER);
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

static int
govern_read(struct ns_engine *engine, void *bytes, size_t count, bool peek, bool plain, size_t *got)
{
    depth++;
    engine->plain_read = plain;
    int result = ns_engine_read(engine, bytes, count, peek, got);
    depth--;
    return result;
}

HOOK int SSL_read(SSL *ssl, void *bytes, int count);
HOOK int
SSL_read(SSL *ssl, void *bytes, int count)
{
    struct target target = aim(ssl, CALLER);
    if (target.api == NULL) {
        return -1;
    }
    if (target.engine == NULL || count <= 0) {
        return target.api->SSL_read(ssl, bytes, count);
    }
    size_t got = 0;
    int result = govern_read(target.engine, bytes, (size_t)count, false, true, &got);
    return result > 0 ? (int)got : result;
}

HOOK int SSL_read_ex(SSL *ssl, void *bytes, size_t count, size_t *got);
HOOK int
SSL_read_ex(SSL *ssl, void *bytes, size_t count, size_t *got)
{
    struct target target = aim(ssl, CALLER);
    if (target.api == NULL || target.api->SSL_read_ex == NULL) {
        return 0;
    }
    if (target.engine == NULL || count == 0) {
        return target.api->SSL_read_ex(ssl, bytes, count, got);
    }
    return govern_read(target.engine, bytes, count, false, false, got) > 0;
}

HOOK int SSL_peek(SSL *ssl, void *bytes, int count);
HOOK int
SSL_peek(SSL *ssl, void *bytes, int count)
{
    struct target target = aim(ssl, CALLER);
    if (target.api == NULL) {
        return -1;
    }
    if (target.engine == NULL || count <= 0) {
        return target.api->SSL_peek(ssl, bytes, count);
    }
    size_t got = 0;
    int result = govern_read(target.engine, bytes, (size_t)count, true, true, &got);
    return result > 0 ? (int)got : result;
}

HOOK int SSL_peek_ex(SSL *ssl, void *bytes, size_t count, size_t *got);
HOOK int
SSL_peek_ex(SSL *ssl, void *bytes, size_t count, size_t *got)
{
    struct target target = aim(ssl, CALLER);
    if (target.api == NULL || target.api->SSL_peek_ex == NULL) {
        return 0;
    }
    if (target.engine == NULL || count == 0) {
        return target.api->SSL_peek_ex(ssl, bytes, count, got);
    }
    return govern_read(target.engine, bytes, count, true, false, got) > 0;
}

/* Early data of a client, read by a server: servers are not governed. */
HOOK int SSL_read_early_data(SSL *ssl, void *bytes, size_t count, size_t *got);
HOOK int
SSL_read_early_data(SSL *ssl, void *bytes, size_t count, size_t *got)
{
    struct target target = aim_known(ssl, CALLER);
    if (target.api == NULL || target.api->SSL_read_early_data == NULL) {
        return 0;
    }
    return target.api->SSL_read_early_data(ssl, bytes, count, got);
}

HOOK int SSL_pending(const SSL *ssl);
HOOK int
SSL_pending(const SSL *ssl)
{
    struct target target = aim_known(ssl, CALLER);
    if (target.api == NULL) {
        return 0;
    }
    int pending = target.api->SSL_pending(ssl);
    size_t ours = target.engine == NULL ? 0 : ns_engine_pending(target.engine);
    return ours < (size_t)(INT_MAX - pending) ? pending + (int)ours : INT_MAX;
}

HOOK int SSL_has_pending(const SSL *ssl);
HOOK int
SSL_has_pending(const SSL *ssl)
{
    struct target target = aim_known(ssl, CALLER);
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

/* Forgets a connection; tells of calls that are not over. */
static void
part(const SSL *ssl)
{
    struct ns_connection *connection = ns_connection_remove(ssl);
    if (connection == NULL) {
        return;
    }
    if (connection->engine != NULL) {
        depth++;
        ns_engine_free(connection->engine);
        depth--;
    }
    ns_connection_give_back(connection);
}

HOOK int SSL_up_ref(SSL *ssl);
HOOK int
SSL_up_ref(SSL *ssl)
{
    struct target target = aim_known(ssl, CALLER);
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

HOOK void SSL_free(SSL *ssl);
HOOK void
SSL_free(SSL *ssl)
{
    if (ssl == NULL) {
        return;
    }
    struct target target = aim_known(ssl, CALLER);
    struct ns_connection *connection = ns_connection_find(ssl);
    if (connection != NULL && __atomic_load_n(&connection->references, __ATOMIC_RELAXED) > 0) {
        __atomic_sub_fetch(&connection->references, 1, __ATOMIC_RELAXED);
    } else {
        part(ssl);
    }
    if (target.api != NULL) {
        target.api->SSL_free(ssl);
    }
}

HOOK int SSL_clear(SSL *ssl);
HOOK int
SSL_clear(SSL *ssl)
{
    if (ssl == NULL) {
        return 0;
    }
    struct target target = aim_known(ssl, CALLER);
    part(ssl);
    return target.api == NULL ? 0 : target.api->SSL_clear(ssl);
}

/* What is still withheld is no whole request, and stays here. */
HOOK int SSL_shutdown(SSL *ssl);
HOOK int
SSL_shutdown(SSL *ssl)
{
    struct target target = aim_known(ssl, CALLER);
    if (target.engine != NULL) {
        ns_engine_keep_silent(target.engine);
    }
    return target.api == NULL ? -1 : target.api->SSL_shutdown(ssl);
}

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
    depth++;
    ns_connections_each(abandon);
    ns_gate_flush();
    ns_counters_log();
    depth--;
}
