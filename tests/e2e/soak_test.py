#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A connection that is kept alive for very many calls costs no memory by the call.

NS_SOAK_CALLS says how many (default 20000; `make soak`: a million), against the real collector."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import lab  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, test  # noqa: E402

lab.enter()

CALLS = int(os.environ.get("NS_SOAK_CALLS", "20000"))
# What may come after the first tenth, whatever the number of calls: reports whose acknowledgement
# waits for a busy disk (128 KiB at most, and their arenas), stdio, an arena of the heap. Losing the
# smallest block by the call would be more.
GROWTH_KIB_MAX = 1024


@test
def memory_is_flat_over_calls_on_one_connection():
    with lab.Lab() as laboratory:
        laboratory.start_collector(database_url="host=127.0.0.1 port=1 connect_timeout=1")
        log = os.path.join(laboratory.directory, "shim.log")
        done = laboratory.run([lab.program("programs/soak"), str(CALLS)], timeout=7200,
                              NULLSPEND_LOG=log, NULLSPEND_DEADLINE_MS=60000)
        print("#", done.stdout.strip(), flush=True)
        numbers = re.fullmatch(r"calls (\d+), anonymous (\d+) then (\d+), mapped (\d+) then (\d+)\n",
                               done.stdout)
        check(numbers and done.returncode == 0, done)
        calls, before, after, mapped_before, mapped_after = map(int, numbers.groups())
        equal(calls, CALLS, "calls that were answered")
        check(after - before <= GROWTH_KIB_MAX,
              f"{(after - before) * 1024 / CALLS:.1f} bytes a call: {before} KiB, then {after}")
        check(mapped_after - mapped_before <= GROWTH_KIB_MAX,
              f"{mapped_before} KiB mapped, then {mapped_after}")
        counters = [line for line in open(log, encoding="utf-8") if " counters" in line][-1]
        words = dict(word.split("=") for word in counters.split(" counters ")[1].split())
        # Faster than the disk acknowledges, reports go to the spool and are posted from there.
        equal(int(words["reports_acked"]) + int(words.get("reports_spooled", 0)), CALLS, "reports")
        check("calls_unasked" not in words and "reports_lost" not in words, counters)


if __name__ == "__main__":
    main()
