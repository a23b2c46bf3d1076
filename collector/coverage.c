/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/coverage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/utf8.h"
#include "collector/buffer.h"

#define BUCKETS (2 * NS_COVERAGE_ROWS_MAX)

_Static_assert(NS_COVERAGE_ROWS_MAX < UINT16_MAX, "places fit");

/* A call of a row that is known changes nothing but this moment: not written more often. */
#define CALLED_AGAIN_NS INT64_C(10000000000)

struct key {
    const char *hostname;
    struct ns_text host;
    uint64_t start_ticks;
    uint32_t pid;
};

static size_t
bucket_of(const struct key *key)
{
    /* Servers and machines are named by who may speak to the collector, and the table is bounded.
     */
    static const uint8_t secret[16] = "coverage";
    uint64_t hash = ns_siphash64(secret, key->hostname, strlen(key->hostname));
    hash ^= ns_siphash64(secret, key->host.text, key->host.bytes) * 3;
    hash ^= key->start_ticks * UINT64_C(0x9e3779b97f4a7c15);
    hash ^= key->pid * UINT64_C(0xc2b2ae3d27d4eb4f);
    return (size_t)((hash ^ hash >> 29) % BUCKETS);
}

static struct key
key_of(const struct ns_coverage_row *row)
{
    return (struct key){row->hostname, ns_text_of(row->host), row->start_ticks, row->pid};
}

static bool
is_process(const struct ns_coverage_row *row, const char *hostname, uint32_t pid,
           uint64_t start_ticks)
{
    return row->pid == pid && row->start_ticks == start_ticks &&
           strcmp(row->hostname, hostname) == 0;
}

static struct ns_coverage_row *
find(const struct ns_coverage_table *table, const struct key *key)
{
    if (table->row == NULL) {
        return NULL;
    }
    for (uint16_t at = table->bucket[bucket_of(key)]; at != 0; at = table->next[at - 1]) {
        struct ns_coverage_row *row = &table->row[at - 1];
        if (is_process(row, key->hostname, key->pid, key->start_ticks) &&
            strlen(row->host) == key->host.bytes &&
            memcmp(row->host, key->host.text, key->host.bytes) == 0) {
            return row;
        }
    }
    return NULL;
}

static int
make_room(struct ns_coverage_table *table)
{
    if (table->row != NULL) {
        return 0;
    }
    table->row = calloc(NS_COVERAGE_ROWS_MAX, sizeof *table->row);
    table->bucket = calloc(BUCKETS, sizeof *table->bucket);
    table->next = calloc(NS_COVERAGE_ROWS_MAX, sizeof *table->next);
    table->seen_ns = calloc(NS_COVERAGE_ROWS_MAX, sizeof *table->seen_ns);
    if (table->row == NULL || table->bucket == NULL || table->next == NULL ||
        table->seen_ns == NULL) {
        ns_coverage_free(table);
        return -ENOMEM;
    }
    return 0;
}

void
ns_coverage_free(struct ns_coverage_table *table)
{
    free(table->row);
    free(table->bucket);
    free(table->next);
    free(table->seen_ns);
    *table = (struct ns_coverage_table){0};
}

/* Cut at a character where there is no room for all. */
static void
copy(struct ns_text text, char *into, size_t room)
{
    text.bytes = (uint32_t)ns_utf8_cut(text.text, text.bytes, room - 1);
    ns_text_copy(text, into, room);
}

static void
unlink_row(struct ns_coverage_table *table, size_t place)
{
    struct key key = key_of(&table->row[place]);
    uint16_t *link = &table->bucket[bucket_of(&key)];
    while (*link != place + 1) {
        link = &table->next[*link - 1];
    }
    *link = table->next[place];
}

/* The place for one more: free, or that of the row that was seen least lately. */
static size_t
take_place(struct ns_coverage_table *table)
{
    if (table->count < NS_COVERAGE_ROWS_MAX) {
        return table->count++;
    }
    size_t oldest = 0;
    for (size_t i = 1; i < table->count; i++) {
        if (table->seen_ns[i] < table->seen_ns[oldest]) {
            oldest = i;
        }
    }
    table->evicted++;
    table->changed -= table->row[oldest].changed ? 1 : 0;
    unlink_row(table, oldest);
    return oldest;
}

static void
note_change(struct ns_coverage_table *table, struct ns_coverage_row *row)
{
    table->changed += row->changed ? 0 : 1;
    row->changed = true;
}

static void
see(struct ns_coverage_table *table, struct ns_coverage_row *row, int64_t first_ns, int64_t last_ns)
{
    if (row->first_seen_ns == 0 || first_ns < row->first_seen_ns) {
        row->first_seen_ns = first_ns;
    }
    if (last_ns > row->last_seen_ns) {
        row->last_seen_ns = last_ns;
        table->seen_ns[row - table->row] = last_ns;
    }
}

/* The row of a key, made where it is new; NULL without memory. */
static struct ns_coverage_row *
take_row(struct ns_coverage_table *table, const struct key *key)
{
    struct ns_coverage_row *row = find(table, key);
    if (row != NULL || make_room(table) != 0) {
        return row;
    }
    size_t place = take_place(table);
    table->seen_ns[place] = 0;
    row = &table->row[place];
    *row = (struct ns_coverage_row){
        .pid = key->pid, .start_ticks = key->start_ticks, .uid = UINT32_MAX};
    copy(ns_text_of(key->hostname), row->hostname, sizeof row->hostname);
    copy(key->host, row->host, sizeof row->host);
    struct key copied = key_of(row);
    uint16_t *bucket = &table->bucket[bucket_of(&copied)];
    table->next[place] = *bucket;
    *bucket = (uint16_t)(place + 1);
    note_change(table, row);
    return row;
}

