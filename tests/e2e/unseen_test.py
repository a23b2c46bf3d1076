#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Traffic to providers that is no call, or cannot be judged: it arrives as it was sent, or is denied
where the policy says so, and `nullspend status` tells the reason."""
import json
import os
import socket
import ssl
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import lab  # noqa: E402  pylint: disable=wrong-import-position
import shimlab  # noqa: E402  pylint: disable=wrong-import-position
import tap  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal  # noqa: E402

HOST = "api.openai.com"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
FRAMES = bytes(range(256)) * 300
UPGRADE = (b"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: api.openai.com\r\n"
           b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n")

# Each: what the program sends, what the server says when it has so many bytes, the reason.
ODD = {
    "connections_not_http": (b"\x00\x01 not of this kind" + FRAMES, 20, b"\xff\xfe neither\r\n\r\n"),
    "connections_upgraded": (UPGRADE + FRAMES, len(UPGRADE), SWITCHED + FRAMES),
    "connections_malformed": (POST + b"no colon here\r\n\r\n" + FRAMES, 20, b"HTTP/1.1 400 No\r\n\r\n"),
    "connections_too_large": (POST + b"X-Long: " + b"v" * 70000 + b"\r\n\r\n", 70000,
                              b"HTTP/1.1 431 No\r\nContent-Length: 0\r\n\r\n"),
    "connections_out_of_step": (b"", 0, b"HTTP/1.1 408 Too slow\r\nContent-Length: 0\r\n\r\n"),
    "connections_http2_unagreed": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + FRAMES, 20, FRAMES),
}

# Makes a call, so that it talks to the collector, where it is told to; then sends what comes by its
# input to the odd server, in two writes, and prints what that says. An upgrade waits for its answer.
CLIENT = """
import http.client, json, os, socket, ssl, sys
port, first, calls = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "calls"
data = sys.stdin.buffer.read()
if calls:
    c = http.client.HTTPSConnection("api.openai.com")
    c.request("POST", "/v1/chat/completions", json.dumps({"model": "gpt-4o-mini", "max_tokens": 5,
              "messages": []}), {"Content-Type": "application/json", "Authorization": "Bearer sk-1"})
    c.getresponse().read()
context = ssl.create_default_context()
s = context.wrap_socket(socket.create_connection(("api.openai.com", port)),
                        server_hostname="api.openai.com")
answer = b""
if first:
    s.sendall(data[:first])
if data[:4] == b"GET ":
    while b"\\r\\n\\r\\n" not in answer:
        answer += s.recv(65536)
if data[first:]:
    s.sendall(data[first:])
if not data:
    answer += s.recv(65536)
while True:
    piece = s.recv(65536)
    if not piece:
        break
    answer += piece
sys.stdout.buffer.write(answer)
"""


# Sends the same from itself and from two children.
FORKS = """
import os, socket, ssl, sys
data = sys.stdin.buffer.read()
def send():
    context = ssl.create_default_context()
    s = context.wrap_socket(socket.create_connection(("api.openai.com", int(sys.argv[1]))),
                            server_hostname="api.openai.com")
    s.sendall(data)
    while s.recv(65536):
        pass
send()
children = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        send()
        sys.exit(0)
    children.append(pid)
