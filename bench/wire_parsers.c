/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast the parsers of wire/ are on a stream like OpenAI's, beside what the machine can do at
 * all with the same bytes (memcpy, memchr).
 *
 *     make build/lib/libwire.a build/lib/libbase.a
 *     gcc -std=c17 -O2 -I. -D_GNU_SOURCE -o build/wire_parsers bench/wire_parsers.c \
 *         build/lib/libwire.a build/lib/libbase.a
 *     build/wire_parsers
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wire/http1.h"
#include "wire/json.h"
#include "wire/sse.h"

#define STREAM_BYTES (8 << 20)
#define RECORD_BYTES 16384 /* what a TLS record carries */
#define ROUNDS 5

struct text {
    uint8_t *bytes;
    size_t count;
};

static struct text body;   /* the server-sent events */
static struct text stream; /* the same as a chunked response */
static struct text prompt; /* a JSON request with long strings */
static uint8_t *copy;
static uint64_t events; /* so that no work can be left out */

/* --- the input -------------------------------------------------------------------------------- */

static void
need(const void *pointer)
{
    if (pointer == NULL) {
        fprintf(stderr, "no memory\n");
        exit(1);
    }
}

__attribute__((format(printf, 2, 3))) static void
add(struct text *text, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    text->count += (size_t)vsnprintf((char *)text->bytes + text->count,
                                     STREAM_BYTES * 2 - text->count, format, list);
    va_end(list);
}

static struct text
text_new(void)
{
    struct text text = {.bytes = malloc(STREAM_BYTES * 2)};
    need(text.bytes);
    return text;
}

static void
make_body(void)
{
    static const char *const words[] = {" the",   " of",    " money",
                                        " spent", "\\n\\n", " caf\xc3\xa9"};
    body = text_new();
    for (unsigned i = 0; body.count < STREAM_BYTES; i++) {
        add(&body,
            "data: {\"id\":\"chatcmpl-BxQkZ0dA9mP2rT7uVwXyZ\",\"object\":\"chat.completion.chunk\","
            "\"created\":1790000000,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":"
            "\"default\",\"system_fingerprint\":\"fp_34a54ae93c\",\"choices\":[{\"index\":0,"
            "\"delta\":{\"content\":\"%s\"},\"logprobs\":null,\"finish_reason\":null}],"
            "\"usage\":null,\"obfuscation\":\"%.*s\"}\n\n",
            words[i % 6], (int)(i % 12), "aBcDeFgHiJkL");
    }
    add(&body, "data: [DONE]\n\n");
}

static void
make_stream(void)
{
    stream = text_new();
    add(&stream, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n");
    /* One event a chunk, as servers send it. */
    for (size_t at = 0; at < body.count;) {
        const uint8_t *end = memmem(body.bytes + at, body.count - at, "\n\n", 2);
        size_t bytes = (size_t)(end + 2 - (body.bytes + at));
        add(&stream, "%zx\r\n%.*s\r\n", bytes, (int)bytes, body.bytes + at);
        at += bytes;
    }
    add(&stream, "0\r\n\r\n");
}

static void
make_prompt(void)
{
    prompt = text_new();
    add(&prompt, "{\"model\":\"gpt-4o\",\"messages\":[");
    for (unsigned i = 0; prompt.count < STREAM_BYTES; i++) {
        add(&prompt, "%s{\"role\":\"user\",\"content\":\"", i ? "," : "");
        for (int j = 0; j < 200; j++) {
            add(&prompt, "Once upon a midnight dreary, while I pondered, weak and weary. ");
        }
        add(&prompt, "\"}");
    }
    add(&prompt, "]}");
}

/* --- what is measured ------------------------------------------------------------------------- */

static void
run_memcpy(void)
{
    for (size_t at = 0; at < stream.count; at += RECORD_BYTES) {
        size_t left = stream.count - at;
        memcpy(copy, stream.bytes + at, left < RECORD_BYTES ? left : RECORD_BYTES);
        events += copy[0];
    }
}

static void
run_memchr(void)
{
    const uint8_t *at = body.bytes, *end = body.bytes + body.count;
    while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL) {
        at++;
        events++;
    }
}

