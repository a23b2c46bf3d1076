/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of nullspend.coverage_rows, one batch at a time: the next is given when one is written. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/buffer.h"
#include "collector/store_state.h"

void
ns_store_coverage(struct ns_store *store, struct ns_coverage_row *rows, size_t count)
{
    pthread_mutex_lock(&store->lock);
    free(store->coverage); /* there is none: the caller asked */
    store->coverage = rows;
    store->coverage_count = count;
    pthread_mutex_unlock(&store->lock);
    ns_store_wake(store->settings_wake_fd);
}

bool
ns_store_coverage_idle(const struct ns_store *store)
{
    struct ns_store *s = (struct ns_store *)(uintptr_t)store; /* for its lock only */
    pthread_mutex_lock(&s->lock);
    bool idle = s->coverage_count == 0 && !s->coverage_in_flight;
    pthread_mutex_unlock(&s->lock);
    return idle;
}

static void
put_text(struct ns_buffer *json, const char *name, const char *text)
{
    ns_buffer_print(json, ",\"%s\":", name);
    ns_buffer_json(json, text);
}

static void
put_row(struct ns_buffer *json, const struct ns_coverage_row *row)
{
    ns_buffer_print(json, "{\"pid\":%" PRIu32 ",\"start_ticks\":%" PRIu64, row->pid,
                    row->start_ticks);
    if (row->uid != UINT32_MAX) {
        ns_buffer_print(json, ",\"uid\":%" PRIu32, row->uid);
    }
    put_text(json, "hostname", row->hostname);
    put_text(json, "host", row->host);
    put_text(json, "provider", row->provider);
    put_text(json, "process", row->process);
    put_text(json, "executable", row->executable);
    put_text(json, "governed_by", ns_governor_name(row->governor));
    put_text(json, "reason", ns_darkness_name(row->darkness));
    put_text(json, "explanation", ns_darkness_sentence(row->darkness));
    put_text(json, "next_step", ns_darkness_step(row->darkness));
    ns_buffer_print(json,
                    ",\"since_ns\":%" PRId64 ",\"connections\":%" PRIu64 ",\"bytes_sent\":%" PRIu64
                    ",\"bytes_received\":%" PRIu64 ",\"first_seen_ns\":%" PRId64
                    ",\"last_seen_ns\":%" PRId64 "}",
                    row->since_ns, row->connections, row->bytes_sent, row->bytes_received,
                    row->first_seen_ns, row->last_seen_ns);
}

static int
write_rows(struct ns_link *link, const struct ns_coverage_row *rows, size_t count)
{
    struct ns_buffer json = {0};
    for (size_t i = 0; i < count; i++) {
        ns_buffer_print(&json, "%s", i == 0 ? "[" : ",");
        put_row(&json, &rows[i]);
    }
    ns_buffer_add(&json, "]", 2); /* with its NUL */
    int result = -EIO;
    if (json.failed) {
        snprintf(link->error, sizeof link->error, "no memory for the coverage");
    } else {
        const char *parameters[] = {(const char *)json.bytes};
        PGresult *written =
            ns_link_query(link, "select nullspend.coverage_put($1::jsonb)", 1, parameters);
        result = written == NULL ? -EIO : 0;
        PQclear(written);
    }
    ns_buffer_free(&json);
    return result;
}

int
ns_store_write_coverage(struct ns_store *store, struct ns_link *link)
{
    pthread_mutex_lock(&store->lock);
    struct ns_coverage_row *rows = store->coverage;
    size_t count = store->coverage_count;
    store->coverage = NULL;
    store->coverage_count = 0;
    store->coverage_in_flight = count > 0;
    pthread_mutex_unlock(&store->lock);
    int result = count > 0 ? write_rows(link, rows, count) : 0;
    if (count == 0) {
        free(rows);
        return 0;
    }
    pthread_mutex_lock(&store->lock);
    if (result < 0 && !ns_link_is_up(link)) { /* nothing newer is there: see ns_store_coverage */
        store->coverage = rows;
        store->coverage_count = count;
        rows = NULL;
    }
    store->coverage_in_flight = false;
    pthread_mutex_unlock(&store->lock);
    ns_store_wake(store->event_fd);
    if (result < 0 && rows != NULL) { /* refused: budgets must not wait behind them */
        ns_store_failed(store, link->error);
        result = 0;
    }
    free(rows);
    return result;
}
