/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "collector/limits.h"
#include "tests/harness.h"

#define TAG 9

static int epoll_fd;
static struct ns_http *http;
static int64_t now_ns;
static size_t page_bytes;

static int
page(void *context, const char *path, struct ns_buffer *body, const char **content_type)
{
    (void)context;
    (void)content_type;
    if (strcmp(path, "/large") == 0) {
        for (size_t i = 0; i < page_bytes; i++) {
            ns_buffer_add(body, "x", 1);
        }
        return 200;
    }
    ns_buffer_print(body, "hello\n");
    return strcmp(path, "/") == 0 ? 200 : strcmp(path, "/down") == 0 ? 503 : 404;
}

static bool
start(void)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    now_ns = 1;
    return ns_http_open("127.0.0.1:0", epoll_fd, TAG, page, NULL, &http) == 0;
}

static void
end(void)
{
    ns_http_close(http);
    close(epoll_fd);
}

static int
dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)ns_http_port(http)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Serves what has happened; wait_ms for the first of it. */
static void
serve(int wait_ms)
{
    struct epoll_event events[64];
    int count;
    while ((count = epoll_wait(epoll_fd, events, 64, wait_ms)) > 0) {
        for (int i = 0; i < count; i++) {
            CHECK_INT(events[i].data.u64 >> 32, TAG);
            ns_http_event(http, (uint32_t)events[i].data.u64, now_ns);
        }
        wait_ms = 0;
    }
}

/* Sends a request in two pieces and reads the whole answer. */
static void
fetch(const char *request, char *answer, size_t room)
{
    int fd = dial();
    size_t bytes = strlen(request);
    size_t got = 0;
    CHECK(send(fd, request, bytes / 2, 0) == (ssize_t)(bytes / 2));
    serve(1000);
    CHECK(send(fd, request + bytes / 2, bytes - bytes / 2, 0) == (ssize_t)(bytes - bytes / 2));
    for (;;) {
        serve(got == 0 ? 1000 : 0);
        ssize_t n = recv(fd, answer + got, room - 1 - got, got == 0 ? 0 : MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            serve(1000);
            continue;
        }
        if (n <= 0) {
            break;
        }
        got += (size_t)n;
    }
    answer[got] = '\0';
    close(fd);
}

TEST(a_page_is_served_and_the_connection_closed)
{
    char answer[4096];
    REQUIRE(start());
    fetch("GET /?q=1 HTTP/1.1\r\nHost: x\r\n\r\n", answer, sizeof answer);
    CHECK(strncmp(answer, "HTTP/1.0 200 OK\r\n", 17) == 0);
    CHECK(strstr(answer, "Content-Length: 6\r\n") != NULL);
    CHECK(strstr(answer, "\r\n\r\nhello\n") != NULL);
    fetch("HEAD / HTTP/1.0\r\n\r\n", answer, sizeof answer);
    CHECK(strstr(answer, "Content-Length: 6\r\n") != NULL);
    CHECK(strstr(answer, "hello") == NULL);
    end();
}

TEST(every_other_request_gets_its_status)
{
    static const struct {
        const char *request, *status;
    } rows[] = {
        {"GET /missing HTTP/1.0\r\n\r\n", "HTTP/1.0 404"},
        {"GET /down HTTP/1.0\r\n\r\n", "HTTP/1.0 503"},
        {"POST / HTTP/1.0\r\n\r\n", "HTTP/1.0 405"},
        {"GET http://x/ HTTP/1.1\r\n\r\n", "HTTP/1.0 400"},
        {"nonsense\r\n\r\n", "HTTP/1.0 400"},
        {"GET /\r\n\r\n", "HTTP/1.0 400"},
        {"GET / HTTP/2.0\r\n\r\n", "HTTP/1.0 400"},
    };
    char answer[4096];
    REQUIRE(start());
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fetch(rows[i].request, answer, sizeof answer);
        if (strncmp(answer, rows[i].status, strlen(rows[i].status)) != 0) {
            NS_FAIL("%s -> %.30s", rows[i].request, answer);
        }
    }
    end();
}

TEST(a_head_fits_at_the_limit_and_not_above_it)
{
    static char request[NS_HTTP_REQUEST_BYTES + 2];
    char answer[4096];
    REQUIRE(start());
    memset(request, 'x', NS_HTTP_REQUEST_BYTES);
    memcpy(request, "GET / HTTP/1.0\r\nX: ", 19);
    memcpy(request + NS_HTTP_REQUEST_BYTES - 4, "\r\n\r\n", 4);
    fetch(request, answer, sizeof answer);
    CHECK(strncmp(answer, "HTTP/1.0 200", 12) == 0);
    memcpy(request + NS_HTTP_REQUEST_BYTES - 4, "xxxx", 4);
    fetch(request, answer, sizeof answer);
    CHECK(strncmp(answer, "HTTP/1.0 431", 12) == 0);
    end();
}

TEST(a_large_page_goes_out_as_its_reader_takes_it)
{
    page_bytes = 8 << 20; /* more than any socket buffer */
    size_t room = page_bytes + 4096;
    char *answer = malloc(room);
    if (answer == NULL || !start()) {
        free(answer);
        NS_FAIL("no memory or no server");
        return;
    }
    fetch("GET /large HTTP/1.0\r\n\r\n", answer, room);
    char *body = strstr(answer, "\r\n\r\n");
    CHECK(body != NULL && strlen(body + 4) == page_bytes);
    free(answer);
    end();
}

TEST(when_all_places_are_taken_who_was_there_longest_makes_room)
{
    int slow[NS_HTTP_CLIENTS_MAX];
    char answer[4096];
    REQUIRE(start());
    for (int i = 0; i < NS_HTTP_CLIENTS_MAX; i++) {
        slow[i] = dial();
        CHECK(send(slow[i], "GET", 3, 0) == 3);
        serve(1000);
        now_ns++;
    }
    fetch("GET / HTTP/1.0\r\n\r\n", answer, sizeof answer);
    CHECK(strncmp(answer, "HTTP/1.0 200", 12) == 0);
    CHECK(recv(slow[0], answer, sizeof answer, 0) <= 0);
    CHECK_INT(recv(slow[1], answer, sizeof answer, MSG_DONTWAIT), -1);
    for (int i = 0; i < NS_HTTP_CLIENTS_MAX; i++) {
        close(slow[i]);
    }
    serve(1000);
    end();
}

TEST(a_client_has_its_time_and_no_more)
{
    char answer[16];
    REQUIRE(start());
    int slow = dial();
    CHECK(send(slow, "GET", 3, 0) == 3);
    serve(1000);
    ns_http_expire(http, now_ns + NS_HTTP_CLIENT_NS); /* not yet */
    CHECK_INT(recv(slow, answer, sizeof answer, MSG_DONTWAIT), -1);
    ns_http_expire(http, now_ns + NS_HTTP_CLIENT_NS + 1);
    CHECK(recv(slow, answer, sizeof answer, 0) <= 0);
    close(slow);
    end();
}

TEST(a_taken_port_and_a_bad_address_are_errors)
{
    REQUIRE(start());
    char address[32];
    struct ns_http *second = NULL;
    snprintf(address, sizeof address, "127.0.0.1:%d", ns_http_port(http));
    CHECK_INT(ns_http_open(address, epoll_fd, TAG, page, NULL, &second), -EADDRINUSE);
    CHECK_INT(ns_http_open("nowhere", epoll_fd, TAG, page, NULL, &second), -EINVAL);
    end();
}
