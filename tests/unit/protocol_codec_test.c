/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>

#include "protocol/protocol.h"
#include "tests/harness.h"

#define FIELD_HEAD 5

static uint8_t bytes[NS_MESSAGE_BYTES_MAX];

static void
set_text(struct ns_text *text, const char *value)
{
    *text = ns_text_of(value);
}

/* --- random messages -------------------------------------------------------------------------- */

static struct ns_text
some_text(uint64_t bytes_max)
{
    static const char *const words[] = {"acme", "gpt-4o-mini", "größe", "日本", "a b\"\\", "😀"};
    const char *word = words[ns_test_random() % 6];
    struct ns_text text = ns_text_of(word);
    return text.bytes <= bytes_max ? text : ns_text_of("");
}

static uint64_t
some_number(uint64_t max)
{
    uint64_t number = ns_test_random() >> (ns_test_random() % 64);
    return max == 0 ? number : number % (max + 1);
}

static void
some_usage(struct ns_usage *usage)
{
    memset(usage, 0, sizeof *usage);
    for (int m = 0; m < NS_METER_COUNT; m++) {
        if (ns_test_random() % 3 == 0) {
            ns_usage_set(usage, (enum ns_meter)m, some_number(0));
        }
    }
}

static void
fill_u8(uint8_t *value, uint64_t max)
{
    *value = (uint8_t)some_number(max);
}
static void
fill_u32(uint32_t *value, uint64_t max)
{
    *value = (uint32_t)some_number(max);
}
static void
fill_u64(uint64_t *value, uint64_t max)
{
    *value = some_number(max);
}
static void
fill_i64(int64_t *value, uint64_t max)
{
    *value = (int64_t)some_number(max);
}
static void
fill_bool(bool *value, uint64_t max)
{
    (void)max;
    *value = ns_test_random() % 2 != 0;
}
static void
fill_uuid(struct ns_uuid *value, uint64_t max)
{
    (void)max;
    for (size_t i = 0; i < sizeof value->bytes; i++) {
        value->bytes[i] = (uint8_t)ns_test_random();
    }
}
static void
fill_hash16(struct ns_hash16 *value, uint64_t max)
{
    (void)max;
    for (size_t i = 0; i < sizeof value->bytes; i++) {
        value->bytes[i] = (uint8_t)ns_test_random();
    }
}
static void
fill_text(struct ns_text *value, uint64_t max)
{
    *value = some_text(max);
}
static void
fill_usage(struct ns_usage *value, uint64_t max)
{
    (void)max;
    some_usage(value);
}
static void
fill_tags(struct ns_tags *value, uint64_t max)
{
    (void)max;
    value->count = (uint32_t)(ns_test_random() % (NS_PROTOCOL_TAGS_MAX + 1));
    for (uint32_t i = 0; i < value->count; i++) {
        value->tag[i].key = some_text(64);
        value->tag[i].value = some_text(256);
    }
}
static void
fill_parts(struct ns_parts *value, uint64_t max)
{
    (void)max;
    value->count = (uint32_t)(ns_test_random() % (NS_PROTOCOL_PARTS_MAX + 1));
    for (uint32_t i = 0; i < value->count; i++) {
        value->part[i].model = some_text(192);
        some_usage(&value->part[i].usage);
    }
}
static void
fill_counts(struct ns_counts *value, uint64_t max)
{
    (void)max;
    value->count = (uint32_t)(ns_test_random() % (NS_PROTOCOL_COUNTS_MAX + 1));
    for (uint32_t i = 0; i < value->count; i++) {
        value->row[i].name = some_text(64);
        value->row[i].count = some_number(0);
    }
}

/* Every field of a message of this kind set to something, optional ones mostly. */
static void
fill(enum ns_message_kind kind, struct ns_message *message)
{
    memset(message, 0, sizeof *message);
    message->kind = kind;
    enum { OPTIONAL, REQUIRED };
    switch (kind) {
#define F(tag, name, type, need, max)                                                              \
    if (need == REQUIRED || ns_test_random() % 4 != 0) {                                           \
        fill_##type(&filled->name, max);                                                           \
    }
#define X(KIND, kind)                                                                              \
    case NS_MESSAGE_##KIND: {                                                                      \
        struct ns_##kind *filled = &message->as.kind;                                              \
        NS_FIELDS_##KIND(F) break;                                                                 \
    }
        NS_MESSAGES(X)
#undef X
#undef F
    default:
        break;
    }
}

