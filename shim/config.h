/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The environment of the process, read once, at the first TLS byte: what it is then, or, where none
 * of our settings is left of it (nginx, whatever calls clearenv or setproctitle), what the process
 * was started with. A value that is not of its form is counted, told in one line to NULLSPEND_LOG,
 * and its default stands.
 */
#ifndef NS_SHIM_CONFIG_H
#define NS_SHIM_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/words.h"
#include "wire/wire.h"

#define NS_COLLECTOR_DEFAULT "ipc:///run/nullspend/collector.sock"
#define NS_COLLECTOR_BYTES_MAX 256
#define NS_API_KEY_BYTES_MAX 256
#define NS_FILE_PATH_BYTES_MAX 1024

/* How long a call may wait for its verdict. Generous, because a verdict that comes late is a budget
 * that does not hold, and because the breaker keeps a dead collector from costing it twice. */
#define NS_DEADLINE_MS_DEFAULT 1000
#define NS_DEADLINE_MS_MAX 60000

struct ns_config {
    int mode;           /* enum ns_mode */
    int on_unreachable; /* enum ns_unreachable */
    int64_t deadline_ns;
    bool inject_usage; /* streams that would not tell their usage are made to */
    char collector[NS_COLLECTOR_BYTES_MAX + 1];
    char api_key[NS_API_KEY_BYTES_MAX + 1];
    char spool_dir[NS_FILE_PATH_BYTES_MAX + 1]; /* "" where there is no place for one */
    char log_path[NS_FILE_PATH_BYTES_MAX + 1];  /* "" for none */
    struct ns_wire_identity identity;
    struct ns_wire_hosts hosts;
    uint32_t rejected; /* values that were not of their form */
};

/* Does lookup find any of the library's settings, whatever its value? */
bool ns_config_is_set(const char *(*lookup)(const char *name));

/* Keeps a copy of what lookup finds of all that is read here, where any of the library's settings
 * is among it. Called once, before there are threads; without memory nothing is kept. */
void ns_config_keep(const char *(*lookup)(const char *name));

/* A lookup in that copy. */
const char *ns_config_kept(const char *name);

/* Fills config (zeroed by the caller) from what lookup returns for each name, NULL for not set. */
void ns_config_read(struct ns_config *config, const char *(*lookup)(const char *name), bool root);

#endif
