/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "protocol/protocol.h"
#include "shim/counters.h"
#include "shim/descriptor.h"
#include "shim/log.h"
#include "shim/process.h"

static const char magic[8] = {'N', 'S', 'S', 'P', 'O', 'O', 'L', '1'};

struct head {
    char magic[8];
    uint64_t posted; /* offset of the first record that has not been acknowledged */
};

struct record {
    uint32_t bytes;
    uint32_t crc32c; /* of the message */
};

#define SUFFIX ".spool"
#define NAME_BYTES_MAX 96
#define OPEN_ATTEMPTS 16

/* --- names --------------------------------------------------------------------------------------
 */

static size_t
put_hex(char *to, uint64_t value)
{
    for (size_t i = 0; i < 16; i++) {
        to[i] = "0123456789abcdef"[value >> (60 - 4 * i) & 15];
    }
    return 16;
}

/* "ENDPOINT-": files of other collectors are none of ours. */
static size_t
put_prefix(char *name, const char *endpoint)
{
    static const uint8_t key[16] = "nullspend spool";
    size_t bytes = put_hex(name, ns_siphash64(key, endpoint, strlen(endpoint)));
    name[bytes++] = '-';
    return bytes;
}

/* What a thread of this process wrote to last; 0: nothing yet. A child of fork may go on with it:
 * the file's lock keeps them apart. */
static uint64_t last_unique;

/* A pid may come again, this not. */
static uint64_t
new_unique(void)
{
    struct ns_uuid uuid = ns_uuid_new();
    uint64_t unique;
    memcpy(&unique, uuid.bytes + 8, sizeof unique);
    return unique | 1;
}

/* "ENDPOINT-UNIQUE.spool" */
static void
put_name(char *name, const char *endpoint, uint64_t unique)
{
    size_t bytes = put_prefix(name, endpoint);
    bytes += put_hex(name + bytes, unique);
    memcpy(name + bytes, SUFFIX, sizeof SUFFIX);
}

static bool
is_spool(const char *name, const char *prefix, size_t prefix_bytes)
{
    size_t bytes = strlen(name);
    return bytes < NAME_BYTES_MAX && bytes > prefix_bytes + sizeof SUFFIX &&
           memcmp(name, prefix, prefix_bytes) == 0 &&
           strcmp(name + bytes - (sizeof SUFFIX - 1), SUFFIX) == 0;
}

/* --- writing ------------------------------------------------------------------------------------
 */

static void
make_directories(const char *path)
{
    char part[4096];
    size_t bytes = strlen(path);
    if (bytes >= sizeof part) {
        return;
    }
    for (size_t i = 1; i <= bytes; i++) {
        if (path[i] == '/' || path[i] == '\0') {
            memcpy(part, path, i);
            part[i] = '\0';
            mkdir(part, 0700);
        }
    }
}

static int
open_directory(const char *path, bool make)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && make) {
        make_directories(path);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    return fd < 0 ? -errno : fd;
}

/* Opens the process's file and takes its lock, or makes another where somebody has it: a thread of
 * this process, or who posts it. Of a new file only the latter can be first, in an instant. */
static int
open_locked(int directory, const char *endpoint, struct stat *status)
{
    uint64_t unique = __atomic_load_n(&last_unique, __ATOMIC_RELAXED);
    for (int attempt = 0; attempt < OPEN_ATTEMPTS; attempt++, unique = 0) {
        char name[NAME_BYTES_MAX];
        unique = unique != 0 ? unique : new_unique();
        put_name(name, endpoint, unique);
        int fd = openat(directory, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) {
            return -errno;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 && ns_descriptor_status(fd, status) == 0 &&
            status->st_nlink > 0 && status->st_uid == geteuid()) {
            __atomic_store_n(&last_unique, unique, __ATOMIC_RELAXED);
            return fd;
        }
        close(fd);
    }
    return -EBUSY;
}

static int
write_all(int fd, const void *bytes, size_t count, off_t offset)
{
    const char *from = bytes;
    while (count > 0) {
        ssize_t done = pwrite(fd, from, count, offset);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return done < 0 ? -errno : -EIO;
        }
        from += done;
        count -= (size_t)done;
        offset += done;
    }
    return 0;
}

static int
append(int fd, off_t end, const void *message, size_t bytes)
{
    if (!ns_process_may_write((uint64_t)end + sizeof(struct head) + sizeof(struct record) +
                              bytes)) {
        return -EDQUOT;
    }
    if (end < (off_t)sizeof(struct head)) { /* new, or the disk was full when it was */
        struct head head = {.posted = sizeof head};
        memcpy(head.magic, magic, sizeof magic);
        int error = write_all(fd, &head, sizeof head, 0);
        if (error != 0) {
            return error;
        }
        end = sizeof head;
    }
    if ((uint64_t)end + sizeof(struct record) + bytes > NS_SPOOL_FILE_BYTES_MAX) {
        return -EFBIG;
    }
    struct record record = {(uint32_t)bytes, ns_crc32c(0, message, bytes)};
    /* The message first: a record whose head is there is whole. */
    int error = write_all(fd, message, bytes, end + (off_t)sizeof record);
    if (error == 0) {
        error = write_all(fd, &record, sizeof record, end);
    }
    if (error != 0 && ftruncate(fd, end) != 0) {
        return -EIO; /* the CRC tells the torn record */
    }
    return error;
}

