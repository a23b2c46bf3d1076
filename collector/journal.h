/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: an append-only log of records in checksummed segment files, and snapshots.
 *
 * Directory: NNNNNNNNNNNNNNNN.seg (named after the sequence number of its first record) and
 * NNNNNNNNNNNNNNNN.snap (state after that many records). A record: length, sequence, type, time,
 * CRC-32C over all of it, payload. A torn tail (the last record of the last segment incomplete or
 * wrong, nothing valid after it) is cut off and said; damage anywhere else is an error that names
 * file and offset, and nothing is overwritten.
 *
 * One writer thread appends and writes; any one thread may sync meanwhile; readers open files of
 * their own and follow the writer.
 */
#ifndef NS_COLLECTOR_JOURNAL_H
#define NS_COLLECTOR_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define NS_JOURNAL_SEGMENT_BYTES (64 << 20)
#define NS_JOURNAL_RECORD_BYTES_MAX (1 << 20)
#define NS_JOURNAL_ERROR_BYTES 512

struct ns_journal;

struct ns_journal_record {
    uint64_t sequence; /* from 1, without gaps */
    int64_t at_ns;
    uint8_t type; /* the caller's */
    const uint8_t *payload;
    size_t payload_bytes;
};

/*
 * Opens (creates) the journal in a directory and finds its end. Returns 0 and *journal;
 * -EBADMSG damaged, -EBUSY open elsewhere, or a negative errno; error says it in a sentence with
 * the next step. A cut tail is said in error too, with 0 (else error is "").
 */
int ns_journal_open(const char *directory, struct ns_journal **journal,
                    char error[static NS_JOURNAL_ERROR_BYTES]);

/* Flushes, syncs, closes. */
void ns_journal_close(struct ns_journal *journal);

/*
 * Appends a record (buffered in memory). Returns its sequence, or a negative errno. After a write
 * error the journal is poisoned: every further append fails with the same errno until reopened.
 */
int64_t ns_journal_append(struct ns_journal *journal, uint8_t type, int64_t at_ns,
                          const struct iovec *payload, int payload_parts);

/* Gives everything appended to the kernel: it survives the process now, not the machine. */
int ns_journal_write(struct ns_journal *journal);

/* Makes everything that was written before the call durable (fdatasync). Any one thread. Returns
 * the last durable sequence or a negative errno. */
int64_t ns_journal_sync(struct ns_journal *journal);

uint64_t ns_journal_last(const struct ns_journal *journal);    /* appended */
uint64_t ns_journal_written(const struct ns_journal *journal); /* given to the kernel; any thread */
uint64_t ns_journal_durable(const struct ns_journal *journal); /* any thread */
uint64_t ns_journal_first(const struct ns_journal *journal);   /* oldest kept */

/* Writes a snapshot of the state after record `sequence`, atomically and durably; what leads to it
 * is made durable first. Any one thread. Returns 0, -EINVAL for a record that is not written yet,
 * or a negative errno. */
int ns_journal_snapshot(struct ns_journal *journal, uint64_t sequence, const void *state,
                        size_t bytes);

/* The newest whole snapshot (damaged ones are passed over and counted). Returns 0 with *state from
 * malloc, -ENOENT, or -ENOMEM. */
int ns_journal_snapshot_load(const struct ns_journal *journal, uint64_t *sequence, uint8_t **state,
                             size_t *bytes, unsigned *damaged);

/*
 * Removes whole segments and snapshots that nobody needs who needs records from `keep` on and the
 * two newest whole snapshots with all records after the older one, so that one damaged snapshot
 * costs nothing. With less than two whole snapshots nothing goes. Returns how many files went, or a
 * negative errno.
 */
int ns_journal_truncate(struct ns_journal *journal, uint64_t keep);

/* Bytes on disk. */
uint64_t ns_journal_bytes(const struct ns_journal *journal);

/* --- reading -------------------------------------------------------------------------------- */

struct ns_journal_reader;

/* A reader that will give record `sequence` first (1 + last: the next one to come). Any thread,
 * beside the writer. Returns -ENOENT where that record is no longer kept. */
int ns_journal_reader_open(const char *directory, uint64_t sequence,
                           struct ns_journal_reader **reader,
                           char error[static NS_JOURNAL_ERROR_BYTES]);
void ns_journal_reader_close(struct ns_journal_reader *reader);

/* Gives the next record up to and including sequence `until`. Returns 1 and *record (its payload
 * valid until the next call), 0 at `until` or at the end of what is whole on disk, -EBADMSG. */
int ns_journal_reader_next(struct ns_journal_reader *reader, uint64_t until,
                           struct ns_journal_record *record);

/* What was wrong when next returned -EBADMSG: file, offset and the next step; else "". */
const char *ns_journal_reader_error(const struct ns_journal_reader *reader);

#endif
