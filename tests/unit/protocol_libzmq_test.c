/* SPDX-License-Identifier: Apache-2.0 */
/* Our side of ZMTP, with libzmq at the other end. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <zmq.h>

#include "tests/unit/zmtp_support.h"

/* A libzmq ROUTER in this process, on a socket file or a TCP port of its own. */
struct router {
    void *context, *socket;
    char endpoint[256];
    char path[128];
};

static bool
open_socket(struct router *router, int type, const char *bind)
{
    int linger = 0;
    size_t size = sizeof router->endpoint;
    router->context = zmq_ctx_new();
    router->socket = zmq_socket(router->context, type);
    router->path[0] = '\0';
    char at[160];
    snprintf(at, sizeof at, "%s", bind);
    if (strcmp(bind, "ipc") == 0) {
        snprintf(router->path, sizeof router->path, "/tmp/ns-zmtp-%d.sock", (int)getpid());
        snprintf(at, sizeof at, "ipc://%s", router->path);
    }
    zmq_setsockopt(router->socket, ZMQ_LINGER, &linger, sizeof linger);
    return zmq_bind(router->socket, at) == 0 &&
           zmq_getsockopt(router->socket, ZMQ_LAST_ENDPOINT, router->endpoint, &size) == 0;
}

static void
close_socket(struct router *router)
{
    zmq_close(router->socket);
    zmq_ctx_term(router->context);
    if (router->path[0] != '\0') {
        unlink(router->path);
    }
}

/* Takes one message of a peer (its id and the last part). Returns the part's bytes or -1. */
static int
router_take(struct router *router, uint8_t *id, size_t *id_bytes, uint8_t *part, size_t part_bytes)
{
    int got = zmq_recv(router->socket, id, 255, 0);
    if (got < 0) {
        return -1;
    }
    *id_bytes = (size_t)got;
    return zmq_recv(router->socket, part, part_bytes, 0);
}

static void
converse(const char *bind)
{
    static uint8_t sent[300000], at_router[300000], received[300000];
    struct router router;
    struct ns_zmtp zmtp = NS_ZMTP_CLOSED;
    uint8_t id[255];
    size_t id_bytes = 0;
    REQUIRE(open_socket(&router, ZMQ_ROUTER, bind));
    CHECK_INT(ns_zmtp_connect(&zmtp, router.endpoint, in(10 * S)), 0);
    for (size_t i = 0; i < sizeof sent; i++) {
        sent[i] = (uint8_t)ns_test_random();
    }
    static const size_t sizes[] = {0,    1,    128,  254,  255,  256,   4085,
                                   4087, 4095, 4096, 4097, 8192, 32768, 200000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t size = sizes[i];
        CHECK_INT(ns_zmtp_send(&zmtp, sent, size, in(10 * S)), 0);
        CHECK_INT(router_take(&router, id, &id_bytes, at_router, sizeof at_router), (int)size);
        CHECK(memcmp(sent, at_router, size) == 0);
        zmq_send(router.socket, id, id_bytes, ZMQ_SNDMORE);
        zmq_send(router.socket, at_router, size, 0);
        CHECK_INT(ns_zmtp_receive(&zmtp, received, sizeof received, in(10 * S)), (int)size);
        CHECK(memcmp(sent, received, size) == 0);
    }
    /* Several answers at once come one by one, and of a message in parts the last is taken. */
    for (int i = 0; i < 5; i++) {
        zmq_send(router.socket, id, id_bytes, ZMQ_SNDMORE);
        zmq_send(router.socket, sent, 5000, ZMQ_SNDMORE);
        zmq_send(router.socket, &sent[i], 1, 0);
    }
    for (int i = 0; i < 5; i++) {
        CHECK_INT(ns_zmtp_receive(&zmtp, received, 1, in(10 * S)), 1);
        CHECK_INT(received[0], sent[i]);
    }
    CHECK_INT(ns_zmtp_receive(&zmtp, received, sizeof received, 0), -EAGAIN);
    ns_zmtp_close(&zmtp);
    CHECK_INT(zmtp.fd, -1);
    close_socket(&router);
}

