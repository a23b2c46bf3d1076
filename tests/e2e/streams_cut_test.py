#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Answers that outgrow their hold: topped up where the budgets have room, else cut with an error that
their provider's clients understand. The real collector, library and SDKs."""
import json
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import lab  # noqa: E402  pylint: disable=wrong-import-position
import netns  # noqa: E402  pylint: disable=wrong-import-position
import streamer  # noqa: E402  pylint: disable=wrong-import-position
import tap  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal  # noqa: E402

SDKS = lab.python_with_sdks(os.path.join(lab.ROOT, "tests/clients/python/newest.txt"))
WORDS = "w" * 4000  # 1000 likely tokens
EVENTS = 12
# Longer than a busy machine keeps the collector from answering: else the policy lets pass.
PATIENT = {"NULLSPEND_DEADLINE_MS": "30000"}


def openai_chunk(text, finish=None):
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
            "model": "gpt-4o-mini",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}


def responses_delta(number, text):
    return ("response.output_text.delta",
            {"type": "response.output_text.delta", "sequence_number": number, "item_id": "m",
             "output_index": 0, "content_index": 0, "delta": text})


def anthropic_delta(text):
    return ("content_block_delta", {"type": "content_block_delta", "index": 0,
                                    "delta": {"type": "text_delta", "text": text}})


def gemini_chunk(text):
    return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}],
            "modelVersion": "gemini-2.5-flash"}


def chat_events():
    return streamer.sse(*[openai_chunk(WORDS) for _ in range(EVENTS)], openai_chunk("", "stop"),
                        "[DONE]")


def responses_events():
    created = ("response.created", {"type": "response.created", "sequence_number": 0, "response": {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-4o-mini",
        "status": "in_progress", "output": [], "parallel_tool_calls": True, "tool_choice": "auto",
        "tools": []}})
    return streamer.sse(created, *[responses_delta(i + 1, WORDS) for i in range(EVENTS)])


