/* SPDX-License-Identifier: Apache-2.0 */
/* Who talks to providers, and what governs it: COVERAGE, what calls show, and the way to Postgres.
 */
#include <stdlib.h>
#include <unistd.h>

#include "collector/gate.h"

/* The library in this process met a TLS library that it does not take. */
static bool
has_refused(const struct ns_process *process)
{
    return process != NULL &&
           (process->unseen[NS_UNSEEN_DETOURS_REFUSED] > 0 ||
            process->unseen[NS_UNSEEN_LIBRESSL] > 0 || process->unseen[NS_UNSEEN_BORINGSSL] > 0 ||
            process->unseen[NS_UNSEEN_UNKNOWN_LIBRARY] > 0);
}

/* An agent sees all processes of its machine, so it is root's, or the collector's own user's. */
static bool
is_agent(const struct ns_gate_from *from)
{
    const struct ns_process *process = from->process;
    return from->peer->source == NS_SOURCE_EBPF &&
           (process->remote || process->uid == 0 || process->uid == geteuid());
}

void
ns_gate_coverage(struct ns_gate *gate, const struct ns_gate_from *from, const uint8_t *raw,
                 size_t raw_bytes)
{
    (void)raw;
    (void)raw_bytes;
    const struct ns_coverage *told = &gate->message.as.coverage;
    if (!is_agent(from)) {
        gate->counters.coverage_refused++;
        return;
    }
    const struct ns_process *process =
        from->process->remote ? NULL : ns_peers_known(gate->peers, told->pid, told->start_ticks);
    gate->counters.coverage++;
    ns_coverage_told(&gate->coverage, from->process->hostname, told, has_refused(process));
}

void
ns_gate_coverage_called(struct ns_gate *gate, const struct ns_gate_from *from, struct ns_text host,
                        struct ns_text provider)
{
    enum ns_governor source = from->peer->source == NS_SOURCE_PRELOAD  ? NS_GOVERNOR_PRELOAD
                              : from->peer->source == NS_SOURCE_DETOUR ? NS_GOVERNOR_DETOUR
                                                                       : NS_GOVERNOR_UNKNOWN;
    if (source != NS_GOVERNOR_UNKNOWN && from->process->start_ticks != 0) {
        ns_coverage_called(&gate->coverage, from->process, source, host, provider, gate->now_ns);
    }
}

void
ns_gate_coverage_unseen(struct ns_gate *gate, const struct ns_gate_from *from)
{
    if (has_refused(from->process)) {
        ns_coverage_refused(&gate->coverage, from->process);
    }
}

bool
ns_gate_coverage_write(struct ns_gate *gate)
{
    if (gate->store == NULL || !ns_store_coverage_idle(gate->store)) {
        return false;
    }
    if (gate->coverage.changed == 0) {
        return true;
    }
    size_t room = gate->coverage.changed;
    struct ns_coverage_row *rows = calloc(room, sizeof *rows);
    if (rows != NULL) {
        ns_store_coverage(gate->store, rows, ns_coverage_take(&gate->coverage, rows, room));
    }
    return false;
}
