/* SPDX-License-Identifier: Apache-2.0 */
/* Programs ask for more money, people decide: `request`, `requests`, `approve`, `reject`, `grant`,
 * `grants`. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/money.h"
#include "base/words.h"
#include "cli/cli.h"
#include "cli/database.h"
#include "cli/listing.h"
#include "cli/render.h"
#include "cli/settings.h"

#define RECHECK_MS 1000

static const char request_columns[] =
    "id, state, entity, period, trim_scale(amount_usd) as amount_usd,"
    " case when models = '{}' then '-' else array_to_string(models, ', ') end as models,"
    " for_s * interval '1 second' as for, reason,"
    " date_trunc('second', asked_at at time zone 'UTC') as \"asked (UTC)\", asked_by,"
    " date_trunc('second', expires_at at time zone 'UTC') as \"until (UTC)\"";

static const char request_sql[] =
    "select id, budget_id, entity, period, amount_usd, to_jsonb(models) as models, for_s, reason,"
    " state, asked_at, asked_by, expires_at, decided_at, decided_by, answer, grant_id"
    " from nullspend.requests where id = $1::bigint";

static const struct ns_listing grants = {
    .view = "nullspend.grants",
    .moment = "granted_at",
    .columns = "grant_id, state, entity, period, trim_scale(amount_usd) as amount_usd,"
               " trim_scale(spent_usd) as spent_usd, trim_scale(left_usd) as left_usd,"
               " case when models = '[]' then '-' else (select string_agg(m, ', ')"
               " from jsonb_array_elements_text(models) m) end as models,"
               " case when spend_first then 'first' else 'last' end as spent,"
               " date_trunc('second', until at time zone 'UTC') as \"until (UTC)\", granted_by",
    .nothing = "No grants. They come of requests: nullspend approve ID",
};

/* --- what several commands read --------------------------------------------------------------- */

/* "1h" as its seconds; NULL stays NULL. */
static int
check_span(const struct ns_command *command, const char *option, const char *span,
           char seconds[static 24])
{
    int64_t count = 0;
    if (span != NULL && (ns_span_parse(span, &count) != 0 || count > INT64_C(7) * 86400)) {
        return ns_complain_usage(command,
                                 "%s is a time of at most 7d like 90s, 15m, 1h or 7d, "
                                 "not '%s'",
                                 option, span);
    }
    snprintf(seconds, 24, "%" PRId64, count);
    return -1;
}

static const char *
given(const char *span, const char *seconds)
{
    return span == NULL ? NULL : seconds;
}

static bool
note_expired(PGconn *database)
{
    PGresult *noted = ns_database_query(database, "select nullspend.expire_requests()", 0, NULL);
    PQclear(noted);
    return noted != NULL;
}

/* Prints the one row of a query as JSON. */
static int
print_json(PGconn *database, const char *sql, const char *number)
{
    PGresult *result = ns_database_query(database, sql, 1, &number);
    if (result == NULL) {
        return NS_EXIT_FAILED;
    }
    ns_render_json(stdout, result);
    PQclear(result);
    return NS_EXIT_DONE;
}

/* --- request ---------------------------------------------------------------------------------- */

struct asking {
    const char *budget, *period, *amount, *reason, *models, *span, *expires;
    bool wait, json;
    char span_s[24], expires_s[24];
};

static int
check_asking(const struct ns_command *command, struct asking *asking)
{
    int64_t nanousd;
    if (asking->budget == NULL || asking->amount == NULL || asking->reason == NULL) {
        return ns_complain_usage(command, "needs --budget ENTITY, --amount USD and --reason TEXT");
    }
    int code = ns_settings_check_entity(command, asking->budget);
    if (code < 0 && asking->period != NULL &&
        ns_period_find(asking->period, strlen(asking->period)) < 0) {
        code = ns_complain_usage(command, "--period is hour, day, week, month or total, not '%s'",
                                 asking->period);
    }
    code = code < 0 ? ns_amount_check(command, "--amount", asking->amount, &nanousd) : code;
    code = code < 0 ? check_span(command, "--for", asking->span, asking->span_s) : code;
    return code < 0 ? check_span(command, "--expires", asking->expires, asking->expires_s) : code;
}

/* Waits until the request is decided or has expired. Returns 0 where it was approved. */
static int
await_decision(PGconn *database, const char *id, bool json)
{
    static const char state_sql[] =
        "select r.state, g.id, to_char(g.until at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS'),"
        " r.answer, nullspend.usd(g.amount_nanousd)"
        " from nullspend.requests r left join nullspend.grant_rows g on g.id = r.grant_id"
        " where r.id = $1::bigint";
    for (;;) {
        PGresult *row =
            note_expired(database) ? ns_database_query(database, state_sql, 1, &id) : NULL;
        if (row == NULL || PQntuples(row) == 0) {
            PQclear(row);
            return row == NULL ? NS_EXIT_FAILED
                               : ns_complain(NS_EXIT_FAILED,
                                             "request %s is there no more: its "
                                             "budget was removed",
                                             id);
        }
        const char *state = PQgetvalue(row, 0, 0);
        bool approved = strcmp(state, "approved") == 0;
        bool decided = strcmp(state, "pending") != 0;
        if (decided && !json && approved) {
            printf("approved: $%s until %s UTC, grant %s\n", PQgetvalue(row, 0, 4),
                   PQgetvalue(row, 0, 2), PQgetvalue(row, 0, 1));
        } else if (decided && !json) {
            printf("%s%s%s\n", state, PQgetisnull(row, 0, 3) ? "" : ": ", PQgetvalue(row, 0, 3));
        }
        PQclear(row);
        if (decided) {
            return approved ? NS_EXIT_DONE : NS_EXIT_FAILED;
        }
        ns_database_await_news(database, RECHECK_MS);
    }
}

