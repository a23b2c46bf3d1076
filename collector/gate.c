/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/gate.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "collector/service.h"
#include "protocol/zmtp.h"

/* libzmq's own routing ids: a zero byte and a counter. Others are a peer's choice, refused. */
#define ROUTING_BYTES 5

int64_t
ns_realtime_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* --- opening -----------------------------------------------------------------------------------
 */

static int
set_options(void *router)
{
    static const struct {
        int option, value;
    } options[] = {
        {ZMQ_LINGER, 500},
        {ZMQ_SNDHWM, 20000},
        {ZMQ_RCVHWM, 20000},
        {ZMQ_TCP_KEEPALIVE, 1},
        {ZMQ_TCP_KEEPALIVE_IDLE, 30},
        {ZMQ_TCP_KEEPALIVE_INTVL, 10},
        {ZMQ_TCP_KEEPALIVE_CNT, 3},
        {ZMQ_IPV6, 1},
    };
    int64_t message_bytes_max = NS_MESSAGE_BYTES_MAX;
    if (zmq_setsockopt(router, ZMQ_MAXMSGSIZE, &message_bytes_max, sizeof message_bytes_max) != 0) {
        return -zmq_errno();
    }
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (zmq_setsockopt(router, options[i].option, &options[i].value, sizeof options[i].value) !=
            0) {
            return -zmq_errno();
        }
    }
    return 0;
}

static int
open_socket(struct ns_gate *gate, int kind)
{
    struct ns_gate_socket *socket = &gate->socket[kind];
    if (socket->router != NULL) {
        return 0;
    }
    char name[32];
    snprintf(name, sizeof name, "inproc://monitor-%d", kind);
    socket->router = zmq_socket(gate->zmq, ZMQ_ROUTER);
    socket->monitor = zmq_socket(gate->zmq, ZMQ_PAIR);
    if (socket->router == NULL || socket->monitor == NULL) {
        return -zmq_errno();
    }
    int error = set_options(socket->router);
    int monitor_fd = -1;
    size_t size = sizeof socket->fd;
    int none = 0; /* no bound on what waits: a full one would stop libzmq's own thread */
    if (error != 0 || zmq_setsockopt(socket->monitor, ZMQ_LINGER, &none, sizeof none) != 0 ||
        zmq_setsockopt(socket->monitor, ZMQ_RCVHWM, &none, sizeof none) != 0 ||
        zmq_socket_monitor(socket->router, name, ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED) !=
            0 ||
        zmq_connect(socket->monitor, name) != 0 ||
        zmq_getsockopt(socket->router, ZMQ_FD, &socket->fd, &size) != 0 ||
        zmq_getsockopt(socket->monitor, ZMQ_FD, &monitor_fd, &size) != 0) {
        return error != 0 ? error : -zmq_errno();
    }
    struct epoll_event message = {.events = EPOLLIN, .data.u64 = NS_GATE_EVENT_MESSAGE};
    struct epoll_event monitor = {.events = EPOLLIN, .data.u64 = NS_GATE_EVENT_MONITOR};
    return epoll_ctl(gate->epoll_fd, EPOLL_CTL_ADD, socket->fd, &message) == 0 &&
                   epoll_ctl(gate->epoll_fd, EPOLL_CTL_ADD, monitor_fd, &monitor) == 0
               ? 0
               : -errno;
}

/* Whether somebody answers at this socket: libzmq would take its place without asking. */
static bool
is_taken(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return false;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* EAGAIN: one that is stuck, and as many wait for it as may. */
    bool taken = fd >= 0 &&
                 (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN);
    if (fd >= 0) {
        close(fd);
    }
    return taken;
}

/* The socket's directory, for the group that may connect. */
static int
prepare_directory(const char *path)
{
    char directory[256];
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) {
        return 0;
    }
    snprintf(directory, sizeof directory, "%.*s", (int)(slash - path), path);
    return ns_make_directory(directory, geteuid() == 0 ? 0755 : 0700);
}

