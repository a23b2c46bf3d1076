/* SPDX-License-Identifier: Apache-2.0 */
#include "protocol/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>

static int
parse_path(const char *path, struct ns_endpoint *endpoint)
{
    struct sockaddr_un *address = (struct sockaddr_un *)&endpoint->address;
    size_t bytes = strlen(path);
    bool abstract = path[0] == '@';
    if (bytes < (abstract ? 2 : 1)) {
        return -EINVAL;
    }
    /* A path ends in NUL; an abstract name is as long as it is. */
    if (bytes + (abstract ? 0 : 1) > sizeof address->sun_path) {
        return -ENAMETOOLONG;
    }
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, bytes);
    if (abstract) {
        address->sun_path[0] = '\0';
    }
    endpoint->address_bytes =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes + (abstract ? 0 : 1));
    return 0;
}

static int
parse_port(const char *text, in_port_t *port)
{
    unsigned value = 0;
    size_t digits = 0;
    for (; text[digits] >= '0' && text[digits] <= '9' && digits < 5; digits++) {
        value = value * 10 + (unsigned)(text[digits] - '0');
    }
    if (digits == 0 || text[digits] != '\0' || value == 0 || value > 65535) {
        return -EINVAL;
    }
    *port = htons((in_port_t)value);
    return 0;
}

static int
parse_host_and_port(const char *text, struct ns_endpoint *endpoint)
{
    const char *colon = strrchr(text, ':');
    char host[64];
    if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof host) {
        return -EINVAL;
    }
    size_t bytes = (size_t)(colon - text);
    memcpy(host, text, bytes);
    host[bytes] = '\0';
    if (host[0] == '[' && host[bytes - 1] == ']') {
        struct sockaddr_in6 *address = (struct sockaddr_in6 *)&endpoint->address;
        host[bytes - 1] = '\0';
        address->sin6_family = AF_INET6;
        endpoint->address_bytes = sizeof *address;
        return inet_pton(AF_INET6, host + 1, &address->sin6_addr) == 1
                   ? parse_port(colon + 1, &address->sin6_port)
                   : -EINVAL;
    }
    struct sockaddr_in *address = (struct sockaddr_in *)&endpoint->address;
    address->sin_family = AF_INET;
    endpoint->address_bytes = sizeof *address;
    const char *numeric = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    return inet_pton(AF_INET, numeric, &address->sin_addr) == 1
               ? parse_port(colon + 1, &address->sin_port)
               : -EINVAL;
}

int
ns_endpoint_parse(const char *text, struct ns_endpoint *endpoint)
{
    memset(endpoint, 0, sizeof *endpoint);
    if (strncmp(text, "ipc://", 6) == 0) {
        return parse_path(text + 6, endpoint);
    }
    if (strncmp(text, "tcp://", 6) == 0) {
        return parse_host_and_port(text + 6, endpoint);
    }
    return -EINVAL;
}
