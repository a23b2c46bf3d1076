/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/privileges.h"
#include "bpf/stops.h"

#define LOOK_MS 100

/* The guard's descriptors; it has no others. What attaches the agent's probes among them would keep
 * these in place when the agent is gone. */
enum { STOPPED_FD = 3, PIPE_FD, AGENT_FD, FIRST_OTHER_FD };

static bool
keep_descriptors(int stopped, int pipe_end, int agent)
{
    /* Out of each other's way first. */
    stopped = fcntl(stopped, F_DUPFD_CLOEXEC, FIRST_OTHER_FD);
    pipe_end = fcntl(pipe_end, F_DUPFD_CLOEXEC, FIRST_OTHER_FD);
    agent = fcntl(agent, F_DUPFD_CLOEXEC, FIRST_OTHER_FD);
    return dup2(stopped, STOPPED_FD) >= 0 && dup2(pipe_end, PIPE_FD) >= 0 &&
           dup2(agent, AGENT_FD) >= 0 && syscall(SYS_close_range, FIRST_OTHER_FD, ~0U, 0) == 0;
}

static void
watch(int64_t longest_ns)
{
    struct pollfd agent[] = {{.fd = PIPE_FD, .events = POLLIN}, {.fd = AGENT_FD, .events = POLLIN}};
    /* Whoever means the agent's group must not mean its guard. */
    setsid();
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    prctl(PR_SET_NAME, "nullspend-guard");
    ns_privileges_keep(NS_PRIVILEGES_GUARD);
    while (poll(&agent[0], 1, LOOK_MS) <= 0) {
        ns_stop_end_all(STOPPED_FD, longest_ns);
    }
    /* It is ending, and until it has ended its probes may stop somebody. */
    while (poll(&agent[1], 1, LOOK_MS) <= 0) {
        ns_stop_end_all(STOPPED_FD, 0);
    }
    ns_stop_end_all(STOPPED_FD, 0);
    _exit(0);
}

int
ns_guard_start(struct ns_guard *guard, int stopped_fd, int64_t longest_ns)
{
    int ends[2] = {-1, -1};
    *guard = (struct ns_guard)NS_GUARD_NONE;
    int agent = (int)syscall(SYS_pidfd_open, getpid(), 0);
    pid_t pid = agent >= 0 && pipe2(ends, O_CLOEXEC) == 0 ? fork() : -1;
    if (pid == 0) {
        if (!keep_descriptors(stopped_fd, ends[0], agent)) {
            _exit(1);
        }
        watch(longest_ns);
    }
    int error = errno;
    if (agent >= 0) {
        close(agent);
    }
    if (ends[0] >= 0) {
        close(ends[0]);
    }
    guard->agent = ends[1];
    if (pid > 0) {
        guard->pid = pid;
        guard->process = (int)syscall(SYS_pidfd_open, pid, 0);
        error = errno;
    }
    if (guard->process < 0) {
        ns_guard_end(guard);
        return -error;
    }
    return 0;
}

void
ns_guard_end(struct ns_guard *guard)
{
    if (guard->pid > 0) {
        kill(guard->pid, SIGKILL);
        waitpid(guard->pid, NULL, 0);
    }
    if (guard->process >= 0) {
        close(guard->process);
    }
    if (guard->agent >= 0) {
        close(guard->agent);
    }
    *guard = (struct ns_guard)NS_GUARD_NONE;
}
