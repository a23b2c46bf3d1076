/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL as C programs use it, driven line by line as tests/lib/matrix.py says.
 *
 * usage: openssl NAME    blocking, nonblocking, memory, bio (BIO_f_ssl), each also with -stream
 *
 * One connection, kept; HTTP/1.1.
 */
#include <fcntl.h>
#include <netdb.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST "api.openai.com"
#define ANSWER_BYTES_MAX 65536
#define MODEL "\"model\":\"gpt-4o-mini\",\"max_tokens\":100,"
#define QUESTION "\"messages\":[{\"role\":\"user\",\"content\":\"What is a margin?\"}]"
#define STREAMED ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"

static const char *io;
static bool streams;
static int fd = -1;
static SSL *ssl;
static BIO *stream;                    /* bio: through which all goes */
static BIO *from_network, *to_network; /* memory */

static void
fail(const char *what)
{
    printf("{\"error\":\"openssl\",\"status\":null,\"message\":\"%s\"}\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static bool
is_io(const char *name)
{
    return strncmp(io, name, strlen(name)) == 0;
}

static void
dial(void)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(HOST, "443", &hints, &found) != 0) {
        fail("no such host");
    }
    fd = socket(found->ai_family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        fail("cannot connect");
    }
    freeaddrinfo(found);
}

static void
pump_out(void)
{
    char bytes[16384];
    int count = 0;
    while (to_network != NULL && (count = BIO_read(to_network, bytes, sizeof bytes)) > 0) {
        if (send(fd, bytes, (size_t)count, MSG_NOSIGNAL) != count) {
            fail("cannot send");
        }
    }
}

/* After a failed call: waits for what it wants; false where nothing more will come. */
static bool
wait_after(int result)
{
    int error = SSL_get_error(ssl, result);
    pump_out();
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        return false;
    }
    struct pollfd poller = {fd, error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, 0};
    poll(&poller, 1, -1);
    if (from_network != NULL && error == SSL_ERROR_WANT_READ) {
        char bytes[16384];
        ssize_t count = recv(fd, bytes, sizeof bytes, 0);
        if (count <= 0) {
            return false;
        }
        BIO_write(from_network, bytes, (int)count);
    }
    return true;
}

static void
connect_bio(SSL_CTX *context)
{
    stream = BIO_new_ssl(context, 1);
    BIO_get_ssl(stream, &ssl);
    SSL_set_tlsext_host_name(ssl, HOST);
    stream = BIO_push(stream, BIO_new_socket(fd, BIO_NOCLOSE));
    if (BIO_do_handshake(stream) != 1) {
        fail("no handshake");
    }
}

static void
connect_tls(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_default_verify_paths(context);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    dial();
    if (is_io("bio")) {
        connect_bio(context);
        return;
    }
    ssl = SSL_new(context);
    SSL_set_tlsext_host_name(ssl, HOST);
    if (is_io("memory")) {
        from_network = BIO_new(BIO_s_mem());
        to_network = BIO_new(BIO_s_mem());
        SSL_set_bio(ssl, from_network, to_network);
    } else {
        SSL_set_fd(ssl, fd);
    }
    if (!is_io("blocking")) {
        fcntl(fd, F_SETFL, is_io("memory") ? 0 : O_NONBLOCK);
    }
    /* As event loops do it, without SSL_connect: the first read or write shakes hands. */
    SSL_set_connect_state(ssl);
}

static void
send_all(const char *bytes, size_t count)
{
    for (size_t done = 0; done < count;) {
        int left = (int)(count - done);
        int sent = stream != NULL ? BIO_write(stream, bytes + done, left)
                                  : SSL_write(ssl, bytes + done, left);
        if (sent > 0) {
            done += (size_t)sent;
        } else if (!wait_after(sent)) {
            fail("cannot write");
        }
    }
    pump_out();
}

static size_t
receive(char *bytes, size_t room)
{
    for (;;) {
        int got =
            stream != NULL ? BIO_read(stream, bytes, (int)room) : SSL_read(ssl, bytes, (int)room);
        if (got > 0) {
            return (size_t)got;
        }
        if (!wait_after(got)) {
            return 0;
        }
    }
}

/* Whether an answer is whole: its length is told, or its chunks have ended. */
static bool
is_whole(const char *answer, size_t bytes)
{
    const char *body = strstr(answer, "\r\n\r\n");
    if (body == NULL) {
        return false;
    }
    const char *length = strcasestr(answer, "\r\ncontent-length:");
    if (length != NULL && length < body) {
        return bytes >= (size_t)(body + 4 - answer) + strtoul(length + 17, NULL, 10);
    }
    return bytes >= 5 && memcmp(answer + bytes - 5, "0\r\n\r\n", 5) == 0;
}

static void
say(const char *answer)
{
    long status = strtol(strchr(answer, ' '), NULL, 10);
    const char *body = strstr(answer, "\r\n\r\n") + 4;
    if (status >= 400) {
        printf("{\"error\":\"status\",\"status\":%ld,\"message\":\"", status);
    } else {
        printf("{\"ok\":\"");
    }
    for (; *body != '\0'; body++) {
        unsigned char byte = (unsigned char)*body;
        if (byte < ' ' || byte == '"' || byte == '\\') {
            printf("\\u%04x", byte);
        } else {
            putchar(byte);
        }
    }
    printf("\"}\n");
    fflush(stdout);
}

static void
one_call(void)
{
    static char answer[ANSWER_BYTES_MAX + 1];
    char request[2048];
    const char *replay = getenv("REPLAY");
    const char *body = streams ? "{" MODEL QUESTION STREAMED "}" : "{" MODEL QUESTION "}";
    int bytes = snprintf(request, sizeof request,
                         "POST /v1/chat/completions HTTP/1.1\r\nHost: " HOST "\r\n"
                         "Authorization: Bearer sk-test-c-1234\r\nX-Replay: %s\r\n"
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                         replay == NULL ? "" : replay, strlen(body), body);
    if (ssl == NULL) {
        connect_tls();
    }
    send_all(request, (size_t)bytes);
    size_t got = 0;
    do {
        size_t more = receive(answer + got, ANSWER_BYTES_MAX - got);
        if (more == 0) {
            fail("the connection ended");
        }
        got += more;
        answer[got] = '\0';
    } while (!is_whole(answer, got));
    say(answer);
}

int
main(int count, char **words)
{
    if (count != 2) {
        fprintf(stderr, "usage: openssl blocking|nonblocking|memory|bio[-stream]\n");
        return 2;
    }
    io = words[1];
    streams = strstr(io, "-stream") != NULL;
    for (int byte = 0; (byte = getchar()) != EOF;) {
        if (byte == '\n') {
            one_call();
        }
    }
    return 0;
}
