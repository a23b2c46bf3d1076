#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The agent's life: what becomes of denied calls, who stays stopped, what it may do, how it ends."""
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import agentlab  # noqa: E402  pylint: disable=wrong-import-position
import bpflab  # noqa: E402  pylint: disable=wrong-import-position
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import lab  # noqa: E402  pylint: disable=wrong-import-position
import messages  # noqa: E402  pylint: disable=wrong-import-position
import shimlab  # noqa: E402  pylint: disable=wrong-import-position
from agentlab import Agent, await_state, body, curl, start_curl, state_of, status_of  # noqa: E402
from tap import HANGS_AFTER_S, await_that, check, equal, main, skip, test  # noqa: E402

shimlab.enter()


class Late:
    """A collector's rule that answers when it is told to."""

    def __init__(self, rule):
        self.rule = rule
        self.released = threading.Event()

    def __call__(self, fields):
        self.released.wait(HANGS_AFTER_S)
        return self.rule(fields)


def touch(path):
    with open(path, "w", encoding="ascii"):
        pass


# --- denials


@test
def a_denied_process_is_killed_before_anything_of_its_call_leaves():
    with shimlab.Shim() as shim, Agent(shim, "--on-denial=kill", may_speak=True) as agent:
        shim.collector.rule = fake_collector.deny()
        client = start_curl(shim)
        client.communicate(timeout=HANGS_AFTER_S)
        equal(client.returncode, -signal.SIGKILL, "end of the client")
        said = agent.said()
        check(f"process {client.pid} (curl)" in said and "killed, it has not left" in said and
              "customer:acme" in said, said)
        shim.collector.rule = fake_collector.allow()
        equal(curl(shim), 200, "status of another")
        shim.collector.wait("REPORT")
        equal(len(shim.logged("request")), 1, "whole requests at the provider")
        equal(shim.logged("partial"), [], "partial requests at the provider")
        equal([entry["http_status"] for entry in shim.collector.of("REPORT")], [200], "reports")


