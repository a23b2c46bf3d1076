/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP server for people's monitors: GET and HEAD, one request a connection, everything
 * bounded (clients, bytes, time), nothing ever waited for. One thread, by epoll.
 */
#ifndef NS_COLLECTOR_HTTP_H
#define NS_COLLECTOR_HTTP_H

#include <stdint.h>

#include "collector/buffer.h"

struct ns_http;

/* Writes the body of a page. Returns the status (200, 503), or 404 where there is no such page. */
typedef int ns_http_page(void *context, const char *path, struct ns_buffer *body,
                         const char **content_type);

/*
 * Listens on "HOST:PORT" ("[::1]:8787" for IPv6; port 0 takes any). Descriptors are added to
 * epoll_fd with data.u64 = event_tag << 32 | a number for ns_http_event. Returns 0, or a negative
 * errno (-EINVAL: no address of this form).
 */
int ns_http_open(const char *address, int epoll_fd, uint32_t event_tag, ns_http_page *page,
                 void *context, struct ns_http **http);
void ns_http_close(struct ns_http *http);
int ns_http_port(const struct ns_http *http);

/* epoll says that something happened. */
void ns_http_event(struct ns_http *http, uint32_t number, int64_t monotonic_ns);

/* Now and then: closes clients whose time is over. */
void ns_http_expire(struct ns_http *http, int64_t monotonic_ns);

#endif
