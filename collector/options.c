/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/options.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage_text[] =
    "usage: nullspendd [OPTION...]\n"
    "\n"
    "The NullSpend collector: answers what governed processes ask, keeps the ledger, and fills\n"
    "Postgres. Each option has an environment variable; the option wins.\n"
    "\n"
    "  --state-dir DIR      journal, snapshots, private Postgres   (NULLSPEND_STATE_DIR)\n"
    "                       default: /var/lib/nullspend for root, else\n"
    "                       $XDG_STATE_HOME/nullspend\n"
    "  --listen ADDR        ipc://PATH or tcp://IP:PORT, up to 8 times; in the environment\n"
    "                       separated by commas                    (NULLSPEND_LISTEN)\n"
    "                       default: ipc:///run/nullspend/collector.sock for root, else\n"
    "                       ipc://$XDG_RUNTIME_DIR/nullspend/collector.sock\n"
    "  --http HOST:PORT|off /healthz and /metrics; 127.0.0.1:8787  (NULLSPEND_HTTP)\n"
    "  --database-url URL   Postgres; without it a private cluster (NULLSPEND_DATABASE_URL)\n"
    "  --prices FILE        price catalogue, read again when it changes and on SIGHUP;\n"
    "                       default STATE/prices.tsv, else the built-in (NULLSPEND_PRICES)\n"
    "  --unknown-model P    allow, deny or dearest: a model without a price\n"
    "                                                              (NULLSPEND_UNKNOWN_MODEL)\n"
    "  --api-key-file FILE  keys of processes on other hosts, one a line; needed for tcp\n"
    "                       beyond loopback                        (NULLSPEND_API_KEY_FILE)\n"
    "  --foreground         stay; else go into the background once ready, with the log in\n"
    "                       STATE/log                              (NULLSPEND_FOREGROUND)\n"
    "  --version, --help\n"
    "\n"
    "example: nullspendd --foreground --listen ipc:///tmp/c.sock --http off --state-dir /tmp/ns\n";

struct reading {
    struct ns_options *options;
    char *text;
    const char *(*getenv_of)(const char *name);
};

__attribute__((format(printf, 2, 3))) static bool
wrong(const struct reading *reading, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(reading->text, NS_OPTIONS_TEXT_BYTES - 64, format, arguments);
    va_end(arguments);
    if (count >= 0) {
        size_t end = strlen(reading->text);
        snprintf(reading->text + end, NS_OPTIONS_TEXT_BYTES - end, "\nTry 'nullspendd --help'.\n");
    }
    return false;
}

static bool
copy(const struct reading *reading, const char *name, const char *value, char *into, size_t room)
{
    if (value[0] == '\0') {
        return wrong(reading, "nullspendd: %s is empty", name);
    }
    if (strlen(value) >= room) {
        return wrong(reading, "nullspendd: %s is longer than %zu bytes", name, room - 1);
    }
    snprintf(into, room, "%s", value);
    return true;
}

/* "host:port" with a number from 1 to 65535 after the last colon. */
static bool
is_host_port(const char *text)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || colon[1] == '\0' || strlen(colon + 1) > 5) {
        return false;
    }
    long port = 0;
    for (const char *at = colon + 1; *at != '\0'; at++) {
        if (!isdigit((unsigned char)*at)) {
            return false;
        }
        port = port * 10 + (*at - '0');
    }
    return port >= 1 && port <= 65535;
}

static bool
take_listen(const struct reading *reading, const char *name, const char *value)
{
    struct ns_options *options = reading->options;
    if (options->listen_count == NS_LISTEN_MAX) {
        return wrong(reading, "nullspendd: %s: at most %d addresses", name, NS_LISTEN_MAX);
    }
    if (strncmp(value, "ipc://", 6) == 0 && value[6] != '\0') {
        if (strlen(value + 6) > NS_SOCKET_PATH_BYTES_MAX) {
            return wrong(reading, "nullspendd: %s: a socket path has at most %d bytes: %s", name,
                         NS_SOCKET_PATH_BYTES_MAX, value);
        }
    } else if (strncmp(value, "tcp://", 6) != 0 || !is_host_port(value + 6)) {
        return wrong(reading, "nullspendd: %s wants ipc://PATH or tcp://IP:PORT, not '%s'", name,
                     value);
    }
    options->listen_given = true;
    return copy(reading, name, value, options->listen[options->listen_count++],
                sizeof options->listen[0]);
}

