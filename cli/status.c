/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/unseen.h"
#include "cli/cli.h"
#include "cli/collector.h"
#include "cli/json.h"

#define STATUS_TIMEOUT_MS 5000

static const struct {
    const char *path;
    const char *title;
    const char *unit;
} lines[] = {
    {"version", "version", ""},
    {"uptime_s", "up for", ""},
    {"pid", "process", ""},
    {"processes", "connected processes", ""},
    {"open_holds", "open holds", ""},
    {"budgets", "budgets", ""},
    {"calls", "calls", ""},
    {"denials", "denials", ""},
    {"prices", "prices", ""},
    {"postgres.connected", "Postgres connected", ""},
    {"postgres.lag_s", "Postgres lag", " s"},
    {"postgres.rows", "Postgres rows", ""},
    {"postgres.last_error", "Postgres error", ""},
    {"deliveries.pending", "deliveries pending", ""},
    {"deliveries.sent", "deliveries sent", ""},
    {"deliveries.dead", "deliveries dead", ""},
    {"deliveries.last_error", "delivery error", ""},
    {"state_dir", "state", ""},
    {"listen", "listens on", ""},
};

/* Seconds as people say them: "3 d 4 h", "5 min 6 s". */
static void
spell_seconds(char *value, size_t bytes)
{
    long seconds = strtol(value, NULL, 10);
    if (seconds >= 86400) {
        snprintf(value, bytes, "%ld d %ld h", seconds / 86400, seconds % 86400 / 3600);
    } else if (seconds >= 3600) {
        snprintf(value, bytes, "%ld h %ld min", seconds / 3600, seconds % 3600 / 60);
    } else if (seconds >= 60) {
        snprintf(value, bytes, "%ld min %ld s", seconds / 60, seconds % 60);
    } else {
        snprintf(value, bytes, "%ld s", seconds);
    }
}

/* An array of texts as words. */
static void
spell_list(char *value)
{
    char *to = value;
    for (const char *at = value; *at != '\0'; at++) {
        if (*at == ',') {
            *to++ = ' ';
        } else if (strchr("[]\"", *at) == NULL) {
            *to++ = *at;
        }
    }
    *to = '\0';
}

/* Reasons and their counts. A collector that does not tell any says nothing of them. */
static void
print_unseen(const char *json, enum ns_unseen_how how, const char *member, const char *title)
{
    char value[1024];
    if (!ns_json_get(json, member, value, sizeof value)) {
        return;
    }
    bool some = false;
    for (int i = 0; i < NS_UNSEEN_COUNT; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s.%s", member, ns_unseen_name(i));
        if (ns_unseen_how(i) != how || !ns_json_get(json, path, value, sizeof value)) {
            continue;
        }
        if (!some) {
            printf("%s\n", title);
        }
        some = true;
        printf("  %-28s %12s  %s\n", ns_unseen_name(i), value, ns_unseen_sentence(i));
    }
    if (!some) {
        printf("%-20s nothing\n", title);
    }
}

static void
print(const char *endpoint, const char *json)
{
    printf("%-20s %s\n", "collector", endpoint);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char value[1024];
        if (!ns_json_get(json, lines[i].path, value, sizeof value) || value[0] == '\0') {
            continue;
        }
        if (strcmp(lines[i].path, "uptime_s") == 0) {
            spell_seconds(value, sizeof value);
        } else if (value[0] == '[') {
            spell_list(value);
        }
        const char *shown = strcmp(value, "true") == 0    ? "yes"
                            : strcmp(value, "false") == 0 ? "no"
                                                          : value;
        printf("%-20s %s%s\n", lines[i].title, shown, lines[i].unit);
    }
    print_unseen(json, NS_UNSEEN_PASSED, "passed", "passed unseen");
    print_unseen(json, NS_UNSEEN_DENIED, "denied_unjudged", "denied unjudged");
}

int
ns_status_main(const struct ns_command *command, int argc, char **argv)
{
    bool as_json = false;
    const char *none[1];
    const struct ns_option options[] = {{.name = "--json", .flag = &as_json}};
    int code = ns_arguments_read(command, argc, argv, options, 1, none, 0);
    if (code >= 0) {
        return code;
    }
    char endpoint[NS_PLACE_BYTES];
    char *json = NULL;
    if (!ns_collector_require(endpoint)) {
        return NS_EXIT_NO_COLLECTOR;
    }
    int error = ns_collector_ask(endpoint, "status", NULL, STATUS_TIMEOUT_MS, &json);
    code = NS_EXIT_DONE;
    if (error == -EREMOTEIO) {
        char why[512] = "it does not say why";
        ns_json_get(json, "error", why, sizeof why);
        code = ns_complain(NS_EXIT_FAILED, "the collector at %s: %s", endpoint, why);
    } else if (error != 0) {
        code = ns_complain(NS_EXIT_NO_COLLECTOR, "the collector at %s: %s", endpoint,
                           strerror(-error));
    } else if (as_json) {
        puts(json);
    } else {
        print(endpoint, json);
    }
    free(json);
    return code;
}
