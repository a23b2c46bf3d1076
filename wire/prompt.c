/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/prompt.h"

#include <string.h>

#include "wire/fingerprint.h"
#include "wire/text.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* The keys that matter; the order is that of enum word. */
enum word {
    OTHER,
    TYPE,
    DATA,
    SOURCE,
    INLINE_DATA,
    FILE_DATA,
    INPUT_AUDIO,
    MIME_TYPE,
    FILE_ID,
    CACHE_CONTROL,
    TURNS,
    TEXT
};

static const struct {
    const char *key;
    enum word word;
} words[] = {
    {"type", TYPE},
    {"data", DATA},
    {"bytesBase64Encoded", DATA},
    {"source", SOURCE},
    {"inlineData", INLINE_DATA},
    {"inline_data", INLINE_DATA},
    {"fileData", FILE_DATA},
    {"file_data", FILE_DATA},
    {"input_audio", INPUT_AUDIO},
    {"mimeType", MIME_TYPE},
    {"mime_type", MIME_TYPE},
    {"media_type", MIME_TYPE},
    {"file_id", FILE_ID},
    {"cache_control", CACHE_CONTROL},
    {"messages", TURNS},
    {"contents", TURNS},
    {"input", TURNS},
    {"content", TEXT},
    {"text", TEXT},
    {"output", TEXT},
};

enum attachment_kind { DOCUMENT, IMAGE, AUDIO, VIDEO, PLAIN };

/* The types of content parts that are attachments. */
static const struct {
    const char *type;
    enum attachment_kind kind;
} part_types[] = {
    {"image_url", IMAGE},       {"input_image", IMAGE},
    {"image", IMAGE},           {"image_file", IMAGE},
    {"input_audio", AUDIO},     {"audio", AUDIO},
    {"audio_url", AUDIO},       {"video_url", VIDEO},
    {"input_video", VIDEO},     {"video", VIDEO},
    {"file", DOCUMENT},         {"input_file", DOCUMENT},
    {"file_url", DOCUMENT},     {"document", DOCUMENT},
    {"document_url", DOCUMENT}, {"computer_screenshot", IMAGE},
};

static const struct {
    const char *prefix;
    enum attachment_kind kind;
} mime_types[] = {
    {"image/", IMAGE},
    {"audio/", AUDIO},
    {"video/", VIDEO},
    {"text/", PLAIN},
};

void
ns_prompt_init(struct ns_prompt *prompt, const struct ns_prompt_root *roots,
               struct ns_wire_request *request)
{
    memset(prompt, 0, sizeof(*prompt));
    prompt->roots = roots;
    prompt->request = request;
}

static void
count_attachment(struct ns_wire_request *request, enum attachment_kind kind)
{
    uint32_t *counts[] = {[DOCUMENT] = &request->files,
                          [IMAGE] = &request->images,
                          [AUDIO] = &request->audios,
                          [VIDEO] = &request->videos};
    if (kind != PLAIN && *counts[kind] < UINT32_MAX) {
        (*counts[kind])++;
    }
}

static uint64_t
decoded_bytes(uint64_t base64_bytes)
{
    return base64_bytes / 4 * 3;
}

static uint8_t
word_of(const struct ns_json_input *key)
{
    for (size_t i = 0; !key->cut && i < LENGTH(words); i++) {
        if (ns_wire_text_is(key->text, key->text_bytes, words[i].key)) {
            return (uint8_t)words[i].word;
        }
    }
    return OTHER;
}

static enum ns_prompt_root_kind
root_kind(const struct ns_prompt *prompt, const struct ns_json_input *key)
{
    for (const struct ns_prompt_root *root = prompt->roots; root->key != NULL; root++) {
        if (ns_wire_text_is(key->text, key->text_bytes, root->key)) {
            return root->kind;
        }
    }
    return NS_PROMPT_NONE;
}

static uint64_t
whole_bytes(const struct ns_json_input *input)
{
    return input->text_bytes_total > input->text_bytes ? input->text_bytes_total
                                                       : input->text_bytes;
}

static void
pass_key(struct ns_prompt *prompt, const struct ns_json_input *input)
{
    prompt->key = word_of(input);
    if (input->depth == 1) {
        prompt->kind = root_kind(prompt, input);
        prompt->turns = prompt->key == TURNS;
    } else if (prompt->kind != NS_PROMPT_NONE) {
        prompt->request->text_bytes += whole_bytes(input);
    }
    if (prompt->key == CACHE_CONTROL) {
        prompt->request->cache_write = true;
    }
}

static void
pass_begin(struct ns_prompt *prompt, const struct ns_json_input *input)
{
    bool opens = prompt->kind == NS_PROMPT_CONTENT && prompt->attachment.depth == 0 &&
                 input->event == NS_JSON_OBJECT_BEGIN &&
                 (prompt->key == SOURCE || prompt->key == INLINE_DATA || prompt->key == FILE_DATA ||
                  prompt->key == INPUT_AUDIO);
    if (opens) {
        memset(&prompt->attachment, 0, sizeof(prompt->attachment));
        prompt->attachment.depth = input->depth;
        prompt->attachment.word = prompt->key;
    }
    prompt->key = OTHER;
}

