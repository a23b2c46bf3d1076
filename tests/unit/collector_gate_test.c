/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/collector_support.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "collector/journal_io.h"
#include "protocol/zmtp.h"

#define CENT INT64_C(10000000)

static struct bench bench;

/* --- verdicts and acknowledgements -------------------------------------------------------------
 */

TEST(a_verdict_waits_until_the_kernel_has_its_record)
{
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    struct ns_verdict verdict = check_call(&bench, 1, "acme");
    CHECK_INT(verdict.decision, NS_DECISION_ALLOW);
    CHECK_INT(ns_journal_last(bench.gate->journal), 1);
    CHECK_INT(ns_journal_written(bench.gate->journal), 0);
    ns_gate_flush(bench.gate);
    CHECK_INT(ns_journal_written(bench.gate->journal), 1);
    CHECK_INT(bench.gate->reply_count, 0);
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(a_verdict_whose_record_cannot_be_written_is_not_given)
{
    struct rlimit limit;
    REQUIRE(new_bench(&bench));
    REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    join(&bench, 5);
    check_call(&bench, 1, "acme");
    const struct rlimit none = {1, limit.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &none), 0);
    ns_gate_flush(bench.gate);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
    CHECK(bench.gate->failure < 0);
    CHECK(!bench.gate->sent);
    close_bench(&bench);
    remove_directory(bench.directory);
}

static ssize_t
write_all_but_snapshots(int fd, const void *bytes, size_t count)
{
    if (count >= 7 && memcmp(bytes, "NSSNAP1", 7) == 0) {
        errno = ENOSPC;
        return -1;
    }
    return write(fd, bytes, count);
}

