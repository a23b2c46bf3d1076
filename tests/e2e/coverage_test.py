#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Who talks to a provider, and what governs it: real programs, real sockets of this kernel."""
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import bpflab  # noqa: E402  pylint: disable=wrong-import-position
import lab  # noqa: E402  pylint: disable=wrong-import-position
import shimlab  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, skip, test  # noqa: E402

shimlab.enter()

URL = f"https://{shimlab.HOST}/v1/chat/completions"
BODY = json.dumps({"model": "gpt-4o-mini", "max_tokens": 5,
                   "messages": [{"role": "user", "content": "a secret"}]})
BOTH = ["--protocols", "h2,http/1.1"]
ROW_DEADLINE_S = 60


def agent(laboratory, how="--watch", **more):
    bpflab.facilities(use="coverage")
    return bpflab.agent(laboratory, how=how, **more)


def row_of(laboratory, pid, holds=lambda row: True):
    """The row of this process, once it is there and holds."""
    end = time.monotonic() + ROW_DEADLINE_S
    while True:
        rows = [row for row in laboratory.json("coverage") if row["pid"] == pid]
        if rows and holds(rows[0]):
            equal(len(rows), 1, "rows of the process")
            return rows[0]
        if time.monotonic() > end:
            raise AssertionError(f"no such row of process {pid}: {rows}; all: "
                                 f"{laboratory.json('coverage')}")
        time.sleep(0.05)


@contextlib.contextmanager
def talking(laboratory, command, environment, answer="", **more):
    """A program that has talked to its server, and lives until it is let go: what it says then is
    read, so that its connection is known to have begun."""
    process = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE,
                               **{"stdin": subprocess.PIPE, **more})
    try:
        while True:
            line = process.stdout.readline()
            check(line, f"{command[0]} ended")
            if answer in line:
                break
        yield process
    finally:
        process.kill()
        process.communicate()


PYTHON = """
import http.client, json, sys
c = http.client.HTTPSConnection("api.openai.com")
c.request("POST", "/v1/chat/completions", sys.argv[1], {"Content-Type": "application/json"})
c.getresponse().read()
print("called", flush=True)
sys.stdin.read()
"""

NODE = """
const https = require("https");
const data = process.argv[1];
const request = https.request("https://api.openai.com/v1/chat/completions",
    {method: "POST", headers: {"content-length": data.length, authorization: "Bearer sk-1"},
     agent: new https.Agent({keepAlive: true})},
    (answer) => answer.on("data", () => {}).on("end", () => console.log("called")));
request.end(data);
process.stdin.resume();
"""

JAVA = """
import java.io.*;
import java.net.*;
import java.security.*;
import java.security.cert.*;
import javax.net.ssl.*;

public class Client {
    public static void main(String[] arguments) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509")
            .generateCertificate(new FileInputStream(arguments[0])));
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, trust.getTrustManagers(), null);
        HttpsURLConnection c =
            (HttpsURLConnection) new URL(arguments[1]).openConnection();
        c.setSSLSocketFactory(context.getSocketFactory());
        c.setDoOutput(true);
        c.setRequestProperty("Content-Type", "application/json");
        c.getOutputStream().write(arguments[2].getBytes());
        System.out.println("called " + c.getResponseCode());
        System.in.read();
    }
}
"""

GO = """
package main

import (
    "bufio"
    "fmt"
    "net/http"
    "os"
    "strings"
)

func main() {
    answer, err := http.Post(os.Args[1], "application/json", strings.NewReader(os.Args[2]))
    if err != nil {
        panic(err)
    }
    fmt.Println("called", answer.StatusCode)
    bufio.NewReader(os.Stdin).ReadByte()
}
"""


def python(laboratory, environment):
    return talking(laboratory, [shimlab.PYTHON, "-c", PYTHON, BODY], environment, "called")


def dark(laboratory, process, reason, executable=None):
    row = row_of(laboratory, process.pid, lambda row: row["bytes_received"] > 0)
    equal((row["governed_by"], row["reason"], row["host"], row["provider"]),
          ("dark", reason, shimlab.HOST, "openai"), "what is told")
    check(row["next_step"], "no next step")
    check(row["bytes_sent"] > len(BODY), f"{row['bytes_sent']} bytes sent")
    equal(row["connections"], 1, "connections")
    equal(row["uid"], os.geteuid(), "user")
    if executable:
        equal(os.path.realpath(row["executable"]), os.path.realpath(executable), "executable")
    return row


