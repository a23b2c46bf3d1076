/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_batch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_BATCH_ROOM (NS_BATCH_BYTES_MAX + NS_ROW_BYTES_MAX)
/* For ids as text: "{", and 36 characters and a comma each. */
#define NS_BATCH_REPLACED_TEXT (NS_BATCH_RECORDS_MAX * NS_UUID_TEXT_BYTES + 3)
/* For days as text: "{" and "-2147483648," each. */
#define NS_BATCH_DAYS_TEXT ((NS_BATCH_DAYS_BEFORE + NS_BATCH_DAYS_AFTER) * 12 + 3)

int
ns_batch_init(struct ns_batch *batch)
{
    memset(batch, 0, sizeof *batch);
    batch->call_bytes = malloc(NS_BATCH_ROOM);
    batch->denial_bytes = malloc(NS_BATCH_ROOM);
    batch->replaced = malloc(NS_BATCH_REPLACED_TEXT);
    return batch->call_bytes == NULL || batch->denial_bytes == NULL || batch->replaced == NULL
               ? -ENOMEM
               : 0;
}

void
ns_batch_free(struct ns_batch *batch)
{
    free(batch->call_bytes);
    free(batch->denial_bytes);
    free(batch->replaced);
    if (batch->reader != NULL) {
        ns_journal_reader_close(batch->reader);
    }
    memset(batch, 0, sizeof *batch);
}

/* --- days ----------------------------------------------------------------------------------- */

static void
note_day(struct ns_batch *batch, int64_t day)
{
    int64_t at = day - batch->first_day;
    if (at >= 0 && at < NS_BATCH_DAYS_BEFORE + NS_BATCH_DAYS_AFTER && !batch->day_known[at]) {
        batch->day_known[at] = true;
        batch->new_days[batch->new_day_count++] = day;
    }
}

/* Makes the partitions of new_days. That needs a lock on the default partition, which a long query
 * may hold: then those days' calls go there, and move when their partition is made later. */
static int
make_days(struct ns_batch *batch, struct ns_link *link)
{
    char days[NS_BATCH_DAYS_TEXT];
    const char *parameters[] = {days};
    int n = snprintf(days, sizeof days, "{");
    if (batch->new_day_count == 0) {
        return 0;
    }
    for (size_t i = 0; i < batch->new_day_count; i++) {
        n += snprintf(days + n, sizeof days - (size_t)n, "%s%" PRId64, i > 0 ? "," : "",
                      batch->new_days[i]);
    }
    snprintf(days + n, sizeof days - (size_t)n, "}");
    batch->new_day_count = 0;
    if (ns_link_run(link, "begin; set local lock_timeout = '2s'") < 0) {
        return -EIO;
    }
    PGresult *made = ns_link_query(link,
                                   "select nullspend.make_call_partitions("
                                   "array(select date '1970-01-01' + d from unnest($1::int[]) d))",
                                   1, parameters);
    PQclear(made);
    if (made != NULL) {
        return ns_link_run(link, "commit");
    }
    bool locked = strcmp(link->sqlstate, "55P03") == 0; /* lock_not_available */
    return ns_link_run(link, "rollback") < 0 || !locked ? -EIO : 0;
}

int
ns_batch_days_ahead(struct ns_batch *batch, struct ns_link *link, int64_t now_ns)
{
    int64_t today = ns_rows_day(now_ns);
    if (today == batch->today) {
        return 0;
    }
    batch->today = today;
    batch->first_day = today - NS_BATCH_DAYS_BEFORE;
    batch->new_day_count = 0;
    memset(batch->day_known, 0, sizeof batch->day_known);
    for (int64_t day = today - 1; day < today + NS_BATCH_DAYS_AHEAD; day++) {
        note_day(batch, day);
    }
    return make_days(batch, link);
}

int
ns_batch_prepare(struct ns_batch *batch, struct ns_link *link, int64_t now_ns)
{
    if (ns_link_run(link, "create temporary table staged_calls (like nullspend.calls)"
                          " on commit delete rows;"
                          "create temporary table staged_denials (like nullspend.denied_calls)"
                          " on commit delete rows") < 0) {
        return -EIO;
    }
    batch->today = INT64_MIN;
    return ns_batch_days_ahead(batch, link, now_ns);
}

/* --- filling -------------------------------------------------------------------------------- */

