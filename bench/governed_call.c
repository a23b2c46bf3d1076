/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a governed call costs a program: check, journalled hold, verdict and report, beside one bare
 * libzmq DEALER-ROUTER echo of 128 bytes over ipc:// in the same run.
 *
 * A client makes calls to api.openai.com on one connection with the preload library and without, in
 * turns, so that both see the same machine: over HTTP/1.1; over HTTP/2 one stream at a time; amid a
 * hundred streams that are open, where each answer that ends begins the next call; and a hundred
 * calls that are written together, each of which counts as a hundredth of them. The provider is the
 * other end of a pair of BIOs in the client's own thread: with a process or a network between them,
 * where the scheduler puts that process would be most of the difference. The collector is the real
 * one, with its journal; its Postgres is away, which is what the gate never waits for.
 *
 * usage: governed_call [CALLS [ROUNDS]]      run from the repository's root
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lib/bench.h"

#define WARM_UP 200
#define STREAMS 100

/* --- the client: prints one duration a call, in ns -------------------------------------------- */

static void
call_http1(SSL *ssl, SSL *provider, const struct bench_answer *answer)
{
    char text[4096];
    size_t used = 0, got;
    bench_write_call(ssl, false);
    bench_serve(provider, answer);
    while ((got = bench_read(ssl, text + used, sizeof text - used, false)) > 0) {
        used += got;
        if (used >= 3 && memcmp(text + used - 3, "}}}", 3) == 0) {
            break;
        }
    }
    if (got == 0 || memcmp(text, "HTTP/1.1 200", 12) != 0) {
        bench_fail("no 200");
    }
}

static void
measure_http1(SSL *ssl, SSL *provider, const struct bench_answer *answer, size_t calls)
{
    for (size_t i = 0; i < WARM_UP + calls; i++) {
        int64_t start_ns = bench_now_ns();
        call_http1(ssl, provider, answer);
        if (i >= WARM_UP) {
            printf("%lld\n", (long long)(bench_now_ns() - start_ns));
        }
    }
}

/* Lets both sides speak until so many answers have ended. */
static void
exchange(struct bench_h2 *client, struct bench_h2 *provider, size_t answers)
{
    bench_h2_write(client);
    for (int turns = 0; bench_h2_answers(client) < answers; turns++) {
        if (turns == 100) {
            bench_fail("no answer");
        }
        bench_h2_read(provider, false);
        bench_h2_write(provider);
        bench_h2_read(client, false);
        bench_h2_write(client);
    }
}

/* together: so many calls are written at once. */
static void
measure_http2(struct bench_h2 *client, struct bench_h2 *provider, size_t waiting, size_t together,
              size_t calls)
{
    if (together == 0) {
        bench_fail("no calls");
    }
    for (size_t made = 0; made < waiting; made++) {
        bench_h2_call(client, false);
    }
    for (size_t done = 0; done < WARM_UP + calls; done += together) {
        int64_t start_ns = bench_now_ns();
        for (size_t i = 0; i < together; i++) {
            bench_h2_call(client, false);
        }
        exchange(client, provider, done + together);
        int64_t each_ns = (bench_now_ns() - start_ns) / (int64_t)together;
        for (size_t i = 0; i < together && done >= WARM_UP; i++) {
            printf("%lld\n", (long long)each_ns);
        }
    }
}

static const struct way {
    const char *name;
    bool h2;
    size_t waiting, together;
} ways[] = {{"HTTP/1.1", false, 0, 1},
            {"HTTP/2, one stream", true, 0, 1},
            {"HTTP/2, 100 open", true, STREAMS - 1, 1},
            {"HTTP/2, 100 at once", true, 0, STREAMS}};

static int
client(const struct way *way, size_t calls)
{
    struct bench_answer answer = {.waiting = way->waiting};
    SSL *near, *far;
    bench_connect_pair(BENCH_HOST, way->h2, &near, &far);
    if (way->h2) {
        struct bench_h2 *asking = bench_h2_new(near, NULL);
        struct bench_h2 *answering = bench_h2_new(far, &answer);
        measure_http2(asking, answering, way->waiting, way->together, calls);
        bench_h2_free(asking);
        bench_h2_free(answering);
    } else {
        measure_http1(near, far, &answer, calls);
    }
    SSL_free(near);
    SSL_free(far);
    return 0;
}

/* --- the run ---------------------------------------------------------------------------------- */

#define WAYS (sizeof ways / sizeof ways[0])

static void
measure(const char *self, size_t way, size_t calls, const struct bench_collector *collector,
        struct bench_calls *figures)
{
    char number[24], count[24];
    snprintf(number, sizeof number, "%zu", way);
    snprintf(count, sizeof count, "%zu", calls);
    const char *arguments[] = {self, "--client", number, count, NULL};
    bench_calls_run(figures, collector, arguments, calls);
}

int
main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 4 && strcmp(argv[1], "--client") == 0) {
        return client(&ways[strtoul(argv[2], NULL, 10)], strtoul(argv[3], NULL, 10));
    }
    size_t calls = argc > 1 ? strtoul(argv[1], NULL, 10) : 2000;
    size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 7;
    struct bench_collector collector;
    struct bench_calls figures[WAYS];
    calls = calls < STREAMS ? STREAMS : calls - calls % STREAMS;
    bench_collector_start(&collector);
    for (size_t way = 0; way < WAYS; way++) {
        bench_calls_new(&figures[way], calls * rounds);
    }
    for (size_t round = 0; round < rounds; round++) {
        for (size_t way = 0; way < WAYS; way++) {
            measure(argv[0], way, calls, &collector, &figures[way]);
        }
    }
    for (size_t way = 0; way < WAYS; way++) {
        bench_calls_print(&figures[way], ways[way].name);
    }
    bench_collector_stop(&collector);
    return 0;
}