static int
encode_some(enum ns_message_kind kind)
{
    struct ns_message message;
    fill(kind, &message);
    return ns_message_encode(&message, bytes, sizeof bytes);
}

TEST(every_message_comes_back_as_it_was_sent)
{
    for (int round = 0; round < 2000; round++) {
        enum ns_message_kind kind = (enum ns_message_kind)(1 + round % (NS_MESSAGE_COUNT - 1));
        int count = encode_some(kind);
        REQUIRE(count > 0);
        static struct ns_message decoded;
        const char *why = NULL;
        int error = ns_message_decode(bytes, (size_t)count, &decoded, &why);
        CHECK_INT(error, 0);
        CHECK_INT(decoded.kind, kind);
        static uint8_t again[NS_MESSAGE_BYTES_MAX];
        CHECK_INT(ns_message_encode(&decoded, again, sizeof again), count);
        CHECK(memcmp(bytes, again, (size_t)count) == 0);
    }
}

TEST(values_are_where_the_schema_puts_them)
{
    struct ns_message sent = {.kind = NS_MESSAGE_VERDICT};
    memset(sent.as.verdict.call_id.bytes, 7, 16);
    sent.as.verdict.decision = NS_DECISION_DENY;
    sent.as.verdict.reason = NS_REASON_BUDGET_EXCEEDED;
    sent.as.verdict.hold_nanousd = -5;
    set_text(&sent.as.verdict.entity, "customer:acme");
    sent.as.verdict.http_status = 402;
    int count = ns_message_encode(&sent, bytes, sizeof bytes);
    const uint8_t expected[] = "NS\x01\x04"
                               "\x01\x10\0\0\0\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7\7"
                               "\x02\x01\0\0\0\x01"
                               "\x03\x01\0\0\0\x01"
                               "\x04\x08\0\0\0\xfb\xff\xff\xff\xff\xff\xff\xff"
                               "\x06\x0d\0\0\0customer:acme"
                               "\x08\x04\0\0\0\x92\x01\0\0";
    REQUIRE(count == (int)sizeof expected - 1);
    CHECK(memcmp(bytes, expected, sizeof expected - 1) == 0);
    struct ns_message got;
    const char *why;
    REQUIRE(ns_message_decode(bytes, (size_t)count, &got, &why) == 0);
    CHECK_INT(got.as.verdict.hold_nanousd, -5);
    CHECK_INT(got.as.verdict.http_status, 402);
    CHECK_INT(got.as.verdict.entity.bytes, 13);
    CHECK(memcmp(got.as.verdict.entity.text, "customer:acme", 13) == 0);
    CHECK_INT(got.as.verdict.message.bytes, 0);
    CHECK(!got.as.verdict.deny_unreachable);
}

TEST(every_cut_of_every_message_is_refused)
{
    for (int kind = 1; kind < NS_MESSAGE_COUNT; kind++) {
        struct ns_message message, decoded;
        const char *why;
        fill((enum ns_message_kind)kind, &message);
        int count = ns_message_encode(&message, bytes, sizeof bytes);
        for (int cut = 0; cut < count; cut++) {
            /* A copy of that size, so that a sanitizer sees a step past its end. */
            uint8_t *copy = malloc((size_t)cut + 1);
            REQUIRE(copy != NULL);
            memcpy(copy + 1, bytes, (size_t)cut);
            int error = ns_message_decode(copy + 1, (size_t)cut, &decoded, &why);
            /* Only an optional field at the end can go without a trace. */
            static uint8_t again[NS_MESSAGE_BYTES_MAX];
            CHECK(error == -EBADMSG || ns_message_encode(&decoded, again, sizeof again) == cut);
            free(copy);
        }
    }
}

