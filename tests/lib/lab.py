# SPDX-License-Identifier: Apache-2.0
"""A laboratory: replay provider and collector in a network namespace of its own.

    import lab
    lab.enter()                      # re-executes the script inside the namespace; returns there
    with lab.Lab() as laboratory:
        laboratory.start_collector()
        laboratory.cli("budget", "set", "customer:acme", "--limit", "1", "--period", "day")
        done = laboratory.curl("https://api.openai.com/...", customer="acme")

Everything lives in a temporary directory with a short path and is gone afterwards; the user's own
collector, state and sockets are never touched.
"""
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import messages
import netns

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("NS_BUILD", os.path.join(ROOT, "build"))
SANITIZERS = {"asan": "libasan.so", "tsan": "libtsan.so"}
ENVIRONMENTS = threading.Lock()
HOSTS = ["api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com",
         "api.mistral.ai", "api.cohere.com", "ollama.com",
         "bedrock-runtime.us-east-1.amazonaws.com"]


def enter():
    """Re-executes this script in its own network, with the provider's hosts on loopback."""
    netns.enter(HOSTS)


def program(name):
    return os.path.join(BUILD, name)


def preload(library):
    """The environment with which `nullspend run` loads the library into a program: LD_PRELOAD
    cannot hold a path with a blank."""
    if " " not in library:
        return {"LD_PRELOAD": library}
    directory, name = os.path.split(library)
    return {"LD_PRELOAD": name, "LD_LIBRARY_PATH": directory}


def preload_with_sanitizer(library):
    """The same; a library that was built with a sanitizer comes after the sanitizer's own, and what
    the program leaks is none of ours."""
    environment = preload(library)
    sanitizer = SANITIZERS.get(os.path.basename(os.path.dirname(library)))
    if sanitizer:
        runtime = subprocess.run(["gcc", "-print-file-name=" + sanitizer], check=True, text=True,
                                 stdout=subprocess.PIPE).stdout.strip()
        environment["LD_PRELOAD"] = runtime + ":" + environment["LD_PRELOAD"]
        environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    return environment


