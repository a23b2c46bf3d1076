/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of cluster.c: where the private cluster lives (cluster_place.c), its processes
 * (cluster_process.c). */
#ifndef NS_COLLECTOR_CLUSTER_PROCESS_H
#define NS_COLLECTOR_CLUSTER_PROCESS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "collector/cluster.h"

#define NS_CLUSTER_GROUPS_MAX 64

/* As whom the server runs. */
struct ns_cluster_user {
    bool change; /* false: as whoever we are */
    uid_t uid;
    gid_t gid;
    gid_t groups[NS_CLUSTER_GROUPS_MAX];
    int group_count;
};

struct ns_cluster_paths {
    char state[PATH_MAX];    /* STATE, resolved */
    char root[PATH_MAX];     /* STATE/postgres */
    char data[PATH_MAX];     /* STATE/postgres/data */
    char fresh[PATH_MAX];    /* STATE/postgres/data.new, while initdb runs */
    char log[PATH_MAX];      /* STATE/postgres/log */
    char sockets[PATH_MAX];  /* directory of the socket */
    char programs[PATH_MAX]; /* directory of initdb and postgres */
};

/* Fills all but programs. Returns 0, -ENAMETOOLONG, or what realpath says. */
int ns_cluster_find_paths(const char *state_directory, struct ns_cluster_paths *paths);

/* Directory of the server's programs: of version `major` ("15") where that is not "", else the
 * newest. Returns 0 or -ENOENT. */
int ns_cluster_find_programs(const char *major, char directory[static PATH_MAX]);

/* Everything that must be there before the server can be started: paths, user, directories, and
 * the cluster itself (initdb). Returns 0, or a negative errno and error. */
int ns_cluster_prepare(const char *state_directory, struct ns_cluster_paths *paths,
                       struct ns_cluster_user *user, char error[static NS_CLUSTER_ERROR_BYTES]);

/* libpq's URL of a database of the cluster. Returns 0 or -ENAMETOOLONG. */
int ns_cluster_make_url(const struct ns_cluster_paths *paths, const char *database,
                        char url[static NS_CLUSTER_URL_BYTES]);

/* Ends what is left of a server of this cluster that an earlier collector started. */
int ns_cluster_end_leftovers(const struct ns_cluster_paths *paths,
                             char error[static NS_CLUSTER_ERROR_BYTES]);

/* Starts a program as the user, in directory /, output appended to the log, all other descriptors
 * closed; death_signal is sent to it when the calling thread ends (0: none). Returns its pid or a
 * negative errno. */
pid_t ns_cluster_spawn(const char *const *arguments, const struct ns_cluster_user *user,
                       const char *log, int death_signal);

/* True when the user can enter a directory. */
bool ns_cluster_can_enter(const struct ns_cluster_user *user, const char *directory);

/* The last line of a file that is not blank; "" where there is none. */
void ns_cluster_last_line(const char *path, char *line, size_t line_bytes);

#endif
