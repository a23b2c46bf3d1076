/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "collector/cluster_process.h"

#define NS_CLUSTER_ROOT_USER "postgres"
/* sun_path is 108 bytes with its NUL; "/.s.PGSQL.5432" goes there too. */
#define NS_CLUSTER_SOCKET_DIRECTORY_MAX (107 - 14)
/* A log larger than this is put aside (log.old) at the next start. */
#define NS_CLUSTER_LOG_BYTES_MAX (8 << 20)

/* --- paths ---------------------------------------------------------------------------------- */

/* The state directory where its path can be one of a socket (unix_socket_directories is a list with
 * quoting rules), else a short one made from its hash. */
static void
choose_sockets(struct ns_cluster_paths *paths)
{
    static const uint8_t key[16] = "nullspendcluster";
    bool plain = strlen(paths->root) <= NS_CLUSTER_SOCKET_DIRECTORY_MAX;
    for (const char *p = paths->root; *p != '\0' && plain; p++) {
        plain = isalnum((unsigned char)*p) || strchr("/._+-", *p) != NULL;
    }
    if (plain) {
        memcpy(paths->sockets, paths->root, sizeof paths->sockets);
        return;
    }
    snprintf(paths->sockets, sizeof paths->sockets, "/tmp/nullspend-%016llx",
             (unsigned long long)ns_siphash64(key, paths->root, strlen(paths->root)));
}

int
ns_cluster_find_paths(const char *state_directory, struct ns_cluster_paths *paths)
{
    memset(paths, 0, sizeof *paths);
    if (realpath(state_directory, paths->state) == NULL) {
        return -errno;
    }
    /* Room for the longest file that Postgres makes below. */
    size_t n = strlen(paths->state);
    if (n > PATH_MAX - 512) {
        return -ENAMETOOLONG;
    }
    const char *slash = n == 1 ? "" : "/";
    snprintf(paths->root, sizeof paths->root, "%.3584s%spostgres", paths->state, slash);
    snprintf(paths->data, sizeof paths->data, "%.3600s/data", paths->root);
    snprintf(paths->fresh, sizeof paths->fresh, "%.3600s/data.new", paths->root);
    snprintf(paths->log, sizeof paths->log, "%.3600s/log", paths->root);
    choose_sockets(paths);
    return 0;
}

int
ns_cluster_make_url(const struct ns_cluster_paths *paths, const char *database,
                    char url[static NS_CLUSTER_URL_BYTES])
{
    int n = snprintf(url, NS_CLUSTER_URL_BYTES, "postgresql:///%s?host=", database);
    for (const char *p = paths->sockets; *p != '\0'; p++) {
        if (n >= NS_CLUSTER_URL_BYTES - 32) {
            return -ENAMETOOLONG;
        }
        bool plain = isalnum((unsigned char)*p) || strchr("/._-", *p) != NULL;
        n += snprintf(url + n, (size_t)(NS_CLUSTER_URL_BYTES - n), plain ? "%c" : "%%%02X",
                      (unsigned char)*p);
    }
    snprintf(url + n, (size_t)(NS_CLUSTER_URL_BYTES - n), "&user=nullspend");
    return 0;
}

int
ns_cluster_url(const char *state_directory, char url[static NS_CLUSTER_URL_BYTES])
{
    struct ns_cluster_paths paths;
    struct stat data, sockets;
    if (ns_cluster_find_paths(state_directory, &paths) < 0 || stat(paths.data, &data) < 0) {
        return -ENOENT;
    }
    /* A directory in /tmp may be somebody else's trap. */
    if (lstat(paths.sockets, &sockets) < 0 || !S_ISDIR(sockets.st_mode) ||
        sockets.st_uid != data.st_uid) {
        return -ENOENT;
    }
    return ns_cluster_make_url(&paths, "nullspend", url) < 0 ? -ENOENT : 0;
}

/* --- programs ------------------------------------------------------------------------------- */

static bool
has_programs(const char *directory)
{
    char file[PATH_MAX + 16];
    snprintf(file, sizeof file, "%s/initdb", directory);
    if (access(file, X_OK) < 0) {
        return false;
    }
    snprintf(file, sizeof file, "%s/postgres", directory);
    return access(file, X_OK) == 0;
}

/* The version in a path like /usr/lib/postgresql/15/bin, or 0. */
static long
path_version(const char *path)
{
    const char *digits = strpbrk(path, "0123456789");
    return digits == NULL ? 0 : strtol(digits, NULL, 10);
}

