/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pricing: what a usage costs, exactly; and what a request may cost, before it is sent.
 *
 * Prices are int64 pico-dollars (1e-12 USD) per so many units, dated; a cost is summed in 128 bits
 * as a fraction and rounded once, half to even, to nano-dollars. No floating point, no I/O: the
 * caller brings the catalogue's bytes and the time.
 *
 * A loaded catalogue is immutable: any number of threads may read one.
 */
#ifndef NS_PRICING_PRICING_H
#define NS_PRICING_PRICING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/meter.h"

#define NS_CATALOGUE_VERSION_BYTES 48
#define NS_CATALOGUE_ERROR_BYTES 256

struct ns_catalogue;
struct ns_price_model; /* a row of the catalogue; lives as long as its catalogue */

/*
 * Reads a catalogue (format: pricing/README.md), checks all of it, its trailing checksum included.
 * Returns 0 and *catalogue (ns_catalogue_free), or -EBADMSG with the line and what is wrong with
 * it in error, or -ENOMEM. text may go afterwards.
 */
int ns_catalogue_load(const char *text, size_t text_bytes, struct ns_catalogue **catalogue,
                      char error[static NS_CATALOGUE_ERROR_BYTES]);
void ns_catalogue_free(struct ns_catalogue *catalogue);

/* The catalogue that is built in (pricing/catalogue.tsv). */
extern const char ns_catalogue_builtin[];
extern const size_t ns_catalogue_builtin_bytes;

/* Its name, written into every row's price_version, e.g. "genai-prices-0.1.8+1". */
const char *ns_catalogue_version(const struct ns_catalogue *catalogue);
size_t ns_catalogue_model_count(const struct ns_catalogue *catalogue);

/*
 * Finds the row of a model as a provider names it on the wire. provider is the contract's name
 * (or a host name); the catalogue maps it to its own. Matching ignores case. A provider's fallback
 * providers are asked in order (azure → openai, …).
 * Returns NULL where nothing matches: the call is unpriced, never free.
 */
const struct ns_price_model *ns_catalogue_find(const struct ns_catalogue *catalogue,
                                               const char *provider, const char *model);

const char *ns_price_model_id(const struct ns_price_model *model);

/* The most output tokens that one answer of this model can have (always > 0). */
uint64_t ns_price_model_output_max(const struct ns_price_model *model);

/* Under which conditions a call was served; strings may be NULL or "". */
struct ns_price_terms {
    int64_t at_unix_s;        /* the answer's Date, else when it ended */
    const char *service_tier; /* as served: "flex", "priority", "batch", … */
    const char *speed;        /* "fast" */
    const char *region;       /* inference_geo, or a regional endpoint's uplift name */
    const char *host;         /* regional endpoints are priced by host */
};

/*
 * The exact cost of a usage. A meter with a count above zero but no price falls back as the
 * catalogue says (cache reads and writes to input, 1 h to 5 min writes, reasoning, audio and image
 * output to output, …). Every call may carry one `requests`: without a fee for it that costs
 * nothing. Returns 0; -ENOENT where a counted meter has no price at all (*unpriced names it): the
 * cost is unknown; -ERANGE above INT64_MAX nano-dollars.
 */
int ns_price_cost(const struct ns_price_model *model, const struct ns_price_terms *terms,
                  const struct ns_usage *usage, int64_t *cost_nanousd, enum ns_meter *unpriced);

/* Has this meter a rate (its own or one that stands in) at this time? False for a free model. */
bool ns_price_has(const struct ns_price_model *model, enum ns_meter meter, int64_t at_unix_s);

/* One summand of a bill: models of one answer may differ. */
struct ns_price_part {
    const struct ns_price_model *model;
    const struct ns_usage *usage;
};

/* The same for several parts, summed before the one rounding. Their models are of one catalogue; a
 * part whose model is NULL makes the cost unknown. */
int ns_price_cost_parts(const struct ns_price_part *parts, size_t count,
                        const struct ns_price_terms *terms, int64_t *cost_nanousd,
                        enum ns_meter *unpriced);

/* --- before the call ------------------------------------------------------------------------ */

/* What is known of a request (wire/wire.h, struct ns_wire_request). */
struct ns_price_request {
    uint64_t text_bytes;
    uint32_t images, audios, videos, files;
    uint64_t attachment_bytes;
    uint64_t output_tokens_max; /* 0: no cap */
    uint32_t choices;           /* at least 1 */
    bool cache_write;
    bool history_elsewhere;
    const char *family;    /* "openai", "anthropic", "gemini": attachment maxima differ */
    const char *operation; /* "embeddings" has no output */
};

struct ns_price_estimate {
    int64_t input_nanousd;   /* the input alone, likely: what a lost call is charged at least */
    int64_t bound_nanousd;   /* no answer can cost more (history_elsewhere: bounded by the context
                                window) */
    int64_t typical_nanousd; /* bound where the request has a cap; else with typical_output_tokens;
                                an unseen history is taken for 8,192 tokens (docs/pricing.md) */
    uint64_t input_tokens_likely;
    uint64_t output_tokens_bound;
};

/* Documented default for calls without a cap before there is any history. */
#define NS_TYPICAL_OUTPUT_TOKENS 1024

/*
 * What a request reserves. typical_output_tokens is what such calls usually use (0: no history yet,
 * NS_TYPICAL_OUTPUT_TOKENS). Saturates at INT64_MAX. Returns 0; -ENOENT where the model has no
 * price; -EDOM where it has, but by units that no request tells (seconds of sound, pages).
 */
int ns_price_estimate(const struct ns_price_model *model, const struct ns_price_terms *terms,
                      const struct ns_price_request *request, uint64_t typical_output_tokens,
                      struct ns_price_estimate *estimate);

/* The likely number of tokens in so many bytes of text, for what no provider reported. */
uint64_t ns_price_tokens_of_text(uint64_t text_bytes);

/* The dearest model of a provider's or family's rows at this time, for the policy that prices an
 * unknown model as its family's dearest; NULL where the provider has no rows. */
const struct ns_price_model *ns_catalogue_dearest(const struct ns_catalogue *catalogue,
                                                  const char *provider, int64_t at_unix_s);

#endif
