#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Programs ask for more money, people decide, and what is granted is counted to the nano-dollar."""
import os
import subprocess
import sys
from decimal import Decimal

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import lab  # noqa: E402  pylint: disable=wrong-import-position
import messages  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, test  # noqa: E402  pylint: disable=wrong-import-position

SDKS = lab.python_with_sdks(os.path.join(lab.ROOT, "tests/clients/python/newest.txt"))
lab.enter()

# Calls until it is denied, at most 500 times.
CALLS = """
import openai, sys
client = openai.OpenAI(api_key="sk-test", max_retries=0)
for count in range(500):
    try:
        client.chat.completions.create(model=sys.argv[1], max_tokens=10,
                                       messages=[{"role": "user", "content": "hi"}])
    except openai.APIStatusError as error:
        print(count, error.status_code, error.body["message"])
        break
else:
    print("never denied")
"""
IN_FORCE = ("select enforced_revision = (select revision from nullspend.budgets_revision)"
            " from nullspend.collector_state")


def speak(laboratory):
    speaker = messages.Client(laboratory.endpoint)
    equal(speaker.hello()["refused"], 0, "refused")
    return speaker


def ask(speaker, **identity):
    """A call's verdict, and the call."""
    call = messages.call(agent="bot", **identity)
    return speaker.ask("CHECK", **call), call


def decision(speaker, **identity):
    return messages.word("decision", ask(speaker, **identity)[0]["decision"])


def request(laboratory, *arguments, budget="agent:bot", amount="1"):
    return laboratory.cli("request", "--budget", budget, "--amount", amount, "--reason", "work",
                          *arguments).stdout.strip()


def grant_of(laboratory, number):
    return next(row for row in laboratory.json("grants") if row["grant_id"] == int(number))


def approve(laboratory, *arguments):
    """Approves, and returns the grant's number."""
    row, = laboratory.json("approve", *arguments)
    return row["grant_id"]


def usd(text):
    return Decimal(str(text))


@test
def a_program_that_was_denied_goes_through_with_a_grant_until_that_is_used_up():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        laboratory.cli("budget", "set", "agent:bot", "--limit", "0", "--period", "day")

        def calls():
            done = laboratory.run([SDKS, "-c", CALLS, "gpt-4o-mini"], NULLSPEND_AGENT="bot")
            equal(done.stderr, "", "its errors")
            count, status, message = done.stdout.strip().split(" ", 2)
            return int(count), status, message

        equal(calls()[:2], (0, "402"), "before")
        needed = usd(laboratory.json("denials")[0]["needed_usd"])
        number = request(laboratory, amount=str(3 * needed))
        equal(calls()[0], 0, "while nobody has decided")
        text = laboratory.cli("approve", number).stdout
        check("more for the day budget of agent:bot until" in text and "in force" in text, text)
        grant, = laboratory.json("grants")
        count, status, message = calls()
        check(count >= 3 and status == "402", f"{count} {status}")
        spent = laboratory.sql("select sum(cost_usd), count(*) from nullspend.calls")[0]
        grant = grant_of(laboratory, grant["grant_id"])
        equal((usd(grant["spent_usd"]), usd(grant["held_usd"]), int(spent[1])),
              (usd(spent[0]), 0, count), "what the grant paid is what the calls cost")
        left = usd(grant["amount_usd"]) - usd(grant["spent_usd"])
        check(0 <= left < needed, f"left {left}")
        equal(usd(grant["left_usd"]), left, "what is left")
        budget, = laboratory.json("budget", "list")
        equal((usd(budget["spent_usd"]), usd(budget["granted_usd"]),
               usd(budget["granted_left_usd"])), (0, usd(grant["amount_usd"]), left), "budget")
        denial = laboratory.json("denials")[0]
        if left > 0:
            equal(usd(denial["granted_left_usd"]), left, "the denial's")
            check("left of a grant" in message, message)
            text = laboratory.cli("explain", denial["denial_id"]).stdout
            check("of a grant $" in text, text)
        equal([(row["kind"], row["entity"]) for row in reversed(laboratory.json("events"))
               if row["kind"].startswith("approval_")],
              [("approval_requested", "agent:bot"), ("approval_granted", "agent:bot")], "events")


