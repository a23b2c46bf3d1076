# SPDX-License-Identifier: Apache-2.0
"""The matrix of clients: a row is an unmodified client of a provider, driven through allowed, denied
and allowed again. Rows stand in tests/clients/*/rows.py, in a list ROWS.

A client is a program that makes one call for each line on its standard input, on the same client
object and so, where the client keeps connections, on the same connection, and prints one line for it:
    {"ok": "text of the answer"}
    {"error": "module.Type", "status": 402, "message": "..."}      (status null: the client tells none)
"error" is one of ANSWERS where the client raises nothing and the program reads the denial as it reads
any answer.
It sends the environment's REPLAY as its X-Replay header, by which the provider knows what to answer
and the matrix whose request it was.
"""
import dataclasses
import glob
import importlib.util
import json
import os
import signal
import subprocess
import threading
import time
import typing

import lab
from tap import Failure, check, equal

# What stands for an exception where the client raises none.
ANSWERS = ("HttpError", "status")

# A bound on hanging, not on speed.
HANGS_AFTER_S = 180

# What 1,000 input and 100 output tokens cost, in nano-dollars, and the output tokens. Ollama's is free.
COSTS = {"gpt-4o-mini": (210_000, 100), "text-embedding-3-small": (20_000, 0),
         "claude-sonnet-4-5": (4_500_000, 100), "gemini-2.5-flash": (550_000, 100),
         "mistral-small-2603": (210_000, 100), "command-a-03-2025": (3_500_000, 100),
         "anthropic.claude-sonnet-4-5-20250929-v1:0": (4_950_000, 100),
         "claude-sonnet-4-5-20250929": (4_950_000, 100), "amazon.nova-lite-v1:0": (84_000, 100),
         "gpt-oss:120b": (0, 100)}


@dataclasses.dataclass
class Row:
    """name: also the customer; no two are the same.
    runtime, package: as the document has them, with versions.
    command: returns the program and its arguments; installs what is missing.
    exception, status: what the program sees on denial; status None where the client tells none.
    keeps: the call after a denial comes on the connection that the denial came on.
    source: how its calls are governed, as nullspend.calls says: preload, detour.
    attempts: how often the client sends a call that is denied.
    sanitizes: it runs with a sanitizer's runtime preloaded; Debian's curl hangs in setlocale then.
    check: `make check` runs it, not `make clients` alone."""
    name: str
    runtime: str
    package: str
    command: typing.Callable
    model: str
    exception: str
    status: typing.Optional[int]
    protocol: str = "HTTP/1.1"
    streams: bool = False
    keeps: bool = True
    attempts: int = 1
    sanitizes: bool = True
    source: str = "preload"
    check: bool = False
    environment: dict = dataclasses.field(default_factory=dict)


