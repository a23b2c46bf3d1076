/* SPDX-License-Identifier: Apache-2.0 */
/* Small things with bytes of text that other people wrote. */
#ifndef NS_WIRE_TEXT_H
#define NS_WIRE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies text as valid UTF-8 without control characters (each offending byte becomes '?'), cut at
 * a character's end where the buffer is too small. Always ends in NUL (buffer_bytes >= 1). */
void ns_wire_text_copy(char *buffer, size_t buffer_bytes, const char *text, size_t bytes);

/* Would ns_wire_text_copy keep all of it, in a buffer of bytes_max + 1? */
bool ns_wire_text_clean(const char *text, size_t bytes, size_t bytes_max);

/* Text that need not end in NUL against one that does, exactly or whatever the (ASCII) case. */
bool ns_wire_text_is(const char *text, size_t bytes, const char *word);
bool ns_wire_text_is_nocase(const char *text, size_t bytes, const char *word);
bool ns_wire_text_begins(const char *text, size_t bytes, const char *prefix);
bool ns_wire_text_begins_nocase(const char *text, size_t bytes, const char *prefix);
bool ns_wire_text_ends(const char *text, size_t bytes, const char *suffix);

/* Digits only, at most max. Returns 0 or -EINVAL. */
int ns_wire_text_number(const char *text, size_t bytes, uint64_t max, uint64_t *value);

#endif
