/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS client that uses GnuTLS by the functions of an OpenSSL that are built upon it: two
 * libraries that are both known see the same bytes. Sends standard input to api.openai.com, which
 * must be asked to close the connection, and writes what it reads to standard output.
 *
 * Exit: 0 done; otherwise the step that failed.
 */
#include <gnutls/openssl.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int
main(void)
{
    static char data[65536];
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *to;
    int count = (int)read(0, data, sizeof data);
    if (getaddrinfo("api.openai.com", "443", &hints, &to) != 0) {
        return 2;
    }
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, to->ai_addr, to->ai_addrlen) != 0) {
        return 3;
    }
    freeaddrinfo(to);
    SSL_library_init();
    SSL *ssl = SSL_new(SSL_CTX_new(SSLv23_client_method()));
    SSL_set_fd(ssl, fd);
    if (SSL_connect(ssl) != 1 || SSL_write(ssl, data, count) != count) {
        return 4;
    }
    int got, failures = 0;
    do { /* each of a session's two tickets interrupts it, which looks like any failure */
        got = SSL_read(ssl, data, sizeof data);
        fwrite(data, 1, got > 0 ? (size_t)got : 0, stdout);
        failures += got <= 0;
    } while (failures < 4);
    SSL_free(ssl);
    return 0;
}
