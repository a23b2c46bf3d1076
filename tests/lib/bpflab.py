# SPDX-License-Identifier: Apache-2.0
"""What tests of the agent share: the agent itself, and the state of processes that it stops.

    import bpflab
    with shimlab.Shim() as shim, bpflab.agent(shim):
        ...
"""
import contextlib
import json
import os
import signal
import subprocess
import time

import lab
from tap import check, equal, skip

AGENT = lab.program("nullspend-bpf")
# It ends with the test, however that ends, for it may stop processes.
AS_A_CHILD = ["setpriv", "--pdeathsig", "TERM", AGENT]
COMMAND = [*AS_A_CHILD, "--attach", "--this-network"]


def facilities(*wanted, use=None):
    """What the agent needs, or the test wants by name or by its use, and this machine has not, is
    named by it, and skips the test."""
    probed = subprocess.run([AGENT, "--probe", "--json"], stdout=subprocess.PIPE, check=False)
    for row in json.loads(probed.stdout):
        if (row["required"] or row["facility"] in wanted or use and use in row["use"]) and \
                not row["present"]:
            skip(row["facility"])


@contextlib.contextmanager
def agent(place, may_speak=False, how="--attach", **more):
    """The agent, ready; ended as it ends by itself. Its collector is that of a Shim or a Lab."""
    facilities()
    environment = {**os.environ, "NULLSPEND_COLLECTOR": place.endpoint,
                   "NULLSPEND_DEADLINE_MS": "30000", **more}
    process = subprocess.Popen([*AS_A_CHILD, how, "--this-network"], env=environment,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        check("ready" in line, f"the agent says {line!r}: " +
              (process.stderr.read() if not line else ""))
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    equal((process.returncode, "" if may_speak else errors), (0, ""), "end of the agent")


def state_of(process):
    with open(f"/proc/{process.pid}/stat", encoding="utf-8") as file:
        return file.read().rpartition(")")[2].split()[0]


def wait_until_stopped(process):
    """Returns whether it has stopped; it may end instead."""
    while process.poll() is None and state_of(process) != "T":
        time.sleep(0.01)
    return process.poll() is None