@test
def what_nothing_governs_is_dark_and_its_bytes_are_counted():
    with lab.Lab(BOTH) as laboratory:
        laboratory.start_collector()
        with agent(laboratory), python(laboratory, laboratory.environment()) as process:
            row = dark(laboratory, process, "not_attached", shimlab.PYTHON)
            equal(row["process"], os.path.basename(os.path.realpath(shimlab.PYTHON)), "process")


@test
def what_ended_at_once_is_told():
    with lab.Lab(BOTH) as laboratory:
        laboratory.start_collector()
        with agent(laboratory):
            for version in ("--http1.1", "--http2"):
                client = subprocess.Popen(["curl", "-sS", version, "-d", BODY, URL],
                                          env=laboratory.environment(), stdout=subprocess.PIPE)
                out, _ = client.communicate(timeout=60)
                check(b"choices" in out, f"curl reads {out!r}")
                row = row_of(laboratory, client.pid)
                equal((row["governed_by"], row["host"], row["process"]),
                      ("dark", shimlab.HOST, "curl"), "what is told")
                check(row["reason"] in ("not_attached", "not_looked_at"), row["reason"])
                check(row["bytes_received"] > len(out), f"{row['bytes_received']} bytes received")


@test
def openssl_s_client_is_seen_by_the_name_that_it_gives():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        with agent(laboratory):
            command = ["openssl", "s_client", "-connect", "127.0.0.1:443", "-CAfile",
                       laboratory.authority.ca, "-servername"]
            with talking(laboratory, [*command, "API.OpenAI.com"], laboratory.environment(),
                         "Verify return code", stderr=subprocess.DEVNULL) as process:
                row = row_of(laboratory, process.pid)
                equal((row["governed_by"], row["host"], row["reason"]),
                      ("dark", shimlab.HOST, "not_attached"), "what is told")
            with talking(laboratory, [*command, "example.org"], laboratory.environment(),
                         "Verify return code", stderr=subprocess.DEVNULL) as other:
                with python(laboratory, laboratory.environment()) as process:
                    row_of(laboratory, process.pid)
                    equal([row for row in laboratory.json("coverage") if row["pid"] == other.pid],
                          [], "what is told of who talks to nobody of interest")


@test
def a_client_that_names_no_server_is_unknown():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        with agent(laboratory):
            with talking(laboratory, ["openssl", "s_client", "-connect", "127.0.0.1:443",
                                      "-noservername"], laboratory.environment(),
                         "Verify return code", stderr=subprocess.DEVNULL) as process:
                row = row_of(laboratory, process.pid)
                equal((row["governed_by"], row["reason"], row["host"]),
                      ("unknown", "no_server_name", None), "what is told")


@test
def what_the_library_governs_is_told_as_such():
    with lab.Lab(BOTH) as laboratory:
        laboratory.start_collector()
        with agent(laboratory):
            with python(laboratory, laboratory.governed()) as process:
                row = row_of(laboratory, process.pid, lambda row: row["connections"])
                equal((row["governed_by"], row["reason"], row["host"]),
                      ("preload", None, shimlab.HOST), "Python")
                check(row["bytes_received"] > 0, "no bytes")
            with talking(laboratory, ["node", "-e", NODE, BODY], laboratory.governed(),
                         "called") as process:
                row = row_of(laboratory, process.pid, lambda row: row["connections"])
                equal((row["governed_by"], row["reason"], row["host"]),
                      ("detour", None, shimlab.HOST), "Node")


@test
def what_the_library_governs_is_told_though_it_makes_no_call():
    get = PYTHON.replace('"POST", "/v1/chat/completions", sys.argv[1]', '"GET", "/v1/models", None')
    node = NODE.replace("/v1/chat/completions", "/v1/models").replace("POST", "GET") \
               .replace('"content-length": data.length, ', "").replace("end(data)", "end()")
    with lab.Lab(BOTH) as laboratory:
        laboratory.start_collector()
        with agent(laboratory):
            for command, told in (([shimlab.PYTHON, "-c", get], "preload"),
                                  (["node", "-e", node], "detour")):
                with talking(laboratory, command, laboratory.governed(), "called") as process:
                    row = row_of(laboratory, process.pid)
                    equal((row["governed_by"], row["reason"], row["host"], row["connections"]),
                          (told, None, shimlab.HOST, 1), "what is told")
        equal(laboratory.query("status")["calls"], 0, "calls")


@test
def without_an_agent_the_calls_show_who_is_governed():
    with lab.Lab(BOTH) as laboratory:
        laboratory.start_collector()
        with python(laboratory, laboratory.governed()) as process:
            row = row_of(laboratory, process.pid)
            equal((row["governed_by"], row["provider"], row["connections"]),
                  ("preload", "openai", 0), "what is told")


