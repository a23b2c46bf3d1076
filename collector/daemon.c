/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/daemon.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "collector/cluster.h"
#include "collector/gate.h"
#include "collector/http.h"
#include "collector/notifier.h"
#include "collector/service.h"
#include "collector/status.h"
#include "protocol/zmtp.h"

#define SECOND_NS INT64_C(1000000000)
/* While something waits for the end of a process or for Postgres, the loop looks this often. */
#define SOON_NS INT64_C(20000000)
#define STOP_TURNS_MAX 256
/* Batches taken before the other events are looked at. */
#define TURNS_MAX 8
/* A private cluster that did not start is tried again. */
#define CLUSTER_RETRY_NS (30 * SECOND_NS)

/* Tags of epoll events, above their numbers; gate.c adds its sockets itself, with tag 0. */
enum tag {
    TAG_GATE,
    TAG_PROCESS,
    TAG_SIGNAL,
    TAG_SYNCER,
    TAG_STORE,
    TAG_HTTP,
    TAG_PRICES,
    TAG_CLUSTER
};

struct daemon {
    const struct ns_options *options;
    struct ns_gate *gate;
    struct ns_http *http;
    struct ns_options effective; /* options with the default price file */
    char journal_directory[NS_PATH_BYTES + 16];
    int lock_fd, signal_fd, inotify_fd;
    bool stop, ready;

    /* the private cluster, started by a thread of its own */
    struct ns_cluster *cluster;
    pthread_t cluster_thread;
    bool cluster_joinable;
    int cluster_fd; /* eventfd: the thread is done */
    int cluster_result;
    int64_t cluster_retry_at_ns;
    char cluster_url[NS_CLUSTER_URL_BYTES];
    char cluster_error[NS_CLUSTER_ERROR_BYTES]; /* the thread's */
    char cluster_said[NS_CLUSTER_ERROR_BYTES];  /* what it said last, for status */
};

static int
watch(const struct daemon *daemon, int fd, enum tag tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)tag << 32};
    if (fd < 0 || epoll_ctl(daemon->gate->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        return -errno;
    }
    return 0;
}

/* --- Postgres ----------------------------------------------------------------------------------
 */

static void
start_store(struct daemon *daemon, const char *url)
{
    struct ns_gate *gate = daemon->gate;
    struct ns_store_options options = {.database_url = url,
                                       .journal_directory = daemon->journal_directory,
                                       .collector_version = NS_VERSION};
    snprintf(gate->database_url, sizeof gate->database_url, "%s", url);
    char path[NS_PATH_BYTES + 16];
    snprintf(path, sizeof path, "%s/database.url", daemon->options->state_directory);
    const struct group *group = getgrnam("nullspend");
    int error = ns_write_file(path, url, strlen(url), group != NULL ? 0640 : 0600);
    if (error == 0 && group != NULL && chown(path, (uid_t)-1, group->gr_gid) != 0) {
        error = errno == EPERM ? 0 : -errno;
    }
    if (error != 0) {
        ns_log("%s: %s", path, strerror(-error));
    }
    error = ns_store_start(&options, &gate->store);
    if (error != 0) {
        ns_log("the Postgres follower does not start: %s", strerror(-error));
        gate->store = NULL;
        return;
    }
    watch(daemon, ns_store_event_fd(gate->store), TAG_STORE);
    ns_store_durable(gate->store, ns_journal_durable(gate->journal));
}

static void *
run_cluster(void *argument)
{
    struct daemon *daemon = argument;
    daemon->cluster_result = ns_cluster_start(daemon->options->state_directory, &daemon->cluster,
                                              daemon->cluster_url, daemon->cluster_error);
    uint64_t one = 1;
    ssize_t written = write(daemon->cluster_fd, &one, sizeof one);
    (void)written;
    return NULL;
}

static void
start_cluster(struct daemon *daemon)
{
    daemon->cluster_retry_at_ns = 0;
    int error = pthread_create(&daemon->cluster_thread, NULL, run_cluster, daemon);
    daemon->cluster_joinable = error == 0;
    if (error != 0) {
        ns_log("the private Postgres: %s", strerror(error));
        daemon->cluster_retry_at_ns = ns_monotonic_ns() + CLUSTER_RETRY_NS;
    }
}

static void
say_ready(struct daemon *daemon)
{
    if (!daemon->ready) {
        daemon->ready = true;
        fputs("ready\n", stderr);
        ns_notify("READY=1");
        ns_background_ready();
    }
}

