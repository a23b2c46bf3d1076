/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/lib/bench.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

_Noreturn void
bench_fail(const char *what)
{
    fprintf(stderr, "benchmark: %s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(1);
}

void *
bench_memory(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    if (memory == NULL) {
        bench_fail("memory");
    }
    return memory;
}

static int64_t
read_clock(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int64_t
bench_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t
bench_cpu_ns(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

static int
ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int64_t
bench_percentile(int64_t *values, size_t count, int percent)
{
    qsort(values, count, sizeof *values, ascending);
    return values[count * (size_t)percent / 100];
}

/* --- calls ---------------------------------------------------------------------------------- */

void
bench_calls_new(struct bench_calls *calls, size_t room)
{
    *calls = (struct bench_calls){.room = room,
                                  .plain_ns = bench_memory(room, sizeof(int64_t)),
                                  .governed_ns = bench_memory(room, sizeof(int64_t)),
                                  .echoes_ns = bench_memory(room, sizeof(int64_t))};
}

void
bench_calls_run(struct bench_calls *calls, const struct bench_collector *collector,
                const char *const arguments[], size_t count)
{
    if (count > calls->room - calls->count) {
        bench_fail("more calls than there is room for");
    }
    bench_run(collector, false, arguments, calls->plain_ns + calls->count, count);
    bench_run(collector, true, arguments, calls->governed_ns + calls->count, count);
    int64_t work_ns = bench_percentile(calls->plain_ns + calls->count, count, 50);
    bench_echo(collector, work_ns, calls->echoes_ns + calls->count, count);
    calls->count += count;
}

static void
print(const char *name, int64_t *durations_ns, size_t count)
{
    int64_t p50_ns = bench_percentile(durations_ns, count, 50);
    int64_t p99_ns = bench_percentile(durations_ns, count, 99);
    printf("%-34s p50 %7.1f us   p99 %7.1f us\n", name, (double)p50_ns / 1e3, (double)p99_ns / 1e3);
}

static void
print_added(const struct bench_calls *calls, int percent, int64_t echoes)
{
    size_t at = calls->count * (size_t)percent / 100; /* all are sorted */
    int64_t added_ns = calls->governed_ns[at] - calls->plain_ns[at];
    int64_t allowed_ns = echoes * calls->echoes_ns[at];
    printf("added at p%d: %.1f us, of %.1f us allowed: ratio %.2f%s\n", percent,
           (double)added_ns / 1e3, (double)allowed_ns / 1e3, (double)added_ns / (double)allowed_ns,
           added_ns <= allowed_ns ? "" : "  (missed)");
}

void
bench_calls_print(struct bench_calls *calls, const char *name)
{
    printf("-- %s\n", name);
    print("call, ungoverned", calls->plain_ns, calls->count);
    print("call, governed", calls->governed_ns, calls->count);
    print("libzmq echo of 128 bytes over ipc", calls->echoes_ns, calls->count);
    print_added(calls, 50, 1);
    print_added(calls, 99, 2);
    free(calls->plain_ns);
    free(calls->governed_ns);
    free(calls->echoes_ns);
}
