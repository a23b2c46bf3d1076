/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/client_hello.h"

#include <string.h>

#define RECORD_HEAD_BYTES 5
#define RECORD_BYTES_MAX 16384 /* RFC 8446, 5.1: a plaintext fragment */
#define TYPE_HANDSHAKE 22
#define MESSAGE_CLIENT_HELLO 1
#define RANDOM_BYTES 32
#define SESSION_ID_BYTES_MAX 32
#define EXTENSION_SERVER_NAME 0
#define EXTENSION_ENCRYPTED_CLIENT_HELLO 0xfe0d
#define NAME_TYPE_HOST 0

/* What is left of something whose length is known, of which not all may be there. */
struct part {
    const uint8_t *at;
    size_t there; /* bytes that have come */
    size_t whole; /* bytes that it has */
    bool wrong;
};

static bool
has(struct part *part, size_t bytes)
{
    part->wrong = part->wrong || bytes > part->whole;
    return !part->wrong && bytes <= part->there;
}

static void
skip(struct part *part, size_t bytes)
{
    size_t there = bytes < part->there ? bytes : part->there;
    part->at += there;
    part->there -= there;
    part->whole -= bytes;
}

/* A number; 0 where it has not come, and nothing is there then any more. */
static size_t
number(struct part *part, size_t width)
{
    size_t value = 0;
    if (!has(part, width)) {
        part->there = 0;
        return 0;
    }
    for (size_t i = 0; i < width; i++) {
        value = value << 8 | part->at[i];
    }
    skip(part, width);
    return value;
}

/* A vector, which its length stands before. */
static struct part
vector(struct part *part, size_t width)
{
    bool came = has(part, width);
    size_t whole = number(part, width);
    struct part inner = {part->at, 0, 0, false};
    if (whole > part->whole) {
        part->wrong = true;
    }
    if (!came || part->wrong) {
        return inner;
    }
    inner.there = whole < part->there ? whole : part->there;
    inner.whole = whole;
    skip(part, whole);
    return inner;
}

static bool
is_name(const uint8_t *name, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (name[i] <= ' ' || name[i] >= 0x7f) {
            return false;
        }
    }
    return bytes > 0 && bytes <= NS_CLIENT_HELLO_NAME_BYTES_MAX;
}

/* The list of names, of which there is one a type. Returns false where it breaks the rules. */
static bool
read_names(struct part extension, struct ns_client_hello *hello)
{
    struct part list = vector(&extension, 2);
    while (list.there > 0 && !list.wrong) {
        size_t type = number(&list, 1);
        struct part name = vector(&list, 2);
        if (list.wrong || name.there < name.whole) {
            break;
        }
        if (type == NAME_TYPE_HOST && name.whole > 0) {
            if (!is_name(name.at, name.whole)) {
                return false;
            }
            memcpy(hello->server_name, name.at, name.whole);
            hello->server_name[name.whole] = '\0';
        }
    }
    return !list.wrong && !extension.wrong;
}

static bool
read_extensions(struct part *extensions, struct ns_client_hello *hello)
{
    while (extensions->there > 0 && !extensions->wrong) {
        bool came = has(extensions, 2);
        size_t type = number(extensions, 2);
        struct part extension = vector(extensions, 2);
        if (!came || extensions->wrong) {
            break;
        }
        if (type == EXTENSION_ENCRYPTED_CLIENT_HELLO) {
            hello->encrypted = true;
        } else if (type == EXTENSION_SERVER_NAME && extension.there == extension.whole &&
                   extension.whole > 0 && !read_names(extension, hello)) {
            return false;
        }
    }
    return !extensions->wrong;
}

static bool
read_body(struct part *body, struct ns_client_hello *hello)
{
    size_t version = number(body, 2);
    if (body->there > 0 && version >> 8 != 3) {
        return false;
    }
    if (!has(body, RANDOM_BYTES)) {
        return !body->wrong;
    }
    skip(body, RANDOM_BYTES);
    struct part session = vector(body, 1);
    struct part ciphers = vector(body, 2);
    bool came = has(body, 1);
    vector(body, 1); /* compression */
    if (body->wrong || session.whole > SESSION_ID_BYTES_MAX || ciphers.whole % 2 != 0) {
        return false;
    }
    if (!came || body->whole == 0) {
        return true; /* more is to come, or a client of long ago */
    }
    struct part extensions = vector(body, 2);
    return !body->wrong && read_extensions(&extensions, hello);
}

/* What was found in it before is worth nothing. */
static enum ns_client_hello_state
refuse(struct ns_client_hello *hello)
{
    *hello = (struct ns_client_hello){0};
    return NS_CLIENT_HELLO_NOT;
}

enum ns_client_hello_state
ns_client_hello_read(const uint8_t *message, size_t count, struct ns_client_hello *hello)
{
    *hello = (struct ns_client_hello){0};
    struct part all = {message, count, SIZE_MAX, false};
    if (count > 0 && message[0] != MESSAGE_CLIENT_HELLO) {
        return NS_CLIENT_HELLO_NOT;
    }
    if (count < 4) {
        return NS_CLIENT_HELLO_MORE;
    }
    skip(&all, 1);
    struct part body = vector(&all, 3);
    bool complete = body.there == body.whole;
    if (!read_body(&body, hello)) {
        return refuse(hello);
    }
    return complete ? NS_CLIENT_HELLO_DONE : NS_CLIENT_HELLO_MORE;
}

enum ns_client_hello_state
ns_client_hello_read_records(const uint8_t *records, size_t count, uint8_t *message,
                             struct ns_client_hello *hello)
{
    *hello = (struct ns_client_hello){0};
    size_t gathered = 0;
    for (size_t at = 0; at < count;) {
        const uint8_t *head = records + at;
        size_t left = count - at;
        if (head[0] != TYPE_HANDSHAKE || (left > 1 && head[1] != 3)) {
            return refuse(hello);
        }
        if (left < RECORD_HEAD_BYTES) {
            break;
        }
        size_t bytes = (size_t)head[3] << 8 | head[4];
        if (bytes == 0 || bytes > RECORD_BYTES_MAX) {
            return refuse(hello);
        }
        size_t there = left - RECORD_HEAD_BYTES;
        there = there < bytes ? there : bytes;
        memcpy(message + gathered, head + RECORD_HEAD_BYTES, there);
        gathered += there;
        at += RECORD_HEAD_BYTES + there;
        /* What comes behind the hello (early data) is of no interest. */
        enum ns_client_hello_state state = ns_client_hello_read(message, gathered, hello);
        if (state != NS_CLIENT_HELLO_MORE) {
            return state;
        }
    }
    return NS_CLIENT_HELLO_MORE;
}
