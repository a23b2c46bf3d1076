#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The schema, as people and their scripts meet it: columns, arithmetic, refusals, comments."""
import glob
import os
import re
import select
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import lab  # noqa: E402
import postgres  # noqa: E402
from tap import check, equal, main, skip, test  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLLOW = lab.program("programs/follow")

CALLS = """call_id started_at ended_at duration_ms source provider family operation model
requested_model service_tier customer agent feature session tags trace_id key_hint host pid process
streamed http_status outcome evidence input_tokens cached_input_tokens cache_write_tokens
output_tokens reasoning_tokens usage hold_nanousd cost_nanousd cost_usd price_version""".split()
DENIALS = """denial_id denied_at reason entity limit_usd spent_usd held_usd needed_usd
http_status""".split()
IDENTITY = """source provider family operation model requested_model customer agent feature session
tags trace_id key_hint host pid process streamed""".split()
STATUS = """entity period period_start period_end policy limit_usd spent_usd held_usd remaining_usd
overshoot_usd""".split()
MARGINS = "revenue_usd cost_usd margin_usd margin_pct tier calls".split()
REVENUE = "customer earned_on amount currency amount_usd source external_id".split()

CLUSTER = None


def database(name):
    """An empty database with the schema, as the migrations make it. Returns its URL."""
    url = CLUSTER.create_database(name)
    for path in sorted(glob.glob(os.path.join(ROOT, "sql/migrations/*.sql"))):
        with open(path, encoding="utf-8") as file:
            CLUSTER.sql("begin;\n" + file.read() + "\ncommit;", url=url)
    return url


def sql(text):
    return CLUSTER.sql(text, url=URL)


def rows(query):
    return CLUSTER.rows(query, url=URL)


def refused(statement, words):
    """The statement fails, and says these words."""
    try:
        sql(statement)
    except postgres.Failed as failure:
        check(words in str(failure), f"{statement!r} says {failure}, not {words!r}")
        return
    check(False, f"{statement!r} was taken")


def clear():
    sql("delete from nullspend.budgets; truncate nullspend.calls, nullspend.revenue, "
        "nullspend.budget_counters, nullspend.denied_calls")


def call(customer, cost_nanousd, feature=None, agent=None, when="now()"):
    """Inserts a call; a cost of None is not known."""
    def text(value):
        return "null" if value is None else "'" + str(value).replace("'", "''") + "'"
    sql("insert into nullspend.calls (call_id, started_at, source, provider, family, operation, "
        f"streamed, outcome, evidence, customer, feature, agent, cost_nanousd) values "
        f"(gen_random_uuid(), {when}, 'preload', 'openai', 'openai', 'chat', false, 'ok', "
        f"'reported', {text(customer)}, {text(feature)}, {text(agent)}, {text(cost_nanousd)})")


def earn(customer, amount, day="current_date"):
    sql(f"insert into nullspend.revenue (customer, earned_on, amount) "
        f"values ('{customer}', {day}, {amount})")


# --- shape -------------------------------------------------------------------------------------

@test
def tables_and_views_have_the_columns_of_the_contract_in_order():
    def starts(relation, columns):
        have = CLUSTER.sql(
            "select string_agg(attname, ' ' order by attnum) from pg_attribute "
            f"where attrelid = 'nullspend.{relation}'::regclass and attnum > 0", url=URL).split()
        equal(have[:len(columns)], columns, relation)
        return have
    starts("calls", CALLS)
    denials = starts("denials", DENIALS)
    equal([c for c in IDENTITY if c not in denials], [], "identity columns missing in denials")
    starts("budget_status", STATUS)
    equal([c for c in starts("revenue", []) if c in REVENUE], REVENUE, "revenue")
    for kind in ("customer", "feature", "agent"):
        view = "margins" if kind == "customer" else f"margins_by_{kind}"
        equal(starts(view, []), [kind] + MARGINS, view)


