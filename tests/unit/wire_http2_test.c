/* SPDX-License-Identifier: Apache-2.0 */
/* Frames and heads of HTTP/2: what is one, what is none, whatever the splits. */
#include <errno.h>
#include <nghttp2/nghttp2.h>

#include "base/mem.h"
#include "tests/harness.h"
#include "wire/http2_call.h"
#include "wire/http2_frame.h"
#include "wire/http2_head.h"
#include "wire/limits.h"

/* --- frames --------------------------------------------------------------------------------- */

/* What a parser tells, as text: F type/flags/stream/length, c content, r rest, E end, ! error. */
static void
tell(const uint8_t *bytes, size_t count, size_t piece, char *told, size_t told_bytes)
{
    struct ns_http2_frames frames = {0};
    size_t used = 0;
    char last = 0;
    for (size_t i = 0;;) {
        struct ns_http2_input input;
        size_t left = count - i < piece ? count - i : piece;
        size_t taken = ns_http2_frames_feed(&frames, bytes + i, left, &input);
        i += taken;
        if (input.event == NS_HTTP2_FRAME) {
            used +=
                (size_t)snprintf(told + used, told_bytes - used, "F%u/%u/%u/%u ", frames.frame.type,
                                 frames.frame.flags, frames.frame.stream, frames.frame.length);
        } else if (input.event == NS_HTTP2_CONTENT || input.event == NS_HTTP2_REST) {
            char c = input.event == NS_HTTP2_CONTENT ? 'c' : 'r';
            for (size_t k = 0; k < input.count; k++) {
                used +=
                    (size_t)snprintf(told + used, told_bytes - used, "%c%02x ", c, input.bytes[k]);
            }
        } else if (input.event == NS_HTTP2_END) {
            used += (size_t)snprintf(told + used, told_bytes - used, "E ");
        } else if (input.event == NS_HTTP2_ERROR) {
            snprintf(told + used, told_bytes - used, "!");
            return;
        } else if (i == count) {
            CHECK(last == 'm' || ns_http2_frames_idle(&frames) || frames.header_bytes > 0);
            return;
        }
        last = input.event == NS_HTTP2_MORE ? 'm' : 0;
    }
}

static void
check_frames(const char *bytes, size_t count, const char *expected)
{
    for (size_t piece = 1; piece <= count; piece++) {
        char told[1024] = "";
        tell((const uint8_t *)bytes, count, piece, told, sizeof told);
        CHECK_STR(told, expected);
    }
}

#define FRAMES(text, expected) check_frames((text), sizeof(text) - 1, (expected))

TEST(frames_are_told_in_parts_wherever_they_are_split)
{
    FRAMES("\0\0\3\0\1\0\0\0\1abc", "F0/1/1/3 c61 c62 c63 E ");
    FRAMES("\0\0\0\0\1\0\0\0\1", "F0/1/1/0 E ");
    FRAMES("\0\0\6\0\10\0\0\0\1\2abcxy", "F0/8/1/6 r02 c61 c62 c63 r78 r79 E ");
    FRAMES("\0\0\7\1\44\0\0\0\1\0\0\0\0\20ab", "F1/36/1/7 r00 r00 r00 r00 r10 c61 c62 E ");
    FRAMES("\0\0\11\1\54\0\0\0\1\1\0\0\0\0\20abx",
           "F1/44/1/9 r01 r00 r00 r00 r00 r10 c61 c62 r78 E ");
    FRAMES("\0\0\6\5\4\0\0\0\1\0\0\0\2ab", "F5/4/1/6 r00 r00 r00 r02 c61 c62 E ");
    FRAMES("\0\0\4\10\0\0\0\0\0\0\0\0\5", "F8/0/0/4 r00 r00 r00 r05 E ");
    FRAMES("\0\0\2\372\0\0\0\0\7zz", "F250/0/7/2 r7a r7a E ");
    FRAMES("\0\0\1\1\0\0\0\0\1a\0\0\1\11\4\0\0\0\1b", "F1/0/1/1 c61 E F9/4/1/1 c62 E ");
    FRAMES("\0\0\1\0\0\200\0\0\1a", "F0/0/1/1 c61 E "); /* a reserved bit is nobody's */
}

