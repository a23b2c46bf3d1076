/* SPDX-License-Identifier: Apache-2.0 */
/* `endpoint`: who is told of events. What an endpoint may be is the schema's to say; it is sent to
 * by the collector's notifier. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "cli/cli.h"
#include "cli/database.h"
#include "cli/render.h"
#include "protocol/zmtp.h"

#define PAGERDUTY_URL "https://events.pagerduty.com/v2/enqueue"
#define SECRET_BYTES 2048
#define GRACE_S "86400"
/* An attempt takes at most 30 s; the rest is for the notifier to notice. */
#define TEST_TIMEOUT_NS INT64_C(45000000000)
#define RECHECK_MS 250

struct request {
    const char *webhook, *slack, *pagerduty, *mail; /* one of them makes the kind */
    const char *url, *smtp, *from, *secret_file, *kinds, *entity, *grace;
    bool thin, allow_private, json;
    char secret[SECRET_BYTES + 2];
    bool secret_made; /* to be shown */
};

/* --- secrets ---------------------------------------------------------------------------------- */

/* The first line of a file. Returns -1 or an exit code. */
static int
read_secret(struct request *request, const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return ns_complain(NS_EXIT_FAILED, "%s cannot be read: %m", path);
    }
    bool got = fgets(request->secret, sizeof request->secret, file) != NULL;
    fclose(file);
    size_t bytes = got ? strcspn(request->secret, "\r\n") : 0;
    request->secret[bytes] = '\0';
    if (bytes == 0 || bytes > SECRET_BYTES) {
        return ns_complain(NS_EXIT_FAILED, "%s: the first line is the secret, 1 to %d bytes", path,
                           SECRET_BYTES);
    }
    return -1;
}

/* "whsec_" and 64 digits of hex. */
static int
make_secret(struct request *request)
{
    unsigned char random[32];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        return ns_complain(NS_EXIT_FAILED, "no secret: the kernel gives no random bytes: %m");
    }
    size_t at = (size_t)snprintf(request->secret, sizeof request->secret, "whsec_");
    for (size_t i = 0; i < sizeof random; i++) {
        at +=
            (size_t)snprintf(request->secret + at, sizeof request->secret - at, "%02x", random[i]);
    }
    request->secret_made = true;
    return -1;
}

static int
signing_secret(struct request *request)
{
    return request->secret_file != NULL ? read_secret(request, request->secret_file)
                                        : make_secret(request);
}

/* --- showing ---------------------------------------------------------------------------------- */

static const char shown_sql[] =
    "select name, kind, coalesce(nullif(array_to_string(recipients, ', '), ''), url) as \"to\","
    " coalesce(nullif(array_to_string(kinds, ','), ''), 'all') as kinds,"
    " coalesce(entity, 'all') as entity, case when kind = 'webhook' then payload else '-' end"
    " as payload, allow_private as private, enabled, pending, dead,"
    " date_trunc('second', last_sent_at at time zone 'UTC') as \"last sent (UTC)\""
    " from nullspend.endpoint_status where ($1::text is null or name = $1) and $2::text is null";
static const char json_sql[] = "select * from nullspend.endpoint_status"
                               " where ($1::text is null or name = $1) and $2::text is null";
/* With the secret that was just made, which nobody sees again. */
static const char made_sql[] = "select *, $2::text as secret from nullspend.endpoint_status"
                               " where name = $1";

static int
show(PGconn *database, const char *name, const struct request *request)
{
    const char *parameters[] = {name, request->secret_made ? request->secret : NULL};
    const char *sql = !request->json ? shown_sql : request->secret_made ? made_sql : json_sql;
    if (!request->json) {
        parameters[1] = NULL;
    }
    PGresult *result = ns_database_query(database, sql, 2, parameters);
    int code = NS_EXIT_DONE;
    if (result == NULL) {
        return NS_EXIT_FAILED;
    }
    if (name != NULL && PQntuples(result) == 0) {
        code = ns_complain(NS_EXIT_NOT_FOUND, "no endpoint %s", name);
    } else if (PQntuples(result) == 0 && !request->json) {
        puts("No endpoints: nobody is told of events.");
    } else {
        ns_render(stdout, result, request->json ? NS_FORMAT_JSON : NS_FORMAT_TABLE);
    }
    PQclear(result);
    if (code == NS_EXIT_DONE && request->secret_made && !request->json) {
        printf("\nIts secret, which is not shown again: %s\n", request->secret);
    }
    return code;
}

