/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "shim/descriptor.h"
#include "shim/process.h"

static const char *log_path;

void
ns_log_open(const char *path)
{
    __atomic_store_n(&log_path, path, __ATOMIC_RELEASE);
}

void
ns_line_text(struct ns_line *line, const char *text)
{
    size_t bytes = strlen(text);
    size_t room = NS_LINE_BYTES_MAX - 1 - line->bytes; /* one for the line's end */
    if (bytes > room) {
        bytes = room;
    }
    for (size_t i = 0; i < bytes; i++) {
        char c = text[i];
        line->text[line->bytes++] = (unsigned char)c < ' ' || c == 0x7f ? '?' : c;
    }
}

void
ns_line_number(struct ns_line *line, uint64_t number)
{
    char digits[21] = {0};
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    ns_line_text(line, digits + at);
}

void
ns_line_begin(struct ns_line *line, const char *what)
{
    int saved = errno;
    line->bytes = 0;
    ns_line_number(line, (uint64_t)ns_clock_ns(CLOCK_REALTIME) / 1000000000);
    ns_line_text(line, " pid=");
    ns_line_number(line, (uint64_t)getpid());
    ns_line_text(line, " ");
    ns_line_text(line, what);
    errno = saved;
}

void
ns_line_end(struct ns_line *line)
{
    const char *path = __atomic_load_n(&log_path, __ATOMIC_ACQUIRE);
    if (path == NULL) {
        return;
    }
    int saved = errno;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    if (fd >= 0) {
        struct stat status;
        line->text[line->bytes++] = '\n';
        if (ns_descriptor_status(fd, &status) == 0 &&
            ns_process_may_write((uint64_t)status.st_size + line->bytes) &&
            write(fd, line->text, line->bytes) < 0) {
            /* A log that cannot be written has nowhere to complain. */
        }
        close(fd);
    }
    errno = saved;
}

void
ns_log(const char *what, const char *detail)
{
    if (__atomic_load_n(&log_path, __ATOMIC_ACQUIRE) == NULL) {
        return;
    }
    struct ns_line line;
    ns_line_begin(&line, what);
    if (detail != NULL) {
        ns_line_text(&line, ": ");
        ns_line_text(&line, detail);
    }
    ns_line_end(&line);
}
