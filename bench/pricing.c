/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What pricing a call costs: finding the model and charging a usage, and estimating a request, each
 * beside a reference of the same run: a binary search for the same name in a sorted array of all
 * models (what the simplest possible catalogue would do). Loading is beside a plain checksum.
 *
 *     build/bench/pricing [CALLS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "pricing/catalogue.h"

static const char *const calls[][2] = {
    {"openai", "gpt-4o-2024-08-06"},
    {"openai", "gpt-5-mini-2025-08-07"},
    {"anthropic", "claude-sonnet-4-5-20250929"},
    {"gemini", "gemini-2.5-flash"},
    {"vertex", "gemini-2.5-pro"},
    {"azure", "gpt-4.1-mini"},
    {"xai", "grok-4.3"},
    {"openrouter", "anthropic/claude-sonnet-4.6"},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static uint64_t
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
print_rate(const char *what, uint64_t count, uint64_t took_ns)
{
    uint64_t per_s =
        took_ns == 0 ? 0 : (uint64_t)((unsigned __int128)count * 1000000000u / took_ns);
    printf("pricing %-28s %10llu /s  %8llu ns each\n", what, (unsigned long long)per_s,
           (unsigned long long)(took_ns / (count == 0 ? 1 : count)));
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The reference: the name among all names by binary search, and the usage summed. */
static uint64_t
search_reference(const char **names, size_t count, const struct ns_usage *usage, uint64_t times)
{
    uint64_t found = 0, start = now_ns();
    for (uint64_t i = 0; i < times; i++) {
        const char *key = calls[i % CALLS][1];
        found += bsearch(&key, names, count, sizeof(*names), by_name) != NULL;
        for (int m = 0; m < NS_METER_COUNT; m++) {
            found += usage->count[m];
        }
        __asm__ volatile("" : "+r"(found)::"memory");
    }
    return now_ns() - start;
}

static uint64_t
find_and_cost(const struct ns_catalogue *catalogue, const struct ns_usage *usage, uint64_t times)
{
    const struct ns_price_terms terms = {.at_unix_s = 1790812800, .service_tier = "default"};
    enum ns_meter unpriced = NS_METER_INPUT;
    int64_t nanousd = 0;
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < times; i++) {
        const char *const *call = calls[i % CALLS];
        const struct ns_price_model *model = ns_catalogue_find(catalogue, call[0], call[1]);
        if (model == NULL || ns_price_cost(model, &terms, usage, &nanousd, &unpriced) != 0) {
            fprintf(stderr, "no price for %s %s\n", call[0], call[1]);
            exit(1);
        }
    }
    return now_ns() - start;
}

static uint64_t
find_and_estimate(const struct ns_catalogue *catalogue, uint64_t times)
{
    const struct ns_price_terms terms = {.at_unix_s = 1790812800};
    const struct ns_price_request request = {
        .text_bytes = 4000, .images = 1, .choices = 1, .family = "openai"};
    struct ns_price_estimate estimate;
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < times; i++) {
        const char *const *call = calls[i % CALLS];
        const struct ns_price_model *model = ns_catalogue_find(catalogue, call[0], call[1]);
        if (model == NULL || ns_price_estimate(model, &terms, &request, 0, &estimate) != 0) {
            exit(1);
        }
    }
    return now_ns() - start;
}

int
main(int argc, char **argv)
{
    uint64_t times = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000000;
    char error[NS_CATALOGUE_ERROR_BYTES];
    struct ns_catalogue *catalogue = NULL;
    uint64_t start = now_ns();
    uint32_t crc = ns_crc32c(0, ns_catalogue_builtin, ns_catalogue_builtin_bytes);
    uint64_t crc_ns = now_ns() - start;
    start = now_ns();
    if (ns_catalogue_load(ns_catalogue_builtin, ns_catalogue_builtin_bytes, &catalogue, error) !=
        0) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    uint64_t load_ns = now_ns() - start;
    printf("pricing load of %zu models %llu us; reference, checksum of the text alone (%08x) %llu "
           "us\n",
           ns_catalogue_model_count(catalogue), (unsigned long long)(load_ns / 1000), crc,
           (unsigned long long)(crc_ns / 1000));

    struct ns_usage usage = {0};
    ns_usage_set(&usage, NS_METER_INPUT, 1234);
    ns_usage_set(&usage, NS_METER_CACHE_READ, 5678);
    ns_usage_set(&usage, NS_METER_OUTPUT, 321);
    ns_usage_set(&usage, NS_METER_OUTPUT_REASONING, 64);
    size_t count = catalogue->model_count;
    const char **names = malloc(count * sizeof(*names));
    if (names == NULL) {
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        names[i] = catalogue->models[i].id;
    }
    qsort(names, count, sizeof(*names), by_name);
    print_rate("find + cost", times, find_and_cost(catalogue, &usage, times));
    print_rate("find + estimate", times, find_and_estimate(catalogue, times));
    print_rate("reference: bsearch + sum", times, search_reference(names, count, &usage, times));
    free(names);
    ns_catalogue_free(catalogue);
    return 0;
}
