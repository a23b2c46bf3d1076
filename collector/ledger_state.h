/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a ledger is made of, for its own files (ledger*.c) and its tests.
 *
 * A budget has one counter of its own; a pattern ("customer:*") has beside it one for each entity
 * that it counted. An entity has the list of its counters, so that matching a call is one look-up
 * an entity and a walk over the patterns. A hold has a share on each counter that it reserved on.
 *
 * A counter's serial is new whenever its count starts anew (creation, a turned period). A share
 * whose serial is not its counter's belongs to a count that has ended: nothing is posted for it,
 * and above all not to a later period.
 */
#ifndef NS_COLLECTOR_LEDGER_STATE_H
#define NS_COLLECTOR_LEDGER_STATE_H

#include "base/money.h"
#include "collector/ledger.h"
#include "collector/ledger_table.h"

/* Patterns are walked for every entity of a call. */
#define NS_PATTERNS_MAX 64
/* Counters: budgets and what patterns counted. */
#define NS_COUNTERS_MAX 4000000
/* Calls that have ended are remembered so that a message that comes twice is a duplicate: longer
 * than a spool is kept waiting as a rule, and no more than fit into some 60 MB. */
#define NS_ENDED_MAX (1 << 20)
#define NS_ENDED_KEPT_NS (INT64_C(48) * 3600 * 1000000000)
/* Shares that lie in the hold itself; more are allocated. */
#define NS_SHARES_INLINE 4
/* A number in the table of calls with this bit is an ended call, without it an open hold. */
#define NS_ENDED_BIT UINT32_C(0x80000000)

/* Of a budget with a velocity, over two windows (ledger_rate.c); of others zeros. */
struct ns_rate {
    int64_t start_ns; /* of the window that current counts */
    int64_t previous_nanousd, current_nanousd;
    int64_t paused_until_ns; /* 0: never yet */
};

struct ns_counter {
    uint32_t budget;
    uint32_t entity;
    uint64_t serial; /* 0: a free item */
    int64_t start_ns, end_ns;
    int64_t spent_nanousd, held_nanousd, overshoot_nanousd;
    struct ns_rate rate; /* begins anew with the count; a pause goes on */
    uint32_t next;       /* of this entity, ascending by budget id */
    bool changed;
    uint32_t changed_next, changed_previous;
};

struct ns_budget_row {
    uint32_t own; /* its counter; of a pattern: the one that stands for the pattern itself */
    bool live;
    uint16_t pattern_bytes; /* 0: no pattern */
    struct ns_budget budget;
};

struct ns_entity_row {
    uint32_t first; /* counter; NS_NONE: none yet */
    uint16_t bytes;
    uint32_t hash;
    char *text; /* NULL: a free item */
};

struct ns_share {
    uint32_t counter;
    uint32_t grant; /* the counter of the grant that it may grow into; NS_NONE: none */
    uint64_t serial, grant_serial;
    int64_t amount_nanousd;  /* of the budget's own */
    int64_t granted_nanousd; /* of the grant */
    bool grant_first;        /* the grant pays first */
};

struct ns_hold {
    uint32_t next, previous; /* of the same owner */
    struct ns_uuid call_id;
    int64_t hold_nanousd; /* the largest share, with what a grant has of it */
    int64_t lost_nanousd; /* lost calls: what was charged */
    int64_t rate_nanousd; /* what velocities count of it until its cost is known */
    uint32_t owner;       /* NS_NONE: lost, kept for a correction */
    bool live;
    bool finalize;
    uint8_t share_count;
    struct ns_share share[NS_SHARES_INLINE];
    struct ns_share *more;
};

struct ns_owner_row {
    uint32_t first; /* hold */
    bool live;
    struct ns_owner owner;
};

enum ns_ended_how { NS_ENDED_SETTLED = 1, NS_ENDED_VOIDED, NS_ENDED_LOST };

struct ns_ended {
    uint32_t newer;
    uint32_t hold; /* LOST: its shares, for a correction; else NS_NONE */
    struct ns_uuid call_id;
    int64_t ended_at_ns;
    uint8_t how; /* enum ns_ended_how; 0: a free item */
};

