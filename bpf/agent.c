/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/agent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bpf/capture.h"
#include "bpf/coverage.h"
#include "bpf/guard.h"
#include "bpf/streams.h"
#include "bpf/targets.h"
#include "shim/gate.h"
#include "shim/process.h"

/* Programs that bring an OpenSSL of their own are looked for so often. */
#define SCAN_NS INT64_C(1000000000)

/* Beyond the longest that a call waits for its verdict. */
#define GUARD_GRACE_NS INT64_C(2000000000)

/* So many answers are waited for by poll(2); further ones are looked for at each turn. */
#define QUESTIONS_POLLED 256
#define TURN_MS 100

/* A process that is stopped and has been looked at. */
struct stopped {
    struct stopped *next;
    uint32_t pid;
};

struct agent {
    struct ns_capture *capture;
    struct ns_streams *streams;
    struct ns_targets *targets;
    struct ns_sightings *sightings; /* NULL: what is dark is not looked for */
    struct stopped *stopped;
    size_t files;
    int64_t scan_at_ns;
};

/* --- records -------------------------------------------------------------------------------- */

static void
overwrite(uint32_t pid, uint64_t from, uint32_t bytes, char with)
{
    char *text = bytes == 0 ? NULL : ns_mem_alloc(bytes);
    if (text == NULL) {
        return;
    }
    memset(text, with, bytes);
    struct iovec local = {text, bytes};
    struct iovec remote = {(void *)(uintptr_t)from, bytes};
    if (process_vm_writev((pid_t)pid, &local, 1, &remote, 1, 0) != (ssize_t)bytes) {
        fprintf(stderr, "nullspend-bpf: a denied request of process %u could not be blanked: %s\n",
                pid, strerror(errno));
    }
    ns_mem_free(text);
}

/* The library governs it. */
static bool
is_left_alone(struct agent *agent, const struct ns_record *record)
{
    bool left = record->undecided && ns_target_is_preloaded(record->pid);
    if (left) {
        ns_capture_leave_alone(agent->capture, record->pid);
    }
    return left;
}

/* The process may go on when nothing of it is in question. All its threads have stopped by the time
 * that what they wrote before has been taken, too. */
static void
note_stopped(struct agent *agent, uint32_t pid)
{
    struct stopped *stopped = ns_mem_alloc(sizeof *stopped);
    if (stopped == NULL) {
        ns_capture_go_on(agent->capture, pid);
        return;
    }
    *stopped = (struct stopped){agent->stopped, pid};
    agent->stopped = stopped;
}

static void
let_go(struct agent *agent)
{
    for (struct stopped **link = &agent->stopped; *link != NULL;) {
        struct stopped *stopped = *link;
        if (ns_streams_asks(agent->streams, stopped->pid)) {
            link = &stopped->next;
            continue;
        }
        *link = stopped->next;
        ns_capture_go_on(agent->capture, stopped->pid);
        ns_mem_free(stopped);
    }
}

static void
take_write(struct agent *agent, const struct ns_record *record, const uint8_t *bytes)
{
    enum ns_connection_state state = NS_CONNECTION_IGNORED;
    if (!is_left_alone(agent, record)) {
        state = ns_streams_write(agent->streams, record, bytes);
    }
    if (record->undecided || state == NS_CONNECTION_IGNORED) {
        ns_capture_decide(agent->capture, record->connection, state);
    }
    if (record->stopped && record->offset + record->bytes >= record->total) {
        note_stopped(agent, record->pid);
    }
}

static void
take_name(struct agent *agent, const struct ns_record *record, const uint8_t *bytes)
{
    if (record->bytes == 0 || is_left_alone(agent, record)) {
        return;
    }
    enum ns_connection_state state = ns_streams_name(agent->streams, record, (const char *)bytes);
    ns_capture_decide(agent->capture, record->connection, state);
    if (state == NS_CONNECTION_PROVIDER) {
        ns_sightings_governed(agent->sightings, record->pid, (const char *)bytes);
    }
}

static void
take(void *context, const struct ns_record *record, const uint8_t *bytes)
{
    struct agent *agent = context;
    if (record->lost) {
        ns_streams_lost(agent->streams, record->connection);
    }
    switch ((enum ns_record_kind)record->kind) {
    case NS_RECORD_NAME:
        take_name(agent, record, bytes);
        break;
    case NS_RECORD_WRITE:
        take_write(agent, record, bytes);
        break;
    case NS_RECORD_WRITTEN:
        ns_streams_written(agent->streams, record);
        break;
    case NS_RECORD_READ:
        ns_streams_read(agent->streams, record, bytes);
        break;
    case NS_RECORD_END:
        ns_streams_end(agent->streams, record->connection);
        break;
    case NS_RECORD_EXIT:
        ns_streams_exit(agent->streams, record->pid);
        break;
    }
}

