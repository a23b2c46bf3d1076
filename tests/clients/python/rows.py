# SPDX-License-Identifier: Apache-2.0
"""Python's rows of the matrix. Versions are those of the files of pinned packages beside this one."""
import os
import re

import lab
from matrix import Row

HERE = os.path.dirname(os.path.abspath(__file__))


def python_version():
    """Of the distribution's Python, which has the distribution's libssl."""
    import subprocess
    done = subprocess.run(["/usr/bin/python3", "-V"], check=True, text=True,
                          stdout=subprocess.PIPE)
    return ".".join(done.stdout.strip().split(".")[:2])


RUNTIME = python_version()


# These stop reading at "[DONE]" and leave the end of the body on the connection, which is closed then,
# governed or not.
CLOSES_AFTER_STREAM = {
    "openai-chat-stream", "openai-async-chat-stream", "mistral-chat-stream",
    "mistral-async-chat-stream", "cohere-chat-stream", "langchain-openai-async-stream",
    "llama-index-openai-stream", "litellm-openai-stream"}


def pins(environment):
    return os.path.join(HERE, environment + ".txt")


def version(environment, package):
    with open(pins(environment), encoding="utf-8") as file:
        return re.search(rf"^{re.escape(package)}==(\S+)$", file.read(), re.M).group(1)


def row(venv, package, client, model, seen, previous=False, **more):
    """client: a name that client.py knows. seen: exception and status on denial."""
    def command():
        return [lab.python_with_sdks(pins(venv)), os.path.join(HERE, "client.py"), client]
    return Row(name=client + ("-previous" if previous else ""), runtime=RUNTIME, command=command,
               package=f"{package} {version(venv, package)}" if package else "standard library",
               model=model, exception=seen[0], status=seen[1],
               streams="stream" in client or "array" in client,
               keeps=client not in CLOSES_AFTER_STREAM, **more)


def http(clients, model="gpt-4o-mini", seen=("HttpError", 402), **more):
    """Rows of an HTTP client: (client, package, is in `make check`), newest and the one before."""
    for client, package, check in clients:
        protocol = "HTTP/2" if "-h2" in client else "HTTP/1.1"
        yield row("newest", package, client, model, seen, protocol=protocol, check=check,
                  **more)
        if package in ("httpx", "requests", "aiohttp", "uvloop", "trio"):
            yield row("http-previous", package, client, model, seen, previous=True,
                      protocol=protocol, **more)


def both(venv, package, clients, model, seen, seen_previous=None, checked=(), **more):
    """Rows of a package's clients, in its newest and its previous environment."""
    previous = "previous" if venv == "newest" else venv + "-previous"
    for client in clients:
        protocol = "HTTP/2" if "-h2" in client else "HTTP/1.1"
        yield row(venv, package, client, model, seen, check=client in checked, protocol=protocol,
                  **more)
        yield row(previous, package, client, model, seen_previous or seen, previous=True,
                  protocol=protocol, **more)


OPENAI = ["openai-chat", "openai-chat-stream", "openai-responses", "openai-responses-stream",
          "openai-async-chat", "openai-async-chat-stream", "openai-async-uvloop", "openai-h2",
          "openai-async-h2-stream"]
ANTHROPIC = ["anthropic-messages", "anthropic-messages-stream", "anthropic-async-messages",
             "anthropic-async-messages-stream"]
GEMINI = ["gemini-generate", "gemini-generate-stream", "gemini-async-generate",
          "gemini-async-generate-stream"]
MISTRAL = ["mistral-chat", "mistral-chat-stream", "mistral-async-chat", "mistral-async-chat-stream"]
COHERE = ["cohere-chat", "cohere-chat-stream"]
OLLAMA = ["ollama-chat", "ollama-chat-stream", "ollama-async-chat", "ollama-async-chat-stream"]
CONVERSE = ["bedrock-converse", "bedrock-converse-stream"]
INVOKE = ["bedrock-invoke", "bedrock-invoke-stream"]
LITELLM_ENVIRONMENT = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}

OPENAI_SEEN = ("openai.APIStatusError", 402)
ANTHROPIC_SEEN = ("anthropic.PaymentRequiredError", 402)
ANTHROPIC_SEEN_BEFORE = ("anthropic.APIStatusError", 402)
GEMINI_SEEN = ("google.genai.errors.ClientError", 403)
BEDROCK_SEEN = ("botocore.errorfactory.ServiceQuotaExceededException", 400)

