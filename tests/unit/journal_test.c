/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/journal_io.h"
#include "tests/harness.h"

/* --- a directory for each test -------------------------------------------------------------- */

static char directory[64];

static void
remove_directory(void)
{
    DIR *d = opendir(directory);
    const struct dirent *entry;
    while (d != NULL && (entry = readdir(d)) != NULL) {
        char path[400];
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        unlink(path);
    }
    if (d != NULL) {
        closedir(d);
    }
    rmdir(directory);
}

static void
new_directory(void)
{
    if (directory[0] != '\0') {
        remove_directory();
    } else {
        atexit(remove_directory);
    }
    /* In memory where there is such a place: the tests sync thousands of times. */
    const char *parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(directory, sizeof(directory), "%s/ns_journal_XXXXXX", parent);
    if (mkdtemp(directory) == NULL) {
        NS_FAIL("mkdtemp: %s", strerror(errno));
    }
}

static const char *
path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

#define FIRST_SEGMENT "0000000000000001.seg"

static uint8_t *
read_bytes(const char *name, size_t *bytes)
{
    return (uint8_t *)ns_test_read_file(path_of(name), bytes);
}

static void
write_bytes(const char *name, const uint8_t *bytes, size_t count)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, bytes, count) == (ssize_t)count);
    close(fd);
}

