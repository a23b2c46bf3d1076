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

/* Is the parser where body may be put in? */
bool ns_http1_may_cut(const struct ns_http1 *parser);

/* Ends the body of the answer that the parser is in with this text: what is owed of a chunk or of
 * the Content-Length is filled with it, and with line feeds where it is too short, which mean
 * nothing behind an event. False, and nothing appended: there is no place for it, or no memory. */
bool ns_http1_cut(const struct ns_http1 *parser, const char *text, size_t count,
                  struct ns_bytes *out);

#endif
