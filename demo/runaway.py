# SPDX-License-Identifier: Apache-2.0
"""An agent that never stops by itself, on the official OpenAI SDK, streaming. It knows nothing of
NullSpend."""
import openai

# The header tells the replay provider which usage to report. OpenAI would not look at it.
client = openai.OpenAI(default_headers={"X-Replay": "tokens=6000/800;events=10"})
plan = "First we collect what everybody wants, and then we want more. " * 360
messages = [{"role": "user", "content": "Improve this plan until it is perfect. " + plan}]

for step in range(1, 1000):
    try:
        stream = client.chat.completions.create(
            model="gpt-4o",
            max_tokens=800,
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},
        )
        text = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
        messages.append({"role": "assistant", "content": text})
        messages.append({"role": "user", "content": "Better. Once more!"})
        print(f"step {step}: {text.strip()}")
    except openai.APIStatusError as error:
        print(f"step {step}: {type(error).__module__}.{type(error).__name__}: HTTP {error.status_code}")
        print(f"  {error.code}: {error.body['message']}")
        break
