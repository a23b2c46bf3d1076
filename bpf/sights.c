/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/sights.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <coverage.skel.h>

#define LINKS 4

struct ns_sights {
    struct coverage_bpf *skeleton;
    struct ring_buffer *ring;
    struct bpf_link *link[LINKS];
    ns_sights_handler *handler;
    void *context;
};

static int
take(void *context, void *data, size_t bytes)
{
    struct ns_sights *sights = context;
    const struct ns_sight *sight = data;
    if (bytes >= sizeof *sight && sight->bytes <= bytes - sizeof *sight) {
        sights->handler(sights->context, sight, (const uint8_t *)data + sizeof *sight);
    }
    return 0;
}

static int
say_nothing(enum libbpf_print_level level, const char *format, va_list arguments)
{
    (void)level, (void)format, (void)arguments;
    return 0;
}

/* The root of the control groups, version 2, which all processes are below; -1: there is none. */
static int
open_root_group(void)
{
    int fd = -1;
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    struct mntent entry;
    char text[4096];
    while (mounts != NULL && fd < 0 &&
           getmntent_r(mounts, &entry, text, (int)sizeof text) != NULL) {
        if (strcmp(entry.mnt_type, "cgroup2") == 0) {
            fd = open(entry.mnt_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
    }
    if (mounts != NULL) {
        endmntent(mounts);
    }
    return fd;
}

static const char *
attach(struct ns_sights *sights)
{
    struct coverage_bpf *skeleton = sights->skeleton;
    int group = open_root_group();
    if (group < 0) {
        return "no cgroup2 file system is mounted";
    }
    sights->link[0] = bpf_program__attach_cgroup(skeleton->progs.on_egress, group);
    close(group);
    sights->link[1] = bpf_program__attach(skeleton->progs.on_sent);
    sights->link[2] = bpf_program__attach(skeleton->progs.on_received);
    sights->link[3] = bpf_program__attach(skeleton->progs.on_destroy);
    for (size_t i = 0; i < LINKS; i++) {
        if (sights->link[i] == NULL) {
            return "the kernel has no tracepoint of what sockets send (Linux 6.3 or later has)";
        }
    }
    return NULL;
}

struct ns_sights *
ns_sights_load(ns_sights_handler *handler, void *context, const char **why)
{
    struct ns_sights *sights = calloc(1, sizeof *sights);
    *why = "no memory";
    if (sights == NULL) {
        return NULL;
    }
    sights->handler = handler;
    sights->context = context;
    libbpf_set_print(say_nothing);
    sights->skeleton = coverage_bpf__open_and_load();
    if (sights->skeleton == NULL) {
        *why = "the kernel does not take its programs";
    } else {
        sights->ring =
            ring_buffer__new(bpf_map__fd(sights->skeleton->maps.sights), take, sights, NULL);
        *why = sights->ring == NULL ? *why : attach(sights);
    }
    if (*why != NULL) {
        ns_sights_free(sights);
        return NULL;
    }
    return sights;
}

void
ns_sights_free(struct ns_sights *sights)
{
    if (sights != NULL) {
        for (size_t i = 0; i < LINKS; i++) {
            bpf_link__destroy(sights->link[i]);
        }
        ring_buffer__free(sights->ring);
        coverage_bpf__destroy(sights->skeleton);
        free(sights);
    }
}

int
ns_sights_fd(const struct ns_sights *sights)
{
    return ring_buffer__epoll_fd(sights->ring);
}

void
ns_sights_take(struct ns_sights *sights)
{
    ring_buffer__consume(sights->ring);
}

void
ns_sights_heard(struct ns_sights *sights, uint64_t cookie)
{
    bpf_map_delete_elem(bpf_map__fd(sights->skeleton->maps.hellos), &cookie);
}

void
ns_sights_forget(struct ns_sights *sights, uint64_t cookie)
{
    ns_sights_heard(sights, cookie);
    bpf_map_delete_elem(bpf_map__fd(sights->skeleton->maps.traffic), &cookie);
}

bool
ns_sights_traffic(struct ns_sights *sights, uint64_t cookie, struct ns_traffic *traffic)
{
    return bpf_map_lookup_elem(bpf_map__fd(sights->skeleton->maps.traffic), &cookie, traffic) == 0;
}

uint64_t
ns_sights_lost(const struct ns_sights *sights)
{
    return sights->skeleton->bss->lost;
}
