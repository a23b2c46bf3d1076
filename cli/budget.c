/* SPDX-License-Identifier: Apache-2.0 */
/* `budget set`, `list`, `show`, `rm`. Budgets are rows. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/money.h"
#include "base/words.h"
#include "cli/cli.h"
#include "cli/database.h"
#include "cli/render.h"
#include "cli/settings.h"

struct request {
    const char *limit, *period, *policy, *reserve, *on_unreachable, *deny_status;
    const char *finalize_reserve, *overdraft, *velocity, *cool_down, *thresholds;
    bool json;
    int64_t limit_nanousd;
    /* "": not given */
    char velocity_usd[NS_MONEY_TEXT_BYTES], velocity_window_s[24], cool_down_s[24];
    char overdraft_percent[NS_MONEY_TEXT_BYTES];
};

/* --- checking --------------------------------------------------------------------------------- */

static int
find_deny_status(const char *text, size_t bytes)
{
    static const char *const words[] = {"auto", "402", "403", "429"};
    for (int i = 0; i < 4; i++) {
        if (strlen(words[i]) == bytes && memcmp(words[i], text, bytes) == 0) {
            return i;
        }
    }
    return -1;
}

static int
check_words(const struct ns_command *command, const struct request *request)
{
    const struct {
        const char *option, *value, *words;
        int (*find)(const char *text, size_t bytes);
    } rows[] = {
        {"--period", request->period, "hour, day, week, month or total", ns_period_find},
        {"--policy", request->policy, "hard, soft, warn or shadow", ns_policy_find},
        {"--reserve", request->reserve, "typical or bound", ns_reserve_find},
        {"--on-unreachable", request->on_unreachable, "allow or deny", ns_unreachable_find},
        {"--deny-status", request->deny_status, "auto, 402, 403 or 429", find_deny_status},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *value = rows[i].value;
        if (value != NULL && rows[i].find(value, strlen(value)) < 0) {
            return ns_complain_usage(command, "%s is %s, not '%s'", rows[i].option, rows[i].words,
                                     value);
        }
    }
    return -1;
}

/* An amount, or a part of the limit. */
static int
check_overdraft(const struct ns_command *command, struct request *request)
{
    const char *text = request->overdraft;
    size_t bytes = text == NULL ? 0 : strlen(text);
    int64_t number;
    if (text == NULL || strcmp(text, "none") == 0) {
        return -1;
    }
    if (text[0] == '\0' || text[bytes - 1] != '%') {
        return ns_amount_check(command, "--overdraft", text, &number);
    }
    /* A number with 9 places, like an amount. */
    bool is = ns_money_parse(text, bytes - 1, &number) == 0 && number > 0 &&
              number <= INT64_C(1000) * 1000000000 && number % 10000000 == 0 &&
              bytes <= sizeof request->overdraft_percent;
    if (!is) {
        return ns_complain_usage(
            command, "--overdraft %s: not above 0%% to 1000%%, with 2 decimal places at most",
            text);
    }
    snprintf(request->overdraft_percent, sizeof request->overdraft_percent, "%.*s", (int)bytes - 1,
             text);
    request->overdraft = NULL;
    return -1;
}

static bool
is_velocity_time(const char *text, char seconds[static 24])
{
    int64_t span_s;
    bool is = ns_span_parse(text, &span_s) == 0 && span_s >= 10 && span_s <= 3600;
    snprintf(seconds, 24, "%" PRId64, is ? span_s : 0);
    return is;
}