/* The thread that starts the private cluster is done. */
static void
take_cluster(struct daemon *daemon)
{
    uint64_t count;
    ssize_t got = read(daemon->cluster_fd, &count, sizeof count);
    (void)got;
    pthread_join(daemon->cluster_thread, NULL);
    daemon->cluster_joinable = false;
    struct ns_gate *gate = daemon->gate;
    if (daemon->cluster_result == 0) {
        gate->cluster_error = NULL;
        start_store(daemon, daemon->cluster_url);
        say_ready(daemon);
        return;
    }
    ns_log("the private Postgres does not start: %s", daemon->cluster_error);
    memcpy(daemon->cluster_said, daemon->cluster_error, sizeof daemon->cluster_said);
    gate->cluster_error = daemon->cluster_said;
    if (ns_journal_last(gate->journal) == 0) {
        daemon->stop = true; /* nothing to govern by yet: better to say so at once */
        gate->failure = daemon->cluster_result;
        return;
    }
    daemon->cluster_retry_at_ns = ns_monotonic_ns() + CLUSTER_RETRY_NS;
    say_ready(daemon); /* cached budgets hold without it */
}

/* --- prices ------------------------------------------------------------------------------------
 */

static void
reload_prices(struct daemon *daemon)
{
    char error[NS_PRICES_ERROR_BYTES];
    int result = ns_prices_reload(daemon->gate->prices, error);
    if (result < 0) {
        ns_log("%s", error);
    } else if (result > 0) {
        ns_log("prices %s are in force", ns_prices_version(daemon->gate->prices));
    } else {
        ns_log("%s is not there; prices %s stay in force", daemon->effective.prices,
               ns_prices_version(daemon->gate->prices));
    }
}

/* Files are replaced by renaming as often as they are written: their directory is watched. */
static void
watch_prices(struct daemon *daemon)
{
    char directory[NS_PATH_BYTES];
    snprintf(directory, sizeof directory, "%s", daemon->effective.prices);
    char *slash = strrchr(directory, '/');
    if (slash == NULL) {
        snprintf(directory, sizeof directory, ".");
    } else {
        slash[slash == directory ? 1 : 0] = '\0';
    }
    daemon->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (daemon->inotify_fd < 0 ||
        inotify_add_watch(daemon->inotify_fd, directory, IN_CLOSE_WRITE | IN_MOVED_TO) < 0 ||
        watch(daemon, daemon->inotify_fd, TAG_PRICES) != 0) {
        ns_log("%s is not watched for new prices (%s); send SIGHUP", directory, strerror(errno));
    }
}

static void
read_inotify(struct daemon *daemon)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    const char *slash = strrchr(daemon->effective.prices, '/');
    const char *name = slash != NULL ? slash + 1 : daemon->effective.prices;
    bool mine = false;
    ssize_t count;
    while ((count = read(daemon->inotify_fd, events, sizeof events)) > 0) {
        for (ssize_t at = 0; at < count;) {
            const struct inotify_event *event = (const void *)(events + at);
            mine = mine || (event->mask & IN_Q_OVERFLOW) != 0 ||
                   (event->len > 0 && strcmp(event->name, name) == 0);
            at += (ssize_t)(sizeof *event + event->len);
        }
    }
    if (mine) {
        reload_prices(daemon);
    }
}

/* --- starting ----------------------------------------------------------------------------------
 */

static int
read_api_keys(struct ns_gate *gate, const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        ns_log("%s: %s", path, strerror(errno));
        return -errno;
    }
    gate->api_key = calloc(NS_API_KEYS_MAX, sizeof *gate->api_key);
    char line[NS_API_KEY_BYTES_MAX + 3];
    int number = 0;
    int error = gate->api_key == NULL ? -ENOMEM : 0;
    while (error == 0 && fgets(line, sizeof line, file) != NULL) {
        number++;
        size_t bytes = strcspn(line, "\r\n");
        bool whole = line[bytes] != '\0' || feof(file);
        line[bytes] = '\0';
        if (!whole || gate->api_key_count == NS_API_KEYS_MAX) {
            ns_log("%s, line %d: %s", path, number, whole ? "too many keys" : "too long");
            error = -EINVAL;
        } else if (bytes > 0 && line[0] != '#') {
            char *key = gate->api_key[gate->api_key_count++].text;
            ns_text_copy(ns_text_of(line), key, sizeof gate->api_key->text);
        }
    }
    fclose(file);
    if (error == 0 && gate->api_key_count == 0) {
        ns_log("%s has no key", path);
        error = -EINVAL;
    }
    return error;
}

