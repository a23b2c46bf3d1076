/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent may do: no more than it needs, for good. */
#ifndef NS_BPF_PRIVILEGES_H
#define NS_BPF_PRIVILEGES_H

#include <stdbool.h>
#include <stdint.h>

/* Capabilities, as bits. CAP_DAC_READ_SEARCH alone may be missing: programs and libraries in
 * directories that are closed to the agent's user are dark then. */
extern const uint64_t NS_PRIVILEGES_AGENT;
extern const uint64_t NS_PRIVILEGES_GUARD;

/* Where there is no other way to attach (uprobe.h). */
extern const uint64_t NS_PRIVILEGES_PERF_UPROBES;

/* Gives up all others for this process (one thread), for good, and the right to gain any by
 * executing a program. Those of kept that it has not are not gained. False with errno where the
 * kernel refuses. */
bool ns_privileges_keep(uint64_t kept);

/* Has it this one (CAP_…), effectively? */
bool ns_privileges_has(int capability);

/* What root alone may do beforehand: becomes a member of the group whose the collector's socket is,
 * and makes the directory of the spool. collector: an endpoint. spool: "" for none. */
void ns_privileges_reach(const char *collector, const char *spool);

#endif