/* USD/TIME as its two parts. */
static int
check_velocity(const struct ns_command *command, struct request *request)
{
    const char *text = request->velocity;
    int64_t nanousd = 0;
    if (request->cool_down != NULL && !is_velocity_time(request->cool_down, request->cool_down_s)) {
        return ns_complain_usage(command, "--cool-down is 10s to 1h, not '%s'", request->cool_down);
    }
    if (text == NULL) {
        return -1;
    }
    const char *slash = strchr(text, '/');
    size_t bytes = slash == NULL ? strlen(text) : (size_t)(slash - text);
    if (slash == NULL && strcmp(text, "none") == 0) {
        snprintf(request->velocity_usd, sizeof request->velocity_usd, "none");
        return request->cool_down == NULL ? -1
                                          : ns_complain_usage(command, "--velocity none has no "
                                                                       "--cool-down");
    }
    if (slash == NULL || bytes >= sizeof request->velocity_usd ||
        !is_velocity_time(slash + 1, request->velocity_window_s)) {
        return ns_complain_usage(
            command, "--velocity is USD/TIME like 5/60s, of 10s to 1h, or none, not '%s'", text);
    }
    snprintf(request->velocity_usd, sizeof request->velocity_usd, "%.*s", (int)bytes, text);
    int code = ns_amount_check(command, "--velocity", request->velocity_usd, &nanousd);
    return code >= 0 || nanousd > 0
               ? code
               : ns_complain_usage(command, "--velocity 0 would deny everything: use --limit 0");
}

/* Numbers with commas between, or none; the schema looks at their order. */
static int
check_thresholds(const struct ns_command *command, const char *text)
{
    if (text == NULL || strcmp(text, "none") == 0) {
        return -1;
    }
    size_t digits = 0;
    bool is = true;
    for (const char *at = text; is; at++) {
        bool digit = *at >= '0' && *at <= '9';
        is = digit ? ++digits <= 4 : (*at == ',' || *at == '\0') && digits > 0;
        digits = digit ? digits : 0;
        if (*at == '\0') {
            break;
        }
    }
    return is ? -1
              : ns_complain_usage(
                    command, "--thresholds are percents like 50,80,95, or none, not '%s'", text);
}

static int
check_amounts(const struct ns_command *command, struct request *request)
{
    int64_t kept_nanousd = 0;
    if (request->limit == NULL || request->period == NULL) {
        return ns_complain_usage(command, "set needs --limit USD and --period PERIOD");
    }
    int code = ns_amount_check(command, "--limit", request->limit, &request->limit_nanousd);
    if (code < 0 && request->finalize_reserve != NULL) {
        code = ns_amount_check(command, "--finalize-reserve", request->finalize_reserve,
                               &kept_nanousd);
    }
    code = code < 0 ? check_overdraft(command, request) : code;
    if (code < 0 && kept_nanousd > 0 && kept_nanousd >= request->limit_nanousd) {
        return ns_complain_usage(
            command, "--finalize-reserve %s is a part of the limit: it must be below %s",
            request->finalize_reserve, request->limit);
    }
    code = code < 0 ? check_thresholds(command, request->thresholds) : code;
    return code < 0 ? check_velocity(command, request) : code;
}

/* --- showing ---------------------------------------------------------------------------------- */

static const char table_columns[] =
    "entity, period, trim_scale(limit_usd) as limit_usd, trim_scale(spent_usd) as spent_usd,"
    " trim_scale(held_usd) as held_usd, trim_scale(remaining_usd) as remaining_usd,"
    " trim_scale(finalize_reserve_usd) as \"to finalize\","
    " trim_scale(granted_left_usd) as \"of grants\","
    " coalesce(trim_scale(velocity_usd) || '/' || velocity_window_s || 's'"
    " || case when paused_until is null then '' else ' paused' end, '-') as velocity,"
    " coalesce(to_char(period_end, case when period = 'hour' then 'YYYY-MM-DD HH24:MI'"
    " else 'YYYY-MM-DD' end), 'never') as \"ends (UTC)\", policy";

static PGresult *
select_budgets(PGconn *database, const char *entity, bool json)
{
    char sql[2048];
    const char *parameters[] = {entity};
    snprintf(sql, sizeof sql,
             "select %s from nullspend.budget_status"
             " where $1::text is null or entity = $1 order by entity, period",
             json ? "*" : table_columns);
    return ns_database_query(database, sql, 1, parameters);
}

