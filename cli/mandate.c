/* SPDX-License-Identifier: Apache-2.0 */
/* `mandate set`, `list`, `show`, `rm`. Mandates are rows. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "cli/cli.h"
#include "cli/database.h"
#include "cli/render.h"
#include "cli/settings.h"

/* Lists, as parameters $3 to $15 of set_sql. */
enum { LISTS = 13 };

struct request {
    const char *list[LISTS];
    const char *output_tokens_max, *repeats, *policy;
    bool json;
    /* What was read from the above. */
    char repeats_max[24], repeats_window_s[24];
};

#define LIST_COLUMNS                                                                               \
    "allow_models, deny_models, allow_providers, deny_providers, allow_hosts, deny_hosts,"         \
    " allow_operations, deny_operations, allow_tiers, deny_tiers, allow_tools, deny_tools, "       \
    "require"

/* Words are given with commas between; blanks around them are of no matter. */
#define WORDS(number) "coalesce(nullspend.words($" number "), '{}')"

/* --- showing ---------------------------------------------------------------------------------- */

static const char table_sql[] =
    "select m.entity, coalesce(string_agg(w.said, '; ' order by w.place), '')"
    " || case when m.output_tokens_max is null then ''"
    " else case when count(w.said) > 0 then '; ' else '' end || 'output_tokens_max '"
    " || m.output_tokens_max end as mandate, m.policy"
    " from nullspend.mandates m"
    " left join lateral (select min(l.place) as place,"
    " l.list || ' ' || string_agg(l.word, ', ' order by l.place) as said"
    " from nullspend.mandate_words(m) with ordinality as l (list, word, place)"
    " group by l.list) w on true"
    " where $1::text is null or m.entity = $1 group by m.id order by m.entity";

static const char json_sql[] =
    "select entity, policy, to_jsonb(allow_models) as allow_models,"
    " to_jsonb(deny_models) as deny_models, to_jsonb(allow_providers) as allow_providers,"
    " to_jsonb(deny_providers) as deny_providers, to_jsonb(allow_hosts) as allow_hosts,"
    " to_jsonb(deny_hosts) as deny_hosts, to_jsonb(allow_operations) as allow_operations,"
    " to_jsonb(deny_operations) as deny_operations, to_jsonb(allow_tiers) as allow_tiers,"
    " to_jsonb(deny_tiers) as deny_tiers, to_jsonb(allow_tools) as allow_tools,"
    " to_jsonb(deny_tools) as deny_tools, to_jsonb(require) as require, output_tokens_max,"
    " repeats_max, repeats_window_s, created_at, updated_at, id"
    " from nullspend.mandates where $1::text is null or entity = $1 order by entity";

static PGresult *
select_mandates(PGconn *database, const char *entity, bool json)
{
    return ns_database_query(database, json ? json_sql : table_sql, 1, &entity);
}

static int
show_mandates(const struct ns_command *command, const char *entity, struct request *request)
{
    PGconn *database;
    (void)command;
    int code = ns_database_open_synced(&database);
    PGresult *result =
        code == NS_EXIT_DONE ? select_mandates(database, entity, request->json) : NULL;
    if (code == NS_EXIT_DONE && result == NULL) {
        code = NS_EXIT_FAILED;
    } else if (result != NULL && entity != NULL && PQntuples(result) == 0) {
        code = ns_complain(NS_EXIT_NOT_FOUND, "no mandate for %s", entity);
    } else if (result != NULL && PQntuples(result) == 0 && !request->json) {
        puts("No mandates. Set one: nullspend mandate set agent:bot --allow-models 'gpt-4o*'");
    } else if (result != NULL) {
        ns_render(stdout, result, request->json ? NS_FORMAT_JSON : NS_FORMAT_TABLE);
    }
    PQclear(result);
    PQfinish(database);
    return code;
}

/* --- changing --------------------------------------------------------------------------------- */

#define SET_LIST(column, number)                                                                   \
    column " = case when $" number "::text is null then m." column " else excluded." column " end"

