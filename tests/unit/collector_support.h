/* SPDX-License-Identifier: Apache-2.0 */
/* A gate without sockets, on a journal in a directory of its own: handlers are called as the loop
 * would, and replies read where they wait to be sent. */
#ifndef NS_TESTS_COLLECTOR_SUPPORT_H
#define NS_TESTS_COLLECTOR_SUPPORT_H

#include <sys/epoll.h>
#include <unistd.h>

#include "collector/gate.h"
#include "tests/harness.h"

struct bench {
    struct ns_gate *gate;
    struct ns_gate_from from;
    struct ns_options options;
    char directory[64];
    uint32_t routing;
};

static inline void
remove_directory(const char *directory)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    CHECK(system(command) == 0);
}

/* A gate on what the journal of this directory holds. */
static inline bool
open_bench(struct bench *bench)
{
    char error[NS_RECOVERY_ERROR_BYTES];
    uint64_t replayed;
    struct ns_gate *gate = bench->gate = calloc(1, sizeof *gate);
    gate->options = &bench->options;
    gate->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    gate->ack_room = 16;
    gate->ack = malloc(gate->ack_room * sizeof *gate->ack);
    gate->peers = ns_peers_new(gate->epoll_fd, 1, gate->hash_key);
    bool open =
        ns_journal_open(bench->directory, &gate->journal, error) == 0 &&
        ns_state_recover(gate->journal, bench->directory, &gate->state, &replayed, error) == 0 &&
        ns_syncer_start(gate->journal, &gate->syncer) == 0 &&
        ns_prices_open(NULL, NS_UNKNOWN_MODEL_ALLOW, &gate->prices, error) == 0;
    if (!open) {
        NS_FAIL("%s", error);
    }
    return open;
}

static inline bool
new_bench(struct bench *bench)
{
    *bench = (struct bench){.directory = "/tmp/ns-gate-XXXXXX"};
    return mkdtemp(bench->directory) != NULL && open_bench(bench);
}

static inline void
close_bench(struct bench *bench)
{
    struct ns_gate *gate = bench->gate;
    ns_syncer_stop(gate->syncer);
    ns_journal_close(gate->journal);
    ns_peers_free(gate->peers);
    ns_prices_free(gate->prices);
    ns_state_free(&gate->state);
    close(gate->epoll_fd);
    free(gate->ack);
    free(gate->budget);
    free(gate->model_grant);
    ns_coverage_free(&gate->coverage);
    free(gate);
}

/* A connection of another host's process; bench->from speaks for it. */
static inline struct ns_process *
join(struct bench *bench, uint32_t pid)
{
    struct ns_peer_address address = {.socket = NS_GATE_TCP,
                                      .routing = ++bench->routing,
                                      .fd = 1000 + (int)bench->routing,
                                      .loopback = true,
                                      .uid = UINT32_MAX};
    struct ns_hello hello = {
        .protocol_max = 1, .pid = pid, .start_ticks = 7, .process = ns_text_of("agent")};
    struct ns_peer *peer = NULL;
    CHECK_INT(ns_peers_hello(bench->gate->peers, &address, &hello, 1, &peer), 0);
    bench->from = (struct ns_gate_from){NS_GATE_TCP, address.routing, peer,
                                        ns_peers_process(bench->gate->peers, peer)};
    return bench->from.process;
}

static inline void
put_terms(struct bench *bench, const struct ns_budget *budget)
{
    struct ns_gate *gate = bench->gate;
    struct ns_ledger_effect effect;
    memset(&gate->record, 0, sizeof gate->record);
    gate->record.type = NS_RECORD_BUDGET;
    gate->record.at_ns = gate->now_ns;
    gate->record.event.kind = NS_LEDGER_BUDGET_PUT;
    gate->record.event.as.budget_put = *budget;
    CHECK_INT(ns_gate_apply(gate, &effect), 0);
    CHECK(ns_gate_append(gate, NULL));
}

