/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of open calls: what was asked and allowed, and is not yet reported. It keeps the
 * journal record of each call's CHECK, and of its newest PROGRESS, as they were written: from them
 * a LOST row is made when the process dies.
 *
 * One thread (the gate's). Memory is taken in blocks of a few sizes and used again, so that the
 * steady state allocates nothing.
 */
#ifndef NS_COLLECTOR_CALLS_H
#define NS_COLLECTOR_CALLS_H

#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"
#include "collector/buffer.h"

#define NS_CALL_NOT_LOST INT64_MIN

struct ns_open_call {
    struct ns_uuid call_id;
    int64_t hold_nanousd;
    int64_t charged_nanousd; /* the ledger's charge for its loss, until the LOST record is written;
                                NS_CALL_NOT_LOST */
    uint8_t *check;          /* payload of its CHECK record; NULL: the place is free */
    uint8_t *progress;       /* payload of its last PROGRESS record, or NULL */
    uint32_t check_bytes;
    uint32_t progress_bytes;
};

struct ns_calls;

struct ns_calls *ns_calls_new(void); /* NULL without memory */
void ns_calls_free(struct ns_calls *calls);
size_t ns_calls_count(const struct ns_calls *calls);

/* Each returned call is valid until the next ns_calls_open or _close. */
struct ns_open_call *ns_calls_find(struct ns_calls *calls, const struct ns_uuid *call_id);

/* Keeps a call (one of this id must not be there). Returns 0 or -ENOMEM. */
int ns_calls_open(struct ns_calls *calls, const struct ns_uuid *call_id, int64_t hold_nanousd,
                  const void *check, size_t check_bytes);

/* Replaces its PROGRESS record. Returns 0 or -ENOMEM. */
int ns_calls_progress(struct ns_calls *calls, struct ns_open_call *call, const void *progress,
                      size_t progress_bytes);

void ns_calls_close(struct ns_calls *calls, const struct ns_uuid *call_id);

/* Visits calls that are lost and whose record is not written; visit must not change the table. */
void ns_calls_visit_lost(const struct ns_calls *calls,
                         void (*visit)(void *context, const struct ns_open_call *call),
                         void *context);

/* Sorted by id: equal tables give equal bytes. Returns 0 or -ENOMEM. */
int ns_calls_save(const struct ns_calls *calls, struct ns_buffer *buffer);
/* Returns 0, -EBADMSG or -ENOMEM. */
int ns_calls_load(struct ns_bytes *bytes, struct ns_calls **calls);

#endif