@test
def functions_of_a_span_have_the_columns_of_their_views():
    for view in ("margins", "margins_by_feature", "margins_by_agent"):
        sql(f"create temporary table wanted as select * from nullspend.{view} limit 0; "
            f"create temporary table have as select * from nullspend.{view}_between"
            "(from_date => current_date, to_date => current_date) limit 0; "
            "insert into wanted select * from have")
        names = sql(
            f"create temporary table have as select * from nullspend.{view}_between"
            "(current_date, current_date) limit 0; select string_agg(attname, ' ' order by attnum) "
            "from pg_attribute where attrelid = 'have'::regclass and attnum > 0")
        equal(names.split()[1:], MARGINS, view + "_between")


@test
def everything_has_a_comment():
    missing = sql("""
        select c.relname || coalesce('.' || a.attname, '')
        from pg_class c
        left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'nullspend'::regnamespace and c.relkind in ('r', 'v', 'p')
          and (obj_description(c.oid, 'pg_class') is null
               or col_description(c.oid, a.attnum) is null)
        union all
        select p.proname || '()' from pg_proc p
        where p.pronamespace = 'nullspend'::regnamespace
          and obj_description(p.oid, 'pg_proc') is null""")
    equal(missing, "", "without a comment")
    check(sql("select obj_description('nullspend'::regnamespace, 'pg_namespace')") != "")


@test
def money_is_bigint_or_numeric_and_never_a_float():
    equal(sql("""
        select string_agg(c.relname || '.' || a.attname, ' ')
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
        where c.relnamespace = 'nullspend'::regnamespace and c.relkind in ('r', 'v', 'p')
          and (a.atttypid in ('real'::regtype, 'double precision'::regtype)
               or (a.attname like '%nanousd' and a.atttypid <> 'bigint'::regtype)
               or (a.attname like '%\\_usd' and a.atttypid <> 'numeric'::regtype))"""), "", "columns")


# --- calls -------------------------------------------------------------------------------------

@test
def a_cost_in_dollars_is_exact_and_unknown_stays_unknown():
    clear()
    call("a", 9223372036854775807)
    call("b", 1)
    call("c", None)
    equal(sql("select string_agg(coalesce(cost_usd::text, 'unknown'), ' ' order by customer) "
              "from nullspend.calls"), "9223372036.854775807 0.000000001 unknown")


@test
def a_call_goes_to_its_day_in_utc_and_a_day_made_later_takes_its_calls():
    clear()
    call("a", 1, when="timestamptz '2026-03-01 23:59:59.999999+00'")
    call("a", 1, when="timestamptz '2026-03-02 00:00:00+00'")
    equal(sql("select count(*) from nullspend.calls_default"), "2", "without partitions")
    sql("set timezone = 'Asia/Tokyo'; "
        "select nullspend.make_call_partitions(array[date '2026-03-01', date '2026-03-02'])")
    equal(sql("select string_agg(tableoid::regclass::text, ' ' order by started_at) "
              "from nullspend.calls"), "nullspend.calls_20260301 nullspend.calls_20260302")
    equal(sql("select nullspend.make_call_partitions(array[date '2026-03-01'])"), "0", "made again")
    call("a", 1, when="timestamptz 'infinity'")
    equal(sql("select count(*) from nullspend.calls_default"), "1", "of no day")


@test
def partitions_can_be_made_by_many_at_once():
    failures = []

    def make():
        try:
            sql("select nullspend.make_call_partitions(array(select date '2026-05-01' + d "
                "from generate_series(0, 9) d))")
        except postgres.Failed as failure:
            failures.append(str(failure))
    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(failures, [], "failures")
    equal(sql("select count(*) from pg_class where relname like 'calls_202605__' "
              "and relkind = 'r'"), "10")


# --- budgets -----------------------------------------------------------------------------------

