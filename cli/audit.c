/* SPDX-License-Identifier: Apache-2.0 */
/* `audit list` and `audit verify`. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/database.h"
#include "cli/listing.h"

/* A hash as text: sha256. */
#define HASH_DIGITS 64

static const struct ns_listing entries = {
    .view = "(select number, happened_at, actor, action, entity, details,"
            " encode(previous, 'hex') as previous, encode(hash, 'hex') as hash,"
            " case when entity like 'customer:%' then substr(entity, 10) end as customer"
            " from nullspend.audit)",
    .moment = "happened_at",
    .columns = "number, date_trunc('second', happened_at at time zone 'UTC') as \"happened (UTC)\","
               " actor, action, coalesce(entity, '-') as entity, details::text as details",
    .nothing = "No entries.",
};

/*
 * How many entries there are, the head, and the first that is not as it was written. The hashes are
 * computed here with what Postgres has built in, not by functions of the schema, which whoever
 * forges entries could change as well. $1: a head that was noted before.
 */
static const char verify_sql[] =
    "with entries as (select number, previous, hash,"
    " sha256(previous || convert_to(jsonb_build_array(number,"
    " to_char(happened_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),"
    " actor, action, entity, details)::text, 'UTF8')) as computed,"
    " lag(number, 1, 0::bigint) over (order by number) as number_before,"
    " lag(hash, 1, decode(repeat('00', 32), 'hex')) over (order by number) as hash_before"
    " from nullspend.audit),"
    " faults as (select number, case"
    " when number <> number_before + 1 then 'entry ' || (number_before + 1) || ' is missing before "
    "it'"
    " when previous <> hash_before then 'it does not follow the entry before it'"
    " else 'it is not what was written' end as why"
    " from entries where number <> number_before + 1 or previous <> hash_before or hash <> computed"
    " order by number limit 1)"
    " select (select count(*) from entries) as checked,"
    " (select encode(hash, 'hex') from entries order by number desc limit 1) as head,"
    " (select number from faults) as broken, (select why from faults) as why,"
    " exists (select from entries where encode(hash, 'hex') = lower($1)) as has_head";

static bool
is_hash(const char *text)
{
    size_t digits = 0;
    while (isxdigit((unsigned char)text[digits])) {
        digits++;
    }
    return digits == HASH_DIGITS && text[digits] == '\0';
}

/* Columns of verify_sql. */
enum { CHECKED, HEAD, BROKEN, WHY, HAS_HEAD };

static int
say(const PGresult *row, const char *head)
{
    const char *checked = PQgetvalue(row, 0, CHECKED);
    const char *now = PQgetisnull(row, 0, HEAD) ? "none" : PQgetvalue(row, 0, HEAD);
    if (!PQgetisnull(row, 0, BROKEN)) {
        return ns_complain(NS_EXIT_FAILED, "the audit log is broken at entry %s: %s",
                           PQgetvalue(row, 0, BROKEN), PQgetvalue(row, 0, WHY));
    }
    if (head != NULL && PQgetvalue(row, 0, HAS_HEAD)[0] != 't') {
        return ns_complain(
            NS_EXIT_FAILED,
            "the head %s is not in the audit log: it was cut, or written anew, since "
            "that was noted (it has %s entries now)",
            head, checked);
    }
    printf("%s entries, whole\nhead %s\n", checked, now);
    return NS_EXIT_DONE;
}

static int
verify(const struct ns_command *command, int argc, char **argv)
{
    const char *head = NULL;
    const char *none[1];
    const struct ns_option options[] = {{.name = "--head", .value = &head}};
    int code = ns_arguments_read(command, argc, argv, options, 1, none, 0);
    if (code >= 0) {
        return code;
    }
    if (head != NULL && !is_hash(head)) {
        return ns_complain_usage(command, "--head is a hash of %d digits, not '%s'", HASH_DIGITS,
                                 head);
    }
    PGconn *database;
    code = ns_database_open_synced(&database);
    PGresult *row = code == NS_EXIT_DONE ? ns_database_query(database, verify_sql, 1, &head) : NULL;
    if (row != NULL) {
        code = say(row, head);
    } else if (code == NS_EXIT_DONE) {
        code = NS_EXIT_FAILED;
    }
    PQclear(row);
    PQfinish(database);
    return code;
}

int
ns_audit_main(const struct ns_command *command, int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    if (strcmp(verb, "list") == 0) {
        return ns_listing_main(command, argc - 1, argv + 1, &entries);
    }
    if (strcmp(verb, "verify") == 0) {
        return verify(command, argc - 1, argv + 1);
    }
    if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0) {
        fputs(command->help, stdout);
        return NS_EXIT_DONE;
    }
    return ns_complain_usage(command, "wants list or verify");
}
