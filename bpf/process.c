/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of shim/ that the agent shares ask of the process that they are in: it is the
 * agent, whose settings are read once, and which never forks while it has calls. */
#include "shim/process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/agent.h"
#include "shim/gate.h"
#include "shim/hello.h"

static struct ns_config config;
static bool ready;

static const char *
look_up(const char *name)
{
    return getenv(name);
}

bool
ns_process_ready(void)
{
    if (!ready) {
        ns_config_read(&config, look_up, geteuid() == 0);
        ready = true;
    }
    return config.mode != NS_MODE_OFF;
}

void
ns_agent_process_alerts(void)
{
    config.mode = config.mode == NS_MODE_ENFORCE ? NS_MODE_SHADOW : config.mode;
}

void
ns_agent_process_ends(void)
{
    config.deadline_ns =
        config.deadline_ns < NS_LAST_WORD_NS ? config.deadline_ns : NS_LAST_WORD_NS;
}

int
ns_agent_process_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC);
}

bool
ns_agent_process_network(bool this_network, uint32_t *only_network)
{
    struct stat network = {0};
    if (this_network && stat("/proc/self/ns/net", &network) != 0) {
        fprintf(stderr, "nullspend-bpf: /proc/self/ns/net: %s\n", strerror(errno));
        return false;
    }
    *only_network = (uint32_t)network.st_ino;
    return true;
}

bool
ns_process_was_ready(void)
{
    return ready;
}

bool
ns_process_is_borrowed(void)
{
    return false;
}

pid_t
ns_process_owner(void)
{
    return getpid();
}

uint32_t
ns_process_life(void)
{
    return 1;
}

bool
ns_process_may_write(uint64_t end)
{
    (void)end;
    return true;
}

const struct ns_config *
ns_process_config(void)
{
    return &config;
}

enum ns_source
ns_process_source(void)
{
    return NS_SOURCE_EBPF;
}
