/* SPDX-License-Identifier: Apache-2.0 */
/* Looks at processes on a thread of its own: large programs take many milliseconds, and who is
 * stopped must not wait for that. */
#ifndef NS_BPF_LOOK_H
#define NS_BPF_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/evidence.h"

#define NS_LOOK_NAME_BYTES 256
#define NS_LOOK_PATH_BYTES 4096

/* What a look came to. */
struct ns_looked {
    uint32_t pid;
    uint64_t start_ticks; /* of the process that was looked at; 0: it was gone */
    struct ns_tls_evidence evidence;
    char executable[NS_LOOK_PATH_BYTES]; /* "" not known, or no text */
};

struct ns_looker;

/* Starts the thread. NULL: it could not. */
struct ns_looker *ns_looker_start(void);

/* Ends it, with the look that it is at, or without if that does not end. */
void ns_looker_stop(struct ns_looker *looker);

/* Asks for a look at a process. Returns false where too many wait. */
bool ns_looker_ask(struct ns_looker *looker, uint32_t pid);

/* Takes a look that is done. Never waits. */
bool ns_looker_take(struct ns_looker *looker, struct ns_looked *looked);

/* /proc/PID/stat field 22; 0 where the process is gone. */
uint64_t ns_look_start_ticks(uint32_t pid);

#endif
