/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/call.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "protocol/zmtp.h"
#include "shim/counters.h"
#include "shim/hello.h"
#include "shim/log.h"
#include "shim/process.h"
#include "shim/report.h"
#include "shim/tags.h"
#include "shim/unjudged.h"

static int64_t
realtime_ns(void)
{
    return ns_clock_ns(CLOCK_REALTIME);
}

/* --- texts that a decoder takes ------------------------------------------------------------------
 */

/* A text from the program or the provider that is not UTF-8, or too long, is left out: it must not
 * cost the whole message. */
static void
clean_text(struct ns_text *text, size_t bytes_max)
{
    if (text->bytes > 0 && !ns_tags_clean(text->text, text->bytes, bytes_max)) {
        *text = (struct ns_text){"", 0};
        ns_count(NS_COUNTER_TEXTS_REJECTED);
    }
}

static void
clean_tags(struct ns_tags *tags)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < tags->count; i++) {
        const struct ns_tag_text *tag = &tags->tag[i];
        if (ns_tags_clean(tag->key.text, tag->key.bytes, NS_TAG_KEY_BYTES_MAX) &&
            (tag->value.bytes == 0 ||
             ns_tags_clean(tag->value.text, tag->value.bytes, NS_TAG_VALUE_BYTES_MAX))) {
            tags->tag[kept++] = *tag;
        } else {
            ns_count(NS_COUNTER_TEXTS_REJECTED);
        }
    }
    tags->count = kept;
}

static void
clean_parts(struct ns_parts *parts)
{
    for (uint32_t i = 0; i < parts->count; i++) {
        clean_text(&parts->part[i].model, NS_MODEL_BYTES_MAX);
    }
}

#define CLEAN_u8(field, max)
#define CLEAN_u32(field, max)
#define CLEAN_u64(field, max)
#define CLEAN_i64(field, max)
#define CLEAN_bool(field, max)
#define CLEAN_uuid(field, max)
#define CLEAN_hash16(field, max)
#define CLEAN_usage(field, max)
#define CLEAN_text(field, max) clean_text(field, max);
#define CLEAN_tags(field, max) clean_tags(field);
#define CLEAN_parts(field, max) clean_parts(field);
#define CLEAN(tag, name, type, need, max) CLEAN_##type(&fields->name, max)

static void
clean_check(struct ns_check *fields)
{
    NS_FIELDS_CHECK(CLEAN)
}

static void
clean_report(struct ns_report *fields)
{
    NS_FIELDS_REPORT(CLEAN)
}

/* --- from a call to a message
 * ---------------------------------------------------------------------*/

/* The identity, once: ns_check and ns_report name these members alike. */
#define FILL_IDENTITY(to, call, ticket)                                                            \
    do {                                                                                           \
        const struct ns_wire_request *r_ = &(call)->request;                                       \
        (to)->call_id = (ticket)->call_id;                                                         \
        (to)->started_at_ns = (ticket)->started_at_ns;                                             \
        (to)->provider = ns_text_of(r_->provider);                                                 \
        (to)->family = ns_text_of(r_->family);                                                     \
        (to)->operation = ns_text_of(r_->operation);                                               \
        (to)->host = ns_text_of(r_->host);                                                         \
        (to)->requested_model = ns_text_of(r_->model);                                             \
        (to)->streamed = r_->streamed;                                                             \
        (to)->customer = ns_text_of(r_->identity.customer);                                        \
        (to)->agent = ns_text_of(r_->identity.agent);                                              \
        (to)->feature = ns_text_of(r_->identity.feature);                                          \
        (to)->session = ns_text_of(r_->identity.session);                                          \
        fill_tags(&(to)->tags, &r_->identity);                                                     \
        (to)->trace_id = ns_text_of(r_->identity.trace_id);                                        \
        (to)->key_hash = (ticket)->key_hash;                                                       \
        (to)->key_hint = ns_text_of(r_->credential);                                               \
        (to)->mode = (uint8_t)ns_process_config()->mode;                                           \
        (to)->finalize = r_->identity.finalize;                                                    \
        (to)->text_bytes = r_->text_bytes;                                                         \
        (to)->images = r_->images;                                                                 \
        (to)->audios = r_->audios;                                                                 \
        (to)->videos = r_->videos;                                                                 \
        (to)->files = r_->files;                                                                   \
        (to)->attachment_bytes = r_->attachment_bytes;                                             \
        (to)->output_tokens_max = r_->output_tokens_max;                                           \
        (to)->choices = r_->choices;                                                               \
        (to)->history_elsewhere = r_->history_elsewhere;                                           \
        (to)->cache_write = r_->cache_write;                                                       \
        (to)->requested_tier = ns_text_of(r_->service_tier);                                       \
        (to)->requested_speed = ns_text_of(r_->speed);                                             \
        (to)->requested_region = ns_text_of(r_->region);                                           \
        (to)->upstream = ns_text_of(r_->upstream);                                                 \
    } while (0)

