/* SPDX-License-Identifier: Apache-2.0 */
/* What processes say of their calls, and what their death says. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/gate.h"
#include "collector/service.h"

/* --- entities ----------------------------------------------------------------------------------
 */

struct entity_list {
    struct ns_gate *gate;
    uint8_t count;
};

static void
add_entity(struct entity_list *list, const char *kind, struct ns_text key, struct ns_text id)
{
    if (id.bytes == 0) {
        return;
    }
    size_t kind_bytes = strlen(kind);
    size_t equals = key.bytes > 0 ? 1 : 0;
    size_t bytes = kind_bytes + key.bytes + equals + id.bytes;
    if (list->count == NS_ENTITIES_MAX || bytes > NS_ENTITY_BYTES_MAX) {
        list->gate->counters.entities_refused++;
        return;
    }
    char *text = list->gate->entity_text[list->count];
    memcpy(text, kind, kind_bytes);
    if (key.bytes > 0) {
        memcpy(text + kind_bytes, key.text, key.bytes);
        text[kind_bytes + key.bytes] = '=';
    }
    memcpy(text + kind_bytes + key.bytes + equals, id.text, id.bytes);
    text[bytes] = '\0';
    const char *why;
    if (text[bytes - 1] == '*' || ns_entity_check(text, bytes, &why) != 0) {
        list->gate->counters.entities_refused++;
        return;
    }
    for (uint8_t i = 0; i < list->count; i++) {
        if (strcmp(list->gate->entity[i], text) == 0) {
            return;
        }
    }
    list->gate->entity[list->count++] = text;
}

static struct ns_text
hex_of(const struct ns_hash16 *hash, char text[static 33])
{
    static const char digits[] = "0123456789abcdef";
    static const uint8_t zeros[16];
    if (memcmp(hash->bytes, zeros, sizeof zeros) == 0) {
        return (struct ns_text){NULL, 0};
    }
    for (size_t i = 0; i < sizeof hash->bytes; i++) {
        text[2 * i] = digits[hash->bytes[i] >> 4];
        text[2 * i + 1] = digits[hash->bytes[i] & 15];
    }
    text[32] = '\0';
    return (struct ns_text){text, 32};
}

/* All that a budget may limit of this call (CHECK and REPORT begin alike). */
static uint8_t
list_entities(struct ns_gate *gate, const struct ns_check *call)
{
    static const struct ns_text none = {NULL, 0};
    struct entity_list list = {gate, 0};
    char hex[33];
    memcpy(gate->entity_text[0], "org", 4);
    gate->entity[list.count++] = gate->entity_text[0];
    add_entity(&list, "customer:", none, call->customer);
    add_entity(&list, "agent:", none, call->agent);
    add_entity(&list, "feature:", none, call->feature);
    add_entity(&list, "session:", none, call->session);
    add_entity(&list, "key:", none, hex_of(&call->key_hash, hex));
    add_entity(&list, "key:", none, call->key_hint);
    for (uint32_t i = 0; i < call->tags.count; i++) {
        const struct ns_tag_text *tag = &call->tags.tag[i];
        if (tag->key.bytes == 4 && memcmp(tag->key.text, "team", 4) == 0) {
            add_entity(&list, "team:", none, tag->value);
        }
        add_entity(&list, "tag:", tag->key, tag->value);
    }
    return list.count;
}

/* --- records -----------------------------------------------------------------------------------
 */

void
ns_gate_begin_record(struct ns_gate *gate, enum ns_record_type type,
                     const struct ns_gate_from *from, const uint8_t *raw, size_t raw_bytes)
{
    memset(&gate->record.event, 0, sizeof gate->record.event);
    memset(&gate->record.outcome, 0, sizeof gate->record.outcome);
    gate->record.type = type;
    gate->record.at_ns = gate->now_ns;
    gate->record.message = raw;
    gate->record.message_bytes = raw_bytes;
    ns_process_record(from->process, from->peer->source, &gate->record.peer);
}

/* --- CHECK -------------------------------------------------------------------------------------
 */

