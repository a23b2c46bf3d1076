/* SPDX-License-Identifier: Apache-2.0 */
/* Budgets, their counters and periods, and which budgets match a call. */
#include "base/hash.h"
#include "collector/entity.h"
#include "collector/ledger_state.h"

/* --- look-up -------------------------------------------------------------------------------- */

static bool
same_entity(const void *context, uint32_t number, const void *key)
{
    const struct ns_entity_row *row = ns_entity_at(context, number);
    const struct ns_subject *subject = key;
    return row->bytes == subject->bytes && memcmp(row->text, subject->text, row->bytes) == 0;
}

static bool
same_budget(const void *context, uint32_t number, const void *key)
{
    return ns_budget_at(context, number)->budget.id == *(const int64_t *)key;
}

static uint32_t
id_hash(const struct ns_ledger *l, int64_t id)
{
    return (uint32_t)ns_siphash64(l->hash_key, &id, sizeof(id));
}

static struct ns_table_slot *
budget_find(const struct ns_ledger *l, int64_t id)
{
    return ns_table_find(&l->budget_of_id, id_hash(l, id), same_budget, l, &id);
}

struct ns_subject
ns_subject_of(const struct ns_ledger *l, const char *text, size_t bytes)
{
    struct ns_subject subject = {.text = text,
                                 .bytes = (uint16_t)bytes,
                                 .hash = (uint32_t)ns_siphash64(l->hash_key, text, bytes)};
    struct ns_table_slot *slot =
        ns_table_find(&l->entity_of_text, subject.hash, same_entity, l, &subject);
    subject.row = slot == NULL ? NS_NONE : slot->number;
    return subject;
}

/* --- counters ------------------------------------------------------------------------------- */

void
ns_counter_changed(struct ns_ledger *l, uint32_t number)
{
    struct ns_counter *c = ns_counter_at(l, number);
    if (c->changed) {
        return;
    }
    c->changed = true;
    c->changed_previous = NS_NONE;
    c->changed_next = l->changed_first;
    if (l->changed_first != NS_NONE) {
        ns_counter_at(l, l->changed_first)->changed_previous = number;
    }
    l->changed_first = number;
}

static void
counter_unchanged(struct ns_ledger *l, struct ns_counter *c)
{
    if (!c->changed) {
        return;
    }
    c->changed = false;
    if (c->changed_previous == NS_NONE) {
        l->changed_first = c->changed_next;
    } else {
        ns_counter_at(l, c->changed_previous)->changed_next = c->changed_next;
    }
    if (c->changed_next != NS_NONE) {
        ns_counter_at(l, c->changed_next)->changed_previous = c->changed_previous;
    }
}

/* Starts counting the period of now from nothing. */
static void
counter_start(struct ns_ledger *l, struct ns_counter *c, int64_t now_ns)
{
    enum ns_period period = (enum ns_period)ns_budget_at(l, c->budget)->budget.period;
    ns_period_bounds(period, now_ns, &c->start_ns, &c->end_ns);
    c->serial = l->next_serial++;
    c->spent_nanousd = c->held_nanousd = c->overshoot_nanousd = 0;
    c->rate = (struct ns_rate){.paused_until_ns = c->rate.paused_until_ns};
    if (c->end_ns < l->next_turn_ns) {
        l->next_turn_ns = c->end_ns;
    }
}

void
ns_counter_turn(struct ns_ledger *l, uint32_t number, int64_t now_ns)
{
    struct ns_counter *c = ns_counter_at(l, number);
    if (now_ns >= c->end_ns) {
        counter_start(l, c, now_ns);
        ns_counter_changed(l, number);
    }
}

struct ns_counter
ns_counter_view(const struct ns_ledger *l, uint32_t budget, uint32_t number, int64_t now_ns)
{
    struct ns_counter view = {.budget = budget};
    if (number != NS_NONE) {
        view = *ns_counter_at(l, number);
        if (now_ns < view.end_ns) {
            return view;
        }
        view.spent_nanousd = view.held_nanousd = view.overshoot_nanousd = 0;
        view.rate = (struct ns_rate){.paused_until_ns = view.rate.paused_until_ns};
    }
    enum ns_period period = (enum ns_period)ns_budget_at(l, budget)->budget.period;
    ns_period_bounds(period, now_ns, &view.start_ns, &view.end_ns);
    return view;
}

