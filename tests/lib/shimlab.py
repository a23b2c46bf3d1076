# SPDX-License-Identifier: Apache-2.0
"""What tests of the preload library share: requests, clients, and the provider's log.

    import shimlab
    shimlab.enter()
    with shimlab.Shim() as shim:
        shim.collector.rule = fake_collector.deny()
        done = shim.client(shimlab.chat("hello"), "--io", "memory")
"""
import json
import os
import re
import subprocess

import fake_collector
import lab
from tap import equal

ROOT = lab.ROOT
HOST = "api.openai.com"
KEY = "sk-test-openai-0000000000001234"
PYTHON = "/usr/bin/python3"


def enter():
    lab.enter()


def program(name):
    """The path of a program of tests/programs, which `make e2e` builds."""
    return lab.program("programs/" + name)


def request(body=b"", path="/v1/chat/completions", method="POST", host=HOST, headers=(),
            chunked=False):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {KEY}"]
    if body or method == "POST":
        lines.append("Content-Type: application/json")
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        half = len(body) // 2
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part)
                        for part in (body[:half], body[half:]) if part) + b"0\r\n\r\n"
    elif body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def chat(text="Say hello.", model="gpt-4o-mini", path="/v1/chat/completions", host=HOST,
         headers=(), chunked=False, **more):
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return request(json.dumps(body).encode(), path, host=host, headers=headers, chunked=chunked)


# Anyio sends for a reader what a read has written, and fails where another task is sending: no read
# may write. Where one does, `written` says how much.
WATCHED_READS = """
from anyio.streams.tls import TLSStream
call = TLSStream._call_sslobject_method
written = []
async def watched(self, function, *arguments):
    def once(*arguments):
        before = self._write_bio.pending
        result = function(*arguments)
        if function.__name__ == "read" and self._write_bio.pending > before:
            written.append(self._write_bio.pending - before)
        return result
    return await call(self, once, *arguments)
TLSStream._call_sslobject_method = watched
"""


class Shim(lab.Lab):
    """A laboratory with a fake collector in place of nullspendd."""

    def __init__(self, collector=True, provider=(), **welcome):
        super().__init__(provider)
        self.log = os.path.join(self.directory, "shim.log")
        self.collector = fake_collector.FakeCollector(self.endpoint, **welcome)
        self.start_it = collector

    def __enter__(self):
        super().__enter__()
        if self.start_it:
            self.collector.start()
        return self

    def stop_collector(self, how=None):
        self.collector.stop()

    def governed(self, **more):
        more.setdefault("NULLSPEND_LOG", self.log)
        return super().governed(**more)

    def client(self, data, *options, host=HOST, port=443, governed=True, check=True, **more):
        """Runs tls_client with data as its input."""
        environment = self.governed(**more) if governed else self.environment(**more)
        done = subprocess.run([program("tls_client"), *map(str, options), host, str(port)],
                              input=data, env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=120, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"tls_client {options}: {done.returncode}\n"
                                 f"{done.stderr.decode()}{done.stdout[:2000]!r}")
        return done

    def python(self, code, *arguments, governed=True, timeout=120, **more):
        environment = self.governed(**more) if governed else self.environment(**more)
        return subprocess.run([PYTHON, "-c", code, *arguments], env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout,
                              check=False)

    def curl_http2(self, *requests, **more):
        """One curl, one connection over HTTP/2: a request is (URL, data, header…). Returns status and
        text of each."""
        command = ["curl"]
        for i, (url, data, *headers) in enumerate(requests):
            path = os.path.join(self.directory, f"body{i}")
            with open(path, "w", encoding="utf-8") as file:
                file.write(data)
            command += ["--next"] if i else []
            command += ["-sS", "--http2", "--max-time", "60",
                        "-w", "\x1f%{http_code} %{http_version}\x1e",
                        "-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: application/json",
                        "--data-binary", "@" + path, url]
            for header in headers:
                command += ["-H", header]
        done = subprocess.run(command, env=self.governed_curl(NULLSPEND_LOG=self.log, **more),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=120, check=False)
        equal(done.returncode, 0, "exit status of curl: " + done.stderr)
        answers = []
        for part in done.stdout.split("\x1e")[:-1]:
            text, _, status = part.rpartition("\x1f")
            code, version = status.split()
            equal(version, "2", "version of HTTP")
            answers.append((int(code), text))
        return answers

    def logged(self, kind):
        """What the provider logged of this kind."""
        return [entry for entry in self.provider_events() if entry["event"] == kind]

    def log_lines(self):
        if not os.path.exists(self.log):
            return []
        return open(self.log, encoding="utf-8").read().splitlines()

    def counters(self):
        """Of the process that ended last."""
        lines = [line for line in self.log_lines() if " counters" in line]
        words = lines[-1].split(" counters")[1].split() if lines else []
        return {name: int(value) for name, value in (word.split("=") for word in words)}

    def all_requests(self):
        """The provider's log: whole requests and cut ones, substitutes included."""
        if not os.path.exists(self.provider_log):
            return []
        return [json.loads(line) for line in open(self.provider_log, encoding="utf-8")]


def status_of(answer):
    """Status codes of all answers in a client's output, interim ones included."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]
