/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/coding.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <brotli/decode.h>
#include <zlib.h>
#define ZSTD_STATIC_LINKING_ONLY /* a decoder with our memory */
#include <zstd.h>
#include <zstd_errors.h>

#include "base/mem.h"
#include "wire/limits.h"

/* Decoded bytes are handed on in pieces of this size. */
#define PIECE_BYTES 16384

enum kind { GZIP, DEFLATE, BROTLI, ZSTD };

static const struct {
    const char *name;
    enum kind kind;
} names[] = {
    {"gzip", GZIP}, {"x-gzip", GZIP}, {"deflate", DEFLATE}, {"br", BROTLI}, {"zstd", ZSTD}};

/* What one run of a decoder reads and writes. */
struct span {
    const uint8_t *in;
    size_t in_bytes;
    size_t taken;
    uint8_t *out; /* PIECE_BYTES */
    size_t made;
};

struct layer {
    enum kind kind;
    enum ns_coding_status status; /* MORE, or what ended it */
    bool open;                    /* the decoder of this kind exists */
    bool in_frame;                /* zstd: a frame has begun and is not complete */
    bool full;                    /* it filled the last piece and may hold more output */
    bool again;                   /* a gzip member or zstd frame is complete: another may follow */
    uint8_t kept[2];              /* first bytes that chose the decoder and are not decoded yet */
    uint8_t kept_bytes;
    uint64_t made;
    union {
        z_stream zlib;
        BrotliDecoderState *brotli;
        ZSTD_DCtx *zstd;
    };
};

struct ns_coding {
    size_t count;
    struct layer layers[NS_CODINGS_MAX]; /* the first is the one applied last, undone first */
    enum ns_coding_status status;        /* MORE, or what ended it */
    uint64_t taken;
    uint8_t *pieces;              /* one piece a layer */
    size_t middle_at, middle_end; /* of two layers: what the second has to take of piece 0 */
};

/* --- memory -------------------------------------------------------------------------------- */

static void *
zlib_alloc(void *opaque, unsigned items, unsigned bytes)
{
    (void)opaque;
    return ns_mem_alloc((size_t)items * bytes);
}

static void *
coding_alloc(void *opaque, size_t bytes)
{
    (void)opaque;
    return ns_mem_alloc(bytes);
}

static void
coding_release(void *opaque, void *block)
{
    (void)opaque;
    ns_mem_free(block);
}

static void
close_layer(struct layer *layer)
{
    if (!layer->open) {
        return;
    }
    layer->open = false;
    switch (layer->kind) {
    case GZIP:
    case DEFLATE:
        inflateEnd(&layer->zlib);
        break;
    case BROTLI:
        BrotliDecoderDestroyInstance(layer->brotli);
        break;
    case ZSTD:
        ZSTD_freeDCtx(layer->zstd);
        break;
    }
}

static void
close_all(struct ns_coding *coding)
{
    for (size_t i = 0; i < coding->count; i++) {
        close_layer(&coding->layers[i]);
    }
    ns_mem_free(coding->pieces);
    coding->pieces = NULL;
}

/* --- gzip, zlib, deflate ------------------------------------------------------------------- */

static enum ns_coding_status
open_zlib(struct layer *layer, int window_bits)
{
    layer->zlib = (z_stream){.zalloc = zlib_alloc, .zfree = coding_release};
    if (inflateInit2(&layer->zlib, window_bits) != Z_OK) {
        return NS_CODING_NO_MEMORY;
    }
    layer->open = true;
    return NS_CODING_MORE;
}

/* RFC 1950, 2.2: method 8, a window of at most 32 KiB, a check over both bytes. */
static bool
is_zlib_header(const uint8_t *bytes)
{
    return (bytes[0] & 0x0f) == 8 && bytes[0] >> 4 <= 7 &&
           ((unsigned)bytes[0] << 8 | bytes[1]) % 31 == 0;
}

/*
 * Takes the first two bytes and chooses: of "deflate", whether there is the zlib header that RFC
 * 9110 asks for or not; of a gzip member after the first, whether it is one or padding.
 */
