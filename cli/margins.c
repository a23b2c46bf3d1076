/* SPDX-License-Identifier: Apache-2.0 */
/* `margins`: what remains of revenue, by customer, feature or agent. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/database.h"
#include "cli/render.h"

#define DAY_S 86400

static const struct by {
    const char *name;
    const char *view;
    const char *between;
} bys[] = {
    {"customer", "nullspend.margins", "nullspend.margins_between"},
    {"feature", "nullspend.margins_by_feature", "nullspend.margins_by_feature_between"},
    {"agent", "nullspend.margins_by_agent", "nullspend.margins_by_agent_between"},
};

static const struct by *
find_by(const char *name)
{
    for (size_t i = 0; i < sizeof bys / sizeof bys[0]; i++) {
        if (name == NULL || strcmp(bys[i].name, name) == 0) {
            return &bys[i];
        }
    }
    return NULL;
}

static int
show(PGconn *database, const struct by *by, int64_t since_s, enum ns_format format)
{
    char sql[1024], columns[256], source[256];
    snprintf(columns, sizeof columns,
             "%s, trim_scale(revenue_usd) as revenue_usd, trim_scale(cost_usd) as cost_usd,"
             " trim_scale(margin_usd) as margin_usd, margin_pct, tier, calls",
             by->name);
    /* N days are today and the N - 1 before it; see nullspend.margin_days_from(). */
    snprintf(source, sizeof source,
             "%s((now() at time zone 'UTC')::date - %" PRId64 ", nullspend.margin_days_to())",
             by->between, (since_s + DAY_S - 1) / DAY_S - 1);
    snprintf(sql, sizeof sql, "select %s from %s", format == NS_FORMAT_TABLE ? columns : "*",
             since_s > 0 ? source : by->view);
    PGresult *result = ns_database_query(database, sql, 0, NULL);
    if (result == NULL) {
        return NS_EXIT_FAILED;
    }
    if (PQntuples(result) == 0 && format == NS_FORMAT_TABLE) {
        puts("Neither calls nor revenue. Import revenue: nullspend revenue import FILE.csv");
    } else {
        ns_render(stdout, result, format);
    }
    PQclear(result);
    return NS_EXIT_DONE;
}

int
ns_margins_main(const struct ns_command *command, int argc, char **argv)
{
    const char *by_name = NULL, *since = NULL, *none[1];
    bool json = false, csv = false;
    int64_t since_s = 0;
    const struct ns_option options[] = {
        {.name = "--by", .value = &by_name},
        {.name = "--since", .value = &since},
        {.name = "--json", .flag = &json},
        {.name = "--csv", .flag = &csv},
    };
    int code = ns_arguments_read(command, argc, argv, options, sizeof options / sizeof options[0],
                                 none, 0);
    if (code >= 0) {
        return code;
    }
    const struct by *by = find_by(by_name);
    if (by == NULL) {
        return ns_complain_usage(command, "--by is customer, feature or agent, not %s", by_name);
    }
    if (since != NULL && ns_span_parse(since, &since_s) != 0) {
        return ns_complain_usage(command, "--since wants a time like 7d, 30d or 12w, not %s",
                                 since);
    }
    if (json && csv) {
        return ns_complain_usage(command, "--json or --csv, not both");
    }
    PGconn *database;
    code = ns_database_open_synced(&database);
    if (code == NS_EXIT_DONE) {
        code = show(database, by, since_s,
                    json  ? NS_FORMAT_JSON
                    : csv ? NS_FORMAT_CSV
                          : NS_FORMAT_TABLE);
    }
    PQfinish(database);
    return code;
}