/* The row of an entity, made where it is missing; NS_NONE without memory. */
static uint32_t
entity_row(struct ns_ledger *l, const struct ns_subject *subject)
{
    struct ns_table_slot *slot =
        ns_table_find(&l->entity_of_text, subject->hash, same_entity, l, subject);
    if (slot != NULL) {
        return slot->number;
    }
    if (ns_pool_reserve(&l->entities, 1) != 0 || ns_table_reserve(&l->entity_of_text, 1) != 0) {
        return NS_NONE;
    }
    char *text = ns_mem_alloc((size_t)subject->bytes + 1);
    if (text == NULL) {
        return NS_NONE;
    }
    memcpy(text, subject->text, subject->bytes);
    uint32_t number = ns_pool_take(&l->entities);
    *ns_entity_at(l, number) = (struct ns_entity_row){
        .first = NS_NONE, .bytes = subject->bytes, .hash = subject->hash, .text = text};
    ns_table_put(&l->entity_of_text, subject->hash, number);
    return number;
}

static void
entity_row_drop_if_unused(struct ns_ledger *l, uint32_t number)
{
    struct ns_entity_row *row = ns_entity_at(l, number);
    if (row->first != NS_NONE) {
        return;
    }
    struct ns_subject subject = {.text = row->text, .bytes = row->bytes};
    ns_table_remove(&l->entity_of_text,
                    ns_table_find(&l->entity_of_text, row->hash, same_entity, l, &subject));
    ns_mem_free(row->text);
    ns_pool_give(&l->entities, number);
}

/* Where in its entity's list the counter is, or would be put. */
static uint32_t *
counter_link(struct ns_ledger *l, uint32_t entity, uint32_t budget)
{
    int64_t id = ns_budget_at(l, budget)->budget.id;
    uint32_t *link = &ns_entity_at(l, entity)->first;
    while (*link != NS_NONE) {
        struct ns_counter *c = ns_counter_at(l, *link);
        if (c->budget == budget || ns_budget_at(l, c->budget)->budget.id > id) {
            break;
        }
        link = &c->next;
    }
    return link;
}

uint32_t
ns_counter_new(struct ns_ledger *l, uint32_t budget, const struct ns_subject *subject,
               int64_t now_ns)
{
    if (ns_pool_reserve(&l->counters, 1) != 0) {
        return NS_NONE;
    }
    uint32_t entity = entity_row(l, subject);
    if (entity == NS_NONE) {
        return NS_NONE;
    }
    uint32_t number = ns_pool_take(&l->counters);
    uint32_t *link = counter_link(l, entity, budget);
    struct ns_counter *c = ns_counter_at(l, number);
    *c = (struct ns_counter){.budget = budget, .entity = entity, .next = *link};
    *link = number;
    counter_start(l, c, now_ns);
    ns_counter_changed(l, number);
    return number;
}

static void
counter_drop(struct ns_ledger *l, uint32_t number)
{
    struct ns_counter *c = ns_counter_at(l, number);
    counter_unchanged(l, c);
    uint32_t *link = &ns_entity_at(l, c->entity)->first;
    while (*link != number) {
        link = &ns_counter_at(l, *link)->next;
    }
    *link = c->next;
    uint32_t entity = c->entity;
    ns_pool_give(&l->counters, number);
    entity_row_drop_if_unused(l, entity);
}

void
ns_ledger_turn(struct ns_ledger *l, int64_t now_ns)
{
    if (now_ns < l->next_turn_ns) {
        return;
    }
    int64_t next = INT64_MAX;
    for (uint32_t i = 0; i < l->counters.used; i++) {
        struct ns_counter *c = ns_counter_at(l, i);
        if (c->serial == 0) {
            continue;
        }
        const struct ns_budget_row *row = ns_budget_at(l, c->budget);
        if (now_ns >= c->end_ns && row->own != i &&
            !ns_rate_is_wary(&row->budget, &c->rate, now_ns)) {
            counter_drop(l, i);
            continue;
        }
        ns_counter_turn(l, i, now_ns);
        if (c->end_ns < next) {
            next = c->end_ns;
        }
    }
    l->next_turn_ns = next;
}

/* --- matching ------------------------------------------------------------------------------- */

static int
match_add(struct ns_matches *m, uint32_t budget, uint32_t counter, unsigned subject)
{
    if (m->count == NS_MATCHES_MAX) {
        return -E2BIG;
    }
    m->match[m->count++] = (struct ns_match){budget, counter, (uint8_t)subject};
    return 0;
}

