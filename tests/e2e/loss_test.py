#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A program that dies in the middle of a call: its hold ends with it, and what it had received is
charged, never as zero."""
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import lab
import tap
from tap import check, equal

MESSAGE = '{"role":"user","content":"' + "word " * 200 + '"}'


def start_stream(laboratory, customer, family, out):
    """A curl that reads a stream which does not end; returns it once text has arrived."""
    never = os.path.join(laboratory.directory, "never")
    steer = f"X-Replay: tokens=500/100;events=60;wait={never}"
    command = ["curl", "-sSN", "-o", out, "-H", steer]
    if family == "openai":
        command += ["https://api.openai.com/v1/chat/completions", "-d",
                    '{"model":"gpt-4o-mini","max_tokens":500,"stream":true,"messages":['
                    + MESSAGE + "]}"]
    else:
        command += ["https://api.anthropic.com/v1/messages", "-H", "x-api-key: sk-ant-1", "-d",
                    '{"model":"claude-sonnet-4-5","max_tokens":500,"stream":true,"messages":['
                    + MESSAGE + "]}"]
    return subprocess.Popen(command, env=laboratory.governed_curl(NULLSPEND_CUSTOMER=customer))


def await_text(path, word):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if os.path.exists(path) and word in open(path, encoding="utf-8").read():
            return
        time.sleep(0.005)
    raise tap.Failure(f"the stream never said {word!r}")


def dies_streaming(laboratory, family):
    customer = "dies-" + family
    laboratory.cli("budget", "set", "customer:" + customer, "--limit", "1", "--period", "total")
    out = os.path.join(laboratory.directory, customer + ".out")
    process = start_stream(laboratory, customer, family, out)
    await_text(out, "leaves.")
    laboratory.await_query("budgets", lambda rows: any(
        r["entity"] == "customer:" + customer and r["held_usd"] > 0 for r in rows))
    process.send_signal(signal.SIGKILL)
    process.wait()
    laboratory.await_query("budgets", lambda rows: all(
        r["held_usd"] == 0 for r in rows if r["entity"] == "customer:" + customer))
    rows = laboratory.sql("select outcome, evidence, cost_nanousd, input_tokens + output_tokens "
                          f"from nullspend.calls where customer = '{customer}'")
    equal(len(rows), 1, "rows of calls")
    outcome, evidence, cost, tokens = rows[0]
    equal(outcome, "lost")
    check(evidence in ("estimated", "partial", "counted"), f"evidence {evidence}")
    check(int(cost) > 0 and int(tokens) > 0, f"charged {cost} for {tokens} tokens")
    spent = laboratory.sql("select (spent_usd * 1e9)::bigint from nullspend.budget_status "
                           f"where entity = 'customer:{customer}'")
    equal(spent, [[cost]], "spent")


def dies_anywhere(laboratory):
    """Programs killed at random moments of many calls leave no hold."""
    dice = random.Random(7)
    laboratory.cli("budget", "set", "customer:mortal", "--limit", "100", "--period", "total")
    hammer = os.path.join(lab.ROOT, "tests/clients/hammer.py")
    for _ in range(10):
        process = subprocess.Popen([sys.executable, hammer, "4", "0", "100"],
                                   env=laboratory.governed(NULLSPEND_CUSTOMER="mortal"),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        time.sleep(dice.uniform(0, 0.2))  # the random moment itself
        process.kill()
        process.communicate()
    laboratory.await_query("budgets", lambda rows: all(
        r["held_usd"] == 0 for r in rows if r["entity"] == "customer:mortal"))
    equal(laboratory.json("status")["open_holds"], 0, "open holds")
    counted = laboratory.sql("select count(*), count(*) filter (where cost_nanousd > 0), "
                             "sum(cost_nanousd) from nullspend.calls where customer = 'mortal'")[0]
    equal(counted[0], counted[1], "rows with a cost above zero")
    reached = [r for r in laboratory.requests()
               if ["Authorization", "Bearer sk-hammer"] in r["headers"]]
    check(int(counted[0]) >= len(reached), f"{counted[0]} rows for {len(reached)} requests")
    spent = laboratory.sql("select (spent_usd * 1e9)::bigint from nullspend.budget_status "
                           "where entity = 'customer:mortal'")
    equal(spent, [[counted[2]]], "spent")


def main():
    lab.enter()
    with lab.Lab() as laboratory:
        laboratory.start_collector()

        @tap.test
        def a_program_killed_in_an_openai_stream_is_charged_what_it_received():
            dies_streaming(laboratory, "openai")

        @tap.test
        def a_program_killed_in_an_anthropic_stream_is_charged_what_it_received():
            dies_streaming(laboratory, "anthropic")

        @tap.test
        def programs_killed_at_any_moment_leave_no_hold():
            dies_anywhere(laboratory)

        tap.main()


if __name__ == "__main__":
    main()
