# SPDX-License-Identifier: Apache-2.0
"""docs/clients.md: the rows of the matrix as a table for people. All of it follows from the rows but
the times, which are what `make clients` measured, in classes so coarse that they stay."""
import os
import re

import lab
import matrix

PATH = os.path.join(lab.ROOT, "docs/clients.md")
TEMPLATE = os.path.join(lab.ROOT, "tests/clients/clients.md.in")
UNKNOWN = "?"
CLASSES_MS = [50, 250, 1000, 5000]
HEAD = "| client | package | protocol | stream | on denial | status | attempts | time to it |\n" \
       "|---|---|---|---|---|---|---|---|\n"


def time_class(seconds):
    for limit in CLASSES_MS:
        if seconds * 1000 < limit:
            return f"< {limit} ms"
    return "longer"


def line(row, time):
    status = str(row.status) if row.status else "not told"
    exception = "the answer" if row.exception in matrix.ANSWERS else f"`{row.exception}`"
    return "| " + " | ".join([f"`{row.name}`", row.package, row.protocol,
                              "yes" if row.streams else "no", exception, status,
                              str(row.attempts), time]) + " |\n"


def text(rows, times):
    """The document; times: name of a row → its time class."""
    parts = []
    for runtime in dict.fromkeys(row.runtime for row in rows):
        lines = "".join(line(row, times.get(row.name, UNKNOWN)) for row in rows
                        if row.runtime == runtime)
        parts.append(f"### {runtime}\n{HEAD}{lines}")
    with open(TEMPLATE, encoding="utf-8") as template:
        return template.read().replace("@TABLES@\n", "\n".join(parts))


def times_in(document):
    times = dict(re.findall(r"^\| `([^`]+)` \|.* \| ([^|]+) \|$", document, re.M))
    return {name: time for name, time in times.items() if time != UNKNOWN}


def write(rows, seconds):
    """seconds: name of a row → time to a denial; rows that are not there keep theirs."""
    times = times_in(read()) if os.path.exists(PATH) else {}
    times.update({name: time_class(value) for name, value in seconds.items()})
    document = text(rows, times)
    with open(PATH, "w", encoding="utf-8") as file:
        file.write(document)


def read():
    with open(PATH, encoding="utf-8") as file:
        return file.read()
