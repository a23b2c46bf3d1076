# SPDX-License-Identifier: Apache-2.0
"""A customer-support bot on the official OpenAI SDK. It knows nothing of NullSpend."""
import sys

import openai

client = openai.OpenAI(default_headers={"X-Replay": "tokens=2400/600"})
questions = ["Where is my order?", "How do I reset my password?", "Can I get a refund?"]

for question in questions[: int(sys.argv[1]) if len(sys.argv) > 1 else 3]:
    answer = client.chat.completions.create(
        model="gpt-4o",
        max_tokens=600,
        messages=[
            {"role": "system", "content": "You are the friendly support bot of a web shop."},
            {"role": "user", "content": question},
        ],
    )
    print(f"Q: {question}\nA: {answer.choices[0].message.content.strip()}")