TEST(frames_against_the_rules_are_errors)
{
    FRAMES("\0\0\1\0\0\0\0\0\0a", "!"); /* DATA without stream */
    FRAMES("\0\0\1\1\4\0\0\0\0a", "!"); /* HEADERS without */
    FRAMES("\0\0\0\4\0\0\0\0\1", "!");  /* SETTINGS with one */
    FRAMES("\0\0\5\4\0\0\0\0\0", "!");  /* not of sixes */
    FRAMES("\0\0\7\6\0\0\0\0\0", "!");  /* PING of seven */
    FRAMES("\0\0\3\10\0\0\0\0\0", "!"); /* WINDOW_UPDATE of three */
    FRAMES("\0\0\3\3\0\0\0\0\1", "!");  /* RST_STREAM of three */
    FRAMES("\0\0\1\11\4\0\0\0\1", "!"); /* continues nothing */
    FRAMES("\0\0\1\1\0\0\0\0\1a\0\0\1\0\0\0\0\0\1", "F1/0/1/1 c61 E !"); /* amid a block */
    FRAMES("\0\0\1\1\0\0\0\0\1a\0\0\1\11\4\0\0\0\3", "F1/0/1/1 c61 E !");
    FRAMES("\0\0\3\0\10\0\0\0\1\3ab", "F0/8/1/3 !"); /* more padding than payload */
    FRAMES("\0\0\4\1\54\0\0\0\1\0\0\0\0", "!");      /* no room for a priority */
    FRAMES("\0\0\0\0\10\0\0\0\1", "!");              /* or for the length of padding */
}

TEST(padding_may_fill_a_frame)
{
    FRAMES("\0\0\3\0\10\0\0\0\1\2ab", "F0/8/1/3 r02 r61 r62 E ");
    FRAMES("\0\0\1\0\10\0\0\0\1\0", "F0/8/1/1 r00 E ");
}

/* --- heads ---------------------------------------------------------------------------------- */

static size_t
encode(nghttp2_hd_deflater *deflater, const char *const *fields, uint8_t *block, size_t room)
{
    nghttp2_nv pairs[64];
    size_t count = 0;
    for (; fields[2 * count] != NULL; count++) {
        pairs[count] = (nghttp2_nv){.name = (uint8_t *)fields[2 * count],
                                    .value = (uint8_t *)fields[2 * count + 1],
                                    .namelen = strlen(fields[2 * count]),
                                    .valuelen = strlen(fields[2 * count + 1])};
    }
    return (size_t)nghttp2_hd_deflate_hd(deflater, block, room, pairs, count);
}

static struct ns_http2_head
decode(struct ns_http2_fields *decoder, const uint8_t *block, size_t bytes, size_t piece)
{
    struct ns_http2_head head = {0};
    for (size_t i = 0; i < bytes; i += piece) {
        size_t count = bytes - i < piece ? bytes - i : piece;
        CHECK_INT(ns_http2_fields_feed(decoder, block + i, count, false, &head), 0);
    }
    CHECK_INT(ns_http2_fields_feed(decoder, NULL, 0, true, &head), 0);
    return head;
}

/* The text of a head of these fields, "" where it is none. */
static void
text_of(const char *const *fields, enum ns_http1_side side, size_t piece, char *text, size_t room)
{
    nghttp2_hd_deflater *deflater;
    nghttp2_hd_deflate_new(&deflater, 4096);
    struct ns_http2_fields *decoder = ns_http2_fields_new();
    uint8_t block[4096];
    struct ns_http2_head head =
        decode(decoder, block, encode(deflater, fields, block, 4096), piece);
    struct ns_bytes bytes = {0};
    struct ns_http1 *parser = ns_http2_head_read(&head, side, &bytes);
    size_t count = parser == NULL ? 0 : ns_bytes_count(&bytes);
    REQUIRE(count < room);
    if (count > 0) {
        memcpy(text, ns_bytes_front(&bytes), count);
    }
    text[count] = '\0';
    ns_http1_free(parser);
    ns_bytes_free(&bytes);
    ns_http2_head_free(&head);
    ns_http2_fields_free(decoder);
    nghttp2_hd_deflate_del(deflater);
}

