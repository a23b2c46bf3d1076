/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/http1_edit.h"

#include <errno.h>
#include <string.h>

#include "wire/http1_head.h"
#include "wire/text.h"

/* Bytes of the request that give way to a text. */
struct splice {
    size_t offset;
    size_t removed;
    const char *text;
    size_t text_bytes;
};

/* Every line of the head at most once, and two for the body. */
#define SPLICES_MAX (NS_HEADERS_MAX + 2)
#define NUMBER_BYTES 20

struct splices {
    size_t count;
    struct splice splice[SPLICES_MAX];
};

static void
add(struct splices *splices, struct splice splice)
{
    splices->splice[splices->count++] = splice;
}

/* Writes a number at the end of its room; returns where it begins. */
static const char *
number(char room[static NUMBER_BYTES], uint64_t value, unsigned base, size_t *bytes)
{
    size_t i = NUMBER_BYTES;
    do {
        room[--i] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    *bytes = NUMBER_BYTES - i;
    return room + i;
}

/* --- the head ------------------------------------------------------------------------------ */

static bool
is_stripped(const struct ns_http1_header *header, const struct ns_wire_range *strips, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (header->line_offset >= strips[i].offset &&
            header->line_offset < strips[i].offset + strips[i].bytes) {
            return true;
        }
    }
    return false;
}

/* The lines of the head in their order. The answer must come as it is, for it is edited, too: so
 * the wish for a content coding stays here. */
static void
edit_head(const struct ns_http1 *parser, const struct ns_wire_range *strips, size_t strip_count,
          const char *length, size_t length_bytes, struct splices *splices)
{
    for (size_t i = 0; i < parser->header_count; i++) {
        const struct ns_http1_header *header = &parser->headers[i];
        if (is_stripped(header, strips, strip_count) ||
            ns_http1_same_word(header->name, "accept-encoding")) {
            add(splices, (struct splice){header->line_offset, header->line_bytes, "", 0});
        } else if (ns_http1_same_word(header->name, "content-length")) {
            size_t offset = (size_t)(header->value.text - parser->head);
            add(splices, (struct splice){offset, header->value.bytes, length, length_bytes});
        }
    }
}

/* --- the body ------------------------------------------------------------------------------ */

