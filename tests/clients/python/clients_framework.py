# SPDX-License-Identifier: Apache-2.0
"""Frameworks, which call the providers with SDKs or HTTP clients of their choice."""
from client import MESSAGES, QUESTION, REPLAY, client

# --- LiteLLM

LITELLM = {"messages": MESSAGES, "max_tokens": 100, "extra_headers": REPLAY}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
MODELS = {"openai": "openai/gpt-4o-mini", "anthropic": "anthropic/claude-sonnet-4-5",
          "gemini": "gemini/gemini-2.5-flash"}


def litellm_call(provider):
    import litellm

    def call():
        answer = litellm.completion(model=MODELS[provider], **LITELLM)
        return answer.choices[0].message.content
    return call


def litellm_async(provider):
    import litellm

    async def call():
        answer = await litellm.acompletion(model=MODELS[provider], **LITELLM)
        return answer.choices[0].message.content
    return call


def litellm_stream(provider):
    import litellm

    def call():
        stream = litellm.completion(model=MODELS[provider], **LITELLM, **USAGE)
        return "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
    return call


def litellm_async_stream(provider):
    import litellm

    async def call():
        stream = await litellm.acompletion(model=MODELS[provider], **LITELLM, **USAGE)
        return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
    return call


@client
def litellm_openai():
    return litellm_call("openai")


@client
def litellm_openai_stream():
    return litellm_stream("openai")


@client
def litellm_openai_async():
    return litellm_async("openai")


@client
def litellm_anthropic():
    return litellm_call("anthropic")


@client
def litellm_anthropic_async_stream():
    return litellm_async_stream("anthropic")


@client
def litellm_gemini():
    return litellm_call("gemini")


@client
def litellm_gemini_async():
    return litellm_async("gemini")


# --- LangChain


def langchain_openai():
    from langchain_openai import ChatOpenAI
    return ChatOpenAI(model="gpt-4o-mini", max_tokens=100, default_headers=REPLAY,
                      stream_usage=True)


def langchain_anthropic():
    from langchain_anthropic import ChatAnthropic
    return ChatAnthropic(model="claude-sonnet-4-5", max_tokens=100, default_headers=REPLAY)


def langchain_google():
    from langchain_google_genai import ChatGoogleGenerativeAI
    return ChatGoogleGenerativeAI(model="gemini-2.5-flash", max_output_tokens=100,
                                  google_api_key="AIza-test-key", additional_headers=REPLAY)


def langchain_google_rest():
    """Before version 4 it speaks gRPC, which has a TLS of its own, unless told so."""
    from langchain_google_genai import ChatGoogleGenerativeAI
    return ChatGoogleGenerativeAI(model="gemini-2.5-flash", max_output_tokens=100, transport="rest",
                                  google_api_key="AIza-test-key",
                                  additional_headers=REPLAY)


def words(content):
    """Of a message's content, which is text or a list of blocks."""
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content)


def langchain_call(model):
    return lambda: words(model.invoke(QUESTION).content)


def langchain_stream(model):
    return lambda: "".join(words(chunk.content) for chunk in model.stream(QUESTION))


def langchain_async(model):
    async def call():
        return words((await model.ainvoke(QUESTION)).content)
    return call


def langchain_async_stream(model):
    async def call():
        return "".join([words(chunk.content) async for chunk in model.astream(QUESTION)])
    return call


@client
def langchain_openai_invoke():
    return langchain_call(langchain_openai())


@client
def langchain_openai_async_stream():
    return langchain_async_stream(langchain_openai())


@client
def langchain_anthropic_invoke():
    return langchain_call(langchain_anthropic())


@client
def langchain_anthropic_stream():
    return langchain_stream(langchain_anthropic())


@client
def langchain_google_invoke():
    return langchain_call(langchain_google())


@client
def langchain_google_stream():
    return langchain_stream(langchain_google())


@client
def langchain_google_rest_invoke():
    return langchain_call(langchain_google_rest())


@client
def langchain_google_rest_stream():
    return langchain_stream(langchain_google_rest())


@client
def langchain_google_async():
    return langchain_async(langchain_google())


# --- LlamaIndex


def llama_openai():
    from llama_index.llms.openai import OpenAI
    return OpenAI(model="gpt-4o-mini", max_tokens=100, default_headers=REPLAY,
                  additional_kwargs={"stream_options": {"include_usage": True}})


def llama_openai_plain():
    from llama_index.llms.openai import OpenAI
    return OpenAI(model="gpt-4o-mini", max_tokens=100, default_headers=REPLAY)


def llama_anthropic():
    from llama_index.llms.anthropic import Anthropic
    return Anthropic(model="claude-sonnet-4-5", max_tokens=100, default_headers=REPLAY)


def llama_google():
    from google.genai import types
    from llama_index.llms.google_genai import GoogleGenAI
    return GoogleGenAI(model="gemini-2.5-flash", max_tokens=100, context_window=100_000,
                       api_key="AIza-test-key", http_options=types.HttpOptions(headers=REPLAY))


def llama_messages():
    from llama_index.core.llms import ChatMessage
    return [ChatMessage(role="user", content=QUESTION)]


@client
def llama_index_openai_chat():
    llm = llama_openai_plain()
    return lambda: llm.chat(llama_messages()).message.content


@client
def llama_index_openai_stream():
    llm = llama_openai()
    return lambda: "".join(part.delta or "" for part in llm.stream_chat(llama_messages()))


@client
def llama_index_openai_async():
    llm = llama_openai_plain()

    async def call():
        return (await llm.achat(llama_messages())).message.content
    return call


@client
def llama_index_anthropic_chat():
    llm = llama_anthropic()
    return lambda: llm.chat(llama_messages()).message.content


@client
def llama_index_anthropic_stream():
    llm = llama_anthropic()
    return lambda: "".join(part.delta or "" for part in llm.stream_chat(llama_messages()))


@client
def llama_index_google_chat():
    llm = llama_google()
    return lambda: llm.chat(llama_messages()).message.content
