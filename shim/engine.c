/* SPDX-License-Identifier: Apache-2.0 */
/* A governed connection's beginning and end, and what its writer and reader share. */
#include "shim/engine.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/mem.h"
#include "shim/call.h"
#include "shim/counters.h"
#include "shim/log.h"
#include "shim/process.h"
#include "shim/unjudged.h"

int
ns_engine_shake_hands(struct ns_engine *engine)
{
    const struct ns_openssl *api = engine->api;
    if (engine->handshaken || api->SSL_is_init_finished == NULL || api->SSL_do_handshake == NULL) {
        return 1;
    }
    engine->handshaken = api->SSL_is_init_finished(engine->ssl) != 0;
    if (engine->handshaken) {
        return 1;
    }
    int result = api->SSL_do_handshake(engine->ssl);
    engine->handshaken = result == 1;
    return result;
}

bool
ns_engine_speaks_http2(struct ns_engine *engine)
{
    const struct ns_openssl *api = engine->api;
    const unsigned char *name = NULL;
    unsigned int bytes = 0;
    if (engine->agreed || engine->blind) {
        return engine->http2 != NULL;
    }
    engine->agreed = true;
    if (api->SSL_get0_alpn_selected != NULL) {
        api->SSL_get0_alpn_selected(engine->ssl, &name, &bytes);
    }
    if (bytes != 2 || memcmp(name, "h2", 2) != 0) {
        return false;
    }
    const char *host =
        api->SSL_get_servername == NULL ? NULL : api->SSL_get_servername(engine->ssl, 0);
    engine->http2 = ns_http2_new(&ns_process_config()->hosts, host, NS_WITHHOLD_BODY_BYTES_MAX,
                                 ns_process_config()->inject_usage);
    if (engine->http2 == NULL) { /* without memory: the host comes first */
        engine->blind = true;
        ns_count(NS_COUNTER_NO_MEMORY);
        return false;
    }
    ns_wire_free(engine->wire);
    engine->wire = NULL;
    return true;
}

struct ns_engine *
ns_engine_new(SSL *ssl, const struct ns_openssl *api, bool *refused)
{
    *refused = false;
    if (api->SSL_is_server != NULL && api->SSL_is_server(ssl)) {
        return NULL;
    }
    /* Without a server name the Host header decides, in wire. */
    const char *name = api->SSL_get_servername == NULL ? NULL : api->SSL_get_servername(ssl, 0);
    const struct ns_wire_hosts *hosts = &ns_process_config()->hosts;
    if (name != NULL && !ns_wire_host_known(hosts, name, strlen(name))) {
        return NULL;
    }
    struct ns_engine *engine = ns_mem_alloc(sizeof *engine);
    if (engine != NULL) {
        engine->wire = ns_wire_new(hosts, name);
    }
    if (engine == NULL || engine->wire == NULL) {
        ns_mem_free(engine);
        *refused = true;
        return NULL;
    }
    engine->ssl = ssl;
    engine->api = api;
    engine->life = ns_process_life();
    ns_count(NS_COUNTER_CONNECTIONS_GOVERNED);
    return engine;
}

static struct ns_wire_call *
take_call(struct ns_engine *engine)
{
    return engine->http2 != NULL ? ns_http2_take(engine->http2) : ns_wire_take(engine->wire);
}

/* Tells of every call that is not over. */
static void
finish_calls(struct ns_engine *engine)
{
    struct ns_wire_call *call;
    ns_backlog_look(engine);
    while ((call = take_call(engine)) != NULL) {
        if (engine->life == ns_process_life()) {
            ns_call_finish(call, true);
        } else {
            ns_call_drop(call); /* the parent's to tell */
        }
    }
}

