/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/notifier_rows.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/notifier_send.h"

#define TEXT_OF(number) TEXT(number)
#define TEXT(number) #number

/* Locked rows are somebody else's; what was taken is due again when its sender must have ended. */
static const char take_sql[] =
    "with due as ("
    " select d.delivery_id from nullspend.endpoints p cross join lateral ("
    "  select delivery_id, next_attempt_at from nullspend.deliveries"
    "  where endpoint_id = p.endpoint_id and state = 'pending' and next_attempt_at <= now()"
    "  order by next_attempt_at, delivery_id"
    "  limit greatest(0, " TEXT_OF(
        NS_DELIVERIES_OF_ENDPOINT_MAX) "   - cardinality(array_positions($1::bigint[], "
                                       "p.endpoint_id)))"
                                       "  for update skip locked) d"
                                       " where p.enabled"
                                       " order by d.next_attempt_at, d.delivery_id limit $2::bigint"
                                       "), taken as ("
                                       " update nullspend.deliveries d set attempts = d.attempts + "
                                       "1, last_attempt_at = now(),"
                                       "  next_attempt_at = now() + interval '" TEXT_OF(
                                           NS_SEND_LOST_S) " seconds'"
                                                           " from due where d.delivery_id = "
                                                           "due.delivery_id"
                                                           " returning d.delivery_id, "
                                                           "d.endpoint_id, d.event_id, d.attempts)"
                                                           " select t.delivery_id, t.endpoint_id, "
                                                           "t.attempts, p.kind, p.allow_private, "
                                                           "e.kind = 'test',"
                                                           "  p.name, e.event_id, case p.kind when "
                                                           "'slack' then s.secret[1] else p.url "
                                                           "end, p.sender,"
                                                           "  array_to_string(p.recipients, ', '), "
                                                           "nullspend.delivery_subject(e),"
                                                           "  nullspend.delivery_body(p, e, "
                                                           "s.secret[1]), s.secret[1], s.secret[2]"
                                                           " from taken t"
                                                           " join nullspend.endpoints p on "
                                                           "p.endpoint_id = t.endpoint_id"
                                                           " join nullspend.events e on e.event_id "
                                                           "= t.event_id"
                                                           " cross join lateral (select array("
                                                           "  select secret from "
                                                           "nullspend.endpoint_secrets"
                                                           "  where endpoint_id = t.endpoint_id "
                                                           "and ends_at > now()"
                                                           "  order by secret_id desc "
                                                           "limit " TEXT_OF(
                                                               NS_SIGN_SECRETS_MAX) ") as secret) s"
                                                                                    " order by "
                                                                                    "t.delivery_id";

static const char settle_sql[] =
    "with settled as (update nullspend.deliveries set state = $3,"
    " next_attempt_at = now() + $4::bigint * interval '1 millisecond',"
    " last_status = nullif($5::integer, 0), last_error = $6,"
    " sent_at = case when $3 = 'sent' then now() end"
    " where delivery_id = $1::bigint and attempts = $2::integer and state = 'pending' returning "
    "delivery_id)"
    " select pg_notify('nullspend_deliveries', delivery_id::text) from settled";

static const char count_sql[] =
    "select (select count(*) from nullspend.deliveries where state = 'pending'),"
    " (select count(*) from nullspend.deliveries where state = 'dead'),"
    " (select coalesce(ceil(extract(epoch from now() - min(created_at))), 0)::bigint"
    "  from nullspend.deliveries where state = 'pending')";

static enum ns_endpoint_kind
kind_of(const char *word)
{
    static const char *const words[NS_ENDPOINT_KIND_COUNT] = {"webhook", "slack", "pagerduty",
                                                              "mail"};
    int kind = 0;
    while (kind < NS_ENDPOINT_KIND_COUNT - 1 && strcmp(word, words[kind]) != 0) {
        kind++;
    }
    return (enum ns_endpoint_kind)kind;
}

static bool
copy(char **into, const PGresult *rows, int row, int column, bool null_is_null)
{
    if (null_is_null && PQgetisnull(rows, row, column)) {
        *into = NULL;
        return true;
    }
    *into = strdup(PQgetvalue(rows, row, column));
    return *into != NULL;
}

