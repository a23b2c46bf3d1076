/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/coding.h"

#include <errno.h>

#include <zlib.h>
#include <zstd.h>

#include "base/mem.h"
#include "tests/unit/splits.h"
#include "wire/limits.h"

/* --- coded bodies ----------------------------------------------------------------------------- */

struct body {
    uint8_t *bytes;
    size_t count;
};

static struct body
body_new(size_t count)
{
    struct body body = {.bytes = calloc(1, count + 1), .count = count};
    if (body.bytes == NULL) {
        abort();
    }
    return body;
}

static struct body
body_of(const void *bytes, size_t count)
{
    struct body body = body_new(count);
    memcpy(body.bytes, bytes, count);
    return body;
}

/* What br_text is made of. */
static struct body
text_body(void)
{
    struct body body = body_new(8192);
    body.count = 0;
    for (int i = 0; i < 100; i++) {
        body.count += (size_t)snprintf((char *)body.bytes + body.count, 8192 - body.count,
                                       "data: {\"choices\":[{\"index\":%d}]}\n\n", i * i % 37);
    }
    return body;
}

/* The reference encoder's output; the library has its decoder alone in the build. */
static const uint8_t br_text[] = {
    0x13, 0x2a, 0x0d, 0x00, 0x44, 0xe7, 0xd6, 0x29, 0xc9, 0x11, 0x92, 0xfc, 0x28, 0x42, 0xaa,
    0xce, 0x94, 0x98, 0x90, 0xe9, 0x01, 0x50, 0xb1, 0x48, 0x23, 0x1e, 0x4d, 0xf8, 0x32, 0x6a,
    0x9e, 0x3e, 0x6f, 0x32, 0x70, 0x9e, 0x9b, 0x73, 0x1c, 0x3e, 0xed, 0x77, 0x61, 0x28, 0x7e,
    0xad, 0x8f, 0x2c, 0xbb, 0x46, 0xab, 0xf3, 0x8e, 0xd6, 0x6d, 0x25, 0x79, 0xaa, 0x35, 0xff,
    0xfb, 0x22, 0x49, 0x92, 0x49, 0x2e, 0x65, 0xcb, 0x76, 0x58, 0x58, 0x19, 0xef, 0xb1, 0x0c,
    0x16, 0x82, 0x9d, 0x10, 0xa5, 0x30, 0xd5, 0x5b, 0x24, 0x32, 0x34, 0x26, 0xb3, 0x2c, 0x46,
    0xd4, 0xa3, 0x83, 0x3d, 0x67, 0x18, 0x07, 0x90, 0x89, 0x56, 0x7b, 0x59, 0x33, 0xa8, 0xfb,
    0x30, 0xd9, 0x7f, 0x38, 0x43, 0xc5, 0x31, 0xc9, 0xd0, 0x0d, 0xd5, 0x74, 0x25, 0x74, 0x76,
    0x6d, 0xae, 0x17, 0xd6, 0x97, 0xbf, 0xfe, 0x8a, 0x03};
static const uint8_t br_zeros[] = {0x5b, 0xff, 0xff, 0x0f, 0x40, 0x02, 0x20,
                                   0x1e, 0x0b, 0x24, 0xf7, 0xfe, 0x01};
static const uint8_t br_zeros_more[] = {0x9b, 0x00, 0x00, 0x10, 0x00, 0x24, 0x00,
                                        0xe2, 0xb1, 0x40, 0x74, 0xef, 0x1f, 0x00};

/* window_bits as deflateInit2 takes it: 15 zlib, 31 gzip, -15 raw. */
static struct body
deflated(struct body plain, int window_bits)
{
    z_stream z = {.next_in = plain.bytes, .avail_in = (unsigned)plain.count};
    if (deflateInit2(&z, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        abort();
    }
    struct body coded = body_new(deflateBound(&z, plain.count) + 64);
    z.next_out = coded.bytes;
    z.avail_out = (unsigned)coded.count;
    if (deflate(&z, Z_FINISH) != Z_STREAM_END) {
        abort();
    }
    coded.count = z.total_out;
    deflateEnd(&z);
    return coded;
}

static struct body
zstd_coded(struct body plain, int window_log)
{
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    struct body coded = body_new(ZSTD_compressBound(plain.count) + 64);
    ZSTD_inBuffer in = {.src = plain.bytes, .size = plain.count};
    ZSTD_outBuffer out = {.dst = coded.bytes, .size = coded.count};
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, 1);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_windowLog, window_log);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    /* Twice, so that the encoder does not know the size and writes the window. */
    ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_flush);
    if (ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_end) != 0) {
        abort();
    }
    coded.count = out.pos;
    ZSTD_freeCCtx(zstd);
    return coded;
}

