/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/unjudged.h"

#include "shim/counters.h"
#include "shim/gate.h"
#include "shim/process.h"

#define DENIED(why)                                                                                \
    "nullspend: the request cannot be judged (" why "), and the policy is to deny; request not "   \
    "sent"

/* Without a message: odd, and no request that could be judged, so it passes under any policy. */
static const struct {
    enum ns_counter passed;
    enum ns_counter denied;
    const char *message;
} rows[NS_WIRE_OPAQUE_COUNT] = {
    [NS_WIRE_HTTP2] = {.passed = NS_COUNTER_HTTP2_UNAGREED},
    [NS_WIRE_NOT_HTTP] = {.passed = NS_COUNTER_NOT_HTTP},
    [NS_WIRE_UPGRADED] = {.passed = NS_COUNTER_UPGRADED},
    [NS_WIRE_OUT_OF_STEP] = {.passed = NS_COUNTER_OUT_OF_STEP},
    [NS_WIRE_MALFORMED] = {NS_COUNTER_MALFORMED, NS_COUNTER_DENIED_MALFORMED,
                           DENIED("it breaks the rules of HTTP")},
    [NS_WIRE_TOO_LARGE] = {NS_COUNTER_TOO_LARGE, NS_COUNTER_DENIED_TOO_LARGE,
                           DENIED("its head, a chunk line or its trailers are too long")},
    [NS_WIRE_TOO_DEEP] = {NS_COUNTER_TOO_DEEP, NS_COUNTER_DENIED_TOO_DEEP,
                          DENIED("too many before it wait for their answers")},
    [NS_WIRE_NO_MEMORY] = {NS_COUNTER_NO_MEMORY, NS_COUNTER_DENIED_NO_MEMORY,
                           DENIED("there is no memory for it")},
};

bool
ns_unjudged_is_denied(void)
{
    return ns_process_config()->mode == NS_MODE_ENFORCE && ns_gate_denies_unreachable();
}

void
ns_unjudged_passes(enum ns_wire_opaque reason)
{
    ns_count(rows[reason].passed);
}

void
ns_unjudged_deny(enum ns_wire_opaque reason, struct ns_gate_verdict *verdict)
{
    ns_count(rows[reason].denied);
    ns_count(NS_COUNTER_CALLS_DENIED);
    ns_gate_deny_unasked(verdict, NS_REASON_UNJUDGED, rows[reason].message);
}