static bool
exists(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

/* --- records -------------------------------------------------------------------------------- */

/* A payload that its sequence gives: lengths from 0 to some hundreds, in two parts. */
static size_t
payload_of(uint64_t sequence, uint8_t *payload)
{
    size_t bytes = (size_t)(sequence * 37 % 301);
    for (size_t i = 0; i < bytes; i++) {
        payload[i] = (uint8_t)(sequence * 7 + i);
    }
    return bytes;
}

static int64_t
append_next(struct ns_journal *j)
{
    uint8_t payload[400];
    uint64_t sequence = ns_journal_last(j) + 1;
    size_t bytes = payload_of(sequence, payload);
    const struct iovec parts[] = {{payload, bytes / 2}, {payload + bytes / 2, bytes - bytes / 2}};
    return ns_journal_append(j, (uint8_t)(sequence % 250), (int64_t)sequence * 1000, parts, 2);
}

static void
append_many(struct ns_journal *j, int count)
{
    for (int i = 0; i < count; i++) {
        CHECK(append_next(j) > 0);
    }
    CHECK_INT(ns_journal_write(j), 0);
}

static bool
is_record(const struct ns_journal_record *record, uint64_t sequence)
{
    uint8_t payload[400];
    size_t bytes = payload_of(sequence, payload);
    return record->sequence == sequence && record->at_ns == (int64_t)sequence * 1000 &&
           record->type == sequence % 250 && record->payload_bytes == bytes &&
           memcmp(record->payload, payload, bytes) == 0;
}

static struct ns_journal *
open_journal(void)
{
    char error[NS_JOURNAL_ERROR_BYTES];
    struct ns_journal *j = NULL;
    int status = ns_journal_open(directory, &j, error);
    if (status != 0) {
        NS_FAIL("open: %d, %s", status, error);
    }
    return j;
}

/* Reads from a record to the end. Returns the last sequence that was right, or -EBADMSG. */
static int64_t
read_from(uint64_t sequence)
{
    struct ns_journal_reader *r;
    char error[NS_JOURNAL_ERROR_BYTES];
    int status = ns_journal_reader_open(directory, sequence, &r, error);
    if (status != 0) {
        CHECK(error[0] != '\0');
        return status;
    }
    struct ns_journal_record record;
    int64_t last = (int64_t)sequence - 1;
    while ((status = ns_journal_reader_next(r, UINT64_MAX, &record)) == 1) {
        if (!is_record(&record, (uint64_t)last + 1)) {
            NS_FAIL("record %lld is wrong", (long long)last + 1);
        }
        last++;
    }
    CHECK((status == -EBADMSG) == (ns_journal_reader_error(r)[0] != '\0'));
    ns_journal_reader_close(r);
    return status < 0 ? status : last;
}

static void
defaults(void)
{
    ns_journal_disk = (struct ns_journal_disk){
        .write = write, .sync = fdatasync, .read = read, .segment_bytes = NS_JOURNAL_SEGMENT_BYTES};
}

/* --- writing and reading -------------------------------------------------------------------- */

TEST(what_is_appended_is_read_back_after_reopening)
{
    new_directory();
    struct ns_journal *j = open_journal();
    CHECK_INT(ns_journal_last(j), 0);
    CHECK_INT(ns_journal_first(j), 1);
    CHECK_INT(read_from(1), 0);
    append_many(j, 100);
    CHECK_INT(ns_journal_written(j), 100);
    CHECK_INT(ns_journal_durable(j), 0);
    CHECK_INT(ns_journal_sync(j), 100);
    CHECK_INT(ns_journal_durable(j), 100);
    CHECK(append_next(j) == 101); /* close writes it */
    ns_journal_close(j);
    j = open_journal();
    CHECK_INT(ns_journal_last(j), 101);
    CHECK_INT(ns_journal_durable(j), 101);
    append_many(j, 5);
    CHECK_INT(read_from(1), 106);
    CHECK_INT(read_from(50), 106);
    CHECK_INT(read_from(107), 106);
    ns_journal_close(j);
}

TEST(a_record_of_the_largest_size_is_taken_and_one_byte_more_is_not)
{
    new_directory();
    struct ns_journal *j = open_journal();
    uint8_t *big = calloc(1, NS_JOURNAL_RECORD_BYTES_MAX + 1);
    struct iovec part = {big, NS_JOURNAL_RECORD_BYTES_MAX + 1};
    CHECK_INT(ns_journal_append(j, 1, 1, &part, 1), -EMSGSIZE);
    part.iov_len = NS_JOURNAL_RECORD_BYTES_MAX;
    for (int i = 1; i <= 6; i++) {
        CHECK_INT(ns_journal_append(j, 1, 1, &part, 1), i);
    }
    CHECK_INT(ns_journal_append(j, 2, 2, NULL, 0), 7);
    CHECK_INT(ns_journal_write(j), 0);
    struct ns_journal_reader *r;
    char error[NS_JOURNAL_ERROR_BYTES];
    REQUIRE(ns_journal_reader_open(directory, 6, &r, error) == 0);
    struct ns_journal_record record;
    CHECK_INT(ns_journal_reader_next(r, UINT64_MAX, &record), 1);
    CHECK_INT(record.payload_bytes, NS_JOURNAL_RECORD_BYTES_MAX);
    CHECK_INT(ns_journal_reader_next(r, UINT64_MAX, &record), 1);
    CHECK_INT(record.payload_bytes, 0);
    CHECK_INT(ns_journal_reader_next(r, UINT64_MAX, &record), 0);
    ns_journal_reader_close(r);
    ns_journal_close(j);
    free(big);
}

TEST(a_reader_stops_at_until_and_goes_on_later)
{
    new_directory();
    struct ns_journal *j = open_journal();
    append_many(j, 10);
    struct ns_journal_reader *r;
    char error[NS_JOURNAL_ERROR_BYTES];
    REQUIRE(ns_journal_reader_open(directory, 3, &r, error) == 0);
    struct ns_journal_record record;
    CHECK_INT(ns_journal_reader_next(r, 4, &record), 1);
    CHECK_INT(record.sequence, 3);
    CHECK_INT(ns_journal_reader_next(r, 4, &record), 1);
    CHECK_INT(ns_journal_reader_next(r, 4, &record), 0);
    CHECK_INT(ns_journal_reader_next(r, 5, &record), 1);
    CHECK_INT(record.sequence, 5);
    ns_journal_reader_close(r);
    ns_journal_close(j);
}

TEST(a_journal_is_open_once)
{
    new_directory();
    struct ns_journal *j = open_journal();
    struct ns_journal *other;
    char error[NS_JOURNAL_ERROR_BYTES];
    CHECK_INT(ns_journal_open(directory, &other, error), -EBUSY);
    CHECK(strstr(error, directory) != NULL);
    ns_journal_close(j);
    ns_journal_close(open_journal());
}

TEST(a_directory_that_cannot_be_made_is_said)
{
    new_directory();
    struct ns_journal *j;
    char error[NS_JOURNAL_ERROR_BYTES];
    CHECK_INT(ns_journal_open(path_of("missing/journal"), &j, error), -ENOENT);
    CHECK(strstr(error, "missing/journal") != NULL);
}

TEST(records_go_on_over_many_segments)
{
    new_directory();
    ns_journal_disk.segment_bytes = 1000;
    struct ns_journal *j = open_journal();
    append_many(j, 200);
    ns_journal_close(j);
    uint64_t *segments;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(ns_journal_list(fd, NS_JOURNAL_SEGMENT, &segments) > 20);
    free(segments);
    close(fd);
    for (uint64_t from = 1; from <= 201; from++) {
        CHECK_INT(read_from(from), 200);
    }
    j = open_journal();
    CHECK_INT(ns_journal_last(j), 200);
    append_many(j, 10);
    CHECK_INT(read_from(1), 210);
    ns_journal_close(j);
    defaults();
}

/* --- torn and damaged ----------------------------------------------------------------------- */

TEST(a_tail_torn_at_any_byte_of_the_last_record_is_cut_and_said)
{
    new_directory();
    struct ns_journal *j = open_journal();
    append_many(j, 7);
    ns_journal_close(j);
    size_t before;
    size_t after;
    free(read_bytes(FIRST_SEGMENT, &before));
    j = open_journal();
    append_many(j, 1);
    ns_journal_close(j);
    uint8_t *bytes = read_bytes(FIRST_SEGMENT, &after);
    REQUIRE(bytes != NULL && after > before);
    for (size_t n = before; n < after; n++) {
        write_bytes(FIRST_SEGMENT, bytes, n);
        CHECK_INT(read_from(1), 7);
        char error[NS_JOURNAL_ERROR_BYTES];
        REQUIRE(ns_journal_open(directory, &j, error) == 0);
        CHECK_INT(ns_journal_last(j), 7);
        CHECK((error[0] != '\0') == (n > before));
        append_many(j, 1);
        CHECK_INT(read_from(1), 8);
        ns_journal_close(j);
    }
    free(bytes);
}

TEST(a_tail_of_zeros_or_noise_is_cut)
{
    new_directory();
    struct ns_journal *j = open_journal();
    append_many(j, 7);
    ns_journal_close(j);
    size_t count;
    uint8_t *bytes = read_bytes(FIRST_SEGMENT, &count);
    static uint8_t longer[8192];
    REQUIRE(bytes != NULL && count + 5000 <= sizeof(longer));
    memcpy(longer, bytes, count);
    free(bytes);
    for (int noise = 0; noise < 2; noise++) {
        for (size_t i = count; noise == 1 && i < count + 5000; i++) {
            longer[i] = (uint8_t)ns_test_random();
        }
        write_bytes(FIRST_SEGMENT, longer, count + 5000);
        char error[NS_JOURNAL_ERROR_BYTES];
        REQUIRE(ns_journal_open(directory, &j, error) == 0);
        CHECK(strstr(error, "5000 bytes") != NULL);
        CHECK_INT(ns_journal_last(j), 7);
        ns_journal_close(j);
    }
}

TEST(a_bit_flipped_at_any_byte_of_a_segment_is_detected)
{
    new_directory();
    struct ns_journal *j = open_journal();
    append_many(j, 6);
    ns_journal_close(j);
    size_t count;
    uint8_t *bytes = read_bytes(FIRST_SEGMENT, &count);
    size_t last_record = count - NS_JOURNAL_RECORD_HEAD_BYTES - 6 * 37 % 301;
    for (size_t n = 0; n < count; n++) {
        uint8_t bit = (uint8_t)(1U << (n % 8));
        bytes[n] ^= bit;
        write_bytes(FIRST_SEGMENT, bytes, count);
        char error[NS_JOURNAL_ERROR_BYTES];
        int status = ns_journal_open(directory, &j, error);
        size_t left;
        uint8_t *kept = read_bytes(FIRST_SEGMENT, &left);
        if (n < last_record) {
            CHECK_INT(status, -EBADMSG);
            CHECK(strstr(error, FIRST_SEGMENT) != NULL && strstr(error, "offset") != NULL);
            CHECK_INT(read_from(1), -EBADMSG);
            CHECK(left == count && memcmp(kept, bytes, count) == 0);
        } else {
            CHECK_INT(status, 0);
            CHECK(error[0] != '\0');
            CHECK_INT(left, last_record);
        }
        if (status == 0) {
            CHECK_INT(ns_journal_last(j), 5);
            ns_journal_close(j);
        }
        free(kept);
        bytes[n] ^= bit;
    }
    free(bytes);
}

TEST(damage_in_a_segment_that_is_not_the_last_is_found_by_the_reader)
{
    new_directory();
    ns_journal_disk.segment_bytes = 1500;
    struct ns_journal *j = open_journal();
    append_many(j, 40);
    ns_journal_close(j);
    size_t count;
    uint8_t *bytes = read_bytes(FIRST_SEGMENT, &count);
    for (size_t n = 0; n < count; n += 3) {
        bytes[n] ^= 0x10;
        write_bytes(FIRST_SEGMENT, bytes, count);
        CHECK_INT(read_from(1), -EBADMSG);
        bytes[n] ^= 0x10;
    }
    for (size_t n = 0; n < count; n += 3) {
        write_bytes(FIRST_SEGMENT, bytes, n);
        CHECK_INT(read_from(1), -EBADMSG);
    }
    write_bytes(FIRST_SEGMENT, bytes, count);
    CHECK_INT(read_from(1), 40);
    free(bytes);
    unlink(path_of(FIRST_SEGMENT));
    CHECK_INT(read_from(1), -ENOENT);
    CHECK_INT(read_from(40), 40);
    defaults();
}

TEST(what_a_crash_left_half_created_is_removed)
{
    new_directory();
    write_bytes("0000000000000001.seg.tmp", (const uint8_t *)"NSJ", 3);
    write_bytes("0000000000000009.snap.tmp", (const uint8_t *)"", 0);
    struct ns_journal *j = open_journal();
    append_many(j, 3);
    ns_journal_close(j);
    CHECK(!exists("0000000000000001.seg.tmp") && !exists("0000000000000009.snap.tmp"));
    CHECK_INT(read_from(1), 3);
}

TEST(a_process_killed_at_any_moment_loses_nothing_that_it_wrote)
{
    for (int round = 0; round < 8; round++) {
        new_directory();
        int pipe_fds[2];
        REQUIRE(pipe(pipe_fds) == 0);
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            ns_journal_disk.segment_bytes = 5000;
            struct ns_journal *j = open_journal();
            for (uint32_t i = 1;; i++) {
                append_next(j);
                if (i % 3 == 0 && ns_journal_write(j) == 0) {
                    uint32_t written = (uint32_t)ns_journal_written(j);
                    if (write(pipe_fds[1], &written, sizeof(written)) < 0) {
                        _exit(1);
                    }
                }
            }
        }
        uint32_t told = 0;
        for (int i = 0; i <= round * 40; i++) {
            CHECK(read(pipe_fds[0], &told, sizeof(told)) == sizeof(told));
        }
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        struct ns_journal *j = open_journal();
        REQUIRE(j != NULL);
        CHECK(ns_journal_last(j) >= told);
        CHECK_INT(read_from(1), ns_journal_last(j));
        ns_journal_close(j);
    }
}

