/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/capture.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <capture.skel.h>

/* Functions by their names; those of a file that has none of a name are left out. */
#define POINTS_MAX 16

struct point {
    const char *symbol;
    struct bpf_program *program;
    bool at_return;
};

struct ns_capture {
    struct capture_bpf *skeleton;
    struct ring_buffer *ring;
    struct bpf_link *exit;
    struct bpf_link **links;
    size_t link_count, link_capacity;
    struct point points[POINTS_MAX];
    size_t point_count;
    ns_capture_handler *handler;
    void *context;
};

static int
take(void *context, void *data, size_t bytes)
{
    struct ns_capture *capture = context;
    const struct ns_record *record = data;
    if (bytes >= sizeof *record && record->bytes <= bytes - sizeof *record) {
        capture->handler(capture->context, record, (const uint8_t *)data + sizeof *record);
    }
    return 0;
}

static void
list_points(struct ns_capture *capture)
{
    struct capture_bpf *skeleton = capture->skeleton;
    const struct point points[] = {
        {"SSL_ctrl", skeleton->progs.on_ctrl, false},
        {"SSL_write", skeleton->progs.on_write, false},
        {"SSL_write", skeleton->progs.on_written, true},
        {"SSL_write_ex", skeleton->progs.on_write_ex, false},
        {"SSL_write_ex", skeleton->progs.on_written, true},
        {"SSL_read", skeleton->progs.on_read, false},
        {"SSL_read", skeleton->progs.on_have_read, true},
        {"SSL_read_ex", skeleton->progs.on_read_ex, false},
        {"SSL_read_ex", skeleton->progs.on_have_read, true},
        {"SSL_free", skeleton->progs.on_free, false},
    };
    _Static_assert(sizeof points / sizeof points[0] <= POINTS_MAX, "there is room for them");
    memcpy(capture->points, points, sizeof points);
    capture->point_count = sizeof points / sizeof points[0];
}

/* What fails is told by who asked for it. */
static int
say_nothing(enum libbpf_print_level level, const char *format, va_list arguments)
{
    (void)level, (void)format, (void)arguments;
    return 0;
}

struct ns_capture *
ns_capture_load(bool stops, uint32_t only_network, ns_capture_handler *handler, void *context)
{
    struct ns_capture *capture = calloc(1, sizeof *capture);
    if (capture == NULL) {
        return NULL;
    }
    capture->handler = handler;
    capture->context = context;
    libbpf_set_print(say_nothing);
    capture->skeleton = capture_bpf__open();
    if (capture->skeleton != NULL) {
        capture->skeleton->bss->stops = stops;
        capture->skeleton->bss->only_network = only_network;
    }
    if (capture->skeleton == NULL || capture_bpf__load(capture->skeleton) != 0) {
        fprintf(stderr,
                "nullspend-bpf: the kernel does not take the programs (%s);"
                " 'nullspend-bpf --probe' tells what is missing\n",
                strerror(errno));
        ns_capture_free(capture);
        return NULL;
    }
    list_points(capture);
    capture->exit = bpf_program__attach(capture->skeleton->progs.on_exit);
    capture->ring =
        ring_buffer__new(bpf_map__fd(capture->skeleton->maps.records), take, capture, NULL);
    if (capture->exit == NULL || capture->ring == NULL) {
        fprintf(stderr, "nullspend-bpf: cannot attach to the end of processes: %s\n",
                strerror(errno));
        ns_capture_free(capture);
        return NULL;
    }
    ns_capture_leave_alone(capture, (uint32_t)getpid());
    return capture;
}

static void
detach(struct ns_capture *capture, size_t from)
{
    while (capture->link_count > from) {
        bpf_link__destroy(capture->links[--capture->link_count]);
    }
}

void
ns_capture_free(struct ns_capture *capture)
{
    if (capture != NULL) {
        if (capture->skeleton != NULL && capture->skeleton->bss != NULL) {
            capture->skeleton->bss->stops = 0; /* to detach takes seconds, and nobody listens */
        }
        detach(capture, 0);
        bpf_link__destroy(capture->exit);
        ring_buffer__free(capture->ring);
        capture_bpf__destroy(capture->skeleton);
        free(capture->links);
        free(capture);
    }
}

