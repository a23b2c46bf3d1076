/* SPDX-License-Identifier: Apache-2.0 */
/* `deliveries`: what was told to whom, and beginning anew with what was given up. */
#include <stdio.h>
#include <string.h>

#include "cli/database.h"
#include "cli/listing.h"

static const struct ns_listing deliveries = {
    .view = "nullspend.delivery_status",
    .moment = "created_at",
    .columns = "delivery_id as id, date_trunc('second', created_at at time zone 'UTC')"
               " as \"created (UTC)\", endpoint, kind, entity, state, attempts,"
               " date_trunc('second', next_attempt_at at time zone 'UTC') as \"next (UTC)\","
               " last_error",
    .nothing = "No deliveries.",
    .choice = "--dead",
    .chosen = "state = 'dead'",
};

static const char retry_sql[] =
    "with again as (update nullspend.deliveries"
    " set state = 'pending', attempts = 0, next_attempt_at = now()"
    " where case when $1::bigint is null then state = 'dead'"
    " else state <> 'sent' and delivery_id = $1::bigint end returning 1)"
    " select pg_notify('nullspend_events', '') from again";

static int
retry(const struct ns_command *command, int argc, char **argv)
{
    bool dead = false;
    const char *operands[2];
    const struct ns_option options[] = {{.name = "--dead", .flag = &dead}};
    PGconn *database;
    int code = ns_arguments_read(command, argc, argv, options, 1, operands, 1);
    if (code >= 0) {
        return code;
    }
    if ((operands[0] != NULL) == dead) {
        return ns_complain_usage(command, "retry wants the ID of a delivery, or --dead");
    }
    code = operands[0] != NULL ? ns_number_check(command, "delivery", operands[0]) : -1;
    if (code >= 0) {
        return code;
    }
    code = ns_database_open_for_change(&database);
    PGresult *result =
        code == NS_EXIT_DONE ? ns_database_query(database, retry_sql, 1, operands) : NULL;
    if (code == NS_EXIT_DONE && result == NULL) {
        code = NS_EXIT_FAILED;
    } else if (code == NS_EXIT_DONE && PQntuples(result) == 0 && !dead) {
        code = ns_complain(NS_EXIT_NOT_FOUND, "no delivery %s that is not sent", operands[0]);
    } else if (code == NS_EXIT_DONE) {
        printf("%d to be sent again\n", PQntuples(result));
    }
    PQclear(result);
    PQfinish(database);
    return code;
}

int
ns_deliveries_main(const struct ns_command *command, int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "retry") == 0) {
        return retry(command, argc - 1, argv + 1);
    }
    return ns_listing_main(command, argc, argv, &deliveries);
}
