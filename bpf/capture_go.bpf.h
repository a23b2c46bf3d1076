/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Go's crypto/tls, in its register ABI on amd64: arguments and results in RAX, RBX, RCX, RDI, ...,
 * the goroutine in R14. Entries are behind the check for room on the stack, which runs again when
 * the stack has grown. A goroutine changes threads and its stack moves, so what one is in is known
 * by the goroutine and by how deep in its stack that is.
 */
#ifndef NS_BPF_CAPTURE_GO_BPF_H
#define NS_BPF_CAPTURE_GO_BPF_H

/* The first two words of runtime.g. */
struct go_stack {
    __u64 low, high;
};

/* A goroutine in a function. The depth does not change when the stack moves, and tells a connection
 * inside another from that one. */
struct go_frame {
    __u64 goroutine;
    __u64 depth;
    __u32 pid;
    __u32 zero;
};

struct go_read {
    __u64 connection;
    __u64 bytes; /* an address, or from the stack pointer on where they are on the stack */
    __u32 on_stack;
    __u32 zero;
};

/* A goroutine that ends inside leaves its entry behind, and so does every process. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 65536);
    __type(key, struct go_frame);
    __type(value, struct go_read);
} go_reads SEC(".maps");

/* Goroutines that begin a connection and have not named its server yet: the *tls.Conn. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 4096);
    __type(key, struct go_frame);
    __type(value, __u64);
} go_handshakes SEC(".maps");

SEC("uprobe")
int
on_go_handshake(struct pt_regs *regs)
{
    __u32 pid = bpf_get_current_pid_tgid() >> 32;
    struct go_frame frame = {.goroutine = regs->r14, .pid = pid};
    __u64 conn = regs->rax;
    if (!is_left_alone(pid)) {
        bpf_map_update_elem(&go_handshakes, &frame, &conn, BPF_ANY);
    }
    return 0;
}

/* No name of a host has a colon, or ends in a digit as an IPv4 address does. */
static __always_inline int
go_is_address(const char *name, __u32 bytes)
{
    for (__u32 i = 0; i < NS_RECORD_NAME_BYTES && i < bytes; i++) {
        if (name[i] == ':') {
            return 1;
        }
    }
    char last = name[(bytes - 1) & (NS_RECORD_NAME_BYTES - 1)];
    return last >= '0' && last <= '9';
}

/* The name that goes into a client's first message, before it is looked whether it is an address.
 */
SEC("uprobe")
int
on_go_name(struct pt_regs *regs)
{
    __u64 id = bpf_get_current_pid_tgid();
    struct go_frame frame = {.goroutine = regs->r14, .pid = id >> 32};
    const __u64 *conn = bpf_map_lookup_elem(&go_handshakes, &frame);
    if (conn == NULL) {
        return 0;
    }
    struct place place = {.ssl = *conn, .pid = frame.pid};
    bpf_map_delete_elem(&go_handshakes, &frame);
    struct {
        struct ns_record head;
        char name[NS_RECORD_NAME_BYTES];
    } *record = bpf_ringbuf_reserve(&records, sizeof *record, 0);
    if (record == NULL) {
        drop(frame.pid, new_connection(&place, 1).number, NS_RECORD_NAME_BYTES);
        return 0;
    }
    __u32 bytes = regs->rbx < NS_RECORD_NAME_BYTES ? (__u32)regs->rbx : 0;
    bytes &= NS_RECORD_NAME_BYTES - 1;
    __builtin_memset(record, 0, sizeof *record);
    if (bytes == 0 || bpf_probe_read_user(record->name, bytes, (const void *)regs->rax) != 0 ||
        go_is_address(record->name, bytes)) {
        bpf_ringbuf_discard(record, 0);
        new_connection(&place, 0);
        return 0;
    }
    record->head.kind = NS_RECORD_NAME;
    record->head.pid = frame.pid;
    record->head.tid = (__u32)id;
    record->head.connection = new_connection(&place, 1).number;
    record->head.bytes = bytes + 1;
    record->head.undecided = 1;
    bpf_ringbuf_submit(record, 0);
    return 0;
}

SEC("uprobe")
int
on_go_close(struct pt_regs *regs)
{
    end_connection(regs->rax);
    return 0;
}

