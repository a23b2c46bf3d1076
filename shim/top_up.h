/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream that may outgrow its hold. When three quarters of what the hold covers have passed, the
 * collector is asked for more, and its answer looked for whenever the program comes back: no token
 * waits for it. Only when the hold is used up is the answer waited for, at most the deadline; where
 * it is no, the stream is to be cut.
 *
 * A turn: due with the connection's lock held, ask without it, done with it again.
 */
#ifndef NS_SHIM_TOP_UP_H
#define NS_SHIM_TOP_UP_H

#include "shim/call.h"

enum ns_top_up_need {
    NS_TOP_UP_ASK,  /* ask, and do not wait */
    NS_TOP_UP_LOOK, /* is the answer there? */
    NS_TOP_UP_NOW   /* it is used up */
};

struct ns_top_up_turn {
    enum ns_top_up_need need;
    struct ns_uuid call_id;
    struct ns_gate_question question; /* the ticket's, meanwhile */
    struct ns_message message;
    struct ns_progress_text text;
    int error; /* of the answer */
    struct ns_gate_verdict verdict;
};

/* How many tokens may come before there is: no byte brings more than one. */
uint64_t ns_top_up_room(const struct ns_wire_call *call);

/* Is there anything to ask or to look for? */
bool ns_top_up_due(const struct ns_wire_call *call, struct ns_top_up_turn *turn);

void ns_top_up_ask(struct ns_top_up_turn *turn);

/* Notes the answer. call: that which is being answered now, or NULL. True: it is to be cut, with
 * turn->verdict. */
bool ns_top_up_done(const struct ns_wire_call *call, struct ns_top_up_turn *turn);

#endif
