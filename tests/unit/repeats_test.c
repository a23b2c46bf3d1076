/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/repeats.h"

#include "tests/harness.h"

#define S INT64_C(1000000000)

TEST(what_comes_within_a_window_is_counted_by_its_key)
{
    struct ns_repeats *repeats = ns_repeats_new();
    REQUIRE(repeats != NULL);
    for (uint64_t i = 1; i <= 100; i++) {
        CHECK_INT(ns_repeats_count(repeats, 7, 1000 * S + (int64_t)i, 60 * S), i);
        CHECK_INT(ns_repeats_count(repeats, 8, 1000 * S + (int64_t)i, 60 * S), i);
    }
    CHECK_INT(ns_repeats_count(repeats, 9, 1001 * S, 60 * S), 1);
    ns_repeats_free(repeats);
}

TEST(a_window_slides)
{
    struct ns_repeats *repeats = ns_repeats_new();
    REQUIRE(repeats != NULL);
    for (uint64_t i = 0; i < 60; i++) {
        (void)ns_repeats_count(repeats, 7, (int64_t)i * S, 60 * S);
    }
    CHECK_INT(ns_repeats_count(repeats, 7, 60 * S, 60 * S), 61); /* all of the window before */
    CHECK_INT(ns_repeats_count(repeats, 7, 90 * S, 60 * S), 32); /* half of it */
    CHECK_INT(ns_repeats_count(repeats, 7, 119 * S, 60 * S), 4); /* a sixtieth of it */
    CHECK_INT(ns_repeats_count(repeats, 7, 120 * S, 60 * S), 4); /* those since 60 */
    CHECK_INT(ns_repeats_count(repeats, 7, 300 * S, 60 * S), 1); /* a long time after */
    CHECK_INT(ns_repeats_count(repeats, 7, 359 * S, 60 * S), 2);
    CHECK_INT(ns_repeats_count(repeats, 7, 360 * S, 60 * S), 3);
    ns_repeats_free(repeats);
}

TEST(a_clock_that_goes_back_stands_still)
{
    struct ns_repeats *repeats = ns_repeats_new();
    REQUIRE(repeats != NULL);
    CHECK_INT(ns_repeats_count(repeats, 7, 1000 * S, 60 * S), 1);
    CHECK_INT(ns_repeats_count(repeats, 7, 10 * S, 60 * S), 2);
    CHECK_INT(ns_repeats_count(repeats, 7, 1001 * S, 60 * S), 3);
    CHECK_INT(ns_repeats_count(repeats, 7, INT64_MAX, 60 * S), 1);
    CHECK_INT(ns_repeats_count(repeats, 7, INT64_MAX, 60 * S), 2);
    ns_repeats_free(repeats);
}

TEST(a_clock_that_goes_back_does_not_bring_the_window_before_back)
{
    struct ns_repeats *repeats = ns_repeats_new();
    REQUIRE(repeats != NULL);
    for (uint64_t i = 0; i < 60; i++) {
        (void)ns_repeats_count(repeats, 7, 0, 60 * S);
    }
    CHECK_INT(ns_repeats_count(repeats, 7, 90 * S, 60 * S), 31);
    CHECK_INT(ns_repeats_count(repeats, 7, 60 * S, 60 * S), 32);
    ns_repeats_free(repeats);
}

TEST(what_does_not_grow_is_counted_anew)
{
    struct ns_repeats *repeats = ns_repeats_new();
    REQUIRE(repeats != NULL);
    for (uint64_t i = 1; i <= 10; i++) {
        CHECK_INT(ns_repeats_count_growing(repeats, 7, 100 * i, 5 * S, 60 * S), i);
    }
    CHECK_INT(ns_repeats_count_growing(repeats, 7, 1000, 6 * S, 60 * S), 1);
    CHECK_INT(ns_repeats_count_growing(repeats, 7, 1001, 6 * S, 60 * S), 2);
    CHECK_INT(ns_repeats_count_growing(repeats, 7, 5, 6 * S, 60 * S), 1);
    ns_repeats_free(repeats);
}

/* Many more keys than there is room for: what goes on all the time is never forgotten for them. */
TEST(a_key_that_goes_on_outlives_a_flood_of_others)
{
    struct ns_repeats *repeats = ns_repeats_new();
    REQUIRE(repeats != NULL);
    int64_t now_ns = S;
    for (uint64_t i = 1; i <= 1000; i++) {
        CHECK_INT(ns_repeats_count(repeats, 2, ++now_ns, 3600 * S), i);
        for (uint64_t other = 0; other < 1000; other++) {
            (void)ns_repeats_count(repeats, (i * 1000 + other) * UINT64_C(0x9e3779b97f4a7c15),
                                   ++now_ns, 3600 * S);
        }
    }
    ns_repeats_free(repeats);
}
