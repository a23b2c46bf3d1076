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
#include "wire/wire.h"

/* At once, over all processes. */
#define NS_STREAMS_MAX 16384

struct ns_streams;

/* Puts blanks, or another filler, in place of bytes of a process that is stopped. */
typedef void ns_streams_overwrite(uint32_t pid, uint64_t from, uint32_t bytes, char with);

/* hosts must outlive them. NULL without memory. */
struct ns_streams *ns_streams_new(const struct ns_wire_hosts *hosts,
                                  ns_streams_overwrite *overwrite);

/* Reports what is not over, and frees all. */
void ns_streams_free(struct ns_streams *streams);

/* A connection of this process begins, to this server. Returns what it is. */
enum ns_connection_state ns_streams_name(struct ns_streams *streams, const struct ns_record *record,
                                         const char *server_name);

/* Bytes that a process is about to write. A call whose facts are complete with them is asked about:
 * without waiting where the process is stopped, which must not go on then before ns_streams_asks is
 * false. What is denied is overwritten. Returns what the connection is. */
enum ns_connection_state ns_streams_write(struct ns_streams *streams,
                                          const struct ns_record *record, const uint8_t *bytes);

/* Does this process wait for an answer? (NULL: nobody does.) */
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

#endif
