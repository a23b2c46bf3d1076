#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that read by the record, as .NET's SslStream does: each record of the socket is given to
OpenSSL and read once, with as much room as the record had; then the next is waited for. What the
library puts in must reach them all the same, and hide nothing of what the server sent."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import shimlab  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, test  # noqa: E402

shimlab.enter()

H1 = ["--protocols", "http/1.1"]
H2 = ["--protocols", "h2"]
PATIENT = {"NULLSPEND_DEADLINE_MS": "30000"}
WORD = "w" * 399 + " "  # and its blank: 100 likely tokens an event

CLIENT = """
import json, socket, ssl, sys

class Records:
    def __init__(self, protocol):
        host = "api.openai.com"
        self.socket = socket.create_connection((host, 443), timeout=30)
        self.given, self.taken = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context()
        context.set_alpn_protocols([protocol])
        self.tls = context.wrap_bio(self.given, self.taken, server_hostname=host)
        while True:
            try:
                self.tls.do_handshake()
                self.flush()
                return
            except ssl.SSLWantReadError:
                self.flush()
                self.given.write(self.record())

    def flush(self):
        self.socket.sendall(self.taken.read())

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                return b""
            data += more
        return data

    def record(self):
        head = self.exactly(5)
        return head and head + self.exactly(int.from_bytes(head[3:], "big"))

    def write(self, data):
        self.tls.write(data)
        self.flush()

    def read(self):
        while True:
            record = self.record()
            if not record:
                return b""
            self.given.write(record)
            try:
                return self.tls.read(len(record))
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                return b""

def request(replay, stream, *lines):
    body = json.dumps({"model": "gpt-4o-mini", "stream": stream, "messages": []})
    return "\\r\\n".join(["POST /v1/chat/completions HTTP/1.1", "Host: api.openai.com",
                        "Content-Type: application/json", "X-Replay: " + replay,
                        f"Content-Length: {len(body)}", *lines, "", body]).encode()

def answer(connection):
    # Status and body of the next one.
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        more = connection.read()
        assert more, data
        data += more
    head, body = data.split(b"\\r\\n\\r\\n", 1)
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\\r\\n")[1:])
    chunked = b"transfer-encoding" in lines
    while not body.endswith(b"0\\r\\n\\r\\n") if chunked else \\
            len(body) < int(lines[b"content-length"]):
        more = connection.read()
        if not more:
            break
        body += more
    return int(head.split()[1]), body.decode()
"""

CLIENT_H2 = CLIENT + """
import h2.connection, h2.config, h2.events

class Streams:
    def __init__(self):
        self.connection = Records("h2")
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.status, self.body, self.ended = {}, {}, set()

    def ask(self, replay, stream=False, model="gpt-4o-mini"):
        body = json.dumps({"model": model, "stream": stream, "messages": []}).encode()
        number = self.h2.get_next_available_stream_id()
        self.h2.send_headers(number, [
            (":method", "POST"), (":scheme", "https"), (":authority", "api.openai.com"),
            (":path", "/v1/chat/completions"), ("content-type", "application/json"),
            ("content-length", str(len(body))), ("x-replay", replay)])
        self.h2.send_data(number, body, end_stream=True)
        self.connection.write(self.h2.data_to_send())
        return number

    def turn(self):
        data = self.connection.read()
        assert data, "the connection ended"
        for event in self.h2.receive_data(data):
            number = getattr(event, "stream_id", None)
            if isinstance(event, h2.events.ResponseReceived):
                self.status[number] = int(dict(event.headers)[":status"])
            elif isinstance(event, h2.events.DataReceived):
                self.body[number] = self.body.get(number, b"") + event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, number)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                self.ended.add(number)
        out = self.h2.data_to_send()
        if out:
            self.connection.write(out)

    def answer(self, number):
        while number not in self.ended:
            self.turn()
        return self.status[number], self.body[number].decode()
"""


def by_model(asked):
    """Denies one model."""
    denies = asked["requested_model"] == "gpt-4o"
    return (fake_collector.deny() if denies else fake_collector.allow())(asked)


def no_more(fields):
    if fields["top_up"] == 2:
        return fake_collector.deny(message="nullspend: no more; it ends here")(fields)
    return {"decision": "deny", "reason": "budget_exceeded"}


def said(done):
    check(done.returncode == 0, done.stderr)
    return json.loads(done.stdout)


