/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A seeded simulation: random events against the ledger and against a model that is slow and
 * obviously right. The world is unkind: messages are lost, doubled and late, owners die, the clock
 * jumps both ways, people change budgets, and the collector crashes and comes back from its
 * snapshot and journal.
 *
 * The model keeps a list of postings (which budget, which entity, which period, how much) that it
 * never forgets, and a list of calls; every number is a sum over them.
 *
 * NS_SEED chooses the seed, NS_SIMULATION_STEPS how many events (default 20000). The seed of a
 * failure is printed: run it again with it.
 */
#include "collector/entity.h"
#include "tests/unit/ledger_support.h"

#define CALLS_MAX 400
#define BUDGETS 14
#define GRANTS 10 /* their ids follow */
#define POSTINGS_MAX 40000
#define FLOWS_MAX 40000
#define PAUSES_MAX 1000
#define LOG_BYTES 512

static uint64_t seed;
static bool failed;

#define EXPECT(condition, ...)                                                                     \
    do {                                                                                           \
        if (!(condition) && !failed) {                                                             \
            failed = true;                                                                         \
            NS_FAIL(__VA_ARGS__);                                                                  \
            printf("# NS_SEED=%" PRIu64 "\n", seed);                                               \
        }                                                                                          \
    } while (0)

static uint64_t
below(uint64_t n)
{
    return ns_test_random() % n;
}

/* --- the model ------------------------------------------------------------------------------ */

struct model_budget {
    bool live;
    uint32_t life; /* new whenever the count starts anew by a change of the budget */
    struct ns_budget budget;
};

/* Where something is counted. */
struct place {
    uint32_t life;
    const char *entity; /* one of the world's */
    int64_t period_start_ns;
};

struct posting {
    struct place place;
    int64_t cost_nanousd, overshoot_nanousd;
};

/* What a velocity has seen, in order: so much more, or less. */
struct flow {
    struct place place;
    int64_t at_ns, nanousd;
};

/* Until when an entity is paused, whatever its period. */
struct pause {
    uint32_t life;
    const char *entity;
    int64_t until_ns;
};

enum call_state { NEVER, OPEN, SETTLED, VOIDED, LOST };

struct model_call {
    enum call_state state;
    uint64_t owner;
    bool finalize;
    int64_t lost_nanousd, ended_at_ns, hold_nanousd, typical_nanousd;
    unsigned share_count;
    struct model_share {
        struct place place;
        int64_t amount;
        struct place grant; /* life 0: none */
        int64_t granted;
        bool grant_first;
    } share[NS_MATCHES_MAX];
    /* What the program would send, for doubling. */
    uint8_t entity_count;
    const char *entity[8];
};

static struct {
    int64_t now_ns;
    uint32_t lives;
    struct model_budget budget[BUDGETS + GRANTS];
    struct model_call call[CALLS_MAX];
    struct posting posting[POSTINGS_MAX];
    size_t posting_count;
    struct flow flow[FLOWS_MAX];
    size_t flow_count;
    struct pause pause[PAUSES_MAX];
    size_t pause_count;
} model;

static const char *const entities[] = {"org",        "team:core",    "team:web", "customer:a",
                                       "customer:b", "customer:c",   "agent:x",  "feature:chat",
                                       "customer:*", "tag:env=prod", "session:s"};
#define ENTITY_COUNT (sizeof(entities) / sizeof(entities[0]))
static const char *const budget_entities[] = {"org",        "team:core",   "customer:*",
                                              "customer:a", "customer:b",  "session:*",
                                              "tag:env=*",  "tag:env=prod"};
#define BUDGET_ENTITY_COUNT (sizeof(budget_entities) / sizeof(budget_entities[0]))

static int64_t
start_of(const struct ns_budget *budget, int64_t at_ns)
{
    int64_t start;
    int64_t end;
    ns_period_bounds((enum ns_period)budget->period, at_ns, &start, &end);
    return start;
}

static bool
same_place(const struct place *a, const struct place *b)
{
    return a->life == b->life && a->period_start_ns == b->period_start_ns &&
           strcmp(a->entity, b->entity) == 0;
}

static void
post_at(const struct place *place, int64_t cost, int64_t overshoot)
{
    for (size_t i = 0; i < model.posting_count; i++) {
        if (same_place(&model.posting[i].place, place)) {
            model.posting[i].cost_nanousd += cost;
            model.posting[i].overshoot_nanousd += overshoot;
            return;
        }
    }
    if (model.posting_count == POSTINGS_MAX) {
        /* Periods long over: nobody asks for them. */
        size_t kept = 0;
        for (size_t i = POSTINGS_MAX / 2; i < POSTINGS_MAX; i++) {
            model.posting[kept++] = model.posting[i];
        }
        model.posting_count = kept;
    }
    model.posting[model.posting_count++] = (struct posting){*place, cost, overshoot};
}

static int64_t
over(int64_t cost, int64_t amount)
{
    return cost > amount ? cost - amount : 0;
}

struct sums {
    int64_t spent, held, overshoot;
};

static struct sums
sums_at(const struct place *place)
{
    struct sums s = {0, 0, 0};
    for (size_t i = 0; i < model.posting_count; i++) {
        if (same_place(&model.posting[i].place, place)) {
            s.spent += model.posting[i].cost_nanousd;
            s.overshoot += model.posting[i].overshoot_nanousd;
        }
    }
    for (size_t i = 0; i < CALLS_MAX; i++) {
        for (unsigned j = 0; model.call[i].state == OPEN && j < model.call[i].share_count; j++) {
            if (same_place(&model.call[i].share[j].place, place)) {
                s.held += model.call[i].share[j].amount;
            }
            if (model.call[i].share[j].grant.life != 0 &&
                same_place(&model.call[i].share[j].grant, place)) {
                s.held += model.call[i].share[j].granted;
            }
        }
    }
    return s;
}

