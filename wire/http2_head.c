/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/http2_head.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <string.h>

#include "base/mem.h"
#include "wire/http2_frame.h"
#include "wire/limits.h"
#include "wire/text.h"

#define OURS "x-nullspend-"

/* --- memory for libnghttp2 ----------------------------------------------------------------- */

/* It resizes blocks without saying how large they were: that stands before each. */
#define SIZE_BYTES 16

static void *
take_memory(size_t bytes, void *user)
{
    (void)user;
    uint8_t *block = bytes > SIZE_MAX - SIZE_BYTES ? NULL : ns_mem_alloc(bytes + SIZE_BYTES);
    if (block == NULL) {
        return NULL;
    }
    memcpy(block, &bytes, sizeof(bytes));
    return block + SIZE_BYTES;
}

static void
give_memory(void *block, void *user)
{
    (void)user;
    if (block != NULL) {
        ns_mem_free((uint8_t *)block - SIZE_BYTES);
    }
}

static void *
take_memory_of(size_t count, size_t bytes, void *user)
{
    size_t all;
    return __builtin_mul_overflow(count, bytes, &all) ? NULL : take_memory(all, user);
}

static void *
move_memory(void *block, size_t bytes, void *user)
{
    if (block == NULL) {
        return take_memory(bytes, user);
    }
    size_t before;
    memcpy(&before, (uint8_t *)block - SIZE_BYTES, sizeof(before));
    uint8_t *moved =
        bytes > SIZE_MAX - SIZE_BYTES
            ? NULL
            : ns_mem_resize((uint8_t *)block - SIZE_BYTES,
                            (before < bytes ? before : bytes) + SIZE_BYTES, bytes + SIZE_BYTES);
    if (moved == NULL) {
        return NULL;
    }
    memcpy(moved, &bytes, sizeof(bytes));
    return moved + SIZE_BYTES;
}

/* --- decoding ------------------------------------------------------------------------------ */

struct ns_http2_fields {
    nghttp2_mem memory;
    nghttp2_hd_inflater *inflater;
    size_t entries; /* of the table, before the block that is passing or passed last */
    size_t bytes;
    bool within; /* a block is passing */
};

struct ns_http2_fields *
ns_http2_fields_new(void)
{
    struct ns_http2_fields *fields = ns_mem_alloc(sizeof(*fields));
    if (fields == NULL) {
        return NULL;
    }
    fields->memory = (nghttp2_mem){NULL, take_memory, give_memory, take_memory_of, move_memory};
    /* How large the table may become is between the peers; what an encoder says of its size at the
     * beginning of a block is followed within the bound (RFC 7541, 4.2). */
    if (nghttp2_hd_inflate_new2(&fields->inflater, &fields->memory) != 0 ||
        nghttp2_hd_inflate_change_table_size(fields->inflater, NS_HTTP2_TABLE_BYTES_MAX) != 0) {
        ns_http2_fields_free(fields);
        return NULL;
    }
    return fields;
}

void
ns_http2_fields_free(struct ns_http2_fields *fields)
{
    if (fields != NULL && fields->inflater != NULL) {
        nghttp2_hd_inflate_del(fields->inflater);
    }
    ns_mem_free(fields);
}

/* The first fault is what is told. */
static void
find_fault(struct ns_http2_head *head, bool found, enum ns_http2_fault fault)
{
    if (found && head->fault == NS_HTTP2_SOUND) {
        head->fault = (uint8_t)fault;
    }
}

/* The place of a pseudo field's length; NULL for one that no HTTP/1.1 head has. */
static uint32_t *
pseudo_of(struct ns_http2_head *head, const nghttp2_nv *field)
{
    const struct {
        const char *name;
        uint32_t *bytes;
    } places[] = {{":method", &head->method_bytes},
                  {":path", &head->path_bytes},
                  {":authority", &head->authority_bytes},
                  {":status", &head->status_bytes}};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (ns_wire_text_is((const char *)field->name, field->namelen, places[i].name)) {
            return places[i].bytes;
        }
    }
    return NULL;
}

