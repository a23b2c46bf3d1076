# SPDX-License-Identifier: Apache-2.0
"""What the replay provider answers: the shapes of OpenAI, Anthropic, Gemini, Mistral, Cohere, Ollama
and Bedrock, whatever the protocol that carries them. provider.py tells how a client steers them."""
import base64
import binascii
import gzip
import json
import os
import struct
import time
import urllib.parse
import zlib

WORDS = ["Budgets", "hold", "when", "they", "are", "checked", "before", "the", "money", "leaves."]


def words_in(value):
    """Counts the words of all strings in a JSON value: a stand-in for a tokenizer."""
    if isinstance(value, str):
        return len(value.split())
    if isinstance(value, list):
        return sum(words_in(item) for item in value)
    if isinstance(value, dict):
        return sum(words_in(item) for item in value.values())
    return 0


class Steering(dict):
    """The X-Replay header as a dictionary."""

    def __init__(self, header):
        super().__init__()
        for item in (header or "").split(";"):
            name, _, value = item.strip().partition("=")
            if name:
                self[name] = value

    def tokens(self, body):
        """(input, of it cached, output) tokens of the answer."""
        if "tokens" in self:
            given, made = (int(part) for part in self["tokens"].split("/"))
        else:
            given, made = max(words_in(body), 1), 12
        return given, int(self.get("cached", 0)), made


def pieces(steering):
    count = int(steering.get("events", 4))
    words = [steering["say"]] if "say" in steering else WORDS
    return [words[i % len(words)] + " " for i in range(count)]


# --- OpenAI -------------------------------------------------------------------------------------


