#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Streams over HTTP/2: made to tell their usage, topped up, cut."""
import hashlib
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import messages  # noqa: E402  pylint: disable=wrong-import-position
import shimlab  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, test  # noqa: E402

shimlab.enter()

URL = f"https://{shimlab.HOST}/v1/chat/completions"
OPTIONS = ["--protocols", "h2"]
ON = {"NULLSPEND_INJECT_USAGE": "1"}
# Longer than a busy machine keeps the fake collector from answering: else the policy lets pass.
PATIENT = {"NULLSPEND_DEADLINE_MS": "30000"}
WORD = "w" * 399 + " "  # and its blank: 100 likely tokens an event


def chat(**more):
    return json.dumps({"model": "gpt-4o-mini", "stream": True,
                       "messages": [{"role": "user", "content": "Say hello."}], **more})


def curl(shim, *requests, **more):
    """The texts alone of Shim.curl_http2."""
    return [text for _, text in shim.curl_http2(*requests, **more)]


def events_of(answer):
    return [line[6:] for line in answer.split("\n") if line.startswith("data: ")]


def evidence(told):
    return messages.word("evidence", told["evidence"])


def no_more(fields):
    if fields["top_up"] == 2:
        return fake_collector.deny(message="nullspend: no more; it ends here")(fields)
    return {"decision": "deny", "reason": "budget_exceeded"}


# --- usage that was not asked for ------------------------------------------------------------------


@test
def a_stream_is_made_to_tell_its_usage_and_the_program_does_not_see_it():
    with shimlab.Shim(provider=OPTIONS) as shim:
        for steering in ("tokens=70/30", "tokens=70/30;pad=7", "tokens=70/30;trailers",
                         "tokens=70/30;events=500;pad=1;trailers"):
            for wish in ({}, {"stream_options": {"include_usage": False}}):
                shim.collector.forget()
                answer, = curl(shim, (URL, chat(**wish), "X-Replay: " + steering,
                                      "Accept-Encoding: gzip", "X-NullSpend-Agent: bot"), **ON)
                check('"usage": {' not in answer, f"{steering}: the program saw the usage")
                *seen, last = events_of(answer)
                equal(last, "[DONE]", "the end")
                equal(len(seen), 501 if "events" in steering else 5, "events")
                told, = shim.collector.wait("REPORT")
                equal(told["usage"].get("output_tokens"), 30, "output tokens")
                equal(evidence(told), "reported", "evidence")
                head = {name.lower() for name, _ in shim.logged("request")[-1]["headers"]}
                equal(head & {"content-length", "accept-encoding", "x-nullspend-agent"}, set(),
                      "headers at the provider")
        equal(shim.counters().get("streams_asked"), 1, "streams asked by the last process")
        equal(shim.logged("broken"), [], "what the provider found")


@test
def without_the_wish_or_the_need_request_and_answer_are_the_programs():
    with shimlab.Shim(provider=OPTIONS) as shim:
        asks = chat(stream_options={"include_usage": True})
        for data, environment in ((chat(), {}), (asks, ON)):
            shim.collector.forget()
            answer, = curl(shim, (URL, data, "X-Replay: tokens=70/30"), **environment)
            equal('"usage": {' in answer, data == asks, "the program saw the usage")
            entry = shim.logged("request")[-1]
            equal(entry["body_sha256"], hashlib.sha256(data.encode()).hexdigest(), "body")
            told, = shim.collector.wait("REPORT")
            equal(evidence(told), "reported" if data == asks else "counted", "evidence")


@test
def an_answer_that_is_no_stream_or_an_error_passes_as_it_is():
    with shimlab.Shim(provider=OPTIONS) as shim:
        plain, error = curl(shim, (URL, chat(stream=False), "X-Replay: tokens=70/30"),
                            (URL, chat(), "X-Replay: status=500"), **ON)
        equal(json.loads(plain)["usage"]["completion_tokens"], 30, "tokens of the plain answer")
        check("error" in json.loads(error), error)


@test
def a_hundred_such_streams_at_once_are_told_one_by_one():
    code = shimlab.WATCHED_READS + """
import asyncio, json, sys, httpx
async def one(client, i):
    data = {"model": "gpt-4o-mini", "messages": [], "stream": True}
    text = ""
    async with client.stream("POST", sys.argv[1], json=data,
                             headers={"X-Replay": f"tokens=70/{i};events=9"}) as answer:
        async for line in answer.aiter_lines():
            text += line + "\\n"
    assert text.count("data: ") == 11 and '"usage": {' not in text, text
    return answer.http_version
async def main():
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(http2=True, timeout=60, limits=limits) as client:
        print(set(await asyncio.gather(*[one(client, i) for i in range(100)])), len(written))
asyncio.run(main())
"""
    with shimlab.Shim(provider=OPTIONS) as shim:
        done = shim.python(code, URL, **ON)
        versions, _, written = done.stdout.strip().rpartition(" ")
        equal(versions, "{'HTTP/2'}", "versions: " + done.stderr)
        equal(written, "0", "reads that wrote")
        told = shim.collector.wait("REPORT", 100)
        equal(sorted(report["usage"].get("output_tokens", 0) for report in told), list(range(100)),
              "output tokens")
        equal(shim.logged("broken"), [], "what the provider found")


