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

#include "bpf/uprobe.h"

#include <capture.skel.h>

#include "bpf/libraries.h"

struct ns_capture {
    struct capture_bpf *skeleton;
    struct ring_buffer *ring;
    struct bpf_link *exit, *signals;
    struct bpf_link *execs, *maps; /* NULL: nobody tells of files */
    struct ns_uprobe *links;
    size_t link_count, link_capacity;
    struct bpf_program *programs[NS_HOOKS];
    struct bpf_program *around[NS_HOOKS]; /* those for both ends of a function */
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
list_programs(struct ns_capture *capture)
{
    const struct capture_bpf *skeleton = capture->skeleton;
    struct bpf_program *const programs[NS_HOOKS] = {
        [NS_HOOK_CTRL] = skeleton->progs.on_ctrl,
        [NS_HOOK_NAME] = skeleton->progs.on_name,
        [NS_HOOK_NAME_SIZED] = skeleton->progs.on_name_sized,
        [NS_HOOK_IMPORT] = skeleton->progs.on_import,
        [NS_HOOK_WRITE] = skeleton->progs.on_write,
        [NS_HOOK_WRITE_SIZED] = skeleton->progs.on_write_sized,
        [NS_HOOK_WRITE_TELLING] = skeleton->progs.on_write_ex,
        [NS_HOOK_WRITE_KNOWN] = skeleton->progs.on_write_known,
        [NS_HOOK_WRITTEN] = skeleton->progs.on_written,
        [NS_HOOK_READ] = skeleton->progs.on_read,
        [NS_HOOK_READ_TELLING] = skeleton->progs.on_read_ex,
        [NS_HOOK_HAVE_READ] = skeleton->progs.on_have_read,
        [NS_HOOK_FREE] = skeleton->progs.on_free,
    };
    struct bpf_program *const around[NS_HOOKS] = {
        [NS_HOOK_WRITE] = skeleton->progs.around_write,
        [NS_HOOK_WRITE_SIZED] = skeleton->progs.around_write_sized,
        [NS_HOOK_WRITE_TELLING] = skeleton->progs.around_write_ex,
        [NS_HOOK_WRITE_KNOWN] = skeleton->progs.around_write_known,
        [NS_HOOK_READ] = skeleton->progs.around_read,
        [NS_HOOK_READ_TELLING] = skeleton->progs.around_read_ex,
    };
    memcpy(capture->programs, programs, sizeof programs);
    memcpy(capture->around, around, sizeof around);
}

/* What fails is told by who asked for it. */
static int
say_nothing(enum libbpf_print_level level, const char *format, va_list arguments)
{
    (void)level, (void)format, (void)arguments;
    return 0;
}

/* Events of files are of a kind that not every kernel has. */
static bool
load(struct ns_capture *capture, bool with_files, bool stops, uint32_t only_network)
{
    struct capture_bpf *skeleton = capture_bpf__open();
    if (skeleton == NULL) {
        return false;
    }
    ns_uprobe_prepare(skeleton->obj);
    skeleton->bss->stops = stops;
    skeleton->bss->only_network = only_network;
    (void)bpf_program__set_autoload(skeleton->progs.on_exec, with_files);
    (void)bpf_program__set_autoload(skeleton->progs.on_mmap, with_files);
    (void)bpf_program__set_autoload(skeleton->progs.on_mapped, with_files);
    if (capture_bpf__load(skeleton) != 0) {
        int error = errno;
        capture_bpf__destroy(skeleton);
        errno = error;
        return false;
    }
    capture->skeleton = skeleton;
    return true;
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
    if (!load(capture, true, stops, only_network) && !load(capture, false, stops, only_network)) {
        fprintf(stderr,
                "nullspend-bpf: the kernel does not take the programs (%s);"
                " 'nullspend-bpf --probe' tells what is missing\n",
                strerror(errno));
        ns_capture_free(capture);
        return NULL;
    }
    list_programs(capture);
    capture->exit = bpf_program__attach(capture->skeleton->progs.on_exit);
    capture->ring =
        ring_buffer__new(bpf_map__fd(capture->skeleton->maps.records), take, capture, NULL);
    capture->signals = bpf_program__attach(capture->skeleton->progs.on_signal);
    if (capture->exit == NULL || capture->signals == NULL || capture->ring == NULL) {
        fprintf(stderr,
                "nullspend-bpf: cannot attach to the end and the signals of processes: %s\n",
                strerror(errno));
        ns_capture_free(capture);
        return NULL;
    }
    ns_capture_leave_alone(capture, (uint32_t)getpid());
    capture->skeleton->bss->own_pids[0] = (uint32_t)getpid();
    return capture;
}

static void
stop_watching(struct ns_capture *capture)
{
    bpf_link__destroy(capture->execs);
    bpf_link__destroy(capture->maps);
    capture->execs = capture->maps = NULL;
}

static void
detach(struct ns_capture *capture, size_t from)
{
    while (capture->link_count > from) {
        ns_uprobe_detach(&capture->links[--capture->link_count]);
    }
}

void
ns_capture_free(struct ns_capture *capture)
{
    if (capture != NULL) {
        if (capture->skeleton != NULL) {
            ns_capture_stop_nobody(capture); /* to detach takes its time, and nobody listens */
        }
        detach(capture, 0);
        bpf_link__destroy(capture->exit);
        bpf_link__destroy(capture->signals);
        stop_watching(capture);
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
    struct ns_uprobe *links = reallocarray(capture->links, capacity, sizeof *links);
    if (links == NULL) {
        return false;
    }
    capture->links = links;
    capture->link_capacity = capacity;
    return true;
}

static bool
add_link(struct ns_capture *capture, const struct bpf_program *program, const char *path,
         uint64_t offset, enum ns_uprobe_end end, uint64_t cookie)
{
    bool added = has_room(capture) && ns_uprobe_attach(&capture->links[capture->link_count],
                                                       program, path, offset, end, cookie);
    capture->link_count += added;
    return added;
}

static bool
add_point(struct ns_capture *capture, const char *path, const struct ns_point *point)
{
    if (point->at_return == NS_HOOK_NONE) {
        return add_link(capture, capture->programs[point->hook], path, point->offset,
                        NS_UPROBE_ENTRY, 0);
    }
    if (ns_uprobe_has_sessions()) {
        return add_link(capture, capture->around[point->hook], path, point->offset, NS_UPROBE_BOTH,
                        0);
    }
    return add_link(capture, capture->programs[point->hook], path, point->offset, NS_UPROBE_ENTRY,
                    0) &&
           add_link(capture, capture->programs[point->at_return], path, point->offset,
                    NS_UPROBE_RETURN, 0);
}

int
ns_capture_attach(struct ns_capture *capture, const char *path)
{
    struct ns_point points[NS_POINTS_MAX];
    size_t before = capture->link_count;
    int count = ns_library_points(path, points);
    if (count < 0) {
        errno = -count;
        return -1;
    }
    for (int i = 0; i < count; i++) {
        if (!add_point(capture, path, &points[i])) {
            int error = errno;
            detach(capture, before);
            errno = error;
            return -1;
        }
    }
    return count;
}

/* --- files -------------------------------------------------------------------------------- */

bool
ns_capture_tells_files(const struct ns_capture *capture)
{
    return capture->maps != NULL;
}

bool
ns_capture_visit_mapped(struct ns_capture *capture, uint32_t pid, ns_capture_file_visit *visit,
                        void *context)
{
    /* Both have bytes that no initializer sets, and that must be zero. */
    union bpf_iter_link_info process;
    memset(&process, 0, sizeof process);
    process.task.pid = pid;
    LIBBPF_OPTS(bpf_iter_attach_opts, options, .link_info = &process,
                .link_info_len = sizeof process);
    struct bpf_link *link = bpf_program__attach_iter(capture->skeleton->progs.on_mapped, &options);
    int fd = link == NULL ? -1 : bpf_iter_create(bpf_link__fd(link));
    FILE *mapped = fd < 0 ? NULL : fdopen(fd, "r");
    struct ns_file file;
    while (mapped != NULL && fread(&file, sizeof file, 1, mapped) == 1) {
        visit(context, &file);
    }
    bool complete = mapped != NULL && ferror(mapped) == 0;
    if (mapped != NULL) {
        fclose(mapped);
    } else if (fd >= 0) {
        close(fd);
    }
    bpf_link__destroy(link);
    return complete;
}

bool
ns_capture_watch_files(struct ns_capture *capture, ns_capture_file_visit *visit, void *context)
{
    struct capture_bpf *skeleton = capture->skeleton;
    if (!bpf_program__autoload(skeleton->progs.on_mmap)) {
        return false;
    }
    /* Attached first: what is mapped from here on is told, what was before is visited. */
    capture->execs = bpf_program__attach(skeleton->progs.on_exec);
    capture->maps = bpf_program__attach(skeleton->progs.on_mmap);
    if (capture->execs == NULL || capture->maps == NULL ||
        !ns_capture_visit_mapped(capture, 0, visit, context)) {
        stop_watching(capture);
    }
    return ns_capture_tells_files(capture);
}

void
ns_capture_know_file(struct ns_capture *capture, const struct ns_file_key *key)
{
    uint32_t one = 1;
    (void)bpf_map_update_elem(bpf_map__fd(capture->skeleton->maps.files), key, &one, BPF_ANY);
}

/* --- records and tables ---------------------------------------------------------------------- */

int
ns_capture_attach_places(struct ns_capture *capture, const char *path,
                         const struct ns_capture_place *places, size_t count)
{
    size_t before = capture->link_count;
    for (size_t i = 0; i < count; i++) {
        const struct bpf_program *program =
            bpf_object__find_program_by_name(capture->skeleton->obj, places[i].program);
        if (program == NULL || !add_link(capture, program, path, places[i].offset, NS_UPROBE_ENTRY,
                                         places[i].cookie)) {
            int error = errno;
            detach(capture, before);
            errno = error;
            return -1;
        }
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

bool
ns_capture_visit_drops(struct ns_capture *capture, ns_capture_drops_visit *visit)
{
    bool any = false;
    int fd = bpf_map__fd(capture->skeleton->maps.drops);
    uint32_t pid;
    while (bpf_map_get_next_key(fd, NULL, &pid) == 0) {
        struct ns_drops drops = {0};
        if (bpf_map_lookup_elem(fd, &pid, &drops) != 0 || bpf_map_delete_elem(fd, &pid) != 0) {
            break; /* it was replaced by a newer one meanwhile */
        }
        visit(pid, &drops);
        any = true;
    }
    return any;
}

int
ns_capture_stopped_fd(const struct ns_capture *capture)
{
    return bpf_map__fd(capture->skeleton->maps.stopped);
}

void
ns_capture_guarded_by(struct ns_capture *capture, uint32_t pid)
{
    capture->skeleton->bss->own_pids[1] = pid;
}

void
ns_capture_stop_nobody(struct ns_capture *capture)
{
    capture->skeleton->bss->stops = 0;
}

bool
ns_capture_visit_connections(struct ns_capture *capture, ns_capture_connections_visit *visit,
                             void *context)
{
    struct {
        uint64_t ssl;
        uint32_t pid, zero;
    } place, next;
    struct {
        uint64_t number, named;
    } connection;
    int fd = bpf_map__fd(capture->skeleton->maps.connections);
    bool more = bpf_map_get_next_key(fd, NULL, &next) == 0;
    while (more) {
        place = next;
        if (bpf_map_lookup_elem(fd, &place, &connection) == 0) {
            visit(context, connection.number);
        }
        more = bpf_map_get_next_key(fd, &place, &next) == 0;
    }
    return errno == ENOENT;
}
