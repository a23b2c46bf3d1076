/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads of HTTP/2: HPACK (RFC 7541, by libnghttp2) into the form that HTTP/1.1 gives a head, so
 * that all of wire/ reads one form (RFC 9113, 8.3, tells how they correspond), and back into a
 * header block that leaves the peer's table of fields alone.
 */
#ifndef NS_WIRE_HTTP2_HEAD_H
#define NS_WIRE_HTTP2_HEAD_H

#include "base/bytes.h"
#include "wire/http1.h"

/* One direction's decoder. It must see every header block, in order. */
struct ns_http2_fields;

/* NULL without memory. */
struct ns_http2_fields *ns_http2_fields_new(void);
void ns_http2_fields_free(struct ns_http2_fields *fields);

/* What keeps a head from being read. */
enum ns_http2_fault {
    NS_HTTP2_SOUND,
    NS_HTTP2_MALFORMED, /* fields that no HTTP/1.1 head can hold */
    NS_HTTP2_TOO_LARGE, /* more than NS_HEAD_BYTES_MAX of them */
    NS_HTTP2_UNKEPT     /* there was no memory */
};

/* A head while its block arrives. All zeroes is an empty one. */
struct ns_http2_head {
    struct ns_bytes pseudo; /* the values of :method, :path, … one after the other */
    struct ns_bytes lines;  /* the other fields, as lines */
    struct ns_bytes block;  /* all fields but ours as literals that no table takes, without */
    struct ns_bytes about;  /* those of which a body that is edited, or whose answer is, knows
                               nothing: content-length and accept-encoding */
    uint32_t method_bytes;  /* in pseudo, in this order */
    uint32_t path_bytes;
    uint32_t authority_bytes;
    uint32_t status_bytes;
    bool ours;     /* X-NullSpend-* was among the fields */
    uint8_t fault; /* enum ns_http2_fault: lines is not complete */
    bool no_block; /* block or about is not complete, for want of memory or room */
};

/* Decodes a piece of a block into head (NULL: only the table is kept). last: it ends the block.
 * Returns 0; -EBADMSG where it is no HPACK: from there on the table is unknown; -ENOMEM likewise.
 */
int ns_http2_fields_feed(struct ns_http2_fields *fields, const uint8_t *bytes, size_t count,
                         bool last, struct ns_http2_head *head);

/* Whether the last block changed the table, so that who did not see it is out of step. */
bool ns_http2_fields_changed(const struct ns_http2_fields *fields);

/*
 * Writes a complete head as HTTP/1.1 to *text (appended), and reads it there.
 * Returns a parser after its HEAD event, the caller's to free, or NULL: a bad head, or no memory.
 */
struct ns_http1 *ns_http2_head_read(const struct ns_http2_head *head, enum ns_http1_side side,
                                    struct ns_bytes *text);

/* The same of a request whose head cannot be read: its first line and its host alone. */
struct ns_http1 *ns_http2_head_read_start(const struct ns_http2_head *head, struct ns_bytes *text);

void ns_http2_head_free(struct ns_http2_head *head);

/* Appends one field to a block, as a literal that no table takes (RFC 7541, 6.2.2; 6.2.3 where it
 * is never to be indexed). The name is lowered. False without memory. */
bool ns_http2_literal(struct ns_bytes *block, const char *name, size_t name_bytes,
                      const char *value, size_t value_bytes, bool never_indexed);

/* Appends a change of the table's size, which may stand at the beginning of a block (RFC
 * 7541, 6.3). False without memory. */
bool ns_http2_table_size(struct ns_bytes *block, uint32_t bytes);

/* Appends the HEADERS frame, and CONTINUATION frames where it takes more than one, of a block.
 * False without memory. */
bool ns_http2_block_write(struct ns_bytes *out, uint32_t stream, const uint8_t *block,
                          size_t block_bytes, bool end_stream);

#endif
