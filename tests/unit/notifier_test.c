/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>

#include "collector/notifier_address.h"
#include "collector/notifier_fate.h"
#include "collector/notifier_mail.h"
#include "collector/notifier_sign.h"
#include "tests/harness.h"

/* --- signatures --------------------------------------------------------------------------------
 */

TEST(a_signature_is_the_hmac_of_time_and_body)
{
    /* As `printf '%s' '1700000000.{"id":"evt"}' | openssl dgst -sha256 -hmac SECRET` says. */
    const char *const secrets[] = {"whsec_test", NULL};
    char signature[NS_SIGNATURE_BYTES];
    REQUIRE(ns_sign(1700000000, secrets, "{\"id\":\"evt\"}", 12, signature) == 0);
    CHECK_STR(signature,
              "t=1700000000,v1=a94cea056df1fbb92eadafcf2c5cd541dbe0c6ef736e4748202dd53f86694a3e");
}

TEST(the_hmac_is_that_of_rfc_4231)
{
    char key1[21], key6[132], data3[51], key3[21], hex[NS_HMAC_TEXT_BYTES];
    memset(key1, 0x0b, 20);
    memset(key3, 0xaa, 20);
    memset(data3, 0xdd, 50);
    memset(key6, 0xaa, 131);
    key1[20] = key3[20] = key6[131] = data3[50] = '\0';
    const char *const rows[][3] = {
        {key1, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"Jefe", "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {key3, data3, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {key6, "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        REQUIRE(ns_hmac(rows[i][0], rows[i][1], strlen(rows[i][1]), hex) == 0);
        CHECK_STR(hex, rows[i][2]);
    }
}

TEST(both_secrets_sign_while_they_rotate_and_none_is_an_error)
{
    const char *const one[] = {"b", NULL}, *const both[] = {"a", "b"}, *const none[] = {NULL, NULL};
    char single[NS_SIGNATURE_BYTES], twice[NS_SIGNATURE_BYTES];
    REQUIRE(ns_sign(INT64_MAX, one, "x", 1, single) == 0);
    REQUIRE(ns_sign(INT64_MAX, both, "x", 1, twice) == 0);
    CHECK_INT(strlen(twice), 2 + 19 + 2 * 68);
    CHECK_STR(twice + strlen(twice) - 68, single + strlen(single) - 68);
    CHECK_INT(ns_sign(0, none, "x", 1, single), -EINVAL);
}

/* --- addresses ---------------------------------------------------------------------------------
 */

static bool
is_public(const char *text)
{
    struct sockaddr_storage storage = {0};
    struct sockaddr_in *in = (struct sockaddr_in *)&storage;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&storage;
    if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
        storage.ss_family = AF_INET;
    } else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
        storage.ss_family = AF_INET6;
    } else {
        NS_FAIL("%s is no address", text);
    }
    char again[NS_ADDRESS_TEXT_BYTES];
    ns_address_format((const struct sockaddr *)&storage, again);
    CHECK_STR(again, text);
    return ns_address_is_public((const struct sockaddr *)&storage);
}

TEST(addresses_that_nobody_on_the_internet_has_are_not_public)
{
    static const char *const refused[] = {"0.0.0.0",
                                          "0.255.255.255",
                                          "10.0.0.0",
                                          "10.255.255.255",
                                          "100.64.0.0",
                                          "100.100.100.200",
                                          "100.127.255.255",
                                          "127.0.0.1",
                                          "127.255.255.255",
                                          "168.63.129.16",
                                          "169.254.0.0",
                                          "169.254.169.254",
                                          "172.16.0.0",
                                          "172.31.255.255",
                                          "192.0.0.192",
                                          "192.0.2.1",
                                          "192.88.99.1",
                                          "192.168.0.0",
                                          "192.168.255.255",
                                          "198.18.0.0",
                                          "198.19.255.255",
                                          "198.51.100.1",
                                          "203.0.113.1",
                                          "224.0.0.1",
                                          "239.255.255.255",
                                          "240.0.0.1",
                                          "255.255.255.255",
                                          "::",
                                          "::1",
                                          "::ffff:127.0.0.1",
                                          "::ffff:10.1.2.3",
                                          "::ffff:169.254.169.254",
                                          "::127.0.0.1",
                                          "64:ff9b::7f00:1",
                                          "64:ff9b:1::1",
                                          "100::1",
                                          "2001::1",
                                          "2001:1ff:ffff::1",
                                          "2001:db8::1",
                                          "2002:7f00:1::",
                                          "2002:a00:1::1",
                                          "3fff::1",
                                          "3fff:fff::1",
                                          "fc00::1",
                                          "fd00:ec2::254",
                                          "fdff::1",
                                          "fe80::1",
                                          "febf::1",
                                          "fec0::1",
                                          "ff02::1",
                                          "4000::1"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (is_public(refused[i])) {
            NS_FAIL("%s is public", refused[i]);
        }
    }
}

