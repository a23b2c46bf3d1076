/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel offers for observing programs that a preload cannot reach. Each facility is
 * tried, never concluded from a version.
 */
#ifndef NS_BPF_PROBE_H
#define NS_BPF_PROBE_H

#include <stdbool.h>
#include <stddef.h>

struct ns_probe {
    const char *facility; /* "ring buffer" */
    const char *use;      /* what it is needed for */
    bool required;        /* without it nothing works */
    bool present;
    const char *next_step; /* where it is not present; NULL: none known */
};

/* Tries every facility. Returns a static array of *count results. Not thread-safe. */
const struct ns_probe *ns_probe_all(size_t *count);

/* Are the pids that are seen here those that the kernel's part tells? */
bool ns_probe_first_pids(void);

#endif
