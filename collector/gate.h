/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate: libzmq ROUTER sockets at which governed processes ask and report, and the loop that
 * answers them.
 *
 * One turn of the loop: take a batch of messages; each is decoded, priced, given to the ledger and
 * appended to the journal; one write gives the batch to the kernel; then the verdicts go out.
 * Acknowledgements of reports wait until the syncer has made their records durable. Everything here
 * runs on one thread, so no lock guards any of it, and nothing here may block.
 *
 *   gate.c          sockets, batches, replies, the loop
 *   gate_calls.c    CHECK, PROGRESS, REPORT, RELEASE, and the death of processes
 *   gate_top_up.c   answers that outgrow their hold
 *   gate_denial.c   what people read when a call is denied
 *   gate_budgets.c  budgets and grants from Postgres, counters to it
 *   gate_query.c    HELLO and QUERY
 *   gate_unseen.c   COUNTERS
 *   gate_coverage.c COVERAGE
 */
#ifndef NS_COLLECTOR_GATE_H
#define NS_COLLECTOR_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/unseen.h"
#include "collector/coverage.h"
#include "collector/limits.h"
#include "collector/options.h"
#include "collector/peer.h"
#include "collector/price.h"
#include "collector/recovery.h"
#include "collector/store.h"
#include "collector/syncer.h"

/* X(name, help): counted since the start, shown by /metrics as nullspend_NAME_total. */
#define NS_GATE_COUNTERS(X)                                                                        \
    X(messages, "Messages taken from processes.")                                                  \
    X(malformed, "Messages dropped because they could not be decoded.")                            \
    X(strangers, "Messages dropped because no hello came before them.")                            \
    X(hellos_refused, "Hellos refused: version, API key, or too many connections.")                \
    X(checks, "Checks answered.")                                                                  \
    X(allowed, "Checks allowed.")                                                                  \
    X(denied, "Checks denied.")                                                                    \
    X(would_deny, "Checks let through that an enforcing budget would deny.")                       \
    X(velocity_trips, "Times that a budget was paused because too much went within its window.")   \
    X(unpriced, "Checks of models without a price.")                                               \
    X(overfull, "Checks and reports that the ledger had no room for.")                             \
    X(entities_refused, "Ids of calls that no budget can name.")                                   \
    X(progress, "Progress messages.")                                                              \
    X(top_ups, "Holds that grew with their answer.")                                               \
    X(cut, "Answers cut because no budget had room for more of them.")                             \
    X(reports, "Calls recorded.")                                                                  \
    X(reports_unasked, "Of those, calls let through without a verdict.")                           \
    X(reports_unpriced, "Of those, calls whose cost is not known.")                                \
    X(corrected, "Reports and releases that came after their call was given up as lost.")          \
    X(releases, "Calls given back before they left.")                                              \
    X(lost, "Calls whose process died without a report.")                                          \
    X(duplicates, "Messages about calls that had ended already.")                                  \
    X(acks_dropped, "Acknowledgements not sent because too many waited.")                          \
    X(batches, "Batches of messages.")                                                             \
    X(counters, "Times that a process told what passed unseen.")                                   \
    X(coverage, "Times that an agent told of a process and its server.")                           \
    X(coverage_refused, "The same, from who is no agent.")                                         \
    X(queries, "Questions of the command line.")

struct ns_gate_counters {
#define X(name, help) uint64_t name;
    NS_GATE_COUNTERS(X)
#undef X
    uint64_t denied_by[NS_REASON_COUNT];
    int64_t cost_nanousd;
    int64_t overshoot_nanousd;
};

enum { NS_GATE_IPC, NS_GATE_TCP, NS_GATE_SOCKETS };

struct ns_gate_socket {
    void *router; /* NULL: no address of this transport */
    void *monitor;
    int fd;
};

struct ns_gate_reply {
    uint8_t socket;
    uint32_t routing;
    uint32_t offset, bytes;
};

struct ns_gate_ack {
    uint64_t sequence; /* goes out once this is durable */
    struct ns_uuid call_id;
    uint32_t routing;
    uint8_t socket;
    uint8_t kind;
};

struct ns_gate_sync {
    uint64_t id; /* of the QUERY */
    uint64_t target;
    int64_t deadline_ns;
    uint32_t routing;
    uint8_t socket;
};

struct ns_api_key {
    char text[NS_API_KEY_BYTES_MAX + 1];
};

/* Where a message came from. */
struct ns_gate_from {
    uint8_t socket;
    uint32_t routing;
    struct ns_peer *peer;       /* NULL before its hello */
    struct ns_process *process; /* of peer */
};

