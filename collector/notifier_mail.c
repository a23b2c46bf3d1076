/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/notifier_mail.h"

#include <errno.h>
#include <string.h>

/* A line with a coded word has at most 76 characters: "Subject: =?UTF-8?B?", 52 of base64, "?="
 * (RFC 2047, 2). */
#define WORD_BYTES 39
/* 76 characters of base64 (RFC 2045, 6.8). */
#define LINE_BYTES 57
#define PLAIN_SUBJECT_BYTES 200

void
ns_base64(const char *bytes, size_t count, struct ns_buffer *buffer)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *at = (const uint8_t *)bytes;
    for (size_t i = 0; i < count; i += 3) {
        size_t left = count - i;
        uint32_t value = (uint32_t)at[i] << 16 | (left > 1 ? (uint32_t)at[i + 1] << 8 : 0) |
                         (left > 2 ? at[i + 2] : 0);
        char four[4] = {digits[value >> 18], digits[value >> 12 & 63],
                        left > 1 ? digits[value >> 6 & 63] : '=',
                        left > 2 ? digits[value & 63] : '='};
        ns_buffer_add(buffer, four, sizeof four);
    }
}

static bool
is_plain(const char *text)
{
    size_t bytes = strlen(text);
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < ' ' || text[i] > '~') {
            return false;
        }
    }
    return bytes <= PLAIN_SUBJECT_BYTES && strstr(text, "=?") == NULL;
}

/* At most so many bytes, without cutting a character. */
static size_t
piece(const char *text, size_t most)
{
    size_t bytes = strnlen(text, most + 1);
    if (bytes <= most) {
        return bytes;
    }
    bytes = most;
    while (bytes > most - 4 && ((unsigned char)text[bytes] & 0xc0) == 0x80) {
        bytes--;
    }
    return bytes;
}

static void
add_subject(const char *subject, struct ns_buffer *buffer)
{
    if (is_plain(subject)) {
        ns_buffer_print(buffer, "Subject: %s\r\n", subject);
        return;
    }
    ns_buffer_print(buffer, "Subject:");
    for (const char *at = subject; *at != '\0';) {
        size_t bytes = piece(at, WORD_BYTES);
        ns_buffer_print(buffer, "%s =?UTF-8?B?", at == subject ? "" : "\r\n");
        ns_base64(at, bytes, buffer);
        ns_buffer_print(buffer, "?=");
        at += bytes;
    }
    ns_buffer_print(buffer, "\r\n");
}

/* Lines of a text end in \r\n (RFC 2045, 6.8), which base64 would keep as they are. */
static void
add_text(const char *text, struct ns_buffer *buffer)
{
    struct ns_buffer lines = {0};
    for (const char *at = text; *at != '\0';) {
        size_t bytes = strcspn(at, "\n");
        ns_buffer_add(&lines, at, bytes);
        ns_buffer_add(&lines, "\r\n", 2);
        at += bytes + (at[bytes] == '\n' ? 1 : 0);
    }
    for (size_t at = 0; at < lines.count; at += LINE_BYTES) {
        size_t left = lines.count - at;
        ns_base64((const char *)lines.bytes + at, left < LINE_BYTES ? left : LINE_BYTES, buffer);
        ns_buffer_print(buffer, "\r\n");
    }
    buffer->failed |= lines.failed;
    ns_buffer_free(&lines);
}

int
ns_mail_format(const struct ns_mail *mail, struct ns_buffer *buffer)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const char *at = strchr(mail->from, '@');
    struct tm date;
    if (at == NULL || !is_plain(mail->from) || strpbrk(mail->from, " ,;<>\"") != NULL) {
        return -EINVAL;
    }
    for (const char *c = mail->to; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~' || strchr(";<>\"", *c) != NULL) {
            return -EINVAL;
        }
    }
    gmtime_r(&mail->date, &date);
    ns_buffer_print(buffer, "Date: %s, %02d %s %d %02d:%02d:%02d +0000\r\n", days[date.tm_wday],
                    date.tm_mday, months[date.tm_mon], date.tm_year + 1900, date.tm_hour,
                    date.tm_min, date.tm_sec);
    /* A recipient a line: a line has at most 998 characters (RFC 5322, 2.1.1). */
    ns_buffer_print(buffer, "From: %s\r\nTo: ", mail->from);
    for (const char *c = mail->to; *c != '\0';) {
        size_t bytes = strcspn(c, ",");
        ns_buffer_add(buffer, c, bytes);
        c += bytes;
        if (*c == ',') {
            ns_buffer_print(buffer, ",\r\n");
            c++;
        }
    }
    ns_buffer_print(buffer, "\r\n");
    add_subject(mail->subject, buffer);
    ns_buffer_print(buffer,
                    "Message-ID: <%s%s>\r\n"
                    "Auto-Submitted: auto-generated\r\n"
                    "MIME-Version: 1.0\r\n"
                    "Content-Type: text/plain; charset=utf-8\r\n"
                    "Content-Transfer-Encoding: base64\r\n"
                    "\r\n",
                    mail->id, at);
    add_text(mail->text, buffer);
    return buffer->failed ? -ENOMEM : 0;
}
