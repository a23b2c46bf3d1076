/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "tests/harness.h"
#include "wire/denial.h"
#include "wire/http1.h"
#include "wire/json.h"
#include "wire/wire.h"

static struct ns_wire_request
request_to(const char *family, const char *provider, const char *operation)
{
    struct ns_wire_request request = {
        .family = family, .provider = provider, .operation = operation, .host = "api.test"};
    return request;
}

static struct ns_wire_denial
denial_for(const char *reason)
{
    return (struct ns_wire_denial){.message = "nullspend: budget \"a\\b\" spent\n",
                                   .denial_id = "0190-id",
                                   .reason = reason,
                                   .entity = "customer:acme"};
}

/* The body of an answer that must be well-formed HTTP and JSON; its status. */
static int
check_answer(const uint8_t *bytes, size_t count, char *body, size_t body_bytes)
{
    struct ns_http1 *http = ns_http1_new(NS_HTTP1_RESPONSES);
    struct ns_json *json = ns_json_new();
    struct ns_http1_input input = {.event = NS_HTTP1_MORE};
    struct ns_json_input value;
    size_t used = 0;
    bool ended = false;
    for (size_t i = 0; i < count || input.event != NS_HTTP1_MORE;) {
        i += ns_http1_feed(http, bytes + i, count - i, &input);
        CHECK(input.event != NS_HTTP1_ERROR);
        if (input.event == NS_HTTP1_BODY && used + input.body_bytes < body_bytes) {
            memcpy(body + used, input.body, input.body_bytes);
            used += input.body_bytes;
        }
        if (input.event == NS_HTTP1_END) {
            ended = i == count;
            break;
        }
    }
    CHECK(ended);
    body[used] = '\0';
    bool document = false;
    for (size_t i = 0;;) {
        i += ns_json_feed(json, (const uint8_t *)body + i, used - i, &value);
        document |= value.event == NS_JSON_DOCUMENT_END;
        CHECK(value.event != NS_JSON_ERROR);
        if (value.event == NS_JSON_MORE || value.event == NS_JSON_ERROR) {
            break;
        }
    }
    CHECK(document);
    int status = ns_http1_status(http);
    CHECK(ns_http1_find(http, "retry-after").text == NULL);
    CHECK(ns_http1_find(http, "x-should-retry").bytes == strlen("false"));
    CHECK(ns_http1_find(http, "x-nullspend-denied").bytes == 1);
    CHECK(ns_http1_find(http, "X-NullSpend-Budget").bytes == strlen("customer:acme"));
    CHECK(ns_http1_find(http, "X-NullSpend-Denial-Id").bytes == strlen("0190-id"));
    ns_http1_free(http);
    ns_json_free(json);
    return status;
}

