#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A TLS server that answers as OpenAI, Anthropic and Gemini do.

It serves the providers' real host names to unmodified clients inside a network namespace, and logs
every request that reached it whole, so that a test can tell what left a program and what did not.

usage: provider.py --cert FILE --key FILE [--address 127.0.0.1] [--port 443] [--log FILE] [--ready-fd N]

The log has one JSON object a line: {"event": "request" | "partial", host, method, path, headers,
body_bytes, body_sha256, model, stream}. "partial" is a request whose connection ended before its
body was complete.

A client steers an answer with a request header (SDKs: extra_headers / default_headers):
    X-Replay: tokens=IN/OUT    the usage that is reported (default: words of the prompt / 12)
    X-Replay: cached=N         of IN, read from the cache
    X-Replay: status=529       an error of that status in the provider's shape
    X-Replay: cut=K            a stream breaks off (connection closed) after K events
    X-Replay: events=K         how many text events a stream has (default 4)
    X-Replay: say=WORD         the answer's text is this word, repeated
    X-Replay: wait=PATH        before the last event of a stream (or a plain answer) waits until
                               PATH exists
    X-Replay: encoding=CODING  gzip, deflate or identity instead of the client's first choice
    X-Replay: no-usage         leaves the usage out
    X-Replay: close            answers and closes the connection
Several are joined with ";".
"""
import argparse
import gzip
import hashlib
import http.server
import json
import os
import socket
import socketserver
import ssl
import sys
import threading
import time
import zlib
from email.utils import formatdate

WORDS = ["Budgets", "hold", "when", "they", "are", "checked", "before", "the", "money", "leaves."]


def words_in(value):
    """Counts the words of all strings in a JSON value: a stand-in for a tokenizer."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, list):
        return sum(words_in(item) for item in value)
    if isinstance(value, dict):
        return sum(words_in(item) for item in value.values())
    return 0


class Steering(dict):
    """The X-Replay header as a dictionary."""

    def __init__(self, header):
        super().__init__()
        for item in (header or "").split(";"):
            name, _, value = item.strip().partition("=")
            if name:
                self[name] = value

    def tokens(self, body):
        """(input, of it cached, output) tokens of the answer."""
        if "tokens" in self:
            given, made = (int(part) for part in self["tokens"].split("/"))
        else:
            given, made = max(words_in(body), 1), 12
        return given, int(self.get("cached", 0)), made


def pieces(steering):
    count = int(steering.get("events", 4))
    words = [steering["say"]] if "say" in steering else WORDS
    return [words[i % len(words)] + " " for i in range(count)]


# --- OpenAI -------------------------------------------------------------------------------------


