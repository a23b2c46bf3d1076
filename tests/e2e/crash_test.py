#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the collector at random moments under load, Postgres stopped and started meanwhile:
every call is in Postgres exactly once in the end, no hold stays, and no program is harmed.

NS_CRASHES sets how often (default 100), NS_SEED when.
"""
import collections
import os
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import lab
import postgres
import tap
from tap import check, equal

HAMMER = os.path.join(lab.ROOT, "tests/clients/hammer.py")
CRASHES = int(os.environ.get("NS_CRASHES", "100"))
SEED = int(os.environ.get("NS_SEED", time.time_ns() % 1_000_000))


class Load:
    """A hammering process and the lines it printed."""

    def __init__(self, laboratory, customer, first, policy):
        self.process = subprocess.Popen(
            [sys.executable, HAMMER, "3", "0", str(first)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
            env=laboratory.governed(NULLSPEND_CUSTOMER=customer,
                                    NULLSPEND_ON_UNREACHABLE=policy,
                                    NULLSPEND_LOG=laboratory.directory + "/shim.log"))
        self.answers = []
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.answers.append(line.split())

    def end(self):
        self.process.stdin.close()
        equal(self.process.wait(120), 0, "exit status of the load")
        self.reader.join()


def crash_often(laboratory, database, dice):
    """Kills and restarts the collector; in every ten times Postgres is away for three."""
    away = False
    for number in range(CRASHES):
        if away != (number % 10 in (5, 6, 7)):
            away = not away
            (database.stop if away else database.start)()
        time.sleep(dice.uniform(0.0, 0.3))  # the random moment itself
        laboratory.stop_collector(signal.SIGKILL)
        time.sleep(dice.uniform(0.0, 0.05))
        laboratory.start_collector(database_url=database.url)
    if away:
        database.start()


def nothing_lost_nothing_twice(laboratory, database):
    print(f"# seed {SEED}", flush=True)
    dice = random.Random(SEED)
    laboratory.start_collector(database_url=database.url)
    laboratory.cli("budget", "set", "customer:*", "--limit", "1000000", "--period", "total")
    loads = {"patient": Load(laboratory, "patient", 1_000_000, "allow"),
             "strict": Load(laboratory, "strict", 2_000_000, "deny")}
    crash_often(laboratory, database, dice)
    for load in loads.values():
        load.end()
    # Further processes take along what the others had to leave in the spool.
    swept = 0
    while swept == 0 or any(name.endswith(".spool") for name in os.listdir(laboratory.spool)):
        check(swept < 200, f"the spool is never empty: {os.listdir(laboratory.spool)}")
        done = laboratory.run([sys.executable, HAMMER, "1", "1", str(3_000_000 + swept)],
                              customer="sweeper")
        equal(done.stdout.split()[1], "200", "the last call: " + done.stdout + done.stderr)
        swept += 1
    laboratory.await_sql("select count(*) from nullspend.calls where customer = 'sweeper'",
                         str(swept))

    for name, load in loads.items():
        statuses = collections.Counter((status, reason) for _, status, reason in load.answers)
        print(f"# {name}: {dict(statuses)}", flush=True)
    strange = [a for a in loads["patient"].answers if a[1] != "200"]
    equal(strange, [], "failures of the program whose policy is allow")
    strange = [a for a in loads["strict"].answers
               if a[1] != "200" and a[2] != "collector_unreachable"]
    equal(strange, [], "failures of the program whose policy is deny, but clear denials")

    reached = collections.Counter(
        int(dict(r["headers"])["X-Replay"].split("=")[1].split("/")[0])
        for r in laboratory.requests())
    rows = laboratory.sql("select input_tokens, customer, outcome from nullspend.calls")
    stored = collections.Counter(int(row[0]) for row in rows)
    check(len(reached) > CRASHES, f"only {len(reached)} calls: the load was none")
    missing, surplus = reached - stored, stored - reached
    if missing or surplus:
        print("# outcomes:", laboratory.sql("select outcome, evidence, count(*) from nullspend.calls "
                                            "group by 1, 2"))
        print("# refused:", laboratory.sql("select count(*) from nullspend.refused_records"))
        print("# surplus:", sorted(surplus), "spool:", os.listdir(laboratory.spool))
        print("# status:", laboratory.json("status"), flush=True)
    equal(sorted(missing), [], "calls that reached the provider and are not in Postgres")
    equal(sorted(surplus), [], "rows of calls that the provider has not seen so often")
    held = laboratory.sql("select coalesce(sum(held_usd), 0), (sum(spent_usd) * 1e9)::bigint "
                          "from nullspend.budget_status where entity <> 'customer:*'")[0]
    equal(float(held[0]), 0.0, "held at the end")
    spent = laboratory.sql("select sum(cost_nanousd) from nullspend.calls")[0][0]
    equal(held[1], spent, "spent by the ledger, and the sum of the rows")
    equal(laboratory.json("status")["open_holds"], 0, "open holds")


def main():
    lab.enter()
    with postgres.Cluster() as database, lab.Lab() as laboratory:

        @tap.test
        def a_collector_killed_at_any_moment_loses_nothing_and_doubles_nothing():
            nothing_lost_nothing_twice(laboratory, database)

        tap.main()


if __name__ == "__main__":
    main()
