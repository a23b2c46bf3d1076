/* SPDX-License-Identifier: Apache-2.0 */
/* The answer that a denied program reads, from its verdict. */
#ifndef NS_SHIM_DENIAL_H
#define NS_SHIM_DENIAL_H

#include "shim/gate.h"
#include "wire/wire.h"

/* Writes it as HTTP/1.1. closes: the server does, or has; the program must hear it too. Returns
 * *bytes of text, the caller's to free (ns_mem_free), or NULL without memory. */
uint8_t *ns_denial_write(const struct ns_wire_request *request,
                         const struct ns_gate_verdict *verdict, bool closes, size_t *bytes);

#endif
