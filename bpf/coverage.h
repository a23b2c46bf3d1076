/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which processes talk to providers, what governs each, and how many bytes go by: found by what
 * clients say first (TLS, QUIC), told to the collector. One thread, but for looks at processes.
 */
#ifndef NS_BPF_COVERAGE_H
#define NS_BPF_COVERAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/wire.h"

/* Sockets at once, and processes by server: those seen least lately leave for new ones. */
#define NS_COVERAGE_SOCKETS_MAX 16384
#define NS_COVERAGE_PLACES_MAX 4096

struct ns_coverage_options {
    const struct ns_wire_hosts *hosts; /* must outlive it */
    uint32_t only_network;             /* inode of the network name space that counts; 0: all */
    bool attaches;                     /* an agent attaches to what is in its reach */
};

struct ns_sightings;

/* Begins to watch. NULL where the kernel does not let it, which is said on standard error: nothing
 * else needs it. */
struct ns_sightings *ns_sightings_new(const struct ns_coverage_options *options);

/* Tells the last, and ends. NULL is nothing. */
void ns_sightings_free(struct ns_sightings *sightings);

/* The agent follows a connection of this process to this server. */
void ns_sightings_governed(struct ns_sightings *sightings, uint32_t pid, const char *server_name);

/* For poll(2); -1 where there is nothing to watch. */
int ns_sightings_fd(const struct ns_sightings *sightings);

/* Takes what the kernel told, and tells the collector what is due. Never waits for a process. */
void ns_sightings_turn(struct ns_sightings *sightings);

#endif