static void
fill_tags(struct ns_tags *tags, const struct ns_wire_identity *identity)
{
    tags->count = identity->tag_count;
    for (uint32_t i = 0; i < tags->count; i++) {
        tags->tag[i].key = ns_text_of(identity->tags[i].key);
        tags->tag[i].value = ns_text_of(identity->tags[i].value);
    }
}

static void
fill_response(struct ns_report *report, const struct ns_wire_call *call, bool cancelled)
{
    const struct ns_wire_response *response = &call->response;
    report->ended_at_ns = realtime_ns();
    report->http_status =
        response->status > 0 && response->status <= 999 ? (uint32_t)response->status : 0;
    enum ns_outcome outcome = response->error ? NS_OUTCOME_ERROR : NS_OUTCOME_OK;
    bool cut = cancelled && !call->response.complete;
    report->outcome = (uint8_t)(cut ? NS_OUTCOME_CANCELLED : outcome);
    report->evidence = (uint8_t)ns_wire_evidence(call);
    report->model = ns_text_of(response->model);
    report->service_tier = ns_text_of(response->service_tier);
    report->speed = ns_text_of(response->speed);
    report->region = ns_text_of(response->region);
    report->response_id = ns_text_of(response->id);
    report->response_date_s = response->date_unix_s;
    report->usage = response->usage;
    report->parts.count = call->part_count;
    for (uint32_t i = 0; i < call->part_count; i++) {
        report->parts.part[i].model = ns_text_of(call->parts[i].model);
        report->parts.part[i].usage = call->parts[i].usage;
    }
    report->has_provider_cost = response->has_provider_cost;
    report->provider_cost_nanousd = response->provider_cost_nanousd;
    report->output_text_bytes = response->text_bytes;
}

/* --- a call's life -------------------------------------------------------------------------------
 */

static struct ns_ticket *
new_ticket(struct ns_wire_call *call, const uint8_t *request, size_t request_bytes)
{
    struct ns_ticket *ticket = ns_mem_alloc(sizeof *ticket);
    call->user = ticket;
    if (ticket == NULL) {
        return NULL;
    }
    ticket->call_id = ns_uuid_new();
    ticket->started_at_ns = realtime_ns();
    struct ns_wire_range range = call->request.credential_range;
    if (range.bytes > 0 && (uint64_t)range.offset + range.bytes <= request_bytes) {
        ticket->key_hash = ns_gate_hash(request + range.offset, range.bytes);
    }
    ns_tags_complete(&call->request.identity, &ns_process_config()->identity);
    return ticket;
}

/* A message has some 4 KiB, threads may have a stack of four times that. NULL without memory. */
static struct ns_message *
new_message(enum ns_message_kind kind)
{
    struct ns_message *message = ns_mem_alloc(sizeof *message);
    if (message != NULL) {
        message->kind = kind;
    }
    return message;
}

static void
release_hold(const struct ns_ticket *ticket, enum ns_outcome outcome)
{
    struct ns_message *message = new_message(NS_MESSAGE_RELEASE);
    if (message == NULL) {
        ns_count(NS_COUNTER_REPORTS_LOST);
        ns_log("a release is lost, there is no memory for it", NULL);
        return;
    }
    message->as.release.call_id = ticket->call_id;
    message->as.release.outcome = (uint8_t)outcome;
    ns_reports_add(message);
    ns_mem_free(message);
    ns_gate_post();
}

/* Nobody could be asked. */
static enum ns_ruling
rule_unreachable(const struct ns_ticket *ticket, struct ns_gate_verdict *verdict)
{
    static const char message[] =
        "nullspend: the collector cannot be asked, and the policy is to deny; request not sent";
    if (!ns_unjudged_is_denied()) {
        ns_count(NS_COUNTER_CALLS_UNASKED);
        return NS_RULING_ALLOW;
    }
    ns_count(NS_COUNTER_DENIED_UNASKED);
    ns_gate_deny_unasked(verdict, NS_REASON_COLLECTOR_UNREACHABLE, message);
    if (ticket->asked) {
        /* The question may be answered after all: whatever it reserved goes back. */
        release_hold(ticket, NS_OUTCOME_CANCELLED);
    }
    return NS_RULING_DENY;
}

