#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The collector as a program: options, life cycle, verdicts, recovery, and what it does with bad
input. Its clients speak the protocol through libzmq (tests/lib/messages.py)."""
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import messages  # noqa: E402
from tap import check, equal, main, skip, test  # noqa: E402

try:
    import zmq
except ImportError:
    zmq = None

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("NS_BUILD", os.path.join(ROOT, "build"))
NULLSPENDD = os.path.join(BUILD, "nullspendd")
NOWHERE = "postgresql://127.0.0.1:1/none"  # Postgres is away


class Collector:
    """One state directory and the daemon on it."""

    def __init__(self, *arguments, postgres=False):
        self.directory = tempfile.mkdtemp(prefix="nscol")
        os.chmod(self.directory, 0o755)
        self.state = os.path.join(self.directory, "state")
        self.endpoint = f"ipc://{self.directory}/c.sock"
        self.log = os.path.join(self.directory, "log")
        self.postgres = postgres
        self.arguments = arguments
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        self.stop()
        if kind is not None:
            print("# collector:", self.text().replace("\n", "\n# "))
        shutil.rmtree(self.directory, ignore_errors=True)

    def command(self, *more):
        command = [NULLSPENDD, "--foreground", "--state-dir", self.state, "--listen",
                   self.endpoint]
        if "--http" not in self.arguments + more:
            command += ["--http", "off"]
        if not self.postgres:
            command += ["--database-url", NOWHERE]
        return command + list(self.arguments) + list(more)

    def start(self, *more):
        with open(self.log, "ab") as log:
            mark = log.tell()
            self.process = subprocess.Popen(self.command(*more), stderr=log, stdout=log)
        self.await_text("ready", mark)

    def text(self, mark=0):
        with open(self.log, "rb") as log:
            log.seek(mark)
            return log.read().decode("utf-8", "replace")

    def await_text(self, text, mark=0):
        end = time.monotonic() + 120
        while text not in self.text(mark):
            if self.process.poll() is not None:
                raise RuntimeError(f"nullspendd ended with {self.process.returncode}:\n"
                                   + self.text(mark))
            check(time.monotonic() < end, f"nullspendd never said {text!r}")
            time.sleep(0.01)

    def stop(self, how=signal.SIGTERM):
        if self.process is None:
            return None
        self.process.send_signal(how)
        code = self.process.wait()
        self.process = None
        return code

    def client(self):
        if zmq is None:
            skip("python3-zmq")
        return contextlib.closing(messages.Client(self.endpoint))

    def sql(self, query):
        with open(os.path.join(self.state, "database.url"), encoding="utf-8") as file:
            url = file.read()
        done = subprocess.run(["psql", url, "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", query],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        check(done.returncode == 0, done.stderr)
        return done.stdout.splitlines()

    def budget(self, client, entity, limit_nanousd, more=""):
        """In force when this returns."""
        columns, values = (", " + more.split("=")[0], f", '{more.split('=')[1]}'") if more else ("", "")
        await_true(lambda: self.sql("select to_regclass('nullspend.budgets') is not null") == ["t"],
                   "the schema is there")
        self.sql(f"insert into nullspend.budgets (entity, period, limit_nanousd{columns}) "
                 f"values ('{entity}', 'day', {limit_nanousd}{values})")
        await_true(lambda: any(b["entity"] == entity for b in client.query("budgets")[1]),
                   f"{entity} is in force")


def await_true(condition, what):
    end = time.monotonic() + 60
    while not condition():
        check(time.monotonic() < end, f"never: {what}")
        time.sleep(0.01)


def run(*arguments, **environment):
    """nullspendd with these arguments; it must end by itself."""
    return subprocess.run([NULLSPENDD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=60, check=False, env=dict(os.environ, **environment))


def status(client):
    failed, answer = client.query("status")
    check(not failed, answer)
    return answer


def spend(client, **identity):
    """One call, checked and reported; the verdict."""
    call = messages.call(**identity)
    verdict = client.ask("CHECK", **call)
    if messages.word("decision", verdict["decision"]) == "allow":
        equal(client.ask("REPORT", **messages.report(call))["call_id"], call["call_id"], "the ack")
    return verdict


def child_with_a_call(endpoint, **identity):
    """A process that has a call open; (pid, function that kills it)."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            client = messages.Client(endpoint)
            client.hello()
            call = messages.call(**identity)
            client.ask("CHECK", **call)
            client.send("PROGRESS", call_id=call["call_id"], text_bytes=4000)
            client.query("ping")  # in order: the progress has been taken
            os.write(writer, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        check(pipe.read(1) == b"x", "the child did not get its verdict")

    def kill():
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return kill


# --- options and life cycle ------------------------------------------------------------------------


@test
def help_goes_to_stdout_and_names_every_option():
    done = run("--help")
    equal((done.returncode, done.stderr), (0, ""), "exit and stderr")
    for option in ["--state-dir", "--listen", "--http", "--database-url", "--foreground"]:
        check(option in done.stdout, option)


@test
def bad_options_are_refused_with_a_sentence_and_exit_2():
    for arguments, words in [(["--bogus"], "--bogus"), (["stray"], "stray"),
                             (["--listen"], "needs a value"), (["--listen", "udp://x"], "udp://x"),
                             (["--http", "nonsense"], "nonsense"),
                             (["--unknown-model", "maybe"], "maybe"),
                             (["--listen", "ipc://" + "x" * 200], "107"),
                             (["--listen", "tcp://0.0.0.0:5555"], "--api-key-file")]:
        done = run(*arguments)
        equal(done.returncode, 2, f"exit of {arguments}")
        check(words in done.stderr, f"{arguments}: {done.stderr}")
    done = run(NULLSPEND_HTTP="here")
    equal(done.returncode, 2, "exit with a bad NULLSPEND_HTTP")
    check("NULLSPEND_HTTP" in done.stderr, done.stderr)


@test
def it_says_ready_and_ends_with_0_on_sigterm():
    with Collector() as collector:
        check("ready" in collector.text().splitlines(), collector.text())
        equal(collector.stop(), 0, "exit status")
        check(not os.path.exists(collector.endpoint[6:]), "the socket is left behind")


@test
def a_second_daemon_on_the_same_state_is_refused_and_names_the_first():
    with Collector() as collector:
        done = run("--foreground", "--state-dir", collector.state, "--http", "off", "--listen",
                   f"ipc://{collector.directory}/other.sock", "--database-url", NOWHERE)
        equal(done.returncode, 1, "exit status")
        check(f"pid {collector.process.pid}" in done.stderr, done.stderr)


@test
def a_socket_that_another_daemon_answers_is_not_taken_from_it():
    with Collector() as collector, collector.client() as client:
        done = run("--foreground", "--state-dir", collector.directory + "/other", "--http", "off",
                   "--listen", collector.endpoint, "--database-url", NOWHERE)
        equal(done.returncode, 1, "exit status")
        check("another program answers" in done.stderr, done.stderr)
        equal(client.query("ping"), (False, {"pong": True}), "the first")


@test
def a_socket_of_a_stuck_daemon_is_not_taken_from_it():
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(directory + "/c.sock")
        stuck.listen(0)
        waiting = []
        with contextlib.suppress(BlockingIOError):
            while True:  # until no more can wait for it
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                waiting[-1].connect(directory + "/c.sock")
        done = run("--foreground", "--state-dir", directory + "/state", "--http", "off",
                   "--listen", f"ipc://{directory}/c.sock", "--database-url", NOWHERE)
        equal(done.returncode, 1, "exit status")
        check("another program answers" in done.stderr, done.stderr)
        for one in waiting:
            one.close()


@test
def without_foreground_it_returns_once_it_is_ready_and_logs_to_its_state():
    collector = Collector()
    try:
        command = [word for word in collector.command() if word != "--foreground"]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        equal(done.returncode, 0, "exit status")
        check("ready" in done.stderr.splitlines(), done.stderr)
        with collector.client() as client:
            pid = status(client)["pid"]
        os.kill(pid, signal.SIGTERM)
        await_true(lambda: not os.path.exists(f"/proc/{pid}"), "the daemon ends")
        check(os.path.exists(os.path.join(collector.state, "log")), "no log")
    finally:
        shutil.rmtree(collector.directory)


@test
def the_state_and_the_socket_are_for_their_owner_and_group_only():
    with Collector() as collector:
        equal(oct(os.stat(collector.endpoint[6:]).st_mode & 0o777), oct(0o660), "socket")
        for name, mode in [("hash.key", 0o600), ("journal", 0o700), ("lock", 0o600)]:
            path = os.path.join(collector.state, name)
            equal(oct(os.stat(path).st_mode & 0o777), oct(mode), name)
        check(os.stat(os.path.join(collector.state, "database.url")).st_mode & 0o007 == 0,
              "database.url is open to others")


# --- who may speak ---------------------------------------------------------------------------------


@test
def nothing_is_answered_before_a_hello_and_the_kernel_names_the_process():
    with Collector() as collector, collector.client() as client:
        client.send("CHECK", **messages.call())
        client.query("ping")
        equal(status(client)["open_holds"], 0, "open holds")
        welcome = client.hello(pid=1, start_ticks=1)  # what it says of itself does not count
        equal(welcome["refused"], 0, "refused")
        equal(status(client)["processes"], 1, "processes")


@test
def malformed_messages_are_counted_and_dropped():
    port = free_port()
    with Collector("--http", f"127.0.0.1:{port}") as collector, collector.client() as client:
        client.hello()
        good = messages.encode("CHECK", **messages.call())
        for bad in [b"", b"x", b"NS\x01\x63", good[:-1], good + b"\0", b"\xff" * 5000]:
            client.socket.send(bad)
        client.socket.send_multipart([good, b"second part"])
        equal(client.query("ping")[0], False, "ping")
        check("nullspend_malformed_total 7" in fetch(port, "/metrics")[1], fetch(port, "/metrics")[1])


@test
def a_named_peer_is_refused_so_that_no_name_can_be_taken_over():
    with Collector() as collector:
        if zmq is None:
            skip("python3-zmq")
        context = zmq.Context()
        named = context.socket(zmq.DEALER)
        named.setsockopt(zmq.IDENTITY, b"me")
        named.setsockopt(zmq.LINGER, 0)
        named.connect(collector.endpoint)
        named.send(messages.encode("QUERY", id=1, what="ping"))
        with collector.client() as client:
            client.query("ping")
        equal(named.poll(0), 0, "answers to the named one")
        named.close()
        context.term()


@test
def tcp_on_loopback_is_served_but_tells_no_secrets():
    port = free_port()
    with Collector("--listen", f"tcp://127.0.0.1:{port}") as collector:
        if zmq is None:
            skip("python3-zmq")
        with contextlib.closing(messages.Client(f"tcp://127.0.0.1:{port}")) as client:
            equal(client.hello()["refused"], 0, "refused")
            equal(messages.word("decision", spend(client)["decision"]), "allow", "decision")
            equal(client.query("ping")[0], False, "ping fails")
            equal(client.query("status")[0], True, "status fails")


@test
def from_another_host_a_hello_needs_a_key():
    address = subprocess.run(["hostname", "-I"], stdout=subprocess.PIPE, text=True,
                             check=False).stdout.split()
    if not address:
        skip("an address beyond loopback")
    if zmq is None:
        skip("python3-zmq")
    port = free_port()
    keys = tempfile.NamedTemporaryFile("w", suffix=".keys")
    keys.write("# keys\nns_first\nns_second\n")
    keys.flush()
    endpoint = f"tcp://{address[0]}:{port}"
    with Collector("--listen", endpoint, "--api-key-file", keys.name):
        for key, refused in [("", 2), ("ns_secon", 2), ("ns_second", 0)]:
            with contextlib.closing(messages.Client(endpoint)) as client:
                equal(client.hello(api_key=key)["refused"], refused, f"refused with {key!r}")


# --- calls -----------------------------------------------------------------------------------------


@test
def a_call_is_held_reported_acknowledged_and_a_second_report_changes_nothing():
    with Collector() as collector, collector.client() as client:
        client.hello()
        call = messages.call(customer="acme")
        equal(messages.word("decision", client.ask("CHECK", **call)["decision"]), "allow", "verdict")
        equal(status(client)["open_holds"], 1, "open holds")
        equal(client.ask("CHECK", **call)["decision"], 0, "the same check again")
        equal(status(client)["open_holds"], 1, "open holds after asking again")
        for _ in range(2):
            acknowledged = client.ask("REPORT", **messages.report(call))
            equal((acknowledged["call_id"], messages.KINDS[acknowledged["kind"] - 1]),
                  (call["call_id"], "REPORT"), "ack")
        now = status(client)
        equal((now["open_holds"], now["calls"]), (0, 1), "open holds and calls")
        equal(messages.word("reason", client.ask("CHECK", **call)["reason"]), "loop",
              "a check of a call that has ended")


@test
def a_released_call_is_acknowledged_and_leaves_nothing():
    with Collector() as collector, collector.client() as client:
        client.hello()
        call = messages.call()
        client.ask("CHECK", **call)
        acknowledged = client.ask("RELEASE", call_id=call["call_id"], outcome="cancelled")
        equal(messages.KINDS[acknowledged["kind"] - 1], "RELEASE", "ack")
        equal((status(client)["open_holds"], status(client)["calls"]), (0, 0), "left")


@test
def a_process_that_dies_leaves_no_hold():
    with Collector() as collector, collector.client() as client:
        kill = child_with_a_call(collector.endpoint)
        equal(status(client)["open_holds"], 1, "open holds")
        kill()
        await_true(lambda: status(client)["open_holds"] == 0, "the hold is lost")
        equal(status(client)["calls"], 1, "calls")


@test
def a_process_that_died_while_the_daemon_was_away_leaves_no_hold():
    with Collector() as collector:
        kill = child_with_a_call(collector.endpoint)
        collector.stop(signal.SIGKILL)
        kill()
        collector.start()
        with collector.client() as client:
            await_true(lambda: status(client)["open_holds"] == 0, "the hold is lost")


# --- recovery --------------------------------------------------------------------------------------


@test
def kill_9_loses_nothing_that_was_answered():
    with Collector() as collector:
        with collector.client() as client:
            client.hello()
            calls = [messages.call(customer=f"c{i}") for i in range(50)]
            for call in calls:
                client.ask("CHECK", **call)
            for call in calls[:20]:
                client.ask("REPORT", **messages.report(call))
            last = status(client)["journal"]["last"]
            collector.stop(signal.SIGKILL)
        for how in [signal.SIGKILL, signal.SIGTERM, signal.SIGTERM]:  # by journal, then snapshot
            collector.start()
            with collector.client() as client:
                client.hello()
                now = status(client)
                equal(now["open_holds"], 30, "open holds")
                check(now["journal"]["last"] >= last, "journal")
                client.ask("REPORT", **messages.report(calls[0]))
                equal(status(client)["calls"], 0, "a report of before is known")
            collector.stop(how)


@test
def a_damaged_journal_is_named_and_not_touched():
    with Collector() as collector:
        with collector.client() as client:
            client.hello()
            for _ in range(20):
                spend(client)
        collector.stop(signal.SIGKILL)
        journal = os.path.join(collector.state, "journal")
        segment = os.path.join(journal, sorted(f for f in os.listdir(journal) if f.endswith(".seg"))[0])
        with open(segment, "rb+") as file:
            data = bytearray(file.read())
            data[len(data) // 2] ^= 1
            file.seek(0)
            file.write(data)
        done = run(*collector.command()[1:])
        equal(done.returncode, 1, "exit status")
        check(os.path.basename(segment) in done.stderr, done.stderr)
        with open(segment, "rb") as file:
            equal(file.read(), bytes(data), "the segment")


# --- budgets, with Postgres ------------------------------------------------------------------------


@test
def a_budget_in_postgres_allows_denies_and_outlives_postgres():
    with Collector(postgres=True) as collector:
        with collector.client() as client:
            client.hello()
            collector.budget(client, "customer:acme", 300000)
            first = spend(client, customer="acme")
            equal(messages.word("decision", first["decision"]), "allow", "first")
            check(first["hold_nanousd"] > 0, "nothing is held")
            verdict = None
            for _ in range(20):
                verdict = spend(client, customer="acme")
                if verdict["decision"] == 1:
                    break
            equal(messages.word("reason", verdict["reason"]), "budget_exceeded", "reason")
            equal(verdict["entity"], "customer:acme", "entity")
            for word in ["customer:acme", "day budget", "Request not sent",
                         "nullspend budget set customer:acme"]:
                check(word in verdict["message"], verdict["message"])
            equal(spend(client, customer="other")["decision"], 0, "another customer")
            kill = child_with_a_call(collector.endpoint, customer="slow")
            kill()
            await_true(lambda: status(client)["open_holds"] == 0, "the hold is lost")
            equal(client.query("sync")[0], False, "sync fails")
            equal(collector.sql("select count(*) from nullspend.denials"), ["1"], "denials")
            rows = collector.sql("select outcome, evidence, cost_nanousd > 0, pid is not null "
                                 "from nullspend.calls where customer = 'slow'")
            equal(rows, ["lost|counted|t|t"], "the lost call")
            cost = collector.sql("select sum(cost_nanousd) from nullspend.calls "
                                 "where customer = 'acme'")
            spent = collector.sql("select spent_usd * 1000000000 from nullspend.budget_status "
                                  "where entity = 'customer:acme'")
            equal(float(cost[0]), float(spent[0]), "spent")
        equal(collector.stop(), 0, "exit status")
        collector.postgres = False  # the same state, Postgres away: the budget still holds
        collector.start()
        with collector.client() as client:
            client.hello()
            equal(spend(client, customer="acme")["decision"], 1, "decision without Postgres")
            failed, answer = client.query("sync")
            check(failed and "Postgres" in answer["error"], answer)


@test
def unknown_models_are_allowed_unpriced_or_denied_by_policy():
    with Collector(postgres=True) as collector, collector.client() as client:
        client.hello()
        verdict = spend(client, requested_model="not-a-model", customer="u")
        equal(verdict["decision"], 0, "decision")
        equal(client.query("sync")[0], False, "sync fails")
    with Collector("--unknown-model", "deny") as collector, collector.client() as client:
        client.hello()
        verdict = client.ask("CHECK", **messages.call(requested_model="not-a-model"))
        equal(messages.word("reason", verdict["reason"]), "unpriced", "reason")


# --- prices ----------------------------------------------------------------------------------------


def newer_prices(path, name):
    """The built-in catalogue under another name, sealed by the converter."""
    with open(os.path.join(ROOT, "pricing", "catalogue.tsv"), encoding="utf-8") as file:
        lines = file.read().split("\n")
    lines[0] = f"catalogue\t1\t{name}"
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))
    subprocess.run([sys.executable, os.path.join(ROOT, "pricing", "convert.py"), "--seal", path],
                   check=True)


