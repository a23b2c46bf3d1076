/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent costs programs beside what the preload library does: a governed call, of which the
 * program is stopped for most; a write and a read on a connection to somebody else; the bytes that
 * are told of a connection to a provider; how fast a program may write them until some find
 * no room; the agent when nothing happens.
 *
 * Both ends of a connection are in the client's own thread. Runs without the agent, with the
 * library and with the agent follow each other. Only the machine's root may attach; without the
 * facilities of `nullspend-bpf --probe` it says so and measures nothing.
 *
 * usage: agent [CALLS]      run from the repository's root
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/lib/bench.h"

#define AGENT "build/nullspend-bpf"
#define RECORD_BYTES 16384
#define IDLE_S 5

/* --- the clients: print one duration a write, in ns ------------------------------------------- */

/* From the beginning of a write to that of the next are pace_ns at least. */
static int
client(const char *host, int bytes, size_t writes, int64_t pace_ns)
{
    static char text[RECORD_BYTES];
    SSL *near, *far;
    bench_connect_pair(host, false, &near, &far);
    int head = snprintf(text, sizeof text,
                        "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\n"
                        "Content-Type: application/json\r\nContent-Length: 1000000000000\r\n\r\n",
                        host);
    bench_write(near, text, (size_t)head);
    bench_read(far, text, sizeof text, false);
    memset(text, ' ', sizeof text);
    int64_t *durations_ns = bench_memory(writes, sizeof *durations_ns);
    for (size_t i = 0; i < writes; i++) {
        int64_t start_ns = bench_now_ns();
        if (SSL_write(near, text, bytes) != bytes || SSL_read(far, text, bytes) != bytes) {
            bench_fail("SSL_write or SSL_read");
        }
        durations_ns[i] = bench_now_ns() - start_ns;
        while (bench_now_ns() - start_ns < pace_ns) {
        }
    }
    for (size_t i = 0; i < writes; i++) {
        printf("%lld\n", (long long)durations_ns[i]);
    }
    free(durations_ns);
    return 0;
}

/* --- the agent ------------------------------------------------------------------------------ */

/* What it complains of goes to a file in the collector's directory. */
static const char *
complaints(const struct bench_collector *collector)
{
    static char path[96];
    snprintf(path, sizeof path, "%s/agent.errors", collector->directory);
    return path;
}

static pid_t
start_agent(const struct bench_collector *collector, const char *mode)
{
    char line[256];
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        bench_fail("pipe2");
    }
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(ends[1], 1);
        dup2(open(complaints(collector), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), 2);
        setenv("NULLSPEND_COLLECTOR", collector->endpoint, 1);
        setenv("NULLSPEND_SPOOL_DIR", collector->directory, 1);
        setenv("NULLSPEND_MODE", mode, 1);
        execl(AGENT, AGENT, "--attach", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *said = fdopen(ends[0], "r");
    bool ready = false;
    if (said != NULL) {
        ready = fgets(line, sizeof line, said) != NULL && strstr(line, "ready") != NULL;
        fclose(said);
    }
    if (!ready) {
        bench_fail("the agent did not start");
    }
    return pid;
}

/* What a process has used of the processor, user and system, in clock ticks. */
static long
ticks_of(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    size_t bytes = 0;
    if (file != NULL) {
        bytes = fread(text, 1, sizeof text - 1, file);
        fclose(file);
    }
    text[bytes] = '\0';
    const char *at = strrchr(text, ')');
    long user = 0, system = 0;
    if (at == NULL ||
        sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system) != 2) {
        bench_fail(path);
    }
    return user + system;
}

static void
measure_idle(const struct bench_collector *collector)
{
    pid_t agent = start_agent(collector, "enforce");
    sleep(1);
    long before = ticks_of(agent);
    sleep(IDLE_S);
    double used = (double)(ticks_of(agent) - before) / (double)sysconf(_SC_CLK_TCK);
    printf("%-58s %.2f %% of a core (at most 0.5 %%)\n", "the agent when nothing happens",
           100 * used / IDLE_S);
    bench_end(agent);
}

/* --- runs ------------------------------------------------------------------------------------- */

enum { PLAIN, PRELOAD, ATTACHED, WAYS };
static const char *const way_names[] = {"alone", "with the library", "with the agent"};

/* p50 and p99 of what a client prints, each way. The library withholds a request that has not
 * ended; for that, which only the agent lets go on, it is left out. */
