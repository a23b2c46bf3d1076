/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/event_bytes.h"

#include <string.h>

enum state { OUTSIDE, STRING, ESCAPE, CONTENT };

static const char name[] = "bytes";
#define NAME_BYTES (sizeof(name) - 1)

static void
outside(struct ns_event_bytes *wrapped, uint8_t byte)
{
    if (byte == '"') {
        wrapped->state = wrapped->due ? CONTENT : STRING;
        wrapped->length = 0;
        wrapped->due = false;
        wrapped->named = true; /* unless it turns out to be another */
    } else if (byte == ':') {
        wrapped->due = wrapped->named;
    } else if (byte == ',' || byte == '{' || byte == '}') {
        wrapped->named = wrapped->due = false;
    }
}

static void
string(struct ns_event_bytes *wrapped, uint8_t byte)
{
    if (byte == '"') {
        wrapped->state = OUTSIDE;
        wrapped->named &= wrapped->length == NAME_BYTES;
        return;
    }
    wrapped->state = byte == '\\' ? ESCAPE : STRING;
    if (wrapped->length < NAME_BYTES && byte == (uint8_t)name[wrapped->length]) {
        wrapped->length++;
    } else {
        wrapped->named = false;
    }
}

/* A run of base64, as much as there is room for. */
static size_t
content(struct ns_event_bytes *wrapped, const uint8_t *payload, size_t count, uint8_t *bytes,
        size_t room, size_t *made)
{
    size_t fits = room / 3 * 4 - 3; /* up to three characters' bits are carried over */
    size_t window = count < fits ? count : fits;
    const uint8_t *end = memchr(payload, '"', window);
    size_t run = end != NULL ? (size_t)(end - payload) : window;
    *made = ns_base64_feed(&wrapped->base64, payload, run, bytes);
    if (end != NULL) {
        wrapped->state = OUTSIDE;
        wrapped->named = false;
        run++;
    }
    return run;
}

size_t
ns_event_bytes_feed(struct ns_event_bytes *wrapped, const uint8_t *payload, size_t count,
                    uint8_t *bytes, size_t room, size_t *made)
{
    size_t i = 0;
    *made = 0;
    while (i < count && *made == 0) {
        switch (wrapped->state) {
        case OUTSIDE:
            outside(wrapped, payload[i++]);
            break;
        case STRING:
            string(wrapped, payload[i++]);
            break;
        case ESCAPE:
            wrapped->state = STRING;
            i++;
            break;
        default:
            i += content(wrapped, payload + i, count - i, bytes, room, made);
            break;
        }
    }
    return i;
}
