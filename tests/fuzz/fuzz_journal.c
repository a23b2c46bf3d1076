/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a segment: whatever is in the file, opening either refuses and leaves it as it is,
 * or cuts a torn tail, and then what is kept can be read to its end and appended to.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/journal_io.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[64];
static char segment[128];

static void
remove_directory(void)
{
    unlink(segment);
    rmdir(directory);
}

static void
prepare(const uint8_t *data, size_t size)
{
    if (directory[0] == '\0') {
        const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(directory, sizeof(directory), "%s/ns_fuzz_XXXXXX", parent);
        if (mkdtemp(directory) == NULL) {
            abort();
        }
        snprintf(segment, sizeof(segment), "%s/0000000000000001.seg", directory);
        atexit(remove_directory);
    }
    int fd = open(segment, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
        abort();
    }
    close(fd);
}

/* Reads to the end. Returns the last sequence or a negative errno. */
static int64_t
read_all(void)
{
    struct ns_journal_reader *reader;
    char error[NS_JOURNAL_ERROR_BYTES];
    int status = ns_journal_reader_open(directory, 1, &reader, error);
    if (status != 0) {
        return status;
    }
    struct ns_journal_record record = {.sequence = 0};
    uint64_t last = 0;
    while ((status = ns_journal_reader_next(reader, UINT64_MAX, &record)) == 1) {
        last = record.sequence;
    }
    ns_journal_reader_close(reader);
    return status < 0 ? status : (int64_t)last;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    prepare(data, size);
    int64_t readable = read_all();
    struct ns_journal *journal;
    char error[NS_JOURNAL_ERROR_BYTES];
    int status = ns_journal_open(directory, &journal, error);
    if (status != 0) {
        struct stat info;
        if (error[0] == '\0' || readable >= 0 || stat(segment, &info) != 0 ||
            (size_t)info.st_size != size) {
            abort();
        }
        return 0;
    }
    uint64_t last = ns_journal_last(journal);
    if (readable != (int64_t)last || ns_journal_append(journal, 1, 1, NULL, 0) != readable + 1 ||
        ns_journal_write(journal) != 0 || read_all() != readable + 1) {
        abort();
    }
    ns_journal_close(journal);
    return 0;
}
