/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small blocking ZMTP 3.1 client (ZeroMQ RFC 37, NULL mechanism, socket type DEALER) over
 * "ipc://PATH" (also "ipc://@NAME", abstract) and "tcp://HOST:PORT" (numeric addresses and
 * "localhost"; names are resolved by the caller, never inside a host process).
 *
 * One connection, one thread at a time, no threads, no allocation after the connect but the
 * caller's buffers, no signals (MSG_NOSIGNAL), errno kept. Every call has a deadline on
 * CLOCK_MONOTONIC; EINTR goes on until it. The descriptor is close-on-exec and, if asked, moved out
 * of the low numbers so that programs which count on 3, 4, 5 get them.
 */
#ifndef NS_PROTOCOL_ZMTP_H
#define NS_PROTOCOL_ZMTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ns_zmtp {
    int fd;                /* -1: not connected */
    int fd_min;            /* asked of connect: a descriptor of at least this number; 0: any */
    int receive_wait_ms;   /* SO_RCVTIMEO as it is now; 0: none */
    bool in_frame;         /* the head of a frame has been read, its body not wholly */
    uint8_t frame_flags;   /* of that frame */
    uint64_t frame_left;   /* bytes of its body still to come */
    uint32_t message_used; /* bytes of it already in the caller's buffer */
    uint32_t in_bytes;     /* filled part of in */
    uint32_t in_used;      /* of that, consumed */
    uint8_t in[4096];      /* read-ahead */
};

/* Not connected. */
#define NS_ZMTP_CLOSED                                                                             \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* Now on CLOCK_MONOTONIC in nanoseconds: what deadlines are measured by. */
int64_t ns_monotonic_ns(void);

/*
 * Connects and shakes hands. Returns 0, or -EINVAL endpoint not of these forms, -ENAMETOOLONG,
 * -ETIMEDOUT, -EPROTO the peer speaks no ZMTP 3.x NULL or is no ROUTER, or the errno of
 * socket(2)/connect(2) negated.
 */
int ns_zmtp_connect(struct ns_zmtp *zmtp, const char *endpoint, int64_t deadline_ns);

/* Shakes hands over a connected stream socket, which it owns from here on (closed on any error).
 * Returns as ns_zmtp_connect does. */
int ns_zmtp_attach(struct ns_zmtp *zmtp, int fd, int64_t deadline_ns);

/* Sends one single-part message. Returns 0 or a negative errno; after any error but -ETIMEDOUT
 * before the first byte left, the connection is closed (a message is never sent half and then
 * another after it). */
int ns_zmtp_send(struct ns_zmtp *zmtp, const void *message, size_t bytes, int64_t deadline_ns);

/*
 * Receives one message (its parts but the last are dropped). Answers PING with PONG on the way.
 * Returns its length, -EMSGSIZE (larger than the buffer: closed), -ETIMEDOUT (nothing complete in
 * time; what has arrived is kept, call again with the same buffer, as it was left), -EPROTO,
 * -ECONNRESET (peer gone), -ENOTCONN. After -EPROTO and -ECONNRESET the connection is closed.
 * deadline_ns 0: do not wait, -EAGAIN where nothing complete is there.
 */
int ns_zmtp_receive(struct ns_zmtp *zmtp, void *buffer, size_t buffer_bytes, int64_t deadline_ns);

/* Closes the descriptor, without goodbye. */
void ns_zmtp_close(struct ns_zmtp *zmtp);

#endif