int
ns_request_main(const struct ns_command *command, int argc, char **argv)
{
    struct asking asking = {0};
    const char *none[1];
    const struct ns_option options[] = {
        {.name = "--budget", .value = &asking.budget},
        {.name = "--period", .value = &asking.period},
        {.name = "--amount", .value = &asking.amount},
        {.name = "--reason", .value = &asking.reason},
        {.name = "--models", .value = &asking.models},
        {.name = "--for", .value = &asking.span},
        {.name = "--expires", .value = &asking.expires},
        {.name = "--wait", .flag = &asking.wait},
        {.name = "--json", .flag = &asking.json},
    };
    int code = ns_arguments_read(command, argc, argv, options, sizeof options / sizeof options[0],
                                 none, 0);
    code = code < 0 ? check_asking(command, &asking) : code;
    if (code >= 0) {
        return code;
    }
    PGconn *database;
    code = ns_database_open_for_change(&database);
    if (code != NS_EXIT_DONE) {
        PQfinish(database);
        return code;
    }
    PQclear(ns_database_query(database, "listen nullspend_events", 0, NULL));
    const char *parameters[] = {asking.budget,
                                asking.amount,
                                asking.reason,
                                asking.period,
                                asking.models,
                                given(asking.span, asking.span_s),
                                given(asking.expires, asking.expires_s)};
    PGresult *made =
        ns_database_try(database,
                        "select nullspend.ask($1, $2::numeric, $3, $4, nullspend.words($5),"
                        " coalesce($6::bigint, 3600), coalesce($7::bigint, 3600))",
                        7, parameters, &code);
    if (made != NULL) {
        char id[24];
        code = NS_EXIT_DONE;
        snprintf(id, sizeof id, "%s", PQgetvalue(made, 0, 0));
        if (!asking.json) {
            printf("%s\n", id);
            fflush(stdout);
        }
        code = asking.wait ? await_decision(database, id, asking.json) : code;
        if (asking.json && print_json(database, request_sql, id) != NS_EXIT_DONE) {
            code = NS_EXIT_FAILED;
        }
    }
    PQclear(made);
    PQfinish(database);
    return code;
}

/* --- requests --------------------------------------------------------------------------------- */

static int
show_requests(PGconn *database, const char *state, bool json)
{
    char sql[1024];
    snprintf(sql, sizeof sql,
             "select %s from nullspend.requests where $1::text is null or state = $1"
             " order by id desc limit 10000",
             json ? "id, budget_id, entity, period, amount_usd, to_jsonb(models) as models, for_s,"
                    " reason, state, asked_at, asked_by, expires_at, decided_at, decided_by,"
                    " answer, grant_id"
                  : request_columns);
    PGresult *result = note_expired(database) ? ns_database_query(database, sql, 1, &state) : NULL;
    if (result == NULL) {
        return NS_EXIT_FAILED;
    }
    if (PQntuples(result) == 0 && !json) {
        printf("No%s%s requests.\n", state == NULL ? "" : " ", state == NULL ? "" : state);
    } else {
        ns_render(stdout, result, json ? NS_FORMAT_JSON : NS_FORMAT_TABLE);
    }
    PQclear(result);
    return NS_EXIT_DONE;
}

int
ns_requests_main(const struct ns_command *command, int argc, char **argv)
{
    static const char *const states[] = {"pending", "approved", "rejected", "expired"};
    const char *state = NULL;
    bool json = false, known = false;
    const char *none[1];
    const struct ns_option options[] = {{.name = "--state", .value = &state},
                                        {.name = "--json", .flag = &json}};
    int code = ns_arguments_read(command, argc, argv, options, 2, none, 0);
    if (code >= 0) {
        return code;
    }
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        known |= state == NULL || strcmp(states[i], state) == 0;
    }
    if (!known) {
        return ns_complain_usage(
            command, "--state is pending, approved, rejected or expired, not '%s'", state);
    }
    PGconn *database;
    code = ns_database_open_synced(&database);
    code = code == NS_EXIT_DONE ? show_requests(database, state, json) : code;
    PQfinish(database);
    return code;
}

/* --- decisions -------------------------------------------------------------------------------- */

