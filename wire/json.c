/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/json.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/mem.h"

/* States are named after what is expected next. */
enum state {
    VALUE,         /* a value: at the top, after ':', after ',' in an array */
    VALUE_OR_END,  /* after '[' */
    KEY_OR_END,    /* after '{' */
    KEY,           /* after ',' in an object */
    COLON,         /* after a key */
    COMMA_OR_END,  /* after a value in a container */
    STRING,        /* the next byte of a key or string */
    ESCAPE,        /* after '\' */
    HEX,           /* one of the four digits after "\u" */
    LITERAL,       /* the rest of true, false or null */
    NUMBER,        /* the next byte of a number, or the one after it */
    DOCUMENT_DONE, /* nothing: DOCUMENT_END is owed */
    FAILED
};

/* Where in a number: the row is what was read, the column what comes; NOT is the number's end. */
enum { SIGN, ZERO, WHOLE, POINT, FRACTION, E, E_SIGN, EXPONENT, NUMBER_STATES, NOT = 0xff };
enum { C_ZERO, C_DIGIT, C_POINT, C_E, C_PLUS, C_MINUS, C_CLASSES };

static const uint8_t number_next[NUMBER_STATES][C_CLASSES] = {
    /* '0'     '1'-'9'   '.'    'e'  '+'     '-' */
    [SIGN] = {ZERO, WHOLE, NOT, NOT, NOT, NOT},
    [ZERO] = {NOT, NOT, POINT, E, NOT, NOT},
    [WHOLE] = {WHOLE, WHOLE, POINT, E, NOT, NOT},
    [POINT] = {FRACTION, FRACTION, NOT, NOT, NOT, NOT},
    [FRACTION] = {FRACTION, FRACTION, NOT, E, NOT, NOT},
    [E] = {EXPONENT, EXPONENT, NOT, NOT, E_SIGN, E_SIGN},
    [E_SIGN] = {EXPONENT, EXPONENT, NOT, NOT, NOT, NOT},
    [EXPONENT] = {EXPONENT, EXPONENT, NOT, NOT, NOT, NOT},
};

static const bool number_complete[NUMBER_STATES] = {
    [ZERO] = true, [WHOLE] = true, [FRACTION] = true, [EXPONENT] = true};

static const struct {
    const char *text;
    enum ns_json_event event;
} literals[] = {{"true", NS_JSON_TRUE}, {"false", NS_JSON_FALSE}, {"null", NS_JSON_NULL}};

struct ns_json {
    uint8_t state;
    bool in_key; /* STRING, ESCAPE, HEX: of a key */
    bool cut;
    uint8_t number;       /* NUMBER: row of number_next */
    uint8_t literal;      /* LITERAL: row of literals */
    uint8_t literal_done; /* and how many of its letters were read */
    uint8_t hex_done;
    uint8_t utf8_wanted; /* continuation bytes still to come */
    uint8_t utf8_seen;   /* bytes of the unfinished sequence */
    uint8_t utf8_low;    /* bounds of the next continuation byte */
    uint8_t utf8_high;   /* " */
    uint16_t hex;        /* HEX: the digits so far */
    uint16_t high;       /* a high surrogate that waits for its low one, or 0 */
    uint32_t depth;      /* containers open */
    uint32_t text_bytes; /* kept in text */
    uint64_t text_total; /* decoded so far */
    uint64_t bad_utf8;
    uint64_t objects[NS_JSON_DEPTH_MAX / 64]; /* bit set: the container is an object */
    char text[NS_JSON_TEXT_BYTES_MAX];
};

_Static_assert(NS_JSON_DEPTH_MAX % 64 == 0, "one bit a level");
_Static_assert(NS_JSON_KEY_BYTES_MAX <= NS_JSON_TEXT_BYTES_MAX, "keys share the text's buffer");

struct ns_json *
ns_json_new(void)
{
    return ns_mem_alloc(sizeof(struct ns_json));
}

