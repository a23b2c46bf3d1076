#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The follower and the settings thread against a real Postgres: each record arrives exactly once,
whatever is killed; budgets go in, revisions and counters come out. NS_TEST_SEED repeats a run."""
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import lab  # noqa: E402
import postgres  # noqa: E402
from tap import check, equal, main, test  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLLOW = lab.program("programs/follow")
SEED = int(os.environ.get("NS_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
KILLS = int(os.environ.get("NS_TEST_KILLS", "25"))
# An event that has not come by then never will; nothing is measured by it.
NEVER_S = 60


class Follower:
    """`follow run`: says what to do, waits for what it says."""

    def __init__(self, url, journal):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([FOLLOW, "run", url, journal], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log)
        self.buffer = b""

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def line(self, timeout=NEVER_S):
        """The next line; None at the end or when none comes."""
        while b"\n" not in self.buffer:
            readable, _, _ = select.select([self.process.stdout], [], [], timeout)
            more = os.read(self.process.stdout.fileno(), 65536) if readable else b""
            if not more:
                return None
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()

    def await_line(self, start):
        """Reads until a line begins so; returns it."""
        while True:
            line = self.line()
            check(line is not None, f"never said {start!r}: {self.said()}")
            if line.startswith(start):
                return line

    def await_position(self, sequence):
        line = ""
        while line != f"position {sequence}":
            line = self.await_line("position ")

    def state(self):
        self.say("state")
        line = self.await_line("state ")[len("state "):]
        fields = line.split(" error=", 1)
        state = dict(field.split("=") for field in fields[0].split())
        return dict({key: int(value) for key, value in state.items()}, error=fields[1])

    def await_state(self, holds):
        end = time.monotonic() + NEVER_S
        while True:
            state = self.state()
            if holds(state):
                return state
            check(time.monotonic() < end, f"never came to hold: {state}")
            self.line(timeout=0.02)

    def stop(self, deadline_ms=NEVER_S * 1000):
        self.say(f"stop {deadline_ms}")
        self.await_line("stopped")
        return self.process.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def said(self):
        self.log.seek(0)
        return self.log.read().decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()


class Place:
    """A database of its own and a journal."""
    number = 0

    def __init__(self):
        Place.number += 1
        self.url = CLUSTER.create_database(f"place{Place.number}")
        self.journal = tempfile.mkdtemp(prefix="nsj.", dir="/tmp")
        self.write(0, 0)  # a journal without records, as a collector makes before its store starts

    def write(self, first, count):
        """Appends the records of some calls; returns the journal's last sequence."""
        done = subprocess.run([FOLLOW, "write", self.journal, str(first), str(count)],
                              stdout=subprocess.PIPE, check=True, text=True)
        return int(done.stdout)

    def sql(self, text):
        return CLUSTER.sql(text, url=self.url)

    def follower(self):
        return Follower(self.url, self.journal)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.journal, ignore_errors=True)


def expected(calls):
    """What the records of calls 0 … calls-1 must come to (see append_call in follow.c)."""
    kinds = [n % 20 for n in range(calls)]
    ok = [n for n in range(calls) if n % 20 not in (0, 2, 5)]
    return {
        "calls": len(ok) + kinds.count(2),
        "lost": kinds.count(2),
        "denied": kinds.count(0),
        "would": kinds.count(1),
        "cost": sum(1_000_000 + n % 1000 for n in ok) + 1_500_000 * kinds.count(2),
    }


def found(place):
    row = place.sql("""
        select count(*), count(distinct call_id), count(*) filter (where outcome = 'lost'),
               sum(cost_nanousd),
               (select count(*) from nullspend.denials where enforced),
               (select count(*) from nullspend.denials where not enforced),
               (select count(*) from nullspend.refused_records)
        from nullspend.calls""").split("|")
    equal(row[0], row[1], "rows and distinct calls")
    equal(row[6], "0", "refused records")
    return {"calls": int(row[0]), "lost": int(row[2]), "cost": int(row[3] or 0),
            "denied": int(row[4]), "would": int(row[5])}


