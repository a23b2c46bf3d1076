/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>

#include "base/mem.h"
#include "shim/memory.h"
#include "tests/harness.h"

static bool
is_zero(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

TEST(blocks_are_zero_and_aligned_also_when_they_are_used_again)
{
    for (size_t bytes = 0; bytes < 300000; bytes = bytes * 3 / 2 + 1) {
        for (int again = 0; again < 3; again++) {
            uint8_t *block = ns_mem_alloc(bytes);
            REQUIRE(block != NULL);
            CHECK(((uintptr_t)block & 15) == 0);
            CHECK(is_zero(block, bytes));
            memset(block, 0xa5, bytes);
            ns_mem_free(block);
        }
    }
}

TEST(blocks_do_not_overlap)
{
    enum { BLOCKS = 400 };
    uint8_t *blocks[BLOCKS];
    size_t sizes[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        sizes[i] = (size_t)(ns_test_random() % 9000);
        blocks[i] = ns_mem_alloc(sizes[i]);
        REQUIRE(blocks[i] != NULL);
        memset(blocks[i], i & 0xff, sizes[i]);
    }
    for (int i = 0; i < BLOCKS; i++) {
        for (size_t k = 0; k < sizes[i]; k++) {
            if (blocks[i][k] != (i & 0xff)) {
                NS_FAIL("block %d was written over", i);
                break;
            }
        }
        ns_mem_free(blocks[i]);
    }
}

TEST(a_resized_block_keeps_its_beginning)
{
    size_t bytes = 10;
    uint8_t *block = ns_mem_alloc(bytes);
    REQUIRE(block != NULL);
    memset(block, 7, 10);
    while (bytes < 20000000) {
        uint8_t *moved = ns_mem_resize(block, bytes, bytes * 2);
        REQUIRE(moved != NULL);
        block = moved;
        bytes *= 2;
        CHECK(block[0] == 7 && block[9] == 7);
    }
    block = ns_mem_resize(block, bytes, 10);
    REQUIRE(block != NULL);
    CHECK(block[9] == 7);
    ns_mem_free(block);
    ns_mem_free(NULL);
    block = ns_mem_resize(NULL, 0, 5);
    CHECK(block != NULL);
    ns_mem_free(block);
}

TEST(large_blocks_go_back_to_the_kernel)
{
    void *warm = ns_mem_alloc(10);
    size_t before = ns_mem_mapped_bytes();
    void *block = ns_mem_alloc(NS_MEM_SMALL_BYTES_MAX);
    REQUIRE(block != NULL);
    CHECK(ns_mem_mapped_bytes() > before + NS_MEM_SMALL_BYTES_MAX);
    ns_mem_free(block);
    CHECK_INT(ns_mem_mapped_bytes(), before);
    ns_mem_free(warm);
}

TEST(steady_use_takes_no_further_memory)
{
    for (int round = 0; round < 3; round++) {
        size_t before = ns_mem_mapped_bytes();
        for (int i = 0; i < 10000; i++) {
            void *a = ns_mem_alloc(16000);
            void *b = ns_mem_alloc(100);
            ns_mem_free(a);
            ns_mem_free(b);
        }
        CHECK(round == 0 || ns_mem_mapped_bytes() == before);
    }
}

TEST(what_cannot_be_is_refused)
{
    CHECK(ns_mem_alloc(SIZE_MAX) == NULL);
    CHECK(ns_mem_alloc(SIZE_MAX - 8) == NULL);
    CHECK(ns_mem_alloc(SIZE_MAX / 4) == NULL);
    uint8_t *block = ns_mem_alloc(200000);
    REQUIRE(block != NULL);
    block[199999] = 3;
    CHECK(ns_mem_resize(block, 200000, SIZE_MAX / 4) == NULL);
    CHECK(block[199999] == 3);
    ns_mem_free(block);
}

#ifdef NS_DEBUG
TEST(the_asked_for_allocation_fails)
{
    ns_mem_fail_at(2);
    void *first = ns_mem_alloc(10);
    void *second = ns_mem_alloc(10);
    void *third = ns_mem_alloc(10);
    CHECK(first != NULL && second == NULL && third != NULL);
    CHECK_INT(ns_mem_fail_at(0), 3);
    ns_mem_free(first);
    ns_mem_free(third);
}
#endif

static void *
churn(void *unused)
{
    (void)unused;
    uint8_t *kept[16] = {0};
    for (int i = 0; i < 20000; i++) {
        int k = i % 16;
        if (kept[k] != NULL && (kept[k][0] != k || kept[k][99] != k)) {
            NS_FAIL("another thread wrote into block %d", k);
        }
        ns_mem_free(kept[k]);
        kept[k] = ns_mem_alloc(100 + (size_t)(i % 7) * 300);
        kept[k][0] = kept[k][99] = (uint8_t)k;
    }
    for (int k = 0; k < 16; k++) {
        ns_mem_free(kept[k]);
    }
    return NULL;
}

TEST(threads_get_blocks_of_their_own)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, churn, NULL) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
}
