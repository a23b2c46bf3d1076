/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "base/mem.h"
#include "tests/harness.h"
#include "wire/wire.h"

#define BOUND (1 << 20)

static const char call_text[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\n"
                                "Content-Length: 18\r\n\r\n{\"model\":\"gpt-4o\"}";
static const char free_text[] = "GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n";
static const char answer_text[] = "HTTP/1.1 200 OK\r\nContent-Length: 51\r\n\r\n"
                                  "{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}";

static struct ns_wire *
connection(void)
{
    return ns_wire_new(NULL, "api.openai.com");
}

static size_t
write_text(struct ns_wire *wire, const char *text, struct ns_wire_written *written)
{
    return ns_wire_write(wire, (const uint8_t *)text, strlen(text), BOUND, written);
}

static size_t
read_text(struct ns_wire *wire, const char *text, struct ns_wire_read *read)
{
    return ns_wire_read(wire, (const uint8_t *)text, strlen(text), read);
}

/* The classes of a text written one byte at a time: P W F C R O. */
static void
classes_of(struct ns_wire *wire, const char *text, uint64_t bound, char *classes)
{
    size_t i = 0;
    for (; text[i] != '\0'; i++) {
        struct ns_wire_written written;
        CHECK_INT(ns_wire_write(wire, (const uint8_t *)text + i, 1, bound, &written), 1);
        classes[i] = "PWFCRO"[written.class];
    }
    classes[i] = '\0';
}

static void
expect_run(const char *classes, size_t from, size_t to, char class)
{
    for (size_t i = from; i < to; i++) {
        if (classes[i] != class) {
            NS_FAIL("byte %zu is of class %c, not %c", i, classes[i], class);
            return;
        }
    }
}

TEST(a_call_is_withheld_until_its_last_byte)
{
    struct ns_wire *wire = connection();
    char classes[sizeof(call_text)];
    size_t bytes = strlen(call_text);
    classes_of(wire, call_text, BOUND, classes);
    expect_run(classes, 0, bytes - 1, 'W');
    CHECK_INT(classes[bytes - 1], 'C');
    CHECK_INT(ns_wire_outstanding(wire), 1);
    ns_wire_free(wire);
}

TEST(a_call_in_one_write_is_judged_at_once_and_no_further)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    char two[2 * sizeof(call_text)];
    (void)snprintf(two, sizeof(two), "%s%s", call_text, call_text);
    CHECK_INT(write_text(wire, two, &written), strlen(call_text));
    CHECK_INT(written.class, NS_WIRE_CALL);
    CHECK(written.message_end);
    REQUIRE(written.call != NULL);
    CHECK_STR(written.call->request.model, "gpt-4o");
    CHECK_STR(written.call->request.provider, "openai");
    CHECK(written.call->request.body_complete);
    ns_wire_free(wire);
}

TEST(what_is_no_call_is_free_at_the_end_of_its_head)
{
    struct ns_wire *wire = connection();
    char classes[512];
    size_t bytes = strlen(free_text);
    classes_of(wire, free_text, BOUND, classes);
    expect_run(classes, 0, bytes - 1, 'W');
    CHECK_INT(classes[bytes - 1], 'F');
    const char *upload = "POST /v1/files HTTP/1.1\r\nHost: api.openai.com\r\n"
                         "Content-Length: 5\r\n\r\nabcde\r\n";
    classes_of(wire, upload, BOUND, classes);
    bytes = strlen(upload);
    CHECK_INT(classes[bytes - 8], 'F');
    expect_run(classes, bytes - 7, bytes, 'P');
    ns_wire_free(wire);
}

TEST(our_headers_are_named_to_be_stripped)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    size_t count;
    const char *text = "GET / HTTP/1.1\r\nX-NullSpend-Customer: a\r\nx-nullspend-agent: b\r\n"
                       "Host: x\r\nX-NULLSPEND-NEW: ?\r\n\r\n";
    CHECK_INT(write_text(wire, text, &written), strlen(text));
    CHECK_INT(written.class, NS_WIRE_FREE);
    const struct ns_wire_range *strips = ns_wire_strips(wire, &count);
    REQUIRE(count == 2);
    CHECK_INT(strips[0].offset, strstr(text, "X-NullSpend") - text);
    CHECK_INT(strips[0].bytes, strstr(text, "Host") - strstr(text, "X-NullSpend"));
    CHECK_INT(strips[1].offset, strstr(text, "X-NULL") - text);
    CHECK_INT(strips[1].bytes, strlen("X-NULLSPEND-NEW: ?\r\n"));
    CHECK_INT(write_text(wire, free_text, &written), strlen(free_text));
    (void)ns_wire_strips(wire, &count);
    CHECK_INT(count, 0);
    ns_wire_free(wire);
}