void
ns_json_free(struct ns_json *json)
{
    ns_mem_free(json);
}

void
ns_json_reset(struct ns_json *json)
{
    /* The text needs no clearing; text_bytes bounds it. */
    memset(json, 0, offsetof(struct ns_json, text));
}

uint64_t
ns_json_bad_utf8(const struct ns_json *json)
{
    return json->bad_utf8;
}

/* --- text ---------------------------------------------------------------------------------- */

static void
text_begin(struct ns_json *json)
{
    json->text_bytes = 0;
    json->text_total = 0;
    json->cut = false;
}

static void
text_add(struct ns_json *json, const void *bytes, size_t count)
{
    size_t bound = json->in_key ? NS_JSON_KEY_BYTES_MAX : NS_JSON_TEXT_BYTES_MAX;
    size_t room = bound - json->text_bytes;
    size_t kept = count < room ? count : room;
    if (kept > 0) {
        memcpy(json->text + json->text_bytes, bytes, kept);
        json->text_bytes += (uint32_t)kept;
    }
    json->cut |= kept < count;
    json->text_total += count;
}

static void
text_add_code_point(struct ns_json *json, uint32_t code)
{
    uint8_t utf8[4];
    size_t count;
    if (code < 0x80) {
        utf8[0] = (uint8_t)code;
        count = 1;
    } else if (code < 0x800) {
        utf8[0] = (uint8_t)(0xc0 | code >> 6);
        utf8[1] = (uint8_t)(0x80 | (code & 0x3f));
        count = 2;
    } else if (code < 0x10000) {
        utf8[0] = (uint8_t)(0xe0 | code >> 12);
        utf8[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        utf8[2] = (uint8_t)(0x80 | (code & 0x3f));
        count = 3;
    } else {
        utf8[0] = (uint8_t)(0xf0 | code >> 18);
        utf8[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
        utf8[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        utf8[3] = (uint8_t)(0x80 | (code & 0x3f));
        count = 4;
    }
    text_add(json, utf8, count);
}

/* A high surrogate whose low one did not come. */
static void
drop_high(struct ns_json *json)
{
    if (json->high) {
        json->high = 0;
        text_add_code_point(json, 0xfffd);
    }
}

/* A UTF-8 sequence whose rest did not come. */
static void
drop_utf8(struct ns_json *json)
{
    json->bad_utf8 += json->utf8_seen;
    json->utf8_seen = 0;
    json->utf8_wanted = 0;
}

/* A byte above 0x7f: the table of well-formed sequences, Unicode 3.9, D92. */
static void
count_utf8(struct ns_json *json, uint8_t byte)
{
    if (json->utf8_wanted) {
        if (byte >= json->utf8_low && byte <= json->utf8_high) {
            json->utf8_low = 0x80;
            json->utf8_high = 0xbf;
            json->utf8_seen++;
            if (--json->utf8_wanted == 0) {
                json->utf8_seen = 0;
            }
            return;
        }
        drop_utf8(json);
    }
    if (byte < 0xc2 || byte > 0xf4) {
        json->bad_utf8++;
        return;
    }
    json->utf8_seen = 1;
    json->utf8_wanted = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    json->utf8_low = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    json->utf8_high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
}

static bool
is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

size_t
ns_json_plain_run(const uint8_t *bytes, size_t count)
{
    size_t i = 0;
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i space = _mm_set1_epi8(0x20);
    for (; count - i >= 16; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(bytes + i));
        /* Signed: bytes above 0x7f are below a space too. */
        __m128i other =
            _mm_or_si128(_mm_cmplt_epi8(v, space),
                         _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash)));
        unsigned mask = (unsigned)_mm_movemask_epi8(other);
        if (mask != 0) {
            return i + (size_t)__builtin_ctz(mask);
        }
    }
#else
    const uint64_t ones = 0x0101010101010101u;
    const uint64_t tops = 0x8080808080808080u;
    for (; count - i >= 8; i += 8) {
        uint64_t v;
        memcpy(&v, bytes + i, 8);
        uint64_t quote = v ^ ones * '"';
        uint64_t backslash = v ^ ones * '\\';
        /* A borrow can only make the word look special too often: the loop below decides. */
        if (((v - ones * 0x20) | (quote - ones) | (backslash - ones) | v) & tops) {
            break;
        }
    }
#endif
    while (i < count && is_plain(bytes[i])) {
        i++;
    }
    return i;
}

