/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/denial.h"

#include <errno.h>
#include <string.h>

#include "base/words.h"
#include "wire/event_stream.h"
#include "wire/text.h"
#include "wire/wire.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* --- the table ----------------------------------------------------------------------------- */

static const struct ns_denial_word anthropic_words[] = {
    {402, "billing_error"},
    {403, "permission_error"},
    {429, "rate_limit_error"},
    {0, "invalid_request_error"},
};

static const struct ns_denial_word google_words[] = {
    {400, "INVALID_ARGUMENT"},
    {403, "PERMISSION_DENIED"},
    {429, "RESOURCE_EXHAUSTED"},
    {0, "FAILED_PRECONDITION"},
};

static const struct ns_denial_word aws_words[] = {
    {403, "AccessDeniedException"},
    {429, "ThrottlingException"},
    {0, "ServiceQuotaExceededException"},
};

#define OPENAI_BODY                                                                                \
    "{\"error\":{\"message\":\"%m\",\"type\":\"insufficient_quota\",\"param\":null,"               \
    "\"code\":\"project_spend_limit_exceeded\"}}"
#define XAI_BODY "{\"code\":\"insufficient-credits\",\"error\":\"%m\"}"
#define OPENROUTER_BODY "{\"error\":{\"code\":%s,\"message\":\"%m\"}}"
#define PERPLEXITY_BODY                                                                            \
    "{\"error\":{\"message\":\"%m\",\"type\":\"insufficient_quota\",\"code\":%s}}"
#define MISTRAL_BODY                                                                               \
    "{\"object\":\"error\",\"message\":\"%m\",\"type\":\"budget_exceeded\",\"param\":null,"        \
    "\"code\":\"3505\"}"
#define ANTHROPIC_BODY                                                                             \
    "{\"type\":\"error\",\"error\":{\"type\":\"%t\",\"message\":\"%m\"},"                          \
    "\"request_id\":\"req_%i\"}"
#define GOOGLE_BODY                                                                                \
    "{\"error\":{\"code\":%s,\"message\":\"%m\",\"status\":\"%t\",\"details\":[{"                  \
    "\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"BUDGET_EXHAUSTED\","      \
    "\"domain\":\"nullspend\"}]}}"

#define MESSAGE_BODY "{\"message\":\"%m\"}"
#define OLLAMA_BODY "{\"error\":\"%m\"}"

static const struct ns_denial_shape shapes[] = {
    {"openai", "xai", "responses", 402, "x-request-id", XAI_BODY, NULL, NULL},
    {"openai", "openrouter", NULL, 402, "x-request-id", OPENROUTER_BODY, NULL, NULL},
    {"openai", "perplexity", NULL, 402, "x-request-id", PERPLEXITY_BODY, NULL, NULL},
    {"openai", "mistral", NULL, 402, "x-request-id", MISTRAL_BODY, NULL, NULL},
    {"openai", NULL, NULL, 402, "x-request-id", OPENAI_BODY, NULL, NULL},
    {"anthropic", NULL, NULL, 402, "request-id", ANTHROPIC_BODY, anthropic_words, NULL},
    {"gemini", NULL, NULL, 403, "x-request-id", GOOGLE_BODY, google_words, NULL},
    {"bedrock", NULL, NULL, 400, "x-amzn-requestid", MESSAGE_BODY, aws_words, "x-amzn-errortype"},
    {"cohere", NULL, NULL, 402, "x-debug-trace-id", MESSAGE_BODY, NULL, NULL},
    {"ollama", NULL, NULL, 402, "x-request-id", OLLAMA_BODY, NULL, NULL},
};

const struct ns_denial_shape *
ns_denial_shapes(size_t *count)
{
    *count = LENGTH(shapes);
    return shapes;
}

static bool
same(const char *wanted, const char *word)
{
    return wanted == NULL || (word != NULL && strcmp(wanted, word) == 0);
}

static const struct ns_denial_shape *
shape_of(const struct ns_wire_request *request)
{
    const struct ns_denial_shape *otherwise = NULL;
    for (size_t i = 0; i < LENGTH(shapes); i++) {
        if (same(shapes[i].family, request->family) &&
            same(shapes[i].provider, request->provider) &&
            same(shapes[i].operation, request->operation)) {
            return &shapes[i];
        }
        if (strcmp(shapes[i].family, "openai") == 0) {
            otherwise = &shapes[i]; /* the shape that most of the world reads */
        }
    }
    return otherwise;
}

