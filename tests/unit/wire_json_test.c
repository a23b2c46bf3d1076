/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/json.h"

#include <errno.h>

#include "base/mem.h"
#include "tests/unit/splits.h"

/* --- what a reader says, as text ------------------------------------------------------------- */

static const char *const marks[] = {
    [NS_JSON_OBJECT_BEGIN] = "{", [NS_JSON_OBJECT_END] = "}",   [NS_JSON_ARRAY_BEGIN] = "[",
    [NS_JSON_ARRAY_END] = "]",    [NS_JSON_KEY] = "k",          [NS_JSON_STRING] = "s",
    [NS_JSON_NUMBER] = "n",       [NS_JSON_TRUE] = "T",         [NS_JSON_FALSE] = "F",
    [NS_JSON_NULL] = "N",         [NS_JSON_DOCUMENT_END] = ".", [NS_JSON_ERROR] = "!"};

static void
write_event(struct trace *trace, const struct ns_json_input *input)
{
    trace_event(trace, "%s%u", marks[input->event], input->depth);
    if (input->text != NULL) {
        trace_event(trace, input->cut ? "~%" PRIu64 ":" : ":", input->text_bytes_total);
        trace_bytes(trace, input->text, input->text_bytes);
    }
    trace_event(trace, " ");
}

/* True where the reader goes on. */
static bool
feed_piece(struct ns_json *json, const uint8_t *bytes, size_t count, struct trace *trace)
{
    struct ns_json_input input;
    do {
        size_t taken = ns_json_feed(json, bytes, count, &input);
        bytes += taken;
        count -= taken;
        if (input.event != NS_JSON_MORE) {
            write_event(trace, &input);
        }
    } while (input.event != NS_JSON_MORE && input.event != NS_JSON_ERROR);
    CHECK(input.event == NS_JSON_ERROR || count == 0);
    return input.event == NS_JSON_MORE;
}

static void
run(const void *context, struct pieces *pieces, struct trace *trace)
{
    (void)context;
    struct ns_json *json = ns_json_new();
    struct ns_json_input input;
    const uint8_t *bytes;
    size_t count;
    REQUIRE(json != NULL);
    bool good = true;
    while (good && next_piece(pieces, &bytes, &count)) {
        good = feed_piece(json, bytes, count, trace);
    }
    while (good && ns_json_close(json, &input) != NS_JSON_MORE) {
        write_event(trace, &input);
        good = input.event != NS_JSON_ERROR;
    }
    if (ns_json_bad_utf8(json)) {
        trace_event(trace, "bad=%" PRIu64, ns_json_bad_utf8(json));
    }
    ns_json_free(json);
}

static void
expect_bytes(const char *text, size_t bytes, const char *said)
{
    struct trace trace;
    check_splits(run, NULL, text, bytes, &trace);
    if (strcmp(trace.bytes, said) != 0) {
        NS_FAIL("%.200s: \"%.300s\" instead of \"%.300s\"", text, trace.bytes, said);
    }
    trace_clear(&trace);
}

static void
expect(const char *text, const char *said)
{
    expect_bytes(text, strlen(text), said);
}

/* --- documents ------------------------------------------------------------------------------- */

TEST(a_document_is_told_in_order_with_its_depths)
{
    expect("{\"a\":1,\"b\":[true,false,null,\"x\",{}],\"c\":{\"d\":[]}}",
           "{1 k1:a n1:1 k1:b [2 T2 F2 N2 s2:x {3 }3 ]2 k1:c {2 k2:d [3 ]3 }2 }1 .0 ");
}

TEST(blanks_between_tokens_say_nothing)
{
    expect(" \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : null } \n",
           "{1 k1:a [2 n2:1 n2:2 ]2 k1:b N1 }1 .0 ");
    expect("", "");
    expect("  \n", "");
}

TEST(a_scalar_is_a_document)
{
    expect("\"x\"", "s0:x .0 ");
    expect("true", "T0 .0 ");
    expect("12", "n0:12 .0 ");
    expect("-0.5e+3 ", "n0:-0.5e+3 .0 ");
}

