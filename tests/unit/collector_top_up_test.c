/* SPDX-License-Identifier: Apache-2.0 */
/* Streams that ask the gate for more than their hold covers. */
#include "tests/unit/collector_support.h"

/* gpt-4o-mini: nano-dollars a token of input and output. */
#define INPUT 150
#define OUTPUT 600
#define TEXT_TOKENS 1000 /* of the prompt */

enum { SOON = 1, NOW = 2 };

static struct bench bench;

/* The reply that waits to be sent. */
static struct ns_verdict
replied(void)
{
    static struct ns_message reply;
    const char *why = "";
    struct ns_gate *gate = bench.gate;
    CHECK_INT(gate->reply_count, 1);
    reply = (struct ns_message){.kind = NS_MESSAGE_NONE};
    CHECK_INT(ns_message_decode(gate->reply_bytes + gate->reply[0].offset, gate->reply[0].bytes,
                                &reply, &why),
              0);
    CHECK_INT(reply.kind, NS_MESSAGE_VERDICT);
    gate->reply_count = 0;
    gate->reply_bytes_used = 0;
    return reply.as.verdict;
}

/* A stream of a prompt of TEXT_TOKENS without a cap, in this mode. */
static struct ns_verdict
stream(uint64_t number, uint8_t mode)
{
    static struct ns_message message;
    message = (struct ns_message){.kind = NS_MESSAGE_CHECK};
    identify(&message.as.check, number, "acme");
    message.as.check.streamed = true;
    message.as.check.output_tokens_max = 0;
    message.as.check.mode = mode;
    say(&bench, &message);
    return replied();
}

static struct ns_verdict
ask(uint64_t number, uint64_t tokens, uint8_t top_up)
{
    struct ns_message message = {.kind = NS_MESSAGE_PROGRESS};
    message.as.progress.call_id = call_id(number);
    message.as.progress.text_bytes = tokens * NS_TEXT_BYTES_PER_TOKEN;
    message.as.progress.top_up = top_up;
    say(&bench, &message);
    return replied();
}

static void
sum(void *context, const struct ns_ledger_numbers *numbers, const struct ns_budget *budget)
{
    (void)budget;
    *(int64_t *)context += numbers->held_nanousd;
}

static int64_t
held(void)
{
    int64_t all = 0;
    ns_ledger_visit(bench.gate->state.ledger, bench.gate->now_ns, sum, &all);
    return all;
}

static int64_t
cost_of(uint64_t tokens)
{
    return TEXT_TOKENS * INPUT + (int64_t)tokens * OUTPUT;
}

