/* SPDX-License-Identifier: Apache-2.0 */
/* Text as people write it: well-formed UTF-8 without control characters. */
#ifndef NS_BASE_UTF8_H
#define NS_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Is all of it well-formed UTF-8 (Unicode 15, table 3-7) without C0, DEL and C1? An empty text is.
 */
bool ns_utf8_is_text(const char *text, size_t bytes);

#endif