TEST(a_folded_header_of_ours_is_stripped_whole)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    size_t count;
    const char *text = "POST /v1/responses HTTP/1.1\r\nHost:\r\n api.openai.com\r\n"
                       "x-NullSpend-customer:\r\n acme\r\nX-NullSpend-Tags: {\"a\":\r\n\t\"b\"}\r\n"
                       "X-NullSpend-Agent: a\r\n b\r\nContent-Length: 0\r\n\r\n";
    CHECK_INT(write_text(wire, text, &written), strlen(text));
    CHECK_INT(written.class, NS_WIRE_CALL);
    REQUIRE(written.call != NULL);
    const struct ns_wire_identity *identity = &written.call->request.identity;
    CHECK_STR(identity->customer, "acme");
    CHECK_STR(identity->agent, "");
    CHECK_INT(identity->rejected, 1);
    CHECK_INT(identity->tag_count, 1);
    const struct ns_wire_range *strips = ns_wire_strips(wire, &count);
    REQUIRE(count == 1);
    CHECK_INT(strips[0].offset, strstr(text, "x-Null") - text);
    CHECK_INT(strips[0].bytes, strstr(text, "Content") - strstr(text, "x-Null"));
    ns_wire_free(wire);
}

TEST(every_header_of_ours_is_stripped_however_many_there_are)
{
    char text[NS_HEADERS_MAX * 48] = "GET / HTTP/1.1\r\n";
    size_t used = strlen(text), count;
    for (int i = 0; i < NS_HEADERS_MAX / 2; i++) {
        used +=
            (size_t)snprintf(text + used, sizeof(text) - used, "X-NullSpend-%d: x\r\na: b\r\n", i);
    }
    (void)snprintf(text + used, sizeof(text) - used, "\r\n");
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    CHECK_INT(write_text(wire, text, &written), strlen(text));
    CHECK_INT(written.class, NS_WIRE_FREE);
    const struct ns_wire_range *strips = ns_wire_strips(wire, &count);
    CHECK_INT(count, NS_HEADERS_MAX / 2);
    for (size_t i = 0; i < count; i++) {
        CHECK(strncmp(text + strips[i].offset, "X-NullSpend-", 12) == 0);
        CHECK(text[strips[i].offset + strips[i].bytes] == 'a');
    }
    ns_wire_free(wire);
}

TEST(blank_lines_before_a_request_do_not_shift_its_offsets)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    size_t count;
    CHECK_INT(write_text(wire, "\r\n\r\nGET / HTTP/1.1\r\nX-NullSpend-Agent: b\r\n\r\n", &written),
              4);
    CHECK_INT(written.class, NS_WIRE_PASS);
    CHECK(write_text(wire, "GET / HTTP/1.1\r\nX-NullSpend-Agent: b\r\n\r\n", &written) > 4);
    CHECK_INT(ns_wire_strips(wire, &count)->offset, 16);
    ns_wire_free(wire);
}