static void
check_text(const char *const *fields, enum ns_http1_side side, const char *expected)
{
    for (size_t piece = 1; piece < 40; piece++) {
        char text[4096];
        text_of(fields, side, piece, text, sizeof text);
        CHECK_STR(text, expected);
    }
}

TEST(a_head_reads_as_that_of_http1_whatever_the_order_of_its_pseudo_fields)
{
    const char *request[] = {
        ":scheme", "https", ":path",         "/v1/x?y=1", ":authority", "api.openai.com",
        ":method", "POST",  "authorization", "Bearer a",  "x-a",        "",
        NULL,      NULL};
    check_text(request, NS_HTTP1_REQUESTS,
               "POST /v1/x?y=1 HTTP/1.1\r\nhost: api.openai.com\r\nauthorization: Bearer a\r\n"
               "x-a: \r\n\r\n");
    const char *answer[] = {":status", "200", "content-type", "text/event-stream", NULL, NULL};
    check_text(answer, NS_HTTP1_RESPONSES,
               "HTTP/1.1 200 \r\ncontent-type: text/event-stream\r\n\r\n");
}

TEST(a_head_that_http1_cannot_hold_is_none)
{
    static const char *const bad[][10] = {
        {":method", "POST", ":path", "/", "x-a", "b\r\nhost: evil", NULL, NULL},
        {":method", "POST", ":path", "/ HTTP/1.1\r\nhost: evil", NULL, NULL},
        {":method", "POST", ":path", "/", "x-a", "b\nc", NULL, NULL},
        {":method", "POST", ":path", "/", "x:a", "b", NULL, NULL},
        {":method", "POST", ":path", "/", "x a", "b", NULL, NULL},
        {":method", "POST", ":path", "/", ":method", "GET", NULL, NULL},
        {":method", "POST", "x-a", "b", ":path", "/", NULL, NULL},
        {":method", "CONNECT", ":protocol", "websocket", ":path", "/", NULL, NULL},
        {":method", "POST", NULL, NULL},
        {":path", "/", NULL, NULL},
        {"x-a", "b", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[4096];
        text_of(bad[i], NS_HTTP1_REQUESTS, 4096, text, sizeof text);
        CHECK_STR(text, "");
    }
}

/* Decodes the literals of a head with libnghttp2's own decoder, whose table must stay empty. */
static void
read_literals(const struct ns_http2_head *head, char *text, size_t room)
{
    nghttp2_hd_inflater *inflater;
    nghttp2_hd_inflate_new(&inflater);
    const uint8_t *bytes = ns_bytes_front(&head->block);
    size_t count = ns_bytes_count(&head->block);
    size_t used = 0;
    for (;;) {
        nghttp2_nv field;
        int flags = 0;
        ssize_t taken = nghttp2_hd_inflate_hd2(inflater, &field, &flags, bytes, count, 1);
        REQUIRE(taken >= 0);
        bytes += taken;
        count -= (size_t)taken;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
            used += (size_t)snprintf(text + used, room - used, "%s=%s%s;", field.name, field.value,
                                     field.flags & NGHTTP2_NV_FLAG_NO_INDEX ? "!" : "");
        }
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
            break;
        }
    }
    CHECK_INT(nghttp2_hd_inflate_get_dynamic_table_size(inflater), 0);
    nghttp2_hd_inflate_del(inflater);
}

TEST(a_block_is_written_anew_without_ours_and_without_a_table)
{
    static const uint8_t block[] = "\x82\x84\x41\x01h" /* GET / at h */
                                   "\x40\x14X-NullSpend-Customer\x04"
                                   "acme"           /* indexed */
                                   "\x10\x01k\x01v" /* never to be indexed */
                                   "\x40\x01"
                                   "a\x01"
                                   "b"
                                   "\xbe"; /* and again by index */
    struct ns_http2_fields *decoder = ns_http2_fields_new();
    struct ns_http2_head head = decode(decoder, block, sizeof block - 1, 5);
    CHECK(head.ours);
    CHECK(!head.no_block);
    char text[512] = "";
    read_literals(&head, text, sizeof text);
    CHECK_STR(text, ":method=GET;:path=/;:authority=h;k=v!;a=b;a=b;");
    ns_http2_head_free(&head);
    ns_http2_fields_free(decoder);
}