def openai_usage(steering, body):
    given, cached, made = steering.tokens(body)
    return {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def openai_chat(body, steering):
    model = body.get("model", "")
    head = {"id": f"chatcmpl-{time.time_ns()}", "created": int(time.time()), "model": model,
            "service_tier": "default", "system_fingerprint": "fp_replay"}
    usage = None if "no-usage" in steering else openai_usage(steering, body)
    if not body.get("stream"):
        message = {"role": "assistant", "content": "".join(pieces(steering)), "refusal": None}
        answer = {**head, "object": "chat.completion",
                  "choices": [{"index": 0, "message": message, "logprobs": None,
                               "finish_reason": "stop"}]}
        if usage:
            answer["usage"] = usage
        return answer
    asked = (body.get("stream_options") or {}).get("include_usage")
    chunk = {**head, "object": "chat.completion.chunk"}
    events = []
    for i, text in enumerate(pieces(steering)):
        delta = {"content": text} if i else {"role": "assistant", "content": text}
        events.append({**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    events.append({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if asked:
        for event in events:
            event["usage"] = None
        if usage:
            events.append({**chunk, "choices": [], "usage": usage})
    return [(None, event) for event in events] + [(None, "[DONE]")]


def openai_responses(body, steering):
    given, cached, made = steering.tokens(body)
    usage = {"input_tokens": given, "input_tokens_details": {"cached_tokens": cached},
             "output_tokens": made, "output_tokens_details": {"reasoning_tokens": 0},
             "total_tokens": given + made}
    text = "".join(pieces(steering))
    item = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": text, "annotations": []}]}
    response = {"id": f"resp_{time.time_ns()}", "object": "response", "created_at": time.time(),
                "status": "completed", "model": body.get("model", ""), "output": [item],
                "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
                "service_tier": "default", "usage": None if "no-usage" in steering else usage}
    if not body.get("stream"):
        return response
    started = {**response, "status": "in_progress", "output": [], "usage": None}
    events = [("response.created", {"type": "response.created", "response": started})]
    for text in pieces(steering):
        events.append(("response.output_text.delta",
                       {"type": "response.output_text.delta", "item_id": "msg_1",
                        "output_index": 0, "content_index": 0, "delta": text}))
    events.append(("response.completed", {"type": "response.completed", "response": response}))
    for number, (_, event) in enumerate(events):
        event["sequence_number"] = number
    return events


def openai_embeddings(body, steering):
    given, _, _ = steering.tokens(body)
    return {"object": "list", "model": body.get("model", ""),
            "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}],
            "usage": {"prompt_tokens": given, "total_tokens": given}}


def openai_completions(body, steering):
    return {"id": "cmpl-1", "object": "text_completion", "created": int(time.time()),
            "model": body.get("model", ""), "usage": openai_usage(steering, body),
            "choices": [{"text": "".join(pieces(steering)), "index": 0, "logprobs": None,
                         "finish_reason": "stop"}]}


def openai_error(status):
    return {"error": {"message": "replayed error", "type": "server_error", "param": None,
                      "code": str(status)}}


# --- Anthropic ----------------------------------------------------------------------------------


def anthropic_messages(body, steering):
    given, cached, made = steering.tokens(body)
    usage = {"input_tokens": given - cached, "cache_creation_input_tokens": 0,
             "cache_read_input_tokens": cached,
             "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
             "output_tokens": made, "service_tier": "standard"}
    message = {"id": f"msg_{time.time_ns()}", "type": "message", "role": "assistant",
               "model": body.get("model", ""), "stop_reason": "end_turn", "stop_sequence": None,
               "content": [{"type": "text", "text": "".join(pieces(steering))}], "usage": usage}
    if not body.get("stream"):
        return message
    start = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    events = [{"type": "message_start", "message": start},
              {"type": "content_block_start", "index": 0,
               "content_block": {"type": "text", "text": ""}},
              {"type": "ping"}]
    events += [{"type": "content_block_delta", "index": 0,
                "delta": {"type": "text_delta", "text": text}} for text in pieces(steering)]
    events += [{"type": "content_block_stop", "index": 0},
               {"type": "message_delta", "delta": {"stop_reason": "end_turn",
                                                   "stop_sequence": None},
                "usage": {"output_tokens": made}},
               {"type": "message_stop"}]
    return [(event["type"], event) for event in events]


def anthropic_error(status):
    return {"type": "error", "error": {"type": "api_error", "message": f"replayed {status}"}}


# --- Gemini -------------------------------------------------------------------------------------


def gemini_usage(steering, body):
    given, cached, made = steering.tokens(body)
    usage = {"promptTokenCount": given, "candidatesTokenCount": made,
             "totalTokenCount": given + made,
             "promptTokensDetails": [{"modality": "TEXT", "tokenCount": given}]}
    if cached:
        usage["cachedContentTokenCount"] = cached
    return usage


def gemini_chunk(model, text, usage, finish):
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model,
            "responseId": "replayed"}


def gemini_generate(model, body, steering):
    return gemini_chunk(model, "".join(pieces(steering)), gemini_usage(steering, body), "STOP")


def gemini_stream(model, body, steering):
    usage = gemini_usage(steering, body)
    texts = pieces(steering)
    return [(None, gemini_chunk(model, text, usage, "STOP" if i + 1 == len(texts) else None))
            for i, text in enumerate(texts)]


def gemini_error(status):
    return {"error": {"code": status, "message": "replayed error", "status": "INTERNAL"}}

# --- Mistral ------------------------------------------------------------------------------------


def mistral_chat(body, steering):
    """OpenAI's, with the usage in the last chunk, asked for or not."""
    given, cached, made = steering.tokens(body)
    usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made,
             "prompt_tokens_details": {"cached_tokens": cached}}
    head = {"id": f"{time.time_ns():032x}", "created": int(time.time()),
            "model": body.get("model", "")}
    if not body.get("stream"):
        message = {"role": "assistant", "content": "".join(pieces(steering)), "tool_calls": None,
                   "prefix": False}
        return {**head, "object": "chat.completion", "usage": usage,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    chunk = {**head, "object": "chat.completion.chunk"}
    events = [{**chunk, "choices": [{"index": 0, "finish_reason": None, "delta": {
        "role": "assistant", "content": text}}]} for text in pieces(steering)]
    events.append({**chunk, "usage": usage, "choices": [{
        "index": 0, "finish_reason": "stop", "delta": {"content": ""}}]})
    return [(None, event) for event in events] + [(None, "[DONE]")]


def mistral_error(status):
    return {"object": "error", "message": f"replayed {status}", "type": "server_error",
            "param": None, "code": str(status)}


# --- Cohere -------------------------------------------------------------------------------------

# What "tokens" counts beside "billed_units", as recorded: the template, which nobody pays.
COHERE_TEMPLATE_TOKENS = 62


def cohere_chat(body, steering):
    given, cached, made = steering.tokens(body)
    usage = {"billed_units": {"input_tokens": given, "output_tokens": made},
             "tokens": {"input_tokens": given + COHERE_TEMPLATE_TOKENS, "output_tokens": made},
             "cached_tokens": cached}
    identity = f"{time.time_ns():032x}"
    if not body.get("stream"):
        return {"id": identity, "finish_reason": "COMPLETE", "usage": usage, "message": {
            "role": "assistant", "content": [{"type": "text", "text": "".join(pieces(steering))}]}}
    events = [{"type": "message-start", "id": identity, "delta": {"message": {
        "role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}}},
              {"type": "content-start", "index": 0, "delta": {"message": {"content": {
                  "type": "text", "text": ""}}}}]
    events += [{"type": "content-delta", "index": 0, "delta": {"message": {"content": {
        "text": text}}}} for text in pieces(steering)]
    events += [{"type": "content-end", "index": 0},
               {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}}]
    return [(event["type"], event) for event in events] + [(None, "[DONE]")]


def cohere_error(status):
    return {"message": f"replayed {status}"}


# --- Ollama -------------------------------------------------------------------------------------


class Lines(list):
    """The documents of a stream that has one in each line."""


def ollama_chat(body, steering):
    """Streams unless it is told not to; the last document has the counts, in nanoseconds and tokens."""
    given, _, made = steering.tokens(body)
    head = {"model": body.get("model", ""), "created_at": "2026-01-01T00:00:00.000000Z"}
    end = {"done": True, "done_reason": "stop", "total_duration": 300, "load_duration": 100,
           "prompt_eval_count": given, "prompt_eval_duration": 100, "eval_count": made,
           "eval_duration": 100}
    if body.get("stream") is False:
        return {**head, "message": {"role": "assistant", "content": "".join(pieces(steering))},
                **end}
    documents = [{**head, "message": {"role": "assistant", "content": text}, "done": False}
                 for text in pieces(steering)]
    return Lines(documents + [{**head, "message": {"role": "assistant", "content": ""}, **end}])


def ollama_error(status):
    return {"error": f"replayed {status}"}


# --- Bedrock ------------------------------------------------------------------------------------


def event_stream_frame(headers, payload):
    """One frame of application/vnd.amazon.eventstream."""
    packed = b"".join(struct.pack("!B", len(name)) + name.encode() + b"\x07"
                      + struct.pack("!H", len(value)) + value.encode()
                      for name, value in headers.items())
    prelude = struct.pack("!II", 16 + len(packed) + len(payload), len(packed))
    frame = prelude + struct.pack("!I", binascii.crc32(prelude)) + packed + payload
    return frame + struct.pack("!I", binascii.crc32(frame))


def bedrock_event(kind, value):
    return event_stream_frame({":event-type": kind, ":content-type": "application/json",
                               ":message-type": "event"}, json.dumps(value).encode())


def bedrock_converse(body, steering):
    given, _, made = steering.tokens(body)
    return {"output": {"message": {"role": "assistant", "content": [
        {"text": "".join(pieces(steering))}]}}, "stopReason": "end_turn",
            "usage": {"inputTokens": given, "outputTokens": made, "totalTokens": given + made},
            "metrics": {"latencyMs": 100}}


def bedrock_messages(body, steering):
    """The messages of a converse stream and their kinds."""
    whole = bedrock_converse(body, steering)
    messages = [("messageStart", {"role": "assistant"})]
    messages += [("contentBlockDelta", {"delta": {"text": text}, "contentBlockIndex": 0})
                 for text in pieces(steering)]
    return messages + [
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("messageStop", {"stopReason": whole["stopReason"]}),
        ("metadata", {"usage": whole["usage"], "metrics": whole["metrics"]})]


def bedrock_model(model):
    """As Anthropic's models call themselves in their own bodies."""
    return model.split("anthropic.")[-1].removesuffix("-v1:0")


def bedrock_invoke(model, body, steering):
    """Amazon's models answer as to converse, Anthropic's as to messages."""
    if "anthropic" in model:
        return anthropic_messages({**body, "model": bedrock_model(model)}, steering)
    return {key: value for key, value in bedrock_converse(body, steering).items()
            if key != "metrics"}


def bedrock_invoke_stream(model, body, steering):
    given, _, made = steering.tokens(body)
    if "anthropic" in model:
        asked = {**body, "model": bedrock_model(model), "stream": True}
        events = [event for _, event in anthropic_messages(asked, steering)]
    else:
        events = [{kind: value} for kind, value in bedrock_messages(body, steering)]
    events[-1]["amazon-bedrock-invocationMetrics"] = {
        "inputTokenCount": given, "outputTokenCount": made, "invocationLatency": 100,
        "firstByteLatency": 50}
    return [bedrock_event("chunk", {"bytes": base64.b64encode(
        json.dumps(event).encode()).decode()}) for event in events]


def bedrock_counts(body, steering):
    """The headers in which every invocation that is no stream tells what it used."""
    given, cached, made = steering.tokens(body)
    return [("X-Amzn-Bedrock-Input-Token-Count", str(given)),
            ("X-Amzn-Bedrock-Output-Token-Count", str(made)),
            ("X-Amzn-Bedrock-Cache-Read-Input-Token-Count", str(cached))]


def bedrock(target, body, accepted, steering):
    """The answer to a POST below /model/; None: no such path."""
    _, _, model, verb = (urllib.parse.unquote(part) for part in target.split("/", 3))
    if verb == "converse":
        return json_answer(200, bedrock_converse(body, steering), accepted, steering)
    if verb == "invoke":
        return json_answer(200, bedrock_invoke(model, body, steering), accepted, steering,
                           bedrock_counts(body, steering))
    if verb == "converse-stream":
        stream = [bedrock_event(kind, value) for kind, value in bedrock_messages(body, steering)]
    elif verb == "invoke-with-response-stream":
        stream = bedrock_invoke_stream(model, body, steering)
    else:
        return None
    return Answer(200, [("Content-Type", "application/vnd.amazon.eventstream")], stream=stream)


# --- any ----------------------------------------------------------------------------------------

POST = {"/v1/chat/completions": openai_chat, "/v1/responses": openai_responses,
        "/v1/embeddings": openai_embeddings, "/v1/completions": openai_completions,
        "/v1/messages": anthropic_messages, "/v2/chat": cohere_chat, "/api/chat": ollama_chat}
# host: (what differs from POST, its errors)
HOSTS = {"api.anthropic.com": ({}, anthropic_error),
         "generativelanguage.googleapis.com": ({}, gemini_error),
         "api.mistral.ai": ({"/v1/chat/completions": mistral_chat}, mistral_error),
         "api.cohere.com": ({}, cohere_error), "ollama.com": ({}, ollama_error)}
MODELS = {"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]}


class Answer:
    """A status with headers and either a body or pieces that follow each other.

    body: bytes, or None where `pieces` is a list of bytes, one for each event of a stream."""

    def __init__(self, status, headers, body=None, stream=None):
        self.status = status
        self.headers = headers
        self.body = body
        self.pieces = stream


def json_answer(status, value, accepted, steering, more=()):
    """accepted: the request's Accept-Encoding. more: headers."""
    body = json.dumps(value).encode()
    coding = steering.get("encoding", "gzip" if "gzip" in accepted else "identity")
    if coding == "gzip":
        body = gzip.compress(body)
    elif coding == "deflate":
        body = zlib.compress(body)
    headers = [("Content-Type", "application/json"), ("x-request-id", f"req_{time.time_ns()}"),
               *more]
    if coding != "identity":
        headers.append(("Content-Encoding", coding))
    headers.append(("Content-Length", str(len(body))))
    return Answer(status, headers, body)


def sse_answer(events, line="\n"):
    def piece(name, event):
        text = event if isinstance(event, str) else json.dumps(event)
        return ((f"event: {name}{line}" if name else "") + f"data: {text}{line}{line}").encode()
    return Answer(200, [("Content-Type", "text/event-stream")],
                  stream=[piece(name, event) for name, event in events])


def lines_answer(documents):
    return Answer(200, [("Content-Type", "application/x-ndjson")],
                  stream=[json.dumps(document).encode() + b"\n" for document in documents])


def array_answer(events):
    """A JSON array that grows, as Gemini has it without alt=sse."""
    stream = [("[" if number == 0 else ",\r\n").encode() + json.dumps(event).encode()
              for number, (_, event) in enumerate(events)]
    stream[-1] += b"]"
    return Answer(200, [("Content-Type", "application/json")], stream=stream)


def post(host, target, parsed, accepted, steering):
    """The answer to a POST; parsed: its JSON body, None where it is none."""
    paths, error = HOSTS.get(host, ({}, openai_error))
    path, _, query = target.partition("?")
    if "status" in steering or not isinstance(parsed, dict):
        status = int(steering.get("status", 400))
        return json_answer(status, error(status), accepted, steering)
    if path in POST:
        answer = {**POST, **paths}[path](parsed, steering)
        if isinstance(answer, Lines):
            return lines_answer(answer)
        if isinstance(answer, list):
            return sse_answer(answer)
        return json_answer(200, answer, accepted, steering)
    verb = path.rsplit(":", 1)[-1].rsplit("/", 1)[-1]
    if verb in ("generateContent", "streamGenerateContent"):
        model = path.rsplit("/", 1)[-1].split(":")[0]
        if verb == "generateContent":
            return json_answer(200, gemini_generate(model, parsed, steering), accepted, steering)
        events = gemini_stream(model, parsed, steering)
        return sse_answer(events, "\r\n") if "alt=sse" in query else array_answer(events)
    answer = bedrock(path, parsed, accepted, steering) if path.startswith("/model/") else None
    return answer or json_answer(404, error(404), accepted, steering)


def must_wait(steering):
    return "wait" in steering and not os.path.exists(steering["wait"])
