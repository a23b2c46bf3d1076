/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/http2_frame.h"

#include <string.h>

const char ns_http2_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
_Static_assert(sizeof(ns_http2_preface) - 1 == NS_HTTP2_PREFACE_BYTES, "RFC 9113, 3.4");

/* States are named after what is expected next. */
enum state {
    HEADER,     /* the next byte of a frame's header */
    PAD_LENGTH, /* of a padded frame */
    SKIP,       /* a priority, or the promised stream */
    CONTENT,    /* what frames are there for */
    CONTROL,    /* payload of frames without content */
    PADDING,
    DONE, /* nothing: END is owed */
    FAILED
};

#define STREAM_MASK 0x7fffffffU

/* --- what a header says -------------------------------------------------------------------- */

/* Rules by type: RFC 9113, 6.1 to 6.10. */
enum rule {
    ON_STREAM = 1,     /* needs a stream */
    ON_CONNECTION = 2, /* must have none */
    HAS_CONTENT = 4,
    PADS = 8,
    OPENS_BLOCK = 16,
    SIXES = 32 /* its length is a multiple of six */
};

static const struct {
    uint8_t rules;
    uint8_t bytes; /* exactly, where not 0 */
    uint8_t skip;  /* before the content */
} types[] = {
    [NS_HTTP2_DATA] = {ON_STREAM | HAS_CONTENT | PADS, 0, 0},
    [NS_HTTP2_HEADERS] = {ON_STREAM | HAS_CONTENT | PADS | OPENS_BLOCK, 0, 0},
    [NS_HTTP2_PRIORITY] = {ON_STREAM, 5, 0},
    [NS_HTTP2_RST_STREAM] = {ON_STREAM, 4, 0},
    [NS_HTTP2_SETTINGS] = {ON_CONNECTION | SIXES, 0, 0},
    [NS_HTTP2_PUSH_PROMISE] = {ON_STREAM | HAS_CONTENT | PADS | OPENS_BLOCK, 0, 4},
    [NS_HTTP2_PING] = {ON_CONNECTION, 8, 0},
    [NS_HTTP2_GOAWAY] = {ON_CONNECTION, 0, 0},
    [NS_HTTP2_WINDOW_UPDATE] = {0, 4, 0},
    [NS_HTTP2_CONTINUATION] = {ON_STREAM | HAS_CONTENT, 0, 0},
};

#define TYPES (sizeof(types) / sizeof(types[0]))
#define PRIORITY_BYTES 5
#define SETTING_BYTES 6

/* Whether the header keeps to the rules; sets what follows it. */
static bool
begin(struct ns_http2_frames *frames)
{
    struct ns_http2_frame *frame = &frames->frame;
    const uint8_t *header = frames->header;
    frame->length = ns_http2_u32(header) >> 8;
    frame->type = header[3];
    frame->flags = header[4];
    frame->stream = ns_http2_u32(header + 5) & STREAM_MASK;
    frames->left = frame->length;
    frames->pad_bytes = 0;
    frames->control_bytes = 0;
    bool continues = frame->type == NS_HTTP2_CONTINUATION && frame->stream == frames->block_stream;
    if ((frames->block_stream != 0 || frame->type == NS_HTTP2_CONTINUATION) && !continues) {
        return false; /* nothing may come between the parts of a header block */
    }
    if (frame->type >= TYPES) {
        frames->state = CONTROL;
        return true;
    }
    uint8_t rules = types[frame->type].rules;
    uint8_t bytes = types[frame->type].bytes;
    if (((rules & ON_STREAM) != 0 && frame->stream == 0) ||
        ((rules & ON_CONNECTION) != 0 && frame->stream != 0) ||
        (bytes != 0 && frame->length != bytes) ||
        ((rules & SIXES) != 0 && frame->length % SETTING_BYTES != 0)) {
        return false;
    }
    frames->skip_bytes = types[frame->type].skip;
    if (frame->type == NS_HTTP2_HEADERS && (frame->flags & NS_HTTP2_HAS_PRIORITY) != 0) {
        frames->skip_bytes = PRIORITY_BYTES;
    }
    bool padded = (rules & PADS) != 0 && (frame->flags & NS_HTTP2_PADDED) != 0;
    if ((rules & OPENS_BLOCK) != 0 || continues) {
        bool whole = (frame->flags & NS_HTTP2_END_HEADERS) != 0;
        frames->block_stream = whole ? 0 : frame->stream;
    }
    if ((rules & HAS_CONTENT) == 0) {
        frames->state = CONTROL;
    } else {
        frames->state = padded ? PAD_LENGTH : SKIP;
    }
    return frame->length >= frames->skip_bytes + (uint32_t)padded;
}

/* --- feeding ------------------------------------------------------------------------------- */