/* The budget of a place that is still counted, or NULL. */
static const struct ns_budget *
budget_of(const struct place *place, int64_t now_ns)
{
    for (int b = 0; b < BUDGETS + GRANTS; b++) {
        const struct model_budget *m = &model.budget[b];
        if (m->live && m->life == place->life &&
            start_of(&m->budget, now_ns) == place->period_start_ns) {
            return &m->budget;
        }
    }
    return NULL;
}

/* --- the model's velocities ------------------------------------------------------------------ */

static void
flow_at(const struct ns_budget *b, const struct place *place, int64_t nanousd, int64_t now_ns)
{
    if (b == NULL || b->velocity_nanousd == 0) {
        return;
    }
    if (model.flow_count == FLOWS_MAX) { /* of periods that are over nobody asks */
        size_t kept = 0;
        for (size_t i = 0; i < FLOWS_MAX; i++) {
            if (budget_of(&model.flow[i].place, now_ns) != NULL) {
                model.flow[kept++] = model.flow[i];
            }
        }
        model.flow_count = kept;
        EXPECT(kept < FLOWS_MAX, "too many flows for the model");
    }
    model.flow[model.flow_count++] = (struct flow){*place, now_ns, nanousd};
}

/* Two windows, of which the older counts by the part of it that lies in the last window_ns. */
static int64_t
rate_at(const struct ns_budget *b, const struct place *place, int64_t now_ns)
{
    int64_t window_ns = b->velocity_window_s * INT64_C(1000000000);
    int64_t begin_ns = 0;
    int64_t older = 0;
    int64_t newer = 0;
    for (size_t i = 0; i <= model.flow_count; i++) {
        bool last = i == model.flow_count;
        int64_t at_ns = last ? now_ns : model.flow[i].at_ns;
        if (!last && !same_place(&model.flow[i].place, place)) {
            continue;
        }
        if (at_ns >= begin_ns + 2 * window_ns) {
            older = newer = 0;
            begin_ns = at_ns;
        } else if (at_ns >= begin_ns + window_ns) {
            older = newer;
            newer = 0;
            begin_ns += window_ns;
        }
        newer += last ? 0 : model.flow[i].nanousd;
        if (newer < 0) {
            older = older + newer > 0 ? older + newer : 0;
            newer = 0;
        }
    }
    return (int64_t)((__int128)older * (begin_ns + window_ns - now_ns) / window_ns) + newer;
}

/* 0: it was never paused, or that is forgotten. */
static int64_t
pause_of(const struct place *place)
{
    for (size_t i = 0; i < model.pause_count; i++) {
        if (model.pause[i].life == place->life &&
            strcmp(model.pause[i].entity, place->entity) == 0) {
            return model.pause[i].until_ns;
        }
    }
    return 0;
}

static void
forget_velocity(uint32_t life, const char *entity)
{
    size_t kept = 0;
    for (size_t i = 0; i < model.flow_count; i++) {
        const struct place *p = &model.flow[i].place;
        if (p->life != life || (entity != NULL && strcmp(p->entity, entity) != 0)) {
            model.flow[kept++] = model.flow[i];
        }
    }
    model.flow_count = kept;
    kept = 0;
    for (size_t i = 0; i < model.pause_count; i++) {
        const struct pause *p = &model.pause[i];
        if (p->life != life || (entity != NULL && strcmp(p->entity, entity) != 0)) {
            model.pause[kept++] = model.pause[i];
        }
    }
    model.pause_count = kept;
}

static void
pause_at(const struct ns_budget *b, const struct place *place, int64_t now_ns)
{
    forget_velocity(place->life, place->entity);
    EXPECT(model.pause_count < PAUSES_MAX, "too many pauses for the model");
    model.pause[model.pause_count++] = (struct pause){
        place->life, place->entity, now_ns + b->velocity_cooldown_s * INT64_C(1000000000)};
}

enum speed { FITS, TOO_LARGE, TRIPS, PAUSED };

static enum speed
speed_of(const struct ns_budget *b, const struct place *place, int64_t nanousd, int64_t now_ns)
{
    int64_t paused_until_ns = pause_of(place);
    if (b->velocity_nanousd == 0) {
        return FITS;
    }
    if (paused_until_ns > now_ns) {
        return PAUSED;
    }
    if (nanousd > b->velocity_nanousd) {
        return TOO_LARGE;
    }
    int64_t gone = rate_at(b, place, now_ns);
    int64_t most = b->velocity_nanousd;
    int64_t trial_end_ns = paused_until_ns + b->velocity_window_s * INT64_C(1000000000);
    if (paused_until_ns != 0 && now_ns < trial_end_ns && gone > 0) {
        most /= 10;
    }
    return gone + nanousd > most ? TRIPS : FITS;
}

struct model_match {
    const struct model_budget *budget;
    struct place place;
};

static bool
is_pattern_of(const struct ns_budget *b, const char *entity)
{
    size_t n = ns_entity_pattern_bytes(b->entity, strlen(b->entity));
    return n != 0 && strncmp(b->entity, entity, n) == 0 && strlen(entity) > n;
}

/* The budgets of a call: for each entity those on itself by id, then the defaults by id that none
 * of the same period on itself replaces. */
static unsigned
match(unsigned count, const char *const *entity, int64_t now_ns, struct model_match *matches)
{
    unsigned n = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned own_periods = 0;
        for (int pass = 0; pass < 2; pass++) {
            for (int b = 0; b < BUDGETS; b++) {
                const struct model_budget *m = &model.budget[b];
                bool pattern =
                    ns_entity_pattern_bytes(m->budget.entity, strlen(m->budget.entity)) != 0;
                bool hit = pass == 0 ? !pattern && strcmp(m->budget.entity, entity[i]) == 0
                                     : is_pattern_of(&m->budget, entity[i]) &&
                                           (own_periods & 1U << m->budget.period) == 0;
                if (m->live && hit) {
                    own_periods |= pass == 0 ? 1U << m->budget.period : 0;
                    matches[n++] =
                        (struct model_match){m, {m->life, entity[i], start_of(&m->budget, now_ns)}};
                }
            }
        }
    }
    return n;
}

