/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/peer.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/hash.h"
#include "collector/buffer.h"
#include "collector/index.h"
#include "collector/limits.h"

#define NEVER INT64_MAX
/* In by_fd: the connection has ended, and no other has the descriptor yet. */
#define FD_ENDED (NS_INDEX_NONE - 1)

struct ns_peers {
    struct ns_peer peer[NS_PEERS_MAX];
    struct ns_process *process[NS_PROCESSES_MAX];
    uint32_t peers_used, processes_used; /* places ever used */
    uint32_t peers_free[NS_PEERS_MAX], processes_free[NS_PROCESSES_MAX];
    uint32_t peers_free_count, processes_free_count;
    uint32_t peer_count, process_count;
    uint32_t closing;   /* peers */
    uint32_t waiting;   /* processes with a due time */
    uint32_t unwatched; /* local processes without a pidfd */
    uint64_t mismatches;
    struct ns_index by_routing, by_owner;
    uint32_t *by_fd; /* places of peers */
    size_t by_fd_room;
    int epoll_fd;
    uint32_t event_tag;
    uint64_t boot; /* 16 bits: tells a pid's life before a reboot from one after */
    uint8_t hash_key[16];
    char hostname[64];
};

/* --- what the kernel tells -------------------------------------------------------------------- */

/* Decimal digits only, ending at the colon or the end. */
static bool
read_number(const char *text, size_t bytes, uint32_t *number)
{
    uint64_t value = 0;
    if (bytes == 0 || bytes > 10) {
        return false;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (!isdigit((unsigned char)text[i])) {
            return false;
        }
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *number = (uint32_t)value;
    return value <= UINT32_MAX;
}

bool
ns_peer_address_read(const char *property, bool local, struct ns_peer_address *address)
{
    address->local = false;
    address->loopback = false;
    address->uid = UINT32_MAX;
    address->pid = 0;
    if (property == NULL) {
        return false;
    }
    if (!local) {
        address->loopback = strncmp(property, "127.", 4) == 0 || strcmp(property, "::1") == 0 ||
                            strncmp(property, "::ffff:127.", 11) == 0;
        return true;
    }
    uint32_t number[3];
    size_t end = strlen(property);
    for (int field = 2; field >= 0; field--) {
        size_t start = end;
        while (start > 0 && property[start - 1] != ':') {
            start--;
        }
        if (start == 0 || !read_number(property + start, end - start, &number[field])) {
            return false;
        }
        end = start - 1;
    }
    address->local = true;
    address->uid = number[0];
    address->pid = number[2];
    return true;
}

/* Reads a small file of /proc. Returns its bytes, NUL-terminated, 0 where it cannot be read. */
static size_t
read_proc(uint32_t pid, const char *name, char *into, size_t room)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%u/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? 0 : read(fd, into, room - 1);
    if (fd >= 0) {
        close(fd);
    }
    into[count > 0 ? count : 0] = '\0';
    return count > 0 ? (size_t)count : 0;
}

uint64_t
ns_process_start_ticks(uint32_t pid)
{
    char stat[1024];
    read_proc(pid, "stat", stat, sizeof stat);
    const char *at = strrchr(stat, ')'); /* the name may hold anything */
    if (at == NULL || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X') {
        return 0;
    }
    for (int field = 2; field < 22 && at != NULL; field++) {
        at = strchr(at + 1, ' ');
    }
    return at == NULL ? 0 : strtoull(at + 1, NULL, 10);
}

/* Names come from strangers and go into messages and tables: printable ASCII only. */
static void
clean(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f) {
            *text = '?';
        }
    }
}

