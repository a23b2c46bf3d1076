#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The library beside others that get into programs: allocators, false clocks, debuggers, tracers,
profilers, sanitizers. All calls are asked for and answered, and none notices another."""
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import harmlab  # noqa: E402  pylint: disable=wrong-import-position
import lab  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, skip, test  # noqa: E402

CALLS = ["call"] * 5 + ["fork", "call"]


def found(*paths):
    for path in paths:
        if os.path.exists(path):
            return path
    return skip(os.path.basename(paths[0]))


def library(name):
    return found(*(f"{directory}/{name}" for directory in
                   ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib")))


def company(wrapper=(), quiet=True, **more):
    """Five calls and one in a child, in this company; returns what the program printed beside."""
    with harmlab.Host() as host:
        done = host.run("hardship", *CALLS, wrapper=wrapper, **more)
        equal(re.findall(r"^(?:answered|denied|failed)$", done.stdout, flags=re.M),
              ["answered"] * 6, done)
        equal(done.returncode, 0, done.stderr)
        check(not quiet or done.stderr == "", done.stderr)
        equal(len({c["call_id"] for c in host.collector.of("CHECK")}), 6, "calls asked for")
        told = host.collector.wait("REPORT", 6)
        # Money is dated by the real clock, whatever the program believes.
        for report in told:
            check(abs(report["started_at_ns"] / 1e9 - time.time()) < 600, report["started_at_ns"])
        return done


# --- preloaded together -----------------------------------------------------------------------------


@test
def jemalloc_before_and_behind():
    jemalloc = library("libjemalloc.so.2")
    for place in ("LD_PRELOAD_BEFORE", "LD_PRELOAD_AFTER"):
        company(**{place: jemalloc})


SYSCALL = """
#include <errno.h>
long syscall(long number, ...) { if (number == 123456) return 7; errno = ENOSYS; return -1; }
int prctl(int option, ...) { return option == 123456 ? 8 : -1; }
"""


@test
def who_comes_next_with_a_name_of_ours_is_asked():
    with harmlab.Host() as host:
        source = os.path.join(host.directory, "syscall.c")
        with open(source, "w", encoding="utf-8") as file:
            file.write(SYSCALL)
        subprocess.run(["gcc", "-shared", "-fPIC", "-fno-builtin", "-w", "-o", source + ".so", source],
                       check=True)
        libc = "__import__('ctypes').CDLL(None)"
        done = subprocess.run(
            ["/usr/bin/python3", "-c", f"print({libc}.syscall(123456), {libc}.prctl(123456))"],
            env={**os.environ, "LD_PRELOAD": f"{harmlab.LIBRARY}:{source}.so"},
            stdout=subprocess.PIPE, text=True, check=True)
        equal(done.stdout, "7 8\n", "answers of the next library")


FALSE_CLOCKS = ["2001-02-03 04:05:06",  # stands still
                "@2040-01-01 00:00:00", "+0 x100", "+0 x0.01"]


@test
def a_false_clock_before_and_behind():
    faketime = library("faketime/libfaketime.so.1")
    for clock in FALSE_CLOCKS:
        for place in ("LD_PRELOAD_BEFORE", "LD_PRELOAD_AFTER"):
            company(**{place: faketime, "FAKETIME": clock})


@test
def under_a_false_clock_a_deadline_is_as_long_as_it_says():
    faketime = library("faketime/libfaketime.so.1")
    for clock in FALSE_CLOCKS:
        with harmlab.Host() as host:
            host.collector.rule = fake_collector.silence
            before = os.times()
            begin = time.monotonic()
            done = host.run("hardship", "call", LD_PRELOAD_AFTER=faketime, FAKETIME=clock,
                            NULLSPEND_DEADLINE_MS=400, timeout=60)
            took = time.monotonic() - begin
            after = os.times()
            equal(done.stdout, "answered\n", done.stderr)
            equal(host.counters()["calls_unasked"], 1, "unasked")
            check(took >= 0.4, f"{clock}: gave up after {took} s")
            spent = sum(after[2:4]) - sum(before[2:4])
            check(spent < took, f"{clock}: {spent} s of processor in {took} s")


# --- watched ----------------------------------------------------------------------------------------


@test
def strace_follows():
    found("/usr/bin/strace")
    company(wrapper=["strace", "-f", "-o", "/dev/null"])


@test
def gdb_runs_the_program():
    found("/usr/bin/gdb")
    # The library is for the program alone, not for gdb or its shell.
    with harmlab.Host() as host:
        environment = host.environment()
        settings = [word for name, value in environment.items()
                    if name == "LD_PRELOAD" or name.startswith("NULLSPEND_")
                    for word in ("-ex", f"set environment {name} {value}")]
        done = subprocess.run(["gdb", "-batch", "-nx", *settings, "-ex", "set startup-with-shell off",
                               "-ex", "set breakpoint pending on", "-ex", "break SSL_free", "-ex", "run", "-ex", "backtrace", "-ex",
                               "delete", "-ex", "continue", "--args", harmlab.program("hardship"),
                               *["call"] * 5],
                              env=host.environment(governed=False), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=120, check=False)
        equal(len(re.findall("^answered$", done.stdout, flags=re.M)), 5, done)
        check("#1" in done.stdout, done)
        check("exited normally" in done.stdout, done)
        equal(len(host.collector.of("CHECK")), 5, "calls asked for")


@test
def gdb_attaches_and_leaves():
    found("/usr/bin/gdb")
    with harmlab.Host() as host:
        process = subprocess.Popen([harmlab.program("hardship"), "call", "wait", "call", "wait",
                                    "call"], env=host.environment(), stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)
        equal(process.stdout.readline(), "answered\n", "first")
        done = subprocess.run(["gdb", "-batch", "-nx", "-p", str(process.pid), "-ex", "backtrace",
                               "-ex", "detach"], capture_output=True, text=True, timeout=120,
                              stdin=subprocess.DEVNULL, check=False)
        if "not permitted" in done.stderr:
            process.communicate("\n\n")
            skip("ptrace of another process")
        process.stdin.write("\n")
        process.stdin.flush()
        equal(process.stdout.readline(), "answered\n", "second")
        equal(process.communicate("\n", timeout=60)[0], "answered\n", "third")
        equal(len(host.collector.of("CHECK")), 3, "calls asked for")


@test
def perf_records():
    if shutil.which("perf") is None or subprocess.run(
            ["perf", "record", "-o", "/dev/null", "true"], capture_output=True,
            check=False).returncode != 0:
        skip("perf events")
    done = company(wrapper=["perf", "record", "-q", "-o", "/dev/null", "-g"], quiet=False)
    check("error" not in done.stderr.lower(), done.stderr)


# --- programs that were built with a sanitizer ------------------------------------------------------


def sanitized(host, sanitizer, compiler, *flags):
    """tests/programs/storm, built so, links nothing of the library."""
    target = os.path.join(host.directory, "storm")
    done = subprocess.run([compiler, "-std=c17", "-D_GNU_SOURCE", "-g", "-O1", "-I", lab.ROOT,
                           "-fsanitize=" + sanitizer, *flags,
                           os.path.join(lab.ROOT, "tests/programs/storm.c"), "-o", target,
                           "-lssl", "-lcrypto", "-lpthread"], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        skip(f"{compiler} -fsanitize={sanitizer}")
    return target


def under(sanitizer, compiler, *flags, kinds=("threads", "fork"), options="", wrapper=()):
    with harmlab.Host() as host:
        target = sanitized(host, sanitizer, compiler, *flags)
        for kind in kinds:
            done = host.run(target, kind, 40, 2, wrapper=wrapper,
                            **{options.split("=", 1)[0] or "X": options.partition("=")[2]})
            check(done.returncode == 0 and "wrong 0" in done.stdout and done.stderr == "", done)
        equal(host.counters().get("calls_unasked", 0), 0, "unasked")


@test
def a_program_with_the_address_sanitizer_is_governed():
    under("address", "gcc", "-static-libasan")
    # A runtime that is a library of its own wants to be the first of all, and can be told not to.
    under("address", "gcc", options="ASAN_OPTIONS=verify_asan_link_order=0")


@test
def a_program_with_the_undefined_behaviour_sanitizer_is_governed():
    under("undefined", "gcc", "-fno-sanitize-recover=all")


@test
def a_program_with_the_thread_sanitizer_is_governed():
    # Threads of OpenSSL's own making are none of the sanitizer's: it sees its accesses, not its locks.
    under("thread", "gcc", kinds=("threads",), wrapper=["setarch", "-R"],
          options="TSAN_OPTIONS=ignore_noninstrumented_modules=1")


if __name__ == "__main__":
    main()
