/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a governed call costs a program: check, journalled hold, verdict and report, beside one bare
 * libzmq DEALER-ROUTER echo of 128 bytes over ipc:// in the same run.
 *
 * A client makes keep-alive chat requests to api.openai.com with the preload library and without,
 * in turns, so that both see the same machine. The provider is the other end of a pair of BIOs in
 * the client's own thread: with a process or a network between them, where the scheduler puts that
 * process would be most of the difference. The collector is the real one, with its journal; its
 * Postgres is away, which is what the gate never waits for.
 *
 * usage: governed_call [CALLS]      run from the repository's root
 */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define ROUNDS 7
#define ECHO_BYTES 128
#define CLIENT_WARM_UP 200

static void
fail(const char *what)
{
    fprintf(stderr, "governed_call: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int
ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* --- the provider ----------------------------------------------------------------------------- */

static const char answer_body[] =
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,"
    "\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"choices\":[{\"index\":0,"
    "\"message\":{\"role\":\"assistant\",\"content\":\"A margin is what is "
    "left.\",\"refusal\":null},"
    "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":7,"
    "\"total_tokens\":27,\"prompt_tokens_details\":{\"cached_tokens\":0},"
    "\"completion_tokens_details\":{\"reasoning_tokens\":0}}}";

static void
give_certificate(SSL_CTX *context)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)"api.openai.com", -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    if (X509_sign(certificate, key, EVP_sha256()) == 0 ||
        SSL_CTX_use_certificate(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey(context, key) != 1) {
        fail("certificate");
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
}

/* Reads one request, whose body ends in "]}", and answers it. */
static void
serve(SSL *ssl)
{
    char request[8192], response[2048];
    int used = 0, n = 0;
    while ((n = SSL_read(ssl, request + used, (int)sizeof request - used)) > 0) {
        used += n;
        if (memcmp(request + used - 2, "]}", 2) == 0) {
            int bytes =
                snprintf(response, sizeof response,
                         "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         "Date: Mon, 23 Nov 2026 10:00:00 GMT\r\nContent-Length: %zu\r\n\r\n%s",
                         sizeof answer_body - 1, answer_body);
            SSL_write(ssl, response, bytes);
            return;
        }
    }
    fail("no request");
}

/* Both ends of a connection, hands shaken. */
static void
connect_ends(SSL **client, SSL **provider)
{
    SSL_CTX *provider_context = SSL_CTX_new(TLS_server_method());
    SSL_CTX *client_context = SSL_CTX_new(TLS_client_method());
    BIO *one = NULL, *other = NULL;
    give_certificate(provider_context);
    *client = SSL_new(client_context);
    *provider = SSL_new(provider_context);
    if (BIO_new_bio_pair(&one, 0, &other, 0) != 1) {
        fail("BIO_new_bio_pair");
    }
    SSL_set_bio(*client, one, one);
    SSL_set_bio(*provider, other, other);
    SSL_set_tlsext_host_name(*client, "api.openai.com");
    for (int steps = 0; SSL_connect(*client) != 1 || SSL_accept(*provider) != 1; steps++) {
        if (steps == 8) {
            fail("no handshake");
        }
        SSL_accept(*provider);
    }
    SSL_CTX_free(client_context);
    SSL_CTX_free(provider_context);
}

/* --- the client: prints one duration a call, in ns -------------------------------------------- */

static const char request_text[] =
    "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\n"
    "Authorization: Bearer sk-bench-0001\r\nContent-Type: application/json\r\n"
    "Content-Length: 108\r\n\r\n"
    "{\"model\":\"gpt-4o-mini\",\"max_tokens\":64,\"messages\":[{\"role\":\"user\",\"content\":"
    "\"What is a margin? Be brief.\"}]}";

static void
one_call(SSL *ssl, SSL *provider)
{
    char answer[4096];
    int used = 0, n = 0;
    if (SSL_write(ssl, request_text, (int)sizeof request_text - 1) <= 0) {
        fail("SSL_write");
    }
    serve(provider);
    while ((n = SSL_read(ssl, answer + used, (int)sizeof answer - used)) > 0) {
        used += n;
        if (used >= 3 && memcmp(answer + used - 3, "}}}", 3) == 0) {
            break;
        }
    }
    if (n <= 0 || memcmp(answer, "HTTP/1.1 200", 12) != 0) {
        fail("no 200");
    }
}

static int
client(int calls)
{
    SSL *ssl, *provider;
    connect_ends(&ssl, &provider);
    for (int i = 0; i < CLIENT_WARM_UP; i++) {
        one_call(ssl, provider);
    }
    for (int i = 0; i < calls; i++) {
        int64_t start = now_ns();
        one_call(ssl, provider);
        printf("%lld\n", (long long)(now_ns() - start));
    }
    SSL_free(ssl);
    SSL_free(provider);
    return 0;
}

/* --- the reference -----------------------------------------------------------------------------
 */

static void *
echo_server(void *socket)
{
    zmq_msg_t part;
    for (;;) {
        bool more = true;
        while (more) {
            zmq_msg_init(&part);
            if (zmq_msg_recv(&part, socket, 0) < 0) {
                return NULL;
            }
            more = zmq_msg_more(&part);
            zmq_msg_send(&part, socket, more ? ZMQ_SNDMORE : 0);
        }
    }
}

/* Fills durations with round trips of a DEALER to a ROUTER of another thread. */
static void
echo(const char *directory, int64_t *durations, int count)
{
    char endpoint[128], message[ECHO_BYTES] = {0};
    pthread_t thread;
    snprintf(endpoint, sizeof endpoint, "ipc://%s/echo", directory);
    void *context = zmq_ctx_new();
    void *router = zmq_socket(context, ZMQ_ROUTER), *dealer = zmq_socket(context, ZMQ_DEALER);
    if (zmq_bind(router, endpoint) != 0 || zmq_connect(dealer, endpoint) != 0) {
        fail("zmq");
    }
    pthread_create(&thread, NULL, echo_server, router);
    for (int i = -CLIENT_WARM_UP; i < count; i++) {
        int64_t start = now_ns();
        zmq_send(dealer, message, sizeof message, 0);
        zmq_recv(dealer, message, sizeof message, 0);
        if (i >= 0) {
            durations[i] = now_ns() - start;
        }
    }
    zmq_close(dealer);
    zmq_ctx_shutdown(context);
    pthread_join(thread, NULL);
    zmq_close(router);
    zmq_ctx_term(context);
}

/* --- the run ------------------------------------------------------------------------------------
 */

static pid_t
start_collector(const char *directory, const char *endpoint)
{
    char state[128], line[512];
    int pipe_fds[2];
    pid_t pid;
    posix_spawn_file_actions_t actions;
    snprintf(state, sizeof state, "%s/state", directory);
    const char *arguments[] = {"build/nullspendd",
                               "--foreground",
                               "--state-dir",
                               state,
                               "--listen",
                               endpoint,
                               "--http",
                               "off",
                               "--database-url",
                               "postgresql:///none?host=/nonexistent",
                               NULL};
    if (pipe(pipe_fds) != 0) {
        fail("pipe");
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 2);
    posix_spawn_file_actions_addclose(&actions, pipe_fds[0]);
    if (posix_spawn(&pid, arguments[0], &actions, NULL, (char *const *)arguments, environ) != 0) {
        fail("build/nullspendd");
    }
    close(pipe_fds[1]);
    FILE *log = fdopen(pipe_fds[0], "r");
    while (fgets(line, sizeof line, log) != NULL) {
        if (strstr(line, "ready") != NULL) {
            return pid; /* the pipe stays open: it has little more to say */
        }
        fputs(line, stderr);
    }
    fail("the collector did not start");
    return -1;
}

/* Runs the client, governed or not; appends its durations. */
static int
run_client(const char *self, int calls, bool governed, const char *endpoint, int64_t *durations)
{
    char command[512];
    int count = 0;
    snprintf(command, sizeof command, "%s%s %s %s --client %d",
             governed ? "LD_PRELOAD=build/libnullspend.so NULLSPEND_COLLECTOR=" : "env",
             governed ? endpoint : "", governed ? "NULLSPEND_CUSTOMER=bench" : "", self, calls);
    FILE *output = popen(command, "r"); // NOLINT(cert-env33-c)
    char line[64];
    while (output != NULL && fgets(line, sizeof line, output) != NULL && count < calls) {
        durations[count++] = strtoll(line, NULL, 10);
    }
    if (output == NULL || pclose(output) != 0 || count != calls) {
        fail("the client failed");
    }
    return count;
}

static void
print(const char *name, int64_t *durations, int count)
{
    qsort(durations, (size_t)count, sizeof *durations, ascending);
    int64_t p50_ns = durations[count / 2], p99_ns = durations[count * 99L / 100];
    printf("%-34s p50 %7.1f us   p99 %7.1f us\n", name, (double)p50_ns / 1e3, (double)p99_ns / 1e3);
}

static void
verdict(int percent, int64_t added, int64_t allowed)
{
    printf("added at p%d: %.1f us, of %.1f us allowed: ratio %.2f%s\n", percent,
           (double)added / 1e3, (double)allowed / 1e3, (double)added / (double)allowed,
           added <= allowed ? "" : "  (missed)");
}

static int
measure(const char *self, int calls)
{
    char directory[] = "/tmp/nsbenchXXXXXX", endpoint[128];
    if (mkdtemp(directory) == NULL) {
        fail("mkdtemp");
    }
    snprintf(endpoint, sizeof endpoint, "ipc://%s/c", directory);
    pid_t collector_pid = start_collector(directory, endpoint);
    size_t all = (size_t)calls * ROUNDS;
    int64_t *plain = calloc(all, sizeof *plain), *governed = calloc(all, sizeof *governed);
    int64_t *echoes = calloc(all, sizeof *echoes);
    if (plain == NULL || governed == NULL || echoes == NULL) {
        fail("memory");
    }
    for (int i = 0; i < ROUNDS; i++) {
        run_client(self, calls, false, endpoint, plain + (size_t)i * (size_t)calls);
        run_client(self, calls, true, endpoint, governed + (size_t)i * (size_t)calls);
        echo(directory, echoes + (size_t)i * (size_t)calls, calls);
    }
    print("call, ungoverned", plain, (int)all);
    print("call, governed", governed, (int)all);
    print("libzmq echo of 128 bytes over ipc", echoes, (int)all);
    size_t p50 = all / 2, p99 = all * 99 / 100;
    verdict(50, governed[p50] - plain[p50], echoes[p50]);
    verdict(99, governed[p99] - plain[p99], 2 * echoes[p99]);
    kill(collector_pid, SIGTERM);
    waitpid(collector_pid, NULL, 0);
    free(plain);
    free(governed);
    free(echoes);
    snprintf(endpoint, sizeof endpoint, "rm -rf %s", directory);
    return system(endpoint); // NOLINT(cert-env33-c)
}

int
main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && strcmp(argv[1], "--client") == 0) {
        return client((int)strtol(argv[2], NULL, 10));
    }
    return measure(argv[0], argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2000);
}