static void
answer_check(struct ns_gate *gate, const struct ns_uuid *call_id, enum ns_decision decision,
             enum ns_reason reason, int64_t hold_nanousd)
{
    gate->counters.checks++;
    if (decision == NS_DECISION_ALLOW) {
        gate->counters.allowed++;
    } else {
        gate->counters.denied++;
        gate->counters.denied_by[reason]++;
    }
    gate->out.kind = NS_MESSAGE_VERDICT;
    gate->out.as.verdict = (struct ns_verdict){
        .call_id = *call_id,
        .decision = (uint8_t)decision,
        .reason = (uint8_t)reason,
        .hold_nanousd = hold_nanousd,
        .deny_unreachable = ns_ledger_denies_unreachable(gate->state.ledger),
    };
}

/* Adds to a denial what the program is told of it. */
static void
explain(struct ns_gate *gate, struct ns_text entity, struct ns_text text)
{
    struct ns_verdict *verdict = &gate->out.as.verdict;
    verdict->denial_id = gate->record.outcome.denial_id;
    verdict->http_status = gate->record.outcome.http_status;
    verdict->entity = entity;
    verdict->message = text;
}

/* No record: nothing of the ledger changed. */
static void
answer_unheld(struct ns_gate *gate, const struct ns_gate_from *from, const struct ns_uuid *call_id,
              enum ns_ledger_result result)
{
    struct ns_open_call *open = ns_calls_find(gate->state.calls, call_id);
    if (result == NS_LEDGER_DUPLICATE) {
        gate->counters.duplicates++;
        if (open != NULL) { /* asked again: the first verdict was lost on its way */
            answer_check(gate, call_id, NS_DECISION_ALLOW, NS_REASON_NONE, open->hold_nanousd);
            ns_gate_reply(gate, from->socket, from->routing);
            return;
        }
        answer_check(gate, call_id, NS_DECISION_DENY, NS_REASON_LOOP, 0);
        gate->out.as.verdict.denial_id = ns_uuid_new();
        gate->out.as.verdict.message =
            ns_text_of("nullspend: this call's id was used before. Request not sent.");
        ns_gate_reply(gate, from->socket, from->routing);
        return;
    }
    gate->counters.overfull++;
    bool deny = ns_ledger_denies_unreachable(gate->state.ledger);
    answer_check(gate, call_id, deny ? NS_DECISION_DENY : NS_DECISION_ALLOW,
                 deny ? NS_REASON_COLLECTOR_UNREACHABLE : NS_REASON_NONE, 0);
    ns_gate_reply(gate, from->socket, from->routing);
}

void
ns_gate_note_denial(struct ns_gate *gate, const struct ns_ledger_numbers *by,
                    uint32_t family_status)
{
    struct ns_record_outcome *outcome = &gate->record.outcome;
    outcome->reason = by->reason;
    outcome->denial_id = ns_uuid_new();
    /* 429 says that it passes, as the library does. */
    bool passing = by->reason == NS_REASON_VELOCITY || by->reason == NS_REASON_LOOP;
    uint32_t status = passing && family_status != 0 ? 429 : family_status;
    outcome->http_status = by->deny_status != 0 ? by->deny_status : (uint16_t)status;
    outcome->entity = ns_text_of(by->entity);
    outcome->limit_nanousd = by->limit_nanousd;
    outcome->spent_nanousd = by->spent_nanousd;
    outcome->held_nanousd = by->held_nanousd;
    outcome->needed_nanousd = by->needed_nanousd;
    outcome->finalize_nanousd = by->finalize_nanousd;
    outcome->overdraft_nanousd = by->overdraft_nanousd;
    outcome->granted_nanousd = by->granted_nanousd;
}

/* No budget denies it: nothing of the ledger changes. */
static void
deny_unasked(struct ns_gate *gate, const struct ns_gate_from *from,
             const struct ns_ledger_numbers *by, struct ns_text text)
{
    struct ns_record_outcome *outcome = &gate->record.outcome;
    outcome->result = NS_LEDGER_DENIED;
    ns_gate_note_denial(gate, by, gate->message.as.check.denial_status);
    if (!ns_gate_append(gate, &gate->message)) {
        return;
    }
    answer_check(gate, &gate->message.as.check.call_id, NS_DECISION_DENY,
                 (enum ns_reason)by->reason, 0);
    explain(gate, outcome->entity, text);
    ns_gate_reply(gate, from->socket, from->routing);
}

