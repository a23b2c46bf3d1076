/* SPDX-License-Identifier: Apache-2.0 */
/* What the rest of a running answer may cost: by what its text so far is charged, with more of it.
 */
#include "collector/price.h"

/* Tokens over which the price of one is measured. */
#define MEASURED_TOKENS UINT64_C(1000000)

static uint64_t
plus(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* The charge if so many more tokens had come. False: it has no price. */
static bool
charge(struct ns_prices *prices, const struct ns_message *check, const struct ns_progress *progress,
       uint64_t more_tokens, int64_t now_ns, int64_t *cost_nanousd)
{
    struct ns_progress later = *progress;
    struct ns_bill bill;
    later.text_bytes = plus(later.text_bytes, more_tokens * NS_TEXT_BYTES_PER_TOKEN);
    ns_prices_bill_lost(prices, check, &later, now_ns, &bill);
    *cost_nanousd = bill.cost_nanousd;
    return bill.priced;
}

static uint64_t
tokens_of(const struct ns_progress *progress)
{
    return ns_usage_output_so_far(&progress->usage, progress->text_bytes);
}

void
ns_prices_grow(struct ns_prices *prices, const struct ns_message *check,
               const struct ns_progress *progress, int64_t now_ns, struct ns_growth *growth)
{
    uint64_t so_far = tokens_of(progress);
    uint64_t more = so_far > NS_TOP_UP_TOKENS ? so_far : NS_TOP_UP_TOKENS;
    more = more > MEASURED_TOKENS ? MEASURED_TOKENS : more;
    *growth = (struct ns_growth){0};
    growth->priced =
        charge(prices, check, progress, 0, now_ns, &growth->so_far_nanousd) &&
        charge(prices, check, progress, NS_TOP_UP_TOKENS_MIN, now_ns, &growth->enough_nanousd) &&
        charge(prices, check, progress, more, now_ns, &growth->wanted_nanousd) &&
        growth->wanted_nanousd >= growth->enough_nanousd;
}

uint64_t
ns_prices_tokens_covered(struct ns_prices *prices, const struct ns_message *check,
                         const struct ns_progress *progress, int64_t amount_nanousd, int64_t now_ns)
{
    const struct ns_progress none = {.text_bytes = 0};
    int64_t base = 0;
    int64_t measured = 0;
    progress = progress != NULL ? progress : &none;
    if (amount_nanousd == INT64_MAX || !charge(prices, check, progress, 0, now_ns, &base) ||
        !charge(prices, check, progress, MEASURED_TOKENS, now_ns, &measured) || measured <= base) {
        return 0;
    }
    if (amount_nanousd <= base) {
        return 1;
    }
    __extension__ unsigned __int128 tokens = (unsigned __int128)(uint64_t)(amount_nanousd - base) *
                                             MEASURED_TOKENS / (uint64_t)(measured - base);
    uint64_t covered =
        plus(tokens_of(progress), tokens > UINT64_MAX ? UINT64_MAX : (uint64_t)tokens);
    return covered > 0 ? covered : 1;
}