/* --- one event on both ---------------------------------------------------------------------- */

static void
model_budget_put(const struct ns_budget *b)
{
    struct model_budget *m = &model.budget[b->id - 1];
    if (!m->live || m->budget.period != b->period || m->budget.grant_of != b->grant_of ||
        strcmp(m->budget.entity, b->entity) != 0) {
        m->life = ++model.lives;
    } else if (m->budget.velocity_nanousd != b->velocity_nanousd ||
               m->budget.velocity_window_s != b->velocity_window_s ||
               m->budget.velocity_cooldown_s != b->velocity_cooldown_s) {
        forget_velocity(m->life, NULL);
    }
    m->live = true;
    m->budget = *b;
}

/* How far a call may go before that is told. */
static int64_t
room_of(const struct ns_budget *b, bool finalize)
{
    return finalize ? b->limit_nanousd : b->limit_nanousd - b->finalize_nanousd;
}

/* And before it is denied, where `denies` says that it can be. */
static int64_t
most_of(const struct ns_budget *b, bool finalize)
{
    return room_of(b, finalize) + (b->policy == NS_POLICY_SOFT ? b->overdraft_nanousd : 0);
}

static bool
denies(const struct ns_budget *b)
{
    return b->policy == NS_POLICY_HARD || (b->policy == NS_POLICY_SOFT && b->overdraft_nanousd > 0);
}

/* --- the model's grants --------------------------------------------------------------------- */

static int64_t
left_of(const struct ns_budget *grant, const struct place *place, int64_t now_ns)
{
    struct sums s = sums_at(place);
    return now_ns < grant->until_ns ? over(grant->limit_nanousd, s.spent + s.held) : 0;
}

/* What is beyond what the budget has itself, or all of it; as much of that as is left. */
static int64_t
granted_of(int64_t needed, bool grant_first, int64_t own_room, int64_t left)
{
    int64_t wanted = grant_first ? needed : over(needed, own_room);
    return wanted < left ? wanted : left;
}

static int64_t
own_room(const struct ns_budget *b, bool finalize, const struct place *place)
{
    struct sums s = sums_at(place);
    return over(room_of(b, finalize), s.spent + s.held);
}

/* Fills what of an amount is the budget's own and what a grant's. Returns what is left of the
 * largest grant. */
static int64_t
split(const struct ns_ledger_reserve *e, const struct model_match *m, int64_t needed,
      int64_t now_ns, struct model_share *share)
{
    int64_t room = own_room(&m->budget->budget, e->finalize, &m->place);
    int64_t largest = 0;
    *share = (struct model_share){.place = m->place, .amount = needed};
    for (int g = BUDGETS; g < BUDGETS + GRANTS; g++) {
        const struct ns_budget *grant = &model.budget[g].budget;
        struct place place = {model.budget[g].life, m->place.entity, 0};
        bool usable = model.budget[g].live && grant->grant_of == m->budget->budget.id &&
                      strcmp(grant->entity, m->place.entity) == 0;
        bool fits = grant->models[0] == '\0';
        for (unsigned i = 0; i < e->grant_count; i++) {
            fits |= e->grant[i] == grant->id;
        }
        int64_t left = usable && fits ? left_of(grant, &place, now_ns) : 0;
        if (left == 0) {
            continue;
        }
        largest = left > largest ? left : largest;
        int64_t granted = granted_of(needed, grant->spend_first, room, left);
        bool enough = granted > 0 && needed - granted <= room;
        if ((enough && share->granted == 0) || share->grant.life == 0) {
            *share = (struct model_share){.place = m->place,
                                          .amount = needed - (enough ? granted : 0),
                                          .grant = place,
                                          .granted = enough ? granted : 0,
                                          .grant_first = grant->spend_first};
        }
    }
    return largest;
}

static enum ns_reason
reason_of(const char *entity)
{
    return entity[0] == 's' ? NS_REASON_SESSION_CAP : NS_REASON_BUDGET_EXCEEDED;
}

