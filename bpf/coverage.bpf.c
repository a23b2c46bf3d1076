/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's part of coverage: who begins TLS or QUIC, by what leaves, and how many bytes go over
 * those sockets. Packets are looked at as they leave (a program of the root control group, which is
 * every process's), so that it does not matter by which system call they were written; who wrote
 * them, and how much, is told by the tracepoints of sending and receiving.
 */
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/sight.h"

const char ns_license[] SEC("license") = "Dual BSD/GPL";

#define PASS 1
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define TCP 6
#define UDP 17
#define IPV4_BYTES_MIN 20
#define IPV6_BYTES 40
#define UDP_BYTES 8
#define QUIC_PORT 443

/* A hello that did not come whole is waited for so long. */
#define REST_NS 10000000000ULL

/* Of the kernel's own, as far as they are looked at. */
typedef struct {
    long long counter;
} atomic64_t;

struct sock_common {
    atomic64_t skc_cookie;
} __attribute__((preserve_access_index));

struct sock {
    struct sock_common __sk_common;
} __attribute__((preserve_access_index));

struct ns_common {
    unsigned int inum;
} __attribute__((preserve_access_index));

struct net {
    struct ns_common ns;
} __attribute__((preserve_access_index));

struct nsproxy {
    struct net *net_ns;
} __attribute__((preserve_access_index));

struct task_struct {
    struct nsproxy *nsproxy;
    struct task_struct *group_leader;
    unsigned long long start_boottime;
} __attribute__((preserve_access_index));

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4 << 20);
} sights SEC(".maps");

/* Sockets that began TLS or QUIC, by cookie. The agent takes out those that are of no interest. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 65536);
    __type(key, __u64);
    __type(value, struct ns_traffic);
} traffic SEC(".maps");

/* Sockets whose hello is being told: the TCP sequence number where it began. The agent takes out
 * those of which it knows enough. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, __u64);
    __type(value, __u32);
} hellos SEC(".maps");

/* Until then packets are looked at for the rest of some hello. */
__u64 rest_until_ns = 0;

/* What found no room. */
__u64 lost = 0;

/* --- what leaves ------------------------------------------------------------------------------ */

struct packet {
    __u32 protocol;
    __u32 transport; /* where its header begins */
    __u32 payload;   /* where the program's bytes begin */
    __u32 bytes;     /* of the program's */
    __u16 port;      /* of the receiver */
};

static __always_inline int
read_ip(struct __sk_buff *skb, struct packet *packet)
{
    __u8 byte = 0;
    if (skb->protocol == bpf_htons(ETHERTYPE_IPV4)) {
        if (bpf_skb_load_bytes(skb, 0, &byte, 1) != 0) {
            return -1;
        }
        packet->transport = (byte & 15) * 4;
        if (bpf_skb_load_bytes(skb, 9, &byte, 1) != 0) {
            return -1;
        }
    } else if (skb->protocol == bpf_htons(ETHERTYPE_IPV6)) {
        packet->transport = IPV6_BYTES;
        if (bpf_skb_load_bytes(skb, 6, &byte, 1) != 0) {
            return -1;
        }
    } else {
        return -1;
    }
    packet->protocol = byte;
    return packet->transport >= IPV4_BYTES_MIN ? 0 : -1;
}

static __always_inline int
read_packet(struct __sk_buff *skb, struct packet *packet)
{
    __u16 port = 0;
    __u8 byte = 0;
    if (read_ip(skb, packet) != 0 || (packet->protocol != TCP && packet->protocol != UDP) ||
        bpf_skb_load_bytes(skb, packet->transport + 2, &port, sizeof port) != 0) {
        return -1;
    }
    packet->port = bpf_ntohs(port);
    packet->payload = packet->transport + UDP_BYTES;
    if (packet->protocol == TCP) {
        if (bpf_skb_load_bytes(skb, packet->transport + 12, &byte, 1) != 0) {
            return -1;
        }
        packet->payload = packet->transport + (byte >> 4) * 4;
    }
    if (skb->len <= packet->payload) {
        return -1;
    }
    packet->bytes = skb->len - packet->payload;
    return 0;
}

