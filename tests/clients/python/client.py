# SPDX-License-Identifier: Apache-2.0
"""Unmodified Python clients of the providers, driven line by line as tests/lib/matrix.py says.

usage: client.py NAME          (NAME of a function in clients_*.py, with dashes; --list prints them)
"""
import asyncio
import importlib
import json
import os
import sys

CLIENTS = {}
REPLAY = {"X-Replay": os.environ.get("REPLAY", "tokens=1000/100")}
QUESTION = "What is a margin?"
MESSAGES = [{"role": "user", "content": QUESTION}]
OPENAI = {"model": "gpt-4o-mini", "max_tokens": 100, "messages": MESSAGES}
ANTHROPIC = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": MESSAGES}


def client(function):
    """Registers what returns a function that makes a call: plain, or of asyncio."""
    CLIENTS[function.__name__.replace("_", "-")] = (function, run_asyncio)
    return function


def with_runner(runner):
    """The same, for what runs its coroutines otherwise."""
    def register(function):
        CLIENTS[function.__name__.replace("_", "-")] = (function, runner)
        return function
    return register


class HttpError(Exception):
    """A status that is an error, for clients that raise none."""

    def __init__(self, status, body):
        super().__init__(body)
        self.status_code = status


def checked(status, body):
    if status >= 400:
        raise HttpError(status, body)
    return body


def status_of(error):
    """Where the SDKs keep it."""
    answer = getattr(error, "response", None)
    if isinstance(answer, dict):  # botocore
        return answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    for place in (error, answer):
        for name in ("status_code", "code", "http_status"):
            if isinstance(getattr(place, name, None), int):
                return getattr(place, name)
    return None


def describe(error):
    kind = type(error)
    return {"error": "HttpError" if kind is HttpError else f"{kind.__module__}.{kind.__name__}",
            "status": status_of(error), "message": str(error)}


# Standard output is for the protocol alone: some packages print there.
OUTPUT = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)


def say(result):
    print(json.dumps(result), file=OUTPUT, flush=True)


def run_asyncio(make, loop=None):
    """Calls that are coroutines run in one loop, which stands still between them."""
    call = make()
    loop = loop or asyncio.new_event_loop()
    for _ in sys.stdin:
        try:
            answer = call()
            if asyncio.iscoroutine(answer):
                answer = loop.run_until_complete(answer)
            say({"ok": answer})
        except Exception as error:  # pylint: disable=broad-except
            say(describe(error))


def run_uvloop(make):
    import uvloop
    run_asyncio(make, uvloop.new_event_loop())


def run_trio(make):
    """In one loop that runs on between calls."""
    import trio

    async def serve():
        call = make()
        while await trio.to_thread.run_sync(sys.stdin.readline):
            try:
                say({"ok": await call()})
            except Exception as error:  # pylint: disable=broad-except
                say(describe(error))
    trio.run(serve)


def main():
    # As a script it is __main__; what the others import must be the same module.
    sys.modules["client"] = sys.modules["__main__"]
    for name in ("clients_http", "clients_sdk", "clients_framework"):
        importlib.import_module(name)
    if sys.argv[1] == "--list":
        print("\n".join(CLIENTS), file=OUTPUT, flush=True)
        return
    make, runner = CLIENTS[sys.argv[1]]
    runner(make)


if __name__ == "__main__":
    main()