/* --- a disk that fails ---------------------------------------------------------------------- */

static int writes_until_failure;
static int write_error;
static int syncs_until_failure;
static size_t write_bytes_max;

static ssize_t
failing_write(int fd, const void *bytes, size_t count)
{
    if (writes_until_failure > 0 && --writes_until_failure == 0) {
        errno = write_error;
        return -1;
    }
    if (write_bytes_max != 0 && count > write_bytes_max) {
        count = write_bytes_max;
    }
    return write(fd, bytes, count);
}

static int
failing_sync(int fd)
{
    if (syncs_until_failure > 0 && --syncs_until_failure == 0) {
        errno = EIO;
        return -1;
    }
    return fdatasync(fd);
}

TEST(short_and_interrupted_writes_lose_nothing)
{
    new_directory();
    struct ns_journal *j = open_journal();
    ns_journal_disk.write = failing_write;
    write_bytes_max = 1;
    write_error = EINTR;
    writes_until_failure = 5;
    append_many(j, 20);
    CHECK_INT(read_from(1), 20);
    write_bytes_max = 0;
    ns_journal_close(j);
    defaults();
}

TEST(a_full_disk_poisons_the_journal_until_it_is_opened_again)
{
    for (int at = 1; at <= 4; at++) {
        new_directory();
        struct ns_journal *j = open_journal();
        append_many(j, 5);
        ns_journal_disk.write = failing_write;
        write_bytes_max = 11; /* so that it fails in the middle of a record */
        write_error = ENOSPC;
        writes_until_failure = at;
        CHECK(append_next(j) == 6);
        CHECK(append_next(j) == 7);
        CHECK_INT(ns_journal_write(j), -ENOSPC);
        CHECK_INT(append_next(j), -ENOSPC);
        CHECK_INT(ns_journal_write(j), -ENOSPC);
        CHECK_INT(ns_journal_sync(j), -ENOSPC);
        CHECK_INT(ns_journal_written(j), 5);
        write_bytes_max = 0;
        ns_journal_close(j);
        defaults();
        char error[NS_JOURNAL_ERROR_BYTES];
        REQUIRE(ns_journal_open(directory, &j, error) == 0);
        CHECK((error[0] != '\0') == (at > 1));
        CHECK_INT(ns_journal_last(j), 5);
        append_many(j, 3);
        CHECK_INT(read_from(1), 8);
        ns_journal_close(j);
    }
}

