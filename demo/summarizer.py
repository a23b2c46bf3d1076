# SPDX-License-Identifier: Apache-2.0
"""Summaries with the official Anthropic SDK, streamed. It knows nothing of NullSpend."""
import anthropic

# The header tells the replay provider which usage to report. Anthropic would not look at it.
client = anthropic.Anthropic(default_headers={"X-Replay": "tokens=9000/900;cached=6000;events=10"})

try:
    with client.messages.stream(
        model="claude-sonnet-4-5",
        max_tokens=900,
        messages=[{"role": "user", "content": "Summarize the contract in one paragraph. " * 900}],
    ) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
    print()
except anthropic.APIStatusError as error:
    print(f"{type(error).__module__}.{type(error).__name__}: HTTP {error.status_code}")
    print(f"  {error.body['error']['type']}: {error.body['error']['message']}")