struct ns_ledger {
    int64_t now_ns; /* of the newest event that changed something */
    /* Decides where things lie in the tables and nothing else: entities and call ids come from
     * strangers, who must not be able to make them collide. */
    uint8_t hash_key[16];
    uint64_t next_serial;
    int64_t next_turn_ns; /* no counter's period ends before */
    uint32_t open_holds;
    uint32_t deny_unreachable; /* hard budgets that say so */
    uint32_t grant_count;

    struct ns_pool budgets, counters, entities, holds, owners, ended;
    struct ns_table budget_of_id, entity_of_text, call_of_id, owner_of_process;
    uint32_t patterns[NS_PATTERNS_MAX]; /* budgets, ascending by id */
    uint32_t pattern_count;
    uint32_t changed_first;
    uint32_t ended_oldest, ended_newest;

    struct ns_ledger_lost *lost; /* of the last OWNER_GONE */
    uint32_t *lost_holds;
    size_t lost_capacity;
};

static inline struct ns_counter *
ns_counter_at(const struct ns_ledger *l, uint32_t n)
{
    return ns_pool_at(&l->counters, n);
}

static inline struct ns_budget_row *
ns_budget_at(const struct ns_ledger *l, uint32_t n)
{
    return ns_pool_at(&l->budgets, n);
}

static inline struct ns_entity_row *
ns_entity_at(const struct ns_ledger *l, uint32_t n)
{
    return ns_pool_at(&l->entities, n);
}

static inline struct ns_hold *
ns_hold_at(const struct ns_ledger *l, uint32_t n)
{
    return ns_pool_at(&l->holds, n);
}

static inline struct ns_owner_row *
ns_owner_at(const struct ns_ledger *l, uint32_t n)
{
    return ns_pool_at(&l->owners, n);
}

static inline struct ns_ended *
ns_ended_at(const struct ns_ledger *l, uint32_t n)
{
    return ns_pool_at(&l->ended, n);
}

static inline struct ns_share *
ns_hold_share(struct ns_hold *hold, unsigned i)
{
    return i < NS_SHARES_INLINE ? &hold->share[i] : &hold->more[i - NS_SHARES_INLINE];
}

/* --- ledger_budget.c: budgets, their counters, and which of them match ------------------------ */

/* An entity of a call. */
struct ns_subject {
    const char *text;
    uint16_t bytes;
    uint32_t hash;
    uint32_t row; /* NS_NONE: not known to any budget */
};

struct ns_match {
    uint32_t budget;
    uint32_t counter; /* NS_NONE: a pattern that has not counted this entity yet */
    uint8_t subject;
};

struct ns_matches {
    uint32_t count;
    struct ns_match match[NS_MATCHES_MAX];
    struct ns_subject subject[NS_ENTITIES_MAX];
};

/* Finds all budgets that match. Returns 0, -EINVAL entities that break the rules, -E2BIG more than
 * NS_MATCHES_MAX. Changes nothing. */
int ns_ledger_match(const struct ns_ledger *ledger, const char *const *entity, unsigned count,
                    struct ns_matches *matches);

/* Creates the counters that matches lack. Returns 0, -E2BIG or -ENOMEM with nothing changed. */
int ns_ledger_match_create(struct ns_ledger *ledger, struct ns_matches *matches, int64_t now_ns);

/* A counter as it is at now: of a period that has ended, the next one's, empty. counter NS_NONE: of
 * a pattern that has not counted yet. */
struct ns_counter ns_counter_view(const struct ns_ledger *ledger, uint32_t budget, uint32_t counter,
                                  int64_t now_ns);

/* Starts the counter's present period if the one it counts has ended. */
void ns_counter_turn(struct ns_ledger *ledger, uint32_t counter, int64_t now_ns);
void ns_counter_changed(struct ns_ledger *ledger, uint32_t counter);

int ns_ledger_budget_put(struct ns_ledger *ledger, const struct ns_budget *budget, int64_t now_ns,
                         struct ns_ledger_effect *effect);
