/* SPDX-License-Identifier: Apache-2.0 */
/* The writer: open, append, write, sync. */
#include "collector/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/journal_io.h"
#include "collector/journal_state.h"

/* Appended records wait here for ns_journal_write; past this they are written unasked. */
#define BUFFER_BYTES_MAX ((size_t)4 << 20)

__attribute__((format(printf, 2, 3))) static void
say(char error[static NS_JOURNAL_ERROR_BYTES], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, NS_JOURNAL_ERROR_BYTES, format, arguments);
    va_end(arguments);
}

/* --- open ----------------------------------------------------------------------------------- */

static int
open_directory(struct ns_journal *j, const char *directory, char *error)
{
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        int status = -errno;
        say(error, "cannot create %s: %s; create it, owned by this user", directory,
            strerror(-status));
        return status;
    }
    j->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (j->directory_fd < 0) {
        int status = -errno;
        say(error, "cannot open %s: %s", directory, strerror(-status));
        return status;
    }
    if (flock(j->directory_fd, LOCK_EX | LOCK_NB) != 0) {
        int status = errno == EWOULDBLOCK ? -EBUSY : -errno;
        say(error, "the journal in %s is in use by another process; stop that one first",
            directory);
        return status;
    }
    return 0;
}

/* Removes what a crash left half created. */
static void
remove_temporaries(const struct ns_journal *j)
{
    int fd = openat(j->directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        const char *dot = strrchr(entry->d_name, '.');
        if (dot != NULL && strcmp(dot, ".tmp") == 0) {
            unlinkat(j->directory_fd, entry->d_name, 0);
        }
    }
    closedir(directory);
}

