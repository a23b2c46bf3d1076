/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupted system calls. A send that does not wait is interrupted by no signal that a test could
 * time, so this program has its own sendmsg, recv and connect, which say that they were, or did a
 * part only; and a storm of real signals comes upon a send that waits for room.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/zmtp_support.h"

#define HELLO_BYTES (64 + 2 + 0x1c)

/* Two of three calls are interrupted, and every other of the rest does one byte only. */
static bool hostile;
static unsigned calls, interrupted, cut;

static bool
interrupts(void)
{
    if (!hostile || ++calls % 3 == 0) {
        return false;
    }
    interrupted++;
    errno =
        interrupted % 2 == 0 ? EDOM : EINTR; /* as a handler leaves it that does not restore it */
    return true;
}

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (interrupts()) {
        return -1;
    }
    for (size_t i = 0; hostile && calls % 2 == 0 && i < message->msg_iovlen; i++) {
        if (message->msg_iov[i].iov_len > 1) {
            cut++;
            struct iovec byte = {message->msg_iov[i].iov_base, 1};
            struct msghdr part = {.msg_iov = &byte, .msg_iovlen = 1};
            return syscall(SYS_sendmsg, fd, &part, flags);
        }
    }
    return syscall(SYS_sendmsg, fd, message, flags);
}

ssize_t
recv(int fd, void *bytes, size_t count, int flags)
{
    if (interrupts()) {
        return -1;
    }
    cut += hostile && calls % 2 == 0;
    return syscall(SYS_recvfrom, fd, bytes, hostile && calls % 2 == 0 ? 1 : count, flags, NULL,
                   NULL);
}

int
connect(int fd, const struct sockaddr *address, socklen_t bytes)
{
    return interrupts() ? -1 : (int)syscall(SYS_connect, fd, address, bytes);
}

static void
begin_hostility(void)
{
    calls = interrupted = cut = 0;
    hostile = true;
}

static void
read_exactly(int fd, uint8_t *bytes, size_t count)
{
    size_t got = 0;
    while (got < count) {
        ssize_t more = read(fd, bytes + got, count - got);
        REQUIRE(more > 0 || (more < 0 && errno == EINTR));
        got += more > 0 ? (size_t)more : 0;
    }
}

static void
open_pair(struct ns_zmtp *zmtp, int *peer)
{
    int pair[2];
    static uint8_t said[HELLO_BYTES];
    *zmtp = (struct ns_zmtp)NS_ZMTP_CLOSED;
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    REQUIRE(write(pair[1], ZMTP_ROUTER, sizeof ZMTP_ROUTER - 1) == sizeof ZMTP_ROUTER - 1);
    CHECK_INT(ns_zmtp_attach(zmtp, pair[0], in(60 * S)), 0);
    read_exactly(pair[1], said, sizeof said);
    *peer = pair[1];
}

TEST(a_message_arrives_whole_whatever_interrupts_its_sending)
{
    static uint8_t message[300], frame[9 + sizeof message];
    struct ns_zmtp zmtp;
    int peer;
    for (size_t i = 0; i < sizeof message; i++) {
        message[i] = (uint8_t)i;
    }
    begin_hostility();
    open_pair(&zmtp, &peer);
    for (int i = 0; i < 10; i++) {
        CHECK_INT(ns_zmtp_send(&zmtp, message, sizeof message, in(60 * S)), 0);
        read_exactly(peer, frame, sizeof frame);
        CHECK(memcmp(frame, "\2\0\0\0\0\0\0\1\x2c", 9) == 0);
        CHECK(memcmp(frame + 9, message, sizeof message) == 0);
    }
    hostile = false;
    CHECK(interrupted > 10 && cut > 3);
    ns_zmtp_close(&zmtp);
    close(peer);
}

TEST(a_message_is_received_whatever_interrupts_that)
{
    struct ns_zmtp zmtp;
    int peer;
    char text[16];
    begin_hostility();
    open_pair(&zmtp, &peer);
    for (int i = 0; i < 10; i++) {
        REQUIRE(write(peer, "\0\5hello", 7) == 7);
        CHECK_INT(ns_zmtp_receive(&zmtp, text, sizeof text, in(60 * S)), 5);
        CHECK(memcmp(text, "hello", 5) == 0);
    }
    hostile = false;
    CHECK(interrupted > 10 && cut > 3);
    ns_zmtp_close(&zmtp);
    close(peer);
}

TEST(an_interrupted_connect_is_made_again)
{
    char directory[] = "/tmp/nszmtpXXXXXX", endpoint[128];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    REQUIRE(mkdtemp(directory) != NULL);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/c", directory);
    snprintf(endpoint, sizeof endpoint, "ipc://%s", address.sun_path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    REQUIRE(listen(listener, 1) == 0);
    begin_hostility();
    struct ns_zmtp zmtp = NS_ZMTP_CLOSED;
    /* Nobody shakes hands: the deadline ends it, so that it must have come to wait for that. */
    CHECK_INT(ns_zmtp_connect(&zmtp, endpoint, in(50 * MS)), -ETIMEDOUT);
    hostile = false;
    CHECK(interrupted > 0);
    close(listener);
    unlink(address.sun_path);
    rmdir(directory);
}

/* --- real signals ------------------------------------------------------------------------------
 */

#define LARGE_BYTES (4 << 20)
#define SIGNALS 30

static _Atomic int signals;
static uint8_t large[LARGE_BYTES], arrived[LARGE_BYTES + 9];

static void
on_signal(int number)
{
    (void)number;
    signals++;
}

/* Reads nothing until the sender, which has long filled the socket, was interrupted enough. */
static void *
read_late(void *context)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    while (signals < SIGNALS) {
        usleep(100);
    }
    read_exactly(*(int *)context, arrived, sizeof arrived);
    return NULL;
}

static void
send_amid_signals(int flags)
{
    struct ns_zmtp zmtp;
    int peer;
    pthread_t reader;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    open_pair(&zmtp, &peer);
    memset(large, 'x', sizeof large);
    signals = 0;
    sigaction(SIGALRM, &action, NULL);
    REQUIRE(pthread_create(&reader, NULL, read_late, &peer) == 0);
    setitimer(ITIMER_REAL, &often, NULL);
    int error = ns_zmtp_send(&zmtp, large, sizeof large, in(60 * S));
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK_INT(error, 0);
    if (error != 0) {
        ns_zmtp_close(&zmtp); /* lets the reader end */
        signals = SIGNALS;
        pthread_detach(reader);
        return;
    }
    pthread_join(reader, NULL);
    CHECK(signals >= SIGNALS);
    CHECK(memcmp(arrived + 9, large, sizeof large) == 0);
    ns_zmtp_close(&zmtp);
    close(peer);
}

TEST(a_send_that_waits_for_room_goes_on_amid_signals)
{
    send_amid_signals(0);
    send_amid_signals(SA_RESTART);
}
