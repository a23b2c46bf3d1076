/* SPDX-License-Identifier: Apache-2.0 */
/* `coverage`: who talks to providers, and what governs it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/database.h"
#include "cli/render.h"

#define DAY_S 86400
#define TABLE_ROWS "1000"
#define ALL_ROWS "1000000"

struct request {
    const char *since;
    bool dark, json, csv;
};

/* What people look at: what is dark first, and of that what moves most. The reason stands in words
 * below the table, once for each. */
static const char table_columns[] =
    "process, pid, coalesce(host, 'not known') as host, governed_by, reason,"
    " connections::bigint as connections, (bytes_sent + bytes_received)::bigint as bytes,"
    " date_trunc('second', last_seen at time zone 'UTC') as \"last seen (UTC)\"";

static PGresult *
query(PGconn *database, const struct request *request, int64_t since_s)
{
    bool table = !request->json && !request->csv;
    char sql[1024], since[32];
    const char *parameters[] = {since, request->dark ? "dark" : NULL};
    snprintf(since, sizeof since, "%" PRId64, since_s);
    snprintf(sql, sizeof sql,
             "select %s from nullspend.coverage"
             " where last_seen >= now() - $1::bigint * interval '1 second'"
             " and ($2::text is null or governed_by = $2)"
             " order by governed_by <> 'dark', governed_by <> 'unknown',"
             " bytes_sent + bytes_received desc, process, pid limit %s",
             table ? table_columns : "*", table ? TABLE_ROWS : ALL_ROWS);
    return ns_database_query(database, sql, 2, parameters);
}

/* Below the table: what each reason means, and what to do. */
static int
explain(PGconn *database, const struct request *request, int64_t since_s)
{
    char since[32];
    const char *parameters[] = {since, request->dark ? "dark" : NULL};
    snprintf(since, sizeof since, "%" PRId64, since_s);
    PGresult *rows = ns_database_query(
        database,
        "select distinct reason, explanation, next_step from nullspend.coverage"
        " where reason is not null and last_seen >= now() - $1::bigint * interval '1 second'"
        " and ($2::text is null or governed_by = $2) order by reason",
        2, parameters);
    if (rows == NULL) {
        return NS_EXIT_FAILED;
    }
    for (int i = 0; i < PQntuples(rows); i++) {
        printf("%s%s: %s.\n  Next: %s.\n", i == 0 ? "\n" : "", PQgetvalue(rows, i, 0),
               PQgetvalue(rows, i, 1), PQgetvalue(rows, i, 2));
    }
    PQclear(rows);
    return NS_EXIT_DONE;
}

static int
show(PGconn *database, const struct request *request, int64_t since_s)
{
    PGresult *rows = query(database, request, since_s);
    if (rows == NULL) {
        return NS_EXIT_FAILED;
    }
    int code = request->dark && PQntuples(rows) > 0 ? NS_EXIT_FAILED : NS_EXIT_DONE;
    if (request->json || request->csv) {
        ns_render(stdout, rows, request->json ? NS_FORMAT_JSON : NS_FORMAT_CSV);
    } else if (PQntuples(rows) == 0) {
        puts(request->dark ? "Nothing is dark." : "Nobody was seen to talk to a provider.");
    } else {
        ns_render(stdout, rows, NS_FORMAT_TABLE);
        int explained = explain(database, request, since_s);
        code = code == NS_EXIT_DONE ? explained : code;
    }
    PQclear(rows);
    return code;
}

int
ns_coverage_main(const struct ns_command *command, int argc, char **argv)
{
    struct request request = {0};
    const struct ns_option options[] = {
        {.name = "--since", .value = &request.since},
        {.name = "--dark", .flag = &request.dark},
        {.name = "--json", .flag = &request.json},
        {.name = "--csv", .flag = &request.csv},
    };
    const char *none[1];
    int64_t since_s = DAY_S;
    int code = ns_arguments_read(command, argc, argv, options, sizeof options / sizeof options[0],
                                 none, 0);
    if (code >= 0) {
        return code;
    }
    if (request.json && request.csv) {
        return ns_complain_usage(command, "--json or --csv, not both");
    }
    if (request.since != NULL && ns_span_parse(request.since, &since_s) != 0) {
        return ns_complain_usage(
            command, "--since wants a time like 90s, 15m, 1h, 30d or 2w, not %s", request.since);
    }
    PGconn *database;
    code = ns_database_open_synced(&database);
    if (code == NS_EXIT_DONE) {
        code = show(database, &request, since_s);
    }
    PQfinish(database);
    return code;
}
