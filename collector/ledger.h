/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: who may spend what, held and spent. A pure function of its events: one thread, no
 * I/O, no clock (time is an argument), no randomness. Replaying the same events gives the same
 * state, bit for bit (ns_ledger_digest).
 *
 * Invariants (docs/ledger.md), asserted after every event in debug builds and by the simulation:
 *   - a reserve holds on every matching budget or on none, and so does a top-up;
 *   - hard budgets: spent + held never passes the limit by a reserve or a top-up (of a call that
 *     does not finalize: the limit less what is kept for those; of a soft budget with an overdraft:
 *     that much more), only by a settle above its hold, and then by exactly the overshoot counted;
 *   - a hold ends once: settled, voided or lost; a lost one may be corrected once, by a late report
 *     or a late word that its request never left;
 *   - a hold and its settlement belong to the period in which it was opened;
 *   - held of a counter = sum of its open holds; spent never falls but by a correction;
 *   - a grant is never overspent: what a share takes of it is no more than was left, what is posted
 *     to it no more than was taken, and with the budget's part it is what the call cost;
 *   - what goes through a budget with a velocity, by what calls typically cost, corrected by what
 *     they did cost, passes its amount within a window (weighted over two) by no reserve.
 */
#ifndef NS_COLLECTOR_LEDGER_H
#define NS_COLLECTOR_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"
#include "base/words.h"

/* "customer:" and the longest id; tags are K=V. */
#define NS_ENTITY_BYTES_MAX 340
/* Entities of one call: the seven kinds and its tags, and a second key. */
#define NS_ENTITIES_MAX 26
/* Budgets that can match one call. */
#define NS_MATCHES_MAX 64
#define NS_BUDGETS_MAX 1000000
#define NS_HOLDS_MAX 4000000
#define NS_LEDGER_NO_COUNTER UINT32_MAX
/* The patterns of a grant, with commas between. */
#define NS_GRANT_MODELS_BYTES_MAX 200
/* Grants for some models alone that one call may use. */
#define NS_CALL_GRANTS_MAX 8

struct ns_ledger;

/* A limit on an entity. entity "customer:*" stands for every customer, each with its own count. */
struct ns_budget {
    char entity[NS_ENTITY_BYTES_MAX + 1];
    uint8_t period;         /* enum ns_period */
    uint8_t policy;         /* enum ns_policy */
    uint8_t reserve;        /* enum ns_reserve */
    uint8_t on_unreachable; /* enum ns_unreachable */
    uint16_t deny_status;   /* 0: auto */
    int64_t limit_nanousd;  /* >= 0; 0 denies everything */
    /* Of the limit, for calls that finalize alone: below it, or 0. */
    int64_t finalize_nanousd;
    /* A soft budget denies what passes its limit by more; 0: nothing. Of others 0. */
    int64_t overdraft_nanousd;
    /* What may go within a window; a call that would pass it is denied, and all others until the
     * cool-down is over. Both in seconds; all 0: any amount. */
    int64_t velocity_nanousd;
    uint16_t velocity_window_s, velocity_cooldown_s;
    int64_t id; /* the row's id in Postgres */
    /* A grant: not a limit, but limit_nanousd more for the budget with this id, on its counter of
     * this entity. 0: a budget, and what follows is nothing. Its period is total, and of the
     * members above those without a default are 0. */
    int64_t grant_of;
    int64_t until_ns; /* no call may take of it from then on; what holds have of it, they keep */
    bool spend_first; /* before the budget's own money, or when that does not suffice */
    char models[NS_GRANT_MODELS_BYTES_MAX + 1]; /* "": of all calls; else of those that name it */
};

enum ns_ledger_event_kind {
    NS_LEDGER_BUDGET_PUT = 1, /* creates, or changes one with the same id; its count is kept unless
                                 entity or period change */
    NS_LEDGER_BUDGET_REMOVE,  /* holds on it go on and end unnoticed */
    NS_LEDGER_RESERVE,        /* a check */
    NS_LEDGER_PROGRESS,       /* what an open hold would be charged if its owner died now */
    NS_LEDGER_SETTLE,         /* a report */
    NS_LEDGER_VOID,           /* the request never left */
    NS_LEDGER_OWNER_GONE,     /* a process is gone: all its open holds are lost */
    NS_LEDGER_TICK,           /* time passes: periods turn, what nobody needs is forgotten */
    NS_LEDGER_TOP_UP          /* an open hold grows on every budget that matched, or on none */
};