/* Runs one that is in force when this returns. */
static int
decide(const char *sql, int count, const char *const *parameters, PGconn **database)
{
    int changed;
    int code = ns_database_open_for_change(database);
    if (code == NS_EXIT_DONE && !note_expired(*database)) {
        code = NS_EXIT_FAILED;
    }
    return code == NS_EXIT_DONE ? ns_settings_change(*database, sql, count, parameters, &changed)
                                : code;
}

static int
print_approved(PGconn *database, const char *id)
{
    PGresult *row = ns_database_query(
        database,
        "select g.id, trim_scale(nullspend.usd(g.amount_nanousd)), g.entity, r.period,"
        " to_char(g.until at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS')"
        " from nullspend.requests r join nullspend.grant_rows g on g.id = r.grant_id"
        " where r.id = $1::bigint",
        1, &id);
    if (row == NULL || PQntuples(row) == 0) {
        PQclear(row);
        return NS_EXIT_FAILED;
    }
    printf("grant %s: $%s more for the %s budget of %s until %s UTC, in force\n",
           PQgetvalue(row, 0, 0), PQgetvalue(row, 0, 1), PQgetvalue(row, 0, 3),
           PQgetvalue(row, 0, 2), PQgetvalue(row, 0, 4));
    PQclear(row);
    return NS_EXIT_DONE;
}

int
ns_approve_main(const struct ns_command *command, int argc, char **argv)
{
    const char *amount = NULL, *span = NULL, *models = NULL, *spend = NULL;
    bool json = false;
    const char *operands[2];
    char span_s[24];
    int64_t nanousd;
    const struct ns_option options[] = {
        {.name = "--amount", .value = &amount}, {.name = "--for", .value = &span},
        {.name = "--models", .value = &models}, {.name = "--spend", .value = &spend},
        {.name = "--json", .flag = &json},
    };
    int code = ns_arguments_read(command, argc, argv, options, sizeof options / sizeof options[0],
                                 operands, 1);
    code = code < 0 ? ns_number_check(command, "request", operands[0]) : code;
    if (code < 0 && amount != NULL) {
        code = ns_amount_check(command, "--amount", amount, &nanousd);
    }
    code = code < 0 ? check_span(command, "--for", span, span_s) : code;
    if (code < 0 && spend != NULL && strcmp(spend, "first") != 0 && strcmp(spend, "last") != 0) {
        code = ns_complain_usage(command, "--spend is first or last, not '%s'", spend);
    }
    if (code >= 0) {
        return code;
    }
    const char *parameters[] = {operands[0], amount, given(span, span_s), models, spend};
    PGconn *database;
    code = decide("select nullspend.approve($1::bigint, $2::numeric, $3::bigint,"
                  " nullspend.words($4), coalesce($5, 'last') = 'first')",
                  5, parameters, &database);
    if (code == NS_EXIT_DONE) {
        code = json ? print_json(database, request_sql, operands[0])
                    : print_approved(database, operands[0]);
    }
    PQfinish(database);
    return code;
}

int
ns_reject_main(const struct ns_command *command, int argc, char **argv)
{
    const char *reason = NULL;
    bool json = false;
    const char *operands[2];
    const struct ns_option options[] = {{.name = "--reason", .value = &reason},
                                        {.name = "--json", .flag = &json}};
    int code = ns_arguments_read(command, argc, argv, options, 2, operands, 1);
    code = code < 0 ? ns_number_check(command, "request", operands[0]) : code;
    if (code >= 0) {
        return code;
    }
    const char *parameters[] = {operands[0], reason};
    PGconn *database;
    code = decide("select nullspend.reject($1::bigint, $2)", 2, parameters, &database);
    if (code == NS_EXIT_DONE && json) {
        code = print_json(database, request_sql, operands[0]);
    } else if (code == NS_EXIT_DONE) {
        printf("rejected request %s\n", operands[0]);
    }
    PQfinish(database);
    return code;
}

/* --- grants ----------------------------------------------------------------------------------- */

int
ns_grant_main(const struct ns_command *command, int argc, char **argv)
{
    bool json = false;
    const char *operands[3];
    const struct ns_option options[] = {{.name = "--json", .flag = &json}};
    int code = ns_arguments_read(command, argc, argv, options, 1, operands, 2);
    if (code < 0 && (operands[0] == NULL || strcmp(operands[0], "revoke") != 0)) {
        code = ns_complain_usage(command, "wants revoke");
    }
    code = code < 0 ? ns_number_check(command, "grant", operands[1]) : code;
    if (code >= 0) {
        return code;
    }
    PGconn *database;
    code = decide("select nullspend.revoke_grant($1::bigint)", 1, &operands[1], &database);
    if (code == NS_EXIT_DONE && json) {
        code = print_json(database, "select * from nullspend.grants where grant_id = $1::bigint",
                          operands[1]);
    } else if (code == NS_EXIT_DONE) {
        printf("revoked grant %s\n", operands[1]);
    }
    PQfinish(database);
    return code;
}

int
ns_grants_main(const struct ns_command *command, int argc, char **argv)
{
    return ns_listing_main(command, argc, argv, &grants);
}
