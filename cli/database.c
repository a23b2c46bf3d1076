/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/database.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/collector.h"
#include "cli/json.h"

#define STATUS_TIMEOUT_MS 5000
/* The collector gives its own answer, with the reason, after 5 s. */
#define SYNC_TIMEOUT_MS 10000

static const char *
given_url(void)
{
    const char *url = getenv("NULLSPEND_DATABASE_URL");
    return url != NULL && url[0] != '\0' ? url : NULL;
}

/* Asks the collector; *why is what keeps it from a database, "" where none answers. */
static bool
url_of_collector(char url[static NS_DATABASE_URL_BYTES], char *why, size_t why_bytes)
{
    char endpoint[NS_PLACE_BYTES];
    char *json = NULL;
    why[0] = '\0';
    bool answers = ns_collector_find(endpoint) == 0 &&
                   ns_collector_ask(endpoint, "status", NULL, STATUS_TIMEOUT_MS, &json) == 0;
    bool found =
        answers && ns_json_get(json, "database_url", url, NS_DATABASE_URL_BYTES) && url[0] != '\0';
    if (answers && !found && (!ns_json_get(json, "postgres.last_error", why, why_bytes) || !*why)) {
        snprintf(why, why_bytes, "it is still being made");
    }
    free(json);
    return found;
}

static bool
url_of_state(char url[static NS_DATABASE_URL_BYTES])
{
    char directory[NS_PLACE_BYTES], path[NS_PLACE_BYTES + 16];
    if (ns_discover_state(directory) != 0) {
        return false;
    }
    snprintf(path, sizeof path, "%s/database.url", directory);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool found = fgets(url, NS_DATABASE_URL_BYTES, file) != NULL;
    fclose(file);
    if (found) {
        url[strcspn(url, "\r\n")] = '\0';
    }
    return found && url[0] != '\0';
}

int
ns_database_url(char url[static NS_DATABASE_URL_BYTES])
{
    if (given_url() != NULL) {
        snprintf(url, NS_DATABASE_URL_BYTES, "%s", given_url());
        return NS_EXIT_DONE;
    }
    char why[512];
    if (url_of_collector(url, why, sizeof why)) {
        return NS_EXIT_DONE;
    }
    if (why[0] != '\0') {
        return ns_complain(NS_EXIT_FAILED, "the collector has no database: %s", why);
    }
    if (url_of_state(url)) {
        return NS_EXIT_DONE;
    }
    return ns_complain(
        NS_EXIT_NO_COLLECTOR,
        "it is not known where the data is: no collector of yours answers. Start one "
        "with 'nullspend start', or set NULLSPEND_DATABASE_URL.");
}

/* libpq's messages end in a line feed and may have several lines. */
static int
complain_of(const PGconn *database, const char *what)
{
    const char *message = PQerrorMessage(database);
    size_t bytes = strlen(message);
    while (bytes > 0 && message[bytes - 1] == '\n') {
        bytes--;
    }
    return ns_complain(NS_EXIT_FAILED, "%s: %.*s", what, (int)bytes, message);
}

int
ns_database_open(PGconn **database)
{
    char url[NS_DATABASE_URL_BYTES];
    *database = NULL;
    int code = ns_database_url(url);
    if (code != NS_EXIT_DONE) {
        return code;
    }
    static const char *const names[] = {"dbname",  "fallback_application_name", "connect_timeout",
                                        "options", "client_encoding",           NULL};
    const char *const values[] = {
        url,    "nullspend",
        "10",   "-c timezone=UTC -c datestyle=ISO -c client_min_messages=warning",
        "UTF8", NULL};
    *database = PQconnectdbParams(names, values, 1);
    if (PQstatus(*database) != CONNECTION_OK) {
        return complain_of(*database, "the database does not answer");
    }
    return NS_EXIT_DONE;
}

/* Asks the collector to bring Postgres up to date; by then it has made its schema there, too. */
static void
sync_with(const char *endpoint)
{
    char *json = NULL;
    char why[512];
    int error = ns_collector_ask(endpoint, "sync", NULL, SYNC_TIMEOUT_MS, &json);
    if (error != 0) {
        snprintf(why, sizeof why, "%s",
                 error == -ETIMEDOUT ? "the collector does not say whether Postgres has everything"
                                     : strerror(-error));
        if (json != NULL) {
            ns_json_get(json, "error", why, sizeof why);
        }
        ns_complain(0, "what is newest may be missing: %s", why);
    }
    free(json);
}

int
ns_database_url_synced(char url[static NS_DATABASE_URL_BYTES])
{
    char endpoint[NS_PLACE_BYTES];
    if (ns_collector_find(endpoint) == 0) {
        sync_with(endpoint);
    }
    return ns_database_url(url);
}

/* Tells the audit log who this is. */
static int
name_actor(PGconn *database)
{
    char number[24];
    const struct passwd *user = getpwuid(getuid());
    const char *name = user != NULL ? user->pw_name : number;
    snprintf(number, sizeof number, "uid %u", (unsigned)getuid());
    PGresult *set =
        ns_database_query(database, "select set_config('nullspend.actor', $1, false)", 1, &name);
    PQclear(set);
    return set != NULL ? NS_EXIT_DONE : NS_EXIT_FAILED;
}

int
ns_database_open_for_change(PGconn **database)
{
    char endpoint[NS_PLACE_BYTES];
    *database = NULL;
    if (!ns_collector_require(endpoint)) {
        return NS_EXIT_NO_COLLECTOR;
    }
    sync_with(endpoint);
    int code = ns_database_open(database);
    return code == NS_EXIT_DONE ? name_actor(*database) : code;
}

int
ns_database_open_synced(PGconn **database)
{
    char endpoint[NS_PLACE_BYTES];
    if (given_url() == NULL) {
        return ns_database_open_for_change(database);
    }
    if (ns_collector_find(endpoint) == 0) {
        sync_with(endpoint);
    } else {
        ns_complain(0, "no collector answers at %s: showing what the database has", endpoint);
    }
    return ns_database_open(database);
}

void
ns_database_await_news(PGconn *database, int most_ms)
{
    struct pollfd socket = {.fd = PQsocket(database), .events = POLLIN};
    poll(&socket, 1, most_ms);
    PQconsumeInput(database);
    for (PGnotify *news; (news = PQnotifies(database)) != NULL;) {
        PQfreemem(news);
    }
}

PGresult *
ns_database_try(PGconn *database, const char *sql, int parameter_count,
                const char *const *parameters, int *code)
{
    PGresult *result =
        PQexecParams(database, sql, parameter_count, NULL, parameters, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        return result;
    }
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *rule = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    /* Class 23: a rule of the schema, whose name is a sentence. Class 22: a value of wrong form. */
    bool mistake = state != NULL && (strncmp(state, "23", 2) == 0 || strncmp(state, "22", 2) == 0);
    *code = mistake                                        ? NS_EXIT_USAGE
            : state != NULL && strcmp(state, "P0002") == 0 ? NS_EXIT_NOT_FOUND
                                                           : NS_EXIT_FAILED;
    if (mistake && rule != NULL && strchr(rule, ' ') != NULL) {
        ns_complain(*code, "%s", rule);
    } else if (message != NULL) {
        ns_complain(*code, "%s", message);
    } else {
        complain_of(database, "the database failed");
    }
    PQclear(result);
    return NULL;
}

PGresult *
ns_database_query(PGconn *database, const char *sql, int parameter_count,
                  const char *const *parameters)
{
    int code;
    return ns_database_try(database, sql, parameter_count, parameters, &code);
}
