/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots, and the removal of what nobody needs beside them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "collector/journal_io.h"
#include "collector/journal_state.h"

#define SNAPSHOT_MAGIC "NSSNAP1\n"
/* Magic (8), sequence (8), state bytes (8), CRC-32C of those and the state (4). */
#define SNAPSHOT_HEAD_BYTES 28

/* --- snapshots ------------------------------------------------------------------------------ */

static void
store64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static void
snapshot_head(uint64_t sequence, const void *state, size_t bytes,
              uint8_t head[static SNAPSHOT_HEAD_BYTES])
{
    memcpy(head, SNAPSHOT_MAGIC, 8);
    store64(head + 8, sequence);
    store64(head + 16, bytes);
    uint32_t crc = ns_crc32c(ns_crc32c(0, head, 24), state, bytes);
    for (int i = 0; i < 4; i++) {
        head[24 + i] = (uint8_t)(crc >> (8 * i));
    }
}

int
ns_journal_snapshot(struct ns_journal *j, uint64_t sequence, const void *state, size_t bytes)
{
    if (sequence > ns_journal_written(j)) {
        return -EINVAL;
    }
    if (sequence > ns_journal_durable(j)) {
        int64_t durable = ns_journal_sync(j);
        if (durable < 0) {
            return (int)durable;
        }
    }
    uint8_t head[SNAPSHOT_HEAD_BYTES];
    snapshot_head(sequence, state, bytes, head);
    char name[NS_JOURNAL_NAME_BYTES];
    ns_journal_name(NS_JOURNAL_SNAPSHOT, sequence, name);
    union {
        const void *in;
        void *out;
    } state_bytes = {.in = state};
    const struct iovec parts[] = {{head, sizeof(head)}, {state_bytes.out, bytes}};
    return ns_journal_create(j->directory_fd, name, parts, 2);
}

static int
read_all(int fd, uint8_t *bytes, size_t count)
{
    while (count > 0) {
        ssize_t n = ns_journal_disk.read(fd, bytes, count);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : -EBADMSG;
        }
        bytes += n;
        count -= (size_t)n;
    }
    return 0;
}

/* Reads one snapshot whole. Returns 0, -ENOMEM, or another errno for a damaged one. */
static int
snapshot_read(const struct ns_journal *j, uint64_t sequence, uint8_t **state, size_t *bytes)
{
    char name[NS_JOURNAL_NAME_BYTES];
    ns_journal_name(NS_JOURNAL_SNAPSHOT, sequence, name);
    int fd = openat(j->directory_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -EBADMSG;
    }
    uint8_t head[SNAPSHOT_HEAD_BYTES];
    uint8_t expected[SNAPSHOT_HEAD_BYTES];
    uint8_t *content = NULL;
    size_t content_bytes = 0;
    struct stat info;
    int status = fstat(fd, &info) == 0 && info.st_size >= SNAPSHOT_HEAD_BYTES ? 0 : -EBADMSG;
    if (status == 0) {
        content_bytes = (size_t)info.st_size - SNAPSHOT_HEAD_BYTES;
        content = malloc(content_bytes + 1);
        status = content == NULL ? -ENOMEM : read_all(fd, head, sizeof(head));
    }
    if (status == 0) {
        status = read_all(fd, content, content_bytes);
    }
    close(fd);
    if (status == 0) {
        snapshot_head(sequence, content, content_bytes, expected);
        status = memcmp(head, expected, sizeof(head)) == 0 ? 0 : -EBADMSG;
    }
    if (status != 0) {
        free(content);
        return status;
    }
    *state = content;
    *bytes = content_bytes;
    return 0;
}

int
ns_journal_snapshot_load(const struct ns_journal *j, uint64_t *sequence, uint8_t **state,
                         size_t *bytes, unsigned *damaged)
{
    uint64_t *snapshots;
    int64_t count = ns_journal_list(j->directory_fd, NS_JOURNAL_SNAPSHOT, &snapshots);
    if (count < 0) {
        return count == -ENOMEM ? -ENOMEM : -ENOENT;
    }
    *damaged = 0;
    int status = -ENOENT;
    for (int64_t i = count; i > 0; i--) {
        status = snapshot_read(j, snapshots[i - 1], state, bytes);
        if (status == 0) {
            *sequence = snapshots[i - 1];
        }
        if (status == 0 || status == -ENOMEM) {
            break;
        }
        ++*damaged;
        status = -ENOENT;
    }
    free(snapshots);
    return status;
}

