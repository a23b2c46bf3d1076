/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/calls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/hash.h"
#include "collector/index.h"
#include "collector/ledger.h"
#include "collector/record.h"

/* Blocks of 256 bytes, 512, … up to the largest record. */
#define SIZE_FIRST_LOG2 8
#define SIZES 10

_Static_assert((1 << (SIZE_FIRST_LOG2 + SIZES - 1)) >= NS_RECORD_BYTES_MAX, "blocks hold a record");

struct free_block {
    struct free_block *next;
};

struct ns_calls {
    struct ns_open_call *call;
    uint32_t places; /* allocated */
    uint32_t used;   /* places ever used */
    uint32_t open;
    uint32_t *vacant; /* free places below used */
    uint32_t vacants;
    struct ns_index index;
    struct free_block *blocks[SIZES];
    uint8_t key[16];
};

/* --- blocks ----------------------------------------------------------------------------------- */

static unsigned
size_class(size_t bytes)
{
    unsigned class = 0;
    while (((size_t)1 << (SIZE_FIRST_LOG2 + class)) < bytes) {
        class ++;
    }
    return class;
}

static uint8_t *
take_block(struct ns_calls *calls, size_t bytes)
{
    unsigned class = size_class(bytes);
    struct free_block *block = calls->blocks[class];
    if (block != NULL) {
        calls->blocks[class] = block->next;
        return (uint8_t *)block;
    }
    return malloc((size_t)1 << (SIZE_FIRST_LOG2 + class));
}

static void
give_block(struct ns_calls *calls, uint8_t *bytes, size_t count)
{
    if (bytes != NULL) {
        struct free_block *block = (struct free_block *)(void *)bytes;
        unsigned class = size_class(count);
        block->next = calls->blocks[class];
        calls->blocks[class] = block;
    }
}

/* --- the table -------------------------------------------------------------------------------- */

struct ns_calls *
ns_calls_new(void)
{
    struct ns_calls *calls = calloc(1, sizeof *calls);
    if (calls != NULL && getrandom(calls->key, sizeof calls->key, GRND_NONBLOCK) < 0) {
        memcpy(calls->key, "before any rand.", sizeof calls->key);
    }
    return calls;
}

void
ns_calls_free(struct ns_calls *calls)
{
    if (calls == NULL) {
        return;
    }
    for (uint32_t i = 0; i < calls->used; i++) {
        free(calls->call[i].check);
        free(calls->call[i].progress);
    }
    for (unsigned class = 0; class < SIZES; class ++) {
        while (calls->blocks[class] != NULL) {
            struct free_block *next = calls->blocks[class]->next;
            free(calls->blocks[class]);
            calls->blocks[class] = next;
        }
    }
    free(calls->call);
    free(calls->vacant);
    ns_index_free(&calls->index);
    free(calls);
}

size_t
ns_calls_count(const struct ns_calls *calls)
{
    return calls->open;
}

struct wanted {
    const struct ns_calls *calls;
    const struct ns_uuid *call_id;
};

static bool
is_wanted(const void *context, uint32_t place)
{
    const struct wanted *wanted = context;
    return ns_uuid_equal(&wanted->calls->call[place].call_id, wanted->call_id);
}

static uint32_t
hash_of(const struct ns_calls *calls, const struct ns_uuid *call_id)
{
    return (uint32_t)ns_siphash64(calls->key, call_id->bytes, sizeof call_id->bytes);
}

struct ns_open_call *
ns_calls_find(struct ns_calls *calls, const struct ns_uuid *call_id)
{
    struct wanted wanted = {calls, call_id};
    uint32_t place = ns_index_find(&calls->index, hash_of(calls, call_id), is_wanted, &wanted);
    return place == NS_INDEX_NONE ? NULL : &calls->call[place];
}

static int
grow(struct ns_calls *calls)
{
    uint32_t places = calls->places == 0 ? 256 : calls->places * 2;
    struct ns_open_call *call = realloc(calls->call, places * sizeof *call);
    if (call == NULL) {
        return -ENOMEM;
    }
    calls->call = call;
    uint32_t *vacant = realloc(calls->vacant, places * sizeof *vacant);
    if (vacant == NULL) {
        return -ENOMEM;
    }
    calls->vacant = vacant;
    calls->places = places;
    return 0;
}

int
ns_calls_open(struct ns_calls *calls, const struct ns_uuid *call_id, int64_t hold_nanousd,
              const void *check, size_t check_bytes)
{
    if (calls->vacants == 0 && calls->used == calls->places && grow(calls) != 0) {
        return -ENOMEM;
    }
    uint8_t *block = take_block(calls, check_bytes);
    if (block == NULL) {
        return -ENOMEM;
    }
    memcpy(block, check, check_bytes);
    uint32_t place = calls->vacants > 0 ? calls->vacant[calls->vacants - 1] : calls->used;
    if (ns_index_add(&calls->index, hash_of(calls, call_id), place) != 0) {
        give_block(calls, block, check_bytes);
        return -ENOMEM;
    }
    if (calls->vacants > 0) {
        calls->vacants--;
    } else {
        calls->used++;
    }
    calls->call[place] = (struct ns_open_call){.call_id = *call_id,
                                               .hold_nanousd = hold_nanousd,
                                               .charged_nanousd = NS_CALL_NOT_LOST,
                                               .check = block,
                                               .check_bytes = (uint32_t)check_bytes};
    calls->open++;
    return 0;
}