/* Budgets on the entity itself. */
static int
match_exact(const struct ns_ledger *l, struct ns_matches *m, unsigned subject, unsigned *periods)
{
    uint32_t row = m->subject[subject].row;
    uint32_t next = row == NS_NONE ? NS_NONE : ns_entity_at(l, row)->first;
    while (next != NS_NONE) {
        const struct ns_counter *c = ns_counter_at(l, next);
        const struct ns_budget_row *budget = ns_budget_at(l, c->budget);
        if (budget->pattern_bytes == 0 && budget->budget.grant_of == 0) {
            if (match_add(m, c->budget, next, subject) != 0) {
                return -E2BIG;
            }
            *periods |= 1U << budget->budget.period;
        }
        next = c->next;
    }
    return 0;
}

static uint32_t
counter_of(const struct ns_ledger *l, uint32_t row, uint32_t budget)
{
    uint32_t next = row == NS_NONE ? NS_NONE : ns_entity_at(l, row)->first;
    while (next != NS_NONE && ns_counter_at(l, next)->budget != budget) {
        next = ns_counter_at(l, next)->next;
    }
    return next;
}

/* Patterns are defaults: one gives way to a budget on the entity itself with the same period. */
static int
match_patterns(const struct ns_ledger *l, struct ns_matches *m, unsigned subject, unsigned periods)
{
    const struct ns_subject *s = &m->subject[subject];
    for (uint32_t i = 0; i < l->pattern_count; i++) {
        uint32_t number = l->patterns[i];
        const struct ns_budget_row *row = ns_budget_at(l, number);
        if ((periods & 1U << row->budget.period) == 0 &&
            ns_entity_match(row->budget.entity, row->pattern_bytes, s->text, s->bytes) &&
            match_add(m, number, counter_of(l, s->row, number), subject) != 0) {
            return -E2BIG;
        }
    }
    return 0;
}

static int
subjects_of(const struct ns_ledger *l, const char *const *entity, unsigned count,
            struct ns_matches *m)
{
    for (unsigned i = 0; i < count; i++) {
        size_t bytes = strnlen(entity[i], NS_ENTITY_BYTES_MAX + 1);
        if (bytes == 0 || bytes > NS_ENTITY_BYTES_MAX) {
            return -EINVAL;
        }
        m->subject[i] = ns_subject_of(l, entity[i], bytes);
        for (unsigned j = 0; j < i; j++) {
            if (m->subject[j].hash == m->subject[i].hash && m->subject[j].bytes == bytes &&
                memcmp(m->subject[j].text, entity[i], bytes) == 0) {
                return -EINVAL;
            }
        }
    }
    return 0;
}

int
ns_ledger_match(const struct ns_ledger *l, const char *const *entity, unsigned count,
                struct ns_matches *m)
{
    m->count = 0;
    int status = subjects_of(l, entity, count, m);
    for (unsigned i = 0; status == 0 && i < count; i++) {
        unsigned periods = 0;
        status = match_exact(l, m, i, &periods);
        if (status == 0) {
            status = match_patterns(l, m, i, periods);
        }
    }
    return status;
}

int
ns_ledger_match_create(struct ns_ledger *l, struct ns_matches *m, int64_t now_ns)
{
    uint32_t created[NS_MATCHES_MAX];
    unsigned count = 0;
    int status = 0;
    for (uint32_t i = 0; status == 0 && i < m->count; i++) {
        struct ns_match *match = &m->match[i];
        if (match->counter != NS_NONE) {
            continue;
        }
        if (l->counters.taken >= NS_COUNTERS_MAX) {
            status = -E2BIG;
            break;
        }
        match->counter = ns_counter_new(l, match->budget, &m->subject[match->subject], now_ns);
        if (match->counter == NS_NONE) {
            status = -ENOMEM;
            break;
        }
        created[count++] = match->counter;
    }
    while (status != 0 && count > 0) {
        counter_drop(l, created[--count]);
    }
    return status;
}

void
ns_ledger_number(const struct ns_ledger *l, uint32_t budget, uint32_t counter,
                 const struct ns_subject *subject, int64_t now_ns,
                 struct ns_ledger_numbers *numbers)
{
    const struct ns_budget *b = &ns_budget_at(l, budget)->budget;
    struct ns_counter c = ns_counter_view(l, budget, counter, now_ns);
    *numbers = (struct ns_ledger_numbers){.budget_id = b->id,
                                          .limit_nanousd = b->limit_nanousd,
                                          .finalize_nanousd = b->finalize_nanousd,
                                          .overdraft_nanousd = b->overdraft_nanousd,
                                          .velocity_nanousd = b->velocity_nanousd,
                                          .velocity_window_s = b->velocity_window_s,
                                          .spent_nanousd = c.spent_nanousd,
                                          .held_nanousd = c.held_nanousd,
                                          .overshoot_nanousd = c.overshoot_nanousd,
                                          .period_start_ns = c.start_ns,
                                          .period_end_ns = c.end_ns,
                                          .period = b->period,
                                          .policy = b->policy,
                                          .deny_status = b->deny_status};
    if (b->velocity_nanousd > 0) {
        numbers->rate_nanousd = ns_rate_nanousd(b, &c.rate, now_ns);
        numbers->paused_until_ns = now_ns < c.rate.paused_until_ns ? c.rate.paused_until_ns : 0;
    }
    if (subject != NULL) {
        memcpy(numbers->entity, subject->text, subject->bytes);
    } else {
        const struct ns_entity_row *row = ns_entity_at(l, c.entity);
        memcpy(numbers->entity, row->text, row->bytes);
    }
}

