/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of other processes, by their numbers: what the kernel's part tells of them
 * goes through wire/ here, and calls are asked for and reported. No I/O but with the collector. One
 * thread.
 */
#ifndef NS_BPF_STREAMS_H
#define NS_BPF_STREAMS_H

#include "bpf/record.h"
#include "wire/wire.h"

/* At once, over all processes. */
#define NS_STREAMS_MAX 16384

struct ns_streams;

/* hosts must outlive them. NULL without memory. */
struct ns_streams *ns_streams_new(const struct ns_wire_hosts *hosts);

/* Reports what is not over, and frees all. */
void ns_streams_free(struct ns_streams *streams);

/* A connection of this process begins, to this server. Returns what it is. */
enum ns_connection_state ns_streams_name(struct ns_streams *streams, const struct ns_record *record,
                                         const char *server_name);

/* What is to become of a write. */
struct ns_write_ruling {
    enum ns_connection_state state;
    bool denied;       /* this part of the call's bytes must not reach the provider: */
    uint32_t blank_at; /* from here in them, */
    uint32_t blank_bytes;
    uint32_t secret_at; /* and the credential, where it is in them */
    uint32_t secret_bytes;
};

/* Bytes that a process is about to write. A call whose facts are complete with them is judged,
 * which waits for the collector at most its deadline. */
struct ns_write_ruling ns_streams_write(struct ns_streams *streams, const struct ns_record *record,
                                        const uint8_t *bytes);

/* That write is over. */
void ns_streams_written(struct ns_streams *streams, const struct ns_record *record);

void ns_streams_read(struct ns_streams *streams, const struct ns_record *record,
                     const uint8_t *bytes);

/* A connection, or all of a process, is over. */
void ns_streams_end(struct ns_streams *streams, uint64_t connection);
void ns_streams_exit(struct ns_streams *streams, uint32_t pid);

#endif