TEST(whatever_decodes_encodes_to_the_same_bytes)
{
    int refused = 0, taken = 0;
    for (int round = 0; round < 30000; round++) {
        int count = encode_some((enum ns_message_kind)(1 + round % (NS_MESSAGE_COUNT - 1)));
        REQUIRE(count > 0);
        bytes[4 + ns_test_random() % (size_t)(count - 4)] ^= (uint8_t)(1U << ns_test_random() % 8);
        static struct ns_message decoded;
        static uint8_t again[NS_MESSAGE_BYTES_MAX];
        const char *why = NULL;
        if (ns_message_decode(bytes, (size_t)count, &decoded, &why) != 0) {
            CHECK(why != NULL && why[0] != '\0');
            refused++;
            continue;
        }
        taken++;
        bool unknown = ns_message_encode(&decoded, again, sizeof again) != count;
        if (unknown || memcmp(bytes, again, (size_t)count) != 0) {
            /* A tag with its top bit flipped is a field that is not known, and passed over. */
            bool high = false;
            for (int at = 4; at < count;) {
                high = high || bytes[at] >= 128;
                at += FIELD_HEAD + (bytes[at + 1] | bytes[at + 2] << 8 | bytes[at + 3] << 16);
            }
            CHECK(high);
        }
    }
    CHECK(refused > 1000);
    CHECK(taken > 1000);
}

/* --- single rules ----------------------------------------------------------------------------- */

static const char ack[] = "NS\x01\x08"
                          "\x01\x10\0\0\0"
                          "0123456789abcdef"
                          "\x02\x01\0\0\0\x06";

static int
decode(const void *message, size_t count, const char **why)
{
    static struct ns_message decoded;
    return ns_message_decode(message, count, &decoded, why);
}

/* The ACK above with one byte changed and extra bytes behind it. */
static int
decode_changed(size_t at, uint8_t value, const char *extra, size_t extra_bytes)
{
    uint8_t changed[128];
    const char *why = NULL;
    memcpy(changed, ack, sizeof ack - 1);
    changed[at] = value;
    memcpy(changed + sizeof ack - 1, extra, extra_bytes);
    return decode(changed, sizeof ack - 1 + extra_bytes, &why);
}

TEST(a_message_of_another_version_is_told_apart_from_a_bad_one)
{
    CHECK_INT(decode_changed(2, 1, "", 0), 0);
    CHECK_INT(decode_changed(2, 2, "", 0), -EPROTONOSUPPORT);
    CHECK_INT(decode_changed(0, 'n', "", 0), -EBADMSG);
    CHECK_INT(decode_changed(3, 0, "", 0), -EBADMSG);
    CHECK_INT(decode_changed(3, NS_MESSAGE_COUNT, "", 0), -EBADMSG);
    CHECK_INT(decode_changed(3, 255, "", 0), -EBADMSG);
}

TEST(unknown_fields_are_passed_over_from_tag_128_and_refused_below)
{
    CHECK_INT(decode_changed(2, 1, "\x80\x03\0\0\0abc", 8), 0);
    CHECK_INT(decode_changed(2, 1, "\xff\0\0\0\0", 5), 0);
    CHECK_INT(decode_changed(2, 1, "\x7f\x03\0\0\0abc", 8), -EBADMSG);
    CHECK_INT(decode_changed(2, 1, "\x80\x04\0\0\0abc", 8), -EBADMSG);
    CHECK_INT(decode_changed(2, 1, "\x80\xff\xff\xff\xff", 5), -EBADMSG);
    CHECK_INT(decode_changed(2, 1, "\x81\0\0\0\0\x80\0\0\0\0", 10), -EBADMSG);
    CHECK_INT(decode_changed(2, 1, "\x80\0\0\0\0\x80\0\0\0\0", 10), -EBADMSG);
}

TEST(a_doubled_or_disordered_or_missing_field_is_refused_by_name)
{
    const char *why = NULL;
    CHECK_INT(decode_changed(2, 1, "\x02\x01\0\0\0\x06", 6), -EBADMSG);
    CHECK_INT(decode(ack, 25, &why), -EBADMSG); /* without its last field */
    CHECK_STR(why, "kind");
    uint8_t swapped[sizeof ack - 1] = "NS\x01\x08\x02\x01\0\0\0\x06";
    memcpy(swapped + 10, ack + 4, 21);
    CHECK_INT(decode(swapped, sizeof swapped, &why), -EBADMSG);
}

