/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/probe.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool
has_capability(int capability)
{
    char line[256];
    unsigned long long effective = 0;
    FILE *status = fopen("/proc/self/status", "re");
    if (status == NULL) {
        return false;
    }
    while (fgets(line, sizeof line, status) != NULL) {
        if (strncmp(line, "CapEff:", 7) == 0) {
            effective = strtoull(line + 7, NULL, 16);
        }
    }
    fclose(status);
    return (effective >> capability & 1) != 0;
}

static bool
has_bpf(void)
{
    return has_capability(CAP_BPF) || has_capability(CAP_SYS_ADMIN);
}

static bool
has_perfmon(void)
{
    return has_capability(CAP_PERFMON) || has_capability(CAP_SYS_ADMIN);
}

static bool
has_ptrace(void)
{
    return has_capability(CAP_SYS_PTRACE);
}

static bool
has_kill(void)
{
    return has_capability(CAP_KILL);
}

static bool
has_btf(void)
{
    return access("/sys/kernel/btf/vmlinux", R_OK) == 0;
}

static bool
has_uprobe_events(void)
{
    return access("/sys/bus/event_source/devices/uprobe/type", R_OK) == 0;
}

static bool
has_programs(void)
{
    return libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_KPROBE, NULL) == 1;
}

static bool
has_ring_buffer(void)
{
    return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL) == 1;
}

static bool
has_read_user(void)
{
    return libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_probe_read_user, NULL) == 1;
}

static bool
has_cookie(void)
{
    return libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_get_attach_cookie, NULL) == 1;
}

static bool
has_send_signal(void)
{
    return libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_send_signal, NULL) == 1;
}

static bool
has_cgroup(void)
{
    return libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_get_current_cgroup_id, NULL) == 1;
}

static bool
has_net_admin(void)
{
    return has_capability(CAP_NET_ADMIN);
}

static bool
has_control_groups(void)
{
    bool found = false;
    char line[1024];
    FILE *mounts = fopen("/proc/self/mounts", "re");
    while (mounts != NULL && !found && fgets(line, sizeof line, mounts) != NULL) {
        found = strstr(line, " cgroup2 ") != NULL;
    }
    if (mounts != NULL) {
        fclose(mounts);
    }
    return found && libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_CGROUP_SKB, NULL) == 1;
}

static bool
has_socket_lengths(void)
{
    struct btf *types = btf__load_vmlinux_btf();
    bool found = types != NULL &&
                 btf__find_by_name_kind(types, "btf_trace_sock_send_length", BTF_KIND_TYPEDEF) > 0;
    btf__free(types);
    return found;
}

static const struct {
    const char *facility;
    const char *use;
    bool required;
    bool (*present)(void);
    const char *next_step;
} facilities[] = {
    {"CAP_BPF", "loading programs", true, has_bpf, "run as root or grant CAP_BPF"},
    {"CAP_PERFMON", "attaching probes", true, has_perfmon, "run as root or grant CAP_PERFMON"},
    {"CAP_SYS_PTRACE", "finding executables of other users", true, has_ptrace,
     "run as root or grant CAP_SYS_PTRACE"},
    {"CAP_KILL", "letting a stopped process go on", true, has_kill,
     "run as root or grant CAP_KILL"},
    {"BTF of the kernel", "one program for every kernel", true, has_btf,
     "a kernel with CONFIG_DEBUG_INFO_BTF=y"},
    {"uprobe events", "hooks in user programs", true, has_uprobe_events,
     "a kernel with CONFIG_UPROBE_EVENTS=y"},
    {"probe programs", "hooks in user programs", true, has_programs,
     "a kernel with CONFIG_BPF_EVENTS=y"},
    {"ring buffer", "bytes in order, without loss", true, has_ring_buffer, "Linux 5.8 or later"},
    {"bpf_probe_read_user", "reading what is written", true, has_read_user, "Linux 5.5 or later"},
    {"bpf_get_attach_cookie", "one program for many hooks", false, has_cookie, NULL},
    {"bpf_send_signal", "stopping a write in time", false, has_send_signal, NULL},
    {"bpf_get_current_cgroup_id", "telling containers apart", false, has_cgroup, NULL},
    {"CAP_NET_ADMIN", "coverage: who begins TLS", false, has_net_admin,
     "run as root or grant CAP_NET_ADMIN"},
    {"cgroup2", "coverage: who begins TLS", false, has_control_groups,
     "mount -t cgroup2 none /sys/fs/cgroup/unified, or CONFIG_CGROUP_BPF=y"},
    {"sock_send_length", "coverage: bytes of sockets", false, has_socket_lengths,
     "Linux 6.3 or later"},
};
enum { FACILITIES = sizeof facilities / sizeof facilities[0] };

static int
say_nothing(enum libbpf_print_level level, const char *format, va_list arguments)
{
    (void)level, (void)format, (void)arguments;
    return 0;
}

const struct ns_probe *
ns_probe_all(size_t *count)
{
    static struct ns_probe results[FACILITIES];
    libbpf_set_print(say_nothing);
    for (size_t i = 0; i < FACILITIES; i++) {
        bool present = facilities[i].present();
        results[i] =
            (struct ns_probe){facilities[i].facility, facilities[i].use, facilities[i].required,
                              present, present ? NULL : facilities[i].next_step};
    }
    *count = FACILITIES;
    return results;
}
