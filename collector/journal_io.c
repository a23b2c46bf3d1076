/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/journal_io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"

#define MAGIC "NSJRNL1\n"
#define SEQUENCE_DIGITS 16

struct ns_journal_disk ns_journal_disk = {
    .write = write, .sync = fdatasync, .read = read, .segment_bytes = NS_JOURNAL_SEGMENT_BYTES};

int
ns_journal_write_all(int fd, const void *bytes, size_t count)
{
    const uint8_t *at = bytes;
    while (count > 0) {
        ssize_t n = ns_journal_disk.write(fd, at, count);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : -EIO;
        }
        at += n;
        count -= (size_t)n;
    }
    return 0;
}

int
ns_journal_create(int directory_fd, const char *name, const struct iovec *parts, int part_count)
{
    char temporary[2 * NS_JOURNAL_NAME_BYTES];
    snprintf(temporary, sizeof(temporary), "%s.tmp", name);
    int fd = openat(directory_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -errno;
    }
    int status = 0;
    for (int i = 0; status == 0 && i < part_count; i++) {
        status = ns_journal_write_all(fd, parts[i].iov_base, parts[i].iov_len);
    }
    if (status == 0 && ns_journal_disk.sync(fd) != 0) {
        status = -errno;
    }
    close(fd);
    if (status == 0 && renameat(directory_fd, temporary, directory_fd, name) != 0) {
        status = -errno;
    }
    if (status != 0) {
        unlinkat(directory_fd, temporary, 0);
        return status;
    }
    return fsync(directory_fd) == 0 ? 0 : -errno;
}

/* --- names ---------------------------------------------------------------------------------- */

static const char *const suffix[] = {
    [NS_JOURNAL_SEGMENT] = ".seg", [NS_JOURNAL_SNAPSHOT] = ".snap"};

void
ns_journal_name(enum ns_journal_file kind, uint64_t sequence,
                char name[static NS_JOURNAL_NAME_BYTES])
{
    snprintf(name, NS_JOURNAL_NAME_BYTES, "%016llx%s", (unsigned long long)sequence, suffix[kind]);
}

static bool
name_parse(const char *name, enum ns_journal_file kind, uint64_t *sequence)
{
    if (strspn(name, "0123456789abcdef") != SEQUENCE_DIGITS ||
        strcmp(name + SEQUENCE_DIGITS, suffix[kind]) != 0) {
        return false;
    }
    *sequence = strtoull(name, NULL, 16);
    return true;
}

static int
ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Adds a sequence to an array whose capacity is the next power of two. */
static int
list_add(uint64_t **list, int64_t count, uint64_t sequence)
{
    if ((count & (count - 1)) == 0) {
        size_t capacity = count == 0 ? 1 : (size_t)count * 2;
        uint64_t *grown = realloc(*list, capacity * sizeof(**list));
        if (grown == NULL) {
            return -ENOMEM;
        }
        *list = grown;
    }
    (*list)[count] = sequence;
    return 0;
}

int64_t
ns_journal_list(int directory_fd, enum ns_journal_file kind, uint64_t **sequences)
{
    *sequences = NULL;
    int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    if (directory == NULL) {
        int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        return -error;
    }
    int64_t count = 0;
    int status = 0;
    const struct dirent *entry;
    while (status == 0 && (entry = readdir(directory)) != NULL) {
        uint64_t sequence;
        if (name_parse(entry->d_name, kind, &sequence)) {
            status = list_add(sequences, count, sequence);
            count += status == 0;
        }
    }
    closedir(directory);
    if (status != 0) {
        free(*sequences);
        *sequences = NULL;
        return status;
    }
    if (count > 0) {
        qsort(*sequences, (size_t)count, sizeof(**sequences), ascending);
    }
    return count;
}

/* --- records -------------------------------------------------------------------------------- */