TEST(a_number_beyond_its_maximum_is_neither_sent_nor_taken)
{
    struct ns_message message;
    const char *why;
    fill(NS_MESSAGE_RELEASE, &message);
    message.as.release.outcome = NS_OUTCOME_COUNT - 1;
    int count = ns_message_encode(&message, bytes, sizeof bytes);
    REQUIRE(count > 0);
    CHECK_INT(decode(bytes, (size_t)count, &why), 0);
    bytes[count - 1] = NS_OUTCOME_COUNT;
    CHECK_INT(decode(bytes, (size_t)count, &why), -EBADMSG);
    CHECK_STR(why, "outcome");
    message.as.release.outcome = NS_OUTCOME_COUNT;
    CHECK_INT(ns_message_encode(&message, bytes, sizeof bytes), -EINVAL);
}

TEST(truth_is_zero_or_one_and_an_optional_zero_is_left_out)
{
    struct ns_message message;
    const char *why;
    fill(NS_MESSAGE_ANSWER, &message);
    message.as.answer.failed = true;
    int count = ns_message_encode(&message, bytes, sizeof bytes);
    REQUIRE(count > 0);
    size_t failed_at = 4 + FIELD_HEAD + 8 + FIELD_HEAD;
    CHECK_INT(bytes[failed_at], 1);
    bytes[failed_at] = 2;
    CHECK_INT(decode(bytes, (size_t)count, &why), -EBADMSG);
    CHECK_STR(why, "failed");
    /* QUERY's argument is optional: there but empty, it would be a second encoding. */
    memset(&message, 0, sizeof message);
    message.kind = NS_MESSAGE_QUERY;
    set_text(&message.as.query.what, "ping");
    count = ns_message_encode(&message, bytes, sizeof bytes);
    REQUIRE(count > 0);
    CHECK_INT(decode(bytes, (size_t)count, &why), 0);
    memcpy(bytes + count, "\x03\0\0\0\0", 5);
    CHECK_INT(decode(bytes, (size_t)count + 5, &why), -EBADMSG);
    CHECK_STR(why, "argument");
}

/* Sends and takes a QUERY about this text; 0 where both agree to, else the encoder's error. */
static int
try_text(const char *what)
{
    struct ns_message message = {.kind = NS_MESSAGE_QUERY};
    const char *why;
    set_text(&message.as.query.what, what);
    int count = ns_message_encode(&message, bytes, sizeof bytes);
    /* The same bytes past the encoder: a decoder must not need a careful sender. */
    size_t size = strlen(what);
    uint8_t raw[512] = "NS\x01\x09\x01\x08\0\0\0\0\0\0\0\0\0\0\0\x02";
    raw[18] = (uint8_t)size;
    memcpy(raw + 22, what, size);
    int taken = decode(raw, 22 + size, &why);
    CHECK_INT(taken, count < 0 ? -EBADMSG : 0);
    return count < 0 ? count : 0;
}

TEST(texts_are_utf8_without_control_characters_up_to_their_longest)
{
    CHECK_INT(try_text(""), 0);
    CHECK_INT(try_text("grün 日本 😀 \xf4\x8f\xbf\xbf"), 0);
    CHECK_INT(try_text("12345678901234567890123456789012"), 0);
    CHECK_INT(try_text("123456789012345678901234567890123"), -EINVAL);
    static const char *const bad[] = {
        "a\nb",
        "\x1f",
        "\x7f",
        "\xc2\x80",
        "\xc2\x9f",
        "\x80",
        "\xc0\xaf",
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xf0\x8f\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xe2\x82",
        "\xff",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK_INT(try_text(bad[i]), -EINVAL);
    }
    CHECK_INT(try_text("\xc2\xa0"), 0);
    CHECK_INT(try_text("\xed\x9f\xbf"), 0);
}

TEST(composites_keep_their_limits)
{
    struct ns_message message = {.kind = NS_MESSAGE_REPORT};
    message.as.report.tags.count = NS_PROTOCOL_TAGS_MAX + 1;
    CHECK_INT(ns_message_encode(&message, bytes, sizeof bytes), -EINVAL);
    message.as.report.tags.count = 1; /* an empty key */
    CHECK_INT(ns_message_encode(&message, bytes, sizeof bytes), -EINVAL);
    message.as.report.tags.count = 0;
    message.as.report.parts.count = NS_PROTOCOL_PARTS_MAX + 1;
    CHECK_INT(ns_message_encode(&message, bytes, sizeof bytes), -EINVAL);
    message.as.report.parts.count = 0;
    message.as.report.usage.present = UINT64_C(1) << NS_METER_COUNT;
    CHECK_INT(ns_message_encode(&message, bytes, sizeof bytes), -EINVAL);
    message.as.report.usage.present = 0;
    CHECK(ns_message_encode(&message, bytes, sizeof bytes) > 0);
}