@test
def a_budget_is_written_in_dollars_or_in_nano_dollars():
    clear()
    sql("insert into nullspend.budgets (entity, period, limit_usd) values ('org', 'day', 1.5)")
    sql("insert into nullspend.budgets (entity, period, limit_nanousd) "
        "values ('customer:a', 'day', 7)")
    equal(rows("select entity, limit_usd, limit_nanousd, policy, reserve, on_unreachable, "
               "deny_status from nullspend.budgets order by id"),
          [["org", "1.500000000", "1500000000", "hard", "typical", "allow", "0"],
           ["customer:a", "0.000000007", "7", "hard", "typical", "allow", "0"]])
    sql("update nullspend.budgets set limit_usd = 2 where entity = 'org'")
    sql("update nullspend.budgets set limit_nanousd = 8 where entity = 'customer:a'")
    equal(rows("select limit_usd, limit_nanousd from nullspend.budgets order by id"),
          [["2.000000000", "2000000000"], ["0.000000008", "8"]])
    sql("update nullspend.budgets set policy = 'soft'")
    equal(sql("select sum(limit_nanousd) from nullspend.budgets"), "2000000008", "limits kept")
    sql("insert into nullspend.budgets (entity, period, limit_usd) values ('org', 'day', 0) "
        "on conflict (entity, period) do update set limit_usd = excluded.limit_usd")
    equal(sql("select limit_nanousd from nullspend.budgets where entity = 'org'"), "0", "upsert")
    sql("update nullspend.budgets set limit_usd = 9223372036.854775807 where entity = 'org'")
    equal(sql("select limit_nanousd from nullspend.budgets where entity = 'org'"),
          "9223372036854775807")


@test
def a_bad_budget_is_refused_with_a_sentence():
    clear()

    def insert(columns, values):
        return f"insert into nullspend.budgets ({columns}) values ({values})"
    for entity in ("", "orgs", "org:x", "customer", "customer:", "customer: a", "tag:a", "tag:=b",
                   "tag:a=", "user:x", "Customer:x", "customer:ab*", "customer:a\nb",
                   "customer:" + "x" * 332):
        refused(insert("entity, period, limit_usd", f"'{entity}', 'day', 1"),
                "entity is org, customer:ID (or its like) or tag:K=V")
    limit = "entity, period, limit_usd"
    refused(insert(limit, "'org', 'year', 1"), "period is hour, day, week, month or total")
    refused(insert(limit, "'org', 'day', -0.01"), "is negative")
    refused(insert(limit, "'org', 'day', 'NaN'"), "is not an amount")
    refused(insert(limit, "'org', 'day', 'Infinity'"), "is not an amount")
    refused(insert(limit, "'org', 'day', 0.0000000001"), "more than 9 decimal places")
    refused(insert(limit, "'org', 'day', 9223372036.854775808"), "is too large")
    refused(insert("entity, period", "'org', 'day'"), "needs a limit")
    refused(insert("entity, period, limit_nanousd", "'org', 'day', -1"), "limit is not negative")
    refused(insert("entity, period, limit_nanousd, limit_usd", "'org', 'day', 1, 1"),
            "are not the same amount")
    refused(insert(limit + ", policy", "'org', 'day', 1, 'harsh'"), "policy is hard, soft")
    refused(insert(limit + ", reserve", "'org', 'day', 1, 'all'"), "reserve is typical or bound")
    refused(insert(limit + ", on_unreachable", "'org', 'day', 1, 'wait'"), "is allow or deny")
    refused(insert(limit + ", deny_status", "'org', 'day', 1, 500"), "deny_status is 0 (auto)")
    for kept in ("-1", "1", "2", "0.0000000001", "'NaN'", "'Infinity'"):
        refused(insert(limit + ", finalize_reserve_usd", f"'org', 'day', 1, {kept}"),
                "finalize_reserve_usd is 0, or below the limit")
    for policy, overdraft in (("soft", "0"), ("soft", "-1"), ("soft", "0.0000000001"),
                              ("soft", "'NaN'"), ("soft", "9223372037"), ("hard", "1")):
        refused(insert(limit + ", policy, overdraft_usd", f"'org', 'day', 1, '{policy}', {overdraft}"),
                "overdraft_usd is above 0")
    for policy, overdraft, percent in (("soft", "null", "0"), ("soft", "null", "1000.01"),
                                       ("soft", "null", "0.001"), ("soft", "null", "'NaN'"),
                                       ("soft", "1", "1"), ("hard", "null", "1")):
        refused(insert(limit + ", policy, overdraft_usd, overdraft_percent",
                       f"'org', 'day', 1, '{policy}', {overdraft}, {percent}"),
                "not both" if overdraft == "1" else "overdraft_percent is 0.01 to 1000")
    for velocity in ("1, 60, null", "1, null, 60", "null, 60, 60", "0, 60, 60", "-1, 60, 60",
                     "0.0000000001, 60, 60", "'NaN', 60, 60", "9223372037, 60, 60", "1, 9, 60",
                     "1, 3601, 60", "1, 60, 9", "1, 60, 3601"):
        refused(insert(limit + ", velocity_usd, velocity_window_s, velocity_cooldown_s",
                       f"'org', 'day', 1, {velocity}"), "velocity_usd is above 0")
    sql(insert(limit, "'org', 'day', 1"))
    refused(insert(limit, "'org', 'day', 2"), "duplicate key")
    refused("update nullspend.budgets set limit_usd = -1", "is negative")
    refused("update nullspend.budgets set limit_usd = null", "is not an amount")
    equal(sql("select count(*) from nullspend.budgets"), "1")


