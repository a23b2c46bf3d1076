/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The follower. Postgres alone knows how far it has come: after any failure the connection is
 * dropped, and position and reader are taken up again from what Postgres says.
 *
 * The position counts records of one journal, so the journal has a name (the file `journal.id`
 * beside its segments). A database that was fed from another journal is followed from the first
 * record that is kept; rows that are there already stay as they are.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/store_batch.h"
#include "collector/store_migrate.h"
#include "collector/store_state.h"

/* After a small batch: lets calls gather, so that a slow trickle is not one transaction each. */
#define NS_FOLLOW_LINGER_MS 10
#define NS_FOLLOW_SMALL_BATCH 256
/* An idle follower looks at the calendar this often. */
#define NS_FOLLOW_IDLE_MS 600000

struct follower {
    struct ns_store *store;
    struct ns_link link;
    struct ns_batch batch;
    uint64_t position;
    uint64_t careful_until; /* a batch up to here was refused: one record at a time */
    bool said_away;
};

/* --- the journal's name ----------------------------------------------------------------------- */

static int
read_id(const char *path, char id[static NS_UUID_TEXT_BYTES])
{
    struct ns_uuid uuid;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    ssize_t n = read(fd, id, NS_UUID_TEXT_BYTES - 1);
    close(fd);
    id[n > 0 ? n : 0] = '\0';
    return n == NS_UUID_TEXT_BYTES - 1 && ns_uuid_parse(id, (size_t)n, &uuid) == 0 ? 0 : -EBADMSG;
}

/* Writes a new name, whole or not at all. */
static int
write_id(const char *directory, const char *path)
{
    char fresh[PATH_MAX], id[NS_UUID_TEXT_BYTES];
    struct ns_uuid uuid = ns_uuid_new();
    ns_uuid_format(&uuid, id);
    snprintf(fresh, sizeof fresh, "%.4000s/journal.id.tmp", directory);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -errno;
    }
    int result = 0;
    if (write(fd, id, NS_UUID_TEXT_BYTES - 1) != NS_UUID_TEXT_BYTES - 1 || fsync(fd) < 0) {
        result = errno != 0 ? -errno : -EIO;
    }
    close(fd);
    return result == 0 && rename(fresh, path) < 0 ? -errno : result;
}

static int
find_id(struct follower *f)
{
    char path[PATH_MAX];
    const char *directory = f->store->journal_directory;
    snprintf(path, sizeof path, "%.4000s/journal.id", directory);
    int result = read_id(path, f->batch.journal_id);
    if (result < 0) {
        result = write_id(directory, path);
        if (result == 0) {
            result = read_id(path, f->batch.journal_id);
        }
    }
    if (result < 0) {
        snprintf(f->link.error, sizeof f->link.error, "%.200s: %s", path, strerror(-result));
    }
    return result;
}

/* --- connecting ------------------------------------------------------------------------------- */

/* Only one collector writes into a database; a killed one's server process may still be ending. */
static int
lock_database(struct follower *f)
{
    PGresult *locked = ns_link_query(
        &f->link, "select pg_try_advisory_lock(hashtextextended('nullspend.follower', 0))", 0,
        NULL);
    if (locked == NULL) {
        return -EIO;
    }
    bool yes = PQgetvalue(locked, 0, 0)[0] == 't';
    PQclear(locked);
    if (!yes) {
        snprintf(f->link.error, sizeof f->link.error,
                 "another collector writes into this database");
        return -EIO;
    }
    return 0;
}

static int
read_position(struct follower *f)
{
    const char *parameters[] = {f->batch.journal_id, f->store->collector_version};
    PGresult *answer =
        ns_link_query(&f->link,
                      "update nullspend.collector_state set journal_position ="
                      " case when instance = $1 then journal_position else 0 end, instance = $1,"
                      " collector_version = $2, updated_at = now() returning journal_position",
                      2, parameters);
    if (answer == NULL) {
        return -EIO;
    }
    int result = PQntuples(answer) == 1 ? 0 : -EIO;
    if (result == 0) {
        f->position = strtoull(PQgetvalue(answer, 0, 0), NULL, 10);
    } else {
        snprintf(f->link.error, sizeof f->link.error, "nullspend.collector_state has no row");
    }
    PQclear(answer);
    return result;
}

