#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The demo shows what it promises, as root and as an ordinary user."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import lab
import tap
from tap import check, equal

def shows(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    text = done.stdout
    equal(done.returncode, 0, "exit status of the demo:\n" + text[-4000:])
    for pattern in (r"openai\.APIStatusError: HTTP 402", r"anthropic\.PaymentRequiredError: HTTP 402",
                    r"HTTP/1\.1 402", r"X-NullSpend-Reason: budget_exceeded", r"customer:hooli",
                    r"gpt-4o", r"claude-sonnet-4-5", r"gemini-2\.5-flash", r"denied: 3\b"):
        check(re.search(pattern, text), f"the demo does not show {pattern}:\n{text[-4000:]}")
    margins = text[text.index("nullspend margins"):]
    for customer, tier in (("acme", "healthy"), ("hooli", "critical"), ("initech", "")):
        check(re.search(rf"{customer}\b.*{tier}", margins), f"no margin of {customer}: {margins}")
    numbers = re.search(r"reached a provider: (\d+); calls in the ledger: (\d+)", text)
    equal(numbers.group(1), numbers.group(2), "requests and calls")


@tap.test
def the_demo_shows_the_main_job():
    shows([os.path.join(lab.ROOT, "demo/run")])


def copy_for_everybody(target):
    """The sources and what the demo needs of build/, where every user may read it."""
    lab.python_with_sdks(os.path.join(lab.ROOT, "demo/requirements.txt"))
    shutil.copytree(lab.ROOT, target, dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("build", ".git"))
    shutil.copytree(os.path.join(lab.ROOT, "build/venv-demo"),
                    os.path.join(target, "build/venv-demo"), symlinks=True)
    for name in ("nullspend", "nullspendd", "libnullspend.so"):
        shutil.copy(lab.program(name), os.path.join(target, "build"))
    subprocess.run(["chmod", "-R", "a+rX", target], check=True)


@tap.test
def the_demo_needs_no_root_and_runs_below_a_path_with_a_blank():
    with tempfile.TemporaryDirectory(prefix="ns demo") as directory:
        copy_for_everybody(directory)
        command = ["env", "-u", "NS_BUILD", "HOME=/tmp", os.path.join(directory, "demo/run")]
        if os.geteuid() == 0:
            as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]
            if subprocess.run([*as_nobody, "unshare", "--user", "--net", "true"], check=False,
                              stderr=subprocess.DEVNULL).returncode != 0:
                tap.skip("a kernel that lets users make namespaces")
            command = as_nobody + command
        shows(command)


if __name__ == "__main__":
    tap.main()
