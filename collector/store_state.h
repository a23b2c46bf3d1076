/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store's files share. Threads: the collector's own (store.c), the follower
 * (store_follow.c), settings (store_settings.c). What stands below `lock` is read and written with
 * it held; each thread has a connection of its own.
 */
#ifndef NS_COLLECTOR_STORE_STATE_H
#define NS_COLLECTOR_STORE_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "collector/store.h"
#include "collector/store_counters.h"
#include "collector/store_link.h"

/* Between attempts to reach Postgres: doubles from the first to the second. */
#define NS_STORE_PAUSE_MS_MIN 50
#define NS_STORE_PAUSE_MS_MAX 5000

struct ns_store {
    char *database_url;
    char *journal_directory;
    char *collector_version;
    pthread_t follower, settings;
    int event_fd;         /* to the main thread: see ns_store_event_fd */
    int follower_wake_fd; /* more is durable, or stop */
    int settings_wake_fd; /* something to write, or stop */
    int stop_fd;          /* readable: stopping */
    int abandon_fd;       /* readable: the time for stopping is over */
    _Atomic uint64_t durable;
    _Atomic bool stopping;

    pthread_mutex_t lock;
    pthread_cond_t ended; /* a thread has */
    unsigned threads_running;
    struct ns_store_state state;
    int64_t pending_at_ns;            /* time of the oldest record that Postgres has not; 0: none */
    struct ns_store_settings *newest; /* not yet taken */
    int64_t enforced_revision;        /* to be written; -1: nothing */
    struct ns_store_counters counters;
    bool counters_in_flight;
    struct ns_coverage_row *coverage;
    size_t coverage_count;
    bool coverage_in_flight;
};

/* Makes an eventfd readable. */
void ns_store_wake(int fd);
void ns_store_clear(int fd);

int64_t ns_store_now_ns(void);

/* Waits ms, less where the store stops. Returns 0, or -ECANCELED where it is given up. */
int ns_store_pause(const struct ns_store *store, int ms);

/* Counts an error and keeps its text. */
void ns_store_failed(struct ns_store *store, const char *text);

/* A thread's last word. */
void ns_store_thread_ended(struct ns_store *store);

/* store_coverage.c, on the settings thread. Returns 0 or a negative errno with link.error. */
int ns_store_write_coverage(struct ns_store *store, struct ns_link *link);

void *ns_store_follow(void *store);
void *ns_store_keep_settings(void *store);

#endif