/* Ids are kept as "{id,id,", closed when they are used. */
static void
note_replaced(struct ns_batch *batch, const struct ns_uuid *call_id)
{
    char *at = batch->replaced + 1 + batch->replaced_count * NS_UUID_TEXT_BYTES;
    ns_uuid_format(call_id, at);
    at[NS_UUID_TEXT_BYTES - 1] = ',';
    batch->replaced_count++;
}

/* Takes one record into the batch. Returns 1, 0 when it must begin the next batch. */
static int
take_record(struct ns_batch *batch, const struct ns_journal_record *from)
{
    struct ns_record record = {
        .sequence = from->sequence, .at_ns = from->at_ns, .type = (enum ns_record_type)from->type};
    struct ns_row_facts facts = {0};
    const char *why = "it cannot be decoded";
    int result = ns_record_decode(from->payload, from->payload_bytes, &record, &batch->room);
    if (result == 0) {
        record.sequence = from->sequence;
        record.at_ns = from->at_ns;
        record.type = (enum ns_record_type)from->type;
        result = ns_rows_add(&record, &batch->calls, &batch->denials, &facts, &why);
    }
    if (result == -ENOSPC && batch->records > 0) {
        return 0;
    }
    if (result < 0) {
        if (batch->records > 0) {
            return 0; /* it is put aside alone */
        }
        batch->refused = result == -ENOSPC ? "it is too large" : why;
        return 1;
    }
    if (facts.kind == NS_ROW_CALL) {
        note_day(batch, ns_rows_day(facts.started_at_ns));
    }
    if (facts.replaces) {
        note_replaced(batch, &facts.call_id);
    }
    return 1;
}

int
ns_batch_fill(struct ns_batch *batch, uint64_t until)
{
    batch->records = 0;
    batch->replaced_count = 0;
    batch->refused = NULL;
    ns_rows_begin(&batch->calls, batch->call_bytes, NS_BATCH_ROOM);
    ns_rows_begin(&batch->denials, batch->denial_bytes, NS_BATCH_ROOM);
    while (batch->records < batch->records_max && batch->refused == NULL &&
           batch->calls.used < NS_BATCH_BYTES_MAX && batch->denials.used < NS_BATCH_BYTES_MAX) {
        if (!batch->has_next) {
            int result = ns_journal_reader_next(batch->reader, until, &batch->next);
            if (result < 0) {
                return result;
            }
            if (result == 0) {
                break;
            }
        }
        batch->has_next = take_record(batch, &batch->next) == 0;
        if (batch->has_next) {
            break;
        }
        if (batch->records++ == 0) {
            batch->first_at_ns = batch->next.at_ns;
        }
        batch->last = batch->next.sequence;
    }
    ns_rows_end(&batch->calls);
    ns_rows_end(&batch->denials);
    return (int)batch->records;
}

/* --- writing -------------------------------------------------------------------------------- */

/* What late reports and releases replace goes: rows of calls that were given up as lost. */
static int
delete_replaced(struct ns_batch *batch, struct ns_link *link)
{
    const char *parameters[] = {batch->replaced};
    if (batch->replaced_count == 0) {
        return 0;
    }
    batch->replaced[0] = '{';
    snprintf(batch->replaced + batch->replaced_count * NS_UUID_TEXT_BYTES, 2, "}");
    PGresult *gone = ns_link_query(link,
                                   "delete from nullspend.calls"
                                   " where call_id = any($1::uuid[]) and outcome = 'lost'",
                                   1, parameters);
    PQclear(gone);
    return gone == NULL ? -EIO : 0;
}

/* As a rule nothing of a batch is in Postgres yet, and its rows go straight into their partitions.
 * Where some of it may be (a journal is followed a second time, a lost call and its late report
 * stand in one batch), a staging table sorts out which rows are new. */
static int
write_calls(struct ns_batch *batch, struct ns_link *link, bool staged)
{
    static const char straight[] =
        "copy nullspend.calls (" NS_ROWS_CALL_COLUMNS ") from stdin (format binary)";
    static const char staging[] =
        "copy staged_calls (" NS_ROWS_CALL_COLUMNS ") from stdin (format binary)";
    int result = delete_replaced(batch, link);
    if (result == 0) {
        result =
            ns_link_copy(link, staged ? staging : straight, batch->calls.bytes, batch->calls.used);
    }
    if (result == 0 && staged) {
        result = ns_link_run(link, "insert into nullspend.calls (" NS_ROWS_CALL_COLUMNS ")"
                                   " select distinct on (call_id) " NS_ROWS_CALL_COLUMNS
                                   " from staged_calls order by call_id, outcome = 'lost'"
                                   " on conflict (call_id, started_at) do nothing");
    }
    /* Once more, for those that were lost and released within this batch. */
    return result == 0 ? delete_replaced(batch, link) : result;
}

