/* SPDX-License-Identifier: Apache-2.0 */
/* What is read of a client's first message, however it is cut, and of a QUIC client's. */
#include "bpf/client_hello.h"
#include "bpf/pieces.h"
#include "bpf/quic_initial.h"
#include "tests/harness.h"

#define ROOM 8192

static uint8_t scratch[ROOM];

/* A message under way. */
struct writer {
    uint8_t bytes[ROOM];
    size_t count;
};

static void
put(struct writer *writer, size_t value, size_t width)
{
    for (size_t i = width; i-- > 0;) {
        writer->bytes[writer->count++] = (uint8_t)(value >> (8 * i));
    }
}

static size_t
begin(struct writer *writer, size_t width)
{
    put(writer, 0, width);
    return writer->count;
}

static void
end(struct writer *writer, size_t from, size_t width)
{
    size_t count = writer->count;
    writer->count = from - width;
    put(writer, count - from, width);
    writer->count = count;
}

static void
put_filler(struct writer *writer, size_t type, size_t bytes)
{
    put(writer, type, 2);
    put(writer, bytes, 2);
    for (size_t i = 0; i < bytes; i++) {
        put(writer, i * 7, 1);
    }
}

struct wanted {
    const char *name; /* NULL: none */
    bool encrypted;
    size_t filler; /* bytes of an extension before the name, as a key of post-quantum size */
};

static void
make_message(struct writer *writer, struct wanted wanted)
{
    writer->count = 0;
    put(writer, 1, 1);
    size_t message = begin(writer, 3);
    put(writer, 0x0303, 2);
    for (size_t i = 0; i < 32; i++) {
        put(writer, i, 1);
    }
    put(writer, 32, 1);
    for (size_t i = 0; i < 32; i++) {
        put(writer, 0x16, 1);
    }
    put(writer, 4, 2);
    put(writer, 0x13011302, 4);
    put(writer, 0x0100, 2);
    size_t extensions = begin(writer, 2);
    put_filler(writer, 51, wanted.filler);
    if (wanted.name != NULL) {
        put(writer, 0, 2);
        size_t extension = begin(writer, 2), list = begin(writer, 2);
        put(writer, 0, 1);
        size_t name = begin(writer, 2);
        for (const char *at = wanted.name; *at != '\0'; at++) {
            put(writer, (uint8_t)*at, 1);
        }
        end(writer, name, 2);
        end(writer, list, 2);
        end(writer, extension, 2);
    }
    if (wanted.encrypted) {
        put_filler(writer, 0xfe0d, 200);
    }
    put_filler(writer, 43, 3);
    end(writer, extensions, 2);
    end(writer, message, 3);
}

/* The message in records, a new one at each of two places. */
static size_t
make_records(const struct writer *message, size_t first, size_t second, uint8_t *records)
{
    size_t count = 0;
    const size_t ends[] = {first, second, message->count};
    for (size_t i = 0, from = 0; i < 3; i++) {
        size_t bytes = ends[i] - from;
        if (bytes > 0) {
            const uint8_t head[] = {22, 3, 1, (uint8_t)(bytes >> 8), (uint8_t)bytes};
            memcpy(records + count, head, sizeof head);
            memcpy(records + count + sizeof head, message->bytes + from, bytes);
            count += sizeof head + bytes;
        }
        from = ends[i];
    }
    return count;
}

static const struct wanted plain = {.name = "api.openai.com", .filler = 32};

TEST(every_cut_of_a_message_waits_for_more_and_the_whole_names_the_server)
{
    static struct writer message;
    struct ns_client_hello hello;
    make_message(&message, plain);
    for (size_t count = 0; count < message.count; count++) {
        CHECK_INT(ns_client_hello_read(message.bytes, count, &hello), NS_CLIENT_HELLO_MORE);
        CHECK(hello.server_name[0] == '\0' || strcmp(hello.server_name, plain.name) == 0);
    }
    CHECK_INT(ns_client_hello_read(message.bytes, message.count, &hello), NS_CLIENT_HELLO_DONE);
    CHECK_STR(hello.server_name, plain.name);
    CHECK(!hello.encrypted);
    CHECK_INT(ns_client_hello_read(message.bytes, message.count + 50, &hello),
              NS_CLIENT_HELLO_DONE);
}

