/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that the kernel's part has stopped, and how they go on: as they were before, stopped by
 * somebody else or not. One thread, but for ns_stop_end, which the guard uses in its own process.
 */
#ifndef NS_BPF_STOPS_H
#define NS_BPF_STOPS_H

#include <stdbool.h>
#include <stdint.h>

struct ns_stops;

/* stopped_fd: the table of stopped processes; must outlive it. NULL without memory. */
struct ns_stops *ns_stops_new(int stopped_fd);

/* Lets everybody go on, and frees it. */
void ns_stops_free(struct ns_stops *stops);

/* A write that a process was stopped at has been taken. (Without memory for it it goes on.) */
void ns_stops_note(struct ns_stops *stops, uint32_t pid);

/* Is it still where we stopped it, so that its memory may be written? Not where somebody else has
 * let it go on, or debugs it. */
bool ns_stops_holds(const struct ns_stops *stops, uint32_t pid);

/* Lets go on whom `waits` says false of, if all writes that it was stopped at have been taken. */
typedef bool ns_stops_wait(const void *context, uint32_t pid);
void ns_stops_let_go(struct ns_stops *stops, ns_stops_wait *waits, const void *context);

/* Lets a process of that table go on. seen: of its writes how many were taken, NS_STOP_ALL for
 * whatever it is; it stays stopped if there is another one meanwhile, and *seen is of that table's
 * entry then. Returns whether it has gone on, or was not stopped. */
bool ns_stop_end(int stopped_fd, uint32_t pid, uint32_t *seen);
#define NS_STOP_ALL UINT32_MAX

/* Those that have been stopped for so long. */
void ns_stop_end_all(int stopped_fd, int64_t longest_ns);

#endif
