/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/entity.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "collector/ledger.h"

/* The bytes of one well-formed UTF-8 character at p (Unicode 15, table 3-7), 0 where there is
 * none or it is a control character (C0, DEL, C1). */
static size_t
character_bytes(const uint8_t *p, size_t left)
{
    if (p[0] < 0x80) {
        return p[0] >= 0x20 && p[0] != 0x7f;
    }
    size_t n = p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : 4;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n > left) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool surrogate = p[0] == 0xed && p[1] > 0x9f;
    bool too_large = p[0] == 0xf4 && p[1] > 0x8f;
    bool control = p[0] == 0xc2 && p[1] < 0xa0;
    return overlong || surrogate || too_large || control ? 0 : n;
}

static const char *
text_fault(const char *text, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        size_t n = character_bytes((const uint8_t *)text + at, bytes - at);
        if (n == 0) {
            return "an entity is UTF-8 text without control characters";
        }
        at += n;
    }
    return NULL;
}

static const char *
id_fault(enum ns_entity_kind kind, const char *id, size_t bytes)
{
    if (bytes == 0) {
        return "the id after the colon is missing";
    }
    if (id[0] == ' ' || id[bytes - 1] == ' ') {
        return "an id neither begins nor ends with a blank";
    }
    if (bytes == 1 && id[0] == '*') {
        return NULL;
    }
    const char *value = id;
    if (kind == NS_ENTITY_TAG) {
        const char *equals = memchr(id, '=', bytes);
        if (equals == NULL || equals == id) {
            return "a tag is written tag:KEY=VALUE";
        }
        value = equals + 1;
        if (value == id + bytes) {
            return "a tag is written tag:KEY=VALUE, its value is missing";
        }
    }
    if (id[bytes - 1] == '*' && value != id + bytes - 1) {
        return "a star stands for a whole id, as in customer:*";
    }
    return NULL;
}

static const char *
entity_fault(const char *entity, size_t bytes)
{
    if (bytes == 0) {
        return "an entity is missing";
    }
    if (bytes > NS_ENTITY_BYTES_MAX) {
        return "an entity has at most 340 bytes";
    }
    const char *colon = memchr(entity, ':', bytes);
    size_t kind_bytes = colon == NULL ? bytes : (size_t)(colon - entity);
    int kind = ns_entity_kind_find(entity, kind_bytes);
    if (kind < 0) {
        return "an entity is org, or team, key, customer, agent, feature, session or tag, a colon "
               "and an id";
    }
    if (kind == NS_ENTITY_ORG) {
        return colon == NULL ? NULL : "org stands alone, without a colon";
    }
    if (colon == NULL) {
        return "a colon and an id must follow the kind, as in customer:acme";
    }
    const char *fault = id_fault((enum ns_entity_kind)kind, colon + 1, bytes - kind_bytes - 1);
    return fault != NULL ? fault : text_fault(entity, bytes);
}

int
ns_entity_check(const char *entity, size_t bytes, const char **why)
{
    const char *fault = entity_fault(entity, bytes);
    if (why != NULL) {
        *why = fault;
    }
    return fault == NULL ? 0 : -EINVAL;
}

size_t
ns_entity_pattern_bytes(const char *entity, size_t bytes)
{
    if (bytes < 2 || entity[bytes - 1] != '*') {
        return 0;
    }
    const char *colon = memchr(entity, ':', bytes);
    if (colon == NULL) {
        return 0;
    }
    bool tag = colon - entity == 3 && memcmp(entity, "tag", 3) == 0;
    const char *equals = tag ? memchr(entity, '=', bytes) : NULL;
    const char *value = equals != NULL ? equals + 1 : colon + 1;
    return value == entity + bytes - 1 ? bytes - 1 : 0;
}

bool
ns_entity_match(const char *pattern, size_t pattern_bytes, const char *entity, size_t bytes)
{
    return bytes > pattern_bytes && memcmp(pattern, entity, pattern_bytes) == 0;
}
