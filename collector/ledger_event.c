/* SPDX-License-Identifier: Apache-2.0 */
/* Events as bytes: kind, then the members in their order, little-endian. Decoding takes nothing but
 * what encoding makes. */
#include <errno.h>

#include "collector/bytes.h"
#include "collector/ledger.h"

/* The kind, as bytes, of a BUDGET_PUT that has more to say than any had at first: something is kept
 * for calls that finalize, or there is an overdraft or a velocity. */
#define BUDGET_PUT_MORE 10
/* And of one that is a grant, and of a RESERVE that names some. */
#define BUDGET_PUT_GRANT 11
#define RESERVE_GRANTED 12
_Static_assert(BUDGET_PUT_MORE > NS_LEDGER_TOP_UP, "no other event's kind");

static void
put_text(struct ns_bytes_writer *w, const char *text, size_t bytes_max)
{
    size_t bytes = strnlen(text, bytes_max);
    ns_bytes_put_u16(w, bytes);
    ns_bytes_put(w, text, bytes);
}

static void
get_text(struct ns_bytes_reader *r, char *text, size_t bytes_max)
{
    uint16_t bytes = ns_bytes_get_u16(r);
    const uint8_t *p = bytes <= bytes_max ? ns_bytes_get(r, bytes) : NULL;
    if (p == NULL || memchr(p, '\0', bytes) != NULL) {
        r->bad = true;
        return;
    }
    memcpy(text, p, bytes);
    text[bytes] = '\0';
}

static void
put_uuid(struct ns_bytes_writer *w, const struct ns_uuid *uuid)
{
    ns_bytes_put(w, uuid->bytes, sizeof(uuid->bytes));
}

static void
get_uuid(struct ns_bytes_reader *r, struct ns_uuid *uuid)
{
    const uint8_t *p = ns_bytes_get(r, sizeof(uuid->bytes));
    if (p != NULL) {
        memcpy(uuid->bytes, p, sizeof(uuid->bytes));
    }
}

static void
put_owner(struct ns_bytes_writer *w, const struct ns_owner *owner)
{
    ns_bytes_put_u64(w, owner->a);
    ns_bytes_put_u64(w, owner->b);
}

static struct ns_owner
get_owner(struct ns_bytes_reader *r)
{
    struct ns_owner owner;
    owner.a = ns_bytes_get_u64(r);
    owner.b = ns_bytes_get_u64(r);
    return owner;
}

static void
put_entities(struct ns_bytes_writer *w, unsigned count, const char *const *entity)
{
    if (count > NS_ENTITIES_MAX) {
        w->full = true;
        return;
    }
    ns_bytes_put_u8(w, count);
    for (unsigned i = 0; i < count; i++) {
        put_text(w, entity[i], NS_ENTITY_BYTES_MAX);
    }
}

static uint8_t
get_entities(struct ns_bytes_reader *r, struct ns_ledger_event_room *room)
{
    uint8_t count = ns_bytes_get_u8(r);
    if (count > NS_ENTITIES_MAX) {
        r->bad = true;
        return 0;
    }
    for (unsigned i = 0; i < count; i++) {
        get_text(r, room->text[i], NS_ENTITY_BYTES_MAX);
        room->entity[i] = room->text[i];
    }
    return count;
}

static bool
says_more(const struct ns_budget *b)
{
    return b->finalize_nanousd != 0 || b->overdraft_nanousd != 0 || b->velocity_nanousd != 0 ||
           b->velocity_window_s != 0 || b->velocity_cooldown_s != 0;
}

static void
put_budget(struct ns_bytes_writer *w, const struct ns_budget *b)
{
    put_text(w, b->entity, NS_ENTITY_BYTES_MAX);
    ns_bytes_put_u8(w, b->period);
    ns_bytes_put_u8(w, b->policy);
    ns_bytes_put_u8(w, b->reserve);
    ns_bytes_put_u8(w, b->on_unreachable);
    ns_bytes_put_u16(w, b->deny_status);
    ns_bytes_put_i64(w, b->limit_nanousd);
    ns_bytes_put_i64(w, b->id);
}

static void
get_budget(struct ns_bytes_reader *r, struct ns_budget *b)
{
    get_text(r, b->entity, NS_ENTITY_BYTES_MAX);
    b->period = ns_bytes_get_u8(r);
    b->policy = ns_bytes_get_u8(r);
    b->reserve = ns_bytes_get_u8(r);
    b->on_unreachable = ns_bytes_get_u8(r);
    b->deny_status = ns_bytes_get_u16(r);
    b->limit_nanousd = ns_bytes_get_i64(r);
    b->id = ns_bytes_get_i64(r);
}

