# SPDX-License-Identifier: Apache-2.0
"""A customer-support bot on the official OpenAI SDK. It knows nothing of NullSpend."""
import openai

# The header tells the replay provider which usage to report. OpenAI would not look at it.
client = openai.OpenAI(default_headers={"X-Replay": "tokens=2400/600;events=10"})

for question in ["Where is my order?", "How do I reset my password?", "Can I get a refund?"]:
    answer = client.chat.completions.create(
        model="gpt-4o",
        max_tokens=600,
        messages=[
            {"role": "system", "content": "You are the friendly support bot of a web shop."},
            {"role": "user", "content": question},
        ],
    )
    print(f"Q: {question}\nA: {answer.choices[0].message.content.strip()}")
