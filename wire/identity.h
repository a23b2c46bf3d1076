/* SPDX-License-Identifier: Apache-2.0 */
/* What a request's headers say: for whom it is, with which credential, and what must not leave. */
#ifndef NS_WIRE_IDENTITY_H
#define NS_WIRE_IDENTITY_H

#include "wire/http1.h"
#include "wire/wire.h"

/* Reads one header into the request: identity, credential. True: it is one of ours, and must not
 * leave. */
bool ns_identity_header(struct ns_wire_request *request, const struct ns_http1_header *header);

/* Notes a credential and where it stands (a header's value or a query parameter). */
void ns_identity_credential(struct ns_wire_request *request, const char *text, size_t bytes,
                            uint32_t offset);

#endif