static void
model_reserve(const struct ns_ledger_reserve *e, struct model_call *call, int64_t now_ns,
              const struct ns_ledger_effect *effect)
{
    if (call->state != NEVER) {
        EXPECT(effect->result == NS_LEDGER_DUPLICATE, "a second reserve: %d", effect->result);
        return;
    }
    struct model_match matches[NS_MATCHES_MAX];
    unsigned count = match(e->entity_count, e->entity, now_ns, matches);
    const struct model_match *denied_by = NULL;
    bool denied = false;
    enum ns_reason reason = NS_REASON_NONE;
    unsigned tripped = 0;
    int64_t largest = 0;
    int64_t granted = 0;
    struct model_share share[NS_MATCHES_MAX];
    for (unsigned i = 0; i < count && !denied; i++) {
        const struct ns_budget *b = &matches[i].budget->budget;
        struct sums s = sums_at(&matches[i].place);
        int64_t amount = b->reserve == NS_RESERVE_BOUND ? e->bound_nanousd : e->typical_nanousd;
        largest = amount > largest ? amount : largest;
        int64_t left = split(e, &matches[i], amount, now_ns, &share[i]);
        enum speed speed = speed_of(b, &matches[i].place, e->typical_nanousd, now_ns);
        if (speed == TRIPS) {
            pause_at(b, &matches[i].place, now_ns);
            tripped++;
        }
        if (speed != FITS) {
            denied = (b->policy == NS_POLICY_HARD || b->policy == NS_POLICY_SOFT) &&
                     e->mode == NS_MODE_ENFORCE;
            granted = denied || denied_by == NULL ? 0 : granted;
            reason = denied || denied_by == NULL ? NS_REASON_VELOCITY : reason;
            denied_by = denied || denied_by == NULL ? &matches[i] : denied_by;
        }
        if (denied) {
            break;
        }
        if (share[i].granted == 0 &&
            (b->limit_nanousd == 0 || s.spent + s.held + amount > room_of(b, e->finalize))) {
            int64_t most = most_of(b, e->finalize);
            denied = denies(b) && e->mode == NS_MODE_ENFORCE &&
                     (most == 0 || s.spent + s.held + amount > most);
            granted = denied || denied_by == NULL ? left : granted;
            reason = denied || denied_by == NULL ? reason_of(matches[i].place.entity) : reason;
            denied_by = denied || denied_by == NULL ? &matches[i] : denied_by;
        }
    }
    EXPECT(effect->result == (denied ? NS_LEDGER_DENIED : NS_LEDGER_DONE), "reserve: %d, not %d",
           effect->result, denied);
    EXPECT(effect->matched == count, "matched %u, not %u", effect->matched, count);
    EXPECT(effect->would_deny == (denied_by != NULL && !denied), "would deny");
    EXPECT(effect->denied_by.reason == reason, "reason %d, not %d", effect->denied_by.reason,
           reason);
    EXPECT(effect->denied_by.granted_nanousd == granted, "granted %lld, not %lld",
           (long long)effect->denied_by.granted_nanousd, (long long)granted);
    EXPECT(effect->tripped == tripped, "tripped %u, not %u", effect->tripped, tripped);
    EXPECT(denied_by == NULL || (effect->denied_by.budget_id == denied_by->budget->budget.id &&
                                 strcmp(effect->denied_by.entity, denied_by->place.entity) == 0),
           "denied by another budget: %s", effect->denied_by.entity);
    if (denied) {
        return;
    }
    EXPECT(effect->hold_nanousd == largest, "hold");
    *call = (struct model_call){.state = OPEN,
                                .owner = e->owner.a,
                                .finalize = e->finalize,
                                .lost_nanousd = e->lost_nanousd,
                                .hold_nanousd = largest,
                                .typical_nanousd = e->typical_nanousd,
                                .share_count = count};
    for (unsigned i = 0; i < count; i++) {
        const struct ns_budget *b = &matches[i].budget->budget;
        call->share[i] = share[i];
        flow_at(b, &matches[i].place, e->typical_nanousd, now_ns);
        if (denied_by == NULL && b->policy == NS_POLICY_HARD && share[i].amount > 0) {
            struct sums s = sums_at(&matches[i].place);
            EXPECT(s.spent + s.held <= room_of(b, e->finalize), "a reserve passed a hard limit");
        }
    }
}

static int64_t
share_left(const struct model_share *share, int64_t now_ns)
{
    const struct ns_budget *grant =
        share->grant.life == 0 ? NULL : budget_of(&share->grant, now_ns);
    return grant == NULL ? 0 : left_of(grant, &share->grant, now_ns);
}

/* Tries every amount from the wanted one down, in steps of what all amounts are multiples of. */
static void
model_top_up(const struct ns_ledger_top_up *e, struct model_call *call, int64_t now_ns,
             const struct ns_ledger_effect *effect)
{
    if (call->state != OPEN) {
        EXPECT(effect->result == (call->state == NEVER ? NS_LEDGER_UNKNOWN : NS_LEDGER_DUPLICATE),
               "a top-up of no open call: %d", effect->result);
        return;
    }
    int64_t target = e->wanted_nanousd;
    bool fits = false;
    for (; !fits && target >= e->enough_nanousd; target -= fits ? 0 : 25) {
        fits = true;
        for (unsigned i = 0; i < call->share_count && fits; i++) {
            const struct ns_budget *b = budget_of(&call->share[i].place, now_ns);
            if (b == NULL || !denies(b) || e->mode != NS_MODE_ENFORCE) {
                continue;
            }
            const struct model_share *share = &call->share[i];
            struct sums s = sums_at(&share->place);
            int64_t growth = over(target, share->amount + share->granted);
            int64_t most = over(most_of(b, call->finalize), s.spent + s.held);
            fits = growth == 0 || growth <= most + share_left(share, now_ns);
        }
    }
    EXPECT(effect->result == (fits ? NS_LEDGER_DONE : NS_LEDGER_DENIED), "top-up: %d, not %d",
           effect->result, !fits);
    if (!fits) {
        return;
    }
    int64_t firm = INT64_MAX;
    for (unsigned i = 0; i < call->share_count; i++) {
        const struct ns_budget *b = budget_of(&call->share[i].place, now_ns);
        if (b == NULL) {
            continue;
        }
        struct model_share *share = &call->share[i];
        int64_t growth = over(target, share->amount + share->granted);
        int64_t part =
            granted_of(growth, share->grant_first, own_room(b, call->finalize, &share->place),
                       share_left(share, now_ns));
        share->amount += growth - part;
        share->granted += part;
        int64_t total = share->amount + share->granted;
        call->hold_nanousd = total > call->hold_nanousd ? total : call->hold_nanousd;
        if (denies(b) && e->mode == NS_MODE_ENFORCE && total < firm) {
            firm = total;
        }
    }
    call->lost_nanousd = e->lost_nanousd;
    EXPECT(effect->hold_nanousd == call->hold_nanousd, "hold after a top-up: %lld, not %lld",
           (long long)effect->hold_nanousd, (long long)call->hold_nanousd);
    EXPECT(effect->firm_nanousd == firm, "firm after a top-up");
}

/* counted: what velocities have counted of it before. Of a lost call what its grants do not pay is
 * given back: they pay no more of it than is left. */
