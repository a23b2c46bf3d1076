# SPDX-License-Identifier: Apache-2.0
"""The providers' official Python SDKs."""
import json

from client import ANTHROPIC, MESSAGES, OPENAI, QUESTION, REPLAY, client, run_trio, run_uvloop, \
    with_runner

GEMINI = {"model": "gemini-2.5-flash", "contents": QUESTION, "config": {"max_output_tokens": 100}}
MISTRAL = {"model": "mistral-small-2603", "max_tokens": 100, "messages": MESSAGES}
OLLAMA = {"model": "gpt-oss:120b", "options": {"num_predict": 100}, "messages": MESSAGES}
COHERE = {"model": "command-a-03-2025", "max_tokens": 100, "messages": MESSAGES}
BEDROCK_MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"


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
                                        input=QUESTION).output_text


@client
def openai_responses_stream():
    import openai
    sdk = openai.OpenAI(default_headers=REPLAY)

    def call():
        stream = sdk.responses.create(model="gpt-4o-mini", max_output_tokens=100,
                                      input=QUESTION, stream=True)
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


@with_runner(run_uvloop)
def openai_async_uvloop():
    return openai_async_chat()


@with_runner(run_trio)
def openai_async_trio():
    return openai_async_chat()


@client
def openai_h2():
    import openai
    sdk = openai.OpenAI(default_headers=REPLAY,
                        http_client=openai.DefaultHttpxClient(http2=True))
    return lambda: sdk.chat.completions.create(**OPENAI).choices[0].message.content


@client
def openai_async_h2_stream():
    import openai
    sdk = openai.AsyncOpenAI(default_headers=REPLAY,
                             http_client=openai.DefaultAsyncHttpxClient(http2=True))

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
def anthropic_async_messages():
    import anthropic
    sdk = anthropic.AsyncAnthropic(default_headers=REPLAY)

    async def call():
        return (await sdk.messages.create(**ANTHROPIC)).content[0].text
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
    return lambda: sdk.models.generate_content(**GEMINI).text


@client
def gemini_generate_stream():
    sdk = genai()
    return lambda: "".join(chunk.text for chunk in sdk.models.generate_content_stream(**GEMINI))


@client
def gemini_async_generate():
    sdk = genai()

    async def call():
        return (await sdk.aio.models.generate_content(**GEMINI)).text
    return call


@client
def gemini_async_generate_stream():
    sdk = genai()

    async def call():
        stream = await sdk.aio.models.generate_content_stream(**GEMINI)
        return "".join([chunk.text async for chunk in stream])
    return call


# --- Mistral


def mistral():
    from mistralai.client import Mistral
    return Mistral(api_key="test-mistral-key")


@client
def mistral_chat():
    sdk = mistral()
    return lambda: sdk.chat.complete(**MISTRAL, http_headers=REPLAY).choices[0].message.content


@client
def mistral_chat_stream():
    sdk = mistral()

    def call():
        with sdk.chat.stream(**MISTRAL, http_headers=REPLAY) as stream:
            return "".join(event.data.choices[0].delta.content or "" for event in stream)
    return call


@client
def mistral_async_chat():
    sdk = mistral()

    async def call():
        answer = await sdk.chat.complete_async(**MISTRAL, http_headers=REPLAY)
        return answer.choices[0].message.content
    return call


@client
def mistral_async_chat_stream():
    sdk = mistral()

    async def call():
        stream = await sdk.chat.stream_async(**MISTRAL, http_headers=REPLAY)
        async with stream:
            return "".join([event.data.choices[0].delta.content or "" async for event in stream])
    return call


# --- Cohere


@client
def cohere_chat():
    import cohere
    sdk = cohere.ClientV2("test-cohere-key")
    options = {"additional_headers": REPLAY}
    return lambda: sdk.chat(**COHERE, request_options=options).message.content[0].text


@client
def cohere_chat_stream():
    import cohere
    sdk = cohere.ClientV2("test-cohere-key")
    options = {"additional_headers": REPLAY}
    return lambda: "".join(event.delta.message.content.text
                           for event in sdk.chat_stream(**COHERE, request_options=options)
                           if event.type == "content-delta")


# --- Ollama


@client
def ollama_chat():
    import ollama
    sdk = ollama.Client(headers=REPLAY)
    return lambda: sdk.chat(**OLLAMA).message.content


@client
def ollama_chat_stream():
    import ollama
    sdk = ollama.Client(headers=REPLAY)
    return lambda: "".join(part.message.content for part in sdk.chat(**OLLAMA, stream=True))


@client
def ollama_async_chat():
    import ollama
    sdk = ollama.AsyncClient(headers=REPLAY)

    async def call():
        return (await sdk.chat(**OLLAMA)).message.content
    return call


@client
def ollama_async_chat_stream():
    import ollama
    sdk = ollama.AsyncClient(headers=REPLAY)

    async def call():
        stream = await sdk.chat(**OLLAMA, stream=True)
        return "".join([part.message.content async for part in stream])
    return call


# --- Bedrock


def bedrock():
    import boto3
    sdk = boto3.client("bedrock-runtime", region_name="us-east-1",
                       aws_access_key_id="AKIATESTTESTTESTTEST", aws_secret_access_key="secret")
    sdk.meta.events.register("before-sign.bedrock-runtime.*", lambda request, **_: [
        request.headers.add_header(name, value) for name, value in REPLAY.items()])
    return sdk


def converse():
    return {"modelId": BEDROCK_MODEL, "inferenceConfig": {"maxTokens": 100},
            "messages": [{"role": "user", "content": [{"text": QUESTION}]}]}


def invoke():
    return {"modelId": BEDROCK_MODEL, "body": json.dumps({
        "anthropic_version": "bedrock-2023-05-31", "max_tokens": 100, "messages": MESSAGES})}


@client
def bedrock_converse():
    sdk = bedrock()
    return lambda: sdk.converse(**converse())["output"]["message"]["content"][0]["text"]


@client
def bedrock_converse_stream():
    sdk = bedrock()
    return lambda: "".join(event["contentBlockDelta"]["delta"]["text"]
                           for event in sdk.converse_stream(**converse())["stream"]
                           if "contentBlockDelta" in event)


@client
def bedrock_invoke():
    sdk = bedrock()
    return lambda: json.load(sdk.invoke_model(**invoke())["body"])["content"][0]["text"]


@client
def bedrock_invoke_stream():
    sdk = bedrock()

    def call():
        events = [json.loads(event["chunk"]["bytes"]) for event in
                  sdk.invoke_model_with_response_stream(**invoke())["body"]]
        return "".join(event["delta"]["text"] for event in events
                       if event["type"] == "content_block_delta")
    return call
