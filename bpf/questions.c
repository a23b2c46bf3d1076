/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/questions.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "shim/process.h"

struct question {
    struct question *next;
    struct ns_wire_call *call; /* NULL: it is over, and only its denial is waited for */
    struct ns_uuid call_id;
    struct ns_asking asking;
    struct ns_origin origin;
    struct ns_gate_question asked;
    int64_t until_ns;
};

struct ns_questions {
    ns_questions_deny *deny;
    void *context; /* of deny */
    struct question *first;
};

struct ns_questions *
ns_questions_new(ns_questions_deny *deny, void *context)
{
    struct ns_questions *questions = ns_mem_alloc(sizeof *questions);
    if (questions != NULL) {
        *questions = (struct ns_questions){.deny = deny, .context = context};
    }
    return questions;
}

void
ns_questions_free(struct ns_questions *questions)
{
    if (questions != NULL) {
        ns_questions_give_up(questions);
    }
    ns_mem_free(questions);
}

/* --- ruling --------------------------------------------------------------------------------- */

/* A denied call is answered by the provider all the same, and known by not being sent. */
static void
rule(const struct ns_questions *questions, const struct ns_wire_call *call,
     const struct ns_asking *asking, const struct ns_gate_verdict *verdict, enum ns_ruling ruling)
{
    struct ns_ticket *ticket = call == NULL ? NULL : call->user;
    struct ns_denied denied = {
        .asking = asking, .verdict = verdict, .would = ruling == NS_RULING_ALLOW};
    bool sent = true;
    if (!denied.would || verdict->reason != NS_REASON_NONE) {
        sent = questions->deny(questions->context, &denied);
    }
    if (ticket != NULL) {
        ticket->sent = sent;
    }
}

void
ns_questions_ask(struct ns_questions *questions, struct ns_wire_call *call, const uint8_t *request,
                 size_t bytes, const struct ns_asking *asking)
{
    struct ns_gate_verdict verdict = {0};
    struct question *question = ns_mem_alloc(sizeof *question);
    enum ns_ruling ruling = question == NULL
                                ? ns_call_judge(call, request, bytes, &verdict)
                                : ns_call_ask(call, request, bytes, &verdict, &question->asked);
    struct ns_ticket *ticket = call->user;
    if (ticket != NULL) {
        ticket->origin = asking->origin;
        ticket->sent = !asking->stopped;
    }
    if (ruling != NS_RULING_ASKED || question == NULL || ticket == NULL) {
        ns_mem_free(question);
        rule(questions, call, asking, &verdict, ruling);
        return;
    }
    question->call = call;
    question->call_id = ticket->call_id;
    question->origin = *asking->origin;
    question->asking = *asking;
    question->asking.origin = &question->origin;
    question->until_ns = ns_clock_ns(CLOCK_MONOTONIC) + ns_process_config()->deadline_ns;
    question->next = questions->first;
    questions->first = question;
}

/* The verdict on a call that is over. Where its report came before its question, the collector
 * takes that for a second one of the same call, which is no denial. */
static enum ns_ruling
hear_late(struct question *question, bool last, struct ns_gate_verdict *verdict)
{
    int error = ns_gate_answer(&question->asked, &question->call_id, false, verdict);
    if (error == -EAGAIN && !last) {
        return NS_RULING_ASKED;
    }
    ns_gate_unask(&question->asked);
    if (error != 0 || verdict->reason == NS_REASON_LOOP) {
        *verdict = (struct ns_gate_verdict){.decision = NS_DECISION_ALLOW};
    }
    return verdict->decision == NS_DECISION_ALLOW || ns_process_config()->mode != NS_MODE_ENFORCE
               ? NS_RULING_ALLOW
               : NS_RULING_DENY;
}

void
ns_questions_listen(struct ns_questions *questions)
{
    int64_t now_ns = ns_clock_ns(CLOCK_MONOTONIC);
    for (struct question **link = &questions->first; *link != NULL;) {
        struct question *question = *link;
        struct ns_gate_verdict verdict = {0};
        bool last = now_ns >= question->until_ns;
        enum ns_ruling ruling =
            question->call == NULL
                ? hear_late(question, last, &verdict)
                : ns_call_heard(question->call, &question->asked, last, &verdict);
        if (ruling == NS_RULING_ASKED) {
            link = &question->next;
            continue;
        }
        *link = question->next;
        rule(questions, question->call, &question->asking, &verdict, ruling);
        ns_mem_free(question);
    }
}

/* --- who waits ------------------------------------------------------------------------------ */

bool
ns_questions_waits(const struct ns_questions *questions, uint32_t pid)
{
    const struct question *question = questions->first;
    while (question != NULL && (question->origin.pid != pid || !question->asking.stopped)) {
        question = question->next;
    }
    return question != NULL;
}

size_t
ns_questions_poll(const struct ns_questions *questions, struct pollfd *polled, size_t room)
{
    size_t count = 0;
    for (const struct question *question = questions->first; question != NULL && count < room;
         question = question->next) {
        polled[count++] =
            (struct pollfd){.fd = ns_gate_question_fd(&question->asked), .events = POLLIN};
    }
    return count;
}

/* --- ends ----------------------------------------------------------------------------------- */

bool
ns_questions_end(struct ns_questions *questions, const struct ns_wire_call *call)
{
    struct question **link = &questions->first;
    while (*link != NULL && (*link)->call != call) {
        link = &(*link)->next;
    }
    struct question *question = *link;
    if (question == NULL) {
        return false;
    }
    question->call = NULL;
    if (question->asking.stopped) {
        *link = question->next;
        ns_gate_unask(&question->asked);
        ns_mem_free(question);
    }
    return true;
}

void
ns_questions_give_up(struct ns_questions *questions)
{
    while (questions->first != NULL) {
        struct question *question = questions->first;
        struct ns_ticket *ticket = question->call == NULL ? NULL : question->call->user;
        questions->first = question->next;
        ns_gate_unask(&question->asked);
        if (ticket != NULL) {
            ticket->sent = true;
        }
        ns_mem_free(question);
    }
}
