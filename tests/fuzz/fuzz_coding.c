/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes to every decoder and to stacks of two. */
#include "tests/fuzz/splits.h"
#include "wire/coding.h"
#include "wire/limits.h"

static const char *const names[] = {"",     "gzip",     "deflate",    "br",
                                    "zstd", "gzip, br", "zstd, gzip", "deflate, deflate"};

struct end {
    struct heard heard;
    enum ns_coding_status status;
};

static struct end
listen(enum split split, const char *name, const uint8_t *data, size_t count)
{
    struct fuzz_pieces pieces = fuzz_pieces(split, data, count);
    struct ns_coding *coding;
    struct end end = {.heard = {.hash = 1}, .status = NS_CODING_MORE};
    const uint8_t *bytes, *output;
    size_t left, taken, made, total = 0;
    FUZZ_REQUIRE(ns_coding_new(name, strlen(name), &coding) == 0);
    while (end.status == NS_CODING_MORE && fuzz_next(&pieces, &bytes, &left)) {
        do {
            end.status = ns_coding_feed(coding, bytes, left, &taken, &output, &made);
            FUZZ_REQUIRE(taken <= left);
            FUZZ_REQUIRE((end.status == NS_CODING_OUTPUT) == (made > 0));
            hear_data(&end.heard, 1, output, made);
            total += made;
            bytes += taken;
            left -= taken;
        } while (end.status == NS_CODING_OUTPUT);
        FUZZ_REQUIRE(left == 0 || end.status != NS_CODING_MORE);
    }
    FUZZ_REQUIRE(total <= NS_CODING_FREE_BYTES || total <= NS_CODING_GROWTH_MAX * count);
    FUZZ_REQUIRE(end.status != NS_CODING_NO_MEMORY);
    ns_coding_free(coding);
    fuzz_done(&pieces);
    return end;
}

/* The first byte chooses the coding. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    if (count == 0) {
        return 0;
    }
    const char *name = names[data[0] % (sizeof(names) / sizeof(names[0]))];
    struct end whole = listen(SPLIT_WHOLE, name, data + 1, count - 1);
    struct end random = listen(SPLIT_RANDOM, name, data + 1, count - 1);
    /* How much comes out before an error depends on how much the libraries look ahead. */
    bool bomb = whole.status == NS_CODING_BOMB || random.status == NS_CODING_BOMB;
    /* Whether an empty frame of zstd that claims to have content is corrupt depends on whether the
     * library has it in one piece. */
    bool zstd = strstr(name, "zstd") != NULL &&
                (whole.status == NS_CODING_CORRUPT || random.status == NS_CODING_CORRUPT);
    if (!bomb && !zstd) {
        FUZZ_REQUIRE(whole.status == random.status);
    }
    if (whole.status == NS_CODING_MORE || whole.status == NS_CODING_END) {
        FUZZ_REQUIRE(whole.heard.hash == random.heard.hash || random.status != whole.status);
    }
    return 0;
}