static int
bind_ipc(struct ns_gate *gate, const char *address, char error[static 512])
{
    const char *path = address + strlen("ipc://");
    bool abstract = path[0] == '@';
    if (!abstract && is_taken(path)) {
        snprintf(error, 512, "another program answers at %s; stop it or give --listen another",
                 address);
        return -EADDRINUSE;
    }
    int result = abstract ? 0 : prepare_directory(path);
    if (result != 0) {
        snprintf(error, 512, "the directory of %s: %s", path, strerror(-result));
        return result;
    }
    mode_t old = umask(0117); /* 0660 from the first moment */
    int bound = zmq_bind(gate->socket[NS_GATE_IPC].router, address);
    result = -zmq_errno();
    umask(old);
    if (bound != 0) {
        snprintf(error, 512, "%s: %s", address, zmq_strerror(-result));
        return result;
    }
    const struct group *group = abstract ? NULL : getgrnam("nullspend");
    if (group != NULL && chown(path, (uid_t)-1, group->gr_gid) != 0 && errno != EPERM) {
        ns_log("%s stays without group nullspend: %s", path, strerror(errno));
    }
    return 0;
}

int
ns_gate_open(struct ns_gate *gate, char error[static 512])
{
    error[0] = '\0';
    gate->zmq = zmq_ctx_new();
    gate->ack_room = 1024;
    gate->ack = malloc(gate->ack_room * sizeof *gate->ack);
    gate->repeats = ns_repeats_new();
    if (gate->zmq == NULL || gate->ack == NULL || gate->repeats == NULL) {
        snprintf(error, 512, "no memory");
        return -ENOMEM;
    }
    zmq_ctx_set(gate->zmq, ZMQ_MAX_SOCKETS, 64);
    for (int i = 0; i < gate->options->listen_count; i++) {
        const char *address = gate->options->listen[i];
        int kind = strncmp(address, "ipc://", 6) == 0 ? NS_GATE_IPC : NS_GATE_TCP;
        int result = open_socket(gate, kind);
        if (result != 0) {
            snprintf(error, 512, "libzmq: %s", zmq_strerror(-result));
            return result;
        }
        if (kind == NS_GATE_IPC) {
            result = bind_ipc(gate, address, error);
        } else if (zmq_bind(gate->socket[kind].router, address) != 0) {
            result = -zmq_errno();
            snprintf(error, 512, "%s: %s", address, zmq_strerror(-result));
        }
        if (result != 0) {
            return result;
        }
    }
    return 0;
}

void
ns_gate_unbind(struct ns_gate *gate)
{
    gate->stopping = true;
    for (int i = 0; i < gate->options->listen_count; i++) {
        const char *address = gate->options->listen[i];
        int kind = strncmp(address, "ipc://", 6) == 0 ? NS_GATE_IPC : NS_GATE_TCP;
        if (gate->socket[kind].router == NULL ||
            zmq_unbind(gate->socket[kind].router, address) != 0) {
            continue;
        }
        const char *path = address + strlen("ipc://");
        if (kind == NS_GATE_IPC && path[0] != '@') {
            unlink(path); /* libzmq leaves it */
        }
    }
}

void
ns_gate_close(struct ns_gate *gate)
{
    for (int kind = 0; kind < NS_GATE_SOCKETS; kind++) {
        struct ns_gate_socket *socket = &gate->socket[kind];
        if (socket->router != NULL) {
            zmq_socket_monitor(socket->router, NULL, 0);
            zmq_close(socket->router);
        }
        if (socket->monitor != NULL) {
            zmq_close(socket->monitor);
        }
        *socket = (struct ns_gate_socket){0};
    }
    if (gate->zmq != NULL) {
        zmq_ctx_term(gate->zmq);
    }
    free(gate->ack);
    free(gate->budget);
    ns_repeats_free(gate->repeats);
    free(gate->model_grant);
    ns_coverage_free(&gate->coverage);
    gate->zmq = NULL;
    gate->ack = NULL;
    gate->budget = NULL;
    gate->repeats = NULL;
    gate->model_grant = NULL;
}

