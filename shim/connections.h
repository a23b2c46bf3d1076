/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SSL* → what is known of its connection. Every connection that passed a hook has an entry, also
 * the ungoverned: one look-up tells that it is of no interest and whose functions it needs.
 *
 * Looking up takes no lock: an entry that is found is the right one, because only SSL_free removes
 * it (or its libssl's end), and OpenSSL forbids any use of an SSL* beside its SSL_free; a walk that
 * is led astray by entries coming and going beside it (their memory is used for entries only) finds
 * nothing, and is done again under the bucket's lock.
 */
#ifndef NS_SHIM_CONNECTIONS_H
#define NS_SHIM_CONNECTIONS_H

#include "shim/openssl.h"

/* Entries of one process. Beyond it connections pass ungoverned, counted: more open TLS connections
 * than this are seen in proxies only. */
#define NS_CONNECTIONS_MAX 65536

struct ns_engine;

struct ns_connection {
    const SSL *ssl;
    struct ns_connection *next;
    const struct ns_openssl *api;
    struct ns_engine *engine; /* NULL: not governed */
    uint32_t references;      /* SSL_up_ref: so many SSL_free are not the last */
};

/* The entry, or NULL. */
struct ns_connection *ns_connection_find(const SSL *ssl);

/* Makes an entry; where another thread was first, that one's is returned, with its engine. NULL
 * without memory or beyond NS_CONNECTIONS_MAX. */
struct ns_connection *ns_connection_add(const SSL *ssl, const struct ns_openssl *api,
                                        struct ns_engine *engine);

/* Are there NS_CONNECTIONS_MAX? */
bool ns_connections_full(void);

/* Takes the entry out, for the caller to give back; NULL where there is none. */
struct ns_connection *ns_connection_remove(const SSL *ssl);
void ns_connection_give_back(struct ns_connection *connection);

/* All entries of a libssl that was unloaded are out of the table from here on. Takes no other lock
 * than the table's, and does nothing with the engines. */
void ns_connections_forget(const struct ns_openssl *api);

/* The next of those, for the caller to give back; NULL where there is none. */
struct ns_connection *ns_connection_take_forgotten(void);

/* Visits all entries, each bucket under its lock: visit must not come back here. */
void ns_connections_each(void (*visit)(struct ns_connection *connection));

void ns_connections_after_fork(void);

#endif
