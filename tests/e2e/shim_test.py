#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The preload library between real TLS clients and a provider, with a fake collector."""
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import lab  # noqa: E402  pylint: disable=wrong-import-position
import messages  # noqa: E402  pylint: disable=wrong-import-position
import shimlab  # noqa: E402  pylint: disable=wrong-import-position
from shimlab import Shim, chat, request, status_of  # noqa: E402
from tap import check, equal, main, skip, test  # noqa: E402

shimlab.enter()

WAYS = [["--io", io, *mode, *form]
        for io in ("blocking", "nonblocking", "memory")
        for mode in ([], ["--partial"], ["--moving"], ["--partial", "--moving"])
        for form in ([], ["--ex"])]


def body_of(data):
    return data.split(b"\r\n\r\n", 1)[1]


def posts(shim):
    return [entry for entry in shim.all_requests() if entry["method"] == "POST"]


# --- allowed ----------------------------------------------------------------------------------------


@test
def an_allowed_call_leaves_unchanged_and_is_reported():
    with Shim() as shim:
        data = chat("Say hello.", headers=[("X-Replay", "tokens=1000/50")])
        done = shim.client(data, NULLSPEND_CUSTOMER="acme")
        equal(status_of(done.stdout), [200], "statuses")
        equal([e["body_sha256"] for e in posts(shim)], [hashlib.sha256(body_of(data)).hexdigest()],
              "bodies at the provider")
        asked, = shim.collector.wait("CHECK")
        equal(asked["requested_model"], "gpt-4o-mini", "model asked for")
        equal(asked["customer"], "acme", "customer")
        equal(asked["provider"], "openai", "provider")
        told, = shim.collector.wait("REPORT")
        equal(told["call_id"], asked["call_id"], "call id")
        equal(told["usage"].get("input_tokens"), 1000, "input tokens")
        equal(told["usage"].get("output_tokens"), 50, "output tokens")
        equal(messages.word("evidence", told["evidence"]), "reported", "evidence")
        equal(messages.word("outcome", told["outcome"]), "ok", "outcome")
        equal(told["http_status"], 200, "status")
        check(told["checked"], "not checked")
        equal(told["process"], "tls_client", "process")
        hello, = shim.collector.of("HELLO")
        equal(hello["pid"], told["pid"], "pid")


@test
def every_way_of_writing_gives_the_provider_the_same_bytes():
    with Shim() as shim:
        data = chat("word " * 40000, headers=[("X-NullSpend-Agent", "bot")])
        wanted = hashlib.sha256(body_of(data)).hexdigest()
        for way in WAYS:
            for options in ([], ["--piece", "1000"], ["--piece", "30000", "--sndbuf", "4096"]):
                shim.client(data, *way, *options)
        seen = [e["body_sha256"] for e in posts(shim)]
        equal(len(seen), 3 * len(WAYS), "requests")
        equal(set(seen), {wanted}, "bodies")
        equal(len(shim.collector.wait("CHECK", len(seen))), len(seen), "checks")
        equal(len(shim.collector.wait("REPORT", len(seen))), len(seen), "reports")


SLOW_SERVER = """
import hashlib, socket, ssl, sys, time
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
listener.bind(("127.0.0.1", 0))
listener.listen()
print(listener.getsockname()[1], flush=True)
while True:
    c = context.wrap_socket(listener.accept()[0], server_side=True)
    text = b""
    while b"\\r\\n\\r\\n" not in text:
        text += c.recv(16384)
    head, body = text.split(b"\\r\\n\\r\\n", 1)
    length = int(head.lower().split(b"content-length:")[1].split()[0])
    time.sleep(0.1)
    pieces, left = [body], length - len(body)
    while left > 0:
        pieces.append(c.recv(16384))
        left -= len(pieces[-1])
    answer = hashlib.sha256(b"".join(pieces)).hexdigest().encode()
    c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 64\\r\\n\\r\\n" + answer)
    c.close()
"""


@test
def a_full_socket_makes_the_write_wait_and_its_retry_goes_on_where_it_was():
    with Shim() as shim:
        server = subprocess.Popen([shimlab.PYTHON, "-c", SLOW_SERVER, shim.authority.certificate,
                                   shim.authority.key], stdout=subprocess.PIPE, text=True)
        port = server.stdout.readline().strip()
        data = chat("word " * 200000, headers=[("X-NullSpend-Agent", "bot")])
        wanted = hashlib.sha256(body_of(data)).hexdigest().encode()
        ways = [way for way in WAYS if "nonblocking" in way]
        for way in ways:
            done = shim.client(data, *way, "--sndbuf", 4096, port=port)
            check(wanted in done.stdout, f"{way} changed the request")
        equal(len(shim.collector.wait("CHECK", len(ways))), len(ways), "checks")
        server.kill()
        server.wait()
        server.stdout.close()