static void
read_json(struct ns_json *json, const uint8_t *bytes, size_t count)
{
    struct ns_json_input input;
    do {
        size_t taken = ns_json_feed(json, bytes, count, &input);
        bytes += taken;
        count -= taken;
        events++;
    } while (input.event != NS_JSON_MORE && input.event != NS_JSON_ERROR);
}

/* json may be NULL: events alone. */
static void
read_sse(struct ns_sse *sse, struct ns_json *json, const uint8_t *bytes, size_t count)
{
    struct ns_sse_input input;
    do {
        size_t taken = ns_sse_feed(sse, bytes, count, &input);
        bytes += taken;
        count -= taken;
        events++;
        if (json != NULL && input.event == NS_SSE_DATA) {
            read_json(json, input.data, input.data_bytes);
        } else if (json != NULL && input.event == NS_SSE_END) {
            ns_json_reset(json);
        }
    } while (input.event != NS_SSE_MORE);
}

static void
read_records(struct ns_http1 *http, struct ns_sse *sse, struct ns_json *json)
{
    struct ns_http1_input input;
    for (size_t at = 0; at < stream.count;) {
        size_t left = stream.count - at;
        size_t end = at + (left < RECORD_BYTES ? left : RECORD_BYTES);
        do {
            at += ns_http1_feed(http, stream.bytes + at, end - at, &input);
            events++;
            if (sse != NULL && input.event == NS_HTTP1_BODY) {
                read_sse(sse, json, input.body, input.body_bytes);
            }
        } while (input.event != NS_HTTP1_MORE && input.event != NS_HTTP1_ERROR);
        if (input.event == NS_HTTP1_ERROR) {
            fprintf(stderr, "the stream is no HTTP\n");
            exit(1);
        }
    }
}

static void
run_http1(void)
{
    struct ns_http1 *http = ns_http1_new(NS_HTTP1_RESPONSES);
    need(http);
    read_records(http, NULL, NULL);
    ns_http1_free(http);
}

static void
run_sse(void)
{
    struct ns_sse sse;
    ns_sse_init(&sse);
    read_sse(&sse, NULL, body.bytes, body.count);
}

static void
run_all(void)
{
    struct ns_http1 *http = ns_http1_new(NS_HTTP1_RESPONSES);
    struct ns_json *json = ns_json_new();
    struct ns_sse sse;
    need(http);
    need(json);
    ns_sse_init(&sse);
    read_records(http, &sse, json);
    ns_http1_free(http);
    ns_json_free(json);
}

static void
run_json(void)
{
    struct ns_json *json = ns_json_new();
    need(json);
    read_json(json, prompt.bytes, prompt.count);
    ns_json_free(json);
}

static const struct {
    const char *name;
    void (*run)(void);
    const struct text *text;
} rows[] = {{"memcpy of the stream (reference)", run_memcpy, &stream},
            {"memchr over its lines (reference)", run_memchr, &body},
            {"http1: chunks of one event", run_http1, &stream},
            {"sse: lines of one event", run_sse, &body},
            {"json: long strings", run_json, &prompt},
            {"http1 + sse + json: the stream", run_all, &stream}};

static double
now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int
main(void)
{
    make_body();
    make_stream();
    make_prompt();
    copy = malloc(RECORD_BYTES);
    need(copy);
    printf("%-36s %10s\n", "best of 5", "MB/s");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        double best = 0;
        for (int round = 0; round < ROUNDS; round++) {
            double start = now_s();
            rows[i].run();
            double rate = (double)rows[i].text->count / 1e6 / (now_s() - start);
            best = rate > best ? rate : best;
        }
        printf("%-36s %10.0f\n", rows[i].name, best);
    }
    free(body.bytes);
    free(stream.bytes);
    free(prompt.bytes);
    free(copy);
    return events == 0;
}
