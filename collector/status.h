/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon says of itself: JSON for the command line, text for Prometheus. */
#ifndef NS_COLLECTOR_STATUS_H
#define NS_COLLECTOR_STATUS_H

#include "collector/buffer.h"
#include "collector/gate.h"

/* The answer to QUERY "status": one JSON object. */
void ns_status_json(const struct ns_gate *gate, struct ns_buffer *buffer);

/* The answer to QUERY "budgets": a JSON array with the columns of the view budget_status. */
void ns_status_budgets_json(const struct ns_gate *gate, struct ns_buffer *buffer);

/* GET /metrics. */
void ns_status_metrics(const struct ns_gate *gate, struct ns_buffer *buffer);

/* GET /healthz: "ok", or why not. Returns whether it is ok. */
bool ns_status_health(const struct ns_gate *gate, struct ns_buffer *buffer);

#endif
