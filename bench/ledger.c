/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events a second of the ledger on one core: a reserve on three budgets and a settle for each call,
 * with many holds open at once, beside a reference of the same run: bare inserts of the same call
 * ids into the same hash table, which is the least that any ledger must do.
 *
 *     build/bench/ledger [CALLS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "collector/ledger.h"
#include "collector/ledger_table.h"

#define GOAL 2000000
#define OPEN 1000
#define CUSTOMERS 1000

static uint64_t
now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* one core, whoever else is on it */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct ns_uuid
call_of(uint64_t n)
{
    struct ns_uuid id = {{0}};
    uint64_t mixed = n * UINT64_C(0x9e3779b97f4a7c15);
    memcpy(id.bytes, &n, sizeof(n));
    memcpy(id.bytes + 8, &mixed, sizeof(mixed));
    return id;
}

static uint64_t
print_rate(const char *what, uint64_t count, uint64_t took_ns)
{
    uint64_t per_s = (uint64_t)((unsigned __int128)count * 1000000000u / (took_ns + 1));
    printf("ledger %-34s %10llu /s  %6llu ns each\n", what, (unsigned long long)per_s,
           (unsigned long long)(took_ns / (count + 1)));
    return per_s;
}

/* --- the reference -------------------------------------------------------------------------- */

static bool
same_id(const void *context, uint32_t number, const void *key)
{
    return memcmp((const struct ns_uuid *)context + number, key, sizeof(struct ns_uuid)) == 0;
}

static uint64_t
hash_inserts(uint64_t count)
{
    static const uint8_t key[16] = "a bench's key 16";
    struct ns_uuid *ids = ns_mem_alloc((size_t)count * sizeof(*ids));
    struct ns_table table = {.slots = NULL};
    uint64_t start = now_ns();
    for (uint64_t i = 0; ids != NULL && i < count; i++) {
        ids[i] = call_of(i);
        uint32_t hash = (uint32_t)ns_siphash64(key, &ids[i], sizeof(ids[i]));
        if (ns_table_reserve(&table, 1) != 0 ||
            ns_table_find(&table, hash, same_id, ids, &ids[i]) != NULL) {
            exit(1);
        }
        ns_table_put(&table, hash, (uint32_t)i);
    }
    uint64_t took = now_ns() - start;
    ns_mem_free(table.slots);
    ns_mem_free(ids);
    return took;
}

/* --- the ledger ----------------------------------------------------------------------------- */

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
    snprintf(event.as.budget_put.entity, sizeof(event.as.budget_put.entity), "%s", entity);
    must(ledger, &event, 1);
}

static void
reserve(struct ns_ledger *ledger, uint64_t n, const char *customer)
{
    const char *entity[] = {"org", "key:0123456789abcdef", customer, "feature:search",
                            "agent:writer"};
    struct ns_ledger_event event = {.kind = NS_LEDGER_RESERVE};
    event.as.reserve = (struct ns_ledger_reserve){.call_id = call_of(n),
                                                  .owner = {n % 64, 1},
                                                  .mode = NS_MODE_ENFORCE,
                                                  .entity_count = 5,
                                                  .entity = entity,
                                                  .bound_nanousd = 2000,
                                                  .typical_nanousd = 1000,
                                                  .lost_nanousd = 500};
    must(ledger, &event, (int64_t)n * 1000 + 1);
}

static void
settle(struct ns_ledger *ledger, uint64_t n)
{
    struct ns_ledger_event event = {.kind = NS_LEDGER_SETTLE};
    event.as.settle = (struct ns_ledger_settle){.call_id = call_of(n), .cost_nanousd = 900};
    must(ledger, &event, (int64_t)n * 1000 + 1);
}

static uint64_t
ledger_events(uint64_t calls)
{
    static char customer[CUSTOMERS][32];
    for (int i = 0; i < CUSTOMERS; i++) {
        snprintf(customer[i], sizeof(customer[i]), "customer:c%06d", i);
    }
    struct ns_ledger *ledger = ns_ledger_new();
    if (ledger == NULL) {
        exit(1);
    }
    put_budget(ledger, 1, "org", NS_PERIOD_MONTH);
    put_budget(ledger, 2, "customer:*", NS_PERIOD_DAY);
    put_budget(ledger, 3, "feature:search", NS_PERIOD_DAY);
    uint64_t start = now_ns();
    for (uint64_t n = 0; n < calls + OPEN; n++) {
        if (n < calls) {
            reserve(ledger, n, customer[n % CUSTOMERS]);
        }
        if (n >= OPEN) {
            settle(ledger, n - OPEN);
        }
    }
    uint64_t took = now_ns() - start;
    ns_ledger_free(ledger);
    return took;
}

int
main(int argc, char **argv)
{
    uint64_t calls = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    print_rate("reference: bare hash insert", 2 * calls, hash_inserts(2 * calls));
    uint64_t per_s = print_rate("event (reserve on 3, settle)", 2 * calls, ledger_events(calls));
    printf("ledger %-34s %10d /s  %s\n", "goal", GOAL, per_s >= GOAL ? "met" : "NOT MET");
    return 0;
}
