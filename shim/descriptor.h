/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fstat as the kernel has it. libfaketime puts its own before libc's, and that must not be called
 * after libfaketime's destructor has run; our end of the process comes after it.
 */
#ifndef NS_SHIM_DESCRIPTOR_H
#define NS_SHIM_DESCRIPTOR_H

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* On 64-bit machines the kernel's struct is libc's. Returns 0, or -1 and errno. */
static inline int
ns_descriptor_status(int fd, struct stat *status)
{
    return (int)syscall(SYS_fstat, fd, status);
}

#endif
