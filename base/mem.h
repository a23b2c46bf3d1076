/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one door to memory for everything that is linked into other people's programs.
 *
 * base/mem.c serves it from malloc, for the daemon, the command line and the tests, where it can
 * also be told to fail. The preload object brings its own definition (shim/mem.c), so that the
 * host's allocator is never entered from a hook.
 */
#ifndef NS_BASE_MEM_H
#define NS_BASE_MEM_H

#include <stddef.h>

/* bytes of zeroed memory aligned to 16, or NULL. Any thread. */
void *ns_mem_alloc(size_t bytes);

/* Moves a block to bytes (its first old_bytes kept, the rest not set). NULL leaves it as it was. */
void *ns_mem_resize(void *block, size_t old_bytes, size_t bytes);

/* Gives a block back; NULL is allowed. */
void ns_mem_free(void *block);

/* Tests only (base/mem.c): the n-th allocation from now on fails once; 0 switches it off. Returns
 * how many allocations were asked for since the last call. */
size_t ns_mem_fail_at(size_t n);

#endif