int
ns_spool_append(const char *directory, const char *endpoint, const void *message, size_t bytes)
{
    if (directory[0] == '\0') {
        return -ENOENT;
    }
    int place = open_directory(directory, true);
    if (place < 0) {
        return place;
    }
    int error = -EFBIG;
    for (int attempt = 0; attempt < 2 && error == -EFBIG; attempt++) {
        struct stat status = {0};
        int fd = open_locked(place, endpoint, &status);
        error = fd < 0 ? fd : append(fd, status.st_size, message, bytes);
        if (error == -EFBIG) { /* full: the next one is begun */
            __atomic_store_n(&last_unique, 0, __ATOMIC_RELAXED);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    close(place);
    return error;
}

/* --- posting ------------------------------------------------------------------------------------
 */

static ssize_t
read_at(int fd, void *bytes, size_t count, off_t offset)
{
    ssize_t done;
    do {
        done = pread(fd, bytes, count, offset);
    } while (done < 0 && errno == EINTR);
    return done;
}

/* One batch from *offset. Returns how many records were sent, 0 at the end or at damage (*damaged),
 * or a negative errno. */
static int
send_batch(int fd, uint64_t *offset, uint8_t *buffer, const struct ns_spool_poster *poster,
           bool *damaged)
{
    int sent = 0;
    while (sent < NS_SPOOL_BATCH) {
        struct record record;
        ssize_t got = read_at(fd, &record, sizeof record, (off_t)*offset);
        if (got == 0) {
            return sent;
        }
        size_t bytes = got == (ssize_t)sizeof record ? record.bytes : 0;
        if (bytes == 0 || bytes > NS_MESSAGE_BYTES_MAX ||
            read_at(fd, buffer, bytes, (off_t)(*offset + sizeof record)) != (ssize_t)bytes ||
            ns_crc32c(0, buffer, bytes) != record.crc32c) {
            *damaged = true;
            return sent;
        }
        int error = poster->send(poster->context, buffer, bytes);
        if (error != 0) {
            return error;
        }
        *offset += sizeof record + bytes;
        sent++;
    }
    return sent;
}

/* Posts an open and locked file. Returns 1 when it is posted whole, 0 when time ran out. */
static int
post_file(int fd, uint8_t *buffer, const struct ns_spool_poster *poster, bool *damaged)
{
    struct head head;
    ssize_t got = read_at(fd, &head, sizeof head, 0);
    if (got >= 0 && got < (ssize_t)sizeof head) {
        return 1; /* nothing was ever written behind it */
    }
    if (got < 0 || memcmp(head.magic, magic, sizeof magic) != 0 || head.posted < sizeof head) {
        *damaged = true;
        return 1;
    }
    while (poster->go_on(poster->context)) {
        int sent = send_batch(fd, &head.posted, buffer, poster, damaged);
        if (sent < 0) {
            return sent;
        }
        int error = poster->settle(poster->context);
        if (error != 0) {
            return error;
        }
        for (int i = 0; i < sent; i++) {
            ns_count(NS_COUNTER_REPORTS_POSTED);
        }
        if (sent < NS_SPOOL_BATCH) {
            return 1;
        }
        error = write_all(fd, &head, sizeof head, 0);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

static int
post_name(int directory, const char *name, uint8_t *buffer, const struct ns_spool_poster *poster)
{
    int fd = openat(directory, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return 0;
    }
    struct stat status;
    int done = 0;
    bool damaged = false;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && ns_descriptor_status(fd, &status) == 0 &&
        S_ISREG(status.st_mode) && status.st_nlink > 0 && status.st_uid == geteuid()) {
        done = post_file(fd, buffer, poster, &damaged);
        if (damaged && done == 1) {
            /* What stood before the damage is posted; the rest is kept for people to look at. */
            char aside[NAME_BYTES_MAX + 8];
            size_t bytes = strlen(name);
            memcpy(aside, name, bytes);
            memcpy(aside + bytes, ".damage", sizeof ".damage");
            ns_count(NS_COUNTER_SPOOL_DAMAGED);
            ns_log("a spool file is damaged", name);
            if (renameat(directory, name, directory, aside) != 0) {
                done = -errno;
            }
        } else if (done == 1 && unlinkat(directory, name, 0) != 0) {
            done = -errno;
        }
        done = done == 0 ? -EAGAIN : done;
    }
    close(fd);
    return done < 0 ? done : 0;
}

struct directory_entry {
    uint64_t inode;
    int64_t offset;
    uint16_t bytes;
    uint8_t type;
    char name[];
};

/* getdents64 and not readdir: opendir would enter the host's allocator. */
static int
post_all(int directory, const char *endpoint, uint8_t *buffer, const struct ns_spool_poster *poster)
{
    char prefix[NAME_BYTES_MAX];
    size_t prefix_bytes = put_prefix(prefix, endpoint);
    _Alignas(8) char entries[2048];
    for (;;) {
        long got = syscall(SYS_getdents64, directory, entries, sizeof entries);
        if (got <= 0) {
            return got < 0 ? -errno : 0;
        }
        for (long at = 0; at < got;) {
            const struct directory_entry *entry = (const void *)(entries + at);
            at += entry->bytes;
            if (!is_spool(entry->name, prefix, prefix_bytes)) {
                continue;
            }
            int error = post_name(directory, entry->name, buffer, poster);
            if (error != 0) {
                return error;
            }
        }
    }
}

int
ns_spool_post(const char *directory, const char *endpoint, const struct ns_spool_poster *poster)
{
    int place = directory[0] == '\0' ? -ENOENT : open_directory(directory, false);
    if (place < 0) {
        return 0;
    }
    uint8_t *buffer = ns_mem_alloc(NS_MESSAGE_BYTES_MAX);
    int error = buffer == NULL ? -ENOMEM : post_all(place, endpoint, buffer, poster);
    ns_mem_free(buffer);
    close(place);
    return error;
}
