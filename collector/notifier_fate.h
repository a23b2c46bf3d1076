/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a delivery after an attempt: sent, tried again, or dead. */
#ifndef NS_COLLECTOR_NOTIFIER_FATE_H
#define NS_COLLECTOR_NOTIFIER_FATE_H

#include <stdbool.h>
#include <stdint.h>

/* Attempts, the first included: with the delays below six and a half hours, a receiver's night. */
#define NS_ATTEMPTS_MAX 15
#define NS_DELAY_S_MIN 10
#define NS_DELAY_S_MAX 3600

enum ns_fate { NS_FATE_SENT, NS_FATE_RETRY, NS_FATE_DEAD };

/* What an attempt came to. */
struct ns_attempt {
    bool mail;     /* by SMTP, else by HTTP */
    bool test;     /* somebody waits for what comes of it: never tried again */
    bool complete; /* the exchange came to its end; else the network failed, or a limit was met */
    bool refused;  /* we do not send there: a private address, a wrong URL */
    int status;    /* of HTTP, or SMTP's last reply; 0: none */
    int attempts;  /* so far, with this one */
};

/* Pure. 2xx is success (of SMTP: a whole exchange); 429, 5xx and a failing network are tried again,
 * of SMTP all but 5xx; what is left cannot become better. */
enum ns_fate ns_fate_of(const struct ns_attempt *attempt);

/*
 * Milliseconds until the next attempt, after so many: min(10 * 2^(n-1), 3600) s and up to a tenth
 * more, by random, so that receivers that were away are not met by everybody at once; not before
 * what the receiver asked for (Retry-After in seconds; 0: nothing), which counts up to 3600. Pure.
 */
int64_t ns_delay_ms(int attempts, int64_t retry_after_s, uint32_t random);

#endif