TEST(counts_keep_their_limits_on_both_sides)
{
    static char texts[80];
    memset(texts, 'x', sizeof texts);
    static struct ns_message message;
    const char *why;
    memset(&message, 0, sizeof message);
    message.kind = NS_MESSAGE_COUNTERS;
    struct ns_counts *counts = &message.as.counters.counts;
    counts->count = NS_PROTOCOL_COUNTS_MAX;
    for (int i = 0; i < NS_PROTOCOL_COUNTS_MAX; i++) {
        counts->row[i] = (struct ns_counted){{texts, 64}, UINT64_MAX};
    }
    int count = ns_message_encode(&message, bytes, sizeof bytes);
    REQUIRE(count > 0);
    CHECK_INT(decode(bytes, (size_t)count, &why), 0);
    /* One row more, in bytes that no encoder makes. */
    size_t value_at = 4 + FIELD_HEAD + 8 + FIELD_HEAD;
    size_t row_bytes = 2 + 64 + 8;
    memcpy(bytes + count, bytes + value_at + 1, row_bytes);
    bytes[value_at]++;
    uint32_t size = (uint32_t)((size_t)count - value_at + row_bytes);
    memcpy(bytes + value_at - 4, &size, sizeof size);
    CHECK_INT(decode(bytes, (size_t)count + row_bytes, &why), -EBADMSG);
    CHECK_STR(why, "counts");
    counts->count++;
    CHECK_INT(ns_message_encode(&message, bytes, sizeof bytes), -EINVAL);
    counts->count = 1;
    counts->row[0].name.bytes = 65;
    CHECK_INT(ns_message_encode(&message, bytes, sizeof bytes), -EINVAL);
    counts->row[0].name.bytes = 0;
    CHECK_INT(ns_message_encode(&message, bytes, sizeof bytes), -EINVAL);
    counts->row[0].name.bytes = 1;
    count = ns_message_encode(&message, bytes, sizeof bytes);
    REQUIRE(count > 0);
    bytes[value_at + 1] = 0; /* the size of the name, and so another end */
    CHECK_INT(decode(bytes, (size_t)count, &why), -EBADMSG);
}

TEST(the_largest_report_fits_a_message)
{
    static char texts[1024];
    memset(texts, 'x', sizeof texts);
    static struct ns_message message;
    memset(&message, 0, sizeof message);
    message.kind = NS_MESSAGE_REPORT;
    struct ns_report *report = &message.as.report;
    struct ns_usage all;
    for (int m = 0; m < NS_METER_COUNT; m++) {
        ns_usage_set(&all, (enum ns_meter)m, UINT64_MAX);
    }
    all.present = (UINT64_C(1) << NS_METER_COUNT) - 1;
#define LONGEST_text(name, max) report->name = (struct ns_text){texts, max};
#define LONGEST_u8(name, max) report->name = max;
#define LONGEST_u32(name, max) report->name = (max) != 0 ? (max) : UINT32_MAX;
#define LONGEST_u64(name, max) report->name = UINT64_MAX;
#define LONGEST_i64(name, max) report->name = INT64_MIN;
#define LONGEST_bool(name, max) report->name = true;
#define LONGEST_uuid(name, max) memset(&report->name, 255, 16);
#define LONGEST_hash16(name, max) memset(&report->name, 255, 16);
#define LONGEST_usage(name, max) report->name = all;
#define LONGEST_tags(name, max) report->name.count = NS_PROTOCOL_TAGS_MAX;
#define LONGEST_parts(name, max) report->name.count = NS_PROTOCOL_PARTS_MAX;
#define F(tag, name, type, need, max) LONGEST_##type(name, max)
    NS_FIELDS_REPORT(F)
#undef F
    for (int i = 0; i < NS_PROTOCOL_TAGS_MAX; i++) {
        report->tags.tag[i].key = (struct ns_text){texts, 64};
        report->tags.tag[i].value = (struct ns_text){texts, 256};
    }
    for (int i = 0; i < NS_PROTOCOL_PARTS_MAX; i++) {
        report->parts.part[i].model = (struct ns_text){texts, 192};
        report->parts.part[i].usage = all;
    }
    int count = ns_message_encode(&message, bytes, sizeof bytes);
    CHECK(count > 10000);
    const char *why;
    CHECK_INT(decode(bytes, (size_t)count, &why), 0);
    for (int size = 0; size < count; size += 61) {
        CHECK_INT(ns_message_encode(&message, bytes, (size_t)size), -ENOSPC);
    }
    CHECK_INT(ns_message_encode(&message, bytes, (size_t)count), count);
}

