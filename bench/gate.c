/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the gate carries, beside what libzmq alone carries, in one run on this machine:
 *
 *   pairs    many DEALER clients, each with a window of calls; a pair is CHECK → VERDICT and
 *            REPORT → ACK, with the journal on disk. Reference: the same messages, and as many
 *            replies, echoed by a bare ROUTER.
 * What one call waits for is measured by governed_call.
 *
 *     build/bench/gate [PAIRS [CLIENTS [WINDOW]]]
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "collector/peer.h"
#include "protocol/protocol.h"
#include "protocol/zmtp.h"

#define CLIENTS_MAX 512
/* Of a call's id within an encoded message: after the head and the field's own head. */
#define CALL_ID_AT 9

static void
die(const char *what)
{
    fprintf(stderr, "bench/gate: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- messages ----------------------------------------------------------------------------------
 */

struct encoded {
    uint8_t bytes[2048];
    size_t count;
};

static void
encode(const struct ns_message *message, struct encoded *encoded)
{
    int count = ns_message_encode(message, encoded->bytes, sizeof encoded->bytes);
    if (count < 0) {
        errno = -count;
        die("encode");
    }
    encoded->count = (size_t)count;
}

static void
make_messages(struct encoded *hello, struct encoded *check, struct encoded *report)
{
    static struct ns_message message;
    message.kind = NS_MESSAGE_HELLO;
    message.as.hello = (struct ns_hello){.protocol_max = NS_PROTOCOL_VERSION,
                                         .library = ns_text_of("bench"),
                                         .source = NS_SOURCE_SDK,
                                         .pid = (uint32_t)getpid(),
                                         .start_ticks = ns_process_start_ticks((uint32_t)getpid())};
    encode(&message, hello);
    memset(&message, 0, sizeof message);
    message.kind = NS_MESSAGE_CHECK;
    struct ns_check *call = &message.as.check;
    call->call_id = ns_uuid_new();
    call->started_at_ns = (int64_t)ns_uuid_unix_ms(&call->call_id) * 1000000;
    call->provider = call->family = ns_text_of("openai");
    call->operation = ns_text_of("chat");
    call->host = ns_text_of("api.openai.com");
    call->requested_model = ns_text_of("gpt-4o-mini");
    call->customer = ns_text_of("acme");
    call->feature = ns_text_of("support");
    call->text_bytes = 2000;
    call->output_tokens_max = 500;
    call->choices = 1;
    encode(&message, check);
    message.kind = NS_MESSAGE_REPORT;
    struct ns_report *report_message = &message.as.report;
    report_message->ended_at_ns = report_message->started_at_ns + 1000000000;
    report_message->http_status = 200;
    report_message->evidence = NS_EVIDENCE_REPORTED;
    report_message->model = ns_text_of("gpt-4o-mini-2024-07-18");
    report_message->checked = true;
    report_message->usage = (struct ns_usage){0};
    ns_usage_set(&report_message->usage, NS_METER_INPUT, 500);
    ns_usage_set(&report_message->usage, NS_METER_OUTPUT, 120);
    encode(&message, report);
}

static void
number(struct encoded *message, uint64_t value)
{
    memcpy(message->bytes + CALL_ID_AT + 8, &value, sizeof value);
}

/* --- the bare ROUTER ---------------------------------------------------------------------------
 */

static void *
echo(void *router)
{
    zmq_msg_t id, body;
    for (;;) {
        zmq_msg_init(&id);
        zmq_msg_init(&body);
        if (zmq_msg_recv(&id, router, 0) < 0 || zmq_msg_recv(&body, router, 0) < 0) {
            break;
        }
        zmq_msg_send(&id, router, ZMQ_SNDMORE);
        zmq_msg_send(&body, router, 0);
    }
    zmq_close(router);
    return NULL;
}

/* --- pairs -------------------------------------------------------------------------------------
 */

struct load {
    const char *endpoint;
    bool gate; /* else the echo: every reply is as good as another */
    uint64_t pairs;
    int clients, window;
    struct encoded hello, check, report;
};

/* What the next message of the collector is. */
static bool
take(void *dealer, struct load *load, uint64_t *id, bool *is_ack)
{
    uint8_t reply[2048];
    int count = zmq_recv(dealer, reply, sizeof reply, ZMQ_DONTWAIT);
    if (count < CALL_ID_AT + 16) {
        return false;
    }
    memcpy(id, reply + CALL_ID_AT + 8, sizeof *id);
    *is_ack = load->gate ? reply[3] == NS_MESSAGE_ACK : reply[3] == NS_MESSAGE_REPORT;
    return true;
}

static void
send_message(void *dealer, struct encoded *message, uint64_t id)
{
    number(message, id);
    zmq_send(dealer, message->bytes, message->count, 0);
}

/* Returns pairs a second. */
static double
run_load(struct load *load)
{
    void *context = zmq_ctx_new();
    static void *dealer[CLIENTS_MAX];
    zmq_pollitem_t items[CLIENTS_MAX];
    for (int i = 0; i < load->clients; i++) {
        int hwm = 20000;
        int linger = 0;
        dealer[i] = zmq_socket(context, ZMQ_DEALER);
        zmq_setsockopt(dealer[i], ZMQ_SNDHWM, &hwm, sizeof hwm);
        zmq_setsockopt(dealer[i], ZMQ_RCVHWM, &hwm, sizeof hwm);
        zmq_setsockopt(dealer[i], ZMQ_LINGER, &linger, sizeof linger);
        if (zmq_connect(dealer[i], load->endpoint) != 0) {
            die("connect");
        }
        zmq_send(dealer[i], load->hello.bytes, load->hello.count, 0);
        uint8_t welcome[2048];
        if (zmq_recv(dealer[i], welcome, sizeof welcome, 0) < 0) {
            die("hello");
        }
        items[i] = (zmq_pollitem_t){dealer[i], 0, ZMQ_POLLIN, 0};
    }
    static uint64_t next_id = 1;
    uint64_t begun = 0;
    uint64_t done = 0;
    int64_t start = ns_monotonic_ns();
    for (int i = 0; i < load->clients; i++) {
        for (int w = 0; w < load->window && begun < load->pairs; w++, begun++) {
            send_message(dealer[i], &load->check, next_id++);
        }
    }
    while (done < load->pairs) {
        if (zmq_poll(items, load->clients, 10000) <= 0) {
            fprintf(stderr, "bench/gate: %llu of %llu pairs, then silence\n",
                    (unsigned long long)done, (unsigned long long)load->pairs);
            exit(1);
        }
        for (int i = 0; i < load->clients; i++) {
            uint64_t id;
            bool is_ack;
            while ((items[i].revents & ZMQ_POLLIN) && take(dealer[i], load, &id, &is_ack)) {
                if (!is_ack) {
                    send_message(dealer[i], &load->report, id);
                    continue;
                }
                done++;
                if (begun < load->pairs) {
                    begun++;
                    send_message(dealer[i], &load->check, next_id++);
                }
            }
        }
    }
    double seconds = (double)(ns_monotonic_ns() - start) / 1e9;
    for (int i = 0; i < load->clients; i++) {
        zmq_close(dealer[i]);
    }
    zmq_ctx_term(context);
    return (double)load->pairs / seconds;
}

/* --- latency -----------------------------------------------------------------------------------
 */

/* --- the collector -----------------------------------------------------------------------------
 */

static pid_t
start_collector(const char *program, const char *directory, const char *endpoint)
{
    int ready[2];
    char state[300];
    snprintf(state, sizeof state, "%s/state", directory);
    if (pipe(ready) != 0) {
        die("pipe");
    }
    pid_t child = fork();
    if (child == 0) {
        dup2(ready[1], 2);
        close(ready[0]);
        /* Postgres is away: what is measured is the gate. */
        execl(program, program, "--foreground", "--state-dir", state, "--listen", endpoint,
              "--http", "off", "--database-url", "postgresql://127.0.0.1:1/none", (char *)NULL);
        _exit(127);
    }
    close(ready[1]);
    FILE *lines = fdopen(ready[0], "r");
    char line[1024];
    while (lines != NULL && fgets(line, sizeof line, lines) != NULL) {
        if (strcmp(line, "ready\n") == 0) {
            return child; /* the pipe stays open for what it may still say */
        }
        fputs(line, stderr);
    }
    die(program);
    return -1;
}

int
main(int argc, char **argv)
{
    struct load load = {0};
    load.pairs = argc > 1 ? strtoull(argv[1], NULL, 10) : 300000;
    load.clients = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 64;
    load.window = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 128;
    if (load.pairs == 0 || load.clients < 1 || load.clients > CLIENTS_MAX || load.window < 1) {
        fprintf(stderr, "usage: gate [PAIRS [CLIENTS [WINDOW]]]\n");
        return 2;
    }
    char directory[] = "build/gate-XXXXXX"; /* on the disk of the tree, not in memory */
    if (mkdtemp(directory) == NULL) {
        die(directory);
    }
    char gate_endpoint[128];
    char echo_endpoint[128];
    char command[256];
    snprintf(gate_endpoint, sizeof gate_endpoint, "ipc://%s/gate.sock", directory);
    snprintf(echo_endpoint, sizeof echo_endpoint, "ipc://%s/echo.sock", directory);
    make_messages(&load.hello, &load.check, &load.report);

    void *context = zmq_ctx_new();
    void *router = zmq_socket(context, ZMQ_ROUTER);
    int hwm = 20000;
    zmq_setsockopt(router, ZMQ_SNDHWM, &hwm, sizeof hwm);
    zmq_setsockopt(router, ZMQ_RCVHWM, &hwm, sizeof hwm);
    if (zmq_bind(router, echo_endpoint) != 0) {
        die("bind");
    }
    pthread_t thread;
    pthread_create(&thread, NULL, echo, router);
    load.endpoint = echo_endpoint;
    double echo_rate = run_load(&load);

    const char *program = getenv("NS_NULLSPENDD");
    if (program == NULL) {
        program = "build/nullspendd";
    }
    pid_t collector = start_collector(program, directory, gate_endpoint);
    load.endpoint = gate_endpoint;
    load.gate = true;
    double gate_rate = run_load(&load);
    kill(collector, SIGTERM);
    waitpid(collector, NULL, 0);

    printf("gate: %llu pairs, %d clients, window %d\n", (unsigned long long)load.pairs,
           load.clients, load.window);
    printf("  check+report pairs, journal on               %9.0f pairs/s\n", gate_rate);
    printf("  reference: bare libzmq, same messages echoed %9.0f pairs/s\n", echo_rate);
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    zmq_ctx_shutdown(context);
    pthread_join(thread, NULL);
    zmq_ctx_term(context);
    return system(command) == 0 ? 0 : 1;
}