static void
model_charge(struct model_call *call, int64_t cost, int64_t sign, int64_t counted, int64_t now_ns)
{
    for (unsigned i = 0; i < call->share_count; i++) {
        const struct place *place = &call->share[i].place;
        const struct model_share *share = &call->share[i];
        const struct ns_budget *grant =
            share->grant.life == 0 ? NULL : budget_of(&share->grant, now_ns);
        int64_t left = share->granted;
        if (call->state == LOST && sign > 0 && grant != NULL) {
            struct sums s = sums_at(&share->grant);
            int64_t most = over(grant->limit_nanousd, s.spent + s.held);
            left = most < left ? most : left;
        }
        int64_t part = granted_of(cost, share->grant_first, share->amount, left);
        post_at(place, sign * (cost - part), sign * over(cost - part, share->amount));
        if (share->grant.life != 0) {
            post_at(&share->grant, sign * part, 0);
        }
        flow_at(budget_of(place, now_ns), place, sign * cost - counted, now_ns);
    }
}

static void
model_settle(const struct ns_ledger_settle *e, struct model_call *call, int64_t now_ns,
             const struct ns_ledger_effect *effect)
{
    if (call->state == SETTLED || call->state == VOIDED) {
        EXPECT(effect->result == NS_LEDGER_DUPLICATE, "a second settle: %d", effect->result);
        return;
    }
    EXPECT(effect->result == NS_LEDGER_DONE, "settle: %d", effect->result);
    EXPECT(effect->corrected == (call->state == LOST), "corrected");
    if (call->state == NEVER) {
        struct model_match matches[NS_MATCHES_MAX];
        int64_t opened = e->opened_at_ns < now_ns ? e->opened_at_ns : now_ns;
        unsigned count = match(e->entity_count, e->entity, opened, matches);
        for (unsigned i = 0; i < count; i++) {
            post_at(&matches[i].place, e->cost_nanousd, e->cost_nanousd);
            flow_at(&matches[i].budget->budget, &matches[i].place, e->cost_nanousd, now_ns);
        }
    } else if (call->state == LOST) {
        model_charge(call, call->lost_nanousd, -1, 0, now_ns);
        model_charge(call, e->cost_nanousd, 1, 0, now_ns);
    } else {
        EXPECT(effect->released_nanousd == call->hold_nanousd, "released");
        EXPECT(effect->overshoot_nanousd == over(e->cost_nanousd, call->hold_nanousd), "overshoot");
        model_charge(call, e->cost_nanousd, 1, call->typical_nanousd, now_ns);
    }
    if (call->state != LOST) {
        call->ended_at_ns = now_ns;
    }
    call->state = SETTLED;
}

static void
model_void(struct model_call *call, int64_t now_ns, const struct ns_ledger_effect *effect)
{
    bool open = call->state == OPEN;
    bool lost = call->state == LOST;
    enum ns_ledger_result expected = call->state == NEVER ? NS_LEDGER_UNKNOWN
                                     : open || lost       ? NS_LEDGER_DONE
                                                          : NS_LEDGER_DUPLICATE;
    EXPECT(effect->result == expected, "void: %d, not %d", effect->result, expected);
    EXPECT(effect->corrected == lost, "corrected by a void");
    if (open) {
        model_charge(call, 0, 1, call->typical_nanousd, now_ns);
    }
    if (lost) {
        model_charge(call, call->lost_nanousd, -1, 0, now_ns);
    }
    call->ended_at_ns = open ? now_ns : call->ended_at_ns;
    call->state = open || lost ? VOIDED : call->state;
}

static uint32_t
number_of(const struct ns_uuid *id)
{
    uint32_t n;
    memcpy(&n, id->bytes + 12, sizeof(n));
    return n;
}

/* In the order that the ledger says: what a velocity has seen depends on it. */
static void
model_owner_gone(uint64_t owner, int64_t now_ns, const struct ns_ledger_effect *effect)
{
    size_t open = 0;
    for (size_t i = 0; i < CALLS_MAX; i++) {
        open += model.call[i].state == OPEN && model.call[i].owner == owner;
    }
    EXPECT(effect->lost_count == open, "lost %zu, not %zu", effect->lost_count, open);
    for (size_t i = 0; i < effect->lost_count; i++) {
        struct model_call *call = &model.call[number_of(&effect->lost[i].call_id)];
        EXPECT(call->state == OPEN && call->owner == owner, "another call is lost");
        EXPECT(effect->lost[i].charged_nanousd == call->lost_nanousd, "another charge");
        model_charge(call, call->lost_nanousd, 1, call->typical_nanousd, now_ns);
        call->state = LOST;
        call->ended_at_ns = now_ns;
    }
}

static void
model_forget(int64_t now_ns)
{
    for (size_t i = 0; i < CALLS_MAX; i++) {
        struct model_call *call = &model.call[i];
        if (call->state > OPEN && now_ns - call->ended_at_ns >= NS_ENDED_KEPT_NS) {
            call->state = NEVER;
        }
    }
}

