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
#include <string.h>

#include "shim/elf_symbols.h"
#include "shim/process.h"
#include "shim/resolve.h"

typedef void *(*opener)(const char *path, int flags);

static opener next_opener;

static opener
find_opener(void)
{
    opener found = __atomic_load_n(&next_opener, __ATOMIC_ACQUIRE);
    if (found == NULL) {
        void *function = ns_elf_next("dlopen"); /* libdl's, before glibc 2.34 */
        memcpy(&found, &function, sizeof found);
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