static void
describe(struct ns_process *process)
{
    char path[64];
    char link[4096];
    snprintf(path, sizeof path, "/proc/%u/exe", process->pid);
    ssize_t count = readlink(path, link, sizeof link - 1);
    link[count > 0 ? count : 0] = '\0';
    clean(link);
    const char *base = strrchr(link, '/');
    ns_text_copy(ns_text_of(link), process->executable, sizeof process->executable);
    if (base != NULL) {
        ns_text_copy(ns_text_of(base + 1), process->name, sizeof process->name);
    }
    char cgroup[4096];
    read_proc(process->pid, "cgroup", cgroup, sizeof cgroup);
    const char *unified = strstr(cgroup, "0::"); /* version 2: one line, "0::/path" */
    cgroup[strcspn(cgroup, "\n")] = '\0';
    ns_text_copy(ns_text_of(unified == cgroup ? unified + 3 : cgroup), process->cgroup,
                 sizeof process->cgroup);
    clean(process->cgroup);
}

/* --- tables ----------------------------------------------------------------------------------- */

static uint64_t
boot_word(const uint8_t key[static 16])
{
    char id[64] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? 0 : read(fd, id, sizeof id - 1);
    if (fd >= 0) {
        close(fd);
    }
    return ns_siphash64(key, id, count > 0 ? (size_t)count : 0) & 0xffff;
}

struct ns_peers *
ns_peers_new(int epoll_fd, uint32_t event_tag, const uint8_t hash_key[static 16])
{
    struct ns_peers *peers = calloc(1, sizeof *peers);
    if (peers != NULL) {
        peers->epoll_fd = epoll_fd;
        peers->event_tag = event_tag;
        memcpy(peers->hash_key, hash_key, sizeof peers->hash_key);
        peers->boot = boot_word(hash_key);
        gethostname(peers->hostname, sizeof peers->hostname - 1);
        clean(peers->hostname);
    }
    return peers;
}

void
ns_peers_free(struct ns_peers *peers)
{
    if (peers == NULL) {
        return;
    }
    for (uint32_t i = 0; i < peers->processes_used; i++) {
        if (peers->process[i] != NULL && peers->process[i]->used && peers->process[i]->pidfd >= 0) {
            close(peers->process[i]->pidfd);
        }
        free(peers->process[i]);
    }
    free(peers->by_fd);
    ns_index_free(&peers->by_routing);
    ns_index_free(&peers->by_owner);
    free(peers);
}

struct routing_key {
    const struct ns_peers *peers;
    uint8_t socket;
    uint32_t routing;
};

static bool
is_routing(const void *context, uint32_t place)
{
    const struct routing_key *key = context;
    const struct ns_peer *peer = &key->peers->peer[place];
    return peer->routing == key->routing && peer->socket == key->socket;
}

/* libzmq hands routing ids out by counting, so they need no better hash. */
static uint32_t
routing_hash(uint8_t socket, uint32_t routing)
{
    return (routing + ((uint32_t)socket << 31)) * UINT32_C(2654435769);
}

static uint32_t
find_peer(const struct ns_peers *peers, uint8_t socket, uint32_t routing)
{
    struct routing_key key = {peers, socket, routing};
    return ns_index_find(&peers->by_routing, routing_hash(socket, routing), is_routing, &key);
}

struct ns_peer *
ns_peers_find(struct ns_peers *peers, uint8_t socket, uint32_t routing)
{
    uint32_t place = find_peer(peers, socket, routing);
    return place == NS_INDEX_NONE ? NULL : &peers->peer[place];
}

struct ns_process *
ns_peers_process(struct ns_peers *peers, const struct ns_peer *peer)
{
    return peers->process[peer->process];
}

struct owner_key {
    const struct ns_peers *peers;
    struct ns_owner owner;
};

static bool
is_owner(const void *context, uint32_t place)
{
    const struct owner_key *key = context;
    const struct ns_owner *owner = &key->peers->process[place]->owner;
    return owner->a == key->owner.a && owner->b == key->owner.b;
}

static uint32_t
owner_hash(const struct ns_peers *peers, struct ns_owner owner)
{
    uint64_t words[2] = {owner.a, owner.b};
    return (uint32_t)ns_siphash64(peers->hash_key, words, sizeof words);
}

static uint32_t
find_process(const struct ns_peers *peers, struct ns_owner owner)
{
    struct owner_key key = {peers, owner};
    return ns_index_find(&peers->by_owner, owner_hash(peers, owner), is_owner, &key);
}