static struct body
joined(struct body a, struct body b)
{
    struct body both = body_new(a.count + b.count);
    memcpy(both.bytes, a.bytes, a.count);
    memcpy(both.bytes + a.count, b.bytes, b.count);
    return both;
}

/* --- what a decoder says, as text ------------------------------------------------------------- */

static const char *const ends[] = {[NS_CODING_MORE] = "more", [NS_CODING_OUTPUT] = "output",
                                   [NS_CODING_END] = "end",   [NS_CODING_CORRUPT] = "corrupt",
                                   [NS_CODING_BOMB] = "bomb", [NS_CODING_NO_MEMORY] = "no-memory"};

/* The data as they are, and what ended them. */
static void
run(const void *context, struct pieces *pieces, struct trace *trace)
{
    const char *name = context;
    struct ns_coding *coding;
    const uint8_t *bytes, *output;
    size_t count, taken, made;
    REQUIRE(ns_coding_new(name, strlen(name), &coding) == 0);
    enum ns_coding_status status = NS_CODING_MORE;
    while (status == NS_CODING_MORE && next_piece(pieces, &bytes, &count)) {
        do {
            status = ns_coding_feed(coding, bytes, count, &taken, &output, &made);
            CHECK(taken <= count);
            CHECK((status == NS_CODING_OUTPUT) == (made > 0));
            bytes += taken;
            count -= taken;
            if (status == NS_CODING_OUTPUT) {
                trace_data(trace, 'd', output, made);
            }
        } while (status == NS_CODING_OUTPUT);
        CHECK(status != NS_CODING_MORE || count == 0);
    }
    trace_event(trace, " %s", ends[status]);
    ns_coding_free(coding);
}

/* Decodes to plain and ends so. */
static void
expect(const char *name, struct body coded, struct body plain, const char *end)
{
    struct trace trace;
    check_splits(run, name, coded.bytes, coded.count, &trace);
    size_t tail = strlen(end) + 1;
    size_t front = plain.count > 0 ? 2 : 0;
    if (trace.count != front + plain.count + tail ||
        memcmp(trace.bytes + front, plain.bytes, plain.count) != 0 ||
        strcmp(trace.bytes + trace.count - tail + 1, end) != 0) {
        NS_FAIL("%s of %zu bytes gave %zu bytes ending \"%s\", not %zu and \"%s\"", name,
                coded.count, trace.count,
                trace.count > 10 ? trace.bytes + trace.count - 10 : trace.bytes, plain.count, end);
    }
    trace_clear(&trace);
}

/* Fed whole: what ended it. The output is counted and left. */
static enum ns_coding_status
decode(const char *name, struct body coded, size_t *total)
{
    struct ns_coding *coding;
    const uint8_t *output;
    size_t at = 0, taken, made;
    *total = 0;
    if (ns_coding_new(name, strlen(name), &coding) != 0) {
        return NS_CODING_NO_MEMORY;
    }
    enum ns_coding_status status;
    do {
        status = ns_coding_feed(coding, coded.bytes + at, coded.count - at, &taken, &output, &made);
        at += taken;
        *total += made;
    } while (status == NS_CODING_OUTPUT);
    ns_coding_free(coding);
    return status;
}

/* --- the header ------------------------------------------------------------------------------- */

static int
rc_of(const char *name)
{
    struct ns_coding *coding;
    int rc = ns_coding_new(name, strlen(name), &coding);
    CHECK((rc == 0) == (coding != NULL));
    ns_coding_free(coding);
    return rc;
}

TEST(known_codings_have_a_decoder)
{
    static const char *const known[] = {
        "",     "gzip",       "x-gzip",   "GZIP",           "deflate", "br",
        "zstd", " identity ", "gzip, br", "gzip,,identity", "Zstd\t",  "br,identity,gzip"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        CHECK_INT(rc_of(known[i]), 0);
    }
}

