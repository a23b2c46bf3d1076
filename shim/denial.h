/* SPDX-License-Identifier: Apache-2.0 */
/* The answer that a denied program reads, from its verdict. */
#ifndef NS_SHIM_DENIAL_H
#define NS_SHIM_DENIAL_H

#include "shim/gate.h"
#include "wire/wire.h"

/* Head, body and escapes of a denial beside its message (wire.h). */
#define NS_DENIAL_BYTES_MAX (2048 + 6 * NS_VERDICT_MESSAGE_BYTES_MAX + NS_VERDICT_ENTITY_BYTES_MAX)

/* Writes it as HTTP/1.1. closes: the server does, or has; the program must hear it too. Returns its
 * bytes, or 0 where it has no room. */
size_t ns_denial_write(const struct ns_wire_request *request, const struct ns_gate_verdict *verdict,
                       bool closes, uint8_t text[static NS_DENIAL_BYTES_MAX]);

#endif
