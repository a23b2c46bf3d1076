#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Streams: usage that is asked for on the wire and hidden again, with a fake collector."""
import gzip
import json
import os
import subprocess
import sys
import threading
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import lab  # noqa: E402  pylint: disable=wrong-import-position
import messages  # noqa: E402  pylint: disable=wrong-import-position
import shimlab  # noqa: E402  pylint: disable=wrong-import-position
import streamer  # noqa: E402  pylint: disable=wrong-import-position
from shimlab import Shim, chat  # noqa: E402
from tap import await_that, check, equal, main, test  # noqa: E402

# Outside of the network of the tests, where packages can be had.
SDKS = lab.python_with_sdks(os.path.join(lab.ROOT, "tests/clients/python/newest.txt"))
shimlab.enter()

WAYS = [["--io", io, *form] for io in ("blocking", "nonblocking", "memory")
        for form in ([], ["--ex"], ["--peek"])]
ON = {"NULLSPEND_INJECT_USAGE": "1"}
# Longer than a busy machine keeps the fake collector from answering: else the policy lets pass.
PATIENT = {"NULLSPEND_DEADLINE_MS": "30000"}


def chunk(choices, **more):
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
            "model": "gpt-4o-mini", "choices": choices, **more}


def words(request, count=4):
    """A stream of chat as a provider sends it: its usage where that is asked for."""
    asked = (request.json.get("stream_options") or {}).get("include_usage")
    null = {"usage": None} if asked else {}
    events = [chunk([{"index": 0, "delta": {"content": f"word{i} "}, "finish_reason": None}], **null)
              for i in range(count)]
    events.append(chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}], **null))
    if asked:
        events.append(chunk([], usage={"prompt_tokens": 70, "completion_tokens": 30,
                                       "total_tokens": 100}))
    return streamer.sse(*events, "[DONE]")