@test
def the_schema_and_the_collector_agree_on_entities():
    if not os.path.exists(FOLLOW):
        skip(f"{FOLLOW}: make {os.path.relpath(FOLLOW, ROOT)}")
    ids = ["a", "*", "a*", "*a", " a", "a ", "a b", "a:b", "a=b", "=b", "a=", "a=*", "a=b*",
           "a=b=*", " =b", "a = b", "ä", "a\u0080", "a\tb", "", "x" * 330, "x" * 331, "x" * 340]
    kinds = ["org", "team", "key", "customer", "agent", "feature", "session", "tag", "user", "Tag"]
    entities = kinds + [f"{kind}:{i}" for kind in kinds for i in ids]
    wrong = []
    for entity in entities:
        ours = subprocess.run([FOLLOW, "entity", entity], check=False).returncode == 0
        theirs = sql("select nullspend.entity_is_valid($x$" + entity + "$x$)") == "t"
        if ours != theirs:
            wrong.append((entity, ours, theirs))
    equal(wrong, [], "entities (text, collector, schema)")


@test
def good_entities_are_taken():
    clear()
    good = ["org", "customer:*", "customer:a b", "team:x", "key:abcd", "agent:ä", "feature:a:b",
            "session:1", "tag:k=v", "tag:k=v=w", "tag:k=*", "customer:" + "x" * 331]
    for entity in good:
        sql(f"insert into nullspend.budgets (entity, period, limit_usd) values ('{entity}', "
            "'month', 1)")
    equal(sql("select count(*) from nullspend.budgets"), str(len(good)))


@test
def every_change_of_budgets_raises_the_revision_and_notifies():
    clear()
    listener = subprocess.Popen(["psql", "-XAtq", URL], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True, bufsize=0)
    try:
        listener.stdin.write("listen nullspend_budgets;\nselect 'listening';\n")
        equal(listener.stdout.readline().strip(), "listening")
        before = int(sql("select revision from nullspend.budgets_revision"))
        sql("insert into nullspend.budgets (entity, period, limit_usd) values ('org', 'day', 1), "
            "('org', 'hour', 1)")
        sql("update nullspend.budgets set limit_usd = 2")
        sql("delete from nullspend.budgets")
        equal(int(sql("select revision from nullspend.budgets_revision")), before + 3)
        heard = ""
        for revision in range(before + 1, before + 4):
            while f'payload "{revision}"' not in heard:
                listener.stdin.write("select 1;\n")
                readable, _, _ = select.select([listener.stdout], [], [], 30)
                check(readable, f"revision {revision} was not notified: {heard}")
                heard += listener.stdout.readline()
    finally:
        listener.kill()
        listener.wait()


