/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is told of events (docs/notifications.md). Names are resolved, receivers waited for and mails
 * sent by a process of its own, the notifier: nothing that a receiver does can slow the gate, take
 * its memory or end it. It is this program once more, started by the collector, ends with it, and
 * is started again when it died.
 */
#ifndef NS_COLLECTOR_NOTIFIER_H
#define NS_COLLECTOR_NOTIFIER_H

#include <stdbool.h>
#include <stdint.h>

/* The only argument of the notifier's process. */
#define NS_NOTIFIER_ARGUMENT "--notifier"

/* What the notifier tells the collector about once a second. */
struct ns_notifier_figures {
    uint64_t pending, dead;    /* deliveries in the database */
    uint64_t oldest_pending_s; /* age of the oldest that is pending; 0: none is */
    uint64_t sent, failed;     /* attempts since the collector's start */
    char last_error[200];      /* of the last attempt that failed, or of Postgres; "" */
};

struct ns_notifier;

/* Starts the notifier of a database. Returns NULL without memory; where the process cannot be
 * started it is tried again. The collector's main thread calls this and what follows. */
struct ns_notifier *ns_notifier_start(const char *database_url);

/* Takes the figures that came, and starts the process again where it ended. Call it each second. */
void ns_notifier_tick(struct ns_notifier *notifier, int64_t now_ns);

/* How it stands; of a NULL notifier, zeros. */
struct ns_notifier_figures ns_notifier_figures(const struct ns_notifier *notifier);

/* Ends the process and frees the notifier, which may be NULL. What is under way is sent again after
 * the next start. */
void ns_notifier_stop(struct ns_notifier *notifier);

/* The process itself: its standard input is the collector's socket. Returns the exit status. */
int ns_notifier_main(void);

#endif