@test
def a_program_may_wait_for_the_decision():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        laboratory.cli("budget", "set", "agent:bot", "--limit", "1", "--period", "day")
        for decide, code, words in [(["approve", "--amount", "0.5"], 0, "approved: $0.5"),
                                    (["reject", "--reason", "too much"], 1, "rejected: too much")]:
            waiting = subprocess.Popen(
                [lab.program("nullspend"), "request", "--budget", "agent:bot", "--amount", "2",
                 "--reason", "work", "--wait"], env=laboratory.environment(),
                stdout=subprocess.PIPE, text=True)
            number = waiting.stdout.readline().strip()
            laboratory.cli(decide[0], number, *decide[1:])
            said = waiting.communicate(timeout=60)[0]
            equal(waiting.returncode, code, said)
            check(said.startswith(words), said)


@test
def what_is_approved_may_be_less_and_never_more():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        laboratory.cli("budget", "set", "agent:bot", "--limit", "0", "--period", "day")
        laboratory.cli("budget", "set", "agent:bot", "--limit", "9", "--period", "month")
        base = ["--budget", "agent:bot", "--period", "day"]
        number = laboratory.cli("request", *base, "--amount", "2", "--reason", "x", "--models",
                                "gpt-4o*,o1", "--for", "2h").stdout.strip()
        for words, arguments in [("which is less than $3", ["--amount", "3"]),
                                 ("which is less than 10800", ["--for", "3h"]),
                                 ("which are fewer", ["--models", "gpt-*"]),
                                 ("which are fewer", ["--models", "o1,o3"]),
                                 ("negative", ["--amount", "-1"]),
                                 ("above 0", ["--amount", "0"]),
                                 ("first or last", ["--spend", "now"])]:
            done = laboratory.cli("approve", number, *arguments, check=False)
            equal(done.returncode, 2, done.stderr)
            check(words in done.stderr, done.stderr)
        grant = grant_of(laboratory, approve(laboratory, number, "--amount", "0.25", "--for", "10m",
                                             "--models", "GPT-4o-*", "--spend", "first"))
        equal((usd(grant["amount_usd"]), grant["models"], grant["spend_first"], grant["state"]),
              (usd("0.25"), ["GPT-4o-*"], True, "open"), "grant")
        lasts = laboratory.sql("select until - granted_at from nullspend.grant_rows")[0][0]
        equal(lasts, "00:10:00", "how long")
        for code, words, arguments in [
                (2, "request 1 is approved already", ["approve", number]),
                (2, "request 1 is approved already", ["reject", number]),
                (4, "no request 99", ["approve", "99"]),
                (4, "no grant 99", ["grant", "revoke", "99"]),
                (2, "wants the number of a request, not x", ["approve", "x"]),
                (2, "wants revoke", ["grant", "give", "1"]),
                (2, "needs --budget", ["request", "--budget", "agent:bot"]),
                (2, "several budgets: name one by its period (day, month)",
                 ["request", "--budget", "agent:bot", "--amount", "1", "--reason", "x"]),
                (4, "no budget for agent:none",
                 ["request", "--budget", "agent:none", "--amount", "1", "--reason", "x"]),
                (2, "agent:* stands for many",
                 ["request", "--budget", "agent:*", "--amount", "1", "--reason", "x"]),
                (2, "amount_usd is above 0", ["request", *base, "--amount", "0", "--reason", "x"]),
                (2, "more than 9 decimal places",
                 ["request", *base, "--amount", "0.0000000001", "--reason", "x"]),
                (2, "reason is 1 to 2000", ["request", *base, "--amount", "1", "--reason", " "]),
                (2, "200 bytes in all", ["request", *base, "--amount", "1", "--reason", "x",
                                         "--models", ",".join(["x" * 99] * 3)]),
                (2, "at most 7d", ["request", *base, "--amount", "1", "--reason", "x", "--for",
                                   "8d"])]:
            done = laboratory.cli(*arguments, check=False)
            equal(done.returncode, code, f"{arguments}: {done.stderr}")
            check(words in done.stderr, f"{arguments}: {done.stderr}")


