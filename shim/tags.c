/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/tags.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "shim/counters.h"
#include "shim/nullspend.h"

#define EXPORT __attribute__((visibility("default")))

/* What this thread has set; NULL as long as it has set nothing. Freed by the key's destructor. */
static __thread struct ns_wire_identity *of_thread;
static pthread_key_t thread_key;
static uint32_t thread_key_state; /* 0 none, 1 being made, 2 there */

bool
ns_tags_clean(const char *text, size_t bytes, size_t bytes_max)
{
    return bytes > 0 && bytes <= bytes_max && ns_utf8_is_text(text, bytes);
}

static struct ns_wire_tag *
find_tag(struct ns_wire_identity *identity, const char *key, size_t key_bytes)
{
    for (uint8_t i = 0; i < identity->tag_count; i++) {
        struct ns_wire_tag *tag = &identity->tags[i];
        if (strlen(tag->key) == key_bytes && memcmp(tag->key, key, key_bytes) == 0) {
            return tag;
        }
    }
    return NULL;
}

static void
copy_text(char *to, const char *from, size_t bytes)
{
    memcpy(to, from, bytes);
    to[bytes] = '\0';
}

int
ns_tags_set(struct ns_wire_identity *identity, const char *key, size_t key_bytes, const char *value,
            size_t value_bytes)
{
    if (!ns_tags_clean(key, key_bytes, NS_TAG_KEY_BYTES_MAX) ||
        (value_bytes > 0 && !ns_tags_clean(value, value_bytes, NS_TAG_VALUE_BYTES_MAX))) {
        return -EINVAL;
    }
    struct ns_wire_tag *tag = find_tag(identity, key, key_bytes);
    if (tag == NULL) {
        if (identity->tag_count == NS_TAGS_MAX) {
            return -E2BIG;
        }
        tag = &identity->tags[identity->tag_count++];
        copy_text(tag->key, key, key_bytes);
    }
    copy_text(tag->value, value, value_bytes);
    return 0;
}

size_t
ns_tags_parse(struct ns_wire_identity *identity, const char *text)
{
    size_t rejected = 0;
    while (*text != '\0') {
        size_t bytes = strcspn(text, ",");
        const char *equals = memchr(text, '=', bytes);
        if (bytes > 0) {
            size_t key_bytes = equals == NULL ? 0 : (size_t)(equals - text);
            if (equals == NULL ||
                ns_tags_set(identity, text, key_bytes, equals + 1, bytes - key_bytes - 1) != 0) {
                rejected++;
            }
        }
        text += bytes + (text[bytes] == ',' ? 1 : 0);
    }
    return rejected;
}

static void
fill_id(char *id, const char *from)
{
    if (id[0] == '\0') {
        copy_text(id, from, strlen(from));
    }
}

void
ns_tags_fill(struct ns_wire_identity *identity, const struct ns_wire_identity *from)
{
    fill_id(identity->customer, from->customer);
    fill_id(identity->agent, from->agent);
    fill_id(identity->feature, from->feature);
    fill_id(identity->session, from->session);
    identity->finalize |= from->finalize;
    for (uint8_t i = 0; i < from->tag_count; i++) {
        const struct ns_wire_tag *tag = &from->tags[i];
        size_t key_bytes = strlen(tag->key);
        if (find_tag(identity, tag->key, key_bytes) == NULL &&
            ns_tags_set(identity, tag->key, key_bytes, tag->value, strlen(tag->value)) != 0) {
            ns_count(NS_COUNTER_TAGS_DROPPED);
        }
    }
}

void
ns_tags_complete(struct ns_wire_identity *identity, const struct ns_wire_identity *process)
{
    if (of_thread != NULL) {
        ns_tags_fill(identity, of_thread);
    }
    ns_tags_fill(identity, process);
}

/* --- the thread's own --------------------------------------------------------------------------
 */

static void
forget_thread(void *identity)
{
    of_thread = NULL;
    ns_mem_free(identity);
}

/* The thread's identity, made where it is missing; NULL without memory. */
static struct ns_wire_identity *
thread_identity(void)
{
    if (of_thread != NULL) {
        return of_thread;
    }
    uint32_t none = 0;
    if (__atomic_compare_exchange_n(&thread_key_state, &none, 1, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE)) {
        int failed = pthread_key_create(&thread_key, forget_thread);
        __atomic_store_n(&thread_key_state, failed == 0 ? 2U : 0U, __ATOMIC_RELEASE);
    }
    of_thread = ns_mem_alloc(sizeof *of_thread);
    /* Without a key (another thread is making it, or none is left) the block outlives the thread.
     */
    if (of_thread != NULL && __atomic_load_n(&thread_key_state, __ATOMIC_ACQUIRE) == 2) {
        pthread_setspecific(thread_key, of_thread);
    }
    return of_thread;
}

static int
set_id(size_t offset, const char *id)
{
    size_t bytes = id == NULL ? 0 : strnlen(id, NS_ID_BYTES_MAX + 1);
    if (id != NULL && !ns_tags_clean(id, bytes, NS_ID_BYTES_MAX)) {
        return -EINVAL;
    }
    struct ns_wire_identity *identity = thread_identity();
    if (identity == NULL) {
        return -ENOMEM;
    }
    copy_text((char *)identity + offset, id == NULL ? "" : id, bytes);
    return 0;
}

EXPORT int
nullspend_set_customer(const char *id)
{
    return set_id(offsetof(struct ns_wire_identity, customer), id);
}

EXPORT int
nullspend_set_agent(const char *id)
{
    return set_id(offsetof(struct ns_wire_identity, agent), id);
}

EXPORT int
nullspend_set_feature(const char *id)
{
    return set_id(offsetof(struct ns_wire_identity, feature), id);
}

EXPORT int
nullspend_set_session(const char *id)
{
    return set_id(offsetof(struct ns_wire_identity, session), id);
}

EXPORT int
nullspend_set_tag(const char *key, const char *value)
{
    if (key == NULL) {
        return -EINVAL;
    }
    struct ns_wire_identity *identity = thread_identity();
    if (identity == NULL) {
        return -ENOMEM;
    }
    size_t key_bytes = strnlen(key, NS_TAG_KEY_BYTES_MAX + 1);
    if (value != NULL) {
        size_t value_bytes = strnlen(value, NS_TAG_VALUE_BYTES_MAX + 1);
        return ns_tags_set(identity, key, key_bytes, value, value_bytes) == 0 ? 0 : -EINVAL;
    }
    if (!ns_tags_clean(key, key_bytes, NS_TAG_KEY_BYTES_MAX)) {
        return -EINVAL;
    }
    struct ns_wire_tag *tag = find_tag(identity, key, key_bytes);
    if (tag != NULL) {
        *tag = identity->tags[--identity->tag_count];
    }
    return 0;
}

EXPORT int
nullspend_finalize(void)
{
    struct ns_wire_identity *identity = thread_identity();
    if (identity == NULL) {
        return -ENOMEM;
    }
    identity->finalize = true;
    return 0;
}

EXPORT int
nullspend_clear(void)
{
    if (of_thread != NULL) {
        memset(of_thread, 0, sizeof *of_thread);
    }
    return 0;
}
