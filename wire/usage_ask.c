/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/usage_ask.h"

#include <string.h>

#include "wire/text.h"

enum next { ANY, OPTIONS, INCLUDE };

enum form {
    NOTHING,
    MEMBER,  /* at the end of the top-level object: all of it */
    FIRST,   /* into stream_options that is empty */
    FURTHER, /* at the end of stream_options */
    OBJECT,  /* in place of stream_options: null */
    VALUE    /* in place of include_usage: false or null */
};

static const char *const texts[] = {
    [NOTHING] = "",
    [MEMBER] = ",\"stream_options\":{\"include_usage\":true}",
    [FIRST] = "\"include_usage\":true",
    [FURTHER] = ",\"include_usage\":true",
    [OBJECT] = "{\"include_usage\":true}",
    [VALUE] = "true",
};

static void
place(struct ns_usage_ask *ask, enum form form, uint64_t end, uint32_t before, uint32_t removed)
{
    ask->form = (uint8_t)form;
    ask->offset = end - before;
    ask->removed = removed;
}

static bool
is_key(const struct ns_json_input *input, const char *key)
{
    return !input->cut && ns_wire_text_is(input->text, input->text_bytes, key);
}

/* Servers differ in which of two equal keys counts: such a body is left alone. */
static void
key(struct ns_usage_ask *ask, const struct ns_json_input *input)
{
    ask->next = ANY;
    if (input->depth == 1 && is_key(input, "stream_options")) {
        ask->unfit |= ask->options;
        ask->options = true;
        ask->next = OPTIONS;
    } else if (input->depth == 1) {
        /* Azure answers from one's own data without it, and refuses to be asked. */
        ask->unfit |= is_key(input, "data_sources") || is_key(input, "dataSources");
    } else if (input->depth == 2 && ask->in_options) {
        ask->empty = false;
        if (is_key(input, "include_usage")) {
            ask->unfit |= ask->include;
            ask->include = true;
            ask->next = INCLUDE;
        }
    }
}

/* The value of stream_options, or of include_usage in it. */
static void
value(struct ns_usage_ask *ask, const struct ns_json_input *input, uint64_t end)
{
    bool options = ask->next == OPTIONS;
    ask->next = ANY;
    if (input->event == NS_JSON_NULL) {
        place(ask, options ? OBJECT : VALUE, end, 4, 4);
    } else if (input->event == NS_JSON_FALSE && !options) {
        place(ask, VALUE, end, 5, 5);
    } else if (input->event == NS_JSON_OBJECT_BEGIN && options) {
        ask->in_options = true;
        ask->empty = true;
    } else {
        ask->unfit = true;
    }
}

static void
object_end(struct ns_usage_ask *ask, const struct ns_json_input *input, uint64_t end)
{
    if (input->depth == 2 && ask->in_options) {
        ask->in_options = false;
        if (!ask->include) {
            place(ask, ask->empty ? FIRST : FURTHER, end, 1, 0);
        }
    } else if (input->depth == 1) {
        ask->complete = true;
        if (!ask->options) {
            place(ask, MEMBER, end, 1, 0);
        }
    }
}

void
ns_usage_ask_event(struct ns_usage_ask *ask, const struct ns_json_input *input, uint64_t end)
{
    if (input->event == NS_JSON_DOCUMENT_END || input->event == NS_JSON_MORE) {
        return;
    }
    if (ask->complete || input->event == NS_JSON_ERROR ||
        (input->depth <= 1 && input->event == NS_JSON_ARRAY_BEGIN)) {
        ask->unfit = true; /* more than one object, or none */
    } else if (ask->next != ANY) {
        value(ask, input, end);
    } else if (input->event == NS_JSON_KEY) {
        key(ask, input);
    } else if (input->event == NS_JSON_OBJECT_END) {
        object_end(ask, input, end);
    }
}

bool
ns_usage_ask_edit(const struct ns_usage_ask *ask, struct ns_usage_edit *edit)
{
    *edit = (struct ns_usage_edit){.offset = ask->offset,
                                   .removed = ask->removed,
                                   .text = texts[ask->form],
                                   .text_bytes = (uint32_t)strlen(texts[ask->form])};
    return ask->complete && !ask->unfit && ask->form != NOTHING;
}
