/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of other processes, by their numbers: what the kernel's part tells of them
 * goes through wire/ here, and calls are asked for and reported. No I/O but with the collector. One
 * thread.
 */
#ifndef NS_BPF_STREAMS_H
#define NS_BPF_STREAMS_H

#include <poll.h>
#include <stdbool.h>

#include "bpf/record.h"
#include "shim/gate.h"
#include "wire/wire.h"

/* At once, over all processes. */
#define NS_STREAMS_MAX 16384

struct ns_streams;

/* Bytes of a process. */
struct ns_range {
    uint64_t from;
    uint32_t bytes;
};

/* A call that the collector denies, or would deny if its budget, or the agent's mode, wanted that.
 */
struct ns_denied {
    uint32_t pid;
    const char *process;
    const struct ns_gate_verdict *verdict;
    bool would;   /* it goes on */
    bool stopped; /* the process was stopped before it wrote these: */
    struct ns_range body, secret;
};

/* Does what is to be done. */
typedef void ns_streams_deny(void *context, const struct ns_denied *denied);

/* hosts must outlive them. NULL without memory. */
struct ns_streams *ns_streams_new(const struct ns_wire_hosts *hosts, ns_streams_deny *deny,
                                  void *context);

/* Reports what is not over, and frees all. */
void ns_streams_free(struct ns_streams *streams);

/* A connection of this process begins, to this server. Returns what it is. */
enum ns_connection_state ns_streams_name(struct ns_streams *streams, const struct ns_record *record,
                                         const char *server_name);

/* Bytes that a process is about to write. A call whose facts are complete with them is asked about
 * without waiting: a process that is stopped must not go on before ns_streams_asks is false. What
 * is denied is handed to ns_streams_deny. Returns what the connection is. */
enum ns_connection_state ns_streams_write(struct ns_streams *streams,
                                          const struct ns_record *record, const uint8_t *bytes);

/* Is this process stopped for an answer? (NULL: nobody is.) */
bool ns_streams_asks(const struct ns_streams *streams, uint32_t pid);

/* For poll(2), where answers arrive: fills at most `room`, returns how many. */
size_t ns_streams_poll(const struct ns_streams *streams, struct pollfd *polled, size_t room);

/* Takes the answers that are there, and rules where there was none within the deadline. */
void ns_streams_listen(struct ns_streams *streams);

/* That write is over. */
void ns_streams_written(struct ns_streams *streams, const struct ns_record *record);

void ns_streams_read(struct ns_streams *streams, const struct ns_record *record,
                     const uint8_t *bytes);

/* Bytes of a connection are missing. What was under way is reported by what was seen; over HTTP/1.x
 * it is followed again from the next request that begins a write, over HTTP/2 no more. */
void ns_streams_lost(struct ns_streams *streams, uint64_t connection);

/* A connection, or all of a process, is over. */
void ns_streams_end(struct ns_streams *streams, uint64_t connection);
void ns_streams_exit(struct ns_streams *streams, uint32_t pid);

/* Looks for processes that are over though nobody said so, and ends their connections. */
void ns_streams_sweep(struct ns_streams *streams);

/* Ends connections that the kernel's part does not know any more: ns_streams_unmark,
 * ns_streams_mark for each that it knows, ns_streams_end_unmarked. What is missing for so many such
 * rounds, some time apart, is ended, for its last records may be under way at the first. */
#define NS_STREAMS_MISSED_MAX 2
void ns_streams_unmark(struct ns_streams *streams);
void ns_streams_mark(void *streams, uint64_t connection);
void ns_streams_end_unmarked(struct ns_streams *streams);

/* Gives up all questions: who waits for an answer goes on unasked. */
void ns_streams_give_up(struct ns_streams *streams);

#endif
