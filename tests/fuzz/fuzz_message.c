/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a message: what decodes must encode to the same bytes, unless it has fields that are
 * not known (tags from 128 up), which are dropped. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes the fields from tag 128 up, which stand last, off a message that decodes. */
static size_t
known_bytes(const uint8_t *data, size_t size)
{
    size_t at = 4;
    while (at < size && data[at] < 128) {
        at += 5 + ((size_t)data[at + 1] | (size_t)data[at + 2] << 8 | (size_t)data[at + 3] << 16 |
                   (size_t)data[at + 4] << 24);
    }
    return at;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ns_message message;
    static uint8_t again[NS_MESSAGE_BYTES_MAX];
    const char *why = NULL;
    if (ns_message_decode(data, size, &message, &why) != 0) {
        if (why == NULL || why[0] == '\0') {
            abort();
        }
        return 0;
    }
    size_t known = known_bytes(data, size);
    if (known > sizeof again) {
        return 0;
    }
    int count = ns_message_encode(&message, again, sizeof again);
    if (count != (int)known || memcmp(again, data, known) != 0) {
        abort();
    }
    return 0;
}
