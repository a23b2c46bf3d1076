/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "tests/harness.h"
#include "wire/hosts.h"

static struct ns_host
find(const struct ns_wire_hosts *hosts, const char *host, uint16_t port)
{
    struct ns_host found;
    (void)ns_hosts_find(hosts, host, strlen(host), port, &found);
    return found;
}

static bool
known(const struct ns_wire_hosts *hosts, const char *host)
{
    return ns_wire_host_known(hosts, host, strlen(host));
}

TEST(providers_are_known_by_their_hosts)
{
    static const struct {
        const char *host, *provider;
    } rows[] = {
        {"api.openai.com", "openai"},
        {"eu.api.openai.com", "openai"},
        {"API.OpenAI.com", "openai"},
        {"api.openai.com.", "openai"},
        {"res.openai.azure.com", "azure"},
        {"api.anthropic.com", "anthropic"},
        {"generativelanguage.googleapis.com", "gemini"},
        {"us-central1-aiplatform.googleapis.com", "vertex"},
        {"aiplatform.eu.rep.googleapis.com", "vertex"},
        {"bedrock-mantle.us-east-1.api.aws", "bedrock"},
        {"openrouter.ai", "openrouter"},
        {"dashscope-intl.aliyuncs.com", "alibaba"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK_STR(find(NULL, rows[i].host, 443).provider, rows[i].provider);
    }
}

TEST(other_hosts_are_not_ours)
{
    static const char *const hosts[] = {
        "example.com",
        "openai.com",
        "notapi.openai.com",
        "api.openai.com.evil.test",
        "api.openai.com..",
        ".",
        ".openai.azure.com",
        "",
        "aiplatform..rep.googleapis.com",
    };
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        if (known(NULL, hosts[i])) {
            NS_FAIL("\"%s\" is known", hosts[i]);
        }
    }
}

TEST(added_hosts_speak_what_they_were_given)
{
    struct ns_wire_hosts hosts;
    size_t bad;
    CHECK_INT(ns_wire_hosts_parse(
                  &hosts, " LLM.corp:8443=openai , gw=anthropic,gw=gemini,[::1]:80=openai", &bad),
              0);
    CHECK_INT(hosts.count, 4);
    CHECK_STR(hosts.extra[0].host, "llm.corp");
    CHECK_INT(hosts.extra[0].port, 8443);
    CHECK_STR(hosts.extra[3].host, "::1");
    CHECK(known(&hosts, "llm.CORP"));
    CHECK_INT(find(&hosts, "llm.corp", 8443).speaks, NS_SPEAKS_OPENAI);
    CHECK_INT(find(&hosts, "llm.corp", 9000).speaks, 0);
    CHECK_INT(find(&hosts, "llm.corp", 0).speaks, 0);
    CHECK_INT(find(&hosts, "gw", 1).speaks, NS_SPEAKS_ANTHROPIC | NS_SPEAKS_GEMINI);
    CHECK_INT(find(&hosts, "::1", 0).speaks, NS_SPEAKS_OPENAI);
    CHECK(find(&hosts, "gw", 1).provider == NULL);
    /* The name's root may be written, on either side. */
    CHECK_INT(ns_wire_hosts_parse(&hosts, "llm.corp.:8443=openai", &bad), 0);
    CHECK_INT(find(&hosts, "llm.corp", 8443).speaks, NS_SPEAKS_OPENAI);
    CHECK_INT(find(&hosts, "llm.corp.", 8443).speaks, NS_SPEAKS_OPENAI);
}

TEST(a_wrong_entry_is_named_and_those_before_it_are_kept)
{
    static const struct {
        const char *text;
        size_t offset;
    } rows[] = {
        {"a=openai,b", 9},          {"a=openai,b=klingon", 9},        {"a=openai,=openai", 9},
        {"a=openai,b:x=openai", 9}, {"a=openai, b:99999=openai", 10}, {"a=openai,b/c=openai", 9},
        {"a=openai,b..=openai", 9}, {"a=openai,.=openai", 9},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ns_wire_hosts hosts;
        size_t bad = 0;
        CHECK_INT(ns_wire_hosts_parse(&hosts, rows[i].text, &bad), -EINVAL);
        CHECK_INT(bad, rows[i].offset);
        CHECK_INT(hosts.count, 1);
    }
}

TEST(as_many_hosts_as_the_limit_may_be_added_and_no_more)
{
    char text[NS_EXTRA_HOSTS_MAX * 16 + 32];
    struct ns_wire_hosts hosts;
    size_t bad = 0, used = 0;
    for (int i = 0; i < NS_EXTRA_HOSTS_MAX; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "h%d=openai,", i);
    }
    CHECK_INT(ns_wire_hosts_parse(&hosts, text, &bad), 0);
    CHECK_INT(hosts.count, NS_EXTRA_HOSTS_MAX);
    (void)snprintf(text + used, sizeof(text) - used, "one=openai");
    CHECK_INT(ns_wire_hosts_parse(&hosts, text, &bad), -E2BIG);
    CHECK_INT(bad, used);
}

TEST(no_hosts_are_no_mistake)
{
    struct ns_wire_hosts hosts;
    size_t bad;
    CHECK_INT(ns_wire_hosts_parse(&hosts, "", &bad), 0);
    CHECK_INT(ns_wire_hosts_parse(&hosts, " , ,", &bad), 0);
    CHECK_INT(hosts.count, 0);
}
