/* SPDX-License-Identifier: Apache-2.0 */
/* nullspend: finds the command in the table and runs it. */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static int
no_command(const char *name)
{
    ns_complain(NS_EXIT_USAGE, "no %s '%s'", name[0] == '-' ? "option" : "command", name);
    fputs("Try 'nullspend --help'.\n", stderr);
    return NS_EXIT_USAGE;
}

/* A standard stream that is closed would be taken by the first file or socket that is opened, and
 * what is printed would go to the database. What stands in for it cannot be used, and is not there
 * in a program that is run. */
static void
occupy_standard_streams(void)
{
    int fd;
    do {
        fd = open("/", O_PATH | O_CLOEXEC);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO) {
        close(fd);
    }
}

static const struct ns_command *
find_command(const char *name)
{
    for (size_t i = 0; i < ns_command_count; i++) {
        if (strcmp(ns_commands[i].name, name) == 0) {
            return &ns_commands[i];
        }
    }
    return NULL;
}

static int
help(const char *name)
{
    const struct ns_command *command = name != NULL ? find_command(name) : NULL;
    if (name == NULL) {
        print_overview(stdout);
    } else if (command != NULL) {
        fputs(command->help, stdout);
    } else {
        return no_command(name);
    }
    return NS_EXIT_DONE;
}

static int
run(int argc, char **argv)
{
    if (argc < 2) {
        print_overview(stderr);
        return NS_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        return help(argc > 2 ? argv[2] : NULL);
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("nullspend " NS_VERSION);
        return NS_EXIT_DONE;
    }
    const struct ns_command *command = find_command(argv[1]);
    return command != NULL ? command->run(command, argc - 1, argv + 1) : no_command(argv[1]);
}

int
main(int argc, char **argv)
{
    occupy_standard_streams();
    /* Widths of characters in tables; numbers and dates stay those of C. */
    if (setlocale(LC_CTYPE, "") == NULL || MB_CUR_MAX == 1) {
        setlocale(LC_CTYPE, "C.UTF-8");
    }
    int code = run(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        /* What could not be written (a full disk, a closed stream) was not done. */
        return ns_complain(NS_EXIT_FAILED, "the output could not be written: %s", strerror(errno));
    }
    return code;
}
