/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A push parser for the frames of one direction of an HTTP/2 connection (RFC 9113, 4 and 6), from
 * behind the client's preface.
 *
 * Feed it bytes as they come; it returns at every event with the number of bytes consumed, and is
 * called again with the rest, even where that is nothing (an END needs no bytes), until
 * NS_HTTP2_MORE. ERROR is final. Where the input is split makes no difference, except to the number
 * of pieces. It allocates nothing and keeps no payload but the beginning of a control frame.
 */
#ifndef NS_WIRE_HTTP2_FRAME_H
#define NS_WIRE_HTTP2_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS_HTTP2_HEADER_BYTES 9
#define NS_HTTP2_TYPE_AT 3 /* and behind it the flags */

/* The client's connection preface (RFC 9113, 3.4). */
extern const char ns_http2_preface[];
#define NS_HTTP2_PREFACE_BYTES 24

/* What is kept of a control frame's payload: SETTINGS may hold 40 of the 7 that there are. */
#define NS_HTTP2_CONTROL_BYTES 240

/* Frames between peers that agreed on no more (RFC 9113, 4.2). */
#define NS_HTTP2_FRAME_BYTES_MAX 16384

/* Window of a connection, and of a stream where SETTINGS say nothing else (6.9.2). */
#define NS_HTTP2_WINDOW_BYTES 65535
#define NS_HTTP2_WINDOW_BYTES_MAX INT32_MAX

/* A table of fields, where SETTINGS say nothing else (6.5.2). */
#define NS_HTTP2_TABLE_BYTES 4096

enum ns_http2_type {
    NS_HTTP2_DATA,
    NS_HTTP2_HEADERS,
    NS_HTTP2_PRIORITY,
    NS_HTTP2_RST_STREAM,
    NS_HTTP2_SETTINGS,
    NS_HTTP2_PUSH_PROMISE,
    NS_HTTP2_PING,
    NS_HTTP2_GOAWAY,
    NS_HTTP2_WINDOW_UPDATE,
    NS_HTTP2_CONTINUATION
};

enum ns_http2_flag {
    NS_HTTP2_ACK = 1,        /* SETTINGS, PING */
    NS_HTTP2_END_STREAM = 1, /* DATA, HEADERS */
    NS_HTTP2_END_HEADERS = 4,
    NS_HTTP2_PADDED = 8,
    NS_HTTP2_HAS_PRIORITY = 32
};

enum ns_http2_setting { NS_HTTP2_HEADER_TABLE_SIZE = 1, NS_HTTP2_INITIAL_WINDOW_SIZE = 4 };

/* Codes of RST_STREAM (7). */
enum ns_http2_code { NS_HTTP2_REFUSED_STREAM = 7, NS_HTTP2_CANCEL = 8 };

struct ns_http2_frame {
    uint32_t length; /* of the payload */
    uint32_t stream;
    uint8_t type; /* enum ns_http2_type, or one that is not known */
    uint8_t flags;
};

enum ns_http2_event {
    NS_HTTP2_MORE,    /* all input consumed; within a frame's header nothing of it was told yet */
    NS_HTTP2_FRAME,   /* the header of a frame is complete */
    NS_HTTP2_CONTENT, /* a piece of a body or of a header block */
    NS_HTTP2_REST,    /* other payload: padding, its length, a priority, all of a control frame */
    NS_HTTP2_END,     /* the frame is complete */
    NS_HTTP2_ERROR    /* a connection error */
};

struct ns_http2_input {
    enum ns_http2_event event;
    const uint8_t *bytes; /* CONTENT, REST: within the bytes that were fed. ERROR: what was
                             consumed, or the header where that is wrong */
    size_t count;
};

struct ns_http2_frames {
    struct ns_http2_frame frame;           /* from FRAME to END */
    uint8_t header[NS_HTTP2_HEADER_BYTES]; /* as it came, likewise */
    uint8_t header_bytes;
    uint8_t state;
    uint8_t pad_bytes;
    uint8_t control_bytes;                   /* kept */
    uint8_t control[NS_HTTP2_CONTROL_BYTES]; /* the beginning of a control frame's payload */
    uint8_t skip_bytes;                      /* before the content */
    uint32_t left;                           /* of the payload */
    uint32_t block_stream; /* whose header block goes on with CONTINUATION; 0: none */
};

/* All zeroes is the state at the start. Consumes bytes up to the next event; returns how many. */
size_t ns_http2_frames_feed(struct ns_http2_frames *frames, const uint8_t *bytes, size_t count,
                            struct ns_http2_input *input);

/* Between frames, and not within a header block: where a frame may be put in. */
bool ns_http2_frames_idle(const struct ns_http2_frames *frames);

/* What the SETTINGS frame that is complete says last of a setting; false where nothing (*value is
 * left), as in an acknowledgement. */
bool ns_http2_setting(const struct ns_http2_frames *frames, enum ns_http2_setting setting,
                      uint32_t *value);

/* Writes the header of a frame. */
void ns_http2_frame_write(uint8_t header[NS_HTTP2_HEADER_BYTES],
                          const struct ns_http2_frame *frame);

static inline uint32_t
ns_http2_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static inline void
ns_http2_u32_write(uint8_t *bytes, uint32_t value)
{
    bytes[0] = (uint8_t)(value >> 24);
    bytes[1] = (uint8_t)(value >> 16);
    bytes[2] = (uint8_t)(value >> 8);
    bytes[3] = (uint8_t)value;
}

#endif
