/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"

#include <string.h>

static const char *
skip_blanks(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* Past the string that starts at the quote; NULL where it does not end. */
static const char *
skip_string(const char *at)
{
    for (at++; *at != '\0' && *at != '"'; at++) {
        if (*at == '\\' && *++at == '\0') {
            return NULL;
        }
    }
    return *at == '"' ? at + 1 : NULL;
}

/* Past a value. Brackets are counted, not matched: the collector writes well-formed JSON. */
static const char *
skip_value(const char *at)
{
    size_t depth = 0;
    do {
        if (*at == '"') {
            at = skip_string(at);
            if (at == NULL) {
                return NULL;
            }
            continue;
        }
        if (*at == '\0') {
            return NULL;
        }
        if (*at == '{' || *at == '[') {
            depth++;
        } else if ((*at == '}' || *at == ']') && depth > 0) {
            depth--;
        }
        at++;
    } while (depth > 0 || (*at != '\0' && strchr(",}]", *at) == NULL));
    return at;
}

/* The value of a member of the object at json; NULL: none. */
static const char *
member(const char *json, const char *name, size_t name_bytes)
{
    const char *at = skip_blanks(json);
    if (*at != '{') {
        return NULL;
    }
    for (at = skip_blanks(at + 1); *at == '"'; at = skip_blanks(at + 1)) {
        const char *end = skip_string(at);
        if (end == NULL) {
            return NULL;
        }
        bool found = (size_t)(end - at) == name_bytes + 2 && memcmp(at + 1, name, name_bytes) == 0;
        at = skip_blanks(end);
        if (*at != ':') {
            return NULL;
        }
        at = skip_blanks(at + 1);
        if (found) {
            return at;
        }
        at = skip_value(at);
        at = at != NULL ? skip_blanks(at) : NULL;
        if (at == NULL || *at != ',') {
            return NULL;
        }
    }
    return NULL;
}

/* Copies a string's characters; \uXXXX below 0x80 alone, which is all that is escaped there. */
static bool
copy_string(const char *at, char *value, size_t value_bytes)
{
    static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    size_t count = 0;
    for (at++; *at != '"'; at++, count++) {
        char character = *at;
        if (character == '\0' || count + 1 >= value_bytes) {
            return false;
        }
        if (character == '\\') {
            at++;
            const char *escape = escapes;
            while (*escape != '\0' && *escape != *at) {
                escape += 2;
            }
            if (*escape == '\0') {
                return false;
            }
            character = escape[1];
        }
        value[count] = character;
    }
    value[count] = '\0';
    return true;
}

bool
ns_json_get(const char *json, const char *path, char *value, size_t value_bytes)
{
    const char *at = json;
    while (*path != '\0' && at != NULL) {
        size_t name_bytes = strcspn(path, ".");
        at = member(at, path, name_bytes);
        path += name_bytes + (path[name_bytes] == '.' ? 1 : 0);
    }
    if (at == NULL || strncmp(at, "null", 4) == 0) {
        return false;
    }
    if (*at == '"') {
        return skip_string(at) != NULL && copy_string(at, value, value_bytes);
    }
    const char *end = skip_value(at);
    while (end != NULL && end > at && strchr(" \t\r\n", end[-1]) != NULL) {
        end--;
    }
    if (end == NULL || (size_t)(end - at) >= value_bytes) {
        return false;
    }
    memcpy(value, at, (size_t)(end - at));
    value[end - at] = '\0';
    return true;
}
