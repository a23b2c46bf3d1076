# SPDX-License-Identifier: Apache-2.0
"""Reads streams with the official package of OpenAI, in turns from a host that is no provider and
from OpenAI's, and prints the time of the processor that each took the process, in ns: as many
calls as there were, all as dear as the median. Each call has a connection of its own, made within
it: what lies where in memory, which makes more of a difference than is looked for, is another for
each.

usage: stream_client.py PORT CALLS HTTP2 (0 or 1)
"""
import socket
import statistics
import sys
import time

import openai

PORT, CALLS, HTTP2 = (int(argument) for argument in sys.argv[1:])
WARM_UP = 2
HOSTS = "api.example.com", "api.openai.com"
LOOK_UP = socket.getaddrinfo


def on_loopback(host, *more, **named):
    name = host.decode() if isinstance(host, bytes) else host
    return LOOK_UP("127.0.0.1" if name in HOSTS else host, *more, **named)


socket.getaddrinfo = on_loopback


def call(host):
    sdk = openai.OpenAI(api_key="sk-bench-0001", base_url=f"https://{host}:{PORT}/v1",
                        max_retries=0,
                        http_client=openai.DefaultHttpxClient(verify=False, http2=HTTP2 == 1))
    before = time.process_time_ns()
    stream = sdk.chat.completions.create(
        model="gpt-4o-mini", stream=True, stream_options={"include_usage": True},
        messages=[{"role": "user", "content": "What is a margin? Take your time."}])
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    used = time.process_time_ns() - before
    if not text:
        sys.exit("no answer")
    sdk.close()
    return used


for _ in range(WARM_UP):
    for of_host in HOSTS:
        call(of_host)
used_ns = [], []
for turn in range(CALLS * 2):
    which = (turn + turn // 2) % 2
    used_ns[which].append(call(HOSTS[which]))
print(*(int(statistics.median(calls) * CALLS) for calls in used_ns), sep="\n")
