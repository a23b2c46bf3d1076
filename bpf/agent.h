/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's life: finds programs, takes what the kernel tells, asks, lets go on. */
#ifndef NS_BPF_AGENT_H
#define NS_BPF_AGENT_H

#include <stdbool.h>

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

#endif
