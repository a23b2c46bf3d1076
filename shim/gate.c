/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/gate.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "protocol/zmtp.h"
#include "shim/counters.h"
#include "shim/descriptor.h"
#include "shim/hello.h"
#include "shim/lock.h"
#include "shim/log.h"
#include "shim/process.h"
#include "shim/report.h"
#include "shim/spool.h"

/* A go at the spool, beside a report: long enough to make headway, short for the program. */
#define SPOOL_TIME_NS INT64_C(200000000)

struct link {
    struct link *next;
    struct ns_zmtp zmtp;
    uint64_t serial; /* of the connection: another one each time it is made */
    dev_t device;    /* of the socket, to know our descriptor again */
    ino_t inode;
    struct ns_message message; /* the last received; here, for the stacks of threads may be small */
    uint8_t buffer[NS_MESSAGE_BYTES_MAX]; /* touched only as far as messages reach */
};

static struct ns_lock lock;
static struct link *idle;
static uint32_t link_count;
static uint32_t given_back; /* how often a link was: what who has none waits for */
static uint32_t waiters;
static uint64_t serials;

static int64_t breaker_until_ns; /* 0: closed */
static uint32_t breaker_step;

static bool deny_unreachable; /* as the collector last told */
static bool takes_counters;   /* likewise */
static bool hash_key_known;
static uint8_t hash_key[16];
static bool spool_due; /* a collector has answered since the spool was last looked at */

/* --- errno and cancellation are the host's ------------------------------------------------------
 */

struct visit {
    int saved_errno;
    int cancel_state;
};

static struct visit
enter(void)
{
    struct visit visit = {.saved_errno = errno};
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &visit.cancel_state);
    return visit;
}

static void
leave(struct visit visit)
{
    pthread_setcancelstate(visit.cancel_state, NULL);
    errno = visit.saved_errno;
}

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

static void
breaker_open(const char *why)
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

static void
breaker_close(void)
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
is_still_ours(const struct link *link)
{
    struct stat status;
    return ns_descriptor_status(link->zmtp.fd, &status) == 0 && S_ISSOCK(status.st_mode) &&
           status.st_ino == link->inode && status.st_dev == link->device;
}

static void
lose(struct link *link)
{
    ns_reports_strand(link->serial);
    link->serial = 0;
    ns_zmtp_close(&link->zmtp);
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
static int
receive(struct link *link, int64_t deadline_ns)
{
    int got = ns_zmtp_receive(&link->zmtp, link->buffer, sizeof link->buffer, deadline_ns);
    const char *why = NULL;
    int error = got < 0 ? got : ns_message_decode(link->buffer, (size_t)got, &link->message, &why);
    if (error == 0) {
        handle(&link->message);
    } else if (error != -ETIMEDOUT && error != -EAGAIN) {
        lose(link);
    }
    return error;
}

static int
send_message(struct link *link, const struct ns_message *message, int64_t deadline_ns)
{
    int bytes = ns_message_encode(message, link->buffer, sizeof link->buffer);
    if (bytes < 0) {
        return bytes;
    }
    int error = ns_zmtp_send(&link->zmtp, link->buffer, (size_t)bytes, deadline_ns);
    if (link->zmtp.fd < 0) {
        lose(link);
    }
    return error;
}

/* Connects, says hello, hears welcome. */
static int
open_link(struct link *link, int64_t deadline_ns)
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
    error = send_message(link, message, deadline_ns);
    if (error == 0) {
        error = receive(link, deadline_ns);
    }
    if (error == 0 && message->kind != NS_MESSAGE_WELCOME) {
        error = -EPROTO;
    } else if (error == 0 && message->as.welcome.refused != 0) {
        error = -EACCES;
    }
    if (error != 0) {
        lose(link);
        return error;
    }
    const struct ns_welcome *welcome = &message->as.welcome;
    __atomic_store_n(&deny_unreachable, welcome->deny_unreachable, __ATOMIC_RELAXED);
    __atomic_store_n(&spool_due, true, __ATOMIC_RELAXED);
    __atomic_store_n(&takes_counters, welcome->takes_counters, __ATOMIC_RELAXED);
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

/* An idle link, or a new one where it may grow, or the first that is given back; NULL where none
 * was in time. */
static struct link *
take_link(bool may_grow, int64_t deadline_ns)
{
    for (;;) {
        ns_lock(&lock);
        uint32_t seen = __atomic_load_n(&given_back, __ATOMIC_SEQ_CST);
        struct link *link = idle;
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
            __atomic_sub_fetch(&link_count, 1, __ATOMIC_RELAXED);
            may_grow = false;
        } else if (link != NULL || others == 0 || !await_link(seen, deadline_ns)) {
            return link;
        }
    }
}

