/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/usage_filter.h"

#include <errno.h>
#include <string.h>

#include "wire/text.h"

enum state {
    BEGIN,   /* nothing but blanks so far */
    EVENT,   /* at the beginning of an event, or within one that is not told yet */
    CONTENT, /* within an event that passes */
    ALL      /* no stream of events: everything passes */
};

enum key { OTHER, CHOICES, USAGE };

int
ns_usage_filter_init(struct ns_usage_filter *filter)
{
    memset(filter, 0, offsetof(struct ns_usage_filter, kept));
    ns_sse_init(&filter->sse);
    filter->json = ns_json_new();
    return filter->json == NULL ? -ENOMEM : 0;
}

void
ns_usage_filter_free(struct ns_usage_filter *filter)
{
    ns_json_free(filter->json);
    filter->json = NULL;
}

static void
begin_event(struct ns_usage_filter *filter)
{
    filter->state = EVENT;
    filter->key = OTHER;
    filter->choices_open = filter->choices_empty = filter->usage = filter->document = false;
    ns_json_reset(filter->json);
}

/* --- what an event is ---------------------------------------------------------------------- */

static uint8_t
key_of(const struct ns_json_input *input)
{
    if (input->depth != 1 || input->cut) {
        return OTHER;
    }
    bool choices = ns_wire_text_is(input->text, input->text_bytes, "choices");
    bool usage = ns_wire_text_is(input->text, input->text_bytes, "usage");
    return choices ? CHOICES : usage ? USAGE : OTHER;
}

/* One event of its JSON. Returns false once it is sure that the event is not the usage chunk. */
static bool
may_be_usage(struct ns_usage_filter *filter, const struct ns_json_input *input)
{
    if (filter->choices_open) {
        filter->choices_open = false;
        filter->choices_empty = true;
        return input->event == NS_JSON_ARRAY_END;
    }
    uint8_t key = filter->key;
    if (input->event != NS_JSON_DOCUMENT_END) {
        filter->key = OTHER;
    }
    switch (input->event) {
    case NS_JSON_DOCUMENT_END:
        filter->document = true;
        return true;
    case NS_JSON_KEY:
        filter->key = key_of(input);
        return true;
    case NS_JSON_ARRAY_BEGIN:
        filter->choices_open = key == CHOICES;
        return input->depth > 1 && !filter->document;
    case NS_JSON_OBJECT_BEGIN:
        filter->usage |= key == USAGE;
        return key != CHOICES && !filter->document;
    case NS_JSON_ERROR:
        return false;
    default:
        return key != CHOICES && !filter->document;
    }
}

static bool
data_may_be_usage(struct ns_usage_filter *filter, const uint8_t *bytes, size_t count)
{
    struct ns_json_input input;
    size_t i = 0;
    for (;;) {
        i += ns_json_feed(filter->json, bytes + i, count - i, &input);
        if (input.event == NS_JSON_MORE) {
            return true;
        }
        if (!may_be_usage(filter, &input)) {
            return false;
        }
    }
}

static bool
is_usage(const struct ns_usage_filter *filter)
{
    return filter->document && filter->choices_empty && filter->usage;
}

/* --- the stream ---------------------------------------------------------------------------- */

static void
give_kept(struct ns_usage_filter *filter, struct ns_usage_output *output)
{
    *output = (struct ns_usage_output){filter->kept, filter->kept_bytes};
    filter->given = true;
}

/* What comes before the first event: a body that is JSON is none of events. */
static size_t
begin(struct ns_usage_filter *filter, const uint8_t *bytes, size_t count,
      struct ns_usage_output *output)
{
    size_t blank = 0;
    while (blank < count && memchr(" \t\r\n", bytes[blank], 4) != NULL) {
        blank++;
    }
    if (blank < count) {
        filter->state = bytes[blank] == '{' || bytes[blank] == '[' ? ALL : EVENT;
    }
    *output = (struct ns_usage_output){bytes, blank};
    return blank;
}

static void
end_event(struct ns_usage_filter *filter, uint8_t last, bool passes)
{
    filter->lf_due = last == '\r';
    filter->lf_passes = passes;
    begin_event(filter);
}