TEST(a_failed_sync_is_never_taken_back)
{
    new_directory();
    struct ns_journal *j = open_journal();
    append_many(j, 5);
    CHECK_INT(ns_journal_sync(j), 5);
    append_many(j, 1);
    ns_journal_disk.sync = failing_sync;
    syncs_until_failure = 1;
    CHECK_INT(ns_journal_sync(j), -EIO);
    CHECK_INT(ns_journal_sync(j), -EIO);
    CHECK_INT(append_next(j), -EIO);
    CHECK_INT(ns_journal_durable(j), 5);
    ns_journal_close(j);
    defaults();
}

TEST(a_failure_at_any_write_or_sync_leaves_a_journal_that_opens)
{
    for (int at = 1; at <= 60; at++) {
        for (int kind = 0; kind < 2; kind++) {
            new_directory();
            ns_journal_disk = (struct ns_journal_disk){failing_write, failing_sync, read,
                                                       /* segment_bytes */ 900};
            write_error = ENOSPC;
            writes_until_failure = kind == 0 ? at : 0;
            syncs_until_failure = kind == 1 ? at : 0;
            struct ns_journal *j = NULL;
            char error[NS_JOURNAL_ERROR_BYTES];
            int64_t durable = 0;
            if (ns_journal_open(directory, &j, error) == 0) {
                for (int i = 0; i < 40; i++) {
                    if (append_next(j) < 0 || ns_journal_write(j) != 0) {
                        break;
                    }
                    int64_t synced = i % 3 == 0 ? ns_journal_sync(j) : 0;
                    durable = synced > durable ? synced : durable;
                    if (i % 10 == 9) {
                        ns_journal_snapshot(j, ns_journal_written(j), "state", 5);
                    }
                }
                ns_journal_close(j);
            } else {
                CHECK(error[0] != '\0');
            }
            writes_until_failure = syncs_until_failure = 0;
            j = open_journal();
            REQUIRE(j != NULL);
            CHECK((int64_t)ns_journal_last(j) >= durable);
            CHECK_INT(read_from(1), ns_journal_last(j));
            append_many(j, 10);
            CHECK_INT(read_from(1), ns_journal_last(j));
            ns_journal_close(j);
        }
    }
    defaults();
}

