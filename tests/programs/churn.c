/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that come and go: each of THREADS threads connects ROUNDS times to the collector,
 * says hello, has a call checked and releases it, and goes. Exit status 0 where each was answered.
 *
 *     churn ENDPOINT THREADS ROUNDS
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/peer.h"
#include "protocol/protocol.h"
#include "protocol/zmtp.h"

#define THREADS_MAX 256
/* What is lost is never answered: a bound on waiting for it, not on speed. */
#define WAIT_NS INT64_C(30000000000)

static const char *endpoint;
static long rounds;
static _Atomic long unanswered;

/* Whether the message has an answer of this kind. */
static bool
is_answered(struct ns_zmtp *zmtp, const struct ns_message *message, enum ns_message_kind kind)
{
    uint8_t bytes[4096];
    struct ns_message answer;
    const char *why;
    int64_t deadline_ns = ns_monotonic_ns() + WAIT_NS;
    int count = ns_message_encode(message, bytes, sizeof bytes);
    if (count < 0 || ns_zmtp_send(zmtp, bytes, (size_t)count, deadline_ns) != 0) {
        return false;
    }
    count = ns_zmtp_receive(zmtp, bytes, sizeof bytes, deadline_ns);
    return count > 0 && ns_message_decode(bytes, (size_t)count, &answer, &why) == 0 &&
           answer.kind == kind;
}

static bool
come_and_go(struct ns_message *message)
{
    struct ns_zmtp zmtp = NS_ZMTP_CLOSED;
    if (ns_zmtp_connect(&zmtp, endpoint, ns_monotonic_ns() + WAIT_NS) != 0) {
        return false;
    }
    uint32_t pid = (uint32_t)getpid();
    message->kind = NS_MESSAGE_HELLO;
    message->as.hello = (struct ns_hello){.protocol_max = NS_PROTOCOL_VERSION,
                                          .library = ns_text_of("churn"),
                                          .source = NS_SOURCE_SDK,
                                          .pid = pid,
                                          .start_ticks = ns_process_start_ticks(pid)};
    bool well = is_answered(&zmtp, message, NS_MESSAGE_WELCOME);
    struct ns_uuid call_id = ns_uuid_new();
    message->kind = NS_MESSAGE_CHECK;
    message->as.check = (struct ns_check){
        .call_id = call_id,
        .started_at_ns = (int64_t)ns_uuid_unix_ms(&call_id) * 1000000,
        .provider = ns_text_of("openai"),
        .family = ns_text_of("openai"),
        .operation = ns_text_of("chat"),
        .host = ns_text_of("api.openai.com"),
        .requested_model = ns_text_of("gpt-4o-mini"),
        .text_bytes = 200,
        .output_tokens_max = 50,
    };
    well = well && is_answered(&zmtp, message, NS_MESSAGE_VERDICT);
    message->kind = NS_MESSAGE_RELEASE;
    message->as.release = (struct ns_release){.call_id = call_id};
    well = well && is_answered(&zmtp, message, NS_MESSAGE_ACK);
    ns_zmtp_close(&zmtp);
    return well;
}

static void *
run(void *context)
{
    struct ns_message *message = calloc(1, sizeof *message);
    (void)context;
    for (long i = 0; i < rounds; i++) {
        unanswered += message != NULL && come_and_go(message) ? 0 : 1;
    }
    free(message);
    return NULL;
}

int
main(int argc, char **argv)
{
    pthread_t thread[THREADS_MAX];
    long threads = argc == 4 ? strtol(argv[2], NULL, 10) : 0;
    if (threads < 1 || threads > THREADS_MAX) {
        fputs("usage: churn ENDPOINT THREADS ROUNDS\n", stderr);
        return 2;
    }
    endpoint = argv[1];
    rounds = strtol(argv[3], NULL, 10);
    for (long i = 0; i < threads; i++) {
        if (pthread_create(&thread[i], NULL, run, NULL) != 0) {
            return 2;
        }
    }
    for (long i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
    }
    printf("%ld of %ld unanswered\n", unanswered, threads * rounds);
    return unanswered == 0 ? 0 : 1;
}