static enum ns_coding_status
choose_zlib(struct layer *layer, struct span *span)
{
    while (layer->kept_bytes < 2) {
        if (span->taken == span->in_bytes) {
            return NS_CODING_MORE;
        }
        layer->kept[layer->kept_bytes++] = span->in[span->taken++];
    }
    if (layer->kind == DEFLATE) {
        return open_zlib(layer, is_zlib_header(layer->kept) ? MAX_WBITS : -MAX_WBITS);
    }
    if (layer->again && (layer->kept[0] != 0x1f || layer->kept[1] != 0x8b)) {
        return NS_CODING_END;
    }
    return open_zlib(layer, MAX_WBITS + 16);
}

/* Runs zlib over some bytes. Returns how many it took. */
static size_t
inflate_some(struct layer *layer, const uint8_t *bytes, size_t count, struct span *span, int *rc)
{
    z_stream *z = &layer->zlib;
    unsigned given = count < UINT32_MAX ? (unsigned)count : UINT32_MAX;
    z->next_in = (z_const Bytef *)(uintptr_t)bytes;
    z->avail_in = given;
    z->next_out = span->out + span->made;
    z->avail_out = (unsigned)(PIECE_BYTES - span->made);
    *rc = inflate(z, Z_NO_FLUSH);
    span->made = PIECE_BYTES - z->avail_out;
    return given - z->avail_in;
}

static enum ns_coding_status
run_zlib(struct layer *layer, struct span *span)
{
    int rc = Z_OK;
    if (!layer->open) {
        enum ns_coding_status status = choose_zlib(layer, span);
        if (!layer->open) {
            return status;
        }
    }
    if (layer->kept_bytes > 0) { /* two bytes make no output in either format that fills a piece */
        inflate_some(layer, layer->kept, layer->kept_bytes, span, &rc);
        layer->kept_bytes = 0;
    }
    if (rc == Z_OK) {
        span->taken +=
            inflate_some(layer, span->in + span->taken, span->in_bytes - span->taken, span, &rc);
    }
    switch (rc) {
    case Z_OK:
    case Z_BUF_ERROR: /* nothing to read, or no room to write */
        return NS_CODING_MORE;
    case Z_STREAM_END:
        if (layer->kind == GZIP) {
            close_layer(layer);
            layer->again = true;
            return NS_CODING_MORE;
        }
        return NS_CODING_END;
    case Z_MEM_ERROR:
        return NS_CODING_NO_MEMORY;
    default:
        return NS_CODING_CORRUPT;
    }
}

/* --- brotli -------------------------------------------------------------------------------- */

static enum ns_coding_status
run_brotli(struct layer *layer, struct span *span)
{
    if (!layer->open) {
        layer->brotli = BrotliDecoderCreateInstance(coding_alloc, coding_release, NULL);
        if (layer->brotli == NULL) {
            return NS_CODING_NO_MEMORY;
        }
        layer->open = true;
    }
    size_t in_left = span->in_bytes;
    const uint8_t *in = span->in;
    size_t out_left = PIECE_BYTES;
    uint8_t *out = span->out;
    BrotliDecoderResult result =
        BrotliDecoderDecompressStream(layer->brotli, &in_left, &in, &out_left, &out, NULL);
    span->taken = span->in_bytes - in_left;
    span->made = PIECE_BYTES - out_left;
    switch (result) {
    case BROTLI_DECODER_RESULT_SUCCESS:
        return NS_CODING_END;
    case BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT:
    case BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT:
        return NS_CODING_MORE;
    default:
        break;
    }
    BrotliDecoderErrorCode code = BrotliDecoderGetErrorCode(layer->brotli);
    return code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES &&
                   code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES
               ? NS_CODING_NO_MEMORY
               : NS_CODING_CORRUPT;
}

/* --- zstd ---------------------------------------------------------------------------------- */

static enum ns_coding_status
open_zstd(struct layer *layer)
{
    ZSTD_customMem memory = {.customAlloc = coding_alloc, .customFree = coding_release};
    layer->zstd = ZSTD_createDCtx_advanced(memory);
    if (layer->zstd == NULL) {
        return NS_CODING_NO_MEMORY;
    }
    layer->open = true;
    size_t rc = ZSTD_DCtx_setParameter(layer->zstd, ZSTD_d_windowLogMax, NS_ZSTD_WINDOW_LOG_MAX);
    return ZSTD_isError(rc) ? NS_CODING_CORRUPT : NS_CODING_MORE;
}