static int
show_endpoints(const struct ns_command *command, const char *name, struct request *request)
{
    PGconn *database;
    (void)command;
    int code = ns_database_open_synced(&database);
    code = code == NS_EXIT_DONE ? show(database, name, request) : code;
    PQfinish(database);
    return code;
}

/* --- adding ----------------------------------------------------------------------------------- */

static const char add_sql[] =
    "with made as (insert into nullspend.endpoints (name, kind, url, recipients, sender, kinds,"
    " entity, payload, allow_private) values ($1, $2,"
    " case when $2 = 'slack' then coalesce(substring($3 from '^https?://[^/?#]+'), $3) else $3 end,"
    " coalesce(nullspend.words($4), '{}'), $5, coalesce(nullspend.words($6), '{}'), $7, $8,"
    " $9::boolean) returning endpoint_id)"
    " insert into nullspend.endpoint_secrets (endpoint_id, secret)"
    " select endpoint_id, $10 from made where $10::text is not null";

/* What the kind needs, and nothing that it has no use for. Returns -1 or an exit code. */
static int
check_add(const struct ns_command *command, const struct request *request)
{
    int kinds = (request->webhook != NULL) + (request->slack != NULL) +
                (request->pagerduty != NULL) + (request->mail != NULL);
    bool mail = request->mail != NULL;
    if (kinds != 1) {
        return ns_complain_usage(command,
                                 "add wants one of --webhook, --slack, --pagerduty and --mail");
    }
    if (mail != (request->smtp != NULL) || mail != (request->from != NULL)) {
        return ns_complain_usage(command, "--mail wants --smtp URL and --from ADDRESS, %s",
                                 mail ? "both" : "which are for it alone");
    }
    if (request->url != NULL && request->pagerduty == NULL) {
        return ns_complain_usage(command, "--url is for --pagerduty");
    }
    if (request->thin && request->webhook == NULL) {
        return ns_complain_usage(command, "--thin is for --webhook");
    }
    if (request->secret_file != NULL && request->webhook == NULL && !mail) {
        return ns_complain_usage(command, "--secret-file is for --webhook and --mail");
    }
    if (request->grace != NULL) {
        return ns_complain_usage(command, "--grace is for rotate");
    }
    return -1;
}

/* The secret of the endpoint, if it has one. Returns -1 or an exit code. */
static int
choose_secret(struct request *request)
{
    if (request->webhook != NULL) {
        return signing_secret(request);
    }
    if (request->slack != NULL) {
        if (snprintf(request->secret, sizeof request->secret, "%s", request->slack) >
            SECRET_BYTES) {
            return ns_complain(NS_EXIT_USAGE, "a URL has at most %d bytes", SECRET_BYTES);
        }
        return -1;
    }
    const char *file = request->pagerduty != NULL ? request->pagerduty : request->secret_file;
    return file != NULL ? read_secret(request, file) : -1;
}

static int
add(const struct ns_command *command, const char *name, struct request *request)
{
    PGconn *database;
    int code = check_add(command, request);
    code = code < 0 ? choose_secret(request) : code;
    if (code >= 0) {
        return code;
    }
    const char *kind = request->webhook != NULL     ? "webhook"
                       : request->slack != NULL     ? "slack"
                       : request->pagerduty != NULL ? "pagerduty"
                                                    : "mail";
    const char *url = request->webhook != NULL ? request->webhook
                      : request->slack != NULL ? request->slack
                      : request->mail != NULL  ? request->smtp
                      : request->url != NULL   ? request->url
                                               : PAGERDUTY_URL;
    const char *parameters[] = {name,
                                kind,
                                url,
                                request->mail,
                                request->from,
                                request->kinds,
                                request->entity,
                                request->thin ? "thin" : "full",
                                request->allow_private ? "true" : "false",
                                request->secret[0] != '\0' ? request->secret : NULL};
    code = ns_database_open_for_change(&database);
    PGresult *result =
        code == NS_EXIT_DONE ? ns_database_try(database, add_sql, 10, parameters, &code) : NULL;
    code = result != NULL ? show(database, name, request) : code;
    PQclear(result);
    PQfinish(database);
    return code;
}

/* --- changing --------------------------------------------------------------------------------- */

/* Runs a statement of one endpoint that returns a row where it is there. */
static int
change(const char *name, const char *sql, int parameter_count, const char *const *parameters,
       PGconn **database)
{
    int code = ns_database_open_for_change(database);
    if (code != NS_EXIT_DONE) {
        return code;
    }
    PGresult *result = ns_database_try(*database, sql, parameter_count, parameters, &code);
    if (result != NULL && PQntuples(result) == 0) {
        code = ns_complain(NS_EXIT_NOT_FOUND, "no endpoint %s", name);
    }
    PQclear(result);
    return code;
}