static void
model_apply(const struct ns_ledger_event *e, int64_t at_ns, const struct ns_ledger_effect *effect)
{
    int64_t now_ns = at_ns > model.now_ns ? at_ns : model.now_ns;
    switch (e->kind) {
    case NS_LEDGER_BUDGET_PUT:
        model_budget_put(&e->as.budget_put);
        break;
    case NS_LEDGER_BUDGET_REMOVE:
        EXPECT((effect->result == NS_LEDGER_DONE) == model.budget[e->as.budget_remove.id - 1].live,
               "remove");
        model.budget[e->as.budget_remove.id - 1].live = false;
        break;
    case NS_LEDGER_RESERVE:
        model_reserve(&e->as.reserve, &model.call[number_of(&e->as.reserve.call_id)], now_ns,
                      effect);
        break;
    case NS_LEDGER_PROGRESS: {
        struct model_call *call = &model.call[number_of(&e->as.progress.call_id)];
        EXPECT((effect->result == NS_LEDGER_DONE) == (call->state == OPEN), "progress");
        if (call->state == OPEN) {
            call->lost_nanousd = e->as.progress.lost_nanousd;
        }
        break;
    }
    case NS_LEDGER_TOP_UP:
        model_top_up(&e->as.top_up, &model.call[number_of(&e->as.top_up.call_id)], now_ns, effect);
        break;
    case NS_LEDGER_SETTLE:
        model_settle(&e->as.settle, &model.call[number_of(&e->as.settle.call_id)], now_ns, effect);
        break;
    case NS_LEDGER_VOID:
        model_void(&model.call[number_of(&e->as.voided.call_id)], now_ns, effect);
        break;
    case NS_LEDGER_OWNER_GONE:
        model_owner_gone(e->as.owner_gone.owner.a, now_ns, effect);
        break;
    case NS_LEDGER_TICK:
        model_forget(now_ns);
        break;
    }
    if (effect->result == NS_LEDGER_DONE || effect->tripped > 0) {
        model.now_ns = now_ns;
    }
}

/* --- comparing ------------------------------------------------------------------------------ */

struct comparison {
    int64_t spent, held;
};

static const char *
world_entity(const char *text)
{
    for (size_t i = 0; i < ENTITY_COUNT; i++) {
        if (strcmp(entities[i], text) == 0) {
            return entities[i];
        }
    }
    return text;
}

static bool
same_budget(const struct ns_budget *a, const struct ns_budget *b)
{
    return a->id == b->id && strcmp(a->entity, b->entity) == 0 && a->period == b->period &&
           a->policy == b->policy && a->reserve == b->reserve &&
           a->limit_nanousd == b->limit_nanousd && a->finalize_nanousd == b->finalize_nanousd &&
           a->overdraft_nanousd == b->overdraft_nanousd &&
           a->velocity_nanousd == b->velocity_nanousd &&
           a->velocity_window_s == b->velocity_window_s &&
           a->velocity_cooldown_s == b->velocity_cooldown_s && a->grant_of == b->grant_of &&
           a->until_ns == b->until_ns && a->spend_first == b->spend_first &&
           strcmp(a->models, b->models) == 0;
}

static void
compare_one(void *context, const struct ns_ledger_numbers *n, const struct ns_budget *budget)
{
    struct comparison *total = context;
    const struct model_budget *m = &model.budget[n->budget_id - 1];
    EXPECT(m->live && same_budget(&m->budget, budget), "another budget");
    struct place place = {m->life, world_entity(n->entity), start_of(&m->budget, model.now_ns)};
    struct sums s = sums_at(&place);
    EXPECT(n->spent_nanousd == s.spent && n->held_nanousd == s.held &&
               n->overshoot_nanousd == s.overshoot,
           "%s of budget %lld: spent %lld held %lld overshoot %lld, not %lld %lld %lld", n->entity,
           (long long)n->budget_id, (long long)n->spent_nanousd, (long long)n->held_nanousd,
           (long long)n->overshoot_nanousd, (long long)s.spent, (long long)s.held,
           (long long)s.overshoot);
    EXPECT(budget->grant_of == 0 || (s.spent + s.held <= budget->limit_nanousd && s.spent >= 0),
           "grant %lld is overspent", (long long)n->budget_id);
    EXPECT(n->period_start_ns == place.period_start_ns, "another period");
    bool fast = budget->velocity_nanousd > 0;
    int64_t rate = fast ? rate_at(budget, &place, model.now_ns) : 0;
    EXPECT(n->rate_nanousd == rate, "%s of budget %lld: within the window went %lld, not %lld",
           n->entity, (long long)n->budget_id, (long long)n->rate_nanousd, (long long)rate);
    int64_t until_ns = pause_of(&place);
    EXPECT(n->paused_until_ns == (until_ns > model.now_ns ? until_ns : 0), "another pause");
    total->spent += n->spent_nanousd;
    total->held += n->held_nanousd;
}

/* Every counter has the model's numbers, and together they are all that the model has. */
static void
compare(const struct ns_ledger *l)
{
    const char *fault = ns_ledger_fault(l);
    EXPECT(fault == NULL, "%s", fault);
    struct comparison total = {0, 0};
    ns_ledger_visit(l, model.now_ns, compare_one, &total);
    struct comparison expected = {0, 0};
    for (int b = 0; b < BUDGETS + GRANTS; b++) {
        for (size_t e = 0; model.budget[b].live && e < ENTITY_COUNT; e++) {
            struct place place = {model.budget[b].life, entities[e],
                                  start_of(&model.budget[b].budget, model.now_ns)};
            struct sums s = sums_at(&place);
            expected.spent += s.spent;
            expected.held += s.held;
        }
    }
    EXPECT(total.spent == expected.spent && total.held == expected.held, "a count is missing");
}

/* --- events --------------------------------------------------------------------------------- */

/* Entities of a call: the same for a number, so that a doubled message is the same message. */
static uint8_t
entities_of(uint32_t call, const char **entity)
{
    uint8_t count = 0;
    for (size_t i = 0; i < ENTITY_COUNT && count < 8; i++) {
        if ((call * 2654435761U >> i & 3) == 0 || i == 0) {
            entity[count++] = entities[i];
        }
    }
    return count;
}

