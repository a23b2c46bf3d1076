/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters that the program puts on itself (prctl, seccomp). The kernel would end the program for a
 * system call of ours that its filter kills at, so the library asks the same filters beforehand,
 * and goes without: as where a filter answers with an error.
 *
 * Each filter is kept as the program gave it to the kernel, and run for each call, with the call's
 * own arguments. Where it is not known whether one is for a thread, it is taken to be: that costs
 * questions, where the contrary would cost the program.
 */
#ifndef NS_SHIM_SECCOMP_H
#define NS_SHIM_SECCOMP_H

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>

struct sock_filter;

/* Would the kernel let this thread go on after this system call, whatever its result? Any thread;
 * makes none itself. */
bool ns_seccomp_allows(long number, const uint64_t arguments[static 6]);

/* Runs a program of the kernel's for filters, one that it would take: what it says of this call.
 * Public for tests. */
uint32_t ns_seccomp_run(const struct sock_filter *program, uint32_t count,
                        const struct seccomp_data *data);

#endif