int
ns_calls_progress(struct ns_calls *calls, struct ns_open_call *call, const void *progress,
                  size_t progress_bytes)
{
    uint8_t *block = take_block(calls, progress_bytes);
    if (block == NULL) {
        return -ENOMEM;
    }
    memcpy(block, progress, progress_bytes);
    give_block(calls, call->progress, call->progress_bytes);
    call->progress = block;
    call->progress_bytes = (uint32_t)progress_bytes;
    return 0;
}

void
ns_calls_close(struct ns_calls *calls, const struct ns_uuid *call_id)
{
    struct ns_open_call *call = ns_calls_find(calls, call_id);
    if (call == NULL) {
        return;
    }
    uint32_t place = (uint32_t)(call - calls->call);
    ns_index_remove(&calls->index, hash_of(calls, call_id), place);
    give_block(calls, call->check, call->check_bytes);
    give_block(calls, call->progress, call->progress_bytes);
    *call = (struct ns_open_call){0};
    calls->vacant[calls->vacants++] = place;
    calls->open--;
}

void
ns_calls_visit_lost(const struct ns_calls *calls,
                    void (*visit)(void *context, const struct ns_open_call *call), void *context)
{
    for (uint32_t i = 0; i < calls->used; i++) {
        const struct ns_open_call *call = &calls->call[i];
        if (call->check != NULL && call->charged_nanousd != NS_CALL_NOT_LOST) {
            visit(context, call);
        }
    }
}

/* --- snapshots -------------------------------------------------------------------------------- */

struct sorted {
    const struct ns_open_call *call;
};

static int
by_id(const void *a, const void *b)
{
    const struct sorted *first = a;
    const struct sorted *second = b;
    return memcmp(first->call->call_id.bytes, second->call->call_id.bytes, 16);
}

int
ns_calls_save(const struct ns_calls *calls, struct ns_buffer *buffer)
{
    struct sorted *sorted = malloc((calls->open + (size_t)1) * sizeof *sorted);
    if (sorted == NULL) {
        return -ENOMEM;
    }
    size_t count = 0;
    for (uint32_t i = 0; i < calls->used; i++) {
        if (calls->call[i].check != NULL) {
            sorted[count++].call = &calls->call[i];
        }
    }
    qsort(sorted, count, sizeof *sorted, by_id);
    ns_buffer_add_u32(buffer, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        const struct ns_open_call *call = sorted[i].call;
        ns_buffer_add(buffer, call->call_id.bytes, 16);
        ns_buffer_add_u64(buffer, (uint64_t)call->hold_nanousd);
        ns_buffer_add_u64(buffer, (uint64_t)call->charged_nanousd);
        ns_buffer_add_u32(buffer, call->check_bytes);
        ns_buffer_add(buffer, call->check, call->check_bytes);
        ns_buffer_add_u32(buffer, call->progress_bytes);
        ns_buffer_add(buffer, call->progress, call->progress_bytes);
    }
    free(sorted);
    return buffer->failed ? -ENOMEM : 0;
}

static int
load_call(struct ns_calls *calls, struct ns_bytes *bytes)
{
    const uint8_t *id = ns_bytes_take(bytes, 16);
    int64_t hold_nanousd = (int64_t)ns_bytes_u64(bytes);
    int64_t charged_nanousd = (int64_t)ns_bytes_u64(bytes);
    uint32_t check_bytes = ns_bytes_u32(bytes);
    const uint8_t *check = ns_bytes_take(bytes, check_bytes);
    uint32_t progress_bytes = ns_bytes_u32(bytes);
    const uint8_t *progress = ns_bytes_take(bytes, progress_bytes);
    if (id == NULL || progress == NULL || check_bytes == 0 || check_bytes > NS_RECORD_BYTES_MAX ||
        progress_bytes > NS_RECORD_BYTES_MAX) {
        return -EBADMSG;
    }
    struct ns_uuid call_id;
    memcpy(call_id.bytes, id, 16);
    if (ns_calls_find(calls, &call_id) != NULL) {
        return -EBADMSG;
    }
    int error = ns_calls_open(calls, &call_id, hold_nanousd, check, check_bytes);
    struct ns_open_call *call = error == 0 ? ns_calls_find(calls, &call_id) : NULL;
    if (call == NULL) {
        return -ENOMEM;
    }
    call->charged_nanousd = charged_nanousd;
    return progress_bytes == 0 ? 0 : ns_calls_progress(calls, call, progress, progress_bytes);
}

int
ns_calls_load(struct ns_bytes *bytes, struct ns_calls **calls)
{
    struct ns_calls *loaded = ns_calls_new();
    if (loaded == NULL) {
        return -ENOMEM;
    }
    uint32_t count = ns_bytes_u32(bytes);
    int error = bytes->failed ? -EBADMSG : 0;
    for (uint32_t i = 0; i < count && error == 0; i++) {
        error = load_call(loaded, bytes);
    }
    if (error != 0) {
        ns_calls_free(loaded);
        return error;
    }
    *calls = loaded;
    return 0;
}
