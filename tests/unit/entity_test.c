/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/entity.h"

#include "collector/ledger.h"
#include "tests/harness.h"

static int
check(const char *entity)
{
    const char *why = "";
    int status = ns_entity_check(entity, strlen(entity), &why);
    CHECK((status == 0) == (why == NULL));
    return status;
}

TEST(entities_of_every_kind_are_taken)
{
    static const char *const good[] = {
        "org",
        "team:core",
        "key:nk_1",
        "customer:acme",
        "customer:a:b/c d",
        "agent:writer",
        "feature:search",
        "session:42",
        "tag:env=prod",
        "tag:url=a=b",
        "customer:ünïcödé",
        "customer:*",
        "tag:*",
        "tag:env=*",
        "session:*",
        "customer:a*b",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (check(good[i]) != 0) {
            NS_FAIL("refused: %s", good[i]);
        }
    }
}

TEST(what_is_no_entity_is_refused_with_a_reason)
{
    static const char *const bad[] = {
        "",
        "customer",
        "customer:",
        "customers:acme",
        "Customer:acme",
        "org:",
        "org:x",
        ":x",
        "*",
        "tag:env",
        "tag:=prod",
        "tag:env=",
        "customer:acme*",
        "tag:env=pro*",
        "customer: acme",
        "customer:acme ",
        "customer:a\nb",
        "customer:a\x7f",
        "customer:\xc2\x80",
        "customer:\xff",
        "customer:\xc0\xaf",
        "customer:\xed\xa0\x80",
        "customer:\xf4\x90\x80\x80",
        "customer:\xe2\x82",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (check(bad[i]) == 0) {
            NS_FAIL("taken: row %zu, %s", i, bad[i]);
        }
    }
    CHECK(ns_entity_check("customer:a\0b", 12, NULL) != 0);
}

TEST(the_longest_entity_is_taken_and_one_byte_more_is_not)
{
    char text[NS_ENTITY_BYTES_MAX + 2];
    memset(text, 'x', sizeof(text));
    memcpy(text, "customer:", 9);
    CHECK_INT(ns_entity_check(text, NS_ENTITY_BYTES_MAX, NULL), 0);
    CHECK(ns_entity_check(text, NS_ENTITY_BYTES_MAX + 1, NULL) != 0);
}

TEST(only_a_whole_star_is_a_pattern)
{
    static const struct {
        const char *entity;
        size_t bytes;
    } rows[] = {{"customer:*", 9}, {"tag:*", 4},         {"tag:env=*", 8},    {"customer:a*", 0},
                {"org", 0},        {"customer:acme", 0}, {"customer:k=*", 0}, {"*", 0}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        CHECK_INT(ns_entity_pattern_bytes(rows[i].entity, strlen(rows[i].entity)), rows[i].bytes);
    }
}

TEST(a_pattern_stands_for_ids_of_its_kind_and_for_no_other)
{
    CHECK(ns_entity_match("customer:*", 9, "customer:a", 10));
    CHECK(!ns_entity_match("customer:*", 9, "customer:", 9));
    CHECK(!ns_entity_match("customer:*", 9, "team:a", 6));
    CHECK(ns_entity_match("tag:env=*", 8, "tag:env=prod", 12));
    CHECK(!ns_entity_match("tag:env=*", 8, "tag:environment=prod", 20));
}
