/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files with an OpenSSL, as running processes have them: libssl by name, and executables, which may
 * have one inside. Each is found once, by device and inode, through the process that has it, so
 * that those of other mount name spaces are found, too.
 */
#ifndef NS_BPF_TARGETS_H
#define NS_BPF_TARGETS_H

#include <stdbool.h>
#include <stdint.h>

struct ns_targets;

/* A file not seen before; path leads to it now. Returns whether it was looked at, and need not come
 * again. */
typedef bool ns_target_visit(void *context, const char *path, const char *name);

struct ns_targets *ns_targets_new(void);
void ns_targets_free(struct ns_targets *targets);

/* Looks through all processes; or through one. */
void ns_targets_scan(struct ns_targets *targets, ns_target_visit *visit, void *context);
void ns_targets_scan_process(struct ns_targets *targets, uint32_t pid, ns_target_visit *visit,
                             void *context);

/* Is this process under the preload library? */
bool ns_target_is_preloaded(uint32_t pid);

#endif