TEST(who_a_call_is_for_is_read_from_its_headers)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    const char *text =
        "POST /v1/responses HTTP/1.1\r\nHost: api.openai.com:443\r\n"
        "Authorization: Bearer sk-0123456789abcdef\r\n"
        "X-NullSpend-Customer: acme\r\nX-NullSpend-Agent: \x01\r\nX-NullSpend-Session: "
        "s\xc3\xa9\r\n"
        "X-NullSpend-Tags: {\"team\":\"blue\",\"n\":7,\"t\":true,\"team\":\"red\"}\r\n"
        "X-NullSpend-Finalize: 1\r\n"
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
        "Content-Length: 0\r\n\r\n";
    CHECK_INT(write_text(wire, text, &written), strlen(text));
    CHECK_INT(written.class, NS_WIRE_CALL);
    REQUIRE(written.call != NULL);
    const struct ns_wire_request *request = &written.call->request;
    const struct ns_wire_identity *identity = &request->identity;
    CHECK_STR(request->host, "api.openai.com");
    CHECK_STR(identity->customer, "acme");
    CHECK_STR(identity->agent, "");
    CHECK_STR(identity->session, "s\xc3\xa9");
    CHECK_STR(identity->trace_id, "0af7651916cd43dd8448eb211c80319c");
    CHECK(identity->finalize);
    CHECK_INT(identity->rejected, 1);
    CHECK_INT(identity->tag_count, 3);
    CHECK_STR(identity->tags[0].key, "team");
    CHECK_STR(identity->tags[0].value, "red");
    CHECK_STR(identity->tags[1].value, "7");
    CHECK_STR(identity->tags[2].value, "true");
    CHECK_STR(request->credential, "cdef");
    CHECK(strncmp(text + request->credential_range.offset, "sk-0123456789abcdef",
                  request->credential_range.bytes) == 0);
    CHECK_INT(request->credential_range.bytes, 19);
    ns_wire_free(wire);
}

TEST(tags_that_are_not_of_their_form_are_ignored_whole)
{
    static const char *const bad[] = {
        "[1]",   "{\"a\":\"b\"",   "{\"a\":{\"b\":\"c\"}}", "x", "{\"a\":\"b\"} x",
        "\"a\"", "{\"a\":\"b\"}{}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ns_wire *wire = connection();
        struct ns_wire_written written;
        char text[256];
        (void)snprintf(text, sizeof(text),
                       "POST /v1/embeddings HTTP/1.1\r\nX-NullSpend-Tags: %s\r\n\r\n", bad[i]);
        (void)write_text(wire, text, &written);
        REQUIRE(written.call != NULL);
        CHECK_INT(written.call->request.identity.tag_count, 0);
        CHECK(written.call->request.identity.rejected > 0);
        ns_wire_free(wire);
    }
}

TEST(a_longer_body_is_judged_at_the_bound_and_its_rest_follows)
{
    struct ns_wire *wire = connection();
    char text[512], classes[512];
    (void)snprintf(text, sizeof(text),
                   "POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 60\r\n"
                   "\r\n{\"model\":\"m\",\"messages\":[%33s]}",
                   "");
    size_t bytes = strlen(text);
    classes_of(wire, text, 30, classes);
    size_t body = bytes - 60;
    expect_run(classes, 0, body + 29, 'W');
    CHECK_INT(classes[body + 29], 'C');
    expect_run(classes, body + 30, bytes, 'R');
    struct ns_wire_call *call = ns_wire_take(wire);
    REQUIRE(call != NULL);
    CHECK(!call->request.body_complete);
    CHECK_STR(call->request.tools, "*"); /* some may stand behind what was read */
    CHECK_INT(call->request.body_bytes, 60);
    CHECK(call->request.text_bytes >= 30);
    ns_wire_call_free(call);
    ns_wire_free(wire);
}

TEST(a_body_of_just_the_bound_is_complete)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    (void)ns_wire_write(wire, (const uint8_t *)call_text, strlen(call_text), 18, &written);
    REQUIRE(written.call != NULL);
    CHECK(written.call->request.body_complete);
    CHECK_STR(written.call->request.tools, "");
    CHECK(written.message_end);
    ns_wire_free(wire);
}

TEST(a_program_that_waits_for_a_100_is_noticed)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    (void)write_text(wire,
                     "POST /v1/responses HTTP/1.1\r\nExpect: 100-continue\r\n"
                     "Content-Length: 2\r\n\r\n",
                     &written);
    CHECK_INT(written.class, NS_WIRE_WITHHOLD);
    CHECK(written.expects_continue);
    (void)write_text(wire, "{}", &written);
    CHECK_INT(written.class, NS_WIRE_CALL);
    ns_wire_free(wire);
}

static void
expect_opaque(const char *text, enum ns_wire_opaque reason)
{
    struct ns_wire *wire = connection();
    char classes[1024];
    classes_of(wire, text, BOUND, classes);
    CHECK_INT(classes[strlen(text) - 1], 'O');
    CHECK_INT(ns_wire_opaque_reason(wire), reason);
    ns_wire_free(wire);
}

