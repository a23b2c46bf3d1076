#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Mandates, with a real collector and a real Postgres: which calls may be made at all."""
import os
import subprocess
import sys
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import lab  # noqa: E402  pylint: disable=wrong-import-position
import messages  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, test  # noqa: E402  pylint: disable=wrong-import-position

SDKS = lab.python_with_sdks(os.path.join(lab.ROOT, "tests/clients/python/newest.txt"))
lab.enter()

CALL = """
import openai, sys
client = openai.OpenAI(api_key="sk-test", max_retries=2)
for model in sys.argv[1:]:
    try:
        answer = client.chat.completions.create(model=model, max_tokens=10,
                                                messages=[{"role": "user", "content": "hi"}])
        print("answered")
    except openai.APIStatusError as error:
        print(error.status_code, error.response.headers["x-nullspend-reason"],
              error.response.headers["x-nullspend-budget"], error.body["message"])
"""


def ask(speaker, **identity):
    """The verdict on a call as its words, and the call's id."""
    call = messages.call(**identity)
    verdict = speaker.ask("CHECK", **call)
    return (messages.word("decision", verdict["decision"]),
            messages.word("reason", verdict["reason"]), verdict.get("message", ""),
            str(uuid.UUID(bytes=call["call_id"])))


def speak(laboratory):
    speaker = messages.Client(laboratory.endpoint)
    equal(speaker.hello()["refused"], 0, "refused")
    return speaker


@test
def a_program_may_call_what_its_mandate_allows_and_nothing_else():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        laboratory.cli("mandate", "set", "agent:bot", "--allow-models", "gpt-4o*, o4-mini")
        done = laboratory.run([SDKS, "-c", CALL, "gpt-4o-mini", "gpt-4.1"], NULLSPEND_AGENT="bot")
        answered, denied = done.stdout.splitlines()
        equal(answered, "answered", "what is allowed")
        equal(denied.split(" ", 3)[:3], ["402", "mandate", "agent:bot"], "what is not")
        check("the mandate of agent:bot: model gpt-4.1 is not in allow_models. Request not sent. "
              "See: nullspend mandate show agent:bot" in denied, denied)
        equal(len(laboratory.requests()), 1, "requests that left")
        row, = laboratory.json("denials")
        equal((row["reason"], row["entity"], row["rule"], row["limit_usd"], row["model"],
               row["enforced"]), ("mandate", "agent:bot", "model gpt-4.1 is not in allow_models",
                                  None, "gpt-4.1", True), "denial")
        text = laboratory.cli("explain", row["denial_id"]).stdout
        check("mandate    agent:bot\nrule       model gpt-4.1 is not in allow_models\n" in text, text)
        check("At that moment" not in text, text)
        laboratory.cli("mandate", "rm", "agent:bot")
        done = laboratory.run([SDKS, "-c", CALL, "gpt-4.1"], NULLSPEND_AGENT="bot")
        equal(done.stdout, "answered\n", "without a mandate")


LOOP = """
import openai, sys
client = openai.OpenAI(api_key="sk-test", max_retries=0)
messages = [{"role": "user", "content": "hi"}]
for turn in range(5):
    try:
        client.chat.completions.create(model="gpt-4o-mini", max_tokens=10, messages=messages)
        print("answered")
    except openai.APIStatusError as error:
        print(error.status_code, error.response.headers["x-nullspend-reason"],
              error.response.headers["x-nullspend-budget"], error.body["message"])
    if sys.argv[1] == "grow":
        messages += [{"role": "assistant", "content": f"try {turn}"},
                     {"role": "user", "content": "hi"}]
    elif sys.argv[1] == "differ":
        messages[0]["content"] = f"hi {turn}"
"""