/* --- snapshots ------------------------------------------------------------------------------ */

static uint64_t
load_snapshot(const struct ns_journal *j, const char *expected, unsigned expected_damaged)
{
    uint64_t sequence = 0;
    uint8_t *state = NULL;
    size_t bytes = 0;
    unsigned damaged = 0;
    int status = ns_journal_snapshot_load(j, &sequence, &state, &bytes, &damaged);
    CHECK_INT(damaged, expected_damaged);
    CHECK_INT(status, expected == NULL ? -ENOENT : 0);
    if (status == 0) {
        CHECK(bytes == strlen(expected) && memcmp(state, expected, bytes) == 0);
        free(state);
    }
    return sequence;
}

TEST(the_newest_snapshot_is_loaded)
{
    new_directory();
    struct ns_journal *j = open_journal();
    load_snapshot(j, NULL, 0);
    append_many(j, 10);
    CHECK_INT(ns_journal_snapshot(j, 4, "four", 4), 0);
    CHECK_INT(ns_journal_durable(j), 10);
    CHECK_INT(ns_journal_snapshot(j, 9, "", 0), 0);
    CHECK_INT(load_snapshot(j, "", 0), 9);
    CHECK_INT(ns_journal_snapshot(j, 10, "ten", 3), 0);
    CHECK_INT(load_snapshot(j, "ten", 0), 10);
    CHECK_INT(ns_journal_snapshot(j, 11, "ahead", 5), -EINVAL);
    ns_journal_close(j);
    j = open_journal();
    CHECK_INT(load_snapshot(j, "ten", 0), 10);
    ns_journal_close(j);
}

