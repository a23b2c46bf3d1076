/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal under group commit: one thread appends and writes as fast as it can while another
 * syncs without pause, so that each sync makes durable whatever came in during the one before. The
 * references of the same run: a sync after every record (no group commit), and write(2) of the
 * same bytes without any sync.
 *
 *     build/bench/journal [RECORDS [DIRECTORY]]   (DIRECTORY on the disk to be measured)
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collector/journal.h"
#include "collector/journal_io.h"

#define PAYLOAD_BYTES 600
#define SINGLE_RECORDS 500
/* Records that the writer gives to the kernel at once, as the gate does with what one turn of its
 * loop received. */
#define TURN_RECORDS 16

static uint8_t payload[PAYLOAD_BYTES];
static const struct iovec part = {payload, sizeof(payload)};
static char directory[256];
static struct ns_journal *journal;
static _Atomic bool finished;
static uint64_t syncs;

static uint64_t
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
print_rate(const char *what, uint64_t count, uint64_t took_ns)
{
    uint64_t per_s = (uint64_t)((unsigned __int128)count * 1000000000u / (took_ns + 1));
    printf("journal %-34s %9llu /s  %8llu ns each\n", what, (unsigned long long)per_s,
           (unsigned long long)(took_ns / (count + 1)));
}

static void
must(bool done, const char *what)
{
    if (!done) {
        fprintf(stderr, "journal bench: %s failed in %s\n", what, directory);
        exit(1);
    }
}

static void *
sync_without_pause(void *unused)
{
    (void)unused;
    while (!atomic_load(&finished)) {
        uint64_t before = ns_journal_durable(journal);
        int64_t durable = ns_journal_sync(journal);
        must(durable >= 0, "sync");
        syncs += (uint64_t)durable > before;
    }
    return NULL;
}

static uint64_t
grouped(uint64_t records)
{
    pthread_t syncer;
    uint64_t start = now_ns();
    must(pthread_create(&syncer, NULL, sync_without_pause, NULL) == 0, "thread");
    for (uint64_t i = 1; i <= records; i++) {
        must(ns_journal_append(journal, 1, 1, &part, 1) > 0, "append");
        if (i % TURN_RECORDS == 0) {
            must(ns_journal_write(journal) == 0, "write");
        }
    }
    must(ns_journal_write(journal) == 0, "write");
    atomic_store(&finished, true);
    pthread_join(syncer, NULL);
    must(ns_journal_sync(journal) >= 0, "sync");
    return now_ns() - start;
}

static uint64_t
one_by_one(uint64_t records)
{
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < records; i++) {
        must(ns_journal_append(journal, 1, 1, &part, 1) > 0, "append");
        must(ns_journal_write(journal) == 0 && ns_journal_sync(journal) > 0, "sync");
    }
    return now_ns() - start;
}

static uint64_t
plain_writes(uint64_t records)
{
    char path[300];
    static uint8_t bytes[(PAYLOAD_BYTES + NS_JOURNAL_RECORD_HEAD_BYTES) * TURN_RECORDS];
    snprintf(path, sizeof(path), "%s/plain", directory);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0, "open");
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < records; i += TURN_RECORDS) {
        must(write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes), "write");
    }
    uint64_t took = now_ns() - start;
    close(fd);
    unlink(path);
    return took;
}

static void
remove_files(void)
{
    char path[300];
    uint64_t *segments;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int64_t count = ns_journal_list(fd, NS_JOURNAL_SEGMENT, &segments);
    for (int64_t i = 0; i < count; i++) {
        char name[NS_JOURNAL_NAME_BYTES];
        ns_journal_name(NS_JOURNAL_SEGMENT, segments[i], name);
        snprintf(path, sizeof(path), "%s/%s", directory, name);
        unlink(path);
    }
    free(segments);
    close(fd);
    rmdir(directory);
}

int
main(int argc, char **argv)
{
    uint64_t records = argc > 1 ? strtoull(argv[1], NULL, 10) : 300000;
    snprintf(directory, sizeof(directory), "%s/ns_bench_XXXXXX", argc > 2 ? argv[2] : "/var/tmp");
    must(mkdtemp(directory) != NULL, "mkdtemp");
    char error[NS_JOURNAL_ERROR_BYTES];
    if (ns_journal_open(directory, &journal, error) != 0) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    print_rate("reference: write(2), no sync", records, plain_writes(records));
    print_rate("reference: a sync for each", SINGLE_RECORDS, one_by_one(SINGLE_RECORDS));
    print_rate("durable record (group commit)", records, grouped(records));
    printf("journal %-34s %9llu\n", "records made durable by one sync",
           (unsigned long long)(records / (syncs + 1)));
    ns_journal_close(journal);
    remove_files();
    return 0;
}
