/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lock for sections of a few instructions: no system call inside, no waiting for anybody outside.
 *
 * It is one word, so that a child of fork can reset it (the thread that held it is not there any
 * more), and every structure that it guards is changed by single stores, so that the child finds
 * it whole. pthread_mutex would bring neither.
 */
#ifndef NS_SHIM_LOCK_H
#define NS_SHIM_LOCK_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

struct ns_lock {
    uint32_t held;
};

static inline void
ns_lock_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline bool
ns_lock_try(struct ns_lock *lock)
{
    return __atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE) == 0;
}

static inline void
ns_lock(struct ns_lock *lock)
{
    for (unsigned spins = 0; !ns_lock_try(lock); spins++) {
        if (spins > 64) {
            sched_yield(); /* the holder was put aside: let it run */
        } else {
            ns_lock_relax();
        }
    }
}

static inline void
ns_unlock(struct ns_lock *lock)
{
    __atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
}

#endif