static bool
take_listens(const struct reading *reading, const char *name, const char *value)
{
    char one[256];
    while (*value != '\0') {
        size_t bytes = strcspn(value, ", ");
        if (bytes >= sizeof one) {
            return wrong(reading, "nullspendd: %s: an address is too long", name);
        }
        if (bytes > 0) {
            snprintf(one, sizeof one, "%.*s", (int)bytes, value);
            if (!take_listen(reading, name, one)) {
                return false;
            }
        }
        value += bytes + (value[bytes] != '\0' ? 1 : 0);
    }
    return true;
}

static bool
take_state(const struct reading *reading, const char *name, const char *value)
{
    return copy(reading, name, value, reading->options->state_directory,
                sizeof reading->options->state_directory);
}

static bool
take_http(const struct reading *reading, const char *name, const char *value)
{
    reading->options->http_given = true;
    if (strcmp(value, "off") == 0) {
        reading->options->http[0] = '\0';
        return true;
    }
    if (!is_host_port(value)) {
        return wrong(reading, "nullspendd: %s wants HOST:PORT or off, not '%s'", name, value);
    }
    return copy(reading, name, value, reading->options->http, sizeof reading->options->http);
}

static bool
take_database(const struct reading *reading, const char *name, const char *value)
{
    return copy(reading, name, value, reading->options->database_url,
                sizeof reading->options->database_url);
}

static bool
take_prices(const struct reading *reading, const char *name, const char *value)
{
    return copy(reading, name, value, reading->options->prices, sizeof reading->options->prices);
}

static bool
take_keys(const struct reading *reading, const char *name, const char *value)
{
    return copy(reading, name, value, reading->options->api_key_file,
                sizeof reading->options->api_key_file);
}

static bool
take_unknown(const struct reading *reading, const char *name, const char *value)
{
#define X(e, n) n,
    static const char *const words[] = { NS_UNKNOWN_MODELS(X) };
#undef X
    for (int i = 0; i < NS_UNKNOWN_MODEL_COUNT; i++) {
        if (strcmp(words[i], value) == 0) {
            reading->options->unknown_model = (enum ns_unknown_model)i;
            return true;
        }
    }
    return wrong(reading, "nullspendd: %s wants allow, deny or dearest, not '%s'", name, value);
}

static bool
take_foreground(const struct reading *reading, const char *name, const char *value)
{
    (void)name;
    reading->options->foreground = strcmp(value, "0") != 0;
    return true;
}

static const struct option_row {
    const char *flag;
    const char *variable;
    bool (*take)(const struct reading *reading, const char *name, const char *value);
    bool (*take_variable)(const struct reading *reading, const char *name, const char *value);
    bool has_value;
} rows[] = {
    {"--state-dir", "NULLSPEND_STATE_DIR", take_state, take_state, true},
    {"--listen", "NULLSPEND_LISTEN", take_listen, take_listens, true},
    {"--http", "NULLSPEND_HTTP", take_http, take_http, true},
    {"--database-url", "NULLSPEND_DATABASE_URL", take_database, take_database, true},
    {"--prices", "NULLSPEND_PRICES", take_prices, take_prices, true},
    {"--unknown-model", "NULLSPEND_UNKNOWN_MODEL", take_unknown, take_unknown, true},
    {"--api-key-file", "NULLSPEND_API_KEY_FILE", take_keys, take_keys, true},
    {"--foreground", "NULLSPEND_FOREGROUND", take_foreground, take_foreground, false},
};
#define ROWS (sizeof rows / sizeof rows[0])

/* One argument, and its value where it has one. Returns how many were used, 0 where wrong. */
static int
take_argument(const struct reading *reading, char *const *argv, int left, bool seen[static ROWS])
{
    const char *equals = strchr(argv[0], '=');
    size_t flag_bytes = equals != NULL ? (size_t)(equals - argv[0]) : strlen(argv[0]);
    for (size_t i = 0; i < ROWS; i++) {
        const struct option_row *row = &rows[i];
        if (strlen(row->flag) != flag_bytes || strncmp(row->flag, argv[0], flag_bytes) != 0) {
            continue;
        }
        seen[i] = true;
        if (!row->has_value) {
            if (equals != NULL) {
                wrong(reading, "nullspendd: %s takes no value", row->flag);
                return 0;
            }
            return row->take(reading, row->flag, "1") ? 1 : 0;
        }
        if (equals == NULL && left < 2) {
            wrong(reading, "nullspendd: %s needs a value", row->flag);
            return 0;
        }
        const char *value = equals != NULL ? equals + 1 : argv[1];
        return row->take(reading, row->flag, value) ? (equals != NULL ? 1 : 2) : 0;
    }
    wrong(reading, "nullspendd: unknown %s '%s'", argv[0][0] == '-' ? "option" : "argument",
          argv[0]);
    return 0;
}

