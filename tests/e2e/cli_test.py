#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The command line against a real collector and a real Postgres: every command, its exit codes and
what it prints."""
import csv
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import lab  # noqa: E402
import messages  # noqa: E402
from tap import check, equal, main, skip, test  # noqa: E402

COMMANDS = ["run", "start", "stop", "status", "budget", "mandate", "calls", "denials", "explain",
            "savings", "events", "coverage", "revenue", "margins", "db", "psql"]
NULLSPEND = lab.program("nullspend")
LIBRARY = lab.preload(lab.program("libnullspend.so"))
NOBODY = "ipc:///tmp/nullspend-nobody-listens-here.sock"
# Names that no budget can count, and what is wrong with them.
UNCOUNTABLE = [(b" a", "blank"), (b"a ", "blank"), (b"a*", "star"), (b"x" * 129, "too long"),
               (b"a\xff", "UTF-8"), (b"a\xc2\x85", "control"), (b"a\nb", "control")]


def nullspend(*arguments, **environment):
    """Runs the command line by itself; the collector that it finds is nobody's."""
    environment = dict(os.environ, NULLSPEND_COLLECTOR=NOBODY, **environment)
    environment.pop("NULLSPEND_DATABASE_URL", None)
    return subprocess.run([NULLSPEND, *arguments], env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace", timeout=120,
                          check=False)


def refused(code, *arguments, words="", **environment):
    """Checks the exit code, and that the reason is said on stderr, not on stdout."""
    done = nullspend(*arguments, **environment)
    equal(done.returncode, code, f"exit code of {arguments}: {done.stderr}")
    equal(done.stdout, "", f"stdout of {arguments}")
    check(words in done.stderr and done.stderr.strip(), f"{arguments} says {done.stderr!r}")


# --- without a collector


@test
def every_command_has_help_with_an_example():
    overview = nullspend("--help")
    equal(overview.returncode, 0, "exit code")
    for command in COMMANDS:
        check(re.search(rf"^  {command} ", overview.stdout, re.M), f"{command} is not listed")
        done = nullspend(command, "--help")
        equal((done.returncode, done.stderr), (0, ""), f"{command} --help")
        check(f"usage: nullspend {command}" in done.stdout, f"{command}: no usage")
        check("example" in done.stdout and "exit status" in done.stdout, f"{command}: incomplete")
        check(max(map(len, done.stdout.splitlines())) <= 95, f"{command}: long lines")
        equal(nullspend("help", command).stdout, done.stdout, f"help {command}")
    equal(nullspend().returncode, 2, "exit code without a command")
    refused(2, "nonsense", words="no command 'nonsense'")
    refused(2, "help", "nonsense", words="no command 'nonsense'")
    refused(2, "--nonsense", words="no option '--nonsense'")
    check(nullspend("--version").stdout.startswith("nullspend "), "no version")


@test
def wrong_usage_exits_2_and_names_what_is_wrong():
    limits = ["budget", "set", "customer:acme", "--period", "day"]
    for limit in ["-1", "NaN", "inf", "1e3", "1.0000000001", "9223372037", "", "1,5", "$1", " 1"]:
        refused(2, *limits, "--limit", limit, words="--limit")
    budget = ["budget", "set", "customer:acme", "--limit", "1"]
    refused(2, *budget, words="--period")
    for option, value in [("--period", "year"), ("--policy", "harder"), ("--reserve", "some"),
                          ("--on-unreachable", "maybe"), ("--deny-status", "500"),
                          ("--finalize-reserve", "1"), ("--finalize-reserve", "-0.1"),
                          ("--finalize-reserve", "some"), ("--overdraft", "some"),
                          ("--overdraft", "-1"), ("--overdraft", "0%"), ("--overdraft", "1001%"),
                          ("--overdraft", "0.001%"), ("--overdraft", "-5%"), ("--overdraft", "%"),
                          ("--velocity", "5"), ("--velocity", "5/"),
                          ("--velocity", "5/9s"), ("--velocity", "5/2h"), ("--velocity", "-5/60s"),
                          ("--velocity", "0/60s"), ("--velocity", "x/60s"), ("--velocity", "/60s"),
                          ("--velocity", "1.0000000001/60s"), ("--cool-down", "1s"),
                          ("--cool-down", "soon")]:
        refused(2, *budget, "--period", "day", option, value, words=option)
    refused(2, *budget, "--period", "day", "--velocity", "none", "--cool-down", "60s",
            words="--cool-down")
    refused(2, "budget", "rm", "customer:acme", "--finalize-reserve", "1", words="does not take")
    refused(2, "budget", "rm", "customer:acme", "--velocity", "1/60s", words="does not take")
    for entity in ["", "customer", "customer:", "org:x", "nobody:x", "tag:x", "tag:=x", "tag:x=",
                   "customer:a\nb", "customer:" + "x" * 400]:
        refused(2, "budget", "set", entity, "--limit", "1", "--period", "day", words="entity")
    for name, words in UNCOUNTABLE:
        refused(2, "budget", "show", b"customer:" + name, words=words)
        refused(2, "budget", "show", b"tag:env=" + 2 * name, words=words)
    refused(2, "budget", words="set, list, show or rm")
    refused(2, "budget", "show", words="ENTITY")
    refused(2, "budget", "list", "org", words="ENTITY")
    refused(2, "budget", "list", "--limit", "1")
    refused(2, "calls", "--since", "yesterday", words="--since")
    refused(2, "calls", "--limit", "0", words="--limit")
    refused(2, "calls", "--json", "--csv")
    refused(2, "calls", "--nonsense", words="--nonsense")
    refused(2, "calls", "stray", words="stray")
    refused(2, "calls", "--customer", words="--customer")
    refused(2, "status", "--json=1", words="--json")
    refused(2, "margins", "--by", "colour", words="--by")
    refused(2, "explain", words="id")
    refused(2, "explain", "not-a-uuid", words="id")
    refused(2, "revenue", "export", words="import")
    refused(2, "db", words="url")


