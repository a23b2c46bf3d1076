/* SPDX-License-Identifier: Apache-2.0 */
/* Budgets come from Postgres and live in the journal, so that they hold while it is away; what they
 * have counted goes back to it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/gate.h"
#include "collector/service.h"

static int
by_id(const void *a, const void *b)
{
    const struct ns_budget *first = a;
    const struct ns_budget *second = b;
    return first->id < second->id ? -1 : first->id > second->id;
}

static bool
is_same(const struct ns_budget *a, const struct ns_budget *b)
{
    return a->id == b->id && a->period == b->period && a->policy == b->policy &&
           a->reserve == b->reserve && a->on_unreachable == b->on_unreachable &&
           a->deny_status == b->deny_status && a->limit_nanousd == b->limit_nanousd &&
           a->finalize_nanousd == b->finalize_nanousd &&
           a->overdraft_nanousd == b->overdraft_nanousd &&
           a->velocity_nanousd == b->velocity_nanousd &&
           a->velocity_window_s == b->velocity_window_s &&
           a->velocity_cooldown_s == b->velocity_cooldown_s && a->grant_of == b->grant_of &&
           a->until_ns == b->until_ns && a->spend_first == b->spend_first &&
           strcmp(a->models, b->models) == 0 && strcmp(a->entity, b->entity) == 0;
}

/* --- what the ledger has ------------------------------------------------------------------------
 */

struct known {
    struct ns_budget *budget;
    size_t count, room;
    bool failed;
};

static void
collect(void *context, const struct ns_ledger_numbers *numbers, const struct ns_budget *budget)
{
    struct known *known = context;
    (void)numbers;
    if (known->count == known->room) {
        size_t room = known->room == 0 ? 64 : known->room * 2;
        struct ns_budget *bigger = realloc(known->budget, room * sizeof *bigger);
        if (bigger == NULL) {
            known->failed = true;
            return;
        }
        known->budget = bigger;
        known->room = room;
    }
    known->budget[known->count++] = *budget;
}

/* Sorts by id and drops what stands twice (one budget has many counters). */
static size_t
sort_budgets(struct ns_budget *budget, size_t count)
{
    size_t kept = 0;
    if (count > 0) {
        qsort(budget, count, sizeof *budget, by_id);
    }
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || budget[kept - 1].id != budget[i].id) {
            budget[kept++] = budget[i];
        }
    }
    return kept;
}

/* Takes a list that is sorted by id, from malloc. Returns 0, or -ENOMEM with it freed. */
static int
keep(struct ns_gate *gate, struct ns_budget *budget, size_t count)
{
    size_t grants = 0;
    for (size_t i = 0; i < count; i++) {
        grants += budget[i].models[0] != '\0';
    }
    size_t *model_grant = malloc((grants + 1) * sizeof *model_grant);
    if (model_grant == NULL) {
        free(budget);
        return -ENOMEM;
    }
    free(gate->budget);
    free(gate->model_grant);
    gate->budget = budget;
    gate->budget_count = count;
    gate->model_grant = model_grant;
    gate->model_grant_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (budget[i].models[0] != '\0') {
            gate->model_grant[gate->model_grant_count++] = i;
        }
    }
    return 0;
}

int
ns_gate_budgets_known(struct ns_gate *gate)
{
    struct known known = {0};
    ns_ledger_visit(gate->state.ledger, ns_realtime_ns(), collect, &known);
    if (known.failed) {
        free(known.budget);
        return -ENOMEM;
    }
    return keep(gate, known.budget, sort_budgets(known.budget, known.count));
}

/* One that is over does not take the place of one that is not; of those in force a call names the
 * first few. */
void
ns_gate_grants_of(const struct ns_gate *gate, struct ns_text model,
                  struct ns_ledger_reserve *reserve)
{
    for (size_t i = 0; i < gate->model_grant_count && reserve->grant_count < NS_CALL_GRANTS_MAX;
         i++) {
        const struct ns_budget *grant = &gate->budget[gate->model_grant[i]];
        bool its = false;
        for (uint8_t e = 0; e < reserve->entity_count && !its; e++) {
            its = strcmp(grant->entity, reserve->entity[e]) == 0;
        }
        if (its && gate->now_ns < grant->until_ns &&
            ns_words_fit(ns_text_of(grant->models), model)) {
            reserve->grant[reserve->grant_count++] = grant->id;
        }
    }
}

/* --- what Postgres has --------------------------------------------------------------------------
 */

