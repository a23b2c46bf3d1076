/* SPDX-License-Identifier: Apache-2.0 */
/* Events in one line each, for the ledger's tests. */
#ifndef NS_TESTS_LEDGER_SUPPORT_H
#define NS_TESTS_LEDGER_SUPPORT_H

#include "collector/ledger.h"
#include "collector/ledger_state.h"
#include "tests/harness.h"

#define NS_HOUR_NS (INT64_C(3600) * 1000000000)
#define NS_DAY_NS (24 * NS_HOUR_NS)
/* 2026-11-23 00:00 UTC, a Monday. */
#define NS_MONDAY_NS (INT64_C(1795392000) * 1000000000)

#define ENTITIES(...)                                                                              \
    (sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)), (const char *[])                     \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static inline struct ns_uuid
call_of(uint32_t n)
{
    struct ns_uuid id = {{0}};
    memcpy(id.bytes + 12, &n, sizeof(n));
    return id;
}

static inline struct ns_ledger_event
budget_event(int64_t id, const char *entity, enum ns_period period, int64_t limit_nanousd)
{
    struct ns_ledger_event e = {.kind = NS_LEDGER_BUDGET_PUT};
    e.as.budget_put =
        (struct ns_budget){.id = id, .period = (uint8_t)period, .limit_nanousd = limit_nanousd};
    snprintf(e.as.budget_put.entity, sizeof(e.as.budget_put.entity), "%s", entity);
    return e;
}

/* A budget with a part for calls that finalize. */
static inline struct ns_ledger_event
keeping_event(int64_t id, const char *entity, int64_t limit_nanousd, int64_t finalize_nanousd)
{
    struct ns_ledger_event e = budget_event(id, entity, NS_PERIOD_DAY, limit_nanousd);
    e.as.budget_put.finalize_nanousd = finalize_nanousd;
    return e;
}

static inline struct ns_ledger_event
reserve_event(uint32_t call, uint64_t owner, int64_t amount, size_t count,
              const char *const *entity)
{
    struct ns_ledger_event e = {.kind = NS_LEDGER_RESERVE};
    e.as.reserve = (struct ns_ledger_reserve){.call_id = call_of(call),
                                              .owner = {owner, 0},
                                              .mode = NS_MODE_ENFORCE,
                                              .entity_count = (uint8_t)count,
                                              .entity = entity,
                                              .bound_nanousd = amount * 2,
                                              .typical_nanousd = amount,
                                              .lost_nanousd = amount / 2};
    return e;
}

/* A soft budget that denies, beyond its overdraft. */
static inline struct ns_ledger_event
overdraft_event(int64_t id, const char *entity, int64_t limit_nanousd, int64_t overdraft_nanousd)
{
    struct ns_ledger_event e = budget_event(id, entity, NS_PERIOD_DAY, limit_nanousd);
    e.as.budget_put.policy = NS_POLICY_SOFT;
    e.as.budget_put.overdraft_nanousd = overdraft_nanousd;
    return e;
}

/* A budget through which no more goes within a minute, and nothing for a minute after that. */
static inline struct ns_ledger_event
velocity_event(int64_t id, const char *entity, int64_t limit_nanousd, int64_t velocity_nanousd)
{
    struct ns_ledger_event e = budget_event(id, entity, NS_PERIOD_DAY, limit_nanousd);
    e.as.budget_put.velocity_nanousd = velocity_nanousd;
    e.as.budget_put.velocity_window_s = e.as.budget_put.velocity_cooldown_s = 60;
    return e;
}

/* So much more for a budget on this entity, for a day. models NULL: for any. */
static inline struct ns_ledger_event
grant_event(int64_t id, int64_t budget_id, const char *entity, int64_t nanousd, int64_t until_ns,
            const char *models)
{
    struct ns_ledger_event e = budget_event(id, entity, NS_PERIOD_TOTAL, nanousd);
    e.as.budget_put.grant_of = budget_id;
    e.as.budget_put.until_ns = until_ns;
    snprintf(e.as.budget_put.models, sizeof e.as.budget_put.models, "%s",
             models == NULL ? "" : models);
    return e;
}

