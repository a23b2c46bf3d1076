/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol/endpoint.h"
#include "tests/unit/zmtp_support.h"

/* --- against a peer written out byte by byte -------------------------------------------------- */

#define GREETING                                                                                   \
    "\xff\0\0\0\0\0\0\0\1\x7f\x03\x01NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"                         \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define READY_AS(size, type_size, type)                                                            \
    "\x04" size "\x05READY\x0bSocket-Type\0\0\0" type_size type "\x08Identity\0\0\0\0"
#define READY READY_AS("\x29", "\x06", "ROUTER")

struct bytes {
    const char *bytes;
    size_t count;
};
#define BYTES(literal) ((struct bytes){literal, sizeof(literal) - 1})

/* A peer that says these bytes at once, then hangs up unless it stays. Returns what attaching to it
 * does; the peer's end is *peer. */
static int
attach_to(struct ns_zmtp *zmtp, const struct bytes *said, bool stays, int *peer)
{
    int pair[2] = {-1, -1};
    *peer = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return -errno;
    }
    if (send(pair[1], said->bytes, said->count, 0) != (ssize_t)said->count) {
        NS_FAIL("the peer could not speak");
    }
    if (!stays) {
        shutdown(pair[1], SHUT_WR);
    }
    *peer = pair[1];
    return ns_zmtp_attach(zmtp, pair[0], in(stays ? 50 * MS : 10 * S));
}

TEST(a_peer_that_speaks_something_else_is_refused_at_once)
{
    static const struct {
        struct bytes said;
        bool stays;
        int error;
    } peers[] = {
        {BYTES("HTTP/1.1 400 Bad Request\r\n\r\n"), true, -EPROTO},
        {BYTES("\x00"), true, -EPROTO},
        {BYTES("\xff\0\0\0\0\0\0\0\1\x7f\x01"), true, -EPROTO}, /* ZMTP 2.0 */
        {BYTES("\xff\0\0\0\0\0\0\0\1\x7e\x03"), true, -EPROTO},
        {BYTES("\xff\0\0\0\0\0\0\0\1\x7f\x03\x01"
               "CURVE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
               "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
         true, -EPROTO},
        {BYTES(GREETING READY_AS("\x26", "\x03", "PUB")), true, -EPROTO},
        {BYTES(GREETING READY_AS("\x29", "\x06", "DEALER")), true, -EPROTO},
        {BYTES(GREETING READY_AS("\x29", "\xff", "ROUTER")), true, -EPROTO},
        {BYTES(GREETING "\x04\x06\x05READY"), true, -EPROTO}, /* no socket type */
        {BYTES(GREETING "\x04\x07\x05READY\x0b"), true, -EPROTO},
        {BYTES(GREETING "\x04\x07\x05READY\0"), true, -EPROTO},
        {BYTES(GREETING "\x04\x0b\x05"
                        "ERROR\x04nope"),
         true, -EPROTO},
        {BYTES(GREETING "\0\x05hello"), true, -EPROTO}, /* a message before READY */
        {BYTES(GREETING "\x0c\x01x"), true, -EPROTO},   /* a reserved flag */
        {BYTES(GREETING "\x05\x01x"), true, -EPROTO},   /* a command in parts */
        {BYTES(GREETING "\x06\0\0\0\0\0\0\x10\x01x"), true, -EPROTO},
        {BYTES(GREETING "\x06\xff\xff\xff\xff\xff\xff\xff\xffx"), true, -EPROTO},
        {BYTES(""), false, -ECONNRESET},
        {BYTES("\xff\0\0"), false, -ECONNRESET},
        {BYTES(GREETING), false, -ECONNRESET},
        {BYTES(GREETING "\x04\x29\x05REA"), false, -ECONNRESET},
        {BYTES(""), true, -ETIMEDOUT},
        {BYTES("\xff\0\0\0"), true, -ETIMEDOUT},
        {BYTES(GREETING), true, -ETIMEDOUT},
        {BYTES(GREETING READY), true, 0},
    };
    int before = open_descriptors();
    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++) {
        struct ns_zmtp zmtp = NS_ZMTP_CLOSED;
        int peer = -1;
        int error = attach_to(&zmtp, &peers[i].said, peers[i].stays, &peer);
        if (error != peers[i].error || (zmtp.fd >= 0) != (error == 0)) {
            NS_FAIL("peer %zu: %d, not %d; descriptor %d", i, error, peers[i].error, zmtp.fd);
        }
        ns_zmtp_close(&zmtp);
        close(peer);
    }
    CHECK_INT(open_descriptors(), before);
}