def rows():
    """All rows, in the order of the document."""
    found = []
    for path in sorted(glob.glob(os.path.join(lab.ROOT, "tests/clients/*/rows.py"))):
        spec = importlib.util.spec_from_file_location("rows", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += module.ROWS
    names = [row.name for row in found]
    doubles = {name for name in names if names.count(name) > 1}
    if doubles:
        raise RuntimeError(f"rows of the same name: {doubles}")
    return found


class Driven:
    """A client process that makes a call for each line."""

    def __init__(self, laboratory, row):
        self.errors_path = os.path.join(laboratory.directory, f"client-{row.name}.stderr")
        governed = laboratory.governed if row.sanitizes else laboratory.governed_curl
        environment = governed(
            NULLSPEND_CUSTOMER=row.name, REPLAY="tokens=1000/100;row=" + row.name,
            NULLSPEND_LOG=os.path.join(laboratory.directory, f"client-{row.name}.log"),
            **row.environment)
        with open(self.errors_path, "ab") as errors:
            self.process = subprocess.Popen(row.command(), env=environment, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=errors, text=True,
                                            start_new_session=True)
        self.hung = threading.Event()

    def fail(self, what):
        self.kill()
        self.process.wait()
        with open(self.errors_path, encoding="utf-8", errors="replace") as errors:
            raise Failure(f"{what}; its standard error:\n{errors.read()[-4000:]}")

    def kill(self):
        """With what it started, which would hold its standard output open."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _end_by_force(self):
        self.hung.set()
        self.kill()

    def call(self):
        """Returns what the client says, and adds "seconds"."""
        watch = threading.Timer(HANGS_AFTER_S, self._end_by_force)
        watch.start()
        begun = time.monotonic()
        try:
            self.process.stdin.write("call\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watch.cancel()
        if not line:
            self.fail(f"the client hung for {HANGS_AFTER_S} s" if self.hung.is_set()
                      else "the client died")
        return dict(json.loads(line), seconds=time.monotonic() - begun)

    def end(self):
        self.process.stdin.close()
        try:
            code = self.process.wait(HANGS_AFTER_S)
        except subprocess.TimeoutExpired:
            self.fail("the client does not end")
        if code != 0:
            self.fail(f"exit status of the client is {code}")


def spent(row):
    """A limit that no call of the row fits in: nothing is left for calls that cost, and 0 denies those
    that do not."""
    return "0.000000001" if COSTS[row.model][0] else "0"


def budget(laboratory, row, limit):
    laboratory.cli("budget", "set", "customer:" + row.name, "--limit", limit, "--period", "total")


def expect_allowed(result, when):
    check("ok" in result, f"{when}: {result}")
    check(result["ok"], f"{when}: an empty answer")


def expect_denied(row, result, when):
    check("error" in result, f"{when}: not denied, but {result}")
    equal(result["error"], row.exception, f"{when}: exception ({result})")
    equal(result.get("status"), row.status, f"{when}: status ({result})")
    check("nullspend" in result["message"], f"{when}: no word of nullspend in {result}")


def reached(laboratory, row):
    """The provider's log of this row: its requests, whole ones and parts, without substitutes."""
    def mine(event):
        replay = next((value for name, value in event.get("headers", [])
                       if name.lower() == "x-replay"), "")
        return "row=" + row.name in replay.split(";")
    return [event for event in laboratory.provider_events() if mine(event)]


def drive(laboratory, row):
    """Takes a row through all of it; returns the time to a denial in seconds."""
    budget(laboratory, row, "100")
    driven = Driven(laboratory, row)
    expect_allowed(driven.call(), "the first call")
    budget(laboratory, row, spent(row))
    denied = [driven.call(), driven.call()]
    for result in denied:
        expect_denied(row, result, "denied on a connection in use")
    budget(laboratory, row, "100")
    expect_allowed(driven.call(), "after the budget was raised")
    driven.end()
    budget(laboratory, row, spent(row))
    fresh = Driven(laboratory, row)
    expect_denied(row, fresh.call(), "denied on a fresh connection")
    fresh.end()
    expect_at_provider(laboratory, row)
    expect_in_tables(laboratory, row)
    return min(result["seconds"] for result in denied)


def expect_at_provider(laboratory, row):
    events = reached(laboratory, row)
    # Some look a model up first, which is no call.
    whole = [event for event in events
             if event["event"] == "request" and event["method"] == "POST"]
    equal(len(whole), 2, "requests that reached the provider")
    equal({event["protocol"] for event in whole}, {row.protocol}, "protocol")
    bodies = [event for event in events if event["event"] == "partial" and event["body_bytes"]]
    equal(bodies, [], "requests of which a part of the body reached the provider")
    if row.protocol == "HTTP/1.1":
        equal([event for event in events if event["event"] == "partial"], [],
              "requests of which a part reached the provider")
    if row.keeps:
        equal(whole[0]["connection"], whole[1]["connection"],
              "connection of the call after the denials")
    if row.protocol == "HTTP/2":
        broken = [event for event in laboratory.provider_events()
                  if event["event"] == "broken" and event["connection"] in
                  [event["connection"] for event in events]]
        equal(broken, [], "breaches of HTTP/2")


def expect_in_tables(laboratory, row):
    cost, output = COSTS[row.model]
    calls = laboratory.sql(
        "select model, evidence, outcome, input_tokens, output_tokens, cost_nanousd, source, "
        f"streamed from nullspend.calls where customer = '{row.name}'")
    equal(calls, [[row.model, "reported", "ok", "1000", str(output), str(cost), row.source,
                   "t" if row.streams else "f"]] * 2, "rows of calls")
    denials = laboratory.sql("select reason, entity from nullspend.denials "
                             f"where customer = '{row.name}'")
    equal(denials, [["budget_exceeded", "customer:" + row.name]] * 3 * row.attempts,
          "rows of denials: one for each attempt")
    status = laboratory.sql("select (spent_usd * 1000000000)::bigint, held_usd = 0 from "
                            f"nullspend.budget_status where entity = 'customer:{row.name}'")
    equal(status, [[str(2 * cost), "t"]], "spent, and nothing held")
