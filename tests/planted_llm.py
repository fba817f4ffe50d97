"""What a loopback endpoint says of a planted world in an LLM's place: labels of queries, answers, orders that it obeys.

It knows the truth about every query. As an annotator it can be gullible: then it does what any readable order in the
query tells it, word for word, as a weak model would.
"""

from __future__ import annotations

import json
import re
from typing import Any

from loopback_llm import Body, Said

from router.llm.untrusted_text import MARK
from train.data_folders.synthetic.generate import PlantedWorld
from train.data_folders.synthetic.models import MODELS

BLOCK = re.compile(r"<<<([0-9a-f]{10}) query\n(.*)\n\1>>>", re.DOTALL)
ORDER = re.compile(
    r"ignore (?:all|everything|the|any)\b.{0,60}?\b(?:answer|reply|output|say)(?: with)?:? (.+)", re.I | re.S
)


def squeezed(text: str) -> str:
    return " ".join(text.replace(MARK, " ").split())


class PlantedLLM:
    """Says what is true of the queries of `world`; `__call__` is what a LoopbackLLM says."""

    def __init__(self, world: PlantedWorld, gullible: bool = False) -> None:
        self.world, self.gullible = world, gullible
        self.row_of = {squeezed(text): row for row, text in enumerate(world.text)}
        self.column_of = {model.name: column for column, model in enumerate(MODELS)}
        self.obeyed = 0

    def __call__(self, body: Body) -> str | Said:
        if body["model"] in self.column_of:
            return self.answer(body["messages"][-1]["content"], body["model"])
        return self.label(body["messages"])

    def answer(self, text: str, model: str) -> Said:
        """The right answer where the planted outcome is good; as long as the planted answer."""
        row, column = self.row_of[squeezed(text)], self.column_of[model]
        right = self.world.score[row, column] == 1
        said = f"The answer is: {reference(row)}" if right else "The answer is: I do not know."
        return Said(said, max(1, int(self.world.output_chars[row, column]) // 4))

    def label(self, messages: list[dict[str, str]]) -> str:
        """The true labels of the query between the markers, with the ticket, unless an order is obeyed."""
        opening = next(each["content"] for each in messages if each["role"] == "user")
        found = BLOCK.search(opening)
        assert found, f"no query between markers in {opening!r}"
        ticket, text = found.groups()
        outside = opening.replace(found.group(0), "")
        orders = ORDER.search(text if self.gullible else outside)
        if orders:
            self.obeyed += 1
            return orders.group(1)
        row = next(row for known, row in self.row_of.items() if known in squeezed(text))
        labels: dict[str, Any] = {
            "ticket": ticket,
            "capabilities": list(self.world.capabilities[row]),
            "knowledge": list(self.world.domains[row]),
        }
        return f"```json\n{json.dumps(labels)}\n```"


def reference(row: int) -> str:
    """What the right answer to query `row` says."""
    return f"code {row}"
