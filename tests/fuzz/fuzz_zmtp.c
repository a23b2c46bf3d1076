/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes from the peer. The first byte chooses whether a good handshake goes before them and how
 * they are cut into pieces; what the client makes of them may not depend on the cuts.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol/zmtp.h"

#define INPUT_BYTES_MAX 16384
#define MESSAGE_BYTES_MAX 6000

static const uint8_t handshake[] =
    "\xff\0\0\0\0\0\0\0\1\x7f\x03\x01NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    "\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06ROUTER";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was received, as one number: lengths and bytes of the messages and the error at the end. */
struct trace {
    uint64_t hash;
};

static void
note(struct trace *trace, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        trace->hash = (trace->hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    }
}

static void
drain(struct ns_zmtp *zmtp, int peer, struct trace *trace, bool more_comes)
{
    static uint8_t buffer[MESSAGE_BYTES_MAX];
    static uint8_t pongs[4096];
    for (;;) {
        int got = ns_zmtp_receive(zmtp, buffer, sizeof buffer, 0);
        while (recv(peer, pongs, sizeof pongs, MSG_DONTWAIT) > 0) {
        }
        if (got == -EAGAIN && more_comes) {
            return;
        }
        if (got == -ENOTCONN) {
            return;
        }
        note(trace, &got, sizeof got);
        if (got < 0) {
            return;
        }
        note(trace, buffer, (size_t)got);
    }
}

static void
say(int peer, const uint8_t *bytes, size_t count)
{
    if (count > 0 && send(peer, bytes, count, MSG_NOSIGNAL) < 0 && errno != EPIPE &&
        errno != ECONNRESET) {
        abort();
    }
}

static uint64_t
converse(const uint8_t *data, size_t size, bool good_handshake, size_t piece)
{
    int pair[2];
    struct ns_zmtp zmtp = NS_ZMTP_CLOSED;
    struct trace trace = {0};
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        abort();
    }
    if (good_handshake) {
        say(pair[1], handshake, sizeof handshake - 1);
    } else {
        say(pair[1], data, size);
        shutdown(pair[1], SHUT_WR);
        size = 0;
    }
    int error = ns_zmtp_attach(&zmtp, pair[0], good_handshake ? ns_monotonic_ns() : INT64_MAX / 2);
    note(&trace, &error, sizeof error);
    if (good_handshake && error != 0) {
        abort();
    }
    for (size_t at = 0; at < size;) {
        size_t step = piece < size - at ? piece : size - at;
        say(pair[1], data + at, step);
        at += step;
        drain(&zmtp, pair[1], &trace, true);
    }
    shutdown(pair[1], SHUT_WR);
    drain(&zmtp, pair[1], &trace, false);
    ns_zmtp_close(&zmtp);
    close(pair[1]);
    return trace.hash;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > INPUT_BYTES_MAX) {
        return 0;
    }
    bool good_handshake = (data[0] & 1) == 0;
    size_t piece = 1 + data[0] / 2;
    uint64_t whole = converse(data + 1, size - 1, good_handshake, INPUT_BYTES_MAX);
    if (good_handshake && converse(data + 1, size - 1, true, piece) != whole) {
        abort();
    }
    return 0;
}