# --- answers that outgrow their hold ---------------------------------------------------------------


@test
def a_refused_stream_is_cut_and_the_connection_goes_on():
    with shimlab.Shim(provider=OPTIONS) as shim:
        shim.collector.rule = fake_collector.allow(output_tokens_held=400)
        shim.collector.more = no_more
        for environment in ({}, ON):
            for steering in ("pad=5", "trailers"):
                shim.collector.forget()
                # The last event waits for what never comes: only the cut ends this stream.
                cut, after = curl(
                    shim, (URL, chat(), f"X-Replay: events=8;say={WORD};wait=/proc/nowhere;{steering}"),
                    (URL, chat(stream=False), "X-Replay: tokens=1/1"), **environment, **PATIENT)
                *seen, error, done = events_of(cut)
                equal(json.loads(error)["error"]["message"], "nullspend: no more; it ends here",
                      "words")
                equal(done, "[DONE]", "the end")
                check(4 <= len(seen) <= 9, f"{len(seen)} events")
                check("error" not in json.loads(after), after)
                told = {report["streamed"]: report for report in shim.collector.wait("REPORT", 2)}
                equal(messages.word("outcome", told[True]["outcome"]), "cancelled", "outcome")
                equal(evidence(told[True]), "counted", "evidence")
                equal(told[True]["output_text_bytes"], 400 * len(seen), "text")
                equal(shim.counters().get("answers_cut"), 1, f"cut, of {shim.counters()}")
        connections = {entry["connection"] for entry in shim.logged("request")}
        equal(len(connections), 4, "connections of four processes")
        equal({entry["error_code"] for entry in shim.logged("reset")}, {8}, "codes of the resets")
        equal(shim.logged("broken"), [], "what the provider found")


@test
def the_error_is_the_familys_own():
    with shimlab.Shim(provider=OPTIONS) as shim:
        shim.collector.rule = fake_collector.allow(output_tokens_held=400)
        shim.collector.more = no_more
        url = "https://api.anthropic.com/v1/messages"
        data = json.dumps({"model": "claude-sonnet-4-5", "max_tokens": 4096, "stream": True,
                           "messages": [{"role": "user", "content": "Say hello."}]})
        answer, = curl(shim, (url, data, f"X-Replay: events=8;say={WORD};wait=/proc/nowhere"),
                       **PATIENT)
        name, text = answer.rstrip().split("\n")[-2:]
        equal(name, "event: error", "name of the last event")
        equal(json.loads(text[6:])["error"]["message"], "nullspend: no more; it ends here", "words")


@test
def what_was_granted_in_time_keeps_a_stream_going_and_its_neighbour_is_cut():
    code = """
import asyncio, sys, httpx
async def one(client, model):
    data = {"model": model, "messages": [], "stream": True}
    text = ""
    async with client.stream("POST", sys.argv[1], json=data,
                             headers={"X-Replay": "events=60;say=" + "w" * 399}) as answer:
        async for line in answer.aiter_lines():
            text += line + "\\n"
    return "cut" if "it ends here" in text else text.count("data: ")
async def main():
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(http2=True, timeout=60, limits=limits) as client:
        print(*await asyncio.gather(*[one(client, m) for m in ("gpt-4o", "gpt-4o-mini", "gpt-4o")]))
asyncio.run(main())
"""
    with shimlab.Shim(provider=OPTIONS) as shim:
        calls = {}

        def rule(asked):
            calls[asked["call_id"]] = asked["requested_model"]
            return fake_collector.allow(output_tokens_held=400)(asked)

        def more(fields):
            if calls[fields["call_id"]] == "gpt-4o":
                return no_more(fields)
            return {"decision": "allow", "reason": "none",
                    "output_tokens_held": fields["text_bytes"] // 4 + 1000}

        shim.collector.rule = rule
        shim.collector.more = more
        done = shim.python(code, URL, **PATIENT)
        equal(done.stdout.split(), ["cut", "62", "cut"], "streams: " + done.stderr)
        equal(shim.counters().get("answers_cut"), 2, "cut")
        equal(shim.logged("broken"), [], "what the provider found")


if __name__ == "__main__":
    main()
