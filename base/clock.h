/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What time it is. Programs may have another clock_gettime put before libc's (libfaketime), one
 * that stands still or runs a hundred times too fast; a deadline that is taken from it never comes,
 * or at once. The preload object therefore names the kernel's own function here.
 */
#ifndef NS_BASE_CLOCK_H
#define NS_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

typedef int (*ns_clock_source)(clockid_t clock, struct timespec *now);

/* From here on times come from source; NULL: from clock_gettime, as at the start. Any thread. */
void ns_clock_use(ns_clock_source source);

/* Nanoseconds of CLOCK_MONOTONIC or CLOCK_REALTIME; 0 where there is no such clock. Any thread;
 * errno kept. */
int64_t ns_clock_ns(clockid_t clock);

#endif
