#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Streams and the real collector: what is charged for one that tells no usage, and for one that the
program leaves in the middle, by whatever way."""
import json
import os
import signal
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import lab  # noqa: E402  pylint: disable=wrong-import-position
import shimlab  # noqa: E402  pylint: disable=wrong-import-position
import streamer  # noqa: E402  pylint: disable=wrong-import-position
import tap  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal  # noqa: E402

# Nano-dollars a token of the catalogue: gpt-4o-mini, claude-sonnet-4-5.
INPUT, OUTPUT = 150, 600
CLAUDE_INPUT, CLAUDE_OUTPUT = 3000, 15000

# Reads a stream until it has shown some word, says so, and ends in the way that it is told.
CLIENT = """
import http.client, json, os, signal, sys
host, port, path, body, word, how = sys.argv[1:]
connection = http.client.HTTPSConnection(host, int(port))
connection.request("POST", path, body, {"Content-Type": "application/json", "x-api-key": "sk-1",
                                        "Authorization": "Bearer sk-1"})
response = connection.getresponse()
text = b""
while word.encode() not in text:
    piece = response.read1(65536)
    if not piece:
        break
    text += piece
print(len(text), flush=True)
if how == "close":
    response.close()
    connection.close()
    print("closed", flush=True)
    sys.stdin.read()
elif how == "_exit":
    os._exit(0)
elif how == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def openai_chunk(text, finish=None):
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
            "model": "gpt-4o-mini",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def openai_body(**more):
    return json.dumps({"model": "gpt-4o-mini", "stream": True, **more,
                       "messages": [{"role": "user", "content": "word " * 200}]})


def anthropic_delta(text):
    return ("content_block_delta", {"type": "content_block_delta", "index": 0,
                                    "delta": {"type": "text_delta", "text": text}})


def anthropic_start():
    return ("message_start", {"type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": [], "usage": {"input_tokens": 500, "output_tokens": 1}}})