@test
def without_a_collector_commands_exit_3_and_say_how_to_get_one():
    for command in [["status"], ["budget", "list"], ["calls"], ["denials"], ["margins"], ["stop"],
                    ["budget", "set", "org", "--limit", "1", "--period", "day"],
                    ["budget", "rm", "org"], ["db", "url"], ["psql"]]:
        refused(3, *command, words="no collector", NULLSPEND_STATE_DIR="/nowhere")
    refused(3, "status", words="nullspend start")


@test
def run_exits_as_the_command_does():
    for mode in [[], ["--mode", "off"], ["--mode=observe"]]:
        equal(nullspend("run", *mode, "--", "sh", "-c", "exit 7").returncode, 7, "exit code")
        equal(nullspend("run", *mode, "sh", "-c", "kill -9 $$").returncode, -9, "signal")
    done = nullspend("run", "--", "cat", "/dev/null", "--help")
    check("usage" not in done.stderr, "the command's own --help is taken for ours")
    refused(127, "run", "--", "no-such-program-anywhere", words="not found")
    refused(127, "run", "--", "/no/such/program", words="not found")
    refused(126, "run", "--", "/etc/passwd", words="cannot be executed")
    refused(126, "run", "--", "/etc", words="cannot be executed")
    refused(2, "run", words="no command")
    refused(2, "run", "--customer", "acme", "--", words="no command")
    refused(2, "run", "--mode", "loud", "--", "true", words="--mode")
    refused(2, "run", "--customer", "", "--", "true", words="--customer")
    refused(2, "run", "--customer", "x" * 129, "--", "true", words="--customer")
    for name, words in UNCOUNTABLE:
        for option in ["--customer", "--agent", "--feature", "--session"]:
            refused(2, "run", option, name, "--", "true", words=words)
        refused(2, "run", "--tag", b"env=" + 2 * name, "--", "true", words=words)
    for tag in ["novalue", "=x", "k=", "a=b,c=d", "k" * 65 + "=v"]:
        refused(2, "run", "--tag", tag, "--", "true", words="--tag")


@test
def run_hands_what_it_was_told_to_the_program():
    lists = {"LD_PRELOAD": "/usr/lib/none.so", "LD_LIBRARY_PATH": "/usr/lib"}
    done = nullspend("run", "--customer", "acme", "--agent", "a b", "--feature=f", "--session", "s",
                     "--tag", "env=ci", "--tag", "team=x=y", "--mode", "shadow", "--", "env", "-0",
                     NULLSPEND_TAGS="from=outside", **lists)
    seen = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    expected = {"NULLSPEND_CUSTOMER": "acme", "NULLSPEND_AGENT": "a b", "NULLSPEND_FEATURE": "f",
                "NULLSPEND_SESSION": "s", "NULLSPEND_MODE": "shadow",
                "NULLSPEND_TAGS": "from=outside,env=ci,team=x=y", "NULLSPEND_COLLECTOR": NOBODY,
                **lists, **{name: f"{word}:{lists[name]}" for name, word in LIBRARY.items()}}
    equal({name: seen.get(name) for name in expected}, expected, "environment")
    check("started" not in done.stderr, "a collector was started though one was named")


