"""A script that routes a question and asks the chosen model: `python examples/plain_script.py "What is 2 + 2?"`.

Decides in process and asks through the official OpenAI client. All models of the pool answer at UPSTREAM.
"""

from __future__ import annotations

import os
import sys

import openai

from router import Router

CHECKPOINT = os.environ.get("ROUTER_CHECKPOINT", "checkpoints/routemix")
UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:8000/v1")


def main() -> None:
    """Route the question, ask the model, print decision and answer."""
    question = " ".join(sys.argv[1:])
    router = Router.from_pretrained(CHECKPOINT)
    decision = router.route(question, dial=3)
    client = openai.OpenAI(base_url=UPSTREAM, api_key=os.environ.get("UPSTREAM_KEY", "none"))
    answer = client.chat.completions.create(model=decision.model, messages=[{"role": "user", "content": question}])
    print(f"{decision.model} (quality {decision.quality:.2f}, ${decision.cost_usd:.6f}):")
    print(answer.choices[0].message.content)


if __name__ == "__main__":
    main()
