/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that makes the journal durable, so that the gate never waits for a disk: one fdatasync
 * at a time, each covering all that was written before it (group commit). It writes snapshots, too.
 */
#ifndef NS_COLLECTOR_SYNCER_H
#define NS_COLLECTOR_SYNCER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/journal.h"

struct ns_syncer;

/* Returns 0 or a negative errno. */
int ns_syncer_start(struct ns_journal *journal, struct ns_syncer **syncer);

/* Finishes what it does and ends; what was wanted last is durable then, if the disk lets it. */
void ns_syncer_stop(struct ns_syncer *syncer);

/* Records up to sequence (which are written) shall be durable soon; urgent: as soon as can be. */
void ns_syncer_want(struct ns_syncer *syncer, uint64_t sequence, bool urgent);

/* Readable when more became durable, or a snapshot was tried, or an error is there. */
int ns_syncer_event_fd(const struct ns_syncer *syncer);
void ns_syncer_drain(struct ns_syncer *syncer);

/* 0, or the negative errno of the sync that failed first. A snapshot that fails is said and costs
 * nothing but time. */
int ns_syncer_error(const struct ns_syncer *syncer);

/* Hands a snapshot over (state is freed here, once it is taken). False where one is being written
 * still. */
bool ns_syncer_snapshot(struct ns_syncer *syncer, uint64_t sequence, uint8_t *state, size_t bytes);

/* Sequence of the newest snapshot written by this syncer, 0: none. */
uint64_t ns_syncer_snapshot_sequence(const struct ns_syncer *syncer);

#endif
