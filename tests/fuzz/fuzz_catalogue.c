/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a catalogue. So that the fuzzer passes the checksum, the input is also loaded
 * with a right closing line behind it; what loads is then searched, charged and estimated with.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "pricing/catalogue.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Every model, found by its own name: cost and estimate must hold whatever the numbers are. */
static void
use_model(const struct ns_catalogue *catalogue, const struct ns_price_model *model, uint64_t seed)
{
    struct ns_usage usage = {0};
    struct ns_price_terms terms = {
        .at_unix_s = (int64_t)(seed * 1000003),
        .service_tier = "batch",
        .speed = "fast",
        .region = "us",
        .host = "eu.api.test",
    };
    for (int m = 0; m < NS_METER_COUNT; m++) {
        ns_usage_set(&usage, (enum ns_meter)m, (seed >> (m % 32)) * 7919);
    }
    enum ns_meter unpriced = NS_METER_INPUT;
    int64_t nanousd = 0;
    if (ns_price_cost(model, &terms, &usage, &nanousd, &unpriced) == 0 && nanousd < 0) {
        abort();
    }
    struct ns_price_request request = {
        .text_bytes = seed,
        .images = (uint32_t)(seed & 3),
        .files = (uint32_t)(seed & 1),
        .attachment_bytes = seed / 3,
        .choices = 1,
        .cache_write = (seed & 4) != 0,
        .family = "openai",
    };
    struct ns_price_estimate estimate;
    if (ns_price_estimate(model, &terms, &request, 0, &estimate) == 0 &&
        (estimate.input_nanousd < 0 || estimate.bound_nanousd < 0 || estimate.typical_nanousd < 0 ||
         ns_price_model_output_max(model) == 0)) {
        abort();
    }
    ns_catalogue_find(catalogue, catalogue->providers[model->provider].name,
                      ns_price_model_id(model));
}

static void
use(const struct ns_catalogue *catalogue)
{
    for (uint32_t i = 0; i < catalogue->model_count; i++) {
        use_model(catalogue, &catalogue->models[i],
                  ((uint64_t)i + 1) * UINT64_C(0x9e3779b97f4a7c15));
        use_model(catalogue, &catalogue->models[i], i);
    }
    for (uint32_t i = 0; i < catalogue->provider_count; i++) {
        ns_catalogue_dearest(catalogue, catalogue->providers[i].name, 1800000000);
    }
}

static void
load(const char *text, size_t bytes)
{
    struct ns_catalogue *catalogue = NULL;
    char error[NS_CATALOGUE_ERROR_BYTES];
    int status = ns_catalogue_load(text, bytes, &catalogue, error);
    if ((status == 0) != (catalogue != NULL) || strlen(error) >= NS_CATALOGUE_ERROR_BYTES ||
        (status != 0 && strncmp(error, "line ", 5) != 0)) {
        abort();
    }
    if (catalogue != NULL) {
        use(catalogue);
    }
    ns_catalogue_free(catalogue);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    load((const char *)data, bytes);
    char *sealed = malloc(bytes + 64);
    if (sealed == NULL) {
        return 0;
    }
    if (bytes > 0) {
        memcpy(sealed, data, bytes);
    }
    int closing =
        snprintf(sealed + bytes, 64, "checksum\tcrc32c\t%08x\n", ns_crc32c(0, data, bytes));
    load(sealed, bytes + (size_t)closing);
    free(sealed);
    return 0;
}
