/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library's life in one process: made at the first TLS byte, made anew in a child of fork.
 *
 * Whether it is made is written in a page that the kernel empties in every child (MADV_WIPEONFORK),
 * so fork, clone and _Fork are all seen without a hook, an atfork handler or a system call.
 */
#ifndef NS_SHIM_PROCESS_H
#define NS_SHIM_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/config.h"

/* Makes the library ready where it is not. False: it does nothing here (mode off, secure execution,
 * no memory). A load and a compare once it is made. Any thread; errno kept. */
bool ns_process_ready(void);

/* Ready already, and not only because of this question: for the end of the process. */
bool ns_process_was_ready(void);

/* Is this a child of vfork, in the memory of a process that is ready? Any thread. */
bool ns_process_is_borrowed(void);

/* The process that was made ready, without a system call. */
pid_t ns_process_owner(void);

/* Counts the lives: another number in each child of fork. What carries another number belongs to
 * the parent. */
uint32_t ns_process_life(void);

/* May this process write to a file up to that length? Past RLIMIT_FSIZE the kernel sends SIGXFSZ,
 * which ends programs that do not expect it. */
bool ns_process_may_write(uint64_t end);

/* Immutable from the moment that the library is ready, so it is read without a lock. */
const struct ns_config *ns_process_config(void);

#endif