static void
set_due(struct ns_peers *peers, struct ns_process *process, int64_t due_at_ns)
{
    if ((process->due_at_ns == NEVER) != (due_at_ns == NEVER)) {
        peers->waiting = due_at_ns == NEVER ? peers->waiting - 1 : peers->waiting + 1;
    }
    process->due_at_ns = due_at_ns;
}

/* --- processes -------------------------------------------------------------------------------- */

static void
watch(struct ns_peers *peers, struct ns_process *process, uint32_t place, int64_t now)
{
    process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    if (process->pidfd < 0 && errno == ESRCH) {
        process->dead = true;
        set_due(peers, process, now + NS_PROCESS_GRACE_NS);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN,
                                .data.u64 = (uint64_t)peers->event_tag << 32 | place};
    if (process->pidfd >= 0 &&
        epoll_ctl(peers->epoll_fd, EPOLL_CTL_ADD, process->pidfd, &event) != 0) {
        close(process->pidfd);
        process->pidfd = -1;
    }
    if (process->pidfd < 0) {
        peers->unwatched++;
    }
}

/* A new process in the table. Returns its place or NS_INDEX_NONE. */
static uint32_t
add_process(struct ns_peers *peers, struct ns_owner owner)
{
    bool reuse = peers->processes_free_count > 0;
    if (!reuse && peers->processes_used == NS_PROCESSES_MAX) {
        return NS_INDEX_NONE;
    }
    uint32_t place =
        reuse ? peers->processes_free[peers->processes_free_count - 1] : peers->processes_used;
    if (peers->process[place] == NULL) {
        peers->process[place] = malloc(sizeof *peers->process[place]);
    }
    if (peers->process[place] == NULL ||
        ns_index_add(&peers->by_owner, owner_hash(peers, owner), place) != 0) {
        return NS_INDEX_NONE;
    }
    if (reuse) {
        peers->processes_free_count--;
    } else {
        peers->processes_used++;
    }
    *peers->process[place] = (struct ns_process){
        .owner = owner, .used = true, .uid = UINT32_MAX, .pidfd = -1, .due_at_ns = NEVER};
    peers->process_count++;
    return place;
}

static void
remove_process(struct ns_peers *peers, uint32_t place)
{
    struct ns_process *process = peers->process[place];
    set_due(peers, process, NEVER);
    if (process->pidfd >= 0) {
        close(process->pidfd); /* leaves epoll, too */
    } else if (!process->remote && !process->dead) {
        peers->unwatched--;
    }
    ns_index_remove(&peers->by_owner, owner_hash(peers, process->owner), place);
    process->used = false;
    peers->processes_free[peers->processes_free_count++] = place;
    peers->process_count--;
}

static struct ns_owner
local_owner(const struct ns_peers *peers, uint32_t pid, uint64_t start_ticks)
{
    return (struct ns_owner){pid, peers->boot << 48 | (start_ticks & ((UINT64_C(1) << 48) - 1))};
}

static struct ns_owner
remote_owner(const struct ns_peers *peers, const struct ns_peer_address *address,
             const struct ns_hello *hello)
{
    struct {
        uint64_t start_ticks, pid;
        char hostname[64];
    } said = {0};
    said.start_ticks = hello->start_ticks;
    said.pid = hello->pid;
    ns_text_copy(hello->hostname, said.hostname, sizeof said.hostname);
    uint8_t digest[16];
    ns_siphash128(peers->hash_key, &said, sizeof said, digest);
    struct ns_owner owner;
    memcpy(&owner.a, digest, 8);
    memcpy(&owner.b, digest + 8, 8);
    owner.a |= NS_OWNER_REMOTE;
    (void)address;
    return owner;
}

const struct ns_process *
ns_peers_known(const struct ns_peers *peers, uint32_t pid, uint64_t start_ticks)
{
    uint32_t place = find_process(peers, local_owner(peers, pid, start_ticks));
    return place == NS_INDEX_NONE ? NULL : peers->process[place];
}