TEST(what_is_not_understood_is_opaque_with_its_reason)
{
    expect_opaque("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NS_WIRE_HTTP2);
    expect_opaque("\x16\x03\x01 hello", NS_WIRE_NOT_HTTP);
    expect_opaque("GET / HTTP/1.1\r\nno colon\r\n\r\n", NS_WIRE_MALFORMED);
    expect_opaque("POST /v1/responses HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
                  NS_WIRE_MALFORMED);
}

TEST(a_head_past_its_bound_is_opaque_with_a_reason_of_its_own)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    static char value[NS_HEAD_BYTES_MAX];
    memset(value, 'v', sizeof(value));
    (void)write_text(wire, "POST /v1/responses HTTP/1.1\r\nX-Long: ", &written);
    CHECK_INT(written.class, NS_WIRE_WITHHOLD);
    (void)ns_wire_write(wire, (const uint8_t *)value, sizeof(value), BOUND, &written);
    CHECK_INT(written.class, NS_WIRE_OPAQUE);
    CHECK_INT(ns_wire_opaque_reason(wire), NS_WIRE_TOO_LARGE);
    ns_wire_free(wire);
}

/* Writes text, which is not understood, and refuses it. Returns as ns_wire_refuse. */
static int
refuse(struct ns_wire *wire, const char *text, struct ns_wire_call **call)
{
    struct ns_wire_written written = {0};
    size_t at = 0;
    size_t bytes = strlen(text);
    while (at < bytes) {
        at += write_text(wire, text + at, &written);
    }
    CHECK_INT(written.class, NS_WIRE_OPAQUE);
    return ns_wire_refuse(wire, call);
}