static const struct {
    int status;
    const char *phrase;
} phrases[] = {
    {400, "Bad Request"}, {402, "Payment Required"}, {403, "Forbidden"}, {429, "Too Many Requests"},
    {0, "Denied"},
};

/* --- writing ------------------------------------------------------------------------------- */

struct output {
    char *bytes;
    size_t room;
    size_t used;
    bool full;
};

static void
put_bytes(struct output *output, const char *bytes, size_t count)
{
    if (count > output->room - output->used) {
        output->full = true;
        return;
    }
    memcpy(output->bytes + output->used, bytes, count);
    output->used += count;
}

static void
put(struct output *output, const char *text)
{
    put_bytes(output, text, strlen(text));
}

static void
put_number(struct output *output, uint64_t number)
{
    char digits[20];
    size_t i = sizeof(digits);
    do {
        digits[--i] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    put_bytes(output, digits + i, sizeof(digits) - i);
}

/* Text of ours or of a budget, safe within a header's line: cut, and no control characters. */
static void
put_header(struct output *output, const char *name, const char *value)
{
    char clean[512];
    ns_wire_text_copy(clean, sizeof(clean), value ? value : "", value ? strlen(value) : 0);
    put(output, name);
    put(output, ": ");
    put(output, clean);
    put(output, "\r\n");
}

/* Within a JSON string. Control characters become '?', so that no byte grows beyond two. */
static void
put_json(struct output *output, const char *text)
{
    size_t left = text ? strlen(text) : 0;
    while (left > 0) {
        char piece[256];
        size_t taken = left < 200 ? left : 200;
        /* Cut between characters. */
        while (taken < left && taken > 190 && ((uint8_t)text[taken] & 0xc0) == 0x80) {
            taken--;
        }
        ns_wire_text_copy(piece, sizeof(piece), text, taken);
        for (const char *c = piece; *c != '\0'; c++) {
            if (*c == '"' || *c == '\\') {
                put(output, "\\");
            }
            put_bytes(output, c, 1);
        }
        text += taken;
        left -= taken;
    }
}

static const char *
word_of(const struct ns_denial_word *words, int status)
{
    while (words != NULL && words->status != 0 && words->status != status) {
        words++;
    }
    return words ? words->word : "";
}

static void
put_body(struct output *output, const struct ns_denial_shape *shape,
         const struct ns_wire_denial *denial, int status)
{
    for (const char *c = shape->body; *c != '\0'; c++) {
        if (*c != '%') {
            put_bytes(output, c, 1);
            continue;
        }
        switch (*++c) {
        case 'm':
            put_json(output, denial->message);
            break;
        case 's':
            put_number(output, (uint64_t)status);
            break;
        case 'i':
            put_json(output, denial->denial_id);
            break;
        default:
            put(output, word_of(shape->words, status));
            break;
        }
    }
}

static int
choose_status(const struct ns_denial_shape *shape, const struct ns_wire_denial *denial)
{
    if (denial->status != 0) {
        return denial->status;
    }
    int reason = denial->reason ? ns_reason_find(denial->reason, strlen(denial->reason)) : -1;
    bool passing = reason == NS_REASON_VELOCITY || reason == NS_REASON_LOOP;
    return passing ? 429 : shape->status;
}

static void
put_head(struct output *output, const struct ns_denial_shape *shape,
         const struct ns_wire_denial *denial, int status, size_t body_bytes)
{
    size_t phrase = 0;
    while (phrases[phrase].status != 0 && phrases[phrase].status != status) {
        phrase++;
    }
    put(output, "HTTP/1.1 ");
    put_number(output, (uint64_t)status);
    put(output, " ");
    put(output, phrases[phrase].phrase);
    put(output, "\r\ncontent-type: application/json\r\ncontent-length: ");
    put_number(output, body_bytes);
    put(output, "\r\nx-should-retry: false\r\n");
    put_header(output, shape->request_id_header, denial->denial_id);
    if (shape->word_header != NULL) {
        put_header(output, shape->word_header, word_of(shape->words, status));
    }
    put_header(output, "X-NullSpend-Denied", "1");
    put_header(output, "X-NullSpend-Denial-Id", denial->denial_id);
    put_header(output, "X-NullSpend-Reason", denial->reason);
    put_header(output, "X-NullSpend-Budget", denial->entity);
    if (denial->close) {
        put_header(output, "connection", "close");
    }
    put(output, "\r\n");
}

int
ns_wire_denial_status(const struct ns_wire_request *request)
{
    return shape_of(request)->status;
}

int
ns_wire_denial_write(const struct ns_wire_request *request, const struct ns_wire_denial *denial,
                     uint8_t *buffer, size_t buffer_bytes, int *status)
{
    const struct ns_denial_shape *shape = shape_of(request);
    bool array = request->array; /* a stream that is no SSE is one array, and so is its error */
    *status = choose_status(shape, denial);
    /* The body first: the head says its length. */
    struct output body = {.bytes = (char *)buffer, .room = buffer_bytes};
    put(&body, array ? "[" : "");
    put_body(&body, shape, denial, *status);
    put(&body, array ? "]" : "");
    char head_bytes[2048] = "";
    struct output head = {.bytes = head_bytes, .room = sizeof(head_bytes)};
    put_head(&head, shape, denial, *status, body.used);
    if (body.full || head.full || head.used > buffer_bytes - body.used) {
        return -ENOSPC;
    }
    memmove(buffer + head.used, buffer, body.used);
    memcpy(buffer, head_bytes, head.used);
    return (int)(head.used + body.used);
}

int
ns_wire_substitute_write(const struct ns_wire_request *request, bool closes, char *buffer,
                         size_t buffer_bytes)
{
    struct output output = {.bytes = buffer, .room = buffer_bytes};
    bool v6 = strchr(request->host, ':') != NULL;
    put(&output, "OPTIONS / HTTP/1.1\r\nHost: ");
    put(&output, v6 ? "[" : "");
    put(&output, request->host);
    put(&output, v6 ? "]" : "");
    /* Not of our own: the program's next requests may be on their way behind it. */
    put(&output, closes ? "\r\nConnection: close" : "");
    put(&output, "\r\nContent-Length: 0\r\n\r\n");
    return output.full ? -ENOSPC : (int)output.used;
}

/* --- within a stream ----------------------------------------------------------------------- */

/* How each family tells of an error in a stream that has begun: %b the body of its denials, %m the
 * message, %n the number of the event. The first row that fits counts. */
static const struct {
    const char *family;
    const char *operation; /* NULL: any */
    bool array;
    const char *text;
} cuts[] = {
    {"gemini", NULL, true, ",\r\n%b\r\n]"},
    {"gemini", NULL, false, "\r\ndata: %b\r\n\r\n"},
    {"cohere", NULL, false,
     "\nevent: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":"
     "\"ERROR\",\"error\":\"%m\"}}\n\ndata: [DONE]\n\n"},
    {"anthropic", NULL, false, "\nevent: error\ndata: %b\n\n"},
    {"openai", "chat", false, "\ndata: %b\n\ndata: [DONE]\n\n"},
    {"openai", "completions", false, "\ndata: %b\n\ndata: [DONE]\n\n"},
    {"openai", NULL, false,
     "\nevent: error\ndata: {\"type\":\"error\",\"code\":\"insufficient_quota\",\"message\":\"%m\","
     "\"param\":null,\"sequence_number\":%n}\n\n"},
};

/* Within an AWS event stream. */
static int
write_exception(const struct ns_denial_shape *shape, const struct ns_wire_denial *denial,
                char *buffer, size_t buffer_bytes)
{
    char text[1024];
    struct output body = {.bytes = text, .room = sizeof(text)};
    put_body(&body, shape, denial, choose_status(shape, denial));
    size_t written = body.full ? 0
                               : ns_event_stream_exception("validationException", text, body.used,
                                                           (uint8_t *)buffer, buffer_bytes);
    return written == 0 ? -ENOSPC : (int)written;
}

int
ns_wire_cut_write(const struct ns_wire_call *call, const struct ns_wire_denial *denial,
                  char *buffer, size_t buffer_bytes)
{
    const struct ns_wire_request *request = &call->request;
    const struct ns_denial_shape *shape = shape_of(request);
    struct output output = {.bytes = buffer, .room = buffer_bytes};
    size_t row = 0;
    if (same("bedrock", request->family)) {
        return write_exception(shape, denial, buffer, buffer_bytes);
    }
    while (row + 1 < LENGTH(cuts) &&
           !(same(cuts[row].family, request->family) && cuts[row].array == request->array &&
             same(cuts[row].operation, request->operation))) {
        row++;
    }
    for (const char *c = cuts[row].text; *c != '\0'; c++) {
        if (*c != '%') {
            put_bytes(&output, c, 1);
        } else if (*++c == 'b') {
            put_body(&output, shape, denial, choose_status(shape, denial));
        } else if (*c == 'm') {
            put_json(&output, denial->message);
        } else {
            put_number(&output, call->response.events);
        }
    }
    return output.full ? -ENOSPC : (int)output.used;
}
