/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state that the journal gives again: ledger, mandates, open calls, history of what calls use.
 * It changes by records only, live and in replay alike, so that a killed daemon comes back exactly
 * where its journal ends.
 *
 * Live:    fill a record → ns_state_apply (ledger) → fill its outcome → append it to the journal →
 *          ns_state_note (tables).
 * Replay:  read a record → ns_state_apply; its effect must be the recorded one → ns_state_note.
 */
#ifndef NS_COLLECTOR_RECOVERY_H
#define NS_COLLECTOR_RECOVERY_H

#include <stddef.h>
#include <stdint.h>

#include "collector/calls.h"
#include "collector/history.h"
#include "collector/journal.h"
#include "collector/ledger.h"
#include "collector/mandates.h"
#include "collector/record.h"

#define NS_RECOVERY_ERROR_BYTES 768

struct ns_state {
    struct ns_ledger *ledger;
    struct ns_calls *calls;
    struct ns_history *history;
    struct ns_mandates *mandates;
    uint64_t sequence; /* of the last record noted */
};

/* An empty state. Returns 0 or -ENOMEM. */
int ns_state_new(struct ns_state *state);
void ns_state_free(struct ns_state *state);

/* Gives the record's event to the ledger. Returns as ns_ledger_apply; a record without an event
 * gives NS_LEDGER_DONE. Calls lost by it are marked in the table. */
int ns_state_apply(struct ns_state *state, const struct ns_record *record,
                   struct ns_ledger_effect *effect);

/* The record is in the journal with this sequence; payload is what was written. Message is its
 * decoded message, or NULL to have it decoded here. Returns 0, -EBADMSG or -ENOMEM. */
int ns_state_note(struct ns_state *state, const struct ns_record *record,
                  const struct ns_message *message, uint64_t sequence, const void *payload,
                  size_t payload_bytes);

/* Everything, canonically. Returns 0 with *bytes from malloc, or -ENOMEM. */
int ns_state_save(const struct ns_state *state, uint8_t **bytes, size_t *count);
/* Returns 0, -EBADMSG or -ENOMEM. */
int ns_state_load(const uint8_t *bytes, size_t count, struct ns_state *state);

/*
 * The state at the end of a journal: its newest snapshot, and the records since. directory is the
 * journal's. Returns 0; or -EBADMSG, -ENOENT (records are missing) or another negative errno with a
 * sentence in error that names the record. error may hold a remark with 0, too.
 */
int ns_state_recover(const struct ns_journal *journal, const char *directory,
                     struct ns_state *state, uint64_t *replayed,
                     char error[static NS_RECOVERY_ERROR_BYTES]);

#endif
