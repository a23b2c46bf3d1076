#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The replay provider itself, over HTTP/2: what other tests rely on. Nothing here is governed."""
import json
import os
import ssl
import socket
import sys

import h2.config
import h2.connection
import h2.events

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import lab
from tap import check, equal, main, test

HOST = "api.openai.com"
BODY = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}],
                   "stream": True, "stream_options": {"include_usage": True}}).encode()


class Client:
    """A connection on which a test opens streams as it likes."""

    def __init__(self, laboratory, protocols=("h2",)):
        context = ssl.create_default_context(cafile=laboratory.authority.ca)
        context.set_alpn_protocols(list(protocols))
        self.tls = context.wrap_socket(socket.create_connection((HOST, 443), timeout=30),
                                       server_hostname=HOST)
        self.events = []
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        if self.tls.selected_alpn_protocol() == "h2":
            self.http.initiate_connection()
            self.flush()

    def flush(self):
        self.tls.sendall(self.http.data_to_send())

    def open(self, stream, replay, body=BODY, ends=True):
        self.http.send_headers(stream, [
            (":method", "POST"), (":scheme", "https"), (":authority", HOST),
            (":path", "/v1/chat/completions"), ("content-type", "application/json"),
            ("x-replay", replay)])
        self.http.send_data(stream, body, end_stream=ends)
        self.flush()

    def until(self, holds):
        """Reads until holds(event) for one event; returns it."""
        while True:
            for event in self.events:
                if holds(event):
                    return event
            data = self.tls.recv(65536)
            if not data:
                raise RuntimeError(f"the provider closed; events: {self.events}")
            for event in self.http.receive_data(data):
                self.events.append(event)
                if isinstance(event, h2.events.DataReceived):
                    self.http.acknowledge_received_data(event.flow_controlled_length,
                                                        event.stream_id)
            self.flush()

    def ended(self, stream):
        return self.until(lambda e: isinstance(e, h2.events.StreamEnded) and e.stream_id == stream)

    def data(self, stream):
        return b"".join(e.data for e in self.events
                        if isinstance(e, h2.events.DataReceived) and e.stream_id == stream)


def events_of(laboratory, kind):
    return [e for e in laboratory.provider_events() if e["event"] == kind]


@test
def a_stream_that_waits_lets_others_pass():
    with lab.Lab(["--protocols", "h2"]) as laboratory:
        client = Client(laboratory)
        gate = os.path.join(laboratory.directory, "gate")
        client.open(1, f"events=3;wait={gate}")
        client.open(3, "events=3")
        client.ended(3)
        check(b"[DONE]" not in client.data(1), "the answer that waits ended")
        with open(gate, "w", encoding="ascii"):
            client.ended(1)
        check(client.data(1).endswith(b"data: [DONE]\n\n"), client.data(1))
        logged = events_of(laboratory, "request")
        equal([(e["stream_id"], e["protocol"], e["connection"]) for e in logged],
              [(1, "HTTP/2", 1), (3, "HTTP/2", 1)], "requests")
        equal(logged[0]["body_bytes"], len(BODY), "bytes of the body")


@test
def a_small_window_is_kept_and_given_back():
    with lab.Lab(["--protocols", "h2", "--window", "40"]) as laboratory:
        client = Client(laboratory)
        client.until(lambda e: isinstance(e, h2.events.RemoteSettingsChanged))
        client.http.send_headers(1, [(":method", "POST"), (":scheme", "https"),
                                     (":authority", HOST), (":path", "/v1/chat/completions")])
        rest = BODY
        while rest:
            room = client.http.local_flow_control_window(1)
            check(room <= 40, f"window of {room}")
            if room == 0:
                client.flush()
                client.events.clear()
                client.until(lambda e: isinstance(e, h2.events.WindowUpdated))
            client.http.send_data(1, rest[:room], end_stream=len(rest) <= room)
            rest = rest[room:]
        client.flush()
        client.ended(1)
        equal(events_of(laboratory, "request")[0]["body_bytes"], len(BODY), "bytes of the body")


@test
def resets_and_pings_are_logged_and_sent():
    with lab.Lab(["--protocols", "h2"]) as laboratory:
        client = Client(laboratory)
        client.open(1, "", BODY[:5], ends=False)
        client.http.reset_stream(1, 8)
        client.http.ping(b"12345678")
        client.flush()
        client.until(lambda e: isinstance(e, h2.events.PingAckReceived))
        partial, = events_of(laboratory, "partial")
        equal((partial["stream_id"], partial["body_bytes"]), (1, 5), "what came of the request")
        equal([(e["stream_id"], e["error_code"]) for e in events_of(laboratory, "reset")],
              [(1, 8)], "resets")
        equal(len(events_of(laboratory, "ping")), 1, "pings")
        client.open(3, "reset=7")
        reset = client.until(lambda e: isinstance(e, h2.events.StreamReset) and e.stream_id == 3)
        equal(int(reset.error_code), 7, "error code")
        client.open(5, "ping;pad=9;trailers;cut=99")
        client.until(lambda e: isinstance(e, h2.events.PingReceived))
        client.until(lambda e: isinstance(e, h2.events.TrailersReceived))
        client.ended(5)
        client.open(7, "cut=2")
        reset = client.until(lambda e: isinstance(e, h2.events.StreamReset) and e.stream_id == 7)
        check(b"[DONE]" not in client.data(7), "the stream that was cut ended")


@test
def a_goaway_lets_open_streams_end():
    with lab.Lab(["--protocols", "h2"]) as laboratory:
        client = Client(laboratory)
        client.open(1, "goaway")
        # python3-h2 takes no answers after a GOAWAY, so this reads the frames alone.
        frames = b"".join(iter(lambda: client.tls.recv(65536), b""))
        goaway = frames.index(b"\0\0\x08\x07\0")
        check(b"data: [DONE]\n\n" in frames[goaway:], frames)


@test
def the_protocol_is_the_clients_choice_where_both_are_offered():
    with lab.Lab(["--protocols", "h2,http/1.1"]) as laboratory:
        equal(Client(laboratory).tls.selected_alpn_protocol(), "h2")
        equal(Client(laboratory, ["http/1.1"]).tls.selected_alpn_protocol(), "http/1.1")
    with lab.Lab() as laboratory:
        equal(Client(laboratory, ["h2", "http/1.1"]).tls.selected_alpn_protocol(), "http/1.1")


if __name__ == "__main__":
    lab.enter()
    main()
