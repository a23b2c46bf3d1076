# SPDX-License-Identifier: Apache-2.0
"""Python's HTTP clients, called as programs call them that use no SDK."""
import json

from client import OPENAI, QUESTION, REPLAY, checked, client, run_trio, run_uvloop, with_runner

URL = "https://api.openai.com/v1/chat/completions"
GEMINI_URL = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:"
GEMINI = {"contents": [{"role": "user", "parts": [{"text": QUESTION}]}],
          "generationConfig": {"maxOutputTokens": 100}}
STREAMED = {**OPENAI, "stream": True, "stream_options": {"include_usage": True}}
HEADERS = {**REPLAY, "Authorization": "Bearer sk-test-http-1234"}


@client
def http_client():
    import http.client
    connection = http.client.HTTPSConnection("api.openai.com")

    def call():
        connection.request("POST", "/v1/chat/completions", json.dumps(OPENAI),
                           {**HEADERS, "Content-Type": "application/json"})
        answer = connection.getresponse()
        return checked(answer.status, answer.read().decode())
    return call


@client
def requests():
    import requests as library
    session = library.Session()

    def call():
        answer = session.post(URL, json=OPENAI, headers=HEADERS)
        return checked(answer.status_code, answer.text)
    return call


@client
def requests_stream():
    import requests as library
    session = library.Session()

    def call():
        with session.post(URL, json=STREAMED, headers=HEADERS, stream=True) as answer:
            return checked(answer.status_code, b"".join(answer.iter_content(64)).decode())
    return call


@client
def requests_gemini_array():
    import requests as library
    session = library.Session()

    def call():
        answer = session.post(GEMINI_URL + "streamGenerateContent", json=GEMINI,
                              headers={**REPLAY, "x-goog-api-key": "AIza-test-key"})
        return checked(answer.status_code, answer.text)
    return call


# --- httpx and httpx2, which are called alike


def sync_call(sdk):
    def call():
        answer = sdk.post(URL, json=OPENAI, headers=HEADERS)
        return checked(answer.status_code, answer.text)
    return call


def sync_stream(sdk):
    def call():
        with sdk.stream("POST", URL, json=STREAMED, headers=HEADERS) as answer:
            return checked(answer.status_code, "".join(answer.iter_text()))
    return call


def async_call(make):
    """make: returns the client; called when a loop runs."""
    kept = []

    async def call():
        if not kept:
            kept.append(make())
        answer = await kept[0].post(URL, json=OPENAI, headers=HEADERS)
        return checked(answer.status_code, answer.text)
    return call


def async_stream(make):
    kept = []

    async def call():
        if not kept:
            kept.append(make())
        async with kept[0].stream("POST", URL, json=STREAMED, headers=HEADERS) as answer:
            return checked(answer.status_code, "".join([text async for text in answer.aiter_text()]))
    return call


@client
def httpx():
    import httpx as library
    return sync_call(library.Client())


@client
def httpx_stream():
    import httpx as library
    return sync_stream(library.Client())


@client
def httpx_h2():
    import httpx as library
    return sync_call(library.Client(http2=True))


@client
def httpx_h2_stream():
    import httpx as library
    return sync_stream(library.Client(http2=True))


@client
def httpx_async():
    import httpx as library
    return async_call(library.AsyncClient)


@client
def httpx_async_stream():
    import httpx as library
    return async_stream(library.AsyncClient)


@client
def httpx_async_h2():
    import httpx as library
    return async_call(lambda: library.AsyncClient(http2=True))


@client
def httpx_async_h2_stream():
    import httpx as library
    return async_stream(lambda: library.AsyncClient(http2=True))


@with_runner(run_uvloop)
def httpx_uvloop():
    import httpx as library
    return async_call(library.AsyncClient)


@with_runner(run_uvloop)
def httpx_uvloop_h2():
    import httpx as library
    return async_call(lambda: library.AsyncClient(http2=True))


@with_runner(run_trio)
def httpx_trio():
    import httpx as library
    return async_call(library.AsyncClient)


@with_runner(run_trio)
def httpx_trio_h2_stream():
    import httpx as library
    return async_stream(lambda: library.AsyncClient(http2=True))


@client
def httpx2():
    import httpx2 as library
    return sync_call(library.Client())


@client
def httpx2_h2():
    import httpx2 as library
    return sync_call(library.Client(http2=True))


@client
def httpx2_async_stream():
    import httpx2 as library
    return async_stream(library.AsyncClient)


@client
def httpx2_async_h2_stream():
    import httpx2 as library
    return async_stream(lambda: library.AsyncClient(http2=True))


@with_runner(run_trio)
def httpx2_trio():
    import httpx2 as library
    return async_call(library.AsyncClient)


# --- aiohttp


def aiohttp_call(body):
    import ssl
    import aiohttp as library
    context = ssl.create_default_context()
    kept = []

    async def call():
        if not kept:
            kept.append(library.ClientSession())
        async with kept[0].post(URL, json=body, headers=HEADERS, ssl=context) as answer:
            return checked(answer.status, await answer.text())
    return call


@client
def aiohttp():
    return aiohttp_call(OPENAI)


@client
def aiohttp_stream():
    return aiohttp_call(STREAMED)


@with_runner(run_uvloop)
def aiohttp_uvloop():
    return aiohttp_call(OPENAI)


@with_runner(run_uvloop)
def aiohttp_uvloop_stream():
    return aiohttp_call(STREAMED)
