/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STATE/postgres/        0700, of the server's user: nobody else (but root) reaches the socket
 *   .s.PGSQL.5432        the socket, unless that path is too long for one (see socket_directory)
 *   data/                the cluster; data.new while initdb runs
 *   log                  what initdb and the server say
 *
 * The server is forked by a thread of its own, which waits for it and starts it again should it
 * end by itself. The thread lives as long as the collector, because PR_SET_PDEATHSIG fires when the
 * thread that forked ends: a killed collector takes its server along by a fast shutdown.
 */
#include "collector/cluster.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "collector/cluster_process.h"

/* Crash recovery of a large cluster takes its time; an unready server is no failure before. */
#define NS_CLUSTER_READY_MS 120000
#define NS_CLUSTER_STOP_MS 60000
#define NS_CLUSTER_POLL_MS 20
/* A server that ends by itself is started again, after a pause that doubles. */
#define NS_CLUSTER_PAUSE_MS_MIN 200
#define NS_CLUSTER_PAUSE_MS_MAX 30000
/* A server whose predecessor's backends still end finds its shared memory in use: tries again. */
#define NS_CLUSTER_FIRST_TRIES 20

struct ns_cluster {
    struct ns_cluster_paths paths;
    struct ns_cluster_user user;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pid_t pid; /* of the server; 0: none runs */
    unsigned starts;
    unsigned ends; /* servers that ended by themselves */
    bool stopping;
};

static void
pause_ms(int ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

/* With the lock held: waits for a change, at most ms. */
static void
wait_changed(struct ns_cluster *cluster, int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&cluster->changed, &cluster->lock, &until);
}

static pid_t
start_server(struct ns_cluster *cluster)
{
    char program[PATH_MAX + 16], sockets[PATH_MAX + 32];
    snprintf(program, sizeof program, "%s/postgres", cluster->paths.programs);
    snprintf(sockets, sizeof sockets, "unix_socket_directories=%s", cluster->paths.sockets);
    /* jit: what people ask here is sooner answered than compiled, and systemd's
     * MemoryDenyWriteExecute, which the unit sets, would end a server that compiles. */
    const char *arguments[] = {program,
                               "-D",
                               cluster->paths.data,
                               "-c",
                               "listen_addresses=",
                               "-c",
                               "port=5432",
                               "-c",
                               sockets,
                               "-c",
                               "logging_collector=off",
                               "-c",
                               "log_destination=stderr",
                               "-c",
                               "jit=off",
                               NULL};
    return ns_cluster_spawn(arguments, &cluster->user, cluster->paths.log, SIGINT);
}

static void *
supervise(void *argument)
{
    struct ns_cluster *cluster = argument;
    int pause = NS_CLUSTER_PAUSE_MS_MIN;
    pthread_mutex_lock(&cluster->lock);
    while (!cluster->stopping) {
        struct timespec began, ended;
        clock_gettime(CLOCK_MONOTONIC, &began);
        pid_t pid = start_server(cluster);
        cluster->pid = pid > 0 ? pid : 0;
        cluster->starts++;
        pthread_cond_broadcast(&cluster->changed);
        if (pid > 0) {
            pthread_mutex_unlock(&cluster->lock);
            siginfo_t info;
            /* Without reaping it, so that its pid stays its own until pid is cleared. */
            while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
            }
            pthread_mutex_lock(&cluster->lock);
            waitpid(pid, NULL, 0);
        }
        cluster->pid = 0;
        cluster->ends++;
        pthread_cond_broadcast(&cluster->changed);
        clock_gettime(CLOCK_MONOTONIC, &ended);
        pause = ended.tv_sec - began.tv_sec > 60      ? NS_CLUSTER_PAUSE_MS_MIN
                : pause * 2 < NS_CLUSTER_PAUSE_MS_MAX ? pause * 2
                                                      : NS_CLUSTER_PAUSE_MS_MAX;
        if (!cluster->stopping) {
            wait_changed(cluster, pause);
        }
    }
    pthread_mutex_unlock(&cluster->lock);
    return NULL;
}