/* A process: pid and start time on this host, or a connection of another host. */
struct ns_owner {
    uint64_t a, b; /* opaque; equal means the same process */
};

struct ns_ledger_reserve {
    struct ns_uuid call_id;
    struct ns_owner owner;
    uint8_t mode;  /* enum ns_mode: in shadow and observe nothing is denied */
    bool finalize; /* the agent ends its work: it may use what is kept for that, too */
    uint8_t entity_count;
    const char *const *entity; /* "org", "customer:acme", …: no two alike */
    /* Of the grants for some models alone, those that the call may use: the ledger knows no models.
     */
    uint8_t grant_count;
    int64_t grant[NS_CALL_GRANTS_MAX];
    int64_t bound_nanousd;   /* >= 0 */
    int64_t typical_nanousd; /* >= 0 */
    int64_t lost_nanousd;    /* what is charged if the process dies without a word */
};

/* Grows each share to the same amount: the largest from enough to wanted that all hard budgets have
 * room for. What a share has already stays, and needs no room. */
struct ns_ledger_top_up {
    struct ns_uuid call_id;
    uint8_t mode;           /* enum ns_mode of the call: in shadow and observe nothing is denied */
    int64_t lost_nanousd;   /* as of a PROGRESS */
    int64_t enough_nanousd; /* >= 0; less is denied */
    int64_t wanted_nanousd; /* >= enough_nanousd */
};

struct ns_ledger_settle {
    struct ns_uuid call_id;
    struct ns_owner owner;
    int64_t cost_nanousd; /* >= 0 */
    int64_t opened_at_ns; /* for a call without a hold: which period it belongs to */
    uint8_t entity_count; /* for a call without a hold: let through unasked */
    const char *const *entity;
};

struct ns_ledger_event {
    enum ns_ledger_event_kind kind;
    union {
        struct ns_budget budget_put;
        struct {
            int64_t id;
        } budget_remove;
        struct ns_ledger_reserve reserve;
        struct {
            struct ns_uuid call_id;
            int64_t lost_nanousd;
        } progress;
        struct ns_ledger_top_up top_up;
        struct ns_ledger_settle settle;
        struct {
            struct ns_uuid call_id;
        } voided;
        struct {
            struct ns_owner owner;
        } owner_gone;
    } as;
};

/* What a window and a cool-down of a budget may be, in seconds. */
#define NS_VELOCITY_S_MIN 10
#define NS_VELOCITY_S_MAX 3600

/* A budget's numbers at one moment. Of a denial by velocity: limit, spent and needed are those of
 * the window. */
struct ns_ledger_numbers {
    int64_t budget_id;
    char entity[NS_ENTITY_BYTES_MAX + 1]; /* the entity counted, not the pattern */
    int64_t limit_nanousd;
    int64_t finalize_nanousd; /* of the limit; denials: 0 where nothing is kept from this call */
    int64_t overdraft_nanousd;
    int64_t granted_nanousd; /* denials: left of the largest grant that the call might have used */
    int64_t spent_nanousd;
    int64_t held_nanousd;
    int64_t overshoot_nanousd;
    int64_t needed_nanousd;   /* denials: what the call would have held */
    uint8_t reason;           /* denials: enum ns_reason */
    int64_t velocity_nanousd; /* 0: none */
    uint16_t velocity_window_s;
    int64_t rate_nanousd;    /* what went within the window */
    int64_t paused_until_ns; /* 0: never, or it is over */
    int64_t period_start_ns;
    int64_t period_end_ns; /* INT64_MAX: total */
    uint8_t period, policy;
    uint16_t deny_status;
};

enum ns_ledger_result {
    NS_LEDGER_DONE,
    NS_LEDGER_DENIED,    /* reserve, top_up: effect.denied_by says which budget; nothing is held */
    NS_LEDGER_DUPLICATE, /* the call has a hold already, or is settled, voided or lost: nothing
                            changed (settle or void after lost: DONE, corrected) */
    NS_LEDGER_UNKNOWN,   /* no such hold or budget: nothing changed */
    NS_LEDGER_FULL       /* a bound is reached: nothing changed */
};

/* A lost hold that an OWNER_GONE ended. */
struct ns_ledger_lost {
    struct ns_uuid call_id;
    int64_t charged_nanousd;
};

