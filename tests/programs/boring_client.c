/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS client that uses BoringSSL, whose declarations this file brings, for its headers are not
 * packaged. Sends standard input to api.openai.com, writes what one SSL_read gives to standard
 * output, or, with an argument, what all give until the connection ends.
 *
 * Exit: 0 done; otherwise the step that failed.
 */
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

void *TLS_client_method(void), *SSL_CTX_new(void *), *SSL_new(void *);
int SSL_set_fd(void *, int), SSL_connect(void *), SSL_write(void *, const void *, int);
int SSL_read(void *, void *, int), SSL_set_tlsext_host_name(void *, const char *);
void SSL_free(void *);

int
main(int count_of_words, char **words)
{
    (void)words;
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *to;
    static char data[65536];
    int count = (int)read(0, data, sizeof data);
    if (getaddrinfo("api.openai.com", "443", &hints, &to) != 0) {
        return 2;
    }
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, to->ai_addr, to->ai_addrlen) != 0) {
        return 3;
    }
    void *ssl = SSL_new(SSL_CTX_new(TLS_client_method()));
    SSL_set_tlsext_host_name(ssl, "api.openai.com");
    SSL_set_fd(ssl, fd);
    if (SSL_connect(ssl) != 1 || SSL_write(ssl, data, count) != count) {
        return 4;
    }
    int got = SSL_read(ssl, data, sizeof data);
    if (got <= 0) {
        return 5;
    }
    do {
        fwrite(data, 1, (size_t)got, stdout);
    } while (count_of_words > 1 && (got = SSL_read(ssl, data, sizeof data)) > 0);
    SSL_free(ssl);
    return 0;
}
