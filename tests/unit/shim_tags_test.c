/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>

#include "shim/nullspend.h"
#include "shim/tags.h"
#include "tests/harness.h"

static const struct ns_wire_identity nobody;

TEST(text_is_clean_up_to_its_limit_and_in_utf8_only)
{
    CHECK(ns_tags_clean("a", 1, 1));
    CHECK(!ns_tags_clean("ab", 2, 1));
    CHECK(!ns_tags_clean("", 0, 10));
    CHECK(ns_tags_clean("Größe €😀", strlen("Größe €😀"), 64));
    static const char *const bad[] = {
        "\x01", "a\nb",     "\x7f",         "\xc0\x80",         "\xc2\x80",
        "\xff", "\xe2\x82", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (ns_tags_clean(bad[i], strlen(bad[i]), 64)) {
            NS_FAIL("text %zu passed", i);
        }
    }
}

TEST(a_thread_sets_and_takes_back_its_identity)
{
    CHECK_INT(nullspend_set_customer("acme"), 0);
    CHECK_INT(nullspend_set_agent("bot"), 0);
    CHECK_INT(nullspend_set_feature("chat"), 0);
    CHECK_INT(nullspend_set_session("s1"), 0);
    CHECK_INT(nullspend_set_tag("team", "blue"), 0);
    CHECK_INT(nullspend_set_tag("team", "red"), 0);
    CHECK_INT(nullspend_set_tag("empty", ""), 0);
    CHECK_INT(nullspend_finalize(), 0);
    struct ns_wire_identity identity = {0};
    ns_tags_complete(&identity, &nobody);
    CHECK_STR(identity.customer, "acme");
    CHECK_STR(identity.agent, "bot");
    CHECK_STR(identity.feature, "chat");
    CHECK_STR(identity.session, "s1");
    CHECK_INT(identity.tag_count, 2);
    CHECK(identity.finalize);
    CHECK_STR(identity.tags[0].value, "red");
    CHECK_INT(nullspend_set_tag("team", NULL), 0);
    CHECK_INT(nullspend_set_customer(NULL), 0);
    identity = nobody;
    ns_tags_complete(&identity, &nobody);
    CHECK_STR(identity.customer, "");
    CHECK_INT(identity.tag_count, 1);
    CHECK_INT(nullspend_clear(), 0);
    identity = nobody;
    ns_tags_complete(&identity, &nobody);
    CHECK_INT(identity.tag_count, 0);
    CHECK_STR(identity.agent, "");
    CHECK(!identity.finalize);
}

TEST(values_that_are_not_of_their_form_are_refused_and_change_nothing)
{
    char longest[NS_TAG_VALUE_BYTES_MAX + 2];
    memset(longest, 'x', sizeof longest);
    longest[NS_ID_BYTES_MAX] = '\0';
    CHECK_INT(nullspend_set_customer(longest), 0);
    longest[NS_ID_BYTES_MAX] = 'x';
    longest[NS_ID_BYTES_MAX + 1] = '\0';
    CHECK_INT(nullspend_set_customer(longest), -EINVAL);
    CHECK_INT(nullspend_set_customer(""), -EINVAL);
    CHECK_INT(nullspend_set_agent("new\nline"), -EINVAL);
    CHECK_INT(nullspend_set_tag(NULL, "x"), -EINVAL);
    CHECK_INT(nullspend_set_tag("", "x"), -EINVAL);
    CHECK_INT(nullspend_set_tag("k", "\x01"), -EINVAL);
    CHECK_INT(nullspend_set_tag("\xff", NULL), -EINVAL);
    struct ns_wire_identity identity = {0};
    ns_tags_complete(&identity, &nobody);
    CHECK_INT(strlen(identity.customer), NS_ID_BYTES_MAX);
    CHECK_INT(identity.tag_count, 0);
    memset(longest, 'x', sizeof longest);
    longest[NS_TAG_KEY_BYTES_MAX + 1] = '\0';
    CHECK_INT(nullspend_set_tag(longest, "x"), -EINVAL);
    longest[NS_TAG_KEY_BYTES_MAX] = '\0';
    CHECK_INT(nullspend_set_tag(longest, "x"), 0);
    memset(longest, 'x', sizeof longest);
    longest[NS_TAG_VALUE_BYTES_MAX + 1] = '\0';
    CHECK_INT(nullspend_set_tag("k", longest), -EINVAL);
    longest[NS_TAG_VALUE_BYTES_MAX] = '\0';
    CHECK_INT(nullspend_set_tag("k", longest), 0);
    nullspend_clear();
}

TEST(a_call_has_sixteen_tags_at_most)
{
    char key[8] = "a";
    for (int i = 0; i < NS_TAGS_MAX; i++) {
        key[0] = (char)('a' + i);
        CHECK_INT(nullspend_set_tag(key, "1"), 0);
    }
    CHECK_INT(nullspend_set_tag("z", "1"), -EINVAL);
    CHECK_INT(nullspend_set_tag("a", "2"), 0);
    struct ns_wire_identity process = {0};
    CHECK_INT(ns_tags_parse(&process, "a=9,zz=1"), 0);
    struct ns_wire_identity identity = {0};
    CHECK_INT(ns_tags_set(&identity, "mine", 4, "1", 1), 0);
    ns_tags_complete(&identity, &process);
    CHECK_INT(identity.tag_count, NS_TAGS_MAX);
    CHECK_STR(identity.tags[0].key, "mine");
    nullspend_clear();
}

TEST(request_comes_before_thread_and_thread_before_process)
{
    struct ns_wire_identity process = {.customer = "p", .agent = "p", .feature = "p"};
    CHECK_INT(ns_tags_parse(&process, "one=p,two=p,three=p"), 0);
    struct ns_wire_identity identity = {.customer = "r"};
    CHECK_INT(ns_tags_set(&identity, "one", 3, "r", 1), 0);
    nullspend_set_customer("t");
    nullspend_set_agent("t");
    nullspend_set_tag("one", "t");
    nullspend_set_tag("two", "t");
    ns_tags_complete(&identity, &process);
    CHECK_STR(identity.customer, "r");
    CHECK_STR(identity.agent, "t");
    CHECK_STR(identity.feature, "p");
    CHECK_INT(identity.tag_count, 3);
    CHECK_STR(identity.tags[0].value, "r");
    CHECK_STR(identity.tags[1].value, "t");
    CHECK_STR(identity.tags[2].value, "p");
    nullspend_clear();
}

TEST(lists_of_tags_are_read_and_bad_items_counted)
{
    struct ns_wire_identity identity = {0};
    CHECK_INT(ns_tags_parse(&identity, "a=1,b=x=y,,c="), 0);
    CHECK_INT(identity.tag_count, 3);
    CHECK_STR(identity.tags[1].value, "x=y");
    CHECK_STR(identity.tags[2].value, "");
    CHECK_INT(ns_tags_parse(&identity, "novalue,=v,a=2"), 2);
    CHECK_STR(identity.tags[0].value, "2");
}

static void *
in_thread(void *unused)
{
    (void)unused;
    struct ns_wire_identity identity = {0};
    ns_tags_complete(&identity, &nobody);
    CHECK_STR(identity.customer, "");
    nullspend_set_customer("other");
    return NULL;
}

TEST(threads_have_identities_of_their_own)
{
    nullspend_set_customer("mine");
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, in_thread, NULL) == 0);
    pthread_join(thread, NULL);
    struct ns_wire_identity identity = {0};
    ns_tags_complete(&identity, &nobody);
    CHECK_STR(identity.customer, "mine");
    nullspend_clear();
}
