/* SPDX-License-Identifier: Apache-2.0 */
/* `revenue import`: a CSV file into nullspend.revenue, all rows or none. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/money.h"
#include "cli/cli.h"
#include "cli/csv.h"
#include "cli/database.h"
#include "cli/revenue_rows.h"

#define ROWS_QUICK 100000

static int
read_file(const char *path, char **text, size_t *bytes)
{
    FILE *file = fopen(path, "re");
    *text = NULL;
    if (file == NULL) {
        return -errno;
    }
    size_t room = 0;
    int error = 0;
    *bytes = 0;
    while (error == 0 && !feof(file)) {
        if (room < *bytes + BUFSIZ + 1) {
            room = 2 * room + BUFSIZ + 1;
            char *more = realloc(*text, room);
            if (more == NULL) {
                error = -ENOMEM;
                break;
            }
            *text = more;
        }
        *bytes += fread(*text + *bytes, 1, BUFSIZ, file);
        error = ferror(file) ? -errno : *bytes > NS_CSV_FILE_BYTES_MAX ? -EFBIG : 0;
    }
    fclose(file);
    return error;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* One value of COPY's text format; NULL is \N. */
static void
put_copy(FILE *to, const char *text, char end)
{
    if (text == NULL) {
        fputs("\\N", to);
    }
    for (; text != NULL && *text != '\0'; text++) {
        if (*text == '\\') {
            fputc('\\', to);
        }
        fputc(*text, to);
    }
    fputc(end, to);
}

static bool
copy_rows(PGconn *database, const struct ns_revenue_rows *rows)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    if (to == NULL) {
        return false;
    }
    for (size_t i = 0; i < rows->count; i++) {
        const struct ns_revenue_row *row = &rows->row[i];
        put_copy(to, row->customer, '\t');
        put_copy(to, row->date, '\t');
        put_copy(to, row->amount, '\t');
        put_copy(to, row->currency, '\t');
        put_copy(to, row->amount_usd, '\t');
        put_copy(to, row->id, '\n');
    }
    bool good = fclose(to) == 0;
    PGresult *result = PQexec(database, "copy incoming from stdin");
    good = good && PQresultStatus(result) == PGRES_COPY_IN &&
           PQputCopyData(database, text, (int)bytes) == 1 && PQputCopyEnd(database, NULL) == 1;
    PQclear(result);
    result = good ? PQgetResult(database) : NULL;
    good = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    while ((result = PQgetResult(database)) != NULL) {
        PQclear(result);
    }
    if (!good) {
        ns_complain(0, "the rows could not be copied: %s", PQerrorMessage(database));
    }
    free(text);
    return good;
}

static const char table_sql[] =
    "create temporary table incoming (customer text, earned_on date, amount numeric,"
    " currency text, amount_usd numeric, external_id text) on commit drop";

/* A row whose id is there already takes its place; xmax tells which did. */
static const char insert_sql[] =
    "with written as (insert into nullspend.revenue as r"
    " (customer, earned_on, amount, currency, amount_usd, source, external_id)"
    " select customer, earned_on, amount, currency, amount_usd, 'csv', external_id from incoming"
    " on conflict (source, customer, external_id) where external_id is not null do update set"
    " earned_on = excluded.earned_on, amount = excluded.amount, currency = excluded.currency,"
    " amount_usd = excluded.amount_usd"
    " returning r.customer, r.amount_usd, xmax = 0 as is_new)"
    " select count(*) filter (where is_new), count(*) filter (where not is_new),"
    " count(distinct customer), trim_scale(coalesce(sum(amount_usd), 0)) from written";

/* Runs a statement without a result worth keeping. */
static bool
run(PGconn *database, const char *sql)
{
    PGresult *result = ns_database_query(database, sql, 0, NULL);
    PQclear(result);
    return result != NULL;
}

static int
write_rows(PGconn *database, const struct ns_revenue_rows *rows, bool dry_run)
{
    int code = NS_EXIT_FAILED;
    PGresult *result = NULL;
    if (rows->count > ROWS_QUICK && isatty(STDERR_FILENO)) {
        fprintf(stderr, "%zu good rows; writing them takes a while…\n", rows->count);
    }
    if (run(database, "begin") && run(database, table_sql) && copy_rows(database, rows)) {
        result = ns_database_query(database, insert_sql, 0, NULL);
    }
    if (result != NULL && run(database, dry_run ? "rollback" : "commit")) {
        const char *customers = PQgetvalue(result, 0, 2);
        printf("%s %zu row%s: %s new, %s known by their id; %s customer%s, %s USD\n",
               dry_run ? "would import" : "imported", rows->count, rows->count == 1 ? "" : "s",
               PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1), customers,
               strcmp(customers, "1") == 0 ? "" : "s", PQgetvalue(result, 0, 3));
        code = NS_EXIT_DONE;
    }
    PQclear(result);
    return code;
}

/* --- import ----------------------------------------------------------------------------------- */

static void
complain_of_row(void *context, size_t line, const char *why)
{
    fprintf(stderr, "%s:%zu: %s\n", (const char *)context, line, why);
}

static int
import(const char *path, bool dry_run)
{
    char *text;
    size_t bytes = 0;
    struct ns_revenue_rows rows = {0};
    PGconn *database = NULL;
    char name[1024];
    snprintf(name, sizeof name, "%s", path);
    int error = read_file(path, &text, &bytes);
    if (error != 0) {
        free(text);
        return ns_complain(NS_EXIT_FAILED, "%s: %s", path, strerror(-error));
    }
    size_t bad = ns_revenue_read(text, bytes, &rows, complain_of_row, name);
    int code;
    if (bad > 0) {
        code = ns_complain(NS_EXIT_FAILED, "%s: %zu bad row%s; nothing was imported", path, bad,
                           bad == 1 ? "" : "s");
    } else {
        code = ns_database_open_synced(&database);
        if (code == NS_EXIT_DONE) {
            code = write_rows(database, &rows, dry_run);
        }
    }
    PQfinish(database);
    free(rows.row);
    free(text);
    return code;
}

int
ns_revenue_main(const struct ns_command *command, int argc, char **argv)
{
    bool dry_run = false;
    const char *operands[3];
    const struct ns_option options[] = {{.name = "--dry-run", .flag = &dry_run}};
    int code = ns_arguments_read(command, argc, argv, options, 1, operands, 2);
    if (code >= 0) {
        return code;
    }
    if (operands[0] == NULL || strcmp(operands[0], "import") != 0 || operands[1] == NULL) {
        return ns_complain_usage(command, "wants 'import FILE.csv'");
    }
    return import(operands[1], dry_run);
}
