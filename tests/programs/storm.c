/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Governed calls in THREADS threads, amid a storm of N:
 *
 *     storm fork N THREADS       children that end, that exec, that go on with a connection
 *     storm vfork N THREADS      children that end, that exec
 *     storm spawn N THREADS      posix_spawn
 *     storm threads N THREADS    threads that make a call and end, one way or another
 *     storm cancel N THREADS     threads that are cancelled wherever they are
 *     storm restart N THREADS    signals whose handler has SA_RESTART
 *     storm interrupt N THREADS  signals whose handler has not
 *     storm closefrom N THREADS  all descriptors closed, and their numbers given to others
 *
 * Prints "calls A, children B, wrong C". Exit status 0 where all that had to be well was.
 */
#include "tests/programs/calls.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS_MAX 16
#define CALLS_A_CONNECTION 5
#define CHILD_STATUS 3

static struct contexts contexts;
static struct tls_pair kept; /* the main thread's connection */
static _Atomic bool stop;
static _Atomic long calls, children, wrong;
static _Atomic long started; /* threads that have made a call */

static void
count_call(enum outcome outcome)
{
    calls++;
    wrong += outcome == ANSWERED ? 0 : 1;
}

static void *
keep_calling(void *context)
{
    struct tls_pair *pair = malloc(sizeof *pair);
    bool first = true;
    (void)context;
    while (!stop) {
        open_pair(pair, &contexts);
        for (int i = 0; i < CALLS_A_CONNECTION; i++) {
            count_call(make_call(pair));
            started += first ? 1 : 0;
            first = false;
        }
        tls_pair_close(pair);
    }
    free(pair);
    return NULL;
}

/* --- children -----------------------------------------------------------------------------------
 */

static void
await_child(pid_t pid, int expected)
{
    int status = -1;
    bool well = pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
                WEXITSTATUS(status) == expected;
    children++;
    wrong += well ? 0 : 1;
}

static void
exec_true(void)
{
    execl("/bin/true", "true", (char *)NULL);
    _exit(127);
}

/* A child neither makes nor frees TLS state: OpenSSL's locks may be in hands that are not there. */
static void
storm_fork(long i)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (i % 4 == 1) {
            exec_true();
        }
        bool well = i % 4 != 2 || make_call(&kept) == ANSWERED;
        _exit(well ? CHILD_STATUS : 1);
    }
    await_child(pid, i % 4 == 1 ? 0 : CHILD_STATUS);
}

static void
storm_vfork(long i)
{
    pid_t pid = vfork(); /* NOLINT: what is tested */
    if (pid == 0) {
        if (i % 2 == 1) {
            execl("/bin/true", "true", (char *)NULL);
        }
        _exit(CHILD_STATUS);
    }
    await_child(pid, i % 2 == 1 ? 0 : CHILD_STATUS);
}

static void
storm_spawn(long i)
{
    pid_t pid = -1;
    char *words[] = {(char[]){"true"}, NULL};
    (void)i;
    if (posix_spawn(&pid, "/bin/true", NULL, NULL, words, environ) != 0) {
        pid = -1;
    }
    await_child(pid, 0);
}

/* --- threads ------------------------------------------------------------------------------------
 */

static void *
call_and_end(void *context)
{
    struct tls_pair *pair = malloc(sizeof *pair);
    open_pair(pair, &contexts);
    count_call(make_call(pair));
    tls_pair_close(pair);
    free(pair);
    if (context != NULL) {
        pthread_exit(NULL);
    }
    return NULL;
}

static void
storm_threads(long i)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, call_and_end, i % 2 == 0 ? NULL : &thread) != 0) {
        wrong++;
        return;
    }
    pthread_join(thread, NULL);
}

static void *
call_until_cancelled(void *context)
{
    struct tls_pair *pair = context;
    for (;;) {
        make_call(pair);
        pthread_testcancel();
    }
    return NULL;
}