TEST(a_snapshot_damaged_at_any_byte_gives_way_to_the_older_one)
{
    new_directory();
    struct ns_journal *j = open_journal();
    append_many(j, 10);
    CHECK_INT(ns_journal_snapshot(j, 4, "four", 4), 0);
    CHECK_INT(ns_journal_snapshot(j, 10, "the state after ten", 19), 0);
    size_t count;
    uint8_t *bytes = read_bytes("000000000000000a.snap", &count);
    REQUIRE(bytes != NULL);
    for (size_t n = 0; n < count; n++) {
        bytes[n] ^= 1;
        write_bytes("000000000000000a.snap", bytes, count);
        CHECK_INT(load_snapshot(j, "four", 1), 4);
        bytes[n] ^= 1;
        write_bytes("000000000000000a.snap", bytes, n);
        CHECK_INT(load_snapshot(j, "four", 1), 4);
    }
    write_bytes("0000000000000004.snap", bytes, 3);
    load_snapshot(j, NULL, 2);
    ns_journal_close(j);
    free(bytes);
}

TEST(a_snapshot_ahead_of_the_records_says_that_segments_are_missing)
{
    new_directory();
    ns_journal_disk.segment_bytes = 1000;
    struct ns_journal *j = open_journal();
    append_many(j, 50);
    CHECK_INT(ns_journal_snapshot(j, 50, "fifty", 5), 0);
    ns_journal_close(j);
    uint64_t *segments;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int64_t count = ns_journal_list(fd, NS_JOURNAL_SEGMENT, &segments);
    close(fd);
    while (count > 0) {
        char name[NS_JOURNAL_NAME_BYTES];
        ns_journal_name(NS_JOURNAL_SEGMENT, segments[--count], name);
        unlink(path_of(name));
        char error[NS_JOURNAL_ERROR_BYTES];
        CHECK_INT(ns_journal_open(directory, &j, error), -EBADMSG);
        CHECK(strstr(error, "missing") != NULL);
    }
    free(segments);
    defaults();
}

TEST(truncating_keeps_what_is_asked_for_and_what_two_snapshots_need)
{
    new_directory();
    ns_journal_disk.segment_bytes = 1000;
    struct ns_journal *j = open_journal();
    append_many(j, 100);
    CHECK_INT(ns_journal_truncate(j, 90), 0); /* no snapshot */
    CHECK_INT(ns_journal_snapshot(j, 40, "40", 2), 0);
    CHECK_INT(ns_journal_truncate(j, 90), 0); /* one snapshot */
    CHECK_INT(ns_journal_snapshot(j, 60, "60", 2), 0);
    uint64_t bytes_before = ns_journal_bytes(j);
    CHECK(ns_journal_truncate(j, 20) > 0);
    CHECK(ns_journal_first(j) > 1 && ns_journal_first(j) <= 20);
    CHECK(ns_journal_bytes(j) < bytes_before);
    CHECK_INT(read_from(20), 100);
    CHECK(ns_journal_truncate(j, 90) > 0);
    CHECK(ns_journal_first(j) > 20 && ns_journal_first(j) <= 41);
    CHECK_INT(read_from(41), 100);
    CHECK_INT(read_from(1), -ENOENT);
    CHECK_INT(ns_journal_snapshot(j, 95, "95", 2), 0);
    CHECK(ns_journal_truncate(j, UINT64_MAX) > 0);
    CHECK(!exists("0000000000000028.snap") && exists("000000000000003c.snap"));
    CHECK(ns_journal_first(j) > 41 && ns_journal_first(j) <= 61);
    CHECK_INT(load_snapshot(j, "95", 0), 95);
    ns_journal_close(j);
    j = open_journal();
    CHECK(ns_journal_first(j) > 41);
    CHECK_INT(ns_journal_last(j), 100);
    ns_journal_close(j);
    defaults();
}

static unsigned reads;

static ssize_t
counting_read(int fd, void *bytes, size_t count)
{
    reads++;
    return read(fd, bytes, count);
}

