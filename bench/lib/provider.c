/* SPDX-License-Identifier: Apache-2.0 */
/* What the provider says, and how it says it over HTTP/1.1. */
#include "bench/lib/bench.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Longer than any reader here looks at a record. */
#define PAUSE_BEFORE_NS 2000000
#define WATCHED_FROM 8

const char bench_chat_answer[] =
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,"
    "\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"choices\":[{\"index\":0,"
    "\"message\":{\"role\":\"assistant\",\"content\":\"A margin is what is left.\",\"refusal\":"
    "null},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":7,"
    "\"total_tokens\":27,\"prompt_tokens_details\":{\"cached_tokens\":0},"
    "\"completion_tokens_details\":{\"reasoning_tokens\":0}}}";
const size_t bench_chat_answer_bytes = sizeof bench_chat_answer - 1;

const char *
bench_request_body(bool stream)
{
    return stream ? "{\"model\":\"gpt-4o-mini\",\"stream\":true,\"stream_options\":"
                    "{\"include_usage\":true},\"messages\":[{\"role\":\"user\",\"content\":"
                    "\"What is a margin? Take your time.\"}]}"
                  : "{\"model\":\"gpt-4o-mini\",\"max_tokens\":64,\"messages\":[{\"role\":"
                    "\"user\",\"content\":\"What is a margin? Be brief.\"}]}";
}

/* --- the stream ----------------------------------------------------------------------------- */

static const char usage_event[] =
    "data: {\"id\":\"chatcmpl-Ad8jKYwhZkUjR9Gg5tJ0nKgMHBy31\",\"object\":\"chat.completion.chunk\","
    "\"created\":1733929628,\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[],\"usage\":"
    "{\"prompt_tokens\":20,\"completion_tokens\":500,\"total_tokens\":520}}\n\n";
static const char done_event[] = "data: [DONE]\n\n";
/* What models write, 4 to 5 bytes a token; a line end in some. */
static const char *const words[] = {
    " margin",      " is",    " what",  " remains", " of",   " revenue", " once",  " costs",
    " are",         " paid",  ".",      "\\n\\n",   "It",    " tells",   " how",   " well",
    " prices",      " cover", ",",      " say",     " rent", " and",     " wages", " —",
    " \\\"net\\\"", " or",    " gross", ",",        " if",   " few",     " ask",   " why"};
#define WORDS (sizeof words / sizeof words[0])

static size_t
append(char text[BENCH_EVENT_BYTES_MAX], size_t used, const char *more)
{
    size_t bytes = strlen(more);
    if (bytes > BENCH_EVENT_BYTES_MAX - used) {
        bench_fail("an event is too long");
    }
    memcpy(text + used, more, bytes);
    return used + bytes;
}

/* One event: what every chunk of OpenAI's repeats, or, where that is too much, what cannot be left
 * out. The text of the token is as long as the size asks for, one word at least. */
static size_t
token_event(size_t event_bytes, size_t number, char text[BENCH_EVENT_BYTES_MAX])
{
    static const char large[] =
        "data: {\"id\":\"chatcmpl-Ad8jKYwhZkUjR9Gg5tJ0nKgMHBy31\",\"object\":"
        "\"chat.completion.chunk\",\"created\":1733929628,\"model\":\"gpt-4o-mini-2024-07-18\","
        "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_de604bd877\",\"choices\":"
        "[{\"index\":0,\"delta\":{\"content\":\"";
    static const char small[] = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"";
    static const char large_end[] = "\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null,"
                                    "\"obfuscation\":\"";
    static const char small_end[] = "\"},\"finish_reason\":null}]}\n\n";
    bool whole = event_bytes >= sizeof large + sizeof large_end;
    const char *end = whole ? large_end : small_end;
    size_t after_bytes = strlen(end) + (whole ? 14 : 0);
    size_t used = append(text, 0, whole ? large : small);
    do {
        used = append(text, used, words[number++ * 7 % WORDS]);
    } while (used + after_bytes < event_bytes);
    used = append(text, used, end);
    if (whole) { /* as long as it takes to hide how long the token was */
        used = append(text, used, "yhjoJbEFdT" + number % 9);
        used = append(text, used, "\"}\n\n");
    }
    return used;
}

static void
pause_for(long ns)
{
    struct timespec time = {.tv_nsec = ns};
    nanosleep(&time, NULL);
}

/* The connection of this process is to BENCH_HOST. */
static bool named;

static int64_t
used_by(pid_t pid)
{
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) {
        bench_fail("a reader's clock");
    }
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Before an event of a stream: from some of the first on to its last, what the reader uses of the
 * processor is noted. */
