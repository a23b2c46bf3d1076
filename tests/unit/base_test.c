/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"
#include "base/meter.h"
#include "base/money.h"
#include "base/unseen.h"
#include "base/uuid.h"
#include "base/words.h"
#include "tests/harness.h"

#include <errno.h>

static int
parse(const char *text, int64_t *nanousd)
{
    return ns_money_parse(text, strlen(text), nanousd);
}

TEST(money_is_read_exactly)
{
    static const struct {
        const char *text;
        int64_t nanousd;
    } rows[] = {
        {"0", 0},
        {"1", 1000000000},
        {"0.000000001", 1},
        {"-0.5", -500000000},
        {"+12.34", 12340000000},
        {"9223372036.854775807", INT64_MAX},
        {"-9223372036.854775808", INT64_MIN},
        {"007", 7000000000},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t nanousd = 77;
        CHECK_INT(parse(rows[i].text, &nanousd), 0);
        CHECK_INT(nanousd, rows[i].nanousd);
    }
}

TEST(money_that_is_no_plain_decimal_is_refused)
{
    static const char *const bad[] = {"",   ".5", "5.", "1e3", "NaN", "inf",  "1,000",
                                      "$1", " 1", "1 ", "--1", "0x1", "1.2.3"};
    int64_t nanousd = 77;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_INT(parse(bad[i], &nanousd), -EINVAL);
    }
    CHECK_INT(parse("0.0000000001", &nanousd), -EDOM);
    CHECK_INT(parse("9223372036.854775808", &nanousd), -ERANGE);
    CHECK_INT(parse("-9223372036.854775809", &nanousd), -ERANGE);
    CHECK_INT(parse("99999999999999999999999999999999999999999999", &nanousd), -ERANGE);
    CHECK_INT(nanousd, 77);
}

TEST(money_is_written_so_that_it_reads_back)
{
    char text[NS_MONEY_TEXT_BYTES];
    ns_money_format(INT64_MIN, text);
    CHECK_STR(text, "-9223372036.854775808");
    ns_money_format_short(1500000000, text);
    CHECK_STR(text, "1.50");
    ns_money_format_short(15000, text);
    CHECK_STR(text, "0.000015");
    ns_money_format_short(-1, text);
    CHECK_STR(text, "-0.000000001");
    for (int i = 0; i < 1000; i++) {
        int64_t value = (int64_t)ns_test_random(), back = 0;
        size_t n = ns_money_format(value, text);
        CHECK_INT(ns_money_parse(text, n, &back), 0);
        CHECK_INT(back, value);
    }
}

TEST(money_sums_stop_at_their_ends)
{
    CHECK_INT(ns_money_add(INT64_MAX, 1), INT64_MAX);
    CHECK_INT(ns_money_add(INT64_MIN, -1), INT64_MIN);
    CHECK_INT(ns_money_add(2, -3), -1);
}

TEST(uuids_are_version_7_and_read_back)
{
    struct ns_uuid uuid = ns_uuid_new(), back;
    char text[NS_UUID_TEXT_BYTES];
    ns_uuid_format(&uuid, text);
    CHECK_INT(text[14], '7');
    CHECK(strchr("89ab", text[19]) != NULL);
    CHECK_INT(ns_uuid_parse(text, 36, &back), 0);
    CHECK(ns_uuid_equal(&uuid, &back));
    CHECK(ns_uuid_unix_ms(&uuid) > UINT64_C(1700000000000));
    CHECK_INT(ns_uuid_parse(text, 35, &back), -EINVAL);
    text[8] = '0';
    CHECK_INT(ns_uuid_parse(text, 36, &back), -EINVAL);
    struct ns_uuid other = ns_uuid_new();
    CHECK(!ns_uuid_equal(&uuid, &other));
}

TEST(siphash_agrees_with_its_reference_vectors)
{
    uint8_t key[16], data[15], digest[16];
    for (int i = 0; i < 16; i++) {
        key[i] = (uint8_t)i;
    }
    for (int i = 0; i < 15; i++) {
        data[i] = (uint8_t)i;
    }
    /* From the paper's appendix A, and vectors.h of the reference implementation. */
    CHECK(ns_siphash64(key, data, 15) == UINT64_C(0xa129ca6149be45e5));
    static const uint8_t empty[16] = {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6,
                                      0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93};
    ns_siphash128(key, data, 0, digest);
    CHECK(memcmp(digest, empty, 16) == 0);
}

TEST(crc32c_agrees_with_rfc_3720)
{
    uint8_t data[32] = {0};
    CHECK_INT(ns_crc32c(0, data, 32), 0x8a9136aa);
    memset(data, 0xff, 32);
    CHECK_INT(ns_crc32c(0, data, 32), 0x62a8ab43);
    CHECK_INT(ns_crc32c(ns_crc32c(0, data, 5), data + 5, 27), 0x62a8ab43);
}

TEST(usage_tells_absent_from_zero_and_saturates)
{
    struct ns_usage usage = {0};
    CHECK(!ns_usage_has(&usage, NS_METER_INPUT));
    ns_usage_set(&usage, NS_METER_INPUT, 0);
    CHECK(ns_usage_has(&usage, NS_METER_INPUT));
    ns_usage_add(&usage, NS_METER_OUTPUT, UINT64_MAX);
    ns_usage_add(&usage, NS_METER_OUTPUT, 5);
    ns_usage_set(&usage, NS_METER_OUTPUT_REASONING, 3);
    CHECK(ns_usage_output_tokens(&usage) == UINT64_MAX);
    CHECK_INT(ns_meter_find("web_searches", 12), NS_METER_WEB_SEARCHES);
    CHECK_INT(ns_meter_find("web_searche", 11), -1);
}

TEST(every_word_is_found_by_its_name)
{
    for (int i = 0; i < NS_PERIOD_COUNT; i++) {
        CHECK_INT(ns_period_find(ns_period_name(i), strlen(ns_period_name(i))), i);
    }
    for (int i = 0; i < NS_ENTITY_KIND_COUNT; i++) {
        const char *name = ns_entity_kind_name(i);
        CHECK_INT(ns_entity_kind_find(name, strlen(name)), i);
    }
    for (int i = 0; i < NS_UNSEEN_COUNT; i++) {
        const char *name = ns_unseen_name(i);
        CHECK_INT(ns_unseen_find(name, strlen(name)), i);
        CHECK(ns_unseen_sentence(i)[0] != '\0');
    }
    CHECK_INT(ns_unseen_find("connections", 11), NS_UNSEEN_OTHER);
    CHECK_STR(ns_reason_name(NS_REASON_COUNT), "?");
    CHECK_INT(ns_policy_find("hardly", 6), -1);
}
