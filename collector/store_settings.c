/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings thread: budgets and mandates from Postgres to the gate, and back to Postgres which
 * of them are in force and what the counters say.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/mandates.h"
#include "collector/store_migrate.h"
#include "collector/store_rows.h"
#include "collector/store_state.h"

/* Counters of one transaction. */
#define NS_SETTINGS_ROWS_MAX 8192
#define NS_SETTINGS_ROOM (NS_SETTINGS_ROWS_MAX * (NS_ENTITY_BYTES_MAX + 128))
/* After counters were written: lets changes gather. */
#define NS_SETTINGS_LINGER_MS 10

struct settings {
    struct ns_store *store;
    struct ns_link link;
    uint8_t *bytes; /* NS_SETTINGS_ROOM */
};

/* --- budgets -------------------------------------------------------------------------------- */

/* Columns of budgets_sql, after the revision. */
enum {
    ID = 1,
    ENTITY,
    PERIOD,
    POLICY,
    RESERVE,
    ON_UNREACHABLE,
    DENY_STATUS,
    LIMIT_NANOUSD,
    FINALIZE,
    OVERDRAFT,
    VELOCITY,
    VELOCITY_WINDOW,
    VELOCITY_COOLDOWN,
    GRANT_OF,
    UNTIL,
    SPEND_FIRST,
    MODELS
};

static int
word_of(const PGresult *rows, int row, int column, int (*find)(const char *text, size_t bytes))
{
    return find(PQgetvalue(rows, row, column), (size_t)PQgetlength(rows, row, column));
}

/* A row as a budget. Returns 0, or -EINVAL for one that this program does not understand. */
static int
take_budget(const PGresult *rows, int row, struct ns_budget *budget)
{
    int period = word_of(rows, row, PERIOD, ns_period_find);
    int policy = word_of(rows, row, POLICY, ns_policy_find);
    int reserve = word_of(rows, row, RESERVE, ns_reserve_find);
    int unreachable = word_of(rows, row, ON_UNREACHABLE, ns_unreachable_find);
    int entity_bytes = PQgetlength(rows, row, ENTITY);
    memset(budget, 0, sizeof *budget);
    if (period < 0 || policy < 0 || reserve < 0 || unreachable < 0 ||
        entity_bytes > NS_ENTITY_BYTES_MAX ||
        PQgetlength(rows, row, MODELS) > NS_GRANT_MODELS_BYTES_MAX) {
        return -EINVAL;
    }
    memcpy(budget->entity, PQgetvalue(rows, row, ENTITY), (size_t)entity_bytes);
    budget->period = (uint8_t)period;
    budget->policy = (uint8_t)policy;
    budget->reserve = (uint8_t)reserve;
    budget->on_unreachable = (uint8_t)unreachable;
    budget->deny_status = (uint16_t)strtoul(PQgetvalue(rows, row, DENY_STATUS), NULL, 10);
    budget->limit_nanousd = strtoll(PQgetvalue(rows, row, LIMIT_NANOUSD), NULL, 10);
    budget->finalize_nanousd = strtoll(PQgetvalue(rows, row, FINALIZE), NULL, 10);
    budget->overdraft_nanousd = strtoll(PQgetvalue(rows, row, OVERDRAFT), NULL, 10);
    budget->velocity_nanousd = strtoll(PQgetvalue(rows, row, VELOCITY), NULL, 10);
    budget->velocity_window_s = (uint16_t)strtoul(PQgetvalue(rows, row, VELOCITY_WINDOW), NULL, 10);
    budget->velocity_cooldown_s =
        (uint16_t)strtoul(PQgetvalue(rows, row, VELOCITY_COOLDOWN), NULL, 10);
    budget->id = strtoll(PQgetvalue(rows, row, ID), NULL, 10);
    budget->grant_of = strtoll(PQgetvalue(rows, row, GRANT_OF), NULL, 10);
    budget->until_ns = strtoll(PQgetvalue(rows, row, UNTIL), NULL, 10);
    budget->spend_first = PQgetvalue(rows, row, SPEND_FIRST)[0] == 't';
    memcpy(budget->models, PQgetvalue(rows, row, MODELS), (size_t)PQgetlength(rows, row, MODELS));
    return 0;
}

static int
take_budgets(struct ns_store *store, const PGresult *rows, struct ns_store_settings *settings)
{
    size_t count = (size_t)PQntuples(rows);
    settings->budget = calloc(count, sizeof *settings->budget);
    if (settings->budget == NULL) {
        return -ENOMEM;
    }
    settings->revision = strtoll(PQgetvalue(rows, 0, 0), NULL, 10);
    for (size_t i = 0; i < count; i++) {
        if (PQgetisnull(rows, (int)i, ID)) {
            continue; /* the revision stands alone: there are no budgets */
        }
        if (take_budget(rows, (int)i, &settings->budget[settings->count]) == 0) {
            settings->count++;
        } else {
            char text[NS_LINK_ERROR_BYTES];
            snprintf(text, sizeof text, "budget %s is not understood by this version",
                     PQgetvalue(rows, (int)i, ID));
            ns_store_failed(store, text);
        }
    }
    return 0;
}

