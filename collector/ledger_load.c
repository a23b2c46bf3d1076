/* SPDX-License-Identifier: Apache-2.0 */
/* Reads what ledger_save.c wrote, and takes nothing that it would not have written. */
#include <stdlib.h>

#include "collector/bytes.h"
#include "collector/entity.h"
#include "collector/ledger_state.h"

#define MAGIC "NSLEDG3"
/* Before there were grants. */
#define MAGIC_SECOND "NSLEDG2"
/* Before anything could be kept for calls that finalize, and before overdrafts and velocities. */
#define MAGIC_FIRST "NSLEDG1"

struct input {
    struct ns_bytes_reader r;
    struct ns_ledger *l;
    bool first;         /* of the first format */
    bool grants;        /* of one that knows them */
    uint32_t *counters; /* place → number */
    uint32_t counter_count;
    const uint8_t *previous; /* call id, for the order */
};

static int
get_text_of(struct input *in, char *text, size_t bytes_max, size_t *bytes)
{
    *bytes = ns_bytes_get_u16(&in->r);
    const uint8_t *p = *bytes <= bytes_max ? ns_bytes_get(&in->r, *bytes) : NULL;
    if (p == NULL || memchr(p, '\0', *bytes) != NULL) {
        return -EBADMSG;
    }
    memcpy(text, p, *bytes);
    text[*bytes] = '\0';
    return 0;
}

static int
get_text(struct input *in, char text[static NS_ENTITY_BYTES_MAX + 1], size_t *bytes)
{
    return get_text_of(in, text, NS_ENTITY_BYTES_MAX, bytes) == 0 && *bytes > 0 ? 0 : -EBADMSG;
}

static int
get_grant(struct input *in, struct ns_budget *b)
{
    size_t bytes;
    b->grant_of = ns_bytes_get_i64(&in->r);
    b->until_ns = ns_bytes_get_i64(&in->r);
    b->spend_first = ns_bytes_get_bool(&in->r);
    return get_text_of(in, b->models, NS_GRANT_MODELS_BYTES_MAX, &bytes);
}

static int
load_budget(struct input *in, int64_t *last_id)
{
    struct ns_budget b = {.id = ns_bytes_get_i64(&in->r)};
    size_t bytes;
    if (get_text(in, b.entity, &bytes) != 0) {
        return -EBADMSG;
    }
    b.period = ns_bytes_get_u8(&in->r);
    b.policy = ns_bytes_get_u8(&in->r);
    b.reserve = ns_bytes_get_u8(&in->r);
    b.on_unreachable = ns_bytes_get_u8(&in->r);
    b.deny_status = ns_bytes_get_u16(&in->r);
    b.limit_nanousd = ns_bytes_get_i64(&in->r);
    if (!in->first) {
        b.finalize_nanousd = ns_bytes_get_i64(&in->r);
        b.overdraft_nanousd = ns_bytes_get_i64(&in->r);
        b.velocity_nanousd = ns_bytes_get_i64(&in->r);
        b.velocity_window_s = ns_bytes_get_u16(&in->r);
        b.velocity_cooldown_s = ns_bytes_get_u16(&in->r);
    }
    if (in->grants && get_grant(in, &b) != 0) {
        return -EBADMSG;
    }
    if (in->r.bad || b.id <= *last_id) {
        return -EBADMSG;
    }
    *last_id = b.id;
    struct ns_ledger_effect effect = {.result = NS_LEDGER_DONE};
    int status = ns_ledger_budget_put(in->l, &b, in->l->now_ns, &effect);
    return status == -EINVAL || effect.result != NS_LEDGER_DONE ? -EBADMSG : status;
}

/* The counter of a budget on an entity; the budget's own is there already. */
static int
counter_number(struct input *in, uint32_t budget, const char *text, size_t bytes, uint32_t *number)
{
    const struct ns_budget_row *row = ns_budget_at(in->l, budget);
    if (strcmp(row->budget.entity, text) == 0) {
        *number = row->own;
        return 0;
    }
    if (row->pattern_bytes == 0 ||
        !ns_entity_match(row->budget.entity, row->pattern_bytes, text, bytes) ||
        in->l->counters.taken >= NS_COUNTERS_MAX) {
        return -EBADMSG;
    }
    struct ns_subject subject = ns_subject_of(in->l, text, bytes);
    *number = ns_counter_new(in->l, budget, &subject, in->l->now_ns);
    return *number == NS_NONE ? -ENOMEM : 0;
}

