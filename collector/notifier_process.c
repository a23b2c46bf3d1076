/* SPDX-License-Identifier: Apache-2.0 */
/* The collector's side of the notifier: one process, its socket, and its figures. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/notifier.h"
#include "collector/service.h"
#include "protocol/zmtp.h"

/* A process that ended is started again after the first, which doubles up to the second; one that
 * lived longer than that begins anew. */
#define RESTART_NS_MIN INT64_C(1000000000)
#define RESTART_NS_MAX INT64_C(60000000000)
/* Its end is waited for so long, then it is killed. */
#define STOP_MS 2000

struct ns_notifier {
    char *database_url;
    pid_t pid; /* 0: none */
    int fd;    /* its socket; -1: none */
    int64_t started_at_ns, restart_at_ns, pause_ns;
    struct ns_notifier_figures figures;
    uint64_t sent_before, failed_before; /* by processes that ended */
};

/* Not fork: this process may be large, and the gate stands still while its pages are shared out. */
static int
spawn(const int fd, pid_t *pid)
{
    static char name[] = "nullspendd", argument[] = NS_NOTIFIER_ARGUMENT;
    char *const arguments[] = {name, argument, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int error = posix_spawn_file_actions_adddup2(&actions, fd, STDIN_FILENO);
    error = error != 0 ? error : posix_spawn_file_actions_addclosefrom_np(&actions, 3);
    error = error != 0 ? error : posix_spawnattr_setsigmask(&attributes, &none);
    error = error != 0 ? error : posix_spawnattr_setsigdefault(&attributes, &all);
    error = error != 0 ? error
                       : posix_spawnattr_setflags(&attributes,
                                                  POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    error = error != 0
                ? error
                : posix_spawn(pid, "/proc/self/exe", &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return -error;
}

static int
start(struct ns_notifier *notifier)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return -errno;
    }
    /* The URL may have a password: it goes where no list of processes shows it. */
    ssize_t sent = send(pair[0], notifier->database_url, strlen(notifier->database_url),
                        MSG_DONTWAIT | MSG_NOSIGNAL);
    int error = sent < 0 ? -errno : spawn(pair[1], &notifier->pid);
    close(pair[1]);
    if (error != 0) {
        notifier->pid = 0;
        close(pair[0]);
        return error;
    }
    notifier->fd = pair[0];
    return 0;
}

static void
try_start(struct ns_notifier *notifier, int64_t now_ns)
{
    int error = start(notifier);
    notifier->started_at_ns = now_ns;
    if (error != 0) {
        ns_log("events are not told to anybody: the notifier does not start: %s", strerror(-error));
        notifier->restart_at_ns = now_ns + RESTART_NS_MAX;
    }
}

struct ns_notifier *
ns_notifier_start(const char *database_url)
{
    struct ns_notifier *notifier = calloc(1, sizeof *notifier);
    char *url = strdup(database_url);
    if (notifier == NULL || url == NULL) {
        free(notifier);
        free(url);
        return NULL;
    }
    notifier->database_url = url;
    notifier->fd = -1;
    notifier->pause_ns = RESTART_NS_MIN;
    try_start(notifier, ns_monotonic_ns());
    return notifier;
}

static void
take_figures(struct ns_notifier *notifier)
{
    struct ns_notifier_figures figures;
    while (notifier->fd >= 0 &&
           recv(notifier->fd, &figures, sizeof figures, MSG_DONTWAIT) == (ssize_t)sizeof figures) {
        figures.last_error[sizeof figures.last_error - 1] = '\0';
        notifier->figures = figures;
    }
}

/* The process is gone; when another is started. */
static void
take_end(struct ns_notifier *notifier, int status, int64_t now_ns)
{
    take_figures(notifier);
    close(notifier->fd);
    notifier->fd = -1;
    notifier->pid = 0;
    notifier->sent_before += notifier->figures.sent;
    notifier->failed_before += notifier->figures.failed;
    notifier->figures.sent = notifier->figures.failed = 0;
    if (now_ns - notifier->started_at_ns > RESTART_NS_MAX) {
        notifier->pause_ns = RESTART_NS_MIN;
    }
    ns_log("the notifier ended (%s %d) and is started again in %d s",
           WIFSIGNALED(status) ? "signal" : "status",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
           (int)(notifier->pause_ns / RESTART_NS_MIN));
    notifier->restart_at_ns = now_ns + notifier->pause_ns;
    if (notifier->pause_ns < RESTART_NS_MAX / 2) {
        notifier->pause_ns *= 2;
    } else {
        notifier->pause_ns = RESTART_NS_MAX;
    }
}

void
ns_notifier_tick(struct ns_notifier *notifier, int64_t now_ns)
{
    int status;
    take_figures(notifier);
    if (notifier->pid > 0 && waitpid(notifier->pid, &status, WNOHANG) == notifier->pid) {
        take_end(notifier, status, now_ns);
    }
    if (notifier->pid == 0 && now_ns >= notifier->restart_at_ns) {
        try_start(notifier, now_ns);
    }
}

struct ns_notifier_figures
ns_notifier_figures(const struct ns_notifier *notifier)
{
    struct ns_notifier_figures figures = {0};
    if (notifier != NULL) {
        figures = notifier->figures;
        figures.sent += notifier->sent_before;
        figures.failed += notifier->failed_before;
    }
    return figures;
}

void
ns_notifier_stop(struct ns_notifier *notifier)
{
    if (notifier == NULL) {
        return;
    }
    if (notifier->pid > 0) {
        int pidfd = (int)syscall(SYS_pidfd_open, notifier->pid, 0);
        close(notifier->fd); /* tells it */
        struct pollfd ended = {pidfd, POLLIN, 0};
        if (pidfd < 0 || poll(&ended, 1, STOP_MS) <= 0) {
            kill(notifier->pid, SIGKILL);
        }
        while (waitpid(notifier->pid, NULL, 0) < 0 && errno == EINTR) {
        }
        if (pidfd >= 0) {
            close(pidfd);
        }
    }
    free(notifier->database_url);
    free(notifier);
}
