/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/link.h"

#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "shim/counters.h"
#include "shim/descriptor.h"
#include "shim/hello.h"
#include "shim/lock.h"
#include "shim/log.h"
#include "shim/process.h"
#include "shim/report.h"

static struct ns_lock lock;
static struct ns_link *idle;
/* Idle at the end of the process; kept in sight of those who look for leaks. */
static struct ns_link *volatile ended;
static uint32_t link_count; /* under the lock */
static uint32_t given_back; /* how often a link or its place was: what who has none waits for */
static uint32_t waiters;
static uint64_t serials;

static int64_t breaker_until_ns; /* 0: closed */
static uint32_t breaker_step;

static bool deny_unreachable; /* as the collector last told */
static bool takes_counters;   /* likewise */
static bool takes_coverage;   /* likewise */
static bool hash_key_known;
static uint8_t hash_key[16];
static bool spool_due; /* a collector has answered since the spool was last looked at */

/* --- the breaker --------------------------------------------------------------------------------
 */

/* May the collector be tried? When the pause is over one thread may, and the pause begins anew for
 * the others. */
static bool
breaker_allows(void)
{
    int64_t until = __atomic_load_n(&breaker_until_ns, __ATOMIC_ACQUIRE);
    if (until == 0) {
        return true;
    }
    int64_t now = ns_monotonic_ns();
    return now >= until &&
           __atomic_compare_exchange_n(&breaker_until_ns, &until, now + NS_BREAKER_PAUSE_NS_MAX,
                                       false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

void
ns_breaker_open(const char *why)
{
    uint32_t step = __atomic_fetch_add(&breaker_step, 1, __ATOMIC_RELAXED);
    int64_t pause = NS_BREAKER_PAUSE_NS_MAX;
    if (step < 6 && (NS_BREAKER_PAUSE_NS_MIN << step) < pause) {
        pause = NS_BREAKER_PAUSE_NS_MIN << step;
    }
    __atomic_store_n(&breaker_until_ns, ns_monotonic_ns() + pause, __ATOMIC_RELEASE);
    ns_count(NS_COUNTER_BREAKER_OPENED);
    if (step == 0) {
        ns_log("collector unreachable", why);
    }
}

void
ns_breaker_close(void)
{
    if (__atomic_load_n(&breaker_until_ns, __ATOMIC_RELAXED) == 0) {
        return;
    }
    __atomic_store_n(&breaker_step, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&breaker_until_ns, 0, __ATOMIC_RELEASE);
}

/* --- links --------------------------------------------------------------------------------------
 */

/* The descriptor may have been closed by the host (closefrom, a daemon's loop) and be somebody
 * else's now: then it must not be touched, nor closed. */
static bool
is_still_ours(const struct ns_link *link)
{
    struct stat status;
    return ns_descriptor_status(link->zmtp.fd, &status) == 0 && S_ISSOCK(status.st_mode) &&
           status.st_ino == link->inode && status.st_dev == link->device;
}

void
ns_link_lose(struct ns_link *link)
{
    ns_reports_strand(link->serial);
    link->serial = 0;
    ns_zmtp_close(&link->zmtp);
}

bool
ns_link_check(struct ns_link *link)
{
    if (link->zmtp.fd >= 0 && !is_still_ours(link)) {
        ns_count(NS_COUNTER_DESCRIPTORS_STOLEN);
        link->zmtp.fd = -1;
        ns_link_lose(link);
    }
    return link->zmtp.fd >= 0;
}

static void
handle(const struct ns_message *message)
{
    if (message->kind == NS_MESSAGE_ACK) {
        ns_reports_acked(&message->as.ack.call_id, (enum ns_message_kind)message->as.ack.kind);
    } else if (message->kind == NS_MESSAGE_VERDICT) {
        __atomic_store_n(&deny_unreachable, message->as.verdict.deny_unreachable, __ATOMIC_RELAXED);
    }
}

/* Receives link->message. Returns 0 or a negative errno; after others than -ETIMEDOUT and -EAGAIN
 * the link is lost. */
int
ns_link_receive(struct ns_link *link, int64_t deadline_ns)
{
    int got = ns_zmtp_receive(&link->zmtp, link->received, sizeof link->received, deadline_ns);
    const char *why = NULL;
    int error =
        got < 0 ? got : ns_message_decode(link->received, (size_t)got, &link->message, &why);
    if (error == 0) {
        handle(&link->message);
    } else if (error != -ETIMEDOUT && error != -EAGAIN) {
        ns_link_lose(link);
    }
    return error;
}

int
ns_link_send(struct ns_link *link, const struct ns_message *message, int64_t deadline_ns)
{
    int bytes = ns_message_encode(message, link->sent, sizeof link->sent);
    if (bytes < 0) {
        return bytes;
    }
    int error = ns_zmtp_send(&link->zmtp, link->sent, (size_t)bytes, deadline_ns);
    if (link->zmtp.fd < 0) {
        ns_link_lose(link);
    }
    return error;
}

/* Connects, says hello, hears welcome. */
static int
open_link(struct ns_link *link, int64_t deadline_ns)
{
    link->zmtp = (struct ns_zmtp){.fd = -1, .fd_min = NS_LINK_FD_MIN};
    int error = ns_zmtp_connect(&link->zmtp, ns_process_config()->collector, deadline_ns);
    if (error != 0) {
        return error;
    }
    link->serial = __atomic_add_fetch(&serials, 1, __ATOMIC_RELAXED);
    struct stat status;
    if (ns_descriptor_status(link->zmtp.fd, &status) == 0) {
        link->device = status.st_dev;
        link->inode = status.st_ino;
    }
    struct ns_hello_text text;
    const struct ns_message *message = &link->message;
    ns_hello_fill(&link->message, &text, ns_process_config());
    error = ns_link_send(link, message, deadline_ns);
    if (error == 0) {
        error = ns_link_receive(link, deadline_ns);
    }
    if (error == 0 && message->kind != NS_MESSAGE_WELCOME) {
        error = -EPROTO;
    } else if (error == 0 && message->as.welcome.refused != 0) {
        error = -EACCES;
    }
    if (error != 0) {
        ns_link_lose(link);
        return error;
    }
    const struct ns_welcome *welcome = &message->as.welcome;
    __atomic_store_n(&deny_unreachable, welcome->deny_unreachable, __ATOMIC_RELAXED);
    __atomic_store_n(&spool_due, true, __ATOMIC_RELAXED);
    __atomic_store_n(&takes_counters, welcome->takes_counters, __ATOMIC_RELAXED);
    __atomic_store_n(&takes_coverage, welcome->takes_coverage, __ATOMIC_RELAXED);
    ns_counters_untold(); /* it may be another collector */
    ns_lock(&lock);
    memcpy(hash_key, welcome->hash_key.bytes, sizeof hash_key);
    ns_unlock(&lock);
    __atomic_store_n(&hash_key_known, true, __ATOMIC_RELEASE);
    return 0;
}

/* Waits until a link is given back. False: there was none in time. */
static bool
await_link(uint32_t seen, int64_t deadline_ns)
{
    int64_t left_ns = deadline_ns - ns_monotonic_ns();
    if (left_ns <= 0) {
        return false;
    }
    struct timespec left = {left_ns / 1000000000, left_ns % 1000000000};
    __atomic_add_fetch(&waiters, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &given_back, FUTEX_WAIT_PRIVATE, seen, &left, NULL, 0);
    __atomic_sub_fetch(&waiters, 1, __ATOMIC_RELAXED);
    return true;
}

static void
wake_waiters(int how_many)
{
    __atomic_add_fetch(&given_back, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&waiters, __ATOMIC_SEQ_CST) > 0) {
        syscall(SYS_futex, &given_back, FUTEX_WAKE_PRIVATE, how_many, NULL, NULL, 0);
    }
}

/* There is one link less. All that wait look again: it may have been the last that they could wait
 * for. */
static void
give_up_place(void)
{
    ns_lock(&lock);
    link_count--;
    ns_unlock(&lock);
    wake_waiters(INT_MAX);
}

/* An idle link, or a new one where it may grow, or the first that is given back; NULL where none
 * was in time. */
static struct ns_link *
take_link(bool may_grow, int64_t deadline_ns)
{
    for (;;) {
        ns_lock(&lock);
        uint32_t seen = __atomic_load_n(&given_back, __ATOMIC_SEQ_CST);
        struct ns_link *link = idle;
        uint32_t others = link_count;
        bool more = link == NULL && may_grow && link_count < NS_LINKS_MAX;
        if (link != NULL) {
            idle = link->next;
        } else if (more) {
            link_count++;
        }
        ns_unlock(&lock);
        if (more) {
            link = ns_mem_alloc(sizeof *link);
            if (link != NULL) {
                link->zmtp = (struct ns_zmtp)NS_ZMTP_CLOSED;
                return link;
            }
            give_up_place();
            may_grow = false;
        } else if (link != NULL || others == 0 || !await_link(seen, deadline_ns)) {
            return link;
        }
    }
}

void
ns_link_release(struct ns_link *link)
{
    ns_lock(&lock);
    link->next = idle;
    idle = link;
    ns_unlock(&lock);
    wake_waiters(1);
}

/* A link that cannot be connected for want of something in this process. */
static void
discard(struct ns_link *link)
{
    ns_mem_free(link);
    give_up_place();
}

/* Says nothing of the collector: this process has no descriptor or memory left. */
static bool
is_shortage(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

static int
ready(struct ns_link *link, enum ns_errand errand, int64_t deadline_ns)
{
    bool connected = ns_link_check(link);
    if ((errand == NS_LINK_ASK || !connected) && !breaker_allows()) {
        return -EHOSTDOWN;
    }
    if (connected) {
        return 0;
    }
    int error = open_link(link, deadline_ns);
    if (error == 0) {
        ns_breaker_close();
    } else if (!is_shortage(error)) {
        ns_breaker_open(strerrordesc_np(-error));
    }
    return error;
}

/* A link that is connected, or NULL and *error. */
struct ns_link *
ns_link_acquire(enum ns_errand errand, int64_t deadline_ns, int *error)
{
    for (bool may_grow = true;; may_grow = false) {
        struct ns_link *link = take_link(may_grow, errand == NS_LINK_TELL ? 0 : deadline_ns);
        if (link == NULL) {
            *error = -EMFILE;
            return NULL;
        }
        *error = ready(link, errand, deadline_ns);
        if (*error == 0) {
            return link;
        }
        if (!is_shortage(*error)) {
            ns_link_release(link);
            return NULL;
        }
        discard(link); /* and use one of those that there are */
    }
}

int64_t
ns_link_deadline(void)
{
    return ns_monotonic_ns() + ns_process_config()->deadline_ns;
}

struct ns_link *
ns_links_take_idle(void)
{
    ns_lock(&lock);
    struct ns_link *link = idle;
    idle = NULL;
    ended = link;
    ns_unlock(&lock);
    return link;
}

struct ns_link *
ns_link_acquire_first(int64_t deadline_ns)
{
    ns_lock(&lock);
    bool had_one = link_count != 0;
    ns_unlock(&lock);
    if (had_one || __atomic_load_n(&breaker_until_ns, __ATOMIC_RELAXED) != 0) {
        return NULL;
    }
    struct ns_link *link = take_link(true, 0);
    return link != NULL && open_link(link, deadline_ns) == 0 ? link : NULL;
}

void
ns_links_after_fork(void)
{
    lock.held = 0;
    /* Our copies of the parent's idle descriptors; a goodbye on them would be the parent's. Links
     * that were in use are in other threads' hands, which are not here: their copies stay. */
    for (struct ns_link *link = idle; link != NULL;) {
        struct ns_link *next = link->next;
        if (link->zmtp.fd >= 0 && is_still_ours(link)) {
            ns_zmtp_close(&link->zmtp);
        }
        ns_mem_free(link);
        link = next;
    }
    idle = NULL;
    link_count = 0;
    waiters = 0;
    ns_breaker_close();
}

/* --- what the collector told last ----------------------------------------------------------- */

bool
ns_link_denies_unreachable(void)
{
    return __atomic_load_n(&deny_unreachable, __ATOMIC_RELAXED);
}

bool
ns_link_takes_counters(void)
{
    return __atomic_load_n(&takes_counters, __ATOMIC_RELAXED);
}

bool
ns_link_takes_coverage(void)
{
    return __atomic_load_n(&takes_coverage, __ATOMIC_RELAXED);
}

bool
ns_link_hash_key(uint8_t key[static 16])
{
    if (!__atomic_load_n(&hash_key_known, __ATOMIC_ACQUIRE)) {
        return false;
    }
    ns_lock(&lock);
    memcpy(key, hash_key, sizeof hash_key);
    ns_unlock(&lock);
    return true;
}

bool
ns_link_take_welcome(void)
{
    return __atomic_exchange_n(&spool_due, false, __ATOMIC_ACQ_REL);
}

void
ns_link_put_welcome_back(void)
{
    __atomic_store_n(&spool_due, true, __ATOMIC_RELEASE);
}
