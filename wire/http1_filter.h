/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One answer of HTTP/1.1 whose usage chunk is not the program's (wire/usage_filter.h), with its
 * framing: chunks are made anew, a Content-Length, which would be wrong, gives way to chunks, and
 * what is read until the connection closes stays so. Head (but for that line), trailers and body
 * are the server's. What is no stream of events, or is coded, passes as it is.
 */
#ifndef NS_WIRE_HTTP1_FILTER_H
#define NS_WIRE_HTTP1_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct ns_http1_filter;

/* Or NULL without memory. */
struct ns_http1_filter *ns_http1_filter_new(void);
void ns_http1_filter_free(struct ns_http1_filter *filter);

/* Takes bytes of the answer as they arrived, interim answers before it included and nothing behind
 * it, and appends what the program gets to out. False without memory. */
bool ns_http1_filter_feed(struct ns_http1_filter *filter, const uint8_t *bytes, size_t count,
                          struct ns_bytes *out);

/* The connection has ended; appends what was kept back. */
bool ns_http1_filter_close(struct ns_http1_filter *filter, struct ns_bytes *out);

/* Ends the body here, behind an event, with this text. False without memory, or where the answer
 * passes as it is. */
bool ns_http1_filter_cut(struct ns_http1_filter *filter, const char *text, size_t count,
                         struct ns_bytes *out);

/* Has the final answer ended? */
bool ns_http1_filter_is_over(const struct ns_http1_filter *filter);

/* Did a usage chunk go, or can none have come unseen? False: the program may have seen it. */
bool ns_http1_filter_filters(const struct ns_http1_filter *filter);

#endif