/* Goes on from states that need no bytes. */
static void
advance(struct ns_http2_frames *frames)
{
    if (frames->state == SKIP && frames->skip_bytes == 0) {
        frames->state = CONTENT;
    }
    if (frames->state == CONTENT && frames->left == frames->pad_bytes) {
        frames->state = PADDING;
    }
    if ((frames->state == PADDING || frames->state == CONTROL) && frames->left == 0) {
        frames->state = DONE;
    }
}

static size_t
read_header(struct ns_http2_frames *frames, const uint8_t *bytes, size_t count,
            struct ns_http2_input *input)
{
    size_t room = NS_HTTP2_HEADER_BYTES - (size_t)frames->header_bytes;
    size_t taken = count < room ? count : room;
    if (taken > 0) {
        memcpy(frames->header + frames->header_bytes, bytes, taken);
        frames->header_bytes += (uint8_t)taken;
    }
    if (frames->header_bytes == NS_HTTP2_HEADER_BYTES) {
        input->event = NS_HTTP2_FRAME;
        if (!begin(frames)) {
            frames->state = FAILED;
            *input = (struct ns_http2_input){
                .event = NS_HTTP2_ERROR, .bytes = frames->header, .count = NS_HTTP2_HEADER_BYTES};
        }
    }
    return taken;
}

static void
keep_control(struct ns_http2_frames *frames, const uint8_t *bytes, size_t count)
{
    size_t room = NS_HTTP2_CONTROL_BYTES - (size_t)frames->control_bytes;
    size_t kept = count < room ? count : room;
    memcpy(frames->control + frames->control_bytes, bytes, kept);
    frames->control_bytes += (uint8_t)kept;
}

/* The length of the padding: false where the frame is too short for it. */
static bool
read_pad_length(struct ns_http2_frames *frames, uint8_t pad_bytes)
{
    frames->pad_bytes = pad_bytes;
    frames->left--;
    frames->state = SKIP;
    return frames->left >= (uint32_t)pad_bytes + frames->skip_bytes;
}

/* Payload, up to the end of its part. There is at least one byte. */
static size_t
read_payload(struct ns_http2_frames *frames, const uint8_t *bytes, size_t count,
             struct ns_http2_input *input)
{
    size_t part = frames->left;
    if (frames->state == SKIP) {
        part = frames->skip_bytes;
    } else if (frames->state == CONTENT) {
        part = frames->left - frames->pad_bytes;
    }
    size_t taken = count < part ? count : part;
    if (frames->state == CONTROL) {
        keep_control(frames, bytes, taken);
    } else if (frames->state == SKIP) {
        frames->skip_bytes -= (uint8_t)taken;
    }
    input->event = frames->state == CONTENT ? NS_HTTP2_CONTENT : NS_HTTP2_REST;
    input->bytes = bytes;
    input->count = taken;
    frames->left -= (uint32_t)taken;
    return taken;
}

size_t
ns_http2_frames_feed(struct ns_http2_frames *frames, const uint8_t *bytes, size_t count,
                     struct ns_http2_input *input)
{
    *input = (struct ns_http2_input){.event = NS_HTTP2_MORE};
    if (frames->state == FAILED) {
        input->event = NS_HTTP2_ERROR;
        return 0;
    }
    if (frames->state == HEADER) {
        return read_header(frames, bytes, count, input);
    }
    advance(frames);
    if (frames->state == DONE) {
        frames->state = HEADER;
        frames->header_bytes = 0;
        input->event = NS_HTTP2_END;
        return 0;
    }
    if (count == 0) {
        return 0;
    }
    if (frames->state == PAD_LENGTH) {
        bool fits = read_pad_length(frames, bytes[0]);
        frames->state = fits ? frames->state : FAILED;
        *input = (struct ns_http2_input){
            .event = fits ? NS_HTTP2_REST : NS_HTTP2_ERROR, .bytes = bytes, .count = 1};
        return 1;
    }
    return read_payload(frames, bytes, count, input);
}

bool
ns_http2_frames_idle(const struct ns_http2_frames *frames)
{
    return frames->state == HEADER && frames->header_bytes == 0 && frames->block_stream == 0;
}

bool
ns_http2_setting(const struct ns_http2_frames *frames, enum ns_http2_setting setting,
                 uint32_t *value)
{
    bool said = false;
    if ((frames->frame.flags & NS_HTTP2_ACK) != 0) {
        return false;
    }
    for (size_t i = 0; i + SETTING_BYTES <= frames->control_bytes; i += SETTING_BYTES) {
        const uint8_t *at = frames->control + i;
        if ((at[0] << 8 | at[1]) == (int)setting) {
            *value = ns_http2_u32(at + 2);
            said = true;
        }
    }
    return said;
}

void
ns_http2_frame_write(uint8_t header[NS_HTTP2_HEADER_BYTES], const struct ns_http2_frame *frame)
{
    ns_http2_u32_write(header, frame->length << 8);
    header[3] = frame->type;
    header[4] = frame->flags;
    ns_http2_u32_write(header + 5, frame->stream);
}
