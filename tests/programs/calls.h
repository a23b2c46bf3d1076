/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls for programs that put the library into a hard place: a client and its provider in one
 * thread, joined by memory, so that no descriptor is the program's own, nothing waits but for the
 * collector, and a call takes some tens of microseconds.
 */
#ifndef NS_TESTS_CALLS_H
#define NS_TESTS_CALLS_H

#include "tests/unit/tls_pair.h"

enum outcome { ANSWERED, DENIED, FAILED };

struct contexts {
    SSL_CTX *client;
    SSL_CTX *server;
};

#define CALL_BODY "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"
#define CALL_TEXT                                                                                  \
    "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nAuthorization: Bearer "         \
    "sk-1234\r\nContent-Length: 65\r\n\r\n" CALL_BODY
_Static_assert(sizeof CALL_BODY - 1 == 65, "as the head says");

/* Turns of both ends without which nothing moves any more. */
#define CALL_TURNS_MAX 1000

static inline struct contexts
make_contexts(void)
{
    return (struct contexts){SSL_CTX_new(TLS_client_method()), tls_pair_server_context()};
}

static inline void
open_pair(struct tls_pair *pair, const struct contexts *contexts)
{
    tls_pair_open(pair, contexts->client, contexts->server, 65536);
}

/* A call on the pair's connection, the handshake included where it is the first. */
static inline enum outcome
make_call(struct tls_pair *pair)
{
    char text[8192];
    size_t bytes = 0;
    bool written = false;
    for (int turn = 0; turn < CALL_TURNS_MAX; turn++) {
        int result = written ? SSL_read(pair->client, text + bytes, (int)(sizeof text - 1 - bytes))
                             : SSL_write(pair->client, CALL_TEXT, (int)sizeof CALL_TEXT - 1);
        if (result <= 0 && !tls_pair_waits(pair, result)) {
            return FAILED;
        }
        if (result > 0 && written) {
            bytes += (size_t)result;
        }
        written = written || result > 0;
        text[bytes] = '\0';
        const char *body = strstr(text, "\r\n\r\n");
        const char *length = strcasestr(text, "\r\ncontent-length: ");
        if (body != NULL && length != NULL && strlen(body + 4) >= strtoul(length + 18, NULL, 10)) {
            return strcmp(text, TLS_PAIR_ANSWER) == 0               ? ANSWERED
                   : strstr(text, "X-NullSpend-Denied: 1\r\n") != 0 ? DENIED
                                                                    : FAILED;
        }
        tls_pair_serve(pair);
    }
    return FAILED;
}

#endif
