#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The audit log: who changed what, and that nobody changes that unseen."""
import getpass
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import lab  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, test  # noqa: E402  pylint: disable=wrong-import-position

lab.enter()

WRITERS, CHANGES = 8, 25


def head_of(text):
    return text.splitlines()[1].removeprefix("head ")


def entries(laboratory):
    return sorted(laboratory.json("audit", "list"), key=lambda row: row["number"])


def forge(laboratory, statement):
    """As a superuser who switches the triggers off."""
    laboratory.sql(f"begin; alter table nullspend.audit disable trigger user; {statement};"
                   " alter table nullspend.audit enable trigger user; commit")


def verify(laboratory, code, words, *arguments):
    done = laboratory.cli("audit", "verify", *arguments, check=False)
    equal(done.returncode, code, done.stdout + done.stderr)
    check(words in done.stdout + done.stderr, done.stdout + done.stderr)
    return done.stdout


@test
def every_change_is_an_entry_that_says_who_made_it():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        check("0 entries, whole\nhead none\n" in verify(laboratory, 0, "whole"), "an empty log")
        laboratory.cli("budget", "set", "customer:acme", "--limit", "5", "--period", "day")
        laboratory.cli("budget", "set", "customer:acme", "--limit", "7.5", "--period", "day")
        laboratory.cli("budget", "set", "customer:acme", "--limit", "7.5", "--period", "day")
        laboratory.cli("mandate", "set", "agent:bot", "--deny-models", "o1")
        laboratory.sql("delete from nullspend.mandates")
        laboratory.sql("truncate nullspend.budgets")
        rows = entries(laboratory)
        equal([(row["number"], row["action"], row["entity"]) for row in rows],
              [(1, "budget_created", "customer:acme"), (2, "budget_changed", "customer:acme"),
               (3, "mandate_created", "agent:bot"), (4, "mandate_removed", "agent:bot"),
               (5, "budgets_truncated", None)], "entries; what changes nothing is none")
        details = rows[1]["details"]
        equal(details["limit_usd"], {"was": 5, "is": 7.5}, "what changed")
        equal(sorted(details), ["id", "limit_nanousd", "limit_usd"], "and nothing else")
        check(rows[0]["actor"].startswith(f"{getpass.getuser()} by nullspend as "), rows[0]["actor"])
        check(rows[3]["actor"].startswith("psql as "), rows[3]["actor"])
        check("5 entries, whole" in verify(laboratory, 0, "whole"), "whole")
        check("budget_changed" in laboratory.cli("audit", "list", "--since", "1h").stdout, "a table")
        for arguments, words in [(["verify", "--head", "12"], "--head is a hash of 64 digits"),
                                 (["show"], "wants list or verify"),
                                 (["list", "--head", "12"], "no option --head")]:
            done = laboratory.cli("audit", *arguments, check=False)
            equal(done.returncode, 2, done.stderr)
            check(words in done.stderr, done.stderr)


@test
def entries_are_never_changed_and_what_is_forged_is_found():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        for limit in range(1, 7):
            laboratory.sql("insert into nullspend.budgets (entity, period, limit_usd)"
                           f" values ('customer:c{limit}', 'day', {limit})")
        head = head_of(verify(laboratory, 0, "6 entries, whole"))
        laboratory.sql("insert into nullspend.budgets (entity, period, limit_usd)"
                       " values ('org', 'day', 1)")
        verify(laboratory, 0, "7 entries, whole", "--head", head)
        for statement in ["update nullspend.audit set actor = 'nobody'",
                          "delete from nullspend.audit where number = 3",
                          "truncate nullspend.audit"]:
            done = subprocess.run([lab.program("nullspend"), "psql", "-c", statement], text=True,
                                  env=laboratory.environment(), capture_output=True, check=False)
            check("never changed or removed" in done.stderr, done.stderr)
        verify(laboratory, 0, "7 entries, whole")
        # An entry that somebody adds himself stands in the chain, with who he is.
        laboratory.sql("insert into nullspend.audit (number, actor, action, previous, hash)"
                       " values (99, 'the king', 'budget_removed', '', '')")
        row = entries(laboratory)[-1]
        equal(row["number"], 8, "its number")
        check(row["actor"].startswith("psql as "), row["actor"])
        forge(laboratory, "update nullspend.audit set details = details || '{\"limit_usd\": 9}' where number = 3")
        verify(laboratory, 1, "broken at entry 3: it is not what was written")
        # With a hash that fits, the next entry tells.
        forge(laboratory, "update nullspend.audit set hash = sha256(previous || convert_to("
              "jsonb_build_array(number, to_char(happened_at at time zone 'UTC',"
              " 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), actor, action, entity, details)::text, 'UTF8'))"
              " where number = 3")
        verify(laboratory, 1, "broken at entry 4: it does not follow the entry before it")
        forge(laboratory, "delete from nullspend.audit where number = 2")
        verify(laboratory, 1, "broken at entry 3: entry 2 is missing before it")
        # What is cut at its end is whole, but for who noted a head.
        forge(laboratory, "delete from nullspend.audit where number > 1")
        check("1 entries, whole" in verify(laboratory, 0, "whole"), "cut")
        verify(laboratory, 1, f"the head {head} is not in the audit log", "--head", head)


@test
def eight_writers_at_once_make_one_chain():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        statements = "".join(
            "insert into nullspend.budgets (entity, period, limit_usd) values"
            f" ('customer:' || pg_backend_pid() || '-{i}', 'day', {i});" for i in range(CHANGES))
        writers = [subprocess.Popen([lab.program("nullspend"), "psql", "-qc", statement],
                                    env=laboratory.environment())
                   for _ in range(WRITERS) for statement in [statements]]
        single = [subprocess.Popen([lab.program("nullspend"), "psql", "-qf", "-"], text=True,
                                   stdin=subprocess.PIPE, env=laboratory.environment())
                  for _ in range(WRITERS)]
        for writer in single:
            writer.stdin.write(statements.replace(";", ";\n"))
            writer.stdin.close()
        equal([writer.wait() for writer in writers + single], [0] * 2 * WRITERS, "writers")
        verify(laboratory, 0, f"{2 * WRITERS * CHANGES} entries, whole")


main()
