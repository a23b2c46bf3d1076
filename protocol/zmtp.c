/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ZMTP 3.1 (rfc.zeromq.org/spec/37), NULL mechanism, as a DEALER that talks to a ROUTER.
 *
 * What it costs: connecting is one send (greeting and READY together, which NULL allows) and as
 * many receives as the peer makes pieces; a message is one sendmsg; a reply is looked for while
 * awake for RECEIVE_AWAKE_NS, then by one blocking recv, which SO_RCVTIMEO ends. That timeout is
 * set again only when the time left has another order of magnitude, and is at most half of it; what
 * remains is waited for by poll, to the nanosecond.
 */
#include "protocol/zmtp.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "protocol/endpoint.h"

#define FLAG_MORE 1
#define FLAG_LONG 2
#define FLAG_COMMAND 4

#define GREETING_BYTES 64
#define PING_CONTEXT_BYTES_MAX 16
#define RECEIVE_WAIT_MS_MIN 4 /* shorter waits go to poll, which is exact */
#define RECEIVE_WAIT_MS_MAX 4096

/* A verdict takes some 50 us; a thread that went to sleep needs up to as long again to be woken. */
#define RECEIVE_AWAKE_NS 100000

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

/* Greeting (signature, 3.1, NULL, not a server, filler) and READY with our socket type. */
static const uint8_t hello[] =
    "\xff\0\0\0\0\0\0\0\0\x7f\x03\x01NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    "\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06"
    "DEALER";
_Static_assert(sizeof hello - 1 == GREETING_BYTES + 2 + 0x1c, "greeting, frame head, READY");

int64_t
ns_monotonic_ns(void)
{
    return ns_clock_ns(CLOCK_MONOTONIC);
}