/* RFC 8878, 3.1.1 and 3.1.2. The library would read the formats from before the RFC too, with
 * memory that is not ours: their magic numbers differ in the first byte. */
static bool
begins_zstd_frame(uint8_t byte)
{
    return byte == 0x28 || byte >> 4 == 5;
}

/* Goes over one frame, or what there is of it. Returns as ZSTD_decompressStream does. */
static size_t
decompress_frame(struct layer *layer, ZSTD_inBuffer *in, ZSTD_outBuffer *out)
{
    size_t rc = ZSTD_decompressStream(layer->zstd, out, in);
    layer->in_frame = rc != 0;
    layer->again |= rc == 0;
    return rc;
}

static enum ns_coding_status
run_zstd(struct layer *layer, struct span *span)
{
    enum ns_coding_status status = layer->open ? NS_CODING_MORE : open_zstd(layer);
    ZSTD_inBuffer in = {.src = span->in, .size = span->in_bytes};
    ZSTD_outBuffer out = {.dst = span->out, .size = PIECE_BYTES};
    bool going = status == NS_CODING_MORE;
    while (going) {
        size_t in_before = in.pos, out_before = out.pos;
        if (!layer->in_frame && in.pos == in.size) {
            break; /* between frames it holds nothing */
        }
        if (!layer->in_frame && !begins_zstd_frame(span->in[in.pos])) {
            /* Padding after a frame is no error. */
            status = layer->again ? NS_CODING_END : NS_CODING_CORRUPT;
            break;
        }
        size_t rc = decompress_frame(layer, &in, &out);
        if (ZSTD_isError(rc)) {
            status = ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation ? NS_CODING_NO_MEMORY
                                                                           : NS_CODING_CORRUPT;
            break;
        }
        going =
            in.pos < in.size && out.pos < out.size && (in.pos > in_before || out.pos > out_before);
    }
    span->taken = in.pos;
    span->made = out.pos;
    return status;
}

/* --- layers -------------------------------------------------------------------------------- */

static enum ns_coding_status (*const runners[])(struct layer *, struct span *) = {
    [GZIP] = run_zlib, [DEFLATE] = run_zlib, [BROTLI] = run_brotli, [ZSTD] = run_zstd};

static bool
is_bomb(const struct ns_coding *coding, const struct layer *layer)
{
    return layer->made > NS_CODING_FREE_BYTES && layer->made > NS_CODING_GROWTH_MAX * coding->taken;
}

/* Output comes before the status that ended the layer: that is told by the next run. */
static enum ns_coding_status
run_layer(struct ns_coding *coding, struct layer *layer, struct span *span)
{
    if (layer->status != NS_CODING_MORE || (span->in_bytes == 0 && !layer->full)) {
        return layer->status;
    }
    layer->status = runners[layer->kind](layer, span);
    layer->full = span->made == PIECE_BYTES;
    layer->made += span->made;
    if (layer == &coding->layers[0]) {
        coding->taken += span->taken;
    }
    if (is_bomb(coding, layer)) {
        layer->status = NS_CODING_BOMB;
        span->made = 0;
    }
    return layer->status;
}

static enum ns_coding_status
finish(struct ns_coding *coding, enum ns_coding_status status)
{
    close_all(coding);
    coding->status = status;
    return status;
}

/*
 * Runs the first of two layers into the middle. True where the second may go on; else *answer is
 * what is to be answered.
 */
static bool
fill_middle(struct ns_coding *coding, const uint8_t *input, size_t input_bytes, size_t *consumed,
            enum ns_coding_status *answer)
{
    struct span span = {
        .in = input + *consumed, .in_bytes = input_bytes - *consumed, .out = coding->pieces};
    *answer = run_layer(coding, &coding->layers[0], &span);
    *consumed += span.taken;
    coding->middle_at = 0;
    coding->middle_end = span.made;
    return span.made > 0 || (*answer == NS_CODING_MORE && span.taken > 0);
}

