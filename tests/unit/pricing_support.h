/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of pricing share: catalogues from text, and the shared price data as rows. */
#ifndef NS_TESTS_PRICING_SUPPORT_H
#define NS_TESTS_PRICING_SUPPORT_H

#include "base/hash.h"
#include "pricing/pricing.h"
#include "tests/harness.h"

/* The file's name with NS_SHARED or ../shared before it, in one static buffer. */
static inline const char *
shared_path(const char *name)
{
    static char path[4096];
    const char *shared = getenv("NS_SHARED");
    snprintf(path, sizeof(path), "%s/%s", shared == NULL ? "../shared" : shared, name);
    return path;
}

static inline struct ns_catalogue *
load_builtin(void)
{
    char error[NS_CATALOGUE_ERROR_BYTES];
    struct ns_catalogue *catalogue = NULL;
    int status =
        ns_catalogue_load(ns_catalogue_builtin, ns_catalogue_builtin_bytes, &catalogue, error);
    if (status != 0) {
        NS_FAIL("the built-in catalogue does not load: %s", error);
    }
    return catalogue;
}

/* Loads records with a right closing line put behind them. */
static inline int
load_sealed(const char *records, struct ns_catalogue **catalogue,
            char error[static NS_CATALOGUE_ERROR_BYTES])
{
    size_t bytes = strlen(records);
    char *text = malloc(bytes + 64);
    memcpy(text, records, bytes);
    int closing =
        snprintf(text + bytes, 64, "checksum\tcrc32c\t%08x\n", ns_crc32c(0, records, bytes));
    int status = ns_catalogue_load(text, bytes + (size_t)closing, catalogue, error);
    free(text);
    return status;
}

static inline struct ns_catalogue *
load_records(const char *records)
{
    char error[NS_CATALOGUE_ERROR_BYTES];
    struct ns_catalogue *catalogue = NULL;
    if (load_sealed(records, &catalogue, error) != 0) {
        NS_FAIL("a catalogue that should load: %s", error);
    }
    return catalogue;
}

/* Calls row(fields, count, user) for every line of tab-separated text but those that begin with #;
 * the text is cut up. */
static inline void
each_row(char *text, void (*row)(char **field, int count, void *user), void *user)
{
    for (char *line = text; *line != '\0';) {
        char *end = line + strcspn(line, "\n");
        char *next = *end == '\0' ? end : end + 1;
        *end = '\0';
        char *field[16];
        int count = 0;
        for (char *at = line; at != NULL && count < 16;) {
            field[count++] = at;
            at = strchr(at, '\t');
            if (at != NULL) {
                *at++ = '\0';
            }
        }
        if (line[0] != '#' && line[0] != '\0') {
            row(field, count, user);
        }
        line = next;
    }
}

#endif
