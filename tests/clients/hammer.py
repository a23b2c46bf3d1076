# SPDX-License-Identifier: Apache-2.0
"""Many threads that call until told to stop; prints what each call came to.

usage: hammer.py THREADS CALLS FIRST

Each thread makes CALLS calls (0: until standard input ends) on kept-alive connections of its own.
Call number i of the process has FIRST + i input tokens, so that each can be told from every other.
One line a call on standard output: "N STATUS REASON" (status 0: the connection failed; the reason
is X-NullSpend-Reason or the exception).
"""
import http.client
import itertools
import json
import ssl
import sys
import threading

THREADS, CALLS, FIRST = (int(word) for word in sys.argv[1:4])
BODY = json.dumps({"model": "gpt-4o-mini", "max_tokens": 100,
                   "messages": [{"role": "user", "content": "word " * 50}]})
CONTEXT = ssl.create_default_context()
numbers = itertools.count(FIRST)
stop = threading.Event()
lock = threading.Lock()


def say(line):
    with lock:
        print(line, flush=True)


def call(connection, number):
    try:
        connection.request("POST", "/v1/chat/completions", BODY,
                           {"Content-Type": "application/json", "Authorization": "Bearer sk-hammer",
                            "X-Replay": f"tokens={number}/100"})
        answer = connection.getresponse()
        answer.read()
        say(f"{number} {answer.status} {answer.headers.get('X-NullSpend-Reason', '-')}")
        return True
    except (OSError, http.client.HTTPException) as error:
        say(f"{number} 0 {type(error).__name__}:{str(error).replace(' ', '_')}")
        return False


def work():
    connection = None
    made = 0
    while (CALLS == 0 or made < CALLS) and not stop.is_set():
        if connection is None:
            connection = http.client.HTTPSConnection("api.openai.com", context=CONTEXT, timeout=60)
        if not call(connection, next(numbers)):
            connection.close()
            connection = None
        made += 1
    if connection is not None:
        connection.close()


def main():
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    if CALLS == 0:
        sys.stdin.read()
        stop.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
