/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's life: finds programs, takes what the kernel tells, asks, lets go on. */
#ifndef NS_BPF_AGENT_H
#define NS_BPF_AGENT_H

#include <stdbool.h>
#include <stdint.h>

/* What becomes of a call that is denied. */
enum ns_on_denial {
    NS_ON_DENIAL_BLANK, /* it leaves with blanks for its body */
    NS_ON_DENIAL_KILL,  /* its process is killed before it leaves */
    NS_ON_DENIAL_ALERT  /* it leaves; nobody is stopped */
};

struct ns_agent_options {
    bool this_network; /* only for processes of the agent's own network name space */
    enum ns_on_denial on_denial;
};

/* Runs until SIGTERM or SIGINT. Returns the exit status. */
int ns_agent_run(const struct ns_agent_options *options);

/* What process.c, which has the agent's settings, changes in them: NULLSPEND_MODE=enforce becomes
 * shadow; nothing is waited for any longer than NS_LAST_WORD_NS. */
void ns_agent_process_alerts(void);
void ns_agent_process_ends(void);

/* A descriptor that is readable when SIGTERM or SIGINT has come, which end nothing from then on.
 * -1: there is none. */
int ns_agent_process_signals(void);
/* The number of the network name space that alone is looked at; 0: all are. Returns false, and says
 * why on stderr, where it cannot be told. */
bool ns_agent_process_network(bool this_network, uint32_t *only_network);

#endif
