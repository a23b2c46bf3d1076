/* SPDX-License-Identifier: Apache-2.0 */
/* How much goes within a window, and what is paused because that was too much. */
#include "base/money.h"
#include "collector/ledger_state.h"

#define NS_PER_S INT64_C(1000000000)
/* After a pause the first window may have one call, or this part of the amount. */
#define TRIAL_PART 10

static int64_t
window_ns(const struct ns_budget *budget)
{
    return budget->velocity_window_s * NS_PER_S;
}

/* As it is at now: the window that `current` counts is the one that now lies in. */
static struct ns_rate
turned(const struct ns_budget *budget, const struct ns_rate *rate, int64_t now_ns)
{
    struct ns_rate at = *rate;
    int64_t passed_ns = now_ns - at.start_ns;
    if (passed_ns >= 2 * window_ns(budget)) {
        at.previous_nanousd = at.current_nanousd = 0;
        at.start_ns = now_ns;
    } else if (passed_ns >= window_ns(budget)) {
        at.previous_nanousd = at.current_nanousd;
        at.current_nanousd = 0;
        at.start_ns += window_ns(budget);
    }
    return at;
}

int64_t
ns_rate_nanousd(const struct ns_budget *budget, const struct ns_rate *rate, int64_t now_ns)
{
    struct ns_rate at = turned(budget, rate, now_ns);
    int64_t left_ns = window_ns(budget) - (now_ns - at.start_ns);
    int64_t before = (int64_t)((__int128)at.previous_nanousd * left_ns / window_ns(budget));
    return ns_money_add(before, at.current_nanousd);
}

void
ns_rate_add(const struct ns_budget *budget, struct ns_rate *rate, int64_t nanousd, int64_t now_ns)
{
    if (budget->velocity_nanousd == 0) {
        return;
    }
    *rate = turned(budget, rate, now_ns);
    rate->current_nanousd = ns_money_add(rate->current_nanousd, nanousd);
    if (rate->current_nanousd < 0) { /* what is taken back was counted in the window before */
        rate->previous_nanousd = ns_money_add(rate->previous_nanousd, rate->current_nanousd);
        rate->current_nanousd = 0;
    }
    if (rate->previous_nanousd < 0) {
        rate->previous_nanousd = 0;
    }
}

bool
ns_rate_is_wary(const struct ns_budget *budget, const struct ns_rate *rate, int64_t now_ns)
{
    return rate->paused_until_ns > 0 && now_ns - rate->paused_until_ns < window_ns(budget);
}

enum ns_rate_verdict
ns_rate_judge(const struct ns_budget *budget, const struct ns_rate *rate, int64_t nanousd,
              int64_t now_ns)
{
    if (budget->velocity_nanousd == 0) {
        return NS_RATE_FITS;
    }
    if (now_ns < rate->paused_until_ns) {
        return NS_RATE_PAUSED;
    }
    if (nanousd > budget->velocity_nanousd) {
        return NS_RATE_TOO_LARGE;
    }
    int64_t spent = ns_rate_nanousd(budget, rate, now_ns);
    bool trial = ns_rate_is_wary(budget, rate, now_ns);
    int64_t most =
        trial && spent > 0 ? budget->velocity_nanousd / TRIAL_PART : budget->velocity_nanousd;
    return ns_money_add(spent, nanousd) > most ? NS_RATE_TRIPS : NS_RATE_FITS;
}

void
ns_rate_trip(const struct ns_budget *budget, struct ns_rate *rate, int64_t now_ns)
{
    int64_t cooldown_ns = budget->velocity_cooldown_s * NS_PER_S;
    bool ends = now_ns <= INT64_MAX - cooldown_ns;
    *rate = (struct ns_rate){.paused_until_ns = ends ? now_ns + cooldown_ns : INT64_MAX};
}