static int
open_state(struct daemon *daemon)
{
    const char *directory = daemon->options->state_directory;
    char error[NS_RECOVERY_ERROR_BYTES] = "";
    int result = ns_make_directory(directory, 0700);
    if (result != 0) {
        ns_log("the state directory %s: %s; give --state-dir another", directory,
               strerror(-result));
        return result;
    }
    result = daemon->lock_fd = ns_lock_take(directory, error);
    if (result < 0) {
        ns_log("%s", error);
        return result;
    }
    result = ns_secret_file(directory, "hash.key", daemon->gate->hash_key,
                            sizeof daemon->gate->hash_key);
    if (result != 0) {
        ns_log("%s/hash.key: %s", directory, strerror(-result));
        return result;
    }
    snprintf(daemon->journal_directory, sizeof daemon->journal_directory, "%s/journal", directory);
    result = ns_make_directory(daemon->journal_directory, 0700);
    if (result != 0) {
        ns_log("%s: %s", daemon->journal_directory, strerror(-result));
    }
    return result;
}

static int
open_journal(struct daemon *daemon)
{
    struct ns_gate *gate = daemon->gate;
    char error[NS_JOURNAL_ERROR_BYTES] = "";
    int result = ns_journal_open(daemon->journal_directory, &gate->journal, error);
    if (error[0] != '\0') {
        ns_log("%s", error);
    }
    if (result != 0) {
        return result;
    }
    char why[NS_RECOVERY_ERROR_BYTES];
    uint64_t replayed = 0;
    result =
        ns_state_recover(gate->journal, daemon->journal_directory, &gate->state, &replayed, why);
    if (why[0] != '\0') {
        ns_log("%s", why);
    }
    if (result != 0) {
        return result;
    }
    if (gate->state.sequence > 0) {
        ns_log("%llu journal records replayed: %zu budgets, %zu open calls",
               (unsigned long long)replayed, ns_ledger_budget_count(gate->state.ledger),
               ns_calls_count(gate->state.calls));
    }
    gate->snapshot_sequence = gate->state.sequence - replayed;
    result = ns_syncer_start(gate->journal, &gate->syncer);
    return result != 0 ? result : ns_gate_budgets_known(gate);
}

static void
adopt(void *context, const struct ns_owner *owner)
{
    struct daemon *daemon = context;
    if (ns_peers_adopt(daemon->gate->peers, owner, ns_monotonic_ns()) != 0) {
        ns_log("a process of the journal cannot be watched: its holds stay until it reports");
    }
}

static int
http_page(void *context, const char *path, struct ns_buffer *body, const char **content_type)
{
    const struct daemon *daemon = context;
    if (strcmp(path, "/healthz") == 0) {
        return ns_status_health(daemon->gate, body) ? 200 : 503;
    }
    if (strcmp(path, "/metrics") == 0) {
        *content_type = "text/plain; version=0.0.4; charset=utf-8";
        ns_status_metrics(daemon->gate, body);
        return 200;
    }
    return 404;
}

static int
open_http(struct daemon *daemon)
{
    const char *address = daemon->options->http;
    if (address[0] == '\0') {
        return 0;
    }
    int result =
        ns_http_open(address, daemon->gate->epoll_fd, TAG_HTTP, http_page, daemon, &daemon->http);
    if (result == -EADDRINUSE && !daemon->options->http_given) {
        ns_log("http %s is taken; going on without /metrics (--http HOST:PORT gives another)",
               address);
        return 0;
    }
    if (result != 0) {
        ns_log("http %s: %s", address, strerror(-result));
    }
    return result;
}

static int
open_gate(struct daemon *daemon)
{
    struct ns_gate *gate = daemon->gate;
    char error[NS_PRICES_ERROR_BYTES] = "";
    int result = ns_prices_open(daemon->effective.prices, daemon->options->unknown_model,
                                &gate->prices, error);
    if (error[0] != '\0') {
        ns_log("%s", error);
    }
    if (result != 0) {
        return result;
    }
    if (daemon->options->prices[0] != '\0' && access(daemon->options->prices, F_OK) != 0) {
        ns_log("%s: %s; the built-in prices %s are in force until it comes",
               daemon->options->prices, strerror(errno), ns_prices_version(gate->prices));
    }
    gate->peers = ns_peers_new(gate->epoll_fd, TAG_PROCESS, gate->hash_key);
    if (gate->peers == NULL) {
        return -ENOMEM;
    }
    ns_ledger_visit_owners(gate->state.ledger, adopt, daemon);
    gate->now_ns = ns_realtime_ns();
    ns_gate_write_lost(gate, NULL); /* a crash came between a loss and its rows */
    result = ns_gate_open(gate, error);
    if (result != 0) {
        ns_log("%s", error);
        return result;
    }
    watch(daemon, ns_syncer_event_fd(gate->syncer), TAG_SYNCER);
    watch_prices(daemon);
    return open_http(daemon);
}

