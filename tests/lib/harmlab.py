# SPDX-License-Identifier: Apache-2.0
"""What tests of a host in a hard place share: a fake collector, and programs of tests/programs that
make governed calls over memory, so that no network is needed.

    with harmlab.Host() as host:
        done = host.run("storm", "fork", 100, 2)
        host.counters()                      # what the library counted in it
"""
import os
import shutil
import subprocess
import tempfile

import fake_collector
import lab

LIBRARY = lab.program("libnullspend.so")


def program(name):
    return lab.program("programs/" + name)


def counters(text):
    """Of the process that ended last."""
    lines = [line for line in text.splitlines() if " counters" in line]
    words = lines[-1].split(" counters")[1].split() if lines else []
    return {name: int(value) for name, value in (word.split("=") for word in words)}


class Host:
    """A fake collector, and the environment of programs that are governed by it."""

    def __init__(self, collector=True, **welcome):
        self.directory = tempfile.mkdtemp(prefix="nsharm")
        os.chmod(self.directory, 0o755)
        self.endpoint = f"ipc://{self.directory}/c.sock"
        self.log = os.path.join(self.directory, "shim.log")
        self.spool = os.path.join(self.directory, "spool")
        self.collector = fake_collector.FakeCollector(self.endpoint, **welcome)
        self.start_it = collector

    def __enter__(self):
        if self.start_it:
            self.collector.start()
        return self

    def __exit__(self, *_):
        self.collector.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def environment(self, governed=True, **more):
        """A deadline that only what hangs can miss; LD_PRELOAD_BEFORE and _AFTER stand around ours."""
        environment = dict(
            os.environ, NULLSPEND_COLLECTOR=self.endpoint, NULLSPEND_SPOOL_DIR=self.spool,
            NULLSPEND_LOG=self.log, NULLSPEND_DEADLINE_MS="60000", HOME=self.directory)
        environment.pop("LD_PRELOAD", None)
        if governed:
            environment.update(lab.preload_with_sanitizer(LIBRARY))
        before, after = more.pop("LD_PRELOAD_BEFORE", None), more.pop("LD_PRELOAD_AFTER", None)
        objects = [before, environment.get("LD_PRELOAD"), after]
        if any(objects):
            environment["LD_PRELOAD"] = ":".join(o for o in objects if o)
        environment.update({name: str(value) for name, value in more.items()})
        return environment

    def run(self, name, *arguments, wrapper=(), timeout=300, **more):
        """Runs a program of tests/programs, or of any path, behind a wrapper such as strace."""
        path = name if "/" in name else program(name)
        return subprocess.run([*wrapper, path, *map(str, arguments)],
                              env=self.environment(**more), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout, check=False)

    def log_text(self):
        if not os.path.exists(self.log):
            return ""
        return open(self.log, encoding="utf-8").read()

    def counters(self):
        return counters(self.log_text())
