/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/settings.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/words.h"
#include "cli/database.h"
#include "protocol/zmtp.h"

#define ENFORCED_TIMEOUT_NS INT64_C(10000000000)
#define RECHECK_MS 250

/* --- entities --------------------------------------------------------------------------------- */

static const char *
tag_fault(const char *tag)
{
    const char *equals = strchr(tag, '=');
    if (equals == NULL || equals == tag) {
        return "is no entity: a tag is written tag:KEY=VALUE";
    }
    if (tag[0] == ' ' || !ns_utf8_is_text(tag, (size_t)(equals - tag))) {
        return "is no entity: its key is not UTF-8 text, or begins with a blank";
    }
    if ((size_t)(equals - tag) > NS_TAG_KEY_BYTES_MAX) {
        return "is no entity: its key is too long";
    }
    return strcmp(equals + 1, "*") == 0 ? NULL : ns_label_fault(equals + 1, NS_TAG_VALUE_BYTES_MAX);
}

/* The schema has the same rules, but can only say that one is broken. */
int
ns_settings_check_entity(const struct ns_command *command, const char *entity)
{
    const char *colon = strchr(entity, ':');
    size_t kind_bytes = colon != NULL ? (size_t)(colon - entity) : strlen(entity);
    int kind = ns_entity_kind_find(entity, kind_bytes);
    const char *fault = NULL;
    if (kind < 0 || (kind == NS_ENTITY_ORG) != (colon == NULL)) {
        fault = "is no entity: org, customer:ID, agent:ID, feature:ID, session:ID, key:ID, team:ID "
                "or tag:K=V";
    } else if (colon != NULL && strcmp(colon + 1, "*") != 0) {
        fault = kind == NS_ENTITY_TAG ? tag_fault(colon + 1)
                                      : ns_label_fault(colon + 1, NS_LABEL_BYTES_MAX);
    }
    if (fault != NULL) {
        return ns_complain_usage(command, "entity '%s' %s", entity, fault);
    }
    return -1;
}

/* --- verbs ------------------------------------------------------------------------------------ */

static const char *const verbs[NS_VERB_COUNT] = {"set", "list", "show", "rm"};

int
ns_settings_verb(const struct ns_command *command, const char *const *operands,
                 enum ns_settings_verb *verb)
{
    int number = 0;
    while (number < NS_VERB_COUNT &&
           (operands[0] == NULL || strcmp(verbs[number], operands[0]) != 0)) {
        number++;
    }
    if (number == NS_VERB_COUNT) {
        return ns_complain_usage(command, "wants set, list, show or rm");
    }
    *verb = (enum ns_settings_verb)number;
    bool wants_entity = *verb != NS_VERB_LIST;
    const char *entity = operands[1];
    if ((entity != NULL) != wants_entity) {
        return ns_complain_usage(
            command, wants_entity ? "%s wants an ENTITY" : "%s wants no ENTITY", verbs[number]);
    }
    return entity != NULL ? ns_settings_check_entity(command, entity) : -1;
}

int
ns_settings_not_taken(const struct ns_command *command, enum ns_settings_verb verb)
{
    return ns_complain_usage(command, "%s does not take one of these options", verbs[verb]);
}

/* --- changes ---------------------------------------------------------------------------------- */

static int64_t
one_number(PGconn *database, const char *sql)
{
    PGresult *result = ns_database_query(database, sql, 0, NULL);
    int64_t number = -1;
    if (result != NULL && PQntuples(result) == 1) {
        number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    }
    PQclear(result);
    return number;
}

static int
await_enforced(PGconn *database, int64_t revision)
{
    int64_t deadline_ns = ns_monotonic_ns() + ENFORCED_TIMEOUT_NS;
    for (;;) {
        int64_t enforced =
            one_number(database, "select enforced_revision from nullspend.collector_state");
        if (enforced < 0) {
            return NS_EXIT_FAILED;
        }
        if (enforced >= revision) {
            return NS_EXIT_DONE;
        }
        if (ns_monotonic_ns() >= deadline_ns) {
            return ns_complain(NS_EXIT_FAILED,
                               "the change is written, but the collector has not said within 10 s "
                               "that it is in force (revision %" PRId64 ", enforced %" PRId64
                               "): see 'nullspend status'",
                               revision, enforced);
        }
        ns_database_await_news(database, RECHECK_MS);
    }
}

int
ns_settings_change(PGconn *database, const char *sql, int parameter_count,
                   const char *const *parameters, int *changed)
{
    int code = NS_EXIT_FAILED;
    PQclear(ns_database_query(database, "listen nullspend_enforced", 0, NULL));
    PQclear(ns_database_query(database, "begin", 0, NULL));
    PGresult *result = ns_database_try(database, sql, parameter_count, parameters, &code);
    if (result == NULL) {
        return code;
    }
    *changed = (int)strtol(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    int64_t revision = one_number(database, "select revision from nullspend.budgets_revision");
    result = revision < 0 ? NULL : ns_database_query(database, "commit", 0, NULL);
    if (result == NULL) {
        return NS_EXIT_FAILED;
    }
    PQclear(result);
    return await_enforced(database, revision);
}
