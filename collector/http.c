/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collector/limits.h"

#define LISTENER NS_HTTP_CLIENTS_MAX

struct client {
    int fd; /* -1: free */
    int64_t until_ns;
    size_t in_bytes;
    char in[NS_HTTP_REQUEST_BYTES + 1];
    struct ns_buffer out; /* what goes out, once the request is whole */
    size_t sent;
};

struct ns_http {
    int fd;
    int epoll_fd;
    uint32_t event_tag;
    ns_http_page *page;
    void *context;
    struct client client[NS_HTTP_CLIENTS_MAX];
};

/* --- listening ---------------------------------------------------------------------------------
 */

static int
bind_address(const char *address)
{
    char host[256];
    const char *colon = strrchr(address, ':');
    if (colon == NULL || (size_t)(colon - address) >= sizeof host) {
        return -EINVAL;
    }
    bool bracketed = address[0] == '[' && colon > address && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - address) - (bracketed ? 2 : 0),
             address + (bracketed ? 1 : 0));
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    if (getaddrinfo(host, colon + 1, &hints, &list) != 0) {
        return -EINVAL;
    }
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    int error = 0;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(fd, list->ai_addr, list->ai_addrlen) != 0 || listen(fd, 64) != 0) {
        error = -errno;
    }
    freeaddrinfo(list);
    if (error != 0 && fd >= 0) {
        close(fd);
    }
    return error != 0 ? error : fd;
}

static int
watch(const struct ns_http *http, int operation, int fd, uint32_t number, uint32_t events)
{
    struct epoll_event event = {.events = events,
                                .data.u64 = (uint64_t)http->event_tag << 32 | number};
    return epoll_ctl(http->epoll_fd, operation, fd, &event) == 0 ? 0 : -errno;
}

int
ns_http_open(const char *address, int epoll_fd, uint32_t event_tag, ns_http_page *page,
             void *context, struct ns_http **http)
{
    struct ns_http *opened = calloc(1, sizeof *opened);
    if (opened == NULL) {
        return -ENOMEM;
    }
    opened->epoll_fd = epoll_fd;
    opened->event_tag = event_tag;
    opened->page = page;
    opened->context = context;
    for (int i = 0; i < NS_HTTP_CLIENTS_MAX; i++) {
        opened->client[i].fd = -1;
    }
    opened->fd = bind_address(address);
    int error =
        opened->fd < 0 ? opened->fd : watch(opened, EPOLL_CTL_ADD, opened->fd, LISTENER, EPOLLIN);
    if (error != 0) {
        if (opened->fd >= 0) {
            close(opened->fd);
        }
        free(opened);
        return error;
    }
    *http = opened;
    return 0;
}

static void
drop(struct client *client)
{
    close(client->fd); /* leaves epoll, too */
    client->fd = -1;
    ns_buffer_free(&client->out);
}

void
ns_http_close(struct ns_http *http)
{
    if (http == NULL) {
        return;
    }
    for (int i = 0; i < NS_HTTP_CLIENTS_MAX; i++) {
        if (http->client[i].fd >= 0) {
            drop(&http->client[i]);
        }
    }
    close(http->fd);
    free(http);
}

int
ns_http_port(const struct ns_http *http)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6; /* its port is where v4 has it (RFC 3493, 3.3) */
    } address = {.any.sa_family = AF_UNSPEC};
    socklen_t size = sizeof address;
    if (getsockname(http->fd, &address.any, &size) != 0) {
        return -errno;
    }
    return ntohs(address.v4.sin_port);
}

/* --- one request -------------------------------------------------------------------------------
 */

static const char *
reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } rows[] = {{200, "OK"},
                {400, "Bad Request"},
                {404, "Not Found"},
                {405, "Method Not Allowed"},
                {431, "Request Header Fields Too Large"},
                {503, "Service Unavailable"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].status == status) {
            return rows[i].reason;
        }
    }
    return "Error";
}

static void
respond(struct client *client, int status, const char *content_type, const struct ns_buffer *body,
        bool head_only)
{
    ns_buffer_print(&client->out,
                    "HTTP/1.0 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                    "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                    status, reason_of(status), content_type, body->count);
    if (!head_only) {
        ns_buffer_add(&client->out, body->bytes, body->count);
    }
}

static void
refuse(struct client *client, int status)
{
    struct ns_buffer body = {0};
    ns_buffer_print(&body, "%s\n", reason_of(status));
    respond(client, status, "text/plain; charset=utf-8", &body, false);
    ns_buffer_free(&body);
}