struct ns_gate {
    const struct ns_options *options;
    struct ns_state state;
    struct ns_journal *journal;
    struct ns_syncer *syncer;
    struct ns_prices *prices;
    struct ns_peers *peers;
    struct ns_store *store;       /* NULL until Postgres has an address */
    struct ns_notifier *notifier; /* the same */
    void *zmq;
    struct ns_gate_socket socket[NS_GATE_SOCKETS];
    int epoll_fd;
    uint8_t hash_key[16];
    struct ns_uuid instance;
    int64_t started_at_ns; /* CLOCK_MONOTONIC */
    bool stopping;
    int failure; /* negative errno: the journal cannot be written; the daemon must end */
    char database_url[2048];
    bool private_cluster;
    const char *cluster_error; /* why the private cluster is not there, or NULL */

    struct ns_gate_counters counters;
    uint64_t unseen[NS_UNSEEN_COUNT]; /* of all processes, those that have ended too */
    struct ns_coverage_table coverage;
    struct ns_api_key *api_key;
    int api_key_count;

    /* this batch */
    int64_t now_ns; /* CLOCK_REALTIME */
    struct ns_gate_reply reply[NS_GATE_SOCKETS * NS_GATE_BATCH];
    uint32_t reply_count;
    uint32_t reply_bytes_used;
    uint8_t reply_bytes[NS_GATE_REPLY_BYTES];
    struct ns_message message;                 /* decoded */
    struct ns_message out;                     /* to be encoded */
    struct ns_record record;                   /* to be appended */
    uint8_t record_bytes[NS_RECORD_BYTES_MAX]; /* encoded */
    char entity_text[NS_ENTITIES_MAX][NS_ENTITY_BYTES_MAX + 1];
    const char *entity[NS_ENTITIES_MAX];
    char denial_text[512];
    bool sent;                             /* since the sockets were last found empty */
    uint32_t batch_limit[NS_GATE_SOCKETS]; /* of the next batch: small when little comes, so that
                                              the first message need not wait for a look for more */
    bool monitor_speaks;                   /* a monitor has something to tell */

    /* acknowledgements that wait for the disk: a ring */
    struct ns_gate_ack *ack;
    uint32_t ack_room, ack_first, ack_count;

    struct ns_gate_sync sync[NS_GATE_SYNCS_MAX];
    uint32_t sync_count;

    struct ns_budget *budget; /* in force, by id; grants too */
    size_t budget_count;
    size_t *model_grant; /* places of those that are grants for some models alone */
    size_t model_grant_count;
    int64_t revision; /* of budgets and mandates, enforced */
    struct ns_repeats *repeats;

    int64_t tick_at_ns; /* CLOCK_MONOTONIC */
    int64_t ticked_at_ns;
    uint64_t ticked_sequence;
    uint64_t snapshot_sequence;
};

/* --- gate.c ------------------------------------------------------------------------------------
 */

/* Binds the addresses of options; gate->zmq, socket, reply and ack buffers. Returns 0, or a
 * negative errno with a sentence in error. */
int ns_gate_open(struct ns_gate *gate, char error[static 512]);
/* Stops listening; what has arrived can still be taken. */
void ns_gate_unbind(struct ns_gate *gate);
void ns_gate_close(struct ns_gate *gate);

/* epoll tells of the gate's own sockets with such numbers, and nothing above. */
enum { NS_GATE_EVENT_MESSAGE, NS_GATE_EVENT_MONITOR };
void ns_gate_event(struct ns_gate *gate, uint32_t number);

/* Takes at most one batch, answers it. Returns whether there may be more at once. */
bool ns_gate_turn(struct ns_gate *gate);

/* Sends so many acknowledgements whose records are durable, at most. */
void ns_gate_acknowledge(struct ns_gate *gate, uint32_t most);

/* Once a second: TICK, counters, sync questions, snapshots, truncation. */
void ns_gate_tick(struct ns_gate *gate, int64_t monotonic_ns);

/* Writes the journal and sends the replies of the batch. */
void ns_gate_flush(struct ns_gate *gate);

/* Queues gate->out for a peer. */
void ns_gate_reply(struct ns_gate *gate, uint8_t socket, uint32_t routing);
/* Sends bytes now. */
void ns_gate_send(struct ns_gate *gate, uint8_t socket, uint32_t routing, const void *bytes,
                  size_t count);
/* An acknowledgement, when everything appended so far is durable. */
void ns_gate_ack(struct ns_gate *gate, const struct ns_gate_from *from,
                 const struct ns_uuid *call_id, uint8_t kind);

/* Gives gate->record's event to the ledger. Returns as ns_state_apply. */
int ns_gate_apply(struct ns_gate *gate, struct ns_ledger_effect *effect);
/* Appends gate->record, whose outcome is filled, and notes it. message is its decoded message, or
 * NULL. Returns false where the journal failed. */