/* --- mandates ------------------------------------------------------------------------------- */

/* Columns of mandates_sql: a row for each word, one without for a mandate that has none. */
enum { MANDATE_ID, MANDATE_POLICY, MANDATE_OUTPUT_MAX, MANDATE_ENTITY, MANDATE_LIST, MANDATE_WORD };

static struct ns_text
text_at(const PGresult *rows, int row, int column)
{
    return (struct ns_text){PQgetvalue(rows, row, column),
                            (uint32_t)PQgetlength(rows, row, column)};
}

static void
begin_mandate(const PGresult *rows, int row, struct ns_buffer *mandate)
{
    int policy = word_of(rows, row, MANDATE_POLICY, ns_policy_find);
    struct ns_mandate_terms terms = {
        .id = strtoll(PQgetvalue(rows, row, MANDATE_ID), NULL, 10),
        .policy = policy >= 0 ? (uint8_t)policy : UINT8_MAX, /* refused when it is put */
        .output_tokens_max = strtoull(PQgetvalue(rows, row, MANDATE_OUTPUT_MAX), NULL, 10),
        .entity = text_at(rows, row, MANDATE_ENTITY),
    };
    ns_mandate_begin(mandate, &terms);
}

/* Rows of one mandate follow each other. */
static int
take_mandates(const PGresult *rows, struct ns_store_settings *settings)
{
    int count = PQntuples(rows);
    settings->mandate = calloc((size_t)count + 1, sizeof *settings->mandate);
    if (settings->mandate == NULL) {
        return -ENOMEM;
    }
    for (int row = 0; row < count; row++) {
        if (row == 0 ||
            strcmp(PQgetvalue(rows, row, MANDATE_ID), PQgetvalue(rows, row - 1, MANDATE_ID)) != 0) {
            begin_mandate(rows, row, &settings->mandate[settings->mandate_count++]);
        }
        struct ns_buffer *mandate = &settings->mandate[settings->mandate_count - 1];
        if (!PQgetisnull(rows, row, MANDATE_LIST)) {
            /* A list that this version does not know makes the mandate one that is refused. */
            ns_mandate_add(mandate, word_of(rows, row, MANDATE_LIST, ns_mandate_list_find),
                           text_at(rows, row, MANDATE_WORD));
        }
        if (mandate->failed) {
            return -ENOMEM;
        }
    }
    return 0;
}

/* --- both ----------------------------------------------------------------------------------- */

static const char budgets_sql[] = "select r.revision, b.id, b.entity, b.period, b.policy,"
                                  " b.reserve, b.on_unreachable, b.deny_status, b.limit_nanousd,"
                                  " (b.finalize_reserve_usd * 1000000000)::bigint,"
                                  " coalesce((nullspend.overdraft_usd(b) * 1000000000)::bigint, 0),"
                                  " coalesce((b.velocity_usd * 1000000000)::bigint, 0),"
                                  " coalesce(b.velocity_window_s, 0),"
                                  " coalesce(b.velocity_cooldown_s, 0), 0, 0, false, ''"
                                  " from nullspend.budgets_revision r"
                                  " left join nullspend.budgets b on true"
                                  /* Grants that are over stay while calls may end that hold of
                                   * them, and may be corrected. */
                                  " union all"
                                  " select r.revision, g.id, g.entity, 'total', 'hard', 'typical',"
                                  " 'allow', 0, g.amount_nanousd, 0, 0, 0, 0, 0, g.budget_id,"
                                  " (extract(epoch from coalesce(g.revoked_at, g.until))"
                                  " * 1000000000)::bigint, g.spend_first,"
                                  " array_to_string(g.models, ',')"
                                  " from nullspend.budgets_revision r, nullspend.grant_rows g"
                                  " where coalesce(g.revoked_at, g.until)"
                                  " > now() - interval '49 hours'"
                                  " order by 2";

static const char mandates_sql[] =
    "select m.id, m.policy, coalesce(m.output_tokens_max, 0), m.entity, w.list, w.word"
    " from nullspend.mandates m left join lateral nullspend.mandate_words(m) w on true"
    " order by m.id, w.list, w.word";