@test
def every_kind_of_record_arrives_as_it_should():
    with Place() as place:
        last = place.write(0, 2000)
        with place.follower() as follower:
            follower.say(f"durable {last}")
            follower.await_position(last)
            equal(follower.await_state(lambda s: s["lagging"] == 0)["rows"], 1900 + 100 + 200)
            equal(follower.stop(), 0, "exit status")
        equal(found(place), expected(2000))
        equal(place.sql("select tags ->> 'note', usage ->> 'output_tokens', reasoning_tokens, "
                        "output_tokens, cost_usd, duration_ms, streamed, started_at = "
                        "timestamptz '2026-11-20 00:00:00+00' - interval '7 seconds' "
                        "from nullspend.calls where session = 'session-0' and call_id::text like "
                        "'%00007'"),
              'a "quoted" \\ back|27|7|34|0.001000007|250|f|t')
        equal(place.sql("select outcome, http_status, evidence, cost_nanousd from nullspend.calls "
                        "where call_id::text like '%00003'"), "ok|200|reported|1000003",
              "a lost call that was reported after all")
        equal(place.sql("select count(*) from nullspend.calls where call_id::text like '%00005'"),
              "0", "rows of a lost call that never left")


@test
def calls_go_to_the_partition_of_their_day():
    with Place() as place:
        place.write(0, 60)
        last = place.write(86400 * 40, 60)
        with place.follower() as follower:
            follower.say(f"durable {last}")
            follower.await_position(last)
            follower.stop()
        equal(place.sql("select string_agg(distinct tableoid::regclass::text, ' ') "
                        "from nullspend.calls"),
              place.sql("select string_agg(distinct 'nullspend.calls_' || to_char(started_at at "
                        "time zone 'UTC', 'YYYYMMDD'), ' ') from nullspend.calls"))
        ahead = place.sql("select count(*) from pg_class where relkind = 'r' and relname in (select "
                          "'calls_' || to_char((now() at time zone 'UTC')::date + d, 'YYYYMMDD') "
                          "from generate_series(0, 7) d)")
        equal(ahead, "8", "partitions of today and the days ahead")


@test
def only_what_is_durable_is_written():
    with Place() as place:
        place.write(6, 14)
        with place.follower() as follower:
            follower.await_line("connected")
            follower.say("durable 9")
            follower.await_position(9)
            equal(place.sql("select count(*) from nullspend.calls"), "9")
            follower.say("durable 14")
            follower.await_position(14)


@test
def a_journal_followed_again_adds_nothing():
    with Place() as place:
        last = place.write(6, 14)  # plain reports: rows that go straight into their partition
        for step, end in (("first", last), ("again", last)):
            with place.follower() as follower:
                follower.say(f"durable {end}")
                follower.await_state(lambda s, end=end: s["position"] == end)
                follower.stop()
            equal(place.sql("select count(*), count(distinct call_id), (select count(*) from "
                            "nullspend.refused_records) from nullspend.calls"), "14|14|0", step)
            # As if the database had been fed from another journal.
            place.sql("update nullspend.collector_state set instance = gen_random_uuid()")
    with Place() as place:
        last = place.write(0, 500)
        for again in range(2):
            with place.follower() as follower:
                follower.say(f"durable {last}")
                follower.await_position(last)
                follower.stop()
            equal(found(place), expected(500), f"time {again}")
            place.sql("update nullspend.collector_state set instance = gen_random_uuid()")


