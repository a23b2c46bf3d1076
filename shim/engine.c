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

/* HTTP/2 is agreed on by name before its first byte. */
static bool
speaks_http2(SSL *ssl, const struct ns_openssl *api)
{
    const unsigned char *name = NULL;
    unsigned int bytes = 0;
    if (api->SSL_get0_alpn_selected != NULL) {
        api->SSL_get0_alpn_selected(ssl, &name, &bytes);
    }
    return bytes == 2 && memcmp(name, "h2", 2) == 0;
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
    if (speaks_http2(ssl, api)) {
        ns_count(NS_COUNTER_CONNECTIONS_OPAQUE);
        return NULL;
    }
    struct ns_engine *engine = ns_mem_alloc(sizeof *engine);
    if (engine != NULL) {
        engine->wire = ns_wire_new(hosts, name);
    }
    if (engine == NULL || engine->wire == NULL) {
        ns_mem_free(engine);
        ns_count(NS_COUNTER_CONNECTIONS_REFUSED);
        *refused = true;
        return NULL;
    }
    engine->ssl = ssl;
    engine->api = api;
    engine->life = ns_process_life();
    ns_count(NS_COUNTER_CONNECTIONS_GOVERNED);
    return engine;
}

/* Tells of every call that is not over. */
static void
finish_calls(struct ns_engine *engine)
{
    struct ns_wire_call *call;
    while ((call = ns_wire_take(engine->wire)) != NULL) {
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
    struct ns_wire_call *calls[NS_EXCHANGES_MAX];
    size_t count = 0;
    if (engine->life != ns_process_life() || !ns_lock_try(&engine->lock)) {
        return;
    }
    engine->blind = true;
    engine->leaving = NULL;
    while (count < NS_EXCHANGES_MAX && (calls[count] = ns_wire_take(engine->wire)) != NULL) {
        count++;
    }
    ns_unlock(&engine->lock);
    for (size_t i = 0; i < count; i++) {
        ns_call_finish(calls[i], true);
    }
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
    ns_http1_filter_free(engine->filter);
    ns_wire_free(engine->wire);
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

int
ns_engine_real_read(struct ns_engine *engine, void *bytes, size_t count, size_t *got)
{
    if (!engine->plain_read) {
        return engine->api->SSL_read_ex(engine->ssl, bytes, count, got);
    }
    int done = engine->api->SSL_read(engine->ssl, bytes, count < INT_MAX ? (int)count : INT_MAX);
    *got = done > 0 ? (size_t)done : 0;
    return done > 0 ? 1 : done;
}

bool
ns_engine_must_wait(const struct ns_engine *engine, bool reading)
{
    const struct ns_openssl *api = engine->api;
    struct bio_st *(*get)(const SSL *) = reading ? api->SSL_get_rbio : api->SSL_get_wbio;
    struct bio_st *bio = get == NULL ? NULL : get(engine->ssl);
    return bio == NULL || api->BIO_test_flags == NULL ||
           api->BIO_test_flags(bio, NS_BIO_FLAGS_SHOULD_RETRY) != 0;
}

void
ns_engine_break(struct ns_engine *engine, const char *why)
{
    __atomic_store_n(&engine->broken, true, __ATOMIC_RELEASE);
    ns_count(NS_COUNTER_CONNECTIONS_BROKEN);
    ns_log("a connection cannot go on", why);
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
