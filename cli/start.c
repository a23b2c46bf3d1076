/* SPDX-License-Identifier: Apache-2.0 */
/* `start` and `stop`: this user's private collector. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/collector.h"
#include "cli/json.h"
#include "cli/launch.h"

#define STATUS_TIMEOUT_MS 5000
#define STOP_TIMEOUT_MS 120000

/* Reads a command without options, and the endpoint. Returns -1 or an exit code. */
static int
prepare(const struct ns_command *command, int argc, char **argv,
        char endpoint[static NS_PLACE_BYTES])
{
    const char *none[1];
    int code = ns_arguments_read(command, argc, argv, NULL, 0, none, 0);
    if (code < 0 && ns_discover_endpoint(endpoint) != 0) {
        return ns_complain(NS_EXIT_FAILED, NS_ENDPOINT_TOO_LONG);
    }
    return code;
}

int
ns_start_main(const struct ns_command *command, int argc, char **argv)
{
    char endpoint[NS_PLACE_BYTES], state[NS_PLACE_BYTES];
    bool started;
    int code = prepare(command, argc, argv, endpoint);
    if (code >= 0) {
        return code;
    }
    if (ns_launch(endpoint, state, &started) != 0) {
        return NS_EXIT_FAILED;
    }
    printf(started ? "started at %s, state in %s\n" : "already running at %s\n", endpoint, state);
    return NS_EXIT_DONE;
}

/* Does the process run nullspendd? A collector elsewhere (another machine, another pid namespace)
 * says a number that is some other program's here. */
static bool
is_collector(pid_t pid)
{
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/%ld/comm", (long)pid);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        name[fread(name, 1, sizeof name - 1, file)] = '\0';
        fclose(file);
    }
    return strcmp(name, "nullspendd\n") == 0;
}

/* Ends a process with SIGTERM and waits for its end. Returns 0 or a negative errno; -EREMOTE where
 * it is no collector. */
static int
end_process(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) {
        return -errno;
    }
    if (!is_collector(pid)) {
        close(fd);
        return -EREMOTE;
    }
    int error = syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0) == 0 ? 0 : -errno;
    if (error == 0) {
        struct pollfd ended = {.fd = fd, .events = POLLIN};
        int count = poll(&ended, 1, STOP_TIMEOUT_MS);
        error = count > 0 ? 0 : count == 0 ? -ETIMEDOUT : -errno;
    }
    close(fd);
    return error;
}

int
ns_stop_main(const struct ns_command *command, int argc, char **argv)
{
    char endpoint[NS_PLACE_BYTES], text[32];
    char *json = NULL;
    int code = prepare(command, argc, argv, endpoint);
    if (code >= 0) {
        return code;
    }
    int error = ns_discover_check_socket_directory(endpoint);
    if (error == 0) {
        error = ns_collector_ask(endpoint, "status", NULL, STATUS_TIMEOUT_MS, &json);
    }
    bool known = error == 0 && ns_json_get(json, "pid", text, sizeof text);
    free(json);
    if (error == -EREMOTEIO) {
        return ns_complain(NS_EXIT_FAILED, "the collector at %s belongs to another user", endpoint);
    }
    if (error != 0) {
        return ns_complain(NS_EXIT_NO_COLLECTOR, "no collector answers at %s (%s)", endpoint,
                           strerror(-error));
    }
    long pid = known ? strtol(text, NULL, 10) : 0;
    error = pid > 1 ? end_process((pid_t)pid) : -EREMOTE;
    if (error == -EREMOTE) {
        return ns_complain(NS_EXIT_FAILED,
                           "the collector at %s does not run here: stop it where it "
                           "runs",
                           endpoint);
    }
    if (error != 0 && error != -ESRCH) {
        return ns_complain(NS_EXIT_FAILED, "the collector (process %ld): %s", pid,
                           strerror(-error));
    }
    puts("stopped");
    return NS_EXIT_DONE;
}