TEST(documents_follow_one_another)
{
    expect("{\"a\":1}\n{\"a\":2}{}[]\"s\"1 2\n3[4]",
           "{1 k1:a n1:1 }1 .0 {1 k1:a n1:2 }1 .0 {1 }1 .0 [1 ]1 .0 s0:s .0 n0:1 .0 n0:2 .0 n0:3 "
           ".0 [1 n1:4 ]1 .0 ");
}

TEST(a_key_that_comes_twice_is_told_twice)
{
    expect("{\"a\":1,\"a\":2}", "{1 k1:a n1:1 k1:a n1:2 }1 .0 ");
}

TEST(what_ends_inside_a_value_is_an_error)
{
    static const char *const cut[] = {
        "{", "[",  "[1", "[1,", "{\"a\"",  "{\"a\":", "\"a",    "tru",
        "-", "1.", "1e", "1e+", "\"\\u12", "\"\\",    "[\"a\"", "{\"a\":1"};
    for (size_t i = 0; i < sizeof(cut) / sizeof(cut[0]); i++) {
        struct trace trace;
        check_splits(run, NULL, cut[i], strlen(cut[i]), &trace);
        size_t bytes = strlen(trace.bytes);
        if (bytes < 3 || trace.bytes[bytes - 3] != '!') {
            NS_FAIL("%s was taken: %s", cut[i], trace.bytes);
        }
        trace_clear(&trace);
    }
}

TEST(what_is_no_json_is_an_error)
{
    static const char *const bad[] = {"}",
                                      "]",
                                      ",",
                                      ":",
                                      "{]",
                                      "[}",
                                      "[1}",
                                      "{\"a\":1]",
                                      "[,1]",
                                      "[1,]",
                                      "[1 2]",
                                      "{,}",
                                      "{\"a\":1,}",
                                      "{\"a\" 1}",
                                      "{\"a\"::1}",
                                      "{1:2}",
                                      "{a:1}",
                                      "{\"a\":1 \"b\":2}",
                                      "{'a':1}",
                                      "[01]",
                                      "01",
                                      "-01",
                                      "00",
                                      "+1",
                                      ".5",
                                      "1.",
                                      "[1.]",
                                      "1.e3",
                                      "[1e]",
                                      "1e+-2",
                                      "1-2",
                                      "1a",
                                      "[-]",
                                      "[--1]",
                                      "0x10",
                                      "1.2.3",
                                      "[1e5.3]",
                                      "NaN",
                                      "Infinity",
                                      "nul ",
                                      "nulx",
                                      "True",
                                      "tru]",
                                      "[truefalse]",
                                      "\"\\x\"",
                                      "\"\\u12g4\"",
                                      "\"\\U0041\"",
                                      "\"\n\"",
                                      "\"\t\"",
                                      "\"a\x01\"",
                                      "\"\x1f\"",
                                      "[1] x",
                                      "\xef\xbb\xbf{}",
                                      "/* */ 1",
                                      "\x7f",
                                      "[\"a\"\"b\"]",
                                      "{\"a\"}",
                                      "{\"a\",\"b\"}",
                                      "[1:2]",
                                      "\f1",
                                      "undefined",
                                      "[1,,2]",
                                      "\"a\\\nb\""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct trace trace;
        check_splits(run, NULL, bad[i], strlen(bad[i]), &trace);
        if (strchr(trace.bytes, '!') == NULL) {
            NS_FAIL("%s was taken: %s", bad[i], trace.bytes);
        }
        trace_clear(&trace);
    }
    expect_bytes("\"a\0b\"", 5, "!0 ");
    expect_bytes("[1\0]", 4, "[1 n1:1 !1 ");
}