static int
open_segment(struct ns_journal *j, uint64_t first)
{
    char name[NS_JOURNAL_NAME_BYTES];
    ns_journal_name(NS_JOURNAL_SEGMENT, first, name);
    int fd = openat(j->directory_fd, name, O_RDWR | O_APPEND | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    j->fd = fd;
    return 0;
}

static int
create_segment(struct ns_journal *j, uint64_t first)
{
    uint8_t head[NS_JOURNAL_SEGMENT_HEAD_BYTES];
    char name[NS_JOURNAL_NAME_BYTES];
    ns_journal_segment_head(first, head);
    ns_journal_name(NS_JOURNAL_SEGMENT, first, name);
    const struct iovec part = {head, sizeof(head)};
    int status = ns_journal_create(j->directory_fd, name, &part, 1);
    if (status == 0) {
        status = open_segment(j, first);
    }
    if (status == 0) {
        j->segment_bytes = sizeof(head);
    }
    return status;
}

/* Finds the end in the last segment and cuts a torn tail off. */
static int
find_end(struct ns_journal *j, uint64_t first, char *error)
{
    char name[NS_JOURNAL_NAME_BYTES];
    ns_journal_name(NS_JOURNAL_SEGMENT, first, name);
    struct ns_journal_scan scan;
    int status = open_segment(j, first);
    if (status == 0) {
        status = ns_journal_scan(j->fd, first, &scan);
    }
    if (status != 0) {
        say(error, "cannot read %s/%s: %s", j->directory, name, strerror(-status));
        return status;
    }
    if (scan.damaged) {
        say(error,
            "%s/%s is damaged at offset %llu, before its end: nothing was changed; restore the "
            "file, or move the directory away to start anew",
            j->directory, name, (unsigned long long)scan.whole_bytes);
        return -EBADMSG;
    }
    j->last = scan.last;
    j->segment_bytes = scan.whole_bytes;
    if (scan.file_bytes > scan.whole_bytes) {
        if (ftruncate(j->fd, (off_t)scan.whole_bytes) != 0) {
            status = -errno;
            say(error, "cannot cut the torn tail of %s/%s: %s", j->directory, name,
                strerror(-status));
            return status;
        }
        say(error, "%s/%s ended in a torn record: its %llu bytes from offset %llu were cut off",
            j->directory, name, (unsigned long long)(scan.file_bytes - scan.whole_bytes),
            (unsigned long long)scan.whole_bytes);
    }
    return 0;
}

/* A snapshot is written after what leads to it is durable, so none is ahead of the records. */
static int
check_snapshots(const struct ns_journal *j, char *error)
{
    uint64_t *snapshots;
    int64_t count = ns_journal_list(j->directory_fd, NS_JOURNAL_SNAPSHOT, &snapshots);
    if (count < 0) {
        return (int)count;
    }
    uint64_t newest = count > 0 ? snapshots[count - 1] : 0;
    free(snapshots);
    if (newest > j->last) {
        say(error,
            "%s has a snapshot of record %llu, but its records end at %llu: segments are missing; "
            "restore them, or move the directory away to start anew",
            j->directory, (unsigned long long)newest, (unsigned long long)j->last);
        return -EBADMSG;
    }
    return 0;
}

static int
open_records(struct ns_journal *j, char *error)
{
    uint64_t *segments;
    int64_t count = ns_journal_list(j->directory_fd, NS_JOURNAL_SEGMENT, &segments);
    if (count < 0) {
        say(error, "cannot list %s: %s", j->directory, strerror((int)-count));
        return (int)count;
    }
    j->first = count > 0 ? segments[0] : 1;
    uint64_t newest = count > 0 ? segments[count - 1] : 0;
    free(segments);
    int status = count > 0 ? find_end(j, newest, error) : check_snapshots(j, error);
    if (status == 0 && count > 0) {
        status = check_snapshots(j, error);
    } else if (status == 0) {
        status = create_segment(j, 1);
    }
    /* What a killed process wrote may not have reached the disk yet. */
    if (status == 0 && ns_journal_disk.sync(j->fd) != 0) {
        status = -errno;
    }
    if (status != 0 && error[0] == '\0') {
        say(error, "cannot write in %s: %s", j->directory, strerror(-status));
    }
    return status;
}

static void
release(struct ns_journal *j)
{
    if (j->fd >= 0) {
        close(j->fd);
    }
    if (j->directory_fd >= 0) {
        close(j->directory_fd);
    }
    pthread_mutex_destroy(&j->sync_lock);
    free(j->buffer);
    free(j->directory);
    free(j);
}

int
ns_journal_open(const char *directory, struct ns_journal **journal,
                char error[static NS_JOURNAL_ERROR_BYTES])
{
    error[0] = '\0';
    struct ns_journal *j = calloc(1, sizeof(*j));
    if (j == NULL) {
        say(error, "no memory for the journal");
        return -ENOMEM;
    }
    j->fd = j->directory_fd = -1;
    pthread_mutex_init(&j->sync_lock, NULL);
    j->directory = strdup(directory);
    int status = j->directory == NULL ? -ENOMEM : open_directory(j, directory, error);
    if (status == 0) {
        remove_temporaries(j);
        status = open_records(j, error);
    }
    if (status != 0) {
        release(j);
        return status;
    }
    atomic_store(&j->written, j->last);
    atomic_store(&j->durable, j->last);
    *journal = j;
    return 0;
}

void
ns_journal_close(struct ns_journal *j)
{
    if (j == NULL) {
        return;
    }
    if (ns_journal_write(j) == 0) {
        ns_journal_sync(j);
    }
    release(j);
}

/* --- append, write, sync -------------------------------------------------------------------- */

static int
poisoned(struct ns_journal *j, int status)
{
    int none = 0;
    atomic_compare_exchange_strong(&j->poison, &none, status);
    return status;
}

/* Closes the last segment durably and starts the next. */
static int
next_segment(struct ns_journal *j)
{
    int status = ns_journal_write(j);
    if (status != 0) {
        return status;
    }
    pthread_mutex_lock(&j->sync_lock);
    int old = j->fd;
    if (ns_journal_disk.sync(old) != 0) {
        status = -errno;
    } else {
        atomic_store(&j->durable, atomic_load(&j->written));
        status = create_segment(j, j->last + 1);
    }
    if (status == 0) {
        close(old);
    }
    pthread_mutex_unlock(&j->sync_lock);
    return status == 0 ? 0 : poisoned(j, status);
}

static int
buffer_reserve(struct ns_journal *j, size_t bytes)
{
    if (j->buffer_capacity - j->buffer_used >= bytes) {
        return 0;
    }
    size_t capacity = (j->buffer_used + bytes) * 2;
    uint8_t *buffer = realloc(j->buffer, capacity);
    if (buffer == NULL) {
        return -ENOMEM;
    }
    j->buffer = buffer;
    j->buffer_capacity = capacity;
    return 0;
}

/* Makes room in buffer and segment for a record of so many bytes. */
static int
append_prepare(struct ns_journal *j, size_t bytes)
{
    int status = atomic_load(&j->poison);
    if (status == 0 && j->segment_bytes + bytes > ns_journal_disk.segment_bytes &&
        j->segment_bytes > NS_JOURNAL_SEGMENT_HEAD_BYTES) {
        status = next_segment(j);
    }
    if (status == 0 && j->buffer_used + bytes > BUFFER_BYTES_MAX) {
        status = ns_journal_write(j);
    }
    return status != 0 ? status : buffer_reserve(j, bytes);
}

int64_t
ns_journal_append(struct ns_journal *j, uint8_t type, int64_t at_ns, const struct iovec *payload,
                  int payload_parts)
{
    struct ns_journal_record record = {.sequence = j->last + 1, .at_ns = at_ns, .type = type};
    for (int i = 0; i < payload_parts; i++) {
        if (payload[i].iov_len > NS_JOURNAL_RECORD_BYTES_MAX - record.payload_bytes) {
            return -EMSGSIZE;
        }
        record.payload_bytes += payload[i].iov_len;
    }
    size_t bytes = NS_JOURNAL_RECORD_HEAD_BYTES + record.payload_bytes;
    int status = append_prepare(j, bytes);
    if (status != 0) {
        return status;
    }
    uint8_t *start = j->buffer + j->buffer_used;
    ns_journal_record_head(&record, start);
    uint8_t *at = start + NS_JOURNAL_RECORD_HEAD_BYTES;
    for (int i = 0; i < payload_parts; i++) {
        if (payload[i].iov_len != 0) {
            memcpy(at, payload[i].iov_base, payload[i].iov_len);
            at += payload[i].iov_len;
        }
    }
    ns_journal_record_seal(start, bytes);
    j->buffer_used += bytes;
    j->segment_bytes += bytes;
    j->last++;
    return (int64_t)j->last;
}

int
ns_journal_write(struct ns_journal *j)
{
    int status = atomic_load(&j->poison);
    if (status != 0 || j->buffer_used == 0) {
        return status;
    }
    status = ns_journal_write_all(j->fd, j->buffer, j->buffer_used);
    if (status != 0) {
        return poisoned(j, status);
    }
    j->buffer_used = 0;
    atomic_store(&j->written, j->last);
    return 0;
}

int64_t
ns_journal_sync(struct ns_journal *j)
{
    pthread_mutex_lock(&j->sync_lock);
    int status = atomic_load(&j->poison);
    uint64_t written = atomic_load(&j->written);
    if (status == 0 && written > atomic_load(&j->durable)) {
        if (ns_journal_disk.sync(j->fd) != 0) {
            status = poisoned(j, -errno);
        } else {
            atomic_store(&j->durable, written);
        }
    }
    uint64_t durable = atomic_load(&j->durable);
    pthread_mutex_unlock(&j->sync_lock);
    return status != 0 ? status : (int64_t)durable;
}

uint64_t
ns_journal_last(const struct ns_journal *j)
{
    return j->last;
}

uint64_t
ns_journal_written(const struct ns_journal *j)
{
    return atomic_load(&j->written);
}

uint64_t
ns_journal_durable(const struct ns_journal *j)
{
    return atomic_load(&j->durable);
}

uint64_t
ns_journal_first(const struct ns_journal *j)
{
    return j->first;
}
