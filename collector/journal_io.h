/* SPDX-License-Identifier: Apache-2.0 */
/* The journal's files, for its own files and its tests: the format, and the door to the disk. */
#ifndef NS_COLLECTOR_JOURNAL_IO_H
#define NS_COLLECTOR_JOURNAL_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "collector/journal.h"

/* Every write and sync of the journal, and every read of a snapshot, goes through these, so that a
 * test can make any of them fail, write less, or count them. Tests set it before and reset it
 * after; never while a journal is in use by another thread. */
struct ns_journal_disk {
    ssize_t (*write)(int fd, const void *bytes, size_t count);
    int (*sync)(int fd); /* fdatasync */
    ssize_t (*read)(int fd, void *bytes, size_t count);
    uint64_t segment_bytes; /* a segment is closed before it would pass this */
};
extern struct ns_journal_disk ns_journal_disk;

/* Writes all of it, across short writes and EINTR. Returns 0 or a negative errno. */
int ns_journal_write_all(int fd, const void *bytes, size_t count);

/* Creates a file whole or not at all: written under another name, synced, renamed, and the
 * directory synced. Returns 0 or a negative errno. */
int ns_journal_create(int directory_fd, const char *name, const struct iovec *parts,
                      int part_count);

/* --- names ---------------------------------------------------------------------------------- */

#define NS_JOURNAL_NAME_BYTES 32

enum ns_journal_file { NS_JOURNAL_SEGMENT, NS_JOURNAL_SNAPSHOT };

/* "00000000000000a1.seg": the sequence in 16 hexadecimal digits. */
void ns_journal_name(enum ns_journal_file kind, uint64_t sequence,
                     char name[static NS_JOURNAL_NAME_BYTES]);

/* The sequences of all files of a kind in a directory, ascending, from malloc. Returns their number
 * or a negative errno. */
int64_t ns_journal_list(int directory_fd, enum ns_journal_file kind, uint64_t **sequences);

/* --- segments ------------------------------------------------------------------------------- */

/*
 * A segment: magic (8), sequence of its first record (8), CRC-32C of those (4); then records.
 * A record: CRC-32C (4) of all that follows, payload bytes (4), sequence (8), time (8), type (1),
 * three zeros; then the payload. Numbers are little-endian.
 */
#define NS_JOURNAL_SEGMENT_HEAD_BYTES 20
#define NS_JOURNAL_RECORD_HEAD_BYTES 28

void ns_journal_segment_head(uint64_t first, uint8_t head[static NS_JOURNAL_SEGMENT_HEAD_BYTES]);

/* Fills a record's head but its CRC, which ns_journal_record_seal fills once the payload lies
 * behind it. */
void ns_journal_record_head(const struct ns_journal_record *record,
                            uint8_t head[static NS_JOURNAL_RECORD_HEAD_BYTES]);
void ns_journal_record_seal(uint8_t *record, size_t bytes);

/* Reads a record that must have this sequence. Returns its bytes; 0 more bytes are needed to tell;
 * -EBADMSG. */
int64_t ns_journal_record_parse(const uint8_t *bytes, size_t count, uint64_t sequence,
                                struct ns_journal_record *record);

/* Whether there is any whole record with a sequence above `sequence` in these bytes: what tells
 * damage from a torn tail. */
bool ns_journal_record_after(const uint8_t *bytes, size_t count, uint64_t sequence);

/* What is in a segment file. */
struct ns_journal_scan {
    uint64_t last;        /* sequence; first - 1: no record */
    uint64_t whole_bytes; /* up to the end of the last whole record */
    uint64_t file_bytes;
    bool damaged; /* something follows whole_bytes that is no torn tail; or the head is wrong */
};

/* Reads a segment through. Returns 0 or a negative errno. */
int ns_journal_scan(int fd, uint64_t first, struct ns_journal_scan *scan);

#endif