static void
put_terms(struct ns_bytes_writer *w, const struct ns_budget *b)
{
    ns_bytes_put_i64(w, b->finalize_nanousd);
    ns_bytes_put_i64(w, b->overdraft_nanousd);
    ns_bytes_put_i64(w, b->velocity_nanousd);
    ns_bytes_put_u16(w, b->velocity_window_s);
    ns_bytes_put_u16(w, b->velocity_cooldown_s);
}

static void
get_terms(struct ns_bytes_reader *r, struct ns_budget *b)
{
    b->finalize_nanousd = ns_bytes_get_i64(r);
    b->overdraft_nanousd = ns_bytes_get_i64(r);
    b->velocity_nanousd = ns_bytes_get_i64(r);
    b->velocity_window_s = ns_bytes_get_u16(r);
    b->velocity_cooldown_s = ns_bytes_get_u16(r);
}

static void
put_grant(struct ns_bytes_writer *w, const struct ns_budget *b)
{
    put_text(w, b->entity, NS_ENTITY_BYTES_MAX);
    ns_bytes_put_i64(w, b->limit_nanousd);
    ns_bytes_put_i64(w, b->id);
    ns_bytes_put_i64(w, b->grant_of);
    ns_bytes_put_i64(w, b->until_ns);
    ns_bytes_put_u8(w, b->spend_first);
    put_text(w, b->models, NS_GRANT_MODELS_BYTES_MAX);
}

static void
get_grant(struct ns_bytes_reader *r, struct ns_budget *b)
{
    get_text(r, b->entity, NS_ENTITY_BYTES_MAX);
    b->period = NS_PERIOD_TOTAL;
    b->limit_nanousd = ns_bytes_get_i64(r);
    b->id = ns_bytes_get_i64(r);
    b->grant_of = ns_bytes_get_i64(r);
    b->until_ns = ns_bytes_get_i64(r);
    b->spend_first = ns_bytes_get_bool(r);
    get_text(r, b->models, NS_GRANT_MODELS_BYTES_MAX);
    r->bad |= b->grant_of == 0;
}

static void
put_grants_of_call(struct ns_bytes_writer *w, const struct ns_ledger_reserve *e)
{
    if (e->grant_count > NS_CALL_GRANTS_MAX) {
        w->full = true;
        return;
    }
    ns_bytes_put_u8(w, e->grant_count);
    for (unsigned i = 0; i < e->grant_count; i++) {
        ns_bytes_put_i64(w, e->grant[i]);
    }
}

static void
get_grants_of_call(struct ns_bytes_reader *r, struct ns_ledger_reserve *e)
{
    e->grant_count = ns_bytes_get_u8(r);
    r->bad |= e->grant_count == 0 || e->grant_count > NS_CALL_GRANTS_MAX;
    for (unsigned i = 0; i < e->grant_count && !r->bad; i++) {
        e->grant[i] = ns_bytes_get_i64(r);
    }
}

static void
put_reserve(struct ns_bytes_writer *w, const struct ns_ledger_reserve *e)
{
    put_uuid(w, &e->call_id);
    put_owner(w, &e->owner);
    ns_bytes_put_u8(w, e->mode);
    ns_bytes_put_u8(w, e->finalize);
    ns_bytes_put_i64(w, e->bound_nanousd);
    ns_bytes_put_i64(w, e->typical_nanousd);
    ns_bytes_put_i64(w, e->lost_nanousd);
    put_entities(w, e->entity_count, e->entity);
}

static void
get_reserve(struct ns_bytes_reader *r, struct ns_ledger_reserve *e,
            struct ns_ledger_event_room *room)
{
    get_uuid(r, &e->call_id);
    e->owner = get_owner(r);
    e->mode = ns_bytes_get_u8(r);
    e->finalize = ns_bytes_get_bool(r);
    e->bound_nanousd = ns_bytes_get_i64(r);
    e->typical_nanousd = ns_bytes_get_i64(r);
    e->lost_nanousd = ns_bytes_get_i64(r);
    e->entity_count = get_entities(r, room);
    e->entity = room->entity;
}

static void
put_settle(struct ns_bytes_writer *w, const struct ns_ledger_settle *e)
{
    put_uuid(w, &e->call_id);
    put_owner(w, &e->owner);
    ns_bytes_put_i64(w, e->cost_nanousd);
    ns_bytes_put_i64(w, e->opened_at_ns);
    put_entities(w, e->entity_count, e->entity);
}

static void
get_settle(struct ns_bytes_reader *r, struct ns_ledger_settle *e, struct ns_ledger_event_room *room)
{
    get_uuid(r, &e->call_id);
    e->owner = get_owner(r);
    e->cost_nanousd = ns_bytes_get_i64(r);
    e->opened_at_ns = ns_bytes_get_i64(r);
    e->entity_count = get_entities(r, room);
    e->entity = room->entity;
}

