/* SPDX-License-Identifier: Apache-2.0 */
/* As much JSON as the shared files need: values by key, in well-formed text. */
#ifndef NS_TESTS_PRICING_JSON_H
#define NS_TESTS_PRICING_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline const char *
skip_string(const char *at)
{
    for (at++; *at != '"'; at++) {
        at += *at == '\\';
    }
    return at + 1;
}

static inline const char *
skip_blank(const char *at)
{
    return at + strspn(at, " \t\r\n,:");
}

static inline const char *
skip_value(const char *at)
{
    if (*at == '"') {
        return skip_string(at);
    }
    if (*at != '{' && *at != '[') {
        return at + strcspn(at, ",}] \r\n");
    }
    at = skip_blank(at + 1);
    while (*at != '}' && *at != ']') {
        at = skip_blank(skip_value(at));
    }
    return at + 1;
}

/* The value of a key of an object, or NULL where it is not there or null. */
static inline const char *
value_of(const char *object, const char *key)
{
    if (object == NULL || *object != '{') {
        return NULL;
    }
    for (const char *at = skip_blank(object + 1); *at != '}';) {
        bool found = strncmp(at + 1, key, strlen(key)) == 0 && at[1 + strlen(key)] == '"';
        at = skip_blank(skip_string(at));
        if (found) {
            return *at == 'n' ? NULL : at;
        }
        at = skip_blank(skip_value(at));
    }
    return NULL;
}

static inline bool
text_of(const char *object, const char *key, char *text, size_t bytes)
{
    const char *value = value_of(object, key);
    size_t length = value == NULL || *value != '"' ? 0 : strcspn(value + 1, "\"");
    snprintf(text, bytes, "%.*s", (int)length, length == 0 ? "" : value + 1);
    return length > 0;
}

static inline uint64_t
number_of(const char *object, const char *key)
{
    const char *value = value_of(object, key);
    return value == NULL ? 0 : strtoull(value, NULL, 10);
}

#endif
