/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/repeat.h"

#include <string.h>

#include "wire/json.h"

_Static_assert(NS_REPEAT_VALUES_MAX <= 32, "one bit a value");

/* --- comparing ------------------------------------------------------------------------------ */

/* The bytes of a string, quotes included, and of what it says; 0: it is none, has an escape by
 * number, or goes on elsewhere. */
static size_t
string_bytes(const uint8_t *bytes, size_t count, size_t *said)
{
    size_t i = 1;
    size_t escapes = 0;
    while (i < count && bytes[0] == '"') {
        i += ns_json_plain_run(bytes + i, count - i);
        if (i == count) {
            break;
        }
        if (bytes[i] == '"') {
            *said = i - 1 - escapes;
            return i + 1;
        }
        if (bytes[i] == '\\' && i + 1 < count && memchr("\"\\/bfnrt", bytes[i + 1], 8) != NULL) {
            escapes++;
            i += 2;
        } else if (bytes[i] >= 0x80) {
            i++;
        } else {
            break;
        }
    }
    return 0;
}

/* The same of an unsigned number without fraction. */
static size_t
number_bytes(const uint8_t *bytes, size_t count)
{
    size_t i = 0;
    while (i < count && bytes[i] >= '0' && bytes[i] <= '9') {
        i++;
    }
    return i == count || (i > 1 && bytes[0] == '0') ? 0 : i;
}

/* What differs here is not compared any more, if it may differ. */
static void
learn(struct ns_repeat *repeat, size_t at)
{
    for (uint32_t i = 0; i < repeat->value_count; i++) {
        const struct ns_repeat_value *value = &repeat->values[i];
        if (value->begin <= at && at <= value->end) {
            repeat->holes |= UINT32_C(1) << i;
        }
    }
}

static size_t
first_difference(const uint8_t *one, const uint8_t *other, size_t count)
{
    size_t i = 0;
    while (i < count && one[i] == other[i]) {
        i++;
    }
    return i;
}

size_t
ns_repeat_match(struct ns_repeat *repeat, const uint8_t *bytes, size_t count, uint64_t *text_bytes)
{
    size_t kept = 0; /* compared so far */
    size_t i = 0;
    uint32_t holes = repeat->holes;
    *text_bytes = 0;
    while (kept < repeat->bytes) {
        const struct ns_repeat_value *hole = &repeat->values[holes ? __builtin_ctz(holes) : 0];
        size_t same = (holes ? hole->begin : repeat->bytes) - kept;
        if (same > count - i) {
            return 0;
        }
        if (memcmp(repeat->event + kept, bytes + i, same) != 0) {
            learn(repeat, kept + first_difference(repeat->event + kept, bytes + i, same));
            return 0;
        }
        i += same;
        kept += same;
        if (holes == 0) {
            return i;
        }
        bool text = (repeat->texts & holes & -holes) != 0;
        bool string = text || repeat->event[kept] == '"';
        size_t said = 0;
        size_t length =
            string ? string_bytes(bytes + i, count - i, &said) : number_bytes(bytes + i, count - i);
        if (length == 0) {
            return 0;
        }
        *text_bytes += text ? said : 0;
        i += length;
        kept = hole->end;
        holes &= holes - 1;
    }
    return 0;
}

/* --- keeping -------------------------------------------------------------------------------- */

void
ns_repeat_begin(struct ns_repeat *repeat, const uint8_t *bytes)
{
    repeat->reading = bytes;
    repeat->bytes = 0;
    repeat->value_count = 0;
    repeat->texts = 0;
}

void
ns_repeat_spoil(struct ns_repeat *repeat)
{
    repeat->reading = NULL;
    repeat->bytes = 0;
}

void
ns_repeat_value(struct ns_repeat *repeat, const uint8_t *begin, const uint8_t *end, bool text)
{
    if (repeat->reading == NULL) {
        return;
    }
    if (repeat->value_count == NS_REPEAT_VALUES_MAX) {
        ns_repeat_spoil(repeat);
        return;
    }
    repeat->texts |= (uint32_t)text << repeat->value_count;
    repeat->values[repeat->value_count++] = (struct ns_repeat_value){
        .begin = (uint32_t)(begin - repeat->reading), .end = (uint32_t)(end - repeat->reading)};
}

/* Appends bytes of the event to what is kept. */
static bool
keep(struct ns_repeat *repeat, uint32_t begin, uint32_t end)
{
    size_t room = sizeof(repeat->event) - repeat->bytes;
    if (end - begin > room) {
        return false;
    }
    memcpy(repeat->event + repeat->bytes, repeat->reading + begin, end - begin);
    repeat->bytes = (uint16_t)(repeat->bytes + (end - begin));
    return true;
}

void
ns_repeat_end(struct ns_repeat *repeat, const uint8_t *end)
{
    if (repeat->reading == NULL) {
        return;
    }
    uint32_t from = 0; /* within the event */
    bool kept = true;
    for (uint32_t i = 0; i < repeat->value_count && kept; i++) {
        struct ns_repeat_value value = repeat->values[i];
        bool text = (repeat->texts >> i & 1) != 0;
        kept = keep(repeat, from, value.begin);
        repeat->values[i].begin = repeat->bytes;
        kept = kept && (text || keep(repeat, value.begin, value.end));
        repeat->values[i].end = repeat->bytes;
        from = value.end;
    }
    kept = kept && keep(repeat, from, (uint32_t)(end - repeat->reading));
    repeat->reading = NULL;
    repeat->bytes = kept ? repeat->bytes : 0;
    /* What differed before may again; no value here is a fact. */
    repeat->holes &= (uint32_t)((UINT64_C(1) << repeat->value_count) - 1);
    repeat->holes |= repeat->texts;
}
