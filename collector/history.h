/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What such calls usually use: output tokens by provider, model and operation, for budgets that
 * reserve `typical`.
 *
 * A histogram in quarter octaves of the last few hundred calls; the typical number is the upper
 * edge of the bucket under which nine of ten calls stay. Bounded (NS_HISTORY_KEYS_MAX keys, the one
 * unused for longest gives way), deterministic, and part of the snapshot: replay gives the same.
 */
#ifndef NS_COLLECTOR_HISTORY_H
#define NS_COLLECTOR_HISTORY_H

#include <stdint.h>

#include "collector/buffer.h"
#include "protocol/protocol.h"

struct ns_history;

struct ns_history *ns_history_new(void); /* NULL without memory */
void ns_history_free(struct ns_history *history);

/* One finished call. sequence orders uses. */
void ns_history_add(struct ns_history *history, struct ns_text provider, struct ns_text model,
                    struct ns_text operation, uint64_t output_tokens, uint64_t sequence);

/* Output tokens that such calls usually use, or 0 before there are NS_HISTORY_CALLS_MIN of them. */
#define NS_HISTORY_CALLS_MIN 5
uint64_t ns_history_typical(const struct ns_history *history, struct ns_text provider,
                            struct ns_text model, struct ns_text operation);

void ns_history_save(const struct ns_history *history, struct ns_buffer *buffer);
/* Returns 0, -EBADMSG or -ENOMEM. */
int ns_history_load(struct ns_bytes *bytes, struct ns_history **history);

#endif
