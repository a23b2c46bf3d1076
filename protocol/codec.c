/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoder and decoder of every message, driven by one table of fields a message that is made from
 * protocol/schema.h. docs/protocol.md describes the bytes.
 *
 * One message has one encoding: fields ascend by tag, a required field is always there, an optional
 * one only where it is not zero or empty, numbers have their full width, truth is 0 or 1. So a
 * decoded message encodes to the bytes it came from (unknown fields aside), and what does not is
 * refused.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/utf8.h"
#include "protocol/protocol.h"

#define HEAD_BYTES 4       /* 'N' 'S' version kind */
#define FIELD_HEAD_BYTES 5 /* tag u8, size u32 */
#define TAG_UNKNOWN_FIRST 128
#define TAG_KEY_BYTES_MAX 64
#define TAG_VALUE_BYTES_MAX 256
#define PART_MODEL_BYTES_MAX 192
#define COUNT_NAME_BYTES_MAX 64

enum need { OPTIONAL, REQUIRED };

enum type {
    TYPE_u8,
    TYPE_u32,
    TYPE_u64,
    TYPE_i64,
    TYPE_bool,
    TYPE_uuid,
    TYPE_hash16,
    TYPE_text,
    TYPE_usage,
    TYPE_tags,
    TYPE_parts,
    TYPE_counts,
    TYPE_COUNT
};

struct field {
    uint8_t tag;
    uint8_t type;
    uint8_t need;
    uint32_t offset; /* in the message's struct */
    uint64_t max;
    const char *name;
};

struct layout {
    const struct field *fields;
    size_t field_count;
    size_t struct_bytes;
};