static __always_inline void
tell(struct __sk_buff *skb, const struct packet *packet, __u32 kind, __u64 cookie, __u32 offset)
{
    struct {
        struct ns_sight head;
        __u8 bytes[NS_SIGHT_BYTES_MAX];
    } *sight = bpf_ringbuf_reserve(&sights, sizeof *sight, 0);
    if (sight == NULL) {
        __sync_fetch_and_add(&lost, 1);
        return;
    }
    __u64 count = packet->bytes < NS_SIGHT_BYTES_MAX ? packet->bytes : NS_SIGHT_BYTES_MAX;
    asm volatile("" : "+r"(count)); /* the verifier wants to see the bounds of this register */
    count = ((count - 1) & (NS_SIGHT_BYTES_MAX - 1)) + 1;
    sight->head = (struct ns_sight){
        .kind = kind, .bytes = count, .cookie = cookie, .offset = offset, .port = packet->port};
    if (bpf_skb_load_bytes(skb, packet->payload, sight->bytes, count) != 0) {
        bpf_ringbuf_discard(sight, 0);
        return;
    }
    bpf_ringbuf_submit(sight, 0);
}

static __always_inline void
begin(__u64 cookie)
{
    struct ns_traffic none = {0};
    bpf_map_update_elem(&traffic, &cookie, &none, BPF_NOEXIST);
}

enum begins { NOTHING, WHOLE_HELLO, PART_OF_HELLO };

/* Does this begin a record with a ClientHello, as far as it goes? */
static __always_inline enum begins
begins_hello(struct __sk_buff *skb, const struct packet *packet)
{
    __u8 head[9] = {0}; /* of the record: type, version, length; of the message: type, length */
    if (bpf_skb_load_bytes(skb, packet->payload, head, 1) != 0 || head[0] != 0x16) {
        return NOTHING;
    }
    if (packet->bytes < sizeof head) {
        return packet->bytes == 1 ||
                       (bpf_skb_load_bytes(skb, packet->payload, head, 2) == 0 && head[1] == 3)
                   ? PART_OF_HELLO
                   : NOTHING;
    }
    if (bpf_skb_load_bytes(skb, packet->payload, head, sizeof head) != 0 || head[1] != 3 ||
        head[5] != 1) {
        return NOTHING;
    }
    __u32 record = head[3] << 8 | head[4], message = head[6] << 16 | head[7] << 8 | head[8];
    return message + 4 <= record && record + 5 <= packet->bytes ? WHOLE_HELLO : PART_OF_HELLO;
}

static __always_inline void
look_at_tcp(struct __sk_buff *skb, const struct packet *packet)
{
    __u32 sequence = 0;
    enum begins begins = begins_hello(skb, packet);
    if (begins == NOTHING && (rest_until_ns == 0 || bpf_ktime_get_ns() > rest_until_ns)) {
        return;
    }
    bpf_skb_load_bytes(skb, packet->transport + 4, &sequence, sizeof sequence);
    sequence = bpf_ntohl(sequence);
    __u64 cookie = bpf_get_socket_cookie(skb);
    if (cookie == 0) {
        return;
    }
    if (begins != NOTHING && bpf_map_update_elem(&hellos, &cookie, &sequence, BPF_NOEXIST) == 0) {
        begin(cookie);
        if (begins == PART_OF_HELLO) {
            rest_until_ns = bpf_ktime_get_ns() + REST_NS;
        }
    }
    const __u32 *first = bpf_map_lookup_elem(&hellos, &cookie);
    if (first != NULL && sequence - *first < NS_SIGHT_BYTES_MAX) {
        tell(skb, packet, NS_SIGHT_TLS, cookie, sequence - *first);
    }
}

