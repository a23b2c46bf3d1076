/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports that the collector has not acknowledged yet: kept in bounded memory, sent again on
 * another link when theirs breaks, put into the spool when there is no collector or no room.
 */
#ifndef NS_SHIM_REPORT_H
#define NS_SHIM_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/protocol.h"

/* Memory for unacknowledged reports of one process: some 600 of them. */
#define NS_REPORTS_BYTES_MAX 393216

/* Takes a REPORT or RELEASE, to be sent. */
void ns_reports_add(const struct ns_message *message);

/* The next report that is on no link, now marked as on the link of this serial (not 0); NULL where
 * there is none. It stays in place until ns_reports_sent. */
struct ns_unacked;
struct ns_unacked *ns_reports_take(uint64_t serial);
const void *ns_report_bytes(const struct ns_unacked *report, size_t *bytes);
/* ok: it is on the link. Otherwise it is on none again. */
void ns_reports_sent(struct ns_unacked *report, bool ok);

/* The collector has it on disk. */
void ns_reports_acked(const struct ns_uuid *call_id, enum ns_message_kind kind);

/* A link is gone, and with it what was on it. */
void ns_reports_strand(uint64_t serial);

/* Is any on the link of this serial (not 0)? */
bool ns_reports_waiting(uint64_t serial);

/* Puts those that are on no link into the spool; with all, every one. */
void ns_reports_spool(bool all);

void ns_reports_after_fork(void);

#endif