TEST(our_greeting_and_ready_are_what_the_specification_says)
{
    struct ns_zmtp zmtp = NS_ZMTP_CLOSED;
    int peer = -1;
    uint8_t said[256];
    CHECK_INT(attach_to(&zmtp, &BYTES(GREETING READY), true, &peer), 0);
    static const char expected[] =
        "\xff\0\0\0\0\0\0\0\0\x7f\x03\x01NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        "\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06"
        "DEALER";
    ssize_t count = recv(peer, said, sizeof said, MSG_DONTWAIT);
    CHECK_INT(count, (int)sizeof expected - 1);
    CHECK(memcmp(said, expected, sizeof expected - 1) == 0);
    CHECK_INT(ns_zmtp_send(&zmtp, "hello", 5, in(S)), 0);
    count = recv(peer, said, sizeof said, MSG_DONTWAIT);
    CHECK_INT(count, 7);
    CHECK(memcmp(said, "\0\5hello", 7) == 0);
    ns_zmtp_close(&zmtp);
    close(peer);
}

/* A connection past its handshake, and the other end of it. */
static bool
open_pair(struct ns_zmtp *zmtp, int *peer)
{
    uint8_t said[256];
    *zmtp = (struct ns_zmtp)NS_ZMTP_CLOSED;
    return attach_to(zmtp, &BYTES(GREETING READY), true, peer) == 0 &&
           recv(*peer, said, sizeof said, MSG_DONTWAIT) > 0;
}

static void
say(int peer, struct bytes said)
{
    if (send(peer, said.bytes, said.count, MSG_NOSIGNAL) != (ssize_t)said.count) {
        NS_FAIL("the peer could not speak");
    }
}

TEST(what_arrives_byte_by_byte_is_kept_between_calls_that_time_out)
{
    struct ns_zmtp zmtp;
    int peer;
    uint8_t buffer[600];
    static char stream[1200];
    size_t at = 0;
    REQUIRE(open_pair(&zmtp, &peer));
    /* Two parts that are dropped, a PING, and a message of 300 bytes. */
    memcpy(stream + at, "\x01\x03one", 5);
    at += 5;
    memcpy(stream + at, "\x04\x0a\x04PING\0\0abc", 12);
    at += 12;
    memcpy(stream + at, "\x03\0\0\0\0\0\0\1\x01", 9);
    at += 9 + 257;
    memcpy(stream + at, "\x02\0\0\0\0\0\0\1\x2c", 9);
    at += 9;
    memset(stream + at, 'x', 300);
    at += 300;
    for (size_t i = 0; i < at; i++) {
        CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, i % 50 == 0 ? in(MS) : 0),
                  i % 50 == 0 ? -ETIMEDOUT : -EAGAIN);
        say(peer, (struct bytes){&stream[i], 1});
    }
    CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, in(10 * S)), 300);
    CHECK(buffer[0] == 'x' && buffer[299] == 'x');
    uint8_t pong[64];
    CHECK_INT(recv(peer, pong, sizeof pong, MSG_DONTWAIT), 10);
    CHECK(memcmp(pong, "\x04\x08\x04PONGabc", 10) == 0);
    ns_zmtp_close(&zmtp);
    close(peer);
}

TEST(a_large_message_in_pieces_is_kept_too)
{
    struct ns_zmtp zmtp;
    int peer;
    static uint8_t large[100000], buffer[100000];
    REQUIRE(open_pair(&zmtp, &peer));
    for (size_t i = 0; i < sizeof large; i++) {
        large[i] = (uint8_t)ns_test_random();
    }
    say(peer, BYTES("\x02\0\0\0\0\0\1\x86\xa0"));
    for (size_t at = 0; at < sizeof large;) {
        CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, 0), -EAGAIN);
        size_t step = 1 + ns_test_random() % 9000;
        step = step < sizeof large - at ? step : sizeof large - at;
        say(peer, (struct bytes){(const char *)large + at, step});
        at += step;
    }
    say(peer, BYTES("\0\2ok"));
    CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, in(10 * S)), (int)sizeof large);
    CHECK(memcmp(large, buffer, sizeof large) == 0);
    CHECK_INT(ns_zmtp_receive(&zmtp, buffer, 2, in(10 * S)), 2);
    ns_zmtp_close(&zmtp);
    close(peer);
}

TEST(a_message_larger_than_the_buffer_closes_and_one_as_large_does_not)
{
    struct ns_zmtp zmtp;
    int peer;
    uint8_t buffer[8];
    REQUIRE(open_pair(&zmtp, &peer));
    say(peer, BYTES("\0\x08"
                    "12345678"
                    "\0\x09"
                    "123456789"));
    CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, in(10 * S)), 8);
    CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, in(10 * S)), -EMSGSIZE);
    CHECK_INT(zmtp.fd, -1);
    CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, in(10 * S)), -ENOTCONN);
    CHECK_INT(ns_zmtp_send(&zmtp, "x", 1, in(10 * S)), -ENOTCONN);
    close(peer);
}