static bool
find_by_pattern(const char *pattern, const char *major, char directory[static PATH_MAX])
{
    glob_t found;
    long best = -1, wanted = major[0] != '\0' ? strtol(major, NULL, 10) : 0;
    if (glob(pattern, 0, NULL, &found) != 0) {
        return false;
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        long version = path_version(found.gl_pathv[i]);
        if (version > best && (wanted == 0 || version == wanted) &&
            has_programs(found.gl_pathv[i])) {
            best = version;
            snprintf(directory, PATH_MAX, "%s", found.gl_pathv[i]);
        }
    }
    globfree(&found);
    return best >= 0;
}

/* What pg_config says of itself. */
static bool
ask_pg_config(const char *question, char *answer, size_t answer_bytes)
{
    char command[64];
    snprintf(command, sizeof command, "pg_config %s 2>/dev/null", question);
    FILE *pipe = popen(command, "re"); // NOLINT(cert-env33-c): a constant command
    if (pipe == NULL) {
        return false;
    }
    bool got = fgets(answer, (int)answer_bytes, pipe) != NULL;
    got = pclose(pipe) == 0 && got;
    if (got) {
        answer[strcspn(answer, "\n")] = '\0';
    }
    return got;
}

int
ns_cluster_find_programs(const char *major, char directory[static PATH_MAX])
{
    /* Debian and its like; then Red Hat and its like; then whatever pg_config belongs to. */
    if (find_by_pattern("/usr/lib/postgresql/*/bin", major, directory) ||
        find_by_pattern("/usr/pgsql-*/bin", major, directory)) {
        return 0;
    }
    char version[64];
    if (ask_pg_config("--version", version, sizeof version) &&
        ask_pg_config("--bindir", directory, PATH_MAX) && has_programs(directory) &&
        (major[0] == '\0' || path_version(version) == strtol(major, NULL, 10))) {
        return 0;
    }
    return -ENOENT;
}

/* --- preparing ------------------------------------------------------------------------------ */

static int
find_user(struct ns_cluster_user *user, char error[static NS_CLUSTER_ERROR_BYTES])
{
    memset(user, 0, sizeof *user);
    user->uid = geteuid();
    user->gid = getegid();
    if (user->uid != 0) {
        return 0;
    }
    const struct passwd *entry = getpwnam(NS_CLUSTER_ROOT_USER);
    if (entry == NULL || entry->pw_uid == 0) {
        snprintf(error, NS_CLUSTER_ERROR_BYTES,
                 "Postgres refuses to run as root, and there is no user %s to run it: "
                 "apt-get install postgresql, or give --database-url",
                 NS_CLUSTER_ROOT_USER);
        return -ENOENT;
    }
    user->change = true;
    user->uid = entry->pw_uid;
    user->gid = entry->pw_gid;
    user->group_count = NS_CLUSTER_GROUPS_MAX;
    if (getgrouplist(NS_CLUSTER_ROOT_USER, entry->pw_gid, user->groups, &user->group_count) < 0) {
        user->group_count = 0; /* more than fit: none is needed */
    }
    if (!ns_cluster_can_enter(user, "/")) {
        snprintf(error, NS_CLUSTER_ERROR_BYTES,
                 "cannot become the user %s, as whom Postgres would run (a user namespace "
                 "without it?): start as another user than root, or give --database-url",
                 NS_CLUSTER_ROOT_USER);
        return -EPERM;
    }
    return 0;
}

/* Makes a directory of the server's user, closed to others; takes one that is such already. */
static int
make_private(const char *path, const struct ns_cluster_user *user,
             char error[static NS_CLUSTER_ERROR_BYTES])
{
    struct stat st;
    bool made = mkdir(path, 0700) == 0;
    if (!made && errno != EEXIST) {
        int result = -errno;
        snprintf(error, NS_CLUSTER_ERROR_BYTES, "cannot make %.300s: %s", path, strerror(-result));
        return result;
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || (made && user->change && fchown(fd, user->uid, user->gid) < 0) ||
        fstat(fd, &st) < 0 || st.st_uid != user->uid || (st.st_mode & 0077) != 0) {
        snprintf(error, NS_CLUSTER_ERROR_BYTES,
                 "%.300s is not a directory of user %u alone (mode 0700): remove it", path,
                 (unsigned)user->uid);
        if (fd >= 0) {
            close(fd);
        }
        return -EPERM;
    }
    close(fd);
    return 0;
}

