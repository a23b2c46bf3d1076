/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/stops.h"

#include <bpf/bpf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "bpf/record.h"

struct held {
    struct held *next;
    uint32_t pid;
    uint32_t seen; /* of the writes that it was stopped at */
};

struct ns_stops {
    int fd;
    struct held *held;
};

struct ns_stops *
ns_stops_new(int stopped_fd)
{
    struct ns_stops *stops = ns_mem_alloc(sizeof *stops);
    if (stops != NULL) {
        stops->fd = stopped_fd;
    }
    return stops;
}

/* --- letting go ---------------------------------------------------------------------------------
 */

static void
send(int process, int signal)
{
    (void)syscall(SYS_pidfd_send_signal, process, signal, NULL, 0);
}

/* Another thread of it was stopped between our look and our SIGCONT, which took that stop away:
 * once more, within microseconds. Returns whether there was one. */
static bool
stop_again(int fd, uint32_t pid, int process, const struct ns_stop *ended, uint32_t *seen)
{
    struct ns_stop newer;
    if (ended->count > *seen) {
        (void)bpf_map_update_elem(fd, &pid, ended, BPF_NOEXIST);
    } else if (bpf_map_lookup_elem(fd, &pid, &newer) == 0) {
        *seen = 0;
    } else {
        return false;
    }
    send(process, SIGSTOP);
    return true;
}

bool
ns_stop_end(int stopped_fd, uint32_t pid, uint32_t *seen)
{
    /* A process that ends takes its entry with it: one that is there after this is of this process.
     */
    int process = (int)syscall(SYS_pidfd_open, pid, 0);
    struct ns_stop stop;
    bool ended = bpf_map_lookup_elem(stopped_fd, &pid, &stop) != 0 || stop.count <= *seen;
    bool removed = ended && bpf_map_lookup_and_delete_elem(stopped_fd, &pid, &stop) == 0;
    /* Whom somebody else has stopped, too, stays stopped: from here on it is his stop. */
    if (removed && stop.by_others != SIGSTOP) {
        send(process, SIGCONT);
        ended = *seen == NS_STOP_ALL || !stop_again(stopped_fd, pid, process, &stop, seen);
        if (ended && stop.by_others != 0) { /* a signal that the program may handle */
            send(process, (int)stop.by_others);
        }
    }
    if (process >= 0) {
        close(process);
    }
    return ended;
}

void
ns_stop_end_all(int stopped_fd, int64_t longest_ns)
{
    uint32_t pid, next;
    bool more = bpf_map_get_next_key(stopped_fd, NULL, &pid) == 0;
    while (more) {
        struct ns_stop stop;
        uint32_t seen = NS_STOP_ALL;
        more = bpf_map_get_next_key(stopped_fd, &pid, &next) == 0;
        if (bpf_map_lookup_elem(stopped_fd, &pid, &stop) == 0 &&
            ns_clock_ns(CLOCK_MONOTONIC) - (int64_t)stop.since_ns >= longest_ns) {
            (void)ns_stop_end(stopped_fd, pid, &seen);
        }
        pid = next;
    }
}

void
ns_stops_note(struct ns_stops *stops, uint32_t pid)
{
    struct held *held = stops->held;
    while (held != NULL && held->pid != pid) {
        held = held->next;
    }
    if (held == NULL) {
        held = ns_mem_alloc(sizeof *held);
        if (held == NULL) {
            uint32_t all = NS_STOP_ALL;
            (void)ns_stop_end(stops->fd, pid, &all);
            return;
        }
        *held = (struct held){.next = stops->held, .pid = pid};
        stops->held = held;
    }
    held->seen++;
}

void
ns_stops_let_go(struct ns_stops *stops, ns_stops_wait *waits, const void *context)
{
    for (struct held **link = &stops->held; *link != NULL;) {
        struct held *held = *link;
        if (waits(context, held->pid) || !ns_stop_end(stops->fd, held->pid, &held->seen)) {
            link = &held->next;
            continue;
        }
        *link = held->next;
        ns_mem_free(held);
    }
}

void
ns_stops_free(struct ns_stops *stops)
{
    if (stops != NULL) {
        ns_stop_end_all(stops->fd, 0);
    }
    while (stops != NULL && stops->held != NULL) {
        struct held *held = stops->held;
        stops->held = held->next;
        ns_mem_free(held);
    }
    ns_mem_free(stops);
}

/* --- writing into it ----------------------------------------------------------------------------
 */

static bool
is_traced(uint32_t pid)
{
    char path[64], line[256];
    unsigned long tracer = 0;
    snprintf(path, sizeof path, "/proc/%u/status", pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "TracerPid:", 10) == 0) {
            tracer = strtoul(line + 10, NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return tracer != 0;
}

bool
ns_stops_holds(const struct ns_stops *stops, uint32_t pid)
{
    struct ns_stop stop;
    return bpf_map_lookup_elem(stops->fd, &pid, &stop) == 0 && !stop.let_go && !is_traced(pid);
}
