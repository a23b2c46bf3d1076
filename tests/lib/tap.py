# SPDX-License-Identifier: Apache-2.0
"""The test harness of Python tests: functions marked @test, printed as TAP.

    from tap import test, check, equal, skip, main

    @test
    def a_name_that_says_the_behaviour(): ...

    main()

A failed check ends its test with the place and the values. `prog.py WORD…` runs only the tests
whose names contain one of the words.
"""
import sys
import time
import traceback

TESTS = []
# A bound on hanging: whatever takes so long has stopped.
HANGS_AFTER_S = 60


class Skip(Exception):
    """A facility of this machine is missing."""


class Failure(AssertionError):
    """A check did not hold."""


def test(function):
    TESTS.append(function)
    return function


def skip(facility):
    raise Skip(facility)


def check(condition, message="not true"):
    if not condition:
        raise Failure(message)


def equal(got, expected, what="value"):
    if got != expected:
        raise Failure(f"{what} is {got!r}, not {expected!r}")


def await_that(holds, what):
    """For what tells nobody when it comes to hold."""
    end = time.monotonic() + HANGS_AFTER_S
    while not holds():
        check(time.monotonic() < end, f"never: {what}")
        time.sleep(0.005)


def main():
    chosen = [t for t in TESTS
              if len(sys.argv) < 2 or any(word in t.__name__ for word in sys.argv[1:])]
    failed = 0
    print(f"1..{len(chosen)}", flush=True)
    for number, function in enumerate(chosen, 1):
        try:
            function()
            print(f"ok {number} - {function.__name__}", flush=True)
        except Skip as reason:
            print(f"ok {number} - {function.__name__} # SKIP {reason}", flush=True)
        except Exception:  # pylint: disable=broad-except
            failed += 1
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
            print(f"not ok {number} - {function.__name__}", flush=True)
    sys.exit(1 if failed else 0)