TEST(other_codings_are_not_supported)
{
    static const char *const unknown[] = {"compress", "gzi",        "gzipp",
                                          "brotli",   "gzip br",    "x",
                                          "gzip;q=1", "gzip, lzma", "gzip, br, zstd"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        CHECK_INT(rc_of(unknown[i]), -ENOTSUP);
    }
}

/* --- decoding --------------------------------------------------------------------------------- */

TEST(identity_hands_its_input_through)
{
    struct body plain = text_body();
    struct ns_coding *coding;
    const uint8_t *output;
    size_t taken, made;
    expect("", plain, plain, "more");
    expect("identity", plain, plain, "more");
    REQUIRE(ns_coding_new(NULL, 0, &coding) == 0);
    CHECK_INT(ns_coding_feed(coding, plain.bytes, 5, &taken, &output, &made), NS_CODING_OUTPUT);
    CHECK(output == plain.bytes && made == 5 && taken == 5);
    CHECK_INT(ns_coding_feed(coding, plain.bytes, 0, &taken, &output, &made), NS_CODING_MORE);
    ns_coding_free(coding);
    free(plain.bytes);
}

TEST(gzip_is_undone)
{
    struct body plain = text_body(), coded = deflated(plain, 31);
    expect("gzip", coded, plain, "more"); /* another member could follow */
    expect("x-gzip", coded, plain, "more");
    free(plain.bytes);
    free(coded.bytes);
}

TEST(gzip_members_follow_one_another)
{
    struct body plain = text_body(), one = deflated(plain, 31), nothing = body_new(0);
    struct body empty = deflated(nothing, 31);
    struct body two = joined(one, empty), three = joined(two, one), both = joined(plain, plain);
    expect("gzip", three, both, "more");
    free(plain.bytes), free(one.bytes), free(empty.bytes), free(nothing.bytes);
    free(two.bytes), free(three.bytes), free(both.bytes);
}

TEST(padding_after_a_gzip_member_is_left)
{
    struct body plain = text_body(), one = deflated(plain, 31);
    struct body zeros = body_new(20), padded = joined(one, zeros);
    struct body trap = body_of("\x1fx", 2), trapped = joined(one, trap);
    expect("gzip", padded, plain, "end");
    expect("gzip", trapped, plain, "end");
    free(plain.bytes), free(one.bytes), free(zeros.bytes), free(padded.bytes);
    free(trap.bytes), free(trapped.bytes);
}

TEST(deflate_is_undone_with_and_without_its_header)
{
    struct body plain = text_body();
    for (int i = 0; i < 2; i++) {
        struct body coded = deflated(plain, i ? -15 : 15);
        struct body padded = joined(coded, plain);
        expect("deflate", coded, plain, "end");
        expect("deflate", padded, plain, "end");
        free(coded.bytes), free(padded.bytes);
    }
    struct body empty = body_of("\x03\x00", 2), nothing = body_new(0);
    expect("deflate", empty, nothing, "end");
    free(plain.bytes), free(empty.bytes), free(nothing.bytes);
}

TEST(br_is_undone)
{
    struct body plain = text_body(), coded = body_of(br_text, sizeof(br_text));
    struct body padded = joined(coded, plain);
    expect("br", coded, plain, "end");
    expect("br", padded, plain, "end");
    free(plain.bytes), free(coded.bytes), free(padded.bytes);
}

TEST(zstd_is_undone)
{
    struct body plain = text_body(), coded = zstd_coded(plain, 20);
    expect("zstd", coded, plain, "more"); /* another frame could follow */
    struct body skippable = body_of("\x50\x2a\x4d\x18\x03\x00\x00\x00xyz", 11);
    struct body two = joined(coded, skippable), three = joined(two, coded);
    struct body both = joined(plain, plain), padded = joined(coded, plain);
    expect("zstd", three, both, "more");
    expect("zstd", padded, plain, "end");
    free(plain.bytes), free(coded.bytes), free(skippable.bytes), free(two.bytes);
    free(three.bytes), free(both.bytes), free(padded.bytes);
}

TEST(zstd_of_before_its_standard_is_refused)
{
    /* An empty frame of version 0.7; the library's own decoder of it would call malloc. */
    struct body plain = text_body(), now = zstd_coded(plain, 20);
    struct body old = body_of("\x27\xb5\x2f\xfd\x00\x50\xc0\x00\x00", 9), both = joined(now, old);
    struct body nothing = body_new(0);
    expect("zstd", old, nothing, "corrupt");
    expect("zstd", both, plain, "end");
    free(plain.bytes), free(now.bytes), free(old.bytes), free(both.bytes), free(nothing.bytes);
}

