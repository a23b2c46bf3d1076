/* SPDX-License-Identifier: Apache-2.0 */
/* What a catalogue may hold at most. Each bound is far above what the built-in one needs; it keeps
 * a broken or hostile file from costing memory, time or exactness. */
#ifndef NS_PRICING_LIMITS_H
#define NS_PRICING_LIMITS_H

#include <stdint.h>

#define NS_CATALOGUE_BYTES_MAX (64u << 20)    /* the built-in one has 0.4 MB */
#define NS_CATALOGUE_FIELDS_MAX 8             /* a line: the longest record has 6 */
#define NS_CATALOGUE_FIELD_BYTES_MAX 255      /* names and patterns; the longest known has 77 */
#define NS_CATALOGUE_PROVIDERS_MAX 4096       /* 44 */
#define NS_CATALOGUE_PRICES_OF_SET_MAX 1000   /* meters times context tiers; 22 */
#define NS_CATALOGUE_SETS_OF_MODEL_MAX 1000   /* dates times daily windows; 4 */
#define NS_CATALOGUE_SCALES_OF_MODEL_MAX 1000 /* tiers, speeds and regions times meters; 10 */

/* A million dollars; times any count of 64 bits it fits in 128 bits. */
#define NS_PRICE_RATE_PUSD_MAX INT64_C(1000000000000000000)
#define NS_PRICE_PER_MAX 1000000000 /* units that a rate is for: pixels are billed by 10^9 */
#define NS_PRICE_RATIO_MAX 1000     /* numerator and denominator of a scale */

/* All denominators of a catalogue divide one number below this, so that a bill is summed exactly
 * (cost.c): the product of the common multiple of all "per" and, thrice (tier, speed and region
 * multiply), that of all scale denominators. */
#define NS_PRICE_UNIT_MAX (UINT64_C(1) << 62)

/* A model's window and longest answer, in tokens. */
#define NS_PRICE_TOKENS_MAX 1000000000000

/* The longest name of a model or provider that is looked up; longer ones match nothing. */
#define NS_PRICE_NAME_BYTES_MAX 255

#endif
