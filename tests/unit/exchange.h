/* SPDX-License-Identifier: Apache-2.0 */
/* One request and its answer through a connection, in small pieces, and what its call used. */
#ifndef NS_TESTS_EXCHANGE_H
#define NS_TESTS_EXCHANGE_H

#include "tests/harness.h"
#include "wire/wire.h"

#define BOUND (1 << 20)

struct exchange {
    struct ns_wire *wire;
    struct ns_wire_call *call;
};

/* A request is written; its call is NULL where it is none. */
static inline struct exchange
ask(const char *host, const char *path, const char *headers, const void *body, size_t body_bytes)
{
    struct exchange exchange = {.wire = ns_wire_new(NULL, NULL)};
    struct ns_wire_written written = {.class = NS_WIRE_PASS};
    char *text = malloc(4096 + body_bytes);
    size_t bytes = (size_t)snprintf(text, 4096,
                                    "POST %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %zu\r\n\r\n",
                                    path, host, headers, body_bytes);
    memcpy(text + bytes, body, body_bytes);
    bytes += body_bytes;
    for (size_t i = 0; i < bytes;) {
        size_t piece = 1 + ns_test_random() % 13;
        piece = piece < bytes - i ? piece : bytes - i;
        i += ns_wire_write(exchange.wire, (const uint8_t *)text + i, piece, BOUND, &written);
    }
    exchange.call = written.class == NS_WIRE_CALL ? written.call : NULL;
    free(text);
    return exchange;
}

static inline struct exchange
ask_json(const char *host, const char *path, const char *json)
{
    return ask(host, path, "", json, strlen(json));
}

static inline void
close_exchange(struct exchange *exchange)
{
    ns_wire_free(exchange->wire);
}

/* An answer with these lines in its head, which says how long it is, and of which only so much
 * arrives. */
static inline struct ns_wire_call *
answer_bytes(struct exchange *exchange, int status, const char *headers, const void *body,
             size_t body_bytes, size_t arrives)
{
    struct ns_wire_read read = {0};
    char head[1024];
    (void)snprintf(head, sizeof(head), "HTTP/1.1 %d X\r\n%sContent-Length: %zu\r\n\r\n", status,
                   headers, body_bytes);
    (void)ns_wire_read(exchange->wire, (const uint8_t *)head, strlen(head), &read);
    for (size_t i = 0; i < arrives && read.event != NS_WIRE_READ_END;) {
        size_t piece = 1 + ns_test_random() % 13;
        piece = piece < arrives - i ? piece : arrives - i;
        i += ns_wire_read(exchange->wire, (const uint8_t *)body + i, piece, &read);
    }
    return read.event == NS_WIRE_READ_END ? read.call : ns_wire_take(exchange->wire);
}

static inline struct ns_wire_call *
answer(struct exchange *exchange, int status, const char *body, size_t arrives)
{
    return answer_bytes(exchange, status, "", body, strlen(body), arrives);
}
struct meter {
    enum ns_meter meter;
    uint64_t count;
};

static inline void
expect_meters(const struct ns_wire_call *call, const struct meter *meters, size_t count)
{
    uint64_t listed = 0;
    for (size_t i = 0; i < count; i++) {
        listed |= UINT64_C(1) << meters[i].meter;
        if (ns_usage_get(&call->response.usage, meters[i].meter) != meters[i].count) {
            NS_FAIL("%s is %" PRIu64 ", not %" PRIu64, ns_meter_name(meters[i].meter),
                    ns_usage_get(&call->response.usage, meters[i].meter), meters[i].count);
        }
    }
    for (unsigned m = 0; m < NS_METER_COUNT; m++) {
        if ((listed >> m & 1) == 0 && call->response.usage.count[m] != 0) {
            NS_FAIL("%s is %" PRIu64, ns_meter_name((enum ns_meter)m),
                    call->response.usage.count[m]);
        }
    }
}

#endif