def body_of(answer):
    """The body of a client's output, its transfer coding removed."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return rest
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            equal(rest, b"\r\n", "behind the last chunk")
            return body
        body += rest[:int(size, 16)]
        rest = rest[int(size, 16) + 2:]


def evidence(told):
    return messages.word("evidence", told["evidence"])


@test
def a_stream_is_made_to_tell_its_usage_and_the_program_does_not_see_it():
    with Shim() as shim:
        for name in ("chunked", "length"):
            framing = streamer.FRAMINGS[name]
            with streamer.Streamer(shim.authority, lambda r, f=framing: f(words(r))) as server:
                for way in WAYS:
                    for chunks in (False, True):
                        shim.collector.forget()
                        data = chat("hello", stream=True, chunked=chunks,
                                    headers=[("Accept-Encoding", "gzip"),
                                             ("X-NullSpend-Agent", "bot")])
                        done = shim.client(data, *way, port=server.port, **ON)
                        body = body_of(done.stdout)
                        check(b'"usage": {' not in body, f"{way} {name} saw the usage")
                        seen = [json.loads(event[6:]) for event in body.split(b"\n\n")[:-2]]
                        equal(len(seen), 5, f"events of {way} {name}")
                        check(body.endswith(b"data: [DONE]\n\n"), f"{body[-100:]}")
                        told, = shim.collector.wait("REPORT")
                        equal(told["usage"].get("output_tokens"), 30, "output tokens")
                        equal(evidence(told), "reported", "evidence")
                equal({r.headers.get("accept-encoding") for r in server.requests}, {None},
                      "content codings that were asked for")
                equal({json.dumps(r.json["stream_options"]) for r in server.requests},
                      {'{"include_usage": true}'}, "stream_options at the provider")
                check(not any("nullspend" in line.lower() for r in server.requests
                              for line in r.lines), "a line of ours left")
        equal(shim.counters().get("streams_asked"), 1, "streams asked by the last process")


@test
def without_the_wish_the_request_is_the_programs_and_the_stream_is_counted():
    with Shim() as shim:
        with streamer.Streamer(shim.authority, lambda r: streamer.chunked(words(r))) as server:
            for value in ({}, {"NULLSPEND_INJECT_USAGE": "0"}, {"NULLSPEND_INJECT_USAGE": "yes"}):
                shim.collector.forget()
                data = chat("hello", stream=True)
                shim.client(data, port=server.port, **value)
                equal(server.requests[-1].body, data.split(b"\r\n\r\n", 1)[1], "body")
                told, = shim.collector.wait("REPORT")
                equal(evidence(told), "counted", "evidence")
                equal(told["output_text_bytes"], 24, "bytes of text")


@test
def who_asks_himself_sees_the_usage():
    with Shim() as shim:
        with streamer.Streamer(shim.authority, lambda r: streamer.chunked(words(r))) as server:
            data = chat("hello", stream=True, stream_options={"include_usage": True})
            done = shim.client(data, port=server.port, **ON)
            check(b'"usage": {' in done.stdout, "the usage was hidden")
            equal(server.requests[-1].body, data.split(b"\r\n\r\n", 1)[1], "body")


@test
def a_coded_request_is_left_alone():
    with Shim() as shim:
        with streamer.Streamer(shim.authority, lambda r: streamer.chunked(
                words(r) if r.body[:1] == b"{" else streamer.sse("[DONE]"))) as server:
            body = gzip.compress(json.dumps({"model": "gpt-4o-mini", "stream": True,
                                             "messages": []}).encode())
            data = shimlab.request(body, headers=[("Content-Encoding", "gzip")])
            shim.client(data, port=server.port, **ON)
            equal(server.requests[-1].body, body, "body")
            equal(shim.counters().get("streams_unasked"), 1, "counted")


@test
def an_answer_that_is_coded_all_the_same_passes_as_it_is():
    with Shim() as shim:
        def answer(request):
            return streamer.measured([gzip.compress(b"".join(words(request)))],
                                     "Content-Encoding: gzip")
        with streamer.Streamer(shim.authority, answer) as server:
            done = shim.client(chat("hello", stream=True), port=server.port, **ON)
            check(b'"usage": {' in gzip.decompress(body_of(done.stdout)), "not as it was")
            told, = shim.collector.wait("REPORT")
            equal(evidence(told), "reported", "evidence")
            equal(shim.counters().get("usage_shown"), 1, "counted")


@test
def an_error_reaches_the_program_as_it_is():
    error = b'{"error":{"message":"no","type":"invalid_request_error"}}'
    with Shim() as shim:
        with streamer.Streamer(shim.authority, lambda r: streamer.measured(
                [error], status="400 Bad Request", kind="application/json")) as server:
            done = shim.client(chat("hello", stream=True), port=server.port, **ON)
            equal(body_of(done.stdout), error, "body")


SDK = """
import asyncio, json, sys, httpx, openai
port, how = sys.argv[1:]
base = f"https://api.openai.com:{port}/v1"
def show(chunks, text):
    print(json.dumps([chunks, text]), flush=True)
def take(stream):
    chunks = list(stream)
    assert all(chunk.usage is None for chunk in chunks)
    show(len(chunks), "".join(chunk.choices[0].delta.content or "" for chunk in chunks))
asked = dict(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], stream=True)
if how == "openai":
    client = openai.OpenAI(base_url=base, api_key="sk-1")
    for _ in range(3):
        take(client.chat.completions.create(**asked))
elif how == "openai-async":
    async def run():
        client = openai.AsyncOpenAI(base_url=base, api_key="sk-1")
        for _ in range(3):
            take([chunk async for chunk in await client.chat.completions.create(**asked)])
    asyncio.run(run())