/* --- structure ----------------------------------------------------------------------------- */

static bool
in_object(const struct ns_json *json)
{
    uint32_t level = json->depth - 1;
    return json->objects[level / 64] >> (level % 64) & 1;
}

static enum ns_json_event
fail(struct ns_json *json)
{
    json->state = FAILED;
    return NS_JSON_ERROR;
}

/* What is expected after a value. */
static uint8_t
after_value(const struct ns_json *json)
{
    return json->depth == 0 ? DOCUMENT_DONE : COMMA_OR_END;
}

static enum ns_json_event
begin(struct ns_json *json, bool object)
{
    if (json->depth == NS_JSON_DEPTH_MAX) {
        return fail(json);
    }
    uint64_t bit = UINT64_C(1) << (json->depth % 64);
    uint64_t *word = &json->objects[json->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    json->depth++;
    json->state = object ? KEY_OR_END : VALUE_OR_END;
    return object ? NS_JSON_OBJECT_BEGIN : NS_JSON_ARRAY_BEGIN;
}

/* The caller reports the depth before it calls. */
static enum ns_json_event
end(struct ns_json *json, bool object)
{
    if (in_object(json) != object) {
        return fail(json);
    }
    json->depth--;
    json->state = after_value(json);
    return object ? NS_JSON_OBJECT_END : NS_JSON_ARRAY_END;
}

static void
begin_string(struct ns_json *json, bool key)
{
    text_begin(json);
    json->in_key = key;
    json->state = STRING;
}

static void
begin_number(struct ns_json *json, uint8_t byte)
{
    text_begin(json);
    json->in_key = false;
    text_add(json, &byte, 1);
    json->number = byte == '-' ? SIGN : byte == '0' ? ZERO : WHOLE;
    json->state = NUMBER;
}

static enum ns_json_event
begin_value(struct ns_json *json, uint8_t byte)
{
    switch (byte) {
    case '{':
        return begin(json, true);
    case '[':
        return begin(json, false);
    case '"':
        begin_string(json, false);
        return NS_JSON_MORE;
    case 't':
    case 'f':
    case 'n':
        json->literal = byte == 't' ? 0 : byte == 'f' ? 1 : 2;
        json->literal_done = 1;
        json->state = LITERAL;
        return NS_JSON_MORE;
    default:
        if (byte == '-' || (byte >= '0' && byte <= '9')) {
            begin_number(json, byte);
            return NS_JSON_MORE;
        }
        return fail(json);
    }
}

/* One byte between tokens that is no blank. */
static enum ns_json_event
structure(struct ns_json *json, uint8_t byte)
{
    switch (json->state) {
    case VALUE_OR_END:
        return byte == ']' ? end(json, false) : begin_value(json, byte);
    case KEY_OR_END:
        if (byte == '}') {
            return end(json, true);
        }
        /* fall through */
    case KEY:
        if (byte != '"') {
            return fail(json);
        }
        begin_string(json, true);
        return NS_JSON_MORE;
    case COLON:
        json->state = VALUE;
        return byte == ':' ? NS_JSON_MORE : fail(json);
    case COMMA_OR_END:
        if (byte == ',') {
            json->state = in_object(json) ? KEY : VALUE;
            return NS_JSON_MORE;
        }
        return byte == '}' || byte == ']' ? end(json, byte == '}') : fail(json);
    default:
        return begin_value(json, byte);
    }
}

/* --- tokens: each consumes what it can and says where its event is complete ------------------ */

static enum ns_json_event
end_string(struct ns_json *json)
{
    if (json->in_key) {
        json->state = COLON;
        return NS_JSON_KEY;
    }
    json->state = after_value(json);
    return NS_JSON_STRING;
}

static size_t
string(struct ns_json *json, const uint8_t *bytes, size_t count, enum ns_json_event *event)
{
    size_t i = 0;
    while (i < count) {
        uint8_t byte = bytes[i];
        if (byte >= 0x80) {
            drop_high(json);
            size_t start = i;
            do {
                count_utf8(json, bytes[i]);
                i++;
            } while (i < count && bytes[i] >= 0x80);
            text_add(json, bytes + start, i - start);
            continue;
        }
        if (json->utf8_wanted) {
            drop_utf8(json);
        }
        if (byte == '\\') {
            json->state = ESCAPE;
            return i + 1;
        }
        drop_high(json);
        if (byte == '"') {
            *event = end_string(json);
            return i + 1;
        }
        size_t run = ns_json_plain_run(bytes + i, count - i);
        if (run == 0) { /* a control character */
            *event = fail(json);
            return i;
        }
        text_add(json, bytes + i, run);
        i += run;
    }
    return count;
}

static enum ns_json_event
escape(struct ns_json *json, uint8_t byte)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    if (byte == 'u') {
        json->hex = 0;
        json->hex_done = 0;
        json->state = HEX;
        return NS_JSON_MORE;
    }
    const char *at = memchr(from, byte, sizeof(from) - 1);
    if (at == NULL) {
        return fail(json);
    }
    drop_high(json);
    text_add(json, &to[at - from], 1);
    json->state = STRING;
    return NS_JSON_MORE;
}

