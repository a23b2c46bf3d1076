/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_migrate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/migrations.h"

/* The newest version applied, 0 for an empty database; -EIO. */
static long
applied_version(struct ns_link *link)
{
    /* Not to_regclass: its answer may be from a cache of before the lock was waited for. */
    PGresult *there = ns_link_query(link,
                                    "select from pg_catalog.pg_tables"
                                    " where schemaname = 'nullspend' and tablename = 'migrations'",
                                    0, NULL);
    if (there == NULL) {
        return -EIO;
    }
    bool none = PQntuples(there) == 0;
    PQclear(there);
    if (none) {
        return 0;
    }
    PGresult *newest =
        ns_link_query(link, "select coalesce(max(version), 0) from nullspend.migrations", 0, NULL);
    if (newest == NULL) {
        return -EIO;
    }
    long version = strtol(PQgetvalue(newest, 0, 0), NULL, 10);
    PQclear(newest);
    return version;
}

static int
apply(struct ns_link *link, const struct ns_migration *migration)
{
    const char *parameters[] = {migration->name};
    if (ns_link_run(link, migration->sql) < 0) {
        char error[NS_LINK_ERROR_BYTES];
        snprintf(error, sizeof error, "%.200s", link->error);
        snprintf(link->error, sizeof link->error, "migration %.32s: %.190s", migration->name,
                 error);
        return -EIO;
    }
    PGresult *noted = ns_link_query(link,
                                    "insert into nullspend.migrations (version, name) "
                                    "values (split_part($1::text, '_', 1)::integer, $1)",
                                    1, parameters);
    PQclear(noted);
    return noted == NULL ? -EIO : 0;
}

/* One transaction: applies the first migration that is missing. Returns 1, 0 when none is, -EIO. */
static int
apply_next(struct ns_link *link)
{
    /* Readers of an old schema are not kept waiting for ever by a migration that waits for them. */
    if (ns_link_run(link, "begin; set local lock_timeout = '60s'; "
                          "select pg_advisory_xact_lock(hashtextextended('nullspend.migrations', "
                          "0))") < 0) {
        return -EIO;
    }
    long applied = applied_version(link);
    int result = applied < 0 ? -EIO : 0;
    if (applied > (long)ns_migration_count) {
        snprintf(link->error, sizeof link->error,
                 "the database has schema version %ld, this program knows %zu: use a newer "
                 "nullspendd",
                 applied, ns_migration_count);
        result = -EIO;
    } else if (result == 0 && applied < (long)ns_migration_count) {
        result = apply(link, &ns_migrations[applied]) < 0 ? -EIO : 1;
    }
    if (result >= 0) {
        return ns_link_run(link, "commit") < 0 ? -EIO : result;
    }
    char error[NS_LINK_ERROR_BYTES], sqlstate[6];
    memcpy(error, link->error, sizeof error);
    memcpy(sqlstate, link->sqlstate, sizeof sqlstate);
    ns_link_run(link, "rollback");
    memcpy(link->error, error, sizeof error);
    memcpy(link->sqlstate, sqlstate, sizeof sqlstate);
    return -EIO;
}

int
ns_store_migrate(struct ns_link *link)
{
    /* Up to date as a rule: no lock for that. */
    if (applied_version(link) == (long)ns_migration_count) {
        return 0;
    }
    int result;
    do {
        result = apply_next(link);
    } while (result > 0);
    return result;
}