/* The policy denies models that have no price. */
static void
deny_unpriced(struct ns_gate *gate, const struct ns_gate_from *from)
{
    struct ns_ledger_numbers none = {.entity = "org", .reason = NS_REASON_UNPRICED};
    deny_unasked(gate, from, &none,
                 ns_text_of("nullspend: this model has no price, and calls without a price are "
                            "denied. Request not sent. Add it to the collector's price file."));
}

/* A denial by a mandate: it has no numbers but what the call would likely have cost. */
static struct ns_ledger_numbers
breach_of(struct ns_gate *gate, const struct ns_mandate_breach *breach,
          const struct ns_quote *quote)
{
    struct ns_ledger_numbers none = {.reason = breach->reason,
                                     .needed_nanousd =
                                         quote->priced ? quote->estimate.typical_nanousd : 0};
    memcpy(none.entity, breach->entity, sizeof none.entity);
    gate->record.outcome.rule = ns_text_of(breach->rule);
    return none;
}

static void
reserve(struct ns_gate *gate, const struct ns_gate_from *from, const struct ns_quote *quote,
        uint8_t entity_count, const struct ns_mandate_breach *breach)
{
    const struct ns_check *check = &gate->message.as.check;
    gate->record.event.kind = NS_LEDGER_RESERVE;
    gate->record.event.as.reserve = (struct ns_ledger_reserve){
        .call_id = check->call_id,
        .owner = from->process->owner,
        .mode = check->mode,
        .finalize = check->finalize,
        .entity_count = entity_count,
        .entity = gate->entity,
        .bound_nanousd = quote->estimate.bound_nanousd,
        .typical_nanousd = quote->estimate.typical_nanousd,
        .lost_nanousd = quote->priced ? quote->estimate.input_nanousd : 0,
    };
    ns_gate_grants_of(gate, check->requested_model, &gate->record.event.as.reserve);
    struct ns_ledger_effect effect;
    int error = ns_gate_apply(gate, &effect);
    if (error != 0 || effect.result == NS_LEDGER_DUPLICATE || effect.result == NS_LEDGER_FULL) {
        answer_unheld(gate, from, &check->call_id, error != 0 ? NS_LEDGER_FULL : effect.result);
        return;
    }
    bool denied = effect.result == NS_LEDGER_DENIED;
    struct ns_record_outcome *outcome = &gate->record.outcome;
    outcome->result = (uint8_t)effect.result;
    outcome->would_deny = effect.would_deny;
    outcome->hold_nanousd = effect.hold_nanousd;
    outcome->price_version = ns_text_of(ns_prices_version(gate->prices));
    gate->counters.velocity_trips += effect.tripped;
    bool by_budget = denied || effect.would_deny;
    struct ns_text text = {NULL, 0};
    if (by_budget) {
        text = ns_gate_denial_text(gate, &effect.denied_by, false);
    } else if (breach != NULL) {
        effect.denied_by = breach_of(gate, breach, quote);
        outcome->would_deny = true;
        text = ns_gate_breach_text(gate, breach);
    }
    if (text.bytes > 0) {
        ns_gate_note_denial(gate, &effect.denied_by, check->denial_status);
        gate->counters.would_deny += denied ? 0 : 1;
    }
    if (!ns_gate_append(gate, &gate->message)) {
        return;
    }
    answer_check(gate, &check->call_id, denied ? NS_DECISION_DENY : NS_DECISION_ALLOW,
                 (enum ns_reason)effect.denied_by.reason, effect.hold_nanousd);
    if (!denied && check->streamed) {
        gate->out.as.verdict.output_tokens_held = ns_prices_tokens_covered(
            gate->prices, &gate->message, NULL, effect.firm_nanousd, gate->now_ns);
    }
    if (text.bytes > 0) {
        explain(gate, outcome->entity, text);
    }
    ns_gate_reply(gate, from->socket, from->routing);
}