/* The values stand in the order of the lengths, whatever order they come in. */
static bool
keep_pseudo(struct ns_http2_head *head, const nghttp2_nv *field)
{
    uint32_t *bytes = pseudo_of(head, field);
    if (bytes == NULL) {
        /* :scheme says nothing more; an extended CONNECT (RFC 8441) is no request of ours. */
        find_fault(head, !ns_wire_text_is((const char *)field->name, field->namelen, ":scheme"),
                   NS_HTTP2_MALFORMED);
        return true;
    }
    if (*bytes != 0 || field->valuelen == 0) {
        find_fault(head, true, NS_HTTP2_MALFORMED);
        return true;
    }
    size_t offset = 0;
    for (const uint32_t *earlier = &head->method_bytes; earlier < bytes; earlier++) {
        offset += *earlier;
    }
    size_t after = ns_bytes_count(&head->pseudo) - offset;
    if (!ns_bytes_append(&head->pseudo, field->value, field->valuelen)) {
        return false;
    }
    uint8_t *place = head->pseudo.data + head->pseudo.begin + offset;
    memmove(place + field->valuelen, place, after);
    memcpy(place, field->value, field->valuelen);
    *bytes = (uint32_t)field->valuelen;
    return true;
}
_Static_assert(offsetof(struct ns_http2_head, status_bytes) ==
                   offsetof(struct ns_http2_head, method_bytes) + 3 * sizeof(uint32_t),
               "the lengths stand side by side, in the order of the values");

static bool
keep_line(struct ns_http2_head *head, const nghttp2_nv *field)
{
    return ns_bytes_append(&head->lines, field->name, field->namelen) &&
           ns_bytes_append(&head->lines, ": ", 2) &&
           ns_bytes_append(&head->lines, field->value, field->valuelen) &&
           ns_bytes_append(&head->lines, "\r\n", 2);
}

/* A line's end or a NUL in a field would make two of it (RFC 9113, 8.2.1). */
static bool
is_one_line(const uint8_t *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\r' || text[i] == '\n' || text[i] == '\0') {
            return false;
        }
    }
    return true;
}

/* The block that takes a field. */
static struct ns_bytes *
block_of(struct ns_http2_head *head, const nghttp2_nv *field)
{
    const char *name = (const char *)field->name;
    bool about = ns_wire_text_is(name, field->namelen, "content-length") ||
                 ns_wire_text_is(name, field->namelen, "accept-encoding");
    return about ? &head->about : &head->block;
}

