/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links to the collector: one connection each, in use by one thread at a time and kept for the
 * next; the hello; and the breaker that keeps a dead collector from costing its deadline on every
 * call. Used by shim/gate*.c between ns_visit_begin and ns_visit_end. Any thread.
 */
#ifndef NS_SHIM_LINK_H
#define NS_SHIM_LINK_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "protocol/protocol.h"
#include "protocol/zmtp.h"

/* Connections to the collector of one process: as many as calls are checked at the same instant;
 * where there are more calls, or no descriptors for more links, they wait for each other. */
#define NS_LINKS_MAX 256

/* Their descriptors have this number or a higher one, where the process may have such: what a
 * program opens gets the numbers that it would get without us, 0 to 2 where it closed them. Low
 * enough for the usual limit of 1024 with all links. */
#define NS_LINK_FD_MIN 512

/* The breaker's first and longest pause. */
#define NS_BREAKER_PAUSE_NS_MIN INT64_C(100000000)
#define NS_BREAKER_PAUSE_NS_MAX INT64_C(4000000000)

struct ns_link {
    struct ns_link *next;
    struct ns_zmtp zmtp;
    uint64_t serial; /* of the connection: another one each time it is made */
    dev_t device;    /* of the socket, to know our descriptor again */
    ino_t inode;
    struct ns_message message; /* the last received; here, for the stacks of threads may be small */
    /* What comes, maybe half of it so far, and what goes: touched only as far as messages reach. */
    uint8_t received[NS_MESSAGE_BYTES_MAX], sent[NS_MESSAGE_BYTES_MAX];
};

/* Meanwhile the thread is not cancelled; errno is as it was in the end. */
struct ns_visit {
    int saved_errno;
    int cancel_state;
};

static inline struct ns_visit
ns_visit_begin(void)
{
    struct ns_visit visit = {.saved_errno = errno};
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &visit.cancel_state);
    return visit;
}

static inline void
ns_visit_end(struct ns_visit visit)
{
    pthread_setcancelstate(visit.cancel_state, NULL);
    errno = visit.saved_errno;
}

/* --- getting one ---------------------------------------------------------------------------- */

/* What a link is wanted for. Who asks must be answered, so the breaker counts even for a link that
 * is there; what is told needs it for a new one. A link is waited for by all but NS_LINK_TELL. */
enum ns_errand { NS_LINK_ASK, NS_LINK_REPORT, NS_LINK_TELL };

/* A link that is connected, the caller's until ns_link_release; or NULL and *error. */
struct ns_link *ns_link_acquire(enum ns_errand errand, int64_t deadline_ns, int *error);
void ns_link_release(struct ns_link *link);

/* The end of the process: all that are idle, which are nobody else's from here on. */
struct ns_link *ns_links_take_idle(void);

/* A new one at the end of a process that never had one, where no collector was found to be away; or
 * NULL. */
struct ns_link *ns_link_acquire_first(int64_t deadline_ns);

/* When what is begun now must be over: the process's deadline. Monotonic. */
int64_t ns_link_deadline(void);

void ns_links_after_fork(void);

/* --- using one ------------------------------------------------------------------------------ */

static inline bool
ns_link_is_connected(const struct ns_link *link)
{
    return link->zmtp.fd >= 0;
}

/* Is its descriptor still ours? The host may have closed it (closefrom, a daemon's loop), and it
 * may be somebody else's now: then it is forgotten, counted, and false. */
bool ns_link_check(struct ns_link *link);

/* Each returns 0 or a negative errno. After others than -ETIMEDOUT and -EAGAIN of receiving, and
 * where sending left it unconnected, the link is lost: its reports are stranded. What is received
 * is in link->message; acknowledgements are noted. */
int ns_link_send(struct ns_link *link, const struct ns_message *message, int64_t deadline_ns);
int ns_link_receive(struct ns_link *link, int64_t deadline_ns);
void ns_link_lose(struct ns_link *link);

/* The collector has answered; or has not, in time. */
void ns_breaker_close(void);
void ns_breaker_open(const char *why);

/* --- what the collector told last ----------------------------------------------------------- */

/* Does some budget want calls denied that nobody can be asked about? */
bool ns_link_denies_unreachable(void);

/* Does it take COUNTERS? */
bool ns_link_takes_counters(void);
bool ns_link_takes_coverage(void);

/* The key for hashing credentials; false: none has told it yet. */
bool ns_link_hash_key(uint8_t key[static 16]);

/* Has one answered since this was asked last? */
bool ns_link_take_welcome(void);
void ns_link_put_welcome_back(void);

#endif
