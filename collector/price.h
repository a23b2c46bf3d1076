/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prices as the gate uses them: the catalogue in force, which a newer file replaces while the
 * daemon runs; what a request reserves; and what an answer is charged.
 *
 * One thread (the gate's).
 */
#ifndef NS_COLLECTOR_PRICE_H
#define NS_COLLECTOR_PRICE_H

#include <stdbool.h>
#include <stdint.h>

#include "pricing/pricing.h"
#include "protocol/protocol.h"

#define NS_PRICES_ERROR_BYTES 512

/* What happens to a call whose model has no price. */
#define NS_UNKNOWN_MODELS(X)                                                                       \
    X(ALLOW, "allow")     /* let through, held as its provider's dearest model, recorded as        \
                             `unpriced` with no cost */                                            \
    X(DENY, "deny")       /* denied, reason `unpriced` */                                          \
    X(DEAREST, "dearest") /* let through, charged as its provider's dearest model, `estimated` */
#define X(e, n) NS_UNKNOWN_MODEL_##e,
enum ns_unknown_model { NS_UNKNOWN_MODELS(X) NS_UNKNOWN_MODEL_COUNT };
#undef X

struct ns_prices;

/*
 * Opens the built-in catalogue, and the one in file where that is there and newer or asked for.
 * A broken file leaves the built-in in force, with the reason in error ("" else).
 * Returns 0 or -ENOMEM.
 */
int ns_prices_open(const char *file, enum ns_unknown_model unknown, struct ns_prices **prices,
                   char error[static NS_PRICES_ERROR_BYTES]);
void ns_prices_free(struct ns_prices *prices);

/* Reads the file again. Returns 1 a new catalogue is in force, 0 there is no file, or a negative
 * errno with the reason in error: the old one stays. */
int ns_prices_reload(struct ns_prices *prices, char error[static NS_PRICES_ERROR_BYTES]);

const char *ns_prices_version(const struct ns_prices *prices);
uint64_t ns_prices_refused(const struct ns_prices *prices); /* broken files since start */

/* Before the call: message is a CHECK (or any with its identity). */
struct ns_quote {
    bool priced; /* the model has a price. Where it has none, or none by tokens, the estimate is its
                    provider's dearest model's, or zero */
    bool denied; /* by the policy for unknown models */
    struct ns_price_estimate estimate;
};
void ns_prices_quote(struct ns_prices *prices, const struct ns_message *message,
                     uint64_t typical_output_tokens, int64_t now_ns, struct ns_quote *quote);

/* After the call. */
struct ns_bill {
    bool priced;
    int64_t cost_nanousd;     /* what is charged */
    int64_t computed_nanousd; /* by the catalogue */
    uint8_t evidence;         /* enum ns_evidence */
    struct ns_usage usage;    /* as priced */
};

/* What a REPORT is charged (docs/operations.md has the table of cases). */
void ns_prices_bill(struct ns_prices *prices, const struct ns_message *report,
                    uint64_t typical_output_tokens, struct ns_bill *bill);

/* What a call is charged whose process died: check is its CHECK, progress its last PROGRESS or
 * NULL. bill->cost_nanousd is what its PROGRESS gives the ledger. */
void ns_prices_bill_lost(struct ns_prices *prices, const struct ns_message *check,
                         const struct ns_progress *progress, int64_t now_ns, struct ns_bill *bill);

/* What a running answer needs held. */
struct ns_growth {
    bool priced;            /* false: nothing can be said, and nothing is to be asked for */
    int64_t so_far_nanousd; /* as ns_prices_bill_lost */
    int64_t enough_nanousd; /* the least that is worth while, beyond which wanted is asked for: */
    int64_t wanted_nanousd; /* as much again */
};

/* Further tokens for which a hold is grown at least, and for which it is if there is room. */
#define NS_TOP_UP_TOKENS_MIN 64
#define NS_TOP_UP_TOKENS 1024

void ns_prices_grow(struct ns_prices *prices, const struct ns_message *check,
                    const struct ns_progress *progress, int64_t now_ns, struct ns_growth *growth);

/* How many output tokens an amount covers, those that progress (or NULL) tells included: at least
 * 1; 0 where no number of them would use it up, or they have no price. */
uint64_t ns_prices_tokens_covered(struct ns_prices *prices, const struct ns_message *check,
                                  const struct ns_progress *progress, int64_t amount_nanousd,
                                  int64_t now_ns);

#endif
