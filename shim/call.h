/* SPDX-License-Identifier: Apache-2.0 */
/* One call's messages: CHECK, PROGRESS, REPORT, RELEASE, out of what wire/ saw of it. */
#ifndef NS_SHIM_CALL_H
#define NS_SHIM_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/protocol.h"
#include "shim/gate.h"
#include "shim/hello.h"
#include "wire/wire.h"

/* A request is withheld up to this much body; past it the call is judged by what was seen. Large
 * enough for some minutes of audio or a dozen pictures in base64. */
#define NS_WITHHOLD_BODY_BYTES_MAX (16 << 20)

/* Whose call it is, where it is not this process's: the agent tells of others. */
struct ns_origin {
    uint32_t pid;
    char process[NS_NAME_BYTES_MAX + 1];
};

/* How far the hold of a stream reaches. */
struct ns_top_up {
    uint64_t held_tokens; /* of output; 0: nothing would cut it */
    bool refused;         /* there is no more to have; asked anew when it is used up */
    struct ns_gate_question question;
};

/* What the shim knows of a call: ns_wire_call.user, from its judgement to its report. */
struct ns_ticket {
    struct ns_uuid call_id;
    int64_t started_at_ns;
    struct ns_hash16 key_hash;
    bool asked;                     /* the collector may have reserved money for it */
    bool checked;                   /* a verdict allowed it */
    bool sent;                      /* OpenSSL has taken all of it that was withheld */
    const struct ns_origin *origin; /* NULL: this process; else it outlives the call */
    struct ns_top_up top_up;
    int64_t progress_at_ns; /* monotonic, to some ms; of the last PROGRESS */
    uint64_t progress_body_bytes;
};

/* PROGRESS goes out at most this often, and only for so many further bytes of answer: a hold lives
 * without it, it is what is charged should the process die. */
#define NS_PROGRESS_NS INT64_C(250000000)
#define NS_PROGRESS_BODY_BYTES 1024

/* What becomes of a call. */
enum ns_ruling { NS_RULING_ALLOW, NS_RULING_DENY, NS_RULING_ASKED };

/*
 * Judges a call by the mode, the collector and the policy for when there is none: asks, waits at
 * most the deadline, and fills *verdict where it is denied. request: the withheld bytes, for
 * hashing the credential. Gives the call its ticket; without memory for one that policy decides,
 * too, and call->user stays NULL.
 */
enum ns_ruling ns_call_judge(struct ns_wire_call *call, const uint8_t *request,
                             size_t request_bytes, struct ns_gate_verdict *verdict);

/* The same without waiting: NS_RULING_ASKED means that *question is under way. */
enum ns_ruling ns_call_ask(struct ns_wire_call *call, const uint8_t *request, size_t request_bytes,
                           struct ns_gate_verdict *verdict, struct ns_gate_question *question);

/* What became of it: NS_RULING_ASKED as long as there is no answer. last: it is not waited for any
 * longer. */
enum ns_ruling ns_call_heard(struct ns_wire_call *call, struct ns_gate_question *question,
                             bool last, struct ns_gate_verdict *verdict);

/* Reports a call and frees it. cancelled: its answer was not read to the end. A call without a
 * ticket was never judged: nothing is told. */
void ns_call_finish(struct ns_wire_call *call, bool cancelled);

/* Where a PROGRESS keeps its text: its sender does not hold the connection. */
struct ns_progress_text {
    char model[NS_MODEL_BYTES_MAX + 1];
};

/* Is it time to tell how far a running answer is? Then *message is the PROGRESS. */
bool ns_call_progress(const struct ns_wire_call *call, struct ns_message *message,
                      struct ns_progress_text *text);

/* Writes the PROGRESS of a call, which has a ticket. */
void ns_call_fill_progress(const struct ns_wire_call *call, struct ns_message *message,
                           struct ns_progress_text *text);

/* Frees a call and its ticket without telling anybody. */
void ns_call_drop(struct ns_wire_call *call);

#endif