static int
read_row(const PGresult *rows, int row, struct ns_delivery *delivery)
{
    *delivery = (struct ns_delivery){
        .delivery_id = strtoll(PQgetvalue(rows, row, 0), NULL, 10),
        .endpoint_id = strtoll(PQgetvalue(rows, row, 1), NULL, 10),
        .attempts = (int)strtol(PQgetvalue(rows, row, 2), NULL, 10),
        .kind = kind_of(PQgetvalue(rows, row, 3)),
        .allow_private = *PQgetvalue(rows, row, 4) == 't',
        .test = *PQgetvalue(rows, row, 5) == 't',
    };
    bool whole = copy(&delivery->endpoint, rows, row, 6, false) &&
                 copy(&delivery->event_id, rows, row, 7, false) &&
                 copy(&delivery->url, rows, row, 8, false) &&
                 copy(&delivery->sender, rows, row, 9, false) &&
                 copy(&delivery->recipients, rows, row, 10, false) &&
                 copy(&delivery->subject, rows, row, 11, false) &&
                 copy(&delivery->body, rows, row, 12, false) &&
                 copy(&delivery->secret[0], rows, row, 13, true) &&
                 copy(&delivery->secret[1], rows, row, 14, true);
    if (!whole) {
        ns_delivery_free(delivery);
    }
    return whole ? 0 : -ENOMEM;
}

int
ns_deliveries_take(struct ns_link *link, const char *busy, struct ns_delivery *deliveries,
                   int count)
{
    char most[16];
    const char *parameters[] = {busy, most};
    snprintf(most, sizeof most, "%d", count);
    PGresult *rows = ns_link_query(link, take_sql, 2, parameters);
    if (rows == NULL) {
        return -EIO;
    }
    int taken = 0;
    for (int row = 0; row < PQntuples(rows) && taken < count; row++) {
        /* One for which there is no memory is due again by itself. */
        taken += read_row(rows, row, &deliveries[taken]) == 0 ? 1 : 0;
    }
    PQclear(rows);
    return taken;
}

void
ns_delivery_free(struct ns_delivery *delivery)
{
    char *const texts[] = {delivery->endpoint, delivery->event_id,   delivery->url,
                           delivery->sender,   delivery->recipients, delivery->subject,
                           delivery->body,     delivery->secret[0],  delivery->secret[1]};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        free(texts[i]);
    }
    *delivery = (struct ns_delivery){0};
}

int
ns_delivery_settle(struct ns_link *link, const struct ns_delivery *delivery,
                   const struct ns_delivery_result *result)
{
    static const char *const states[] = {
        [NS_FATE_SENT] = "sent", [NS_FATE_RETRY] = "pending", [NS_FATE_DEAD] = "dead"};
    char id[24], attempts[16], delay[24], status[16];
    const char *parameters[] = {id, attempts, states[result->fate], delay, status, result->error};
    snprintf(id, sizeof id, "%" PRId64, delivery->delivery_id);
    snprintf(attempts, sizeof attempts, "%d", delivery->attempts);
    snprintf(delay, sizeof delay, "%" PRId64, result->delay_ms);
    snprintf(status, sizeof status, "%d", result->status);
    PGresult *done = ns_link_query(link, settle_sql, 6, parameters);
    PQclear(done);
    return done != NULL ? 0 : -EIO;
}

int
ns_deliveries_count(struct ns_link *link, struct ns_notifier_figures *figures)
{
    PGresult *rows = ns_link_query(link, count_sql, 0, NULL);
    if (rows == NULL || PQntuples(rows) != 1) {
        PQclear(rows);
        return -EIO;
    }
    figures->pending = strtoull(PQgetvalue(rows, 0, 0), NULL, 10);
    figures->dead = strtoull(PQgetvalue(rows, 0, 1), NULL, 10);
    figures->oldest_pending_s = strtoull(PQgetvalue(rows, 0, 2), NULL, 10);
    PQclear(rows);
    return 0;
}
