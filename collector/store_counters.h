/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of budgets that wait for Postgres: of each counter only the newest. Not thread-safe. */
#ifndef NS_COLLECTOR_STORE_COUNTERS_H
#define NS_COLLECTOR_STORE_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#include "collector/ledger.h"

/* While Postgres is away: one for each budget, entity and period seen meanwhile, some 150 bytes. */
#define NS_STORE_COUNTERS_MAX 1000000

struct ns_store_counter {
    int64_t budget_id;
    int64_t period_start_ns, period_end_ns;
    int64_t spent_nanousd, held_nanousd, overshoot_nanousd;
    int64_t paused_until_ns; /* 0: it is not */
    char *entity;
    uint8_t period;
};

struct ns_store_counters {
    struct ns_store_counter *counter;
    size_t count, room;
    uint32_t *slot; /* open addressing: index + 1 of a counter, 0: free */
    size_t slots;   /* a power of two */
};

/* Returns 0, -ENOMEM, or -ENOSPC past NS_STORE_COUNTERS_MAX. */
int ns_store_counters_put(struct ns_store_counters *counters,
                          const struct ns_ledger_numbers *numbers);

/* Puts back what could not be written, where nothing newer is there. */
void ns_store_counters_return(struct ns_store_counters *counters,
                              const struct ns_store_counters *unwritten);

void ns_store_counters_clear(struct ns_store_counters *counters);

#endif
