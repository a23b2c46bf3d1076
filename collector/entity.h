/* SPDX-License-Identifier: Apache-2.0 */
/* Entities and patterns, for the ledger's own files. */
#ifndef NS_COLLECTOR_ENTITY_H
#define NS_COLLECTOR_ENTITY_H

#include <stdbool.h>
#include <stddef.h>

/* The bytes of a pattern before its star ("customer:*": 9), 0 for an entity that is no pattern. */
size_t ns_entity_pattern_bytes(const char *entity, size_t bytes);

/* Whether a pattern's first pattern_bytes stand for this entity. */
bool ns_entity_match(const char *pattern, size_t pattern_bytes, const char *entity, size_t bytes);

#endif