/* Sees to it that the server's user gets to the state directory. */
static int
open_the_way(const struct ns_cluster_paths *paths, const struct ns_cluster_user *user,
             char error[static NS_CLUSTER_ERROR_BYTES])
{
    struct stat st;
    if (!user->change || ns_cluster_can_enter(user, paths->state)) {
        return 0;
    }
    /* The state directory is our own, so its door may be opened; what lies above is not. */
    if (stat(paths->state, &st) == 0 && (st.st_mode & S_IXOTH) == 0 &&
        chmod(paths->state, (st.st_mode & 07777) | S_IXOTH) == 0 &&
        ns_cluster_can_enter(user, paths->state)) {
        return 0;
    }
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s", paths->state);
    for (char *slash = part + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        if (!ns_cluster_can_enter(user, part)) {
            break;
        }
        *slash = '/';
    }
    snprintf(error, NS_CLUSTER_ERROR_BYTES,
             "user %s, as whom Postgres runs for root, may not enter %.200s: chmod o+x it, choose "
             "another --state-dir, or give --database-url",
             NS_CLUSTER_ROOT_USER, part);
    return -EACCES;
}

static int
remove_entry(const char *path, const struct stat *st, int flag, struct FTW *where)
{
    (void)st;
    (void)flag;
    (void)where;
    return remove(path);
}

/* Makes the cluster's files: in data.new first, so that data is whole or not there. */
static int
run_initdb(const struct ns_cluster_paths *paths, const struct ns_cluster_user *user,
           char error[static NS_CLUSTER_ERROR_BYTES])
{
    char program[PATH_MAX + 16], last[256];
    int status = 0;
    nftw(paths->fresh, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    fprintf(stderr, "nullspendd: making a private Postgres in %s\n", paths->root);
    snprintf(program, sizeof program, "%s/initdb", paths->programs);
    const char *arguments[] = {program,
                               "-D",
                               paths->fresh,
                               "-U",
                               "nullspend",
                               "--auth-local=trust",
                               "--auth-host=reject",
                               "--encoding=UTF8",
                               "--locale=C",
                               "--data-checksums",
                               "--no-instructions",
                               NULL};
    pid_t pid = ns_cluster_spawn(arguments, user, paths->log, SIGTERM);
    if (pid < 0) {
        snprintf(error, NS_CLUSTER_ERROR_BYTES, "cannot run initdb: %s", strerror(-pid));
        return pid;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        ns_cluster_last_line(paths->log, last, sizeof last);
        snprintf(error, NS_CLUSTER_ERROR_BYTES, "initdb failed: %.200s; see %.200s", last,
                 paths->log);
        return -EIO;
    }
    if (rename(paths->fresh, paths->data) < 0) {
        int result = -errno;
        snprintf(error, NS_CLUSTER_ERROR_BYTES, "cannot make %.300s: %s", paths->data,
                 strerror(-result));
        return result;
    }
    return 0;
}

/* The major version that made the cluster; "" where there is none yet. */
static void
read_major(const struct ns_cluster_paths *paths, char major[static 16])
{
    char file[PATH_MAX + 16];
    snprintf(file, sizeof file, "%s/PG_VERSION", paths->data);
    ns_cluster_last_line(file, major, 16);
}

static void
put_log_aside(const struct ns_cluster_paths *paths)
{
    struct stat st;
    char old[PATH_MAX + 8];
    if (lstat(paths->log, &st) == 0 && st.st_size > NS_CLUSTER_LOG_BYTES_MAX) {
        snprintf(old, sizeof old, "%s.old", paths->log);
        rename(paths->log, old);
    }
}

int
ns_cluster_prepare(const char *state_directory, struct ns_cluster_paths *paths,
                   struct ns_cluster_user *user, char error[static NS_CLUSTER_ERROR_BYTES])
{
    char major[16];
    int result = ns_cluster_find_paths(state_directory, paths);
    if (result < 0) {
        snprintf(error, NS_CLUSTER_ERROR_BYTES, "state directory %.200s: %s", state_directory,
                 strerror(-result));
        return result;
    }
    result = find_user(user, error);
    if (result == 0) {
        result = open_the_way(paths, user, error);
    }
    if (result == 0) {
        result = make_private(paths->root, user, error);
    }
    if (result == 0 && strcmp(paths->sockets, paths->root) != 0) {
        result = make_private(paths->sockets, user, error);
    }
    if (result < 0) {
        return result;
    }
    put_log_aside(paths);
    read_major(paths, major);
    if (ns_cluster_find_programs(major, paths->programs) < 0) {
        snprintf(error, NS_CLUSTER_ERROR_BYTES,
                 "no Postgres server%s%s found: apt-get install postgresql%s%s, or give "
                 "--database-url",
                 major[0] != '\0' ? " of version " : "", major, major[0] != '\0' ? "-" : "", major);
        return -ENOENT;
    }
    return major[0] != '\0' ? 0 : run_initdb(paths, user, error);
}
