/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger with many budgets and many entities: what a check costs against 8 matching budgets, as
 * a multiple of one against a single budget; memory and time of 100,000 budgets, and of a million
 * entities that are counted by one more; and what a check costs then, as a multiple of the same
 * check where there is nothing else.
 *
 *     build/bench/budgets
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collector/ledger.h"

#define BUDGETS 100000
#define ENTITIES 1000000
#define CALLS 200000
#define ROUNDS 11
#define MATCHING 8
#define GOAL_RATIO 1.3
#define GOAL_MIB 512

static uint64_t
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double
resident_mib(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL || fscanf(file, "%ld %ld", &pages, &resident) != 2) {
        fprintf(stderr, "/proc/self/statm cannot be read\n");
        exit(1);
    }
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static void
must(struct ns_ledger *ledger, const struct ns_ledger_event *event, int64_t at_ns)
{
    struct ns_ledger_effect effect;
    if (ns_ledger_apply(ledger, event, at_ns, &effect) != 0 || effect.result != NS_LEDGER_DONE) {
        fprintf(stderr, "event of kind %d: result %d\n", (int)event->kind, (int)effect.result);
        exit(1);
    }
}

static void
put_budget(struct ns_ledger *ledger, int64_t id, const char *entity, enum ns_period period)
{
    struct ns_ledger_event event = {.kind = NS_LEDGER_BUDGET_PUT};
    event.as.budget_put =
        (struct ns_budget){.id = id, .period = (uint8_t)period, .limit_nanousd = INT64_MAX / 2};
    snprintf(event.as.budget_put.entity, sizeof event.as.budget_put.entity, "%s", entity);
    must(ledger, &event, 1);
}

/* A call of five entities, checked and settled. */
static void
call(struct ns_ledger *ledger, uint64_t n, const char *customer)
{
    const char *entity[] = {"org", "key:0123456789abcdef", customer, "feature:search",
                            "agent:writer"};
    struct ns_ledger_event event = {.kind = NS_LEDGER_RESERVE};
    struct ns_uuid id = {{0}};
    uint64_t mixed = n * UINT64_C(0x9e3779b97f4a7c15);
    memcpy(id.bytes, &mixed, sizeof mixed);
    memcpy(id.bytes + 8, &n, sizeof n);
    event.as.reserve = (struct ns_ledger_reserve){.call_id = id,
                                                  .owner = {n % 64, 1},
                                                  .mode = NS_MODE_ENFORCE,
                                                  .entity_count = 5,
                                                  .entity = entity,
                                                  .bound_nanousd = 2000,
                                                  .typical_nanousd = 1000,
                                                  .lost_nanousd = 500};
    must(ledger, &event, (int64_t)n + 2);
    event.kind = NS_LEDGER_SETTLE;
    event.as.settle = (struct ns_ledger_settle){.call_id = id, .cost_nanousd = 900};
    must(ledger, &event, (int64_t)n + 2);
}

static struct ns_ledger *
new_ledger(void)
{
    struct ns_ledger *ledger = ns_ledger_new();
    if (ledger == NULL) {
        fprintf(stderr, "no memory\n");
        exit(1);
    }
    return ledger;
}

/* With so many budgets of which each call meets all. */
static struct ns_ledger *
ledger_of(int matching)
{
    static const struct {
        const char *entity;
        enum ns_period period;
    } rows[MATCHING] = {
        {"org", NS_PERIOD_MONTH},        {"org", NS_PERIOD_DAY},
        {"key:*", NS_PERIOD_DAY},        {"customer:*", NS_PERIOD_DAY},
        {"customer:*", NS_PERIOD_MONTH}, {"feature:search", NS_PERIOD_DAY},
        {"agent:writer", NS_PERIOD_DAY}, {"agent:*", NS_PERIOD_TOTAL},
    };
    struct ns_ledger *ledger = new_ledger();
    for (int i = 0; i < matching; i++) {
        put_budget(ledger, i + 1, rows[i].entity, rows[i].period);
    }
    return ledger;
}

static uint64_t
calls_ns(struct ns_ledger *ledger, uint64_t *next)
{
    uint64_t begin = now_ns();
    for (uint64_t i = 0; i < CALLS; i++) {
        call(ledger, (*next)++, "customer:acme");
    }
    return now_ns() - begin;
}

static int
compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of rounds in turns: how many times as long calls take with the one. */
static double
ratio(struct ns_ledger *one, struct ns_ledger *other, double *one_ns)
{
    double ratios[ROUNDS], ones[ROUNDS];
    uint64_t next[2] = {UINT64_C(1) << 32, UINT64_C(1) << 32};
    for (int round = 0; round < ROUNDS; round++) {
        double other_took = (double)calls_ns(other, &next[1]);
        ones[round] = (double)calls_ns(one, &next[0]);
        ratios[round] = ones[round] / other_took;
    }
    qsort(ratios, ROUNDS, sizeof ratios[0], compare);
    qsort(ones, ROUNDS, sizeof ones[0], compare);
    *one_ns = ones[ROUNDS / 2] / CALLS;
    return ratios[ROUNDS / 2];
}

int
main(void)
{
    double took_ns, before_mib = resident_mib();
    char entity[64];
    struct ns_ledger *many = new_ledger();
    uint64_t begin = now_ns();
    for (int i = 0; i < BUDGETS; i++) {
        snprintf(entity, sizeof entity, "feature:f%06d", i);
        put_budget(many, i + 1, entity, NS_PERIOD_DAY);
    }
    printf("%d budgets put in %.0f ms\n", BUDGETS, (double)(now_ns() - begin) / 1e6);
    put_budget(many, BUDGETS + 1, "customer:*", NS_PERIOD_DAY);
    begin = now_ns();
    for (uint64_t i = 0; i < ENTITIES; i++) {
        snprintf(entity, sizeof entity, "customer:c%07" PRIu64, i);
        call(many, i, entity);
    }
    double mib = resident_mib() - before_mib;
    printf("%d entities counted, %.0f ns a call; %.0f MiB with the budgets (goal %d: %s)\n",
           ENTITIES, (double)(now_ns() - begin) / ENTITIES, mib, GOAL_MIB,
           mib <= GOAL_MIB ? "met" : "NOT MET");

    struct ns_ledger *single = new_ledger();
    put_budget(single, 1, "customer:*", NS_PERIOD_DAY);
    double times = ratio(many, single, &took_ns);
    printf("a call amid all these %.0f ns, %.2f times one amid nothing\n", took_ns, times);
    ns_ledger_free(many);
    ns_ledger_free(single);

    struct ns_ledger *one = ledger_of(1), *eight = ledger_of(MATCHING);
    times = ratio(eight, one, &took_ns);
    printf("a call against %d budgets %.0f ns, %.2f times one against 1 (goal %.1f: %s)\n",
           MATCHING, took_ns, times, GOAL_RATIO, times <= GOAL_RATIO ? "met" : "NOT MET");
    ns_ledger_free(one);
    ns_ledger_free(eight);
    return 0;
}