TEST(an_error_is_final_until_a_reset)
{
    struct ns_json *json = ns_json_new();
    struct ns_json_input input;
    REQUIRE(json != NULL);
    ns_json_feed(json, (const uint8_t *)"]", 1, &input);
    CHECK_INT(input.event, NS_JSON_ERROR);
    CHECK_INT(ns_json_feed(json, (const uint8_t *)"1 ", 2, &input), 0);
    CHECK_INT(input.event, NS_JSON_ERROR);
    CHECK_INT(ns_json_close(json, &input), NS_JSON_ERROR);
    ns_json_reset(json);
    CHECK_INT(ns_json_feed(json, (const uint8_t *)"1 ", 2, &input), 1);
    CHECK_INT(input.event, NS_JSON_NUMBER);
    ns_json_free(json);
}

/* --- strings --------------------------------------------------------------------------------- */

TEST(escapes_are_decoded)
{
    expect("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"]",
           "[1 s1:\"\\/\b\f\n\r\t s1:A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 ]1 .0 ");
    expect("{\"\\u0061\\n\":1}", "{1 k1:a\n n1:1 }1 .0 ");
}

TEST(a_nul_escape_is_a_byte_of_the_text)
{
    struct ns_json *json = ns_json_new();
    struct ns_json_input input;
    REQUIRE(json != NULL);
    ns_json_feed(json, (const uint8_t *)"\"a\\u0000b\"", 10, &input);
    CHECK_INT(input.event, NS_JSON_STRING);
    CHECK_INT(input.text_bytes, 3);
    CHECK(memcmp(input.text, "a\0b", 3) == 0);
    ns_json_free(json);
}

TEST(a_lone_surrogate_becomes_the_replacement_character)
{
    expect("\"\\ud83d\"", "s0:\xef\xbf\xbd .0 ");
    expect("\"\\ud83dx\"", "s0:\xef\xbf\xbdx .0 ");
    expect("\"\\ud83d\\n\"", "s0:\xef\xbf\xbd\n .0 ");
    expect("\"\\ude00\"", "s0:\xef\xbf\xbd .0 ");
    expect("\"\\ud83d\\ud83d\\ude00\"", "s0:\xef\xbf\xbd\xf0\x9f\x98\x80 .0 ");
    expect("\"\\ud83d\\u0041\"", "s0:\xef\xbf\xbd"
                                 "A .0 ");
    expect("\"\\ud83d\xc3\xa9\"", "s0:\xef\xbf\xbd\xc3\xa9 .0 ");
}

TEST(bytes_that_are_no_utf8_are_kept_and_counted)
{
    expect("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\"",
           "s0:\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf .0 ");
    expect("\"\xff\xfe\"", "s0:\xff\xfe .0 bad=2");
    expect("\"a\x80"
           "b\"",
           "s0:a\x80"
           "b .0 bad=1");
    expect("\"\xe2\x82"
           "a\"",
           "s0:\xe2\x82"
           "a .0 bad=2");
    expect("\"\xe2\x82\"", "s0:\xe2\x82 .0 bad=2");
    expect("\"\xe2\\n\"", "s0:\xe2\n .0 bad=1");
    expect("\"\xc0\xaf\"", "s0:\xc0\xaf .0 bad=2");         /* overlong */
    expect("\"\xe0\x80\x80\"", "s0:\xe0\x80\x80 .0 bad=3"); /* " */
    expect("\"\xed\xa0\x80\"", "s0:\xed\xa0\x80 .0 bad=3"); /* a surrogate */
    expect("\"\xf4\x90\x80\x80\"", "s0:\xf4\x90\x80\x80 .0 bad=4");
    expect("\"\xf0\x9f\xf0\x9f\x98\x80\"", "s0:\xf0\x9f\xf0\x9f\x98\x80 .0 bad=2");
}

/* A string or key of count bytes, between the quotes. */
static char *
quoted(const char *before, size_t count, const char *after)
{
    size_t front = strlen(before), back = strlen(after);
    char *text = malloc(front + count + back + 1);
    if (text == NULL) {
        abort();
    }
    memcpy(text, before, front);
    for (size_t i = 0; i < count; i++) {
        text[front + i] = (char)('a' + i % 26);
    }
    memcpy(text + front + count, after, back + 1);
    return text;
}