/* The object of an attachment is complete: its kind and size are known. */
static void
settle_attachment(struct ns_prompt *prompt)
{
    struct ns_wire_request *request = prompt->request;
    uint8_t word = prompt->attachment.word;
    if (word == SOURCE && prompt->attachment.is_text) {
        request->text_bytes += prompt->attachment.payload_bytes;
        prompt->text_documents++;
    } else if (word == INLINE_DATA && prompt->attachment.kind == PLAIN) {
        request->text_bytes += decoded_bytes(prompt->attachment.payload_bytes);
    } else {
        request->attachment_bytes += decoded_bytes(prompt->attachment.payload_bytes);
        if (word == INLINE_DATA || word == FILE_DATA) {
            bool is_plain = prompt->attachment.kind == PLAIN; /* a text file elsewhere */
            count_attachment(request, is_plain ? DOCUMENT : prompt->attachment.kind);
        }
    }
    prompt->attachment.depth = 0;
}

/* "data:image/png;base64,…" */
static bool
is_data_url(const struct ns_json_input *input)
{
    static const char mark[] = ";base64,";
    if (!ns_wire_text_begins(input->text, input->text_bytes, "data:")) {
        return false;
    }
    size_t within = input->text_bytes < 256 ? input->text_bytes : 256;
    return memmem(input->text, within, mark, sizeof(mark) - 1) != NULL;
}

static void
note_mime_type(struct ns_prompt *prompt, const struct ns_json_input *input)
{
    for (size_t i = 0; i < LENGTH(mime_types); i++) {
        if (ns_wire_text_begins_nocase(input->text, input->text_bytes, mime_types[i].prefix)) {
            prompt->attachment.kind = (uint8_t)mime_types[i].kind;
        }
    }
}

/* Strings of an attachment's own object. True: it was one of them. */
static bool
pass_attachment_string(struct ns_prompt *prompt, const struct ns_json_input *input)
{
    if (prompt->key == DATA) {
        prompt->attachment.payload_bytes += whole_bytes(input);
        return true;
    }
    if (prompt->key == MIME_TYPE) {
        note_mime_type(prompt, input);
    } else if (prompt->key == TYPE && ns_wire_text_is(input->text, input->text_bytes, "text")) {
        prompt->attachment.is_text = true;
    }
    return false;
}

static void
note_ending(struct ns_wire_request *request, const struct ns_json_input *input)
{
    struct ns_fingerprint text = {0};
    uint64_t bytes = whole_bytes(input);
    ns_fingerprint_add(&text, input->text, input->text_bytes);
    ns_fingerprint_add(&text, &bytes, sizeof bytes);
    request->ending = ns_fingerprint_end(&text);
}

static void
pass_string(struct ns_prompt *prompt, const struct ns_json_input *input)
{
    struct ns_wire_request *request = prompt->request;
    bool content = prompt->kind == NS_PROMPT_CONTENT;
    bool own = content && prompt->attachment.depth == input->depth && prompt->attachment.depth > 0;
    if (prompt->kind == NS_PROMPT_NONE || (own && pass_attachment_string(prompt, input))) {
        return;
    }
    bool payload = content && (is_data_url(input) || prompt->key == FILE_DATA);
    if (payload) {
        request->attachment_bytes += decoded_bytes(whole_bytes(input));
        return;
    }
    request->text_bytes += whole_bytes(input);
    if (content && prompt->turns && (prompt->key == TEXT || prompt->key == TURNS)) {
        note_ending(request, input);
    }
    if (content && prompt->key == FILE_ID) {
        request->history_elsewhere = true;
    }
    for (size_t i = 0; content && !own && prompt->key == TYPE && i < LENGTH(part_types); i++) {
        if (ns_wire_text_is(input->text, input->text_bytes, part_types[i].type)) {
            count_attachment(request, part_types[i].kind);
        }
    }
}

void
ns_prompt_event(struct ns_prompt *prompt, const struct ns_json_input *input)
{
    switch (input->event) {
    case NS_JSON_KEY:
        pass_key(prompt, input);
        break;
    case NS_JSON_OBJECT_BEGIN:
    case NS_JSON_ARRAY_BEGIN:
        pass_begin(prompt, input);
        break;
    case NS_JSON_OBJECT_END:
    case NS_JSON_ARRAY_END:
        if (prompt->attachment.depth == input->depth && input->depth > 0) {
            settle_attachment(prompt);
        }
        prompt->key = OTHER;
        break;
    case NS_JSON_STRING:
        pass_string(prompt, input);
        break;
    case NS_JSON_NUMBER:
    case NS_JSON_TRUE:
    case NS_JSON_FALSE:
    case NS_JSON_NULL:
        if (prompt->kind != NS_PROMPT_NONE) {
            prompt->request->text_bytes += input->event == NS_JSON_NUMBER ? whole_bytes(input) : 4;
        }
        break;
    default:
        break;
    }
}

void
ns_prompt_finish(struct ns_prompt *prompt)
{
    if (prompt->attachment.depth > 0) { /* cut off in the middle of one */
        settle_attachment(prompt);
    }
    uint32_t *files = &prompt->request->files;
    *files -= prompt->text_documents < *files ? prompt->text_documents : *files;
    prompt->text_documents = 0;
}
