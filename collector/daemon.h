/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon as a whole: what is started in which order, its loop, and how it ends. */
#ifndef NS_COLLECTOR_DAEMON_H
#define NS_COLLECTOR_DAEMON_H

#include "collector/options.h"

/* Runs until SIGTERM or SIGINT. Returns the exit status: 0, or 1 with the reason logged. */
int ns_daemon_run(const struct ns_options *options);

#endif
