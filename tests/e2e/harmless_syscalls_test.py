#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The library makes the system calls that docs/syscalls.md lists, and no others: filters may kill."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import harmlab  # noqa: E402  pylint: disable=wrong-import-position
import lab  # noqa: E402  pylint: disable=wrong-import-position
from syscalls import numbers, traced  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, test  # noqa: E402

# Not seen in every run: waits for other threads, and for a deadline; what is done about damage, and
# in place of what is forbidden.
SELDOM = {"futex", "ppoll", "sched_yield", "renameat", "ftruncate", "mremap", "newfstatat"}


def listed():
    with open(os.path.join(lab.ROOT, "docs/syscalls.md"), encoding="utf-8") as file:
        rows = [line.split("|")[1] for line in file if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def lives(**more):
    """What a governed process does in its lives: with a collector, denied, alone, and back again."""
    steps = ("call", "new", "call", "fork", "call")
    with harmlab.Host(collector=False) as host:
        bare = set(traced(host, *steps, governed=False))
        governed = set(traced(host, *steps, **more))
        host.collector.start()
        governed |= set(traced(host, *steps, **more))
        host.collector.rule = fake_collector.deny()
        governed |= set(traced(host, *steps, **more))
        host.collector.rule = fake_collector.silence
        governed |= set(traced(host, "call", **{"NULLSPEND_DEADLINE_MS": 30, **more}))
    return bare, governed


@test
def what_it_makes_is_listed_and_what_is_listed_it_makes():
    bare, governed = lives()
    equal(governed - bare - listed(), set(), "system calls that docs/syscalls.md does not list")
    made = {name for name in listed() if name in numbers(listed())}
    equal(made - governed - SELDOM - {"open"}, set(), "listed, and not made")


@test
def a_filter_that_allows_the_program_s_own_and_the_list_kills_nobody():
    bare, _ = lives()
    # What only the sanitizer of a test build, or libc in a rarer turn, would want is not allowed.
    own = bare | {"exit_group", "exit", "rt_sigreturn", "restart_syscall"}
    allowed = ",".join(str(number) for number in sorted(numbers(own | listed()).values()))
    for rule, policy in ((fake_collector.allow(), "allow"), (fake_collector.deny(), "allow"),
                         (None, "allow"), (None, "deny")):
        with harmlab.Host(collector=rule is not None) as host:
            host.collector.rule = rule
            done = host.run("hardship", "unseen", allowed, "call", "call", "new", "call", "fork", "call",
                            NULLSPEND_ON_UNREACHABLE=policy)
            word = "answered" if policy == "allow" and (rule is None or "deny" not in
                                                        rule.__qualname__) else "denied"
            equal((done.returncode, done.stdout.split(), done.stderr), (0, [word] * 4, ""), policy)


@test
def without_the_list_the_filter_would_have_killed():
    bare, _ = lives()
    allowed = ",".join(str(number) for number in sorted(numbers(bare | {"exit_group"}).values()))
    with harmlab.Host() as host:
        done = host.run("hardship", "unseen", allowed, "call")
        check(done.returncode == -31, f"exit status {done.returncode}: the filter does not bite")


if __name__ == "__main__":
    main()