static inline void
put_budget(struct bench *bench, int64_t id, const char *entity, int64_t limit_nanousd)
{
    struct ns_budget budget = {.id = id, .period = NS_PERIOD_DAY, .limit_nanousd = limit_nanousd};
    snprintf(budget.entity, sizeof budget.entity, "%s", entity);
    put_terms(bench, &budget);
}

static inline struct ns_uuid
call_id(uint64_t number)
{
    uint8_t random[10] = {0};
    memcpy(random, &number, sizeof number);
    return ns_uuid_v7(1780000000000 + number, random);
}

static inline void
identify(struct ns_check *call, uint64_t number, const char *customer)
{
    call->call_id = call_id(number);
    call->started_at_ns = INT64_C(1780000000000000000);
    call->provider = call->family = ns_text_of("openai");
    call->operation = ns_text_of("chat");
    call->host = ns_text_of("api.openai.com");
    call->requested_model = ns_text_of("gpt-4o-mini");
    call->customer = ns_text_of(customer);
    call->text_bytes = 4000;
    call->output_tokens_max = 1000;
    call->choices = 1;
}

/* Encodes, decodes (so that texts point as they do live) and handles. */
static inline void
say(struct bench *bench, const struct ns_message *message)
{
    static uint8_t raw[NS_MESSAGE_BYTES_MAX]; /* outlives the handler, like libzmq's */
    const char *why = "";
    int count = ns_message_encode(message, raw, sizeof raw);
    CHECK(count > 0 && ns_message_decode(raw, (size_t)count, &bench->gate->message, &why) == 0);
    switch (message->kind) {
    case NS_MESSAGE_CHECK:
        ns_gate_check(bench->gate, &bench->from, raw, (size_t)count);
        break;
    case NS_MESSAGE_PROGRESS:
        ns_gate_progress(bench->gate, &bench->from, raw, (size_t)count);
        break;
    case NS_MESSAGE_REPORT:
        ns_gate_report(bench->gate, &bench->from, raw, (size_t)count);
        break;
    case NS_MESSAGE_RELEASE:
        ns_gate_release(bench->gate, &bench->from, raw, (size_t)count);
        break;
    case NS_MESSAGE_COUNTERS:
        ns_gate_unseen(bench->gate, &bench->from, raw, (size_t)count);
        break;
    case NS_MESSAGE_COVERAGE:
        ns_gate_coverage(bench->gate, &bench->from, raw, (size_t)count);
        break;
    default:
        NS_FAIL("kind %d", (int)message->kind);
    }
}

/* The verdict that waits to be sent; the texts live until the next flush. */
static inline struct ns_verdict
check_call(struct bench *bench, uint64_t number, const char *customer)
{
    static struct ns_message message;
    static struct ns_message reply;
    const char *why = "";
    message = (struct ns_message){.kind = NS_MESSAGE_CHECK};
    identify(&message.as.check, number, customer);
    say(bench, &message);
    struct ns_gate *gate = bench->gate;
    CHECK_INT(gate->reply_count, 1);
    CHECK_INT(ns_message_decode(gate->reply_bytes + gate->reply[0].offset, gate->reply[0].bytes,
                                &reply, &why),
              0);
    CHECK_INT(reply.kind, NS_MESSAGE_VERDICT);
    return reply.as.verdict;
}

static inline void
report_call(struct bench *bench, uint64_t number, const char *customer, uint64_t output_tokens)
{
    static struct ns_message message;
    message = (struct ns_message){.kind = NS_MESSAGE_REPORT};
    identify(&message.as.check, number, customer);
    struct ns_report *said = &message.as.report;
    said->ended_at_ns = said->started_at_ns + 1;
    said->http_status = 200;
    said->evidence = NS_EVIDENCE_REPORTED;
    said->checked = true;
    ns_usage_set(&said->usage, NS_METER_INPUT, 100);
    ns_usage_set(&said->usage, NS_METER_OUTPUT, output_tokens);
    say(bench, &message);
}

#endif
