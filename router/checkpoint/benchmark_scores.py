"""Benchmark scores of known models, the basis for a first profile from the published scores of a new model.

The scores are means over training rows, written when a router is exported, in plain JSON. Axis: N models.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from router.errors import CheckpointError, UsageError, known_names

FEWEST = 5  # known models that must have all requested benchmarks, so that a regression on them is meaningful
LEAST = 0.01  # distance that scores keep from 0 and 1, where logits would be infinite


@dataclass(frozen=True)
class BenchmarkScores:
    """Mean scores in [0, 1] of known models, by benchmark and protocol."""

    scores: Mapping[tuple[str, str], Mapping[str, float]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the benchmarks, each once."""
        return tuple(sorted({name for name, _ in self.scores}))

    def of(self, name: str, protocol: str, models: Sequence[str]) -> NDArray[np.float64]:
        """Scores (N,) of `models` on a benchmark, NaN where unknown, all under one protocol.

        That is `protocol` if it has FEWEST scores or more, otherwise the protocol with most scores. The case of the
        name and its punctuation do not matter. Raises UsageError for an unknown benchmark.
        """
        fitting = {each: scores for (known, each), scores in self.scores.items() if _plain(known) == _plain(name)}
        if not fitting:
            raise UsageError(f"no known model has a score on benchmark {name!r}; {known_names(name, self.names)}")
        counts = {each: sum(model in scores for model in models) for each, scores in fitting.items()}
        chosen = protocol if counts.get(protocol, 0) >= FEWEST else max(counts, key=lambda each: counts[each])
        return np.array([fitting[chosen].get(model, np.nan) for model in models])

    def to_json(self) -> str:
        """Readable JSON in a stable order."""
        raw = [
            {"benchmark": name, "protocol": protocol, "scores": dict(sorted(scores.items()))}
            for (name, protocol), scores in sorted(self.scores.items())
        ]
        return "[\n" + ",\n".join(f" {json.dumps(entry, allow_nan=False)}" for entry in raw) + "\n]\n"

    @classmethod
    def from_json(cls, text: str) -> BenchmarkScores:
        """The scores that `to_json` wrote; CheckpointError for any other text."""
        try:
            found = {(str(each["benchmark"]), str(each["protocol"])): each["scores"] for each in json.loads(text)}
            if not all(
                type(value) in (int, float) and 0 <= value <= 1
                for scores in found.values()
                for value in scores.values()
            ):
                raise ValueError("a score is not a number from 0 to 1")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"no benchmark scores ({error}); delete the file, or write it again") from error
        return cls(found)


def as_logits(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log odds of scores in [0, 1], which keep the distance LEAST from the ends.

    >>> as_logits(np.array([0.5, 0.0])).round(2).tolist()
    [0.0, -4.6]
    """
    kept = np.clip(scores, LEAST, 1 - LEAST)
    return np.log(kept / (1 - kept))


def parse_scores(pairs: Iterable[str]) -> dict[str, float]:
    """Scores by benchmark, from texts such as NAME=SCORE; UsageError for any other text.

    >>> parse_scores(["gsm8k=0.95"])
    {'gsm8k': 0.95}
    """
    found: dict[str, float] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        try:
            score = float(text)
        except ValueError:
            score = float("nan")
        if not separator or not name or not 0 <= score <= 1:
            raise UsageError(f"a benchmark score is NAME=SCORE, from 0 to 1, such as gsm8k=0.95; got {pair!r}")
        if _plain(name) in map(_plain, found):
            raise UsageError(f"benchmark {name!r} is given twice")
        found[name] = score
    return found


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
