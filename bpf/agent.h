/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's life: finds programs, takes what the kernel tells, asks, lets go on. */
#ifndef NS_BPF_AGENT_H
#define NS_BPF_AGENT_H

#include <stdbool.h>

/* this_network: only for processes of the agent's own network name space. Runs until SIGTERM or
 * SIGINT. Says on stdout when all programs that run are attached to. Returns the exit status. */
int ns_agent_run(bool this_network);

#endif
