/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol: what a governed process and the collector say to each other.
 *
 * A message is one ZeroMQ message part: a fixed head (magic, version, kind), then fields, each
 * tagged, sized, in ascending order of tag, each at most once. protocol/schema.h is the schema:
 * one table from which the structs, the encoder, the decoder and docs/protocol.md's table are made.
 * A decoder takes nothing but exactly what an encoder of its version makes, except that fields with
 * tags >= 128 which it does not know are skipped (so that they can be added).
 *
 * process → collector: HELLO (first on a connection), CHECK (answered by VERDICT), PROGRESS (not
 * answered), REPORT and RELEASE (answered by ACK once the journal has them on disk), COUNTERS and
 * COVERAGE (not answered), QUERY (ANSWER).
 */
#ifndef NS_PROTOCOL_PROTOCOL_H
#define NS_PROTOCOL_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/meter.h"
#include "base/uuid.h"
#include "base/words.h"

#define NS_PROTOCOL_VERSION 1

/* One message, at most. The largest is a REPORT with all its tags. */
#define NS_MESSAGE_BYTES_MAX 32768
/* An ANSWER may be larger: a status or a list. */
#define NS_ANSWER_BYTES_MAX (4 << 20)

/* A string inside a decoded message: within the bytes that were decoded, not NUL-terminated.
 * Strings are UTF-8 without control characters; the decoder checks. */
struct ns_text {
    const char *text;
    uint32_t bytes;
};

#define NS_PROTOCOL_TAGS_MAX 16
struct ns_tag_text {
    struct ns_text key;
    struct ns_text value;
};
struct ns_tags {
    uint32_t count;
    struct ns_tag_text tag[NS_PROTOCOL_TAGS_MAX];
};

/* More than one model billed in one answer. */
#define NS_PROTOCOL_PARTS_MAX 8
struct ns_part {
    struct ns_text model;
    struct ns_usage usage;
};
struct ns_parts {
    uint32_t count;
    struct ns_part part[NS_PROTOCOL_PARTS_MAX];
};

/* Things that are counted: names that the receiver may not know. */
#define NS_PROTOCOL_COUNTS_MAX 64
struct ns_counted {
    struct ns_text name;
    uint64_t count;
};
struct ns_counts {
    uint32_t count;
    struct ns_counted row[NS_PROTOCOL_COUNTS_MAX];
};

#include "protocol/schema.h"

/* --- encode and decode ------------------------------------------------------------------------ */

/* PROGRESS.top_up: the hold of a running answer is used up soon, or now. */
enum ns_top_up_wish { NS_TOP_UP_SOON = 1, NS_TOP_UP_USED_UP = 2 };

/* Any message. */
struct ns_message {
    enum ns_message_kind kind;
    union {
#define X(KIND, kind) struct ns_##kind kind;
        NS_MESSAGES(X)
#undef X
    } as;
};

/* Writes a message. Returns its bytes, -ENOSPC, or -EINVAL for a value that no decoder takes. */
int ns_message_encode(const struct ns_message *message, uint8_t *buffer, size_t buffer_bytes);

/*
 * Reads a message; its texts point into bytes. Returns 0, or
 * -EBADMSG not a message of this schema (why names the field or rule, a static string),
 * -EPROTONOSUPPORT another version of the protocol (message->kind unset).
 */
int ns_message_decode(const uint8_t *bytes, size_t count, struct ns_message *message,
                      const char **why);

static inline struct ns_text
ns_text_of(const char *text)
{
    size_t n = 0;
    while (text != NULL && text[n] != '\0') {
        n++;
    }
    return (struct ns_text){text, (uint32_t)n};
}

#endif