TEST(each_family_reads_its_own_shape)
{
    static const struct {
        const char *family, *provider, *operation;
        int status;
        const char *body;
    } rows[] = {
#define MESSAGE "nullspend: budget \\\"a\\\\b\\\" spent?"
        {"openai", "openai", "chat", 402,
         "{\"error\":{\"message\":\"" MESSAGE "\",\"type\":\"insufficient_quota\",\"param\":null,"
         "\"code\":\"project_spend_limit_exceeded\"}}"},
        {"openai", "xai", "responses", 402,
         "{\"code\":\"insufficient-credits\",\"error\":\"" MESSAGE "\"}"},
        {"openai", "openrouter", "chat", 402,
         "{\"error\":{\"code\":402,\"message\":\"" MESSAGE "\"}}"},
        {"openai", "perplexity", "chat", 402,
         "{\"error\":{\"message\":\"" MESSAGE "\",\"type\":\"insufficient_quota\",\"code\":402}}"},
        {"openai", "mistral", "chat", 402,
         "{\"object\":\"error\",\"message\":\"" MESSAGE "\",\"type\":\"budget_exceeded\","
         "\"param\":null,\"code\":\"3505\"}"},
        {"anthropic", "vertex", "messages", 402,
         "{\"type\":\"error\",\"error\":{\"type\":\"billing_error\",\"message\":\"" MESSAGE
         "\"},\"request_id\":\"req_0190-id\"}"},
        {"gemini", "gemini", "generate_content", 403,
         "{\"error\":{\"code\":403,\"message\":\"" MESSAGE "\",\"status\":\"PERMISSION_DENIED\","
         "\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\","
         "\"reason\":\"BUDGET_EXHAUSTED\",\"domain\":\"nullspend\"}]}}"},
        {"bedrock", "bedrock", "converse", 400, "{\"message\":\"" MESSAGE "\"}"},
        {"cohere", "cohere", "chat", 402, "{\"message\":\"" MESSAGE "\"}"},
        {"ollama", "ollama", "chat", 402, "{\"error\":\"" MESSAGE "\"}"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ns_wire_request request =
            request_to(rows[i].family, rows[i].provider, rows[i].operation);
        struct ns_wire_denial denial = denial_for("budget_exceeded");
        uint8_t buffer[4096];
        char body[4096];
        int status = 0;
        int bytes = ns_wire_denial_write(&request, &denial, buffer, sizeof(buffer), &status);
        REQUIRE(bytes > 0);
        CHECK_INT(status, rows[i].status);
        CHECK_INT(check_answer(buffer, (size_t)bytes, body, sizeof(body)), rows[i].status);
        CHECK_STR(body, rows[i].body);
    }
}

TEST(a_passing_condition_is_a_429_and_a_chosen_status_wins)
{
    static const struct {
        const char *reason;
        int asked, status;
        const char *word;
    } rows[] = {
        {"velocity", 0, 429, "RESOURCE_EXHAUSTED"},
        {"loop", 0, 429, "RESOURCE_EXHAUSTED"},
        {"mandate", 0, 403, "PERMISSION_DENIED"},
        {"budget_exceeded", 429, 429, "RESOURCE_EXHAUSTED"},
        {"velocity", 403, 403, "PERMISSION_DENIED"},
        {"budget_exceeded", 402, 402, "FAILED_PRECONDITION"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct ns_wire_request request = request_to("gemini", "vertex", "generate_content");
        struct ns_wire_denial denial = denial_for(rows[i].reason);
        uint8_t buffer[4096];
        char body[4096];
        int status = 0;
        denial.status = rows[i].asked;
        int bytes = ns_wire_denial_write(&request, &denial, buffer, sizeof(buffer), &status);
        REQUIRE(bytes > 0);
        CHECK_INT(check_answer(buffer, (size_t)bytes, body, sizeof(body)), rows[i].status);
        CHECK(strstr(body, rows[i].word) != NULL);
    }
}

TEST(a_stream_that_is_an_array_gets_its_error_in_one)
{
    struct ns_wire_request request = request_to("gemini", "gemini", "generate_content");
    struct ns_wire_denial denial = denial_for("budget_exceeded");
    uint8_t buffer[4096];
    char body[4096];
    int status;
    request.array = true;
    int bytes = ns_wire_denial_write(&request, &denial, buffer, sizeof(buffer), &status);
    REQUIRE(bytes > 0);
    (void)check_answer(buffer, (size_t)bytes, body, sizeof(body));
    CHECK_INT(body[0], '[');
    CHECK_INT(body[strlen(body) - 1], ']');
}

TEST(what_a_budget_is_called_cannot_break_out_of_a_header)
{
    struct ns_wire_request request = request_to("openai", "openai", "chat");
    struct ns_wire_denial denial = denial_for("budget_exceeded");
    char text[4097] = "";
    int status;
    denial.entity = "customer:a\r\nSet-Cookie: x";
    denial.close = true;
    int bytes = ns_wire_denial_write(&request, &denial, (uint8_t *)text, sizeof(text) - 1, &status);
    REQUIRE(bytes > 0);
    CHECK(strstr(text, "\nSet-Cookie") == NULL);
    CHECK(strstr(text, "\r\nconnection: close\r\n") != NULL);
}

TEST(a_buffer_too_small_is_refused_and_one_just_large_enough_is_not)
{
    struct ns_wire_request request = request_to("anthropic", "anthropic", "messages");
    struct ns_wire_denial denial = denial_for("budget_exceeded");
    uint8_t buffer[4096];
    int status;
    int bytes = ns_wire_denial_write(&request, &denial, buffer, sizeof(buffer), &status);
    REQUIRE(bytes > 0);
    CHECK_INT(ns_wire_denial_write(&request, &denial, buffer, (size_t)bytes, &status), bytes);
    for (size_t room = 0; room < (size_t)bytes; room++) {
        CHECK_INT(ns_wire_denial_write(&request, &denial, buffer, room, &status), -ENOSPC);
    }
}

TEST(the_substitute_carries_nothing_but_the_host)
{
    struct ns_wire_request request = request_to("openai", "openai", "chat");
    char text[256];
    int bytes = ns_wire_substitute_write(&request, false, text, sizeof(text));
    REQUIRE(bytes > 0);
    text[bytes] = '\0';
    CHECK_STR(text, "OPTIONS / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\n\r\n");
    CHECK_INT(ns_wire_substitute_write(&request, false, text, (size_t)bytes - 1), -ENOSPC);
    bytes = ns_wire_substitute_write(&request, true, text, sizeof(text));
    CHECK(bytes > 0 && memmem(text, (size_t)bytes, "\r\nConnection: close\r\n", 21) != NULL);
}

/* The documentation repeats the table: each row of it must be there. */
TEST(the_table_in_the_documentation_is_the_one_in_the_code)
{
    size_t bytes, count;
    char *page = ns_test_read_file("docs/denials.md", &bytes);
    REQUIRE(page != NULL);
    const struct ns_denial_shape *shapes = ns_denial_shapes(&count);
    for (size_t i = 0; i < count; i++) {
        char row[2048];
        (void)snprintf(row, sizeof(row), "| %s | %s | %s | %d | `%s` |\n", shapes[i].family,
                       shapes[i].provider ? shapes[i].provider : "any",
                       shapes[i].operation ? shapes[i].operation : "any", shapes[i].status,
                       shapes[i].body);
        if (strstr(page, row) == NULL) {
            NS_FAIL("docs/denials.md lacks the row: %s", row);
        }
    }
    free(page);
}
