/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/lib/bench.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#define ECHO_BYTES 128
#define ECHO_WARM_UP 200

void
bench_collector_start(struct bench_collector *collector)
{
    char state[128], line[512];
    int ends[2];
    snprintf(collector->directory, sizeof collector->directory, "/tmp/nsbenchXXXXXX");
    if (mkdtemp(collector->directory) == NULL || pipe(ends) != 0) {
        bench_fail("mkdtemp");
    }
    snprintf(state, sizeof state, "%s/state", collector->directory);
    snprintf(collector->endpoint, sizeof collector->endpoint, "ipc://%s/c", collector->directory);
    collector->pid = fork();
    if (collector->pid == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        execl("build/nullspendd", "build/nullspendd", "--foreground", "--state-dir", state,
              "--listen", collector->endpoint, "--http", "off", "--database-url",
              "postgresql:///none?host=/nonexistent", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    FILE *log = fdopen(ends[0], "r");
    while (log != NULL && fgets(line, sizeof line, log) != NULL) {
        if (strstr(line, "ready") != NULL) {
            return; /* the pipe stays open: it has little more to say */
        }
        fputs(line, stderr);
    }
    bench_fail("the collector did not start");
}

void
bench_end(pid_t pid)
{
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

void
bench_collector_stop(struct bench_collector *collector)
{
    char command[128];
    bench_end(collector->pid);
    snprintf(command, sizeof command, "rm -rf %s", collector->directory);
    if (system(command) != 0) { // NOLINT(cert-env33-c)
        bench_fail(command);
    }
}

static void
govern(const struct bench_collector *collector, bool governed)
{
    if (!governed) {
        unsetenv("LD_PRELOAD");
        return;
    }
    setenv("LD_PRELOAD", BENCH_LIBRARY, 1);
    setenv("NULLSPEND_COLLECTOR", collector->endpoint, 1);
    setenv("NULLSPEND_CUSTOMER", "bench", 1);
    setenv("NULLSPEND_SPOOL_DIR", collector->directory, 1);
}

struct bench_program
bench_start(const struct bench_collector *collector, bool governed, const char *const arguments[])
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        bench_fail("pipe");
    }
    struct bench_program program = {.name = arguments[0], .output = ends[0], .pid = fork()};
    if (program.pid == 0) {
        dup2(ends[1], 1);
        govern(collector, governed);
        execvp(arguments[0], (char *const *)arguments);
        _exit(127);
    }
    close(ends[1]);
    return program;
}

int64_t
bench_finish(const struct bench_program *program, int64_t *values, size_t count)
{
    char line[64];
    size_t read_count = 0;
    FILE *output = fdopen(program->output, "r");
    while (output != NULL && fgets(line, sizeof line, output) != NULL) {
        if (read_count < count) {
            values[read_count] = strtoll(line, NULL, 10);
        }
        read_count++;
    }
    int status = 0;
    struct rusage usage;
    if (wait4(program->pid, &status, 0, &usage) != program->pid || status != 0 ||
        read_count != count) {
        bench_fail(program->name);
    }
    fclose(output);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000LL +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000LL;
}

void
bench_line(const char *command, char *line, size_t bytes)
{
    FILE *output = popen(command, "r"); // NOLINT(cert-env33-c)
    if (output == NULL || fgets(line, (int)bytes, output) == NULL || pclose(output) != 0) {
        bench_fail(command);
    }
    line[strcspn(line, "\n")] = '\0';
}

int64_t
bench_run(const struct bench_collector *collector, bool governed, const char *const arguments[],
          int64_t *values, size_t count)
{
    struct bench_program program = bench_start(collector, governed, arguments);
    return bench_finish(&program, values, count);
}

/* --- the reference -------------------------------------------------------------------------- */

/* Sends back what comes, in a process of its own, as a collector is one. */
static pid_t
start_echo(const char *endpoint)
{
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    void *router = zmq_socket(zmq_ctx_new(), ZMQ_ROUTER);
    zmq_msg_t part;
    if (zmq_bind(router, endpoint) != 0) {
        bench_fail("zmq_bind");
    }
    for (;;) {
        bool more = true;
        while (more) {
            zmq_msg_init(&part);
            if (zmq_msg_recv(&part, router, 0) < 0) {
                _exit(1);
            }
            more = zmq_msg_more(&part);
            zmq_msg_send(&part, router, more ? ZMQ_SNDMORE : 0);
        }
    }
}

static void
be_busy(int64_t work_ns)
{
    for (int64_t end_ns = bench_now_ns() + work_ns; bench_now_ns() < end_ns;) {
    }
}

void
bench_echo(const struct bench_collector *collector, int64_t work_ns, int64_t *durations_ns,
           size_t count)
{
    char endpoint[128], message[ECHO_BYTES] = {0};
    snprintf(endpoint, sizeof endpoint, "ipc://%s/echo", collector->directory);
    pid_t server = start_echo(endpoint);
    void *context = zmq_ctx_new(), *dealer = zmq_socket(context, ZMQ_DEALER);
    if (zmq_connect(dealer, endpoint) != 0) {
        bench_fail("zmq_connect");
    }
    for (size_t i = 0; i < ECHO_WARM_UP + count; i++) {
        be_busy(work_ns);
        int64_t start_ns = bench_now_ns();
        zmq_send(dealer, message, sizeof message, 0);
        zmq_recv(dealer, message, sizeof message, 0);
        if (i >= ECHO_WARM_UP) {
            durations_ns[i - ECHO_WARM_UP] = bench_now_ns() - start_ns;
        }
    }
    zmq_close(dealer);
    zmq_ctx_term(context);
    bench_end(server);
}
