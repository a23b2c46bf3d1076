/* SPDX-License-Identifier: Apache-2.0 */
/* nullspend-bpf: the agent for programs that a preload cannot reach. */
#include <stdio.h>
#include <string.h>

#include "bpf/agent.h"
#include "bpf/probe.h"
#include "bpf/watch.h"

static const char usage[] =
    "usage: nullspend-bpf --attach [--this-network]\n"
    "       nullspend-bpf --watch [--this-network]\n"
    "       nullspend-bpf --probe [--json]\n"
    "\n"
    "Governs programs that a preload cannot reach: those that run already, and those of other\n"
    "containers, as far as they use a shared OpenSSL or show one of their own.\n"
    "\n"
    "  --attach   attach to them and to those that start later, until SIGTERM. Settings are\n"
    "             those of the preload library: NULLSPEND_COLLECTOR, NULLSPEND_MODE (enforce,\n"
    "             shadow, observe), NULLSPEND_ON_UNREACHABLE, NULLSPEND_DEADLINE_MS\n"
    "  --watch    attach to none: only find out who talks to providers and what is dark, for\n"
    "             'nullspend coverage'; --attach does so, too\n"
    "  --this-network  only processes of the agent's own network name space\n"
    "  --probe    try every facility and print a table; exit status 0 when all that are\n"
    "             required are there, else 1\n"
    "  --json     the same as one JSON array\n"
    "  --version  print the version\n"
    "  --help     print this\n"
    "\n"
    "In mode enforce a process stops (SIGSTOP) while a call of its waits for its verdict; a call\n"
    "that is denied leaves with blanks for its body and its key, and its provider refuses it.\n"
    "\n"
    "example: sudo NULLSPEND_COLLECTOR=ipc:///run/nullspend/collector.sock nullspend-bpf "
    "--attach\n";

static void
print_table(const struct ns_probe *probe, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *state = probe[i].present ? "yes" : probe[i].required ? "MISSING" : "no";
        printf("%-26s %-8s %s", probe[i].facility, state, probe[i].use);
        if (probe[i].next_step != NULL) {
            printf(": needs %s", probe[i].next_step);
        }
        putchar('\n');
    }
}

/* No string of the table needs escaping. */
static void
print_json(const struct ns_probe *probe, size_t count)
{
    putchar('[');
    for (size_t i = 0; i < count; i++) {
        printf("%s{\"facility\":\"%s\",\"use\":\"%s\",\"required\":%s,\"present\":%s}",
               i > 0 ? ",\n " : "", probe[i].facility, probe[i].use,
               probe[i].required ? "true" : "false", probe[i].present ? "true" : "false");
    }
    puts("]");
}

static int
run_probe(int json)
{
    size_t count = 0;
    int missing = 0;
    const struct ns_probe *probe = ns_probe_all(&count);
    if (json) {
        print_json(probe, count);
    } else {
        print_table(probe, count);
    }
    for (size_t i = 0; i < count; i++) {
        missing += probe[i].required && !probe[i].present;
    }
    return missing > 0;
}

int
main(int argc, char **argv)
{
    int probe = 0, json = 0, attach = 0, watch = 0, this_network = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--attach") == 0) {
            attach = 1;
        } else if (strcmp(argv[i], "--watch") == 0) {
            watch = 1;
        } else if (strcmp(argv[i], "--this-network") == 0) {
            this_network = 1;
        } else if (strcmp(argv[i], "--probe") == 0) {
            probe = 1;
        } else if (strcmp(argv[i], "--json") == 0) {
            json = 1;
        } else if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        } else if (strcmp(argv[i], "--version") == 0) {
            puts("nullspend-bpf " NS_VERSION);
            return 0;
        } else {
            fprintf(stderr, "nullspend-bpf: unknown argument \"%s\"; see nullspend-bpf --help\n",
                    argv[i]);
            return 2;
        }
    }
    if (probe + attach + watch != 1) {
        fputs("nullspend-bpf: say what to do: --attach, --watch or --probe; see nullspend-bpf "
              "--help\n",
              stderr);
        return 2;
    }
    if (watch) {
        return ns_watch_run(this_network != 0);
    }
    return attach ? ns_agent_run(this_network != 0) : run_probe(json);
}
