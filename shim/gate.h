/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process and its collector say to each other: questions, reports, tellings (gate.c,
 * gate_post.c), over links (link.h).
 *
 * No threads of its own: acknowledgements are read when the next call comes by, or at the end of
 * the process. All functions: any thread, errno kept, not cancellable meanwhile.
 */
#ifndef NS_SHIM_GATE_H
#define NS_SHIM_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol/protocol.h"

/* How long the end of a process waits for a collector that it never talked to, to tell it what
 * passed unseen: some hundred times what one takes that is there. */
#define NS_LAST_WORD_NS INT64_C(300000000)

#define NS_VERDICT_ENTITY_BYTES_MAX 340
#define NS_VERDICT_MESSAGE_BYTES_MAX 512

struct ns_gate_verdict {
    enum ns_decision decision;
    enum ns_reason reason;
    int http_status; /* 0: the family's choice */
    struct ns_uuid denial_id;
    uint64_t output_tokens_held; /* that the hold of a stream covers; 0: nothing would cut it */
    char entity[NS_VERDICT_ENTITY_BYTES_MAX + 1];
    char message[NS_VERDICT_MESSAGE_BYTES_MAX + 1];
};

/* Asks. message is a CHECK. Returns 0 and *verdict; otherwise a negative errno: the collector could
 * not be asked, or did not answer in time (*asked: the question may have reached it). */
int ns_gate_check(const struct ns_message *message, struct ns_gate_verdict *verdict, bool *asked);

/* A question whose answer is not waited for: it keeps its link until the answer is there. All zero:
 * none is under way. */
struct ns_gate_question {
    struct ns_link *link;
    uint64_t serial; /* of the link's connection: another one will never answer */
    uint32_t life;   /* of the process: a child of fork has another's link */
};

/* Sends a message that a VERDICT answers, if a link is free; never waits. Returns whether a
 * question is under way. */
bool ns_gate_ask(const struct ns_message *message, struct ns_gate_question *question);

/* Looks for the answer; waits for it at most the process's deadline where wait is set. Returns 0
 * and *verdict, -EAGAIN it is not there yet (only without wait), or another negative errno. But for
 * -EAGAIN the question is over. */
int ns_gate_answer(struct ns_gate_question *question, const struct ns_uuid *call_id, bool wait,
                   struct ns_gate_verdict *verdict);

/* For poll(2), where its answer arrives. */
int ns_gate_question_fd(const struct ns_gate_question *question);

/* Gives the question up. */
void ns_gate_unask(struct ns_gate_question *question);

/* The same because there was no answer in time: for a while nobody asks. */
void ns_gate_give_up(struct ns_gate_question *question);

/* Does a call that nobody could be asked about go through? The process's own policy, or some
 * budget's as the collector last told. */
bool ns_gate_denies_unreachable(void);

/* Fills the verdict of a call that nobody was asked about, and that the policy denies. message: at
 * most NS_VERDICT_MESSAGE_BYTES_MAX. */
void ns_gate_deny_unasked(struct ns_gate_verdict *verdict, enum ns_reason reason,
                          const char *message);

/* The keyed hash of a credential, or of what a request says. Zero where no collector has told its
 * key yet. */
struct ns_hash16 ns_gate_hash(const void *secret, size_t bytes);

/* Sends a message that is not acknowledged, if the collector is there; else forgets it. */
void ns_gate_tell(const struct ns_message *message);

/* Sends what shim/report keeps; what cannot be sent is spooled. Tells what passed unseen beside it.
 */
void ns_gate_post(void);

/* The end of the process: waits at most the deadline for acknowledgements, spools the rest. */
void ns_gate_flush(void);

#endif
