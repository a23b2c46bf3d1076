/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon is told: flags, else environment, else defaults (docs/operations.md). */
#ifndef NS_COLLECTOR_OPTIONS_H
#define NS_COLLECTOR_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "collector/limits.h"
#include "collector/price.h"

#define NS_PATH_BYTES 4096
/* sun_path is 108 bytes with its NUL. */
#define NS_SOCKET_PATH_BYTES_MAX 107

struct ns_options {
    char state_directory[NS_PATH_BYTES];
    char listen[NS_LISTEN_MAX][256];
    int listen_count;
    bool listen_given; /* else the default address */
    char http[256];    /* "HOST:PORT", or "" for off */
    bool http_given;
    char database_url[2048]; /* "": a private cluster */
    char prices[NS_PATH_BYTES];
    char api_key_file[NS_PATH_BYTES]; /* "": none */
    enum ns_unknown_model unknown_model;
    bool foreground;
};

enum ns_options_result {
    NS_OPTIONS_RUN,
    NS_OPTIONS_DONE, /* --help or --version: text is for stdout, exit 0 */
    NS_OPTIONS_WRONG /* text says what is wrong, for stderr, exit 2 */
};

#define NS_OPTIONS_TEXT_BYTES 4096

/* Reads flags and environment (through getenv_of, so that tests bring their own). is_root chooses
 * the defaults; uid is only for the fallback of a missing XDG_RUNTIME_DIR. */
enum ns_options_result ns_options_read(int argc, char *const *argv,
                                       const char *(*getenv_of)(const char *name), unsigned uid,
                                       struct ns_options *options,
                                       char text[static NS_OPTIONS_TEXT_BYTES]);

/* Whether an address is reachable from this host only (ipc, inproc, loopback tcp). */
bool ns_address_is_local(const char *address);

#endif
