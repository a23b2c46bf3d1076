/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/entity.h"

#include <errno.h>
#include <string.h>

#include "base/utf8.h"
#include "collector/ledger.h"

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
    if (fault == NULL && !ns_utf8_is_text(entity, bytes)) {
        fault = "an entity is UTF-8 text without control characters";
    }
    return fault;
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
