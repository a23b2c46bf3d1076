/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/connections.h"

#include <stdint.h>

#include "base/hot.h"
#include "base/mem.h"
#include "shim/lock.h"

#define BUCKETS 1024

static struct {
    struct ns_lock lock;
    struct ns_connection *first;
} buckets[BUCKETS];

static uint32_t entries;
static struct ns_lock spare_lock;
static struct ns_connection *spare;
static struct ns_connection *forgotten; /* under spare_lock too */

/* More entries than this in one bucket: look again under its lock. */
#define ASTRAY_STEPS_MAX 256

/* Pointers of one allocator differ in their middle bits. */
static size_t
bucket_of(const SSL *ssl)
{
    uint64_t word = (uint64_t)(uintptr_t)ssl >> 4;
    return (size_t)((word * UINT64_C(0x9e3779b97f4a7c15)) >> 54) % BUCKETS;
}

#define LOAD(place) __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
#define STORE(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELEASE)

static struct ns_connection *
walk(size_t b, const SSL *ssl, unsigned steps_max)
{
    struct ns_connection *entry = LOAD(buckets[b].first);
    while (entry != NULL && LOAD(entry->ssl) != ssl && steps_max-- > 0) {
        entry = LOAD(entry->next);
    }
    return entry != NULL && LOAD(entry->ssl) == ssl ? entry : NULL;
}

__attribute__((noinline)) static struct ns_connection *
find_locked(size_t b, const SSL *ssl)
{
    ns_lock(&buckets[b].lock);
    struct ns_connection *entry = walk(b, ssl, NS_CONNECTIONS_MAX);
    ns_unlock(&buckets[b].lock);
    return entry;
}

NS_HOT struct ns_connection *
ns_connection_find(const SSL *ssl)
{
    size_t b = bucket_of(ssl);
    struct ns_connection *entry = walk(b, ssl, ASTRAY_STEPS_MAX);
    return entry != NULL ? entry : find_locked(b, ssl);
}

/* Memory that was an entry before stays one. */
static struct ns_connection *
new_entry(void)
{
    ns_lock(&spare_lock);
    struct ns_connection *entry = spare;
    if (entry != NULL) {
        spare = entry->next;
    }
    ns_unlock(&spare_lock);
    return entry != NULL ? entry : ns_mem_alloc(sizeof *entry);
}

void
ns_connection_give_back(struct ns_connection *connection)
{
    ns_lock(&spare_lock);
    STORE(connection->next, spare);
    spare = connection;
    ns_unlock(&spare_lock);
}

bool
ns_connections_full(void)
{
    return __atomic_load_n(&entries, __ATOMIC_RELAXED) >= NS_CONNECTIONS_MAX;
}

struct ns_connection *
ns_connection_add(const SSL *ssl, const struct ns_openssl *api, struct ns_engine *engine)
{
    if (ns_connections_full()) {
        return NULL;
    }
    struct ns_connection *entry = new_entry();
    if (entry == NULL) {
        return NULL;
    }
    __atomic_add_fetch(&entries, 1, __ATOMIC_RELAXED);
    entry->api = api;
    entry->engine = engine;
    entry->references = 0;
    STORE(entry->ssl, ssl);
    size_t b = bucket_of(ssl);
    ns_lock(&buckets[b].lock);
    struct ns_connection *first = walk(b, ssl, NS_CONNECTIONS_MAX);
    if (first == NULL) {
        STORE(entry->next, buckets[b].first);
        STORE(buckets[b].first, entry);
    } else {
        STORE(entry->ssl, NULL);
    }
    ns_unlock(&buckets[b].lock);
    if (first == NULL) {
        return entry;
    }
    __atomic_sub_fetch(&entries, 1, __ATOMIC_RELAXED);
    ns_connection_give_back(entry);
    return first;
}

struct ns_connection *
ns_connection_remove(const SSL *ssl)
{
    size_t b = bucket_of(ssl);
    ns_lock(&buckets[b].lock);
    struct ns_connection **link = &buckets[b].first;
    while (*link != NULL && (*link)->ssl != ssl) {
        link = &(*link)->next;
    }
    struct ns_connection *entry = *link;
    if (entry != NULL) {
        STORE(*link, entry->next);
        STORE(entry->ssl, NULL);
    }
    ns_unlock(&buckets[b].lock);
    if (entry != NULL) {
        __atomic_sub_fetch(&entries, 1, __ATOMIC_RELAXED);
    }
    return entry;
}

/* Takes the entries of a libssl out of a bucket, as a list. */
static struct ns_connection *
take_all(size_t b, const struct ns_openssl *api)
{
    struct ns_connection *taken = NULL;
    ns_lock(&buckets[b].lock);
    for (struct ns_connection **link = &buckets[b].first; *link != NULL;) {
        struct ns_connection *entry = *link;
        if (entry->api != api) {
            link = &entry->next;
            continue;
        }
        STORE(*link, entry->next);
        STORE(entry->ssl, NULL);
        STORE(entry->next, taken);
        taken = entry;
    }
    ns_unlock(&buckets[b].lock);
    return taken;
}

void
ns_connections_forget(const struct ns_openssl *api)
{
    for (size_t b = 0; b < BUCKETS && __atomic_load_n(&entries, __ATOMIC_RELAXED) > 0; b++) {
        struct ns_connection *entry = LOAD(buckets[b].first) == NULL ? NULL : take_all(b, api);
        while (entry != NULL) {
            struct ns_connection *next = entry->next;
            __atomic_sub_fetch(&entries, 1, __ATOMIC_RELAXED);
            ns_lock(&spare_lock);
            STORE(entry->next, forgotten);
            STORE(forgotten, entry);
            ns_unlock(&spare_lock);
            entry = next;
        }
    }
}

struct ns_connection *
ns_connection_take_forgotten(void)
{
    if (LOAD(forgotten) == NULL) {
        return NULL;
    }
    ns_lock(&spare_lock);
    struct ns_connection *entry = forgotten;
    if (entry != NULL) {
        STORE(forgotten, entry->next);
    }
    ns_unlock(&spare_lock);
    return entry;
}

void
ns_connections_each(void (*visit)(struct ns_connection *connection))
{
    for (size_t b = 0; b < BUCKETS; b++) {
        ns_lock(&buckets[b].lock);
        for (struct ns_connection *entry = buckets[b].first; entry != NULL; entry = entry->next) {
            visit(entry);
        }
        ns_unlock(&buckets[b].lock);
    }
}

void
ns_connections_after_fork(void)
{
    for (size_t b = 0; b < BUCKETS; b++) {
        buckets[b].lock.held = 0;
    }
    spare_lock.held = 0;
}
