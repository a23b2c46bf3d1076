/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libpq-fe.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "collector/cluster_process.h"
#include "tests/harness.h"

static char url[NS_CLUSTER_URL_BYTES], error[NS_CLUSTER_ERROR_BYTES];

static int
remove_entry(const char *path, const struct stat *st, int flag, struct FTW *where)
{
    (void)st;
    (void)flag;
    (void)where;
    return remove(path);
}

static void
remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* A state directory of this test; NULL where there is no Postgres. */
static const char *
state_directory(char path[static 64])
{
    char programs[PATH_MAX];
    snprintf(path, 64, "/tmp/nscl.XXXXXX");
    if (ns_cluster_find_programs("", programs) < 0 || mkdtemp(path) == NULL) {
        return NULL;
    }
    return path;
}

/* The first value of a query's answer; "" where it failed. */
static const char *
ask(const char *query)
{
    static char answer[256];
    PGconn *connection = PQconnectdb(url);
    PGresult *result = PQexec(connection, query);
    answer[0] = '\0';
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0) {
        snprintf(answer, sizeof answer, "%s", PQgetvalue(result, 0, 0));
    }
    PQclear(result);
    PQfinish(connection);
    return answer;
}

static pid_t
postmaster(const char *state)
{
    char path[256];
    snprintf(path, sizeof path, "%s/postgres/data/postmaster.pid", state);
    char *text = ns_test_read_file(path, NULL);
    pid_t pid = text != NULL ? (pid_t)strtol(text, NULL, 10) : 0;
    free(text);
    return pid;
}

/* A process that starts the cluster, as a collector would, and says so; it is killed by its pid. */
static pid_t
start_elsewhere(const char *state)
{
    int ready[2];
    char byte = 0;
    if (pipe(ready) < 0) {
        return -1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        struct ns_cluster *cluster;
        byte = ns_cluster_start(state, &cluster, url, error) == 0 ? 'y' : 'n';
        if (write(ready[1], &byte, 1) == 1) {
            pause();
        }
        _exit(1);
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1 || byte != 'y') {
        byte = 'n';
    }
    close(ready[0]);
    return byte == 'y' ? pid : -1;
}

