/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose calls these are: processes that have a connection, by pid and start time, with what their
 * environment says of them (NULLSPEND_CUSTOMER, _AGENT, _FEATURE, _SESSION, _TAGS). One thread.
 */
#ifndef NS_BPF_OWNERS_H
#define NS_BPF_OWNERS_H

#include <stdbool.h>
#include <stdint.h>

#include "shim/hello.h"
#include "wire/wire.h"

/* Of an environment so much is read; what lies behind is not seen. */
#define NS_OWNER_ENVIRONMENT_BYTES_MAX (256 << 10)

/* Sweeps, some time apart, that must find no process: at the first its last records may be under
 * way. */
#define NS_OWNER_GONE_MAX 2

/* At once: some 6 KiB each. */
#define NS_OWNERS_MAX 8192

struct ns_owner {
    struct ns_owner *next;
    uint32_t pid;
    uint32_t users; /* ns_owners_get without ns_owners_put */
    uint32_t gone;  /* so many sweeps found its process over */
    uint64_t start_ticks;
    char process[NS_NAME_BYTES_MAX + 1]; /* the executable's; another one has another environment */
    struct ns_wire_identity identity;
};

struct ns_owners;

struct ns_owners *ns_owners_new(void);
void ns_owners_free(struct ns_owners *owners);

/* The owner of that pid as it is now; its environment is read where it is new. NULL without memory
 * or room. Stays valid until ns_owners_put, and longer while its process lives: the next connection
 * finds it. */
struct ns_owner *ns_owners_get(struct ns_owners *owners, uint32_t pid);
void ns_owners_put(struct ns_owner *owner);

/* Forgets those whose process is over. visit: of one that has connections still, for nobody said
 * that it is over; it puts them. */
typedef void ns_owners_visit(void *context, uint32_t pid);
void ns_owners_sweep(struct ns_owners *owners, ns_owners_visit *visit, void *context);

#endif