/* The number in the name of the oldest segment; 0 where there is none. */
static uint64_t
oldest_segment(const char *directory)
{
    uint64_t oldest = 0;
    DIR *files = opendir(directory);
    if (files == NULL) {
        return 0;
    }
    struct dirent *entry;
    while ((entry = readdir(files)) != NULL) {
        char *end;
        uint64_t first = strtoull(entry->d_name, &end, 16);
        if (end == entry->d_name + 16 && strcmp(end, ".seg") == 0 &&
            (oldest == 0 || first < oldest)) {
            oldest = first;
        }
    }
    closedir(files);
    return oldest;
}

/* Says that the position had to be moved, since journal or database was restored from a copy. */
static void
say_moved(struct follower *f, uint64_t to)
{
    char text[NS_LINK_ERROR_BYTES];
    snprintf(text, sizeof text,
             "Postgres has the journal up to record %" PRIu64 ", which the journal does not: "
             "following after record %" PRIu64,
             f->position, to);
    fprintf(stderr, "nullspendd: %s\n", text);
    ns_store_failed(f->store, text);
}

/* Opens the reader after the position, or at the oldest record where that one is not kept. */
static int
open_reader(struct follower *f)
{
    char error[NS_JOURNAL_ERROR_BYTES] = "";
    const char *directory = f->store->journal_directory;
    struct ns_batch *batch = &f->batch;
    if (batch->reader != NULL) {
        ns_journal_reader_close(batch->reader);
        batch->reader = NULL;
    }
    batch->has_next = false;
    int result = ns_journal_reader_open(directory, f->position + 1, &batch->reader, error);
    uint64_t oldest = result == -ENOENT ? oldest_segment(directory) : 0;
    if (oldest > 0) {
        if (f->position > 0) {
            say_moved(f, oldest - 1);
        }
        result = ns_journal_reader_open(directory, oldest, &batch->reader, error);
        f->position = result == 0 ? oldest - 1 : f->position;
    }
    if (result < 0) {
        snprintf(f->link.error, sizeof f->link.error, "journal: %.200s",
                 error[0] != '\0' ? error : strerror(-result));
    }
    return result;
}

/* A position past all that is durable: the journal was restored from an older copy. What it has is
 * in Postgres; what comes next is not, though its numbers are. */
static int
go_back(struct follower *f, uint64_t durable)
{
    say_moved(f, durable);
    f->position = durable;
    return open_reader(f);
}

static void
set_connected(struct follower *f, bool connected)
{
    struct ns_store *store = f->store;
    pthread_mutex_lock(&store->lock);
    bool changed = store->state.connected != connected;
    store->state.connected = connected;
    store->state.position = connected ? f->position : store->state.position;
    if (connected && f->position >= atomic_load(&store->durable)) {
        store->pending_at_ns = 0;
    }
    pthread_mutex_unlock(&store->lock);
    if (connected && f->said_away) {
        fprintf(stderr, "nullspendd: Postgres is back\n");
        f->said_away = false;
    }
    if (!connected && !f->said_away) {
        fprintf(stderr, "nullspendd: Postgres does not take calls: %s\n", f->link.error);
        f->said_away = true;
    }
    if (changed) {
        ns_store_wake(store->event_fd);
    }
}

static int
connect_follower(struct follower *f)
{
    int result = ns_link_open(&f->link, f->store->database_url, "nullspendd follower");
    if (result == 0) {
        result = ns_store_migrate(&f->link);
    }
    if (result == 0) {
        result = lock_database(f);
    }
    if (result == 0) {
        result = find_id(f);
    }
    if (result == 0) {
        result = read_position(f);
    }
    if (result == 0) {
        result = ns_batch_prepare(&f->batch, &f->link, ns_store_now_ns());
    }
    if (result == 0) {
        result = open_reader(f);
    }
    if (result == 0) {
        set_connected(f, true);
    }
    return result;
}

/* --- following -------------------------------------------------------------------------------- */

/* A refusal of the data itself (classes 21, 22, 23), not of the moment. */
static bool
is_data_error(const struct ns_link *link)
{
    return strncmp(link->sqlstate, "21", 2) == 0 || strncmp(link->sqlstate, "22", 2) == 0 ||
           strncmp(link->sqlstate, "23", 2) == 0;
}

static void
note_written(struct follower *f, size_t rows)
{
    struct ns_store *store = f->store;
    f->position = f->batch.last;
    pthread_mutex_lock(&store->lock);
    store->state.position = f->position;
    store->state.rows += rows;
    /* The next batch says more exactly how old its first record is. */
    store->pending_at_ns = f->position < atomic_load(&store->durable) ? f->batch.next.at_ns : 0;
    pthread_mutex_unlock(&store->lock);
    ns_store_wake(store->event_fd);
}

