/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/sse.h"

#include <string.h>

/* States are named after what is expected next. */
enum state {
    BOM_FIRST, /* the stream's first byte */
    BOM_SECOND,
    BOM_THIRD,
    LINE,        /* the first byte of a line */
    NAME,        /* more of a field's name, ':' or the line's end */
    VALUE_SPACE, /* the one space that may follow ':' */
    VALUE,       /* the value up to the line's end */
    COMMENT      /* anything up to the line's end */
};

enum flag {
    SKIP_LF = 1,   /* the last byte was a CR: an LF belongs to it */
    HAS_FIELD = 2, /* the event has a field */
    HAS_DATA = 4,  /* the event has a data line */
    EVENT_OLD = 8, /* event[] is of an event that is complete */
    IS_DATA = 16,  /* the field is data */
    IS_EVENT = 32, /* the field is event */
    NAME_LONG = 64 /* the name went past its bound, so it is none of ours */
};

/* How far ahead a line's end is looked for, so that lines ended by CR alone do not each scan all
 * that was fed for an LF. */
#define SCAN_BYTES 16384

static const char bom[] = "\xef\xbb\xbf";

void
ns_sse_init(struct ns_sse *sse)
{
    memset(sse, 0, sizeof(*sse));
}

static void
name_add(struct ns_sse *sse, const uint8_t *bytes, size_t count)
{
    size_t room = sizeof(sse->name) - sse->name_bytes;
    size_t kept = count < room ? count : room;
    memcpy(sse->name + sse->name_bytes, bytes, kept);
    sse->name_bytes = (uint8_t)(sse->name_bytes + kept);
    if (kept < count) {
        sse->flags |= NAME_LONG;
    }
}

static bool
named(const struct ns_sse *sse, const char *name)
{
    size_t bytes = strlen(name);
    return sse->name_bytes == bytes && memcmp(sse->name, name, bytes) == 0;
}

/* The name is whole. True where a line break must be told before the value: between data lines. */
static bool
end_name(struct ns_sse *sse)
{
    bool again = false;
    if (sse->flags & EVENT_OLD) {
        sse->event_bytes = 0;
        sse->event[0] = '\0';
    }
    sse->flags = (uint8_t)((sse->flags & ~(EVENT_OLD | IS_DATA | IS_EVENT)) | HAS_FIELD);
    if (!(sse->flags & NAME_LONG) && named(sse, "data")) {
        again = sse->flags & HAS_DATA;
        sse->flags |= IS_DATA | HAS_DATA;
    } else if (!(sse->flags & NAME_LONG) && named(sse, "event")) {
        sse->flags |= IS_EVENT;
        sse->event_bytes = 0;
        sse->event[0] = '\0';
    }
    return again;
}

static void
event_add(struct ns_sse *sse, const uint8_t *bytes, size_t count)
{
    size_t room = sizeof(sse->event) - 1 - sse->event_bytes;
    size_t kept = count < room ? count : room;
    memcpy(sse->event + sse->event_bytes, bytes, kept);
    sse->event_bytes = (uint8_t)(sse->event_bytes + kept);
    sse->event[sse->event_bytes] = '\0';
}

/* How many bytes come before the line's end, as far as it looks. */
static size_t
line_run(const uint8_t *bytes, size_t count)
{
    size_t window = count < SCAN_BYTES ? count : SCAN_BYTES;
    const uint8_t *lf = memchr(bytes, '\n', window);
    size_t run = lf ? (size_t)(lf - bytes) : window;
    const uint8_t *cr = memchr(bytes, '\r', run);
    return cr ? (size_t)(cr - bytes) : run;
}

/* The CR or LF of a line that is not empty. */
static void
end_line(struct ns_sse *sse, uint8_t byte)
{
    sse->state = LINE;
    if (byte == '\r') {
        sse->flags |= SKIP_LF;
    }
}

static void
tell_data(struct ns_sse_input *input, const uint8_t *data, size_t bytes)
{
    input->event = NS_SSE_DATA;
    input->data = data;
    input->data_bytes = bytes;
}

