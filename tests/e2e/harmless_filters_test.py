#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that put a filter on themselves which kills at whatever they do not need themselves: they
live as without the library, which asks as long as it may, and else follows the policy."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import harmlab  # noqa: E402  pylint: disable=wrong-import-position
from syscalls import numbers, traced  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, test  # noqa: E402

# What a link that is there takes.
LINK = {"sendmsg", "recvfrom", "sched_yield", "ppoll", "setsockopt", "fstat", "newfstatat", "futex"}
# And what telling the log at the end takes, so that a test sees the counters.
LOG = {"openat", "write", "fstat", "prlimit64", "close", "getpid"}
AFTER = ("call", "call", "new", "call", "fork", "call")


def names_to_list(names):
    return ",".join(str(number) for number in sorted(numbers(names).values()))


OWN = {}


def own(steps=AFTER, before=("call",)):
    """What the program itself needs behind a filter: nothing of what came before it."""
    if (before, steps) not in OWN:
        with harmlab.Host(collector=False) as host:
            everything = set(traced(host, *before, *steps, governed=False)) | {"prctl", "exit_group"}
            made = traced(host, *before, "only", names_to_list(everything), *steps, governed=False)
            last = len(made) - made[::-1].index("prctl")
            OWN[before, steps] = set(made[last:])
    return OWN[before, steps]


def filtered(kind, names, steps=AFTER, rule=None, **more):
    """What became of each call, and how many were asked for."""
    with harmlab.Host() as host:
        host.collector.rule = rule or host.collector.rule
        done = host.run("hardship", "call", kind, names_to_list(names), *steps, **more)
        equal((done.returncode, done.stderr), (0, ""), (kind, done.stdout))
        asked = len({c["call_id"] for c in host.collector.of("CHECK")})
        return done.stdout.split(), asked, host.counters()


@test
def the_filter_of_a_program_that_knows_nothing_of_us_is_as_strict_as_it_looks():
    missing = {"socket", "connect", "sendmsg", "recvfrom", "openat", "fstat", "getpid"} - own()
    check(len(missing) >= 6, f"the program itself needs so much that nothing is shown: {own()}")
    with harmlab.Host() as host:
        done = host.run("hardship", "only", names_to_list(own() | {"prctl"}), "call", "clearenv",
                        "chroot", "/", governed=False)
        equal(done.returncode, -31, "a call that is not its own")


@test
def where_nothing_of_ours_is_allowed_calls_follow_the_policy():
    for kind in ("only", "sync", "trap"):
        for policy, word in (("allow", "answered"), ("deny", "denied")):
            words, asked, _ = filtered(kind, own(), NULLSPEND_ON_UNREACHABLE=policy)
            equal(words, ["answered"] + [word] * 4, f"{kind}, {policy}")
            equal(asked, 1, f"{kind}, {policy}: asked")


@test
def where_links_are_allowed_calls_are_asked_for():
    for kind in ("only", "sync", "trap"):
        for fstat in ("fstat", "newfstatat"):
            names = own() | LINK | LOG
            names -= {"fstat", "newfstatat"} - {fstat}
            words, asked, counters = filtered(kind, names, steps=("call", "call", "new", "call"))
            equal((words, asked), (["answered"] * 4, 4), f"{kind}, {fstat}")
            equal(counters.get("calls_unasked", 0), 0, "unasked")
            equal(counters.get("descriptors_stolen", 0), 0, "links given up")


@test
def denials_come_through_a_filter_too():
    words, asked, _ = filtered("only", own() | LINK, steps=("call", "call"),
                               rule=fake_collector.deny())
    equal((words, asked), (["denied"] * 3, 3), "calls")


@test
def a_filter_that_comes_before_the_first_call_is_known_as_well():
    for policy, word in (("allow", "answered"), ("deny", "denied")):
        with harmlab.Host() as host:
            steps = ("call", "call")
            # Memory that the program needs itself is not always for the asking.
            names = own(steps, before=()) | {"brk", "mmap"}
            done = host.run("hardship", "only", names_to_list(names), *steps,
                            NULLSPEND_ON_UNREACHABLE=policy)
            equal((done.returncode, done.stdout.split()), (0, [word] * 2), policy)
            equal(host.collector.of("HELLO"), [], "hellos")


@test
def two_filters_forbid_what_either_does():
    with harmlab.Host() as host:
        names = own(("call",)) | LINK | {"prctl"}
        done = host.run("hardship", "call", "only", names_to_list(names), "call", "only",
                        names_to_list(names - {"sendmsg"}), "call", NULLSPEND_ON_UNREACHABLE="deny")
        equal((done.returncode, done.stdout.split()), (0, ["answered", "answered", "denied"]), "calls")


@test
def every_system_call_of_ours_may_be_the_one_that_kills():
    everything = own() | LINK | LOG | {
        "socket", "connect", "fcntl", "shutdown", "read", "readlink", "uname", "mmap", "munmap",
        "mremap", "madvise", "geteuid", "getrandom", "mkdir", "flock", "pwrite64", "ftruncate",
        "getdents64", "pread64", "unlinkat", "renameat"}
    for name in sorted(everything - own()):
        words, asked, _ = filtered("only", everything - {name})
        check(set(words) == {"answered"} and len(words) == 5, f"without {name}: {words}")
        # A link is opened anew only in the child; without what the old one needs, nobody is asked.
        check(asked in ((5, 4) if name not in LINK else (5, 4, 3, 2, 1)), f"without {name}: {asked}")


@test
def another_thread_s_filter_is_its_own_business():
    with harmlab.Host() as host:
        done = host.run("hardship", "call", "aside", names_to_list({"write", "read", "pause", "ppoll"}),
                        "call", "new", "call")
        equal((done.returncode, done.stdout.split()), (0, ["answered"] * 3), "calls")
        equal(len(host.collector.of("CHECK")), 3, "asked")


@test
def a_child_of_vfork_filters_itself_alone():
    with harmlab.Host() as host:
        done = host.run("hardship", "call", "spawned", names_to_list({"exit_group"}), "call")
        equal((done.returncode, done.stdout.split()), (0, ["answered"] * 2), "calls")
        equal(len(host.collector.of("CHECK")), 2, "asked")


if __name__ == "__main__":
    main()
