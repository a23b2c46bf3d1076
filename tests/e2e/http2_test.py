#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 through the preload library: curl, httpx and a provider that speaks it."""
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


def body(text="Say hello.", **more):
    return json.dumps({"model": "gpt-4o-mini",
                       "messages": [{"role": "user", "content": text}], **more})


def curl(shim, *requests, **more):
    """As Shim.curl_http2, to one URL: a request is (data, header…)."""
    return shim.curl_http2(*((URL, *request) for request in requests), **more)


def of_model(model):
    """Denies calls for this model."""
    return lambda asked: (fake_collector.deny() if asked["requested_model"] == model
                          else fake_collector.allow())(asked)


# --- allowed ----------------------------------------------------------------------------------------


@test
def an_allowed_call_leaves_unchanged_without_our_headers_and_is_reported():
    with shimlab.Shim(provider=OPTIONS) as shim:
        text = body()
        (status, _), = curl(shim, (text, "X-Replay: tokens=1000/50", "X-NullSpend-Customer: acme"))
        equal(status, 200, "status")
        entry, = shim.logged("request")
        equal(entry["protocol"], "HTTP/2", "protocol")
        equal(entry["body_sha256"], hashlib.sha256(text.encode()).hexdigest(), "body")
        check("x-nullspend" not in json.dumps(entry["headers"]).lower(),
              f"ours left: {entry['headers']}")
        asked, = shim.collector.wait("CHECK")
        equal(asked["customer"], "acme", "customer")
        equal(asked["key_hint"], shimlab.KEY[-4:], "key")
        told, = shim.collector.wait("REPORT")
        equal(told["usage"].get("input_tokens"), 1000, "input tokens")
        equal(told["usage"].get("output_tokens"), 50, "output tokens")
        equal(messages.word("evidence", told["evidence"]), "reported", "evidence")
        equal(messages.word("outcome", told["outcome"]), "ok", "outcome")


@test
def a_stream_is_reported_with_its_usage():
    with shimlab.Shim(provider=OPTIONS) as shim:
        text = body(stream=True, stream_options={"include_usage": True})
        (status, answer), = curl(shim, (text, "X-Replay: tokens=70/30;events=50;pad=9;ping;trailers"))
        equal(status, 200, "status")
        check(answer.rstrip().endswith("[DONE]"), answer[-100:])
        told, = shim.collector.wait("REPORT")
        equal(told["usage"].get("output_tokens"), 30, "output tokens")
        check(told["streamed"], "streamed")


@test
def bodies_larger_than_the_windows_leave_whole():
    for window in (1000, 65535, 1 << 20):
        with shimlab.Shim(provider=[*OPTIONS, "--window", str(window)]) as shim:
            text = body("x" * 700_000)
            answers = curl(shim, (text, "X-NullSpend-Agent: a"), (text,), (body("small"),))
            equal([status for status, _ in answers], [200] * 3, "statuses")
            hashes = [entry["body_sha256"] for entry in shim.logged("request")]
            equal(hashes[:2], [hashlib.sha256(text.encode()).hexdigest()] * 2, "bodies")
            equal(shim.logged("broken"), [], "breaches of the protocol")
            equal(len(shim.collector.wait("REPORT", 3)), 3, "reports")


# --- denied -----------------------------------------------------------------------------------------


@test
def a_denied_call_does_not_leave_and_the_connection_goes_on():
    with shimlab.Shim(provider=OPTIONS) as shim:
        shim.collector.rule = of_model("gpt-4o")
        denied = json.dumps({"model": "gpt-4o", "messages": []})
        answers = curl(shim, (body(),), (denied, "X-NullSpend-Customer: acme"), (body("again"),),
                       (denied,), (body("and again"),))
        equal([status for status, _ in answers], [200, 402, 200, 402, 200], "statuses")
        check("nullspend" in json.loads(answers[1][1])["error"]["message"], answers[1][1])
        entries = shim.logged("request")
        equal([entry["model"] for entry in entries], ["gpt-4o-mini"] * 3, "at the provider")
        equal(len({entry["connection"] for entry in entries}), 1, "connections")
        equal([entry["body_bytes"] for entry in shim.logged("partial")], [0, 0], "bytes that left")
        equal([entry["error_code"] for entry in shim.logged("reset")], [8, 8], "resets")
        equal(shim.logged("broken"), [], "breaches of the protocol")
        equal(len(shim.collector.wait("REPORT", 3)), 3, "reports")


