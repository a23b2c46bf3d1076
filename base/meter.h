/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The units in which providers bill, and one call's usage counted in them.
 *
 * A usage is a vector of disjoint classes: every token or unit is counted in exactly one meter
 * (`output_tokens` is without reasoning, audio and images; `input_tokens` is uncached text input).
 * The names are those of the price catalogue and of the `usage` column, so they never change.
 */
#ifndef NS_BASE_METER_H
#define NS_BASE_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(enumerator, name). The order is the wire order of the protocol: append only. */
#define NS_METERS(X)                                                                               \
    X(INPUT, "input_tokens")                                                                       \
    X(CACHE_READ, "cache_read_tokens")                                                             \
    X(CACHE_WRITE, "cache_write_tokens")                                                           \
    X(CACHE_WRITE_1H, "cache_write_1h_tokens")                                                     \
    X(OUTPUT, "output_tokens")                                                                     \
    X(OUTPUT_REASONING, "output_reasoning_tokens")                                                 \
    X(INPUT_AUDIO, "input_audio_tokens")                                                           \
    X(CACHE_AUDIO_READ, "cache_audio_read_tokens")                                                 \
    X(OUTPUT_AUDIO, "output_audio_tokens")                                                         \
    X(INPUT_IMAGE, "input_image_tokens")                                                           \
    X(CACHE_IMAGE_READ, "cache_image_read_tokens")                                                 \
    X(OUTPUT_IMAGE, "output_image_tokens")                                                         \
    X(INPUT_VIDEO, "input_video_tokens")                                                           \
    X(CACHE_VIDEO_READ, "cache_video_read_tokens")                                                 \
    X(OUTPUT_VIDEO, "output_video_tokens")                                                         \
    X(OUTPUT_CITATION, "output_citation_tokens")                                                   \
    X(WEB_SEARCHES, "web_searches")                                                                \
    X(STORAGE_SEARCHES, "storage_searches")                                                        \
    X(SOCIAL_SEARCHES, "social_searches")                                                          \
    X(CODE_EXECUTIONS, "code_executions")                                                          \
    X(SEARCH_UNITS, "search_units")                                                                \
    X(REQUESTS, "requests")                                                                        \
    X(INPUT_DOCUMENT_PAGES, "input_document_pages")                                                \
    X(INPUT_ANNOTATED_DOCUMENT_PAGES, "input_annotated_document_pages")                            \
    X(AUDIO_SECONDS, "audio_seconds")                                                              \
    X(INPUT_AUDIO_SECONDS, "input_audio_seconds")                                                  \
    X(OUTPUT_AUDIO_SECONDS, "output_audio_seconds")                                                \
    X(INPUT_CHARACTERS, "input_characters")                                                        \
    X(INPUT_PIXELS, "input_pixels")                                                                \
    X(INPUT_TEXT_MESSAGES, "input_text_messages")                                                  \
    X(RERANK_SEARCHES, "rerank_searches")

enum ns_meter {
#define X(enumerator, name) NS_METER_##enumerator,
    NS_METERS(X)
#undef X
        NS_METER_COUNT
};

_Static_assert(NS_METER_COUNT <= 64, "the presence mask of a usage has 64 bits");

/* What one answer used. A meter that was not reported is absent, which is not the same as zero. */
struct ns_usage {
    uint64_t present; /* bit m set: count[m] was reported */
    uint64_t count[NS_METER_COUNT];
};

/* The name of a meter, as in the price catalogue; "?" for a value out of range. */
const char *ns_meter_name(enum ns_meter meter);

/* The meter of this name, or -1. name need not end in NUL. */
int ns_meter_find(const char *name, size_t name_bytes);

/* Sets one meter; an existing value is replaced. */
void ns_usage_set(struct ns_usage *usage, enum ns_meter meter, uint64_t count);

/* Adds to one meter, saturating at UINT64_MAX, and marks it present. */
void ns_usage_add(struct ns_usage *usage, enum ns_meter meter, uint64_t count);

/* Adds every meter that `more` has. */
void ns_usage_add_all(struct ns_usage *usage, const struct ns_usage *more);

/* The count of a meter, 0 where it is absent. */
uint64_t ns_usage_get(const struct ns_usage *usage, enum ns_meter meter);

bool ns_usage_has(const struct ns_usage *usage, enum ns_meter meter);

/* Bytes of text in a likely token, for what no provider reported. */
#define NS_TEXT_BYTES_PER_TOKEN 4

static inline uint64_t
ns_text_tokens(uint64_t text_bytes)
{
    return text_bytes / NS_TEXT_BYTES_PER_TOKEN + (text_bytes % NS_TEXT_BYTES_PER_TOKEN != 0);
}

/* The four sums that the columns of `calls` show, each saturating: all uncached input, all cache
 * reads, all cache writes, all output (reasoning, audio and images included). Tokens only. */
uint64_t ns_usage_input_tokens(const struct ns_usage *usage);
uint64_t ns_usage_cached_input_tokens(const struct ns_usage *usage);
uint64_t ns_usage_cache_write_tokens(const struct ns_usage *usage);
uint64_t ns_usage_output_tokens(const struct ns_usage *usage);

/* Output of an answer that is still running: what was told, and the text that has come since,
 * saturating at UINT64_MAX. */
uint64_t ns_usage_output_so_far(const struct ns_usage *usage, uint64_t text_bytes);

#endif
