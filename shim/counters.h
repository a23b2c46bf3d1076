/* SPDX-License-Identifier: Apache-2.0 */
/* What the library did in this process: written to NULLSPEND_LOG when the process ends. A child of
 * fork begins at zero. */
#ifndef NS_SHIM_COUNTERS_H
#define NS_SHIM_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/unseen.h"
#include "protocol/protocol.h"

#define NS_COUNTERS(X)                                                                             \
    X(CONNECTIONS_GOVERNED, "connections_governed")                                                \
    X(CONNECTIONS_BROKEN, "connections_broken") /* made to fail */                                 \
    X(CALLS_ALLOWED, "calls_allowed")                                                              \
    X(CALLS_DENIED, "calls_denied")                                                                \
    X(STREAMS_ASKED, "streams_asked")     /* made to tell their usage */                           \
    X(STREAMS_UNASKED, "streams_unasked") /* could not be, and are counted */                      \
    X(USAGE_SHOWN, "usage_shown") /* the program may have seen the chunk that we asked for */      \
    X(ANSWERS_CUT, "answers_cut") /* no budget had room for more of them */                        \
    X(REPORTS_MADE, "reports_made")                                                                \
    X(REPORTS_ACKED, "reports_acked")                                                              \
    X(REPORTS_SPOOLED, "reports_spooled")                                                          \
    X(REPORTS_POSTED, "reports_posted") /* out of a spool */                                       \
    X(REPORTS_LOST, "reports_lost")     /* neither sent nor spooled */                             \
    X(SPOOL_DAMAGED, "spool_damaged")                                                              \
    X(BREAKER_OPENED, "breaker_opened")                                                            \
    X(TEXTS_REJECTED, "texts_rejected") /* not UTF-8, or too long: left out */                     \
    X(TAGS_DROPPED, "tags_dropped")     /* more than a call may have */                            \
    X(SETTINGS_REJECTED, "settings_rejected")                                                      \
    X(DETOURS_INSTALLED, "detours_installed") /* the program's own OpenSSL is governed */          \
    X(EARLY_DATA_REFUSED, "early_data_refused")                                                    \
    X(DESCRIPTORS_STOLEN, "descriptors_stolen") /* the host closed our socket */

/* Those of base/unseen.h come first, under the same numbers: they are told to the collector, too.
 */
enum ns_counter {
#define X(e, word, how, sentence) NS_COUNTER_##e,
    NS_UNSEEN(X)
#undef X
#define X(e, n) NS_COUNTER_##e,
        NS_COUNTERS(X)
#undef X
            NS_COUNTER_COUNT
};

extern uint64_t ns_counters[NS_COUNTER_COUNT];

static inline void
ns_count(enum ns_counter counter)
{
    __atomic_add_fetch(&ns_counters[counter], 1, __ATOMIC_RELAXED);
}

static inline void
ns_count_many(enum ns_counter counter, uint64_t count)
{
    __atomic_add_fetch(&ns_counters[counter], count, __ATOMIC_RELAXED);
}

/* The collector is told no more often, but for the end of the process. */
#define NS_COUNTERS_TELL_NS INT64_C(1000000000)

/* Is there anything of base/unseen.h that the collector has not been told? */
bool ns_counters_changed(void);

/* Is there, and may it be told now?
 * Then *message is the COUNTERS, and what is in it counts as told. last: however soon. */
bool ns_counters_tell(bool last, struct ns_message *message);

/* It has not arrived, or there is a collector that does not know it: all is to be told again. */
void ns_counters_untold(void);

/* Writes them to the log, those that are not zero, in one line. */
void ns_counters_log(void);

void ns_counters_after_fork(void);

#endif
