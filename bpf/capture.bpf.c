/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's part: what programs write to and read from OpenSSL, in order, without loss or with
 * the loss counted. Attached by file, so that every process that has it mapped comes here; what is
 * of no interest leaves after one look-up.
 */
#include <linux/bpf.h>
#include <linux/ptrace.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "bpf/record.h"

const char ns_license[] SEC("license") = "Dual BSD/GPL";

#define SIGCONT 18
#define SIGSTOP 19
#define STOP_PENDING (1UL << 17) /* of task_struct.jobctl */
#define SET_SERVER_NAME 55       /* SSL_CTRL_SET_TLSEXT_HOSTNAME */

/* Of the kernel's own, as far as they are looked at. */
struct ns_common {
    unsigned int inum;
} __attribute__((preserve_access_index));

struct net {
    struct ns_common ns;
} __attribute__((preserve_access_index));

struct nsproxy {
    struct net *net_ns;
} __attribute__((preserve_access_index));

struct tty_struct;

typedef struct {
    unsigned long sig[1];
} sigset_t;

struct sigpending {
    sigset_t signal;
} __attribute__((preserve_access_index));

struct pid;

struct files_struct;

enum { PIDTYPE_PGID = 2, PIDTYPE_SID };

struct signal_struct {
    struct sigpending shared_pending;
    struct pid *pids[4];
    struct tty_struct *tty;
} __attribute__((preserve_access_index));

struct task_struct {
    unsigned int ptrace;
    unsigned long jobctl;
    int tgid;
    struct nsproxy *nsproxy;
    struct task_struct *real_parent;
    struct signal_struct *signal;
    struct files_struct *files;
} __attribute__((preserve_access_index));

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 16 << 20);
} records SEC(".maps");

/* A connection has a number of its own, for the address of its SSL* may be another one's next. */
struct place {
    __u64 ssl;
    __u32 pid;
    __u32 zero;
};

struct connection {
    __u64 number;
    __u64 named; /* it is a client's that has named its server */
};

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 65536);
    __type(key, struct place);
    __type(value, struct connection);
} connections SEC(".maps");

/* What the agent says they are, by their number: enum ns_connection_state. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 65536);
    __type(key, __u64);
    __type(value, __u32);
} decisions SEC(".maps");

/* Processes that something else governs, or the agent's own: nothing of them is told. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 65536);
    __type(key, __u32);
    __type(value, __u32);
} left_alone SEC(".maps");

/* Processes that have a connection: their end is told. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 65536);
    __type(key, __u32);
    __type(value, __u32);
} known SEC(".maps");

/* Processes that were stopped here and not let go yet. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 65536);
    __type(key, __u32);
    __type(value, struct ns_stop);
} stopped SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 4096);
    __type(key, __u32);
    __type(value, struct ns_drops);
} drops SEC(".maps");

/* Connections of which something could not be told, and the agent does not know yet. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 65536);
    __type(key, __u64);
    __type(value, __u32);
} lost SEC(".maps");

/* A call of OpenSSL that a thread is in. */
struct inside {
    __u64 connection;
    __u64 bytes;
    __u64 count_at; /* of the _ex forms: where they say how many; 0 for the others */
    __u64 stack;    /* where that thread's stack was */
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 65536);
    __type(key, __u64);
    __type(value, struct inside);
} reads SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 65536);
    __type(key, __u64);
    __type(value, struct inside);
} writes SEC(".maps");

/* Of the connection that came last. */
__u64 last_number = 0;

/* Set by the agent: writes to providers wait for it. */
__u32 stops = 0;

/* Likewise: the network name space of which alone processes are looked at, by its inode; 0: all. */
__u32 only_network = 0;

/* --- telling -------------------------------------------------------------------------------- */

