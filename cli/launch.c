/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/collector.h"

#define PING_TIMEOUT_MS 2000
#define SAID_BYTES_MAX 4096

static bool
answers(const char *endpoint)
{
    char *json;
    int error = ns_collector_ask(endpoint, "ping", NULL, PING_TIMEOUT_MS, &json);
    free(json);
    return error == 0 || error == -EREMOTEIO;
}

/* In the child: becomes the daemon. It goes into the background itself once it is ready. */
static _Noreturn void
become_daemon(const char *endpoint, const char *state, int said)
{
    char program[NS_PLACE_BYTES];
    bool beside = ns_discover_beside("nullspendd", program) == 0;
    /* The daemon is not governed, and takes its place from us alone. */
    unsetenv("LD_PRELOAD");
    unsetenv("NULLSPEND_LISTEN");
    unsetenv("NULLSPEND_FOREGROUND");
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(said, 2) < 0) {
        _exit(126);
    }
    const char *name = beside ? program : "nullspendd";
    execlp(name, "nullspendd", "--state-dir", state, "--listen", endpoint, (char *)NULL);
    fprintf(stderr, "%s: %s\n", name, strerror(errno));
    _exit(127);
}

/* Hands on what the daemon said before it failed. */
static void
pass_on(int said)
{
    char text[SAID_BYTES_MAX];
    off_t end = lseek(said, 0, SEEK_END);
    off_t from = end > (off_t)sizeof text ? end - (off_t)sizeof text : 0;
    ssize_t count = pread(said, text, sizeof text, from);
    if (count > 0) {
        fwrite(text, 1, (size_t)count, stderr);
    }
}

/* Runs the daemon until it is ready or gone. */
static int
run_daemon(const char *endpoint, const char *state)
{
    int status = 0;
    int said = memfd_create("nullspendd", MFD_CLOEXEC);
    if (said < 0) {
        return -errno;
    }
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) {
        close(said);
        return -errno;
    }
    if (child == 0) {
        become_daemon(endpoint, state, said);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    bool ready = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!ready) {
        pass_on(said);
        ns_complain(NS_EXIT_NO_COLLECTOR, "the collector did not start (see above and %s/log)",
                    state);
    }
    close(said);
    return ready ? 0 : -ESRCH;
}

/* Holds the lock that lets one start at a time. Returns its descriptor or a negative errno. */
static int
lock(const char *state)
{
    char path[NS_PLACE_BYTES + 16];
    snprintf(path, sizeof path, "%s/start.lock", state);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -errno;
    }
    while (flock(fd, LOCK_EX) != 0) {
        if (errno != EINTR) {
            int error = -errno;
            close(fd);
            return error;
        }
    }
    return fd;
}

int
ns_launch(const char *endpoint, char state[static NS_PLACE_BYTES], bool *started)
{
    *started = false;
    int error = ns_discover_state(state);
    if (error != 0) {
        ns_complain(0, "no place for the collector's state: set HOME or NULLSPEND_STATE_DIR");
        return error;
    }
    error = ns_discover_make_state(state);
    int fd = error == 0 ? lock(state) : error;
    if (fd < 0) {
        ns_complain(0, "%s: %s", state, strerror(-fd));
        return fd;
    }
    error = ns_discover_make_socket_directory(endpoint);
    if (error != 0) {
        ns_complain(0, "the directory of %s: %s", endpoint,
                    error == -EPERM ? "it is not yours alone" : strerror(-error));
    } else if (!answers(endpoint)) {
        error = run_daemon(endpoint, state);
        *started = error == 0;
    }
    close(fd);
    return error;
}
