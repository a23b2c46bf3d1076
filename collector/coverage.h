/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which processes talk to providers, and what governs each: what an agent tells, and what the calls
 * of governed processes show by themselves. A bounded table in memory, from which Postgres is
 * filled; no I/O, no clock. One thread (the gate's).
 *
 * A row is one process and one server. What an agent tells comes again and again, whole, so that a
 * row never counts anything twice; a call that came through a source says more than an agent's
 * evidence, and stays.
 */
#ifndef NS_COLLECTOR_COVERAGE_H
#define NS_COLLECTOR_COVERAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/coverage.h"
#include "collector/limits.h"
#include "collector/peer.h"

struct ns_coverage_row {
    char hostname[64]; /* of the machine */
    char host[260];    /* the server; "" not known */
    char provider[64];
    char process[64];
    char executable[256];
    uint64_t start_ticks;
    uint32_t pid;
    uint32_t uid; /* UINT32_MAX: not known */
    uint8_t governor;
    uint8_t darkness;
    bool called;  /* calls came through what governs it */
    bool changed; /* since it was handed to the store */
    /* Of the agent's life that began at since_ns; 0: no agent told of it. */
    int64_t since_ns;
    uint64_t connections, bytes_sent, bytes_received;
    int64_t first_seen_ns, last_seen_ns;
};

/* Sums of /metrics. */
struct ns_coverage_sums {
    uint64_t bytes[NS_GOVERNOR_COUNT]; /* both ways, as they came: only grows */
    uint64_t evicted;                  /* rows that left for newer ones */
    uint64_t rows[NS_GOVERNOR_COUNT];  /* in memory now */
    uint64_t now[NS_GOVERNOR_COUNT];   /* bytes of those */
};

/* All zero is an empty table. */
struct ns_coverage_table {
    struct ns_coverage_row *row; /* NS_COVERAGE_ROWS_MAX, once there is one */
    uint16_t *bucket;            /* place + 1 of the first of a hash; 0: none */
    uint16_t *next;
    int64_t *seen_ns; /* by place: when its row was seen last, together for a quick look */
    size_t count;
    size_t changed;
    uint64_t bytes[NS_GOVERNOR_COUNT];
    uint64_t evicted;
};

void ns_coverage_free(struct ns_coverage_table *table);

/* An agent on this machine told of a process. refused: the library in it told that it refused its
 * TLS library. Returns 0 or -ENOMEM. */
int ns_coverage_told(struct ns_coverage_table *table, const char *hostname,
                     const struct ns_coverage *told, bool refused);

/* A call to this server came from a process by this source. Returns 0 or -ENOMEM. */
int ns_coverage_called(struct ns_coverage_table *table, const struct ns_process *process,
                       enum ns_governor source, struct ns_text host, struct ns_text provider,
                       int64_t now_ns);

/* The library in a process told that it refused its TLS library. */
void ns_coverage_refused(struct ns_coverage_table *table, const struct ns_process *process);

/* Copies the rows that changed, at most `room`, and takes them for handed on. Returns how many. */
size_t ns_coverage_take(struct ns_coverage_table *table, struct ns_coverage_row *rows, size_t room);

void ns_coverage_sum(const struct ns_coverage_table *table, struct ns_coverage_sums *sums);

#endif
