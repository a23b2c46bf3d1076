/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What benchmarks share: figures, a collector, and a provider at the other end of a connection.
 * Everything here ends the process with a line on standard error where it fails.
 */
#ifndef NS_BENCH_LIB_BENCH_H
#define NS_BENCH_LIB_BENCH_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_LIBRARY "build/libnullspend.so"

/* Ends the process; tells errno and what OpenSSL has to say. */
_Noreturn void bench_fail(const char *what);

/* Zeroed memory; freed with free. */
void *bench_memory(size_t count, size_t bytes);

/* --- figures -------------------------------------------------------------------------------- */

int64_t bench_now_ns(void);

/* What this process has used of the processor, user and system. */
int64_t bench_cpu_ns(void);

/* Sorts. Returns the value below which so many of 100 are. */
int64_t bench_percentile(int64_t *values, size_t count, int percent);

/* --- the collector -------------------------------------------------------------------------- */

struct bench_collector {
    char directory[64]; /* of its own; removed at the end */
    char endpoint[128];
    pid_t pid;
};

/* The real one, with its journal; its Postgres is away, which is what the gate never waits for. */
void bench_collector_start(struct bench_collector *collector);
void bench_collector_stop(struct bench_collector *collector);

struct bench_program {
    const char *name;
    int output;
    pid_t pid;
};

/* Starts a program, governed by this collector or not. */
struct bench_program bench_start(const struct bench_collector *collector, bool governed,
                                 const char *const arguments[]);
/* Fills values with the numbers that it prints, one a line; there must be so many. Returns the time
 * of the processor that it used as a whole. */
int64_t bench_finish(const struct bench_program *program, int64_t *values, size_t count);
/* Both. */
int64_t bench_run(const struct bench_collector *collector, bool governed,
                  const char *const arguments[], int64_t *values, size_t count);

/* The line that a command prints, without its end. */
void bench_line(const char *command, char *line, size_t bytes);

/* Fills durations with round trips of 128 bytes from a bare libzmq DEALER to a ROUTER of another
 * process, over ipc://: what governing is held against. Before each the asker works so long, for a
 * processor that has nothing to do falls asleep, and waking it is part of what asking costs. */
void bench_echo(const struct bench_collector *collector, int64_t work_ns, int64_t *durations_ns,
                size_t count);

/* Durations of calls and echoes, of all rounds. */
struct bench_calls {
    size_t room, count;
    int64_t *plain_ns, *governed_ns, *echoes_ns;
};

void bench_calls_new(struct bench_calls *calls, size_t room);
/* One round: runs a program that prints so many durations without the library and with it, then as
 * many echoes, with as much work between them as the program's own calls are. */
void bench_calls_run(struct bench_calls *calls, const struct bench_collector *collector,
                     const char *const arguments[], size_t count);
/* Prints them, and what governing adds: at p50 at most an echo, at p99 two. Frees them. */
void bench_calls_print(struct bench_calls *calls, const char *name);

/* --- the provider --------------------------------------------------------------------------- */

/* The host that clients name, and one that is nobody's whose calls are governed. */
#define BENCH_HOST "api.openai.com"
#define BENCH_OTHER_HOST "api.example.com"
#define BENCH_EVENT_BYTES_MAX 8192

/* A context with a certificate for BENCH_HOST that it signs itself; h2: takes HTTP/2 where the
 * client offers it. */
SSL_CTX *bench_server_context(bool h2);
/* A context that offers HTTP/2, or nothing. */
SSL_CTX *bench_client_context(bool h2);

/* Both ends of a connection within this thread, hands shaken, to this host by name: with a process
 * or a network between them, where the scheduler puts that process would be most of what is
 * measured. */
void bench_connect_pair(const char *host, bool h2, SSL **client, SSL **provider);

struct bench_answer {
    size_t event_bytes;  /* of one event of the stream; 0: no stream but one JSON answer */
    size_t record_bytes; /* events come together as far as they fit into so many; 0: one by one */
    size_t stream_bytes; /* of the stream as a whole, about */
    size_t waiting;      /* HTTP/2: so many requests stay without an answer until more come */
    long pause_ns; /* before each record of a stream: its reader has read the last and sleeps */
    /* NULL, or what the reader uses while it has streams is noted there, in memory that is shared.
     */
    struct bench_watch *watch;
};

/* A program that calls BENCH_HOST and BENCH_OTHER_HOST, which are the same provider. */
struct bench_watch {
    pid_t reader;
    int64_t used_ns[2]; /* of the processor, in streams of the other host, and of BENCH_HOST */
};

/* Accepts every connection to a port of 127.0.0.1, and answers its requests, in processes of their
 * own. Returns the first one's id, for bench_end. */
pid_t bench_serve_port(bool h2, const struct bench_answer *answer, uint16_t *port);
void bench_end(pid_t pid);

/* What both protocols say. Puts the text of an event of the stream, or of its end, there. Returns
 * its bytes, 0 behind the end. */
size_t bench_event(const struct bench_answer *answer, size_t number,
                   char text[BENCH_EVENT_BYTES_MAX]);
extern const char bench_chat_answer[];
extern const size_t bench_chat_answer_bytes;

/* The body of a request. */
const char *bench_request_body(bool stream);

/* --- connections ---------------------------------------------------------------------------- */

/* Sockets are expected not to block; these wait for them. */

/* Writes all. */
void bench_write(SSL *ssl, const void *bytes, size_t count);
/* Writes a call over HTTP/1.1. */
void bench_write_call(SSL *ssl, bool stream);
/* Writes a record of a stream, behind its pause. */
void bench_write_record(SSL *ssl, const struct bench_answer *answer, const void *bytes,
                        size_t count);
/* Reads what there is. Returns 0 at the end and, without `wait`, where there is nothing yet. */
size_t bench_read(SSL *ssl, void *bytes, size_t count, bool wait);

/* Answers the requests over HTTP/1.1 that come, until the connection ends or, between the ends of a
 * pair, until there is nothing more to read. */
void bench_serve(SSL *ssl, const struct bench_answer *answer);

/* One side of an HTTP/2 connection. */
struct bench_h2;
/* answer: the provider's side; NULL: the client's. */
struct bench_h2 *bench_h2_new(SSL *ssl, const struct bench_answer *answer);
void bench_h2_free(struct bench_h2 *h2);
/* Writes what is due, as far as the other side takes it. */
void bench_h2_write(struct bench_h2 *h2);
/* Reads what has come; waits for some where it is told to. Returns false at the end. */
bool bench_h2_read(struct bench_h2 *h2, bool wait);
/* The client's: makes a call due. Returns its stream. */
int32_t bench_h2_call(struct bench_h2 *h2, bool stream);
/* The client's: how many answers have ended, in the order of calls where the provider keeps to it;
 * how many bytes of body have come. */
size_t bench_h2_answers(const struct bench_h2 *h2);
size_t bench_h2_body_bytes(const struct bench_h2 *h2);

#endif