/* The budgets were put in the order of their ids, into an empty pool: their numbers ascend too. */
static int
budget_number(const struct input *in, int64_t id, uint32_t *number)
{
    uint32_t low = 0;
    uint32_t high = in->l->budgets.used;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ns_budget_at(in->l, middle)->budget.id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *number = low;
    return low < in->l->budgets.used && ns_budget_at(in->l, low)->budget.id == id ? 0 : -EBADMSG;
}

struct counter_key {
    int64_t id;
    char text[NS_ENTITY_BYTES_MAX + 1];
};

static int
load_rate(struct input *in, const struct ns_budget *budget, struct ns_rate *rate)
{
    rate->start_ns = ns_bytes_get_i64(&in->r);
    rate->previous_nanousd = ns_bytes_get_i64(&in->r);
    rate->current_nanousd = ns_bytes_get_i64(&in->r);
    rate->paused_until_ns = ns_bytes_get_i64(&in->r);
    bool any = (rate->start_ns | rate->previous_nanousd | rate->current_nanousd |
                rate->paused_until_ns) != 0;
    int64_t longest_ns = budget->velocity_cooldown_s * INT64_C(1000000000);
    return in->r.bad || (any && budget->velocity_nanousd == 0) || rate->start_ns < 0 ||
                   rate->start_ns > in->l->now_ns || rate->previous_nanousd < 0 ||
                   rate->current_nanousd < 0 || rate->paused_until_ns < 0 ||
                   rate->paused_until_ns - in->l->now_ns > longest_ns
               ? -EBADMSG
               : 0;
}

static int
load_counter(struct input *in, uint32_t place, struct counter_key *last)
{
    struct counter_key key = {.id = ns_bytes_get_i64(&in->r)};
    size_t bytes;
    uint32_t budget;
    if (get_text(in, key.text, &bytes) != 0 || budget_number(in, key.id, &budget) != 0 ||
        key.id < last->id || (key.id == last->id && strcmp(key.text, last->text) <= 0)) {
        return -EBADMSG;
    }
    *last = key;
    uint32_t number;
    int status = counter_number(in, budget, key.text, bytes, &number);
    if (status != 0) {
        return status;
    }
    struct ns_counter *c = ns_counter_at(in->l, number);
    int64_t start_ns = ns_bytes_get_i64(&in->r);
    c->spent_nanousd = ns_bytes_get_i64(&in->r);
    c->overshoot_nanousd = ns_bytes_get_i64(&in->r);
    if (!in->first && load_rate(in, &ns_budget_at(in->l, budget)->budget, &c->rate) != 0) {
        return -EBADMSG;
    }
    ns_period_bounds((enum ns_period)ns_budget_at(in->l, budget)->budget.period, start_ns,
                     &c->start_ns, &c->end_ns);
    if (in->r.bad || start_ns < INT64_C(-7) * 86400 * 1000000000 || c->start_ns != start_ns ||
        start_ns > in->l->now_ns || c->overshoot_nanousd < 0 ||
        c->overshoot_nanousd > c->spent_nanousd) {
        return -EBADMSG;
    }
    if (c->end_ns < in->l->next_turn_ns) {
        in->l->next_turn_ns = c->end_ns;
    }
    in->counters[place] = number;
    return 0;
}

static int
load_counters(struct input *in)
{
    in->counter_count = ns_bytes_get_u32(&in->r);
    /* Every counter takes more than 32 bytes: a count that is too large asks for no memory. */
    if (in->r.bad || in->counter_count > (size_t)(in->r.end - in->r.at) / 32) {
        return -EBADMSG;
    }
    in->counters = malloc(((size_t)in->counter_count + 1) * sizeof(*in->counters));
    if (in->counters == NULL) {
        return -ENOMEM;
    }
    struct counter_key last = {.id = 0};
    for (uint32_t i = 0; i < in->counter_count; i++) {
        int status = load_counter(in, i, &last);
        if (status != 0) {
            return status;
        }
    }
    /* Each budget's own counter was among them. */
    return in->l->counters.taken == in->counter_count ? 0 : -EBADMSG;
}

/* The number of the counter at a place; NS_NONE: none. */
static uint32_t
number_at(const struct input *in, uint32_t place)
{
    return place == NS_NONE ? NS_NONE : in->counters[place];
}

static bool
is_grant(const struct ns_ledger *l, uint32_t counter)
{
    return ns_budget_at(l, ns_counter_at(l, counter)->budget)->budget.grant_of != 0;
}