static uint64_t
typical_tokens(const struct ns_gate *gate, const struct ns_check *call)
{
    return call->output_tokens_max > 0 ? 0
                                       : ns_history_typical(gate->state.history, call->provider,
                                                            call->requested_model, call->operation);
}

void
ns_gate_check(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
              size_t raw_bytes)
{
    const struct ns_check *check = &gate->message.as.check;
    struct ns_quote quote;
    ns_prices_quote(gate->prices, &gate->message, typical_tokens(gate, check), gate->now_ns,
                    &quote);
    ns_gate_begin_record(gate, NS_RECORD_CHECK, from, raw, raw_bytes);
    gate->counters.unpriced += quote.priced ? 0 : 1;
    uint8_t entity_count = list_entities(gate, check);
    struct ns_mandate_breach breach;
    bool breached = ns_mandates_breached(gate->state.mandates, check, gate->entity, entity_count,
                                         gate->repeats, gate->now_ns, &breach);
    /* One that was let through and asks again, for its verdict was lost, is let through again. */
    bool enforced = check->mode == NS_MODE_ENFORCE && (breached || quote.denied) &&
                    ns_calls_find(gate->state.calls, &check->call_id) == NULL;
    if (breached && breach.policy == NS_POLICY_HARD && enforced) {
        struct ns_ledger_numbers by = breach_of(gate, &breach, &quote);
        deny_unasked(gate, from, &by, ns_gate_breach_text(gate, &breach));
    } else if (quote.denied && enforced) {
        deny_unpriced(gate, from);
    } else {
        reserve(gate, from, &quote, entity_count, breached ? &breach : NULL);
    }
    ns_gate_coverage_called(gate, from, check->host, check->provider);
    if (from->process->dead) {
        ns_peers_spoke_after_death(from->process, gate->tick_at_ns);
    }
}

/* --- PROGRESS ----------------------------------------------------------------------------------
 */

/* The CHECK of an open call, decoded; its texts live as long as the call's record. */
static bool
decode_check(const struct ns_open_call *call, struct ns_record *record, struct ns_message *check)
{
    static struct ns_ledger_event_room room; /* the gate has one thread */
    const char *why;
    return ns_record_decode(call->check, call->check_bytes, record, &room) == 0 &&
           record->message != NULL &&
           ns_message_decode(record->message, record->message_bytes, check, &why) == 0 &&
           check->kind == NS_MESSAGE_CHECK;
}

void
ns_gate_progress(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
                 size_t raw_bytes)
{
    const struct ns_progress *progress = &gate->message.as.progress;
    gate->counters.progress++;
    struct ns_open_call *call = ns_calls_find(gate->state.calls, &progress->call_id);
    struct ns_record asked;
    static struct ns_message check;
    bool known = call != NULL && decode_check(call, &asked, &check);
    gate->counters.duplicates += call == NULL ? 1 : 0;
    if (progress->top_up != 0) {
        ns_gate_top_up(gate, from, raw, raw_bytes, known ? &asked : NULL, known ? &check : NULL);
        return;
    }
    if (!known) {
        return;
    }
    struct ns_bill bill;
    ns_prices_bill_lost(gate->prices, &check, progress, gate->now_ns, &bill);
    ns_gate_begin_record(gate, NS_RECORD_PROGRESS, from, raw, raw_bytes);
    gate->record.event.kind = NS_LEDGER_PROGRESS;
    gate->record.event.as.progress.call_id = progress->call_id;
    gate->record.event.as.progress.lost_nanousd = bill.cost_nanousd;
    struct ns_ledger_effect effect;
    if (ns_gate_apply(gate, &effect) != 0 || effect.result != NS_LEDGER_DONE) {
        return; /* ended meanwhile */
    }
    gate->record.outcome.result = (uint8_t)effect.result;
    ns_gate_append(gate, &gate->message);
}

/* --- REPORT ------------------------------------------------------------------------------------
 */

