/* SPDX-License-Identifier: Apache-2.0 */
/* Mandates come from Postgres and live in the journal, so that they hold while it is away. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "collector/gate.h"
#include "collector/service.h"

static void
commit(struct ns_gate *gate, enum ns_record_type type, const uint8_t *bytes, size_t count)
{
    memset(&gate->record, 0, sizeof gate->record);
    gate->now_ns = ns_realtime_ns();
    gate->record.type = type;
    gate->record.at_ns = gate->now_ns;
    gate->record.message = bytes;
    gate->record.message_bytes = count;
    ns_gate_append(gate, NULL);
}

static int
by_id(const void *key, const void *element)
{
    const struct ns_buffer *buffer = element;
    struct ns_bytes bytes = {buffer->bytes, buffer->count, false};
    int64_t id = *(const int64_t *)key, other = (int64_t)ns_bytes_u64(&bytes);
    return (id > other) - (id < other);
}

static bool
is_same_entity(struct ns_text a, struct ns_text b)
{
    return a.bytes == b.bytes && memcmp(a.text, b.text, a.bytes) == 0;
}

/* Those that are gone, and those that are another entity's now. */
static void
remove_former(struct ns_gate *gate, const struct ns_buffer *next, size_t next_count)
{
    const struct ns_mandates *mandates = gate->state.mandates;
    for (size_t i = ns_mandates_count(mandates); i-- > 0 && gate->failure == 0;) {
        struct ns_mandate_terms terms, new_terms;
        size_t count;
        const uint8_t *bytes = ns_mandates_at(mandates, i, &count);
        (void)ns_mandate_decode(bytes, count, &terms);
        const struct ns_buffer *kept =
            next_count == 0 ? NULL : bsearch(&terms.id, next, next_count, sizeof *next, by_id);
        if (kept == NULL || !ns_mandate_decode(kept->bytes, kept->count, &new_terms) ||
            !is_same_entity(terms.entity, new_terms.entity)) {
            uint8_t id[8]; /* the mandate's bytes begin with it, and are freed */
            memcpy(id, bytes, sizeof id);
            commit(gate, NS_RECORD_UNMANDATE, id, sizeof id);
        }
    }
}

void
ns_gate_take_mandates(struct ns_gate *gate, const struct ns_buffer *next, size_t next_count)
{
    const struct ns_mandates *mandates = gate->state.mandates;
    remove_former(gate, next, next_count);
    for (size_t i = 0; i < next_count && gate->failure == 0; i++) {
        if (ns_mandates_has(mandates, next[i].bytes, next[i].count)) {
            continue;
        }
        int error = ns_mandates_check(mandates, next[i].bytes, next[i].count);
        if (error == 0) {
            commit(gate, NS_RECORD_MANDATE, next[i].bytes, next[i].count);
            continue;
        }
        struct ns_bytes bytes = {next[i].bytes, next[i].count, false};
        ns_log("mandate %lld is not in force: %s", (long long)ns_bytes_u64(&bytes),
               error == -ENOSPC ? "there are too many"
                                : "this version of the collector does not understand it");
    }
}
