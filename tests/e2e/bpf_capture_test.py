#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Programs without the preload library, governed by the agent: real probes of this kernel."""
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import bpflab  # noqa: E402  pylint: disable=wrong-import-position
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import messages  # noqa: E402  pylint: disable=wrong-import-position
import shimlab  # noqa: E402  pylint: disable=wrong-import-position
import toolchains  # noqa: E402  pylint: disable=wrong-import-position
from bpflab import agent  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, skip, test  # noqa: E402

shimlab.enter()

URL = f"https://{shimlab.HOST}/v1/chat/completions"
BOTH = ["--protocols", "h2,http/1.1"]


def body(**more):
    return json.dumps({"model": "gpt-4o-mini",
                       "messages": [{"role": "user", "content": "a secret"}], **more})


def curl(shim, data, *headers, version="--http1.1", url=URL):
    command = ["curl", "-sS", version, "--max-time", "60", "-w", "\x1f%{http_code}", "-H",
               f"Authorization: Bearer {shimlab.KEY}", "-H", "Content-Type: application/json",
               "-d", data, url]
    for header in headers:
        command += ["-H", header]
    done = subprocess.run(command, env=shim.environment(), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    equal(done.returncode, 0, "exit status of curl: " + done.stderr)
    text, _, status = done.stdout.rpartition("\x1f")
    return int(status), text


@test
def a_call_is_asked_for_and_reported():
    for version in ("--http1.1", "--http2"):
        with shimlab.Shim(provider=BOTH) as shim, agent(shim):
            status, _ = curl(shim, body(), "X-Replay: tokens=1000/50", version=version)
            equal(status, 200, "status")
            asked, = shim.collector.wait("CHECK")
            equal((asked["requested_model"], asked["key_hint"]), ("gpt-4o-mini", shimlab.KEY[-4:]),
                  "what was asked")
            told, = shim.collector.wait("REPORT")
            equal(told["usage"].get("output_tokens"), 50, "output tokens")
            equal(told["process"], "curl", "process")
            hello, = {entry["source"] for entry in shim.collector.of("HELLO")}
            equal(messages.word("source", hello), "ebpf", "source")


@test
def a_stream_is_reported_with_its_usage():
    for version in ("--http1.1", "--http2"):
        with shimlab.Shim(provider=BOTH) as shim, agent(shim):
            data = body(stream=True, stream_options={"include_usage": True})
            status, text = curl(shim, data, "X-Replay: tokens=70/30;events=50", version=version)
            equal(status, 200, "status")
            check(text.rstrip().endswith("[DONE]"), text[-100:])
            told, = shim.collector.wait("REPORT")
            equal(told["usage"].get("output_tokens"), 30, "output tokens")
            equal(messages.word("outcome", told["outcome"]), "ok", "outcome")


# BPF_TRACE_UPROBE_SESSION (Linux 6.13), BPF_TRACE_UPROBE_MULTI (6.6).
@test
def kernels_without_newer_kinds_of_probes_are_used_as_they_are():
    preload = toolchains.compiled(
        os.path.join(bpflab.lab.ROOT, "tests", "preload", "older_kernel.c"), ["-shared", "-fPIC"])
    for missing in ("57", "57,48"):
        with shimlab.Shim(provider=BOTH) as shim, \
                agent(shim, LD_PRELOAD=preload, MISSING_ATTACH_TYPES=missing):
            for answer, expected in ((fake_collector.deny(), (400, 401)),
                                     (fake_collector.allow(), (200,))):
                shim.collector.rule = answer
                status, _ = curl(shim, body(), "X-Replay: tokens=1000/50")
                check(status in expected, f"status {status}")
            told = shim.collector.wait("REPORT", 2)
            equal(told[1]["usage"].get("output_tokens"), 50, "output tokens")


@test
def a_denied_call_leaves_without_its_body_and_its_key():
    for version in ("--http1.1", "--http2"):
        with shimlab.Shim(provider=BOTH) as shim, agent(shim):
            shim.collector.rule = fake_collector.deny()
            data = body()
            status, _ = curl(shim, data, version=version)
            check(status >= 400, f"status {status}")
            entry, = shim.logged("request")
            equal(entry["body_bytes"], len(data), "length of the body")
            equal(entry["model"], None, "model at the provider")
            if version == "--http1.1":
                check(shimlab.KEY not in json.dumps(entry["headers"]), "the key left")
            shim.collector.rule = fake_collector.allow()
            equal(curl(shim, data, version=version)[0], 200, "status of the next")
            told = shim.collector.wait("REPORT", 2)
            equal([entry["http_status"] for entry in told], [status, 200],
                  "status of what is reported")
            equal(messages.word("outcome", told[0]["outcome"]), "error", "outcome")


@test
def a_denied_call_whose_end_comes_in_a_frame_of_its_own_leaves_without_its_body():
    code = """
import httpx, sys
with httpx.Client(http2=True, timeout=60) as client:
    for _ in range(2):
        answer = client.post(sys.argv[1], json={"model": "gpt-4o-mini", "messages": []})
        print(answer.http_version, answer.status_code, flush=True)
        sys.stdin.readline()
"""
    with shimlab.Shim(provider=["--protocols", "h2"]) as shim, agent(shim):
        shim.collector.rule = fake_collector.deny()
        with subprocess.Popen([shimlab.PYTHON, "-c", code, URL], env=shim.environment(), text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            version, status = client.stdout.readline().split()[-2:]
            check(version == "HTTP/2" and int(status) >= 400, f"{version}: {status}")
            shim.collector.rule = fake_collector.allow()
            client.stdin.write("\n")
            client.stdin.flush()
            equal(client.stdout.readline(), "HTTP/2 200\n", "the next call")
            client.stdin.close()
        equal([entry["model"] for entry in shim.logged("request")], [None, "gpt-4o-mini"],
              "models at the provider")
        told = shim.collector.wait("REPORT", 2)
        equal([entry["http_status"] for entry in told], [int(status), 200], "reports")


@test
def a_denied_call_of_which_only_its_end_is_left_to_write_does_not_end():
    """Its body has left, and what comes with the end would not be missed."""
    code = """
import h2.connection, socket, ssl, sys
context = ssl.create_default_context()
context.set_alpn_protocols(["h2"])
tls = context.wrap_socket(socket.create_connection((sys.argv[1], 443)), server_hostname=sys.argv[1])
http = h2.connection.H2Connection()
http.initiate_connection()
http.send_headers(1, [(":method", "POST"), (":scheme", "https"), (":authority", sys.argv[1]),
                      (":path", "/v1/chat/completions"), ("content-type", "application/json")])
http.send_data(1, b'{"model": "gpt-4o-mini", "messages": []}')
tls.sendall(http.data_to_send())
http.send_data(1, bytes.fromhex(sys.argv[2]))
http.send_data(1, b"", end_stream=True)
tls.sendall(http.data_to_send())
while tls.recv(65536):
    pass
"""
    for rest in (b"\n", b" \t\r\n"):
        with shimlab.Shim(provider=["--protocols", "h2"]) as shim, agent(shim):
            shim.collector.rule = fake_collector.deny()
            subprocess.run([shimlab.PYTHON, "-c", code, shimlab.HOST, rest.hex()],
                           env=shim.environment(), timeout=120, check=True)
            equal(len(shim.collector.wait("CHECK")), 1, "what was asked")
            equal([entry["event"] for entry in shim.all_requests()
                   if entry["event"] in ("request", "partial")], ["partial"], "at the provider")


@test
def a_denied_call_leaves_without_its_body_however_it_is_cut_into_writes():
    """All in the connection's first write; a header, then a payload; the midst of one; its end."""
    code = """
import json, socket, ssl, sys
import h2.connection, h2.config, h2.events
context = ssl.create_default_context()
context.set_alpn_protocols(["h2"])
body = json.dumps({"model": "gpt-4o-mini", "messages": []}).encode()
for cut in map(int, sys.argv[1:]):
    tls = context.wrap_socket(socket.create_connection(("api.openai.com", 443), timeout=60),
                              server_hostname="api.openai.com")
    http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    http.initiate_connection()
    http.send_headers(1, [(":method", "POST"), (":scheme", "https"), (":path", "/v1/chat/completions"),
                          (":authority", "api.openai.com"), ("content-type", "application/json")])
    http.send_data(1, body, end_stream=True)
    data = http.data_to_send()
    for piece in (data[:-cut], data[-cut:]) if cut else (data,):
        tls.sendall(piece)
    status = None
    while status is None:
        for event in http.receive_data(tls.recv(65536)):
            if isinstance(event, h2.events.ResponseReceived):
                status = dict(event.headers)[":status"]
    print(status, flush=True)
    tls.close()
"""
    size = len(json.dumps({"model": "gpt-4o-mini", "messages": []}))
    cuts = [0, size + 9, size + 5, size, size // 2, 1]
    with shimlab.Shim(provider=["--protocols", "h2"]) as shim, agent(shim):
        shim.collector.rule = fake_collector.deny()
        done = subprocess.run([shimlab.PYTHON, "-c", code, *map(str, cuts)], env=shim.environment(),
                              stdout=subprocess.PIPE, text=True, timeout=120, check=False)
        equal(done.stdout.split(), ["400"] * len(cuts), "statuses")
        equal([entry["model"] for entry in shim.logged("request")], [None] * len(cuts),
              "models at the provider")


@test
def a_process_that_runs_already_is_seen_and_one_under_the_library_is_left_to_it():
    code = """
import http.client, json, sys
c = http.client.HTTPSConnection("api.openai.com")
def call():
    c.request("POST", "/v1/chat/completions", json.dumps({"model": "gpt-4o-mini", "messages": []}),
              {"Content-Type": "application/json"})
    c.getresponse().read()
for line in sys.stdin:
    call()
    print("called", flush=True)
"""
    with shimlab.Shim(provider=BOTH) as shim:
        programs = [subprocess.Popen([shimlab.PYTHON, "-c", code], env=environment, text=True,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                    for environment in (shim.environment(), shim.governed())]
        with agent(shim):
            for program in programs:
                program.stdin.write("go\n")
                program.stdin.flush()
                equal(program.stdout.readline(), "called\n", "the program says")
            shim.collector.wait("REPORT", 2)
            for program in programs:
                program.communicate()
        told = shim.collector.of("REPORT")
        equal(len({entry["call_id"] for entry in told}), 2, "calls")
        equal(sorted(messages.word("source", entry["source"])
                     for entry in shim.collector.of("HELLO")), ["ebpf", "preload"], "sources")


NODE = """
const https = require("https");
const data = JSON.stringify({model: "gpt-4o-mini", messages: []});
function call() {
    return new Promise((resolve, reject) => {
        const request = https.request("https://api.openai.com/v1/chat/completions",
            {method: "POST", headers: {"content-length": data.length, authorization: "Bearer sk-1"}},
            (answer) => answer.on("data", () => {}).on("end", () => resolve(answer.statusCode)));
        request.on("error", reject);
        request.end(data);
    });
}
(async () => {
    for await (const line of require("readline").createInterface({input: process.stdin})) {
        console.log(await call());
    }
})();
"""


@test
def node_with_an_openssl_of_its_own_is_governed():
    with shimlab.Shim(provider=BOTH) as shim:
        environment = shim.environment()
        node = subprocess.Popen(["node", "-e", NODE], env=environment, text=True,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def call():
            node.stdin.write("go\n")
            node.stdin.flush()
            return int(node.stdout.readline())

        equal(call(), 200, "status without the agent")
        with agent(shim):
            equal(call(), 200, "status")
            shim.collector.wait("REPORT", 1)
            shim.collector.rule = fake_collector.deny()
            check(call() >= 400, "a denied call")
            shim.collector.rule = fake_collector.allow()
            equal(call(), 200, "status of the next")
            told = shim.collector.wait("REPORT", 2)
            equal({entry["process"] for entry in told}, {"node"}, "process")
            node.communicate()


@test
def node_under_the_library_is_left_to_it_though_its_code_has_probes():
    with shimlab.Shim(provider=BOTH) as shim:
        # The agent puts probes into the file of a program that it sees running.
        other = subprocess.Popen(["node", "-e", "console.log(1); process.stdin.resume()"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        other.stdout.readline()
        shim.collector.rule = fake_collector.deny()
        with agent(shim):
            done = subprocess.run(["node", "-e", NODE], env=shim.governed(), input="go\ngo\n",
                                  text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  timeout=120, check=False)
        other.communicate()
        equal((done.returncode, done.stdout.split(), done.stderr), (0, ["402", "402"], ""), "node")
        check("detour" in {messages.word("source", entry["source"])
                           for entry in shim.collector.of("HELLO")}, "no detour")
        equal(len(shim.collector.of("CHECK")), 2, "what was asked")


@test
def a_connection_that_the_agent_has_not_looked_at_waits_for_it():
    """However late the agent is: here it is stopped itself, while a connection begins."""
    address = "https://127.0.0.1/v1/chat/completions"
    unnamed = ["--insecure", "-H", f"Host: {shimlab.HOST}"]
    with shimlab.Shim(provider=BOTH) as shim, agent(shim) as process:
        shim.collector.rule = fake_collector.deny()
        for target in ([URL], [*unnamed, address]):
            process.send_signal(signal.SIGSTOP)
            client = subprocess.Popen(["curl", "-sS", "--http1.1", "-w", "%{http_code}", "-o",
                                       "/dev/null", "-d", body(), *target],
                                      env=shim.environment(), stdout=subprocess.PIPE)
            bpflab.wait_until_stopped(client)
            process.send_signal(signal.SIGCONT)
            out, _ = client.communicate(timeout=60)
            check(int(out) >= 400, f"{target}: status {out}")
        equal(len(shim.collector.of("CHECK")), 2, "what was asked")


def silent_about(model):
    """Answers questions about other models alone."""
    allow = fake_collector.allow()
    return lambda fields: None if fields["requested_model"] == model else allow(fields)


def start_curl(shim, data, version="--http1.1"):
    return subprocess.Popen(["curl", "-sS", version, "-w", "%{http_code}", "-o", "/dev/null", "-d",
                             data, URL], env=shim.environment(), stdout=subprocess.PIPE)


@test
def a_process_that_waits_for_its_verdict_holds_up_nobody_else():
    for version in ("--http1.1", "--http2"):
        for policy, told in (("allow", 200), ("deny", 400)):
            with shimlab.Shim(provider=BOTH) as shim, \
                    agent(shim, NULLSPEND_DEADLINE_MS="6000", NULLSPEND_ON_UNREACHABLE=policy):
                shim.collector.rule = silent_about("gpt-4o")
                waiting = start_curl(shim, body(model="gpt-4o"), version)
                shim.collector.wait("CHECK")
                for _ in range(3):
                    equal(curl(shim, body(), version=version)[0], 200, "status of another")
                check(bpflab.wait_until_stopped(waiting), "who waits went on")
                out, _ = waiting.communicate(timeout=60)
                equal(int(out) // 100, told // 100, f"status when nobody answers, {policy}")


@test
def who_is_killed_while_it_waits_gives_back_what_it_asked_for():
    with shimlab.Shim(provider=BOTH) as shim, agent(shim):
        shim.collector.rule = silent_about("gpt-4o")
        waiting = start_curl(shim, body(model="gpt-4o"))
        asked, = shim.collector.wait("CHECK")
        waiting.kill()
        waiting.communicate()
        released, = shim.collector.wait("RELEASE")
        equal(released["call_id"], asked["call_id"], "call")
        equal(curl(shim, body())[0], 200, "status of the next")


BIG = """
import http.client, json, sys
c = http.client.HTTPSConnection("api.openai.com")
for line in sys.stdin:
    c.request("POST", "/v1/chat/completions",
              json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content":
                                                                "x" * int(line)}]}),
              {"Content-Type": "application/json", "X-Replay": "tokens=9/" + line.strip()})
    c.getresponse().read()
    print("called", flush=True)
"""


@test
def what_finds_no_room_is_told_and_the_next_call_is_read_right():
    with shimlab.Shim(provider=BOTH) as shim:
        with agent(shim, may_speak=True, NULLSPEND_MODE="observe") as process:
            program = subprocess.Popen([shimlab.PYTHON, "-c", BIG], env=shim.environment(),
                                       text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

            def call(count):
                program.stdin.write(f"{count}\n")
                program.stdin.flush()
                equal(program.stdout.readline(), "called\n", "the program says")

            call(5)
            shim.collector.wait("REPORT")
            process.send_signal(signal.SIGSTOP)
            call(40 << 20)  # more than the ring takes
            process.send_signal(signal.SIGCONT)
            said = process.stderr.readline()  # it has caught up
            check(f"process {program.pid} " in said and "are missing" in said, said)
            call(7)
            program.communicate()
            shim.collector.wait("REPORT", 2)
        equal([entry["usage"].get("output_tokens") for entry in shim.collector.of("REPORT")],
              [5, 7], "output tokens")


@test
def nobody_stays_stopped_when_the_agent_is_killed():
    bpflab.facilities()
    with shimlab.Shim(provider=BOTH) as shim:
        held = []
        shim.collector.rule = lambda fields: held.append(fields) or None  # never answers
        environment = {**os.environ, "NULLSPEND_COLLECTOR": shim.endpoint,
                       "NULLSPEND_DEADLINE_MS": "60000"}
        killed = subprocess.Popen(bpflab.COMMAND, env=environment, stdout=subprocess.PIPE)
        check(b"ready" in killed.stdout.readline(), "the agent is not ready")
        client = subprocess.Popen(["curl", "-sS", "--http1.1", "-d", body(), URL],
                                  env=shim.environment(), stdout=subprocess.PIPE)
        shim.collector.wait("CHECK")
        check(bpflab.wait_until_stopped(client), "the client went on while nobody answered")
        killed.kill()
        killed.wait()
        out, _ = client.communicate(timeout=60)
        check(b"choices" in out, f"the client reads {out!r}")


if __name__ == "__main__":
    main()
