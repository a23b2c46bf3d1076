/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/identity.h"

#include <stddef.h>
#include <string.h>

#include "wire/json.h"
#include "wire/text.h"

#define OURS "x-nullspend-"
#define ID_FIELD(field) offsetof(struct ns_wire_identity, field)

static const struct {
    const char *name; /* after OURS */
    size_t field;
} ids[] = {
    {"customer", ID_FIELD(customer)},
    {"agent", ID_FIELD(agent)},
    {"feature", ID_FIELD(feature)},
    {"session", ID_FIELD(session)},
};

/* Where providers take a credential, and what stands before it. */
static const struct {
    const char *name;
    const char *scheme;
} credentials[] = {
    {"authorization", "bearer "},
    {"x-api-key", ""},
    {"api-key", ""},
    {"x-goog-api-key", ""},
};

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static void
reject(struct ns_wire_identity *identity)
{
    if (identity->rejected < UINT8_MAX) {
        identity->rejected++;
    }
}

/* --- tags ---------------------------------------------------------------------------------- */

struct tags_reader {
    struct ns_wire_identity *identity;
    struct ns_wire_tag tag;
    bool key_good;
};

static void
take_tag(struct tags_reader *reader, const struct ns_json_input *value)
{
    struct ns_wire_identity *identity = reader->identity;
    const char *text = value->text;
    size_t bytes = value->text_bytes;
    if (value->event == NS_JSON_TRUE || value->event == NS_JSON_FALSE) {
        text = value->event == NS_JSON_TRUE ? "true" : "false";
        bytes = strlen(text);
    }
    if (!reader->key_good || value->cut || identity->tag_count == NS_TAGS_MAX || text == NULL ||
        !ns_wire_text_clean(text, bytes, NS_TAG_VALUE_BYTES_MAX)) {
        reject(identity);
        return;
    }
    ns_wire_text_copy(reader->tag.value, sizeof(reader->tag.value), text, bytes);
    for (uint8_t i = 0; i < identity->tag_count; i++) {
        if (strcmp(identity->tags[i].key, reader->tag.key) == 0) {
            identity->tags[i] = reader->tag; /* the last one counts, as in JSON */
            return;
        }
    }
    identity->tags[identity->tag_count++] = reader->tag;
}

/* True where the whole of the text was one flat object. */
static bool
read_tags(struct tags_reader *reader, struct ns_json *json, struct ns_http1_text text)
{
    bool complete = false;
    size_t i = 0;
    for (;;) {
        struct ns_json_input input;
        i += ns_json_feed(json, (const uint8_t *)text.text + i, text.bytes - i, &input);
        if (input.event == NS_JSON_MORE) {
            return complete && i == text.bytes;
        }
        bool container = input.event == NS_JSON_OBJECT_BEGIN || input.event == NS_JSON_ARRAY_BEGIN;
        if (input.event == NS_JSON_ERROR || complete || input.event == NS_JSON_ARRAY_BEGIN ||
            (container && input.depth > 1) ||
            (!container && input.depth == 0 && input.event != NS_JSON_DOCUMENT_END)) {
            return false;
        }
        if (input.event == NS_JSON_DOCUMENT_END) {
            complete = true;
        } else if (input.event == NS_JSON_KEY) {
            reader->key_good =
                !input.cut && input.text_bytes > 0 &&
                ns_wire_text_clean(input.text, input.text_bytes, NS_TAG_KEY_BYTES_MAX);
            ns_wire_text_copy(reader->tag.key, sizeof(reader->tag.key), input.text,
                              input.text_bytes);
        } else if (!container && input.event != NS_JSON_OBJECT_END) {
            take_tag(reader, &input);
        }
    }
}

static void
tags_header(struct ns_wire_identity *identity, struct ns_http1_text value)
{
    struct ns_json *json = ns_json_new();
    struct tags_reader reader = {.identity = identity};
    uint8_t before = identity->tag_count;
    if (json == NULL || !read_tags(&reader, json, value)) {
        identity->tag_count = before; /* all of a header's tags or none */
        reject(identity);
    }
    ns_json_free(json);
}

