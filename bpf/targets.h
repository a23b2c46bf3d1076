/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that processes run, each looked at once, and where they are: found through a process that
 * has one mapped, so that those of other mount name spaces, and those that are deleted, are found,
 * too.
 */
#ifndef NS_BPF_TARGETS_H
#define NS_BPF_TARGETS_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/record.h"

/* So many are remembered; when there are more, those of no interest are looked at again. */
#define NS_TARGETS_MAX 65536

struct ns_targets;

enum ns_target {
    NS_TARGET_GONE,    /* the process went meanwhile: it was not looked at */
    NS_TARGET_NONE,    /* of no interest */
    NS_TARGET_ATTACHED /* remembered for good: its inode stays while it is attached to */
};

/* A file that was not seen before; path leads to it now, name is for people. */
typedef enum ns_target ns_target_visit(void *context, const char *path, const char *name);

struct ns_targets *ns_targets_new(void);
void ns_targets_free(struct ns_targets *targets);

/* Looks at a file that a process has mapped. Returns whether it has been, now or before. */
bool ns_targets_look(struct ns_targets *targets, const struct ns_file *file, ns_target_visit *visit,
                     void *context);

/* Looks at all that processes have mapped, as /proc tells: where the kernel does not. */
void ns_targets_scan(struct ns_targets *targets, ns_target_visit *visit, void *context);

/* Has this process not ended? */
bool ns_target_runs(uint32_t pid);

/* Is this process under the preload library? */
bool ns_target_is_preloaded(uint32_t pid);

#endif
