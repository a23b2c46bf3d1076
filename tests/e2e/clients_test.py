#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Unmodified official SDKs and common HTTP clients against the real library and collector, as
tests/lib/matrix.py says: a row of each transport, or with NS_CLIENTS=all every row, after which
docs/clients.md is written anew, with new times of the rows that ran."""
import concurrent.futures
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import lab
import matrix
import matrix_document
import tap
from tap import check, equal

ALL = os.environ.get("NS_CLIENTS") == "all"


def curl_sees_the_denial_in_its_providers_shape(laboratory):
    laboratory.cli("budget", "set", "customer:curly", "--limit", "0.000000001", "--period", "total")
    before = len(laboratory.requests())
    done = laboratory.curl(
        "-i", "--http1.1", "https://api.openai.com/v1/chat/completions", "-H", "Authorization: Bearer sk-1234",
        "-d", '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}',
        customer="curly")
    equal(done.returncode, 0, "exit status of curl: " + done.stderr)
    head, _, body = done.stdout.partition("\n\n")
    check(head.startswith("HTTP/1.1 402 "), head)
    lines = {line.split(":")[0].lower(): line.split(": ", 1)[1].strip()
             for line in head.splitlines()[1:]}
    equal(lines.get("x-nullspend-denied"), "1")
    equal(lines.get("x-nullspend-reason"), "budget_exceeded")
    equal(lines.get("x-nullspend-budget"), "customer:curly")
    equal(lines.get("x-should-retry"), "false")
    check("retry-after" not in lines, "no Retry-After")
    check("nullspend" in json.loads(body)["error"]["message"], body)
    explained = laboratory.cli("explain", lines["x-nullspend-denial-id"]).stdout
    check("customer:curly" in explained, explained)
    equal(len(laboratory.requests()), before, "requests that reached the provider")


def the_document_lists_exactly_the_rows(rows):
    """In what follows from the rows; a time must be there, whatever it is."""
    document = matrix_document.read()
    times = matrix_document.times_in(document)
    missing = {row.name for row in rows} - times.keys()
    equal(missing, set(), "rows without a time: `make clients` measures them")
    expected = matrix_document.text(rows, times)
    for got, wanted in zip(document.splitlines(), expected.splitlines()):
        equal(got, wanted, "a line of docs/clients.md, which `make clients` writes,")
    equal(len(document), len(expected), "length of docs/clients.md")


def chosen(rows):
    """Those of this run; names on the command line choose among all."""
    words = sys.argv[1:]
    if words:
        return [row for row in rows if any(word in test_name(row) for word in words)]
    return [row for row in rows if ALL or row.check]


def test_name(row):
    return row.name.replace("-", "_") + "_is_governed"


def measure(row, future, seconds):
    def one():
        seconds[row.name] = future.result()
    one.__name__ = test_name(row)
    return one


def main():
    everything = matrix.rows()
    rows = chosen(everything)
    for row in rows:
        row.command()  # installs what is missing, while there is a network
    lab.enter()
    seconds = {}
    with lab.Lab(["--protocols", "h2,http/1.1"]) as laboratory, \
            concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        laboratory.start_collector()
        futures = {row.name: pool.submit(matrix.drive, laboratory, row) for row in rows}
        for row in rows:
            tap.test(measure(row, futures[row.name], seconds))

        @tap.test
        def curl():
            curl_sees_the_denial_in_its_providers_shape(laboratory)

        @tap.test
        def document():
            if ALL:
                matrix_document.write(everything, seconds)
            the_document_lists_exactly_the_rows(everything)
        tap.main()


if __name__ == "__main__":
    main()