@test
def a_request_beyond_the_bound_is_judged_by_what_was_seen():
    with Shim() as shim:
        data = chat("x" * 17_500_000, headers=[("X-NullSpend-Agent", "bot")])
        shim.client(data, "--piece", 1000000)
        equal([e["body_sha256"] for e in posts(shim)],
              [hashlib.sha256(body_of(data)).hexdigest()], "bodies")
        asked, = shim.collector.of("CHECK")
        check(asked["text_bytes"] >= 17_500_000 - (16 << 20), asked["text_bytes"])
        shim.collector.rule = lambda asked: (
            fake_collector.deny()(asked) if asked["text_bytes"] > 1000
            else fake_collector.allow()(asked))
        done = shim.client(data + chat("small"), "--piece", 1000000, "--answers", 2)
        equal(status_of(done.stdout), [402, 200], "statuses")
        equal(len(posts(shim)), 2, "requests")


@test
def a_request_split_at_every_byte_is_checked_once():
    with Shim() as shim:
        data = chat("Hi.", headers=[("X-NullSpend-Customer", "acme")])
        shim.client(data, "--piece", 1)
        equal(len(shim.collector.wait("REPORT")), 1, "reports")
        equal([c["customer"] for c in shim.collector.of("CHECK")], ["acme"], "checks")
        equal([e["body_sha256"] for e in posts(shim)],
              [hashlib.sha256(body_of(data)).hexdigest()], "bodies")


@test
def nullspend_headers_are_read_and_never_sent_on():
    with Shim() as shim:
        names = ["Customer", "Agent", "Feature", "Session"]
        headers = [("X-First", "1")] + [("X-NullSpend-" + n, n.lower()) for n in names] + [
            ("x-nullspend-tags", '{"team":"blue"}'), ("X-NullSpend-Finalize", "1"), ("X-Last", "2")]
        shim.client(chat(headers=headers))
        told, = shim.collector.wait("REPORT")
        equal([asked.get("finalize") for asked in shim.collector.of("CHECK")], [True], "finalizes")
        equal([told[n.lower()] for n in names], [n.lower() for n in names], "identity")
        equal(told["tags"], [("team", "blue")], "tags")
        entry, = posts(shim)
        sent = [name.lower() for name, _ in entry["headers"]]
        check(not any(name.startswith("x-nullspend") for name in sent), sent)
        check("x-first" in sent and "x-last" in sent and "authorization" in sent, sent)


@test
def a_request_that_is_no_call_passes_without_its_nullspend_headers():
    with Shim() as shim:
        data = request(method="GET", path="/v1/models", headers=[("X-NullSpend-Customer", "acme")])
        equal(status_of(shim.client(data).stdout), [200], "statuses")
        equal(shim.collector.received, [], "messages")
        entry, = shim.requests()
        check("acme" not in json.dumps(entry), entry)


@test
def kept_alive_and_pipelined_calls_are_reported_each():
    with Shim() as shim:
        data = b"".join(chat(f"number {n}", headers=[("X-Replay", f"tokens={n}/1")])
                        for n in range(1, 6))
        for options in (["--piece", 100], [], ["--io", "nonblocking", "--ex"]):
            done = shim.client(data, "--answers", 5, *options)
            equal(status_of(done.stdout), [200] * 5, "statuses")
            told = shim.collector.wait("REPORT", 5)
            equal([t["usage"]["input_tokens"] for t in told], [1, 2, 3, 4, 5], "tokens")
            shim.collector.forget()


@test
def streams_chunked_bodies_and_codings_are_read():
    with Shim() as shim:
        for headers in ([("Accept-Encoding", "gzip")], []):
            shim.client(chat(stream=True, stream_options={"include_usage": True}, chunked=True,
                             headers=[("X-Replay", "tokens=7/9;events=40"), *headers]))
            told, = shim.collector.wait("REPORT")
            equal((told["usage"]["input_tokens"], told["usage"]["output_tokens"]), (7, 9), "usage")
            check(told["streamed"], "not streamed")
            shim.collector.forget()
        shim.client(chat(headers=[("X-Replay", "tokens=7/9"), ("Accept-Encoding", "gzip")]))
        equal(shim.collector.wait("REPORT")[0]["usage"]["input_tokens"], 7, "gzip usage")


@test
def curl_sends_large_bodies_without_waiting_for_the_server_s_100():
    with Shim() as shim:
        path = os.path.join(shim.directory, "body")
        body = json.dumps({"model": "gpt-4o", "messages": [
            {"role": "user", "content": "x" * 3_000_000}]}).encode()
        with open(path, "wb") as file:
            file.write(body)
        done = shim.curl("--http1.1", "-H", "Expect: 100-continue", "-H",
                         "Content-Type: application/json", "--expect100-timeout", "20",
                         "--data-binary", "@" + path, "-w", "%{http_code} %{time_total}", "-o",
                         "/dev/null", "https://api.openai.com/v1/chat/completions")
        equal(done.stderr, "", "stderr")
        status, seconds = done.stdout.split()
        equal(status, "200", "status")
        check(float(seconds) < 15, f"waited {seconds} s for a 100")
        equal([e["body_bytes"] for e in posts(shim)], [len(body)], "body")