TEST(a_verdict_tells_how_far_the_hold_of_a_stream_reaches)
{
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    put_budget(&bench, 1, "customer:acme", INT64_C(1000000000));
    struct ns_verdict verdict = stream(1, NS_MODE_ENFORCE);
    /* Held is a bound of the input; what is over of it covers output. */
    CHECK(verdict.output_tokens_held >= NS_TYPICAL_OUTPUT_TOKENS);
    CHECK(cost_of(verdict.output_tokens_held) <= verdict.hold_nanousd);
    CHECK(cost_of(verdict.output_tokens_held + 1) > verdict.hold_nanousd);
    CHECK_INT(stream(2, NS_MODE_SHADOW).output_tokens_held, 0);
    CHECK_INT(stream(3, NS_MODE_OBSERVE).output_tokens_held, 0);
    /* What is no stream is not told. */
    CHECK_INT(check_call(&bench, 4, "acme").output_tokens_held, 0);
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(without_a_budget_that_would_deny_nothing_is_to_be_asked)
{
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    CHECK_INT(stream(1, NS_MODE_ENFORCE).output_tokens_held, 0);
    struct ns_verdict verdict = ask(1, 5000, NOW);
    CHECK_INT(verdict.decision, NS_DECISION_ALLOW);
    CHECK_INT(verdict.output_tokens_held, 0);
    /* Nor for a call that nobody knows. */
    verdict = ask(9, 5000, NOW);
    CHECK_INT(verdict.decision, NS_DECISION_ALLOW);
    CHECK_INT(verdict.output_tokens_held, 0);
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(a_hold_grows_by_as_much_again_and_survives_a_crash)
{
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    put_budget(&bench, 1, "customer:acme", INT64_C(1000000000));
    (void)stream(1, NS_MODE_ENFORCE);
    struct ns_verdict verdict = ask(1, 2000, SOON);
    CHECK_INT(verdict.decision, NS_DECISION_ALLOW);
    CHECK_INT(verdict.hold_nanousd, cost_of(4000));
    CHECK_INT(verdict.output_tokens_held, 4000);
    CHECK_INT(held(), cost_of(4000));
    /* Doubled: the same. */
    verdict = ask(1, 2000, SOON);
    CHECK_INT(verdict.output_tokens_held, 4000);
    CHECK_INT(held(), cost_of(4000));
    CHECK_INT(bench.gate->counters.top_ups, 2);
    ns_gate_flush(bench.gate);
    uint64_t before = ns_ledger_digest(bench.gate->state.ledger);
    struct ns_uuid id = call_id(1);
    close_bench(&bench);
    REQUIRE(open_bench(&bench));
    CHECK_INT(ns_ledger_digest(bench.gate->state.ledger), before);
    const struct ns_open_call *call = ns_calls_find(bench.gate->state.calls, &id);
    REQUIRE(call != NULL);
    CHECK_INT(call->hold_nanousd, cost_of(4000));
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(what_no_budget_has_room_for_is_denied_and_recorded_once_it_is_used_up)
{
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    put_budget(&bench, 1, "customer:acme", cost_of(2050));
    (void)stream(1, NS_MODE_ENFORCE);
    /* Not all that is wanted is there, but enough. */
    struct ns_verdict verdict = ask(1, 1500, SOON);
    CHECK_INT(verdict.decision, NS_DECISION_ALLOW);
    CHECK_INT(verdict.output_tokens_held, 2050);
    int64_t before = held();
    verdict = ask(1, 2000, SOON);
    CHECK_INT(verdict.decision, NS_DECISION_DENY);
    CHECK_INT(verdict.message.bytes, 0);
    CHECK_INT(bench.gate->record.type, NS_RECORD_PROGRESS);
    CHECK_INT(bench.gate->counters.cut, 0);
    verdict = ask(1, 2000, NOW);
    CHECK_INT(verdict.decision, NS_DECISION_DENY);
    CHECK_INT(verdict.reason, NS_REASON_BUDGET_EXCEEDED);
    CHECK_INT(verdict.entity.bytes, strlen("customer:acme"));
    CHECK(memmem(verdict.message.text, verdict.message.bytes, "ends here", 9) != NULL);
    CHECK_INT(bench.gate->record.type, NS_RECORD_CHECK);
    CHECK_INT(bench.gate->record.outcome.result, NS_LEDGER_DENIED);
    CHECK_INT(bench.gate->record.outcome.needed_nanousd, cost_of(2064) - cost_of(2050));
    CHECK_INT(bench.gate->counters.cut, 1);
    CHECK_INT(held(), before);
    /* The call is still open, and dies charged with what it told. */
    CHECK_INT(ns_calls_count(bench.gate->state.calls), 1);
    ns_gate_flush(bench.gate);
    uint64_t digest = ns_ledger_digest(bench.gate->state.ledger);
    close_bench(&bench);
    REQUIRE(open_bench(&bench)); /* replays alike */
    CHECK_INT(ns_ledger_digest(bench.gate->state.ledger), digest);
    CHECK_INT(ns_calls_count(bench.gate->state.calls), 1);
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(a_model_without_a_price_is_never_cut)
{
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    put_budget(&bench, 1, "customer:acme", INT64_C(1000000000));
    struct ns_message message = {.kind = NS_MESSAGE_CHECK};
    identify(&message.as.check, 1, "acme");
    message.as.check.streamed = true;
    message.as.check.requested_model = ns_text_of("nobody-knows");
    say(&bench, &message);
    CHECK_INT(replied().output_tokens_held, 0);
    CHECK_INT(ask(1, 100000, NOW).decision, NS_DECISION_ALLOW);
    close_bench(&bench);
    remove_directory(bench.directory);
}
