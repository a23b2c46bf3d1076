/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/agent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bpf/capture.h"
#include "bpf/coverage.h"
#include "bpf/go.h"
#include "bpf/guard.h"
#include "bpf/privileges.h"
#include "bpf/probe.h"
#include "bpf/stops.h"
#include "bpf/streams.h"
#include "bpf/targets.h"
#include "bpf/uprobe.h"
#include "shim/gate.h"
#include "shim/process.h"

/* Programs with a file that nobody had before are looked for so often where the kernel does not
 * tell of them; other things that need no haste are done then, too. */
#define SCAN_NS INT64_C(1000000000)

/* What nobody told the end of is looked for so often. */
#define SWEEP_NS INT64_C(5000000000)
/* Where it tells, what it could not tell is looked for so often. */
#define VISIT_NS INT64_C(30000000000)

/* Beyond the longest that a call waits for its verdict. */
#define GUARD_GRACE_NS INT64_C(2000000000)

/* So many answers are waited for by poll(2); further ones are looked for at each turn. */
#define QUESTIONS_POLLED 256
#define TURN_MS 100

struct agent {
    const struct ns_agent_options *options;
    struct ns_capture *capture;
    struct ns_questions *questions;
    struct ns_streams *streams;
    struct ns_targets *targets;
    struct ns_sightings *sightings; /* NULL: what is dark is not looked for */
    struct ns_stops *stops;
    struct ns_guard guard;
    uint32_t only_network; /* inode of the name space; 0: all */
    size_t files;
    bool missed;    /* a file of a process that was gone */
    uint32_t drops; /* sweeps that are due because something could not be told */
    int64_t scan_at_ns, visit_at_ns, sweep_at_ns;
};

/* --- denials -------------------------------------------------------------------------------- */

static bool
overwrite(uint32_t pid, const struct ns_range *range, const void *with)
{
    struct iovec local = {(void *)(uintptr_t)with, range->bytes};
    struct iovec remote = {(void *)(uintptr_t)range->from, range->bytes};
    return range->bytes == 0 ||
           process_vm_writev((pid_t)pid, &local, 1, &remote, 1, 0) == (ssize_t)range->bytes;
}

static bool
fill(uint32_t pid, const struct ns_range *range, char with)
{
    char *text = range->bytes == 0 ? NULL : ns_mem_alloc(range->bytes);
    if (text == NULL) {
        return range->bytes == 0;
    }
    memset(text, with, range->bytes);
    bool written = overwrite(pid, range, text);
    ns_mem_free(text);
    return written;
}

/* The key goes first: without it the provider refuses whatever the body is. */
static bool
blank(uint32_t pid, const struct ns_asking *asking)
{
    bool keyless = fill(pid, &asking->secret, 'x');
    bool bodyless = fill(pid, &asking->body, ' ');
    bool endless = overwrite(pid, &asking->ending, asking->instead);
    bool any = asking->secret.bytes + asking->body.bytes + asking->ending.bytes > 0;
    return any && keyless && bodyless && endless;
}

/* A process that nobody holds in place may have sent it; its memory is its own again. A collector
 * that is away is no reason to end a process. */
static bool
deny(void *context, const struct ns_denied *denied)
{
    struct agent *agent = context;
    const struct ns_origin *origin = denied->asking->origin;
    bool held =
        !denied->would && denied->asking->stopped && ns_stops_holds(agent->stops, origin->pid);
    bool kills = !denied->would && agent->options->on_denial == NS_ON_DENIAL_KILL &&
                 denied->verdict->reason != NS_REASON_COLLECTOR_UNREACHABLE;
    bool stays = false; /* nothing leaves that a provider would answer */
    const char *what = "it left, for the process was not stopped";
    if (denied->would) {
        what = "it went on";
    } else if (kills && kill((pid_t)origin->pid, SIGKILL) == 0) {
        stays = held;
        what = held ? "killed, it has not left" : "killed, it may have left";
    } else if (held) {
        stays = blank(origin->pid, denied->asking);
        what = stays ? NULL : "nothing of it could be changed, it left";
    }
    if (what != NULL) {
        fprintf(stderr, "nullspend-bpf: process %u (%s): a call is denied: %s (%s)\n", origin->pid,
                origin->process, what, denied->verdict->message);
    }
    return !stays;
}

/* --- records -------------------------------------------------------------------------------- */

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