static void
check_cut(const char *before, size_t count, const char *after, enum ns_json_event event,
          size_t kept)
{
    char *text = quoted(before, count, after);
    struct ns_json *json = ns_json_new();
    struct ns_json_input input;
    const uint8_t *at = (const uint8_t *)text;
    size_t left = strlen(text);
    REQUIRE(json != NULL);
    do {
        size_t taken = ns_json_feed(json, at, left, &input);
        at += taken;
        left -= taken;
    } while (input.event != event && input.event != NS_JSON_MORE);
    CHECK_INT(input.event, event);
    CHECK_INT(input.text_bytes, kept);
    CHECK_INT(input.text_bytes_total, count);
    CHECK_INT(input.cut, count > kept);
    ns_json_free(json);
    struct trace trace;
    check_splits(run, NULL, text, strlen(text), &trace);
    CHECK(strchr(trace.bytes, '!') == NULL);
    trace_clear(&trace);
    free(text);
}

TEST(text_is_kept_up_to_its_bound_and_counted_beyond)
{
    check_cut("\"", NS_JSON_TEXT_BYTES_MAX, "\"", NS_JSON_STRING, NS_JSON_TEXT_BYTES_MAX);
    check_cut("\"", NS_JSON_TEXT_BYTES_MAX + 1, "\"", NS_JSON_STRING, NS_JSON_TEXT_BYTES_MAX);
    check_cut("[\"", 100000, "\"]", NS_JSON_STRING, NS_JSON_TEXT_BYTES_MAX);
    check_cut("{\"", NS_JSON_KEY_BYTES_MAX, "\":1}", NS_JSON_KEY, NS_JSON_KEY_BYTES_MAX);
    check_cut("{\"", NS_JSON_KEY_BYTES_MAX + 1, "\":1}", NS_JSON_KEY, NS_JSON_KEY_BYTES_MAX);
}

TEST(every_byte_at_every_place_of_a_string_is_seen)
{
    /* The wide scan must stop at each special byte wherever in its block it lies. */
    for (size_t place = 0; place < 40; place++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            char text[44] = "\"........................................\"";
            struct ns_json *json = ns_json_new();
            struct ns_json_input input;
            REQUIRE(json != NULL);
            text[1 + place] = (char)byte;
            size_t taken = ns_json_feed(json, (const uint8_t *)text, 42, &input);
            bool control = byte < 0x20;
            bool escape = byte == '\\'; /* "\." and, at the end, a string that goes on */
            if (control || (escape && place < 39)) {
                CHECK_INT(input.event, NS_JSON_ERROR);
            } else if (escape) {
                CHECK_INT(input.event, NS_JSON_MORE);
            } else {
                CHECK_INT(input.event, NS_JSON_STRING);
                CHECK_INT(taken, byte == '"' ? place + 2 : 42);
                CHECK_INT(ns_json_bad_utf8(json), byte >= 0x80);
            }
            ns_json_free(json);
        }
    }
}

/* --- bounds ---------------------------------------------------------------------------------- */

static void
check_nesting(size_t levels, char open, char close, enum ns_json_event event)
{
    struct ns_json *json = ns_json_new();
    struct ns_json_input input = {.event = NS_JSON_MORE};
    size_t deepest = 0;
    REQUIRE(json != NULL);
    for (size_t i = 0; i < levels && input.event != NS_JSON_ERROR; i++) {
        const char *text = open == '[' ? "[" : i == 0 ? "{" : "\"k\":{";
        const uint8_t *at = (const uint8_t *)text;
        for (size_t left = strlen(text); left > 0 && input.event != NS_JSON_ERROR;) {
            size_t taken = ns_json_feed(json, at, left, &input);
            at += taken;
            left -= taken;
        }
        deepest = input.depth;
    }
    CHECK_INT(deepest, levels < NS_JSON_DEPTH_MAX ? levels : NS_JSON_DEPTH_MAX);
    for (size_t i = 0; i < levels && input.event != NS_JSON_ERROR; i++) {
        ns_json_feed(json, (const uint8_t *)&close, 1, &input);
        CHECK_INT(input.depth, levels - i);
    }
    if (input.event != NS_JSON_ERROR) {
        ns_json_feed(json, NULL, 0, &input);
    }
    CHECK_INT(input.event, event);
    ns_json_free(json);
}

