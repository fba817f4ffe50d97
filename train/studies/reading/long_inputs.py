"""Inputs of thousands of words with a task at their start, in the middle or at their end.

The material is made from templates, by a seed. All but `long_figures` knows no router.
"""

from dataclasses import dataclass
from string import Template

import numpy as np
from numpy.random import Generator

from router.routing.router import Router
from train.studies.reading.figures import Figure, measured
from train.studies.reading.texts import read, written

LEAST_WORDS, MOST_WORDS = 2_000, 20_000
PLACES = ("start", "middle", "end")
BAR = 0.85
MOST_NUMBER = 100  # in a blank
PART = "long inputs"


@dataclass(frozen=True)
class LongInput:
    """A task within material."""

    task: str
    kind: str  # of the material
    place: str
    text: str


class Blanks(dict[str, str]):
    """What fills a block: noun and verb are the same throughout, names and numbers are drawn anew for each blank."""

    def __init__(self, words: dict[str, list[str]], generator: Generator) -> None:
        """`words` by the name of a blank; `$n` is a number."""
        super().__init__()
        self._words, self._generator = words, generator
        self.update((key, self[key]) for key in ("noun", "verb"))

    def __missing__(self, key: str) -> str:
        if key == "n":
            return str(self._generator.integers(MOST_NUMBER))
        return str(self._generator.choice(self._words[key]))


def material(kind: str, words: int, generator: Generator) -> list[str]:
    """Blocks of material of one kind, together of `words` words or a few more."""
    texts = written("long_inputs")
    blocks: list[str] = []
    count = 0
    while count < words:
        block = Template(str(generator.choice(texts["materials"][kind])))
        blocks.append(block.substitute(Blanks(texts["words"], generator)))
        count += len(blocks[-1].split())
    return blocks


def long_inputs(count: int, seed: int) -> list[LongInput]:
    """`count` inputs of LEAST_WORDS to MOST_WORDS words (long ones as frequent as short ones by their logarithm).

    Tasks, kinds of material and places take turns, the tasks in a drawn order.
    """
    texts, generator = written("long_inputs"), np.random.default_rng(seed)
    tasks, kinds = generator.permutation(texts["tasks"]).tolist(), list(texts["materials"])
    made = []
    for turn in range(count):
        kind, place = kinds[turn % len(kinds)], PLACES[turn % len(PLACES) - turn // len(kinds) % len(PLACES)]
        words = round(LEAST_WORDS * (MOST_WORDS / LEAST_WORDS) ** generator.random())
        blocks, task = material(kind, words, generator), tasks[turn % len(tasks)]
        blocks.insert({"start": 0, "middle": len(blocks) // 2, "end": len(blocks)}[place], task)
        made.append(LongInput(task, kind, place, "\n\n".join(blocks)))
    return made


def long_figures(router: Router, count: int, seed: int) -> list[Figure]:
    """Share of inputs whose first capability is that of the task alone, by the place of the task too."""
    inputs = long_inputs(count, seed)
    with_material = read(router, [each.text for each in inputs]).first_capability(router)
    same = with_material == read(router, [each.task for each in inputs]).first_capability(router)
    places = np.array([each.place for each in inputs])
    return [
        measured(PART, "first capability kept", np.mean, same, bar=BAR),
        *(measured(PART, f"... task at the {place}", np.mean, same[places == place]) for place in PLACES),
    ]