ROWS = [
    row("newest", None, "http-client", "gpt-4o-mini", ("HttpError", 402), check=True),
    *http([("requests", "requests", True), ("requests-stream", "requests", False),
           ("httpx", "httpx", True), ("httpx-stream", "httpx", False),
           ("httpx-async", "httpx", True), ("httpx-async-stream", "httpx", False),
           ("httpx-uvloop", "uvloop", True), ("httpx-trio", "trio", True),
           ("httpx-h2", "httpx", True), ("httpx-h2-stream", "httpx", False),
           ("httpx-async-h2", "httpx", False), ("httpx-async-h2-stream", "httpx", True),
           ("httpx-uvloop-h2", "uvloop", False), ("httpx-trio-h2-stream", "trio", False),
           ("httpx2", "httpx2", False), ("httpx2-h2", "httpx2", True),
           ("httpx2-async-stream", "httpx2", False), ("httpx2-async-h2-stream", "httpx2", False),
           ("httpx2-trio", "httpx2", False),
           ("aiohttp", "aiohttp", True), ("aiohttp-stream", "aiohttp", False),
           ("aiohttp-uvloop", "uvloop", False), ("aiohttp-uvloop-stream", "uvloop", True)]),
    *http([("requests-gemini-array", "requests", True)], "gemini-2.5-flash", ("HttpError", 403)),
    *both("newest", "openai", OPENAI, "gpt-4o-mini", OPENAI_SEEN,
          checked=("openai-chat", "openai-responses-stream", "openai-async-chat-stream")),
    *both("newest", "openai", ["openai-embeddings"], "text-embedding-3-small", OPENAI_SEEN),
    *both("newest", "anthropic", ANTHROPIC, "claude-sonnet-4-5", ANTHROPIC_SEEN,
          ANTHROPIC_SEEN_BEFORE,
          checked=("anthropic-messages", "anthropic-async-messages-stream")),
    *both("newest", "google-genai", GEMINI, "gemini-2.5-flash", GEMINI_SEEN,
          checked=("gemini-generate-stream", "gemini-async-generate")),
    *both("newest", "mistralai", MISTRAL, "mistral-small-2603",
          ("mistralai.client.errors.sdkerror.SDKError", 402), checked=("mistral-chat",)),
    *both("newest", "cohere", COHERE, "command-a-03-2025",
          ("cohere.core.api_error.ApiError", 402), checked=("cohere-chat-stream",)),
    *both("newest", "ollama", OLLAMA, "gpt-oss:120b", ("ollama._types.ResponseError", 402),
          environment={"OLLAMA_HOST": "https://ollama.com"}, checked=("ollama-chat-stream",)),
    *both("newest", "boto3", CONVERSE, "anthropic.claude-sonnet-4-5-20250929-v1:0", BEDROCK_SEEN,
          checked=("bedrock-converse-stream",)),
    *both("newest", "boto3", INVOKE, "claude-sonnet-4-5-20250929", BEDROCK_SEEN,
          checked=("bedrock-invoke",)),
    *both("litellm", "litellm", ["litellm-openai", "litellm-openai-stream", "litellm-openai-async"],
          "gpt-4o-mini", ("litellm.exceptions.APIError", 402), environment=LITELLM_ENVIRONMENT),
    *both("litellm", "litellm", ["litellm-anthropic", "litellm-anthropic-async-stream"],
          "claude-sonnet-4-5", ("litellm.exceptions.PaymentRequiredError", 402),
          environment=LITELLM_ENVIRONMENT),
    *both("litellm", "litellm", ["litellm-gemini", "litellm-gemini-async"], "gemini-2.5-flash",
          ("litellm.exceptions.BadRequestError", 403), environment=LITELLM_ENVIRONMENT),
    *both("langchain", "langchain-openai", ["langchain-openai-invoke",
                                            "langchain-openai-async-stream"],
          "gpt-4o-mini", OPENAI_SEEN),
    *both("langchain", "langchain-anthropic", ["langchain-anthropic-invoke",
                                               "langchain-anthropic-stream"],
          "claude-sonnet-4-5", ANTHROPIC_SEEN, ANTHROPIC_SEEN_BEFORE),
    *[row("langchain", "langchain-google-genai", client, "gemini-2.5-flash",
          ("langchain_google_genai.chat_models.GooglePermissionDeniedError", None))
      for client in ("langchain-google-invoke", "langchain-google-stream",
                     "langchain-google-async")],
    *[row("langchain-previous", "langchain-google-genai", client, "gemini-2.5-flash",
          ("google.api_core.exceptions.Forbidden", 403), previous=True, attempts=6)
      for client in ("langchain-google-rest-invoke", "langchain-google-rest-stream")],
    *both("llama-index", "llama-index-llms-openai", ["llama-index-openai-chat",
                                                     "llama-index-openai-stream",
                                                     "llama-index-openai-async"],
          "gpt-4o-mini", OPENAI_SEEN),
    *both("llama-index", "llama-index-llms-anthropic", ["llama-index-anthropic-chat",
                                                        "llama-index-anthropic-stream"],
          "claude-sonnet-4-5", ANTHROPIC_SEEN_BEFORE),
    *both("llama-index", "llama-index-llms-google-genai", ["llama-index-google-chat"],
          "gemini-2.5-flash", GEMINI_SEEN),
]