TEST(frames_against_the_rules_close_the_connection)
{
    static const struct bytes frames[] = {
        BYTES("\x08\x01x"),        /* a reserved flag */
        BYTES("\x05\x05\x04PING"), /* a command in parts */
        BYTES("\x04\x05\x04PING"), /* no time to live */
        BYTES("\x04\x18\x04PING\0\0"
              "01234567890123456"), /* a context of 17 bytes */
        BYTES("\x04\x06\x05"
              "ERROR"),
        BYTES("\x02\x80\0\0\0\0\0\0\0"), /* a size beyond int64 */
        BYTES("\x06\0\0\0\0\0\0\x20\0"), /* a command of 8 KiB */
    };
    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        struct ns_zmtp zmtp;
        int peer;
        uint8_t buffer[64];
        REQUIRE(open_pair(&zmtp, &peer));
        say(peer, frames[i]);
        CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, in(10 * S)), -EPROTO);
        CHECK_INT(zmtp.fd, -1);
        close(peer);
    }
}

TEST(commands_that_are_not_known_pass)
{
    struct ns_zmtp zmtp;
    int peer;
    uint8_t buffer[64];
    REQUIRE(open_pair(&zmtp, &peer));
    say(peer, BYTES("\x04\x05\x04PONG\x04\x04\x03NEW\x04\0\0\2ok"));
    CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, in(10 * S)), 2);
    ns_zmtp_close(&zmtp);
    close(peer);
}

TEST(a_silent_peer_ends_with_the_deadline_and_the_connection_stays)
{
    struct ns_zmtp zmtp;
    int peer;
    uint8_t buffer[64];
    REQUIRE(open_pair(&zmtp, &peer));
    static const int64_t waits_ms[] = {1, 7, 20, 130};
    for (size_t i = 0; i < 4; i++) {
        int64_t start = ns_monotonic_ns();
        int64_t deadline = start + waits_ms[i] * MS;
        CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, deadline), -ETIMEDOUT);
        CHECK(ns_monotonic_ns() >= deadline);
    }
    say(peer, BYTES("\0\2ok"));
    /* What is there is taken even where the deadline has passed. */
    CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, in(-S)), 2);
    ns_zmtp_close(&zmtp);
    close(peer);
}

TEST(a_peer_that_is_gone_is_told_without_a_signal)
{
    struct ns_zmtp zmtp;
    int peer;
    uint8_t buffer[64];
    REQUIRE(open_pair(&zmtp, &peer));
    say(peer, BYTES("\0\2ok\0\5hal"));
    close(peer);
    CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, in(10 * S)), 2);
    CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, in(10 * S)), -ECONNRESET);
    CHECK_INT(zmtp.fd, -1);
    REQUIRE(open_pair(&zmtp, &peer));
    close(peer);
    CHECK_INT(ns_zmtp_send(&zmtp, "x", 1, in(10 * S)), -EPIPE);
    CHECK_INT(zmtp.fd, -1);
}

TEST(a_peer_that_does_not_read_ends_a_send_whole_or_closed)
{
    struct ns_zmtp zmtp;
    int peer;
    static uint8_t large[1 << 20];
    REQUIRE(open_pair(&zmtp, &peer));
    /* Too large for the socket: some of it leaves, so the connection cannot go on. */
    CHECK_INT(ns_zmtp_send(&zmtp, large, sizeof large, in(20 * MS)), -ETIMEDOUT);
    CHECK_INT(zmtp.fd, -1);
    close(peer);
    REQUIRE(open_pair(&zmtp, &peer));
    int error = 0;
    for (int i = 0; i < 100000 && error == 0; i++) {
        error = ns_zmtp_send(&zmtp, large, 1024, 0);
    }
    CHECK_INT(error, -ETIMEDOUT);
    CHECK_INT(zmtp.fd >= 0, 1); /* nothing of the last one left */
    ns_zmtp_close(&zmtp);
    close(peer);
}

/* --- the descriptor, errno, signals ----------------------------------------------------------- */

static void
on_alarm(int signal)
{
    (void)signal;
}

