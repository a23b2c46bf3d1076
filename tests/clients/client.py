# SPDX-License-Identifier: Apache-2.0
"""Unmodified clients of the providers, driven line by line.

usage: client.py NAME          (NAME as in CLIENTS; --list prints them)

For each line on standard input makes one call, on the same client and so, where the client keeps
connections, on the same connection; prints one JSON object a call: {"ok": text} or {"error":
"module.Type", "status": N, "code": …, "message": …}.
"""
import asyncio
import json
import sys

REPLAY = {"X-Replay": "tokens=1000/100"}
MESSAGES = [{"role": "user", "content": "What is a margin?"}]
OPENAI = {"model": "gpt-4o-mini", "max_tokens": 100, "messages": MESSAGES}
ANTHROPIC = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": MESSAGES}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "What is a margin?"}]}],
          "generationConfig": {"maxOutputTokens": 100}}
OPENAI_URL = "https://api.openai.com/v1/chat/completions"
GEMINI_URL = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:"
CLIENTS = {}


def client(function):
    CLIENTS[function.__name__.replace("_", "-")] = function
    return function


# --- OpenAI


@client
def openai_chat():
    import openai
    sdk = openai.OpenAI(default_headers=REPLAY)
    return lambda: sdk.chat.completions.create(**OPENAI).choices[0].message.content


@client
def openai_chat_stream():
    import openai
    sdk = openai.OpenAI(default_headers=REPLAY)

    def call():
        stream = sdk.chat.completions.create(**OPENAI, stream=True,
                                             stream_options={"include_usage": True})
        return "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
    return call


@client
def openai_responses():
    import openai
    sdk = openai.OpenAI(default_headers=REPLAY)
    return lambda: sdk.responses.create(model="gpt-4o-mini", max_output_tokens=100,
                                        input="What is a margin?").output_text


@client
def openai_responses_stream():
    import openai
    sdk = openai.OpenAI(default_headers=REPLAY)

    def call():
        stream = sdk.responses.create(model="gpt-4o-mini", max_output_tokens=100,
                                      input="What is a margin?", stream=True)
        return "".join(e.delta for e in stream if e.type == "response.output_text.delta")
    return call


@client
def openai_embeddings():
    import openai
    sdk = openai.OpenAI(default_headers=REPLAY)
    return lambda: str(sdk.embeddings.create(model="text-embedding-3-small", input="margin",
                                             encoding_format="float").data[0].embedding)


@client
def openai_async_chat():
    import openai
    sdk = openai.AsyncOpenAI(default_headers=REPLAY)

    async def call():
        return (await sdk.chat.completions.create(**OPENAI)).choices[0].message.content
    return call


@client
def openai_async_chat_stream():
    import openai
    sdk = openai.AsyncOpenAI(default_headers=REPLAY)

    async def call():
        stream = await sdk.chat.completions.create(**OPENAI, stream=True,
                                                   stream_options={"include_usage": True})
        return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
    return call


# --- Anthropic


@client
def anthropic_messages():
    import anthropic
    sdk = anthropic.Anthropic(default_headers=REPLAY)
    return lambda: sdk.messages.create(**ANTHROPIC).content[0].text


@client
def anthropic_messages_stream():
    import anthropic
    sdk = anthropic.Anthropic(default_headers=REPLAY)

    def call():
        with sdk.messages.stream(**ANTHROPIC) as stream:
            return "".join(stream.text_stream)
    return call


@client
def anthropic_async_messages_stream():
    import anthropic
    sdk = anthropic.AsyncAnthropic(default_headers=REPLAY)

    async def call():
        async with sdk.messages.stream(**ANTHROPIC) as stream:
            return "".join([text async for text in stream.text_stream])
    return call


# --- Gemini


def genai():
    import google.genai
    return google.genai.Client(api_key="AIza-test-key",
                               http_options=google.genai.types.HttpOptions(headers=REPLAY))


@client
def gemini_generate():
    sdk = genai()
    return lambda: sdk.models.generate_content(
        model="gemini-2.5-flash", contents="What is a margin?",
        config={"max_output_tokens": 100}).text


@client
def gemini_generate_stream():
    sdk = genai()
    return lambda: "".join(chunk.text for chunk in sdk.models.generate_content_stream(
        model="gemini-2.5-flash", contents="What is a margin?",
        config={"max_output_tokens": 100}))


# --- plain HTTP clients


class HttpError(Exception):
    """A status that is an error, for clients that raise none."""

    def __init__(self, status, body):
        super().__init__(body)
        self.status_code = status


def checked(status, body):
    if status >= 400:
        raise HttpError(status, body)
    return body


@client
def requests_openai():
    import requests
    session = requests.Session()

    def call():
        answer = session.post(OPENAI_URL, json=OPENAI,
                              headers={**REPLAY, "Authorization": "Bearer sk-test-requests-1234"})
        return checked(answer.status_code, answer.text)
    return call


@client
def requests_gemini_array():
    import requests
    session = requests.Session()

    def call():
        answer = session.post(GEMINI_URL + "streamGenerateContent", json=GEMINI,
                              headers={**REPLAY, "x-goog-api-key": "AIza-test-key"})
        return checked(answer.status_code, answer.text)
    return call


@client
def httpx_openai():
    import httpx
    sdk = httpx.Client()

    def call():
        answer = sdk.post(OPENAI_URL, json=OPENAI, headers=REPLAY)
        return checked(answer.status_code, answer.text)
    return call


@client
def httpclient_openai():
    import http.client
    connection = http.client.HTTPSConnection("api.openai.com")

    def call():
        connection.request("POST", "/v1/chat/completions", json.dumps(OPENAI),
                           {**REPLAY, "Content-Type": "application/json"})
        answer = connection.getresponse()
        return checked(answer.status, answer.read().decode())
    return call


@client
def aiohttp_openai():
    import ssl
    import aiohttp
    context = ssl.create_default_context()
    state = {}

    async def call():
        if "session" not in state:
            state["session"] = aiohttp.ClientSession()
        async with state["session"].post(OPENAI_URL, json=OPENAI, headers=REPLAY,
                                         ssl=context) as answer:
            return checked(answer.status, await answer.text())
    return call


def describe(error):
    status = getattr(error, "status_code", None) or getattr(error, "code", None)
    body = getattr(error, "body", None)
    return {"error": f"{type(error).__module__}.{type(error).__name__}",
            "status": status if isinstance(status, int) else None,
            "message": str(error), "body": body if isinstance(body, dict) else None}


def main():
    if sys.argv[1] == "--list":
        print("\n".join(CLIENTS))
        return
    call = CLIENTS[sys.argv[1]]()
    loop = asyncio.new_event_loop()
    for _ in sys.stdin:
        try:
            answer = call()
            if asyncio.iscoroutine(answer):
                answer = loop.run_until_complete(answer)
            result = {"ok": answer}
        except Exception as error:  # pylint: disable=broad-except
            result = describe(error)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
