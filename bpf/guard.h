/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process beside the agent that lets go on whoever is stopped for too long, and everybody when
 * the agent has ended, however that came.
 */
#ifndef NS_BPF_GUARD_H
#define NS_BPF_GUARD_H

#include <stdint.h>
#include <sys/types.h>

struct ns_guard {
    pid_t pid;
    int process; /* a pidfd, for poll(2): readable when it has ended */
    int agent;   /* what it watches: closes with the agent */
};

#define NS_GUARD_NONE                                                                              \
    {                                                                                              \
        .pid = 0, .process = -1, .agent = -1                                                       \
    }

/* Starts it. stopped_fd: the table of stopped processes. longest_ns: how long one may stay stopped.
 * Returns 0 or a negative errno: then there is none. */
int ns_guard_start(struct ns_guard *guard, int stopped_fd, int64_t longest_ns);

/* It has ended, or must. Forgets it. */
void ns_guard_end(struct ns_guard *guard);

#endif