static void
kill_and_wait(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

TEST(a_cluster_starts_from_nothing_answers_and_stops)
{
    char state[64];
    struct ns_cluster *cluster;
    struct stat st;
    if (state_directory(state) == NULL) {
        SKIP("a Postgres server");
    }
    CHECK_INT(ns_cluster_url(state, url), -ENOENT);
    int result = ns_cluster_start(state, &cluster, url, error);
    CHECK_STR(error, "");
    REQUIRE(result == 0);
    CHECK_STR(ask("select current_database() || ' ' || current_user"), "nullspend nullspend");
    CHECK_STR(ask("show listen_addresses"), "");
    CHECK_STR(ask("show jit"), "off");
    char known[NS_CLUSTER_URL_BYTES], socket_directory[128];
    CHECK_INT(ns_cluster_url(state, known), 0);
    CHECK_STR(known, url);
    snprintf(socket_directory, sizeof socket_directory, "%s/postgres", state);
    CHECK(stat(socket_directory, &st) == 0 && (st.st_mode & 0777) == 0700);
    CHECK(st.st_uid != 0); /* Postgres never runs as root */
    pid_t pid = postmaster(state);
    CHECK(pid > 1 && kill(pid, 0) == 0);
    ns_cluster_stop(cluster);
    CHECK(kill(pid, 0) < 0);
    CHECK_INT(postmaster(state), 0); /* removed by an orderly shutdown */
    remove_tree(state);
}

TEST(a_cluster_keeps_its_data_over_a_restart)
{
    char state[64];
    struct ns_cluster *cluster;
    if (state_directory(state) == NULL) {
        SKIP("a Postgres server");
    }
    REQUIRE(ns_cluster_start(state, &cluster, url, error) == 0);
    ask("create table kept as select 42 as n");
    ns_cluster_stop(cluster);
    REQUIRE(ns_cluster_start(state, &cluster, url, error) == 0);
    CHECK_STR(ask("select n from kept"), "42");
    ns_cluster_stop(cluster);
    remove_tree(state);
}

TEST(a_server_that_is_killed_is_started_again)
{
    char state[64];
    struct ns_cluster *cluster;
    if (state_directory(state) == NULL) {
        SKIP("a Postgres server");
    }
    REQUIRE(ns_cluster_start(state, &cluster, url, error) == 0);
    pid_t first = postmaster(state);
    REQUIRE(first > 1);
    kill(first, SIGKILL);
    while (PQping(url) != PQPING_OK || postmaster(state) == first) {
        usleep(10000);
    }
    CHECK_STR(ask("select 1"), "1");
    ns_cluster_stop(cluster);
    remove_tree(state);
}

TEST(a_killed_collector_takes_its_server_along_and_the_next_one_starts)
{
    char state[64];
    struct ns_cluster *cluster;
    if (state_directory(state) == NULL) {
        SKIP("a Postgres server");
    }
    pid_t collector = start_elsewhere(state);
    REQUIRE(collector > 0);
    REQUIRE(ns_cluster_url(state, url) == 0);
    ask("create table kept as select 42 as n");
    pid_t left = postmaster(state);
    kill_and_wait(collector);
    int result = ns_cluster_start(state, &cluster, url, error);
    CHECK_STR(error, "");
    REQUIRE(result == 0);
    /* Gone, or a zombie that its new parent has not buried yet: it stands in no directory. */
    char place[64], text[8];
    snprintf(place, sizeof place, "/proc/%d/cwd", (int)left);
    CHECK(readlink(place, text, sizeof text) < 0);
    CHECK(postmaster(state) != left);
    CHECK_STR(ask("select n from kept"), "42");
    ns_cluster_stop(cluster);
    remove_tree(state);
}

TEST(a_server_does_not_outlive_its_collector)
{
    char state[64], place[64], text[8];
    if (state_directory(state) == NULL) {
        SKIP("a Postgres server");
    }
    pid_t collector = start_elsewhere(state);
    REQUIRE(collector > 0);
    snprintf(place, sizeof place, "/proc/%d/cwd", (int)postmaster(state));
    CHECK(readlink(place, text, sizeof text) > 0);
    kill_and_wait(collector);
    bool gone = false;
    for (int tries = 0; tries < 3000 && !gone; tries++) { /* a fast shutdown takes its moment */
        gone = readlink(place, text, sizeof text) < 0;
        usleep(10000);
    }
    CHECK(gone);
    if (!gone) {
        kill(postmaster(state), SIGQUIT);
    }
    remove_tree(state);
}

TEST(a_cluster_recovers_when_collector_and_server_are_both_killed)
{
    char state[64];
    struct ns_cluster *cluster;
    if (state_directory(state) == NULL) {
        SKIP("a Postgres server");
    }
    pid_t collector = start_elsewhere(state);
    REQUIRE(collector > 0);
    REQUIRE(ns_cluster_url(state, url) == 0);
    ask("create table kept as select 42 as n");
    pid_t left = postmaster(state);
    kill(collector, SIGSTOP); /* so that it starts no other server */
    kill(left, SIGKILL);
    kill_and_wait(collector);
    int result = ns_cluster_start(state, &cluster, url, error);
    CHECK_STR(error, "");
    REQUIRE(result == 0);
    CHECK_STR(ask("select n from kept"), "42");
    ns_cluster_stop(cluster);
    remove_tree(state);
}

/* Writes a file into the cluster, as its owner's. */
static void
leave_file(const char *state, const char *name, const char *text)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof path, "%s/postgres/data", state);
    REQUIRE(stat(path, &st) == 0);
    snprintf(path, sizeof path, "%s/postgres/%s", state, name);
    FILE *file = fopen(path, "w");
    REQUIRE(file != NULL);
    fputs(text, file);
    fclose(file);
    CHECK_INT(chown(path, st.st_uid, st.st_gid), 0);
}

