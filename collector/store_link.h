/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to Postgres that can be given up at any moment: every wait is a poll that also
 * watches a descriptor which becomes readable when the store must end. Used by one thread.
 */
#ifndef NS_COLLECTOR_STORE_LINK_H
#define NS_COLLECTOR_STORE_LINK_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#define NS_LINK_ERROR_BYTES 256

struct ns_link {
    PGconn *connection; /* NULL: none */
    int abandon_fd;
    char sqlstate[6];                /* of the last error; "" where the server did not say one */
    char error[NS_LINK_ERROR_BYTES]; /* one line */
};

/* Connects. Returns 0, -ECONNREFUSED (error says why) or -ECANCELED. */
int ns_link_open(struct ns_link *link, const char *url, const char *application_name);
void ns_link_close(struct ns_link *link);
bool ns_link_is_up(const struct ns_link *link);

/* Runs statements (parted by semicolons) without results. Returns 0 or -EIO. */
int ns_link_run(struct ns_link *link, const char *sql);

/* Runs one statement with text parameters. Returns its result (PQclear it), or NULL. */
PGresult *ns_link_query(struct ns_link *link, const char *sql, int parameter_count,
                        const char *const *parameters);

/* Runs a COPY … FROM STDIN with these bytes. Returns 0 or -EIO. */
int ns_link_copy(struct ns_link *link, const char *sql, const void *bytes, size_t count);

/* Waits until fd is readable, the server says something (taken in: PQnotifies has it), or ms have
 * passed (-1: for ever). Returns 0, -EIO where the connection is lost, -ECANCELED. */
int ns_link_wait(struct ns_link *link, int fd, int ms);

#endif