@test
def run_loads_the_library_from_a_path_with_a_blank():
    with tempfile.TemporaryDirectory(prefix="ns blank") as directory:
        for name in ["nullspend", "libnullspend.so"]:
            shutil.copy(lab.program(name), directory)
        done = subprocess.run(
            [os.path.join(directory, "nullspend"), "run", "--", "cat", "/proc/self/maps"],
            env=dict(os.environ, NULLSPEND_COLLECTOR=NOBODY), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        equal((done.returncode, done.stderr), (0, ""), "exit code and stderr")
        check(f"{directory}/libnullspend.so" in done.stdout, "the library is not loaded")


# --- with one

laboratory = lab.shared


def client():
    speaker = messages.Client(laboratory().endpoint)
    equal(speaker.hello()["refused"], 0, "refused")
    return speaker


def spend(speaker, report=None, **identity):
    """One call, checked and reported where it was allowed; returns its verdict and identity."""
    call = messages.call(**identity)
    verdict = speaker.ask("CHECK", **call)
    if messages.word("decision", verdict["decision"]) == "allow":
        speaker.ask("REPORT", **messages.report(call, **(report or {})))
    return verdict, call


@test
def status_says_what_the_collector_does():
    status = laboratory().json("status")
    for name in ["version", "uptime_s", "pid", "processes", "open_holds", "calls", "denials",
                 "postgres", "state_dir", "listen"]:
        check(name in status, f"no {name}")
    text = laboratory().cli("status").stdout
    check(re.search(r"^Postgres lag +[0-9.]+ s$", text, re.M), text)
    check(re.search(rf"^process +{status['pid']}$", text, re.M), text)
    check(re.search(r"^up for +(\d+ min )?\d+ s$", text, re.M), text)
    check(re.search(rf"^listens on +{laboratory().endpoint}$", text, re.M), text)


@test
def a_budget_is_enforced_when_set_returns_and_no_more_when_rm_returns():
    speaker = client()
    for _ in range(5):
        laboratory().cli("budget", "set", "customer:tight", "--limit", "0", "--period", "day")
        verdict, _ = spend(speaker, customer="tight")
        equal(messages.word("decision", verdict["decision"]), "deny", "with a budget of 0")
        laboratory().cli("budget", "rm", "customer:tight")
        verdict, _ = spend(speaker, customer="tight")
        equal(messages.word("decision", verdict["decision"]), "allow", "without it")
    equal(laboratory().cli("budget", "rm", "customer:tight", check=False).returncode, 4, "rm again")
    equal(laboratory().cli("budget", "show", "customer:tight", check=False).returncode, 4, "show")


@test
def setting_a_budget_again_changes_what_is_given_and_keeps_the_rest():
    cli = laboratory().cli
    cli("budget", "set", "customer:keep", "--limit", "25", "--period", "day", "--policy", "warn",
        "--reserve", "bound", "--on-unreachable", "deny", "--deny-status", "429",
        "--finalize-reserve", "1.5")
    cli("budget", "set", "customer:keep", "--limit", "2", "--period", "day")
    row, = laboratory().json("budget", "show", "customer:keep")
    equal(row["finalize_reserve_usd"], 1.5, "what is kept")
    cli("budget", "set", "customer:keep", "--limit", "2", "--period", "day", "--finalize-reserve",
        "0")
    cli("budget", "set", "customer:keep", "--limit", "0.000000001", "--period", "day")
    row, = laboratory().json("budget", "show", "customer:keep")
    equal({name: row[name] for name in ["policy", "reserve", "on_unreachable", "deny_status",
                                        "limit_usd", "spent_usd"]},
          {"policy": "warn", "reserve": "bound", "on_unreachable": "deny", "deny_status": 429,
           "limit_usd": 1e-9, "spent_usd": 0}, "budget")
    cli("budget", "set", "customer:keep", "--limit", "1", "--period", "day", "--deny-status",
        "auto", "--policy", "hard")
    row, = laboratory().json("budget", "show", "customer:keep")
    equal((row["policy"], row["deny_status"], row["limit_usd"]), ("hard", 0, 1), "budget")
    for period, words in [("week", "$2.00 a week"), ("hour", "$2.00 an hour"),
                          ("total", "$2.00 in total")]:
        done = cli("budget", "set", "customer:keep", "--limit", "2", "--period", period)
        equal(done.stdout, f"customer:keep: {words}, in force\n", "what is said")
    cli("budget", "rm", "customer:keep", "--period", "hour")
    cli("budget", "rm", "customer:keep", "--period", "total")
    equal(len(laboratory().json("budget", "show", "customer:keep")), 2, "budgets")
    cli("budget", "rm", "customer:keep", "--period", "day")
    row, = laboratory().json("budget", "show", "customer:keep")
    equal(row["period"], "week", "the one that is left")
    done = laboratory().cli("budget", "set", "customer:keep ", "--limit", "1", "--period", "day",
                            check=False)
    equal(done.returncode, 2, "exit code of an entity that the schema refuses")


@test
def what_was_acknowledged_is_listed_at_once():
    speaker = client()
    laboratory().cli("budget", "set", "customer:listed", "--limit", "100", "--period", "day")
    for number in range(1, 6):
        _, call = spend(speaker, customer="listed")
        rows = laboratory().json("calls", "--customer", "listed")
        equal(len(rows), number, "calls")
        equal(rows[0]["call_id"].replace("-", ""), call["call_id"].hex(), "the newest is first")
    row, = laboratory().json("budget", "show", "customer:listed")
    total = sum(call["cost_nanousd"] for call in rows)
    equal(round(row["spent_usd"] * 1e9), total, "spent")
    equal(len(laboratory().json("calls", "--customer", "listed", "--limit", "2")), 2, "limited")
    equal(laboratory().json("calls", "--customer", "nobody"), [], "calls of nobody")
    equal(len(laboratory().json("calls", "--customer", "listed", "--since", "1h")), 5, "since 1h")
    check(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$", rows[0]["started_at"]),
          rows[0]["started_at"])
    check(isinstance(rows[0]["tags"], dict) and isinstance(rows[0]["streamed"], bool), "types")
    text = laboratory().cli("calls", "--customer", "listed").stdout.splitlines()
    equal(len(text), 6, "lines of the table")
    listed = list(csv.DictReader(io.StringIO(
        laboratory().cli("calls", "--customer", "listed", "--csv").stdout)))
    equal([row["call_id"] for row in listed], [row["call_id"] for row in rows], "csv")


@test
def what_cannot_be_written_is_a_failure_and_goes_nowhere_else():
    for where in [">/dev/full", ">&-", "<&- >&-"]:
        for command in ["calls --json --customer listed", "help calls"]:
            done = subprocess.run(["sh", "-c", f"exec {NULLSPEND} {command} {where}"],
                                  env=laboratory().environment(), stderr=subprocess.PIPE, text=True,
                                  check=False, timeout=120)
            equal(done.returncode, 1, f"exit code of {command} {where}")
            check("could not be written" in done.stderr, f"{command} {where}: {done.stderr}")
    done = laboratory().cli("run", "--mode", "off", "--", "sh", "-c",
                            f"{NULLSPEND} run --mode off -- readlink /proc/self/fd/1 >&-",
                            check=False)
    equal((done.returncode, done.stdout), (1, ""), "a program whose stdout is closed")


@test
def a_denial_is_listed_and_explained():
    speaker = client()
    laboratory().cli("budget", "set", "customer:denied", "--limit", "0.000000001", "--period",
                     "month")
    verdict, _ = spend(speaker, customer="denied")
    equal(messages.word("decision", verdict["decision"]), "deny", "decision")
    row, = laboratory().json("denials", "--customer", "denied")
    equal(row["denial_id"].replace("-", ""), verdict["denial_id"].hex(), "denial id")
    equal((row["reason"], row["entity"], row["limit_usd"]),
          ("budget_exceeded", "customer:denied", 1e-9), "the budget's numbers")
    text = laboratory().cli("explain", row["denial_id"]).stdout
    for words in [row["denial_id"], "customer:denied", "$0.000000001", "would have passed"]:
        check(words in text, f"{words!r} is not in {text!r}")
    equal(laboratory().json("explain", row["denial_id"]), [row], "explain --json")
    equal(laboratory().json("explain", row["call_id"]), [row], "explain --json of the call's id")
    equal(laboratory().cli("explain", row["call_id"]).stdout, text, "explain of the call's id")
    laboratory().cli("budget", "set", "customer:denied", "--limit", "0", "--period", "month")
    verdict, _ = spend(speaker, customer="denied")
    text = laboratory().cli("explain", str(uuid.UUID(bytes=verdict["denial_id"]))).stdout
    check("budget of $0.00 had $0.00 spent" in text and "Nothing was left" in text, text)
    _, call = spend(speaker, customer="passed")
    done = laboratory().cli("explain", str(uuid.UUID(bytes=call["call_id"])), check=False)
    check(done.returncode == 4 and "was not denied" in done.stderr, done.stderr)
    done = laboratory().cli("explain", "00000000-0000-7000-8000-000000000000", check=False)
    equal(done.returncode, 4, "exit code of an unknown denial")


@test
def what_a_budget_keeps_is_for_calls_that_finalize():
    speaker = client()
    laboratory().cli("budget", "set", "agent:writer", "--limit", "1", "--period", "day",
                     "--finalize-reserve", "0.999999999")
    verdict, _ = spend(speaker, agent="writer")
    equal(messages.word("decision", verdict["decision"]), "deny", "a call like any other")
    check("($0.999999999 of it to finalize)" in verdict["message"], verdict["message"])
    row, = laboratory().json("denials", "--limit", "1")
    equal((row["entity"], row["limit_usd"], row["finalize_reserve_usd"]),
          ("agent:writer", 1, 0.999999999), "the budget's numbers")
    text = laboratory().cli("explain", row["denial_id"]).stdout
    for words in ["budget of $1.00", "$0.999999999 of it is kept for calls with X-NullSpend-Finalize",
                  "needs at most $0.000000001 would have passed"]:
        check(words in text, f"{words!r} is not in {text!r}")
    verdict, _ = spend(speaker, agent="writer", finalize=True)
    equal(messages.word("decision", verdict["decision"]), "allow", "one that finalizes")
    listed = laboratory().cli("budget", "show", "agent:writer").stdout
    check("to finalize" in listed and "0.999999999" in listed, listed)
    laboratory().cli("budget", "set", "agent:writer", "--limit", "1", "--period", "day",
                     "--finalize-reserve", "0")
    verdict, _ = spend(speaker, agent="writer")
    equal(messages.word("decision", verdict["decision"]), "allow", "where nothing is kept any more")
    laboratory().cli("budget", "set", "agent:writer", "--limit", "2", "--period", "day",
                     "--finalize-reserve", "1.5")
    done = laboratory().cli("budget", "set", "agent:writer", "--limit", "1", "--period", "day",
                            check=False)
    check(done.returncode != 0 and "finalize_reserve_usd is 0, or below the limit" in done.stderr,
          done.stderr)


@test
def a_soft_budget_with_an_overdraft_denies_beyond_it():
    speaker = client()
    cli = laboratory().cli
    cli("budget", "set", "team:over", "--limit", "0.000000001", "--period", "day", "--policy",
        "soft", "--overdraft", "1")
    verdict, call = spend(speaker, tags=[("team", "over")])
    equal(messages.word("decision", verdict["decision"]), "allow", "within the overdraft")
    row, = laboratory().json("explain", str(uuid.UUID(bytes=call["call_id"])))
    equal((row["enforced"], row["entity"]), (False, "team:over"), "recorded")
    cli("budget", "set", "team:over", "--limit", "0.000000001", "--period", "day", "--overdraft",
        "0.000000002")
    verdict, call = spend(speaker, tags=[("team", "over")])
    equal(messages.word("decision", verdict["decision"]), "deny", "beyond it")
    check("($0.000000002 more as overdraft)" in verdict["message"], verdict["message"])
    text = cli("explain", str(uuid.UUID(bytes=call["call_id"]))).stdout
    check("it could be passed by $0.000000002;" in text, text)
    row, = laboratory().json("budget", "show", "team:over")
    equal((row["policy"], row["overdraft_usd"]), ("soft", 2e-9), "budget")
    cli("budget", "set", "team:over", "--limit", "0.000000003", "--period", "day", "--overdraft",
        "66.67%")
    row, = laboratory().json("budget", "show", "team:over")
    equal((row["overdraft_usd"], row["overdraft_percent"]), (2e-9, 66.67), "a part of the limit")
    verdict, _ = spend(speaker, tags=[("team", "over")])
    check("($0.000000002 more as overdraft)" in verdict["message"], verdict["message"])
    cli("budget", "set", "team:over", "--limit", "1000", "--period", "day")
    row, = laboratory().json("budget", "show", "team:over")
    equal(row["overdraft_usd"], 666.7, "the same part of another limit")
    cli("budget", "set", "team:over", "--limit", "0", "--period", "day")
    verdict, _ = spend(speaker, tags=[("team", "over")])
    equal(messages.word("decision", verdict["decision"]), "deny", "a part of nothing")
    done = cli("budget", "set", "team:over", "--limit", "1", "--period", "day", "--policy", "hard",
               check=False)
    check(done.returncode != 0 and "for policy soft" in done.stderr, done.stderr)
    cli("budget", "set", "team:over", "--limit", "0", "--period", "day", "--overdraft", "none")
    verdict, _ = spend(speaker, tags=[("team", "over")])
    equal(messages.word("decision", verdict["decision"]), "allow", "soft without one")


@test
def what_goes_too_fast_is_denied_and_paused():
    speaker = client()
    cli, json_of = laboratory().cli, laboratory().json

    def ask():
        call = messages.call(tags=[("team", "fast")], denial_status=402)
        return speaker.ask("CHECK", **call), str(uuid.UUID(bytes=call["call_id"]))

    def decision(asked):
        return messages.word("decision", asked[0]["decision"])

    limit = ["budget", "set", "team:fast", "--limit", "100", "--period", "day"]
    cli(*limit, "--velocity", "0.000000001/60s")
    verdict, call = ask()
    equal((messages.word("decision", verdict["decision"]), messages.word("reason", verdict["reason"]),
           verdict["http_status"]), ("deny", "velocity", 429), "more than may go")
    check("team:fast may spend $0.000000001 in 60 s, and this call typically needs $"
          in verdict["message"], verdict["message"])
    row, = json_of("explain", call)
    equal((row["reason"], row["entity"], row["limit_usd"], row["spent_usd"], row["http_status"]),
          ("velocity", "team:fast", 1e-9, 0, 429), "denial")
    equal(json_of("budget", "show", "team:fast")[0]["paused_until"], None, "pause")
    cli(*limit, "--velocity", f"{row['needed_usd'] * 1.5:.9f}/1m", "--cool-down", "10m")
    equal(decision(ask()), "allow", "the first")
    verdict, call = ask()
    equal(messages.word("decision", verdict["decision"]), "deny", "the second")
    check(re.search(r"spends faster than \$[0-9.]+ in 60 s, and is paused for 600 s",
                    verdict["message"]), verdict["message"])
    text = cli("explain", call).stdout
    check("may go within its window" in text and "until the cool-down is over" in text, text)
    budget, = json_of("budget", "show", "team:fast")
    equal((budget["velocity_window_s"], budget["velocity_cooldown_s"]), (60, 600), "budget")
    check(budget["paused_until"] is not None, "no pause in budget_status")
    check(re.search(r"^team:fast .*/60s paused ", cli("budget", "list").stdout, re.M), "list")
    equal(decision(ask()), "deny", "while it is paused")
    cli(*limit)
    equal(decision(ask()), "deny", "a velocity that is not named stays, and so does the pause")
    cli(*limit, "--velocity", "none")
    equal(decision(ask()), "allow", "without a velocity")
    equal(json_of("budget", "show", "team:fast")[0]["velocity_usd"], None, "velocity")


# --- events


def reached(entity):
    return [row[0] for row in laboratory().sql(
        "select threshold from nullspend.events where kind = 'threshold' and"
        f" entity = '{entity}' order by happened_at, threshold")]


@test
def a_threshold_that_is_reached_is_told_once_a_period():
    speaker, cli = client(), laboratory().cli
    limit = ["budget", "set", "team:steps", "--period", "total", "--policy", "warn", "--limit"]
    cli(*limit, "0.0001", "--thresholds", "50,90,100")
    for steps in [[], ["50", "90"], ["50", "90", "100"], ["50", "90", "100"]]:
        spend(speaker, tags=[("team", "steps")])  # 45 millionths of a dollar
        equal(reached("team:steps"), steps, "steps")
    row = [row for row in laboratory().json("events") if row["entity"] == "team:steps"][0]
    equal((row["kind"], row["entity"], row["threshold"], row["limit_usd"], row["period"]),
          ("threshold", "team:steps", 100, 0.0001, "total"), "the newest")
    check(re.search(r"threshold +team:steps +total +100 % of the limit",
                    cli("events", "--since", "1h").stdout), "table")
    cli(*limit, "0.1")
    cli(*limit, "0.0001")
    equal(reached("team:steps"), ["50", "90", "100"], "after the limit was raised and lowered")
    equal(laboratory().json("budget", "show", "team:steps")[0]["thresholds"], [50, 90, 100], "kept")


@test
def thresholds_are_those_of_the_budget_as_it_is():
    speaker, cli = client(), laboratory().cli
    limit = ["budget", "set", "customer:*", "--period", "total", "--policy", "warn", "--limit"]
    cli(*limit, "1000")
    spend(speaker, customer="stepper")
    equal(reached("customer:stepper"), [], "far from the limit")
    cli(*limit, "0.000050")
    equal(reached("customer:stepper"), ["50", "80", "90"], "a limit that was lowered")
    equal(laboratory().json("events", "--customer", "stepper")[0]["customer"], "stepper", "customer")
    cli(*limit, "0.000050", "--thresholds", "none")
    spend(speaker, customer="stepless")
    equal(reached("customer:stepless"), [], "without thresholds")
    cli("budget", "rm", "customer:*")
    cli("budget", "set", "team:zero", "--limit", "0", "--period", "day", "--policy", "warn")
    spend(speaker, tags=[("team", "zero")])
    equal(reached("team:zero"), [], "no part of nothing")
    for words in ["50,50", "0", "1001", "90,50", "", "a", "50,", "-1", "50%", "10000",
                  "1,2,3,4,5,6,7,8,9,10,11"]:
        done = cli("budget", "set", "team:zero", "--limit", "1", "--period", "day", "--thresholds",
                   words, check=False)
        equal(done.returncode, 2, f"exit code of --thresholds {words}")
        check("thresholds are" in done.stderr, done.stderr)


@test
def a_pause_is_an_event_and_who_listens_hears_of_it():
    speaker, cli = client(), laboratory().cli

    def ask():
        call = messages.call(tags=[("team", "paused")])
        speaker.ask("CHECK", **call)
        return str(uuid.UUID(bytes=call["call_id"]))

    limit = ["budget", "set", "team:paused", "--limit", "100", "--period", "day"]
    cli(*limit, "--velocity", "0.000000001/60s")
    needed, = [row["needed_usd"] for row in laboratory().json("explain", ask())]
    cli(*limit, "--velocity", f"{needed * 1.5:.9f}/60s", "--cool-down", "10m")
    with subprocess.Popen([NULLSPEND, "psql", "-qAt"], stdin=subprocess.PIPE, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=laboratory().environment()) as listener:
        listener.stdin.write("listen nullspend_events; select 'listening';\n")
        listener.stdin.flush()
        equal(listener.stdout.readline(), "listening\n", "psql")
        for _ in range(3):
            ask()
        laboratory().await_sql("select count(*) from nullspend.events where kind = 'velocity'"
                               " and entity = 'team:paused'", "1")
        listener.stdin.write("select 'more';\n")
        listener.stdin.close()
        check('notification "nullspend_events"' in listener.stdout.read(), "nothing was heard")
    row, = [row for row in laboratory().json("events") if row["entity"] == "team:paused"]
    equal((row["kind"], row["limit_usd"], row["threshold"]),
          ("velocity", round(needed * 1.5, 9), None), "event")
    check(row["paused_until"] is not None, "no end")
    check("paused until" in cli("events").stdout, "table")


def revenue(text, *options):
    path = os.path.join(laboratory().directory, "revenue.csv")
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    return laboratory().cli("revenue", "import", path, *options, check=False)


@test
def revenue_is_imported_whole_or_not_at_all():
    today = laboratory().sql("select (now() at time zone 'UTC')::date")[0][0]
    good = f"customer,date,amount,currency,id\npayer,{today},10.000000001,USD,r-1\n" \
           f'"with, comma",{today},-2,USD,r-1\npayer,{today},1,,\n'
    count = "select count(*), coalesce(sum(amount_usd), 0) from nullspend.revenue " \
            "where customer in ('payer', 'with, comma')"
    done = revenue(good, "--dry-run")
    equal((done.returncode, laboratory().sql(count)), (0, [["0", "0"]]), "after a dry run")
    done = revenue(good.replace(",1,,", ",1.0000000001,,") + "payer,2026-02-30,1,USD,x\n")
    equal(done.returncode, 1, "exit code of a bad file")
    check("revenue.csv:4: " in done.stderr and "revenue.csv:5: " in done.stderr, done.stderr)
    equal(laboratory().sql(count), [["0", "0"]], "after a bad file")
    equal(revenue(good).returncode, 0, "exit code")
    equal(laboratory().sql(count), [["3", "9.000000001"]], "after a good one")
    equal(revenue(good.rsplit("payer", 1)[0].replace("10.000000001", "20")).returncode, 0, "again")
    equal(laboratory().sql(count), [["3", "19"]], "after the same ids again")
    done = revenue(f"customer,date,amount,currency\npayer,{today},1,EUR\n")
    equal(done.returncode, 1, "exit code of euros")
    check("amount_usd" in done.stderr, done.stderr)
    equal(revenue("nonsense\n").returncode, 1, "exit code without a heading")
    equal(laboratory().cli("revenue", "import", "/nowhere.csv", check=False).returncode, 1,
          "exit code without a file")


@test
def each_bad_row_of_a_revenue_file_is_named_by_its_line():
    count = "select count(*) from nullspend.revenue where customer like 'lines%'"
    good = b"lines,2026-01-01,5"
    bad = [(good.replace(b"lines", name), words) for name, words in UNCOUNTABLE
           if words in ("blank", "UTF-8", "control") and b"\n" not in name]
    bad += [(b"x" * 129 + b",2026-01-01,5", "128 bytes"), (b",2026-01-01,5", "no customer"),
            (b"lines,2026-02-29,5", "date"), (b"lines,2026-01-01,1e3", "amount"),
            (b"lines,2026-01-01,-9223372036.854775808", "too large"), (good + b",6", "fields"),
            (good.replace(b"l", b"\0"), "NUL")]
    rows = [b"customer,date,amount", good]
    for row, _ in bad:
        rows += [row, good]
    done = revenue(b"\r\n".join(rows))
    equal(done.returncode, 1, "exit code")
    said = [line.split(":", 2)[1:] for line in done.stderr.splitlines()[:-1]]
    equal([int(line) for line, _ in said], [3 + 2 * i for i in range(len(bad))], "lines named")
    for (row, words), (_, why) in zip(bad, said):
        check(words in why, f"{row}: {why}")
    equal(laboratory().sql(count), [["0"]], "rows imported all the same")
    for heading, words in [("customer,date", "amount is missing"), ("", "empty"),
                           ("customer,date,amount,note", "no such column note"),
                           ("customer,date,amount,date", "two of column date")]:
        done = revenue(heading + "\n")
        check(done.returncode == 1 and words in done.stderr, f"{heading}: {done.stderr}")
    done = revenue("\ufeffdate,amount,customer\n2026-01-01,\"5\",\"lines \"\"a\"\", b\"")
    equal(done.stdout, "imported 1 row: 1 new, 0 known by their id; 1 customer, 5 USD\n", "said")
    equal(laboratory().sql(count.replace("count(*)", "customer")), [['lines "a", b']], "imported")
    done = laboratory().cli("revenue", "import", laboratory().directory, check=False)
    check(done.returncode == 1 and "directory" in done.stderr, done.stderr)


@test
def margins_join_revenue_and_cost_exactly():
    speaker = client()
    today = laboratory().sql("select (now() at time zone 'UTC')::date")[0][0]
    spend(speaker, customer="margin", feature="chat", agent="bot")
    cost, = laboratory().json("calls", "--customer", "margin")
    equal(revenue(f"customer,date,amount,id\nmargin,{today},1.5,m-1\n").returncode, 0, "import")
    for options in [[], ["--since", "30d"], ["--since", "1d"]]:
        row, = [r for r in laboratory().json("margins", *options) if r["customer"] == "margin"]
        equal((row["revenue_usd"], row["calls"]), (1.5, 1), "revenue and calls")
        equal(round(row["cost_usd"] * 1e9), cost["cost_nanousd"], "cost")
    for by, name in [("feature", "chat"), ("agent", "bot")]:
        row, = [r for r in laboratory().json("margins", "--by", by) if r[by] == name]
        equal(row["calls"], 1, f"calls by {by}")
    listed = list(csv.DictReader(io.StringIO(laboratory().cli("margins", "--csv").stdout)))
    equal(list(listed[0]), ["customer", "revenue_usd", "cost_usd", "margin_usd", "margin_pct",
                            "tier", "calls"], "columns")
    check("margin" in laboratory().cli("margins").stdout, "no table")


@test
def tables_have_colours_on_a_terminal_alone():
    laboratory().cli("budget", "set", "agent:colour", "--limit", "1", "--period", "day")
    check("\x1b" not in laboratory().cli("budget", "list").stdout, "colours in a pipe")
    for more, coloured in [({}, True), ({"NO_COLOR": "1"}, False)]:
        output = b""
        ours, theirs = pty.openpty()
        with subprocess.Popen([NULLSPEND, "budget", "list"], stdout=theirs,
                              env=laboratory().environment(COLUMNS="60", **more)):
            os.close(theirs)
            while True:
                try:
                    part = os.read(ours, 4096)
                except OSError:
                    break
                if not part:
                    break
                output += part
        os.close(ours)
        equal(b"\x1b[1m" in output, coloured, f"colours with {more}")
        text = re.sub(r"\x1b\[\d*m", "", output.decode()).replace("\r", "")
        check("agent:colour" in text and "(no room for " in text, text)
        check(max(map(len, text.splitlines()[:-1])) <= 60, f"lines wider than the terminal: {text}")


@test
def the_data_is_where_db_url_says():
    url = laboratory().cli("db", "url").stdout.strip()
    done = subprocess.run(["psql", "-XAtd", url, "-c", "select 42"], stdout=subprocess.PIPE,
                          text=True, check=True)
    equal(done.stdout, "42\n", "psql by hand")
    equal(laboratory().cli("psql", "-XAtc", "select 'a b'").stdout, "a b\n", "nullspend psql")
    equal(laboratory().cli("psql", "-c", "select nonsense", check=False).returncode, 1, "failure")


@test
def the_schema_is_there_for_the_first_question():
    other = lab.Lab()
    try:
        for attempt in range(3):
            other.state = os.path.join(other.directory, f"state-{attempt}")
            other.start_collector()
            equal(other.cli("psql", "-XAtc", "select count(*) from nullspend.calls").stdout, "0\n",
                  "the first thing asked of a new database")
            other.stop_collector()
    finally:
        other.__exit__(None, None, None)


@test
def a_collector_without_a_database_says_why():
    other = lab.Lab()
    try:
        other.start_collector(database_url="postgresql://127.0.0.1:1/nowhere")
        done = other.cli("margins", check=False)
        equal(done.returncode, 1, "exit code")
        check("has not everything yet" in done.stderr and "does not answer" in done.stderr,
              done.stderr)
    finally:
        other.__exit__(None, None, None)


@test
def with_a_database_url_lists_are_shown_without_a_collector_and_that_is_said():
    url = laboratory().cli("db", "url").stdout.strip()
    done = laboratory().cli("budget", "list", "--json", NULLSPEND_COLLECTOR=NOBODY,
                            NULLSPEND_DATABASE_URL=url)
    check(isinstance(json.loads(done.stdout), list), done.stdout)
    check("no collector" in done.stderr, done.stderr)
    done = laboratory().cli("budget", "set", "org", "--limit", "1", "--period", "day", check=False,
                            NULLSPEND_COLLECTOR=NOBODY, NULLSPEND_DATABASE_URL=url)
    equal(done.returncode, 3, "exit code of a change that nobody would enforce")
    equal(laboratory().sql("select count(*) from nullspend.budgets where entity = 'org'"), [["0"]],
          "budgets written all the same")


# --- the private collector


@test
def stop_ends_no_process_that_is_not_a_collector():
    import zmq
    endpoint = f"ipc://{laboratory().directory}/elsewhere.sock"
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.LINGER, 0)
    router.bind(endpoint)
    with subprocess.Popen(["sleep", "1000"]) as other:
        with subprocess.Popen([NULLSPEND, "stop"], stderr=subprocess.PIPE, text=True,
                              env=laboratory().environment(NULLSPEND_COLLECTOR=endpoint)) as stop:
            peer, question = router.recv_multipart()
            router.send_multipart([peer, messages.encode(
                "ANSWER", id=messages.decode(question)[1]["id"],
                json=json.dumps({"pid": other.pid}))])
            said = stop.communicate()[1]
            alive = other.poll() is None
            other.kill()
    context.destroy()
    equal(stop.returncode, 1, f"exit code: {said}")
    check("does not run here" in said and alive, f"alive: {alive}, said: {said}")


