/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the libssl that a call is meant for.
 *
 * dlsym(RTLD_NEXT) does not do: CPython's _ssl is opened RTLD_LOCAL, so its libssl is not in the
 * global scope; and a process may have two copies (a wheel brings its own), whose SSL* must never
 * meet the other's functions. So the loaded objects are listed, those that are a libssl are kept,
 * and one is chosen: by the SSL* itself (it points at its method table, which lies inside its own
 * library), then by what the caller is bound to, then by what it needs, then the first. Symbols are
 * looked up in the object's own tables: no dlopen, no dlsym, no memory of the host's.
 */
#ifndef NS_SHIM_RESOLVE_H
#define NS_SHIM_RESOLVE_H

#include "shim/openssl.h"

/* Copies of libssl in one process. Two are seen in practice. */
#define NS_LIBSSL_MAX 8

/* The libssl of ssl (NULL: the caller's), called from the code at caller; NULL where none is
 * loaded. What is returned is valid until that libssl is unloaded. Any thread; takes the loader's
 * lock. What was unloaded since is forgotten (shim/connections.h). */
const struct ns_openssl *ns_resolve(const SSL *ssl, const void *caller);

/* The same for a context, whose beginning tells as an SSL's does. */
static inline const struct ns_openssl *
ns_resolve_context(const SSL_CTX *context, const void *caller)
{
    return ns_resolve((const SSL *)(const void *)context, caller);
}

/* The libssl that has this address in it, or NULL. Any thread; as above. */
struct ns_openssl *ns_resolve_at(const void *address);

/* Its place among those of this process, below NS_LIBSSL_MAX. */
size_t ns_resolve_index(const struct ns_openssl *copy);

/* Before objects are loaded, which may come to lie where others did: nothing of those is called any
 * more. Any thread, any time; waits for none. */
void ns_resolve_before_load(void);

void ns_resolve_after_fork(void);

#endif
