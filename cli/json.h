/* SPDX-License-Identifier: Apache-2.0 */
/* Looking into the collector's answers: JSON objects of a known shape. */
#ifndef NS_CLI_JSON_H
#define NS_CLI_JSON_H

#include <stdbool.h>
#include <stddef.h>

/* The value at a path of member names ("postgres.lag_s") as text: strings without quotes and
 * escapes, everything else as it stands. Returns false where there is no such member, where it is
 * null, where it does not fit, or where json is none. */
bool ns_json_get(const char *json, const char *path, char *value, size_t value_bytes);

#endif
