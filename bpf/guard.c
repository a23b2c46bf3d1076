/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/guard.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define LOOKS_A_SECOND 10

/* Lets go on who has been stopped for longer than that. */
static void
let_go(int stopped_fd, int64_t longest_ns)
{
    uint32_t pid, next;
    bool more = bpf_map_get_next_key(stopped_fd, NULL, &pid) == 0;
    while (more) {
        uint64_t since_ns = 0;
        more = bpf_map_get_next_key(stopped_fd, &pid, &next) == 0;
        if (bpf_map_lookup_elem(stopped_fd, &pid, &since_ns) == 0 &&
            ns_clock_ns(CLOCK_MONOTONIC) - (int64_t)since_ns >= longest_ns) {
            (void)bpf_map_delete_elem(stopped_fd, &pid);
            (void)kill((pid_t)pid, SIGCONT);
        }
        pid = next;
    }
}

static void
watch(int stopped_fd, int agent_fd, int64_t longest_ns)
{
    struct pollfd agent = {.fd = agent_fd, .events = POLLIN};
    /* Whoever means the agent's group must not mean its guard. */
    setsid();
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    prctl(PR_SET_NAME, "nullspend-guard");
    while (poll(&agent, 1, 1000 / LOOKS_A_SECOND) <= 0) {
        let_go(stopped_fd, longest_ns);
    }
    /* The agent is gone, and with it what stops processes; one may have been told just then. */
    for (int i = 0; i < LOOKS_A_SECOND; i++) {
        let_go(stopped_fd, 0);
        poll(NULL, 0, 1000 / LOOKS_A_SECOND);
    }
    _exit(0);
}

int
ns_guard_start(int stopped_fd, int64_t longest_ns)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return -errno;
    }
    pid_t pid = fork();
    if (pid < 0) {
        int error = errno;
        close(ends[0]);
        close(ends[1]);
        return -error;
    }
    if (pid == 0) {
        close(ends[1]);
        watch(stopped_fd, ends[0], longest_ns);
    }
    close(ends[0]); /* the other end closes with this process */
    close(stopped_fd);
    return 0;
}