@test
def two_runs_at_once_start_one_private_collector_and_stop_ends_it():
    place = laboratory().directory
    private = {"NULLSPEND_COLLECTOR": "", "NULLSPEND_HTTP": "off",
               "NULLSPEND_STATE_DIR": os.path.join(place, "private")}
    if os.geteuid() == 0:
        # A /run of our own, in our own namespace, so that the machine's collector is left alone.
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
    elif os.path.exists("/run/nullspend/collector.sock"):
        skip("a machine without a collector of its own")
    done = [None, None]

    def run(index):
        done[index] = laboratory().cli("run", "--customer", "acme", "--", "sh", "-c",
                                       "echo $NULLSPEND_COLLECTOR", check=False, **private)

    threads = [threading.Thread(target=run, args=[index]) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        equal([d.returncode for d in done], [0, 0], f"exit codes: {done}")
        said = "".join(d.stderr for d in done)
        equal(said.count("started a collector"), 1, f"collectors started: {said}")
        equal(len(said.splitlines()), 1, f"lines on stderr: {said}")
        equal(done[0].stdout, done[1].stdout, "their collectors")
        check(done[0].stdout.startswith("ipc://"), done[0].stdout)
        check("already running" in laboratory().cli("start", **private).stdout, "started again")
        laboratory().cli("budget", "set", "org", "--limit", "1", "--period", "total", **private)
    finally:
        stopped = laboratory().cli("stop", check=False, **private)
    equal((stopped.returncode, stopped.stdout), (0, "stopped\n"), "stop")
    equal(laboratory().cli("stop", check=False, **private).returncode, 3, "stop again")


@test
def a_collector_that_cannot_start_is_told_with_its_own_words():
    place = os.path.join(laboratory().directory, "file")
    with open(place, "w", encoding="ascii"):
        pass
    for command in [["start"], ["run", "--", "true"]]:
        done = laboratory().cli(*command, check=False, NULLSPEND_COLLECTOR="", NULLSPEND_HTTP="off",
                                NULLSPEND_STATE_DIR=place)
        check(done.returncode in (1, 3) and place in done.stderr, f"{command}: {done.stderr}")


if __name__ == "__main__":
    lab.enter()
    try:
        main()
    finally:
        lab.end_shared()