/* A long header of version 1, and an Initial: 1100xxxx. */
static __always_inline void
look_at_udp(struct __sk_buff *skb, const struct packet *packet)
{
    __u8 head[5] = {0};
    if (packet->port != QUIC_PORT || packet->bytes < 1200 ||
        bpf_skb_load_bytes(skb, packet->payload, head, sizeof head) != 0 ||
        (head[0] & 0xf0) != 0xc0 || head[1] != 0 || head[2] != 0 || head[3] != 0 || head[4] != 1) {
        return;
    }
    __u64 cookie = bpf_get_socket_cookie(skb);
    if (cookie != 0) {
        begin(cookie);
        tell(skb, packet, NS_SIGHT_QUIC, cookie, 0);
    }
}

SEC("cgroup_skb/egress")
int
on_egress(struct __sk_buff *skb)
{
    struct packet packet = {0};
    if (read_packet(skb, &packet) == 0) {
        if (packet.protocol == TCP) {
            look_at_tcp(skb, &packet);
        } else {
            look_at_udp(skb, &packet);
        }
    }
    return PASS;
}

/* --- whose it is, and how much ---------------------------------------------------------------- */

static __always_inline __u64
cookie_of(const void *socket)
{
    const struct sock *sock = socket;
    return (__u64)BPF_CORE_READ(sock, __sk_common.skc_cookie.counter);
}

static __always_inline void
tell_owner(__u64 cookie, struct ns_traffic *of)
{
    __u64 id = bpf_get_current_pid_tgid();
    struct task_struct *task = (struct task_struct *)bpf_get_current_task();
    struct ns_sight *sight = bpf_ringbuf_reserve(&sights, sizeof *sight, 0);
    if (sight == NULL) {
        __sync_fetch_and_add(&lost, 1);
        return; /* the next write tells */
    }
    of->pid = id >> 32;
    *sight = (struct ns_sight){.kind = NS_SIGHT_OWNER, .cookie = cookie, .pid = id >> 32};
    sight->uid = (__u32)bpf_get_current_uid_gid();
    sight->network = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
    sight->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
    bpf_get_current_comm(sight->name, sizeof sight->name);
    bpf_ringbuf_submit(sight, 0);
}

static __always_inline void
count(const void *socket, int sent, int received)
{
    __u64 cookie = cookie_of(socket);
    struct ns_traffic *of = cookie == 0 ? NULL : bpf_map_lookup_elem(&traffic, &cookie);
    if (of == NULL) {
        return;
    }
    if (sent > 0) {
        __sync_fetch_and_add(&of->sent, sent);
    }
    if (received > 0) {
        __sync_fetch_and_add(&of->received, received);
    }
    if (of->pid == 0) {
        tell_owner(cookie, of);
    }
}

SEC("raw_tp/sock_send_length")
int
on_sent(struct bpf_raw_tracepoint_args *arguments)
{
    int bytes = (int)arguments->args[1];
    if (bytes > 0) {
        count((const void *)arguments->args[0], bytes, 0);
    }
    return 0;
}

SEC("raw_tp/sock_recv_length")
int
on_received(struct bpf_raw_tracepoint_args *arguments)
{
    int bytes = (int)arguments->args[1];
    if (bytes > 0) {
        count((const void *)arguments->args[0], 0, bytes);
    }
    return 0;
}

SEC("raw_tp/tcp_destroy_sock")
int
on_destroy(struct bpf_raw_tracepoint_args *arguments)
{
    __u64 cookie = cookie_of((const void *)arguments->args[0]);
    const struct ns_traffic *of = cookie == 0 ? NULL : bpf_map_lookup_elem(&traffic, &cookie);
    if (of == NULL) {
        return 0;
    }
    struct ns_sight *sight = bpf_ringbuf_reserve(&sights, sizeof *sight, 0);
    if (sight != NULL) {
        *sight = (struct ns_sight){
            .kind = NS_SIGHT_END, .cookie = cookie, .sent = of->sent, .received = of->received};
        bpf_ringbuf_submit(sight, 0);
    } else {
        __sync_fetch_and_add(&lost, 1);
    }
    bpf_map_delete_elem(&traffic, &cookie);
    bpf_map_delete_elem(&hellos, &cookie);
    return 0;
}