static int
show_budgets(const struct ns_command *command, const char *entity, struct request *request)
{
    PGconn *database;
    (void)command;
    int code = ns_database_open_synced(&database);
    if (code != NS_EXIT_DONE) {
        PQfinish(database);
        return code;
    }
    PGresult *result = select_budgets(database, entity, request->json);
    if (result == NULL) {
        code = NS_EXIT_FAILED;
    } else if (entity != NULL && PQntuples(result) == 0) {
        code = ns_complain(NS_EXIT_NOT_FOUND, "no budget for %s", entity);
    } else if (PQntuples(result) == 0 && !request->json) {
        puts("No budgets. Set one: nullspend budget set customer:acme --limit 25 --period day");
    } else {
        ns_render(stdout, result, request->json ? NS_FORMAT_JSON : NS_FORMAT_TABLE);
    }
    PQclear(result);
    PQfinish(database);
    return code;
}

/* After a change with --json: the budgets of the entity as they are now. */
static int
print_changed(PGconn *database, const char *entity)
{
    PGresult *result = select_budgets(database, entity, true);
    if (result == NULL) {
        return NS_EXIT_FAILED;
    }
    ns_render_json(stdout, result);
    PQclear(result);
    return NS_EXIT_DONE;
}

/* --- changing --------------------------------------------------------------------------------- */

static const char set_sql[] =
    "insert into nullspend.budgets as b"
    " (entity, period, policy, reserve, on_unreachable, deny_status, limit_nanousd,"
    " finalize_reserve_usd, overdraft_usd, velocity_usd, velocity_window_s, velocity_cooldown_s,"
    " overdraft_percent, thresholds)"
    " values ($1, $2, coalesce($3, case when coalesce(nullif($9, 'none'), $13) is null"
    " then 'hard' else 'soft' end),"
    " coalesce($4, 'typical'), coalesce($5, 'allow'),"
    " coalesce($6::integer, 0), $7::bigint, coalesce($8::numeric, 0),"
    " nullif($9, 'none')::numeric, nullif($10, 'none')::numeric, $11::integer,"
    " coalesce($12::integer, case when nullif($10, 'none') is null then null else 60 end),"
    " $13::numeric, coalesce(string_to_array(nullif($14, 'none'), ',')::integer[],"
    " case when $14 = 'none' then '{}' else '{50,80,90,95}' end::integer[]))"
    " on conflict (entity, period) do update set policy = coalesce($3, b.policy),"
    " reserve = coalesce($4, b.reserve), on_unreachable = coalesce($5, b.on_unreachable),"
    " deny_status = coalesce($6::integer, b.deny_status), limit_nanousd = $7::bigint,"
    " finalize_reserve_usd = coalesce($8::numeric, b.finalize_reserve_usd),"
    " overdraft_usd = case when coalesce($9, $13) is null then b.overdraft_usd"
    " else nullif($9, 'none')::numeric end,"
    " overdraft_percent = case when coalesce($9, $13) is null then b.overdraft_percent"
    " else $13::numeric end,"
    " velocity_usd = case when $10 is null then b.velocity_usd"
    " else nullif($10, 'none')::numeric end,"
    " velocity_window_s = case when $10 is null then b.velocity_window_s else $11::integer end,"
    " velocity_cooldown_s = case when $10 = 'none' then null else coalesce($12::integer,"
    " b.velocity_cooldown_s, case when $10 is null then null else 60 end) end,"
    " thresholds = case when $14 is null then b.thresholds else excluded.thresholds end";

static const char rm_sql[] = "delete from nullspend.budgets"
                             " where entity = $1 and ($2::text is null or period = $2)";

static const char *
per_period(const char *period)
{
    static const char *const words[] = {
        [NS_PERIOD_HOUR] = "an hour",  [NS_PERIOD_DAY] = "a day",      [NS_PERIOD_WEEK] = "a week",
        [NS_PERIOD_MONTH] = "a month", [NS_PERIOD_TOTAL] = "in total",
    };
    return words[ns_period_find(period, strlen(period))];
}