@test
def a_denial_is_read_whole_and_the_connection_goes_on():
    code = CLIENT + """
connection = Records("http/1.1")
told = []
for i in range(6):
    connection.write(request(f"tokens=7{i}/30", i == 4))
    told.append(answer(connection))
print(json.dumps(told))
"""
    with shimlab.Shim(provider=H1) as shim:
        turns = iter([True, False, False, True, True, False])
        shim.collector.rule = lambda asked: \
            (fake_collector.allow() if next(turns) else fake_collector.deny())(asked)
        told = said(shim.python(code, **PATIENT))
        equal([status for status, _ in told], [200, 402, 402, 200, 200, 402], "statuses")
        for i in (1, 2, 5):
            check("customer:acme exhausted" in json.loads(told[i][1])["error"]["message"], told[i][1])
        equal([f'"prompt_tokens": 7{i}' in told[i][1] for i in (0, 3)], [True, True], "answers")
        check(told[4][1].endswith("data: [DONE]\n\n\r\n0\r\n\r\n"), told[4][1])
        equal(len({entry["connection"] for entry in shim.logged("request")}), 1, "connections")
        equal([entry["path"] for entry in shim.logged("request") if entry["method"] == "POST"],
              ["/v1/chat/completions"] * 3, "calls at the provider")


@test
def a_denial_on_a_fresh_connection_that_is_to_close_is_read_whole():
    code = CLIENT + """
connection = Records("http/1.1")
connection.write(request("tokens=70/30", False, "Connection: close"))
print(json.dumps([answer(connection), connection.read() == b""]))
"""
    with shimlab.Shim(provider=H1) as shim:
        shim.collector.rule = fake_collector.deny()
        (status, body), closed = said(shim.python(code, **PATIENT))
        equal((status, closed), (402, True), "status, and the end")
        check("customer:acme exhausted" in json.loads(body)["error"]["message"], body)


@test
def a_stream_is_denied_beside_others_and_they_go_on():
    code = CLIENT_H2 + """
streams = Streams()
first = streams.ask("tokens=70/30;events=40;pad=3", True)
denied = streams.ask("tokens=70/30", model="gpt-4o")
others = [streams.ask(f"tokens={i}/30;events=9", True) for i in range(8)]
told = [streams.answer(number) for number in (first, denied, *others)]
for model in ("gpt-4o-mini", "gpt-4o", "gpt-4o-mini"):
    told.append(streams.answer(streams.ask("tokens=71/30", model=model)))
print(json.dumps(told))
"""
    with shimlab.Shim(provider=H2) as shim:
        shim.collector.rule = by_model
        told = said(shim.python(code, **PATIENT))
        equal([status for status, _ in told], [200, 402] + 9 * [200] + [402, 200], "statuses")
        for _, body in (told[1], told[11]):
            check("customer:acme exhausted" in json.loads(body)["error"]["message"], body)
        for _, body in (told[0], *told[2:10]):
            check(body.endswith("data: [DONE]\n\n"), body)
        for _, body in (told[10], told[12]):
            check('"prompt_tokens": 71' in body, body)
        equal(shim.logged("broken"), [], "what the provider found")


@test
def the_words_that_cut_a_stream_are_read():
    h1 = CLIENT + """
print(json.dumps([(connection := Records("http/1.1")).write(request(replay, True)) or answer(connection)
                  for replay in sys.argv[1:]]))
"""
    h2 = CLIENT_H2 + """
streams = Streams()
print(json.dumps([streams.answer(streams.ask(replay, True)) for replay in sys.argv[1:]]))
"""
    for provider, code in ((H1, h1), (H2, h2)):
        with shimlab.Shim(provider=provider) as shim:
            shim.collector.rule = fake_collector.allow(output_tokens_held=400)
            shim.collector.more = no_more
            told = said(shim.python(code, *[f"events=2000;say={WORD}"] * 2, **PATIENT))
            for status, body in told:
                equal(status, 200, "status")
                check("it ends here" in body and "data: [DONE]\n\n" in body, body[-400:])
                check(body.count("data: ") < 2000, "not cut")


@test
def what_hides_the_usage_holds_nothing_back():
    h1 = CLIENT + """
connection = Records("http/1.1")
told = []
for replay in sys.argv[1:]:
    connection.write(request(replay, True))
    told.append(answer(connection))
print(json.dumps(told))
"""
    h2 = CLIENT_H2 + """
streams = Streams()
print(json.dumps([streams.answer(streams.ask(replay, True)) for replay in sys.argv[1:]]))
"""
    for provider, code in ((H1, h1), (H2, h2)):
        with shimlab.Shim(provider=provider) as shim:
            told = said(shim.python(code, *[f"tokens=70/30;events={count}" for count in (1, 9, 200)],
                                    NULLSPEND_INJECT_USAGE=1, **PATIENT))
            for status, body in told:
                equal(status, 200, "status")
                check("data: [DONE]" in body and '"usage": {' not in body, body[-400:])
            equal([report["usage"].get("output_tokens") for report in shim.collector.wait("REPORT", 3)],
                  [30, 30, 30], "output tokens")


if __name__ == "__main__":
    main()