TEST(a_request_that_cannot_be_judged_can_be_refused_in_its_place)
{
    static const struct {
        const char *host;
        const char *text;
        const char *family;
        const char *operation;
    } rows[] = {
        {"api.openai.com", "POST /v1/responses HTTP/1.1\r\nno colon\r\n\r\n", "openai",
         "responses"},
        {"api.openai.com", "POST /v1/chat/completions HTTP/9\r\n", "openai", "chat"},
        {"API.Anthropic.com.", "POST / HTTP/1.1\r\nno colon\r\n\r\n", "anthropic", ""},
        {"api.anthropic.com", "POST /v1/chat/completions HTTP/1.1\r\nno colon\r\n\r\n", "openai",
         "chat"},
        {"generativelanguage.googleapis.com", "GET / HTTP/1.1\r\nno colon\r\n\r\n", "gemini", ""},
        {"api.mistral.ai",
         "POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
         "openai", "chat"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ns_wire *wire = ns_wire_new(NULL, rows[i].host);
        struct ns_wire_call *call = NULL;
        struct ns_wire_written written;
        struct ns_wire_read read;
        (void)write_text(wire, free_text, &written);
        CHECK_INT(refuse(wire, rows[i].text, &call), 0);
        REQUIRE(call != NULL);
        CHECK_STR(call->request.family, rows[i].family);
        CHECK_STR(call->request.operation, rows[i].operation);
        CHECK(call->request.closes);
        CHECK(!ns_wire_is_opaque(wire));
        ns_wire_substitute(wire, call);
        ns_wire_call_free(call);
        CHECK_INT(ns_wire_outstanding(wire), 2);
        (void)write_text(wire, "whatever follows", &written);
        CHECK_INT(written.class, NS_WIRE_REST);
        CHECK(written.call == NULL && !written.message_end);
        (void)read_text(wire, answer_text, &read);
        CHECK_INT(read.event, NS_WIRE_READ_END);
        CHECK(!read.substitute);
        (void)read_text(wire, answer_text, &read);
        CHECK_INT(read.event, NS_WIRE_READ_END);
        CHECK(read.substitute);
        ns_wire_free(wire);
    }
}

TEST(what_is_odd_or_nobody_s_or_has_begun_to_leave_is_not_refused)
{
    static const struct {
        const char *host;
        const char *text;
    } rows[] = {
        {"api.openai.com", "\x16\x03\x01 hello"},
        {"api.openai.com", "PRI * HTTP/2.0\r\n\r\n"},
        {"example.org", "POST /v1/responses HTTP/1.1\r\nno colon\r\n\r\n"},
        {NULL, "POST /v1/responses HTTP/1.1\r\nno colon\r\n\r\n"},
        {"api.openai.com", "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ns_wire *wire = ns_wire_new(NULL, rows[i].host);
        struct ns_wire_call *call = NULL;
        CHECK_INT(refuse(wire, rows[i].text, &call), -ENOENT);
        CHECK(ns_wire_is_opaque(wire));
        ns_wire_free(wire);
    }
    /* The reader's trouble is none of a request. */
    struct ns_wire *wire = connection();
    struct ns_wire_call *call = NULL;
    struct ns_wire_read read;
    struct ns_wire_written written;
    (void)write_text(wire, free_text, &written);
    (void)read_text(wire, "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", &read);
    CHECK_INT(ns_wire_opaque_reason(wire), NS_WIRE_MALFORMED);
    CHECK_INT(refuse(wire, call_text, &call), -ENOENT);
    ns_wire_free(wire);
}

TEST(the_request_that_is_one_too_many_can_be_refused_behind_the_others)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    struct ns_wire_call *call = NULL;
    struct ns_wire_read read;
    for (int i = 0; i < NS_EXCHANGES_MAX; i++) {
        (void)write_text(wire, free_text, &written);
    }
    CHECK_INT(refuse(wire, call_text, &call), 0);
    REQUIRE(call != NULL);
    ns_wire_substitute(wire, call);
    ns_wire_call_free(call);
    for (int i = 0; i <= NS_EXCHANGES_MAX; i++) {
        (void)read_text(wire, answer_text, &read);
        CHECK_INT(read.event, NS_WIRE_READ_END);
        CHECK_INT(read.substitute, i == NS_EXCHANGES_MAX);
    }
    ns_wire_free(wire);
}

TEST(more_pipelined_requests_than_the_limit_are_opaque)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    for (int i = 0; i < NS_EXCHANGES_MAX; i++) {
        (void)write_text(wire, free_text, &written);
        CHECK_INT(written.class, NS_WIRE_FREE);
    }
    CHECK(!ns_wire_is_opaque(wire));
    (void)write_text(wire, call_text, &written);
    CHECK_INT(written.class, NS_WIRE_OPAQUE);
    CHECK_INT(ns_wire_opaque_reason(wire), NS_WIRE_TOO_DEEP);
    ns_wire_free(wire);
}

TEST(the_request_that_is_one_too_many_may_have_no_body_and_others_behind_it_in_its_write)
{
    static const char bodyless[] =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 0\r\n\r\n";
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    char text[2048];
    for (int i = 0; i < NS_EXCHANGES_MAX; i++) {
        (void)write_text(wire, free_text, &written);
    }
    (void)snprintf(text, sizeof(text), "%s%s", bodyless, call_text);
    (void)write_text(wire, text, &written);
    CHECK_INT(written.class, NS_WIRE_OPAQUE);
    CHECK_INT(ns_wire_opaque_reason(wire), NS_WIRE_TOO_DEEP);
    ns_wire_free(wire);
}

TEST(answers_come_in_the_order_of_their_requests)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written first, second, none;
    struct ns_wire_read read;
    char stream[2048];
    (void)write_text(wire, call_text, &first);
    (void)write_text(wire, free_text, &none);
    (void)write_text(wire, call_text, &second);
    CHECK_INT(ns_wire_outstanding(wire), 3);
    (void)snprintf(stream, sizeof(stream), "HTTP/1.1 100 Continue\r\n\r\n%s%s%s", answer_text,
                   "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", answer_text);
    size_t i = read_text(wire, stream, &read);
    CHECK_INT(read.event, NS_WIRE_READ_INTERIM);
    CHECK_INT(i, 25);
    i += read_text(wire, stream + i, &read);
    CHECK_INT(read.event, NS_WIRE_READ_HEAD);
    CHECK(read.call == first.call && ns_wire_current(wire) == first.call);
    i += read_text(wire, stream + i, &read);
    CHECK_INT(read.event, NS_WIRE_READ_END);
    CHECK(read.call == first.call);
    CHECK_INT(ns_wire_evidence(read.call), NS_EVIDENCE_REPORTED);
    ns_wire_call_free(read.call);
    i += read_text(wire, stream + i, &read);
    CHECK_INT(read.event, NS_WIRE_READ_END);
    CHECK(read.call == NULL);
    i += read_text(wire, stream + i, &read);
    i += read_text(wire, stream + i, &read);
    CHECK_INT(read.event, NS_WIRE_READ_END);
    CHECK(read.call == second.call);
    CHECK_INT(i, strlen(stream));
    ns_wire_call_free(read.call);
    ns_wire_free(wire);
}