/* Closes and forgets what was half received. Returns error, for one line at the place of it. */
static int
fail(struct ns_zmtp *zmtp, int error)
{
    if (zmtp->fd >= 0) {
        close(zmtp->fd);
    }
    *zmtp = (struct ns_zmtp){.fd = -1, .fd_min = zmtp->fd_min};
    return error;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* The errno of a call that failed, or 0; and whether it ends what is done. A signal's handler may
 * leave an errno of its own behind, so one is believed that comes twice in a row. */
struct trouble {
    int error;
    bool ends;
};

static void
look_at(struct trouble *trouble, bool failed)
{
    int error = failed ? errno : 0;
    trouble->ends = error != 0 && error != EINTR && error != EAGAIN && error == trouble->error;
    trouble->error = error;
}

/* Waits for events until the deadline. Returns 0, -ETIMEDOUT, or what forbids to wait. */
static int
await(int fd, short events, int64_t deadline_ns)
{
    struct trouble trouble = {0};
    for (;;) {
        int64_t left_ns = deadline_ns - ns_monotonic_ns();
        if (left_ns <= 0) {
            return -ETIMEDOUT;
        }
        struct timespec left = {left_ns / NS_PER_S, left_ns % NS_PER_S};
        struct pollfd poll = {.fd = fd, .events = events};
        /* Not ppoll: libfaketime makes waits longer or shorter. */
        long count = syscall(SYS_ppoll, &poll, 1, &left, NULL, 0);
        look_at(&trouble, count < 0);
        if (count > 0 || trouble.ends) {
            return -trouble.error;
        }
    }
}

/* The largest power of two milliseconds that is at most half of what is left; 0: poll instead. */
static int
receive_wait_ms(int64_t left_ns)
{
    if (left_ns < 2 * RECEIVE_WAIT_MS_MIN * NS_PER_MS) {
        return 0;
    }
    int wait_ms = RECEIVE_WAIT_MS_MIN;
    while (wait_ms < RECEIVE_WAIT_MS_MAX && 4 * wait_ms * NS_PER_MS <= left_ns) {
        wait_ms *= 2;
    }
    return wait_ms;
}

/* Looks again and again for a while, leaving the processor to whoever wants it. Returns as recv. */
static ssize_t
receive_awake(int fd, void *bytes, size_t count, int64_t deadline_ns)
{
    int64_t now_ns = ns_monotonic_ns();
    int64_t until_ns =
        now_ns + RECEIVE_AWAKE_NS < deadline_ns ? now_ns + RECEIVE_AWAKE_NS : deadline_ns;
    ssize_t got = recv(fd, bytes, count, MSG_DONTWAIT);
    while (got < 0 && errno == EAGAIN && ns_monotonic_ns() < until_ns) {
        sched_yield();
        got = recv(fd, bytes, count, MSG_DONTWAIT);
    }
    return got;
}

/* Receives at least one byte. Returns how many, -ETIMEDOUT, -EAGAIN (deadline 0), -ECONNRESET or
 * another negative errno. */
static ssize_t
receive_some(struct ns_zmtp *zmtp, void *bytes, size_t count, int64_t deadline_ns)
{
    bool waited = false; /* the receive timeout has passed once: poll for the rest */
    struct trouble trouble = {0};
    if (deadline_ns != 0) {
        ssize_t got = receive_awake(zmtp->fd, bytes, count, deadline_ns);
        if (got > 0) {
            return got;
        }
    }
    for (;;) {
        int flags = MSG_DONTWAIT;
        int64_t left_ns = deadline_ns == 0 ? 0 : deadline_ns - ns_monotonic_ns();
        int wait_ms = waited ? 0 : receive_wait_ms(left_ns);
        if (wait_ms != 0) {
            flags = 0;
            struct timeval timeout = {wait_ms / 1000, wait_ms % 1000 * 1000};
            if (wait_ms != zmtp->receive_wait_ms &&
                setsockopt(zmtp->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0) {
                zmtp->receive_wait_ms = wait_ms;
            }
            if (wait_ms != zmtp->receive_wait_ms) {
                flags = MSG_DONTWAIT;
            }
        } else if (deadline_ns != 0 && await(zmtp->fd, POLLIN, deadline_ns) < 0) {
            /* One last look, so that a deadline which has passed still takes what is there. */
            deadline_ns = 1;
        }
        ssize_t got = recv(zmtp->fd, bytes, count, flags);
        look_at(&trouble, got < 0);
        if (got > 0) {
            return got;
        }
        if (got == 0) {
            return -ECONNRESET;
        }
        if (trouble.error == EAGAIN && deadline_ns <= 1) {
            return deadline_ns == 0 ? -EAGAIN : -ETIMEDOUT;
        }
        if (trouble.ends) {
            return -trouble.error;
        }
        waited = waited || trouble.error == EAGAIN;
    }
}

/* Sends all of it. *sent is what left, error or not. Returns 0, -ETIMEDOUT or a negative errno. */
static int
send_all(int fd, struct iovec parts[2], size_t *sent, int64_t deadline_ns)
{
    size_t left = parts[0].iov_len + parts[1].iov_len;
    struct trouble trouble = {0};
    *sent = 0;
    while (left > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t count = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        look_at(&trouble, count < 0);
        if (trouble.error == EAGAIN) {
            int waited = await(fd, POLLOUT, deadline_ns);
            if (waited < 0) {
                return waited;
            }
        } else if (trouble.ends) {
            return -trouble.error;
        }
        for (size_t i = 0, rest = count > 0 ? (size_t)count : 0; i < 2; i++) {
            size_t step = rest < parts[i].iov_len ? rest : parts[i].iov_len;
            if (step == 0) {
                continue; /* an empty part may have no address to add to */
            }
            parts[i].iov_base = (uint8_t *)parts[i].iov_base + step;
            parts[i].iov_len -= step;
            rest -= step;
            left -= step;
            *sent += step;
        }
    }
    return 0;
}

/* Sends one frame; closes where it could not go whole. */
static int
send_frame(struct ns_zmtp *zmtp, uint8_t flags, const void *body, size_t bytes, int64_t deadline_ns)
{
    uint8_t head[9] = {flags, (uint8_t)bytes};
    size_t head_bytes = 2;
    if (bytes > 255) {
        head[0] = flags | FLAG_LONG;
        head_bytes = 9;
        for (int i = 0; i < 8; i++) {
            head[1 + i] = (uint8_t)((uint64_t)bytes >> (56 - 8 * i));
        }
    }
    struct iovec parts[2] = {{head, head_bytes}, {(void *)(uintptr_t)body, bytes}};
    size_t sent;
    int error = send_all(zmtp->fd, parts, &sent, deadline_ns);
    return error == 0 || (error == -ETIMEDOUT && sent == 0) ? error : fail(zmtp, error);
}

/* --- the read-ahead --------------------------------------------------------------------------- */

/* Bytes read and not consumed. */
static size_t
ahead(const struct ns_zmtp *zmtp)
{
    return zmtp->in_bytes - zmtp->in_used;
}

/* Reads until at least count (at most the size of in) bytes are ahead. */
static int
fill(struct ns_zmtp *zmtp, size_t count, int64_t deadline_ns)
{
    if (ahead(zmtp) >= count) {
        return 0;
    }
    memmove(zmtp->in, zmtp->in + zmtp->in_used, ahead(zmtp));
    zmtp->in_bytes = (uint32_t)ahead(zmtp);
    zmtp->in_used = 0;
    while (zmtp->in_bytes < count) {
        ssize_t got = receive_some(zmtp, zmtp->in + zmtp->in_bytes,
                                   sizeof zmtp->in - zmtp->in_bytes, deadline_ns);
        if (got < 0) {
            return got == -ETIMEDOUT || got == -EAGAIN ? (int)got : fail(zmtp, (int)got);
        }
        zmtp->in_bytes += (uint32_t)got;
    }
    return 0;
}

/* Reads the head of the next frame. */
static int
next_frame(struct ns_zmtp *zmtp, int64_t deadline_ns)
{
    int error = fill(zmtp, 2, deadline_ns);
    if (error != 0) {
        return error;
    }
    uint8_t flags = zmtp->in[zmtp->in_used];
    bool command_in_parts = (flags & FLAG_COMMAND) != 0 && (flags & FLAG_MORE) != 0;
    if ((flags & ~(FLAG_MORE | FLAG_LONG | FLAG_COMMAND)) != 0 || command_in_parts) {
        return fail(zmtp, -EPROTO);
    }
    size_t size_bytes = (flags & FLAG_LONG) != 0 ? 8 : 1;
    error = fill(zmtp, 1 + size_bytes, deadline_ns);
    if (error != 0) {
        return error;
    }
    uint64_t size = 0;
    for (size_t i = 0; i < size_bytes; i++) {
        size = size << 8 | zmtp->in[zmtp->in_used + 1 + i];
    }
    if (size > INT64_MAX || ((flags & FLAG_COMMAND) != 0 && size > sizeof zmtp->in)) {
        return fail(zmtp, -EPROTO);
    }
    zmtp->in_used += (uint32_t)(1 + size_bytes);
    zmtp->in_frame = true;
    zmtp->frame_flags = flags;
    zmtp->frame_left = size;
    zmtp->message_used = 0;
    return 0;
}

/* Takes the body of a command; it stays valid until the next fill. */
static int
take_command(struct ns_zmtp *zmtp, const uint8_t **body, size_t *bytes, int64_t deadline_ns)
{
    int error = fill(zmtp, (size_t)zmtp->frame_left, deadline_ns);
    if (error != 0) {
        return error;
    }
    *body = zmtp->in + zmtp->in_used;
    *bytes = (size_t)zmtp->frame_left;
    zmtp->in_used += (uint32_t)*bytes;
    zmtp->in_frame = false;
    return 0;
}

static bool
is_command(const uint8_t *body, size_t bytes, const char *name)
{
    size_t name_bytes = strlen(name);
    return bytes > name_bytes && body[0] == name_bytes && memcmp(body + 1, name, name_bytes) == 0;
}

/* --- the handshake ---------------------------------------------------------------------------- */

/* RFC 37, "Greeting": signature, major version 3, mechanism NULL. */
static bool
is_greeting(const uint8_t *greeting)
{
    static const uint8_t null_mechanism[20] = "NULL";
    return greeting[0] == 0xff && (greeting[9] & 1) == 1 && greeting[10] >= 3 &&
           memcmp(greeting + 12, null_mechanism, sizeof null_mechanism) == 0;
}

/* READY's properties (name size, name, value size in 4 bytes, value): is the peer a ROUTER? */
static bool
is_ready_router(const uint8_t *body, size_t bytes)
{
    if (!is_command(body, bytes, "READY")) {
        return false;
    }
    bool router = false;
    size_t at = 6;
    while (at < bytes) {
        size_t name_bytes = body[at];
        if (name_bytes == 0 || bytes - at < 1 + name_bytes + 4) {
            return false;
        }
        const uint8_t *name = body + at + 1;
        const uint8_t *size = name + name_bytes;
        size_t value_bytes =
            (size_t)size[0] << 24 | (size_t)size[1] << 16 | (size_t)size[2] << 8 | (size_t)size[3];
        at += 1 + name_bytes + 4;
        if (bytes - at < value_bytes) {
            return false;
        }
        if (name_bytes == 11 && strncasecmp((const char *)name, "Socket-Type", 11) == 0) {
            router = value_bytes == 6 && memcmp(body + at, "ROUTER", 6) == 0;
        }
        at += value_bytes;
    }
    return router;
}

/* The signature is judged as it comes, so that a peer which speaks something else and waits is
 * known at once, not at the deadline. */
static int
receive_greeting(struct ns_zmtp *zmtp, int64_t deadline_ns)
{
    static const size_t steps[] = {1, 11, GREETING_BYTES};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        int error = fill(zmtp, steps[i], deadline_ns);
        if (error != 0) {
            return error;
        }
        bool refused =
            zmtp->in[0] != 0xff || (i >= 1 && ((zmtp->in[9] & 1) == 0 || zmtp->in[10] < 3));
        if (refused) {
            return fail(zmtp, -EPROTO);
        }
    }
    if (!is_greeting(zmtp->in)) {
        return fail(zmtp, -EPROTO);
    }
    zmtp->in_used = GREETING_BYTES;
    return 0;
}

static int
shake_hands(struct ns_zmtp *zmtp, int64_t deadline_ns)
{
    struct iovec parts[2] = {{(void *)(uintptr_t)hello, sizeof hello - 1}, {NULL, 0}};
    size_t sent;
    int error = send_all(zmtp->fd, parts, &sent, deadline_ns);
    if (error == 0) {
        error = receive_greeting(zmtp, deadline_ns);
    }
    if (error == 0) {
        error = next_frame(zmtp, deadline_ns);
    }
    if (error == 0 && (zmtp->frame_flags & FLAG_COMMAND) == 0) {
        error = -EPROTO;
    }
    const uint8_t *body;
    size_t bytes;
    if (error == 0) {
        error = take_command(zmtp, &body, &bytes, deadline_ns);
    }
    if (error == 0 && !is_ready_router(body, bytes)) {
        error = -EPROTO;
    }
    return error;
}

/* --- connecting ------------------------------------------------------------------------------- */

/* connect(2) until the deadline: a full backlog (Unix) or a silent host (TCP) ends with it. */
static int
connect_by(int fd, const struct ns_endpoint *endpoint, int64_t deadline_ns)
{
    struct trouble trouble = {0};
    for (;;) {
        int64_t left_ns = deadline_ns - ns_monotonic_ns();
        if (left_ns <= 0) {
            return -ETIMEDOUT;
        }
        int64_t left_us = (left_ns + 999) / 1000;
        struct timeval left = {left_us / 1000000, left_us % 1000000};
        if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof left) != 0) {
            return -errno;
        }
        look_at(&trouble, connect(fd, (const struct sockaddr *)&endpoint->address,
                                  endpoint->address_bytes) != 0);
        int error = trouble.error;
        if (error == 0 || error == EISCONN) {
            return 0;
        }
        if (error == EAGAIN || error == EINPROGRESS || error == EALREADY) {
            return -ETIMEDOUT;
        }
        if (trouble.ends) {
            return -error;
        }
    }
}

