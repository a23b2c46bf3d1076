/* SPDX-License-Identifier: Apache-2.0 */
/* Deliveries in Postgres: taking those that are due, and writing what became of them. */
#ifndef NS_COLLECTOR_NOTIFIER_ROWS_H
#define NS_COLLECTOR_NOTIFIER_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "collector/notifier.h"
#include "collector/notifier_fate.h"
#include "collector/notifier_sign.h"
#include "collector/store_link.h"

/* Under way at once; of one endpoint. A receiver that hangs holds its share and no more. */
#define NS_DELIVERIES_MAX 32
#define NS_DELIVERIES_OF_ENDPOINT_MAX 4

enum ns_endpoint_kind {
    NS_ENDPOINT_WEBHOOK,
    NS_ENDPOINT_SLACK,
    NS_ENDPOINT_PAGERDUTY,
    NS_ENDPOINT_MAIL,
    NS_ENDPOINT_KIND_COUNT
};

/* One delivery, as it was taken. The texts are its own. */
struct ns_delivery {
    int64_t delivery_id, endpoint_id;
    int attempts; /* with this one */
    enum ns_endpoint_kind kind;
    bool allow_private;
    bool test; /* somebody waits for what comes of it */
    char *endpoint, *event_id, *url, *sender, *recipients, *subject, *body;
    char *secret[NS_SIGN_SECRETS_MAX]; /* newest first; NULL: none */
};

/* What became of an attempt. */
struct ns_delivery_result {
    enum ns_fate fate;
    int64_t delay_ms; /* of NS_FATE_RETRY */
    int status;       /* 0: none */
    char error[300];  /* printable ASCII */
};

/*
 * Takes up to count deliveries that are due and marks them: one attempt more, not due again before
 * the time in which it must end. busy ("{1,1,2}") has the endpoint of each that is under way, whose
 * share it lessens. Whoever else sends from the same database takes others. Returns how many, or
 * -EIO.
 */
int ns_deliveries_take(struct ns_link *link, const char *busy, struct ns_delivery *deliveries,
                       int count);
void ns_delivery_free(struct ns_delivery *delivery);

/* Writes what became of an attempt, unless somebody else has taken the delivery since, or it is
 * gone. Returns 0 or -EIO. */
int ns_delivery_settle(struct ns_link *link, const struct ns_delivery *delivery,
                       const struct ns_delivery_result *result);

/* Counts of what is there. Returns 0 or -EIO. */
int ns_deliveries_count(struct ns_link *link, struct ns_notifier_figures *figures);

#endif