/* Waits until the server answers. */
static int
await_ready(struct ns_cluster *cluster, const char *url, char error[static NS_CLUSTER_ERROR_BYTES])
{
    struct timespec now, end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += NS_CLUSTER_READY_MS / 1000;
    for (;;) {
        if (PQping(url) == PQPING_OK) {
            return 0;
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
        pthread_mutex_lock(&cluster->lock);
        unsigned ends = cluster->ends;
        pthread_mutex_unlock(&cluster->lock);
        if (ends >= NS_CLUSTER_FIRST_TRIES || now.tv_sec >= end.tv_sec) {
            char last[256];
            ns_cluster_last_line(cluster->paths.log, last, sizeof last);
            snprintf(error, NS_CLUSTER_ERROR_BYTES, "Postgres did not start: %.200s; see %.200s",
                     last, cluster->paths.log);
            return -ETIMEDOUT;
        }
        pause_ms(NS_CLUSTER_POLL_MS);
    }
}

/* Makes the database `nullspend`, where initdb has made only `postgres`. */
static int
make_database(const struct ns_cluster_paths *paths, char error[static NS_CLUSTER_ERROR_BYTES])
{
    char url[NS_CLUSTER_URL_BYTES];
    int result = ns_cluster_make_url(paths, "postgres", url);
    if (result < 0) {
        return result;
    }
    PGconn *connection = PQconnectdb(url);
    PGresult *answer = PQexec(connection, "create database nullspend");
    const char *state = PQresultErrorField(answer, PG_DIAG_SQLSTATE);
    result = 0;
    if (PQresultStatus(answer) != PGRES_COMMAND_OK &&
        (state == NULL || strcmp(state, "42P04") != 0)) { /* duplicate_database */
        snprintf(error, NS_CLUSTER_ERROR_BYTES, "Postgres did not make its database: %.300s",
                 PQerrorMessage(connection));
        result = -EIO;
    }
    PQclear(answer);
    PQfinish(connection);
    return result;
}

static int
start_supervisor(struct ns_cluster *cluster)
{
    pthread_condattr_t attributes;
    sigset_t all, before;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&cluster->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&cluster->lock, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = -pthread_create(&cluster->thread, NULL, supervise, cluster);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

int
ns_cluster_start(const char *state_directory, struct ns_cluster **cluster,
                 char url[static NS_CLUSTER_URL_BYTES], char error[static NS_CLUSTER_ERROR_BYTES])
{
    struct ns_cluster *c = calloc(1, sizeof *c);
    *cluster = NULL;
    error[0] = '\0';
    if (c == NULL) {
        snprintf(error, NS_CLUSTER_ERROR_BYTES, "no memory");
        return -ENOMEM;
    }
    int result = ns_cluster_prepare(state_directory, &c->paths, &c->user, error);
    if (result == 0) {
        result = ns_cluster_end_leftovers(&c->paths, error);
    }
    if (result == 0) {
        result = ns_cluster_make_url(&c->paths, "nullspend", url);
    }
    if (result == 0) {
        result = start_supervisor(c);
    }
    if (result < 0) {
        if (error[0] == '\0') {
            snprintf(error, NS_CLUSTER_ERROR_BYTES, "cannot start Postgres: %s", strerror(-result));
        }
        free(c);
        return result;
    }
    result = await_ready(c, url, error);
    if (result == 0) {
        result = make_database(&c->paths, error);
    }
    if (result < 0) {
        ns_cluster_stop(c);
        return result;
    }
    *cluster = c;
    return 0;
}

void
ns_cluster_stop(struct ns_cluster *cluster)
{
    if (cluster == NULL) {
        return;
    }
    pthread_mutex_lock(&cluster->lock);
    cluster->stopping = true;
    pthread_cond_broadcast(&cluster->changed);
    /* SIGINT: fast shutdown. SIGQUIT: at once, recovered from at the next start. */
    int signals[] = {SIGINT, SIGQUIT, SIGKILL};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0] && cluster->pid > 0; i++) {
        kill(cluster->pid, signals[i]);
        for (int waited = 0; cluster->pid > 0 && waited < NS_CLUSTER_STOP_MS; waited += 1000) {
            wait_changed(cluster, 1000);
        }
    }
    pthread_mutex_unlock(&cluster->lock);
    pthread_join(cluster->thread, NULL);
    pthread_cond_destroy(&cluster->changed);
    pthread_mutex_destroy(&cluster->lock);
    free(cluster);
}
