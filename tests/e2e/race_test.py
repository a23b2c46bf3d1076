#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Eight processes of sixteen threads on one budget that fits a hundred calls."""
import os
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import lab
import tap
from tap import check, equal

HAMMER = os.path.join(lab.ROOT, "tests/clients/hammer.py")
PROCESSES, THREADS, CALLS_EACH = 8, 16, 3


class Watch(threading.Thread):
    """Reads the budget as fast as it can and keeps the highest spent + held."""

    def __init__(self, laboratory, entity):
        super().__init__()
        self.laboratory, self.entity = laboratory, entity
        self.highest, self.samples = 0, 0
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            for row in self.laboratory.query("budgets"):
                if row["entity"] == self.entity:
                    self.highest = max(self.highest, round((row["spent_usd"] + row["held_usd"]) * 1e9))
                    self.samples += 1


def race(laboratory, reserve):
    customer = "race-" + reserve
    # 50 words of 5 bytes, 100 tokens of output: see what one hold is, then allow a hundred of them.
    laboratory.cli("budget", "set", f"customer:{customer}-probe", "--limit", "100", "--period",
                   "total", "--reserve", reserve)
    one = laboratory.run([sys.executable, HAMMER, "1", "1", "300"], customer=customer + "-probe")
    equal(one.stdout.split()[1], "200", "status of the probe: " + one.stdout + one.stderr)
    hold = int(laboratory.sql("select hold_nanousd from nullspend.calls where customer = "
                              f"'{customer}-probe'")[0][0])
    check(hold > 0, "a hold of nothing")
    limit = 100 * hold
    laboratory.cli("budget", "set", "customer:" + customer, "--limit",
                   f"{limit // 10**9}.{limit % 10**9:09}", "--period", "total", "--reserve",
                   reserve)
    watch = Watch(laboratory, "customer:" + customer)
    watch.start()
    # Time is not what is tested: no call is let through unasked, no report left to a later process.
    environment = laboratory.governed(NULLSPEND_CUSTOMER=customer, NULLSPEND_DEADLINE_MS=60000)
    processes = [subprocess.Popen([sys.executable, HAMMER, str(THREADS), str(CALLS_EACH),
                                   str(100 + i)], env=environment, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True) for i in range(PROCESSES)]
    answers = []
    for process in processes:
        out, err = process.communicate(timeout=300)
        equal(process.returncode, 0, "exit status: " + err)
        answers += [line.split() for line in out.splitlines()]
    watch.over.set()
    watch.join()
    allowed = sum(status == "200" for _, status, _ in answers)
    denied = sum(status == "402" and reason == "budget_exceeded" for _, status, reason in answers)
    equal(allowed + denied, PROCESSES * THREADS * CALLS_EACH, f"answers {answers[:5]}…")
    check(denied > 0, "nothing was denied: the race tests nothing")
    check(watch.samples > 10, f"only {watch.samples} looks at the budget")
    check(watch.highest <= limit, f"spent + held reached {watch.highest} of {limit}")
    rows = laboratory.sql("select count(*), count(distinct call_id), sum(cost_nanousd) from "
                          f"nullspend.calls where customer = '{customer}'")
    equal([int(v) for v in rows[0][:2]], [allowed, allowed], "rows of calls")
    check(int(rows[0][2]) <= limit, f"spent {rows[0][2]} of {limit}")
    status = laboratory.sql("select (spent_usd * 1e9)::bigint, held_usd, remaining_usd from "
                            f"nullspend.budget_status where entity = 'customer:{customer}'")[0]
    equal(status[0], rows[0][2], "spent by the ledger, and the sum of the rows")
    equal(float(status[1]), 0.0, "held at the end")
    reached = [r for r in laboratory.requests()
               if ["Authorization", "Bearer sk-hammer"] in r["headers"]]
    return allowed, len(reached)


def main():
    lab.enter()
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        total = 0

        @tap.test
        def a_budget_raced_for_is_never_passed():
            nonlocal total
            for reserve in ("bound", "typical"):
                allowed, reached = race(laboratory, reserve)
                total += allowed + 1
                equal(reached, total, "requests that reached the provider")

        tap.main()


if __name__ == "__main__":
    main()
