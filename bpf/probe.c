/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/probe.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/privileges.h"
#include "bpf/uprobe.h"

/* The inode of the pid name space that the kernel started with. */
#define FIRST_PIDS_INODE 0xeffffffcU

static bool
has_bpf(void)
{
    return ns_privileges_has(CAP_BPF) || ns_privileges_has(CAP_SYS_ADMIN);
}

static bool
has_perfmon(void)
{
    return ns_privileges_has(CAP_PERFMON) || ns_privileges_has(CAP_SYS_ADMIN);
}

static bool
has_ptrace(void)
{
    return ns_privileges_has(CAP_SYS_PTRACE);
}

static bool
has_kill(void)
{
    return ns_privileges_has(CAP_KILL);
}

static bool
has_checkpoint_restore(void)
{
    return ns_privileges_has(CAP_CHECKPOINT_RESTORE);
}

static bool
has_read_search(void)
{
    return ns_privileges_has(CAP_DAC_READ_SEARCH);
}

bool
ns_probe_first_pids(void)
{
    struct stat status;
    return stat("/proc/self/ns/pid", &status) == 0 && status.st_ino == FIRST_PIDS_INODE;
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
has_send_signal_thread(void)
{
    return libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_send_signal_thread, NULL) == 1;
}

/* Linux 6.18 and later let a probe write the registers of what it stands in: a function could be
 * made to return at once. Whether they do is a matter of how the kernel was built, so it is tried.
 */
static bool
has_override(void)
{
    const struct bpf_insn program[] = {
        /* *(u64 *)(ctx + offsetof(struct pt_regs, rax)) = 1; return 0 */
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2, .imm = 1},
        {.code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_2, .off = 80},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
        {.code = BPF_JMP | BPF_EXIT},
    };
    int fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "override", "GPL", program,
                           sizeof program / sizeof program[0], NULL);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

static bool
has_cgroup(void)
{
    return libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_get_current_cgroup_id, NULL) == 1;
}

/* Tried, for a kernel may know of them and refuse them. */
static bool
has_mapped_files(void)
{
    /* r0 = 0; exit */
    const struct bpf_insn program[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K},
                                       {.code = BPF_JMP | BPF_EXIT}};
    static const struct {
        const char *name;
        enum bpf_attach_type type;
    } wanted[] = {{"sched_process_exec", BPF_TRACE_RAW_TP},
                  {"mmap_lock_released", BPF_TRACE_RAW_TP},
                  {"task_vma", BPF_TRACE_ITER}};
    bool all = true;
    for (size_t i = 0; all && i < sizeof wanted / sizeof wanted[0]; i++) {
        int id = libbpf_find_vmlinux_btf_id(wanted[i].name, wanted[i].type);
        LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = wanted[i].type,
                    .attach_btf_id = id > 0 ? (unsigned)id : 0);
        int loaded = id <= 0 ? -1
                             : bpf_prog_load(BPF_PROG_TYPE_TRACING, NULL, "GPL", program,
                                             sizeof program / sizeof program[0], &options);
        all = loaded >= 0;
        if (loaded >= 0) {
            close(loaded);
        }
    }
    return all;
}

static bool
has_net_admin(void)
{
    return ns_privileges_has(CAP_NET_ADMIN);
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
    {"CAP_CHECKPOINT_RESTORE", "finding what is mapped", true, has_checkpoint_restore,
     "run as root or grant CAP_CHECKPOINT_RESTORE"},
    {"CAP_DAC_READ_SEARCH", "programs in closed directories", false, has_read_search,
     "run as root or grant it: else such programs are dark"},
    {"the machine's own pids", "acting on who is meant", true, ns_probe_first_pids,
     "the host's pid name space (--pid=host for a container)"},
    {"BTF of the kernel", "one program for every kernel", true, has_btf,
     "a kernel with CONFIG_DEBUG_INFO_BTF=y"},
    {"uprobe events", "hooks in user programs", true, has_uprobe_events,
     "a kernel with CONFIG_UPROBE_EVENTS=y"},
    {"probe programs", "hooks in user programs", true, has_programs,
     "a kernel with CONFIG_BPF_EVENTS=y"},
    {"uprobe multi links", "doing without CAP_SYS_ADMIN", false, ns_uprobe_has_multi,
     "Linux 6.6 or later"},
    {"uprobe sessions", "others' calls cost one trap, not two", false, ns_uprobe_has_sessions,
     "Linux 6.13 or later"},
    {"ring buffer", "bytes in order, without loss", true, has_ring_buffer, "Linux 5.8 or later"},
    {"bpf_probe_read_user", "reading what is written", true, has_read_user, "Linux 5.5 or later"},
    {"bpf_get_attach_cookie", "one program for many hooks", false, has_cookie, NULL},
    {"bpf_send_signal_thread", "stopping a write in time", false, has_send_signal_thread, NULL},
    {"writing registers", "refusing a write (not used yet)", false, has_override, NULL},
    {"files as they are mapped", "finding programs at once, not within a second", false,
     has_mapped_files, "a kernel with the tracepoint mmap_lock_released and bpf iterators"},
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