/* The request's head is whole: its first line is METHOD SP PATH SP HTTP/1.x. */
static void
answer(struct ns_http *http, struct client *client)
{
    char *line = client->in;
    line[strcspn(line, "\r\n")] = '\0';
    char *path = strchr(line, ' ');
    char *version = path != NULL ? strchr(path + 1, ' ') : NULL;
    if (version == NULL || strncmp(version + 1, "HTTP/1.", 7) != 0 || path[1] != '/') {
        refuse(client, 400);
        return;
    }
    *path++ = '\0';
    *version = '\0';
    path[strcspn(path, "?")] = '\0';
    bool head_only = strcmp(line, "HEAD") == 0;
    if (!head_only && strcmp(line, "GET") != 0) {
        refuse(client, 405);
        return;
    }
    struct ns_buffer body = {0};
    const char *content_type = "text/plain; charset=utf-8";
    int status = http->page(http->context, path, &body, &content_type);
    if (status == 404) {
        refuse(client, 404);
    } else {
        respond(client, status, content_type, &body, head_only);
    }
    ns_buffer_free(&body);
}

static bool
is_whole(const struct client *client)
{
    return strstr(client->in, "\r\n\r\n") != NULL || strstr(client->in, "\n\n") != NULL;
}

/* Each returns whether the client stays. */
static bool
read_some(struct ns_http *http, struct client *client, uint32_t number)
{
    ssize_t got = recv(client->fd, client->in + client->in_bytes,
                       NS_HTTP_REQUEST_BYTES - client->in_bytes, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return true;
    }
    if (got <= 0) {
        return false;
    }
    client->in_bytes += (size_t)got;
    client->in[client->in_bytes] = '\0';
    if (memchr(client->in, '\0', client->in_bytes) != NULL) {
        refuse(client, 400);
    } else if (is_whole(client)) {
        answer(http, client);
    } else if (client->in_bytes == NS_HTTP_REQUEST_BYTES) {
        refuse(client, 431);
    } else {
        return true;
    }
    return !client->out.failed && watch(http, EPOLL_CTL_MOD, client->fd, number, EPOLLOUT) == 0;
}

static bool
write_some(struct client *client)
{
    ssize_t put = send(client->fd, client->out.bytes + client->sent,
                       client->out.count - client->sent, MSG_NOSIGNAL);
    if (put < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    client->sent += (size_t)put;
    if (client->sent < client->out.count) {
        return true;
    }
    shutdown(client->fd, SHUT_WR);
    return false;
}

/* A free place, or the one of the client that has been here longest: it had its time, and a health
 * check does not wait behind clients that say nothing. */
static struct client *
take_place(struct ns_http *http)
{
    struct client *oldest = &http->client[0];
    for (int i = 0; i < NS_HTTP_CLIENTS_MAX; i++) {
        struct client *client = &http->client[i];
        if (client->fd < 0) {
            return client;
        }
        oldest = client->until_ns < oldest->until_ns ? client : oldest;
    }
    drop(oldest);
    return oldest;
}

static void
accept_client(struct ns_http *http, int64_t monotonic_ns)
{
    int fd = accept4(http->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    struct client *client = take_place(http);
    *client = (struct client){.fd = fd, .until_ns = monotonic_ns + NS_HTTP_CLIENT_NS};
    if (watch(http, EPOLL_CTL_ADD, fd, (uint32_t)(client - http->client), EPOLLIN) != 0) {
        drop(client);
    }
}

void
ns_http_event(struct ns_http *http, uint32_t number, int64_t monotonic_ns)
{
    if (number == LISTENER) {
        accept_client(http, monotonic_ns);
        return;
    }
    struct client *client = number < NS_HTTP_CLIENTS_MAX ? &http->client[number] : NULL;
    if (client == NULL || client->fd < 0) {
        return;
    }
    bool stays = client->out.count == 0 ? read_some(http, client, number) : write_some(client);
    if (!stays) {
        drop(client);
    }
}

void
ns_http_expire(struct ns_http *http, int64_t monotonic_ns)
{
    for (int i = 0; i < NS_HTTP_CLIENTS_MAX; i++) {
        if (http->client[i].fd >= 0 && http->client[i].until_ns < monotonic_ns) {
            drop(&http->client[i]);
        }
    }
}