/* The process behind a hello, new or known. */
static uint32_t
process_of(struct ns_peers *peers, const struct ns_peer_address *address,
           const struct ns_hello *hello, int64_t now)
{
    bool local = address->local && address->pid != 0;
    uint64_t ticks = local ? ns_process_start_ticks(address->pid) : 0;
    if (local && (hello->pid != address->pid || (ticks != 0 && hello->start_ticks != ticks))) {
        peers->mismatches++;
    }
    if (local && ticks == 0) {
        ticks = hello->start_ticks; /* gone already: its last words count */
    }
    struct ns_owner owner =
        local ? local_owner(peers, address->pid, ticks) : remote_owner(peers, address, hello);
    uint32_t place = find_process(peers, owner);
    if (place != NS_INDEX_NONE) {
        return place;
    }
    place = add_process(peers, owner);
    if (place == NS_INDEX_NONE) {
        return place;
    }
    struct ns_process *process = peers->process[place];
    process->remote = !local;
    process->pid = local ? address->pid : hello->pid;
    process->start_ticks = local ? ticks : hello->start_ticks;
    process->uid = address->local ? address->uid : UINT32_MAX;
    ns_text_copy(hello->process, process->name, sizeof process->name);
    clean(process->name);
    if (address->local) {
        snprintf(process->hostname, sizeof process->hostname, "%s", peers->hostname);
    } else {
        ns_text_copy(hello->hostname, process->hostname, sizeof process->hostname);
        clean(process->hostname);
    }
    if (local) {
        describe(process);
        watch(peers, process, place, now);
    }
    return place;
}

/* --- connections ------------------------------------------------------------------------------ */

/* Who has a descriptor: the place of a peer, or that nobody said hello there yet (NS_INDEX_NONE),
 * or that its connection has ended. NULL without memory. */
static uint32_t *
fd_slot(struct ns_peers *peers, int fd)
{
    if ((size_t)fd >= peers->by_fd_room) {
        size_t room = peers->by_fd_room == 0 ? 256 : peers->by_fd_room;
        while (room <= (size_t)fd) {
            room *= 2;
        }
        uint32_t *bigger = realloc(peers->by_fd, room * sizeof *bigger);
        if (bigger == NULL) {
            return NULL;
        }
        for (size_t i = peers->by_fd_room; i < room; i++) {
            bigger[i] = NS_INDEX_NONE;
        }
        peers->by_fd = bigger;
        peers->by_fd_room = room;
    }
    return &peers->by_fd[fd];
}

static void
set_closing(struct ns_peers *peers, uint32_t place)
{
    struct ns_peer *peer = &peers->peer[place];
    if (peer->used && !peer->closing) {
        peer->closing = true;
        peers->closing++;
    }
}

/* A hello may be read when its connection has ended, and even when its descriptor is another
 * connection's by then; libzmq's routing ids tell which of two is the older. */
static int
remember_fd(struct ns_peers *peers, int fd, uint32_t place)
{
    if (fd < 0) {
        return 0;
    }
    uint32_t *slot = fd_slot(peers, fd);
    if (slot == NULL) {
        return -ENOMEM;
    }
    uint32_t before = *slot;
    if (before == FD_ENDED) {
        set_closing(peers, place);
        return 0;
    }
    if (before != NS_INDEX_NONE && before != place) {
        const struct ns_peer *newer = &peers->peer[before];
        if (newer->socket == peers->peer[place].socket &&
            (int32_t)(newer->routing - peers->peer[place].routing) > 0) {
            set_closing(peers, place);
            return 0;
        }
        set_closing(peers, before);
    }
    *slot = place;
    return 0;
}