def run(laboratory, server, customer, how, word, host="api.openai.com",
        path="/v1/chat/completions", body=None, **more):
    return subprocess.Popen(
        [shimlab.PYTHON, "-c", CLIENT, host, str(server.port), path, body or openai_body(), word,
         how], env=laboratory.governed(NULLSPEND_CUSTOMER=customer, **more), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def row(laboratory, customer):
    """Outcome, evidence, cost, input and output tokens of a customer's one call."""
    laboratory.await_query("budgets", lambda rows: all(
        r["held_usd"] == 0 for r in rows if r["entity"] == "customer:" + customer))
    rows = laboratory.sql("select outcome, evidence, cost_nanousd, input_tokens, output_tokens "
                          f"from nullspend.calls where customer = '{customer}'")
    equal(len(rows), 1, "rows of calls")
    outcome, evidence, *numbers = rows[0]
    spent = laboratory.sql("select (spent_usd * 1e9)::bigint from nullspend.budget_status "
                           f"where entity = 'customer:{customer}'")
    equal(spent, [[numbers[0]]], "spent")
    return outcome, evidence, *(int(number) for number in numbers)


def budget(laboratory, customer, limit="1"):
    laboratory.cli("budget", "set", "customer:" + customer, "--limit", limit, "--period", "total")


def counts_what_it_saw(laboratory):
    budget(laboratory, "counted")
    events = [openai_chunk("x" * 1000), openai_chunk("y" * 999, "stop"), "[DONE]"]
    with streamer.Streamer(laboratory.authority, lambda _: streamer.chunked(
            streamer.sse(*events))) as server:
        client = run(laboratory, server, "counted", "exit", "[DONE]")
        client.communicate(timeout=60)
    outcome, evidence, cost, given, made = row(laboratory, "counted")
    equal((outcome, evidence, made), ("ok", "counted", 500), "the row")
    check(given > 200, f"{given} tokens of input")
    equal(cost, given * INPUT + 500 * OUTPUT, "cost")


def estimates_what_it_did_not_see(laboratory):
    budget(laboratory, "estimated")
    with streamer.Streamer(laboratory.authority, lambda _: streamer.until_close(
            [b": wait\n\n"])) as server:
        client = run(laboratory, server, "estimated", "exit", "never")
        client.communicate(timeout=60)
    _, evidence, cost, given, made = row(laboratory, "estimated")
    equal((evidence, made), ("estimated", 0), "the row")
    check(cost >= given * INPUT > 0, f"cost {cost} for {given} tokens of input")


def asks_and_is_billed(laboratory):
    """The usage that was asked for is what is charged."""
    budget(laboratory, "asked")

    def answer(request):
        equal(request.json["stream_options"], {"include_usage": True}, "stream_options")
        return streamer.chunked(streamer.sse(
            openai_chunk("hello", "stop"),
            {**openai_chunk(""), "choices": [],
             "usage": {"prompt_tokens": 333, "completion_tokens": 77, "total_tokens": 410}},
            "[DONE]"))
    with streamer.Streamer(laboratory.authority, answer) as server:
        client = run(laboratory, server, "asked", "exit", "[DONE]", NULLSPEND_INJECT_USAGE="1")
        client.communicate(timeout=60)
    equal(row(laboratory, "asked"), ("ok", "reported", 333 * INPUT + 77 * OUTPUT, 333, 77), "row")


def leaves(laboratory, how):
    """An OpenAI stream of which the program had 2000 bytes of text, and some more where its end can
    be told exactly."""
    customer = "leaves-by-" + how
    budget(laboratory, customer)
    told = how in ("_exit", "kill")  # then the last PROGRESS is what is known
    more = threading.Event()
    # The second piece shows that the program came back for more, and so that the first was told.
    pieces = [*streamer.sse(openai_chunk("x" * 2000)), *streamer.sse(openai_chunk("second")),
              more.wait]
    with streamer.Streamer(laboratory.authority, lambda _: [streamer.chunked([])[0], *(
            piece if callable(piece) else b"%x\r\n%s\r\n" % (len(piece), piece)
            for piece in pieces)]) as server:
        client = run(laboratory, server, customer, how, "second")
        check(client.stdout.readline().strip().isdigit(), "it read nothing")
        if how == "close":
            equal(client.stdout.readline().strip(), "closed", "close")
        else:
            client.wait(60)
        outcome, evidence, cost, given, made = row(laboratory, customer)
        more.set()
        client.communicate(timeout=60)
    equal(outcome, "lost" if told else "cancelled", "outcome")
    equal(evidence, "counted", "evidence")
    if told:
        check(made in (500, 502), f"{made} tokens of output")
    else:
        equal(made, 502, "tokens of output")
    equal(cost, given * INPUT + made * OUTPUT, "cost")


def leaves_anthropic(laboratory, how):
    """Anthropic told its input at the start: what it received is `partial`."""
    customer = "leaves-anthropic-by-" + how
    budget(laboratory, customer)
    more = threading.Event()
    pieces = [b"".join(streamer.sse(anthropic_start(), anthropic_delta("x" * 2000))),
              *streamer.sse(anthropic_delta("second")), more.wait]
    body = json.dumps({"model": "claude-sonnet-4-5", "max_tokens": 9999, "stream": True,
                       "messages": [{"role": "user", "content": "word " * 200}]})
    with streamer.Streamer(laboratory.authority, lambda _: streamer.chunked(pieces)) as server:
        client = run(laboratory, server, customer, how, "second", "api.anthropic.com",
                     "/v1/messages", body)
        check(client.stdout.readline().strip().isdigit(), "it read nothing")
        if how != "close":
            client.wait(60)
        outcome, evidence, cost, given, made = row(laboratory, customer)
        more.set()
        client.communicate(timeout=60)
    equal((outcome, evidence, given), ("lost" if how == "kill" else "cancelled", "partial", 500),
          "row")
    check(made in (501, 503), f"{made} tokens of output")
    equal(cost, given * CLAUDE_INPUT + made * CLAUDE_OUTPUT, "cost")


def main():
    shimlab.enter()
    with lab.Lab() as laboratory:
        laboratory.start_collector()

        @tap.test
        def a_stream_without_usage_is_priced_by_the_text_that_passed():
            counts_what_it_saw(laboratory)

        @tap.test
        def a_stream_of_which_nothing_was_seen_is_priced_by_its_input():
            estimates_what_it_did_not_see(laboratory)

        @tap.test
        def a_stream_that_was_asked_for_its_usage_is_priced_by_it():
            asks_and_is_billed(laboratory)

        for how in ("close", "exit", "_exit", "kill"):
            def left(how=how):
                leaves(laboratory, how)
            left.__name__ = f"a_stream_left_by_{how.replace('_', 'underscore_')}_is_settled_by_what_was_received"
            tap.test(left)

        for how in ("close", "exit", "kill"):
            def left_anthropic(how=how):
                leaves_anthropic(laboratory, how)
            left_anthropic.__name__ = f"an_anthropic_stream_left_by_{how}_is_partial"
            tap.test(left_anthropic)

        tap.main()


if __name__ == "__main__":
    main()