@test
def writers_at_once_leave_no_revision_unseen():
    clear()
    before = int(sql("select revision from nullspend.budgets_revision"))

    def write(n):
        for i in range(10):
            sql(f"insert into nullspend.budgets (entity, period, limit_usd) "
                f"values ('customer:{n}-{i}', 'day', 1)")
    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(int(sql("select revision from nullspend.budgets_revision")), before + 40)


@test
def budget_status_shows_the_current_period_and_each_entity_of_a_pattern():
    clear()
    sql("insert into nullspend.budgets (entity, period, limit_usd) values ('org', 'day', 10), "
        "('customer:*', 'month', 3), ('team:x', 'total', 4)")
    sql("""insert into nullspend.budget_counters (budget_id, entity, period_start, period_end,
           spent_nanousd, held_nanousd, overshoot_nanousd)
        select id, 'org', nullspend.period_start('day'), nullspend.period_end('day'), 2500000000,
               500000000, 1 from nullspend.budgets where entity = 'org'
        union all
        select id, 'org', nullspend.period_start('day') - interval '1 day',
               nullspend.period_start('day'), 9, 9, 9 from nullspend.budgets where entity = 'org'
        union all
        select id, 'customer:a', nullspend.period_start('month'), nullspend.period_end('month'),
               4000000000, 0, 1000000000 from nullspend.budgets where entity = 'customer:*'
        union all
        select id, 'team:x', '-infinity', 'infinity', 1, 0, 0
        from nullspend.budgets where entity = 'team:x'""")
    equal(rows("select entity, period, limit_usd, spent_usd, held_usd, remaining_usd, "
               "overshoot_usd, period_start is null from nullspend.budget_status"),
          [["customer:*", "month", "3.000000000", "NULL", "NULL", "NULL", "NULL", "f"],
           ["customer:a", "month", "3.000000000", "4.000000000", "0.000000000", "0",
            "1.000000000", "f"],
           ["org", "day", "10.000000000", "2.500000000", "0.500000000", "7.000000000",
            "0.000000001", "f"],
           ["team:x", "total", "4.000000000", "0.000000001", "0.000000000", "3.999999999",
            "0.000000000", "t"]])
    sql("delete from nullspend.budgets where entity = 'customer:*'")
    equal(sql("select count(*) from nullspend.budget_counters where entity = 'customer:a'"), "0",
          "counters of a removed budget")


@test
def periods_are_of_utc_and_weeks_begin_on_monday():
    for period, start, end in (
            ("hour", "2026-03-01 23:00:00+00", "2026-03-02 00:00:00+00"),
            ("day", "2026-03-01 00:00:00+00", "2026-03-02 00:00:00+00"),
            ("week", "2026-02-23 00:00:00+00", "2026-03-02 00:00:00+00"),
            ("month", "2026-03-01 00:00:00+00", "2026-04-01 00:00:00+00")):
        equal(rows("set timezone = 'America/New_York'; "
                   f"select nullspend.period_start('{period}', t) = '{start}', "
                   f"nullspend.period_end('{period}', t) = '{end}' "
                   "from (select timestamptz '2026-03-01 23:30:00+00' as t) x"),
              [["t", "t"]], period)


# --- margins -----------------------------------------------------------------------------------

