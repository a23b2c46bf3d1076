/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the collector, and what is told without an acknowledgement. */
#include "shim/gate.h"

#include <string.h>

#include "base/hash.h"
#include "shim/link.h"
#include "shim/process.h"

/* --- questions ----------------------------------------------------------------------------------
 */

static void
copy_text(char *to, size_t bytes_max, struct ns_text text)
{
    size_t bytes = text.bytes < bytes_max ? text.bytes : bytes_max;
    memcpy(to, text.text != NULL ? text.text : "", bytes);
    to[bytes] = '\0';
}

static void
keep_verdict(struct ns_gate_verdict *kept, const struct ns_verdict *verdict)
{
    kept->decision = (enum ns_decision)verdict->decision;
    kept->reason = (enum ns_reason)verdict->reason;
    kept->http_status = (int)verdict->http_status;
    kept->denial_id = verdict->denial_id;
    kept->output_tokens_held = verdict->output_tokens_held;
    copy_text(kept->entity, NS_VERDICT_ENTITY_BYTES_MAX, verdict->entity);
    copy_text(kept->message, NS_VERDICT_MESSAGE_BYTES_MAX, verdict->message);
}

/* HOLD asks to wait for another verdict on the same call; when the deadline comes first, the hold
 * is what stands, and it is a refusal. */
static int
await_verdict(struct ns_link *link, const struct ns_uuid *call_id, int64_t deadline_ns,
              struct ns_gate_verdict *verdict)
{
    bool held = false;
    for (;;) {
        const struct ns_message *message = &link->message;
        int error = ns_link_receive(link, deadline_ns);
        if (error != 0) {
            return held && error == -ETIMEDOUT ? 0 : error;
        }
        /* Others are late answers to questions that were given up. */
        if (message->kind != NS_MESSAGE_VERDICT ||
            !ns_uuid_equal(&message->as.verdict.call_id, call_id)) {
            continue;
        }
        keep_verdict(verdict, &message->as.verdict);
        if (verdict->decision != NS_DECISION_HOLD) {
            return 0;
        }
        held = true;
    }
}

static int
check(const struct ns_message *message, struct ns_gate_verdict *verdict, bool *asked)
{
    int64_t deadline_ns = ns_link_deadline();
    int error = 0;
    /* Twice: an idle link's peer may have gone since it was last used. */
    for (int attempt = 0; attempt < 2; attempt++) {
        struct ns_link *link = ns_link_acquire(NS_LINK_ASK, deadline_ns, &error);
        if (link == NULL) {
            return error;
        }
        error = ns_link_send(link, message, deadline_ns);
        if (error == 0) {
            *asked = true;
            error = await_verdict(link, &message->as.check.call_id, deadline_ns, verdict);
        }
        if (error == 0) {
            ns_breaker_close();
        }
        bool lost = !ns_link_is_connected(link);
        ns_link_release(link);
        if (!lost) {
            break;
        }
    }
    if (error == -ETIMEDOUT) {
        ns_breaker_open("no verdict in time");
    }
    return error;
}

int
ns_gate_check(const struct ns_message *message, struct ns_gate_verdict *verdict, bool *asked)
{
    struct ns_visit visit = ns_visit_begin();
    *asked = false;
    int error = check(message, verdict, asked);
    ns_visit_end(visit);
    return error;
}

/* --- questions that are not waited for
 * ---------------------------------------------------------------------- */

bool
ns_gate_ask(const struct ns_message *message, struct ns_gate_question *question)
{
    struct ns_visit visit = ns_visit_begin();
    int error;
    struct ns_link *link = ns_link_acquire(NS_LINK_TELL, ns_link_deadline(), &error);
    if (link != NULL && ns_link_send(link, message, 1) == 0) {
        *question = (struct ns_gate_question){link, link->serial, ns_process_life()};
    } else if (link != NULL) {
        ns_link_release(link);
    }
    ns_visit_end(visit);
    return question->link != NULL;
}

static void
end_question(struct ns_gate_question *question)
{
    if (question->link != NULL && question->life == ns_process_life()) {
        ns_link_release(question->link);
    }
    *question = (struct ns_gate_question){0};
}

int
ns_gate_answer(struct ns_gate_question *question, const struct ns_uuid *call_id, bool wait,
               struct ns_gate_verdict *verdict)
{
    if (question->link == NULL || question->life != ns_process_life()) {
        end_question(question);
        return -ENOTCONN;
    }
    struct ns_visit visit = ns_visit_begin();
    struct ns_link *link = question->link;
    int error = -ENOTCONN;
    if (ns_link_check(link) && link->serial == question->serial) {
        error = await_verdict(link, call_id, wait ? ns_link_deadline() : 0, verdict);
    }
    if ((error == -ETIMEDOUT || error == -EAGAIN) && !wait) {
        error = -EAGAIN;
    } else {
        if (error == -ETIMEDOUT) {
            ns_breaker_open("no verdict in time");
        } else if (error == 0) {
            ns_breaker_close();
        }
        end_question(question);
    }
    ns_visit_end(visit);
    return error;
}

int
ns_gate_question_fd(const struct ns_gate_question *question)
{
    return question->link == NULL ? -1 : question->link->zmtp.fd;
}

void
ns_gate_unask(struct ns_gate_question *question)
{
    struct ns_visit visit = ns_visit_begin();
    end_question(question);
    ns_visit_end(visit);
}

void
ns_gate_give_up(struct ns_gate_question *question)
{
    if (question->link != NULL) {
        ns_breaker_open("no verdict in time");
    }
    ns_gate_unask(question);
}

bool
ns_gate_denies_unreachable(void)
{
    return ns_process_config()->on_unreachable == NS_UNREACHABLE_DENY ||
           ns_link_denies_unreachable();
}

void
ns_gate_deny_unasked(struct ns_gate_verdict *verdict, enum ns_reason reason, const char *message)
{
    memset(verdict, 0, sizeof *verdict);
    verdict->decision = NS_DECISION_DENY;
    verdict->reason = reason;
    verdict->denial_id = ns_uuid_new();
    memcpy(verdict->message, message, strnlen(message, NS_VERDICT_MESSAGE_BYTES_MAX));
    memcpy(verdict->entity, "org", sizeof "org");
}

struct ns_hash16
ns_gate_hash(const void *secret, size_t bytes)
{
    struct ns_hash16 hash = {{0}};
    struct ns_visit visit = ns_visit_begin();
    uint8_t key[16];
    bool known = ns_link_hash_key(key);
    if (!known) {
        int error;
        struct ns_link *link = ns_link_acquire(NS_LINK_TELL, ns_link_deadline(), &error);
        if (link != NULL) {
            ns_link_release(link);
        }
        known = ns_link_hash_key(key);
    }
    if (known) {
        ns_siphash128(key, secret, bytes, hash.bytes);
    }
    ns_visit_end(visit);
    return hash;
}

/* --- tellings -----------------------------------------------------------------------------------
 */

void
ns_gate_tell(const struct ns_message *message)
{
    struct ns_visit visit = ns_visit_begin();
    int error;
    int64_t deadline_ns = ns_link_deadline();
    struct ns_link *link = ns_link_acquire(NS_LINK_TELL, deadline_ns, &error);
    if (link != NULL) {
        ns_link_send(link, message, 1); /* now or never: the program waits for its answer */
        ns_link_release(link);
    }
    ns_visit_end(visit);
}
