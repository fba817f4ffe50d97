"""Generator of planted data: queries from templates whose text shows what they need, outcomes from true profiles.

The world is that of `world.yaml` beside this file: words of queries, and ten invented models. Skills are logits:
`b + c(x)·C + k(x)·K - d(x)` is the log odds of a good answer, where the rank weights c(x) and k(x) each sum to 1.
Axes: N queries, M models, C capabilities, K knowledge domains.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.random import Generator
from numpy.typing import NDArray

from router.arrays import sigmoid
from router.errors import UsageError
from router.network.taxonomy import CAPABILITIES, rank_weights

Array = NDArray[np.float64]

WORLD: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("world.yaml").read_text(encoding="utf-8"))
WORDINGS: dict[str, dict[str, list[str]]] = WORLD["wordings"]  # of a capability: openings, tasks, additions to others
DOMAINS: dict[str, dict[str, list[str]]] = WORLD["domains"]  # topics, and synonyms that annotators use
DIFFICULTIES = [(each["logits"], each["remarks"]) for each in WORLD["difficulties"]]  # logits, remarks in the query
LENGTH_FACTORS: dict[str, float] = WORLD["length_factors"]  # of answers, by the capability that a query needs first

DOMAIN_NAMES = tuple(DOMAINS)
NUMBERS_OF_CAPABILITIES = (0.6, 0.3, 0.1)  # probability that a query needs 1, 2, 3
NUMBERS_OF_DOMAINS = (0.75, 0.25)
LENGTH_SPREAD = 0.35  # standard deviation of log answer length
LONGER_WHEN_HARD = 0.15  # log answer length per logit of difficulty
ANNOTATED_SHARE = 0.7
SWAPPED_SHARE, SYNONYM_SHARE, RARE_SHARE = 0.03, 0.06, 0.01  # of annotations: errors of annotators


@dataclass(frozen=True)
class PlantedModel:
    """True skills, prices and answer length of one invented model."""

    name: str
    developer: str
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    bias: float  # log odds of a good answer without a particular skill
    skills: Mapping[str, float]  # capability or domain -> logits added where a query needs nothing else of that kind
    usual_chars: int  # median length of its answers


MODELS = tuple(PlantedModel(**facts) for facts in WORLD["models"])


def skills_of(axes: Sequence[str]) -> Array:
    """True skills (M, A) of `MODELS` on `axes`; 0 without a particular skill."""
    return np.array([[model.skills.get(axis, 0.0) for axis in axes] for model in MODELS])


@dataclass(frozen=True)
class PlantedData:
    """The truth behind a planted folder; row i is row i of queries.parquet, column m is `MODELS[m]` (by name)."""

    text: tuple[str, ...]
    capabilities: tuple[tuple[str, ...], ...]  # what each query truly needs, ranked
    domains: tuple[tuple[str, ...], ...]
    level: NDArray[np.int64]  # (N,) difficulty as annotators call it, from 1
    difficulty: Array  # (N,) in logits
    quality: Array  # (N, M) true probability of a good answer
    score: Array  # (N, M) the drawn outcomes, 0 or 1
    output_chars: NDArray[np.int64]  # (N, M)
    annotations: tuple[dict[str, object], ...]

    @property
    def query_ids(self) -> list[str]:
        """`planted/0` and so on, one per query."""
        return [f"planted/{row}" for row in range(len(self.text))]


def plant(queries: int = 3000, seed: int = 0) -> PlantedData:
    """Planted data with `queries` queries; the same arguments give the same data."""
    if queries < 1:
        raise UsageError(f"queries is {queries}, allowed is 1 or more")
    rng = np.random.default_rng(seed)
    capabilities = tuple(_ranked(rng, CAPABILITIES, NUMBERS_OF_CAPABILITIES) for _ in range(queries))
    domains = tuple(_ranked(rng, DOMAIN_NAMES, NUMBERS_OF_DOMAINS) for _ in range(queries))
    levels = rng.integers(len(DIFFICULTIES), size=queries)
    text = tuple(_text(rng, c, d, int(level)) for c, d, level in zip(capabilities, domains, levels, strict=True))
    difficulty = np.array([DIFFICULTIES[level][0] for level in levels])
    logit = (
        np.array([model.bias for model in MODELS])
        + _weights(capabilities, CAPABILITIES) @ skills_of(CAPABILITIES).T
        + _weights(domains, DOMAIN_NAMES) @ skills_of(DOMAIN_NAMES).T
        - difficulty[:, None]
    )
    quality = sigmoid(logit)
    log_chars = (
        np.log([model.usual_chars for model in MODELS])
        + np.log([LENGTH_FACTORS[needed[0]] for needed in capabilities])[:, None]
        + LONGER_WHEN_HARD * difficulty[:, None]
    )
    return PlantedData(
        text,
        capabilities,
        domains,
        levels + 1,
        difficulty,
        quality,
        score=(rng.random(quality.shape) < quality).astype(np.float64),
        output_chars=np.maximum(rng.lognormal(log_chars, LENGTH_SPREAD).round(), 1).astype(np.int64),
        annotations=tuple(_annotations(rng, capabilities, domains, levels + 1)),
    )


def _ranked(rng: Generator, names: tuple[str, ...], numbers: tuple[float, ...]) -> tuple[str, ...]:
    """A random ranking of distinct names, of random length."""
    n = int(rng.choice(len(numbers), p=numbers)) + 1
    return tuple(names[i] for i in rng.choice(len(names), size=n, replace=False))


def _weights(ranked: tuple[tuple[str, ...], ...], axes: tuple[str, ...]) -> Array:
    """Rank weights (N, len(axes)), as in the paper's profiles."""
    weights = np.zeros((len(ranked), len(axes)))
    for row, names in enumerate(ranked):
        weights[row, [axes.index(name) for name in names]] = rank_weights(len(names))
    return weights


