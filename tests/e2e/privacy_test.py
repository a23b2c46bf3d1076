#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prompts, answers and keys stay in the process: a canary in each is searched for in everything
that leaves it: the bytes on the collector's socket, journal, database, spool and logs."""
import base64
import json
import os
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import lab
import tap
from tap import check, equal

PROMPT, ANSWER, KEY = "canaryprompt7291", "canaryanswer4417", "sk-canarykey8855-abcd"


class Tap:
    """Stands between a program and the collector, and keeps every byte."""

    def __init__(self, path, target):
        self.bytes = bytearray()
        self.target = target
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.target)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(source, sink), daemon=True).start()

    def pump(self, source, sink):
        while True:
            try:
                data = source.recv(65536)
                self.bytes += data
                sink.sendall(data)
            except OSError:
                data = b""
            if not data:
                sink.close()
                return


def forms(canary):
    """A text and how it could hide."""
    plain = canary.encode()
    yield plain
    for shift in range(3):
        yield base64.b64encode(b"\0" * shift + plain)[4 if shift else 0:-4]


def chat(laboratory, endpoint, stream, **more):
    body = {"model": "gpt-4o-mini", "max_tokens": 50, "stream": stream,
            "messages": [{"role": "user", "content": PROMPT}], "user": PROMPT}
    return laboratory.curl("https://api.openai.com/v1/chat/completions", "-H",
                           "X-Replay: say=" + ANSWER, "-H", "Authorization: Bearer " + KEY, "-d",
                           json.dumps(body), NULLSPEND_COLLECTOR=endpoint,
                           NULLSPEND_LOG=os.path.join(laboratory.directory, "shim.log"), **more)


def search(directory, needles):
    """(file, needle) wherever a needle stands in a file below directory."""
    found = []
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    data = file.read()
                found += [(path, n) for n in needles if n in data]
    return found


def main():
    lab.enter()
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        wire = os.path.join(laboratory.directory, "tap.sock")
        tapped = Tap(wire, laboratory.endpoint.removeprefix("ipc://"))

        @tap.test
        def content_and_credentials_stay_in_the_process():
            laboratory.cli("budget", "set", "customer:denied", "--limit", "0", "--period", "total")
            for stream in (False, True):
                done = chat(laboratory, "ipc://" + wire, stream, customer="quiet")
                check(ANSWER in done.stdout, done.stdout + done.stderr)
            denied = chat(laboratory, "ipc://" + wire, False, customer="denied")
            check("budget" in denied.stdout, denied.stdout + denied.stderr)
            away = chat(laboratory, f"ipc://{laboratory.directory}/away.sock", True,
                        customer="quiet")
            check(ANSWER in away.stdout, away.stdout + away.stderr)
            equal(laboratory.sql("select count(*) from nullspend.calls where customer = 'quiet' "
                                 "and key_hint = 'abcd'"), [["2"]], "calls seen through the tap")
            dump = subprocess.run([lab.program("nullspend"), "psql", "-XAtc",
                                   "select row_to_json(c) from nullspend.calls c"],
                                  env=laboratory.environment(), stdout=subprocess.PIPE, check=True)
            laboratory.stop_collector()
            os.remove(laboratory.provider_log)  # the provider may know
            check(len(tapped.bytes) > 500, "the tap saw nothing")
            needles = [form for canary in (PROMPT, ANSWER, KEY) for form in forms(canary)]
            equal([n for n in needles if n in tapped.bytes], [], "canaries on the socket")
            equal([n for n in needles if n in dump.stdout], [], "canaries in the database")
            equal(search(laboratory.directory, needles), [], "canaries in files")
            equal(bool(search(laboratory.directory, [b"gpt-4o-mini"])), True,
                  "the search finds what is there")

        tap.main()


if __name__ == "__main__":
    main()
