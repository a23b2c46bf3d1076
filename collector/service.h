/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon as a citizen of its machine: directories, the lock, systemd, going into the
 * background, its log. */
#ifndef NS_COLLECTOR_SERVICE_H
#define NS_COLLECTOR_SERVICE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NS_SERVICE_ERROR_BYTES 512

/* A line on stderr, "nullspendd: " before it. Any thread. */
void ns_log(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Makes a directory and what is missing above it. Returns 0 or a negative errno. */
int ns_make_directory(const char *path, mode_t mode);

/*
 * Takes DIR/lock for this process's life. Returns the descriptor; -EBUSY where another daemon has
 * it (error names its pid), or another negative errno with a sentence in error.
 */
int ns_lock_take(const char *directory, char error[static NS_SERVICE_ERROR_BYTES]);

/* Writes a small file whole or not at all, mode as given. Returns 0 or a negative errno. */
int ns_write_file(const char *path, const void *bytes, size_t count, mode_t mode);

/* Reads DIR/name of exactly count bytes, or makes it of random ones, mode 0600. Returns 0 or a
 * negative errno. */
int ns_secret_file(const char *directory, const char *name, uint8_t *bytes, size_t count);

/* Tells systemd (NOTIFY_SOCKET), where it asks: "READY=1", "STOPPING=1". */
void ns_notify(const char *state);

/*
 * Forks; the child returns 0 and goes on, the parent waits until ns_background_ready (and exits 0)
 * or the child's end (and exits as it does). log is where the child's stderr goes once ready.
 * Returns 0 in the child or a negative errno.
 */
int ns_background(const char *log);
/* Lets the parent go; without ns_background it does nothing. */
void ns_background_ready(void);

#endif