/* --- the others ---------------------------------------------------------------------------- */

static void
our_header(struct ns_wire_identity *identity, struct ns_http1_text name, struct ns_http1_text value)
{
    for (size_t i = 0; i < LENGTH(ids); i++) {
        if (!ns_wire_text_is_nocase(name.text, name.bytes, ids[i].name)) {
            continue;
        }
        if (value.bytes == 0 || !ns_wire_text_clean(value.text, value.bytes, NS_ID_BYTES_MAX)) {
            reject(identity);
            return;
        }
        ns_wire_text_copy((char *)identity + ids[i].field, NS_ID_BYTES_MAX + 1, value.text,
                          value.bytes);
        return;
    }
    if (ns_wire_text_is_nocase(name.text, name.bytes, "tags")) {
        tags_header(identity, value);
    } else if (ns_wire_text_is_nocase(name.text, name.bytes, "finalize")) {
        identity->finalize = ns_wire_text_is_nocase(value.text, value.bytes, "true") ||
                             ns_wire_text_is(value.text, value.bytes, "1");
        if (!identity->finalize && !ns_wire_text_is_nocase(value.text, value.bytes, "false") &&
            !ns_wire_text_is(value.text, value.bytes, "0")) {
            reject(identity);
        }
    }
}

/* version "-" 32 digits "-" 16 digits "-" flags (W3C Trace Context, 3.2). */
static void
trace_header(struct ns_wire_identity *identity, struct ns_http1_text value)
{
    static const char pattern[] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
    size_t length = sizeof(pattern) - 1;
    bool good = value.bytes == length || (value.bytes > length && value.text[length] == '-');
    bool zero = true;
    for (size_t i = 0; good && i < length; i++) {
        char c = value.text[i];
        bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
        good = pattern[i] == 'h' ? hex : c == '-';
        zero &= i < 3 || i >= 35 || c == '0';
    }
    if (good && !zero && memcmp(value.text, "ff", 2) != 0) {
        ns_wire_text_copy(identity->trace_id, sizeof(identity->trace_id), value.text + 3, 32);
    } else {
        reject(identity);
    }
}

void
ns_identity_credential(struct ns_wire_request *request, const char *text, size_t bytes,
                       uint32_t offset)
{
    if (request->credential_range.bytes > 0 || bytes == 0) {
        return; /* the first one counts */
    }
    request->credential_range = (struct ns_wire_range){.offset = offset, .bytes = (uint32_t)bytes};
    if (bytes >= 16) { /* of a shorter one, four characters would give too much away */
        ns_wire_text_copy(request->credential, 5, text + bytes - 4, 4);
    }
}

static void
credential_header(struct ns_wire_request *request, const struct ns_http1_header *header)
{
    for (size_t i = 0; i < LENGTH(credentials); i++) {
        if (!ns_wire_text_is_nocase(header->name.text, header->name.bytes, credentials[i].name)) {
            continue;
        }
        const char *text = header->value.text;
        size_t bytes = header->value.bytes;
        size_t scheme = strlen(credentials[i].scheme);
        if (!ns_wire_text_begins_nocase(text, bytes, credentials[i].scheme)) {
            return;
        }
        /* name and value are parts of one line. */
        uint32_t offset = header->line_offset + (uint32_t)(text - header->name.text);
        ns_identity_credential(request, text + scheme, bytes - scheme, offset + (uint32_t)scheme);
        return;
    }
}

bool
ns_identity_header(struct ns_wire_request *request, const struct ns_http1_header *header)
{
    struct ns_http1_text name = header->name;
    if (ns_wire_text_begins_nocase(name.text, name.bytes, OURS)) {
        struct ns_http1_text word = {.text = name.text + strlen(OURS),
                                     .bytes = name.bytes - strlen(OURS)};
        our_header(&request->identity, word, header->value);
        return true;
    }
    if (ns_wire_text_is_nocase(name.text, name.bytes, "traceparent")) {
        trace_header(&request->identity, header->value);
    } else {
        credential_header(request, header);
    }
    return false;
}
