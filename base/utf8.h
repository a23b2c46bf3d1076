/* SPDX-License-Identifier: Apache-2.0 */
/* Text as people write it: well-formed UTF-8 (RFC 3629) without control characters. */
#ifndef NS_BASE_UTF8_H
#define NS_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes of the character at bytes, of which left (at least 1) are there; 0 where there is none,
 * or a control character (C0, DEL, C1). */
size_t ns_utf8_character(const uint8_t *bytes, size_t left);

/* How many bytes of a text are left where it is cut to so many, between two characters. */
size_t ns_utf8_cut(const char *text, size_t bytes, size_t most);

/* Is all of it such text? An empty one is. */
bool ns_utf8_is_text(const void *text, size_t bytes);

#endif
