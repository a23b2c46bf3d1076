/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/cluster_process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How long a server that was left over may take for its fast shutdown. */
#define NS_CLUSTER_LEFTOVER_S 60

/* --- starting ------------------------------------------------------------------------------- */

/* In the child of a fork: raw system calls, since glibc's would stop to tell other threads. */
static int
become(const struct ns_cluster_user *user)
{
    if (!user->change) {
        return 0;
    }
    if (syscall(SYS_setgroups, (size_t)user->group_count, user->groups) < 0 ||
        syscall(SYS_setresgid, user->gid, user->gid, user->gid) < 0 ||
        syscall(SYS_setresuid, user->uid, user->uid, user->uid) < 0) {
        return -errno;
    }
    return 0;
}

/* In the child of a fork of a threaded program: only what is safe there. */
__attribute__((noreturn)) static void
run_child(const char *const *arguments, char *const *environment,
          const struct ns_cluster_user *user, int output, int death_signal, pid_t parent)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int s = 1; s < NSIG; s++) {
        sigaction(s, &action, NULL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) {
        _exit(127);
    }
    close_range(3, ~0U, 0);
    umask(0077);
    if (become(user) < 0 || chdir("/") < 0) {
        _exit(126);
    }
    if (death_signal != 0) {
        /* After the change of user, which clears it; then the parent may be gone already. */
        prctl(PR_SET_PDEATHSIG, (unsigned long)death_signal);
        if (getppid() != parent) {
            _exit(125);
        }
    }
    execve(arguments[0], (char *const *)(size_t)arguments, environment);
    _exit(127);
}

pid_t
ns_cluster_spawn(const char *const *arguments, const struct ns_cluster_user *user, const char *log,
                 int death_signal)
{
    /* Nothing of the collector's environment (PGDATA, PGHOST, LD_PRELOAD, …) is for the server. */
    char path[] = "PATH=/usr/local/bin:/usr/bin:/bin", language[] = "LC_ALL=C";
    char *const environment[] = {path, language, NULL};
    /* Opened by us and not as the server's user: a link that it put there is not followed. */
    int output = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (output < 0) {
        return -errno;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        run_child(arguments, environment, user, output, death_signal, parent);
    }
    int result = pid < 0 ? -errno : pid;
    close(output);
    return result;
}

bool
ns_cluster_can_enter(const struct ns_cluster_user *user, const char *directory)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(become(user) < 0 || chdir(directory) < 0 ? 1 : 0);
    }
    if (pid < 0) {
        return false;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void
ns_cluster_last_line(const char *path, char *line, size_t line_bytes)
{
    char tail[1025];
    line[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    off_t size = lseek(fd, 0, SEEK_END);
    off_t from = size > (off_t)sizeof tail - 1 ? size - (off_t)sizeof tail + 1 : 0;
    ssize_t n = pread(fd, tail, sizeof tail - 1, from);
    close(fd);
    while (n > 0 && isspace((unsigned char)tail[n - 1])) {
        n--;
    }
    if (n > 0) {
        tail[n] = '\0';
        const char *start = strrchr(tail, '\n');
        snprintf(line, line_bytes, "%s", start == NULL ? tail : start + 1);
    }
}

/* --- what an earlier collector left ----------------------------------------------------------- */

/* The pid in postmaster.pid, or 0. */
static pid_t
postmaster_pid(const struct ns_cluster_paths *paths)
{
    char file[PATH_MAX + 16], text[32];
    snprintf(file, sizeof file, "%s/postmaster.pid", paths->data);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    long pid = strtol(text, NULL, 10);
    return pid > 1 && pid <= INT_MAX ? (pid_t)pid : 0;
}

/* True for a process of a server of this cluster: they all stand in its data directory. */
static bool
is_server(pid_t pid, const char *data)
{
    char path[64], text[PATH_MAX];
    snprintf(path, sizeof path, "/proc/%d/cwd", (int)pid);
    ssize_t n = readlink(path, text, sizeof text - 1);
    if (n < 0) {
        return false;
    }
    text[n] = '\0';
    if (strcmp(text, data) != 0) {
        return false;
    }
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    n = read(fd, text, sizeof text - 1);
    close(fd);
    return n >= 8 && strncmp(text, "postgres", 8) == 0;
}

/* Any process of the cluster's servers, the postmaster first; 0: none. */
static pid_t
find_server(const struct ns_cluster_paths *paths)
{
    pid_t found = postmaster_pid(paths);
    if (found != 0 && is_server(found, paths->data)) {
        return found;
    }
    found = 0;
    DIR *processes = opendir("/proc");
    if (processes == NULL) {
        return 0;
    }
    struct dirent *entry;
    while (found == 0 && (entry = readdir(processes)) != NULL) {
        long pid = strtol(entry->d_name, NULL, 10);
        if (pid > 1 && pid <= INT_MAX && is_server((pid_t)pid, paths->data)) {
            found = (pid_t)pid;
        }
    }
    closedir(processes);
    return found;
}

/* A pid file whose number another program has by now would keep Postgres from starting. */
static void
remove_stale_files(const struct ns_cluster_paths *paths)
{
    char file[PATH_MAX + 32];
    pid_t pid = postmaster_pid(paths);
    if (pid != 0 && kill(pid, 0) == 0) {
        snprintf(file, sizeof file, "%s/postmaster.pid", paths->data);
        unlink(file);
        snprintf(file, sizeof file, "%s/.s.PGSQL.5432.lock", paths->sockets);
        unlink(file);
    }
}

int
ns_cluster_end_leftovers(const struct ns_cluster_paths *paths,
                         char error[static NS_CLUSTER_ERROR_BYTES])
{
    struct timespec now, end;
    pid_t told = 0;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += NS_CLUSTER_LEFTOVER_S;
    for (pid_t pid; (pid = find_server(paths)) != 0;) {
        int fd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (fd < 0) {
            continue; /* gone meanwhile */
        }
        /* Postmaster: fast shutdown. A backend without one ends by itself, or by this. */
        if (pid != told && is_server(pid, paths->data)) {
            syscall(SYS_pidfd_send_signal, fd, pid == postmaster_pid(paths) ? SIGINT : SIGTERM,
                    NULL, 0);
            told = pid;
        }
        struct pollfd gone = {fd, POLLIN, 0};
        poll(&gone, 1, 1000);
        close(fd);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec >= end.tv_sec) {
            snprintf(error, NS_CLUSTER_ERROR_BYTES,
                     "a Postgres left over from before (process %d) does not end; kill it, then "
                     "start again",
                     (int)pid);
            return -EBUSY;
        }
    }
    remove_stale_files(paths);
    return 0;
}
