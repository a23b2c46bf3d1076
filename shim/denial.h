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

/* Writes the end of an answer that is cut, as the body of a stream (ns_wire_cut_write). Returns as
 * ns_denial_write; NULL too where a stream of this family cannot be ended so. */
uint8_t *ns_denial_cut_write(const struct ns_wire_call *call, const struct ns_gate_verdict *verdict,
                             size_t *bytes);

#endif
