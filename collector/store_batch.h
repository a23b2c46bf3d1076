/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Some journal records as rows, and the one transaction that writes them together with the position
 * up to which they reach.
 */
#ifndef NS_COLLECTOR_STORE_BATCH_H
#define NS_COLLECTOR_STORE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/journal.h"
#include "collector/record.h"
#include "collector/store_link.h"
#include "collector/store_rows.h"

/* A batch ends with the record that passes one of these. Large enough that a transaction's fixed
 * cost is spread thin, small enough that one takes a fraction of a second. */
#define NS_BATCH_RECORDS_MAX 16384
#define NS_BATCH_BYTES_MAX (4 << 20)
/* Days around the day of connecting for which partitions are made; calls of others are kept in the
 * default partition. */
#define NS_BATCH_DAYS_BEFORE 400
#define NS_BATCH_DAYS_AFTER 16
/* Partitions made ahead of time. */
#define NS_BATCH_DAYS_AHEAD 8

struct ns_batch {
    /* What the follower sets. */
    struct ns_journal_reader *reader;
    char journal_id[NS_UUID_TEXT_BYTES];
    size_t records_max;

    /* The batch. */
    size_t records;
    uint64_t last; /* sequence of its last record */
    int64_t first_at_ns;
    struct ns_rows calls, denials;
    size_t replaced_count; /* calls whose older row must go */
    const char *refused;   /* why its one record can be no row; NULL: all are well */

    /* Kept between batches. */
    struct ns_journal_record next; /* read but not taken yet; the reader keeps its bytes */
    bool has_next;
    int64_t today, first_day;
    bool day_known[NS_BATCH_DAYS_BEFORE + NS_BATCH_DAYS_AFTER];
    int64_t new_days[NS_BATCH_DAYS_BEFORE + NS_BATCH_DAYS_AFTER];
    size_t new_day_count;
    uint8_t *call_bytes, *denial_bytes;
    char *replaced; /* their ids, as the text of an array */
    struct ns_ledger_event_room room;
};

/* Memory for the buffers. Returns 0 or -ENOMEM. */
int ns_batch_init(struct ns_batch *batch);
void ns_batch_free(struct ns_batch *batch);

/* Readies a new connection: what batches use there. now_ns says which day it is. */
int ns_batch_prepare(struct ns_batch *batch, struct ns_link *link, int64_t now_ns);

/* Makes the partitions of the days ahead, when the day has turned. */
int ns_batch_days_ahead(struct ns_batch *batch, struct ns_link *link, int64_t now_ns);

/* Reads records up to `until` and makes their rows. Returns how many records the batch has (0:
 * nothing there), or -EBADMSG where the journal is damaged. */
int ns_batch_fill(struct ns_batch *batch, uint64_t until);

/* Writes the batch. Returns 0, or -EIO with link->error (nothing written). */
int ns_batch_write(struct ns_batch *batch, struct ns_link *link);

/* Writes the batch's only record into refused_records instead. */
int ns_batch_refuse(struct ns_batch *batch, struct ns_link *link, const char *why);

#endif