@test
def a_collector_that_is_away_kills_nobody():
    with shimlab.Shim(collector=False) as shim, \
            Agent(shim, "--on-denial=kill", NULLSPEND_ON_UNREACHABLE="deny") as agent:
        equal(curl(shim) // 100, 4, "status of a call that nobody was asked about")
        equal(agent.end(), "", "standard error")


@test
def where_denials_only_alert_nobody_is_stopped_and_each_is_told():
    with shimlab.Shim() as shim, Agent(shim, "--on-denial=alert", may_speak=True) as agent:
        shim.collector.rule = fake_collector.deny(decision="allow")
        # An agent that does not run can hold up nobody.
        agent.process.send_signal(signal.SIGSTOP)
        path = os.path.join(shim.directory, "told")
        client = start_curl(shim, body(), "X-Replay: wait=" + path)
        await_that(lambda: shim.logged("request"), "a request at the provider")
        agent.process.send_signal(signal.SIGCONT)
        said = agent.said()
        touch(path)
        equal(status_of(client), 200, "status")
        check(f"process {client.pid} (curl)" in said and "it went on" in said and
              "customer:acme" in said, said)
        asked, = shim.collector.of("CHECK")
        equal(messages.word("mode", asked["mode"]), "shadow", "mode of the question")
        told, = shim.collector.wait("REPORT")
        equal((told["http_status"], told["checked"]), (200, True), "what is told")


# --- nobody stays stopped


@test
def a_guard_that_is_killed_is_replaced_and_the_new_one_guards():
    with shimlab.Shim() as shim:
        agent = Agent(shim)
        first = agent.guard()
        os.kill(first, signal.SIGKILL)
        second = agent.guard(other_than=first)
        shim.collector.rule = fake_collector.silence
        client = start_curl(shim)
        shim.collector.wait("CHECK")
        await_state(client.pid, "T")
        agent.end(signal.SIGKILL, status=-signal.SIGKILL)
        equal(status_of(client), 200, "status")
        await_that(lambda: state_of(second) in ("", "Z"), "the end of the guard")


PYTHON_CALLS = """
import http.client, json, sys
for i in range(int(sys.argv[1])):
    c = http.client.HTTPSConnection("api.openai.com", timeout=100)
    c.request("POST", "/v1/chat/completions", json.dumps({"model": "gpt-4o-mini", "messages": []}),
              {"Content-Type": "application/json"})
    status = c.getresponse().status
    assert status == 200, status
    c.close()
print("done")
"""


@test
def nobody_stays_stopped_though_the_agent_is_killed_again_and_again():
    kills = int(os.environ.get("NS_KILLS", "30"))
    with shimlab.Shim() as shim:
        over = threading.Event()
        failures, calls = [], [0]

        def work(command):
            while not over.is_set():
                done = subprocess.run(command, env=shim.environment(), stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True, check=False,
                                      timeout=HANGS_AFTER_S)
                calls[0] += 1
                if done.returncode != 0 or done.stdout.strip() not in ("200", "done"):
                    failures.append((done.returncode, done.stdout))

        commands = [agentlab.curl_command(body())] * 2 + \
            [[shimlab.PYTHON, "-c", PYTHON_CALLS, "5"]] * 2
        workers = [threading.Thread(target=work, args=(command,)) for command in commands]
        for worker in workers:
            worker.start()
        try:
            for i in range(kills):
                agent = Agent(shim, may_speak=True)
                before = len(shim.collector.of("CHECK"))
                # In the midst of some call, another one each time.
                shim.collector.wait("CHECK", before + 1 + i % 3, HANGS_AFTER_S)
                agent.end(signal.SIGKILL, status=-signal.SIGKILL)
        finally:
            over.set()
            for worker in workers:
                worker.join()
        equal(failures, [], f"what failed of {calls[0]} clients")


@test
def a_process_that_its_user_stops_meanwhile_stays_stopped():
    for held in (True, False):
        with shimlab.Shim() as shim, Agent(shim):
            late = shim.collector.rule = Late(fake_collector.allow())
            client = start_curl(shim)
            shim.collector.wait("CHECK")
            await_state(client.pid, "T")
            client.send_signal(signal.SIGSTOP)
            if not held:  # and lets it go on again, before the verdict
                client.send_signal(signal.SIGCONT)
            late.released.set()
            if held:
                curl_of_another = start_curl(shim)
                equal(status_of(curl_of_another), 200, "status of another")
                equal(state_of(client.pid), "T", "state when the verdict has come")
                client.send_signal(signal.SIGCONT)
            equal(status_of(client), 200, "status")


@test
def a_process_that_somebody_else_lets_go_is_not_written_into():
    with shimlab.Shim() as shim, Agent(shim, may_speak=True) as agent:
        late = shim.collector.rule = Late(fake_collector.deny())
        path = os.path.join(shim.directory, "verdict")
        client = start_curl(shim, body(), "X-Replay: wait=" + path)
        shim.collector.wait("CHECK")
        await_state(client.pid, "T")
        client.send_signal(signal.SIGCONT)
        await_state(client.pid, "SR")
        late.released.set()
        said = agent.said()
        check("it left, for the process was not stopped" in said, said)
        touch(path)
        equal(status_of(client), 200, "status")


@test
def a_process_that_is_debugged_while_it_waits_goes_on():
    debuggers = [["strace", "-f", "-o", "/dev/null", "-p"],
                 ["gdb", "-nx", "-q", "-batch", "-ex", "detach", "-p"]]
    for debugger in debuggers:
        with shimlab.Shim() as shim, Agent(shim, may_speak=True):
            late = shim.collector.rule = Late(fake_collector.allow())
            client = start_curl(shim)
            shim.collector.wait("CHECK")
            await_state(client.pid, "T")
            with subprocess.Popen([*debugger, str(client.pid)], stdout=subprocess.DEVNULL,
                                  stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tracer:
                await_that(lambda: tracer.poll() is not None or
                           agentlab.field(client.pid, "TracerPid") not in ("0", ""),
                           "a tracer")
                late.released.set()
                equal(status_of(client), 200, f"status under {debugger[0]}")


@test
def a_process_that_is_traced_already_is_not_stopped():
    # Whoever is stopped here stays so for longer than a test waits.
    with shimlab.Shim() as shim, \
            Agent(shim, may_speak=True, NULLSPEND_DEADLINE_MS="60000") as agent:
        late = shim.collector.rule = Late(fake_collector.deny())
        client = start_curl(shim, command=["strace", "-f", "-o", "/dev/null"])
        equal(status_of(client), 200, "status before there is a verdict")
        late.released.set()
        said = agent.said()
        check("it left, for the process was not stopped" in said, said)


def silent_about(model):
    """Answers questions about other models alone."""
    allow = fake_collector.allow()
    return lambda fields: None if fields["requested_model"] == model else allow(fields)


@test
def a_question_that_nobody_waits_for_holds_up_no_other():
    """Where nobody is stopped, the agent itself must not wait either."""
    with shimlab.Shim() as shim, Agent(shim, "--on-denial=alert"):
        shim.collector.rule = silent_about("gpt-4o")
        path = os.path.join(shim.directory, "answered")
        client = start_curl(shim, body(model="gpt-4o"), "X-Replay: wait=" + path)
        shim.collector.wait("CHECK")
        equal(curl(shim), 200, "status of another")
        shim.collector.wait("CHECK", 2)
        told, = shim.collector.wait("REPORT")
        equal(told["requested_model"], "gpt-4o-mini", "whose report comes first")
        touch(path)
        equal(status_of(client), 200, "status")
        shim.collector.wait("REPORT", 2)


def at_terminal(shim, *lines):
    """What an interactive bash shows of these lines at a terminal of its own."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"],
                   shim.environment(PS1="", TERM="dumb"))
    shown = b""
    os.write(terminal, b"stty -echo\n" + "".join(line + "\n" for line in lines).encode() +
             b"exit\n")
    while True:
        ready, _, _ = select.select([terminal], [], [], HANGS_AFTER_S)
        check(ready, f"the shell hangs after {shown!r}")
        try:
            data = os.read(terminal, 4096)
        except OSError:  # the terminal is closed
            data = b""
        if not data:
            break
        shown += data
    os.waitpid(pid, 0)
    os.close(terminal)
    return shown.decode("utf-8", "replace")


@test
def a_job_of_a_shell_is_not_taken_for_suspended():
    """It is not stopped, so a denied call of its leaves; what its jobs start is stopped."""
    with shimlab.Shim() as shim, Agent(shim, may_speak=True) as agent:
        shim.collector.rule = fake_collector.deny()
        call = shlex.join(agentlab.curl_command(body()))
        shown = at_terminal(shim, f"{call}; echo =job=$?")
        check("200=job=0" in shown and "Stopped" not in shown, shown)
        said = agent.said()
        check("it left, for the process was not stopped" in said, said)
        shown = at_terminal(shim, f"sh -c {shlex.quote(call + '; true')}; echo =below=$?")
        check("400=below=0" in shown or "401=below=0" in shown, shown)
        check("Stopped" not in shown, shown)


@test
def an_agent_that_ends_waits_for_no_collector():
    """Whoever is stopped goes on at once, however long the collector is silent."""
    with shimlab.Shim() as shim:
        agent = Agent(shim, NULLSPEND_DEADLINE_MS="60000")
        equal(curl(shim), 200, "status")
        shim.collector.wait("REPORT")
        shim.collector.acks = False
        equal(curl(shim), 200, "status of a call whose report is not acknowledged")
        shim.collector.wait("REPORT", 2)
        shim.collector.rule = fake_collector.silence
        client = start_curl(shim)
        shim.collector.wait("CHECK", 3)
        await_state(client.pid, "T")
        agent.process.send_signal(signal.SIGTERM)
        equal(status_of(client), 200, "status of who was stopped")
        agent.process.wait(timeout=30)  # half of what it would wait for each
        agent.end()
        check(os.listdir(shim.spool), "what was not acknowledged is not in the spool")


# --- what it may do

CAPABILITIES = {"agent": {"dac_read_search": 2, "kill": 5, "sys_ptrace": 19, "perfmon": 38,
                          "bpf": 39, "checkpoint_restore": 40, "net_admin": 12},
                "guard": {"kill": 5, "bpf": 39}}


@test
def it_keeps_what_it_needs_and_gives_up_the_rest():
    with shimlab.Shim() as shim, Agent(shim) as agent:
        for who, pid in (("agent", agent.pid), ("guard", agent.guard())):
            wanted = sum(1 << bit for bit in CAPABILITIES[who].values())
            # The guard gives up its part when it has begun.
            await_that(lambda: int(agentlab.field(pid, "CapPrm"), 16) == wanted,
                       f"the capabilities of the {who}: {agentlab.field(pid, 'CapPrm')}")
            for kind in ("CapEff", "CapPrm"):
                equal(int(agentlab.field(pid, kind), 16), wanted, f"{kind} of the {who}")
            for kind in ("CapInh", "CapAmb"):
                equal(int(agentlab.field(pid, kind), 16), 0, f"{kind} of the {who}")
            equal(agentlab.field(pid, "NoNewPrivs"), "1", f"NoNewPrivs of the {who}")


@test
def it_needs_no_more_than_it_keeps_and_no_root():
    """As an ordinary user with its capabilities alone it governs a program of yet another user."""
    kept = ",".join("+" + name for name in CAPABILITIES["agent"])
    for user in ("0", "65533"):
        with shimlab.Shim() as shim:
            # The test's own laboratory is root's; only the socket and the spool are for others.
            os.makedirs(shim.spool)
            os.chown(shim.spool, int(user), int(user))
            os.chmod(shim.endpoint[len("ipc://"):], 0o666)
            command = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups",
                       f"--inh-caps=-all,{kept}", f"--ambient-caps=-all,{kept}",
                       f"--bounding-set=-all,{kept}"]
            with Agent(shim, command=command):
                shim.collector.rule = fake_collector.deny()
                others = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
                check(curl(shim, command=others) >= 400, f"a denied call, agent of user {user}")
                shim.collector.rule = fake_collector.allow()
                equal(curl(shim, command=others), 200, f"status, agent of user {user}")


@test
def among_other_pids_it_refuses_to_run():
    inside = ["unshare", "--pid", "--fork", "--mount-proc", bpflab.AGENT]
    bpflab.facilities()
    probed = subprocess.run([*inside, "--probe"], stdout=subprocess.PIPE, text=True, check=False)
    row, = [line for line in probed.stdout.splitlines() if line.startswith("the machine's own pids")]
    check("MISSING" in row and "--pid=host" in row and probed.returncode == 1, row)
    done = subprocess.run([*inside, "--attach"], stderr=subprocess.PIPE, text=True, check=False)
    check(done.returncode == 1 and "pid name space" in done.stderr, done.stderr)


# --- whose calls they are


@test
def a_call_has_the_tags_of_its_own_process():
    with shimlab.Shim() as shim, Agent(shim, NULLSPEND_AGENT="of the agent"):
        mine = {"NULLSPEND_CUSTOMER": "acme", "NULLSPEND_FEATURE": "search",
                "NULLSPEND_SESSION": "s1", "NULLSPEND_TAGS": "team=red,tier=1"}
        equal(curl(shim, body(), "X-NullSpend-Feature: chat", **mine), 200, "status")
        equal(curl(shim), 200, "status of another")
        told = shim.collector.wait("REPORT", 2)
        for entry in [shim.collector.of("CHECK")[0], told[0]]:
            equal({name: entry[name] for name in ("customer", "agent", "feature", "session")},
                  {"customer": "acme", "agent": "of the agent", "feature": "chat",
                   "session": "s1"}, "identity")
            equal(dict(entry["tags"]), {"team": "red", "tier": "1"}, "tags")
        equal((told[1].get("customer", ""), told[1].get("agent", "")), ("", "of the agent"),
              "of another process")


# --- what is lost, and what is many

WAITS = """
import http.client, json, sys
c = http.client.HTTPSConnection("api.openai.com", timeout=1000)
c.request("POST", "/v1/chat/completions",
          json.dumps({"model": sys.argv[1], "stream": True, "messages": []}),
          {"Content-Type": "application/json", "X-Replay": "events=9;wait=" + sys.argv[2]})
answer = c.getresponse()
answer.readline()
print("reads", flush=True)
sys.stdin.readline()
answer.close()
c.close()
print("closed", flush=True)
sys.stdin.readline()
"""

# Large records first, then small ones into what room is left between.
FILLS = """
import http.client, json
c = http.client.HTTPSConnection("api.openai.com")
for count in [40 << 20] + 300 * [1]:
    c.request("POST", "/v1/chat/completions",
              json.dumps({"model": "gpt-4o-mini",
                          "messages": [{"role": "user", "content": "x" * count}]}),
              {"Content-Type": "application/json"})
    c.getresponse().read()
"""


@test
def what_ends_while_nothing_can_be_told_is_reported_all_the_same():
    """The records of these ends find no room: of a process that is killed, and of a connection whose
    process lives on."""
    with shimlab.Shim() as shim, Agent(shim, may_speak=True, NULLSPEND_MODE="observe") as agent:
        models = ["gpt-4o", "gpt-4.1"]
        killed, closing = [subprocess.Popen(
            [shimlab.PYTHON, "-c", WAITS, model, os.path.join(shim.directory, "never")],
            env=shim.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                           for model in models]
        for program in (killed, closing):
            equal(program.stdout.readline(), "reads\n", "a client says")
        agent.process.send_signal(signal.SIGSTOP)
        subprocess.run([shimlab.PYTHON, "-c", FILLS], env=shim.environment(), check=True)
        killed.kill()
        killed.wait()
        closing.stdin.write("close\n")
        closing.stdin.flush()
        equal(closing.stdout.readline(), "closed\n", "a client says")
        agent.process.send_signal(signal.SIGCONT)

        def told():
            return {entry["requested_model"]: messages.word("outcome", entry["outcome"])
                    for entry in shim.collector.of("REPORT") if entry["requested_model"] in models}

        await_that(lambda: told() == {model: "cancelled" for model in models},
                   "reports of both")
        closing.communicate()


MANY = """
import http.client, json, sys, threading
threads, calls, of = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
seen = []
def work(n):
    c = http.client.HTTPSConnection("api.openai.com", timeout=1000)
    for i in range(calls):
        denied = i % 2 == 1
        c.request("POST", "/v1/chat/completions",
                  json.dumps({"model": "gpt-4o" if denied else "gpt-4o-mini", "messages": [
                      {"role": "user", "content": "%s-%d-%d" % (of, n, i)}]}),
                  {"Content-Type": "application/json", "X-NullSpend-Session": "%s-%d-%d" % (of, n, i)})
        answer = c.getresponse()
        answer.read()
        seen.append((denied, answer.status))
        if answer.status >= 400:
            c.close()
threads = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sum(s == 200 for d, s in seen if not d), sum(s >= 400 for d, s in seen if d), len(seen))
"""


def odd_ones_out(fields):
    rule = fake_collector.deny() if fields["requested_model"] == "gpt-4o" else fake_collector.allow()
    return rule(fields)


def check_once_each(shim, expected):
    """Every call was asked for and reported once."""
    told = shim.collector.wait("REPORT", len(expected), HANGS_AFTER_S)
    equal(sorted(entry["session"] for entry in shim.collector.of("CHECK")), sorted(expected),
          "what was asked")
    equal(sorted(entry["session"] for entry in told), sorted(expected), "what was told")


@test
def twenty_clients_at_once_are_each_allowed_or_denied_and_reported_once():
    """Ten processes, half of which have several threads: their stops overlap."""
    with shimlab.Shim() as shim, Agent(shim):
        shim.collector.rule = odd_ones_out
        calls = 20
        shapes = [("a", 1), ("b", 1), ("c", 1), ("d", 1), ("e", 1), ("f", 3), ("g", 3), ("h", 3),
                  ("i", 3), ("j", 3)]
        programs = [subprocess.Popen([shimlab.PYTHON, "-c", MANY, str(threads), str(calls), name],
                                     env=shim.environment(), stdout=subprocess.PIPE, text=True)
                    for name, threads in shapes]
        for program, (name, threads) in zip(programs, shapes):
            out, _ = program.communicate(timeout=4 * HANGS_AFTER_S)
            half = threads * calls // 2
            equal(out.split(), [str(half), str(half), str(2 * half)],
                  f"allowed, denied, all of client {name}")
        check_once_each(shim, [f"{name}-{n}-{i}" for name, threads in shapes
                               for n in range(threads) for i in range(calls)])


FORKS = """
import http.client, json, os, sys
def call(n):
    c = http.client.HTTPSConnection("api.openai.com", timeout=1000)
    c.request("POST", "/v1/chat/completions", json.dumps({"model": "gpt-4o-mini", "messages": []}),
              {"Content-Type": "application/json", "X-NullSpend-Session": "f-%d" % n})
    status = c.getresponse().status
    assert status == 200, status
for n in range(int(sys.argv[1])):
    call(2 * n)
    child = os.fork()
    if child == 0:
        call(2 * n + 1)
        os._exit(0)
    # Its parent sees it stop, and must not take it for ended.
    assert os.waitpid(child, 0)[1] == 0
"""


@test
def a_client_that_forks_is_reported_call_by_call():
    with shimlab.Shim() as shim, Agent(shim):
        subprocess.run([shimlab.PYTHON, "-c", FORKS, "20"], env=shim.environment(), check=True,
                       timeout=2 * HANGS_AFTER_S)
        check_once_each(shim, [f"f-{n}" for n in range(40)])
        equal(len({entry["pid"] for entry in shim.collector.of("REPORT")}), 21, "processes")


@test
def a_process_of_other_mounts_and_pids_is_governed():
    with shimlab.Shim() as shim, Agent(shim):
        shim.collector.rule = fake_collector.deny()
        inside = ["unshare", "--mount", "--pid", "--fork", "--mount-proc"]
        check(curl(shim, command=inside) >= 400, "a denied call")
        shim.collector.rule = fake_collector.allow()
        equal(curl(shim, command=inside), 200, "status")
        told = shim.collector.wait("REPORT", 2)[1]
        check(told["pid"] > 10, f"pid {told['pid']} is not of the machine's own")
        equal(told["process"], "curl", "process")


# --- the real collector


@test
def calls_amid_restarts_of_the_collector_count_once():
    with lab.Lab() as real, Agent(real, NULLSPEND_DEADLINE_MS="5000"):
        real.start_collector()
        calls = 0
        for _ in range(3):
            for how in (None, signal.SIGKILL):
                if how is not None:
                    real.stop_collector(how)
                for _ in range(4):
                    equal(curl(real), 200, "status")
                    calls += 1
            real.start_collector()
        # What the agent kept or spooled meanwhile is posted within a second, or with the next call.
        equal(curl(real), 200, "status")
        real.await_sql("select count(*) from nullspend.calls", str(calls + 1))
        rows = real.sql("select count(*), count(distinct call_id), sum((http_status = 200)::int),"
                        " min(source), max(source) from nullspend.calls")
        equal(rows, [[str(calls + 1), str(calls + 1), str(calls + 1), "ebpf", "ebpf"]], "calls")


@test
def a_denial_is_recorded_with_what_the_program_saw():
    with lab.Lab() as real, Agent(real, may_speak=True):
        real.start_collector()
        real.cli("budget", "set", "customer:acme", "--limit", "0.000000001", "--period", "day")
        status = curl(real, NULLSPEND_CUSTOMER="acme")
        check(status >= 400, f"status {status}")
        real.await_sql("select count(*) from nullspend.calls", "1")
        rows = real.sql("select c.http_status, c.cost_nanousd, d.entity, d.http_status is null"
                        " from nullspend.calls c join nullspend.denials d using (call_id)")
        equal(rows, [[str(status), "0", "customer:acme", "t"]], "the call and its denial")


@test
def a_soft_budget_that_is_over_is_told_and_the_call_goes_on():
    with lab.Lab() as real, Agent(real, "--on-denial=kill", may_speak=True) as agent:
        real.start_collector()
        real.cli("budget", "set", "customer:acme", "--limit", "0.000000001", "--period", "day",
                 "--policy", "soft")
        equal(curl(real, NULLSPEND_CUSTOMER="acme"), 200, "status")
        said = agent.said()
        check("it went on" in said and "customer:acme" in said, said)


# --- its unit


@test
def systemd_takes_its_unit():
    if not shutil.which("systemd-analyze"):
        skip("systemd-analyze")
    unit = os.path.join(lab.ROOT, "packaging", "nullspend-bpf.service")
    with open(unit, encoding="utf-8") as file:
        text = file.read()
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "nullspend-bpf.service")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text.replace("/usr/local/bin/nullspend-bpf", bpflab.AGENT))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", path],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    equal((done.returncode, done.stdout), (0, ""), "systemd-analyze verify")


if __name__ == "__main__":
    main()
