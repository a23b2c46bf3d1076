/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS client that uses GnuTLS: sends standard input, which must ask for the connection to be
 * closed, and writes what it reads to standard output.
 *
 * usage: gnutls_client send|send2 HOST PORT
 *
 * Exit: 0 done; 2 usage; 3 TLS failed.
 */
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void
fail(const char *what, int error)
{
    fprintf(stderr, "gnutls_client: %s: %s\n", what, gnutls_strerror(error));
    exit(3);
}

static int
connect_to(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int fd = -1;
    if (getaddrinfo(host, port, &hints, &found) == 0) {
        fd = socket(found->ai_family, SOCK_STREAM, 0);
        if (connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
            fail("connect", 0);
        }
        freeaddrinfo(found);
    }
    return fd;
}

int
main(int count, char **words)
{
    static char text[1 << 20];
    if (count != 4) {
        fputs("usage: gnutls_client send|send2 HOST PORT\n", stderr);
        return 2;
    }
    size_t bytes = fread(text, 1, sizeof text, stdin);
    const char *host = words[2];
    gnutls_certificate_credentials_t credentials;
    gnutls_session_t session;
    gnutls_certificate_allocate_credentials(&credentials);
    gnutls_certificate_set_x509_trust_file(credentials, getenv("SSL_CERT_FILE"),
                                           GNUTLS_X509_FMT_PEM);
    gnutls_init(&session, GNUTLS_CLIENT);
    gnutls_server_name_set(session, GNUTLS_NAME_DNS, host, strlen(host));
    gnutls_session_set_verify_cert(session, host, 0);
    gnutls_set_default_priority(session);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    int fd = connect_to(host, words[3]);
    gnutls_transport_set_int(session, fd);
    int error = gnutls_handshake(session);
    if (error != 0) {
        fail("handshake", error);
    }
    for (size_t at = 0; at < bytes;) {
        ssize_t sent = strcmp(words[1], "send") == 0
                           ? gnutls_record_send(session, text + at, bytes - at)
                           : gnutls_record_send2(session, text + at, bytes - at, 0, 0);
        if (sent < 0) {
            fail("send", (int)sent);
        }
        at += (size_t)sent;
    }
    ssize_t got;
    do { /* a session's ticket interrupts it */
        got = gnutls_record_recv(session, text, sizeof text);
        fwrite(text, 1, got > 0 ? (size_t)got : 0, stdout);
    } while (got > 0 || got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED);
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    close(fd);
    return 0;
}