static enum ns_ruling
rule_verdict(struct ns_ticket *ticket, struct ns_gate_verdict *verdict)
{
    if (verdict->decision == NS_DECISION_ALLOW || ns_process_config()->mode != NS_MODE_ENFORCE) {
        ticket->checked = true;
        ticket->top_up.held_tokens = verdict->output_tokens_held;
        return NS_RULING_ALLOW;
    }
    if (verdict->decision == NS_DECISION_HOLD) {
        verdict->reason = NS_REASON_APPROVAL_REFUSED;
        release_hold(ticket, NS_OUTCOME_CANCELLED);
    }
    return NS_RULING_DENY;
}

/* Zero for none. */
static struct ns_hash16
keyed(uint64_t fingerprint)
{
    struct ns_hash16 hash = {{0}};
    if (fingerprint != 0) {
        hash = ns_gate_hash(&fingerprint, sizeof fingerprint);
    }
    return hash;
}

/* The CHECK of a call; NULL without memory. */
static struct ns_message *
new_check(const struct ns_wire_call *call, const struct ns_ticket *ticket)
{
    struct ns_message *message = new_message(NS_MESSAGE_CHECK);
    if (message != NULL) {
        FILL_IDENTITY(&message->as.check, call, ticket);
        /* The agent cannot say what its programs will read: their provider will. */
        message->as.check.denial_status = ns_process_source() == NS_SOURCE_EBPF
                                              ? 0
                                              : (uint32_t)ns_wire_denial_status(&call->request);
        message->as.check.tools = ns_text_of(call->request.tools);
        message->as.check.fingerprint = keyed(call->request.fingerprint);
        message->as.check.ending = keyed(call->request.ending);
        clean_check(&message->as.check);
    }
    return message;
}

static enum ns_ruling
ask(struct ns_wire_call *call, struct ns_ticket *ticket, struct ns_gate_verdict *verdict,
    struct ns_gate_question *question)
{
    struct ns_message *message = new_check(call, ticket);
    if (message == NULL) {
        return rule_unreachable(ticket, verdict);
    }
    bool answered = false;
    if (question == NULL) {
        answered = ns_gate_check(message, verdict, &ticket->asked) == 0;
    } else if (ns_gate_ask(message, question)) {
        ticket->asked = true;
    }
    ns_mem_free(message);
    if (question != NULL && question->link != NULL) {
        return NS_RULING_ASKED;
    }
    return answered ? rule_verdict(ticket, verdict) : rule_unreachable(ticket, verdict);
}

static enum ns_ruling
count_ruling(const struct ns_wire_call *call, enum ns_ruling ruling)
{
    if (ruling != NS_RULING_ASKED) {
        ns_count(ruling == NS_RULING_ALLOW ? NS_COUNTER_CALLS_ALLOWED : NS_COUNTER_CALLS_DENIED);
    }
    if (ruling == NS_RULING_ALLOW && !call->request.body_complete) {
        ns_count(NS_COUNTER_CALLS_PARTLY_SEEN);
    }
    return ruling;
}

/* question: NULL, and the verdict is waited for. */
static enum ns_ruling
judge(struct ns_wire_call *call, const uint8_t *request, size_t request_bytes,
      struct ns_gate_verdict *verdict, struct ns_gate_question *question)
{
    int saved = errno;
    struct ns_ticket *ticket = new_ticket(call, request, request_bytes);
    enum ns_ruling ruling = NS_RULING_ALLOW;
    if (ticket == NULL && ns_unjudged_is_denied()) {
        ns_unjudged_deny(NS_WIRE_NO_MEMORY, verdict);
        ruling = NS_RULING_DENY;
    } else if (ticket == NULL) {
        ns_count(NS_COUNTER_CALLS_UNWITHHELD);
    } else {
        bool asks = ns_process_config()->mode != NS_MODE_OBSERVE;
        ruling = count_ruling(call, asks ? ask(call, ticket, verdict, question) : NS_RULING_ALLOW);
    }
    errno = saved;
    return ruling;
}

enum ns_ruling
ns_call_judge(struct ns_wire_call *call, const uint8_t *request, size_t request_bytes,
              struct ns_gate_verdict *verdict)
{
    return judge(call, request, request_bytes, verdict, NULL);
}