@test
def a_denied_body_larger_than_the_windows_does_not_leave():
    for window in (1000, 65535):
        with shimlab.Shim(provider=[*OPTIONS, "--window", str(window)]) as shim:
            shim.collector.rule = of_model("gpt-4o")
            denied = json.dumps({"messages": [{"role": "user", "content": "x" * 700_000}],
                                 "model": "gpt-4o"})
            answers = curl(shim, (denied,), (body("y" * 300_000),), (denied,), (body(),))
            equal([status for status, _ in answers], [402, 200, 402, 200], "statuses")
            equal([entry["body_bytes"] for entry in shim.logged("partial")], [0, 0],
                  "bytes that left")
            equal(shim.logged("broken"), [], "breaches of the protocol")


@test
def without_a_collector_the_policy_decides():
    for policy, expected in (("deny", 402), ("allow", 200)):
        with shimlab.Shim(collector=False, provider=OPTIONS) as shim:
            (status, text), = curl(shim, (body(),), NULLSPEND_ON_UNREACHABLE=policy)
            equal(status, expected, f"status with {policy}: {text}")


@test
def a_head_that_is_too_long_to_be_read_follows_the_policy():
    code = """
import sys, httpx
with httpx.Client(http2=True, timeout=60) as client:
    for headers in ({"X-Long": "v" * 70000}, {}):
        answer = client.post(sys.argv[1], json={"model": "gpt-4o-mini", "messages": []},
                             headers=headers)
        print(answer.status_code, "cannot be judged" in answer.text)
"""
    for policy, expected, counter in (("allow", "200 False", "calls_unread"),
                                      ("deny", "402 True", "denied_too_large")):
        with shimlab.Shim(provider=[*OPTIONS, "--head", "100000"]) as shim:
            done = shim.python(code, URL, NULLSPEND_ON_UNREACHABLE=policy)
            equal(done.stdout.splitlines(), [expected, "200 False"], f"{policy}: {done.stderr}")
            equal(shim.counters().get(counter), 1, f"{counter} of {shim.counters()}")
            equal(len(shim.collector.of("CHECK")), 1, "questions")
            equal([entry["body_bytes"] for entry in shim.logged("partial")],
                  [0] if policy == "deny" else [], "what left of the denied")
            equal(shim.logged("broken"), [], "breaches of the protocol")


# --- many streams -----------------------------------------------------------------------------------

MANY = shimlab.WATCHED_READS + """
import asyncio, json, sys
import httpx

async def main():
    limits = httpx.Limits(max_connections=1)
    url, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    async with httpx.AsyncClient(http2=True, timeout=60, limits=limits) as client:
        async def one(i):
            model = "gpt-4o" if i % 3 == 0 else "gpt-4o-mini"
            stream = i % 2 == 0
            data = {"messages": [{"role": "user", "content": "x" * (size * (i % 5))}],
                    "model": model, "stream": stream}
            if stream:
                data["stream_options"] = {"include_usage": True}
            headers = {"X-NullSpend-Session": f"s{i}"} if i % 4 == 0 else {}
            answer = await client.post(url, json=data, headers=headers)
            return [model, answer.status_code, answer.http_version, answer.text[:200]]
        await client.get(url) # streams that fill their windows before SETTINGS come are reset
        for turn in range(2):
            print(json.dumps(await asyncio.gather(*(one(i) for i in range(count)))))
    print("wrote", written, file=sys.stderr)

asyncio.run(main())
"""


