/* SPDX-License-Identifier: Apache-2.0 */
/* A reader: opens files of its own and follows the writer from segment to segment. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/journal.h"
#include "collector/journal_io.h"

#define CHUNK_BYTES ((size_t)256 << 10)
#define BUFFER_BYTES                                                                               \
    (NS_JOURNAL_RECORD_HEAD_BYTES + (size_t)NS_JOURNAL_RECORD_BYTES_MAX + CHUNK_BYTES)

struct ns_journal_reader {
    int directory_fd;
    int fd;
    char *directory;
    uint64_t segment; /* sequence of its first record */
    uint64_t next;    /* sequence of the record at `at` */
    uint64_t wanted;  /* records before it are passed over */
    uint64_t offset;  /* in the segment, of buffer[0] */
    size_t at;        /* in the buffer */
    size_t filled;
    uint8_t *buffer;
    char error[NS_JOURNAL_ERROR_BYTES];
};

static int
damaged(struct ns_journal_reader *r, const char *what)
{
    char name[NS_JOURNAL_NAME_BYTES];
    ns_journal_name(NS_JOURNAL_SEGMENT, r->segment, name);
    snprintf(r->error, sizeof(r->error),
             "%s/%s is damaged at offset %llu (%s): restore the file, or move the directory away "
             "to start anew",
             r->directory, name, (unsigned long long)r->offset + r->at, what);
    return -EBADMSG;
}

/* Opens the segment of this name and reads its head. Returns 0, -ENOENT, -EBADMSG or a negative
 * errno. */