static void
commit(struct ns_gate *gate, const struct ns_ledger_event *event, const char *entity)
{
    memset(&gate->record, 0, sizeof gate->record);
    gate->now_ns = ns_realtime_ns();
    gate->record.type = NS_RECORD_BUDGET;
    gate->record.at_ns = gate->now_ns;
    gate->record.event = *event;
    struct ns_ledger_effect effect;
    int error = ns_gate_apply(gate, &effect);
    if (error != 0 || effect.result == NS_LEDGER_FULL) {
        ns_log("budget %s is not in force: %s", entity,
               error != 0 ? strerror(-error) : "too many budgets");
        return;
    }
    gate->record.outcome.result = (uint8_t)effect.result;
    ns_gate_append(gate, NULL);
}

static void
put_budget(struct ns_gate *gate, const struct ns_budget *budget)
{
    struct ns_ledger_event event = {.kind = NS_LEDGER_BUDGET_PUT, .as.budget_put = *budget};
    commit(gate, &event, budget->entity);
}

static void
remove_budget(struct ns_gate *gate, const struct ns_budget *budget)
{
    struct ns_ledger_event event = {.kind = NS_LEDGER_BUDGET_REMOVE,
                                    .as.budget_remove.id = budget->id};
    commit(gate, &event, budget->entity);
}

/* Both lists are sorted by id. Removals go first, so that an entity can change its budget. */
static void
reconcile(struct ns_gate *gate, const struct ns_budget *next, size_t next_count)
{
    for (int pass = 0; pass < 2; pass++) {
        size_t old = 0;
        size_t new = 0;
        while (old < gate->budget_count || new < next_count) {
            bool only_old = new == next_count ||
                            (old < gate->budget_count && gate->budget[old].id < next[new].id);
            bool only_new =
                !only_old && (old == gate->budget_count || next[new].id < gate->budget[old].id);
            if (pass == 0 && only_old) {
                remove_budget(gate, &gate->budget[old]);
            } else if (pass == 1 && !only_old &&
                       (only_new || !is_same(&gate->budget[old], &next[new]))) {
                put_budget(gate, &next[new]);
            }
            old += only_new ? 0 : 1;
            new += only_old ? 0 : 1;
        }
    }
}

/* What Postgres has is compared with next time; a budget that the ledger refuses is not tried again
 * until it changes. */
static int
remember(struct ns_gate *gate, const struct ns_store_settings *next)
{
    struct ns_budget *copy = malloc((next->count + 1) * sizeof *copy);
    if (copy == NULL) {
        return -ENOMEM;
    }
    if (next->count > 0) {
        memcpy(copy, next->budget, next->count * sizeof *copy);
    }
    return keep(gate, copy, next->count);
}

static void
take_settings(struct ns_gate *gate)
{
    struct ns_store_settings *next = ns_store_take_settings(gate->store);
    if (next == NULL) {
        return;
    }
    next->count = sort_budgets(next->budget, next->count);
    reconcile(gate, next->budget, next->count);
    ns_gate_take_mandates(gate, next->mandate, next->mandate_count);
    ns_gate_flush(gate);
    if (gate->failure == 0 && remember(gate, next) == 0) {
        gate->revision = next->revision;
        ns_gate_counters(gate); /* so that `budget list` shows it at once */
        ns_store_enforced(gate->store, next->revision);
        ns_syncer_want(gate->syncer, ns_journal_written(gate->journal), true);
    }
    ns_store_settings_free(next);
}

void
ns_gate_store_event(struct ns_gate *gate)
{
    if (gate->store == NULL) {
        return;
    }
    ns_store_drain(gate->store);
    take_settings(gate);
    ns_gate_answer_syncs(gate);
}

/* --- what was counted ---------------------------------------------------------------------------
 */

struct changed {
    struct ns_ledger_numbers *numbers;
    size_t count, room;
};

static void
collect_changed(void *context, const struct ns_ledger_numbers *numbers,
                const struct ns_budget *budget)
{
    struct changed *changed = context;
    (void)budget;
    if (changed->count == changed->room) {
        size_t room = changed->room == 0 ? 64 : changed->room * 2;
        struct ns_ledger_numbers *bigger = realloc(changed->numbers, room * sizeof *bigger);
        if (bigger == NULL) {
            return; /* it changes again, or shows with the next start */
        }
        changed->numbers = bigger;
        changed->room = room;
    }
    changed->numbers[changed->count++] = *numbers;
}

void
ns_gate_counters(struct ns_gate *gate)
{
    static struct changed changed; /* its room is kept */
    if (gate->store == NULL) {
        return;
    }
    changed.count = 0;
    ns_ledger_visit_changed(gate->state.ledger, ns_realtime_ns(), collect_changed, &changed);
    if (changed.count > 0) {
        ns_store_counters(gate->store, changed.numbers, changed.count);
    }
}
