/* SPDX-License-Identifier: Apache-2.0 */
/* A running answer asks for more than its hold covers. */
#include <string.h>

#include "collector/gate.h"

static void
answer(struct ns_gate *gate, const struct ns_gate_from *from, struct ns_verdict verdict)
{
    verdict.call_id = gate->message.as.progress.call_id;
    verdict.deny_unreachable = ns_ledger_denies_unreachable(gate->state.ledger);
    gate->out.kind = NS_MESSAGE_VERDICT;
    gate->out.as.verdict = verdict;
    ns_gate_reply(gate, from->socket, from->routing);
}

/* The hold stays, and what the answer used so far is noted as with any PROGRESS. */
static bool
note_progress(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
              size_t raw_bytes, int64_t so_far_nanousd)
{
    struct ns_ledger_effect effect;
    ns_gate_begin_record(gate, NS_RECORD_PROGRESS, from, raw, raw_bytes);
    gate->record.event.kind = NS_LEDGER_PROGRESS;
    gate->record.event.as.progress.call_id = gate->message.as.progress.call_id;
    gate->record.event.as.progress.lost_nanousd = so_far_nanousd;
    if (ns_gate_apply(gate, &effect) != 0 || effect.result != NS_LEDGER_DONE) {
        return true;
    }
    gate->record.outcome.result = (uint8_t)effect.result;
    return ns_gate_append(gate, &gate->message);
}

/* The answer ends here: a denial, whose record is a CHECK like any other's. */
static void
cut(struct ns_gate *gate, const struct ns_gate_from *from, const struct ns_record *asked,
    const struct ns_message *check, const struct ns_ledger_numbers *by)
{
    struct ns_record_outcome *outcome = &gate->record.outcome;
    ns_gate_begin_record(gate, NS_RECORD_CHECK, from, asked->message, asked->message_bytes);
    outcome->result = NS_LEDGER_DENIED;
    ns_gate_note_denial(gate, by, check->as.check.denial_status);
    if (!ns_gate_append(gate, check)) {
        return;
    }
    gate->counters.cut++;
    gate->counters.denied_by[by->reason]++;
    answer(gate, from,
           (struct ns_verdict){.decision = NS_DECISION_DENY,
                               .reason = by->reason,
                               .denial_id = outcome->denial_id,
                               .http_status = outcome->http_status,
                               .entity = outcome->entity,
                               .message = ns_gate_denial_text(gate, by, true)});
}

static void
allow(struct ns_gate *gate, const struct ns_gate_from *from, const struct ns_message *check,
      const struct ns_ledger_effect *effect)
{
    gate->record.outcome.result = (uint8_t)effect->result;
    gate->record.outcome.hold_nanousd = effect->hold_nanousd;
    if (!ns_gate_append(gate, &gate->message)) {
        return;
    }
    gate->counters.top_ups++;
    answer(gate, from,
           (struct ns_verdict){.decision = NS_DECISION_ALLOW,
                               .hold_nanousd = effect->hold_nanousd,
                               .output_tokens_held = ns_prices_tokens_covered(
                                   gate->prices, check, &gate->message.as.progress,
                                   effect->firm_nanousd, gate->now_ns)});
}

void
ns_gate_top_up(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
               size_t raw_bytes, const struct ns_record *asked, const struct ns_message *check)
{
    const struct ns_progress *progress = &gate->message.as.progress;
    struct ns_growth growth = {.priced = false};
    if (check != NULL) {
        ns_prices_grow(gate->prices, check, progress, gate->now_ns, &growth);
    }
    if (!growth.priced) { /* no call, or no price: nothing to hold it by */
        answer(gate, from, (struct ns_verdict){.decision = NS_DECISION_ALLOW});
        return;
    }
    ns_gate_begin_record(gate, NS_RECORD_PROGRESS, from, raw, raw_bytes);
    gate->record.event.kind = NS_LEDGER_TOP_UP;
    gate->record.event.as.top_up =
        (struct ns_ledger_top_up){.call_id = progress->call_id,
                                  .mode = check->as.check.mode,
                                  .lost_nanousd = growth.so_far_nanousd,
                                  .enough_nanousd = growth.enough_nanousd,
                                  .wanted_nanousd = growth.wanted_nanousd};
    struct ns_ledger_effect effect;
    int error = ns_gate_apply(gate, &effect);
    if (error != 0 || (effect.result != NS_LEDGER_DONE && effect.result != NS_LEDGER_DENIED)) {
        gate->counters.overfull += effect.result == NS_LEDGER_FULL || error != 0;
        answer(gate, from, (struct ns_verdict){.decision = NS_DECISION_ALLOW});
        return;
    }
    if (effect.result == NS_LEDGER_DONE) {
        allow(gate, from, check, &effect);
        return;
    }
    struct ns_ledger_numbers by = effect.denied_by;
    if (!note_progress(gate, from, raw, raw_bytes, growth.so_far_nanousd)) {
        return;
    }
    if (progress->top_up == NS_TOP_UP_USED_UP) {
        cut(gate, from, asked, check, &by);
    } else {
        answer(gate, from, (struct ns_verdict){.decision = NS_DECISION_DENY, .reason = by.reason});
    }
}
