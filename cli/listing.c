/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/listing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/database.h"
#include "cli/render.h"

#define TABLE_ROWS 100
#define JSON_ROWS 10000
#define ROWS_MAX 1000000

struct request {
    const char *customer;
    const char *since;
    const char *limit;
    bool json;
    bool csv;
    bool chosen;
};

/* Checks what was asked. Returns -1 or an exit code. */
static int
check(const struct ns_command *command, const struct request *request, int64_t *since_s, long *rows)
{
    char *end;
    *since_s = 0;
    *rows = request->json || request->csv ? JSON_ROWS : TABLE_ROWS;
    if (request->json && request->csv) {
        return ns_complain_usage(command, "--json or --csv, not both");
    }
    if (request->since != NULL && ns_span_parse(request->since, since_s) != 0) {
        return ns_complain_usage(
            command, "--since wants a time like 90s, 15m, 1h, 30d or 2w, not %s", request->since);
    }
    if (request->limit == NULL) {
        return -1;
    }
    *rows = strtol(request->limit, &end, 10);
    if (request->limit[0] < '0' || request->limit[0] > '9' || *end != '\0' || *rows < 1 ||
        *rows > ROWS_MAX) {
        return ns_complain_usage(command, "--limit wants a number from 1 to %d, not %s", ROWS_MAX,
                                 request->limit);
    }
    return -1;
}

static int
show(PGconn *database, const struct ns_listing *listing, const struct request *request,
     int64_t since_s, long rows)
{
    bool table = !request->json && !request->csv;
    char sql[2048], since[32], limit[32];
    const char *parameters[] = {request->customer, since_s > 0 ? since : NULL, limit};
    snprintf(since, sizeof since, "%" PRId64, since_s);
    /* One more than asked for by default tells whether something was left out. */
    snprintf(limit, sizeof limit, "%ld", request->limit == NULL ? rows + 1 : rows);
    snprintf(sql, sizeof sql,
             "select %s from %s as shown where ($1::text is null or customer = $1)"
             " and ($2::bigint is null or %s >= now() - $2::bigint * interval '1 second')"
             " and %s order by %s desc limit $3::bigint",
             table ? listing->columns : "*", listing->view, listing->moment,
             request->chosen ? listing->chosen : "true", listing->moment);
    PGresult *result = ns_database_query(database, sql, 3, parameters);
    if (result == NULL) {
        return NS_EXIT_FAILED;
    }
    bool more = request->limit == NULL && PQntuples(result) > rows;
    if (PQntuples(result) == 0 && table) {
        puts(listing->nothing);
    } else {
        ns_render(stdout, result,
                  request->json  ? NS_FORMAT_JSON
                  : request->csv ? NS_FORMAT_CSV
                                 : NS_FORMAT_TABLE);
    }
    if (more) {
        ns_complain(0, "there are more: these are the newest %d; --limit N shows others",
                    PQntuples(result));
    }
    PQclear(result);
    return NS_EXIT_DONE;
}

int
ns_listing_main(const struct ns_command *command, int argc, char **argv,
                const struct ns_listing *listing)
{
    struct request request = {0};
    const struct ns_option options[] = {
        {.name = "--customer", .value = &request.customer},
        {.name = "--since", .value = &request.since},
        {.name = "--limit", .value = &request.limit},
        {.name = "--json", .flag = &request.json},
        {.name = "--csv", .flag = &request.csv},
        {.name = listing->choice, .flag = &request.chosen}, /* last: not every listing has one */
    };
    size_t option_count = sizeof options / sizeof options[0] - (listing->choice == NULL ? 1 : 0);
    const char *none[1];
    int64_t since_s;
    long rows;
    int code = ns_arguments_read(command, argc, argv, options, option_count, none, 0);
    if (code < 0) {
        code = check(command, &request, &since_s, &rows);
    }
    if (code >= 0) {
        return code;
    }
    PGconn *database;
    code = ns_database_open_synced(&database);
    if (code == NS_EXIT_DONE) {
        code = show(database, listing, &request, since_s, rows);
    }
    PQfinish(database);
    return code;
}
