/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of ZMTP share. */
#ifndef NS_TESTS_ZMTP_SUPPORT_H
#define NS_TESTS_ZMTP_SUPPORT_H

#include <dirent.h>

#include "protocol/zmtp.h"
#include "tests/harness.h"

#define MS INT64_C(1000000)
#define S (1000 * MS)

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
