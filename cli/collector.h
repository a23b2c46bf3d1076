/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to the running collector. */
#ifndef NS_CLI_COLLECTOR_H
#define NS_CLI_COLLECTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/discover.h"

#define NS_ENDPOINT_TOO_LONG                                                                       \
    "the path of the collector's socket is too long: set NULLSPEND_COLLECTOR to a shorter one"

/*
 * Asks one question (see QUERY in protocol/schema.h). *json is the answer, NUL-terminated, from
 * malloc. Returns 0; -EREMOTEIO the collector answered with an error (*json says which); else what
 * ns_zmtp_connect, _send or _receive return, or -EBADMSG; *json is then NULL.
 */
int ns_collector_ask(const char *endpoint, const char *what, const char *argument,
                     int64_t timeout_ms, char **json);

/* The collector that answers: this user's own, else (where NULLSPEND_COLLECTOR is not set) the
 * machine's. Returns 0 or a negative errno with endpoint set to the one that should have answered.
 */
int ns_collector_find(char endpoint[static NS_PLACE_BYTES]);

/* The same, said on stderr where none answers. Returns true where one does. */
bool ns_collector_require(char endpoint[static NS_PLACE_BYTES]);

#endif
