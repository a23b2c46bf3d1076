/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's part of coverage, from the agent's side: loading it, attaching it, its tables. */
#ifndef NS_BPF_SIGHTS_H
#define NS_BPF_SIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/sight.h"

struct ns_sights;

/* bytes: as many as the sight says, until it returns. */
typedef void ns_sights_handler(void *context, const struct ns_sight *sight, const uint8_t *bytes);

/* Loads the programs and attaches them to all processes. NULL where the kernel has not what they
 * need; *why is then a static string. */
struct ns_sights *ns_sights_load(ns_sights_handler *handler, void *context, const char **why);
void ns_sights_free(struct ns_sights *sights);

/* Readable when there is something to take. */
int ns_sights_fd(const struct ns_sights *sights);

/* Hands all that is there to the handler. */
void ns_sights_take(struct ns_sights *sights);

/* Enough is known of what was said first on this socket; or: it is of no interest at all. */
void ns_sights_heard(struct ns_sights *sights, uint64_t cookie);
void ns_sights_forget(struct ns_sights *sights, uint64_t cookie);

/* The bytes of a socket so far. Returns false where it is not there any more. */
bool ns_sights_traffic(struct ns_sights *sights, uint64_t cookie, struct ns_traffic *traffic);

/* How many sights found no room. */
uint64_t ns_sights_lost(const struct ns_sights *sights);

#endif