@test
def an_agent_that_repeats_itself_is_stopped():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        row, = laboratory.json("mandate", "set", "agent:*", "--repeats", "3/1h")
        equal((row["repeats_max"], row["repeats_window_s"]), (3, 3600), "mandate")
        check("repeats 3/3600" in laboratory.cli("mandate", "list").stdout, "list")
        for way, agent, rule in [("same", "one", "is the same request"),
                                 ("grow", "two", "ends with the same text and is longer than the"
                                                 " one before")]:
            lines = laboratory.run([SDKS, "-c", LOOP, way], NULLSPEND_AGENT=agent).stdout
            lines = lines.splitlines()
            equal(lines[:3], ["answered"] * 3, f"{way}: the first")
            for number, line in enumerate(lines[3:], 4):
                equal(line.split(" ", 3)[:3], ["429", "loop", "agent:*"], f"{way}: the others")
                check(f"number {number} within 3600 s that {rule}, and repeats is 3/3600" in line,
                      line)
        lines = laboratory.run([SDKS, "-c", LOOP, "differ"], NULLSPEND_AGENT="three").stdout
        equal(lines, "answered\n" * 5, "calls that differ")
        lines = laboratory.run([SDKS, "-c", LOOP, "same"]).stdout
        equal(lines, "answered\n" * 5, "no agent's")
        equal(len(laboratory.requests()), 3 + 3 + 5 + 5, "requests that left")
        rows = laboratory.json("denials")
        equal({(row["reason"], row["http_status"]) for row in rows}, {("loop", 429)}, "denials")
        laboratory.await_sql("select count(*) from nullspend.events where kind = 'loop'", "1")
        laboratory.cli("mandate", "set", "agent:*", "--repeats", "none", "--deny-tools", "x")
        lines = laboratory.run([SDKS, "-c", LOOP, "same"], NULLSPEND_AGENT="one").stdout
        equal(lines, "answered\n" * 5, "without it")
        for words in ["0/60s", "3", "3/", "/60s", "3/0s", "3/2d", "-1/60s", "x/60s", ""]:
            done = laboratory.cli("mandate", "set", "agent:*", "--repeats", words, check=False)
            equal(done.returncode, 2, f"exit code of --repeats {words}")
            check("--repeats is N/TIME like 50/60s" in done.stderr, done.stderr)


WITH_TOOLS = """
import json, openai, sys
client = openai.OpenAI(api_key="sk-test", max_retries=0)
for tools in ([{"type": "web_search"}], []):
    try:
        client.responses.create(model="gpt-4o-mini", input="hi", tools=tools)
        print("answered")
    except openai.APIStatusError as error:
        print(error.body["message"])
"""


@test
def a_tool_that_a_program_may_not_offer_is_seen_in_its_request():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        laboratory.cli("mandate", "set", "org", "--deny-tools", "web_search*")
        done = laboratory.run([SDKS, "-c", WITH_TOOLS])
        denied, answered = done.stdout.splitlines()
        check("tool web_search is in deny_tools" in denied, denied)
        equal(answered, "answered", "without it")


