# SPDX-License-Identifier: Apache-2.0
"""The replay provider's side of an HTTP/1.1 connection."""
import http.server
import ssl
import time
from email.utils import formatdate

import replies


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "replay"
    sys_version = ""

    def __init__(self, connection, peer, server, number):
        self.number = number
        super().__init__(connection, peer, server)

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass

    # --- input

    def read_chunked(self):
        """The body, and whether it is complete."""
        body = b""
        while True:
            line = self.rfile.readline(1024)
            if not line.endswith(b"\n"):
                return body, False
            size = int(line.split(b";")[0], 16)
            chunk = self.rfile.read(size + 2)
            body += chunk[:size]
            if len(chunk) < size + 2:
                return body, False
            if size == 0:
                return body, True

    def read_body(self):
        """The request's body, and whether it is complete: the connection may have ended first."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self.read_chunked()
        length = int(self.headers.get("Content-Length", 0))
        body = b""
        while len(body) < length:
            try:
                piece = self.rfile.read1(length - len(body))
            except (OSError, ssl.SSLError):
                return body, False
            if not piece:
                return body, False
            body += piece
        return body, True

    def log_request_line(self, complete, body):
        return self.server.log.request(
            complete, body, connection=self.number, protocol="HTTP/1.1",
            host=self.headers.get("Host", ""), method=self.command, path=self.path,
            headers=[[name, value] for name, value in self.headers.items()])

    # --- output

    def send_answer(self, answer, steering):
        while answer.pieces is None and replies.must_wait(steering):
            time.sleep(0.005)
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.pieces is not None:
            self.send_header("Transfer-Encoding", "chunked")
        if "close" in steering:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if answer.pieces is None:
            self.wfile.write(answer.body)
            return
        for number, piece in enumerate(answer.pieces):
            if number == int(steering.get("cut", -1)):
                self.close_connection = True
                self.connection.close()
                return
            while number == len(answer.pieces) - 1 and replies.must_wait(steering):
                time.sleep(0.005)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    # --- methods

    def do_POST(self):
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body, complete = self.read_body()
        parsed = self.log_request_line(complete, body)
        if not complete:
            self.close_connection = True
            return
        steering = replies.Steering(self.headers.get("X-Replay"))
        host = self.headers.get("Host", "").split(":")[0]
        self.send_answer(replies.post(host, self.path, parsed,
                                      self.headers.get("Accept-Encoding", ""), steering), steering)

    def do_GET(self):
        self.log_request_line(True, b"")
        steering = replies.Steering(self.headers.get("X-Replay"))
        self.send_answer(replies.json_answer(200, replies.MODELS,
                                             self.headers.get("Accept-Encoding", ""), steering),
                         steering)

    def do_OPTIONS(self):
        self.log_request_line(True, b"")
        self.send_response(204)
        self.send_header("Content-Length", "0")
        if self.headers.get("Connection", "").lower() == "close":
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()

    do_HEAD = do_OPTIONS

    def date_time_string(self, timestamp=None):
        return formatdate(timestamp, usegmt=True)
