/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/discover.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char ns_machine_endpoint[] = "ipc:///run/nullspend/collector.sock";

/* The variable's value, NULL where it is not set or empty. */
static const char *
variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static int
fits(int count)
{
    return count >= 0 && count < NS_PLACE_BYTES ? 0 : -ENAMETOOLONG;
}

int
ns_discover_endpoint(char endpoint[static NS_PLACE_BYTES])
{
    const char *given = variable("NULLSPEND_COLLECTOR");
    if (given != NULL) {
        return fits(snprintf(endpoint, NS_PLACE_BYTES, "%s", given));
    }
    const char *listen = variable("NULLSPEND_LISTEN");
    if (listen != NULL) {
        /* Where a collector of this environment listens first. */
        return fits(snprintf(endpoint, NS_PLACE_BYTES, "%.*s", (int)strcspn(listen, ","), listen));
    }
    const char *runtime = variable("XDG_RUNTIME_DIR");
    int count;
    if (geteuid() == 0) {
        count = snprintf(endpoint, NS_PLACE_BYTES, "%s", ns_machine_endpoint);
    } else if (runtime != NULL) {
        count = snprintf(endpoint, NS_PLACE_BYTES, "ipc://%s/nullspend/collector.sock", runtime);
    } else {
        count = snprintf(endpoint, NS_PLACE_BYTES, "ipc:///tmp/nullspend-%u/collector.sock",
                         (unsigned)geteuid());
    }
    if (fits(count) != 0 || count - (int)strlen("ipc://") > NS_SOCKET_PATH_BYTES_MAX) {
        return -ENAMETOOLONG;
    }
    return 0;
}

int
ns_discover_state(char directory[static NS_PLACE_BYTES])
{
    const char *given = variable("NULLSPEND_STATE_DIR");
    const char *state = variable("XDG_STATE_HOME");
    const char *home = variable("HOME");
    if (given != NULL) {
        return fits(snprintf(directory, NS_PLACE_BYTES, "%s", given));
    }
    if (geteuid() == 0) {
        return fits(snprintf(directory, NS_PLACE_BYTES, "/var/lib/nullspend"));
    }
    if (state != NULL) {
        return fits(snprintf(directory, NS_PLACE_BYTES, "%s/nullspend", state));
    }
    if (home == NULL) {
        return -ENOENT;
    }
    return fits(snprintf(directory, NS_PLACE_BYTES, "%s/.local/state/nullspend", home));
}

static int
make_directory(const char *path, mode_t mode)
{
    char part[NS_PLACE_BYTES];
    int error = fits(snprintf(part, sizeof part, "%s", path));
    if (error != 0) {
        return error;
    }
    for (char *at = part + 1; *at != '\0'; at++) {
        if (*at == '/') {
            *at = '\0';
            /* Root's are entered by the database's own user. */
            if (mkdir(part, geteuid() == 0 ? 0755 : 0700) != 0 && errno != EEXIST) {
                return -errno;
            }
            *at = '/';
        }
    }
    return mkdir(part, mode) == 0 || errno == EEXIST ? 0 : -errno;
}

int
ns_discover_make_state(const char *path)
{
    return make_directory(path, 0700);
}

/* The directory of an ipc:// endpoint's socket; "" where it has none. */
static int
socket_directory(const char *endpoint, char path[static NS_PLACE_BYTES])
{
    path[0] = '\0';
    if (strncmp(endpoint, "ipc://", 6) != 0 || endpoint[6] == '@') {
        return 0;
    }
    int error = fits(snprintf(path, NS_PLACE_BYTES, "%s", endpoint + 6));
    char *slash = strrchr(path, '/');
    if (error == 0 && slash != NULL) {
        *slash = '\0';
    } else {
        path[0] = '\0';
    }
    return error;
}

int
ns_discover_check_socket_directory(const char *endpoint)
{
    char path[NS_PLACE_BYTES];
    struct stat status;
    int error = socket_directory(endpoint, path);
    /* In /tmp anybody could have made it, to answer in our collector's place. */
    if (error != 0 || strncmp(path, "/tmp/nullspend-", 15) != 0 || lstat(path, &status) != 0) {
        return error;
    }
    bool ours = S_ISDIR(status.st_mode) && (status.st_uid == geteuid() || status.st_uid == 0);
    return ours && (status.st_mode & 022) == 0 ? 0 : -EPERM;
}

int
ns_discover_make_socket_directory(const char *endpoint)
{
    char path[NS_PLACE_BYTES];
    int error = socket_directory(endpoint, path);
    if (error == 0 && path[0] != '\0') {
        /* Programs of every user reach root's collector. */
        error = make_directory(path, geteuid() == 0 ? 0755 : 0700);
    }
    return error != 0 ? error : ns_discover_check_socket_directory(endpoint);
}

int
ns_discover_beside(const char *name, char path[static NS_PLACE_BYTES])
{
    static const char *const places[] = {"", "../lib/"};
    char self[NS_PLACE_BYTES];
    ssize_t bytes = readlink("/proc/self/exe", self, sizeof self - 1);
    if (bytes <= 0) {
        return -ENOENT;
    }
    self[bytes] = '\0';
    char *slash = strrchr(self, '/');
    if (slash == NULL) {
        return -ENOENT;
    }
    slash[1] = '\0';
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char candidate[3 * NS_PLACE_BYTES];
        snprintf(candidate, sizeof candidate, "%s%s%s", self, places[i], name);
        char *real = realpath(candidate, NULL);
        int error = real == NULL ? -ENOENT : fits(snprintf(path, NS_PLACE_BYTES, "%s", real));
        free(real);
        if (error == 0) {
            return 0;
        }
    }
    return -ENOENT;
}
