/* SPDX-License-Identifier: Apache-2.0 */
/* What is told with an acknowledgement: reports, on a link or by the spool; and what passed unseen,
 * beside them. */
#include <string.h>

#include "shim/counters.h"
#include "shim/gate.h"
#include "shim/link.h"
#include "shim/process.h"
#include "shim/report.h"
#include "shim/spool.h"

/* A go at the spool, beside a report: long enough to make headway, short for the program. */
#define SPOOL_TIME_NS INT64_C(200000000)

/* Reads what is there without waiting. */
static void
drain(struct ns_link *link)
{
    while (ns_link_is_connected(link) && ns_link_receive(link, 0) == 0) {
    }
}

static void
send_reports(struct ns_link *link, int64_t deadline_ns)
{
    struct ns_unacked *report;
    while (ns_link_is_connected(link) && (report = ns_reports_take(link->serial)) != NULL) {
        size_t bytes;
        const void *message = ns_report_bytes(report, &bytes);
        int error = ns_zmtp_send(&link->zmtp, message, bytes, deadline_ns);
        ns_reports_sent(report, error == 0);
        if (error != 0) {
            ns_link_lose(link);
        }
    }
}

/* What passed unseen, where a link is there for something else. */
static void
tell_counters(struct ns_link *link, bool last)
{
    if (ns_link_is_connected(link) && ns_link_takes_counters() &&
        ns_counters_tell(last, &link->message) && ns_link_send(link, &link->message, 1) != 0) {
        ns_counters_untold();
    }
}

/* --- the spool ----------------------------------------------------------------------------------
 */

struct posting {
    struct ns_link *link;
    int64_t deadline_ns;
    struct ns_uuid waiting[NS_SPOOL_BATCH];
    uint32_t count;
};

static int
posting_send(void *context, const void *bytes, size_t count)
{
    struct posting *posting = context;
    struct ns_message *message = &posting->link->message;
    const char *why;
    if (posting->count == NS_SPOOL_BATCH || ns_message_decode(bytes, count, message, &why) != 0) {
        return 0; /* written by another version: nobody takes it */
    }
    struct ns_uuid call_id;
    if (message->kind == NS_MESSAGE_REPORT) {
        call_id = message->as.report.call_id;
    } else if (message->kind == NS_MESSAGE_RELEASE) {
        call_id = message->as.release.call_id;
    } else {
        return 0;
    }
    int error = ns_zmtp_send(&posting->link->zmtp, bytes, count, posting->deadline_ns);
    if (error == 0) {
        posting->waiting[posting->count++] = call_id;
    }
    return error;
}

static int
posting_settle(void *context)
{
    struct posting *posting = context;
    while (posting->count > 0) {
        const struct ns_message *message = &posting->link->message;
        int error = ns_link_receive(posting->link, posting->deadline_ns);
        if (error != 0) {
            return error;
        }
        for (uint32_t i = 0; message->kind == NS_MESSAGE_ACK && i < posting->count; i++) {
            if (ns_uuid_equal(&posting->waiting[i], &message->as.ack.call_id)) {
                posting->waiting[i] = posting->waiting[--posting->count];
                break;
            }
        }
    }
    return 0;
}

static bool
posting_go_on(void *context)
{
    const struct posting *posting = context;
    return ns_link_is_connected(posting->link) && ns_monotonic_ns() < posting->deadline_ns;
}

/* When a collector has answered for the first time, and until all is posted. */
static void
post_spool(struct ns_link *link)
{
    if (!ns_link_is_connected(link) || !ns_link_take_welcome()) {
        return;
    }
    const struct ns_config *config = ns_process_config();
    struct posting posting = {.link = link, .deadline_ns = ns_monotonic_ns() + SPOOL_TIME_NS};
    struct ns_spool_poster poster = {&posting, posting_send, posting_settle, posting_go_on};
    if (ns_spool_post(config->spool_dir, config->collector, &poster) != 0) {
        ns_link_put_welcome_back();
    }
}

void
ns_gate_post(void)
{
    struct ns_visit visit = ns_visit_begin();
    int64_t deadline_ns = ns_link_deadline();
    /* A link found dead strands its reports: once more on another. What others add meanwhile is
     * theirs to post. */
    bool posted = false;
    for (int attempt = 0; attempt < 2 && !posted; attempt++) {
        int error;
        struct ns_link *link = ns_link_acquire(NS_LINK_REPORT, deadline_ns, &error);
        if (link == NULL) {
            break;
        }
        drain(link);
        if (ns_link_is_connected(link)) {
            send_reports(link, deadline_ns);
            tell_counters(link, false);
            post_spool(link);
        }
        posted = ns_link_is_connected(link);
        ns_link_release(link);
    }
    if (!posted) {
        ns_reports_spool(false);
    }
    ns_visit_end(visit);
}

/* A process of which everything has passed unseen has no link, and nobody would ever hear of it.
 * Only its end makes one for that, and not where the collector was found to be away. */
static void
say_last_word(void)
{
    if (ns_counters_changed()) {
        struct ns_link *link = ns_link_acquire_first(ns_monotonic_ns() + NS_LAST_WORD_NS);
        if (link != NULL) {
            tell_counters(link, true);
        }
    }
}

void
ns_gate_flush(void)
{
    struct ns_visit visit = ns_visit_begin();
    int64_t deadline_ns = ns_link_deadline();
    for (struct ns_link *link = ns_links_take_idle(); link != NULL; link = link->next) {
        if (!ns_link_check(link)) {
            continue;
        }
        send_reports(link, deadline_ns);
        tell_counters(link, true);
        while (ns_link_is_connected(link) && ns_reports_waiting(link->serial) &&
               ns_link_receive(link, deadline_ns) == 0) {
        }
        post_spool(link);
    }
    ns_reports_spool(true);
    say_last_word();
    ns_visit_end(visit);
}