static void
fill_report(struct ns_gate *gate, const struct ns_bill *bill, const struct ns_ledger_effect *effect,
            int64_t hold_nanousd)
{
    const struct ns_report *report = &gate->message.as.report;
    struct ns_record_outcome *outcome = &gate->record.outcome;
    outcome->result = (uint8_t)effect->result;
    outcome->corrected = effect->corrected;
    outcome->hold_nanousd = hold_nanousd;
    outcome->priced = bill->priced;
    outcome->cost_nanousd = bill->cost_nanousd;
    outcome->computed_nanousd = bill->computed_nanousd;
    outcome->evidence = bill->evidence;
    outcome->usage = bill->usage;
    outcome->price_version = ns_text_of(ns_prices_version(gate->prices));
    if (report->process.bytes > 0) { /* posted for a process that could not */
        gate->record.peer.process = report->process;
    }
    if (report->pid != 0) {
        gate->record.peer.pid = report->pid;
    }
    gate->counters.reports++;
    gate->counters.reports_unasked += report->checked ? 0 : 1;
    gate->counters.reports_unpriced += bill->priced ? 0 : 1;
    gate->counters.corrected += effect->corrected ? 1 : 0;
    gate->counters.cost_nanousd += bill->cost_nanousd;
    gate->counters.overshoot_nanousd += effect->overshoot_nanousd;
}

void
ns_gate_report(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
               size_t raw_bytes)
{
    const struct ns_report *report = &gate->message.as.report;
    struct ns_bill bill;
    ns_prices_bill(gate->prices, &gate->message, typical_tokens(gate, &gate->message.as.check),
                   &bill);
    const struct ns_open_call *open = ns_calls_find(gate->state.calls, &report->call_id);
    int64_t hold_nanousd = open != NULL ? open->hold_nanousd : 0;
    bool in_time = report->started_at_ns > 0 && report->started_at_ns < gate->now_ns;
    ns_gate_begin_record(gate, NS_RECORD_REPORT, from, raw, raw_bytes);
    gate->record.event.kind = NS_LEDGER_SETTLE;
    gate->record.event.as.settle = (struct ns_ledger_settle){
        .call_id = report->call_id,
        .owner = from->process->owner,
        .cost_nanousd = bill.cost_nanousd,
        .opened_at_ns = in_time ? report->started_at_ns : gate->now_ns,
        .entity_count = list_entities(gate, &gate->message.as.check),
        .entity = gate->entity,
    };
    struct ns_ledger_effect effect;
    int error = ns_gate_apply(gate, &effect);
    if (error != 0 || effect.result == NS_LEDGER_FULL) {
        gate->counters.overfull++;
        return; /* not acknowledged: it comes again */
    }
    if (effect.result != NS_LEDGER_DONE) {
        gate->counters.duplicates++;
        ns_gate_ack(gate, from, &report->call_id, NS_MESSAGE_REPORT);
        return;
    }
    fill_report(gate, &bill, &effect, hold_nanousd);
    if (report->pid == 0 || report->pid == from->process->pid) { /* else another process posts it */
        ns_gate_coverage_called(gate, from, report->host, report->provider);
    }
    if (ns_gate_append(gate, &gate->message)) {
        ns_gate_ack(gate, from, &report->call_id, NS_MESSAGE_REPORT);
    }
}

/* --- RELEASE -----------------------------------------------------------------------------------
 */

void
ns_gate_release(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
                size_t raw_bytes)
{
    const struct ns_release *release = &gate->message.as.release;
    ns_gate_begin_record(gate, NS_RECORD_RELEASE, from, raw, raw_bytes);
    gate->record.event.kind = NS_LEDGER_VOID;
    gate->record.event.as.voided.call_id = release->call_id;
    struct ns_ledger_effect effect;
    if (ns_gate_apply(gate, &effect) == 0 && effect.result == NS_LEDGER_DONE) {
        gate->counters.releases++;
        gate->record.outcome.result = (uint8_t)effect.result;
        gate->record.outcome.corrected = effect.corrected;
        gate->record.outcome.hold_nanousd = effect.released_nanousd;
        gate->counters.corrected += effect.corrected ? 1 : 0;
        if (!ns_gate_append(gate, &gate->message)) {
            return;
        }
    } else {
        gate->counters.duplicates++;
    }
    ns_gate_ack(gate, from, &release->call_id, NS_MESSAGE_RELEASE);
}

