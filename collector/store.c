/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "collector/store_state.h"

/* --- small things for all files of the store -------------------------------------------------- */

void
ns_store_wake(int fd)
{
    eventfd_write(fd, 1);
}

void
ns_store_clear(int fd)
{
    eventfd_t value;
    eventfd_read(fd, &value);
}

int64_t
ns_store_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int
ns_store_pause(const struct ns_store *store, int ms)
{
    struct pollfd polled[] = {{store->abandon_fd, POLLIN, 0}, {store->stop_fd, POLLIN, 0}};
    poll(polled, 2, ms);
    return (polled[0].revents & POLLIN) != 0 ? -ECANCELED : 0;
}

void
ns_store_failed(struct ns_store *store, const char *text)
{
    pthread_mutex_lock(&store->lock);
    store->state.errors++;
    strncpy(store->state.last_error, text, sizeof store->state.last_error - 1);
    pthread_mutex_unlock(&store->lock);
}

void
ns_store_thread_ended(struct ns_store *store)
{
    pthread_mutex_lock(&store->lock);
    store->threads_running--;
    pthread_cond_broadcast(&store->ended);
    pthread_mutex_unlock(&store->lock);
}

/* --- starting and stopping -------------------------------------------------------------------- */

static void
free_store(struct ns_store *store)
{
    const int fds[] = {store->event_fd, store->follower_wake_fd, store->settings_wake_fd,
                       store->stop_fd, store->abandon_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    ns_store_settings_free(store->newest);
    ns_store_counters_clear(&store->counters);
    free(store->coverage);
    pthread_mutex_destroy(&store->lock);
    pthread_cond_destroy(&store->ended);
    free(store->database_url);
    free(store->journal_directory);
    free(store->collector_version);
    free(store);
}

static struct ns_store *
make_store(const struct ns_store_options *options)
{
    struct ns_store *store = calloc(1, sizeof *store);
    pthread_condattr_t attributes;
    if (store == NULL) {
        return NULL;
    }
    pthread_mutex_init(&store->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&store->ended, &attributes);
    pthread_condattr_destroy(&attributes);
    store->enforced_revision = -1;
    store->database_url = strdup(options->database_url);
    store->journal_directory = strdup(options->journal_directory);
    store->collector_version = strdup(options->collector_version);
    store->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    store->follower_wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    store->settings_wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    store->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    store->abandon_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (store->database_url == NULL || store->journal_directory == NULL ||
        store->collector_version == NULL || store->event_fd < 0 || store->follower_wake_fd < 0 ||
        store->settings_wake_fd < 0 || store->stop_fd < 0 || store->abandon_fd < 0) {
        free_store(store);
        return NULL;
    }
    return store;
}

int
ns_store_start(const struct ns_store_options *options, struct ns_store **store)
{
    sigset_t all, before;
    *store = NULL;
    struct ns_store *s = make_store(options);
    if (s == NULL) {
        return -ENOMEM;
    }
    /* Signals are the main thread's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->threads_running = 2;
    int result = -pthread_create(&s->follower, NULL, ns_store_follow, s);
    if (result == 0) {
        result = -pthread_create(&s->settings, NULL, ns_store_keep_settings, s);
        if (result < 0) {
            atomic_store(&s->stopping, true);
            ns_store_wake(s->follower_wake_fd);
            ns_store_wake(s->abandon_fd);
            pthread_join(s->follower, NULL);
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result < 0) {
        free_store(s);
        return result;
    }
    *store = s;
    return 0;
}

void
ns_store_stop(struct ns_store *store, int64_t deadline_monotonic_ns)
{
    if (store == NULL) {
        return;
    }
    struct timespec until = {deadline_monotonic_ns / 1000000000,
                             deadline_monotonic_ns % 1000000000};
    atomic_store(&store->stopping, true);
    ns_store_wake(store->stop_fd);
    ns_store_wake(store->follower_wake_fd);
    ns_store_wake(store->settings_wake_fd);
    pthread_mutex_lock(&store->lock);
    while (store->threads_running > 0 &&
           pthread_cond_timedwait(&store->ended, &store->lock, &until) == 0) {
    }
    pthread_mutex_unlock(&store->lock);
    ns_store_wake(store->abandon_fd);
    pthread_join(store->follower, NULL);
    pthread_join(store->settings, NULL);
    free_store(store);
}

/* --- what the main thread says and asks ------------------------------------------------------- */

int
ns_store_event_fd(const struct ns_store *store)
{
    return store->event_fd;
}

void
ns_store_drain(struct ns_store *store)
{
    ns_store_clear(store->event_fd);
}

struct ns_store_settings *
ns_store_take_settings(struct ns_store *store)
{
    pthread_mutex_lock(&store->lock);
    struct ns_store_settings *settings = store->newest;
    store->newest = NULL;
    pthread_mutex_unlock(&store->lock);
    return settings;
}

void
ns_store_settings_free(struct ns_store_settings *settings)
{
    if (settings == NULL) {
        return;
    }
    for (size_t i = 0; i < settings->mandate_count; i++) {
        ns_buffer_free(&settings->mandate[i]);
    }
    free(settings->mandate);
    free(settings->budget);
    free(settings);
}

void
ns_store_enforced(struct ns_store *store, int64_t revision)
{
    pthread_mutex_lock(&store->lock);
    store->enforced_revision = revision;
    pthread_mutex_unlock(&store->lock);
    ns_store_wake(store->settings_wake_fd);
}

void
ns_store_durable(struct ns_store *store, uint64_t sequence)
{
    if (sequence <= atomic_load(&store->durable)) {
        return;
    }
    pthread_mutex_lock(&store->lock);
    if (store->pending_at_ns == 0 && sequence > store->state.position) {
        store->pending_at_ns = ns_store_now_ns();
    }
    pthread_mutex_unlock(&store->lock);
    atomic_store(&store->durable, sequence);
    ns_store_wake(store->follower_wake_fd);
}

void
ns_store_counters(struct ns_store *store, const struct ns_ledger_numbers *numbers, size_t count)
{
    pthread_mutex_lock(&store->lock);
    for (size_t i = 0; i < count; i++) {
        if (ns_store_counters_put(&store->counters, &numbers[i]) < 0) {
            store->state.errors++;
        }
    }
    pthread_mutex_unlock(&store->lock);
    if (count > 0) {
        ns_store_wake(store->settings_wake_fd);
    }
}

bool
ns_store_counters_written(const struct ns_store *store)
{
    struct ns_store *s = (struct ns_store *)(uintptr_t)store; /* for its lock only */
    pthread_mutex_lock(&s->lock);
    bool written = s->counters.count == 0 && !s->counters_in_flight;
    pthread_mutex_unlock(&s->lock);
    return written;
}

void
ns_store_state(const struct ns_store *store, struct ns_store_state *state)
{
    struct ns_store *s = (struct ns_store *)(uintptr_t)store; /* for its lock only */
    pthread_mutex_lock(&s->lock);
    *state = s->state;
    if (s->pending_at_ns != 0) {
        int64_t lag_ns = ns_store_now_ns() - s->pending_at_ns;
        state->lag_ns = lag_ns > 0 ? lag_ns : 1; /* there is a lag, whatever the clock says */
    }
    pthread_mutex_unlock(&s->lock);
}