static const char *
given(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static int
set_budget(const struct ns_command *command, const char *entity, struct request *request)
{
    char limit[32], short_limit[NS_MONEY_TEXT_BYTES];
    PGconn *database;
    int changed;
    int code = check_amounts(command, request);
    if (code >= 0) {
        return code;
    }
    bool automatic = request->deny_status != NULL && strcmp(request->deny_status, "auto") == 0;
    const char *parameters[] = {
        entity,
        request->period,
        request->policy,
        request->reserve,
        request->on_unreachable,
        automatic ? "0" : request->deny_status,
        limit,
        request->finalize_reserve,
        request->overdraft,
        given(request->velocity_usd),
        given(request->velocity_window_s),
        given(request->cool_down_s),
        given(request->overdraft_percent),
        request->thresholds,
    };
    snprintf(limit, sizeof limit, "%" PRId64, request->limit_nanousd);
    code = ns_database_open_for_change(&database);
    if (code == NS_EXIT_DONE) {
        code = ns_settings_change(database, set_sql, 14, parameters, &changed);
    }
    if (code == NS_EXIT_DONE && request->json) {
        code = print_changed(database, entity);
    } else if (code == NS_EXIT_DONE) {
        ns_money_format_short(request->limit_nanousd, short_limit);
        printf("%s: $%s %s, in force\n", entity, short_limit, per_period(request->period));
    }
    PQfinish(database);
    return code;
}

static int
remove_budget(const struct ns_command *command, const char *entity, struct request *request)
{
    const char *parameters[] = {entity, request->period};
    PGconn *database;
    int changed = 0;
    (void)command;
    int code = ns_database_open_for_change(&database);
    if (code == NS_EXIT_DONE) {
        code = ns_settings_change(database, rm_sql, 2, parameters, &changed);
    }
    if (code == NS_EXIT_DONE && changed == 0) {
        code = ns_complain(NS_EXIT_NOT_FOUND, "no budget for %s", entity);
    } else if (code == NS_EXIT_DONE && request->json) {
        code = print_changed(database, entity);
    } else if (code == NS_EXIT_DONE) {
        printf("removed %d budget%s of %s\n", changed, changed == 1 ? "" : "s", entity);
    }
    PQfinish(database);
    return code;
}

/* --- budget ----------------------------------------------------------------------------------- */

static int (*const run[NS_VERB_COUNT])(const struct ns_command *command, const char *entity,
                                       struct request *request) = {
    [NS_VERB_SET] = set_budget,
    [NS_VERB_LIST] = show_budgets,
    [NS_VERB_SHOW] = show_budgets,
    [NS_VERB_RM] = remove_budget,
};

/* Options that the verb has no use for are refused. */
static int
check_taken(const struct ns_command *command, enum ns_settings_verb verb,
            const struct request *request)
{
    bool limits = request->limit != NULL || request->policy != NULL || request->reserve != NULL ||
                  request->on_unreachable != NULL || request->deny_status != NULL ||
                  request->finalize_reserve != NULL || request->overdraft != NULL ||
                  request->velocity != NULL || request->cool_down != NULL ||
                  request->thresholds != NULL;
    bool takes_period = verb == NS_VERB_SET || verb == NS_VERB_RM;
    return (limits && verb != NS_VERB_SET) || (request->period != NULL && !takes_period)
               ? ns_settings_not_taken(command, verb)
               : -1;
}

int
ns_budget_main(const struct ns_command *command, int argc, char **argv)
{
    struct request request = {0};
    const char *operands[3];
    const struct ns_option options[] = {
        {.name = "--limit", .value = &request.limit},
        {.name = "--period", .value = &request.period},
        {.name = "--policy", .value = &request.policy},
        {.name = "--reserve", .value = &request.reserve},
        {.name = "--on-unreachable", .value = &request.on_unreachable},
        {.name = "--deny-status", .value = &request.deny_status},
        {.name = "--finalize-reserve", .value = &request.finalize_reserve},
        {.name = "--overdraft", .value = &request.overdraft},
        {.name = "--velocity", .value = &request.velocity},
        {.name = "--cool-down", .value = &request.cool_down},
        {.name = "--thresholds", .value = &request.thresholds},
        {.name = "--json", .flag = &request.json},
    };
    int code = ns_arguments_read(command, argc, argv, options, sizeof options / sizeof options[0],
                                 operands, 2);
    if (code >= 0) {
        return code;
    }
    enum ns_settings_verb verb;
    code = ns_settings_verb(command, operands, &verb);
    code = code < 0 ? check_taken(command, verb, &request) : code;
    code = code < 0 ? check_words(command, &request) : code;
    return code < 0 ? run[verb](command, operands[1], &request) : code;
}