@test
def a_hundred_streams_at_once_are_judged_one_by_one():
    for window, size in ((65535, 10), (2000, 5000)):
        with shimlab.Shim(provider=[*OPTIONS, "--window", str(window)]) as shim:
            shim.collector.rule = of_model("gpt-4o")
            done = shim.python(MANY, URL, "100", str(size))
            equal(done.returncode, 0, "exit status: " + done.stderr)
            check("wrote []" in done.stderr, "reads that wrote: " + done.stderr)
            for line in done.stdout.splitlines():
                for model, status, version, text in json.loads(line):
                    equal(version, "HTTP/2", "version")
                    equal(status, 402 if model == "gpt-4o" else 200, f"status of {model}: {text}")
            entries = [entry for entry in shim.logged("request") if entry["method"] == "POST"]
            equal(len(entries), 132, "requests at the provider")
            equal({entry["model"] for entry in entries}, {"gpt-4o-mini"}, "models there")
            equal(len({entry["connection"] for entry in entries}), 1, "connections")
            equal(shim.logged("broken"), [], "breaches of the protocol")
            equal(sum(entry["body_bytes"] for entry in shim.logged("partial")), 0,
                  "bytes of denied requests")
            reports = shim.collector.wait("REPORT", 132)
            check(all(report["usage"].get("output_tokens") for report in reports), "usage")
            sessions = {asked["session"] for asked in shim.collector.of("CHECK")}
            equal(sessions, {f"s{i}" for i in range(0, 100, 4)} | {""}, "sessions")


WITHHELD = """
import asyncio, sys
import httpx

async def slow(gate):
    yield b'{"model": "gpt-4o-mini", "messages": ['
    await gate.wait()
    yield b']}'

async def main():
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(http2=True, timeout=60, limits=limits) as client:
        gate = asyncio.Event()
        first = asyncio.create_task(client.post(sys.argv[1], content=slow(gate)))
        await asyncio.sleep(0)
        second = await client.post(sys.argv[1], json={"model": "gpt-4o", "messages": []})
        third = await client.post(sys.argv[1], json={"model": "gpt-4o-mini", "messages": []})
        gate.set()
        print(second.status_code, third.status_code, (await first).status_code)

asyncio.run(main())
"""


@test
def a_stream_that_is_withheld_blocks_no_other():
    with shimlab.Shim(provider=OPTIONS) as shim:
        shim.collector.rule = of_model("gpt-4o")
        done = shim.python(WITHHELD, URL)
        equal(done.stdout.split(), ["402", "200", "200"], "statuses: " + done.stderr)


# --- endings ----------------------------------------------------------------------------------------


@test
def a_stream_that_the_program_leaves_is_told_by_what_it_had():
    code = """
import sys, httpx
with httpx.Client(http2=True, timeout=60) as client:
    data = {"model": "gpt-4o-mini", "messages": [], "stream": True}
    headers = {"X-Replay": "events=40;say=word;wait=/proc/nowhere"}
    with client.stream("POST", sys.argv[1], json=data, headers=headers) as answer:
        for line in answer.iter_lines():
            if "word" in line:
                break
    print(client.post(sys.argv[1], json=dict(data, stream=False)).status_code)
"""
    with shimlab.Shim(provider=OPTIONS) as shim:
        done = shim.python(code, URL)
        equal(done.stdout.split(), ["200"], "the next call: " + done.stderr)
        told = {report["streamed"]: report for report in shim.collector.wait("REPORT", 2)}
        equal(messages.word("outcome", told[True]["outcome"]), "cancelled", "outcome")
        equal(messages.word("evidence", told[True]["evidence"]), "counted", "evidence")
        check(told[True]["output_text_bytes"] > 0, "text seen")
        equal(messages.word("outcome", told[False]["outcome"]), "ok", "outcome of the next")


@test
def a_stream_that_the_server_refuses_costs_nothing():
    with shimlab.Shim(provider=OPTIONS) as shim:
        code = """
import sys, httpx
with httpx.Client(http2=True, timeout=60) as client:
    try:
        client.post(sys.argv[1], json={"model": "gpt-4o-mini", "messages": []},
                    headers={"X-Replay": "reset=7"})
    except httpx.RemoteProtocolError as error:
        print("reset")
"""
        done = shim.python(code, URL)
        equal(done.stdout.split(), ["reset"], "the program sees: " + done.stderr)
        shim.collector.wait("RELEASE")
        equal(shim.collector.of("REPORT"), [], "reports")


if __name__ == "__main__":
    main()