/* One descriptor a connection and one a process. */
static void
raise_limits(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int
start(struct daemon *daemon)
{
    struct ns_gate *gate = daemon->gate;
    gate->options = daemon->options;
    gate->started_at_ns = ns_monotonic_ns();
    gate->instance = ns_uuid_new();
    gate->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    daemon->cluster_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    raise_limits();
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread is there */
    signal(SIGPIPE, SIG_IGN);
    daemon->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    int result = watch(daemon, daemon->signal_fd, TAG_SIGNAL);
    result = result != 0 ? result : watch(daemon, daemon->cluster_fd, TAG_CLUSTER);
    if (result != 0) {
        ns_log("%s", strerror(-result));
        return result;
    }
    daemon->effective = *daemon->options;
    if (daemon->effective.prices[0] == '\0') {
        int count = snprintf(daemon->effective.prices, sizeof daemon->effective.prices,
                             "%.4000s/prices.tsv", daemon->options->state_directory);
        (void)count;
    }
    if (daemon->options->api_key_file[0] != '\0') {
        result = read_api_keys(gate, daemon->options->api_key_file);
    }
    result = result != 0 ? result : open_state(daemon);
    result = result != 0 ? result : open_journal(daemon);
    result = result != 0 ? result : open_gate(daemon);
    if (result != 0) {
        return result;
    }
    gate->private_cluster = daemon->options->database_url[0] == '\0';
    if (gate->private_cluster) {
        start_cluster(daemon);
    } else {
        start_store(daemon, daemon->options->database_url);
        say_ready(daemon);
    }
    return 0;
}

/* --- the loop ----------------------------------------------------------------------------------
 */

static void
read_signals(struct daemon *daemon)
{
    struct signalfd_siginfo info;
    while (read(daemon->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            reload_prices(daemon);
        } else {
            daemon->stop = true;
        }
    }
}

static void
take_durable(struct daemon *daemon)
{
    struct ns_gate *gate = daemon->gate;
    ns_syncer_drain(gate->syncer);
    int error = ns_syncer_error(gate->syncer);
    if (error != 0 && gate->failure == 0) {
        gate->failure = error;
        ns_log("the journal: %s; nothing more is answered", strerror(-error));
    }
    ns_gate_acknowledge(gate, NS_GATE_ACKS_A_TURN); /* the rest with the next turns */
    if (gate->store != NULL) {
        ns_store_durable(gate->store, ns_journal_durable(gate->journal));
    }
}

static void
handle_event(struct daemon *daemon, uint64_t data)
{
    uint32_t number = (uint32_t)data;
    int64_t now = ns_monotonic_ns();
    switch ((enum tag)(data >> 32)) {
    case TAG_GATE:
        ns_gate_event(daemon->gate, number);
        break;
    case TAG_PROCESS:
        ns_peers_died(daemon->gate->peers, number, now);
        break;
    case TAG_SIGNAL:
        read_signals(daemon);
        break;
    case TAG_SYNCER:
        take_durable(daemon);
        break;
    case TAG_STORE:
        ns_gate_store_event(daemon->gate);
        break;
    case TAG_HTTP:
        ns_http_event(daemon->http, number, now);
        break;
    case TAG_PRICES:
        read_inotify(daemon);
        break;
    case TAG_CLUSTER:
        take_cluster(daemon);
        break;
    }
}

static void
each_second(struct daemon *daemon, int64_t now)
{
    struct ns_gate *gate = daemon->gate;
    gate->tick_at_ns = now;
    ns_gate_tick(gate, now);
    if (daemon->http != NULL) {
        ns_http_expire(daemon->http, now);
    }
    /* Here and not with the store: by now standard error is where it stays, which is the notifier's
     * too. */
    if (gate->notifier != NULL) {
        ns_notifier_tick(gate->notifier, now);
    } else if (gate->store != NULL) {
        gate->notifier = ns_notifier_start(gate->database_url);
    }
    if (daemon->cluster_retry_at_ns != 0 && now >= daemon->cluster_retry_at_ns) {
        start_cluster(daemon);
    }
}

/* Milliseconds until the loop must look again without being woken. */
static int
patience(const struct daemon *daemon, bool busy, int64_t now)
{
    const struct ns_gate *gate = daemon->gate;
    if (busy) {
        return 0;
    }
    int64_t wait = gate->tick_at_ns + SECOND_NS - now;
    if ((ns_peers_waiting(gate->peers) || gate->sync_count > 0) && wait > SOON_NS) {
        wait = SOON_NS;
    }
    return wait <= 0 ? 0 : (int)(wait / 1000000) + 1;
}

static void
loop(struct daemon *daemon)
{
    struct ns_gate *gate = daemon->gate;
    struct epoll_event events[64];
    while (!daemon->stop && gate->failure == 0) {
        /* After anything is sent the sockets are asked again before the loop sleeps: sending may
         * have consumed libzmq's sign that a message came. */
        bool busy = ns_gate_turn(gate);
        for (int turns = 1; busy && turns < TURNS_MAX; turns++) {
            busy = ns_gate_turn(gate);
        }
        int64_t now = ns_monotonic_ns();
        int count = epoll_wait(gate->epoll_fd, events, 64, patience(daemon, busy, now));
        for (int i = 0; i < count; i++) {
            handle_event(daemon, events[i].data.u64);
        }
        now = ns_monotonic_ns();
        if (ns_peers_waiting(gate->peers)) {
            ns_gate_bury(gate, now);
            ns_gate_flush(gate);
        }
        if (gate->sync_count > 0) {
            ns_gate_answer_syncs(gate);
        }
        if (now - gate->tick_at_ns >= SECOND_NS) {
            each_second(daemon, now);
        }
    }
}

/* --- ending ------------------------------------------------------------------------------------
 */

/* What has arrived is answered and made durable; Postgres gets it, if it is there. */
static void
flush_all(struct daemon *daemon)
{
    struct ns_gate *gate = daemon->gate;
    ns_gate_unbind(gate);
    /* libzmq closes the connections with their address. What they had sent is taken and made
     * durable; who waited for an answer goes by its policy, or reports again and is a duplicate
     * then. */
    for (int turns = 0; turns < STOP_TURNS_MAX && ns_gate_turn(gate); turns++) {
    }
    ns_gate_snapshot(gate);
    ns_gate_counters(gate);
    ns_syncer_want(gate->syncer, ns_journal_written(gate->journal), true);
    ns_syncer_stop(gate->syncer); /* when that is done */
    gate->syncer = NULL;
    ns_gate_acknowledge(gate, UINT32_MAX);
}

static void
finish(struct daemon *daemon)
{
    struct ns_gate *gate = daemon->gate;
    if (gate->syncer != NULL && gate->zmq != NULL) {
        ns_notify("STOPPING=1");
        flush_all(daemon);
    }
    ns_http_close(daemon->http);
    ns_notifier_stop(gate->notifier);
    ns_syncer_stop(gate->syncer); /* where the gate was never opened */
    if (gate->journal != NULL && gate->store != NULL) {
        ns_store_durable(gate->store, ns_journal_durable(gate->journal));
    }
    if (gate->store != NULL) {
        ns_store_stop(gate->store, ns_monotonic_ns() + NS_STOP_STORE_NS);
    }
    if (daemon->cluster_joinable) {
        pthread_join(daemon->cluster_thread, NULL);
    }
    if (daemon->cluster != NULL) {
        ns_cluster_stop(daemon->cluster);
    }
    ns_gate_close(gate);
    if (gate->journal != NULL) {
        ns_journal_close(gate->journal);
    }
    ns_peers_free(gate->peers);
    ns_prices_free(gate->prices);
    ns_state_free(&gate->state);
    free(gate->api_key);
    const int fds[] = {daemon->signal_fd, daemon->inotify_fd, daemon->cluster_fd, gate->epoll_fd,
                       daemon->lock_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

int
ns_daemon_run(const struct ns_options *options)
{
    struct daemon *daemon = calloc(1, sizeof *daemon);
    struct ns_gate *gate = calloc(1, sizeof *gate);
    if (daemon == NULL || gate == NULL) {
        ns_log("no memory");
        free(daemon);
        free(gate);
        return 1;
    }
    daemon->options = options;
    daemon->gate = gate;
    daemon->lock_fd = daemon->signal_fd = daemon->inotify_fd = daemon->cluster_fd = -1;
    gate->epoll_fd = -1;
    int result = start(daemon);
    if (result == 0) {
        loop(daemon);
    }
    bool failed = result != 0 || gate->failure != 0;
    finish(daemon);
    free(gate);
    free(daemon);
    return failed ? 1 : 0;
}
