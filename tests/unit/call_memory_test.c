/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lives of some calls, from their judgement to their report, with each allocation failing once:
 * the program has its rulings, nothing leaks, no link is lost, and every call is told to the
 * collector or kept in the spool, or counted as lost.
 *
 * The parts of the library are linked with the memory of base/, so that sanitizers see every byte.
 * The collector is a process of its own, and so is each life, in which the library begins anew.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "base/mem.h"
#include "protocol/zmtp.h"
#include "shim/call.h"
#include "shim/counters.h"
#include "shim/gate.h"
#include "shim/hello.h"
#include "shim/memory.h"
#include "shim/process.h"
#include "shim/resolve.h"
#include "shim/spool.h"
#include "shim/top_up.h"
#include "tests/harness.h"

#define HELD_TOKENS 1000
#define HEARD_MAX 64
#define CALLS_MAX 8

/* What was linked in its place has nothing to do here. */
void
ns_mem_after_fork(void)
{
}

void
ns_resolve_after_fork(void)
{
}

enum ns_source
ns_process_source(void)
{
    return NS_SOURCE_PRELOAD;
}

/* Of a sanitizer's runtime, where there is one. */
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

/* --- the collector ------------------------------------------------------------------------------
 */

/* What it was told; shared with the lives. */
struct heard {
    uint32_t count;
    struct ns_uuid told[HEARD_MAX];
    uint32_t top_ups;
};

static struct heard *heard;
static char directory[32];
static char endpoint[64];
static pid_t collector;

static void
answer(const struct ns_message *message, struct ns_message *reply)
{
    memset(reply, 0, sizeof *reply);
    struct ns_verdict *verdict = &reply->as.verdict;
    switch (message->kind) {
    case NS_MESSAGE_HELLO:
        reply->kind = NS_MESSAGE_WELCOME;
        reply->as.welcome.protocol = NS_PROTOCOL_VERSION;
        reply->as.welcome.collector = ns_text_of("test");
        return;
    case NS_MESSAGE_CHECK:
        reply->kind = NS_MESSAGE_VERDICT;
        verdict->call_id = message->as.check.call_id;
        verdict->output_tokens_held = HELD_TOKENS;
        if (memcmp(message->as.check.requested_model.text, "denied", 6) == 0) {
            verdict->decision = NS_DECISION_DENY;
            verdict->reason = NS_REASON_BUDGET_EXCEEDED;
        }
        return;
    case NS_MESSAGE_PROGRESS:
        if (message->as.progress.top_up != 0) {
            heard->top_ups++;
            reply->kind = NS_MESSAGE_VERDICT;
            verdict->call_id = message->as.progress.call_id;
            verdict->decision = NS_DECISION_DENY;
            verdict->reason = NS_REASON_BUDGET_EXCEEDED;
        }
        return;
    case NS_MESSAGE_REPORT:
    case NS_MESSAGE_RELEASE:
        reply->kind = NS_MESSAGE_ACK;
        reply->as.ack.kind = message->kind;
        reply->as.ack.call_id = message->kind == NS_MESSAGE_REPORT ? message->as.report.call_id
                                                                   : message->as.release.call_id;
        heard->told[heard->count++ % HEARD_MAX] = reply->as.ack.call_id;
        return;
    default:
        return;
    }
}

static void
collect(int ready)
{
    void *context = zmq_ctx_new();
    void *router = zmq_socket(context, ZMQ_ROUTER);
    if (zmq_bind(router, endpoint) != 0 || write(ready, "", 1) != 1) {
        _exit(1);
    }
    for (;;) {
        static uint8_t peer[64], bytes[NS_MESSAGE_BYTES_MAX], reply_bytes[NS_MESSAGE_BYTES_MAX];
        static struct ns_message message, reply;
        const char *why;
        int peer_count = zmq_recv(router, peer, sizeof peer, 0);
        int count = zmq_recv(router, bytes, sizeof bytes, 0);
        if (peer_count < 0 || count < 0 ||
            ns_message_decode(bytes, (size_t)count, &message, &why) != 0) {
            continue;
        }
        reply.kind = 0;
        answer(&message, &reply);
        int reply_count =
            reply.kind == 0 ? 0 : ns_message_encode(&reply, reply_bytes, sizeof reply_bytes);
        if (reply_count > 0) {
            zmq_send(router, peer, (size_t)peer_count, ZMQ_SNDMORE);
            zmq_send(router, reply_bytes, (size_t)reply_count, 0);
        }
    }
}