TEST(signals_do_not_end_a_wait_early)
{
    struct ns_zmtp zmtp;
    int peer;
    uint8_t buffer[16];
    struct sigaction action = {.sa_handler = on_alarm}, old;
    REQUIRE(open_pair(&zmtp, &peer));
    sigaction(SIGALRM, &action, &old);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    struct itimerspec every = {{0, 3 * MS}, {0, 3 * MS}};
    REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
    timer_settime(timer, 0, &every, NULL);
    int64_t deadline = in(100 * MS);
    CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, deadline), -ETIMEDOUT);
    CHECK(ns_monotonic_ns() >= deadline);
    timer_delete(timer);
    sigaction(SIGALRM, &old, NULL);
    ns_zmtp_close(&zmtp);
    close(peer);
}

TEST(errno_is_left_as_it_was)
{
    struct ns_zmtp zmtp;
    int peer;
    uint8_t buffer[16];
    REQUIRE(open_pair(&zmtp, &peer));
    errno = EXDEV;
    ns_zmtp_receive(&zmtp, buffer, sizeof buffer, 0);
    CHECK_INT(errno, EXDEV);
    ns_zmtp_receive(&zmtp, buffer, sizeof buffer, in(MS));
    CHECK_INT(errno, EXDEV);
    close(peer);
    errno = EXDEV;
    ns_zmtp_send(&zmtp, "x", 1, in(S));
    CHECK_INT(errno, EXDEV);
    ns_zmtp_connect(&zmtp, "ipc:///nowhere/at/all", in(S));
    CHECK_INT(errno, EXDEV);
}

TEST(where_nothing_listens_connecting_fails_as_connect_does)
{
    struct ns_zmtp zmtp = NS_ZMTP_CLOSED;
    int before = open_descriptors();
    CHECK_INT(ns_zmtp_connect(&zmtp, "ipc:///tmp/ns-zmtp-nobody.sock", in(S)), -ENOENT);
    CHECK_INT(ns_zmtp_connect(&zmtp, "ipc://@ns-zmtp-nobody", in(S)), -ECONNREFUSED);
    CHECK_INT(ns_zmtp_connect(&zmtp, "tcp://127.0.0.1:1", in(S)), -ECONNREFUSED);
    CHECK_INT(ns_zmtp_connect(&zmtp, "tcp://127.0.0.1:1", in(-S)), -ETIMEDOUT);
    CHECK_INT(open_descriptors(), before);
}

TEST(a_full_backlog_ends_with_the_deadline)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int size =
        snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "ns-full-%d", (int)getpid());
    socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)size);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(bind(listener, (struct sockaddr *)&address, bytes) == 0 && listen(listener, 0) == 0);
    int first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(connect(first, (struct sockaddr *)&address, bytes) == 0);
    struct ns_zmtp zmtp = NS_ZMTP_CLOSED;
    char endpoint[128];
    snprintf(endpoint, sizeof endpoint, "ipc://@%s", address.sun_path + 1);
    int64_t deadline = in(30 * MS);
    CHECK_INT(ns_zmtp_connect(&zmtp, endpoint, deadline), -ETIMEDOUT);
    CHECK(ns_monotonic_ns() >= deadline);
    close(first);
    close(listener);
}

TEST(endpoints_are_read_as_documented)
{
    struct ns_endpoint endpoint;
    char path[300];
    static const char *const bad[] = {
        "",
        "ipc",
        "ipc://",
        "ipc://@",
        "tcp://",
        "tcp://:1",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:1x",
        "tcp://127.0.0.1:000001",
        "tcp://name.example:1",
        "tcp://[::1:1",
        "tcp://::1:1",
        "tcp://*:1",
        "udp://127.0.0.1:1",
        "inproc://x",
        "/run/x.sock",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (ns_endpoint_parse(bad[i], &endpoint) != -EINVAL) {
            NS_FAIL("\"%s\" is taken", bad[i]);
        }
    }
    CHECK_INT(ns_endpoint_parse("tcp://localhost:65535", &endpoint), 0);
    struct sockaddr_in *inet = (struct sockaddr_in *)&endpoint.address;
    CHECK_INT(ntohl(inet->sin_addr.s_addr), INADDR_LOOPBACK);
    CHECK_INT(ntohs(inet->sin_port), 65535);
    CHECK_INT(ns_endpoint_parse("tcp://[::1]:8787", &endpoint), 0);
    CHECK_INT(endpoint.address.ss_family, AF_INET6);
    memset(path, 'p', sizeof path);
    memcpy(path, "ipc:///", 7);
    path[6 + 107] = '\0';
    CHECK_INT(ns_endpoint_parse(path, &endpoint), 0);
    memset(path + 7, 'p', 200);
    path[6 + 108] = '\0';
    CHECK_INT(ns_endpoint_parse(path, &endpoint), -ENAMETOOLONG);
    path[6] = '@';
    CHECK_INT(ns_endpoint_parse(path, &endpoint), 0);
}
