/* SPDX-License-Identifier: Apache-2.0 */
/* `denials` and `explain`. */
#include <stdio.h>
#include <string.h>

#include "base/uuid.h"
#include "cli/database.h"
#include "cli/listing.h"
#include "cli/render.h"

static const struct ns_listing denials = {
    .view = "nullspend.denials",
    .moment = "denied_at",
    .columns = "date_trunc('second', denied_at at time zone 'UTC') as \"denied (UTC)\", denial_id,"
               " coalesce(entity, customer) as entity,"
               " case when enforced then reason else 'only recorded' end as reason,"
               " trim_scale(needed_usd) as needed_usd, trim_scale(limit_usd) as limit_usd,"
               " trim_scale(spent_usd) as spent_usd, trim_scale(held_usd) as held_usd,"
               " coalesce(customer, '-') as customer, model",
    .nothing = "No denials.",
};

int
ns_denials_main(const struct ns_command *command, int argc, char **argv)
{
    return ns_listing_main(command, argc, argv, &denials);
}

static const char explain_sql[] =
    "select denial_id, to_char(denied_at, 'YYYY-MM-DD HH24:MI:SS') || ' UTC' as denied_at, reason,"
    " entity, trim_scale(limit_usd) as limit_usd, trim_scale(spent_usd) as spent_usd,"
    " trim_scale(held_usd) as held_usd, trim_scale(needed_usd) as needed_usd,"
    " trim_scale(greatest(limit_usd - spent_usd - held_usd, 0)) as would_pass_usd,"
    " trim_scale(greatest(spent_usd + held_usd + needed_usd - limit_usd, 0)) as missing_usd,"
    " provider, model, customer, agent, feature, session, process, pid, enforced"
    " from nullspend.denials where denial_id = $1::uuid";

/* The value of a column of the one row; "" where it is NULL. */
static const char *
value(const PGresult *row, const char *name)
{
    return PQgetvalue(row, 0, PQfnumber(row, name));
}

/* Writes a value without anything that could command a terminal. */
static void
put(const char *text)
{
    for (; *text != '\0'; text++) {
        putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
    }
}

static void
line(const char *title, const char *text)
{
    if (text[0] != '\0') {
        printf("%-10s ", title);
        put(text);
        putchar('\n');
    }
}

static void
explain(const PGresult *row)
{
    static const char *const whose[] = {"customer", "agent", "feature", "session",
                                        "provider", "model", "process", "pid"};
    bool enforced = value(row, "enforced")[0] == 't';
    line("denial", value(row, "denial_id"));
    line("when", value(row, "denied_at"));
    line("reason", value(row, "reason"));
    line("budget", value(row, "entity"));
    for (size_t i = 0; i < sizeof whose / sizeof whose[0]; i++) {
        line(whose[i], value(row, whose[i]));
    }
    if (value(row, "limit_usd")[0] != '\0') {
        printf("\nAt that moment the budget of $%s had $%s spent and $%s held by running calls;\n"
               "this call needed $%s. A call that needs at most $%s would have passed,\n"
               "and so would this one with a limit higher by $%s.\n",
               value(row, "limit_usd"), value(row, "spent_usd"), value(row, "held_usd"),
               value(row, "needed_usd"), value(row, "would_pass_usd"), value(row, "missing_usd"));
    }
    if (!enforced) {
        puts("It was only recorded: the call went through.");
    }
}

int
ns_explain_main(const struct ns_command *command, int argc, char **argv)
{
    bool json = false;
    const char *operands[2];
    const struct ns_option options[] = {{.name = "--json", .flag = &json}};
    struct ns_uuid id;
    int code = ns_arguments_read(command, argc, argv, options, 1, operands, 1);
    if (code >= 0) {
        return code;
    }
    if (operands[0] == NULL || ns_uuid_parse(operands[0], strlen(operands[0]), &id) != 0) {
        return ns_complain_usage(command, "wants the id of a denial, as in X-NullSpend-Denial-Id");
    }
    PGconn *database;
    code = ns_database_open_synced(&database);
    if (code != NS_EXIT_DONE) {
        PQfinish(database);
        return code;
    }
    const char *sql =
        json ? "select * from nullspend.denials where denial_id = $1::uuid" : explain_sql;
    PGresult *result = ns_database_query(database, sql, 1, operands);
    if (result == NULL) {
        code = NS_EXIT_FAILED;
    } else if (PQntuples(result) == 0) {
        code = ns_complain(NS_EXIT_NOT_FOUND, "no denial %s", operands[0]);
    } else if (json) {
        ns_render_json(stdout, result);
    } else {
        explain(result);
    }
    PQclear(result);
    PQfinish(database);
    return code;
}