TEST(nesting_goes_as_deep_as_its_bound_and_no_deeper)
{
    check_nesting(NS_JSON_DEPTH_MAX, '[', ']', NS_JSON_DOCUMENT_END);
    check_nesting(NS_JSON_DEPTH_MAX + 1, '[', ']', NS_JSON_ERROR);
    check_nesting(NS_JSON_DEPTH_MAX, '{', '}', NS_JSON_DOCUMENT_END);
    check_nesting(NS_JSON_DEPTH_MAX + 1, '{', '}', NS_JSON_ERROR);
}

TEST(a_number_longer_than_the_text_is_cut_and_still_checked)
{
    char text[NS_JSON_TEXT_BYTES_MAX + 4];
    memset(text, '1', sizeof(text));
    struct trace trace;
    check_splits(run, NULL, text, sizeof(text), &trace);
    CHECK(strncmp(trace.bytes, "n0~516:111", 10) == 0);
    trace_clear(&trace);
    text[sizeof(text) - 1] = 'x';
    check_splits(run, NULL, text, sizeof(text), &trace);
    CHECK_STR(trace.bytes, "!0 ");
    trace_clear(&trace);
}

TEST(without_memory_there_is_no_reader)
{
    ns_mem_fail_at(1);
    CHECK(ns_json_new() == NULL);
    ns_mem_fail_at(0);
    ns_json_free(NULL);
}

TEST(reading_allocates_nothing)
{
    struct ns_json *json = ns_json_new();
    REQUIRE(json != NULL);
    struct trace trace = {.bytes = NULL};
    char *text = quoted("{\"k\":[\"", 5000, "\",1.5,{}]}");
    ns_mem_fail_at(0);
    feed_piece(json, (const uint8_t *)text, strlen(text), &trace);
    CHECK_INT(ns_mem_fail_at(0), 0);
    ns_json_free(json);
    trace_clear(&trace);
    free(text);
}