static struct ns_ledger_event
random_budget(void)
{
    static const enum ns_policy policies[] = {NS_POLICY_HARD, NS_POLICY_HARD, NS_POLICY_HARD,
                                              NS_POLICY_SOFT, NS_POLICY_WARN, NS_POLICY_SHADOW};
    int64_t id = (int64_t)below(BUDGETS) + 1;
    const struct model_budget *m = &model.budget[id - 1];
    struct ns_ledger_event e;
    if (m->live && below(4) != 0) {
        e = (struct ns_ledger_event){.kind = NS_LEDGER_BUDGET_PUT, .as.budget_put = m->budget};
    } else {
        e = budget_event(id, budget_entities[below(BUDGET_ENTITY_COUNT)],
                         (enum ns_period)below(NS_PERIOD_COUNT), 0);
    }
    e.as.budget_put.limit_nanousd = below(20) == 0 ? 0 : (int64_t)below(200) * 50;
    int64_t kept = below(2) == 0 ? (int64_t)below(150) * 50 : 0;
    e.as.budget_put.finalize_nanousd = kept < e.as.budget_put.limit_nanousd ? kept : 0;
    e.as.budget_put.policy = (uint8_t)policies[below(6)];
    bool soft = e.as.budget_put.policy == NS_POLICY_SOFT;
    e.as.budget_put.overdraft_nanousd = soft && below(4) != 0 ? (int64_t)below(40) * 50 : 0;
    e.as.budget_put.reserve = (uint8_t)below(NS_RESERVE_COUNT);
    if (below(2) == 0) {
        bool fast = below(4) != 0;
        e.as.budget_put.velocity_nanousd = fast ? (int64_t)(below(40) + 1) * 50 : 0;
        e.as.budget_put.velocity_window_s = fast ? (uint16_t)(10 + below(600)) : 0;
        e.as.budget_put.velocity_cooldown_s = fast ? (uint16_t)(10 + below(300)) : 0;
    }
    return e;
}

/* An entity that the budget counts. */
static const char *
counted_entity(const struct ns_budget *b)
{
    size_t first = below(ENTITY_COUNT);
    for (size_t i = 0; i < ENTITY_COUNT; i++) {
        const char *entity = entities[(first + i) % ENTITY_COUNT];
        bool pattern = ns_entity_pattern_bytes(entity, strlen(entity)) != 0;
        if (!pattern && (strcmp(b->entity, entity) == 0 || is_pattern_of(b, entity))) {
            return entity;
        }
    }
    return "org";
}

static struct ns_ledger_event
random_grant(int64_t now_ns)
{
    int64_t id = BUDGETS + 1 + (int64_t)below(GRANTS);
    const struct model_budget *m = &model.budget[id - 1];
    const struct model_budget *of = &model.budget[below(BUDGETS)];
    int64_t of_id = of->live ? of->budget.id : 1;
    struct ns_ledger_event e =
        grant_event(id, of_id, counted_entity(&of->budget), (int64_t)below(60) * 50, 0, NULL);
    bool same = m->live && m->budget.grant_of == of_id &&
                strcmp(m->budget.entity, e.as.budget_put.entity) == 0;
    if (same || (m->live && below(3) != 0)) { /* another end, or other terms; never less of it */
        e.as.budget_put = m->budget;
    }
    int64_t until_ns = now_ns + (int64_t)below(3 * (uint64_t)NS_DAY_NS) - NS_DAY_NS / 2;
    e.as.budget_put.until_ns = until_ns > 0 ? until_ns : 1;
    e.as.budget_put.spend_first = below(2) == 0;
    snprintf(e.as.budget_put.models, sizeof e.as.budget_put.models, "%s",
             below(3) == 0 ? "gpt-4o*" : "");
    return e;
}

/* Those for some models that a call of one model may use. */
static void
grants_of(struct ns_ledger_reserve *e)
{
    for (int64_t id = BUDGETS + 1; id <= BUDGETS + GRANTS; id++) {
        if (below(3) == 0 && e->grant_count < NS_CALL_GRANTS_MAX) {
            e->grant[e->grant_count++] = id;
        }
    }
}

/* Coarse, so that sums often meet a limit exactly. */
static int64_t
amount(uint64_t n)
{
    return (int64_t)below(n) * 50;
}

static struct ns_ledger_event
random_event(int64_t now_ns, const char **entity)
{
    uint32_t call = (uint32_t)below(CALLS_MAX);
    uint8_t count = entities_of(call, entity);
    uint64_t dice = below(1000);
    if (dice < 20) {
        return random_budget();
    }
    if (dice < 25) {
        return remove_event((int64_t)below(BUDGETS + GRANTS) + 1);
    }
    if (dice < 60) {
        return random_grant(now_ns);
    }
    if (dice < 480) {
        struct ns_ledger_event e = reserve_event(call, below(12), amount(9), count, entity);
        e.as.reserve.mode = below(10) == 0 ? (uint8_t)below(NS_MODE_COUNT) : NS_MODE_ENFORCE;
        e.as.reserve.finalize = below(3) == 0;
        grants_of(&e.as.reserve);
        return e;
    }
    if (dice < 800) {
        int64_t opened = now_ns - (int64_t)below(3) * (int64_t)below(3 * (uint64_t)NS_HOUR_NS) +
                         (int64_t)below(1000);
        /* A clock far back would ask the model for periods before its time. */
        return settle_event(call, amount(15), opened > 0 ? opened : 0, count, entity);
    }
    if (dice < 840) {
        return void_event(call);
    }
    if (dice < 890) {
        int64_t enough = amount(12);
        struct ns_ledger_event e = top_up_event(call, amount(11), enough, enough + amount(20));
        e.as.top_up.mode = below(10) == 0 ? (uint8_t)below(NS_MODE_COUNT) : NS_MODE_ENFORCE;
        return e;
    }
    if (dice < 940) {
        return progress_event(call, amount(11));
    }
    return dice < 970 ? gone_event(below(12)) : tick_event();
}

static int64_t
random_step(int64_t now_ns)
{
    uint64_t dice = below(1000);
    if (dice < 3) {
        return now_ns + (int64_t)below(60 * (uint64_t)NS_DAY_NS);
    }
    if (dice < 20) {
        return now_ns + (int64_t)below(30 * (uint64_t)NS_HOUR_NS);
    }
    if (dice < 40) {
        return now_ns - (int64_t)below(5 * (uint64_t)NS_HOUR_NS);
    }
    return now_ns + (int64_t)below(20 * UINT64_C(1000000000));
}

