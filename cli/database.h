/* SPDX-License-Identifier: Apache-2.0 */
/* The Postgres that the collector fills. */
#ifndef NS_CLI_DATABASE_H
#define NS_CLI_DATABASE_H

#include <libpq-fe.h>
#include <stdbool.h>

#define NS_DATABASE_URL_BYTES 2048

/*
 * The database's URL: NULLSPEND_DATABASE_URL, else what the running collector says, else the file
 * "database.url" of the state directory. Returns NS_EXIT_DONE, or NS_EXIT_NO_COLLECTOR with the
 * reason said.
 */
int ns_database_url(char url[static NS_DATABASE_URL_BYTES]);

/* The same after a collector that answers has been asked to make its schema there and to bring it
 * up to date. */
int ns_database_url_synced(char url[static NS_DATABASE_URL_BYTES]);

/* Connects; times are in UTC. Returns an exit code; what is wrong has been
 * said. *database goes to PQfinish either way. */
int ns_database_open(PGconn **database);

/*
 * The same after the collector has been asked to bring Postgres up to date ("sync", at most 5 s; a
 * lag is said on stderr). Without a collector, but with NULLSPEND_DATABASE_URL, what is there is
 * shown, and that is said.
 */
int ns_database_open_synced(PGconn **database);

/* The same for a change that the collector must take notice of: without one that answers,
 * NS_EXIT_NO_COLLECTOR. */
int ns_database_open_for_change(PGconn **database);

/* Waits for a notification of what was listened for, at most so long; takes all that came. */
void ns_database_await_news(PGconn *database, int most_ms);

/* Runs a query with text parameters. Returns its result, for PQclear; NULL: failed, and said. */
PGresult *ns_database_query(PGconn *database, const char *sql, int parameter_count,
                            const char *const *parameters);

/* The same for a query whose refusal by a rule of the schema is the user's mistake: *code becomes
 * NS_EXIT_USAGE then, NS_EXIT_NOT_FOUND where it names what is not there, else NS_EXIT_FAILED. */
PGresult *ns_database_try(PGconn *database, const char *sql, int parameter_count,
                          const char *const *parameters, int *code);

#endif