TEST(it_converses_with_a_libzmq_router_over_ipc)
{
    converse("ipc");
}

TEST(it_converses_with_a_libzmq_router_over_tcp)
{
    converse("tcp://127.0.0.1:*");
}

TEST(it_converses_with_a_libzmq_router_over_an_abstract_socket)
{
    char name[64];
    snprintf(name, sizeof name, "ipc://@ns-zmtp-%d", (int)getpid());
    converse(name);
}

TEST(a_libzmq_socket_that_is_no_router_is_refused)
{
    static const int types[] = {ZMQ_PUB, ZMQ_PULL, ZMQ_DEALER, ZMQ_REP};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct router router;
        struct ns_zmtp zmtp = NS_ZMTP_CLOSED;
        REQUIRE(open_socket(&router, types[i], "ipc"));
        int error = ns_zmtp_connect(&zmtp, router.endpoint, in(10 * S));
        CHECK(error == -EPROTO || error == -ECONNRESET);
        CHECK_INT(zmtp.fd, -1);
        close_socket(&router);
    }
}

TEST(libzmq_heartbeats_are_answered_so_that_the_connection_lives)
{
    struct router router;
    struct ns_zmtp zmtp = NS_ZMTP_CLOSED;
    int interval_ms = 20, timeout_ms = 400;
    uint8_t buffer[16], id[255];
    size_t id_bytes = 0;
    router.context = NULL;
    REQUIRE(open_socket(&router, ZMQ_ROUTER, "tcp://127.0.0.1:*"));
    /* Options hold for what is bound after them. */
    size_t size = sizeof router.endpoint;
    zmq_setsockopt(router.socket, ZMQ_HEARTBEAT_IVL, &interval_ms, sizeof interval_ms);
    zmq_setsockopt(router.socket, ZMQ_HEARTBEAT_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    REQUIRE(zmq_bind(router.socket, "tcp://127.0.0.1:*") == 0);
    zmq_getsockopt(router.socket, ZMQ_LAST_ENDPOINT, router.endpoint, &size);
    REQUIRE(ns_zmtp_connect(&zmtp, router.endpoint, in(10 * S)) == 0);
    /* Nothing but PINGs for longer than the heartbeat's patience. */
    CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, in(1000 * MS)), -ETIMEDOUT);
    CHECK_INT(ns_zmtp_send(&zmtp, "x", 1, in(10 * S)), 0);
    CHECK_INT(router_take(&router, id, &id_bytes, buffer, sizeof buffer), 1);
    zmq_send(router.socket, id, id_bytes, ZMQ_SNDMORE);
    zmq_send(router.socket, "y", 1, 0);
    CHECK_INT(ns_zmtp_receive(&zmtp, buffer, sizeof buffer, in(10 * S)), 1);
    ns_zmtp_close(&zmtp);
    close_socket(&router);
}

TEST(the_descriptor_is_close_on_exec_and_as_high_as_asked)
{
    struct router router;
    struct ns_zmtp zmtp = {.fd = -1, .fd_min = 200};
    REQUIRE(open_socket(&router, ZMQ_ROUTER, "ipc"));
    int before = open_descriptors();
    CHECK_INT(ns_zmtp_connect(&zmtp, router.endpoint, in(10 * S)), 0);
    CHECK(zmtp.fd >= 200);
    CHECK_INT(fcntl(zmtp.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ns_zmtp_close(&zmtp);
    CHECK_INT(zmtp.fd_min, 200);
    CHECK_INT(ns_zmtp_connect(&zmtp, router.endpoint, in(10 * S)), 0);
    CHECK(zmtp.fd >= 200);
    ns_zmtp_close(&zmtp);
    close_socket(&router);
    CHECK(open_descriptors() <= before);
}
