/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/mandates.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "tests/harness.h"

/* One with a single list; more is added to its bytes. */
static struct ns_buffer
mandate_of(int64_t id, const char *entity, int list, const char *word)
{
    struct ns_buffer buffer = {0};
    struct ns_mandate_terms terms = {
        .id = id, .policy = NS_POLICY_HARD, .entity = ns_text_of(entity)};
    ns_mandate_begin(&buffer, &terms);
    if (word != NULL) {
        ns_mandate_add(&buffer, list, ns_text_of(word));
    }
    return buffer;
}

static int
put(struct ns_mandates *mandates, int64_t id, const char *entity, int list, const char *word)
{
    struct ns_buffer mandate = mandate_of(id, entity, list, word);
    int result = ns_mandates_put(mandates, mandate.bytes, mandate.count);
    ns_buffer_free(&mandate);
    return result;
}

static bool
denies(const struct ns_mandates *mandates, const char *model)
{
    static const char *const entity[] = {"org"};
    struct ns_mandate_breach breach;
    struct ns_check call = {.requested_model = ns_text_of(model), .operation = ns_text_of("chat")};
    return ns_mandates_breached(mandates, &call, entity, 1, NULL, 0, &breach);
}

TEST(a_pattern_fits_what_its_stars_leave_room_for)
{
    static const struct {
        const char *pattern, *word;
        bool fits;
    } rows[] = {
        {"gpt-4o", "gpt-4o", true},
        {"gpt-4o", "gpt-4o-mini", false},
        {"gpt-4o*", "gpt-4o-mini", true},
        {"gpt-4o*", "gpt-4o", true},
        {"*4o", "gpt-4o", true},
        {"*4o", "gpt-4o-4o-", false},
        {"*4o", "gpt-4o-4o", true},
        {"g*4*i", "gpt-4o-mini", true},
        {"g*4*x", "gpt-4o-mini", false},
        {"*", "x", true},
        {"**", "", true},
        {"*", "", true},
        {"x", "", false},
        {"GPT-4O*", "gpt-4o", true},
        {"gpt-4o", "GPT-4o", true},
        {"a*b*c", "abbbc", true},
        {"a*b*c", "abcb", false},
        {"*ab", "aab", true},
        {"[", "{", false},
        {"gpt-4o", "gpt-4", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ns_mandates *mandates = ns_mandates_new();
        REQUIRE(mandates != NULL);
        REQUIRE(put(mandates, 1, "org", NS_MANDATE_DENY_MODELS, rows[i].pattern) == 0);
        CHECK(denies(mandates, rows[i].word) == rows[i].fits);
        ns_mandates_free(mandates);
    }
}

TEST(many_stars_take_no_more_than_the_square_of_the_length)
{
    char pattern[193], word[193];
    struct ns_mandates *mandates = ns_mandates_new();
    REQUIRE(mandates != NULL);
    for (size_t i = 0; i < 192; i++) {
        pattern[i] = i % 2 == 0 ? '*' : 'a';
        word[i] = 'a';
    }
    pattern[191] = 'b';
    pattern[192] = word[192] = '\0';
    REQUIRE(put(mandates, 1, "org", NS_MANDATE_DENY_MODELS, pattern) == 0);
    CHECK(!denies(mandates, word)); /* would not end if stars were tried against each other */
    ns_mandates_free(mandates);
}

TEST(the_longest_words_make_a_rule_that_is_whole_text)
{
    static const char *const entity[] = {"org"};
    char word[193];
    memset(word, 'x', sizeof word - 1);
    memcpy(word + 95, "\xe2\x82\xac", 3); /* the cut falls into a character */
    word[192] = '\0';
    struct ns_check call = {.requested_model = ns_text_of(word)};
    struct ns_mandate_breach breach;
    struct ns_mandates *mandates = ns_mandates_new();
    REQUIRE(mandates != NULL);
    REQUIRE(put(mandates, 1, "org", NS_MANDATE_ALLOW_MODELS, "y") == 0);
    CHECK(ns_mandates_breached(mandates, &call, entity, 1, NULL, 0, &breach));
    CHECK(strstr(breach.rule, "xxx is not in allow_models") != NULL);
    CHECK(strstr(breach.rule, "\xe2") == NULL);
    memcpy(word, "tag:", 4);
    REQUIRE(put(mandates, 1, "org", NS_MANDATE_REQUIRE, word) == 0);
    CHECK(ns_mandates_breached(mandates, &call, entity, 1, NULL, 0, &breach));
    CHECK(strstr(breach.rule, ", which is required") != NULL);
    ns_mandates_free(mandates);
}

TEST(an_entity_has_one_mandate_and_a_mandate_one_entity)
{
    struct ns_mandates *mandates = ns_mandates_new();
    REQUIRE(mandates != NULL);
    CHECK_INT(put(mandates, 2, "org", NS_MANDATE_DENY_MODELS, "a"), 0);
    CHECK_INT(put(mandates, 1, "org", NS_MANDATE_DENY_MODELS, "b"), -EEXIST);
    CHECK_INT(put(mandates, 1, "agent:a", NS_MANDATE_DENY_MODELS, "b"), 0);
    CHECK(denies(mandates, "a") && !denies(mandates, "b"));
    CHECK_INT(put(mandates, 2, "org", NS_MANDATE_DENY_MODELS, "b"), 0);
    CHECK(!denies(mandates, "a") && denies(mandates, "b"));
    CHECK_INT(put(mandates, 2, "team:z", NS_MANDATE_DENY_MODELS, "b"), 0);
    CHECK(!denies(mandates, "b"));
    CHECK_INT(ns_mandates_count(mandates), 2);
    CHECK_INT(put(mandates, 3, "org", NS_MANDATE_DENY_MODELS, "c"), 0);
    ns_mandates_remove(mandates, 2);
    ns_mandates_remove(mandates, 2);
    CHECK_INT(ns_mandates_count(mandates), 2);
    CHECK(denies(mandates, "c"));
    ns_mandates_free(mandates);
}

/* Number n of calls that are all the same, or (ending) of a conversation that grows. */
static bool
nth_is_denied(struct ns_mandates *mandates, struct ns_repeats *repeats, const char *entity,
              uint64_t n, bool ending, struct ns_mandate_breach *breach)
{
    struct ns_check call = {.operation = ns_text_of("chat"), .text_bytes = n};
    struct ns_hash16 *hash = ending ? &call.ending : &call.fingerprint;
    hash->bytes[3] = 1;
    return ns_mandates_breached(mandates, &call, &entity, 1, repeats, (int64_t)n, breach);
}

TEST(calls_of_an_entity_may_repeat_each_other_so_often)
{
    struct ns_mandates *mandates = ns_mandates_new();
    struct ns_repeats *repeats = ns_repeats_new();
    struct ns_mandate_breach breach;
    REQUIRE(mandates != NULL && repeats != NULL);
    REQUIRE(put(mandates, 1, "agent:*", NS_MANDATE_REPEATS, "3/60") == 0);
    for (int ending = 0; ending < 2; ending++) {
        for (uint64_t n = 1; n <= 5; n++) {
            CHECK(nth_is_denied(mandates, repeats, "agent:a", n, ending, &breach) == (n > 3));
        }
        CHECK_INT(breach.reason, NS_REASON_LOOP);
        CHECK_STR(breach.rule,
                  ending ? "number 5 within 60 s that ends with the same text and is longer than "
                           "the one before, and repeats is 3/60"
                         : "number 5 within 60 s that is the same request, and repeats is 3/60");
        CHECK(!nth_is_denied(mandates, repeats, "agent:b", 9, ending, &breach));
        CHECK(!nth_is_denied(mandates, NULL, "agent:a", 9, ending, &breach));
    }
    struct ns_check unread = {.operation = ns_text_of("chat")};
    const char *entity = "agent:a";
    for (int i = 0; i < 10; i++) {
        unread.text_bytes++;
        CHECK(!ns_mandates_breached(mandates, &unread, &entity, 1, repeats, 1, &breach));
    }
    static const char *const odd[] = {"0/60",
                                      "3/0",
                                      "3/86401",
                                      "/",
                                      "3/",
                                      "/60",
                                      "-3/60",
                                      "3",
                                      "3/6a",
                                      "3x/60",
                                      "3/60/60",
                                      "99999999999/60",
                                      "3/99999999999999999999"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        REQUIRE(put(mandates, 1, "agent:*", NS_MANDATE_REPEATS, odd[i]) == 0);
        for (uint64_t n = 1; n <= 5; n++) {
            CHECK(!nth_is_denied(mandates, repeats, "agent:c", n, false, &breach));
        }
    }
    ns_repeats_free(repeats);
    ns_mandates_free(mandates);
}

TEST(there_are_no_more_than_their_bound)
{
    struct ns_mandates *mandates = ns_mandates_new();
    REQUIRE(mandates != NULL);
    char entity[32];
    for (int i = 0; i < NS_MANDATES_MAX; i++) {
        snprintf(entity, sizeof entity, "agent:%d", i * 7919 % NS_MANDATES_MAX);
        REQUIRE(put(mandates, i + 1, entity, NS_MANDATE_DENY_MODELS, "a") == 0);
    }
    CHECK_INT(put(mandates, NS_MANDATES_MAX + 1, "org", NS_MANDATE_DENY_MODELS, "a"), -ENOSPC);
    CHECK_INT(put(mandates, 5, "org", NS_MANDATE_DENY_MODELS, "a"), 0);
    CHECK(denies(mandates, "a"));
    ns_mandates_free(mandates);
}

/* Two mandates, saved. */
static struct ns_buffer
save_two(void)
{
    struct ns_buffer saved = {0};
    struct ns_mandates *mandates = ns_mandates_new();
    if (mandates != NULL && put(mandates, 2, "org", NS_MANDATE_DENY_MODELS, "a") == 0 &&
        put(mandates, 1, "agent:a", NS_MANDATE_REQUIRE, "customer") == 0) {
        ns_mandates_save(mandates, &saved);
    }
    ns_mandates_free(mandates);
    return saved;
}

TEST(what_is_saved_comes_back_and_every_cut_of_it_is_refused)
{
    struct ns_buffer saved = save_two(), again = {0};
    REQUIRE(saved.count > 0);
    for (size_t count = 0; count <= saved.count; count++) {
        uint8_t *copy = malloc(count + 1); /* of just its size, for the sanitizer */
        REQUIRE(copy != NULL);
        memcpy(copy, saved.bytes, count);
        struct ns_bytes bytes = {copy, count, false};
        struct ns_mandates *mandates;
        int result = ns_mandates_load(&bytes, &mandates);
        CHECK_INT(result, count < saved.count ? -EBADMSG : 0);
        if (result == 0) {
            ns_mandates_save(mandates, &again);
        }
        ns_mandates_free(mandates);
        free(copy);
    }
    CHECK(again.count == saved.count && memcmp(again.bytes, saved.bytes, saved.count) == 0);
    ns_buffer_free(&saved);
    ns_buffer_free(&again);
}

TEST(one_that_is_saved_twice_is_refused)
{
    struct ns_buffer mandate = mandate_of(1, "org", NS_MANDATE_DENY_MODELS, "a"), saved = {0};
    ns_buffer_add_u32(&saved, 2);
    for (int i = 0; i < 2; i++) {
        ns_buffer_add_u32(&saved, (uint32_t)mandate.count);
        ns_buffer_add(&saved, mandate.bytes, mandate.count);
    }
    struct ns_bytes bytes = {saved.bytes, saved.count, false};
    struct ns_mandates *mandates;
    CHECK_INT(ns_mandates_load(&bytes, &mandates), -EBADMSG);
    CHECK(mandates == NULL);
    ns_buffer_free(&mandate);
    ns_buffer_free(&saved);
}

TEST(bytes_that_are_no_mandate_are_refused)
{
    struct ns_mandates *mandates = ns_mandates_new();
    REQUIRE(mandates != NULL);
    CHECK_INT(put(mandates, 1, "nonsense", NS_MANDATE_DENY_MODELS, "a"), -EBADMSG);
    CHECK_INT(put(mandates, 1, "org", NS_MANDATE_LIST_COUNT, "a"), -EBADMSG);
    CHECK_INT(put(mandates, 1, "org", -1, "a"), -EBADMSG);
    CHECK_INT(put(mandates, 1, "org", NS_MANDATE_DENY_MODELS, ""), -EBADMSG);
    struct ns_buffer mandate = mandate_of(1, "org", NS_MANDATE_DENY_MODELS, "a");
    for (size_t count = 0; count < mandate.count; count++) {
        struct ns_mandate_terms terms;
        /* Without its only word it is a mandate that says nothing. */
        CHECK(ns_mandate_decode(mandate.bytes, count, &terms) == (count == mandate.count - 4));
    }
    mandate.bytes[8] = NS_POLICY_WARN;
    CHECK_INT(ns_mandates_put(mandates, mandate.bytes, mandate.count), -EBADMSG);
    ns_buffer_free(&mandate);
    CHECK_INT(ns_mandates_count(mandates), 0);
    ns_mandates_free(mandates);
}

TEST(lists_are_found_by_their_names)
{
    for (int list = 0; list < NS_MANDATE_LIST_COUNT; list++) {
        const char *name = ns_mandate_list_name(list);
        CHECK_INT(ns_mandate_list_find(name, strlen(name)), list);
        CHECK_INT(ns_mandate_list_find(name, strlen(name) - 1), -1);
    }
    CHECK_STR(ns_mandate_list_name(NS_MANDATE_LIST_COUNT), "?");
    CHECK_STR(ns_mandate_list_name(-1), "?");
}
