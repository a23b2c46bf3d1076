/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard of stopped processes: a child of the agent that lets them go on where the agent cannot:
 * it has ended, however that came, or keeps one longer than it may.
 */
#ifndef NS_BPF_GUARD_H
#define NS_BPF_GUARD_H

#include <stdint.h>

/* Starts it. stopped_fd: the table of stopped processes, which it takes over. longest_ns: how long
 * one may be stopped. To be called before anything is attached, so that it holds nothing of that.
 * It ends when this process does. Returns 0 or a negative errno. */
int ns_guard_start(int stopped_fd, int64_t longest_ns);

#endif
