#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Governed calls amid storms of children, threads, signals and closed descriptors: each call is
asked for and answered, and whatever the storm consists of goes as it would without the library."""
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import harmlab  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, test  # noqa: E402


def storm(host, kind, count, threads, **more):
    """Returns how many calls and children there were."""
    done = host.run("storm", kind, count, threads, **more)
    numbers = re.fullmatch(r"calls (\d+), children (\d+), wrong 0\n", done.stdout)
    check(numbers and (done.returncode, done.stderr) == (0, ""), done)
    return int(numbers.group(1)), int(numbers.group(2))


def all_were_asked(host, calls):
    """Every call had its verdict and its report, and no question was given up."""
    asked = host.collector.of("CHECK")
    equal(len({check["call_id"] for check in asked}), calls, "calls that were asked for")
    told = host.collector.wait("REPORT", calls)
    equal(len(told), calls, "reports")
    equal({report["checked"] for report in told}, {True}, "reports of calls that had a verdict")
    counters = host.counters()
    equal((counters.get("calls_unasked", 0), counters.get("reports_spooled", 0)), (0, 0),
          "unasked calls and reports in the spool")


@test
def children_of_fork_go_their_way_amid_calls_in_threads():
    with harmlab.Host() as host:
        calls, children = storm(host, "fork", 400, 3)
        equal(children, 400, "children")
        # Every fourth child made a call on the connection that it inherited.
        all_were_asked(host, calls + 100)
        equal(len({report["pid"] for report in host.collector.of("REPORT")}), 101, "processes")


@test
def a_child_of_fork_tells_nothing_of_what_its_parent_has_still_to_tell():
    with harmlab.Host() as host:
        host.collector.acks = False
        # The parent ends without a word; the child waits for its acknowledgement, and spools.
        done = host.run("hardship", "call", "fork", "call", NULLSPEND_DEADLINE_MS=300)
        equal((done.returncode, done.stdout), (0, "answered\n" * 2), done.stderr)
        host.collector.acks = True
        done = host.run("hardship", "call")
        equal((done.returncode, done.stdout), (0, "answered\n"), done.stderr)
        parent, child, other = (c["call_id"] for c in host.collector.of("CHECK"))
        told = [report["call_id"] for report in host.collector.wait("REPORT", 4)]
        equal([told.count(call) for call in (parent, child, other)], [1, 2, 1], "times told")


@test
def children_of_vfork_go_their_way_amid_calls_in_threads():
    with harmlab.Host() as host:
        all_were_asked(host, storm(host, "vfork", 400, 3)[0])


@test
def spawned_programs_go_their_way_amid_calls_in_threads():
    with harmlab.Host() as host:
        all_were_asked(host, storm(host, "spawn", 200, 3)[0])


@test
def threads_come_make_a_call_and_go():
    with harmlab.Host() as host:
        all_were_asked(host, storm(host, "threads", 1000, 3)[0])
        peak = host.counters()
        check(peak.get("breaker_opened", 0) == 0, peak)


@test
def threads_are_cancelled_wherever_they_are():
    with harmlab.Host() as host:
        calls, _ = storm(host, "cancel", 600, 2)
        # Cancelled threads counted no call, but what they were allowed has an end.
        asked = {check["call_id"] for check in host.collector.of("CHECK")}
        check(len(asked) > calls, f"{len(asked)} asked, {calls} counted")
        equal(host.counters().get("calls_unasked", 0), 0, "unasked")
        # Nobody took a link with him: three threads call at a time.
        check(len(host.collector.of("HELLO")) <= 4, f"{len(host.collector.of('HELLO'))} links")


def slow_now_and_then():
    """Long enough for signals to come while a verdict is waited for."""
    turns = []

    def rule(asked):
        turns.append(asked["call_id"])
        if len(turns) % 20 == 0:
            time.sleep(0.02)
        return fake_collector.allow()(asked)
    return rule


def amid_signals(kind):
    with harmlab.Host() as host:
        host.collector.rule = slow_now_and_then()
        all_were_asked(host, storm(host, kind, 1500, 2)[0])


@test
def signals_that_restart_calls_are_not_noticed():
    amid_signals("restart")


@test
def signals_that_interrupt_calls_are_not_noticed():
    amid_signals("interrupt")


@test
def descriptors_that_the_program_closes_and_gives_away_are_left_alone():
    with harmlab.Host() as host:
        calls, _ = storm(host, "closefrom", 50, 0)
        asked = {check["call_id"] for check in host.collector.of("CHECK")}
        equal(len(asked), calls, "calls that were asked for")
        check(host.counters()["descriptors_stolen"] >= 50, host.counters())


if __name__ == "__main__":
    main()