/* A call that ends an agent's work. */
static inline struct ns_ledger_event
finalize_event(uint32_t call, uint64_t owner, int64_t amount, size_t count,
               const char *const *entity)
{
    struct ns_ledger_event e = reserve_event(call, owner, amount, count, entity);
    e.as.reserve.finalize = true;
    return e;
}

static inline struct ns_ledger_event
settle_event(uint32_t call, int64_t cost, int64_t opened_at_ns, size_t count,
             const char *const *entity)
{
    struct ns_ledger_event e = {.kind = NS_LEDGER_SETTLE};
    e.as.settle = (struct ns_ledger_settle){.call_id = call_of(call),
                                            .cost_nanousd = cost,
                                            .opened_at_ns = opened_at_ns,
                                            .entity_count = (uint8_t)count,
                                            .entity = entity};
    return e;
}

static inline struct ns_ledger_event
void_event(uint32_t call)
{
    struct ns_ledger_event e = {.kind = NS_LEDGER_VOID};
    e.as.voided.call_id = call_of(call);
    return e;
}

static inline struct ns_ledger_event
gone_event(uint64_t owner)
{
    struct ns_ledger_event e = {.kind = NS_LEDGER_OWNER_GONE};
    e.as.owner_gone.owner = (struct ns_owner){owner, 0};
    return e;
}

static inline struct ns_ledger_event
progress_event(uint32_t call, int64_t lost_nanousd)
{
    struct ns_ledger_event e = {.kind = NS_LEDGER_PROGRESS};
    e.as.progress.call_id = call_of(call);
    e.as.progress.lost_nanousd = lost_nanousd;
    return e;
}

static inline struct ns_ledger_event
top_up_event(uint32_t call, int64_t lost, int64_t enough, int64_t wanted)
{
    struct ns_ledger_event e = {.kind = NS_LEDGER_TOP_UP};
    e.as.top_up = (struct ns_ledger_top_up){.call_id = call_of(call),
                                            .mode = NS_MODE_ENFORCE,
                                            .lost_nanousd = lost,
                                            .enough_nanousd = enough,
                                            .wanted_nanousd = wanted};
    return e;
}

static inline struct ns_ledger_event
remove_event(int64_t id)
{
    struct ns_ledger_event e = {.kind = NS_LEDGER_BUDGET_REMOVE};
    e.as.budget_remove.id = id;
    return e;
}

static inline struct ns_ledger_event
tick_event(void)
{
    return (struct ns_ledger_event){.kind = NS_LEDGER_TICK};
}

/* Applies, checks that the invariants hold, and returns the effect. */
static inline struct ns_ledger_effect
apply(struct ns_ledger *ledger, struct ns_ledger_event event, int64_t now_ns)
{
    struct ns_ledger_effect effect;
    CHECK_INT(ns_ledger_apply(ledger, &event, now_ns, &effect), 0);
    const char *fault = ns_ledger_fault(ledger);
    if (fault != NULL) {
        NS_FAIL("invariant broken: %s", fault);
    }
    return effect;
}

struct wanted_numbers {
    int64_t id;
    const char *entity;
    bool found;
    struct ns_ledger_numbers numbers;
};

static inline void
pick_numbers(void *context, const struct ns_ledger_numbers *numbers, const struct ns_budget *budget)
{
    (void)budget;
    struct wanted_numbers *wanted = context;
    if (numbers->budget_id == wanted->id && strcmp(numbers->entity, wanted->entity) == 0) {
        wanted->found = true;
        wanted->numbers = *numbers;
    }
}

/* The numbers of a budget on an entity; zeros where it has none. */
static inline struct ns_ledger_numbers
numbers_of(const struct ns_ledger *ledger, int64_t id, const char *entity, int64_t now_ns)
{
    struct wanted_numbers wanted = {.id = id, .entity = entity};
    ns_ledger_visit(ledger, now_ns, pick_numbers, &wanted);
    return wanted.numbers;
}

#endif