/* --- crashes -------------------------------------------------------------------------------- */

/* What a collector keeps: every event that changed something, and a snapshot now and then. */
static struct {
    struct {
        int64_t at_ns;
        uint16_t bytes;
        uint8_t event[LOG_BYTES];
    } * entry;
    size_t count, capacity;
    uint8_t *snapshot;
    size_t snapshot_bytes;
    size_t snapshot_at; /* entries before it */
} disk;

static void
disk_append(const struct ns_ledger_event *event, int64_t at_ns)
{
    if (disk.count == disk.capacity) {
        disk.capacity = disk.capacity * 2 + 1024;
        disk.entry = realloc(disk.entry, disk.capacity * sizeof(*disk.entry));
    }
    int n = ns_ledger_event_encode(event, disk.entry[disk.count].event, LOG_BYTES);
    EXPECT(n > 0, "encode: %d", n);
    disk.entry[disk.count].at_ns = at_ns;
    disk.entry[disk.count++].bytes = (uint16_t)n;
}

static void
disk_snapshot(const struct ns_ledger *l)
{
    free(disk.snapshot);
    disk.snapshot = NULL;
    EXPECT(ns_ledger_save(l, &disk.snapshot, &disk.snapshot_bytes) == 0, "save");
    disk.snapshot_at = disk.count;
}

/* A ledger as it comes back after a crash. */
static struct ns_ledger *
recover(bool from_snapshot)
{
    struct ns_ledger *l = NULL;
    size_t at = 0;
    if (from_snapshot && disk.snapshot != NULL) {
        int status = ns_ledger_load(disk.snapshot, disk.snapshot_bytes, &l);
        EXPECT(status == 0, "load: %d", status);
        at = disk.snapshot_at;
    } else {
        l = ns_ledger_new();
    }
    for (; l != NULL && at < disk.count; at++) {
        struct ns_ledger_event event;
        struct ns_ledger_event_room room;
        struct ns_ledger_effect effect;
        int status =
            ns_ledger_event_decode(disk.entry[at].event, disk.entry[at].bytes, &event, &room);
        EXPECT(status == 0, "decode: %d", status);
        status = ns_ledger_apply(l, &event, disk.entry[at].at_ns, &effect);
        EXPECT(status == 0 && (effect.result == NS_LEDGER_DONE || effect.tripped > 0),
               "replay: %d %d", status, effect.result);
    }
    return l;
}

static void
crash(struct ns_ledger **l, bool from_snapshot)
{
    struct ns_ledger *again = recover(from_snapshot);
    uint8_t *a = NULL;
    uint8_t *b = NULL;
    size_t a_bytes = 0;
    size_t b_bytes = 0;
    if (again == NULL || ns_ledger_save(*l, &a, &a_bytes) != 0 ||
        ns_ledger_save(again, &b, &b_bytes) != 0) {
        EXPECT(false, "no memory");
    } else {
        EXPECT(a_bytes == b_bytes && memcmp(a, b, a_bytes) == 0, "replay gave other bytes");
        EXPECT(ns_ledger_digest(*l) == ns_ledger_digest(again), "digest");
    }
    free(a);
    free(b);
    ns_ledger_free(*l);
    *l = again;
}

/* --- running -------------------------------------------------------------------------------- */

static void
step(struct ns_ledger *l, const struct ns_ledger_event *event, int64_t now_ns)
{
    bool sampled = below(16) == 0;
    uint64_t before = sampled ? ns_ledger_digest(l) : 0;
    struct ns_ledger_effect effect;
    int status = ns_ledger_apply(l, event, now_ns, &effect);
    EXPECT(status == 0, "apply: %d", status);
    model_apply(event, now_ns, &effect);
    if (effect.result == NS_LEDGER_DONE || effect.tripped > 0) {
        disk_append(event, now_ns);
    } else if (sampled) {
        EXPECT(before == ns_ledger_digest(l), "result %d changed something", effect.result);
    }
    compare(l);
}

static void
simulate(uint64_t with_seed, uint64_t steps)
{
    seed = with_seed;
    failed = false;
    ns_test_seed(seed);
    memset(&model, 0, sizeof(model));
    disk.count = disk.snapshot_at = 0;
    struct ns_ledger *l = ns_ledger_new();
    int64_t now_ns = NS_MONDAY_NS + (int64_t)below(365 * (uint64_t)NS_DAY_NS);
    for (uint64_t i = 0; i < steps && !failed && l != NULL; i++) {
        const char *entity[8];
        now_ns = random_step(now_ns);
        struct ns_ledger_event event = random_event(now_ns, entity);
        step(l, &event, now_ns);
        if (below(20) == 0) {
            step(l, &event, now_ns); /* said twice */
        }
        uint64_t dice = below(500);
        if (dice == 0) {
            disk_snapshot(l);
        } else if (dice == 1) {
            crash(&l, true);
        }
        EXPECT(!failed, "at step %" PRIu64, i);
    }
    if (!failed) {
        crash(&l, false);
    }
    ns_ledger_free(l);
    free(disk.snapshot);
    free(disk.entry);
    memset(&disk, 0, sizeof(disk));
}

static uint64_t
setting(const char *name, uint64_t unset)
{
    const char *text = getenv(name);
    return text == NULL ? unset : strtoull(text, NULL, 10);
}

TEST(the_ledger_and_the_model_agree_after_every_event)
{
    uint64_t steps = setting("NS_SIMULATION_STEPS", 20000);
    if (getenv("NS_SEED") != NULL) {
        simulate(setting("NS_SEED", 1), steps);
        return;
    }
    for (uint64_t s = 1; s <= 8; s++) {
        simulate(s, steps / 8);
    }
}
