/* SPDX-License-Identifier: Apache-2.0 */
/* Whom a call is for: request, then thread, then process. */
#ifndef NS_SHIM_TAGS_H
#define NS_SHIM_TAGS_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/wire.h"

/* 1 to bytes_max bytes of UTF-8 without control characters. */
bool ns_tags_clean(const char *text, size_t bytes, size_t bytes_max);

/* Sets or replaces a tag. Returns 0, -EINVAL for a key or value that is not of its form, -E2BIG
 * where all places are taken. */
int ns_tags_set(struct ns_wire_identity *identity, const char *key, size_t key_bytes,
                const char *value, size_t value_bytes);

/* Fills what is empty in identity from another one; tags are united, those that are there win. */
void ns_tags_fill(struct ns_wire_identity *identity, const struct ns_wire_identity *from);

/* Fills a request's identity from the calling thread and then from the process. */
void ns_tags_complete(struct ns_wire_identity *identity, const struct ns_wire_identity *process);

/* Reads "k=v,k=v" (NULLSPEND_TAGS) into identity. Returns how many items were not of their form. */
size_t ns_tags_parse(struct ns_wire_identity *identity, const char *text);

#endif
