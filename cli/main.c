/* SPDX-License-Identifier: Apache-2.0 */
/* nullspend: finds the command in the table and runs it. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static void
print_overview(FILE *to)
{
    fputs("usage: nullspend COMMAND [ARGUMENT...]\n"
          "\n"
          "Financial controls for programs that spend money on language models.\n"
          "\n",
          to);
    for (size_t i = 0; i < ns_command_count; i++) {
        fprintf(to, "  %-10s %s\n", ns_commands[i].name, ns_commands[i].summary);
    }
    fputs("\n"
          "'nullspend COMMAND --help' tells more. To begin with:\n"
          "  nullspend budget set customer:acme --limit 25 --period day\n"
          "  nullspend run --customer acme -- python agent.py\n"
          "  nullspend margins\n",
          to);
}

int
main(int argc, char **argv)
{
    /* Widths of characters in tables; numbers and dates stay those of C. */
    if (setlocale(LC_CTYPE, "") == NULL || MB_CUR_MAX == 1) {
        setlocale(LC_CTYPE, "C.UTF-8");
    }
    if (argc < 2) {
        print_overview(stderr);
        return NS_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_overview(stdout);
        return NS_EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("nullspend " NS_VERSION);
        return NS_EXIT_DONE;
    }
    for (size_t i = 0; i < ns_command_count; i++) {
        if (strcmp(ns_commands[i].name, argv[1]) == 0) {
            int code = ns_commands[i].run(&ns_commands[i], argc - 1, argv + 1);
            /* What could not be written (a full disk, a closed pipe) was not done. */
            return fflush(stdout) == 0 && !ferror(stdout) ? code : NS_EXIT_FAILED;
        }
    }
    fprintf(stderr, "nullspend: no command '%s'\n", argv[1]);
    print_overview(stderr);
    return NS_EXIT_USAGE;
}