void ns_ledger_budget_remove(struct ns_ledger *ledger, int64_t id, struct ns_ledger_effect *effect);

/* Turns all periods that have ended and drops what patterns counted in them. */
void ns_ledger_turn(struct ns_ledger *ledger, int64_t now_ns);

/* Fills numbers for people. */
void ns_ledger_number(const struct ns_ledger *ledger, uint32_t budget, uint32_t counter,
                      const struct ns_subject *subject, int64_t now_ns,
                      struct ns_ledger_numbers *numbers);

/* For loading: a counter of a budget on an entity. Returns its number, or NS_NONE without memory.
 */
uint32_t ns_counter_new(struct ns_ledger *ledger, uint32_t budget, const struct ns_subject *subject,
                        int64_t now_ns);
struct ns_subject ns_subject_of(const struct ns_ledger *ledger, const char *text, size_t bytes);

/* --- ledger_call.c: open holds, their owners, ended calls ------------------------------------ */

/* The call's number in the table (with NS_ENDED_BIT: ended), NS_NONE: not known. */
struct ns_table_slot *ns_ledger_call_find(const struct ns_ledger *ledger,
                                          const struct ns_uuid *call_id);

/* Makes room for one more hold of this owner with these shares. *more: memory for the shares that
 * do not fit, which ns_hold_open takes. Returns 0 or -ENOMEM. */
int ns_hold_prepare(struct ns_ledger *ledger, unsigned share_count, struct ns_share **more);
uint32_t ns_hold_open(struct ns_ledger *ledger, const struct ns_uuid *call_id,
                      const struct ns_owner *owner, unsigned share_count, struct ns_share *more);
/* Takes a hold from its owner. */
void ns_hold_disown(struct ns_ledger *ledger, uint32_t hold);
void ns_hold_free(struct ns_ledger *ledger, uint32_t hold);
uint32_t ns_owner_find(const struct ns_ledger *ledger, const struct ns_owner *owner);

/* Makes room for `more` ended calls, of which new_calls are not in the table yet. Returns 0 or
 * -ENOMEM. */
int ns_ended_prepare(struct ns_ledger *ledger, uint32_t more, uint32_t new_calls);
/* Remembers an ended call; slot: its place in the table, NULL where it was not known. Beyond
 * NS_ENDED_MAX the oldest is forgotten. */
void ns_ended_add(struct ns_ledger *ledger, const struct ns_uuid *call_id,
                  struct ns_table_slot *slot, enum ns_ended_how how, uint32_t hold, int64_t now_ns);
void ns_ended_forget(struct ns_ledger *ledger, int64_t now_ns);

/* --- ledger_grant.c ----------------------------------------------------------------------------
 */

struct ns_cover {
    uint32_t grant; /* counter; NS_NONE: there is none that the call may use */
    bool grant_first;
    int64_t granted_nanousd; /* what it pays; 0: nothing, or it would not suffice */
    int64_t left_nanousd;    /* of the largest */
};

/* Which grant pays what of an amount on the counter of a budget for an entity (its row; NS_NONE:
 * none), which itself has room for own_room of it. Changes nothing. */
struct ns_cover ns_grant_cover(const struct ns_ledger *ledger, int64_t budget_id, uint32_t entity,
                               const struct ns_ledger_reserve *reserve, int64_t own_room,
                               int64_t needed, int64_t now_ns);
/* The counter of a share's grant, or NULL: it has none, or it is removed. */
struct ns_counter *ns_share_grant(const struct ns_ledger *ledger, const struct ns_share *share);
/* By how much its part of a share may grow at now. */
int64_t ns_share_left(const struct ns_ledger *ledger, const struct ns_share *share, int64_t now_ns);
/* What the grant pays of a call's cost. */
int64_t ns_share_part(const struct ns_share *share, int64_t cost);
/* The same of a lost call, of whose charge it paid a part: what was left is given back, and others
 * may have taken it. */
int64_t ns_share_part_late(const struct ns_ledger *ledger, const struct ns_share *share,
                           int64_t charged, int64_t cost);