/* --- the journal -------------------------------------------------------------------------------
 */

static void
fail(struct ns_gate *gate, const char *what, int error)
{
    if (gate->failure == 0) {
        gate->failure = error;
        ns_log("%s: %s; nothing more is answered", what, strerror(-error));
    }
}

int
ns_gate_apply(struct ns_gate *gate, struct ns_ledger_effect *effect)
{
    return ns_state_apply(&gate->state, &gate->record, effect);
}

bool
ns_gate_append(struct ns_gate *gate, const struct ns_message *message)
{
    int bytes = ns_record_encode(&gate->record, gate->record_bytes, sizeof gate->record_bytes);
    if (bytes < 0) {
        fail(gate, "a journal record", bytes);
        return false;
    }
    struct iovec part = {gate->record_bytes, (size_t)bytes};
    int64_t sequence =
        ns_journal_append(gate->journal, (uint8_t)gate->record.type, gate->record.at_ns, &part, 1);
    if (sequence < 0) {
        fail(gate, "the journal", (int)sequence);
        return false;
    }
    int error = ns_state_note(&gate->state, &gate->record, message, (uint64_t)sequence,
                              gate->record_bytes, (size_t)bytes);
    if (error != 0) {
        fail(gate, "the table of open calls", error);
        return false;
    }
    return true;
}

/* --- replies -----------------------------------------------------------------------------------
 */