TEST(a_disk_without_room_for_a_snapshot_stops_nothing)
{
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    check_call(&bench, 1, "acme");
    ns_gate_flush(bench.gate);
    ns_journal_disk.write = write_all_but_snapshots;
    ns_gate_snapshot(bench.gate);
    uint8_t *bytes;
    size_t count;
    CHECK_INT(ns_state_save(&bench.gate->state, &bytes, &count), 0);
    /* Taken when the one before it is over. */
    while (!ns_syncer_snapshot(bench.gate->syncer, bench.gate->state.sequence, bytes, count)) {
        sched_yield();
    }
    CHECK_INT(ns_syncer_error(bench.gate->syncer), 0);
    CHECK_INT(ns_syncer_snapshot_sequence(bench.gate->syncer), 0);
    check_call(&bench, 2, "acme");
    ns_gate_flush(bench.gate);
    CHECK_INT(bench.gate->failure, 0);
    close_bench(&bench);
    ns_journal_disk.write = write;
    CHECK(open_bench(&bench));
    CHECK_INT(ns_calls_count(bench.gate->state.calls), 2);
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(an_acknowledgement_waits_until_the_disk_has_its_record)
{
    REQUIRE(new_bench(&bench));
    ns_syncer_stop(bench.gate->syncer); /* the test is the one who syncs */
    bench.gate->syncer = NULL;
    join(&bench, 5);
    check_call(&bench, 1, "acme");
    CHECK_INT(ns_calls_count(bench.gate->state.calls), 1);
    report_call(&bench, 1, "acme", 50);
    CHECK_INT(ns_calls_count(bench.gate->state.calls), 0);
    CHECK_INT(bench.gate->ack_count, 1);
    CHECK_INT(ns_journal_write(bench.gate->journal), 0);
    ns_gate_acknowledge(bench.gate, UINT32_MAX);
    CHECK_INT(bench.gate->ack_count, 1);
    CHECK(ns_journal_sync(bench.gate->journal) == 2);
    ns_gate_acknowledge(bench.gate, UINT32_MAX);
    CHECK_INT(bench.gate->ack_count, 0);
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(more_acknowledgements_wait_than_there_was_room_for)
{
    REQUIRE(new_bench(&bench));
    ns_syncer_stop(bench.gate->syncer);
    bench.gate->syncer = NULL;
    join(&bench, 5);
    for (uint64_t i = 1; i <= 100; i++) {
        report_call(&bench, i, "acme", 50);
    }
    CHECK_INT(bench.gate->ack_count, 100);
    CHECK_INT(ns_journal_write(bench.gate->journal), 0);
    CHECK(ns_journal_sync(bench.gate->journal) == 100);
    ns_gate_acknowledge(bench.gate, UINT32_MAX);
    CHECK_INT(bench.gate->ack_count, 0);
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(a_denial_names_the_budget_and_the_way_out)
{
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    put_budget(&bench, 1, "customer:acme", 100000);
    struct ns_verdict verdict = check_call(&bench, 1, "acme");
    CHECK_INT(verdict.decision, NS_DECISION_DENY);
    CHECK_INT(verdict.reason, NS_REASON_BUDGET_EXCEEDED);
    char text[600];
    ns_text_copy(verdict.message, text, sizeof text);
    CHECK(strstr(text, "customer:acme has spent $0.00 and holds $0.00 of its $0.0001 day budget") !=
          NULL);
    CHECK(strstr(text, "nullspend budget set customer:acme --limit USD --period day") != NULL);
    CHECK_INT(ns_calls_count(bench.gate->state.calls), 0);
    CHECK_INT(bench.gate->counters.denied_by[NS_REASON_BUDGET_EXCEEDED], 1);
    ns_gate_flush(bench.gate);
    verdict = check_call(&bench, 2, "other");
    CHECK_INT(verdict.decision, NS_DECISION_ALLOW);
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(a_call_that_is_too_fast_is_told_so_and_counted)
{
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    put_budget(&bench, 1, "customer:acme", INT64_C(1000000000000));
    int64_t amount = check_call(&bench, 1, "acme").hold_nanousd;
    REQUIRE(amount > 0);
    ns_gate_flush(bench.gate);
    struct ns_budget budget = {.id = 1,
                               .entity = "customer:acme",
                               .period = NS_PERIOD_DAY,
                               .limit_nanousd = INT64_C(1000000000000),
                               .velocity_nanousd = amount,
                               .velocity_window_s = 60,
                               .velocity_cooldown_s = 90};
    put_terms(&bench, &budget);
    CHECK_INT(check_call(&bench, 2, "acme").decision, NS_DECISION_ALLOW);
    ns_gate_flush(bench.gate);
    for (uint64_t n = 3; n < 5; n++) {
        struct ns_verdict verdict = check_call(&bench, n, "acme");
        CHECK_INT(verdict.decision, NS_DECISION_DENY);
        CHECK_INT(verdict.reason, NS_REASON_VELOCITY);
        char text[600];
        ns_text_copy(verdict.message, text, sizeof text);
        CHECK(strstr(text, " in 60 s, and is paused for 90 s. Request not sent.") != NULL);
        CHECK(strstr(text, "--period day --velocity USD/60s") != NULL);
        ns_gate_flush(bench.gate);
    }
    CHECK_INT(bench.gate->counters.denied_by[NS_REASON_VELOCITY], 2);
    CHECK_INT(bench.gate->counters.velocity_trips, 1);
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(a_call_that_was_let_through_stays_so_when_a_mandate_comes)
{
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    put_budget(&bench, 1, "customer:acme", INT64_C(1000000000000));
    int64_t held_nanousd = check_call(&bench, 1, "acme").hold_nanousd;
    CHECK(held_nanousd > 0);
    ns_gate_flush(bench.gate);
    struct ns_mandate_terms terms = {
        .id = 1, .policy = NS_POLICY_HARD, .entity = ns_text_of("org")};
    struct ns_buffer mandate = {0};
    ns_mandate_begin(&mandate, &terms);
    ns_mandate_add(&mandate, NS_MANDATE_DENY_MODELS, ns_text_of("*"));
    ns_gate_take_mandates(bench.gate, &mandate, 1);
    ns_gate_take_mandates(bench.gate, &mandate, 1); /* as it was: nothing is written */
    ns_buffer_free(&mandate);
    CHECK_INT(ns_journal_last(bench.gate->journal), 3); /* budget, call, mandate */
    struct ns_verdict again = check_call(&bench, 1, "acme");
    CHECK_INT(again.decision, NS_DECISION_ALLOW);
    CHECK_INT(again.hold_nanousd, held_nanousd);
    ns_gate_flush(bench.gate);
    struct ns_verdict verdict = check_call(&bench, 2, "acme");
    CHECK_INT(verdict.decision, NS_DECISION_DENY);
    CHECK_INT(verdict.reason, NS_REASON_MANDATE);
    CHECK_INT(bench.gate->counters.denied_by[NS_REASON_MANDATE], 1);
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(the_longest_entity_leaves_a_denial_within_its_bound)
{
    static struct ns_gate gate;
    struct ns_ledger_numbers numbers = {.limit_nanousd = INT64_MAX,
                                        .finalize_nanousd = INT64_MAX - 1,
                                        .overdraft_nanousd = INT64_MAX - 1,
                                        .granted_nanousd = INT64_MAX - 1,
                                        .spent_nanousd = INT64_MAX - 1,
                                        .held_nanousd = INT64_MAX - 1,
                                        .needed_nanousd = INT64_MAX - 1,
                                        .period = NS_PERIOD_TOTAL};
    memset(numbers.entity, 'x', NS_ENTITY_BYTES_MAX);
    memcpy(numbers.entity + 68, "\xe2\x82\xac\xe2\x82\xac", 6); /* the cut falls into a character */
    struct ns_text text = ns_gate_denial_text(&gate, &numbers, false);
    CHECK(text.bytes < 512 && text.text[text.bytes] == '\0');
    CHECK(strstr(text.text, "--period total") != NULL);
    CHECK(strstr(text.text, "x... has spent") != NULL);
    numbers.reason = NS_REASON_VELOCITY;
    numbers.velocity_nanousd = INT64_MAX;
    numbers.velocity_window_s = NS_VELOCITY_S_MAX;
    for (int paused = 0; paused < 2; paused++) {
        numbers.paused_until_ns = paused * INT64_MAX;
        text = ns_gate_denial_text(&gate, &numbers, false);
        CHECK(text.bytes < 512 && text.text[text.bytes] == '\0');
        CHECK(strstr(text.text, "--velocity USD/3600s") != NULL);
    }
}

TEST(a_call_names_the_grants_of_its_entities_and_its_model)
{
    REQUIRE(new_bench(&bench));
    struct ns_budget budget = {.id = 1,
                               .period = NS_PERIOD_TOTAL,
                               .grant_of = 99,
                               .limit_nanousd = 5,
                               .until_ns = INT64_MAX,
                               .entity = "agent:other",
                               .models = "gpt-4o*"};
    put_terms(&bench, &budget); /* of another entity */
    budget = (struct ns_budget){.id = 2,
                                .period = NS_PERIOD_TOTAL,
                                .grant_of = 99,
                                .limit_nanousd = 5,
                                .until_ns = 1,
                                .entity = "agent:bot",
                                .models = "gpt-4o*"};
    put_terms(&bench, &budget); /* over */
    budget.until_ns = INT64_MAX;
    for (budget.id = 3; budget.id < 3 + NS_CALL_GRANTS_MAX + 2; budget.id++) {
        snprintf(budget.models, sizeof budget.models, "%s", budget.id == 3 ? "o1" : "O3,gpt-4o*");
        put_terms(&bench, &budget);
    }
    CHECK_INT(ns_gate_budgets_known(bench.gate), 0);
    bench.gate->now_ns = ns_realtime_ns();
    static const char *const entity[] = {"org", "agent:bot"};
    struct ns_ledger_reserve reserve = {.entity_count = 2, .entity = entity};
    ns_gate_grants_of(bench.gate, ns_text_of("GPT-4o-mini"), &reserve);
    CHECK_INT(reserve.grant_count, NS_CALL_GRANTS_MAX);
    CHECK_INT(reserve.grant[0], 4);
    CHECK_INT(reserve.grant[NS_CALL_GRANTS_MAX - 1], 3 + NS_CALL_GRANTS_MAX);
    reserve.grant_count = 0;
    ns_gate_grants_of(bench.gate, ns_text_of("o1"), &reserve);
    CHECK_INT(reserve.grant_count, 1);
    CHECK_INT(reserve.grant[0], 3);
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(every_entity_of_a_call_is_limited)
{
    static const char *const entities[] = {"org",
                                           "customer:acme",
                                           "agent:bot",
                                           "feature:f",
                                           "session:s",
                                           "key:abcd",
                                           "key:ff000000000000000000000000000000",
                                           "tag:team=t",
                                           "team:t",
                                           "tag:env=prod"};
    for (size_t i = 0; i < sizeof entities / sizeof entities[0]; i++) {
        REQUIRE(new_bench(&bench));
        join(&bench, 5);
        put_budget(&bench, 1, entities[i], 0);
        static struct ns_message message;
        message = (struct ns_message){.kind = NS_MESSAGE_CHECK};
        struct ns_check *call = &message.as.check;
        identify(call, 1, "acme");
        call->agent = ns_text_of("bot");
        call->feature = ns_text_of("f");
        call->session = ns_text_of("s");
        call->key_hint = ns_text_of("abcd");
        call->key_hash.bytes[0] = 0xff;
        call->tags.count = 2;
        call->tags.tag[0] = (struct ns_tag_text){ns_text_of("team"), ns_text_of("t")};
        call->tags.tag[1] = (struct ns_tag_text){ns_text_of("env"), ns_text_of("prod")};
        say(&bench, &message);
        CHECK_INT(bench.gate->counters.denied, 1);
        CHECK_INT(bench.gate->counters.entities_refused, 0);
        close_bench(&bench);
        remove_directory(bench.directory);
    }
}

TEST(an_id_that_looks_like_a_pattern_is_not_taken_for_one)
{
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    check_call(&bench, 1, "*");
    CHECK_INT(bench.gate->counters.entities_refused, 1);
    CHECK_INT(bench.gate->counters.allowed, 1);
    close_bench(&bench);
    remove_directory(bench.directory);
}

/* --- processes ---------------------------------------------------------------------------------
 */

TEST(the_kernels_words_are_read_and_nobody_elses)
{
    struct ns_peer_address address;
    CHECK(ns_peer_address_read("localhost:1000:1001:4242", true, &address));
    CHECK(address.local);
    CHECK_INT(address.uid, 1000);
    CHECK_INT(address.pid, 4242);
    CHECK(ns_peer_address_read("a:b:0:0:1", true, &address));
    CHECK_INT(address.pid, 1);
    static const char *const bad[] = {"",
                                      "1:2:3",
                                      "h:1:2",
                                      "h:1:2:",
                                      "h:1:2:x",
                                      "h:-1:2:3",
                                      "h:99999999999:2:3",
                                      "h:1:2:4294967296"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(!ns_peer_address_read(bad[i], true, &address));
        CHECK(!address.local && address.uid == UINT32_MAX);
    }
    /* An IPv6 address may look like ids; over tcp nothing is read from it. */
    CHECK(ns_peer_address_read("2001:db8::0:0:1", false, &address));
    CHECK(!address.local && !address.loopback && address.uid == UINT32_MAX);
    CHECK(ns_peer_address_read("127.0.0.1", false, &address) && address.loopback);
    CHECK(ns_peer_address_read("::1", false, &address) && address.loopback);
    CHECK(!ns_peer_address_read(NULL, true, &address));
    CHECK(!address.local && !address.loopback);
}

static struct ns_peer *
local_hello(struct ns_peers *peers, uint32_t routing, uint32_t pid)
{
    struct ns_peer_address address = {
        .routing = routing, .fd = 500 + (int)routing, .local = true, .uid = getuid(), .pid = pid};
    struct ns_hello hello = {
        .protocol_max = 1, .pid = pid, .start_ticks = ns_process_start_ticks(pid)};
    struct ns_peer *peer = NULL;
    CHECK_INT(ns_peers_hello(peers, &address, &hello, 0, &peer), 0);
    return peer;
}

TEST(a_process_is_due_once_when_it_is_dead_and_its_connections_are_read)
{
    static const uint8_t key[16];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct ns_peers *peers = ns_peers_new(epoll_fd, 3, key);
    struct epoll_event event;
    struct ns_owner owner;
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    struct ns_peer *peer = local_hello(peers, 1, (uint32_t)child);
    CHECK(local_hello(peers, 2, (uint32_t)child)->process == peer->process);
    const struct ns_process *process = ns_peers_process(peers, peer);
    CHECK_INT(process->connections, 2);
    CHECK(process->executable[0] == '/' && process->name[0] != '\0');
    CHECK_INT(epoll_wait(epoll_fd, &event, 1, 0), 0);
    kill(child, SIGKILL);
    CHECK_INT(epoll_wait(epoll_fd, &event, 1, -1), 1);
    CHECK_INT(event.data.u64 >> 32, 3);
    ns_peers_died(peers, (uint32_t)event.data.u64, 1000);
    CHECK(!ns_peers_take_due(peers, 1000, &owner)); /* its last words may be on their way */
    ns_peers_disconnected(peers, 501);
    ns_peers_disconnected(peers, 502);
    CHECK(!ns_peers_take_due(peers, 1000, &owner)); /* and are not read yet */
    ns_peers_reap(peers, 1000);
    CHECK(ns_peers_take_due(peers, 1000, &owner));
    CHECK_INT(owner.a, child);
    CHECK(!ns_peers_take_due(peers, INT64_MAX - 1, &owner));
    CHECK_INT(ns_peers_process_count(peers), 0);
    CHECK_INT(ns_peers_count(peers), 0);
    waitpid(child, NULL, 0);
    ns_peers_free(peers);
    close(epoll_fd);
}

TEST(a_dead_process_whose_connection_a_child_keeps_is_due_after_a_grace)
{
    static const uint8_t key[16];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct ns_peers *peers = ns_peers_new(epoll_fd, 3, key);
    struct ns_owner owner;
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    struct ns_peer *peer = local_hello(peers, 1, (uint32_t)child);
    uint32_t place = peer->process;
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    ns_peers_died(peers, place, 1000);
    CHECK(!ns_peers_take_due(peers, 1000 + NS_PROCESS_GRACE_NS - 1, &owner));
    CHECK(ns_peers_take_due(peers, 1000 + NS_PROCESS_GRACE_NS, &owner));
    ns_peers_spoke_after_death(ns_peers_process(peers, peer), 5000);
    CHECK(ns_peers_take_due(peers, 5000 + NS_PROCESS_GRACE_NS, &owner));
    ns_peers_free(peers);
    close(epoll_fd);
}

static struct ns_peer *
remote_hello(struct ns_peers *peers, uint32_t routing, int fd, uint32_t pid)
{
    struct ns_peer_address address = {.routing = routing, .fd = fd, .uid = UINT32_MAX};
    struct ns_hello hello = {.protocol_max = 1, .pid = pid, .hostname = ns_text_of("elsewhere")};
    struct ns_peer *peer = NULL;
    CHECK_INT(ns_peers_hello(peers, &address, &hello, 0, &peer), 0);
    return peer;
}

TEST(a_connection_that_ended_before_its_hello_was_read_keeps_no_process_alive)
{
    static const uint8_t key[16];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct ns_peers *peers = ns_peers_new(epoll_fd, 3, key);
    struct ns_owner owner;
    ns_peers_disconnected(peers, 20);
    remote_hello(peers, 1, 20, 5);
    CHECK(ns_peers_find(peers, 0, 1) != NULL); /* until what it sent is read */
    ns_peers_reap(peers, 1000);
    CHECK(ns_peers_find(peers, 0, 1) == NULL);
    CHECK(ns_peers_take_due(peers, 1000 + NS_REMOTE_GRACE_NS, &owner));
    ns_peers_connected(peers, 20); /* the descriptor serves again */
    remote_hello(peers, 2, 20, 5);
    ns_peers_reap(peers, 1000);
    CHECK(ns_peers_find(peers, 0, 2) != NULL);
    CHECK(!ns_peers_take_due(peers, 1000 + NS_REMOTE_GRACE_NS, &owner));
    ns_peers_free(peers);
    close(epoll_fd);
}

TEST(of_two_connections_with_one_descriptor_the_younger_one_lives)
{
    static const uint8_t key[16];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t first = 0; first < 2; first++) { /* whichever hello is read first */
        struct ns_peers *peers = ns_peers_new(epoll_fd, 3, key);
        ns_peers_disconnected(peers, 20);
        ns_peers_connected(peers, 20);
        remote_hello(peers, UINT32_MAX + first, 20, 5 + first);
        remote_hello(peers, UINT32_MAX + 1 - first, 20, 6 - first);
        ns_peers_reap(peers, 1000);
        CHECK(ns_peers_find(peers, 0, UINT32_MAX) == NULL);
        CHECK(ns_peers_find(peers, 0, 0) != NULL);
        ns_peers_disconnected(peers, 20);
        ns_peers_reap(peers, 1000);
        CHECK_INT(ns_peers_count(peers), 0);
        ns_peers_free(peers);
    }
    close(epoll_fd);
}

TEST(an_owner_of_the_journal_is_watched_or_due_at_once)
{
    static const uint8_t key[16];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct ns_peers *peers = ns_peers_new(epoll_fd, 3, key);
    struct ns_owner owner;
    struct ns_owner mine =
        ns_peers_process(peers, local_hello(peers, 1, (uint32_t)getpid()))->owner;
    ns_peers_free(peers);
    peers = ns_peers_new(epoll_fd, 3, key);
    CHECK_INT(ns_peers_adopt(peers, &mine, 1000), 0);
    CHECK(!ns_peers_take_due(peers, INT64_MAX - 1, &owner));
    struct ns_owner reused = {mine.a, mine.b ^ 1}; /* the pid lives, another start time does not */
    CHECK_INT(ns_peers_adopt(peers, &reused, 1000), 0);
    CHECK(ns_peers_take_due(peers, 1000, &owner));
    CHECK(owner.b == reused.b);
    struct ns_owner remote = {NS_OWNER_REMOTE | 5, 6};
    CHECK_INT(ns_peers_adopt(peers, &remote, 1000), 0);
    CHECK(!ns_peers_take_due(peers, 1000 + NS_RESTART_GRACE_NS - 1, &owner));
    CHECK(ns_peers_take_due(peers, 1000 + NS_RESTART_GRACE_NS, &owner));
    ns_peers_free(peers);
    close(epoll_fd);
}

TEST(an_owner_that_proc_does_not_show_is_left_to_its_pidfd)
{
    static const uint8_t key[16];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct ns_peers *peers = ns_peers_new(epoll_fd, 3, key);
    struct epoll_event event;
    struct ns_owner owner;
    siginfo_t info;
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    /* A zombie has no start time for us, as a process of a /proc with hidepid has none. */
    REQUIRE(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0);
    struct ns_owner hidden = {(uint64_t)child, 7};
    CHECK_INT(ns_peers_adopt(peers, &hidden, 1000), 0);
    REQUIRE(!ns_peers_take_due(peers, INT64_MAX - 1, &owner));
    CHECK_INT(epoll_wait(epoll_fd, &event, 1, -1), 1);
    ns_peers_died(peers, (uint32_t)event.data.u64, 1000);
    CHECK(ns_peers_take_due(peers, 1000, &owner));
    waitpid(child, NULL, 0);
    CHECK_INT(ns_peers_adopt(peers, &hidden, 1000), 0); /* nor is it there at all now */
    CHECK(ns_peers_take_due(peers, 1000 + NS_PROCESS_GRACE_NS, &owner));
    ns_peers_free(peers);
    close(epoll_fd);
}

TEST(a_remote_process_lives_as_long_as_a_connection_of_it)
{
    REQUIRE(new_bench(&bench));
    struct ns_owner owner;
    struct ns_process *process = join(&bench, 5);
    int first = bench.from.peer->fd;
    check_call(&bench, 1, "acme");
    ns_gate_flush(bench.gate);
    CHECK(join(&bench, 5) == process);
    ns_peers_disconnected(bench.gate->peers, first);
    ns_peers_disconnected(bench.gate->peers, bench.from.peer->fd);
    ns_peers_reap(bench.gate->peers, 1000);
    CHECK(!ns_peers_take_due(bench.gate->peers, 1000 + NS_REMOTE_GRACE_NS - 1, &owner));
    join(&bench, 5); /* back in time */
    ns_gate_bury(bench.gate, INT64_MAX - 2);
    CHECK_INT(ns_ledger_open_holds(bench.gate->state.ledger), 1);
    ns_peers_disconnected(bench.gate->peers, bench.from.peer->fd);
    ns_peers_reap(bench.gate->peers, 1000);
    ns_gate_bury(bench.gate, 1000 + NS_REMOTE_GRACE_NS);
    CHECK_INT(ns_ledger_open_holds(bench.gate->state.ledger), 0);
    CHECK_INT(ns_calls_count(bench.gate->state.calls), 0);
    CHECK_INT(bench.gate->counters.lost, 1);
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(a_report_after_its_call_was_lost_corrects_it)
{
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    put_budget(&bench, 1, "customer:acme", CENT);
    check_call(&bench, 1, "acme");
    ns_gate_flush(bench.gate);
    ns_peers_disconnected(bench.gate->peers, bench.from.peer->fd);
    ns_peers_reap(bench.gate->peers, 1000);
    ns_gate_bury(bench.gate, 1000 + NS_REMOTE_GRACE_NS);
    CHECK_INT(bench.gate->counters.lost, 1);
    join(&bench, 6);
    report_call(&bench, 1, "acme", 50);
    CHECK_INT(bench.gate->counters.corrected, 1);
    report_call(&bench, 1, "acme", 50);
    CHECK_INT(bench.gate->counters.reports, 1);
    close_bench(&bench);
    remove_directory(bench.directory);
}

TEST(a_release_after_its_call_was_lost_takes_it_back)
{
    REQUIRE(new_bench(&bench));
    join(&bench, 5);
    check_call(&bench, 1, "acme");
    ns_gate_flush(bench.gate);
    ns_peers_disconnected(bench.gate->peers, bench.from.peer->fd);
    ns_peers_reap(bench.gate->peers, 1000);
    ns_gate_bury(bench.gate, 1000 + NS_REMOTE_GRACE_NS);
    CHECK_INT(bench.gate->counters.lost, 1);
    join(&bench, 6);
    struct ns_message message = {.kind = NS_MESSAGE_RELEASE};
    message.as.release.call_id = call_id(1);
    say(&bench, &message);
    CHECK_INT(bench.gate->counters.corrected, 1);
    CHECK_INT(bench.gate->record.type, NS_RECORD_RELEASE);
    CHECK(bench.gate->record.outcome.corrected);
    CHECK_INT(bench.gate->ack_count, 1);
    say(&bench, &message);
    CHECK_INT(bench.gate->counters.releases, 1);
    CHECK_INT(bench.gate->ack_count, 2);
    close_bench(&bench);
    REQUIRE(open_bench(&bench)); /* replays alike */
    close_bench(&bench);
    remove_directory(bench.directory);
}
