/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A private Postgres cluster in the collector's state directory, for when no database URL is given:
 * made by initdb on first use, reached through a Unix socket only, run as a user that is not root,
 * stopped with the collector, and recovered after either was killed.
 */
#ifndef NS_COLLECTOR_CLUSTER_H
#define NS_COLLECTOR_CLUSTER_H

#include <stddef.h>

#define NS_CLUSTER_URL_BYTES 512
#define NS_CLUSTER_ERROR_BYTES 512

struct ns_cluster;

/*
 * Makes (progress on stderr: one line) and starts the cluster of a state directory, waiting until
 * it answers. As root it runs as the user `postgres` (whose directory the data then is). A server
 * left over by a killed collector is taken over. Returns 0, or a negative errno with a sentence in
 * error that names the next step. url is what libpq connects to.
 */
int ns_cluster_start(const char *state_directory, struct ns_cluster **cluster,
                     char url[static NS_CLUSTER_URL_BYTES],
                     char error[static NS_CLUSTER_ERROR_BYTES]);

/* The same URL, without starting anything; for the command line. Returns 0 or -ENOENT. */
int ns_cluster_url(const char *state_directory, char url[static NS_CLUSTER_URL_BYTES]);

/* Fast shutdown, waits. */
void ns_cluster_stop(struct ns_cluster *cluster);

#endif