def python_with_sdks(requirements):
    """A Python whose environment has the packages of this file, kept in build/ between runs and
    named after it, or after its folder where it is a requirements.txt. Threads may ask at once."""
    name = os.path.splitext(os.path.basename(requirements))[0]
    if name == "requirements":
        name = os.path.basename(os.path.dirname(requirements))
    directory = os.path.join(ROOT, "build", "venv-" + name)
    python = os.path.join(directory, "bin", "python")
    stamp = os.path.join(directory, "installed")
    with open(requirements, encoding="utf-8") as file:
        wanted = file.read()

    def complete():
        if not os.path.exists(stamp):
            return False
        with open(stamp, encoding="utf-8") as file:
            return file.read() == wanted

    if complete():
        return python  # perhaps another user's, in a folder that cannot be written
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    with ENVIRONMENTS, open(directory + ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other tests run beside this one
        if complete():
            return python
        shutil.rmtree(directory, ignore_errors=True)
        subprocess.run(["/usr/bin/python3", "-m", "venv", directory], check=True)
        subprocess.run([python, "-m", "pip", "-q", "--disable-pip-version-check", "install", "-r",
                        requirements], check=True)
        with open(stamp, "w", encoding="utf-8") as file:
            file.write(wanted)
    return python


class Lab:
    """Provider and collector, and the environment in which programs find them."""

    def __init__(self, provider=()):
        """provider: options of the replay provider, such as --protocols h2,http/1.1"""
        self.directory = tempfile.mkdtemp(prefix="nslab")
        self.provider_options = list(provider)
        os.chmod(self.directory, 0o755)
        self.state = os.path.join(self.directory, "state")
        self.endpoint = f"ipc://{self.directory}/c.sock"
        self.provider_log = os.path.join(self.directory, "provider.log")
        self.spool = os.path.join(self.directory, "spool")
        self.authority = netns.certificates(self.directory, HOSTS)
        self.provider = None
        self.collector = None
        self.collector_log = os.path.join(self.directory, "collector.log")

    def __enter__(self):
        self.start_provider()
        return self

    def __exit__(self, kind, value, trace):
        self.stop_collector()
        if self.provider:
            self.provider.kill()
            self.provider.wait()
        failed = kind is not None and getattr(value, "code", 1) != 0
        if failed and os.path.exists(self.collector_log):
            for line in open(self.collector_log, encoding="utf-8", errors="replace"):
                print("# collector:", line.rstrip())
        if os.environ.get("NS_KEEP"):
            print("# kept:", self.directory)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    # --- provider

    def start_provider(self):
        reader, writer = os.pipe()
        self.provider = subprocess.Popen(
            [sys.executable, os.path.join(ROOT, "tests/lib/provider.py"), "--cert",
             self.authority.certificate, "--key", self.authority.key, "--log", self.provider_log,
             "--ready-fd", str(writer), *self.provider_options], pass_fds=[writer])
        os.close(writer)
        with os.fdopen(reader) as ready:
            if ready.readline() != "ready\n":
                raise RuntimeError("the replay provider did not start")

    def provider_events(self):
        """All that the provider logged, oldest first."""
        if not os.path.exists(self.provider_log):
            return []
        return [json.loads(line) for line in open(self.provider_log, encoding="utf-8")]

    def requests(self):
        """What reached the provider whole, oldest first, without the harmless OPTIONS requests."""
        return [e for e in self.provider_events()
                if e["event"] == "request" and e["method"] != "OPTIONS"]

    def log_text(self):
        return open(self.provider_log, encoding="utf-8").read()

    # --- collector

    def start_collector(self, *arguments, database_url=None, environment=None):
        """Starts nullspendd and waits for its `ready` line."""
        command = [program("nullspendd"), "--foreground", "--state-dir", self.state, "--listen",
                   self.endpoint, "--http", "off", *arguments]
        if database_url:
            command += ["--database-url", database_url]
        with open(self.collector_log, "ab") as log:
            log.write(b"--- start\n")
            log.flush()
            mark = log.tell()
            self.collector = subprocess.Popen(command, stderr=log, stdout=log,
                                              env=dict(os.environ, **(environment or {})))
        self.await_log("ready", mark)

    def await_log(self, word, mark=0, deadline_s=120):
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            with open(self.collector_log, "rb") as log:
                log.seek(mark)
                lines = log.read().decode("utf-8", "replace").splitlines()
            if any(word in line.split() for line in lines):
                return
            if self.collector.poll() is not None:
                raise RuntimeError(f"nullspendd exited with {self.collector.returncode}:\n"
                                   + "\n".join(lines))
            time.sleep(0.01)
        raise RuntimeError(f"nullspendd never said {word!r}")

    def stop_collector(self, how=signal.SIGTERM):
        if self.collector and self.collector.poll() is None:
            self.collector.send_signal(how)
            self.collector.wait()
        code = self.collector.returncode if self.collector else None
        self.collector = None
        return code

    # --- programs

    def environment(self, **more):
        """Of programs that talk to the provider, not governed."""
        environment = dict(
            os.environ, SSL_CERT_FILE=self.authority.ca, CURL_CA_BUNDLE=self.authority.ca,
            REQUESTS_CA_BUNDLE=self.authority.ca, AWS_CA_BUNDLE=self.authority.ca,
            NODE_EXTRA_CA_CERTS=self.authority.ca, GEMINI_API_KEY="AIza-test-key",
            OPENAI_API_KEY="sk-test-openai-0000000000001234", ANTHROPIC_API_KEY="sk-ant-test-5678",
            NULLSPEND_COLLECTOR=self.endpoint, NULLSPEND_SPOOL_DIR=self.spool,
            XDG_STATE_HOME=os.path.join(self.directory, "xdg-state"),
            XDG_RUNTIME_DIR=os.path.join(self.directory, "xdg-run"), HOME=self.directory)
        os.makedirs(environment["XDG_RUNTIME_DIR"], mode=0o700, exist_ok=True)
        environment.update({name: str(value) for name, value in more.items()})
        return environment

    def governed(self, **more):
        """The same, with the library preloaded."""
        return self.environment(
            **{**preload_with_sanitizer(program("libnullspend.so")), **more})

    def run(self, command, customer=None, timeout=120, **more):
        if customer:
            more["NULLSPEND_CUSTOMER"] = customer
        return subprocess.run(command, env=self.governed(**more), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=timeout, check=False)

    def cli(self, *arguments, check=True, **more):
        done = subprocess.run([program("nullspend"), *arguments], env=self.environment(**more),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=120, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"nullspend {' '.join(arguments)}: {done.returncode}\n"
                               f"{done.stdout}{done.stderr}")
        return done

    def json(self, *arguments):
        return json.loads(self.cli(*arguments, "--json").stdout)

    def sql(self, query):
        """Rows of a query as lists of strings, after everything acknowledged is in Postgres."""
        self.sync()
        done = self.cli("psql", "-XAtq", "-F", "\x1f", "-v", "ON_ERROR_STOP=1", "-c", query)
        return [line.split("\x1f") for line in done.stdout.splitlines()]

    def sync(self):
        """Waits until Postgres has everything that the collector acknowledged."""
        self.query("sync")

    def query(self, what):
        """Asks the collector, over its own protocol; returns what the answer's JSON says."""
        with messages.Client(self.endpoint) as client:
            client.hello()
            failed, answer = client.query(what)
        if failed:
            raise RuntimeError(f"query {what}: {answer}")
        return answer

    def await_query(self, what, holds, deadline_s=60):
        """Asks until holds(answer)."""
        end = time.monotonic() + deadline_s
        while not holds(self.query(what)):
            if time.monotonic() > end:
                raise RuntimeError(f"{what} never came to hold: {self.query(what)}")
            time.sleep(0.01)

    def await_sql(self, query, value, deadline_s=60):
        """Asks Postgres until the first column of the first row is this text."""
        end = time.monotonic() + deadline_s
        while self.sql(query)[0][0] != value:
            if time.monotonic() > end:
                raise RuntimeError(f"{query}: never {value}, but {self.sql(query)}")
            time.sleep(0.05)

    def governed_curl(self, **more):
        """The environment of a governed curl. Debian's hangs in setlocale with libasan preloaded,
        our library or not, so the library comes without a sanitizer."""
        return self.governed(**{**preload(os.path.join(ROOT, "build/libnullspend.so")), **more})

    def curl(self, *arguments, timeout=120, customer=None, **more):
        if customer:
            more["NULLSPEND_CUSTOMER"] = customer
        return subprocess.run(["curl", "-sS", "--max-time", "60", *arguments],
                              env=self.governed_curl(**more), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=timeout, check=False)


_SHARED = []


def shared():
    """One laboratory with a collector, for all tests of a script; end_shared ends it."""
    if not _SHARED:
        _SHARED.append(Lab().__enter__())
        _SHARED[0].start_collector()
    return _SHARED[0]


def end_shared():
    while _SHARED:
        _SHARED.pop().__exit__(None, None, None)