@test
def what_the_agent_governs_is_told_as_such():
    with lab.Lab(BOTH) as laboratory:
        laboratory.start_collector()
        with agent(laboratory, "--attach"):
            for version in ("--http1.1", "--http2"):
                client = subprocess.Popen(["curl", "-sS", version, "-d", BODY, URL],
                                          env=laboratory.environment(), stdout=subprocess.PIPE)
                out, _ = client.communicate(timeout=60)
                check(b"choices" in out, f"curl reads {out!r}")
                row = row_of(laboratory, client.pid)
                equal((row["governed_by"], row["reason"], row["host"]),
                      ("ebpf", None, shimlab.HOST), f"curl {version}")
                equal(row["connections"], 1, "connections")


@test
def a_connection_older_than_its_probes_is_dark():
    """The connection begins while the agent only watches; then one attaches."""
    with lab.Lab(BOTH) as laboratory:
        laboratory.start_collector()
        with agent(laboratory), python(laboratory, laboratory.environment()) as process:
            row_of(laboratory, process.pid, lambda row: row["governed_by"] == "dark")
            with agent(laboratory, "--attach"):
                with python(laboratory, laboratory.environment()) as other:
                    row_of(laboratory, other.pid, lambda row: row["governed_by"] == "ebpf")
                row = row_of(laboratory, process.pid)
                equal(row["governed_by"], "dark", "who was there before")


@test
def java_is_dark_under_the_agent_and_under_the_library():
    with lab.Lab(BOTH) as laboratory:
        laboratory.start_collector()
        if shutil.which("java") is None:
            skip("java")
        source = os.path.join(laboratory.directory, "Client.java")
        with open(source, "w", encoding="utf-8") as file:
            file.write(JAVA)
        command = ["java", source, laboratory.authority.ca, URL, BODY]
        with agent(laboratory, "--attach"):
            for environment in (laboratory.environment(), laboratory.governed()):
                with talking(laboratory, command, environment, "called 200") as process:
                    dark(laboratory, process, "jvm")


@test
def a_go_program_is_dark_where_nothing_reaches_it():
    with lab.Lab(BOTH) as laboratory:
        laboratory.start_collector()
        if shutil.which("go") is None:
            skip("go")
        source = os.path.join(laboratory.directory, "client.go")
        binary = os.path.join(laboratory.directory, "client")
        with open(source, "w", encoding="utf-8") as file:
            file.write(GO)
        subprocess.run(["go", "build", "-ldflags=-s -w", "-o", binary, source], check=True,
                       env={**os.environ, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local",
                            "CGO_ENABLED": "0", "GOCACHE": os.path.join(lab.BUILD, "go-cache")},
                       cwd=laboratory.directory)
        with agent(laboratory):
            with talking(laboratory, [binary, URL, BODY], laboratory.environment(),
                         "called 200") as process:
                dark(laboratory, process, "go", binary)


@test
def an_openssl_that_does_not_show_is_dark_under_the_agent_and_under_the_library():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        request = os.path.join(laboratory.directory, "request")
        with open(request, "wb") as file:
            file.write(shimlab.chat())
        lives = "echo called; exec setpriv --pdeathsig KILL sleep infinity"
        command = [shimlab.program("tls_client_hidden"), "--between", lives, shimlab.HOST, "443"]
        with agent(laboratory, "--attach"):
            for environment in (laboratory.environment(), laboratory.governed()):
                with open(request, "rb") as file, \
                        talking(laboratory, command, environment, "called", stdin=file) as process:
                    row = row_of(laboratory, process.pid, lambda row: row["bytes_received"] > 0)
                    equal((row["governed_by"], row["reason"]), ("dark", "openssl_hidden"),
                          "what is told")


# The client's Initial of RFC 9001, A.2, which names example.com.
QUIC = bytes.fromhex(open(os.path.join(lab.ROOT, "tests/lib/quic_initial.hex"),
                          encoding="ascii").read())

