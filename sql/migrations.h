/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema's migrations, embedded by migrations.S: files of sql/migrations/ in order. Each is run
 * once, in a transaction of its own, by the collector (collector/store_migrate.c).
 */
#ifndef NS_SQL_MIGRATIONS_H
#define NS_SQL_MIGRATIONS_H

#include <stddef.h>

struct ns_migration {
    const char *name; /* "0001_calls.sql"; the number is its version */
    const char *sql;  /* ends in NUL */
    size_t sql_bytes; /* without it */
};

extern const struct ns_migration ns_migrations[];
extern const size_t ns_migration_count;

#endif
