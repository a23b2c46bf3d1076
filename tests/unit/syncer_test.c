/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "collector/journal.h"
#include "collector/journal_io.h"
#include "collector/limits.h"
#include "collector/syncer.h"
#include "protocol/zmtp.h"
#include "tests/harness.h"

static char place[64];
static struct ns_journal *journal;
static struct ns_syncer *syncer;
static int syncs;
static int sync_errno;

static int
sync_counted(int fd)
{
    __atomic_add_fetch(&syncs, 1, __ATOMIC_RELAXED);
    if (sync_errno != 0) {
        errno = sync_errno;
        return -1;
    }
    return fdatasync(fd);
}

static void
start(void)
{
    char error[NS_JOURNAL_ERROR_BYTES] = "";
    memcpy(place, "/tmp/nullspend-syncer-XXXXXX", sizeof "/tmp/nullspend-syncer-XXXXXX");
    if (mkdtemp(place) == NULL || ns_journal_open(place, &journal, error) != 0 ||
        ns_syncer_start(journal, &syncer) != 0) {
        NS_FAIL("cannot start: %s", error);
        exit(1);
    }
    sync_errno = 0;
    ns_journal_disk.sync = sync_counted;
    __atomic_store_n(&syncs, 0, __ATOMIC_RELAXED);
}

static void
end(void)
{
    char command[128];
    ns_syncer_stop(syncer);
    ns_journal_close(journal);
    ns_journal_disk.sync = fdatasync;
    snprintf(command, sizeof command, "rm -rf %s", place);
    CHECK_INT(system(command), 0);
}

static void
append(void)
{
    struct iovec part = {"record", 6};
    CHECK(ns_journal_append(journal, 1, 1, &part, 1) > 0);
    CHECK_INT(ns_journal_write(journal), 0);
}

static void
await_event(void)
{
    struct pollfd event = {ns_syncer_event_fd(syncer), POLLIN, 0};
    CHECK_INT(poll(&event, 1, -1), 1);
    ns_syncer_drain(syncer);
}

static void
await_durable(void)
{
    while (ns_journal_durable(journal) < ns_journal_last(journal)) {
        await_event();
    }
}

TEST(what_is_wanted_becomes_durable_and_is_told)
{
    start();
    append();
    ns_syncer_want(syncer, ns_journal_last(journal), false);
    await_durable();
    CHECK_INT(ns_syncer_error(syncer), 0);
    CHECK_INT(syncs, 1);
    end();
}

/* A lower bound of the time that passes: a slow machine only adds to it. */
TEST(syncs_keep_their_distance_so_that_reports_share_them)
{
    start();
    int64_t begin_ns = ns_monotonic_ns();
    for (int i = 0; i < 10; i++) {
        append();
        ns_syncer_want(syncer, ns_journal_last(journal), false);
        await_durable();
    }
    CHECK(ns_monotonic_ns() - begin_ns >= 9 * NS_SYNC_GAP_NS);
    end();
}

TEST(what_is_wanted_while_a_sync_is_waited_for_is_part_of_it)
{
    start();
    append();
    ns_syncer_want(syncer, ns_journal_last(journal), false);
    await_durable();
    for (int i = 0; i < 1000; i++) {
        append();
        ns_syncer_want(syncer, ns_journal_last(journal), false);
    }
    await_durable();
    CHECK(syncs < 500);
    end();
}

TEST(what_is_urgent_does_not_keep_the_distance)
{
    start();
    int64_t fastest_ns = INT64_MAX;
    for (int i = 0; i < 100; i++) {
        append();
        int64_t wanted_ns = ns_monotonic_ns();
        ns_syncer_want(syncer, ns_journal_last(journal), false);
        ns_syncer_want(syncer, ns_journal_last(journal), true);
        await_durable();
        int64_t took_ns = ns_monotonic_ns() - wanted_ns;
        fastest_ns = i > 0 && took_ns < fastest_ns ? took_ns : fastest_ns;
    }
    CHECK(fastest_ns < NS_SYNC_GAP_NS / 2); /* the disk alone */
    end();
}

TEST(stopping_waits_for_no_distance_and_leaves_all_durable)
{
    start();
    append();
    ns_syncer_want(syncer, ns_journal_last(journal), false);
    await_durable();
    append();
    ns_syncer_want(syncer, ns_journal_last(journal), false);
    ns_syncer_stop(syncer);
    syncer = NULL;
    CHECK_INT(ns_journal_durable(journal), ns_journal_last(journal));
    end();
}

TEST(a_disk_that_refuses_is_told_and_nothing_is_durable)
{
    start();
    sync_errno = EIO;
    append();
    ns_syncer_want(syncer, ns_journal_last(journal), false);
    while (ns_syncer_error(syncer) == 0) {
        await_event();
    }
    CHECK_INT(ns_syncer_error(syncer), -EIO);
    CHECK_INT(ns_journal_durable(journal), 0);
    end();
}

TEST(a_snapshot_is_written_after_what_it_stands_for)
{
    start();
    append();
    uint8_t *state = malloc(5);
    memcpy(state, "state", 5);
    CHECK(ns_syncer_snapshot(syncer, 1, state, 5));
    while (ns_syncer_snapshot_sequence(syncer) == 0) {
        await_event();
    }
    CHECK_INT(ns_syncer_snapshot_sequence(syncer), 1);
    CHECK_INT(ns_journal_durable(journal), 1);
    end();
}
