/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of wire/, with its reason. Each is tested at the limit and one past it. */
#ifndef NS_WIRE_LIMITS_H
#define NS_WIRE_LIMITS_H

/* Request line and headers of one message. Servers commonly allow 8 to 64 KiB. */
#define NS_HEAD_BYTES_MAX 65536

/* Header lines of one message; nginx and Node stop near 100 and 2000. */
#define NS_HEADERS_MAX 256

/* The line of a chunk: 16 hex digits and extensions that nobody uses. */
#define NS_CHUNK_LINE_BYTES_MAX 256

/* Trailers of a chunked message. */
#define NS_TRAILER_BYTES_MAX 8192

/* How far a JSON document may nest; a deeper one is an error. RFC 8259 leaves it open, Python stops
 * near 1000. */
#define NS_JSON_DEPTH_MAX 512

/* A JSON object key longer than this cannot be one of ours. */
#define NS_JSON_KEY_BYTES_MAX 128

/* What of a scalar is kept: the longest fact is a model name or a tag value. */
#define NS_JSON_TEXT_BYTES_MAX 512

/* One field of one SSE event ("data: …") is streamed, never kept; only its name is. */
#define NS_SSE_FIELD_BYTES_MAX 64

/* One message of an AWS event stream, as botocore bounds it, and what is kept of one header. */
#define NS_EVENT_STREAM_HEADER_BYTES_MAX (128 << 10)
#define NS_EVENT_STREAM_PAYLOAD_BYTES_MAX (24 << 20)
#define NS_EVENT_STREAM_TEXT_BYTES_MAX 32

/* What is decoded at once of the base64 in a message. */
#define NS_EVENT_BYTES_ROOM 768

/* What is kept of an event to compare the next one with, its texts left out, and how many of its
 * values may differ. Those of long streams have some 400 bytes and ten values. */
#define NS_REPEAT_BYTES_MAX 640
#define NS_REPEAT_VALUES_MAX 24

/* An event that is longer without telling what it is is not the chunk that tells the usage, which
 * has some 700 bytes. */
#define NS_USAGE_EVENT_BYTES_MAX 8192

/* Bytes that are still owed where an answer is cut, at most: of a longer chunk, or Content-Length,
 * the connection just ends. */
#define NS_CUT_PADDING_BYTES_MAX 65536

/* Requests outstanding on one HTTP/1.1 connection (pipelining). */
#define NS_EXCHANGES_MAX 64

/* HPACK's table of one direction: what its encoder may make it, whatever the peers agreed on. The
 * default is 4096; browsers and large proxies ask for 65536. */
#define NS_HTTP2_TABLE_BYTES_MAX (1 << 20)

/* A coded body may not grow by more than this factor once it has made NS_CODING_FREE_BYTES:
 * DEFLATE's own limit is 1032. */
#define NS_CODING_GROWTH_MAX 1100
#define NS_CODING_FREE_BYTES (1 << 20)

/* Stacked content codings ("gzip, br"). */
#define NS_CODINGS_MAX 2

/* zstd window: 8 MiB is what RFC 8878 asks every decoder to support. */
#define NS_ZSTD_WINDOW_LOG_MAX 23

/* NULLSPEND_PROVIDERS: how many hosts a process may add. */
#define NS_EXTRA_HOSTS_MAX 32

/* Text facts of a call. */
#define NS_HOST_BYTES_MAX 256
#define NS_MODEL_BYTES_MAX 192
#define NS_WORD_BYTES_MAX 32 /* tier, speed, region, operation */
#define NS_TOOLS_BYTES_MAX 256
#define NS_ID_BYTES_MAX 128 /* response id, customer, agent, feature, session */
#define NS_TAGS_MAX 16      /* tags of one call */
#define NS_TAG_KEY_BYTES_MAX 64
#define NS_TAG_VALUE_BYTES_MAX 256

/* Header lines removed from one request, those side by side as one: as many as a head can hold, so
 * that none ever leaves. */
#define NS_STRIP_RANGES_MAX (NS_HEADERS_MAX / 2)

/* How deep the paths of facts reach; deeper values are no facts. */
#define NS_FACTS_DEPTH_MAX 16

/* Rules of one table of facts: their set is a 64-bit mask. */
#define NS_FACTS_RULES_MAX 64

/* Room for the keys of the paths of a table, a power of two; half of it is used at most. */
#define NS_FACTS_KEYS_MAX 128

/* The path of a request target, decoded: longer ones are no calls of ours. */
#define NS_PATH_BYTES_MAX 2048

#endif
