/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS client and a provider in one process and thread, joined by memory: what a client does to
 * the hooks, byte by byte, without sockets, and a provider that answers as it is told.
 */
#ifndef NS_TESTS_TLS_PAIR_H
#define NS_TESTS_TLS_PAIR_H

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "tests/harness.h"

struct tls_pair {
    SSL *client;
    SSL *server;
    char request[65536]; /* what the server has read and not answered yet */
    size_t request_bytes;
    char answer[8192]; /* what it has to say still */
    size_t answer_bytes;
    char heard[8192]; /* room for what the client reads */
    int posts;        /* requests that it had whole */
    int options;
    const char *to_post; /* what it says to them */
    const char *to_options;
};

static inline SSL_CTX *
tls_pair_server_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
    X509_set_pubkey(certificate, key);
    X509_sign(certificate, key, EVP_sha256());
    SSL_CTX_use_certificate(context, certificate);
    SSL_CTX_use_PrivateKey(context, key);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return context;
}

#define TLS_PAIR_BODY                                                                              \
    "{\"model\":\"gpt-4o\",\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}"
#define TLS_PAIR_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 68\r\n\r\n" TLS_PAIR_BODY
_Static_assert(sizeof TLS_PAIR_BODY - 1 == 68, "as the head says");
#define TLS_PAIR_NOTHING "HTTP/1.1 204 No Content\r\n\r\n"

/* Two ends with buffers of so many bytes between them; the handshake is the first read's or
 * write's. */
static inline void
tls_pair_open(struct tls_pair *pair, SSL_CTX *client, SSL_CTX *server, size_t buffer_bytes)
{
    memset(pair, 0, sizeof *pair);
    pair->to_post = TLS_PAIR_ANSWER;
    pair->to_options = TLS_PAIR_NOTHING;
    BIO *near, *far;
    BIO_new_bio_pair(&near, buffer_bytes, &far, buffer_bytes);
    pair->client = SSL_new(client);
    pair->server = SSL_new(server);
    SSL_set_tlsext_host_name(pair->client, "api.openai.com");
    SSL_set_bio(pair->client, near, near);
    SSL_set_bio(pair->server, far, far);
    SSL_set_connect_state(pair->client);
    SSL_set_accept_state(pair->server);
}

static inline void
tls_pair_close(struct tls_pair *pair)
{
    SSL_free(pair->client);
    SSL_free(pair->server);
}

/* Answers the requests that have come whole. */
static inline void
tls_pair_answer(struct tls_pair *pair)
{
    for (;;) {
        pair->request[pair->request_bytes] = '\0';
        char *body = strstr(pair->request, "\r\n\r\n");
        if (body == NULL) {
            return;
        }
        char *length = strstr(pair->request, "Content-Length: ");
        size_t whole = (size_t)(body + 4 - pair->request) +
                       (length != NULL ? (size_t)strtoul(length + 16, NULL, 10) : 0);
        if (whole > pair->request_bytes) {
            return;
        }
        bool post = strncmp(pair->request, "POST ", 5) == 0;
        pair->posts += post;
        pair->options += !post;
        const char *text = post ? pair->to_post : pair->to_options;
        size_t bytes = strlen(text);
        memcpy(pair->answer + pair->answer_bytes, text, bytes);
        pair->answer_bytes += bytes;
        memmove(pair->request, pair->request + whole, pair->request_bytes - whole);
        pair->request_bytes -= whole;
    }
}

/* The server's turn: says what it has to say, reads what is there. */
static inline void
tls_pair_serve(struct tls_pair *pair)
{
    int got;
    do {
        if (pair->answer_bytes > 0 &&
            SSL_write(pair->server, pair->answer, (int)pair->answer_bytes) > 0) {
            pair->answer_bytes = 0;
        }
        got = SSL_read(pair->server, pair->request + pair->request_bytes,
                       (int)(sizeof pair->request - 1 - pair->request_bytes));
        if (got > 0) {
            pair->request_bytes += (size_t)got;
            tls_pair_answer(pair);
        }
    } while (got > 0);
    ERR_clear_error();
}

/* Did the client stop because it waits for the server? */
static inline bool
tls_pair_waits(const struct tls_pair *pair, int result)
{
    int error = SSL_get_error(pair->client, result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

#endif
