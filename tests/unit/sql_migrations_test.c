/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/migrations.h"

#include <dirent.h>

#include "tests/harness.h"

static int
is_migration(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return dot != NULL && strcmp(dot, ".sql") == 0;
}

TEST(every_migration_of_the_folder_is_embedded_whole_and_in_order)
{
    struct dirent **files;
    int count = scandir("sql/migrations", &files, is_migration, alphasort);
    REQUIRE(count > 0);
    CHECK_INT(ns_migration_count, count);
    for (int i = 0; i < count; i++) {
        char path[512];
        size_t bytes = 0;
        snprintf(path, sizeof path, "sql/migrations/%s", files[i]->d_name);
        char *text = ns_test_read_file(path, &bytes);
        if ((size_t)i < ns_migration_count && text != NULL) {
            const struct ns_migration *migration = &ns_migrations[i];
            CHECK_STR(migration->name, files[i]->d_name);
            CHECK_INT(migration->sql_bytes, bytes);
            CHECK_STR(migration->sql, text);
        }
        free(text);
        free(files[i]);
    }
    free(files);
}

TEST(migrations_are_numbered_from_1_without_gaps)
{
    for (size_t i = 0; i < ns_migration_count; i++) {
        CHECK_INT(strtol(ns_migrations[i].name, NULL, 10), (long)i + 1);
    }
}
