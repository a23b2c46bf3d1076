# SPDX-License-Identifier: Apache-2.0
"""Summaries with the official Anthropic SDK, streamed. It knows nothing of NullSpend."""
import anthropic

client = anthropic.Anthropic(default_headers={"X-Replay": "tokens=9000/900;cached=6000;events=9"})

with client.messages.stream(
    model="claude-sonnet-4-5",
    max_tokens=900,
    messages=[{"role": "user", "content": "Summarize the attached contract in one paragraph."}],
) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
print()