sys.exit(any(os.waitpid(pid, 0)[1] for pid in children))
"""


class OddServer:
    """A TLS server that says `answer` when it has `after` bytes, and closes when it has `whole`."""

    def __init__(self, authority, after, answer, whole, connections=1):
        self.connections = connections
        self.after, self.answer, self.whole = after, answer, whole
        self.received = b""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(authority.certificate, authority.key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def serve(self):
        for _ in range(self.connections):
            self.received = b""
            self.serve_one(self.listener.accept()[0])

    def serve_one(self, connection):
        with self.context.wrap_socket(connection, server_side=True) as secure:
            said = False
            while True:
                if not said and len(self.received) >= self.after:
                    secure.sendall(self.answer)
                    said = True
                if len(self.received) >= self.whole or self.received.startswith(b"OPTIONS "):
                    break
                piece = secure.recv(65536)
                if not piece:
                    break
                self.received += piece
            if self.received.startswith(b"OPTIONS ") and not said:
                secure.sendall(b"HTTP/1.1 405 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            secure.unwrap()


def run(laboratory, data, after, answer, calls=True, **more):
    """What the server had, and what the program read."""
    with OddServer(laboratory.authority, after, answer, len(data)) as server:
        first = len(UPGRADE) if data.startswith(UPGRADE) else len(data) // 2
        done = subprocess.run(
            [shimlab.PYTHON, "-c", CLIENT, str(server.port), str(first),
             "calls" if calls else "silent"], input=data, env=laboratory.governed(**more),
            capture_output=True, timeout=120, check=False)
        equal((done.returncode, done.stderr), (0, b""), "the program")
        server.thread.join(60)
    return server.received, done.stdout


def unseen(laboratory, member="passed"):
    return laboratory.json("status")[member]


def grows_by(laboratory, before, expected, member="passed"):
    """Waits until what was told has been read; the sums are then those before and these."""
    wanted = {**before, **{name: before.get(name, 0) + count for name, count in expected.items()}}
    laboratory.await_query("status", lambda status: status[member] == wanted)


def passes_and_is_shown(laboratory, reason):
    data, after, answer = ODD[reason]
    before = unseen(laboratory)
    received, read = run(laboratory, data, after, answer)
    equal(received, data, "bytes at the server")
    equal(read, answer, "bytes at the program")
    grows_by(laboratory, before, {reason: 1})


def passes_under_deny(laboratory, reason):
    data, after, answer = ODD[reason]
    before = unseen(laboratory, "denied_unjudged")
    received, read = run(laboratory, data, after, answer, NULLSPEND_ON_UNREACHABLE="deny")
    equal((received, read), (data, answer), "bytes at server and program")
    equal(unseen(laboratory, "denied_unjudged"), before, "denied")


def is_denied_under_deny(laboratory, reason, why):
    data, _, _ = ODD["connections_" + reason]
    before = unseen(laboratory, "denied_unjudged")
    received, read = run(laboratory, data, 1 << 30, b"", NULLSPEND_ON_UNREACHABLE="deny")
    equal(received.split(b"\r\n")[0], b"OPTIONS / HTTP/1.1", "what the server had")
    check(b"Authorization" not in received and b"no colon" not in received, received)
    head, _, body = read.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    equal(lines[0], "HTTP/1.1 402 Payment Required", "status")
    for line in ("X-NullSpend-Denied: 1", "X-NullSpend-Reason: unjudged", "connection: close"):
        check(line in lines, lines)
    error = json.loads(body)["error"]
    equal(error["code"], "project_spend_limit_exceeded", "code")
    check(why in error["message"], error["message"])
    grows_by(laboratory, before, {"denied_" + reason: 1}, "denied_unjudged")


def policy_of_a_budget(laboratory):
    """The process says nothing; a budget of the collector wants what cannot be judged denied."""
    laboratory.cli("budget", "set", "customer:careful", "--limit", "1", "--period", "day",
                   "--on-unreachable", "deny")
    is_denied = run(laboratory, ODD["connections_malformed"][0], 1 << 30, b"")[1]
    laboratory.cli("budget", "rm", "customer:careful")
    check(b"X-NullSpend-Reason: unjudged" in is_denied, is_denied)


def only_enforcing_denies(laboratory):
    data, after, answer = ODD["connections_malformed"]
    for mode in ("shadow", "observe"):
        received, read = run(laboratory, data, after, answer, NULLSPEND_ON_UNREACHABLE="deny",
                             NULLSPEND_MODE=mode)
        equal((received, read), (data, answer), mode)


def is_heard_of_at_its_end(laboratory):
    """A process that makes no call, and so never talked to the collector."""
    data, after, answer = ODD["connections_not_http"]
    before = unseen(laboratory)
    for _ in range(2):
        run(laboratory, data, after, answer, calls=False)
    grows_by(laboratory, before, {"connections_not_http": 2})


def ends_without_a_collector(laboratory):
    """Neither where none is, nor where one does not answer."""
    data, after, answer = ODD["connections_not_http"]
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(os.path.join(laboratory.directory, "deaf"))
        deaf.listen(8)
        for name in ("nobody", "deaf"):
            received, read = run(laboratory, data, after, answer, calls=False,
                                 NULLSPEND_COLLECTOR=f"ipc://{laboratory.directory}/{name}")
            equal((received, read), (data, answer), name)


def children_count_for_themselves(laboratory):
    """Two that were forked behind odd traffic, and have some of their own."""
    data, after, answer = ODD["connections_not_http"]
    before = unseen(laboratory)
    with OddServer(laboratory.authority, after, answer, len(data), connections=3) as server:
        done = subprocess.run([shimlab.PYTHON, "-c", FORKS, str(server.port)], input=data,
                              env=laboratory.governed(), capture_output=True, timeout=120,
                              check=False)
        equal((done.returncode, done.stderr), (0, b""), "the program")
    grows_by(laboratory, before, {"connections_not_http": 3})


def is_a_table(laboratory):
    text = laboratory.cli("status").stdout
    passed = laboratory.json("status")["passed"]
    check(passed, "nothing passed yet")
    for reason, count in passed.items():
        row, = [line for line in text.splitlines() if line.split()[:1] == [reason]]
        equal(row.split()[1], str(count), reason)
    check("\npassed unseen\n" in text, text)


def starts_with_nothing(laboratory):
    equal((unseen(laboratory), unseen(laboratory, "denied_unjudged")), ({}, {}), "sums")
    text = laboratory.cli("status").stdout
    check("\npassed unseen        nothing\ndenied unjudged      nothing\n" in text, text)


def main():
    shimlab.enter()
    with lab.Lab() as laboratory:
        laboratory.start_collector()

        @tap.test
        def a_collector_that_was_told_nothing_says_so():
            starts_with_nothing(laboratory)

        for reason in ODD:
            def passes(reason=reason):
                passes_and_is_shown(laboratory, reason)
            passes.__name__ = f"{reason}_pass_unchanged_and_status_shows_them"
            tap.test(passes)

        for reason in ("not_http", "upgraded", "out_of_step"):
            def odd(reason=reason):
                passes_under_deny(laboratory, "connections_" + reason)
            odd.__name__ = f"connections_{reason}_pass_under_the_policy_deny_too"
            tap.test(odd)

        for reason, why in (("malformed", "breaks the rules of HTTP"), ("too_large", "too long")):
            def denied(reason=reason, why=why):
                is_denied_under_deny(laboratory, reason, why)
            denied.__name__ = f"a_request_that_is_{reason}_is_denied_under_the_policy_deny"
            tap.test(denied)

        @tap.test
        def a_budget_s_policy_for_what_cannot_be_judged_is_kept():
            policy_of_a_budget(laboratory)

        @tap.test
        def shadow_and_observe_deny_nothing_that_cannot_be_judged():
            only_enforcing_denies(laboratory)

        @tap.test
        def a_process_that_never_called_is_heard_of_at_its_end():
            is_heard_of_at_its_end(laboratory)

        @tap.test
        def a_process_ends_as_ever_where_no_collector_hears_it():
            ends_without_a_collector(laboratory)

        @tap.test
        def children_of_fork_count_what_is_theirs():
            children_count_for_themselves(laboratory)

        @tap.test
        def status_shows_a_row_for_each_reason():
            is_a_table(laboratory)

        tap.main()


if __name__ == "__main__":
    main()