static __always_inline void
drop(__u32 pid, __u64 connection, __u32 bytes)
{
    struct ns_drops none = {0};
    __u32 one = 1;
    bpf_map_update_elem(&lost, &connection, &one, BPF_ANY);
    struct ns_drops *known_drops = bpf_map_lookup_elem(&drops, &pid);
    if (known_drops == NULL) {
        bpf_map_update_elem(&drops, &pid, &none, BPF_NOEXIST);
        known_drops = bpf_map_lookup_elem(&drops, &pid);
    }
    if (known_drops != NULL) {
        __sync_fetch_and_add(&known_drops->records, 1);
        __sync_fetch_and_add(&known_drops->bytes, bytes);
    }
}

/* A slice of a record must have a constant size: any length is a sum of these. */
#define COPY_PIECE(size)                                                                           \
    if ((count & (size)) != 0) {                                                                   \
        void *to = bpf_dynptr_data(record, at, (size));                                            \
        if (to == NULL || bpf_probe_read_user(to, (size), from) != 0) {                            \
            return -1;                                                                             \
        }                                                                                          \
        at += (size);                                                                              \
        from += (size);                                                                            \
    }

static __always_inline int
copy_user(struct bpf_dynptr *record, __u32 at, const char *from, __u32 count)
{
    COPY_PIECE(16384)
    COPY_PIECE(8192)
    COPY_PIECE(4096)
    COPY_PIECE(2048)
    COPY_PIECE(1024)
    COPY_PIECE(512)
    COPY_PIECE(256)
    COPY_PIECE(128)
    COPY_PIECE(64)
    COPY_PIECE(32)
    COPY_PIECE(16)
    COPY_PIECE(8)
    COPY_PIECE(4)
    COPY_PIECE(2)
    COPY_PIECE(1)
    return 0;
}

/* One record with its bytes, in a place of just their size. */
static __always_inline int
tell_one(const struct ns_record *head)
{
    struct bpf_dynptr record;
    int error = bpf_ringbuf_reserve_dynptr(&records, sizeof *head + head->bytes, 0, &record);
    if (error == 0) {
        error = bpf_dynptr_write(&record, 0, (void *)head, sizeof *head, 0);
    }
    if (error == 0) {
        const char *from = (const char *)(head->from + head->offset);
        error = copy_user(&record, sizeof *head, from, head->bytes);
    }
    if (error == 0) {
        bpf_ringbuf_submit_dynptr(&record, 0);
        if (head->lost) {
            bpf_map_delete_elem(&lost, &head->connection);
        }
    } else {
        bpf_ringbuf_discard_dynptr(&record, 0);
        drop(head->pid, head->connection, head->bytes);
    }
    return error;
}

static long
tell_next(__u32 index, void *context)
{
    struct ns_record *head = context;
    (void)index;
    __u32 left = head->total - head->offset;
    head->bytes = left < NS_RECORD_BYTES_MAX ? left : NS_RECORD_BYTES_MAX;
    if (tell_one(head) != 0) {
        return 1;
    }
    head->offset += head->bytes;
    head->lost = 0; /* it is told once */
    return head->offset >= head->total;
}

/* All bytes of a call, from head->from on. Returns whether they all found room. */
static __always_inline int
tell(struct ns_record *head)
{
    head->lost = bpf_map_lookup_elem(&lost, &head->connection) != NULL;
    bpf_loop(NS_RECORDS_A_CALL_MAX, tell_next, head, 0);
    return head->offset >= head->total;
}

/* A record without bytes. */
static __always_inline void
tell_event(__u32 kind, __u64 connection, __u32 total)
{
    __u64 id = bpf_get_current_pid_tgid();
    struct ns_record head = {
        .kind = kind, .pid = id >> 32, .tid = (__u32)id, .connection = connection, .total = total};
    struct ns_record *record = bpf_ringbuf_reserve(&records, sizeof head, 0);
    if (record == NULL) {
        drop(head.pid, connection, 0);
        return;
    }
    *record = head;
    bpf_ringbuf_submit(record, 0);
}

/* --- which connections ------------------------------------------------------------------------ */

