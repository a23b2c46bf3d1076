/* SPDX-License-Identifier: Apache-2.0 */
/* Links to a collector, with libzmq at the other end. */
#include <pthread.h>
#include <zmq.h>

#include "protocol/zmtp.h"
#include "shim/gate.h"
#include "shim/process.h"
#include "tests/harness.h"

struct collector {
    void *socket;
    char directory[32];
    pthread_t thread;
};

/* Welcomes one process, and does not listen any more. */
static void *
welcome(void *context)
{
    struct collector *collector = context;
    uint8_t peer[64], hello[4096], answer[256];
    int peer_bytes = zmq_recv(collector->socket, peer, sizeof peer, 0);
    int hello_bytes = zmq_recv(collector->socket, hello, sizeof hello, 0);
    struct ns_message message = {.kind = NS_MESSAGE_WELCOME};
    message.as.welcome.protocol = NS_PROTOCOL_VERSION;
    message.as.welcome.collector = ns_text_of("test");
    int answer_bytes = ns_message_encode(&message, answer, sizeof answer);
    if (peer_bytes > 0 && hello_bytes > 0 && answer_bytes > 0) {
        zmq_send(collector->socket, peer, (size_t)peer_bytes, ZMQ_SNDMORE);
        zmq_send(collector->socket, answer, (size_t)answer_bytes, 0);
    }
    return NULL;
}

static void
start(struct collector *collector, void *context)
{
    char endpoint[64];
    memcpy(collector->directory, "/tmp/nsgateXXXXXX", 18);
    REQUIRE(mkdtemp(collector->directory) != NULL);
    snprintf(endpoint, sizeof endpoint, "ipc://%s/c", collector->directory);
    int few = 1;
    collector->socket = zmq_socket(context, ZMQ_ROUTER);
    zmq_setsockopt(collector->socket, ZMQ_RCVHWM, &few, sizeof few);
    REQUIRE(zmq_bind(collector->socket, endpoint) == 0);
    setenv("NULLSPEND_COLLECTOR", endpoint, 1);
    setenv("NULLSPEND_DEADLINE_MS", "60000", 1);
    REQUIRE(pthread_create(&collector->thread, NULL, welcome, collector) == 0);
}

/* The program is between two reads of its answer when a PROGRESS goes out. Were each of these to
 * wait for its deadline, the test would not end. */
TEST(a_progress_waits_for_no_collector_that_does_not_listen)
{
    void *context = zmq_ctx_new();
    struct collector collector = {0};
    start(&collector, context);
    REQUIRE(ns_process_ready());
    struct ns_message message = {.kind = NS_MESSAGE_PROGRESS};
    message.as.progress.call_id = ns_uuid_new();
    message.as.progress.text_bytes = 1;
    message.as.progress.model = ns_text_of("gpt-4o-mini");
    for (int i = 0; i < 4000; i++) {
        ns_gate_tell(&message);
    }
    pthread_join(collector.thread, NULL);
    int none = 0;
    zmq_setsockopt(collector.socket, ZMQ_LINGER, &none, sizeof none);
    zmq_close(collector.socket);
    zmq_ctx_term(context);
    char path[64];
    snprintf(path, sizeof path, "%s/c", collector.directory);
    remove(path);
    remove(collector.directory);
}