@test
def margins_join_revenue_and_cost_worst_first():
    clear()
    call("loss", 3_000_000_000)
    earn("loss", 2)
    call("fine", 250_000_000)
    call("fine", 250_000_000)
    earn("fine", "1.00")
    call("free", 10)
    earn("idle", 5)
    call(None, 7)
    equal(rows("select * from nullspend.margins"),
          [["free", "0.000000000", "0.000000010", "-0.000000010", "NULL", "critical", "1"],
           ["NULL", "0.000000000", "0.000000007", "-0.000000007", "NULL", "critical", "1"],
           ["loss", "2.000000000", "3.000000000", "-1.000000000", "-50.00", "critical", "1"],
           ["fine", "1.000000000", "0.500000000", "0.500000000", "50.00", "healthy", "2"],
           ["idle", "5.000000000", "0.000000000", "5.000000000", "100.00", "healthy", "0"]])


@test
def tiers_are_told_by_the_exact_margin_and_their_rows_can_be_changed():
    clear()
    for name, cost in (("a", 500_000_000), ("b", 500_000_001), ("c", 800_000_000),
                       ("d", 800_000_001), ("e", 1_000_000_000), ("f", 1_000_000_001)):
        call(name, cost)
        earn(name, 1)
    tiers = "select string_agg(tier, ' ' order by customer) from nullspend.margins"
    equal(sql(tiers), "healthy moderate moderate at-risk at-risk critical")
    equal(sql("begin; update nullspend.margin_tiers set margin_pct_from = 75 "
              "where tier = 'healthy'; insert into nullspend.margin_tiers "
              "values ('superb', 99, 'x'); update nullspend.margin_tiers set tier = 'red' "
              f"where tier = 'critical'; {tiers}; rollback"),
          "moderate moderate moderate at-risk at-risk red")
    refused("insert into nullspend.margin_tiers values ('x', 'NaN')", "margin_pct_from")
    refused("insert into nullspend.margin_tiers values ('x', 101)", "margin_pct_from")
    refused("insert into nullspend.margin_tiers values ('x', 50)", "duplicate key")


@test
def margins_cover_30_days_and_any_span_with_both_ends():
    clear()
    for days in (0, 29, 30):
        call("a", 1_000_000_000, when=f"date_trunc('day', now() at time zone 'UTC') "
             f"at time zone 'UTC' - interval '{days} days'")
        earn("a", 10, day=f"(now() at time zone 'UTC')::date - {days}")
    equal(rows("select revenue_usd, cost_usd from nullspend.margins"),
          [["20.000000000", "2.000000000"]], "the last 30 days")
    equal(rows("select revenue_usd, cost_usd, calls from nullspend.margins_between("
               "(now() at time zone 'UTC')::date - 30, (now() at time zone 'UTC')::date - 29)"),
          [["20.000000000", "2.000000000", "2"]], "a span")
    equal(rows("select * from nullspend.margins_between(date '2000-01-01', date '2000-12-31')"),
          [], "an empty span")


@test
def revenue_is_shared_over_features_and_agents_to_the_last_nano_dollar():
    clear()
    earn("a", "0.000000010")
    for feature in ("x", "y", "z"):
        call("a", 1, feature=feature, agent="one")
    earn("b", 3)
    call("b", 100_000_000, feature="x", agent="one")
    call("b", 200_000_000, feature="y", agent="two")
    earn("zero", 1)
    call("zero", 0, feature="x")
    call("zero", 0, feature="y")
    earn("idle", 7)
    equal(rows("select feature, revenue_usd, cost_usd, calls from nullspend.margins_by_feature "
               "order by feature nulls last"),
          [["x", "1.500000003", "0.100000001", "3"], ["y", "2.500000004", "0.200000001", "3"],
           ["z", "0.000000003", "0.000000001", "1"], ["NULL", "7.000000000", "0.000000000", "0"]])
    for view in ("margins", "margins_by_feature", "margins_by_agent"):
        equal(rows(f"select sum(revenue_usd), sum(cost_usd), sum(calls) from nullspend.{view}"),
              [["11.000000010", "0.300000003", "7"]], view)


