/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/syncer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "collector/limits.h"
#include "collector/service.h"
#include "protocol/zmtp.h"

#define NS_PER_S INT64_C(1000000000)

struct ns_syncer {
    struct ns_journal *journal;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows, up to the atomics */
    pthread_cond_t wanted_changed;
    uint64_t wanted;
    bool stopping;
    int64_t begin_ns;  /* no sync begins before it (CLOCK_MONOTONIC) */
    bool gathering;    /* a sync will begin anyhow: what is wanted more needs no signal */
    bool urgent;       /* it is not to wait */
    uint8_t *snapshot; /* NULL: none to write */
    size_t snapshot_bytes;
    uint64_t snapshot_at;
    bool snapshot_busy;
    _Atomic int error;
    _Atomic uint64_t snapshot_written;
    int event_fd;
};

static void
tell(struct ns_syncer *syncer)
{
    uint64_t one = 1;
    ssize_t written = write(syncer->event_fd, &one, sizeof one);
    (void)written; /* a full counter is readable already */
}

static void
fail(struct ns_syncer *syncer, int error)
{
    int none = 0;
    atomic_compare_exchange_strong(&syncer->error, &none, error);
}

/* What there is to do; called and left with the lock held, released while working. */
static void
work(struct ns_syncer *syncer)
{
    uint8_t *state = syncer->snapshot;
    size_t bytes = syncer->snapshot_bytes;
    uint64_t at = syncer->snapshot_at;
    syncer->snapshot = NULL;
    pthread_mutex_unlock(&syncer->lock);
    int64_t durable = ns_journal_sync(syncer->journal);
    if (durable < 0) {
        fail(syncer, (int)durable);
    }
    tell(syncer);
    if (state != NULL) {
        /* After the sync, so that no snapshot is ahead of its journal. */
        int error =
            durable < 0 ? (int)durable : ns_journal_snapshot(syncer->journal, at, state, bytes);
        free(state);
        if (error == 0) {
            atomic_store(&syncer->snapshot_written, at);
        } else {
            /* The journal has everything; the next start replays more of it. */
            ns_log("no snapshot was written: %s", strerror(-error));
        }
        tell(syncer);
    }
    pthread_mutex_lock(&syncer->lock);
    if (state != NULL) {
        syncer->snapshot_busy = false;
    }
}

/* Lets a gap pass since the last sync began, so that what comes meanwhile shares the next one;
 * called and left with the lock held. */
static void
gather(struct ns_syncer *syncer)
{
    struct timespec until = {syncer->begin_ns / NS_PER_S, syncer->begin_ns % NS_PER_S};
    syncer->gathering = true;
    while (!syncer->urgent && !syncer->stopping && syncer->snapshot == NULL &&
           pthread_cond_clockwait(&syncer->wanted_changed, &syncer->lock, CLOCK_MONOTONIC,
                                  &until) != ETIMEDOUT) {
    }
    syncer->gathering = syncer->urgent = false;
    bool busy = syncer->wanted >= ns_journal_durable(syncer->journal) + NS_SYNC_BUSY_RECORDS;
    syncer->begin_ns = ns_monotonic_ns() + (busy ? NS_SYNC_BUSY_GAP_NS : NS_SYNC_GAP_NS);
}

static void *
run(void *argument)
{
    struct ns_syncer *syncer = argument;
    pthread_mutex_lock(&syncer->lock);
    for (;;) {
        bool behind = syncer->wanted > ns_journal_durable(syncer->journal) &&
                      atomic_load(&syncer->error) == 0;
        if (behind || syncer->snapshot != NULL) {
            gather(syncer);
            work(syncer);
        } else if (syncer->stopping) {
            break;
        } else {
            pthread_cond_wait(&syncer->wanted_changed, &syncer->lock);
        }
    }
    pthread_mutex_unlock(&syncer->lock);
    return NULL;
}

int
ns_syncer_start(struct ns_journal *journal, struct ns_syncer **syncer)
{
    struct ns_syncer *started = calloc(1, sizeof *started);
    if (started == NULL) {
        return -ENOMEM;
    }
    started->journal = journal;
    started->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (started->event_fd < 0) {
        int error = -errno;
        free(started);
        return error;
    }
    pthread_mutex_init(&started->lock, NULL);
    pthread_cond_init(&started->wanted_changed, NULL);
    int error = pthread_create(&started->thread, NULL, run, started);
    if (error != 0) {
        close(started->event_fd);
        free(started);
        return -error;
    }
    *syncer = started;
    return 0;
}

void
ns_syncer_stop(struct ns_syncer *syncer)
{
    if (syncer == NULL) {
        return;
    }
    pthread_mutex_lock(&syncer->lock);
    syncer->stopping = true;
    pthread_cond_signal(&syncer->wanted_changed);
    pthread_mutex_unlock(&syncer->lock);
    pthread_join(syncer->thread, NULL);
    pthread_cond_destroy(&syncer->wanted_changed);
    pthread_mutex_destroy(&syncer->lock);
    close(syncer->event_fd);
    free(syncer->snapshot);
    free(syncer);
}

void
ns_syncer_want(struct ns_syncer *syncer, uint64_t sequence, bool urgent)
{
    pthread_mutex_lock(&syncer->lock);
    bool more = sequence > syncer->wanted;
    bool hurry = urgent && !syncer->urgent && (more || syncer->gathering);
    syncer->wanted = more ? sequence : syncer->wanted;
    syncer->urgent = syncer->urgent || hurry;
    if (hurry || (more && !syncer->gathering)) {
        pthread_cond_signal(&syncer->wanted_changed);
    }
    pthread_mutex_unlock(&syncer->lock);
}

int
ns_syncer_event_fd(const struct ns_syncer *syncer)
{
    return syncer->event_fd;
}

void
ns_syncer_drain(struct ns_syncer *syncer)
{
    uint64_t count;
    ssize_t got = read(syncer->event_fd, &count, sizeof count);
    (void)got; /* EAGAIN: drained */
}

int
ns_syncer_error(const struct ns_syncer *syncer)
{
    return atomic_load(&syncer->error);
}

bool
ns_syncer_snapshot(struct ns_syncer *syncer, uint64_t sequence, uint8_t *state, size_t bytes)
{
    pthread_mutex_lock(&syncer->lock);
    bool free_now = !syncer->snapshot_busy;
    if (free_now) {
        syncer->snapshot_busy = true;
        syncer->snapshot = state;
        syncer->snapshot_bytes = bytes;
        syncer->snapshot_at = sequence;
        pthread_cond_signal(&syncer->wanted_changed);
    }
    pthread_mutex_unlock(&syncer->lock);
    return free_now;
}

uint64_t
ns_syncer_snapshot_sequence(const struct ns_syncer *syncer)
{
    return atomic_load(&syncer->snapshot_written);
}
