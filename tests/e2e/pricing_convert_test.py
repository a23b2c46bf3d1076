#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""pricing/convert.py: the committed catalogue is what it makes, and it stops at what is new."""
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from tap import check, equal, main, skip, test  # noqa: E402

CONVERT = os.path.join(ROOT, "pricing", "convert.py")
CATALOGUE = os.path.join(ROOT, "pricing", "catalogue.tsv")


def prices():
    folder = os.path.join(os.environ.get("NS_SHARED", os.path.join(ROOT, "..", "shared")), "prices")
    if not os.path.exists(os.path.join(folder, "data.json")):
        skip("shared prices (data.json)")
    return folder


def convert(*args):
    return subprocess.run([sys.executable, CONVERT, *args], capture_output=True, text=True)


def converted_after(change):
    """The conversion of the shared data after change(data)."""
    folder = prices()
    with tempfile.TemporaryDirectory() as other:
        shutil.copy(os.path.join(folder, "units.json"), other)
        with open(os.path.join(folder, "data.json"), encoding="utf-8") as file:
            data = json.load(file)
        change(data)
        with open(os.path.join(other, "data.json"), "w", encoding="utf-8") as file:
            json.dump(data, file)
        return convert(other)


@test
def the_committed_catalogue_is_what_the_conversion_makes():
    result = convert(prices())
    equal(result.returncode, 0, result.stderr)
    with open(CATALOGUE, encoding="utf-8") as file:
        check(result.stdout == file.read(), "pricing/catalogue.tsv is stale: run convert.py")


@test
def the_conversion_stops_at_upstream_forms_that_it_does_not_know():
    def regex(data):
        data[0]["models"][0]["match"] = {"regex": "^a(b|c)$"}

    def constraint(data):
        data[0]["models"][0]["prices"] = [{"constraint": {"type": "moon"}, "prices": {"input_mtok": 1}}]

    def unit(data):
        data[0]["models"][0]["prices"] = {"input_bananas": 1}

    def gone(data):
        data[:] = [p for p in data if p["id"] != "deepseek"]

    for change in (regex, constraint, unit, gone):
        result = converted_after(change)
        check(result.returncode != 0, f"{change.__name__} was taken")
        equal(result.stdout, "", "output")


@test
def a_catalogue_edited_by_hand_is_sealed_again():
    with open(CATALOGUE, encoding="utf-8") as file:
        original = file.read()
    with tempfile.NamedTemporaryFile("w+", suffix=".tsv", encoding="utf-8") as copy:
        copy.write(original.rsplit("checksum", 1)[0])
        copy.flush()
        equal(convert("--seal", copy.name).returncode, 0, "exit code")
        copy.seek(0)
        check(copy.read() == original, "sealing the same records gives another file")


main()