@test
def revenue_refuses_what_it_cannot_count():
    clear()

    def insert(columns, values):
        return (f"insert into nullspend.revenue (customer, earned_on, amount{columns}) "
                f"values ({values})")
    sql(insert("", "'a', '2026-01-01', 12.5"))
    equal(rows("select currency, amount_usd, source from nullspend.revenue"),
          [["USD", "12.5", "manual"]])
    sql(insert(", currency, amount_usd", "'a', '2026-01-01', 10, 'EUR', 11.2"))
    sql(insert("", "'a', '2026-01-01', -3"))
    refused(insert(", currency", "'a', '2026-01-01', 10, 'EUR'"), "no exchange rates")
    refused(insert(", currency, amount_usd", "'a', '2026-01-01', 10, 'USD', 11"),
            "amount_usd of an amount in USD is that amount")
    refused(insert("", "'a', '2026-01-01', 'NaN'"), "is a number with at most 9 decimal places")
    refused(insert("", "'a', '2026-01-01', 0.0000000001"), "at most 9 decimal places")
    refused(insert("", "'', '2026-01-01', 1"), "customer is 1 to 128 bytes")
    refused(insert("", "'a', 'infinity', 1"), "earned_on is a day")
    refused(insert(", currency, amount_usd", "'a', '2026-01-01', 1, 'usd', 1"), "ISO 4217")
    sql(insert(", source, external_id", "'a', '2026-01-01', 1, 'stripe', 'in_1'"))
    refused(insert(", source, external_id", "'a', '2026-01-02', 2, 'stripe', 'in_1'"),
            "duplicate key")
    sql(insert(", source, external_id", "'b', '2026-01-02', 2, 'stripe', 'in_1'"))
    sql(insert(", source, external_id", "'a', '2026-01-03', 4, 'stripe', 'in_1'")
        + " on conflict (source, customer, external_id) where external_id is not null "
          "do update set amount = excluded.amount, amount_usd = excluded.amount_usd")
    equal(sql("select sum(amount_usd) from nullspend.revenue where external_id is not null"), "6")


# --- migrations --------------------------------------------------------------------------------

@test
def many_collectors_migrate_an_empty_database_at_once_and_again():
    if not os.path.exists(FOLLOW):
        skip(f"{FOLLOW}: make {os.path.relpath(FOLLOW, ROOT)}")
    url = CLUSTER.create_database("at_once")
    journals = []
    programs = []
    try:
        for i in range(4):
            journal = os.path.join(CLUSTER.root, f"journal-{i}")
            os.mkdir(journal)
            subprocess.run([FOLLOW, "write", journal, "0", "1"], stdout=subprocess.DEVNULL,
                           check=True)
            journals.append(journal)
            programs.append(subprocess.Popen([FOLLOW, "run", url, journal], stdin=subprocess.PIPE,
                                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                             text=True, bufsize=0))
        for program in programs:
            line = program.stdout.readline()
            while not line.startswith("budgets "):
                check(line != "", "a program ended")
                line = program.stdout.readline()
            program.stdin.write("state\n")
            line = program.stdout.readline()
            while not line.startswith("state "):
                line = program.stdout.readline()
            check("migration" not in line, line)
    finally:
        for program in programs:
            program.kill()
            program.wait()
    names = [os.path.basename(p) for p in sorted(glob.glob(ROOT + "/sql/migrations/*.sql"))]
    equal(CLUSTER.sql("select string_agg(name, ' ' order by version) from nullspend.migrations",
                      url=url).split(), names)


@test
def migrations_number_their_files_and_say_their_licence():
    for number, path in enumerate(sorted(glob.glob(ROOT + "/sql/migrations/*.sql")), 1):
        check(re.match(rf"{number:04d}_[a-z_]+\.sql$", os.path.basename(path)), path)
        with open(path, encoding="utf-8") as file:
            check("SPDX-License-Identifier: Apache-2.0" in file.readline(), path)


if __name__ == "__main__":
    if postgres.bin_dir() is None:
        print("1..1\nok 1 - the schema # SKIP a Postgres server")
        sys.exit(0)
    with postgres.Cluster() as CLUSTER:
        URL = database("schema")
        main()
