/* SPDX-License-Identifier: Apache-2.0 */
#include "base/meter.h"

#include <string.h>

static const char *const meter_names[NS_METER_COUNT] = {
#define X(enumerator, name) name,
    NS_METERS(X)
#undef X
};

const char *
ns_meter_name(enum ns_meter meter)
{
    return (unsigned)meter < NS_METER_COUNT ? meter_names[meter] : "?";
}

int
ns_meter_find(const char *name, size_t name_bytes)
{
    for (int m = 0; m < NS_METER_COUNT; m++) {
        if (strlen(meter_names[m]) == name_bytes && memcmp(meter_names[m], name, name_bytes) == 0) {
            return m;
        }
    }
    return -1;
}

void
ns_usage_set(struct ns_usage *usage, enum ns_meter meter, uint64_t count)
{
    usage->present |= UINT64_C(1) << meter;
    usage->count[meter] = count;
}

void
ns_usage_add(struct ns_usage *usage, enum ns_meter meter, uint64_t count)
{
    uint64_t sum;
    if (__builtin_add_overflow(usage->count[meter], count, &sum)) {
        sum = UINT64_MAX;
    }
    ns_usage_set(usage, meter, sum);
}

void
ns_usage_add_all(struct ns_usage *usage, const struct ns_usage *more)
{
    for (unsigned m = 0; m < NS_METER_COUNT; m++) {
        if (ns_usage_has(more, (enum ns_meter)m)) {
            ns_usage_add(usage, (enum ns_meter)m, more->count[m]);
        }
    }
}

uint64_t
ns_usage_get(const struct ns_usage *usage, enum ns_meter meter)
{
    return ns_usage_has(usage, meter) ? usage->count[meter] : 0;
}

bool
ns_usage_has(const struct ns_usage *usage, enum ns_meter meter)
{
    return (usage->present >> meter & 1) != 0;
}

static uint64_t
sum_of(const struct ns_usage *usage, const enum ns_meter *meters, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (__builtin_add_overflow(sum, ns_usage_get(usage, meters[i]), &sum)) {
            return UINT64_MAX;
        }
    }
    return sum;
}

#define SUM(usage, ...)                                                                            \
    sum_of(usage, (const enum ns_meter[]){__VA_ARGS__},                                            \
           sizeof((const enum ns_meter[]){__VA_ARGS__}) / sizeof(enum ns_meter))

uint64_t
ns_usage_input_tokens(const struct ns_usage *usage)
{
    return SUM(usage, NS_METER_INPUT, NS_METER_INPUT_AUDIO, NS_METER_INPUT_IMAGE,
               NS_METER_INPUT_VIDEO);
}

uint64_t
ns_usage_cached_input_tokens(const struct ns_usage *usage)
{
    return SUM(usage, NS_METER_CACHE_READ, NS_METER_CACHE_AUDIO_READ, NS_METER_CACHE_IMAGE_READ,
               NS_METER_CACHE_VIDEO_READ);
}

uint64_t
ns_usage_cache_write_tokens(const struct ns_usage *usage)
{
    return SUM(usage, NS_METER_CACHE_WRITE, NS_METER_CACHE_WRITE_1H);
}

uint64_t
ns_usage_output_tokens(const struct ns_usage *usage)
{
    return SUM(usage, NS_METER_OUTPUT, NS_METER_OUTPUT_REASONING, NS_METER_OUTPUT_AUDIO,
               NS_METER_OUTPUT_IMAGE, NS_METER_OUTPUT_VIDEO, NS_METER_OUTPUT_CITATION);
}

uint64_t
ns_usage_output_so_far(const struct ns_usage *usage, uint64_t text_bytes)
{
    uint64_t told = ns_usage_output_tokens(usage);
    uint64_t counted = ns_text_tokens(text_bytes);
    return told > UINT64_MAX - counted ? UINT64_MAX : told + counted;
}