TEST(a_truncation_that_removes_nothing_reads_no_snapshot)
{
    new_directory();
    ns_journal_disk.segment_bytes = 1000;
    struct ns_journal *j = open_journal();
    append_many(j, 100);
    CHECK_INT(ns_journal_snapshot(j, 40, "40", 2), 0);
    CHECK_INT(ns_journal_snapshot(j, 60, "60", 2), 0);
    ns_journal_disk.read = counting_read;
    CHECK(ns_journal_truncate(j, 90) > 0);
    CHECK(reads > 0);
    reads = 0;
    CHECK_INT(ns_journal_truncate(j, 90), 0); /* what lies before the older one is gone */
    CHECK_INT(ns_journal_snapshot(j, 80, "80", 2), 0);
    CHECK_INT(reads, 0);
    CHECK(ns_journal_truncate(j, 30) > 0); /* a snapshot goes, whoever needs old records */
    reads = 0;
    CHECK_INT(ns_journal_truncate(j, 30), 0);
    CHECK_INT(reads, 0);
    ns_journal_close(j);
    defaults();
}

TEST(a_damaged_snapshot_counts_for_nothing_when_truncating)
{
    new_directory();
    ns_journal_disk.segment_bytes = 1000;
    struct ns_journal *j = open_journal();
    append_many(j, 100);
    CHECK_INT(ns_journal_snapshot(j, 40, "40", 2), 0);
    CHECK_INT(ns_journal_snapshot(j, 60, "60", 2), 0);
    CHECK_INT(ns_journal_snapshot(j, 80, "80", 2), 0);
    write_bytes("0000000000000050.snap", (const uint8_t *)"?", 1);
    CHECK(ns_journal_truncate(j, 90) > 0);
    CHECK(ns_journal_first(j) <= 41);
    CHECK_INT(load_snapshot(j, "60", 1), 60);
    ns_journal_close(j);
    defaults();
}

/* --- threads -------------------------------------------------------------------------------- */

#define FOLLOWED 20000

static struct ns_journal *shared;
static _Atomic bool written_all;

static void *
follow(void *unused)
{
    (void)unused;
    struct ns_journal_reader *r;
    char error[NS_JOURNAL_ERROR_BYTES];
    int status = ns_journal_reader_open(directory, 1, &r, error);
    CHECK_INT(status, 0);
    uint64_t last = 0;
    while (status >= 0 && last < FOLLOWED) {
        struct ns_journal_record record;
        /* To what is written, and beyond it: a record that is not whole is not there yet. */
        uint64_t until = last % 2 == 0 ? ns_journal_written(shared) : UINT64_MAX;
        status = ns_journal_reader_next(r, until, &record);
        if (status == 1) {
            last++;
            if (!is_record(&record, last)) {
                NS_FAIL("record %llu is wrong", (unsigned long long)last);
                break;
            }
        }
    }
    CHECK_STR(ns_journal_reader_error(r), "");
    CHECK_INT(last, FOLLOWED);
    ns_journal_reader_close(r);
    return NULL;
}

static void *
keep_syncing(void *unused)
{
    (void)unused;
    int64_t before = 0;
    while (!atomic_load(&written_all)) {
        int64_t durable = ns_journal_sync(shared);
        CHECK(durable >= before);
        before = durable;
    }
    return NULL;
}

TEST(a_reader_follows_and_a_syncer_syncs_while_the_writer_writes)
{
    new_directory();
    ns_journal_disk.segment_bytes = 50000;
    shared = open_journal();
    atomic_store(&written_all, false);
    pthread_t reader;
    pthread_t syncer;
    REQUIRE(pthread_create(&reader, NULL, follow, NULL) == 0);
    REQUIRE(pthread_create(&syncer, NULL, keep_syncing, NULL) == 0);
    for (int i = 0; i < FOLLOWED; i++) {
        CHECK(append_next(shared) > 0);
        if (i % 7 == 0) {
            CHECK_INT(ns_journal_write(shared), 0);
        }
    }
    CHECK_INT(ns_journal_write(shared), 0);
    atomic_store(&written_all, true);
    pthread_join(reader, NULL);
    pthread_join(syncer, NULL);
    CHECK_INT(ns_journal_sync(shared), FOLLOWED);
    ns_journal_close(shared);
    defaults();
}
