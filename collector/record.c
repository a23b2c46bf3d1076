/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal record's payload: version, the ledger event, the peer, the outcome, the message; each
 * part preceded by its length where it has no fixed one. Decoding takes nothing but what encoding
 * makes, so that a record that is read is the record that was written.
 */
#include "collector/record.h"

#include <errno.h>

#include "collector/bytes.h"

/* Of this file's format; a change of it or of the event's needs a new one. */
#define RECORD_VERSION 1
#define TEXT_BYTES_MAX 4096

enum {
    FLAG_WOULD_DENY = 1,
    FLAG_CORRECTED = 2,
    FLAG_PRICED = 4,
    FLAG_FINALIZE = 8,
    FLAG_OVERDRAFT = 16,
    FLAG_RULE = 32,
    FLAG_GRANTED = 64,
    FLAGS_ALL = 127
};

static void
put_text(struct ns_bytes_writer *w, const struct ns_text *text)
{
    if (text->bytes > TEXT_BYTES_MAX) {
        w->full = true;
        return;
    }
    ns_bytes_put_u16(w, text->bytes);
    ns_bytes_put(w, text->text, text->bytes);
}

static struct ns_text
get_text(struct ns_bytes_reader *r)
{
    uint16_t bytes = ns_bytes_get_u16(r);
    if (bytes > TEXT_BYTES_MAX) {
        r->bad = true;
    }
    const uint8_t *p = ns_bytes_get(r, bytes);
    return p == NULL || bytes == 0 ? (struct ns_text){NULL, 0}
                                   : (struct ns_text){(const char *)p, bytes};
}

/* Which meters there are, then the count of each. */
static void
put_usage(struct ns_bytes_writer *w, const struct ns_usage *usage)
{
    ns_bytes_put_u64(w, usage->present);
    for (unsigned m = 0; m < NS_METER_COUNT; m++) {
        if (usage->present >> m & 1) {
            ns_bytes_put_u64(w, usage->count[m]);
        }
    }
}

static void
get_usage(struct ns_bytes_reader *r, struct ns_usage *usage)
{
    usage->present = ns_bytes_get_u64(r);
    if (usage->present >> NS_METER_COUNT != 0) {
        r->bad = true;
    }
    for (unsigned m = 0; m < NS_METER_COUNT; m++) {
        if (usage->present >> m & 1) {
            usage->count[m] = ns_bytes_get_u64(r);
        }
    }
}

static void
put_peer(struct ns_bytes_writer *w, const struct ns_record_peer *peer)
{
    ns_bytes_put_u32(w, peer->pid);
    ns_bytes_put_u32(w, peer->uid);
    ns_bytes_put_u8(w, peer->source);
    put_text(w, &peer->process);
    put_text(w, &peer->executable);
    put_text(w, &peer->cgroup);
    put_text(w, &peer->hostname);
}

static void
get_peer(struct ns_bytes_reader *r, struct ns_record_peer *peer)
{
    peer->pid = ns_bytes_get_u32(r);
    peer->uid = ns_bytes_get_u32(r);
    peer->source = ns_bytes_get_u8(r);
    peer->process = get_text(r);
    peer->executable = get_text(r);
    peer->cgroup = get_text(r);
    peer->hostname = get_text(r);
}

static void
put_outcome(struct ns_bytes_writer *w, const struct ns_record_outcome *o)
{
    ns_bytes_put_u8(w, o->result);
    ns_bytes_put_u8(
        w, (o->would_deny ? FLAG_WOULD_DENY : 0) | (o->corrected ? FLAG_CORRECTED : 0) |
               (o->priced ? FLAG_PRICED : 0) | (o->finalize_nanousd != 0 ? FLAG_FINALIZE : 0) |
               (o->overdraft_nanousd != 0 ? FLAG_OVERDRAFT : 0) |
               (o->granted_nanousd != 0 ? FLAG_GRANTED : 0) | (o->rule.bytes != 0 ? FLAG_RULE : 0));
    ns_bytes_put_u8(w, o->reason);
    ns_bytes_put_u16(w, o->http_status);
    ns_bytes_put(w, o->denial_id.bytes, sizeof(o->denial_id.bytes));
    ns_bytes_put_i64(w, o->hold_nanousd);
    ns_bytes_put_i64(w, o->cost_nanousd);
    ns_bytes_put_i64(w, o->computed_nanousd);
    ns_bytes_put_u8(w, o->evidence);
    put_text(w, &o->price_version);
    put_text(w, &o->entity);
    ns_bytes_put_i64(w, o->limit_nanousd);
    ns_bytes_put_i64(w, o->spent_nanousd);
    ns_bytes_put_i64(w, o->held_nanousd);
    ns_bytes_put_i64(w, o->needed_nanousd);
    if (o->finalize_nanousd != 0) {
        ns_bytes_put_i64(w, o->finalize_nanousd);
    }
    if (o->overdraft_nanousd != 0) {
        ns_bytes_put_i64(w, o->overdraft_nanousd);
    }
    if (o->granted_nanousd != 0) {
        ns_bytes_put_i64(w, o->granted_nanousd);
    }
    put_usage(w, &o->usage);
    put_text(w, &o->model);
    if (o->rule.bytes != 0) {
        put_text(w, &o->rule);
    }
}

