/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports on disk, for a collector that is away. One file a process and endpoint, in
 * NULLSPEND_SPOOL_DIR, mode 0600: a head (magic, how far it has been posted), then records of
 * length, CRC-32C and message.
 *
 * Whoever writes or posts a file holds its flock; a file that is posted whole is removed, under the
 * lock, so a writer that got the lock later sees no name any more and makes a new one. A file whose
 * process is gone is posted by the next process that reaches the collector. Posting twice does no
 * harm: the collector knows the call's id. Only the disk bounds how much is kept: what was spent
 * while nobody could be asked must be known in the end.
 */
#ifndef NS_SHIM_SPOOL_H
#define NS_SHIM_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One spool file at most: some 30,000 reports. What comes then goes into another. */
#define NS_SPOOL_FILE_BYTES_MAX (16 << 20)

/* Appends one message. Returns 0 or a negative errno. */
int ns_spool_append(const char *directory, const char *endpoint, const void *message, size_t bytes);

/* How messages of a spool are posted, a batch at a time. */
struct ns_spool_poster {
    void *context;
    /* Sends one. Returns 0 or a negative errno (posting stops). */
    int (*send)(void *context, const void *message, size_t bytes);
    /* Waits until all that were sent are acknowledged. Returns 0 or a negative errno. */
    int (*settle)(void *context);
    /* Is there time for another batch? */
    bool (*go_on)(void *context);
};

/* The collector makes durable what has come within 25 ms: so many go at once. */
#define NS_SPOOL_BATCH 256

/* Posts the spool files of this endpoint that nobody else holds. Returns 0 when none is left that
 * could be posted now, -EAGAIN when time ran out, or the poster's error. */
int ns_spool_post(const char *directory, const char *endpoint,
                  const struct ns_spool_poster *poster);

#endif
