/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks that a push parser says the same however its input is split: whole, byte by byte, cut in
 * two at every place, and at random. A run writes what it hears into a trace; pieces of one body or
 * text are joined there. Each piece lies in a block of its own size, so that the sanitizers see a
 * read past its end.
 */
#ifndef NS_TESTS_UNIT_SPLITS_H
#define NS_TESTS_UNIT_SPLITS_H

#include <stdarg.h>

#include "tests/harness.h"

struct trace {
    char *bytes;
    size_t count;
    size_t capacity;
    char open; /* the tag of the data that may go on */
};

struct pieces {
    const uint8_t *bytes;
    size_t count;
    size_t at;
    size_t cut;     /* one cut here, or 0 */
    size_t at_most; /* pieces of this many bytes, or 0 */
    bool random;    /* of 0 to at_most bytes */
    uint8_t *block; /* the piece */
};

/* Feeds all pieces to a parser of its own and writes down what it says. */
typedef void run_fn(const void *context, struct pieces *pieces, struct trace *trace);

static inline void
trace_bytes(struct trace *trace, const void *bytes, size_t count)
{
    if (trace->count + count + 1 > trace->capacity) {
        trace->capacity = (trace->count + count + 1) * 2;
        trace->bytes = realloc(trace->bytes, trace->capacity);
        if (trace->bytes == NULL) {
            abort();
        }
    }
    if (count > 0) {
        memcpy(trace->bytes + trace->count, bytes, count);
    }
    trace->count += count;
    trace->bytes[trace->count] = '\0';
}

__attribute__((format(printf, 2, 3))) static inline void
trace_event(struct trace *trace, const char *format, ...)
{
    char text[256];
    va_list list;
    va_start(list, format);
    int bytes = vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    trace->open = '\0';
    trace_bytes(trace, text, bytes < 0 ? 0 : (size_t)bytes);
}

/* A piece of data; it joins the one before where nothing came between. */
static inline void
trace_data(struct trace *trace, char tag, const void *bytes, size_t count)
{
    if (trace->open != tag) {
        char begin[2] = {tag, '='};
        trace_bytes(trace, begin, 2);
        trace->open = tag;
    }
    trace_bytes(trace, bytes, count);
}

static inline void
trace_clear(struct trace *trace)
{
    free(trace->bytes);
    *trace = (struct trace){.bytes = NULL};
}

/* The next piece, valid until the next call; false at the end. */
static inline bool
next_piece(struct pieces *pieces, const uint8_t **bytes, size_t *count)
{
    free(pieces->block);
    pieces->block = NULL;
    size_t left = pieces->count - pieces->at;
    if (left == 0) {
        return false;
    }
    size_t n = left;
    if (pieces->random) {
        n = (size_t)(ns_test_random() % (pieces->at_most + 1));
    } else if (pieces->at_most > 0) {
        n = pieces->at_most;
    } else if (pieces->at < pieces->cut) {
        n = pieces->cut - pieces->at;
    }
    n = n < left ? n : left;
    pieces->block = malloc(n > 0 ? n : 1);
    if (pieces->block == NULL) {
        abort();
    }
    memcpy(pieces->block, pieces->bytes + pieces->at, n);
    *bytes = pieces->block;
    *count = n;
    pieces->at += n;
    return true;
}

static inline void
check_split(run_fn *run, const void *context, struct pieces pieces, const struct trace *whole)
{
    struct trace trace = {.bytes = NULL};
    size_t cut = pieces.cut, at_most = pieces.at_most;
    run(context, &pieces, &trace);
    if (trace.count != whole->count ||
        (trace.count > 0 && memcmp(trace.bytes, whole->bytes, trace.count) != 0)) {
        NS_FAIL("cut at %zu, pieces of %zu: \"%.300s\" instead of \"%.300s\"", cut, at_most,
                trace.bytes ? trace.bytes : "", whole->bytes ? whole->bytes : "");
    }
    free(pieces.block);
    trace_clear(&trace);
}

/* Leaves the trace of the whole in *whole, for trace_clear. */
static inline void
check_splits(run_fn *run, const void *context, const void *bytes, size_t count, struct trace *whole)
{
    struct pieces pieces = {.bytes = bytes, .count = count};
    *whole = (struct trace){.bytes = NULL};
    run(context, &pieces, whole);
    free(pieces.block);
    trace_bytes(whole, "", 0);
    pieces = (struct pieces){.bytes = bytes, .count = count, .at_most = 1};
    check_split(run, context, pieces, whole);
    /* Every cut of what is short; of the rest, those near both ends and some between. */
    for (size_t cut = 1; cut < count; cut++) {
        if (count > 1500 && cut == 300) {
            for (int i = 0; i < 100; i++) {
                pieces.cut = 1 + (size_t)(ns_test_random() % (count - 1));
                pieces.at_most = 0;
                check_split(run, context, pieces, whole);
            }
            cut = count - 300;
        }
        pieces = (struct pieces){.bytes = bytes, .count = count, .cut = cut};
        check_split(run, context, pieces, whole);
    }
    for (size_t i = 0; i < 30; i++) {
        pieces = (struct pieces){
            .bytes = bytes, .count = count, .at_most = 1 + i * i * count / 900, .random = true};
        check_split(run, context, pieces, whole);
    }
}

#endif
