#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The demo shows what it promises, as root and as an ordinary user."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import lab
import tap
from tap import check, equal

DEMO = os.path.join(lab.ROOT, "demo/run")


def shows(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    text = done.stdout
    equal(done.returncode, 0, "exit status of the demo:\n" + text[-4000:])
    for pattern in (r"openai\.APIStatusError: HTTP 402", r"reason:\s+budget_exceeded",
                    r"customer:hooli", r"gpt-4o", r"claude-sonnet-4-5", r"gemini-2\.5-flash",
                    r"denied: 1\b"):
        check(re.search(pattern, text), f"the demo does not show {pattern}:\n{text[-4000:]}")
    margins = text[text.index("nullspend margins"):]
    for customer, tier in (("acme", "healthy"), ("hooli", "critical"), ("initech", "")):
        check(re.search(rf"{customer}\b.*{tier}", margins), f"no margin of {customer}: {margins}")
    numbers = re.search(r"reached a provider: (\d+); calls in the ledger: (\d+)", text)
    equal(numbers.group(1), numbers.group(2), "requests and calls")


@tap.test
def the_demo_shows_the_main_job():
    shows([DEMO])


@tap.test
def the_demo_needs_no_root():
    if os.geteuid() != 0:
        tap.skip("this is no root; the test before was one of an ordinary user")
    probe = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
    if subprocess.run([*probe, "unshare", "--user", "--net", "true"], check=False,
                      stderr=subprocess.DEVNULL).returncode != 0:
        tap.skip("the kernel lets users make no namespaces")
    shows(probe + ["env", "HOME=/tmp", DEMO])


if __name__ == "__main__":
    tap.main()