/* --- death -------------------------------------------------------------------------------------
 */

struct lost_list {
    struct ns_uuid *call_id;
    size_t count, room;
    bool failed;
};

static void
collect_lost(void *context, const struct ns_open_call *call)
{
    struct lost_list *list = context;
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 64 : list->room * 2;
        struct ns_uuid *bigger = realloc(list->call_id, room * sizeof *bigger);
        if (bigger == NULL) {
            list->failed = true; /* they keep their mark: the next death or start writes them */
            return;
        }
        list->call_id = bigger;
        list->room = room;
    }
    list->call_id[list->count++] = call->call_id;
}

/* The row of one lost call; event goes with the first of them. */
static void
write_lost(struct ns_gate *gate, const struct ns_uuid *call_id, const struct ns_ledger_event *event)
{
    struct ns_open_call *call = ns_calls_find(gate->state.calls, call_id);
    struct ns_record asked;
    static struct ns_message check;
    static struct ns_message told;
    if (call == NULL || !decode_check(call, &asked, &check)) {
        return;
    }
    struct ns_record progressed;
    static struct ns_ledger_event_room room;
    const char *why;
    const struct ns_progress *progress = NULL;
    if (call->progress != NULL &&
        ns_record_decode(call->progress, call->progress_bytes, &progressed, &room) == 0 &&
        progressed.message != NULL &&
        ns_message_decode(progressed.message, progressed.message_bytes, &told, &why) == 0) {
        progress = &told.as.progress;
    }
    struct ns_bill bill;
    ns_prices_bill_lost(gate->prices, &check, progress, gate->now_ns, &bill);
    gate->record = asked;
    gate->record.type = NS_RECORD_LOST;
    gate->record.at_ns = gate->now_ns;
    memset(&gate->record.event, 0, sizeof gate->record.event);
    if (event != NULL) {
        gate->record.event = *event;
    }
    gate->record.outcome = (struct ns_record_outcome){
        .result = NS_LEDGER_DONE,
        .hold_nanousd = call->hold_nanousd,
        .priced = bill.priced,
        .cost_nanousd = call->charged_nanousd, /* what the ledger posted */
        .computed_nanousd = bill.cost_nanousd,
        .evidence = bill.evidence,
        .usage = bill.usage,
        .price_version = ns_text_of(ns_prices_version(gate->prices)),
        .model = progress != NULL ? progress->model : (struct ns_text){NULL, 0},
    };
    gate->counters.lost++;
    gate->counters.cost_nanousd += call->charged_nanousd;
    ns_gate_append(gate, &check);
}

void
ns_gate_write_lost(struct ns_gate *gate, const struct ns_ledger_event *event)
{
    struct lost_list list = {0};
    ns_calls_visit_lost(gate->state.calls, collect_lost, &list);
    for (size_t i = 0; i < list.count && gate->failure == 0; i++) {
        write_lost(gate, &list.call_id[i], i == 0 ? event : NULL);
    }
    free(list.call_id);
    if (list.count == 0 && event != NULL && gate->failure == 0) {
        /* No call of it is known, but the ledger changed: replay must, too. */
        memset(&gate->record, 0, sizeof gate->record);
        gate->record.type = NS_RECORD_TICK;
        gate->record.at_ns = gate->now_ns;
        gate->record.event = *event;
        ns_gate_append(gate, NULL);
    }
}

void
ns_gate_bury(struct ns_gate *gate, int64_t monotonic_ns)
{
    struct ns_owner owner;
    while (gate->failure == 0 && ns_peers_take_due(gate->peers, monotonic_ns, &owner)) {
        gate->now_ns = ns_realtime_ns();
        memset(&gate->record, 0, sizeof gate->record);
        gate->record.at_ns = gate->now_ns;
        gate->record.event.kind = NS_LEDGER_OWNER_GONE;
        gate->record.event.as.owner_gone.owner = owner;
        struct ns_ledger_event event = gate->record.event;
        struct ns_ledger_effect effect;
        if (ns_gate_apply(gate, &effect) == 0 && effect.lost_count > 0) {
            ns_gate_write_lost(gate, &event);
        }
    }
}
