#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Go programs, governed by the agent: what crypto/tls writes and reads, by each toolchain that is
here, with symbols and without."""
import contextlib
import json
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import bpflab  # noqa: E402  pylint: disable=wrong-import-position
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import lab  # noqa: E402  pylint: disable=wrong-import-position
import messages  # noqa: E402  pylint: disable=wrong-import-position
import shimlab  # noqa: E402  pylint: disable=wrong-import-position
import toolchains  # noqa: E402  pylint: disable=wrong-import-position
from bpflab import agent  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, skip, test  # noqa: E402

shimlab.enter()

URL = f"https://{shimlab.HOST}/v1/chat/completions"
SOURCE = os.path.join(lab.ROOT, "tests", "programs", "go_client", "main.go")
BOTH = ["--protocols", "h2,http/1.1"]
VERSIONS = ("http1", "http2")
STRIPPED = ["-ldflags", "-s -w"]
# Linked by Go itself and by the system's linker, which puts its own code before Go's.
KINDS = {"static-stripped": (STRIPPED, False),
         "static": ([], False),
         "pie-stripped": (["-buildmode=pie", *STRIPPED], False),
         "cgo-stripped": (["-ldflags", "-s -w -linkmode=external"], True),
         "cgo-pie-stripped": (["-buildmode=pie", "-ldflags", "-s -w -linkmode=external"], True)}


def facilities():
    """What this machine has not is named, and skips the test."""
    bpflab.facilities()
    if not toolchains.go_toolchains():
        skip("go")


def built(kind="static-stripped", version=None):
    """The program, by the toolchain on the path if no other is named."""
    found = toolchains.go_toolchains()
    version = version or next(iter(found))
    flags, cgo = KINDS[kind]
    return toolchains.with_go(f"go-{version}-{kind}", SOURCE, found[version], flags, cgo)


class Client:
    """The Go program, which does what it is told."""

    def __init__(self, shim, program, version, *arguments, url=URL, **more):
        self.process = subprocess.Popen([program, version, url, *arguments],
                                        env=shim.environment(**more), text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)

    def do(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()

    def status(self, *words):
        said = self.do(*words)
        status = int(said[0]) if said else 0
        return status or self.process.communicate()[1]  # says why

    def end(self):
        _, errors = self.process.communicate(timeout=120)
        equal((self.process.returncode, errors), (0, ""), "end of the program")


@contextlib.contextmanager
def client(shim, program, version, *arguments, **more):
    started = Client(shim, program, version, *arguments, **more)
    try:
        yield started
        started.end()
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.process.wait()


@contextlib.contextmanager
def governed(program, version):
    """The program waits for its first command when the agent comes: files are found by what runs."""
    with shimlab.Shim(provider=BOTH) as shim, client(shim, program, version) as running, \
            agent(shim):
        yield shim, running


def tokens(told):
    return sorted(entry["usage"].get("output_tokens") for entry in told)


def is_governed(shim, running, version):
    """Allowed, denied and allowed again, on one connection whose start was seen."""
    checks, reports = len(shim.collector.of("CHECK")), len(shim.collector.of("REPORT"))
    shim.collector.rule = fake_collector.allow()
    equal(running.status("call", "gpt-4o-mini", "tokens=1000/50"), 200, "status")
    asked = shim.collector.wait("CHECK", checks + 1)[-1]
    equal((asked["requested_model"], asked["key_hint"]), ("gpt-4o-mini", shimlab.KEY[-4:]),
          "what was asked")
    told = shim.collector.wait("REPORT", reports + 1)[-1]
    equal((told["usage"].get("output_tokens"), told["http_status"], told["process"]),
          (50, 200, "program"), "report")
    shim.collector.rule = fake_collector.deny()
    status = running.status("call", "gpt-4o-mini", "tokens=1000/60")
    check(status in (400, 401), f"status {status} of a denied call")
    denied = shim.logged("request")[-1]
    equal(denied["model"], None, "model at the provider")
    if version == "http1":
        check(shimlab.KEY not in json.dumps(denied["headers"]), "the key left")
    shim.collector.rule = fake_collector.allow()
    equal(running.status("call", "gpt-4o-mini", "tokens=1000/70"), 200, "status of the next")
    told = shim.collector.wait("REPORT", reports + 3)[reports:]
    equal(tokens(entry for entry in told if entry["http_status"] == 200), [50, 70], "output tokens")
    equal(len(shim.collector.of("CHECK")), checks + 3, "what was asked")


@test
def programs_of_every_toolchain_are_governed_stripped_or_not():
    facilities()
    kinds = [kind for kind, (_, cgo) in KINDS.items() if not cgo or shutil.which("gcc")]
    for toolchain in toolchains.go_toolchains():
        with shimlab.Shim(provider=BOTH) as shim, contextlib.ExitStack() as all_of_them:
            clients = [(kind, version, all_of_them.enter_context(
                client(shim, built(kind, toolchain), version)))
                       for kind in kinds for version in VERSIONS]
            with agent(shim):
                for kind, version, running in clients:
                    print(f"# {toolchain} {kind} {version}", flush=True)
                    is_governed(shim, running, version)
            hello, = {entry["source"] for entry in shim.collector.of("HELLO")}
            equal(messages.word("source", hello), "ebpf", "source")


@test
def a_denied_call_whose_length_nobody_was_told_never_ends_for_the_provider():
    """Over HTTP/2 its body has left before its end, which comes in a frame without data."""
    facilities()
    with shimlab.Shim(provider=BOTH) as shim:
        running = Client(shim, built(), "http2")
        with agent(shim):
            equal(running.status("chunked", "gpt-4o-mini", "tokens=9/2"), 200, "status")
            shim.collector.rule = fake_collector.deny()
            equal(running.do("chunked", "gpt-4o-mini", "tokens=9/3"), ["0", "0"], "a denied call")
            shim.collector.rule = fake_collector.allow()
            equal(running.status("chunked", "gpt-4o-mini", "tokens=9/4"), 200, "status of the next")
            told = shim.collector.wait("REPORT", 2)
        errors = running.process.communicate(timeout=120)[1]
        equal(len(errors.splitlines()), 1, "errors that the program read: " + errors)
        equal(tokens(told), [2, 4], "output tokens")
        equal([entry["event"] for entry in shim.all_requests()
               if entry["event"] in ("request", "partial")], ["request", "partial", "request"],
              "requests, whole and not")


@test
def a_stream_is_reported_with_its_usage():
    facilities()
    for version in VERSIONS:
        with governed(built(), version) as (shim, running):
            equal(running.status("stream", "gpt-4o-mini", "tokens=70/30;events=50"), 200, "status")
            told, = shim.collector.wait("REPORT")
            equal((told["usage"].get("output_tokens"), messages.word("outcome", told["outcome"])),
                  (30, "ok"), "report")


@test
def a_connection_that_was_there_before_is_followed_from_its_next_request():
    """Its reader waits in Read when the agent comes, as net/http's always does: the whole answer is
    read by a call that nobody saw begin."""
    facilities()
    for toolchain in toolchains.go_toolchains():
        with shimlab.Shim(provider=BOTH) as shim, \
                client(shim, built(version=toolchain), "http1") as running:
            equal(running.status("call", "gpt-4o-mini", "tokens=9/1"), 200, "without the agent")
            with agent(shim):
                for count in (2, 3, 4):
                    equal(running.status("call", "gpt-4o-mini", f"tokens=9/{count}"), 200, "status")
                    told = shim.collector.wait("REPORT", count - 1)
                    equal(tokens(told), list(range(2, count + 1)), "output tokens")
                shim.collector.rule = fake_collector.deny()
                status = running.status("call", "gpt-4o-mini", "tokens=9/5")
                check(status in (400, 401), f"status {status} of a denied call")
                equal(len({entry["remote"] for entry in shim.logged("request")
                           if "remote" in entry} or {0}), 1, "connections")
                running.end()


@test
def large_requests_are_asked_for_once_and_denied():
    facilities()
    for version in VERSIONS:
        with governed(built(), version) as (shim, running):
            for number, count in enumerate((3000, 5000, 100_000), 1):
                shim.collector.rule = fake_collector.allow()
                equal(running.status("size", "gpt-4o-mini", "tokens=9/1", count), 200, "status")
                shim.collector.wait("REPORT", number)
                shim.collector.rule = fake_collector.deny()
                status = running.status("size", "gpt-4o-mini", "tokens=9/2", count)
                check(status in (400, 401), f"{version}: status {status} with {count} bytes")
                equal(len(shim.collector.of("CHECK")), 2 * number, "what was asked")


@test
def goroutines_at_once_are_told_apart_under_pressure():
    facilities()
    for version in VERSIONS:
        with governed(built(), version) as (shim, running):
            running.do("press")
            running.do("deepen")
            equal(running.status("many", 50), 50, "calls answered with 200")
            told = shim.collector.wait("REPORT", 50)
            equal(tokens(told), list(range(1, 51)), "output tokens")
            equal({messages.word("outcome", entry["outcome"]) for entry in told}, {"ok"},
                  "outcomes")


@test
def what_is_read_into_a_stack_that_moves_is_read_right():
    facilities()
    for toolchain in toolchains.go_toolchains():
        with governed(built(version=toolchain), "http1") as (shim, running):
            running.do("press")
            moved = 0
            for count in range(1, 21):
                said = running.do("raw", "gpt-4o-mini", f"tokens=9/{count};events=300")
                equal(said[0], "200", "status")
                moved += said[1] == "true"
            # Go's collector decides when; that it never does would make this a test of nothing.
            check(moved >= 10, f"in {moved} of 20 calls a stack has moved while it was read into")
            told = shim.collector.wait("REPORT", 20)
            equal(tokens(told), list(range(1, 21)), "output tokens")


@test
def a_provider_that_is_reached_by_its_address_is_known_by_the_host_in_the_request():
    facilities()
    with shimlab.Shim(provider=BOTH) as shim, \
            client(shim, built(), "http1", url="https://127.0.0.1/v1/chat/completions",
                   HOST_NAMED=shimlab.HOST) as running, agent(shim):
        equal(running.status("call", "gpt-4o-mini", "tokens=9/3"), 200, "status")
        told, = shim.collector.wait("REPORT")
        equal(told["usage"].get("output_tokens"), 3, "output tokens")
        shim.collector.rule = fake_collector.deny()
        status = running.status("call", "gpt-4o-mini", "tokens=9/5")
        check(status in (400, 401), f"status {status} of a denied call")
        running.end()


@test
def an_answer_that_is_given_up_is_reported():
    facilities()
    for version in VERSIONS:
        with governed(built(), version) as (shim, running):
            never = os.path.join(shim.directory, "never")
            equal(running.status("abandon", "gpt-4o-mini", f"tokens=9/4;wait={never}"), 200,
                  "status")
            told, = shim.collector.wait("REPORT")
            equal(messages.word("outcome", told["outcome"]), "cancelled", "outcome")


@contextlib.contextmanager
def server(shim, version):
    """A Go program that serves, and its port."""
    with client(shim, built(), version, shim.authority.certificate, shim.authority.key) as serving:
        port, = serving.do("serve")
        yield serving, port


@test
def a_server_of_calls_is_no_client():
    facilities()
    with shimlab.Shim(provider=BOTH) as shim, server(shim, "http2") as (serving, port), agent(shim):
        for count, version in enumerate(("--http1.1", "--http2"), 1):
            done = subprocess.run(["curl", "-sSk", version, "-d", '{"model": "gpt-4o-mini"}',
                                   "--connect-to", f"{shimlab.HOST}:443:localhost:{port}", URL],
                                  env=shim.environment(), text=True, stdout=subprocess.PIPE,
                                  timeout=120, check=False)
            equal(done.stdout, "served\n", "what the server says")
            shim.collector.wait("REPORT", count)
        serving.end()
        equal([entry["process"] for entry in shim.collector.of("REPORT")], ["curl", "curl"],
              "who calls")
        equal(len(shim.collector.of("CHECK")), 2, "what was asked")


@test
def a_connection_inside_another_is_told_apart_from_it():
    """By way of a proxy that is spoken to over TLS: the same goroutine reads from both at once."""
    facilities()
    for version in VERSIONS:
        with shimlab.Shim(provider=BOTH) as shim, server(shim, "http1") as (_, port), \
                client(shim, built(), version,
                       HTTPS_PROXY=f"https://localhost:{port}") as running, agent(shim):
            for count in range(1, 4):
                replay = f"tokens=9/{count};events=200"
                equal(running.status("stream", "gpt-4o-mini", replay), 200, "status")
                told = shim.collector.wait("REPORT", count)
                equal(tokens(told), list(range(1, count + 1)), "output tokens")
            equal({entry["process"] for entry in told}, {"program"}, "process")
            shim.collector.rule = fake_collector.deny()
            status = running.status("call", "gpt-4o-mini", "tokens=9/5")
            check(status in (400, 401), f"status {status} of a denied call")
            running.end()


if __name__ == "__main__":
    main()