/* Takes the amount into the counter if it is an open hold's. */
static int
load_held(struct ns_ledger *l, uint32_t counter, int64_t amount, bool open, uint64_t *serial)
{
    if (counter == NS_NONE) {
        return 0;
    }
    struct ns_counter *c = ns_counter_at(l, counter);
    if (open && amount > INT64_MAX - c->held_nanousd) {
        return -EBADMSG;
    }
    c->held_nanousd += open ? amount : 0;
    *serial = c->serial;
    return 0;
}

/* Its places, which follow those of the one before it, and its amounts. */
static int
read_share(struct input *in, const struct ns_hold *hold, int64_t last[static 2],
           struct ns_share *share)
{
    uint32_t place = ns_bytes_get_u32(&in->r);
    uint32_t grant = in->grants ? ns_bytes_get_u32(&in->r) : NS_NONE;
    share->amount_nanousd = ns_bytes_get_i64(&in->r);
    share->granted_nanousd = in->grants ? ns_bytes_get_i64(&in->r) : 0;
    share->grant_first = in->grants && ns_bytes_get_bool(&in->r);
    bool follows = place > last[0] || (place == NS_NONE && last[0] == NS_NONE && grant > last[1]);
    bool says = grant != NS_NONE || share->granted_nanousd > 0;
    if (in->r.bad || (place >= in->counter_count && place != NS_NONE) ||
        (grant >= in->counter_count && grant != NS_NONE) ||
        (place == NS_NONE && (grant == NS_NONE || share->granted_nanousd == 0)) || !follows ||
        share->amount_nanousd < 0 || share->amount_nanousd > hold->hold_nanousd ||
        share->granted_nanousd < 0 ||
        share->granted_nanousd > hold->hold_nanousd - share->amount_nanousd ||
        (share->grant_first && !says)) {
        return -EBADMSG;
    }
    last[0] = place;
    last[1] = grant;
    share->counter = number_at(in, place);
    share->grant = number_at(in, grant);
    return (share->counter != NS_NONE && is_grant(in->l, share->counter)) ||
                   (share->grant != NS_NONE && !is_grant(in->l, share->grant))
               ? -EBADMSG
               : 0;
}

/* Reads the shares of a hold; those of an open one are held. */
static int
load_shares(struct input *in, uint32_t number, unsigned count, bool open)
{
    struct ns_hold *hold = ns_hold_at(in->l, number);
    int64_t last[2] = {-1, -1};
    for (unsigned i = 0; i < count; i++) {
        struct ns_share share = {.counter = NS_NONE, .grant = NS_NONE};
        if (read_share(in, hold, last, &share) != 0 ||
            load_held(in->l, share.counter, share.amount_nanousd, open, &share.serial) != 0 ||
            load_held(in->l, share.grant, share.granted_nanousd, open, &share.grant_serial) != 0) {
            return -EBADMSG;
        }
        *ns_hold_share(hold, i) = share;
    }
    return 0;
}

static int
load_hold(struct input *in, const struct ns_uuid *call_id, const struct ns_owner *owner,
          uint32_t *number)
{
    int64_t hold_nanousd = ns_bytes_get_i64(&in->r);
    int64_t lost_nanousd = ns_bytes_get_i64(&in->r);
    int64_t rate_nanousd = in->first ? 0 : ns_bytes_get_i64(&in->r);
    bool finalize = !in->first && ns_bytes_get_bool(&in->r);
    unsigned count = ns_bytes_get_u8(&in->r);
    if (in->r.bad || hold_nanousd < 0 || lost_nanousd < 0 || rate_nanousd < 0 ||
        count > NS_MATCHES_MAX || ns_ledger_call_find(in->l, call_id) != NULL) {
        return -EBADMSG;
    }
    struct ns_share *more;
    if (ns_hold_prepare(in->l, count, &more) != 0) {
        return -ENOMEM;
    }
    *number = ns_hold_open(in->l, call_id, owner, count, more);
    struct ns_hold *hold = ns_hold_at(in->l, *number);
    hold->hold_nanousd = hold_nanousd;
    hold->lost_nanousd = lost_nanousd;
    hold->rate_nanousd = rate_nanousd;
    hold->finalize = finalize;
    return 0;
}

