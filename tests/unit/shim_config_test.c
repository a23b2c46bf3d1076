/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/config.h"
#include "tests/harness.h"

/* "NAME", "value", …, NULL */
static const char **environment;

static const char *
lookup(const char *name)
{
    for (const char **at = environment; *at != NULL; at += 2) {
        if (strcmp(at[0], name) == 0) {
            return at[1];
        }
    }
    return NULL;
}

static struct ns_config config;

static void
read_config(const char **pairs, bool root)
{
    environment = pairs;
    memset(&config, 0, sizeof config);
    ns_config_read(&config, lookup, root);
}

TEST(an_empty_environment_gives_the_defaults)
{
    read_config((const char *[]){NULL}, true);
    CHECK_INT(config.mode, NS_MODE_ENFORCE);
    CHECK_INT(config.on_unreachable, NS_UNREACHABLE_ALLOW);
    CHECK_INT(config.deadline_ns, INT64_C(1000000) * NS_DEADLINE_MS_DEFAULT);
    CHECK_STR(config.collector, "ipc:///run/nullspend/collector.sock");
    CHECK_STR(config.spool_dir, "/var/lib/nullspend/spool");
    CHECK_STR(config.log_path, "");
    CHECK_INT(config.rejected, 0);
    CHECK_INT(config.hosts.count, 0);
}

TEST(every_setting_is_read)
{
    read_config((const char *[]){"NULLSPEND_MODE",
                                 "shadow",
                                 "NULLSPEND_COLLECTOR",
                                 "tcp://127.0.0.1:9999",
                                 "NULLSPEND_ON_UNREACHABLE",
                                 "deny",
                                 "NULLSPEND_DEADLINE_MS",
                                 "250",
                                 "NULLSPEND_API_KEY",
                                 "key",
                                 "NULLSPEND_CUSTOMER",
                                 "acme",
                                 "NULLSPEND_AGENT",
                                 "bot",
                                 "NULLSPEND_FEATURE",
                                 "chat",
                                 "NULLSPEND_SESSION",
                                 "s",
                                 "NULLSPEND_TAGS",
                                 "a=1,b=2",
                                 "NULLSPEND_PROVIDERS",
                                 "llm.internal:8443=openai",
                                 "NULLSPEND_SPOOL_DIR",
                                 "/tmp/s",
                                 NULL},
                false);
    CHECK_INT(config.rejected, 0);
    CHECK_INT(config.mode, NS_MODE_SHADOW);
    CHECK_INT(config.on_unreachable, NS_UNREACHABLE_DENY);
    CHECK_INT(config.deadline_ns, 250000000);
    CHECK_STR(config.collector, "tcp://127.0.0.1:9999");
    CHECK_STR(config.api_key, "key");
    CHECK_STR(config.identity.customer, "acme");
    CHECK_STR(config.identity.agent, "bot");
    CHECK_STR(config.identity.feature, "chat");
    CHECK_STR(config.identity.session, "s");
    CHECK_INT(config.identity.tag_count, 2);
    CHECK_INT(config.hosts.count, 1);
    CHECK_STR(config.spool_dir, "/tmp/s");
}

TEST(a_value_that_is_not_of_its_form_leaves_the_default)
{
    static char too_long[NS_FILE_PATH_BYTES_MAX + 2];
    memset(too_long, '/', sizeof too_long - 1);
    static const char *bad[][2] = {
        {"NULLSPEND_MODE", "ENFORCE"},
        {"NULLSPEND_MODE", "on"},
        {"NULLSPEND_COLLECTOR", "http://x"},
        {"NULLSPEND_COLLECTOR", "ipc://\n"},
        {"NULLSPEND_ON_UNREACHABLE", "block"},
        {"NULLSPEND_INJECT_USAGE", "yes"},
        {"NULLSPEND_INJECT_USAGE", "11"},
        {"NULLSPEND_DEADLINE_MS", "0"},
        {"NULLSPEND_DEADLINE_MS", "60001"},
        {"NULLSPEND_DEADLINE_MS", "1s"},
        {"NULLSPEND_DEADLINE_MS", "-5"},
        {"NULLSPEND_DEADLINE_MS", "99999999999999999999"},
        {"NULLSPEND_CUSTOMER", "a\tb"},
        {"NULLSPEND_CUSTOMER", "\xff"},
        {"NULLSPEND_TAGS", "a"},
        {"NULLSPEND_PROVIDERS", "host=unknown-family"},
        {"NULLSPEND_SPOOL_DIR", "relative"},
        {"NULLSPEND_SPOOL_DIR", too_long},
        {"NULLSPEND_LOG", "relative/path.log"},
        {"NULLSPEND_API_KEY", "\x7f"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        read_config((const char *[]){bad[i][0], bad[i][1], NULL}, true);
        if (config.rejected != 1) {
            NS_FAIL("%s=%.20s was taken", bad[i][0], bad[i][1]);
        }
        CHECK_INT(config.mode, NS_MODE_ENFORCE);
        CHECK_INT(config.deadline_ns, INT64_C(1000000) * NS_DEADLINE_MS_DEFAULT);
        CHECK(!config.inject_usage);
        CHECK_STR(config.collector, NS_COLLECTOR_DEFAULT);
        CHECK_STR(config.identity.customer, "");
        CHECK_STR(config.spool_dir, "/var/lib/nullspend/spool");
    }
    read_config((const char *[]){"NULLSPEND_DEADLINE_MS", "60000", NULL}, true);
    CHECK_INT(config.rejected, 0);
    read_config((const char *[]){"NULLSPEND_INJECT_USAGE", "1", NULL}, true);
    CHECK(config.inject_usage && config.rejected == 0);
    read_config((const char *[]){"NULLSPEND_CUSTOMER", "", "NULLSPEND_MODE", "", NULL}, true);
    CHECK_INT(config.rejected, 0);
}

TEST(a_user_spools_in_a_directory_of_his_own)
{
    read_config((const char *[]){"HOME", "/home/u", NULL}, false);
    CHECK_STR(config.spool_dir, "/home/u/.local/state/nullspend/spool");
    read_config((const char *[]){"HOME", "/home/u", "XDG_STATE_HOME", "/s", NULL}, false);
    CHECK_STR(config.spool_dir, "/s/nullspend/spool");
    read_config((const char *[]){"HOME", "nowhere", NULL}, false);
    CHECK_STR(config.spool_dir, "");
}