/* What the agent's evidence comes to, unless calls have shown it. */
static void
govern(struct ns_coverage_row *row, const struct ns_coverage *told, bool refused)
{
    if (row->called) {
        return;
    }
    row->governor =
        (uint8_t)ns_governor_find(told->governed_by.text, (size_t)told->governed_by.bytes);
    row->darkness = (uint8_t)ns_darkness_find(told->reason.text, told->reason.bytes);
    if (refused && (row->governor == NS_GOVERNOR_PRELOAD || row->governor == NS_GOVERNOR_DETOUR)) {
        row->governor = NS_GOVERNOR_DARK;
        row->darkness = NS_DARKNESS_LIBRARY_REFUSED;
    }
}

/* Older than what is known: messages of several connections may pass each other. */
static bool
is_late(const struct ns_coverage_row *row, const struct ns_coverage *told)
{
    return told->since_ns < row->since_ns ||
           (told->since_ns == row->since_ns &&
            (told->bytes_sent < row->bytes_sent || told->bytes_received < row->bytes_received ||
             told->connections < row->connections));
}

static bool
is_same(const struct ns_coverage_row *a, const struct ns_coverage_row *b)
{
    return a->governor == b->governor && a->darkness == b->darkness && a->uid == b->uid &&
           a->since_ns == b->since_ns && a->connections == b->connections &&
           a->bytes_sent == b->bytes_sent && a->bytes_received == b->bytes_received &&
           a->first_seen_ns == b->first_seen_ns && a->last_seen_ns == b->last_seen_ns &&
           strcmp(a->process, b->process) == 0 && strcmp(a->executable, b->executable) == 0 &&
           strcmp(a->provider, b->provider) == 0;
}

int
ns_coverage_told(struct ns_coverage_table *table, const char *hostname,
                 const struct ns_coverage *told, bool refused)
{
    struct key key = {hostname, told->host, told->start_ticks, told->pid};
    struct ns_coverage_row *row = take_row(table, &key);
    if (row == NULL) {
        return -ENOMEM;
    }
    if (is_late(row, told)) {
        return 0;
    }
    struct ns_coverage_row before = *row;
    bool new_life = told->since_ns != row->since_ns;
    govern(row, told, refused);
    uint64_t counted = new_life ? 0 : row->bytes_sent + row->bytes_received;
    table->bytes[row->governor] += told->bytes_sent + told->bytes_received - counted;
    row->since_ns = told->since_ns;
    row->connections = told->connections;
    row->bytes_sent = told->bytes_sent;
    row->bytes_received = told->bytes_received;
    row->uid = told->uid;
    copy(told->process, row->process, sizeof row->process);
    copy(told->executable, row->executable, sizeof row->executable);
    copy(told->provider, row->provider, sizeof row->provider);
    see(table, row, told->first_seen_ns, told->last_seen_ns);
    if (!is_same(&before, row)) {
        note_change(table, row);
    }
    return 0;
}

int
ns_coverage_called(struct ns_coverage_table *table, const struct ns_process *process,
                   enum ns_governor source, struct ns_text host, struct ns_text provider,
                   int64_t now_ns)
{
    struct key key = {process->hostname, host, process->start_ticks, process->pid};
    struct ns_coverage_row *row = take_row(table, &key);
    if (row == NULL) {
        return -ENOMEM;
    }
    if (row->called && row->governor == source && now_ns - row->last_seen_ns < CALLED_AGAIN_NS) {
        return 0;
    }
    row->called = true;
    row->governor = (uint8_t)source;
    row->darkness = NS_DARKNESS_NONE;
    if (row->since_ns == 0) { /* no agent told more of it */
        row->uid = process->uid;
        copy(ns_text_of(process->name), row->process, sizeof row->process);
        copy(ns_text_of(process->executable), row->executable, sizeof row->executable);
        copy(provider, row->provider, sizeof row->provider);
    }
    see(table, row, now_ns, now_ns);
    note_change(table, row);
    return 0;
}

void
ns_coverage_refused(struct ns_coverage_table *table, const struct ns_process *process)
{
    for (size_t i = 0; i < table->count; i++) {
        struct ns_coverage_row *row = &table->row[i];
        bool by_library =
            row->governor == NS_GOVERNOR_PRELOAD || row->governor == NS_GOVERNOR_DETOUR;
        if (by_library && !row->called &&
            is_process(row, process->hostname, process->pid, process->start_ticks)) {
            row->governor = NS_GOVERNOR_DARK;
            row->darkness = NS_DARKNESS_LIBRARY_REFUSED;
            note_change(table, row);
        }
    }
}

size_t
ns_coverage_take(struct ns_coverage_table *table, struct ns_coverage_row *rows, size_t room)
{
    size_t taken = 0;
    for (size_t i = 0; i < table->count && table->changed > 0 && taken < room; i++) {
        if (table->row[i].changed) {
            table->row[i].changed = false;
            table->changed--;
            rows[taken++] = table->row[i];
        }
    }
    return taken;
}

void
ns_coverage_sum(const struct ns_coverage_table *table, struct ns_coverage_sums *sums)
{
    *sums = (struct ns_coverage_sums){.evicted = table->evicted};
    memcpy(sums->bytes, table->bytes, sizeof sums->bytes);
    for (size_t i = 0; i < table->count; i++) {
        const struct ns_coverage_row *row = &table->row[i];
        sums->rows[row->governor]++;
        sums->now[row->governor] += row->bytes_sent + row->bytes_received;
    }
}