/* clang-format off */
static const char set_sql[] =
    "insert into nullspend.mandates as m (entity, policy, " LIST_COLUMNS ", output_tokens_max,"
    " repeats_max, repeats_window_s)"
    " values ($1, coalesce($2, 'hard'), " WORDS("3") ", " WORDS("4") ", " WORDS("5") ","
    " " WORDS("6") ", " WORDS("7") ", " WORDS("8") ", " WORDS("9") ", " WORDS("10") ","
    " " WORDS("11") ", " WORDS("12") ", " WORDS("13") ", " WORDS("14") ", " WORDS("15") ","
    " nullif($16, 'none')::bigint, nullif($17, 'none')::integer, $18::integer)"
    " on conflict (entity) do update set policy = coalesce($2, m.policy),"
    " " SET_LIST("allow_models", "3") ", " SET_LIST("deny_models", "4") ","
    " " SET_LIST("allow_providers", "5") ", " SET_LIST("deny_providers", "6") ","
    " " SET_LIST("allow_hosts", "7") ", " SET_LIST("deny_hosts", "8") ","
    " " SET_LIST("allow_operations", "9") ", " SET_LIST("deny_operations", "10") ","
    " " SET_LIST("allow_tiers", "11") ", " SET_LIST("deny_tiers", "12") ","
    " " SET_LIST("allow_tools", "13") ", " SET_LIST("deny_tools", "14") ","
    " " SET_LIST("require", "15") ","
    " output_tokens_max = case when $16::text is null then m.output_tokens_max"
    " else excluded.output_tokens_max end,"
    " repeats_max = case when $17::text is null then m.repeats_max else excluded.repeats_max end,"
    " repeats_window_s = case when $17::text is null then m.repeats_window_s"
    " else excluded.repeats_window_s end";
/* clang-format on */

static const char rm_sql[] = "delete from nullspend.mandates where entity = $1";

/* The mandate as it is now. */
static int
print_changed(PGconn *database, const char *entity, bool json)
{
    PGresult *result = select_mandates(database, entity, json);
    if (result == NULL) {
        return NS_EXIT_FAILED;
    }
    ns_render(stdout, result, json ? NS_FORMAT_JSON : NS_FORMAT_TABLE);
    PQclear(result);
    return NS_EXIT_DONE;
}

static bool
has_terms(const struct request *request)
{
    bool any =
        request->output_tokens_max != NULL || request->repeats != NULL || request->policy != NULL;
    for (size_t i = 0; i < LISTS; i++) {
        any |= request->list[i] != NULL;
    }
    return any;
}

/* N/TIME as its two parts. */
static int
check_repeats(const struct ns_command *command, struct request *request)
{
    const char *text = request->repeats;
    char *end = NULL;
    int64_t span_s = 0;
    if (text == NULL || strcmp(text, "none") == 0) {
        snprintf(request->repeats_max, sizeof request->repeats_max, "none");
        return -1;
    }
    long long most = text[0] >= '0' && text[0] <= '9' ? strtoll(text, &end, 10) : 0;
    if (most <= 0 || most > INT32_MAX || *end != '/' || ns_span_parse(end + 1, &span_s) != 0 ||
        span_s < 1 || span_s > 86400) {
        return ns_complain_usage(
            command, "--repeats is N/TIME like 50/60s, of 1s to 1d, or none, not '%s'", text);
    }
    snprintf(request->repeats_max, sizeof request->repeats_max, "%lld", most);
    snprintf(request->repeats_window_s, sizeof request->repeats_window_s, "%" PRId64, span_s);
    return -1;
}