TEST(an_answer_without_a_body_ends_with_its_head)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    struct ns_wire_read read;
    (void)write_text(wire, call_text, &written);
    (void)read_text(wire, "HTTP/1.1 204 No Content\r\n\r\n", &read);
    CHECK_INT(read.event, NS_WIRE_READ_END);
    CHECK_INT(read.status, 204);
    CHECK(read.call == written.call);
    ns_wire_call_free(read.call);
    ns_wire_free(wire);
}

TEST(an_answer_to_head_has_no_body)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    struct ns_wire_read read;
    (void)write_text(wire, "HEAD / HTTP/1.1\r\n\r\n", &written);
    (void)read_text(wire, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", &read);
    CHECK_INT(read.event, NS_WIRE_READ_END);
    ns_wire_free(wire);
}

TEST(an_answer_nobody_asked_for_is_out_of_step)
{
    struct ns_wire *wire = connection();
    struct ns_wire_read read;
    struct ns_wire_written written;
    CHECK_INT(read_text(wire, answer_text, &read), strlen(answer_text));
    CHECK_INT(ns_wire_opaque_reason(wire), NS_WIRE_OUT_OF_STEP);
    (void)write_text(wire, call_text, &written);
    CHECK_INT(written.class, NS_WIRE_OPAQUE);
    ns_wire_free(wire);
}

TEST(an_upgrade_ends_what_is_read_of_both_sides)
{
    struct ns_wire *wire = connection();
    struct ns_wire_read read;
    struct ns_wire_written written;
    (void)write_text(wire,
                     "GET /v1/realtime HTTP/1.1\r\nConnection: Upgrade\r\n"
                     "Upgrade: websocket\r\n\r\n",
                     &written);
    (void)read_text(wire,
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                    "Upgrade: websocket\r\n\r\n",
                    &read);
    CHECK_INT(ns_wire_opaque_reason(wire), NS_WIRE_UPGRADED);
    (void)write_text(wire, "\x81\x05", &written);
    CHECK_INT(written.class, NS_WIRE_OPAQUE);
    ns_wire_free(wire);
}

TEST(a_substitutes_answer_is_told_as_such)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    struct ns_wire_read read;
    (void)write_text(wire, call_text, &written);
    ns_wire_substitute(wire, written.call);
    ns_wire_call_free(written.call);
    CHECK_INT(ns_wire_outstanding(wire), 1);
    (void)read_text(wire, "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n", &read);
    CHECK_INT(read.event, NS_WIRE_READ_END);
    CHECK(read.substitute && read.call == NULL);
    (void)write_text(wire, call_text, &written);
    CHECK_INT(written.class, NS_WIRE_CALL);
    ns_wire_free(wire);
}

TEST(a_forgotten_call_is_due_no_answer_and_its_rest_has_no_call)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    struct ns_wire_call *call;
    struct ns_wire_read read;
    (void)write_text(wire, free_text, &written);
    (void)ns_wire_write(wire, (const uint8_t *)call_text, strlen(call_text), 4, &written);
    CHECK_INT(written.class, NS_WIRE_CALL);
    call = written.call;
    ns_wire_forget(wire, call);
    ns_wire_call_free(call);
    CHECK_INT(ns_wire_outstanding(wire), 1);
    (void)write_text(wire, call_text + strlen(call_text) - 14, &written);
    CHECK_INT(written.class, NS_WIRE_REST);
    CHECK(written.call == NULL && written.message_end);
    (void)read_text(wire, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &read);
    CHECK_INT(read.event, NS_WIRE_READ_END);
    ns_wire_free(wire);
}

