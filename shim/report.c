/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/report.h"

#include <string.h>

#include "base/mem.h"
#include "shim/counters.h"
#include "shim/lock.h"
#include "shim/log.h"
#include "shim/process.h"
#include "shim/spool.h"

struct queue {
    struct ns_unacked *first, *last;
};

struct ns_unacked {
    struct ns_unacked *next, *previous;
    struct queue *in;
    struct ns_uuid call_id;
    enum ns_message_kind kind;
    uint64_t serial; /* of the link that it is on; 0: on none */
    bool busy;       /* in some thread's hands, which lets go of it if it is done meanwhile */
    bool done;
    size_t bytes;
    uint8_t message[];
};

static struct ns_lock lock;
static struct queue unsent; /* on no link */
static struct queue sent; /* on one, or about to be; the collector acknowledges the oldest first */
static size_t total_bytes;

/* A report that is typical has some 400 bytes; most buffers are for such. */
#define USUAL_BYTES 1024

/* --- queues; the lock is held ---------------------------------------------------------------- */

static void
put_last(struct queue *queue, struct ns_unacked *report)
{
    report->in = queue;
    report->next = NULL;
    report->previous = queue->last;
    *(queue->last == NULL ? &queue->first : &queue->last->next) = report;
    queue->last = report;
}

static void
take_out(struct ns_unacked *report)
{
    struct queue *queue = report->in;
    *(report->previous == NULL ? &queue->first : &report->previous->next) = report->next;
    *(report->next == NULL ? &queue->last : &report->next->previous) = report->previous;
}

static void
move_to(struct queue *queue, struct ns_unacked *report)
{
    take_out(report);
    put_last(queue, report);
}

static void
forget(struct ns_unacked *report)
{
    take_out(report);
    total_bytes -= report->bytes;
}

static struct ns_unacked *
find(const struct queue *queue, const struct ns_uuid *call_id, enum ns_message_kind kind)
{
    struct ns_unacked *report = queue->first;
    while (report != NULL && (report->kind != kind || !ns_uuid_equal(&report->call_id, call_id))) {
        report = report->next;
    }
    return report;
}

/* --- reports -------------------------------------------------------------------------------- */

static void
spool(const void *message, size_t bytes)
{
    const struct ns_config *config = ns_process_config();
    int error = ns_spool_append(config->spool_dir, config->collector, message, bytes);
    if (error == 0) {
        ns_count(NS_COUNTER_REPORTS_SPOOLED);
        return;
    }
    ns_count(NS_COUNTER_REPORTS_LOST);
    ns_log("a report is lost, the spool cannot be written", config->spool_dir);
}

static const struct ns_uuid *
call_id_of(const struct ns_message *message)
{
    return message->kind == NS_MESSAGE_REPORT ? &message->as.report.call_id
                                              : &message->as.release.call_id;
}

static void
keep(const struct ns_message *message, const uint8_t *bytes, size_t count)
{
    struct ns_unacked *report = ns_mem_alloc(sizeof *report + count);
    if (report == NULL) {
        spool(bytes, count);
        return;
    }
    report->call_id = *call_id_of(message);
    report->kind = message->kind;
    report->bytes = count;
    memcpy(report->message, bytes, count);
    ns_lock(&lock);
    put_last(&unsent, report);
    total_bytes += count;
    bool over = total_bytes > NS_REPORTS_BYTES_MAX;
    ns_unlock(&lock);
    if (over) {
        ns_reports_spool(true);
    }
}

void
ns_reports_add(const struct ns_message *message)
{
    ns_count(NS_COUNTER_REPORTS_MADE);
    uint8_t *usual = ns_mem_alloc(USUAL_BYTES);
    int count = usual == NULL ? -1 : ns_message_encode(message, usual, USUAL_BYTES);
    if (count > 0) {
        keep(message, usual, (size_t)count);
    }
    ns_mem_free(usual);
    if (count > 0) {
        return;
    }
    uint8_t *large = ns_mem_alloc(NS_MESSAGE_BYTES_MAX);
    count = large == NULL ? -1 : ns_message_encode(message, large, NS_MESSAGE_BYTES_MAX);
    if (count > 0) {
        keep(message, large, (size_t)count);
    } else {
        ns_count(NS_COUNTER_REPORTS_LOST);
        ns_log("a report is lost, it cannot be encoded", NULL);
    }
    ns_mem_free(large);
}

struct ns_unacked *
ns_reports_take(uint64_t serial)
{
    ns_lock(&lock);
    struct ns_unacked *report = unsent.first;
    if (report != NULL) {
        move_to(&sent, report);
        report->serial = serial;
        report->busy = true;
    }
    ns_unlock(&lock);
    return report;
}

const void *
ns_report_bytes(const struct ns_unacked *report, size_t *bytes)
{
    *bytes = report->bytes;
    return report->message;
}

void
ns_reports_sent(struct ns_unacked *report, bool ok)
{
    ns_lock(&lock);
    report->busy = false;
    bool done = report->done;
    if (done) {
        forget(report);
    } else if (!ok) {
        report->serial = 0;
        move_to(&unsent, report);
    }
    ns_unlock(&lock);
    if (done) {
        ns_mem_free(report);
    }
}

void
ns_reports_acked(const struct ns_uuid *call_id, enum ns_message_kind kind)
{
    struct ns_unacked *gone = NULL;
    ns_lock(&lock);
    struct ns_unacked *report = find(&sent, call_id, kind);
    if (report == NULL) {
        report = find(&unsent, call_id, kind); /* it was sent on a link that was lost */
    }
    if (report != NULL) {
        report->done = true;
        if (!report->busy) {
            forget(report);
            gone = report;
        }
    }
    ns_unlock(&lock);
    if (report != NULL) {
        ns_count(NS_COUNTER_REPORTS_ACKED);
    }
    ns_mem_free(gone);
}

void
ns_reports_strand(uint64_t serial)
{
    ns_lock(&lock);
    for (struct ns_unacked *report = sent.first, *next; report != NULL; report = next) {
        next = report->next;
        if (report->serial == serial && !report->busy) {
            report->serial = 0;
            move_to(&unsent, report);
        }
    }
    ns_unlock(&lock);
}

bool
ns_reports_waiting(uint64_t serial)
{
    ns_lock(&lock);
    const struct ns_unacked *report = sent.first;
    while (report != NULL && report->serial != serial) {
        report = report->next;
    }
    ns_unlock(&lock);
    return report != NULL;
}

void
ns_reports_spool(bool all)
{
    for (;;) {
        ns_lock(&lock);
        struct ns_unacked *report = all ? sent.first : NULL;
        while (report != NULL && report->busy) {
            report = report->next;
        }
        report = report == NULL ? unsent.first : report;
        if (report != NULL) {
            forget(report);
        }
        ns_unlock(&lock);
        if (report == NULL) {
            return;
        }
        spool(report->message, report->bytes);
        ns_mem_free(report);
    }
}

void
ns_reports_after_fork(void)
{
    /* They are the parent's to send. A thread of the parent may have been among them, so they are
     * left where they are: a child pays a few hundred bytes. */
    unsent = sent = (struct queue){0};
    total_bytes = 0;
    lock.held = 0;
}