static int
segment_open(struct ns_journal_reader *r, uint64_t first)
{
    char name[NS_JOURNAL_NAME_BYTES];
    ns_journal_name(NS_JOURNAL_SEGMENT, first, name);
    int fd = openat(r->directory_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    if (r->fd >= 0) {
        close(r->fd);
    }
    r->fd = fd;
    r->segment = r->next = first;
    r->offset = NS_JOURNAL_SEGMENT_HEAD_BYTES;
    r->at = r->filled = 0;
    uint8_t head[NS_JOURNAL_SEGMENT_HEAD_BYTES];
    uint8_t expected[NS_JOURNAL_SEGMENT_HEAD_BYTES];
    ns_journal_segment_head(first, expected);
    if (pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
        memcmp(head, expected, sizeof(head)) != 0) {
        r->offset = 0;
        return damaged(r, "its head is wrong");
    }
    return 0;
}

/* Opens the last segment that begins at or before the wanted record. */
static int
segment_find(struct ns_journal_reader *r)
{
    uint64_t *segments;
    int64_t count = ns_journal_list(r->directory_fd, NS_JOURNAL_SEGMENT, &segments);
    if (count < 0) {
        return (int)count;
    }
    int status = -ENOENT;
    for (int64_t i = count; i > 0; i--) {
        if (segments[i - 1] <= r->wanted) {
            status = segment_open(r, segments[i - 1]);
            break;
        }
    }
    free(segments);
    return status;
}

int
ns_journal_reader_open(const char *directory, uint64_t sequence, struct ns_journal_reader **reader,
                       char error[static NS_JOURNAL_ERROR_BYTES])
{
    error[0] = '\0';
    struct ns_journal_reader *r = calloc(1, sizeof(*r));
    int status = -ENOMEM;
    if (r == NULL) {
        goto failed;
    }
    r->fd = -1;
    r->wanted = sequence;
    r->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r->directory = strdup(directory);
    r->buffer = malloc(BUFFER_BYTES);
    if (r->directory_fd < 0) {
        status = -errno;
    } else if (r->directory != NULL && r->buffer != NULL) {
        status = segment_find(r);
    }
    if (status == 0) {
        *reader = r;
        return 0;
    }
failed:
    if (r != NULL && r->error[0] != '\0') {
        memcpy(error, r->error, sizeof(r->error));
    } else if (status == -ENOENT) {
        snprintf(error, NS_JOURNAL_ERROR_BYTES, "record %llu is no longer kept in %s",
                 (unsigned long long)sequence, directory);
    } else {
        snprintf(error, NS_JOURNAL_ERROR_BYTES, "cannot read the journal in %s: %s", directory,
                 strerror(-status));
    }
    ns_journal_reader_close(r);
    return status;
}

void
ns_journal_reader_close(struct ns_journal_reader *r)
{
    if (r == NULL) {
        return;
    }
    if (r->fd >= 0) {
        close(r->fd);
    }
    if (r->directory_fd >= 0) {
        close(r->directory_fd);
    }
    free(r->directory);
    free(r->buffer);
    free(r);
}

/* Reads more of the segment behind what is in the buffer. Returns bytes, 0 at its end, or a
 * negative errno. */
static ssize_t
fill(struct ns_journal_reader *r)
{
    if (r->at > 0 && BUFFER_BYTES - r->filled < CHUNK_BYTES) {
        memmove(r->buffer, r->buffer + r->at, r->filled - r->at);
        r->offset += r->at;
        r->filled -= r->at;
        r->at = 0;
    }
    ssize_t n;
    do {
        n = pread(r->fd, r->buffer + r->filled, BUFFER_BYTES - r->filled,
                  (off_t)(r->offset + r->filled));
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        r->filled += (size_t)n;
    }
    return n < 0 ? -errno : n;
}

/* What does not parse in the last segment is a torn tail unless a whole record follows. Reads the
 * rest of the segment anew, as the writer may have completed the record meanwhile. Returns 1 if it
 * did, 0 for a torn tail, or a negative errno. */
static int
tail(struct ns_journal_reader *r)
{
    off_t end = lseek(r->fd, 0, SEEK_END);
    uint64_t start = r->offset + r->at;
    if (end < 0 || (uint64_t)end <= start) {
        return end < 0 ? -errno : 0;
    }
    size_t count = (size_t)((uint64_t)end - start);
    uint8_t *bytes = malloc(count);
    if (bytes == NULL) {
        return -ENOMEM;
    }
    ssize_t n = pread(r->fd, bytes, count, (off_t)start);
    int status = n < 0 ? -errno : 0;
    struct ns_journal_record record;
    if (n > 0 && ns_journal_record_parse(bytes, (size_t)n, r->next, &record) > 0) {
        status = 1;
    } else if (n > 0 && ns_journal_record_after(bytes, (size_t)n, r->next)) {
        status = damaged(r, "a whole record follows it");
    }
    free(bytes);
    return status;
}

/* The newest segment's first sequence, or a negative errno. */
static int64_t
newest_segment(const struct ns_journal_reader *r)
{
    uint64_t *segments;
    int64_t count = ns_journal_list(r->directory_fd, NS_JOURNAL_SEGMENT, &segments);
    int64_t newest = count > 0 ? (int64_t)segments[count - 1] : count;
    free(segments);
    return newest;
}

/* At something that is no whole record: the next segment, the end, or damage. Returns 1 to go on, 0
 * at the end. */
static int
turn(struct ns_journal_reader *r)
{
    bool at_end = r->at == r->filled;
    /* A segment without records would be followed by itself. */
    int status = at_end && r->next != r->segment ? segment_open(r, r->next) : -ENOENT;
    if (status != -ENOENT) {
        return status == 0 ? 1 : status;
    }
    int64_t newest = newest_segment(r);
    if (newest < 0) {
        return (int)newest;
    }
    if ((uint64_t)newest > r->segment) {
        /* The writer leaves a segment only when it is whole: what it wrote last is there now. */
        ssize_t more = fill(r);
        if (more != 0) {
            return more < 0 ? (int)more : 1;
        }
        status = at_end ? segment_open(r, r->next) : -ENOENT;
        if (status != -ENOENT) {
            return status == 0 ? 1 : status;
        }
        return damaged(r, at_end ? "it ends before the next segment begins" : "a wrong record");
    }
    status = at_end ? 0 : tail(r);
    /* What was no whole record is read anew, as the writer may put another in its place. */
    r->filled = r->at;
    return status;
}

int
ns_journal_reader_next(struct ns_journal_reader *r, uint64_t until,
                       struct ns_journal_record *record)
{
    for (;;) {
        if (r->wanted > until) {
            return 0;
        }
        int64_t n = ns_journal_record_parse(r->buffer + r->at, r->filled - r->at, r->next, record);
        if (n > 0) {
            r->at += (size_t)n;
            r->next++;
            if (record->sequence < r->wanted) {
                continue;
            }
            r->wanted = r->next;
            return 1;
        }
        ssize_t more = n == 0 ? fill(r) : 0;
        if (more < 0) {
            return (int)more;
        }
        if (more == 0) {
            int status = turn(r);
            if (status <= 0) {
                return status;
            }
        }
    }
}

const char *
ns_journal_reader_error(const struct ns_journal_reader *r)
{
    return r->error;
}