@test
def each_part_of_a_mandate_is_held_against_each_call():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        speaker = speak(laboratory)
        rows = [
            (["--deny-models", "*-pro,O3*"], {"requested_model": "o3-mini"}, {},
             "model o3-mini is in deny_models"),
            (["--allow-models", "gpt-4o*", "--deny-models", "*audio*"],
             {"requested_model": "gpt-4o-audio-preview"}, {},
             "model gpt-4o-audio-preview is in deny_models"),
            (["--allow-models", "gpt-4o*"], {"requested_model": ""}, {},
             'model "" is not in allow_models'),
            (["--allow-providers", "anthropic,openai"], {"provider": "xai"}, {},
             "provider xai is not in allow_providers"),
            (["--deny-hosts", "*.example.com"], {"host": "api.example.com"}, {},
             "host api.example.com is in deny_hosts"),
            (["--allow-operations", "chat"], {"operation": "embeddings"}, {},
             "operation embeddings is not in allow_operations"),
            (["--deny-tiers", "priority"], {"requested_tier": "priority"}, {},
             "service tier priority is in deny_tiers"),
            (["--allow-tiers", "flex"], {}, {"requested_tier": "flex"},
             "service tier default is not in allow_tiers"),
            (["--max-output-tokens", "500"], {"output_tokens_max": 501}, {"output_tokens_max": 500},
             "it asks for up to 501 tokens, and output_tokens_max is 500"),
            (["--max-output-tokens", "500"], {"output_tokens_max": 0},
             {"output_tokens_max": 0, "operation": "embeddings"},
             "it does not limit its output, and output_tokens_max is 500"),
            (["--deny-tools", "web_search*,mcp"], {"tools": "function,web_search_20250305"},
             {"tools": "function"}, "tool web_search_20250305 is in deny_tools"),
            (["--allow-tools", "function"], {"tools": "function,mcp"}, {"tools": "function"},
             "tool mcp is not in allow_tools"),
            (["--deny-tools", "mcp"], {"tools": "function,*"}, {},
             "tool (unread) is in deny_tools"),
            (["--allow-tools", "mcp"], {"tools": "*"}, {"tools": "mcp"},
             "tool (unread) is not in allow_tools"),
            (["--require", "tag:env"], {"tags": [("envy", "x")]}, {"tags": [("env", "x")]},
             "it names no tag:env, which is required"),
            (["--require", "team"], {}, {"tags": [("team", "x")]},
             "it names no team, which is required"),
        ]
        for options, bad, good, rule in rows:
            laboratory.cli("mandate", "set", "org", *options)
            decision, reason, message, _ = ask(speaker, **bad)
            equal((decision, reason), ("deny", "mandate"), f"{options} {bad}")
            check(f"the mandate of org: {rule}. Request" in message, message)
            equal(ask(speaker, **good)[0], "allow", f"{options} {good}")
            laboratory.cli("mandate", "rm", "org")
        laboratory.cli("mandate", "set", "org", "--require", "customer")
        equal(ask(speaker)[:2], ("deny", "customer_required"), "nobody's call")
        equal(ask(speaker, customer="acme")[0], "allow", "a customer's call")


@test
def all_mandates_of_a_call_hold_and_an_entitys_own_takes_the_place_of_its_kinds():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        speaker, cli = speak(laboratory), laboratory.cli
        cli("mandate", "set", "customer:*", "--allow-models", "gpt-4o-mini")
        cli("mandate", "set", "customer:big", "--allow-models", "*")
        cli("mandate", "set", "agent:bot", "--deny-models", "o1*", "--policy", "shadow")
        cli("mandate", "set", "tag:env=*", "--deny-providers", "xai")
        equal(ask(speaker, customer="small", requested_model="gpt-4o")[:2], ("deny", "mandate"),
              "of any customer")
        equal(ask(speaker, requested_model="gpt-4o")[0], "allow", "of no customer")
        equal(ask(speaker, customer="big", requested_model="gpt-4o")[0], "allow", "of its own")
        equal(ask(speaker, tags=[("env", "test")], provider="xai")[0], "deny", "of any such tag")
        decision, reason, message, call = ask(speaker, customer="big", agent="bot",
                                              requested_model="o1")
        equal((decision, reason), ("allow", "mandate"), "only recorded")
        check("mandate of agent:bot" in message, message)
        row, = laboratory.json("explain", call)
        equal((row["enforced"], row["reason"], row["rule"]),
              (False, "mandate", "model o1 is in deny_models"), "record")
        equal(ask(speaker, customer="small", agent="bot", requested_model="o1")[:2],
              ("deny", "mandate"), "one denies, one records")
        equal(ask(speaker, customer="small", requested_model="gpt-4o", mode="shadow")[0], "allow",
              "in shadow mode")
        # A budget's own denial is the one that is told where a mandate would only record.
        cli("budget", "set", "agent:bot", "--limit", "0", "--period", "day")
        equal(ask(speaker, agent="bot", requested_model="o1")[:2], ("deny", "budget_exceeded"),
              "both")


