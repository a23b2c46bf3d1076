/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/money.h"

void
ns_buffer_free(struct ns_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct ns_buffer){0};
}

static bool
reserve(struct ns_buffer *buffer, size_t count)
{
    if (buffer->failed) {
        return false;
    }
    if (buffer->room - buffer->count >= count) {
        return true;
    }
    size_t room = buffer->room == 0 ? 1024 : buffer->room;
    while (room - buffer->count < count) {
        room *= 2;
    }
    uint8_t *bytes = realloc(buffer->bytes, room);
    if (bytes == NULL) {
        buffer->failed = true;
        return false;
    }
    buffer->bytes = bytes;
    buffer->room = room;
    return true;
}

void
ns_buffer_add(struct ns_buffer *buffer, const void *bytes, size_t count)
{
    if (count > 0 && reserve(buffer, count)) {
        memcpy(buffer->bytes + buffer->count, bytes, count);
        buffer->count += count;
    }
}

static void
add_number(struct ns_buffer *buffer, uint64_t value, size_t width)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < width; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    ns_buffer_add(buffer, bytes, width);
}

void
ns_buffer_add_u32(struct ns_buffer *buffer, uint32_t value)
{
    add_number(buffer, value, 4);
}

void
ns_buffer_add_u64(struct ns_buffer *buffer, uint64_t value)
{
    add_number(buffer, value, 8);
}

void
ns_buffer_print(struct ns_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int count = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (count < 0 || !reserve(buffer, (size_t)count + 1)) {
        return;
    }
    va_start(arguments, format);
    vsnprintf((char *)buffer->bytes + buffer->count, (size_t)count + 1, format, arguments);
    va_end(arguments);
    buffer->count += (size_t)count;
}

void
ns_buffer_json(struct ns_buffer *buffer, const char *text)
{
    ns_buffer_add(buffer, "\"", 1);
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') {
            ns_buffer_print(buffer, "\\%c", *at);
        } else if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            ns_buffer_print(buffer, "\\u%04x", (unsigned)(unsigned char)*at);
        } else {
            ns_buffer_add(buffer, at, 1);
        }
    }
    ns_buffer_add(buffer, "\"", 1);
}

void
ns_buffer_usd(struct ns_buffer *buffer, int64_t nanousd)
{
    char text[NS_MONEY_TEXT_BYTES];
    size_t count = ns_money_format(nanousd, text);
    ns_buffer_add(buffer, text, count);
}

const uint8_t *
ns_bytes_take(struct ns_bytes *bytes, size_t count)
{
    if (bytes->failed || count > bytes->left) {
        bytes->failed = true;
        return NULL;
    }
    const uint8_t *at = bytes->at;
    bytes->at += count;
    bytes->left -= count;
    return at;
}

static uint64_t
take_number(struct ns_bytes *bytes, size_t width)
{
    const uint8_t *at = ns_bytes_take(bytes, width);
    uint64_t value = 0;
    for (size_t i = 0; at != NULL && i < width; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

uint32_t
ns_bytes_u32(struct ns_bytes *bytes)
{
    return (uint32_t)take_number(bytes, 4);
}

uint64_t
ns_bytes_u64(struct ns_bytes *bytes)
{
    return take_number(bytes, 8);
}

const char *
ns_text_copy(struct ns_text text, char *into, size_t room)
{
    size_t count = text.bytes < room ? text.bytes : room - 1;
    if (count > 0) {
        memcpy(into, text.text, count);
    }
    into[count] = '\0';
    return into;
}