TEST(an_answer_before_the_end_of_its_request_takes_the_call_along)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    struct ns_wire_read read;
    (void)ns_wire_write(wire, (const uint8_t *)call_text, strlen(call_text), 4, &written);
    CHECK_INT(written.class, NS_WIRE_CALL);
    (void)read_text(wire, "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n", &read);
    CHECK_INT(read.event, NS_WIRE_READ_END);
    ns_wire_call_free(read.call);
    (void)write_text(wire, call_text + strlen(call_text) - 14, &written);
    CHECK_INT(written.class, NS_WIRE_REST);
    CHECK(written.call == NULL);
    ns_wire_free(wire);
}

TEST(an_answer_read_until_close_is_complete_with_it)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    struct ns_wire_read read;
    (void)write_text(wire, call_text, &written);
    const char *text = "HTTP/1.1 200 OK\r\n\r\n{\"usage\":{\"prompt_tokens\":3}}";
    size_t i = read_text(wire, text, &read);
    CHECK_INT(read.event, NS_WIRE_READ_HEAD);
    (void)read_text(wire, text + i, &read);
    CHECK_INT(read.event, NS_WIRE_READ_MORE);
    CHECK_INT(ns_wire_read_close(wire, &read), NS_WIRE_READ_END);
    REQUIRE(read.call == written.call);
    CHECK_INT(ns_wire_evidence(read.call), NS_EVIDENCE_REPORTED);
    ns_wire_call_free(read.call);
    CHECK_INT(ns_wire_read_close(wire, &read), NS_WIRE_READ_MORE);
    ns_wire_free(wire);
}

TEST(a_lost_connection_gives_back_its_calls_oldest_first)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written first, second;
    struct ns_wire_read read;
    (void)write_text(wire, call_text, &first);
    (void)write_text(wire, free_text, &second);
    (void)write_text(wire, call_text, &second);
    size_t i = read_text(wire, answer_text, &read);
    (void)ns_wire_read(wire, (const uint8_t *)answer_text + i, 50, &read);
    struct ns_wire_call *call = ns_wire_take(wire);
    REQUIRE(call == first.call);
    CHECK(call->response.has_usage && !call->response.complete);
    CHECK_INT(ns_wire_evidence(call), NS_EVIDENCE_PARTIAL);
    ns_wire_call_free(call);
    call = ns_wire_take(wire);
    CHECK(call == second.call);
    CHECK_INT(ns_wire_evidence(call), NS_EVIDENCE_ESTIMATED);
    ns_wire_call_free(call);
    CHECK(ns_wire_take(wire) == NULL);
    ns_wire_free(wire);
}

/* One whole exchange; returns false where it was not understood for want of memory. */
static bool
exchange(void)
{
    struct ns_wire *wire = connection();
    struct ns_wire_written written;
    struct ns_wire_read read = {0};
    if (wire == NULL) {
        return false;
    }
    (void)write_text(wire,
                     "POST /v1/chat/completions HTTP/1.1\r\nX-NullSpend-Tags: {\"a\":\"b\"}\r\n"
                     "Content-Length: 18\r\n\r\n{\"model\":\"gpt-4o\"}",
                     &written);
    bool good = written.class == NS_WIRE_CALL && written.call->request.identity.rejected == 0;
    for (size_t i = 0; i < strlen(answer_text);) {
        i += read_text(wire, answer_text + i, &read);
    }
    good = good && read.event == NS_WIRE_READ_END && read.call->response.has_usage;
    ns_wire_call_free(read.event == NS_WIRE_READ_END ? read.call : NULL);
    ns_wire_free(wire);
    return good;
}

TEST(without_memory_a_connection_is_not_understood_and_nothing_breaks)
{
    (void)ns_mem_fail_at(0);
    CHECK(exchange());
    size_t allocations = ns_mem_fail_at(0);
    CHECK(allocations > 5);
    for (size_t n = 1; n <= allocations; n++) {
        (void)ns_mem_fail_at(n);
        if (exchange()) {
            NS_FAIL("allocation %zu is not needed", n);
        }
    }
    (void)ns_mem_fail_at(0);
    CHECK(exchange());
}