void
ns_gate_send(struct ns_gate *gate, uint8_t socket, uint32_t routing, const void *bytes,
             size_t count)
{
    uint8_t id[ROUTING_BYTES] = {0};
    memcpy(id + 1, &routing, sizeof routing);
    void *router = gate->socket[socket].router;
    /* A peer that is gone, or that does not read, is dropped by ROUTER: it asks again. */
    if (zmq_send(router, id, sizeof id, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0) {
        zmq_send(router, bytes, count, ZMQ_DONTWAIT);
    }
    gate->sent = true;
}

void
ns_gate_reply(struct ns_gate *gate, uint8_t socket, uint32_t routing)
{
    uint32_t room = (uint32_t)sizeof gate->reply_bytes - gate->reply_bytes_used;
    int bytes = ns_message_encode(&gate->out, gate->reply_bytes + gate->reply_bytes_used, room);
    if (bytes < 0 || gate->reply_count == sizeof gate->reply / sizeof gate->reply[0]) {
        ns_log("a reply of kind %d cannot be encoded: %s", (int)gate->out.kind,
               strerror(bytes < 0 ? -bytes : ENOSPC));
        return;
    }
    gate->reply[gate->reply_count++] =
        (struct ns_gate_reply){socket, routing, gate->reply_bytes_used, (uint32_t)bytes};
    gate->reply_bytes_used += (uint32_t)bytes;
}

void
ns_gate_flush(struct ns_gate *gate)
{
    if (gate->failure == 0 && ns_journal_written(gate->journal) < ns_journal_last(gate->journal)) {
        int error = ns_journal_write(gate->journal);
        if (error != 0) {
            fail(gate, "the journal", error);
        }
    }
    if (gate->failure == 0) {
        for (uint32_t i = 0; i < gate->reply_count; i++) {
            const struct ns_gate_reply *reply = &gate->reply[i];
            ns_gate_send(gate, reply->socket, reply->routing, gate->reply_bytes + reply->offset,
                         reply->bytes);
        }
        if (gate->ack_count > 0) {
            ns_syncer_want(gate->syncer, ns_journal_written(gate->journal),
                           gate->ack_count >= NS_SYNC_ACKS);
        }
    }
    gate->reply_count = 0;
    gate->reply_bytes_used = 0;
}

static bool
grow_acks(struct ns_gate *gate)
{
    uint32_t room = gate->ack_room * 2;
    struct ns_gate_ack *bigger = room > NS_GATE_ACKS_MAX ? NULL : malloc(room * sizeof *bigger);
    if (bigger == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < gate->ack_count; i++) {
        bigger[i] = gate->ack[(gate->ack_first + i) & (gate->ack_room - 1)];
    }
    free(gate->ack);
    gate->ack = bigger;
    gate->ack_room = room;
    gate->ack_first = 0;
    return true;
}

void
ns_gate_ack(struct ns_gate *gate, const struct ns_gate_from *from, const struct ns_uuid *call_id,
            uint8_t kind)
{
    if (gate->ack_count == gate->ack_room && !grow_acks(gate)) {
        gate->counters.acks_dropped++; /* it is reported again, and acknowledged then */
        return;
    }
    gate->ack[(gate->ack_first + gate->ack_count++) & (gate->ack_room - 1)] =
        (struct ns_gate_ack){.sequence = ns_journal_last(gate->journal),
                             .call_id = *call_id,
                             .routing = from->routing,
                             .socket = from->socket,
                             .kind = kind};
}

void
ns_gate_acknowledge(struct ns_gate *gate, uint32_t most)
{
    uint64_t durable = ns_journal_durable(gate->journal);
    for (uint32_t i = 0; i < most && gate->ack_count > 0 && gate->failure == 0; i++) {
        const struct ns_gate_ack *ack = &gate->ack[gate->ack_first];
        if (ack->sequence > durable) {
            break;
        }
        uint8_t bytes[64];
        gate->out.kind = NS_MESSAGE_ACK;
        gate->out.as.ack = (struct ns_ack){.call_id = ack->call_id, .kind = ack->kind};
        int count = ns_message_encode(&gate->out, bytes, sizeof bytes);
        if (count > 0) {
            ns_gate_send(gate, ack->socket, ack->routing, bytes, (size_t)count);
        }
        gate->ack_first = (gate->ack_first + 1) & (gate->ack_room - 1);
        gate->ack_count--;
    }
}

/* --- messages ----------------------------------------------------------------------------------
 */

static const struct {
    void (*handle)(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
                   size_t raw_bytes);
} handlers[NS_MESSAGE_COUNT] = {
    [NS_MESSAGE_CHECK] = {ns_gate_check},     [NS_MESSAGE_PROGRESS] = {ns_gate_progress},
    [NS_MESSAGE_REPORT] = {ns_gate_report},   [NS_MESSAGE_RELEASE] = {ns_gate_release},
    [NS_MESSAGE_COUNTERS] = {ns_gate_unseen}, [NS_MESSAGE_COVERAGE] = {ns_gate_coverage},
};

static void
read_address(const struct ns_gate_from *from, zmq_msg_t *part, struct ns_peer_address *address)
{
    *address = (struct ns_peer_address){.socket = from->socket, .routing = from->routing};
    ns_peer_address_read(zmq_msg_gets(part, "Peer-Address"), from->socket == NS_GATE_IPC, address);
    address->fd = zmq_msg_get(part, ZMQ_SRCFD);
}

/* Connections that began and ended. Read before the messages: what a closed one sent is all there
 * then. Read before a hello, too, which may come by the descriptor of one that has ended: libzmq
 * tells of the end before it gives the descriptor back. */
static void
drain_monitor(struct ns_gate *gate, uint8_t kind)
{
    zmq_msg_t part;
    zmq_msg_init(&part);
    while (zmq_msg_recv(&part, gate->socket[kind].monitor, ZMQ_DONTWAIT) >= 0) {
        if (zmq_msg_more(&part) && zmq_msg_size(&part) == 6) { /* event u16, value u32, in one */
            const uint8_t *bytes = zmq_msg_data(&part);
            uint16_t event;
            int32_t fd;
            memcpy(&event, bytes, sizeof event);
            memcpy(&fd, bytes + 2, sizeof fd);
            if (event == ZMQ_EVENT_DISCONNECTED) {
                ns_peers_disconnected(gate->peers, fd);
            } else if (event == ZMQ_EVENT_ACCEPTED) {
                ns_peers_connected(gate->peers, fd);
            }
        }
    }
    zmq_msg_close(&part);
}

static void
handle(struct ns_gate *gate, uint8_t socket, uint32_t routing, zmq_msg_t *part)
{
    const uint8_t *raw = zmq_msg_data(part);
    size_t raw_bytes = zmq_msg_size(part);
    struct ns_gate_from from = {socket, routing, ns_peers_find(gate->peers, socket, routing), NULL};
    from.process = from.peer != NULL ? ns_peers_process(gate->peers, from.peer) : NULL;
    struct ns_peer_address address;
    const char *why;
    int error = ns_message_decode(raw, raw_bytes, &gate->message, &why);
    if (error != 0) {
        gate->counters.malformed++;
        if (error == -EPROTONOSUPPORT && raw[3] == NS_MESSAGE_HELLO) {
            ns_gate_refuse(gate, &from, 1);
        }
        return;
    }
    gate->now_ns = ns_realtime_ns();
    if (gate->message.kind == NS_MESSAGE_HELLO || gate->message.kind == NS_MESSAGE_QUERY) {
        read_address(&from, part, &address);
        if (gate->message.kind == NS_MESSAGE_HELLO) {
            drain_monitor(gate, socket);
            ns_gate_hello(gate, &from, &address);
        } else {
            ns_gate_query(gate, &from, &address);
        }
        return;
    }
    if (handlers[gate->message.kind].handle == NULL) {
        gate->counters.malformed++; /* the collector's own words */
    } else if (from.peer == NULL) {
        gate->counters.strangers++;
    } else {
        handlers[gate->message.kind].handle(gate, &from, raw, raw_bytes);
    }
}

/* Reads one whole message. Returns 1 handled, 0 dropped, -EAGAIN none there. */
static int
take_message(struct ns_gate *gate, uint8_t socket)
{
    void *router = gate->socket[socket].router;
    zmq_msg_t part;
    uint8_t id[ROUTING_BYTES];
    zmq_msg_init(&part);
    if (zmq_msg_recv(&part, router, ZMQ_DONTWAIT) < 0) {
        zmq_msg_close(&part);
        return -EAGAIN;
    }
    gate->counters.messages++;
    const uint8_t *bytes = zmq_msg_data(&part);
    bool counted = zmq_msg_size(&part) == ROUTING_BYTES && bytes[0] == 0;
    uint32_t routing = 0;
    if (counted) {
        memcpy(id, bytes, sizeof id);
        memcpy(&routing, id + 1, sizeof routing);
    }
    int parts = 0;
    while (zmq_msg_more(&part) && zmq_msg_recv(&part, router, ZMQ_DONTWAIT) >= 0) {
        if (++parts == 1 && counted && !zmq_msg_more(&part)) {
            handle(gate, socket, routing, &part);
            zmq_msg_close(&part);
            return 1;
        }
    }
    zmq_msg_close(&part);
    gate->counters.malformed++; /* a name of its own, or not one part */
    return 0;
}

void
ns_gate_event(struct ns_gate *gate, uint32_t number)
{
    gate->monitor_speaks = gate->monitor_speaks || number == NS_GATE_EVENT_MONITOR;
}

/* Takes a batch. Returns whether the socket may have more: to see that it has none costs as much as
 * a message, so after a single one that is answered the answer goes out first. */
static bool
take_batch(struct ns_gate *gate, uint8_t kind)
{
    uint32_t limit = gate->batch_limit[kind] > 0 ? gate->batch_limit[kind] : 1;
    uint32_t answered = gate->reply_count;
    uint32_t count = 0;
    limit += answered;
    while (count < NS_GATE_BATCH && gate->reply_count < limit && gate->failure == 0 &&
           take_message(gate, kind) >= 0) {
        count++;
    }
    bool full = count == NS_GATE_BATCH || gate->reply_count == limit;
    limit -= answered;
    gate->batch_limit[kind] = !full ? 1 : limit < NS_GATE_BATCH / 2 ? 2 * limit : NS_GATE_BATCH;
    gate->counters.batches += count > 0;
    return full;
}

bool
ns_gate_turn(struct ns_gate *gate)
{
    bool dry = true;
    bool monitor_speaks = gate->monitor_speaks;
    gate->monitor_speaks = false;
    gate->sent = false;
    for (int kind = 0; kind < NS_GATE_SOCKETS; kind++) {
        if (gate->socket[kind].router == NULL) {
            continue;
        }
        if (monitor_speaks) {
            drain_monitor(gate, (uint8_t)kind);
        }
        dry = !take_batch(gate, (uint8_t)kind) && dry;
    }
    ns_gate_flush(gate);
    ns_gate_acknowledge(gate, NS_GATE_ACKS_A_TURN); /* of what was known and durable before */
    if (dry) {
        ns_peers_reap(gate->peers, ns_monotonic_ns());
    }
    return gate->sent || !dry;
}

/* --- once a second -----------------------------------------------------------------------------
 */

void
ns_gate_snapshot(struct ns_gate *gate)
{
    uint8_t *bytes = NULL;
    size_t count = 0;
    if (gate->failure != 0 || gate->state.sequence == gate->snapshot_sequence ||
        ns_state_save(&gate->state, &bytes, &count) != 0) {
        return;
    }
    if (ns_syncer_snapshot(gate->syncer, gate->state.sequence, bytes, count)) {
        gate->snapshot_sequence = gate->state.sequence;
    } else {
        free(bytes);
    }
}

/* Postgres and the newest snapshot need no older records. */
static void
truncate_journal(struct ns_gate *gate)
{
    uint64_t snapshot = ns_syncer_snapshot_sequence(gate->syncer);
    if (gate->store == NULL || snapshot == 0) {
        return;
    }
    struct ns_store_state state;
    ns_store_state(gate->store, &state);
    uint64_t keep = state.position < snapshot ? state.position + 1 : snapshot + 1;
    if (state.position > 0) {
        int removed = ns_journal_truncate(gate->journal, keep);
        if (removed < 0) {
            ns_log("old journal files stay: %s", strerror(-removed));
        }
    }
}

static void
tick_ledger(struct ns_gate *gate, int64_t monotonic_ns)
{
    bool changed = gate->state.sequence != gate->ticked_sequence;
    if (!changed && monotonic_ns - gate->ticked_at_ns < NS_IDLE_TICK_NS) {
        return;
    }
    gate->now_ns = ns_realtime_ns();
    memset(&gate->record, 0, sizeof gate->record);
    gate->record.type = NS_RECORD_TICK;
    gate->record.at_ns = gate->now_ns;
    gate->record.event.kind = NS_LEDGER_TICK;
    struct ns_ledger_effect effect;
    if (ns_gate_apply(gate, &effect) == 0) {
        gate->record.outcome.result = (uint8_t)effect.result;
        ns_gate_append(gate, NULL);
    }
    gate->ticked_at_ns = monotonic_ns;
    gate->ticked_sequence = gate->state.sequence;
}

void
ns_gate_tick(struct ns_gate *gate, int64_t monotonic_ns)
{
    ns_peers_watch(gate->peers, monotonic_ns);
    tick_ledger(gate, monotonic_ns);
    ns_gate_flush(gate);
    ns_syncer_want(gate->syncer, ns_journal_written(gate->journal), false);
    ns_gate_counters(gate);
    ns_gate_coverage_write(gate);
    if (gate->state.sequence - gate->snapshot_sequence >= NS_SNAPSHOT_RECORDS) {
        ns_gate_snapshot(gate);
    }
    truncate_journal(gate);
}