UDP = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.1", 443))
s.send(bytes.fromhex(sys.argv[1]))
print("sent", flush=True)
sys.stdin.read()
"""


@test
def quic_is_dark_by_the_name_in_its_first_datagram():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        receiver.bind(("127.0.0.1", 443))
        with agent(laboratory, NULLSPEND_PROVIDERS="example.com=openai"):
            with talking(laboratory, [shimlab.PYTHON, "-c", UDP, QUIC.hex()],
                         laboratory.environment(), "sent") as process:
                row = row_of(laboratory, process.pid)
                equal((row["governed_by"], row["reason"], row["host"], row["bytes_sent"]),
                      ("dark", "quic", "example.com", len(QUIC)), "what is told")
        receiver.close()


# Says hello in pieces, each of which leaves as a packet of its own, to somebody who only listens.
PIECES = """
import socket, ssl, sys
family, address, port, filler = sys.argv[1:5]
sizes = [int(size) for size in sys.argv[5:]]
said = ssl.MemoryBIO()
context = ssl.create_default_context()
context.set_alpn_protocols(["p" * 200] * int(filler))
client = context.wrap_bio(ssl.MemoryBIO(), said, server_hostname="api.openai.com")
try:
    client.do_handshake()
except ssl.SSLWantReadError:
    pass
hello = said.read()
s = socket.socket(getattr(socket, family))
s.connect((address, int(port)))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for size in sizes:
    s.send(hello[:size])
    hello = hello[size:]
s.send(hello)
print("said", flush=True)
sys.stdin.read()
"""


@test
def a_hello_that_leaves_in_pieces_is_read():
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        with agent(laboratory), socket.create_server(("127.0.0.1", 0)) as listener, \
                socket.create_server(("::1", 0), family=socket.AF_INET6) as other:
            for family, server, filler, sizes in (
                    ("AF_INET", listener, 0, ()), ("AF_INET6", other, 0, ()),
                    ("AF_INET", listener, 0, (1, 1, 4)), ("AF_INET", listener, 0, (5, 4, 60)),
                    ("AF_INET6", other, 0, (9, 1, 200)), ("AF_INET", listener, 0, (3,) * 50),
                    ("AF_INET", listener, 12, (1400, 1000))):
                address, port = server.getsockname()[:2]
                command = [shimlab.PYTHON, "-c", PIECES, family, address, str(port), str(filler),
                           *map(str, sizes)]
                with talking(laboratory, command, laboratory.environment(), "said") as process:
                    row = row_of(laboratory, process.pid)
                    equal((row["host"], row["connections"]), (shimlab.HOST, 1),
                          f"{family}, {filler}, {sizes}")


def extension(kind, data):
    return kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def hello_with(*extensions):
    """A ClientHello in its record, with these extensions alone."""
    data = b"".join(extensions)
    body = (b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0" +
            len(data).to_bytes(2, "big") + data)
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


def server_name(name):
    entry = b"\0" + len(name).to_bytes(2, "big") + name
    return extension(0, len(entry).to_bytes(2, "big") + entry)


TCP = """
import socket, sys
s = socket.create_connection(("127.0.0.1", 443))
s.sendall(bytes.fromhex(sys.argv[1]))
print("said", flush=True)
sys.stdin.read()
"""


@test
def a_hello_that_may_hide_its_server_is_unknown_unless_it_names_a_provider():
    hidden = extension(0xfe0d, bytes(100))
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        with agent(laboratory):
            for name, told in ((b"front.example", ("unknown", "encrypted_server_name", None)),
                               (b"api.openai.com", ("dark", "not_attached", shimlab.HOST))):
                data = hello_with(server_name(name), hidden)
                command = [shimlab.PYTHON, "-c", "import ssl\n" + TCP, data.hex()]
                with talking(laboratory, command, laboratory.environment(), "said") as process:
                    row = row_of(laboratory, process.pid)
                    equal((row["governed_by"], row["reason"], row["host"]), told, str(name))


ELSEWHERE = """
import fcntl, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    fcntl.ioctl(control, 0x8914, struct.pack("16sh14s", b"lo", 1, b""))  # up
listener = socket.create_server(("127.0.0.1", 443))
s = socket.create_connection(("127.0.0.1", 443))
s.sendall(bytes.fromhex(sys.argv[1]))
print("said", flush=True)
sys.stdin.read()
"""


@test
def what_is_in_another_network_is_left_out_where_that_is_wanted():
    with lab.Lab(BOTH) as laboratory:
        laboratory.start_collector()
        command = ["unshare", "--net", shimlab.PYTHON, "-c", ELSEWHERE,
                   hello_with(server_name(b"api.openai.com")).hex()]
        with agent(laboratory), \
                talking(laboratory, command, laboratory.environment(), "said") as other, \
                python(laboratory, laboratory.environment()) as process:
            row_of(laboratory, process.pid)
            equal([row for row in laboratory.json("coverage") if row["pid"] == other.pid], [],
                  "what is told of another network")


def metrics(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in
            (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


@test
def the_share_of_bytes_that_is_governed_is_a_metric_and_dark_is_an_exit_status():
    with lab.Lab(BOTH) as laboratory:
        laboratory.start_collector("--http", "127.0.0.1:8787")
        equal(laboratory.cli("coverage", "--dark").stdout, "Nothing is dark.\n", "at first")
        check("nullspend_coverage_ratio" not in metrics(8787), "a share of nothing")
        with agent(laboratory), python(laboratory, laboratory.governed()) as governed, \
                python(laboratory, laboratory.environment()) as process:
            row_of(laboratory, governed.pid, lambda row: row["bytes_received"] > 0)
            row_of(laboratory, process.pid, lambda row: row["bytes_received"] > 0)
            said = metrics(8787)
            ratio = said["nullspend_coverage_ratio"]
            check(0.3 < ratio < 0.7, f"the same bytes twice, one of them dark: {ratio}")
            rows = laboratory.json("coverage")
            for word, pid in (("preload", governed.pid), ("dark", process.pid)):
                row, = [row for row in rows if row["pid"] == pid]
                equal(said[f'nullspend_coverage_bytes_total{{governed_by="{word}"}}'],
                      row["bytes_sent"] + row["bytes_received"], f"bytes that are {word}")
        done = laboratory.cli("coverage", "--dark", check=False)
        equal(done.returncode, 1, "exit status where something is dark")
        check(str(process.pid) in done.stdout and str(governed.pid) not in done.stdout, done.stdout)
        check("Next: start it with nullspend run" in done.stdout, done.stdout)
        done = laboratory.cli("coverage", check=False)
        equal(done.returncode, 0, "exit status of the whole list")
        equal(laboratory.sql("select count(*) from nullspend.coverage where governed_by = 'dark'"),
              [["1"]], "rows of the view")


@test
def budgets_do_not_wait_behind_rows_that_the_database_refuses():
    with lab.Lab(BOTH) as laboratory:
        laboratory.start_collector()
        laboratory.sql("alter table nullspend.coverage_rows add check (process not like 'python%')")
        with python(laboratory, laboratory.governed()):
            laboratory.cli("budget", "set", "customer:acme", "--limit", "1", "--period", "day")
            laboratory.sync()
            equal(laboratory.json("coverage"), [], "rows")
            said = laboratory.query("status")["postgres"]
            check("coverage_rows" in said["last_error"] and said["connected"], str(said))


@test
def an_agent_that_begins_anew_adds_to_what_another_saw():
    code = """