@test
def an_expected_100_comes_from_the_library_once():
    with Shim() as shim:
        data = chat("Hello.", headers=[("Expect", "100-continue")])
        head, body = data.split(b"\r\n\r\n", 1)
        code = """
import socket, ssl, sys
s = ssl.create_default_context().wrap_socket(socket.create_connection(("api.openai.com", 443)),
                                             server_hostname="api.openai.com")
s.settimeout(20)
s.sendall(bytes.fromhex(sys.argv[1]))
print(s.recv(4096))
s.sendall(bytes.fromhex(sys.argv[2]))
text = b""
while b"choices" not in text:
    text += s.recv(4096)
print(text.count(b"HTTP/1.1 "), text[:12])
"""
        done = shim.python(code, (head + b"\r\n\r\n").hex(), body.hex())
        equal(done.stdout.splitlines(), [repr(b"HTTP/1.1 100 Continue\r\n\r\n"),
                                         "1 " + repr(b"HTTP/1.1 200")], done.stderr)
        equal(len(shim.collector.wait("REPORT")), 1, "reports")


@test
def a_library_opened_with_rtld_deepbind_is_governed():
    code = """
import ctypes, os
curl = ctypes.CDLL("libcurl.so.4", mode=os.RTLD_LAZY | os.RTLD_GLOBAL | os.RTLD_DEEPBIND)
curl.curl_easy_init.restype = ctypes.c_void_p
handle = ctypes.c_void_p(curl.curl_easy_init())
for option, value in ((10002, b"https://api.openai.com/v1/chat/completions"),
                      (10065, os.environ["SSL_CERT_FILE"].encode()),
                      (10015, b'{"model":"gpt-4o","messages":[]}')):
    curl.curl_easy_setopt(handle, option, ctypes.c_char_p(value))
print(curl.curl_easy_perform(handle))
"""
    # A sanitizer's runtime refuses this flag, so the library comes without one.
    library = lab.preload(os.path.join(lab.ROOT, "build/libnullspend.so"))
    with Shim() as shim:
        shim.collector.rule = fake_collector.deny()
        done = shim.python(code, **library, NULLSPEND_MODE="off")
        equal((done.stdout[-2:], len(posts(shim))), ("0\n", 1), "ungoverned " + done.stderr)
        done = shim.python(code, **library)
        equal(done.stdout[-2:], "0\n", done.stderr)
        check("nullspend: budget" in done.stdout, done.stdout)
        equal(len(posts(shim)), 1, "requests")


# --- denied -----------------------------------------------------------------------------------------


@test
def a_denied_call_never_leaves_and_is_answered_in_the_provider_s_shape():
    with Shim() as shim:
        shim.collector.rule = fake_collector.deny()
        for way in WAYS:
            done = shim.client(chat("CANARY in the prompt"), *way, "--piece", 300)
            equal(status_of(done.stdout), [402], f"statuses {way}")
            check(b"X-NullSpend-Denied: 1" in done.stdout, done.stdout)
            check(b"nullspend: budget customer:acme exhausted" in done.stdout, done.stdout)
            equal(json.loads(body_of(done.stdout))["error"]["type"], "insufficient_quota", "type")
        equal(posts(shim), [], "requests at the provider")
        log = shim.log_text()
        check("CANARY" not in log and shimlab.KEY not in log, "content left the process")
        equal({e["method"] for e in shim.all_requests()}, {"OPTIONS"}, "methods")
        equal(shim.collector.of("REPORT"), [], "reports")


@test
def a_connection_goes_on_after_a_denial():
    with Shim() as shim:
        shim.collector.rule = lambda asked: (
            fake_collector.deny()(asked) if asked["requested_model"] == "gpt-4o"
            else fake_collector.allow()(asked))
        models = ["gpt-4o-mini", "gpt-4o", "gpt-4o", "gpt-4o-mini", "gpt-4o"]
        data = b"".join(chat("hi", model=model) for model in models)
        wanted = [402 if model == "gpt-4o" else 200 for model in models]
        for way in (["--piece", 100], [], ["--io", "nonblocking"], ["--io", "memory", "--ex"],
                    ["--peek"], ["--peek", "--ex", "--io", "nonblocking"]):
            done = shim.client(data, "--answers", len(models), *way)
            equal(status_of(done.stdout), wanted, f"statuses {way}")
            check(b"onnection: close" not in done.stdout, "closed without need")
        equal({e["model"] for e in posts(shim)}, {"gpt-4o-mini"}, "models at the provider")


@test
def a_denial_comes_even_when_the_server_closes_on_the_substitute():
    code = """
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
for answer in (b"", b"HTTP/1.1 204 No\\r\\nConnection: close\\r\\n\\r\\n", b"HTTP/1.1 20"):
    c = context.wrap_socket(listener.accept()[0], server_side=True)
    c.recv(65536)
    c.sendall(answer)
    c.close()
"""
    with Shim() as shim:
        shim.collector.rule = fake_collector.deny()
        server = subprocess.Popen([shimlab.PYTHON, "-c", code, shim.authority.certificate,
                                   shim.authority.key], stdout=subprocess.PIPE, text=True)
        port = server.stdout.readline().strip()
        for _ in range(3):
            done = shim.client(chat(), "--io", "nonblocking", port=port)
            equal(status_of(done.stdout), [402], "statuses")
            check(b"onnection: close" in done.stdout, "does not say that it closes")
        server.wait(20)
        server.stdout.close()


