/* SPDX-License-Identifier: Apache-2.0 */
/* The writer's state, for its own files. */
#ifndef NS_COLLECTOR_JOURNAL_STATE_H
#define NS_COLLECTOR_JOURNAL_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct ns_journal {
    int directory_fd; /* holds the lock */
    int fd;           /* of the last segment; changed under sync_lock */
    char *directory;
    uint64_t first;
    uint64_t last;
    uint64_t segment_bytes; /* of the last segment, with what waits in the buffer */
    uint8_t *buffer;
    size_t buffer_used;
    size_t buffer_capacity;
    pthread_mutex_t sync_lock; /* a sync beside a change of segments */
    _Atomic uint64_t written;
    _Atomic uint64_t durable;
    _Atomic int poison; /* the negative errno that ended it; after a failed sync nobody knows what
                           is on disk, so it is never asked again */
};

#endif
