/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test harness: a file of TESTs is a program that prints TAP.
 *
 *     TEST(a_name_that_says_the_behaviour) { CHECK(1 + 1 == 2); CHECK_INT(f(), 3); }
 *
 * A failed check is printed with its place and values, and the test goes on, so that one run shows
 * all that is wrong; REQUIRE leaves the test. SKIP names the facility of the machine that is
 * missing. `prog NAME…` runs only the tests whose names contain one of the words.
 */
#ifndef NS_TESTS_HARNESS_H
#define NS_TESTS_HARNESS_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ns_test {
    const char *name;
    void (*run)(void);
    struct ns_test *next;
};

extern struct ns_test *ns_tests_first;
extern struct ns_test **ns_tests_last;
extern int ns_test_failures;
extern const char *ns_test_skipped;

#define TEST(name)                                                                                 \
    static void test_##name(void);                                                                 \
    __attribute__((constructor)) static void add_##name(void)                                      \
    {                                                                                              \
        static struct ns_test test = {#name, test_##name, NULL};                                   \
        *ns_tests_last = &test;                                                                    \
        ns_tests_last = &test.next;                                                                \
    }                                                                                              \
    static void test_##name(void)

#define NS_FAIL(...)                                                                               \
    do {                                                                                           \
        printf("# %s:%d: ", __FILE__, __LINE__);                                                   \
        printf(__VA_ARGS__);                                                                       \
        printf("\n");                                                                              \
        fflush(stdout);                                                                            \
        __atomic_add_fetch(&ns_test_failures, 1, __ATOMIC_RELAXED);                                \
    } while (0)

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            NS_FAIL("not true: %s", #condition);                                                   \
        }                                                                                          \
    } while (0)

#define CHECK_INT(got, expected)                                                                   \
    do {                                                                                           \
        intmax_t ns_got = (intmax_t)(got), ns_expected = (intmax_t)(expected);                     \
        if (ns_got != ns_expected) {                                                               \
            NS_FAIL("%s is %" PRIdMAX ", not %" PRIdMAX, #got, ns_got, ns_expected);               \
        }                                                                                          \
    } while (0)

#define CHECK_STR(got, expected)                                                                   \
    do {                                                                                           \
        const char *ns_got = (got), *ns_expected = (expected);                                     \
        if (ns_got == NULL || strcmp(ns_got, ns_expected) != 0) {                                  \
            NS_FAIL("%s is \"%s\", not \"%s\"", #got, ns_got ? ns_got : "(null)", ns_expected);    \
        }                                                                                          \
    } while (0)

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            NS_FAIL("required: %s", #condition);                                                   \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#define SKIP(facility)                                                                             \
    do {                                                                                           \
        ns_test_skipped = (facility);                                                              \
        return;                                                                                    \
    } while (0)

/* The whole file, NUL-terminated, from malloc; NULL where it cannot be read. */
char *ns_test_read_file(const char *path, size_t *bytes);

/* A repeatable random number; the seed is NS_TEST_SEED or 1 and is printed when a test fails. */
uint64_t ns_test_random(void);
void ns_test_seed(uint64_t seed);

#endif