else:
    with httpx.Client() as client:
        for _ in range(3):
            with client.stream("POST", base + "/chat/completions", json=asked) as response:
                lines = [line[6:] for line in response.iter_lines() if line]
            assert lines.pop() == "[DONE]"
            chunks = [json.loads(line) for line in lines]
            show(len(chunks), "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks))
"""


@test
def sdks_read_such_a_stream_on_one_connection_after_the_other():
    with Shim() as shim:
        for framing in ("chunked", "length"):
            with streamer.Streamer(shim.authority, lambda r, f=framing: streamer.FRAMINGS[f](
                    words(r))) as server:
                for how in ("openai", "openai-async", "httpx"):
                    shim.collector.forget()
                    done = subprocess.run([SDKS, "-c", SDK, str(server.port), how], text=True,
                                          env=shim.governed(**ON), stdout=subprocess.PIPE,
                                          stderr=subprocess.PIPE, timeout=120, check=False)
                    equal(done.returncode, 0, f"{how}: {done.stderr}")
                    equal([json.loads(line) for line in done.stdout.splitlines()],
                          [[5, "word0 word1 word2 word3 "]] * 3, f"{how} {framing}")
                    told = shim.collector.wait("REPORT", 3)
                    equal([evidence(t) for t in told], ["reported"] * 3, "evidence")


@test
def curl_reads_such_a_stream():
    with Shim() as shim:
        for name, framing in streamer.FRAMINGS.items():
            with streamer.Streamer(shim.authority, lambda r, f=framing: f(words(r))) as server:
                done = subprocess.run(
                    ["curl", "-sSN", "--http1.1", "--compressed", "-d",
                     '{"model":"gpt-4o-mini","stream":true,"messages":[]}',
                     f"https://api.openai.com:{server.port}/v1/chat/completions"],
                    env=shim.governed_curl(**ON), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    timeout=60, check=False)
                equal(done.returncode, 0, done.stderr.decode())
                equal(done.stdout.count(b"data: "), 6, f"events {name}")
                check(b'"usage": {' not in done.stdout, "curl saw the usage")


@test
def no_token_waits_for_the_next():
    """The server sends a token only once the program has shown the one before."""
    seen = [threading.Event() for _ in range(4)]

    def answer(request):
        pieces = []
        for i, event in enumerate(words(request)):
            pieces.append(event)
            if i < 4:
                pieces.append(lambda i=i: seen[i].wait(60) or sys.exit("a token waited"))
        return streamer.chunked(pieces)

    with Shim() as shim, streamer.Streamer(shim.authority, answer) as server:
        client = subprocess.Popen(
            ["curl", "-sSN", "--http1.1", "-d",
             '{"model":"gpt-4o-mini","stream":true,"messages":[]}',
             f"https://api.openai.com:{server.port}/v1/chat/completions"],
            env=shim.governed_curl(**ON), stdout=subprocess.PIPE)
        text = b""
        for i in range(4):
            while f'"word{i} "'.encode() not in text or not text.endswith(b"\n\n"):
                piece = os.read(client.stdout.fileno(), 65536)
                check(piece, "the stream ended")
                text += piece
            seen[i].set()
        text += client.stdout.read()
        equal(client.wait(60), 0, "exit of curl")
        check(text.endswith(b"data: [DONE]\n\n"), "not all came")


# --- more than the hold covers ------------------------------------------------------------------------


def long_words(request, count=20):
    """100 likely tokens an event."""
    return streamer.sse(*[chunk([{"index": 0, "delta": {"content": f"{i:03d}," * 100},
                                  "finish_reason": None}]) for i in range(count)],
                        chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]), "[DONE]")


def no_more_once_used_up(fields):
    if fields["top_up"] == 2:
        return fake_collector.deny(message="nullspend: no more; it ends here")(fields)
    return {"decision": "deny", "reason": "budget_exceeded"}


def curl_stream(shim, server, **more):
    return subprocess.Popen(
        ["curl", "-sSN", "--http1.1", "-d",
         '{"model":"gpt-4o-mini","stream":true,"messages":[]}',
         f"https://api.openai.com:{server.port}/v1/chat/completions"],
        env=shim.governed_curl(**more), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@test
def no_token_waits_while_the_collector_is_asked_for_more():
    """The collector never answers the early question; the deadline is longer than the test."""
    seen = [threading.Event() for _ in range(9)]

    def answer(request):
        pieces = []
        for i, event in enumerate(long_words(request, 9)):
            pieces.append(event)
            if i < 9:
                pieces.append(lambda i=i: seen[i].wait(60) or sys.exit("a token waited"))
        return streamer.chunked(pieces)

    with Shim() as shim, streamer.Streamer(shim.authority, answer) as server:
        shim.collector.rule = fake_collector.allow(output_tokens_held=1000)
        client = curl_stream(shim, server, NULLSPEND_DEADLINE_MS=60000)
        text = b""
        for i in range(9):
            while f"{i:03d},".encode() * 100 not in text or not text.endswith(b"\n\n"):
                piece = os.read(client.stdout.fileno(), 65536)
                check(piece, "the stream ended")
                text += piece
            seen[i].set()
        text += client.stdout.read()
        equal(client.wait(60), 0, "exit of curl")
        asked = [fields for fields in shim.collector.of("PROGRESS") if fields.get("top_up")]
        equal([fields["top_up"] for fields in asked], [1], "questions")
        check(750 <= asked[0]["text_bytes"] // 4 < 1000, f"asked at {asked[0]['text_bytes']} bytes")
        check(not shim.collector.of("RELEASE"), "a release")


@test
def what_was_asked_early_is_enough_when_the_hold_is_used_up():
    with Shim() as shim:
        shim.collector.rule = fake_collector.allow(output_tokens_held=400)
        shim.collector.more = lambda fields: {
            "decision": "allow", "reason": "none",
            "output_tokens_held": fields["text_bytes"] // 4 + 1000}
        with streamer.Streamer(shim.authority, lambda r: streamer.chunked(long_words(r))) as server:
            done = shim.client(chat("hello", stream=True), port=server.port, **PATIENT)
            check(body_of(done.stdout).endswith(b"data: [DONE]\n\n"), "it was cut")
            asked = [fields["top_up"] for fields in shim.collector.of("PROGRESS")
                     if fields.get("top_up")]
            equal(set(asked), {1}, "questions")
            equal(len(asked), 4, "questions")
            equal(shim.counters().get("answers_cut"), None, "cut")


@test
def a_refused_stream_is_cut_for_every_kind_of_program_with_and_without_the_filter():
    with Shim() as shim:
        shim.collector.rule = fake_collector.allow(output_tokens_held=400)
        shim.collector.more = no_more_once_used_up
        for name in ("chunked", "length"):
            with streamer.Streamer(shim.authority, lambda r, f=name: streamer.FRAMINGS[f](
                    long_words(r))) as server:
                for way in WAYS:
                    for environment in ({}, ON):
                        shim.collector.forget()
                        # It leaves SIGPIPE as it is: nothing may be written to what has ended.
                        done = shim.client(chat("hello", stream=True), *way, "--goodbye",
                                           port=server.port,
                                           **PATIENT, **environment)
                        body = body_of(done.stdout).rstrip(b"\n")
                        check(body.endswith(b"data: [DONE]"), f"{way} {name}: {body[-200:]}")
                        equal(shim.counters().get("answers_cut"), 1, f"cut, of {shim.counters()}")
                        *events, error, _ = body.split(b"\n\n")
                        equal(json.loads(error.strip()[6:])["error"]["message"],
                              "nullspend: no more; it ends here", "error")
                        # One event may come between the answer and its reading.
                        check(4 <= len(events) <= 5, f"{way} {name}: {len(events)} events")
                        told, = shim.collector.wait("REPORT")
                        equal(told["output_text_bytes"], 400 * len(events), "text")
                        equal(messages.word("outcome", told["outcome"]), "cancelled", "outcome")
                        equal(evidence(told), "counted", "evidence")
                        asked = [fields["top_up"] for fields in shim.collector.of("PROGRESS")
                                 if fields.get("top_up")]
                        equal(asked.count(2), 1, f"questions that cut, of {asked}")


@test
def a_stream_that_cannot_be_cut_by_words_just_ends():
    with Shim() as shim:
        shim.collector.rule = fake_collector.allow(output_tokens_held=400)
        shim.collector.more = no_more_once_used_up
        coder = zlib.compressobj(wbits=31)

        def answer(request):
            pieces = []
            for event in long_words(request):
                pieces.append(coder.compress(event) + coder.flush(2))
            head, *rest = streamer.chunked(pieces)
            return [head.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"), *rest]
        with streamer.Streamer(shim.authority, answer) as server:
            client = curl_stream(shim, server, **PATIENT)
            client.communicate(timeout=60)
            check(client.returncode in (18, 56), f"exit of curl {client.returncode}")
            told, = shim.collector.wait("REPORT")
            equal(messages.word("outcome", told["outcome"]), "cancelled", "outcome")


STAYS = """
import http.client, sys
connection = http.client.HTTPSConnection("api.openai.com", int(sys.argv[1]))
connection.request("POST", "/v1/chat/completions",
                   '{"model":"gpt-4o-mini","stream":true,"messages":[]}')
print(connection.getresponse().read()[-8:].decode().strip(), flush=True)
sys.stdin.read()
print(connection.sock.recv(100))
"""


def has_no_room(port):
    """Whether a socket at this port of ours has probed the other side's full buffer in vain."""
    with open("/proc/net/tcp", encoding="ascii") as sockets:
        lines = [line.split() for line in sockets][1:]
    return any(line[1].endswith(f":{port:04X}") and line[5].startswith("04:") and line[8] != "0"
               for line in lines)


@test
def the_server_hears_that_nobody_listens_any_more():
    with Shim() as shim:
        shim.collector.rule = fake_collector.allow(output_tokens_held=400)

        def no_more_while_the_server_waits(fields):
            if fields["top_up"] == 2:
                await_that(lambda: has_no_room(server.port), "a server that waits for room")
            return no_more_once_used_up(fields)
        shim.collector.more = no_more_while_the_server_waits

        def answer(request):
            pieces = long_words(request, 5)
            return streamer.chunked([*pieces[:5], *([b": still here\n\n" * 1000] * 20000)])
        with streamer.Streamer(shim.authority, answer) as server:
            client = subprocess.Popen([shimlab.PYTHON, "-c", STAYS, str(server.port)],
                                      env=shim.governed(**PATIENT), stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE)
            equal(client.stdout.readline(), b"[DONE]\n", "the end that the program read")
            check(server.gone.wait(60), "the server wrote on and on")
            equal(client.communicate(timeout=60)[0], b"b''\n", "what the program read then")


REUSE = """
import json, sys, openai
port = sys.argv[1]
client = openai.OpenAI(base_url=f"https://api.openai.com:{port}/v1", api_key="sk-1", max_retries=0)
for _ in range(4):
    try:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in
                       client.chat.completions.create(model="gpt-4o-mini", stream=True,
                           messages=[{"role": "user", "content": "hi"}]))
        print(json.dumps(len(text)), flush=True)
    except openai.APIError as error:
        print(json.dumps(str(error)), flush=True)
"""


@test
def a_client_that_was_cut_calls_again():
    with Shim() as shim:
        turns = iter([400, 0, 400, 0])
        shim.collector.rule = lambda check: dict(
            fake_collector.allow()(check), output_tokens_held=next(turns))
        shim.collector.more = no_more_once_used_up
        with streamer.Streamer(shim.authority, lambda r: streamer.chunked(long_words(r))) as server:
            done = subprocess.run([SDKS, "-c", REUSE, str(server.port)], text=True, timeout=120,
                                  env=shim.governed(**PATIENT), stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, check=False)
            equal(done.returncode, 0, done.stderr)
            equal([json.loads(line) for line in done.stdout.splitlines()],
                  ["nullspend: no more; it ends here", 8000] * 2, "what it saw")


main()
