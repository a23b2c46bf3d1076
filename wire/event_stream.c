/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/event_stream.h"

#include <string.h>
#include <zlib.h>

/* States are named after what is expected next. */
enum state {
    PRELUDE,
    NAME_LENGTH, /* of a header; behind the last one the payload begins */
    NAME,
    VALUE_TYPE,
    VALUE_LENGTH,
    VALUE,
    HEADERS_DONE, /* nothing: BEGIN is owed */
    PAYLOAD,
    CHECKSUM,
    FAILED
};

enum known { OTHER, EVENT_TYPE, MESSAGE_TYPE };

#define CHECKSUM_BYTES 4
#define LENGTH_BYTES 2
/* Types of values whose length stands before them; the others have a size of their own. */
enum { TYPE_BYTES = 6, TYPE_STRING = 7 };

static const uint8_t value_bytes[] = {0, 0, 1, 2, 4, 8, 0, 0, 8, 16};

static uint32_t
u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void
fail(struct ns_event_stream *stream, struct ns_event_stream_input *input)
{
    stream->state = FAILED;
    input->event = NS_EVENT_STREAM_ERROR;
}

/* Keeps bytes of a name, a length or a value. Returns how many were taken. */
static size_t
keep(struct ns_event_stream *stream, const uint8_t *bytes, size_t count)
{
    size_t taken = count < stream->part_left ? count : stream->part_left;
    size_t room = sizeof(stream->kept) - 1 - stream->kept_bytes;
    size_t kept = taken < room ? taken : room;
    memcpy(stream->kept + stream->kept_bytes, bytes, kept);
    stream->kept_bytes = (uint8_t)(stream->kept_bytes + kept);
    stream->kept[stream->kept_bytes] = '\0';
    stream->part_left -= (uint32_t)taken;
    stream->headers_left -= (uint32_t)taken;
    return taken;
}

/* The next part of a header; one that goes past the headers' end is none. */
static void
expect(struct ns_event_stream *stream, enum state state, uint32_t bytes,
       struct ns_event_stream_input *input)
{
    stream->state = (uint8_t)state;
    stream->part_left = bytes;
    stream->kept_bytes = 0;
    stream->kept[0] = '\0';
    if (bytes > stream->headers_left) {
        fail(stream, input);
    }
}

static void
next_header(struct ns_event_stream *stream, struct ns_event_stream_input *input)
{
    if (stream->headers_left == 0) {
        stream->state = HEADERS_DONE;
    } else {
        expect(stream, NAME_LENGTH, 1, input);
    }
}

static void
end_prelude(struct ns_event_stream *stream, struct ns_event_stream_input *input)
{
    const uint8_t *prelude = stream->prelude;
    uint32_t total = u32(prelude), headers = u32(prelude + 4);
    uint32_t around = NS_EVENT_STREAM_PRELUDE_BYTES + CHECKSUM_BYTES;
    if (crc32(0, prelude, 8) != u32(prelude + 8) || headers > NS_EVENT_STREAM_HEADER_BYTES_MAX ||
        total < around || total - around < headers ||
        total - around - headers > NS_EVENT_STREAM_PAYLOAD_BYTES_MAX) {
        fail(stream, input);
        return;
    }
    stream->headers_left = headers;
    stream->payload_left = total - around - headers;
    stream->type[0] = '\0';
    stream->exception = false;
    next_header(stream, input);
}

static size_t
prelude(struct ns_event_stream *stream, const uint8_t *bytes, size_t count,
        struct ns_event_stream_input *input)
{
    size_t wanted = sizeof(stream->prelude) - stream->kept_bytes;
    size_t taken = count < wanted ? count : wanted;
    memcpy(stream->prelude + stream->kept_bytes, bytes, taken);
    stream->kept_bytes = (uint8_t)(stream->kept_bytes + taken);
    if (taken == wanted) {
        end_prelude(stream, input);
    }
    return taken;
}

static void
end_value(struct ns_event_stream *stream, struct ns_event_stream_input *input)
{
    if (stream->value_type == TYPE_STRING && stream->known == EVENT_TYPE) {
        memcpy(stream->type, stream->kept, (size_t)stream->kept_bytes + 1);
    } else if (stream->value_type == TYPE_STRING && stream->known == MESSAGE_TYPE) {
        stream->exception =
            strcmp(stream->kept, "exception") == 0 || strcmp(stream->kept, "error") == 0;
    }
    next_header(stream, input);
}

static void
begin_value(struct ns_event_stream *stream, uint32_t bytes, struct ns_event_stream_input *input)
{
    expect(stream, VALUE, bytes, input);
    if (stream->state == VALUE && bytes == 0) {
        end_value(stream, input);
    }
}

