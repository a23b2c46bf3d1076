/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fstat as the kernel has it. libfaketime puts its own before libc's, and that must not be called
 * after libfaketime's destructor has run; our end of the process comes after it.
 */
#ifndef NS_SHIM_DESCRIPTOR_H
#define NS_SHIM_DESCRIPTOR_H

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* On 64-bit machines the kernel's struct is libc's. Filters that know glibc's fstat, from 2.33 on,
 * may allow only the newer call. Returns 0, or -1 and errno. */
static inline int
ns_descriptor_status(int fd, struct stat *status)
{
    long result = syscall(SYS_fstat, fd, status);
    if (result != 0 && (errno == EPERM || errno == ENOSYS)) {
        result = syscall(SYS_newfstatat, fd, "", status, AT_EMPTY_PATH);
    }
    return (int)result;
}

#endif