static __always_inline int
is_left_alone(__u32 pid)
{
    if (bpf_map_lookup_elem(&left_alone, &pid) != NULL) {
        return 1;
    }
    if (only_network == 0) {
        return 0;
    }
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    return BPF_CORE_READ(task, nsproxy, net_ns, ns.inum) != only_network;
}

static __always_inline __u32
state_of(const struct connection *connection)
{
    const __u32 *state = bpf_map_lookup_elem(&decisions, &connection->number);
    return state == NULL ? NS_CONNECTION_UNDECIDED : *state;
}

/* One that nobody has looked at. What had the same address is over. */
static __always_inline struct connection
new_connection(const struct place *place, __u64 named)
{
    struct connection connection = {.number = __sync_fetch_and_add(&last_number, 1) + 1,
                                    .named = named};
    const struct connection *former = bpf_map_lookup_elem(&connections, place);
    if (former != NULL) {
        tell_event(NS_RECORD_END, former->number, 0);
    }
    bpf_map_update_elem(&connections, place, &connection, BPF_ANY);
    return connection;
}

/* A client names the server of a connection, which begins with that. bytes: without a NUL, or 0
 * where one ends it. */
static __always_inline int
begin_named(__u64 ssl, __u64 name, __u64 bytes)
{
    __u64 id = bpf_get_current_pid_tgid();
    __u32 pid = id >> 32;
    if (name == 0 || is_left_alone(pid)) {
        return 0;
    }
    struct place place = {.ssl = ssl, .pid = pid};
    struct connection connection = new_connection(&place, 1);
    struct {
        struct ns_record head;
        char name[NS_RECORD_NAME_BYTES];
    } *record = bpf_ringbuf_reserve(&records, sizeof *record, 0);
    if (record == NULL) {
        drop(pid, connection.number, NS_RECORD_NAME_BYTES);
        return 0;
    }
    record->head = (struct ns_record){.kind = NS_RECORD_NAME,
                                      .pid = pid,
                                      .tid = (__u32)id,
                                      .connection = connection.number,
                                      .undecided = 1};
    __u32 size = bytes == 0 || bytes >= sizeof record->name ? sizeof record->name : bytes + 1;
    long got = bpf_probe_read_user_str(record->name, size, (const void *)name);
    record->head.bytes = got > 0 ? (__u32)got : 0;
    bpf_ringbuf_submit(record, 0);
    return 0;
}

SEC("uprobe")
int
on_ctrl(struct pt_regs *regs)
{
    if ((__u32)PT_REGS_PARM2(regs) != SET_SERVER_NAME) {
        return 0;
    }
    return begin_named(PT_REGS_PARM1(regs), PT_REGS_PARM4(regs), 0);
}

SEC("uprobe")
int
on_name(struct pt_regs *regs)
{
    return begin_named(PT_REGS_PARM1(regs), PT_REGS_PARM2(regs), 0);
}

SEC("uprobe")
int
on_name_sized(struct pt_regs *regs)
{
    return begin_named(PT_REGS_PARM1(regs), PT_REGS_PARM3(regs), PT_REGS_PARM4(regs));
}

/* A descriptor becomes TLS: it is known from here on, as no other is. */
SEC("uprobe")
int
on_import(struct pt_regs *regs)
{
    __u32 pid = bpf_get_current_pid_tgid() >> 32;
    struct place place = {.ssl = PT_REGS_PARM2(regs), .pid = pid};
    if (!is_left_alone(pid)) {
        new_connection(&place, 0);
    }
    return 0;
}

/* What was at this address is over. */
static __always_inline void
end_connection(__u64 ssl)
{
    struct place place = {.ssl = ssl, .pid = bpf_get_current_pid_tgid() >> 32};
    const struct connection *connection = bpf_map_lookup_elem(&connections, &place);
    if (connection != NULL) {
        __u64 number = connection->number;
        if (state_of(connection) != NS_CONNECTION_IGNORED) {
            tell_event(NS_RECORD_END, number, 0);
        }
        bpf_map_delete_elem(&decisions, &number);
        bpf_map_delete_elem(&connections, &place);
    }
}