def _pick(rng: Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _text(rng: Generator, capabilities: tuple[str, ...], domains: tuple[str, ...], level: int) -> str:
    """The text of one query: first capability and first domain in front, the others behind in random order."""
    topics = DOMAINS[domains[0]]["topics"]
    topic, second, third, *others = (topics[i] for i in rng.permutation(len(topics)))
    blanks = {
        "topic": topic,
        "second": second,
        "third": third,
        "count": str(rng.integers(3, 100)),
        "language": _pick(rng, WORLD["languages"]),
        "program": _pick(rng, WORLD["programs"]),
        "passage": _passage(rng, (topic, second, third, *others[:3])),
    }
    wording = WORDINGS[capabilities[0]]
    behind = [_pick(rng, WORDINGS[name]["additions"]) for name in capabilities[1:]]
    behind += [
        _pick(rng, WORLD["links"]).replace("{topic}", _pick(rng, DOMAINS[name]["topics"])) for name in domains[1:]
    ]
    behind.append(_pick(rng, DIFFICULTIES[level][1]))
    behind = [behind[i] for i in rng.permutation(len(behind)) if behind[i]]
    first = f"{_pick(rng, wording['openings']).rstrip()} {_pick(rng, wording['tasks'])}"
    return " ".join([first, *behind]).format(**blanks)


def _passage(rng: Generator, topics: tuple[str, ...]) -> str:
    """Five to eight sentences on the topics."""
    sentences = [WORLD["passage"][i] for i in rng.permutation(len(WORLD["passage"]))[: rng.integers(5, 9)]]
    return " ".join(sentence.format(topic=_pick(rng, topics), second=_pick(rng, topics)) for sentence in sentences)


def _annotations(
    rng: Generator,
    capabilities: tuple[tuple[str, ...], ...],
    domains: tuple[tuple[str, ...], ...],
    level: NDArray[np.int64],
) -> list[dict[str, object]]:
    """Annotations of a share of the queries: the truth, except for swaps, synonyms and rare names."""
    rows = np.flatnonzero(rng.random(len(capabilities)) < ANNOTATED_SHARE)
    notes: list[dict[str, object]] = []
    for row in rows:
        needed, known = list(capabilities[row]), list(domains[row])
        if len(needed) > 1 and rng.random() < SWAPPED_SHARE:
            needed[:2] = needed[1::-1]
        if rng.random() < SYNONYM_SHARE:
            known[-1] = _pick(rng, DOMAINS[known[-1]]["synonyms"])
        if rng.random() < RARE_SHARE:
            known.append(_pick(rng, WORLD["rare_names"]))
        note = {"query_id": f"planted/{row}", "capabilities": needed, "knowledge": known, "difficulty": int(level[row])}
        notes.append({**note, "annotator": "llm-a", "prompt_version": "planted-v1"})
    return notes
