/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams repeat themselves: an event is the one before it with another word in it. What was read
 * of an event is kept here, so that the next one need only be compared with it.
 *
 * Kept are the bytes of the last event that was read, from its first field to its blank line, and
 * where in them the values stand that may differ: texts, of which only the length is a fact, and
 * numbers and strings that are no facts at all. An event that is the same in all other bytes says
 * the same in all other facts. That is nothing new where telling a fact twice is telling it once
 * (ns_family's `repeats`); events that tell anything else are not kept. Between the event that is
 * kept and the one that is compared, all others were the same, so no fact was told another way.
 *
 * Values that are no facts are compared too, until they were seen to differ.
 */
#ifndef NS_WIRE_REPEAT_H
#define NS_WIRE_REPEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/limits.h"

struct ns_repeat_value {
    uint32_t begin, end; /* of the value: within the event, then within what is kept */
};

struct ns_repeat {
    uint16_t bytes;         /* kept; 0: none */
    uint8_t value_count;    /* that were found, in order */
    uint32_t texts;         /* which values are texts: they are not kept */
    uint32_t holes;         /* which values are not compared: texts, and what differed */
    const uint8_t *reading; /* first byte of the event that is being read; NULL: it is not kept */
    struct ns_repeat_value values[NS_REPEAT_VALUES_MAX];
    uint8_t event[NS_REPEAT_BYTES_MAX];
};

/* Is there an event to compare the next one with? */
static inline bool
ns_repeat_is_known(const struct ns_repeat *repeat)
{
    return repeat->bytes > 0;
}

/* Is what begins here the event again that is kept? Returns its bytes, and how many bytes of text
 * it has; 0 where it is not, or not all of it is here. */
size_t ns_repeat_match(struct ns_repeat *repeat, const uint8_t *bytes, size_t count,
                       uint64_t *text_bytes);

/* An event begins that is read. What is told about it until its end must lie within the bytes that
 * begin here. */
void ns_repeat_begin(struct ns_repeat *repeat, const uint8_t *bytes);

/* It has a string or an unsigned number here, quotes included, that is text or no fact. */
void ns_repeat_value(struct ns_repeat *repeat, const uint8_t *begin, const uint8_t *end, bool text);

/* Where the rest of it may be elsewhere, or it is not to be kept for what it says. */
void ns_repeat_spoil(struct ns_repeat *repeat);

/* It ends before this byte. */
void ns_repeat_end(struct ns_repeat *repeat, const uint8_t *end);

#endif