/* Moves a descriptor to fd_min or above; where that cannot be, it stays. */
static int
move_up(int fd, int fd_min)
{
    if (fd >= fd_min) {
        return fd;
    }
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, fd_min);
    if (moved < 0) {
        return fd;
    }
    close(fd);
    return moved;
}

static int
connect_and_shake(struct ns_zmtp *zmtp, const struct ns_endpoint *endpoint, int64_t deadline_ns)
{
    int family = endpoint->address.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    fd = move_up(fd, zmtp->fd_min);
    int error = connect_by(fd, endpoint, deadline_ns);
    if (error != 0) {
        close(fd);
        return error;
    }
    if (family != AF_UNIX) {
        int yes = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    }
    return ns_zmtp_attach(zmtp, fd, deadline_ns);
}

/* --- the door --------------------------------------------------------------------------------- */

int
ns_zmtp_attach(struct ns_zmtp *zmtp, int fd, int64_t deadline_ns)
{
    int saved = errno;
    *zmtp = (struct ns_zmtp){.fd = fd, .fd_min = zmtp->fd_min};
    int error = shake_hands(zmtp, deadline_ns);
    if (error != 0) {
        fail(zmtp, error);
    }
    errno = saved;
    return error;
}

int
ns_zmtp_connect(struct ns_zmtp *zmtp, const char *endpoint, int64_t deadline_ns)
{
    int saved = errno;
    struct ns_endpoint parsed;
    *zmtp = (struct ns_zmtp){.fd = -1, .fd_min = zmtp->fd_min};
    int error = ns_endpoint_parse(endpoint, &parsed);
    if (error == 0) {
        error = connect_and_shake(zmtp, &parsed, deadline_ns);
    }
    errno = saved;
    return error;
}