static uint32_t
add_peer(struct ns_peers *peers, const struct ns_peer_address *address)
{
    bool reuse = peers->peers_free_count > 0;
    if (!reuse && peers->peers_used == NS_PEERS_MAX) {
        return NS_INDEX_NONE;
    }
    uint32_t place = reuse ? peers->peers_free[peers->peers_free_count - 1] : peers->peers_used;
    if (ns_index_add(&peers->by_routing, routing_hash(address->socket, address->routing), place) !=
        0) {
        return NS_INDEX_NONE;
    }
    if (reuse) {
        peers->peers_free_count--;
    } else {
        peers->peers_used++;
    }
    peers->peer[place] = (struct ns_peer){.used = true,
                                          .socket = address->socket,
                                          .routing = address->routing,
                                          .process = NS_INDEX_NONE,
                                          .fd = address->fd};
    peers->peer_count++;
    return place;
}

/* One connection less. */
static void
let_go(struct ns_peers *peers, uint32_t place, int64_t now)
{
    struct ns_process *process = peers->process[place];
    process->connections--;
    if (process->connections > 0) {
        return;
    }
    if (process->remote) {
        set_due(peers, process, now + NS_REMOTE_GRACE_NS);
    } else if (process->dead) {
        set_due(peers, process, now);
    }
}

static void
remove_peer(struct ns_peers *peers, uint32_t place, int64_t now)
{
    struct ns_peer *peer = &peers->peer[place];
    ns_index_remove(&peers->by_routing, routing_hash(peer->socket, peer->routing), place);
    if (peer->process != NS_INDEX_NONE) {
        let_go(peers, peer->process, now);
    }
    if (peer->closing) {
        peers->closing--;
    }
    peer->used = false;
    peers->peers_free[peers->peers_free_count++] = place;
    peers->peer_count--;
}

int
ns_peers_hello(struct ns_peers *peers, const struct ns_peer_address *address,
               const struct ns_hello *hello, int64_t monotonic_ns, struct ns_peer **peer)
{
    uint32_t process = process_of(peers, address, hello, monotonic_ns);
    if (process == NS_INDEX_NONE) {
        return -ENOSPC;
    }
    uint32_t place = find_peer(peers, address->socket, address->routing);
    if (place == NS_INDEX_NONE) {
        place = add_peer(peers, address);
    }
    if (place == NS_INDEX_NONE) {
        return -ENOSPC;
    }
    struct ns_peer *speaker = &peers->peer[place];
    int error = remember_fd(peers, address->fd, place);
    if (error != 0) {
        return error;
    }
    peers->process[process]->connections++;
    if (peers->process[process]->remote) {
        set_due(peers, peers->process[process], NEVER);
    }
    if (speaker->process != NS_INDEX_NONE) {
        let_go(peers, speaker->process, monotonic_ns);
    }
    speaker->process = process;
    speaker->source = hello->source;
    speaker->fd = address->fd;
    *peer = speaker;
    return 0;
}

void
ns_peers_connected(struct ns_peers *peers, int fd)
{
    if (fd >= 0 && (size_t)fd < peers->by_fd_room && peers->by_fd[fd] == FD_ENDED) {
        peers->by_fd[fd] = NS_INDEX_NONE;
    }
}

void
ns_peers_disconnected(struct ns_peers *peers, int fd)
{
    uint32_t *slot = fd < 0 ? NULL : fd_slot(peers, fd);
    if (slot == NULL) {
        return;
    }
    if (*slot < NS_PEERS_MAX) {
        set_closing(peers, *slot);
    }
    *slot = FD_ENDED;
}

void
ns_peers_reap(struct ns_peers *peers, int64_t monotonic_ns)
{
    for (uint32_t i = 0; i < peers->peers_used && peers->closing > 0; i++) {
        if (peers->peer[i].used && peers->peer[i].closing) {
            remove_peer(peers, i, monotonic_ns);
        }
    }
}

/* --- life and death --------------------------------------------------------------------------- */

static void
bury(struct ns_peers *peers, struct ns_process *process, int64_t now)
{
    process->dead = true;
    set_due(peers, process, process->connections == 0 ? now : now + NS_PROCESS_GRACE_NS);
}

