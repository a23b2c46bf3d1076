/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/options.h"

#include "tests/harness.h"

static const char *const *variables; /* name, value, name, value, NULL */

static const char *
from_list(const char *name)
{
    for (const char *const *at = variables; at != NULL && *at != NULL; at += 2) {
        if (strcmp(at[0], name) == 0) {
            return at[1];
        }
    }
    return NULL;
}

static struct ns_options options;
static char text[NS_OPTIONS_TEXT_BYTES];

static enum ns_options_result
read_as(unsigned uid, const char *const *environment, int argc, const char *const *argv)
{
    char *arguments[40] = {(char *)"nullspendd"};
    for (int i = 0; i < argc; i++) {
        arguments[i + 1] = (char *)argv[i];
    }
    variables = environment;
    return ns_options_read(argc + 1, arguments, from_list, uid, &options, text);
}

#define READ(uid, environment, ...)                                                                \
    read_as(uid, environment, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)),       \
            (const char *[]){__VA_ARGS__})

TEST(root_has_the_machines_defaults)
{
    CHECK_INT(read_as(0, NULL, 0, NULL), NS_OPTIONS_RUN);
    CHECK_STR(options.state_directory, "/var/lib/nullspend");
    CHECK_INT(options.listen_count, 1);
    CHECK_STR(options.listen[0], "ipc:///run/nullspend/collector.sock");
    CHECK_STR(options.http, "127.0.0.1:8787");
    CHECK_STR(options.database_url, "");
    CHECK(!options.foreground && !options.http_given && !options.listen_given);
}

TEST(a_user_has_defaults_of_their_own)
{
    const char *const xdg[] = {"XDG_STATE_HOME", "/s", "XDG_RUNTIME_DIR", "/run/user/7", NULL};
    CHECK_INT(read_as(7, xdg, 0, NULL), NS_OPTIONS_RUN);
    CHECK_STR(options.state_directory, "/s/nullspend");
    CHECK_STR(options.listen[0], "ipc:///run/user/7/nullspend/collector.sock");
    const char *const home[] = {"HOME", "/home/u", NULL};
    CHECK_INT(read_as(7, home, 0, NULL), NS_OPTIONS_RUN);
    CHECK_STR(options.state_directory, "/home/u/.local/state/nullspend");
    CHECK_STR(options.listen[0], "ipc:///tmp/nullspend-7/collector.sock");
    CHECK_INT(read_as(7, NULL, 0, NULL), NS_OPTIONS_WRONG);
    CHECK(strstr(text, "--state-dir") != NULL);
}

TEST(an_option_wins_over_its_variable)
{
    const char *const set[] = {"NULLSPEND_STATE_DIR",
                               "/env",
                               "NULLSPEND_LISTEN",
                               "ipc:///env.sock,tcp://127.0.0.1:5,",
                               "NULLSPEND_HTTP",
                               "off",
                               "NULLSPEND_DATABASE_URL",
                               "postgresql:///env",
                               NULL};
    CHECK_INT(read_as(0, set, 0, NULL), NS_OPTIONS_RUN);
    CHECK_STR(options.state_directory, "/env");
    CHECK_INT(options.listen_count, 2);
    CHECK_STR(options.listen[1], "tcp://127.0.0.1:5");
    CHECK_STR(options.http, "");
    CHECK_STR(options.database_url, "postgresql:///env");
    CHECK_INT(READ(0, set, "--state-dir", "/flag", "--listen=ipc:///flag.sock", "--http",
                   "[::1]:90", "--foreground"),
              NS_OPTIONS_RUN);
    CHECK_STR(options.state_directory, "/flag");
    CHECK_INT(options.listen_count, 1);
    CHECK_STR(options.listen[0], "ipc:///flag.sock");
    CHECK_STR(options.http, "[::1]:90");
    CHECK(options.foreground && options.http_given && options.listen_given);
}

TEST(what_is_wrong_is_named)
{
    static const struct {
        const char *argument[2];
        const char *says;
    } rows[] = {
        {{"--http", "80"}, "--http"},
        {{"--http", "host:0"}, "host:0"},
        {{"--http", "host:65536"}, "host:65536"},
        {{"--http", "host:8x"}, "host:8x"},
        {{"--listen", "ipc://"}, "ipc://"},
        {{"--listen", "tcp://here"}, "tcp://here"},
        {{"--listen", "inproc://x"}, "inproc://x"},
        {{"--listen", "tcp://10.0.0.1:5"}, "--api-key-file"},
        {{"--listen", "tcp://*:5"}, "--api-key-file"},
        {{"--state-dir", ""}, "empty"},
        {{"--database-url", ""}, "empty"},
        {{"--unknown-model", "perhaps"}, "dearest"},
        {{"--foreground=1", "x"}, "no value"},
        {{"--stat-dir", "x"}, "--stat-dir"},
        {{"x", "y"}, "argument 'x'"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_INT(read_as(0, NULL, 2, rows[i].argument), NS_OPTIONS_WRONG);
        if (strstr(text, rows[i].says) == NULL) {
            NS_FAIL("%s is not said of %s %s: %s", rows[i].says, rows[i].argument[0],
                    rows[i].argument[1], text);
        }
    }
    CHECK_INT(READ(0, NULL, "--prices"), NS_OPTIONS_WRONG);
    CHECK(strstr(text, "--prices needs a value") != NULL);
}

TEST(a_socket_path_fits_at_107_bytes_and_not_at_108)
{
    char address[6 + 109] = "ipc://";
    memset(address + 6, 'x', 108);
    address[6 + 107] = '\0';
    CHECK_INT(READ(0, NULL, "--listen", address), NS_OPTIONS_RUN);
    address[6 + 107] = 'x';
    address[6 + 108] = '\0';
    CHECK_INT(READ(0, NULL, "--listen", address), NS_OPTIONS_WRONG);
}

TEST(eight_addresses_are_taken_and_not_nine)
{
    const char *nine[18];
    for (int i = 0; i < 9; i++) {
        nine[2 * i] = "--listen";
        nine[2 * i + 1] = "ipc:///a";
    }
    CHECK_INT(read_as(0, NULL, 16, nine), NS_OPTIONS_RUN);
    CHECK_INT(options.listen_count, 8);
    CHECK_INT(read_as(0, NULL, 18, nine), NS_OPTIONS_WRONG);
}

TEST(loopback_addresses_need_no_keys)
{
    CHECK(ns_address_is_local("ipc:///x") && ns_address_is_local("tcp://127.0.0.9:1"));
    CHECK(ns_address_is_local("tcp://[::1]:1") && ns_address_is_local("tcp://localhost:1"));
    CHECK(!ns_address_is_local("tcp://12.7.0.1:1") && !ns_address_is_local("tcp://[::]:1"));
    CHECK_INT(READ(0, NULL, "--listen", "tcp://0.0.0.0:5", "--api-key-file", "/k"), NS_OPTIONS_RUN);
}

TEST(help_and_version_win_over_everything)
{
    CHECK_INT(READ(0, NULL, "--bogus", "--help"), NS_OPTIONS_DONE);
    CHECK(strstr(text, "usage: nullspendd") != NULL);
    CHECK_INT(READ(0, NULL, "--version"), NS_OPTIONS_DONE);
    CHECK(strncmp(text, "nullspendd ", 11) == 0);
}