int
ns_ledger_event_encode(const struct ns_ledger_event *event, uint8_t *buffer, size_t buffer_bytes)
{
    struct ns_bytes_writer w = {.at = buffer, .end = buffer + buffer_bytes};
    bool more = event->kind == NS_LEDGER_BUDGET_PUT && says_more(&event->as.budget_put);
    bool grant = event->kind == NS_LEDGER_BUDGET_PUT && event->as.budget_put.grant_of != 0;
    bool granted = event->kind == NS_LEDGER_RESERVE && event->as.reserve.grant_count != 0;
    ns_bytes_put_u8(&w, grant     ? BUDGET_PUT_GRANT
                        : more    ? BUDGET_PUT_MORE
                        : granted ? RESERVE_GRANTED
                                  : event->kind);
    switch (event->kind) {
    case NS_LEDGER_BUDGET_PUT:
        if (grant) {
            put_grant(&w, &event->as.budget_put);
            break;
        }
        put_budget(&w, &event->as.budget_put);
        if (more) {
            put_terms(&w, &event->as.budget_put);
        }
        break;
    case NS_LEDGER_BUDGET_REMOVE:
        ns_bytes_put_i64(&w, event->as.budget_remove.id);
        break;
    case NS_LEDGER_RESERVE:
        put_reserve(&w, &event->as.reserve);
        if (granted) {
            put_grants_of_call(&w, &event->as.reserve);
        }
        break;
    case NS_LEDGER_PROGRESS:
        put_uuid(&w, &event->as.progress.call_id);
        ns_bytes_put_i64(&w, event->as.progress.lost_nanousd);
        break;
    case NS_LEDGER_SETTLE:
        put_settle(&w, &event->as.settle);
        break;
    case NS_LEDGER_VOID:
        put_uuid(&w, &event->as.voided.call_id);
        break;
    case NS_LEDGER_OWNER_GONE:
        put_owner(&w, &event->as.owner_gone.owner);
        break;
    case NS_LEDGER_TICK:
        break;
    case NS_LEDGER_TOP_UP:
        put_uuid(&w, &event->as.top_up.call_id);
        ns_bytes_put_u8(&w, event->as.top_up.mode);
        ns_bytes_put_i64(&w, event->as.top_up.lost_nanousd);
        ns_bytes_put_i64(&w, event->as.top_up.enough_nanousd);
        ns_bytes_put_i64(&w, event->as.top_up.wanted_nanousd);
        break;
    }
    return w.full ? -ENOSPC : (int)(w.at - buffer);
}

int
ns_ledger_event_decode(const uint8_t *bytes, size_t count, struct ns_ledger_event *event,
                       struct ns_ledger_event_room *room)
{
    struct ns_bytes_reader r = {.at = bytes, .end = bytes + count};
    memset(event, 0, sizeof(*event));
    uint8_t kind = ns_bytes_get_u8(&r);
    bool more = kind == BUDGET_PUT_MORE;
    bool grant = kind == BUDGET_PUT_GRANT;
    bool granted = kind == RESERVE_GRANTED;
    event->kind = more || grant ? NS_LEDGER_BUDGET_PUT
                  : granted     ? NS_LEDGER_RESERVE
                                : (enum ns_ledger_event_kind)kind;
    switch (event->kind) {
    case NS_LEDGER_BUDGET_PUT:
        if (grant) {
            get_grant(&r, &event->as.budget_put);
            break;
        }
        get_budget(&r, &event->as.budget_put);
        if (more) {
            get_terms(&r, &event->as.budget_put);
            r.bad |= !says_more(&event->as.budget_put);
        }
        break;
    case NS_LEDGER_BUDGET_REMOVE:
        event->as.budget_remove.id = ns_bytes_get_i64(&r);
        break;
    case NS_LEDGER_RESERVE:
        get_reserve(&r, &event->as.reserve, room);
        if (granted) {
            get_grants_of_call(&r, &event->as.reserve);
        }
        break;
    case NS_LEDGER_PROGRESS:
        get_uuid(&r, &event->as.progress.call_id);
        event->as.progress.lost_nanousd = ns_bytes_get_i64(&r);
        break;
    case NS_LEDGER_SETTLE:
        get_settle(&r, &event->as.settle, room);
        break;
    case NS_LEDGER_VOID:
        get_uuid(&r, &event->as.voided.call_id);
        break;
    case NS_LEDGER_OWNER_GONE:
        event->as.owner_gone.owner = get_owner(&r);
        break;
    case NS_LEDGER_TICK:
        break;
    case NS_LEDGER_TOP_UP:
        get_uuid(&r, &event->as.top_up.call_id);
        event->as.top_up.mode = ns_bytes_get_u8(&r);
        event->as.top_up.lost_nanousd = ns_bytes_get_i64(&r);
        event->as.top_up.enough_nanousd = ns_bytes_get_i64(&r);
        event->as.top_up.wanted_nanousd = ns_bytes_get_i64(&r);
        break;
    default:
        return -EBADMSG;
    }
    return r.bad || r.at != r.end ? -EBADMSG : 0;
}
