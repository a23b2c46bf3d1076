/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/top_up.h"

#include <errno.h>
#include <string.h>

#include "shim/counters.h"
#include "shim/process.h"

static uint64_t
tokens_of(const struct ns_wire_response *response)
{
    return ns_usage_output_so_far(&response->usage, response->text_bytes);
}

/* A hold that covers so much and no more. */
static bool
is_bounded(const struct ns_wire_call *call)
{
    const struct ns_ticket *ticket = call->user;
    return ticket != NULL && ticket->checked && call->request.streamed &&
           ticket->top_up.held_tokens > 0 && ns_process_config()->mode == NS_MODE_ENFORCE;
}

/* Where more is asked for, ahead of need. */
static uint64_t
asked_at(const struct ns_top_up *top_up)
{
    return top_up->held_tokens - top_up->held_tokens / 4;
}

uint64_t
ns_top_up_room(const struct ns_wire_call *call)
{
    if (!is_bounded(call)) {
        return UINT64_MAX;
    }
    const struct ns_top_up *top_up = &((const struct ns_ticket *)call->user)->top_up;
    uint64_t used = tokens_of(&call->response);
    uint64_t end = top_up->refused ? top_up->held_tokens : asked_at(top_up);
    return top_up->question.link != NULL || used >= end ? 0 : end - used;
}

bool
ns_top_up_due(const struct ns_wire_call *call, struct ns_top_up_turn *turn)
{
    if (!is_bounded(call)) {
        return false;
    }
    struct ns_ticket *ticket = call->user;
    struct ns_top_up *top_up = &ticket->top_up;
    uint64_t used = tokens_of(&call->response);
    if (used >= top_up->held_tokens) {
        turn->need = NS_TOP_UP_NOW;
    } else if (top_up->question.link != NULL) {
        turn->need = NS_TOP_UP_LOOK;
    } else if (!top_up->refused && used >= asked_at(top_up)) {
        turn->need = NS_TOP_UP_ASK;
    } else {
        return false;
    }
    turn->call_id = ticket->call_id;
    turn->question = top_up->question;
    top_up->question = (struct ns_gate_question){0};
    turn->error = -EAGAIN;
    if (turn->need != NS_TOP_UP_LOOK) {
        ns_call_fill_progress(call, &turn->message, &turn->text);
        turn->message.as.progress.top_up =
            (uint8_t)(turn->need == NS_TOP_UP_NOW ? NS_TOP_UP_USED_UP : NS_TOP_UP_SOON);
    }
    return true;
}

/* Waits for a yes. What was asked before counts, if it is one. */
static void
insist(struct ns_top_up_turn *turn)
{
    if (turn->question.link != NULL) {
        turn->error = ns_gate_answer(&turn->question, &turn->call_id, true, &turn->verdict);
        if (turn->error == -ETIMEDOUT ||
            (turn->error == 0 && turn->verdict.decision == NS_DECISION_ALLOW)) {
            return;
        }
    }
    /* Twice: an idle link's peer may have gone since it was last used. */
    for (int attempt = 0; attempt < 2; attempt++) {
        turn->error = -EHOSTDOWN;
        if (!ns_gate_ask(&turn->message, &turn->question)) {
            return;
        }
        turn->error = ns_gate_answer(&turn->question, &turn->call_id, true, &turn->verdict);
        if (turn->error == 0 || turn->error == -ETIMEDOUT) {
            return;
        }
    }
}

void
ns_top_up_ask(struct ns_top_up_turn *turn)
{
    switch (turn->need) {
    case NS_TOP_UP_ASK:
        turn->error = ns_gate_ask(&turn->message, &turn->question) ? -EAGAIN : -EHOSTDOWN;
        break;
    case NS_TOP_UP_LOOK:
        turn->error = ns_gate_answer(&turn->question, &turn->call_id, false, &turn->verdict);
        break;
    case NS_TOP_UP_NOW:
        insist(turn);
        break;
    }
}

/* Nobody can be asked: as with a call. */
static bool
cut_unreachable(struct ns_ticket *ticket, struct ns_gate_verdict *verdict)
{
    static const char message[] =
        "nullspend: the collector cannot be asked for more than this answer's hold, and the policy "
        "is to deny; it ends here";
    if (!ns_gate_denies_unreachable()) {
        ticket->top_up.held_tokens = 0;
        ns_count(NS_COUNTER_TOP_UPS_UNASKED);
        return false;
    }
    ns_gate_deny_unasked(verdict, NS_REASON_COLLECTOR_UNREACHABLE, message);
    return true;
}

bool
ns_top_up_done(const struct ns_wire_call *call, struct ns_top_up_turn *turn)
{
    struct ns_ticket *ticket = call == NULL ? NULL : call->user;
    if (ticket == NULL || !ns_uuid_equal(&ticket->call_id, &turn->call_id)) {
        ns_gate_unask(&turn->question);
        return false; /* it has ended meanwhile */
    }
    struct ns_top_up *top_up = &ticket->top_up;
    top_up->question = turn->question;
    if (turn->error == -EAGAIN) {
        return false;
    }
    if (turn->error != 0) {
        top_up->refused = true;
        return turn->need == NS_TOP_UP_NOW && cut_unreachable(ticket, &turn->verdict);
    }
    if (turn->verdict.decision != NS_DECISION_DENY) {
        uint64_t used = tokens_of(&call->response);
        uint64_t held = turn->verdict.output_tokens_held;
        top_up->held_tokens = held == 0 || held > used ? held : used + 1;
        top_up->refused = false;
        return false;
    }
    top_up->refused = true;
    return turn->need == NS_TOP_UP_NOW;
}
