/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1's framing of a body that was edited: lengths and chunks. */
#ifndef NS_WIRE_HTTP1_EDIT_H
#define NS_WIRE_HTTP1_EDIT_H

#include "base/bytes.h"
#include "wire/http1.h"
#include "wire/usage_ask.h"
#include "wire/wire.h"

/*
 * Edits the body of a whole request, which the parser has read to its end: Content-Length or the
 * chunk's size are corrected, Accept-Encoding lines and the strips (ascending, disjoint, as is all
 * here) left out. Returns 0, -ENOENT where its framing does not allow that (HTTP/1.0; the bytes
 * that go lie in two chunks), -ENOMEM; then *request is as it was.
 */
int ns_http1_edit_request(const struct ns_http1 *parser, const struct ns_usage_edit *edit,
                          const struct ns_wire_range *strips, size_t strip_count,
                          struct ns_bytes *request);

#endif