/* Fills settings from one moment of Postgres. Returns 0, or a negative errno with link.error. */
static int
query_settings(struct settings *s, struct ns_store_settings *settings)
{
    int result = -EIO;
    PGresult *budgets = NULL, *mandates = NULL;
    if (ns_link_run(&s->link, "begin isolation level repeatable read read only") == 0 &&
        (budgets = ns_link_query(&s->link, budgets_sql, 0, NULL)) != NULL &&
        (mandates = ns_link_query(&s->link, mandates_sql, 0, NULL)) != NULL &&
        ns_link_run(&s->link, "commit") == 0) {
        if (PQntuples(budgets) < 1) {
            snprintf(s->link.error, sizeof s->link.error, "nullspend.budgets_revision has no row");
        } else if (take_budgets(s->store, budgets, settings) < 0 ||
                   take_mandates(mandates, settings) < 0) {
            snprintf(s->link.error, sizeof s->link.error, "no memory for budgets and mandates");
        } else {
            result = 0;
        }
    }
    PQclear(budgets);
    PQclear(mandates);
    return result;
}

/* Hands what Postgres has now to the main thread. */
static int
read_settings(struct settings *s)
{
    struct ns_store *store = s->store;
    struct ns_store_settings *settings = calloc(1, sizeof *settings);
    if (settings == NULL) {
        snprintf(s->link.error, sizeof s->link.error, "no memory for budgets and mandates");
        return -EIO;
    }
    int result = query_settings(s, settings);
    if (result < 0) {
        ns_store_settings_free(settings);
        return result;
    }
    pthread_mutex_lock(&store->lock);
    struct ns_store_settings *older = store->newest;
    store->newest = settings;
    pthread_mutex_unlock(&store->lock);
    ns_store_settings_free(older);
    ns_store_wake(store->event_fd);
    return 0;
}

/* True when somebody changed a setting since the last call. */
static bool
take_notifications(struct settings *s)
{
    bool any = false;
    PGnotify *notification;
    while ((notification = PQnotifies(s->link.connection)) != NULL) {
        any = true;
        PQfreemem(notification);
    }
    return any;
}

static int
write_enforced(struct settings *s)
{
    struct ns_store *store = s->store;
    pthread_mutex_lock(&store->lock);
    int64_t revision = store->enforced_revision;
    pthread_mutex_unlock(&store->lock);
    if (revision < 0) {
        return 0;
    }
    char text[24];
    const char *parameters[] = {text};
    snprintf(text, sizeof text, "%" PRId64, revision);
    PGresult *written =
        ns_link_query(&s->link,
                      "with written as (update nullspend.collector_state"
                      " set enforced_revision = $1, updated_at = now() returning 1)"
                      " select pg_notify('nullspend_enforced', $1::bigint::text) from written",
                      1, parameters);
    if (written == NULL) {
        return -EIO;
    }
    PQclear(written);
    pthread_mutex_lock(&store->lock);
    if (store->enforced_revision == revision) {
        store->enforced_revision = -1;
    }
    pthread_mutex_unlock(&store->lock);
    return 0;
}

/* --- counters ------------------------------------------------------------------------------- */

static int
copy_counters(struct settings *s, const struct ns_store_counter *counter, size_t count)
{
    struct ns_rows rows;
    ns_rows_begin(&rows, s->bytes, NS_SETTINGS_ROOM);
    for (size_t i = 0; i < count; i++) {
        struct ns_row_counter row = {.budget_id = counter[i].budget_id,
                                     .entity = counter[i].entity,
                                     .period = counter[i].period,
                                     .period_start_ns = counter[i].period_start_ns,
                                     .period_end_ns = counter[i].period_end_ns,
                                     .spent_nanousd = counter[i].spent_nanousd,
                                     .held_nanousd = counter[i].held_nanousd,
                                     .overshoot_nanousd = counter[i].overshoot_nanousd,
                                     .paused_until_ns = counter[i].paused_until_ns};
        if (ns_rows_add_counter(&rows, &row) < 0) {
            snprintf(s->link.error, sizeof s->link.error, "counters do not fit their buffer");
            return -EIO;
        }
    }
    ns_rows_end(&rows);
    if (ns_link_run(&s->link, "begin") < 0) {
        return -EIO;
    }
    /* A budget that was removed meanwhile took its counters along. */
    if (ns_link_copy(&s->link,
                     "copy staged_counters (" NS_ROWS_COUNTER_COLUMNS ") from stdin"
                     " (format binary)",
                     rows.bytes, rows.used) < 0 ||
        ns_link_run(&s->link,
                    "insert into nullspend.budget_counters (" NS_ROWS_COUNTER_COLUMNS ")"
                    " select " NS_ROWS_COUNTER_COLUMNS " from staged_counters s"
                    " where exists (select from nullspend.budgets b where b.id = s.budget_id)"
                    " or exists (select from nullspend.grant_rows g where g.id = s.budget_id)"
                    " on conflict (budget_id, entity, period_start) do update set"
                    " period_end = excluded.period_end, spent_nanousd = excluded.spent_nanousd,"
                    " held_nanousd = excluded.held_nanousd,"
                    " overshoot_nanousd = excluded.overshoot_nanousd,"
                    " paused_until = excluded.paused_until, updated_at = now()") < 0) {
        return -EIO;
    }
    return ns_link_run(&s->link, "commit");
}