static size_t
hex_bytes(const uint8_t *bytes, size_t count, uint64_t *value)
{
    size_t i = 0;
    *value = 0;
    for (; i < count && *value <= UINT64_MAX >> 4; i++) {
        uint8_t lower = bytes[i] | 0x20;
        if (bytes[i] >= '0' && bytes[i] <= '9') {
            *value = *value << 4 | (uint64_t)(bytes[i] - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            *value = *value << 4 | (uint64_t)(lower - 'a' + 10);
        } else {
            break;
        }
    }
    return i;
}

/* Finds the chunk in which the edit lies and grows it. The framing is known to be good. */
static int
edit_chunk(const uint8_t *request, size_t count, size_t begin, const struct ns_usage_edit *edit,
           char size_room[static NUMBER_BYTES], struct splices *splices)
{
    uint64_t before = 0; /* body bytes in the chunks before */
    for (size_t line = begin; line < count;) {
        uint64_t size;
        size_t digits = hex_bytes(request + line, count - line, &size);
        const uint8_t *lf = memchr(request + line, '\n', count - line);
        if (digits == 0 || size == 0 || lf == NULL) {
            return -ENOENT;
        }
        size_t data = (size_t)(lf - request) + 1;
        if (size > count - data) {
            return -ENOENT;
        }
        if (edit->offset < before + size) {
            if (edit->offset + edit->removed > before + size) {
                return -ENOENT;
            }
            size_t text_bytes;
            const char *text =
                number(size_room, size - edit->removed + edit->text_bytes, 16, &text_bytes);
            add(splices, (struct splice){line, digits, text, text_bytes});
            add(splices, (struct splice){data + (size_t)(edit->offset - before), edit->removed,
                                         edit->text, edit->text_bytes});
            return 0;
        }
        before += size;
        lf = memchr(request + data + size, '\n', count - data - (size_t)size);
        line = lf == NULL ? count : (size_t)(lf - request) + 1;
    }
    return -ENOENT;
}

static int
rebuild(struct ns_bytes *request, const struct splices *splices)
{
    struct ns_bytes built = {0};
    const uint8_t *bytes = ns_bytes_front(request);
    size_t from = 0;
    bool good = true;
    for (size_t i = 0; i < splices->count && good; i++) {
        const struct splice *splice = &splices->splice[i];
        good = ns_bytes_append(&built, bytes + from, splice->offset - from) &&
               ns_bytes_append(&built, splice->text, splice->text_bytes);
        from = splice->offset + splice->removed;
    }
    if (!good || !ns_bytes_append(&built, bytes + from, ns_bytes_count(request) - from)) {
        ns_bytes_free(&built);
        return -ENOMEM;
    }
    ns_bytes_free(request);
    *request = built;
    return 0;
}

int
ns_http1_edit_request(const struct ns_http1 *parser, const struct ns_usage_edit *edit,
                      const struct ns_wire_range *strips, size_t strip_count,
                      struct ns_bytes *request)
{
    const uint8_t *bytes = ns_bytes_front(request);
    size_t count = ns_bytes_count(request);
    size_t head_bytes = parser->head_bytes;
    char room[NUMBER_BYTES];
    size_t length_bytes = 0;
    const char *length = "";
    struct splices splices;
    splices.count = 0;
    if (parser->minor_zero || head_bytes > count || memcmp(bytes, parser->head, head_bytes) != 0) {
        return -ENOENT;
    }
    if (parser->content_length < 0) {
        edit_head(parser, strips, strip_count, "", 0, &splices);
        int result = edit_chunk(bytes, count, head_bytes, edit, room, &splices);
        return result != 0 ? result : rebuild(request, &splices);
    }
    if (edit->offset + edit->removed > count - head_bytes) {
        return -ENOENT;
    }
    length = number(room, (uint64_t)parser->content_length - edit->removed + edit->text_bytes, 10,
                    &length_bytes);
    edit_head(parser, strips, strip_count, length, length_bytes, &splices);
    add(&splices, (struct splice){head_bytes + (size_t)edit->offset, edit->removed, edit->text,
                                  edit->text_bytes});
    return rebuild(request, &splices);
}

/* --- cutting an answer --------------------------------------------------------------------- */

bool
ns_http1_may_cut(const struct ns_http1 *parser)
{
    switch (parser->state) {
    case BODY_LENGTH:
    case BODY_CLOSE:
    case CHUNK_DATA:
    case CHUNK_DATA_END:
    case CHUNK_DATA_LF:
    case CHUNK_SIZE_FIRST:
        return true;
    default:
        return false;
    }
}

static bool
append_text(struct ns_bytes *out, const char *text)
{
    return ns_bytes_append(out, text, strlen(text));
}

static bool
pad(struct ns_bytes *out, size_t count)
{
    static const char feeds[] = "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n";
    for (; count > 0; count -= count < sizeof(feeds) - 1 ? count : sizeof(feeds) - 1) {
        if (!ns_bytes_append(out, feeds, count < sizeof(feeds) - 1 ? count : sizeof(feeds) - 1)) {
            return false;
        }
    }
    return true;
}

/* What ends the chunk that is open, if one is; then a chunk of our own, and the last one. */
static bool
cut_chunks(const struct ns_http1 *parser, const char *text, size_t count, struct ns_bytes *out)
{
    char room[NUMBER_BYTES];
    size_t digits;
    size_t owed = parser->state == CHUNK_DATA ? (size_t)parser->left : 0;
    size_t first = owed < count ? owed : count;
    bool good = ns_bytes_append(out, text, first) && pad(out, owed - first);
    if (parser->state == CHUNK_DATA || parser->state == CHUNK_DATA_END) {
        good = good && append_text(out, "\r\n");
    } else if (parser->state == CHUNK_DATA_LF) {
        good = good && append_text(out, "\n");
    }
    if (first < count) {
        const char *size = number(room, count - first, 16, &digits);
        good = good && ns_bytes_append(out, size, digits) && append_text(out, "\r\n") &&
               ns_bytes_append(out, text + first, count - first) && append_text(out, "\r\n");
    }
    return good && append_text(out, "0\r\n\r\n");
}

bool
ns_http1_cut(const struct ns_http1 *parser, const char *text, size_t count, struct ns_bytes *out)
{
    size_t before = out->end - out->begin;
    bool owing = parser->state == CHUNK_DATA || parser->state == BODY_LENGTH;
    if (!ns_http1_may_cut(parser) || (owing && parser->left > NS_CUT_PADDING_BYTES_MAX + count) ||
        (parser->state == BODY_LENGTH && parser->left < count)) {
        return false;
    }
    bool good;
    if (parser->state == BODY_CLOSE) {
        good = ns_bytes_append(out, text, count);
    } else if (parser->state == BODY_LENGTH) {
        good = ns_bytes_append(out, text, count) && pad(out, (size_t)parser->left - count);
    } else {
        good = cut_chunks(parser, text, count, out);
    }
    if (!good) {
        out->end = out->begin + before;
    }
    return good;
}