static void
get_outcome(struct ns_bytes_reader *r, struct ns_record_outcome *o)
{
    o->result = ns_bytes_get_u8(r);
    uint8_t flags = ns_bytes_get_u8(r);
    o->would_deny = flags & FLAG_WOULD_DENY;
    o->corrected = flags & FLAG_CORRECTED;
    o->priced = flags & FLAG_PRICED;
    o->reason = ns_bytes_get_u8(r);
    o->http_status = ns_bytes_get_u16(r);
    const uint8_t *denial_id = ns_bytes_get(r, sizeof(o->denial_id.bytes));
    if (denial_id != NULL) {
        memcpy(o->denial_id.bytes, denial_id, sizeof(o->denial_id.bytes));
    }
    o->hold_nanousd = ns_bytes_get_i64(r);
    o->cost_nanousd = ns_bytes_get_i64(r);
    o->computed_nanousd = ns_bytes_get_i64(r);
    o->evidence = ns_bytes_get_u8(r);
    o->price_version = get_text(r);
    o->entity = get_text(r);
    o->limit_nanousd = ns_bytes_get_i64(r);
    o->spent_nanousd = ns_bytes_get_i64(r);
    o->held_nanousd = ns_bytes_get_i64(r);
    o->needed_nanousd = ns_bytes_get_i64(r);
    if (flags & FLAG_FINALIZE) {
        o->finalize_nanousd = ns_bytes_get_i64(r);
        r->bad |= o->finalize_nanousd == 0;
    }
    if (flags & FLAG_OVERDRAFT) {
        o->overdraft_nanousd = ns_bytes_get_i64(r);
        r->bad |= o->overdraft_nanousd == 0;
    }
    if (flags & FLAG_GRANTED) {
        o->granted_nanousd = ns_bytes_get_i64(r);
        r->bad |= o->granted_nanousd == 0;
    }
    get_usage(r, &o->usage);
    o->model = get_text(r);
    if (flags & FLAG_RULE) {
        o->rule = get_text(r);
        r->bad |= o->rule.bytes == 0;
    }
    if (flags > FLAGS_ALL || o->result > NS_LEDGER_FULL || o->reason >= NS_REASON_COUNT ||
        o->evidence >= NS_EVIDENCE_COUNT) {
        r->bad = true;
    }
}

int
ns_record_encode(const struct ns_record *record, uint8_t *buffer, size_t buffer_bytes)
{
    struct ns_bytes_writer w = {.at = buffer, .end = buffer + buffer_bytes};
    ns_bytes_put_u8(&w, RECORD_VERSION);
    uint8_t *event_bytes = w.at;
    ns_bytes_put_u16(&w, 0);
    if (w.full || record->message_bytes > NS_MESSAGE_BYTES_MAX) {
        return -ENOSPC;
    }
    if (record->event.kind != 0) {
        int bytes = ns_ledger_event_encode(&record->event, w.at, (size_t)(w.end - w.at));
        if (bytes < 0) {
            return bytes;
        }
        event_bytes[0] = (uint8_t)bytes;
        event_bytes[1] = (uint8_t)(bytes >> 8);
        w.at += bytes;
    }
    put_peer(&w, &record->peer);
    put_outcome(&w, &record->outcome);
    ns_bytes_put_u32(&w, record->message_bytes);
    ns_bytes_put(&w, record->message, record->message_bytes);
    return w.full ? -ENOSPC : (int)(w.at - buffer);
}

int
ns_record_decode(const uint8_t *payload, size_t payload_bytes, struct ns_record *record,
                 struct ns_ledger_event_room *room)
{
    struct ns_bytes_reader r = {.at = payload, .end = payload + payload_bytes};
    memset(record, 0, sizeof(*record));
    if (ns_bytes_get_u8(&r) != RECORD_VERSION) {
        return -EBADMSG;
    }
    uint16_t event_bytes = ns_bytes_get_u16(&r);
    const uint8_t *event = ns_bytes_get(&r, event_bytes);
    if (event == NULL || (event_bytes != 0 &&
                          ns_ledger_event_decode(event, event_bytes, &record->event, room) != 0)) {
        return -EBADMSG;
    }
    get_peer(&r, &record->peer);
    get_outcome(&r, &record->outcome);
    record->message_bytes = ns_bytes_get_u32(&r);
    if (record->message_bytes > NS_MESSAGE_BYTES_MAX) {
        return -EBADMSG;
    }
    const uint8_t *message = ns_bytes_get(&r, record->message_bytes);
    record->message = record->message_bytes == 0 ? NULL : message;
    return r.bad || r.at != r.end ? -EBADMSG : 0;
}