static void
watch(const struct bench_answer *answer, bool begins)
{
    pause_for(PAUSE_BEFORE_NS); /* the reader sleeps */
    answer->watch->used_ns[named] += used_by(answer->watch->reader) * (begins ? -1 : 1);
}

size_t
bench_event(const struct bench_answer *answer, size_t number, char text[BENCH_EVENT_BYTES_MAX])
{
    size_t events = answer->stream_bytes / answer->event_bytes;
    if (answer->watch != NULL && (number == WATCHED_FROM || number == events)) {
        watch(answer, number == WATCHED_FROM);
    }
    if (number < events) {
        return token_event(answer->event_bytes, number, text);
    }
    if (number == events) {
        memcpy(text, usage_event, sizeof usage_event - 1);
        return sizeof usage_event - 1;
    }
    if (number == events + 1) {
        memcpy(text, done_event, sizeof done_event - 1);
        return sizeof done_event - 1;
    }
    return 0;
}

/* --- connections ---------------------------------------------------------------------------- */

static void
give_certificate(SSL_CTX *context)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    X509_EXTENSION *names =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:" BENCH_HOST);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
    X509_set_pubkey(certificate, key);
    X509_add_ext(certificate, names, -1);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)BENCH_HOST, -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    if (X509_sign(certificate, key, EVP_sha256()) == 0 ||
        SSL_CTX_use_certificate(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey(context, key) != 1) {
        bench_fail("certificate");
    }
    X509_EXTENSION_free(names);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static const unsigned char h2_protocol[] = "\x02h2";

static int
choose_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *bytes,
                const unsigned char *offered, unsigned int offered_bytes, void *context)
{
    unsigned char *out;
    (void)ssl;
    (void)context;
    if (SSL_select_next_proto(&out, bytes, h2_protocol, sizeof h2_protocol - 1, offered,
                              offered_bytes) != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *chosen = out;
    return SSL_TLSEXT_ERR_OK;
}

SSL_CTX *
bench_server_context(bool h2)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    give_certificate(context);
    if (h2) {
        SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    }
    return context;
}

SSL_CTX *
bench_client_context(bool h2)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (h2) {
        SSL_CTX_set_alpn_protos(context, h2_protocol, sizeof h2_protocol - 1);
    }
    return context;
}

void
bench_connect_pair(const char *host, bool h2, SSL **client, SSL **provider)
{
    SSL_CTX *provider_context = bench_server_context(h2);
    SSL_CTX *client_context = bench_client_context(h2);
    BIO *one = NULL, *other = NULL;
    *client = SSL_new(client_context);
    *provider = SSL_new(provider_context);
    if (BIO_new_bio_pair(&one, 1 << 18, &other, 1 << 18) != 1) {
        bench_fail("BIO_new_bio_pair");
    }
    SSL_set_bio(*client, one, one);
    SSL_set_bio(*provider, other, other);
    SSL_set_tlsext_host_name(*client, host);
    SSL_set_accept_state(*provider);
    for (int steps = 0; SSL_connect(*client) != 1 || SSL_do_handshake(*provider) != 1; steps++) {
        if (steps == 8) {
            bench_fail("no handshake");
        }
        SSL_do_handshake(*provider);
    }
    SSL_CTX_free(client_context);
    SSL_CTX_free(provider_context);
}

/* Waits until a socket is ready; anything but a wait is a failure. */
static void
await(SSL *ssl, int result, const char *what)
{
    int error = SSL_get_error(ssl, result);
    struct pollfd wanted = {.fd = SSL_get_fd(ssl),
                            .events = error == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN};
    if ((error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) || wanted.fd < 0 ||
        poll(&wanted, 1, -1) < 0) {
        bench_fail(what);
    }
}

void
bench_write(SSL *ssl, const void *bytes, size_t count)
{
    size_t written = 0;
    int result;
    while ((result = SSL_write_ex(ssl, bytes, count, &written)) != 1) {
        await(ssl, result, "SSL_write");
    }
}

void
bench_write_call(SSL *ssl, bool stream)
{
    char text[4096];
    const char *body = bench_request_body(stream);
    int bytes = snprintf(text, sizeof text,
                         "POST /v1/chat/completions HTTP/1.1\r\nHost: " BENCH_HOST "\r\n"
                         "Authorization: Bearer sk-bench-0001\r\n"
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                         strlen(body), body);
    bench_write(ssl, text, (size_t)bytes);
}

void
bench_write_record(SSL *ssl, const struct bench_answer *answer, const void *bytes, size_t count)
{
    if (answer->pause_ns > 0) {
        pause_for(answer->pause_ns);
    }
    bench_write(ssl, bytes, count);
}

