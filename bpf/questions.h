/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the collector is asked about calls of other processes, without waiting, and what its
 * verdicts do. One thread.
 */
#ifndef NS_BPF_QUESTIONS_H
#define NS_BPF_QUESTIONS_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "shim/call.h"

/* Bytes of a process. */
struct ns_range {
    uint64_t from;
    uint32_t bytes;
};

/* Whose call it is, and what of it must not leave where it is denied. */
struct ns_asking {
    const struct ns_origin *origin; /* outlives the call */
    bool stopped;                   /* the process was stopped before it wrote these: */
    struct ns_range body, secret;
    /* Over HTTP/2, where its end comes without a body: type and flags of the frame that ends it,
     * and what makes of that one which ends nothing. 0 bytes: none. */
    struct ns_range ending;
    uint8_t instead[2];
};

/* A call that the collector denies, or would deny if its budget, or the agent's mode, wanted that.
 */
struct ns_denied {
    const struct ns_asking *asking;
    const struct ns_gate_verdict *verdict;
    bool would; /* it goes on */
};

/* Does what is to be done. Returns whether the call leaves as it was, or has left. */
typedef bool ns_questions_deny(void *context, const struct ns_denied *denied);

struct ns_questions;

/* NULL without memory. */
struct ns_questions *ns_questions_new(ns_questions_deny *deny, void *context);

/* Gives up what is asked, and frees them. */
void ns_questions_free(struct ns_questions *questions);

/* Asks about a call whose facts are complete. request: its bytes, for hashing the credential. A
 * process that is stopped must not go on before ns_questions_waits is false. */
void ns_questions_ask(struct ns_questions *questions, struct ns_wire_call *call,
                      const uint8_t *request, size_t bytes, const struct ns_asking *asking);

/* Is this process stopped for an answer? */
bool ns_questions_waits(const struct ns_questions *questions, uint32_t pid);

/* For poll(2), where answers arrive: fills at most `room`, returns how many. */
size_t ns_questions_poll(const struct ns_questions *questions, struct pollfd *polled, size_t room);

/* Takes the answers that are there, and rules where there was none within the deadline. */
void ns_questions_listen(struct ns_questions *questions);

/* A call is over, and freed after this. Where its process was not stopped, a denial of it is told
 * still. Returns whether an answer was waited for. */
bool ns_questions_end(struct ns_questions *questions, const struct ns_wire_call *call);

/* Gives up all: who waits for an answer goes on unasked. */
void ns_questions_give_up(struct ns_questions *questions);

#endif