static int
write_counters(struct settings *s)
{
    struct ns_store *store = s->store;
    pthread_mutex_lock(&store->lock);
    struct ns_store_counters taken = store->counters;
    memset(&store->counters, 0, sizeof store->counters);
    store->counters_in_flight = taken.count > 0;
    pthread_mutex_unlock(&store->lock);
    if (taken.count == 0) {
        ns_store_counters_clear(&taken);
        return 0;
    }
    int result = 0;
    for (size_t from = 0; from < taken.count && result == 0; from += NS_SETTINGS_ROWS_MAX) {
        size_t left = taken.count - from;
        result = copy_counters(s, taken.counter + from,
                               left < NS_SETTINGS_ROWS_MAX ? left : NS_SETTINGS_ROWS_MAX);
    }
    pthread_mutex_lock(&store->lock);
    if (result < 0) {
        ns_store_counters_return(&store->counters, &taken);
    }
    store->counters_in_flight = false;
    pthread_mutex_unlock(&store->lock);
    ns_store_counters_clear(&taken);
    ns_store_wake(store->event_fd);
    if (result == 0) {
        ns_store_pause(store, NS_SETTINGS_LINGER_MS);
    }
    return result;
}

/* --- the thread ----------------------------------------------------------------------------- */

static int
connect_settings(struct settings *s)
{
    int result = ns_link_open(&s->link, s->store->database_url, "nullspendd settings");
    if (result == 0) {
        result = ns_store_migrate(&s->link);
    }
    if (result == 0) {
        result = ns_link_run(&s->link, "create temporary table staged_counters"
                                       " (like nullspend.budget_counters including defaults)"
                                       " on commit delete rows; listen nullspend_budgets");
    }
    return result == 0 ? read_settings(s) : result;
}

/* Does what there is to do, or waits. Returns 0, 1 when all is done and the store stops, or a
 * negative errno with link.error. */
static int
step(struct settings *s)
{
    struct ns_store *store = s->store;
    ns_store_clear(store->settings_wake_fd);
    bool stopping = atomic_load(&store->stopping);
    int result = 0;
    if (take_notifications(s)) {
        result = read_settings(s);
    }
    if (result == 0) {
        result = write_enforced(s);
    }
    if (result == 0) {
        result = write_counters(s);
    }
    if (result == 0) {
        result = ns_store_write_coverage(store, &s->link);
    }
    if (result < 0 || stopping) {
        return result < 0 ? result : 1;
    }
    /* Notifications may have come with an answer already. */
    pthread_mutex_lock(&store->lock);
    bool more =
        store->enforced_revision >= 0 || store->counters.count > 0 || store->coverage_count > 0;
    pthread_mutex_unlock(&store->lock);
    PGnotify *notification = PQnotifies(s->link.connection);
    if (notification != NULL) {
        PQfreemem(notification);
        return read_settings(s);
    }
    return more ? 0 : ns_link_wait(&s->link, store->settings_wake_fd, -1);
}

void *
ns_store_keep_settings(void *argument)
{
    struct ns_store *store = argument;
    struct settings s = {.store = store, .link = {.abandon_fd = store->abandon_fd}};
    int pause_ms = NS_STORE_PAUSE_MS_MIN;
    s.bytes = malloc(NS_SETTINGS_ROOM);
    if (s.bytes == NULL) {
        ns_store_failed(store, "no memory for settings");
    }
    while (s.bytes != NULL) {
        bool connecting = s.link.connection == NULL;
        int result = connecting ? connect_settings(&s) : step(&s);
        if (result == 0) {
            pause_ms = connecting ? pause_ms : NS_STORE_PAUSE_MS_MIN;
            continue;
        }
        bool last = result == 1 || result == -ECANCELED || atomic_load(&store->stopping);
        if (result < 0 && result != -ECANCELED) {
            ns_store_failed(store, s.link.error);
        }
        ns_link_close(&s.link);
        if (last || ns_store_pause(store, pause_ms) < 0) {
            break;
        }
        pause_ms = pause_ms * 2 < NS_STORE_PAUSE_MS_MAX ? pause_ms * 2 : NS_STORE_PAUSE_MS_MAX;
    }
    free(s.bytes);
    ns_store_thread_ended(store);
    return NULL;
}