/* --- put and remove ------------------------------------------------------------------------- */

static bool
is_velocity_time(uint16_t seconds)
{
    return seconds >= NS_VELOCITY_S_MIN && seconds <= NS_VELOCITY_S_MAX;
}

static bool
velocity_valid(const struct ns_budget *b)
{
    return b->velocity_nanousd == 0
               ? b->velocity_window_s == 0 && b->velocity_cooldown_s == 0
               : b->velocity_nanousd > 0 && is_velocity_time(b->velocity_window_s) &&
                     is_velocity_time(b->velocity_cooldown_s);
}

/* A grant says nothing of what budgets alone say; a budget nothing of what grants do. */
static bool
grant_valid(const struct ns_budget *b)
{
    if (b->grant_of == 0) {
        return b->until_ns == 0 && !b->spend_first && b->models[0] == '\0';
    }
    return b->grant_of > 0 && b->grant_of != b->id && b->until_ns > 0 &&
           b->period == NS_PERIOD_TOTAL && b->policy == NS_POLICY_HARD &&
           b->reserve == NS_RESERVE_TYPICAL && b->on_unreachable == NS_UNREACHABLE_ALLOW &&
           b->deny_status == 0 && b->finalize_nanousd == 0 && b->velocity_nanousd == 0 &&
           strnlen(b->models, sizeof(b->models)) < sizeof(b->models) &&
           ns_entity_pattern_bytes(b->entity, strlen(b->entity)) == 0;
}

static bool
budget_valid(const struct ns_budget *b)
{
    size_t bytes = strnlen(b->entity, sizeof(b->entity));
    bool keeps = b->finalize_nanousd > 0 && b->finalize_nanousd < b->limit_nanousd;
    bool overdraws = b->overdraft_nanousd > 0 && b->policy == NS_POLICY_SOFT;
    return b->id > 0 && b->limit_nanousd >= 0 && (b->overdraft_nanousd == 0 || overdraws) &&
           (b->finalize_nanousd == 0 || keeps) && b->period < NS_PERIOD_COUNT &&
           b->policy < NS_POLICY_COUNT && b->reserve < NS_RESERVE_COUNT &&
           b->on_unreachable < NS_UNREACHABLE_COUNT && b->deny_status <= 999 && velocity_valid(b) &&
           ns_entity_check(b->entity, bytes, NULL) == 0 && grant_valid(b);
}

static bool
budget_denies_unreachable(const struct ns_budget *b)
{
    return ns_budget_denies(b) && b->on_unreachable == NS_UNREACHABLE_DENY;
}

static void
pattern_add(struct ns_ledger *l, uint32_t number)
{
    uint32_t at = l->pattern_count++;
    int64_t id = ns_budget_at(l, number)->budget.id;
    while (at > 0 && ns_budget_at(l, l->patterns[at - 1])->budget.id > id) {
        l->patterns[at] = l->patterns[at - 1];
        at--;
    }
    l->patterns[at] = number;
}

static void
pattern_remove(struct ns_ledger *l, uint32_t number)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < l->pattern_count; i++) {
        if (l->patterns[i] != number) {
            l->patterns[kept++] = l->patterns[i];
        }
    }
    l->pattern_count = kept;
}

/* Calls a function for every counter of a budget. */
static void
each_counter(struct ns_ledger *l, uint32_t budget, void (*visit)(struct ns_ledger *, uint32_t))
{
    const struct ns_budget_row *row = ns_budget_at(l, budget);
    if (row->pattern_bytes == 0) {
        visit(l, row->own);
        return;
    }
    for (uint32_t i = 0; i < l->counters.used; i++) {
        const struct ns_counter *c = ns_counter_at(l, i);
        if (c->serial != 0 && c->budget == budget) {
            visit(l, i);
        }
    }
}