@test
def a_grant_pays_its_entity_and_its_models_until_it_is_revoked_or_over():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        laboratory.cli("budget", "set", "agent:*", "--limit", "0", "--period", "day")
        speaker = speak(laboratory)
        number = approve(laboratory, request(laboratory, "--models", "gpt-4o*"))
        equal(decision(speaker, requested_model="gpt-4.1"), "deny", "another model")
        equal(messages.word("decision", speaker.ask("CHECK", **messages.call(agent="other"))
                            ["decision"]), "deny", "another agent")
        verdict, running = ask(speaker, requested_model="GPT-4o-mini")
        equal(messages.word("decision", verdict["decision"]), "allow", "what it is for")
        held = usd(grant_of(laboratory, number)["held_usd"])
        equal(held * 10**9, verdict["hold_nanousd"], "held")
        check("revoked grant" in laboratory.cli("grant", "revoke", str(number)).stdout, "revoked")
        equal(decision(speaker), "deny", "revoked")
        grant = grant_of(laboratory, number)
        equal((grant["state"], usd(grant["held_usd"])), ("revoked", held), "what runs keeps it")
        speaker.ask("REPORT", **messages.report(running, checked=True))
        cost = usd(laboratory.sql("select cost_usd from nullspend.calls")[0][0])
        check(cost > 0, "it cost something")
        grant = grant_of(laboratory, number)
        equal((usd(grant["spent_usd"]), usd(grant["held_usd"])), (cost, 0), "and is paid by it")
        equal(laboratory.json("events")[0]["kind"], "grant_revoked", "event")
        # Another one ends by itself.
        number = approve(laboratory, request(laboratory))
        equal(decision(speaker), "allow", "a second grant")
        laboratory.sql("update nullspend.grant_rows set granted_at = granted_at - interval '1 day',"
                       f" until = now() - interval '1 second' where id = {number}")
        laboratory.await_sql(IN_FORCE, "t")
        equal(decision(speaker), "deny", "over")
        equal(grant_of(laboratory, number)["state"], "over", "state")
        # And a request that nobody decides.
        late = request(laboratory)
        laboratory.sql("update nullspend.requests set asked_at = asked_at - interval '2 hours',"
                       f" expires_at = expires_at - interval '2 hours' where id = {late}")
        done = laboratory.cli("approve", late, check=False)
        equal(done.returncode, 2, done.stderr)
        check(f"request {late} is expired already" in done.stderr, done.stderr)
        equal([row["id"] for row in laboratory.json("requests", "--state", "expired")],
              [int(late)], "expired")
        equal(laboratory.json("events")[0]["kind"], "approval_expired", "event")


@test
def grants_hold_while_postgres_is_away_and_over_restarts():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        laboratory.cli("budget", "set", "agent:bot", "--limit", "0", "--period", "day")
        approve(laboratory, request(laboratory, "--models", "gpt-4o*"))
        speaker = speak(laboratory)
        equal(decision(speaker), "allow", "before")
        # Killed: it comes back from its journal, without Postgres.
        laboratory.stop_collector(9)
        laboratory.start_collector(database_url="postgresql:///nobody?host=/nonexistent")
        speaker = speak(laboratory)
        equal(decision(speaker), "allow", "from the journal")
        equal(decision(speaker, requested_model="o1"), "deny", "from the journal, another model")
        # Stopped: from a snapshot.
        laboratory.stop_collector()
        laboratory.start_collector(database_url="postgresql:///nobody?host=/nonexistent")
        speaker = speak(laboratory)
        equal(decision(speaker), "allow", "from a snapshot")
        equal(decision(speaker, requested_model="o1"), "deny", "from a snapshot, another model")


@test
def every_step_is_in_the_audit_log():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        laboratory.cli("budget", "set", "agent:bot", "--limit", "1", "--period", "day")
        first, second = request(laboratory), request(laboratory)
        number = approve(laboratory, first)
        laboratory.cli("reject", second, "--reason", "enough")
        laboratory.cli("grant", "revoke", str(number))
        rows = sorted(laboratory.json("audit", "list"), key=lambda row: row["number"])
        equal([row["action"] for row in rows],
              ["budget_created", "request_created", "request_created", "grant_created",
               "request_changed", "request_changed", "grant_changed"], "entries")
        equal([row["details"]["state"] for row in rows[4:6]],
              [{"was": "pending", "is": "approved"}, {"was": "pending", "is": "rejected"}], "states")
        check("7 entries, whole" in laboratory.cli("audit", "verify").stdout, "whole")
        equal([row["state"] for row in laboratory.json("requests")], ["rejected", "approved"],
              "requests")
        for command in ["requests", "grants"]:
            check("agent:bot" in laboratory.cli(command).stdout, command)
        laboratory.cli("budget", "rm", "agent:bot")
        equal((laboratory.json("requests"), laboratory.json("grants")), ([], []), "without a budget")
        check("11 entries, whole" in laboratory.cli("audit", "verify").stdout, "whole")


main()