/* --- truncate ------------------------------------------------------------------------------- */

/* Whether anything might go, told by names alone: as a rule nothing does, and snapshots, which are
 * large, need not be read for that. */
static bool
may_truncate(const uint64_t *snapshots, int64_t snapshot_count, const uint64_t *segments,
             int64_t segment_count, uint64_t keep)
{
    if (snapshot_count > 2) {
        return true;
    }
    return snapshot_count == 2 && segment_count > 1 && segments[1] <= keep &&
           segments[1] <= snapshots[0] + 1;
}

/* Removes snapshots older than the two newest whole ones (damaged ones in between too) and sets
 * *keep to the first record that those need. Returns how many went. */
static int
truncate_snapshots(const struct ns_journal *j, const uint64_t *snapshots, int64_t count,
                   uint64_t *keep)
{
    int removed = 0;
    int whole = 0;
    uint64_t needed = 0;
    for (int64_t i = count; i > 0; i--) {
        uint8_t *state;
        size_t bytes;
        if (whole < 2 && snapshot_read(j, snapshots[i - 1], &state, &bytes) == 0) {
            free(state);
            whole++;
            needed = snapshots[i - 1] + 1;
        } else if (whole == 2) {
            char name[NS_JOURNAL_NAME_BYTES];
            ns_journal_name(NS_JOURNAL_SNAPSHOT, snapshots[i - 1], name);
            removed += unlinkat(j->directory_fd, name, 0) == 0;
        }
    }
    if (whole < 2) {
        needed = 0;
    }
    if (needed < *keep) {
        *keep = needed;
    }
    return removed;
}

/* Removes segments that have no record from keep on. Returns how many went, or a negative errno. */
static int
truncate_segments(struct ns_journal *j, const uint64_t *segments, int64_t count, uint64_t keep)
{
    int removed = 0;
    for (int64_t i = 0; i + 1 < count && segments[i + 1] <= keep; i++) {
        char name[NS_JOURNAL_NAME_BYTES];
        ns_journal_name(NS_JOURNAL_SEGMENT, segments[i], name);
        /* In order, so that a crash in between leaves no hole. */
        if (unlinkat(j->directory_fd, name, 0) != 0) {
            return -errno;
        }
        removed++;
        j->first = segments[i + 1];
    }
    return removed;
}

int
ns_journal_truncate(struct ns_journal *j, uint64_t keep)
{
    uint64_t *snapshots;
    uint64_t *segments = NULL;
    int64_t snapshot_count = ns_journal_list(j->directory_fd, NS_JOURNAL_SNAPSHOT, &snapshots);
    int64_t segment_count = snapshot_count < 0
                                ? snapshot_count
                                : ns_journal_list(j->directory_fd, NS_JOURNAL_SEGMENT, &segments);
    int result = segment_count < 0 ? (int)segment_count : 0;
    if (result == 0 && may_truncate(snapshots, snapshot_count, segments, segment_count, keep)) {
        int removed = truncate_snapshots(j, snapshots, snapshot_count, &keep);
        result = truncate_segments(j, segments, segment_count, keep);
        result = result < 0 ? result : result + removed;
        if (result > 0 && fsync(j->directory_fd) != 0) {
            result = -errno;
        }
    }
    free(snapshots);
    free(segments);
    return result;
}

uint64_t
ns_journal_bytes(const struct ns_journal *j)
{
    uint64_t total = 0;
    for (int kind = NS_JOURNAL_SEGMENT; kind <= NS_JOURNAL_SNAPSHOT; kind++) {
        uint64_t *sequences;
        int64_t count = ns_journal_list(j->directory_fd, (enum ns_journal_file)kind, &sequences);
        for (int64_t i = 0; i < count; i++) {
            char name[NS_JOURNAL_NAME_BYTES];
            struct stat info;
            ns_journal_name((enum ns_journal_file)kind, sequences[i], name);
            if (fstatat(j->directory_fd, name, &info, 0) == 0) {
                total += (uint64_t)info.st_size;
            }
        }
        free(sequences);
    }
    return total;
}
