/* SPDX-License-Identifier: Apache-2.0 */
/* Where things are by default: the collector's address, its state, the programs beside this one. */
#ifndef NS_CLI_DISCOVER_H
#define NS_CLI_DISCOVER_H

#define NS_PLACE_BYTES 1024

/* The longest path that a Unix socket's address holds, without NUL. */
#define NS_SOCKET_PATH_BYTES_MAX 107

/*
 * The address of this user's own collector: NULLSPEND_COLLECTOR; else for root
 * ipc:///run/nullspend/collector.sock, for others $XDG_RUNTIME_DIR/nullspend/collector.sock or,
 * where that is not set, /tmp/nullspend-UID/collector.sock. Returns 0 or -ENAMETOOLONG.
 */
int ns_discover_endpoint(char endpoint[static NS_PLACE_BYTES]);

/* The address that serves the whole machine. */
extern const char ns_machine_endpoint[];

/* NULLSPEND_STATE_DIR; else for root /var/lib/nullspend, for others $XDG_STATE_HOME/nullspend or
 * ~/.local/state/nullspend. Returns 0, -ENAMETOOLONG, or -ENOENT where there is no home. */
int ns_discover_state(char directory[static NS_PLACE_BYTES]);

/* Makes the directory of an ipc:// endpoint's socket (0700; for root 0755) where it is missing, and
 * checks it. Returns 0 or a negative errno; -EPERM as below. */
int ns_discover_make_socket_directory(const char *endpoint);

/* Is that directory safe to connect in? Returns 0 (also where there is none), or -EPERM where it is
 * a default one in /tmp that is not ours alone. */
int ns_discover_check_socket_directory(const char *endpoint);

/* Makes the state directory (0700) and those above it. Returns 0 or a negative errno. */
int ns_discover_make_state(const char *path);

/* The path of a file that is installed with this program: in its directory, or in ../lib beside it.
 * Returns 0 or -ENOENT. */
int ns_discover_beside(const char *name, char path[static NS_PLACE_BYTES]);

#endif