@test
def a_program_that_reads_until_the_close_it_asked_for_gets_one():
    with Shim() as shim:
        shim.collector.rule = fake_collector.deny()
        code = """
import socket, ssl, sys
s = ssl.create_default_context().wrap_socket(socket.create_connection(("api.openai.com", 443)),
                                             server_hostname="api.openai.com")
s.settimeout(20)
s.sendall(bytes.fromhex(sys.argv[1]))
text = b""
while piece := s.recv(4096):
    text += piece
print(text.split()[1], text.lower().count(b"connection: close"))
"""
        for data in (chat(headers=[("Connection", "close")]),
                     chat().replace(b"HTTP/1.1", b"HTTP/1.0", 1)):
            done = shim.python(code, data.hex())
            equal(done.stdout, "b'402' 1\n", done.stderr)


@test
def python_clients_get_the_denial_blocking_and_in_event_loops():
    blocking = """
import http.client, json, sys
c = http.client.HTTPSConnection("api.openai.com", timeout=20)
for i in range(3):
    c.request("POST", "/v1/chat/completions", json.dumps({"model": "gpt-4o", "messages": []}),
              {"Content-Type": "application/json", "Authorization": "Bearer sk-x"})
    r = c.getresponse()
    print(r.status, json.loads(r.read())["error"]["code"])
"""
    urllib = """
import json, urllib.request, urllib.error
try:
    urllib.request.urlopen(urllib.request.Request("https://api.openai.com/v1/chat/completions",
        json.dumps({"model": "gpt-4o", "messages": []}).encode(),
        {"Content-Type": "application/json"}), timeout=20)
except urllib.error.HTTPError as error:
    print(error.code, error.headers["X-NullSpend-Reason"])
"""
    loop = """
import asyncio, json, ssl
async def main():
    r, w = await asyncio.open_connection("api.openai.com", 443, ssl=ssl.create_default_context())
    body = json.dumps({"model": "gpt-4o", "messages": []})
    for i in range(3):
        w.write(f"POST /v1/chat/completions HTTP/1.1\\r\\nHost: api.openai.com\\r\\n"
                f"Content-Length: {len(body)}\\r\\n\\r\\n".encode())
        await w.drain()
        await asyncio.sleep(0.05)
        w.write(body.encode())
        head = await asyncio.wait_for(r.readuntil(b"\\r\\n\\r\\n"), 20)
        length = int(head.lower().split(b"content-length:")[1].split()[0])
        await asyncio.wait_for(r.readexactly(length), 20)
        print(head.split()[1].decode())
    w.close()
asyncio.run(main())
"""
    with Shim() as shim:
        shim.collector.rule = fake_collector.deny()
        done = shim.python(blocking)
        equal(done.stdout.splitlines(), ["402 project_spend_limit_exceeded"] * 3, done.stderr)
        done = shim.python(urllib)
        equal(done.stdout, "402 budget_exceeded\n", done.stderr)
        done = shim.python(loop)
        equal(done.stdout.splitlines(), ["402"] * 3, done.stderr)
        done = shim.curl("--http1.1", "-d", '{"model":"gpt-4o","messages":[]}', "-H",
                         "Content-Type: application/json", "-w", " %{http_code} %{num_connects}\n",
                         "https://api.openai.com/v1/chat/completions",
                         "https://api.openai.com/v1/chat/completions")
        equal([line.rsplit(" ", 2)[1:] for line in done.stdout.splitlines() if line],
              [["402", "1"], ["402", "0"]], done.stdout + done.stderr)
        equal(posts(shim), [], "requests at the provider")


@test
def modes_other_than_enforce_let_denied_calls_through():
    with Shim() as shim:
        shim.collector.rule = fake_collector.deny()
        equal(status_of(shim.client(chat(), NULLSPEND_MODE="shadow").stdout), [200], "shadow")
        told, = shim.collector.wait("REPORT")
        equal(messages.word("mode", told["mode"]), "shadow", "mode")
        equal(len(shim.collector.of("CHECK")), 1, "checks")
        shim.collector.forget()
        equal(status_of(shim.client(chat(), NULLSPEND_MODE="observe").stdout), [200], "observe")
        told, = shim.collector.wait("REPORT")
        equal((told["checked"], shim.collector.of("CHECK")), (False, []), "observed")
        shim.collector.forget()
        data = chat(headers=[("X-NullSpend-Customer", "seen")])
        equal(status_of(shim.client(data, NULLSPEND_MODE="off").stdout), [200], "off")
        equal(shim.collector.received, [], "messages in mode off")
        check("seen" in shim.log_text(), "a header was touched in mode off")


# --- whom a call is for -----------------------------------------------------------------------------


