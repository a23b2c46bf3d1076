/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS event streams (application/vnd.amazon.eventstream) as a push parser: messages with their
 * lengths in front. Source: smithy.io, "Amazon Event Stream specification"; limits of botocore.
 * The checksum of the lengths is verified, so that nothing is taken for one that is none; that of
 * the message is not, for TLS has one. Payloads are handed through in pieces and never kept.
 */
#ifndef NS_WIRE_EVENT_STREAM_H
#define NS_WIRE_EVENT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/limits.h"

enum ns_event_stream_event {
    NS_EVENT_STREAM_MORE,    /* all input consumed */
    NS_EVENT_STREAM_BEGIN,   /* a message's headers are complete */
    NS_EVENT_STREAM_PAYLOAD, /* a piece of its payload */
    NS_EVENT_STREAM_END,     /* the message is complete, its checksum included */
    NS_EVENT_STREAM_ERROR    /* this is none: nothing more comes */
};

#define NS_EVENT_STREAM_PRELUDE_BYTES 12

/* All zero at the start of a body. */
struct ns_event_stream {
    uint8_t state;
    uint8_t known; /* the header that is passing: which of ours it is */
    uint8_t value_type;
    uint8_t kept_bytes;
    uint8_t prelude[NS_EVENT_STREAM_PRELUDE_BYTES];
    char kept[NS_EVENT_STREAM_TEXT_BYTES_MAX + 1]; /* a name or value, as far as there is room */
    char type[NS_EVENT_STREAM_TEXT_BYTES_MAX + 1]; /* of the message: ":event-type" */
    bool exception;                                /* ":message-type" is "exception" or "error" */
    uint32_t part_left;                            /* of a name, a value or the checksum */
    uint32_t headers_left;
    uint32_t payload_left;
};

struct ns_event_stream_input {
    enum ns_event_stream_event event;
    const uint8_t *payload; /* PAYLOAD: within the bytes fed */
    size_t payload_bytes;
};

/* Consumes bytes up to the next event and returns how many. */
size_t ns_event_stream_feed(struct ns_event_stream *stream, const uint8_t *bytes, size_t count,
                            struct ns_event_stream_input *input);

/* Writes a message that says that the stream ends with an exception of this type. Returns its
 * bytes, 0 where there is not so much room. */
size_t ns_event_stream_exception(const char *type, const void *payload, size_t payload_bytes,
                                 uint8_t *buffer, size_t room);

/* Is this between messages? */
bool ns_event_stream_between(const struct ns_event_stream *stream);

#endif