static int
write_denials(struct ns_batch *batch, struct ns_link *link)
{
    if (ns_link_copy(link,
                     "copy staged_denials (" NS_ROWS_DENIAL_COLUMNS ") from stdin (format binary)",
                     batch->denials.bytes, batch->denials.used) < 0) {
        return -EIO;
    }
    return ns_link_run(link, "insert into nullspend.denied_calls (" NS_ROWS_DENIAL_COLUMNS ")"
                             " select " NS_ROWS_DENIAL_COLUMNS " from staged_denials"
                             " on conflict (denial_id) do nothing");
}

/* Last in its transaction, for the row is shared with the settings thread. */
static int
write_position(struct ns_batch *batch, struct ns_link *link)
{
    char position[24];
    const char *parameters[] = {position, batch->journal_id};
    snprintf(position, sizeof position, "%" PRIu64, batch->last);
    PGresult *written = ns_link_query(link,
                                      "update nullspend.collector_state"
                                      " set journal_position = $1, updated_at = now()"
                                      " where instance = $2",
                                      2, parameters);
    if (written == NULL) {
        return -EIO;
    }
    bool one = strcmp(PQcmdTuples(written), "1") == 0;
    PQclear(written);
    if (!one) {
        snprintf(link->error, sizeof link->error,
                 "nullspend.collector_state does not know this collector any more");
        link->sqlstate[0] = '\0';
        return -EIO;
    }
    return 0;
}

static int
end_transaction(struct ns_batch *batch, struct ns_link *link, int result)
{
    if (result == 0) {
        result = write_position(batch, link);
    }
    if (result == 0) {
        return ns_link_run(link, "commit");
    }
    struct ns_link kept = *link;
    ns_link_run(link, "rollback");
    memcpy(link->error, kept.error, sizeof link->error);
    memcpy(link->sqlstate, kept.sqlstate, sizeof link->sqlstate);
    return -EIO;
}

static int
write_transaction(struct ns_batch *batch, struct ns_link *link, bool staged)
{
    int result = ns_link_run(link, "begin");
    if (result == 0 && (batch->calls.count > 0 || batch->replaced_count > 0)) {
        result = write_calls(batch, link, staged);
    }
    if (result == 0 && batch->denials.count > 0) {
        result = write_denials(batch, link);
    }
    return end_transaction(batch, link, result);
}

int
ns_batch_write(struct ns_batch *batch, struct ns_link *link)
{
    if (make_days(batch, link) < 0) {
        return -EIO;
    }
    bool staged = batch->replaced_count > 0;
    int result = write_transaction(batch, link, staged);
    if (result < 0 && !staged && strcmp(link->sqlstate, "23505") == 0) { /* unique_violation */
        result = write_transaction(batch, link, true);
    }
    return result;
}

int
ns_batch_refuse(struct ns_batch *batch, struct ns_link *link, const char *why)
{
    char sequence[24], type[8];
    char *payload = malloc(batch->next.payload_bytes * 2 + 3);
    if (payload == NULL) {
        snprintf(link->error, sizeof link->error, "no memory");
        return -EIO;
    }
    snprintf(payload, 3, "\\x");
    for (size_t i = 0; i < batch->next.payload_bytes; i++) {
        snprintf(payload + 2 + 2 * i, 3, "%02x", batch->next.payload[i]);
    }
    snprintf(sequence, sizeof sequence, "%" PRIu64, batch->next.sequence);
    snprintf(type, sizeof type, "%u", batch->next.type);
    const char *parameters[] = {batch->journal_id, sequence, type, why, payload};
    int result = ns_link_run(link, "begin");
    if (result == 0) {
        PGresult *put = ns_link_query(
            link,
            "insert into nullspend.refused_records"
            " (journal_id, sequence, record_type, why, payload)"
            " values ($1, $2, $3, $4, $5::text::bytea) on conflict (journal_id, sequence)"
            " do nothing",
            5, parameters);
        result = put == NULL ? -EIO : 0;
        PQclear(put);
    }
    free(payload);
    return end_transaction(batch, link, result);
}
