/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a kernel look older to the program that this is preloaded into: it makes no BPF links of
 * the attach types that MISSING_ATTACH_TYPES lists, as numbers with a comma between them.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#define ARGUMENTS 6

static bool
is_missing(uint32_t type)
{
    char *list = getenv("MISSING_ATTACH_TYPES");
    while (list != NULL && *list != '\0') {
        if (strtoul(list, &list, 10) == type) {
            return true;
        }
        list += *list == ',';
    }
    return false;
}

long
syscall(long number, ...)
{
    long (*next)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    long arguments[ARGUMENTS];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < ARGUMENTS; i++) {
        arguments[i] = va_arg(list, long);
    }
    va_end(list);
    const union bpf_attr *attributes = (const union bpf_attr *)arguments[1];
    if (number == SYS_bpf && (int)arguments[0] == BPF_LINK_CREATE &&
        is_missing(attributes->link_create.attach_type)) {
        errno = EINVAL;
        return -1;
    }
    return next(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
                arguments[5]);
}
