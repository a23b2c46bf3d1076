/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures the prompt of a request while its JSON passes: how many bytes of text a model will read,
 * and what is attached beside text. And tells its last text by a fingerprint, of its beginning (512
 * bytes) and its length.
 *
 * Text is every key, string and number below the members that hold prompts (a family's
 * `prompt_roots`), attachments' payloads excepted. That is a bound: message roles and the names of
 * structural keys stand for the tokens which providers add around each message.
 */
#ifndef NS_WIRE_PROMPT_H
#define NS_WIRE_PROMPT_H

#include "wire/json.h"
#include "wire/limits.h"
#include "wire/wire.h"

enum ns_prompt_root_kind {
    NS_PROMPT_NONE,
    NS_PROMPT_CONTENT, /* messages: text and attachments */
    NS_PROMPT_TEXT     /* tool definitions, schemas: text whatever it looks like */
};

struct ns_prompt_root {
    const char *key; /* a member of the top object; the last one of a table has NULL */
    enum ns_prompt_root_kind kind;
};

struct ns_prompt {
    const struct ns_prompt_root *roots;
    struct ns_wire_request *request;
    enum ns_prompt_root_kind kind; /* of the member that is passing */
    bool turns;                    /* it is the one of a conversation's turns */
    uint8_t key;                   /* word of the last key; none after a container began */
    struct {
        uint32_t depth; /* of its object; 0: none open */
        uint8_t word;
        uint8_t kind;
        bool is_text;
        uint64_t payload_bytes;
    } attachment;
    uint32_t text_documents; /* documents whose source is plain text */
};

void ns_prompt_init(struct ns_prompt *prompt, const struct ns_prompt_root *roots,
                    struct ns_wire_request *request);
void ns_prompt_event(struct ns_prompt *prompt, const struct ns_json_input *input);
/* After the last event. */
void ns_prompt_finish(struct ns_prompt *prompt);

#endif