/* Holds more, of the grant what it pays of it; the share's counter counts still. */
void ns_share_grow(struct ns_ledger *ledger, struct ns_share *share, int64_t growth,
                   int64_t own_room, int64_t now_ns);

/* --- ledger_top_up.c ---------------------------------------------------------------------------
 */

int ns_ledger_top_up(struct ns_ledger *ledger, const struct ns_ledger_top_up *top_up,
                     int64_t now_ns, struct ns_ledger_effect *effect);

/* --- ledger_rate.c -----------------------------------------------------------------------------
 */

enum ns_rate_verdict {
    NS_RATE_FITS,
    NS_RATE_TOO_LARGE, /* this call alone is more than the amount */
    NS_RATE_TRIPS,     /* with it more goes than may */
    NS_RATE_PAUSED     /* more went, and the cool-down is not over */
};

/* What went within the window that ends at now. Of a budget with a velocity. */
int64_t ns_rate_nanousd(const struct ns_budget *budget, const struct ns_rate *rate, int64_t now_ns);
/* May so much more go? Where the budget has no velocity it may. */
enum ns_rate_verdict ns_rate_judge(const struct ns_budget *budget, const struct ns_rate *rate,
                                   int64_t nanousd, int64_t now_ns);
/* Counts it, or takes it back; not where the budget has no velocity. */
void ns_rate_add(const struct ns_budget *budget, struct ns_rate *rate, int64_t nanousd,
                 int64_t now_ns);
/* Is it paused, or is this the window after a pause? */
bool ns_rate_is_wary(const struct ns_budget *budget, const struct ns_rate *rate, int64_t now_ns);
/* The cool-down begins; what is counted begins anew. */
void ns_rate_trip(const struct ns_budget *budget, struct ns_rate *rate, int64_t now_ns);

/* --- what limits say ---------------------------------------------------------------------------
 */

/* What a call may bring the budget to before that is told. */
static inline int64_t
ns_budget_limit(const struct ns_budget *budget, bool finalize)
{
    return budget->limit_nanousd - (finalize ? 0 : budget->finalize_nanousd);
}

/* And before it is denied, where the budget denies at all. */
static inline int64_t
ns_budget_ceiling(const struct ns_budget *budget, bool finalize)
{
    return ns_money_add(ns_budget_limit(budget, finalize), budget->overdraft_nanousd);
}

/* How much of the limit a counter has left. */
static inline int64_t
ns_budget_room(const struct ns_budget *budget, const struct ns_counter *counter, bool finalize)
{
    int64_t used = ns_money_add(counter->spent_nanousd, counter->held_nanousd);
    int64_t limit = ns_budget_limit(budget, finalize);
    return used < limit ? limit - used : 0;
}

/* Does its velocity deny calls of this mode, or only tell? */
static inline bool
ns_budget_pauses(const struct ns_budget *budget, uint8_t mode)
{
    return (budget->policy == NS_POLICY_HARD || budget->policy == NS_POLICY_SOFT) &&
           mode == NS_MODE_ENFORCE;
}

static inline bool
ns_budget_denies(const struct ns_budget *budget)
{
    return budget->policy == NS_POLICY_HARD || budget->overdraft_nanousd > 0;
}

/* Would this budget deny more of a call of this mode? */
static inline bool
ns_budget_is_firm(const struct ns_budget *budget, uint8_t mode)
{
    return ns_budget_denies(budget) && mode == NS_MODE_ENFORCE;
}

/* Why a budget on this entity denies that is used up. */
static inline enum ns_reason
ns_reason_of(const char *entity)
{
    static const char session[] = "session:";
    return strncmp(entity, session, sizeof session - 1) == 0 ? NS_REASON_SESSION_CAP
                                                             : NS_REASON_BUDGET_EXCEEDED;
}

/* --- ledger_check.c ----------------------------------------------------------------------------
 */

/* The first invariant of the header that does not hold, as a sentence; NULL: all hold. O(state). */
const char *ns_ledger_fault(const struct ns_ledger *ledger);

#endif
