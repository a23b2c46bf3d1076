/* SPDX-License-Identifier: Apache-2.0 */
/* What catalogue.c (the file as lines) and records.c (a line as a record) share while loading. */
#ifndef NS_PRICING_LOADER_H
#define NS_PRICING_LOADER_H

#include "pricing/catalogue.h"

struct ns_price_fallback_name {
    const char *name;
    uint32_t line;
};

struct ns_price_loader {
    struct ns_catalogue *catalogue;
    char *error; /* NS_CATALOGUE_ERROR_BYTES */
    uint32_t line;
    char *field[NS_CATALOGUE_FIELDS_MAX];
    uint32_t field_count;
    struct ns_price_fallback_name *fallback_names;
    uint64_t per_multiple;         /* least common multiple of all "per" */
    uint64_t denominator_multiple; /* of all scale denominators */
    bool named;                    /* the first record was read */
    bool model_matched;            /* the model being read has a match */
};

/* The kinds of records, in the order of ns_price_records. */
enum ns_price_record {
    NS_PRICE_RECORD_PRICE,
    NS_PRICE_RECORD_MATCH,
    NS_PRICE_RECORD_MODEL,
    NS_PRICE_RECORD_SET,
    NS_PRICE_RECORD_SCALE,
    NS_PRICE_RECORD_PROVIDER,
    NS_PRICE_RECORD_ALIAS,
    NS_PRICE_RECORD_HOST,
    NS_PRICE_RECORD_REGIONAL,
    NS_PRICE_RECORD_FALLBACK,
    NS_PRICE_RECORD_CATALOGUE,
    NS_PRICE_RECORD_COUNT
};

/* The record kind of a line (its first field ends in a tab), or NS_PRICE_RECORD_COUNT. */
enum ns_price_record ns_price_record_of(const char *line, size_t line_bytes);

/* Writes "line N: …" into loader->error. Returns -EBADMSG. */
__attribute__((format(printf, 2, 3))) int ns_price_refuse(struct ns_price_loader *loader,
                                                          const char *format, ...);

/* Reads the record in loader->field. Returns 0 or -EBADMSG. */
int ns_price_record_read(struct ns_price_loader *loader, enum ns_price_record record);

/* After the last record: checks the last model and resolves the fallbacks. */
int ns_price_records_end(struct ns_price_loader *loader);

#endif
