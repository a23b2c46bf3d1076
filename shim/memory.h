/* SPDX-License-Identifier: Apache-2.0 */
/* What shim/mem.c adds to base/mem.h. */
#ifndef NS_SHIM_MEMORY_H
#define NS_SHIM_MEMORY_H

#include <stddef.h>

/* Blocks up to this size (header included) come from arenas and are kept for reuse; larger ones are
 * mappings of their own and go back to the kernel. */
#define NS_MEM_SMALL_BYTES_MAX 131072

/* Arenas are taken from the kernel in this size; pages count only once they are touched. */
#define NS_MEM_ARENA_BYTES (256 * 1024)

/* A child of fork: nobody holds the lock any more. */
void ns_mem_after_fork(void);

/* Bytes taken from the kernel: arenas and large blocks. For tests and counters. */
size_t ns_mem_mapped_bytes(void);

#endif
