/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an AWS event stream, and as the payload of its chunks: how they are split changes
 * nothing. */
#include "tests/fuzz/splits.h"
#include "wire/event_bytes.h"
#include "wire/event_stream.h"
#include "wire/limits.h"

static struct heard
listen(enum split split, const uint8_t *data, size_t count)
{
    struct fuzz_pieces pieces = fuzz_pieces(split, data, count);
    struct ns_event_stream stream = {0};
    struct ns_event_stream_input input = {.event = NS_EVENT_STREAM_MORE};
    struct heard heard = {.hash = 1};
    const uint8_t *bytes;
    size_t left;
    while (input.event != NS_EVENT_STREAM_ERROR && fuzz_next(&pieces, &bytes, &left)) {
        do {
            size_t taken = ns_event_stream_feed(&stream, bytes, left, &input);
            FUZZ_REQUIRE(taken <= left);
            FUZZ_REQUIRE(input.event != NS_EVENT_STREAM_PAYLOAD || input.payload_bytes > 0);
            if (input.event == NS_EVENT_STREAM_PAYLOAD) {
                hear_data(&heard, 1, input.payload, input.payload_bytes);
            } else if (input.event != NS_EVENT_STREAM_MORE) {
                hear_event(&heard, (int)input.event + 2, stream.exception);
                hear_bytes(&heard, stream.type, strlen(stream.type));
            }
            bytes += taken;
            left -= taken;
        } while (input.event != NS_EVENT_STREAM_MORE && input.event != NS_EVENT_STREAM_ERROR);
    }
    fuzz_done(&pieces);
    return heard;
}

static struct heard
unwrap(enum split split, const uint8_t *data, size_t count)
{
    struct fuzz_pieces pieces = fuzz_pieces(split, data, count);
    struct ns_event_bytes wrapped = {0};
    struct heard heard = {.hash = 1};
    const uint8_t *bytes;
    size_t left;
    while (fuzz_next(&pieces, &bytes, &left)) {
        while (left > 0) {
            uint8_t out[16];
            size_t made;
            size_t room = 4 + count % (sizeof out - 3);
            size_t used = ns_event_bytes_feed(&wrapped, bytes, left, out, room, &made);
            FUZZ_REQUIRE(used > 0 && used <= left && made <= room);
            if (made > 0) {
                hear_data(&heard, 1, out, made);
            }
            bytes += used;
            left -= used;
        }
    }
    fuzz_done(&pieces);
    return heard;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    uint64_t whole = listen(SPLIT_WHOLE, data, count).hash;
    FUZZ_REQUIRE(whole == listen(SPLIT_BYTES, data, count).hash);
    FUZZ_REQUIRE(whole == listen(SPLIT_RANDOM, data, count).hash);
    whole = unwrap(SPLIT_WHOLE, data, count).hash;
    FUZZ_REQUIRE(whole == unwrap(SPLIT_BYTES, data, count).hash);
    FUZZ_REQUIRE(whole == unwrap(SPLIT_RANDOM, data, count).hash);
    return 0;
}
