/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/notifier_fate.h"

static enum ns_fate
judge(const struct ns_attempt *attempt)
{
    int status = attempt->status;
    if (attempt->refused) {
        return NS_FATE_DEAD;
    }
    if (attempt->mail) {
        return attempt->complete ? NS_FATE_SENT : status >= 500 ? NS_FATE_DEAD : NS_FATE_RETRY;
    }
    if (status >= 200 && status < 300) {
        return NS_FATE_SENT; /* even where the rest of the answer did not come */
    }
    return status == 0 || status == 429 || status >= 500 ? NS_FATE_RETRY : NS_FATE_DEAD;
}

enum ns_fate
ns_fate_of(const struct ns_attempt *attempt)
{
    enum ns_fate fate = judge(attempt);
    bool last = attempt->test || attempt->attempts >= NS_ATTEMPTS_MAX;
    return fate == NS_FATE_RETRY && last ? NS_FATE_DEAD : fate;
}

int64_t
ns_delay_ms(int attempts, int64_t retry_after_s, uint32_t random)
{
    int64_t delay_s = NS_DELAY_S_MIN;
    for (int i = 1; i < attempts && delay_s < NS_DELAY_S_MAX; i++) {
        delay_s *= 2;
    }
    delay_s = delay_s < NS_DELAY_S_MAX ? delay_s : NS_DELAY_S_MAX;
    if (retry_after_s > delay_s) {
        delay_s = retry_after_s < NS_DELAY_S_MAX ? retry_after_s : NS_DELAY_S_MAX;
    }
    return delay_s * 1000 + (int64_t)(random % (uint32_t)(delay_s * 100 + 1));
}