@test
def newer_prices_are_taken_while_the_daemon_runs_and_broken_ones_refused():
    with Collector() as collector, collector.client() as client:
        prices = os.path.join(collector.state, "prices.tsv")
        before = status(client)["prices"]

        def says(text, act):
            mark = len(collector.text().encode())
            act()
            collector.await_text(text, mark)
            return collector.text(mark)

        def write(text):
            with open(prices, "w", encoding="utf-8") as file:
                file.write(text)

        def hang_up():
            collector.process.send_signal(signal.SIGHUP)

        said = says("stay", lambda: write("catalogue\t1\tx\nnonsense\n"))
        check("prices.tsv: line 2: the closing checksum line is missing" in said, said)
        equal(status(client)["prices"], before, "prices")
        says("line 2", hang_up)  # asked again, it says so again
        beside = prices + ".new"
        newer_prices(beside, "newer+1")
        says("prices newer+1 are in force", lambda: os.rename(beside, prices))
        equal(status(client)["prices"], "newer+1", "prices")
        says("prices newer+2 are in force", lambda: newer_prices(prices, "newer+2"))
        os.unlink(prices)
        says("not there; prices newer+2 stay", hang_up)
        os.mkdir(prices)
        says("not a regular file", hang_up)
        equal(status(client)["prices"], "newer+2", "prices")


