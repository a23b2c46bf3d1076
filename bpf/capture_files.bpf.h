/* SPDX-License-Identifier: Apache-2.0 */
/* Which files processes map to run them: told once each, so that the agent attaches to those in
 * which there is TLS before the first of their code runs. */
#ifndef NS_BPF_CAPTURE_FILES_BPF_H
#define NS_BPF_CAPTURE_FILES_BPF_H

#define VM_EXEC 4
#define S_IFMT 0170000
#define S_IFREG 0100000
#define SYSTEM_CALL_MMAP 9
#define PROT_EXEC 4
#define MAP_ANONYMOUS 0x20

struct super_block {
    unsigned int s_dev;
} __attribute__((preserve_access_index));

struct inode {
    unsigned short i_mode;
    struct super_block *i_sb;
    unsigned long i_ino;
    long long i_size;
    unsigned int i_generation;
} __attribute__((preserve_access_index));

struct file {
    struct inode *f_inode;
} __attribute__((preserve_access_index));

/* By the kernel's own names. */
struct pt_regs___kernel {
    unsigned long r10;
    unsigned long r8;
    unsigned long dx;
    unsigned long orig_ax;
} __attribute__((preserve_access_index));

struct fdtable {
    unsigned int max_fds;
    struct file **fd;
} __attribute__((preserve_access_index));

struct files_struct {
    struct fdtable *fdt;
} __attribute__((preserve_access_index));

struct linux_binprm {
    struct file *file;
} __attribute__((preserve_access_index));

struct vm_area_struct {
    unsigned long vm_start;
    unsigned long vm_end;
    unsigned long vm_flags;
    struct file *vm_file;
} __attribute__((preserve_access_index));

struct seq_file;

struct bpf_iter_meta {
    struct seq_file *seq;
} __attribute__((preserve_access_index));

struct bpf_iter__task_vma {
    struct bpf_iter_meta *meta;
    struct task_struct *task;
    struct vm_area_struct *vma;
} __attribute__((preserve_access_index));

/* Files that the agent has looked at. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 65536);
    __type(key, struct ns_file_key);
    __type(value, __u32);
} files SEC(".maps");

/* Which file this is, if it is one that may be run. */
static __always_inline struct inode *
describe(struct file *mapped, struct ns_file *file)
{
    struct inode *inode = BPF_CORE_READ(mapped, f_inode);
    if (inode == NULL || (BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFREG) {
        return NULL;
    }
    *file = (struct ns_file){.key = {.inode = BPF_CORE_READ(inode, i_ino),
                                     .device = BPF_CORE_READ(inode, i_sb, s_dev),
                                     .generation = BPF_CORE_READ(inode, i_generation)}};
    return inode;
}

/* Must its process wait until the agent has looked? Not one of a terminal, whose shell would take
 * its job for suspended: there the agent is told, and is sooner than a connection is made. */
static __always_inline int
must_wait(struct inode *inode)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    return stops != 0 && BPF_CORE_READ(inode, i_size) >= NS_FILE_BYTES_MIN &&
           BPF_CORE_READ(task, signal, tty) == NULL;
}

/* A process has mapped a file, by exec or by mmap, and has not run on yet. */
static __always_inline int
tell_file(struct file *mapped)
{
    __u64 id = bpf_get_current_pid_tgid();
    __u32 pid = id >> 32;
    struct ns_file file;
    struct inode *inode = describe(mapped, &file);
    if (inode == NULL || bpf_map_lookup_elem(&files, &file.key) != NULL || is_left_alone(pid)) {
        return 0;
    }
    struct {
        struct ns_record head;
        struct ns_file file;
    } *record = bpf_ringbuf_reserve(&records, sizeof *record, 0);
    if (record == NULL) {
        return 0; /* it is told with the next process that maps it, or looked for */
    }
    file.pid = pid;
    record->head = (struct ns_record){
        .kind = NS_RECORD_FILE, .pid = pid, .tid = (__u32)id, .bytes = sizeof file};
    record->file = file;
    record->head.stopped = must_wait(inode) ? stop_process(pid) : 0;
    bpf_ringbuf_submit(record, 0);
    return 0;
}

SEC("tp_btf/sched_process_exec")
int
BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *program)
{
    (void)task, (void)old_pid;
    return tell_file(BPF_CORE_READ(program, file));
}

/*
 * The end of whatever changes an address space; of interest is mmap(2). Its arguments are where it
 * left them. Other ways to see it are dearer, for they make every system call slower, or are those
 * of fentry, which not every machine allows.
 */
SEC("tp_btf/mmap_lock_released")
int
BPF_PROG(on_mmap)
{
    struct task_struct *task = bpf_get_current_task_btf();
    struct pt_regs___kernel *regs = (void *)bpf_task_pt_regs(task);
    if (BPF_CORE_READ(regs, orig_ax) != SYSTEM_CALL_MMAP ||
        (BPF_CORE_READ(regs, dx) & PROT_EXEC) == 0 ||
        (BPF_CORE_READ(regs, r10) & MAP_ANONYMOUS) != 0) {
        return 0;
    }
    __u32 fd = (__u32)BPF_CORE_READ(regs, r8);
    struct fdtable *table = BPF_CORE_READ(task, files, fdt);
    struct file **open = BPF_CORE_READ(table, fd), *mapped = NULL;
    if (fd >= BPF_CORE_READ(table, max_fds) ||
        bpf_probe_read_kernel(&mapped, sizeof mapped, open + fd) != 0 || mapped == NULL) {
        return 0;
    }
    return tell_file(mapped);
}

/* All that is mapped now, as struct ns_file. */
SEC("iter/task_vma")
int
on_mapped(struct bpf_iter__task_vma *context)
{
    struct ns_file file;
    struct task_struct *task = context->task; /* each is looked at once, for the verifier */
    struct vm_area_struct *vma = context->vma;
    if (task == NULL || vma == NULL || (BPF_CORE_READ(vma, vm_flags) & VM_EXEC) == 0 ||
        describe(BPF_CORE_READ(vma, vm_file), &file) == NULL ||
        bpf_map_lookup_elem(&files, &file.key) != NULL) {
        return 0;
    }
    file.begin = BPF_CORE_READ(vma, vm_start);
    file.end = BPF_CORE_READ(vma, vm_end);
    file.pid = (__u32)BPF_CORE_READ(task, tgid);
    bpf_seq_write(context->meta->seq, &file, sizeof file);
    return 0;
}

#endif
