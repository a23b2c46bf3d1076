/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which functions of which libraries are probed, and what a probe does there: one row each. What a
 * file shows decides, never its name: programs bring such a library inside, or under another name.
 */
#ifndef NS_BPF_LIBRARIES_H
#define NS_BPF_LIBRARIES_H

#include <stdint.h>

/* Programs of the kernel's part, by what they expect in the arguments. `connection` is the address
 * by which the library knows it. */
enum ns_hook {
    NS_HOOK_NONE,
    NS_HOOK_CTRL,          /* connection, what, ., a server's name */
    NS_HOOK_NAME,          /* connection, a server's name */
    NS_HOOK_NAME_SIZED,    /* connection, ., a server's name, its length */
    NS_HOOK_IMPORT,        /* ., connection: it is TLS from here on */
    NS_HOOK_WRITE,         /* connection, bytes, int count */
    NS_HOOK_WRITE_SIZED,   /* connection, bytes, size_t count */
    NS_HOOK_WRITE_TELLING, /* connection, bytes, size_t count, size_t *written */
    NS_HOOK_WRITE_KNOWN,   /* as WRITE; of what nothing was told before nothing is */
    NS_HOOK_WRITTEN,       /* the return of any of these */
    NS_HOOK_READ,          /* connection, bytes */
    NS_HOOK_READ_TELLING,  /* connection, bytes, ., size_t *have_read */
    NS_HOOK_HAVE_READ,     /* the return of either */
    NS_HOOK_FREE,          /* connection */
    NS_HOOKS
};

/* What the points of one file may be. */
#define NS_POINTS_MAX 64

struct ns_point {
    uint64_t offset;              /* in the file */
    enum ns_hook hook, at_return; /* what is probed where it is entered, and where it returns */
};

/* Looks at a file. Returns how many points it has, 0 where it has none of the libraries, or a
 * negative errno. */
int ns_library_points(const char *path, struct ns_point points[static NS_POINTS_MAX]);

#endif