@test
def mandates_hold_while_postgres_is_away_and_over_restarts():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        speaker = speak(laboratory)
        laboratory.cli("mandate", "set", "agent:one", "--deny-models", "*")
        laboratory.cli("mandate", "set", "agent:two", "--deny-models", "*")
        laboratory.cli("mandate", "rm", "agent:two")
        equal(ask(speaker, agent="one")[0], "deny", "before")
        equal(ask(speaker, agent="one", mode="shadow")[0], "allow", "before, in shadow mode")
        # Killed: it comes back from its journal, which must replay with what mandates said.
        laboratory.stop_collector(9)
        laboratory.start_collector(database_url="postgresql:///nobody?host=/nonexistent")
        speaker = speak(laboratory)
        equal(ask(speaker, agent="one")[0], "deny", "from the journal")
        equal(ask(speaker, agent="two")[0], "allow", "from the journal, without its mandate")
        # Stopped: from a snapshot.
        laboratory.stop_collector()
        laboratory.start_collector()
        speaker = speak(laboratory)
        equal(ask(speaker, agent="one")[0], "deny", "from a snapshot")
        laboratory.sql("update nullspend.mandates set entity = 'agent:three'")
        laboratory.await_sql("select enforced_revision = (select revision from"
                             " nullspend.budgets_revision) from nullspend.collector_state", "t")
        equal(ask(speaker, agent="one")[0], "allow", "of an agent whose mandate went")
        equal(ask(speaker, agent="three")[0], "deny", "of the one that got it")


@test
def mandates_are_set_listed_shown_and_removed():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        cli, json_of = laboratory.cli, laboratory.json
        check("No mandates. Set one:" in cli("mandate", "list").stdout, "an empty list")
        text = cli("mandate", "set", "agent:bot", "--allow-models", " gpt-4o* ,o4-mini,",
                   "--max-output-tokens", "4096", "--require", "customer,tag:env").stdout
        check("allow_models gpt-4o*, o4-mini; require customer, tag:env; output_tokens_max 4096"
              in text, text)
        cli("mandate", "set", "agent:bot", "--deny-tiers", "priority", "--require", "")
        row, = json_of("mandate", "show", "agent:bot")
        equal((row["allow_models"], row["deny_tiers"], row["require"], row["output_tokens_max"],
               row["policy"]), (["gpt-4o*", "o4-mini"], ["priority"], [], 4096, "hard"), "mandate")
        cli("mandate", "set", "agent:bot", "--max-output-tokens", "none", "--policy", "shadow")
        equal(json_of("mandate", "list")[0]["output_tokens_max"], None, "no longer limited")
        for code, words, arguments in [
                (2, "--policy is hard or shadow", ["set", "org", "--policy", "soft"]),
                (2, "a number above 0", ["set", "org", "--max-output-tokens", "0"]),
                (2, "a number above 0", ["set", "org", "--max-output-tokens", "-1"]),
                (2, "set needs a list", ["set", "org"]),
                (2, "is no entity", ["set", "nonsense", "--deny-models", "x"]),
                (2, "list does not take", ["list", "--deny-models", "x"]),
                (2, "set wants an ENTITY", ["set", "--deny-models", "x"]),
                (2, "wants set, list, show or rm", ["put"]),
                (2, "require is customer, agent,", ["set", "org", "--require", "money"]),
                (2, "1 to 192 bytes", ["set", "org", "--deny-models", "x" * 193]),
                (2, "too long together", ["set", "org", "--deny-models", ",".join(["x" * 190] * 99)]),
                (4, "no mandate for agent:none", ["rm", "agent:none"]),
                (4, "no mandate for agent:none", ["show", "agent:none"])]:
            done = cli("mandate", *arguments, check=False)
            equal(done.returncode, code, f"{arguments}: {done.stderr}")
            check(words in done.stderr, f"{arguments}: {done.stderr}")
        equal([row["entity"] for row in json_of("mandate", "list")], ["agent:bot"], "what is there")
        cli("mandate", "rm", "agent:bot")
        equal(json_of("mandate", "list"), [], "nothing")


main()
