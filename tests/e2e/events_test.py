#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Events of all kinds, with a real collector and a real Postgres: what is told, and that it is told
once."""
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import lab  # noqa: E402  pylint: disable=wrong-import-position
import messages  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, test  # noqa: E402  pylint: disable=wrong-import-position

laboratory = lab.shared


def client():
    speaker = messages.Client(laboratory().endpoint)
    equal(speaker.hello()["refused"], 0, "refused")
    return speaker


def spend(speaker, report=None, **identity):
    """A call, reported where it was let through; returns whether it was, and its id."""
    call = messages.call(**identity)
    verdict = speaker.ask("CHECK", **call)
    allowed = messages.word("decision", verdict["decision"]) == "allow"
    if allowed:
        speaker.ask("REPORT", **messages.report(call, **(report or {})))
    return allowed


def stored(speaker):
    """Waits until Postgres has all that was told until now."""
    call = messages.call(agent="last")
    speaker.ask("CHECK", **call)
    speaker.ask("REPORT", **messages.report(call))
    laboratory().await_sql("select count(*) from nullspend.calls where call_id ="
                           f" '{call['call_id'].hex()}'", "1")


def events(kind, where="true"):
    """The events of a kind: entity, what, details, and how far."""
    rows = laboratory().sql("select coalesce(entity, ''), what, details::text, coalesce(period, '')"
                            f" from nullspend.events where kind = '{kind}' and {where}"
                            " order by happened_at, what")
    return [(row[0], row[1], json.loads(row[2]), row[3]) for row in rows]


@test
def a_budget_that_denies_is_told_of_once_a_period():
    speaker = client()
    laboratory().cli("budget", "set", "customer:*", "--limit", "0.000001", "--period", "day")
    laboratory().cli("budget", "set", "customer:*", "--limit", "0.000002", "--period", "month")
    for customer in ["one", "one", "two"]:
        check(not spend(speaker, customer=customer, agent="eager"), "was let through")
    stored(speaker)
    rows = events("exceeded")
    equal([(row[0], row[3]) for row in rows], [("customer:one", "day"), ("customer:two", "day")],
          "events")
    equal(rows[0][1].split(",")[0], "denied: budget_exceeded", "what")
    check("asked openai for gpt-4o-mini" in rows[0][1], rows[0][1])
    details = rows[0][2]
    equal((details["reason"], details["enforced"], details["customer"], details["agent"],
           details["model"]), ("budget_exceeded", True, "one", "eager", "gpt-4o-mini"), "details")
    check(details["needed_usd"] > 0, "what it needed")
    equal(laboratory().sql("select count(*) from nullspend.denials where denial_id ="
                           f" '{details['denial_id']}'"), [["1"]], "its denial")
    row, = laboratory().json("events", "--customer", "two")
    equal((row["kind"], row["limit_usd"], row["spent_usd"], row["period"]),
          ("exceeded", 0.000001, 0, "day"), "its numbers")
    check(re.search(r"exceeded +customer:two +day +denied: budget_exceeded",
                    laboratory().cli("events").stdout), "table")
    laboratory().cli("budget", "rm", "customer:*")


@test
def what_no_budget_denies_is_told_of_once_an_hour():
    speaker = client()
    laboratory().cli("mandate", "set", "agent:bound", "--deny-models", "gpt-4*")
    laboratory().cli("mandate", "set", "agent:watched", "--deny-models", "gpt-4*", "--policy",
                     "shadow")
    for agent in ["bound", "bound", "watched"]:
        spend(speaker, agent=agent)
    stored(speaker)
    rows = events("denied")
    told = {row[0]: row for row in rows}
    hours = laboratory().sql("select count(distinct date_trunc('hour', denied_at))"
                             " from nullspend.denials where entity = 'agent:bound'")
    equal(sum(row[0] == "agent:bound" for row in rows), int(hours[0][0]), "of two denials")
    check("denied: model gpt-4o-mini" in told["agent:bound"][1], told["agent:bound"][1])
    check(told["agent:watched"][1].startswith("would be denied: "), told["agent:watched"][1])
    equal(told["agent:watched"][2]["enforced"], False, "of a shadow mandate")


@test
def a_period_that_begins_is_told_of_where_people_heard_of_the_one_before():
    speaker = client()
    for team in ["loud", "quiet"]:
        laboratory().cli("budget", "set", f"team:{team}", "--limit", "0.001", "--period", "hour",
                         "--policy", "warn", "--thresholds", "4" if team == "loud" else "none")
        spend(speaker, tags=[("team", team)])
    laboratory().await_sql("select count(*) from nullspend.events where entity = 'team:loud'"
                           " and kind = 'threshold'", "1")
    equal(events("reset"), [], "within the period")
    # The next hour's counters, as the collector writes them then.
    laboratory().sql(
        "insert into nullspend.budget_counters (budget_id, entity, period_start, period_end,"
        " spent_nanousd, held_nanousd, overshoot_nanousd) select budget_id, entity, period_end,"
        " period_end + interval '1 hour', 7, 0, 0 from nullspend.budget_counters"
        " where entity in ('team:loud', 'team:quiet')")
    rows = events("reset")
    equal([(row[0], row[1], row[3]) for row in rows],
          [("team:loud", "a new hour has begun", "hour")], "events")
    details = rows[0][2]
    equal(details["resolves"], "threshold", "what it ends")
    check(re.fullmatch(r"threshold/team:loud/\d+/hour/[0-9-]+ [0-9:]+\+00", details["condition"]),
          details["condition"])


@test
def calls_without_a_price_and_unknown_providers_are_told_of_once_a_day():
    speaker = client()
    unpriced = {"evidence": "reported", "model": "made-up-9"}
    for _ in range(2):
        spend(speaker, report=unpriced, requested_model="made-up-9")
        spend(speaker, provider="llm.example.net", host="llm.example.net")
    stored(speaker)
    days = laboratory().sql("select count(distinct started_at::date) from nullspend.calls")[0][0]
    rows = events("unpriced", "details->>'model' = 'made-up-9'")
    equal(len(rows), int(days), f"of a model without a price: {rows}")
    equal(rows[0][1], "no price is known for made-up-9 of openai", "what")
    rows = events("unknown_provider")
    equal(len(rows), int(days), f"of an unknown provider: {rows}")
    check(rows[0][1].startswith("calls go to llm.example.net, "), rows[0][1])
    equal(events("unpriced", "details->>'provider' = 'openai' and details->>'model' like 'gpt%'"),
          [], "of a model that has a price")


@test
def a_call_that_comes_late_is_told_of_once():
    speaker = client()
    stored(speaker)
    equal(events("lag"), [], "of calls that came in time")
    ended = time.time_ns() - 600 * 10 ** 9
    for _ in range(2):
        spend(speaker, report={"ended_at_ns": ended}, started_at_ns=ended - 10 ** 9)
        stored(speaker)
    rows = events("lag")
    check(1 <= len(rows) <= 2, f"{rows}")  # two where an hour began between them
    check(600 <= rows[0][2]["late_s"] < 3600, f"{rows}")
    check(" UTC reached Postgres only now" in rows[0][1], rows[0][1])


@test
def what_was_denied_is_told_as_money_that_was_kept():
    speaker = client()
    laboratory().cli("budget", "set", "customer:spared", "--limit", "0.000001", "--period", "day")
    laboratory().cli("mandate", "set", "agent:spared", "--deny-models", "gpt-4*")
    laboratory().cli("budget", "set", "customer:warned", "--limit", "0.000001", "--period", "day",
                     "--policy", "warn")
    for _ in range(3):
        check(not spend(speaker, customer="spared"), "was let through")
        spend(speaker, agent="spared", customer="cheap")
        spend(speaker, customer="warned")
    check(not spend(speaker, customer="spared", output_tokens_max=200), "was let through")
    stored(speaker)
    rows = laboratory().sql("select entity, denials, calls, saved_usd, calls_without_price"
                            " from nullspend.savings where entity like '%:spared' or"
                            " customer = 'warned' order by entity")
    needed = {row[0]: row[1] for row in laboratory().sql(
        "select entity, sum(distinct needed_usd) from nullspend.denials"
        " where entity like '%:spared' group by entity")}
    minutes = {row[0]: int(row[1]) for row in laboratory().sql(
        "select entity, count(distinct (date_trunc('minute', denied_at), needed_usd))"
        " from nullspend.denials where entity like '%:spared' group by entity")}
    equal([(row[0], int(row[1]), int(row[2])) for row in rows],
          [("agent:spared", 3, minutes["agent:spared"]),
           ("customer:spared", 4, minutes["customer:spared"])], "savings")
    for row in rows:
        if minutes[row[0]] == (2 if row[0] == "customer:spared" else 1):
            equal((row[3], row[4]), (needed[row[0]], "0"), f"saved by {row[0]}")
        check(float(row[3]) > 0, f"{row}")
    row, = laboratory().json("savings", "--customer", "cheap")
    equal((row["reason"], row["entity"]), ("mandate", "agent:spared"), "command")
    check(re.search(r"budget_exceeded +customer:spared +spared +4 ",
                    laboratory().cli("savings").stdout), laboratory().cli("savings").stdout)


@test
def a_process_that_nothing_governs_is_told_of():
    row = {"hostname": "here", "pid": 7, "start_ticks": 1, "host": "api.openai.com", "uid": 0,
           "process": "java", "executable": "/usr/bin/java", "provider": "openai",
           "governed_by": "dark", "reason": "jvm", "explanation": "Java has TLS of its own",
           "next_step": "none", "since_ns": 1, "connections": 1, "bytes_sent": 1,
           "bytes_received": 1, "first_seen_ns": time.time_ns(), "last_seen_ns": time.time_ns()}
    for pid in [7, 8]:
        for more in [{}, {"governed_by": "ebpf", "process": "curl"}]:
            told = json.dumps([dict(row, pid=pid, **more)])
            laboratory().sql(f"select nullspend.coverage_put('{told}')")
    rows = events("dark")
    equal([row[1] for row in rows], ["java on here talks to api.openai.com and nothing governs it:"
                                     " Java has TLS of its own"], "events")
    equal(rows[0][2]["next_step"], "none", "details")


if __name__ == "__main__":
    lab.enter()
    try:
        main()
    finally:
        lab.end_shared()
