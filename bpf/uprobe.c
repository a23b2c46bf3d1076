/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/uprobe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers that this is built with. */
#define UPROBE_MULTI 48   /* BPF_TRACE_UPROBE_MULTI */
#define UPROBE_SESSION 57 /* BPF_TRACE_UPROBE_SESSION */
#define MULTI_RETURN 1U   /* BPF_F_UPROBE_MULTI_RETURN */

/* BPF_LINK_CREATE of that kind, as union bpf_attr has it. */
struct link_create {
    uint32_t program, target, attach_type, flags;
    uint64_t path, offsets, reference_counters, cookies;
    uint32_t count, multi_flags, pid, zero;
};

static int
create(int program, const char *path, uint64_t offset, enum ns_uprobe_end end, uint64_t cookie)
{
    unsigned long offsets[] = {offset};
    struct link_create attributes = {.program = (uint32_t)program,
                                     .attach_type =
                                         end == NS_UPROBE_BOTH ? UPROBE_SESSION : UPROBE_MULTI,
                                     .path = (uintptr_t)path,
                                     .offsets = (uintptr_t)offsets,
                                     .cookies = (uintptr_t)&cookie,
                                     .count = 1,
                                     .multi_flags = end == NS_UPROBE_RETURN ? MULTI_RETURN : 0};
    return (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attributes, sizeof attributes);
}

static bool
try_link(uint32_t attach_type, enum ns_uprobe_end end)
{
    const struct bpf_insn program[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
        {.code = BPF_JMP | BPF_EXIT},
    };
    LIBBPF_OPTS(bpf_prog_load_opts, options,
                .expected_attach_type = (enum bpf_attach_type)attach_type);
    int fd = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "try", "GPL", program,
                           sizeof program / sizeof program[0], &options);
    if (fd < 0) {
        return false;
    }
    /* A directory is no file to attach to: so far only a kernel comes that knows the kind. */
    int link = create(fd, "/", 0, end, 0);
    bool has = link < 0 && errno == EBADF;
    if (link >= 0) {
        close(link);
    }
    close(fd);
    return has;
}

/* What was tried once. */
enum answer { UNKNOWN, NO, YES };

bool
ns_uprobe_has_multi(void)
{
    static enum answer has;
    if (has == UNKNOWN) {
        has = try_link(UPROBE_MULTI, NS_UPROBE_ENTRY) ? YES : NO;
    }
    return has == YES;
}

bool
ns_uprobe_has_sessions(void)
{
    static enum answer has;
    if (has == UNKNOWN) {
        has = try_link(UPROBE_SESSION, NS_UPROBE_BOTH) ? YES : NO;
    }
    return has == YES;
}

static bool
begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

void
ns_uprobe_prepare(struct bpf_object *object)
{
    struct bpf_program *program;
    bpf_object__for_each_program(program, object)
    {
        const char *section = bpf_program__section_name(program);
        bool is_session = begins(bpf_program__name(program), "around_");
        if (is_session && !ns_uprobe_has_sessions()) {
            (void)bpf_program__set_autoload(program, false);
        } else if ((begins(section, "uprobe") || begins(section, "uretprobe")) &&
                   ns_uprobe_has_multi()) {
            (void)bpf_program__set_expected_attach_type(
                program, (enum bpf_attach_type)(is_session ? UPROBE_SESSION : UPROBE_MULTI));
        }
    }
}

bool
ns_uprobe_attach(struct ns_uprobe *uprobe, const struct bpf_program *program, const char *path,
                 uint64_t offset, enum ns_uprobe_end end, uint64_t cookie)
{
    *uprobe = (struct ns_uprobe){.fd = -1};
    if (ns_uprobe_has_multi()) {
        uprobe->fd = create(bpf_program__fd(program), path, offset, end, cookie);
    } else {
        LIBBPF_OPTS(bpf_uprobe_opts, options, .retprobe = end == NS_UPROBE_RETURN,
                    .bpf_cookie = cookie);
        uprobe->perf = bpf_program__attach_uprobe_opts(program, -1, path, offset, &options);
    }
    return uprobe->fd >= 0 || uprobe->perf != NULL;
}

void
ns_uprobe_detach(struct ns_uprobe *uprobe)
{
    if (uprobe->fd >= 0) {
        close(uprobe->fd);
    }
    bpf_link__destroy(uprobe->perf);
    *uprobe = (struct ns_uprobe){.fd = -1};
}
