# SPDX-License-Identifier: Apache-2.0
"""Reads streams with the official package of OpenAI and prints the time of the processor that this
took the process, in ns.

usage: stream_client.py PORT CALLS HTTP2 (0 or 1)
"""
import socket
import sys
import time

import openai

PORT, CALLS, HTTP2 = (int(argument) for argument in sys.argv[1:])
WARM_UP = 2
HOST = "api.openai.com"
LOOK_UP = socket.getaddrinfo


def on_loopback(host, *more, **named):
    return LOOK_UP("127.0.0.1" if host in (HOST, HOST.encode()) else host, *more, **named)


socket.getaddrinfo = on_loopback
SDK = openai.OpenAI(api_key="sk-bench-0001", base_url=f"https://{HOST}:{PORT}/v1", max_retries=0,
                    http_client=openai.DefaultHttpxClient(verify=False, http2=HTTP2 == 1))


def call():
    stream = SDK.chat.completions.create(
        model="gpt-4o-mini", stream=True, stream_options={"include_usage": True},
        messages=[{"role": "user", "content": "What is a margin? Take your time."}])
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    if not text:
        sys.exit("no answer")


for _ in range(WARM_UP):
    call()
before = time.process_time_ns()
for _ in range(CALLS):
    call()
print(time.process_time_ns() - before)
