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

#include "base/mem.h"
#include "bpf/capture.h"
#include "bpf/guard.h"
#include "bpf/streams.h"
#include "bpf/targets.h"
#include "shim/gate.h"
#include "shim/process.h"

/* Programs that bring an OpenSSL of their own are looked for so often. */
#define SCAN_MS 1000

/* Beyond the longest that a call waits for its verdict. */
#define GUARD_GRACE_NS INT64_C(2000000000)

struct agent {
    struct ns_capture *capture;
    struct ns_streams *streams;
    struct ns_targets *targets;
    size_t files;
};

/* --- records -------------------------------------------------------------------------------- */

/* Replaces bytes of a process by blanks. */
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

static void
take_write(struct agent *agent, const struct ns_record *record, const uint8_t *bytes)
{
    struct ns_write_ruling ruling = {.state = NS_CONNECTION_IGNORED};
    if (!is_left_alone(agent, record)) {
        ruling = ns_streams_write(agent->streams, record, bytes);
    }
    if (record->undecided || ruling.state == NS_CONNECTION_IGNORED) {
        ns_capture_decide(agent->capture, record->connection, ruling.state);
    }
    if (ruling.denied && record->stopped) {
        overwrite(record->pid, record->from + ruling.blank_at, ruling.blank_bytes, ' ');
        overwrite(record->pid, record->from + ruling.secret_at, ruling.secret_bytes, 'x');
    }
    if (record->stopped && record->offset + record->bytes >= record->total) {
        ns_capture_go_on(agent->capture, record->pid);
    }
}

static void
take_name(struct agent *agent, const struct ns_record *record, const uint8_t *bytes)
{
    if (record->bytes == 0 || is_left_alone(agent, record)) {
        return;
    }
    ns_capture_decide(agent->capture, record->connection,
                      ns_streams_name(agent->streams, record, (const char *)bytes));
}

static void
take(void *context, const struct ns_record *record, const uint8_t *bytes)
{
    struct agent *agent = context;
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
    agent->streams = ns_streams_new(&config->hosts);
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
    return true;
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
        struct pollfd polled[] = {{.fd = ns_capture_fd(agent.capture), .events = POLLIN},
                                  {.fd = signals, .events = POLLIN}};
        int count = poll(polled, 2, SCAN_MS);
        if (count == 0) {
            ns_targets_scan(agent.targets, attach, &agent);
            ns_gate_post();
        }
        ns_capture_take(agent.capture);
        runs = (polled[1].revents & POLLIN) == 0;
    }
    ns_capture_free(agent.capture);
    ns_streams_free(agent.streams);
    ns_targets_free(agent.targets);
    ns_gate_flush();
    return status;
}
