# SPDX-License-Identifier: Apache-2.0
"""A TLS server in a thread of the test, whose streams come as the test says, piece by piece.

    with streamer.Streamer(authority, lambda request: streamer.chunked(events)) as server:
        ... https://api.openai.com:PORT, PORT = server.port ...
        server.requests[0].json         # what it was asked

An answer is bytes, or a list of them; a callable in the list is called before the rest is sent, so
that a test can hold a stream back. Where the answer says nothing of its length the connection is
closed behind it.
"""
import json
import socket
import ssl
import threading


class Request:
    def __init__(self, head, body):
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, self.version = lines[0].split(" ")
        self.lines = lines[1:]
        self.headers = {name.lower(): value.strip() for name, _, value in
                        (line.partition(":") for line in self.lines)}
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)


def head(*lines, status="200 OK", kind="text/event-stream"):
    return ("\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {kind}", *lines]) + "\r\n\r\n").encode()


def chunked(pieces, **more):
    """Each piece in a chunk of its own."""
    return [head("Transfer-Encoding: chunked", **more),
            *[piece if callable(piece) else b"%x\r\n%s\r\n" % (len(piece), piece)
              for piece in pieces], b"0\r\n\r\n"]


def measured(pieces, *lines, **more):
    total = sum(len(piece) for piece in pieces if not callable(piece))
    return [head(f"Content-Length: {total}", *lines, **more), *pieces]


def until_close(pieces, **more):
    return [head(**more), *pieces]


FRAMINGS = {"chunked": chunked, "length": measured, "close": until_close}


def sse(*events, line="\n"):
    """Server-sent events; one that is a tuple has a name."""
    texts = []
    for event in events:
        name, value = event if isinstance(event, tuple) else (None, event)
        text = value if isinstance(value, str) else json.dumps(value)
        texts.append(((f"event: {name}{line}" if name else "") + f"data: {text}{line}{line}").encode())
    return texts


class Streamer:
    def __init__(self, authority, answer):
        self.answer = answer
        self.requests = []
        self.gone = threading.Event()  # a client has left before its answer's end
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(authority.certificate, authority.key)
        self.context.set_alpn_protocols(["http/1.1"])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()
        return self

    def __exit__(self, *_):
        # The thread must be out of accept first: else it may take a connection of whoever gets the
        # descriptor's number next.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.acceptor.join()
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        try:
            with self.context.wrap_socket(connection, server_side=True) as secure:
                reader = secure.makefile("rb")
                while self.serve_one(secure, reader):
                    pass
        except (OSError, ssl.SSLError, ValueError):
            self.gone.set()

    def serve_one(self, secure, reader):
        text = b""
        while not text.endswith(b"\r\n\r\n"):
            line = reader.readline()
            if not line:
                return False
            text += line
        request = Request(text[:-4], b"")
        request.body = self.body(request, reader)
        if request.method == "OPTIONS":
            secure.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            return True
        self.requests.append(request)
        pieces = self.answer(request)
        for piece in [pieces] if isinstance(pieces, bytes) else pieces:
            if callable(piece):
                piece()
            else:
                secure.sendall(piece)
        first = pieces if isinstance(pieces, bytes) else pieces[0]
        return any(word in first for word in (b"Content-Length", b"chunked"))

    @staticmethod
    def body(request, reader):
        if "chunked" not in request.headers.get("transfer-encoding", ""):
            return reader.read(int(request.headers.get("content-length", 0)))
        body = b""
        while True:
            size = int(reader.readline().split(b";")[0], 16)
            data = reader.read(size)
            reader.readline()
            if size == 0:
                return body
            body += data
