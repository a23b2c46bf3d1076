/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the journal holds: one record an event of the ledger, with all that the Postgres follower
 * needs to make a row of it. A record stands on its own; the follower keeps no state.
 *
 * Written by the gate, replayed by recovery (ledger event and effect must agree again), read by the
 * follower.
 */
#ifndef NS_COLLECTOR_RECORD_H
#define NS_COLLECTOR_RECORD_H

#include <stdint.h>
#include <sys/uio.h>

#include "collector/ledger.h"
#include "protocol/protocol.h"

enum ns_record_type {
    NS_RECORD_BUDGET = 1, /* ledger event only */
    NS_RECORD_CHECK,      /* message: the CHECK; denied or would_deny: a row of `denials` */
    NS_RECORD_PROGRESS,   /* message: the PROGRESS */
    NS_RECORD_REPORT,     /* message: the REPORT; a row of `calls` */
    NS_RECORD_RELEASE,    /* message: the RELEASE; of a lost call: no row any more */
    NS_RECORD_LOST,       /* message: the CHECK of a call whose process died; a row of `calls` */
    NS_RECORD_TICK,       /* ledger event only */
    NS_RECORD_MANDATE,    /* message: a mandate that holds from now on (mandates.h) */
    NS_RECORD_UNMANDATE   /* message: the id (8 bytes) of one that holds no more */
};

/* Who spoke, as the kernel tells it. */
struct ns_record_peer {
    uint32_t pid;
    uint32_t uid;           /* UINT32_MAX: not known (tcp) */
    uint8_t source;         /* enum ns_source */
    struct ns_text process; /* base name of the executable */
    struct ns_text executable;
    struct ns_text cgroup;
    struct ns_text hostname;
};

/* What the gate made of it. */
struct ns_record_outcome {
    uint8_t result; /* enum ns_ledger_result of the event */
    bool would_deny;
    bool corrected;           /* REPORT, RELEASE: replaces or removes the row of a lost call */
    uint8_t reason;           /* enum ns_reason of a denial */
    uint16_t http_status;     /* of a denial; 0 the family's choice */
    struct ns_uuid denial_id; /* CHECK that is denied or would be */
    int64_t hold_nanousd;     /* CHECK: held now; REPORT, LOST: what had been held */
    bool priced;              /* cost_nanousd is known */
    int64_t cost_nanousd;     /* REPORT, LOST: what is charged */
    int64_t computed_nanousd; /* REPORT: by the catalogue, where the provider's own bill was taken;
                                 else equal */
    uint8_t evidence;         /* enum ns_evidence of the row */
    struct ns_text price_version;
    struct ns_text entity; /* denials: which budget, and its numbers at that moment */
    int64_t limit_nanousd, spent_nanousd, held_nanousd, needed_nanousd;
    int64_t finalize_nanousd;  /* of the limit, kept from this call for those that finalize */
    int64_t overdraft_nanousd; /* beyond it, of a soft budget that denies at all */
    int64_t granted_nanousd;   /* left of a grant that the call might have used */
    struct ns_usage usage;     /* REPORT, LOST: disjoint, as priced */
    struct ns_text model;      /* LOST: as a progress told it */
    struct ns_text rule;       /* denials by a mandate: what the call did not keep to */
};

/* One record, decoded: texts point into its payload (and room for the event's entities). */
struct ns_record {
    uint64_t sequence;
    int64_t at_ns;
    enum ns_record_type type;
    struct ns_ledger_event event; /* kind 0: none */
    struct ns_record_peer peer;
    struct ns_record_outcome outcome;
    const uint8_t *message; /* an encoded protocol message, or as the type says; or NULL */
    size_t message_bytes;
};

/* Bytes of one encoded record at most. */
#define NS_RECORD_BYTES_MAX (NS_MESSAGE_BYTES_MAX + 65536)

/* Encodes payload (everything but sequence, time and type, which the journal keeps). Returns its
 * bytes or -ENOSPC. */
int ns_record_encode(const struct ns_record *record, uint8_t *buffer, size_t buffer_bytes);

/* Decodes a journal record's payload. Returns 0 or -EBADMSG. */
int ns_record_decode(const uint8_t *payload, size_t payload_bytes, struct ns_record *record,
                     struct ns_ledger_event_room *room);

#endif