static int
check_terms(const struct ns_command *command, struct request *request)
{
    const char *most = request->output_tokens_max;
    char *end = NULL;
    if (!has_terms(request)) {
        return ns_complain_usage(command, "set needs a list, like --allow-models 'gpt-4o*'");
    }
    if (request->policy != NULL && strcmp(request->policy, "hard") != 0 &&
        strcmp(request->policy, "shadow") != 0) {
        return ns_complain_usage(command, "--policy is hard or shadow, not '%s'", request->policy);
    }
    if (most != NULL && strcmp(most, "none") != 0 &&
        (most[0] < '0' || most[0] > '9' || strtoll(most, &end, 10) <= 0 || *end != '\0' ||
         strtoll(most, NULL, 10) == INT64_MAX)) {
        return ns_complain_usage(
            command, "--max-output-tokens is a number above 0, or none, not '%s'", most);
    }
    return check_repeats(command, request);
}

static int
set_mandate(const struct ns_command *command, const char *entity, struct request *request)
{
    const char *parameters[LISTS + 5] = {entity, request->policy};
    PGconn *database;
    int changed;
    int code = check_terms(command, request);
    if (code >= 0) {
        return code;
    }
    for (size_t i = 0; i < LISTS; i++) {
        parameters[i + 2] = request->list[i];
    }
    parameters[LISTS + 2] = request->output_tokens_max;
    parameters[LISTS + 3] = request->repeats == NULL ? NULL : request->repeats_max;
    parameters[LISTS + 4] = request->repeats_window_s[0] == '\0' ? NULL : request->repeats_window_s;
    code = ns_database_open_for_change(&database);
    if (code == NS_EXIT_DONE) {
        code = ns_settings_change(database, set_sql, LISTS + 5, parameters, &changed);
    }
    if (code == NS_EXIT_DONE) {
        code = print_changed(database, entity, request->json);
    }
    PQfinish(database);
    return code;
}

static int
remove_mandate(const struct ns_command *command, const char *entity, struct request *request)
{
    PGconn *database;
    int changed = 0;
    (void)command;
    int code = ns_database_open_for_change(&database);
    if (code == NS_EXIT_DONE) {
        code = ns_settings_change(database, rm_sql, 1, &entity, &changed);
    }
    if (code == NS_EXIT_DONE && changed == 0) {
        code = ns_complain(NS_EXIT_NOT_FOUND, "no mandate for %s", entity);
    } else if (code == NS_EXIT_DONE && request->json) {
        puts("[]");
    } else if (code == NS_EXIT_DONE) {
        printf("removed the mandate of %s\n", entity);
    }
    PQfinish(database);
    return code;
}

/* --- mandate ---------------------------------------------------------------------------------- */

static int (*const run[NS_VERB_COUNT])(const struct ns_command *command, const char *entity,
                                       struct request *request) = {
    [NS_VERB_SET] = set_mandate,
    [NS_VERB_LIST] = show_mandates,
    [NS_VERB_SHOW] = show_mandates,
    [NS_VERB_RM] = remove_mandate,
};

int
ns_mandate_main(const struct ns_command *command, int argc, char **argv)
{
    static const char *const names[LISTS] = {
        "--allow-models", "--deny-models", "--allow-providers",  "--deny-providers",
        "--allow-hosts",  "--deny-hosts",  "--allow-operations", "--deny-operations",
        "--allow-tiers",  "--deny-tiers",  "--allow-tools",      "--deny-tools",
        "--require"};
    struct request request = {0};
    const char *operands[3];
    struct ns_option options[LISTS + 4] = {
        {.name = "--repeats", .value = &request.repeats},
        {.name = "--max-output-tokens", .value = &request.output_tokens_max},
        {.name = "--policy", .value = &request.policy},
        {.name = "--json", .flag = &request.json},
    };
    for (size_t i = 0; i < LISTS; i++) {
        options[i + 4] = (struct ns_option){.name = names[i], .value = &request.list[i]};
    }
    int code = ns_arguments_read(command, argc, argv, options, sizeof options / sizeof options[0],
                                 operands, 2);
    if (code >= 0) {
        return code;
    }
    enum ns_settings_verb verb;
    code = ns_settings_verb(command, operands, &verb);
    if (code < 0 && verb != NS_VERB_SET && has_terms(&request)) {
        code = ns_settings_not_taken(command, verb);
    }
    return code < 0 ? run[verb](command, operands[1], &request) : code;
}