import http.client, sys
for line in sys.stdin:
    c = http.client.HTTPSConnection("api.openai.com")
    c.request("GET", "/v1/models")
    c.getresponse().read()
    c.close()
    print("called", flush=True)
"""
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        program = subprocess.Popen([shimlab.PYTHON, "-c", code], env=laboratory.environment(),
                                   text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def call():
            program.stdin.write("go\n")
            program.stdin.flush()
            equal(program.stdout.readline(), "called\n", "the program says")

        sent = 0
        for connections in (1, 2, 3):
            with agent(laboratory):
                call()
                row = row_of(laboratory, program.pid,
                             lambda row, n=connections: row["connections"] >= n)
                equal(row["connections"], connections, "connections")
            row = row_of(laboratory, program.pid)
            equal(row["connections"], connections, "connections, the agent gone")
            check(row["bytes_sent"] > sent + 300, f"{row['bytes_sent']} bytes after {sent}")
            sent = row["bytes_sent"]
            if connections == 2:
                laboratory.stop_collector()
                laboratory.start_collector()
        program.communicate()


@test
def a_collector_that_begins_anew_counts_nothing_twice():
    with lab.Lab(BOTH) as laboratory:
        laboratory.start_collector()
        with python(laboratory, laboratory.environment()) as before:
            with agent(laboratory), python(laboratory, laboratory.environment()) as process:
                row = row_of(laboratory, process.pid, lambda row: row["bytes_received"] > 0)
                laboratory.stop_collector()
                laboratory.start_collector()
                with python(laboratory, laboratory.environment()) as other:
                    row_of(laboratory, other.pid)
                again = row_of(laboratory, process.pid)
                for name in ("connections", "bytes_sent", "bytes_received", "first_seen"):
                    equal(again[name], row[name], name)
            equal([row for row in laboratory.json("coverage") if row["pid"] == before.pid], [],
                  "what is told of a connection older than the agent")


if __name__ == "__main__":
    main()