static bool
has_room(struct ns_capture *capture)
{
    if (capture->link_count < capture->link_capacity) {
        return true;
    }
    size_t capacity = capture->link_capacity == 0 ? 64 : 2 * capture->link_capacity;
    struct bpf_link **links =
        reallocarray(capture->links, capacity, sizeof(struct bpf_link *)); // NOLINT
    if (links == NULL) {
        return false;
    }
    capture->links = links;
    capture->link_capacity = capacity;
    return true;
}

int
ns_capture_attach(struct ns_capture *capture, const char *path)
{
    size_t before = capture->link_count;
    int found = 0;
    for (size_t i = 0; i < capture->point_count; i++) {
        const struct point *point = &capture->points[i];
        struct bpf_uprobe_opts options = {
            .sz = sizeof options, .func_name = point->symbol, .retprobe = point->at_return};
        struct bpf_link *link =
            has_room(capture)
                ? bpf_program__attach_uprobe_opts(point->program, -1, path, 0, &options)
                : NULL;
        if (link != NULL) {
            capture->links[capture->link_count++] = link;
            found++;
        } else if (errno >= LIBBPF_ERRNO__LIBELF ||
                   (errno == ENOENT && strcmp(point->symbol, "SSL_write") == 0)) {
            break; /* it has no OpenSSL, or is no program of this machine's kind */
        } else if (errno != ENOENT) {
            detach(capture, before);
            return -1;
        }
    }
    if (found == 1) { /* SSL_ctrl alone */
        detach(capture, before);
        found = 0;
    }
    return found;
}

int
ns_capture_attach_places(struct ns_capture *capture, const char *path,
                         const struct ns_capture_place *places, size_t count)
{
    size_t before = capture->link_count;
    for (size_t i = 0; i < count; i++) {
        struct bpf_uprobe_opts options = {.sz = sizeof options, .bpf_cookie = places[i].cookie};
        const struct bpf_program *program =
            bpf_object__find_program_by_name(capture->skeleton->obj, places[i].program);
        struct bpf_link *link =
            program != NULL && has_room(capture)
                ? bpf_program__attach_uprobe_opts(program, -1, path, places[i].offset, &options)
                : NULL;
        if (link == NULL) {
            int error = errno;
            detach(capture, before);
            errno = error;
            return -1;
        }
        capture->links[capture->link_count++] = link;
    }
    return (int)count;
}

int
ns_capture_fd(const struct ns_capture *capture)
{
    return ring_buffer__epoll_fd(capture->ring);
}

void
ns_capture_take(struct ns_capture *capture)
{
    (void)ring_buffer__consume(capture->ring);
}

void
ns_capture_decide(struct ns_capture *capture, uint64_t connection, enum ns_connection_state state)
{
    uint32_t value = state;
    (void)bpf_map_update_elem(bpf_map__fd(capture->skeleton->maps.decisions), &connection, &value,
                              BPF_ANY);
}

void
ns_capture_leave_alone(struct ns_capture *capture, uint32_t pid)
{
    uint32_t one = 1;
    (void)bpf_map_update_elem(bpf_map__fd(capture->skeleton->maps.left_alone), &pid, &one, BPF_ANY);
}

void
ns_capture_visit_drops(struct ns_capture *capture, ns_capture_drops_visit *visit)
{
    int fd = bpf_map__fd(capture->skeleton->maps.drops);
    uint32_t pid;
    while (bpf_map_get_next_key(fd, NULL, &pid) == 0) {
        struct ns_drops drops = {0};
        if (bpf_map_lookup_elem(fd, &pid, &drops) != 0 || bpf_map_delete_elem(fd, &pid) != 0) {
            return; /* it was replaced by a newer one meanwhile */
        }
        visit(pid, &drops);
    }
}

void
ns_capture_go_on(struct ns_capture *capture, uint32_t pid)
{
    (void)bpf_map_delete_elem(bpf_map__fd(capture->skeleton->maps.stopped), &pid);
    (void)kill((pid_t)pid, SIGCONT);
}

int
ns_capture_stopped_fd(const struct ns_capture *capture)
{
    return fcntl(bpf_map__fd(capture->skeleton->maps.stopped), F_DUPFD_CLOEXEC, 3);
}
