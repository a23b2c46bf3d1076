# SPDX-License-Identifier: Apache-2.0
"""What tests of the agent share: the agent itself, its guard, programs that it governs.

    with shimlab.Shim() as shim, agentlab.Agent(shim, "--on-denial=kill") as agent:
        agent.guard()       # its pid
        agent.said()        # the next line on its standard error
"""
import json
import os
import select
import signal
import subprocess

import shimlab
from bpflab import COMMAND, facilities
from tap import HANGS_AFTER_S, await_that, check, equal

URL = f"https://{shimlab.HOST}/v1/chat/completions"
BOTH = ["--protocols", "h2,http/1.1"]


def field(pid, name):
    """Of /proc/PID/status; "" where the process is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(name + ":"):
                    return line.split(":", 1)[1].strip()
    except (FileNotFoundError, ProcessLookupError):
        pass
    return ""


def state_of(pid):
    """A letter: T is stopped, t stopped by a tracer."""
    return field(pid, "State")[:1]


def await_state(pid, letters):
    await_that(lambda: state_of(pid) in letters, f"process {pid} in state {letters}")


class Agent:
    """The agent, ready; ended as it ends by itself."""

    def __init__(self, shim, *options, command=(), may_speak=False, **environment):
        facilities()
        self.may_speak = may_speak
        self.ended = False
        self.process = subprocess.Popen(
            [*command, *COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "NULLSPEND_COLLECTOR": shim.endpoint,
                 "NULLSPEND_SPOOL_DIR": shim.spool, "NULLSPEND_DEADLINE_MS": "30000",
                 **environment})
        line = self.process.stdout.readline()
        check("ready" in line, f"the agent says {line!r}: " +
              (self.process.stderr.read() if not line else ""))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.ended:
            self.end()

    @property
    def pid(self):
        return self.process.pid

    def end(self, how=signal.SIGTERM, status=0):
        self.ended = True
        self.process.send_signal(how)
        _, errors = self.process.communicate(timeout=HANGS_AFTER_S)
        equal(self.process.returncode, status, "exit status of the agent; it said: " + errors)
        if not self.may_speak:
            equal(errors, "", "standard error of the agent")
        return errors

    def said(self):
        ready, _, _ = select.select([self.process.stderr], [], [], HANGS_AFTER_S)
        check(ready, "the agent says nothing")
        return self.process.stderr.readline()

    def guard(self, other_than=None):
        """The pid of its guard, once there is one (another one)."""
        found = []

        def look():
            with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as file:
                found[:] = [int(pid) for pid in file.read().split()
                            if field(pid, "Name") == "nullspend-guard" and int(pid) != other_than]
            return found

        await_that(look, "a guard")
        return found[0]


def body(**more):
    return json.dumps({"model": "gpt-4o-mini",
                       "messages": [{"role": "user", "content": "a secret"}], **more})


def curl_command(data, *headers, version="--http1.1"):
    command = ["curl", "-sS", version, "--max-time", "100", "-w", "%{http_code}", "-o", "/dev/null",
               "-H", f"Authorization: Bearer {shimlab.KEY}", "-H", "Content-Type: application/json",
               "-d", data, URL]
    for header in headers:
        command += ["-H", header]
    return command


def start_curl(shim, data=None, *headers, command=(), version="--http1.1", **environment):
    """A curl whose standard output is the status alone."""
    return subprocess.Popen([*command, *curl_command(data or body(), *headers, version=version)],
                            env=shim.environment(**environment), stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def status_of(client):
    out, errors = client.communicate(timeout=HANGS_AFTER_S)
    equal(client.returncode, 0, "exit status of the client: " + errors)
    return int(out)


def curl(shim, data=None, *headers, **more):
    return status_of(start_curl(shim, data, *headers, **more))
