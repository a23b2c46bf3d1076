/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who speaks: connections that said hello, and the processes behind them.
 *
 * Over ipc a process is what the kernel says of the socket's peer (pid) and what /proc says of that
 * pid (start time, executable, cgroup); what the hello says counts only where the kernel tells
 * nothing. A process is watched by a pidfd; where none can be had, by asking /proc every second.
 * Over tcp it is what its hello says, and lives as long as one of its connections.
 *
 * A process that is gone is `due` when nothing of it can still arrive: all its connections are
 * closed and read to their end, or a grace has passed.
 *
 * One thread (the gate's).
 */
#ifndef NS_COLLECTOR_PEER_H
#define NS_COLLECTOR_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/unseen.h"
#include "collector/ledger.h"
#include "collector/record.h"
#include "protocol/protocol.h"

#define NS_PEER_NONE UINT32_MAX

/* Bits of ns_owner.a. */
#define NS_OWNER_REMOTE (UINT64_C(1) << 63)

struct ns_process {
    struct ns_owner owner;
    bool used;
    bool remote;
    bool dead; /* its pidfd fired, or /proc no longer has it */
    uint32_t pid;
    uint32_t uid;         /* UINT32_MAX: not known */
    uint64_t start_ticks; /* 0: not known */
    int pidfd;            /* -1: none */
    uint32_t connections;
    int64_t due_at_ns; /* CLOCK_MONOTONIC; INT64_MAX: alive */
    char name[64];
    char hostname[64];
    char executable[256];
    char cgroup[256];
    /* What it told last of what passed unseen, and since when it counts. */
    int64_t unseen_since_ns;
    uint64_t unseen[NS_UNSEEN_COUNT];
};

struct ns_peer {
    bool used;
    bool closing;     /* disconnected; what it sent is still being read */
    uint8_t source;   /* enum ns_source */
    uint8_t socket;   /* the listener group it came by */
    uint32_t routing; /* libzmq's routing id within that socket */
    uint32_t process;
    int fd; /* libzmq's descriptor, by which its end is known */
};

/* What the transport tells of a message. */
struct ns_peer_address {
    uint8_t socket;
    uint32_t routing;
    int fd;
    bool local;    /* ipc: uid and pid are the kernel's */
    bool loopback; /* tcp from this host */
    uint32_t uid;
    uint32_t pid;
};

/* Reads libzmq's "Peer-Address" property (4.3: "HOST:UID:GID:PID" over ipc, the numeric address
 * over tcp). local says which transport the socket has, so that no address can pass for another's
 * credentials. Returns false where it is of neither form. */
bool ns_peer_address_read(const char *property, bool local, struct ns_peer_address *address);

struct ns_peers;

/* epoll_fd: pidfds are added to it with data.u64 = event_tag << 32 | process. hash_key makes the
 * owners of remote processes. NULL without memory. */
struct ns_peers *ns_peers_new(int epoll_fd, uint32_t event_tag, const uint8_t hash_key[static 16]);
void ns_peers_free(struct ns_peers *peers);

struct ns_peer *ns_peers_find(struct ns_peers *peers, uint8_t socket, uint32_t routing);
struct ns_process *ns_peers_process(struct ns_peers *peers, const struct ns_peer *peer);

/* The process of this host with this pid and start time, if it said hello; or NULL. */
const struct ns_process *ns_peers_known(const struct ns_peers *peers, uint32_t pid,
                                        uint64_t start_ticks);

/* A hello from this address. Returns 0 and *peer, -ENOSPC where a bound is reached, -ENOMEM. */
int ns_peers_hello(struct ns_peers *peers, const struct ns_peer_address *address,
                   const struct ns_hello *hello, int64_t monotonic_ns, struct ns_peer **peer);

/* libzmq says that a connection with this descriptor began, or ended. A hello must be given after
 * all that libzmq said before it came, since descriptors are used again at once. */
void ns_peers_connected(struct ns_peers *peers, int fd);
void ns_peers_disconnected(struct ns_peers *peers, int fd);

/* All that arrived before the disconnections known so far has been read. */
void ns_peers_reap(struct ns_peers *peers, int64_t monotonic_ns);

/* The pidfd of a process is readable (epoll's data). */
void ns_peers_died(struct ns_peers *peers, uint32_t process, int64_t monotonic_ns);

/* A message came from a process already declared gone: its holds will be lost again. */
void ns_peers_spoke_after_death(struct ns_process *process, int64_t monotonic_ns);

/* An owner of open holds that the journal remembers: watched again, or due where it is gone. */
int ns_peers_adopt(struct ns_peers *peers, const struct ns_owner *owner, int64_t monotonic_ns);

/* Once a second: asks /proc for processes without a pidfd. */
void ns_peers_watch(struct ns_peers *peers, int64_t monotonic_ns);

/* Takes one process that is due: its owner is gone. Returns false where none is. */
bool ns_peers_take_due(struct ns_peers *peers, int64_t monotonic_ns, struct ns_owner *owner);

/* Whether a process waits for its end, so that the loop should look again soon. */
bool ns_peers_waiting(const struct ns_peers *peers);

size_t ns_peers_count(const struct ns_peers *peers);
size_t ns_peers_process_count(const struct ns_peers *peers);
uint64_t ns_peers_mismatches(const struct ns_peers *peers); /* hellos of another pid or start */

/* As a journal record has it; texts live as long as the process. */
void ns_process_record(const struct ns_process *process, uint8_t source,
                       struct ns_record_peer *record);

/* /proc/PID/stat field 22 of a process that is no zombie, or 0. */
uint64_t ns_process_start_ticks(uint32_t pid);

#endif
