/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>

#include "shim/connections.h"
#include "tests/harness.h"

static const SSL *
pointer(uintptr_t n)
{
    return (const SSL *)(n * 48 + 4096);
}

static int visited;

static void
visit(struct ns_connection *connection)
{
    (void)connection;
    visited++;
}

TEST(a_connection_is_found_until_it_is_removed)
{
    struct ns_openssl api;
    CHECK(ns_connection_find(pointer(1)) == NULL);
    for (uintptr_t n = 0; n < 5000; n++) {
        struct ns_connection *made = ns_connection_add(pointer(n), &api, NULL);
        REQUIRE(made != NULL);
        CHECK(made->api == &api && made->engine == NULL);
    }
    visited = 0;
    ns_connections_each(visit);
    CHECK_INT(visited, 5000);
    for (uintptr_t n = 0; n < 5000; n += 2) {
        struct ns_connection *gone = ns_connection_remove(pointer(n));
        REQUIRE(gone != NULL && gone->ssl == NULL);
        ns_connection_give_back(gone);
    }
    for (uintptr_t n = 0; n < 5000; n++) {
        CHECK((ns_connection_find(pointer(n)) != NULL) == (n % 2 == 1));
    }
    CHECK(ns_connection_remove(pointer(0)) == NULL);
    for (uintptr_t n = 1; n < 5000; n += 2) {
        ns_connection_give_back(ns_connection_remove(pointer(n)));
    }
}

TEST(of_two_threads_that_meet_a_connection_the_first_has_it)
{
    struct ns_openssl api = {0}, other = {0};
    struct ns_connection *made = ns_connection_add(pointer(1), &api, NULL);
    CHECK(ns_connection_add(pointer(1), &other, NULL) == made);
    CHECK(made->api == &api);
    ns_connection_give_back(ns_connection_remove(pointer(1)));
    CHECK(ns_connection_find(pointer(1)) == NULL);
}

TEST(there_is_a_largest_number_of_connections)
{
    uintptr_t n = 0;
    while (n <= NS_CONNECTIONS_MAX && ns_connection_add(pointer(n), NULL, NULL) != NULL) {
        n++;
    }
    CHECK_INT(n, NS_CONNECTIONS_MAX);
    ns_connection_give_back(ns_connection_remove(pointer(0)));
    CHECK(ns_connection_add(pointer(0), NULL, NULL) != NULL);
    for (uintptr_t i = 0; i < n; i++) {
        ns_connection_give_back(ns_connection_remove(pointer(i)));
    }
}

static void *
come_and_go(void *argument)
{
    uintptr_t first = (uintptr_t)argument * 1000;
    for (int round = 0; round < 50; round++) {
        for (uintptr_t n = first; n < first + 100; n++) {
            ns_connection_add(pointer(n), NULL, NULL);
        }
        for (uintptr_t n = first; n < first + 100; n++) {
            CHECK(ns_connection_find(pointer(n)) != NULL);
            ns_connection_give_back(ns_connection_remove(pointer(n)));
        }
    }
    return NULL;
}

TEST(threads_do_not_disturb_each_other)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, come_and_go, (void *)i) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
}