TEST(a_pid_file_whose_number_another_program_has_does_not_keep_it_from_starting)
{
    char state[64], text[64];
    struct ns_cluster *cluster;
    if (state_directory(state) == NULL) {
        SKIP("a Postgres server");
    }
    REQUIRE(ns_cluster_start(state, &cluster, url, error) == 0);
    ns_cluster_stop(cluster);
    /* A process of the server's own user, which Postgres could not tell from a server. */
    struct ns_cluster_paths paths;
    struct ns_cluster_user user;
    REQUIRE(ns_cluster_prepare(state, &paths, &user, error) == 0);
    const char *arguments[] = {"/bin/sleep", "1000", NULL};
    pid_t other = ns_cluster_spawn(arguments, &user, paths.log, SIGKILL);
    REQUIRE(other > 0);
    snprintf(text, sizeof text, "%d\n", (int)other);
    leave_file(state, "data/postmaster.pid", text);
    leave_file(state, ".s.PGSQL.5432.lock", text);
    int result = ns_cluster_start(state, &cluster, url, error);
    CHECK_STR(error, "");
    CHECK_INT(kill(other, 0), 0); /* it is nobody's to end */
    kill_and_wait(other);
    REQUIRE(result == 0);
    CHECK_STR(ask("select 1"), "1");
    ns_cluster_stop(cluster);
    remove_tree(state);
}

TEST(a_cluster_half_made_is_made_again)
{
    char state[64];
    struct ns_cluster *cluster;
    struct ns_cluster_paths paths;
    struct ns_cluster_user user;
    if (state_directory(state) == NULL) {
        SKIP("a Postgres server");
    }
    REQUIRE(ns_cluster_prepare(state, &paths, &user, error) == 0);
    REQUIRE(rename(paths.data, paths.fresh) == 0); /* as if killed before the rename */
    REQUIRE(ns_cluster_start(state, &cluster, url, error) == 0);
    CHECK_STR(ask("select 1"), "1");
    CHECK(access(paths.fresh, F_OK) < 0);
    ns_cluster_stop(cluster);
    remove_tree(state);
}

TEST(a_path_too_long_or_too_odd_for_a_socket_gets_a_short_one)
{
    char state[64], odd[256];
    struct ns_cluster *cluster;
    if (state_directory(state) == NULL) {
        SKIP("a Postgres server");
    }
    CHECK_INT(chmod(state, 0755), 0);
    snprintf(odd, sizeof odd, "%s/a, \"b\" 100%% %0100d", state, 1);
    REQUIRE(mkdir(odd, 0755) == 0);
    int result = ns_cluster_start(odd, &cluster, url, error);
    CHECK_STR(error, "");
    REQUIRE(result == 0);
    CHECK_STR(ask("select 1"), "1");
    struct ns_cluster_paths paths;
    char known[NS_CLUSTER_URL_BYTES];
    CHECK_INT(ns_cluster_find_paths(odd, &paths), 0);
    CHECK(strncmp(paths.sockets, "/tmp/nullspend-", 15) == 0);
    CHECK_INT(ns_cluster_url(odd, known), 0);
    CHECK_STR(known, url);
    ns_cluster_stop(cluster);
    remove_tree(paths.sockets);
    remove_tree(state);
}

TEST(a_directory_that_the_server_may_not_enter_is_named)
{
    char state[64], inner[128], named[128];
    struct ns_cluster *cluster;
    if (state_directory(state) == NULL) {
        SKIP("a Postgres server");
    }
    if (geteuid() != 0) {
        remove_tree(state);
        SKIP("root, for whom Postgres runs as another user");
    }
    snprintf(inner, sizeof inner, "%s/inner", state);
    REQUIRE(mkdir(inner, 0755) == 0);
    CHECK_INT(ns_cluster_start(inner, &cluster, url, error), -EACCES); /* state itself is 0700 */
    snprintf(named, sizeof named, "may not enter %s:", state);
    CHECK(strstr(error, named) != NULL);
    remove_tree(state);
}

TEST(a_missing_state_directory_and_a_missing_server_are_said)
{
    char programs[PATH_MAX];
    struct ns_cluster *cluster;
    CHECK_INT(ns_cluster_start("/nonexistent/nullspend", &cluster, url, error), -ENOENT);
    CHECK(strstr(error, "/nonexistent/nullspend") != NULL);
    CHECK_INT(ns_cluster_find_programs("1", programs), -ENOENT);
}
