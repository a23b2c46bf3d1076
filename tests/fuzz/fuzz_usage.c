/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any body to the filter of usage chunks, and as an answer of HTTP/1.1 to its framing; and any
 * request to the editor, whose result must be read as the request was.
 */
#include "tests/fuzz/splits.h"
#include "wire/http1.h"
#include "wire/http1_filter.h"
#include "wire/usage_filter.h"
#include "wire/wire.h"

static struct heard
filter_body(enum split split, const uint8_t *data, size_t count)
{
    struct fuzz_pieces pieces = fuzz_pieces(split, data, count);
    struct heard heard = {.hash = 1};
    struct ns_usage_filter filter;
    struct ns_usage_output output;
    const uint8_t *bytes;
    size_t left;
    size_t passed = 0;
    FUZZ_REQUIRE(ns_usage_filter_init(&filter) == 0);
    while (fuzz_next(&pieces, &bytes, &left)) {
        while (left > 0) {
            size_t used = ns_usage_filter_feed(&filter, bytes, left, &output);
            FUZZ_REQUIRE(used <= left && (used > 0 || output.count > 0));
            hear_data(&heard, 1, output.bytes, output.count);
            passed += output.count;
            bytes += used;
            left -= used;
        }
    }
    ns_usage_filter_finish(&filter, &output);
    hear_data(&heard, 1, output.bytes, output.count);
    passed += output.count;
    FUZZ_REQUIRE(filter.removed > 0 ? passed < count : passed == count);
    ns_usage_filter_free(&filter);
    fuzz_done(&pieces);
    return heard;
}

static void
filter_answer(enum split split, const uint8_t *data, size_t count)
{
    struct fuzz_pieces pieces = fuzz_pieces(split, data, count);
    struct ns_http1_filter *filter = ns_http1_filter_new();
    struct ns_bytes out = {0};
    const uint8_t *bytes;
    size_t left;
    FUZZ_REQUIRE(filter != NULL);
    while (fuzz_next(&pieces, &bytes, &left) && !ns_http1_filter_is_over(filter)) {
        FUZZ_REQUIRE(ns_http1_filter_feed(filter, bytes, left, &out));
    }
    FUZZ_REQUIRE(ns_http1_filter_close(filter, &out));
    ns_bytes_free(&out);
    ns_http1_filter_free(filter);
    fuzz_done(&pieces);
}

/* The body of a request that must be whole. */
static void
hear_body(const uint8_t *bytes, size_t count, struct heard *heard, size_t *body_bytes)
{
    struct ns_http1 *parser = ns_http1_new(NS_HTTP1_REQUESTS);
    struct ns_http1_input input;
    *body_bytes = 0;
    do {
        size_t used = ns_http1_feed(parser, bytes, count, &input);
        FUZZ_REQUIRE(input.event != NS_HTTP1_ERROR);
        FUZZ_REQUIRE(input.event != NS_HTTP1_MORE || used < count || count == 0);
        if (input.event == NS_HTTP1_BODY) {
            hear_data(heard, 1, input.body, input.body_bytes);
            *body_bytes += input.body_bytes;
        }
        FUZZ_REQUIRE(input.event != NS_HTTP1_MORE);
        bytes += used;
        count -= used;
    } while (input.event != NS_HTTP1_END);
    FUZZ_REQUIRE(count == 0);
    ns_http1_free(parser);
}

static struct heard
edit_request(enum split split, const uint8_t *data, size_t count)
{
    struct fuzz_pieces pieces = fuzz_pieces(split, data, count);
    struct ns_wire *wire = ns_wire_new(NULL, "api.openai.com");
    struct ns_bytes held = {0};
    struct heard heard = {.hash = 1};
    struct ns_wire_written written = {.class = NS_WIRE_WITHHOLD};
    const uint8_t *bytes;
    size_t left;
    FUZZ_REQUIRE(wire != NULL);
    while (written.class == NS_WIRE_WITHHOLD && fuzz_next(&pieces, &bytes, &left)) {
        while (left > 0 && written.class == NS_WIRE_WITHHOLD) {
            size_t used = ns_wire_write(wire, bytes, left, 1 << 20, &written);
            FUZZ_REQUIRE(ns_bytes_append(&held, bytes, used));
            bytes += used;
            left -= used;
        }
    }
    if (written.class == NS_WIRE_CALL) {
        size_t before = written.call->request.body_bytes;
        if (ns_wire_ask_usage(wire, written.call, &held) == 0) {
            size_t after;
            hear_body(ns_bytes_front(&held), ns_bytes_count(&held), &heard, &after);
            FUZZ_REQUIRE(after >= before - 1 && after <= before + 64);
        }
    }
    ns_bytes_free(&held);
    ns_wire_free(wire);
    fuzz_done(&pieces);
    return heard;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    uint64_t body = filter_body(SPLIT_WHOLE, data, count).hash;
    uint64_t request = edit_request(SPLIT_WHOLE, data, count).hash;
    FUZZ_REQUIRE(body == filter_body(SPLIT_BYTES, data, count).hash);
    FUZZ_REQUIRE(body == filter_body(SPLIT_RANDOM, data, count).hash);
    FUZZ_REQUIRE(request == edit_request(SPLIT_BYTES, data, count).hash);
    FUZZ_REQUIRE(request == edit_request(SPLIT_RANDOM, data, count).hash);
    filter_answer(SPLIT_WHOLE, data, count);
    filter_answer(SPLIT_RANDOM, data, count);
    return 0;
}
