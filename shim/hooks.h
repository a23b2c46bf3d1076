/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the families of hooks share: whose call it is, and the way into the engine. Each hook works
 * before any constructor has run. All functions: any thread.
 */
#ifndef NS_SHIM_HOOKS_H
#define NS_SHIM_HOOKS_H

#include <stdbool.h>
#include <stddef.h>

#include "shim/engine.h"
#include "shim/openssl.h"

#define NS_HOOK __attribute__((visibility("default")))
#define NS_CALLER __builtin_return_address(0)

/* The functions to hand a call on to, and the engine where it is governed. */
struct ns_target {
    const struct ns_openssl
        *api;                 /* NULL: the call fails: no libssl is known, or none may be used */
    struct ns_engine *engine; /* NULL: hand on */
};

/* For functions that bring or take bytes: the first one of a connection decides whether it is
 * governed. caller: the code that calls, for SSL* that tell nothing. */
struct ns_target ns_hook_aim(SSL *ssl, const void *caller);

/* For functions that are no reason to know a connection. */
struct ns_target ns_hook_aim_known(const SSL *ssl, const void *caller);

/* As SSL_write_ex and SSL_read_ex, or where plain as SSL_write and SSL_read: 1 and the count, or
 * what OpenSSL returned. */
int ns_hook_write(struct ns_engine *engine, const void *bytes, size_t count, bool plain,
                  size_t *written);
int ns_hook_read(struct ns_engine *engine, void *bytes, size_t count, bool peek, bool plain,
                 size_t *got);

/* The connection is over: tells of calls that are not. */
void ns_hook_part(const SSL *ssl);

/* A hook's name, itself, and its place in struct ns_openssl. */
struct ns_hook {
    const char *name;
    void (*hook)(void);
    size_t place;
};

/* All hooks that stand for functions of libssl. */
extern const struct ns_hook ns_hooks[];
extern const size_t ns_hook_count;

#endif