TEST(what_is_long_comes_in_several_pieces)
{
    struct body plain = body_new(3000000);
    for (size_t i = 0; i < plain.count; i++) {
        plain.bytes[i] = (uint8_t)(ns_test_random() % 5 + i / 10000);
    }
    struct body gzip = deflated(plain, 31), zstd = zstd_coded(plain, 22);
    struct body stacked = deflated(zstd, 15);
    size_t total;
    CHECK_INT(decode("gzip", gzip, &total), NS_CODING_MORE);
    CHECK_INT(total, plain.count);
    CHECK_INT(decode("zstd", zstd, &total), NS_CODING_MORE);
    CHECK_INT(total, plain.count);
    CHECK_INT(decode("zstd, deflate", stacked, &total), NS_CODING_END);
    CHECK_INT(total, plain.count);
    free(plain.bytes), free(gzip.bytes), free(zstd.bytes), free(stacked.bytes);
}

TEST(two_codings_are_undone_from_the_last_to_the_first)
{
    struct body plain = text_body(), br = body_of(br_text, sizeof(br_text));
    struct body gzip_of_br = deflated(br, 31), zstd = zstd_coded(plain, 18);
    struct body deflate_of_zstd = deflated(zstd, 15), gzip = deflated(plain, 31);
    struct body gzip_of_gzip = deflated(gzip, 31);
    size_t total;
    expect("br, gzip", gzip_of_br, plain, "end");
    expect("zstd,identity, deflate", deflate_of_zstd, plain, "end");
    expect("gzip, gzip", gzip_of_gzip, plain, "more");
    CHECK_INT(decode("gzip, br", gzip_of_br, &total), NS_CODING_CORRUPT);
    free(plain.bytes), free(br.bytes), free(gzip_of_br.bytes), free(zstd.bytes);
    free(deflate_of_zstd.bytes), free(gzip.bytes), free(gzip_of_gzip.bytes);
}

TEST(a_truncated_body_gives_what_it_holds_and_wants_more)
{
    struct body plain = text_body(), gzip = deflated(plain, 31), zlib = deflated(plain, 15);
    struct body zstd = zstd_coded(plain, 20), br = body_of(br_text, sizeof(br_text));
    struct body half = gzip;
    size_t total;
    half.count = gzip.count - 9;
    CHECK_INT(decode("gzip", half, &total), NS_CODING_MORE);
    CHECK(total > plain.count / 2);
    half = zlib;
    half.count -= 1;
    CHECK_INT(decode("deflate", half, &total), NS_CODING_MORE);
    CHECK_INT(total, plain.count);
    half = zstd;
    half.count -= 1;
    CHECK_INT(decode("zstd", half, &total), NS_CODING_MORE);
    half = br;
    half.count -= 1;
    CHECK_INT(decode("br", half, &total), NS_CODING_MORE);
    half.count = 1;
    CHECK_INT(decode("gzip", half, &total), NS_CODING_MORE);
    free(plain.bytes), free(gzip.bytes), free(zlib.bytes), free(zstd.bytes), free(br.bytes);
}

TEST(a_corrupt_body_is_found_out)
{
    static const char *const codings[] = {"gzip", "deflate", "br", "zstd", "gzip, br"};
    struct body plain = text_body();
    static const char *const checked[] = {"gzip", "deflate", "zstd"};
    struct body noise = body_of("\x11\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10);
    size_t total;
    for (size_t i = 0; i < 5; i++) {
        CHECK_INT(decode(codings[i], noise, &total), NS_CODING_CORRUPT);
    }
    for (size_t i = 0; i < 3; i++) { /* one bit of the check at the end */
        struct body coded = i == 2 ? zstd_coded(plain, 20) : deflated(plain, i == 0 ? 31 : 15);
        coded.bytes[coded.count - (i == 0 ? 5 : 1)] ^= 1;
        CHECK_INT(decode(checked[i], coded, &total), NS_CODING_CORRUPT);
        free(coded.bytes);
    }
    free(plain.bytes), free(noise.bytes);
}

TEST(what_ended_a_body_is_final)
{
    static const uint8_t noise[] = "noise";
    struct ns_coding *coding;
    const uint8_t *output;
    size_t taken, made;
    REQUIRE(ns_coding_new("gzip", 4, &coding) == 0);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(ns_coding_feed(coding, noise, 5, &taken, &output, &made), NS_CODING_CORRUPT);
    }
    CHECK_INT(taken, 5);
    ns_coding_free(coding);
}