/* --- programs ------------------------------------------------------------------------------- */

static bool
attach(void *context, const char *path, const char *name)
{
    struct agent *agent = context;
    int found = ns_capture_attach(agent->capture, path);
    agent->files += found > 0;
    if (found <= 0 && access(path, F_OK) != 0) {
        return false; /* the process went meanwhile */
    }
    if (found < 0) {
        fprintf(stderr, "nullspend-bpf: cannot attach to %s: %s; programs that use it are dark\n",
                name, strerror(errno));
    }
    return true;
}

/* --- life ----------------------------------------------------------------------------------- */

static int
block_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC);
}

static bool
start(struct agent *agent, bool this_network)
{
    const struct ns_config *config = ns_process_config();
    agent->streams = ns_streams_new(&config->hosts, overwrite);
    agent->targets = ns_targets_new();
    if (agent->streams == NULL || agent->targets == NULL) {
        fputs("nullspend-bpf: no memory\n", stderr);
        return false;
    }
    struct stat network = {0};
    if (this_network && stat("/proc/self/ns/net", &network) != 0) {
        fprintf(stderr, "nullspend-bpf: /proc/self/ns/net: %s\n", strerror(errno));
        return false;
    }
    agent->capture =
        ns_capture_load(config->mode == NS_MODE_ENFORCE, (uint32_t)network.st_ino, take, agent);
    if (agent->capture == NULL) {
        return false;
    }
    int error =
        ns_guard_start(ns_capture_stopped_fd(agent->capture), config->deadline_ns + GUARD_GRACE_NS);
    if (error != 0) {
        fprintf(stderr, "nullspend-bpf: cannot start the guard of stopped processes: %s\n",
                strerror(-error));
        return false;
    }
    ns_targets_scan(agent->targets, attach, agent);
    agent->sightings = ns_sightings_new(&(struct ns_coverage_options){
        .hosts = &config->hosts, .only_network = (uint32_t)network.st_ino, .attaches = true});
    return true;
}

static void
tell_drops(uint32_t pid, const struct ns_drops *drops)
{
    fprintf(stderr,
            "nullspend-bpf: process %u wrote and read faster than was looked at: %llu records with"
            " %llu bytes are missing; its calls of that time are reported by what was seen\n",
            pid, drops->records, drops->bytes);
}

/* Looks for programs at their time, however much there is to do. */
static void
look_around(struct agent *agent)
{
    int64_t now_ns = ns_clock_ns(CLOCK_MONOTONIC);
    if (now_ns >= agent->scan_at_ns) {
        agent->scan_at_ns = now_ns + SCAN_NS;
        ns_targets_scan(agent->targets, attach, agent);
        ns_capture_visit_drops(agent->capture, tell_drops);
        ns_gate_post();
    }
}

/* Waits for something to do and does it. Returns false at the end. */
static bool
turn(struct agent *agent, int signals)
{
    struct pollfd polled[3 + QUESTIONS_POLLED] = {
        {.fd = ns_capture_fd(agent->capture), .events = POLLIN},
        {.fd = signals, .events = POLLIN},
        {.fd = ns_sightings_fd(agent->sightings), .events = POLLIN}};
    size_t count = 3 + ns_streams_poll(agent->streams, polled + 3, QUESTIONS_POLLED);
    poll(polled, count, count > 3 ? TURN_MS : (int)(SCAN_NS / 1000000));
    ns_capture_take(agent->capture);
    ns_streams_listen(agent->streams);
    let_go(agent);
    look_around(agent);
    ns_sightings_turn(agent->sightings);
    return (polled[1].revents & POLLIN) == 0;
}

int
ns_agent_run(bool this_network)
{
    struct agent agent = {0};
    if (!ns_process_ready()) {
        fputs("nullspend-bpf: NULLSPEND_MODE=off: nothing to do\n", stderr);
        return 0;
    }
    int signals = block_signals();
    bool runs = signals >= 0 && start(&agent, this_network);
    int status = runs ? 0 : 1;
    if (runs) {
        printf("nullspend-bpf: ready, attached to %zu files\n", agent.files);
        fflush(stdout);
    }
    while (runs) {
        runs = turn(&agent, signals);
    }
    ns_streams_free(agent.streams); /* asks for nobody any more */
    agent.streams = NULL;
    let_go(&agent);
    ns_sightings_free(agent.sightings);
    ns_capture_free(agent.capture);
    ns_targets_free(agent.targets);
    ns_gate_flush();
    return status;
}
