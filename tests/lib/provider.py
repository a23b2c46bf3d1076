#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A TLS server that answers as OpenAI, Anthropic, Gemini, Mistral, Cohere and Bedrock do.

It serves the providers' real host names to unmodified clients inside a network namespace, and logs
every request that reached it whole, so that a test can tell what left a program and what did not.

usage: provider.py --cert FILE --key FILE [--address 127.0.0.1] [--port 443] [--log FILE]
                   [--ready-fd N] [--protocols h2,http/1.1] [--window BYTES] [--streams N]
                   [--head BYTES]

--protocols is what it offers by ALPN, the one it prefers first (default http/1.1; h2 wants
python3-h2). --window, --streams and --head are HTTP/2's SETTINGS_INITIAL_WINDOW_SIZE,
SETTINGS_MAX_CONCURRENT_STREAMS and SETTINGS_MAX_HEADER_LIST_SIZE.

The log has one JSON object a line, each with "event" and "connection" (a number):
    request, partial   protocol, host, method, path, headers, body_bytes, body_sha256, model, stream
                       (asked for); HTTP/2: stream_id. "partial" is a request whose connection or
                       stream ended before its body was complete.
    HTTP/2 alone:
    reset              stream_id, error_code: the client's RST_STREAM
    ping               the client's PING
    goaway             error_code: the client's GOAWAY
    broken             error: the client broke the protocol
    ended              the connection is over

A client steers an answer with a request header (SDKs: extra_headers / default_headers):
    X-Replay: tokens=IN/OUT    the usage that is reported (default: words of the prompt / 12)
    X-Replay: cached=N         of IN, read from the cache
    X-Replay: status=529       an error of that status in the provider's shape
    X-Replay: cut=K            a stream breaks off (connection closed; HTTP/2: stream reset) after
                               K events
    X-Replay: events=K         how many text events a stream has (default 4)
    X-Replay: say=WORD         the answer's text is this word, repeated
    X-Replay: wait=PATH        before the last event of a stream (or a plain answer) waits until
                               PATH exists
    X-Replay: encoding=CODING  gzip, deflate or identity instead of the client's first choice
    X-Replay: no-usage         leaves the usage out
    X-Replay: close            answers and closes the connection
HTTP/2 alone:
    X-Replay: reset=CODE       RST_STREAM with this code instead of an answer
    X-Replay: goaway           a GOAWAY before the answer; it closes when all streams are answered
    X-Replay: ping             a PING before the answer
    X-Replay: pad=N            N bytes of padding in each DATA
    X-Replay: trailers         a header block after the body
Several are joined with ";". Words that it does not know are for whoever reads the log.
"""
import argparse
import hashlib
import itertools
import json
import os
import socket
import socketserver
import ssl
import sys
import threading

import provider_http1


class Log:
    """A file of JSON lines that any thread may write."""

    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8") if path else None
        self.lock = threading.Lock()

    def write(self, **entry):
        if self.file:
            with self.lock:
                self.file.write(json.dumps(entry) + "\n")
                self.file.flush()

    def request(self, complete, body, **entry):
        """Returns the body's JSON value, None where it is none."""
        try:
            parsed = json.loads(body or b"null")
        except ValueError:
            parsed = None
        fields = parsed if isinstance(parsed, dict) else {}
        self.write(event="request" if complete else "partial", **entry, body_bytes=len(body),
                   body_sha256=hashlib.sha256(body).hexdigest(), model=fields.get("model"),
                   stream=bool(fields.get("stream")))
        return parsed


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self, address, context, log, options):
        super().__init__(address, None)
        self.context = context
        self.log = log
        self.options = options
        self.numbers = itertools.count(1)

    def get_request(self):
        connection, peer = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(connection, server_side=True,
                                        do_handshake_on_connect=False), peer

    def finish_request(self, request, client_address):
        """One connection, in a thread of its own."""
        number = next(self.numbers)
        request.settimeout(60)
        request.do_handshake()
        if request.selected_alpn_protocol() == "h2":
            import provider_http2  # pylint: disable=import-outside-toplevel
            provider_http2.serve(request, number, self.log, self.options)
        else:
            provider_http1.Handler(request, client_address, self, number)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (OSError, ssl.SSLError, ValueError)):
            super().handle_error(request, client_address)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=443)
    parser.add_argument("--log")
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--protocols", default="http/1.1")
    parser.add_argument("--window", type=int, default=65535)
    parser.add_argument("--head", type=int, default=65536)
    parser.add_argument("--streams", type=int, default=128)
    arguments = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.cert, arguments.key)
    context.set_alpn_protocols(arguments.protocols.split(","))
    server = Server((arguments.address, arguments.port), context, Log(arguments.log), arguments)
    if arguments.ready_fd is not None:
        os.write(arguments.ready_fd, b"ready\n")
        os.close(arguments.ready_fd)
    server.serve_forever()


if __name__ == "__main__":
    main()