static void
wake_waiters(void)
{
    __atomic_add_fetch(&given_back, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&waiters, __ATOMIC_SEQ_CST) > 0) {
        syscall(SYS_futex, &given_back, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static void
release(struct link *link)
{
    ns_lock(&lock);
    link->next = idle;
    idle = link;
    ns_unlock(&lock);
    wake_waiters();
}

/* A link that cannot be connected for want of something in this process. */
static void
discard(struct link *link)
{
    ns_mem_free(link);
    __atomic_sub_fetch(&link_count, 1, __ATOMIC_RELAXED);
    wake_waiters();
}

/* Says nothing of the collector: this process has no descriptor or memory left. */
static bool
is_shortage(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

/* What a link is wanted for. Who asks must be answered, so the breaker counts even for a link that
 * is there; what is told needs it for a new one. A link is waited for by all but a PROGRESS. */
enum errand { ASK, REPORT, TELL };

static int
ready(struct link *link, enum errand errand, int64_t deadline_ns)
{
    if (link->zmtp.fd >= 0 && !is_still_ours(link)) {
        ns_count(NS_COUNTER_DESCRIPTORS_STOLEN);
        link->zmtp.fd = -1;
        lose(link);
    }
    bool connected = link->zmtp.fd >= 0;
    if ((errand == ASK || !connected) && !breaker_allows()) {
        return -EHOSTDOWN;
    }
    if (connected) {
        return 0;
    }
    int error = open_link(link, deadline_ns);
    if (error == 0) {
        breaker_close();
    } else if (!is_shortage(error)) {
        breaker_open(strerrordesc_np(-error));
    }
    return error;
}

/* A link that is connected, or NULL and *error. */
static struct link *
acquire(enum errand errand, int64_t deadline_ns, int *error)
{
    for (bool may_grow = true;; may_grow = false) {
        struct link *link = take_link(may_grow, errand == TELL ? 0 : deadline_ns);
        if (link == NULL) {
            *error = -EMFILE;
            return NULL;
        }
        *error = ready(link, errand, deadline_ns);
        if (*error == 0) {
            return link;
        }
        if (!is_shortage(*error)) {
            release(link);
            return NULL;
        }
        discard(link); /* and use one of those that there are */
    }
}

static int64_t
deadline(void)
{
    return ns_monotonic_ns() + ns_process_config()->deadline_ns;
}

/* --- questions ----------------------------------------------------------------------------------
 */

static void
copy_text(char *to, size_t bytes_max, struct ns_text text)
{
    size_t bytes = text.bytes < bytes_max ? text.bytes : bytes_max;
    memcpy(to, text.text != NULL ? text.text : "", bytes);
    to[bytes] = '\0';
}

static void
keep_verdict(struct ns_gate_verdict *kept, const struct ns_verdict *verdict)
{
    kept->decision = (enum ns_decision)verdict->decision;
    kept->reason = (enum ns_reason)verdict->reason;
    kept->http_status = (int)verdict->http_status;
    kept->denial_id = verdict->denial_id;
    kept->output_tokens_held = verdict->output_tokens_held;
    copy_text(kept->entity, NS_VERDICT_ENTITY_BYTES_MAX, verdict->entity);
    copy_text(kept->message, NS_VERDICT_MESSAGE_BYTES_MAX, verdict->message);
}

/* HOLD asks to wait for another verdict on the same call; when the deadline comes first, the hold
 * is what stands, and it is a refusal. */
static int
await_verdict(struct link *link, const struct ns_uuid *call_id, int64_t deadline_ns,
              struct ns_gate_verdict *verdict)
{
    bool held = false;
    for (;;) {
        const struct ns_message *message = &link->message;
        int error = receive(link, deadline_ns);
        if (error != 0) {
            return held && error == -ETIMEDOUT ? 0 : error;
        }
        /* Others are late answers to questions that were given up. */
        if (message->kind != NS_MESSAGE_VERDICT ||
            !ns_uuid_equal(&message->as.verdict.call_id, call_id)) {
            continue;
        }
        keep_verdict(verdict, &message->as.verdict);
        if (verdict->decision != NS_DECISION_HOLD) {
            return 0;
        }
        held = true;
    }
}

static int
check(const struct ns_message *message, struct ns_gate_verdict *verdict, bool *asked)
{
    int64_t deadline_ns = deadline();
    int error = 0;
    /* Twice: an idle link's peer may have gone since it was last used. */
    for (int attempt = 0; attempt < 2; attempt++) {
        struct link *link = acquire(ASK, deadline_ns, &error);
        if (link == NULL) {
            return error;
        }
        error = send_message(link, message, deadline_ns);
        if (error == 0) {
            *asked = true;
            error = await_verdict(link, &message->as.check.call_id, deadline_ns, verdict);
        }
        if (error == 0) {
            breaker_close();
        }
        bool lost = link->zmtp.fd < 0;
        release(link);
        if (!lost) {
            break;
        }
    }
    if (error == -ETIMEDOUT) {
        breaker_open("no verdict in time");
    }
    return error;
}

int
ns_gate_check(const struct ns_message *message, struct ns_gate_verdict *verdict, bool *asked)
{
    struct visit visit = enter();
    *asked = false;
    int error = check(message, verdict, asked);
    leave(visit);
    return error;
}

/* --- questions that are not waited for
 * ---------------------------------------------------------------------- */

bool
ns_gate_ask(const struct ns_message *message, struct ns_gate_question *question)
{
    struct visit visit = enter();
    int error;
    struct link *link = acquire(TELL, deadline(), &error);
    if (link != NULL && send_message(link, message, 1) == 0) {
        *question = (struct ns_gate_question){link, link->serial, ns_process_life()};
    } else if (link != NULL) {
        release(link);
    }
    leave(visit);
    return question->link != NULL;
}

static void
end_question(struct ns_gate_question *question)
{
    if (question->link != NULL && question->life == ns_process_life()) {
        release(question->link);
    }
    *question = (struct ns_gate_question){0};
}

int
ns_gate_answer(struct ns_gate_question *question, const struct ns_uuid *call_id, bool wait,
               struct ns_gate_verdict *verdict)
{
    if (question->link == NULL || question->life != ns_process_life()) {
        end_question(question);
        return -ENOTCONN;
    }
    struct visit visit = enter();
    struct link *link = question->link;
    int error = -ENOTCONN;
    if (link->zmtp.fd >= 0 && !is_still_ours(link)) {
        ns_count(NS_COUNTER_DESCRIPTORS_STOLEN);
        link->zmtp.fd = -1;
        lose(link);
    } else if (link->zmtp.fd >= 0 && link->serial == question->serial) {
        error = await_verdict(link, call_id, wait ? deadline() : 0, verdict);
    }
    if ((error == -ETIMEDOUT || error == -EAGAIN) && !wait) {
        error = -EAGAIN;
    } else {
        if (error == -ETIMEDOUT) {
            breaker_open("no verdict in time");
        }
        end_question(question);
    }
    leave(visit);
    return error;
}

void
ns_gate_unask(struct ns_gate_question *question)
{
    struct visit visit = enter();
    end_question(question);
    leave(visit);
}

bool
ns_gate_denies_unreachable(void)
{
    return ns_process_config()->on_unreachable == NS_UNREACHABLE_DENY ||
           __atomic_load_n(&deny_unreachable, __ATOMIC_RELAXED);
}

void
ns_gate_deny_unasked(struct ns_gate_verdict *verdict, enum ns_reason reason, const char *message)
{
    memset(verdict, 0, sizeof *verdict);
    verdict->decision = NS_DECISION_DENY;
    verdict->reason = reason;
    verdict->denial_id = ns_uuid_new();
    memcpy(verdict->message, message, strnlen(message, NS_VERDICT_MESSAGE_BYTES_MAX));
    memcpy(verdict->entity, "org", sizeof "org");
}

struct ns_hash16
ns_gate_hash(const void *secret, size_t bytes)
{
    struct ns_hash16 hash = {{0}};
    struct visit visit = enter();
    if (!__atomic_load_n(&hash_key_known, __ATOMIC_ACQUIRE)) {
        int error;
        struct link *link = acquire(TELL, deadline(), &error);
        if (link != NULL) {
            release(link);
        }
    }
    if (__atomic_load_n(&hash_key_known, __ATOMIC_ACQUIRE)) {
        uint8_t key[16];
        ns_lock(&lock);
        memcpy(key, hash_key, sizeof key);
        ns_unlock(&lock);
        ns_siphash128(key, secret, bytes, hash.bytes);
    }
    leave(visit);
    return hash;
}

/* --- tellings -----------------------------------------------------------------------------------
 */

/* Reads what is there without waiting. */
static void
drain(struct link *link)
{
    while (link->zmtp.fd >= 0 && receive(link, 0) == 0) {
    }
}

void
ns_gate_tell(const struct ns_message *message)
{
    struct visit visit = enter();
    int error;
    int64_t deadline_ns = deadline();
    struct link *link = acquire(TELL, deadline_ns, &error);
    if (link != NULL) {
        send_message(link, message, 1); /* now or never: the program waits for its answer */
        release(link);
    }
    leave(visit);
}

static void
send_reports(struct link *link, int64_t deadline_ns)
{
    struct ns_unacked *report;
    while (link->zmtp.fd >= 0 && (report = ns_reports_take(link->serial)) != NULL) {
        size_t bytes;
        const void *message = ns_report_bytes(report, &bytes);
        int error = ns_zmtp_send(&link->zmtp, message, bytes, deadline_ns);
        ns_reports_sent(report, error == 0);
        if (error != 0) {
            lose(link);
        }
    }
}

/* What passed unseen, where a link is there for something else. */
static void
tell_counters(struct link *link, bool last)
{
    if (link->zmtp.fd >= 0 && __atomic_load_n(&takes_counters, __ATOMIC_RELAXED) &&
        ns_counters_tell(last, &link->message) && send_message(link, &link->message, 1) != 0) {
        ns_counters_untold();
    }
}

/* --- the spool ----------------------------------------------------------------------------------
 */

struct posting {
    struct link *link;
    int64_t deadline_ns;
    struct ns_uuid waiting[NS_SPOOL_BATCH];
    uint32_t count;
};

static int
posting_send(void *context, const void *bytes, size_t count)
{
    struct posting *posting = context;
    struct ns_message *message = &posting->link->message;
    const char *why;
    if (posting->count == NS_SPOOL_BATCH || ns_message_decode(bytes, count, message, &why) != 0) {
        return 0; /* written by another version: nobody takes it */
    }
    struct ns_uuid call_id;
    if (message->kind == NS_MESSAGE_REPORT) {
        call_id = message->as.report.call_id;
    } else if (message->kind == NS_MESSAGE_RELEASE) {
        call_id = message->as.release.call_id;
    } else {
        return 0;
    }
    int error = ns_zmtp_send(&posting->link->zmtp, bytes, count, posting->deadline_ns);
    if (error == 0) {
        posting->waiting[posting->count++] = call_id;
    }
    return error;
}

static int
posting_settle(void *context)
{
    struct posting *posting = context;
    while (posting->count > 0) {
        const struct ns_message *message = &posting->link->message;
        int error = receive(posting->link, posting->deadline_ns);
        if (error != 0) {
            return error;
        }
        for (uint32_t i = 0; message->kind == NS_MESSAGE_ACK && i < posting->count; i++) {
            if (ns_uuid_equal(&posting->waiting[i], &message->as.ack.call_id)) {
                posting->waiting[i] = posting->waiting[--posting->count];
                break;
            }
        }
    }
    return 0;
}

static bool
posting_go_on(void *context)
{
    const struct posting *posting = context;
    return posting->link->zmtp.fd >= 0 && ns_monotonic_ns() < posting->deadline_ns;
}

/* When a collector has answered for the first time, and until all is posted. */
static void
post_spool(struct link *link)
{
    if (link->zmtp.fd < 0 || !__atomic_exchange_n(&spool_due, false, __ATOMIC_ACQ_REL)) {
        return;
    }
    const struct ns_config *config = ns_process_config();
    struct posting posting = {.link = link, .deadline_ns = ns_monotonic_ns() + SPOOL_TIME_NS};
    struct ns_spool_poster poster = {&posting, posting_send, posting_settle, posting_go_on};
    if (ns_spool_post(config->spool_dir, config->collector, &poster) != 0) {
        __atomic_store_n(&spool_due, true, __ATOMIC_RELEASE);
    }
}

void
ns_gate_post(void)
{
    struct visit visit = enter();
    int64_t deadline_ns = deadline();
    /* A link found dead strands its reports: once more on another. */
    for (int attempt = 0; attempt < 2; attempt++) {
        int error;
        struct link *link = acquire(REPORT, deadline_ns, &error);
        if (link == NULL) {
            break;
        }
        drain(link);
        if (link->zmtp.fd >= 0) {
            send_reports(link, deadline_ns);
            tell_counters(link, false);
            post_spool(link);
        }
        release(link);
        if (!ns_reports_waiting(0)) {
            break;
        }
    }
    if (ns_reports_waiting(0)) {
        ns_reports_spool(false);
    }
    leave(visit);
}

/* A process of which everything has passed unseen has no link, and nobody would ever hear of it.
 * Only its end makes one for that, and not where the collector was found to be away. */
static void
say_last_word(void)
{
    if (!ns_counters_changed() || __atomic_load_n(&link_count, __ATOMIC_RELAXED) != 0 ||
        __atomic_load_n(&breaker_until_ns, __ATOMIC_RELAXED) != 0) {
        return;
    }
    struct link *link = take_link(true, 0);
    if (link != NULL && open_link(link, ns_monotonic_ns() + NS_LAST_WORD_NS) == 0) {
        tell_counters(link, true);
    }
}

void
ns_gate_flush(void)
{
    struct visit visit = enter();
    int64_t deadline_ns = deadline();
    ns_lock(&lock);
    struct link *link = idle;
    idle = NULL; /* nobody else's from here on */
    ns_unlock(&lock);
    for (; link != NULL; link = link->next) {
        if (link->zmtp.fd < 0 || !is_still_ours(link)) {
            continue;
        }
        send_reports(link, deadline_ns);
        tell_counters(link, true);
        while (link->zmtp.fd >= 0 && ns_reports_waiting(link->serial) &&
               receive(link, deadline_ns) == 0) {
        }
        post_spool(link);
    }
    ns_reports_spool(true);
    say_last_word();
    leave(visit);
}

void
ns_gate_after_fork(void)
{
    lock.held = 0;
    /* Our copies of the parent's idle descriptors; a goodbye on them would be the parent's. Links
     * that were in use are in other threads' hands, which are not here: their copies stay. */
    for (struct link *link = idle; link != NULL;) {
        struct link *next = link->next;
        if (link->zmtp.fd >= 0 && is_still_ours(link)) {
            ns_zmtp_close(&link->zmtp);
        }
        ns_mem_free(link);
        link = next;
    }
    idle = NULL;
    link_count = 0;
    waiters = 0;
    breaker_close();
}
