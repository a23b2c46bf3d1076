/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <errno.h>
#include <stddef.h>

#include "base/hot.h"

static ns_clock_source chosen;

void
ns_clock_use(ns_clock_source source)
{
    __atomic_store_n(&chosen, source, __ATOMIC_RELEASE);
}

NS_HOT int64_t
ns_clock_ns(clockid_t clock)
{
    int saved = errno;
    struct timespec now = {0};
    ns_clock_source source = __atomic_load_n(&chosen, __ATOMIC_ACQUIRE);
    int error = source != NULL ? source(clock, &now) : clock_gettime(clock, &now);
    errno = saved;
    return error != 0 ? 0 : (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
