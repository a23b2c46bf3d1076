/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A streaming JSON reader (RFC 8259): says what it passes, builds no tree, keeps one key and the
 * first NS_JSON_TEXT_BYTES_MAX bytes of one scalar. Feed it any pieces of one document, or of many
 * one after the other (NDJSON, concatenated); it never looks back.
 *
 * It is strict about structure (commas, brackets, literals, numbers, escapes, control characters)
 * and lenient about nothing but this: bytes above 0x7f inside strings are taken as they are
 * (invalid UTF-8 is counted in bad_utf8, not refused: providers echo what users send), and a lone
 * surrogate escape becomes U+FFFD.
 */
#ifndef NS_WIRE_JSON_H
#define NS_WIRE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/limits.h"

enum ns_json_event {
    NS_JSON_MORE, /* all input consumed */
    NS_JSON_OBJECT_BEGIN,
    NS_JSON_OBJECT_END,
    NS_JSON_ARRAY_BEGIN,
    NS_JSON_ARRAY_END,
    NS_JSON_KEY,    /* text is the key; longer than NS_JSON_KEY_BYTES_MAX: cut is set */
    NS_JSON_STRING, /* text is its beginning, decoded; see text_bytes_total */
    NS_JSON_NUMBER, /* text is the literal */
    NS_JSON_TRUE,
    NS_JSON_FALSE,
    NS_JSON_NULL,
    NS_JSON_DOCUMENT_END, /* a top-level value is complete (told after its own event) */
    NS_JSON_ERROR         /* not JSON: final until ns_json_reset */
};

struct ns_json_input {
    enum ns_json_event event;
    uint32_t depth;   /* containers open, after a BEGIN and before an END counts the
                         container itself: the root object's BEGIN and END have depth 1,
                         its keys and scalars too */
    const char *text; /* KEY, STRING, NUMBER: not NUL-terminated, valid until next feed */
    size_t text_bytes;
    uint64_t text_bytes_total; /* STRING: its whole decoded length in UTF-8 bytes */
    bool cut;                  /* text is not all of it */
};

struct ns_json;

/* A reader, or NULL without memory (about 1 KiB). */
struct ns_json *ns_json_new(void);
void ns_json_free(struct ns_json *json);

/* Forgets everything; the next byte begins a document. */
void ns_json_reset(struct ns_json *json);

/* Consumes bytes up to the next event and returns how many; to be called with the rest, even where
 * that is nothing, until NS_JSON_MORE. Containers nested deeper than
 * NS_JSON_DEPTH_MAX are an NS_JSON_ERROR. */
size_t ns_json_feed(struct ns_json *json, const uint8_t *bytes, size_t count,
                    struct ns_json_input *input);

/* The input ended: completes a top-level number. Returns NS_JSON_DOCUMENT_END after delivering it
 * in *input as NS_JSON_NUMBER first (call until NS_JSON_MORE), NS_JSON_ERROR inside a value. */
enum ns_json_event ns_json_close(struct ns_json *json, struct ns_json_input *input);

/* How many bytes at the front are ASCII that a string holds as it is. */
size_t ns_json_plain_run(const uint8_t *bytes, size_t count);

/* Bytes that were not UTF-8, in all strings since the last reset. */
uint64_t ns_json_bad_utf8(const struct ns_json *json);

/*
 * The number in a NUMBER's text as an unsigned integer, exactly: "3", "3.0" and "3e2" have one,
 * "-1", "1.5" and "1e30" have not. Returns 0, -ERANGE (negative or above UINT64_MAX) or -EINVAL
 * (not whole).
 */
int ns_json_u64(const char *text, size_t bytes, uint64_t *value);

/* The number times 10^9, rounded half to even, for amounts of money in dollars. Returns 0, -ERANGE
 * or -EINVAL. Exact decimal arithmetic. */
int ns_json_nano(const char *text, size_t bytes, int64_t *value);

#endif
