/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: everything that talks to Postgres, on threads of its own, so that no check ever waits
 * for a database.
 *
 *   follower  reads the journal from the position that Postgres itself remembers, up to what is
 *             durable, and COPYs rows in batches; position and rows are one transaction, so each
 *             record arrives exactly once however often either side dies.
 *   settings  applies the migrations under an advisory lock, LISTENs for changes of `budgets`, and
 *             hands whole lists of budgets to the main thread.
 *
 * Postgres may be away at any time, from the first moment and for days: both threads retry with
 * backoff and say so once.
 */
#ifndef NS_COLLECTOR_STORE_H
#define NS_COLLECTOR_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/buffer.h"
#include "collector/coverage.h"
#include "collector/ledger.h"

struct ns_store;

struct ns_store_options {
    const char *database_url; /* libpq URL or conninfo */
    const char *journal_directory;
    const char *collector_version;
};

/* All budgets and mandates as Postgres has them now. */
struct ns_store_settings {
    int64_t revision; /* of both as a whole: grows with every change */
    struct ns_budget *budget;
    size_t count;
    struct ns_buffer *mandate; /* each encoded (mandates.h) */
    size_t mandate_count;
};

struct ns_store_state {
    bool connected;
    uint64_t position; /* last journal sequence that Postgres has */
    int64_t lag_ns;    /* age of the oldest durable record that it has not; 0: none */
    uint64_t rows;     /* calls and denials written since start */
    uint64_t errors;   /* failed batches and connections since start */
    char last_error[256];
};

/* Starts the threads. Returns 0 or a negative errno; Postgres need not be there. */
int ns_store_start(const struct ns_store_options *options, struct ns_store **store);

/* Writes what is durable, if Postgres answers before the deadline, and ends the threads. */
void ns_store_stop(struct ns_store *store, int64_t deadline_monotonic_ns);

/* Readable when there are settings to take, when the position moved, or when the connection came or
 * went; ns_store_drain clears it. */
int ns_store_event_fd(const struct ns_store *store);
void ns_store_drain(struct ns_store *store);

/* The newest settings not yet taken, or NULL. Free with ns_store_settings_free. */
struct ns_store_settings *ns_store_take_settings(struct ns_store *store);
void ns_store_settings_free(struct ns_store_settings *settings);

/* The main thread enforces this revision now: written to nullspend.collector_state and NOTIFYed on
 * channel nullspend_enforced, so that `budget set` can return. */
void ns_store_enforced(struct ns_store *store, int64_t revision);

/* New records are durable up to this sequence. Cheap; any thread. */
void ns_store_durable(struct ns_store *store, uint64_t sequence);

/* Numbers of counters that changed, for nullspend.budget_counters; copied. A later number of the
 * same counter replaces an earlier one not yet written. */
void ns_store_counters(struct ns_store *store, const struct ns_ledger_numbers *numbers,
                       size_t count);

/* True when counters given before are written too. */
bool ns_store_counters_written(const struct ns_store *store);

/* Rows for nullspend.coverage_rows, from malloc, which become the store's. Only while
 * ns_store_coverage_idle: nothing that was given waits to be written. */
void ns_store_coverage(struct ns_store *store, struct ns_coverage_row *rows, size_t count);
bool ns_store_coverage_idle(const struct ns_store *store);

void ns_store_state(const struct ns_store *store, struct ns_store_state *state);

#endif
