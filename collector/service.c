/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/service.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_BYTES 4200

void
ns_log(const char *format, ...)
{
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fprintf(stderr, "nullspendd: %s\n", line);
}

int
ns_make_directory(const char *path, mode_t mode)
{
    char part[PATH_BYTES];
    size_t count = strlen(path);
    if (count == 0 || count >= sizeof part) {
        return -ENAMETOOLONG;
    }
    for (size_t i = 1; i <= count; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        snprintf(part, sizeof part, "%.*s", (int)i, path);
        if (mkdir(part, path[i] == '\0' ? mode : 0755) != 0 && errno != EEXIST) {
            return -errno;
        }
    }
    struct stat status;
    if (stat(path, &status) != 0) {
        return -errno;
    }
    return S_ISDIR(status.st_mode) ? 0 : -ENOTDIR;
}

int
ns_lock_take(const char *directory, char error[static NS_SERVICE_ERROR_BYTES])
{
    char path[PATH_BYTES];
    char pid[32] = "";
    snprintf(path, sizeof path, "%s/lock", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        int reason = errno;
        snprintf(error, NS_SERVICE_ERROR_BYTES, "%.300s: %s", path, strerror(reason));
        return -reason;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int reason = errno;
        ssize_t count = read(fd, pid, sizeof pid - 1);
        pid[count > 0 ? strcspn(pid, "\n") : 0] = '\0';
        close(fd);
        if (reason != EWOULDBLOCK) {
            snprintf(error, NS_SERVICE_ERROR_BYTES, "%.300s: %s", path, strerror(reason));
            return -reason;
        }
        snprintf(error, NS_SERVICE_ERROR_BYTES,
                 "another nullspendd (pid %s) uses %.300s; stop it or give --state-dir another",
                 pid[0] != '\0' ? pid : "not known", directory);
        return -EBUSY;
    }
    int count = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)count, 0) != count) {
        int reason = errno;
        close(fd);
        snprintf(error, NS_SERVICE_ERROR_BYTES, "%.300s: %s", path, strerror(reason));
        return -reason;
    }
    return fd;
}

int
ns_write_file(const char *path, const void *bytes, size_t count, mode_t mode)
{
    char temporary[PATH_BYTES];
    snprintf(temporary, sizeof temporary, "%s.new", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        return -errno;
    }
    int error = 0;
    if (fchmod(fd, mode) != 0 || write(fd, bytes, count) != (ssize_t)count || fsync(fd) != 0) {
        error = errno != 0 ? -errno : -EIO;
    }
    close(fd);
    if (error == 0 && rename(temporary, path) != 0) {
        error = -errno;
    }
    if (error != 0) {
        unlink(temporary);
    }
    return error;
}

int
ns_secret_file(const char *directory, const char *name, uint8_t *bytes, size_t count)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t got = read(fd, bytes, count);
        close(fd);
        return got == (ssize_t)count ? 0 : -EBADMSG;
    }
    if (errno != ENOENT) {
        return -errno;
    }
    if (getrandom(bytes, count, 0) != (ssize_t)count) {
        return -EIO;
    }
    return ns_write_file(path, bytes, count, 0600);
}

void
ns_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t bytes = path != NULL ? strlen(path) : 0;
    if (bytes == 0 || bytes >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@')) {
        return;
    }
    memcpy(address.sun_path, path, bytes);
    if (path[0] == '@') {
        address.sun_path[0] = '\0';
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0) {
        ns_log("systemd was not told %s: %s", state, strerror(errno));
    }
    close(fd);
}

/* --- background ------------------------------------------------------------------------------- */

static int ready_fd = -1; /* the parent waits at the other end */
static int log_fd = -1;

static void
wait_for_child(pid_t child, int fd)
{
    char byte;
    ssize_t count;
    do {
        count = read(fd, &byte, 1);
    } while (count < 0 && errno == EINTR);
    if (count == 1) {
        _exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    _exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 1);
}

int
ns_background(const char *log)
{
    int pair[2];
    log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (log_fd < 0 || pipe2(pair, O_CLOEXEC) != 0) {
        return -errno;
    }
    pid_t child = fork();
    if (child < 0) {
        return -errno;
    }
    if (child > 0) {
        close(pair[1]);
        wait_for_child(child, pair[0]);
    }
    close(pair[0]);
    ready_fd = pair[1];
    setsid();
    return 0;
}

void
ns_background_ready(void)
{
    if (ready_fd < 0) {
        return;
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
        close(null);
    }
    dup2(log_fd, 2);
    close(log_fd);
    if (write(ready_fd, "r", 1) != 1) {
        ns_log("the command that started this daemon is gone");
    }
    close(ready_fd);
    ready_fd = -1;
}
