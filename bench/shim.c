/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the preload library costs programs that it is in: throughput of TLS that is not governed,
 * start-up of a process, the first token of a governed stream, memory. Each figure is measured with
 * the library and without, in turns, so that both see the same machine.
 *
 * TLS runs over a pair of memory BIOs inside one process, so that nothing but the CPU is measured.
 *
 * usage: shim      run from the repository's root
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LIBRARY "build/libnullspend.so"
#define ROUNDS 9
#define SPAWNS 300
#define RECORD_BYTES 16384
#define RECORDS 12000
#define STREAMS 600
#define CONNECTIONS 200

static void
fail(const char *what)
{
    fprintf(stderr, "bench/shim: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static double
seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double
median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

/* --- inside the measured process -------------------------------------------------------------- */

static SSL_CTX *server_context, *client_context;

static void
make_contexts(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)"bench", -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    server_context = SSL_CTX_new(TLS_server_method());
    client_context = SSL_CTX_new(TLS_client_method());
    if (X509_sign(certificate, key, EVP_sha256()) == 0 ||
        SSL_CTX_use_certificate(server_context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey(server_context, key) != 1) {
        fail("no certificate");
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
}

struct pair {
    SSL *client, *server;
};

static struct pair
connect_pair(const char *host)
{
    struct pair pair = {SSL_new(client_context), SSL_new(server_context)};
    BIO *near, *far;
    if (BIO_new_bio_pair(&near, 1 << 17, &far, 1 << 17) != 1) {
        fail("no pair");
    }
    SSL_set_bio(pair.client, near, near);
    SSL_set_bio(pair.server, far, far);
    SSL_set_tlsext_host_name(pair.client, host);
    SSL_set_connect_state(pair.client);
    SSL_set_accept_state(pair.server);
    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(pair.client);
        SSL_do_handshake(pair.server);
    }
    if (!SSL_is_init_finished(pair.client) || !SSL_is_init_finished(pair.server)) {
        fail("no handshake");
    }
    return pair;
}

static void
part(struct pair pair)
{
    SSL_free(pair.client);
    SSL_free(pair.server);
}

/* CPU seconds for RECORDS records from one side to the other. */
static void
measure_throughput(int bytes)
{
    static char data[RECORD_BYTES];
    struct pair pair = connect_pair("files.example.com");
    double begin = 0;
    for (int i = -RECORDS / 10; i < RECORDS; i++) {
        if (i == 0) {
            begin = seconds(CLOCK_PROCESS_CPUTIME_ID);
        }
        if (SSL_write(pair.server, data, bytes) != bytes ||
            SSL_read(pair.client, data, bytes) != bytes) {
            fail("a record was lost");
        }
    }
    printf("%.9f\n", seconds(CLOCK_PROCESS_CPUTIME_ID) - begin);
    part(pair);
}

static const char request[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\n"
                              "Content-Type: application/json\r\nContent-Length: 82\r\n\r\n"
                              "{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[{\"role\":"
                              "\"user\",\"content\":\"Hello all\"}]}";

/* The head and the first token, as they commonly come: one record each. */
static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n";
static const char token[] =
    "c3\r\ndata: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,"
    "\"model\":\"gpt-4o-2024-08-06\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
    "\"content\":\"Hello\"},\"finish_reason\":null}]}      \n\n\r\n";

static void
ask(struct pair pair)
{
    char text[4096];
    if (SSL_write(pair.client, request, sizeof request - 1) != sizeof request - 1 ||
        SSL_read(pair.server, text, sizeof text) <= 0) {
        fail("no request");
    }
}

/* Median seconds from the arrival of the first token's record to the program's having it. */
static void
measure_first_token(void)
{
    static double times[STREAMS];
    char text[4096];
    for (int i = 0; i < STREAMS; i++) {
        struct pair pair = connect_pair("api.openai.com");
        ask(pair);
        SSL_write(pair.server, head, sizeof head - 1);
        SSL_write(pair.server, token, sizeof token - 1);
        double begin = seconds(CLOCK_MONOTONIC);
        for (int record = 0; record < 2; record++) { /* head, token */
            if (SSL_read(pair.client, text, sizeof text) <= 0) {
                fail("no answer");
            }
        }
        times[i] = seconds(CLOCK_MONOTONIC) - begin;
        part(pair);
    }
    printf("%.9f\n", median(times, STREAMS));
}

static long
private_kib(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    long kib = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "Private_Dirty:", 14) == 0) {
            kib = strtol(line + 14, NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kib;
}

/* Private memory in KiB after one governed stream has begun, and after many. */
static void
measure_memory(void)
{
    static struct pair pairs[CONNECTIONS + 1];
    char text[4096];
    long one = 0;
    for (int i = 0; i <= CONNECTIONS; i++) {
        pairs[i] = connect_pair("api.openai.com");
        ask(pairs[i]);
        SSL_write(pairs[i].server, head, sizeof head - 1);
        SSL_write(pairs[i].server, token, sizeof token - 1);
        SSL_read(pairs[i].client, text, sizeof text);
        SSL_read(pairs[i].client, text, sizeof text);
        if (i == 0) {
            one = private_kib();
        }
    }
    printf("%ld %ld\n", one, private_kib());
}

/* --- the measuring process -------------------------------------------------------------------- */

/* Runs a program, with the library or without; returns the first line of its output. */
static void
run(char *const words[], int preload, char *line, size_t bytes)
{
    int ends[2];
    if (pipe(ends) != 0) {
        fail("no pipe");
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    if (preload) {
        setenv("LD_PRELOAD", LIBRARY, 1);
    } else {
        unsetenv("LD_PRELOAD");
    }
    pid_t pid;
    int status = 0;
    if (posix_spawnp(&pid, words[0], &actions, NULL, words, environ) != 0) {
        fail("cannot run a program");
    }
    close(ends[1]);
    posix_spawn_file_actions_destroy(&actions);
    size_t count = 0;
    ssize_t got;
    while (count < bytes - 1 && (got = read(ends[0], line + count, bytes - 1 - count)) > 0) {
        count += (size_t)got;
    }
    line[count] = '\0';
    close(ends[0]);
    if (waitpid(pid, &status, 0) != pid || status != 0) {
        fail(words[0]);
    }
}

static double
number_of(const char *self, const char *what, const char *argument, int preload)
{
    char line[256];
    char *words[] = {(char *)self, (char *)what, (char *)argument, NULL};
    run(words, preload, line, sizeof line);
    return strtod(line, NULL);
}

static void
compare_numbers(const char *self, const char *what, const char *argument, double *without,
                double *with)
{
    double values[2][ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        for (int k = 0; k < 2; k++) {
            int preload = (k + round) & 1;
            values[preload][round] = number_of(self, what, argument, preload);
        }
    }
    *without = median(values[0], ROUNDS);
    *with = median(values[1], ROUNDS);
}

static void
report_throughput(const char *self, const char *bytes)
{
    double without, with;
    compare_numbers(self, "throughput", bytes, &without, &with);
    printf("ungoverned TLS, %5s-byte records  %8.2f us -> %8.2f us a record   %+6.2f %%  (at most "
           "1 %% at 16384)\n",
           bytes, without / RECORDS * 1e6, with / RECORDS * 1e6, (with / without - 1) * 100);
}

static void
report_start(void)
{
    static double values[2][SPAWNS];
    char *words[] = {(char *)"true", NULL};
    char line[16];
    for (int i = 0; i < SPAWNS; i++) {
        for (int k = 0; k < 2; k++) {
            int preload = (k + i) & 1;
            double begin = seconds(CLOCK_MONOTONIC);
            run(words, preload, line, sizeof line);
            values[preload][i] = seconds(CLOCK_MONOTONIC) - begin;
        }
    }
    double without = median(values[0], SPAWNS), with = median(values[1], SPAWNS);
    printf("start and end of `true`            %8.0f us -> %8.0f us            %+6.0f us (at most "
           "300 us)\n",
           without * 1e6, with * 1e6, (with - without) * 1e6);
}

static void
report_first_token(const char *self)
{
    double without, with;
    compare_numbers(self, "first-token", NULL, &without, &with);
    printf("first token of a governed stream   %8.2f us -> %8.2f us            %+6.2f us (at most "
           "50 us)\n",
           without * 1e6, with * 1e6, (with - without) * 1e6);
}

static void
report_memory(const char *self)
{
    long one[2], many[2];
    for (int preload = 0; preload < 2; preload++) {
        char line[256];
        char *words[] = {(char *)self, (char *)"memory", NULL};
        run(words, preload, line, sizeof line);
        char *rest;
        one[preload] = strtol(line, &rest, 10);
        many[preload] = strtol(rest, NULL, 10);
    }
    printf("memory of a process                %8ld KiB-> %8ld KiB           %+6ld KiB (at most "
           "1024 KiB)\n",
           one[0], one[1], one[1] - one[0]);
    double each[2];
    for (int preload = 0; preload < 2; preload++) {
        each[preload] = (double)(many[preload] - one[preload]) / CONNECTIONS;
    }
    printf("memory of a connection amid a call %8.1f KiB-> %8.1f KiB           %+6.1f KiB (at most "
           "16 KiB)\n",
           each[0], each[1], each[1] - each[0]);
}

int
main(int count, char **words)
{
    /* No collector: its cost is bench/governed_call's to tell. */
    setenv("NULLSPEND_COLLECTOR", "ipc:///nonexistent/c.sock", 1);
    setenv("NULLSPEND_SPOOL_DIR", "/proc/nowhere", 1);
    if (count > 1) {
        make_contexts();
        if (strcmp(words[1], "throughput") == 0) {
            measure_throughput((int)strtol(words[2], NULL, 10));
        } else if (strcmp(words[1], "first-token") == 0) {
            measure_first_token();
        } else {
            measure_memory();
        }
        return 0;
    }
    report_throughput(words[0], "16384");
    report_throughput(words[0], "1024");
    report_start();
    report_first_token(words[0]);
    report_memory(words[0]);
    return 0;
}