static void
end_hex(struct ns_json *json)
{
    uint32_t unit = json->hex;
    json->state = STRING;
    if (unit >= 0xdc00 && unit <= 0xdfff && json->high) {
        uint32_t code = 0x10000 + ((uint32_t)(json->high - 0xd800) << 10) + (unit - 0xdc00);
        json->high = 0;
        text_add_code_point(json, code);
        return;
    }
    drop_high(json);
    if (unit >= 0xd800 && unit <= 0xdbff) {
        json->high = (uint16_t)unit;
    } else {
        text_add_code_point(json, unit >= 0xdc00 && unit <= 0xdfff ? 0xfffd : unit);
    }
}

static enum ns_json_event
hex(struct ns_json *json, uint8_t byte)
{
    unsigned lower = byte | 0x20u;
    unsigned digit;
    if (byte >= '0' && byte <= '9') {
        digit = byte - (unsigned)'0';
    } else if (lower >= 'a' && lower <= 'f') {
        digit = lower - 'a' + 10;
    } else {
        return fail(json);
    }
    json->hex = (uint16_t)((unsigned)json->hex << 4 | digit);
    if (++json->hex_done == 4) {
        end_hex(json);
    }
    return NS_JSON_MORE;
}

static enum ns_json_event
literal(struct ns_json *json, uint8_t byte)
{
    const char *text = literals[json->literal].text;
    if (byte != (uint8_t)text[json->literal_done]) {
        return fail(json);
    }
    json->literal_done++;
    if (text[json->literal_done] != '\0') {
        return NS_JSON_MORE;
    }
    json->state = after_value(json);
    return literals[json->literal].event;
}

static uint8_t
number_step(uint8_t row, uint8_t byte)
{
    unsigned class;
    if (byte >= '0' && byte <= '9') {
        class = byte == '0' ? C_ZERO : C_DIGIT;
    } else {
        switch (byte) {
        case '.':
            class = C_POINT;
            break;
        case 'e':
        case 'E':
            class = C_E;
            break;
        case '+':
            class = C_PLUS;
            break;
        case '-':
            class = C_MINUS;
            break;
        default:
            return NOT;
        }
    }
    return number_next[row][class];
}