static const char *
variable(const struct reading *reading, const char *name)
{
    const char *value = reading->getenv_of(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool
default_state(const struct reading *reading, unsigned uid)
{
    struct ns_options *options = reading->options;
    size_t room = sizeof options->state_directory;
    const char *state_home = variable(reading, "XDG_STATE_HOME");
    const char *home = variable(reading, "HOME");
    int count = 0;
    if (uid == 0) {
        count = snprintf(options->state_directory, room, "/var/lib/nullspend");
    } else if (state_home != NULL) {
        count = snprintf(options->state_directory, room, "%s/nullspend", state_home);
    } else if (home != NULL) {
        count = snprintf(options->state_directory, room, "%s/.local/state/nullspend", home);
    } else {
        return wrong(reading, "nullspendd: neither XDG_STATE_HOME nor HOME is set; use "
                              "--state-dir DIR");
    }
    return (size_t)count < room ||
           wrong(reading, "nullspendd: the default state directory's name is too long");
}

static bool
default_listen(const struct reading *reading, unsigned uid)
{
    struct ns_options *options = reading->options;
    const char *runtime = variable(reading, "XDG_RUNTIME_DIR");
    char address[256];
    int count;
    if (uid == 0) {
        count = snprintf(address, sizeof address, "ipc:///run/nullspend/collector.sock");
    } else if (runtime != NULL) {
        count = snprintf(address, sizeof address, "ipc://%.240s/nullspend/collector.sock", runtime);
    } else {
        count = snprintf(address, sizeof address, "ipc:///tmp/nullspend-%u/collector.sock", uid);
    }
    if ((size_t)count >= sizeof address || !take_listen(reading, "--listen", address)) {
        return wrong(reading, "nullspendd: the default socket's path is too long; use --listen");
    }
    options->listen_given = false;
    return true;
}

bool
ns_address_is_local(const char *address)
{
    static const char *const local[] = {"ipc://", "tcp://127.", "tcp://[::1]:", "tcp://localhost:"};
    for (size_t i = 0; i < sizeof local / sizeof local[0]; i++) {
        if (strncmp(address, local[i], strlen(local[i])) == 0) {
            return true;
        }
    }
    return false;
}

static bool
check_together(const struct reading *reading)
{
    const struct ns_options *options = reading->options;
    for (int i = 0; i < options->listen_count; i++) {
        if (!ns_address_is_local(options->listen[i]) && options->api_key_file[0] == '\0') {
            return wrong(reading,
                         "nullspendd: %s can be reached from other hosts: --api-key-file FILE must "
                         "say which keys they have",
                         options->listen[i]);
        }
    }
    return true;
}

static bool
read_all(const struct reading *reading, int argc, char *const *argv, unsigned uid)
{
    bool seen[ROWS] = {false};
    for (int i = 1; i < argc;) {
        int used = take_argument(reading, argv + i, argc - i, seen);
        if (used == 0) {
            return false;
        }
        i += used;
    }
    for (size_t i = 0; i < ROWS; i++) {
        const char *value = variable(reading, rows[i].variable);
        if (!seen[i] && value != NULL && !rows[i].take_variable(reading, rows[i].variable, value)) {
            return false;
        }
    }
    struct ns_options *options = reading->options;
    if (options->state_directory[0] == '\0' && !default_state(reading, uid)) {
        return false;
    }
    if (options->listen_count == 0 && !default_listen(reading, uid)) {
        return false;
    }
    return check_together(reading);
}

enum ns_options_result
ns_options_read(int argc, char *const *argv, const char *(*getenv_of)(const char *name),
                unsigned uid, struct ns_options *options, char text[static NS_OPTIONS_TEXT_BYTES])
{
    *options = (struct ns_options){.http = "127.0.0.1:8787"};
    text[0] = '\0';
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            snprintf(text, NS_OPTIONS_TEXT_BYTES, "%s", usage_text);
            return NS_OPTIONS_DONE;
        }
        if (strcmp(argv[i], "--version") == 0) {
            snprintf(text, NS_OPTIONS_TEXT_BYTES, "nullspendd %s\n", NS_VERSION);
            return NS_OPTIONS_DONE;
        }
    }
    struct reading reading = {options, text, getenv_of};
    return read_all(&reading, argc, argv, uid) ? NS_OPTIONS_RUN : NS_OPTIONS_WRONG;
}
