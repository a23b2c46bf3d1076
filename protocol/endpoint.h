/* SPDX-License-Identifier: Apache-2.0 */
/* "ipc://PATH", "ipc://@NAME" and "tcp://HOST:PORT" as socket addresses. */
#ifndef NS_PROTOCOL_ENDPOINT_H
#define NS_PROTOCOL_ENDPOINT_H

#include <sys/socket.h>

struct ns_endpoint {
    struct sockaddr_storage address;
    socklen_t address_bytes;
};

/* Reads an endpoint. HOST is an IPv4 address, an IPv6 address in brackets, or "localhost" (which is
 * 127.0.0.1). Returns 0, -EINVAL for any other form, -ENAMETOOLONG for a path longer than a socket
 * address holds. */
int ns_endpoint_parse(const char *text, struct ns_endpoint *endpoint);

#endif
