/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include "bpf/coverage.h"
#include "shim/gate.h"
#include "shim/process.h"

/* However little happens: looks that are done, and what is due to be told. */
#define TURN_MS 500

static int
block_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC);
}

int
ns_watch_run(bool this_network)
{
    struct stat network = {0};
    if (!ns_process_ready()) {
        fputs("nullspend-bpf: NULLSPEND_MODE=off: nothing to do\n", stderr);
        return 0;
    }
    if (this_network && stat("/proc/self/ns/net", &network) != 0) {
        fprintf(stderr, "nullspend-bpf: /proc/self/ns/net: %s\n", strerror(errno));
        return 1;
    }
    int signals = block_signals();
    struct ns_sightings *sightings = ns_sightings_new(&(struct ns_coverage_options){
        .hosts = &ns_process_config()->hosts, .only_network = (uint32_t)network.st_ino});
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