void
ns_peers_died(struct ns_peers *peers, uint32_t place, int64_t monotonic_ns)
{
    struct ns_process *process = place < peers->processes_used ? peers->process[place] : NULL;
    if (process == NULL || !process->used || process->dead || process->pidfd < 0) {
        return;
    }
    struct pollfd ask = {process->pidfd, POLLIN, 0}; /* the place may have a new process */
    if (poll(&ask, 1, 0) == 1) {
        epoll_ctl(peers->epoll_fd, EPOLL_CTL_DEL, process->pidfd, NULL);
        bury(peers, process, monotonic_ns);
    }
}

void
ns_peers_spoke_after_death(struct ns_process *process, int64_t monotonic_ns)
{
    /* It is counted as waiting still: dead processes with connections stay so. */
    process->due_at_ns = monotonic_ns + NS_PROCESS_GRACE_NS;
}

int
ns_peers_adopt(struct ns_peers *peers, const struct ns_owner *owner, int64_t monotonic_ns)
{
    if (find_process(peers, *owner) != NS_INDEX_NONE) {
        return 0;
    }
    uint32_t place = add_process(peers, *owner);
    if (place == NS_INDEX_NONE) {
        return -ENOSPC;
    }
    struct ns_process *process = peers->process[place];
    process->remote = (owner->a & NS_OWNER_REMOTE) != 0;
    if (process->remote) {
        set_due(peers, process, monotonic_ns + NS_RESTART_GRACE_NS);
        return 0;
    }
    process->pid = (uint32_t)owner->a;
    snprintf(process->hostname, sizeof process->hostname, "%s", peers->hostname);
    /* What /proc does not show may live all the same (hidepid): the pidfd knows. */
    uint64_t ticks = ns_process_start_ticks(process->pid);
    if (ticks != 0 && local_owner(peers, process->pid, ticks).b != owner->b) {
        process->dead = true;
        set_due(peers, process, monotonic_ns);
        return 0;
    }
    describe(process);
    watch(peers, process, place, monotonic_ns);
    return 0;
}

void
ns_peers_watch(struct ns_peers *peers, int64_t monotonic_ns)
{
    for (uint32_t i = 0; i < peers->processes_used && peers->unwatched > 0; i++) {
        struct ns_process *process = peers->process[i];
        if (!process->used || process->remote || process->dead || process->pidfd >= 0) {
            continue;
        }
        struct ns_owner now =
            local_owner(peers, process->pid, ns_process_start_ticks(process->pid));
        if (now.b != process->owner.b) {
            peers->unwatched--;
            bury(peers, process, monotonic_ns);
        }
    }
}

bool
ns_peers_take_due(struct ns_peers *peers, int64_t monotonic_ns, struct ns_owner *owner)
{
    for (uint32_t i = 0; i < peers->processes_used && peers->waiting > 0; i++) {
        struct ns_process *process = peers->process[i];
        if (!process->used || process->due_at_ns > monotonic_ns) {
            continue;
        }
        *owner = process->owner;
        if (process->connections == 0) {
            remove_process(peers, i);
        } else {
            process->due_at_ns = INT64_MAX - 1; /* until it speaks again or is let go */
        }
        return true;
    }
    return false;
}

bool
ns_peers_waiting(const struct ns_peers *peers)
{
    return peers->waiting > 0;
}

size_t
ns_peers_count(const struct ns_peers *peers)
{
    return peers->peer_count;
}

size_t
ns_peers_process_count(const struct ns_peers *peers)
{
    return peers->process_count;
}

uint64_t
ns_peers_mismatches(const struct ns_peers *peers)
{
    return peers->mismatches;
}

void
ns_process_record(const struct ns_process *process, uint8_t source, struct ns_record_peer *record)
{
    *record = (struct ns_record_peer){
        .pid = process->pid,
        .uid = process->uid,
        .source = source,
        .process = ns_text_of(process->name),
        .executable = ns_text_of(process->executable),
        .cgroup = ns_text_of(process->cgroup),
        .hostname = ns_text_of(process->hostname),
    };
}
