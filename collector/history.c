/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "collector/index.h"
#include "collector/limits.h"

/* 4 buckets an octave: up to 2^18 tokens, more than any model answers with at once. */
#define BUCKETS 76
/* Counts are halved when one would pass this, so that habits can change. */
#define COUNT_MAX 200

struct key_history {
    uint8_t digest[16];
    uint64_t used_at; /* sequence of its last call */
    uint32_t calls;   /* sum of count */
    uint8_t count[BUCKETS];
};

struct ns_history {
    struct key_history key[NS_HISTORY_KEYS_MAX];
    uint32_t keys;
    struct ns_index index;
};

struct ns_history *
ns_history_new(void)
{
    return calloc(1, sizeof(struct ns_history));
}

void
ns_history_free(struct ns_history *history)
{
    if (history != NULL) {
        ns_index_free(&history->index);
        free(history);
    }
}

/* The same in every run: which key gives way must not depend on chance. */
static void
digest_of(struct ns_text provider, struct ns_text model, struct ns_text operation,
          uint8_t digest[static 16])
{
    static const uint8_t fixed[16] = "typical history";
    uint8_t text[1024];
    size_t count = 0;
    const struct ns_text part[] = {provider, model, operation};
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        size_t bytes = part[i].bytes < 300 ? part[i].bytes : 300;
        if (bytes > 0) {
            memcpy(text + count, part[i].text, bytes);
        }
        count += bytes;
        text[count++] = '\n'; /* in no text of a message */
    }
    ns_siphash128(fixed, text, count, digest);
}

struct wanted {
    const struct ns_history *history;
    const uint8_t *digest;
};

static bool
is_wanted(const void *context, uint32_t place)
{
    const struct wanted *wanted = context;
    return memcmp(wanted->history->key[place].digest, wanted->digest, 16) == 0;
}

static uint32_t
hash_of(const uint8_t digest[static 16])
{
    uint32_t hash;
    memcpy(&hash, digest, sizeof hash);
    return hash;
}

static uint32_t
find(const struct ns_history *history, const uint8_t digest[static 16])
{
    struct wanted wanted = {history, digest};
    return ns_index_find(&history->index, hash_of(digest), is_wanted, &wanted);
}

/* A place for a new key: a free one, or that of the key unused for longest. */
static uint32_t
make_place(struct ns_history *history)
{
    if (history->keys < NS_HISTORY_KEYS_MAX) {
        return history->keys++;
    }
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < NS_HISTORY_KEYS_MAX; i++) {
        if (history->key[i].used_at < history->key[oldest].used_at) {
            oldest = i;
        }
    }
    ns_index_remove(&history->index, hash_of(history->key[oldest].digest), oldest);
    return oldest;
}

static unsigned
bucket_of(uint64_t tokens)
{
    if (tokens < 4) {
        return (unsigned)tokens;
    }
    unsigned octave = 63 - (unsigned)__builtin_clzll(tokens); /* >= 2 */
    unsigned bucket = (octave - 1) * 4 + (unsigned)(tokens >> (octave - 2) & 3);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

/* The largest number that falls into a bucket. */
static uint64_t
edge_of(unsigned bucket)
{
    if (bucket < 4) {
        return bucket;
    }
    unsigned octave = bucket / 4 + 1;
    return ((UINT64_C(5) + bucket % 4) << (octave - 2)) - 1;
}

void
ns_history_add(struct ns_history *history, struct ns_text provider, struct ns_text model,
               struct ns_text operation, uint64_t output_tokens, uint64_t sequence)
{
    uint8_t digest[16];
    digest_of(provider, model, operation, digest);
    uint32_t place = find(history, digest);
    if (place == NS_INDEX_NONE) {
        place = make_place(history);
        history->key[place] = (struct key_history){0};
        memcpy(history->key[place].digest, digest, sizeof digest);
        if (ns_index_add(&history->index, hash_of(digest), place) != 0) {
            return; /* without memory it is a key that nobody finds */
        }
    }
    struct key_history *key = &history->key[place];
    unsigned bucket = bucket_of(output_tokens);
    if (key->count[bucket] == COUNT_MAX) {
        key->calls = 0;
        for (unsigned i = 0; i < BUCKETS; i++) {
            key->count[i] /= 2;
            key->calls += key->count[i];
        }
    }
    key->count[bucket]++;
    key->calls++;
    key->used_at = sequence;
}

uint64_t
ns_history_typical(const struct ns_history *history, struct ns_text provider, struct ns_text model,
                   struct ns_text operation)
{
    uint8_t digest[16];
    digest_of(provider, model, operation, digest);
    uint32_t place = find(history, digest);
    if (place == NS_INDEX_NONE || history->key[place].calls < NS_HISTORY_CALLS_MIN) {
        return 0;
    }
    const struct key_history *key = &history->key[place];
    uint32_t below = 0;
    unsigned bucket = 0;
    for (; bucket < BUCKETS - 1; bucket++) {
        below += key->count[bucket];
        if (below * 10 >= key->calls * 9) {
            break;
        }
    }
    uint64_t edge = edge_of(bucket);
    return edge > 0 ? edge : 1;
}

void
ns_history_save(const struct ns_history *history, struct ns_buffer *buffer)
{
    ns_buffer_add_u32(buffer, history->keys);
    ns_buffer_add_u32(buffer, BUCKETS);
    for (uint32_t i = 0; i < history->keys; i++) {
        const struct key_history *key = &history->key[i];
        ns_buffer_add(buffer, key->digest, sizeof key->digest);
        ns_buffer_add_u64(buffer, key->used_at);
        ns_buffer_add(buffer, key->count, sizeof key->count);
    }
}

int
ns_history_load(struct ns_bytes *bytes, struct ns_history **history)
{
    struct ns_history *loaded = ns_history_new();
    if (loaded == NULL) {
        return -ENOMEM;
    }
    uint32_t keys = ns_bytes_u32(bytes);
    int error = ns_bytes_u32(bytes) == BUCKETS && keys <= NS_HISTORY_KEYS_MAX ? 0 : -EBADMSG;
    for (uint32_t i = 0; i < keys && error == 0; i++) {
        struct key_history *key = &loaded->key[i];
        const uint8_t *digest = ns_bytes_take(bytes, 16);
        key->used_at = ns_bytes_u64(bytes);
        const uint8_t *count = ns_bytes_take(bytes, BUCKETS);
        if (digest == NULL || count == NULL) {
            error = -EBADMSG;
            break;
        }
        memcpy(key->digest, digest, sizeof key->digest);
        memcpy(key->count, count, sizeof key->count);
        for (unsigned b = 0; b < BUCKETS; b++) {
            key->calls += key->count[b];
        }
        error = ns_index_add(&loaded->index, hash_of(key->digest), i);
        loaded->keys++;
    }
    if (error != 0) {
        ns_history_free(loaded);
        return error;
    }
    *history = loaded;
    return 0;
}