static int
remove_endpoint(const struct ns_command *command, const char *name, struct request *request)
{
    PGconn *database;
    (void)command;
    int code = change(name, "delete from nullspend.endpoints where name = $1 returning 1", 1, &name,
                      &database);
    if (code == NS_EXIT_DONE) {
        request->json ? puts("[]") : printf("removed %s, and its deliveries\n", name);
    }
    PQfinish(database);
    return code;
}

static int
switch_endpoint(const char *name, struct request *request, const char *enabled)
{
    const char *parameters[] = {name, enabled};
    PGconn *database;
    int code = change(name,
                      "with changed as (update nullspend.endpoints set enabled = $2::boolean"
                      " where name = $1 returning 1)"
                      " select pg_notify('nullspend_events', '') from changed",
                      2, parameters, &database);
    code = code == NS_EXIT_DONE ? show(database, name, request) : code;
    PQfinish(database);
    return code;
}

static int
enable(const struct ns_command *command, const char *name, struct request *request)
{
    (void)command;
    return switch_endpoint(name, request, "true");
}

static int
disable(const struct ns_command *command, const char *name, struct request *request)
{
    (void)command;
    return switch_endpoint(name, request, "false");
}

/* Two secrets sign at most: one that was replaced before goes now. */
static const char rotate_sql[] =
    "with hook as (select endpoint_id, (select max(secret_id) from nullspend.endpoint_secrets s"
    "  where s.endpoint_id = p.endpoint_id) as newest"
    "  from nullspend.endpoints p where name = $1 and kind = 'webhook' for update),"
    " gone as (delete from nullspend.endpoint_secrets s using hook"
    "  where s.endpoint_id = hook.endpoint_id and s.secret_id <> hook.newest),"
    " aged as (update nullspend.endpoint_secrets s set ends_at = now() + $3::bigint * interval '1 "
    "s'"
    "  from hook where s.secret_id = hook.newest)"
    " insert into nullspend.endpoint_secrets (endpoint_id, secret)"
    " select endpoint_id, $2 from hook returning 1";

static int
rotate(const struct ns_command *command, const char *name, struct request *request)
{
    int64_t grace_s = strtoll(GRACE_S, NULL, 10);
    char grace[24];
    const char *parameters[] = {name, request->secret, grace};
    PGconn *database;
    if (request->grace != NULL && ns_span_parse(request->grace, &grace_s) != 0) {
        return ns_complain_usage(command, "--grace wants a time like 15m, 24h or 7d, not %s",
                                 request->grace);
    }
    snprintf(grace, sizeof grace, "%" PRId64, grace_s);
    int code = signing_secret(request);
    if (code >= 0) {
        return code;
    }
    code = ns_database_open_for_change(&database);
    PGresult *result =
        code == NS_EXIT_DONE ? ns_database_try(database, rotate_sql, 3, parameters, &code) : NULL;
    if (result != NULL && PQntuples(result) == 0) {
        code = ns_complain(NS_EXIT_NOT_FOUND,
                           "no webhook %s (of other endpoints: rm, then add again)", name);
    } else if (result != NULL) {
        code = show(database, name, request);
    }
    PQclear(result);
    PQfinish(database);
    return code;
}

/* --- testing ---------------------------------------------------------------------------------- */

static const char test_sql[] =
    "with told as (insert into nullspend.events (kind, what, details)"
    "  select 'test', 'a test of endpoint ' || name, jsonb_build_object('endpoint', name)"
    "  from nullspend.endpoints where name = $1 and enabled returning event_id)"
    " select event_id from told";
static const char tested_sql[] =
    "select state, coalesce(last_status, 0), last_error from nullspend.deliveries"
    " where event_id = $1::uuid";

static int
await_test(PGconn *database, const char *name, const char *event_id)
{
    int64_t deadline_ns = ns_monotonic_ns() + TEST_TIMEOUT_NS;
    while (ns_monotonic_ns() < deadline_ns) {
        PGresult *result = ns_database_query(database, tested_sql, 1, &event_id);
        if (result == NULL) {
            return NS_EXIT_FAILED;
        }
        const char *state = PQntuples(result) == 1 ? PQgetvalue(result, 0, 0) : "gone";
        int code = -1;
        if (strcmp(state, "sent") == 0) {
            printf("%s took it (%s)\n", name, PQgetvalue(result, 0, 1));
            code = NS_EXIT_DONE;
        } else if (strcmp(state, "dead") == 0) {
            code = ns_complain(NS_EXIT_FAILED, "%s: %s", name, PQgetvalue(result, 0, 2));
        } else if (strcmp(state, "gone") == 0) {
            code = ns_complain(NS_EXIT_FAILED, "%s was removed meanwhile", name);
        }
        PQclear(result);
        if (code >= 0) {
            return code;
        }
        ns_database_await_news(database, RECHECK_MS);
    }
    return ns_complain(NS_EXIT_FAILED,
                       "the collector has not said what came of it: see 'nullspend status'");
}

