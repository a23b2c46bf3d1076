/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of ZMTP share. */
#ifndef NS_TESTS_ZMTP_SUPPORT_H
#define NS_TESTS_ZMTP_SUPPORT_H

#include <dirent.h>

#include "base/clock.h"
#include "protocol/zmtp.h"
#include "tests/harness.h"

#define MS INT64_C(1000000)
#define S (1000 * MS)

/* The greeting and READY of a ROUTER (RFC 37). */
#define ZMTP_ROUTER                                                                                \
    "\xff\0\0\0\0\0\0\0\1\x7f\x03\x01NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"                         \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"                             \
    "\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06"                                                   \
    "ROUTER"

static inline int64_t
in(int64_t ns)
{
    return ns_monotonic_ns() + ns;
}

static inline int
open_descriptors(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    while (directory != NULL && readdir(directory) != NULL) {
        count++;
    }
    if (directory != NULL) {
        closedir(directory);
    }
    return count;
}

#endif