static void
store(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t
load(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

void
ns_journal_segment_head(uint64_t first, uint8_t head[static NS_JOURNAL_SEGMENT_HEAD_BYTES])
{
    memcpy(head, MAGIC, 8);
    store(head + 8, first, 8);
    store(head + 16, ns_crc32c(0, head, 16), 4);
}

void
ns_journal_record_head(const struct ns_journal_record *record,
                       uint8_t head[static NS_JOURNAL_RECORD_HEAD_BYTES])
{
    memset(head, 0, NS_JOURNAL_RECORD_HEAD_BYTES);
    store(head + 4, record->payload_bytes, 4);
    store(head + 8, record->sequence, 8);
    store(head + 16, (uint64_t)record->at_ns, 8);
    head[24] = record->type;
}

void
ns_journal_record_seal(uint8_t *record, size_t bytes)
{
    store(record, ns_crc32c(0, record + 4, bytes - 4), 4);
}

int64_t
ns_journal_record_parse(const uint8_t *bytes, size_t count, uint64_t sequence,
                        struct ns_journal_record *record)
{
    if (count < NS_JOURNAL_RECORD_HEAD_BYTES) {
        return 0;
    }
    uint64_t payload_bytes = load(bytes + 4, 4);
    if (payload_bytes > NS_JOURNAL_RECORD_BYTES_MAX || load(bytes + 8, 8) != sequence) {
        return -EBADMSG;
    }
    size_t record_bytes = NS_JOURNAL_RECORD_HEAD_BYTES + (size_t)payload_bytes;
    if (count < record_bytes) {
        return 0;
    }
    if (load(bytes, 4) != ns_crc32c(0, bytes + 4, record_bytes - 4) || load(bytes + 25, 3) != 0) {
        return -EBADMSG;
    }
    *record = (struct ns_journal_record){.sequence = sequence,
                                         .at_ns = (int64_t)load(bytes + 16, 8),
                                         .type = bytes[24],
                                         .payload = bytes + NS_JOURNAL_RECORD_HEAD_BYTES,
                                         .payload_bytes = (size_t)payload_bytes};
    return (int64_t)record_bytes;
}

bool
ns_journal_record_after(const uint8_t *bytes, size_t count, uint64_t sequence)
{
    /* No more records can follow than fit: a cheap test before the checksum. */
    uint64_t most = sequence + count / NS_JOURNAL_RECORD_HEAD_BYTES;
    for (size_t at = 0; at + NS_JOURNAL_RECORD_HEAD_BYTES <= count; at++) {
        uint64_t found = load(bytes + at + 8, 8);
        struct ns_journal_record record;
        if (found > sequence && found <= most &&
            ns_journal_record_parse(bytes + at, count - at, found, &record) > 0) {
            return true;
        }
    }
    return false;
}

/* --- segments ------------------------------------------------------------------------------- */

static void
scan_bytes(const uint8_t *bytes, size_t count, uint64_t first, struct ns_journal_scan *scan)
{
    uint8_t head[NS_JOURNAL_SEGMENT_HEAD_BYTES];
    ns_journal_segment_head(first, head);
    if (count < sizeof(head) || memcmp(bytes, head, sizeof(head)) != 0) {
        scan->damaged = true;
        return;
    }
    size_t at = sizeof(head);
    for (;;) {
        struct ns_journal_record record;
        int64_t n = ns_journal_record_parse(bytes + at, count - at, scan->last + 1, &record);
        if (n <= 0) {
            break;
        }
        at += (size_t)n;
        scan->last++;
    }
    scan->whole_bytes = at;
    scan->damaged = ns_journal_record_after(bytes + at, count - at, scan->last + 1);
}

int
ns_journal_scan(int fd, uint64_t first, struct ns_journal_scan *scan)
{
    *scan = (struct ns_journal_scan){.last = first - 1};
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return -errno;
    }
    scan->file_bytes = (uint64_t)status.st_size;
    if (status.st_size == 0) {
        scan->damaged = true;
        return 0;
    }
    size_t count = (size_t)status.st_size;
    /* Read only while nobody writes: the lock on the directory is held. */
    void *bytes = mmap(NULL, count, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        return -errno;
    }
    scan_bytes(bytes, count, first, scan);
    munmap(bytes, count);
    return 0;
}
