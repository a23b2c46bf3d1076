/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic size_t asked;
static _Atomic size_t fail_at;

static int
must_fail(void)
{
    size_t n = atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed) + 1;
    return n == atomic_load_explicit(&fail_at, memory_order_relaxed);
}

void *
ns_mem_alloc(size_t bytes)
{
    return must_fail() ? NULL : calloc(1, bytes ? bytes : 1);
}

void *
ns_mem_resize(void *block, size_t old_bytes, size_t bytes)
{
    (void)old_bytes;
    return must_fail() ? NULL : realloc(block, bytes ? bytes : 1);
}

void
ns_mem_free(void *block)
{
    free(block);
}

size_t
ns_mem_fail_at(size_t n)
{
    atomic_store(&fail_at, n);
    return atomic_exchange(&asked, 0);
}
