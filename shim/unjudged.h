/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that cannot be judged, and traffic that is not understood: what the policy says of them,
 * and which counter each reason of wire/ has. One table; adding a reason is a row.
 */
#ifndef NS_SHIM_UNJUDGED_H
#define NS_SHIM_UNJUDGED_H

#include <stdbool.h>

#include "shim/call.h"

/* Does the policy deny what nobody was asked about? That of the process, or of some budget as the
 * collector last told; in mode enforce alone. */
bool ns_unjudged_is_denied(void);

/* Counts a connection that passes unseen from here on. */
void ns_unjudged_passes(enum ns_wire_opaque reason);

/* Counts a request that is denied because it cannot be judged (MALFORMED, TOO_LARGE, TOO_DEEP,
 * NO_MEMORY), and fills the verdict, which says why. */
void ns_unjudged_deny(enum ns_wire_opaque reason, struct ns_gate_verdict *verdict);

#endif