@test
def request_comes_before_thread_and_thread_before_process():
    with Shim() as shim:
        environment = {"NULLSPEND_CUSTOMER": "of-process", "NULLSPEND_AGENT": "agent-of-process",
                       "NULLSPEND_TAGS": "team=red,env=prod"}
        for options, headers, wanted in [
                ([], [], "of-process"),
                (["--customer", "of-thread"], [], "of-thread"),
                (["--customer", "of-thread"], [("X-NullSpend-Customer", "of-request")],
                 "of-request")]:
            headers = [*headers, ("X-NullSpend-Tags", '{"team":"blue"}')]
            shim.client(chat(headers=headers), *options, **environment)
            told, = shim.collector.wait("REPORT")
            asked, = shim.collector.of("CHECK")
            for message in (asked, told):
                equal(message["customer"], wanted, "customer")
                equal(message["agent"], "agent-of-process", "agent")
                equal(dict(message["tags"]), {"team": "blue", "env": "prod"}, "tags")
            shim.collector.forget()


@test
def credentials_and_content_stay_in_the_process():
    with Shim() as shim:
        shim.client(chat("PROMPTCANARY " * 20), NULLSPEND_API_KEY="ns-key-1")
        told, = shim.collector.wait("REPORT")
        equal(told["key_hint"], shimlab.KEY[-4:], "hint")
        check(told["key_hash"] != bytes(16), "no hash of the credential")
        for secret in (b"PROMPTCANARY", shimlab.KEY.encode(), b"Budgets"):
            check(secret not in shim.collector.raw, f"{secret} reached the collector")
        equal(shim.collector.of("HELLO")[0]["api_key"], "ns-key-1", "api key in the hello")


@test
def bad_settings_are_ignored_and_logged_and_nothing_is_printed():
    with Shim() as shim:
        done = shim.client(chat(), NULLSPEND_MODE="enforced", NULLSPEND_DEADLINE_MS="soon",
                           NULLSPEND_CUSTOMER="bad\x01id", NULLSPEND_TAGS="a=b,nonsense",
                           NULLSPEND_PROVIDERS="=,", NULLSPEND_ON_UNREACHABLE="maybe")
        equal((status_of(done.stdout), done.stderr), ([200], b""), "run")
        lines = [line for line in shim.log_lines() if "not of its form" in line]
        equal(len(lines), 6, f"lines {lines}")
        told, = shim.collector.wait("REPORT")
        equal((told["customer"], told["tags"]), ("", [("a", "b")]), "identity")


# --- endings ----------------------------------------------------------------------------------------


@test
def a_close_amid_withholding_sends_and_tells_nothing():
    with Shim() as shim:
        data = chat("x" * 5000)
        for cut in (10, 200, len(data) - 1):
            shim.client(data, "--close-after", cut)
        equal(shim.collector.received, [], "messages")
        equal(posts(shim), [], "requests")


@test
def a_close_amid_the_answer_is_a_cancelled_call():
    with Shim() as shim:
        data = chat("hi")
        for options in (["--close-after", len(data)], ["--close-after", len(data), "--leave"]):
            shim.client(data, *options)
            told, = shim.collector.wait("REPORT")
            equal(messages.word("outcome", told["outcome"]), "cancelled", "outcome")
            equal(messages.word("evidence", told["evidence"]), "estimated", "evidence")
            shim.collector.forget()