/* The rest of an event that passes, from where it lies. */
static size_t
content(struct ns_usage_filter *filter, const uint8_t *bytes, size_t count,
        struct ns_usage_output *output)
{
    size_t used = 0;
    struct ns_sse_input input = {.event = NS_SSE_DATA};
    while (used < count && input.event != NS_SSE_END) {
        used += ns_sse_feed(&filter->sse, bytes + used, count - used, &input);
    }
    if (input.event == NS_SSE_END) {
        end_event(filter, bytes[used - 1], true);
    }
    *output = (struct ns_usage_output){bytes, used};
    return used;
}

/* Up to the end of a line, so that comments between events are seen as such; a byte order mark by
 * the byte, for it is no part of the first event. */
static size_t
line_bytes(const struct ns_sse *sse, const uint8_t *bytes, size_t count)
{
    size_t i = 0;
    if (ns_sse_in_mark(sse)) {
        return 1;
    }
    while (i < count && bytes[i] != '\n' && bytes[i] != '\r') {
        i++;
    }
    return i < count ? i + 1 : count;
}

/* A piece of an event that is not told yet. */
static size_t
event(struct ns_usage_filter *filter, const uint8_t *bytes, size_t count,
      struct ns_usage_output *output)
{
    size_t room = sizeof(filter->kept) - filter->kept_bytes;
    size_t offered = line_bytes(&filter->sse, bytes, count);
    if (offered > room) {
        offered = room;
    }
    if (offered == 0) { /* past the bound */
        filter->state = CONTENT;
        give_kept(filter, output);
        return 0;
    }
    struct ns_sse_input input;
    size_t used = ns_sse_feed(&filter->sse, bytes, offered, &input);
    memcpy(filter->kept + filter->kept_bytes, bytes, used);
    filter->kept_bytes += (uint32_t)used;
    if (input.event == NS_SSE_DATA && !data_may_be_usage(filter, input.data, input.data_bytes)) {
        filter->state = CONTENT;
        give_kept(filter, output);
    } else if (input.event == NS_SSE_END && is_usage(filter)) {
        filter->removed++;
        filter->kept_bytes = 0;
        end_event(filter, bytes[used - 1], false);
    } else if (input.event == NS_SSE_END) {
        give_kept(filter, output);
        end_event(filter, bytes[used - 1], true);
    } else if (input.event == NS_SSE_MORE && ns_sse_between(&filter->sse)) {
        give_kept(filter, output);
    }
    return used;
}

/* The LF of the CR that ended an event shares its fate. */
static size_t
line_feed(struct ns_usage_filter *filter, const uint8_t *bytes, struct ns_usage_output *output)
{
    struct ns_sse_input input;
    filter->lf_due = false;
    if (bytes[0] != '\n') {
        return 0;
    }
    (void)ns_sse_feed(&filter->sse, bytes, 1, &input);
    *output = (struct ns_usage_output){bytes, filter->lf_passes ? 1 : 0};
    return 1;
}

size_t
ns_usage_filter_feed(struct ns_usage_filter *filter, const uint8_t *bytes, size_t count,
                     struct ns_usage_output *output)
{
    size_t used = 0;
    *output = (struct ns_usage_output){NULL, 0};
    if (filter->given) {
        filter->given = false;
        filter->kept_bytes = 0;
    }
    while (used < count && output->count == 0) {
        const uint8_t *at = bytes + used;
        size_t left = count - used;
        if (filter->lf_due) {
            used += line_feed(filter, at, output);
        } else if (filter->state == BEGIN) {
            used += begin(filter, at, left, output);
        } else if (filter->state == EVENT) {
            used += event(filter, at, left, output);
        } else if (filter->state == CONTENT) {
            used += content(filter, at, left, output);
        } else {
            *output = (struct ns_usage_output){at, left};
            used = count;
        }
    }
    return used;
}

void
ns_usage_filter_finish(struct ns_usage_filter *filter, struct ns_usage_output *output)
{
    *output = (struct ns_usage_output){NULL, 0};
    if (filter->given || filter->state != EVENT || filter->kept_bytes == 0) {
        return;
    }
    if (is_usage(filter)) {
        filter->removed++;
        return;
    }
    give_kept(filter, output);
}