static int
test(const struct ns_command *command, const char *name, struct request *request)
{
    PGconn *database;
    char event_id[40] = "";
    (void)command;
    (void)request;
    int code = ns_database_open_for_change(&database);
    if (code != NS_EXIT_DONE) {
        PQfinish(database);
        return code;
    }
    PQclear(ns_database_query(database, "listen nullspend_deliveries", 0, NULL));
    PGresult *result = ns_database_query(database, test_sql, 1, &name);
    if (result == NULL) {
        code = NS_EXIT_FAILED;
    } else if (PQntuples(result) == 0) {
        code = ns_complain(NS_EXIT_NOT_FOUND, "no endpoint %s that is enabled", name);
    } else {
        snprintf(event_id, sizeof event_id, "%s", PQgetvalue(result, 0, 0));
        code = await_test(database, name, event_id);
    }
    PQclear(result);
    PQfinish(database);
    return code;
}

/* --- endpoint --------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool wants_name, adds, rotates;
    int (*run)(const struct ns_command *command, const char *name, struct request *request);
} verbs[] = {
    {"add", true, true, false, add},
    {"list", false, false, false, show_endpoints},
    {"show", true, false, false, show_endpoints},
    {"rm", true, false, false, remove_endpoint},
    {"enable", true, false, false, enable},
    {"disable", true, false, false, disable},
    {"test", true, false, false, test},
    {"rotate", true, false, true, rotate},
};

/* Whether anything was said that only add takes. */
static bool
has_terms(const struct request *request)
{
    const char *const terms[] = {request->webhook, request->slack, request->pagerduty,
                                 request->mail,    request->url,   request->smtp,
                                 request->from,    request->kinds, request->entity};
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++) {
        if (terms[i] != NULL) {
            return true;
        }
    }
    return request->thin || request->allow_private;
}

static int
run_verb(const struct ns_command *command, const char *const *operands, struct request *request)
{
    size_t verb = 0;
    while (verb < sizeof verbs / sizeof verbs[0] &&
           (operands[0] == NULL || strcmp(operands[0], verbs[verb].name) != 0)) {
        verb++;
    }
    if (verb == sizeof verbs / sizeof verbs[0]) {
        return ns_complain_usage(command,
                                 "wants add, list, show, rm, enable, disable, test or rotate");
    }
    if ((operands[1] != NULL) != verbs[verb].wants_name) {
        return ns_complain_usage(command, "%s wants %s", verbs[verb].name,
                                 verbs[verb].wants_name ? "a NAME" : "no NAME");
    }
    bool secrets = request->grace != NULL || request->secret_file != NULL;
    if ((has_terms(request) && !verbs[verb].adds) ||
        (secrets && !verbs[verb].adds && !verbs[verb].rotates)) {
        return ns_complain_usage(command, "%s does not take one of these options",
                                 verbs[verb].name);
    }
    return verbs[verb].run(command, operands[1], request);
}

int
ns_endpoint_main(const struct ns_command *command, int argc, char **argv)
{
    struct request request = {0};
    const char *operands[3];
    const struct ns_option options[] = {
        {.name = "--webhook", .value = &request.webhook},
        {.name = "--slack", .value = &request.slack},
        {.name = "--pagerduty", .value = &request.pagerduty},
        {.name = "--mail", .value = &request.mail},
        {.name = "--url", .value = &request.url},
        {.name = "--smtp", .value = &request.smtp},
        {.name = "--from", .value = &request.from},
        {.name = "--secret-file", .value = &request.secret_file},
        {.name = "--kinds", .value = &request.kinds},
        {.name = "--entity", .value = &request.entity},
        {.name = "--grace", .value = &request.grace},
        {.name = "--thin", .flag = &request.thin},
        {.name = "--allow-private", .flag = &request.allow_private},
        {.name = "--json", .flag = &request.json},
    };
    int code = ns_arguments_read(command, argc, argv, options, sizeof options / sizeof options[0],
                                 operands, 2);
    return code >= 0 ? code : run_verb(command, operands, &request);
}