bool ns_gate_append(struct ns_gate *gate, const struct ns_message *message);

/* Writes a snapshot of now, unless one is being written. */
void ns_gate_snapshot(struct ns_gate *gate);

/* --- gate_calls.c ------------------------------------------------------------------------------
 */

/* gate->message is decoded from raw. */
void ns_gate_check(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
                   size_t raw_bytes);
void ns_gate_progress(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
                      size_t raw_bytes);
void ns_gate_report(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
                    size_t raw_bytes);
void ns_gate_release(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
                     size_t raw_bytes);

/* Begins gate->record, of a message from a process. */
void ns_gate_begin_record(struct ns_gate *gate, enum ns_record_type type,
                          const struct ns_gate_from *from, const uint8_t *raw, size_t raw_bytes);
/* Notes a denial in gate->record. family_status: what the family answers to a spent budget. */
void ns_gate_note_denial(struct ns_gate *gate, const struct ns_ledger_numbers *by,
                         uint32_t family_status);

/* Ends the holds of processes that are gone. */
void ns_gate_bury(struct ns_gate *gate, int64_t monotonic_ns);
/* Writes the LOST records of calls that the ledger has given up: after an OWNER_GONE, and at start
 * where a crash came between. event NULL: none. */
void ns_gate_write_lost(struct ns_gate *gate, const struct ns_ledger_event *event);

/* --- gate_unseen.c -----------------------------------------------------------------------------
 */

/* gate->message is what passed unseen in a process: adds what is new of it. */
void ns_gate_unseen(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
                    size_t raw_bytes);

/* --- gate_coverage.c ---------------------------------------------------------------------------
 */

/* gate->message is what an agent tells of a process and its server. */
void ns_gate_coverage(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
                      size_t raw_bytes);
/* A call to this server came. */
void ns_gate_coverage_called(struct ns_gate *gate, const struct ns_gate_from *from,
                             struct ns_text host, struct ns_text provider);
/* What passed unseen in this process has changed. */
void ns_gate_coverage_unseen(struct ns_gate *gate, const struct ns_gate_from *from);
/* Hands what changed to the store, when that has written what it had. Returns whether all is
 * written. */
bool ns_gate_coverage_write(struct ns_gate *gate);

/* --- gate_top_up.c -----------------------------------------------------------------------------
 */

/* gate->message is a PROGRESS that asks for more. check, asked: the CHECK of its call, decoded, and
 * its record; NULL: no such call is open, and nothing limits it. */
void ns_gate_top_up(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
                    size_t raw_bytes, const struct ns_record *asked,
                    const struct ns_message *check);

/* --- gate_denial.c -----------------------------------------------------------------------------
 */

/* The sentence for people, into gate->denial_text. cut: not the call is denied, but the rest of its
 * answer. */
struct ns_text ns_gate_denial_text(struct ns_gate *gate, const struct ns_ledger_numbers *numbers,
                                   bool cut);

/* The same for a call that does not keep to a mandate. */
struct ns_text ns_gate_breach_text(struct ns_gate *gate, const struct ns_mandate_breach *breach);

/* --- gate_mandates.c ---------------------------------------------------------------------------
 */

/* All that Postgres has now, each encoded, by id: what changed is written, and holds from here on.
 */
void ns_gate_take_mandates(struct ns_gate *gate, const struct ns_buffer *next, size_t next_count);

/* --- gate_budgets.c ----------------------------------------------------------------------------
 */

/* Names in a reserve the grants for some models alone that a call to this model may use. */
void ns_gate_grants_of(const struct ns_gate *gate, struct ns_text model,
                       struct ns_ledger_reserve *reserve);
/* The budgets that the ledger has, from the journal. Returns 0 or -ENOMEM. */
int ns_gate_budgets_known(struct ns_gate *gate);
/* Something happened in the store: takes new budgets, answers sync questions. */
void ns_gate_store_event(struct ns_gate *gate);
/* Hands changed counters to the store. */
void ns_gate_counters(struct ns_gate *gate);

/* --- gate_query.c ------------------------------------------------------------------------------
 */

void ns_gate_hello(struct ns_gate *gate, const struct ns_gate_from *from,
                   const struct ns_peer_address *address);
void ns_gate_query(struct ns_gate *gate, const struct ns_gate_from *from,
                   const struct ns_peer_address *address);
/* Says no to a hello: 1 version, 2 api key, 3 shutting down. */
void ns_gate_refuse(struct ns_gate *gate, const struct ns_gate_from *from, uint8_t why);
/* Answers the sync questions that Postgres has caught up with, and those whose time is over. */
void ns_gate_answer_syncs(struct ns_gate *gate);

int64_t ns_realtime_ns(void);

#endif