TEST(their_neighbours_are_public)
{
    static const char *const taken[] = {"1.0.0.0",
                                        "9.255.255.255",
                                        "11.0.0.0",
                                        "100.63.255.255",
                                        "100.128.0.0",
                                        "126.255.255.255",
                                        "128.0.0.0",
                                        "168.63.129.15",
                                        "168.63.129.17",
                                        "169.253.255.255",
                                        "169.255.0.0",
                                        "172.15.255.255",
                                        "172.32.0.0",
                                        "192.0.1.0",
                                        "192.0.3.0",
                                        "192.167.255.255",
                                        "192.169.0.0",
                                        "198.17.255.255",
                                        "198.20.0.0",
                                        "203.0.114.0",
                                        "223.255.255.255",
                                        "::ffff:8.8.8.8",
                                        "64:ff9b::808:808",
                                        "2001:200::1",
                                        "2001:4860:4860::8888",
                                        "2001:db9::1",
                                        "2002:808:808::1",
                                        "2606:4700::1111",
                                        "3ffe:ffff::1"};
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        if (!is_public(taken[i])) {
            NS_FAIL("%s is not public", taken[i]);
        }
    }
    const struct sockaddr local = {.sa_family = AF_UNIX};
    CHECK(!ns_address_is_public(&local));
}

/* --- what becomes of an attempt ----------------------------------------------------------------
 */

TEST(answers_decide_what_becomes_of_a_webhook)
{
    static const struct {
        int status;
        enum ns_fate fate;
    } rows[] = {{0, NS_FATE_RETRY},   {199, NS_FATE_DEAD},  {200, NS_FATE_SENT},
                {204, NS_FATE_SENT},  {299, NS_FATE_SENT},  {300, NS_FATE_DEAD},
                {307, NS_FATE_DEAD},  {400, NS_FATE_DEAD},  {401, NS_FATE_DEAD},
                {404, NS_FATE_DEAD},  {410, NS_FATE_DEAD},  {428, NS_FATE_DEAD},
                {429, NS_FATE_RETRY}, {430, NS_FATE_DEAD},  {499, NS_FATE_DEAD},
                {500, NS_FATE_RETRY}, {503, NS_FATE_RETRY}, {599, NS_FATE_RETRY}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ns_attempt attempt = {.status = rows[i].status, .attempts = 1};
        if (ns_fate_of(&attempt) != rows[i].fate) {
            NS_FAIL("%d becomes %d", rows[i].status, ns_fate_of(&attempt));
        }
    }
}

TEST(the_last_attempt_and_a_test_are_not_followed_by_another)
{
    struct ns_attempt attempt = {.status = 503, .attempts = NS_ATTEMPTS_MAX - 1};
    CHECK_INT(ns_fate_of(&attempt), NS_FATE_RETRY);
    attempt.attempts = NS_ATTEMPTS_MAX;
    CHECK_INT(ns_fate_of(&attempt), NS_FATE_DEAD);
    attempt.attempts = 1;
    attempt.test = true;
    CHECK_INT(ns_fate_of(&attempt), NS_FATE_DEAD);
    attempt.status = 200;
    CHECK_INT(ns_fate_of(&attempt), NS_FATE_SENT);
    attempt = (struct ns_attempt){.refused = true, .attempts = 1};
    CHECK_INT(ns_fate_of(&attempt), NS_FATE_DEAD);
}

TEST(a_mail_is_sent_when_the_exchange_came_to_its_end)
{
    struct ns_attempt attempt = {.mail = true, .complete = true, .status = 250, .attempts = 1};
    CHECK_INT(ns_fate_of(&attempt), NS_FATE_SENT);
    attempt.complete = false; /* the last reply was good, and then nothing */
    CHECK_INT(ns_fate_of(&attempt), NS_FATE_RETRY);
    attempt.status = 451;
    CHECK_INT(ns_fate_of(&attempt), NS_FATE_RETRY);
    attempt.status = 550;
    CHECK_INT(ns_fate_of(&attempt), NS_FATE_DEAD);
}

TEST(delays_double_up_to_an_hour_and_jitter_adds_at_most_a_tenth)
{
    static const int64_t seconds[] = {10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600};
    for (int i = 0; i < (int)(sizeof seconds / sizeof seconds[0]); i++) {
        CHECK_INT(ns_delay_ms(i + 1, 0, 0), seconds[i] * 1000);
        CHECK_INT(ns_delay_ms(i + 1, 0, (uint32_t)seconds[i] * 100), seconds[i] * 1100);
        CHECK_INT(ns_delay_ms(i + 1, 0, (uint32_t)seconds[i] * 100 + 1), seconds[i] * 1000);
    }
    CHECK_INT(ns_delay_ms(INT_MAX, 0, 0), 3600000);
}