/* --- numbers --------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    int rc;
    uint64_t value;
} integers[] = {
    {"0", 0, 0},
    {"-0", 0, 0},
    {"0.000", 0, 0},
    {"0e99999999999999999999", 0, 0},
    {"3", 0, 3},
    {"3.0", 0, 3},
    {"3.000e0", 0, 3},
    {"3e2", 0, 300},
    {"3E+2", 0, 300},
    {"1.5e1", 0, 15},
    {"1000e-3", 0, 1},
    {"12.3400e2", 0, 1234},
    {"0.00012e5", 0, 12},
    {"100.00", 0, 100},
    {"18446744073709551615", 0, UINT64_MAX},
    {"1844674407370955161.5e1", 0, UINT64_MAX},
    {"18446744073709551616", -ERANGE, 0},
    {"18446744073709551620", -ERANGE, 0},
    {"99999999999999999999", -ERANGE, 0},
    {"1e19", 0, UINT64_C(10000000000000000000)},
    {"1e20", -ERANGE, 0},
    {"1e30", -ERANGE, 0},
    {"1e99999999999999999999999", -ERANGE, 0},
    {"-1", -ERANGE, 0},
    {"1.5", -EINVAL, 0},
    {"1e-1", -EINVAL, 0},
    {"1e-99999999999999999999999", -EINVAL, 0},
    {"", -EINVAL, 0},
    {"-", -EINVAL, 0},
    {"x", -EINVAL, 0},
    {"01", -EINVAL, 0},
    {"1.", -EINVAL, 0},
    {".5", -EINVAL, 0},
    {"1e", -EINVAL, 0},
    {"1e+", -EINVAL, 0},
    {"1x", -EINVAL, 0},
    {"1e5x", -EINVAL, 0},
    {" 1", -EINVAL, 0},
};

TEST(a_whole_number_is_read_exactly)
{
    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        uint64_t value = 0;
        int rc = ns_json_u64(integers[i].text, strlen(integers[i].text), &value);
        if (rc != integers[i].rc || (rc == 0 && value != integers[i].value)) {
            NS_FAIL("\"%s\" is %d, %" PRIu64, integers[i].text, rc, value);
        }
    }
}

static const struct {
    const char *text;
    int rc;
    int64_t value;
} amounts[] = {
    {"0", 0, 0},
    {"-0.0", 0, 0},
    {"1", 0, 1000000000},
    {"0.000000001", 0, 1},
    {"0.0000000004", 0, 0},
    {"0.0000000005", 0, 0}, /* to even */
    {"0.00000000050000000000000000000001", 0, 1},
    {"0.0000000015", 0, 2}, /* to even */
    {"0.0000000025", 0, 2}, /* to even */
    {"0.00000000250001", 0, 3},
    {"0.0000000035", 0, 4},
    {"0.0000000006", 0, 1},
    {"5e-10", 0, 0},
    {"6e-10", 0, 1},
    {"9.9e-11", 0, 0},
    {"1e-999999999999999999999", 0, 0},
    {"-0.0000000015", 0, -2},
    {"-1.25", 0, -1250000000},
    {"0.005", 0, 5000000},
    {"12.3456789012", 0, 12345678901},
    {"1.2345e-3", 0, 1234500},
    {"123.456e2", 0, INT64_C(12345600000000)},
    {"10.0000000005", 0, INT64_C(10000000000)},
    {"10.0000000015", 0, INT64_C(10000000002)},
    {"9223372036.854775807", 0, INT64_MAX},
    {"9223372036.8547758074", 0, INT64_MAX},
    {"9223372036.8547758075", -ERANGE, 0},
    {"9223372036.854775808", -ERANGE, 0},
    {"-9223372036.854775808", 0, INT64_MIN},
    {"-9223372036.854775809", -ERANGE, 0},
    {"18446744073.7095516155", -ERANGE, 0},
    {"18446744073.7095516165", -ERANGE, 0},
    {"1e10", -ERANGE, 0},
    {"1e99999999999999999", -ERANGE, 0},
    {"abc", -EINVAL, 0},
    {"1.5.5", -EINVAL, 0},
    {"", -EINVAL, 0},
};

TEST(an_amount_of_money_is_rounded_half_to_even_from_exact_decimal)
{
    for (size_t i = 0; i < sizeof(amounts) / sizeof(amounts[0]); i++) {
        int64_t value = 0;
        int rc = ns_json_nano(amounts[i].text, strlen(amounts[i].text), &value);
        if (rc != amounts[i].rc || (rc == 0 && value != amounts[i].value)) {
            NS_FAIL("\"%s\" is %d, %" PRId64, amounts[i].text, rc, value);
        }
    }
}

TEST(an_integer_written_in_any_way_reads_back)
{
    for (int i = 0; i < 20000; i++) {
        uint64_t expected = ns_test_random() >> (ns_test_random() % 64);
        char text[64];
        unsigned zeros = (unsigned)(ns_test_random() % 5);
        int bytes = snprintf(text, sizeof(text), "%" PRIu64 "%.*se-%u", expected, (int)zeros,
                             "00000", zeros);
        uint64_t value = 0;
        int rc = ns_json_u64(text, (size_t)bytes, &value);
        if (expected != 0 && (rc != 0 || value != expected)) {
            NS_FAIL("%s is %d, %" PRIu64, text, rc, value);
        }
    }
}