void
ns_engine_abandon(struct ns_engine *engine)
{
    if (engine->life != ns_process_life() || !ns_lock_try(&engine->lock)) {
        return;
    }
    engine->blind = true;
    engine->leaving = NULL;
    ns_backlog_look(engine);
    struct ns_wire_call *call = take_call(engine);
    while (call != NULL) {
        ns_unlock(&engine->lock);
        ns_call_finish(call, true);
        if (!ns_lock_try(&engine->lock)) {
            return;
        }
        call = take_call(engine);
    }
    ns_unlock(&engine->lock);
}

void
ns_engine_free(struct ns_engine *engine)
{
    finish_calls(engine);
    while (engine->denials != NULL) {
        struct ns_denial *denial = engine->denials;
        engine->denials = denial->next;
        ns_call_drop(denial->call);
        ns_mem_free(denial);
    }
    ns_mem_free(engine->cut);
    ns_mem_free(engine->backlog.bytes);
    ns_http1_filter_free(engine->filter);
    ns_wire_free(engine->wire);
    ns_http2_free(engine->http2);
    ns_bytes_free(&engine->held);
    ns_bytes_free(&engine->out);
    ns_bytes_free(&engine->in);
    ns_bytes_free(&engine->tentative);
    ns_mem_free(engine);
}

int
ns_engine_real_write(struct ns_engine *engine, const void *bytes, size_t count, size_t *written)
{
    if (!engine->plain_write) {
        return engine->api->SSL_write_ex(engine->ssl, bytes, count, written);
    }
    int done = engine->api->SSL_write(engine->ssl, bytes, count < INT_MAX ? (int)count : INT_MAX);
    *written = done > 0 ? (size_t)done : 0;
    return done > 0 ? 1 : done;
}

bool
ns_engine_must_wait(const struct ns_engine *engine, bool reading)
{
    const struct ns_openssl *api = engine->api;
    BIO *(*get)(const SSL *) = reading ? api->SSL_get_rbio : api->SSL_get_wbio;
    BIO *bio = get == NULL ? NULL : get(engine->ssl);
    return bio == NULL || api->BIO_test_flags == NULL ||
           api->BIO_test_flags(bio, NS_BIO_FLAGS_SHOULD_RETRY) != 0;
}

bool
ns_engine_reads_by_record(const struct ns_engine *engine)
{
    const struct ns_openssl *api = engine->api;
    if (__atomic_load_n(&engine->reads_ahead, __ATOMIC_RELAXED) || api->SSL_get_rbio == NULL ||
        api->BIO_method_type == NULL) {
        return false;
    }
    BIO *bio = api->SSL_get_rbio(engine->ssl);
    return bio != NULL && api->BIO_method_type(bio) == NS_BIO_TYPE_MEM;
}

void
ns_engine_break(struct ns_engine *engine, const char *why)
{
    __atomic_store_n(&engine->broken, true, __ATOMIC_RELEASE);
    ns_count(NS_COUNTER_CONNECTIONS_BROKEN);
    ns_log("a connection cannot go on", why);
}

void
ns_engine_count_opaque(struct ns_engine *engine)
{
    if (!__atomic_load_n(&engine->counted, __ATOMIC_RELAXED) &&
        !__atomic_exchange_n(&engine->counted, true, __ATOMIC_RELAXED)) {
        ns_unjudged_passes(ns_wire_opaque_reason(engine->wire));
    }
}

int
ns_engine_fail(const struct ns_engine *engine)
{
    ns_openssl_raise(engine->api, "nullspend", NS_ERR_MALLOC_FAILURE);
    return -1;
}

bool
ns_engine_mark_errors(const struct ns_engine *engine)
{
    return engine->api->ERR_set_mark != NULL && engine->api->ERR_set_mark() == 1;
}

void
ns_engine_unmark_errors(const struct ns_engine *engine, bool marked, bool forget)
{
    const struct ns_openssl *api = engine->api;
    if (forget && api->ERR_pop_to_mark != NULL) {
        api->ERR_pop_to_mark();
    } else if (marked && api->ERR_clear_last_mark != NULL) {
        api->ERR_clear_last_mark();
    }
}