TEST(only_an_answer_may_be_larger_than_a_message)
{
    static uint8_t large[NS_MESSAGE_BYTES_MAX + 64];
    static char text[NS_MESSAGE_BYTES_MAX];
    const char *why;
    memset(text, 'x', sizeof text);
    struct ns_message message = {.kind = NS_MESSAGE_ANSWER};
    message.as.answer.json = (struct ns_text){text, sizeof text};
    int count = ns_message_encode(&message, large, sizeof large);
    REQUIRE(count > NS_MESSAGE_BYTES_MAX);
    CHECK_INT(decode(large, (size_t)count, &why), 0);
    /* An ACK made too long by a field that is not known. */
    memset(large, 0, sizeof large);
    memcpy(large, ack, sizeof ack - 1);
    size_t at = sizeof ack - 1, left = NS_MESSAGE_BYTES_MAX - at - FIELD_HEAD;
    large[at] = 200;
    large[at + 1] = (uint8_t)left;
    large[at + 2] = (uint8_t)(left >> 8);
    CHECK_INT(decode(large, NS_MESSAGE_BYTES_MAX, &why), 0);
    large[at + 1]++;
    CHECK_INT(decode(large, NS_MESSAGE_BYTES_MAX + 1, &why), -EBADMSG);
}

/* --- the document ----------------------------------------------------------------------------- */

/* The part of the document under "### NAME", up to the next heading. */
static const char *
section(const char *document, const char *name, const char **end)
{
    char heading[64];
    snprintf(heading, sizeof heading, "\n### %s", name);
    const char *start = strstr(document, heading);
    if (start == NULL) {
        *end = document;
        return document;
    }
    start += strlen(heading);
    *end = strstr(start, "\n#");
    *end = *end != NULL ? *end : start + strlen(start);
    return start;
}

static bool
section_says(const char *document, const char *name, const char *row)
{
    const char *end;
    const char *start = section(document, name, &end);
    const char *found = strstr(start, row);
    return found != NULL && found < end;
}

TEST(the_document_names_every_message_and_field)
{
    char *document = ns_test_read_file("docs/protocol.md", NULL);
    REQUIRE(document != NULL);
    char row[128], heading[64];
    int fields = 0;
#define F(tag, name, type, need, max)                                                              \
    snprintf(row, sizeof row, "\n| %d | `%s` | %s | %s |", tag, #name, #type,                      \
             strcmp(#need, "REQUIRED") == 0 ? "required" : "optional");                            \
    fields++;                                                                                      \
    if (!section_says(document, heading, row) &&                                                   \
        !(has_identity && section_says(document, "Identity", row))) {                              \
        NS_FAIL("docs/protocol.md, %s: no row \"%s\"", heading, row + 1);                          \
    }
#define X(KIND, kind)                                                                              \
    {                                                                                              \
        bool has_identity =                                                                        \
            NS_MESSAGE_##KIND == NS_MESSAGE_CHECK || NS_MESSAGE_##KIND == NS_MESSAGE_REPORT;       \
        snprintf(heading, sizeof heading, "%s (%d)", #KIND, NS_MESSAGE_##KIND);                    \
        CHECK(section_says(document, heading, "\n"));                                              \
        NS_FIELDS_##KIND(F)                                                                        \
    }
    NS_MESSAGES(X)
#undef X
#undef F
    CHECK(fields > 100);
    free(document);
}