enum ns_ruling
ns_call_ask(struct ns_wire_call *call, const uint8_t *request, size_t request_bytes,
            struct ns_gate_verdict *verdict, struct ns_gate_question *question)
{
    *question = (struct ns_gate_question){0};
    return judge(call, request, request_bytes, verdict, question);
}

enum ns_ruling
ns_call_heard(struct ns_wire_call *call, struct ns_gate_question *question, bool last,
              struct ns_gate_verdict *verdict)
{
    struct ns_ticket *ticket = call->user;
    int saved = errno;
    enum ns_ruling ruling = NS_RULING_ASKED;
    int error = ns_gate_answer(question, &ticket->call_id, false, verdict);
    if (error == 0) {
        ruling = rule_verdict(ticket, verdict);
    } else if (error != -EAGAIN || last) {
        ns_gate_give_up(question);
        ruling = rule_unreachable(ticket, verdict);
    }
    errno = saved;
    return count_ruling(call, ruling);
}

void
ns_call_drop(struct ns_wire_call *call)
{
    struct ns_ticket *ticket = call->user;
    if (ticket != NULL && ticket->top_up.question.link != NULL) {
        ns_gate_unask(&ticket->top_up.question);
    }
    ns_mem_free(ticket);
    call->user = NULL;
    ns_wire_call_free(call);
}

static void
report(struct ns_wire_call *call, const struct ns_ticket *ticket, bool cancelled)
{
    struct ns_message *message = new_message(NS_MESSAGE_REPORT);
    if (message == NULL) {
        ns_count(NS_COUNTER_REPORTS_LOST);
        ns_log("a report is lost, there is no memory for it", NULL);
        return;
    }
    char name[NS_NAME_BYTES_MAX + 1];
    if (ticket->origin == NULL) {
        ns_process_name(name);
    } else {
        memcpy(name, ticket->origin->process, sizeof name);
    }
    struct ns_report *report = &message->as.report;
    FILL_IDENTITY(report, call, ticket);
    fill_response(report, call, cancelled);
    report->checked = ticket->checked;
    report->process = ns_text_of(name);
    report->pid = ticket->origin == NULL ? (uint32_t)getpid() : ticket->origin->pid;
    clean_report(report);
    ns_reports_add(message);
    ns_mem_free(message);
    ns_gate_post();
}

void
ns_call_finish(struct ns_wire_call *call, bool cancelled)
{
    int saved = errno;
    const struct ns_ticket *ticket = call->user;
    if (ticket != NULL && !ticket->sent && call->response.status == 0) {
        if (ticket->asked) {
            release_hold(ticket, NS_OUTCOME_CANCELLED);
        }
    } else if (ticket != NULL) {
        report(call, ticket, cancelled);
    }
    ns_call_drop(call);
    errno = saved;
}

/* Without what an exact time costs at every read; between two messages a few ms are nothing. */
static int64_t
progress_clock_ns(void)
{
    return ns_clock_ns(CLOCK_MONOTONIC_COARSE);
}

void
ns_call_fill_progress(const struct ns_wire_call *call, struct ns_message *message,
                      struct ns_progress_text *text)
{
    struct ns_ticket *ticket = call->user;
    const struct ns_wire_response *response = &call->response;
    ticket->progress_at_ns = progress_clock_ns();
    ticket->progress_body_bytes = response->body_bytes;
    memset(message, 0, sizeof *message);
    message->kind = NS_MESSAGE_PROGRESS;
    struct ns_progress *progress = &message->as.progress;
    progress->call_id = ticket->call_id;
    progress->text_bytes = response->text_bytes;
    progress->usage = response->usage;
    memcpy(text->model, response->model, sizeof text->model);
    progress->model = ns_text_of(text->model);
    clean_text(&progress->model, NS_MODEL_BYTES_MAX);
}

bool
ns_call_progress(const struct ns_wire_call *call, struct ns_message *message,
                 struct ns_progress_text *text)
{
    struct ns_ticket *ticket = call->user;
    const struct ns_wire_response *response = &call->response;
    if (ticket == NULL || !ticket->checked ||
        response->body_bytes < ticket->progress_body_bytes +
                                   (ticket->progress_at_ns != 0 ? NS_PROGRESS_BODY_BYTES : 1)) {
        return false;
    }
    int64_t now = progress_clock_ns();
    if (ticket->progress_at_ns != 0 && now - ticket->progress_at_ns < NS_PROGRESS_NS) {
        return false;
    }
    ns_call_fill_progress(call, message, text);
    return true;
}