static void
storm_cancel(long i)
{
    pthread_t thread;
    struct tls_pair *pair = malloc(sizeof *pair);
    open_pair(pair, &contexts);
    if (pthread_create(&thread, NULL, call_until_cancelled, pair) != 0) {
        wrong++;
        return;
    }
    usleep((useconds_t)(i * 37 % 900)); /* wherever that may be */
    pthread_cancel(thread);
    pthread_join(thread, NULL);
    tls_pair_close(pair);
    free(pair);
}

/* --- signals ------------------------------------------------------------------------------------
 */

static _Atomic long signals;

static void
on_signal(int number)
{
    (void)number;
    signals++;
    errno = EDOM; /* what a handler leaves behind must not be taken for an answer */
}

static void
storm_signals(long count, int flags)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    while (signals < count) {
        count_call(make_call(&kept));
    }
    setitimer(ITIMER_REAL, &never, NULL);
}

/* --- descriptors --------------------------------------------------------------------------------
 */

#define PAIRS 400

/* Closes all, takes the library's numbers too, and looks that nothing was written into them. */
static void
storm_closefrom(long i)
{
    int pairs[PAIRS][2];
    char byte;
    (void)i;
    close_range(3, ~0U, 0);
    for (int k = 0; k < PAIRS; k++) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pairs[k]) != 0) {
            wrong++;
            return;
        }
    }
    count_call(make_call(&kept));
    for (int k = 0; k < PAIRS; k++) {
        for (int end = 0; end < 2; end++) {
            ssize_t got = recv(pairs[k][end], &byte, 1, 0);
            wrong += got < 0 && errno == EAGAIN ? 0 : 1;
        }
    }
    for (int k = 0; k < PAIRS; k++) {
        close(pairs[k][0]);
        close(pairs[k][1]);
    }
}

/* --- the whole ----------------------------------------------------------------------------------
 */

static const struct {
    const char *name;
    void (*once)(long i);
    int signal_flags;
} storms[] = {
    {"fork", storm_fork, 0},       {"vfork", storm_vfork, 0},   {"spawn", storm_spawn, 0},
    {"threads", storm_threads, 0}, {"cancel", storm_cancel, 0}, {"closefrom", storm_closefrom, 0},
    {"restart", NULL, SA_RESTART}, {"interrupt", NULL, 0},
};

int
main(int count, char **words)
{
    long n = count == 4 ? strtol(words[2], NULL, 10) : 0;
    long threads = count == 4 ? strtol(words[3], NULL, 10) : -1;
    size_t kind = 0;
    while (kind < sizeof storms / sizeof storms[0] &&
           (count != 4 || strcmp(storms[kind].name, words[1]) != 0)) {
        kind++;
    }
    if (n <= 0 || threads < 0 || threads > THREADS_MAX ||
        kind == sizeof storms / sizeof storms[0]) {
        fputs("usage: storm KIND N THREADS\n", stderr);
        return 2;
    }
    struct rlimit limit = {4096, 4096};
    setrlimit(RLIMIT_NOFILE, &limit);
    contexts = make_contexts();
    open_pair(&kept, &contexts);
    count_call(make_call(&kept));
    pthread_t running[THREADS_MAX];
    for (long i = 0; i < threads; i++) {
        if (pthread_create(&running[i], NULL, keep_calling, NULL) != 0) {
            return 2;
        }
    }
    while (started < threads) {
        usleep(100);
    }
    for (long i = 0; i < n && storms[kind].once != NULL; i++) {
        storms[kind].once(i);
    }
    if (storms[kind].once == NULL) {
        storm_signals(n, storms[kind].signal_flags);
    }
    stop = true;
    for (long i = 0; i < threads; i++) {
        pthread_join(running[i], NULL);
    }
    count_call(make_call(&kept));
    tls_pair_close(&kept);
    printf("calls %ld, children %ld, wrong %ld\n", calls, children, wrong);
    return wrong == 0 ? 0 : 1;
}