static int
refuse(struct follower *f, const char *why)
{
    char text[NS_LINK_ERROR_BYTES];
    snprintf(text, sizeof text, "record %" PRIu64 " of the journal is put aside: %.150s",
             f->batch.last, why);
    fprintf(stderr, "nullspendd: %s\n", text);
    ns_store_failed(f->store, text);
    int result = ns_batch_refuse(&f->batch, &f->link, why);
    if (result == 0) {
        note_written(f, 0);
    }
    return result;
}

static int
write_batch(struct follower *f)
{
    struct ns_batch *batch = &f->batch;
    if (batch->refused != NULL) {
        return refuse(f, batch->refused);
    }
    int result = ns_batch_write(batch, &f->link);
    if (result == 0) {
        note_written(f, batch->calls.count + batch->denials.count);
        return 0;
    }
    if (!ns_link_is_up(&f->link) || !is_data_error(&f->link)) {
        return result;
    }
    if (batch->records == 1) {
        char why[NS_LINK_ERROR_BYTES];
        memcpy(why, f->link.error, sizeof why);
        return refuse(f, why);
    }
    ns_store_failed(f->store, f->link.error);
    f->careful_until = batch->last;
    return open_reader(f);
}

/* Writes one batch, or waits for more. Returns 0, 1 when all is done and the store stops, or a
 * negative errno with link.error. */
static int
step(struct follower *f)
{
    struct ns_store *store = f->store;
    struct ns_batch *batch = &f->batch;
    ns_store_clear(store->follower_wake_fd);
    bool stopping = atomic_load(&store->stopping); /* before durable: what it says last counts */
    uint64_t until = atomic_load(&store->durable);
    int result = ns_batch_days_ahead(batch, &f->link, ns_store_now_ns());
    if (result == 0 && until > 0 && f->position > until) {
        result = go_back(f, until);
    }
    if (result < 0) {
        return result;
    }
    batch->records_max = f->position < f->careful_until ? 1 : NS_BATCH_RECORDS_MAX;
    result = f->position < until ? ns_batch_fill(batch, until) : 0;
    if (result < 0) {
        snprintf(f->link.error, sizeof f->link.error,
                 "the journal is damaged after record %" PRIu64, f->position);
        return result;
    }
    if (result > 0) {
        pthread_mutex_lock(&store->lock);
        store->pending_at_ns = batch->first_at_ns;
        pthread_mutex_unlock(&store->lock);
        result = write_batch(f);
        if (result == 0 && batch->records < NS_FOLLOW_SMALL_BATCH && !stopping &&
            f->position >= f->careful_until) {
            ns_store_pause(store, NS_FOLLOW_LINGER_MS);
        }
        return result;
    }
    return stopping ? 1 : ns_link_wait(&f->link, store->follower_wake_fd, NS_FOLLOW_IDLE_MS);
}

void *
ns_store_follow(void *argument)
{
    struct ns_store *store = argument;
    struct follower *f = calloc(1, sizeof *f);
    int pause_ms = NS_STORE_PAUSE_MS_MIN;
    if (f == NULL || ns_batch_init(&f->batch) < 0) {
        ns_store_failed(store, "no memory for the follower");
        ns_store_thread_ended(store);
        free(f);
        return NULL;
    }
    f->store = store;
    f->link.abandon_fd = store->abandon_fd;
    for (;;) {
        bool connecting = f->link.connection == NULL;
        int result = connecting ? connect_follower(f) : step(f);
        if (result == 0) {
            pause_ms = connecting ? pause_ms : NS_STORE_PAUSE_MS_MIN;
            continue;
        }
        bool last = result == 1 || result == -ECANCELED || atomic_load(&store->stopping);
        if (result < 0 && result != -ECANCELED) {
            ns_store_failed(store, f->link.error);
            set_connected(f, false);
        }
        ns_link_close(&f->link);
        if (last || ns_store_pause(store, pause_ms) < 0) {
            break;
        }
        pause_ms = pause_ms * 2 < NS_STORE_PAUSE_MS_MAX ? pause_ms * 2 : NS_STORE_PAUSE_MS_MAX;
    }
    ns_link_close(&f->link);
    ns_batch_free(&f->batch);
    free(f);
    ns_store_thread_ended(store);
    return NULL;
}