TEST(every_cut_of_a_message_without_extensions_waits_for_more)
{
    uint8_t message[4 + 2 + 32 + 1 + 2 + 1] = {1, 0, 0, 2 + 32 + 1 + 2 + 1, 3, 3};
    struct ns_client_hello hello;
    for (size_t count = 0; count < sizeof message; count++) {
        CHECK_INT(ns_client_hello_read(message, count, &hello), NS_CLIENT_HELLO_MORE);
    }
    CHECK_INT(ns_client_hello_read(message, sizeof message, &hello), NS_CLIENT_HELLO_DONE);
}

TEST(every_split_into_records_reads_the_same)
{
    static struct writer message;
    static uint8_t records[ROOM];
    struct ns_client_hello hello;
    make_message(&message, plain);
    for (size_t first = 0; first <= message.count; first++) {
        for (size_t second = first; second <= message.count; second++) {
            size_t count = make_records(&message, first, second, records);
            CHECK_INT(ns_client_hello_read_records(records, count, scratch, &hello),
                      NS_CLIENT_HELLO_DONE);
            CHECK_STR(hello.server_name, plain.name);
        }
    }
}

TEST(every_cut_of_records_waits_for_more)
{
    static struct writer message;
    static uint8_t records[ROOM];
    struct ns_client_hello hello;
    make_message(&message, plain);
    size_t whole = make_records(&message, message.count / 3, message.count / 2, records);
    for (size_t count = 0; count < whole; count++) {
        CHECK_INT(ns_client_hello_read_records(records, count, scratch, &hello),
                  NS_CLIENT_HELLO_MORE);
    }
}

TEST(a_record_of_another_kind_amid_the_message_makes_it_none)
{
    static struct writer message;
    static uint8_t records[ROOM];
    struct ns_client_hello hello;
    make_message(&message, plain);
    size_t first = message.count - 5;
    size_t count = make_records(&message, first, first, records);
    CHECK_INT(ns_client_hello_read_records(records, 5 + first, scratch, &hello),
              NS_CLIENT_HELLO_MORE);
    CHECK_STR(hello.server_name, plain.name);
    records[5 + first] = 23;
    CHECK_INT(ns_client_hello_read_records(records, count, scratch, &hello), NS_CLIENT_HELLO_NOT);
    CHECK_STR(hello.server_name, "");
}

TEST(a_name_behind_a_key_of_post_quantum_size_is_found)
{
    static struct writer message;
    static uint8_t records[ROOM];
    struct ns_client_hello hello;
    make_message(&message, (struct wanted){.name = "api.anthropic.com", .filler = 1600});
    size_t count = make_records(&message, message.count, message.count, records);
    CHECK(count > 1700);
    CHECK_INT(ns_client_hello_read_records(records, 1400, scratch, &hello), NS_CLIENT_HELLO_MORE);
    CHECK_INT(ns_client_hello_read_records(records, count, scratch, &hello), NS_CLIENT_HELLO_DONE);
    CHECK_STR(hello.server_name, "api.anthropic.com");
}

TEST(a_hello_without_a_name_or_with_an_encrypted_one_says_so)
{
    static struct writer message;
    struct ns_client_hello hello;
    make_message(&message, (struct wanted){.filler = 8});
    CHECK_INT(ns_client_hello_read(message.bytes, message.count, &hello), NS_CLIENT_HELLO_DONE);
    CHECK_STR(hello.server_name, "");
    CHECK(!hello.encrypted);
    make_message(&message, (struct wanted){.name = "cloudflare-ech.com", .encrypted = true});
    CHECK_INT(ns_client_hello_read(message.bytes, message.count, &hello), NS_CLIENT_HELLO_DONE);
    CHECK_STR(hello.server_name, "cloudflare-ech.com");
    CHECK(hello.encrypted);
}

TEST(a_name_may_have_255_bytes_and_no_more)
{
    static struct writer message;
    struct ns_client_hello hello;
    char name[258];
    memset(name, 'a', sizeof name);
    name[255] = '\0';
    make_message(&message, (struct wanted){.name = name});
    CHECK_INT(ns_client_hello_read(message.bytes, message.count, &hello), NS_CLIENT_HELLO_DONE);
    CHECK_STR(hello.server_name, name);
    name[255] = 'a';
    name[256] = '\0';
    make_message(&message, (struct wanted){.name = name});
    CHECK_INT(ns_client_hello_read(message.bytes, message.count, &hello), NS_CLIENT_HELLO_NOT);
    make_message(&message, (struct wanted){.name = "two words"});
    CHECK_INT(ns_client_hello_read(message.bytes, message.count, &hello), NS_CLIENT_HELLO_NOT);
    CHECK_STR(hello.server_name, "");
}

