/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The follower: calls a second from a journal into nullspend.calls (journal read, rows made, COPY
 * into staging, insert into the day's partition with its three indexes), beside a bare COPY of rows
 * of the same size into a table without an index, in one run, on a private Postgres made for it.
 *
 *     build/bench/store [CALLS]
 */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "collector/cluster.h"
#include "collector/store.h"
#include "collector/store_link.h"
#include "collector/store_rows.h"
#include "tests/records.h"

#define CALLS 300000
#define GOAL 50000
#define BATCH_BYTES (4 << 20)

static int
remove_entry(const char *path, const struct stat *st, int flag, struct FTW *where)
{
    (void)st;
    (void)flag;
    (void)where;
    return remove(path);
}

static int64_t
now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void
check(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "bench/store: %s\n", what);
        exit(1);
    }
}

/* A journal of so many reports, one a millisecond. Returns its last sequence. */
static uint64_t
write_journal(const char *directory, struct made *made, uint64_t calls)
{
    struct ns_journal *journal;
    char error[NS_JOURNAL_ERROR_BYTES];
    check(ns_journal_open(directory, &journal, error) == 0, error);
    for (uint64_t n = 0; n < calls; n++) {
        size_t bytes = made_report(made, n, INT64_C(1795132800000000000) + (int64_t)n * 1000000);
        struct iovec part = {made->payload, bytes};
        check(ns_journal_append(journal, NS_RECORD_REPORT, made->record.at_ns, &part, 1) > 0,
              "the journal takes nothing");
        if (n % 1024 == 0) {
            ns_journal_write(journal);
        }
    }
    ns_journal_write(journal);
    uint64_t last = ns_journal_last(journal);
    ns_journal_close(journal);
    return last;
}

/* Seconds for the follower to write them all. */
static double
follow(const char *url, const char *directory, uint64_t last, uint64_t calls)
{
    struct ns_store_options options = {url, directory, "bench"};
    struct ns_store *store;
    struct ns_store_state state = {0};
    check(ns_store_start(&options, &store) == 0, "the store does not start");
    while (!state.connected) {
        struct pollfd event = {ns_store_event_fd(store), POLLIN, 0};
        poll(&event, 1, -1);
        ns_store_drain(store);
        ns_store_state(store, &state);
    }
    int64_t start = now_ns();
    ns_store_durable(store, last);
    while (state.position < last) {
        struct pollfd event = {ns_store_event_fd(store), POLLIN, 0};
        poll(&event, 1, -1);
        ns_store_drain(store);
        ns_store_state(store, &state);
    }
    int64_t end = now_ns();
    ns_store_stop(store, end + INT64_C(5000000000));
    check(state.rows == calls, "the follower wrote another number of rows");
    return (double)(end - start) / 1e9;
}

/* Seconds to COPY the same rows, made beforehand, into a table without an index. */
static double
bare_copy(const char *url, struct made *made, uint64_t calls, size_t *row_bytes)
{
    struct ns_link link = {.abandon_fd = -1};
    struct ns_rows rows, none;
    uint8_t *bytes = malloc(BATCH_BYTES + NS_ROW_BYTES_MAX);
    int64_t spent = 0;
    check(bytes != NULL && ns_link_open(&link, url, "bench") == 0, link.error);
    check(ns_link_run(&link, "create table bare (like nullspend.calls)") == 0, link.error);
    for (uint64_t n = 0; n < calls;) {
        ns_rows_begin(&rows, bytes, BATCH_BYTES + NS_ROW_BYTES_MAX);
        none = rows;
        while (n < calls && rows.used < BATCH_BYTES) {
            struct ns_row_facts facts;
            const char *why;
            made_report(made, n, INT64_C(1795132800000000000) + (int64_t)n * 1000000);
            check(ns_rows_add(&made->record, &rows, &none, &facts, &why) == 0, "no row");
            n++;
        }
        ns_rows_end(&rows);
        *row_bytes = rows.used / rows.count;
        int64_t start = now_ns();
        check(ns_link_copy(&link,
                           "copy bare (" NS_ROWS_CALL_COLUMNS ") from stdin"
                           " (format binary)",
                           rows.bytes, rows.used) == 0,
              link.error);
        spent += now_ns() - start;
    }
    ns_link_close(&link);
    free(bytes);
    return (double)spent / 1e9;
}

int
main(int argc, char **argv)
{
    char state[] = "/tmp/nsbs.XXXXXX", journal[64], url[NS_CLUSTER_URL_BYTES];
    char error[NS_CLUSTER_ERROR_BYTES];
    struct ns_cluster *cluster;
    size_t row_bytes = 0;
    uint64_t calls = argc > 1 ? strtoull(argv[1], NULL, 10) : CALLS;
    struct made *made = malloc(sizeof *made);
    check(made != NULL && mkdtemp(state) != NULL, "no temporary directory");
    check(ns_cluster_start(state, &cluster, url, error) == 0, error);
    snprintf(journal, sizeof journal, "%s/journal", state);
    check(mkdir(journal, 0700) == 0, "no journal directory");
    uint64_t last = write_journal(journal, made, calls);
    double following = follow(url, journal, last, calls);
    double bare = bare_copy(url, made, calls, &row_bytes);
    double rate = (double)calls / following;
    printf("follower   %9.0f calls/s  (%" PRIu64 " calls, %zu bytes a row; goal %d: %s)\n", rate,
           calls, row_bytes, GOAL, rate >= GOAL ? "reached" : "MISSED");
    printf("bare COPY  %9.0f rows/s   (same rows, no index, no journal): follower takes %.2f times "
           "as long\n",
           (double)calls / bare, following / bare);
    ns_cluster_stop(cluster);
    nftw(state, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(made);
    return 0;
}