TEST(literals_of_any_length_are_read_back)
{
    static char value[NS_HEAD_BYTES_MAX];
    memset(value, 'v', sizeof value);
    for (size_t bytes = 0; bytes < sizeof value; bytes = bytes < 400 ? bytes + 1 : bytes * 3) {
        struct ns_http2_head head = {0};
        CHECK(ns_http2_literal(&head.block, "Name", 4, value, bytes, false));
        static char text[NS_HEAD_BYTES_MAX + 64];
        read_literals(&head, text, sizeof text);
        CHECK_INT(strlen(text), bytes + strlen("name=;"));
        CHECK(strncmp(text, "name=", 5) == 0);
        ns_http2_head_free(&head);
    }
}

TEST(a_head_past_its_bound_is_none_and_the_decoder_goes_on)
{
    static char value[NS_HEAD_BYTES_MAX + 1];
    for (int over = 0; over < 2; over++) {
        struct ns_http2_fields *decoder = ns_http2_fields_new();
        struct ns_bytes block = {0};
        size_t bytes = NS_HEAD_BYTES_MAX - (over ? 0 : 200);
        memset(value, 'v', bytes);
        CHECK(ns_http2_literal(&block, ":method", 7, "POST", 4, false));
        CHECK(ns_http2_literal(&block, ":path", 5, "/", 1, false));
        CHECK(ns_http2_literal(&block, "x", 1, value, bytes, false));
        struct ns_http2_head head =
            decode(decoder, ns_bytes_front(&block), ns_bytes_count(&block), 1000);
        struct ns_bytes text = {0};
        struct ns_http1 *parser = ns_http2_head_read(&head, NS_HTTP1_REQUESTS, &text);
        CHECK_INT(parser != NULL, !over);
        CHECK_INT(head.no_block, over);
        ns_http1_free(parser);
        ns_bytes_free(&text);
        ns_http2_head_free(&head);
        head = decode(decoder, (const uint8_t *)"\x82\x84", 2, 2);
        parser = ns_http2_head_read(&head, NS_HTTP1_REQUESTS, &text);
        CHECK(parser != NULL);
        ns_http1_free(parser);
        ns_bytes_free(&text);
        ns_bytes_free(&block);
        ns_http2_head_free(&head);
        ns_http2_fields_free(decoder);
    }
}

TEST(what_is_no_hpack_is_told)
{
    struct ns_http2_fields *decoder = ns_http2_fields_new();
    struct ns_http2_head head = {0};
    CHECK_INT(
        ns_http2_fields_feed(decoder, (const uint8_t *)"\xff\xff\xff\xff\xff", 5, false, &head),
        -EBADMSG);
    ns_http2_head_free(&head);
    ns_http2_fields_free(decoder);
}

TEST(a_block_takes_as_many_frames_as_it_needs)
{
    static uint8_t block[3 * NS_HTTP2_FRAME_BYTES_MAX];
    const size_t sizes[] = {0,
                            1,
                            NS_HTTP2_FRAME_BYTES_MAX,
                            NS_HTTP2_FRAME_BYTES_MAX + 1,
                            2 * NS_HTTP2_FRAME_BYTES_MAX,
                            2 * NS_HTTP2_FRAME_BYTES_MAX + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct ns_bytes out = {0};
        CHECK(ns_http2_block_write(&out, 5, block, sizes[i], true));
        struct ns_http2_frames frames = {0};
        size_t content = 0;
        size_t count = 0;
        for (;;) {
            struct ns_http2_input input;
            ns_bytes_take(&out, ns_http2_frames_feed(&frames, ns_bytes_front(&out),
                                                     ns_bytes_count(&out), &input));
            content += input.event == NS_HTTP2_CONTENT ? input.count : 0;
            count += input.event == NS_HTTP2_END;
            if (input.event == NS_HTTP2_MORE || input.event == NS_HTTP2_ERROR) {
                CHECK_INT(input.event, NS_HTTP2_MORE);
                break;
            }
        }
        CHECK(ns_http2_frames_idle(&frames));
        CHECK_INT(content, sizes[i]);
        CHECK_INT(count, sizes[i] == 0 ? 1 : (sizes[i] - 1) / NS_HTTP2_FRAME_BYTES_MAX + 1);
        ns_bytes_free(&out);
    }
}
