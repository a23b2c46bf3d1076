/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dlopen without RTLD_DEEPBIND: what is opened with it finds its own libssl before our hooks. PHP
 * opens all extensions so, and with them the libcurl of its official way to make a request.
 *
 * It is also the moment before which whatever was unloaded must be forgotten.
 *
 * Only that flag is ever changed, and only where the library is at work. musl and macOS have no
 * such flag, so programs that run there do without it too.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "shim/elf_symbols.h"
#include "shim/process.h"
#include "shim/resolve.h"

typedef void *(*opener)(const char *path, int flags);

struct next {
    bool past_us;
    opener before; /* where all are before us: the library was opened itself, late */
    opener found;
};

static opener next_opener;

/* The first dlopen behind ours in the order of loading: libc's (libdl's before glibc 2.34), or that
 * of another preload object. */
static int
find_next(struct dl_phdr_info *info, size_t bytes, void *data)
{
    (void)bytes;
    struct next *next = data;
    struct ns_elf elf;
    if (!ns_elf_open(&elf, info)) {
        return 0;
    }
    uintptr_t here = (uintptr_t)(const void *)&next_opener;
    if (here >= elf.begin && here < elf.end) {
        next->past_us = true;
        return 0;
    }
    void *function = ns_elf_function(&elf, "dlopen");
    if (next->past_us) {
        memcpy(&next->found, &function, sizeof function);
    } else if (next->before == NULL) {
        memcpy(&next->before, &function, sizeof function);
    }
    return next->found != NULL;
}

static opener
find_opener(void)
{
    opener found = __atomic_load_n(&next_opener, __ATOMIC_ACQUIRE);
    if (found == NULL) {
        struct next next = {0};
        dl_iterate_phdr(find_next, &next);
        found = next.found != NULL ? next.found : next.before;
        __atomic_store_n(&next_opener, found, __ATOMIC_RELEASE);
    }
    return found;
}

/* The last call must be a jump: libc takes the caller's search path from the address that it will
 * return to. */
__attribute__((visibility("default"))) void *
dlopen(const char *path, int flags)
{
    opener next = find_opener();
    if (next == NULL) {
        return NULL;
    }
    ns_resolve_before_load();
    if ((flags & RTLD_DEEPBIND) != 0 && ns_process_ready()) {
        flags &= ~RTLD_DEEPBIND;
    }
    return next(path, flags);
}
