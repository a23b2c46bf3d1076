/* SPDX-License-Identifier: Apache-2.0 */
/* `db url` and `psql`: the way to the data. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/database.h"

int
ns_db_main(const struct ns_command *command, int argc, char **argv)
{
    const char *operands[2];
    char url[NS_DATABASE_URL_BYTES];
    int code = ns_arguments_read(command, argc, argv, NULL, 0, operands, 1);
    if (code >= 0) {
        return code;
    }
    if (operands[0] == NULL || strcmp(operands[0], "url") != 0) {
        return ns_complain_usage(command, "wants 'url'");
    }
    code = ns_database_url_synced(url);
    if (code == NS_EXIT_DONE) {
        puts(url);
    }
    return code;
}

int
ns_psql_main(const struct ns_command *command, int argc, char **argv)
{
    char url[NS_DATABASE_URL_BYTES];
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(command->help, stdout);
        return NS_EXIT_DONE;
    }
    int code = ns_database_url_synced(url);
    if (code != NS_EXIT_DONE) {
        return code;
    }
    char **words = calloc((size_t)argc + 3, sizeof *words);
    if (words == NULL) {
        return ns_complain(NS_EXIT_FAILED, "%s", strerror(ENOMEM));
    }
    char program[] = "psql", database[] = "-d";
    words[0] = program;
    words[1] = database;
    words[2] = url;
    for (int i = 1; i < argc; i++) {
        words[i + 2] = argv[i];
    }
    execvp(program, words);
    code =
        ns_complain(NS_EXIT_FAILED, "psql: %s. Its package is postgresql-client.", strerror(errno));
    free(words);
    return code;
}