/* One function a message, so that "message" can be another struct in each table. */
#define FIELD(tag, name, type, need, max)                                                          \
    {tag, TYPE_##type, need, (uint32_t)offsetof(message, name), max, #name},
#define X(KIND, kind)                                                                              \
    static struct layout kind##_layout(void)                                                       \
    {                                                                                              \
        typedef struct ns_##kind message;                                                          \
        static const struct field fields[] = {NS_FIELDS_##KIND(FIELD)};                            \
        return (struct layout){fields, sizeof fields / sizeof fields[0], sizeof(message)};         \
    }
NS_MESSAGES(X)
#undef X

static struct layout
layout_of(enum ns_message_kind kind)
{
    switch (kind) {
#define X(KIND, kind)                                                                              \
    case NS_MESSAGE_##KIND:                                                                        \
        return kind##_layout();
        NS_MESSAGES(X)
#undef X
    case NS_MESSAGE_NONE:
    case NS_MESSAGE_COUNT:
        break;
    }
    return (struct layout){NULL, 0, 0};
}

/* --- writing ---------------------------------------------------------------------------------- */

struct writer {
    uint8_t *at;
    size_t left;
    int error; /* first one; sticks */
};

static void
put(struct writer *writer, const void *bytes, size_t count)
{
    if (writer->error == 0 && count > writer->left) {
        writer->error = -ENOSPC;
    }
    if (writer->error != 0 || count == 0) {
        return;
    }
    memcpy(writer->at, bytes, count);
    writer->at += count;
    writer->left -= count;
}

static void
put_number(struct writer *writer, uint64_t value, size_t width)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < width; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    put(writer, bytes, width);
}

static void
put_text(struct writer *writer, const struct ns_text *text, size_t bytes_max)
{
    if (text->bytes > bytes_max || !ns_utf8_is_text(text->text, text->bytes)) {
        writer->error = writer->error != 0 ? writer->error : -EINVAL;
        return;
    }
    put(writer, text->text, text->bytes);
}

/* A text inside a composite: its size goes before it. */
static void
put_sized_text(struct writer *writer, const struct ns_text *text, size_t bytes_max)
{
    put_number(writer, text->bytes, 2);
    put_text(writer, text, bytes_max);
}

static void
put_usage(struct writer *writer, const struct ns_usage *usage)
{
    if ((usage->present >> NS_METER_COUNT) != 0) {
        writer->error = writer->error != 0 ? writer->error : -EINVAL;
        return;
    }
    put_number(writer, usage->present, 8);
    for (int m = 0; m < NS_METER_COUNT; m++) {
        if (usage->present >> m & 1) {
            put_number(writer, usage->count[m], 8);
        }
    }
}

static void
put_tags(struct writer *writer, const struct ns_tags *tags)
{
    if (tags->count > NS_PROTOCOL_TAGS_MAX) {
        writer->error = writer->error != 0 ? writer->error : -EINVAL;
        return;
    }
    put_number(writer, tags->count, 1);
    for (uint32_t i = 0; i < tags->count; i++) {
        if (tags->tag[i].key.bytes == 0) {
            writer->error = writer->error != 0 ? writer->error : -EINVAL;
        }
        put_sized_text(writer, &tags->tag[i].key, TAG_KEY_BYTES_MAX);
        put_sized_text(writer, &tags->tag[i].value, TAG_VALUE_BYTES_MAX);
    }
}

static void
put_parts(struct writer *writer, const struct ns_parts *parts)
{
    if (parts->count > NS_PROTOCOL_PARTS_MAX) {
        writer->error = writer->error != 0 ? writer->error : -EINVAL;
        return;
    }
    put_number(writer, parts->count, 1);
    for (uint32_t i = 0; i < parts->count; i++) {
        put_sized_text(writer, &parts->part[i].model, PART_MODEL_BYTES_MAX);
        put_usage(writer, &parts->part[i].usage);
    }
}

static void
put_counts(struct writer *writer, const struct ns_counts *counts)
{
    if (counts->count > NS_PROTOCOL_COUNTS_MAX) {
        writer->error = writer->error != 0 ? writer->error : -EINVAL;
        return;
    }
    put_number(writer, counts->count, 1);
    for (uint32_t i = 0; i < counts->count; i++) {
        if (counts->row[i].name.bytes == 0) {
            writer->error = writer->error != 0 ? writer->error : -EINVAL;
        }
        put_sized_text(writer, &counts->row[i].name, COUNT_NAME_BYTES_MAX);
        put_number(writer, counts->row[i].count, 8);
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

struct reader {
    const uint8_t *at;
    size_t left;
    const char *why; /* the first rule that did not hold; NULL: all did */
};

static const uint8_t *
take(struct reader *reader, size_t count)
{
    if (reader->why != NULL || count > reader->left) {
        reader->why = reader->why != NULL ? reader->why : "shorter than it says";
        return NULL;
    }
    const uint8_t *bytes = reader->at;
    reader->at += count;
    reader->left -= count;
    return bytes;
}

static uint64_t
take_number(struct reader *reader, size_t width)
{
    const uint8_t *bytes = take(reader, width);
    uint64_t value = 0;
    for (size_t i = 0; bytes != NULL && i < width; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

static void
refuse(struct reader *reader, const char *why)
{
    if (reader->why == NULL) {
        reader->why = why;
    }
}

static struct ns_text
take_text(struct reader *reader, size_t bytes, size_t bytes_max)
{
    const uint8_t *text = take(reader, bytes);
    if (text == NULL) {
        return (struct ns_text){NULL, 0};
    }
    if (bytes > bytes_max) {
        refuse(reader, "text too long");
    } else if (!ns_utf8_is_text(text, bytes)) {
        refuse(reader, "text is not UTF-8 without control characters");
    }
    return (struct ns_text){(const char *)text, (uint32_t)bytes};
}

static struct ns_text
take_sized_text(struct reader *reader, size_t bytes_max)
{
    size_t bytes = (size_t)take_number(reader, 2);
    return take_text(reader, bytes, bytes_max);
}

static void
take_usage(struct reader *reader, struct ns_usage *usage)
{
    usage->present = take_number(reader, 8);
    if ((usage->present >> NS_METER_COUNT) != 0) {
        refuse(reader, "usage names a meter that is not known");
        return;
    }
    for (int m = 0; m < NS_METER_COUNT; m++) {
        if (usage->present >> m & 1) {
            usage->count[m] = take_number(reader, 8);
        }
    }
}

static void
take_tags(struct reader *reader, struct ns_tags *tags)
{
    tags->count = (uint32_t)take_number(reader, 1);
    if (tags->count > NS_PROTOCOL_TAGS_MAX) {
        refuse(reader, "too many tags");
    }
    for (uint32_t i = 0; i < tags->count && reader->why == NULL; i++) {
        tags->tag[i].key = take_sized_text(reader, TAG_KEY_BYTES_MAX);
        tags->tag[i].value = take_sized_text(reader, TAG_VALUE_BYTES_MAX);
        if (tags->tag[i].key.bytes == 0) {
            refuse(reader, "tag without a key");
        }
    }
}

static void
take_parts(struct reader *reader, struct ns_parts *parts)
{
    parts->count = (uint32_t)take_number(reader, 1);
    if (parts->count > NS_PROTOCOL_PARTS_MAX) {
        refuse(reader, "too many parts");
    }
    for (uint32_t i = 0; i < parts->count && reader->why == NULL; i++) {
        parts->part[i].model = take_sized_text(reader, PART_MODEL_BYTES_MAX);
        take_usage(reader, &parts->part[i].usage);
    }
}

static void
take_counts(struct reader *reader, struct ns_counts *counts)
{
    counts->count = (uint32_t)take_number(reader, 1);
    if (counts->count > NS_PROTOCOL_COUNTS_MAX) {
        refuse(reader, "too many counts");
    }
    for (uint32_t i = 0; i < counts->count && reader->why == NULL; i++) {
        counts->row[i].name = take_sized_text(reader, COUNT_NAME_BYTES_MAX);
        counts->row[i].count = take_number(reader, 8);
        if (counts->row[i].name.bytes == 0) {
            refuse(reader, "a count without a name");
        }
    }
}

/* --- one field -------------------------------------------------------------------------------- */

/* Width on the wire of the types that have one; 0: it varies. */
static const uint8_t widths[TYPE_COUNT] = {
    [TYPE_u8] = 1,   [TYPE_u32] = 4,   [TYPE_u64] = 8,     [TYPE_i64] = 8,
    [TYPE_bool] = 1, [TYPE_uuid] = 16, [TYPE_hash16] = 16,
};

/* The value of a number, whatever its width; truth as 0 or 1. */
static uint64_t
load_number(enum type type, const void *value)
{
    switch (type) {
    case TYPE_u8:
        return *(const uint8_t *)value;
    case TYPE_u32:
        return *(const uint32_t *)value;
    case TYPE_bool:
        return *(const bool *)value ? 1 : 0;
    case TYPE_i64:
        return (uint64_t) * (const int64_t *)value;
    default:
        return *(const uint64_t *)value;
    }
}

static void
store_number(enum type type, void *value, uint64_t number)
{
    switch (type) {
    case TYPE_u8:
        *(uint8_t *)value = (uint8_t)number;
        break;
    case TYPE_u32:
        *(uint32_t *)value = (uint32_t)number;
        break;
    case TYPE_bool:
        *(bool *)value = number != 0;
        break;
    case TYPE_i64:
        *(int64_t *)value = (int64_t)number;
        break;
    default:
        *(uint64_t *)value = number;
        break;
    }
}

/* Zero, or empty: what an optional field that is not there decodes to. */
static bool
is_absent(const struct field *field, const void *value)
{
    static const uint8_t zeros[16];
    switch (field->type) {
    case TYPE_uuid:
    case TYPE_hash16:
        return memcmp(value, zeros, sizeof zeros) == 0;
    case TYPE_text:
        return ((const struct ns_text *)value)->bytes == 0;
    case TYPE_usage:
        return ((const struct ns_usage *)value)->present == 0;
    case TYPE_tags:
        return ((const struct ns_tags *)value)->count == 0;
    case TYPE_parts:
        return ((const struct ns_parts *)value)->count == 0;
    case TYPE_counts:
        return ((const struct ns_counts *)value)->count == 0;
    default:
        return load_number(field->type, value) == 0;
    }
}

static bool
is_in_range(const struct field *field, uint64_t number)
{
    uint64_t max = field->type == TYPE_bool ? 1 : field->max;
    return max == 0 || number <= max;
}

static void
encode_value(struct writer *writer, const struct field *field, const void *value)
{
    switch (field->type) {
    case TYPE_uuid:
    case TYPE_hash16:
        put(writer, value, 16);
        break;
    case TYPE_text:
        put_text(writer, value, (size_t)field->max);
        break;
    case TYPE_usage:
        put_usage(writer, value);
        break;
    case TYPE_tags:
        put_tags(writer, value);
        break;
    case TYPE_parts:
        put_parts(writer, value);
        break;
    case TYPE_counts:
        put_counts(writer, value);
        break;
    default:
        if (!is_in_range(field, load_number(field->type, value))) {
            writer->error = writer->error != 0 ? writer->error : -EINVAL;
        }
        put_number(writer, load_number(field->type, value), widths[field->type]);
        break;
    }
}

/* Reads a value that is all of the reader. */
static void
decode_value(struct reader *reader, const struct field *field, void *value)
{
    size_t width = widths[field->type];
    if (width != 0 && reader->left != width) {
        refuse(reader, field->name);
        return;
    }
    switch (field->type) {
    case TYPE_uuid:
    case TYPE_hash16:
        memcpy(value, take(reader, 16), 16);
        break;
    case TYPE_text:
        *(struct ns_text *)value = take_text(reader, reader->left, (size_t)field->max);
        break;
    case TYPE_usage:
        take_usage(reader, value);
        break;
    case TYPE_tags:
        take_tags(reader, value);
        break;
    case TYPE_parts:
        take_parts(reader, value);
        break;
    case TYPE_counts:
        take_counts(reader, value);
        break;
    default: {
        uint64_t number = take_number(reader, width);
        store_number(field->type, value, number);
        if (!is_in_range(field, number)) {
            refuse(reader, field->name);
        }
        break;
    }
    }
    if (reader->left != 0 || (field->need == OPTIONAL && is_absent(field, value))) {
        refuse(reader, field->name);
    }
}

/* --- messages --------------------------------------------------------------------------------- */

static void
encode_field(struct writer *writer, const struct field *field, const void *value)
{
    if (field->need == OPTIONAL && is_absent(field, value)) {
        return;
    }
    uint8_t *head = writer->at;
    put_number(writer, field->tag, 1);
    put_number(writer, 0, 4);
    uint8_t *body = writer->at;
    encode_value(writer, field, value);
    if (writer->error == 0) {
        struct writer size = {head + 1, 4, 0};
        put_number(&size, (uint64_t)(writer->at - body), 4);
    }
}

int
ns_message_encode(const struct ns_message *message, uint8_t *buffer, size_t buffer_bytes)
{
    struct layout layout = layout_of(message->kind);
    if (layout.fields == NULL) {
        return -EINVAL;
    }
    size_t bytes_max =
        message->kind == NS_MESSAGE_ANSWER ? NS_ANSWER_BYTES_MAX : NS_MESSAGE_BYTES_MAX;
    struct writer writer = {buffer, buffer_bytes, 0};
    const uint8_t head[HEAD_BYTES] = {'N', 'S', NS_PROTOCOL_VERSION, (uint8_t)message->kind};
    put(&writer, head, sizeof head);
    for (size_t i = 0; i < layout.field_count && writer.error == 0; i++) {
        const struct field *field = &layout.fields[i];
        encode_field(&writer, field, (const uint8_t *)&message->as + field->offset);
    }
    if (writer.error != 0) {
        return writer.error;
    }
    size_t count = (size_t)(writer.at - buffer);
    return count <= bytes_max ? (int)count : -EINVAL;
}

static const char *
decode_field(const struct field *field, const uint8_t *bytes, size_t count, void *message)
{
    struct reader reader = {bytes, count, NULL};
    decode_value(&reader, field, (uint8_t *)message + field->offset);
    return reader.why != NULL ? field->name : NULL;
}

/* Reads the fields of a message into its struct. Returns NULL or what is wrong. */
static const char *
decode_fields(struct reader *reader, const struct layout *layout, void *message)
{
    size_t next = 0; /* the first field that has not been passed */
    int previous_tag = 0;
    while (reader->left > 0) {
        int tag = (int)take_number(reader, 1);
        size_t size = (size_t)take_number(reader, 4);
        const uint8_t *value = take(reader, size);
        if (reader->why != NULL) {
            return reader->why;
        }
        if (tag <= previous_tag) {
            return "fields do not ascend";
        }
        previous_tag = tag;
        for (; next < layout->field_count && layout->fields[next].tag < tag; next++) {
            if (layout->fields[next].need == REQUIRED) {
                return layout->fields[next].name;
            }
        }
        if (next < layout->field_count && layout->fields[next].tag == tag) {
            const char *why = decode_field(&layout->fields[next++], value, size, message);
            if (why != NULL) {
                return why;
            }
        } else if (tag < TAG_UNKNOWN_FIRST) {
            return "a field that is not known";
        }
    }
    for (; next < layout->field_count; next++) {
        if (layout->fields[next].need == REQUIRED) {
            return layout->fields[next].name;
        }
    }
    return NULL;
}

int
ns_message_decode(const uint8_t *bytes, size_t count, struct ns_message *message, const char **why)
{
    message->kind = NS_MESSAGE_NONE;
    *why = "not a message";
    if (count < HEAD_BYTES || bytes[0] != 'N' || bytes[1] != 'S') {
        return -EBADMSG;
    }
    if (bytes[2] != NS_PROTOCOL_VERSION) {
        *why = "another version of the protocol";
        return -EPROTONOSUPPORT;
    }
    struct layout layout = layout_of(bytes[3]);
    if (layout.fields == NULL) {
        *why = "a kind that is not known";
        return -EBADMSG;
    }
    if (count > (bytes[3] == NS_MESSAGE_ANSWER ? NS_ANSWER_BYTES_MAX : NS_MESSAGE_BYTES_MAX)) {
        *why = "too long";
        return -EBADMSG;
    }
    memset(&message->as, 0, layout.struct_bytes);
    struct reader reader = {bytes + HEAD_BYTES, count - HEAD_BYTES, NULL};
    const char *wrong = decode_fields(&reader, &layout, &message->as);
    if (wrong != NULL) {
        *why = wrong;
        return -EBADMSG;
    }
    *why = "";
    message->kind = bytes[3];
    return 0;
}