size_t
bench_read(SSL *ssl, void *bytes, size_t count, bool wait)
{
    for (;;) {
        int result = SSL_read(ssl, bytes, (int)count);
        if (result > 0) {
            return (size_t)result;
        }
        int error = SSL_get_error(ssl, result);
        if (error != SSL_ERROR_WANT_READ || !wait) {
            return 0;
        }
        await(ssl, result, "SSL_read");
    }
}

/* --- HTTP/1.1 ------------------------------------------------------------------------------- */

/* A request whose head and body have come: its bytes, or 0. */
static size_t
whole_request(const char *text, size_t bytes)
{
    const char *end = memmem(text, bytes, "\r\n\r\n", 4);
    if (end == NULL) {
        return 0;
    }
    const char *length = strcasestr(text, "content-length:");
    size_t body_bytes = length == NULL ? 0 : strtoul(length + 15, NULL, 10);
    size_t whole = (size_t)(end + 4 - text) + body_bytes;
    return whole <= bytes ? whole : 0;
}

/* Chunks that leave together. */
struct chunks {
    char text[2 * 16384 + BENCH_EVENT_BYTES_MAX];
    size_t bytes;
};

static void
stream_http1(SSL *ssl, const struct bench_answer *answer)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    static struct chunks chunks;
    char event[BENCH_EVENT_BYTES_MAX];
    size_t event_bytes;
    bench_write_record(ssl, answer, head, sizeof head - 1);
    for (size_t i = 0; (event_bytes = bench_event(answer, i, event)) > 0; i++) {
        if (chunks.bytes > 0 && chunks.bytes + event_bytes + 16 > answer->record_bytes) {
            bench_write_record(ssl, answer, chunks.text, chunks.bytes);
            chunks.bytes = 0;
        }
        chunks.bytes += (size_t)snprintf(chunks.text + chunks.bytes, 16, "%zx\r\n", event_bytes);
        memcpy(chunks.text + chunks.bytes, event, event_bytes);
        memcpy(chunks.text + chunks.bytes + event_bytes, "\r\n", 2);
        chunks.bytes += event_bytes + 2;
    }
    memcpy(chunks.text + chunks.bytes, "0\r\n\r\n", 5);
    bench_write_record(ssl, answer, chunks.text, chunks.bytes + 5);
    chunks.bytes = 0;
}

static void
answer_http1(SSL *ssl, const struct bench_answer *answer)
{
    char text[2048];
    if (answer->event_bytes > 0) {
        stream_http1(ssl, answer);
        return;
    }
    int bytes = snprintf(text, sizeof text,
                         "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         "Date: Mon, 23 Nov 2026 10:00:00 GMT\r\nContent-Length: %zu\r\n\r\n%s",
                         bench_chat_answer_bytes, bench_chat_answer);
    bench_write_record(ssl, answer, text, (size_t)bytes);
}

void
bench_serve(SSL *ssl, const struct bench_answer *answer)
{
    static char text[65536];
    size_t bytes = 0, got;
    bool wait = SSL_get_fd(ssl) >= 0;
    while ((got = bench_read(ssl, text + bytes, sizeof text - 1 - bytes, wait)) > 0) {
        bytes += got;
        text[bytes] = '\0';
        for (size_t whole; (whole = whole_request(text, bytes)) > 0; bytes -= whole) {
            answer_http1(ssl, answer);
            memmove(text, text + whole, bytes - whole + 1);
        }
    }
}

/* --- a port --------------------------------------------------------------------------------- */

static void
serve_socket(SSL_CTX *context, int fd, const struct bench_answer *answer)
{
    const unsigned char *protocol;
    unsigned int protocol_bytes;
    int result, one = 1;
    SSL *ssl = SSL_new(context);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    SSL_set_fd(ssl, fd);
    while ((result = SSL_accept(ssl)) != 1) {
        await(ssl, result, "SSL_accept");
    }
    const char *host = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    named = host != NULL && strcmp(host, BENCH_HOST) == 0;
    SSL_get0_alpn_selected(ssl, &protocol, &protocol_bytes);
    if (protocol_bytes == 2) {
        struct bench_h2 *h2 = bench_h2_new(ssl, answer);
        do {
            bench_h2_write(h2);
        } while (bench_h2_read(h2, true));
        bench_h2_free(h2);
    } else {
        bench_serve(ssl, answer);
    }
    SSL_free(ssl);
}

pid_t
bench_serve_port(bool h2, const struct bench_answer *answer, uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, bytes) != 0 || listen(listener, 16) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &bytes) != 0) {
        bench_fail("no port");
    }
    *port = ntohs(address.sin_port);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_TIMERSLACK, 1);
        signal(SIGCHLD, SIG_IGN);
        SSL_CTX *context = bench_server_context(h2);
        for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd)) {
            if (fork() == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                serve_socket(context, fd, answer);
                _exit(0);
            }
        }
        _exit(1);
    }
    close(listener);
    return pid;
}