/* --- bounds ----------------------------------------------------------------------------------- */

static void
block(struct body *frame, bool last, unsigned type, size_t size)
{
    size_t header = (size_t)last | (size_t)type << 1 | size << 3;
    for (int i = 0; i < 3; i++) {
        frame->bytes[frame->count++] = (uint8_t)(header >> 8 * i);
    }
    frame->count += type == 0 ? size : 1; /* zeros */
}

/* A zstd frame by hand (RFC 8878, 3.1.1): raw bytes, then runs of one byte: it grows as wanted. */
static struct body
run_frame(size_t raw, size_t runs)
{
    static const uint8_t head[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50};
    struct body frame = body_new(8192);
    memcpy(frame.bytes, head, sizeof(head));
    frame.count = sizeof(head);
    block(&frame, false, 0, raw);
    while (runs > 0) {
        size_t size = runs < 131072 ? runs : 131072;
        runs -= size;
        block(&frame, runs == 0, 1, size);
    }
    return frame;
}

TEST(a_body_may_grow_freely_up_to_a_size)
{
    size_t total;
    struct body br = body_of(br_zeros, sizeof(br_zeros));
    struct body br_more = body_of(br_zeros_more, sizeof(br_zeros_more));
    struct body zstd = run_frame(0, NS_CODING_FREE_BYTES);
    struct body zstd_more = run_frame(0, NS_CODING_FREE_BYTES + 1);
    CHECK_INT(decode("br", br, &total), NS_CODING_END);
    CHECK_INT(total, NS_CODING_FREE_BYTES);
    CHECK_INT(decode("br", br_more, &total), NS_CODING_BOMB);
    CHECK_INT(decode("zstd", zstd, &total), NS_CODING_MORE);
    CHECK_INT(total, NS_CODING_FREE_BYTES);
    CHECK_INT(decode("zstd", zstd_more, &total), NS_CODING_BOMB);
    CHECK(total <= NS_CODING_FREE_BYTES);
    free(br.bytes), free(br_more.bytes), free(zstd.bytes), free(zstd_more.bytes);
}

TEST(padding_after_a_frame_that_fills_its_last_piece_is_left)
{
    /* The decoder is asked once more for output that it has not. */
    struct body frame = run_frame(0, 131072), zeros = body_new(3), padded = joined(frame, zeros);
    struct body plain = body_new(131072), two = joined(frame, frame), both = joined(plain, plain);
    expect("zstd", padded, plain, "end");
    expect("zstd", two, both, "more");
    free(frame.bytes), free(zeros.bytes), free(padded.bytes), free(plain.bytes);
    free(two.bytes), free(both.bytes);
}

TEST(a_body_may_grow_by_its_factor_and_no_more)
{
    /* 18 runs make the frame's size 6 + 3 + 2000 + 18 * 4 whatever the last one's length. */
    size_t coded = 6 + 3 + 2000 + 18 * 4;
    size_t bound = NS_CODING_GROWTH_MAX * coded;
    struct body most = run_frame(2000, bound - 2000), more = run_frame(2000, bound - 2000 + 1);
    size_t total;
    CHECK(most.count == more.count);
    if (most.count != coded) { /* the bound changed: so must the number of runs above */
        NS_FAIL("%zu bytes, not %zu", most.count, coded);
    }
    CHECK_INT(decode("zstd", most, &total), NS_CODING_MORE);
    CHECK_INT(total, bound);
    CHECK_INT(decode("zstd", more, &total), NS_CODING_BOMB);
    free(most.bytes), free(more.bytes);
}

TEST(what_deflate_can_do_at_its_best_is_no_bomb)
{
    struct body plain = body_new(8 << 20), coded = deflated(plain, 31);
    size_t total;
    CHECK(plain.count / coded.count > 1000);
    CHECK_INT(decode("gzip", coded, &total), NS_CODING_MORE);
    CHECK_INT(total, plain.count);
    struct body twice = deflated(coded, 31);
    CHECK_INT(decode("gzip, gzip", twice, &total), NS_CODING_BOMB);
    CHECK(total < plain.count);
    free(plain.bytes), free(coded.bytes), free(twice.bytes);
}