static void
start(void)
{
    int ready[2];
    char byte;
    memcpy(directory, "/tmp/nscallXXXXXX", 18);
    REQUIRE(mkdtemp(directory) != NULL && pipe(ready) == 0);
    snprintf(endpoint, sizeof endpoint, "ipc://%s/c", directory);
    heard = mmap(NULL, sizeof *heard, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(heard != MAP_FAILED);
    fflush(stdout);
    collector = fork();
    if (collector == 0) {
        collect(ready[1]);
    }
    close(ready[1]);
    REQUIRE(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
}

static void
stop(void)
{
    char command[64];
    kill(collector, SIGKILL);
    waitpid(collector, NULL, 0);
    munmap(heard, sizeof *heard);
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    CHECK_INT(system(command), 0);
}

/* --- a life -------------------------------------------------------------------------------------
 */

struct life {
    bool away;   /* the collector is */
    bool denies; /* the policy for that */
    struct ns_uuid owed[CALLS_MAX];
    unsigned count;
};

static char spool[64];

static struct ns_wire_call *
new_call(const char *model)
{
    static const char key[] = "sk-1234";
    struct ns_wire_call *call = NULL;
    for (int i = 0; i < 2 && call == NULL; i++) {
        call = ns_mem_alloc(sizeof *call); /* not what is tested */
    }
    if (call == NULL) {
        abort();
    }
    memcpy(call->request.host, "api.openai.com", sizeof "api.openai.com");
    call->request.provider = "openai";
    call->request.family = "openai";
    call->request.operation = "chat";
    memcpy(call->request.model, model, strlen(model) + 1);
    call->request.streamed = true;
    call->request.credential_range = (struct ns_wire_range){0, sizeof key - 1};
    memcpy(call->request.credential, "1234", 5);
    return call;
}

/* What a judged call must come to: it was let through, or denied as it had to be, or there was no
 * memory for its ticket, and the policy decided. Returns whether it may go on. */
static bool
judge(struct life *life, struct ns_wire_call *call, bool denied)
{
    static struct ns_gate_verdict verdict;
    uint64_t unticketed = ns_counters[NS_COUNTER_CALLS_UNWITHHELD];
    uint64_t unasked = ns_counters[NS_COUNTER_CALLS_UNASKED];
    enum ns_ruling ruling = ns_call_judge(call, (const uint8_t *)"sk-1234", 7, &verdict);
    if (call->user == NULL && life->denies) {
        CHECK_INT(ruling, NS_RULING_DENY);
        CHECK_INT(verdict.reason, NS_REASON_UNJUDGED);
        return false;
    }
    if (call->user == NULL) {
        CHECK_INT(ns_counters[NS_COUNTER_CALLS_UNWITHHELD], unticketed + 1);
        CHECK_INT(ruling, NS_RULING_ALLOW);
        return true;
    }
    if (ns_counters[NS_COUNTER_CALLS_UNASKED] > unasked) {
        CHECK_INT(ruling, NS_RULING_ALLOW);
        CHECK(!life->denies);
    } else {
        bool unreachable = verdict.reason == NS_REASON_COLLECTOR_UNREACHABLE;
        CHECK_INT(ruling, denied || (ruling == NS_RULING_DENY && unreachable && life->denies)
                              ? NS_RULING_DENY
                              : NS_RULING_ALLOW);
    }
    return ruling == NS_RULING_ALLOW;
}

static void
finish(struct life *life, struct ns_wire_call *call, bool cancelled)
{
    struct ns_ticket *ticket = call->user;
    if (ticket != NULL && (ticket->sent || ticket->asked)) {
        life->owed[life->count++] = ticket->call_id;
    }
    ns_call_finish(call, cancelled);
}

/* An answer that tells its progress, asks for a larger hold, and is cut where it has none. */
static bool
stream(struct ns_wire_call *call)
{
    static struct ns_top_up_turn turn;
    static struct ns_message message;
    static struct ns_progress_text text;
    for (int piece = 0; piece < 4 * HELD_TOKENS; piece++) {
        call->response.body_bytes += 100;
        call->response.text_bytes += 16;
        if (ns_call_progress(call, &message, &text)) {
            ns_gate_tell(&message);
        }
        memset(&turn, 0, sizeof turn);
        if (ns_top_up_due(call, &turn)) {
            ns_top_up_ask(&turn);
            if (ns_top_up_done(call, &turn)) {
                return true;
            }
        }
    }
    return false;
}

static void
live(struct life *life)
{
    if (!ns_process_ready()) {
        NS_FAIL("not ready");
        return;
    }
    struct ns_wire_call *call = new_call("gpt-4o");
    if (judge(life, call, false)) {
        struct ns_ticket *ticket = call->user;
        call->response.status = 200;
        bool cut = false;
        if (ticket != NULL) {
            ticket->sent = true;
            cut = stream(call);
        }
        finish(life, call, cut);
    } else {
        ns_call_drop(call);
    }
    call = new_call("gpt-4o"); /* one that is never sent */
    if (judge(life, call, false)) {
        finish(life, call, true);
    } else {
        ns_call_drop(call);
    }
    call = new_call("denied");
    if (judge(life, call, !life->away)) {
        struct ns_ticket *ticket = call->user;
        call->response.status = 200;
        if (ticket != NULL) {
            ticket->sent = true;
        }
        finish(life, call, false);
    } else {
        ns_call_drop(call);
    }
}

/* --- what is left of it -------------------------------------------------------------------------
 */

static struct ns_uuid spooled[HEARD_MAX];
static unsigned spooled_count;

static int
read_spooled(void *context, const void *bytes, size_t count)
{
    static struct ns_message message;
    const char *why;
    (void)context;
    if (ns_message_decode(bytes, count, &message, &why) != 0) {
        NS_FAIL("what was spooled is no message: %s", why);
        return 0;
    }
    spooled[spooled_count++ % HEARD_MAX] =
        message.kind == NS_MESSAGE_REPORT ? message.as.report.call_id : message.as.release.call_id;
    return 0;
}

static int
settle_nothing(void *context)
{
    (void)context;
    return 0;
}

static bool
go_on(void *context)
{
    (void)context;
    return true;
}

static bool
is_told(const struct ns_uuid *call_id)
{
    bool told = false;
    for (uint32_t i = 0; i < heard->count && i < HEARD_MAX; i++) {
        told = told || ns_uuid_equal(&heard->told[i], call_id);
    }
    for (unsigned i = 0; i < spooled_count && i < HEARD_MAX; i++) {
        told = told || ns_uuid_equal(&spooled[i], call_id);
    }
    return told;
}

/* A report of another process, that waits to be posted. */
static struct ns_uuid
spool_another(const struct life *life)
{
    struct ns_message message = {.kind = NS_MESSAGE_RELEASE};
    uint8_t bytes[256];
    message.as.release.call_id = ns_uuid_new();
    int count = ns_message_encode(&message, bytes, sizeof bytes);
    CHECK_INT(ns_spool_append(spool, life->away ? "ipc:///nonexistent/c" : endpoint, bytes,
                              (size_t)count),
              0);
    return message.as.release.call_id;
}

static void
audit(struct life *life, const struct ns_uuid *others)
{
    struct ns_spool_poster poster = {NULL, read_spooled, settle_nothing, go_on};
    CHECK_INT(ns_spool_post(spool, life->away ? "ipc:///nonexistent/c" : endpoint, &poster), 0);
    uint64_t missing = 0;
    for (unsigned i = 0; i < life->count; i++) {
        missing += !is_told(&life->owed[i]);
    }
    CHECK_INT(missing, ns_counters[NS_COUNTER_REPORTS_LOST]);
    CHECK(missing <= 1);
    CHECK(others == NULL || is_told(others));
}

/* One life, whose n-th allocation fails. Exit status: 0 all was well, 1 it was not, 2 it had less
 * allocations. */
static int
run(struct life life, size_t n)
{
    setenv("NULLSPEND_COLLECTOR", life.away ? "ipc:///nonexistent/c" : endpoint, 1);
    setenv("NULLSPEND_ON_UNREACHABLE", life.denies ? "deny" : "allow", 1);
    setenv("NULLSPEND_DEADLINE_MS", "60000", 1);
    snprintf(spool, sizeof spool, "%s/%d/spool", directory, getpid());
    setenv("NULLSPEND_SPOOL_DIR", spool, 1);
    struct ns_uuid others = {{0}};
    if (!life.away) {
        others = spool_another(&life);
    }
    ns_mem_fail_at(n);
    live(&life);
    if (__lsan_do_recoverable_leak_check != NULL) {
        CHECK_INT(__lsan_do_recoverable_leak_check(), 0);
    }
    ns_gate_flush();
    bool had = ns_mem_fail_at(0) >= n;
    if (!life.away && n == 0) {
        CHECK_INT(heard->top_ups, 2);
        CHECK_INT(life.count, 2);
    }
    audit(&life, life.away ? NULL : &others);
    fflush(stdout);
    return ns_test_failures != 0 ? 1 : had ? 0 : 2;
}

static void
each_failure(struct life life)
{
    size_t n = 0;
    int status = 0;
    while (n < 500 && WEXITSTATUS(status) != 2) {
        memset(heard, 0, sizeof *heard);
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            ns_test_failures = 0;
            _exit(run(life, n));
        }
        REQUIRE(waitpid(pid, &status, 0) == pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) == 1) {
            NS_FAIL("away %d, policy %s, allocation %zu: status %x", life.away,
                    life.denies ? "deny" : "allow", n, (unsigned)status);
            return;
        }
        n++;
    }
    if (n < 8 || n == 500) {
        NS_FAIL("%zu allocations", n);
    }
}

TEST(whichever_allocation_fails_calls_are_judged_and_told)
{
    start();
    each_failure((struct life){.away = false, .denies = false});
    each_failure((struct life){.away = false, .denies = true});
    stop();
}

TEST(whichever_allocation_fails_while_the_collector_is_away_the_spool_has_the_calls)
{
    start();
    each_failure((struct life){.away = true, .denies = false});
    each_failure((struct life){.away = true, .denies = true});
    stop();
}