int
ns_zmtp_send(struct ns_zmtp *zmtp, const void *message, size_t bytes, int64_t deadline_ns)
{
    if (zmtp->fd < 0) {
        return -ENOTCONN;
    }
    int saved = errno;
    int error = send_frame(zmtp, 0, message, bytes, deadline_ns);
    errno = saved;
    return error;
}

/* Answers PING, ends with ERROR, lets what else there is pass. */
static int
receive_command(struct ns_zmtp *zmtp, int64_t deadline_ns)
{
    const uint8_t *body;
    size_t bytes;
    int error = take_command(zmtp, &body, &bytes, deadline_ns);
    if (error != 0) {
        return error;
    }
    if (is_command(body, bytes, "ERROR")) {
        return fail(zmtp, -EPROTO);
    }
    if (!is_command(body, bytes, "PING")) {
        return 0;
    }
    /* PING is its name, 2 bytes of time-to-live and a context that PONG gives back. */
    size_t context_bytes = bytes < 7 ? 0 : bytes - 7;
    if (bytes < 7 || context_bytes > PING_CONTEXT_BYTES_MAX) {
        return fail(zmtp, -EPROTO);
    }
    uint8_t pong[5 + PING_CONTEXT_BYTES_MAX] = "\x04PONG";
    memcpy(pong + 5, body + 7, context_bytes);
    error = send_frame(zmtp, FLAG_COMMAND, pong, 5 + context_bytes, deadline_ns);
    /* A PONG for which there is no room now is not worth a message: the peer asks again. */
    return error == -ETIMEDOUT ? 0 : error;
}