/* A part of a header is complete. */
static void
end_part(struct ns_event_stream *stream, struct ns_event_stream_input *input)
{
    uint8_t first = (uint8_t)stream->kept[0];
    switch (stream->state) {
    case NAME_LENGTH:
        if (first == 0) {
            fail(stream, input);
            return;
        }
        expect(stream, NAME, first, input);
        break;
    case NAME:
        stream->known = strcmp(stream->kept, ":event-type") == 0     ? EVENT_TYPE
                        : strcmp(stream->kept, ":message-type") == 0 ? MESSAGE_TYPE
                                                                     : OTHER;
        expect(stream, VALUE_TYPE, 1, input);
        break;
    case VALUE_TYPE:
        stream->value_type = first;
        if (first == TYPE_BYTES || first == TYPE_STRING) {
            expect(stream, VALUE_LENGTH, LENGTH_BYTES, input);
        } else if (first < sizeof(value_bytes)) {
            begin_value(stream, value_bytes[first], input);
        } else {
            fail(stream, input);
        }
        break;
    case VALUE_LENGTH:
        begin_value(stream, (uint32_t)first << 8 | (uint8_t)stream->kept[1], input);
        break;
    default:
        end_value(stream, input);
        break;
    }
}

static size_t
payload(struct ns_event_stream *stream, const uint8_t *bytes, size_t count,
        struct ns_event_stream_input *input)
{
    size_t taken = count < stream->payload_left ? count : stream->payload_left;
    stream->payload_left -= (uint32_t)taken;
    input->event = NS_EVENT_STREAM_PAYLOAD;
    input->payload = bytes;
    input->payload_bytes = taken;
    return taken;
}

static size_t
checksum(struct ns_event_stream *stream, size_t count, struct ns_event_stream_input *input)
{
    size_t taken = count < stream->part_left ? count : stream->part_left;
    stream->part_left -= (uint32_t)taken;
    if (stream->part_left == 0) {
        stream->state = PRELUDE;
        stream->kept_bytes = 0;
        input->event = NS_EVENT_STREAM_END;
    }
    return taken;
}

static size_t
step(struct ns_event_stream *stream, const uint8_t *bytes, size_t count,
     struct ns_event_stream_input *input)
{
    size_t taken;
    switch (stream->state) {
    case PRELUDE:
        return prelude(stream, bytes, count, input);
    case HEADERS_DONE:
        stream->state = PAYLOAD;
        input->event = NS_EVENT_STREAM_BEGIN;
        return 0;
    case PAYLOAD:
        if (stream->payload_left > 0) {
            return payload(stream, bytes, count, input);
        }
        stream->state = CHECKSUM;
        stream->part_left = CHECKSUM_BYTES;
        return 0;
    case CHECKSUM:
        return checksum(stream, count, input);
    case FAILED:
        input->event = NS_EVENT_STREAM_ERROR;
        return count;
    default:
        taken = keep(stream, bytes, count);
        if (stream->part_left == 0) {
            end_part(stream, input);
        }
        return taken;
    }
}

size_t
ns_event_stream_feed(struct ns_event_stream *stream, const uint8_t *bytes, size_t count,
                     struct ns_event_stream_input *input)
{
    size_t i = 0;
    *input = (struct ns_event_stream_input){.event = NS_EVENT_STREAM_MORE};
    while (input->event == NS_EVENT_STREAM_MORE && i < count) {
        i += step(stream, bytes + i, count - i, input);
    }
    return i;
}

bool
ns_event_stream_between(const struct ns_event_stream *stream)
{
    return stream->state == PRELUDE && stream->kept_bytes == 0;
}

/* --- writing -------------------------------------------------------------------------------- */

static void
put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)(value >> (24 - 8 * i));
    }
}

size_t
ns_event_stream_exception(const char *type, const void *payload, size_t payload_bytes,
                          uint8_t *buffer, size_t room)
{
    const char *const headers[][2] = {{":exception-type", type},
                                      {":content-type", "application/json"},
                                      {":message-type", "exception"}};
    size_t header_bytes = 0;
    for (size_t i = 0; i < 3; i++) {
        header_bytes += 1 + strlen(headers[i][0]) + 1 + LENGTH_BYTES + strlen(headers[i][1]);
    }
    size_t total = NS_EVENT_STREAM_PRELUDE_BYTES + header_bytes + payload_bytes + CHECKSUM_BYTES;
    if (total > room) {
        return 0;
    }
    put_u32(buffer, (uint32_t)total);
    put_u32(buffer + 4, (uint32_t)header_bytes);
    put_u32(buffer + 8, (uint32_t)crc32(0, buffer, 8));
    uint8_t *at = buffer + NS_EVENT_STREAM_PRELUDE_BYTES;
    for (size_t i = 0; i < 3; i++) {
        size_t name = strlen(headers[i][0]), value = strlen(headers[i][1]);
        *at++ = (uint8_t)name;
        memcpy(at, headers[i][0], name);
        at += name;
        *at++ = TYPE_STRING;
        *at++ = (uint8_t)(value >> 8);
        *at++ = (uint8_t)value;
        memcpy(at, headers[i][1], value);
        at += value;
    }
    memcpy(at, payload, payload_bytes);
    put_u32(at + payload_bytes, (uint32_t)crc32(0, buffer, (uInt)(total - CHECKSUM_BYTES)));
    return total;
}