/* The byte after a number. "01", "1-2" and "1a" are no two values, not even at the top. */
static bool
ends_number(uint8_t byte)
{
    bool letter = (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z';
    bool digit = byte >= '0' && byte <= '9';
    return !letter && !digit && byte != '.' && byte != '+' && byte != '-';
}

/* The byte that ends a number is not consumed. */
static size_t
number(struct ns_json *json, const uint8_t *bytes, size_t count, enum ns_json_event *event)
{
    size_t i = 0;
    uint8_t row = json->number;
    while (i < count) {
        uint8_t next = number_step(row, bytes[i]);
        if (next == NOT) {
            break;
        }
        row = next;
        i++;
    }
    text_add(json, bytes, i);
    json->number = row;
    if (i < count) {
        if (!number_complete[row] || !ends_number(bytes[i])) {
            *event = fail(json);
        } else {
            json->state = after_value(json);
            *event = NS_JSON_NUMBER;
        }
    }
    return i;
}

/* --- the reader ---------------------------------------------------------------------------- */

static void
tell(const struct ns_json *json, enum ns_json_event event, uint32_t depth,
     struct ns_json_input *input)
{
    *input = (struct ns_json_input){.event = event, .depth = depth};
    if (event == NS_JSON_KEY || event == NS_JSON_STRING || event == NS_JSON_NUMBER) {
        input->text = json->text;
        input->text_bytes = json->text_bytes;
        input->text_bytes_total = json->text_total;
        input->cut = json->cut;
    }
}

/* Consumes at least one byte, or fails, or ends a number before the byte that is not its own. */
static size_t
step(struct ns_json *json, const uint8_t *bytes, size_t count, enum ns_json_event *event)
{
    switch (json->state) {
    case STRING:
        return string(json, bytes, count, event);
    case NUMBER:
        return number(json, bytes, count, event);
    case ESCAPE:
        *event = escape(json, bytes[0]);
        return 1;
    case HEX:
        *event = hex(json, bytes[0]);
        return 1;
    case LITERAL:
        *event = literal(json, bytes[0]);
        return 1;
    default:
        break;
    }
    size_t i = 0;
    while (i < count &&
           (bytes[i] == ' ' || bytes[i] == '\n' || bytes[i] == '\r' || bytes[i] == '\t')) {
        i++;
    }
    if (i < count) {
        *event = structure(json, bytes[i]);
        i++;
    }
    return i;
}

size_t
ns_json_feed(struct ns_json *json, const uint8_t *bytes, size_t count, struct ns_json_input *input)
{
    enum ns_json_event event = NS_JSON_MORE;
    uint32_t depth = json->depth;
    size_t i = 0;
    if (json->state == FAILED) {
        event = NS_JSON_ERROR;
    } else if (json->state == DOCUMENT_DONE) {
        json->state = VALUE;
        event = NS_JSON_DOCUMENT_END;
    }
    while (event == NS_JSON_MORE && i < count) {
        i += step(json, bytes + i, count - i, &event);
    }
    if (event == NS_JSON_OBJECT_BEGIN || event == NS_JSON_ARRAY_BEGIN) {
        depth = json->depth;
    }
    tell(json, event, depth, input);
    return i;
}

enum ns_json_event
ns_json_close(struct ns_json *json, struct ns_json_input *input)
{
    enum ns_json_event event = NS_JSON_MORE;
    if (json->state == NUMBER && json->depth == 0 && number_complete[json->number]) {
        json->state = DOCUMENT_DONE;
        event = NS_JSON_NUMBER;
    } else if (json->state == DOCUMENT_DONE) {
        json->state = VALUE;
        event = NS_JSON_DOCUMENT_END;
    } else if (json->state != VALUE || json->depth != 0) {
        event = fail(json);
    }
    tell(json, event, json->depth, input);
    return event;
}