static int
load_open(struct input *in)
{
    const uint8_t *id = ns_bytes_get(&in->r, sizeof(struct ns_uuid));
    struct ns_owner owner;
    owner.a = ns_bytes_get_u64(&in->r);
    owner.b = ns_bytes_get_u64(&in->r);
    if (in->r.bad ||
        (in->previous != NULL && memcmp(in->previous, id, sizeof(struct ns_uuid)) >= 0) ||
        in->l->open_holds >= NS_HOLDS_MAX) {
        return -EBADMSG;
    }
    in->previous = id;
    struct ns_uuid call_id;
    memcpy(call_id.bytes, id, sizeof(call_id.bytes));
    uint32_t number;
    int status = load_hold(in, &call_id, &owner, &number);
    if (status == 0) {
        status = load_shares(in, number, ns_hold_at(in->l, number)->share_count, true);
    }
    return status;
}

/* A lost call is opened and ended again, so that its shares lie where they did. */
static int
load_lost(struct input *in, const struct ns_uuid *call_id, int64_t ended_at_ns)
{
    const struct ns_owner owner = {0, 0};
    uint32_t number;
    int status = load_hold(in, call_id, &owner, &number);
    if (status == 0) {
        status = load_shares(in, number, ns_hold_at(in->l, number)->share_count, false);
        ns_hold_disown(in->l, number);
        ns_ended_add(in->l, call_id, ns_ledger_call_find(in->l, call_id), NS_ENDED_LOST, number,
                     ended_at_ns);
    }
    return status;
}

static int
load_ended(struct input *in, int64_t *last_ns)
{
    const uint8_t *id = ns_bytes_get(&in->r, sizeof(struct ns_uuid));
    int64_t ended_at_ns = ns_bytes_get_i64(&in->r);
    uint8_t how = ns_bytes_get_u8(&in->r);
    if (in->r.bad || ended_at_ns < *last_ns || ended_at_ns > in->l->now_ns ||
        how < NS_ENDED_SETTLED || how > NS_ENDED_LOST || in->l->ended.taken >= NS_ENDED_MAX) {
        return -EBADMSG;
    }
    *last_ns = ended_at_ns;
    struct ns_uuid call_id;
    memcpy(call_id.bytes, id, sizeof(call_id.bytes));
    if (ns_ended_prepare(in->l, 1, 1) != 0) {
        return -ENOMEM;
    }
    if (how == NS_ENDED_LOST) {
        return load_lost(in, &call_id, ended_at_ns);
    }
    if (ns_ledger_call_find(in->l, &call_id) != NULL) {
        return -EBADMSG;
    }
    ns_ended_add(in->l, &call_id, NULL, (enum ns_ended_how)how, NS_NONE, ended_at_ns);
    return 0;
}

static int
load_all(struct input *in)
{
    const uint8_t *magic = ns_bytes_get(&in->r, sizeof(MAGIC));
    in->l->now_ns = ns_bytes_get_i64(&in->r);
    if (in->r.bad || in->l->now_ns < 0) {
        return -EBADMSG;
    }
    in->first = memcmp(magic, MAGIC_FIRST, sizeof(MAGIC)) == 0;
    in->grants = memcmp(magic, MAGIC, sizeof(MAGIC)) == 0;
    if (!in->first && !in->grants && memcmp(magic, MAGIC_SECOND, sizeof(MAGIC)) != 0) {
        return -EBADMSG;
    }
    int status = 0;
    int64_t last = 0;
    uint32_t count = ns_bytes_get_u32(&in->r);
    for (uint32_t i = 0; status == 0 && !in->r.bad && i < count; i++) {
        status = load_budget(in, &last);
    }
    if (status == 0) {
        status = load_counters(in);
    }
    count = status == 0 ? ns_bytes_get_u32(&in->r) : 0;
    for (uint32_t i = 0; status == 0 && !in->r.bad && i < count; i++) {
        status = load_open(in);
    }
    last = 0;
    count = status == 0 ? ns_bytes_get_u32(&in->r) : 0;
    for (uint32_t i = 0; status == 0 && !in->r.bad && i < count; i++) {
        status = load_ended(in, &last);
    }
    return status != 0 ? status : in->r.bad || in->r.at != in->r.end ? -EBADMSG : 0;
}

int
ns_ledger_load(const uint8_t *bytes, size_t count, struct ns_ledger **ledger)
{
    struct input in = {.r = {.at = bytes, .end = bytes + count}, .l = ns_ledger_new()};
    if (in.l == NULL) {
        return -ENOMEM;
    }
    int status = load_all(&in);
    free(in.counters);
    if (status != 0) {
        ns_ledger_free(in.l);
        return status;
    }
    *ledger = in.l;
    return 0;
}
