#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Unmodified official SDKs and common HTTP clients against the real library and collector: allowed,
denied on a kept-alive connection, allowed again, and denied on a fresh one; priced exactly."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import lab
import tap
from tap import check, equal

CLIENT = os.path.join(lab.ROOT, "tests/clients/client.py")
PYTHON = lab.python_with_sdks(os.path.join(lab.ROOT, "tests/clients/requirements.txt"))

# Of 1,000 input and 100 output tokens, at the catalogue's prices.
COSTS = {"gpt-4o-mini": 210_000, "text-embedding-3-small": 20_000,
         "claude-sonnet-4-5": 4_500_000, "gemini-2.5-flash": 550_000}

# client: (model, the exception that the program sees, its status)
OPENAI = ("gpt-4o-mini", "openai.APIStatusError", 402)
ANTHROPIC = ("claude-sonnet-4-5", "anthropic.PaymentRequiredError", 402)
GEMINI = ("gemini-2.5-flash", "google.genai.errors.ClientError", 403)
PLAIN = ("gpt-4o-mini", "__main__.HttpError", 402)
EXPECTED = {
    "openai-chat": OPENAI, "openai-chat-stream": OPENAI, "openai-responses": OPENAI,
    "openai-responses-stream": OPENAI, "openai-async-chat": OPENAI,
    "openai-async-chat-stream": OPENAI,
    "openai-embeddings": ("text-embedding-3-small", "openai.APIStatusError", 402),
    "anthropic-messages": ANTHROPIC, "anthropic-messages-stream": ANTHROPIC,
    "anthropic-async-messages-stream": ANTHROPIC,
    "gemini-generate": GEMINI, "gemini-generate-stream": GEMINI,
    "requests-openai": PLAIN, "httpx-openai": PLAIN, "httpclient-openai": PLAIN,
    "aiohttp-openai": PLAIN,
    "requests-gemini-array": ("gemini-2.5-flash", "__main__.HttpError", 403),
}


class Driven:
    """A client process that makes a call for each line."""

    def __init__(self, laboratory, name, customer):
        self.process = subprocess.Popen(
            [PYTHON, CLIENT, name], env=laboratory.governed(NULLSPEND_CUSTOMER=customer),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def call(self):
        self.process.stdin.write("call\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise tap.Failure("the client died: " + self.process.stderr.read())
        return json.loads(line)

    def end(self):
        self.process.stdin.close()
        errors = self.process.stderr.read()
        equal(self.process.wait(60), 0, "exit status of the client")
        return errors


def budget(laboratory, customer, limit):
    laboratory.cli("budget", "set", "customer:" + customer, "--limit", limit, "--period", "total")


def expect_denied(result, exception, status):
    equal(result.get("error"), exception, "exception")
    equal(result.get("status"), status, "status")
    check("nullspend" in result["message"], f"no word of nullspend in {result['message']!r}")


def governs(laboratory, name):
    model, exception, status = EXPECTED[name]
    customer = "c-" + name
    budget(laboratory, customer, "100")
    before = len(laboratory.requests())
    driven = Driven(laboratory, name, customer)
    first = driven.call()
    check("ok" in first, f"first call: {first}")
    budget(laboratory, customer, "0.000000001")
    expect_denied(driven.call(), exception, status)
    budget(laboratory, customer, "100")
    second = driven.call()
    check("ok" in second, f"call after the budget was raised: {second}")
    driven.end()
    budget(laboratory, customer, "0.000000001")
    fresh = Driven(laboratory, name, customer)
    expect_denied(fresh.call(), exception, status)
    fresh.end()
    equal(len(laboratory.requests()) - before, 2, "requests that reached the provider")
    rows = laboratory.sql(
        "select model, evidence, outcome, input_tokens, output_tokens, cost_nanousd, source "
        f"from nullspend.calls where customer = '{customer}'")
    output = "0" if "embeddings" in name else "100"
    equal(rows, [[model, "reported", "ok", "1000", output, str(COSTS[model]), "preload"]] * 2,
          "rows of calls")
    rows = laboratory.sql("select reason, entity, http_status from nullspend.denials "
                          f"where customer = '{customer}'")
    equal(rows, [["budget_exceeded", "customer:" + customer, str(status)]] * 2,
          "rows of denials: one attempt each")
    rows = laboratory.sql("select spent_usd, held_usd from nullspend.budget_status "
                          f"where entity = 'customer:{customer}'")
    equal(len(rows), 1, "rows of budget_status")
    equal(float(rows[0][0]) * 1e9, 2.0 * COSTS[model], "spent")
    equal(float(rows[0][1]), 0.0, "held")


def curl_sees_the_denial_in_its_providers_shape(laboratory):
    budget(laboratory, "curly", "0.000000001")
    before = len(laboratory.requests())
    done = laboratory.curl(
        "-i", "https://api.openai.com/v1/chat/completions", "-H", "Authorization: Bearer sk-1234",
        "-d", '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}',
        customer="curly")
    equal(done.returncode, 0, "exit status of curl: " + done.stderr)
    head, _, body = done.stdout.partition("\n\n")
    check(head.startswith("HTTP/1.1 402 "), head)
    lines = {line.split(":")[0].lower(): line.split(": ", 1)[1].strip()
             for line in head.splitlines()[1:]}
    equal(lines.get("x-nullspend-denied"), "1")
    equal(lines.get("x-nullspend-reason"), "budget_exceeded")
    equal(lines.get("x-nullspend-budget"), "customer:curly")
    equal(lines.get("x-should-retry"), "false")
    check("retry-after" not in lines, "no Retry-After")
    check("nullspend" in json.loads(body)["error"]["message"], body)
    explained = laboratory.cli("explain", lines["x-nullspend-denial-id"]).stdout
    check("customer:curly" in explained, explained)
    equal(len(laboratory.requests()), before, "requests that reached the provider")


def main():
    lab.enter()
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        for name in EXPECTED:
            def one(name=name):
                governs(laboratory, name)
            one.__name__ = name.replace("-", "_") + "_is_governed"
            tap.test(one)

        @tap.test
        def curl():
            curl_sees_the_denial_in_its_providers_shape(laboratory)
        tap.main()


if __name__ == "__main__":
    main()