def openai_usage(steering, body):
    given, cached, made = steering.tokens(body)
    return {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def openai_chat(body, steering):
    model = body.get("model", "")
    head = {"id": f"chatcmpl-{time.time_ns()}", "created": int(time.time()), "model": model,
            "service_tier": "default", "system_fingerprint": "fp_replay"}
    usage = None if "no-usage" in steering else openai_usage(steering, body)
    if not body.get("stream"):
        message = {"role": "assistant", "content": "".join(pieces(steering)), "refusal": None}
        answer = {**head, "object": "chat.completion",
                  "choices": [{"index": 0, "message": message, "logprobs": None,
                               "finish_reason": "stop"}]}
        if usage:
            answer["usage"] = usage
        return answer
    asked = (body.get("stream_options") or {}).get("include_usage")
    chunk = {**head, "object": "chat.completion.chunk"}
    events = []
    for i, text in enumerate(pieces(steering)):
        delta = {"content": text} if i else {"role": "assistant", "content": text}
        events.append({**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    events.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if asked:
        for event in events:
            event["usage"] = None
        if usage:
            events.append({**chunk, "choices": [], "usage": usage})
    return [(None, event) for event in events] + [(None, "[DONE]")]


def openai_responses(body, steering):
    given, cached, made = steering.tokens(body)
    usage = {"input_tokens": given, "input_tokens_details": {"cached_tokens": cached},
             "output_tokens": made, "output_tokens_details": {"reasoning_tokens": 0},
             "total_tokens": given + made}
    text = "".join(pieces(steering))
    item = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}
    response = {"id": f"resp_{time.time_ns()}", "object": "response", "created_at": time.time(),
                "status": "completed", "model": body.get("model", ""), "output": [item],
                "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
                "service_tier": "default", "usage": None if "no-usage" in steering else usage}
    if not body.get("stream"):
        return response
    started = {**response, "status": "in_progress", "output": [], "usage": None}
    events = [("response.created", {"type": "response.created", "response": started})]
    for text in pieces(steering):
        events.append(("response.output_text.delta",
                       {"type": "response.output_text.delta", "item_id": "msg_1",
                        "output_index": 0, "content_index": 0, "delta": text}))
    events.append(("response.completed", {"type": "response.completed", "response": response}))
    for number, (_, event) in enumerate(events):
        event["sequence_number"] = number
    return events


def openai_embeddings(body, steering):
    given, _, _ = steering.tokens(body)
    return {"object": "list", "model": body.get("model", ""),
            "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
            "usage": {"prompt_tokens": given, "total_tokens": given}}


def openai_completions(body, steering):
    return {"id": "cmpl-1", "object": "text_completion", "created": int(time.time()),
            "model": body.get("model", ""), "usage": openai_usage(steering, body),
            "choices": [{"text": "".join(pieces(steering)), "index": 0, "logprobs": None,
                         "finish_reason": "stop"}]}


def openai_error(status):
    return {"error": {"message": "replayed error", "type": "server_error", "param": None,
                      "code": str(status)}}


# --- Anthropic ----------------------------------------------------------------------------------


def anthropic_messages(body, steering):
    given, cached, made = steering.tokens(body)
    usage = {"input_tokens": given - cached, "cache_creation_input_tokens": 0,
             "cache_read_input_tokens": cached,
             "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
             "output_tokens": made, "service_tier": "standard"}
    message = {"id": f"msg_{time.time_ns()}", "type": "message", "role": "assistant",
               "model": body.get("model", ""), "stop_reason": "end_turn", "stop_sequence": None,
               "content": [{"type": "text", "text": "".join(pieces(steering))}], "usage": usage}
    if not body.get("stream"):
        return message
    start = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    events = [{"type": "message_start", "message": start},
              {"type": "content_block_start", "index": 0,
               "content_block": {"type": "text", "text": ""}},
              {"type": "ping"}]
    events += [{"type": "content_block_delta", "index": 0,
                "delta": {"type": "text_delta", "text": text}} for text in pieces(steering)]
    events += [{"type": "content_block_stop", "index": 0},
               {"type": "message_delta", "delta": {"stop_reason": "end_turn",
                                                   "stop_sequence": None},
                "usage": {"output_tokens": made}},
               {"type": "message_stop"}]
    return [(event["type"], event) for event in events]


def anthropic_error(status):
    return {"type": "error", "error": {"type": "api_error", "message": f"replayed {status}"}}


# --- Gemini -------------------------------------------------------------------------------------


def gemini_usage(steering, body):
    given, cached, made = steering.tokens(body)
    usage = {"promptTokenCount": given, "candidatesTokenCount": made,
             "totalTokenCount": given + made,
             "promptTokensDetails": [{"modality": "TEXT", "tokenCount": given}]}
    if cached:
        usage["cachedContentTokenCount"] = cached
    return usage


def gemini_chunk(model, text, usage, finish):
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model,
            "responseId": "replayed"}


def gemini_generate(model, body, steering):
    return gemini_chunk(model, "".join(pieces(steering)), gemini_usage(steering, body), "STOP")


def gemini_stream(model, body, steering):
    usage = gemini_usage(steering, body)
    texts = pieces(steering)
    return [(None, gemini_chunk(model, text, usage, "STOP" if i + 1 == len(texts) else None))
            for i, text in enumerate(texts)]


def gemini_error(status):
    return {"error": {"code": status, "message": "replayed error", "status": "INTERNAL"}}


ERRORS = {"api.anthropic.com": anthropic_error,
          "generativelanguage.googleapis.com": gemini_error}

POST = {"/v1/chat/completions": openai_chat, "/v1/responses": openai_responses,
        "/v1/embeddings": openai_embeddings, "/v1/completions": openai_completions,
        "/v1/messages": anthropic_messages}


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


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "replay"
    sys_version = ""
    log = Log(None)

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass

    def setup(self):
        self.request.settimeout(60)
        self.request.do_handshake()
        super().setup()

    # --- input

    def read_chunked(self):
        body = b""
        while True:
            line = self.rfile.readline(1024)
            if not line.endswith(b"\n"):
                return None
            size = int(line.split(b";")[0], 16)
            chunk = self.rfile.read(size + 2)
            if len(chunk) < size + 2:
                return None
            if size == 0:
                return body
            body += chunk[:size]

    def read_body(self):
        """The request's body, or None where the connection ended first."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self.read_chunked()
        length = int(self.headers.get("Content-Length", 0))
        body = b""
        while len(body) < length:
            try:
                piece = self.rfile.read1(length - len(body))
            except (OSError, ssl.SSLError):
                return None
            if not piece:
                return None
            body += piece
        return body

    def log_request_line(self, event, body, parsed):
        self.log.write(
            event=event, host=self.headers.get("Host", ""), method=self.command, path=self.path,
            headers=[[name, value] for name, value in self.headers.items()],
            body_bytes=len(body or b""), body_sha256=hashlib.sha256(body or b"").hexdigest(),
            model=parsed.get("model") if isinstance(parsed, dict) else None,
            stream=bool(parsed.get("stream")) if isinstance(parsed, dict) else False)

    # --- output

    def send_json(self, status, value, steering):
        body = json.dumps(value).encode()
        accepted = self.headers.get("Accept-Encoding", "")
        coding = steering.get("encoding", "gzip" if "gzip" in accepted else "identity")
        if coding == "gzip":
            body = gzip.compress(body)
        elif coding == "deflate":
            body = zlib.compress(body)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("x-request-id", f"req_{time.time_ns()}")
        if coding != "identity":
            self.send_header("Content-Encoding", coding)
        self.send_header("Content-Length", str(len(body)))
        if "close" in steering:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def await_file(self, steering):
        while "wait" in steering and not os.path.exists(steering["wait"]):
            time.sleep(0.005)

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def send_events(self, events, steering, sse=True, line="\n"):
        """A stream: server-sent events, or a JSON array as Gemini has it without alt=sse."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if sse else "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, (name, event) in enumerate(events):
            if "cut" in steering and number == int(steering["cut"]):
                self.close_connection = True
                self.connection.close()
                return
            if number == len(events) - 1:
                self.await_file(steering)
            text = event if isinstance(event, str) else json.dumps(event)
            if sse:
                prefix = f"event: {name}{line}" if name else ""
                self.chunk(f"{prefix}data: {text}{line}{line}".encode())
            else:
                self.chunk((("[" if number == 0 else ",\r\n") + text).encode())
        if not sse:
            self.chunk(b"]")
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    # --- methods

    def do_POST(self):
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self.read_body()
        try:
            parsed = json.loads(body or b"null")
        except ValueError:
            parsed = None
        self.log_request_line("partial" if body is None else "request", body, parsed)
        if body is None:
            self.close_connection = True
            return
        steering = Steering(self.headers.get("X-Replay"))
        host = self.headers.get("Host", "").split(":")[0]
        if "status" in steering:
            status = int(steering["status"])
            self.send_json(status, ERRORS.get(host, openai_error)(status), steering)
            return
        if not isinstance(parsed, dict):
            self.send_json(400, ERRORS.get(host, openai_error)(400), steering)
            return
        path, _, query = self.path.partition("?")
        if path in POST:
            answer = POST[path](parsed, steering)
            if isinstance(answer, list):
                self.send_events(answer, steering)
            else:
                self.await_file(steering)
                self.send_json(200, answer, steering)
        elif path.endswith(":generateContent"):
            model = path.rsplit("/", 1)[-1].split(":")[0]
            self.await_file(steering)
            self.send_json(200, gemini_generate(model, parsed, steering), steering)
        elif path.endswith(":streamGenerateContent"):
            model = path.rsplit("/", 1)[-1].split(":")[0]
            self.send_events(gemini_stream(model, parsed, steering), steering,
                             sse="alt=sse" in query, line="\r\n")
        else:
            self.send_json(404, ERRORS.get(host, openai_error)(404), steering)

    def do_GET(self):
        self.log_request_line("request", b"", None)
        models = {"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]}
        self.send_json(200, models, Steering(self.headers.get("X-Replay")))

    def do_OPTIONS(self):
        self.log_request_line("request", b"", None)
        self.send_response(204)
        self.send_header("Content-Length", "0")
        if self.headers.get("Connection", "").lower() == "close":
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()

    do_HEAD = do_OPTIONS

    def date_time_string(self, timestamp=None):
        return formatdate(timestamp, usegmt=True)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def __init__(self, address, context):
        super().__init__(address, Handler)
        self.context = context

    def get_request(self):
        connection, peer = super().get_request()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(connection, server_side=True,
                                        do_handshake_on_connect=False), peer

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
    arguments = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(arguments.cert, arguments.key)
    context.set_alpn_protocols(["http/1.1"])
    Handler.log = Log(arguments.log)
    server = Server((arguments.address, arguments.port), context)
    if arguments.ready_fd is not None:
        os.write(arguments.ready_fd, b"ready\n")
        os.close(arguments.ready_fd)
    server.serve_forever()


if __name__ == "__main__":
    main()