TEST(lengths_that_do_not_fit_into_each_other_are_no_hello)
{
    static struct writer message;
    struct ns_client_hello hello;
    make_message(&message, plain);
    /* The session id's length, the ciphers', the compressions', the extensions'. */
    static const size_t places[] = {38, 71, 77, 79};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct writer broken = message;
        broken.bytes[places[i]] = 0xff;
        CHECK_INT(ns_client_hello_read(broken.bytes, broken.count, &hello), NS_CLIENT_HELLO_NOT);
    }
    struct writer other = message;
    other.bytes[0] = 2;
    CHECK_INT(ns_client_hello_read(other.bytes, other.count, &hello), NS_CLIENT_HELLO_NOT);
    CHECK_INT(ns_client_hello_read_records((const uint8_t *)"GET / HTTP/1.1", 14, scratch, &hello),
              NS_CLIENT_HELLO_NOT);
    CHECK_INT(
        ns_client_hello_read_records((const uint8_t *)"\x16\x03\x01\x00\x00", 5, scratch, &hello),
        NS_CLIENT_HELLO_NOT);
}

TEST(pieces_come_in_any_order_and_beyond_the_room_not_at_all)
{
    static struct ns_pieces pieces;
    static uint8_t bytes[NS_PIECES_BYTES_MAX + 100];
    memset(bytes, 'x', sizeof bytes);
    ns_pieces_put(&pieces, 10, bytes, 10);
    CHECK_INT(ns_pieces_count(&pieces), 0);
    ns_pieces_put(&pieces, 0, bytes, 12);
    CHECK_INT(ns_pieces_count(&pieces), 20);
    ns_pieces_put(&pieces, NS_PIECES_BYTES_MAX + 1, bytes, 10);
    ns_pieces_put(&pieces, 19, bytes, sizeof bytes);
    CHECK_INT(ns_pieces_count(&pieces), NS_PIECES_BYTES_MAX);
}

/* --- QUIC --------------------------------------------------------------------------------------
 */

/* The datagram of RFC 9001, A.2. */
static size_t
read_datagram(uint8_t *datagram, size_t room)
{
    size_t bytes, count = 0;
    char *text = ns_test_read_file("tests/lib/quic_initial.hex", &bytes);
    for (const char *at = text; at != NULL && *at != '\0' && count < room; at++) {
        unsigned value;
        if (*at != '\n' && sscanf(at, "%2x", &value) == 1) {
            datagram[count++] = (uint8_t)value;
            at++;
        }
    }
    free(text);
    return count;
}

TEST(a_quic_client_names_its_server_in_its_first_datagram)
{
    static uint8_t datagram[1500];
    static struct ns_pieces pieces;
    struct ns_client_hello hello;
    memset(&pieces, 0, sizeof pieces);
    REQUIRE(read_datagram(datagram, sizeof datagram) == 1200);
    CHECK(ns_quic_read_datagram(datagram, 1200, &pieces));
    CHECK_INT(ns_pieces_count(&pieces), 241);
    CHECK_INT(ns_client_hello_read(pieces.bytes, 241, &hello), NS_CLIENT_HELLO_DONE);
    CHECK_STR(hello.server_name, "example.com");
}

TEST(a_datagram_that_was_changed_anywhere_is_not_believed)
{
    static uint8_t datagram[1500];
    static struct ns_pieces pieces;
    memset(&pieces, 0, sizeof pieces);
    REQUIRE(read_datagram(datagram, sizeof datagram) == 1200);
    for (size_t at = 0; at < 1200; at += at < 64 ? 1 : 97) {
        datagram[at] ^= 0x10;
        CHECK(!ns_quic_read_datagram(datagram, 1200, &pieces));
        datagram[at] ^= 0x10;
    }
    for (size_t count = 0; count < 1200; count++) {
        CHECK(!ns_quic_read_datagram(datagram, count, &pieces));
    }
    CHECK_INT(ns_pieces_count(&pieces), 0);
}