@test
def a_call_of_which_nothing_could_be_sent_gives_its_hold_back():
    server = """
import socket, ssl, struct, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
c = context.wrap_socket(listener.accept()[0], server_side=True)
c.recv(65536)
c.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
sys.stdin.readline()
c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
c.close()
sys.stdin.readline()
"""
    client = """
import select, socket, ssl, sys
s = ssl.create_default_context().wrap_socket(
    socket.create_connection(("127.0.0.1", int(sys.argv[1]))), server_hostname="api.openai.com")
s.sendall(bytes.fromhex(sys.argv[2]))
while b"{}" not in s.recv(4096):
    pass
print("read", flush=True)
poll = select.poll()
poll.register(s, select.POLLHUP)
while not poll.poll():
    pass
try:
    s.sendall(bytes.fromhex(sys.argv[2]))
except OSError:
    print("gone")
s.close()
"""
    with Shim() as shim:
        serving = subprocess.Popen([shimlab.PYTHON, "-c", server, shim.authority.certificate,
                                    shim.authority.key], text=True, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        calling = subprocess.Popen([shimlab.PYTHON, "-c", client, serving.stdout.readline().strip(),
                                    chat().hex()], text=True, stdout=subprocess.PIPE,
                                   env=shim.governed())
        equal(calling.stdout.readline(), "read\n", "first call")
        serving.stdin.write("\n")
        serving.stdin.flush()
        equal(calling.communicate(timeout=60)[0], "gone\n", "second call")
        serving.communicate("\n", timeout=60)
        back, = shim.collector.wait("RELEASE")
        asked = shim.collector.of("CHECK")
        told, = shim.collector.of("REPORT")
        equal([back["call_id"], told["call_id"]], [asked[1]["call_id"], asked[0]["call_id"]],
              "released and reported")


@test
def a_killed_program_has_told_how_far_its_stream_was():
    with Shim() as shim:
        gate = os.path.join(shim.directory, "never")
        data = chat(stream=True, headers=[("X-Replay", f"events=400;wait={gate}")])
        process = subprocess.Popen([shimlab.program("tls_client"), shimlab.HOST, "443"],
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                   env=shim.governed())
        process.stdin.write(data)
        process.stdin.close()
        asked, = shim.collector.wait("CHECK")
        told = shim.collector.wait("PROGRESS")[0]
        process.send_signal(signal.SIGKILL)
        process.wait()
        equal(told["call_id"], asked["call_id"], "call id")
        check(told["text_bytes"] > 0, "no text seen")


@test
def a_child_of_fork_talks_for_itself():
    code = """
import http.client, json, os, sys
def call(model):
    c = http.client.HTTPSConnection("api.openai.com", timeout=20)
    c.request("POST", "/v1/chat/completions", json.dumps({"model": model, "messages": []}),
              {"Content-Type": "application/json"})
    status = c.getresponse().read() and 200
    return c
kept = call("gpt-4o")
pids = []
for i in range(4):
    pid = os.fork()
    if pid == 0:
        call("gpt-4o-mini")
        sys.exit(0)
    pids.append(pid)
codes = [os.waitpid(pid, 0)[1] for pid in pids]
kept.request("POST", "/v1/chat/completions", json.dumps({"model": "gpt-4o", "messages": []}),
             {"Content-Type": "application/json"})
kept.getresponse().read()
print(codes)
"""
    with Shim() as shim:
        done = shim.python(code)
        equal(done.stdout, "[0, 0, 0, 0]\n", done.stderr)
        told = shim.collector.wait("REPORT", 6)
        equal(len({t["call_id"] for t in told}), 6, "calls")
        equal(len({t["pid"] for t in told}), 5, "processes")
        equal({messages.word("outcome", t["outcome"]) for t in told}, {"ok"}, "outcomes")


@test
def a_host_that_closes_all_descriptors_is_not_disturbed():
    code = """
import http.client, json, os, socket
def call():
    c = http.client.HTTPSConnection("api.openai.com", timeout=20)
    c.request("POST", "/v1/chat/completions", json.dumps({"model": "gpt-4o", "messages": []}),
              {"Content-Type": "application/json"})
    print(c.getresponse().status)
    c.close()
call()
ours = [int(n) for n in os.listdir("/proc/self/fd") if int(n) > 2]
os.closerange(3, 65536)
a, b = socket.socketpair()
for n in ours:
    if n not in (a.fileno(), b.fileno()):
        os.dup2(a.fileno(), n)
call()
b.setblocking(False)
try:
    print("stolen", b.recv(100))
except BlockingIOError:
    print("untouched")
os.fstat(ours[-1])
"""
    with Shim() as shim:
        done = shim.python(code)
        equal(done.stdout.split(), ["200", "200", "untouched"], done.stderr)
        # One may come twice: its acknowledgement was lost with the descriptor.
        told = shim.collector.wait("REPORT", 2)
        equal(len({report["call_id"] for report in told}), 2, "reports")


@test
def a_program_keeps_the_descriptors_that_it_would_have_without_the_library():
    code = """
import http.client, json, os
os.close(0)
c = http.client.HTTPSConnection("api.openai.com", timeout=20)
c.connect()
os.close(1)
os.close(2)
c.request("POST", "/v1/chat/completions", json.dumps({"model": "gpt-4o", "messages": []}),
          {"Content-Type": "application/json"})
status = c.getresponse().status
numbers = [os.open("/dev/null", os.O_RDWR) for _ in range(4)]
print(status, numbers, file=open(os.environ["OUT"], "w"))
"""
    with Shim() as shim:
        out = os.path.join(shim.directory, "numbers")
        seen = []
        for governed in (False, True):
            shim.python(code, governed=governed, OUT=out)
            seen.append(open(out, encoding="utf-8").read())
        equal(seen[1], seen[0], "descriptors")
        equal(len(shim.collector.of("CHECK")), 1, "checks")


@test
def calls_share_a_link_where_the_process_has_no_descriptor_for_another():
    code = """
import http.client, json, os, resource, threading
def call(c):
    c.request("POST", "/v1/chat/completions", json.dumps({"model": "gpt-4o", "messages": []}),
              {"Content-Type": "application/json"})
    assert c.getresponse().read()
cs = [http.client.HTTPSConnection("api.openai.com", timeout=20) for _ in range(6)]
for c in cs:
    c.connect()
call(cs[0])
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 4096))
for _ in range(8):
    threads = [threading.Thread(target=call, args=(c,)) for c in cs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
"""
    with Shim() as shim:
        def rule(asked):
            time.sleep(0.01)
            return fake_collector.allow()(asked)
        shim.collector.rule = rule
        done = shim.python(code, NULLSPEND_DEADLINE_MS=20000)
        equal((done.returncode, done.stderr), (0, ""), "run")
        equal([told["checked"] for told in shim.collector.wait("REPORT", 49)], [True] * 49,
              "asked for")


# --- the collector is away --------------------------------------------------------------------------


def spooled(shim):
    return [name for name in os.listdir(shim.spool)] if os.path.isdir(shim.spool) else []


@test
def without_a_collector_calls_pass_are_spooled_and_posted_later():
    with Shim(collector=False) as shim:
        for n in range(3):
            done = shim.client(chat(headers=[("X-Replay", f"tokens={n + 1}/1")]))
            equal(status_of(done.stdout), [200], "statuses")
        equal(len(spooled(shim)), 3, "spool files")
        mode = os.stat(os.path.join(shim.spool, spooled(shim)[0])).st_mode & 0o777
        equal(mode, 0o600, "mode of the spool file")
        for name in spooled(shim):
            text = open(os.path.join(shim.spool, name), "rb").read()
            check(shimlab.KEY.encode() not in text and b"Say hello" not in text, "content on disk")
        shim.collector.start()
        shim.client(chat(headers=[("X-Replay", "tokens=9/1")]))
        told = shim.collector.wait("REPORT", 4)
        equal(sorted(t["usage"]["input_tokens"] for t in told), [1, 2, 3, 9], "tokens")
        equal([t["checked"] for t in told].count(False), 3, "unchecked")
        equal(spooled(shim), [], "spool files")


@test
def a_call_that_nobody_could_be_told_of_is_on_disk_before_the_program_has_its_answer():
    code = """
import http.client, json, os, signal
c = http.client.HTTPSConnection("api.openai.com", timeout=20)
c.request("POST", "/v1/chat/completions", json.dumps({"model": "gpt-4o", "messages": []}),
          {"Content-Type": "application/json", "X-Replay": "tokens=7/1"})
c.getresponse().read()
os.kill(os.getpid(), signal.SIGKILL)
"""
    with Shim(collector=False) as shim:
        done = shim.python(code)
        equal(done.returncode, -signal.SIGKILL, done.stderr)
        equal(len(spooled(shim)), 1, "spool files")
        shim.collector.start()
        shim.client(chat(headers=[("X-Replay", "tokens=8/1")]))
        told = shim.collector.wait("REPORT", 2)
        equal(sorted(t["usage"]["input_tokens"] for t in told), [7, 8], "tokens")


@test
def without_a_collector_the_policy_deny_denies():
    with Shim(collector=False) as shim:
        done = shim.client(chat(), NULLSPEND_ON_UNREACHABLE="deny")
        equal(len(status_of(done.stdout)), 1, "answers")
        check(status_of(done.stdout)[0] >= 400, done.stdout)
        check(b"X-NullSpend-Reason: collector_unreachable" in done.stdout, done.stdout)
        equal(posts(shim), [], "requests")


@test
def a_program_that_locked_itself_up_goes_on_unasked():
    with Shim() as shim:
        done = shim.client(chat(), "--seccomp")
        equal((status_of(done.stdout), done.stderr), ([200], b""), "run")
        done = shim.client(chat(), "--seccomp", NULLSPEND_ON_UNREACHABLE="deny")
        check(status_of(done.stdout)[0] >= 400, done.stdout)
        equal(len(posts(shim)), 1, "requests")


@test
def a_silent_collector_costs_its_deadline_and_then_the_breaker_is_open():
    code = """
import http.client, json, time
c = http.client.HTTPSConnection("api.openai.com", timeout=60)
for i in range(8):
    t = time.monotonic()
    c.request("POST", "/v1/chat/completions", json.dumps({"model": "gpt-4o", "messages": []}),
              {"Content-Type": "application/json"})
    r = c.getresponse()
    r.read()
    print(r.status, "slow" if time.monotonic() - t > 0.9 else "fast")
"""
    with Shim() as shim:
        shim.collector.rule = fake_collector.silence
        shim.collector.acks = False
        done = shim.python(code, NULLSPEND_DEADLINE_MS=1000)
        lines = done.stdout.splitlines()
        equal([line.split()[0] for line in lines], ["200"] * 8, done.stderr)
        equal(lines[0], "200 slow", "first call")
        check(sum(line.endswith("slow") for line in lines) <= 4, lines)


@test
def a_collector_that_says_deny_is_remembered_when_it_is_gone():
    code = """
import http.client, json, os, sys, time
def call():
    c = http.client.HTTPSConnection("api.openai.com", timeout=20)
    c.request("POST", "/v1/chat/completions", json.dumps({"model": "gpt-4o", "messages": []}),
              {"Content-Type": "application/json"})
    print(c.getresponse().status, flush=True)
call()
sys.stdin.readline()
call()
"""
    with Shim(deny_unreachable=True) as shim:
        shim.collector.rule = fake_collector.allow(deny_unreachable=True)
        process = subprocess.Popen([shimlab.PYTHON, "-c", code], stdin=subprocess.PIPE, text=True,
                                   stdout=subprocess.PIPE, env=shim.governed())
        equal(process.stdout.readline(), "200\n", "first")
        shim.collector.stop()
        out, _ = process.communicate("\n", timeout=60)
        check(int(out) >= 400, out)


@test
def unacknowledged_reports_are_sent_again_to_a_collector_that_came_back():
    code = """
import http.client, json, sys
c = http.client.HTTPSConnection("api.openai.com", timeout=20)
for i in range(2):
    c.request("POST", "/v1/chat/completions", json.dumps({"model": "gpt-4o", "messages": []}),
              {"Content-Type": "application/json", "X-Replay": f"tokens={i + 1}/1"})
    c.getresponse().read()
    print(i, flush=True)
    sys.stdin.readline()
"""
    with Shim() as shim:
        shim.collector.acks = False
        process = subprocess.Popen([shimlab.PYTHON, "-c", code], stdin=subprocess.PIPE, text=True,
                                   stdout=subprocess.PIPE, env=shim.governed())
        process.stdout.readline()
        first, = shim.collector.wait("REPORT")
        shim.collector.stop()
        shim.collector.forget()
        shim.collector.acks = True
        shim.collector.start()
        process.communicate("\n\n", timeout=60)
        told = shim.collector.wait("REPORT", 2)
        equal(sorted(t["usage"]["input_tokens"] for t in told), [1, 2], "tokens")
        check(first["call_id"] in [t["call_id"] for t in told], "not sent again")
        equal(spooled(shim), [], "spool files")


@test
def a_late_verdict_answers_no_other_question():
    with Shim() as shim:
        turns = []

        def rule(asked):
            turns.append(asked["call_id"])
            if len(turns) == 1:
                time.sleep(0.6)
                return fake_collector.deny()(asked)
            return fake_collector.allow()(asked)
        shim.collector.rule = rule
        done = shim.client(chat("one") + chat("two"), "--answers", 2, "--piece", 60,
                           "--between", "sleep 1", NULLSPEND_DEADLINE_MS=200)
        equal(status_of(done.stdout), [200, 200], "statuses")


@test
def a_damaged_spool_is_set_aside_and_the_rest_posted():
    with Shim(collector=False) as shim:
        shim.client(chat(headers=[("X-Replay", "tokens=1/1")]) +
                    chat(headers=[("X-Replay", "tokens=2/1")]), "--answers", 2)
        name, = spooled(shim)
        with open(os.path.join(shim.spool, name), "ab") as file:
            file.write(b"\x10\x00\x00\x00torn")
        shim.collector.start()
        shim.client(chat(headers=[("X-Replay", "tokens=3/1")]))
        told = shim.collector.wait("REPORT", 3)
        equal(sorted(t["usage"]["input_tokens"] for t in told), [1, 2, 3], "tokens")
        equal(spooled(shim), [name + ".damage"], "files")


@test
def a_spool_that_cannot_be_written_costs_the_report_and_not_the_call():
    with Shim(collector=False) as shim:
        done = shim.client(chat(), NULLSPEND_SPOOL_DIR="/proc/nowhere")
        equal((status_of(done.stdout), done.stderr), ([200], b""), "run")
        equal(shim.counters().get("reports_lost"), 1, "lost")


@test
def a_limit_on_the_size_of_files_does_not_end_the_program():
    # The thread sanitizer begins by writing a temporary file, if there is a place for one.
    with Shim(collector=False) as shim:
        done = subprocess.run(
            ["bash", "-c", 'ulimit -f 0; exec "$0" "$@" | cat', shimlab.program("tls_client"),
             shimlab.HOST, "443"], input=chat(), env=shim.governed(TEST_TMPDIR="/proc/nowhere"),
            capture_output=True, timeout=120, check=False)
        equal((status_of(done.stdout), done.stderr), ([200], b""), "run")
        equal(spooled(shim) and os.stat(os.path.join(shim.spool, spooled(shim)[0])).st_size, 0,
              "bytes of the spool")


# --- what is not governed ---------------------------------------------------------------------------


@test
def http2_passes_untouched_and_is_counted():
    if "HTTP2" not in subprocess.run(["curl", "--version"], capture_output=True, text=True,
                                     check=False).stdout:
        skip("curl with HTTP/2")
    with Shim() as shim:
        data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
        done = shim.client(data, check=False)
        equal([kind for kind, _ in shim.collector.received], ["HELLO"], "messages")
        equal(shim.counters().get("connections_http2_unagreed"), 1, done.stderr)
        check(shim.counters().get("connections_governed"), "not looked at")


@test
def hosts_that_are_no_provider_s_are_left_alone():
    with Shim() as shim:
        data = chat(host="localhost", headers=[("X-NullSpend-Customer", "visible")])
        done = shim.client(data, "--name", "localhost", host="localhost")
        equal(status_of(done.stdout), [200], "statuses")
        equal(shim.collector.received, [], "messages")
        check("visible" in shim.log_text(), "touched")


@test
def a_host_can_be_added_by_environment():
    with Shim() as shim:
        data = chat(host="localhost", headers=[("X-NullSpend-Customer", "added")])
        shim.client(data, "--name", "localhost", host="localhost",
                    NULLSPEND_PROVIDERS="localhost=openai")
        told, = shim.collector.wait("REPORT")
        equal((told["host"], told["customer"]), ("localhost", "added"), "host and customer")


@test
def without_a_server_name_the_host_header_decides():
    with Shim() as shim:
        shim.client(chat(), "--name", "", host="127.0.0.1")
        equal(shim.collector.wait("REPORT")[0]["provider"], "openai", "provider")


if __name__ == "__main__":
    main()
