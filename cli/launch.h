/* SPDX-License-Identifier: Apache-2.0 */
/* Starting this user's private collector. */
#ifndef NS_CLI_LAUNCH_H
#define NS_CLI_LAUNCH_H

#include <stdbool.h>

#include "cli/discover.h"

/*
 * Starts nullspendd (found beside this program, else in PATH) on this endpoint with this state
 * directory, in the background, and waits until it is ready. Two that do so at once start one: the
 * second finds it running. Returns 0, or a negative errno; what is wrong has been said. *started:
 * it was not there before.
 */
int ns_launch(const char *endpoint, char state[static NS_PLACE_BYTES], bool *started);

#endif