static void
keep(struct ns_http2_head *head, const nghttp2_nv *field)
{
    const char *name = (const char *)field->name;
    bool ours = ns_wire_text_begins_nocase(name, field->namelen, OURS);
    size_t kept = ns_bytes_count(&head->pseudo) + ns_bytes_count(&head->lines) + field->namelen +
                  field->valuelen;
    bool fits = kept <= NS_HEAD_BYTES_MAX &&
                ns_bytes_count(&head->block) + ns_bytes_count(&head->about) <= NS_HEAD_BYTES_MAX;
    head->ours |= ours;
    head->no_block |=
        !ours && (!fits || !ns_http2_literal(block_of(head, field), name, field->namelen,
                                             (const char *)field->value, field->valuelen,
                                             (field->flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0));
    bool pseudo = field->namelen > 0 && name[0] == ':';
    find_fault(head, !fits, NS_HTTP2_TOO_LARGE);
    find_fault(head,
               !is_one_line(field->name, field->namelen) ||
                   !is_one_line(field->value, field->valuelen) ||
                   (!pseudo && memchr(name, ':', field->namelen) != NULL) ||
                   (pseudo && ns_bytes_count(&head->lines) > 0),
               NS_HTTP2_MALFORMED);
    if (head->fault == NS_HTTP2_SOUND) {
        bool kept_it = pseudo ? keep_pseudo(head, field) : keep_line(head, field);
        find_fault(head, !kept_it, NS_HTTP2_UNKEPT);
    }
}

int
ns_http2_fields_feed(struct ns_http2_fields *fields, const uint8_t *bytes, size_t count, bool last,
                     struct ns_http2_head *head)
{
    if (!fields->within) {
        fields->within = true;
        fields->entries = nghttp2_hd_inflate_get_num_table_entries(fields->inflater);
        fields->bytes = nghttp2_hd_inflate_get_dynamic_table_size(fields->inflater);
    }
    for (;;) {
        nghttp2_nv field;
        int flags = 0;
        ssize_t taken =
            nghttp2_hd_inflate_hd2(fields->inflater, &field, &flags, bytes, count, last);
        if (taken < 0) {
            return taken == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EBADMSG;
        }
        if (taken > 0) {
            bytes += taken;
            count -= (size_t)taken;
        }
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0 && head != NULL) {
            keep(head, &field);
        }
        if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
            nghttp2_hd_inflate_end_headers(fields->inflater);
            fields->within = false;
            return 0;
        }
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 && count == 0) {
            return 0;
        }
    }
}

bool
ns_http2_fields_changed(const struct ns_http2_fields *fields)
{
    return fields->entries != nghttp2_hd_inflate_get_num_table_entries(fields->inflater) ||
           fields->bytes != nghttp2_hd_inflate_get_dynamic_table_size(fields->inflater);
}

/* --- as HTTP/1.1 --------------------------------------------------------------------------- */

static bool
put(struct ns_bytes *text, const char *word)
{
    return ns_bytes_append(text, word, strlen(word));
}

static bool
write_start_line(const struct ns_http2_head *head, enum ns_http1_side side, struct ns_bytes *text)
{
    const uint8_t *method = ns_bytes_front(&head->pseudo);
    if (side == NS_HTTP1_RESPONSES) {
        return head->status_bytes > 0 && put(text, "HTTP/1.1 ") &&
               ns_bytes_append(
                   text, method + head->method_bytes + head->path_bytes + head->authority_bytes,
                   head->status_bytes) &&
               put(text, " \r\n");
    }
    const uint8_t *path = method + head->method_bytes;
    const uint8_t *authority = path + head->path_bytes;
    bool whole = head->method_bytes > 0 && head->path_bytes > 0 &&
                 ns_bytes_append(text, method, head->method_bytes) && put(text, " ") &&
                 ns_bytes_append(text, path, head->path_bytes) && put(text, " HTTP/1.1\r\n");
    if (whole && head->authority_bytes > 0) {
        whole = put(text, "host: ") && ns_bytes_append(text, authority, head->authority_bytes) &&
                put(text, "\r\n");
    }
    return whole;
}

/* Reads what is in text from `before` on. */
static struct ns_http1 *
read_text(const struct ns_bytes *text, size_t before, enum ns_http1_side side)
{
    struct ns_http1 *parser = ns_http1_new(side);
    if (parser == NULL) {
        return NULL;
    }
    const uint8_t *bytes = ns_bytes_front(text) + before;
    size_t left = ns_bytes_count(text) - before;
    struct ns_http1_input input;
    size_t taken = ns_http1_feed(parser, bytes, left, &input);
    if (input.event != NS_HTTP1_HEAD || taken != left) {
        ns_http1_free(parser);
        return NULL;
    }
    return parser;
}

struct ns_http1 *
ns_http2_head_read(const struct ns_http2_head *head, enum ns_http1_side side, struct ns_bytes *text)
{
    size_t before = ns_bytes_count(text);
    if (head->fault != NS_HTTP2_SOUND || ns_bytes_count(&head->pseudo) == 0 ||
        !write_start_line(head, side, text) ||
        (ns_bytes_count(&head->lines) > 0 &&
         !ns_bytes_append(text, ns_bytes_front(&head->lines), ns_bytes_count(&head->lines))) ||
        !put(text, "\r\n")) {
        return NULL;
    }
    return read_text(text, before, side);
}

