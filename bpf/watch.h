/* SPDX-License-Identifier: Apache-2.0 */
/* The agent without its probes: it says what is dark, and touches no process. */
#ifndef NS_BPF_WATCH_H
#define NS_BPF_WATCH_H

#include <stdbool.h>

/* this_network: only processes of the agent's own network name space. Runs until SIGTERM or SIGINT.
 * Says on stdout when it watches. Returns the exit status. */
int ns_watch_run(bool this_network);

#endif