/* The rest of a line, or what was fed of it. */
static size_t
value(struct ns_sse *sse, const uint8_t *bytes, size_t count, struct ns_sse_input *input)
{
    size_t run = line_run(bytes, count);
    if (sse->state == VALUE && run > 0) {
        if (sse->flags & IS_DATA) {
            tell_data(input, bytes, run);
        } else if (sse->flags & IS_EVENT) {
            event_add(sse, bytes, run);
        }
    }
    if (run < count && (bytes[run] == '\n' || bytes[run] == '\r')) {
        end_line(sse, bytes[run]);
        run++;
    }
    return run;
}

static size_t
name(struct ns_sse *sse, const uint8_t *bytes, size_t count, struct ns_sse_input *input)
{
    size_t run = 0;
    while (run < count && bytes[run] != ':' && bytes[run] != '\n' && bytes[run] != '\r') {
        run++;
    }
    name_add(sse, bytes, run);
    if (run == count) {
        return run;
    }
    if (end_name(sse)) {
        tell_data(input, (const uint8_t *)"\n", 1);
    }
    if (bytes[run] == ':') {
        sse->state = VALUE_SPACE;
    } else { /* a name alone is a field with an empty value */
        end_line(sse, bytes[run]);
    }
    return run + 1;
}

static size_t
line(struct ns_sse *sse, uint8_t byte, struct ns_sse_input *input)
{
    if (byte == '\n' || byte == '\r') {
        end_line(sse, byte);
        if (sse->flags & HAS_FIELD) {
            sse->flags = (uint8_t)((sse->flags & ~(HAS_FIELD | HAS_DATA)) | EVENT_OLD);
            input->event = NS_SSE_END;
        }
        return 1;
    }
    sse->name_bytes = 0;
    sse->flags = (uint8_t)(sse->flags & ~NAME_LONG);
    sse->state = byte == ':' ? COMMENT : NAME;
    return byte == ':';
}

/* A byte order mark is passed over; the beginning of one that breaks off was a name's. */
static size_t
byte_order_mark(struct ns_sse *sse, uint8_t byte)
{
    size_t seen = sse->state - BOM_FIRST;
    if (byte == (uint8_t)bom[seen]) {
        sse->state++;
        return 1;
    }
    sse->name_bytes = 0;
    name_add(sse, (const uint8_t *)bom, seen);
    sse->state = seen > 0 ? NAME : LINE;
    return 0;
}

_Static_assert(BOM_THIRD + 1 == LINE, "a whole mark is followed by a line");

static size_t
step(struct ns_sse *sse, const uint8_t *bytes, size_t count, struct ns_sse_input *input)
{
    if (sse->flags & SKIP_LF) {
        sse->flags = (uint8_t)(sse->flags & ~SKIP_LF);
        if (bytes[0] == '\n') {
            return 1;
        }
    }
    switch (sse->state) {
    case BOM_FIRST:
    case BOM_SECOND:
    case BOM_THIRD:
        return byte_order_mark(sse, bytes[0]);
    case LINE:
        return line(sse, bytes[0], input);
    case NAME:
        return name(sse, bytes, count, input);
    case VALUE_SPACE:
        sse->state = VALUE;
        return bytes[0] == ' ';
    default:
        return value(sse, bytes, count, input);
    }
}

size_t
ns_sse_feed(struct ns_sse *sse, const uint8_t *bytes, size_t count, struct ns_sse_input *input)
{
    size_t i = 0;
    *input = (struct ns_sse_input){.event = NS_SSE_MORE};
    while (input->event == NS_SSE_MORE && i < count) {
        i += step(sse, bytes + i, count - i, input);
    }
    return i;
}

bool
ns_sse_between(const struct ns_sse *sse)
{
    return (sse->flags & HAS_FIELD) == 0 &&
           (sse->state == BOM_FIRST || sse->state == LINE || sse->state == COMMENT);
}

bool
ns_sse_in_mark(const struct ns_sse *sse)
{
    return sse->state <= BOM_THIRD;
}

bool
ns_sse_fresh(const struct ns_sse *sse)
{
    return (sse->flags & HAS_FIELD) == 0 && sse->state == LINE;
}