@test
def a_follower_killed_at_any_moment_leaves_each_record_once():
    print(f"# NS_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    with Place() as place:
        last = place.write(0, 20000)
        for _ in range(KILLS):
            with place.follower() as follower:
                follower.await_line("connected")
                position = int(follower.state()["position"])
                steps = sorted(chance.randint(position, last) for _ in range(4))
                for step in steps:
                    follower.say(f"durable {step}")
                    if chance.random() < 0.5:
                        follower.line(timeout=chance.random() * 0.05)
                follower.kill()
        with place.follower() as follower:
            follower.say(f"durable {last}")
            follower.await_state(lambda s: s["position"] == last)
            follower.stop()
        equal(found(place), expected(20000))


@test
def postgres_stopped_and_started_meanwhile_loses_nothing():
    chance = random.Random(SEED + 1)
    with Place() as place:
        last = place.write(0, 20000)
        with place.follower() as follower:
            follower.await_line("connected")
            for part in range(1, 9):
                follower.say(f"durable {last * part // 8}")
                if part % 2 == 1:
                    follower.line(timeout=chance.random() * 0.05)
                    CLUSTER.stop(chance.choice(["fast", "immediate"]))
                    follower.await_state(lambda s: s["connected"] == 0)
                    CLUSTER.start()
            follower.await_state(lambda s: s["position"] == last and s["connected"] == 1)
            check("Postgres is back" in follower.said(), follower.said())
            equal(follower.stop(), 0)
        equal(found(place), expected(20000))


@test
def postgres_may_be_away_from_the_first_moment():
    with Place() as place:
        last = place.write(0, 100)
        CLUSTER.stop()
        try:
            with place.follower() as follower:
                follower.say(f"durable {last}")
                state = follower.await_state(lambda s: s["errors"] > 0)
                equal((state["connected"], state["lagging"]), (0, 1), "while away")
                CLUSTER.start()
                follower.await_position(last)
                follower.stop()
        finally:
            if not os.path.exists(os.path.join(CLUSTER.data, "postmaster.pid")):
                CLUSTER.start()
        equal(found(place), expected(100))


@test
def a_stop_with_postgres_away_or_hanging_ends_all_the_same():
    with Place() as place:
        last = place.write(0, 100)
        with place.follower() as follower:
            follower.await_line("budgets")
            backends = place.sql("select pid from pg_stat_activity where application_name like "
                                 "'nullspendd%'").split()
            for backend in backends:
                os.kill(int(backend), signal.SIGSTOP)
            try:
                follower.say(f"durable {last}")
                equal(follower.stop(deadline_ms=200), 0, "with Postgres hanging")
            finally:
                for backend in backends:
                    os.kill(int(backend), signal.SIGCONT)
        CLUSTER.stop()
        try:
            with place.follower() as follower:
                follower.await_state(lambda s: s["errors"] > 0)
                equal(follower.stop(), 0, "with Postgres away")
        finally:
            CLUSTER.start()
        with place.follower() as follower:
            follower.say(f"durable {last}")
            follower.await_position(last)
        equal(found(place), expected(100))


@test
def one_row_that_postgres_refuses_is_put_aside_and_the_rest_goes_on():
    with Place() as place:
        last = place.write(0, 1000)
        with place.follower() as follower:
            follower.await_line("connected")
            place.sql("alter table nullspend.calls add constraint no_such_call check "
                      "(call_id::text not like '%00002a')")
            follower.say(f"durable {last}")
            follower.await_state(lambda s: s["position"] == last)
            check("no_such_call" in follower.said(), follower.said())
            follower.stop()
        equal(place.sql("select count(*), min(why), bool_and(length(payload) > 100) "
                        "from nullspend.refused_records").split("|")[0::2], ["1", "t"])
        equal(place.sql("select count(*) from nullspend.calls"),
              str(expected(1000)["calls"] - 1))


@test
def a_second_collector_does_not_write_into_the_same_database():
    with Place() as place, Place() as other:
        last = place.write(0, 100)
        other.write(100, 100)
        with place.follower() as first:
            first.say(f"durable {last}")
            first.await_position(last)
            with Follower(place.url, other.journal) as second:
                state = second.await_state(lambda s: "another collector" in s["error"])
                equal(state["connected"], 0)
            equal(found(place), expected(100))


@test
def a_restored_journal_shorter_than_the_position_loses_no_later_record():
    with Place() as place:
        place.write(0, 200)
        copy = place.journal + ".copy"
        shutil.copytree(place.journal, copy)
        last = place.write(200, 200)
        with place.follower() as follower:
            follower.say(f"durable {last}")
            follower.await_position(last)
            follower.stop()
        shutil.copy(os.path.join(place.journal, "journal.id"), copy)
        shutil.rmtree(place.journal)
        os.rename(copy, place.journal)
        short = place.write(400, 0)
        with place.follower() as follower:
            follower.await_line("connected")
            follower.say(f"durable {short}")
            follower.await_state(lambda s: "which the journal does not" in s["error"])
            last = place.write(400, 200)
            follower.say(f"durable {last}")
            follower.await_state(lambda s: s["position"] == last)
            follower.stop()
        equal(found(place), expected(600))


# --- settings ----------------------------------------------------------------------------------

@test
def budgets_by_plain_sql_reach_the_collector_and_enforced_comes_back():
    with Place() as place, place.follower() as follower:
        equal(follower.await_line("budgets"), "budgets 0")
        place.sql("insert into nullspend.budgets (entity, period, limit_usd, policy, reserve, "
                  "on_unreachable, deny_status) values "
                  "('customer:*', 'month', 5, 'soft', 'bound', 'deny', 429), "
                  "('org', 'total', 0.000000001, 'hard', 'typical', 'allow', 0)")
        equal(follower.await_line("budgets"),
              "budgets 1 customer:*/month/soft/bound/deny/429=5000000000 "
              "org/total/hard/typical/allow/0=1")
        listener = subprocess.Popen(["psql", "-XAtq", place.url], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True, bufsize=0)
        try:
            listener.stdin.write("listen nullspend_enforced;\nselect 'listening';\n")
            equal(listener.stdout.readline().strip(), "listening")
            follower.say("enforced 1")
            heard = ""
            while 'payload "1"' not in heard:
                listener.stdin.write("select 1;\n")
                readable, _, _ = select.select([listener.stdout], [], [], NEVER_S)
                check(readable, "nullspend_enforced was never notified")
                heard = listener.stdout.readline()
        finally:
            listener.kill()
            listener.wait()
        equal(place.sql("select enforced_revision from nullspend.collector_state"), "1")
        place.sql("delete from nullspend.budgets where entity = 'org'")
        check(follower.await_line("budgets").startswith("budgets 2 customer:*"))
        place.sql("truncate nullspend.budgets")
        equal(follower.await_line("budgets"), "budgets 3")


@test
def budgets_changed_while_postgres_was_away_from_the_collector_are_read_on_return():
    with Place() as place, place.follower() as follower:
        follower.await_line("budgets 0")
        place.sql("update nullspend.budgets_revision set revision = 7; "  # no trigger, no notice
                  "select pg_terminate_backend(pid) from pg_stat_activity "
                  "where application_name = 'nullspendd settings'")
        equal(follower.await_line("budgets"), "budgets 7")


@test
def counters_are_written_newest_last_and_only_of_budgets_that_are_there():
    with Place() as place, place.follower() as follower:
        follower.await_line("budgets 0")
        place.sql("insert into nullspend.budgets (entity, period, limit_usd) values "
                  "('org', 'day', 5), ('customer:*', 'total', 5)")
        follower.await_line("budgets 1")
        for spent in range(200):
            follower.say(f"counter 1 org day {spent} {200 - spent}")
        follower.say("counter 2 customer:a total 3 0")
        follower.say("counter 99 org day 1 1")
        follower.await_state(lambda s: s["counters"] == 1)
        equal(place.sql("select entity, spent_usd, held_usd from nullspend.budget_status"),
              "customer:*||\ncustomer:a|0.000000003|0.000000000\n"
              "org|0.000000199|0.000000001")
        equal(place.sql("select count(*) from nullspend.budget_counters"), "2")


@test
def counters_given_while_postgres_is_away_are_written_when_it_is_back():
    with Place() as place, place.follower() as follower:
        follower.await_line("budgets 0")
        place.sql("insert into nullspend.budgets (entity, period, limit_usd) "
                  "values ('org', 'total', 5)")
        follower.await_line("budgets 1")
        CLUSTER.stop()
        try:
            follower.say("counter 1 org total 1 1")
            follower.say("enforced 1")
            follower.await_state(lambda s: s["connected"] == 0 and s["errors"] > 0)
            follower.say("counter 1 org total 2 0")
            equal(follower.state()["counters"], 0, "written")
        finally:
            CLUSTER.start()
        follower.await_state(lambda s: s["counters"] == 1)
        equal(place.sql("select spent_nanousd, enforced_revision from nullspend.budget_counters, "
                        "nullspend.collector_state"), "2|1")


@test
def a_database_newer_than_the_program_is_refused_with_the_next_step():
    with Place() as place:
        with place.follower() as follower:
            follower.await_line("connected")
        place.sql("insert into nullspend.migrations values (999, '0999_future.sql')")
        with place.follower() as follower:
            state = follower.await_state(lambda s: s["errors"] > 0)
            check("use a newer nullspendd" in state["error"], state["error"])


if __name__ == "__main__":
    if postgres.bin_dir() is None or not os.path.exists(FOLLOW):
        print(f"1..1\nok 1 - the store # SKIP a Postgres server, and {FOLLOW} (make e2e)")
        sys.exit(0)
    with postgres.Cluster(durable=True) as CLUSTER:
        main()
