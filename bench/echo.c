/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a question to a ROUTER costs: 128 bytes echoed over ipc:// by one libzmq ROUTER thread,
 * asked by a bare libzmq DEALER and by our ns_zmtp client in turn, in rounds, in one run. Prints
 * one line a client: p50 and p99 of all rounds in microseconds.
 *
 *     build/bench/echo [QUESTIONS-A-ROUND [ROUNDS]]
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "protocol/zmtp.h"

#define MESSAGE_BYTES 128
#define DEADLINE_NS INT64_C(10000000000)

struct echo {
    void *context;
    char endpoint[64];
    size_t questions; /* a round */
};

/* Sends every message back to where it came from until it is told to stop. */
static void *
run_router(void *argument)
{
    void *router = argument;
    zmq_msg_t id, body;
    for (bool stop = false; !stop;) {
        zmq_msg_init(&id);
        zmq_msg_init(&body);
        if (zmq_msg_recv(&id, router, 0) < 0 || zmq_msg_recv(&body, router, 0) < 0) {
            exit(1);
        }
        stop = zmq_msg_size(&body) == 0;
        if (zmq_msg_send(&id, router, ZMQ_SNDMORE) < 0 || zmq_msg_send(&body, router, 0) < 0) {
            exit(1);
        }
    }
    return NULL;
}

static void
ask_with_libzmq(const struct echo *echo, int64_t *took_ns)
{
    char message[MESSAGE_BYTES] = {1};
    void *dealer = zmq_socket(echo->context, ZMQ_DEALER);
    if (dealer == NULL || zmq_connect(dealer, echo->endpoint) != 0) {
        exit(1);
    }
    for (size_t i = 0; i < echo->questions; i++) {
        int64_t start = ns_monotonic_ns();
        if (zmq_send(dealer, message, sizeof message, 0) < 0 ||
            zmq_recv(dealer, message, sizeof message, 0) != MESSAGE_BYTES) {
            exit(1);
        }
        took_ns[i] = ns_monotonic_ns() - start;
    }
    zmq_close(dealer);
}

static void
ask_with_ours(const struct echo *echo, int64_t *took_ns)
{
    char message[MESSAGE_BYTES] = {1};
    struct ns_zmtp zmtp = NS_ZMTP_CLOSED;
    if (ns_zmtp_connect(&zmtp, echo->endpoint, ns_monotonic_ns() + DEADLINE_NS) != 0) {
        exit(1);
    }
    for (size_t i = 0; i < echo->questions; i++) {
        int64_t start = ns_monotonic_ns();
        int64_t deadline = start + DEADLINE_NS;
        if (ns_zmtp_send(&zmtp, message, sizeof message, deadline) != 0 ||
            ns_zmtp_receive(&zmtp, message, sizeof message, deadline) != MESSAGE_BYTES) {
            exit(1);
        }
        took_ns[i] = ns_monotonic_ns() - start;
    }
    ns_zmtp_close(&zmtp);
}

static int
compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static void
print(const char *name, int64_t *took_ns, size_t count)
{
    qsort(took_ns, count, sizeof *took_ns, compare);
    int64_t median_ns = took_ns[count / 2], tail_ns = took_ns[count * 99 / 100];
    printf("%-28s p50 %6.1f us   p99 %6.1f us   (%zu questions)\n", name, (double)median_ns / 1e3,
           (double)tail_ns / 1e3, count);
}

static size_t
number(const char *text, size_t otherwise)
{
    return text == NULL ? otherwise : (size_t)strtoul(text, NULL, 10);
}

int
main(int argc, char **argv)
{
    struct echo echo = {.questions = number(argc > 1 ? argv[1] : NULL, 5000)};
    size_t rounds = number(argc > 2 ? argv[2] : NULL, 4);
    size_t count = echo.questions * rounds;
    int64_t *theirs_ns = calloc(count + 1, sizeof *theirs_ns);
    int64_t *ours_ns = calloc(count + 1, sizeof *ours_ns);
    pthread_t thread;
    echo.context = zmq_ctx_new();
    void *router = zmq_socket(echo.context, ZMQ_ROUTER);
    int linger = 0; /* the last echo goes to one that may have left */
    zmq_setsockopt(router, ZMQ_LINGER, &linger, sizeof linger);
    snprintf(echo.endpoint, sizeof echo.endpoint, "ipc:///tmp/ns-echo-%d.sock", (int)getpid());
    if (count == 0 || theirs_ns == NULL || ours_ns == NULL ||
        zmq_bind(router, echo.endpoint) != 0 ||
        pthread_create(&thread, NULL, run_router, router) != 0) {
        fprintf(stderr, "echo: cannot start\n");
        exit(1);
    }
    for (size_t round = 0; round < rounds; round++) {
        ask_with_libzmq(&echo, theirs_ns + round * echo.questions);
        ask_with_ours(&echo, ours_ns + round * echo.questions);
    }
    print("libzmq DEALER to ROUTER", theirs_ns, count);
    print("ns_zmtp to the same ROUTER", ours_ns, count);
    struct ns_zmtp last = NS_ZMTP_CLOSED;
    if (ns_zmtp_connect(&last, echo.endpoint, ns_monotonic_ns() + DEADLINE_NS) != 0 ||
        ns_zmtp_send(&last, "", 0, ns_monotonic_ns() + DEADLINE_NS) != 0) {
        exit(1);
    }
    pthread_join(thread, NULL);
    ns_zmtp_close(&last);
    zmq_close(router);
    zmq_ctx_term(echo.context);
    unlink(echo.endpoint + strlen("ipc://"));
    free(theirs_ns);
    free(ours_ns);
    return 0;
}
