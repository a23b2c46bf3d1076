/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/hot.h"
#include "shim/connections.h"
#include "shim/counters.h"
#include "shim/link.h"
#include "shim/lock.h"
#include "shim/log.h"
#include "shim/memory.h"
#include "shim/report.h"
#include "shim/resolve.h"
#include "shim/vdso.h"

#define PAGE_BYTES 4096

enum state { NEW, BUSY, READY, OFF };

/* The first word of the page; an emptied page says NEW. */
static uint32_t *state;
static pid_t owner; /* where the kernel cannot empty pages (before 4.14): the pid tells */
static bool pid_tells;
static uint32_t life;
static struct ns_config config;

static const char *
lookup(const char *name)
{
    return getenv(name);
}

/* The host's getenv, if it has its own, may need what its main sets up. */
static char **started_with;

static const char *
lookup_at_start(const char *name)
{
    size_t bytes = strlen(name);
    for (char **entry = started_with; *entry != NULL; entry++) {
        if (strncmp(*entry, name, bytes) == 0 && (*entry)[bytes] == '=') {
            return *entry + bytes + 1;
        }
    }
    return NULL;
}

/* With what glibc gives constructors. */
__attribute__((constructor)) static void
keep_settings(int count, char **words, char **environment)
{
    (void)count;
    (void)words;
    if (environment != NULL && getauxval(AT_SECURE) == 0) {
        started_with = environment;
        ns_config_keep(lookup_at_start);
    }
}

/* The page, made by whichever thread comes first; NULL without memory. */
static uint32_t *
state_page(void)
{
    uint32_t *page = __atomic_load_n(&state, __ATOMIC_ACQUIRE);
    if (page != NULL) {
        return page;
    }
    page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return NULL;
    }
    if (madvise(page, PAGE_BYTES, MADV_WIPEONFORK) != 0) {
        pid_tells = true;
    }
    uint32_t *none = NULL;
    if (!__atomic_compare_exchange_n(&state, &none, page, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        munmap(page, PAGE_BYTES);
        return none;
    }
    return page;
}

/* One thread, the others wait: nothing else of the library runs. */
static uint32_t
make(void)
{
    if (life > 0) {
        ns_mem_after_fork();
        ns_resolve_after_fork();
        ns_connections_after_fork();
        ns_links_after_fork();
        ns_reports_after_fork();
        ns_counters_after_fork();
    }
    ns_clock_use(ns_vdso_clock());
    owner = getpid();
    life++;
    if (getauxval(AT_SECURE) != 0) {
        return OFF; /* the environment is somebody else's */
    }
    /* What had its environment taken away (clearenv, setproctitle) is governed as it was started, a
     * child as its parent. */
    bool set = ns_config_is_set(lookup);
    if (life == 1 || set) {
        ns_log_open(NULL);
        memset(&config, 0, sizeof config);
        ns_config_read(&config, set || !ns_config_is_set(ns_config_kept) ? lookup : ns_config_kept,
                       geteuid() == 0);
    }
    return config.mode == NS_MODE_OFF ? OFF : READY;
}

/* Apart from what every call asks, so that this costs a few instructions only. */
__attribute__((noinline)) static bool
make_ready(void)
{
    int saved = errno;
    bool ready = false;
    uint32_t *word = state_page();
    if (word != NULL) {
        if (pid_tells && owner != getpid()) {
            __atomic_store_n(word, NEW, __ATOMIC_RELEASE);
        }
        uint32_t seen = NEW;
        if (__atomic_compare_exchange_n(word, &seen, BUSY, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE)) {
            seen = make();
            __atomic_store_n(word, seen, __ATOMIC_RELEASE);
        }
        while (seen == BUSY) {
            sched_yield();
            seen = __atomic_load_n(word, __ATOMIC_ACQUIRE);
        }
        ready = seen == READY;
    }
    errno = saved;
    return ready;
}

NS_HOT bool
ns_process_ready(void)
{
    uint32_t *word = __atomic_load_n(&state, __ATOMIC_ACQUIRE);
    if (word != NULL && __atomic_load_n(word, __ATOMIC_ACQUIRE) == READY && !pid_tells) {
        return true;
    }
    return make_ready();
}

bool
ns_process_was_ready(void)
{
    uint32_t *word = __atomic_load_n(&state, __ATOMIC_ACQUIRE);
    return word != NULL && __atomic_load_n(word, __ATOMIC_ACQUIRE) == READY &&
           (!pid_tells || owner == getpid());
}

bool
ns_process_is_borrowed(void)
{
    uint32_t *word = __atomic_load_n(&state, __ATOMIC_ACQUIRE);
    return word != NULL && !pid_tells && __atomic_load_n(word, __ATOMIC_ACQUIRE) == READY &&
           owner != getpid();
}

pid_t
ns_process_owner(void)
{
    return owner;
}

uint32_t
ns_process_life(void)
{
    return __atomic_load_n(&life, __ATOMIC_RELAXED);
}

bool
ns_process_may_write(uint64_t end)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
           end <= limit.rlim_cur;
}

const struct ns_config *
ns_process_config(void)
{
    return &config;
}