def anthropic_events():
    start = ("message_start", {"type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": [], "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 50, "output_tokens": 1}}})
    block = ("content_block_start", {"type": "content_block_start", "index": 0,
                                     "content_block": {"type": "text", "text": ""}})
    return streamer.sse(start, block, *[anthropic_delta(WORDS) for _ in range(EVENTS)])


def gemini_events():
    return streamer.sse(*[gemini_chunk(WORDS) for _ in range(EVENTS)], line="\r\n")


def gemini_array():
    chunks = [json.dumps(gemini_chunk(WORDS)) for _ in range(EVENTS)]
    return [("[" if i == 0 else ",\r\n").encode() + chunk.encode()
            for i, chunk in enumerate(chunks)] + [b"]"]


# What is asked: host, path, body.
MESSAGES = [{"role": "user", "content": "hello"}]
CHAT = ("api.openai.com", "/v1/chat/completions",
        {"model": "gpt-4o-mini", "stream": True, "messages": MESSAGES})
RESPONSES = ("api.openai.com", "/v1/responses",
             {"model": "gpt-4o-mini", "stream": True, "input": "hello"})
# A cap would bound its hold, too: what Anthropic's stream outgrows here is a small cap.
ANTHROPIC = ("api.anthropic.com", "/v1/messages",
             {"model": "claude-sonnet-4-5", "stream": True, "max_tokens": 1024,
              "messages": MESSAGES})
GEMINI_BODY = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
GEMINI = ("generativelanguage.googleapis.com",
          "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", GEMINI_BODY)
GEMINI_ARRAY = ("generativelanguage.googleapis.com",
                "/v1beta/models/gemini-2.5-flash:streamGenerateContent", GEMINI_BODY)
# Dollars with which some 1600 tokens of output are covered.
ROOM = {"api.openai.com": "0.001", "api.anthropic.com": "0.025",
        "generativelanguage.googleapis.com": "0.004"}


def curl(laboratory, server, asked, customer, **more):
    host, path, body = asked
    return subprocess.run(
        ["curl", "-sSN", "--http1.1", "-d", json.dumps(body),
         f"https://{host}:{server.port}{path}"],
        env=laboratory.governed_curl(**{"NULLSPEND_CUSTOMER": customer, **PATIENT, **more}),
        timeout=120,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def budget(laboratory, customer, limit, *more):
    laboratory.cli("budget", "set", "customer:" + customer, "--limit", limit, "--period", "total",
                   *more)


def row(laboratory, customer):
    laboratory.await_query("budgets", lambda rows: all(
        r["held_usd"] == 0 for r in rows if r["entity"] == "customer:" + customer))
    rows = laboratory.sql("select outcome, evidence, output_tokens, cost_nanousd, hold_nanousd "
                          f"from nullspend.calls where customer = '{customer}'")
    equal(len(rows), 1, "rows of calls")
    outcome, evidence, *numbers = rows[0]
    return outcome, evidence, *(int(number) for number in numbers)


def denials(laboratory, customer):
    return laboratory.sql("select reason, entity from nullspend.denials "
                          f"where customer = '{customer}'")


def is_cut(laboratory, name, asked, events, framing, expected):
    """A stream of a provider, cut: what came, the row, the denial, and the server's end of it."""
    customer = f"cut-{name}-{framing}"
    budget(laboratory, customer, ROOM[asked[0]])
    with streamer.Streamer(laboratory.authority, lambda _: [
            *streamer.FRAMINGS[framing](events())]) as server:
        done = curl(laboratory, server, asked, customer)
        equal(done.returncode, 0, f"exit of curl: {done.stderr.decode()}")
        seen = done.stdout.count(WORDS.encode())
        check(1 <= seen < EVENTS, f"{seen} events came")
        expected(done.stdout.decode())
    outcome, evidence, made, cost, hold = row(laboratory, customer)
    check(1000 * seen <= made <= 1000 * seen + 1, f"{made} tokens for {seen} events")
    equal((outcome, evidence), ("cancelled", "partial" if name == "anthropic" else "counted"), "row")
    check(cost >= hold > 0, f"cost {cost}, hold {hold}")
    equal(denials(laboratory, customer), [["budget_exceeded", "customer:" + customer]], "denials")


def ends_chat(text):
    *_, error, last, empty = text.rstrip("\n").split("\n\n") + [""]
    equal((last, empty), ("data: [DONE]", ""), "the end")
    body = json.loads(error.strip("\n").removeprefix("data: "))
    equal(body["error"]["code"], "project_spend_limit_exceeded", "code")
    check("ends here" in body["error"]["message"], body)


def ends_responses(text):
    name, data = text.rstrip("\n").split("\n")[-2:]
    equal(name, "event: error", "event")
    body = json.loads(data.removeprefix("data: "))
    equal((body["type"], body["code"]), ("error", "insufficient_quota"), "error")
    equal(body["sequence_number"], text.count("sequence_number") - 1, "sequence number")


def ends_anthropic(text):
    name, data = text.rstrip("\n").split("\n")[-2:]
    equal(name, "event: error", "event")
    equal(json.loads(data.removeprefix("data: "))["error"]["type"], "billing_error", "type")


def ends_gemini(text):
    body = json.loads(text.rstrip().split("\r\n")[-1].removeprefix("data: "))
    equal(body["error"]["code"], 403, "code")


def ends_array(text):
    *chunks, error = json.loads(text)
    check(all("candidates" in chunk for chunk in chunks), "chunks")
    equal(error["error"]["status"], "PERMISSION_DENIED", "status")


CUTS = {"chat": (CHAT, chat_events, ends_chat),
        "responses": (RESPONSES, responses_events, ends_responses),
        "anthropic": (ANTHROPIC, anthropic_events, ends_anthropic),
        "gemini": (GEMINI, gemini_events, ends_gemini),
        "gemini-array": (GEMINI_ARRAY, gemini_array, ends_array)}


def is_topped_up(laboratory):
    budget(laboratory, "rich", "1")
    seen = threading.Event()
    held = []

    def look():
        laboratory.await_query("budgets", lambda rows: any(
            r["entity"] == "customer:rich" and r["held_usd"] > 0.004 for r in rows))
        held.append(True)
        seen.set()
    events = chat_events()
    with streamer.Streamer(laboratory.authority, lambda _: streamer.chunked(
            [*events[:8], look, *events[8:]])) as server:
        done = curl(laboratory, server, CHAT, "rich")
    equal(done.returncode, 0, done.stderr.decode())
    equal(done.stdout.count(WORDS.encode()), EVENTS, "events")
    check(held, "the hold did not grow while the stream ran")
    outcome, evidence, made, cost, hold = row(laboratory, "rich")
    equal((outcome, evidence, made), ("ok", "counted", 1000 * EVENTS), "row")
    check(hold >= cost, f"hold {hold}, cost {cost}")
    equal(denials(laboratory, "rich"), [], "denials")


def is_never_cut(laboratory, customer, *options, **more):
    budget(laboratory, customer, ROOM["api.openai.com"], *options)
    with streamer.Streamer(laboratory.authority,
                           lambda _: streamer.chunked(chat_events())) as server:
        done = curl(laboratory, server, CHAT, customer, **more)
    equal(done.stdout.count(WORDS.encode()), EVENTS, "events")
    equal(row(laboratory, customer)[:3], ("ok", "counted", 1000 * EVENTS), "row")


def collector_dies(laboratory, policy, expected):
    """In the middle of a stream that outgrows its hold."""
    customer = "orphan-" + policy
    budget(laboratory, customer, ROOM["api.openai.com"])

    def die():
        laboratory.collector.kill()
        laboratory.collector.wait()
    events = chat_events()
    with streamer.Streamer(laboratory.authority, lambda _: streamer.chunked(
            [events[0][:20], die, events[0][20:], *events[1:]])) as server:
        done = curl(laboratory, server, CHAT, customer, NULLSPEND_ON_UNREACHABLE=policy)
    laboratory.collector = None
    laboratory.start_collector()
    expected(done.stdout.decode())


SDK = """
import json, sys
port, how = sys.argv[1:]
seen, error = 0, None
try:
    if how == "openai":
        import openai
        client = openai.OpenAI(base_url=f"https://api.openai.com:{port}/v1", api_key="sk-1")
        for chunk in client.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], stream=True):
            seen += 1
    elif how == "openai-responses":
        import openai
        client = openai.OpenAI(base_url=f"https://api.openai.com:{port}/v1", api_key="sk-1")
        for event in client.responses.create(model="gpt-4o-mini", input="hi", stream=True):
            seen += event.type == "response.output_text.delta"
            if event.type == "error":
                error = ["event", event.message]
    elif how == "anthropic":
        import anthropic
        client = anthropic.Anthropic(base_url=f"https://api.anthropic.com:{port}", api_key="sk-1")
        for event in client.messages.create(model="claude-sonnet-4-5", max_tokens=1024, stream=True,
                                            messages=[{"role": "user", "content": "hi"}]):
            seen += event.type == "content_block_delta"
    elif how == "gemini":
        from google import genai
        client = genai.Client(api_key="sk-1", http_options={
            "base_url": f"https://generativelanguage.googleapis.com:{port}"})
        for chunk in client.models.generate_content_stream(model="gemini-2.5-flash", contents="hi"):
            seen += bool(chunk.text)
except Exception as raised:
    error = [type(raised).__module__.split(".")[0] + "." + type(raised).__name__, str(raised)]
print(json.dumps([seen, error, len(sys.argv)]))
"""


def sdk_reads(laboratory, how, host, events, exception):
    customer = "sdk-" + how
    budget(laboratory, customer, ROOM[host])
    with streamer.Streamer(laboratory.authority, lambda _: streamer.chunked(events())) as server:
        done = subprocess.run([SDKS, "-c", SDK, str(server.port), how], text=True, timeout=120,
                              env=laboratory.governed(NULLSPEND_CUSTOMER=customer, **PATIENT),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        equal(done.returncode, 0, done.stderr)
        equal(len(server.requests), 1, "attempts")
    seen, error, _ = json.loads(done.stdout)
    check(1 <= seen < EVENTS, f"{seen} pieces of text")
    check(error is not None, "no error")
    if exception is not None:
        equal(error[0], exception, f"what it raised ({error[1]})")
    check("ends here" in error[1], error[1])
    equal(row(laboratory, customer)[0], "cancelled", "outcome")


def main():
    netns.enter(lab.HOSTS)
    with lab.Lab() as laboratory:
        laboratory.start_collector()

        for name, (asked, events, expected) in CUTS.items():
            for framing in streamer.FRAMINGS:
                def cut(name=name, asked=asked, events=events, expected=expected, framing=framing):
                    is_cut(laboratory, name, asked, events, framing, expected)
                cut.__name__ = f"a_{name}_stream_framed_by_{framing}_is_cut_in_its_own_shape"
                tap.test(cut)

        for how, host, events, exception in [
                ("openai", "api.openai.com", chat_events, "openai.APIError"),
                ("openai-responses", "api.openai.com", responses_events, None),
                ("anthropic", "api.anthropic.com", anthropic_events, None),
                ("gemini", "generativelanguage.googleapis.com", gemini_events, None)]:
            def sdk(how=how, host=host, events=events, exception=exception):
                sdk_reads(laboratory, how, host, events, exception)
            sdk.__name__ = f"the_sdk_{how}_hears_of_the_cut_once"
            tap.test(sdk)

        @tap.test
        def a_stream_is_topped_up_while_there_is_room():
            is_topped_up(laboratory)

        @tap.test
        def soft_budgets_and_shadow_mode_never_cut():
            is_never_cut(laboratory, "soft", "--policy", "soft")
            is_never_cut(laboratory, "shadow-budget", "--policy", "shadow")
            is_never_cut(laboratory, "shadow", NULLSPEND_MODE="shadow")
            is_never_cut(laboratory, "observe", NULLSPEND_MODE="observe")

        @tap.test
        def without_a_collector_the_policy_decides_whether_it_goes_on():
            collector_dies(laboratory, "allow", lambda text: equal(
                text.count(WORDS), EVENTS, "events"))
            collector_dies(laboratory, "deny", lambda text: check(
                text.count(WORDS) < EVENTS and "cannot be asked" in text, text[-600:]))

        tap.main()


if __name__ == "__main__":
    main()
