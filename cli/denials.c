/* SPDX-License-Identifier: Apache-2.0 */
/* `denials`, `savings` and `explain`. */
#include <stdio.h>
#include <string.h>

#include "base/money.h"
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

static const struct ns_listing savings = {
    .view = "nullspend.savings",
    .moment = "day",
    .columns = "day, reason, coalesce(entity, '-') as entity, coalesce(customer, '-') as customer,"
               " denials, calls, trim_scale(saved_usd) as saved_usd",
    .nothing = "Nothing was denied.",
};

int
ns_savings_main(const struct ns_command *command, int argc, char **argv)
{
    return ns_listing_main(command, argc, argv, &savings);
}

static const char explain_sql[] =
    "select denial_id, to_char(denied_at, 'YYYY-MM-DD HH24:MI:SS') || ' UTC' as denied_at, reason,"
    " entity, trim_scale(limit_usd) as limit_usd, trim_scale(spent_usd) as spent_usd,"
    " trim_scale(held_usd) as held_usd, trim_scale(needed_usd) as needed_usd,"
    " trim_scale(kept_usd) as kept_usd, trim_scale(more_usd) as more_usd,"
    " trim_scale(granted_usd) as granted_usd,"
    " trim_scale(greatest(limit_usd + more_usd - kept_usd - spent_usd - held_usd, 0)"
    " + granted_usd) as would_pass_usd,"
    " trim_scale(greatest(needed_usd - granted_usd"
    " - greatest(limit_usd + more_usd - kept_usd - spent_usd - held_usd, 0), 0)"
    " + greatest(spent_usd + held_usd - limit_usd - more_usd + kept_usd, 0)) as missing_usd,"
    " rule, provider, model, customer, agent, feature, session, process, pid, enforced"
    " from nullspend.denials, coalesce(finalize_reserve_usd, 0) as kept_usd,"
    " coalesce(case when enforced then overdraft_usd end, 0) as more_usd,"
    " coalesce(granted_left_usd, 0) as granted_usd"
    " where denial_id = $1::uuid or call_id = $1::uuid";

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

/* An amount with its cents. */
static void
put_usd(const PGresult *row, const char *before, const char *name, const char *after)
{
    char text[NS_MONEY_TEXT_BYTES];
    const char *amount = value(row, name);
    int64_t nanousd;
    if (ns_money_parse(amount, strlen(amount), &nanousd) == 0) {
        ns_money_format_short(nanousd, text);
        amount = text;
    }
    printf("%s$%s%s", before, amount, after);
}

static void
explain_budget(const PGresult *row)
{
    put_usd(row, "\nAt that moment the budget of ", "limit_usd", " had ");
    put_usd(row, "", "spent_usd", " spent and ");
    put_usd(row, "", "held_usd", " held by running calls;\n");
    if (strcmp(value(row, "kept_usd"), "0") != 0) {
        put_usd(row, "", "kept_usd", " of it is kept for calls with X-NullSpend-Finalize;\n");
    }
    if (strcmp(value(row, "more_usd"), "0") != 0) {
        put_usd(row, "it could be passed by ", "more_usd", ";\n");
    }
    if (strcmp(value(row, "granted_usd"), "0") != 0) {
        put_usd(row, "of a grant ", "granted_usd", " was left;\n");
    }
    put_usd(row, "this call needed ", "needed_usd", ". ");
    if (strcmp(value(row, "would_pass_usd"), "0") == 0) {
        printf("Nothing was left for any call;\nthis one would have passed");
    } else {
        put_usd(row, "A call that needs at most ", "would_pass_usd", " would have passed,\n");
        printf("and so would this one");
    }
    put_usd(row, " with a limit higher by ", "missing_usd", ".\n");
}

static void
explain_velocity(const PGresult *row)
{
    put_usd(row, "\nThrough this budget ", "limit_usd", " may go within its window; ");
    put_usd(row, "", "spent_usd", " had gone,\n");
    put_usd(row, "and such calls typically cost ", "needed_usd", ".\n");
    puts("When more would go, all calls are denied until the cool-down is over; within the first\n"
         "window after it one call may go, or a tenth of the amount.");
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
    line(value(row, "rule")[0] != '\0' ? "mandate" : "budget", value(row, "entity"));
    line("rule", value(row, "rule"));
    for (size_t i = 0; i < sizeof whose / sizeof whose[0]; i++) {
        line(whose[i], value(row, whose[i]));
    }
    if (strcmp(value(row, "reason"), "velocity") == 0) {
        explain_velocity(row);
    } else if (value(row, "limit_usd")[0] != '\0') {
        explain_budget(row);
    }
    if (!enforced) {
        puts("It was only recorded: the call went through.");
    }
}

/* There is no denial of this id: perhaps it is that of a call. */
static int
complain_of_nothing(PGconn *database, const char *id)
{
    PGresult *call = ns_database_query(
        database, "select 1 from nullspend.calls where call_id = $1::uuid", 1, &id);
    bool passed = call != NULL && PQntuples(call) > 0;
    PQclear(call);
    return ns_complain(NS_EXIT_NOT_FOUND,
                       passed ? "%s is a call that was not denied" : "no denial %s", id);
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
        json ? "select * from nullspend.denials where denial_id = $1::uuid or call_id = $1::uuid"
             : explain_sql;
    PGresult *result = ns_database_query(database, sql, 1, operands);
    if (result == NULL) {
        code = NS_EXIT_FAILED;
    } else if (PQntuples(result) == 0) {
        code = complain_of_nothing(database, operands[0]);
    } else if (json) {
        ns_render_json(stdout, result);
    } else {
        explain(result);
    }
    PQclear(result);
    PQfinish(database);
    return code;
}