/* Does a client's request begin here? What a server writes begins otherwise. */
static __always_inline int
go_requests(__u64 bytes)
{
    static const char methods[][5] = {"POST", "PRI ", "GET ", "PUT ",
                                      "PATC", "DELE", "HEAD", "OPTI"};
    char begins[4];
    int found = 0;
    if (bpf_probe_read_user(begins, sizeof begins, (const void *)bytes) == 0) {
        for (__u32 i = 0; i < sizeof methods / sizeof methods[0]; i++) {
            found |= __builtin_memcmp(begins, methods[i], sizeof begins) == 0;
        }
    }
    return found;
}

/* A write takes all its bytes or is the connection's last, so that its return tells nothing. One of
 * a connection whose start was not seen is looked at where a request begins with it. */
SEC("uprobe")
int
on_go_write(struct pt_regs *regs)
{
    struct place place = {.ssl = regs->rax, .pid = bpf_get_current_pid_tgid() >> 32};
    __u64 count = regs->rcx;
    if (bpf_map_lookup_elem(&connections, &place) == NULL && !go_requests(regs->rbx)) {
        return 0;
    }
    __u64 connection = tell_write(regs->rax, regs->rbx, count);
    if (connection != 0) {
        tell_event(NS_RECORD_WRITTEN, connection, count > 0x7fffffff ? 0x7fffffff : (__u32)count);
    }
    return 0;
}

static __always_inline int
go_frame_of(const struct pt_regs *regs, struct go_frame *frame, struct go_stack *stack)
{
    *frame = (struct go_frame){.goroutine = regs->r14, .pid = bpf_get_current_pid_tgid() >> 32};
    int error = bpf_probe_read_user(stack, sizeof *stack, (const void *)frame->goroutine);
    frame->depth = stack->high - regs->rsp;
    return error;
}

SEC("uprobe")
int
on_go_read(struct pt_regs *regs)
{
    struct go_frame frame;
    struct go_stack stack;
    struct place place = {.ssl = regs->rax, .pid = bpf_get_current_pid_tgid() >> 32};
    const struct connection *connection = bpf_map_lookup_elem(&connections, &place);
    if (connection == NULL || state_of(connection) == NS_CONNECTION_IGNORED ||
        go_frame_of(regs, &frame, &stack) != 0) {
        return 0;
    }
    __u64 bytes = regs->rbx;
    struct go_read read = {.connection = connection->number,
                           .on_stack = bytes >= stack.low && bytes < stack.high};
    read.bytes = read.on_stack ? bytes - regs->rsp : bytes;
    bpf_map_update_elem(&go_reads, &frame, &read, BPF_ANY);
    return 0;
}

/* A read that had begun before its connection was known. Where the function keeps its arguments in
 * the places that the ABI has for them, behind the return address, they are still there. */
static __always_inline int
go_begun_before(const struct pt_regs *regs, __u32 pid, struct go_read *read)
{
    struct {
        __u64 conn, bytes;
    } kept;
    if (bpf_get_attach_cookie((void *)regs) != NS_GO_KEEPS_ARGUMENTS ||
        bpf_probe_read_user(&kept, sizeof kept, (const void *)(regs->rsp + 8)) != 0) {
        return -1;
    }
    struct place place = {.ssl = kept.conn, .pid = pid};
    const struct connection *connection = bpf_map_lookup_elem(&connections, &place);
    if (connection == NULL || state_of(connection) == NS_CONNECTION_IGNORED) {
        return -1;
    }
    *read = (struct go_read){.connection = connection->number, .bytes = kept.bytes};
    return 0;
}

/* At each return instruction: the stack pointer is what it was at the entry, in a stack that may be
 * another. */
SEC("uprobe")
int
on_go_have_read(struct pt_regs *regs)
{
    struct go_frame frame;
    struct go_stack stack;
    struct go_read read;
    __s64 count = (__s64)regs->rax;
    if (go_frame_of(regs, &frame, &stack) != 0) {
        return 0;
    }
    const struct go_read *found = bpf_map_lookup_elem(&go_reads, &frame);
    if (found != NULL) {
        read = *found;
        bpf_map_delete_elem(&go_reads, &frame);
    } else if (count <= 0 || go_begun_before(regs, frame.pid, &read) != 0) {
        return 0;
    }
    struct ns_record head = {.kind = NS_RECORD_READ,
                             .pid = frame.pid,
                             .tid = (__u32)bpf_get_current_pid_tgid(),
                             .connection = read.connection,
                             .from = read.on_stack ? regs->rsp + read.bytes : read.bytes,
                             .total = count > 0x7fffffff ? 0x7fffffff : (__u32)count};
    if (count > 0) {
        tell(&head);
    }
    return 0;
}

#endif