SEC("uprobe")
int
on_free(struct pt_regs *regs)
{
    end_connection(PT_REGS_PARM1(regs));
    return 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Do these bytes begin what a client asks for: a POST, or HTTP/2's preface? */
static __always_inline int
asks(__u64 bytes)
{
    static const char post[4] = "POST", preface[4] = "PRI ";
    char begins[4];
    return bpf_probe_read_user(begins, sizeof begins, (const void *)bytes) == 0 &&
           (__builtin_memcmp(begins, post, sizeof begins) == 0 ||
            __builtin_memcmp(begins, preface, sizeof begins) == 0);
}

/* Somebody else's stop that is on its way: the signal, or 0. */
static __always_inline __u32
is_stopping(struct task_struct *task)
{
    return (BPF_CORE_READ(task, jobctl) & STOP_PENDING) != 0 ||
                   (BPF_CORE_READ(task, signal, shared_pending.signal.sig[0]) &
                    1UL << (SIGSTOP - 1)) != 0
               ? SIGSTOP
               : 0;
}

/* A shell with job control puts each job into a process group of its own, and would take one that
 * stops for suspended: it would take the terminal away from it. */
static __always_inline int
is_job(struct task_struct *task)
{
    struct task_struct *parent = BPF_CORE_READ(task, real_parent);
    return BPF_CORE_READ(task, signal, tty) != NULL &&
           BPF_CORE_READ(task, signal, pids[PIDTYPE_SID]) ==
               BPF_CORE_READ(parent, signal, pids[PIDTYPE_SID]) &&
           BPF_CORE_READ(task, signal, pids[PIDTYPE_PGID]) !=
               BPF_CORE_READ(parent, signal, pids[PIDTYPE_PGID]);
}

/* A process stops where it is about to run on in its own code, unless somebody traces it, who would
 * see the signal in its stead, or it is a shell's job. */
static __always_inline __u32
stop_process(__u32 pid)
{
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    if (BPF_CORE_READ(task, ptrace) != 0 || is_job(task)) {
        return 0;
    }
    struct ns_stop none = {.since_ns = bpf_ktime_get_ns(), .by_others = is_stopping(task)};
    bpf_map_update_elem(&stopped, &pid, &none, BPF_NOEXIST);
    struct ns_stop *stop = bpf_map_lookup_elem(&stopped, &pid);
    if (stop == NULL) {
        return 0; /* who could not be let go again must not be stopped */
    }
    __sync_fetch_and_add(&stop->count, 1);
    /* To the thread itself: a second one for the process would be merged with the first, which
     * another thread has not come to take yet, and this one would go on meanwhile. */
    return bpf_send_signal_thread(SIGSTOP) == 0;
}

/* The process stops before the first instruction of a write that the agent must see first. A
 * connection that is undecided may be to a provider: the agent is about to say. */
static __always_inline __u32
stop(__u32 pid, const struct connection *connection, __u32 state, __u64 bytes)
{
    if (stops == 0 || (state == NS_CONNECTION_UNDECIDED && !connection->named && !asks(bytes))) {
        return 0;
    }
    return stop_process(pid);
}

/* Does a function that is probed call another one with the same bytes? Then it has been told. One
 * that the thread has left in no usual way is no such one: its stack has gone further up since. */
static __always_inline int
is_nested(const struct inside *outer, struct pt_regs *regs)
{
    return outer != NULL && outer->bytes == PT_REGS_PARM2(regs) && PT_REGS_SP(regs) < outer->stack;
}

/* Bytes that are about to be written. Returns the number of their connection, 0 where nothing of it
 * is told. */
static __always_inline __u64
tell_write(__u64 ssl, __u64 bytes, __u64 count)
{
    __u64 id = bpf_get_current_pid_tgid();
    __u32 pid = id >> 32;
    if (count == 0 || is_left_alone(pid)) {
        return 0;
    }
    struct place place = {.ssl = ssl, .pid = pid};
    const struct connection *known_one = bpf_map_lookup_elem(&connections, &place);
    struct connection connection = known_one != NULL ? *known_one : new_connection(&place, 0);
    __u32 state = state_of(&connection);
    if (state == NS_CONNECTION_IGNORED) {
        return 0;
    }
    __u32 one = 1;
    bpf_map_update_elem(&known, &pid, &one, BPF_ANY);
    struct ns_record head = {.kind = NS_RECORD_WRITE,
                             .pid = pid,
                             .tid = (__u32)id,
                             .connection = connection.number,
                             .from = bytes,
                             .total = count > 0x7fffffff ? 0x7fffffff : (__u32)count,
                             .undecided = state == NS_CONNECTION_UNDECIDED};
    head.stopped = stop(pid, &connection, state, bytes);
    if (!tell(&head) && head.stopped) {
        /* The agent does not see its end: it would not let go. */
        bpf_map_delete_elem(&stopped, &pid);
        bpf_send_signal(SIGCONT);
    }
    return connection.number;
}

/* Returns whether the end of the call is of interest. */
static __always_inline int
begin_write(struct pt_regs *regs, __u64 count, __u64 count_at)
{
    __u64 id = bpf_get_current_pid_tgid();
    struct inside inside = {
        .bytes = PT_REGS_PARM2(regs), .count_at = count_at, .stack = PT_REGS_SP(regs)};
    if (is_nested(bpf_map_lookup_elem(&writes, &id), regs)) {
        return 0;
    }
    inside.connection = tell_write(PT_REGS_PARM1(regs), inside.bytes, count);
    if (inside.connection == 0) {
        return 0;
    }
    bpf_map_update_elem(&writes, &id, &inside, BPF_ANY);
    return 1;
}

static __always_inline int
begin_plain_write(struct pt_regs *regs)
{
    int count = (int)PT_REGS_PARM3(regs);
    return begin_write(regs, count > 0 ? (__u64)count : 0, 0);
}

static __always_inline int
begin_write_ex(struct pt_regs *regs)
{
    return begin_write(regs, PT_REGS_PARM3(regs), PT_REGS_PARM4(regs));
}

static __always_inline int
begin_write_sized(struct pt_regs *regs)
{
    return begin_write(regs, PT_REGS_PARM3(regs), 0);
}

/* A function for descriptors of every kind: most are none of those that are known. */
static __always_inline int
begin_write_known(struct pt_regs *regs)
{
    struct place place = {.ssl = PT_REGS_PARM1(regs), .pid = bpf_get_current_pid_tgid() >> 32};
    return bpf_map_lookup_elem(&connections, &place) != NULL && begin_plain_write(regs);
}

/* How many bytes a call took or brought. */
static __always_inline __u32
count_of(const struct inside *inside, int result)
{
    __u64 count = 0;
    if (result <= 0) {
        return 0;
    }
    if (inside->count_at == 0) {
        return (__u32)result;
    }
    bpf_probe_read_user(&count, sizeof count, (const void *)inside->count_at);
    return (__u32)count;
}

static __always_inline int
end_write(struct pt_regs *regs)
{
    __u64 id = bpf_get_current_pid_tgid();
    const struct inside *found = bpf_map_lookup_elem(&writes, &id);
    if (found == NULL) {
        return 0;
    }
    struct inside inside = *found;
    bpf_map_delete_elem(&writes, &id);
    tell_event(NS_RECORD_WRITTEN, inside.connection, count_of(&inside, (int)PT_REGS_RC(regs)));
    return 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Returns whether the end of the call is of interest. */
static __always_inline int
begin_read(struct pt_regs *regs, __u64 count_at)
{
    __u64 id = bpf_get_current_pid_tgid();
    struct place place = {.ssl = PT_REGS_PARM1(regs), .pid = id >> 32};
    const struct connection *connection = bpf_map_lookup_elem(&connections, &place);
    if (connection == NULL || state_of(connection) == NS_CONNECTION_IGNORED ||
        is_nested(bpf_map_lookup_elem(&reads, &id), regs)) {
        return 0;
    }
    struct inside inside = {.connection = connection->number,
                            .bytes = PT_REGS_PARM2(regs),
                            .count_at = count_at,
                            .stack = PT_REGS_SP(regs)};
    bpf_map_update_elem(&reads, &id, &inside, BPF_ANY);
    return 1;
}

static __always_inline int
begin_plain_read(struct pt_regs *regs)
{
    return begin_read(regs, 0);
}

static __always_inline int
begin_read_ex(struct pt_regs *regs)
{
    return begin_read(regs, PT_REGS_PARM4(regs));
}

static __always_inline int
end_read(struct pt_regs *regs)
{
    __u64 id = bpf_get_current_pid_tgid();
    const struct inside *found = bpf_map_lookup_elem(&reads, &id);
    if (found == NULL) {
        return 0;
    }
    struct inside inside = *found;
    bpf_map_delete_elem(&reads, &id);
    struct ns_record head = {.kind = NS_RECORD_READ,
                             .pid = id >> 32,
                             .tid = (__u32)id,
                             .connection = inside.connection,
                             .from = inside.bytes,
                             .total = count_of(&inside, (int)PT_REGS_RC(regs))};
    if (head.total > 0) {
        tell(&head);
    }
    return 0;
}

/* --- both ends of a call -----------------------------------------------------------------------
 */

SEC("uretprobe")
int
on_written(struct pt_regs *regs)
{
    return end_write(regs);
}

SEC("uretprobe")
int
on_have_read(struct pt_regs *regs)
{
    return end_read(regs);
}

/* A function is entered where its probe stands, and comes back elsewhere. */
static __always_inline int
is_return(struct pt_regs *regs)
{
    return PT_REGS_IP(regs) != bpf_get_func_ip(regs);
}

/* Two programs for one kind of function: on_* at its entry, beside which another one stands at
 * every return; around_* at its entry and, if that says 0, at that call's return. */
#define CALL(kind, begin, end)                                                                     \
    SEC("uprobe") int on_##kind(struct pt_regs *regs)                                              \
    {                                                                                              \
        begin(regs);                                                                               \
        return 0;                                                                                  \
    }                                                                                              \
    SEC("uprobe") int around_##kind(struct pt_regs *regs)                                          \
    {                                                                                              \
        return is_return(regs) ? end(regs) : !begin(regs);                                         \
    }

CALL(write, begin_plain_write, end_write)
CALL(write_ex, begin_write_ex, end_write)
CALL(write_sized, begin_write_sized, end_write)
CALL(write_known, begin_write_known, end_write)
CALL(read, begin_plain_read, end_read)
CALL(read_ex, begin_read_ex, end_read)

/* --- the end of a process ----------------------------------------------------------------------
 */

SEC("raw_tp/sched_process_exit")
int
on_exit(void *context)
{
    __u64 id = bpf_get_current_pid_tgid();
    __u32 pid = id >> 32;
    (void)context;
    bpf_map_delete_elem(&reads, &id);
    bpf_map_delete_elem(&writes, &id);
    if (pid != (__u32)id || bpf_map_lookup_elem(&known, &pid) == NULL) {
        return 0; /* a thread, or none of ours */
    }
    bpf_map_delete_elem(&known, &pid);
    bpf_map_delete_elem(&stopped, &pid);
    tell_event(NS_RECORD_EXIT, 0, 0);
    return 0;
}

/* --- the other parts ---------------------------------------------------------------------------
 */

#include "bpf/capture_files.bpf.h"
#include "bpf/capture_go.bpf.h"
#include "bpf/capture_signals.bpf.h"
