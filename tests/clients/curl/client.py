# SPDX-License-Identifier: Apache-2.0
"""The curl program, driven line by line as tests/lib/matrix.py says.

usage: client.py NAME    (NAME as in CLIENTS)

The fresh ones run curl once for each line. A kept one runs it once for all: each of its transfers
uploads from a pipe with a name, which curl opens as that transfer begins, and so they use one
connection and wait for their lines.
"""
import json
import os
import subprocess
import sys
import tempfile

URL = "https://api.openai.com/v1/chat/completions"
OPENAI = {"model": "gpt-4o-mini", "max_tokens": 100,
          "messages": [{"role": "user", "content": "What is a margin?"}]}
STREAM = {**OPENAI, "stream": True, "stream_options": {"include_usage": True}}
TRANSFERS = 8  # more than there will be lines
COMMON = ["-sS", "-H", "Content-Type: application/json", "-H",
          "X-Replay: " + os.environ.get("REPLAY", "")]


def told(status, text, error):
    if status == 0:
        return {"error": "curl", "status": None, "message": error}
    if status >= 400:
        return {"error": "status", "status": status, "message": text}
    return {"ok": text}


def fresh(options, body):
    def call():
        done = subprocess.run(["curl", *COMMON, *options, "-w", "\n%{http_code}", "-d",
                               json.dumps(body), URL], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=False)
        text, _, status = done.stdout.rpartition("\n")
        return told(int(status or 0), text, done.stderr)
    return call, lambda: None


class Kept:
    """One curl with a transfer for each line."""

    def __init__(self, options, body):
        self.directory = tempfile.TemporaryDirectory()
        self.body = json.dumps(body)
        self.made = 0
        self.options = options
        self.process = None

    def path(self, kind, number):
        return os.path.join(self.directory.name, f"{kind}{number}")

    def start(self):
        arguments = []
        for number in range(TRANSFERS):
            os.mkfifo(self.path("in", number))
            arguments += (["--next"] if number else []) + [
                *COMMON, *self.options, "-X", "POST", "-T", self.path("in", number), "-o",
                self.path("out", number), "-w", "%{stderr}%{http_code}\n", URL]
        self.process = subprocess.Popen(["curl", *arguments], stdin=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)

    def call(self):
        if self.process is None:
            self.start()
        with open(self.path("in", self.made), "w", encoding="utf-8") as pipe:
            pipe.write(self.body)
        line = self.process.stderr.readline().strip()
        text = ""
        if os.path.exists(self.path("out", self.made)):
            with open(self.path("out", self.made), encoding="utf-8") as file:
                text = file.read()
        self.made += 1
        return told(int(line) if line.isdigit() else 0, text, line)

    def end(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


def kept(options, body):
    process = Kept(options, body)
    return process.call, process.end


HTTP1, HTTP2 = ["--http1.1"], ["--http2"]
CLIENTS = {
    "curl": lambda: fresh(HTTP1, OPENAI),
    "curl-stream": lambda: fresh([*HTTP1, "-N"], STREAM),
    "curl-h2": lambda: fresh(HTTP2, OPENAI),
    "curl-h2-stream": lambda: fresh([*HTTP2, "-N"], STREAM),
    # Of an upload whose length it does not know, curl waits for the server's 100, and sends chunks.
    "curl-kept": lambda: kept(HTTP1, OPENAI),
    "curl-kept-stream": lambda: kept([*HTTP1, "-N"], STREAM),
    "curl-kept-no-expect": lambda: kept([*HTTP1, "-H", "Expect:"], OPENAI),
    "curl-kept-h2": lambda: kept(HTTP2, OPENAI),
    "curl-kept-h2-stream": lambda: kept([*HTTP2, "-N"], STREAM),
}


def main():
    call, end = CLIENTS[sys.argv[1]]()
    for _ in sys.stdin:
        print(json.dumps(call()), flush=True)
    end()


if __name__ == "__main__":
    main()
