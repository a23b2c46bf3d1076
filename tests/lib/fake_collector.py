# SPDX-License-Identifier: Apache-2.0
"""A collector for tests of the preload library: a libzmq ROUTER in a thread of the test.

    with fake_collector.FakeCollector("ipc:///tmp/x/c.sock") as collector:
        collector.rule = fake_collector.deny(reason="budget_exceeded", entity="customer:acme")
        ...
        collector.of("REPORT")          # fields of all reports so far, oldest first
        collector.wait("REPORT", 2)     # the same, once there are two

`rule` maps the fields of a CHECK to the fields of its VERDICT, or to None for silence; `more` does so
for a PROGRESS that asks for more than the hold covers. `deaf`
leaves everything unanswered, hellos included; `acks` False leaves reports unacknowledged.
"""
import os
import threading
import time

import zmq

import messages

HASH_KEY = bytes(range(16))


def allow(**more):
    return lambda check: dict({"decision": "allow", "reason": "none", "hold_nanousd": 1000}, **more)


def deny(**more):
    fields = {"decision": "deny", "reason": "budget_exceeded", "entity": "customer:acme",
              "message": "nullspend: budget customer:acme exhausted: $1.00 of $1.00; "
                         "request not sent"}
    fields.update(more)
    return lambda check: dict(fields, denial_id=messages.uuid7())


def silence(check):  # pylint: disable=unused-argument
    return None


class FakeCollector:
    def __init__(self, endpoint, **welcome):
        self.endpoint = endpoint
        self.welcome = dict({"protocol": 1, "collector": "fake", "refused": 0,
                             "hash_key": HASH_KEY, "deny_unreachable": False}, **welcome)
        self.rule = allow()
        self.more = silence
        self.acks = True
        self.deaf = False
        self.lock = threading.Condition()
        self.received = []
        self.raw = b""
        self.stopping = False
        self.context = zmq.Context()
        self.thread = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.stopping = False
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(self.endpoint)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def stop(self):
        """Goes away as a daemon that is killed: its connections break, its socket stays behind."""
        if self.thread:
            self.stopping = True
            self.thread.join()
            self.thread = None
            self.socket.close()
            path = self.endpoint[len("ipc://"):]
            if self.endpoint.startswith("ipc://") and os.path.exists(path):
                os.unlink(path)

    def run(self):
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        while not self.stopping:
            if not poller.poll(20):
                continue
            peer, data = self.socket.recv_multipart()[:2]
            kind, fields = messages.decode(data)
            with self.lock:
                self.received.append((kind, fields))
                self.raw += data
                self.lock.notify_all()
            if self.deaf:
                continue
            answer = self.answer(kind, fields)
            if answer is not None:
                self.socket.send_multipart([peer, answer])

    def answer(self, kind, fields):
        if kind == "HELLO":
            return messages.encode("WELCOME", instance=b"1" * 16, **self.welcome)
        if kind == "CHECK":
            verdict = self.rule(fields)
            if verdict is not None:
                return messages.encode("VERDICT", call_id=fields["call_id"],
                                       **dict({"hold_nanousd": 0}, **verdict))
        if kind == "PROGRESS" and fields.get("top_up"):
            verdict = self.more(fields)
            if verdict is not None:
                return messages.encode("VERDICT", call_id=fields["call_id"],
                                       **dict({"hold_nanousd": 0}, **verdict))
        if kind in ("REPORT", "RELEASE") and self.acks:
            return messages.encode("ACK", call_id=fields["call_id"],
                                   kind=messages.KINDS.index(kind) + 1)
        return None

    def of(self, kind):
        with self.lock:
            return [fields for name, fields in self.received if name == kind]

    def wait(self, kind, count=1, deadline_s=20):
        end = time.monotonic() + deadline_s
        with self.lock:
            while True:
                found = [fields for name, fields in self.received if name == kind]
                if len(found) >= count:
                    return found
                if not self.lock.wait(end - time.monotonic()):
                    raise AssertionError(f"{len(found)} {kind} in {deadline_s} s, not {count}")

    def forget(self):
        with self.lock:
            self.received.clear()