static void
budget_drop(struct ns_ledger *l, struct ns_table_slot *slot)
{
    uint32_t number = slot->number;
    ns_table_remove(&l->budget_of_id, slot);
    each_counter(l, number, counter_drop);
    pattern_remove(l, number);
    l->deny_unreachable -= budget_denies_unreachable(&ns_budget_at(l, number)->budget);
    l->grant_count -= ns_budget_at(l, number)->budget.grant_of != 0;
    ns_pool_give(&l->budgets, number);
}

/* A budget that the table of ids does not know yet; NS_NONE without memory. */
static uint32_t
budget_new(struct ns_ledger *l, const struct ns_budget *budget, int64_t now_ns)
{
    if (ns_pool_reserve(&l->budgets, 1) != 0 || ns_table_reserve(&l->budget_of_id, 1) != 0) {
        return NS_NONE;
    }
    size_t bytes = strlen(budget->entity);
    uint32_t number = ns_pool_take(&l->budgets);
    struct ns_budget_row *row = ns_budget_at(l, number);
    row->live = true;
    row->pattern_bytes = (uint16_t)ns_entity_pattern_bytes(budget->entity, bytes);
    row->budget = *budget;
    struct ns_subject subject = ns_subject_of(l, budget->entity, bytes);
    uint32_t own = ns_counter_new(l, number, &subject, now_ns);
    if (own == NS_NONE) {
        ns_pool_give(&l->budgets, number);
        return NS_NONE;
    }
    ns_budget_at(l, number)->own = own;
    return number;
}

static void
counter_forget_rate(struct ns_ledger *l, uint32_t number)
{
    ns_counter_at(l, number)->rate = (struct ns_rate){0};
}

/* A velocity that changes begins anew: what is paused goes on. */
static void
budget_change(struct ns_ledger *l, uint32_t number, const struct ns_budget *budget)
{
    struct ns_budget *kept = &ns_budget_at(l, number)->budget;
    if (kept->velocity_nanousd != budget->velocity_nanousd ||
        kept->velocity_window_s != budget->velocity_window_s ||
        kept->velocity_cooldown_s != budget->velocity_cooldown_s) {
        each_counter(l, number, counter_forget_rate);
    }
    l->deny_unreachable -= budget_denies_unreachable(kept);
    l->deny_unreachable += budget_denies_unreachable(budget);
    *kept = *budget;
    each_counter(l, number, ns_counter_changed);
}

/* A copy whose bytes after the texts' ends are zero, and so are always the same. */
static struct ns_budget
budget_clean(const struct ns_budget *budget)
{
    struct ns_budget clean = *budget;
    size_t bytes = strlen(budget->entity);
    memset(clean.entity + bytes, 0, sizeof(clean.entity) - bytes);
    bytes = strlen(budget->models);
    memset(clean.models + bytes, 0, sizeof(clean.models) - bytes);
    return clean;
}

int
ns_ledger_budget_put(struct ns_ledger *l, const struct ns_budget *budget, int64_t now_ns,
                     struct ns_ledger_effect *effect)
{
    if (!budget_valid(budget)) {
        return -EINVAL;
    }
    struct ns_budget clean = budget_clean(budget);
    struct ns_table_slot *slot = budget_find(l, clean.id);
    if (slot != NULL) {
        const struct ns_budget *old = &ns_budget_at(l, slot->number)->budget;
        if (old->period == clean.period && old->grant_of == clean.grant_of &&
            strcmp(old->entity, clean.entity) == 0) {
            budget_change(l, slot->number, &clean);
            return 0;
        }
    }
    bool pattern = ns_entity_pattern_bytes(clean.entity, strlen(clean.entity)) != 0;
    if (l->budgets.taken >= NS_BUDGETS_MAX || l->counters.taken >= NS_COUNTERS_MAX ||
        (pattern && l->pattern_count == NS_PATTERNS_MAX)) {
        effect->result = NS_LEDGER_FULL;
        return 0;
    }
    uint32_t number = budget_new(l, &clean, now_ns);
    if (number == NS_NONE) {
        return -ENOMEM;
    }
    slot = budget_find(l, clean.id); /* making room may have moved it */
    if (slot != NULL) {
        budget_drop(l, slot);
    }
    ns_table_put(&l->budget_of_id, id_hash(l, clean.id), number);
    if (pattern) {
        pattern_add(l, number);
    }
    l->deny_unreachable += budget_denies_unreachable(&clean);
    l->grant_count += clean.grant_of != 0;
    return 0;
}

void
ns_ledger_budget_remove(struct ns_ledger *l, int64_t id, struct ns_ledger_effect *effect)
{
    struct ns_table_slot *slot = budget_find(l, id);
    if (slot == NULL) {
        effect->result = NS_LEDGER_UNKNOWN;
        return;
    }
    budget_drop(l, slot);
}
