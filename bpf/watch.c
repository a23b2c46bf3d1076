/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/watch.h"

#include <poll.h>
#include <stdio.h>

#include "bpf/agent.h"
#include "bpf/coverage.h"
#include "shim/gate.h"
#include "shim/process.h"

/* However little happens: looks that are done, and what is due to be told. */
#define TURN_MS 500

int
ns_watch_run(bool this_network)
{
    uint32_t only_network;
    if (!ns_process_ready()) {
        fputs("nullspend-bpf: NULLSPEND_MODE=off: nothing to do\n", stderr);
        return 0;
    }
    if (!ns_agent_process_network(this_network, &only_network)) {
        return 1;
    }
    int signals = ns_agent_process_signals();
    struct ns_sightings *sightings = ns_sightings_new(&(struct ns_coverage_options){
        .hosts = &ns_process_config()->hosts, .only_network = only_network});
    if (signals < 0 || sightings == NULL) {
        ns_sightings_free(sightings);
        return 1;
    }
    puts("nullspend-bpf: ready, watching");
    fflush(stdout);
    struct pollfd polled[] = {{.fd = signals, .events = POLLIN},
                              {.fd = ns_sightings_fd(sightings), .events = POLLIN}};
    while ((polled[0].revents & POLLIN) == 0) {
        poll(polled, 2, TURN_MS);
        ns_gate_post(); /* finds the collector */
        ns_sightings_turn(sightings);
    }
    ns_sightings_free(sightings);
    ns_gate_flush();
    return 0;
}