TEST(a_bomb_between_two_codings_is_found_out_though_nothing_comes_out)
{
    /* A gzip member whose file name does not end makes no output. */
    struct body plain = body_new(4 << 20);
    memset(plain.bytes, 'n', plain.count);
    memcpy(plain.bytes, "\x1f\x8b\x08\x08\0\0\0\0\0\x03", 10);
    struct body coded = zstd_coded(plain, 20);
    size_t total;
    CHECK_INT(decode("gzip, zstd", coded, &total), NS_CODING_BOMB);
    CHECK_INT(total, 0);
    free(plain.bytes), free(coded.bytes);
}

TEST(a_zstd_window_may_be_as_large_as_its_bound)
{
    struct body plain = body_new(100000);
    for (int log = NS_ZSTD_WINDOW_LOG_MAX; log <= NS_ZSTD_WINDOW_LOG_MAX + 1; log++) {
        struct body coded = zstd_coded(plain, log);
        size_t total;
        /* The window's descriptor says what was asked for. */
        CHECK_INT(coded.bytes[5] >> 3, log - 10);
        CHECK_INT(decode("zstd", coded, &total),
                  log == NS_ZSTD_WINDOW_LOG_MAX ? NS_CODING_MORE : NS_CODING_CORRUPT);
        free(coded.bytes);
    }
    free(plain.bytes);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void
check_allocations(const char *name, struct body coded, struct body plain)
{
    size_t n = 1;
    for (;; n++) {
        struct ns_coding *coding;
        const uint8_t *output;
        size_t at = 0, taken, made, total = 0;
        enum ns_coding_status status = NS_CODING_NO_MEMORY;
        ns_mem_fail_at(n);
        int rc = ns_coding_new(name, strlen(name), &coding);
        CHECK(rc == 0 || rc == -ENOMEM);
        while (rc == 0) {
            status =
                ns_coding_feed(coding, coded.bytes + at, coded.count - at, &taken, &output, &made);
            at += taken;
            total += made;
            if (status != NS_CODING_OUTPUT) {
                break;
            }
        }
        ns_coding_free(coding);
        if (ns_mem_fail_at(0) < n) {
            CHECK(status == NS_CODING_MORE || status == NS_CODING_END);
            CHECK_INT(total, plain.count);
            break;
        }
        if (status != NS_CODING_NO_MEMORY) {
            NS_FAIL("%s without allocation %zu: %s", name, n, ends[status]);
        }
    }
    CHECK(n > 3); /* the decoder itself, the pieces, and the library's own */
}

TEST(every_allocation_may_fail)
{
    struct body plain = text_body(), gzip = deflated(plain, 31), raw = deflated(plain, -15);
    struct body zstd = zstd_coded(plain, 20), br = body_of(br_text, sizeof(br_text));
    struct body stacked = deflated(br, 31), members = joined(gzip, gzip);
    struct body twice = joined(plain, plain);
    check_allocations("gzip", gzip, plain);
    check_allocations("gzip", members, twice);
    check_allocations("deflate", raw, plain);
    check_allocations("zstd", zstd, plain);
    check_allocations("br", br, plain);
    check_allocations("br, gzip", stacked, plain);
    free(plain.bytes), free(gzip.bytes), free(raw.bytes), free(zstd.bytes), free(br.bytes);
    free(stacked.bytes), free(members.bytes), free(twice.bytes);
}

TEST(a_decoder_takes_its_memory_when_the_first_byte_arrives)
{
    struct ns_coding *coding;
    const uint8_t *output;
    size_t taken, made;
    ns_mem_fail_at(0);
    REQUIRE(ns_coding_new("br, gzip", 8, &coding) == 0);
    CHECK_INT(ns_coding_feed(coding, NULL, 0, &taken, &output, &made), NS_CODING_MORE);
    CHECK_INT(ns_mem_fail_at(0), 1);
    CHECK_INT(ns_coding_feed(coding, (const uint8_t *)"\x1f\x8b", 2, &taken, &output, &made),
              NS_CODING_MORE);
    CHECK(ns_mem_fail_at(0) > 0);
    ns_coding_free(coding);
}