static bool
waits(const void *questions, uint32_t pid)
{
    return ns_questions_waits(questions, pid);
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
        ns_stops_note(agent->stops, record->pid);
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

/* --- programs ------------------------------------------------------------------------------- */

static enum ns_target
attach(void *context, const char *path, const char *name)
{
    struct agent *agent = context;
    int found = ns_capture_attach(agent->capture, path);
    int found_go = found == 0 ? ns_go_attach(agent->capture, path, name) : 0;
    int error = errno;
    found = found_go != 0 ? found_go : found;
    if (found > 0) {
        agent->files++;
        return NS_TARGET_ATTACHED;
    }
    if (found < 0 && access(path, F_OK) != 0) {
        return NS_TARGET_GONE; /* the process went meanwhile */
    }
    if (found < 0) {
        fprintf(stderr, "nullspend-bpf: cannot attach to %s: %s; programs that use it are dark\n",
                name, strerror(error));
    }
    return NS_TARGET_NONE;
}

static void
look_at_file(void *context, const struct ns_file *file)
{
    struct agent *agent = context;
    if (ns_targets_look(agent->targets, file, attach, agent)) {
        ns_capture_know_file(agent->capture, &file->key);
    } else {
        agent->missed = true;
    }
}

/* A process maps a file to run it. */
static void
take_file(struct agent *agent, const struct ns_record *record, const uint8_t *bytes)
{
    struct ns_file file;
    memcpy(&file, bytes, sizeof file);
    agent->missed = false;
    if (ns_capture_visit_mapped(agent->capture, record->pid, look_at_file, agent) &&
        !agent->missed && ns_target_runs(record->pid)) {
        ns_capture_know_file(agent->capture, &file.key);
    }
    if (record->stopped) {
        ns_stops_note(agent->stops, record->pid);
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
    case NS_RECORD_FILE:
        take_file(agent, record, bytes);
        break;
    }
}

/* --- life ----------------------------------------------------------------------------------- */

/* Without a guard nobody is stopped. */
static bool
start_guard(struct agent *agent)
{
    int error = ns_guard_start(&agent->guard, ns_capture_stopped_fd(agent->capture),
                               ns_process_config()->deadline_ns + GUARD_GRACE_NS);
    if (error != 0) {
        fprintf(stderr, "nullspend-bpf: cannot start the guard of stopped processes: %s\n",
                strerror(-error));
        ns_capture_stop_nobody(agent->capture);
        return false;
    }
    ns_capture_guarded_by(agent->capture, (uint32_t)agent->guard.pid);
    return true;
}

static bool
load(struct agent *agent)
{
    const struct ns_config *config = ns_process_config();
    if (!ns_agent_process_network(agent->options->this_network, &agent->only_network)) {
        return false;
    }
    agent->capture =
        ns_capture_load(config->mode == NS_MODE_ENFORCE, agent->only_network, take, agent);
    if (agent->capture == NULL) {
        return false;
    }
    agent->stops = ns_stops_new(ns_capture_stopped_fd(agent->capture));
    return agent->stops != NULL;
}

static bool
start(struct agent *agent)
{
    if (!ns_probe_first_pids()) {
        fputs(
            "nullspend-bpf: the kernel tells of processes by other numbers than are seen here: run"
            " it in the machine's own pid name space\n",
            stderr);
        return false;
    }
    agent->questions = ns_questions_new(deny, agent);
    agent->streams = agent->questions == NULL
                         ? NULL
                         : ns_streams_new(&ns_process_config()->hosts, agent->questions);
    agent->targets = ns_targets_new();
    if (agent->streams == NULL || agent->targets == NULL) {
        fputs("nullspend-bpf: no memory\n", stderr);
        return false;
    }
    ns_privileges_reach(ns_process_config()->collector, ns_process_config()->spool_dir);
    uint64_t kept = NS_PRIVILEGES_AGENT | (ns_uprobe_has_multi() ? 0 : NS_PRIVILEGES_PERF_UPROBES);
    if (!ns_privileges_keep(kept)) {
        fprintf(stderr, "nullspend-bpf: cannot give up what it need not: %s\n", strerror(errno));
        return false;
    }
    if (!load(agent) || !start_guard(agent)) {
        return false;
    }
    if (!ns_capture_watch_files(agent->capture, look_at_file, agent)) {
        ns_targets_scan(agent->targets, attach, agent);
    }
    agent->sightings =
        ns_sightings_new(&(struct ns_coverage_options){.hosts = &ns_process_config()->hosts,
                                                       .only_network = agent->only_network,
                                                       .attaches = true});
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

/* What became of processes and, where something could not be told, of connections. */
static void
sweep(struct agent *agent)
{
    ns_streams_sweep(agent->streams);
    if (agent->drops == 0) {
        return;
    }
    ns_streams_unmark(agent->streams);
    if (ns_capture_visit_connections(agent->capture, ns_streams_mark, agent->streams)) {
        ns_streams_end_unmarked(agent->streams);
        agent->drops--;
    }
}

/* Looks for programs at their time, however much there is to do. */
static void
look_around(struct agent *agent)
{
    int64_t now_ns = ns_clock_ns(CLOCK_MONOTONIC);
    if (now_ns < agent->scan_at_ns) {
        return;
    }
    agent->scan_at_ns = now_ns + SCAN_NS;
    if (!ns_capture_tells_files(agent->capture)) {
        ns_targets_scan(agent->targets, attach, agent);
    } else if (now_ns >= agent->visit_at_ns) {
        agent->visit_at_ns = now_ns + VISIT_NS;
        ns_capture_visit_mapped(agent->capture, 0, look_at_file, agent);
    }
    if (ns_capture_visit_drops(agent->capture, tell_drops)) {
        agent->drops = NS_STREAMS_MISSED_MAX;
    }
    ns_gate_post();
    if (now_ns >= agent->sweep_at_ns) {
        agent->sweep_at_ns = now_ns + SWEEP_NS;
        sweep(agent);
    }
}

enum { RECORDS, SIGNALS, GUARD, SIGHTINGS, FIRST_QUESTION };

/* Waits for something to do and does it. Returns false at the end. */
static bool
turn(struct agent *agent, int signals)
{
    struct pollfd polled[FIRST_QUESTION + QUESTIONS_POLLED] = {
        [RECORDS] = {.fd = ns_capture_fd(agent->capture), .events = POLLIN},
        [SIGNALS] = {.fd = signals, .events = POLLIN},
        [GUARD] = {.fd = agent->guard.process, .events = POLLIN},
        [SIGHTINGS] = {.fd = ns_sightings_fd(agent->sightings), .events = POLLIN}};
    size_t count = FIRST_QUESTION +
                   ns_questions_poll(agent->questions, polled + FIRST_QUESTION, QUESTIONS_POLLED);
    poll(polled, count, count > FIRST_QUESTION ? TURN_MS : (int)(SCAN_NS / 1000000));
    if ((polled[GUARD].revents & POLLIN) != 0) {
        ns_guard_end(&agent->guard);
        start_guard(agent);
    }
    ns_capture_take(agent->capture);
    ns_questions_listen(agent->questions);
    ns_stops_let_go(agent->stops, waits, agent->questions);
    look_around(agent);
    ns_sightings_turn(agent->sightings);
    return (polled[SIGNALS].revents & POLLIN) == 0;
}

/* Whoever is stopped goes on before anything is waited for. */
static void
end(struct agent *agent)
{
    ns_agent_process_ends();
    if (agent->capture != NULL) {
        ns_capture_stop_nobody(agent->capture);
    }
    if (agent->stops != NULL) {
        ns_capture_take(agent->capture);
    }
    if (agent->questions != NULL) {
        ns_questions_give_up(agent->questions);
    }
    ns_stops_free(agent->stops);
    ns_streams_free(agent->streams);
    ns_questions_free(agent->questions);
    ns_sightings_free(agent->sightings);
    ns_capture_free(agent->capture);
    ns_targets_free(agent->targets);
    ns_gate_flush();
}

int
ns_agent_run(const struct ns_agent_options *options)
{
    struct agent agent = {.options = options, .guard = NS_GUARD_NONE};
    if (!ns_process_ready()) {
        fputs("nullspend-bpf: NULLSPEND_MODE=off: nothing to do\n", stderr);
        return 0;
    }
    if (options->on_denial == NS_ON_DENIAL_ALERT) {
        ns_agent_process_alerts();
    }
    int signals = ns_agent_process_signals();
    bool runs = signals >= 0 && start(&agent);
    int status = runs ? 0 : 1;
    if (runs) {
        printf("nullspend-bpf: ready, attached to %zu files\n", agent.files);
        fflush(stdout);
    }
    while (runs) {
        runs = turn(&agent, signals);
    }
    end(&agent);
    return status;
}
