/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of other processes, by their numbers: what the kernel's part tells of them
 * goes through wire/ here, and calls are asked for and reported. No I/O but with the collector. One
 * thread.
 */
#ifndef NS_BPF_STREAMS_H
#define NS_BPF_STREAMS_H

#include <stdbool.h>

#include "bpf/questions.h"
#include "bpf/record.h"
#include "wire/wire.h"

/* At once, over all processes. */
#define NS_STREAMS_MAX 16384

struct ns_streams;

/* hosts and questions must outlive them. NULL without memory. */
struct ns_streams *ns_streams_new(const struct ns_wire_hosts *hosts,
                                  struct ns_questions *questions);

/* Reports what is not over, and frees all. */
void ns_streams_free(struct ns_streams *streams);

/* A connection of this process begins, to this server. Returns what it is. */
enum ns_connection_state ns_streams_name(struct ns_streams *streams, const struct ns_record *record,
                                         const char *server_name);

/* Bytes that a process is about to write. A call whose facts are complete with them is asked
 * about (ns_questions_ask). Returns what the connection is. */
enum ns_connection_state ns_streams_write(struct ns_streams *streams,
                                          const struct ns_record *record, const uint8_t *bytes);

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

#endif
