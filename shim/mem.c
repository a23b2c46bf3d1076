/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base/mem.h for the preload object: memory from mmap, never from the host's allocator, which may
 * be anything (jemalloc, a debugger's) and may be the very thing that called us.
 *
 * Blocks have a header of 16 bytes and one of 45 sizes, four to a doubling. A freed block waits in
 * the list of its size. The lock guards a handful of stores; a child of fork resets it.
 */
#include "base/mem.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "shim/lock.h"
#include "shim/memory.h"

#define HEADER_BYTES 16
#define CLASS_LARGE UINT32_MAX
#define PAGE_BYTES 4096

struct header {
    uint64_t bytes; /* of the block, header included */
    uint32_t size_class;
    uint32_t spare;
};
_Static_assert(sizeof(struct header) == HEADER_BYTES, "blocks stay aligned to 16");

struct vacant {
    struct header header;
    struct vacant *next;
};

/* 64, 80, 96, 112, 128, 160, … NS_MEM_SMALL_BYTES_MAX */
#define CLASSES 45

static struct ns_lock lock;
static struct vacant *vacant[CLASSES];
static uint8_t *arena_next;
static uint8_t *arena_end;
static size_t mapped_bytes;
static size_t asked;
static size_t fail_at;

static size_t
class_bytes(uint32_t size_class)
{
    return (size_t)(64 + 16 * (size_class % 4)) << (size_class / 4);
}

static uint32_t
class_of(size_t bytes)
{
    uint32_t size_class = 0;
    while (class_bytes(size_class + 4) < bytes) {
        size_class += 4;
    }
    while (class_bytes(size_class) < bytes) {
        size_class++;
    }
    return size_class;
}

static void *
map(size_t bytes)
{
    int saved = errno;
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = saved;
    if (pages == MAP_FAILED) {
        return NULL;
    }
    __atomic_add_fetch(&mapped_bytes, bytes, __ATOMIC_RELAXED);
    return pages;
}

static void
unmap(void *pages, size_t bytes)
{
    int saved = errno;
    munmap(pages, bytes);
    errno = saved;
    __atomic_sub_fetch(&mapped_bytes, bytes, __ATOMIC_RELAXED);
}

static bool
must_fail(void)
{
#ifdef NS_DEBUG
    size_t n = __atomic_add_fetch(&asked, 1, __ATOMIC_RELAXED);
    return n == __atomic_load_n(&fail_at, __ATOMIC_RELAXED);
#else
    return false;
#endif
}

static void *
alloc_large(size_t bytes)
{
    size_t total = (bytes + HEADER_BYTES + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
    struct header *header = total > bytes ? map(total) : NULL;
    if (header == NULL) {
        return NULL;
    }
    header->bytes = total;
    header->size_class = CLASS_LARGE;
    return header + 1;
}

/* A block out of the arena, already zero, or NULL where the arena has no room. Lock held. */
static struct header *
carve(size_t bytes)
{
    if (arena_next == NULL || (size_t)(arena_end - arena_next) < bytes) {
        return NULL;
    }
    struct header *header = (struct header *)(void *)arena_next;
    arena_next += bytes;
    return header;
}

static struct header *
take(uint32_t size_class, bool *fresh)
{
    size_t bytes = class_bytes(size_class);
    ns_lock(&lock);
    struct vacant *block = vacant[size_class];
    if (block != NULL) {
        vacant[size_class] = block->next;
        ns_unlock(&lock);
        *fresh = false;
        return &block->header;
    }
    struct header *header = carve(bytes);
    ns_unlock(&lock);
    *fresh = true;
    if (header != NULL) {
        return header;
    }
    uint8_t *arena = map(NS_MEM_ARENA_BYTES);
    if (arena == NULL) {
        return NULL;
    }
    ns_lock(&lock);
    /* What was left of the old arena is not touched, so it costs addresses and no memory. */
    arena_next = NULL;
    arena_end = arena + NS_MEM_ARENA_BYTES;
    arena_next = arena;
    header = carve(bytes);
    ns_unlock(&lock);
    return header;
}

void *
ns_mem_alloc(size_t bytes)
{
    if (must_fail() || bytes > PTRDIFF_MAX / 2) {
        return NULL;
    }
    if (bytes + HEADER_BYTES > NS_MEM_SMALL_BYTES_MAX) {
        return alloc_large(bytes);
    }
    uint32_t size_class = class_of(bytes + HEADER_BYTES);
    bool fresh;
    struct header *header = take(size_class, &fresh);
    if (header == NULL) {
        return NULL;
    }
    header->bytes = class_bytes(size_class);
    header->size_class = size_class;
    if (!fresh) {
        memset(header + 1, 0, class_bytes(size_class) - HEADER_BYTES);
    }
    return header + 1;
}

static void *
resize_large(struct header *header, size_t bytes)
{
    size_t total = (bytes + HEADER_BYTES + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
    size_t old_total = header->bytes;
    int saved = errno;
    void *moved = mremap(header, old_total, total, MREMAP_MAYMOVE);
    errno = saved;
    if (moved == MAP_FAILED) {
        return NULL;
    }
    __atomic_add_fetch(&mapped_bytes, total - old_total, __ATOMIC_RELAXED);
    header = moved;
    header->bytes = total;
    return header + 1;
}

void *
ns_mem_resize(void *block, size_t old_bytes, size_t bytes)
{
    if (block == NULL) {
        return ns_mem_alloc(bytes);
    }
    struct header *header = (struct header *)block - 1;
    if (bytes <= header->bytes - HEADER_BYTES && header->size_class != CLASS_LARGE) {
        return block;
    }
    if (header->size_class == CLASS_LARGE && bytes + HEADER_BYTES > NS_MEM_SMALL_BYTES_MAX) {
        return must_fail() || bytes > PTRDIFF_MAX / 2 ? NULL : resize_large(header, bytes);
    }
    void *moved = ns_mem_alloc(bytes);
    if (moved != NULL) {
        memcpy(moved, block, old_bytes < bytes ? old_bytes : bytes);
        ns_mem_free(block);
    }
    return moved;
}

void
ns_mem_free(void *block)
{
    if (block == NULL) {
        return;
    }
    struct header *header = (struct header *)block - 1;
    if (header->size_class == CLASS_LARGE) {
        unmap(header, header->bytes);
        return;
    }
    struct vacant *blank = (struct vacant *)header;
    ns_lock(&lock);
    blank->next = vacant[header->size_class];
    vacant[header->size_class] = blank;
    ns_unlock(&lock);
}

size_t
ns_mem_fail_at(size_t n)
{
    __atomic_store_n(&fail_at, n, __ATOMIC_RELAXED);
    return __atomic_exchange_n(&asked, 0, __ATOMIC_RELAXED);
}

void
ns_mem_after_fork(void)
{
    if (lock.held != 0) {
        /* Another thread was between two stores here: the arena's bounds may not fit together. */
        arena_next = NULL;
        arena_end = NULL;
        lock.held = 0;
    }
}

size_t
ns_mem_mapped_bytes(void)
{
    return __atomic_load_n(&mapped_bytes, __ATOMIC_RELAXED);
}
