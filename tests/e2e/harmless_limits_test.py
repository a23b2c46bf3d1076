#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that run out of memory or descriptors, or take things away from themselves: their calls
go on as without the library, and are asked for again as soon as that is possible."""
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import harmlab  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, skip, test  # noqa: E402


def hardship(host, *steps, expected=0, **more):
    """What became of each call."""
    done = host.run("hardship", *steps, **more)
    equal((done.returncode, done.stderr), (expected, ""), " ".join(map(str, steps)))
    return done.stdout.split()


def asked(host):
    return len({check["call_id"] for check in host.collector.of("CHECK")})


def need_root(what):
    if os.geteuid() != 0:
        skip("root, to " + what)


@test
def without_memory_calls_end_one_way_or_another_and_are_governed_when_there_is_some():
    seen = set()
    for more_kib in (*range(0, 640, 32), 1024, 2048, 4096):
        with harmlab.Host() as host:
            words = hardship(host, "heap", "memory", more_kib, "call", "call", "room", "new", "call")
            seen.add(words[0])
            check(set(words[:2]) <= {"answered", "failed"}, words)
            equal(words[2], "answered", f"with room again, after {more_kib} KiB")
            check(host.collector.of("CHECK"), "nothing was asked for when there was room")
    equal(seen, {"answered", "failed"}, "the limits were all too high or all too low")


@test
def a_connection_of_before_goes_on_without_memory():
    with harmlab.Host() as host:
        words = hardship(host, "call", "memory", 0, *["call"] * 50, "room", "call")
        equal(words, ["answered"] * 52, "calls")
        equal(asked(host), 52, "asked")


@test
def without_a_descriptor_for_the_first_link_calls_pass_and_later_ones_are_asked_for():
    with harmlab.Host() as host:
        equal(hardship(host, "nofile", "call", "call", "files", "call"), ["answered"] * 3, "calls")
        equal(asked(host), 1, "asked")
        equal((host.counters()["calls_unasked"], host.counters().get("breaker_opened", 0)), (2, 0),
              "unasked, and the breaker")


@test
def settings_outlive_the_environment_they_came_from():
    with harmlab.Host() as host:
        words = hardship(host, "call", "scribble", "call", "clearenv", "call",
                         NULLSPEND_CUSTOMER="acme")
        equal(words, ["answered"] * 3, "calls")
        equal([check["customer"] for check in host.collector.of("CHECK")], ["acme"] * 3, "customer")


@test
def settings_are_those_that_the_program_was_started_with_where_none_is_left():
    for taken in ("scribble", "clearenv"):
        with harmlab.Host() as host:
            words = hardship(host, "late", taken, "new", "call", "fork", "call",
                             NULLSPEND_CUSTOMER="acme")
            equal(words, ["answered"] * 2, taken)
            equal([check["customer"] for check in host.collector.of("CHECK")], ["acme"] * 2, taken)


@test
def a_child_keeps_its_parent_s_settings_where_the_environment_has_none():
    for taken in ("scribble", "clearenv"):
        with harmlab.Host() as host:
            equal(hardship(host, "call", taken, "fork", "call", NULLSPEND_CUSTOMER="acme"),
                  ["answered"] * 2, taken)
            equal([check["customer"] for check in host.collector.of("CHECK")], ["acme"] * 2, taken)


@test
def in_another_root_the_link_goes_on_and_a_child_without_one_passes():
    need_root("change it")
    with harmlab.Host() as host, tempfile.TemporaryDirectory(prefix="nsroot") as root:
        words = hardship(host, "call", "chroot", root, "call", "new", "call", "fork", "call")
        equal(words, ["answered"] * 4, "calls")
        equal(asked(host), 3, "asked")
        # Where it can reach no collector it keeps its report where the path now leads.
        equal(len(os.listdir(root + host.spool)), 1, "spool files in the new root")


@test
def as_another_user_the_link_goes_on_and_a_child_without_one_follows_the_policy():
    need_root("become another user")
    for policy, word in (("allow", "answered"), ("deny", "denied")):
        with harmlab.Host() as host:
            os.chmod(host.directory, 0o700)
            words = hardship(host, "call", "setuid", 65534, "call", "fork", "call",
                             NULLSPEND_ON_UNREACHABLE=policy)
            equal(words, ["answered", "answered", word], policy)
            equal(asked(host), 2, "asked")


# --- stacks -----------------------------------------------------------------------------------------

STACK_MIN = 16384  # PTHREAD_STACK_MIN


def depths(host, stack_bytes, **more):
    done = host.run("depth", stack_bytes, 20, **more)
    numbers = re.fullmatch(r"handshake (\d+), calls (\d+)\n", done.stdout)
    check(numbers and (done.returncode, done.stderr) == (0, ""), done)
    return int(numbers.group(1)), int(numbers.group(2))


@test
def a_call_takes_no_more_stack_than_openssl_s_own_handshake():
    cases = {"asked": {}, "denied": {"rule": fake_collector.deny()},
             "alone": {"collector": False},
             "alone and denied": {"collector": False, "NULLSPEND_ON_UNREACHABLE": "deny"}}
    for name, more in cases.items():
        with harmlab.Host(collector=more.pop("collector", True)) as host:
            host.collector.rule = more.pop("rule", host.collector.rule)
            bare, _ = depths(host, 262144, governed=False)
            handshake, calls = depths(host, 262144, **more)
            print(f"# {name}: {handshake} and {calls} bytes; OpenSSL's handshake: {bare}", flush=True)
            check(max(handshake, calls) <= bare + 1024, f"{name}: {handshake}, {calls} of {bare}")


@test
def a_thread_with_the_smallest_stack_makes_calls():
    for rule in (fake_collector.allow(), fake_collector.deny()):
        with harmlab.Host() as host:
            host.collector.rule = rule
            depths(host, STACK_MIN)
            equal(asked(host), 21, "asked")


if __name__ == "__main__":
    main()
