/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What passed unseen in governed processes. A process tells its whole count each time; what it
 * told before is kept with it, and only what is new is added. The names are those of base/unseen.h,
 * so the sums take the same room whatever is sent.
 */
#include <string.h>

#include "collector/gate.h"

/* Sums stay at their largest: nobody can make one small again. */
static uint64_t
add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void
ns_gate_unseen(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
               size_t raw_bytes)
{
    (void)raw;
    (void)raw_bytes;
    const struct ns_counters *counters = &gate->message.as.counters;
    struct ns_process *process = from->process;
    uint64_t told[NS_UNSEEN_COUNT] = {0};
    gate->counters.counters++;
    for (uint32_t i = 0; i < counters->counts.count; i++) {
        const struct ns_counted *row = &counters->counts.row[i];
        uint64_t *to = &told[ns_unseen_find(row->name.text, row->name.bytes)];
        *to = add(*to, row->count);
    }
    if (process->unseen_since_ns != counters->since_ns) {
        memset(process->unseen, 0, sizeof process->unseen);
        process->unseen_since_ns = counters->since_ns;
    }
    for (int i = 0; i < NS_UNSEEN_COUNT; i++) {
        if (told[i] > process->unseen[i]) { /* else it is older than what was told last */
            gate->unseen[i] = add(gate->unseen[i], told[i] - process->unseen[i]);
            process->unseen[i] = told[i];
        }
    }
    ns_gate_coverage_unseen(gate, from);
}