@test
def a_price_file_that_was_asked_for_and_is_not_there_is_said():
    with tempfile.TemporaryDirectory() as folder:
        missing = os.path.join(folder, "mine.tsv")
        with Collector("--prices", missing) as collector, collector.client() as client:
            check(f"{missing}: No such file" in collector.text(), collector.text())
            newer_prices(missing, "mine+1")
            collector.await_text("prices mine+1 are in force")
            client.hello()
            client.ask("CHECK", **messages.call(requested_model="not-a-model"))
            collector.await_text("no price for model not-a-model of openai")


@test
def connections_that_come_and_go_are_each_answered():
    churn = os.path.join(BUILD, "programs", "churn")
    with Collector() as collector, collector.client() as client:
        client.hello()
        done = subprocess.run([churn, collector.endpoint, "64", "100"], stdout=subprocess.PIPE,
                              text=True, check=False)
        equal((done.returncode, done.stdout), (0, "0 of 6400 unanswered\n"), "churn")
        await_true(lambda: status(client)["connections"] == 1, "all but ours are gone")
        await_true(lambda: status(client)["processes"] == 1, "and the process, too")


# --- http ------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@test
def http_serves_health_and_metrics_while_slow_clients_hang():
    port = free_port()
    with Collector("--http", f"127.0.0.1:{port}") as collector, collector.client() as client:
        client.hello()
        spend(client)
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        for one in slow:
            one.sendall(b"GET /metr")
        equal(fetch(port, "/healthz"), (200, "ok\n"), "/healthz")
        equal(fetch(port, "/nothing")[0], 404, "/nothing")
        code, text = fetch(port, "/metrics")
        equal(code, 200, "/metrics")
        for line in ["nullspend_reports_total 1", "nullspend_checks_total 1", "nullspend_open_holds 0",
                     "nullspend_postgres_connected 0", 'nullspend_denials_total{reason="loop"} 0']:
            check(line in text.splitlines(), line)
        equal(spend(client)["decision"], 0, "the gate meanwhile")
        for one in slow:
            one.close()


@test
def status_tells_what_people_ask():
    with Collector() as collector, collector.client() as client:
        client.hello()
        answer = status(client)
        for field in ["version", "uptime_s", "pid", "processes", "open_holds", "calls", "denials",
                      "database_url", "state_dir", "listen", "private_cluster"]:
            check(field in answer, field)
        for field in ["connected", "lag_s", "position", "rows", "last_error"]:
            check(field in answer["postgres"], field)
        equal(answer["pid"], collector.process.pid, "pid")
        equal(answer["listen"], [collector.endpoint], "listen")
        equal(answer["private_cluster"], False, "private_cluster")
        check(json.dumps(client.query("budgets")[1]) == "[]", "budgets")
        failed, answer = client.query("nonsense")
        check(failed and "unknown" in answer["error"], answer)


if __name__ == "__main__":
    main()