/* Moves the rest of a frame into the buffer, or past it where parts follow. */
static int
receive_body(struct ns_zmtp *zmtp, uint8_t *buffer, int64_t deadline_ns)
{
    bool dropped = (zmtp->frame_flags & FLAG_MORE) != 0;
    while (zmtp->frame_left > 0) {
        uint8_t *to = dropped ? NULL : buffer + zmtp->message_used;
        size_t step = ahead(zmtp);
        if (step == 0 && !dropped && zmtp->frame_left >= sizeof zmtp->in) {
            ssize_t got = receive_some(zmtp, to, (size_t)zmtp->frame_left, deadline_ns);
            if (got < 0) {
                return got == -ETIMEDOUT || got == -EAGAIN ? (int)got : fail(zmtp, (int)got);
            }
            zmtp->message_used += (uint32_t)got;
            zmtp->frame_left -= (uint64_t)got;
            continue;
        }
        if (step == 0) {
            int error = fill(zmtp, 1, deadline_ns);
            if (error != 0) {
                return error;
            }
            step = ahead(zmtp);
        }
        step = step < zmtp->frame_left ? step : (size_t)zmtp->frame_left;
        if (!dropped) {
            memcpy(to, zmtp->in + zmtp->in_used, step);
            zmtp->message_used += (uint32_t)step;
        }
        zmtp->in_used += (uint32_t)step;
        zmtp->frame_left -= step;
    }
    zmtp->in_frame = false;
    return 0;
}

static int
receive_message(struct ns_zmtp *zmtp, uint8_t *buffer, size_t buffer_bytes, int64_t deadline_ns)
{
    for (;;) {
        int error = zmtp->in_frame ? 0 : next_frame(zmtp, deadline_ns);
        if (error != 0) {
            return error;
        }
        bool command = (zmtp->frame_flags & FLAG_COMMAND) != 0;
        bool last = !command && (zmtp->frame_flags & FLAG_MORE) == 0;
        if (last && zmtp->message_used + zmtp->frame_left > buffer_bytes) {
            return fail(zmtp, -EMSGSIZE);
        }
        error =
            command ? receive_command(zmtp, deadline_ns) : receive_body(zmtp, buffer, deadline_ns);
        if (error != 0) {
            return error;
        }
        if (last) {
            return (int)zmtp->message_used;
        }
    }
}

int
ns_zmtp_receive(struct ns_zmtp *zmtp, void *buffer, size_t buffer_bytes, int64_t deadline_ns)
{
    if (zmtp->fd < 0) {
        return -ENOTCONN;
    }
    int saved = errno;
    size_t most = buffer_bytes < INT32_MAX ? buffer_bytes : INT32_MAX;
    int result = receive_message(zmtp, buffer, most, deadline_ns);
    errno = saved;
    return result;
}

void
ns_zmtp_close(struct ns_zmtp *zmtp)
{
    int saved = errno;
    fail(zmtp, 0);
    errno = saved;
}