struct ns_http1 *
ns_http2_head_read_start(const struct ns_http2_head *head, struct ns_bytes *text)
{
    size_t before = ns_bytes_count(text);
    if (ns_bytes_count(&head->pseudo) == 0 || !write_start_line(head, NS_HTTP1_REQUESTS, text) ||
        !put(text, "\r\n")) {
        return NULL;
    }
    return read_text(text, before, NS_HTTP1_REQUESTS);
}

void
ns_http2_head_free(struct ns_http2_head *head)
{
    ns_bytes_free(&head->pseudo);
    ns_bytes_free(&head->lines);
    ns_bytes_free(&head->block);
    ns_bytes_free(&head->about);
    *head = (struct ns_http2_head){0};
}

/* --- encoding ------------------------------------------------------------------------------ */

/* An integer with a prefix of bits bits; above holds what stands before it (RFC 7541, 5.1). */
static bool
put_integer(struct ns_bytes *block, uint8_t above, unsigned bits, size_t value)
{
    uint8_t bytes[1 + (sizeof(value) * 8 + 6) / 7];
    size_t max = ((size_t)1 << bits) - 1;
    size_t used = 1;
    if (value < max) {
        bytes[0] = (uint8_t)(above | value);
        return ns_bytes_append(block, bytes, used);
    }
    bytes[0] = (uint8_t)(above | max);
    for (value -= max; value >= 0x80; value >>= 7) {
        bytes[used++] = (uint8_t)(0x80 | (value & 0x7f));
    }
    bytes[used++] = (uint8_t)value;
    return ns_bytes_append(block, bytes, used);
}

bool
ns_http2_literal(struct ns_bytes *block, const char *name, size_t name_bytes, const char *value,
                 size_t value_bytes, bool never_indexed)
{
    uint8_t kind = never_indexed ? 0x10 : 0;
    if (!ns_bytes_append(block, &kind, 1) || !put_integer(block, 0, 7, name_bytes) ||
        !ns_bytes_append(block, name, name_bytes)) {
        return false;
    }
    for (uint8_t *c = block->data + block->end - name_bytes; c < block->data + block->end; c++) {
        *c = *c >= 'A' && *c <= 'Z' ? (uint8_t)(*c | 0x20) : *c;
    }
    return put_integer(block, 0, 7, value_bytes) && ns_bytes_append(block, value, value_bytes);
}

bool
ns_http2_table_size(struct ns_bytes *block, uint32_t bytes)
{
    return put_integer(block, 0x20, 5, bytes);
}

bool
ns_http2_block_write(struct ns_bytes *out, uint32_t stream, const uint8_t *block,
                     size_t block_bytes, bool end_stream)
{
    struct ns_http2_frame frame = {
        .type = NS_HTTP2_HEADERS, .stream = stream, .flags = end_stream ? NS_HTTP2_END_STREAM : 0};
    for (;;) {
        bool last = block_bytes <= NS_HTTP2_FRAME_BYTES_MAX;
        frame.length = last ? (uint32_t)block_bytes : NS_HTTP2_FRAME_BYTES_MAX;
        frame.flags |= last ? NS_HTTP2_END_HEADERS : 0;
        uint8_t header[NS_HTTP2_HEADER_BYTES];
        ns_http2_frame_write(header, &frame);
        if (!ns_bytes_append(out, header, sizeof(header)) ||
            !ns_bytes_append(out, block, frame.length)) {
            return false;
        }
        if (last) {
            return true;
        }
        block += frame.length;
        block_bytes -= frame.length;
        frame.type = NS_HTTP2_CONTINUATION;
        frame.flags = 0;
    }
}
