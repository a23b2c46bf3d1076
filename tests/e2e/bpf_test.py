#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""nullspend-bpf tells what the kernel offers."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import lab
import tap
from tap import check, equal

AGENT = lab.program("nullspend-bpf")


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False)


@tap.test
def the_table_and_the_json_say_the_same():
    table, listed = run(AGENT, "--probe"), run(AGENT, "--probe", "--json")
    rows = json.loads(listed.stdout)
    equal(len(table.stdout.splitlines()), len(rows), "lines of the table")
    for row, line in zip(rows, table.stdout.splitlines()):
        check(line.startswith(row["facility"]), line)
        equal(line[27:].split()[0], "yes" if row["present"] else
              "MISSING" if row["required"] else "no", line)
    missing = [row for row in rows if row["required"] and not row["present"]]
    equal(table.returncode, 1 if missing else 0, "exit status")
    equal(table.stderr, "", "stderr")


@tap.test
def without_privileges_it_says_what_to_grant():
    done = run("setpriv", "--bounding-set=-all", "--inh-caps=-all", AGENT, "--probe")
    equal(done.returncode, 1, "exit status")
    check("CAP_BPF" in done.stdout and "run as root or grant CAP_BPF" in done.stdout, done.stdout)


@tap.test
def bad_arguments_are_refused_with_the_next_step():
    for arguments in (["--attack"], ["--attach", "--probe"], []):
        done = run(AGENT, *arguments)
        equal(done.returncode, 2, "exit status")
        check("--help" in done.stderr, done.stderr)
    equal(run(AGENT, "--help").returncode, 0, "exit status of --help")


if __name__ == "__main__":
    tap.main()
