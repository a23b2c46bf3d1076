/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes to the parser of server-sent events. */
#include "tests/fuzz/splits.h"
#include "wire/sse.h"

static struct heard
listen(enum split split, const uint8_t *data, size_t count)
{
    struct fuzz_pieces pieces = fuzz_pieces(split, data, count);
    struct ns_sse sse;
    struct ns_sse_input input;
    struct heard heard = {.hash = 1};
    const uint8_t *bytes;
    size_t left;
    ns_sse_init(&sse);
    while (fuzz_next(&pieces, &bytes, &left)) {
        do {
            size_t taken = ns_sse_feed(&sse, bytes, left, &input);
            FUZZ_REQUIRE(taken <= left);
            if (input.event == NS_SSE_DATA) {
                FUZZ_REQUIRE(input.data_bytes > 0);
                hear_data(&heard, NS_SSE_DATA, input.data, input.data_bytes);
            } else if (input.event == NS_SSE_END) {
                FUZZ_REQUIRE(sse.event_bytes < sizeof(sse.event));
                FUZZ_REQUIRE(sse.event[sse.event_bytes] == '\0');
                hear_event(&heard, NS_SSE_END, sse.event_bytes);
                hear_bytes(&heard, sse.event, sse.event_bytes);
            }
            bytes += taken;
            left -= taken;
        } while (input.event != NS_SSE_MORE);
        FUZZ_REQUIRE(left == 0);
    }
    fuzz_done(&pieces);
    return heard;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    struct heard whole = listen(SPLIT_WHOLE, data, count);
    FUZZ_REQUIRE(whole.hash == listen(SPLIT_BYTES, data, count).hash);
    FUZZ_REQUIRE(whole.hash == listen(SPLIT_RANDOM, data, count).hash);
    return 0;
}
