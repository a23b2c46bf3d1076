/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes to the HTTP/1 parser, of both directions; responses with every kind of request. */
#include "tests/fuzz/splits.h"
#include "wire/http1.h"
#include "wire/limits.h"

enum { ANSWERS_HEAD = 1, ANSWERS_CONNECT = 2 };

static void
hear_text(struct heard *heard, struct ns_http1_text text)
{
    hear_event(heard, -2, text.bytes);
    hear_bytes(heard, text.text, text.bytes);
}

static void
hear_head(struct heard *heard, const struct ns_http1 *parser, enum ns_http1_side side)
{
    if (side == NS_HTTP1_REQUESTS) {
        hear_text(heard, ns_http1_method(parser));
        hear_text(heard, ns_http1_target(parser));
    } else {
        FUZZ_REQUIRE(ns_http1_status(parser) >= 100 && ns_http1_status(parser) <= 999);
        hear_event(heard, -3, (uint64_t)ns_http1_status(parser));
    }
    FUZZ_REQUIRE(ns_http1_head_bytes(parser) <= NS_HEAD_BYTES_MAX);
    FUZZ_REQUIRE(ns_http1_header_count(parser) <= NS_HEADERS_MAX);
    hear_event(heard, ns_http1_keep_alive(parser), (uint64_t)ns_http1_content_length(parser));
    for (size_t i = 0; i < ns_http1_header_count(parser); i++) {
        const struct ns_http1_header *header = ns_http1_header_at(parser, i);
        FUZZ_REQUIRE(header->line_offset + header->line_bytes < ns_http1_head_bytes(parser));
        hear_text(heard, header->name);
        hear_text(heard, header->value);
        hear_event(heard, -4, header->line_offset);
    }
}

struct listener {
    struct ns_http1 *parser;
    enum ns_http1_side side;
    unsigned answers;
    struct heard heard;
    uint64_t body_bytes; /* of this message */
};

static void
hear(struct listener *listener, const struct ns_http1_input *input)
{
    struct ns_http1 *parser = listener->parser;
    int64_t length = ns_http1_content_length(parser);
    switch (input->event) {
    case NS_HTTP1_HEAD:
        hear_head(&listener->heard, parser, listener->side);
        listener->body_bytes = 0;
        break;
    case NS_HTTP1_BODY:
        FUZZ_REQUIRE(input->body_bytes > 0);
        listener->body_bytes += input->body_bytes;
        FUZZ_REQUIRE(length < 0 || listener->body_bytes <= (uint64_t)length);
        hear_data(&listener->heard, NS_HTTP1_BODY, input->body, input->body_bytes);
        break;
    case NS_HTTP1_END:
        FUZZ_REQUIRE(length < 0 || listener->body_bytes == (uint64_t)length);
        FUZZ_REQUIRE(ns_http1_idle(parser));
        hear_event(&listener->heard, NS_HTTP1_END, 0);
        ns_http1_answering(parser, listener->answers & ANSWERS_HEAD,
                           listener->answers & ANSWERS_CONNECT);
        break;
    default:
        hear_event(&listener->heard, (int)input->event, ns_http1_error(parser));
        break;
    }
}

static struct heard
listen(enum split split, enum ns_http1_side side, unsigned answers, const uint8_t *data,
       size_t count)
{
    struct fuzz_pieces pieces = fuzz_pieces(split, data, count);
    struct listener listener = {
        .parser = ns_http1_new(side), .side = side, .answers = answers, .heard = {.hash = 1}};
    struct ns_http1_input input = {.event = NS_HTTP1_MORE};
    const uint8_t *bytes;
    size_t left;
    FUZZ_REQUIRE(listener.parser != NULL);
    ns_http1_answering(listener.parser, answers & ANSWERS_HEAD, answers & ANSWERS_CONNECT);
    while (input.event == NS_HTTP1_MORE && fuzz_next(&pieces, &bytes, &left)) {
        do {
            size_t taken = ns_http1_feed(listener.parser, bytes, left, &input);
            FUZZ_REQUIRE(taken <= left);
            if (input.event == NS_HTTP1_BODY) {
                FUZZ_REQUIRE(input.body >= bytes && input.body + input.body_bytes <= bytes + taken);
            }
            bytes += taken;
            left -= taken;
            if (input.event != NS_HTTP1_MORE) {
                hear(&listener, &input);
            }
        } while (input.event != NS_HTTP1_MORE && input.event != NS_HTTP1_ERROR &&
                 input.event != NS_HTTP1_UPGRADE);
    }
    hear_event(&listener.heard, -5, (uint64_t)ns_http1_close(listener.parser));
    ns_http1_free(listener.parser);
    fuzz_done(&pieces);
    return listener.heard;
}

/* The first byte: bit 0 the side, bits 1 and 2 what responses answer. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    if (count == 0) {
        return 0;
    }
    enum ns_http1_side side = data[0] & 1 ? NS_HTTP1_RESPONSES : NS_HTTP1_REQUESTS;
    unsigned answers = side == NS_HTTP1_RESPONSES ? (unsigned)data[0] >> 1 & 3 : 0;
    struct heard whole = listen(SPLIT_WHOLE, side, answers, data + 1, count - 1);
    FUZZ_REQUIRE(whole.hash == listen(SPLIT_BYTES, side, answers, data + 1, count - 1).hash);
    FUZZ_REQUIRE(whole.hash == listen(SPLIT_RANDOM, side, answers, data + 1, count - 1).hash);
    return 0;
}