static void
measure(const char *name, const struct bench_collector *collector, const char *mode,
        const char *const arguments[], size_t count)
{
    int64_t *durations_ns = bench_memory(count, sizeof *durations_ns);
    for (int way = PLAIN; way < WAYS; way++) {
        if (way == PRELOAD && strcmp(mode, "observe") == 0) {
            continue;
        }
        pid_t agent = way == ATTACHED ? start_agent(collector, mode) : 0;
        bench_run(collector, way == PRELOAD, arguments, durations_ns, count);
        if (way == ATTACHED) {
            bench_end(agent);
        }
        double p50_us = (double)bench_percentile(durations_ns, count, 50) / 1e3;
        double p99_us = (double)bench_percentile(durations_ns, count, 99) / 1e3;
        printf("%-40s %-17s p50 %8.2f us   p99 %8.2f us\n", way == PLAIN ? name : "",
               way_names[way], p50_us, p99_us);
        fflush(stdout);
    }
    free(durations_ns);
}

#define FLOOD 10 /* times as many writes */
#define FLOOD_STEP_MIB_S 100
#define FLOOD_MAX_MIB_S 1000
#define SAID_WITHIN_S 2 /* by the agent, of what found no room */

/* How many records the agent says are missing. */
static unsigned long long
missing(const struct bench_collector *collector)
{
    char line[512];
    unsigned long long sum = 0;
    sleep(SAID_WITHIN_S);
    FILE *file = fopen(complaints(collector), "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        unsigned long long records;
        const char *at = strstr(line, "looked at: ");
        if (at == NULL || sscanf(at, "looked at: %llu records", &records) != 1) {
            bench_fail(line);
        }
        sum += records;
    }
    if (file != NULL) {
        fclose(file);
    }
    return sum;
}

/* A program writes a request to a provider faster and faster, until some of it finds no room. */
static void
measure_capture(const struct bench_collector *collector, const char *program, size_t calls)
{
    char count[24], pace[24];
    size_t writes = FLOOD * calls;
    const char *arguments[] = {program, "--client", BENCH_HOST, "16384", count, pace, NULL};
    int64_t *durations_ns = bench_memory(writes, sizeof *durations_ns);
    unsigned long long records = 0;
    snprintf(count, sizeof count, "%zu", writes);
    for (int mib_s = FLOOD_STEP_MIB_S; records == 0 && mib_s <= FLOOD_MAX_MIB_S;
         mib_s += FLOOD_STEP_MIB_S) {
        snprintf(pace, sizeof pace, "%lld", 1000000000LL * RECORD_BYTES / ((int64_t)mib_s << 20));
        pid_t agent = start_agent(collector, "observe");
        bench_run(collector, false, arguments, durations_ns, writes);
        records = missing(collector);
        bench_end(agent);
        printf("a request to a provider at %4d MiB/s: %.1f %% finds no room\n", mib_s,
               100.0 * (double)records / (double)writes);
        fflush(stdout);
    }
    free(durations_ns);
}

int
main(int argc, char **argv)
{
    char count[24];
    struct bench_collector collector;
    signal(SIGPIPE, SIG_IGN);
    if (argc == 6 && strcmp(argv[1], "--client") == 0) {
        return client(argv[2], (int)strtol(argv[3], NULL, 10), strtoul(argv[4], NULL, 10),
                      strtoll(argv[5], NULL, 10));
    }
    if (system(AGENT " --probe >/dev/null") != 0) { // NOLINT(cert-env33-c)
        puts("not measured: nullspend-bpf --probe names what this machine lacks");
        return 0;
    }
    size_t calls = argc > 1 ? strtoul(argv[1], NULL, 10) : 3000;
    snprintf(count, sizeof count, "%zu", calls);
    bench_collector_start(&collector);
    const char *call[] = {"build/bench/governed_call", "--client", "0", count, NULL};
    measure("a governed call over HTTP/1.1", &collector, "enforce", call, calls);
    const char *other[] = {argv[0], "--client", "example.com", "128", count, "0", NULL};
    measure("128 bytes to somebody else, and back", &collector, "enforce", other, calls);
    const char *provider[] = {argv[0], "--client", BENCH_HOST, "16384", count, "0", NULL};
    measure("16 KiB of a request to a provider", &collector, "observe", provider, calls);
    measure_capture(&collector, argv[0], calls);
    measure_idle(&collector);
    bench_collector_stop(&collector);
    return 0;
}