struct ns_ledger_effect {
    enum ns_ledger_result result;
    int64_t hold_nanousd; /* reserve, top_up: the largest amount held on any budget */
    int64_t firm_nanousd; /* reserve, top_up: the smallest held on a budget that would deny more of
                             this call; INT64_MAX: none would */
    bool would_deny;      /* a shadow, warn or soft budget is over, or the mode is
                             not enforce: denied_by says which */
    struct ns_ledger_numbers denied_by;
    uint32_t tripped;                  /* reserve: budgets that are paused from now on */
    uint32_t matched;                  /* budgets that matched */
    bool corrected;                    /* settle, void: replaced the charge of a lost hold */
    int64_t released_nanousd;          /* settle, void: the hold given back */
    int64_t overshoot_nanousd;         /* settle: above the hold */
    const struct ns_ledger_lost *lost; /* owner_gone: valid until the next event */
    size_t lost_count;
};

/* An empty ledger, or NULL without memory. */
struct ns_ledger *ns_ledger_new(void);
void ns_ledger_free(struct ns_ledger *ledger);

/* Applies one event at now (CLOCK_REALTIME; a clock that goes back is taken as standing still).
 * Returns 0, -EINVAL for an event that breaks its rules (nothing changed), -ENOMEM (nothing
 * changed). */
int ns_ledger_apply(struct ns_ledger *ledger, const struct ns_ledger_event *event, int64_t now_ns,
                    struct ns_ledger_effect *effect);

/* --- questions ---------------------------------------------------------------------------- */

/* Calls visit for every counter of the current periods (budgets without calls too, with zeros);
 * patterns like "customer:*" come with themselves (no numbers) and with each counted entity. */
void ns_ledger_visit(const struct ns_ledger *ledger, int64_t now_ns,
                     void (*visit)(void *context, const struct ns_ledger_numbers *numbers,
                                   const struct ns_budget *budget),
                     void *context);

/* The same, only for counters that changed since the last such call. */
void ns_ledger_visit_changed(struct ns_ledger *ledger, int64_t now_ns,
                             void (*visit)(void *context, const struct ns_ledger_numbers *numbers,
                                           const struct ns_budget *budget),
                             void *context);

size_t ns_ledger_open_holds(const struct ns_ledger *ledger);
size_t ns_ledger_budget_count(const struct ns_ledger *ledger);     /* without grants */
bool ns_ledger_denies_unreachable(const struct ns_ledger *ledger); /* any hard budget says so */

/* Owners of open holds: for finding which processes are gone after a restart. */
void ns_ledger_visit_owners(const struct ns_ledger *ledger,
                            void (*visit)(void *context, const struct ns_owner *owner),
                            void *context);

/* --- snapshots ---------------------------------------------------------------------------- */

/* Serialises the whole state, canonically: equal states give equal bytes. *bytes is from malloc.
 * Returns 0 or -ENOMEM. */
int ns_ledger_save(const struct ns_ledger *ledger, uint8_t **bytes, size_t *count);

/* Returns 0 and *ledger, -EBADMSG or -ENOMEM. */
int ns_ledger_load(const uint8_t *bytes, size_t count, struct ns_ledger **ledger);

/* A number that is equal for equal states: a hash of the bytes that ns_ledger_save makes. 0 without
 * memory. */
uint64_t ns_ledger_digest(const struct ns_ledger *ledger);

/* Bounds of a period: start <= at < end, in UTC; a total runs from 0 to INT64_MAX. */
void ns_period_bounds(enum ns_period period, int64_t at_ns, int64_t *start_ns, int64_t *end_ns);

/* Checks an ENTITY as people write it. Returns 0, or -EINVAL and *why, a static sentence. */
int ns_entity_check(const char *entity, size_t bytes, const char **why);

/* Events as bytes, for the journal. Encode returns bytes or -ENOSPC; decode returns 0 or -EBADMSG,
 * its entity strings are kept in *room (an array of NS_ENTITIES_MAX strings). */
struct ns_ledger_event_room {
    const char *entity[NS_ENTITIES_MAX];
    char text[NS_ENTITIES_MAX][NS_ENTITY_BYTES_MAX + 1];
};
int ns_ledger_event_encode(const struct ns_ledger_event *event, uint8_t *buffer,
                           size_t buffer_bytes);
int ns_ledger_event_decode(const uint8_t *bytes, size_t count, struct ns_ledger_event *event,
                           struct ns_ledger_event_room *room);

#endif