TEST(what_the_receiver_asks_for_counts_within_bounds)
{
    CHECK_INT(ns_delay_ms(1, 9, 0), 10000); /* not sooner than our own */
    CHECK_INT(ns_delay_ms(1, 11, 0), 11000);
    CHECK_INT(ns_delay_ms(1, 3600, 0), 3600000);
    CHECK_INT(ns_delay_ms(1, 3601, 0), 3600000);
    CHECK_INT(ns_delay_ms(1, INT64_MAX, 0), 3600000);
    CHECK_INT(ns_delay_ms(1, -5, 0), 10000);
}

/* --- mails -------------------------------------------------------------------------------------
 */

TEST(base64_is_that_of_rfc_4648)
{
    static const char *const rows[][2] = {{"", ""},
                                          {"f", "Zg=="},
                                          {"fo", "Zm8="},
                                          {"foo", "Zm9v"},
                                          {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="},
                                          {"foobar", "Zm9vYmFy"},
                                          {"\xff\xfb\xf0", "//vw"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ns_buffer buffer = {0};
        ns_base64(rows[i][0], strlen(rows[i][0]), &buffer);
        ns_buffer_add(&buffer, "", 1);
        CHECK_STR((const char *)buffer.bytes, rows[i][1]);
        ns_buffer_free(&buffer);
    }
}

static int
format(const struct ns_mail *mail, char text[static 4096])
{
    struct ns_buffer buffer = {0};
    int result = ns_mail_format(mail, &buffer);
    snprintf(text, 4096, "%.*s", (int)buffer.count, (const char *)buffer.bytes);
    ns_buffer_free(&buffer);
    return result;
}

TEST(a_mail_has_its_headers_and_its_text)
{
    char text[4096];
    struct ns_mail mail = {.from = "n@example.net",
                           .to = "a@example.com, b@example.com",
                           .subject = "hello",
                           .text = "one\ntwo",
                           .id = "42",
                           .date = 1700000000};
    REQUIRE(format(&mail, text) == 0);
    CHECK_STR(text, "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"
                    "From: n@example.net\r\n"
                    "To: a@example.com,\r\n b@example.com\r\n"
                    "Subject: hello\r\n"
                    "Message-ID: <42@example.net>\r\n"
                    "Auto-Submitted: auto-generated\r\n"
                    "MIME-Version: 1.0\r\n"
                    "Content-Type: text/plain; charset=utf-8\r\n"
                    "Content-Transfer-Encoding: base64\r\n"
                    "\r\n"
                    "b25lDQp0d28NCg==\r\n");
}

TEST(a_subject_that_is_not_plain_is_coded_without_cutting_characters)
{
    char text[4096];
    struct ns_mail mail = {.from = "n@example.net",
                           .to = "a@example.com",
                           .subject = "x\r\nBcc: evil@example.com",
                           .text = "",
                           .id = "1"};
    REQUIRE(format(&mail, text) == 0);
    CHECK(strstr(text, "\r\nBcc") == NULL);
    CHECK(strstr(text, "Subject: =?UTF-8?B?eA0KQmNjOiBldmlsQGV4YW1wbGUuY29t?=\r\n") != NULL);
    mail.subject = "=?UTF-8?B?QQ==?="; /* would be read as coded */
    REQUIRE(format(&mail, text) == 0);
    CHECK(strstr(text, "Subject: =?UTF-8?B?PT9VVEYtOD9CP1FRPT0/PQ==?=\r\n") != NULL);
    /* 38 letters, then one of two bytes that would be cut at 39. */
    mail.subject = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3\xa9";
    REQUIRE(format(&mail, text) == 0);
    CHECK(strstr(text, "YWE=?=\r\n =?UTF-8?B?w6k=?=\r\n") != NULL);
}

TEST(addresses_with_line_ends_are_refused)
{
    char text[4096];
    struct ns_mail mail = {
        .from = "n@example.net\r\nBcc: x@y", .to = "a@b", .subject = "s", .text = "", .id = "1"};
    CHECK_INT(format(&mail, text), -EINVAL);
    mail.from = "nobody";
    CHECK_INT(format(&mail, text), -EINVAL);
    mail.from = "n@example.net";
    mail.to = "a@b\r\nBcc: x@y";
    CHECK_INT(format(&mail, text), -EINVAL);
}
