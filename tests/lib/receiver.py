# SPDX-License-Identifier: Apache-2.0
"""Receivers of events on loopback: an HTTP server and a mail server that keep what they are sent.

    with receiver.Http() as hook:
        hook.answer(500)                     # the next request's; 200 where nothing is said
        hook.url("/path")                    # http://127.0.0.1:PORT/path
        request = hook.take()                # .path .headers .body .json(); waits for one
        with hook.hanging(): ...             # requests that come meanwhile are not answered

    with receiver.Mail() as server:
        mail = server.take()                 # .sender .recipients .message
"""
import collections
import contextlib
import email
import email.policy
import http.server
import json
import queue
import socketserver
import ssl
import threading

import tap

Letter = collections.namedtuple("Letter", "sender recipients raw message")


class Request:
    def __init__(self, path, headers, body):
        self.path = path
        self.headers = headers
        self.body = body

    def json(self):
        return json.loads(self.body)


class Server:
    """What both have: a thread, a port, and a queue of what came."""

    def __init__(self, handler, context=None):
        class Threads(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
        self.came = queue.Queue()
        self.server = Threads(("127.0.0.1", 0), handler)
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.receiver = self
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self):
        return self.came.get(timeout=tap.HANGS_AFTER_S)

    def nothing_came(self):
        return self.came.empty()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class HttpHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver.came.put(Request(self.path, self.headers, body))
        receiver.may_answer.wait()
        try:
            status, headers, answer = receiver.answers.get_nowait()
        except queue.Empty:
            status, headers, answer = 200, {}, b"ok"
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        except OSError:
            receiver.cut.put(status)  # who asked has given up

    def log_message(self, *_):
        pass


class Http(Server):
    def __init__(self, certificate=None, key=None):
        context = None
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
        self.answers = queue.Queue()
        self.cut = queue.Queue()  # statuses of answers that were not read to their end
        self.may_answer = threading.Event()
        self.may_answer.set()
        super().__init__(HttpHandler, context)

    def url(self, path="/", host="127.0.0.1", scheme="http"):
        return f"{scheme}://{host}:{self.port}{path}"

    def answer(self, status, headers=None, body=b""):
        self.answers.put((status, headers or {}, body))

    @contextlib.contextmanager
    def hanging(self):
        self.may_answer.clear()
        try:
            yield
        finally:
            self.may_answer.set()


class MailHandler(socketserver.StreamRequestHandler):
    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def data(self):
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def handle(self):
        receiver = self.server.receiver
        sender, recipients = None, []
        self.say("220 receiver ESMTP")
        while line := self.rfile.readline():
            word = line.split(None, 1)[0].upper().decode() if line.strip() else ""
            if word == "EHLO":
                self.say("250 receiver")
            elif word == "MAIL":
                sender = line.decode().split("<")[1].split(">")[0]
                self.say("250 ok")
            elif word == "RCPT":
                recipients.append(line.decode().split("<")[1].split(">")[0])
                self.say(receiver.reply_to_recipients)
            elif word == "DATA":
                self.say("354 go on")
                raw = self.data()
                receiver.came.put(Letter(sender, recipients, raw, email.message_from_bytes(
                    raw, policy=email.policy.default)))
                self.say("250 kept")
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("502 what?")


class Mail(Server):
    def __init__(self):
        self.reply_to_recipients = "250 ok"
        super().__init__(MailHandler)

    def url(self):
        return f"smtp://127.0.0.1:{self.port}"
