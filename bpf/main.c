/* SPDX-License-Identifier: Apache-2.0 */
/* nullspend-bpf: the agent for programs that a preload cannot reach. */
#include <stdio.h>
#include <string.h>

#include "bpf/agent.h"
#include "bpf/probe.h"
#include "bpf/watch.h"

static const char usage[] =
    "usage: nullspend-bpf --attach [--on-denial=blank|kill|alert] [--this-network]\n"
    "       nullspend-bpf --watch [--this-network]\n"
    "       nullspend-bpf --probe [--json]\n"
    "\n"
    "Governs programs that a preload cannot reach: those that run already, and those of other\n"
    "containers, as far as they use OpenSSL, BoringSSL, GnuTLS or NSS and show its functions.\n"
    "\n"
    "  --attach   attach to them and to those that start later, until SIGTERM. Settings are\n"
    "             those of the preload library: NULLSPEND_COLLECTOR, NULLSPEND_MODE (enforce,\n"
    "             shadow, observe), NULLSPEND_ON_UNREACHABLE, NULLSPEND_DEADLINE_MS\n"
    "  --on-denial=WHAT  what becomes of a call that is denied, in mode enforce:\n"
    "             blank  it leaves with blanks for its body and its key, and its provider refuses\n"
    "                    it (the default)\n"
    "             kill   its process is killed before it leaves\n"
    "             alert  it leaves and is told on standard error; nobody is ever stopped\n"
    "             A budget that is not hard (soft, warn, shadow) never does more than alert.\n"
    "  --watch    attach to none: only find out who talks to providers and what is dark, for\n"
    "             'nullspend coverage'; --attach does so, too\n"
    "  --this-network  only processes of the agent's own network name space\n"
    "  --probe    try every facility and print a table; exit status 0 when all that are\n"
    "             required are there, else 1\n"
    "  --json     the same as one JSON array\n"
    "  --version  print the version\n"
    "  --help     print this\n"
    "\n"
    "In mode enforce a process stops (SIGSTOP) while a call of its waits for its verdict. The "
    "agent\n"
    "needs CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_KILL, CAP_CHECKPOINT_RESTORE; for programs "
    "in\n"
    "closed directories CAP_DAC_READ_SEARCH, for coverage CAP_NET_ADMIN. It gives up all others.\n"
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

static int
read_on_denial(const char *what, enum ns_on_denial *on_denial)
{
    static const char *const words[] = {"blank", "kill", "alert"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(what, words[i]) == 0) {
            *on_denial = (enum ns_on_denial)i;
            return 1;
        }
    }
    return 0;
}

int
main(int argc, char **argv)
{
    static const char on_denial[] = "--on-denial=";
    struct ns_agent_options options = {.on_denial = NS_ON_DENIAL_BLANK};
    int probe = 0, json = 0, attach = 0, watch = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--attach") == 0) {
            attach = 1;
        } else if (strcmp(argv[i], "--watch") == 0) {
            watch = 1;
        } else if (strcmp(argv[i], "--this-network") == 0) {
            options.this_network = true;
        } else if (strncmp(argv[i], on_denial, sizeof on_denial - 1) == 0 &&
                   read_on_denial(argv[i] + sizeof on_denial - 1, &options.on_denial)) {
            continue;
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
        return ns_watch_run(options.this_network);
    }
    return attach ? ns_agent_run(&options) : run_probe(json);
}
