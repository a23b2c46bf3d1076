# SPDX-License-Identifier: Apache-2.0
"""System calls by name and number, and those that a program of tests/programs makes."""
import os
import re
import shutil
import subprocess

from tap import equal, skip


def numbers(names):
    """Of this machine's kernel; names that it does not have are left out."""
    source = "".join(f"#ifdef SYS_{name}\n{name}=SYS_{name}\n#endif\n" for name in sorted(names))
    text = subprocess.run(["gcc", "-E", "-P", "-include", "sys/syscall.h", "-"], input=source,
                          stdout=subprocess.PIPE, text=True, check=True).stdout
    return {name: int(number) for name, number in re.findall(r"^(\w+)\s*=\s*(\d+)$", text, flags=re.M)}


def traced(host, *steps, **more):
    """Names of the system calls that a program makes, in their order."""
    if shutil.which("strace") is None:
        skip("strace")
    trace = os.path.join(host.directory, "trace")
    done = host.run("hardship", *steps, wrapper=["strace", "-f", "-qq", "-o", trace], **more)
    equal(done.returncode, 0, done.stderr)
    with open(trace, encoding="utf-8", errors="replace") as file:
        return re.findall(r"^\d+\s+(\w+)\(", file.read(), flags=re.M)