static enum ns_coding_status
pump(struct ns_coding *coding, const uint8_t *input, size_t input_bytes, size_t *consumed,
     const uint8_t **output, size_t *output_bytes)
{
    struct layer *last = &coding->layers[coding->count - 1];
    bool two = coding->count == 2;
    for (;;) {
        struct span span = {
            .in = input + *consumed, .in_bytes = input_bytes - *consumed, .out = coding->pieces};
        if (two) {
            span.in = coding->pieces + coding->middle_at;
            span.in_bytes = coding->middle_end - coding->middle_at;
            span.out += PIECE_BYTES;
        }
        enum ns_coding_status status = run_layer(coding, last, &span);
        *(two ? &coding->middle_at : consumed) += span.taken;
        if (span.made > 0) {
            *output = span.out;
            *output_bytes = span.made;
            return NS_CODING_OUTPUT;
        }
        if (status != NS_CODING_MORE) {
            return finish(coding, status);
        }
        if (span.taken == 0) {
            if (!two) {
                return NS_CODING_MORE;
            }
            if (!fill_middle(coding, input, input_bytes, consumed, &status)) {
                return status == NS_CODING_MORE ? status : finish(coding, status);
            }
        }
    }
}

enum ns_coding_status
ns_coding_feed(struct ns_coding *coding, const uint8_t *input, size_t input_bytes, size_t *consumed,
               const uint8_t **output, size_t *output_bytes)
{
    *consumed = 0;
    *output = NULL;
    *output_bytes = 0;
    if (coding->count == 0) { /* identity */
        *consumed = input_bytes;
        *output = input;
        *output_bytes = input_bytes;
        return input_bytes > 0 ? NS_CODING_OUTPUT : NS_CODING_MORE;
    }
    if (coding->status != NS_CODING_MORE) {
        *consumed = input_bytes;
        return coding->status;
    }
    if (coding->pieces == NULL) {
        if (input_bytes == 0) {
            return NS_CODING_MORE;
        }
        coding->pieces = ns_mem_alloc(coding->count * PIECE_BYTES);
        if (coding->pieces == NULL) {
            return finish(coding, NS_CODING_NO_MEMORY);
        }
    }
    return pump(coding, input, input_bytes, consumed, output, output_bytes);
}

/* --- the header ---------------------------------------------------------------------------- */

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Without the locale of the host program, which strncasecmp would ask. */
static bool
same_name(const char *text, size_t bytes, const char *name)
{
    size_t i = 0;
    for (; i < bytes && name[i] != '\0'; i++) {
        char lower = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] | 0x20) : text[i];
        if (lower != name[i]) {
            return false;
        }
    }
    return i == bytes && name[i] == '\0';
}

/* One element of the list. Returns 0 or -ENOTSUP. */
static int
add_layer(struct ns_coding *coding, const char *name, size_t bytes)
{
    if (bytes == 0 || same_name(name, bytes, "identity")) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (same_name(name, bytes, names[i].name)) {
            if (coding->count == NS_CODINGS_MAX) {
                return -ENOTSUP;
            }
            memmove(&coding->layers[1], &coding->layers[0],
                    (NS_CODINGS_MAX - 1) * sizeof(coding->layers[0]));
            coding->layers[0] = (struct layer){.kind = names[i].kind};
            coding->count++;
            return 0;
        }
    }
    return -ENOTSUP;
}

static int
add_layers(struct ns_coding *coding, const char *list, size_t bytes)
{
    int rc = 0;
    while (bytes > 0 && rc == 0) {
        const char *comma = memchr(list, ',', bytes);
        size_t taken = comma ? (size_t)(comma - list) : bytes;
        const char *name = list;
        size_t name_bytes = taken;
        while (name_bytes > 0 && is_blank(name[0])) {
            name++;
            name_bytes--;
        }
        while (name_bytes > 0 && is_blank(name[name_bytes - 1])) {
            name_bytes--;
        }
        rc = add_layer(coding, name, name_bytes);
        taken += comma != NULL;
        list += taken;
        bytes -= taken;
    }
    return rc;
}

int
ns_coding_new(const char *content_encoding, size_t bytes, struct ns_coding **coding)
{
    struct ns_coding *made = ns_mem_alloc(sizeof(*made));
    *coding = NULL;
    if (made == NULL) {
        return -ENOMEM;
    }
    int rc = add_layers(made, content_encoding, bytes);
    if (rc != 0) {
        ns_mem_free(made);
        return rc;
    }
    *coding = made;
    return 0;
}

void
ns_coding_free(struct ns_coding *coding)
{
    if (coding != NULL) {
        close_all(coding);
        ns_mem_free(coding);
    }
}
